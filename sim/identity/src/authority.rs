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

/// What the CAs between a root and the leaves of one line of devices look like.
#[derive(Clone, Debug)]
pub struct LinePlan {
    /// Stands in every subject: `CN={name} intermediate …`.
    pub name: String,
    /// CAs between the root and the leaves; 0 lets the root issue leaves itself.
    pub intermediates: u8,
    /// Key type of each of them.
    pub key: KeyAlgorithm,
    /// How long the last of them is valid, from the moment of minting and in whole seconds, never beyond the CA
    /// above it; some years where absent. Leaves end with it.
    pub issuing_validity: Option<Duration>,
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
        let root = Arc::new(mint_root(plan, seed, &generation(seed), now)?);
        let HierarchyPlan { name, intermediates, key } = plan.clone();
        let line = LinePlan { name, intermediates, key, issuing_validity: None };
        Self::mint_line(&root, &line, seed, now)
    }

    /// Mints the intermediates of a line of devices below a root minted here, which lines may share: each needs a
    /// seed of its own then.
    ///
    /// # Errors
    /// When a key or certificate cannot be made; for a root that this program did not mint, whose name would be
    /// rebuilt and not copied.
    pub fn mint_line(
        root: &Arc<Issuer>,
        plan: &LinePlan,
        seed: &Seed,
        now: OffsetDateTime,
    ) -> Result<Self, IssueError> {
        let generation = generation(seed);
        let mut authorities = vec![root.clone()];
        for depth in 1..=plan.intermediates {
            let above = &authorities[usize::from(depth) - 1];
            let below = plan.intermediates - depth;
            let years = if depth == 1 { FIRST_INTERMEDIATE_YEARS } else { OTHER_INTERMEDIATE_YEARS };
            let validity = plan.issuing_validity.filter(|_| below == 0).unwrap_or(YEAR * (years as i32));
            let step = Step {
                label: format!("intermediate-{depth}"),
                name: format!("{} intermediate {depth} {generation}", plan.name),
                key: plan.key,
                path_length: below,
                validity,
            };
            let lower = mint_intermediate(above, &step, seed, now)?;
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

/// One intermediate of a line.
struct Step {
    /// Tells its key and serial number from others of the seed.
    label: String,
    name: String,
    key: KeyAlgorithm,
    path_length: u8,
    validity: Duration,
}

fn mint_intermediate(
    above: &Arc<Issuer>,
    step: &Step,
    seed: &Seed,
    now: OffsetDateTime,
) -> Result<Issuer, IssueError> {
    let key = PrivateKey::authority(seed, &step.label, step.key)?;
    let latest = above.certificate().expiry();
    let end = now.checked_add(step.validity).map_or(latest, |end| end.min(latest));
    let mut params = ca_params(&step.name, Some(step.path_length), now - Duration::DAY..end);
    params.serial_number = Some(SerialNumber::from_slice(&seed.serial(&step.label, 0)));
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

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-06-01 00:00 UTC);

    fn root() -> Hierarchy {
        let plan = HierarchyPlan { name: "east".into(), intermediates: 0, key: KeyAlgorithm::P256 };
        Hierarchy::mint(&plan, &Seed::from_number(1), NOW).expect("a root")
    }

    fn line(name: &str, intermediates: u8, issuing_validity: Option<Duration>) -> LinePlan {
        LinePlan { name: name.into(), intermediates, key: KeyAlgorithm::P256, issuing_validity }
    }

    #[test]
    fn lines_below_one_root_have_cas_of_their_own() {
        let root = root();
        let minted = |name: &str| {
            let seed = Seed::from_number(1).child(name);
            Hierarchy::mint_line(root.root(), &line(name, 2, None), &seed, NOW).expect("a line")
        };
        let [one, other] = ["a", "b"].map(minted);
        for line in [&one, &other] {
            let [top, middle, issuing] = line.authorities() else { panic!("three of them") };
            assert_eq!(top.certificate(), root.root().certificate());
            middle.certificate().verify_signed_by(top.certificate()).expect("signed by the root");
            issuing.certificate().verify_signed_by(middle.certificate()).expect("signed by the one above");
            assert_eq!(issuing.above(), [middle.certificate().clone(), top.certificate().clone()]);
        }
        for depth in [1, 2] {
            let [one, other] = [&one, &other].map(|line| line.authorities()[depth].certificate());
            assert_ne!(one.subject_der(), other.subject_der());
            assert_ne!(one.public_key(), other.public_key());
        }
    }

    #[test]
    fn a_line_of_the_roots_own_seed_and_name_is_what_the_whole_hierarchy_has() {
        let plan = HierarchyPlan { name: "east".into(), intermediates: 2, key: KeyAlgorithm::P256 };
        let whole = Hierarchy::mint(&plan, &Seed::from_number(1), NOW).expect("a hierarchy");
        let parts = Hierarchy::mint_line(root().root(), &line("east", 2, None), &Seed::from_number(1), NOW);
        for (one, other) in whole.authorities().iter().zip(parts.expect("a line").authorities()) {
            let (one, other) = (one.certificate(), other.certificate());
            assert_eq!(one.subject_der(), other.subject_der());
            assert_eq!(one.public_key(), other.public_key());
            assert_eq!(one.expiry(), other.expiry());
        }
    }

    #[test]
    fn an_issuing_ca_is_valid_as_long_as_told_and_not_beyond_what_is_above_it() {
        let root = root();
        let latest = root.root().certificate().expiry();
        for (validity, end) in [
            (Duration::SECOND, NOW + Duration::SECOND),
            (Duration::days(2), NOW + Duration::days(2)),
            (Duration::days(40_000), latest),
            (Duration::MAX, latest),
        ] {
            let plan = line("a", 1, Some(validity));
            let made = Hierarchy::mint_line(root.root(), &plan, &Seed::from_number(2), NOW).expect("a line");
            let issuing = made.issuing().certificate();
            assert_eq!(issuing.expiry(), end, "{validity}");
            assert!(issuing.not_before() < NOW.unix_timestamp(), "clocks behind ours accept it");
        }
    }
}
