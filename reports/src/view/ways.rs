//! Who rolled up where: the tree from the roots to the hubs, groups beside intermediates, and hubs beside the policy
//! that fills them.

use super::{Table, allowed, grouped, percent};
use crate::record::{Record, RollUp};
use std::collections::BTreeMap;

/// The roll-up as a tree.
pub(crate) struct Tree {
    /// All devices.
    pub(crate) expected: Option<u64>,
    /// Those that rolled up.
    pub(crate) actual: u64,
    /// The roots.
    pub(crate) below: Vec<Place>,
    /// Roots that are left out because there are too many ways.
    pub(crate) more: u64,
    /// Devices that ended otherwise, beside those that should have.
    pub(crate) not_assigned: (Option<u64>, u64),
}

/// A root, an intermediate, an enrollment group or a hub, and what is below it.
pub(crate) struct Place {
    /// Which of them: `root`, `intermediate`, `group` or `hub`.
    pub(crate) kind: &'static str,
    /// Its subject, or its name.
    pub(crate) name: String,
    /// Devices that should have come by it, where that is known.
    pub(crate) expected: Option<u64>,
    /// Devices that did.
    pub(crate) actual: u64,
    /// What is below it, in the order of the record.
    pub(crate) below: Vec<Place>,
    /// What is left out below it, because there are too many ways.
    pub(crate) more: u64,
}

impl Place {
    fn new(kind: &'static str, name: &str) -> Self {
        Self { kind, name: name.to_owned(), expected: Some(0), actual: 0, below: Vec::new(), more: 0 }
    }

    /// What its numbers come to, in a word.
    #[cfg(test)]
    pub(crate) fn mark(&self) -> &'static str {
        mark(self.expected, self.actual)
    }
}

/// `as expected`, `differs`, or `open`, where it is not known what should be.
fn mark(expected: Option<u64>, actual: u64) -> &'static str {
    match expected {
        Some(expected) if expected == actual => "as expected",
        Some(_) => "differs",
        None => "open",
    }
}

/// The same, and where what came otherwise is what the gates allow, that.
pub(crate) fn allowed_mark(record: &Record, expected: Option<u64>, actual: u64) -> &'static str {
    match mark(expected, actual) {
        "differs" if allowed(record) => "as the gates allow",
        mark => mark,
    }
}

/// The roll-up as a tree of at most so many ways; those that differ come before the others if some are left out.
/// Counts above a way include those left out.
pub(crate) fn tree(record: &Record, most_ways: usize) -> Tree {
    let mut ways: Vec<&RollUp> = record.roll_up.iter().collect();
    if ways.len() > most_ways {
        ways.sort_by_key(|way| mark(way.expected, way.actual) != "differs");
    }
    let mut all = Place::new("", "");
    for (at, way) in ways.into_iter().enumerate() {
        add(&mut all, way, &steps(way), at < most_ways);
    }
    let open = record.expectations.open > 0;
    if !open && told_once(record) {
        all.expected = Some(record.expectations.assigned);
        hand_down(&mut all);
    }
    let rest = record.outcomes.total().saturating_sub(record.outcomes.assigned + record.outcomes.connected);
    Tree {
        expected: (!open).then_some(record.expectations.assigned),
        actual: all.actual,
        below: all.below,
        more: all.more,
        not_assigned: ((!open).then_some(record.expectations.refused), rest),
    }
}

/// The places of a way, from the root to the hub.
fn steps(way: &RollUp) -> Vec<(&'static str, &str)> {
    let above = way.path.iter().map(|subject| ("intermediate", subject.as_str()));
    let below = [("group", way.group.as_str()), ("hub", way.hub.as_str())];
    std::iter::once(("root", way.root.as_str())).chain(above).chain(below).collect()
}

