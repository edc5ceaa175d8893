//! `--verified FILE`, `--ca FILE` and `--group NAME=FILE`.

use super::{Builder, Given, document};
use crate::check::inputs::{certificates, name};
use crate::exit::Failure;
use sim_identity::Certificate;
use sim_identity::files::FileContents;
use sim_identity::preflight::{CaState, Code, Finding, UploadedCa};
use sim_protocol::EnrollmentGroupId;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

/// Subjects that are named in one message.
const SHOWN: usize = 3;

/// An enrollment group and its certificate: `NAME=FILE`, or `NAME=FILE:disabled`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupFile {
    /// Its name.
    pub name: EnrollmentGroupId,
    /// Where its certificate is. Of two with one name, the first is the primary and the second the secondary.
    pub file: PathBuf,
    /// Whether it lets devices in.
    pub enabled: bool,
}

impl FromStr for GroupFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORM: &str = "write it as NAME=FILE or NAME=FILE:disabled";
        let (name, file) = text.split_once('=').ok_or(FORM)?;
        let (file, enabled) = file.strip_suffix(":disabled").map_or((file, true), |file| (file, false));
        if file.is_empty() {
            return Err("name the file of its certificate after `=`".to_owned());
        }
        let name = EnrollmentGroupId::new(name).map_err(|fault| fault.to_string())?;
        Ok(GroupFile { name, file: file.into(), enabled })
    }
}

/// Takes in what the flags say.
pub(super) fn read(given: &Given, builder: &mut Builder) -> Result<(), Failure> {
    for path in &given.authorities {
        let found = certificates(path)?.certificates;
        builder.known.spare.extend(found.iter().filter(|certificate| certificate.is_ca()).cloned());
        builder.at_hand.extend(found);
    }
    for path in &given.verified {
        let FileContents { certificates, findings, .. } = certificates(path)?;
        builder.known.findings.extend(findings);
        builder.at_hand.extend(certificates.iter().cloned());
        for (i, certificate) in authorities(path, certificates, builder).into_iter().enumerate() {
            verified(builder, Some(ca_name(path, i)), certificate);
        }
    }
    given.groups.iter().try_for_each(|group| take_group(group, builder))
}

/// Those of a file that can be uploaded CAs. Where there is one certificate, it is what was meant, whatever it is.
fn authorities(
    path: &Path,
    certificates: Vec<Arc<Certificate>>,
    builder: &mut Builder,
) -> Vec<Arc<Certificate>> {
    let all = certificates.clone();
    let (cas, others): (Vec<_>, Vec<_>) =
        certificates.into_iter().partition(|c| c.is_ca() || c.is_self_issued());
    if cas.is_empty() {
        return all;
    }
    let file = name(path);
    if !others.is_empty() {
        let subjects: Vec<String> = others.iter().take(SHOWN).map(|c| format!("`{}`", c.subject())).collect();
        let message =
            format!("{file}: what is no CA is left out of the verified ones: {}", subjects.join(", "));
        let fix = "Give the CA certificate alone: a device's certificate is not uploaded.";
        builder.known.findings.push(Finding::new(Code::PemBundle, message, fix));
    }
    if cas.len() > 1 {
        let count = cas.len();
        builder.note(format!(
            "all {count} CA certificates in {file} are taken as verified; an upload takes one certificate"
        ));
    }
    cas
}

/// A CA by the name of its file; the second of a file is `NAME (2)`, which no reference can mean.
fn ca_name(path: &Path, place: usize) -> String {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    if place == 0 { stem } else { format!("{stem} ({})", place + 1) }
}

fn verified(builder: &mut Builder, name: Option<String>, certificate: Arc<Certificate>) {
    builder.flagged.insert(*certificate.sha256());
    let cas = &mut builder.known.instance.cas;
    if cas.iter().all(|ca| ca.certificate != certificate) {
        cas.push(UploadedCa { name, certificate, state: CaState::Verified });
    }
}

fn take_group(given: &GroupFile, builder: &mut Builder) -> Result<(), Failure> {
    let GroupFile { name: id, file: path, enabled } = given;
    let contents = certificates(path)?;
    let file = name(path);
    builder.known.findings.extend(contents.upload_findings(&file));
    builder.known.findings.extend(contents.findings);
    builder.at_hand.extend(contents.certificates.iter().cloned());
    // A file that could be read holds at least one.
    let Some(first) = contents.certificates.into_iter().next() else { return Ok(()) };
    let slot = document::Slot::Certificate(first);
    let Some(known) = builder.groups.iter_mut().find(|group| group.id == *id) else {
        let group =
            document::Group { id: id.clone(), enabled: *enabled, primary: Some(slot), secondary: None };
        builder.groups.push(group);
        return Ok(());
    };
    if known.secondary.is_some() {
        let fault = format!("group `{id}` is given more than two certificates; {file} is one too many");
        return Err(
            Failure::usage(fault).advise("A group has a primary and a secondary certificate and no others.")
        );
    }
    known.secondary = Some(slot);
    known.enabled &= enabled;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_a_name_and_a_file() {
        let group = |file: &str, enabled| {
            let name = EnrollmentGroupId::new("line-1").expect("a good name");
            Ok(GroupFile { name, file: file.into(), enabled })
        };
        assert_eq!("line-1=ca.pem".parse(), group("ca.pem", true));
        assert_eq!("line-1=ca.pem:disabled".parse(), group("ca.pem", false));
        assert_eq!("line-1=C:/a=b.pem".parse(), group("C:/a=b.pem", true));
        for text in ["line-1", "line-1=", "line-1=:disabled", "=ca.pem", "li ne=ca.pem"] {
            assert!(text.parse::<GroupFile>().is_err(), "{text}");
        }
    }
}
