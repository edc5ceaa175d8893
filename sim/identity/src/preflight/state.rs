//! What is wrong with an instance itself, whatever chain is presented.

use super::findings::SHA256;
use super::instance::{CaState, Instance, InstanceCredential, Slot, UploadedCa};
use super::words::{Names, date, digits, listed, quoted, span};
use super::{About, Code, Finding, Role, Severity};
use crate::certificate::Certificate;
use crate::shown::hex;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// CA certificates that an instance holds (DPS documentation, "Quotas and limits").
const MOST_CAS: u64 = 25;
/// Enrollment groups with X.509 attestation.
const MOST_GROUPS: u64 = 100;
/// Registrations.
const MOST_REGISTRATIONS: u64 = 1_000_000;

/// Everything, the worst first.
pub(super) fn find(instance: &Instance, at: i64) -> Vec<Finding> {
    let names = Names::default();
    let mut found = limits(instance);
    found.extend(dangling(instance));
    found.extend(twice(instance));
    found.extend(instance.cas.iter().filter_map(|ca| not_a_ca(ca, &names)));
    found.extend(unverified(instance, &names));
    found.extend(instance.cas.iter().filter_map(|ca| dates(instance, ca, at, &names)));
    found.sort_by_key(|f| (std::cmp::Reverse(f.severity), f.code));
    found
}

fn limits(instance: &Instance) -> Vec<Finding> {
    let counts = [
        (Code::LimitCa, "CA certificates", instance.cas.len() as u64, MOST_CAS),
        (Code::LimitGroup, "X.509 enrollment groups", instance.groups.len() as u64, MOST_GROUPS),
        (Code::LimitRegistrations, "registrations", instance.registrations.unwrap_or(0), MOST_REGISTRATIONS),
    ];
    let near = counts.into_iter().filter(|(_, _, count, limit)| count * 5 >= limit * 4);
    let told = near.map(|(code, what, count, limit)| {
        let severity = if count >= limit { Severity::Error } else { Severity::Warning };
        let message = format!("the instance holds {count} {what}, and {limit} is the limit");
        let fix =
            format!("delete {what} that are no longer used, ask for a higher limit, or use another instance");
        Finding::new(code, message, fix).at(severity)
    });
    told.collect()
}

/// References to CAs that are not there.
pub(super) fn dangling(instance: &Instance) -> Vec<Finding> {
    let groups = instance.groups.iter().flat_map(|group| {
        let slots = [&group.primary, &group.secondary].into_iter().flatten();
        slots.map(move |slot| (format!("the group `{}`", group.id), slot))
    });
    let individuals = instance.individuals.values().flat_map(|individual| {
        let slots: &[Slot] = match &individual.credential {
            InstanceCredential::Authorities(slots) => slots,
            InstanceCredential::Leaves(_) | InstanceCredential::Keys => &[],
        };
        slots
            .iter()
            .map(move |slot| (format!("the individual enrollment `{}`", individual.registration_id), slot))
    });
    // By the name that is missing, so that each is said once.
    let mut missing: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (who, slot) in groups.chain(individuals) {
        match slot {
            Slot::Reference(name) if instance.referred(name).is_none() => {
                missing.entry(name).or_default().push(who)
            }
            Slot::Reference(_) | Slot::Certificate { .. } => {}
        }
    }
    if missing.is_empty() {
        return Vec::new();
    }
    let shown = |name: &str| format!("`{}`", super::words::cut(name.to_owned()));
    let names: Vec<String> = missing.keys().map(|name| shown(name)).collect();
    let message = format!("enrollments refer to CAs that the instance does not hold: {}", listed(&names));
    let fix = "upload and verify them again under the same names, or point the enrollments to other CAs";
    let evidence = missing
        .iter()
        .take(names.len().min(25))
        .map(|(name, who)| format!("{}: {}", shown(name), listed(who)));
    vec![Finding::new(Code::CaReferenceDangling, message, fix).seen_by(evidence)]
}

/// Certificates that are in more than one enrollment.
fn twice(instance: &Instance) -> Vec<Finding> {
    let mut holders: HashMap<[u8; 32], String> = HashMap::new();
    let mut found: BTreeMap<[u8; 32], Vec<String>> = BTreeMap::new();
    let mut note = |sha256: [u8; 32], who: &dyn Fn() -> String| match holders.get(&sha256) {
        None => drop(holders.insert(sha256, who())),
        Some(first) => {
            let who = who();
            if *first != who {
                found.entry(sha256).or_insert_with(|| vec![first.clone()]).push(who);
            }
        }
    };
    for group in &instance.groups {
        let slots = [&group.primary, &group.secondary].into_iter().flatten();
        slots
            .filter_map(|s| instance.held(s))
            .for_each(|sha256| note(sha256, &|| format!("the group `{}`", group.id)));
    }
    for individual in instance.individuals.values() {
        let who = || format!("the individual enrollment `{}`", individual.registration_id);
        match &individual.credential {
            InstanceCredential::Leaves(leaves) => leaves.iter().for_each(|sha256| note(*sha256, &who)),
            InstanceCredential::Authorities(slots) => {
                slots.iter().filter_map(|s| instance.held(s)).for_each(|sha256| note(sha256, &who));
            }
            InstanceCredential::Keys => {}
        }
    }
    let told = found.into_iter().map(|(sha256, mut who)| {
        who.sort();
        let message =
            format!("one certificate is in several enrollments, where only one is allowed: {}", listed(&who));
        let fix = "keep the certificate in one of them; where one is disabled it decides";
        Finding::new(Code::EntryDuplicate, message, fix).seen_by([format!("{SHA256}{}", hex(&sha256))])
    });
    told.collect()
}

