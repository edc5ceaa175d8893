//! Every row of the fault matrix that is a chain: made, judged by our judge, and by verifiers of others.
#![expect(clippy::expect_used, reason = "a test that cannot go on says so by panicking")]

use rustls_pki_types::{CertificateDer, UnixTime};
use sim_identity::certificate::sha256;
use sim_identity::defect::{Expected, Family, HeldCertificate, Scene, TakenFor, Workshop, World};
use sim_identity::preflight::Code;
use sim_identity::verdict::{
    Asked, Check, Entry, Goal, IndividualCredential, IndividualEntry, Judgement, Rules, SignatureMemo, Trust,
    Verdict, admit,
};
use sim_identity::{
    Certificate, Defect, Hierarchy, HierarchyPlan, IssueError, KeyAlgorithm, PrivateKey, Seed, pem,
};
use sim_protocol::{EnrollmentGroupId, RegistrationId};
use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use time::OffsetDateTime;
use time::macros::datetime;

const NOW: OffsetDateTime = datetime!(2026-06-01 00:00 UTC);

/// One row as it is presented to one instance.
struct Case {
    defect: Defect,
    device: World,
    scene: Scene,
    /// What the instance holds.
    trust: Trust,
    /// Unix seconds.
    at: i64,
}

/// Long keys take seconds to make: all tests share what is made once.
static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| {
    let seed = Seed::from_number(42);
    let (workshop, hierarchy) = Workshop::own(&seed, NOW).expect("authorities");
    Defect::all().filter_map(|defect| Case::make(defect, &workshop, &hierarchy, &seed)).collect()
});

fn entry(name: &str, certificate: &Certificate, enabled: bool) -> Entry {
    let group = EnrollmentGroupId::new(name).expect("a good name");
    Entry { group, enabled, sha256: *certificate.sha256() }
}

impl Case {
    /// A device with the defect and the instance that it comes to. None for what is no chain.
    fn make(defect: Defect, workshop: &Workshop, hierarchy: &Hierarchy, seed: &Seed) -> Option<Self> {
        let scene = defect.scene(workshop).unwrap_or_else(|e| panic!("{defect}: {e}"))?;
        let id = RegistrationId::new("dev-1").expect("a good id");
        let key = Arc::new(PrivateKey::derive(seed, "device", 1, KeyAlgorithm::P256).expect("a key"));
        let device = scene.device(1, &id, seed, key).unwrap_or_else(|e| panic!("{defect}: {e}"));
        let mut verified = vec![hierarchy.root().certificate().clone()];
        let mut entries = vec![entry("line", hierarchy.issuing().certificate(), true)];
        let uploaded = scene.additions.cas.iter().filter(|ca| ca.verified);
        verified.extend(uploaded.map(|ca| ca.certificate.clone()));
        if let Some(taken_for) = scene.additions.own_leaf {
            let leaf = Certificate::from_der(device.device.chain[0].to_vec());
            let leaf = Arc::new(leaf.expect("a leaf that can be read"));
            match taken_for {
                TakenFor::VerifiedCa => verified.push(leaf),
                TakenFor::Group => entries.push(entry("leaf", &leaf, true)),
            }
        }
        for (i, group) in scene.additions.groups.iter().enumerate() {
            let certificates = std::iter::once(&group.primary).chain(&group.secondary);
            entries.extend(certificates.map(|c| entry(&format!("{defect}-{i}"), c, group.enabled)));
        }
        let at = scene.at.unwrap_or(NOW).unix_timestamp();
        Some(Case { defect, device, scene, trust: Trust { verified, entries }, at })
    }

    fn chain(&self) -> &[CertificateDer<'static>] {
        &self.device.device.chain
    }

    fn individual(&self) -> Option<IndividualEntry> {
        let individual = self.scene.additions.individual?;
        let (presented, older) = (sha256(&self.chain()[0]), sha256(&self.device.older));
        let leaves = match individual.holds {
            HeldCertificate::Presented => vec![presented],
            HeldCertificate::Older => vec![older],
            HeldCertificate::PresentedAsSecondary => vec![older, presented],
        };
        Some(IndividualEntry {
            enabled: individual.enabled,
            credential: IndividualCredential::Leaves(leaves),
        })
    }

