//! Each certificate by itself: what a device's certificate, or a CA's, should be and is not.

use super::case::Case;
use super::findings::Findings;
use super::words::{date, digits, key_id, listed, plural, span};
use super::{Code, Finding, Severity};
use crate::certificate::{Certificate, Irregularity, KeyKind, Subtree};
use crate::signature::{self, Digest, SignatureFault};
use crate::verdict::Check;
use std::sync::Arc;

/// Everything about the profiles of the certificates that count.
pub(super) fn find(case: &Case<'_>, out: &mut Findings) {
    for (index, certificate) in case.used().iter().enumerate() {
        let failing = if index == 0 { leaf_faults(case) } else { ca_faults(case, index) };
        for check in failing.into_iter().flatten() {
            if let Some(finding) = fault(case, check, certificate) {
                out.add(finding.at(weight(case, check, index)));
            }
        }
        if index == 0 {
            leaf_habits(case, certificate, out);
        } else {
            ca_habits(case, index, certificate, out);
        }
        habits(case, certificate, index == 0, out);
    }
    constraints(case, out);
}

/// What the judge let pass, by a knob or because nothing asked for it, is a warning; so is what it did not get to.
fn weight(case: &Case<'_>, check: Check, index: usize) -> Severity {
    let algorithms = case.rules.algorithms;
    let allowed = match check {
        Check::LeafIsCa => case.rules.leaf_ca,
        Check::LeafPurpose | Check::CaPurpose => !case.rules.extended_key_usage,
        Check::WeakSignature => algorithms.sha1,
        Check::WeakKey => algorithms.rsa1024,
        _ => false,
    };
    let reached = index == 0 || case.needed.is_some_and(|needed| index <= needed);
    if case.chain_is_refused() && reached && !allowed { Severity::Error } else { Severity::Warning }
}

fn when(fails: bool, check: Check) -> Option<Check> {
    fails.then_some(check)
}

/// What the judge checks of a leaf, all of it: the judge stops at the first.
fn leaf_faults(case: &Case<'_>) -> Vec<Option<Check>> {
    let leaf = case.leaf;
    let mut faults = common_faults(case, leaf);
    faults.extend([
        when(leaf.version() != 3 && !case.rules.leaf_v1, Check::LeafVersion),
        when(leaf.is_ca(), Check::LeafIsCa),
        when(leaf.key_usage().is_some_and(|u| !u.digital_signature), Check::LeafKeyUsage),
        purpose(case, leaf, Check::LeafPurpose),
    ]);
    faults
}

/// The same of the CA in one place of the line.
fn ca_faults(case: &Case<'_>, index: usize) -> Vec<Option<Check>> {
    let ca = &case.line[index];
    let below = authorities_below(case, index).len();
    let limit = ca.basic_constraints().and_then(|b| b.path_length);
    let mut faults = common_faults(case, ca);
    faults.extend([
        when(ca.version() != 3, Check::IssuerVersion),
        when(ca.version() == 3 && !ca.is_ca(), Check::IssuerNotCa),
        when(limit.is_some_and(|limit| below > limit as usize), Check::PathLength),
        // What is no CA has no business to sign, and that is said.
        when(ca.is_ca() && ca.key_usage().is_some_and(|u| !u.key_cert_sign), Check::IssuerKeyUsage),
        purpose(case, ca, Check::CaPurpose),
    ]);
    faults
}

/// The CAs on the line below the one in this place, as path lengths count them.
fn authorities_below<'c>(case: &'c Case<'_>, index: usize) -> Vec<&'c Arc<Certificate>> {
    let below = case.line.get(1..index).unwrap_or_default();
    below.iter().filter(|c| c.is_ca() && !c.is_self_issued()).collect()
}

fn purpose(case: &Case<'_>, certificate: &Certificate, otherwise: Check) -> Option<Check> {
    let usage = certificate.extended_key_usage()?;
    if usage.empty {
        return Some(Check::EmptyPurpose);
    }
    let asked = case.question.purpose == super::Purpose::Client;
    when(asked && !usage.client_auth && !usage.any, otherwise)
}

