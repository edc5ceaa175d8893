//! The device's name: the CN of its certificate, as the service would read it.

use super::case::Case;
use super::findings::Findings;
use super::words::{cut, listed};
use super::{Code, Finding, Severity};
use crate::certificate::{CommonName, NameAttribute};
use crate::verdict::{self, Goal};
use sim_protocol::RegistrationId;
use sim_protocol::names::InvalidName;

/// commonName.
const CN: &str = "2.5.4.3";
/// Characters that X.520 gives a CN.
const UPPER_BOUND: usize = 64;
/// Tags of UTF8String and PrintableString, the two that RFC 5280 lets new certificates use.
const USUAL_TAGS: [u32; 2] = [12, 19];

/// CNs of one certificate that are looked at.
const MOST_NAMES: usize = 8;

/// What is to be said of the name. A fault is an error where it decides: not where the question is only whether the
/// chain rolls up.
pub(super) fn find(case: &Case<'_>, out: &mut Findings) {
    let leaf = case.leaf;
    let refused = match case.registration_id(leaf, &case.rules) {
        Ok(id) => verdict::identity(leaf, &id, &case.rules).is_err(),
        Err(_) => true,
    };
    let severity = if refused && case.goal == Goal::Entry { Severity::Error } else { Severity::Warning };
    let attributes: Vec<NameAttribute> =
        leaf.subject_attributes().into_iter().filter(|a| a.oid == CN).collect();
    let about = case.about(leaf);
    let mut add = |finding: Finding| out.add(finding.about(about.clone()));
    match leaf.common_name() {
        CommonName::Missing => add(missing(case).at(severity)),
        CommonName::Undecodable => {
            let message = "the CN of the device's certificate cannot be read in its string type";
            add(Finding::new(Code::CnMissing, message, REISSUE).at(severity));
        }
        CommonName::Several(names) => {
            let shown: Vec<String> = names.iter().map(|n| format!("`{}`", cut(n.clone()))).collect();
            let message = format!("the device's certificate has several CNs: {}", listed(&shown));
            let fix = "reissue it with one CN, the registration id; which one the service takes is not known";
            add(Finding::new(Code::CnMultiple, message, fix).at(severity));
        }
        CommonName::One(name) => {
            one(case, name, severity).into_iter().for_each(&mut add);
            if attributes.len() > 1 {
                let message =
                    format!("the device's certificate has the CN `{}` more than once", cut(name.clone()));
                let fix = "reissue it with one CN";
                add(Finding::new(Code::CnMultiple, message, fix).at(Severity::Warning));
            }
        }
    }
    form(leaf.subject_attributes(), &attributes).into_iter().for_each(&mut add);
}

const REISSUE: &str = "reissue the device's certificate with its registration id as CN";

fn missing(case: &Case<'_>) -> Finding {
    let others = &case.leaf.alternative_names().dns;
    let hint =
        others.first().map(|name| format!("subjectAltName `{}`, which nothing consults", cut(name.clone())));
    Finding::new(Code::CnMissing, "the device's certificate has no CN", REISSUE).seen_by(hint)
}

/// What is to be said of the one CN.
fn one(case: &Case<'_>, name: &str, severity: Severity) -> Vec<Finding> {
    let mut found = Vec::new();
    let shown = cut(name.to_owned());
    let length = name.chars().count();
    if length > UPPER_BOUND {
        let message =
            format!("the CN of the device's certificate has {length} characters, and X.520 allows 64");
        let fix = "use registration ids of at most 64 characters";
        found.push(
            Finding::new(Code::CnLength, message, fix).at(Severity::Error).seen_by([format!("CN `{shown}`")]),
        );
    }
    let parsed = RegistrationId::new(name);
    let wrong = match &parsed {
        Err(InvalidName::Character { found, .. }) => Some(format!("contain {found:?}")),
        Err(InvalidName::LastCharacter { found, .. }) => Some(format!("end in {found:?}")),
        Err(InvalidName::Empty { .. } | InvalidName::TooLong { .. }) | Ok(_) => None,
    };
    if let Some(wrong) = wrong {
        let message = format!("the CN `{shown}` is no registration id: it may not {wrong}");
        let fix = "use letters, digits, `-`, `.`, `_` and `:`, ending in a letter, a digit or a dash";
        found.push(Finding::new(Code::CnCharset, message, fix).at(severity));
        return found;
    }
    let Some(asked) = &case.question.registration_id else { return found };
    let evidence = [format!("CN `{shown}`"), format!("registration id `{asked}`")];
    if !asked.matches(name) {
        let message =
            format!("the CN of the device's certificate is `{shown}`, not the registration id `{asked}`");
        let fix = format!("register as `{shown}`, or reissue the certificate with the CN `{asked}`");
        // A name that is too long matches nothing, and that has been said.
        if parsed.is_ok() {
            found.push(Finding::new(Code::CnMismatch, message, fix).at(severity).seen_by(evidence));
        }
    } else if asked.as_str() != name {
        let message = format!("the CN `{shown}` and the registration id `{asked}` differ in letter case");
        let fix = "use one spelling, in lower case; some clients and older services compare them as they are";
        found.push(Finding::new(Code::CnCase, message, fix).seen_by(evidence));
    }
    found
}

/// What is to be said of how the CN is written.
fn form(all: Vec<NameAttribute>, names: &[NameAttribute]) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Some(odd) = names.iter().find(|a| !USUAL_TAGS.contains(&a.tag)) {
        let kind = match odd.tag {
            20 => "TeletexString",
            22 => "IA5String",
            28 => "UniversalString",
            30 => "BMPString",
            _ => "an unusual string type",
        };
        let message = format!("the CN of the device's certificate is written as {kind}");
        let fix = "reissue it with the CN as UTF8String";
        found.push(Finding::new(Code::CnEncoding, message, fix).seen_by([format!("tag {}", odd.tag)]));
    }
    let shares = |cn: &NameAttribute| all.iter().any(|a| a.rdn == cn.rdn && a.oid != CN);
    if names.iter().take(MOST_NAMES).any(shares) {
        let message = "the CN of the device's certificate shares its RDN with another attribute";
        let fix = "nothing to repair: it works; some tools cannot copy such a name";
        found.push(Finding::new(Code::CnMultivalue, message, fix));
    }
    found
}
