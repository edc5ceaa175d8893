//! What the mock takes in from strangers, one function for each way in: any bytes may come, and none may make it
//! panic, hang or answer in words that are not the protocol's.
//!
//! cargo-fuzz calls these with what it makes up; the ordinary tests call them with everything that is kept in
//! `corpus/` and `regressions/`. Each call starts from nothing, so that a finding is its input and no more.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sim_dps::certificates::read_uploaded;
use sim_dps::{Instance, Limits, ServerConfig};
use sim_identity::certificate::CommonName;
use sim_identity::possession;
use sim_identity::preflight::{
    self, CaState, DEFAULT_MARGIN, Presented, Purpose, Question, UploadedCa, examine,
};
use sim_identity::verdict::{
    Asked, Check, Entry, Goal, Judgement, MAX_EDGES, Rules, SignatureMemo, Trust, Verdict, judge,
};
use sim_identity::{Certificate, Seed, files};
use sim_protocol::attestation::{
    AttestationMechanism, BulkEnrollments, BulkGroups, CaReferences, EnrollmentGroup, IndividualEnrollment,
    Query, X509Attestation,
};
use sim_protocol::delay::LONGEST;
use sim_protocol::faults::{Fault, FaultRule};
use sim_protocol::mqtt::{Request, ResponseTopic, UserName};
use sim_protocol::registration::{DeviceRegistration, OperationStatus, RegistrationState};
use sim_protocol::resource::{CertificateBody, PutCertificate, VerifyCertificate};
use sim_protocol::sas::Token;
use sim_protocol::{CaName, EnrollmentGroupId, IdScope, RegistrationId};
use std::sync::Arc;
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A moment at which the certificates of the corpus are valid: 15 January 2027, Unix seconds.
const NOW: i64 = 1_800_000_000;

/// What the client of [`packets`] presents: leaf, intermediate and root of `dev-001`.
const CHAIN: &[u8] = include_bytes!("corpus/certificates/chain.pem");

/// The bytes of an MQTT client, from its CONNECT on.
pub fn packets(data: &[u8]) {
    check_conversation(&conversation(data));
}

fn check_conversation(answers: &[u8]) {
    let answers = whole_packets(answers);
    let Some(((connack, content), rest)) = answers.split_first() else { return };
    assert_eq!(
        (*connack, content.len(), content[0]),
        (0x20, 2, 0),
        "the first answer is a CONNACK without session"
    );
    assert!(content[1] <= 5, "return code {}", content[1]);
    assert!(content[1] == 0 || rest.is_empty(), "a refusal ends the conversation");
    rest.iter().for_each(|(first, content)| check_answer(*first, content));
}

/// An instance that [`CHAIN`] leads into: its root is verified, and group `g` refers to it.
fn instance() -> Instance {
    let config = ServerConfig::new(Seed::from_number(1)).expect("a configuration");
    let instance = Instance::new(&config).expect("an instance");
    let chain = std::str::from_utf8(CHAIN).expect("PEM");
    let root = chain.rfind("-----BEGIN").map(|start| chain[start..].to_owned());
    put_certificate(&instance, CertificateBody { certificate: root, is_verified: Some(true) });
    let references = CaReferences { primary: Some("root".to_owned()), secondary: None };
    let x509 = X509Attestation { ca_references: Some(references), ..X509Attestation::default() };
    put_group(&instance, EnrollmentGroup::x509("g", x509), None);
    instance
}

fn now() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(NOW).expect("a moment")
}

fn put_certificate(instance: &Instance, body: CertificateBody) {
    let name = CaName::new("root").expect("a good name");
    let put = instance.registrar().write(|control, ids| {
        control.authorities.put(name, body, Some("*"), &Limits::documented(), ids, now()).map(drop)
    });
    drop(put);
}

fn put_group(instance: &Instance, document: EnrollmentGroup, if_match: Option<&str>) {
    if let Ok(id) = EnrollmentGroupId::new(document.enrollment_group_id.as_str()) {
        drop(instance.registrar().put_group(id, document, if_match, now()));
    }
}

/// Everything the mock says to a client that sends `data` and goes away.
pub fn conversation(data: &[u8]) -> Vec<u8> {
    converse(&instance(), data)
}

