//! Which instance a verb talks to, and with which credentials.

use crate::cli::output::Output;
use crate::cli::read_file;
use crate::cli::secret::{Secret, SecretParser};
use crate::exit::Failure;
use clap::{Args, ValueEnum};
use sim_identity::{files, pem};
use sim_operator::{ConnectionString, Credential, Endpoint, Identity, Operator, TokenSource, is_loopback};
use sim_protocol::resource::InstancePath;
use sim_protocol::sas::{OWNER_POLICY, SharedKey};
use std::path::{Path, PathBuf};

/// Which instance to talk to, and with which credentials.
#[derive(Args, Clone, Debug)]
pub struct Connection {
    /// Address of the resource manager: `https://management.azure.com`, or the https address of the mock
    #[arg(long, value_name = "URL", env = "ROLLCALL_ENDPOINT", global = true, help_heading = "Connection")]
    pub endpoint: Option<String>,
    /// Address of the service API, `https://NAME.azure-devices-provisioning.net` [default: that of the connection
    /// string, or of --endpoint]
    #[arg(long, value_name = "URL", global = true, help_heading = "Connection")]
    pub service_endpoint: Option<String>,
    /// Root that signed the server's certificate; no other is trusted then
    #[arg(
        long,
        value_name = "FILE",
        env = "ROLLCALL_TRUST_ROOT",
        global = true,
        help_heading = "Connection"
    )]
    pub trust_root: Option<PathBuf>,
    /// Subscription of the instance [default: that of the mock]
    #[arg(long, value_name = "GUID", global = true, help_heading = "Connection")]
    pub subscription: Option<String>,
    /// Resource group of the instance [default: that of the mock]
    #[arg(long, value_name = "NAME", global = true, help_heading = "Connection")]
    pub resource_group: Option<String>,
    /// Name of the provisioning service [default: that of the mock]
    #[arg(long, value_name = "NAME", global = true, help_heading = "Connection")]
    pub service_name: Option<String>,
    /// Allow an address that is not on this machine
    #[arg(long, global = true, help_heading = "Connection")]
    pub live: bool,
    /// As whom.
    #[command(flatten)]
    pub credentials: Credentials,
    /// Print the calls that would be made, and make none, not even those that only read
    #[arg(long, global = true)]
    pub dry_run: bool,
    /// Print the result as JSON
    #[arg(long, global = true)]
    pub json: bool,
}

/// As whom to talk. A secret is in a file or in the environment: the command line can be read by all.
#[derive(Args, Clone, Debug)]
pub struct Credentials {
    /// File with the key of the policy, base64; ROLLCALL_SERVICE_KEY holds the key itself
    #[arg(long, value_name = "FILE", env = "ROLLCALL_SERVICE_KEY", hide_env_values = true, value_parser = SecretParser, global = true, help_heading = "Credentials")]
    pub service_key_file: Option<Secret>,
    /// File with `HostName=…;SharedAccessKeyName=…;SharedAccessKey=…`: the address of the service API, a policy and
    /// its key at once; ROLLCALL_CONNECTION_STRING holds the string itself
    #[arg(long, value_name = "FILE", env = "ROLLCALL_CONNECTION_STRING", hide_env_values = true, value_parser = SecretParser, global = true, help_heading = "Credentials")]
    pub connection_string_file: Option<Secret>,
    /// Name of the policy whose key it is [default: that of the connection string, or provisioningserviceowner]
    #[arg(long, value_name = "NAME", global = true, help_heading = "Credentials")]
    pub policy: Option<String>,
    /// File with a bearer token for the resource manager, the mock takes any; ROLLCALL_TOKEN holds the token itself
    #[arg(long, value_name = "FILE", env = "ROLLCALL_TOKEN", hide_env_values = true, value_parser = SecretParser, global = true, help_heading = "Credentials")]
    pub token_file: Option<Secret>,
    /// Where bearer tokens come from when none is given [default: auto, where the service is not on this machine]
    #[arg(long, value_enum, global = true, help_heading = "Credentials")]
    pub credential: Option<Source>,
    /// Tenant of the application, for --credential env
    #[arg(long, value_name = "GUID", env = "AZURE_TENANT_ID", global = true, help_heading = "Credentials")]
    pub tenant_id: Option<String>,
    /// Client id of the application, or of the managed identity
    #[arg(long, value_name = "GUID", env = "AZURE_CLIENT_ID", global = true, help_heading = "Credentials")]
    pub client_id: Option<String>,
    /// File with the application's secret; AZURE_CLIENT_SECRET holds the secret itself
    #[arg(long, value_name = "FILE", env = "AZURE_CLIENT_SECRET", hide_env_values = true, value_parser = SecretParser, global = true, help_heading = "Credentials")]
    pub client_secret_file: Option<Secret>,
    /// File with the token of a Kubernetes service account, in place of a secret
    #[arg(
        long,
        value_name = "FILE",
        env = "AZURE_FEDERATED_TOKEN_FILE",
        global = true,
        help_heading = "Credentials"
    )]
    pub federated_token_file: Option<PathBuf>,
}

