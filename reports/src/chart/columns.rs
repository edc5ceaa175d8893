//! The seconds of a run in columns, so that a day is drawn with as many points as can be told apart.
//!
//! Nothing is smoothed: a column shows the highest of its seconds, or their sum, and the note says which.

use crate::record::{Record, Second};
use crate::view::{counted, grouped};

/// Lengths of a column, in seconds, that a reader can divide by; longer ones are whole hours.
const LENGTHS: [u64; 16] = [1, 2, 5, 10, 15, 20, 30, 60, 120, 180, 300, 360, 600, 900, 1_200, 1_800];
const HOUR: u64 = 3_600;

/// The seconds of a run, so many to a column.
pub(super) struct Columns<'r> {
    /// The length of a column, in seconds.
    pub(super) step: u64,
    /// The length of the run, in seconds.
    pub(super) seconds: u64,
    columns: Vec<Vec<&'r Second>>,
}

impl<'r> Columns<'r> {
    /// As few seconds to a column as make no more than `most` columns; nothing for a run without seconds.
    pub(super) fn of(record: &'r Record, most: u64) -> Option<Self> {
        let last = record.per_second.iter().map(|second| second.t).max()?;
        let seconds = last.saturating_add(1);
        let step = length(seconds.div_ceil(most));
        let mut columns = vec![Vec::new(); (last / step) as usize + 1];
        for second in &record.per_second {
            columns[(second.t / step) as usize].push(second);
        }
        Some(Self { step, seconds, columns })
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.columns.len()
    }

    /// The seconds of each.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[&'r Second]> {
        self.columns.iter().map(Vec::as_slice)
    }

    /// The highest value in each; nothing where no second has one.
    pub(super) fn highest(&self, value: impl Fn(&Second) -> Option<u64>) -> Vec<Option<u64>> {
        self.iter().map(|column| column.iter().filter_map(|second| value(second)).max()).collect()
    }

    /// The sum of the values in each.
    pub(super) fn sums(&self, value: impl Fn(&Second) -> u64) -> Vec<u64> {
        self.iter().map(|column| column.iter().map(|second| value(second)).sum()).collect()
    }

    /// Where the middle of a column is, as a share of all of them.
    pub(super) fn middle(&self, column: usize) -> f64 {
        (column as f64 + 0.5) / self.count() as f64
    }

    /// Where a moment is, as a share of all columns.
    pub(super) fn share(&self, second: u64) -> f64 {
        second as f64 / (self.step as f64 * self.count() as f64)
    }

    /// Where a moment within a second is, as a share of all columns.
    pub(super) fn moment(&self, seconds: f64) -> f64 {
        (seconds / (self.step as f64 * self.count() as f64)).clamp(0.0, 1.0)
    }

    /// Which seconds a column is made of: `12 s`, or `720 to 1,079 s`.
    pub(super) fn name(&self, column: usize) -> String {
        let first = column as u64 * self.step;
        let last = (first.saturating_add(self.step) - 1).min(self.seconds - 1);
        match first == last {
            true => format!("{} s", grouped(first)),
            false => format!("{} to {} s", grouped(first), grouped(last)),
        }
    }

    /// What a point of a line stands for.
    pub(super) fn points_in_words(&self) -> String {
        match self.step {
            1 => "a point is a second".to_owned(),
            step => format!("a point is the highest of {}", counted(step, "second")),
        }
    }

    /// What a column is: `a second`, `5 seconds`, `6 minutes`.
    pub(super) fn one_in_words(&self) -> String {
        let article = if self.step == 1 { "a " } else { "" };
        format!("{article}{}", self.length_in_words())
    }

    /// How long a column is, after `per`: `second`, `5 seconds`, `6 minutes`.
    pub(super) fn length_in_words(&self) -> String {
        match self.step {
            1 => "second".to_owned(),
            step if step.is_multiple_of(HOUR) && step > HOUR => format!("{} hours", grouped(step / HOUR)),
            step if step.is_multiple_of(60) && step > 60 => format!("{} minutes", grouped(step / 60)),
            step => counted(step, "second"),
        }
    }

    /// What to know of the last column, where it is shorter than the others.
    pub(super) fn rest_in_words(&self) -> String {
        match self.seconds % self.step {
            0 => String::new(),
            rest => format!("; the last has only {}", counted(rest, "second")),
        }
    }
}

/// The least length of a column that is at least this, in seconds.
fn length(least: u64) -> u64 {
    let hours = least.div_ceil(HOUR).saturating_mul(HOUR);
    LENGTHS.into_iter().find(|length| *length >= least).unwrap_or(hours)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(seconds: impl IntoIterator<Item = Second>) -> Record {
        Record { per_second: seconds.into_iter().collect(), ..Record::default() }
    }

    #[test]
    fn columns_are_as_short_as_their_number_allows() {
        for (seconds, most, step, count) in [
            (1, 240, 1, 1),
            (240, 240, 1, 240),
            (241, 240, 2, 121),
            (86_400, 240, 360, 240),
            (86_400, 60, 1_800, 48),
        ] {
            let record = run((0..seconds).map(|t| Second { t, ..Second::default() }));
            let columns = Columns::of(&record, most).expect("seconds");
            assert_eq!((columns.step, columns.count()), (step, count), "{seconds}");
        }
        assert!(Columns::of(&Record::default(), 240).is_none());
    }

    #[test]
    fn a_column_has_the_highest_and_the_sum_of_its_seconds_and_no_value_where_nobody_has_one() {
        let second =
            |t, value| Second { t, started: value, response_us: Some([value; 4]), ..Second::default() };
        let silent = |t| Second { t, ..Second::default() };
        let record = run([second(0, 3), second(1, 9), silent(2), silent(3), second(4, 1)]);
        let columns = Columns::of(&record, 3).expect("seconds");
        assert_eq!(columns.highest(|s| s.response_us.map(|[p50, ..]| p50)), [Some(9), None, Some(1)]);
        assert_eq!(columns.sums(|s| s.started), [12, 0, 1]);
        assert_eq!([columns.name(0), columns.name(2)], ["0 to 1 s", "4 s"]);
    }

    #[test]
    fn the_length_of_a_column_is_told_in_its_own_unit() {
        for (seconds, one, length) in [
            (60, "a second", "second"),
            (1_800, "30 seconds", "30 seconds"),
            (3_600, "60 seconds", "60 seconds"),
            (7_200, "2 minutes", "2 minutes"),
            (86_400 * 5, "2 hours", "2 hours"),
        ] {
            let record = run([0, seconds - 1].map(|t| Second { t, ..Second::default() }));
            let columns = Columns::of(&record, 60).expect("seconds");
            assert_eq!((columns.one_in_words().as_str(), columns.length_in_words().as_str()), (one, length));
        }
    }

    #[test]
    fn a_second_that_no_run_reaches_makes_no_more_columns() {
        let record = run([0, u64::MAX].map(|t| Second { t, ..Second::default() }));
        assert!(Columns::of(&record, 240).expect("seconds").count() <= 241);
    }
}
