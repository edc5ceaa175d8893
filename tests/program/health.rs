//! Whether a run tells when it was the generator that was too slow, and how it looks to those who watch it.

use crate::refusals::minted_under_a_verified_root;
use crate::roll_up::service_scenario;
use crate::semantics::{admitting, mint_for_runs};
use crate::world::{Finished, Mock, Record, Running, World, awaited, finish_within, processors, skip};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Three hundred arrivals a second, for three.
const STORM: &str = "[load.open]\nrate = 300\nmax_in_flight = 900\n";

/// A shell that keeps the first processor busy; ends with the value.
struct Busy(Child);

impl Busy {
    fn start() -> Self {
        let mut command = Command::new("taskset");
        command.args(["-c", "0", "sh", "-c", "while :; do :; done"]).stdin(Stdio::null());
        Busy(command.spawn().expect("a busy loop"))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether processes can be given a processor each and a lower priority; says aloud if not.
fn can_be_pinned(test: &str) -> bool {
    for (tool, line) in [("taskset", "taskset -c 1 taskset -c 0 true"), ("nice", "nice -n 10 true")] {
        let found = Command::new("sh").args(["-c", line]).stderr(Stdio::null()).status();
        if !found.as_ref().is_ok_and(std::process::ExitStatus::success) {
            skip(test, tool, &format!("`{line}`: {found:?}"));
            return false;
        }
    }
    true
}

/// A mock on the second processor, with the group and the authority that the scenario's devices have.
fn second_processor<'w>(world: &'w World, flags: &str) -> Mock<'w> {
    let mock = Mock::start_under(world, "taskset -c 1", flags);
    minted_under_a_verified_root(world, &mock);
    for (name, file) in [("int.pem", "ca/intermediate-1.pem"), ("int.key", "ca/intermediate-1.key.pem")] {
        fs::copy(world.path(file), world.path(name)).expect("a copy");
    }
    mock
}

/// A run that is to end in its time, and not in that of a test.
fn run(world: &World, before: &str) -> Finished {
    finish_within(world.program_under(before, "run storm.toml --out out"), Duration::from_secs(90))
}

#[test]
fn a_client_starved_of_its_processor_ends_as_the_limit_of_the_run() {
    let test = "a_client_starved_of_its_processor_ends_as_the_limit_of_the_run";
    if !can_be_pinned(test) {
        return;
    }
    let _processors = processors();
    let world = World::new();
    let mock = second_processor(&world, "");
    world.write("storm.toml", service_scenario(&mock, 900, STORM));
    let busy = [Busy::start(), Busy::start()];
    let told = run(&world, "nice -n 10 taskset -c 0").exits(98);
    drop(busy);
    let record = Record::read(&world, "out");
    assert_eq!(record.at("/verdict/kind"), "generator-limited", "{told}");
    assert_eq!(record.at("/generator/limited"), true, "{told}");
    assert!(!record.list("/generator/findings").is_empty(), "{told}");
    let late = record.number("/clocks/lateness/p99_us");
    assert!(late > 50_000, "{late} µs: {told}");
}

#[test]
fn a_service_that_is_slow_is_not_the_client_s_fault() {
    let test = "a_service_that_is_slow_is_not_the_client_s_fault";
    if !can_be_pinned(test) {
        return;
    }
    let _processors = processors();
    let world = World::new();
    let mock = second_processor(&world, "--assign-delay 800ms --retry-after 1s");
    world.write("storm.toml", service_scenario(&mock, 900, STORM));
    let told = run(&world, "").exits(0);
    let record = Record::read(&world, "out");
    assert_eq!(record.at("/verdict/kind"), "good", "{told}");
    assert_eq!(record.at("/generator/limited"), false, "{told}");
    assert!(record.number("/clocks/service_time/p50_us") > 800_000, "the service was not slow: {told}");
    record.adds_up();
}

