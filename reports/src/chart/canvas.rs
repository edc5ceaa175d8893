//! One drawing as SVG: a heading line, a legend, the plot, its axes.
//!
//! Texts are measured as wide as they are on a narrow screen, where they are drawn larger (see [`super::STYLE`]).

use super::scale::Tick;
use std::fmt::Write;

/// The width of every drawing, in its own units.
pub(super) const WIDTH: f64 = 720.0;
/// The plot, from side to side.
pub(super) const LEFT: f64 = 88.0;
pub(super) const RIGHT: f64 = 700.0;
/// A line of text.
pub(super) const LINE: f64 = 26.0;
/// The most that a letter takes, at the largest size.
pub(super) const LETTER: f64 = 11.0;
/// The swatch of a legend, and what is left free behind it and behind its text.
const SWATCH: f64 = 34.0;
const AFTER_SWATCH: f64 = 8.0;
const AFTER_TEXT: f64 = 16.0;

/// How something is drawn. No two things in one drawing share the pattern, so that colour is not the only carrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Style {
    /// Which of the page's colours, from 1 to 8.
    colour: u8,
    /// Which dash of a line, stripe of a bar and shape of a marker, from 1, which is solid.
    pattern: u8,
}

impl Style {
    pub(super) const fn new(colour: u8, pattern: u8) -> Self {
        Self { colour, pattern }
    }

    /// The classes of a line.
    pub(super) fn line(self) -> String {
        format!("line s{} d{}", self.colour, self.pattern)
    }

    /// The classes of a bar.
    pub(super) fn bar(self) -> String {
        format!("stack s{} p{}", self.colour, self.pattern)
    }

    /// What is drawn first, so that all lines are seen where they are equal: wide ones, then thin ones, then the others.
    pub(super) const fn layer(self) -> u8 {
        match self.pattern {
            6 => 0,
            8 => 1,
            _ => 2,
        }
    }

    /// The classes of its markers.
    pub(super) fn dots(self) -> String {
        format!("dots s{}", self.colour)
    }

    /// A marker at a place.
    pub(super) fn marker(self, x: f64, y: f64) -> String {
        let at = |dx: f64, dy: f64| format!("M{} {}", short(x + dx), short(y + dy));
        match self.pattern % 4 {
            1 => format!("{}a4 4 0 1 0 8 0a4 4 0 1 0-8 0z", at(-4.0, 0.0)),
            2 => format!("{}h7v7h-7z", at(-3.5, -3.5)),
            3 => format!("{}l5 9h-10z", at(0.0, -5.0)),
            _ => format!("{}l5 5l-5 5l-5-5z", at(0.0, -5.0)),
        }
    }
}

/// What a legend shows beside a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Swatch {
    /// A line with its marker.
    Line(Style),
    /// A bar with its pattern.
    Bar(Style),
    /// A marker alone.
    Dot(Style),
    /// A cell of this strength, from 1.
    Cell(usize),
    /// A mark across a bar.
    Tick,
}

/// An entry of a legend.
pub(super) type Key = (Swatch, String);

/// A drawing in the making.
pub(super) struct Canvas {
    body: String,
    /// Where the plot begins.
    pub(super) top: f64,
    /// Where it ends.
    pub(super) bottom: f64,
    height: f64,
}

impl Canvas {
    /// A drawing with what its upright axis says, the highest value, the legend, and room for a plot of this height.
    pub(super) fn new(axis: &str, peak: &str, legend: &[Key], plot: f64) -> Self {
        let mut canvas = Self { body: String::new(), top: 0.0, bottom: 0.0, height: 0.0 };
        canvas.text((0.0, LINE - 8.0), Anchor::Start, axis);
        canvas.text((WIDTH, LINE - 8.0), Anchor::End, peak);
        let rows = canvas.legend(legend);
        canvas.top = LINE * (1.0 + rows as f64) + 10.0;
        canvas.bottom = canvas.top + plot;
        canvas.height = canvas.bottom + 6.0;
        canvas
    }

    /// How many rows it took.
    fn legend(&mut self, legend: &[Key]) -> usize {
        let (mut x, mut rows) = (0.0, usize::from(!legend.is_empty()));
        for (swatch, name) in legend {
            let width = SWATCH + AFTER_SWATCH + text_width(name) + AFTER_TEXT;
            if x > 0.0 && x + width > WIDTH {
                (x, rows) = (0.0, rows + 1);
            }
            let y = LINE * (rows as f64 + 1.0) - 8.0;
            self.swatch(*swatch, x, y - 5.0);
            self.text((x + SWATCH + AFTER_SWATCH, y), Anchor::Start, name);
            x += width;
        }
        rows
    }

