//! The roll-up rule, on certificates minted for the purpose, and beside a verifier we did not write.
#![expect(clippy::expect_used, reason = "a test that cannot go on says so by panicking")]

use sim_identity::fleet::FleetPlan;
use sim_identity::verdict::{
    Asked, Check, Entry, Goal, IndividualCredential, IndividualEntry, Judgement, Rules, SignatureMemo, Trust,
    Verdict, admit, judge,
};
use sim_identity::{Certificate, Fleet, Hierarchy, HierarchyPlan, Issuer, KeyAlgorithm, Seed};
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
    Entry { group: group(name), enabled, sha256: *of.certificate().sha256() }
}

fn trust(verified: &[&Issuer], entries: Vec<Entry>) -> Trust {
    Trust { verified: verified.iter().map(|i| i.certificate().clone()).collect(), entries }
}

fn chain(world: &World) -> Vec<Arc<Certificate>> {
    let device = world.fleet.device(1, id("dev-1"), None).expect("mints");
    device.chain.iter().map(|c| Arc::new(Certificate::from_der(c.as_ref()).expect("reads back"))).collect()
}

fn asking<T>(goal: Goal, rules: &Rules, ask: impl FnOnce(&Asked<'_>) -> T) -> T {
    let id = id("dev-1");
    ask(&Asked { registration_id: Some(&id), now: NOW.unix_timestamp(), rules, goal })
}

fn judged(chain: &[Arc<Certificate>], trust: &Trust) -> Judgement {
    let memo = SignatureMemo::default();
    asking(Goal::Entry, &Rules::default(), |asked| judge(chain, asked, trust, &memo))
}

fn verdict_of(chain: &[Arc<Certificate>], trust: &Trust) -> (Verdict, Option<Check>) {
    let judgement = judged(chain, trust);
    (judgement.verdict, judgement.trail.first().map(|d| d.check))
}

#[test]
fn the_instance_decides_over_one_and_the_same_good_chain() {
    let w = world(2, KeyAlgorithm::P256, KeyAlgorithm::P256);
    let [root, factory, line] = w.hierarchy.authorities() else { panic!("three authorities") };
    let full = chain(&w);
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
    let mut shuffled = chain(&w);
    shuffled[1..].reverse();
    shuffled.extend(chain(&other).into_iter().skip(1));
    shuffled.push(shuffled[1].clone());
    assert_eq!(verdict_of(&shuffled, &trust).0, Verdict::Accept(group("g")));
    let mut gap = chain(&w);
    gap.remove(1);
    assert_eq!(verdict_of(&gap, &trust), (Verdict::NoVerifiedCa, Some(Check::MissingIssuer)));
}

#[test]
fn whether_a_chain_rolls_up_is_a_question_without_groups() {
    let w = world(1, KeyAlgorithm::P256, KeyAlgorithm::P256);
    let full = chain(&w);
    let memo = SignatureMemo::default();
    for (verified, expected) in [
        (vec![w.hierarchy.root()], Verdict::RollsUp),
        (vec![w.hierarchy.issuing()], Verdict::RollsUp),
        (vec![], Verdict::NoVerifiedCa),
    ] {
        let trust = trust(&verified.iter().map(|i| &***i).collect::<Vec<_>>(), vec![]);
        let judgement = asking(Goal::RollUp, &Rules::default(), |asked| judge(&full, asked, &trust, &memo));
        assert_eq!(judgement.verdict, expected);
        let reached = judgement.path.last() == verified.first().map(|v| v.certificate());
        assert_eq!(reached, expected.is_admitted() || verified.is_empty() && judgement.path.is_empty());
    }
}

#[test]
fn an_individual_enrollment_decides_before_any_group() {
    let w = world(1, KeyAlgorithm::P256, KeyAlgorithm::P256);
    let full = chain(&w);
    let (root, line) = (w.hierarchy.root(), w.hierarchy.issuing());
    let trust = trust(&[root], vec![entry("g", line, true)]);
    let own = IndividualCredential::Leaves(vec![*full[0].sha256()]);
    let other = IndividualCredential::Leaves(vec![*full[1].sha256()]);
    let through = |issuer: &Issuer| IndividualCredential::Authorities(vec![*issuer.certificate().sha256()]);
    let fall_through = Rules { individual_fall_through: true, ..Rules::default() };
    let rows = [
        ("its own certificate", own.clone(), true, Rules::default(), Verdict::AcceptIndividual),
        ("disabled", own, false, Rules::default(), Verdict::DisabledIndividual),
        ("another certificate", other.clone(), true, Rules::default(), Verdict::IndividualStale),
        ("another, and groups may decide", other, true, fall_through, Verdict::Accept(group("g"))),
        ("its issuer", through(line), true, Rules::default(), Verdict::AcceptIndividual),
        ("its issuer, disabled", through(line), false, Rules::default(), Verdict::DisabledIndividual),
        ("a key", IndividualCredential::Keys, true, Rules::default(), Verdict::IndividualByKey),
    ];
    for (name, credential, enabled, rules, expected) in rows {
        let entry = IndividualEntry { enabled, credential };
        let memo = SignatureMemo::default();
        let judgement = asking(Goal::Entry, &rules, |asked| admit(&full, asked, Some(&entry), &trust, &memo));
        assert_eq!(judgement.verdict, expected, "{name}");
    }
}

#[test]
fn each_knob_of_the_path_changes_the_verdict_it_is_about() {
    let w = world(2, KeyAlgorithm::P256, KeyAlgorithm::P256);
    let root = w.hierarchy.root();
    let trust = trust(&[root], vec![entry("g", root, true)]);
    let mut unsent = chain(&w);
    unsent.pop();
    let memo = SignatureMemo::default();
    let verdict = |chain: &[Arc<Certificate>], rules: &Rules| {
        asking(Goal::Entry, rules, |asked| judge(chain, asked, &trust, &memo)).verdict
    };
    let accept = Verdict::Accept(group("g"));
    assert_eq!(verdict(&unsent, &Rules::default()), accept);
    let strict = Rules { verified_ca_must_be_presented: true, ..Rules::default() };
    assert_eq!(verdict(&unsent, &strict), Verdict::NoVerifiedCa);
    assert_eq!(verdict(&chain(&w), &strict), accept);
    let short = Rules { longest_path: 1, ..Rules::default() };
    assert_eq!(verdict(&chain(&w), &short), Verdict::NoVerifiedCa);
}

#[test]
fn leaves_of_every_key_type_pass_our_judge_and_webpki() {
    for authority in [KeyAlgorithm::P256, KeyAlgorithm::P384, KeyAlgorithm::Ed25519, KeyAlgorithm::Rsa2048] {
        for leaf in [KeyAlgorithm::P256, KeyAlgorithm::P384, KeyAlgorithm::Ed25519, KeyAlgorithm::Rsa2048] {
            let w = world(1, authority, leaf);
            let full = chain(&w);
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
    let good = chain(&w);
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
