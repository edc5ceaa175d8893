//! The flags of `rollcall check`.

use super::fix::refuse_existing;
use crate::check::instance::{Given, GroupFile};
use crate::cli::operator::Connection;
use crate::cli::register::{Tls, Transport, some_time};
use crate::cli::{moment, now};
use crate::exit::Failure;
use clap::{Args, ValueEnum};
use sim_identity::preflight::{Purpose, Question};
use sim_identity::verdict::{Knob, Rules};
use sim_protocol::{IdScope, RegistrationId};
use std::path::PathBuf;
use std::time::Duration;
use time::OffsetDateTime;

const EXAMPLES: &str = "\
Examples:
  rollcall check device.pem --verified root.pem --group line-a=int.pem
  rollcall check device.pem --verified root.pem --group line-a=int.pem --fix-to repaired.pem
  rollcall check fleet --instance cas.json --instance groups.json --from 2026-09-01 --to 2026-12-31
  rollcall check device.pem --from-service --endpoint https://127.0.0.1:8443
  rollcall check device.pem --key device.key --instance cas.json \\
      --live --host localhost --id-scope 0ne00000001
  rollcall mint fleet … --stdout \\
      | rollcall check --each - --verified root.pem --group line-a=int.pem";

const NOTES: &str = "\
The state of an instance as the Azure CLI prints it; the second and third are in its extension
azure-iot, D and G stand for the names of the instance and its resource group:
  az iot dps certificate list -o json --dps-name D -g G > cas.json
  az iot dps enrollment-group list -o json --dps-name D -g G > groups.json
  az iot dps enrollment list -o json --dps-name D -g G > devices.json
--instance takes these, what `rollcall ca list`, `group list` and `enrollment list` print with --json, \
and the state file of a mock. The service lists CA certificates without their content: give the files \
that were uploaded with --ca, unless the devices send them.

In a directory of files REGISTRATION-ID.chain.pem, as `mint fleet` writes them, each device registers \
under that id; in other directories files that hold CA certificates alone are left out.

The first line of standard output is `accept` or `reject`, and nothing else; the exit status says the same.
Exit statuses: 0 accepted, 3 refused, 2 for what cannot be read. With --strict a warning is enough for 3; \
so is, in a batch, a file that cannot be read.";

/// `rollcall check`.
#[derive(Args, Clone, Debug)]
#[command(before_long_help = EXAMPLES, after_long_help = NOTES, mut_arg("dry_run", |arg| arg.hide(true)))]
pub struct CheckArgs {
    /// The chain: the first file may hold the leaf and what the device sends after it, further files are sent after
    /// that; - is standard input. A directory, a manifest (.csv, .jsonl), several files with --each, and the stream of
    /// `mint fleet --stdout` with --each - are a batch
    #[arg(value_name = "CHAIN", required = true)]
    pub chains: Vec<PathBuf>,
    /// Take each CHAIN for a chain of its own
    #[arg(long)]
    pub each: bool,
    /// Private key of the leaf: checks that the two belong together
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// File with the password of PKCS#12 files
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Registration id [default: the leaf's CN]
    #[arg(long, value_name = "ID")]
    pub registration_id: Option<RegistrationId>,
    /// What the instance holds.
    #[command(flatten)]
    pub instance: InstanceArgs,
    /// What is asked.
    #[command(flatten)]
    pub question: QuestionArgs,
    /// Write the corrected chain of one device, where reordering, dropping or completing suffices; CA certificates
    /// given with --ca are used for it
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub fix_to: Option<PathBuf>,
    /// Let --fix-to replace a file that exists
    #[arg(long, requires = "fix_to", help_heading = "Output")]
    pub force: bool,
    /// Count warnings as errors
    #[arg(long, help_heading = "Output")]
    pub strict: bool,
    /// Form of the result; --json is short for json
    #[arg(long, value_enum, default_value_t = Format::Text, conflicts_with = "json", help_heading = "Output")]
    pub format: Format,
    /// In a batch, a line for each refused device, the first N of them [default: 20]
    #[arg(
        long,
        value_name = "N",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "20",
        help_heading = "Output"
    )]
    pub list: Option<usize>,
    /// One real registration.
    #[command(flatten)]
    pub canary: CanaryArgs,
    /// The service to read from, with --from-service.
    #[command(flatten)]
    pub connection: Connection,
}

