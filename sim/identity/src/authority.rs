//! Authorities the tool makes itself: a root, intermediates below it, and the mock's own server certificate.
//!
//! Written by rcgen, which is the right tool as long as every name is ours. What is issued under an authority is
//! written in [`crate::issuer`], because rcgen rebuilds an issuer's name instead of copying it.

use crate::certificate::Certificate;
use crate::issuer::{IssueError, Issuer};
use crate::key::{KeyAlgorithm, PrivateKey};
use crate::seed::Seed;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyUsagePurpose, SerialNumber,
};
use std::sync::Arc;
use time::{Duration, OffsetDateTime};

/// What a minted hierarchy looks like.
#[derive(Clone, Debug)]
pub struct HierarchyPlan {
    /// Stands in every subject: `CN={name} root …`.
    pub name: String,
    /// CAs between the root and the leaves; 0 lets the root issue leaves itself.
    pub intermediates: u8,
    /// Key type of every authority.
    pub key: KeyAlgorithm,
}

/// A minted hierarchy, root first; the last one issues the leaves.
#[derive(Clone, Debug)]
pub struct Hierarchy {
    authorities: Vec<Arc<Issuer>>,
}

const ROOT_YEARS: i64 = 20;
const FIRST_INTERMEDIATE_YEARS: i64 = 10;
const OTHER_INTERMEDIATE_YEARS: i64 = 5;
const YEAR: Duration = Duration::days(365);

impl Hierarchy {
    /// Mints root and intermediates as of `now`, backdated by a day so that clocks behind ours accept them.
    pub fn mint(plan: &HierarchyPlan, seed: &Seed, now: OffsetDateTime) -> Result<Self, IssueError> {
        let generation = generation(seed);
        let root = Arc::new(mint_root(plan, seed, &generation, now)?);
        let mut authorities = vec![root];
        for depth in 1..=plan.intermediates {
            let label = format!("intermediate-{depth}");
            let name = format!("{} intermediate {depth} {generation}", plan.name);
            let below = plan.intermediates - depth;
            let above = &authorities[usize::from(depth) - 1];
            let lower = mint_intermediate(above, plan.key, seed, &label, &name, below, now)?;
            authorities.push(Arc::new(lower));
        }
        Ok(Hierarchy { authorities })
    }

    /// The self-signed top.
    pub fn root(&self) -> &Arc<Issuer> {
        &self.authorities[0]
    }

    /// The one that issues leaves.
    pub fn issuing(&self) -> &Arc<Issuer> {
        // A hierarchy is never empty: it begins with the root.
        &self.authorities[self.authorities.len() - 1]
    }

    /// All of them, root first.
    pub fn authorities(&self) -> &[Arc<Issuer>] {
        &self.authorities
    }
}

/// Marks each generation of authorities, so that no two keys ever share a name by accident.
fn generation(seed: &Seed) -> String {
    seed.draw("generation", 0, 0)[..4].iter().map(|b| format!("{b:02x}")).collect()
}

/// The key of an authority made here, which is in memory.
fn own_key(issuer: &Issuer) -> Result<&Arc<PrivateKey>, IssueError> {
    issuer.private_key().ok_or_else(|| IssueError::KeyHeld { issuer: issuer.certificate().subject() })
}

fn mint_root(
    plan: &HierarchyPlan,
    seed: &Seed,
    generation: &str,
    now: OffsetDateTime,
) -> Result<Issuer, IssueError> {
    let key = PrivateKey::authority(seed, "root", plan.key)?;
    let name = format!("{} root {generation}", plan.name);
    let life = now - Duration::DAY..now + YEAR * (ROOT_YEARS as i32);
    let mut params = ca_params(&name, None, life);
    params.serial_number = Some(SerialNumber::from_slice(&seed.serial("root", 0)));
    let made = params.self_signed(&key).map_err(|e| IssueError::Writer(e.to_string()))?;
    Ok(Issuer::new(Certificate::from_der(made.der().to_vec())?, key)?)
}