fn converse(instance: &Instance, data: &[u8]) -> Vec<u8> {
    let presented = files::read_certificates("the chain", CHAIN).expect("certificates of the corpus");
    let presented = presented.iter().map(|c| c.der().to_vec()).collect();
    let (device, service) = tokio::io::duplex(16 * 1024);
    let (mut incoming, mut outgoing) = tokio::io::split(device);
    let talk = async {
        // The mock may have ended the conversation long before the last byte.
        let _ = outgoing.write_all(data).await;
        let _ = outgoing.shutdown().await;
    };
    let listen = async {
        let mut answers = Vec::new();
        incoming.read_to_end(&mut answers).await.expect("memory does not fail");
        answers
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async { tokio::join!(instance.converse(service, presented), talk, listen).2 })
}

/// Cuts a stream into packets: the first byte of each, and what follows the remaining length (section 2.2.3).
fn whole_packets(mut stream: &[u8]) -> Vec<(u8, &[u8])> {
    let mut packets = Vec::new();
    while let Some((&first, mut rest)) = stream.split_first() {
        let (mut length, mut shift) = (0, 0);
        loop {
            let (&byte, more) = rest.split_first().expect("a whole remaining length");
            (length, rest) = (length | usize::from(byte & 0x7f) << shift, more);
            if byte & 0x80 == 0 {
                break;
            }
            shift += 7;
            assert!(shift < 28, "a remaining length of more than four bytes");
        }
        let (content, after) = rest.split_at_checked(length).expect("a whole packet");
        packets.push((first, content));
        stream = after;
    }
    packets
}

fn check_answer(first: u8, content: &[u8]) {
    match first {
        // PUBACK and UNSUBACK have nothing but a packet id, PINGRESP nothing at all.
        0x40 | 0xb0 => assert_eq!(content.len(), 2),
        0xd0 => assert!(content.is_empty()),
        0x90 => assert!(content[2..].iter().all(|code| matches!(code, 0 | 1 | 0x80)), "{content:02x?}"),
        0x30 | 0x32 => check_delivery(first == 0x32, content),
        _ => panic!("a packet that no server sends here: {first:02x}"),
    }
}

/// An answer to a register or a poll: its own topic, and a body in JSON.
fn check_delivery(acknowledged: bool, content: &[u8]) {
    let (length, rest) = content.split_first_chunk::<2>().expect("a topic's length");
    let (topic, mut rest) = rest.split_at(usize::from(u16::from_be_bytes(*length)));
    if acknowledged {
        let (packet_id, body) = rest.split_first_chunk::<2>().expect("a packet id");
        assert_ne!(*packet_id, [0, 0], "section 2.3.1");
        rest = body;
    }
    let topic = std::str::from_utf8(topic).expect("a topic in UTF-8");
    let topic = ResponseTopic::parse(topic).expect("a topic of the documentation");
    if topic.status < 300 {
        serde_json::from_slice::<OperationStatus>(rest).expect("an operation");
    } else {
        serde_json::from_slice::<sim_protocol::ServiceError>(rest).expect("an error body");
    }
}

/// A user name, a topic, a token or a name. What is read and written down is read as the same.
pub fn topics(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(user) = UserName::parse(text) {
        assert_eq!(UserName::parse(&user_name(&user)), Some(user));
    }
    if let Some(request) = Request::parse(text)
        && is_written_as_it_is(&request)
    {
        assert_eq!(Request::parse(&request.topic()), Some(request));
    }
    if let Some(response) = ResponseTopic::parse(text) {
        assert_eq!(ResponseTopic::parse(&response.topic()), Some(response));
    }
    let _ = Token::parse(text);
    names(text);
}

fn user_name(user: &UserName) -> String {
    let version = user.api_version.iter().map(|v| format!("api-version={v}"));
    let client = user.client_version.iter().map(|v| format!("ClientVersion={v}"));
    let query: Vec<_> = version.chain(client).collect();
    format!("{}/registrations/{}/{}", user.id_scope, user.registration_id, query.join("&"))
}

/// Operation ids are written without percent-encoding, because the service makes none that would need it.
fn is_written_as_it_is(request: &Request) -> bool {
    match request {
        Request::Register { .. } => true,
        Request::Status { operation_id, .. } => !operation_id.contains(['%', '&']),
    }
}

fn names(text: &str) {
    if let Ok(name) = IdScope::new(text) {
        assert_eq!(name.as_str(), text);
    }
    if let Ok(name) = RegistrationId::new(text) {
        assert!(name.matches(text) && RegistrationId::new(name.key()).is_ok());
    }
    if let Ok(name) = CaName::new(text) {
        assert_eq!(name.as_str(), text);
    }
    if let Ok(name) = EnrollmentGroupId::new(text) {
        assert_eq!(name.as_str(), text);
    }
}

/// An uploaded file, and the chain that a device may have presented.
pub fn certificates(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = read_uploaded(text);
    }
    let _ = judged(data);
}

