//! The chain as it is sent: its order, what is superfluous or missing in it, how long it is, and which of several
//! issuers was meant.

use super::case::{Case, has_signed, other_key_id, same_key_id};
use super::findings::Findings;
use super::words::{issuer_key_id, key_id, plural};
use super::{Code, Finding, Severity};
use crate::certificate::{Certificate, NameMatch};
use std::collections::HashSet;
use std::sync::Arc;

/// Certificates of one name, even where key ids tell them apart, that are more than the rolling over of a CA.
const MANY_NAMESAKES: usize = 8;
/// Bytes of a chain that are worth knowing of, that small TLS stacks fail on, and that hardly fit the message.
/// The tutorials' leaf, intermediate and root with RSA-4096 make 4 KB and a little, which is no cause for a warning.
const SIZES: [(usize, Severity); 3] =
    [(60_000, Severity::Error), (4_200, Severity::Warning), (2_048, Severity::Info)];
/// Bytes that a constrained device has room for.
const ROOM: usize = 4_096;
/// CAs between the device and the verified one that are worth knowing of, and that are many.
const DEPTHS: [(usize, Severity); 2] = [(4, Severity::Warning), (3, Severity::Info)];

/// Everything about what is sent.
pub(super) fn find(case: &Case<'_>, out: &mut Findings) {
    key(case, out);
    duplicates(case, out);
    extras(case, out);
    size(case, out);
    if case.is_individual() {
        return;
    }
    order(case, out);
    roots(case, out);
    links(case, out);
    if !case.chain_is_refused() {
        not_sent(case, out);
        ambiguous(case, out);
        depth(case, out);
    }
}

fn key(case: &Case<'_>, out: &mut Findings) {
    // A leaf that is not first explains it: the key is that of another certificate.
    if case.key_matches != Some(false) || case.leaf_index > 0 {
        return;
    }
    let name = case.name(case.leaf);
    let message = format!("the private key does not belong to {name}");
    let fix = "pair the device's key with the certificate that was issued for it";
    out.add(Finding::new(Code::KeyMismatch, message, fix).about(case.about(case.leaf)));
}

/// Bytes that a certificate takes in the TLS message (RFC 5246 section 7.4.2).
fn on_the_wire(certificate: &Certificate) -> usize {
    certificate.der().len() + 3
}

fn bytes_of<'c>(certificates: impl IntoIterator<Item = &'c Arc<Certificate>>) -> String {
    format!("{} bytes in each handshake", certificates.into_iter().map(|c| on_the_wire(c)).sum::<usize>())
}

fn duplicates(case: &Case<'_>, out: &mut Findings) {
    let mut seen = HashSet::new();
    let again: Vec<&Arc<Certificate>> = case.presented.iter().filter(|c| !seen.insert(c.sha256())).collect();
    let Some(first) = again.first() else { return };
    let message = format!("sent more than once: {}", case.list(again.iter().copied()));
    let fix = "send each certificate once; a file of extra certificates does not start with the device's own";
    let finding = Finding::new(Code::ChainDuplicate, message, fix).about(case.about(first));
    out.add(finding.seen_by([bytes_of(again.iter().copied())]));
}

fn extras(case: &Case<'_>, out: &mut Findings) {
    let unused = |c: &&Arc<Certificate>| !case.is_related(c);
    let is_leaf = |c: &&Arc<Certificate>| !c.is_ca() && !c.is_self_issued() && c.version() == 3;
    let (leaves, others): (Vec<_>, Vec<_>) = case.presented.iter().filter(unused).partition(|c| is_leaf(c));
    if let Some(first) = leaves.first() {
        let message = format!(
            "there is another device's certificate in the chain: {}",
            case.list(leaves.iter().copied())
        );
        let fix = format!(
            "remove it, and check that {} is the right device: files were mixed up",
            case.name(case.leaf)
        );
        let finding = Finding::new(Code::ChainExtra, message, fix).at(Severity::Error);
        out.add(finding.about(case.about(first)).seen_by([bytes_of(leaves.iter().copied())]));
    }
    // What is above a gap is cut off by it, and not superfluous.
    let gap = out.holds(Code::ChainIncomplete) || out.holds(Code::NameChain);
    if let Some(first) = others.first().filter(|_| !gap) {
        let message = format!(
            "no path uses {}: {}",
            plural(others.len(), "certificate"),
            case.list(others.iter().copied())
        );
        let fix = "remove what is not above the device's certificate from its chain file";
        let finding = Finding::new(Code::ChainExtra, message, fix).at(Severity::Warning);
        out.add(finding.about(case.about(first)).seen_by([bytes_of(others.iter().copied())]));
    }
    if case.ignored > 0 {
        let message = format!(
            "{} beyond the first {} are not looked at",
            plural(case.ignored, "certificate"),
            case.presented.len()
        );
        let fix = "send the device's certificate and the CAs above it, and nothing else";
        out.add(Finding::new(Code::ChainExtra, message, fix).at(Severity::Warning));
    }
}

