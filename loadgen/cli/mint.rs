//! `rollcall mint`: authorities, fleets and defects to disk.

mod defect;

use self::defect::MintDefectArgs;
use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::cli::{
    cannot_write, cores, create_dir, instant, key_algorithm, now, random_seed, read_issuer, stage,
};
use crate::exit::{Exit, Failure};
use crate::plan::unprepared;
use clap::{Args, Subcommand};
use scenarios::Template;
use serde::Serialize;
use sim_identity::defect::Workshop;
use sim_identity::fleet::FleetPlan;
use sim_identity::{
    Defect, DeviceIdentity, Fleet, Hierarchy, HierarchyPlan, IssueError, Issuer, KeyAlgorithm, PrivateKey,
    Seed, pem,
};
use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, ErrorKind, IsTerminal as _, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

/// Devices that each thread mints between two writes to standard output.
const STREAM_STEP: u64 = 256;

/// The longest name of a hierarchy: ` intermediate 8 ` and eight digits follow, and a CN holds 64 characters.
const LONGEST_NAME: usize = 40;

const CA_EXAMPLES: &str = "\
Examples:
  rollcall mint ca --out ca
      a root and one intermediate
  rollcall mint ca --out ca --depth 3 --key p384 --name 'line a'";

const FLEET_EXAMPLES: &str = "\
Examples:
  rollcall mint fleet --ca-cert ca/intermediate-1.pem --ca-key ca/intermediate-1.key.pem --ca-chain ca/chain.pem \\
      --count 1000 --registration-id 'dev-{index:05}' --seed 7 --out fleet
  rollcall mint fleet --ca-cert ca.pem --ca-key ca.key --count 10 --registration-id 'bad-{index}' --seed 7 \\
      --defect time-leaf-expired --stdout";

/// `rollcall mint`.
#[derive(Args, Clone, Debug)]
pub struct MintArgs {
    /// What to mint.
    #[command(subcommand)]
    pub what: MintWhat,
}

/// What to mint.
#[derive(Subcommand, Clone, Debug)]
pub enum MintWhat {
    /// Mint a root and intermediates below it
    #[command(before_long_help = CA_EXAMPLES)]
    Ca(MintCaArgs),
    /// Mint devices under a CA, each with its chain and key
    #[command(before_long_help = FLEET_EXAMPLES)]
    Fleet(MintFleetArgs),
    /// Mint everything that shows one defect: CAs, devices, and what the instance holds
    #[command(before_long_help = defect::EXAMPLES)]
    Defect(MintDefectArgs),
}

/// `rollcall mint ca`.
#[derive(Args, Clone, Debug)]
pub struct MintCaArgs {
    /// Directory to write to: root.pem, intermediate-N.pem, their .key.pem, and chain.pem
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Intermediates below the root; the last one issues the devices' certificates
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=8))]
    pub depth: u8,
    /// Key type of every authority
    #[arg(long, value_name = "TYPE", default_value_t = KeyAlgorithm::P256, value_parser = key_algorithm())]
    pub key: KeyAlgorithm,
    /// Stands in the name of every authority
    #[arg(long, value_name = "TEXT", default_value = "rollcall", value_parser = hierarchy_name)]
    pub name: String,
    /// Makes the same keys each time, RSA apart, for whoever knows the number [default: random]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Replace files that exist
    #[arg(long)]
    pub force: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// `rollcall mint fleet`.
