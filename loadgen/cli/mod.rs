//! The command line: one module a command, and what they share: the clock, randomness and files.

pub(crate) mod ca_key;
pub mod calibrate;
pub mod check;
pub mod completions;
pub mod config;
pub mod demo;
pub mod explain;
pub(crate) mod figures;
pub mod layers;
pub mod live;
pub mod merge;
pub mod mint;
pub mod mock;
pub mod operator;
pub mod output;
pub mod plan;
pub(crate) mod progress;
pub(crate) mod prose;
pub mod register;
pub mod report;
pub mod run;
pub mod scenario;
pub mod secret;

use crate::cli::ca_key::CaKey;
use crate::cli::output::Output;
use crate::exit::{Exit, Failure};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Parser, Subcommand};
use rustls_pki_types::{CertificateDer, ServerName};
use sim_identity::certificate::{CommonName, NameMatch, compare_names};
use sim_identity::files::FileFault;
use sim_identity::{Certificate, DeviceIdentity, Issuer, IssuerFault, KeyAlgorithm, PrivateKey, Seed, files};
use sim_protocol::RegistrationId;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tempfile::NamedTempFile;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime};
use tokio::signal::unix::{SignalKind, signal};

/// How long work that was given up, a name look-up for instance, may keep the program from ending.
const LAST_ORDERS: Duration = Duration::from_secs(1);

const EXAMPLES: &str = "\
Examples:
  rollcall demo
      the whole story on this machine, without an account
  rollcall mint ca --out ca
      a root and an intermediate
  rollcall check device.pem --verified root.pem --group line-a=int.pem
      whether the device would be let in, and if not, why
  rollcall mock --trust-root mock.pem
      a provisioning service to try things on
  rollcall scenario new scenario.toml
      a load test of your own, which can be run as it is
  rollcall plan scenario.toml
      what a load test comes to, before it is run
  rollcall run scenario.toml --out results
      the load test";

/// Simulates a fleet of devices and load-tests group provisioning against Azure IoT DPS or its embedded mock
#[derive(Debug, Parser)]
#[command(name = "rollcall", version, before_long_help = EXAMPLES, after_long_help = exit_statuses())]
pub struct Cli {
    /// Say nothing but results, warnings and errors
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the whole story on this machine: authorities, proof of possession, a fleet, a report
    Demo(demo::DemoArgs),
    /// Make authorities and fleets, under an authority of its own or yours
    Mint(mint::MintArgs),
    /// Say whether chains would be admitted, why not, and what repairs them
    Check(Box<check::CheckArgs>),
    /// Tell what an error code, a diagnostic, a defect, a verdict, a knob, a fault or an exit status means
    Explain(explain::ExplainArgs),
    /// Serve the mock of the provisioning service
    Mock(mock::MockArgs),
    /// Provision one device once and tell every phase
    Register(register::RegisterArgs),
    /// Upload, verify, list and delete CA certificates, at the mock or at Azure
    Ca(operator::CaArgs),
    /// Create, list, change and delete enrollment groups, at the mock or at Azure
    Group(operator::GroupArgs),
    /// Create, list, change and delete individual enrollments, at the mock or at Azure
    Enrollment(operator::EnrollmentArgs),
    /// List, show and delete registrations, at the mock or at Azure
    Registration(operator::RegistrationArgs),
    /// Check scenario files, list and show the shipped ones, begin a new one
    Scenario(scenario::ScenarioArgs),
    /// Show where the values of scenarios come from
    Config(config::ConfigArgs),
    /// Tell what a scenario comes to, without any network
    Plan(plan::PlanArgs),
    /// Run a load test and write its record
    Run(Box<run::RunArgs>),
    /// Put the records of a run's shards together
    Merge(merge::MergeArgs),
    /// Render a record again, or make one from the journal of a run that was killed
    Report(report::ReportArgs),
    /// Show that the meter reads known latencies back
    Calibrate(calibrate::CalibrateArgs),
    /// Print what completes the command line in a shell
    Completions(completions::CompletionsArgs),
    /// Write man pages
    Man(completions::ManArgs),
}

