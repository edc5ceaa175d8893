use super::*;
use crate::PhaseStats;
use crate::bucket_of;
use crate::record::{
    Capacity, Clocks, Ended, Expectations, GateResult, Held, OutcomeKind, Outcomes, Reason, RollUp, SCHEMA,
    ScenarioText, Second, Setting, Shard, ShardFacts, Throughput, Verdict, VerdictKind,
};
use hdrhistogram::Histogram;

const PLANNED: u64 = 12_000;

/// Times from `us` to twice that, evenly.
fn times(name: &str, count: u64, us: f64) -> PhaseStats {
    let mut all = Histogram::<u64>::new(3).expect("a histogram");
    let time = |n: u64| (us * 1_000.0 * (1.0 + n as f64 / count as f64)) as u64;
    (0..count).for_each(|n| all.record(time(n)).expect("in range"));
    PhaseStats::from_histogram(name, &all).expect("stats")
}

fn setting(key: &str, value: &str, origin: &str) -> Setting {
    Setting { key: key.to_owned(), value: value.to_owned(), origin: origin.to_owned() }
}

fn second(t: u64, us: f64) -> Second {
    // Seconds differ by some percent.
    let us = us * (1.0 + (t * 7 % 5) as f64 / 100.0);
    let percentiles = [1.5, 1.9, 1.99, 2.0].map(|times| (us * times) as u64);
    Second { t, service_us: Some(percentiles), response_us: Some(percentiles), ..Second::default() }
}

/// A run of which every time is so many times those of a quick one.
fn slowed(factor: f64) -> Record {
    sized(factor, PLANNED)
}

fn sized(factor: f64, planned: u64) -> Record {
    let assigned = planned - planned / 100;
    let us = 40_000.0 * factor;
    settled(Record {
        schema: SCHEMA.to_owned(),
        settings: vec![setting("fleet.devices", "12000", "a.toml:3"), setting("seed", "1", "default")],
        started_utc: format!("2026-07-01T10:00:00.{:03}Z", (factor * 100.0) as u64),
        model: "closed".to_owned(),
        planned,
        ended: Ended::Completed,
        wall_seconds: 12.0 * factor,
        reasons: vec![Reason { outcome: OutcomeKind::Refused, expected: true, ..Reason::default() }],
        phases: vec![times("tcp", assigned, 100.0), times("register", assigned, 30_000.0 * factor)],
        clocks: Clocks {
            service_time: times("service", assigned, us),
            response_time: times("response", assigned, us),
            ..Clocks::default()
        },
        per_second: (0..12).map(|t| second(t, us)).collect(),
        roll_up: vec![RollUp {
            group: "line-a".to_owned(),
            hub: "hub-1".to_owned(),
            expected: Some(assigned),
            actual: assigned,
            ..RollUp::default()
        }],
        gates: vec![gate(0.5, None)],
        verdict: Verdict { kind: VerdictKind::Good, reasons: vec![] },
        ..Record::default()
    })
}

/// A gate that is met up to a second.
fn gate(measured: f64, aborted_at: Option<f64>) -> GateResult {
    GateResult {
        gate: "tls.p99 <= 1s".to_owned(),
        unit: "s".to_owned(),
        measured: Some(measured),
        at_most: Some(1.0),
        passed: measured <= 1.0,
        aborted_at,
        ..GateResult::default()
    }
}

/// A record whose other numbers are made to fit its roll-up, as a run would have written it.
fn settled(mut record: Record) -> Record {
    let planned = record.planned;
    record.outcomes.assigned = record.roll_up.iter().map(|way| way.actual).sum();
    record.outcomes.refused = 0;
    record.outcomes.refused = planned - record.outcomes.total();
    let Outcomes { assigned, refused, .. } = record.outcomes;
    record.reasons[0].count = refused;
    record.throughput = Throughput::of(assigned, record.wall_seconds);
    record.expectations = Expectations { assigned: planned - planned / 100, refused: planned / 100, open: 0 };
    (record.started, record.finished) = (planned, planned);
    let retries = record.retries.total();
    if let Some(first) = record.per_second.first_mut() {
        *first = Second {
            offered: planned,
            started: planned,
            finished: planned,
            assigned,
            retries,
            ..first.clone()
        };
    }
    record
}

/// Runs by the names `a-0`, `a-1`.
fn named(side: &str, records: &[Record]) -> Vec<(String, Record)> {
    records.iter().enumerate().map(|(at, record)| (format!("{side}-{at}"), record.clone())).collect()
}

