//! Stories that shipped scenarios tell: who got in and by which way, who did not, and for which reason. Their gates are
//! assertions, too; what is looked at here is what no gate can say.

use crate::played::{Played, play};
use crate::world::{Finished, Record, World};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// The text of a shipped scenario.
fn shipped(name: &str) -> String {
    let path = format!("{}/scenarios/{name}.toml", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&path).unwrap_or_else(|fault| panic!("cannot read {path}: {fault}"))
}

/// A shipped scenario, played to its end; it has to meet its own gates. What else this machine does meanwhile, other
/// tests among it, is no part of a story.
#[track_caller]
fn told<'w>(world: &'w World, name: &str) -> Played<'w> {
    const REPORTED: &str = "[limits]\ngenerator = \"report\"\n";
    let text = match shipped(name) {
        text if text.contains("\ngenerator = ") => text,
        text if text.contains("[limits]\n") => text.replace("[limits]\n", REPORTED),
        text => format!("{text}\n{REPORTED}"),
    };
    play(world, name, &text).exits(0)
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_else(|| panic!("no text `{key}`: {value}"))
}

fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_else(|| panic!("no number `{key}`: {value}"))
}

#[test]
fn a_sniffed_intermediate_catches_nobody() {
    let world = World::new();
    // As good as their group, if only the intermediate were verified.
    let owned = "--set target.mock.verification=proof-of-possession --out owned";
    let line = "run hijack-attempt --set fleet.devices=60";
    world.rollcall(&format!("{line} {owned}")).exits(99);
    let caught = Record::read(&world, "owned");
    assert_eq!((caught.assigned(), caught.planned()), (60, 60));
    let run: Finished = world.rollcall(&format!("{line} --out forged")).exits(0);
    // The resource manager's code for a proof that another key signed.
    assert!(run.stderr.contains("IH400053"), "{run}");
    let record = Record::read(&world, "forged");
    record.adds_up();
    assert_eq!((record.assigned(), record.refused_with(401_002)), (0, 60));
    let [reason] = record.reasons() else { panic!("one reason for all: {:?}", record.reasons()) };
    assert_eq!((number(reason, "count"), &reason["expected"]), (60, &Value::Bool(true)));
    assert!(record.list("/roll_up").is_empty(), "nobody was to come in: {}", record.at("/roll_up"));
    // The refused proof is the point of the story: it is in the record, and the reason names the CA.
    let steps = record.list("/setup");
    let refused: Vec<_> = steps.iter().filter_map(|step| step["refused"].as_str()).collect();
    let [refused] = *refused else { panic!("one refused step: {steps:?}") };
    assert!(refused.contains("IH400053") && steps.len() > 1, "{steps:?}");
    assert!(text(reason, "explanation").contains("`sniffed-ca`"), "{reason}");
}

#[test]
fn whoever_asks_again_at_once_stays_out_where_those_who_wait_get_in() {
    let world = World::new();
    let (naive, jitter) = (told(&world, "retry-storm-naive"), told(&world, "retry-storm-jitter"));
    // The same fleet, the same group and the same service.
    assert_eq!((naive.record.planned(), jitter.record.planned()), (100, 100));
    let faults = |name: &str| {
        let text = shipped(name);
        text[text.find("[target.mock]").expect("a mock")..text.find("[[gate]]").expect("a gate")].to_owned()
    };
    assert_eq!(faults("retry-storm-naive"), faults("retry-storm-jitter"));
    assert!(naive.record.assigned() * 2 <= jitter.record.assigned(), "{}", naive.record.at("/outcomes"));
    let asked = |played: &Played<'_>| {
        let retries = played.record.at("/retries").as_object().expect("counts").values();
        retries.filter_map(Value::as_u64).sum::<u64>()
    };
    assert!(asked(&naive) > 2 * asked(&jitter), "{} and {}", asked(&naive), asked(&jitter));
}

#[test]
fn once_a_factory_is_revoked_exactly_the_devices_of_the_other_get_in() {
    let world = World::new();
    let played = told(&world, "factory-revoked");
    let [event] = played.record.list("/events") else { panic!("{}", played.record.at("/events")) };
    assert!(event["failed"].is_null(), "{event}");
    let revoked = event["at_seconds"].as_f64().expect("a moment") * 1e3;
    let mut ends: BTreeMap<(bool, String), BTreeSet<u64>> = BTreeMap::new();
    for row in played.rows() {
        let after = row["started_ms"].as_f64().expect("each was started") > revoked;
        ends.entry((after, text(&row, "outcome").to_owned())).or_default().insert(number(&row, "device"));
    }
    let mut of = |after, outcome: &str| ends.remove(&(after, outcome.to_owned())).unwrap_or_default();
    let (before, after, refused) = (of(false, "assigned"), of(true, "assigned"), of(true, "refused"));
    assert!(ends.is_empty(), "everybody else: {ends:?}");
    assert_eq!(before, (0..200).collect(), "every device, of whichever factory");
    assert_eq!((after.len(), refused.len()), (120, 80));
    assert!(after.is_disjoint(&refused));
    // Two turns of one factory and one of the other, so these were that factory's and no others.
    assert_eq!((played.rolled_up("line-a"), played.rolled_up("line-b")), (80, 240));
    assert_eq!(played.record.refused_with(401_002), 80);
    let [reason] = played.record.reasons() else { panic!("{:?}", played.record.reasons()) };
    assert!(text(reason, "explanation").contains("`root-a`"), "{reason}");
    // What to do is another thing than for a CA that nobody has verified yet.
    let unverified = told(&world, "unverified-ca");
    let [other] = unverified.record.reasons() else { panic!("{:?}", unverified.record.reasons()) };
    assert!(text(other, "explanation").contains("`factory-root`"), "{other}");
    assert_ne!(reason["repair"], other["repair"]);
}