#[derive(Args, Clone, Debug)]
pub struct MintFleetArgs {
    /// The CA that issues, PEM or DER; further certificates in the file are presented above it
    #[arg(long, value_name = "FILE")]
    pub ca_cert: PathBuf,
    /// Its private key, unencrypted: PKCS#8, SEC1 or PKCS#1; or a pkcs11: URI, whose key stays in its token
    #[arg(long, value_name = "FILE")]
    pub ca_key: PathBuf,
    /// Certificates to present above the CA, nearest first
    #[arg(long, value_name = "FILE")]
    pub ca_chain: Option<PathBuf>,
    /// How many devices
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: u64,
    /// Their names, with a place for the index: dev-{index} or dev-{index:05}
    #[arg(long, value_name = "TEMPLATE")]
    pub registration_id: Template,
    /// Index of the first device
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub first: u64,
    /// Fixes every device's key and serial; whoever knows it knows the keys
    #[arg(long, value_name = "N")]
    pub seed: u64,
    /// Directory to write to: REGISTRATION-ID.chain.pem, leaf first, and REGISTRATION-ID.key.pem
    #[arg(long, value_name = "DIR", required_unless_present = "stdout", conflicts_with = "stdout")]
    pub out: Option<PathBuf>,
    /// Key type of the devices
    #[arg(long, value_name = "TYPE", default_value_t = KeyAlgorithm::P256, value_parser = key_algorithm())]
    pub key: KeyAlgorithm,
    /// How many keys the devices share if the type is RSA, whose keys take long to make
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    pub key_pool: u16,
    /// Lifetime of the certificates, which end with their CA's at the latest
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub days: u32,
    /// What is wrong with every one of these devices: see `rollcall explain defects`
    #[arg(long, value_name = "ID")]
    pub defect: Option<Defect>,
    /// Write to standard output instead, each device's chain and then its key
    #[arg(long, conflicts_with = "json")]
    pub stdout: bool,
    /// Replace files that exist
    #[arg(long)]
    pub force: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

fn hierarchy_name(text: &str) -> Result<String, String> {
    let length = text.chars().count();
    if text.trim().is_empty() || text.chars().any(char::is_control) {
        return Err("a name has letters and no control characters".to_owned());
    }
    if length > LONGEST_NAME {
        return Err(format!("{length} characters; at most {LONGEST_NAME} fit in the names of certificates"));
    }
    Ok(text.to_owned())
}

/// Mints what the flags ask for.
///
/// # Errors
/// With [`Exit::Interrupted`] when `stop` was set meanwhile; what was written is taken back.
pub fn run(args: MintArgs, output: Output, stop: &AtomicBool) -> Result<Exit, Failure> {
    let with = |json: bool| Output { json: output.json || json, ..output };
    match args.what {
        MintWhat::Ca(args) => ca(&args, with(args.json)),
        MintWhat::Fleet(args) => fleet(&args, with(args.json), stop),
        MintWhat::Defect(args) => defect::mint(&args, with(args.json), stop),
    }
    .map(|()| Exit::Good)
}

#[derive(Serialize)]
struct MintedCa {
    schema: &'static str,
    files: Vec<String>,
    issuing_certificate: String,
    issuing_key: String,
    chain: String,
}

#[derive(Serialize)]
struct MintedFleet {
    schema: &'static str,
    count: u64,
    out: String,
    seconds: f64,
}

/// A file that is to be written.
struct NewFile {
    path: PathBuf,
    content: Vec<u8>,
    private: bool,
}

impl NewFile {
    fn public(path: PathBuf, content: impl Into<Vec<u8>>) -> Self {
        NewFile { path, content: content.into(), private: false }
    }