fn common_faults(case: &Case<'_>, certificate: &Certificate) -> Vec<Option<Check>> {
    let skew = i64::try_from(case.rules.clock_skew.as_secs()).unwrap_or(i64::MAX);
    let at = case.question.at;
    let inverted = certificate.not_before() > certificate.not_after();
    let expired = at.saturating_sub(skew) > certificate.not_after();
    let early = at.saturating_add(skew) < certificate.not_before();
    let critical = certificate.unknown_critical();
    let policies = critical.is_some_and(|oid| POLICY_EXTENSIONS.contains(&oid));
    let weak = signature::digest(certificate.signature_algorithm()).is_weak();
    let mut faults = vec![
        when(inverted, Check::ValidityInverted),
        when(expired && !inverted, Check::Expired),
        when(early && !inverted, Check::NotYetValid),
        when(policies, Check::PolicyConstraints),
        when(critical.is_some() && !policies, Check::CriticalExtension),
        when(weak && !certificate.is_self_issued(), Check::WeakSignature),
        key_fault(certificate.key_kind()),
    ];
    faults.extend(certificate.irregularities().iter().map(|irregularity| match irregularity {
        Irregularity::SerialNotMinimal => Some(Check::SerialEncoding),
        Irregularity::TimeFraction | Irregularity::TimeIncomplete => Some(Check::TimeEncoding),
        Irregularity::TimeForm => None,
        Irregularity::ExtensionMalformed(_) => Some(Check::MalformedExtension),
        Irregularity::ExtensionTwice(_) => Some(Check::DuplicateExtension),
    }));
    faults
}

/// What is against a kind of key by itself; P-521 and Ed25519 are merely unusual, and where a knob refuses them the
/// dead end says so.
fn key_fault(kind: KeyKind) -> Option<Check> {
    match signature::Algorithms::DEFAULT.key(kind) {
        Ok(()) => None,
        Err(SignatureFault::WeakKey) => Some(Check::WeakKey),
        Err(_) => Some(Check::UnsupportedKey),
    }
}

/// policyMappings, policyConstraints and inhibitAnyPolicy, which nothing here processes.
const POLICY_EXTENSIONS: [&str; 3] = ["2.5.29.33", "2.5.29.36", "2.5.29.54"];
/// certificatePolicies.
const POLICIES: &str = "2.5.29.32";
/// basicConstraints.
const BASIC_CONSTRAINTS: &str = "2.5.29.19";
/// 99991231235959Z, "no expiry" (RFC 5280 section 4.1.2.5).
const NO_EXPIRY: i64 = 253_402_300_799;

/// Names of extensions that occur critical and unprocessed.
fn extension_name(oid: &str) -> &'static str {
    match oid {
        "2.5.29.33" => " (policy mappings)",
        "2.5.29.36" => " (policy constraints)",
        "2.5.29.54" => " (inhibit any-policy)",
        "2.5.29.16" => " (private key usage period)",
        "1.3.6.1.5.5.7.1.24" => " (TLS feature)",
        "2.23.133.5.4.1" | "2.23.133.5.4.5" => " (DICE TcbInfo; the DICE profile asks for critical on some)",
        _ => "",
    }
}

