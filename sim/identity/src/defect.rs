//! Bad devices on purpose. Ids are those of the fault matrix and stable: scenarios, flags and records use them.

use std::fmt;
use std::str::FromStr;

/// One way in which a device is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Defect {
    /// The leaf expired an hour ago.
    LeafExpired,
    /// The leaf starts in a day.
    LeafNotYetValid,
    /// The leaf is sent alone although its issuer is not verified.
    LeafOnly,
    /// The leaf is signed by another CA of the same name; the genuine intermediate is sent.
    SameNameOtherKey,
    /// The CN is another device's.
    CnMismatch,
    /// The leaf says CA:TRUE.
    LeafCaTrue,
    /// The leaf comes from a line whose enrollment group is disabled.
    GroupDisabled,
}

impl Defect {
    /// All of them.
    pub const ALL: [Defect; 7] = [
        Self::LeafExpired,
        Self::LeafNotYetValid,
        Self::LeafOnly,
        Self::SameNameOtherKey,
        Self::CnMismatch,
        Self::LeafCaTrue,
        Self::GroupDisabled,
    ];

    /// The stable id.
    pub const fn id(self) -> &'static str {
        match self {
            Self::LeafExpired => "time-leaf-expired",
            Self::LeafNotYetValid => "time-leaf-not-yet",
            Self::LeafOnly => "pres-leaf-only-issuer-not-verified",
            Self::SameNameOtherKey => "iss-same-name-other-key",
            Self::CnMismatch => "cn-mismatch",
            Self::LeafCaTrue => "leaf-ca-true",
            Self::GroupDisabled => "svc-group-disabled",
        }
    }

    /// What is wrong, in a phrase.
    pub const fn explanation(self) -> &'static str {
        match self {
            Self::LeafExpired => "the device certificate has expired",
            Self::LeafNotYetValid => "the device certificate is not valid yet",
            Self::LeafOnly => "the device sends its leaf alone and the leaf's issuer is not verified",
            Self::SameNameOtherKey => "the leaf was signed by another CA that has the same name",
            Self::CnMismatch => "the certificate's CN is not the registration id",
            Self::LeafCaTrue => "the device certificate is marked as a CA",
            Self::GroupDisabled => "the enrollment group of the device's line is disabled",
        }
    }

    /// What repairs it, in a sentence.
    pub const fn repair(self) -> &'static str {
        match self {
            Self::LeafExpired => "Issue a new device certificate with the same CN.",
            Self::LeafNotYetValid => "Check the factory's clock; issue certificates that start a day back.",
            Self::LeafOnly => {
                "Append the intermediates, up to and including the verified CA, to the chain file."
            }
            Self::SameNameOtherKey => "Send and verify the generation of the CA that signed the leaf.",
            Self::CnMismatch => "Issue the certificate with CN = registration id, or register under the CN.",
            Self::LeafCaTrue => "Issue the device certificate with basicConstraints CA:FALSE.",
            Self::GroupDisabled => "Enable the enrollment group, or move the line to an enabled one.",
        }
    }

    /// Whether the service answers that the device is disabled, rather than refusing it.
    pub const fn is_disabled(self) -> bool {
        matches!(self, Self::GroupDisabled)
    }
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

/// A text that is no defect's id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown defect `{found}`; known are {}", known())]
pub struct UnknownDefect {
    /// The text as given.
    pub found: String,
}

fn known() -> String {
    Defect::ALL.map(Defect::id).join(", ")
}

impl FromStr for Defect {
    type Err = UnknownDefect;
    fn from_str(text: &str) -> Result<Self, UnknownDefect> {
        let found = Self::ALL.into_iter().find(|d| d.id() == text);
        found.ok_or_else(|| UnknownDefect { found: text.to_owned() })
    }
}
