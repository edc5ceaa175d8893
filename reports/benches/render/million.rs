//! The record of a run that never was, as JSON: a million devices, an hour, a hundred ways to roll up.
//!
//! Made by arithmetic alone, so that it is the same wherever it is made, and it adds up as that of a real run.
//! Benchmarks render it, and tests that know nothing of the project's types.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer as _, V2DeflateSerializer};
use serde_json::{Map, Value, json};

const DEVICES: u64 = 1_000_000;
const SECONDS: u64 = 3_600;

/// Devices that were never started.
const SHED: u64 = 500;

/// How those that were started ended, other than assigned; and for how many reasons.
const ENDINGS: [(&str, u64, u64); 7] = [
    ("refused", 12_000, 40),
    ("disabled", 2_000, 2),
    ("failed", 500, 4),
    ("throttled", 3_000, 1),
    ("unreachable", 1_000, 4),
    ("timed_out", 1_000, 5),
    ("protocol_error", 100, 2),
];

/// What was tried again, by cause.
const RETRIES: [(&str, u64); 4] =
    [("throttled", 40_000), ("server_error", 500), ("connection", 2_000), ("timeout", 800)];

/// Buckets of response times, eight a decade: how many of 100 devices are in each, from the first on.
const SPREAD: [u64; 14] = [1, 4, 11, 19, 22, 17, 10, 6, 4, 2, 1, 1, 1, 1];

/// The first of them, as 10^(bucket / 8) µs: 1.8 ms.
const FASTEST: u64 = 26;

/// The seconds in which the service stalls, and by how many buckets it is slower.
const STALL: (std::ops::Range<u64>, u64) = (1_800..1_860, 9);

/// The run.
pub(crate) fn million() -> Value {
    let parts = [set_up(), ended(), measured(Series::new()), judged()];
    let fields = |part: Value| if let Value::Object(fields) = part { fields } else { Map::new() };
    parts.into_iter().flat_map(fields).collect::<Map<_, _>>().into()
}

/// What was run, where.
fn set_up() -> Value {
    json!({
        "schema": "rollcall.run/1",
        "program_version": "0.1.0",
        "command": ["rollcall", "run", "million.toml", "--out", "million"],
        "started_utc": "2026-03-01T06:00:00Z",
        "scenario": { "name": "million", "file": "million.toml", "text": text(), "overrides": [] },
        "settings": settings(),
        "seed": 1,
        "host": {
            "cpus": 4, "cpu_model": "made up", "memory_bytes": 8_589_934_592_u64, "os": "linux",
            "kernel": "6.1", "build": "release",
        },
        "notes": ["This run never was: its numbers are made by arithmetic."],
        "model": "open",
        "allocation_policy": "hashed",
        "quota_per_minute": 30_000,
        "certificates": certificates(),
    })
}

/// How its devices ended.
fn ended() -> Value {
    json!({
        "planned": DEVICES,
        "started": DEVICES - SHED,
        "finished": DEVICES - SHED,
        "device_set": "0123456789abcdef0123456789abcdef",
        "ended": "completed",
        "outcomes": counts(endings().chain([("assigned", assigned()), ("shed", SHED)])),
        "reasons": reasons(),
        "samples": samples(),
        "retries": counts(RETRIES),
        "tls": tls(),
        "events": events(),
        "roll_up": roll_up(),
    })
}

/// How long it took.
fn measured(series: Series) -> Value {
    let per_second = assigned() as f64 / SECONDS as f64;
    json!({
        "wall_seconds": SECONDS as f64,
        "minting_seconds": 480.0,
        "phases": phases(&series),
        "clocks": clocks(&series),
        "throughput": {
            "per_second": per_second, "devices_per_minute": per_second * 60.0, "shards_apart": false,
        },
        "per_second": series.seconds,
        "generator": {
            "cpu_seconds_client": 2_900.0, "workers": 4, "cpu_share": 0.31, "starved_share": 0.004,
            "peak_memory_bytes": 180_000_000, "descriptors_needed": 2_100, "descriptors_limit": 1_048_576,
            "max_lag_us": 8_000, "waited_for_slot": 900, "waited_for_slot_max_us": 400_000,
            "findings": ["the bound on devices in flight held the load back while the service stalled"],
        },
    })
}

