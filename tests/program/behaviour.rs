//! What devices do besides a first registration, and what an operator does meanwhile, as a run's record tells it.

use crate::played::{Played, play, scenario};
use crate::roll_up::service_scenario;
use crate::semantics::{admitting, mint_for_runs};
use crate::world::{Record, Running, World, awaited, processors};
use serde_json::{Value, json};

/// Handshakes in which a session was resumed.
fn resumed(played: &Played<'_>) -> u64 {
    counted(played, |row| row["resumed"] == true)
}

/// Attempts on connections whose handshake agreed on this.
fn counted(played: &Played<'_>, agreed: impl Fn(&Value) -> bool) -> u64 {
    played.record.list("/tls").iter().filter(|row| agreed(row)).filter_map(|row| row["count"].as_u64()).sum()
}

#[test]
fn a_device_that_comes_again_resumes_its_session_only_where_it_wants_to_and_tickets_are_handed_out() {
    let world = World::new();
    let talk = |resumption: &str, tls: &str, tickets: bool| {
        let rest = format!(
            "[device]\nresumption = \"{resumption}\"\ntls = \"{tls}\"\n\n[target.mock]\ntickets = {tickets}\n\n\
             [load.closed]\nin_flight = 10\n"
        );
        scenario("devices = 30\nturns = 3", &rest)
    };
    for (resumption, tls, expected) in [("tickets", "1.3", 60), ("tickets", "1.2", 60), ("off", "1.3", 0)] {
        let played = play(&world, "again", &talk(resumption, tls, true)).exits(0);
        assert_eq!(resumed(&played), expected, "{resumption} with {tls}: {}", played.record.at("/tls"));
        assert_eq!(counted(&played, |row| row["version"] == tls), 90, "{}", played.record.at("/tls"));
        assert_eq!(played.record.assigned(), 90);
    }
    let played = play(&world, "none", &talk("off", "1.3", false)).exits(0);
    assert_eq!(resumed(&played), 0);
    world.write("vain.toml", talk("tickets", "1.3", false));
    world.rollcall("run vain.toml --out vain").exits(2);
}

#[test]
fn devices_that_are_held_stay_as_long_as_they_are_to_and_say_that_they_are_alive() {
    let world = World::new();
    let hold = r#"[device.hold]
lasts = "5s"
keep_alive = "2s"

[target.mock]

[load.open]
rate = 100
max_in_flight = 3
"#;
    let played = play(&world, "held", &scenario("devices = 20", hold)).exits(0);
    let held = |key: &str| played.count(&format!("/held/{key}"));
    assert_eq!((held("devices"), held("kept"), held("dropped"), held("released")), (20, 20, 0, 0));
    // Everybody is there before the first one goes: a device that stays needs no slot.
    assert_eq!(held("peak"), 20);
    assert!((20..=40).contains(&held("pings")), "{} answered", held("pings"));
    assert!(played.series("held").iter().all(|now| *now <= 20), "{:?}", played.series("held"));
}

#[test]
fn devices_that_are_held_when_the_service_dies_are_counted_as_dropped_and_the_run_ends() {
    let world = World::new();
    mint_for_runs(&world);
    let mock = admitting(&world, "--retry-after 0s", "");
    let hold = "[device.hold]\nlasts = \"300s\"\nkeep_alive = \"1s\"\n\n[load.closed]\nin_flight = 4\n";
    world.write("held.toml", service_scenario(&mock, 12, hold));
    let run = Running::start(world.program("run held.toml --out out"));
    let assigned = || mock.manage("GET /ledger", "").json()["assigned"].as_u64();
    awaited("everybody assigned", || assigned().filter(|devices| *devices == 12));
    drop(mock);
    // Who cannot ask the service any more cannot say that its counts agree.
    let told = run.finish().exits(98);
    let record = Record::read(&world, "out");
    // The last ones may not have heard of it.
    let unheard = record.number("/outcomes/unreachable");
    assert_eq!((record.planned(), record.assigned() + unheard), (12, 12), "{told}");
    assert!(record.assigned() >= 8, "{told}");
    let held = ["devices", "dropped", "kept"].map(|key| record.number(&format!("/held/{key}")));
    assert_eq!(held, [record.assigned(), record.assigned(), 0], "{told}");
}

