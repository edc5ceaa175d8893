//! What measuring costs: the end of one attempt in a recorder and in a journal, and a recorder handed over and added.
//!
//! Beside an attempt, which takes hundreds of microseconds of processor time, this is what P11 of the goals bounds.

#![expect(clippy::expect_used, reason = "a benchmark that cannot be set up says so and ends")]

use divan::{Bencher, black_box};
use rollcall::journal::{Header, Journal};
use rollcall::recorder::{Ending, Recorder};
use sim_device::{Assignment, Attempt, Heard, Outcome, Phase, Phases, Retries, TlsFacts};
use std::time::{Duration, Instant};

fn main() {
    divan::main();
}

/// An attempt as most are: every phase once, one poll, assigned.
fn attempt(start: Instant) -> Attempt {
    let phases = [Phase::Tcp, Phase::Tls, Phase::Connect, Phase::Subscribe, Phase::Register, Phase::Poll];
    let took = |phase: &Phase| (*phase, Duration::from_micros(100 + 37 * *phase as u64));
    Attempt {
        outcome: Outcome::Assigned(Assignment {
            hub: "hub-1.azure-devices.net".into(),
            device_id: "device".into(),
        }),
        phases: Phases::from_iter(phases.iter().map(took)),
        started: start + Duration::from_millis(3),
        finished: start + Duration::from_millis(5),
        retries: Retries::default(),
        heard: Heard::default(),
        tls: Some(TlsFacts {
            version: "1.3",
            suite: "TLS_AES_128_GCM_SHA256",
            group: "x25519",
            resumed: false,
        }),
    }
}

fn ending(attempt: &Attempt, start: Instant, arrival: u64) -> Ending<'_> {
    Ending {
        arrival,
        device: arrival,
        id: "line-a-0000042",
        due: start,
        lateness: Some(Duration::from_micros(80)),
        outcome: &attempt.outcome,
        attempt: Some(attempt),
        defect: None,
        expected: true,
        factory: 0,
    }
}

#[divan::bench]
fn an_ending_in_a_recorder(bencher: Bencher<'_, '_>) {
    let start = sim_device::now();
    let attempt = attempt(start);
    let mut recorder = Recorder::new(start);
    bencher.bench_local(|| {
        recorder.offered(start);
        recorder.start(start);
        recorder.end(black_box(&ending(&attempt, start, 7)));
    });
}

#[divan::bench]
fn an_ending_in_a_journal(bencher: Bencher<'_, '_>) {
    let start = sim_device::now();
    let attempt = attempt(start);
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let journal = Journal::create(file.path(), &Header::default()).expect("a journal");
    let mut writer = journal.writer(0, start);
    let mut arrival = 0;
    bencher.bench_local(|| {
        arrival += 1;
        writer.end(black_box(&ending(&attempt, start, arrival)));
        if arrival % 400 == 0 {
            writer.flush();
        }
    });
    drop(writer);
    journal.finish();
}

#[divan::bench]
fn a_second_handed_over_and_added(bencher: Bencher<'_, '_>) {
    let start = sim_device::now();
    let attempt = attempt(start);
    let mut second = Recorder::new(start);
    for arrival in 0..1_000 {
        second.end(&ending(&attempt, start, arrival));
    }
    let mut total = Recorder::new(start);
    bencher.bench_local(|| total.add(black_box(&second)));
}
