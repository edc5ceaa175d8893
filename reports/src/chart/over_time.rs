//! Lines over the time of a run: rates, devices in flight and connected, response times, throttling.

use super::canvas::{Canvas, Key, Style, Swatch, is_alone, polyline};
use super::columns::Columns;
use super::events;
use super::scale::{Scale, Tick, duration, moments, number};
use super::{MOST_POINTS, MOST_ROWS, PLOT};
use crate::drawing::Drawing;
use crate::record::{OutcomeKind, Record, Second, Throughput};
use crate::view::{Table, decimal, grouped, milliseconds, wanted};

/// Runs of no more columns than this show a marker at each point.
const MARKED: usize = 40;

/// A line: what it is called, how it is drawn, and its value in a second.
struct Line {
    name: &'static str,
    style: Style,
    value: fn(&Second) -> Option<u64>,
}

/// Several lines on one scale.
struct Lines<'l> {
    /// What the upright axis says.
    axis: &'static str,
    lines: &'l [Line],
    /// Whether values are times, in microseconds, on a logarithmic axis; if not, they are counts.
    times: bool,
    /// Whether lines that never leave 0 say something and are drawn.
    zeros: bool,
    /// A value that does not change, drawn from side to side.
    level: Option<(String, Style, f64)>,
}

/// Planned, offered, started and achieved arrivals a second.
pub(crate) fn rates(record: &Record) -> Option<Drawing> {
    let planned = Line { name: "planned", style: Style::new(7, 6), value: |second| second.planned };
    let known = record.per_second.iter().any(|second| second.planned.is_some());
    let mut lines: Vec<Line> = known.then_some(planned).into_iter().collect();
    lines.extend([
        Line { name: "offered", style: Style::new(1, 1), value: |second| Some(second.offered) },
        Line { name: "started", style: Style::new(2, 2), value: |second| Some(second.started) },
        Line { name: wanted(record), style: Style::new(3, 3), value: |second| Some(second.assigned) },
    ]);
    let chart = Lines { axis: "arrivals a second", lines: &lines, times: false, zeros: false, level: None };
    let (columns, canvas, peak) = chart.draw(record)?;
    let marked = events::in_words(record);
    let means = means(record, &lines);
    let label = format!("Line chart of arrivals a second over time; peak {peak}.{means}");
    Some(Drawing {
        id: "rates",
        title: "Offered, started and achieved rate".to_owned(),
        note: format!(
            "Arrivals a second; achieved are those {}; {}.{means} Peak: {peak}.{marked}",
            wanted(record),
            columns.points_in_words(),
        ),
        svg: canvas.finish(&label),
        #[cfg(test)]
        label,
        table: chart.table(record, "Rates", "arrivals a second")?,
    })
}

/// The mean of each line over the measured window, as throughput is; the last second of a run is rarely a whole one.
/// Nothing where the window is not known.
fn means(record: &Record, lines: &[Line]) -> String {
    if record.wall_seconds <= 0.0 {
        return String::new();
    }
    let mean = |line: &Line| {
        let sum = record.per_second.iter().filter_map(line.value).sum();
        format!("{} {}", line.name, decimal(Throughput::of(sum, record.wall_seconds).per_second))
    };
    let means: Vec<_> = lines.iter().map(mean).collect();
    format!(" Mean over {} s: {}.", decimal(record.wall_seconds), means.join(", "))
}

/// Devices in flight at the end of each second.
pub(crate) fn in_flight(record: &Record) -> Option<Drawing> {
    let lines = [Line { name: "in flight", style: Style::new(1, 1), value: |second| Some(second.in_flight) }];
    let chart = Lines { axis: "devices", lines: &lines, times: false, zeros: true, level: None };
    let (columns, canvas, peak) = chart.draw(record)?;
    let marked = events::in_words(record);
    let label = format!("Line chart of devices in flight over time; peak {peak}.");
    Some(Drawing {
        id: "in-flight",
        title: "In flight".to_owned(),
        note: format!(
            "Devices whose attempt was going on at the end of a second; {}. Peak: {peak}.{marked}",
            columns.points_in_words()
        ),
        svg: canvas.finish(&label),
        #[cfg(test)]
        label,
        table: chart.table(record, "In flight", "devices at the end of a second")?,
    })
}