/// What the instance holds.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Instance")]
pub struct InstanceArgs {
    /// A CA certificate that is uploaded and verified; can be repeated
    #[arg(long, value_name = "FILE")]
    pub verified: Vec<PathBuf>,
    /// A CA certificate that the instance may hold: puts content to what an export lists by thumbprint alone, and
    /// completes chains; can be repeated
    #[arg(long, value_name = "FILE")]
    pub ca: Vec<PathBuf>,
    /// An enrollment group on a CA certificate; `:disabled` after the file if it is; can be repeated
    #[arg(long, value_name = "NAME=FILE[:disabled]", value_parser = str::parse::<GroupFile>)]
    pub group: Vec<GroupFile>,
    /// State of an instance: JSON of the Azure CLI or of this program, or a mock's state file; can be repeated
    #[arg(long, value_name = "FILE")]
    pub instance: Vec<PathBuf>,
    /// Read the state from the service that the connection's flags name
    #[arg(long)]
    pub from_service: bool,
}

/// What is asked.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Question")]
pub struct QuestionArgs {
    /// As of when: RFC 3339, or a date [default: now]
    #[arg(long, value_name = "TIME", value_parser = existing_moment)]
    pub at: Option<OffsetDateTime>,
    /// First moment of the rollout
    #[arg(long, value_name = "TIME", value_parser = existing_moment)]
    pub from: Option<OffsetDateTime>,
    /// Last moment of the rollout; a date is its last second
    #[arg(long, value_name = "TIME", value_parser = last_moment)]
    pub to: Option<OffsetDateTime>,
    /// How long after that an expiry is still worth a warning
    #[arg(long, value_name = "DURATION", default_value = "90d", value_parser = parse_margin)]
    pub margin: Duration,
    /// What the chain is for; `any` leaves extended key usage aside where no group or enrollment is asked for
    #[arg(long, value_enum, default_value_t = Use::Client)]
    pub purpose: Use,
    /// What the device has room for; `constrained` is 4 KB of chain
    #[arg(long, value_enum, default_value_t = Profile::Standard)]
    pub profile: Profile,
    /// Decide something that is not known of the service; `rollcall explain knobs` lists them; can be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = knob)]
    pub knob: Vec<(Knob, String)>,
}

/// One real registration with the chain.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Canary: one real registration, with --live")]
pub struct CanaryArgs {
    /// Host name or address of the device endpoint
    #[arg(long, value_name = "HOST", requires_all = ["live", "id_scope", "key"])]
    pub host: Option<String>,
    /// Port of the service [default: 8883 for mqtt, 443 for mqtt-ws and https]
    #[arg(long, value_name = "PORT", requires = "host")]
    pub port: Option<u16>,
    /// Id scope of the instance
    #[arg(long, value_name = "SCOPE", requires = "host")]
    pub id_scope: Option<IdScope>,
    /// How the device speaks
    #[arg(long, value_enum, default_value_t = Transport::Mqtt)]
    pub transport: Transport,
    /// TLS versions to offer
    #[arg(long, value_enum, default_value_t = Tls::Any)]
    pub tls: Tls,
    /// The longest the attempt may take
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = some_time)]
    pub timeout: Duration,
}

/// Form of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// rollcall.check/1, in a batch rollcall.check-batch/1
    Json,
    /// SARIF 2.1.0, for code scanning
    Sarif,
    /// JUnit XML, for test reports
    Junit,
}

/// What the chain is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Use {
    /// A device that authenticates
    Client,
    /// Anything
    Any,
}