/// Adds a way below a place: its counts to every place that is there, and the places that are not, if they are shown.
fn add(place: &mut Place, way: &RollUp, steps: &[(&'static str, &str)], shown: bool) {
    place.actual += way.actual;
    place.expected = place.expected.zip(way.expected).map(|(sum, more)| sum + more);
    let Some((&(kind, name), rest)) = steps.split_first() else { return };
    let known = place.below.iter().position(|below| below.kind == kind && below.name == name);
    let at = match known {
        Some(at) => at,
        None if shown => {
            place.below.push(Place::new(kind, name));
            place.below.len() - 1
        }
        None => {
            place.more += 1;
            return;
        }
    };
    add(&mut place.below[at], way, rest, shown);
}

/// Whether the service counted every device once: none asked again after an answer that was lost.
fn told_once(record: &Record) -> bool {
    let outcomes = &record.outcomes;
    let retries = &record.retries;
    let lost = outcomes.timed_out + outcomes.interrupted + outcomes.unreachable + outcomes.protocol_error;
    lost + retries.connection + retries.timeout + retries.server_error == 0
}

/// Tells an only place below another what is expected of it: what is expected above.
fn hand_down(place: &mut Place) {
    let expected = place.expected;
    if let [only] = place.below.as_mut_slice()
        && place.more == 0
    {
        only.expected = only.expected.or(expected);
    }
    place.below.iter_mut().for_each(hand_down);
}

/// Enrollment groups beside the CAs below the root that devices came by.
#[derive(Default)]
pub(crate) struct Matrix {
    /// The columns: enrollment groups.
    pub(crate) groups: Vec<String>,
    /// The rows: the way from the root to the CA that issued the devices' certificates, and for each group how many
    /// should have come by it and how many did; nothing where nobody did or should.
    pub(crate) rows: Vec<(String, Vec<Option<Cell>>)>,
}

/// Devices of one group that came by one CA: expected, where that is known, and actual.
pub(crate) type Cell = (Option<u64>, u64);

/// Enrollment groups beside the CAs below the root that devices came by.
pub(crate) fn matrix(record: &Record) -> Matrix {
    let mut matrix = Matrix::default();
    for way in &record.roll_up {
        let issuer = [std::slice::from_ref(&way.root), &way.path].concat().join(" > ");
        let column = place_in(&mut matrix.groups, &way.group);
        let row = match matrix.rows.iter().position(|(known, _)| *known == issuer) {
            Some(at) => at,
            None => {
                matrix.rows.push((issuer, Vec::new()));
                matrix.rows.len() - 1
            }
        };
        let cells = &mut matrix.rows[row].1;
        cells.resize(cells.len().max(column + 1), None);
        let (expected, actual) = cells[column].unwrap_or((Some(0), 0));
        let expected = expected.zip(way.expected).map(|(sum, more)| sum + more);
        cells[column] = Some((expected, actual + way.actual));
    }
    let columns = matrix.groups.len();
    matrix.rows.iter_mut().for_each(|(_, cells)| cells.resize(columns, None));
    matrix
}

fn place_in(names: &mut Vec<String>, name: &str) -> usize {
    names.iter().position(|known| known == name).unwrap_or_else(|| {
        names.push(name.to_owned());
        names.len() - 1
    })
}

/// The same, a row for each pair of them.
pub(crate) fn matrix_table(record: &Record) -> Table {
    let matrix = matrix(record);
    let mut rows = Vec::new();
    for (issuer, cells) in &matrix.rows {
        for (group, cell) in matrix.groups.iter().zip(cells) {
            let Some((expected, actual)) = *cell else { continue };
            let expected_text = expected.map_or_else(|| "-".to_owned(), grouped);
            let mark = allowed_mark(record, expected, actual).to_owned();
            rows.push(vec![issuer.clone(), group.clone(), mark, expected_text, grouped(actual)]);
        }
    }
    Table {
        title: "Groups and intermediates",
        note: "which enrollment group let in devices of which CA".to_owned(),
        head: vec!["root > intermediates", "group", "result", "expected", "actual"],
        words: 3,
        rows,
    }
}

/// What a hub got.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HubCount<'a> {
    /// Its name.
    pub(crate) hub: &'a str,
    /// Devices that were assigned to it.
    pub(crate) devices: u64,
    /// What it would have got had each group filled the hubs that it uses evenly; where the policy is to do so.
    pub(crate) even: Option<f64>,
}

/// An even share in whole devices, for that is what hubs get; `-` where none is expected.
pub(crate) fn even_share(even: Option<f64>) -> String {
    even.map_or_else(|| "-".to_owned(), |even| grouped(even.round() as u64))
}

/// What each hub got, by name. A hub that took nobody is not known to be one that could have.
pub(crate) fn hub_counts(record: &Record) -> Vec<HubCount<'_>> {
    counts(record, &filled(record))
}

