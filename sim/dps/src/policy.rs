//! Shared access policies: who may do what on the service API.
//!
//! Pure: the token, what it is presented for, and the moment go in. A token is judged in this order: is it
//! readable, whose is it, who signed it, until when, for what, and may its policy do that.
//!
//! Source: DPS documentation, "Control access to DPS".

use percent_encoding::percent_decode_str;
use sim_protocol::sas::{OWNER_POLICY, SharedKey, Token, TokenFault};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// What a policy may allow. `ours:` none implies another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Right {
    /// Changing the instance.
    ServiceConfig,
    /// Reading enrollments.
    EnrollmentRead,
    /// Writing and deleting enrollments.
    EnrollmentWrite,
    /// Registering as a device.
    DeviceConnect,
    /// Reading registration records.
    RegistrationStatusRead,
    /// Deleting registration records.
    RegistrationStatusWrite,
}

impl Right {
    /// Every right, which is what the owner's policy has.
    pub const ALL: [Right; 6] = [
        Right::ServiceConfig,
        Right::EnrollmentRead,
        Right::EnrollmentWrite,
        Right::DeviceConnect,
        Right::RegistrationStatusRead,
        Right::RegistrationStatusWrite,
    ];

    /// Its name on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Right::ServiceConfig => "service-config",
            Right::EnrollmentRead => "enrollment-read",
            Right::EnrollmentWrite => "enrollment-write",
            Right::DeviceConnect => "device-connect",
            Right::RegistrationStatusRead => "registration-status-read",
            Right::RegistrationStatusWrite => "registration-status-write",
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Right {
    type Err = InvalidPolicy;

    fn from_str(text: &str) -> Result<Self, InvalidPolicy> {
        let known = Right::ALL.into_iter().find(|right| right.as_str() == text);
        known.ok_or_else(|| InvalidPolicy::Right { text: text.to_owned() })
    }
}

/// A policy before it has keys, as on the command line: `reader=enrollment-read+registration-status-read`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyTerms {
    /// Its name.
    pub name: String,
    /// What it allows; at least one right.
    pub rights: Vec<Right>,
}

/// Why a text is not a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPolicy {
    /// Not a name, `=` and rights.
    #[error("`{text}` is not a policy: write a name, `=` and rights, as in `reader=enrollment-read`")]
    Form {
        /// The text as given.
        text: String,
    },
    /// A character that would not stand for itself in a token or a connection string.
    #[error("policy name `{name}` may not contain {found:?}; use letters, digits, `-`, `.` and `_`")]
    Name {
        /// The name as given.
        name: String,
        /// The first character that is not allowed.
        found: char,
    },
    /// Not a right.
    #[error(
        "`{text}` is not a right: use `service-config`, `enrollment-read`, `enrollment-write`, \
         `device-connect`, `registration-status-read` or `registration-status-write`, joined by `+`"
    )]
    Right {
        /// The right as given.
        text: String,
    },
}

impl FromStr for PolicyTerms {
    type Err = InvalidPolicy;

    fn from_str(text: &str) -> Result<Self, InvalidPolicy> {
        let parts = text.split_once('=').filter(|(name, rights)| !name.is_empty() && !rights.is_empty());
        let (name, rights) = parts.ok_or_else(|| InvalidPolicy::Form { text: text.to_owned() })?;
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        if let Some(found) = name.chars().find(|&c| !allowed(c)) {
            return Err(InvalidPolicy::Name { name: name.to_owned(), found });
        }
        let rights = rights.split('+').map(str::parse).collect::<Result<_, _>>()?;
        Ok(PolicyTerms { name: name.to_owned(), rights })
    }
}

/// A shared access policy. Either key signs for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What tokens call it (`skn`).
    pub name: String,
    /// One key.
    pub primary: SharedKey,
    /// Another, for a roll-over.
    pub secondary: SharedKey,
    /// What it allows.
    pub rights: Vec<Right>,
}

impl Policy {
    /// The policy that every instance is created with; it allows everything.
    pub fn owner(primary: SharedKey, secondary: SharedKey) -> Self {
        Policy { name: OWNER_POLICY.to_owned(), primary, secondary, rights: Right::ALL.to_vec() }
    }

