//! `--fix-to`: the chain as it should be sent, written whole or not at all.

use crate::cli::write_file;
use crate::exit::Failure;
use sim_identity::pem;
use sim_identity::preflight::{Examination, Repair};
use std::path::Path;

/// Certificates one after the other, leaf first.
pub(super) fn text(repair: &Repair) -> String {
    repair.chain.iter().map(|certificate| pem::encode("CERTIFICATE", certificate.der())).collect()
}

/// Writes the corrected chain, and says what became of it.
pub(super) fn write(examination: &Examination, path: &Path) -> Result<String, Failure> {
    let Some(repair) = &examination.repair else {
        return Ok(match examination.is_accepted() {
            true => "nothing was written: the chain needs no repair".to_owned(),
            false => "nothing was written: reordering, dropping or completing does not repair this chain"
                .to_owned(),
        });
    };
    write_file(path, text(repair).as_bytes(), false)?;
    let count = repair.chain.len();
    let s = if count == 1 { "" } else { "s" };
    Ok(format!("{count} certificate{s} written to {}", path.display()))
}
