//! The verdicts of the judge.

use super::{Entry, Kind, fact};
use sim_identity::verdict::Verdict;

/// Every verdict by its name. What the wire says is the judge's own word.
pub(super) fn entries() -> Vec<Entry> {
    TEXTS.iter().map(Text::entry).chain([reject()]).collect()
}

/// The word on the first line of `check` for every verdict that keeps a device out.
fn reject() -> Entry {
    Entry {
        causes: vec![
            "A verdict that keeps the device out, a key of another certificate, an expiry during the rollout; with \
             --strict a warning."
                .to_owned(),
        ],
        repair: "Read the line after it: it names the verdict; `rollcall explain VERDICT` tells more.".to_owned(),
        source: vec!["the contract of this program: `rollcall check --help`".to_owned()],
        ..Entry::new(
            Kind::Verdict,
            "reject",
            "The first line of `check` where a device would not be let in; the exit status is 3 then.",
        )
    }
}

struct Text {
    /// One that has the name.
    verdict: Verdict,
    meaning: &'static str,
    causes: &'static [&'static str],
    repair: &'static str,
    source: &'static str,
}

impl Text {
    fn entry(&self) -> Entry {
        Entry {
            causes: self.causes.iter().map(ToString::to_string).collect(),
            repair: self.repair.to_owned(),
            source: vec![self.source.to_owned()],
            facts: vec![fact("device sees", seen(&self.verdict))],
            ..Entry::new(Kind::Verdict, self.verdict.name(), self.meaning)
        }
    }
}

/// What a device is told.
pub(crate) fn seen(verdict: &Verdict) -> String {
    match verdict.refusal() {
        Some(refusal) => format!("{} \"{}\"", refusal.code, refusal.message),
        None if verdict.is_disabled() => "status `disabled`, no hub and no device id".to_owned(),
        None => "status `assigned`, a hub and a device id".to_owned(),
    }
}

const TEXTS: &[Text] = &[
    Text {
        verdict: Verdict::AcceptIndividual,
        meaning: "The device is let in, by the nearest group above its leaf or by its individual enrollment.",
        causes: &[],
        repair: "",
        source: "DPS documentation, X.509 certificate attestation",
    },
    Text {
        verdict: Verdict::RollsUp,
        meaning: "The chain leads to a verified CA. No enrollment was given, so nothing more was asked.",
        causes: &[],
        repair: "Give the groups, with --group or --instance, to see which of them takes the device.",
        source: "DPS documentation, X.509 certificate attestation",
    },
    Text {
        verdict: Verdict::DisabledIndividual,
        meaning: "The enrollment that decides is disabled: the device's own, or the nearest group above its leaf.",
        causes: &["The device, or the factory that its CA stands for, was kept out on purpose."],
        repair: "Enable it: `rollcall group update NAME --enable`, or `rollcall enrollment update ID --enable`.",
        source: "DPS documentation, How to disenroll a device",
    },
    Text {
        verdict: Verdict::InvalidCertificate,
        meaning: "The leaf cannot be used, or every path breaks at a certificate that may not stand in it.",
        causes: &[
            "A certificate has expired or is not valid yet.",
            "An issuer is not a CA, or its path length, key usage or name constraints do not allow what is below it.",
            "The leaf is a CA, or its key usage or extended key usage does not allow client authentication.",
        ],
        repair: "Reissue or renew the certificate that the first dead end names.",
        source: "RFC 5280 section 6.1; Azure/iotedge#1671",
    },
    Text {
        verdict: Verdict::IndividualStale,
        meaning: "The device has an individual enrollment, and it holds another certificate.",
        causes: &["The device was given a new certificate and its enrollment was not updated."],
        repair: "Put the new certificate into the enrollment, as secondary first; or delete the enrollment, so that \
                 groups decide.",
        source: "Azure/azure-iot-sdk-node#547; Azure/azure-iot-sdk-python#189",
    },
    Text {
        verdict: Verdict::IndividualByKey,
        meaning: "The device has an individual enrollment that asks for a key, not for a certificate.",
        causes: &["It was made for symmetric keys or a TPM."],
        repair: "Make it with the device's certificate, or delete it, so that groups decide.",
        source: "DPS documentation, Terminology (individual enrollment)",
    },
    Text {
        verdict: Verdict::NoVerifiedCa,
        meaning: "No path from the leaf leads to a verified CA.",
        causes: &[
            "An intermediate was not sent, the most frequent failure in the field.",
            "The CA is uploaded and possession of its key is not proven.",
            "The device uses the id scope of another instance.",
            "A CA got a new key under its old name, and the other generation is sent or verified.",
        ],
        repair: "Send the chain up to and including the verified CA, or verify one of the CAs that are sent.",
        source: "Azure/azure-iot-sdk-csharp#1040; Azure/azure-iot-sdk-c#1900",
    },
    Text {
        verdict: Verdict::NoEntry,
        meaning: "The chain leads to a verified CA, and no enrollment holds a certificate of it.",
        causes: &[
            "The group was deleted, or was made on a CA of another line.",
            "The CA was renewed and the group still holds the certificate from before.",
        ],
        repair: "Create a group on one of the chain's CAs, or put the renewed one into the group as secondary.",
        source: "training labs of the vendor, after deleting the group",
    },
    Text {
        verdict: Verdict::LeafIsEntryCertificate,
        meaning: "The device presents the certificate of a group as its own.",
        causes: &["The CA's file was put on the device, or the device's certificate into the group."],
        repair: "Issue a certificate to the device under the group's CA.",
        source: "Azure/iotedge#2739; Azure/azure-iot-sdk-node#532",
    },
    Text {
        verdict: Verdict::GroupAboveVerified,
        meaning: "A group's certificate lies above the highest verified CA of the chain, where it does not count.",
        causes: &["The intermediate is verified, and the group is on the root."],
        repair: "Verify the group's certificate or one above it, or make the group on the verified CA.",
        source: "DPS documentation, X.509 certificate attestation; what the service does is not known",
    },
    Text {
        verdict: Verdict::CnMismatch,
        meaning: "The CN of the leaf is not the registration id, or there are several.",
        causes: &["The certificate of another device, or a serial number where the id belongs."],
        repair: "Register under the CN, or reissue with CN = registration id.",
        source: "DPS documentation, Terminology (registration ID); Azure/iot-identity-service PR 103",
    },
    Text {
        verdict: Verdict::CnMissing,
        meaning: "The leaf has no CN that can be read.",
        causes: &["The name stands in a subject alternative name only, or the CN is empty."],
        repair: "Reissue with CN = registration id.",
        source: "DPS documentation, Terminology (registration ID)",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_is_explained_once() {
        let names: Vec<&str> = TEXTS.iter().map(|text| text.verdict.name()).collect();
        assert_eq!(names, Verdict::NAMES);
    }
}