fn mint_intermediate(
    above: &Arc<Issuer>,
    algorithm: KeyAlgorithm,
    seed: &Seed,
    label: &str,
    name: &str,
    path_length: u8,
    now: OffsetDateTime,
) -> Result<Issuer, IssueError> {
    let key = PrivateKey::authority(seed, label, algorithm)?;
    let years = if above.above().is_empty() { FIRST_INTERMEDIATE_YEARS } else { OTHER_INTERMEDIATE_YEARS };
    let end = (now + YEAR * (years as i32)).min(above.certificate().expiry());
    let mut params = ca_params(name, Some(path_length), now - Duration::DAY..end);
    params.serial_number = Some(SerialNumber::from_slice(&seed.serial(label, 0)));
    params.use_authority_key_identifier_extension = true;
    let parent = ca_params(&above.certificate().display_name(), None, now..now);
    let parent = rcgen::Issuer::new(parent, &**own_key(above)?);
    let made = params.signed_by(&key, &parent).map_err(|e| IssueError::Writer(e.to_string()))?;
    let certificate = Certificate::from_der(made.der().to_vec())?;
    if certificate.issuer_der() != above.certificate().subject_der() {
        return Err(IssueError::IssuerName { issuer: above.certificate().subject() });
    }
    Ok(Issuer::new(certificate, key)?.below(above))
}

fn ca_params(
    name: &str,
    path_length: Option<u8>,
    life: std::ops::Range<OffsetDateTime>,
) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject(name);
    params.is_ca =
        IsCa::Ca(path_length.map_or(BasicConstraints::Unconstrained, BasicConstraints::Constrained));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = (life.start, life.end);
    params
}

fn subject(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, "rollcall");
    subject.push(DnType::CommonName, name);
    subject
}

/// A server certificate with its own trust root, for the mock's sockets.
#[derive(Debug)]
pub struct ServerIdentity {
    /// The root that clients are to trust, DER.
    pub trust_root: Vec<u8>,
    /// What the server presents, leaf first, DER.
    pub chain: Vec<Vec<u8>>,
    /// The leaf's key.
    pub key: PrivateKey,
}

impl ServerIdentity {
    /// Mints a root and a server leaf for the given host names and IP addresses (as text). Roots of one seed have
    /// one name and key, so that trust in one is trust in all of them.
    pub fn mint(names: &[String], seed: &Seed, now: OffsetDateTime) -> Result<Self, IssueError> {
        // 825 days is the longest that every TLS stack in the field takes for a server.
        Self::mint_for(names, seed, now - Duration::DAY..now + Duration::days(800), now)
    }

    /// The same with a server leaf that has expired, for what devices make of it.
    pub fn mint_expired(names: &[String], seed: &Seed, now: OffsetDateTime) -> Result<Self, IssueError> {
        Self::mint_for(names, seed, now - Duration::days(30)..now - Duration::DAY, now)
    }

    fn mint_for(
        names: &[String],
        seed: &Seed,
        life: std::ops::Range<OffsetDateTime>,
        now: OffsetDateTime,
    ) -> Result<Self, IssueError> {
        let writer = |e: rcgen::Error| IssueError::Writer(e.to_string());
        let plan =
            HierarchyPlan { name: "rollcall mock server".into(), intermediates: 0, key: KeyAlgorithm::P256 };
        let hierarchy = Hierarchy::mint(&plan, seed, now)?;
        let root = hierarchy.root();
        let key = PrivateKey::derive(seed, "server", 0, KeyAlgorithm::P256)?;
        let mut params = CertificateParams::new(names.to_vec()).map_err(writer)?;
        params.distinguished_name = subject("rollcall mock");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        (params.not_before, params.not_after) = (life.start, life.end);
        params.serial_number = Some(SerialNumber::from_slice(&seed.serial("server", 0)));
        params.use_authority_key_identifier_extension = true;
        let parent = ca_params(&root.certificate().display_name(), None, now..now);
        let made = params.signed_by(&key, &rcgen::Issuer::new(parent, &**own_key(root)?)).map_err(writer)?;
        Ok(ServerIdentity {
            trust_root: root.certificate().der().to_vec(),
            chain: vec![made.der().to_vec()],
            key,
        })
    }
}