/// Devices that stayed connected and those in flight, where devices are to stay.
pub(crate) fn held(record: &Record) -> Option<Drawing> {
    let any = record.held.is_some_and(|held| held.devices > 0);
    if !any && record.per_second.iter().all(|second| second.held == 0) {
        return None;
    }
    let lines = [
        Line { name: "stay connected", style: Style::new(1, 1), value: |second| Some(second.held) },
        Line { name: "in flight", style: Style::new(2, 2), value: |second| Some(second.in_flight) },
    ];
    let chart = Lines { axis: "devices", lines: &lines, times: false, zeros: true, level: None };
    let (columns, canvas, peak) = chart.draw(record)?;
    let marked = events::in_words(record);
    let label = format!("Line chart of devices that stayed connected and devices in flight; peak {peak}.");
    Some(Drawing {
        id: "held",
        title: "Devices connected".to_owned(),
        note: format!(
            "Devices that stayed connected, and those in flight, at the end of a second; {}. Peak: {peak}.{marked}",
            columns.points_in_words()
        ),
        svg: canvas.finish(&label),
        #[cfg(test)]
        label,
        table: chart.table(record, "Devices connected", "devices at the end of a second")?,
    })
}

/// Percentiles of the times of those that ended in each second.
pub(crate) fn percentiles(record: &Record) -> Option<Drawing> {
    // Both clocks are often the same, and so are a high percentile and the maximum: one is wide and pale, one is thin.
    let lines = [
        Line {
            name: "service p99",
            style: Style::new(6, 6),
            value: |second| second.service_us.map(|times| times[2]),
        },
        Line {
            name: "response p50",
            style: Style::new(1, 1),
            value: |second| second.response_us.map(|times| times[0]),
        },
        Line {
            name: "response p90",
            style: Style::new(2, 2),
            value: |second| second.response_us.map(|times| times[1]),
        },
        Line {
            name: "response p99",
            style: Style::new(5, 3),
            value: |second| second.response_us.map(|times| times[2]),
        },
        Line {
            name: "response max",
            style: Style::new(4, 8),
            value: |second| second.response_us.map(|times| times[3]),
        },
    ];
    let chart = Lines { axis: "time, logarithmic", lines: &lines, times: true, zeros: false, level: None };
    let (columns, canvas, peak) = chart.draw(record)?;
    let marked = events::in_words(record);
    let label = format!(
        "Line chart of response time p50, p90, p99 and max and of service time p99 over time; peak {peak}."
    );
    Some(Drawing {
        id: "percentiles",
        title: "Percentiles over time".to_owned(),
        note: format!(
            "Times of those {} in a second, on a logarithmic axis that does not begin at 0; {}; no line where nobody \
             was. Response time from when due, service time from the start. Peak: {peak}.{marked}",
            wanted(record),
            columns.points_in_words(),
        ),
        svg: canvas.finish(&label),
        #[cfg(test)]
        label,
        table: chart.table(record, "Percentiles over time", "milliseconds")?,
    })
}