/// Where bearer tokens come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Source {
    /// An application, as AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET name it
    Env,
    /// Whoever is logged in with `az login`
    AzureCli,
    /// The identity of the machine
    ManagedIdentity,
    /// The first of those that gives one
    Auto,
}

impl From<Source> for TokenSource {
    fn from(source: Source) -> Self {
        match source {
            Source::Env => TokenSource::Environment,
            Source::AzureCli => TokenSource::AzureCli,
            Source::ManagedIdentity => TokenSource::ManagedIdentity,
            Source::Auto => TokenSource::Auto,
        }
    }
}

impl Connection {
    /// Where results go.
    pub(super) fn output(&self, output: Output) -> Output {
        Output { json: output.json || self.json, ..output }
    }
}

/// Prepares calls to the instance that the flags name; nothing is sent yet.
pub(crate) fn connect(connection: &Connection) -> Result<(Operator, Endpoint), Failure> {
    let endpoint = endpoint(connection)?;
    let operator = match connection.dry_run {
        true => Operator::rehearsing(endpoint.clone())?,
        false => Operator::new(endpoint.clone())?,
    };
    Ok((operator, endpoint))
}

/// What the flags name, if talking to it is allowed.
fn endpoint(connection: &Connection) -> Result<Endpoint, Failure> {
    let Connection { credentials, .. } = connection;
    let given = |text: &Option<String>| text.as_deref().filter(|text| !text.trim().is_empty()).map(whole_url);
    let signer = Signer::read(credentials)?;
    let service = given(&connection.service_endpoint).or(signer.service);
    let (resource_manager, service) = match (given(&connection.endpoint), service) {
        (Some(manager), service) => (manager.clone(), service.unwrap_or(manager)),
        (None, Some(service)) => (service.clone(), service),
        (None, None) => {
            return Err(Failure::usage("no endpoint was given").advise(
                "Give --endpoint https://127.0.0.1:8443, with the https port the mock prints, or set ROLLCALL_ENDPOINT.",
            ));
        }
    };
    let mock = InstancePath::default();
    let instance = InstancePath {
        subscription: connection.subscription.clone().unwrap_or(mock.subscription),
        resource_group: connection.resource_group.clone().unwrap_or(mock.resource_group),
        service: connection.service_name.clone().unwrap_or(mock.service),
    };
    let trust_root = connection.trust_root.as_deref().map(trust_root).transpose()?;
    let token = credentials.token_file.as_ref().map(|token| token.read("token")).transpose()?;
    let mut endpoint = Endpoint {
        instance,
        trust_root,
        service_key: signer.key,
        policy: signer.policy,
        bearer: token.flatten(),
        resource_manager,
        service,
        credential: None,
    };
    if !connection.live && !connection.dry_run {
        stay_here(&endpoint, credentials.credential)?;
    }
    let wanted = credentials.credential.or((!endpoint.is_local()).then_some(Source::Auto));
    endpoint.credential = wanted.map(|source| credential(source, credentials)).transpose()?;
    Ok(endpoint)
}

