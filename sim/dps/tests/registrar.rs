//! The core of the mock: what devices are answered, by moment, credential and enrollment.
#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot go on says so by panicking")]

use serde_json::json;
use sim_dps::allocation::{AllocationAnswer, AllocationFault};
use sim_dps::faults::Effects;
use sim_dps::memory::Touched;
use sim_dps::registrar::{Caller, Reply};
use sim_dps::{Hub, Limits, Registrar, RegistrarConfig};
use sim_identity::defect::Workshop;
use sim_identity::fleet::{DeviceIdentity, FleetPlan};
use sim_identity::{Defect, Fleet, Hierarchy, HierarchyPlan, Issuer, KeyAlgorithm, Seed, pem};
use sim_protocol::attestation::{
    AllocationPolicy, AttestationMechanism, CaReferences, CertificatePair, CertificateSlot, CustomAllocation,
    EnrollmentGroup, IndividualEnrollment, ProvisioningStatus, ReprovisionPolicy, Terms, X509Attestation,
};
use sim_protocol::delay::Delay;
use sim_protocol::errors::{self, Refusal};
use sim_protocol::registration::{OperationStatus, RegistrationState, RegistrationStatus, Substatus};
use sim_protocol::resource::CertificateBody;
use sim_protocol::sas::SharedKey;
use sim_protocol::{CaName, EnrollmentGroupId, IdScope, RegistrationId, ServiceError};
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use time::macros::datetime;

const NOW: OffsetDateTime = datetime!(2026-06-01 00:00 UTC);
const SCOPE: &str = "0ne00000001";

struct World {
    registrar: Registrar,
    root: Issuer,
    fleet: Fleet,
}

/// An instance with a root, verified or not, and a group `g` on it; its devices come by an intermediate.
fn world(verified: bool, change: impl FnOnce(&mut RegistrarConfig)) -> World {
    let plan = HierarchyPlan { name: "test".into(), intermediates: 1, key: KeyAlgorithm::P256 };
    let made = Hierarchy::mint(&plan, &Seed::from_number(1), NOW).expect("a hierarchy");
    let fleet = Fleet::new(&FleetPlan::default(), made.issuing().clone(), Seed::from_number(2), NOW);
    let mut config = RegistrarConfig::new(IdScope::new(SCOPE).expect("a good scope"));
    config.assign_delay = Delay::Fixed(Duration::from_secs(5));
    config.hubs = vec![Hub::new("a.example"), Hub::new("b.example")];
    change(&mut config);
    let registrar = Registrar::new(config, &Seed::from_number(3), &Seed::from_number(4));
    let world = World { registrar, root: Issuer::clone(made.root()), fleet: fleet.expect("a fleet") };
    world.upload(verified);
    let names = CaReferences { primary: Some("root".into()), secondary: None };
    let x509 = X509Attestation { ca_references: Some(names), ..Default::default() };
    world.put_group(EnrollmentGroup::x509("g", x509)).expect("creates");
    world
}

fn id(text: &str) -> RegistrationId {
    RegistrationId::new(text).expect("a good id")
}

fn group(name: &str) -> EnrollmentGroupId {
    EnrollmentGroupId::new(name).expect("a good name")
}

fn slot(der: &[u8]) -> CertificatePair {
    let certificate = Some(pem::encode("CERTIFICATE", der));
    CertificatePair { primary: Some(CertificateSlot { certificate, info: None }), secondary: None }
}

fn leaf_of(device: &DeviceIdentity) -> AttestationMechanism {
    let client_certificates = Some(slot(&device.chain[0]));
    AttestationMechanism::x509(X509Attestation { client_certificates, ..Default::default() })
}

impl World {
    fn upload(&self, verified: bool) {
        let pem = pem::encode("CERTIFICATE", self.root.certificate().der());
        let body = CertificateBody { certificate: Some(pem), is_verified: Some(verified) };
        let name = CaName::new("root").expect("a good name");
        let put = self.registrar.write(|control, ids| {
            control.authorities.put(name, body, Some("*"), &Limits::documented(), ids, NOW).map(drop)
        });
        put.expect("uploads");
    }

    fn put_group(&self, document: EnrollmentGroup) -> Result<EnrollmentGroup, Refusal> {
        let name = group(&document.enrollment_group_id);
        self.registrar.put_group(name, document, Some("*"), NOW).map_err(|fault| fault.refusal)
    }

    /// Writes the terms of the group `g` anew.
    fn change_group(&self, change: impl FnOnce(&mut Terms)) {
        let mut document = self.registrar.read(|c| c.groups.group(&group("g")).cloned()).expect("the group");
        change(&mut document.terms);
        self.put_group(document).expect("changes");
    }

