//! `rollcall check`: would the service admit this chain, this batch, this fleet; if not, why, and what repairs it.
//!
//! Reads files and answers from them. Only `--from-service` reads from a service, and only `--live` with `--host` has
//! a device register.

mod args;
mod document;
mod fix;
mod junit;
mod live;
mod sarif;
mod tally;
mod text;
mod view;

use super::operator::connect;
use super::output::Output;
use super::progress::Progress;
use super::prose::Paint;
use super::{cores, instant, now, read_file, secret, stop_signal};
use crate::check::batch::{self, Item, Work};
use crate::check::inputs::{self, Source};
use crate::check::instance::{self, Known};
use crate::check::{Examined, Summary, manifest, reason};
use crate::exit::{Exit, Failure};
pub use args::CheckArgs;
use args::Format;
use document::Refused;
pub(crate) use fix::refuse_existing;
use sim_identity::Certificate;
use sim_identity::certificate::CommonName;
use sim_identity::files::CertificatePool;
use sim_identity::preflight::{Code, Finding, Instance, Presented, Question, Severity, examine};
use sim_identity::verdict::SignatureMemo;
use sim_protocol::RegistrationId;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use view::{Ending, View};

/// Checks what the flags name.
pub async fn run(args: CheckArgs, output: Output) -> Result<Exit, Failure> {
    args.refuse_contradictions()?;
    let output = Output { json: matches!(args.form(), Format::Json | Format::Sarif), ..output };
    let question = args.question()?;
    let password =
        args.password_file.as_deref().map(|path| secret::secret_file(path, "password")).transpose()?;
    if is_batch(&args) {
        many(args, question, password, output).await
    } else {
        one(&args, &question, password.as_deref(), output).await
    }
}

/// Whether many chains are meant: it was said, or a path can only be a batch.
fn is_batch(args: &CheckArgs) -> bool {
    args.each || args.chains.iter().any(|path| path.is_dir() || manifest::is_manifest(path))
}

/// What the instance holds: from the flags and files, and from the service if it was asked for.
/// Of individual enrollments the one of `device` is enough, where there is only one device.
async fn known(
    args: &CheckArgs,
    device: Option<&RegistrationId>,
    sent: &[Arc<Certificate>],
    output: Output,
) -> Result<Known, Failure> {
    let given = args.instance.given();
    let known = if args.instance.from_service {
        let (operator, _) = connect(&args.connection)?;
        instance::live(&operator, device, &given, sent, now()).await?
    } else {
        instance::from_files(&given, sent)?
    };
    for note in &known.notes {
        output.talk(format_args!("note: {}", view::shown(note)));
    }
    if known.instance.cas.is_empty() && !known.instance.has_enrollments() && given.exports.is_empty() {
        output
            .warn("nothing is known of the instance; give --verified, --group, --instance or --from-service");
    }
    if args.question.purpose == args::Use::Any && known.instance.has_enrollments() {
        output.warn(
            "--purpose any counts only where no group or enrollment is given: who is enrolled has to be a client",
        );
    }
    Ok(known)
}

/// The registration id that the leaf names.
fn own_id(presented: &Presented) -> Option<RegistrationId> {
    match presented.certificates.first()?.common_name() {
        CommonName::One(name) => RegistrationId::new(name.as_str()).ok(),
        CommonName::Missing | CommonName::Several(_) | CommonName::Undecodable => None,
    }
}

/// What is wrong with the instance and its files, whatever is checked against it.
fn instance_findings(known: &Known, at: i64) -> Vec<Finding> {
    known.findings.iter().cloned().chain(known.instance.findings(at)).collect()
}

/// The codes of what --strict counts as an error, each once.
fn warnings<'f>(findings: impl IntoIterator<Item = &'f Finding>) -> Vec<Code> {
    let warned = findings.into_iter().filter(|finding| finding.severity >= Severity::Warning);
    warned.map(|finding| finding.code).collect::<BTreeSet<_>>().into_iter().collect()
}

