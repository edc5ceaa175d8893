//! `[[gate]]`: what a run must have shown.

use super::{DAY, Names, SHORTEST};
use crate::gate::{Amount, Gate, InvalidMetric, Metric, Unit};
use crate::kind::{Found, Kind, Wrong, as_percentage, as_text, between, duration, kind, not_negative, whole};
use crate::language::Rule;
use crate::reader::Section;
use serde_json::{Value as Json, json};
use std::time::Duration;

/// The largest whole number up to which a bound is exact.
const MOST_COUNTED: u64 = 1 << 53;

/// The gates, in the order of the file. Groups they name are checked where the names are known.
pub(super) fn gates(sections: Vec<Section<'_>>, names: Option<&Names>) -> Option<Vec<Gate>> {
    let gates: Vec<_> = sections.into_iter().map(|section| gate(section, names)).collect();
    gates.into_iter().collect()
}

fn gate(mut section: Section<'_>, names: Option<&Names>) -> Option<Gate> {
    let metric = section.required("metric", metric());
    let at_least = section.optional("at_least", bound(metric.as_ref(), "at_least"));
    let at_most = section.optional("at_most", bound(metric.as_ref(), "at_most"));
    section.rule(|| Rule::Also(bounds_by_metric()));
    let abort_after = section.optional("abort_after", duration(SHORTEST..=DAY));
    let place = section.place_of("metric");
    section.close();
    section.at_least_one(["at_least", "at_most"], &help(metric.as_ref(), "at_most"));
    if let (Some(Metric::RollUp(group, _)), Some(names)) = (&metric, names) {
        names.check_group(&section, "metric", group);
    }
    let gate =
        Gate { metric: metric?, at_least: at_least?, at_most: at_most?, abort_after: abort_after?, place };
    check_order(&section, &gate);
    Some(gate)
}

fn check_order(section: &Section<'_>, gate: &Gate) {
    if gate.at_least.zip(gate.at_most).is_some_and(|(least, most)| least > most) {
        section.tell(section.place_of("at_least"), Wrong::new("`at_least` is above `at_most`"));
    }
}

fn metric() -> impl Kind<Value = Metric> {
    kind(metric_schema, as_metric, |metric| json!(metric.to_string()))
}

/// Every metric there is; those of groups by their pattern, since their names are the scenario's.
fn metric_schema() -> Json {
    json!({"anyOf": [{"enum": Metric::named()}, {"type": "string", "pattern": r"^roll_up\..+\.(count|share)$"}]})
}

fn as_metric(found: Found<'_>) -> Result<Metric, Wrong> {
    as_text(found)?.parse().map_err(|cause: InvalidMetric| {
        let wrong = Wrong::new(format!("is not right: {cause}"));
        match &cause {
            InvalidMetric::Word { found, known, .. } => wrong.near(found, known),
            InvalidMetric::Unfinished { .. } | InvalidMetric::Group { .. } => wrong,
        }
    })
}

/// The most a time may be bounded by.
fn time() -> impl Kind<Value = Duration> {
    duration(Duration::ZERO..=DAY)
}

/// A bound in the unit of its metric. Where the metric has a mistake of its own, any will do.
fn bound(metric: Option<&Metric>, key: &str) -> impl Kind<Value = f64> {
    kind(
        || json!({"anyOf": [time().schema(), not_negative().schema()]}),
        move |found| {
            let Some(metric) = metric else {
                return Ok(0.0);
            };
            let value = match metric.unit() {
                Unit::Seconds => time().read(found).map(|bound| bound.as_secs_f64()),
                Unit::PerSecond => not_negative().read(found),
                Unit::Count => whole(0..=MOST_COUNTED).read(found).map(|bound| bound as f64),
                Unit::Share if can_exceed_one(metric) => not_negative().read(found),
                Unit::Share => {
                    return between(0.0..=1.0)
                        .read(found)
                        .map_err(|wrong| wrong.help(help_with_share(metric, key, found)));
                }
            };
            value.map_err(|wrong| wrong.help(help(Some(metric), key)))
        },
        |bound| json!(bound),
    )
}

/// A device can try again more than once.
fn can_exceed_one(metric: &Metric) -> bool {
    matches!(metric, Metric::Retries(Amount::Share))
}

/// Bounds of times are durations, all others numbers.
fn bounds_by_metric() -> Json {
    let both = |schema: Json| json!({"properties": {"at_least": schema.clone(), "at_most": schema}});
    let mut times: Vec<_> = Metric::named()
        .into_iter()
        .filter(|name| name.parse().is_ok_and(|metric: Metric| metric.unit() == Unit::Seconds))
        .filter_map(|name| name.split('.').next().map(str::to_owned))
        .collect();
    times.dedup();
    let is_time = json!({"properties": {"metric": {"pattern": format!(r"^({})\.", times.join("|"))}}});
    json!({"if": is_time, "then": both(time().schema()), "else": both(not_negative().schema())})
}

