//! `[limits]`: what is given up on, and when.

use super::{DAY, SHORTEST};
use crate::kind::{duration, one_of};
use crate::reader::Section;
use crate::scenario::{GeneratorLimit, Limits, PhaseTimeouts};
use std::time::Duration;

pub(super) fn limits(mut section: Section<'_>) -> Option<Limits> {
    let grace = section.or("grace", Duration::from_secs(10), duration(Duration::ZERO..=DAY));
    let attempt_timeout = section.or("attempt_timeout", Duration::from_secs(60), duration(SHORTEST..=DAY));
    let phase_timeouts = phase_timeouts(section.section("phase_timeouts"));
    let lateness = section.or("lateness", Duration::from_millis(50), duration(SHORTEST..=DAY));
    let choices = [("judge", GeneratorLimit::Judge), ("report", GeneratorLimit::Report)];
    let generator = section.or("generator", GeneratorLimit::Judge, one_of(&choices));
    section.close();
    Some(Limits {
        grace: grace?,
        attempt_timeout: attempt_timeout?,
        phase_timeouts: phase_timeouts?,
        lateness: lateness?,
        generator: generator?,
    })
}

fn phase_timeouts(mut section: Section<'_>) -> Option<PhaseTimeouts> {
    let mut timeout = |phase| section.optional(phase, duration(SHORTEST..=DAY));
    let (tcp, tls) = (timeout("tcp"), timeout("tls"));
    let (connect, subscribe) = (timeout("connect"), timeout("subscribe"));
    let (register, poll) = (timeout("register"), timeout("poll"));
    section.close();
    Some(PhaseTimeouts {
        tcp: tcp?,
        tls: tls?,
        connect: connect?,
        subscribe: subscribe?,
        register: register?,
        poll: poll?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::small::{assert_told, good, with};
    use super::*;

    #[test]
    fn each_phase_may_have_a_time_of_its_own() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let all =
            r#"{ tcp = "1s", tls = "2s", connect = "3s", subscribe = "4s", register = "5s", poll = "6s" }"#;
        let every = PhaseTimeouts {
            tcp: seconds(1),
            tls: seconds(2),
            connect: seconds(3),
            subscribe: seconds(4),
            register: seconds(5),
            poll: seconds(6),
        };
        for (lines, timeouts) in [
            ("[limits]".to_owned(), PhaseTimeouts::default()),
            (format!("[limits]\nphase_timeouts = {all}"), every),
            (
                "[limits.phase_timeouts]\ntls = \"10s\"".to_owned(),
                PhaseTimeouts { tls: seconds(10), ..PhaseTimeouts::default() },
            ),
        ] {
            assert_eq!(good(with(&lines)).limits.phase_timeouts, timeouts, "{lines}");
        }
    }

    #[test]
    fn the_generator_is_judged_by_how_late_it_is_unless_it_is_only_to_say_so() {
        for (lines, lateness, generator) in [
            ("[limits]", 50, GeneratorLimit::Judge),
            ("[limits]\nlateness = \"5ms\"\ngenerator = \"judge\"", 5, GeneratorLimit::Judge),
            ("[limits]\ngenerator = \"report\"", 50, GeneratorLimit::Report),
        ] {
            let limits = good(with(lines)).limits;
            assert_eq!((limits.lateness, limits.generator), (lateness * SHORTEST, generator), "{lines}");
        }
    }

    #[test]
    fn a_limit_that_is_none_is_told_where_it_stands() {
        for (lines, line, message, help) in [
            ("[limits]\nlateness = \"0ms\"", 15, "`lateness` must be between 1ms and 1d", ""),
            ("[limits]\nlateness = 50", 15, "`lateness` is no duration", "write \"50s\""),
            ("[limits]\ngenerator = \"raport\"", 15, "`generator` must be one of", "did you mean `report`?"),
            ("[limits]\nphase_timeouts = \"5s\"", 15, "`phase_timeouts` must be a table", "write `[limits."),
            ("[limits.phase_timeouts]\npoll = \"0s\"", 15, "`poll` must be between 1ms and 1d", ""),
            (
                "[limits.phase_timeouts]\ntlss = \"5s\"",
                15,
                "unknown key `limits.phase_timeouts.tlss`",
                "did you mean `tls`?",
            ),
            ("[limits.phase_timeouts]\ndns = \"5s\"", 15, "unknown key `limits.phase_timeouts.dns`", "known"),
        ] {
            assert_told(lines, with(lines), line, message, help);
        }
    }
}