/// Answers that asked to come back later, beside what was achieved and what the service allows.
pub(crate) fn throttling(record: &Record) -> Option<Drawing> {
    let ended = |second: &Second| second.outcomes.get(&OutcomeKind::Throttled).copied().unwrap_or_default();
    let any = record.per_second.iter().any(|second| second.throttled + ended(second) > 0);
    if !any && record.quota_per_minute.is_none() {
        return None;
    }
    let lines = [
        Line { name: "throttled answers", style: Style::new(2, 3), value: throttled_answers },
        Line { name: wanted(record), style: Style::new(1, 1), value: |second| Some(second.assigned) },
    ];
    let quota = record.quota_per_minute.map(|quota| quota as f64 / 60.0);
    let level = quota.map(|quota| (format!("quota, {} a second", decimal(quota)), Style::new(5, 2), quota));
    let chart =
        Lines { axis: "answers and devices a second", lines: &lines, times: false, zeros: true, level };
    let (columns, canvas, peak) = chart.draw(record)?;
    let marked = events::in_words(record);
    let allowed = record.quota_per_minute.map_or_else(
        || "What the service allows is not known".to_owned(),
        |quota| format!("The service allows {} registrations a minute", grouped(quota)),
    );
    let label = format!("Line chart of throttled answers a second over time; peak {peak}. {allowed}.");
    Some(Drawing {
        id: "throttling",
        title: "Throttling".to_owned(),
        note: format!(
            "Answers that asked a device to come back later, and devices {}, a second; {}. {allowed}. Peak: {peak}.{marked}",
            wanted(record),
            columns.points_in_words(),
        ),
        svg: canvas.finish(&label),
        #[cfg(test)]
        label,
        table: chart.table(record, "Throttling", "a second")?,
    })
}

/// Those asked again, and those that an arrival ended with.
fn throttled_answers(second: &Second) -> Option<u64> {
    Some(second.throttled + second.outcomes.get(&OutcomeKind::Throttled).copied().unwrap_or_default())
}

/// The values of a line by column.
type Values = Vec<Option<u64>>;

impl Lines<'_> {
    /// The columns, the drawing, and its peak in words; nothing if every value is unknown, or 0 and that says nothing.
    fn draw<'r>(&self, record: &'r Record) -> Option<(Columns<'r>, Canvas, String)> {
        let columns = Columns::of(record, MOST_POINTS)?;
        let values: Vec<Values> = self.lines.iter().map(|line| columns.highest(line.value)).collect();
        let known = || values.iter().flatten().flatten().copied();
        let highest = known().max().filter(|highest| self.zeros || *highest > 0)?;
        let level = self.level.as_ref().map(|(_, _, level)| *level);
        let scale = match self.times {
            true => Scale::log(known().min()?, highest),
            false => Scale::linear(level.map_or(highest as f64, |level| level.max(highest as f64))),
        };
        let mut canvas =
            Canvas::new(self.axis, &format!("peak {}", self.shown(highest)), &self.legend(), PLOT);
        canvas.upright_axis(&scale.ticks(if self.times { duration } else { number }));
        time_axis(&mut canvas, &columns);
        self.draw_level(&mut canvas, &scale);
        let mut drawn: Vec<(&Line, &Values)> = self.lines.iter().zip(&values).collect();
        drawn.sort_by_key(|(line, _)| line.style.layer());
        for (line, values) in drawn {
            let points = places(&canvas, &columns, &scale, values);
            draw_line(&mut canvas, line.style, &points);
        }
        let mut peak = self.shown(highest);
        if highest > 0 {
            let (line, column) = place(&values, highest)?;
            canvas.ring(canvas.x(columns.middle(column)), canvas.y(scale.share(highest as f64)));
            peak.push_str(&format!(" ({}) at {}", self.lines[line].name, columns.name(column)));
        }
        events::mark(&mut canvas, &columns, record);
        Some((columns, canvas, peak))
    }

    fn legend(&self) -> Vec<Key> {
        let lines = self.lines.iter().map(|line| (Swatch::Line(line.style), line.name.to_owned()));
        let level = self.level.iter().map(|(name, style, _)| (Swatch::Line(*style), name.clone()));
        lines.chain(level).collect()
    }

    fn draw_level(&self, canvas: &mut Canvas, scale: &Scale) {
        if let Some((_, style, level)) = &self.level {
            let points = [0.0, 1.0].map(|share| Some((canvas.x(share), canvas.y(scale.share(*level)))));
            canvas.path(&style.line(), &polyline(&points));
        }
    }

    /// A value as it is told.
    fn shown(&self, value: u64) -> String {
        if self.times { format!("{} ms", milliseconds(value)) } else { grouped(value) }
    }

    /// The highest of each line in as many columns as a table may have rows.
    fn table(&self, record: &Record, title: &'static str, unit: &str) -> Option<Table> {
        let columns = Columns::of(record, MOST_ROWS)?;
        let values: Vec<Values> = self.lines.iter().map(|line| columns.highest(line.value)).collect();
        let cell = |value: Option<u64>| match (value, self.times) {
            (None, _) => "-".to_owned(),
            (Some(time), true) => milliseconds(time),
            (Some(count), false) => grouped(count),
        };
        let row = |column| {
            let cells = values.iter().map(|values| cell(values[column]));
            std::iter::once(columns.name(column)).chain(cells).collect()
        };
        let known = |column: &usize| values.iter().any(|values| values[*column].is_some());
        let note = match columns.step {
            1 => unit.to_owned(),
            _ => format!("{unit}; the highest of the seconds of a row"),
        };
        let head = std::iter::once("second").chain(self.lines.iter().map(|line| line.name)).collect();
        Some(Table {
            title,
            note,
            head,
            words: 1,
            rows: (0..columns.count()).filter(known).map(row).collect(),
        })
    }
}

