//! `rollcall mock`: serves the mock until it is stopped.

use super::output::Output;
use super::run::raise_descriptors;
use super::secret::{Secret, SecretParser};
use super::{random_seed, read_file, read_pair, stop_signal, write_file};
use crate::exit::{Exit, Failure};
use clap::{Args, ValueEnum};
use scenarios::parse_duration;
use serde::Serialize;
use serde_json::Value;
use sim_dps::{Hub, Knobs, Limits, PolicyTerms, Server, ServerConfig};
use sim_identity::authority::ServerIdentity;
use sim_identity::{Seed, pem};
use sim_protocol::IdScope;
use sim_protocol::attestation::AllocationPolicy;
use sim_protocol::delay::Delay;
use sim_protocol::faults::{FaultRule, chaos};
use sim_protocol::sas::SharedKey;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How the mock behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Profile {
    /// The documented limits of the service: 1,000 registrations and operations a minute, 5 polls in 10 s per device
    Azure,
    /// No limits on rates, for measuring
    Unlimited,
    /// No limits on rates, but small shares of many faults at once
    Chaos,
}

/// How devices are spread over the hubs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Allocation {
    /// By a hash, in proportion to the hubs' weights
    Hashed,
    /// To the hub with the lowest declared latency
    GeoLatency,
    /// To the one hub that an enrollment names
    Static,
}

/// `rollcall mock`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  rollcall mock --trust-root mock.pem
  rollcall mock --mqtts-port 0 --https-port 0 --management-port 0 --json
  rollcall mock --profile azure --state mock.db --hub hub-1.example --hub hub-2.example,weight=3
  rollcall mock --faults faults.json --seed 7      where faults.json holds
    [{\"id\": \"throttle\", \"share\": 0.05, \"retry_after\": \"2s\"}, {\"id\": \"latency\", \"delay\": \"uniform 50ms..2s\"}]

Management, with `Authorization: Bearer TOKEN`: GET /ledger, /metrics, /trace/REGISTRATION-ID, /faults, /snapshot;
PUT /faults, /snapshot; DELETE /faults; POST /reset, /hubs/unlink. GET /health needs no token.")]
pub struct MockArgs {
    /// Address of the protocol ports
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub listen: IpAddr,
    /// Port of MQTT over TLS; 0 takes any free one
    #[arg(long, value_name = "PORT", default_value_t = 8883)]
    pub mqtts_port: u16,
    /// Port of the device, service and resource-manager APIs and of MQTT over WebSocket; 0 takes any free one
    #[arg(long, value_name = "PORT", default_value_t = 8443)]
    pub https_port: u16,
    /// Port of management, always on 127.0.0.1; 0 takes any free one
    #[arg(long, value_name = "PORT", default_value_t = 8900)]
    pub management_port: u16,
    /// File with what management asks for as a bearer token, made up if absent; ROLLCALL_MANAGEMENT_TOKEN holds it itself
    #[arg(long, value_name = "FILE", env = "ROLLCALL_MANAGEMENT_TOKEN", hide_env_values = true, value_parser = SecretParser)]
    pub management_token_file: Option<Secret>,
    /// Id scope of the instance
    #[arg(long, value_name = "SCOPE", default_value = sim_dps::shell::ID_SCOPE)]
    pub id_scope: IdScope,
    /// Quotas it keeps and faults it shows
    #[arg(long, value_enum, default_value_t = Profile::Unlimited)]
    pub profile: Profile,
    /// Register requests it takes in a minute; what the profile says if absent
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub registrations_per_minute: Option<u32>,
    /// What else goes wrong on purpose: a file with a JSON array of rules, as management takes them
    #[arg(long, value_name = "FILE")]
    pub faults: Option<PathBuf>,
    /// Keep CAs, enrollments and registrations in this file, and take them up again; in memory alone if absent
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// Write the root that signed the server certificate here, PEM
    #[arg(long, value_name = "FILE")]
    pub trust_root: Option<PathBuf>,
    /// One more name or address in the server certificate, beside localhost and 127.0.0.1; repeatable
    #[arg(long, value_name = "NAME")]
    pub name: Vec<String>,
    /// Give each TLS connection a ticket, and take connections up again by it; each is a full handshake if absent
    #[arg(long)]
    pub tickets: bool,
    /// Server certificate to present, leaf first, with the root it chains to last; minted if absent
    #[arg(long, value_name = "FILE", requires = "server_key")]
    pub server_cert: Option<PathBuf>,
    /// Private key of the server certificate
    #[arg(long, value_name = "FILE", requires = "server_cert")]
    pub server_key: Option<PathBuf>,
    /// Key of the policy `provisioningserviceowner`, base64; made up if absent
    #[arg(long, value_name = "BASE64", env = "ROLLCALL_SERVICE_KEY", hide_env_values = true)]
    pub service_key: Option<String>,
    /// One more policy of the service API, `reader=enrollment-read+registration-status-read`; repeatable
    #[arg(long, value_name = "NAME=RIGHT+RIGHT…")]
    pub policy: Vec<PolicyTerms>,
    /// Ask operators for no credential; on loopback alone
    #[arg(long)]
    pub no_auth: bool,
    /// What a 202 asks devices to wait
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = parse_duration)]
    pub retry_after: Duration,
    /// How long an assignment takes: `200ms`, `uniform 100ms..300ms`, `normal 200ms +- 50ms`, `exponential 200ms`
    #[arg(long, value_name = "DELAY", default_value = "0ms")]
    pub assign_delay: Delay,
    /// A linked hub, `HOST[,weight=1..1000][,latency=20ms][,apply=false]`; repeatable
    #[arg(long, value_name = "HUB", default_value = "hub-1.azure-devices.net")]
    pub hub: Vec<Hub>,
    /// How devices are spread over the hubs, unless their enrollment says otherwise
    #[arg(long, value_enum, default_value_t = Allocation::Hashed)]
    pub allocation_policy: Allocation,
    /// How long a custom allocation webhook may take
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = parse_duration)]
    pub webhook_timeout: Duration,
    /// Ask webhooks that are not on this machine, too
    #[arg(long)]
    pub live: bool,
    /// Decide what is not known of the service, `NAME=VALUE`; a wrong one lists them all; repeatable
    #[arg(long, value_name = "NAME=VALUE")]
    pub knob: Vec<String>,
    /// Draw everything the mock makes up, its keys and faults included, from this number; from entropy if absent. Keys
    /// follow from the number that a state file was begun with
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Print one line of JSON when ready
    #[arg(long)]
    pub json: bool,
}

