//! Bearer tokens of Microsoft Entra, got through the vendor's identity crate and kept while they are taken.

use crate::error::OperatorError;
use crate::exchange::secret;
use azure_core::credentials::{Secret, TokenCredential};
use azure_core::http::{ClientOptions, RetryOptions, Transport};
use azure_identity::{
    AzureCliCredential, ClientAssertionCredentialOptions, ClientSecretCredential,
    ClientSecretCredentialOptions, ManagedIdentityCredential, ManagedIdentityCredentialOptions,
    UserAssignedId, WorkloadIdentityCredential, WorkloadIdentityCredentialOptions,
};
use reqwest::header::HeaderValue;
use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What a token for the resource manager is good for.
pub(crate) const MANAGEMENT: &str = "https://management.azure.com/.default";
/// What a token for the service API is good for (DPS documentation, access control with Microsoft Entra ID).
pub(crate) const SERVICE: &str = "https://azure-devices-provisioning.net/.default";

/// Where there is no managed identity, its address swallows packets: waiting longer brings nothing.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const TOKEN_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest reason of the identity crate that is quoted.
const QUOTED: usize = 300;

/// Where tokens come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenSource {
    /// An application's secret or a pod's identity, as the environment names them.
    Environment,
    /// Whoever is logged in to the Azure CLI.
    AzureCli,
    /// The identity of the virtual machine or app service this runs on.
    ManagedIdentity,
    /// The first of those that gives one, in this order.
    Auto,
}

/// What the environment says of an application's identity.
#[derive(Clone, Default)]
pub struct Identity {
    /// `AZURE_TENANT_ID`
    pub tenant: Option<String>,
    /// `AZURE_CLIENT_ID`; for a managed identity, which of several.
    pub client: Option<String>,
    /// `AZURE_CLIENT_SECRET`
    pub secret: Option<String>,
    /// `AZURE_FEDERATED_TOKEN_FILE`
    pub token_file: Option<PathBuf>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("tenant", &self.tenant)
            .field("client", &self.client)
            .field("token_file", &self.token_file)
            .finish_non_exhaustive()
    }
}

/// How to get tokens: where from, and as whom.
#[derive(Clone, Debug)]
pub struct Credential {
    /// Where they come from.
    pub source: TokenSource,
    /// As whom, where the source asks.
    pub identity: Identity,
}

/// One source that was asked in vain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFault {
    /// Which.
    pub source: TokenSource,
    /// What was wrong with it.
    pub reason: String,
}

impl fmt::Display for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TokenSource::Environment => "the environment",
            TokenSource::AzureCli => "the Azure CLI",
            TokenSource::ManagedIdentity => "a managed identity",
            TokenSource::Auto => "any source",
        })
    }
}

impl fmt::Display for SourceFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.source, self.reason)
    }
}

/// A source as far as it could be set up.
type Prepared = (TokenSource, Result<Arc<dyn TokenCredential>, String>);

/// Gives tokens, and keeps each until the service will not have it any more.
pub(crate) struct Entra {
    sources: Vec<Prepared>,
    tokens: Mutex<HashMap<&'static str, HeaderValue>>,
}

impl Entra {
    /// Sets the sources up; nothing is asked yet.
    pub(crate) fn new(credential: &Credential) -> Self {
        let wanted: &[TokenSource] = match credential.source {
            TokenSource::Auto => {
                &[TokenSource::Environment, TokenSource::AzureCli, TokenSource::ManagedIdentity]
            }
            TokenSource::Environment => &[TokenSource::Environment],
            TokenSource::AzureCli => &[TokenSource::AzureCli],
            TokenSource::ManagedIdentity => &[TokenSource::ManagedIdentity],
        };
        let sources = wanted.iter().map(|&source| (source, prepare(source, &credential.identity))).collect();
        Entra { sources, tokens: Mutex::default() }
    }

    /// The header for a scope, from the first source that gives a token for it.
    pub(crate) async fn header(
        &self,
        scope: &'static str,
        attempted: &str,
    ) -> Result<HeaderValue, OperatorError> {
        if let Some(kept) = self.kept().get(scope) {
            return Ok(kept.clone());
        }
        let mut faults = Vec::new();
        for (source, prepared) in &self.sources {
            let given = match prepared {
                Ok(credential) => credential.get_token(&[scope], None).await.map_err(|e| legible(&e)),
                Err(reason) => Err(reason.clone()),
            };
            let header = given.and_then(|given| {
                secret(&format!("Bearer {}", given.token.secret()))
                    .ok_or_else(|| "its token has characters that no header can carry".to_owned())
            });
            match header {
                Ok(header) => {
                    self.kept().insert(scope, header.clone());
                    return Ok(header);
                }
                Err(reason) => faults.push(SourceFault { source: *source, reason }),
            }
        }
        Err(OperatorError::NoToken { attempted: attempted.to_owned(), faults })
    }

