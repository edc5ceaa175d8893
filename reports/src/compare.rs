//! One run beside another: what changed, and whether that is more than noise.
//!
//! Two runs of one scenario are never equal, so every judged metric has a *band*: how far apart two runs of the same may
//! be. A change is judged when it is beyond the band, by the ratio of the larger to the smaller value, so that it does
//! not matter which of the two is called the baseline. The formulas are in [`noise`]; none of them draws at random.
//!
//! - With two runs or more on a side, the band is from the standard deviation between the runs of a side.
//! - With one on each, it is from inside the two: seconds of the same number are compared, which leaves out what the
//!   schedule does to both, and how the ratios differ from block to block of seconds says how sure the whole is.
//! - It is never narrower than a floor: what runs on one machine, one after the other, differ by without a cause.
//! - Shares have the error of counting.
//!
//! Only what a whole attempt took, rates, shares, the roll-up and gates make a regression. The time of a phase, p99.9
//! and, with one run on a side, a p99 that rests on one bad moment (p50 and p90 did not move, and the slow arrivals came
//! one after the other) are called slower or faster, and fail nothing: of dozens of such figures one is always beyond its
//! band.
//!
//! What cannot be compared is refused ([`CompareFault`]), what a reader has to know first is a warning, and fewer
//! devices are never better.

mod belief;
mod expected;
mod measures;
mod noise;
pub(crate) mod told;

pub use belief::CompareFault;
pub use told::text as comparison_text;

use crate::record::{Record, bucket_start_us};
use belief::Belief;
use measures::{Measure, Wanted};
use noise::Band;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The version of the comparison this program writes.
pub const COMPARISON_SCHEMA: &str = "rollcall.comparison/1";

/// A comparison of a candidate with its baseline.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Comparison {
    /// Always [`COMPARISON_SCHEMA`].
    pub schema: String,
    /// The runs compared with; several are repeats.
    pub baseline: Vec<Side>,
    /// The runs that are judged; several are repeats.
    pub candidate: Vec<Side>,
    /// What a reader should know before believing it, one sentence each.
    pub warnings: Vec<String>,
    /// Every metric that both have.
    pub rows: Vec<Compared>,
    /// Whether any of them is worse by more than noise.
    pub regressed: bool,
    /// Whether a run of either side does not stand: its times and rates are shown, and nothing is called better.
    pub doubtful: bool,
}

/// One run of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Side {
    /// What the caller called it: its path.
    pub name: String,
    /// The scenario's name.
    pub scenario: String,
    /// When it started, RFC 3339, UTC.
    pub started_utc: String,
    /// The version of the program.
    pub program_version: String,
    /// What the run was worth, in a word.
    pub verdict: String,
}

/// One metric of both.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Compared {
    /// The metric, as gates name it: `response_time.p99`.
    pub metric: String,
    /// The unit of both numbers: `s`, `/s`, `count` or `share`.
    pub unit: String,
    /// The baseline: the median of its runs.
    pub baseline: f64,
    /// The candidate: the median of its runs.
    pub candidate: f64,
    /// By what part of the baseline the candidate differs; none where the baseline is 0.
    pub change: Option<f64>,
    /// By what part of the baseline runs differ by themselves; where the baseline is 0, by how much in the unit.
    pub band: f64,
    /// The least and the most that the candidate may be for the change to be noise, in the unit.
    pub bounds: [f64; 2],
    /// Whether it is not judged because runs differ by more than the whole of it.
    pub too_noisy: bool,
    /// Whether it is not judged because a run has too few arrivals for it: p50 needs 30, p90 100, p99 1,000 and p99.9
    /// 10,000.
    pub too_few: bool,
    /// What the change comes to.
    pub judgement: Judgement,
}