    /// Only a signature that is not the primary key's may still be the secondary's: other faults are final.
    fn verify(&self, token: &Token<'_>, now_unix: u64) -> Result<(), Denied> {
        let first = token.signed_by(&self.primary, now_unix);
        let second = || token.signed_by(&self.secondary, now_unix);
        let verified = if first == Err(TokenFault::BadSignature) { second() } else { first };
        verified.map_err(|fault| match fault {
            TokenFault::Malformed => Denied::Malformed,
            TokenFault::Expired => Denied::Expired,
            TokenFault::UnknownPolicy | TokenFault::BadSignature => Denied::BadSignature,
        })
    }
}

/// Why a request is not authorised. The texts are for the person who made it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// It cannot be read.
    #[error(
        "the Authorization header is not a token: send `SharedAccessSignature sr=..&sig=..&se=..&skn=..`, \
         with `se` in Unix seconds"
    )]
    Malformed,
    /// It names a policy that is not known.
    #[error(
        "the token names the unknown policy `{0}`: put the name of one of this service's policies in `skn`"
    )]
    UnknownPolicy(String),
    /// No key that it could be signed with gives its signature.
    #[error(
        "the token's signature does not match: sign `sr` exactly as sent, a newline and `se` with the \
         primary or the secondary key of the policy"
    )]
    BadSignature,
    /// Its time has passed.
    #[error("the token has expired: sign a new one, and compare the clocks if it is new")]
    Expired,
    /// It is good, but for something else.
    #[error(
        "the token is signed for `{signed_for}`, and this is `{asked}`: sign one for the latter or its host"
    )]
    WrongResource {
        /// Its `sr`, decoded.
        signed_for: String,
        /// Host and path of the request.
        asked: String,
    },
    /// It is good, but its policy does not allow this.
    #[error("the policy `{policy}` lacks the right `{right}`: grant it, or sign with a policy that has it")]
    MissingRight {
        /// The policy's name.
        policy: String,
        /// What it would need.
        right: Right,
    },
}

/// Two policies cannot be told apart.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are two policies named `{name}`: rename one")]
pub struct DuplicatePolicy {
    /// The name they share.
    pub name: String,
}

/// The policies of an instance, each of another name.
#[derive(Clone, Debug)]
pub struct Policies(Vec<Policy>);

impl Policies {
    /// Takes policies of different names.
    pub fn new(policies: Vec<Policy>) -> Result<Self, DuplicatePolicy> {
        let mut names: Vec<&str> = policies.iter().map(|policy| policy.name.as_str()).collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(DuplicatePolicy { name: pair[0].to_owned() }),
            None => Ok(Policies(policies)),
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Policy> {
        self.0.iter()
    }

    /// Whether a request may be answered. `header` is its Authorization, `host` its Host (a port may follow),
    /// `path` its path as sent, and `right` what answering takes.
    pub fn authorize(
        &self,
        header: &str,
        host: &str,
        path: &str,
        right: Right,
        now_unix: u64,
    ) -> Result<(), Denied> {
        let token = Token::parse(header).map_err(|_| Denied::Malformed)?;
        let policy = self.signer(&token, now_unix)?;
        let signed_for = token.resource();
        if !covers(&signed_for, host, path) {
            return Err(Denied::WrongResource { signed_for, asked: format!("{host}{path}") });
        }
        if !policy.rights.contains(&right) {
            return Err(Denied::MissingRight { policy: policy.name.clone(), right });
        }
        Ok(())
    }

    /// The policy that signed a token: the one it names or, where it names none, the one whose key fits.
    fn signer(&self, token: &Token<'_>, now_unix: u64) -> Result<&Policy, Denied> {
        if let Some(name) = token.policy() {
            let named = self.0.iter().find(|policy| policy.name == name);
            let policy = named.ok_or_else(|| Denied::UnknownPolicy(name.to_owned()))?;
            return policy.verify(token, now_unix).map(|()| policy);
        }
        for policy in &self.0 {
            match policy.verify(token, now_unix) {
                Ok(()) => return Ok(policy),
                Err(Denied::BadSignature) => {}
                Err(other) => return Err(other),
            }
        }
        Err(Denied::BadSignature)
    }
}

/// Whether a token for `signed_for` is good for this host and path: the same host, the same port where both
/// name one, and a path that leads to the one asked for, segment by segment. Clients sign for a host, a host
/// and port, or a URL.
fn covers(signed_for: &str, host: &str, path: &str) -> bool {
    let bare = signed_for.split_once("://").map_or(signed_for, |(_, rest)| rest);
    let (authority, scope) = bare.split_at(bare.find('/').unwrap_or(bare.len()));
    let ((signed_host, signed_port), (asked_host, asked_port)) = (split_port(authority), split_port(host));
    let same_port = signed_port.is_none() || asked_port.is_none() || signed_port == asked_port;
    let same_host = !signed_host.is_empty() && signed_host.eq_ignore_ascii_case(asked_host);
    let mut asked = segments(path);
    // `ours:` paths compare without regard to case, as names do at the service.
    let leads = segments(scope).all(|own| asked.next().is_some_and(|other| own.eq_ignore_ascii_case(&other)));
    same_host && same_port && leads
}

/// Segments of a path, decoded, for `:` is written both as it is and as `%3A`.
fn segments(path: &str) -> impl Iterator<Item = Cow<'_, str>> {
    let parts = path.split('/').filter(|part| !part.is_empty());
    parts.map(|part| percent_decode_str(part).decode_utf8_lossy())
}

