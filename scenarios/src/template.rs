//! How a fleet is named: one text with a place for the device's index.

use sim_protocol::RegistrationId;
use std::fmt;

/// The longest common name an X.509 certificate may carry, in characters (RFC 5280, `ub-common-name`).
const LONGEST_COMMON_NAME: usize = 64;

/// The widest zero padding: as many digits as the largest index has.
const WIDEST: usize = 20;

/// A registration id with a place for the index: `line-a-{index}` or `line-a-{index:05}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    before: String,
    width: usize,
    after: String,
}

/// Why a text is no template, or a template no name for a fleet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTemplate {
    /// Every device would have the same name.
    #[error("template `{text}` has no `{{index}}`")]
    NoIndex {
        /// The text as given.
        text: String,
    },
    /// One place for the index is enough.
    #[error("template `{text}` has more than one `{{…}}`")]
    MoreThanOne {
        /// The text as given.
        text: String,
    },
    /// Something else than an index in braces.
    #[error("template `{text}` may not contain `{found}`; write `{{index}}` or `{{index:05}}`")]
    Placeholder {
        /// The text as given.
        text: String,
        /// What stands where the index should.
        found: String,
    },
    /// The name it makes for an index is no registration id.
    #[error("device {index} has no registration id: {cause}")]
    Name {
        /// The index of the device, from 0.
        index: u64,
        /// Why the name is none.
        cause: sim_protocol::InvalidName,
    },
    /// The name it makes for an index does not fit in a certificate.
    #[error(
        "device {index} would be named `{name}`, {found} characters; the common name of a certificate holds {}",
        LONGEST_COMMON_NAME
    )]
    TooLong {
        /// The index of the device, from 0.
        index: u64,
        /// The name.
        name: String,
        /// Its length in characters.
        found: usize,
    },
}

impl Template {
    /// Parses a template; which names it makes is checked by [`Template::fits`].
    pub fn parse(text: &str) -> Result<Self, InvalidTemplate> {
        let given = || text.to_owned();
        let Some((before, rest)) = text.split_once('{') else {
            return Err(match text.contains('}') {
                true => InvalidTemplate::Placeholder { text: given(), found: "}".to_owned() },
                false => InvalidTemplate::NoIndex { text: given() },
            });
        };
        let Some((inside, after)) = rest.split_once('}') else {
            return Err(InvalidTemplate::Placeholder { text: given(), found: format!("{{{rest}") });
        };
        let Some(width) = index_width(inside) else {
            return Err(InvalidTemplate::Placeholder { text: given(), found: format!("{{{inside}}}") });
        };
        if before.contains('}') || after.contains(['{', '}']) {
            return Err(InvalidTemplate::MoreThanOne { text: given() });
        }
        Ok(Self { before: before.to_owned(), width, after: after.to_owned() })
    }

    /// The name of the device with this index.
    pub fn render(&self, index: u64) -> String {
        let Self { before, width, after } = self;
        format!("{before}{index:0width$}{after}")
    }

    /// The registration id of the device with this index, at most 64 characters long.
    pub fn registration_id(&self, index: u64) -> Result<RegistrationId, InvalidTemplate> {
        let name = self.render(index);
        let found = name.chars().count();
        if found > LONGEST_COMMON_NAME {
            return Err(InvalidTemplate::TooLong { index, name, found });
        }
        RegistrationId::new(name).map_err(|cause| InvalidTemplate::Name { index, cause })
    }

    /// Checks that every device of a fleet of this size gets a registration id: the first and the
    /// last are the shortest and the longest, and differ from the others in digits alone.
    pub fn fits(&self, devices: u64) -> Result<(), InvalidTemplate> {
        self.registration_id(0)?;
        self.registration_id(devices.saturating_sub(1))?;
        Ok(())
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.width {
            0 => write!(f, "{}{{index}}{}", self.before, self.after),
            width => write!(f, "{}{{index:0{width}}}{}", self.before, self.after),
        }
    }
}

impl std::str::FromStr for Template {
    type Err = InvalidTemplate;
    fn from_str(text: &str) -> Result<Self, InvalidTemplate> {
        Self::parse(text)
    }
}

/// The width asked for between the braces, 0 for none.
fn index_width(inside: &str) -> Option<usize> {
    let format = inside.strip_prefix("index")?;
    if format.is_empty() {
        return Some(0);
    }
    let digits = format.strip_prefix(":0")?;
    let plain = digits.chars().all(|c| c.is_ascii_digit());
    digits.parse().ok().filter(|width| plain && (1..=WIDEST).contains(width))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_is_padded_as_asked_and_never_cut() {
        for (text, index, name) in [
            ("dev-{index}", 7, "dev-7"),
            ("dev-{index:05}", 7, "dev-00007"),
            ("dev-{index:02}", 12_345, "dev-12345"),
            ("{index:010}-x", u64::MAX, "18446744073709551615-x"),
        ] {
            let template = Template::parse(text).expect(text);
            assert_eq!(template.render(index), name);
            assert_eq!(template.to_string(), text);
        }
    }

    #[test]
    fn exactly_one_index_is_asked_for() {
        let text = |t: &str| t.to_owned();
        let placeholder =
            |t: &str, found: &str| InvalidTemplate::Placeholder { text: text(t), found: text(found) };
        for (bad, why) in [
            ("dev", InvalidTemplate::NoIndex { text: text("dev") }),
            ("dev}", placeholder("dev}", "}")),
            ("dev-{index", placeholder("dev-{index", "{index")),
            ("dev-{n}", placeholder("dev-{n}", "{n}")),
            ("dev-{index:5}", placeholder("dev-{index:5}", "{index:5}")),
            ("dev-{index:0}", placeholder("dev-{index:0}", "{index:0}")),
            ("dev-{index:0+5}", placeholder("dev-{index:0+5}", "{index:0+5}")),
            ("dev-{index:099}", placeholder("dev-{index:099}", "{index:099}")),
            ("{index}-{index}", InvalidTemplate::MoreThanOne { text: text("{index}-{index}") }),
        ] {
            assert_eq!(Template::parse(bad), Err(why));
        }
    }

    #[test]
    fn a_fleet_whose_last_name_is_too_long_or_no_name_is_refused() {
        let edge = Template::parse(&format!("{}{{index}}", "x".repeat(62))).expect("a template");
        assert_eq!(edge.fits(100), Ok(()));
        assert!(matches!(edge.fits(101), Err(InvalidTemplate::TooLong { index: 100, found: 65, .. })));
        let slash = Template::parse("a/{index}").expect("a template");
        assert!(matches!(slash.fits(1), Err(InvalidTemplate::Name { index: 0, .. })));
    }
}