/// A certificate that fails a check by itself; none for checks that are about a path.
pub(super) fn fault(case: &Case<'_>, check: Check, certificate: &Arc<Certificate>) -> Option<Finding> {
    let code = code_of(check)?;
    let name = case.name(certificate);
    let at = case.question.at;
    let is_leaf = certificate.sha256() == case.leaf.sha256();
    let reissue = |what: &str| match is_leaf {
        true => format!("reissue {name} {what}"),
        false => format!("reissue {name} with the same key and name {what}: what it issued stays valid"),
    };
    let with_key = |what: &str| format!("reissue {name} with a key on P-256 or RSA-2048{what}");
    let usage = "keyUsage (RFC 5280 section 4.2.1.3)";
    let (message, fix, evidence) = match check {
        Check::Expired => (
            format!("{name} expired {} before the moment asked for", span(at - certificate.not_after())),
            format!("renew {name}"),
            format!("not after {}", date(certificate.not_after())),
        ),
        Check::NotYetValid => (
            format!("{name} becomes valid only {} later", span(certificate.not_before() - at)),
            format!("check the clock of the machine that issued {name}, or reissue it backdated by a day"),
            format!("not before {}", date(certificate.not_before())),
        ),
        Check::ValidityInverted => (
            format!("{name} ends before it begins"),
            reissue("with its dates in order"),
            format!("from {} to {}", date(certificate.not_before()), date(certificate.not_after())),
        ),
        Check::IssuerNotCa => (
            format!("{name} issued a certificate below it and is not a CA"),
            format!(
                "issue what is below it from a CA; or, if {name} is meant to be one, reissue it with the same key and name and basicConstraints CA:TRUE"
            ),
            match certificate.basic_constraints() {
                Some(_) => "basicConstraints CA:FALSE".to_owned(),
                None => "no basicConstraints".to_owned(),
            },
        ),
        Check::IssuerVersion => (
            format!("{name} is of X.509 version {} and cannot say that it is a CA", certificate.version()),
            reissue("as version 3 with basicConstraints CA:TRUE"),
            format!("version {}", certificate.version()),
        ),
        Check::LeafIsCa => (
            format!("{name} is the device's certificate and says that it is a CA"),
            reissue("with basicConstraints CA:FALSE"),
            "basicConstraints CA:TRUE".to_owned(),
        ),
        Check::LeafVersion => (
            format!("{name} is of X.509 version {}", certificate.version()),
            reissue("as version 3; `openssl x509 -req` needs `-extfile` for that"),
            format!("version {}", certificate.version()),
        ),
        Check::PathLength => path_length(case, certificate, &name),
        Check::IssuerKeyUsage => (
            format!("{name} issued a certificate below it and its key usage does not allow that"),
            reissue("with keyCertSign"),
            format!("no keyCertSign in {usage}"),
        ),
        Check::LeafKeyUsage => (
            format!("the key usage of {name} does not allow the signature that TLS asks for"),
            reissue("with digitalSignature"),
            format!("no digitalSignature in {usage}"),
        ),
        Check::LeafPurpose | Check::CaPurpose => (
            format!("the extended key usage of {name} does not allow client authentication"),
            reissue("with clientAuth in its extended key usage, or without the extension"),
            "no clientAuth in extKeyUsage".to_owned(),
        ),
        Check::EmptyPurpose => (
            format!("the extended key usage of {name} lists nothing"),
            reissue("with clientAuth in its extended key usage"),
            "extKeyUsage is empty; RFC 5280 section 4.2.1.12 asks for one purpose or more".to_owned(),
        ),
        Check::WeakSignature => (
            format!("the signature of {name} uses {}", signature::digest(certificate.signature_algorithm())),
            format!("have {name} signed again with SHA-256"),
            format!("signed with {}", signature::digest(certificate.signature_algorithm())),
        ),
        Check::WeakKey => (
            format!("{name} has a key that is too short: {}", certificate.key_kind()),
            with_key(""),
            format!("{}; 2048 bits are the least", certificate.key_kind()),
        ),
        Check::UnsupportedKey => (
            format!(
                "{name} has a key, or a signature, of a kind that is not accepted: {}",
                certificate.key_kind()
            ),
            with_key(""),
            format!("{}", certificate.key_kind()),
        ),
        Check::CriticalExtension | Check::PolicyConstraints => {
            let oid = certificate.unknown_critical().unwrap_or("of an unknown kind");
            let shown = format!("{}{}", super::words::cut(oid.to_owned()), extension_name(oid));
            (
                format!("{name} has the critical extension {shown}, which is not processed and so refused"),
                reissue("with the extension not marked critical, or without it"),
                format!("critical extension {shown}"),
            )
        }
        Check::DuplicateExtension | Check::MalformedExtension => {
            let oids = irregular_extensions(certificate, check);
            let what =
                if check == Check::DuplicateExtension { "twice" } else { "in a form that cannot be read" };
            (
                format!("{name} has an extension {what}: {}", listed(&oids)),
                reissue("with each extension once and in its proper form"),
                listed(&oids),
            )
        }
        Check::TimeEncoding => (
            format!("the dates of {name} are not written as DER asks"),
            reissue("with its dates to the second, in UTC and without fractions"),
            format!("from {} to {}", date(certificate.not_before()), date(certificate.not_after())),
        ),
        Check::SerialEncoding => (
            format!("the serial number of {name} has a superfluous leading octet"),
            reissue("with a serial number in DER"),
            format!("serial {}", digits(certificate.serial())),
        ),
        _ => return None,
    };
    Some(Finding::new(code, message, fix).about(case.about(certificate)).seen_by([evidence]))
}