/// What becomes of a device whose chain `data` is, where every CA in it is verified and the last one has a group.
///
/// `None` where there is no certificate in it.
pub fn judged(data: &[u8]) -> Option<Judgement> {
    let chain: Vec<_> = chain(data).into_iter().map(Arc::new).collect();
    let id = match chain.first()?.common_name() {
        CommonName::One(name) => RegistrationId::new(name.clone()),
        _ => RegistrationId::new("dev-001"),
    };
    let id = id.or_else(|_| RegistrationId::new("dev-001")).expect("a good id");
    let group = EnrollmentGroupId::new("g").expect("a good name");
    let entry = |certificate: &Arc<Certificate>| Entry {
        group: group.clone(),
        enabled: certificate.serial().last().is_none_or(|byte| byte % 4 != 0),
        sha256: *certificate.sha256(),
    };
    let verified = chain.iter().filter(|c| c.is_ca()).cloned().collect();
    let trust = Trust { verified, entries: chain.iter().skip(1).map(entry).collect() };
    let memo = SignatureMemo::default();
    let rules = Rules::default();
    let asked = Asked { registration_id: Some(&id), now: NOW, rules: &rules, goal: Goal::Entry };
    let judgement = judge(&chain, &asked, &trust, &memo);
    check_judgement(&judgement, &chain);
    // What was remembered changes how long it takes and, with work left, nothing else.
    if judgement.trail.iter().all(|end| end.check != Check::Budget) {
        assert_eq!(judge(&chain, &asked, &trust, &memo).verdict, judgement.verdict);
    }
    Some(judgement)
}

/// A file that holds what a device sends, a CA certificate, or a proof of possession.
pub fn files(data: &[u8]) {
    let _ = possession::read_proof(data);
    let Ok(found) = files::read_presented("fuzz", data, Some("")) else { return };
    assert!(!found.certificates.is_empty());
    let mut instance = preflight::Instance::default();
    for (index, ca) in found.certificates.iter().skip(1).enumerate() {
        let state = if index % 2 == 0 { CaState::Verified } else { CaState::Unverified };
        instance.cas.push(UploadedCa { name: None, certificate: ca.clone(), state });
    }
    let presented = Presented {
        certificates: found.certificates,
        key_matches: found.key.map(|_| true),
        file_findings: found.findings,
    };
    let question = Question {
        registration_id: None,
        at: NOW,
        window: Some((NOW, NOW + 86_400)),
        margin: DEFAULT_MARGIN,
        purpose: Purpose::Client,
        constrained: true,
        rules: Rules::default(),
    };
    let found = examine(&presented, &question, &instance, &instance.trust(), &SignatureMemo::default());
    if let Some(repair) = &found.repair {
        assert!(repair.verdict.is_admitted());
    }
}

fn check_judgement(judgement: &Judgement, chain: &[Arc<Certificate>]) {
    // One more for each path that ends where nothing is left to try.
    assert!(judgement.trail.len() <= 2 * MAX_EDGES as usize + 2, "{} dead ends", judgement.trail.len());
    if let Verdict::Accept(_) = judgement.verdict {
        assert_eq!(judgement.path.first().map(|c| c.sha256()), chain.first().map(|c| c.sha256()));
        for pair in judgement.path.windows(2) {
            pair[0].verify_signed_by(&pair[1]).expect("each certificate is signed by the next");
        }
    }
}

/// PEM, or one certificate in DER after the other, as far as it can be read.
fn chain(data: &[u8]) -> Vec<Certificate> {
    if let Ok(found) = files::read_certificates("fuzz", data) {
        return found;
    }
    let (mut rest, mut found) = (data, Vec::new());
    while let Some((der, after)) = first_element(rest) {
        found.extend(Certificate::from_der(der));
        rest = after;
    }
    found
}

/// Cuts off one element of DER by its length; none at the end, or where the length leads past it.
fn first_element(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = match *bytes {
        [_, short, ..] if short < 0x80 => 2 + usize::from(short),
        [_, 0x81, a, ..] => 3 + usize::from(a),
        [_, 0x82, a, b, ..] => 4 + usize::from(u16::from_be_bytes([a, b])),
        _ => return None,
    };
    bytes.split_at_checked(length)
}