fn try_both(baseline: &[Record], candidate: &[Record]) -> Result<Comparison, CompareFault> {
    compare(&named("a", baseline), &named("b", candidate), CompareOptions::default())
}

fn both(baseline: &Record, candidate: &Record) -> Comparison {
    try_both(std::slice::from_ref(baseline), std::slice::from_ref(candidate)).expect("comparable")
}

#[track_caller]
fn row<'a>(comparison: &'a Comparison, metric: &str) -> &'a Compared {
    let found = comparison.rows.iter().find(|row| row.metric == metric);
    found.unwrap_or_else(|| panic!("no {metric} in {:?}", comparison.rows))
}

/// The run with something changed.
fn with(change: impl FnOnce(&mut Record)) -> Record {
    let mut record = slowed(1.0);
    change(&mut record);
    settled(record)
}

/// The run with so many devices assigned.
fn assigned(count: u64) -> Record {
    with(|record| record.roll_up[0].actual = count)
}

#[test]
fn a_run_beside_itself_is_the_same_everywhere() {
    for record in [slowed(1.0), with(|record| record.model = "open".to_owned()), sized(1.0, 200)] {
        let comparison = both(&record, &record);
        let judged = |judgement| comparison.rows.iter().filter(|row| row.judgement == judgement).count();
        assert!(judged(Judgement::Same) >= 8, "{:?}", comparison.rows);
        assert_eq!(judged(Judgement::Same) + judged(Judgement::Shown), comparison.rows.len());
        assert!(!comparison.regressed && !comparison.doubtful && comparison.warnings.is_empty());
        assert!(comparison.rows.iter().all(|row| row.change.is_none_or(|change| change == 0.0)));
    }
}

#[test]
fn swapping_the_sides_swaps_better_and_worse() {
    let mut turned = 0;
    for factor in [1.02, 1.09, 1.099, 1.101, 1.15, 1.21, 1.29, 1.31, 3.0] {
        let (quick, slow) = (slowed(1.0), slowed(factor));
        let (one, other) = (both(&quick, &slow), both(&slow, &quick));
        assert_eq!(one.rows.len(), other.rows.len());
        for (before, after) in one.rows.iter().zip(&other.rows) {
            let swapped = match before.judgement {
                Judgement::Better => Judgement::Worse,
                Judgement::Worse => Judgement::Better,
                Judgement::Slower => Judgement::Faster,
                Judgement::Faster => Judgement::Slower,
                same => same,
            };
            assert_eq!((&before.metric, swapped), (&after.metric, after.judgement), "{factor}");
            turned += usize::from(swapped != before.judgement);
        }
    }
    assert!(turned > 40, "{turned}");
}

#[test]
fn a_slower_service_is_worse_in_the_times_and_rates_that_it_touches_and_in_no_other() {
    let comparison = both(&slowed(1.0), &slowed(1.3));
    assert!(comparison.regressed);
    for (metric, judgement) in [
        ("response_time.p50", Judgement::Worse),
        ("response_time.p90", Judgement::Worse),
        ("response_time.p99", Judgement::Worse),
        // 30 % is what two tails of a thousandth may differ by.
        ("response_time.p999", Judgement::Same),
        ("response_time.mean", Judgement::Shown),
        ("response_time.max", Judgement::Shown),
        ("service_time.p50", Judgement::Worse),
        ("phase.register.p50", Judgement::Slower),
        ("phase.tcp.p50", Judgement::Same),
        ("rate.assigned", Judgement::Worse),
        ("outcome.assigned.share", Judgement::Same),
        ("outcome.refused.share", Judgement::Shown),
        ("unexpected.share", Judgement::Same),
        ("retries.share", Judgement::Same),
        ("roll_up.line-a.count", Judgement::Same),
    ] {
        assert_eq!(row(&comparison, metric).judgement, judgement, "{metric}: {:?}", row(&comparison, metric));
    }
    let p50 = row(&comparison, "response_time.p50");
    assert!((p50.change.expect("a change") - 0.3).abs() < 0.01 && p50.unit == "s", "{p50:?}");
    assert!((p50.baseline - 0.06).abs() < 0.001, "{p50:?}");
}