    /// The judge's opinion, for an instance that holds `trust`; none where the leaf cannot be read. Extras that
    /// cannot be read are skipped.
    fn judge(&self, trust: &Trust) -> Option<Judgement> {
        let (leaf, rest) = self.chain().split_first().expect("a chain");
        let mut presented = vec![Arc::new(Certificate::from_der(leaf.to_vec()).ok()?)];
        presented
            .extend(rest.iter().filter_map(|der| Certificate::from_der(der.to_vec()).ok().map(Arc::new)));
        let asked = Asked {
            registration_id: Some(&self.device.device.registration_id),
            now: self.at,
            rules: &Rules::DEFAULT,
            goal: Goal::Entry,
        };
        Some(admit(&presented, &asked, self.individual().as_ref(), trust, &SignatureMemo::default()))
    }

    /// What the judge finds, where that is not what was expected.
    fn disagreement(&self, trust: &Trust) -> Option<String> {
        let judgement = self.judge(trust);
        let verdict = judgement.as_ref().map(|j| &j.verdict);
        let name = verdict.map_or("invalid-certificate", Verdict::name);
        let expected = self.defect.expected();
        let agrees = match expected {
            Expected::Accept => verdict.is_some_and(Verdict::is_admitted),
            Expected::Disabled => verdict.is_some_and(Verdict::is_disabled),
            Expected::Refused(refused) => refused == name,
            Expected::Proven | Expected::NotProven => false,
        };
        let end = judgement.as_ref().and_then(|j| j.trail.first()).map(ToString::to_string);
        (!agrees).then(|| format!("expected {expected:?}, found {name}: {}", end.unwrap_or_default()))
    }

    /// The opinion of rustls-webpki. It never looks at names, groups and individual enrollments.
    fn webpki(&self) -> Result<(), webpki::Error> {
        let verified: Vec<_> = self.trust.verified.iter().map(|c| CertificateDer::from(c.der())).collect();
        let anchors: Vec<_> =
            verified.iter().filter_map(|c| webpki::anchor_from_trusted_cert(c).ok()).collect();
        let (leaf, rest) = self.chain().split_first().expect("a chain");
        let at = UnixTime::since_unix_epoch(Duration::from_secs(self.at.unsigned_abs()));
        let usage = webpki::KeyUsage::client_auth();
        webpki::EndEntityCert::try_from(leaf)?
            .verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &anchors, rest, at, usage, None, None)
            .map(|_| ())
    }
}

/// What was expected beside what was found.
struct Disagreements(BTreeMap<usize, String>);

impl Disagreements {
    fn among(judge: impl Fn(&Case) -> Option<String>) -> Self {
        let found = CASES.iter().enumerate().filter_map(|(i, case)| Some((i, judge(case)?)));
        Disagreements(found.collect())
    }

    #[track_caller]
    fn are_none(&self, of: &str) {
        let mut table = String::new();
        for (&i, found) in &self.0 {
            let _ = write!(table, "\n  {:32} {found}", CASES[i].defect.id());
        }
        assert!(self.0.is_empty(), "{} rows in which {of} disagrees:{table}", self.0.len());
    }
}

#[test]
fn the_judge_agrees_with_every_row() {
    let found = Disagreements::among(|case| case.disagreement(&case.trust));
    let guesses = CASES.iter().filter(|case| !case.defect.is_known()).count();
    say(&format!("{} rows, {} agree, {guesses} of them knobs", CASES.len(), CASES.len() - found.0.len()));
    found.are_none("the judge");
}

#[test]
fn rows_do_not_disturb_each_other_in_one_instance() {
    let mut trust = Trust::default();
    for case in CASES.iter() {
        trust.verified.extend(case.trust.verified.iter().cloned());
        trust.entries.extend(case.trust.entries.iter().cloned());
    }
    Disagreements::among(|case| case.disagreement(&trust)).are_none("the judge");
}