/// Thirty devices at once, at a service that throttles everybody for the first two seconds.
fn throttled(device: &str) -> String {
    let rest = format!(
        r#"{device}

[target.mock]

[[target.mock.fault]]
id = "throttle"
at = ["register"]
until = "2s"
retry_after = "1s"

[load.closed]
in_flight = 30

[[gate]]
metric = "retries.count"
at_least = 0
"#
    );
    scenario("devices = 30", &rest)
}

#[test]
fn who_never_retries_stays_out_and_who_retries_at_once_asks_far_more_often_than_who_backs_off() {
    let _processors = processors();
    let world = World::new();
    let none = play(&world, "none", &throttled("[device.retry.none]")).exits(99);
    assert_eq!((none.count("/outcomes/throttled"), none.record.assigned()), (30, 0));
    assert_eq!(none.count("/ledger/throttled"), 30);

    let backoff = "[device.retry.exponential]\nfirst = \"200ms\"\nmost = \"2s\"\nretries = 20";
    let backoff = play(&world, "backoff", &throttled(backoff)).exits(0);
    let naive = play(&world, "naive", &throttled("[device.retry.naive]")).exits(0);
    for played in [&backoff, &naive] {
        let retries = played.record.at("/retries");
        assert_eq!(played.record.assigned(), 30);
        assert_eq!(
            retries["throttled"],
            *played.record.at("/ledger/throttled"),
            "each 429 was followed by a retry"
        );
        for other in ["server_error", "connection", "timeout"] {
            assert_eq!(retries[other], 0, "{retries}");
        }
    }
    let asked = |played: &Played<'_>| played.count("/retries/throttled");
    assert!(asked(&backoff) >= 30, "{}", asked(&backoff));
    assert!(asked(&naive) > 5 * asked(&backoff), "{} beside {}", asked(&naive), asked(&backoff));
}

#[test]
fn who_ignores_what_it_is_asked_to_wait_asks_again_sooner() {
    let world = World::new();
    let policy = |retry_after: &str| {
        throttled(&format!(
            "[device]\nretry_after = \"{retry_after}\"\n\n[device.retry.fixed]\nwait = \"100ms\"\nretries = 100"
        ))
    };
    let [honoured, ignored] = ["honour", "ignore"].map(|way| play(&world, way, &policy(way)).exits(0));
    let asked = |played: &Played<'_>| played.count("/retries/throttled");
    // Two seconds are two waits of a second, or three; and twenty of a tenth, or fewer on a slow machine.
    assert!((30..=90).contains(&asked(&honoured)), "{}", asked(&honoured));
    assert!(asked(&ignored) > 2 * asked(&honoured), "{} beside {}", asked(&ignored), asked(&honoured));
}

#[test]
fn retries_are_counted_by_what_caused_them() {
    let world = World::new();
    for (fault, cause) in [
        ("id = \"throttle\"\nretry_after = \"0s\"", "throttled"),
        ("id = \"server-error\"\nretry_after = \"0s\"", "server_error"),
        ("id = \"drop\"", "connection"),
        ("id = \"half-open\"", "timeout"),
    ] {
        let rest = format!(
            r#"[device.retry.fixed]
wait = "20ms"
retries = 60

[limits.phase_timeouts]
register = "200ms"

[target.mock]

[[target.mock.fault]]
{fault}
at = ["register"]
share = 0.3

[load.closed]
in_flight = 20
"#
        );
        // A phase that takes long on a busy machine is a timeout too.
        let rest = if cause == "timeout" { rest } else { rest.replace("200ms", "10s") };
        let played = play(&world, cause, &scenario("devices = 40", &rest)).exits(0);
        let retries = played.record.at("/retries").as_object().expect("retries");
        let causes: Vec<&str> =
            retries.iter().filter(|(_, count)| **count != 0).map(|(name, _)| name.as_str()).collect();
        assert_eq!(causes, [cause], "{retries:?}");
        assert_eq!(played.record.assigned(), 40);
    }
}

