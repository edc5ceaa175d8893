//! Whether the generator can be believed: what its threads needed and were denied, and what it ran out of.
//!
//! Meters read the system's own accounts; the verdict is pure. A run is called limited only where its times or its counts
//! say something of this machine that a reader would take for the service's doing.

use crate::collector::WorkerTimes;
use crate::recorder::Recorder;
use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

/// What the thread it was made in needs, lap by lap.
#[derive(Debug)]
pub struct ThreadMeter {
    /// The scheduler's account of this thread, kept open: reading it again costs a microsecond.
    account: Option<File>,
    cpu: Duration,
    waited: Option<Duration>,
}

impl ThreadMeter {
    /// Starts to measure the thread that calls this; laps are its own, too.
    pub fn new() -> Self {
        // `thread-self` is looked up when it is opened, so the file stays this thread's.
        let account = File::open("/proc/thread-self/schedstat").ok();
        let waited = account.as_ref().and_then(waited);
        ThreadMeter { account, cpu: thread_time(), waited }
    }

    /// What was needed since the last lap, which is `wall` ago.
    pub fn lap(&mut self, wall: Duration) -> WorkerTimes {
        let (cpu, waited) = (thread_time(), self.account.as_ref().and_then(waited));
        let times = WorkerTimes {
            wall,
            cpu: cpu.saturating_sub(self.cpu),
            starved: waited.zip(self.waited).map(|(now, before)| now.saturating_sub(before)),
        };
        (self.cpu, self.waited) = (cpu, waited);
        times
    }
}

impl Default for ThreadMeter {
    fn default() -> Self {
        Self::new()
    }
}

/// Processor time of the calling thread.
fn thread_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

/// Time that a thread could have run and was not let to.
fn waited(account: &File) -> Option<Duration> {
    // Three numbers of at most twenty digits.
    let mut bytes = [0; 80];
    let length = account.read_at(&mut bytes, 0).ok()?;
    run_queue_wait(std::str::from_utf8(bytes.get(..length)?).ok()?)
}

/// The second field of a schedstat (proc documentation of the kernel, "sched-stats"): nanoseconds on the run queue.
fn run_queue_wait(schedstat: &str) -> Option<Duration> {
    schedstat.split_whitespace().nth(1)?.parse().ok().map(Duration::from_nanos)
}

/// What the processors call themselves (proc_cpuinfo(5)), where the system tells.
pub fn cpu_model() -> Option<String> {
    field(&std::fs::read_to_string("/proc/cpuinfo").ok()?, "model name").map(str::to_owned)
}

/// The memory of this machine (proc_meminfo(5)), in bytes, where the system tells.
pub fn memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kilobytes: u64 = field(&text, "MemTotal")?.strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1_024)
}

/// The release of the kernel (proc_sys_kernel(5)), where the system tells.
pub fn kernel() -> Option<String> {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").ok().map(|text| text.trim().to_owned())
}

/// The value of the first line `name : value`.
fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim())
}

/// The most memory that this process ever had, in bytes, where the system tells.
pub fn peak_memory() -> Option<u64> {
    high_water(&std::fs::read_to_string("/proc/self/status").ok()?)
}

/// `VmHWM` of a process's status, in bytes (proc_pid_status(5): given in units of 1,024 bytes).
fn high_water(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1_024)
}

/// What one worker needed in one second of the run.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Which second, from 0.
    pub second: u64,
    /// What it needed.
    pub times: WorkerTimes,
}