#[test]
fn the_rows_hold_under_hierarchies_of_other_depths() {
    let mut table = String::new();
    for intermediates in [0, 2] {
        let seed = Seed::from_number(43);
        let plan = HierarchyPlan { name: "own".into(), intermediates, key: KeyAlgorithm::P256 };
        let hierarchy = Hierarchy::mint(&plan, &seed, NOW).expect("authorities");
        let workshop = Workshop::under(hierarchy.root(), hierarchy.issuing(), &seed, NOW);
        // Algorithms have nothing to do with depth, and their keys take long to make.
        for defect in Defect::all().filter(|defect| defect.family() != Family::Algorithm) {
            let case = Case::make(defect, &workshop, &hierarchy, &seed);
            if let Some(found) = case.and_then(|case| case.disagreement(&case.trust)) {
                let _ = write!(table, "\n  {:32} below {intermediates} CAs: {found}", defect.id());
            }
        }
    }
    assert!(table.is_empty(), "the judge disagrees:{table}");
}

#[test]
fn a_root_that_allows_no_ca_below_it_leaves_no_room_and_says_so() {
    let seed = Seed::from_number(44);
    let plan = HierarchyPlan { name: "narrow".into(), intermediates: 1, key: KeyAlgorithm::P256 };
    let hierarchy = Hierarchy::mint(&plan, &seed, NOW).expect("authorities");
    // The intermediate has a path length of 0, and stands here as the root of a user.
    let narrow = hierarchy.issuing();
    let workshop = Workshop::under(narrow, narrow, &seed, NOW);
    let scene = |id: &str| id.parse::<Defect>().expect("a defect").scene(&workshop);
    for id in ["ca-ku-absent", "pres-gap", "pres-leaf-only-issuer-not-verified", "time-int-expired"] {
        assert!(matches!(scene(id), Err(IssueError::NoRoom { .. })), "{id}");
    }
    for id in ["pres-full", "time-leaf-expired", "ca-pathlen-on-anchor", "iss-cross-signed-a"] {
        assert!(scene(id).is_ok_and(|scene| scene.is_some()), "{id}");
    }
}

#[test]
fn no_certificate_is_in_two_groups_of_a_row() {
    let found = Disagreements::among(|case| {
        let mut members: Vec<_> = case.trust.entries.iter().map(|entry| entry.sha256).collect();
        members.sort_unstable();
        let all = members.len();
        members.dedup();
        // The one row that is about this.
        let meant = case.defect.diagnostic() == Some("entry-duplicate");
        (!meant && members.len() < all).then(|| format!("{all} entries, {} certificates", members.len()))
    });
    found.are_none("the service, which refuses the second group,");
}

#[test]
fn a_refusal_names_the_fault_of_its_row() {
    let of_judge: HashSet<&str> = Check::ALL.iter().map(|check| check.code()).collect();
    let found = Disagreements::among(|case| {
        let expected = case.defect.diagnostic().filter(|code| of_judge.contains(code))?;
        let judgement = case.judge(&case.trust).filter(|judgement| !judgement.verdict.is_admitted())?;
        let found = judgement.trail.first().map(|end| end.check.code());
        (found != Some(expected)).then(|| format!("expected {expected}, found {found:?}"))
    });
    found.are_none("the judge");
}

#[test]
fn webpki_judges_as_the_matrix_says() {
    let measured = CASES.iter().filter(|case| case.defect.others().webpki.is_some()).count();
    let found = Disagreements::among(|case| {
        let expected = case.defect.others().webpki?;
        let found = case.webpki();
        (found.is_ok() != expected).then(|| format!("expected {}, found {found:?}", accepted(expected)))
    });
    say(&format!("webpki: {measured} rows, {} agree", measured - found.0.len()));
    found.are_none("webpki");
}

