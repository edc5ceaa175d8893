//! What nobody outside knows of the service, as knobs with the value that the evidence favours.
//!
//! `ours:` every default here is a guess that a report or the documentation supports; see the notes at each.

use crate::signature::Algorithms;
use std::fmt;
use std::time::Duration;

/// What is done with a leaf that has several different CNs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CnRule {
    /// Refused.
    #[default]
    Refuse,
    /// The first counts.
    First,
    /// The last counts.
    Last,
}

/// How the judge decides where the service's behaviour is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rules {
    /// A leaf that says CA:TRUE is accepted. `ours:` no: three reports of refusals.
    pub leaf_ca: bool,
    /// A version 1 leaf is accepted. `ours:` yes: one report.
    pub leaf_v1: bool,
    /// Extended key usage must allow clientAuth. `ours:` yes.
    pub extended_key_usage: bool,
    /// Anchors are checked like any CA, dates included; else name and key are all that counts. `ours:` yes.
    pub anchor_checks: bool,
    /// The verified CA must be among what the device sends. `ours:` no; the documentation asks devices to send it.
    pub verified_ca_must_be_presented: bool,
    /// The leaf of an individual enrollment, unless self-signed, must roll up to a verified CA. `ours:` no, as the
    /// maintainers say; the documentation says yes.
    pub individual_chain: bool,
    /// An individual enrollment that holds another certificate leaves the decision to groups. `ours:` no.
    pub individual_fall_through: bool,
    /// Which algorithms are accepted.
    pub algorithms: Algorithms,
    /// What several different CNs mean.
    pub several_cns: CnRule,
    /// Characters that a CN may have. `ours:` 128, as a registration id; X.520 allows 64.
    pub longest_cn: usize,
    /// CAs between leaf and anchor. `ours:` 10.
    pub longest_path: usize,
    /// How far dates may be off. `ours:` not at all.
    pub clock_skew: Duration,
}

impl Rules {
    /// What is taken for the service's behaviour.
    pub const DEFAULT: Rules = Rules {
        leaf_ca: false,
        leaf_v1: true,
        extended_key_usage: true,
        anchor_checks: true,
        verified_ca_must_be_presented: false,
        individual_chain: false,
        individual_fall_through: false,
        algorithms: Algorithms::DEFAULT,
        several_cns: CnRule::Refuse,
        longest_cn: 128,
        longest_path: 10,
        clock_skew: Duration::ZERO,
    };
}

impl Default for Rules {
    fn default() -> Self {
        Rules::DEFAULT
    }
}

/// A knob of the judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Knob {
    /// `leaf-ca`
    LeafCa,
    /// `leaf-v1`
    LeafV1,
    /// `eku`
    ExtendedKeyUsage,
    /// `anchor-checks`
    AnchorChecks,
    /// `verified-ca-must-be-presented`
    VerifiedCaMustBePresented,
    /// `individual-chain`
    IndividualChain,
    /// `individual-fall-through`
    IndividualFallThrough,
    /// `sha1`
    Sha1,
    /// `rsa1024`
    Rsa1024,
    /// `p521`
    P521,
    /// `ed25519`
    Ed25519,
    /// `several-cns`
    SeveralCns,
    /// `longest-cn`
    LongestCn,
    /// `longest-path`
    LongestPath,
    /// `clock-skew`
    ClockSkew,
}