/// Does what the command line asks, says why if that fails, and returns how the program is to end.
pub fn run(cli: Cli) -> Exit {
    let output = Output { json: false, quiet: cli.quiet };
    if matches!(cli.command, Command::Calibrate(_)) {
        calibrate::prepare();
    }
    let ended = runtime().and_then(|runtime| {
        let ended = runtime.block_on(async {
            let _handled = survive_file_size_limit();
            dispatch(cli.command, output).await
        });
        runtime.shutdown_timeout(LAST_ORDERS);
        ended
    });
    let ended = ended.and_then(|exit| output::all_was_written().map(|()| exit));
    ended.unwrap_or_else(|failure| {
        output::failure(&failure);
        failure.exit
    })
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores().max(2))
        .enable_all()
        .build()
        .map_err(|error| Failure::unexpected(format!("cannot start the runtime: {error}")))
}

async fn dispatch(command: Command, output: Output) -> Result<Exit, Failure> {
    match command {
        Command::Demo(args) => demo::run(args, output).await,
        Command::Mint(args) => mint_until_stopped(args, output).await,
        Command::Check(args) => check::run(*args, output).await,
        Command::Explain(args) => explain::run(&args, output),
        Command::Mock(args) => mock::run(args, output).await,
        Command::Register(args) => register::run(args, output).await,
        Command::Ca(args) => operator::ca(args, output).await,
        Command::Group(args) => operator::group(args, output).await.map(|()| Exit::Good),
        Command::Enrollment(args) => operator::enrollment(args, output).await.map(|()| Exit::Good),
        Command::Registration(args) => operator::registration(args, output).await.map(|()| Exit::Good),
        Command::Scenario(args) => scenario::run(&args, output),
        Command::Config(args) => config::run(&args, output),
        Command::Plan(args) => plan::run(&args, output),
        Command::Run(args) => run::run(*args, output).await,
        Command::Merge(args) => merge::run(&args, output),
        Command::Report(args) => report::run(&args, output),
        Command::Calibrate(args) => calibrate::run(args, output).await,
        Command::Completions(args) => {
            completions::completions(&args, output);
            Ok(Exit::Good)
        }
        Command::Man(args) => completions::man(&args, output).map(|()| Exit::Good),
    }
}

/// Mints beside the runtime; the first signal to stop ends it, and what it wrote is taken back.
async fn mint_until_stopped(args: mint::MintArgs, output: Output) -> Result<Exit, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let seen = stop.clone();
    let mut minting = tokio::task::spawn_blocking(move || mint::run(args, output, &seen));
    let ended = tokio::select! {
        ended = &mut minting => ended,
        asked = stop_signal() => {
            asked?;
            stop.store(true, Ordering::Relaxed);
            minting.await
        }
    };
    ended.unwrap_or_else(|error| Err(Failure::unexpected(format!("minting ended badly: {error}"))))
}

