//! Where the arrivals of a rate lie in its integral.
//!
//! Evenly, one at each whole number, or as a Poisson process does: with gaps that are exponential and
//! independent. Every gap is a function of the seed and its number, so that shards see the same process
//! without sharing anything.

use std::sync::Arc;

/// How many gaps lie between two sums that are kept: reaching any arrival adds up fewer than this.
const BLOCK: u64 = 32;
/// Positions of a Poisson process are kept to 1/1,048,576 of an arrival: two that differ do so by more than
/// what rounding adds on the way to a moment, so the order of moments is the order of positions.
const GRID: f64 = 1_048_576.0;
/// Keeps these draws apart from others of the same seed.
const STREAM: u64 = 0x6172_7269_7661_6c73;

/// Where arrivals lie in the integral of the rate.
#[derive(Clone, Debug)]
pub(crate) struct Positions {
    count: u64,
    /// The integral over all stages; infinite where the last one has no end.
    total: f64,
    process: Option<Process>,
}

impl Positions {
    /// The n-th at n.
    pub(crate) const fn even(count: u64, total: f64) -> Self {
        Self { count, total, process: None }
    }

    /// A Poisson process, drawn from the seed. Where the integral ends it is one that happens to have `count`
    /// arrivals until then, so that how many there are depends on no draw.
    pub(crate) fn poisson(count: u64, total: f64, seed: u64) -> Self {
        Self { count, total, process: Some(Process::new(count, total, seed)) }
    }

    /// Where the n-th (from 0) lies. Never falls.
    pub(crate) fn at(&self, nth: u64) -> f64 {
        match &self.process {
            None => nth as f64,
            Some(process) => (process.position(nth) * GRID).floor() / GRID,
        }
    }

    /// How many lie before this.
    pub(crate) fn before(&self, position: f64) -> u64 {
        if position >= self.total {
            return self.count;
        }
        match &self.process {
            None => (position.ceil() as u64).min(self.count),
            Some(process) => process.before(position, self.count),
        }
    }
}

#[derive(Clone, Debug)]
struct Process {
    seed: u64,
    scale: f64,
    /// The sum of all gaps before each block.
    sums: Arc<[f64]>,
}

impl Process {
    fn new(count: u64, total: f64, seed: u64) -> Self {
        let seed = mixed(seed ^ STREAM);
        let mut sums = Vec::with_capacity(usize::try_from(count / BLOCK + 1).unwrap_or_default());
        let mut sum = 0.0;
        for nth in 0..count {
            if nth % BLOCK == 0 {
                sums.push(sum);
            }
            sum += gap(seed, nth);
        }
        // Given how many arrivals there are, they lie as the sums of one gap more, scaled to the whole.
        let scale = if total.is_finite() { total / (sum + gap(seed, count)) } else { 1.0 };
        Self { seed, scale, sums: sums.into() }
    }

    fn position(&self, nth: u64) -> f64 {
        let block = nth / BLOCK;
        let start = self.sum_before(block);
        (block * BLOCK..=nth).fold(start, |sum, nth| sum + gap(self.seed, nth)) * self.scale
    }

    fn before(&self, position: f64, count: u64) -> u64 {
        let blocks = self.sums.partition_point(|sum| sum * self.scale < position);
        let block = blocks.saturating_sub(1) as u64;
        let mut sum = self.sum_before(block);
        let reached = (block * BLOCK..count).find(|&nth| {
            sum += gap(self.seed, nth);
            sum * self.scale >= position
        });
        reached.unwrap_or(count)
    }

    fn sum_before(&self, block: u64) -> f64 {
        usize::try_from(block).ok().and_then(|block| self.sums.get(block)).copied().unwrap_or_default()
    }
}

/// The gap before the n-th arrival: exponential with mean 1.
fn gap(seed: u64, nth: u64) -> f64 {
    let drawn = mixed(seed.wrapping_add(nth.wrapping_mul(WEYL)));
    // 53 bits, as many as a float holds, moved off zero: above 0 and at most 1.
    let uniform = ((drawn >> 11) + 1) as f64 / (1u64 << 53) as f64;
    -uniform.ln()
}

const WEYL: u64 = 0x9e37_79b9_7f4a_7c15;

/// The output function of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
/// generators", 2014).
const fn mixed(state: u64) -> u64 {
    let z = state.wrapping_add(WEYL);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mixing_is_that_of_splitmix64() {
        // The first outputs of the published generator for the seed 1234567.
        let outputs = (0..3u64).map(|n| mixed(1_234_567u64.wrapping_add(n.wrapping_mul(WEYL))));
        let expected = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert!(outputs.eq(expected));
    }

    #[test]
    fn gaps_are_exponential_and_independent() {
        let draws = 100_000;
        for seed in [0, 1, 42, u64::MAX] {
            let positions = Positions::poisson(draws, f64::INFINITY, seed);
            let at: Vec<_> = (0..draws).map(|nth| positions.at(nth)).collect();
            let gaps: Vec<_> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
            let count = gaps.len() as f64;
            let mean = gaps.iter().sum::<f64>() / count;
            let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / count;
            let together =
                gaps.windows(2).map(|pair| (pair[0] - mean) * (pair[1] - mean)).sum::<f64>() / count;
            assert!((mean - 1.0).abs() < 0.01, "seed {seed}: mean gap {mean}");
            assert!((variance - 1.0).abs() < 0.03, "seed {seed}: variance {variance}");
            assert!((together / variance).abs() < 0.015, "seed {seed}: correlation {together}");
            for (longer_than, share) in [(0.5f64, 0.6065), (1.0, 0.3679), (3.0, 0.0498)] {
                let found = gaps.iter().filter(|gap| **gap > longer_than).count() as f64 / count;
                assert!((found - share).abs() < 0.006, "seed {seed}: {found} are longer than {longer_than}");
            }
        }
    }

    #[test]
    fn a_process_that_ends_has_as_many_arrivals_as_an_even_one_and_is_uniform() {
        let (count, total) = (50_000u64, 49_999.5);
        let positions = Positions::poisson(count, total, 7);
        assert!(positions.at(count - 1) < total && positions.at(0) >= 0.0);
        for tenth in 1..10 {
            let part = f64::from(tenth) / 10.0;
            let found = positions.before(total * part) as f64 / count as f64;
            assert!((found - part).abs() < 0.01, "{found} of them in {part}");
        }
        assert_eq!((positions.before(0.0), positions.before(total)), (0, count));
    }

    #[test]
    fn what_lies_before_an_arrival_is_its_number() {
        for positions in [Positions::poisson(5_000, 5_000.0, 3), Positions::poisson(5_000, f64::INFINITY, 3)]
        {
            let process = positions.process.as_ref().expect("a process");
            for nth in 0..5_000 {
                assert_eq!(positions.before(process.position(nth)), nth);
            }
        }
        let even = Positions::even(10, 9.5);
        let before: Vec<_> = [0.0, 0.5, 1.0, 8.5, 9.0, 9.25, 9.5, 100.0].map(|at| even.before(at)).into();
        assert_eq!(before, [0, 1, 1, 9, 9, 10, 10, 10]);
    }

    #[test]
    fn seeds_next_to_each_other_have_nothing_in_common() {
        let [one, other] = [1, 2].map(|seed| Positions::poisson(1_000, f64::INFINITY, seed));
        let same = (0..1_000).filter(|nth| one.at(*nth).to_bits() == other.at(*nth).to_bits()).count();
        assert_eq!(same, 0);
    }
}