/// Refuses to talk to anybody who is not on this machine.
fn stay_here(endpoint: &Endpoint, source: Option<Source>) -> Result<(), Failure> {
    let away = [&endpoint.resource_manager, &endpoint.service].into_iter().find(|url| !is_loopback(url));
    let fault = match (away, source) {
        (Some(url), _) => format!("will not talk to {url}: it is not on this machine"),
        (None, Some(_)) => "will not ask for a token: who gives it is not on this machine".to_owned(),
        (None, None) => return Ok(()),
    };
    Err(Failure::usage(fault).advise("Add --live to allow it."))
}

fn credential(source: Source, credentials: &Credentials) -> Result<Credential, Failure> {
    let filled = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
    let secret = credentials.client_secret_file.as_ref();
    let identity = Identity {
        tenant: filled(&credentials.tenant_id),
        client: filled(&credentials.client_id),
        secret: secret.map(|secret| secret.read("client secret")).transpose()?.flatten(),
        token_file: credentials.federated_token_file.clone().filter(|path| !path.as_os_str().is_empty()),
    };
    Ok(Credential { source: source.into(), identity })
}

/// Who signs for the service API.
struct Signer {
    /// Address of the service API, where the connection string names one.
    service: Option<String>,
    policy: String,
    key: Option<SharedKey>,
}

impl Signer {
    /// A flag counts for more than the environment, and a connection string for more than a key, because it says
    /// where its key is good.
    fn read(credentials: &Credentials) -> Result<Self, Failure> {
        let Credentials { service_key_file, connection_string_file, policy, .. } = credentials;
        let named = |secret: &Option<Secret>| secret.as_ref().is_some_and(Secret::is_named);
        if named(service_key_file) && named(connection_string_file) {
            return Err(Failure::usage("two keys were given, one of them in a connection string")
                .advise("Give --service-key-file or --connection-string-file."));
        }
        let string = connection_string_file.as_ref().filter(|_| !named(service_key_file));
        if let Some(text) = string.map(|string| string.read("connection string")).transpose()?.flatten() {
            let ConnectionString { host, policy: own, key } = text.parse().map_err(|fault| {
                Failure::usage(format!("cannot use the connection string: {fault}")).advise(
                    "Give it as the portal shows it: HostName=…;SharedAccessKeyName=…;SharedAccessKey=….",
                )
            })?;
            let policy = policy.clone().unwrap_or(own);
            return Ok(Signer { service: Some(whole_url(&host)), policy, key: Some(key) });
        }
        let text = service_key_file.as_ref().map(|key| key.read("service key")).transpose()?.flatten();
        let key = text.map(|text| SharedKey::from_base64(&text)).transpose().map_err(|fault| {
            Failure::usage(format!("cannot use the service key: {fault}")).advise(
                "Give the key as it was printed, base64, in --service-key-file or ROLLCALL_SERVICE_KEY.",
            )
        })?;
        let policy = policy.clone().unwrap_or_else(|| OWNER_POLICY.to_owned());
        Ok(Signer { service: None, policy, key })
    }
}

/// An address as the mock prints it, `127.0.0.1:8443`, is taken as well as a whole URL.
fn whole_url(text: &str) -> String {
    let text = text.trim();
    if text.contains("://") { text.to_owned() } else { format!("https://{text}") }
}