/// Until the user presses Ctrl-C or the system asks the program to end.
pub(crate) async fn stop_signal() -> Result<(), Failure> {
    let fault = |error| Failure::unexpected(format!("cannot wait for a signal to stop: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(fault)?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed.map_err(fault),
        _ = terminate.recv() => Ok(()),
    }
}

/// SIGXFSZ, on Linux and the BSDs: a file has reached the size limit of the process.
const FILE_SIZE_LIMIT: i32 = 25;

/// Lets a write beyond the limit of file sizes fail like one to a full disk, in place of ending the program with
/// half-written files left behind. Holds while the returned value lives.
fn survive_file_size_limit() -> Option<tokio::signal::unix::Signal> {
    signal(SignalKind::from_raw(FILE_SIZE_LIMIT)).ok()
}

/// The exit statuses as the help shows them.
fn exit_statuses() -> String {
    let statuses = [
        (Exit::Good, "did what was asked"),
        (Exit::Unexpected, "something unexpected, such as a full disk"),
        (Exit::Usage, "a flag, a file or a scenario that cannot be used"),
        (Exit::Refused, "the service refuses, or `check` says that it would"),
        (Exit::Unreachable, "the target does not answer, or a port cannot be had"),
        (Exit::Regression, "worse than the baseline by more than noise, with --fail-on-regression"),
        (Exit::Invalid, "the sums do not add up, or the generator was the limit: the result is invalid"),
        (Exit::GateFailed, "a gate was not met, or devices fared otherwise than the scenario means"),
        (Exit::Interrupted, "interrupted; what was measured so far is written"),
    ];
    let mut text = "Exit statuses:".to_owned();
    for (exit, meaning) in statuses {
        text.push_str(&format!("\n  {:>3}  {meaning}", exit as u8));
    }
    text
}

/// The moment, for certificates and records.
#[expect(clippy::disallowed_methods, reason = "the edge of the shell: whatever is below is told the time")]
pub fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

/// The moment, for telling how long something takes.
#[expect(clippy::disallowed_methods, reason = "the edge of the shell: whatever is below is told the time")]
pub fn instant() -> Instant {
    Instant::now()
}

/// A seed from the operating system's entropy.
///
/// # Panics
/// When the operating system has none to give: a key made without it would be no secret.
pub fn random_seed() -> Seed {
    let mut bytes = [0; 32];
    let filled = getrandom::fill(&mut bytes);
    assert!(filled.is_ok(), "the operating system gives no entropy: {filled:?}");
    Seed::from_bytes(bytes)
}

/// How many threads can work at once.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Parses a key type, and lists them all in the help.
pub fn key_algorithm() -> impl TypedValueParser<Value = KeyAlgorithm> {
    PossibleValuesParser::new(KeyAlgorithm::ALL.map(KeyAlgorithm::as_str))
        .try_map(|text: String| text.parse::<KeyAlgorithm>())
}

/// Parses a moment: RFC 3339, or a date alone, which is its first second in UTC.
pub(crate) fn moment(text: &str) -> Result<OffsetDateTime, String> {
    let day = || {
        Date::parse(text, format_description!("[year]-[month]-[day]")).map(|day| day.midnight().assume_utc())
    };
    OffsetDateTime::parse(text, &Rfc3339)
        .or_else(|_| day())
        .map_err(|_| "write it as 2026-06-01 or 2026-06-01T08:00:00Z".to_owned())
}

/// Reads a file that the user named; `what` says what it is to be.
pub fn read_file(path: &Path, what: &str) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| {
        let failure = Failure::usage(format!("cannot read {what} {}: {error}", path.display()));
        match error.kind() {
            ErrorKind::NotFound => failure.advise("Check the path; it is taken from the current directory."),
            ErrorKind::PermissionDenied => failure.advise("Make the file readable for the current user."),
            ErrorKind::IsADirectory => failure.advise("Name a file, not a directory."),
            _ => failure,
        }
    })
}

/// Writes a file whole or not at all: beside its place, then to the disk, then into its place. A private one is
/// its owner's alone (0600). What is no ordinary file, `/dev/stdout` for instance, is written to as it is.
pub fn write_file(path: &Path, bytes: &[u8], private: bool) -> Result<(), Failure> {
    if is_special(path) {
        let written = OpenOptions::new().write(true).open(path).and_then(|mut file| file.write_all(bytes));
        return written.map_err(|error| cannot_write(path, &error));
    }
    let staged = stage(path, bytes, private)?;
    staged.sync()?;
    staged.commit()
}

/// Whether there is something at the path that is neither a file nor a directory: a device or a pipe.
fn is_special(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir())
}

/// A file that is written and not yet in its place; dropped, it is gone.
#[derive(Debug)]
pub(crate) struct Staged {
    file: NamedTempFile,
    target: PathBuf,
}

impl Staged {
    /// Waits until the content is on the disk.
    pub(crate) fn sync(&self) -> Result<(), Failure> {
        self.file.as_file().sync_all().map_err(|error| cannot_write(&self.target, &error))
    }

    /// Moves the file to its place, over what is there.
    pub(crate) fn commit(self) -> Result<(), Failure> {
        let Staged { file, target } = self;
        file.persist(&target).map(drop).map_err(|fault| cannot_write(&target, &fault.error))
    }
}

/// Writes a file beside the place where it is to be.
pub(crate) fn stage(path: &Path, bytes: &[u8], private: bool) -> Result<Staged, Failure> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // The umask is applied to it, as to any new file.
    let mode = if private { 0o600 } else { 0o644 };
    let written = tempfile::Builder::new()
        .prefix(".rollcall-")
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(parent)
        .and_then(|mut file| file.as_file_mut().write_all(bytes).map(|()| file));
    let file = written.map_err(|error| cannot_write(path, &error))?;
    Ok(Staged { file, target: path.to_owned() })
}