/// What a device has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Profile {
    /// As much as TLS allows
    Standard,
    /// 4 KB of chain
    Constrained,
}

/// A moment; says of a date that is written well whether it is the calendar that does not have it.
fn existing_moment(text: &str) -> Result<OffsetDateTime, String> {
    let day = text.split(['T', 't', ' ']).next().unwrap_or_default();
    let parts: Vec<&str> = day.split('-').collect();
    let digits = parts.iter().all(|part| part.bytes().all(|b| b.is_ascii_digit()));
    let is_written_well = digits && parts.iter().map(|part| part.len()).eq([4, 2, 2]);
    moment(text).map_err(|fault| match is_written_well && moment(day).is_err() {
        true => format!("there is no such day as {day}"),
        false => fault,
    })
}

fn last_moment(text: &str) -> Result<OffsetDateTime, String> {
    let first = existing_moment(text)?;
    let is_date = !text.contains(['T', 't', ' ']);
    Ok(if is_date { first + time::Duration::seconds(86_399) } else { first })
}

fn parse_margin(text: &str) -> Result<Duration, String> {
    sim_protocol::duration::parse_duration(text)
        .map_err(|fault| format!("{fault}; the units are ms, s, m, h and d: write 90d or 12h"))
}

fn knob(text: &str) -> Result<(Knob, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as NAME=VALUE")?;
    let (name, value) = (name.trim(), value.trim());
    Rules::default()
        .set(name, value)
        .map_err(|fault| format!("{fault}; `rollcall explain knobs` tells of all"))?;
    let knob = Knob::ALL.into_iter().find(|knob| knob.name() == name).ok_or("there is no such knob")?;
    Ok((knob, value.to_owned()))
}

impl InstanceArgs {
    /// What the flags say of the instance.
    pub(super) fn given(&self) -> Given {
        Given {
            verified: self.verified.clone(),
            authorities: self.ca.clone(),
            groups: self.group.clone(),
            exports: self.instance.clone(),
        }
    }
}

impl CheckArgs {
    /// The form of the result, `--json` taken into account.
    pub(super) fn form(&self) -> Format {
        if self.connection.json { Format::Json } else { self.format }
    }

    /// What can be told to be wrong before anything is read.
    pub(super) fn refuse_contradictions(&self) -> Result<(), Failure> {
        if self.connection.dry_run {
            return Err(Failure::usage("`check` has no --dry-run")
                .advise("It makes no call unless --from-service or --live with --host is given."));
        }
        if self.connection.live && self.canary.host.is_none() && !self.instance.from_service {
            return Err(Failure::usage("--live was given, and nobody to talk to").advise(
                "Add --host, --id-scope and --key for one real registration, or --from-service to read the instance.",
            ));
        }
        let QuestionArgs { at, from, to, .. } = &self.question;
        if self.canary.host.is_some() && [at, from, to].into_iter().any(Option::is_some) {
            return Err(Failure::usage(
                "a real registration is made now, and the question is for another moment",
            )
            .advise("Leave --at, --from and --to out, or check without --host."));
        }
        if let Some(path) = &self.fix_to {
            refuse_existing(path, self.force)?;
        }
        if let (Some(from), Some(to)) = (self.question.from, self.question.to)
            && from > to
        {
            return Err(
                Failure::usage("the rollout ends before it begins").advise("Exchange --from and --to.")
            );
        }
        Ok(())
    }

