//! Keeps the machine calm while something is measured to microseconds.
//!
//! A processor with nothing to do is put to sleep, and on a shared machine its hypervisor gives it to somebody else; it
//! may take milliseconds until it runs again, and so does a thread behind others that got the processor first. That is
//! time a device waits and no meter's fault, but it hides what a calibration looks for.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// How often nothing is done between two looks at whether it is over.
const TURNS: u32 = 10_000;

/// As many threads as there are processors, that do nothing without pause. Anything else that wants a processor goes
/// before them. They end when this is dropped.
#[derive(Debug)]
pub(super) struct Awake {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Awake {
    /// Keeps so many processors awake; where no priority is low enough for that, none.
    pub(super) fn keep(processors: usize) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let thread = |_| {
            let over = over.clone();
            // Without a thread the machine is as it was.
            std::thread::Builder::new().name("awake".to_owned()).spawn(move || turn(&over)).ok()
        };
        let threads = (0..processors).filter_map(thread).collect();
        Awake { over, threads }
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // They cannot panic.
            let _ = thread.join();
        }
    }
}

fn turn(over: &AtomicBool) {
    if !yields_to_everybody() {
        return;
    }
    while !over.load(Ordering::Relaxed) {
        // Not with the instruction for spinning: hypervisors take it for a sign that the processor can be taken away.
        for turn in 0..TURNS {
            black_box(turn);
        }
    }
}

/// Lets the calling thread, and those it starts from then on, go before every thread that is not real-time: the policy
/// SCHED_RR at its lowest priority (sched(7)). Whether they may is [`goes_first`].
pub(super) fn go_first() {
    // Where it is not allowed, things stay as they are.
    let _ = policy::set(policy::FIRST);
}

/// Whether the calling thread goes before every thread that is not real-time.
pub(super) fn goes_first() -> bool {
    policy::is(policy::FIRST)
}

/// Gives the calling thread the policy SCHED_IDLE (sched(7)): below every other thread's, whatever the nice value.
fn yields_to_everybody() -> bool {
    policy::set(policy::LAST)
}

/// Of the calling thread.
#[cfg(target_os = "linux")]
mod policy {
    use thread_priority::{
        NormalThreadSchedulePolicy, RealtimeThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy,
        set_thread_priority_and_policy, thread_native_id, thread_schedule_policy,
    };

    pub(super) const FIRST: ThreadSchedulePolicy =
        ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::RoundRobin);
    pub(super) const LAST: ThreadSchedulePolicy =
        ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);

    pub(super) fn set(policy: ThreadSchedulePolicy) -> bool {
        set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, policy).is_ok()
    }

    pub(super) fn is(policy: ThreadSchedulePolicy) -> bool {
        thread_schedule_policy().is_ok_and(|own| own == policy)
    }
}

/// Others have no policy that is known to be below, or before, all else.
#[cfg(not(target_os = "linux"))]
mod policy {
    pub(super) const FIRST: () = ();
    pub(super) const LAST: () = ();

    pub(super) fn set((): ()) -> bool {
        false
    }

    pub(super) fn is((): ()) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// The policies of this process's threads of that name, from `/proc/PID/task/TID/stat` (proc_pid_stat(5), field 41).
    fn policies(name: &str) -> Vec<String> {
        let tasks = fs::read_dir("/proc/self/task").expect("Linux").flatten();
        let of = |stat: String| {
            let (before, rest) = stat.rsplit_once(") ")?;
            let policy = rest.split(' ').nth(38)?.to_owned();
            before.ends_with(&format!("({name}")).then_some(policy)
        };
        tasks.filter_map(|task| fs::read_to_string(task.path().join("stat")).ok()).filter_map(of).collect()
    }

    #[test]
    fn processors_are_kept_awake_by_threads_that_everything_else_goes_before_until_it_is_over() {
        const SCHED_IDLE: &str = "5";
        let awake = Awake::keep(2);
        for _ in 0..10_000 {
            if policies("awake") == [SCHED_IDLE; 2] {
                break;
            }
            std::thread::yield_now();
        }
        assert_eq!(policies("awake"), [SCHED_IDLE; 2]);
        drop(awake);
        assert_eq!(policies("awake"), [""; 0]);
    }

    #[test]
    fn who_goes_first_is_known_and_so_are_the_threads_it_starts() {
        const SCHED_RR: &str = "2";
        let named = |name: &str| std::thread::Builder::new().name(name.to_owned());
        // In a thread of its own: a test's is used again.
        let first = named("first").spawn(move || {
            let before = goes_first();
            go_first();
            let (own, started) = (goes_first(), named("started").spawn(|| policies("started")));
            (before, own, started.expect("a thread").join().expect("policies"))
        });
        let (before, own, started) = first.expect("a thread").join().expect("policies");
        assert!(!before, "nobody goes first by itself");
        // Not everybody may.
        assert_eq!(started == [SCHED_RR], own, "{started:?}");
    }
}