#[test]
fn what_devices_did_is_judged_by_the_error_of_counting() {
    let plain = slowed(1.0);
    let unexpected = |count| with(|r| r.reasons.push(Reason { count, expected: false, ..Reason::default() }));
    let retried = |count| with(|r| r.retries.throttled = count);
    let held = |dropped| {
        with(|r| {
            r.held = Some(Held { devices: PLANNED, kept: PLANNED - dropped, dropped, ..Held::default() })
        })
    };
    let cases = [
        ("outcome.assigned.share", plain.clone(), assigned(11_870), Judgement::Same),
        ("outcome.assigned.share", plain.clone(), assigned(11_800), Judgement::Worse),
        // They may be devices that were to be kept out.
        ("outcome.assigned.share", assigned(11_000), plain.clone(), Judgement::Same),
        ("unexpected.share", plain.clone(), unexpected(5), Judgement::Same),
        ("unexpected.share", plain.clone(), unexpected(50), Judgement::Worse),
        ("unexpected.share", unexpected(50), plain.clone(), Judgement::Better),
        ("retries.share", retried(1_000), retried(1_090), Judgement::Same),
        ("retries.share", retried(1_000), retried(1_500), Judgement::Worse),
        ("retries.share", retried(500_000), retried(530_000), Judgement::Same),
        ("retries.share", plain, retried(100), Judgement::Worse),
        ("held.dropped.share", held(0), held(100), Judgement::Worse),
        ("held.dropped.share", held(0), held(3), Judgement::Same),
    ];
    for (at, (metric, baseline, candidate, judgement)) in cases.iter().enumerate() {
        let comparison = both(baseline, candidate);
        assert_eq!(
            row(&comparison, metric).judgement,
            *judgement,
            "case {at}: {:?}",
            row(&comparison, metric)
        );
    }
}

#[test]
fn an_open_load_can_only_fall_behind() {
    let open = |factor| Record { model: "open".to_owned(), ..slowed(factor) };
    assert_eq!(row(&both(&open(1.0), &open(1.3)), "rate.assigned").judgement, Judgement::Worse);
    assert_eq!(row(&both(&open(1.3), &open(1.0)), "rate.assigned").judgement, Judgement::Same);
    assert_eq!(row(&both(&slowed(1.3), &slowed(1.0)), "rate.assigned").judgement, Judgement::Better);
}

#[test]
fn percentiles_of_few_arrivals_are_shown_and_not_judged() {
    for (planned, judged) in [(20, 0), (40, 1), (200, 2), (2_000, 3), (12_000, 4)] {
        let comparison = both(&sized(1.0, planned), &sized(1.0, planned));
        let percentiles = ["p50", "p90", "p99", "p999"].map(|p| format!("response_time.{p}"));
        let same = percentiles.iter().filter(|p| row(&comparison, p).judgement == Judgement::Same);
        assert_eq!(same.count(), judged, "{planned}");
        let few = percentiles.iter().filter(|p| row(&comparison, p).too_few);
        assert_eq!(few.count(), 4 - judged, "{planned}");
    }
}

#[test]
fn a_tail_that_is_slow_throughout_a_run_is_no_bad_moment() {
    /// One in forty takes 1 s and all others 20 ms; of the slow ones so many came in each second.
    fn slow_in(seconds: impl Fn(usize) -> u64) -> Record {
        let clocks = shaped(&[(11_583, 20.0), (297, 1_000.0)]).clocks;
        with(|record| {
            (record.clocks, record.model) = (clocks, "open".to_owned());
            for (at, second) in record.per_second.iter_mut().enumerate() {
                (second.service_us, second.response_us) = (None, None);
                second.response_buckets = vec![(bucket_of(20_000), 100), (bucket_of(1_000_000), seconds(at))];
            }
        })
    }
    for (candidate, judgement) in [
        (slow_in(|_| 3), Judgement::Worse),
        (slow_in(|t| if t % 2 == 0 { 6 } else { 0 }), Judgement::Worse),
        (slow_in(|t| if t == 7 { 60 } else { 0 }), Judgement::Slower),
        (slow_in(|t| if (7..10).contains(&t) { 15 } else { 1 }), Judgement::Slower),
    ] {
        let comparison = both(&shaped(&[(11_880, 20.0)]), &candidate);
        let p99 = row(&comparison, "response_time.p99");
        assert_eq!(
            (p99.judgement, comparison.regressed),
            (judgement, judgement == Judgement::Worse),
            "{p99:?}"
        );
    }
}

