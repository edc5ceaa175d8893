//! Bars that lie: where an attempt spends its time, and how many devices each hub got.

use super::canvas::{Anchor, Canvas, Key, LEFT, LETTER, LINE, Style, Swatch, WIDTH, cut, short};
use super::scale::{Scale, duration, number};
use crate::PhaseStats;
use crate::drawing::Drawing;
use crate::record::Record;
use crate::view::{HubCount, Table, counted, even_share, grouped, hub_counts, milliseconds, percent};

/// The height of a row: a line of text, and the bar below it.
const ROW: f64 = 48.0;
/// How thick a bar is.
const BAR: f64 = 14.0;
/// More hubs are drawn as one.
const MOST_HUBS: usize = 24;
const P50: Style = Style::new(1, 1);
const P90: Style = Style::new(4, 4);
const P99: Style = Style::new(5, 3);
const WHOLE: Style = Style::new(2, 2);

/// The phases of an attempt in their order, each from where the medians of those before it end.
pub(crate) fn waterfall(record: &Record) -> Option<Drawing> {
    let phases: Vec<&PhaseStats> = record.phases.iter().filter(|phase| phase.count > 0).collect();
    let whole = Some(record.clocks.service_time.p50_us).filter(|_| record.clocks.service_time.count > 0);
    let starts = starts(&phases);
    let ends = phases.iter().zip(&starts).map(|(phase, start)| start + phase.p99_us.max(phase.p50_us));
    let longest = ends.chain(whole).max().filter(|_| !phases.is_empty())?;
    let scale = Scale::linear(longest as f64);
    let peak = format!("longest p99 ends at {} ms", milliseconds(longest));
    let mut canvas =
        Canvas::new("time in an attempt", &peak, &waterfall_legend(whole), ROW * phases.len() as f64);
    upright_grid(&mut canvas, &scale);
    if let Some(whole) = whole {
        upright_line(&mut canvas, &scale, WHOLE, whole as f64, phases.len());
    }
    for (at, (phase, start)) in phases.iter().zip(&starts).enumerate() {
        draw_phase(&mut canvas, &scale, at, phase, *start);
    }
    canvas.level_axis(&scale.ticks(duration), "from the start of an attempt");
    let label = format!("Phases of an attempt one after the other at their medians: {}.", in_words(&phases));
    Some(Drawing {
        id: "waterfall",
        title: "Phases of an attempt".to_owned(),
        note: "Each bar is the median of a phase and begins where the medians before it end; marks show its p90 and p99 \
               from there. Medians do not add up to the median of the whole, and not every attempt goes through every \
               phase; each time a phase was gone through counts."
            .to_owned(),
        svg: canvas.finish(&label),
        #[cfg(test)]
        label,
        table: phase_table(&phases, &starts),
    })
}

/// Where each phase begins if all take as long as their medians, in microseconds.
fn starts(phases: &[&PhaseStats]) -> Vec<u64> {
    let begin = |sum: &mut u64, phase: &&PhaseStats| {
        let start = *sum;
        *sum = sum.saturating_add(phase.p50_us);
        Some(start)
    };
    phases.iter().scan(0, begin).collect()
}

fn waterfall_legend(whole: Option<u64>) -> Vec<Key> {
    let named = |swatch, name: &str| (swatch, name.to_owned());
    let mut legend =
        vec![named(Swatch::Bar(P50), "p50"), named(Swatch::Dot(P90), "p90"), named(Swatch::Dot(P99), "p99")];
    let median = |us| format!("median of whole attempts, {} ms", milliseconds(us));
    legend.extend(whole.map(|us| (Swatch::Line(WHOLE), median(us))));
    legend
}

