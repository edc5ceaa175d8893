//! The renderings of one record: each is read back by its structure, and all have the numbers of the record.

use crate::world::{Finished, Record, World};
use serde_json::Value;
use std::collections::BTreeMap;

/// What the shipped demo is to show besides.
const GATES: &str = r#"
[[gate]]
metric = "response_time.p99"
at_most = "60s"

[[gate]]
metric = "rate.assigned"
at_least = 0.001

[[gate]]
metric = "outcome.refused.share"
at_most = 0.5

[[gate]]
metric = "unexpected.count"
at_most = 0
"#;

/// The shipped demo with 120 good devices and its six bad ones.
fn play(world: &World) -> Record {
    let demo = include_str!("../../scenarios/demo.toml").replace("10006", "126");
    world.write("small.toml", format!("{demo}{GATES}"));
    world.rollcall("run small.toml --out out").exits(0);
    let record = Record::read(world, "out");
    assert_eq!((record.planned(), record.assigned(), record.list("/gates").len()), (126, 120, 4));
    record
}

#[track_caller]
fn rendered(world: &World, format: &str) -> String {
    world.rollcall(&format!("report out --format {format}")).exits(0).stdout
}

/// Rows of cells, as a reader sees them.
type Rows = Vec<Vec<String>>;

/// The rows of the table with this caption on the page.
#[track_caller]
fn html_rows(page: &str, caption: &str) -> Rows {
    let table = page.split_once(&format!("<caption class=\"heard\">{caption}</caption>"));
    let body = table.and_then(|(_, rest)| rest.split("</table>").next()?.split_once("<tbody>"));
    let (_, body) = body.unwrap_or_else(|| panic!("no table `{caption}` on the page"));
    body.split("<tr>").skip(1).map(|row| row.split("</t").filter_map(html_cell).collect()).collect()
}

fn html_cell(piece: &str) -> Option<String> {
    let (_, text) = piece.get(piece.rfind("<t")?..)?.split_once('>')?;
    Some(unescaped(text))
}

/// A text of the page or the comment without its escapes.
fn unescaped(text: &str) -> String {
    let entities =
        [("&#60;", "<"), ("&lt;", "<"), ("&#62;", ">"), ("&gt;", ">"), ("&#38;", "&"), ("&amp;", "&")];
    entities
        .iter()
        .fold(text.replace(['\\', '`'], ""), |text, (entity, c)| text.replace(entity, c))
        .trim()
        .to_owned()
}

/// The rows of the table with this title in the comment; of two the last, which has all rows.
#[track_caller]
fn markdown_rows(text: &str, title: &str) -> Rows {
    let (_, rest) =
        text.rsplit_once(&format!("**{title}**")).unwrap_or_else(|| panic!("no `{title}`: {text}"));
    let rows = rest.lines().skip(2).take_while(|line| line.starts_with("| ")).skip(2);
    rows.map(|row| row.trim_matches('|').split(" | ").map(unescaped).collect()).collect()
}

/// The rows of the table with this title in the summary. Columns are two spaces apart.
#[track_caller]
fn text_rows(text: &str, title: &str) -> Rows {
    let (_, rest) =
        text.split_once(&format!("\n{title} (")).unwrap_or_else(|| panic!("no `{title}`: {text}"));
    let rows = rest.lines().skip(2).take_while(|line| !line.is_empty());
    let cells = |row: &str| {
        row.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect()
    };
    rows.map(cells).collect()
}

/// Values and units by their names in the table of figures.
fn figures(csv: &str) -> BTreeMap<String, (String, String)> {
    let row = |line: &str| {
        let (name, rest) = line
            .rsplit_once(',')
            .and_then(|(rest, unit)| Some((rest.rsplit_once(',')?, unit)))
            .map(|((name, value), unit)| {
                (name.trim_matches('"').to_owned(), (value.to_owned(), unit.to_owned()))
            })?;
        Some((name, rest))
    };
    csv.lines().skip(1).filter_map(row).collect()
}

/// The number that begins a text, and what its last digit is worth.
#[track_caller]
fn shown(text: &str) -> (f64, f64) {
    let number =
        text.trim_start_matches(['<', '>', '=', ' ']).split(' ').next().unwrap_or_default().replace(',', "");
    let decimals = number.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    let value = number.parse().unwrap_or_else(|_| panic!("no number in `{text}`"));
    (value, 0.1_f64.powi(i32::try_from(decimals).expect("few decimals")))
}

/// Asserts that a shown number is the exact one, rounded to the digits that are shown.
#[track_caller]
fn is(what: &str, text: &str, exact: f64) {
    let (value, digit) = shown(text);
    assert!((value - exact).abs() <= digit * 0.500_001, "{what}: {text} for {exact}");
}

/// The row whose first cell this is.
#[track_caller]
fn row<'r>(rows: &'r Rows, name: &str) -> &'r [String] {
    let found = rows.iter().find(|row| row.first().is_some_and(|cell| cell == name));
    found.unwrap_or_else(|| panic!("no {name} in {rows:?}"))
}

