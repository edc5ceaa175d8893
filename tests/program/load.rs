//! Load as a scenario writes it: who arrives when, what happens to those who find no slot, what a run is held to, and
//! that every arrival is accounted for whatever goes wrong.

use crate::played::{Played, play, scenario, start};
use crate::world::{World, processors};
use serde_json::{Value, json};

/// Whether each second has as many as planned, or one or two more or fewer where a moment falls on its edge.
#[track_caller]
fn assert_close(found: &[u64], planned: &[f64]) {
    assert_eq!(found.len(), planned.len(), "{found:?}, planned {planned:?}");
    for (found_now, planned_now) in found.iter().zip(planned) {
        assert!((*found_now as f64 - planned_now).abs() <= 2.0, "{found:?}, planned {planned:?}");
    }
}

#[test]
fn stages_make_the_arrivals_that_plan_tells_each_second_as_the_integral_of_the_rate() {
    let world = World::new();
    let stages = r#"[target.mock]

[load.open]
max_in_flight = 200

[[load.open.stage]]
ramp = { from = 0, to = 40, lasts = "2s" }

[[load.open.stage]]
pause = { lasts = "1s" }

[[load.open.stage]]
constant = { rate = 30, lasts = "2s" }

[[load.open.stage]]
all_at_once = { devices = 25 }
"#;
    let played = play(&world, "stages", &scenario("devices = 200", stages)).exits(0);
    assert_eq!(played.record.planned(), 40 + 60 + 25);
    assert_close(&played.series("offered"), &[10.0, 30.0, 0.0, 30.0, 30.0, 25.0]);

    let plan = world.rollcall("plan stages.toml --json").exits(0).json();
    let forecast = &plan["forecast"];
    assert_eq!(forecast["arrivals"].as_u64(), Some(played.record.planned()), "{plan}");
    assert_eq!(forecast["rates"]["column_seconds"].as_f64(), Some(1.0), "{plan}");
    let curve = forecast["rates"]["curve"].as_array().expect("a curve");
    let curve: Vec<f64> = curve.iter().filter_map(Value::as_f64).collect();
    assert_close(&played.series("offered"), &curve);
}

#[test]
fn arrivals_at_random_are_as_many_as_even_ones_elsewhere_in_time_and_the_same_for_the_same_seed() {
    let world = World::new();
    let arrivals = |spacing: &str, seed: u32| {
        let rest = format!(
            "[target.mock]\n\n[load.open]\nrate = 40\nmax_in_flight = 100\nspacing = \"{spacing}\"\n"
        );
        scenario("devices = 120", &rest).replace("seed = 7", &format!("seed = {seed}"))
    };
    let runs =
        [("even", "even", 7), ("once", "poisson", 7), ("again", "poisson", 7), ("other", "poisson", 8)];
    let playing = runs.map(|(name, spacing, seed)| start(&world, name, &arrivals(spacing, seed)));
    let [even, once, again, other] = playing.map(|run| {
        let played = run.finish().exits(0);
        assert_eq!(played.record.planned(), 120);
        let due = |row: &Value| row["due_ms"].as_f64().expect("a moment");
        played.rows().iter().map(due).collect::<Vec<f64>>()
    });
    assert_eq!(once, again);
    assert_ne!(once, other);
    assert_ne!(once, even);
    let gaps = |due: &[f64]| due.windows(2).map(|pair| pair[1] - pair[0]).collect::<Vec<_>>();
    assert!(gaps(&even).iter().all(|gap| (24.9..25.1).contains(gap)), "{even:?}");
    let (short, long) =
        (gaps(&once).iter().filter(|gap| **gap < 12.5).count(), gaps(&once).into_iter().fold(0.0, f64::max));
    // Of gaps that fall at random with a mean of 25 ms, two in five are below half of that, and one in fifty beyond 98 ms.
    assert!((25..75).contains(&short) && long > 60.0, "{short} short ones, {long} ms the longest: {once:?}");
}

