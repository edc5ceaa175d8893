//! Dead ends of the judgement as findings: which link is wrong, and what would repair it.
//!
//! A cause is named once. What follows from it (a path that ends because the right issuer was never sent, say) is
//! left out where the cause itself is known.

use super::case::{Case, may_have_signed, other_key_id, same_key_id};
use super::findings::Findings;
use super::instance::{CaState, UploadedCa};
use super::words::{date, digits, issuer_key_id, key_id, listed, plural};
use super::{Code, Finding, Severity, profile};
use crate::certificate::{Certificate, NameMatch};
use crate::verdict::{Check, DeadEnd, MAX_EDGES, MAX_SIGNATURE_CHECKS};
use std::sync::Arc;

/// Certificates of another name that are asked whether they signed, where the issuer is missing.
const TRIED: usize = 8;
/// Certificates of one name, none of which signed, from which on they are junk and no mistake about generations.
const JUNK: usize = 16;

/// Everything about ways that led nowhere.
pub(super) fn find(case: &Case<'_>, out: &mut Findings) {
    if case.leaf_index > 0 {
        out.add(leaf_not_first(case));
    }
    if !case.chain_is_refused() {
        branches(case, out);
        return;
    }
    let own_fault = leaf_is_uploaded(case, out) || leaf_is_self_signed(case, out);
    let trail = &case.chain.trail;
    let farthest = trail.first().map_or(0, |d| d.depth);
    for group in grouped(case, trail) {
        let ends = matches!(group.check, Check::MissingIssuer | Check::NotVerified);
        if ends && own_fault {
            continue;
        }
        let decisive = group.depth == farthest || group.met_verified(case);
        for finding in explain(case, &group) {
            let weakened = if decisive { finding.severity } else { finding.severity.min(Severity::Warning) };
            out.add(finding.at(weakened));
        }
    }
}

/// Dead ends of one kind at one certificate.
struct Group<'t> {
    check: Check,
    blamed: &'t Arc<Certificate>,
    element: &'t Arc<Certificate>,
    candidates: Vec<&'t Arc<Certificate>>,
    depth: usize,
}

impl Group<'_> {
    /// Whether one of the candidates is verified: a link to it is the one that was wanted.
    fn met_verified(&self, case: &Case<'_>) -> bool {
        self.candidates.iter().any(|c| case.is_verified(c))
    }
}

fn grouped<'t>(case: &Case<'_>, trail: &'t [DeadEnd]) -> Vec<Group<'t>> {
    let mut groups: Vec<Group<'t>> = Vec::new();
    for dead_end in trail {
        let blamed = blamed(case, dead_end);
        let same = |g: &&mut Group<'_>| g.check == dead_end.check && g.blamed.sha256() == blamed.sha256();
        match groups.iter_mut().find(same) {
            Some(group) => group.candidates.extend(&dead_end.candidate),
            None => groups.push(Group {
                check: dead_end.check,
                blamed,
                element: &dead_end.element,
                candidates: dead_end.candidate.iter().collect(),
                depth: dead_end.depth,
            }),
        }
    }
    groups
}

/// The certificate that a dead end is about. A signature is a fault of what it stands in, not of the one above.
fn blamed<'t>(case: &Case<'_>, dead_end: &'t DeadEnd) -> &'t Arc<Certificate> {
    match (dead_end.check, &dead_end.candidate) {
        (Check::WrongKey | Check::Signature | Check::WeakSignature | Check::AlgorithmMismatch, _) => {
            &dead_end.element
        }
        (Check::WeakKey | Check::UnsupportedKey, Some(candidate))
            if case.rules.algorithms.key(candidate.key_kind()).is_ok() =>
        {
            &dead_end.element
        }
        (Check::Loop | Check::Budget, _) => &dead_end.element,
        _ => dead_end.culprit(),
    }
}