/// Where a value is first found: in which line, in which column.
fn place(values: &[Values], value: u64) -> Option<(usize, usize)> {
    let found = |line: &Values| line.iter().position(|known| *known == Some(value));
    values.iter().enumerate().find_map(|(at, line)| Some((at, found(line)?)))
}

fn places(canvas: &Canvas, columns: &Columns<'_>, scale: &Scale, values: &Values) -> Vec<Option<(f64, f64)>> {
    let place = |(column, value): (usize, &Option<u64>)| {
        let y = canvas.y(scale.share((*value)? as f64));
        Some((canvas.x(columns.middle(column)), y))
    };
    values.iter().enumerate().map(place).collect()
}

/// A line, and markers where points are few or have no neighbour.
fn draw_line(canvas: &mut Canvas, style: Style, points: &[Option<(f64, f64)>]) {
    canvas.path(&style.line(), &polyline(points));
    let marked = |at: &usize| points.len() <= MARKED || is_alone(points, *at);
    let markers = (0..points.len()).filter(marked).filter_map(|at| points[at]);
    let markers: String = markers.map(|(x, y)| style.marker(x, y)).collect();
    canvas.path(&style.dots(), &markers);
}

/// The axis of time below a plot.
pub(super) fn time_axis(canvas: &mut Canvas, columns: &Columns<'_>) {
    let tick = |(second, text)| Tick { share: columns.share(second), text };
    let ticks: Vec<_> = moments(columns.seconds).into_iter().map(tick).collect();
    canvas.level_axis(&ticks, "from the start of the run");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::canvas::{LEFT, RIGHT};
    use crate::chart::tests::{bottom, busy, paths, places as read, run};
    use crate::record::Held;

    /// The heights of a line's points as shares of the plot.
    fn shares(svg: &str, class: &str) -> Vec<f64> {
        let drawn = paths(svg, class);
        // The first path of a class is the swatch of the legend.
        let points = drawn.iter().skip(1).flat_map(|path| read(path));
        points.map(|(_, y)| (bottom(svg) - y) / PLOT).collect()
    }

    fn close(found: &[f64], expected: &[f64]) {
        let same = found.len() == expected.len()
            && found.iter().zip(expected).all(|(one, other)| (one - other).abs() < 1e-3);
        assert!(same, "{found:?}, not {expected:?}");
    }

    fn of(seconds: Vec<Second>) -> Record {
        Record { per_second: seconds, ..Record::default() }
    }

    #[test]
    fn rates_have_0_at_the_bottom_and_the_peak_at_the_top() {
        let second =
            |t, started, assigned| Second { t, offered: started, started, assigned, ..Second::default() };
        let drawing =
            rates(&of(vec![second(0, 40, 0), second(1, 20, 30), second(2, 0, 40)])).expect("a drawing");
        close(&shares(&drawing.svg, "line s1 d1"), &[1.0, 0.5, 0.0]);
        close(&shares(&drawing.svg, "line s2 d2"), &[1.0, 0.5, 0.0]);
        close(&shares(&drawing.svg, "line s3 d3"), &[0.0, 0.75, 1.0]);
        assert_eq!(drawing.table.rows[1], ["1 s", "20", "20", "30"]);
        assert!(paths(&drawing.svg, "line s7 d6").is_empty());
    }

    #[test]
    fn a_plan_is_drawn_where_it_is_known() {
        let drawing = rates(&run(3)).expect("a drawing");
        let planned: Vec<_> = [4.0, 5.0, 6.0].map(|planned| planned / 6.0).to_vec();
        close(&shares(&drawing.svg, "line s7 d6"), &planned);
        assert_eq!(drawing.table.head, ["second", "planned", "offered", "started", "assigned"]);
    }

    #[test]
    fn a_point_stands_in_the_middle_of_its_seconds() {
        let drawing = in_flight(&run(4)).expect("a drawing");
        let x: Vec<_> = paths(&drawing.svg, "line s1 d1")[1..]
            .iter()
            .flat_map(|path| read(path))
            .map(|(x, _)| x)
            .collect();
        let width = (RIGHT - LEFT) / 4.0;
        close(&x, &[0.5, 1.5, 2.5, 3.5].map(|second| LEFT + second * width));
    }

    #[test]
    fn seconds_that_all_end_with_nobody_are_a_line_at_0_with_its_table() {
        let idle = of((0..3).map(|t| Second { t, assigned: 5, started: 5, ..Second::default() }).collect());
        let asked = Record { held: Some(Held { devices: 9, ..Held::default() }), ..idle.clone() };
        let allowed = Record {
            quota_per_minute: Some(60),
            ..of((0..3).map(|t| Second { t, ..Second::default() }).collect())
        };
        for (drawing, class) in [
            (in_flight(&idle), "line s1 d1"),
            (held(&asked), "line s1 d1"),
            (throttling(&allowed), "line s2 d3"),
        ] {
            let drawing = drawing.expect("a drawing");
            close(&shares(&drawing.svg, class), &[0.0; 3]);
            assert!(paths(&drawing.svg, "ring").is_empty(), "{}", drawing.id);
            assert!(drawing.table.rows.len() == 3 && drawing.table.rows.iter().all(|row| row[1] == "0"));
        }
        assert!(rates(&of(vec![Second::default()])).is_none());
        assert!(in_flight(&Record::default()).is_none());
    }

    #[test]
    fn means_are_over_the_measured_window_as_throughput_is() {
        let seconds = (0..4).map(|t| Second { t, assigned: 25, offered: 30, ..Second::default() }).collect();
        let record = Record { wall_seconds: 3.0, throughput: Throughput::of(100, 3.0), ..of(seconds) };
        let note = rates(&record).expect("a drawing").note;
        assert!(note.contains(&format!("assigned {}", decimal(record.throughput.per_second))), "{note}");
        assert!(note.contains("offered 40.0"), "{note}");
        let unknown = rates(&Record { wall_seconds: 0.0, ..record }).expect("a drawing").note;
        assert!(!unknown.contains("Mean"), "{unknown}");
    }

    #[test]
    fn a_maximum_and_the_percentile_that_equals_it_are_both_seen() {
        let drawing = percentiles(&run(3)).expect("a drawing");
        let at = |class: &str| drawing.svg.rfind(&format!("<path class=\"{class}\"")).expect("a line");
        assert!(at("line s6 d6") < at("line s4 d8") && at("line s4 d8") < at("line s5 d3"));
        assert_eq!(drawing.table.head[3..], ["response p90", "response p99", "response max"]);
    }

    #[test]
    fn a_point_of_many_seconds_is_the_highest_of_them() {
        let seconds = (0..1_440).map(|t| Second { t, offered: t % 2 * 7, ..Second::default() }).collect();
        let record = Record { wall_seconds: 1_440.0, ..of(seconds) };
        let drawing = rates(&record).expect("a drawing");
        close(&shares(&drawing.svg, "line s1 d1"), &[1.0; 144]);
        assert!(drawing.note.contains("offered 3.5"), "{}", drawing.note);
        assert!(drawing.table.rows.iter().all(|row| row[1] == "7"));
    }

    #[test]
    fn what_stays_at_one_spike_of_a_day_is_seen() {
        let mut record = of((0..86_400).map(|t| Second { t, in_flight: 1, ..Second::default() }).collect());
        record.per_second[77_777].in_flight = 500;
        let drawing = in_flight(&record).expect("a drawing");
        let shares = shares(&drawing.svg, "line s1 d1");
        assert_eq!(shares.iter().filter(|share| **share > 0.99).count(), 1);
        assert_eq!(drawing.table.rows.iter().filter(|row| row[1] == "500").count(), 1);
    }

    #[test]
    fn times_are_drawn_by_their_decade() {
        let second = |t, p50| Second {
            t,
            response_us: Some([p50; 4]),
            service_us: Some([1_000; 4]),
            ..Second::default()
        };
        let drawing = percentiles(&of(vec![second(0, 1_000), second(1, 10_000), second(2, 100_000)]))
            .expect("a drawing");
        close(&shares(&drawing.svg, "line s1 d1"), &[0.0, 0.5, 1.0]);
        assert!(drawing.note.contains("logarithmic") && drawing.svg.contains("logarithmic"));
        assert_eq!(drawing.table.rows[1][1..], ["1.000", "10.000", "10.000", "10.000", "10.000"]);
    }

    #[test]
    fn there_is_no_line_where_nobody_ended_and_a_marker_where_one_second_is_alone() {
        let silent = |t| Second { t, ..Second::default() };
        let mut seconds: Vec<_> = (0..100).map(|t| busy(t, 5)).collect();
        seconds[40] = silent(40);
        seconds[42] = silent(42);
        let drawing = percentiles(&of(seconds)).expect("a drawing");
        let drawn = paths(&drawing.svg, "line s1 d1");
        assert_eq!((drawn[1].matches('M').count(), read(drawn[1]).len()), (2, 97));
        assert_eq!(paths(&drawing.svg, "dots s1")[1].matches('z').count(), 1);
        assert!(percentiles(&of(vec![silent(0)])).is_none());
    }

    #[test]
    fn one_second_is_a_marker() {
        let drawing = rates(&of(vec![busy(0, 5)])).expect("a drawing");
        assert!(shares(&drawing.svg, "line s1 d1").is_empty());
        assert_eq!(paths(&drawing.svg, "dots s1")[1].matches('z').count(), 1);
    }

    #[test]
    fn devices_that_stay_connected_are_drawn_where_there_are_any() {
        let second = |t, held, in_flight| Second { t, held, in_flight, ..Second::default() };
        let drawing = held(&of(vec![second(0, 0, 5), second(1, 10, 0)])).expect("a drawing");
        close(&shares(&drawing.svg, "line s1 d1"), &[0.0, 1.0]);
        close(&shares(&drawing.svg, "line s2 d2"), &[0.5, 0.0]);
        assert!(held(&of(vec![second(0, 0, 5), second(1, 0, 5)])).is_none());
    }

    #[test]
    fn throttled_answers_are_drawn_beside_the_quota() {
        let mut second = Second { throttled: 8, assigned: 10, ..Second::default() };
        second.outcomes.insert(OutcomeKind::Throttled, 2);
        let quiet = Second { t: 1, assigned: 5, ..Second::default() };
        let record = Record { quota_per_minute: Some(1_200), ..of(vec![second, quiet]) };
        let drawing = throttling(&record).expect("a drawing");
        close(&shares(&drawing.svg, "line s2 d3"), &[0.5, 0.0]);
        close(&shares(&drawing.svg, "line s1 d1"), &[0.5, 0.25]);
        close(&shares(&drawing.svg, "line s5 d2"), &[1.0, 1.0]);
        let calm = of(vec![Second { assigned: 5, ..Second::default() }]);
        assert!(throttling(&calm).is_none());
        assert!(throttling(&Record { quota_per_minute: Some(60), ..calm }).is_some());
    }
}
