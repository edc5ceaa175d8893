//! `rollcall mint defect`: a whole world in which one defect shows, for `rollcall check` and for other tools.

use super::{DevicePem, NewFile, file_names, issuer_key, refuse_existing, write_into};
use crate::cli::output::Output;
use crate::cli::{now, random_seed};
use crate::exit::{Exit, Failure};
use crate::plan::{numbered, unprepared};
use clap::Args;
use serde::Serialize;
use sim_identity::certificate::sha256;
use sim_identity::defect::{AddedGroup, Expected, Family, ProofKind, Scene, TakenFor, Workshop, World};
use sim_identity::fleet::FleetPlan;
use sim_identity::{Certificate, Defect, Fleet, Hierarchy, Seed, pem};
use sim_protocol::{RegistrationId, timestamp};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use time::OffsetDateTime;

pub(super) const EXAMPLES: &str = "\
Examples:
  rollcall mint defect pres-leaf-only-issuer-not-verified --out bad
      a root, a factory CA below it, a device, the instance, and the line that has them judged
  rollcall mint defect svc-group-disabled --out bad --registration-id line-7 --count 5
  rollcall mint defect pop-wrong-key --out bad
      a CA, a verification code, and a verification certificate that proves nothing";

/// The most devices of one world; fleets are `rollcall mint fleet`'s business.
const MOST: u64 = 10_000;

/// `rollcall mint defect`.
#[derive(Args, Clone, Debug)]
pub struct MintDefectArgs {
    /// Which: see `rollcall explain defects`
    #[arg(value_name = "ID")]
    pub id: Defect,
    /// Directory to write to
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// What the device registers as; further ones get a number after it
    #[arg(long, value_name = "ID", default_value = "dev-1")]
    pub registration_id: RegistrationId,
    /// How many devices
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=MOST))]
    pub count: u64,
    /// Makes the same keys each time, for whoever knows the number [default: random]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Replace files that exist
    #[arg(long)]
    pub force: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct MintedDefect<'a> {
    schema: &'static str,
    defect: &'static str,
    expected: &'static str,
    /// The name of the verdict or, for a proof, none.
    verdict: Option<&'static str>,
    explanation: &'static str,
    repair: &'static str,
    files: Vec<String>,
    registration_ids: Vec<String>,
    at: Option<String>,
    check: &'a str,
}

/// An instance in the form that `rollcall check --instance` reads.
#[derive(Serialize)]
struct InstanceFile {
    schema: &'static str,
    certificates: Vec<CertificateEntry>,
    groups: Vec<GroupEntry>,
    individuals: Vec<IndividualEntry>,
}

#[derive(Serialize)]
struct CertificateEntry {
    name: String,
    certificate: String,
    verified: bool,
}

#[derive(Serialize)]
struct GroupEntry {
    name: String,
    enabled: bool,
    primary: String,
    secondary: Option<String>,
}

#[derive(Serialize)]
struct IndividualEntry {
    registration_id: String,
    enabled: bool,
    /// SHA-256 of the leaves, upper-case hexadecimal as the service prints it.
    thumbprints: Vec<String>,
}

/// Whether the defect may be one of chains. What can be presented is; of the rest, some are judged offline alone.
pub(super) fn has_chain(defect: Defect) -> bool {
    defect.is_presentable() || !matches!(defect.family(), Family::Service | Family::Possession)
}

/// Why no device can have the defect, and what to do instead.
pub(super) fn no_chain(defect: Defect) -> Failure {
    let failure =
        Failure::usage(format!("no device can have `{defect}`: it is not about what a device presents"));
    match defect.proof() {
        Some(_) => failure.advise(format!(
            "Use `rollcall mint defect {defect} --out DIR`, which writes the file that is wrong."
        )),
        None => failure.advise(format!("See `rollcall explain {defect}` for what it is.")),
    }
}

/// Mints what shows a defect.
///
/// # Errors
/// Usage, when there is nothing to mint for it or files are in the way.
pub(super) fn mint(args: &MintDefectArgs, output: Output, stop: &AtomicBool) -> Result<(), Failure> {
    let seed = args.seed.map_or_else(random_seed, Seed::from_number);
    let made = match args.id.proof() {
        Some(kind) => Made::proof(args, kind, &seed, now())?,
        None => Made::world(args, &seed, now(), stop)?,
    };
    if !args.force {
        let names = made.files.iter().filter_map(|file| file.path.file_name()?.to_str().map(str::to_owned));
        refuse_existing(&args.out, names)?;
    }
    write_into(&args.out, &made.files)?;
    made.tell(args.id, output);
    Ok(())
}

/// What is to be written, and how it is shown.
struct Made {
    files: Vec<NewFile>,
    registration_ids: Vec<String>,
    at: Option<OffsetDateTime>,
    check: String,
}