/// Makes a directory and those above it, as far as they are missing.
pub fn create_dir(path: &Path) -> Result<(), Failure> {
    fs::create_dir_all(path).map_err(|error| {
        let file = path.ancestors().find(|above| above.exists() && !above.is_dir());
        let why = file.map_or_else(|| error.to_string(), |file| format!("{} is a file", file.display()));
        Failure::new(exit_of(&error), format!("cannot make the directory {}: {why}", path.display()))
            .advise("Name a directory that exists or can be made.")
    })
}

/// Why a file or directory cannot be written to.
pub(crate) fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    // The name of the file that is staged beside the target means nothing to anybody.
    let text = error.to_string();
    let why = text.split(" at path ").next().unwrap_or_default();
    let failure = Failure::new(exit_of(error), format!("cannot write {}: {why}", path.display()));
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            failure.advise("Make room or write elsewhere; no half-written file was left behind.")
        }
        ErrorKind::NotFound | ErrorKind::NotADirectory => {
            failure.advise("Check that the directory exists, or name another.")
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            failure.advise("Name a directory that the current user may write to.")
        }
        _ => failure,
    }
}

/// A path that cannot be used is the user's to change; what else can happen to a file is nobody's.
fn exit_of(error: &io::Error) -> Exit {
    match error.kind() {
        ErrorKind::NotFound
        | ErrorKind::NotADirectory
        | ErrorKind::IsADirectory
        | ErrorKind::AlreadyExists
        | ErrorKind::PermissionDenied
        | ErrorKind::ReadOnlyFilesystem
        | ErrorKind::InvalidFilename => Exit::Usage,
        _ => Exit::Unexpected,
    }
}

/// Reads an authority: the first certificate of `cert` with its key. Further ones in that file, then those of
/// `chain`, are what its devices present above it. The key is in a file, or in a token that a `pkcs11:` URI names.
pub fn read_issuer(cert: &Path, key: &Path, chain: Option<&Path>) -> Result<Issuer, Failure> {
    let mut certificates = read_certificates(cert, "CA certificate")?.into_iter();
    let private = CaKey::read(key)?;
    let Some(certificate) = certificates.next() else {
        return Err(Failure::usage(format!("cannot read {}: it holds no certificate", cert.display())));
    };
    let further = chain.map(|path| read_certificates(path, "CA chain")).transpose()?.unwrap_or_default();
    let mut above: Vec<Certificate> = Vec::new();
    for certificate in certificates.chain(further) {
        if !above.contains(&certificate) {
            above.push(certificate);
        }
    }
    let issuer = private.issuer(certificate).map_err(|fault| {
        let (cert, key) = (cert.display(), ca_key::shown(key));
        Failure::usage(format!("cannot issue with {cert} and {key}: {fault}")).advise(match fault {
            IssuerFault::KeyMismatch { .. } => {
                "Give the CA certificate and the private key that belongs to it; in a file with several \
                 certificates, the CA comes first."
            }
            IssuerFault::NotCa { .. } => {
                "Give the certificate of a CA (basicConstraints CA:TRUE); a device's own cannot issue others."
            }
            IssuerFault::NoKeyCertSign { .. } => "Give a CA whose keyUsage has keyCertSign.",
        })
    })?;
    let issuer = issuer.with_chain(above);
    check_chain(&issuer, cert, chain.unwrap_or(cert))?;
    Ok(issuer)
}

/// Each certificate above a CA must have issued the one before: what is sent along otherwise helps no device.
fn check_chain(issuer: &Issuer, cert: &Path, chain: &Path) -> Result<(), Failure> {
    let mut below = issuer.certificate();
    for above in issuer.above() {
        if compare_names(above.subject_der(), below.issuer_der()) == NameMatch::Different
            || below.verify_signed_by(above).is_err()
        {
            let (subject, child) = (above.subject(), below.subject());
            let fault = format!(
                "cannot use {} with {}: `{subject}` did not issue `{child}`",
                chain.display(),
                cert.display()
            );
            return Err(Failure::usage(fault)
                .advise("Give the CAs above the issuing one, nearest first, and no others."));
        }
        below = above;
    }
    Ok(())
}

