//! Where an instance is managed: the two base addresses, and the address of every call as text.

use crate::credential::Credential;
use crate::error::OperatorError;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;
use sim_protocol::resource::InstancePath;
use sim_protocol::sas::{OWNER_POLICY, SharedKey};
use sim_protocol::{CaName, attestation, resource};
use std::net::IpAddr;

/// Characters of a path segment that stay as they are: unreserved ones, and the colon of registration ids.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':');

/// Which instance to manage, where, and with which credentials.
#[derive(Clone)]
pub struct Endpoint {
    /// Base address of the resource manager, `https://management.azure.com` or the mock's https address.
    pub resource_manager: String,
    /// Base address of the service API, `https://NAME.azure-devices-provisioning.net` or the mock's.
    pub service: String,
    /// The instance in the resource manager's terms.
    pub instance: InstancePath,
    /// PEM of the roots to trust, and no others; `None` means those of the operating system.
    pub trust_root: Option<Vec<u8>>,
    /// Key of the policy; calls to the service API need it, or a credential.
    pub service_key: Option<SharedKey>,
    /// Whose key it is; [`OWNER_POLICY`] has every right.
    pub policy: String,
    /// Token for the resource manager; the mock takes any, so without one and a credential a fixed word is sent.
    pub bearer: Option<String>,
    /// Gets tokens for whichever plane has neither token nor key.
    pub credential: Option<Credential>,
}

impl Endpoint {
    /// An instance that answers both planes at one address, as the mock does.
    pub fn at(url: impl Into<String>) -> Self {
        let url = url.into();
        Endpoint {
            resource_manager: url.clone(),
            service: url,
            instance: InstancePath::default(),
            trust_root: None,
            service_key: None,
            policy: OWNER_POLICY.to_owned(),
            bearer: None,
            credential: None,
        }
    }

    /// Whether both addresses are on this machine.
    pub fn is_local(&self) -> bool {
        is_loopback(&self.resource_manager) && is_loopback(&self.service)
    }
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint")
            .field("resource_manager", &self.resource_manager)
            .field("service", &self.service)
            .field("instance", &self.instance)
            .finish_non_exhaustive()
    }
}

/// Whether a URL names this machine: `localhost` or a loopback address. A text that is no URL does not.
pub fn is_loopback(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    let Some(host) = url.host_str() else { return false };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Reads a base address: https, with a host, and nothing behind the path.
pub(crate) fn base(what: &'static str, text: &str) -> Result<Url, OperatorError> {
    let unusable = |reason: String| OperatorError::Address { what, url: text.to_owned(), reason };
    let url = Url::parse(text).map_err(|error| unusable(error.to_string()))?;
    if url.scheme() != "https" {
        return Err(unusable("tokens are sent over https only".into()));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(unusable("it names no host".into()));
    }
    if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() {
        return Err(unusable("it may not carry a query, a fragment or a user name".into()));
    }
    Ok(url)
}

/// Host, and port where one is written, in lower case: the resource a service token is signed for.
pub(crate) fn token_resource(service: &Url) -> String {
    let host = service.host_str().unwrap_or_default().to_ascii_lowercase();
    match service.port() {
        Some(port) => format!("{host}:{port}"),
        None => host,
    }
}

/// One path segment.
fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// The certificate collection, one certificate, or an action on one, at the resource manager.
pub(crate) fn certificate(
    base: &Url,
    instance: &InstancePath,
    name: Option<&CaName>,
    action: &str,
) -> String {
    let instance = InstancePath {
        subscription: segment(&instance.subscription),
        resource_group: segment(&instance.resource_group),
        service: segment(&instance.service),
    };
    let mut path = instance.certificates();
    if let Some(name) = name {
        path.push('/');
        path.push_str(&segment(name.as_str()));
    }
    if !action.is_empty() {
        path.push('/');
        path.push_str(action);
    }
    format!("{}{path}?api-version={}", base.as_str().trim_end_matches('/'), resource::API_VERSION)
}

/// A path of the service API, given as its segments.
pub(crate) fn service(base: &Url, segments: &[&str]) -> String {
    let path: String = segments.iter().map(|text| format!("/{}", segment(text))).collect();
    format!("{}{path}?api-version={}", base.as_str().trim_end_matches('/'), attestation::API_VERSION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_calls_are_those_of_the_specification() {
        let arm = base("resource manager", "https://127.0.0.1:8443/").expect("a good address");
        let name = CaName::new("root-1").expect("a good name");
        let instance = InstancePath { resource_group: "a b/c".into(), ..InstancePath::default() };
        let prefix = "https://127.0.0.1:8443/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/a%20b%2Fc\
                      /providers/Microsoft.Devices/provisioningServices/rollcall/certificates";
        for (name, action, rest) in [
            (None, "", ""),
            (Some(&name), "", "/root-1"),
            (Some(&name), "generateVerificationCode", "/root-1/generateVerificationCode"),
        ] {
            let expected = format!("{prefix}{rest}?api-version=2022-12-12");
            assert_eq!(certificate(&arm, &instance, name, action), expected);
        }
        let api = base("service", "https://dps1.azure-devices-provisioning.net").expect("a good address");
        assert_eq!(
            service(&api, &["registrations", "line:7", "query"]),
            "https://dps1.azure-devices-provisioning.net/registrations/line:7/query?api-version=2021-10-01"
        );
    }

    #[test]
    fn a_token_is_signed_for_the_host_and_for_a_port_only_where_one_is_written() {
        for (text, resource) in [
            ("https://127.0.0.1:8443", "127.0.0.1:8443"),
            ("https://DPS1.azure-devices-provisioning.net:443/", "dps1.azure-devices-provisioning.net"),
        ] {
            assert_eq!(token_resource(&base("service", text).expect(text)), resource);
        }
    }

    #[test]
    fn only_https_addresses_without_extras_are_taken() {
        for bad in [
            "http://127.0.0.1:1",
            "127.0.0.1:8443",
            "https://",
            "https://a/?b",
            "https://u@a/",
            "https://a/#b",
        ] {
            assert!(matches!(base("service", bad), Err(OperatorError::Address { .. })), "{bad}");
        }
    }

    #[test]
    fn loopback_is_told_from_everything_else() {
        for here in
            ["https://127.0.0.1:1", "https://127.9.9.9", "https://localhost:8443/", "https://[::1]:8443"]
        {
            assert!(is_loopback(here), "{here}");
        }
        for away in
            ["https://10.0.0.1", "https://localhost.example.com", "https://[2001:db8::1]", "127.0.0.1", ""]
        {
            assert!(!is_loopback(away), "{away}");
        }
    }

    #[test]
    fn an_endpoint_shows_neither_key_nor_token() {
        let endpoint = Endpoint { bearer: Some("hush".into()), ..Endpoint::at("https://localhost:1") };
        assert!(!format!("{endpoint:?}").contains("hush"));
        assert!(endpoint.is_local());
    }
}