    fn put_individual(&self, document: IndividualEnrollment) -> Result<IndividualEnrollment, Refusal> {
        let id = id(&document.registration_id);
        self.registrar.put_individual(&id, document, Some("*"), NOW).map_err(|fault| fault.refusal)
    }

    fn device(&self, name: &str) -> DeviceIdentity {
        self.fleet.device(1, id(name), None).expect("mints")
    }

    fn present(&self, device: &DeviceIdentity, now: OffsetDateTime) -> Reply {
        self.answered(&caller(device), b"", now)
    }

    /// Registers whoever calls, and sends the answer.
    fn answered(&self, caller: &Caller<'_>, body: &[u8], now: OffsetDateTime) -> Reply {
        let reply = self.registrar.register(caller, body, &Effects::default(), now);
        self.registrar.sent(caller, &reply, true);
        reply
    }

    fn register(&self, name: &str, now: OffsetDateTime) -> Reply {
        self.present(&self.device(name), now)
    }

    fn register_body(&self, device: &DeviceIdentity, body: &str) -> Reply {
        self.answered(&caller(device), body.as_bytes(), NOW)
    }

    fn poll(&self, device: &DeviceIdentity, operation_id: &str, now: OffsetDateTime) -> Reply {
        let reply = self.polled(device, operation_id, now);
        self.registrar.sent(&caller(device), &reply, true);
        reply
    }

    /// Asks, and the answer gets lost.
    fn polled(&self, device: &DeviceIdentity, operation_id: &str, now: OffsetDateTime) -> Reply {
        self.registrar.status(&caller(device), operation_id, &Effects::default(), now)
    }

    /// Registers and asks until the end, an hour later.
    fn provision(&self, device: &DeviceIdentity) -> RegistrationState {
        let begun = operation(&self.present(device, NOW));
        let done = operation(&self.poll(device, &begun.operation_id, NOW + Duration::from_secs(3600)));
        done.registration_state.expect("a state")
    }
}

fn caller(device: &DeviceIdentity) -> Caller<'_> {
    Caller {
        id_scope: SCOPE,
        registration_id: device.registration_id.as_str(),
        presented: device.chain.iter().map(AsRef::as_ref).collect(),
        token: None,
    }
}

fn operation(reply: &Reply) -> OperationStatus {
    serde_json::from_str(&reply.body).unwrap_or_else(|e| panic!("{e}: {}", reply.body))
}

fn code(reply: &Reply) -> u32 {
    let body: ServiceError = serde_json::from_str(&reply.body).expect("an error body");
    assert_eq!(body.status(), reply.status);
    body.error_code
}

/// The status of a good answer, or the refusal by its code and text.
fn verdict(reply: &Reply) -> Result<u16, (u32, String)> {
    match serde_json::from_str::<ServiceError>(&reply.body) {
        Ok(error) => Err((error.error_code, error.message)),
        Err(_) => Ok(reply.status),
    }
}

fn refusal(refusal: Refusal) -> Result<u16, (u32, String)> {
    Err((refusal.code, refusal.message.to_owned()))
}

#[test]
fn a_registration_is_assigning_until_its_time_has_come() {
    let w = world(true, |_| {});
    let device = w.device("dev-1");
    let first = w.present(&device, NOW);
    assert_eq!((first.status, first.retry_after), (202, Some(Duration::from_secs(3))));
    let begun = operation(&first);
    assert_eq!((begun.status, &begun.registration_state), (RegistrationStatus::Assigning, &None));
    let early = w.poll(&device, &begun.operation_id, NOW + Duration::from_secs(4));
    assert_eq!(early.status, 202);
    let state = operation(&early).registration_state.expect("a stub");
    assert_eq!((state.registration_id.as_deref(), state.assigned_hub), (Some("dev-1"), None));
    let done = w.poll(&device, &begun.operation_id, NOW + Duration::from_secs(5));
    let state = operation(&done).registration_state.expect("a state");
    assert_eq!((done.status, state.status), (200, RegistrationStatus::Assigned));
    assert_eq!(state.device_id.as_deref(), Some("dev-1"));
    assert_eq!(code(&w.poll(&device, "5.0.0", NOW)), errors::NOT_FOUND.code);
}

#[test]
fn a_poll_with_another_credential_is_refused() {
    let w = world(true, |_| {});
    let device = w.device("dev-1");
    let begun = operation(&w.present(&device, NOW));
    // The same name from another key and moment.
    let other = w.fleet.device(2, id("dev-1"), None).expect("mints");
    assert_eq!(code(&w.poll(&other, &begun.operation_id, NOW)), errors::NO_CREDENTIAL.code);
    let nobody = Caller { presented: Vec::new(), ..caller(&device) };
    let reply = w.registrar.status(&nobody, &begun.operation_id, &Effects::default(), NOW);
    assert_eq!(code(&reply), errors::NO_CREDENTIAL.code);
    assert_eq!(w.poll(&device, &begun.operation_id, NOW).status, 202);
}

