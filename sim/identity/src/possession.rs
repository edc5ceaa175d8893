//! Proof of possession: does this verification certificate prove that its maker holds the CA's key?
//!
//! The rule follows the DPS documentation, "How to do proof-of-possession": the CN is the code exactly, the
//! signature is the uploaded CA's, and the certificate is within its dates. Version, extensions and the
//! certificate's own key are not looked at; a plain `openssl x509 -req` makes X.509 v1, and that passes.

use crate::certificate::{Certificate, CommonName, NameMatch, compare_names};

/// How far the signer's clock may be off, in seconds. `ours:` the service's tolerance is unknown.
pub const CLOCK_TOLERANCE: i64 = 300;

/// Why a verification certificate proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PossessionFault {
    /// The CN is not the code, compared byte for byte.
    #[error("the verification code does not match: expected CN `{expected}`, found {found}")]
    CodeMismatch {
        /// The code that was generated.
        expected: String,
        /// The CN as read, quoted, or that there is none.
        found: String,
    },
    /// The issuer name is not the CA's subject, or the signature is not its key's.
    #[error("the verification certificate was not signed by `{ca}`")]
    WrongSigner {
        /// Subject of the uploaded CA.
        ca: String,
    },
    /// Outside its validity.
    #[error("the verification certificate is outside its validity")]
    OutsideValidity,
    /// The CA's own certificate was sent.
    #[error("the CA certificate itself was sent in place of a verification certificate")]
    CaItself,
}

/// Checks a verification certificate against the code and the uploaded CA, as of `now` in Unix seconds.
pub fn check(code: &str, proof: &Certificate, ca: &Certificate, now: i64) -> Result<(), PossessionFault> {
    match proof.common_name() {
        CommonName::One(name) if name == code => {}
        _ if proof == ca => return Err(PossessionFault::CaItself),
        CommonName::One(name) => return Err(mismatch(code, format!("`{}`", name.escape_debug()))),
        CommonName::Missing => return Err(mismatch(code, "no CN".to_owned())),
        CommonName::Several(names) => return Err(mismatch(code, format!("{} CNs", names.len()))),
        CommonName::Undecodable => return Err(mismatch(code, "a CN that cannot be decoded".to_owned())),
    }
    let named = compare_names(proof.issuer_der(), ca.subject_der()) != NameMatch::Different;
    if !named || proof.verify_signed_by(ca).is_err() {
        return Err(PossessionFault::WrongSigner { ca: ca.subject() });
    }
    if now + CLOCK_TOLERANCE < proof.not_before() || now - CLOCK_TOLERANCE > proof.not_after() {
        return Err(PossessionFault::OutsideValidity);
    }
    Ok(())
}

fn mismatch(code: &str, found: String) -> PossessionFault {
    PossessionFault::CodeMismatch { expected: code.to_owned(), found }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Hierarchy, HierarchyPlan, Issuer, KeyAlgorithm, Seed};
    use time::macros::datetime;
    use time::{Duration, OffsetDateTime};

    const NOW: OffsetDateTime = datetime!(2026-06-01 00:00 UTC);
    const CODE: &str = "7D07A6A51F8AF1469499A1D92074D629894BE9FA8A013E49";

    fn authority(seed: u64) -> Issuer {
        let plan = HierarchyPlan { name: "test".into(), intermediates: 0, key: KeyAlgorithm::P256 };
        let made = Hierarchy::mint(&plan, &Seed::from_number(seed), NOW).expect("a root");
        Issuer::clone(made.root())
    }

    fn proof(ca: &Issuer, code: &str, at: OffsetDateTime) -> Certificate {
        let der = ca.verification_certificate(code, &Seed::from_number(5), at).expect("signs");
        Certificate::from_der(der).expect("reads back")
    }

    #[test]
    fn possession_is_proven_by_the_code_the_key_and_the_dates_together() {
        let ca = authority(1);
        let same_name = ca.impostor(
            crate::PrivateKey::derive(&Seed::from_number(2), "k", 0, KeyAlgorithm::P256).expect("derives"),
        );
        let check = |proof: &Certificate| check(CODE, proof, ca.certificate(), NOW.unix_timestamp());
        let wrong_signer = Err(PossessionFault::WrongSigner { ca: ca.certificate().subject() });
        assert_eq!(check(&proof(&ca, CODE, NOW)), Ok(()));
        assert_eq!(check(&proof(&authority(3), CODE, NOW)), wrong_signer);
        assert_eq!(check(&proof(&same_name, CODE, NOW)), wrong_signer);
        assert_eq!(check(&proof(&ca, CODE, NOW - Duration::days(3))), Err(PossessionFault::OutsideValidity));
        assert_eq!(check(&proof(&ca, CODE, NOW + Duration::days(3))), Err(PossessionFault::OutsideValidity));
        assert_eq!(check(ca.certificate()), Err(PossessionFault::CaItself));
        for wrong in [CODE.to_lowercase(), format!("{CODE} "), format!("{CODE}\n"), "0".repeat(48)] {
            let fault = check(&proof(&ca, &wrong, NOW));
            assert!(matches!(fault, Err(PossessionFault::CodeMismatch { .. })), "{wrong:?}: {fault:?}");
        }
    }

    #[test]
    fn the_verification_certificate_is_plain_version_one() {
        let made = proof(&authority(1), CODE, NOW);
        assert_eq!((made.version(), made.basic_constraints()), (1, None));
    }
}
