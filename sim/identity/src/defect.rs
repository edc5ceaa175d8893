//! What can be wrong with a device's chain, with the instance, or with a proof of possession: every fault of the
//! matrix by its id, what the service makes of it, and how to make one on purpose.
//!
//! Ids are stable: scenarios, flags and records use them. Some rows of the matrix are no faults at all: they must
//! be let in, and a service that refuses them is wrong.

mod algorithms;
mod authorities;
mod draft;
mod extensions;
mod issuers;
mod leaves;
mod names;
mod odd;
mod presentation;
mod proofs;
mod scene;
mod service;
mod shape;
mod times;
mod workshop;

use crate::issuer::IssueError;
pub use proofs::{Proof, ProofKind};
pub use scene::{AddedCa, AddedGroup, AddedIndividual, Additions, HeldCertificate, Scene, TakenFor, World};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
pub use workshop::Workshop;

/// One row of the fault matrix.
#[derive(Clone, Copy)]
pub struct Defect(&'static Row);

/// Where a defect lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// What is sent, and in which order.
    Presentation,
    /// A CA's own certificate.
    Authority,
    /// The profile of the device's certificate.
    Leaf,
    /// Extended key usage.
    Purpose,
    /// Dates.
    Time,
    /// Which issuer, and whether it signed.
    Issuer,
    /// Algorithms and keys.
    Algorithm,
    /// Extensions.
    Extension,
    /// Name constraints.
    NameConstraints,
    /// Serial numbers.
    Serial,
    /// Depth and size.
    Shape,
    /// The device's name.
    Name,
    /// The instance's state.
    Service,
    /// Proof of possession.
    Possession,
}

/// What the service makes of it by the rules that are documented, or guessed where they are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// The device is let in.
    Accept,
    /// The device is told that it is disabled.
    Disabled,
    /// The device is refused: the verdict's stable name, for instance `no-verified-ca`.
    Refused(&'static str),
    /// The proof of possession is taken, the CA becomes verified.
    Proven,
    /// The proof of possession is refused; the CA stays unverified.
    NotProven,
}

/// What verifiers that others wrote make of the chain, as measured; none where that was not, or has no meaning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Others {
    /// `openssl verify -partial_chain -purpose sslclient`.
    pub openssl: Option<bool>,
    /// The same with `-auth_level 2`.
    pub openssl_level_2: Option<bool>,
    /// rustls-webpki for client authentication, with aws-lc.
    pub webpki: Option<bool>,
}

/// Prepares everything of a defect but its devices.
type Recipe = fn(&Workshop) -> Result<Scene, IssueError>;

/// How a defect is made.
#[derive(Clone, Copy)]
enum Make {
    /// A chain, and what the instance holds besides.
    Scene(Recipe),
    /// A file that is uploaded as a verification certificate.
    Proof(ProofKind),
    /// Nothing to mint: it is a course of events, or a file that is no certificate.
    Nothing,
}

/// A row of the matrix.
struct Row {
    id: &'static str,
    family: Family,
    explanation: &'static str,
    repair: &'static str,
    expected: Expected,
    /// The diagnostic that names it, where one does.
    diagnostic: Option<&'static str>,
    others: Others,
    make: Make,
    /// Whether the service's own behaviour is known or documented; else the expectation is ours.
    known: bool,
    /// Whether a device can be made that presents it in TLS to a service whose clock is right.
    presentable: bool,
}

impl Others {
    /// What openssl and webpki make of it, in this order.
    const fn are(openssl: bool, webpki: bool) -> Self {
        Others { openssl: Some(openssl), openssl_level_2: None, webpki: Some(webpki) }
    }

    /// Not measured, or without meaning.
    const NONE: Others = Others { openssl: None, openssl_level_2: None, webpki: None };

    /// The same where `-auth_level 2` makes a difference.
    const fn at_level_2(self, accepts: bool) -> Self {
        Others { openssl_level_2: Some(accepts), ..self }
    }
}

/// Both of the others accept it.
const PASSES: Others = Others::are(true, true);
/// Neither of the others does.
const FAILS: Others = Others::are(false, false);
/// An unusable leaf, or a path that breaks at a certificate that may not stand in it.
const INVALID: Expected = Expected::Refused("invalid-certificate");
/// No path to a verified CA.
const UNTRUSTED: Expected = Expected::Refused("no-verified-ca");

impl Row {
    /// A chain that is presented. Its texts follow with [`Row::says`].
    const fn chain(
        id: &'static str,
        family: Family,
        expected: Expected,
        others: Others,
        make: Recipe,
    ) -> Self {
        Row {
            id,
            family,
            explanation: "",
            repair: "",
            expected,
            diagnostic: None,
            others,
            make: Make::Scene(make),
            known: true,
            presentable: true,
        }
    }

    /// What is wrong, in a phrase without a full stop, and what repairs it, in a sentence.
    const fn says(self, explanation: &'static str, repair: &'static str) -> Self {
        Row { explanation, repair, ..self }
    }

    /// The diagnostic that names it.
    const fn diagnosed(self, code: &'static str) -> Self {
        Row { diagnostic: Some(code), ..self }
    }

    /// Marks what the service does as unknown: the expectation is ours.
    const fn guessed(self) -> Self {
        Row { known: false, ..self }
    }

