//! `rollcall register`: one device, one attempt, every phase told.

use super::output::Output;
use super::{is_this_machine, read_identity, read_trust_roots};
use crate::exit::{Exit, Failure};
use clap::{Args, ValueEnum};
use scenarios::parse_duration;
use serde_json::{Value, json};
use sim_device::{
    Attempt, Device, Habits, Handshake, Outcome, Phase, Target, TlsVersions, Trust, attempt, base_config,
};
use sim_identity::DeviceIdentity;
use sim_protocol::{IdScope, RegistrationId};
use std::path::PathBuf;
use std::time::Duration;

/// How the device speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Transport {
    /// MQTT 3.1.1 over TLS
    Mqtt,
    /// MQTT 3.1.1 over WebSocket
    MqttWs,
    /// HTTPS
    Https,
}

/// Which TLS versions are offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Tls {
    /// 1.3 and 1.2
    Any,
    /// 1.2 alone
    #[value(name = "1.2")]
    V12,
    /// 1.3 alone
    #[value(name = "1.3")]
    V13,
}

/// `rollcall register`.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  rollcall register --host localhost --port 8883 --id-scope 0ne00000001 --trust-root mock.pem \\
      --cert fleet/dev-00000.chain.pem --key fleet/dev-00000.key.pem")]
pub struct RegisterArgs {
    /// Host name or address of the service
    #[arg(long, value_name = "HOST")]
    pub host: String,
    /// Port of the service [default: 8883 for mqtt, 443 for mqtt-ws and https]
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// Id scope of the instance
    #[arg(long, value_name = "SCOPE")]
    pub id_scope: IdScope,
    /// Certificate chain the device presents, leaf first
    #[arg(long, value_name = "CHAIN")]
    pub cert: PathBuf,
    /// Private key of the leaf
    #[arg(long, value_name = "KEY")]
    pub key: PathBuf,
    /// Root that signed the server's certificate; the public roots are trusted if absent
    #[arg(long, value_name = "FILE", env = "ROLLCALL_TRUST_ROOT")]
    pub trust_root: Option<PathBuf>,
    /// Registration id [default: the leaf's CN]
    #[arg(long, value_name = "ID")]
    pub registration_id: Option<RegistrationId>,
    /// How the device speaks
    #[arg(long, value_enum, default_value_t = Transport::Mqtt)]
    pub transport: Transport,
    /// TLS versions to offer
    #[arg(long, value_enum, default_value_t = Tls::Any)]
    pub tls: Tls,
    /// The longest the attempt may take
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = some_time)]
    pub timeout: Duration,
    /// Allow an address that is not on this machine
    #[arg(long)]
    pub live: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

pub(crate) fn some_time(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Ok(Duration::ZERO) => Err("an attempt needs some time".to_owned()),
        other => other.map_err(|fault| fault.to_string()),
    }
}

impl RegisterArgs {
    fn port(&self) -> u16 {
        let usual = if self.transport == Transport::Mqtt { 8883 } else { 443 };
        self.port.unwrap_or(usual)
    }
}

/// Makes the attempt.
pub async fn run(args: RegisterArgs, output: Output) -> Result<Exit, Failure> {
    stay_here(&args)?;
    let output = Output { json: args.json, ..output };
    let identity = read_identity(&args.cert, &args.key, args.registration_id.clone())?;
    let (device, made) = attempt_once(&args, identity).await?;
    tell(&args, &device, &made, output);
    if let Some(help) = advice(&made.outcome) {
        output.talk(format_args!("  help: {help}"));
    }
    conclude(&args, &made.outcome)
}

/// Refuses to talk to anybody who is not on this machine.
fn stay_here(args: &RegisterArgs) -> Result<(), Failure> {
    if args.live || is_this_machine(&args.host) {
        return Ok(());
    }
    Err(Failure::usage(format!("will not talk to {}: it is not on this machine", args.host))
        .advise("Add --live to allow it."))
}

/// One device, one attempt, at the service that the flags name.
pub(crate) async fn attempt_once(
    args: &RegisterArgs,
    identity: DeviceIdentity,
) -> Result<(Device, Attempt), Failure> {
    stay_here(args)?;
    let trust = match &args.trust_root {
        Some(path) => Trust::Roots(read_trust_roots(path)?),
        None => Trust::Public,
    };
    let versions = match args.tls {
        Tls::Any => TlsVersions::Any,
        Tls::V12 => TlsVersions::V12,
        Tls::V13 => TlsVersions::V13,
    };
    let target = Target {
        server_name: super::server_name(&args.host)?,
        transport: match args.transport {
            Transport::Mqtt => sim_device::Transport::Mqtt,
            Transport::MqttWs => sim_device::Transport::MqttWs,
            Transport::Https => sim_device::Transport::Https,
        },
        host: args.host.clone(),
        port: args.port(),
        address: None,
        id_scope: args.id_scope.clone(),
        tls: base_config(&trust, &Handshake { versions, ..Handshake::default() }).map_err(Failure::usage)?,
        timeout: args.timeout,
        habits: Habits::default(),
    };
    let device = Device { identity, session: None, draws: 0, tally: None };
    sim_device::warm_up(&target.tls);
    let made = attempt(&target, &device).await;
    Ok((device, made))
}

fn tell(args: &RegisterArgs, device: &Device, made: &Attempt, output: Output) {
    let micros = |d: Duration| u64::try_from(d.as_micros()).unwrap_or(u64::MAX);
    let phases: Vec<(String, Duration)> = made.phases.each().map(|(p, took)| (p.to_string(), took)).collect();
    let listed: Vec<Value> =
        phases.iter().map(|(name, took)| json!({ "phase": name, "us": micros(*took) })).collect();
    output.json(&json!({
        "schema": "rollcall.register/1",
        "registration_id": device.identity.registration_id,
        "outcome": describe(&made.outcome),
        "phases": listed,
        "service_time_us": micros(made.finished - made.started),
    }));
    output.line(format_args!("{} at {}:{}", device.identity.registration_id, args.host, args.port()));
    for (name, took) in &phases {
        output.line(format_args!("  {name:<10} {:>10.3} ms", took.as_secs_f64() * 1000.0));
    }
    output.line(format_args!("  {}", sentence(&made.outcome)));
}