    fn private(path: PathBuf, content: impl Into<Vec<u8>>) -> Self {
        NewFile { path, content: content.into(), private: true }
    }
}

fn ca(args: &MintCaArgs, output: Output) -> Result<(), Failure> {
    if !args.force {
        let labels = (0..=args.depth).flat_map(|depth| [certificate_name(depth), key_name(depth)]);
        let names = labels.chain(std::iter::once(CHAIN.to_owned()));
        refuse_existing(&args.out, names)?;
    }
    if args.key.rsa_bits().is_some() {
        output.talk(format!("generating {} keys", args.key));
    }
    let plan = HierarchyPlan { name: args.name.clone(), intermediates: args.depth, key: args.key };
    let seed = args.seed.map_or_else(random_seed, Seed::from_number);
    let hierarchy = Hierarchy::mint(&plan, &seed, now())
        .map_err(|fault| Failure::unexpected(format!("cannot mint the authorities: {fault}")))?;
    let files = ca_files(&args.out, &hierarchy)?;

    write_into(&args.out, &files)?;
    let shown = |path: &Path| path.display().to_string();
    for file in &files {
        output.line(shown(&file.path));
    }
    output.json(&MintedCa {
        schema: "rollcall.mint-ca/1",
        files: files.iter().map(|file| shown(&file.path)).collect(),
        issuing_certificate: shown(&args.out.join(certificate_name(args.depth))),
        issuing_key: shown(&args.out.join(key_name(args.depth))),
        chain: shown(&args.out.join(CHAIN)),
    });
    Ok(())
}

const CHAIN: &str = "chain.pem";

fn label(depth: u8) -> String {
    if depth == 0 { "root".to_owned() } else { format!("intermediate-{depth}") }
}

fn certificate_name(depth: u8) -> String {
    format!("{}.pem", label(depth))
}

fn key_name(depth: u8) -> String {
    format!("{}.key.pem", label(depth))
}

/// Each authority's certificate and key, root first, then the chain from the issuing one up to the root.
fn ca_files(out: &Path, hierarchy: &Hierarchy) -> Result<Vec<NewFile>, Failure> {
    let mut files = Vec::new();
    let mut chain = String::new();
    for (depth, authority) in (0..).zip(hierarchy.authorities()) {
        let certificate = pem::encode("CERTIFICATE", authority.certificate().der());
        chain.insert_str(0, &certificate);
        files.push(NewFile::public(out.join(certificate_name(depth)), certificate));
        files.push(NewFile::private(out.join(key_name(depth)), issuer_key(authority)?));
    }
    files.push(NewFile::public(out.join(CHAIN), chain));
    Ok(files)
}

/// The private key of an authority that was made here, PEM.
fn issuer_key(authority: &Issuer) -> Result<String, Failure> {
    let held = || Failure::unexpected("the key of a minted authority is not at hand");
    key_pem(authority.private_key().ok_or_else(held)?)
}

fn key_pem(key: &PrivateKey) -> Result<String, Failure> {
    Ok(pem::encode("PRIVATE KEY", &key.to_pkcs8().map_err(Failure::unexpected)?))
}

/// Writes files into a directory, which is made if need be: all of them or none.
fn write_into(out: &Path, files: &[NewFile]) -> Result<(), Failure> {
    let directory = Directory::create(out)?;
    if let Err(failure) = write_together(files) {
        directory.abandon();
        return Err(failure);
    }
    Ok(())
}

/// All of them or none: no file takes its place before each of them is on the disk.
fn write_together(files: &[NewFile]) -> Result<(), Failure> {
    let mut staged = Vec::with_capacity(files.len());
    for file in files {
        let one = stage(&file.path, &file.content, file.private)?;
        one.sync()?;
        staged.push(one);
    }
    for (done, one) in staged.into_iter().enumerate() {
        if let Err(failure) = one.commit() {
            files.iter().take(done).for_each(|file| remove(&file.path));
            return Err(failure);
        }
    }
    Ok(())
}

/// Takes back a file after a failure, which is what the user is told of; that it cannot be removed adds nothing.
fn remove(path: &Path) {
    let _ = fs::remove_file(path);
}

/// Where a command writes, and which directories it had to make for that.
struct Directory<'a> {
    path: &'a Path,
    made: Vec<&'a Path>,
}

impl<'a> Directory<'a> {
    fn create(path: &'a Path) -> Result<Self, Failure> {
        let missing = |at: &&Path| !at.as_os_str().is_empty() && !at.exists();
        let made = path.ancestors().take_while(missing).collect();
        let directory = Directory { path, made };
        if let Err(failure) = create_dir(path) {
            directory.abandon();
            return Err(failure);
        }
        Ok(directory)
    }

    /// Removes what was made, as far as it is empty.
    fn abandon(self) {
        for path in self.made {
            let _ = fs::remove_dir(path);
        }
    }

    /// Waits until the names of the files in it are on the disk.
    fn sync(&self) -> Result<(), Failure> {
        File::open(self.path)
            .and_then(|directory| directory.sync_all())
            .map_err(|error| cannot_write(self.path, &error))
    }
}