/// Serves until Ctrl-C or SIGTERM.
pub async fn run(args: MockArgs, output: Output) -> Result<Exit, Failure> {
    raise_descriptors();
    let server = Server::spawn(config(&args)?).await?;
    if let Some(path) = &args.trust_root {
        write_file(path, pem::encode("CERTIFICATE", server.trust_root()).as_bytes(), false)?;
    }
    announce(&args, &server, Output { json: args.json, ..output });
    stop_signal().await?;
    server.shutdown().await;
    Ok(Exit::Good)
}

fn config(args: &MockArgs) -> Result<ServerConfig, Failure> {
    let seed = args.seed.map_or_else(random_seed, Seed::from_number);
    let key = args.service_key.as_deref().map(SharedKey::from_base64).transpose().map_err(|fault| {
        Failure::usage(format!("cannot use the service key: {fault}"))
            .advise("Give 16 to 64 bytes as base64, or leave it out.")
    })?;
    let mut config = ServerConfig::new(seed).map_err(Failure::unexpected)?;
    config.listen = args.listen;
    (config.mqtts_port, config.https_port) = (args.mqtts_port, args.https_port);
    config.management_port = args.management_port;
    let token =
        args.management_token_file.as_ref().map(|secret| secret.read("management token")).transpose()?;
    config.management_token = token.flatten();
    config.names.extend(args.name.iter().cloned());
    config.server = server_identity(args)?;
    config.tickets = args.tickets;
    config.service_key = key;
    config.policies.clone_from(&args.policy);
    config.no_auth = args.no_auth;
    config.webhook_timeout = args.webhook_timeout;
    config.webhooks_anywhere = args.live;
    config.state.clone_from(&args.state);
    config.faults = faults(args)?;
    let registrar = &mut config.registrar;
    registrar.id_scope = args.id_scope.clone();
    registrar.retry_after = args.retry_after;
    registrar.assign_delay = args.assign_delay;
    registrar.hubs.clone_from(&args.hub);
    registrar.allocation_policy = match args.allocation_policy {
        Allocation::Hashed => AllocationPolicy::Hashed,
        Allocation::GeoLatency => AllocationPolicy::GeoLatency,
        Allocation::Static => AllocationPolicy::Static,
    };
    if args.profile == Profile::Azure {
        registrar.limits = Limits::documented();
    }
    if args.registrations_per_minute.is_some() {
        registrar.limits.registrations_per_minute = args.registrations_per_minute;
    }
    registrar.knobs = knobs(&args.knob)?;
    Ok(config)
}