#[test]
fn devices_that_lose_the_connection_come_back_on_a_new_one_and_every_count_agrees() {
    let world = World::new();
    let at = |point: &str| {
        let rest = format!(
            r#"[device.retry.fixed]
wait = "20ms"
retries = 60

[target.mock]

[[target.mock.fault]]
id = "drop"
at = ["{point}"]
share = 0.5

[load.closed]
in_flight = 20
"#
        );
        scenario("devices = 60", &rest)
    };
    // Before CONNECT is looked at; after the device was registered; after it was assigned, and not told.
    for point in ["connect", "register-answer", "poll-answer"] {
        let played = play(&world, point, &at(point)).exits(0);
        assert_eq!((played.record.assigned(), played.verdict()), (60, "good"), "{point}");
        let again = played.count("/retries/connection");
        assert!(again > 0, "{point}");
        assert_eq!(played.count("/ledger/tls_handshakes"), 60 + again, "{point}");
        // An answer that was lost is none: the service tells each device once.
        assert_eq!(played.count("/ledger/assigned"), 60, "{point}");
        let lost = if point == "connect" { 0 } else { again };
        assert_eq!(played.count("/ledger/lost_answers"), lost, "{point}");
    }
}

#[test]
fn a_phase_that_takes_longer_than_it_may_ends_the_attempt_in_that_phase() {
    let world = World::new();
    for (phase, point) in [("tls", "tls"), ("connect", "connect"), ("register", "register"), ("poll", "poll")]
    {
        let rest = format!(
            r#"[limits.phase_timeouts]
{phase} = "300ms"

[target.mock]

[[target.mock.fault]]
id = "half-open"
at = ["{point}"]

[load.closed]
in_flight = 15
"#
        );
        let played = play(&world, phase, &scenario("devices = 30", &rest)).exits(99);
        assert_eq!(played.count("/outcomes/timed_out"), 30, "{phase}");
        for reason in played.record.reasons() {
            assert_eq!(
                (&reason["outcome"], &reason["phase"]),
                (&json!("timed_out"), &json!(phase)),
                "{reason}"
            );
        }
        let wall = played.record.at("/wall_seconds").as_f64().expect("a time");
        // Two batches of 300 ms; the attempt would have had 15 s.
        assert!((0.5..10.0).contains(&wall), "{phase}: {wall} s");
    }
}

#[test]
fn a_mix_talks_in_the_ways_of_its_kinds_in_their_shares() {
    let world = World::new();
    let mix = r#"[device]
groups = ["x25519mlkem768", "x25519"]

[[device.mix]]
share = 0.25
flavour = "python"

[[device.mix]]
share = 0.25
flavour = "c"
transport = "mqtt-ws"
tls = "1.3"
groups = ["p384"]

[[device.mix]]
share = 0.2
flavour = "node"
transport = "https"

[[device.mix]]
share = 0.1
flavour = "csharp"
tls = "1.2"
groups = ["p256"]

[target.mock]

[load.closed]
in_flight = 40
"#;
    let played = play(&world, "mix", &scenario("devices = 80", mix)).exits(0);
    assert_eq!(played.record.assigned(), 80);
    let agreed = |version: &str, group: &str| {
        counted(&played, |row| row["version"] == version && row["group"] == group)
    };
    let told = played.record.at("/tls");
    // The client for Node and those of no kind talk as `[device]` says.
    assert_eq!(agreed("1.3", "x25519mlkem768"), 16 + 16, "{told}");
    assert_eq!(agreed("1.3", "p384"), 20, "{told}");
    assert_eq!(agreed("1.2", "p256"), 8, "{told}");
    // Whatever the others offer, the client for Python offers what its own TLS does.
    assert_eq!(agreed("1.2", "x25519"), 20, "{told}");
    assert_eq!(counted(&played, |_| true), 80, "{told}");
    // Over HTTPS there is no CONNECT.
    assert_eq!(played.count("/ledger/connects"), 80 - 16);
    assert_eq!(played.count("/ledger/registers"), 80);
}

