//! The roll-up rule, on certificates minted for the purpose, and beside a verifier we did not write.
#![expect(clippy::expect_used, reason = "a test that cannot go on says so by panicking")]

use sim_identity::fleet::FleetPlan;
use sim_identity::verdict::{Check, Entry, SignatureMemo, Trust, Verdict, judge};
use sim_identity::{Certificate, Defect, Fleet, Hierarchy, HierarchyPlan, Issuer, KeyAlgorithm, Seed};
use sim_protocol::{EnrollmentGroupId, RegistrationId};
use std::sync::Arc;
use time::OffsetDateTime;
use time::macros::datetime;

const NOW: OffsetDateTime = datetime!(2026-06-01 00:00 UTC);

struct World {
    hierarchy: Hierarchy,
    fleet: Fleet,
}

fn world(intermediates: u8, authority_key: KeyAlgorithm, leaf_key: KeyAlgorithm) -> World {
    let plan = HierarchyPlan { name: "test".into(), intermediates, key: authority_key };
    let hierarchy = Hierarchy::mint(&plan, &Seed::from_number(1), NOW).expect("a hierarchy");
    let plan = FleetPlan { key: leaf_key, key_pool: 1, ..FleetPlan::default() };
    let fleet = Fleet::new(&plan, hierarchy.issuing().clone(), Seed::from_number(2), NOW).expect("a fleet");
    World { hierarchy, fleet }
}

fn id(text: &str) -> RegistrationId {
    RegistrationId::new(text).expect("a good id")
}

fn group(name: &str) -> EnrollmentGroupId {
    EnrollmentGroupId::new(name).expect("a good name")
}

fn entry(name: &str, of: &Issuer, enabled: bool) -> Entry {
    Entry { group: group(name), enabled, certificate: of.certificate().clone() }
}

fn trust(verified: &[&Issuer], entries: Vec<Entry>) -> Trust {
    Trust { verified: verified.iter().map(|i| i.certificate().clone()).collect(), entries }
}

fn chain(world: &World, defect: Option<Defect>) -> Vec<Arc<Certificate>> {
    let device = world.fleet.device(1, id("dev-1"), defect).expect("mints");
    device.chain.iter().map(|c| Arc::new(Certificate::from_der(c.as_ref()).expect("reads back"))).collect()
}

fn verdict_of(chain: &[Arc<Certificate>], trust: &Trust) -> (Verdict, Option<Check>) {
    let judgement = judge(chain, &id("dev-1"), NOW.unix_timestamp(), trust, &SignatureMemo::default());
    (judgement.verdict, judgement.trail.first().map(|d| d.check))
}

#[test]
fn the_instance_decides_over_one_and_the_same_good_chain() {
    let w = world(2, KeyAlgorithm::P256, KeyAlgorithm::P256);
    let [root, factory, line] = w.hierarchy.authorities() else { panic!("three authorities") };
    let full = chain(&w, None);
    let accept = |name: &str| Verdict::Accept(group(name));
    let rows = [
        ("root verified, group on it", trust(&[root], vec![entry("g", root, true)]), accept("g")),
        ("root verified, group below", trust(&[root], vec![entry("g", line, true)]), accept("g")),
        ("both verified, group on the root", trust(&[root, line], vec![entry("g", root, true)]), accept("g")),
        ("intermediate verified, group on it", trust(&[line], vec![entry("g", line, true)]), accept("g")),
        (
            "group above the verified one",
            trust(&[line], vec![entry("g", root, true)]),
            Verdict::GroupAboveVerified,
        ),
        ("nothing verified", trust(&[], vec![entry("g", root, true)]), Verdict::NoVerifiedCa),
        ("no group", trust(&[root], vec![]), Verdict::NoEntry),
        (
            "nearest group wins",
            trust(&[root], vec![entry("far", root, true), entry("near", factory, true)]),
            accept("near"),
        ),
        (
            "nearest group is disabled",
            trust(&[root], vec![entry("far", root, true), entry("near", line, false)]),
            Verdict::Disabled(group("near")),
        ),
        (
            "a tie goes to the disabled entry",
            trust(&[root], vec![entry("a", line, true), entry("b", line, false)]),
            Verdict::Disabled(group("b")),
        ),
    ];
    for (name, trust, expected) in rows {
        assert_eq!(verdict_of(&full, &trust).0, expected, "{name}");
    }
}

#[test]
fn order_and_junk_after_the_leaf_mean_nothing() {
    let w = world(2, KeyAlgorithm::P256, KeyAlgorithm::P256);
    let other = world(1, KeyAlgorithm::P384, KeyAlgorithm::P256);
    let trust = trust(&[w.hierarchy.root()], vec![entry("g", w.hierarchy.root(), true)]);
    let mut shuffled = chain(&w, None);
    shuffled[1..].reverse();
    shuffled.extend(chain(&other, None).into_iter().skip(1));
    shuffled.push(shuffled[1].clone());
    assert_eq!(verdict_of(&shuffled, &trust).0, Verdict::Accept(group("g")));
    let mut gap = chain(&w, None);
    gap.remove(1);
    assert_eq!(verdict_of(&gap, &trust), (Verdict::NoVerifiedCa, Some(Check::MissingIssuer)));
}