    fn swatch(&mut self, swatch: Swatch, x: f64, y: f64) {
        let across = format!("M{} {}h{SWATCH}", short(x), short(y));
        let middle = x + SWATCH / 2.0;
        match swatch {
            Swatch::Line(style) => {
                self.path(&style.line(), &across);
                self.path(&style.dots(), &style.marker(middle, y));
            }
            Swatch::Bar(style) => {
                self.bars(style, SWATCH, &format!("M{} {}v-18", short(middle), short(y + 9.0)))
            }
            Swatch::Dot(style) => self.path(&style.dots(), &style.marker(middle, y)),
            Swatch::Tick => self.tick(middle, y),
            Swatch::Cell(strength) => self.thick(&format!("cell h{strength}"), 14.0, &across),
        }
    }

    /// Where a share of the width stands.
    pub(super) fn x(&self, share: f64) -> f64 {
        LEFT + share * (RIGHT - LEFT)
    }

    /// Where a share of the height stands: 0 at the bottom, 1 at the top.
    pub(super) fn y(&self, share: f64) -> f64 {
        self.bottom - share * (self.bottom - self.top)
    }

    /// The upright axis: a line across the plot at each mark, and its name on the left.
    pub(super) fn upright_axis(&mut self, ticks: &[Tick]) {
        let grid: String =
            ticks.iter().map(|tick| format!("M{LEFT} {}H{RIGHT}", short(self.y(tick.share)))).collect();
        self.path("grid", &grid);
        for tick in ticks {
            let y = self.y(tick.share) + 5.0;
            self.text((LEFT - 8.0, y), Anchor::End, &tick.text);
        }
    }

    /// The axis below: marks, their names as far as there is room for them, and what it says. Nothing is drawn below it.
    pub(super) fn level_axis(&mut self, ticks: &[Tick], name: &str) {
        let marks: String = ticks
            .iter()
            .map(|tick| format!("M{} {}v5", short(self.x(tick.share)), short(self.bottom)))
            .collect();
        self.path("axis", &format!("M{LEFT} {}H{RIGHT}{marks}", short(self.bottom)));
        let mut free = 0.0;
        for tick in ticks {
            let (x, half) = (self.x(tick.share), text_width(&tick.text) / 2.0);
            let (anchor, from) = match x + half > WIDTH {
                true => (Anchor::End, x - 2.0 * half),
                false => (Anchor::Middle, x - half),
            };
            if from >= free {
                self.text((x, self.bottom + LINE - 4.0), anchor, &tick.text);
                free = from + 2.0 * half + LETTER;
            }
        }
        self.text((RIGHT, self.bottom + 2.0 * LINE - 4.0), Anchor::End, name);
        self.height = self.bottom + 2.0 * LINE + 6.0;
    }

    /// A path of these classes.
    pub(super) fn path(&mut self, class: &str, path: &str) {
        if !path.is_empty() {
            // Writing to a text cannot fail.
            let _ = write!(self.body, "<path class=\"{class}\" d=\"{path}\"/>");
        }
    }

    /// A path as thick as this.
    pub(super) fn thick(&mut self, class: &str, width: f64, path: &str) {
        if !path.is_empty() {
            let width = short(width);
            let _ = write!(self.body, "<path class=\"{class}\" stroke-width=\"{width}\" d=\"{path}\"/>");
        }
    }

    /// Bars in a style: its pattern on a pale ground, so that no two need be told apart by their colour.
    pub(super) fn bars(&mut self, style: Style, width: f64, path: &str) {
        // One is solid, and one has no ground.
        if !matches!(style.pattern, 1 | 9) {
            self.thick(&format!("ground s{}", style.colour), width, path);
        }
        let narrow = matches!(style.pattern, 6..=8 | 10);
        self.thick(&style.bar(), if narrow { width * 0.45 } else { width }, path);
    }

    /// A ring around the highest point.
    pub(super) fn ring(&mut self, x: f64, y: f64) {
        self.path("ring", &format!("M{} {}a7 7 0 1 0 14 0a7 7 0 1 0-14 0z", short(x - 7.0), short(y)));
    }

    /// A mark across a bar that lies, seen on the bar and beside it.
    pub(super) fn tick(&mut self, x: f64, y: f64) {
        let mark = format!("M{} {}v20", short(x), short(y - 10.0));
        self.path("halo", &mark);
        self.path("tick", &mark);
    }

    /// A dashed line from top to bottom at a share of the width, with a short name beside it in one of the rows.
    pub(super) fn event(&mut self, share: f64, name: &str, row: usize) {
        let x = self.x(share);
        self.path("event", &format!("M{} {}V{}", short(x), short(self.top), short(self.bottom)));
        let y = self.top + LINE * (row as f64 + 1.0) - 8.0;
        match x + 5.0 + text_width(name) > WIDTH {
            true => self.text((x - 5.0, y), Anchor::End, name),
            false => self.text((x + 5.0, y), Anchor::Start, name),
        }
    }

    /// Paths in units of their own: from the left bottom corner of the plot, `across` and `up` units to the whole of it.
    pub(super) fn grid_of_cells(&mut self, (across, up): (f64, f64), paths: &[(String, String)]) {
        let (wide, high) = ((RIGHT - LEFT) / across, (self.bottom - self.top) / up);
        let bottom = short(self.bottom);
        let _ =
            write!(self.body, "<g transform=\"translate({LEFT} {bottom}) scale({wide:.4} {:.4})\">", -high);
        for (class, path) in paths {
            self.path(class, path);
        }
        self.body.push_str("</g>");
    }