/// What a verdict on the generator needs to know besides the times.
#[derive(Clone, Copy, Debug, Default)]
pub struct HealthFacts<'a> {
    /// Whether arrivals came by the clock.
    pub open: bool,
    /// Whether the service was in the same process.
    pub embedded: bool,
    /// Whether the service was on this machine, in this process or another.
    pub local: bool,
    /// How late arrivals may start, 99th percentile.
    pub lateness: Duration,
    /// The most arrivals that were due at one and the same moment.
    pub burst: u64,
    /// Outcomes that the journal could not take.
    pub journal_lost: u64,
    /// Why it could not, as far as the disk said.
    pub journal_fault: Option<&'a str>,
    /// How far the wall clock moved against the monotonic one, in milliseconds.
    pub clock_step_ms: i64,
    /// File descriptors the run needs, and the most it may have.
    pub descriptors: (u64, u64),
    /// Source addresses that connections were made from; 0 for the system's choice.
    pub source_addresses: u64,
    /// Threads that made the load.
    pub workers: usize,
    /// Attempts that ended because this machine had no source port for them.
    pub no_port: u64,
    /// Attempts that ended because this process had no file descriptor for them.
    pub no_descriptor: u64,
}

/// What is to be said of the generator.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Health {
    /// Whether it was the limit.
    pub limited: bool,
    /// Why, and what else to know; whole sentences, the grave ones first.
    pub findings: Vec<String>,
    /// How busy its threads were in the busiest tenth of the seconds, 0 to 1.
    pub cpu_share: Option<f64>,
    /// How much of the time they could have run and were not let to, over the run, 0 to 1.
    pub starved_share: Option<f64>,
}

impl Health {
    fn limit(&mut self, finding: String) {
        self.limited = true;
        self.findings.push(finding);
    }
}

/// `ours:` lateness below this share of the response time is no more than its third digit.
const LATE_SHARE: f64 = 0.05;
/// `ours:` what it takes a thread to start one arrival of a burst, with room to spare: a handshake's worth of processor
/// time.
const START: Duration = Duration::from_millis(1);
/// `ours:` beyond this arrivals did not come as planned, however slow the service was.
const LATE_AT_ANY_RATE: Duration = Duration::from_millis(250);
/// `ours:` threads that ran or waited to run for so much of a second had no time left in it. Above about 85 % of a core a
/// generator measures itself; what waits for a core is counted, so this is above that.
const SPENT: f64 = 0.9;
/// Whole seconds without which nothing is said of a share of them.
const ENOUGH_SECONDS: usize = 3;
/// `ours:` from here on it is worth a word that others used the processors.
const STARVED: f64 = 0.1;
/// `ours:` a clock that is disciplined slowly moves 0.5 ms a second at most; this is somebody setting it.
const CLOCK_STEP_MS: u64 = 50;

/// Says whether the generator was the limit.
///
/// - Out of source ports or descriptors: limited. A journal without room is told: the record lacks nothing.
/// - Open loads: limited when arrivals started later than they may (99th percentile of lateness, which does not count
///   waiting for a slot) and that is more than 5 % of the 99th percentile of the response time, or more than 250 ms. A
///   slow service leaves the generator idle, so it starts its arrivals in time; and where a response takes seconds, a few
///   milliseconds of ours hide nothing.
/// - Of arrivals that are due at one moment, only as many can be started at once as there are threads. A millisecond and
///   thread for each of the largest burst is told and no verdict: response times count from that moment and are right.
/// - Any load on a service outside: limited when the threads ran, or waited for a processor, for 90 % of the time in at
///   least half of the whole seconds, of which there must be three. With more time they would have asked for more.
/// - With the mock inside, client and service share the processors: a full one says nothing of either, so it is told and
///   no verdict. Lateness still is one.
/// - Steps of the wall clock are told: all times are from the monotonic clock.
pub fn judge(facts: &HealthFacts<'_>, total: &Recorder, samples: &[Sample]) -> Health {
    let seconds = whole_seconds(samples);
    let mut health =
        Health { cpu_share: cpu_share(&seconds), starved_share: starved_share(samples), ..Health::default() };
    shortages(facts, &mut health);
    if facts.open {
        lateness(facts, &total.clocks.lateness, &total.clocks.response, &mut health);
    }
    processors(facts, &seconds, &mut health);
    if facts.clock_step_ms.unsigned_abs() > CLOCK_STEP_MS {
        health.findings.push(format!(
            "The wall clock was moved by {} ms during the run; times are from the monotonic clock and not affected, \
             but compare moments with other machines' logs with care.",
            facts.clock_step_ms
        ));
    }
    health
}