#[test]
fn recorded_arrivals_come_when_they_were_recorded() {
    let world = World::new();
    world.write("arrivals.txt", "0.1\n2.5\n\n1200ms # later in the file than it came\n0.35\n100ms\n");
    let stages = r#"[target.mock]

[load.open]
max_in_flight = 10

[[load.open.stage]]
pause = { lasts = "500ms" }

[[load.open.stage]]
replay = { file = "arrivals.txt" }
"#;
    let played = play(&world, "recorded", &scenario("devices = 5", stages)).exits(0);
    let rows = played.rows();
    let due: Vec<f64> = rows.iter().filter_map(|row| row["due_ms"].as_f64()).collect();
    assert_eq!(due, [600.0, 600.0, 850.0, 1_700.0, 3_000.0]);
    let early = rows.iter().find(|row| row["started_ms"].as_f64() < row["due_ms"].as_f64());
    assert!(early.is_none(), "{early:?}");
}

#[test]
fn a_closed_load_in_stairs_has_no_more_in_flight_than_the_stair_allows_and_as_many() {
    let world = World::new();
    let stairs = r#"[target.mock]

[[target.mock.fault]]
id = "latency"
at = ["register"]
delay = "150ms"

[[load.closed.stage]]
in_flight = 2
lasts = "2s"

[[load.closed.stage]]
in_flight = 9
"#;
    let played = play(&world, "stairs", &scenario("devices = 140", stairs)).exits(0);
    assert_eq!(played.record.assigned(), 140);
    let in_flight = played.series("in_flight");
    assert!(in_flight[..2].iter().all(|now| *now <= 2), "{in_flight:?}");
    assert!(in_flight[2..].iter().all(|now| *now <= 9), "{in_flight:?}");
    assert!(in_flight.iter().max() > Some(&2), "{in_flight:?}");
    let all = played.rows();
    let early = all.iter().filter(|row| row["finished_ms"].as_f64() < Some(2_000.0));
    let early: Vec<Value> = early.cloned().collect();
    assert_eq!((most_at_once(&early), most_at_once(&all)), (2, 9));
}

/// The most attempts that ran at any one time.
fn most_at_once(rows: &[Value]) -> i32 {
    let moment = |row: &Value, key: &str| row[key].as_f64();
    let starts = rows.iter().filter_map(|row| Some((moment(row, "started_ms")?, 1)));
    let ends = rows.iter().filter_map(|row| Some((moment(row, "finished_ms")?, -1)));
    let mut changes: Vec<(f64, i32)> = starts.chain(ends).collect();
    // One that ends makes room for one that starts at the same moment.
    changes.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let so_far = changes.into_iter().scan(0, |now, (_, change)| {
        *now += change;
        Some(*now)
    });
    so_far.max().unwrap_or(0)
}

#[test]
fn arrivals_without_a_slot_wait_and_are_charged_for_it_or_are_shed_and_counted() {
    let _processors = processors();
    let world = World::new();
    // Sixty a second come, and four at a time that take a quarter of a second each can be served: sixteen a second.
    let load = |when_full: &str| {
        let rest = format!(
            r#"[target.mock]

[[target.mock.fault]]
id = "latency"
at = ["register"]
delay = "250ms"

[load.open]
rate = 60
max_in_flight = 4
when_full = "{when_full}"
"#
        );
        scenario("devices = 90", &rest)
    };
    let playing = ["wait", "shed"].map(|when_full| start(&world, when_full, &load(when_full)));
    let [wait, shed] = playing.map(|run| run.finish());

    let wait = wait.exits(0);
    assert_eq!((wait.record.assigned(), wait.count("/outcomes/shed")), (90, 0));
    let shed = shed.exits(99);
    let left_out = shed.count("/outcomes/shed");
    assert!((30..90).contains(&left_out), "{left_out} shed");
    assert_eq!(shed.record.assigned() + left_out, 90);
    assert_eq!(shed.count("/ledger/connections"), 90 - left_out);
    for played in [&wait, &shed] {
        assert!(most_at_once(&played.rows()) <= 4);
    }
    let median = |played: &Played<'_>, clock: &str| played.count(&format!("/clocks/{clock}/p50_us"));
    assert!(median(&wait, "response_time") > 3 * median(&wait, "service_time"));
    assert!(2 * median(&shed, "response_time") < median(&wait, "response_time"));
}