async fn one(
    args: &CheckArgs,
    question: &Question,
    password: Option<&str>,
    output: Output,
) -> Result<Exit, Failure> {
    let (label, presented) = inputs::one_chain(&args.chains, args.key.as_deref(), password)?;
    let device = question.registration_id.clone().or_else(|| own_id(&presented));
    let known = known(args, device.as_ref(), &presented.certificates, output).await?;
    let trust = known.instance.trust();
    let examination = examine(&presented, question, &known.instance, &trust, &SignatureMemo::default());
    let mut examined = Examined { label, presented, examination };
    let view = View { examined: &examined, instance: &known.instance, question };
    let canary = live::run(args, view).await?;
    if let Some(difference) = canary.as_ref().and_then(|canary| canary.difference.clone()) {
        examined.examination.findings.insert(0, difference);
    }
    let spare = fix::completed(&examined, &known.spare, question, &known.instance, &trust);
    examined.examination.repair = examined.examination.repair.take().or(spare);
    let instance = instance_findings(&known, question.at);
    let instance: Vec<Finding> = examined.examination.beside(&instance).into_iter().cloned().collect();
    let fixed = args.fix_to.as_deref().map(|path| fix::write(&examined.examination, path)).transpose()?;
    let ending = ending(args, &examined, &instance, canary.as_ref());
    let view = View { examined: &examined, instance: &known.instance, question };
    let openssl = view::openssl(view, &args.instance.verified, &args.chains);
    let exit = ending.exit;
    match args.form() {
        Format::Text => {
            let beside = text::Beside {
                instance: &instance,
                openssl,
                openssl_needs_file: args.instance.verified.is_empty(),
                fixed,
                canary: canary.as_ref(),
                ending: &ending,
            };
            output.line(text::one(view, &beside, Paint::for_stdout()));
        }
        Format::Json => {
            let written = args.fix_to.as_ref().filter(|_| examined.examination.repair.is_some());
            let more = document::More {
                ending: &ending,
                instance: &instance,
                openssl,
                written_to: written.map(|path| path.display().to_string()),
                canary: canary.as_ref(),
            };
            output.json(&document::one(view, more));
        }
        Format::Sarif => {
            let mut collector = sarif::Collector::at(begins(&args.chains, &examined));
            collector.take(&examined.label, &examined.examination.findings);
            collector.take(&examined.label, &instance);
            output.json(&collector.log(ending.word()));
        }
        Format::Junit => {
            let mut collector = junit::Collector::new(args.strict);
            collector.take(&examined, ending.overruled.as_ref());
            output.line(xml(collector, &instance, &ending)?);
        }
    }
    Ok(exit)
}

/// How the check of one chain ends: as the service would, unless it has done otherwise or a warning is enough.
fn ending(
    args: &CheckArgs,
    examined: &Examined,
    instance: &[Finding],
    canary: Option<&live::Canary>,
) -> Ending {
    let examination = &examined.examination;
    let own = if examination.is_accepted() { Exit::Good } else { Exit::Refused };
    let overrule = |exit, reason, because| Ending { exit, overruled: Some((reason, because)) };
    match canary.filter(|canary| canary.exit != Exit::Good) {
        Some(canary) if own == Exit::Good => {
            overrule(canary.exit, "live", format!("one real registration was not let in: {}", canary.said))
        }
        Some(canary) => Ending { exit: canary.exit, overruled: None },
        None => {
            let codes = warnings(examination.findings.iter().chain(instance));
            match own == Exit::Good && args.strict && !codes.is_empty() {
                true => overrule(Exit::Refused, STRICT, strict(&codes)),
                false => Ending { exit: own, overruled: None },
            }
        }
    }
}

/// The reason where only a warning refuses.
const STRICT: &str = "strict";

/// Why --strict refuses.
fn strict(codes: &[Code]) -> String {
    let codes: Vec<&str> = codes.iter().map(|code| code.as_str()).collect();
    format!("with --strict a warning is enough: {}", codes.join(", "))
}

/// Where the certificates of one chain begin in its files.
fn begins(chains: &[PathBuf], examined: &Examined) -> Vec<(String, u64)> {
    let read = |path: &PathBuf| {
        // What is no file, standard input for instance, cannot be read again.
        let bytes = path.is_file().then(|| read_file(path, "chain").ok()).flatten();
        bytes.map(|bytes| (path.display().to_string(), bytes))
    };
    let files: Vec<_> = chains.iter().filter_map(read).collect();
    sarif::begins(&files, examined.presented.certificates.len())
}

fn xml(collector: junit::Collector, instance: &[Finding], ending: &Ending) -> Result<String, Failure> {
    let written = collector.xml(instance, ending);
    written.map_err(|error| Failure::unexpected(format!("cannot write the result as JUnit: {error}")))
}

