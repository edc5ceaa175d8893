//! Holds what a fault holds until its moment has come, and hardly longer: the runtime's own timer counts in
//! milliseconds, which is a fifth of a latency of 5 ms.
//!
//! One thread of the mock's, started when something is held for the first time. It sleeps until shortly before the
//! next moment and wakes who waits, who watches the clock for the rest: on the way from one thread to the other more
//! time is lost than a sleep is late. Nothing goes on early. Watching costs a core, so only a share of the time goes
//! into it: a mock that is busy with short holds goes on late by that way, some 150 µs, before it takes the devices'
//! time.
//!
//! Bounded by the connections: each waits for one thing at a time, and what a connection leaves behind that ends
//! meanwhile is gone after [`LAST`], because only the end of a long hold waits here.

use super::clock;
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How much of a hold waits here, at most; what comes before waits on the runtime's timer.
const LAST: Duration = Duration::from_secs(1);
/// How long before its moment who waits is woken, to watch for it: more than a sleep is late, and the way to another
/// thread takes, on an idle machine.
const WATCH: Duration = Duration::from_micros(250);
/// One part in so many of the time may be spent watching.
const WATCHING: u32 = 8;
/// What may be spent at once after a quiet time.
const SAVED: Duration = Duration::from_millis(5);

/// Of so many held answers, and as many conversations, it is remembered how long they took.
const REMEMBERED: usize = 1 << 16;

/// Who is held, and the thread that lets them go. It ends when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    shared: Arc<Shared>,
    /// How long the first held answers took in truth.
    answers: Mutex<Vec<Duration>>,
    /// How long the first conversations with a held answer took.
    conversations: Mutex<Vec<Duration>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    held: BinaryHeap<Reverse<Held>>,
    /// A thread lets go of what is held.
    served: bool,
    closed: bool,
}

#[derive(Debug)]
struct Held {
    until: Instant,
    wake: oneshot::Sender<()>,
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.until == other.until
    }
}

