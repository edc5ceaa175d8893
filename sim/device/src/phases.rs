//! The steps of an attempt, and what each took.

use std::fmt;
use std::time::Duration;

/// A step of an attempt, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// Looking the host name up; absent for addresses.
    Dns,
    /// TCP connect.
    Tcp,
    /// TLS handshake, as the client sees it: with TLS 1.3 the server judges the client's certificate after that, and
    /// this program's own flavour sends its last flight along with what it says next.
    Tls,
    /// WebSocket upgrade; absent for other transports.
    Upgrade,
    /// CONNECT to CONNACK; absent over HTTPS.
    Connect,
    /// SUBSCRIBE to SUBACK; absent over HTTPS.
    Subscribe,
    /// Register to its answer.
    Register,
    /// Waiting: because the service asked for it, or before something is tried again.
    Wait,
    /// A poll to its answer.
    Poll,
}

impl Phase {
    /// All of them, in order.
    pub const ALL: [Phase; 9] = [
        Self::Dns,
        Self::Tcp,
        Self::Tls,
        Self::Upgrade,
        Self::Connect,
        Self::Subscribe,
        Self::Register,
        Self::Wait,
        Self::Poll,
    ];

    /// The spelling in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Upgrade => "upgrade",
            Self::Connect => "connect",
            Self::Subscribe => "subscribe",
            Self::Register => "register",
            Self::Wait => "wait",
            Self::Poll => "poll",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// No time: the phase was not gone through.
const NEVER: u64 = u64::MAX;

/// How long each phase took, as far as the attempt got.
///
/// Small, because every device in flight has one: nanoseconds of the first time by [`Phase`], and a list for what
/// comes again.
#[derive(Clone, Debug)]
pub struct Phases {
    first: [u64; Phase::ALL.len()],
    again: Vec<(Phase, u64)>,
}

impl Default for Phases {
    fn default() -> Self {
        Phases { first: [NEVER; Phase::ALL.len()], again: Vec::new() }
    }
}

impl Phases {
    /// What a phase took the first time, if it was completed; all waits together.
    pub fn of(&self, phase: Phase) -> Option<Duration> {
        let took = self.first[phase as usize];
        (took != NEVER).then(|| Duration::from_nanos(took))
    }

    /// Every completed phase as often as it was gone through: the first times in the order of [`Phase`], then what
    /// retries, new connections and polls repeated. All waits are one entry.
    pub fn each(&self) -> impl Iterator<Item = (Phase, Duration)> + '_ {
        let first = Phase::ALL.into_iter().filter_map(|phase| Some((phase, self.of(phase)?)));
        first.chain(self.again.iter().map(|&(phase, took)| (phase, Duration::from_nanos(took))))
    }

    /// Every poll, in order.
    pub fn polls(&self) -> impl Iterator<Item = Duration> + '_ {
        self.each().filter(|(phase, _)| *phase == Phase::Poll).map(|(_, took)| took)
    }

    pub(crate) fn note(&mut self, phase: Phase, took: Duration) {
        // A phase that lasts 584 years is not told from one that never ended.
        let took = u64::try_from(took.as_nanos()).unwrap_or(NEVER);
        match (&mut self.first[phase as usize], phase) {
            (slot, _) if *slot == NEVER => *slot = took,
            (slot, Phase::Wait) => *slot = slot.saturating_add(took),
            _ => self.again.push((phase, took)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_repeated_is_listed_again_and_waits_add_up() {
        let mut phases = Phases::default();
        let ms = Duration::from_millis;
        assert_eq!(phases.each().count(), 0);
        for (phase, took) in [
            (Phase::Tcp, 1),
            (Phase::Register, 2),
            (Phase::Wait, 3),
            (Phase::Tcp, 4),
            (Phase::Wait, 5),
            (Phase::Poll, 0),
            (Phase::Poll, 7),
        ] {
            phases.note(phase, ms(took));
        }
        let each: Vec<_> = phases.each().collect();
        let expected = [
            (Phase::Tcp, ms(1)),
            (Phase::Register, ms(2)),
            (Phase::Wait, ms(8)),
            (Phase::Poll, ms(0)),
            (Phase::Tcp, ms(4)),
            (Phase::Poll, ms(7)),
        ];
        assert_eq!(each, expected);
        assert_eq!(phases.polls().collect::<Vec<_>>(), [ms(0), ms(7)]);
        assert_eq!((phases.of(Phase::Tcp), phases.of(Phase::Tls)), (Some(ms(1)), None));
    }
}