/// A word that a knob takes, and what it sets.
type Word = (&'static str, fn(&mut Rules));

/// What a knob takes: words, or something measured.
enum Takes {
    /// One of these, the default first.
    Words(&'static [Word]),
    Count(fn(&mut Rules, usize)),
    Time(fn(&mut Rules, Duration)),
}

/// A text that sets no knob of the judge.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KnobFault {
    /// No knob of that name.
    #[error("there is no knob `{0}`")]
    Name(String),
    /// The knob takes other values.
    #[error("`{name}` takes {takes}, not `{found}`")]
    Value {
        /// The knob.
        name: &'static str,
        /// What was given.
        found: String,
        /// What it takes.
        takes: String,
    },
}

impl Knob {
    /// All of them.
    pub const ALL: [Knob; 15] = [
        Knob::LeafCa,
        Knob::LeafV1,
        Knob::ExtendedKeyUsage,
        Knob::AnchorChecks,
        Knob::VerifiedCaMustBePresented,
        Knob::IndividualChain,
        Knob::IndividualFallThrough,
        Knob::Sha1,
        Knob::Rsa1024,
        Knob::P521,
        Knob::Ed25519,
        Knob::SeveralCns,
        Knob::LongestCn,
        Knob::LongestPath,
        Knob::ClockSkew,
    ];

    /// The stable name, in flags and explanations.
    pub const fn name(self) -> &'static str {
        match self {
            Knob::LeafCa => "leaf-ca",
            Knob::LeafV1 => "leaf-v1",
            Knob::ExtendedKeyUsage => "eku",
            Knob::AnchorChecks => "anchor-checks",
            Knob::VerifiedCaMustBePresented => "verified-ca-must-be-presented",
            Knob::IndividualChain => "individual-chain",
            Knob::IndividualFallThrough => "individual-fall-through",
            Knob::Sha1 => "sha1",
            Knob::Rsa1024 => "rsa1024",
            Knob::P521 => "p521",
            Knob::Ed25519 => "ed25519",
            Knob::SeveralCns => "several-cns",
            Knob::LongestCn => "longest-cn",
            Knob::LongestPath => "longest-path",
            Knob::ClockSkew => "clock-skew",
        }
    }

    /// What it decides, as the end of the sentence "it is not known …".
    pub const fn question(self) -> &'static str {
        match self {
            Knob::LeafCa => "whether a device certificate with CA:TRUE is accepted",
            Knob::LeafV1 => "whether a device certificate of X.509 version 1 is accepted",
            Knob::ExtendedKeyUsage => "whether extended key usage has to allow client authentication",
            Knob::AnchorChecks => "whether dates and profile of the verified CA itself are checked",
            Knob::VerifiedCaMustBePresented => "whether the device has to send the verified CA too",
            Knob::IndividualChain => "whether the certificate of an individual enrollment has to roll up",
            Knob::IndividualFallThrough => {
                "whether groups decide where an individual enrollment holds another certificate"
            }
            Knob::Sha1 => "whether signatures with SHA-1 are accepted",
            Knob::Rsa1024 => "whether RSA keys below 2048 bits are accepted",
            Knob::P521 => "whether keys on P-521 are accepted",
            Knob::Ed25519 => "whether Ed25519 keys are accepted",
            Knob::SeveralCns => "which of several CNs counts",
            Knob::LongestCn => "whether a CN may be longer than the 64 characters of X.520",
            Knob::LongestPath => "how many CAs a path may have",
            Knob::ClockSkew => "how far dates may be off",
        }
    }

    const fn takes(self) -> Takes {
        match self {
            Knob::LeafCa => {
                Takes::Words(&[("refuse", |r| r.leaf_ca = false), ("accept", |r| r.leaf_ca = true)])
            }
            Knob::LeafV1 => {
                Takes::Words(&[("accept", |r| r.leaf_v1 = true), ("refuse", |r| r.leaf_v1 = false)])
            }
            Knob::ExtendedKeyUsage => Takes::Words(&[
                ("enforce", |r| r.extended_key_usage = true),
                ("ignore", |r| r.extended_key_usage = false),
            ]),
            Knob::AnchorChecks => Takes::Words(&[
                ("full", |r| r.anchor_checks = true),
                ("key-only", |r| r.anchor_checks = false),
            ]),
            Knob::VerifiedCaMustBePresented => Takes::Words(&[
                ("no", |r| r.verified_ca_must_be_presented = false),
                ("yes", |r| r.verified_ca_must_be_presented = true),
            ]),
            Knob::IndividualChain => Takes::Words(&[
                ("no", |r| r.individual_chain = false),
                ("yes", |r| r.individual_chain = true),
            ]),
            Knob::IndividualFallThrough => Takes::Words(&[
                ("no", |r| r.individual_fall_through = false),
                ("yes", |r| r.individual_fall_through = true),
            ]),
            Knob::Sha1 => Takes::Words(&[
                ("refuse", |r| r.algorithms.sha1 = false),
                ("accept", |r| r.algorithms.sha1 = true),
            ]),
            Knob::Rsa1024 => Takes::Words(&[
                ("refuse", |r| r.algorithms.rsa1024 = false),
                ("accept", |r| r.algorithms.rsa1024 = true),
            ]),
            Knob::P521 => Takes::Words(&[
                ("accept", |r| r.algorithms.p521 = true),
                ("refuse", |r| r.algorithms.p521 = false),
            ]),
            Knob::Ed25519 => Takes::Words(&[
                ("accept", |r| r.algorithms.ed25519 = true),
                ("refuse", |r| r.algorithms.ed25519 = false),
            ]),
            Knob::SeveralCns => Takes::Words(&[
                ("refuse", |r| r.several_cns = CnRule::Refuse),
                ("first", |r| r.several_cns = CnRule::First),
                ("last", |r| r.several_cns = CnRule::Last),
            ]),
            Knob::LongestCn => Takes::Count(|r, n| r.longest_cn = n),
            Knob::LongestPath => Takes::Count(|r, n| r.longest_path = n),
            Knob::ClockSkew => Takes::Time(|r, time| r.clock_skew = time),
        }
    }

    /// The values it takes, for help texts; the default first.
    pub fn values(self) -> String {
        match self.takes() {
            Takes::Words(words) => words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join("|"),
            Takes::Count(_) => "NUMBER".to_owned(),
            Takes::Time(_) => "DURATION".to_owned(),
        }
    }

    /// The other values worth trying where the service's behaviour is unknown, with the rules they make.
    pub fn alternatives(self, rules: &Rules) -> Vec<(String, Rules)> {
        let tried: Vec<(String, Rules)> = match self.takes() {
            Takes::Words(words) => words
                .iter()
                .map(|(word, set)| {
                    let mut other = *rules;
                    set(&mut other);
                    ((*word).to_owned(), other)
                })
                .collect(),
            // X.520's bound, which a service built on a strict library may keep.
            Takes::Count(set) if self == Knob::LongestCn => vec![counted(set, rules, 64)],
            // What common libraries take: webpki 6 intermediates.
            Takes::Count(set) => vec![counted(set, rules, 6)],
            Takes::Time(set) => {
                let mut other = *rules;
                set(&mut other, Duration::from_secs(300));
                vec![("5m".to_owned(), other)]
            }
        };
        tried.into_iter().filter(|(_, other)| other != rules).collect()
    }
}