#[test]
fn every_defect_is_refused_for_its_own_reason() {
    let w = world(1, KeyAlgorithm::P256, KeyAlgorithm::P256);
    let root = w.hierarchy.root();
    let sibling =
        Arc::new(w.hierarchy.sibling("closed line", &Seed::from_number(9), NOW).expect("a sibling"));
    let w =
        World { fleet: w.fleet.clone().with_disabled_line(sibling.clone()), hierarchy: w.hierarchy.clone() };
    let trust =
        trust(&[root], vec![entry("g", w.hierarchy.issuing(), true), entry("closed", &sibling, false)]);
    for defect in Defect::ALL {
        let expected = match defect {
            Defect::LeafExpired => (Verdict::InvalidCertificate, Some(Check::Expired)),
            Defect::LeafNotYetValid => (Verdict::InvalidCertificate, Some(Check::NotYetValid)),
            Defect::LeafOnly => (Verdict::NoVerifiedCa, Some(Check::MissingIssuer)),
            Defect::SameNameOtherKey => (Verdict::NoVerifiedCa, Some(Check::WrongKey)),
            Defect::CnMismatch => (Verdict::CnMismatch, None),
            Defect::LeafCaTrue => (Verdict::InvalidCertificate, Some(Check::CaFlag)),
            Defect::GroupDisabled => (Verdict::Disabled(group("closed")), None),
        };
        assert_eq!(verdict_of(&chain(&w, Some(defect)), &trust), expected, "{defect}");
        assert_eq!(defect.id().parse(), Ok(defect));
    }
}

#[test]
fn leaves_of_every_key_type_pass_our_judge_and_webpki() {
    for authority in [KeyAlgorithm::P256, KeyAlgorithm::P384, KeyAlgorithm::Ed25519, KeyAlgorithm::Rsa2048] {
        for leaf in [KeyAlgorithm::P256, KeyAlgorithm::P384, KeyAlgorithm::Ed25519, KeyAlgorithm::Rsa2048] {
            let w = world(1, authority, leaf);
            let full = chain(&w, None);
            let trust = trust(&[w.hierarchy.root()], vec![entry("g", w.hierarchy.issuing(), true)]);
            assert_eq!(verdict_of(&full, &trust).0, Verdict::Accept(group("g")), "{leaf} under {authority}");
            assert_eq!(
                webpki_accepts(&full, w.hierarchy.root().certificate(), NOW),
                Ok(()),
                "{leaf} under {authority}"
            );
        }
    }
}

#[test]
fn webpki_refuses_the_expired_and_the_impostor_too() {
    let w = world(1, KeyAlgorithm::P256, KeyAlgorithm::P256);
    for defect in [Defect::LeafExpired, Defect::SameNameOtherKey, Defect::LeafCaTrue, Defect::LeafOnly] {
        let bad = chain(&w, Some(defect));
        assert!(webpki_accepts(&bad, w.hierarchy.root().certificate(), NOW).is_err(), "{defect}");
    }
}

fn webpki_accepts(
    chain: &[Arc<Certificate>],
    root: &Certificate,
    at: OffsetDateTime,
) -> Result<(), webpki::Error> {
    use rustls_pki_types::{CertificateDer, UnixTime};
    let root = CertificateDer::from(root.der());
    let anchors = [webpki::anchor_from_trusted_cert(&root)?];
    let leaf = CertificateDer::from(chain[0].der());
    let intermediates: Vec<_> = chain[1..].iter().map(|c| CertificateDer::from(c.der())).collect();
    let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(at.unix_timestamp().unsigned_abs()));
    webpki::EndEntityCert::try_from(&leaf)?
        .verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &anchors,
            &intermediates,
            at,
            webpki::KeyUsage::client_auth(),
            None,
            None,
        )
        .map(|_| ())
}

#[test]
fn device_n_is_the_same_device_wherever_it_is_minted() {
    let mint = || {
        let w = world(1, KeyAlgorithm::P256, KeyAlgorithm::P256);
        let device = w.fleet.device(41, id("dev-41"), None).expect("mints");
        let leaf = Certificate::from_der(device.chain[0].as_ref()).expect("reads back");
        (leaf.serial().to_vec(), leaf.public_key().to_vec(), device.registration_id)
    };
    assert_eq!(mint(), mint());
}

#[test]
fn decoys_of_the_same_name_do_not_hide_the_right_issuer() {
    let w = world(1, KeyAlgorithm::P256, KeyAlgorithm::P256);
    let trust = trust(&[w.hierarchy.root()], vec![entry("g", w.hierarchy.issuing(), true)]);
    let good = chain(&w, None);
    // The same seed gives the same names; another key type gives other keys.
    let decoys: Vec<_> = [KeyAlgorithm::P384, KeyAlgorithm::Ed25519]
        .map(|key| world(1, key, KeyAlgorithm::P256).hierarchy.issuing().certificate().clone())
        .to_vec();
    assert!(decoys.iter().all(|d| d.subject_der() == good[1].subject_der()));
    let mut flooded = vec![good[0].clone()];
    flooded.extend(decoys.clone());
    assert_eq!(verdict_of(&flooded, &trust), (Verdict::NoVerifiedCa, Some(Check::WrongKey)));
    flooded.extend(good[1..].to_vec());
    assert_eq!(verdict_of(&flooded, &trust).0, Verdict::Accept(group("g")));
}