/// What it was to show, and what the service says.
fn judged() -> Value {
    let connected = DEVICES - SHED;
    let [(_, refused, _), (_, disabled, _), ..] = ENDINGS;
    let reconciliation = [("assigned", assigned()), ("refused", refused), ("disabled", disabled)].map(check);
    json!({
        "expectations": { "assigned": assigned(), "refused": DEVICES - assigned(), "open": 0 },
        "ledger": {
            "embedded": true, "connections": connected, "tls_handshakes": connected, "connects": connected,
            "registers": connected, "polls": assigned(), "assigned": assigned(), "refused": refused,
            "disabled": disabled, "throttled": RETRIES[0].1 + ENDINGS[3].1,
        },
        "reconciliation": reconciliation,
        "gates": gates(),
        "verdict": { "kind": "good", "reasons": [] },
    })
}

fn endings() -> impl Iterator<Item = (&'static str, u64)> {
    ENDINGS.iter().map(|(kind, count, _)| (*kind, *count))
}

fn assigned() -> u64 {
    DEVICES - SHED - endings().map(|(_, count)| count).sum::<u64>()
}

/// As an object, without what there was none of.
fn counts(of: impl IntoIterator<Item = (&'static str, u64)>) -> Map<String, Value> {
    of.into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| (name.to_owned(), json!(count)))
        .collect()
}

/// `total` in parts as large as the weights say; together they are the total.
fn split(total: u64, weights: &[u64]) -> Vec<u64> {
    let all = u128::from(weights.iter().sum::<u64>()).max(1);
    let come = |weight: u64| (u128::from(total) * u128::from(weight) / all) as u64;
    let part = |before: &mut u64, weight: &u64| {
        let start = come(*before);
        *before += weight;
        Some(come(*before) - start)
    };
    weights.iter().scan(0, part).collect()
}

/// The seconds, and how many times there were in each bucket over the whole run.
struct Series {
    seconds: Vec<Value>,
    buckets: Vec<(u64, u64)>,
}

impl Series {
    /// A wave of arrivals, highest in the middle of the hour; an eighth of a second's devices ends in the next.
    fn new() -> Self {
        let wave: Vec<u64> = (0..SECONDS).map(|t| SECONDS * SECONDS / 4 + t * (SECONDS - t)).collect();
        let planned = split(DEVICES, &wave);
        let shed = split(SHED, &planned);
        let started: Vec<u64> = planned.iter().zip(&shed).map(|(planned, shed)| planned - shed).collect();
        let left = |t: usize| if t + 1 == started.len() { 0 } else { started[t] / 8 };
        let before = |t: usize| t.checked_sub(1).map_or(0, left);
        let finished: Vec<u64> = (0..started.len()).map(|t| before(t) + started[t] - left(t)).collect();
        let ended = ENDINGS.map(|(_, count, _)| split(count, &finished));
        let again = RETRIES.map(|(_, count)| split(count, &planned));
        let mut series = Series { seconds: Vec::new(), buckets: Vec::new() };
        for t in 0..started.len() {
            let others: u64 = ended.iter().map(|kind| kind[t]).sum();
            let assigned = finished[t] - others;
            let buckets = spread(t as u64, assigned);
            series.buckets.extend(&buckets);
            let kinds = ENDINGS.iter().zip(&ended).map(|((kind, ..), counts)| (*kind, counts[t]));
            let outcomes = counts(kinds.chain([("assigned", assigned), ("shed", shed[t])]));
            series.seconds.push(json!({
                "t": t, "planned": planned[t], "offered": planned[t], "started": started[t],
                "finished": finished[t], "assigned": assigned, "refused": others, "outcomes": outcomes,
                "in_flight": left(t), "held": 0, "shed": shed[t],
                "retries": again.iter().map(|cause| cause[t]).sum::<u64>(), "throttled": again[0][t],
                "response_us": quantiles(&buckets), "service_us": quantiles(&shifted(&buckets, 2)),
                "response_buckets": buckets, "generator_cpu": 0.2 + 0.1 * (planned[t] as f64 / 420.0),
                "generator_starved": 0.004,
            }));
        }
        series
    }
}

/// The response times of so many devices in a second, by bucket.
fn spread(t: u64, devices: u64) -> Vec<(u64, u64)> {
    let slower = if STALL.0.contains(&t) { STALL.1 } else { t * (SECONDS - t) * 8 / (SECONDS * SECONDS) };
    let parts = split(devices, &SPREAD);
    let bucket = |(at, count)| (FASTEST + slower + at as u64, count);
    parts.into_iter().enumerate().map(bucket).filter(|(_, count)| *count > 0).collect()
}

