//! How far apart two runs of the same may be.
//!
//! Times and rates vary by a factor rather than by an amount, so their spread is taken of logarithms; that also makes a
//! band the same in both directions. *k* = 3 throughout: with some thirty judged metrics a run, a bound that noise
//! exceeds once in twenty would call every other comparison a regression; three standard errors are exceeded about once
//! in four hundred.
//!
//! - Repeats: *s* is the pooled standard deviation of ln *x* within the sides (weights *n* - 1), and the band
//!   exp(*k* *s* √(1/*n*₁ + 1/*n*₂)) - 1. More runs narrow it, runs that differ widen it.
//! - One run each: *r* is ln(candidate / baseline) of each second that both have, in blocks of ⌊√*m*⌋ of *m* seconds,
//!   for neighbouring seconds suffer together. *e* is the standard error over the blocks, and the band exp(*k* *e*) - 1.
//!   A median does not see one slow second, so for p50 blocks are medians and their spread the median absolute
//!   deviation; the tails are made of slow seconds, so theirs are means and the standard deviation. It is a stand-in for
//!   the spread between runs, which two runs cannot tell: hence the floor.
//! - Floor: 10 % of p50, p90 and rates, 20 % of p99, 30 % of p99.9; half of that where both sides have repeats. Tails
//!   rest on few samples.
//! - Shares: *k* times the binomial error of two counts with one probability, √(*p*(1-*p*)(1/*n*₁ + 1/*n*₂)); what can
//!   happen more than once an arrival has the Poisson error √(*p*(1/*n*₁ + 1/*n*₂)) and the floor, for it comes in
//!   bursts. With repeats also *k* times the spread between them.
//! - Medians differ by 2 ms without anybody's fault, tails by 5 ms, half of it where both sides have repeats, and phases
//!   by a twentieth of the whole attempt.
//! - Where the band is wider than the value itself, a change within it is not judged: that nothing was seen says nothing.

use super::measures::{Measure, Noise, Series};
use super::{CompareOptions, Sides};
use crate::record::{Record, Second};
use std::collections::BTreeMap;

/// ours: standard errors that are still noise.
const FACTOR: f64 = 3.0;
/// ours: the least band of medians and rates where a side has one run.
const FLOOR: f64 = 0.10;
/// ours: the same where both sides have repeats.
const FLOOR_OF_REPEATS: f64 = FLOOR * OF_REPEATS;
/// ours: what is left of a floor where both sides have repeats.
const OF_REPEATS: f64 = 0.5;
/// ours: a band that says nothing, as a part.
const TOO_WIDE: f64 = 1.0;
/// The most that is told of a band, as a logarithm, so that it stays a number.
const WIDEST: f64 = 20.0;
/// Of a normal distribution, the standard deviation in median absolute deviations.
const DEVIATIONS: f64 = 1.482_6;
/// Of a normal distribution, the error of a median in those of a mean: √(π/2).
const OF_A_MEDIAN: f64 = 1.253_3;

/// How far apart two values may be: by a part of the smaller, or by an amount, whichever is more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Band {
    relative: f64,
    absolute: f64,
}

impl Band {
    /// The band of one metric of two sides.
    pub(super) fn of(measures: [&[&Measure]; 2], sides: Sides<'_>, options: CompareOptions) -> Self {
        let repeated = measures.iter().all(|side| side.len() > 1);
        let floor = options.threshold.unwrap_or(if repeated { FLOOR_OF_REPEATS } else { FLOOR });
        let all = || measures.iter().copied().flatten().map(|measure| measure.noise);
        match all().next() {
            Some(Noise::Time { tail, series, .. }) => Self {
                relative: (floor * tail).max(spread(measures, series, sides)),
                absolute: all().filter_map(Noise::least).fold(f64::INFINITY, f64::min)
                    * if repeated { OF_REPEATS } else { 1.0 },
            },
            Some(Noise::Interval { .. }) => {
                let widest = all().filter_map(Noise::interval).fold(0.0, f64::max);
                Self { relative: floor.max(widest), absolute: 0.0 }
            }
            Some(Noise::Share { .. }) => {
                Self { relative: 0.0, absolute: counted(measures, |p| p * (1.0 - p)) }
            }
            Some(Noise::PerArrival { .. }) => Self { relative: floor, absolute: counted(measures, |p| p) },
            None => Self { relative: 0.0, absolute: 0.0 },
        }
    }

    /// Whether two values are further apart.
    pub(super) fn is_exceeded(self, one: f64, other: f64) -> bool {
        (one - other).abs() > self.absolute.max(self.relative * one.min(other))
    }

    /// Whether runs differ by more than the value itself.
    pub(super) const fn is_too_wide(self) -> bool {
        self.relative > TOO_WIDE
    }

