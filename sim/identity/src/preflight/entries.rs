//! Which enrollment decides for the device, and why that one.

use super::case::Case;
use super::findings::Findings;
use super::words::listed;
use super::{Code, Finding, InstanceCredential, Severity};
use crate::certificate::Certificate;
use crate::shown::hex;
use crate::verdict::{Entry, Goal, Verdict};
use sim_protocol::EnrollmentGroupId;
use std::sync::Arc;

/// Everything about enrollments.
pub(super) fn find(case: &Case<'_>, out: &mut Findings) {
    if case.goal == Goal::RollUp {
        return;
    }
    match &case.chain.verdict {
        Verdict::NoEntry => out.add(missing(case)),
        Verdict::Disabled(group) => out.add(disabled(case, group)),
        Verdict::GroupAboveVerified => out.add(above_verified(case)),
        Verdict::LeafIsEntryCertificate => out.add(leaf_in_group(case)),
        Verdict::DisabledIndividual => out.add(individual_disabled(case)),
        Verdict::IndividualStale => out.add(individual_stale(case)),
        Verdict::IndividualByKey => out.add(individual_by_key(case)),
        Verdict::Accept(group) => accepted(case, group, out),
        _ => {}
    }
    if matches!(case.chain.verdict, Verdict::NoEntry | Verdict::NoVerifiedCa) {
        case.instance.dangling().into_iter().for_each(|finding| out.add(finding));
    }
}

fn authorities<'c>(case: &'c Case<'_>) -> &'c [Arc<Certificate>] {
    case.line.get(1..).unwrap_or_default()
}

fn entries_on<'c>(case: &'c Case<'_>, certificate: &Certificate) -> Vec<&'c Entry> {
    case.trust.entries.iter().filter(|e| e.sha256 == *certificate.sha256()).collect()
}

/// The certificate through which a group decides.
fn held_by<'c>(case: &'c Case<'_>, group: &EnrollmentGroupId) -> Option<(usize, &'c Arc<Certificate>)> {
    let holds = |c: &Arc<Certificate>| entries_on(case, c).iter().any(|e| e.group == *group);
    authorities(case).iter().enumerate().find(|(_, c)| holds(c))
}

fn missing(case: &Case<'_>) -> Finding {
    let verified = authorities(case).iter().filter(|c| case.is_verified(c));
    let message = format!("the chain rolls up to {}, and no enrollment group is on it", case.list(verified));
    let fix = format!("create an enrollment group on one of {}", case.list(authorities(case)));
    let groups = case.instance.groups.iter().map(|g| format!("`{}`", g.id)).collect::<Vec<_>>();
    let known = (!groups.is_empty()).then(|| format!("groups on other CAs: {}", listed(&groups)));
    Finding::new(Code::GroupMissing, message, fix).about(case.about(case.leaf)).seen_by(known)
}

fn disabled(case: &Case<'_>, group: &EnrollmentGroupId) -> Finding {
    let held = held_by(case, group).map(|(_, c)| c);
    let name = held.map(|c| case.name(c)).unwrap_or_default();
    let others = held.map(|c| entries_on(case, c)).unwrap_or_default();
    let finding = match others.iter().find(|e| e.enabled) {
        Some(enabled) => {
            let message = format!(
                "{name} is in the disabled group `{group}` and in `{}`: the disabled one decides",
                enabled.group
            );
            let fix = format!(
                "remove {name} from `{group}`, or delete that group: a certificate belongs in one entry"
            );
            Finding::new(Code::EntryDuplicate, message, fix)
        }
        None => {
            let message = format!("the nearest enrollment group, `{group}` on {name}, is disabled");
            let fix = format!("enable `{group}`, or delete it to let a group farther up decide");
            Finding::new(Code::GroupDisabled, message, fix)
        }
    };
    held.map(|c| case.about(c)).into_iter().fold(finding, Finding::about)
}

fn above_verified(case: &Case<'_>) -> Finding {
    let held = authorities(case).iter().find(|c| case.is_entry(c));
    let groups: Vec<String> = held
        .map(|c| entries_on(case, c))
        .unwrap_or_default()
        .iter()
        .map(|e| format!("`{}`", e.group))
        .collect();
    let name = held.map_or_else(|| "a CA".to_owned(), |c| case.name(c));
    let verified = case.list(authorities(case).iter().filter(|c| case.is_verified(c)));
    let message = format!(
        "the group {} is on {name}, which is not verified; only {verified} below it is",
        listed(&groups)
    );
    let fix = format!("upload and verify {name}, or put the group on {verified}");
    let finding = Finding::new(Code::GroupAboveVerified, message, fix);
    held.map(|c| case.about(c)).into_iter().fold(finding, Finding::about)
}

