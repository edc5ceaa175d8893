//! `rollcall mock`: serves the mock until it is stopped.

use super::output::Output;
use super::{random_seed, read_pair, stop_signal, write_file};
use crate::exit::{Exit, Failure};
use crate::stage::{ID_SCOPE, server_names, service_key};
use clap::{Args, ValueEnum};
use scenarios::parse_duration;
use serde::Serialize;
use sim_dps::{Mock, MockConfig, RegistrarConfig};
use sim_identity::authority::ServerIdentity;
use sim_identity::{Seed, pem};
use sim_protocol::IdScope;
use sim_protocol::sas::SharedKey;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// How the mock behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Profile {
    /// The documented limits of the service: 1,000 registrations a minute, 5 polls in 10 s per device
    Azure,
    /// No limits, for measuring
    Unlimited,
    /// No limits, but small shares of throttles, errors and lost connections
    Chaos,
}

/// `rollcall mock`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  rollcall mock --trust-root mock.pem
  rollcall mock --mqtts-port 0 --https-port 0 --management-port 0 --json")]
pub struct MockArgs {
    /// Address of the protocol ports
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub listen: IpAddr,
    /// Port of MQTT over TLS; 0 takes any free one
    #[arg(long, value_name = "PORT", default_value_t = 8883)]
    pub mqtts_port: u16,
    /// Port of the device, service and resource-manager APIs; 0 takes any free one
    #[arg(long, value_name = "PORT", default_value_t = 8443)]
    pub https_port: u16,
    /// Port of the ledger, always on 127.0.0.1; 0 takes any free one
    #[arg(long, value_name = "PORT", default_value_t = 8900)]
    pub management_port: u16,
    /// Id scope of the instance
    #[arg(long, value_name = "SCOPE", default_value = ID_SCOPE)]
    pub id_scope: IdScope,
    /// Quotas it keeps and faults it shows
    #[arg(long, value_enum, default_value_t = Profile::Unlimited)]
    pub profile: Profile,
    /// Keep CAs, groups and registrations in this file, and take them up again; in memory alone if absent
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// Write the root that signed the server certificate here, PEM
    #[arg(long, value_name = "FILE")]
    pub trust_root: Option<PathBuf>,
    /// One more name or address in the server certificate, beside localhost and 127.0.0.1; repeatable
    #[arg(long, value_name = "NAME")]
    pub name: Vec<String>,
    /// Server certificate to present, leaf first, with the root it chains to last; minted if absent
    #[arg(long, value_name = "FILE", requires = "server_key")]
    pub server_cert: Option<PathBuf>,
    /// Private key of the server certificate
    #[arg(long, value_name = "FILE", requires = "server_cert")]
    pub server_key: Option<PathBuf>,
    /// Key of the policy `provisioningserviceowner`, base64; made up if absent
    #[arg(long, value_name = "BASE64", env = "ROLLCALL_SERVICE_KEY", hide_env_values = true)]
    pub service_key: Option<String>,
    /// What a 202 asks devices to wait
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = parse_duration)]
    pub retry_after: Duration,
    /// How long an assignment takes
    #[arg(long, value_name = "DURATION", default_value = "0ms", value_parser = parse_duration)]
    pub assign_delay: Duration,
    /// A linked hub; repeatable
    #[arg(long, value_name = "HOST", default_value = "hub-1.azure-devices.net")]
    pub hub: Vec<String>,
    /// Draw everything the mock makes up, its keys and faults included, from this number; from entropy if absent
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Print one line of JSON when ready
    #[arg(long)]
    pub json: bool,
}

/// Serves until Ctrl-C or SIGTERM.
pub async fn run(args: MockArgs, output: Output) -> Result<Exit, Failure> {
    let seed = args.seed.map_or_else(random_seed, Seed::from_number);
    let key = match &args.service_key {
        Some(text) => SharedKey::from_base64(text).map_err(|fault| {
            Failure::usage(format!("cannot use the service key: {fault}"))
                .advise("Give 16 to 64 bytes as base64, or leave it out.")
        })?,
        None => service_key(&seed)?,
    };
    let profile = match args.profile {
        Profile::Azure => sim_dps::Profile::Azure,
        Profile::Unlimited => sim_dps::Profile::Unlimited,
        Profile::Chaos => sim_dps::Profile::Chaos,
    };
    let mock = Mock::spawn(MockConfig {
        listen: args.listen,
        mqtts_port: args.mqtts_port,
        https_port: args.https_port,
        management_port: args.management_port,
        names: server_names(&args.name),
        server: server(&args)?,
        service_key: key.clone(),
        registrar: RegistrarConfig {
            id_scope: args.id_scope.clone(),
            retry_after: args.retry_after,
            assign_delay: args.assign_delay,
            hubs: args.hub.clone(),
            profile,
            remembers: false,
        },
        state: args.state.clone(),
        seed,
    })
    .await?;
    if let Some(path) = &args.trust_root {
        write_file(path, pem::encode("CERTIFICATE", mock.trust_root()).as_bytes(), false)?;
    }
    announce(&args, &mock, &key, Output { json: args.json, ..output });
    stop_signal().await?;
    mock.shutdown().await;
    Ok(Exit::Good)
}

/// The server certificate that the flags name, if they name one.
fn server(args: &MockArgs) -> Result<Option<ServerIdentity>, Failure> {
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
}

fn announce(args: &MockArgs, mock: &Mock, key: &SharedKey, output: Output) {
    let trust_root = args.trust_root.as_ref().map(|p| p.display().to_string());
    output.json(&Ready {
        mqtts: mock.mqtts(),
        https: mock.https(),
        management: mock.management(),
        id_scope: &args.id_scope,
        trust_root: trust_root.as_deref(),
        service_key: key.to_base64(),
    });
    output.line(format_args!("mqtts        {}", mock.mqtts()));
    output.line(format_args!("https        {}", mock.https()));
    output.line(format_args!("management   http://{}/ledger", mock.management()));
    output.line(format_args!("id scope     {}", args.id_scope));
    output.line(format_args!(
        "trust root   {}",
        trust_root.as_deref().unwrap_or("(not written; see --trust-root)")
    ));
    output.line(format_args!("service key  {}", key.to_base64()));
    if !args.json {
        output.talk("Serving; stop with Ctrl-C.");
    }
}
