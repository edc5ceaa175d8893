//! Where a key that is written twice is written first, which the parser of TOML does not tell.

use toml::de::{DeTable, DeValue};

/// Stands in for the second of the two; no key of a scenario.
const STAND_IN: &str = "rollcall-stand-in";

/// What to do about a key that the parser refuses since the same one stands before it; none for other mistakes.
pub(crate) fn help(text: &str, error: &toml::de::Error) -> Option<String> {
    let second = error.span().filter(|_| error.message() == "duplicate key")?;
    let written = text.get(second.clone())?;
    let name = written.trim_matches(['"', '\'']);
    let mut other = text.to_owned();
    other.replace_range(second.clone(), STAND_IN);
    // Other mistakes may follow; what is read in spite of them has the two side by side.
    let (table, _) = DeTable::parse_recoverable(&other);
    let first = beside(table.get_ref(), second.start, name).filter(|first| *first < second.start)?;
    let line = text.get(..first)?.matches('\n').count() + 1;
    Some(format!("`{name}` is on line {line} already: keep one of the two"))
}

/// Where `name` stands in the table that has a key at `at`.
fn beside(table: &DeTable<'_>, at: usize, name: &str) -> Option<usize> {
    if table.keys().any(|key| key.span().start == at) {
        return table.get_key_value(name).map(|(key, _)| key.span().start);
    }
    table.values().find_map(|value| below(value.get_ref(), at, name))
}

fn below(value: &DeValue<'_>, at: usize, name: &str) -> Option<usize> {
    match value {
        DeValue::Table(table) => beside(table, at, name),
        DeValue::Array(array) => array.iter().find_map(|element| below(element.get_ref(), at, name)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_the_first_is_told_in_every_style() {
        for (text, line) in [
            ("a = 1\nb = 2\na = 3\n", Some(("a", 1))),
            ("[t]\na = 1\n[u]\na = 1\n\na = 2\n", Some(("a", 4))),
            ("[t]\na = 1\n[u]\n[t]\nb = 2\n", Some(("t", 1))),
            ("[[t]]\na = 1\n[[t]]\na = 1\na = 2\n", Some(("a", 4))),
            ("t.a = 1\nt.b = 2\nt.a = 3\n", Some(("a", 1))),
            ("\nt = { a = 1, a = 2 }\n", Some(("a", 2))),
            ("a = 1\n\"a\" = 2\n", Some(("a", 1))),
            ("a = 1\na = 2\na = 3\nb = 1\nb = 2\n", Some(("a", 1))),
            ("a = 1\nb = \n", None),
            ("a = 1\na\n", None),
        ] {
            let error = DeTable::parse(text).expect_err(text);
            let said =
                line.map(|(key, line)| format!("`{key}` is on line {line} already: keep one of the two"));
            assert_eq!(help(text, &error), said, "{text}");
        }
    }
}
