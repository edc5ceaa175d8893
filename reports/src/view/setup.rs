//! What was run, where and with what: the facts beside the result, and runs beside each other.

use super::{Table, counted, decimal, grouped, milliseconds, percent, wanted};
use crate::record::{Record, SetupStep, ShardFacts};

/// Names and values, what is not known left out.
type Facts = Vec<(&'static str, String)>;

fn known<const N: usize>(facts: [(&'static str, Option<String>); N]) -> Facts {
    let said = |value: Option<String>| value.filter(|value| !value.is_empty());
    facts.into_iter().filter_map(|(name, value)| Some((name, said(value)?))).collect()
}

/// What was run, by what and where.
pub(crate) fn facts(record: &Record) -> Facts {
    let host = &record.host;
    let processors = (host.cpus > 0).then(|| match host.cpu_model.as_str() {
        "" => counted(host.cpus, "processor"),
        model => format!("{}, {model}", counted(host.cpus, "processor")),
    });
    let shard = record.shard.map(|shard| format!("{} of {}", shard.index, shard.count));
    known([
        ("Command", Some(record.command.join(" "))),
        ("Started", Some(record.started_utc.clone())),
        ("Program version", Some(record.program_version.clone())),
        ("Build", Some(host.build.clone())),
        ("Scenario", Some(record.scenario.name.clone())),
        ("Scenario file", Some(record.scenario.file.clone())),
        ("Overrides", Some(record.scenario.overrides.join(" "))),
        ("Seed", Some(record.seed.to_string())),
        ("Shard", shard),
        ("Load", Some(record.model.clone())),
        ("Device set", Some(record.device_set.clone())),
        ("Operating system", Some(host.os.clone())),
        ("Kernel", Some(host.kernel.clone())),
        ("Processors", processors),
        ("Memory", host.memory_bytes.map(mebibytes)),
        ("Record", Some(record.schema.clone())),
    ])
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", grouped(bytes / 1_048_576))
}

/// What the load generator itself needed.
pub(crate) fn generator_facts(record: &Record) -> Facts {
    let generator = &record.generator;
    let some = |count: u64| (count > 0).then(|| grouped(count));
    let descriptors = (generator.descriptors_limit > 0).then(|| {
        format!("{} of {}", grouped(generator.descriptors_needed), grouped(generator.descriptors_limit))
    });
    let lateness = &record.clocks.lateness;
    let late = (lateness.count > 0).then(|| {
        format!("p50 {} ms, p99 {} ms", milliseconds(lateness.p50_us), milliseconds(lateness.p99_us))
    });
    let waited = generator.held_back().map(|(arrivals, longest)| {
        format!("{}, up to {} ms", counted(arrivals, "arrival"), milliseconds(longest))
    });
    known([
        ("It was the limit", Some(if generator.limited { "YES" } else { "no" }.to_owned())),
        ("Load threads", some(generator.workers)),
        ("Threads busy, busiest tenth of the seconds", generator.cpu_share.map(percent)),
        ("Threads starved of processor time", generator.starved_share.map(percent)),
        (
            "Client processor time",
            generator.cpu_seconds_client.map(|seconds| format!("{} s", decimal(seconds))),
        ),
        ("Most memory", generator.peak_memory_bytes.map(mebibytes)),
        ("Arrivals started late by", late),
        ("Latest start", Some(format!("{} ms", milliseconds(generator.max_lag_us)))),
        ("Waited for a slot", waited),
        ("File descriptors needed", descriptors),
        ("Source addresses", some(generator.source_addresses)),
        ("Outcomes the journal lost", some(generator.journal_lost)),
        (
            "Step of the wall clock",
            (generator.clock_step_ms != 0).then(|| format!("{} ms", generator.clock_step_ms)),
        ),
    ])
}

/// What the service says it saw.
pub(crate) fn ledger_facts(record: &Record) -> Facts {
    let Some(ledger) = record.ledger else { return Vec::new() };
    let whose = if ledger.embedded { "the run's own embedded mock" } else { "a service beside the run" };
    let counts = [
        ("Connections accepted", ledger.connections),
        ("TLS handshakes completed", ledger.tls_handshakes),
        ("MQTT sessions opened", ledger.connects),
        ("Registrations asked for", ledger.registers),
        ("Polls", ledger.polls),
        ("Devices told that they are assigned", ledger.assigned),
        ("Connections and requests refused", ledger.refused),
        ("Devices told that they are disabled", ledger.disabled),
        ("Devices told that they failed", ledger.failed),
        ("Requests throttled", ledger.throttled),
        ("Requests answered with a server error", ledger.server_errors),
        ("Requests answered unreadably", ledger.malformed_answers),
        ("Answers lost on purpose, unreadable ones included", ledger.lost_answers),
    ];
    let counts = counts.into_iter().map(|(name, count)| (name, grouped(count)));
    std::iter::once(("Kept by", whose.to_owned())).chain(counts).collect()
}

/// Every value that the scenario came to, and where it is from.
pub(crate) fn settings(record: &Record) -> Table {
    let row =
        |setting: &crate::Setting| vec![setting.key.clone(), setting.value.clone(), setting.origin.clone()];
    Table {
        title: "Settings",
        note: format!(
            "{} the scenario came to, and where each is from",
            counted(record.settings.len() as u64, "value")
        ),
        head: vec!["key", "value", "origin"],
        words: 3,
        rows: record.settings.iter().map(row).collect(),
    }
}

/// The sums that a record is held to, those that do not add up first.
pub(crate) fn sums(record: &Record) -> Table {
    let mut sums = record.sums();
    sums.sort_by_key(|sum| sum.agrees);
    let row = |sum: crate::Sum| {
        let mark = if sum.agrees { "adds up" } else { "DOES NOT ADD UP" };
        vec![sum.name, grouped(sum.expected), grouped(sum.actual), mark.to_owned()]
    };
    Table {
        title: "Sums",
        note: "made anew from the record when this page was rendered".to_owned(),
        head: vec!["sum", "expected", "actual", ""],
        words: 1,
        rows: sums.into_iter().map(row).collect(),
    }
}

/// The certificates that were presented: by issuer, and by the kind of key.
pub(crate) fn certificates(record: &Record) -> Table {
    let inventory = &record.certificates;
    let ends = |moment: &Option<String>| moment.clone().unwrap_or_else(|| "-".to_owned());
    let row = |kind: &str, name: &str, ends: String, count| {
        vec![kind.to_owned(), name.to_owned(), ends, grouped(count)]
    };
    let issuers = inventory
        .issuers
        .iter()
        .map(|issuer| row("issuer", &issuer.subject, ends(&issuer.not_after_utc), issuer.count));
    let leaf = || ends(&inventory.leaf_not_after_utc);
    let keys = inventory.key_types.iter().map(|key| row("device key", &key.key, leaf(), key.count));
    Table {
        title: "Certificates",
        note: format!("a good device presents {}", counted(inventory.chain_bytes, "byte")),
        head: vec!["kind", "name", "ends", "devices"],
        words: 3,
        rows: issuers.chain(keys).collect(),
    }
}

/// What each part of a merged run did.
pub(crate) fn shards(record: &Record) -> Table {
    let row = |shard: &ShardFacts| {
        let success = shard.outcomes.assigned + shard.outcomes.connected;
        let mut row = vec![
            shard.index.to_string(),
            shard.started_utc.clone(),
            if shard.limited { "the generator was the LIMIT" } else { "" }.to_owned(),
            grouped(shard.planned),
            grouped(success),
            grouped(shard.outcomes.total().saturating_sub(success)),
            decimal(shard.wall_seconds),
            decimal(shard.per_second),
        ];
        row.extend(shard.service_us.iter().chain(&shard.response_us).map(|us| milliseconds(*us)));
        row.push(shard.generator_cpu.map_or_else(|| "-".to_owned(), percent));
        row
    };
    let limited = record.shards.iter().filter(|shard| shard.limited).count();
    let limited = match limited {
        0 => String::new(),
        some => format!("; the generator was the limit of {some}"),
    };
    Table {
        title: "Shards",
        note: format!(
            "{}; times in milliseconds, of arrivals that were {}{limited}",
            counted(record.shards.len() as u64, "shard"),
            wanted(record)
        ),
        head: vec![
            "shard",
            "started",
            "",
            "planned",
            wanted(record),
            "others",
            "seconds",
            "devices/s",
            "service p50",
            "service p99",
            "response p50",
            "response p99",
            "generator busy",
        ],
        words: 3,
        rows: record.shards.iter().map(row).collect(),
    }
}

/// What the scenario is meant to show, as its file says at its top: the first paragraph of comments, without what is
/// meant for editors.
pub(crate) fn purpose(record: &Record) -> Option<String> {
    let lines = record.scenario.text.lines().map(str::trim);
    let comments = lines.skip_while(|line| line.is_empty()).map_while(|line| line.strip_prefix('#'));
    let words: Vec<&str> = comments
        .filter(|comment| !comment.starts_with(":schema"))
        .map(|comment| comment.trim_start_matches('#').trim())
        .skip_while(|comment| comment.is_empty())
        .take_while(|comment| !comment.is_empty())
        .collect();
    (!words.is_empty()).then(|| words.join(" "))
}

/// How the service was set up, step by step.
pub(crate) fn set_up(record: &Record) -> Vec<String> {
    let step = |step: &SetupStep| match &step.refused {
        Some(why) => format!("{}: refused: {why}", step.what),
        None => step.what.clone(),
    };
    record.setup.iter().map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Outcomes, Setting};
    use crate::view::tests::demo;

    #[test]
    fn what_is_not_known_is_left_out_of_the_facts() {
        let names = |facts: Facts| facts.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names(facts(&Record::default())), ["Seed"]);
        assert_eq!(names(generator_facts(&Record::default())), ["It was the limit", "Latest start"]);
        assert!(ledger_facts(&Record::default()).is_empty());
        assert!(ledger_facts(&demo()).contains(&("Registrations asked for", "10,006".to_owned())));
    }

    #[test]
    fn what_a_scenario_shows_is_the_first_paragraph_of_its_comments() {
        let told = |text: &str| {
            let mut record = demo();
            record.scenario.text = text.to_owned();
            purpose(&record)
        };
        for (text, paragraph) in [
            ("", None),
            ("name = \"a\" # not this", None),
            ("#:schema x.json\n\n# nor this", None),
            (
                "#:schema x.json\n# One line,\r\n# and another.\n#\n# Size: small\n",
                Some("One line, and another."),
            ),
            ("\n#\n## Title\nname = \"a\"\n# later", Some("Title")),
        ] {
            assert_eq!(told(text).as_deref(), paragraph, "{text}");
        }
    }

    #[test]
    fn steps_that_were_refused_say_so() {
        let step = |what: &str, why: Option<&str>| SetupStep {
            what: what.to_owned(),
            refused: why.map(str::to_owned),
        };
        let setup = vec![step("uploaded the CA", None), step("verified the CA", Some("another key"))];
        let record = Record { setup, ..demo() };
        assert_eq!(set_up(&record), ["uploaded the CA", "verified the CA: refused: another key"]);
    }

    #[test]
    fn sums_that_do_not_add_up_come_first() {
        let mut record = demo();
        record.roll_up[0].actual = 1;
        let rows = sums(&record).rows;
        assert_eq!(rows[0][1..], ["10,000", "1", "DOES NOT ADD UP"]);
        assert_eq!(rows.len(), record.sums().len());
    }

    #[test]
    fn every_setting_and_shard_has_a_row() {
        let mut record = demo();
        let setting = Setting { key: "fleet.devices".into(), value: "500".into(), origin: "--set".into() };
        record.settings = vec![setting];
        assert_eq!(settings(&record).rows, [["fleet.devices", "500", "--set"]]);
        let outcomes = Outcomes { assigned: 1_000, refused: 2, ..Outcomes::default() };
        let shard = ShardFacts {
            index: 2,
            planned: 1_002,
            outcomes,
            service_us: [1_000, 2_000],
            limited: true,
            ..ShardFacts::default()
        };
        record.shards = vec![ShardFacts { index: 1, ..ShardFacts::default() }, shard];
        let table = shards(&record);
        assert_eq!(table.rows[1][3..6], ["1,002", "1,000", "2"]);
        assert_eq!(table.rows[1][8..10], ["1.000", "2.000"]);
        assert!(table.rows.iter().all(|row| row.len() == table.head.len()));
        assert_ne!(table.rows[0][2], table.rows[1][2]);
    }
}