impl Made {
    fn proof(
        args: &MintDefectArgs,
        kind: ProofKind,
        seed: &Seed,
        now: OffsetDateTime,
    ) -> Result<Self, Failure> {
        let (_, hierarchy) = own(args.id, seed, now)?;
        let ca = hierarchy.root();
        // As the service makes them: 24 random bytes, upper-case hexadecimal.
        let code: String =
            seed.draw("verification code", 0, 0)[..24].iter().map(|b| format!("{b:02X}")).collect();
        let proof =
            kind.make(ca, &code, &seed.child("proof"), now).map_err(|fault| unprepared(args.id, &fault))?;
        let at = |name: &str| args.out.join(name);
        let (certificate, file) = (at("ca.pem"), at(proof.name));
        let check = if kind.is_upload() {
            format!("rollcall ca upload NAME --cert {}", shown(&file))
        } else {
            format!("rollcall ca prove --code {code} --cert {} --check {}", shown(&certificate), shown(&file))
        };
        let written = NewFile { path: file, content: proof.body, private: proof.secret };
        let files = vec![
            NewFile::public(certificate, certificate_pem(ca.certificate().der())),
            NewFile::private(at("ca.key.pem"), issuer_key(ca)?),
            NewFile::public(at("code.txt"), format!("{code}\n")),
            written,
        ];
        Ok(Made { files, registration_ids: Vec::new(), at: None, check })
    }

    fn world(
        args: &MintDefectArgs,
        seed: &Seed,
        now: OffsetDateTime,
        stop: &AtomicBool,
    ) -> Result<Self, Failure> {
        let defect = args.id;
        let (workshop, hierarchy) = own(defect, seed, now)?;
        let scene = defect.scene(&workshop).map_err(|fault| unprepared(defect, &fault))?;
        let nothing = || {
            let fault =
                format!("cannot mint `{defect}`: it is in no certificate, and in no state of the instance");
            Failure::usage(fault).advise(format!("See `rollcall explain {defect}` for what it is."))
        };
        let scene = Arc::new(scene.ok_or_else(nothing)?);
        let fleet = Fleet::new(&FleetPlan::default(), hierarchy.issuing().clone(), seed.child("fleet"), now)
            .map_err(|fault| unprepared(defect, &fault))?
            .with_scene(defect, scene.clone());
        let worlds = (0..args.count)
            .map(|index| {
                if stop.load(Ordering::Relaxed) {
                    return Err(Failure::new(
                        Exit::Interrupted,
                        "minting was interrupted; nothing was written",
                    ));
                }
                let id = device_id(&args.registration_id, index)?;
                fleet.defective(index, &id, defect).map_err(|fault| unprepared(defect, &fault))
            })
            .collect::<Result<Vec<World>, Failure>>()?;
        let world =
            WorldFiles { out: &args.out, defect, hierarchy: &hierarchy, scene: &scene, worlds: &worlds };
        Ok(Made {
            files: world.files()?,
            registration_ids: worlds.iter().map(|w| w.device.registration_id.to_string()).collect(),
            at: scene.at,
            check: world.check(),
        })
    }

    fn tell(&self, defect: Defect, output: Output) {
        let (expected, verdict) = expectation(defect);
        for file in &self.files {
            output.line(file.path.display());
        }
        output.line(format_args!(
            "expected  {}",
            verdict.map_or(expected.to_owned(), |v| format!("{expected}, {v}"))
        ));
        output.line(format_args!("because   {}", defect.explanation()));
        output.line(format_args!("repair    {}", defect.repair()));
        output.line(format_args!("check     {}", self.check));
        output.json(&MintedDefect {
            schema: "rollcall.mint-defect/1",
            defect: defect.id(),
            expected,
            verdict,
            explanation: defect.explanation(),
            repair: defect.repair(),
            files: self.files.iter().map(|file| file.path.display().to_string()).collect(),
            registration_ids: self.registration_ids.clone(),
            at: self.at.map(moment),
            check: &self.check,
        });
    }
}

/// What is expected, in a word, and the verdict's name where it is a refusal.
fn expectation(defect: Defect) -> (&'static str, Option<&'static str>) {
    match defect.expected() {
        Expected::Accept => ("accept", None),
        Expected::Disabled => ("disabled", None),
        Expected::Refused(verdict) => ("reject", Some(verdict)),
        Expected::Proven => ("taken", None),
        Expected::NotProven => ("refused", None),
    }
}

fn own(defect: Defect, seed: &Seed, now: OffsetDateTime) -> Result<(Workshop, Hierarchy), Failure> {
    Workshop::own(seed, now).map_err(|fault| unprepared(defect, &fault))
}