/// Reads certificates, the first one's key beside them; never an empty list. `what` says what they are to be.
pub(crate) fn read_pair(
    chain: &Path,
    key: &Path,
    what: &str,
) -> Result<(Vec<Certificate>, PrivateKey), Failure> {
    let certificates = read_certificates(chain, what)?;
    let private = files::read_private_key(&key.display().to_string(), &read_file(key, "private key")?)
        .map_err(file_fault)?;
    if certificates.first().is_none_or(|first| first.public_key() != private.public_key()) {
        let (chain, key) = (chain.display(), key.display());
        let fault =
            format!("cannot use {chain} and {key}: the private key does not belong to the first certificate");
        return Err(Failure::usage(fault).advise(
            "Put the certificate of the device or server first, and give the key that belongs to it.",
        ));
    }
    Ok((certificates, private))
}

/// Reads a device: its chain, leaf first, and the leaf's key. Registers as `id`, or else as the leaf's CN.
pub fn read_identity(
    chain: &Path,
    key: &Path,
    id: Option<RegistrationId>,
) -> Result<DeviceIdentity, Failure> {
    let (certificates, private) = read_pair(chain, key, "certificate chain")?;
    let registration_id = match (id, certificates[0].common_name()) {
        (Some(id), _) => id,
        (None, CommonName::One(name)) => RegistrationId::new(name.as_str()).map_err(|fault| {
            Failure::usage(format!("cannot register as the CN of {}: {fault}", chain.display()))
        })?,
        (None, _) => {
            let fault = format!("cannot tell who {} is: its certificate has no single CN", chain.display());
            return Err(Failure::usage(fault).advise("Name it with --registration-id."));
        }
    };
    let chain = certificates.iter().map(|c| CertificateDer::from(c.der().to_vec())).collect();
    Ok(DeviceIdentity { registration_id, chain, key: Arc::new(private) })
}

/// Reads trust roots, DER.
pub fn read_trust_roots(path: &Path) -> Result<Vec<Vec<u8>>, Failure> {
    Ok(read_certificates(path, "trust root")?.iter().map(|c| c.der().to_vec()).collect())
}

/// What a server's certificate must name when it is dialled as `host`.
pub fn server_name(host: &str) -> Result<ServerName<'static>, Failure> {
    ServerName::try_from(host.to_owned())
        .map_err(|fault| Failure::usage(format!("`{host}` is neither a host name nor an address: {fault}")))
}

/// Whether a host name or address is this machine's own.
pub fn is_this_machine(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn read_certificates(path: &Path, what: &str) -> Result<Vec<Certificate>, Failure> {
    files::read_certificates(&path.display().to_string(), &read_file(path, what)?).map_err(file_fault)
}

/// A file that cannot be used, with what to do about it.
pub(crate) fn file_fault(fault: FileFault) -> Failure {
    Failure::usage(&fault).advise(fault.advice())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed_and_its_help_tells_the_exit_statuses() {
        Cli::command().debug_assert();
        let help = Cli::command().render_long_help().to_string();
        assert!(help.starts_with("Examples:") && help.contains("130  interrupted"), "{help}");
    }

    #[test]
    fn a_file_is_replaced_whole_and_a_private_one_is_its_owners_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("key.pem");
        fs::write(&path, "old").expect("written");
        write_file(&path, b"new", true).expect("replaced");
        assert_eq!(fs::read(&path).expect("read"), b"new");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), 1);
    }

    #[test]
    fn no_directory_is_made_where_there_is_a_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("file");
        fs::write(&file, "").expect("written");
        for path in [file.clone(), file.join("below")] {
            let failure = create_dir(&path).expect_err("a file");
            assert_eq!(failure.exit, Exit::Usage);
            assert!(failure.message.ends_with(&format!("{} is a file", file.display())), "{failure}");
        }
    }

    #[test]
    fn what_cannot_be_read_or_written_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let nowhere = dir.path().join("nowhere/file");
        for failure in [read_file(&nowhere, "key").map(drop), write_file(&nowhere, b"", false)] {
            let failure = failure.expect_err("no such directory");
            assert_eq!(failure.exit, Exit::Usage);
            assert!(failure.message.contains("nowhere/file") && failure.advice.is_some(), "{failure}");
            assert!(!failure.message.contains(".rollcall-"), "{failure}");
        }
    }
}
