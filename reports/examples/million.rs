//! Writes the record of a million devices that `benches/render.rs` renders, for those who want to see it or weigh it.
#![expect(clippy::expect_used, reason = "what it makes up is always in range")]

#[path = "../benches/render/million.rs"]
mod million;

fn main() -> std::io::Result<()> {
    serde_json::to_writer(std::io::stdout().lock(), &million::million())?;
    Ok(())
}