#[test]
fn a_time_that_is_short_in_any_case_may_double() {
    let tcp = |us| with(|record| record.phases[0] = times("tcp", 11_880, us));
    // 5 % of an attempt of 60 ms.
    for (us, judgement) in
        [(200.0, Judgement::Same), (1_900.0, Judgement::Same), (2_500.0, Judgement::Slower)]
    {
        assert_eq!(row(&both(&slowed(1.0), &tcp(us)), "phase.tcp.p50").judgement, judgement, "{us}");
    }
    let short = |us: f64| {
        with(|record| {
            record.clocks.service_time = times("service", 11_880, us);
            record.per_second.clear();
        })
    };
    for (us, judgement) in [(1_000.0, Judgement::Same), (2_000.0, Judgement::Worse)] {
        assert_eq!(row(&both(&short(100.0), &short(us)), "service_time.p50").judgement, judgement, "{us}");
    }
}

/// A run whose clocks have these percentiles, in milliseconds: of so many each as slow.
fn shaped(parts: &[(u64, f64)]) -> Record {
    let mut all = Histogram::<u64>::new(3).expect("a histogram");
    for (count, ms) in parts {
        all.record_n((ms * 1e6) as u64, *count).expect("in range");
    }
    with(|record| {
        record.clocks.service_time = PhaseStats::from_histogram("service", &all).expect("stats");
        record.clocks.response_time = PhaseStats::from_histogram("response", &all).expect("stats");
        (record.model, record.per_second) = ("open".to_owned(), vec![]);
    })
}

#[test]
fn a_regression_in_latency_needs_more_than_one_tail_of_one_run() {
    let even = |ms| shaped(&[(11_880, ms)]);
    let tail = |ms, slow| shaped(&[(11_600, ms), (280, slow)]);
    let tenth = |ms, slow| shaped(&[(10_000, ms), (1_880, slow)]);
    let cases = [
        (even(20.0), even(26.0), "p50", Judgement::Worse, true),
        (even(20.0), even(26.0), "p90", Judgement::Worse, true),
        (even(20.0), even(26.0), "p99", Judgement::Worse, true),
        (even(2.0), even(3.9), "p50", Judgement::Same, false),
        (tail(20.0, 20.0), tail(20.0, 90.0), "p99", Judgement::Slower, false),
        (tail(20.0, 90.0), tail(20.0, 20.0), "p99", Judgement::Faster, false),
        (tail(3.0, 3.0), tail(3.0, 7.0), "p99", Judgement::Same, false),
        (tenth(20.0, 20.0), tenth(20.0, 90.0), "p90", Judgement::Worse, true),
        (tenth(20.0, 20.0), tenth(20.0, 90.0), "p99", Judgement::Worse, true),
        (even(20.0), shaped(&[(11_860, 20.0), (20, 500.0)]), "p999", Judgement::Slower, false),
    ];
    for (at, (baseline, candidate, percentile, judgement, regressed)) in cases.iter().enumerate() {
        let comparison = both(baseline, candidate);
        let row = row(&comparison, &format!("response_time.{percentile}"));
        assert_eq!((row.judgement, comparison.regressed), (*judgement, *regressed), "case {at}: {row:?}");
    }
    // With repeats of both sides a tail stands on more than one bad moment.
    let runs = |slow: f64| {
        [0.0, 0.1, 0.2].map(|more| {
            let started_utc = format!("2026-07-01T10:00:0{more}Z");
            Record { started_utc, ..tail(20.0 + more, slow + more) }
        })
    };
    let comparison = try_both(&runs(20.0), &runs(90.0)).expect("comparable");
    assert_eq!(row(&comparison, "response_time.p99").judgement, Judgement::Worse);
}

#[test]
fn a_phase_that_is_slower_says_where_to_look_and_fails_nothing() {
    let slow = with(|record| record.phases[1] = times("register", 11_880, 60_000.0));
    let comparison = both(&slowed(1.0), &slow);
    for percentile in ["p50", "p99"] {
        let row = row(&comparison, &format!("phase.register.{percentile}"));
        assert_eq!(row.judgement, Judgement::Slower, "{row:?}");
    }
    assert!(!comparison.regressed);
}

#[test]
fn the_bounds_of_a_band_are_where_the_judgement_turns() {
    for (baseline, factor) in [(1.0, 1.05), (1.0, 0.95), (1.0, 1.1), (1.3, 1.0), (1.0, 0.909), (1.0, 0.905)] {
        let comparison = both(&slowed(baseline), &slowed(factor));
        for row in comparison.rows.iter().filter(|row| row.unit == "s" && row.judgement != Judgement::Shown) {
            let [least, most] = row.bounds;
            let within = (least..=most).contains(&row.candidate);
            assert_eq!(within, row.judgement == Judgement::Same, "{factor}: {row:?}");
        }
    }
    let quick = shaped(&[(11_880, 3.0)]);
    assert_eq!(told::band(row(&both(&quick, &quick), "response_time.p50")), "± 2.000 ms");
    let p50 = row(&both(&slowed(1.0), &slowed(1.0)), "response_time.p50").clone();
    assert_eq!(told::band(&p50), "-9/+10 %");
}