/// What a group of dead ends comes to; nothing where another finding says it.
fn explain(case: &Case<'_>, group: &Group<'_>) -> Vec<Finding> {
    let element = group.element;
    let name = case.name(group.blamed);
    let about = |finding: Finding| vec![finding.about(case.about(group.blamed))];
    match group.check {
        Check::WrongKey => wrong_key(case, group).into_iter().collect(),
        Check::MissingIssuer => missing_issuer(case, element),
        Check::NotVerified => not_verified(case, element),
        Check::Budget => vec![budget(case, element)],
        Check::Signature => {
            let issuer = group.candidates.first().map(|c| case.name(c)).unwrap_or_default();
            let message = format!("the signature of {name} is not valid with the key of {issuer}");
            let fix = format!("copy {name} again from where it was issued, or have it reissued");
            let keys = group.candidates.first().map(|c| key_id(c));
            about(Finding::new(Code::SigInvalid, message, fix).seen_by(keys))
        }
        Check::AlgorithmMismatch => {
            let message = format!("{name} names one signature algorithm inside and another outside");
            let fix = format!("reissue {name} with a tool that writes the same in both places");
            about(Finding::new(Code::SigAlgMismatch, message, fix))
        }
        Check::Depth => {
            let (found, limit) = (plural(group.depth.saturating_sub(1), "CA"), case.rules.longest_path);
            let message =
                format!("there are at least {found} between the device and {name}, more than {limit}");
            let fix = "shorten the chain: issue device certificates from a CA that is nearer to the root";
            about(
                Finding::new(Code::ChainDepth, message, fix)
                    .at(Severity::Error)
                    .seen_by([format!("{found}, limit {limit}")]),
            )
        }
        Check::NotPresented => {
            let message = format!("{name} is verified, and the device does not send it");
            let fix = format!("append {name} ({}) to the device's chain file", key_id(group.blamed));
            about(Finding::new(Code::VerifiedCaNotSent, message, fix).at(Severity::Error))
        }
        Check::Loop => {
            let others = case.list(group.candidates.iter().copied());
            let message = format!("the path from {name} leads back to {others}: CAs that certify each other");
            let fix = "send a certificate of one of them that leads to a verified CA";
            about(Finding::new(Code::ChainLoop, message, fix))
        }
        Check::NameConstraints => {
            let below = case.list([element]);
            let message = match element.sha256() == case.leaf.sha256() {
                true => format!("the names of {below} are outside what {name} permits"),
                false => {
                    format!("the names of {below}, or of what is below it, are outside what {name} permits")
                }
            };
            let fix = format!(
                "change the subject or alternative names of the certificates below, or reissue {name} with other constraints"
            );
            let leaf = format!("device subject {}", case.name(case.leaf));
            about(Finding::new(Code::NcViolation, message, fix).seen_by([leaf, constraints(group.blamed)]))
        }
        check => profile::fault(case, check, group.blamed).into_iter().collect(),
    }
}

/// How many subtrees a CA permits and excludes.
fn constraints(ca: &Certificate) -> String {
    let count = ca.name_constraints().map_or((0, 0), |c| (c.permitted.len(), c.excluded.len()));
    format!("{} permitted, {} excluded", plural(count.0, "name subtree"), count.1)
}

/// Nothing but CAs was given, as when a CA's file is taken for the device's.
pub(super) fn no_device(case: &Case<'_>) -> Finding {
    let message = format!("this is a CA's certificate, not a device's: {}", case.name(case.leaf));
    let fix = "give the device's chain file: its own certificate first, then the CAs above it";
    Finding::new(Code::LeafIsCa, message, fix).about(case.about(case.leaf))
}

fn leaf_not_first(case: &Case<'_>) -> Finding {
    let (first, leaf) = (&case.presented[0], case.name(case.leaf));
    let message = format!(
        "the first certificate is the CA {}, for which the device holds no key, so the handshake fails first; the device's own comes later",
        case.name(first)
    );
    let fix = format!(
        "put {leaf} first: the handshake asks for the key of the first certificate, and this is the one whose key the device holds"
    );
    let place = format!("{leaf} is number {} of {}", case.leaf_index + 1, case.presented.len());
    Finding::new(Code::LeafNotFirst, message, fix).about(case.about(first)).seen_by([place])
}

/// A device's certificate among the instance's CAs; it cannot vouch for itself.
fn leaf_is_uploaded(case: &Case<'_>, out: &mut Findings) -> bool {
    let Some(known) = case.instance.uploaded(case.leaf) else { return false };
    let name = case.name(case.leaf);
    let message = format!("{name}, the device's own certificate, is uploaded as a CA{}", known.label());
    let fix =
        format!("delete it there, and upload and verify its issuer {} instead", case.issuer_name(case.leaf));
    out.add(Finding::new(Code::LeafUploadedAsCa, message, fix).about(case.about(case.leaf)));
    true
}

fn leaf_is_self_signed(case: &Case<'_>, out: &mut Findings) -> bool {
    let leaf = case.leaf;
    if !leaf.is_self_issued() || !may_have_signed(leaf, leaf) {
        return false;
    }
    let message =
        format!("{} is signed by its own key, so no CA of a group can be above it", case.name(leaf));
    let fix = "issue the device's certificate under the CA, or give the device an individual enrollment";
    out.add(Finding::new(Code::LeafSelfSigned, message, fix).about(case.about(leaf)));
    true
}