/// A time in the bucket, in microseconds: so many sixteenths into it.
fn within(bucket: u64, sixteenths: u64) -> f64 {
    10_f64.powf((bucket as f64 + sixteenths as f64 / 16.0) / 8.0)
}

/// p50, p90, p99 and the maximum, in microseconds.
fn quantiles(buckets: &[(u64, u64)]) -> Option<[u64; 4]> {
    let all: u64 = buckets.iter().map(|(_, count)| count).sum();
    let at = |percent: u64| {
        let mut seen = 0;
        let reached = buckets.iter().find(|(_, count)| {
            seen += count;
            seen * 100 >= all * percent
        });
        reached.map(|(bucket, _)| within(*bucket, 8) as u64)
    };
    Some([at(50)?, at(90)?, at(99)?, at(100)?])
}

/// A phase's statistics, from how many times were in each bucket; in all, as many as they are.
fn stats(phase: &str, buckets: &[(u64, u64)]) -> Value {
    let mut times = Histogram::<u64>::new(3).expect("a histogram");
    for (bucket, count) in buckets {
        for (sixteenths, part) in split(*count, &[1; 16]).into_iter().enumerate() {
            times.record_n((within(*bucket, sixteenths as u64) * 1_000.0) as u64, part).expect("in range");
        }
    }
    let mut bytes = Vec::new();
    V2DeflateSerializer::new().serialize(&times, &mut bytes).expect("in memory");
    let at = |quantile| (times.value_at_quantile(quantile).min(times.max()) + 500) / 1_000;
    json!({
        "phase": phase, "count": times.len(), "p50_us": at(0.5), "p90_us": at(0.9), "p99_us": at(0.99),
        "p999_us": at(0.999), "max_us": at(1.0), "mean_us": times.mean() / 1_000.0, "unit": "ns",
        "histogram": STANDARD.encode(bytes),
    })
}

/// So many buckets faster.
fn shifted(buckets: &[(u64, u64)], by: u64) -> Vec<(u64, u64)> {
    buckets.iter().map(|(bucket, count)| (bucket - by, *count)).collect()
}

fn phases(series: &Series) -> Vec<Value> {
    [("tcp", 12), ("tls", 8), ("connect", 10), ("subscribe", 13), ("register", 8), ("wait", 6), ("poll", 9)]
        .map(|(phase, faster)| stats(phase, &shifted(&series.buckets, faster)))
        .to_vec()
}

fn clocks(series: &Series) -> Value {
    let unsuccessful = spread(0, DEVICES - SHED - assigned());
    json!({
        "response_time": stats("response time", &series.buckets),
        "service_time": stats("service time", &shifted(&series.buckets, 2)),
        "service_time_unsuccessful": stats("service time, unsuccessful", &unsuccessful),
        "lateness": stats("lateness", &shifted(&spread(0, DEVICES - SHED), 12)),
    })
}

fn reasons() -> Vec<Value> {
    let endings = ENDINGS.iter().copied().chain([("shed", SHED, 1)]);
    endings
        .flat_map(|(outcome, total, reasons)| {
            let parts = split(total, &vec![1; reasons as usize]);
            parts.into_iter().enumerate().map(move |(n, count)| reason(outcome, n, count))
        })
        .collect()
}

fn reason(outcome: &str, n: usize, count: u64) -> Value {
    let refused = outcome == "refused";
    let if_refused = |value: Value| if refused { value } else { Value::Null };
    let trail = ["the leaf is within its validity", "its issuer is not known to any enrollment group"];
    json!({
        "outcome": outcome,
        "phase": if outcome == "shed" { Value::Null } else { json!("register") },
        "code": if_refused(json!(401_002)),
        "message": format!("What the service or the transport said of kind {n} of {outcome}, in a sentence."),
        "count": count,
        "expected": true,
        "defect": if_refused(json!(format!("made-up-{n}"))),
        "sample_registration_id": format!("factory-01-line-1-{n:07}"),
        "explanation": "What this means for a device, in one sentence that is about as long as a real one.",
        "repair": "What to do about it, in another such sentence, with the certificate and the command.",
        "trail": if refused { trail.as_slice() } else { &[] },
    })
}