#[test]
fn where_runs_differ_by_more_than_a_value_itself_no_change_is_not_judged() {
    let wild = with(|record| {
        let odd = record.per_second.iter_mut().filter(|second| second.t % 6 < 3);
        odd.for_each(|second| second.response_us = second.response_us.map(|us| us.map(|us| us * 20)));
    });
    let comparison = both(&slowed(1.0), &wild);
    let p99 = row(&comparison, "response_time.p99");
    assert!(p99.too_noisy && p99.judgement == Judgement::Shown && p99.band > 1.0, "{p99:?}");
    assert_eq!((told::judged(p99), told::band(p99).as_str()), ("noisy", "over 100 %"));
    assert!(!row(&comparison, "outcome.assigned.share").too_noisy && !comparison.regressed);
}

#[test]
fn repeats_narrow_the_band_and_widen_it() {
    let band = |baseline: &[f64], candidate: &[f64]| {
        let runs = |factors: &[f64]| factors.iter().map(|factor| slowed(*factor)).collect::<Vec<_>>();
        let comparison = try_both(&runs(baseline), &runs(candidate)).expect("comparable");
        row(&comparison, "response_time.p50").clone()
    };
    let one = band(&[1.0], &[1.08]);
    assert_eq!((one.judgement, one.band), (Judgement::Same, 0.1));
    let steady = band(&[1.0, 1.001, 1.002], &[1.08, 1.081, 1.082]);
    assert_eq!((steady.judgement, steady.band), (Judgement::Worse, 0.05));
    let unsteady = band(&[1.0, 1.2, 1.4], &[1.5, 1.3, 1.6]);
    assert!(unsteady.judgement == Judgement::Same && unsteady.band > 0.2, "{unsteady:?}");
    // What one side's repeats differ by is told of the other, too; the floor stays that of one run.
    let alone = band(&[1.0, 1.2, 1.4], &[1.5]);
    assert!(alone.judgement == Judgement::Same && alone.band > 0.3, "{alone:?}");
    assert_eq!(band(&[1.0, 1.001, 1.002], &[1.08]).band, 0.1);
    // The value is the median of the runs: one bad run is not the side.
    assert!((band(&[1.0, 1.01, 9.0], &[1.02]).baseline - 0.0606).abs() < 0.001);
}

#[test]
fn the_band_of_repeats_is_three_standard_errors() {
    // ln 1 and ln 1.2 differ by 0.1823, s = 0.1289 on each side, three of its errors 0.3868.
    let runs = [slowed(1.0), slowed(1.2)];
    let comparison = try_both(&runs, &runs).expect("comparable");
    let band = row(&comparison, "response_time.p50").band;
    assert!((band - 0.4722).abs() < 0.002, "{band}");
}

#[test]
fn seconds_that_differ_widen_the_band_and_one_slow_second_does_not_move_a_median() {
    let slow_seconds = |slow: &[u64]| {
        with(|record| {
            let seconds = record.per_second.iter_mut().filter(|second| slow.contains(&second.t));
            seconds.for_each(|second| second.service_us = second.service_us.map(|us| us.map(|us| us * 3)));
        })
    };
    let bands = |slow: &[u64]| {
        let comparison = both(&slowed(1.0), &slow_seconds(slow));
        ["service_time.p50", "service_time.p99"].map(|metric| row(&comparison, metric).band)
    };
    assert_eq!(bands(&[]), [0.1, 0.2]);
    let [p50, p99] = bands(&[4]);
    assert!(p50 < 0.101 && p99 > 0.3, "{p50} {p99}");
    let [p50, _] = bands(&[0, 1, 2, 6, 7, 8]);
    assert!(p50 > 0.5, "{p50}");
}

#[test]
fn a_threshold_is_the_least_band() {
    let options = CompareOptions { threshold: Some(0.05), ..CompareOptions::default() };
    let comparison =
        compare(&named("a", &[slowed(1.0)]), &named("b", &[slowed(1.08)]), options).expect("comparable");
    for (metric, band, judgement) in [
        ("response_time.p50", 0.05, Judgement::Worse),
        ("response_time.p99", 0.10, Judgement::Same),
        ("response_time.p999", 0.15, Judgement::Same),
        ("rate.assigned", 0.05, Judgement::Worse),
    ] {
        let row = row(&comparison, metric);
        assert!((row.band - band).abs() < 1e-9 && row.judgement == judgement, "{row:?}");
    }
}