fn size(case: &Case<'_>, out: &mut Findings) {
    // The message's own length field and header (RFC 5246 section 7.4).
    let bytes = 7 + case.presented.iter().map(|c| on_the_wire(c)).sum::<usize>();
    let Some((limit, severity)) = SIZES.into_iter().find(|(limit, _)| bytes > *limit) else { return };
    let constrained = case.question.constrained && bytes > ROOM;
    let severity = if constrained { Severity::Error } else { severity };
    let message = match (constrained, limit) {
        (true, _) => format!("the chain takes {bytes} bytes, and the device has room for {ROOM}"),
        (false, 60_000) => {
            format!("the chain takes {bytes} bytes, and a TLS message of 65535 is the most that is read")
        }
        (false, 4_200) => format!("the chain takes {bytes} bytes, and small TLS stacks fail above 4096"),
        (false, _) => format!("the chain takes {bytes} bytes in each handshake"),
    };
    let largest = case.presented.iter().max_by_key(|c| c.der().len());
    let fix = "use keys on P-256, and send nothing beyond the verified CA";
    let evidence = largest.map(|c| format!("largest: {} with {} bytes", case.name(c), c.der().len()));
    out.add(Finding::new(Code::ChainSize, message, fix).at(severity).seen_by(evidence));
}

/// The places in which the line's certificates were sent; each the first time, the line's order.
fn places(case: &Case<'_>) -> Vec<usize> {
    let place = |c: &Arc<Certificate>| case.presented.iter().position(|p| p.sha256() == c.sha256());
    case.line.iter().filter_map(place).collect()
}

fn order(case: &Case<'_>, out: &mut Findings) {
    let places = places(case);
    let Some(wrong) = (2..places.len()).find(|&i| places[i] < places[i - 1]) else { return };
    let first = &case.presented[places[wrong]];
    let right: Vec<&Arc<Certificate>> = case.line.iter().filter(|c| case.is_presented(c)).collect();
    let message = format!(
        "{} is sent before what it issued; TLS 1.2 asks for each CA right after it",
        case.name(first)
    );
    let fix = format!("send, in this order: {}", case.list(right));
    let sent = format!("sent: {}", case.list(case.presented));
    out.add(Finding::new(Code::ChainOrder, message, fix).about(case.about(first)).seen_by([sent]));
}

/// Roots that were sent: nobody needs one, unless it is the verified CA.
fn roots(case: &Case<'_>, out: &mut Findings) {
    let mut seen = HashSet::new();
    // A CA may have issued another of its own name: that one names the other's key.
    let is_root = |c: &&Arc<Certificate>| {
        let own = c.is_self_issued() && !other_key_id(c, c) && c.sha256() != case.leaf.sha256();
        own && case.is_related(c) && seen.insert(*c.sha256())
    };
    let roots = case.presented.iter().filter(is_root);
    let (verified, others): (Vec<_>, Vec<_>) = roots.partition(|root| case.is_verified(root));
    let (stale, needless): (Vec<_>, Vec<_>) = others.into_iter().partition(|root| is_renewed(case, root));
    let mut add = |code: Code, roots: &[&Arc<Certificate>], message: String, fix: &str| {
        let Some(first) = roots.first() else { return };
        let evidence = [bytes_of(roots.iter().copied()), key_id(first)];
        out.add(Finding::new(code, message, fix).about(case.about(first)).seen_by(evidence));
    };
    let list = |roots: &[&Arc<Certificate>]| case.list(roots.iter().copied());
    let message = format!(
        "{} is sent in another generation than the verified one; name and key are the same",
        list(&stale)
    );
    add(Code::StaleRootSent, &stale, message, "send the verified generation, or none");
    // Where nothing is trusted yet, a root may be what is to be verified.
    if case.needed.is_some() && !needless.is_empty() {
        let message = format!("sent as a root, and nothing needs it: {}", list(&needless));
        add(Code::RootSent, &needless, message, "remove it from the device's chain file");
        return;
    }
    let message =
        format!("the root {} is sent; it is verified, and the service has it already", list(&verified));
    let fix = "nothing to repair: the documentation asks for the chain up to and including the verified CA";
    add(Code::RootSent, &verified, message, fix);
}

/// Whether another certificate with a root's name and key is verified.
fn is_renewed(case: &Case<'_>, root: &Certificate) -> bool {
    case.trust.verified.iter().any(|v| {
        v.sha256() != root.sha256()
            && v.subject_der() == root.subject_der()
            && v.public_key() == root.public_key()
    })
}