fn counts<'a>(record: &Record, filled: &Filled<'a>) -> Vec<HubCount<'a>> {
    let hashed = record.allocation_policy.as_deref() == Some("hashed");
    let mut counts: BTreeMap<&str, (u64, f64)> = BTreeMap::new();
    for hubs in filled.values() {
        let even = hubs.values().sum::<u64>() as f64 / hubs.len() as f64;
        for (hub, devices) in hubs {
            let count = counts.entry(hub).or_default();
            *count = (count.0 + devices, count.1 + even);
        }
    }
    let count = |(hub, (devices, even))| HubCount { hub, devices, even: hashed.then_some(even) };
    counts.into_iter().map(count).collect()
}

/// Devices of each group on each hub.
type Filled<'a> = BTreeMap<&'a str, BTreeMap<&'a str, u64>>;

fn filled(record: &Record) -> Filled<'_> {
    let mut filled = Filled::new();
    for way in record.roll_up.iter().filter(|way| way.actual > 0 && !way.hub.is_empty()) {
        *filled.entry(&way.group).or_default().entry(&way.hub).or_default() += way.actual;
    }
    filled
}

/// How many devices each hub got, beside what the allocation policy leads one to expect.
pub(crate) fn hubs(record: &Record) -> Table {
    let filled = filled(record);
    let counts = counts(record, &filled);
    let total: u64 = counts.iter().map(|count| count.devices).sum();
    let row = |count: HubCount<'_>| {
        let devices = count.devices as f64;
        let by = count.even.map_or_else(|| "-".to_owned(), |even| signed_percent(devices / even - 1.0));
        let share = percent(devices / total as f64);
        vec![count.hub.to_owned(), grouped(count.devices), share, even_share(count.even), by]
    };
    Table {
        title: "Hubs",
        note: policy(record, &filled),
        head: vec!["hub", "devices", "share", "even share", "differs by"],
        words: 1,
        rows: counts.into_iter().map(row).collect(),
    }
}

/// A share of 1 in percent, with its sign.
fn signed_percent(share: f64) -> String {
    format!("{:+.1} %", share * 100.0)
}

/// What the policy leads one to expect, and whether that is what is seen.
fn policy(record: &Record, filled: &Filled<'_>) -> String {
    match record.allocation_policy.as_deref() {
        _ if filled.is_empty() => "no device was assigned to a hub".to_owned(),
        Some("hashed") => hashed(filled),
        Some("static") => {
            let one_each = filled.values().all(|hubs| hubs.len() == 1);
            let found = if one_each { "each group has one" } else { "a group has SEVERAL" };
            format!("static: the first hub of a group's list takes all its devices; {found}")
        }
        Some("geoLatency") => {
            "geoLatency: the hub with the lowest latency takes a device; no share is expected".to_owned()
        }
        Some("custom") => "custom: a webhook decides; no share is expected".to_owned(),
        Some(other) => format!("policy {other}: no share is expected"),
        None => "the allocation policy is not known: counts alone".to_owned(),
    }
}

