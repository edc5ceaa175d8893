//! Everything the fuzz targets were ever fed with on purpose, fed to them again by an ordinary compiler.
//!
//! `fuzz/corpus` holds the seeds, `fuzz/regressions` what once broke something. See `fuzz/README.md`.
#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot go on says so by panicking")]

use sim_identity::verdict::Verdict;
use std::path::{Path, PathBuf};

#[path = "../fuzz/targets.rs"]
#[expect(unreachable_pub, reason = "the same file is a library to cargo-fuzz")]
mod targets;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn seed(name: &str) -> Vec<u8> {
    std::fs::read(fuzz().join("corpus").join(name)).expect("a seed of that name")
}

/// The files of a directory, in order; none if there is no such directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

/// Runs a target over all that is kept for it, to the end, and tells every file that it did not survive.
fn replay(name: &str, target: fn(&[u8])) {
    let seeds = files(&fuzz().join("corpus").join(name));
    assert!(!seeds.is_empty(), "no seeds for {name}");
    let kept = seeds.into_iter().chain(files(&fuzz().join("regressions").join(name)));
    let fails = |file: &PathBuf| {
        let data = std::fs::read(file).expect("a readable file");
        std::panic::catch_unwind(|| target(&data)).is_err()
    };
    let failed: Vec<_> = kept.filter(fails).collect();
    assert_eq!(failed, Vec::<PathBuf>::new());
}

#[test]
fn every_kept_conversation_ends_in_the_words_of_the_protocol() {
    replay("packets", targets::packets);
}

#[test]
fn every_kept_topic_is_read_as_it_is_written() {
    replay("topics", targets::topics);
}

#[test]
fn every_kept_certificate_is_judged_or_refused() {
    replay("certificates", targets::certificates);
}

#[test]
fn every_kept_file_is_examined_or_refused() {
    replay("files", targets::files);
}

#[test]
fn every_kept_body_is_read_or_refused() {
    replay("bodies", targets::bodies);
}

// A seed that is turned away at the door explores nothing.
#[test]
fn the_seeds_of_the_official_clients_get_as_far_as_a_register_and_a_poll() {
    for client in ["python", "node", "c-sdk", "embedded-c"] {
        let answers = targets::conversation(&seed(&format!("packets/{client}")));
        let count = |word: &str| answers.windows(word.len()).filter(|w| *w == word.as_bytes()).count();
        // The operation was made up.
        assert_eq!(
            (count("$dps/registrations/res/202/"), count("$dps/registrations/res/404/")),
            (1, 1),
            "{client}"
        );
    }
}

#[test]
fn the_seeds_of_whole_chains_are_accepted() {
    for name in ["chain.pem", "chain.der", "rsa.pem"] {
        let judgement = targets::judged(&seed(&format!("certificates/{name}"))).expect("certificates");
        assert!(matches!(judgement.verdict, Verdict::Accept(_)), "{name}: {:?}", judgement.verdict);
    }
}
