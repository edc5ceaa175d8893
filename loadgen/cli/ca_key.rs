//! Where a CA's key is: in a file, or in a token that a PKCS#11 URI names.
//!
//! A flag or a scenario has one text for both. A URI may hold a PIN: it is shown through [`shown`] alone.

use crate::cli::{file_fault, read_file};
use crate::exit::Failure;
use sim_identity::{Certificate, Issuer, IssuerFault, PrivateKey, files};
use std::path::{Path, PathBuf};

/// What a key in a token begins with.
const SCHEME: &str = "pkcs11:";

/// A CA's key, not yet joined with its certificate.
#[derive(Debug)]
pub(crate) enum CaKey {
    /// In memory.
    File(PrivateKey),
    /// In a token.
    #[cfg(feature = "pkcs11")]
    Token(std::sync::Arc<crate::pkcs11::TokenKey>),
}

impl CaKey {
    /// Reads a key file, or opens the token.
    pub(crate) fn read(key: &Path) -> Result<Self, Failure> {
        match uri(key) {
            Some(uri) => Self::open(uri),
            None => files::read_private_key(&key.display().to_string(), &read_file(key, "private key")?)
                .map(CaKey::File)
                .map_err(file_fault),
        }
    }

    #[cfg(feature = "pkcs11")]
    fn open(uri: &str) -> Result<Self, Failure> {
        token::open(uri).map(|key| CaKey::Token(std::sync::Arc::new(key)))
    }

    #[cfg(not(feature = "pkcs11"))]
    fn open(uri: &str) -> Result<Self, Failure> {
        let fault = format!("cannot use {}: this build does without PKCS#11", shown(Path::new(uri)));
        Err(Failure::usage(fault).advise("Build with the cargo feature `pkcs11`, or give the key in a file."))
    }

    /// Joins it with its certificate.
    pub(crate) fn issuer(self, certificate: Certificate) -> Result<Issuer, IssuerFault> {
        match self {
            CaKey::File(key) => Issuer::new(certificate, key),
            #[cfg(feature = "pkcs11")]
            CaKey::Token(key) => Issuer::with_signer(certificate, key),
        }
    }
}

fn uri(key: &Path) -> Option<&str> {
    key.to_str().filter(|text| text.starts_with(SCHEME))
}

/// The key of a scenario: a file is looked for from the scenario's directory, a token is the same everywhere.
///
/// # Errors
/// For a PIN in the scenario, whose text is kept in the record of its run.
pub(crate) fn of_scenario(base: &Path, key: &str) -> Result<PathBuf, Failure> {
    if !key.starts_with(SCHEME) {
        return Ok(base.join(key));
    }
    if key.contains("pin-value") {
        let fault = format!("will not use {} with a PIN in the scenario", shown(Path::new(key)));
        return Err(Failure::usage(fault).advise(
            "The scenario is kept in the record of the run: name a file with `pin-source=file:PATH`, or set \
             ROLLCALL_PKCS11_PIN.",
        ));
    }
    Ok(PathBuf::from(key))
}

/// A key's place as it may be shown: of a URI the part before the `?`, after which a PIN may stand.
pub(crate) fn shown(key: &Path) -> String {
    match uri(key) {
        Some(uri) => uri.split('?').next().unwrap_or(SCHEME).to_owned(),
        None => key.display().to_string(),
    }
}

#[cfg(feature = "pkcs11")]
mod token {
    use super::shown;
    use crate::cli::secret::secret_file;
    use crate::exit::Failure;
    use crate::pkcs11::{KeyUri, PinSource, TokenKey};
    use std::path::{Path, PathBuf};

    /// Names the module where the URI does not.
    const MODULE: &str = "ROLLCALL_PKCS11_MODULE";
    /// Holds the PIN where the URI names no place for it.
    const PIN: &str = "ROLLCALL_PKCS11_PIN";

    pub(super) fn open(text: &str) -> Result<TokenKey, Failure> {
        let place = shown(Path::new(text));
        let uri = KeyUri::parse(text).map_err(|fault| {
            Failure::usage(format!("cannot read the PKCS#11 URI {place}: {fault}")).advise(
                "Write it as `pkcs11:token=LABEL;object=LABEL?module-path=LIBRARY&pin-source=file:PATH` (RFC 7512); \
                 quote it for the shell.",
            )
        })?;
        let module = uri.module.clone().or_else(|| variable(MODULE).map(PathBuf::from)).ok_or_else(|| {
            Failure::usage(format!("cannot use {place}: no PKCS#11 module is named")).advise(format!(
                "Name the library that came with the token: `?module-path=/usr/lib/softhsm/libsofthsm2.so` for \
                 instance, or {MODULE}."
            ))
        })?;
        let pin = match &uri.pin {
            Some(PinSource::Value(pin)) => Some(pin.clone()),
            Some(PinSource::File(path)) => Some(secret_file(path, "PIN")?),
            None => variable(PIN),
        };
        TokenKey::open(uri, &module, pin)
            .map_err(|fault| Failure::usage(format!("cannot use {place}: {fault}")).advise(fault.advice()))
    }

    /// A variable of the environment that is set and not empty.
    #[expect(
        clippy::disallowed_methods,
        reason = "the command line; a URI in a scenario is given by no flag"
    )]
    fn variable(name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn a_pin_in_a_uri_is_never_shown() {
        let secret = "pkcs11:object=ca?module-path=/nonexistent/m.so&pin-value=8461";
        assert_eq!(shown(Path::new(secret)), "pkcs11:object=ca");
        for uri in [secret, "pkcs11:object=ca;colour=red?pin-value=8461", "pkcs11:object=%?pin-value=8461"] {
            let failure = CaKey::read(Path::new(uri)).expect_err(uri);
            assert_eq!(failure.exit, Exit::Usage);
            let said = format!("{failure} {:?}", failure.advice);
            assert!(!said.contains("8461") && failure.advice.is_some(), "{said}");
        }
    }

    #[test]
    fn a_token_is_the_same_from_every_directory_and_its_pin_is_no_part_of_a_scenario() {
        let place = |key: &str| of_scenario(Path::new("scenarios"), key).map_err(|failure| failure.exit);
        assert_eq!(place("pkcs11:object=a"), Ok(PathBuf::from("pkcs11:object=a")));
        assert_eq!(place("ca.key"), Ok(PathBuf::from("scenarios/ca.key")));
        assert_eq!(place("pkcs11:object=a?pin-value=8461"), Err(Exit::Usage));
    }
}
