//! The report as one page that needs nothing else: no script, no request, light or dark, on a screen or on paper.
//!
//! The page is a list of [`Section`]s, each made of [`Block`]s, and the templates know blocks alone. Everything from
//! the record is escaped by the template engine. Marked safe are two things that this crate makes itself: a drawing's
//! `svg` element, in which [`crate::chart`] escapes every text, and the rules of its classes. Whatever the fleet, the
//! page stays below half a megabyte: lists are cut, and say how much more the record has; where that is not enough,
//! everything is, by [`tighten`].

mod block;
mod endings;
mod result;
mod series;
mod setup;
mod tighten;

use crate::compare::Comparison;
use crate::record::Record;
use crate::view::{headline, verdict};
use askama::Template;
use block::{Block, LONGEST_TEXT, Section, clipped};

/// Why a page could not be rendered.
#[derive(Debug, thiserror::Error)]
#[error("the page cannot be rendered: {0}")]
pub struct RenderError(#[from] askama::Error);

/// The report as one self-contained HTML page.
///
/// # Errors
/// When the template engine cannot write, which memory does not bring about.
pub fn page(record: &Record) -> Result<String, RenderError> {
    page_with(record, None)
}

/// The report as one self-contained HTML page, with a comparison of the run with its baseline if there is one.
///
/// # Errors
/// As for [`page`].
pub fn page_with(record: &Record, comparison: Option<&Comparison>) -> Result<String, RenderError> {
    let mut page = Page {
        headline: clipped(&headline(record), LONGEST_TEXT),
        verdict: verdict(record),
        tone: result::tone(record, comparison),
        footer: clipped(&setup::footer(record), LONGEST_TEXT),
        sections: sections(record, comparison),
    };
    let mut text = page.render()?;
    for halvings in tighten::FIRST..=tighten::LAST {
        if text.len() <= MOST_BYTES {
            break;
        }
        page.sections = sections(record, comparison);
        page.sections.iter_mut().for_each(|section| tighten::tighten(section, halvings));
        text = page.render()?;
    }
    Ok(text)
}

/// The most that a page comes to, in bytes.
const MOST_BYTES: usize = 490_000;

#[derive(Template)]
#[template(path = "page.html")]
struct Page {
    headline: String,
    verdict: &'static str,
    /// The class of the verdict: `good`, `warn` or `bad`.
    tone: &'static str,
    footer: String,
    /// The verdict, and then the others.
    sections: Vec<Section>,
}

/// Every section in the order of the page. What a run did not do has its section too, which says so.
fn sections(record: &Record, comparison: Option<&Comparison>) -> Vec<Section> {
    vec![
        result::verdict(record, comparison),
        result::roll_up(record),
        series::rates(record),
        series::in_flight(record),
        series::percentiles(record),
        series::heat_map(record),
        series::curve(record),
        series::phases(record),
        endings::outcomes(record),
        endings::throttling(record),
        endings::retries(record),
        result::matrix(record),
        result::hubs(record),
        setup::tls(record),
        setup::certificates(record),
        setup::generator(record),
        setup::shards(record),
        setup::comparison(comparison),
        setup::events(record),
        setup::ledger(record),
        setup::capacity(record),
        setup::config(record),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::{Compared, Side};
    use crate::record::*;
    use crate::view::tests::{demo, gate};
    use crate::view::{self, Table};

    /// What links to the sections name, in the order of the page.
    const IDS: [&str; 22] = [
        "verdict",
        "roll-up",
        "rates",
        "in-flight",
        "percentiles",
        "heat-map",
        "curve",
        "phases",
        "outcomes",
        "throttling",
        "retries",
        "matrix",
        "hubs",
        "tls",
        "certificates",
        "generator",
        "shards",
        "comparison",
        "events",
        "ledger",
        "capacity",
        "config",
    ];

    fn rendered(record: &Record) -> String {
        page(record).expect("a page")
    }

    /// What the page says under a heading.
    fn section<'a>(page: &'a str, id: &str) -> &'a str {
        let from = page.find(&format!("<section id=\"{id}\"")).unwrap_or_else(|| panic!("{id} in\n{page}"));
        let text = &page[from..];
        &text[..text.find("</section>").expect("an end")]
    }

    fn escaped(text: &str) -> String {
        text.replace('&', "&#38;")
            .replace('<', "&#60;")
            .replace('>', "&#62;")
            .replace('"', "&#34;")
            .replace('\'', "&#39;")
    }

    /// A record that has something for every section.
    fn full() -> Record {
        let mut record = demo();
        record.gates = vec![gate("response_time.p99", "s", Some(0.6), 0.5)];
        record.events = vec![EventDone { at_seconds: 20.0, what: "disable line-a".to_owned(), failed: None }];
        record.tls = vec![TlsCount { version: "TLS 1.3".to_owned(), count: 10_006, ..TlsCount::default() }];
        record.held = Some(Held { devices: 40, kept: 40, peak: 40, ..Held::default() });
        let trial = Trial { search: 1, rate: 400.0, achieved: 399.5, passed: true, ..Trial::default() };
        record.capacity = Some(Capacity { rate: 480.0, trials: vec![trial], ..Capacity::default() });
        record.generator.findings = vec!["one core was shared".to_owned()];
        record.retries = Retries { throttled: 30, timeout: 2, ..Retries::default() };
        record.allocation_policy = Some("hashed".to_owned());
        record.quota_per_minute = Some(9_000);
        record.samples = vec![Sample {
            registration_id: "line-a-17".to_owned(),
            phases: vec![PhaseTime { phase: "tls".to_owned(), us: 12_345 }],
            ending: "hub-1".to_owned(),
            ..Sample::default()
        }];
        record.shards = (1..3)
            .map(|index| ShardFacts { index, planned: 5_003, wall_seconds: 4.0, ..ShardFacts::default() })
            .collect();
        record.settings = vec![Setting {
            key: "fleet.devices".to_owned(),
            value: "10006".to_owned(),
            origin: "default".to_owned(),
        }];
        record.scenario.text =
            "# Shows what <is> shown,\n# and how.\n#\n# Size: small\n[fleet]\ndevices = 10006\n".to_owned();
        record.setup = vec![
            SetupStep { what: "uploaded the CA".to_owned(), refused: None },
            SetupStep { what: "proved possession".to_owned(), refused: Some("another key".to_owned()) },
        ];
        for second in &mut record.per_second {
            second.response_us = Some([1_000, 1_500, 2_000, 3_000]);
            second.held = 40;
        }
        record
    }

    fn compared() -> Comparison {
        let side = |name: &str| Side { name: name.to_owned(), ..Side::default() };
        let row = |metric: &str| Compared {
            metric: metric.to_owned(),
            unit: "s".to_owned(),
            baseline: 0.25,
            candidate: 0.75,
            change: Some(2.0),
            band: 0.0625,
            judgement: crate::Judgement::Worse,
            ..Compared::default()
        };
        Comparison {
            baseline: vec![side("before/run.json")],
            candidate: vec![side("after/run.json")],
            warnings: vec!["one run each: noise is a guess".to_owned()],
            rows: vec![row("response_time.p99")],
            regressed: true,
            ..Comparison::default()
        }
    }

    #[test]
    fn every_section_is_there_once_and_in_order_whatever_the_run_did() {
        for record in [demo(), full(), Record::default()] {
            let page = rendered(&record);
            let found: Vec<&str> = page
                .match_indices("<section id=\"")
                .filter_map(|(at, start)| page[at + start.len()..].split('"').next())
                .collect();
            assert_eq!(found, IDS);
            for id in IDS {
                let said = section(&page, id);
                let after_heading = said.split_once("</h2>").or_else(|| said.split_once("</h1>"));
                let text = after_heading.map(|(_, text)| text.trim()).unwrap_or_default();
                assert!(!text.is_empty(), "{id} says nothing");
            }
        }
    }

    #[test]
    fn tables_and_sentences_say_what_every_rendering_says() {
        let record = full();
        let page = page_with(&record, Some(&compared())).expect("a page");
        let tables: [(&str, Table); 14] = [
            ("verdict", view::gates(&record)),
            ("phases", view::times(&record)),
            ("outcomes", view::outcomes(&record)),
            ("throttling", view::throttling(&record)),
            ("retries", view::retries_by_cause(&record)),
            ("hubs", view::hubs(&record)),
            ("tls", view::tls(&record)),
            ("certificates", view::certificates(&record)),
            ("shards", view::shards(&record)),
            ("comparison", view::comparison(&compared())),
            ("events", view::events(&record)),
            ("ledger", view::reconciliation(&record)),
            ("ledger", view::sums(&record)),
            ("config", view::settings(&record)),
        ];
        for (id, table) in tables {
            let said = section(&page, id);
            for cell in table.rows.iter().flatten() {
                assert!(said.contains(&format!(">{}</t", escaped(cell))), "{id}: {cell} in\n{said}");
            }
        }
        let sentences = [view::totals(&record), view::throughput(&record), view::headline(&record)];
        for said in sentences {
            assert!(section(&page, "verdict").contains(&escaped(&said)), "{said}");
        }
        for (_, value) in view::facts(&record) {
            assert!(section(&page, "config").contains(&format!("<dd>{}</dd>", escaped(&value))), "{value}");
        }
    }

    #[test]
    fn the_roll_up_is_told_at_every_place_with_those_that_were_not_assigned() {
        let page = rendered(&demo());
        let tree = section(&page, "roll-up");
        for said in [
            ">root</span> <b>Root</b>",
            ">intermediate</span> <b>Line A</b>",
            ">group</span> <b>line-a</b>",
            ">hub</span> <b>hub-1</b>",
            "<a href=\"#outcomes\">not assigned</a>",
        ] {
            assert!(tree.contains(said), "{said} in\n{tree}");
        }
        assert_eq!(tree.matches("10,000 of 10,000 expected").count(), 4);
        assert_eq!(tree.matches(">as expected<").count(), 5);
        let mut record = demo();
        record.roll_up[0].actual = 9_000;
        assert_eq!(section(&rendered(&record), "roll-up").matches(">differs<").count(), 4);
    }

    #[test]
    fn each_outcome_has_its_sample_and_each_reason_its_repair_and_trail() {
        let page = rendered(&full());
        let said = section(&page, "outcomes");
        let steps = view::steps(&full().samples[0]).into_iter();
        for part in steps.chain(["line-a-17", "repair leaf-only", "expired explained"].map(str::to_owned)) {
            assert!(said.contains(&escaped(&part)), "{part} in\n{said}");
        }
        assert_eq!(said.matches("leaf &#62; issuer").count(), 6);
    }

    #[test]
    fn the_verdict_tells_what_is_shown_what_failed_most_and_what_repairs_it() {
        let mut record = full();
        record.reasons[3].count = 7;
        let page = rendered(&record);
        let said = section(&page, "verdict");
        let [what, repair] = view::what_and_repair(&record.reasons[3]);
        for part in [
            "Shows what <is> shown, and how.</p>",
            &what,
            &repair,
            &view::capacity_in_short(&record).expect("one"),
        ] {
            let part = escaped(part).replace("&#60;/p&#62;", "</p>");
            assert!(said.contains(&part), "{part} in\n{said}");
        }
        assert!(said.contains("<a href=\"#outcomes\">3 more, and all"), "{said}");
        assert!(said.contains("<dl class=\"figures\"><div><dt>highest rate</dt>"), "{said}");
        assert!(!section(&rendered(&Record::default()), "verdict").contains("#outcomes"));
    }

    #[test]
    fn what_a_run_did_not_do_takes_a_line_and_no_link() {
        let page = rendered(&demo());
        for (id, empty) in [("shards", true), ("comparison", true), ("capacity", true), ("outcomes", false)] {
            assert_eq!(section(&page, id).contains(" class=\"empty\""), empty, "{id}");
            let (_, links) = page.split_once("<nav").expect("links");
            let links = links.split("</nav>").next().unwrap_or_default();
            assert_eq!(links.contains(&format!("href=\"#{id}\"")), !empty, "{id}");
        }
    }

    #[test]
    fn what_came_otherwise_is_alarming_only_where_no_gate_allows_it() {
        let mut record = demo();
        record.roll_up[0].actual = 9_000;
        record.outcomes = Outcomes { assigned: 9_000, refused: 1_006, ..Outcomes::default() };
        record.reasons[0].expected = false;
        let alarms = |record: &Record| {
            let page = rendered(record);
            let words = ["NOT as expected", "NOT expected", ">differs<", "DIFFERS from", "class=\"differs\""];
            words.map(|word| page.contains(word))
        };
        let own = gate("outcome.refused.count", "count", Some(1_006.0), 1_006.0);
        let implied = GateResult { implied: true, ..own.clone() };
        assert_eq!(alarms(&record), [true; 5]);
        record.gates = vec![own, implied];
        assert_eq!(alarms(&record), [true; 5]);
        record.gates.truncate(1);
        assert_eq!(alarms(&record), [false; 5]);
        record.verdict.kind = VerdictKind::GateFailed;
        assert_eq!(alarms(&record), [true; 5]);
    }

    #[test]
    fn how_the_instance_was_set_up_is_told_before_the_roll_up_where_it_is_known() {
        let page = rendered(&full());
        let said = section(&page, "roll-up");
        let at = |part: &str| said.find(part).unwrap_or_else(|| panic!("{part} in\n{said}"));
        assert!(at("<li>proved possession: refused: another key</li>") < at("class=\"tree\""));
        assert!(!section(&rendered(&demo()), "roll-up").contains("<h3>"));
    }

    #[test]
    fn names_and_messages_are_escaped() {
        let nasty = "<script>alert('\"&')</script>".to_owned();
        let mut record = full();
        let reason = &mut record.reasons[0];
        reason.trail = vec![nasty.clone()];
        reason.phase = Some(nasty.clone());
        reason.defect = Some(nasty.clone());
        reason.sample_registration_id.clone_from(&nasty);
        let (way, sample) = (&mut record.roll_up[0], &mut record.samples[0]);
        let (setting, shard) = (&mut record.settings[0], &mut record.shards[0]);
        let (host, inventory) = (&mut record.host, &mut record.certificates);
        let texts = [
            &mut reason.message,
            &mut reason.explanation,
            &mut reason.repair,
            &mut way.root,
            &mut way.path[0],
            &mut way.group,
            &mut way.hub,
            &mut sample.registration_id,
            &mut sample.ending,
            &mut sample.phases[0].phase,
            &mut setting.key,
            &mut setting.value,
            &mut setting.origin,
            &mut shard.started_utc,
            &mut host.os,
            &mut host.kernel,
            &mut host.cpu_model,
            &mut host.build,
            &mut inventory.issuers[0].subject,
            &mut record.scenario.name,
            &mut record.scenario.text,
            &mut record.scenario.file,
            &mut record.schema,
            &mut record.program_version,
            &mut record.started_utc,
            &mut record.device_set,
            &mut record.model,
        ];
        let count = texts.len();
        texts.into_iter().for_each(|text| text.clone_from(&nasty));
        record.certificates.leaf_not_after_utc = Some(nasty.clone());
        record.certificates.issuers[0].not_after_utc = Some(nasty.clone());
        record.allocation_policy = Some(nasty.clone());
        record.host.cpus = 2;
        record.scenario.overrides = vec![nasty.clone()];
        record.command = vec![nasty.clone()];
        record.notes = vec![nasty.clone()];
        record.verdict.reasons = vec![nasty.clone()];
        record.gates = vec![GateResult { metric: nasty.clone(), ..GateResult::default() }];
        record.events = vec![EventDone { what: nasty.clone(), failed: Some(nasty.clone()), at_seconds: 1.0 }];
        record.tls = vec![TlsCount { suite: nasty.clone(), ..TlsCount::default() }];
        record.setup = vec![SetupStep { what: nasty.clone(), refused: Some(nasty.clone()) }];
        record.scenario.text = format!("# {nasty}");
        record.capacity = Some(Capacity { evidence: vec![nasty.clone()], ..Capacity::default() });
        record.generator.findings = vec![nasty.clone()];
        let mut comparison = compared();
        comparison.warnings = vec![nasty.clone()];
        comparison.rows[0].metric.clone_from(&nasty);
        comparison.baseline[0] = Side { name: nasty.clone(), scenario: nasty.clone(), ..Side::default() };
        let page = page_with(&record, Some(&comparison)).expect("a page");
        assert!(!page.contains("<script") && !page.contains("('\""), "{page}");
        assert!(page.matches("&#60;script&#62;").count() >= count + 15, "{page}");
    }

    #[test]
    fn what_opens_closes_and_headings_leave_no_level_out() {
        for record in [demo(), full(), Record::default()] {
            let page = rendered(&record);
            let style = page.find("<style>").expect("a style")..page.find("</style>").expect("its end");
            let page = format!("{}{}", &page[..style.start + 7], &page[style.end..]);
            let mut open: Vec<&str> = Vec::new();
            let mut levels = Vec::new();
            for tag in page.split('<').skip(1).filter_map(|tag| tag.split('>').next()) {
                let name = tag.split([' ', '\n']).next().unwrap_or_default();
                match name.strip_prefix('/') {
                    Some(closed) => assert_eq!(open.pop(), Some(closed), "{page}"),
                    None if tag.starts_with('!') || tag.ends_with('/') || name == "meta" => {}
                    None => open.push(name),
                }
                levels.extend(["h1", "h2", "h3"].iter().position(|heading| *heading == name));
            }
            assert_eq!(open, Vec::<&str>::new());
            assert_eq!((levels[0], levels.iter().filter(|level| **level == 0).count()), (0, 1));
            assert!(levels.windows(2).all(|pair| pair[1] <= pair[0] + 1), "{levels:?}");
        }
    }

    #[test]
    fn every_link_leads_somewhere_and_every_name_of_a_region_is_its_own() {
        let page = page_with(&full(), Some(&compared())).expect("a page");
        let values = |start: &str| -> Vec<&str> {
            let found = page.match_indices(start);
            found.filter_map(|(at, start)| page[at + start.len()..].split('"').next()).collect()
        };
        let unique = |mut names: Vec<&str>| {
            let all = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), all, "{names:?}");
        };
        let ids = values(" id=\"");
        let links = values("href=\"#");
        assert!(links.len() > IDS.len() && links.iter().all(|link| ids.contains(link)), "{links:?}");
        unique(ids);
        unique(values("role=\"group\" aria-label=\""));
    }

    #[test]
    fn the_page_asks_nobody_for_anything() {
        let page = rendered(&full());
        assert!(page.contains("content=\"default-src 'none'; style-src 'unsafe-inline'; "));
        let page = page.replace("http://www.w3.org/2000/svg", "");
        for outside in ["http:", "https:", " src=", "url(", "@import", "<link", "<script", "<img"] {
            assert!(!page.contains(outside), "{outside}");
        }
    }

    /// The largest of everything that a record can reasonably hold.
    fn largest() -> Record {
        let mut record = full();
        let text = |n: usize| format!("{n} {}", "words that go on and on ".repeat(20));
        let outcomes = OutcomeKind::ALL.map(|kind| (kind, 30)).into_iter().collect();
        let second = |t: u64| Second {
            t,
            planned: Some(278),
            offered: 278 + t % 7,
            started: 270 + t % 11,
            finished: 271 + t % 5,
            assigned: 250 + t % 13,
            outcomes: std::collections::BTreeMap::clone(&outcomes),
            in_flight: 1_000 + t,
            held: t,
            retries: t % 17,
            throttled: t % 9,
            response_buckets: (24..56).map(|bucket| (bucket, 1 + (t + u64::from(bucket)) % 40)).collect(),
            service_us: Some([1_000 + t, 2_000 + t, 30_000 + t, 400_000 + t]),
            response_us: Some([2_000 + t, 3_000 + t, 60_000 + t, 700_000 + t]),
            ..Second::default()
        };
        record.planned = 1_000_000;
        record.outcomes = Outcomes { assigned: 990_000, refused: 10_000, ..Outcomes::default() };
        record.per_second = (0..3_600).map(second).collect();
        let reason = record.reasons[0].clone();
        let reasons = |n: usize| Reason {
            message: text(n),
            explanation: text(n),
            repair: text(n),
            trail: vec![text(n); 12],
            ..reason.clone()
        };
        record.reasons = (0..500).map(reasons).collect();
        record.samples = OutcomeKind::ALL
            .map(|outcome| Sample {
                outcome,
                ending: text(1),
                phases: vec![PhaseTime { phase: "poll".to_owned(), us: 1 }; 9],
                ..Sample::default()
            })
            .to_vec();
        let way = |n: usize| RollUp {
            root: format!("CN=Root {} {}", n / 100, "of a long name ".repeat(8)),
            path: vec![format!("CN=Region {}", n / 50), format!("CN=Factory {}", n / 10)],
            group: format!("group-{}", n / 5),
            hub: format!("hub-{n}.azure-devices.net"),
            expected: Some(5_000),
            actual: 4_950,
        };
        record.roll_up = (0..200).map(way).collect();
        record.shards = (1..=64).map(|index| ShardFacts { index, ..ShardFacts::default() }).collect();
        let setting = record.settings[0].clone();
        record.settings =
            (0..1_000).map(|n| Setting { key: format!("a.key.{n}"), ..setting.clone() }).collect();
        record.scenario.text = "key = \"value\" # and why\n".repeat(2_500);
        record.notes = (0..100).map(text).collect();
        record.verdict.reasons = (0..100).map(text).collect();
        record.gates = (0..200).map(|n| gate(&text(n), "s", Some(0.6), 0.5)).collect();
        record.events = vec![EventDone { what: text(1), ..EventDone::default() }; 500];
        record.certificates.issuers =
            (0..500).map(|n| Issuer { subject: text(n), ..Issuer::default() }).collect();
        record
    }

    #[test]
    fn the_page_of_a_million_devices_and_an_hour_is_below_half_a_megabyte() {
        let record = largest();
        assert!(record.scenario.text.len() >= 60_000);
        let page = page_with(&record, Some(&compared())).expect("a page");
        assert!(page.len() < 500_000, "{} bytes", page.len());
        for (id, more) in [
            ("outcomes", " more reasons in run.json, for "),
            ("roll-up", "more in run.json"),
            ("config", "and 700 more in run.json"),
            ("certificates", " more in run.json"),
        ] {
            assert!(section(&page, id).contains(more), "{id}: {more}");
        }
    }

    /// More of everything than any run has, in words that are longer on the page than in the record.
    fn extreme() -> Record {
        let mut record = largest();
        let text = "<&\"'>".repeat(4_000);
        let named = |n: usize| format!("{n} {text}");
        for long in [
            &mut record.scenario.name,
            &mut record.schema,
            &mut record.program_version,
            &mut record.started_utc,
            &mut record.device_set,
            &mut record.model,
            &mut record.host.os,
            &mut record.host.cpu_model,
            &mut record.scenario.file,
        ] {
            long.clone_from(&text);
        }
        record.scenario.text = text.repeat(10);
        record.command = vec![text.clone(); 50];
        record.allocation_policy = Some(text.clone());
        record.generator.findings = (0..300).map(named).collect();
        let sample =
            Sample { ending: text.clone(), registration_id: text.clone(), ..record.samples[0].clone() };
        record.samples = vec![sample; 300];
        let way = |n: usize| RollUp {
            root: named(n / 30),
            path: (0..40).map(|depth| named(depth * 100 + n / 2)).collect(),
            group: named(n / 3),
            hub: named(n),
            expected: Some(2),
            actual: 1,
        };
        record.roll_up = (0..90).map(way).collect();
        let setting = |n| Setting { key: named(n), value: text.clone(), origin: text.clone() };
        record.settings = (0..400).map(setting).collect();
        record.tls = vec![TlsCount { suite: text.clone(), group: text.clone(), ..TlsCount::default() }; 200];
        let phase = |n| crate::PhaseStats { phase: named(n), count: 5, ..record.phases[0].clone() };
        record.phases = (0..120).map(phase).collect();
        let check = Check { name: text.clone(), ..Check::default() };
        record.reconciliation = vec![check; 200];
        record
    }

    #[test]
    fn the_page_of_too_much_of_everything_is_below_half_a_megabyte() {
        let mut compared = compared();
        compared.warnings = vec!["<".repeat(9_000); 200];
        compared.rows = vec![Compared { metric: "&".repeat(9_000), ..compared.rows[0].clone() }; 200];
        compared.baseline = vec![Side { name: "'".repeat(9_000), ..Side::default() }; 200];
        let record = extreme();
        let page = page_with(&record, Some(&compared)).expect("a page");
        assert!(page.len() < 500_000, "{} bytes", page.len());
        assert!(page.contains("as expected") || page.contains("differs"));
        for id in IDS {
            assert!(!section(&page, id).is_empty());
        }
        assert_eq!(page.matches("<details").count(), page.matches("</details>").count());
        assert_eq!(page.matches("<ul").count(), page.matches("</ul>").count());
    }

    #[test]
    fn a_run_worse_than_its_baseline_says_so_in_its_verdict() {
        let mut compared = compared();
        let said = |compared: &Comparison| {
            let page = page_with(&full(), Some(compared)).expect("a page");
            let verdict = section(&page, "verdict");
            (verdict.contains("Worse than the baseline: response_time.p99."), verdict.contains("banner warn"))
        };
        assert_eq!(said(&compared), (true, true));
        compared.regressed = false;
        assert_eq!(said(&compared), (false, false));
    }

    #[test]
    fn a_heading_is_shown_once_and_a_note_stands_below_it() {
        let page = rendered(&full());
        for (id, title) in [("throttling", "Throttling"), ("retries", "Retries"), ("outcomes", "Outcomes")] {
            let said = section(&page, id);
            assert!(said.contains(&format!("<caption class=\"heard\">{title}</caption>")), "{id} in\n{said}");
            assert!(!said.contains(&format!("aria-hidden=\"true\">{title}</p>")), "{id} in\n{said}");
        }
        let verdict = section(&page, "verdict");
        assert!(verdict.find(">Gates</p>") < verdict.find(">1 of 1 failed.</p>"), "{verdict}");
        assert!(verdict.contains(">Gates</p>"), "{verdict}");
    }

    #[test]
    fn reasons_and_hubs_beyond_what_is_read_at_a_glance_are_folded_and_open_expectations_told_once() {
        let mut record = largest();
        record.roll_up.iter_mut().for_each(|way| way.expected = None);
        record.reasons.iter_mut().for_each(|reason| {
            reason.trail.clear();
            reason.explanation.clear();
        });
        let page = rendered(&record);
        assert!(section(&page, "outcomes").contains(" more reasons</summary>"));
        let tree = section(&page, "roll-up");
        assert!(tree.contains("<details open><summary>") && tree.contains("<details><summary>"), "{tree}");
        assert!(tree.contains(", expectation open</span>") && !tree.contains("not told"), "{tree}");
        assert!(tree.contains("expected in all; by 200 of 200 ways the expectation is open"), "{tree}");
        assert!(section(&rendered(&demo()), "roll-up").matches("<details><summary>").count() == 0);
    }

    /// The colours of a scheme, red, green and blue from 0 to 1.
    fn colours(scheme: &str) -> std::collections::BTreeMap<&str, [f64; 3]> {
        let pair = |part: &'static str| part.split_once(": #").filter(|(_, colour)| colour.len() == 6);
        let part = |colour: &str, at: usize| u8::from_str_radix(&colour[at..at + 2], 16).expect("a colour");
        let style: &'static str = include_str!("../templates/style.css");
        let (light, rest) = style.split_once("@media screen").expect("two schemes");
        let dark = rest.split_once("\n}").expect("an end").0;
        let text = if scheme == "light" { light } else { dark };
        let named = text.split(['\n', ';']).filter_map(|line| pair(line.trim()));
        named.map(|(name, c)| (name, [0, 2, 4].map(|at| f64::from(part(c, at)) / 255.0))).collect()
    }

    /// The contrast of two colours by WCAG 2.2: from 1 to 21.
    fn contrast(one: [f64; 3], other: [f64; 3]) -> f64 {
        let linear = |c: f64| if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) };
        let luminance =
            |[r, g, b]: [f64; 3]| 0.05 + 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
        let (one, other) = (luminance(one), luminance(other));
        one.max(other) / one.min(other)
    }

    #[test]
    fn words_and_lines_stand_out_from_the_paper_in_both_schemes() {
        for scheme in ["light", "dark"] {
            let colours = colours(scheme);
            assert_eq!(colours.len(), 17, "{colours:?}");
            for paper in ["--paper", "--raised"] {
                for (name, colour) in &colours {
                    let least = match *name {
                        "--paper" | "--raised" | "--line" => continue,
                        series if series.starts_with("--s") && series.len() == 4 => 3.0,
                        _ => 4.5,
                    };
                    let contrast = contrast(*colour, colours[paper]);
                    assert!(contrast >= least, "{scheme}: {name} on {paper}: {contrast:.2}");
                }
            }
        }
    }
}