/// The first device's name as given, then with a number.
fn device_id(first: &RegistrationId, index: u64) -> Result<RegistrationId, Failure> {
    if index == 0 {
        return Ok(first.clone());
    }
    RegistrationId::new(format!("{first}-{}", index + 1)).map_err(|fault| {
        Failure::usage(format!("cannot name the devices: {fault}"))
            .advise("Give a shorter --registration-id.")
    })
}

fn certificate_pem(der: &[u8]) -> String {
    pem::encode("CERTIFICATE", der)
}

/// A path as it is typed in a shell.
fn shown(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@%".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// RFC 3339, without a fraction where there is none.
pub(super) fn moment(at: OffsetDateTime) -> String {
    timestamp::ticks(at).replace(".0000000Z", "Z")
}

/// A world as files.
struct WorldFiles<'a> {
    out: &'a Path,
    defect: Defect,
    hierarchy: &'a Hierarchy,
    scene: &'a Scene,
    worlds: &'a [World],
}

impl WorldFiles<'_> {
    fn files(&self) -> Result<Vec<NewFile>, Failure> {
        let (root, factory) = (self.hierarchy.root(), self.hierarchy.issuing());
        let at = |name: &str| self.out.join(name);
        let mut files = vec![
            NewFile::public(at("root.pem"), certificate_pem(root.certificate().der())),
            NewFile::private(at("root.key.pem"), issuer_key(root)?),
            NewFile::public(at("factory.pem"), certificate_pem(factory.certificate().der())),
            NewFile::private(at("factory.key.pem"), issuer_key(factory)?),
            NewFile::public(at("verified-root.pem"), certificate_pem(root.certificate().der())),
        ];
        for (number, ca) in (1..).zip(self.other_cas()) {
            files.push(NewFile::public(at(&format!("ca-{number}.pem")), certificate_pem(&ca)));
        }
        for (number, (ca, _)) in (1..).zip(self.uploads().into_iter().filter(|(_, verified)| *verified)) {
            files.push(NewFile::public(at(&format!("verified-{number}.pem")), certificate_pem(&ca)));
        }
        for world in self.worlds {
            let device = DevicePem::of(&world.device)?;
            let [chain, key] = file_names(&device.name);
            files.push(NewFile::public(at(&chain), device.chain));
            files.push(NewFile::private(at(&key), device.key));
        }
        let instance = serde_json::to_string_pretty(&self.instance()).map_err(Failure::unexpected)?;
        files.push(NewFile::public(at("instance.json"), instance + "\n"));
        Ok(files)
    }

    /// The certificates that devices send after their leaf or that the instance holds, each once, without root and
    /// factory CA, DER.
    fn other_cas(&self) -> Vec<Vec<u8>> {
        let sent = self.worlds.first().into_iter().flat_map(|world| world.device.chain.iter().skip(1));
        let sent = sent.filter(|der| Certificate::from_der(der.to_vec()).is_ok_and(|c| c.is_ca()));
        let additions = &self.scene.additions;
        let uploaded = additions.cas.iter().map(|ca| &ca.certificate);
        let grouped = additions.groups.iter().flat_map(|g| std::iter::once(&g.primary).chain(&g.secondary));
        let held = uploaded.chain(grouped).map(|certificate| certificate.der().to_vec());
        let known: Vec<&[u8]> = self.hierarchy.authorities().iter().map(|a| a.certificate().der()).collect();
        let mut others: Vec<Vec<u8>> = Vec::new();
        for der in sent.map(|der| der.to_vec()).chain(held) {
            if !known.contains(&der.as_slice()) && !others.contains(&der) {
                others.push(der);
            }
        }
        others
    }

    /// What is uploaded beside the root, DER, and whether it is verified.
    fn uploads(&self) -> Vec<(Vec<u8>, bool)> {
        let additions = &self.scene.additions;
        let cas = additions.cas.iter().map(|ca| (ca.certificate.der().to_vec(), ca.verified));
        let taken = additions.own_leaf == Some(TakenFor::VerifiedCa);
        let leaves = self.worlds.iter().filter(|_| taken).map(|world| (world.presented(), true));
        cas.chain(leaves).collect()
    }

    fn instance(&self) -> InstanceFile {
        let root = self.hierarchy.root().certificate();
        let certificate = |name: String, der: &[u8], verified| CertificateEntry {
            name,
            certificate: certificate_pem(der),
            verified,
        };
        let group = |name: String, group: &AddedGroup| GroupEntry {
            name,
            enabled: group.enabled,
            primary: certificate_pem(group.primary.der()),
            secondary: group.secondary.as_ref().map(|c| certificate_pem(c.der())),
        };
        let added_cas = (1..).zip(self.uploads());
        let added_cas =
            added_cas.map(|(n, (der, verified))| certificate(numbered(self.defect, n), &der, verified));
        let factory = self.hierarchy.issuing().certificate().clone();
        let own = AddedGroup { primary: factory, secondary: None, enabled: true };
        let added_groups =
            (1..).zip(&self.scene.additions.groups).map(|(n, g)| group(numbered(self.defect, n), g));
        let taken = self.scene.additions.own_leaf == Some(TakenFor::Group);
        let first = 1 + self.scene.additions.groups.len() as u32;
        let on_leaves = (first..).zip(self.worlds.iter().filter(|_| taken)).map(|(n, world)| GroupEntry {
            name: numbered(self.defect, n),
            enabled: true,
            primary: certificate_pem(&world.presented()),
            secondary: None,
        });
        InstanceFile {
            schema: "rollcall.instance/1",
            certificates: std::iter::once(certificate("root".into(), root.der(), true))
                .chain(added_cas)
                .collect(),
            groups: std::iter::once(group("factory".into(), &own))
                .chain(added_groups)
                .chain(on_leaves)
                .collect(),
            individuals: self.individuals(),
        }
    }

    fn individuals(&self) -> Vec<IndividualEntry> {
        let Some(individual) = self.scene.additions.individual else { return Vec::new() };
        let entry = |world: &World| {
            let (primary, secondary) = world.held(individual.holds);
            IndividualEntry {
                registration_id: world.device.registration_id.to_string(),
                enabled: individual.enabled,
                thumbprints: std::iter::once(primary).chain(secondary).map(|der| thumbprint(&der)).collect(),
            }
        };
        self.worlds.iter().map(entry).collect()
    }

    /// The line that has the first device judged.
    fn check(&self) -> String {
        let Some(world) = self.worlds.first() else { return String::new() };
        let id = &world.device.registration_id;
        let [chain, _] = file_names(id.as_str());
        let (chain, instance) = (shown(&self.out.join(chain)), shown(&self.out.join("instance.json")));
        let at = self.scene.at.map(|at| format!(" --at {}", moment(at))).unwrap_or_default();
        format!("rollcall check {chain} --instance {instance} --registration-id {id}{at}")
    }
}