/// What a batch needs besides its devices.
struct Job {
    args: CheckArgs,
    question: Question,
    instance: Instance,
    /// Findings about the instance.
    findings: Vec<Finding>,
    password: Option<String>,
    output: Output,
}

async fn many(
    args: CheckArgs,
    question: Question,
    password: Option<String>,
    output: Output,
) -> Result<Exit, Failure> {
    if args.canary.host.is_some() || args.fix_to.is_some() || args.key.is_some() {
        return Err(Failure::usage("--live, --key and --fix-to are for one chain, and this is a batch")
            .advise("Check one device's chain by itself."));
    }
    let sample = sample(&args, password.as_deref());
    let known = known(&args, question.registration_id.as_ref(), &sample, output).await?;
    let findings = instance_findings(&known, question.at);
    let job = Job { args, question, instance: known.instance, findings, password, output };
    // Beside the runtime; the first signal to stop ends it.
    let stop = Arc::new(AtomicBool::new(false));
    let seen = stop.clone();
    let mut working = tokio::task::spawn_blocking(move || job.run(&seen));
    let ended = tokio::select! {
        ended = &mut working => ended,
        asked = stop_signal() => {
            asked?;
            stop.store(true, Ordering::Relaxed);
            working.await
        }
    };
    ended.unwrap_or_else(|error| Err(Failure::unexpected(format!("checking ended badly: {error}"))))
}

/// What the first device of each path sends: CA certificates that an export lists by thumbprint alone may be among
/// them. A stream can be read only once, so nothing is taken from one.
fn sample(args: &CheckArgs, password: Option<&str>) -> Vec<Arc<Certificate>> {
    let mut found = Vec::new();
    for path in &args.chains {
        let source = if path.is_dir() || manifest::is_manifest(path) {
            Source::open(path)
        } else if path.is_file() {
            Ok(Source::files(vec![path.clone()]))
        } else {
            continue;
        };
        let first = source.ok().and_then(|mut source| source.find_map(Result::ok));
        let presented = first.and_then(|input| input.read(password, &CertificatePool::none()).ok());
        found.extend(presented.into_iter().flat_map(|presented| presented.certificates));
    }
    found
}

/// The chains of a batch: of a directory or a manifest those in it, of a file its own, or with a single file all that
/// are in it, one after the other.
fn sources(chains: &[PathBuf]) -> Result<Vec<Source>, Failure> {
    let alone = chains.len() == 1;
    let source = |path: &PathBuf| {
        let is_file = !path.is_dir() && !manifest::is_manifest(path) && path.as_os_str() != "-";
        match is_file && !alone {
            true => Ok(Source::files(vec![path.clone()])),
            false => Source::open(path),
        }
    };
    chains.iter().map(source).collect()
}

/// What is kept of a batch's devices, as the form of the result asks for.
struct Watch {
    listed: Vec<Refused>,
    most: usize,
    sarif: Option<sarif::Collector>,
    junit: Option<junit::Collector>,
}

impl Watch {
    fn new(args: &CheckArgs) -> Self {
        Watch {
            listed: Vec::new(),
            most: args.list.unwrap_or(0),
            sarif: (args.form() == Format::Sarif).then(sarif::Collector::default),
            junit: (args.form() == Format::Junit).then(|| junit::Collector::new(args.strict)),
        }
    }

    fn see(&mut self, item: &Item) {
        let refused = match item {
            Item::Examined(examined) => {
                if let Some(sarif) = &mut self.sarif {
                    sarif.take(&examined.label, &examined.examination.findings);
                }
                if let Some(junit) = &mut self.junit {
                    junit.take(examined, None);
                }
                let listed = self.wants_more() && !examined.examination.is_accepted();
                listed.then(|| refused(examined))
            }
            Item::Unreadable(unreadable) => {
                let device = Refused {
                    source: unreadable.label.clone(),
                    reason: "unreadable",
                    message: unreadable.message.clone(),
                };
                if let Some(sarif) = &mut self.sarif {
                    let fix = unreadable.advice.clone().unwrap_or_default();
                    let code = sim_identity::preflight::Code::FileUnreadable;
                    sarif.take(&unreadable.label, &[Finding::new(code, unreadable.message.as_str(), fix)]);
                }
                if let Some(junit) = &mut self.junit {
                    junit.unreadable(&device);
                }
                self.wants_more().then_some(device)
            }
            Item::Authorities(_) => None,
        };
        self.listed.extend(refused);
    }