#[test]
fn the_ledger_counts_each_final_answer_once() {
    let w = world(true, |_| {});
    let device = w.device("dev-1");
    let begun = operation(&w.present(&device, NOW));
    for _ in 0..3 {
        w.poll(&device, &begun.operation_id, NOW + Duration::from_secs(9));
    }
    let ledger = w.registrar.ledger.snapshot();
    assert_eq!((ledger.registers, ledger.polls, ledger.assigned), (1, 3, 1));
    assert_eq!((ledger.roll_up[0].count, ledger.roll_up[0].path.len()), (1, 2));
}

#[test]
fn only_answers_that_were_sent_are_counted_and_by_what_was_left_of_them() {
    let w = world(true, |c| c.limits = Limits { polls_per_10s: Some(3), ..Limits::unlimited() });
    let (device, later) = (w.device("dev-1"), NOW + Duration::from_secs(9));
    let begun = operation(&w.present(&device, NOW));
    let counted = || {
        let l = w.registrar.ledger.snapshot();
        (l.assigned, l.malformed_answers, l.throttled, l.server_errors, l.refused, l.roll_up.len())
    };
    w.polled(&device, &begun.operation_id, later);
    assert_eq!(counted(), (0, 0, 0, 0, 0, 0), "lost on its way");
    let told = w.polled(&device, &begun.operation_id, later);
    w.registrar.sent(&caller(&device), &told, false);
    assert_eq!(counted(), (0, 1, 0, 0, 0, 0), "nobody can read it");
    w.poll(&device, &begun.operation_id, later);
    assert_eq!(counted(), (1, 1, 0, 0, 0, 1));
    assert_eq!(w.poll(&device, &begun.operation_id, later).status, 429);
    let throttled = w.polled(&device, &begun.operation_id, later);
    assert_eq!((throttled.status, counted()), (429, (1, 1, 1, 0, 0, 1)));
    w.registrar.sent(&caller(&device), &throttled, false);
    assert_eq!(counted(), (1, 1, 2, 0, 0, 1), "the status says it all");
    let unknown = w.poll(&device, "4.0000000000000000.00000000-0000-0000-0000-000000000000", later);
    assert_eq!((unknown.status, counted()), (404, (1, 1, 2, 0, 1, 1)));
    let busy = Effects { server_error: Some((503, None)), ..Effects::default() };
    let reply = w.registrar.register(&caller(&device), b"", &busy, later);
    w.registrar.sent(&caller(&device), &reply, true);
    assert_eq!(counted(), (1, 1, 2, 1, 1, 1));
}

#[test]
fn an_operation_that_was_replaced_meanwhile_is_not_counted() {
    let w = world(true, |_| {});
    let (device, later) = (w.device("dev-1"), NOW + Duration::from_secs(9));
    let begun = operation(&w.present(&device, NOW));
    let told = w.polled(&device, &begun.operation_id, later);
    w.present(&device, later);
    w.registrar.sent(&caller(&device), &told, true);
    assert_eq!(w.registrar.ledger.snapshot().assigned, 0);
}

#[test]
fn an_unverified_ca_admits_nobody_and_ledger_and_trace_say_why() {
    let w = world(false, |_| {});
    let reply = w.register("dev-1", NOW);
    assert_eq!(verdict(&reply), refusal(errors::CA_NOT_FOUND));
    let ledger = w.registrar.ledger.snapshot();
    assert_eq!((ledger.refused, ledger.refusals[0].verdict.as_str()), (1, "no-verified-ca"));
    assert_eq!(ledger.refusals[0].check.as_deref(), Some("no-verified-ca"));
    let trace = w.registrar.trace("DEV-1").expect("a trace");
    let event = trace.events.last().expect("an event");
    assert_eq!((event.status, event.verdict, event.trail.len()), (401, "no-verified-ca", 1));
}

#[test]
fn trust_is_judged_at_each_register_against_the_current_state() {
    let w = world(true, |_| {});
    assert_eq!(w.register("dev-1", NOW).status, 202);
    let name = CaName::new("root").expect("a good name");
    w.registrar.write(|control, _| control.authorities.delete(&name, Some("*"))).expect("deletes");
    assert_eq!(w.register("dev-1", NOW).status, 401);
}