/// PEM of every certificate in a file, whatever form the file has.
fn trust_root(path: &Path) -> Result<Vec<u8>, Failure> {
    let bytes = read_file(path, "trust root")?;
    let roots = files::read_certificates(&path.display().to_string(), &bytes).map_err(Failure::usage)?;
    Ok(roots.iter().map(|root| pem::encode("CERTIFICATE", root.der())).collect::<String>().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        connection: Connection,
    }

    const KEY: &str = "c2VydmljZSBrZXkgb2YgdGhlIHRlc3Rz";
    const STRING: &str =
        "HostName=dps1.example.net;SharedAccessKeyName=reader;SharedAccessKey=MDEyMzQ1Njc4OWFiY2RlZg==";

    /// What the flags of a line come to, whatever the environment of the tests says.
    fn connection(line: &str) -> Connection {
        let words = ["rollcall"].into_iter().chain(line.split_whitespace());
        let Program { mut connection } = Program::try_parse_from(words).expect(line);
        let credentials = &mut connection.credentials;
        for secret in [
            &mut credentials.service_key_file,
            &mut credentials.connection_string_file,
            &mut credentials.token_file,
            &mut credentials.client_secret_file,
        ] {
            secret.take_if(|secret| !secret.is_named());
        }
        connection
    }

    #[test]
    fn an_address_off_this_machine_needs_live() {
        let refusal = |line: &str| endpoint(&connection(line)).map(drop).map_err(|failure| failure.exit);
        for (line, refused) in [
            ("--endpoint https://127.0.0.1:8443", false),
            ("--endpoint localhost:8443", false),
            ("--endpoint https://192.0.2.1", true),
            ("--endpoint https://127.0.0.1:1 --service-endpoint https://192.0.2.1", true),
            ("--endpoint https://192.0.2.1 --live", false),
            ("--endpoint https://192.0.2.1 --dry-run", false),
            ("--endpoint https://127.0.0.1:1 --credential azure-cli", true),
            ("--endpoint https://127.0.0.1:1 --credential azure-cli --live", false),
        ] {
            assert_eq!(refusal(line), if refused { Err(Exit::Usage) } else { Ok(()) }, "{line}");
        }
    }

    #[test]
    fn tokens_are_asked_for_only_where_the_service_is_elsewhere_or_the_user_says_so() {
        let source = |line: &str| {
            let endpoint = endpoint(&connection(line)).expect(line);
            endpoint.credential.map(|credential| credential.source)
        };
        assert_eq!(source("--endpoint https://127.0.0.1:1 --live"), None);
        assert_eq!(source("--endpoint https://192.0.2.1 --live"), Some(TokenSource::Auto));
        let chosen = "--endpoint https://192.0.2.1 --live --credential managed-identity";
        assert_eq!(source(chosen), Some(TokenSource::ManagedIdentity));
    }

    #[test]
    fn a_connection_string_says_where_as_whom_and_with_which_key() {
        let mut connection = connection("--endpoint https://127.0.0.1:1 --live");
        connection.credentials.connection_string_file = Some(Secret::given(STRING));
        connection.credentials.service_key_file = Some(Secret::given(KEY));
        let with_string = endpoint(&connection).expect("an endpoint");
        assert_eq!(with_string.service, "https://dps1.example.net");
        assert_eq!(with_string.resource_manager, "https://127.0.0.1:1");
        assert_eq!(with_string.policy, "reader");
        let key = with_string.service_key.expect("a key").to_base64();
        assert!(STRING.ends_with(&key));
        connection.live = false;
        assert_eq!(endpoint(&connection).map(drop).map_err(|failure| failure.exit), Err(Exit::Usage));
    }

    #[test]
    fn a_key_that_a_flag_names_counts_for_more_than_the_environment() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("key");
        std::fs::write(&path, KEY).expect("written");
        let line = format!("--endpoint https://127.0.0.1:1 --service-key-file {}", path.display());
        let mut connection = connection(&line);
        connection.credentials.connection_string_file = Some(Secret::given(STRING));
        let endpoint = endpoint(&connection).expect("an endpoint");
        assert_eq!(endpoint.service_key.expect("a key").to_base64(), KEY);
        assert_eq!(endpoint.policy, OWNER_POLICY);
    }

    #[test]
    fn a_bad_secret_is_refused_and_not_quoted() {
        for (key, string) in [(Some("%hush%"), None), (None, Some("HostName=h;SharedAccessKey=%hush%"))] {
            let mut connection = connection("--endpoint https://127.0.0.1:1");
            connection.credentials.service_key_file = key.map(Secret::given);
            connection.credentials.connection_string_file = string.map(Secret::given);
            let failure = endpoint(&connection).expect_err("no key");
            assert_eq!(failure.exit, Exit::Usage);
            assert!(!failure.message.contains("hush") && !format!("{connection:?}").contains("hush"));
        }
    }

    #[test]
    fn no_flag_takes_a_secret_itself() {
        for flag in ["--service-key", "--token", "--connection-string", "--client-secret"] {
            let parsed = Program::try_parse_from(["rollcall", flag, "hush"]);
            let refusal = parsed.expect_err(flag).to_string();
            assert!(!refusal.contains("hush"), "{refusal}");
        }
    }
}