/// The code of a check.
pub(super) fn code_of(check: Check) -> Option<Code> {
    Code::ALL.into_iter().find(|code| code.as_str() == check.code())
}

fn path_length(case: &Case<'_>, ca: &Arc<Certificate>, name: &str) -> (String, String, String) {
    let allowed = ca.basic_constraints().and_then(|b| b.path_length).unwrap_or(0);
    let place = case.line.iter().position(|c| c.sha256() == ca.sha256()).unwrap_or(case.line.len());
    let below = authorities_below(case, place);
    let found = plural(below.len(), "CA");
    (
        format!(
            "{name} allows {} below it and the chain has {found}: {}",
            plural(allowed as usize, "CA"),
            case.list(below.iter().copied())
        ),
        format!("issue from {name} directly, or reissue it with a path length of {}", below.len()),
        format!("pathLen {allowed}, {found} below"),
    )
}

fn irregular_extensions(certificate: &Certificate, check: Check) -> Vec<String> {
    let found = certificate.irregularities().into_iter().filter_map(|irregularity| match irregularity {
        Irregularity::ExtensionTwice(oid) if check == Check::DuplicateExtension => Some(oid),
        Irregularity::ExtensionMalformed(oid) if check == Check::MalformedExtension => Some(oid),
        _ => None,
    });
    found.map(super::words::cut).collect()
}

/// What is unwise in a device's certificate.
fn leaf_habits(case: &Case<'_>, leaf: &Arc<Certificate>, out: &mut Findings) {
    let name = case.name(leaf);
    let mut add = |finding: Finding| out.add(finding.about(case.about(leaf)));
    if leaf.version() != 3 && case.rules.leaf_v1 {
        let message = format!("{name} is of X.509 version {}, which many verifiers refuse", leaf.version());
        let fix = format!("reissue {name} as version 3; `openssl x509 -req` needs `-extfile` for that");
        add(Finding::new(Code::LeafV1, message, fix)
            .at(Severity::Warning)
            .seen_by([format!("version {}", leaf.version())]));
    }
    if !leaf.is_ca() && leaf.key_usage().is_some_and(|u| u.key_cert_sign) {
        let message = format!("the key usage of {name} allows it to sign certificates, and it is no CA");
        let fix = format!("reissue {name} with digitalSignature alone");
        add(Finding::new(Code::LeafKuCertsign, message, fix).seen_by(["keyCertSign".to_owned()]));
    }
    if leaf.serial().len() <= PREDICTABLE {
        let message = format!("the serial number of {name} is short enough to be guessed");
        let fix = "use 16 random bytes with the top bit clear as serial numbers";
        add(Finding::new(Code::SerialPredictable, message, fix).seen_by([serial(leaf)]));
    }
}

/// Octets of a serial number that can be counted through.
const PREDICTABLE: usize = 4;

fn serial(certificate: &Certificate) -> String {
    format!("serial {}", digits(certificate.serial()))
}

