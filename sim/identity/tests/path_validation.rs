//! Path validation in the order of the NIST PKITS sections: signatures, dates, names, self-issued certificates,
//! basic constraints, key usage, name constraints. Every chain is minted here by rcgen, which we did not write, and
//! judged by the one question whether it rolls up to a root that is verified.
#![expect(clippy::expect_used, reason = "a test that cannot go on says so by panicking")]

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyPair, KeyUsagePurpose, NameConstraints, SanType,
};
use sim_identity::Certificate;
use sim_identity::verdict::{Asked, Check, Goal, MAX_EDGES, Rules, SignatureMemo, Trust, Verdict, judge};
use std::sync::Arc;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

const NOW: OffsetDateTime = datetime!(2026-06-01 00:00 UTC);

/// A CA that can issue: its parameters, for its name, and its key.
struct Ca {
    params: CertificateParams,
    key: KeyPair,
    certificate: Arc<Certificate>,
}

type Change = fn(&mut CertificateParams);

fn unchanged(_: &mut CertificateParams) {}

fn name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "Contoso");
    name.push(DnType::CommonName, common_name);
    name
}

fn params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = name(common_name);
    (params.not_before, params.not_after) = (NOW - Duration::days(10), NOW + Duration::days(10));
    params.use_authority_key_identifier_extension = true;
    params
}

