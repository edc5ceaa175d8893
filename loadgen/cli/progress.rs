//! How far something is that takes long: a bar on stderr, for people alone.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What is over sooner needs no progress bar.
const PATIENCE: Duration = Duration::from_secs(1);

/// A progress bar that appears when something takes long.
pub(crate) struct Progress {
    bar: ProgressBar,
    started: Instant,
    wanted: bool,
    shown: AtomicBool,
}

impl Progress {
    /// A bar for so many devices; without their number it counts.
    pub(crate) fn new(length: Option<u64>, started: Instant, wanted: bool) -> Self {
        let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::hidden());
        let template = match length {
            Some(_) => "{bar:40} {pos}/{len} devices  {per_sec}  {eta} left",
            None => "{spinner} {pos} devices  {per_sec}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Progress { bar, started, wanted, shown: AtomicBool::new(false) }
    }

    /// So many more devices are done.
    pub(crate) fn advance(&self, devices: u64) {
        self.bar.inc(devices);
        let due = self.wanted && !self.shown.load(Ordering::Relaxed) && self.started.elapsed() > PATIENCE;
        if due && !self.shown.swap(true, Ordering::Relaxed) {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
