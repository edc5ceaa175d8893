//! A scenario as text, played by the program, and what that left behind: exit status, record, and a row an arrival.

use crate::world::{Finished, Record, Running, World};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write as _;

/// A scenario of devices `dev-0000` and so on under an authority of the run's own: `fleet` is what `[fleet]` says
/// besides, `rest` what comes after it.
///
/// A run on a busy machine is late, which is nothing that is looked at here; and it ends, whatever hangs.
pub(crate) fn scenario(fleet: &str, rest: &str) -> String {
    let usual = |section: &str, lines: &str| match rest.contains(section) {
        true => String::new(),
        false => format!("{section}\n{lines}\n"),
    };
    format!(
        "name = \"played\"\nseed = 7\n\n[fleet]\nregistration_id = \"dev-{{index:04}}\"\n{fleet}\n\n{}{}\n{rest}",
        usual("[fleet.authority.minted]", "intermediates = 1\n"),
        usual("[limits]", "generator = \"report\"\nattempt_timeout = \"15s\"\ngrace = \"2s\""),
    )
}

/// The text of a scenario, which a test that fails shows.
struct Shown(String);

impl Drop for Shown {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = writeln!(std::io::stderr(), "-- the scenario was\n{}", self.0);
        }
    }
}

/// Everything a run left behind.
pub(crate) struct Played<'w> {
    world: &'w World,
    name: String,
    _text: Shown,
    told: Finished,
    pub(crate) record: Record,
}

/// Writes the scenario, plays it, and holds what it left behind against itself.
#[track_caller]
pub(crate) fn play<'w>(world: &'w World, name: &str, text: &str) -> Played<'w> {
    start(world, name, text).finish()
}

/// A scenario that is being played.
pub(crate) struct Playing<'w> {
    world: &'w World,
    name: String,
    text: Shown,
    running: Running,
}

/// Writes the scenario and starts to play it, beside others of the same directory.
pub(crate) fn start<'w>(world: &'w World, name: &str, text: &str) -> Playing<'w> {
    world.write(&format!("{name}.toml"), text);
    let running = Running::start(world.program(&format!("run {name}.toml --out {name}")));
    Playing { world, name: name.to_owned(), text: Shown(text.to_owned()), running }
}

impl<'w> Playing<'w> {
    #[track_caller]
    pub(crate) fn finish(self) -> Played<'w> {
        let Playing { world, name, text, running } = self;
        let told = running.finish();
        assert!(world.path(&name).join("run.json").exists(), "no record\n{told}");
        let record = Record::read(world, &name);
        let played = Played { world, name, _text: text, told, record };
        played.every_arrival_ended_once();
        played.sums_agree();
        played
    }
}