    /// Drops a token that the service would not have.
    pub(crate) fn forget(&self, scope: &str) {
        self.kept().remove(scope);
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, HashMap<&'static str, HeaderValue>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn prepare(source: TokenSource, identity: &Identity) -> Result<Arc<dyn TokenCredential>, String> {
    match source {
        TokenSource::AzureCli => Ok(AzureCliCredential::new(None).map_err(|e| legible(&e))?),
        TokenSource::ManagedIdentity => {
            let options = ManagedIdentityCredentialOptions {
                user_assigned_id: identity.client.clone().map(UserAssignedId::ClientId),
                client_options: client_options(true)?,
            };
            Ok(ManagedIdentityCredential::new(Some(options)).map_err(|e| legible(&e))?)
        }
        TokenSource::Environment | TokenSource::Auto => from_environment(identity),
    }
}

fn from_environment(identity: &Identity) -> Result<Arc<dyn TokenCredential>, String> {
    let set = |value: &Option<String>, name: &str| value.clone().ok_or_else(|| format!("{name} is not set"));
    let tenant = set(&identity.tenant, "AZURE_TENANT_ID")?;
    let client = set(&identity.client, "AZURE_CLIENT_ID")?;
    if let Some(secret) = &identity.secret {
        let options = ClientSecretCredentialOptions { client_options: client_options(false)? };
        let secret = Secret::new(secret.clone());
        let credential = ClientSecretCredential::new(&tenant, client, secret, Some(options));
        return Ok(credential.map_err(|e| legible(&e))?);
    }
    let Some(token_file) = identity.token_file.clone() else {
        return Err("neither AZURE_CLIENT_SECRET nor AZURE_FEDERATED_TOKEN_FILE is set".to_owned());
    };
    let options = WorkloadIdentityCredentialOptions {
        credential_options: ClientAssertionCredentialOptions { client_options: client_options(false)? },
        client_id: Some(client),
        tenant_id: Some(tenant),
        token_file_path: Some(token_file),
    };
    Ok(WorkloadIdentityCredential::new(Some(options)).map_err(|e| legible(&e))?)
}

/// A client that gives up in time. A managed identity lives beside the machine, never behind a proxy.
fn client_options(beside: bool) -> Result<ClientOptions, String> {
    let mut builder = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT).timeout(TOKEN_TIMEOUT);
    if beside {
        builder = builder.no_proxy();
    }
    let client = builder.build().map_err(|error| error.to_string())?;
    Ok(ClientOptions {
        retry: RetryOptions::none(),
        transport: Some(Transport::new(Arc::new(client))),
        ..ClientOptions::default()
    })
}

/// The text of an error and of what is below it, on one line.
fn legible(error: &azure_core::Error) -> String {
    let mut text = error.to_string();
    let mut below = std::error::Error::source(error);
    while let Some(cause) = below {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(&format!(": {cause_text}"));
        }
        below = cause.source();
    }
    let text: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    text.replace(char::is_control, " ").chars().take(QUOTED).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(source: TokenSource, identity: Identity) -> Option<String> {
        prepare(source, &identity).err()
    }

    #[test]
    fn the_environment_is_a_source_once_it_names_an_application_and_its_proof() {
        let (tenant, client) = (Some("tenant".to_owned()), Some("client".to_owned()));
        let token_file = Some(PathBuf::from("/dev/null"));
        let named = Identity { tenant: tenant.clone(), client, ..Identity::default() };
        for (identity, missing) in [
            (Identity::default(), "AZURE_TENANT_ID"),
            (Identity { tenant, ..Identity::default() }, "AZURE_CLIENT_ID"),
            (named.clone(), "AZURE_CLIENT_SECRET"),
        ] {
            let reason = fault(TokenSource::Environment, identity).expect("something is missing");
            assert!(reason.contains(missing), "{reason}");
        }
        let secret = Some("hush".to_owned());
        assert_eq!(fault(TokenSource::Environment, Identity { secret, ..named.clone() }), None);
        assert_eq!(fault(TokenSource::Environment, Identity { token_file, ..named }), None);
    }

    #[test]
    fn a_secret_is_in_no_debug_output() {
        let identity = Identity { secret: Some("hush".into()), ..Identity::default() };
        let credential = Credential { source: TokenSource::Environment, identity };
        assert!(!format!("{credential:?}").contains("hush"));
    }

    #[test]
    fn sources_are_asked_from_the_most_to_the_least_deliberate() {
        let entra = Entra::new(&Credential { source: TokenSource::Auto, identity: Identity::default() });
        let order: Vec<TokenSource> = entra.sources.iter().map(|(source, _)| *source).collect();
        assert_eq!(order, [TokenSource::Environment, TokenSource::AzureCli, TokenSource::ManagedIdentity]);
    }
}