#[test]
fn devices_of_three_intermediates_under_one_root_come_in_as_many_as_they_are_by_their_own() {
    let world = World::new();
    let played = told(&world, "three-intermediates");
    let ways = played.record.list("/roll_up");
    assert!(ways.iter().all(|way| way["expected"] == way["actual"]), "{ways:?}");
    let mut counts: Vec<_> = ways.iter().map(|way| (text(way, "group"), number(way, "actual"))).collect();
    counts.sort_unstable();
    assert_eq!(counts, [("east", 100), ("north", 150), ("south", 50)]);
    let roots: BTreeSet<&str> = ways.iter().map(|way| text(way, "root")).collect();
    let paths: BTreeSet<String> = ways.iter().map(|way| way["path"].to_string()).collect();
    assert_eq!((roots.len(), paths.len()), (1, 3), "{ways:?}");
}

/// Every defect that the program tells of, and whether a device with it is to be kept out.
fn kept_out(world: &World) -> BTreeMap<String, bool> {
    let told = world.rollcall("explain defects --json").exits(0).json();
    let entries = told["entries"].as_array().expect("entries");
    let kept_out = |entry: &Value| {
        let facts = entry["facts"].as_array().expect("facts");
        let expected = facts.iter().find(|fact| fact["label"] == "expected").expect("what is expected");
        !text(expected, "text").starts_with("let in")
    };
    entries.iter().map(|entry| (text(entry, "id").to_owned(), kept_out(entry))).collect()
}

#[test]
fn every_device_of_a_bad_batch_ends_as_its_defect_says_and_for_a_reason_of_its_own() {
    let world = World::new();
    let kept_out = kept_out(&world);
    let played = told(&world, "bad-batch");
    let batch: Vec<(String, String)> = played
        .rows()
        .iter()
        .filter_map(|row| Some((row["defect"].as_str()?.to_owned(), text(row, "outcome").to_owned())))
        .collect();
    let ids: BTreeSet<&str> = batch.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(ids.len(), batch.len(), "one device for each");
    assert!(ids.len() > 200, "{} defects", ids.len());
    for (id, outcome) in &batch {
        assert_eq!(outcome != "assigned", kept_out[id], "{id} {outcome}");
    }
    let out: BTreeSet<&str> = ids.iter().copied().filter(|id| kept_out[*id]).collect();
    let reasons = played.record.reasons();
    let given: BTreeSet<&str> = reasons.iter().map(|reason| text(reason, "defect")).collect();
    assert_eq!(given, out);
    for reason in reasons {
        assert_eq!((number(reason, "count"), &reason["expected"]), (1, &Value::Bool(true)), "{reason}");
        assert!(!text(reason, "explanation").is_empty() && !text(reason, "repair").is_empty(), "{reason}");
    }
    let told: BTreeSet<&str> = reasons.iter().map(|reason| text(reason, "explanation")).collect();
    assert_eq!(told.len(), reasons.len(), "no two defects are explained alike");
    let steps = played.record.list("/setup");
    assert!((1..20).contains(&steps.len()), "what the defects need is summed up: {steps:?}");
}

#[test]
fn the_documented_quota_lets_a_thousand_in_and_then_nobody() {
    let world = World::new();
    let played = told(&world, "quota-reached");
    let mut rows = played.rows();
    rows.sort_by_key(|row| row["finished_ms"].as_f64().map(f64::to_bits));
    let assigned = |row: &&Value| row["outcome"] == "assigned";
    assert_eq!(rows.iter().filter(assigned).count(), 1000);
    // Answers of one moment overtake each other; a quota that is given again lets in later ones, too.
    let mixed = rows.iter().skip(1000).filter(assigned).count();
    assert!(mixed < 50, "{mixed} of those that got in ended after the thousandth");
}

#[test]
fn devices_of_a_new_ca_come_in_by_the_secondary_certificate_and_those_of_a_removed_one_do_not() {
    let world = World::new();
    let played = told(&world, "ca-rollover");
    assert_eq!((played.rolled_up("line-a"), played.rolled_up("svc-secondary-rollover")), (300, 150));
    assert_eq!(played.record.list("/roll_up").len(), 2, "{}", played.record.at("/roll_up"));
    let [reason] = played.record.reasons() else { panic!("{:?}", played.record.reasons()) };
    assert_eq!((text(reason, "defect"), number(reason, "count")), ("svc-rollover-too-early", 50));
}
