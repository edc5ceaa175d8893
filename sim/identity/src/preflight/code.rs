//! Every diagnostic: its stable code, how bad it is by default, what it means, and what repairs it.

mod texts;

use std::fmt;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Works now, but depends on leniency, or breaks later.
    Warning,
    /// Would be refused, or nobody can tell and a documented rule is broken.
    Error,
}

impl Severity {
    /// The stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A diagnostic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// `chain-incomplete`
    ChainIncomplete,
    /// `no-verified-ca`
    NoVerifiedCa,
    /// `verified-ca-not-sent`
    VerifiedCaNotSent,
    /// `chain-order`
    ChainOrder,
    /// `chain-duplicate`
    ChainDuplicate,
    /// `root-sent`
    RootSent,
    /// `stale-root-sent`
    StaleRootSent,
    /// `chain-extra`
    ChainExtra,
    /// `chain-loop`
    ChainLoop,
    /// `expired-branch`
    ExpiredBranch,
    /// `ambiguous-issuer`
    AmbiguousIssuer,
    /// `chain-depth`
    ChainDepth,
    /// `chain-size`
    ChainSize,
    /// `flat-hierarchy`
    FlatHierarchy,
    /// `leaf-not-first`
    LeafNotFirst,
    /// `leaf-self-signed`
    LeafSelfSigned,
    /// `leaf-uploaded-as-ca`
    LeafUploadedAsCa,
    /// `leaf-is-ca`
    LeafIsCa,
    /// `leaf-ku`
    LeafKu,
    /// `leaf-ku-certsign`
    LeafKuCertsign,
    /// `leaf-v1`
    LeafV1,
    /// `key-mismatch`
    KeyMismatch,
    /// `key-exposed`
    KeyExposed,
    /// `issuer-not-ca`
    IssuerNotCa,
    /// `issuer-v1`
    IssuerV1,
    /// `issuer-no-keycertsign`
    IssuerNoKeycertsign,
    /// `bc-noncritical`
    BcNoncritical,
    /// `ca-ku-absent`
    CaKuAbsent,
    /// `no-key-identifiers`
    NoKeyIdentifiers,
    /// `pathlen-exceeded`
    PathlenExceeded,
    /// `pathlen-self-issued`
    PathlenSelfIssued,
    /// `eku-no-clientauth`
    EkuNoClientauth,
    /// `eku-empty`
    EkuEmpty,
    /// `eku-any-only`
    EkuAnyOnly,
    /// `ca-eku`
    CaEku,
    /// `expired`
    Expired,
    /// `not-yet-valid`
    NotYetValid,
    /// `validity-inverted`
    ValidityInverted,
    /// `expires-in-window`
    ExpiresInWindow,
    /// `outlives-issuer`
    OutlivesIssuer,
    /// `no-expiry`
    NoExpiry,
    /// `time-encoding`
    TimeEncoding,
    /// `clock-margin`
    ClockMargin,
    /// `wrong-issuer-key`
    WrongIssuerKey,
    /// `aki-mismatch`
    AkiMismatch,
    /// `name-chain`
    NameChain,
    /// `name-compare`
    NameCompare,
    /// `sig-invalid`
    SigInvalid,
    /// `sig-alg-mismatch`
    SigAlgMismatch,
    /// `sig-alg-weak`
    SigAlgWeak,
    /// `key-weak`
    KeyWeak,
    /// `key-unsupported`
    KeyUnsupported,
    /// `key-unusual`
    KeyUnusual,
    /// `ext-critical-unknown`
    ExtCriticalUnknown,
    /// `ext-duplicate`
    ExtDuplicate,
    /// `ext-malformed`
    ExtMalformed,
    /// `policy-critical`
    PolicyCritical,
    /// `policy-constraints`
    PolicyConstraints,
    /// `nc-violation`
    NcViolation,
    /// `nc-dn`
    NcDn,
    /// `nc-cn-dns`
    NcCnDns,
    /// `serial-nonpositive`
    SerialNonpositive,
    /// `serial-long`
    SerialLong,
    /// `serial-der`
    SerialDer,
    /// `serial-predictable`
    SerialPredictable,
    /// `serial-duplicate`
    SerialDuplicate,
    /// `key-duplicate`
    KeyDuplicate,
    /// `cn-collision`
    CnCollision,
    /// `cn-missing`
    CnMissing,
    /// `cn-mismatch`
    CnMismatch,
    /// `cn-charset`
    CnCharset,
    /// `cn-length`
    CnLength,
    /// `cn-multiple`
    CnMultiple,
    /// `cn-encoding`
    CnEncoding,
    /// `cn-case`
    CnCase,
    /// `cn-multivalue`
    CnMultivalue,
    /// `ca-unverified`
    CaUnverified,
    /// `ca-code-pending`
    CaCodePending,
    /// `ca-reference-dangling`
    CaReferenceDangling,
    /// `group-missing`
    GroupMissing,
    /// `group-disabled`
    GroupDisabled,
    /// `group-shadowed`
    GroupShadowed,
    /// `group-above-verified`
    GroupAboveVerified,
    /// `individual-disabled`
    IndividualDisabled,
    /// `individual-stale`
    IndividualStale,
    /// `individual-by-key`
    IndividualByKey,
    /// `entry-duplicate`
    EntryDuplicate,
    /// `limit-ca`
    LimitCa,
    /// `limit-group`
    LimitGroup,
    /// `limit-registrations`
    LimitRegistrations,
    /// `pem-bundle`
    PemBundle,
    /// `pem-junk`
    PemJunk,
    /// `pem-crlf`
    PemCrlf,
    /// `der-as-pem`
    DerAsPem,
    /// `file-unreadable`
    FileUnreadable,
    /// `budget-exceeded`
    BudgetExceeded,
    /// `live-difference`
    LiveDifference,
}