#[test]
fn a_target_that_vanishes_is_counted_as_unreachable_and_the_run_ends() {
    let world = World::new();
    mint_for_runs(&world);
    let mock = admitting(&world, "--retry-after 0s", "");
    // Nobody to ask for a ledger: whether the sums of the service agree is not what this is about.
    let text = service_scenario(&mock, 300, "[load.open]\nrate = 75\nmax_in_flight = 300\n");
    let text: Vec<&str> = text.lines().filter(|line| !line.starts_with("management")).collect();
    world.write("storm.toml", text.join("\n"));
    let run = Running::start(world.program("run storm.toml --set limits.generator=report --out out"));
    let assigned = || mock.manage("GET /ledger", "").json()["assigned"].as_u64().filter(|count| *count >= 20);
    awaited("devices assigned", assigned);
    drop(mock);
    let told = run.finish().exits(99);
    let record = Record::read(&world, "out");
    let outcomes = record.at("/outcomes").as_object().expect("outcomes");
    let ended: u64 = outcomes.values().filter_map(Value::as_u64).sum();
    assert_eq!((record.planned(), ended), (300, 300), "{told}");
    assert!(record.assigned() >= 20, "{told}");
    let unreachable = record.number("/outcomes/unreachable");
    assert!(unreachable > 0, "{told}");
    assert_eq!(record.assigned() + unreachable, 300, "{told}");
    let why: u64 = record.reasons().iter().filter_map(|reason| reason["count"].as_u64()).sum();
    assert_eq!(why, unreachable, "{:?}", record.reasons());
    // Who could not connect did not stop those after it from trying.
    assert_eq!(record.number("/started"), 300, "{told}");
}

#[test]
fn connections_come_from_the_addresses_that_were_named() {
    let world = World::new();
    let told = world.rollcall(
        "run smoke --set fleet.devices=40 --source-address 127.0.0.2-127.0.0.4 --source-address 127.0.0.9 --out out",
    );
    let told = told.exits(0);
    let record = Record::read(&world, "out");
    assert_eq!((record.number("/generator/source_addresses"), record.assigned()), (4, 40), "{told}");
}

#[test]
fn addresses_that_cannot_be_connected_from_are_refused_before_the_run() {
    let world = World::new();
    for addresses in [
        // Documentation addresses (RFC 5737) belong to nobody.
        "--source-address 192.0.2.1",
        "--source-address 127.0.0.2 --source-address 192.0.2.1",
        "--source-address 127.0.0.2-127.0.0.1",
        "--source-address 10.0.0.0-10.255.255.255",
        "--source-address 127.0.0.2-::1",
        "--source-address localhost",
        "--source-address 127.0.0",
        // The mock listens on an IPv4 address, which no other family connects to.
        "--source-address ::1",
        "--source-address 127.0.0.2 --source-address ::1",
    ] {
        let refused = world.rollcall(&format!("run smoke --set fleet.devices=20 --out out {addresses}"));
        assert_eq!(refused.code, Some(2), "{refused}");
        assert!(!world.path("out").exists(), "{refused}");
    }
}

/// A run of six seconds whose talk goes to `talk`, where a test can read it meanwhile.
fn watched(world: &World, flags: &str) -> Running {
    let line = format!(
        "run steady --set fleet.devices=300 --set load.open.rate=50 --set limits.generator=report --out out {flags}"
    );
    let mut command = world.command("sh");
    command.args(["-c", "exec \"$0\" \"$@\" 2>talk", env!("CARGO_BIN_EXE_rollcall")]);
    command.args(line.split_whitespace());
    Running::start(command)
}

/// What is at `http://ADDRESS/PATH`: the status, the head and the body.
fn get(address: &str, path: &str) -> Option<(String, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split_once("\r\n\r\n").map(|(head, body)| (head.to_owned(), body.to_owned()))
}

/// Every series of a page by its name and labels.
fn series(page: &str) -> BTreeMap<&str, f64> {
    let samples = page.lines().filter(|line| !line.starts_with('#') && line.contains(' '));
    let sample = |line| {
        let (name, value): (&str, &str) = str::rsplit_once(line, ' ').expect("a sample");
        (name, value.parse().unwrap_or_else(|e| panic!("{line}: {e}")))
    };
    samples.map(sample).collect()
}