fn counted(set: fn(&mut Rules, usize), rules: &Rules, count: usize) -> (String, Rules) {
    let mut other = *rules;
    set(&mut other, count);
    (count.to_string(), other)
}

impl fmt::Display for Knob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Rules {
    /// Sets one knob to a value.
    ///
    /// # Errors
    /// When there is no knob of that name, or it takes other values.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), KnobFault> {
        let found = Knob::ALL.into_iter().find(|knob| knob.name() == name);
        let knob = found.ok_or_else(|| KnobFault::Name(name.to_owned()))?;
        let wrong = |takes: String| KnobFault::Value { name: knob.name(), found: value.to_owned(), takes };
        match knob.takes() {
            Takes::Words(words) => {
                let (_, set) =
                    words.iter().find(|(word, _)| *word == value).ok_or_else(|| wrong(knob.values()))?;
                set(self);
            }
            Takes::Count(set) => {
                let count = value.parse().map_err(|_| wrong("a whole number".to_owned()))?;
                set(self, count);
            }
            Takes::Time(set) => {
                let time = sim_protocol::duration::parse_duration(value);
                set(self, time.map_err(|_| wrong("a duration such as `5m`".to_owned()))?);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_of_each_knob_is_the_default_and_the_others_change_something() {
        for knob in Knob::ALL {
            if let Takes::Words(words) = knob.takes() {
                let mut rules = Rules::default();
                assert_eq!(rules.set(knob.name(), words[0].0), Ok(()));
                assert_eq!(rules, Rules::default(), "{knob}");
            }
            let others = knob.alternatives(&Rules::default());
            assert!(
                !others.is_empty() && others.iter().all(|(_, other)| *other != Rules::default()),
                "{knob}"
            );
            for (value, expected) in others {
                let mut rules = Rules::default();
                assert_eq!(rules.set(knob.name(), &value), Ok(()), "{knob}");
                assert_eq!(rules, expected, "{knob}");
            }
        }
    }

    #[test]
    fn what_sets_no_knob_is_refused() {
        let mut rules = Rules::default();
        assert!(matches!(rules.set("leaf-cb", "accept"), Err(KnobFault::Name(_))));
        for (name, value) in [("leaf-ca", "yes"), ("longest-cn", "many"), ("clock-skew", "5")] {
            assert!(matches!(rules.set(name, value), Err(KnobFault::Value { .. })), "{name}");
        }
        assert_eq!(rules, Rules::default());
    }
}