#[test]
fn devices_that_come_three_times_are_three_arrivals_each_and_are_assigned_each_time() {
    let world = World::new();
    let load = "[target.mock]\n\n[load.closed]\nin_flight = 10\n";
    let thrice = play(&world, "thrice", &scenario("devices = 40\nturns = 3", load)).exits(0);
    assert_eq!((thrice.record.planned(), thrice.record.assigned()), (120, 120));
    assert_eq!(thrice.count("/ledger/assigned"), 120);
    thrice.record.adds_up();
    for row in thrice.rows() {
        assert_eq!(row["arrival"].as_u64().map(|arrival| arrival % 40), row["device"].as_u64(), "{row}");
    }
    let once = |name| play(&world, name, &scenario("devices = 40", load)).exits(0);
    let (once, again) = (once("once"), once("again"));
    let set = |played: &Played<'_>| played.record.at("/device_set").clone();
    assert_eq!(once.record.planned(), 40);
    assert_eq!(set(&once), set(&again));
    assert_ne!(set(&once), set(&thrice));
}

/// Forty devices, and gates.
fn gated(gates: &str) -> String {
    scenario("devices = 40", &format!("[target.mock]\n\n[load.closed]\nin_flight = 10\n{gates}"))
}

#[test]
fn gates_that_are_met_pass_and_one_that_is_not_fails_with_what_was_measured() {
    let world = World::new();
    let met = r#"
[[gate]]
metric = "outcome.assigned.count"
at_least = 40
at_most = 40

[[gate]]
metric = "response_time.p99"
at_most = "60s"

[[gate]]
metric = "roll_up.fleet.share"
at_least = 1

[[gate]]
metric = "retries.count"
at_most = 0
"#;
    let passed = play(&world, "met", &gated(met)).exits(0);
    let gates = passed.record.list("/gates");
    assert_eq!(gates.len(), 4, "{gates:?}");
    assert!(gates.iter().all(|gate| gate["passed"] == true), "{gates:?}");
    assert_eq!(passed.verdict(), "good");

    // No handshake is that quick.
    let too_much = format!("{met}\n[[gate]]\nmetric = \"phase.tls.max\"\nat_most = \"0ms\"\n");
    let failed = play(&world, "failed", &gated(&too_much)).exits(99);
    assert_eq!(failed.verdict(), "gate-failed");
    let gates = failed.record.list("/gates");
    let unmet: Vec<&Value> = gates.iter().filter(|gate| gate["passed"] == false).collect();
    let [unmet] = unmet.as_slice() else { panic!("{gates:?}") };
    assert_eq!((&unmet["metric"], &unmet["unit"]), (&Value::from("phase.tls.max"), &Value::from("s")));
    let tls = failed.record.list("/phases").iter().find(|phase| phase["phase"] == "tls").expect("handshakes");
    let (measured, longest) =
        (unmet["measured"].as_f64().expect("a time"), tls["max_us"].as_f64().expect("a time"));
    assert!(measured > 0.0 && (measured * 1e6 - longest).abs() <= 1.0, "{unmet}, {tls}");
}

#[test]
fn a_gate_on_outcomes_says_what_is_meant_and_without_one_everybody_is_meant_to_get_in() {
    let world = World::new();
    let throttled =
        "\n[[target.mock.fault]]\nid = \"throttle\"\nretry_after = \"300s\"\n\n[device.retry.none]\n";
    let implied = play(&world, "implied", &gated(throttled)).exits(99);
    assert_eq!(implied.count("/outcomes/throttled"), 40);
    let [gate] = implied.record.list("/gates") else { panic!("{}", implied.record.at("/gates")) };
    assert_eq!((gate["passed"].as_bool(), gate["measured"].as_f64()), (Some(false), Some(40.0)), "{gate}");

    let meant = format!("{throttled}\n[[gate]]\nmetric = \"outcome.throttled.count\"\nat_least = 40\n");
    let stated = play(&world, "stated", &gated(&meant)).exits(0);
    assert_eq!(stated.count("/outcomes/throttled"), 40);
    assert_eq!(stated.record.list("/gates").len(), 1);

    // A gate on something else says nothing of outcomes.
    let beside = format!("{throttled}\n[[gate]]\nmetric = \"retries.count\"\nat_most = 0\n");
    let beside = play(&world, "beside", &gated(&beside)).exits(99);
    let passed: Vec<Option<bool>> =
        beside.record.list("/gates").iter().map(|gate| gate["passed"].as_bool()).collect();
    assert_eq!(passed, [Some(true), Some(false)]);
}