/// Refuses to go on if a file to be written is there.
fn refuse_existing(dir: &Path, mut names: impl Iterator<Item = String>) -> Result<(), Failure> {
    let listed: io::Result<HashSet<OsString>> = match fs::read_dir(dir) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.file_name())).collect(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => Err(error),
    };
    let found = listed.map_err(|error| cannot_write(dir, &error))?;
    // Most fleets go to a directory of their own: then there is nothing to look for.
    if found.is_empty() {
        return Ok(());
    }
    match names.find(|name| found.contains(&OsString::from(name))) {
        None => Ok(()),
        Some(name) => {
            Err(Failure::usage(format!("will not replace {}: it exists", dir.join(name).display()))
                .advise("Choose another directory with --out, or add --force to replace what is there."))
        }
    }
}

fn fleet(args: &MintFleetArgs, output: Output, stop: &AtomicBool) -> Result<(), Failure> {
    let job = Job::prepare(args, output, stop)?;
    let started = instant();
    match &args.out {
        Some(out) => write_fleet(&job, out, args.force, started, output)?,
        None => stream_fleet(&job, started, output)?,
    }
    let seconds = started.elapsed().as_secs_f64();
    let rate = args.count as f64 / seconds.max(f64::MIN_POSITIVE);
    output.talk(format!("minted {} devices in {seconds:.1} s ({rate:.0}/s)", args.count));
    if let Some(out) = &args.out {
        let out = out.display().to_string();
        output.line(format!("{} devices in {out}", args.count));
        output.json(&MintedFleet { schema: "rollcall.mint-fleet/1", count: args.count, out, seconds });
    }
    Ok(())
}

/// A fleet that can be minted: whatever the user could have got wrong has been checked.
struct Job<'a> {
    stop: &'a AtomicBool,
    fleet: Fleet,
    template: Template,
    defect: Option<Defect>,
    indices: Range<u64>,
}

/// A device as text.
struct DevicePem {
    name: String,
    chain: String,
    key: String,
}

impl DevicePem {
    fn of(device: &DeviceIdentity) -> Result<Self, Failure> {
        Ok(DevicePem {
            name: device.registration_id.to_string(),
            chain: device.chain.iter().map(|certificate| pem::encode("CERTIFICATE", certificate)).collect(),
            key: key_pem(&device.key)?,
        })
    }
}

impl<'a> Job<'a> {
    fn prepare(args: &MintFleetArgs, output: Output, stop: &'a AtomicBool) -> Result<Self, Failure> {
        if let Some(defect) = args.defect.filter(|defect| !defect::has_chain(*defect)) {
            return Err(defect::no_chain(defect));
        }
        let Some(end) = args.first.checked_add(args.count) else {
            return Err(Failure::usage("the index of the last device is too large")
                .advise("Give a smaller --first or --count."));
        };
        args.registration_id.fits(end).map_err(|fault| unnamed(&args.registration_id, fault))?;
        let issuer = read_issuer(&args.ca_cert, &args.ca_key, args.ca_chain.as_deref())?;
        let plan = FleetPlan {
            key: args.key,
            key_pool: usize::from(args.key_pool),
            validity: time::Duration::days(i64::from(args.days)),
        };
        if args.key.rsa_bits().is_some() {
            output.talk(format!("deriving {} {} keys for the devices to share", args.key_pool, args.key));
        }
        let fleet = Self::fleet(&plan, issuer, args)?;
        let scene = args.defect.and_then(|defect| fleet.scene(defect));
        if let Some(at) = scene.and_then(|scene| scene.at) {
            output.talk(format!("this defect shows in a judgement as of {}", defect::moment(at)));
        }
        Ok(Job {
            stop,
            fleet,
            template: args.registration_id.clone(),
            defect: args.defect,
            indices: args.first..end,
        })
    }