    /// What is asked of each chain.
    pub(super) fn question(&self) -> Result<Question, Failure> {
        let QuestionArgs { at, from, to, margin, purpose, profile, knob } = &self.question;
        let mut rules = Rules::default();
        for (knob, value) in knob {
            rules.set(knob.name(), value).map_err(Failure::usage)?;
        }
        let at = at.unwrap_or_else(now).unix_timestamp();
        let window = match (from, to) {
            (None, None) => None,
            (from, to) => {
                let from = from.map_or(at, OffsetDateTime::unix_timestamp);
                Some((from, to.map_or(from, OffsetDateTime::unix_timestamp)))
            }
        };
        Ok(Question {
            registration_id: self.registration_id.clone(),
            at,
            window,
            margin: i64::try_from(margin.as_secs()).unwrap_or(i64::MAX),
            purpose: match purpose {
                Use::Client => Purpose::Client,
                Use::Any => Purpose::Any,
            },
            constrained: *profile == Profile::Constrained,
            rules,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory as _, Parser};

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        check: CheckArgs,
    }

    fn parsed(line: &str) -> Result<CheckArgs, clap::Error> {
        Program::try_parse_from(["check"].into_iter().chain(line.split_whitespace())).map(|p| p.check)
    }

    #[test]
    fn the_spellings_of_the_contract_are_taken() {
        Program::command().debug_assert();
        for line in [
            "a.pem b.pem --key k --password-file p",
            "fleet --each --list",
            "fleet --list=100 --format junit",
            "a.pem --verified r --verified s --group g=i.pem --group h=j.pem:disabled --ca c --instance x --instance y",
            "a.pem --from-service --endpoint https://127.0.0.1:1",
            "a.pem --registration-id dev-1 --at 2026-06-01T08:00:00Z --from 2026-06-01 --to 2026-07-01 --margin 30d",
            "a.pem --purpose any --strict --profile constrained --knob leaf-v1=refuse --fix-to f --json",
            "a.pem --format sarif",
            "a.pem --key k --live --host h --port 1 --id-scope s --trust-root t --transport https --timeout 5s",
        ] {
            assert!(parsed(line).is_ok(), "{line}: {}", parsed(line).expect_err(line));
        }
    }

    #[test]
    fn what_has_no_meaning_is_refused() {
        for line in [
            "",
            "a.pem --group g",
            "a.pem --group g=",
            "a.pem --group g/h=i.pem",
            "a.pem --at yesterday",
            "a.pem --knob leaf-v1=maybe",
            "a.pem --knob leaf-v9=refuse",
            "a.pem --margin 90",
            "a.pem --force",
            "a.pem --at 2026-11-31",
            "a.pem --json --format junit",
            "a.pem --host h --id-scope s --key k",
            "a.pem --host h --id-scope s --live",
            "a.pem --host h --key k --live",
        ] {
            assert!(parsed(line).is_err(), "{line}");
        }
        for line in [
            "a.pem --live",
            "a.pem --dry-run",
            "a.pem --from 2026-07-01 --to 2026-06-01",
            "a.pem --key k --live --host h --id-scope s --at 2026-06-01",
            "a.pem --key k --live --host h --id-scope s --to 2026-06-01",
        ] {
            assert!(parsed(line).expect(line).refuse_contradictions().is_err(), "{line}");
        }
    }

    #[test]
    fn a_group_is_a_name_a_file_and_whether_it_is_disabled() {
        for (text, file, enabled) in
            [("g=c:/x.pem", "c:/x.pem", true), ("g=x.pem:disabled", "x.pem", false), ("g=a=b", "a=b", true)]
        {
            let flag: GroupFile = text.parse().expect(text);
            assert_eq!((flag.name.as_str(), flag.file, flag.enabled), ("g", file.into(), enabled));
        }
    }

    #[test]
    fn a_rollout_lasts_to_the_last_second_of_its_last_day() {
        let asked = |line: &str| parsed(line).expect(line).question().expect(line).window;
        assert_eq!(asked("a --at 1970-01-01"), None);
        assert_eq!(asked("a --at 1970-01-01 --to 1970-01-02"), Some((0, 2 * 86_400 - 1)));
        assert_eq!(asked("a --from 1970-01-02 --to 1970-01-02T00:00:09Z"), Some((86_400, 86_409)));
        assert_eq!(asked("a --from 1970-01-02"), Some((86_400, 86_400)));
    }
}