fn leaf_in_group(case: &Case<'_>) -> Finding {
    let groups: Vec<String> = entries_on(case, case.leaf).iter().map(|e| format!("`{}`", e.group)).collect();
    let name = case.name(case.leaf);
    let message =
        format!("{name}, the device's own certificate, is the certificate of the group {}", listed(&groups));
    let fix = format!(
        "put its issuer {} into the group, or give the device an individual enrollment",
        case.issuer_name(case.leaf)
    );
    Finding::new(Code::LeafUploadedAsCa, message, fix).about(case.about(case.leaf))
}

/// The device's name, as its individual enrollment has it.
fn device(case: &Case<'_>) -> String {
    case.registration_id(case.leaf, &case.rules).map(|id| format!("`{id}`")).unwrap_or_default()
}

fn individual_disabled(case: &Case<'_>) -> Finding {
    let id = device(case);
    let message = format!("the individual enrollment of {id} is disabled, and it goes before every group");
    let fix = format!(
        "enable the individual enrollment of {id}, or delete it to let the device in through its group"
    );
    Finding::new(Code::IndividualDisabled, message, fix)
}

fn individual_stale(case: &Case<'_>) -> Finding {
    let id = device(case);
    let name = case.name(case.leaf);
    let message = format!("the individual enrollment of {id} holds another certificate than {name}");
    let fix =
        format!("put {name} into the individual enrollment of {id}, as primary or secondary certificate");
    let mut evidence = vec![format!("presented: SHA-256 {}", hex(case.leaf.sha256()))];
    let found = case.registration_id(case.leaf, &case.rules).ok();
    let held = found.and_then(|id| case.instance.individuals.get(&id.key())).map(|i| &i.credential);
    if let Some(InstanceCredential::Leaves(leaves)) = held {
        evidence.extend(leaves.iter().take(2).map(|sha256| format!("enrolled: SHA-256 {}", hex(sha256))));
    }
    Finding::new(Code::IndividualStale, message, fix).about(case.about(case.leaf)).seen_by(evidence)
}

fn individual_by_key(case: &Case<'_>) -> Finding {
    let id = device(case);
    let message =
        format!("the individual enrollment of {id} asks for a key, and the device presents a certificate");
    let fix =
        format!("change the individual enrollment of {id} to X.509, or delete it to let a group decide");
    Finding::new(Code::IndividualByKey, message, fix)
}

/// What is worth knowing where a group takes the device.
fn accepted(case: &Case<'_>, group: &EnrollmentGroupId, out: &mut Findings) {
    let Some((place, held)) = held_by(case, group) else { return };
    let name = case.name(held);
    let mut groups: Vec<String> = entries_on(case, held).iter().map(|e| format!("`{}`", e.group)).collect();
    groups.sort();
    groups.dedup();
    if groups.len() > 1 {
        let message = format!("{name} is in several groups, {}, and `{group}` was taken", listed(&groups));
        let fix = format!("keep {name} in one group: which one decides is not documented");
        out.add(
            Finding::new(Code::EntryDuplicate, message, fix).at(Severity::Warning).about(case.about(held)),
        );
    }
    if place > 0 {
        out.add(shadowed(case, group, place));
        return;
    }
    let farther = case.used().iter().skip(2).flat_map(|c| entries_on(case, c)).filter(|e| e.group != *group);
    let farther: Vec<String> = farther.map(|e| format!("`{}`", e.group)).collect();
    if !farther.is_empty() {
        let message =
            format!("`{group}` on {name} is nearer than {}, whose policy does not apply", listed(&farther));
        let fix = "nothing to repair if that is meant; delete the nearer group to let the other decide";
        out.add(Finding::new(Code::GroupShadowed, message, fix).about(case.about(held)));
    }
}

/// A group farther up takes the device because nearer CAs have none. That is how a group on a root is meant to work;
/// only who deleted a nearer one is surprised.
fn shadowed(case: &Case<'_>, group: &EnrollmentGroupId, place: usize) -> Finding {
    let nearer = &authorities(case)[..place];
    let held = &authorities(case)[place];
    let names = case.list(nearer);
    let message = format!(
        "there is no group on {names}, so `{group}` on {} takes the device, with its policy",
        case.name(held)
    );
    let fix = format!("nothing to repair if that is meant; else create a group on {}", case.name(&nearer[0]));
    Finding::new(Code::GroupShadowed, message, fix).at(Severity::Info).about(case.about(held))
}