fn knobs(texts: &[String]) -> Result<Knobs, Failure> {
    let mut knobs = Knobs::default();
    let set =
        |text: &String| knobs.set(text).map_err(|fault| Failure::usage(format!("--knob {text}: {fault}")));
    texts.iter().try_for_each(set)?;
    Ok(knobs)
}

/// The faults of the profile, then those of the file.
fn faults(args: &MockArgs) -> Result<Vec<FaultRule>, Failure> {
    let mut rules = if args.profile == Profile::Chaos { chaos() } else { Vec::new() };
    if let Some(path) = &args.faults {
        rules.extend(read_faults(path)?);
    }
    Ok(rules)
}

fn read_faults(path: &Path) -> Result<Vec<FaultRule>, Failure> {
    let file = path.display();
    let wrong = |what: String| {
        Failure::usage(what).advise(
            "Give a JSON array of rules such as [{\"id\": \"throttle\", \"share\": 0.05}]; README lists them.",
        )
    };
    let bytes = read_file(path, "fault rules")?;
    let values: Vec<Value> = serde_json::from_slice(&bytes)
        .map_err(|e| wrong(format!("cannot read the fault rules in {file}: {e}")))?;
    let rule = |(at, value): (usize, &Value)| {
        FaultRule::parse(value).map_err(|e| wrong(format!("cannot use rule {} in {file}: {e}", at + 1)))
    };
    values.iter().enumerate().map(rule).collect()
}

/// The server certificate that the flags name, if they name one.
fn server_identity(args: &MockArgs) -> Result<Option<ServerIdentity>, Failure> {
    let (Some(cert), Some(key)) = (&args.server_cert, &args.server_key) else { return Ok(None) };
    let (chain, key) = read_pair(cert, key, "server certificate")?;
    let der: Vec<Vec<u8>> = chain.iter().map(|c| c.der().to_vec()).collect();
    // A file with one certificate is its own root: clients are to trust that one.
    let trust_root = der.last().cloned().unwrap_or_default();
    Ok(Some(ServerIdentity { trust_root, chain: der, key }))
}

/// The line that scripts wait for.
#[derive(Serialize)]
struct Ready<'a> {
    mqtts: SocketAddr,
    https: SocketAddr,
    management: SocketAddr,
    id_scope: &'a IdScope,
    trust_root: Option<&'a str>,
    service_key: String,
    management_token: &'a str,
    /// Primary keys of the policies beside the owner's, by name.
    policies: BTreeMap<&'a str, String>,
}

fn announce(args: &MockArgs, server: &Server, output: Output) {
    let trust_root = args.trust_root.as_ref().map(|p| p.display().to_string());
    let instance = server.instance();
    let keys = instance.policies().map(|policy| (policy.name.as_str(), policy.primary.to_base64()));
    let (owner, others): (Vec<_>, Vec<_>) =
        keys.partition(|(name, _)| *name == sim_protocol::sas::OWNER_POLICY);
    let service_key = owner.into_iter().map(|(_, key)| key).collect::<String>();
    let policies: BTreeMap<_, _> = others.into_iter().collect();
    output.line(format_args!("mqtts        {}", server.mqtts()));
    output.line(format_args!("https        {}", server.https()));
    output.line(format_args!("management   http://{}/ledger", server.management()));
    output.line(format_args!("id scope     {}", args.id_scope));
    output.line(format_args!(
        "trust root   {}",
        trust_root.as_deref().unwrap_or("(not written; see --trust-root)")
    ));
    output.line(format_args!("service key  {service_key}"));
    output.line(format_args!("token        {} (management)", instance.management_token()));
    for (name, key) in &policies {
        output.line(format_args!("policy       {name}: {key}"));
    }
    output.json(&Ready {
        mqtts: server.mqtts(),
        https: server.https(),
        management: server.management(),
        id_scope: &args.id_scope,
        trust_root: trust_root.as_deref(),
        service_key,
        management_token: instance.management_token(),
        policies,
    });
    if args.no_auth {
        output.warn("operators need no credential (--no-auth)".to_owned());
    }
    if !args.json {
        output.talk("Serving; stop with Ctrl-C.");
    }
}