fn ca_params(common_name: &str) -> CertificateParams {
    let mut params = params(common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn read(der: &[u8]) -> Arc<Certificate> {
    Arc::new(Certificate::from_der(der).expect("reads back"))
}

fn root(change: Change) -> Ca {
    let mut params = ca_params("Trust Anchor");
    change(&mut params);
    let key = KeyPair::generate().expect("a key");
    let made = params.self_signed(&key).expect("signs");
    Ca { certificate: read(made.der()), params, key }
}

impl Ca {
    fn issuer(&self) -> rcgen::Issuer<'_, &KeyPair> {
        rcgen::Issuer::from_params(&self.params, &self.key)
    }

    fn ca(&self, common_name: &str, change: Change) -> Ca {
        let key = KeyPair::generate().expect("a key");
        self.ca_with(common_name, key, change)
    }

    fn ca_with(&self, common_name: &str, key: KeyPair, change: Change) -> Ca {
        let mut params = ca_params(common_name);
        change(&mut params);
        let made = params.signed_by(&key, &self.issuer()).expect("signs");
        Ca { certificate: read(made.der()), params, key }
    }

    fn leaf(&self, change: Change) -> Arc<Certificate> {
        let mut params = params("dev-1");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        read(params.signed_by(&key, &self.issuer()).expect("signs").der())
    }

    /// A leaf, and these CAs as they are sent after it.
    fn chain(&self, above: &[&Ca]) -> Vec<Arc<Certificate>> {
        self.chain_of(unchanged, above)
    }

    fn chain_of(&self, change: Change, above: &[&Ca]) -> Vec<Arc<Certificate>> {
        let mut chain = vec![self.leaf(change)];
        chain.push(self.certificate.clone());
        chain.extend(above.iter().map(|ca| ca.certificate.clone()));
        chain
    }
}

/// The check that refuses, or none.
fn refused_by(chain: &[Arc<Certificate>], anchor: &Ca) -> Option<Check> {
    let rules = Rules::default();
    let asked = Asked { registration_id: None, now: NOW.unix_timestamp(), rules: &rules, goal: Goal::RollUp };
    let trust = Trust { verified: vec![anchor.certificate.clone()], entries: Vec::new() };
    let judgement = judge(chain, &asked, &trust, &SignatureMemo::default());
    match judgement.verdict {
        Verdict::RollsUp => None,
        _ => judgement.trail.first().map(|end| end.check),
    }
}

/// A row: what is tested, the chain, the check that has to refuse it.
type Row = (&'static str, Vec<Arc<Certificate>>, Option<Check>);

#[track_caller]
fn all(anchor: &Ca, rows: Vec<Row>) {
    let wrong: Vec<_> = rows
        .into_iter()
        .map(|(what, chain, expected)| (what, refused_by(&chain, anchor), expected))
        .filter(|(_, found, expected)| found != expected)
        .collect();
    assert_eq!(wrong, Vec::new(), "what is tested, what refused it, what should have");
}

/// The same certificate with one bit of its signature, or of what is signed, turned.
fn spoilt(certificate: &Certificate, from_end: usize) -> Arc<Certificate> {
    let mut der = certificate.der().to_vec();
    let at = der.len() - from_end;
    der[at] ^= 1;
    read(&der)
}

#[test]
fn signatures_hold_or_the_path_ends() {
    let anchor = root(unchanged);
    let good = anchor.ca("Good CA", unchanged);
    let with = |leaf, ca| vec![leaf, ca];
    all(
        &anchor,
        vec![
            ("4.1.1 valid signatures", good.chain(&[]), None),
            (
                "4.1.2 invalid CA signature",
                with(good.leaf(unchanged), spoilt(&good.certificate, 1)),
                Some(Check::Signature),
            ),
            (
                "4.1.3 invalid leaf signature",
                with(spoilt(&good.leaf(unchanged), 1), good.certificate.clone()),
                Some(Check::Signature),
            ),
        ],
    );
}

#[test]
fn dates_hold_for_every_certificate_on_the_path() {
    let anchor = root(unchanged);
    let good = anchor.ca("Good CA", unchanged);
    let late = anchor.ca("Late CA", |p| p.not_before = NOW + Duration::SECOND);
    let over = anchor.ca("Over CA", |p| p.not_after = NOW - Duration::SECOND);
    all(
        &anchor,
        vec![
            ("4.2.1 CA not yet valid", late.chain(&[]), Some(Check::NotYetValid)),
            (
                "4.2.2 leaf not yet valid",
                good.chain_of(|p| p.not_before = NOW + Duration::SECOND, &[]),
                Some(Check::NotYetValid),
            ),
            ("4.2.3 first second", good.chain_of(|p| p.not_before = NOW, &[]), None),
            (
                "4.2.4 long before 2000",
                good.chain_of(|p| p.not_before = datetime!(1950-01-01 0:00 UTC), &[]),
                None,
            ),
            ("4.2.5 CA expired", over.chain(&[]), Some(Check::Expired)),
            (
                "4.2.6 leaf expired",
                good.chain_of(|p| p.not_after = NOW - Duration::SECOND, &[]),
                Some(Check::Expired),
            ),
            ("4.2.7 last second", good.chain_of(|p| p.not_after = NOW, &[]), None),
            (
                "4.2.8 beyond 2050, GeneralizedTime",
                good.chain_of(|p| p.not_after = datetime!(2060-01-01 0:00 UTC), &[]),
                None,
            ),
        ],
    );
}

#[test]
fn names_chain_or_the_path_ends() {
    let anchor = root(unchanged);
    let good = anchor.ca("Good CA", unchanged);
    let other_order = anchor.ca_with("x", KeyPair::generate().expect("a key"), |p| {
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, "Good CA");
        name.push(DnType::OrganizationName, "Contoso");
        p.distinguished_name = name;
    });
    let shouting = anchor.ca("GOOD   ca", unchanged);
    let alike = |sent: &Ca, signs: &Ca| {
        let key = KeyPair::generate().expect("a key");
        let mut named_after = Ca {
            params: ca_params("Good CA"),
            key: KeyPair::generate().expect("a key"),
            certificate: sent.certificate.clone(),
        };
        named_after.key = KeyPair::try_from(signs.key.serialize_der()).expect("the same key");
        let mut params = params("dev-1");
        params.use_authority_key_identifier_extension = false;
        let leaf = params.signed_by(&key, &named_after.issuer()).expect("signs");
        vec![read(leaf.der()), sent.certificate.clone()]
    };
    all(
        &anchor,
        vec![
            ("4.3.1 another name", alike(&anchor.ca("Bad CA", unchanged), &good), Some(Check::MissingIssuer)),
            ("4.3.2 another order", alike(&other_order, &other_order), Some(Check::MissingIssuer)),
            ("4.3.3 spaces and letter case", alike(&shouting, &shouting), None),
            ("4.3.11 the name alone", alike(&anchor.ca("Good CA", unchanged), &good), Some(Check::WrongKey)),
        ],
    );
}

#[test]
fn self_issued_certificates_carry_a_path_over_to_a_new_key() {
    let anchor = root(unchanged);
    let old = anchor.ca("CA", |p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    // The old key certifies the new one under the same name.
    let new = old.ca("CA", unchanged);
    all(
        &anchor,
        vec![
            ("4.5.1 new with old", new.chain(&[&old]), None),
            ("4.5.2 new without its bridge", new.chain(&[])[..1].to_vec(), Some(Check::MissingIssuer)),
            ("4.5.4 old itself", old.chain(&[]), None),
        ],
    );
}

#[test]
fn basic_constraints_decide_who_is_a_ca_and_how_deep() {
    let anchor = root(unchanged);
    let not_ca = anchor.ca("Leaf with a key", |p| p.is_ca = IsCa::ExplicitNoCa);
    let silent = anchor.ca("Silent", |p| p.is_ca = IsCa::NoCa);
    let flat = anchor.ca("pathLen 0", |p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    let below_flat = flat.ca("below 0", unchanged);
    let one = anchor.ca("pathLen 1", |p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(1)));
    let below_one = one.ca("below 1", unchanged);
    let two_below = below_one.ca("two below 1", unchanged);
    let six = anchor.ca("pathLen 6", |p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(6)));
    let six_zero = six.ca("pathLen 0 below 6", |p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    let beneath = six_zero.ca("beneath", unchanged);
    let self_issued = flat.ca("pathLen 0", unchanged);
    all(
        &anchor,
        vec![
            ("4.6.1 no basicConstraints", silent.chain(&[]), Some(Check::IssuerNotCa)),
            ("4.6.2 cA false", not_ca.chain(&[]), Some(Check::IssuerNotCa)),
            ("4.6.5 pathLen 0, a CA below", below_flat.chain(&[&flat]), Some(Check::PathLength)),
            ("4.6.7 pathLen 0, a leaf below", flat.chain(&[]), None),
            ("4.6.8 pathLen 1, a CA below", below_one.chain(&[&one]), None),
            ("4.6.9 pathLen 1, two CAs below", two_below.chain(&[&below_one, &one]), Some(Check::PathLength)),
            ("4.6.11 pathLen 0 under pathLen 6", beneath.chain(&[&six_zero, &six]), Some(Check::PathLength)),
            ("4.6.15 self-issued is not counted", self_issued.chain(&[&flat]), None),
        ],
    );
}

#[test]
fn key_usage_decides_who_may_sign_what() {
    let anchor = root(unchanged);
    let crl_only = anchor.ca("CRLs only", |p| p.key_usages = vec![KeyUsagePurpose::CrlSign]);
    let absent = anchor.ca("No key usage", |p| p.key_usages.clear());
    let good = anchor.ca("Good CA", unchanged);
    let server_ca =
        anchor.ca("Servers", |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
    let servers: Change = |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let agreeing: Change = |p| p.key_usages = vec![KeyUsagePurpose::KeyAgreement];
    all(
        &anchor,
        vec![
            ("4.7.1 no keyCertSign", crl_only.chain(&[]), Some(Check::IssuerKeyUsage)),
            ("4.7.3 absent", absent.chain(&[]), None),
            ("leaf without digitalSignature", good.chain_of(agreeing, &[]), Some(Check::LeafKeyUsage)),
            ("leaf for servers", good.chain_of(servers, &[]), Some(Check::LeafPurpose)),
            ("CA for servers", server_ca.chain(&[]), Some(Check::CaPurpose)),
        ],
    );
}

fn permit(params: &mut CertificateParams, subtrees: Vec<GeneralSubtree>) {
    params.name_constraints =
        Some(NameConstraints { permitted_subtrees: subtrees, excluded_subtrees: Vec::new() });
}

fn exclude(params: &mut CertificateParams, subtrees: Vec<GeneralSubtree>) {
    params.name_constraints =
        Some(NameConstraints { permitted_subtrees: Vec::new(), excluded_subtrees: subtrees });
}

fn dns(name: &str) -> GeneralSubtree {
    GeneralSubtree::DnsName(name.to_owned())
}

fn organisation(name: &str) -> GeneralSubtree {
    let mut base = DistinguishedName::new();
    base.push(DnType::OrganizationName, name);
    GeneralSubtree::DirectoryName(base)
}

fn san(params: &mut CertificateParams, name: SanType) {
    params.subject_alt_names.push(name);
}

fn named(text: &str) -> SanType {
    SanType::DnsName(text.try_into().expect("a name"))
}

fn mailbox(text: &str) -> SanType {
    SanType::Rfc822Name(text.try_into().expect("a name"))
}

#[test]
fn names_lie_where_every_ca_above_permits_them() {
    let anchor = root(unchanged);
    let plant = anchor.ca("Plant", |p| permit(p, vec![dns("plant.example")]));
    let not_evil = anchor.ca("Not evil", |p| exclude(p, vec![dns("evil.example")]));
    let contoso = anchor.ca("Contoso only", |p| permit(p, vec![organisation("Contoso")]));
    let fabrikam = anchor.ca("Fabrikam only", |p| permit(p, vec![organisation("Fabrikam")]));
    let below_contoso = contoso.ca("Below", unchanged);
    let fabrikam_below = contoso.ca("Stranger", |p| {
        let mut name = DistinguishedName::new();
        name.push(DnType::OrganizationName, "Fabrikam");
        p.distinguished_name = name;
    });
    let mail = anchor.ca("Mail", |p| permit(p, vec![GeneralSubtree::Rfc822Name("plant.example".to_owned())]));
    let network = anchor.ca("Network", |p| {
        permit(p, vec![GeneralSubtree::IpAddress(CidrSubnet::V4([10, 0, 0, 0], [255, 0, 0, 0]))]);
    });
    all(
        &anchor,
        vec![
            ("4.13.1 directoryName inside", contoso.chain(&[]), None),
            ("4.13.2 directoryName outside", fabrikam.chain(&[]), Some(Check::NameConstraints)),
            ("4.13 two CAs down", below_contoso.chain(&[&contoso]), None),
            (
                "4.13 a CA between is outside",
                fabrikam_below.chain_of(unchanged, &[&contoso]),
                Some(Check::NameConstraints),
            ),
            ("4.13.21 rfc822Name inside", mail.chain_of(|p| san(p, mailbox("dev@plant.example")), &[]), None),
            (
                "4.13.22 rfc822Name outside",
                mail.chain_of(|p| san(p, mailbox("dev@evil.example")), &[]),
                Some(Check::NameConstraints),
            ),
            ("4.13.30 dNSName inside", plant.chain_of(|p| san(p, named("dev-1.plant.example")), &[]), None),
            (
                "4.13.31 dNSName outside",
                plant.chain_of(|p| san(p, named("dev-1.evil.example")), &[]),
                Some(Check::NameConstraints),
            ),
            (
                "4.13.33 dNSName excluded",
                not_evil.chain_of(|p| san(p, named("dev-1.evil.example")), &[]),
                Some(Check::NameConstraints),
            ),
            ("4.13.38 no name of that form", plant.chain(&[]), None),
            (
                "iPAddress inside",
                network.chain_of(|p| san(p, SanType::IpAddress([10, 1, 2, 3].into())), &[]),
                None,
            ),
            (
                "iPAddress outside",
                network.chain_of(|p| san(p, SanType::IpAddress([11, 1, 2, 3].into())), &[]),
                Some(Check::NameConstraints),
            ),
        ],
    );
}

#[test]
fn critical_extensions_are_processed_or_the_path_ends() {
    let anchor = root(unchanged);
    let good = anchor.ca("Good CA", unchanged);
    let odd = anchor.ca("Odd CA", |p| p.custom_extensions.push(unknown(true)));
    all(
        &anchor,
        vec![
            (
                "4.16.1 unknown, not critical",
                good.chain_of(|p| p.custom_extensions.push(unknown(false)), &[]),
                None,
            ),
            (
                "4.16.2 unknown, critical",
                good.chain_of(|p| p.custom_extensions.push(unknown(true)), &[]),
                Some(Check::CriticalExtension),
            ),
            ("unknown and critical in a CA", odd.chain(&[]), Some(Check::CriticalExtension)),
        ],
    );
}

fn unknown(critical: bool) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 55555, 1], vec![5, 0]);
    extension.set_criticality(critical);
    extension
}