fn samples() -> Vec<Value> {
    let kinds = ["assigned"].into_iter().chain(endings().map(|(kind, _)| kind));
    let phases =
        [("tcp", 130), ("tls", 900), ("connect", 400), ("subscribe", 90), ("register", 700), ("poll", 300)];
    let phases: Vec<Value> = phases.iter().map(|(phase, us)| json!({ "phase": phase, "us": us })).collect();
    let sample = |(n, outcome): (usize, &str)| {
        let due = 0.25 * n as f64;
        json!({
            "outcome": outcome, "registration_id": format!("factory-01-line-1-{n:07}"), "retries": 0,
            "due_seconds": due, "started_seconds": due + 0.000_1, "finished_seconds": due + 0.002_62,
            "phases": phases, "ending": format!("{outcome}, in words"),
        })
    };
    kinds.enumerate().map(sample).collect()
}

/// Every second factory has a hub of its own, and the others' devices are spread over four.
fn roll_up() -> Vec<Value> {
    let mut rows = Vec::new();
    for (factory, devices) in split(assigned(), &[1; 40]).into_iter().enumerate() {
        let hubs = if factory % 2 == 0 { 1 } else { 4 };
        for (hub, count) in split(devices, &vec![1; hubs]).into_iter().enumerate() {
            rows.push(json!({
                "root": format!("Made-up root {}", factory / 20 + 1),
                "path": [format!("Made-up region {}", factory / 5 + 1),
                    format!("Made-up factory {}", factory + 1)],
                "group": format!("factory-{:02}", factory + 1),
                "hub": format!("hub-{}.azure-devices.net", hub + 1),
                "expected": if hubs == 1 { json!(count) } else { Value::Null }, "actual": count,
            }));
        }
    }
    rows
}

fn certificates() -> Value {
    let parts = split(DEVICES, &[1; 40]).into_iter().enumerate();
    let issuer = |(factory, count)| {
        json!({ "subject": format!("Made-up factory {}", factory + 1), "count": count,
            "not_after_utc": "2031-03-01T06:00:00Z" })
    };
    json!({
        "issuers": parts.map(issuer).collect::<Vec<_>>(),
        "key_types": [{ "key": "p256", "count": DEVICES - 200_000 }, { "key": "rsa2048", "count": 200_000 }],
        "chain_bytes": 1_400, "leaf_not_after_utc": "2027-03-01T06:00:00Z",
    })
}

fn tls() -> Vec<Value> {
    let kinds = [
        ("1.3", "TLS_AES_128_GCM_SHA256", "x25519"),
        ("1.3", "TLS_AES_256_GCM_SHA384", "secp256r1"),
        ("1.2", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "secp384r1"),
    ];
    let row = |((version, suite, group), count)| {
        json!({
            "version": version, "suite": suite, "group": group, "resumed": false, "count": count,
        })
    };
    kinds.into_iter().zip(split(DEVICES - SHED - ENDINGS[4].1, &[8, 1, 1])).map(row).collect()
}

fn events() -> Vec<Value> {
    let event = |n: u32| {
        json!({
            "at_seconds": 400.0 * f64::from(n), "what": format!("disabled group factory-{n:02}"),
        })
    };
    (1..=8).map(event).collect()
}

fn gates() -> Vec<Value> {
    let gate = |metric: &str, unit: &str, measured: f64, most: f64| {
        json!({ "gate": format!("{metric} <= {most}"), "metric": metric, "unit": unit, "measured": measured,
            "at_most": most, "passed": true })
    };
    vec![
        gate("outcome.refused.share", "share", ENDINGS[0].1 as f64 / DEVICES as f64, 0.05),
        gate("outcome.shed.count", "count", SHED as f64, 1_000.0),
        gate("unexpected.count", "count", 0.0, 0.0),
    ]
}

fn settings() -> Vec<Value> {
    let row = |n: u32| {
        let origin = if n.is_multiple_of(3) { "default".to_owned() } else { format!("million.toml:{n}") };
        json!({ "key": format!("section-{}.value-{n}", n / 10), "value": n.to_string(), "origin": origin })
    };
    (0..90).map(row).collect()
}

fn text() -> String {
    (0..90).map(|n| format!("value-{n} = {n}   # what a scenario says of this value, and why\n")).collect()
}

fn check((name, count): (&str, u64)) -> Value {
    json!({ "name": name, "client": count, "service": count, "agrees": true })
}