impl Code {
    /// All of them.
    pub const ALL: [Code; 97] = [
        Code::ChainIncomplete,
        Code::NoVerifiedCa,
        Code::VerifiedCaNotSent,
        Code::ChainOrder,
        Code::ChainDuplicate,
        Code::RootSent,
        Code::StaleRootSent,
        Code::ChainExtra,
        Code::ChainLoop,
        Code::ExpiredBranch,
        Code::AmbiguousIssuer,
        Code::ChainDepth,
        Code::ChainSize,
        Code::FlatHierarchy,
        Code::LeafNotFirst,
        Code::LeafSelfSigned,
        Code::LeafUploadedAsCa,
        Code::LeafIsCa,
        Code::LeafKu,
        Code::LeafKuCertsign,
        Code::LeafV1,
        Code::KeyMismatch,
        Code::KeyExposed,
        Code::IssuerNotCa,
        Code::IssuerV1,
        Code::IssuerNoKeycertsign,
        Code::BcNoncritical,
        Code::CaKuAbsent,
        Code::NoKeyIdentifiers,
        Code::PathlenExceeded,
        Code::PathlenSelfIssued,
        Code::EkuNoClientauth,
        Code::EkuEmpty,
        Code::EkuAnyOnly,
        Code::CaEku,
        Code::Expired,
        Code::NotYetValid,
        Code::ValidityInverted,
        Code::ExpiresInWindow,
        Code::OutlivesIssuer,
        Code::NoExpiry,
        Code::TimeEncoding,
        Code::ClockMargin,
        Code::WrongIssuerKey,
        Code::AkiMismatch,
        Code::NameChain,
        Code::NameCompare,
        Code::SigInvalid,
        Code::SigAlgMismatch,
        Code::SigAlgWeak,
        Code::KeyWeak,
        Code::KeyUnsupported,
        Code::KeyUnusual,
        Code::ExtCriticalUnknown,
        Code::ExtDuplicate,
        Code::ExtMalformed,
        Code::PolicyCritical,
        Code::PolicyConstraints,
        Code::NcViolation,
        Code::NcDn,
        Code::NcCnDns,
        Code::SerialNonpositive,
        Code::SerialLong,
        Code::SerialDer,
        Code::SerialPredictable,
        Code::SerialDuplicate,
        Code::KeyDuplicate,
        Code::CnCollision,
        Code::CnMissing,
        Code::CnMismatch,
        Code::CnCharset,
        Code::CnLength,
        Code::CnMultiple,
        Code::CnEncoding,
        Code::CnCase,
        Code::CnMultivalue,
        Code::CaUnverified,
        Code::CaCodePending,
        Code::CaReferenceDangling,
        Code::GroupMissing,
        Code::GroupDisabled,
        Code::GroupShadowed,
        Code::GroupAboveVerified,
        Code::IndividualDisabled,
        Code::IndividualStale,
        Code::IndividualByKey,
        Code::EntryDuplicate,
        Code::LimitCa,
        Code::LimitGroup,
        Code::LimitRegistrations,
        Code::PemBundle,
        Code::PemJunk,
        Code::PemCrlf,
        Code::DerAsPem,
        Code::FileUnreadable,
        Code::BudgetExceeded,
        Code::LiveDifference,
    ];

