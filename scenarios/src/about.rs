//! Why one would run a scenario, in the words of its file.

/// The comment that the text of a scenario opens with, as prose on one line; its first paragraph. Empty where there is
/// none.
pub fn about(text: &str) -> String {
    let comment = text.lines().map_while(|line| line.strip_prefix('#'));
    // `#:schema …` is for editors.
    let prose = comment.filter(|line| !line.starts_with(':')).map(str::trim);
    let paragraph = prose.skip_while(|line| line.is_empty()).take_while(|line| !line.is_empty());
    paragraph.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SHIPPED;

    #[test]
    fn the_opening_comment_is_joined_to_prose() {
        for (text, prose) in [
            ("# One thing\n# after another.\nname = \"a\" # no\n# nor this", "One thing after another."),
            ("#\n#   Indented.\n#\n# Another paragraph.\n", "Indented."),
            ("#:schema scenario.schema.json\n# Why.\n", "Why."),
            ("name = \"a\"\n# later\n", ""),
            ("", ""),
        ] {
            assert_eq!(about(text), prose, "{text}");
        }
    }

    #[test]
    fn every_shipped_scenario_says_why_one_would_run_it() {
        for (file, text) in SHIPPED {
            assert!(about(text).ends_with('.'), "{file}");
        }
    }
}