#[test]
fn devices_that_only_connect_are_connected_and_register_nothing() {
    let world = World::new();
    for transport in ["mqtt", "mqtt-ws"] {
        let rest = format!(
            "[device]\ngoal = \"connected\"\ntransport = \"{transport}\"\n\n[target.mock]\n\n[load.closed]\nin_flight = 10\n"
        );
        let played = play(&world, transport, &scenario("devices = 50", &rest)).exits(0);
        assert_eq!((played.record.planned(), played.count("/outcomes/connected")), (50, 50));
        let ledger = |key: &str| played.count(&format!("/ledger/{key}"));
        assert_eq!((ledger("connects"), ledger("registers"), ledger("assigned")), (50, 0, 0), "{transport}");
        let phases = played.record.list("/phases");
        assert!(phases.iter().all(|phase| phase["phase"] != "register"), "{phases:?}");
    }
}

/// Two factories, a third of the devices from the one and the others from the other, each under a root of its own, and
/// forty arrivals a second.
fn factories(devices: u32, more: &str) -> String {
    let rest = format!(
        r#"[[fleet.factory]]
name = "line-a"
share = 0.25

[[fleet.factory]]
name = "line-b"
share = 0.75

{more}

[load.open]
rate = 40
max_in_flight = 100
"#
    );
    scenario(&format!("devices = {devices}"), &rest)
}

#[test]
fn the_devices_of_two_factories_roll_up_to_the_root_and_the_group_of_their_own() {
    let world = World::new();
    let played = play(&world, "two", &factories(80, "[target.mock]\n")).exits(0);
    let ways = played.record.list("/roll_up");
    assert_eq!(ways.len(), 2, "{ways:?}");
    for (group, devices) in [("line-a", 20), ("line-b", 60)] {
        let way = ways.iter().find(|way| way["group"] == group).unwrap_or_else(|| panic!("{ways:?}"));
        assert_eq!(
            (way["expected"].as_u64(), way["actual"].as_u64()),
            (Some(devices), Some(devices)),
            "{way}"
        );
    }
    assert_ne!(ways[0]["root"], ways[1]["root"]);
    assert_ne!(ways[0]["path"], ways[1]["path"]);
    let issuers = played.record.list("/certificates/issuers");
    let mut issued: Vec<u64> = issuers.iter().filter_map(|issuer| issuer["count"].as_u64()).collect();
    issued.sort_unstable();
    assert_eq!(issued, [20, 60], "{issuers:?}");
}

/// When what the operator did was done, in milliseconds from the start.
#[track_caller]
fn done(played: &Played<'_>, nth: usize) -> f64 {
    let event = &played.record.list("/events")[nth];
    assert!(event["failed"].is_null(), "{event}");
    event["at_seconds"].as_f64().expect("a moment") * 1_000.0
}

fn milliseconds(row: &Value, key: &str) -> f64 {
    row[key].as_f64().unwrap_or_else(|| panic!("no `{key}`: {row}"))
}

#[test]
fn a_group_that_is_disabled_and_enabled_again_keeps_its_own_devices_out_in_between_and_nobody_else() {
    let world = World::new();
    let operator = r#"[target.mock]

[[event]]
at = "2s"
enable_group = "line-a"

[[event]]
at = "1s"
disable_group = "line-a"

[[gate]]
metric = "outcome.disabled.count"
at_least = 1

[[gate]]
metric = "outcome.refused.count"
at_most = 0
"#;
    let played = play(&world, "disabled", &factories(160, operator)).exits(0);
    let out = played.count("/outcomes/disabled");
    assert_eq!(played.rolled_up("line-b"), 120);
    assert_eq!(played.rolled_up("line-a"), 40 - out);
    let (disabled, enabled) = (done(&played, 0), done(&played, 1));
    assert!(1_000.0 <= disabled && 2_000.0 <= enabled && disabled < enabled, "{disabled} {enabled}");
    let rows = played.rows();
    for row in rows.iter().filter(|row| row["outcome"] == "disabled") {
        // An event is done a little before it is told of.
        let (started, finished) = (milliseconds(row, "started_ms"), milliseconds(row, "finished_ms"));
        assert!(finished > 1_000.0 && started < enabled, "{row}");
    }
    let late = rows.iter().filter(|row| milliseconds(row, "started_ms") > enabled);
    assert!(late.clone().count() > 0 && late.clone().all(|row| row["outcome"] == "assigned"));
}