/// Even shares, held against chance. Hubs may have weights, which the record does not know.
fn hashed(filled: &Filled<'_>) -> String {
    let freedom: usize = filled.values().map(|hubs| hubs.len() - 1).sum();
    let even = "hashed: even shares are expected of hubs of equal weight";
    if freedom == 0 {
        return format!("{even}; one hub alone took devices");
    }
    let chi_square: f64 = filled.values().map(chi_square).sum();
    let bound = chance(freedom);
    let end = if chi_square <= bound { "as chance has it" } else { "MORE than chance has it" };
    format!(
        "{even}; chi-square {chi_square:.1}, which chance takes above {bound:.1} one time in twenty: {end}"
    )
}

/// How far the hubs of a group are from even shares.
fn chi_square(hubs: &BTreeMap<&str, u64>) -> f64 {
    let even = hubs.values().sum::<u64>() as f64 / hubs.len() as f64;
    hubs.values().map(|devices| (*devices as f64 - even).powi(2) / even).sum()
}

/// What chi-square exceeds one time in twenty; the approximation of Wilson and Hilferty.
fn chance(freedom: usize) -> f64 {
    /// The normal distribution is above this one time in twenty.
    const ONE_IN_TWENTY: f64 = 1.644_853_6;
    let freedom = freedom as f64;
    let part = 2.0 / (9.0 * freedom);
    freedom * (1.0 - part + ONE_IN_TWENTY * part.sqrt()).powi(3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Expectations, Outcomes, Retries};
    use crate::view::tests::demo;

    fn way(names: [&str; 4], expected: Option<u64>, actual: u64) -> RollUp {
        let [root, path, group, hub] = names.map(str::to_owned);
        RollUp { root, path: vec![path], group, hub, expected, actual }
    }

    #[test]
    fn counts_add_up_from_hubs_to_roots() {
        let record = Record {
            roll_up: vec![
                way(["R", "A", "g", "h1"], Some(3), 3),
                way(["R", "A", "g", "h2"], Some(4), 2),
                way(["R", "B", "g2", "h1"], Some(5), 5),
            ],
            expectations: Expectations { assigned: 12, refused: 1, open: 0 },
            outcomes: Outcomes { assigned: 10, refused: 3, ..Outcomes::default() },
            ..Record::default()
        };
        let tree = tree(&record, 10);
        let root = &tree.below[0];
        assert_eq!((tree.expected, tree.actual, tree.not_assigned), (Some(12), 10, (Some(1), 3)));
        assert_eq!((root.kind, root.expected, root.actual, root.mark()), ("root", Some(12), 10, "differs"));
        let [a, b] = [&root.below[0], &root.below[1]];
        assert_eq!([(a.expected, a.actual), (b.expected, b.actual)], [(Some(7), 5), (Some(5), 5)]);
        assert_eq!((a.mark(), b.mark()), ("differs", "as expected"));
        let hubs: Vec<_> = a.below[0].below.iter().map(|hub| (hub.name.as_str(), hub.actual)).collect();
        assert_eq!(hubs, [("h1", 3), ("h2", 2)]);
    }

    #[test]
    fn what_is_expected_above_is_expected_of_an_only_place_unless_answers_were_lost() {
        let mut record = demo();
        record.roll_up = ["h1", "h2"].map(|hub| way(["R", "A", "g", hub], None, 5_000)).to_vec();
        let group = |record: &Record| tree(record, 10).below[0].below[0].below[0].expected;
        assert_eq!(group(&record), Some(10_000));
        assert_eq!(tree(&record, 10).below[0].below[0].below[0].below[0].mark(), "open");
        record.retries = Retries { timeout: 1, ..Retries::default() };
        assert_eq!(group(&record), None);
    }

    #[test]
    fn ways_left_out_are_counted_and_never_those_that_differ() {
        let mut record = demo();
        let names: Vec<String> = (0..9).map(|n| format!("h{n}")).collect();
        record.roll_up = names.iter().map(|hub| way(["R", "A", "g", hub], Some(1), 1)).collect();
        record.roll_up[8].actual = 0;
        let tree = tree(&record, 3);
        let group = &tree.below[0].below[0].below[0];
        assert_eq!((group.actual, group.expected, group.more), (8, Some(9), 6));
        assert_eq!((group.below[0].name.as_str(), group.below.len()), ("h8", 3));
    }

    #[test]
    fn the_matrix_adds_up_hubs_and_says_nothing_where_nobody_came() {
        let record = Record {
            roll_up: vec![
                way(["R", "A", "g", "h1"], Some(3), 3),
                way(["R", "A", "g", "h2"], None, 2),
                way(["R", "B", "g2", "h1"], Some(5), 4),
            ],
            ..Record::default()
        };
        let matrix = matrix(&record);
        assert_eq!(matrix.groups, ["g", "g2"]);
        assert_eq!(matrix.rows[0], ("R > A".to_owned(), vec![Some((None, 5)), None]));
        assert_eq!(matrix.rows[1], ("R > B".to_owned(), vec![None, Some((Some(5), 4))]));
        let rows = matrix_table(&record).rows;
        assert_eq!(rows, [["R > A", "g", "open", "-", "5"], ["R > B", "g2", "differs", "5", "4"]]);
    }

    #[test]
    fn chance_is_as_tables_of_chi_square_have_it() {
        for (freedom, known) in [(1, 3.841), (2, 5.991), (5, 11.070), (30, 43.773)] {
            assert!((chance(freedom) / known - 1.0).abs() < 0.03, "{freedom}: {}", chance(freedom));
        }
    }

    #[test]
    fn hubs_are_held_against_their_policy() {
        let spread = |policy: Option<&str>, devices: &[(&str, &str, u64)]| {
            let ways = devices.iter().map(|(group, hub, n)| way(["R", "A", group, hub], None, *n));
            hubs(&Record {
                roll_up: ways.collect(),
                allocation_policy: policy.map(str::to_owned),
                ..Record::default()
            })
        };
        let even = [("g", "h1", 5_020), ("g", "h2", 4_980)];
        let uneven = [("g", "h1", 6_000), ("g", "h2", 4_000)];
        let apart = [("g", "h1", 300), ("g2", "h2", 700)];
        for (policy, devices, more) in [
            (Some("hashed"), even, false),
            (Some("hashed"), uneven, true),
            (Some("hashed"), apart, false),
            (Some("static"), apart, false),
            (Some("static"), uneven, true),
            (None, uneven, false),
        ] {
            let note = spread(policy, &devices).note;
            assert_eq!(note.contains("MORE") || note.contains("SEVERAL"), more, "{policy:?}: {note}");
        }
        assert_eq!(spread(Some("hashed"), &uneven).rows[0], ["h1", "6,000", "60.0 %", "5,000", "+20.0 %"]);
        assert_eq!(spread(None, &uneven).rows[1], ["h2", "4,000", "40.0 %", "-", "-"]);
        assert_eq!(spread(Some("hashed"), &apart).rows[0][4], "+0.0 %");
    }

    #[test]
    fn an_even_share_is_that_of_each_group_over_its_own_hubs_and_in_whole_devices() {
        let ways =
            [("all", "h1", 30), ("all", "h2", 35), ("one", "h1", 10), ("none", "(none)", 0), ("", "", 9)];
        let ways = ways.map(|(group, hub, n)| way(["R", "A", group, hub], None, n));
        let hashed = Some("hashed".to_owned());
        let record = Record { roll_up: ways.to_vec(), allocation_policy: hashed, ..Record::default() };
        let counts: Vec<_> = hub_counts(&record).iter().map(|c| (c.hub, c.devices, c.even)).collect();
        assert_eq!(counts, [("h1", 40, Some(42.5)), ("h2", 35, Some(32.5))]);
        let even: Vec<_> = hubs(&record).rows.into_iter().map(|row| row[3].clone()).collect();
        assert_eq!(even, ["43", "33"]);
    }
}