#[test]
fn every_rendering_of_a_record_has_its_numbers() {
    let world = World::new();
    let record = play(&world);
    let [text, md, page] = ["text", "md", "html"].map(|format| rendered(&world, format));
    let times = "Times in milliseconds";
    let tables = |title| [text_rows(&text, title), markdown_rows(&md, title), html_rows(&page, title)];
    clocks_are_the_same(&record, &tables(times), &figures(&rendered(&world, "summary-csv")));
    gates_are_the_same(&record, &tables("Gates"), &rendered(&world, "junit"));
    ways_are_the_same(&record, &text, &markdown_rows(&md, "Roll-up"), &page, &rendered(&world, "junit"));
    counts_are_the_same(&world, &record, [&text, &md, &page]);
}

fn clocks_are_the_same(record: &Record, tables: &[Rows], figures: &BTreeMap<String, (String, String)>) {
    for (name, key) in [("service time", "service_time"), ("response time", "response_time")] {
        for (at, figure) in (2..).zip(["p50", "p90", "p99", "p999", "max"]) {
            let exact = record.number(&format!("/clocks/{key}/{figure}_us"));
            assert_eq!(figures[&format!("{key}.{figure}")], (exact.to_string(), "us".to_owned()));
            for table in tables {
                assert_eq!(row(table, name)[at], row(&tables[0], name)[at], "{key}.{figure}");
                is(&format!("{key}.{figure}"), &row(table, name)[at], exact as f64 / 1_000.0);
            }
        }
    }
}

fn gates_are_the_same(record: &Record, tables: &[Rows], junit: &str) {
    for gate in record.list("/gates") {
        let metric = gate["metric"].as_str().expect("a metric");
        let measured = gate["measured"].as_f64().expect("a number");
        let unit = if gate["unit"] == "s" {
            1_000.0
        } else if gate["unit"] == "share" {
            100.0
        } else {
            1.0
        };
        for table in tables {
            assert_eq!(row(table, metric), row(&tables[0], metric));
            is(metric, &row(table, metric)[2], measured * unit);
        }
        let said = format!("{metric}: measured {}", row(&tables[0], metric)[2]);
        assert!(junit.contains(&said), "{said} in {junit}");
    }
}

/// Ways are long, and only the comment has them in a line each.
fn ways_are_the_same(record: &Record, text: &str, comment: &Rows, page: &str, junit: &str) {
    let ways = record.list("/roll_up");
    assert_eq!(comment.len(), ways.len());
    for (cells, way) in comment.iter().zip(ways) {
        let [expected, actual] =
            ["expected", "actual"].map(|key| way[key].as_u64().expect("a number").to_string());
        assert_eq!(cells[1..3], [expected.as_str(), actual.as_str()], "{way}");
        let section = text.split_once("\nRoll-up (").and_then(|(_, rest)| rest.split("\n\n").next());
        let words: Vec<&str> = section.expect("the roll-up").split_whitespace().collect();
        assert!(words.windows(2).any(|pair| pair == [expected.as_str(), actual.as_str()]), "{words:?}");
        assert!(junit.contains(&format!("expected {expected}, actual {actual}")), "{junit}");
        let (_, tree) = page.split_once("<ul class=\"tree\">").expect("the roll-up");
        let counts = tree.split("<span class=\"counts\">").skip(1).map(|rest| rest.split('<').next());
        let told = |counts: &str| counts.split(|c: char| !c.is_ascii_digit()).any(|number| number == actual);
        assert!(counts.flatten().any(told), "{actual} on the page");
    }
}

fn counts_are_the_same(world: &World, record: &Record, renderings: [&str; 3]) {
    let figures = figures(&rendered(world, "summary-csv"));
    let value = |name: &str| figures[name].0.as_str();
    assert_eq!(value("planned"), record.planned().to_string());
    assert_eq!(value("throughput"), record.at("/throughput/per_second").to_string());
    let outcomes = record.at("/outcomes").as_object().expect("outcomes");
    let mut parts = Vec::new();
    let series = world.rollcall("report out --format csv").exits(0).stdout;
    for (kind, count) in outcomes {
        assert_eq!(value(&format!("outcomes.{kind}")), count.to_string());
        assert_eq!(summed(&series, &format!("outcome_{kind}")), count.as_u64().expect("a number"), "{kind}");
        parts.extend((count.as_u64() > Some(0)).then(|| format!("{count} {}", kind.replace('_', " "))));
    }
    let rate = record.at("/throughput/per_second").as_f64().expect("a number");
    for rendering in renderings {
        let plain = unescaped(rendering);
        let totals = plain.lines().find(|line| line.contains(&format!("= {} planned", record.planned())));
        let totals = totals.expect("totals");
        assert!(parts.iter().all(|part| totals.contains(part.as_str())), "{parts:?} in {totals}");
        let (before, _) = plain.split_once(" devices/s").expect("the throughput");
        is("throughput", before.rsplit([' ', '>', '\n']).next().unwrap_or_default(), rate);
    }
}