impl Eq for Held {}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Held {
    fn cmp(&self, other: &Self) -> Ordering {
        self.until.cmp(&other.until)
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Holds {
    /// Returns `time` after `since`, never before.
    pub(crate) async fn hold(&self, since: Instant, time: Duration) {
        // Nobody lives to see what the clock cannot count to.
        let Some(until) = since.checked_add(time) else { return std::future::pending().await };
        if time > LAST {
            tokio::time::sleep_until((until - LAST).into()).await;
        }
        match self.wait(until) {
            // An error is a mock that ends, and its tasks with it.
            Some(woken) => {
                let _ = woken.await;
                while clock::instant() < until {
                    std::hint::spin_loop();
                }
            }
            None => tokio::time::sleep_until(until.into()).await,
        }
    }

    /// Notes that an answer has been written that was held, to what was read then.
    pub(crate) fn answered(&self, asked: Instant) {
        note(&self.answers, asked.elapsed());
    }

    /// Notes that the last answer has been written on a connection that was accepted then, one of whose answers was held.
    pub(crate) fn conversed(&self, accepted: Instant) {
        note(&self.conversations, accepted.elapsed());
    }

    /// How long held answers took in truth, from the request being read to the answer being written, in the order in
    /// which they were: the system wakes nobody on the dot, and judging takes its time.
    pub(crate) fn answers(&self) -> Vec<Duration> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How long conversations with held answers took, from the connection being accepted to the last answer being
    /// written.
    pub(crate) fn conversations(&self) -> Vec<Duration> {
        self.conversations.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Queues up; `None` where the system has no thread for it.
    fn wait(&self, until: Instant) -> Option<oneshot::Receiver<()>> {
        let (wake, woken) = oneshot::channel();
        let mut waiting = self.shared.waiting();
        if !waiting.served {
            waiting.served = self.start();
        }
        if !waiting.served {
            return None;
        }
        let first = waiting.held.peek().is_none_or(|Reverse(next)| until < next.until);
        waiting.held.push(Reverse(Held { until, wake }));
        drop(waiting);
        // For anything later the thread wakes in time by itself.
        if first {
            self.shared.changed.notify_one();
        }
        Some(woken)
    }

    fn start(&self) -> bool {
        let shared = self.shared.clone();
        let spawned = std::thread::Builder::new().name("holds".to_owned()).spawn(move || serve(&shared));
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        *thread = spawned.ok();
        thread.is_some()
    }
}

impl Drop for Holds {
    fn drop(&mut self) {
        self.shared.waiting().closed = true;
        self.shared.changed.notify_one();
        let thread = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

fn note(times: &Mutex<Vec<Duration>>, time: Duration) {
    let mut times = times.lock().unwrap_or_else(PoisonError::into_inner);
    if times.len() < REMEMBERED {
        times.push(time);
    }
}

/// Wakes each shortly before its moment, or when it has come, until closed.
fn serve(shared: &Shared) {
    let mut allowance = Allowance { saved: SAVED, at: clock::instant() };
    let mut waiting = shared.waiting();
    while !waiting.closed {
        let now = clock::instant();
        let Some(Reverse(next)) = waiting.held.peek() else {
            waiting = shared.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        let left = next.until.saturating_duration_since(now);
        let watch = if allowance.has(WATCH, now) { WATCH } else { Duration::ZERO };
        if left <= watch {
            allowance.spend(left);
            let due = waiting.held.pop();
            drop(waiting);
            // Nobody is there any more where the connection has ended meanwhile.
            due.map(|Reverse(held)| held.wake.send(()));
            waiting = shared.waiting();
        } else {
            let timed = shared.changed.wait_timeout(waiting, left - watch);
            waiting = timed.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// What may still be spent on watching.
struct Allowance {
    saved: Duration,
    at: Instant,
}

impl Allowance {
    /// Whether there is so much by now.
    fn has(&mut self, time: Duration, now: Instant) -> bool {
        let earned = now.saturating_duration_since(self.at) / WATCHING;
        (self.saved, self.at) = (self.saved.saturating_add(earned).min(SAVED), now);
        self.saved >= time
    }

    fn spend(&mut self, time: Duration) {
        self.saved = self.saved.saturating_sub(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(microseconds: u64) -> Duration {
        Duration::from_micros(microseconds)
    }

    #[tokio::test]
    async fn a_hold_is_never_short_and_what_was_held_is_remembered() {
        let holds = Holds::default();
        for time in [0, 1, 50, 149, 151, 500, 1_000, 1_500, 5_000, 20_000, 1_002_000].map(us) {
            let since = clock::instant();
            holds.hold(since, time).await;
            assert!(since.elapsed() >= time, "{time:?}");
            holds.answered(since);
        }
        let took = holds.answers();
        assert_eq!((took.len(), holds.conversations().len()), (11, 0));
        assert!(took[6] >= us(1_000) && took[10] >= us(1_002_000), "{took:?}");
        let long_ago = clock::instant() - us(5_000);
        holds.hold(long_ago, us(6_000)).await;
        assert!(long_ago.elapsed() >= us(6_000));
        holds.conversed(long_ago);
        assert!(holds.conversations()[0] >= us(6_000) && holds.answers().len() == 11);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn many_are_held_at_once_each_until_its_own_moment() {
        let holds = Arc::new(Holds::default());
        let start = clock::instant();
        // Shorter ones come after longer ones, and some after a while.
        let mut held = tokio::task::JoinSet::new();
        for n in 0..500_u64 {
            let (holds, time) = (holds.clone(), us(n * 7919 % 30_000));
            held.spawn(async move {
                holds.hold(start, time).await;
                assert!(start.elapsed() >= time, "{time:?}");
                let since = clock::instant();
                holds.hold(since, time / 2).await;
                assert!(since.elapsed() >= time / 2, "{time:?}");
            });
        }
        assert_eq!(held.join_all().await.len(), 500, "each held long enough");
        assert!(holds.shared.waiting().held.is_empty(), "nobody is left");
    }

    #[tokio::test]
    async fn the_thread_ends_with_its_holds_and_who_is_held_is_let_go() {
        let holds = Holds::default();
        assert!(holds.thread.lock().expect("whole").is_none(), "no thread before it is needed");
        let woken = holds.wait(clock::instant() + LAST * 60).expect("a thread");
        let shared = Arc::downgrade(&holds.shared);
        drop(holds);
        assert!(shared.upgrade().is_none(), "the thread had the other half");
        assert!(woken.await.is_err());
    }

    #[test]
    fn only_a_share_of_the_time_is_spent_watching() {
        let start = clock::instant();
        let mut allowance = Allowance { saved: SAVED, at: start };
        let spent = (0..100_000_u32).filter(|n| {
            let has = allowance.has(WATCH, start + us(100) * *n);
            if has {
                allowance.spend(WATCH);
            }
            has
        });
        // Ten seconds.
        let (spent, share) = (WATCH * spent.count() as u32, Duration::from_secs(10) / WATCHING);
        assert!((share..=share + SAVED).contains(&spent), "{spent:?}");
    }
}