fn draw_phase(canvas: &mut Canvas, scale: &Scale, at: usize, phase: &PhaseStats, start: u64) {
    let place = |canvas: &Canvas, us: u64| canvas.x(scale.share(start.saturating_add(us) as f64));
    let [p50, p90, p99] = [phase.p50_us, phase.p90_us, phase.p99_us].map(milliseconds);
    let text = format!("{}: p50 {p50}, p90 {p90}, p99 {p99} ms", phase.phase);
    let y = row_text(canvas, at, &text);
    let [from, middle, tail, end] = [0, phase.p50_us, phase.p90_us, phase.p99_us].map(|us| place(canvas, us));
    canvas.path("whisker", &format!("M{} {}H{}", short(from), short(y), short(end)));
    canvas.bars(P50, BAR, &format!("M{} {}H{}", short(from), short(y), short(middle.max(from + 1.0))));
    canvas.path(&P90.dots(), &P90.marker(tail, y));
    canvas.path(&P99.dots(), &P99.marker(end, y));
}

fn in_words(phases: &[&PhaseStats]) -> String {
    let word = |phase: &&PhaseStats| format!("{} {} ms", phase.phase, milliseconds(phase.p50_us));
    phases.iter().map(word).collect::<Vec<_>>().join(", ")
}

fn phase_table(phases: &[&PhaseStats], starts: &[u64]) -> Table {
    let row = |(phase, start): (&&PhaseStats, &u64)| {
        let times = [*start, phase.p50_us, phase.p90_us, phase.p99_us].map(milliseconds);
        [vec![phase.phase.clone(), grouped(phase.count)], times.to_vec()].concat()
    };
    Table {
        title: "Phases of an attempt",
        note: "in milliseconds; a phase begins where the medians of those before it end".to_owned(),
        head: vec!["phase", "count", "begins at", "p50", "p90", "p99"],
        words: 1,
        rows: phases.iter().zip(starts).map(row).collect(),
    }
}

/// A bar: one hub, or those for which there is no room.
struct Hub {
    name: String,
    devices: u64,
    even: Option<f64>,
}

/// Assigned devices by hub, each beside its even share where the service hashes devices.
pub(crate) fn hubs(record: &Record) -> Option<Drawing> {
    let hubs = by_hub(record);
    let total: u64 = hubs.iter().map(|hub| hub.devices).sum();
    let most = hubs.first()?.devices;
    let shown = shown_hubs(&hubs);
    let longest = shown.iter().flat_map(|hub| [Some(hub.devices as f64), hub.even]).flatten();
    let scale = Scale::linear(longest.reduce(f64::max)?);
    let hashed = shown.iter().any(|hub| hub.even.is_some());
    let legend: Vec<Key> = hashed.then(|| (Swatch::Tick, "even share".to_owned())).into_iter().collect();
    let peak = format!("peak {}", grouped(most));
    let mut canvas = Canvas::new("devices assigned", &peak, &legend, ROW * shown.len() as f64);
    upright_grid(&mut canvas, &scale);
    for (at, hub) in shown.iter().enumerate() {
        draw_hub(&mut canvas, &scale, at, hub, total);
    }
    canvas.level_axis(&scale.ticks(number), "devices");
    let policy = record.allocation_policy.as_deref().unwrap_or("not known");
    let label = format!("Devices assigned to each of {}; {peak}.", counted(hubs.len() as u64, "hub"));
    Some(Drawing {
        id: "hubs",
        title: "Hub distribution".to_owned(),
        note: format!(
            "{} by the hub they were assigned to; allocation policy: {policy}.{} Peak: {}.",
            counted(total, "device"),
            even_in_words(&hubs),
            grouped(most),
        ),
        svg: canvas.finish(&label),
        #[cfg(test)]
        label,
        table: hub_table(&shown, total, hashed),
    })
}

/// What an even share is, where one is expected.
fn even_in_words(hubs: &[HubCount<'_>]) -> String {
    let Some(first) = hubs.first().filter(|hub| hub.even.is_some()) else { return String::new() };
    let share = even_share(first.even);
    match hubs.iter().all(|hub| even_share(hub.even) == share) {
        true => format!(" An even share is {share}."),
        false => " An even share is that of each group over the hubs that it uses.".to_owned(),
    }
}

/// What each hub got, those with most first.
fn by_hub(record: &Record) -> Vec<HubCount<'_>> {
    let mut hubs = hub_counts(record);
    hubs.sort_by_key(|hub| std::cmp::Reverse(hub.devices));
    hubs
}