#[test]
fn a_way_that_is_no_longer_as_it_should_be_is_worse() {
    let way = |expected, actual| with(|r| (r.roll_up[0].expected, r.roll_up[0].actual) = (expected, actual));
    let gone = with(|record| record.roll_up[0].group = "line-b".to_owned());
    let good = slowed(1.0);
    for (baseline, candidate, judgement) in [
        (&good, &way(Some(11_880), 11_879), Judgement::Worse),
        (&good, &way(Some(11_880), 11_881), Judgement::Worse),
        (&way(Some(11_880), 9), &good, Judgement::Better),
        (&way(Some(11_880), 9), &way(Some(11_880), 8), Judgement::Same),
        (&way(None, 9), &way(None, 8), Judgement::Shown),
        (&good, &gone, Judgement::Worse),
    ] {
        let comparison = both(baseline, candidate);
        assert_eq!(row(&comparison, "roll_up.line-a.count").judgement, judgement);
    }
    let two = with(|record| {
        let other = RollUp { hub: "hub-2".to_owned(), actual: 1, ..record.roll_up[0].clone() };
        record.roll_up.push(other);
    });
    let names: Vec<String> = both(&two, &two).rows.into_iter().map(|row| row.metric).collect();
    assert_eq!(names.iter().filter(|name| name.starts_with("roll_up.")).count(), 2);
}

#[test]
fn a_gate_that_is_newly_failed_is_worse() {
    let gated = |measured, aborted_at| {
        with(|record| {
            record.gates = vec![gate(measured, aborted_at)];
            record.verdict.kind = VerdictKind::GateFailed;
        })
    };
    let found = |baseline: &Record, candidate: &Record| {
        let comparison = both(baseline, candidate);
        comparison.rows.iter().find(|row| row.metric.starts_with("gate ")).map(|row| row.judgement)
    };
    let good = slowed(1.0);
    assert_eq!(found(&good, &gated(2.0, None)), Some(Judgement::Worse));
    assert_eq!(found(&good, &gated(0.5, Some(2.0))), Some(Judgement::Worse));
    assert_eq!(found(&gated(2.0, None), &good), Some(Judgement::Better));
    assert_eq!(found(&gated(2.0, None), &gated(2.0, None)), None);
    assert_eq!(found(&good, &with(|record| record.gates.clear())), None);
}

#[test]
fn what_must_not_be_laid_side_by_side_is_refused() {
    let good = slowed(1.0);
    let again = || slowed(1.01);
    let set = |key: &str, value: &str| {
        let mut record = slowed(1.02);
        record.settings.push(setting(key, value, "--set"));
        record
    };
    let shard = |index, count| Record { shard: Some(Shard { index, count }), ..again() };
    let text = |text: &str| Record {
        settings: vec![],
        scenario: ScenarioText { text: text.to_owned(), ..ScenarioText::default() },
        ..again()
    };
    type Fits = fn(&CompareFault) -> bool;
    let other: Fits = |fault| matches!(fault, CompareFault::OtherScenario { keys, .. } if !keys.is_empty());
    let part: Fits = |fault| matches!(fault, CompareFault::Shard { .. });
    let cases: [(Vec<Record>, Vec<Record>, Fits); 12] = [
        (vec![], vec![again()], |fault| *fault == CompareFault::Nothing),
        (vec![good.clone()], vec![], |fault| *fault == CompareFault::Nothing),
        (
            vec![good.clone()],
            vec![Record { schema: String::new(), ..again() }],
            |fault| matches!(fault, CompareFault::Schema { name, .. } if name == "b-0"),
        ),
        (vec![good.clone()], vec![set("load.open.rate", "50")], other),
        (vec![good.clone()], vec![set("device.transport", "\"https\"")], other),
        (vec![text("a")], vec![text("b")], other),
        (vec![good.clone()], vec![shard(1, 2)], part),
        (vec![shard(1, 2)], vec![shard(2, 2)], part),
        (vec![good.clone()], vec![sized(1.0, 6_000)], |fault| {
            matches!(fault, CompareFault::Planned { found: 6_000, wanted: PLANNED, .. })
        }),
        (
            vec![good.clone(), good.clone()],
            vec![again()],
            |fault| matches!(fault, CompareFault::Twice { name } if name == "a-1"),
        ),
        (
            vec![good.clone()],
            vec![again(), set("target.mock.fault.0.delay", "\"9ms\"")],
            |fault| matches!(fault, CompareFault::NoRepeat { name, .. } if name == "b-1"),
        ),
        (vec![good.clone(), sized(1.02, 6_000)], vec![again()], |fault| {
            matches!(fault, CompareFault::Planned { .. })
        }),
    ];
    for (at, (baseline, candidate, fits)) in cases.iter().enumerate() {
        let fault = try_both(baseline, candidate).expect_err("refused");
        assert!(fits(&fault), "case {at}: {fault:?}");
    }
}

