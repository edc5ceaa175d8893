//! What is not known of the service, as choices: each has the default that is documented best.

use sim_identity::verdict::rules::KnobFault;
use sim_identity::verdict::{Knob, Rules};
use std::fmt;
use std::time::Duration;

/// The substatus of a registration that led to the same hub again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SameHub {
    /// `initialAssignment` to the device, which is what live tests keep seeing, and
    /// `reprovisionedToInitialAssignment` to operators.
    #[default]
    Initial,
    /// `reprovisionedToInitialAssignment` to both.
    Reprovisioned,
}

/// How a device is told that its enrollment is disabled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DisabledAnswer {
    /// 202, and `disabled` under 200 at the poll.
    #[default]
    Poll,
    /// 401 at the register.
    Register,
}

/// Where a credential is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RefuseAt {
    /// In the answer to the register.
    #[default]
    Register,
    /// By CONNACK 5, over MQTT.
    Connect,
}

/// What a register does to an operation of the same device that is not done yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Concurrent {
    /// It takes its place.
    #[default]
    Replace,
    /// It is refused with 409203.
    Conflict,
}

/// All knobs. `ours:` every default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Knobs {
    /// How chains are judged.
    pub rules: Rules,
    /// The substatus of a registration that led to the same hub again.
    pub same_hub: SameHub,
    /// How a device is told that its enrollment is disabled.
    pub disabled: DisabledAnswer,
    /// Where a credential is refused.
    pub refuse_at: RefuseAt,
    /// What a register does to an operation that is not done yet.
    pub concurrent: Concurrent,
    /// How long a verification code can be used; for ever when absent.
    pub code_lifetime: Option<Duration>,
}

/// Why a text does not set a knob.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKnob {
    /// Not `NAME=VALUE`.
    #[error("`{0}` is not NAME=VALUE")]
    Form(String),
    /// No such knob.
    #[error("there is no knob `{0}`; there are: {known}", known = known())]
    Name(String),
    /// A value it does not take.
    #[error("`{name}` cannot be `{value}`; it takes {takes}")]
    Value {
        /// The knob.
        name: &'static str,
        /// What was given.
        value: String,
        /// What it takes.
        takes: String,
    },
}

/// Every knob and what it takes, the default first.
pub fn known() -> String {
    let judge = Knob::ALL.map(|knob| format!("{knob}={}", knob.values()));
    format!("{NAMES}, {}", judge.join(", "))
}

/// The knobs that are not the judge's.
const NAMES: &str = "same-hub=initial|reprovisioned, disabled-at=poll|register, refuse-at=register|connect, \
concurrent=replace|conflict, code-lifetime=none|DURATION";

impl Knobs {
    /// Sets one of them, `NAME=VALUE`.
    pub fn set(&mut self, text: &str) -> Result<(), InvalidKnob> {
        let (name, value) = text.split_once('=').ok_or_else(|| InvalidKnob::Form(text.to_owned()))?;
        match name.trim() {
            "same-hub" => {
                let choices = [("initial", SameHub::Initial), ("reprovisioned", SameHub::Reprovisioned)];
                self.same_hub = pick("same-hub", value, &choices)?;
            }
            "disabled-at" => {
                let choices = [("poll", DisabledAnswer::Poll), ("register", DisabledAnswer::Register)];
                self.disabled = pick("disabled-at", value, &choices)?;
            }
            "refuse-at" => {
                let choices = [("register", RefuseAt::Register), ("connect", RefuseAt::Connect)];
                self.refuse_at = pick("refuse-at", value, &choices)?;
            }
            "concurrent" => {
                let choices = [("replace", Concurrent::Replace), ("conflict", Concurrent::Conflict)];
                self.concurrent = pick("concurrent", value, &choices)?;
            }
            "code-lifetime" => self.code_lifetime = lifetime(value)?,
            other => self.rules.set(other, value.trim()).map_err(|fault| match fault {
                KnobFault::Name(name) => InvalidKnob::Name(name),
                KnobFault::Value { name, found, takes } => InvalidKnob::Value { name, value: found, takes },
            })?,
        }
        Ok(())
    }
}

fn pick<T: Copy>(name: &'static str, value: &str, choices: &[(&str, T)]) -> Result<T, InvalidKnob> {
    let found = choices.iter().find(|(word, _)| *word == value.trim());
    let takes = || choices.iter().map(|(word, _)| format!("`{word}`")).collect::<Vec<_>>().join(" or ");
    found.map(|(_, choice)| *choice).ok_or_else(|| wrong(name, value, takes()))
}

fn lifetime(value: &str) -> Result<Option<Duration>, InvalidKnob> {
    if value.trim() == "none" {
        return Ok(None);
    }
    let duration = sim_protocol::duration::parse_duration(value.trim());
    let takes = |_| wrong("code-lifetime", value, "`none` or a duration such as `10m`".to_owned());
    duration.map(Some).map_err(takes)
}

fn wrong(name: &'static str, value: &str, takes: impl fmt::Display) -> InvalidKnob {
    InvalidKnob::Value { name, value: value.to_owned(), takes: takes.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_knob_takes_its_words_and_no_others() {
        let mut knobs = Knobs::default();
        for text in [
            "individual-fall-through=yes",
            "individual-chain=yes",
            "leaf-ca=accept",
            "same-hub=reprovisioned",
            "disabled-at=register",
            "refuse-at=connect",
            "concurrent=conflict",
            "code-lifetime=10m",
        ] {
            assert_eq!(knobs.set(text), Ok(()), "{text}");
        }
        let all = Knobs {
            rules: Rules {
                individual_fall_through: true,
                individual_chain: true,
                leaf_ca: true,
                ..Rules::default()
            },
            same_hub: SameHub::Reprovisioned,
            disabled: DisabledAnswer::Register,
            refuse_at: RefuseAt::Connect,
            concurrent: Concurrent::Conflict,
            code_lifetime: Some(Duration::from_secs(600)),
        };
        assert_eq!(knobs, all);
        assert!(matches!(knobs.set("same-hub"), Err(InvalidKnob::Form(_))));
        assert!(matches!(knobs.set("same-bub=initial"), Err(InvalidKnob::Name(_))));
        assert!(matches!(knobs.set("same-hub=never"), Err(InvalidKnob::Value { name: "same-hub", .. })));
        assert!(matches!(knobs.set("leaf-ca=maybe"), Err(InvalidKnob::Value { name: "leaf-ca", .. })));
        assert!(matches!(knobs.set("code-lifetime=10"), Err(InvalidKnob::Value { .. })));
    }
}
