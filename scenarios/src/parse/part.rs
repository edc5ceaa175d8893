//! Parts of the fleet: how many devices a number or a share comes to, and which ones they are.

use crate::kind::Wrong;
use crate::reader::Section;
use std::ops::Range;

/// ours: shares written with nine digits make a whole.
const CLOSE: f64 = 1e-9;

/// A part as it is written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Part {
    /// So many devices.
    Devices(u64),
    /// A share of the fleet.
    Share(f64),
}

impl Part {
    fn share(self, fleet: u64) -> f64 {
        match self {
            Self::Devices(devices) => devices as f64 / fleet as f64,
            Self::Share(share) => share,
        }
    }
}

/// A range of devices for each part, one after the other. Not each share is rounded but their sum so far, so
/// that shares that make a whole make it in devices too.
pub(super) fn ranges(parts: &[Part], fleet: u64) -> Vec<Range<u64>> {
    let (mut devices, mut shares, mut start) = (0_u64, 0.0, 0);
    let range = |part: &Part| {
        match part {
            Part::Devices(more) => devices = devices.saturating_add(*more),
            Part::Share(more) => shares += more,
        }
        let end = devices.saturating_add((shares * fleet as f64).round() as u64);
        std::mem::replace(&mut start, end)..end
    };
    parts.iter().map(range).collect()
}

/// By what share of the fleet its parts are more than all of it, or less where negative.
pub(super) fn surplus(parts: &[Part], fleet: u64) -> f64 {
    let surplus = parts.iter().map(|part| part.share(fleet)).sum::<f64>() - 1.0;
    if surplus.abs() <= CLOSE { 0.0 } else { surplus }
}

/// What is wrong with parts that make more than the fleet, or less.
pub(super) fn wrong_sum(what: &str, parts: &[Part], fleet: u64) -> Option<Wrong> {
    let surplus = surplus(parts, fleet);
    let shares = parts.iter().all(|part| matches!(part, Part::Share(_)));
    let (whole, of) = if shares { (1.0, "the fleet".to_owned()) } else { (fleet as f64, devices(fleet)) };
    let [made, off] = [1.0 + surplus, surplus.abs()].map(|share| shown(share * whole));
    let help = if surplus > 0.0 { format!("take {off} away") } else { format!("{off} is missing") };
    (surplus != 0.0).then(|| Wrong::new(format!("the {what} make {made} of {of}")).help(help))
}

/// Tells of each part whose share is too small for the fleet.
pub(super) fn check_none_empty(sections: &[Section<'_>], made: &[Range<u64>], fleet: u64) {
    for (section, made) in sections.iter().zip(made) {
        if made.is_empty() {
            let wrong = Wrong::new(format!("`share` comes to no device of {fleet}"));
            section.tell(section.place_of("share"), wrong);
        }
    }
}

/// One device or many.
pub(super) fn devices(number: u64) -> String {
    format!("{number} device{}", if number == 1 { "" } else { "s" })
}

/// A number without the noise of its last binary digits.
fn shown(number: f64) -> String {
    ((number * 1e9).round() / 1e9).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Part::{Devices, Share};

    #[test]
    fn parts_follow_each_other_and_make_the_whole() {
        for (parts, fleet, ends) in [
            (vec![Share(0.5), Share(0.5)], 3, vec![2, 3]),
            (vec![Share(1.0 / 3.0); 3], 100, vec![33, 67, 100]),
            (vec![Share(0.1); 10], 14, vec![1, 3, 4, 6, 7, 8, 10, 11, 13, 14]),
            (vec![Devices(10), Share(0.9)], 100, vec![10, 100]),
            (vec![Share(0.25), Devices(7), Share(0.05)], 10, vec![3, 10, 10]),
            (vec![Devices(99_999_999), Devices(1)], 100_000_000, vec![99_999_999, 100_000_000]),
            (vec![Share(0.3), Share(0.7)], 100_000_000, vec![30_000_000, 100_000_000]),
        ] {
            assert_eq!(surplus(&parts, fleet), 0.0, "{parts:?} of {fleet}");
            let ranges = ranges(&parts, fleet);
            assert_eq!(
                ranges.iter().map(|range| range.end).collect::<Vec<_>>(),
                ends,
                "{parts:?} of {fleet}"
            );
            assert_eq!(ranges[0].start, 0);
            assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start), "{ranges:?}");
        }
    }

    #[test]
    fn one_device_or_a_billionth_too_many_or_too_few_is_seen() {
        for (parts, fleet, more) in [
            (vec![Devices(99_999_999)], 100_000_000, false),
            (vec![Devices(100_000_000), Devices(1)], 100_000_000, true),
            (vec![Share(0.999_999_99)], 10, false),
            (vec![Share(0.5), Share(0.500_000_002)], 10, true),
        ] {
            let surplus = surplus(&parts, fleet);
            assert!(surplus != 0.0 && (surplus > 0.0) == more, "{parts:?} of {fleet}: {surplus}");
        }
    }
}