fn shortages(facts: &HealthFacts<'_>, health: &mut Health) {
    let HealthFacts { no_port, no_descriptor, .. } = facts;
    if *no_port > 0 {
        let from = match facts.source_addresses {
            0 | 1 => "one source address".to_owned(),
            more => format!("{more} source addresses"),
        };
        health.limit(format!(
            "{no_port} attempts found no free source port on {from}: this machine was the limit. Give the run more \
             source addresses, or widen net.ipv4.ip_local_port_range."
        ));
    }
    if *no_descriptor > 0 {
        let (needed, limit) = facts.descriptors;
        health.limit(format!(
            "{no_descriptor} attempts found no free file descriptor ({needed} were reckoned with, {limit} are allowed): \
             this process was the limit. Raise `ulimit -n`, or split the run with --shard."
        ));
    }
    if facts.journal_lost > 0 {
        // The record was not made from it, and lacks nothing.
        health.findings.push(format!(
            "The journal could not take {} outcomes, which the record has: {}. Write it to a faster disk or one with \
             room, or do without it.",
            facts.journal_lost,
            facts.journal_fault.unwrap_or("the disk did not keep up")
        ));
    }
}

fn lateness(
    facts: &HealthFacts<'_>,
    lateness: &Histogram<u64>,
    response: &Histogram<u64>,
    health: &mut Health,
) {
    let late = p99(lateness);
    if late <= facts.lateness {
        return;
    }
    if late <= facts.lateness + in_burst(facts) {
        health.findings.push(format!(
            "One arrival in a hundred started at least {:.1} ms late, as {} arrivals were due at one moment: no client \
             starts so many at once. Response times count from that moment and are right; service times count from each \
             start.",
            milliseconds(late),
            facts.burst
        ));
        return;
    }
    let response = p99(response);
    let (late_ms, most_ms) = (milliseconds(late), milliseconds(facts.lateness + in_burst(facts)));
    let by = format!(
        "One arrival in a hundred started at least {late_ms:.1} ms late, {most_ms:.1} ms are allowed"
    );
    let beside = format!("the 99th percentile of the response time is {:.1} ms", milliseconds(response));
    if late > LATE_AT_ANY_RATE || late > response.mul_f64(LATE_SHARE) {
        health.limit(format!(
            "{by}, and {beside}: the generator did not keep to the schedule. Lower the rate, give it more processors, or \
             split the run with --shard over more machines."
        ));
    } else {
        health
            .findings
            .push(format!("{by}; {beside}, of which that is no more than 5 %, so the times stand."));
    }
}

/// How long the last of the largest burst has to wait for those before it.
fn in_burst(facts: &HealthFacts) -> Duration {
    let each = (facts.burst.saturating_sub(1) / facts.workers.max(1) as u64).min(u64::from(u32::MAX));
    START.saturating_mul(each as u32)
}

/// What all workers together did in one second.
#[derive(Clone, Copy, Debug)]
struct WholeSecond {
    /// Share of it that they ran, 0 to 1.
    busy: f64,
    /// Share of it that they waited for a processor, 0 to 1; 0 where the system does not tell.
    starved: f64,
}