/// As many as there is room for, the others as one.
fn shown_hubs(hubs: &[HubCount<'_>]) -> Vec<Hub> {
    let fit = if hubs.len() > MOST_HUBS { MOST_HUBS - 1 } else { hubs.len() };
    let (first, others) = hubs.split_at(fit);
    let one = |hub: &HubCount<'_>| Hub { name: hub.hub.to_owned(), devices: hub.devices, even: hub.even };
    let rest = (!others.is_empty()).then(|| Hub {
        name: format!("{} others together", grouped(others.len() as u64)),
        devices: others.iter().map(|hub| hub.devices).sum(),
        even: others.iter().map(|hub| hub.even).sum(),
    });
    first.iter().map(one).chain(rest).collect()
}

fn draw_hub(canvas: &mut Canvas, scale: &Scale, at: usize, hub: &Hub, total: u64) {
    let share = percent(hub.devices as f64 / total as f64);
    let number = format!(": {} ({share})", grouped(hub.devices));
    let room = WIDTH - LEFT - LETTER * number.len() as f64;
    let y = row_text(canvas, at, &format!("{}{number}", cut(&hub.name, room)));
    let end = canvas.x(scale.share(hub.devices as f64));
    canvas.bars(P50, BAR, &format!("M{LEFT} {}H{}", short(y), short(end.max(LEFT + 1.0))));
    if let Some(even) = hub.even {
        canvas.tick(canvas.x(scale.share(even)), y);
    }
}

fn hub_table(hubs: &[Hub], total: u64, hashed: bool) -> Table {
    let row = |hub: &Hub| {
        let share = percent(hub.devices as f64 / total as f64);
        let even = hashed.then(|| even_share(hub.even));
        [hub.name.clone(), grouped(hub.devices), share].into_iter().chain(even).collect()
    };
    let head = ["hub", "devices", "share"].into_iter().chain(hashed.then_some("even share"));
    Table {
        title: "Hub distribution",
        note: "devices assigned".to_owned(),
        head: head.collect(),
        words: 1,
        rows: hubs.iter().map(row).collect(),
    }
}

/// The text of a row, and where the middle of its bar is.
fn row_text(canvas: &mut Canvas, at: usize, text: &str) -> f64 {
    let top = canvas.top + ROW * at as f64;
    canvas.text((LEFT, top + LINE - 8.0), Anchor::Start, text);
    top + LINE + BAR / 2.0 - 2.0
}

/// Lines up and down at the marks of the axis below.
fn upright_grid(canvas: &mut Canvas, scale: &Scale) {
    let (top, bottom) = (short(canvas.top), short(canvas.bottom));
    let line = |share: f64| format!("M{} {top}V{bottom}", short(canvas.x(share)));
    let grid: String = scale.ticks(number).iter().map(|tick| line(tick.share)).collect();
    canvas.path("grid", &grid);
}

/// A line up and down at a value, beside the bars of so many rows and not through their texts.
fn upright_line(canvas: &mut Canvas, scale: &Scale, style: Style, value: f64, rows: usize) {
    let x = short(canvas.x(scale.share(value)));
    let beside = |row: usize| {
        let top = canvas.top + ROW * row as f64;
        format!("M{x} {}V{}", short(top + LINE - 3.0), short(top + ROW))
    };
    let path: String = (0..rows).map(beside).collect();
    canvas.path(&style.line(), &path);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::canvas::RIGHT;
    use crate::chart::tests::{paths, places};
    use crate::record::{Clocks, RollUp};
    use crate::view::tests::demo;

    /// The bars, from where to where, as shares of the plot.
    fn bars(svg: &str) -> Vec<(f64, f64)> {
        let share = |x: &str| x.parse::<f64>().ok().map(|x| (x - LEFT) / (RIGHT - LEFT));
        let bar = |path: &&str| {
            Some((share(path.strip_prefix('M')?.split(' ').next()?)?, share(path.split_once('H')?.1)?))
        };
        paths(svg, "stack s1 p1").iter().filter_map(bar).collect()
    }

    fn close(found: &[(f64, f64)], expected: &[(f64, f64)]) {
        let near =
            |((a, b), (c, d)): (&(f64, f64), &(f64, f64))| (a - c).abs() < 1e-3 && (b - d).abs() < 1e-3;
        assert!(
            found.len() == expected.len() && found.iter().zip(expected).all(near),
            "{found:?}, not {expected:?}"
        );
    }

    fn phase(name: &str, p50_us: u64, p99_us: u64) -> PhaseStats {
        PhaseStats {
            phase: name.to_owned(),
            count: 9,
            p50_us,
            p90_us: p99_us / 2,
            p99_us,
            ..PhaseStats::default()
        }
    }

    #[test]
    fn a_phase_begins_where_the_medians_before_it_end() {
        let clocks = Clocks { service_time: phase("service", 500, 900), ..Clocks::default() };
        let phases = vec![
            phase("tcp", 100, 200),
            PhaseStats::default(),
            phase("tls", 300, 400),
            phase("register", 200, 600),
        ];
        let drawing = waterfall(&Record { phases, clocks, ..Record::default() }).expect("a drawing");
        // 1,000 µs in all: the last phase begins at 400 and has a p99 of 600.
        close(&bars(&drawing.svg), &[(0.0, 0.1), (0.1, 0.4), (0.4, 0.6)]);
        let marks = |class| {
            let marker = |path: &&str| places(path.split(['a', 'h', 'l']).next().unwrap_or_default())[0].0;
            paths(&drawing.svg, class)
                .iter()
                .skip(1)
                .map(marker)
                .map(|x| (x - LEFT) / (RIGHT - LEFT))
                .collect::<Vec<_>>()
        };
        close(
            &marks("dots s5").into_iter().map(|x| (x, 0.0)).collect::<Vec<_>>(),
            &[(0.2, 0.0), (0.5, 0.0), (1.0, 0.0)],
        );
        close(
            &marks("dots s4").into_iter().map(|x| (x, 0.0)).collect::<Vec<_>>(),
            &[(0.1, 0.0), (0.3, 0.0), (0.7, 0.0)],
        );
        let whole = places(paths(&drawing.svg, "line s2 d2")[1].split('V').next().expect("a place"))[0].0;
        assert!((whole - (LEFT + RIGHT) / 2.0).abs() < 0.1, "{whole}");
        assert_eq!(drawing.table.rows[2], ["register", "9", "0.400", "0.200", "0.300", "0.600"]);
        assert!(waterfall(&Record::default()).is_none());
    }

    fn way(hub: &str, actual: u64) -> RollUp {
        RollUp { hub: hub.to_owned(), actual, ..RollUp::default() }
    }

    #[test]
    fn hubs_are_summed_over_every_way_and_set_beside_the_even_share() {
        let mut record = demo();
        record.roll_up = vec![way("west", 20), way("east", 50), way("", 7), way("west", 60), way("north", 0)];
        let drawing = hubs(&record).expect("a drawing");
        close(&bars(&drawing.svg), &[(0.0, 1.0), (0.0, 0.625)]);
        assert!(ticks(&drawing.svg).is_empty());
        assert_eq!(drawing.table.rows, [["west", "80", "61.5 %"], ["east", "50", "38.5 %"]]);
        record.allocation_policy = Some("hashed".to_owned());
        let drawing = hubs(&record).expect("a drawing");
        let even: Vec<_> = ticks(&drawing.svg).into_iter().map(|share| (share, 0.0)).collect();
        close(&even, &[(65.0 / 80.0, 0.0); 2]);
        assert_eq!(drawing.table.rows[0], ["west", "80", "61.5 %", "65"]);
    }

    /// The marks of even shares, as shares of the plot.
    fn ticks(svg: &str) -> Vec<f64> {
        let share =
            |path: &&str| (places(path.split('v').next().unwrap_or_default())[0].0 - LEFT) / (RIGHT - LEFT);
        // The first is the swatch of the legend.
        paths(svg, "tick").iter().skip(1).map(share).collect()
    }

    #[test]
    fn hubs_of_different_groups_have_the_even_shares_of_the_table_beside_them() {
        let way = |group: &str, hub: &str, actual| RollUp { group: group.to_owned(), ..way(hub, actual) };
        let mut record = demo();
        record.allocation_policy = Some("hashed".to_owned());
        record.roll_up =
            vec![way("a", "h1", 600), way("b", "h1", 90), way("b", "h2", 110), way("c", "(none)", 0)];
        let drawing = hubs(&record).expect("a drawing");
        let even: Vec<_> = ticks(&drawing.svg).into_iter().map(|share| (share, 0.0)).collect();
        close(&even, &[(1.0, 0.0), (1.0 / 7.0, 0.0)]);
        let told = |table: &Table| table.rows.iter().map(|row| row[3].clone()).collect::<Vec<_>>();
        assert_eq!(told(&drawing.table), ["700", "100"]);
        assert_eq!(told(&drawing.table), told(&crate::view::hubs(&record)));
    }

    #[test]
    fn the_median_of_whole_attempts_stays_clear_of_the_texts_of_rows() {
        let drawing = waterfall(&demo()).expect("a drawing");
        let at_left = format!("<text x=\"{LEFT}\" y=\"");
        // The axis has texts there too, which stand in the middle of their place.
        let of_row = |text: &&str| text.split('>').next().is_some_and(|tag| !tag.contains("text-anchor"));
        let texts: Vec<f64> = drawing.svg.split(&at_left).skip(1).filter(of_row).map(number_at).collect();
        let spans: Vec<(f64, f64)> =
            paths(&drawing.svg, "line s2 d2")[1].split('M').skip(1).map(upright).collect();
        assert!(!spans.is_empty() && spans.len() == texts.len(), "{spans:?} {texts:?}");
        let reaches = |(from, to): &(f64, f64), y: &f64| *from < y + 4.0 && *to > y - 13.0;
        assert!(!spans.iter().any(|span| texts.iter().any(|y| reaches(span, y))), "{spans:?} {texts:?}");
    }

    /// The number that a text begins with.
    fn number_at(text: &str) -> f64 {
        text.split('"').next().and_then(|y| y.parse().ok()).expect("a number")
    }

    /// From where to where an upright line goes.
    fn upright(path: &str) -> (f64, f64) {
        let (from, to) = path.split_once(' ').and_then(|(_, rest)| rest.split_once('V')).expect("a line");
        (from.parse().expect("a number"), to.parse().expect("a number"))
    }

    #[test]
    fn many_hubs_are_few_bars_and_no_device_is_lost() {
        let record =
            Record { roll_up: (1..=100).map(|n| way(&format!("hub-{n}"), n)).collect(), ..Record::default() };
        let drawing = hubs(&record).expect("a drawing");
        assert_eq!(bars(&drawing.svg).len(), MOST_HUBS);
        let sum: u64 = drawing
            .table
            .rows
            .iter()
            .map(|row| row[1].replace(',', "").parse::<u64>().expect("a number"))
            .sum();
        assert_eq!(sum, 5_050);
        assert!(hubs(&Record { roll_up: vec![way("hub", 0)], ..Record::default() }).is_none());
    }

    #[test]
    fn names_of_hubs_are_cut_and_no_markup() {
        let record = Record { roll_up: vec![way("<b>", 1), way(&"long".repeat(50), 1)], ..Record::default() };
        let drawing = hubs(&record).expect("a drawing");
        assert!(drawing.svg.contains("&lt;b&gt;") && !drawing.svg.contains("<b>"));
        assert!(!drawing.svg.contains(&"long".repeat(20)));
    }
}