#[test]
fn what_may_be_the_cause_of_a_change_is_said() {
    let set = |key: &str, origin: &str| with(|record| record.settings.push(setting(key, "1", origin)));
    let host = |change: fn(&mut Record)| with(change);
    let parts = with(|record| {
        record.shards =
            [1, 2].map(|index| ShardFacts { index, planned: PLANNED / 2, ..ShardFacts::default() }).to_vec();
    });
    for (candidate, warnings) in [
        (set("target.mock.fault.0.delay", "--set"), 1),
        (set("gate.0.at_most", "a.toml:9"), 1),
        (set("name", "a.toml:1"), 1),
        // A version that did not know it yet did the same.
        (set("device.something_new", "default"), 0),
        // The same number.
        (host(|record| record.settings[0].value = "12_000".to_owned()), 0),
        (host(|record| record.seed = 7), 1),
        (host(|record| record.host.cpus = 7), 1),
        (host(|record| record.host.cpu_model = "another".to_owned()), 1),
        (host(|record| record.program_version = "9.9".to_owned()), 1),
        // Another build, and one whose times are not to be compared.
        (host(|record| record.host.build = "debug".to_owned()), 2),
        (host(|record| record.generator.limited = true), 1),
        (parts, 1),
    ] {
        let comparison = both(&slowed(1.0), &candidate);
        assert_eq!(comparison.warnings.len(), warnings, "{:?}", comparison.warnings);
        assert!(!comparison.doubtful && !comparison.regressed);
    }
}

#[test]
fn runs_of_different_scenarios_are_compared_where_that_is_wanted_and_labelled() {
    let options = CompareOptions { other_scenario: true, ..CompareOptions::default() };
    let mut fewer = sized(0.5, 6_000);
    fewer.settings.push(setting("load.open.rate", "50", "--set"));
    let comparison =
        compare(&named("a", &[slowed(1.0)]), &named("b", &[fewer.clone()]), options).expect("comparable");
    assert_eq!(comparison.warnings.len(), 2, "{:?}", comparison.warnings);
    assert!(comparison.rows.iter().all(|row| row.judgement != Judgement::Better), "{:?}", comparison.rows);
    let comparison =
        compare(&named("a", &[fewer]), &named("b", &[slowed(1.0)]), options).expect("comparable");
    assert_eq!(row(&comparison, "service_time.p50").judgement, Judgement::Worse);
}

#[test]
fn a_run_that_does_not_stand_is_shown_and_never_better() {
    let verdict = |kind| with(|record| record.verdict.kind = kind);
    let mut edited = slowed(0.7);
    edited.clocks.response_time.p99_us /= 2;
    let mut rate = slowed(0.7);
    rate.throughput.per_second *= 2.0;
    let mut outcomes = slowed(0.7);
    outcomes.outcomes.refused = 0;
    let aborted = with(|record| {
        (record.ended, record.verdict.kind) = (Ended::Aborted, VerdictKind::GateFailed);
    });
    let lost = with(|record| {
        record.shards = vec![ShardFacts { index: 2, planned: PLANNED / 2, ..ShardFacts::default() }];
    });
    for (candidate, word) in [
        (verdict(VerdictKind::Invalid), "invalid"),
        (verdict(VerdictKind::GeneratorLimited), "generator-limited"),
        (verdict(VerdictKind::Interrupted), "interrupted"),
        (aborted, "gate failed"),
        (edited, "edited"),
        (rate, "edited"),
        (outcomes, "edited"),
        (lost, "edited"),
        (with(|record| record.phases[0].histogram = "AAAA".to_owned()), "edited"),
    ] {
        for (baseline, candidate) in [(slowed(1.4), candidate.clone()), (candidate, slowed(0.6))] {
            let comparison = both(&baseline, &candidate);
            assert!(comparison.doubtful && !comparison.warnings.is_empty(), "{word}");
            let timed = comparison.rows.iter().filter(|row| matches!(row.unit.as_str(), "s" | "/s"));
            assert!(timed.into_iter().all(|row| row.judgement == Judgement::Shown), "{word}");
            assert!(comparison.rows.iter().all(|row| row.judgement != Judgement::Better), "{word}");
            let words = [&comparison.baseline[0].verdict, &comparison.candidate[0].verdict];
            assert!(words.contains(&&word.to_owned()), "{word}: {words:?}");
        }
    }
}