/// What dashboards are built on.
const METRICS: [&str; 16] = [
    "rollcall_run_arrivals_offered_total",
    "rollcall_run_attempts_started_total",
    "rollcall_run_attempts_finished_total",
    "rollcall_run_arrivals_ended_total{outcome=\"assigned\"}",
    "rollcall_run_arrivals_ended_total{outcome=\"timed_out\"}",
    "rollcall_run_arrivals_unexpected_total",
    "rollcall_run_retries_total{cause=\"throttled\"}",
    "rollcall_run_elapsed_seconds",
    "rollcall_run_arrivals_planned",
    "rollcall_run_planned_rate",
    "rollcall_run_in_flight",
    "rollcall_run_held",
    "rollcall_run_generator_busy_ratio",
    "rollcall_run_phase_seconds{phase=\"tls\",quantile=\"0.99\"}",
    "rollcall_run_service_time_seconds_count",
    "rollcall_run_lateness_seconds_sum",
];

#[test]
fn the_metrics_port_tells_how_a_run_goes_while_it_goes() {
    let world = World::new();
    let run = watched(&world, "--metrics-port 0");
    let address = awaited("an address in the talk", || {
        let talk = fs::read_to_string(world.path("talk")).unwrap_or_default();
        let (_, rest) = talk.split_once("http://")?;
        let (address, _) = rest.split_once("/metrics\n")?;
        Some(address.to_owned())
    });
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    // From the first one on; only while devices are still minted there is none.
    let (head, early) = awaited("a page", || get(&address, "/metrics").filter(|(_, page)| !page.is_empty()));
    let elsewhere = get(&address, "/secrets").map(|(head, _)| head);
    let assigned = |page: &str| series(page).get(METRICS[3]).copied().unwrap_or_default();
    let (_, late) = awaited("more devices", || {
        get(&address, "/metrics").filter(|(_, page)| assigned(page) > assigned(&early))
    });
    let told = run.finish().exits(0);

    assert!(head.starts_with("HTTP/1.1 200") && head.to_lowercase().contains("text/plain"), "{head}");
    assert!(elsewhere.is_some_and(|head| head.starts_with("HTTP/1.1 404")), "{told}");
    let (early, late) = (series(&early), series(&late));
    assert!(early.keys().eq(late.keys()), "the same series all the time");
    for name in METRICS {
        assert!(early.contains_key(name), "no `{name}` in {early:?}");
    }
    for (name, before) in
        early.iter().filter(|(name, _)| name.split('{').next().is_some_and(|n| n.ends_with("_total")))
    {
        assert!(late[name] >= *before, "{name} falls from {before} to {}", late[name]);
    }
    assert!(late[METRICS[3]] <= 300.0, "{late:?}");
    assert_eq!(late["rollcall_run_arrivals_planned"], 300.0);
}

#[test]
fn progress_as_json_is_an_object_a_second() {
    let world = World::new();
    let told = watched(&world, "--quiet --progress json --metrics-port 0").finish().exits(0);
    let wall = Record::read(&world, "out").at("/wall_seconds").as_f64().expect("a number");
    let talk = world.read("talk");
    let lines: Vec<Value> = talk
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect();
    for line in &lines {
        assert_eq!(
            (&line["schema"], &line["planned"]),
            (&Value::from("rollcall.live/1"), &Value::from(300)),
            "{line}"
        );
        let outcomes = line["outcomes"].as_object().expect("outcomes");
        let ended: u64 = outcomes.values().filter_map(Value::as_u64).sum();
        assert!(Some(ended) <= line["offered"].as_u64(), "{line}");
        assert!(line["last_second"].is_object() && line["gates"].is_array(), "{line}");
        // Nobody else could tell the port.
        assert!(line["metrics"].as_str().is_some_and(|url| url.starts_with("http://127.0.0.1:")), "{line}");
    }
    // There is a slot for everybody: what comes due while a second is handed over is no arrival that waits.
    assert!(lines.iter().filter(|line| line["waiting"] == 0).count() * 2 > lines.len(), "{talk}");
    let of = |key: &str| lines.iter().filter_map(|line| line[key].as_f64()).collect::<Vec<_>>();
    assert!(of("elapsed_seconds").is_sorted_by(|one, next| one < next), "{talk}");
    assert!(of("offered").is_sorted() && of("finished").is_sorted(), "{talk}");
    // The last one is of the end, whenever that was.
    assert_eq!(of("finished").last(), Some(&300.0), "{told}\n{talk}");
    assert!((4..=wall as usize + 2).contains(&lines.len()), "{} objects in {wall} s:\n{talk}", lines.len());
}