/// Host and port; the colons inside the brackets of an IPv6 address are not the port's.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn key(byte: u8) -> SharedKey {
        SharedKey::from_bytes(vec![byte; 32]).expect("32 bytes")
    }

    fn policies() -> Policies {
        let reader = Policy {
            name: "reader".into(),
            primary: key(3),
            secondary: key(4),
            rights: vec![Right::EnrollmentRead, Right::RegistrationStatusRead],
        };
        Policies::new(vec![Policy::owner(key(1), key(2)), reader]).expect("two names")
    }

    fn ask(header: &str, right: Right) -> Result<(), Denied> {
        policies().authorize(header, "localhost:8443", "/enrollmentGroups/g", right, NOW)
    }

    #[test]
    fn a_policy_is_its_name_and_its_rights() {
        let terms = PolicyTerms {
            name: "reader".into(),
            rights: vec![Right::EnrollmentRead, Right::RegistrationStatusRead],
        };
        assert_eq!("reader=enrollment-read+registration-status-read".parse(), Ok(terms));
        for right in Right::ALL {
            assert_eq!(right.to_string().parse(), Ok(right));
        }
        let text = |t: &str| t.to_owned();
        for (bad, why) in [
            ("", InvalidPolicy::Form { text: text("") }),
            ("reader", InvalidPolicy::Form { text: text("reader") }),
            ("reader=", InvalidPolicy::Form { text: text("reader=") }),
            ("=enrollment-read", InvalidPolicy::Form { text: text("=enrollment-read") }),
            ("a&b=enrollment-read", InvalidPolicy::Name { name: text("a&b"), found: '&' }),
            ("a=enrollment-read+", InvalidPolicy::Right { text: text("") }),
            ("a=EnrollmentRead", InvalidPolicy::Right { text: text("EnrollmentRead") }),
        ] {
            assert_eq!(bad.parse::<PolicyTerms>(), Err(why), "{bad}");
        }
    }

    #[test]
    fn two_policies_of_one_name_are_refused() {
        let twice = Policies::new(vec![Policy::owner(key(1), key(2)), Policy::owner(key(3), key(4))]);
        assert_eq!(twice.err(), Some(DuplicatePolicy { name: OWNER_POLICY.into() }));
    }

    #[test]
    fn either_key_of_a_policy_signs_for_it_with_or_without_its_name() {
        let unnamed = |token: String| token.split_once("&skn=").expect("a name").0.to_owned();
        let signed = |byte, name: &str| key(byte).token("localhost", name, NOW + 1);
        let missing = Err(Denied::MissingRight { policy: "reader".into(), right: Right::EnrollmentWrite });
        for (header, expected) in [
            (signed(1, OWNER_POLICY), Ok(())),
            (signed(2, OWNER_POLICY), Ok(())),
            (unnamed(signed(1, "")), Ok(())),
            (unnamed(signed(2, "")), Ok(())),
            (signed(3, "reader"), missing.clone()),
            (signed(4, "reader"), missing.clone()),
            (unnamed(signed(4, "")), missing),
            (signed(3, OWNER_POLICY), Err(Denied::BadSignature)),
            (signed(1, "reader"), Err(Denied::BadSignature)),
            (unnamed(signed(9, "")), Err(Denied::BadSignature)),
            (signed(1, "Reader"), Err(Denied::UnknownPolicy("Reader".into()))),
        ] {
            assert_eq!(ask(&header, Right::EnrollmentWrite), expected, "{header}");
        }
    }

    #[test]
    fn a_policy_allows_what_it_lists_and_the_owner_everything() {
        let owner = key(1).token("localhost", OWNER_POLICY, NOW + 1);
        let reader = key(3).token("localhost", "reader", NOW + 1);
        for right in Right::ALL {
            assert_eq!(ask(&owner, right), Ok(()));
            let allowed = matches!(right, Right::EnrollmentRead | Right::RegistrationStatusRead);
            let missing = Denied::MissingRight { policy: "reader".into(), right };
            assert_eq!(ask(&reader, right), if allowed { Ok(()) } else { Err(missing) });
        }
    }

    #[test]
    fn a_token_is_refused_for_the_first_thing_that_is_wrong_with_it() {
        let good = key(1).token("localhost", OWNER_POLICY, NOW + 1);
        let elsewhere = |expiry| key(1).token("elsewhere", OWNER_POLICY, expiry);
        let unnamed_and_old = elsewhere(NOW).replace("&skn=provisioningserviceowner", "");
        let wrong = Denied::WrongResource {
            signed_for: "elsewhere".into(),
            asked: "localhost:8443/enrollmentGroups/g".into(),
        };
        for (header, expected) in [
            (String::new(), Denied::Malformed),
            ("Bearer x".into(), Denied::Malformed),
            (good.replace("&se=", "&se=x"), Denied::Malformed),
            (good.replace("sr=localhost", "sr=elsewhere"), Denied::BadSignature),
            (elsewhere(NOW), Denied::Expired),
            (unnamed_and_old, Denied::Expired),
            (elsewhere(NOW + 1), wrong),
        ] {
            assert_eq!(ask(&header, Right::ServiceConfig), Err(expected), "{header}");
        }
    }

    #[test]
    fn a_token_is_good_for_its_host_and_what_lies_below_its_path() {
        let group = "/enrollmentGroups/line%3A7";
        for (signed_for, host, path, expected) in [
            // Node signs for the HostName of its connection string.
            ("localhost", "localhost", group, true),
            ("localhost", "localhost:8443", group, true),
            // Python signs for what it was pointed at: a URL, or host and port.
            ("https://host:18883", "host:18883", group, true),
            ("127.0.0.2:18883", "127.0.0.2:18883", group, true),
            ("127.0.0.2:18883", "127.0.0.1:18883", group, false),
            // The port counts only where both name one.
            ("https://host:18883", "host", group, true),
            ("host:1", "host:2", group, false),
            ("DPS1.Example", "dps1.example", group, true),
            ("dps1.example", "dps11.example", group, false),
            ("dps1", "dps1.example", group, false),
            ("[::1]:8443", "[::1]:8443", group, true),
            ("[::1]", "[::1]:8443", group, true),
            ("[::1]:1", "[::1]:2", group, false),
            ("", "host", group, false),
            ("", "", group, false),
            ("https://", "host", group, false),
            ("/enrollmentGroups", "", group, false),
            // Paths, segment by segment.
            ("host/", "host", group, true),
            ("host/enrollmentGroups", "host", group, true),
            ("https://host/enrollmentgroups/line:7/", "host", group, true),
            ("host/enrollmentGroups/line:7", "host", "/enrollmentGroups/line:7/attestationmechanism", true),
            ("host/enrollment", "host", group, false),
            ("host/enrollmentGroups/line:77", "host", group, false),
            ("host/enrollmentGroups/line:7/more", "host", group, false),
            ("host/registrations", "host", group, false),
        ] {
            assert_eq!(covers(signed_for, host, path), expected, "{signed_for:?} for {host}{path}");
        }
    }

    // As sent by the Python client, which writes the fields in this order and was given a URL.
    #[test]
    fn the_resource_is_read_through_its_percent_encoding() {
        let token = key(1).token("https://localhost:8443", OWNER_POLICY, NOW + 1);
        assert!(token.contains("sr=https%3A%2F%2Flocalhost%3A8443&"), "{token}");
        assert_eq!(ask(&token, Right::EnrollmentWrite), Ok(()));
    }
}