/// What is unwise in a CA's certificate.
fn ca_habits(case: &Case<'_>, index: usize, ca: &Arc<Certificate>, out: &mut Findings) {
    let name = case.name(ca);
    let mut add = |finding: Finding| out.add(finding.about(case.about(ca)));
    let reissue = format!("reissue {name} with the same key and name");
    let bc = ca.extensions().iter().find(|e| e.oid == BASIC_CONSTRAINTS);
    if ca.is_ca() && bc.is_some_and(|e| !e.critical) {
        let message = format!("{name} is a CA and its basicConstraints are not critical");
        add(Finding::new(Code::BcNoncritical, message, format!("{reissue} and critical basicConstraints")));
    }
    if ca.is_ca() && ca.key_usage().is_none() {
        let message = format!("{name} is a CA without key usage, which RFC 5280 asks of it");
        add(Finding::new(Code::CaKuAbsent, message, format!("{reissue} and keyCertSign, cRLSign")));
    }
    if ca.version() == 3 && ca.subject_key_id().is_none() {
        let message = format!("{name} has no key id, so it is found by its name alone");
        let fix = format!("{reissue} and a subject key identifier; keep CA names unique meanwhile");
        add(Finding::new(Code::NoKeyIdentifiers, message, fix));
    }
    let limit = ca.basic_constraints().and_then(|b| b.path_length);
    let below = &case.line[1..index];
    let counted = below.iter().filter(|c| !c.is_self_issued()).count();
    if let Some(limit) = limit.filter(|&limit| counted <= limit as usize && below.len() > limit as usize) {
        let message = format!(
            "{name} allows {} below it; RFC 5280 does not count self-issued ones, but webpki and Go do",
            plural(limit as usize, "CA")
        );
        let fix = format!("issue from {name} directly, or reissue it with a path length of {}", below.len());
        let evidence = [format!("pathLen {limit}, {} below", plural(below.len(), "CA")), case.list(below)];
        add(Finding::new(Code::PathlenSelfIssued, message, fix).seen_by(evidence));
    }
    if ca.is_self_issued() && signature::digest(ca.signature_algorithm()).is_weak() {
        let digest = signature::digest(ca.signature_algorithm());
        let message = format!("the root {name} signed itself with {digest}, which nobody has to check");
        let fix = "nothing to repair: trust in a root does not come from its own signature";
        add(Finding::new(Code::SigAlgWeak, message, fix)
            .at(Severity::Info)
            .seen_by([format!("signed with {digest}")]));
    }
}

/// What is unwise in any certificate.
fn habits(case: &Case<'_>, certificate: &Arc<Certificate>, is_leaf: bool, out: &mut Findings) {
    let name = case.name(certificate);
    let mut add = |finding: Finding| out.add(finding.about(case.about(certificate)));
    if let Some(unusual) = unusual(certificate) {
        let message = format!("{name} has {unusual}, which not every TLS stack takes");
        let fix = "use P-256 with SHA-256, or RSA-2048, unless you know that the service takes it";
        add(Finding::new(Code::KeyUnusual, message, fix).seen_by([unusual]));
    }
    if certificate.extended_key_usage().is_some_and(|u| u.any && !u.client_auth) {
        let message =
            format!("{name} lists anyExtendedKeyUsage without clientAuth; OpenSSL and webpki refuse it");
        add(Finding::new(Code::EkuAnyOnly, message, format!("reissue {name} with clientAuth")));
    }
    if certificate.extensions().iter().any(|e| e.oid == POLICIES && e.critical) {
        let message = format!("{name} has critical certificate policies; webpki refuses them");
        add(Finding::new(
            Code::PolicyCritical,
            message,
            format!("reissue {name} with policies that are not critical"),
        ));
    }
    if certificate.irregularities().contains(&Irregularity::TimeForm) {
        let message =
            format!("{name} writes a date before 2050 as GeneralizedTime, where UTCTime is required");
        let fix = format!("reissue {name} with UTCTime");
        add(Finding::new(Code::TimeEncoding, message, fix).at(Severity::Warning));
    }
    if certificate.not_after() >= NO_EXPIRY && is_leaf {
        let message = format!("{name} never expires, as is usual for IEEE 802.1AR identities");
        let fix = "nothing to repair: plan how a lost key is kept out, by a disabled enrollment";
        add(Finding::new(Code::NoExpiry, message, fix)
            .seen_by([format!("not after {}", date(certificate.not_after()))]));
    }
    let octets = certificate.serial();
    let random = "use 16 random bytes with the top bit clear as serial numbers";
    if octets.first().is_some_and(|b| b & 0x80 != 0) {
        let message = format!("the serial number of {name} is negative; Go cannot even read it");
        add(Finding::new(Code::SerialNonpositive, message, random)
            .at(Severity::Error)
            .seen_by([serial(certificate)]));
    } else if octets.iter().all(|&b| b == 0) {
        let message = format!("the serial number of {name} is zero");
        add(Finding::new(Code::SerialNonpositive, message, random)
            .at(Severity::Warning)
            .seen_by([serial(certificate)]));
    }
    if octets.len() > LONGEST_SERIAL {
        let message =
            format!("the serial number of {name} has {} octets, and RFC 5280 allows 20", octets.len());
        add(Finding::new(Code::SerialLong, message, random).seen_by([serial(certificate)]));
    }
    // A root points to itself, and a version 1 certificate cannot point to anything.
    let may_point = certificate.version() == 3 && !certificate.is_self_issued();
    if may_point && certificate.authority_key_id().is_none() {
        let message = format!("{name} does not say which key signed it");
        let fix = format!("reissue {name} with an authority key identifier; keep CA names unique meanwhile");
        add(Finding::new(Code::NoKeyIdentifiers, message, fix).at(Severity::Info));
    }
}

