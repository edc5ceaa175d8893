//! How the devices of a new entry are to attest, from flags to the service's words.

use super::certificate_file::{client_slot, signing_slot};
use crate::cli::output::Output;
use crate::cli::secret::secret_file;
use crate::exit::Failure;
use clap::{ArgGroup, Args};
use sim_protocol::CaName;
use sim_protocol::attestation::{
    AttestationMechanism, CaReferences, CertificatePair, CertificateSlot, X509Attestation,
};
use sim_protocol::sas::SharedKey;
use std::path::{Path, PathBuf};

/// How the devices of a group attest.
#[derive(Args, Clone, Debug)]
#[command(group = ArgGroup::new("attestation").required(true).args(["ca_reference", "signing_cert", "symmetric_key"]))]
#[group(skip)]
pub struct GroupAttestation {
    /// By what.
    #[command(flatten)]
    pub authority: Authority,
}

/// How one device attests.
#[derive(Args, Clone, Debug)]
#[command(group = ArgGroup::new("attestation").required(true).args(["client_cert", "ca_reference", "signing_cert", "symmetric_key"]))]
#[group(skip)]
pub struct DeviceAttestation {
    /// The device's own certificate
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["secondary_ca_reference", "secondary_signing_cert", "primary_key_file", "secondary_key_file"]
    )]
    pub client_cert: Option<PathBuf>,
    /// Another, for a roll-over
    #[arg(
        long,
        value_name = "FILE",
        requires = "client_cert",
        conflicts_with_all = ["ca_reference", "signing_cert", "symmetric_key"]
    )]
    pub secondary_client_cert: Option<PathBuf>,
    /// Or by what else.
    #[command(flatten)]
    pub authority: Authority,
}

/// By the certificate of an authority, or by a shared key.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct Authority {
    /// Name of an uploaded CA certificate
    #[arg(
        long,
        value_name = "CA",
        conflicts_with_all = ["secondary_signing_cert", "primary_key_file", "secondary_key_file"]
    )]
    pub ca_reference: Option<CaName>,
    /// Name of another, for a roll-over
    #[arg(long, value_name = "CA", requires = "ca_reference", conflicts_with_all = ["signing_cert", "symmetric_key"])]
    pub secondary_ca_reference: Option<CaName>,
    /// The CA certificate that signs the devices' certificates
    #[arg(long, value_name = "FILE", conflicts_with_all = ["primary_key_file", "secondary_key_file"])]
    pub signing_cert: Option<PathBuf>,
    /// Another, for a roll-over
    #[arg(long, value_name = "FILE", requires = "signing_cert", conflicts_with = "symmetric_key")]
    pub secondary_signing_cert: Option<PathBuf>,
    /// A shared key in place of certificates; the service makes up what no file gives
    #[arg(long)]
    pub symmetric_key: bool,
    /// The key, base64 of 16 to 64 bytes
    #[arg(long, value_name = "FILE", requires = "symmetric_key")]
    pub primary_key_file: Option<PathBuf>,
    /// Another, for a roll-over
    #[arg(long, value_name = "FILE", requires = "symmetric_key")]
    pub secondary_key_file: Option<PathBuf>,
}

impl Authority {
    /// The uploaded CA certificates that are referred to.
    pub(super) fn references(&self) -> Vec<CaName> {
        self.ca_reference.iter().chain(&self.secondary_ca_reference).cloned().collect()
    }

    /// In the service's words, with the files read.
    pub(super) fn mechanism(self, output: Output) -> Result<AttestationMechanism, Failure> {
        if self.symmetric_key {
            let key = |path: Option<PathBuf>| path.as_deref().map(shared_key).transpose();
            let (primary, secondary) = (key(self.primary_key_file)?, key(self.secondary_key_file)?);
            return Ok(AttestationMechanism::symmetric_key(primary.as_ref(), secondary.as_ref()));
        }
        let mut x509 = X509Attestation::default();
        match (self.ca_reference, self.signing_cert) {
            (Some(primary), _) => {
                x509.ca_references = Some(CaReferences {
                    primary: Some(primary.into()),
                    secondary: self.secondary_ca_reference.map(String::from),
                });
            }
            (None, Some(primary)) => {
                let secondary = self.secondary_signing_cert.as_deref();
                x509.signing_certificates =
                    Some(pair(&primary, secondary, |path| signing_slot(path, output))?);
            }
            (None, None) => {
                return Err(Failure::usage("nothing says how devices are to attest")
                    .advise("Give --ca-reference, --signing-cert or --symmetric-key."));
            }
        }
        Ok(AttestationMechanism::x509(x509))
    }
}

impl DeviceAttestation {
    /// In the service's words, with the files read.
    pub(super) fn mechanism(self, output: Output) -> Result<AttestationMechanism, Failure> {
        let Some(primary) = self.client_cert else { return self.authority.mechanism(output) };
        let secondary = self.secondary_client_cert.as_deref();
        let pair = pair(&primary, secondary, |path| client_slot(path, output))?;
        let x509 = X509Attestation { client_certificates: Some(pair), ..X509Attestation::default() };
        Ok(AttestationMechanism::x509(x509))
    }
}

fn pair(
    primary: &Path,
    secondary: Option<&Path>,
    slot: impl Fn(&Path) -> Result<CertificateSlot, Failure>,
) -> Result<CertificatePair, Failure> {
    Ok(CertificatePair { primary: Some(slot(primary)?), secondary: secondary.map(slot).transpose()? })
}

/// Reads a shared key from a file.
pub(super) fn shared_key(path: &Path) -> Result<SharedKey, Failure> {
    SharedKey::from_base64(&secret_file(path, "shared key")?).map_err(|fault| {
        Failure::usage(format!("cannot use {}: {fault}", path.display()))
            .advise("Give the key alone, base64; `openssl rand -base64 48` makes one.")
    })
}
