//! How names and key ids are shown. What a stranger presents may be of any length and hold any character.

/// Characters of a name that are shown.
const LONGEST_NAME: usize = 160;
/// Octets of a key id or serial number that are shown; RFC 5280 allows 20 for both.
const LONGEST_ID: usize = 24;
/// The text, or its beginning and a mark that it goes on. What would steer a terminal, or turn the direction of
/// writing, is escaped.
pub(crate) fn cut(text: String) -> String {
    let mut shown: String = text.chars().take(LONGEST_NAME).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    if !shown.chars().any(steers) {
        return shown;
    }
    let escape = |c: char| if steers(c) { c.escape_unicode().to_string() } else { c.to_string() };
    shown.chars().map(escape).collect()
}

/// Control characters, and those that override the direction of writing.
fn steers(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Hexadecimal digits of a key id or a serial number.
pub(crate) fn digits(bytes: &[u8]) -> String {
    match bytes.get(..LONGEST_ID) {
        Some(start) if bytes.len() > LONGEST_ID => format!("{}…", hex(start)),
        _ => hex(bytes),
    }
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_is_cut_and_what_is_short_is_not() {
        assert_eq!(cut("ä".repeat(LONGEST_NAME)), "ä".repeat(LONGEST_NAME));
        assert_eq!(cut("ä".repeat(65_536)).chars().count(), LONGEST_NAME + 1);
        assert_eq!(cut("a\u{1b}[2J\u{202e}b".to_owned()), "a\\u{1b}[2J\\u{202e}b");
        assert_eq!(digits(&[0xab; LONGEST_ID]).len(), 2 * LONGEST_ID);
        assert_eq!(digits(&[0xab; 65_536]).chars().count(), 2 * LONGEST_ID + 1);
    }
}