/// The sum of a column of a table in which no cell has a comma inside.
#[track_caller]
fn summed(csv: &str, column: &str) -> u64 {
    let mut lines = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let head = lines.next().expect("a head");
    let at =
        head.iter().position(|name| *name == column).unwrap_or_else(|| panic!("no {column} in {head:?}"));
    lines.map(|row| row[at].parse::<u64>().expect("a number")).sum()
}

#[test]
fn a_record_is_rendered_the_same_again() {
    let world = World::new();
    play(&world);
    let page = world.read("out/run.html");
    world.rollcall("report out").exits(0);
    assert_eq!(world.read("out/run.html"), page);
    let all = "text,md,junit,csv,summary-csv,svg,html,json";
    for out in ["one", "two"] {
        world.rollcall(&format!("report out --format {all} --out {out}")).exits(0);
    }
    let files = world.files("one");
    for file in ["run.csv", "run.html", "run.json", "run.junit.xml", "run.md", "run.summary.csv", "run.txt"] {
        assert!(files.iter().any(|found| found == file), "{file} in {files:?}");
    }
    assert!(files.iter().any(|found| found.ends_with(".svg")), "{files:?}");
    for file in &files {
        assert_eq!(world.read(format!("one/{file}")), world.read(format!("two/{file}")), "{file}");
    }
    assert_eq!(world.read("one/run.json"), world.read("out/run.json"));
    assert_eq!(world.read("one/run.md"), rendered(&world, "md"));
}

/// The record with something changed, in a directory of its own, and what a report of it comes to.
fn edited(world: &World, edit: impl Fn(&mut Value)) -> Finished {
    let mut record: Value = serde_json::from_str(&world.read("out/run.json")).expect("JSON");
    edit(&mut record);
    std::fs::create_dir_all(world.path("edited")).expect("a directory");
    world.write("edited/run.json", record.to_string());
    world.rollcall("report edited")
}

#[test]
fn a_record_that_was_edited_is_shown_as_invalid_with_what_contradicts() {
    let world = World::new();
    play(&world);
    assert!(!edited(&world, |_| {}).exits(0).stderr.contains("edited or damaged"));
    for (what, pointer, value) in [
        ("an outcome", "/outcomes/shed", Value::from(1)),
        ("a percentile", "/clocks/response_time/p99_us", Value::from(1)),
        ("what a gate measured", "/gates/0/measured", Value::from(0.000_001)),
        ("a count of the service", "/reconciliation/0/service", Value::from(1)),
        ("the throughput", "/throughput/per_second", Value::from(1e6)),
    ] {
        let told =
            edited(&world, |record| *record.pointer_mut(pointer).expect(pointer) = value.clone()).exits(98);
        assert!(told.stdout.starts_with("INVALID"), "{what}: {told}");
        assert!(told.stderr.contains("warning: the record was edited or damaged"), "{what}: {told}");
        assert!(world.read("edited/run.html").contains("edited or damaged"), "{what}");
    }
}

#[test]
fn a_record_that_cannot_be_read_is_refused_each_for_its_reason() {
    let world = World::new();
    play(&world);
    let whole = world.read("out/run.json");
    let half = &whole[..whole.len() / 2];
    for (content, thing) in [
        (half.to_owned(), "cut short"),
        (whole.replacen("rollcall.run/1", "rollcall.run/2", 1), "newer version"),
        (whole.replacen(':', " ", 1), "line 2 column"),
        (whole.replacen("\"planned\": 126", "\"planned\": \"many\"", 1), "not a record"),
    ] {
        world.write("broken.json", content);
        let refused = world.rollcall("report broken.json").exits(2);
        assert!(refused.stderr.contains(thing) && refused.stdout.is_empty(), "{thing}: {refused}");
    }
}

/// The first example of the documentation, as it is written there.
fn example() -> String {
    let text = include_str!("../../reports/README.md");
    let block = text.split("```python\n").nth(1).and_then(|rest| rest.split("```").next());
    block.expect("an example").to_owned()
}

#[test]
fn the_example_in_the_documentation_prints_p99_in_ten_lines_at_most() {
    let name = "the_example_in_the_documentation_prints_p99_in_ten_lines_at_most";
    let world = World::new();
    // Where there is Python, any script of it will do.
    if world.script(name, "kill_rounds.py").is_none() {
        return;
    }
    let record = play(&world);
    world.write("p99.py", example());
    assert!(example().lines().count() <= 10);
    let mut command = world.command("python3");
    command.args(["p99.py", "out/run.json"]);
    let told = world.finish(command).exits(0).stdout;
    let exact = record.number("/clocks/response_time/p99_us") as f64 / 1_000.0;
    let printed: Option<f64> =
        told.trim_end().trim_end_matches(" ms").rsplit(' ').next().and_then(|n| n.parse().ok());
    assert_eq!(printed, Some(exact), "{told}");
}