/// What is odd between neighbours.
fn links(case: &Case<'_>, out: &mut Findings) {
    for pair in case.used().windows(2) {
        let [child, issuer] = pair else { continue };
        let (name, above) = (case.name(child), case.name(issuer));
        if child.names_as_issuer(issuer) == NameMatch::Normalised {
            let message = format!(
                "{name} spells the name of its issuer {above} differently; webpki and Go compare bytes"
            );
            let fix = format!("reissue {name} with the issuer name copied byte for byte");
            let evidence = [format!("issuer {}", case.issuer_name(child)), format!("subject {above}")];
            out.add(Finding::new(Code::NameCompare, message, fix).about(case.about(child)).seen_by(evidence));
        }
        if other_key_id(child, issuer) {
            let message = match has_signed(child, issuer) {
                true => format!(
                    "{name} names a key id that is not its issuer's, although {above} signed it; OpenSSL refuses that"
                ),
                false => format!(
                    "{name} names a key id that is not that of {above}, which has its issuer's name; OpenSSL refuses that"
                ),
            };
            let fix = format!("reissue {name} with the key id of {above}");
            let evidence =
                [format!("authority {}", issuer_key_id(child)), format!("subject {}", key_id(issuer))];
            out.add(Finding::new(Code::AkiMismatch, message, fix).about(case.about(child)).seen_by(evidence));
        }
        if child.sha256() == case.leaf.sha256() && issuer.is_self_issued() && case.line.len() == 2 {
            let message =
                format!("{name} comes straight from the root {above}: one factory cannot be shut out alone");
            let fix = "issue devices from an intermediate for each factory or line";
            out.add(Finding::new(Code::FlatHierarchy, message, fix).about(case.about(issuer)));
        }
    }
}

/// Verified CAs that the path needs and the device does not send.
fn not_sent(case: &Case<'_>, out: &mut Findings) {
    if case.needed.is_none() {
        return;
    }
    let missing: Vec<&Arc<Certificate>> = case.used().iter().filter(|c| !case.is_presented(c)).collect();
    let Some(first) = missing.first() else { return };
    let names = case.list(missing.iter().copied());
    let message = format!(
        "{names} is not sent; it works because the service holds it, and the documentation asks for it"
    );
    let fix = format!("append {names} ({}) to the device's chain file", key_id(first));
    out.add(Finding::new(Code::VerifiedCaNotSent, message, fix).about(case.about(first)));
}

/// Several certificates of one CA's name were sent.
fn ambiguous(case: &Case<'_>, out: &mut Findings) {
    if out.holds(Code::ExpiredBranch) {
        return;
    }
    for pair in case.used().windows(2) {
        let [child, issuer] = pair else { continue };
        let mut seen = HashSet::new();
        let namesakes = case.presented.iter().filter(|c| {
            c.subject_der() == issuer.subject_der() && c.sha256() != child.sha256() && seen.insert(c.sha256())
        });
        let namesakes: Vec<&Arc<Certificate>> = namesakes.collect();
        if namesakes.len() < 2 || !namesakes.iter().any(|c| c.sha256() == issuer.sha256()) {
            continue;
        }
        let told_apart =
            namesakes.iter().filter(|c| same_key_id(child, c)).count() == 1 && same_key_id(child, issuer);
        let few = namesakes.len() < MANY_NAMESAKES;
        let severity = if told_apart && few { Severity::Info } else { Severity::Warning };
        let name = case.name(issuer);
        let how = if told_apart { "its key id" } else { "trying them" };
        let message = format!(
            "{} share the name {name}; the issuer of {} was found by {how}, and stacks that try only the first differ",
            plural(namesakes.len(), "certificate"),
            case.name(child)
        );
        let fix = format!(
            "send one of them: the one with {}, serial {}",
            key_id(issuer),
            super::words::digits(issuer.serial())
        );
        let evidence = namesakes.iter().take(MANY_NAMESAKES).map(|c| {
            format!(
                "issued by {}, {}, serial {}",
                case.issuer_name(c),
                key_id(c),
                super::words::digits(c.serial())
            )
        });
        out.add(
            Finding::new(Code::AmbiguousIssuer, message, fix)
                .at(severity)
                .about(case.about(issuer))
                .seen_by(evidence),
        );
    }
}

fn depth(case: &Case<'_>, out: &mut Findings) {
    let Some(between) = case.needed.and_then(|needed| needed.checked_sub(1)) else { return };
    let Some((_, severity)) = DEPTHS.into_iter().find(|(limit, _)| between >= *limit) else { return };
    let message = format!(
        "there are {} between the device and the verified one; webpki takes 6",
        plural(between, "CA")
    );
    let fix = "shorten the chain: issue device certificates from a CA that is nearer to the root";
    out.add(
        Finding::new(Code::ChainDepth, message, fix).at(severity).seen_by([case.list(&case.used()[1..])]),
    );
}