fn processors(facts: &HealthFacts<'_>, seconds: &[WholeSecond], health: &mut Health) {
    let spent = seconds.iter().filter(|second| second.busy + second.starved >= SPENT).count();
    let all = seconds.len();
    let threads = match facts.workers {
        1 => "the generator's thread".to_owned(),
        workers => format!("the generator's {workers} threads"),
    };
    if all >= ENOUGH_SECONDS && spent * 2 >= all {
        let fact = format!(
            "In {spent} of {all} seconds {threads} ran or waited for a processor for 90 % of the time"
        );
        if facts.embedded {
            health.findings.push(format!(
                "{fact}; the mock shares this machine, so the processors limit both. Run the mock on another machine to \
                 tell them apart."
            ));
        } else {
            health.limit(format!(
                "{fact}: it could not have asked for more. Give it more processors, or split the run with --shard over \
                 more machines."
            ));
        }
    }
    if let Some(starved) = health.starved_share.filter(|share| *share >= STARVED) {
        let others = match facts {
            HealthFacts { embedded: true, .. } => {
                "the system let others, the mock among them; that is part of the times."
            }
            HealthFacts { local: true, .. } => {
                "the system let others, the service among them; that is part of the times. Stop what else runs on this \
                 machine, or move the mock to another machine."
            }
            _ => "the system let others; that is part of the times. Stop what else runs on this machine.",
        };
        health
            .findings
            .push(format!("For {:.0} % of the time {threads} could have run and {others}", starved * 100.0));
    }
}

/// The seconds of which at least half was measured: the last one, and what is left of one after a pause, say little.
fn whole_seconds(samples: &[Sample]) -> Vec<WholeSecond> {
    let mut seconds: BTreeMap<u64, (u32, WorkerTimes)> = BTreeMap::new();
    for Sample { second, times } in samples {
        let (threads, sum) = seconds.entry(*second).or_default();
        *threads += 1;
        sum.wall += times.wall;
        sum.cpu += times.cpu;
        sum.starved = Some(sum.starved.unwrap_or_default() + times.starved.unwrap_or_default());
    }
    let whole =
        seconds.into_values().filter(|(threads, sum)| sum.wall * 2 >= Duration::from_secs(1) * *threads);
    let shares = whole.map(|(_, sum)| WholeSecond {
        busy: share(sum.cpu, sum.wall),
        starved: share(sum.starved.unwrap_or_default(), sum.wall),
    });
    shares.collect()
}

/// The mean of the busiest tenth, at least of one.
fn cpu_share(seconds: &[WholeSecond]) -> Option<f64> {
    let mut busy: Vec<f64> = seconds.iter().map(|second| second.busy).collect();
    busy.sort_by(|a, b| b.total_cmp(a));
    busy.truncate(seconds.len().div_ceil(10));
    (!busy.is_empty()).then(|| busy.iter().sum::<f64>() / busy.len() as f64)
}

/// Over the samples whose system tells.
fn starved_share(samples: &[Sample]) -> Option<f64> {
    let told = samples.iter().filter_map(|sample| Some((sample.times.starved?, sample.times.wall)));
    let (starved, wall) =
        told.fold((Duration::ZERO, Duration::ZERO), |(starved, wall), (s, w)| (starved + s, wall + w));
    (!wall.is_zero()).then(|| share(starved, wall))
}

fn share(part: Duration, whole: Duration) -> f64 {
    (part.as_secs_f64() / whole.as_secs_f64()).min(1.0)
}

