//! What a run shows: how arrivals end, what gates look at, and how the whole is judged.

use super::{Entry, Kind};

/// An id, what it means, what usually causes it, what to do.
type Text = (&'static str, &'static str, &'static str, &'static str);

fn entry(kind: Kind, (id, meaning, cause, repair): &Text, source: &str) -> Entry {
    Entry {
        causes: if cause.is_empty() { Vec::new() } else { vec![(*cause).to_owned()] },
        repair: (*repair).to_owned(),
        source: vec![source.to_owned()],
        ..Entry::new(kind, *id, *meaning)
    }
}

/// Every way for an arrival to end.
pub(super) fn outcomes() -> Vec<Entry> {
    OUTCOMES
        .iter()
        .map(|text| entry(Kind::Outcome, text, "the record, schema rollcall.run/1: `outcomes`"))
        .collect()
}

/// Every way for a run to be judged.
pub(super) fn judgements() -> Vec<Entry> {
    let source = "the record, schema rollcall.run/1: `verdict`";
    JUDGEMENTS.iter().map(|text| entry(Kind::Judgement, text, source)).collect()
}

/// Everything that gates look at.
pub(super) fn metrics() -> Vec<Entry> {
    METRICS.iter().map(|text| entry(Kind::Metric, text, "scenarios/README.md, `[[gate]]`")).collect()
}

const OUTCOMES: [Text; 11] = [
    ("assigned", "The service assigned the device to a hub.", "", ""),
    ("connected", "The device got its connection, which is all that `device.goal` wants.", "", ""),
    (
        "refused",
        "The service said no, in TLS or in its answer.",
        "A chain that leads to no verified CA, no enrollment group for it, a certificate that is not valid.",
        "Look up the code in the reasons with `rollcall explain`, and run `rollcall check` on the chain.",
    ),
    (
        "disabled",
        "The service knows the device, and its enrollment is disabled.",
        "An individual enrollment or a group that was switched off.",
        "Enable it, or leave the device out.",
    ),
    (
        "failed",
        "The service took the registration, and reported that the assignment failed.",
        "A hub that is unlinked or cannot be reached by the service.",
        "Link a hub, and look at the allocation policy.",
    ),
    (
        "throttled",
        "The service asked to come back later, more often than the device would.",
        "More registrations a minute than the quota; `device.retry` that gives up early.",
        "Lower the rate, spread the arrivals, or have devices try again with jitter.",
    ),
    (
        "unreachable",
        "The connection could not be made, or broke.",
        "A wrong host or port, a service that is down, no source port or descriptor left on this machine.",
        "The reason tells which; `rollcall plan` tells how many ports and descriptors a run needs.",
    ),
    (
        "timed_out",
        "It took longer than an attempt may, or a phase of it.",
        "A slow or overloaded service, retries that take all of `limits.attempt_timeout`.",
        "Look at the phases: the longest tells where the time goes.",
    ),
    (
        "shed",
        "The arrival was never started: `when_full` is `shed`, and no slot was free or its device was still busy with its \
         turn before.",
        "A service slower than the load; too small a `max_in_flight`; turns that come faster than they end.",
        "Raise `load.open.max_in_flight`, or let arrivals wait with `when_full = \"wait\"`.",
    ),
    ("interrupted", "The run ended before the arrival did.", "Ctrl-C, or a gate with `abort_after`.", ""),
    (
        "protocol_error",
        "The service said something that no device understands, or the device could not be made.",
        "A proxy or another service at that address; a fault of the mock.",
        "The reason quotes what was wrong.",
    ),
];

const JUDGEMENTS: [Text; 5] = [
    ("good", "Every gate was met, and the sums add up.", "", ""),
    (
        "gate-failed",
        "The result stands, and a gate was not met.",
        "A service that is too slow, throttles, or refuses whom it was to let in.",
        "Look at the gates and the reasons in the report.",
    ),
    (
        "generator-limited",
        "The result does not stand: the generator was the limit, and not the service.",
        "Arrivals that were started late, workers that were busy all of the time or not let to run, no source port or \
         descriptor left.",
        "Lower the rate, split the run over machines with --shard, or free this one; what the verdict names tells what \
         was short. `limits.generator = \"report\"` lets it stand.",
    ),
    (
        "invalid",
        "The result does not stand: sums do not add up.",
        "Somebody else who used the same service meanwhile; a journal that lost outcomes.",
        "Do not quote the numbers. Have the service to yourself and run again.",
    ),
    ("interrupted", "The run was stopped early; what was measured so far stands in the record.", "", ""),
];

const METRICS: [Text; 11] = [
    (
        "response_time",
        "From when an arrival was due to its end, of those that got what they were after: response_time.p99 for one.",
        "",
        "",
    ),
    ("service_time", "From start to end of the same arrivals: service_time.p99 for one.", "", ""),
    ("service_time_unsuccessful", "From start to end of all others that were started.", "", ""),
    (
        "lateness",
        "From when an arrival could have been started to when it was, in an open load: lateness.p99 for one.",
        "",
        "",
    ),
    ("phase", "The time of one phase of an attempt: phase.tls.p99 for one.", "", ""),
    (
        "rate",
        "Arrivals a second until the last attempt ended: rate.offered, started, finished or assigned.",
        "",
        "",
    ),
    ("outcome", "Arrivals that ended so: outcome.assigned.share or .count, for one.", "", ""),
    (
        "unexpected",
        "Arrivals that ended otherwise than the scenario means: unexpected.count or .share.",
        "",
        "",
    ),
    (
        "roll_up",
        "Arrivals that a group assigned: roll_up.GROUP.count or .share; needs a mock's ledger.",
        "",
        "",
    ),
    (
        "retries",
        "What was tried again: retries.count, or .share of the arrivals, which can be above 1.",
        "",
        "",
    ),
    ("held", "Held devices that lost the connection: held.dropped.count or .share.", "", ""),
];

#[cfg(test)]
mod tests {
    use super::*;
    use reports::{OutcomeKind, VerdictKind};

    #[test]
    fn every_outcome_has_its_entry_by_the_name_it_has_in_records() {
        let told: Vec<&str> = OUTCOMES.iter().map(|text| text.0).collect();
        let known = OutcomeKind::ALL.map(|kind| kind.as_str().replace(' ', "_"));
        assert_eq!(told, known);
    }

    #[test]
    fn every_judgement_has_its_entry_by_the_name_it_has_in_records() {
        use VerdictKind::{GateFailed, GeneratorLimited, Good, Interrupted, Invalid};
        let known = [Good, GateFailed, GeneratorLimited, Invalid, Interrupted];
        let known = known.map(|kind| serde_json::to_value(kind).expect("JSON"));
        assert!(JUDGEMENTS.iter().map(|text| text.0).eq(known.iter().filter_map(|name| name.as_str())));
    }

    #[test]
    fn every_metric_that_can_be_written_begins_like_an_entry() {
        for metric in
            ["response_time.p99", "service_time.max", "phase.tls.p50", "held.dropped.count", "rate.assigned"]
        {
            assert!(metric.parse::<scenarios::Metric>().is_ok(), "{metric}");
            assert!(METRICS.iter().any(|text| metric.split('.').next() == Some(text.0)), "{metric}");
        }
        for (name, ..) in METRICS {
            let known =
                ["p99", "tls.p99", "offered", "assigned.share", "count", "fleet.count", "dropped.count"];
            let written =
                known.iter().any(|rest| format!("{name}.{rest}").parse::<scenarios::Metric>().is_ok());
            assert!(written, "{name}");
        }
    }
}