#[test]
fn a_gate_that_may_end_the_run_ends_it_early_and_the_rest_is_counted_as_interrupted() {
    let world = World::new();
    let rest = r#"[target.mock]

[[target.mock.fault]]
id = "throttle"
from = "500ms"

[device.retry.none]

[load.open]
rate = 20
max_in_flight = 100

[[gate]]
metric = "outcome.throttled.count"
at_most = 5
abort_after = "1s"

[[gate]]
metric = "outcome.assigned.count"
at_least = 1
"#;
    let played = play(&world, "ended", &scenario("devices = 600", rest)).exits(99);
    assert_eq!(played.record.at("/ended"), "ended-by-gate");
    assert!(played.count("/outcomes/interrupted") > 0);
    assert!(played.record.assigned() > 0 && played.count("/outcomes/throttled") > 5);
    let [gate, other] = played.record.list("/gates") else { panic!("{}", played.record.at("/gates")) };
    let ended = gate["aborted_at"].as_f64().expect("a moment");
    // Thirty seconds of arrivals were planned.
    assert!((1.0..20.0).contains(&ended), "{gate}");
    assert_eq!((gate["passed"].as_bool(), other["passed"].as_bool()), (Some(false), Some(true)));
    assert!(other["aborted_at"].is_null(), "{other}");
}

#[test]
fn every_arrival_is_accounted_for_with_everything_a_little_wrong() {
    let _processors = processors();
    let world = World::new();
    let chaos = "[target.mock]\nprofile = \"chaos\"\n\n[load.closed]\nin_flight = 400\n";
    let played = play(&world, "chaos", &scenario("devices = 3000", chaos));
    assert_ne!(played.verdict(), "invalid", "{}", played.record.at("/verdict"));
    assert!((2_000..3_000).contains(&played.record.assigned()), "{}", played.record.at("/outcomes"));
    let throttled = played.count("/ledger/throttled");
    assert_eq!(played.count("/retries/throttled"), throttled, "each 429 was heard, and asked again");
    assert_eq!(played.count("/ledger/malformed_answers"), played.count("/outcomes/protocol_error"));
    for key in [
        "/ledger/lost_answers",
        "/ledger/server_errors",
        "/ledger/malformed_answers",
        "/outcomes/unreachable",
    ] {
        assert!(played.count(key) > 0, "{key}: {}", played.record.at("/ledger"));
    }
    let rows = played.record.list("/reconciliation");
    assert_eq!(rows.len(), 7, "{rows:?}");
    for row in rows {
        assert_eq!(
            (&row["client"], &row["unheard"]),
            (&row["service"], &json!(0)),
            "to the last answer: {row}"
        );
    }
}

/// A plan in which anything may go wrong, drawn from its number alone.
struct Draw(u64);

