//! The times of one phase: the numbers people read, and the histogram they came from.
//!
//! Histograms hold nanoseconds with 3 significant digits and add up without loss, which is how
//! shards are merged; they travel in the HDR V2 compressed form, as base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{
    DeserializeError, Deserializer, Serializer, V2DeflateSerializeError, V2DeflateSerializer,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How long a phase took, over all devices that went through it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PhaseStats {
    /// The phase: dns, tcp, tls, upgrade, connect, subscribe, register, wait, poll; or the name of a clock.
    pub phase: String,
    /// How many times it was gone through.
    pub count: u64,
    /// The median, in microseconds.
    pub p50_us: u64,
    /// The 90th percentile, in microseconds.
    pub p90_us: u64,
    /// The 99th percentile, in microseconds.
    pub p99_us: u64,
    /// The 99.9th percentile, in microseconds.
    pub p999_us: u64,
    /// The longest, in microseconds.
    pub max_us: u64,
    /// The mean, in microseconds.
    pub mean_us: f64,
    /// The unit of the histogram's values: `ns`.
    pub unit: String,
    /// All values: HDR histogram, V2 compressed, base64. Empty if there are none.
    pub histogram: String,
}

impl Default for PhaseStats {
    fn default() -> Self {
        let (phase, unit, histogram) = (String::new(), "ns".to_owned(), String::new());
        let (p50_us, p90_us, p99_us, p999_us, max_us) = (0, 0, 0, 0, 0);
        Self { phase, count: 0, p50_us, p90_us, p99_us, p999_us, max_us, mean_us: 0.0, unit, histogram }
    }
}

/// Why a histogram could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum HistogramError {
    /// It could not be added to another.
    #[error("the histogram cannot be added: {0}")]
    Add(#[from] hdrhistogram::AdditionError),
    /// It could not be written.
    #[error("the histogram cannot be written: {0}")]
    Write(#[from] V2DeflateSerializeError),
    /// It is no base64.
    #[error("the histogram is not base64: {0}")]
    Base64(#[from] base64::DecodeError),
    /// It is base64, and no histogram.
    #[error("the histogram cannot be read: {0}")]
    Read(#[from] DeserializeError),
    /// Its values are of a unit nobody knows.
    #[error("the histogram is in `{unit}`, not in `ns`")]
    Unit {
        /// The unit it names.
        unit: String,
    },
    /// An empty one could not be made.
    #[error("the histogram cannot be made: {0}")]
    Create(#[from] hdrhistogram::CreationError),
}

impl PhaseStats {
    /// The times of a phase, from a histogram of nanoseconds.
    pub fn from_histogram(phase: impl Into<String>, times: &Histogram<u64>) -> Result<Self, HistogramError> {
        let phase = phase.into();
        if times.is_empty() {
            return Ok(Self { phase, ..Self::default() });
        }
        let mut bytes = Vec::new();
        V2DeflateSerializer::new().serialize(times, &mut bytes)?;
        let at = |quantile| microseconds(times.value_at_quantile(quantile).min(times.max()));
        Ok(Self {
            phase,
            count: times.len(),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: microseconds(times.max()),
            mean_us: times.mean() / 1_000.0,
            histogram: STANDARD.encode(bytes),
            ..Self::default()
        })
    }

    /// The histogram the numbers came from, in nanoseconds. It takes any value, so others can be added to it.
    pub fn histogram(&self) -> Result<Histogram<u64>, HistogramError> {
        if self.unit != "ns" {
            return Err(HistogramError::Unit { unit: self.unit.clone() });
        }
        if self.histogram.is_empty() {
            return Ok(Histogram::new(3)?);
        }
        let bytes = STANDARD.decode(&self.histogram)?;
        let mut read: Histogram<u64> = Deserializer::new().deserialize(&mut bytes.as_slice())?;
        // One that is read has the bounds of what was written; one that is new grows.
        read.auto(true);
        Ok(read)
    }
}

/// Adds a histogram to the sum so far, which takes any value.
pub(crate) fn sum(
    sum: Option<Histogram<u64>>,
    more: &Histogram<u64>,
) -> Result<Histogram<u64>, HistogramError> {
    let mut sum = sum.map_or_else(|| Histogram::new(3), Ok)?;
    sum.add(more)?;
    Ok(sum)
}

/// Rounded to the nearest.
fn microseconds(nanoseconds: u64) -> u64 {
    nanoseconds.saturating_add(500) / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_survives_the_record_and_adds_up() {
        let mut times = Histogram::<u64>::new(3).expect("a histogram");
        for millisecond in 1..=1_000_u64 {
            times.record(millisecond * 1_000_000).expect("in range");
        }
        let stats = PhaseStats::from_histogram("tls", &times).expect("stats");
        for (found, expected) in [
            (stats.p50_us, 500_000),
            (stats.p90_us, 900_000),
            (stats.p99_us, 990_000),
            (stats.max_us, 1_000_000),
        ] {
            assert!(found.abs_diff(expected) <= expected / 1_000, "{found} for {expected}");
        }
        assert!((stats.mean_us - 500_500.0).abs() < 501.0, "{}", stats.mean_us);
        let mut read = stats.histogram().expect("a histogram");
        assert_eq!(read, times);
        read.add(&times).expect("same bounds");
        assert_eq!((read.len(), stats.count), (2_000, 1_000));
    }

    #[test]
    fn longer_times_can_be_added_to_those_that_were_read() {
        let stats = |millisecond: u64| {
            let mut times = Histogram::<u64>::new(3).expect("a histogram");
            times.record(millisecond * 1_000_000).expect("in range");
            PhaseStats::from_histogram("tls", &times).expect("stats")
        };
        let mut read = stats(1).histogram().expect("a histogram");
        read.add(stats(60_000).histogram().expect("a histogram")).expect("it grows");
        read.record(3_600_000_000_000).expect("it grows");
        assert_eq!(read.len(), 3);
    }

    #[test]
    fn an_empty_histogram_is_read_back_empty() {
        let none = Histogram::<u64>::new(3).expect("a histogram");
        let stats = PhaseStats::from_histogram("dns", &none).expect("stats");
        assert_eq!((stats.count, stats.max_us, stats.histogram.as_str()), (0, 0, ""));
        assert!(stats.histogram().expect("a histogram").is_empty());
    }

    #[test]
    fn what_is_no_histogram_is_refused() {
        let stats = |unit: &str, histogram: &str| PhaseStats {
            unit: unit.to_owned(),
            histogram: histogram.to_owned(),
            ..PhaseStats::default()
        };
        assert!(matches!(stats("us", "").histogram(), Err(HistogramError::Unit { .. })));
        assert!(matches!(stats("ns", "%").histogram(), Err(HistogramError::Base64(_))));
        assert!(matches!(stats("ns", "AAAA").histogram(), Err(HistogramError::Read(_))));
    }
}