/// What a bound of this metric looks like, written with this key.
fn help(metric: Option<&Metric>, key: &str) -> String {
    let Some(metric) = metric else {
        return "write `at_most = …`, `at_least = …` or both".to_owned();
    };
    let (what, example) = match metric.unit() {
        Unit::Share if !can_exceed_one(metric) => ("a share from 0 to 1", "0.01"),
        Unit::Seconds => ("a time", "\"500ms\""),
        Unit::PerSecond => ("a rate per second", "200"),
        Unit::Count => ("a whole number", "10"),
        Unit::Share => ("a share", "0.01"),
    };
    format!("`{metric}` is {what}: write `{key} = {example}`, for one")
}

/// Likewise for a share, from the number that was found where it can be a percentage.
fn help_with_share(metric: &Metric, key: &str, found: Found<'_>) -> String {
    match as_percentage(found) {
        Some(share) => format!("`{metric}` is a share from 0 to 1: write `{key} = {share:?}`"),
        None => format!("`{metric}` is a share from 0 to 1"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::small::{SMALL, assert_told, good, set, with};
    use super::*;
    use crate::{Clock, Place, Scenario, Statistic};

    /// The gate of the small scenario with one of these lines.
    fn gate_of(lines: &str) -> Gate {
        good(with(&format!("[[gate]]\n{lines}"))).gates.remove(0)
    }

    #[test]
    fn gates_keep_their_order_and_their_places() {
        let lines = r#"[[gate]]
metric = "response_time.p99"
at_most = "500ms"
abort_after = "5s"

[[gate]]
metric = "rate.assigned"
at_least = 99.5
"#;
        let [first, second] = &good(with(lines)).gates[..] else { panic!("two gates") };
        assert_eq!(first.metric, Metric::Time(Clock::Response, Statistic::Quantile(990)));
        assert_eq!((first.at_least, first.at_most), (None, Some(0.5)));
        assert_eq!((first.abort_after, second.abort_after), (Some(Duration::from_secs(5)), None));
        assert_eq!((second.at_least, second.at_most), (Some(99.5), None));
        let lines = [first, second].map(|gate| match gate.place {
            Place::Line { line, .. } => line,
            Place::Set(_) => 0,
        });
        assert_eq!(lines, [15, 20]);
    }

    #[test]
    fn a_bound_is_kept_in_the_unit_of_its_metric() {
        for (metric, bound, value) in [
            ("phase.tls.max", "\"2m\"", 120.0),
            ("lateness.mean", "\"0s\"", 0.0),
            ("rate.offered", "0.25", 0.25),
            ("rate.offered", "0", 0.0),
            ("outcome.assigned.count", "9007199254740992", 9_007_199_254_740_992.0),
            ("unexpected.share", "1", 1.0),
            ("unexpected.share", "0.0", 0.0),
            ("retries.share", "2.5", 2.5),
            ("roll_up.fleet.count", "10", 10.0),
        ] {
            let gate = gate_of(&format!("metric = \"{metric}\"\nat_most = {bound}"));
            assert_eq!((gate.at_least, gate.at_most), (None, Some(value)), "{metric} {bound}");
            let gate = gate_of(&format!("metric = \"{metric}\"\nat_least = {bound}\nat_most = {bound}"));
            assert_eq!((gate.at_least, gate.at_most), (Some(value), Some(value)), "{metric} {bound}");
        }
    }

    #[test]
    fn a_gate_that_is_none_is_told_where_it_stands() {
        let p99 = "metric = \"response_time.p99\"";
        let time = "`response_time.p99` is a time: write `at_most = \"500ms\"`";
        let of = |metric: &str, bound: &str| format!("metric = \"{metric}\"\n{bound}");
        for (lines, line, message, help) in [
            ("at_most = 3".to_owned(), 14, "`gate.metric` is missing", ""),
            (
                of("responce_time.p99", "at_most = \"1s\""),
                15,
                "`metric` is not right",
                "did you mean `response_time`?",
            ),
            (of("response_time.p98", "at_most = \"1s\""), 15, "`metric` is not right", "did you mean `p90`?"),
            (of("phase.tlss.p99", "at_most = \"1s\""), 15, "`metric` is not right", "did you mean `tls`?"),
            (
                of("outcome.timedout.count", "at_most = 1"),
                15,
                "`metric` is not right",
                "did you mean `timed_out`?",
            ),
            (of("rate", "at_most = 1"), 15, "`metric` is not right: `rate` is no metric yet", ""),
            (p99.to_owned(), 14, "`gate` has neither `at_least` nor `at_most`", time),
            (format!("{p99}\nat_most = 500"), 16, "`at_most` is no duration", time),
            (format!("{p99}\nat_most = 0.5"), 16, "`at_most` must be a duration, found a float", time),
            (format!("{p99}\nat_most = \"2d\""), 16, "`at_most` must be between 0ms and 1d", time),
            (
                of("rate.assigned", "at_least = \"5/s\""),
                16,
                "`at_least` must be a number",
                "`rate.assigned` is a rate per second: write `at_least = 200`",
            ),
            (
                of("rate.assigned", "at_least = -1"),
                16,
                "`at_least` must be 0 or more",
                "`rate.assigned` is a rate",
            ),
            (
                of("rate.assigned", "at_least = inf"),
                16,
                "`at_least` must be 0 or more",
                "`rate.assigned` is a rate",
            ),
            (
                of("retries.count", "at_most = 1.5"),
                16,
                "`at_most` must be a whole number",
                "`retries.count` is a whole",
            ),
            (
                of("unexpected.share", "at_most = 1.01"),
                16,
                "`at_most` must be between 0 and 1",
                "`unexpected.share` is a",
            ),
            (
                of("unexpected.share", "at_most = \"1%\""),
                16,
                "`at_most` must be a number",
                "`unexpected.share` is a",
            ),
            (
                of("unexpected.share", "at_least = 0.2\nat_most = 0.1"),
                16,
                "`at_least` is above `at_most`",
                "",
            ),
            (
                format!("{p99}\nat_most = \"1s\"\nabort_after = 5"),
                17,
                "`abort_after` is no duration",
                "write \"5s\"",
            ),
            (
                format!("{p99}\nat_most = \"1s\"\nabort_aftr = 5"),
                17,
                "unknown key `gate.abort_aftr`",
                "did you mean",
            ),
        ] {
            let lines = format!("[[gate]]\n{lines}");
            assert_told(&lines, with(&lines), line, message, help);
        }
    }

    #[test]
    fn a_percentage_is_repaired_with_the_share_it_is() {
        let assigned = "`outcome.assigned.share` is a share from 0 to 1";
        for (bound, share) in [
            ("100", Some("1.0")),
            ("95", Some("0.95")),
            ("99.9", Some("0.999")),
            ("\"1%\"", Some("0.01")),
            ("\"0.5 %\"", Some("0.005")),
            ("101", None),
            ("-1", None),
            ("nan", None),
            ("\"many\"", None),
        ] {
            let told = with(&format!("[[gate]]\nmetric = \"outcome.assigned.share\"\nat_least = {bound}"));
            let help = told.expect_err(bound).0.remove(0).help;
            let repair = share.map(|share| format!(": write `at_least = {share}`")).unwrap_or_default();
            assert_eq!(help, Some(format!("{assigned}{repair}")), "{bound}");
        }
    }

    #[test]
    fn a_group_that_devices_roll_up_to_is_one_of_the_scenario_unless_the_service_is_another() {
        let gate = |group: &str| format!("[[gate]]\nmetric = \"roll_up.{group}.count\"\nat_least = 1\n");
        good(with(&gate("fleet")));
        let told = with(&gate("fleed"));
        assert_told("fleed", told, 15, "`metric` names no enrollment group", "did you mean `fleet`?");
        let factories = |group: &str| {
            let factory = "[[fleet.factory]]\nname = \"line-a\"\nshare = 1\n";
            with(&format!("{}{factory}", gate(group)))
        };
        good(factories("line-a"));
        assert_told(
            "fleet",
            factories("fleet"),
            15,
            "`metric` names no enrollment group",
            "there is `line-a`",
        );
        let service = "[target.service]\nhost = \"localhost\"\nid_scope = \"0ne1\"\n";
        let text = SMALL.replace("[target.mock]\n", service);
        good(Scenario::parse("x.toml", &format!("{text}\n{}", gate("any")), &[]));
    }

    #[test]
    fn a_bound_can_be_set_on_the_command_line() {
        let text = format!("{SMALL}\n[[gate]]\nmetric = \"response_time.p99\"\nat_most = \"500ms\"\n");
        let given = ["gate.0.at_most=2s", "gate.0.abort_after=1s"];
        let given = given.map(|text| crate::Override::parse(text).expect("an override"));
        let gate = good(Scenario::parse("x.toml", &text, &given)).gates.remove(0);
        assert_eq!((gate.at_most, gate.abort_after), (Some(2.0), Some(Duration::from_secs(1))));
        assert!(set(&["gate=3"]).is_err());
    }
}
