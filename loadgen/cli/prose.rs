//! Text for people at a terminal: lines that end at a word, and colours where they are wanted.

use anstyle::{AnsiColor, Style};
use std::fmt;
use std::io::IsTerminal as _;

/// The longest line of a text that is wrapped, in characters.
const WIDTH: usize = 100;

/// `text` in lines of at most 100 characters, as far as its words allow: the first after `first`, the others after as
/// many blanks.
pub(crate) fn wrapped(first: &str, text: &str) -> String {
    hanging(first, first.chars().count(), text)
}

/// The same, the other lines after so many blanks.
pub(crate) fn hanging(first: &str, indent: usize, text: &str) -> String {
    let mut out = first.to_owned();
    let mut column = first.chars().count();
    for (i, word) in text.split_whitespace().enumerate() {
        let length = word.chars().count();
        if i > 0 && column + 1 + length > WIDTH {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            column = indent;
        } else if i > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out
}

/// Whether and how words are coloured.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Paint {
    on: bool,
}

/// What a word says by its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Let in, verified.
    Good,
    /// Refused, an error.
    Bad,
    /// A warning.
    Warn,
    /// Worth knowing, or in the background.
    Faint,
    /// A heading.
    Strong,
}

impl Paint {
    /// Never any colour.
    #[cfg(test)]
    pub(crate) const PLAIN: Paint = Paint { on: false };

    /// Colours where standard output is a terminal that has them and NO_COLOR is not set.
    #[expect(clippy::disallowed_methods, reason = "the edge of the shell: what NO_COLOR and TERM say")]
    pub(crate) fn for_stdout() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Paint { on: !refused && std::io::stdout().is_terminal() }
    }

    /// `text` in the colour of a tone.
    pub(crate) fn say(self, tone: Tone, text: impl fmt::Display) -> String {
        if !self.on {
            return text.to_string();
        }
        let style = match tone {
            Tone::Good => Style::new().fg_color(Some(AnsiColor::Green.into())),
            Tone::Bad => Style::new().fg_color(Some(AnsiColor::Red.into())).bold(),
            Tone::Warn => Style::new().fg_color(Some(AnsiColor::Yellow.into())),
            Tone::Faint => Style::new().dimmed(),
            Tone::Strong => Style::new().bold(),
        };
        format!("{style}{text}{style:#}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_at_a_word_and_what_follows_is_indented_alike() {
        let text = "word ".repeat(60);
        let lines = wrapped("  fix: ", &text);
        assert!(lines.lines().count() > 2);
        assert!(lines.lines().all(|line| line.chars().count() <= WIDTH));
        assert!(lines.lines().skip(1).all(|line| line.starts_with("       word")));
        assert_eq!(wrapped("a ", &"x".repeat(200)).lines().count(), 1, "no word is cut");
        let lines = hanging("a long beginning: ", 4, &text);
        assert!(lines.lines().skip(1).all(|line| line.starts_with("    word")));
    }

    #[test]
    fn without_colours_a_word_is_itself() {
        assert_eq!(Paint::PLAIN.say(Tone::Bad, "reject"), "reject");
        let painted = Paint { on: true }.say(Tone::Bad, "reject");
        assert!(painted.starts_with('\u{1b}') && painted.contains("reject"));
    }
}
