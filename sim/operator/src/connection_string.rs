//! `HostName=…;SharedAccessKeyName=…;SharedAccessKey=…`, as the portal hands it out for a policy of an instance.

use sim_protocol::sas::{InvalidKey, SharedKey};

/// Where the service API of an instance is, and with which policy's key to call it.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectionString {
    /// Host name, and port where one is written.
    pub host: String,
    /// Name of the policy.
    pub policy: String,
    /// Its key.
    pub key: SharedKey,
}

impl std::fmt::Debug for ConnectionString {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectionString")
            .field("host", &self.host)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

/// Why a text is not a connection string of a provisioning service. Never quotes the text, which holds a key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidConnectionString {
    /// A field is missing or empty.
    #[error("the connection string has no `{0}`")]
    Missing(&'static str),
    /// A part between semicolons is no field.
    #[error("part {0} of the connection string is not `NAME=VALUE`")]
    Part(usize),
    /// The host name is none.
    #[error("the host name of the connection string has characters that no host name has")]
    Host,
    /// The key is none.
    #[error(transparent)]
    Key(#[from] InvalidKey),
}

impl std::str::FromStr for ConnectionString {
    type Err = InvalidConnectionString;

    /// Field names in any letter case and order; others, such as `GatewayHostName`, are passed over.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut fields: Vec<(&str, &str)> = Vec::new();
        for (number, part) in text.trim().split(';').enumerate().filter(|(_, part)| !part.trim().is_empty()) {
            // Base64 ends in `=`: only the first one parts name and value.
            let (name, value) = part.split_once('=').ok_or(InvalidConnectionString::Part(number + 1))?;
            fields.push((name.trim(), value.trim()));
        }
        let field = |wanted: &'static str| {
            let found = fields.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
            let value = found.map(|(_, value)| *value).filter(|value| !value.is_empty());
            value.ok_or(InvalidConnectionString::Missing(wanted))
        };
        let (host, policy) = (field("HostName")?, field("SharedAccessKeyName")?);
        if !host.chars().all(|c| c.is_ascii_alphanumeric() || "-._:[]".contains(c)) {
            return Err(InvalidConnectionString::Host);
        }
        let key = SharedKey::from_base64(field("SharedAccessKey")?)?;
        Ok(ConnectionString { host: host.to_owned(), policy: policy.to_owned(), key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "c2VydmljZSBrZXkgb2YgdGhlIHRlc3Rz";

    #[test]
    fn a_connection_string_gives_host_policy_and_key_in_any_order() {
        let key = SharedKey::from_base64(KEY).expect("a key");
        for text in [
            format!(
                "HostName=dps1.azure-devices-provisioning.net;SharedAccessKeyName=reader;SharedAccessKey={KEY}"
            ),
            format!(
                " sharedaccesskey={KEY} ; SHAREDACCESSKEYNAME=reader; GatewayHostName=g; hostname=dps1.azure-devices-provisioning.net;\n"
            ),
        ] {
            let read: ConnectionString = text.parse().expect("a connection string");
            assert_eq!(
                (read.host.as_str(), read.policy.as_str()),
                ("dps1.azure-devices-provisioning.net", "reader")
            );
            assert!(read.key == key);
            assert!(!format!("{read:?}").contains(KEY));
        }
    }

    #[test]
    fn padding_of_a_key_belongs_to_the_key() {
        let padded = "MDEyMzQ1Njc4OWFiY2RlZg==";
        let text = format!("HostName=localhost:8443;SharedAccessKeyName=p;SharedAccessKey={padded}");
        let read: ConnectionString = text.parse().expect("a connection string");
        assert_eq!(read.key.to_base64(), padded);
    }

    #[test]
    fn what_is_wrong_with_a_connection_string_is_told() {
        use InvalidConnectionString::{Host, Key, Missing, Part};
        for (text, fault) in [
            (String::new(), Missing("HostName")),
            (format!("HostName=;SharedAccessKeyName=p;SharedAccessKey={KEY}"), Missing("HostName")),
            (format!("HostName=h;SharedAccessKey={KEY}"), Missing("SharedAccessKeyName")),
            ("HostName=h;SharedAccessKeyName=p".to_owned(), Missing("SharedAccessKey")),
            (format!("HostName=h;{KEY}"), Part(2)),
            (format!("HostName=h/x?y;SharedAccessKeyName=p;SharedAccessKey={KEY}"), Host),
            ("HostName=h;SharedAccessKeyName=p;SharedAccessKey=%%".to_owned(), Key(InvalidKey::NotBase64)),
        ] {
            assert_eq!(text.parse::<ConnectionString>(), Err(fault), "{text}");
        }
    }
}