    /// A text at a place.
    pub(super) fn text(&mut self, (x, y): (f64, f64), anchor: Anchor, text: &str) {
        if text.is_empty() {
            return;
        }
        let (x, y, anchor, text) = (short(x), short(y), anchor.attribute(), escaped(text));
        let _ = write!(self.body, "<text x=\"{x}\" y=\"{y}\"{anchor}>{text}</text>");
    }

    /// The finished drawing, described for who does not see it.
    pub(super) fn finish(self, label: &str) -> String {
        format!(
            "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"{}\">{}</svg>",
            short(self.height),
            escaped(label),
            self.body
        )
    }
}

/// Which part of a text stands at its place.
#[derive(Clone, Copy, Debug)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

impl Anchor {
    const fn attribute(self) -> &'static str {
        match self {
            Self::Start => "",
            Self::Middle => " text-anchor=\"middle\"",
            Self::End => " text-anchor=\"end\"",
        }
    }
}

/// At most how wide a text is.
pub(super) fn text_width(text: &str) -> f64 {
    text.chars().count() as f64 * LETTER
}

/// A text cut to a width, with a sign that it was.
pub(super) fn cut(text: &str, width: f64) -> String {
    let most = (width / LETTER) as usize;
    match text.chars().count() > most {
        true => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
        false => text.to_owned(),
    }
}

/// A place with one decimal, if it needs one.
pub(super) fn short(place: f64) -> String {
    let text = format!("{place:.1}");
    text.strip_suffix(".0").map_or_else(|| text.clone(), str::to_owned)
}

/// A text that cannot be taken for markup; what XML has no place for is replaced.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\u{FFFE}' | '\u{FFFF}' => out.push(char::REPLACEMENT_CHARACTER),
            control if control.is_control() => out.push(char::REPLACEMENT_CHARACTER),
            other => out.push(other),
        }
    }
    out
}

/// A line through points, broken where there is none: lone points are left to markers.
pub(super) fn polyline(points: &[Option<(f64, f64)>]) -> String {
    let mut path = String::new();
    let mut command = 'M';
    for (at, point) in points.iter().enumerate() {
        let Some((x, y)) = point else {
            command = 'M';
            continue;
        };
        if !is_alone(points, at) {
            let _ = write!(path, "{command}{} {}", short(*x), short(*y));
            command = 'L';
        }
    }
    path
}

/// Whether a point has no neighbour.
pub(super) fn is_alone(points: &[Option<(f64, f64)>], at: usize) -> bool {
    let known = |at: Option<usize>| at.and_then(|at| points.get(at)).is_some_and(Option::is_some);
    !known(at.checked_sub(1)) && !known(Some(at + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_broken_where_there_is_no_point() {
        let points = [
            Some((0.0, 1.0)),
            Some((1.5, 2.0)),
            None,
            Some((3.0, 3.0)),
            None,
            Some((5.0, 1.0)),
            Some((6.0, 1.0)),
        ];
        assert_eq!(polyline(&points), "M0 1L1.5 2M5 1L6 1");
        assert_eq!((0..7).filter(|at| is_alone(&points, *at)).collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn texts_are_no_markup_and_keep_to_what_xml_may_hold() {
        assert_eq!(
            escaped("<a href=\"x\">&\u{1}</a>"),
            "&lt;a href=&quot;x&quot;&gt;&amp;\u{FFFD}&lt;/a&gt;"
        );
    }

    #[test]
    fn a_legend_that_is_too_wide_goes_on_below() {
        let key = |name: &str| (Swatch::Line(Style::new(1, 1)), name.to_owned());
        let rows = |names: &[&str]| {
            let keys: Vec<_> = names.iter().map(|name| key(name)).collect();
            ((Canvas::new("", "", &keys, 100.0).top - 10.0) / LINE) as usize - 1
        };
        assert_eq!(rows(&[]), 0);
        assert_eq!(rows(&["one", "two", "three"]), 1);
        assert_eq!(rows(&["one that is long enough", "another that is long", "and a third one of them"]), 2);
    }

    #[test]
    fn names_on_an_axis_do_not_run_into_each_other() {
        let ticks: Vec<_> =
            (0..30).map(|n| Tick { share: f64::from(n) / 29.0, text: format!("{n},000") }).collect();
        let mut canvas = Canvas::new("", "", &[], 100.0);
        canvas.level_axis(&ticks, "");
        let drawn = canvas.finish("").matches("<text").count();
        assert!((5..12).contains(&drawn), "{drawn}");
    }

    #[test]
    fn what_is_cut_says_so() {
        assert_eq!([cut("short", 99.0), cut("much too long for it", 99.0)], ["short", "much too…"]);
    }
}
