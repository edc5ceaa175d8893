//! How certificates, dates and sizes are written in sentences.

use crate::certificate::Certificate;
pub(super) use crate::shown::{cut, digits};
use std::cell::RefCell;
use std::collections::HashMap;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Names in one list.
const LONGEST_LIST: usize = 6;

/// A moment in RFC 3339 form.
pub(super) fn date(moment: i64) -> String {
    let known = OffsetDateTime::from_unix_timestamp(moment).ok();
    known.and_then(|m| m.format(&Rfc3339).ok()).unwrap_or_else(|| format!("{moment} s after 1970"))
}

/// A length of time in its largest whole unit.
pub(super) fn span(seconds: i64) -> String {
    let units = [(86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")];
    let fits = units.into_iter().find(|(length, _)| seconds >= *length);
    let (length, unit) = fits.unwrap_or((1, "second"));
    plural(usize::try_from(seconds / length).unwrap_or(0), unit)
}

/// `1 certificate`, `2 certificates`.
pub(super) fn plural(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

/// The first few of a list, and how many more there are.
pub(super) fn listed(names: &[String]) -> String {
    let shown = names.iter().take(LONGEST_LIST).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(LONGEST_LIST) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// `key id …` of a certificate, or that it names none.
pub(super) fn key_id(certificate: &Certificate) -> String {
    named_id(certificate.subject_key_id())
}

/// `key id …` that a certificate gives its issuer, or that it names none.
pub(super) fn issuer_key_id(certificate: &Certificate) -> String {
    named_id(certificate.authority_key_id())
}

fn named_id(id: Option<&[u8]>) -> String {
    id.map_or_else(|| "no key id".to_owned(), |id| format!("key id {}", digits(id)))
}

/// Subjects and issuers in text form, cut, each worked out once: names may be long and occur in many findings.
#[derive(Debug, Default)]
pub(super) struct Names(RefCell<HashMap<[u8; 32], (String, String)>>);

impl Names {
    /// The subject, or that there is none.
    pub(super) fn subject(&self, certificate: &Certificate) -> String {
        self.both(certificate).0
    }

    /// The issuer name.
    pub(super) fn issuer(&self, certificate: &Certificate) -> String {
        self.both(certificate).1
    }

    fn both(&self, certificate: &Certificate) -> (String, String) {
        let make = || (cut(certificate.subject()), cut(certificate.issuer()));
        self.0.borrow_mut().entry(*certificate.sha256()).or_insert_with(make).clone()
    }
}

/// A subject in a sentence; a certificate may have none.
pub(super) fn quoted(name: &str) -> String {
    if name.is_empty() { "a certificate without a subject".to_owned() } else { format!("`{name}`") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_given_in_their_largest_whole_unit() {
        for (seconds, text) in [
            (0, "0 seconds"),
            (1, "1 second"),
            (119, "1 minute"),
            (7_200, "2 hours"),
            (86_400, "1 day"),
            (90 * 86_400, "90 days"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }

    #[test]
    fn dates_beyond_the_calendar_are_still_written() {
        assert_eq!(date(0), "1970-01-01T00:00:00Z");
        assert_ne!(date(i64::MAX), date(i64::MAX - 1));
    }
}