    /// The diagnostic of a stable code.
    pub fn named(code: &str) -> Option<Code> {
        Code::ALL.into_iter().find(|known| known.as_str() == code)
    }

    /// What it means, in a sentence or two.
    pub const fn meaning(self) -> &'static str {
        texts::of(self).meaning
    }

    /// What usually causes it, in a sentence or two.
    pub const fn cause(self) -> &'static str {
        texts::of(self).cause
    }

    /// What repairs it, in a sentence or two.
    pub const fn fix(self) -> &'static str {
        texts::of(self).fix
    }

    /// Where the rule stands or the behaviour was seen: RFCs, pages of the documentation, reports; apart by
    /// semicolons.
    pub const fn source(self) -> &'static str {
        texts::of(self).source
    }

    /// The stable code.
    pub const fn as_str(self) -> &'static str {
        match self {
            Code::ChainIncomplete => "chain-incomplete",
            Code::NoVerifiedCa => "no-verified-ca",
            Code::VerifiedCaNotSent => "verified-ca-not-sent",
            Code::ChainOrder => "chain-order",
            Code::ChainDuplicate => "chain-duplicate",
            Code::RootSent => "root-sent",
            Code::StaleRootSent => "stale-root-sent",
            Code::ChainExtra => "chain-extra",
            Code::ChainLoop => "chain-loop",
            Code::ExpiredBranch => "expired-branch",
            Code::AmbiguousIssuer => "ambiguous-issuer",
            Code::ChainDepth => "chain-depth",
            Code::ChainSize => "chain-size",
            Code::FlatHierarchy => "flat-hierarchy",
            Code::LeafNotFirst => "leaf-not-first",
            Code::LeafSelfSigned => "leaf-self-signed",
            Code::LeafUploadedAsCa => "leaf-uploaded-as-ca",
            Code::LeafIsCa => "leaf-is-ca",
            Code::LeafKu => "leaf-ku",
            Code::LeafKuCertsign => "leaf-ku-certsign",
            Code::LeafV1 => "leaf-v1",
            Code::KeyMismatch => "key-mismatch",
            Code::KeyExposed => "key-exposed",
            Code::IssuerNotCa => "issuer-not-ca",
            Code::IssuerV1 => "issuer-v1",
            Code::IssuerNoKeycertsign => "issuer-no-keycertsign",
            Code::BcNoncritical => "bc-noncritical",
            Code::CaKuAbsent => "ca-ku-absent",
            Code::NoKeyIdentifiers => "no-key-identifiers",
            Code::PathlenExceeded => "pathlen-exceeded",
            Code::PathlenSelfIssued => "pathlen-self-issued",
            Code::EkuNoClientauth => "eku-no-clientauth",
            Code::EkuEmpty => "eku-empty",
            Code::EkuAnyOnly => "eku-any-only",
            Code::CaEku => "ca-eku",
            Code::Expired => "expired",
            Code::NotYetValid => "not-yet-valid",
            Code::ValidityInverted => "validity-inverted",
            Code::ExpiresInWindow => "expires-in-window",
            Code::OutlivesIssuer => "outlives-issuer",
            Code::NoExpiry => "no-expiry",
            Code::TimeEncoding => "time-encoding",
            Code::ClockMargin => "clock-margin",
            Code::WrongIssuerKey => "wrong-issuer-key",
            Code::AkiMismatch => "aki-mismatch",
            Code::NameChain => "name-chain",
            Code::NameCompare => "name-compare",
            Code::SigInvalid => "sig-invalid",
            Code::SigAlgMismatch => "sig-alg-mismatch",
            Code::SigAlgWeak => "sig-alg-weak",
            Code::KeyWeak => "key-weak",
            Code::KeyUnsupported => "key-unsupported",
            Code::KeyUnusual => "key-unusual",
            Code::ExtCriticalUnknown => "ext-critical-unknown",
            Code::ExtDuplicate => "ext-duplicate",
            Code::ExtMalformed => "ext-malformed",
            Code::PolicyCritical => "policy-critical",
            Code::PolicyConstraints => "policy-constraints",
            Code::NcViolation => "nc-violation",
            Code::NcDn => "nc-dn",
            Code::NcCnDns => "nc-cn-dns",
            Code::SerialNonpositive => "serial-nonpositive",
            Code::SerialLong => "serial-long",
            Code::SerialDer => "serial-der",
            Code::SerialPredictable => "serial-predictable",
            Code::SerialDuplicate => "serial-duplicate",
            Code::KeyDuplicate => "key-duplicate",
            Code::CnCollision => "cn-collision",
            Code::CnMissing => "cn-missing",
            Code::CnMismatch => "cn-mismatch",
            Code::CnCharset => "cn-charset",
            Code::CnLength => "cn-length",
            Code::CnMultiple => "cn-multiple",
            Code::CnEncoding => "cn-encoding",
            Code::CnCase => "cn-case",
            Code::CnMultivalue => "cn-multivalue",
            Code::CaUnverified => "ca-unverified",
            Code::CaCodePending => "ca-code-pending",
            Code::CaReferenceDangling => "ca-reference-dangling",
            Code::GroupMissing => "group-missing",
            Code::GroupDisabled => "group-disabled",
            Code::GroupShadowed => "group-shadowed",
            Code::GroupAboveVerified => "group-above-verified",
            Code::IndividualDisabled => "individual-disabled",
            Code::IndividualStale => "individual-stale",
            Code::IndividualByKey => "individual-by-key",
            Code::EntryDuplicate => "entry-duplicate",
            Code::LimitCa => "limit-ca",
            Code::LimitGroup => "limit-group",
            Code::LimitRegistrations => "limit-registrations",
            Code::PemBundle => "pem-bundle",
            Code::PemJunk => "pem-junk",
            Code::PemCrlf => "pem-crlf",
            Code::DerAsPem => "der-as-pem",
            Code::FileUnreadable => "file-unreadable",
            Code::BudgetExceeded => "budget-exceeded",
            Code::LiveDifference => "live-difference",
        }
    }

    /// How bad it is where nothing makes it worse or better.
    pub const fn severity(self) -> Severity {
        match self {
            Code::RootSent
            | Code::StaleRootSent
            | Code::ChainDepth
            | Code::ChainSize
            | Code::FlatHierarchy
            | Code::NoExpiry
            | Code::SerialPredictable
            | Code::CnMultivalue => Severity::Info,
            Code::VerifiedCaNotSent
            | Code::ChainOrder
            | Code::ChainDuplicate
            | Code::ChainExtra
            | Code::ExpiredBranch
            | Code::AmbiguousIssuer
            | Code::LeafKuCertsign
            | Code::LeafV1
            | Code::BcNoncritical
            | Code::CaKuAbsent
            | Code::NoKeyIdentifiers
            | Code::PathlenSelfIssued
            | Code::EkuAnyOnly
            | Code::ExpiresInWindow
            | Code::OutlivesIssuer
            | Code::TimeEncoding
            | Code::ClockMargin
            | Code::AkiMismatch
            | Code::NameCompare
            | Code::KeyUnusual
            | Code::PolicyCritical
            | Code::NcDn
            | Code::NcCnDns
            | Code::SerialNonpositive
            | Code::SerialLong
            | Code::CnEncoding
            | Code::CnCase
            | Code::GroupShadowed
            | Code::LimitCa
            | Code::LimitGroup
            | Code::LimitRegistrations
            | Code::PemBundle
            | Code::PemJunk
            | Code::PemCrlf
            | Code::DerAsPem => Severity::Warning,
            Code::ChainIncomplete
            | Code::NoVerifiedCa
            | Code::ChainLoop
            | Code::LeafNotFirst
            | Code::LeafSelfSigned
            | Code::LeafUploadedAsCa
            | Code::LeafIsCa
            | Code::LeafKu
            | Code::KeyMismatch
            | Code::KeyExposed
            | Code::IssuerNotCa
            | Code::IssuerV1
            | Code::IssuerNoKeycertsign
            | Code::PathlenExceeded
            | Code::EkuNoClientauth
            | Code::EkuEmpty
            | Code::CaEku
            | Code::Expired
            | Code::NotYetValid
            | Code::ValidityInverted
            | Code::WrongIssuerKey
            | Code::NameChain
            | Code::SigInvalid
            | Code::SigAlgMismatch
            | Code::SigAlgWeak
            | Code::KeyWeak
            | Code::KeyUnsupported
            | Code::ExtCriticalUnknown
            | Code::ExtDuplicate
            | Code::ExtMalformed
            | Code::PolicyConstraints
            | Code::NcViolation
            | Code::SerialDer
            | Code::SerialDuplicate
            | Code::KeyDuplicate
            | Code::CnCollision
            | Code::CnMissing
            | Code::CnMismatch
            | Code::CnCharset
            | Code::CnLength
            | Code::CnMultiple
            | Code::CaUnverified
            | Code::CaCodePending
            | Code::CaReferenceDangling
            | Code::GroupMissing
            | Code::GroupDisabled
            | Code::GroupAboveVerified
            | Code::IndividualDisabled
            | Code::IndividualStale
            | Code::IndividualByKey
            | Code::EntryDuplicate
            | Code::FileUnreadable
            | Code::BudgetExceeded
            | Code::LiveDifference => Severity::Error,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::defect::Defect;
    use crate::verdict::Check;
    use std::collections::BTreeSet;

    #[test]
    fn every_code_is_listed_once_under_a_name_of_its_own() {
        let names: BTreeSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        assert!(Code::ALL.iter().all(|code| Code::named(code.as_str()) == Some(*code)));
        assert_eq!(Code::named("chain-incompleat"), None);
    }

    #[test]
    fn every_code_says_in_sentences_what_it_means_and_what_repairs_it_and_names_a_source() {
        for code in Code::ALL {
            for text in [code.meaning(), code.cause(), code.fix()] {
                assert!(text.ends_with('.') && text.len() > 10, "{code}: {text}");
            }
            assert!(code.source().len() > 5 && !code.source().ends_with('.'), "{code}");
        }
    }

    #[test]
    fn what_the_judge_and_the_matrix_call_by_a_code_is_a_code() {
        let checks = Check::ALL.into_iter().map(Check::code);
        let unknown: Vec<&str> = checks
            .chain(Defect::all().filter_map(Defect::diagnostic))
            .filter(|code| Code::named(code).is_none())
            .collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }
}