/// A body of any of the APIs, a rule of faults, a line of a snapshot.
pub fn bodies(data: &[u8]) {
    read_again::<DeviceRegistration>(data);
    read_again::<OperationStatus>(data);
    read_again::<RegistrationState>(data);
    read_again::<EnrollmentGroup>(data);
    read_again::<IndividualEnrollment>(data);
    read_again::<AttestationMechanism>(data);
    read_again::<BulkEnrollments>(data);
    read_again::<BulkGroups>(data);
    read_again::<Query>(data);
    read_again::<PutCertificate>(data);
    read_again::<VerifyCertificate>(data);
    if let Ok(value) = serde_json::from_slice(data) {
        fault(&value);
    }
    check_conversation(&converse(&instance_after(data), &registration(data)));
}

/// An instance to which everything that the body may have been meant as was done.
fn instance_after(data: &[u8]) -> Instance {
    let instance = instance();
    let registrar = instance.registrar();
    if let Ok(body) = serde_json::from_slice::<PutCertificate>(data) {
        put_certificate(&instance, body.body());
    }
    if let Ok(body) = serde_json::from_slice::<VerifyCertificate>(data) {
        let name = CaName::new("root").expect("a good name");
        let verified = registrar.write(|control, ids| {
            let code = control.authorities.generate_code(&name, Some("*"), ids, now()).map(drop);
            code.and_then(|()| {
                control.authorities.verify(&name, &body.certificate, Some("*"), None, ids, now()).map(drop)
            })
        });
        assert!(verified.is_err(), "nobody can know the code");
    }
    let bulk = serde_json::from_slice::<BulkGroups>(data).map(|bulk| bulk.enrollment_groups);
    let group = serde_json::from_slice(data).map(|one: EnrollmentGroup| vec![one]);
    for document in bulk.or(group).unwrap_or_default() {
        put_group(&instance, document, Some("*"));
    }
    let bulk = serde_json::from_slice::<BulkEnrollments>(data).map(|bulk| bulk.enrollments);
    let individual = serde_json::from_slice(data).map(|one: IndividualEnrollment| vec![one]);
    for document in bulk.or(individual).unwrap_or_default() {
        if let Ok(id) = RegistrationId::new(document.registration_id.as_str()) {
            drop(registrar.put_individual(&id, document, None, now()));
        }
    }
    if let Ok(text) = std::str::from_utf8(data) {
        drop(registrar.restore_snapshot(text));
    }
    // Whatever it has come to can be kept and taken up again.
    let kept: String = registrar.snapshot().collect();
    registrar.restore_snapshot(&kept).expect("a snapshot of its own");
    // No webhook is asked: a fuzzer would knock at every port of this machine.
    if kept.contains(r#""custom""#) {
        registrar.forget();
    }
    instance
}

/// A rule of faults is written as it is read, and what it asks for can be done for any device and any draw.
fn fault(value: &Value) {
    let Ok(rule) = FaultRule::parse(value) else { return };
    let written = serde_json::to_value(&rule).expect("what was read can be written");
    assert_eq!(FaultRule::parse(&written).as_ref(), Ok(&rule));
    rule.concerns("dev-001");
    rule.concerns(rule.devices.as_deref().unwrap_or_default());
    if let Fault::Latency { delay } | Fault::SlowTls { delay } = &rule.fault {
        // The tail of an exponential one.
        let longest = [0, u64::MAX / 3, u64::MAX].map(|draw| delay.sample(draw)).into_iter().max();
        assert!(longest <= Some(40 * LONGEST), "{delay}: {longest:?}");
    }
}

/// What can be read can be written, and read once more. Not compared: numbers lose digits on the way.
fn read_again<T: DeserializeOwned + Serialize>(data: &[u8]) {
    let Ok(read) = serde_json::from_slice::<T>(data) else { return };
    let written = serde_json::to_string(&read).expect("what was read can be written");
    serde_json::from_str::<T>(&written).expect("what was written can be read");
}

/// A device that says good day, registers with `body`, and leaves.
fn registration(body: &[u8]) -> Vec<u8> {
    let user = "0ne00000001/registrations/dev-001/api-version=2019-03-31";
    let topic = "$dps/registrations/PUT/iotdps-register/?$rid=1";
    let connect = packet(0x10, &[&text("MQTT"), &[4, 0x80, 0, 0], &text("dev-001"), &text(user)]);
    [connect, packet(0x32, &[&text(topic), &[0, 1], body]), vec![0xe0, 0]].concat()
}

fn packet(first: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut bytes = vec![first];
    let mut length = content.len();
    while length >= 0x80 {
        bytes.push((length % 0x80) as u8 | 0x80);
        length /= 0x80;
    }
    bytes.push(length as u8);
    bytes.extend(content);
    bytes
}

fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("a short text");
    [&length.to_be_bytes(), text.as_bytes()].concat()
}