    /// Marks what no device can present in TLS, or only at one moment.
    const fn offline(self) -> Self {
        Row { presentable: false, ..self }
    }
}

/// Every family's rows, in the order of the matrix.
const CATALOGUE: &[&[Row]] = &[
    presentation::ROWS,
    authorities::ROWS,
    leaves::ROWS,
    leaves::PURPOSE_ROWS,
    times::ROWS,
    issuers::ROWS,
    algorithms::ROWS,
    extensions::ROWS,
    extensions::CONSTRAINT_ROWS,
    shape::SERIAL_ROWS,
    shape::ROWS,
    names::ROWS,
    service::ROWS,
    proofs::ROWS,
];

impl Defect {
    /// The leaf expired.
    pub const LEAF_EXPIRED: Defect = Defect::named("time-leaf-expired");
    /// The leaf is sent alone although its issuer is not verified.
    pub const LEAF_ONLY: Defect = Defect::named("pres-leaf-only-issuer-not-verified");
    /// The leaf is signed by another CA of the same name; the genuine intermediate is sent.
    pub const SAME_NAME_OTHER_KEY: Defect = Defect::named("iss-same-name-other-key");
    /// The CN is another device's.
    pub const CN_MISMATCH: Defect = Defect::named("cn-mismatch");
    /// The leaf says CA:TRUE.
    pub const LEAF_CA_TRUE: Defect = Defect::named("leaf-ca-true");
    /// The leaf comes from a line whose enrollment group is disabled.
    pub const GROUP_DISABLED: Defect = Defect::named("svc-group-disabled");

    /// The defect of an id that is in the matrix, looked up when the program is built.
    const fn named(id: &str) -> Defect {
        let mut family = 0;
        while family < CATALOGUE.len() {
            let mut row = 0;
            while row < CATALOGUE[family].len() {
                if same(CATALOGUE[family][row].id, id) {
                    return Defect(&CATALOGUE[family][row]);
                }
                row += 1;
            }
            family += 1;
        }
        panic!("no such defect")
    }

    /// All of them, in the order of the matrix.
    pub fn all() -> impl Iterator<Item = Defect> {
        CATALOGUE.iter().flat_map(|rows| rows.iter()).map(Defect)
    }

    /// The stable id.
    pub const fn id(self) -> &'static str {
        self.0.id
    }

    /// Where it lies.
    pub const fn family(self) -> Family {
        self.0.family
    }

    /// What is wrong, in a phrase.
    pub const fn explanation(self) -> &'static str {
        self.0.explanation
    }

    /// What repairs it, in a sentence.
    pub const fn repair(self) -> &'static str {
        self.0.repair
    }

    /// What the service makes of it.
    pub const fn expected(self) -> Expected {
        self.0.expected
    }

    /// The diagnostic that `check` gives it, where there is one.
    pub const fn diagnostic(self) -> Option<&'static str> {
        self.0.diagnostic
    }

    /// What other verifiers make of it.
    pub const fn others(self) -> Others {
        self.0.others
    }

    /// Whether the service's behaviour is documented or observed; else what is expected is a guess of ours.
    pub const fn is_known(self) -> bool {
        self.0.known
    }

    /// Whether devices can present it over TLS at any time.
    pub const fn is_presentable(self) -> bool {
        self.0.presentable && matches!(self.0.make, Make::Scene(_))
    }

    /// Whether the service answers that the device is disabled, rather than refusing it.
    pub const fn is_disabled(self) -> bool {
        matches!(self.0.expected, Expected::Disabled)
    }

    /// Whether devices with it are let in all the same.
    pub const fn is_admitted(self) -> bool {
        matches!(self.0.expected, Expected::Accept)
    }

    /// Prepares everything but the devices: the CAs that are wrong, and what the instance must hold. None for what
    /// is no chain.
    ///
    /// # Errors
    /// When a certificate cannot be written, or the workshop's CA leaves no room for one below it.
    pub fn scene(self, workshop: &Workshop) -> Result<Option<Scene>, IssueError> {
        match self.0.make {
            Make::Scene(make) => make(workshop).map(Some),
            Make::Proof(_) | Make::Nothing => Ok(None),
        }
    }

    /// Which file is uploaded as a verification certificate, for defects of proofs.
    pub const fn proof(self) -> Option<ProofKind> {
        match self.0.make {
            Make::Proof(kind) => Some(kind),
            Make::Scene(_) | Make::Nothing => None,
        }
    }
}

/// Whether two texts are the same, for use while the program is built.
const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut i = 0;
    while i < a.len() && i < b.len() && a[i] == b[i] {
        i += 1;
    }
    a.len() == b.len() && i == a.len()
}

impl PartialEq for Defect {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for Defect {}

impl Hash for Defect {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id.hash(state);
    }
}

impl PartialOrd for Defect {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Defect {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.id.cmp(other.0.id)
    }
}

impl fmt::Debug for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Defect({})", self.0.id)
    }
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

/// A text that is no defect's id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown defect `{found}`; `rollcall explain defects` lists them")]
pub struct UnknownDefect {
    /// The text as given.
    pub found: String,
}

impl FromStr for Defect {
    type Err = UnknownDefect;
    fn from_str(text: &str) -> Result<Self, UnknownDefect> {
        let found = Self::all().find(|d| d.id() == text);
        found.ok_or_else(|| UnknownDefect { found: text.to_owned() })
    }
}