    fn fleet(plan: &FleetPlan, issuer: Issuer, args: &MintFleetArgs) -> Result<Fleet, Failure> {
        let (issuer, seed, now) = (Arc::new(issuer), Seed::from_number(args.seed), now());
        let good = Fleet::new(plan, issuer.clone(), seed.clone(), now).map_err(|fault| {
            let message = format!("cannot mint a fleet under {}: {fault}", args.ca_cert.display());
            match fault {
                IssueError::OutsideIssuer { .. } => Failure::usage(message)
                    .advise("Give a CA certificate that is valid now, or set the clock of this machine."),
                _ => Failure::unexpected(message),
            }
        })?;
        let Some(defect) = args.defect else { return Ok(good) };
        let workshop = Workshop::below(&issuer, &seed.child("defects"), now);
        let scene = defect.scene(&workshop).map_err(|fault| unprepared(defect, &fault))?;
        let scene = scene.ok_or_else(|| defect::no_chain(defect))?;
        if !scene.additions.is_empty() {
            let fault = format!(
                "cannot mint a fleet with `{defect}`: it takes certificates or enrollments of its own in the instance"
            );
            return Err(Failure::usage(fault)
                .advise(format!("Use `rollcall mint defect {defect} --out DIR`, which writes them too.")));
        }
        Ok(good.with_scene(defect, Arc::new(scene)))
    }

    /// What the device of an index is called.
    fn name(&self, index: u64) -> String {
        self.fleet.name(self.template.render(index), self.defect)
    }

    fn count(&self) -> u64 {
        self.indices.end - self.indices.start
    }

    fn device(&self, index: u64) -> Result<DevicePem, Failure> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(Failure::new(Exit::Interrupted, "minting was interrupted; no file was left behind"));
        }
        let id = self.template.registration_id(index).map_err(|fault| unnamed(&self.template, fault))?;
        let failure = |fault: &dyn std::fmt::Display| {
            Failure::unexpected(format!("cannot mint device {index}: {fault}"))
        };
        let device = self.fleet.device(index, id, self.defect).map_err(|fault| failure(&fault))?;
        DevicePem::of(&device)
    }

    /// Writes the two files of a device, or none.
    ///
    /// They are not waited for one by one, which would cost more than minting them: after a power failure a
    /// file may be empty, and the fleet is minted again from its seed.
    fn write(&self, index: u64, out: &Path) -> Result<(), Failure> {
        let device = self.device(index)?;
        let [chain, key] = file_names(&device.name).map(|name| out.join(name));
        let staged_chain = stage(&chain, device.chain.as_bytes(), false)?;
        let staged_key = stage(&key, device.key.as_bytes(), true)?;
        staged_chain.commit()?;
        staged_key.commit().inspect_err(|_| remove(&chain))
    }
}

fn unnamed(template: &Template, fault: scenarios::InvalidTemplate) -> Failure {
    Failure::usage(format!("cannot name the fleet `{template}`: {fault}"))
        .advise("Change --registration-id; `dev-{index:05}` is one that works.")
}

fn file_names(name: &str) -> [String; 2] {
    [format!("{name}.chain.pem"), format!("{name}.key.pem")]
}

fn write_fleet(
    job: &Job<'_>,
    out: &Path,
    force: bool,
    started: Instant,
    output: Output,
) -> Result<(), Failure> {
    if !force {
        let names = job.indices.clone().flat_map(|index| file_names(&job.name(index)));
        refuse_existing(out, names)?;
    }
    let directory = Directory::create(out)?;
    let progress = Progress::new(Some(job.count()), started, output.interactive());
    let (written, ended) = write_devices(job, out, &progress);
    progress.finish();
    if let Err(failure) = ended.and_then(|()| directory.sync()) {
        for index in written {
            file_names(&job.name(index)).iter().for_each(|name| remove(&out.join(name)));
        }
        directory.abandon();
        return Err(failure);
    }
    Ok(())
}

