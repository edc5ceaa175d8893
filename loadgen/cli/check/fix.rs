//! `--fix-to`: the chain as it should be sent, written whole or not at all.

use crate::check::Examined;
use crate::cli::write_file;
use crate::exit::Failure;
use sim_identity::preflight::{Examination, Instance, Presented, Question, Repair, examine};
use sim_identity::verdict::{SignatureMemo, Trust};
use sim_identity::{Certificate, pem};
use std::path::Path;
use std::sync::Arc;

/// Certificates one after the other, leaf first.
pub(super) fn text(repair: &Repair) -> String {
    repair.chain.iter().map(|certificate| pem::encode("CERTIFICATE", certificate.der())).collect()
}

/// Refuses to write over a file that is there, unless that was asked for. What is no ordinary file, `/dev/stdout` for
/// instance, is written to.
pub(crate) fn refuse_existing(path: &Path, force: bool) -> Result<(), Failure> {
    if force || !path.is_file() {
        return Ok(());
    }
    Err(Failure::usage(format!("will not replace {}: it exists already", path.display()))
        .advise("Name another file, or add --force to replace it."))
}

/// What repairs a chain that nothing in the instance does: `spare` are CA certificates that the user has given.
pub(super) fn completed(
    examined: &Examined,
    spare: &[Arc<Certificate>],
    question: &Question,
    instance: &Instance,
    trust: &Trust,
) -> Option<Repair> {
    let Examined { presented, examination, .. } = examined;
    if examination.repair.is_some() || examination.judgement.verdict.is_admitted() || spare.is_empty() {
        return None;
    }
    let within = |list: &[Arc<Certificate>], c: &Certificate| list.iter().any(|l| l.sha256() == c.sha256());
    let added = spare.iter().filter(|c| !within(&presented.certificates, c));
    let more = Presented {
        certificates: presented.certificates.iter().chain(added).cloned().collect(),
        ..presented.clone()
    };
    let judged = examine(&more, question, instance, trust, &SignatureMemo::default());
    if !judged.judgement.verdict.is_admitted() {
        return None;
    }
    let whole = Repair { chain: more.certificates, steps: Vec::new(), verdict: judged.judgement.verdict };
    let mut repair = judged.repair.unwrap_or(whole);
    let chain = &repair.chain;
    let added = chain.iter().filter(|c| !within(&presented.certificates, c));
    let from = |c: &Certificate| if within(spare, c) { "given with --ca" } else { "held by the instance" };
    let steps = added.map(|c| format!("added `{}`, {}", c.subject(), from(c))).collect();
    // What it said of the others was said of a longer chain.
    repair.steps = steps;
    Some(repair)
}

/// Writes the corrected chain, and says what became of it.
pub(super) fn write(examination: &Examination, path: &Path) -> Result<String, Failure> {
    let Some(repair) = &examination.repair else {
        return Ok(format!("nothing was written: {}", why_not(examination)));
    };
    write_file(path, text(repair).as_bytes(), false)?;
    let count = repair.chain.len();
    let s = if count == 1 { "" } else { "s" };
    Ok(format!("{count} certificate{s} written to {}", path.display()))
}

fn why_not(examination: &Examination) -> String {
    if examination.judgement.verdict.is_admitted() {
        return "the chain needs no repair".to_owned();
    }
    match &examination.missing {
        Some(missing) => {
            format!("{missing} is neither sent nor held by the instance; give it with --ca FILE")
        }
        None => "reordering, dropping or completing does not repair this chain".to_owned(),
    }
}