#[test]
fn openssl_judges_as_the_matrix_says() {
    let Some(openssl) = Openssl::find() else { return };
    let (mut measured, mut agree) = (0, 0);
    let mut count = |agrees: bool| {
        measured += 1;
        agree += usize::from(agrees);
    };
    let mut table = String::new();
    for case in CASES.iter() {
        let others = case.defect.others();
        let level_2 = others.openssl_level_2.map(|expected| (LEVEL_2, expected));
        let usual: &[&str] = &[];
        for (level, expected) in others.openssl.map(|expected| (usual, expected)).into_iter().chain(level_2) {
            let found = openssl.verify(case, level);
            let agrees = found.is_ok() == expected;
            count(agrees);
            if !agrees {
                let (id, expected) = (case.defect.id(), accepted(expected));
                let _ = write!(table, "\n  {id:32} {level:?} expected {expected}, found {found:?}");
            }
        }
    }
    say(&format!("{}: {measured} verdicts, {agree} agree", openssl.version));
    assert!(table.is_empty(), "{} disagrees:{table}", openssl.version);
}

const fn accepted(yes: bool) -> &'static str {
    if yes { "accepted" } else { "refused" }
}

#[test]
fn every_row_has_an_id_texts_and_a_diagnostic_of_its_own_kind() {
    let codes: HashSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    let mut ids = HashSet::new();
    for defect in Defect::all() {
        assert!(ids.insert(defect.id()), "{defect} is there twice");
        assert_eq!(defect.id().parse(), Ok(defect));
        let (explanation, repair) = (defect.explanation(), defect.repair());
        assert!(!explanation.is_empty() && !explanation.ends_with('.'), "{defect}: {explanation}");
        assert!(repair.ends_with('.') && repair.starts_with(char::is_uppercase), "{defect}: {repair}");
        if let Some(code) = defect.diagnostic() {
            assert!(codes.contains(code), "{defect}: {code}");
        }
    }
}

/// The security level of what distributions configure.
const LEVEL_2: &[&str] = &["-auth_level", "2"];

/// The `openssl` command at work in a directory of its own.
struct Openssl {
    directory: PathBuf,
    /// As it gives it. The matrix was measured with 3.0.
    version: String,
}

impl Openssl {
    /// None, said aloud, where the command isn't installed.
    fn find() -> Option<Self> {
        let found = Command::new("openssl").arg("version").output();
        if let Ok(found) = found.as_ref()
            && found.status.success()
        {
            let name = format!("matrix-{}", std::process::id());
            let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
            std::fs::create_dir_all(&directory).expect("a directory");
            let version = String::from_utf8_lossy(&found.stdout).trim().to_owned();
            return Some(Openssl { directory, version });
        }
        #[expect(clippy::disallowed_methods, reason = "the caller says here which tools must be there")]
        let required = std::env::var("ROLLCALL_TESTS_REQUIRE").unwrap_or_default();
        assert!(!required.split_whitespace().any(|name| name == "openssl"), "needs `openssl`: {found:?}");
        say(&format!("skipped: needs `openssl`: {found:?}"));
        None
    }

    fn write<'a>(&self, name: &str, certificates: impl Iterator<Item = &'a [u8]>) -> PathBuf {
        let file = self.directory.join(name);
        let text: String = certificates.map(|der| pem::encode("CERTIFICATE", der)).collect();
        std::fs::write(&file, text).expect("a file");
        file
    }

    /// Its opinion at a security level, by default the lowest; its words where it refuses.
    fn verify(&self, case: &Case, level: &[&str]) -> Result<(), String> {
        let (leaf, rest) = case.chain().split_first().expect("a chain");
        let mut command = Command::new("openssl");
        command.args(["verify", "-partial_chain", "-purpose", "sslclient", "-no-CApath", "-no-CAstore"]);
        command.args(level).args(["-attime", &case.at.to_string()]);
        command.arg("-CAfile").arg(self.write("verified.pem", case.trust.verified.iter().map(|c| c.der())));
        if !rest.is_empty() {
            command.arg("-untrusted").arg(self.write("rest.pem", rest.iter().map(AsRef::as_ref)));
        }
        command.arg(self.write("leaf.pem", [leaf.as_ref()].into_iter()));
        let finished = command.output().expect("openssl runs");
        if finished.status.success() {
            return Ok(());
        }
        Err(String::from_utf8_lossy(&finished.stderr).lines().take(4).collect::<Vec<_>>().join(" | "))
    }
}

impl Drop for Openssl {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Says something past the test harness, which keeps what a test that passes prints.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "fault matrix: {text}");
}