/// Octets that RFC 5280 section 4.1.2.2 allows.
const LONGEST_SERIAL: usize = 20;

/// What few use: kinds of keys, and pairs of key and digest. None where everything is usual.
fn unusual(certificate: &Certificate) -> Option<String> {
    let kind = certificate.key_kind();
    match kind {
        KeyKind::P521 | KeyKind::Ed25519 | KeyKind::RsaPss(_) => {
            return Some(format!("a key of the kind {kind}"));
        }
        KeyKind::Rsa(bits, _) if bits > 4096 => return Some(format!("a key of the kind {kind}")),
        KeyKind::Rsa(_, false) => return Some("an RSA key with an exponent other than 65537".to_owned()),
        _ => {}
    }
    let algorithm = certificate.signature_algorithm();
    let ecdsa =
        crate::der::split(algorithm).is_some_and(|id| id.content == crate::der::oid::ECDSA_WITH_SHA512);
    (ecdsa && signature::digest(algorithm) == Digest::Sha512)
        .then(|| "an ECDSA signature with SHA-512".to_owned())
}

/// Name constraints that others read differently.
fn constraints(case: &Case<'_>, out: &mut Findings) {
    for ca in case.used().iter().skip(1) {
        let Some(demands) = ca.name_constraints() else { continue };
        let both = || demands.permitted.iter().chain(&demands.excluded);
        let name = case.name(ca);
        if both().any(|s| matches!(s, Subtree::Directory(_))) && !case.chain_is_refused() {
            let message =
                format!("{name} constrains directory names; webpki and Go refuse every such constraint");
            let fix = format!("reissue {name} without them if other verifiers matter to you");
            out.add(Finding::new(Code::NcDn, message, fix).about(case.about(ca)));
        }
        let dns: Vec<String> = both()
            .filter_map(|s| match s {
                Subtree::Dns(domain) => Some(super::words::cut(domain.clone())),
                _ => None,
            })
            .collect();
        if !dns.is_empty() && case.leaf.alternative_names().dns.is_empty() && is_host_like(case.leaf) {
            let leaf = case.name(case.leaf);
            let message = format!("{name} constrains DNS names, and OpenSSL takes the CN of {leaf} for one");
            let fix = "use device names without dots, or put the host name into subjectAltName";
            let finding = Finding::new(Code::NcCnDns, message, fix).about(case.about(ca));
            out.add(finding.seen_by([format!("constraints on {}", listed(&dns)), key_id(ca)]));
        }
    }
}

/// Whether a CN looks like a host name: labels of letters, digits and dashes, with a dot between them.
fn is_host_like(leaf: &Certificate) -> bool {
    let crate::certificate::CommonName::One(name) = leaf.common_name() else { return false };
    let label =
        |l: &str| !l.is_empty() && l.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    name.contains('.') && name.split('.').all(label)
}