/// The right name and another key.
fn wrong_key(case: &Case<'_>, group: &Group<'_>) -> Option<Finding> {
    let element = group.element;
    let place = case.line.iter().position(|c| c.sha256() == element.sha256());
    let signer = place.and_then(|i| case.line.get(i + 1));
    let verified = group.candidates.iter().find(|c| case.is_verified(c));
    // A root's own signature leads nowhere; and where the one that signed was sent too, none of the others would
    // have helped.
    let is_root = element.is_self_issued() && !other_key_id(element, element);
    if is_root || (signer.is_some() && verified.is_none()) || is_flood(group) {
        return None;
    }
    let (name, issuer) = (case.name(element), case.issuer_name(element));
    let wanted = issuer_key_id(element);
    let found: Vec<String> = group.candidates.iter().map(|c| key_id(c)).collect();
    let how = if verified.is_some() { "that is verified" } else { "that was sent" };
    let message =
        format!("{name} names {issuer} with {wanted} as its issuer; the one {how} has {}", listed(&found));
    let fix = match signer {
        Some(signer) => format!("upload and verify this generation of {issuer} too ({})", key_id(signer)),
        None => format!(
            "send, or upload and verify, the generation of {issuer} whose key signed {name} ({wanted})"
        ),
    };
    let evidence = group
        .candidates
        .iter()
        .take(JUNK)
        .map(|c| format!("{} with {}, valid until {}", case.name(c), key_id(c), date(c.not_after())));
    Some(Finding::new(Code::WrongIssuerKey, message, fix).about(case.about(element)).seen_by(evidence))
}

/// Whether so many certificates of one name failed that they cannot be generations of one CA.
fn is_flood(group: &Group<'_>) -> bool {
    group.candidates.len() >= JUNK
}

/// The search was ended before it was complete.
fn budget(case: &Case<'_>, element: &Arc<Certificate>) -> Finding {
    let namesakes = case.presented.iter().filter(|c| element.issuer_der() == c.subject_der()).count();
    let limits = format!("{MAX_SIGNATURE_CHECKS} signature checks, {MAX_EDGES} links");
    let name = case.name(element);
    if namesakes >= JUNK {
        let issuer = case.issuer_name(element);
        let message = format!(
            "{} are named {issuer} and none of those tried signed {name}",
            plural(namesakes, "certificate")
        );
        let fix = format!("send one: the CA whose key signed {name} ({})", issuer_key_id(element));
        let finding = Finding::new(Code::ChainExtra, message, fix).at(Severity::Error);
        return finding.about(case.about(element)).seen_by([format!("the search ended after {limits}")]);
    }
    let message = format!("the search for a path above {name} took more work than one judgement is given");
    let fix = "send the device's certificate and the CAs above it, and nothing else";
    Finding::new(Code::BudgetExceeded, message, fix).about(case.about(element)).seen_by([limits])
}

/// A path that ends because no certificate has the issuer's name.
fn missing_issuer(case: &Case<'_>, element: &Arc<Certificate>) -> Vec<Finding> {
    if let Some(finding) = misnamed(case, element) {
        return vec![finding];
    }
    if let Some(finding) = unverified_on_line(case) {
        return vec![finding];
    }
    let (name, issuer) = (case.name(element), case.issuer_name(element));
    let wanted = issuer_key_id(element);
    let message =
        format!("the path ends at {name}; its issuer {issuer} ({wanted}) was not sent and is not verified");
    let verify = if element.sha256() == case.leaf.sha256() { &issuer } else { &name };
    let mut fix =
        format!("append {issuer} ({wanted}) to the device's chain file, or upload and verify {verify}");
    let mut evidence = vec![format!("issuer {issuer}"), format!("authority {wanted}")];
    let uploaded = case.instance.issuer_among_cas(element);
    match (uploaded, case.instance.issuer_among_groups(element)) {
        (Some(known), _) => {
            fix.push_str("; the instance has it");
            evidence.push(format!("uploaded{}", known.label()));
        }
        (None, Some(group)) => {
            fix.push_str(&format!("; the group `{group}` has it"));
            evidence.push(format!(
                "the group `{group}` holds it; the service does not add it to what the device sends"
            ));
        }
        (None, None) => {}
    }
    let incomplete = Finding::new(Code::ChainIncomplete, message, fix);
    let mut found = vec![incomplete.about(case.about(element)).seen_by(evidence)];
    if let Some(known) = uploaded.filter(|ca| !case.instance.rolls_up(&ca.certificate)) {
        let above = std::slice::from_ref(&known.certificate);
        found.push(unverified(case, known, above));
    }
    found
}