/// Mints on every core until the fleet is complete or something fails; tells which devices were written.
fn write_devices(job: &Job<'_>, out: &Path, progress: &Progress) -> (Vec<u64>, Result<(), Failure>) {
    let next = AtomicU64::new(0);
    let failed = AtomicBool::new(false);
    let work = || {
        let mut written = Vec::new();
        while !failed.load(Ordering::Relaxed) {
            let offset = next.fetch_add(1, Ordering::Relaxed);
            if offset >= job.count() {
                break;
            }
            let index = job.indices.start + offset;
            if let Err(failure) = job.write(index, out) {
                failed.store(true, Ordering::Relaxed);
                return (written, Err(failure));
            }
            written.push(index);
            progress.advance(1);
        }
        (written, Ok(()))
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..cores()).map(|_| scope.spawn(work)).collect();
        let mut all = (Vec::new(), Ok(()));
        for worker in workers {
            let (written, ended) = worker.join().unwrap_or_else(|_| (Vec::new(), Err(died())));
            all.0.extend(written);
            all.1 = all.1.and(ended);
        }
        all
    })
}

fn died() -> Failure {
    Failure::unexpected("cannot mint the fleet: one of the threads that mint it has died")
}

/// Writes the fleet to standard output in the order of its indices; a reader that has enough ends it.
fn stream_fleet(job: &Job<'_>, started: Instant, output: Output) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    // A bar would be drawn between the lines of the result.
    let interactive = output.interactive() && !stdout.is_terminal();
    let progress = Progress::new(Some(job.count()), started, interactive);
    let mut start = job.indices.start;
    let ended = loop {
        if start >= job.indices.end {
            break stdout.flush();
        }
        let step = STREAM_STEP.saturating_mul(cores() as u64);
        let batch = start..start.saturating_add(step).min(job.indices.end);
        let text = batch_text(job, &batch).inspect_err(|_| progress.finish())?;
        if let Err(error) = stdout.write_all(text.as_bytes()) {
            break Err(error);
        }
        progress.advance(batch.end - batch.start);
        start = batch.end;
    };
    progress.finish();
    match ended {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(cannot_write(Path::new("standard output"), &error))
        }
        _ => Ok(()),
    }
}

