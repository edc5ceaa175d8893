//! How devices arrive: a schedule is data, computed from the shape of the load alone.
//!
//! Nothing sleeps here. The n-th arrival of a constant rate is due at n / rate, whatever happened
//! to the arrivals before it, so a stall can be charged to those that waited.

use std::time::Duration;

/// What to do with an arrival when every slot is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// Start it when a slot frees; its response time still counts from when it was due.
    Wait,
    /// Drop it, and say so in the outcomes.
    Shed,
}

/// The shape of the load.
#[derive(Clone, Debug, PartialEq)]
pub enum Load {
    /// A fixed number of devices in flight: the next starts when one finishes.
    Closed {
        /// Devices in flight at a time, at least 1.
        in_flight: usize,
    },
    /// Devices arrive at a rate whether or not the service keeps up.
    Open {
        /// Arrivals per second, finite and above 0.
        rate: f64,
        /// The most devices in flight at a time, at least 1.
        max_in_flight: usize,
        /// What happens to an arrival beyond that.
        when_full: WhenFull,
    },
}

/// One planned device and when it is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The index of the device, from 0.
    pub index: u64,
    /// When it is due, from the start of the run. 0 in a closed load, where a slot decides.
    pub due: Duration,
}

impl Load {
    /// The arrivals of `count` devices, in the order in which they are due.
    pub fn arrivals(&self, count: u64) -> impl Iterator<Item = Arrival> + use<> {
        let interval = self.interval();
        (0..count).map(move |index| Arrival { index, due: due(index, interval) })
    }

    /// When the arrival with this index is due, from the start; a closed load's as soon as a slot is free.
    pub fn due(&self, index: u64) -> Duration {
        due(index, self.interval())
    }

    fn interval(&self) -> f64 {
        match self {
            Self::Closed { .. } => 0.0,
            Self::Open { rate, .. } => rate.recip(),
        }
    }

    /// When the last of `count` devices is due, from the start; `None` where the service's pace decides.
    pub fn last_due(&self, count: u64) -> Option<Duration> {
        match self {
            Self::Closed { .. } => None,
            Self::Open { rate, .. } => Some(due(count.saturating_sub(1), rate.recip())),
        }
    }

    /// The most devices in flight at a time.
    pub fn slots(&self) -> usize {
        match self {
            Self::Closed { in_flight } => *in_flight,
            Self::Open { max_in_flight, .. } => *max_in_flight,
        }
    }
}

/// When the arrival with this index is due; beyond what a clock can hold it is due never.
fn due(index: u64, interval: f64) -> Duration {
    Duration::try_from_secs_f64(index as f64 * interval).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(rate: f64) -> Load {
        Load::Open { rate, max_in_flight: 1, when_full: WhenFull::Wait }
    }

    #[test]
    fn the_nth_arrival_of_a_rate_is_due_at_n_over_the_rate() {
        let arrivals: Vec<_> = open(4.0).arrivals(5).collect();
        let due: Vec<_> = arrivals.iter().map(|arrival| arrival.due.as_millis()).collect();
        assert_eq!(due, [0, 250, 500, 750, 1000]);
        assert_eq!(arrivals.last().map(|arrival| arrival.index), Some(4));
        assert_eq!(open(4.0).last_due(5), Some(Duration::from_secs(1)));
    }

    #[test]
    fn arrivals_do_not_drift_over_a_long_run() {
        let last = open(300.0).arrivals(1_000_001).last().expect("a million");
        assert!(last.due.abs_diff(Duration::from_secs_f64(1_000_000.0 / 300.0)) < Duration::from_micros(1));
    }

    #[test]
    fn a_closed_load_is_due_at_once() {
        let load = Load::Closed { in_flight: 2 };
        assert!(load.arrivals(3).all(|arrival| arrival.due == Duration::ZERO));
        assert_eq!((load.arrivals(3).count(), load.last_due(3), load.slots()), (3, None, 2));
    }

    #[test]
    fn a_rate_too_slow_for_the_clock_is_due_never() {
        assert_eq!(open(1e-300).arrivals(2).last().map(|arrival| arrival.due), Some(Duration::MAX));
    }
}