    fn wants_more(&self) -> bool {
        self.listed.len() < self.most
    }
}

/// A device that is not let in, in a line: the worst finding says why.
fn refused(examined: &Examined) -> Refused {
    let examination = &examined.examination;
    let trail = || examination.judgement.trail.first().map(ToString::to_string);
    let worst = examination.findings.iter().max_by_key(|finding| finding.severity);
    let why = worst.map(|finding| format!("{}: {}", finding.code, finding.message));
    Refused {
        source: examined.label.clone(),
        reason: reason(examination),
        message: why.or_else(trail).unwrap_or_default(),
    }
}

impl Job {
    fn run(self, stop: &AtomicBool) -> Result<Exit, Failure> {
        let Job { args, question, instance, password, output, .. } = &self;
        let sources = sources(&args.chains)?;
        let count = sources.iter().map(Source::expected).sum::<Option<u64>>();
        let started = instant();
        let progress = Progress::new(count, started, output.interactive());
        let (trust, memo) = (instance.trust(), SignatureMemo::default());
        let mut watch = Watch::new(args);
        let work = Work { workers: cores(), password: password.as_deref(), started, stop };
        let examine_one = |presented: &Presented, asking: &inputs::Asking| {
            let own = Question {
                registration_id: asking
                    .registration_id
                    .clone()
                    .or_else(|| question.registration_id.clone())
                    .or_else(|| asking.id_of_name.clone()),
                at: asking.at.unwrap_or(question.at),
                ..question.clone()
            };
            examine(presented, &own, instance, &trust, &memo)
        };
        let devices = sources.into_iter().flatten();
        let summary =
            batch::run(devices, work, examine_one, |item| watch.see(item), |done| progress.advance(done));
        progress.finish();
        let summary = summary?;
        if summary.devices == 0 {
            let fault = match summary.left_out {
                0 => "there was nothing to check: the batch holds no chain",
                _ => "there was nothing to check: the batch holds CA certificates alone",
            };
            return Err(Failure::usage(fault).advise(
                "Name files with certificates, a directory of them, or a manifest that lists them.",
            ));
        }
        self.tell(&summary, watch)
    }

    fn tell(&self, summary: &Summary, watch: Watch) -> Result<Exit, Failure> {
        let Job { args, question, findings, output, .. } = self;
        let tallied = summary.findings.values().filter(|tally| tally.severity >= Severity::Warning);
        let warned: BTreeSet<Code> =
            tallied.map(|tally| tally.finding.code).chain(warnings(findings)).collect();
        let ending = match (document::all_accepted(summary), args.strict && !warned.is_empty()) {
            (false, _) => Ending { exit: Exit::Refused, overruled: None },
            (true, false) => Ending { exit: Exit::Good, overruled: None },
            (true, true) => {
                let codes: Vec<Code> = warned.into_iter().collect();
                Ending { exit: Exit::Refused, overruled: Some((STRICT, strict(&codes))) }
            }
        };
        if let Some(example) = &summary.left_out_example {
            let count = summary.left_out;
            let files = if count == 1 { "1 file" } else { &format!("{count} files") };
            output.talk(format_args!(
                "note: {files} with CA certificates alone, no devices, left out: for example {}",
                view::shown(example)
            ));
        }
        match args.form() {
            Format::Text => {
                let listed = args.list.is_some().then_some(watch.listed.as_slice());
                let beside = tally::Beside { instance: findings, listed, ending: &ending };
                output.line(tally::batch(summary, &beside, Paint::for_stdout()));
            }
            Format::Json => {
                output.json(&document::batch(summary, &watch.listed, findings, question.at, &ending));
            }
            Format::Sarif => {
                let mut collector = watch.sarif.unwrap_or_default();
                let label = args.chains.first().map(|path| path.display().to_string()).unwrap_or_default();
                collector.take(&label, findings);
                output.json(&collector.log(ending.word()));
            }
            Format::Junit => {
                let collector = watch.junit.unwrap_or_else(|| junit::Collector::new(args.strict));
                output.line(xml(collector, findings, &ending)?);
            }
        }
        Ok(ending.exit)
    }
}