fn about(certificate: &Certificate, names: &Names) -> About {
    let role = match (certificate.is_ca(), certificate.is_self_issued()) {
        (_, true) => Role::Root,
        (true, false) => Role::Intermediate,
        (false, false) => Role::Other,
    };
    About {
        index: None,
        role,
        subject: names.subject(certificate),
        issuer: names.issuer(certificate),
        serial: digits(certificate.serial()),
        sha256: hex(certificate.sha256()),
    }
}

/// An uploaded certificate that can anchor nothing.
fn not_a_ca(ca: &UploadedCa, names: &Names) -> Option<Finding> {
    let certificate = &ca.certificate;
    if certificate.is_ca() {
        return None;
    }
    let name = quoted(&names.subject(certificate));
    let label = ca.label();
    let reissue =
        format!("reissue {name} with the same key and name as version 3 with basicConstraints CA:TRUE");
    let finding = match (certificate.is_self_issued(), certificate.version()) {
        (true, 3) => Finding::new(
            Code::IssuerNotCa,
            format!("{name} is uploaded{label} and does not say that it is a CA"),
            reissue,
        ),
        (true, _) => Finding::new(
            Code::IssuerV1,
            format!("{name} is uploaded{label} and, of X.509 version 1, cannot say that it is a CA"),
            reissue,
        ),
        (false, _) => {
            let issuer = quoted(&names.issuer(certificate));
            let message = format!("{name} is uploaded{label} as a CA and is a device's certificate");
            Finding::new(
                Code::LeafUploadedAsCa,
                message,
                format!("delete it, and upload and verify its issuer {issuer} instead"),
            )
        }
    };
    Some(finding.about(about(certificate, names)))
}

/// CAs that are not verified, on which groups hang that roll up to nothing else that is uploaded.
fn unverified(instance: &Instance, names: &Names) -> Vec<Finding> {
    // By the CA that ends the line above a group's certificate.
    let mut hanging: Vec<(&UploadedCa, Vec<String>, bool)> = Vec::new();
    for group in &instance.groups {
        for slot in [&group.primary, &group.secondary].into_iter().flatten() {
            let Some(held) = certificate_of(instance, slot) else { continue };
            if instance.rolls_up(&held) {
                continue;
            }
            let line = instance.above(&held);
            // Above a root nothing can be; above another CA something may be that devices send.
            let complete = line.last().is_some_and(|c| c.is_self_issued());
            let Some(ca) = line.iter().find_map(|c| instance.uploaded(c)) else { continue };
            let id = format!("`{}`", group.id);
            match hanging.iter_mut().find(|(known, ..)| known.certificate.sha256() == ca.certificate.sha256())
            {
                Some((_, groups, _)) if groups.contains(&id) => {}
                Some((_, groups, _)) => groups.push(id),
                None => hanging.push((ca, vec![id], complete)),
            }
        }
    }
    let told = hanging.into_iter().map(|(ca, groups, complete)| {
        let severity = if complete { Severity::Error } else { Severity::Warning };
        let finding = ca.unverified_finding(&quoted(&names.subject(&ca.certificate)), &groups);
        finding.at(severity).about(about(&ca.certificate, names))
    });
    told.collect()
}

fn certificate_of(instance: &Instance, slot: &Slot) -> Option<Arc<Certificate>> {
    match slot {
        Slot::Certificate { certificate: Some(held), .. } => Some(held.clone()),
        Slot::Certificate { sha256, certificate: None } => {
            instance.cas.iter().map(|ca| &ca.certificate).find(|c| c.sha256() == sha256).cloned()
        }
        Slot::Reference(name) => instance.referred(name).map(|ca| ca.certificate.clone()),
    }
}

/// A verified CA outside its dates.
fn dates(instance: &Instance, ca: &UploadedCa, at: i64, names: &Names) -> Option<Finding> {
    let certificate = &ca.certificate;
    if ca.state != CaState::Verified || certificate.is_valid_at(at) {
        return None;
    }
    let name = quoted(&names.subject(certificate));
    let expired = at > certificate.not_after();
    let finding = if expired {
        let message = format!(
            "{name} is verified{} and expired {} before the moment asked for",
            ca.label(),
            span(at - certificate.not_after())
        );
        let fix = format!("upload and verify a new generation of {name}, then delete this one");
        Finding::new(Code::Expired, message, fix)
            .seen_by([format!("not after {}", date(certificate.not_after()))])
    } else {
        let message = format!(
            "{name} is verified{} and becomes valid {} later",
            ca.label(),
            span(certificate.not_before() - at)
        );
        let fix = format!(
            "check the clock of the machine that issued {name}, wait, or reissue it backdated by a day"
        );
        Finding::new(Code::NotYetValid, message, fix)
            .seen_by([format!("not before {}", date(certificate.not_before()))])
    };
    let used = !instance.groups_on(std::slice::from_ref(certificate)).is_empty();
    let severity = if used { Severity::Error } else { Severity::Warning };
    Some(finding.at(severity).about(about(certificate, names)))
}
