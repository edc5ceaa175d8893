//! Wakes a worker when its next arrival is due, to within tens of microseconds.
//!
//! The runtime's timer knows whole milliseconds, and rounds up: at a thousand arrivals a second every one of them would be
//! late by its own interval. The system's timer is exact, so a thread that does nothing else waits for it and wakes the
//! worker. Its cost is two switches of threads for an arrival that nobody else woke the worker for.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Moments that the thread may not have heard of yet: a worker waits for one at a time, and may have got on without it.
const AHEAD: usize = 16;

/// A worker's alarm clock.
#[derive(Debug)]
pub struct Pacer {
    alarms: Option<SyncSender<Instant>>,
    ring: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
    /// The moment the thread waits for.
    set: Option<Instant>,
}

impl Pacer {
    /// Starts the thread. Where the system has none, the runtime's timer has to do.
    pub fn start() -> Self {
        let (alarms, moments) = sync_channel(AHEAD);
        let ring = Arc::new(Notify::new());
        let bell = ring.clone();
        let thread =
            std::thread::Builder::new().name("pacer".to_owned()).spawn(move || tick(&moments, &bell));
        let thread = thread.ok();
        let alarms = thread.is_some().then_some(alarms);
        Pacer { alarms, ring, thread, set: None }
    }

    /// Until this moment. May be given up and asked for again; then it waits for the latest moment it was asked for.
    pub async fn until(&mut self, moment: Instant) {
        if self.set != Some(moment) && !self.arm(moment) {
            return tokio::time::sleep_until(moment.into()).await;
        }
        while sim_device::now() < moment {
            self.ring.notified().await;
        }
        self.set = None;
    }

    fn arm(&mut self, moment: Instant) -> bool {
        let armed = self.alarms.as_ref().is_some_and(|alarms| alarms.try_send(moment).is_ok());
        self.set = armed.then_some(moment);
        armed
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        self.alarms = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Rings at each moment, unless another one comes first.
fn tick(moments: &Receiver<Instant>, bell: &Notify) {
    let Ok(mut moment) = moments.recv() else { return };
    loop {
        let left = moment.saturating_duration_since(sim_device::now());
        let next =
            if left > Duration::ZERO { moments.recv_timeout(left) } else { Err(RecvTimeoutError::Timeout) };
        moment = match next {
            Ok(other) => other,
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                bell.notify_one();
                match moments.recv() {
                    Ok(other) => other,
                    Err(_) => return,
                }
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_never_rings_early_and_forgets_what_was_given_up() {
        let mut pacer = Pacer::start();
        let start = sim_device::now();
        let far = start + Duration::from_secs(3600);
        let waited = tokio::time::timeout(Duration::from_millis(5), pacer.until(far)).await;
        assert!(waited.is_err(), "an hour is not over");
        for step in 1..=20 {
            let moment = start + Duration::from_millis(5) + Duration::from_micros(700) * step;
            pacer.until(moment).await;
            assert!(sim_device::now() >= moment);
        }
        drop(pacer);
        assert!(start.elapsed() < Duration::from_secs(60), "its thread ends with it");
    }
}
