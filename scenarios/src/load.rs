//! The shape of the load, as written: open or closed, in stages.
//!
//! What it comes to, arrival by arrival, is in [`crate::Schedule`].

use std::time::Duration;

/// What to do with an arrival when every slot is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// Start it when a slot frees; its response time still counts from when it was due.
    Wait,
    /// Drop it, and say so in the outcomes.
    Shed,
}

/// How arrivals of one rate are spaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Spacing {
    /// The n-th is due where the integral of the rate reaches n.
    #[default]
    Even,
    /// At random, as of many devices that know nothing of each other (a Poisson process), drawn from the seed.
    Poisson,
}

/// The shape of the load.
#[derive(Clone, Debug, PartialEq)]
pub enum Load {
    /// A number of devices in flight: the next starts when one finishes.
    Closed {
        /// One after the other, at least one; the last goes on until every arrival is done.
        stairs: Vec<Stair>,
    },
    /// Devices arrive whether or not the service keeps up.
    Open {
        /// One after the other, at least one. A single constant rate may go on until every device has come.
        stages: Vec<Stage>,
        /// How arrivals of one rate are spaced.
        spacing: Spacing,
        /// The most devices in flight at a time, at least 1.
        max_in_flight: usize,
        /// What happens to an arrival beyond that.
        when_full: WhenFull,
    },
}

/// A stretch of a closed load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stair {
    /// Devices in flight at a time, at least 1.
    pub in_flight: usize,
    /// For how long; the last one has no end, and only that.
    pub lasts: Option<Duration>,
}

/// A stretch of an open load. What scenarios write besides (steps, spikes, shifts) is made of these.
#[derive(Clone, Debug, PartialEq)]
pub enum Stage {
    /// One rate; 0 is a pause.
    Constant {
        /// Arrivals per second, finite and not negative.
        rate: f64,
        /// For how long; until every device has come where absent.
        lasts: Option<Duration>,
    },
    /// From one rate to another, evenly.
    Ramp {
        /// Arrivals per second at its start, finite and not negative.
        from: f64,
        /// Arrivals per second at its end, finite and not negative.
        to: f64,
        /// For how long.
        lasts: Duration,
    },
    /// Many at one moment.
    AtOnce {
        /// How many; all that are left where absent.
        devices: Option<u64>,
    },
    /// Arrivals as they were recorded: one time a line, from the start of the stage.
    Replay {
        /// The file, relative to the scenario.
        file: String,
    },
}

impl Load {
    /// The most devices in flight at a time.
    pub fn slots(&self) -> usize {
        match self {
            Self::Closed { stairs } => stairs.iter().map(|stair| stair.in_flight).max().unwrap_or(1),
            Self::Open { max_in_flight, .. } => *max_in_flight,
        }
    }

    /// Whether arrivals come by the clock and not by answers.
    pub const fn is_open(&self) -> bool {
        matches!(self, Self::Open { .. })
    }

    /// The files of recorded arrivals it names, in order.
    pub fn replays(&self) -> impl Iterator<Item = &str> {
        let stages = match self {
            Self::Closed { .. } => &[][..],
            Self::Open { stages, .. } => stages,
        };
        stages.iter().filter_map(|stage| match stage {
            Stage::Replay { file } => Some(file.as_str()),
            _ => None,
        })
    }
}