#[test]
fn register_bodies_are_checked_as_the_clients_need_it() {
    let w = world(true, |_| {});
    let device = w.device("dev-1");
    for (body, expected) in [
        ("", Ok(202)),
        (" ", Ok(202)),
        (r#"{"registrationId":"DEV-1"}"#, Ok(202)),
        (r#"{"payload": null, "registrationId": "dev-1"}"#, Ok(202)),
        (r#"{"registrationId":"dev-2"}"#, refusal(errors::BAD_ARGUMENT)),
        ("{", refusal(errors::DESERIALIZATION)),
        (r#"["dev-1", null]"#, refusal(errors::DESERIALIZATION)),
        (r#"{"payload":{"a":1}}"#, Ok(202)),
        (r#"{"payload":5}"#, refusal(errors::BAD_ARGUMENT)),
    ] {
        assert_eq!(verdict(&w.register_body(&device, body)), expected, "{body}");
    }
}

#[test]
fn strangers_without_certificate_or_with_another_scope_are_refused() {
    let w = world(true, |_| {});
    let device = w.device("dev-1");
    let junk: &[u8] = &[1, 2, 3];
    for (stranger, expected) in [
        (Caller { presented: Vec::new(), ..caller(&device) }, errors::NO_CREDENTIAL),
        (Caller { presented: vec![junk], ..caller(&device) }, errors::INVALID_CERTIFICATE),
        (Caller { registration_id: "gerät", ..caller(&device) }, errors::INVALID_REGISTRATION_ID),
        (Caller { registration_id: "dev-2", ..caller(&device) }, errors::UNAUTHORIZED),
        (Caller { id_scope: "0ne00000002", ..caller(&device) }, errors::CA_NOT_FOUND),
        (Caller { token: Some("junk"), ..caller(&device) }, errors::NO_CREDENTIAL),
    ] {
        let reply = w.registrar.register(&stranger, b"", &Effects::default(), NOW);
        assert_eq!(verdict(&reply), refusal(expected), "{stranger:?}");
    }
}

#[test]
fn the_documented_quotas_are_kept_and_say_how_long_to_wait() {
    let w = world(true, |c| c.limits = Limits::documented());
    let device = w.device("dev-1");
    let begun = operation(&w.present(&device, NOW));
    let nobody = Caller { presented: Vec::new(), ..caller(&device) };
    for _ in 1..1000 {
        w.answered(&nobody, b"", NOW);
    }
    let throttled = w.register("dev-2", NOW + Duration::from_secs(20));
    assert_eq!(verdict(&throttled), refusal(errors::THROTTLED));
    assert_eq!(throttled.retry_after, Some(Duration::from_secs(40)));
    assert_eq!(w.register("dev-2", NOW + Duration::from_secs(61)).status, 202);
    for i in 0..=5 {
        let status = w.poll(&device, &begun.operation_id, NOW + Duration::from_secs(6)).status;
        assert_eq!(status, if i < 5 { 200 } else { 429 });
    }
    assert_eq!(w.registrar.ledger.snapshot().throttled, 2);
}

#[test]
fn a_device_is_named_as_its_certificate_spells_it_however_it_registers() {
    let w = world(true, |_| {});
    let device = w.device("Dev-1");
    let shouting = Caller { registration_id: "DEV-1", ..caller(&device) };
    let begun = operation(&w.registrar.register(&shouting, b"", &Effects::default(), NOW));
    let done = w.poll(&device, &begun.operation_id, NOW + Duration::from_secs(9));
    let state = operation(&done).registration_state.expect("a state");
    assert_eq!(state.device_id.as_deref(), Some("Dev-1"));
}

#[test]
fn a_failed_allocation_is_told_by_ledger_and_trace() {
    let w = world(true, |c| c.hubs.clear());
    let device = w.device("dev-1");
    assert_eq!(w.provision(&device).error_code, Some(errors::NO_HUB.code));
    let trace = w.registrar.trace("dev-1").expect("a trace");
    let event = trace.events.last().expect("an event");
    assert_eq!((event.verdict, event.code, event.trail.len()), ("allocation-failed", errors::NO_HUB.code, 1));
    let ledger = w.registrar.ledger.snapshot();
    assert_eq!((ledger.failed, ledger.refused), (1, 0));
}

#[test]
fn a_connect_that_is_refused_is_told_by_ledger_and_trace() {
    let w = world(false, |_| {});
    let device = w.device("dev-1");
    assert!(w.registrar.refuses_connect(&caller(&device), NOW));
    assert_eq!(w.registrar.ledger.snapshot().refused, 1);
    let trace = w.registrar.trace("dev-1").expect("a trace");
    assert_eq!(trace.events[0].verdict, "no-verified-ca");
    w.upload(true);
    assert!(!w.registrar.refuses_connect(&caller(&device), NOW));
}

#[test]
fn more_registrations_than_the_limit_are_refused_and_known_ones_are_not() {
    let limits = Limits { registrations: Some(1), ..Limits::unlimited() };
    let w = world(true, |c| c.limits = limits);
    assert_eq!(w.register("dev-1", NOW).status, 202);
    assert_eq!(verdict(&w.register("dev-2", NOW)), refusal(errors::QUOTA));
    assert_eq!(w.register("dev-1", NOW).status, 202);
    w.registrar.delete_registration("DEV-1", None).expect("deletes");
    assert_eq!(w.register("dev-2", NOW).status, 202);
}

#[test]
fn an_instance_that_is_remembered_serves_the_same_records_again() {
    let w = world(true, |_| {});
    let device = w.device("dev-1");
    w.put_individual(IndividualEnrollment::new("key-1", AttestationMechanism::symmetric_key(None, None)))
        .expect("creates");
    let begun = operation(&w.present(&device, NOW));
    let later = NOW + Duration::from_secs(9);
    let before = w.poll(&device, &begun.operation_id, later).body;
    let config = w.registrar.config().clone();
    let fresh = || Registrar::new(config.clone(), &Seed::from_number(99), &Seed::from_number(4));
    let (by_row, by_snapshot) = (fresh(), fresh());
    for (touched, text) in w.registrar.everything() {
        by_row.restore(&touched, &text).expect("a row");
    }
    by_snapshot.restore_snapshot(&w.registrar.snapshot().collect::<String>()).expect("a snapshot");
    for again in [by_row, by_snapshot] {
        let kept = |registrar: &Registrar| {
            let mut all: Vec<_> =
                registrar.everything().into_iter().filter(|(t, _)| *t != Touched::Control).collect();
            all.sort();
            all
        };
        assert_eq!(kept(&again), kept(&w.registrar));
        let other = World { registrar: again, root: w.root.clone(), fleet: world(true, |_| {}).fleet };
        assert_eq!(other.poll(&device, &begun.operation_id, later).body, before);
        assert_eq!(other.register("dev-2", NOW).status, 202, "the CA is still verified");
    }
    assert!(w.registrar.restore_snapshot("{}").is_err());
    assert_eq!(
        w.poll(&device, &begun.operation_id, later).body,
        before,
        "what cannot be read changes nothing"
    );
}

#[test]
fn devices_spread_over_the_hubs_and_stay_where_they_are() {
    let w = world(true, |_| {});
    let hub = |name: String| w.provision(&w.device(&name)).assigned_hub.expect("a hub");
    let first: Vec<String> = (0..40).map(|i| hub(format!("dev-{i}"))).collect();
    let again: Vec<String> = (0..40).map(|i| hub(format!("dev-{i}"))).collect();
    assert_eq!(first, again);
    assert!(["a.example", "b.example"].iter().all(|h| first.iter().filter(|f| f == h).count() > 5));
}

/// What becomes of a device by its individual enrollment and its group (DPS documentation, "X.509 attestation",
/// which enrollment wins).
#[test]
fn the_nearest_enrollment_wins() {
    use ProvisioningStatus::{Disabled, Enabled};
    for (individual, of_group, expected) in [
        (None, Enabled, RegistrationStatus::Assigned),
        (None, Disabled, RegistrationStatus::Disabled),
        (Some(Enabled), Disabled, RegistrationStatus::Assigned),
        (Some(Disabled), Enabled, RegistrationStatus::Disabled),
        (Some(Disabled), Disabled, RegistrationStatus::Disabled),
    ] {
        let w = world(true, |_| {});
        let device = w.device("dev-1");
        w.change_group(|terms| terms.provisioning_status = of_group);
        if let Some(status) = individual {
            let mut document = IndividualEnrollment::new("DEV-1", leaf_of(&device));
            document.terms.provisioning_status = status;
            w.put_individual(document).expect("creates");
        }
        assert_eq!(w.provision(&device).status, expected, "{individual:?} {of_group:?}");
        if individual.is_some() {
            w.registrar.delete_individual(&id("dev-1"), None).expect("deletes");
            let by_group =
                if of_group == Enabled { RegistrationStatus::Assigned } else { RegistrationStatus::Disabled };
            assert_eq!(w.provision(&device).status, by_group, "without the individual enrollment");
        }
    }
}

#[test]
fn an_individual_enrollment_with_another_certificate_does_not_fall_through_unless_a_knob_says_so() {
    for (knob, expected) in [
        ("individual-fall-through=no", refusal(errors::INVALID_CERTIFICATE)),
        ("individual-fall-through=yes", Ok(202)),
    ] {
        let w = world(true, |c| c.knobs.set(knob).expect("a knob"));
        let older = w.fleet.device(2, id("dev-1"), None).expect("mints");
        w.put_individual(IndividualEnrollment::new("dev-1", leaf_of(&older))).expect("creates");
        assert_eq!(verdict(&w.register("dev-1", NOW)), expected, "{knob}");
        assert_eq!(w.present(&older, NOW).status, 202);
    }
}

#[test]
fn an_individual_enrollment_needs_no_verified_ca_unless_a_knob_says_so() {
    for (knob, expected) in
        [("individual-chain=no", Ok(202)), ("individual-chain=yes", refusal(errors::CA_NOT_FOUND))]
    {
        let w = world(false, |c| c.knobs.set(knob).expect("a knob"));
        let device = w.device("dev-1");
        w.put_individual(IndividualEnrollment::new("dev-1", leaf_of(&device))).expect("creates");
        assert_eq!(verdict(&w.present(&device, NOW)), expected, "{knob}");
    }
}

#[test]
fn an_individual_enrollment_on_a_ca_admits_its_one_device() {
    let w = world(true, |_| {});
    w.registrar.write(|c, _| c.groups.delete(&group("g"), None)).expect("deletes");
    for (kind, x509) in [
        (
            "reference",
            X509Attestation {
                ca_references: Some(CaReferences { primary: Some("root".into()), secondary: None }),
                ..Default::default()
            },
        ),
        (
            "value",
            X509Attestation {
                signing_certificates: Some(slot(w.root.certificate().der())),
                ..Default::default()
            },
        ),
    ] {
        let mut document = IndividualEnrollment::new("dev-1", AttestationMechanism::x509(x509));
        document.device_id = Some("pump-7".into());
        w.put_individual(document).expect("creates");
        assert_eq!(w.provision(&w.device("dev-1")).device_id.as_deref(), Some("pump-7"), "{kind}");
        assert_eq!(verdict(&w.register("dev-2", NOW)), refusal(errors::UNAUTHORIZED), "{kind}");
    }
}

fn key(byte: u8) -> SharedKey {
    SharedKey::from_bytes(vec![byte; 32]).expect("32 bytes")
}

fn by_token(w: &World, name: &str, token: &str) -> Reply {
    let caller = Caller { id_scope: SCOPE, registration_id: name, presented: Vec::new(), token: Some(token) };
    w.registrar.register(&caller, b"", &Effects::default(), NOW)
}

#[test]
fn shared_keys_admit_their_device_or_what_derives_from_a_groups() {
    let w = world(true, |_| {});
    let (own, groups) = (key(1), key(2));
    let mechanism = AttestationMechanism::symmetric_key(Some(&key(9)), Some(&own));
    w.put_individual(IndividualEnrollment::new("one", mechanism)).expect("creates");
    w.put_group(EnrollmentGroup::new("keys", AttestationMechanism::symmetric_key(Some(&groups), None)))
        .expect("creates");
    let later = NOW.unix_timestamp().unsigned_abs() + 60;
    let whole = |name: &str| format!("{SCOPE}/registrations/{name}");
    let sign = |key: &SharedKey, resource: &str| key.token(resource, "registration", later);
    let refused = refusal(errors::NO_CREDENTIAL);
    for (what, name, token, expected) in [
        ("secondary key", "one", sign(&own, &whole("one")), Ok(202)),
        ("another key", "one", sign(&key(3), &whole("one")), refused.clone()),
        ("derived", "many-1", sign(&groups.derive("many-1"), &whole("many-1")), Ok(202)),
        ("derived from lower case", "Many-2", sign(&groups.derive("many-2"), &whole("many-2")), Ok(202)),
        ("for the scope", "many-1", sign(&groups.derive("many-1"), SCOPE), Ok(202)),
        ("of another device", "many-1", sign(&groups.derive("many-2"), &whole("many-1")), refused.clone()),
        ("for another device", "many-1", sign(&groups.derive("many-1"), &whole("many-2")), refused.clone()),
        ("the group's own key", "many-1", sign(&groups, &whole("many-1")), refused.clone()),
        ("expired", "one", own.token(&whole("one"), "registration", 1), refused.clone()),
        ("derived, but with an enrollment", "one", sign(&groups.derive("one"), &whole("one")), refused),
    ] {
        assert_eq!(verdict(&by_token(&w, name, &token)), expected, "{what}");
    }
    assert_eq!(w.registrar.trace("one").and_then(|t| t.events.last().map(|e| e.verdict)), Some("wrong-key"));
}

#[test]
fn keys_left_out_are_made_up_shown_only_where_asked_for_and_kept_by_an_update_without_them() {
    let w = world(true, |_| {});
    let made = w.put_group(EnrollmentGroup::new("keys", AttestationMechanism::symmetric_key(None, None)));
    let made = made.expect("creates");
    assert_eq!(made.terms.attestation.symmetric_key, Some(Default::default()), "no key in a plain answer");
    let keys = || w.registrar.read(|c| c.groups.attestation(&group("keys"))).expect("the keys").symmetric_key;
    let before = keys().expect("keys");
    let bytes = |text: &Option<String>| SharedKey::from_base64(text.as_deref().unwrap_or_default());
    assert!(bytes(&before.primary_key).is_ok() && before.primary_key != before.secondary_key);
    w.put_group(made).expect("updates");
    assert_eq!(keys(), Some(before));
}

#[test]
fn a_device_that_registers_again_is_reprovisioned_as_its_enrollment_says() {
    let policy = |update, migrate| {
        Some(ReprovisionPolicy { update_hub_assignment: update, migrate_device_data: migrate })
    };
    for (reprovision, hub, substatus) in [
        (None, "b.example", Substatus::DeviceDataMigrated),
        (policy(true, true), "b.example", Substatus::DeviceDataMigrated),
        (policy(true, false), "b.example", Substatus::DeviceDataReset),
        (policy(false, false), "a.example", Substatus::InitialAssignment),
    ] {
        let w = world(true, |_| {});
        let device = w.device("dev-1");
        let at = |host: &str| {
            w.change_group(|terms| {
                terms.iot_hubs = Some(vec![host.to_owned()]);
                terms.reprovision_policy = reprovision;
            });
            w.provision(&device)
        };
        let first = at("a.example");
        assert_eq!(first.substatus, Some(Substatus::InitialAssignment));
        let second = at("b.example");
        assert_eq!((second.assigned_hub.as_deref(), second.substatus), (Some(hub), Some(substatus)));
        assert_eq!(first.created_date_time_utc, second.created_date_time_utc);
        w.registrar.delete_registration("dev-1", None).expect("deletes");
        assert_eq!(at("b.example").substatus, Some(Substatus::InitialAssignment), "afresh");
    }
}

#[test]
fn an_unlinked_hub_takes_no_device_and_keeps_those_that_are_never_moved() {
    for (update, moved) in [(true, true), (false, false)] {
        let w = world(true, |_| {});
        let policy = ReprovisionPolicy { update_hub_assignment: update, migrate_device_data: true };
        w.change_group(|terms| terms.reprovision_policy = Some(policy));
        let devices: Vec<_> = (0..20).map(|i| w.device(&format!("dev-{i}"))).collect();
        let hubs = || -> Vec<String> {
            devices.iter().map(|device| w.provision(device).assigned_hub.expect("a hub")).collect()
        };
        let before = hubs();
        assert!(before.iter().any(|hub| hub == "a.example"));
        assert!(!w.registrar.unlink_hub("c.example"), "no such hub");
        assert!(w.registrar.unlink_hub("A.example"));
        assert!(!w.registrar.unlink_hub("a.example"), "it is linked no more");
        let after = hubs();
        let expected = if moved { vec!["b.example".to_owned(); 20] } else { before };
        assert_eq!(after, expected, "update {update}");
        let new = (20..40).map(|i| w.provision(&w.device(&format!("dev-{i}"))).assigned_hub);
        assert!(new.into_iter().all(|hub| hub.as_deref() == Some("b.example")));
        w.change_group(|terms| terms.iot_hubs = Some(vec!["a.example".to_owned()]));
        assert_eq!(w.provision(&w.device("dev-40")).status, RegistrationStatus::Failed);
        w.registrar.forget();
        assert!(w.registrar.unlink_hub("a.example"), "a reset links it again");
    }
}

#[test]
fn the_same_hub_again_is_told_as_live_tests_see_it_unless_a_knob_says_otherwise() {
    for (knob, told) in [
        ("same-hub=initial", Substatus::InitialAssignment),
        ("same-hub=reprovisioned", Substatus::ReprovisionedToInitialAssignment),
    ] {
        let w = world(true, |c| c.knobs.set(knob).expect("a knob"));
        let device = w.device("dev-1");
        assert_eq!(w.provision(&device).substatus, Some(Substatus::InitialAssignment));
        assert_eq!(w.provision(&device).substatus, Some(told), "{knob}");
        let record = w.registrar.registration("dev-1", NOW + Duration::from_secs(60)).expect("a record");
        assert_eq!(record.substatus, Some(Substatus::ReprovisionedToInitialAssignment));
    }
}

#[test]
fn a_webhook_decides_the_hub_and_what_the_device_is_told() {
    let answered = |answer: Result<AllocationAnswer, AllocationFault>| {
        let w = world(true, |c| c.assign_delay = Delay::ZERO);
        let device = w.device("dev-1");
        w.change_group(|terms| {
            terms.allocation_policy = Some(AllocationPolicy::Custom);
            terms.custom_allocation_definition = Some(CustomAllocation {
                webhook_url: "http://127.0.0.1:1/".into(),
                api_version: "2021-10-01".into(),
            });
        });
        let begun = w.register_body(&device, r#"{"payload":{"line":7}}"#);
        let ask = begun.ask.clone().expect("a webhook to ask");
        let request = serde_json::to_value(&ask.request).expect("serialises");
        assert_eq!(request["deviceRuntimeContext"]["payload"], json!({"line": 7}));
        let operation_id = operation(&begun).operation_id;
        assert_eq!(w.poll(&device, &operation_id, NOW).status, 202, "not before the webhook has answered");
        w.registrar.allocated(&ask, answer, NOW).expect("the operation waits");
        operation(&w.poll(&device, &operation_id, NOW)).registration_state.expect("a state")
    };
    let answer = |host: &str| AllocationAnswer {
        iot_hub_host_name: host.into(),
        payload: Some(json!({"room": "b"})),
        ..Default::default()
    };
    let good = answered(Ok(answer("B.example")));
    assert_eq!(good.assigned_hub.as_deref(), Some("b.example"));
    assert_eq!(good.payload, Some(json!({"room": "b"})));
    for wrong in [Ok(answer("c.example")), Err(AllocationFault::Status(500)), Err(AllocationFault::Timeout)] {
        let failed = answered(wrong);
        assert_eq!(failed.status, RegistrationStatus::Failed);
        assert_eq!((failed.error_code, failed.assigned_hub), (Some(errors::CUSTOM_ALLOCATION.code), None));
    }
}

#[test]
fn enrollments_that_make_no_sense_are_refused() {
    let w = world(true, |_| {});
    let device = w.device("dev-1");
    let with = |change: &dyn Fn(&mut Terms)| {
        let mut document =
            EnrollmentGroup::new("other", AttestationMechanism::symmetric_key(Some(&key(1)), None));
        change(&mut document.terms);
        w.put_group(document).map(drop)
    };
    let root = || X509Attestation {
        ca_references: Some(CaReferences { primary: Some("root".into()), secondary: None }),
        ..Default::default()
    };
    let both = X509Attestation { signing_certificates: Some(slot(&device.chain[1])), ..root() };
    for (what, change, expected) in [
        ("no attestation", &|t: &mut Terms| t.attestation = Default::default(), errors::BAD_ARGUMENT),
        (
            "static without a hub",
            &|t: &mut Terms| t.allocation_policy = Some(AllocationPolicy::Static),
            errors::BAD_ARGUMENT,
        ),
        (
            "custom without a webhook",
            &|t: &mut Terms| t.allocation_policy = Some(AllocationPolicy::Custom),
            errors::BAD_ARGUMENT,
        ),
        ("a leaf for a group", &|t: &mut Terms| t.attestation = leaf_of(&device), errors::BAD_ARGUMENT),
        (
            "two kinds at once",
            &|t: &mut Terms| t.attestation = AttestationMechanism::x509(both.clone()),
            errors::BAD_ARGUMENT,
        ),
        (
            "the CA of another group",
            &|t: &mut Terms| t.attestation = AttestationMechanism::x509(root()),
            errors::CONFLICT,
        ),
    ] as [(&str, &dyn Fn(&mut Terms), Refusal); 6]
    {
        assert_eq!(with(change), Err(expected), "{what}");
    }
    assert_eq!(with(&|_| {}), Ok(()));
    w.put_individual(IndividualEnrollment::new("dev-1", leaf_of(&device))).expect("creates");
    let twice = w.put_individual(IndividualEnrollment::new("dev-2", leaf_of(&device)));
    assert_eq!(twice.map(drop), Err(errors::CONFLICT), "one leaf, two enrollments");
}

#[test]
fn a_leaf_that_says_it_is_a_ca_is_refused() {
    let w = world(true, |_| {});
    let issuer = w.fleet.issuer();
    let workshop = Workshop::under(issuer, issuer, &Seed::from_number(7), NOW);
    let scene = Defect::LEAF_CA_TRUE.scene(&workshop).expect("mints").expect("a chain");
    let fleet = w.fleet.clone().with_scene(Defect::LEAF_CA_TRUE, Arc::new(scene));
    let device = fleet.device(1, id("dev-1"), Some(Defect::LEAF_CA_TRUE)).expect("mints");
    assert_eq!(verdict(&w.present(&device, NOW)), refusal(errors::INVALID_CERTIFICATE));
}