#[test]
fn hostile_chains_end_within_their_budget() {
    let anchor = root(unchanged);
    let real = anchor.ca("Issuer", unchanged);
    let decoys: Vec<Ca> = (0..120).map(|_| anchor.ca("Issuer", |p| p.key_usages.clear())).collect();
    let nameless: Change = |p| p.use_authority_key_identifier_extension = false;
    // Ten thousand of one name: what lies beyond the first hundred and fifty is not looked at.
    let mut flood = vec![real.leaf(nameless)];
    flood.extend((0..10_000).map(|i| decoys[i % decoys.len()].certificate.clone()));
    assert_eq!(refused_by(&flood, &anchor), Some(Check::WrongKey));
    // Two CAs that certify each other.
    let (left, right) =
        (root(|p| p.distinguished_name = name("Left")), root(|p| p.distinguished_name = name("Right")));
    let cross = |of: &Ca, by: &Ca| read(of.params.signed_by(&of.key, &by.issuer()).expect("signs").der());
    let circle = vec![left.leaf(unchanged), cross(&left, &right), cross(&right, &left)];
    assert_eq!(refused_by(&circle, &anchor), Some(Check::Loop));
    // Layers that are all connected have a number of paths that grows beyond any bound.
    let layers: Vec<Vec<Ca>> =
        (0..8).map(|depth| (0..8).map(|_| root_named(&format!("Layer {depth}"))).collect()).collect();
    let mut web = vec![layers[0][0].leaf(nameless)];
    for pair in layers.windows(2) {
        for (below, above) in pair[0].iter().flat_map(|b| pair[1].iter().map(move |a| (b, a))) {
            web.push(cross(below, above));
        }
    }
    web.truncate(149);
    let rules = Rules::default();
    let asked = Asked { registration_id: None, now: NOW.unix_timestamp(), rules: &rules, goal: Goal::RollUp };
    let trust = Trust { verified: vec![anchor.certificate.clone()], entries: Vec::new() };
    let judgement = judge(&web, &asked, &trust, &SignatureMemo::default());
    assert_eq!(judgement.verdict, Verdict::NoVerifiedCa);
    assert!(judgement.trail.len() <= 2 * MAX_EDGES as usize + 2);
}

fn root_named(common_name: &str) -> Ca {
    let mut made = root(unchanged);
    made.params.distinguished_name = name(common_name);
    made
}