    /// The least and the most that are no further from a value than this.
    pub(super) fn bounds(self, value: f64) -> [f64; 2] {
        let least = (value - self.absolute).min(value / (1.0 + self.relative));
        [least.max(0.0), value + self.absolute.max(self.relative * value)]
    }

    /// The band as a part of the baseline, or in the metric's unit where that is 0.
    pub(super) fn part_of(self, baseline: f64) -> f64 {
        if baseline > 0.0 { self.relative.max(self.absolute / baseline) } else { self.absolute }
    }
}

/// The spread of times or rates, as a part.
fn spread(measures: [&[&Measure]; 2], series: Option<Series>, sides: Sides<'_>) -> f64 {
    let values = |side: &[&Measure]| side.iter().map(|measure| measure.value.max(LEAST).ln()).collect();
    let error = between(measures.map(values)).or_else(|| match sides {
        [[(_, baseline)], [(_, candidate)]] => inside(baseline, candidate, series?),
        _ => None,
    });
    (FACTOR * error.unwrap_or(0.0)).min(WIDEST).exp() - 1.0
}

/// What has a logarithm: less than a time can be told by.
const LEAST: f64 = 1e-6;

/// The standard error of the difference of two sides, from how the runs of each differ; none without repeats.
fn between(sides: [Vec<f64>; 2]) -> Option<f64> {
    let freedom: usize = sides.iter().map(|side| side.len().saturating_sub(1)).sum();
    if freedom == 0 || sides.iter().any(Vec::is_empty) {
        return None;
    }
    let squares: f64 = sides.iter().map(|side| squares(side)).sum();
    let runs: f64 = sides.iter().map(|side| 1.0 / side.len() as f64).sum();
    Some((squares / freedom as f64 * runs).sqrt())
}

/// The standard error of the ratio of two runs, from how the ratios of their seconds differ; none where there are too
/// few of them for two blocks.
fn inside(baseline: &Record, candidate: &Record, series: Series) -> Option<f64> {
    let before: BTreeMap<u64, f64> =
        baseline.per_second.iter().filter_map(|second| Some((second.t, time(second, series)?))).collect();
    let ratio = |second: &Second| Some((time(second, series)? / before.get(&second.t)?).ln());
    let ratios: Vec<f64> = candidate.per_second.iter().filter_map(ratio).collect();
    let blocks = ratios.chunks_exact(ratios.len().isqrt().max(1));
    let error = match series {
        Series::Service(0) | Series::Response(0) => {
            let blocks: Vec<f64> = blocks.map(|block| median(block.to_vec())).collect();
            let middle = median(blocks.clone());
            let deviation = median(blocks.iter().map(|block| (block - middle).abs()).collect());
            (DEVIATIONS * OF_A_MEDIAN * deviation, blocks.len())
        }
        _ => {
            let blocks: Vec<f64> = blocks.map(mean).collect();
            ((squares(&blocks) / blocks.len().saturating_sub(1).max(1) as f64).sqrt(), blocks.len())
        }
    };
    (error.1 > 1).then(|| error.0 / (error.1 as f64).sqrt())
}

/// A percentile of one second, in seconds; none where nobody ended in it.
fn time(second: &Second, series: Series) -> Option<f64> {
    let (times, at) = match series {
        Series::Service(at) => (second.service_us?, at),
        Series::Response(at) => (second.response_us?, at),
    };
    times.get(at).map(|us| (*us as f64 / 1e6).max(LEAST))
}

/// The band of what is counted, in parts of the arrivals. `variance` is that of one arrival, by how likely it is.
fn counted(measures: [&[&Measure]; 2], variance: fn(f64) -> f64) -> f64 {
    let arrivals = measures.map(|side| side.iter().filter_map(|measure| measure.noise.of()).sum::<f64>());
    let hits = measures.iter().copied().flatten();
    let hits: f64 = hits.filter_map(|measure| Some(measure.value * measure.noise.of()?)).sum();
    let counting = match arrivals {
        [one, other] if one > 0.0 && other > 0.0 => {
            (variance(hits / (one + other)).max(0.0) * (1.0 / one + 1.0 / other)).sqrt()
        }
        _ => 0.0,
    };
    let between = between(measures.map(|side| side.iter().map(|measure| measure.value).collect()));
    FACTOR * counting.max(between.unwrap_or(0.0))
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// The sum of squared distances from the mean.
fn squares(values: &[f64]) -> f64 {
    let mean = mean(values);
    values.iter().map(|value| (value - mean).powi(2)).sum()
}

/// The median; 0 of nothing.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.get(middle), middle.checked_sub(1).and_then(|below| values.get(below))) {
        (Some(one), Some(other)) if values.len().is_multiple_of(2) => f64::midpoint(*one, *other),
        (middle, _) => middle.copied().unwrap_or_default(),
    }
}