impl Played<'_> {
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.told.code, Some(code), "{}\n{}", self.record.at("/verdict"), self.told);
        Played { told: self.told.exits(code), ..self }
    }

    pub(crate) fn code(&self) -> Option<i32> {
        self.told.code
    }

    #[track_caller]
    pub(crate) fn count(&self, pointer: &str) -> u64 {
        self.record.number(pointer)
    }

    /// What is so many in each second, from the first to the last that anything happened in.
    #[track_caller]
    pub(crate) fn series(&self, key: &str) -> Vec<u64> {
        let seconds = self.record.list("/per_second");
        let of = |second: &Value, key: &str| {
            second[key].as_u64().unwrap_or_else(|| panic!("no `{key}`: {second}"))
        };
        let found: BTreeMap<u64, u64> =
            seconds.iter().map(|second| (of(second, "t"), of(second, key))).collect();
        let end = found.keys().last().map_or(0, |last| last + 1);
        (0..end).map(|t| found.get(&t).copied().unwrap_or(0)).collect()
    }

    /// How each arrival ended, in the order of arrivals, as the journal tells it.
    #[track_caller]
    pub(crate) fn rows(&self) -> Vec<Value> {
        let file = format!("{}.jsonl", self.name);
        let told = self.world.rollcall(&format!("report {} --devices {file}", self.name));
        assert_eq!(told.code, self.told.code, "it ends as the run did: {told}");
        let row = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("no JSON: {e}\n{line}"));
        let mut rows: Vec<Value> = self.world.read(&file).lines().map(row).collect();
        rows.sort_by_key(|row| row["arrival"].as_u64());
        rows
    }

    /// The journal has each planned arrival once, and ends as the record counts them.
    #[track_caller]
    fn every_arrival_ended_once(&self) {
        let rows = self.rows();
        let arrivals: Vec<u64> = rows.iter().filter_map(|row| row["arrival"].as_u64()).collect();
        assert!(arrivals.into_iter().eq(0..self.record.planned()), "each of {} once", self.record.planned());
        let mut ends: BTreeMap<&str, u64> = BTreeMap::new();
        for row in &rows {
            *ends
                .entry(row["outcome"].as_str().unwrap_or_else(|| panic!("no outcome: {row}")))
                .or_default() += 1;
        }
        let outcomes = self.record.at("/outcomes").as_object().expect("outcomes");
        for (outcome, count) in outcomes {
            assert_eq!(count.as_u64(), Some(ends.remove(outcome.as_str()).unwrap_or(0)), "{outcome}");
        }
        assert!(ends.is_empty(), "{ends:?}");
    }

    /// What the record says in more than one way it says alike, and the service's own counts do not contradict it.
    #[track_caller]
    fn sums_agree(&self) {
        let planned = self.count("/planned");
        let of = |outcome: &str| self.count(&format!("/outcomes/{outcome}"));
        let outcomes = self.record.at("/outcomes").as_object().expect("outcomes");
        for (outcome, count) in outcomes {
            let reasons = self.record.reasons().iter().filter(|reason| reason["outcome"] == **outcome);
            let told: u64 = reasons.filter_map(|reason| reason["count"].as_u64()).sum();
            let needs_none = matches!(outcome.as_str(), "assigned" | "connected");
            assert!(needs_none || count.as_u64() == Some(told), "{outcome}: {count}, reasons for {told}");
        }
        let held = self.record.at("/held");
        if !held.is_null() {
            let in_all: u64 =
                ["kept", "dropped", "released"].into_iter().filter_map(|end| held[end].as_u64()).sum();
            assert_eq!(held["devices"], of("assigned") + of("connected"), "who gets in is held: {held}");
            assert_eq!(held["devices"], in_all, "{held}");
        }
        let (shed, interrupted) = (of("shed"), of("interrupted"));
        let total = |key| self.series(key).iter().sum::<u64>();
        let retries: u64 =
            self.record.at("/retries").as_object().expect("retries").values().filter_map(Value::as_u64).sum();
        assert!(
            (planned - interrupted..=planned).contains(&total("offered")),
            "{} offered",
            total("offered")
        );
        assert_eq!(total("started"), self.count("/started"));
        assert_eq!(total("finished"), self.count("/finished"));
        assert_eq!(total("assigned"), of("assigned") + of("connected"));
        assert_eq!((total("shed"), total("retries")), (shed, retries));
        if interrupted == 0 {
            assert_eq!((self.count("/started"), self.count("/finished")), (planned - shed, planned - shed));
        }
        self.service_agrees();
    }

    /// Both sides count each answer once: the service when it sends it, the client when it hears it. They differ by answers
    /// at most that came when nobody waited for them any more.
    #[track_caller]
    fn service_agrees(&self) {
        let record = &self.record;
        if record.at("/ledger").is_null() {
            return;
        }
        let of = |outcome: &str| self.count(&format!("/outcomes/{outcome}"));
        let rolled_up: u64 = record.list("/roll_up").iter().filter_map(|way| way["actual"].as_u64()).sum();
        assert_eq!(rolled_up, self.count("/ledger/assigned"), "{}", record.at("/roll_up"));
        let rows = record.list("/reconciliation");
        let [started, finished] = ["/started", "/finished"].map(|count| record.at(count).as_u64());
        assert_eq!(rows.is_empty(), started > finished, "{}", record.at("/reconciliation"));
        // Whoever ran out of time had tried something again, or says so.
        let out_of_time: u64 =
            ["timed_out", "throttled", "failed", "unreachable", "refused"].into_iter().map(of).sum();
        let most = out_of_time + self.count("/retries/timeout");
        for row in rows {
            let of = |key: &str| row[key].as_u64().expect("a count");
            let (client, service, unheard) = (of("client"), of("service"), of("unheard"));
            assert!((client..=client + unheard).contains(&service) && unheard <= most, "{row}");
            assert_eq!(row["agrees"], true, "{row}");
        }
        for (name, key) in [("assigned", "assigned"), ("disabled", "disabled")] {
            if let Some(row) = rows.iter().find(|row| row["name"] == name) {
                assert_eq!(row["client"].as_u64(), Some(of(key)), "{row}");
            }
        }
    }

    /// How the run is judged: `good`, `gate-failed` and so on.
    #[track_caller]
    pub(crate) fn verdict(&self) -> &str {
        self.record.at("/verdict/kind").as_str().expect("a verdict")
    }

    /// Devices that rolled up to this group.
    pub(crate) fn rolled_up(&self, group: &str) -> u64 {
        let ways = self.record.list("/roll_up").iter().filter(|way| way["group"] == group);
        ways.filter_map(|way| way["actual"].as_u64()).sum()
    }
}