/// A certificate whose key signed and whose name is another.
fn misnamed(case: &Case<'_>, element: &Arc<Certificate>) -> Option<Finding> {
    let known = case.presented.iter().chain(&case.trust.verified);
    let others = known.filter(|c| {
        c.sha256() != element.sha256()
            && c.is_ca()
            && !other_key_id(element, c)
            && element.names_as_issuer(c) == NameMatch::Different
    });
    let mut others: Vec<&Arc<Certificate>> = others.collect();
    others.sort_by_key(|c| !same_key_id(element, c));
    let signer = others.into_iter().take(TRIED).find(|c| element.verify_signed_by(c).is_ok())?;
    let (name, issuer, subject) = (case.name(element), case.issuer_name(element), case.name(signer));
    let message =
        format!("{name} was signed by {subject} and names {issuer} as its issuer, which is another name");
    let fix = format!("reissue {name} with the issuer name copied byte for byte from {subject}");
    let finding = Finding::new(Code::NameChain, message, fix).about(case.about(element));
    Some(finding.seen_by([format!("issuer {issuer}"), format!("signed by {subject}, {}", key_id(signer))]))
}

/// A complete path on which nothing is verified.
fn not_verified(case: &Case<'_>, top: &Arc<Certificate>) -> Vec<Finding> {
    let missed =
        |d: &DeadEnd| d.check == Check::WrongKey && d.candidate.as_ref().is_some_and(|c| case.is_verified(c));
    if case.chain.trail.iter().any(missed) {
        return Vec::new();
    }
    if let Some(finding) = unverified_on_line(case) {
        return vec![finding];
    }
    let authorities = case.line.get(1..).unwrap_or_default();
    let listed = case.list(authorities);
    let message = format!(
        "the path is complete up to {}, and none of its CAs is verified in this instance",
        case.name(top)
    );
    let fix =
        format!("upload and verify one of {listed}, or use the id scope of the instance that holds them");
    let evidence = authorities.iter().map(|c| format!("{} with {}", case.name(c), key_id(c)));
    vec![Finding::new(Code::NoVerifiedCa, message, fix).about(case.about(top)).seen_by(evidence)]
}

/// The uploaded CA whose verification would let the chain in: at the deciding enrollment's certificate or above it
/// if there is one, else the nearest.
fn unverified_on_line(case: &Case<'_>) -> Option<Finding> {
    let authorities = case.line.get(1..)?;
    let entry = authorities.iter().position(|c| case.is_entry(c)).unwrap_or(0);
    let known = |c: &Arc<Certificate>| case.instance.uploaded(c).filter(|ca| ca.state != CaState::Verified);
    let at = (entry..authorities.len()).chain(0..entry).find(|&i| known(&authorities[i]).is_some())?;
    Some(unverified(case, known(&authorities[at])?, &authorities[..=at]))
}

/// A CA that is uploaded and not verified. `below` is the path up to it, itself included.
fn unverified(case: &Case<'_>, ca: &UploadedCa, below: &[Arc<Certificate>]) -> Finding {
    let finding = ca.unverified_finding(&case.name(&ca.certificate), &case.instance.groups_on(below));
    finding.about(case.about(&ca.certificate))
}

/// What is to be said of dead ends beside the path that decided: they cost others who take the wrong turn.
fn branches(case: &Case<'_>, out: &mut Findings) {
    let path = &case.chain.path;
    let needed = case.needed.unwrap_or(path.len());
    for dead_end in &case.chain.trail {
        let place = path.iter().position(|c| c.sha256() == dead_end.element.sha256());
        let matters = place.is_none_or(|p| p < needed);
        let Some(candidate) = &dead_end.candidate else { continue };
        let on_path = path.iter().any(|c| c.sha256() == candidate.sha256());
        if dead_end.check != Check::Expired || !matters || on_path || !case.is_presented(candidate) {
            continue;
        }
        let name = case.name(candidate);
        let message = format!(
            "{name} has expired; another certificate leads to a verified CA, which some stacks do not find"
        );
        let fix =
            format!("remove {name} (serial {}) from the device's chain file", digits(candidate.serial()));
        let finding = Finding::new(Code::ExpiredBranch, message, fix).about(case.about(candidate));
        out.add(finding.seen_by([format!("not after {}", date(candidate.not_after()))]));
    }
}