/// Mints a batch on every core, each a part of it.
fn batch_text(job: &Job<'_>, batch: &Range<u64>) -> Result<String, Failure> {
    let part = |start: u64| -> Result<String, Failure> {
        let mut text = String::new();
        for index in start..start.saturating_add(STREAM_STEP).min(batch.end) {
            let device = job.device(index)?;
            text.push_str(&device.chain);
            text.push_str(&device.key);
        }
        Ok(text)
    };
    let part = &part;
    thread::scope(|scope| {
        let mut workers = Vec::new();
        let mut start = batch.start;
        while start < batch.end {
            workers.push(scope.spawn(move || part(start)));
            start = start.saturating_add(STREAM_STEP);
        }
        workers.into_iter().map(|worker| worker.join().unwrap_or_else(|_| Err(died()))).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    const QUIET: Output = Output { json: false, quiet: true };

    #[derive(Debug, Parser)]
    enum Program {
        Mint(MintArgs),
    }

    fn mint(line: &str) -> Result<Exit, Failure> {
        let Program::Mint(args) = Program::try_parse_from(line.split(' ')).map_err(Failure::usage)?;
        run(args, QUIET, &AtomicBool::new(false))
    }

    fn count(dir: &Path) -> usize {
        fs::read_dir(dir).map_or(0, Iterator::count)
    }

    #[test]
    fn a_hierarchy_and_a_fleet_are_written_once_and_replaced_only_by_force() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name).display().to_string();
        let ca = format!("rollcall mint ca --out {} --depth 2", at("ca"));
        assert_eq!(mint(&ca).map_err(|failure| failure.message), Ok(Exit::Good));
        assert_eq!(count(&dir.path().join("ca")), 7);
        assert_eq!(mint(&ca).map_err(|failure| failure.exit), Err(Exit::Usage));
        let chain = fs::read_to_string(dir.path().join("ca/chain.pem")).expect("the chain");
        let issuing = fs::read_to_string(dir.path().join("ca/intermediate-2.pem")).expect("the issuing CA");
        assert!(chain.starts_with(&issuing) && chain.matches("BEGIN").count() == 3);

        let fleet = format!(
            "rollcall mint fleet --ca-cert {} --ca-key {} --ca-chain {} --count 5 --first 3 --seed 7 \
             --registration-id dev-{{index:02}} --out {}",
            at("ca/intermediate-2.pem"),
            at("ca/intermediate-2.key.pem"),
            at("ca/chain.pem"),
            at("fleet/a")
        );
        assert_eq!(mint(&fleet).map_err(|failure| failure.message), Ok(Exit::Good));
        assert_eq!(count(&dir.path().join("fleet/a")), 10);
        let chain = fs::read_to_string(dir.path().join("fleet/a/dev-07.chain.pem")).expect("a chain");
        assert_eq!(chain.matches("BEGIN").count(), 4, "leaf, two intermediates and root, each once");
        assert_eq!(mint(&fleet).map_err(|failure| failure.exit), Err(Exit::Usage));
        assert_eq!(mint(&format!("{fleet} --force")).map_err(|failure| failure.message), Ok(Exit::Good));
    }

    #[test]
    fn a_fleet_has_any_defect_that_takes_nothing_of_the_instance() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name).display().to_string();
        mint(&format!("rollcall mint ca --out {}", at("ca"))).expect("authorities");
        let ca = format!("--ca-cert {} --ca-key {}", at("ca/root.pem"), at("ca/root.key.pem"));
        let fleet = |defect: &str| {
            let what = "--count 2 --seed 7 --registration-id dev-{index}";
            mint(&format!("rollcall mint fleet {ca} {what} --defect {defect} --out {}", at(defect)))
        };
        for defect in [Defect::LEAF_EXPIRED, Defect::SAME_NAME_OTHER_KEY, Defect::LEAF_CA_TRUE] {
            assert_eq!(fleet(defect.id()).map_err(|failure| failure.message), Ok(Exit::Good), "{defect}");
            assert_eq!(count(&dir.path().join(defect.id())), 4, "{defect}");
        }
        let failure = fleet("svc-group-disabled").expect_err("takes a group");
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.advice.is_some_and(|a| a.contains("mint defect svc-group-disabled")));
        assert!(!dir.path().join("svc-group-disabled").exists());
    }

    #[test]
    fn a_failure_on_the_way_leaves_nothing_behind() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name).display().to_string();
        mint(&format!("rollcall mint ca --out {}", at("ca"))).expect("authorities");
        // A directory stands where the third device's key is to go.
        fs::create_dir_all(dir.path().join("fleet/dev-2.key.pem/x")).expect("a directory");
        let line = format!(
            "rollcall mint fleet --ca-cert {} --ca-key {} --count 50 --seed 7 --registration-id dev-{{index}} \
             --out {} --force",
            at("ca/intermediate-1.pem"),
            at("ca/intermediate-1.key.pem"),
            at("fleet")
        );
        let failure = mint(&line).expect_err("in the way");
        assert!(failure.message.contains("dev-2.key.pem"), "{failure}");
        assert_eq!(count(&dir.path().join("fleet")), 1);
    }

    #[test]
    fn what_cannot_be_minted_is_refused_before_anything_is_written() {
        let dir = tempfile::tempdir().expect("a directory");
        let out = dir.path().join("out");
        for more in [
            "--registration-id same",
            "--registration-id a/{index}",
            "--registration-id {index:020}-123456789-123456789-123456789-123456789-12345",
            "--registration-id dev-{index} --defect pop-csr",
            "--registration-id dev-{index} --defect svc-trust-flip",
            "--registration-id dev-{index} --defect none-such",
            "--registration-id dev-{index} --key rsa1024",
            "--registration-id dev-{index} --first 18446744073709551615",
        ] {
            let line = format!(
                "rollcall mint fleet --ca-cert none --ca-key none --count 2 --seed 7 --out {} {more}",
                out.display()
            );
            let failure = mint(&line).expect_err(more);
            assert_eq!(failure.exit, Exit::Usage);
            assert!(!failure.message.contains("cannot read"), "{failure}");
            assert!(!out.exists());
        }
    }
}