fn p99(times: &Histogram<u64>) -> Duration {
    Duration::from_nanos(times.value_at_quantile(0.99).min(times.max()))
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorder::record;

    const MS: Duration = Duration::from_millis(1);

    fn facts(open: bool, embedded: bool) -> HealthFacts<'static> {
        HealthFacts {
            open,
            embedded,
            local: embedded,
            lateness: 10 * MS,
            burst: 1,
            journal_lost: 0,
            journal_fault: None,
            clock_step_ms: 0,
            descriptors: (300, 1_024),
            source_addresses: 0,
            workers: 2,
            no_port: 0,
            no_descriptor: 0,
        }
    }

    /// Arrivals that all started so late and took so long, in milliseconds.
    fn recorder(late: u32, response: u32) -> Recorder {
        let mut recorder = Recorder::new(sim_device::now());
        record(&mut recorder.clocks.lateness, late * MS);
        record(&mut recorder.clocks.response, response * MS);
        recorder
    }

    /// A sample for each of two workers and each of so many seconds.
    fn samples(seconds: u64, busy_ms: u32, starved_ms: Option<u32>) -> Vec<Sample> {
        let times =
            WorkerTimes { wall: 1_000 * MS, cpu: busy_ms * MS, starved: starved_ms.map(|ms| ms * MS) };
        (0..2 * seconds).map(|n| Sample { second: n / 2, times }).collect()
    }

    #[test]
    fn late_arrivals_limit_a_run_unless_the_service_is_slower_by_far() {
        for (case, open, late, response, limited, findings) in [
            ("in time", true, 2, 5, false, 0),
            ("almost as late as it may be", true, 9, 12, false, 0),
            ("a client that others starve", true, 40, 60, true, 1),
            ("a slow service, arrivals in time", true, 3, 4_000, false, 0),
            ("a slow service, arrivals a little late", true, 40, 4_000, false, 1),
            ("a slow service, and a schedule not kept", true, 300, 20_000, true, 1),
            ("lateness is no matter of closed loads", false, 300, 20_000, false, 0),
        ] {
            for embedded in [false, true] {
                let health = judge(&facts(open, embedded), &recorder(late, response), &[]);
                assert_eq!((health.limited, health.findings.len()), (limited, findings), "{case}");
            }
        }
    }

    #[test]
    fn a_burst_is_started_as_fast_as_the_threads_can_and_no_verdict() {
        for (case, burst, workers, late, limited, findings) in [
            ("no burst", 1, 2, 89, true, 1),
            ("150 at one moment", 150, 2, 80, false, 1),
            ("150 at one moment, and in time", 150, 2, 9, false, 0),
            ("150 at one moment, far too late", 150, 2, 200, true, 1),
            ("on more threads", 150, 4, 80, true, 1),
            ("more than are waited for", 10_000, 2, 4_000, false, 1),
        ] {
            let facts = HealthFacts { burst, workers, ..facts(true, true) };
            let health = judge(&facts, &recorder(late, late + 5), &[]);
            assert_eq!((health.limited, health.findings.len()), (limited, findings), "{case}");
        }
        let endless = HealthFacts { burst: u64::MAX, workers: 0, ..facts(true, true) };
        assert!(!judge(&endless, &recorder(4_000, 4_005), &[]).limited);
    }

    #[test]
    fn who_else_used_the_processors_depends_on_where_the_service_is() {
        let told = |embedded, local| {
            let facts = HealthFacts { embedded, local, ..facts(false, false) };
            judge(&facts, &recorder(1, 5), &samples(10, 300, Some(200))).findings
        };
        let [inside, beside, away] = [told(true, true), told(false, true), told(false, false)];
        assert_eq!([inside.len(), beside.len(), away.len()], [1; 3]);
        assert!(inside != beside && beside != away && inside != away);
    }

    #[test]
    fn full_processors_limit_a_run_unless_the_mock_shares_them() {
        for (case, embedded, seconds, busy, starved, limited, findings) in [
            ("idle", false, 10, 100, Some(0), false, 0),
            ("busy with some room", false, 10, 850, Some(20), false, 0),
            ("busy all the time", false, 10, 950, None, true, 1),
            ("half busy, and starved of the rest", false, 10, 480, Some(470), true, 2),
            ("too short to tell", false, 2, 990, Some(0), false, 0),
            ("beside the mock", true, 10, 950, Some(0), false, 1),
            ("starved beside the mock", true, 10, 480, Some(470), false, 2),
            ("others were there, with room left", false, 10, 300, Some(200), false, 1),
        ] {
            for open in [false, true] {
                let health = judge(&facts(open, embedded), &recorder(1, 5), &samples(seconds, busy, starved));
                assert_eq!((health.limited, health.findings.len()), (limited, findings), "{case}");
            }
        }
    }

    #[test]
    fn half_of_the_seconds_decide() {
        for (busy, idle, limited) in [(5, 5, true), (4, 6, false)] {
            let mut all = samples(busy, 950, Some(0));
            let later = samples(idle, 100, Some(0));
            all.extend(later.into_iter().map(|sample| Sample { second: sample.second + busy, ..sample }));
            assert_eq!(judge(&facts(false, false), &recorder(1, 5), &all).limited, limited, "{busy}");
        }
    }

    #[test]
    fn shares_are_of_whole_seconds_and_their_busiest_tenth() {
        let mut all = samples(19, 200, Some(100));
        let second = |second, wall, cpu| Sample {
            second,
            times: WorkerTimes { wall: wall * MS, cpu: cpu * MS, starved: None },
        };
        all.extend([second(19, 1_000, 800), second(20, 100, 100)]);
        let health = judge(&facts(true, false), &recorder(1, 5), &all);
        let cpu = health.cpu_share.expect("whole seconds");
        assert!((cpu - 0.5).abs() < 1e-9, "the mean of 0.8 and 0.2, of twenty: {cpu}");
        let starved = health.starved_share.expect("told");
        assert!((starved - 0.1).abs() < 1e-9, "{starved}");
        let none = judge(&facts(true, false), &recorder(1, 5), &[]);
        assert_eq!((none.cpu_share, none.starved_share), (None, None));
    }

    #[test]
    fn what_the_machine_ran_out_of_limits_a_run_and_a_clock_step_does_not() {
        let calm = facts(true, true);
        for (facts, limited, findings) in [
            (calm, false, 0),
            (HealthFacts { no_port: 3, ..calm }, true, 1),
            (HealthFacts { no_descriptor: 1, ..calm }, true, 1),
            (HealthFacts { journal_lost: 1, ..calm }, false, 1),
            (HealthFacts { no_port: 3, journal_lost: 1, ..calm }, true, 2),
            (HealthFacts { clock_step_ms: 50, ..calm }, false, 0),
            (HealthFacts { clock_step_ms: -51, ..calm }, false, 1),
        ] {
            let health = judge(&facts, &recorder(1, 5), &[]);
            assert_eq!((health.limited, health.findings.len()), (limited, findings), "{facts:?}");
        }
    }

    #[test]
    fn accounts_of_the_system_are_read_or_left_out() {
        for (text, wanted) in [
            ("1029652455 1135050 23\n", Some(Duration::from_nanos(1_135_050))),
            ("0 0 1", Some(Duration::ZERO)),
            ("17", None),
            ("17 x 3", None),
            ("", None),
        ] {
            assert_eq!(run_queue_wait(text), wanted, "{text:?}");
        }
        for (text, wanted) in [
            ("Name:\tx\nVmHWM:\t    2108 kB\nVmRSS:\t 1 kB\n", Some(2_108 * 1_024)),
            ("VmRSS:\t 1 kB\n", None),
            ("VmHWM:\t 1 MB\n", None),
        ] {
            assert_eq!(high_water(text), wanted, "{text:?}");
        }
    }

    #[test]
    fn a_thread_that_works_is_seen_to_work_and_a_lap_forgets_the_one_before() {
        let mut meter = ThreadMeter::new();
        let begun = sim_device::now();
        let mut sum = 0_u64;
        while sim_device::now() - begun < 30 * MS {
            sum = sum.wrapping_mul(31).wrapping_add(7);
        }
        let busy = meter.lap(sim_device::now() - begun);
        let idle = meter.lap(MS);
        assert!(busy.cpu > MS && busy.cpu <= busy.wall + MS, "{busy:?} {sum}");
        assert!(idle.cpu < busy.cpu, "{idle:?}");
    }
}
