//! What each certificate on a path must be (RFC 5280 section 6.1, RFC 8446 section 4.4.2.2 for the leaf).

use super::trail::Check;
use super::{Asked, Rules};
use crate::certificate::Certificate;
use crate::signature::SignatureFault;

/// Whether the moment lies within the validity, both ends included, give or take what the rules allow.
pub(super) fn check_validity(certificate: &Certificate, asked: &Asked<'_>) -> Result<(), Check> {
    let skew = i64::try_from(asked.rules.clock_skew.as_secs()).unwrap_or(i64::MAX);
    if certificate.not_before() > certificate.not_after() {
        return Err(Check::ValidityInverted);
    }
    if asked.now.saturating_sub(skew) > certificate.not_after() {
        return Err(Check::Expired);
    }
    if asked.now.saturating_add(skew) < certificate.not_before() {
        return Err(Check::NotYetValid);
    }
    Ok(())
}

/// Checks the leaf.
pub(super) fn check_leaf(leaf: &Certificate, asked: &Asked<'_>) -> Result<(), Check> {
    let rules = asked.rules;
    check_validity(leaf, asked)?;
    if leaf.version() != 3 && !rules.leaf_v1 {
        return Err(Check::LeafVersion);
    }
    if leaf.is_ca() && !rules.leaf_ca {
        return Err(Check::LeafIsCa);
    }
    if leaf.key_usage().is_some_and(|u| !u.digital_signature) {
        return Err(Check::LeafKeyUsage);
    }
    check_purpose(leaf, rules, Check::LeafPurpose)?;
    rules.algorithms.key(leaf.key_kind()).map_err(of_signature)?;
    check_encoding(leaf)
}

/// Checks a CA with `below` CAs under it that are not self-issued. `anchor` says whether it is verified: RFC 5280
/// section 6.2 leaves open what is checked of an anchor, and we hold the whole certificate.
pub(super) fn check_ca(ca: &Certificate, below: usize, anchor: bool, asked: &Asked<'_>) -> Result<(), Check> {
    let rules = asked.rules;
    if anchor && !rules.anchor_checks {
        return Ok(());
    }
    check_validity(ca, asked)?;
    if ca.version() != 3 {
        return Err(Check::IssuerVersion);
    }
    let Some(basic) = ca.basic_constraints().filter(|b| b.ca) else {
        return Err(Check::IssuerNotCa);
    };
    if basic.path_length.is_some_and(|limit| below > limit as usize) {
        return Err(Check::PathLength);
    }
    if ca.key_usage().is_some_and(|u| !u.key_cert_sign) {
        return Err(Check::IssuerKeyUsage);
    }
    check_purpose(ca, rules, Check::CaPurpose)?;
    check_encoding(ca)
}

fn check_purpose(certificate: &Certificate, rules: &Rules, otherwise: Check) -> Result<(), Check> {
    match certificate.extended_key_usage() {
        Some(usage) if usage.empty => Err(Check::EmptyPurpose),
        Some(usage) if rules.extended_key_usage && !usage.client_auth && !usage.any => Err(otherwise),
        _ => Ok(()),
    }
}

/// policyMappings, policyConstraints and inhibitAnyPolicy, none of which is processed.
const POLICY_EXTENSIONS: [&str; 3] = ["2.5.29.33", "2.5.29.36", "2.5.29.54"];

/// What a Certificate message of TLS can carry, as servers in the field take it. `ours:` the service's limit.
const LARGEST: usize = 65_535;

fn check_encoding(certificate: &Certificate) -> Result<(), Check> {
    if certificate.der().len() > LARGEST {
        return Err(Check::Size);
    }
    match certificate.unknown_critical() {
        Some(oid) if POLICY_EXTENSIONS.contains(&oid) => return Err(Check::PolicyConstraints),
        Some(_) => return Err(Check::CriticalExtension),
        None => {}
    }
    certificate.irregularities().iter().find_map(Check::of_irregularity).map_or(Ok(()), Err)
}

/// The check behind a signature that does not hold, apart from one that is simply wrong.
pub(super) fn of_signature(fault: SignatureFault) -> Check {
    match fault {
        SignatureFault::Wrong => Check::WrongKey,
        SignatureFault::Mismatch => Check::AlgorithmMismatch,
        SignatureFault::WeakAlgorithm => Check::WeakSignature,
        SignatureFault::WeakKey => Check::WeakKey,
        SignatureFault::Unsupported => Check::UnsupportedKey,
    }
}