#[test]
fn a_gate_that_was_not_met_leaves_the_times_to_be_judged() {
    let failed = Record {
        verdict: Verdict { kind: VerdictKind::GateFailed, ..Verdict::default() },
        ended: Ended::EndedByGate,
        ..slowed(1.3)
    };
    let comparison = both(&slowed(1.0), &failed);
    assert!(!comparison.doubtful && comparison.regressed);
}

#[test]
fn devices_that_were_lost_are_never_a_better_result() {
    let half = 5_940;
    let lost = with(|record| {
        record.outcomes.interrupted = PLANNED - half - 120;
        record.clocks.service_time = times("service", half, 20_000.0);
        record.roll_up[0].actual = half;
    });
    assert_eq!(lost.outcomes.refused, 120);
    let comparison = both(&slowed(1.0), &lost);
    assert!(comparison.regressed);
    for metric in ["outcome.assigned.share", "roll_up.line-a.count", "rate.assigned"] {
        assert_eq!(row(&comparison, metric).judgement, Judgement::Worse, "{metric}");
    }
}

#[test]
fn a_search_is_judged_by_the_rate_it_found() {
    let found = |rate: f64, by: &str, planned| {
        let capacity = Capacity {
            rate,
            interval: [rate * 0.99, rate * 1.01],
            limited_by: by.to_owned(),
            ..Capacity::default()
        };
        Record { capacity: Some(capacity), ..sized(100.0 / rate, planned) }
    };
    for (before, after, by, judgement) in [
        (100.0, 70.0, "service", Judgement::Worse),
        (70.0, 100.0, "service", Judgement::Better),
        (100.0, 95.0, "service", Judgement::Same),
        (100.0, 70.0, "generator", Judgement::Shown),
    ] {
        let comparison = both(&found(before, "service", 3_000), &found(after, by, 2_000));
        assert_eq!(row(&comparison, "capacity.rate").judgement, judgement);
        assert_eq!(row(&comparison, "response_time.p50").judgement, Judgement::Shown);
    }
}

#[test]
fn the_text_fits_a_terminal_and_says_what_is_worse_first() {
    let mut long = slowed(1.4);
    long.roll_up[0].actual = 1;
    long.retries.throttled = 123_456_789;
    let mut long = settled(long);
    let mut baseline = slowed(1.0);
    baseline.roll_up[0].group = "the-line-in-the-second-hall-that-has-a-name-as-long-as-names-get".to_owned();
    long.roll_up[0].group.clone_from(&baseline.roll_up[0].group);
    for record in [&mut baseline, &mut long] {
        record.clocks.service_time = times("service", 11_880, 70_000_000.0);
    }
    let comparison = both(&baseline, &long);
    let text = comparison_text(&comparison);
    for line in text.lines() {
        let name_alone = line.split_whitespace().count() <= 2;
        assert!(line.chars().count() <= 80 || name_alone, "{line}\n{text}");
    }
    assert!(text.starts_with("REGRESSION"), "{text}");
    let at = |word: &str| text.find(word).unwrap_or_else(|| panic!("no {word} in\n{text}"));
    assert!(at("response_time.p50") < at("unexpected.share"), "{text}");
    // A long name goes on in the next line.
    let joined: String = text.split_whitespace().collect();
    for row in &comparison.rows {
        assert!(joined.contains(&row.metric), "{}", row.metric);
    }
}

#[test]
fn the_table_has_every_row_with_its_judgement_in_a_word() {
    let comparison = both(&slowed(1.0), &slowed(1.3));
    let table = told::table(&comparison);
    assert_eq!(table.rows.len(), comparison.rows.len());
    assert!(table.rows.iter().all(|row| row.len() == table.head.len()));
    let words: Vec<&str> = table.rows.iter().map(|row| row[1].as_str()).collect();
    let worse = words.iter().take_while(|word| **word == "WORSE").count();
    assert!(worse > 0 && !words[worse..].contains(&"WORSE"), "{words:?}");
}

#[test]
fn a_comparison_reads_back_as_it_was_written() {
    let comparison = both(&slowed(1.0), &slowed(1.3));
    let text = serde_json::to_string(&comparison).expect("JSON");
    assert_eq!(serde_json::from_str::<Comparison>(&text).expect("a comparison"), comparison);
}