/// What a change comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Judgement {
    /// Better by more than noise.
    Better,
    /// Worse by more than noise.
    Worse,
    /// A time that is longer by more than noise, and by itself no regression: it says where to look.
    Slower,
    /// A time that is shorter by more than noise, and by itself no improvement.
    Faster,
    /// Within noise.
    #[default]
    Same,
    /// Shown, and not judged: it says what was asked for, not how the service did, is too noisy, or of too few arrivals.
    Shown,
}

/// How runs are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CompareOptions {
    /// Compare runs of different scenarios, too, with a warning.
    pub other_scenario: bool,
    /// The least band of medians and rates, as a part: 0.05 for 5 %. Of p99 it is twice that, of p99.9 three times.
    pub threshold: Option<f64>,
}

/// The runs of both sides: the baseline's, and the candidate's.
type Sides<'a> = [&'a [(String, Record)]; 2];

/// Compares runs of one scenario. Each run has a name that the reader knows it by; the first of a side is the run, others
/// are repeats of it.
///
/// # Errors
/// When a side has no run, or there are runs that must not be laid beside each other: see [`CompareFault`].
pub fn compare(
    baseline: &[(String, Record)],
    candidate: &[(String, Record)],
    options: CompareOptions,
) -> Result<Comparison, CompareFault> {
    let sides = [baseline, candidate];
    let belief = Belief::of(sides, options)?;
    let mut rows = measured(sides, &belief, options);
    if sides.iter().any(|side| side.len() == 1) {
        tails_need_a_second_sign(&mut rows, candidate);
    }
    rows.extend(expected::roll_up(sides));
    rows.extend(expected::gates(sides));
    for row in &mut rows {
        if matches!(row.judgement, Judgement::Better | Judgement::Faster) && !belief.may_be_better {
            row.judgement = Judgement::Shown;
        }
    }
    Ok(Comparison {
        schema: COMPARISON_SCHEMA.to_owned(),
        baseline: baseline.iter().map(belief::side).collect(),
        candidate: candidate.iter().map(belief::side).collect(),
        regressed: rows.iter().any(|row| row.judgement == Judgement::Worse),
        doubtful: belief.doubtful,
        warnings: belief.warnings,
        rows,
    })
}

/// The metrics that are numbers of a run.
fn measured(sides: Sides<'_>, belief: &Belief, options: CompareOptions) -> Vec<Compared> {
    let of = |side: &[(String, Record)]| side.iter().map(|(_, record)| measures::of(record)).collect();
    let [baseline, candidate]: [Vec<Vec<Measure>>; 2] = sides.map(of);
    let names = baseline.iter().flatten().map(|measure| measure.metric.as_str());
    let mut known: Vec<&str> = Vec::new();
    for name in names {
        if !known.contains(&name) {
            known.push(name);
        }
    }
    let row = |name: &str| {
        let [before, after] = [&baseline, &candidate].map(|side| named(side, name));
        (!after.is_empty()).then(|| compared([&before, &after], sides, belief, options))
    };
    known.into_iter().filter_map(row).filter(worth_a_row).collect()
}

/// ours: so many seconds are one moment, and so few arrivals are none that tell anything: a tail is made of at least ten.
const MOMENT: usize = 3;
const FEW: u64 = 10;

/// Whether arrivals that took longer than this, in seconds, came at more than one moment of a run: not half of them or
/// more in any three seconds that follow each other.
fn is_spread(record: &Record, longer: f64) -> bool {
    let slow = |buckets: &[(u16, u64)]| {
        buckets
            .iter()
            .filter(|(bucket, _)| bucket_start_us(*bucket) >= longer * 1e6)
            .map(|(_, count)| count)
            .sum()
    };
    let slow: Vec<u64> = record.per_second.iter().map(|second| slow(&second.response_buckets)).collect();
    let all: u64 = slow.iter().sum();
    let most = slow.windows(MOMENT).map(|moment| moment.iter().sum::<u64>()).max().unwrap_or(all);
    all >= FEW && most * 2 < all
}