impl Draw {
    /// splitmix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn within(&mut self, from: u64, to: u64) -> u64 {
        from + self.next() % (to - from + 1)
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.within(0, of.len() as u64 - 1) as usize]
    }

    /// A fault with what it needs to be told, and where it can happen.
    const FAULTS: [(&'static str, &'static [&'static str]); 16] = [
        ("id = \"drop\"", &["tcp", "tls", "connect", "subscribe"]),
        ("id = \"drop\"", &["register", "poll", "register-answer", "poll-answer"]),
        ("id = \"half-open\"", &["tls", "connect", "register", "poll-answer"]),
        (
            "id = \"latency\"\ndelay = \"uniform 1ms..300ms\"",
            &["connect", "register", "poll", "register-answer"],
        ),
        ("id = \"stall\"\nlasting = \"300ms\"\nevery = \"900ms\"", &["register", "poll"]),
        ("id = \"pace\"\nrate = 60\nqueue = 8", &["register"]),
        ("id = \"throttle\"\nretry_after = \"0s\"", &["register", "poll"]),
        ("id = \"throttle\"\nretry_after = \"1s\"", &["register", "poll"]),
        ("id = \"server-error\"\nretry_after = \"0s\"", &["register", "poll"]),
        ("id = \"slow-tls\"\ndelay = \"exponential 50ms\"", &["tls"]),
        ("id = \"refuse-connect\"\nreturn_code = 3", &["connect"]),
        ("id = \"lost-puback\"", &["register", "poll"]),
        ("id = \"duplicate-answer\"", &["register", "poll"]),
        ("id = \"reordered-answer\"", &["register", "poll"]),
        ("id = \"malformed-body\"", &["register", "poll"]),
        ("id = \"server-certificate-expired\"", &["tls"]),
    ];

    fn fault(&mut self) -> String {
        let (fault, points) = Self::FAULTS[self.within(0, Self::FAULTS.len() as u64 - 1) as usize];
        let (point, share) = (self.one(points), self.within(2, 35));
        let window = match self.within(0, 2) {
            0 => format!("from = \"{}ms\"\nuntil = \"{}ms\"\n", self.within(0, 400), self.within(500, 1_500)),
            _ => String::new(),
        };
        format!("[[target.mock.fault]]\n{fault}\nat = [\"{point}\"]\nshare = 0.{share:02}\n{window}\n")
    }

    fn retry(&mut self) -> &'static str {
        self.one(&[
            "",
            "[device.retry.none]\n",
            "[device.retry.fixed]\nwait = \"50ms\"\nretries = 3\n",
            "[device.retry.exponential]\nfirst = \"20ms\"\nmost = \"400ms\"\nretries = 6\n",
            "[device.retry.naive]\n",
        ])
    }

    fn load(&mut self, arrivals: u64) -> String {
        let (slots, full) = (self.within(20, 60), self.one(&["wait", "shed"]));
        let open = format!("[load.open]\nmax_in_flight = {slots}\nwhen_full = \"{full}\"\n");
        match self.within(0, 4) {
            0 => format!("[load.closed]\nin_flight = {slots}\n"),
            1 => format!("{open}rate = {}\n", self.within(40, 200)),
            2 => format!("{open}rate = {}\nspacing = \"poisson\"\n", self.within(40, 200)),
            3 => format!("{open}\n[[load.open.stage]]\nall_at_once = {{}}\n"),
            _ => format!(
                "{open}\n[[load.open.stage]]\nramp = {{ from = 0, to = {arrivals}, lasts = \"1s\" }}\n\n\
                 [[load.open.stage]]\nall_at_once = {{}}\n"
            ),
        }
    }

    /// The lines of `[device]`, and what is below it.
    fn device(&mut self, turns: u64) -> String {
        let talk = self.one(&["", "transport = \"mqtt-ws\"", "transport = \"https\"", "tls = \"1.2\""]);
        let manner = self.one(&["", "flavour = \"node\""]);
        let resumption = if turns > 1 { self.one(&["", "resumption = \"tickets\""]) } else { "" };
        // Over HTTPS there is no connection to hold.
        let hold =
            if talk.contains("https") { "" } else { self.one(&["", "[device.hold]\nlasts = \"200ms\"\n"]) };
        format!("[device]\n{talk}\n{manner}\n{resumption}\n\n{hold}\n{}", self.retry())
    }

    /// The scenario, and how many arrivals it plans.
    fn plan(&mut self) -> (String, u64) {
        let (devices, turns) = (self.within(60, 100), self.within(1, 2));
        let faults: String = (0..self.within(2, 5)).map(|_| self.fault()).collect();
        let phases = self
            .one(&["", "[limits.phase_timeouts]\nregister = \"400ms\"\npoll = \"400ms\"\ntls = \"600ms\"\n"]);
        let rest = format!(
            "[limits]\ngenerator = \"report\"\nattempt_timeout = \"2s\"\n\n{phases}\n{}\n[target.mock]\ntickets = true\n\n\
             {faults}{}",
            self.device(turns),
            self.load(devices * turns)
        );
        (scenario(&format!("devices = {devices}\nturns = {turns}"), &rest), devices * turns)
    }
}

#[test]
fn every_arrival_ends_as_one_outcome_that_the_service_can_agree_with_whatever_goes_wrong() {
    let world = World::new();
    // Four at a time, so that one that waits for something does not keep the others waiting.
    for seeds in [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]] {
        let plans = seeds.map(|seed| (format!("plan-{seed}"), Draw(seed).plan()));
        let playing = plans.map(|(name, (text, planned))| (start(&world, &name, &text), planned));
        for (run, planned) in playing {
            // That its sums agree is looked at wherever a run is read back.
            let played = run.finish();
            assert_eq!(played.record.planned(), planned);
            let (verdict, code) = (played.verdict(), played.code());
            assert!(matches!(verdict, "good" | "gate-failed"), "{}", played.record.at("/verdict"));
            assert!(matches!(code, Some(0 | 4 | 99)), "{code:?}");
        }
    }
}
