//! Names as the service spells them, parsed at the edge and never checked again.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Why a text is not a name of the kind asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// Nothing was given.
    #[error("{kind} is empty")]
    Empty {
        /// What was being named.
        kind: &'static str,
    },
    /// More characters than the service takes.
    #[error("{kind} `{text}` has {found} characters, at most {limit} are allowed")]
    TooLong {
        /// What was being named.
        kind: &'static str,
        /// The text as given.
        text: String,
        /// Its length in characters.
        found: usize,
        /// The longest the service takes.
        limit: usize,
    },
    /// A character outside the allowed set.
    #[error("{kind} `{text}` may not contain {found:?}; letters, digits, `-`, `.`, `_` and `:` are allowed")]
    Character {
        /// What was being named.
        kind: &'static str,
        /// The text as given.
        text: String,
        /// The first character that is not allowed.
        found: char,
    },
    /// The last character may only be a letter, a digit or a dash.
    #[error("{kind} `{text}` may not end in {found:?}; end it with a letter, a digit or a dash")]
    LastCharacter {
        /// What was being named.
        kind: &'static str,
        /// The text as given.
        text: String,
        /// The character it ends in.
        found: char,
    },
}

/// Registration ids: up to 128 of letters, digits, `-` `.` `_` `:`, ending in a letter, digit or dash
/// (DPS documentation, "Service concepts", registration ID).
fn service_name(kind: &'static str, text: &str, limit: usize, extra: &str) -> Result<(), InvalidName> {
    let length = text.chars().count();
    let Some(last) = text.chars().last() else {
        return Err(InvalidName::Empty { kind });
    };
    if length > limit {
        return Err(InvalidName::TooLong { kind, text: text.to_owned(), found: length, limit });
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || extra.contains(c);
    if let Some(found) = text.chars().find(|&c| !allowed(c)) {
        return Err(InvalidName::Character { kind, text: text.to_owned(), found });
    }
    if !(last.is_ascii_alphanumeric() || last == '-') {
        return Err(InvalidName::LastCharacter { kind, text: text.to_owned(), found: last });
    }
    Ok(())
}

macro_rules! name_type {
    ($(#[$meta:meta])* $name:ident, $kind:literal, $limit:literal, $extra:literal) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Parses a name; the text is kept as given.
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidName> {
                let text = text.into();
                service_name($kind, &text, $limit, $extra)?;
                Ok(Self(text))
            }

            /// The name as given.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
    };
}

name_type!(
    /// The name a device registers under: the CN of its leaf, the MQTT client id, a part of topics and paths.
    ///
    /// The service compares registration ids without regard to case; use [`RegistrationId::key`] for that.
    RegistrationId, "registration id", 128, "-._:"
);
name_type!(
    /// The name of an enrollment group (`enrollmentGroupId`).
    EnrollmentGroupId, "enrollment group id", 128, "-._:"
);
name_type!(
    /// The friendly name of an uploaded CA certificate: at most 256 characters, alphanumerics and `-` `.` `_`.
    CaName, "CA certificate name", 256, "-._"
);
name_type!(
    /// The id scope of a DPS instance, which picks the instance inside the shared endpoint.
    IdScope, "id scope", 64, "-"
);

impl RegistrationId {
    /// The form in which the service compares registration ids: ASCII letters folded to lower case.
    pub fn key(&self) -> String {
        self.0.to_ascii_lowercase()
    }

    /// Whether `text` names the same registration.
    pub fn matches(&self, text: &str) -> bool {
        self.0.eq_ignore_ascii_case(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registration_ids_follow_the_documented_charset() {
        for good in ["a", "a-b.c_d:e-", "DEV-1", &"x".repeat(128)] {
            assert_eq!(RegistrationId::new(good).map(String::from).as_deref(), Ok(good));
        }
        let kind = "registration id";
        let text = |t: &str| t.to_owned();
        for (bad, why) in [
            ("", InvalidName::Empty { kind }),
            ("gerät-1", InvalidName::Character { kind, text: text("gerät-1"), found: 'ä' }),
            ("a/b", InvalidName::Character { kind, text: text("a/b"), found: '/' }),
            (" a", InvalidName::Character { kind, text: text(" a"), found: ' ' }),
            ("a\0", InvalidName::Character { kind, text: text("a\0"), found: '\0' }),
            ("a.", InvalidName::LastCharacter { kind, text: text("a."), found: '.' }),
        ] {
            assert_eq!(RegistrationId::new(bad), Err(why));
        }
        let long = "x".repeat(129);
        assert_eq!(
            RegistrationId::new(long.clone()),
            Err(InvalidName::TooLong { kind, text: long, found: 129, limit: 128 })
        );
    }

    #[test]
    fn registration_ids_are_the_same_in_any_case() {
        let id = RegistrationId::new("Dev-1").expect("a good id");
        assert!(id.matches("dEV-1") && !id.matches("dev-2"));
        assert_eq!(id.key(), "dev-1");
    }
}