#[test]
fn a_ca_that_is_deleted_while_devices_arrive_takes_its_own_with_it_and_nobody_else() {
    let world = World::new();
    let operator = r#"[target.mock]

[[event]]
at = "1s"
delete_ca = "line-b"

[[gate]]
metric = "roll_up.line-a.count"
at_least = 30

[[gate]]
metric = "outcome.refused.count"
at_least = 1
"#;
    let played = play(&world, "deleted", &factories(120, operator)).exits(0);
    let refused = played.count("/outcomes/refused");
    assert_eq!((played.rolled_up("line-a"), played.rolled_up("line-b")), (30, 90 - refused));
    assert!((1..90).contains(&refused), "{refused}");
    assert_eq!(played.record.refused_with(401_002), refused, "{:?}", played.record.reasons());
    let deleted = done(&played, 0);
    let rows = played.rows();
    let early = rows.iter().filter(|row| milliseconds(row, "finished_ms") < 1_000.0);
    assert!(early.clone().count() > 0 && early.clone().all(|row| row["outcome"] == "assigned"));
    let late: Vec<&Value> = rows.iter().filter(|row| milliseconds(row, "started_ms") > deleted).collect();
    assert!(
        late.iter().any(|row| row["outcome"] == "refused")
            && late.iter().any(|row| row["outcome"] == "assigned")
    );
}

#[test]
fn devices_that_come_after_a_hub_was_unlinked_are_assigned_to_the_other() {
    let world = World::new();
    let operator = r#"[target.mock]
hubs = ["hub-west.azure-devices.net", "hub-east.azure-devices.net"]

[[event]]
at = "1s"
unlink_hub = "hub-west.azure-devices.net"

[load.open]
rate = 50
max_in_flight = 100
"#;
    let played = play(&world, "unlinked", &scenario("devices = 125", operator)).exits(0);
    assert_eq!(played.record.assigned(), 125);
    let unlinked = done(&played, 0);
    let rows = played.rows();
    let hubs = |rows: &mut dyn Iterator<Item = &Value>| {
        let mut hubs: Vec<String> = rows.filter_map(|row| row["hub"].as_str().map(str::to_owned)).collect();
        hubs.sort();
        hubs.dedup();
        hubs
    };
    let early = hubs(&mut rows.iter().filter(|row| milliseconds(row, "finished_ms") < 1_000.0));
    assert_eq!(early, ["hub-east.azure-devices.net", "hub-west.azure-devices.net"]);
    let late = hubs(&mut rows.iter().filter(|row| milliseconds(row, "started_ms") > unlinked));
    assert_eq!(late, ["hub-east.azure-devices.net"]);
}

#[test]
fn once_their_issuing_ca_has_expired_devices_are_refused() {
    let world = World::new();
    let rest = r#"[fleet.authority.minted]
issuing_validity = "5s"

[target.mock]

[load.open]
rate = 15
max_in_flight = 100

[[gate]]
metric = "outcome.refused.count"
at_least = 1

[[gate]]
metric = "outcome.assigned.count"
at_least = 1
"#;
    let played = play(&world, "expired", &scenario("devices = 105", rest)).exits(0);
    let (assigned, refused) = (played.record.assigned(), played.count("/outcomes/refused"));
    assert_eq!(assigned + refused, 105);
    assert_eq!(played.record.refused_with(401_002), refused, "{:?}", played.record.reasons());
    // Nobody gets in after somebody was kept out, but for those who came at that moment.
    let rows = played.rows();
    let started = |outcome: &str| {
        let rows = rows.iter().filter(move |row| row["outcome"] == outcome);
        rows.map(|row| milliseconds(row, "started_ms")).collect::<Vec<f64>>()
    };
    let last_in = started("assigned").into_iter().fold(0.0, f64::max);
    let first_out = started("refused").into_iter().fold(f64::INFINITY, f64::min);
    assert!(last_in < first_out + 1_000.0, "{last_in} {first_out}");
}
