//! Choices where nobody outside knows what the service does: those of the judge, which `check` and the mock share,
//! and those of the mock alone.

use super::{Entry, Kind, fact};
use sim_identity::verdict::Knob;

/// Every knob.
pub(super) fn entries() -> Vec<Entry> {
    let judge = Knob::ALL.into_iter().map(|knob| {
        let meaning = format!("Decides {}.", knob.question());
        entry(knob.name(), &meaning, &knob.values(), "check, mock", evidence(knob))
    });
    let mock =
        OF_THE_MOCK.iter().map(|&(name, meaning, values, known)| entry(name, meaning, values, "mock", known));
    judge.chain(mock).collect()
}

/// The knobs that one word stands for where they are spoken of together.
pub(super) fn group(word: &str) -> &'static [&'static str] {
    match word {
        "algorithms" => &["sha1", "rsa1024", "p521", "ed25519"],
        "cnRules" | "cn-rules" => &["several-cns", "longest-cn"],
        "limits" => &["longest-path", "clock-skew"],
        _ => &[],
    }
}

fn entry(name: &str, meaning: &str, values: &str, taken_by: &str, known: &str) -> Entry {
    Entry {
        facts: vec![
            fact("values", format!("{values}; the default {}", default_of(name, values))),
            fact("taken by", format!("{taken_by}: --knob {name}=VALUE")),
        ],
        source: vec![known.to_owned()],
        ..Entry::new(Kind::Knob, name, meaning)
    }
}

/// The default, which is the first of several words.
fn default_of<'v>(name: &str, values: &'v str) -> &'v str {
    match (name, values.split_once('|')) {
        (_, Some((first, _))) => first,
        ("longest-cn", None) => "128",
        ("longest-path", None) => "10",
        (_, None) => "0s",
    }
}

/// What speaks for the default.
const fn evidence(knob: Knob) -> &'static str {
    match knob {
        Knob::LeafCa => "three reports of refusals, among them Azure/iotedge#1671",
        Knob::LeafV1 => "one report of 2020 of a certificate that was let in",
        Knob::ExtendedKeyUsage => "RFC 5280 section 4.2.1.12; the service's own check is not known",
        Knob::AnchorChecks => {
            "RFC 5280 section 6.2 leaves it open; the documentation has operators renew in time"
        }
        Knob::VerifiedCaMustBePresented => {
            "DPS documentation, X.509 certificate attestation, asks devices to send it; refusals are not known"
        }
        Knob::IndividualChain => "the documentation says yes, maintainers say no",
        Knob::IndividualFallThrough => {
            "reports of \"Invalid certificate.\" in this case: Azure/azure-iot-sdk-node#547, Azure/azure-iot-sdk-python#189"
        }
        Knob::Sha1 => "RFC 9155; not known of the service",
        Knob::Rsa1024 => "NIST SP 800-131A; not known of the service",
        Knob::P521 => "its TLS documentation names P-256 and P-384 only; not known",
        Knob::Ed25519 => "RFC 8410; not known of the service",
        Knob::SeveralCns => "not known; refusing is the safe side",
        Knob::LongestCn => {
            "128 is the longest registration id, 64 the longest CN of X.520 (RFC 5280 appendix A.1)"
        }
        Knob::LongestPath => "not known; rustls-webpki allows 6 intermediates",
        Knob::ClockSkew => "not known; RFC 5280 allows none",
    }
}

/// Name, meaning, values with the default first, and what is known.
const OF_THE_MOCK: &[(&str, &str, &str, &str)] = &[
    (
        "same-hub",
        "Decides the substatus of a device that registers again and stays at its hub.",
        "initial|reprovisioned",
        "live tests of the official SDKs see initialAssignment",
    ),
    (
        "disabled-at",
        "Decides when a device learns that its enrollment is disabled.",
        "poll|register",
        "symmetric-key groups: `disabled` under status 200; not known for X.509",
    ),
    (
        "refuse-at",
        "Decides where MQTT refuses a credential.",
        "register|connect",
        "live captures: CONNACK 0, then 401 to the register",
    ),
    (
        "concurrent",
        "Decides what a register does to one of the same device that is not done.",
        "replace|conflict",
        "409203 was seen by a maintainer of Azure/azure-iot-sdk-c; how often is not known",
    ),
    (
        "code-lifetime",
        "Decides how long a verification code can be used.",
        "none|DURATION",
        "no page and no report names a limit",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use sim_identity::verdict::Rules;

    #[test]
    fn the_defaults_that_are_told_are_the_defaults() {
        for knob in Knob::ALL {
            let mut rules = Rules::default();
            let values = knob.values();
            assert_eq!(rules.set(knob.name(), default_of(knob.name(), &values)), Ok(()), "{knob}");
            assert_eq!(rules, Rules::default(), "{knob}");
        }
    }

    #[test]
    fn every_knob_of_the_mock_is_explained_with_the_values_it_takes() {
        let mut knobs = sim_dps::knobs::Knobs::default();
        for entry in entries() {
            let known = sim_dps::knobs::known();
            assert!(known.contains(&format!("{}=", entry.id)), "{} in {known}", entry.id);
        }
        for (name, _, values, _) in OF_THE_MOCK {
            for value in values.split('|') {
                let value = if value == "DURATION" { "10m" } else { value };
                assert_eq!(knobs.set(&format!("{name}={value}")), Ok(()));
            }
        }
        assert_eq!(entries().len(), sim_dps::knobs::known().matches('=').count());
    }
}
