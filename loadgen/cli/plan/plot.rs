//! Arrivals over time as a small plot: at most 10 lines high, its bars at most 60 columns wide.

use crate::cli::figures::{by, rate};
use crate::forecast::Rates;
use std::time::Duration;

/// Lines of bars; the axis and its labels are two more.
const HEIGHT: usize = 8;
/// Columns of bars at most.
const WIDTH: usize = 60;
/// A column's top from nothing to full, an eighth at a time.
const EIGHTHS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// What the plot is drawn with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ink {
    /// Blocks and lines.
    Unicode,
    /// What every terminal has.
    Ascii,
}

impl Ink {
    /// What the user's locale can show.
    #[expect(clippy::disallowed_methods, reason = "the edge of the shell: what the locale says")]
    pub(super) fn of_locale() -> Self {
        let set = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
        Self::of(["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set).as_deref())
    }

    fn of(locale: Option<&str>) -> Self {
        let locale = locale.unwrap_or_default().to_ascii_lowercase();
        if locale.contains("utf-8") || locale.contains("utf8") { Self::Unicode } else { Self::Ascii }
    }

    /// A cell that is so many eighths full.
    fn cell(self, eighths: usize) -> char {
        match self {
            Self::Unicode => EIGHTHS[eighths.min(8)],
            Self::Ascii if eighths >= 4 => '#',
            Self::Ascii if eighths > 0 => '.',
            Self::Ascii => ' ',
        }
    }

    /// Beside a label, and along the axis.
    const fn axis(self) -> (char, char, char) {
        match self {
            Self::Unicode => ('┤', '└', '─'),
            Self::Ascii => ('|', '+', '-'),
        }
    }
}

/// The plot, a line each.
pub(super) fn plot(rates: &Rates, last_due: Duration, ink: Ink) -> Vec<String> {
    let top = if rates.peak > 0.0 { rates.peak } else { 1.0 };
    // Few columns are drawn wide, so that a short run is more than a stroke.
    let wide = (WIDTH / rates.curve.len().max(1)).max(1);
    let columns = rates.curve.len().min(WIDTH);
    let eighths = |rate: f64| {
        let full = (rate / top * (HEIGHT * 8) as f64).round() as usize;
        if rate > 0.0 { full.max(1) } else { 0 }
    };
    let (tick, corner, line) = ink.axis();
    let label = |row: usize| match row {
        0 => format!("{}/s", rate(top)),
        row if row == HEIGHT / 2 => format!("{}/s", rate(top / 2.0)),
        _ => String::new(),
    };
    let mut lines: Vec<String> = (0..HEIGHT)
        .map(|row| {
            let below = (HEIGHT - 1 - row) * 8;
            let cell = |rate: &f64| ink.cell(eighths(*rate).saturating_sub(below).min(8));
            let bars: String = rates
                .curve
                .iter()
                .take(columns)
                .flat_map(|rate| std::iter::repeat_n(cell(rate), wide))
                .collect();
            format!("{:>11} {tick}{}", label(row), bars.trim_end())
        })
        .collect();
    let width = columns * wide;
    lines.push(format!("{:>11} {corner}{}", "0", line.to_string().repeat(width)));
    let end = by(last_due);
    lines.push(format!("{:>13}{}{end:>width$}", "", "0", width = width.saturating_sub(1).max(end.len() + 1)));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(curve: &[f64]) -> Rates {
        let peak = curve.iter().copied().fold(0.0, f64::max);
        Rates { mean: 0.0, peak, column_seconds: 1.0, curve: curve.to_vec() }
    }

    #[test]
    fn a_ramp_is_drawn_with_its_axes() {
        let drawn = plot(&rates(&[0.0, 25.0, 50.0, 100.0]), Duration::from_secs(4), Ink::Ascii);
        let bar = |n: usize| "#".repeat(n * 15);
        let empty = |n: usize| " ".repeat(n * 15);
        let expected = [
            format!("      100/s |{}{}", empty(3), bar(1)),
            format!("            |{}{}", empty(3), bar(1)),
            format!("            |{}{}", empty(3), bar(1)),
            format!("            |{}{}", empty(3), bar(1)),
            format!("       50/s |{}{}", empty(2), bar(2)),
            format!("            |{}{}", empty(2), bar(2)),
            format!("            |{}{}", empty(1), bar(3)),
            format!("            |{}{}", empty(1), bar(3)),
            format!("          0 +{}", "-".repeat(60)),
            format!("             0{:>59}", "4 s"),
        ];
        assert_eq!(drawn, expected);
        let blocks = plot(&rates(&[1.0, 16.0]), Duration::from_secs(2), Ink::Unicode);
        assert!(blocks[7].ends_with(&format!("┤{}{}", "▄".repeat(30), "█".repeat(30))), "{blocks:?}");
    }

    #[test]
    fn a_plot_is_ten_lines_of_less_than_eighty_columns_whatever_the_rates() {
        let many: Vec<f64> = (0..60).map(|at| f64::from(at) * 1e12).collect();
        for (curve, last) in
            [(&[][..], 0), (&[0.0], 0), (&[1e-9], 1), (&[0.5; 59], 9_999_999), (&many[..], u64::MAX)]
        {
            for ink in [Ink::Ascii, Ink::Unicode] {
                let drawn = plot(&rates(curve), Duration::from_secs(last), ink);
                assert_eq!(drawn.len(), 10);
                assert!(drawn.iter().all(|line| line.chars().count() <= 110), "{drawn:#?}");
                assert!(ink == Ink::Unicode || drawn.iter().all(|line| line.is_ascii()));
            }
        }
    }

    #[test]
    fn blocks_are_for_locales_that_have_them() {
        for (locale, ink) in [
            (Some("C.UTF-8"), Ink::Unicode),
            (Some("de_DE.utf8"), Ink::Unicode),
            (Some("C"), Ink::Ascii),
            (Some("de_DE.ISO-8859-1"), Ink::Ascii),
            (None, Ink::Ascii),
        ] {
            assert_eq!(Ink::of(locale), ink, "{locale:?}");
        }
    }
}