/// The outcome as JSON: `kind` is the same word as in records.
pub(crate) fn describe(outcome: &Outcome) -> Value {
    match outcome {
        Outcome::Assigned(a) => {
            json!({ "kind": "assigned", "assigned_hub": a.hub, "device_id": a.device_id })
        }
        Outcome::Refused(r) => {
            json!({ "kind": "refused", "phase": r.phase.as_str(), "code": r.code, "message": r.message })
        }
        Outcome::Connected => json!({ "kind": "connected" }),
        Outcome::Disabled => json!({ "kind": "disabled" }),
        Outcome::Failed { code, message } => json!({ "kind": "failed", "code": code, "message": message }),
        Outcome::Throttled => json!({ "kind": "throttled" }),
        Outcome::Unreachable { phase, cause } => {
            json!({ "kind": "unreachable", "phase": phase.as_str(), "message": cause.as_str() })
        }
        Outcome::TimedOut { phase } => json!({ "kind": "timed-out", "phase": phase.as_str() }),
        Outcome::ProtocolError { phase, what } => {
            json!({ "kind": "protocol-error", "phase": phase.as_str(), "message": what })
        }
        Outcome::Shed => json!({ "kind": "shed" }),
        Outcome::Interrupted => json!({ "kind": "interrupted" }),
    }
}

/// The outcome in a phrase.
pub(crate) fn sentence(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Assigned(a) => format!("assigned to {} as {}", a.hub, a.device_id),
        Outcome::Refused(r) => {
            let code = r.code.map(|c| format!("{c} ")).unwrap_or_default();
            format!("refused at {}: {code}{}", r.phase, r.message)
        }
        Outcome::Connected => "connected".to_owned(),
        Outcome::Disabled => "disabled: the nearest enrollment lets nobody in".to_owned(),
        Outcome::Failed { code, message } => {
            format!("failed: {}{message}", code.map(|c| format!("{c} ")).unwrap_or_default())
        }
        Outcome::Throttled => "throttled until the time was up".to_owned(),
        Outcome::Unreachable { phase, cause } => format!("no conversation, at {phase}: {}", cause.as_str()),
        Outcome::TimedOut { phase } => format!("timed out waiting for {phase}"),
        Outcome::ProtocolError { phase, what } => {
            format!("the service broke the protocol at {phase}: {what}")
        }
        Outcome::Shed | Outcome::Interrupted => "not started".to_owned(),
    }
}

/// What to look at when the service says no; it does not say more than its code to a device.
fn advice(outcome: &Outcome) -> Option<&'static str> {
    Some(match outcome {
        Outcome::Refused(r) if r.code.is_some_and(|c| c / 1000 == 401) => {
            "Check the id scope, that the CA is verified (`rollcall ca list`), that the chain is sent up to it, that \
             a group is on it, and that the CN is the registration id."
        }
        Outcome::Refused(r) if r.code.is_some_and(|c| c / 1000 == 400) => "Check the registration id.",
        Outcome::Refused(r) if r.phase == Phase::Connect => {
            "The service refused the connection itself: for CONNACK 3 try again later, for 4 and 5 compare the id scope, \
             and the registration id with the certificate's CN."
        }
        Outcome::Disabled => {
            "Enable the nearest enrollment: `rollcall enrollment update ID --enable`, or `rollcall group update NAME \
             --enable`."
        }
        Outcome::Failed { code, .. } if code.is_some_and(|c| c / 1000 >= 500) => {
            "The service failed until --timeout was up; look at its health, or allow more time."
        }
        Outcome::Failed { .. } => {
            "The device was admitted, and no hub was found: look at the enrollment's hubs and allocation policy."
        }
        Outcome::Throttled => "More was asked than the quota allows; wait as long as the service says.",
        Outcome::TimedOut { phase: Phase::Wait } => "The service asked to wait longer than --timeout allows.",
        _ => return None,
    })
}

/// How the program ends.
pub(crate) fn conclude(args: &RegisterArgs, outcome: &Outcome) -> Result<Exit, Failure> {
    let place = format!("{}:{}", args.host, args.port());
    match outcome {
        Outcome::Assigned(_) | Outcome::Connected => Ok(Exit::Good),
        Outcome::Refused(_) | Outcome::Disabled | Outcome::Failed { .. } | Outcome::Throttled => {
            Ok(Exit::Refused)
        }
        Outcome::Unreachable { phase, cause } => Err(Failure::new(
            Exit::Unreachable,
            format!("cannot reach {place}, at {phase}: {}", cause.as_str()),
        )
        .advise("Check host, port and --trust-root, and that the service is running.")),
        Outcome::TimedOut { phase: Phase::Wait } => Ok(Exit::Unreachable),
        Outcome::TimedOut { phase } => {
            Err(Failure::new(Exit::Unreachable, format!("no answer from {place} while waiting for {phase}"))
                .advise("Check that the service is running, or allow more with --timeout."))
        }
        Outcome::ProtocolError { what, .. } => Err(Failure::unexpected(format!("{place} does not speak the protocol: it sent {what}"))
            .advise("Check that the port is that of the transport; a mock has one for mqtt and one for mqtt-ws and https.")),
        Outcome::Shed | Outcome::Interrupted => Ok(Exit::Unexpected),
    }
}