fn thumbprint(der: &[u8]) -> String {
    sha256(der).iter().map(|octet| format!("{octet:02X}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const QUIET: Output = Output { json: false, quiet: true };

    fn args(id: &str, out: &Path) -> MintDefectArgs {
        MintDefectArgs {
            id: id.parse().expect("a defect"),
            out: out.to_owned(),
            registration_id: RegistrationId::new("dev-1").expect("a name"),
            count: 1,
            seed: Some(7),
            force: false,
            json: false,
        }
    }

    fn run(args: &MintDefectArgs) -> Result<(), Failure> {
        mint(args, QUIET, &AtomicBool::new(false))
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_world_holds_the_devices_the_authorities_and_the_instance() {
        let dir = tempfile::tempdir().expect("a directory");
        let out = dir.path().join("world");
        let asked = MintDefectArgs { count: 2, ..args("svc-individual-disabled", &out) };
        run(&asked).expect("mints");
        let expected = [
            "dev-1-2.chain.pem",
            "dev-1-2.key.pem",
            "dev-1.chain.pem",
            "dev-1.key.pem",
            "factory.key.pem",
            "factory.pem",
            "instance.json",
            "root.key.pem",
            "root.pem",
            "verified-root.pem",
        ];
        assert_eq!(names(&out), expected);
        let text = fs::read_to_string(out.join("instance.json")).expect("the instance");
        let instance: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(instance["schema"], "rollcall.instance/1");
        assert_eq!(instance["individuals"].as_array().map(Vec::len), Some(2));
        assert_eq!(instance["individuals"][0]["enabled"], false);
        assert_eq!(run(&asked).map_err(|failure| failure.exit), Err(Exit::Usage), "would replace files");
        run(&MintDefectArgs { force: true, ..asked }).expect("replaces them");
    }

    #[test]
    fn every_defect_is_minted_or_said_to_be_a_course_of_events() {
        let dir = tempfile::tempdir().expect("a directory");
        for defect in Defect::all() {
            let out = dir.path().join(defect.id());
            match run(&args(defect.id(), &out)) {
                Ok(()) => assert!(names(&out).len() >= 4, "{defect}"),
                Err(failure) => {
                    assert_eq!(failure.exit, Exit::Usage, "{defect}: {failure}");
                    assert!(!defect.is_presentable() && defect.proof().is_none(), "{defect}: {failure}");
                    assert!(!out.exists(), "{defect}");
                }
            }
        }
    }

    #[test]
    fn a_path_is_shown_as_a_shell_takes_it() {
        assert_eq!(shown(Path::new("a/b.pem")), "a/b.pem");
        assert_eq!(shown(Path::new("it's mine")), r"'it'\''s mine'");
    }
}