/// With one run on a side the p99 of a clock may rest on one bad moment: it counts where p50 or p90 moved with it, or
/// where slow arrivals came throughout the run.
fn tails_need_a_second_sign(rows: &mut [Compared], candidate: &[(String, Record)]) {
    let moved: Vec<(String, Judgement)> =
        rows.iter().map(|row| (row.metric.clone(), row.judgement)).collect();
    for row in rows {
        let Some(clock) = row.metric.strip_suffix(".p99") else { continue };
        let signs = [".p50", ".p90"].map(|sign| (format!("{clock}{sign}"), row.judgement));
        if !signs.iter().any(|sign| moved.contains(sign)) {
            let slowest = row.bounds[1];
            let is_of_the_run = || candidate.iter().all(|(_, record)| is_spread(record, slowest));
            row.judgement = match row.judgement {
                Judgement::Worse if is_of_the_run() => Judgement::Worse,
                Judgement::Worse => Judgement::Slower,
                Judgement::Better => Judgement::Faster,
                other => other,
            };
        }
    }
}

fn named<'a>(runs: &'a [Vec<Measure>], name: &str) -> Vec<&'a Measure> {
    runs.iter().flatten().filter(|measure| measure.metric == name).collect()
}

/// Ways to end that nobody took are left out.
fn worth_a_row(row: &Compared) -> bool {
    row.judgement != Judgement::Shown || row.unit != "share" || row.baseline > 0.0 || row.candidate > 0.0
}

/// One metric: the same measure of every run of both sides.
fn compared(
    measures: [&[&Measure]; 2],
    sides: Sides<'_>,
    belief: &Belief,
    options: CompareOptions,
) -> Compared {
    let [baseline, candidate] =
        measures.map(|side| noise::median(side.iter().map(|measure| measure.value).collect()));
    let band = Band::of(measures, sides, options);
    let too_few = measures.iter().copied().flatten().any(|measure| measure.wanted == Wanted::MoreArrivals);
    let mut all = measures.iter().copied().flatten();
    let first = all.next();
    let wanted = first.map_or(Wanted::Nothing, |first| first.wanted);
    let (metric, unit) = first.map_or_else(Default::default, |first| (first.metric.clone(), first.unit));
    // What one run has too few samples for, none is judged by.
    let judged =
        all.all(|measure| measure.wanted == wanted) && !(belief.doubtful && matches!(unit, "s" | "/s"));
    let judgement = if judged { judgement(wanted, band, baseline, candidate) } else { Judgement::Shown };
    let too_noisy = judgement == Judgement::Same && band.is_too_wide();
    Compared {
        metric,
        unit: unit.to_owned(),
        baseline,
        candidate,
        change: change(baseline, candidate),
        band: band.part_of(baseline),
        bounds: band.bounds(baseline),
        too_noisy,
        too_few,
        judgement: if too_noisy { Judgement::Shown } else { judgement },
    }
}

/// By what part of the baseline the candidate differs.
fn change(baseline: f64, candidate: f64) -> Option<f64> {
    (baseline != 0.0).then(|| (candidate - baseline) / baseline)
}

fn judgement(wanted: Wanted, band: Band, baseline: f64, candidate: f64) -> Judgement {
    let beyond = band.is_exceeded(baseline, candidate);
    match (wanted, candidate > baseline) {
        (Wanted::Nothing | Wanted::MoreArrivals, _) => Judgement::Shown,
        _ if !beyond => Judgement::Same,
        (Wanted::Less, true) | (Wanted::More | Wanted::NotLess, false) => Judgement::Worse,
        (Wanted::Less, false) | (Wanted::More, true) => Judgement::Better,
        (Wanted::NotLess, true) => Judgement::Same,
        (Wanted::Evidence, true) => Judgement::Slower,
        (Wanted::Evidence, false) => Judgement::Faster,
    }
}

#[cfg(test)]
mod tests;
