//! `rollcall explain`: what an error code, a diagnostic, a defect, a verdict, a knob, a fault, an outcome, a judgement, a
//! metric or an exit status means, what usually causes it, what repairs it, and where that stands.

mod codes;
mod exits;
mod faults;
mod knobs;
mod runs;
mod verdicts;

use super::output::Output;
use super::prose::{Paint, Tone, wrapped};
use crate::exit::{Exit, Failure};
use clap::Args;
use serde::Serialize;
use sim_identity::defect::{Defect, Expected, ProofKind};
use sim_identity::preflight::Code;
use std::fmt;
pub(crate) use verdicts::seen;

/// `rollcall explain`.
#[derive(Args, Debug)]
#[command(before_long_help = "\
Examples:
  rollcall explain 401002
  rollcall explain chain-incomplete
  rollcall explain \"CA certificate not found.\"
  rollcall explain exit 3
  rollcall explain defects")]
pub struct ExplainArgs {
    /// A code of the service, a diagnostic, a defect, a verdict, a knob, a fault, an outcome, a judgement of a run, a
    /// metric or an exit status, by its id; or a kind of these to list: codes, diagnostics, defects, verdicts, knobs,
    /// faults, outcomes, judgements, metrics, exits [default: lists all]
    #[arg(value_name = "ID")]
    pub id: Vec<String>,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// What can be explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// An error code of the service.
    Code,
    /// A diagnostic of `check`.
    Diagnostic,
    /// A row of the fault matrix.
    Defect,
    /// A verdict of the judge.
    Verdict,
    /// A choice where the service's behaviour is not known.
    Knob,
    /// A fault of the mock's, on demand.
    Fault,
    /// How an arrival ends.
    Outcome,
    /// How a run is judged.
    Judgement,
    /// What a gate looks at.
    Metric,
    /// An exit status.
    Exit,
}

impl Kind {
    const ALL: [Kind; 10] = [
        Kind::Code,
        Kind::Diagnostic,
        Kind::Defect,
        Kind::Verdict,
        Kind::Knob,
        Kind::Fault,
        Kind::Outcome,
        Kind::Judgement,
        Kind::Metric,
        Kind::Exit,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Kind::Code => "code",
            Kind::Diagnostic => "diagnostic",
            Kind::Defect => "defect",
            Kind::Verdict => "verdict",
            Kind::Knob => "knob",
            Kind::Fault => "fault",
            Kind::Outcome => "outcome",
            Kind::Judgement => "judgement",
            Kind::Metric => "metric",
            Kind::Exit => "exit",
        }
    }

    /// The kind that a word names, in the singular or in the plural.
    fn named(word: &str) -> Option<Self> {
        let word = word.to_lowercase();
        let singular = word.strip_suffix('s').unwrap_or(&word);
        Kind::ALL.into_iter().find(|kind| kind.as_str() == singular)
    }

    fn entries(self) -> Vec<Entry> {
        match self {
            Kind::Code => codes::entries(),
            Kind::Diagnostic => Code::ALL.into_iter().map(diagnostic).collect(),
            Kind::Defect => Defect::all().map(defect).collect(),
            Kind::Verdict => verdicts::entries(),
            Kind::Knob => knobs::entries(),
            Kind::Fault => faults::entries(),
            Kind::Outcome => runs::outcomes(),
            Kind::Judgement => runs::judgements(),
            Kind::Metric => runs::metrics(),
            Kind::Exit => exits::entries(),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing explained; `rollcall.explain/1` lists them as `entries`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Entry {
    /// What it is: `code`, `diagnostic`, `defect`, `verdict`, `knob`, `fault`, `outcome`, `judgement`,
    /// `metric` or `exit`.
    kind: Kind,
    /// Its stable id.
    id: String,
    /// What it means.
    meaning: String,
    /// What usually causes it.
    causes: Vec<String>,
    /// What repairs it; empty where there is nothing to repair.
    repair: String,
    /// Where that stands or was seen: RFCs, pages of the documentation, reports.
    source: Vec<String>,
    /// The messages that one code comes with, each with a cause of its own.
    variants: Vec<Variant>,
    /// More that is known of it.
    facts: Vec<Fact>,
}

/// Something that is known of what is explained.
#[derive(Clone, Debug, Serialize)]
struct Fact {
    /// What it is about.
    label: &'static str,
    /// What is known.
    text: String,
}

fn fact(label: &'static str, text: impl Into<String>) -> Fact {
    Fact { label, text: text.into() }
}

/// A message of a code.
#[derive(Clone, Debug, Serialize)]
struct Variant {
    /// The message as the service writes it.
    message: &'static str,
    /// What it comes from.
    cause: &'static str,
    /// What repairs it.
    repair: &'static str,
    /// Where it was seen.
    source: Vec<&'static str>,
}

impl Entry {
    fn new(kind: Kind, id: impl Into<String>, meaning: impl Into<String>) -> Self {
        Entry {
            kind,
            id: id.into(),
            meaning: meaning.into(),
            causes: Vec::new(),
            repair: String::new(),
            source: Vec::new(),
            variants: Vec::new(),
            facts: Vec::new(),
        }
    }

    /// Whether this is what was asked for: its id, one of its messages, or both as a device would see them.
    fn is(&self, asked: &str) -> bool {
        let bare = |text: &str| text.trim_matches('"').trim_end_matches('.').to_lowercase();
        let said = |text: &str| self.variants.iter().any(|v| bare(v.message) == bare(text));
        let both = || {
            let (id, message) = asked.split_once([' ', ':']).unwrap_or_default();
            self.id.eq_ignore_ascii_case(id) && said(message.trim())
        };
        let of_metric =
            || self.kind == Kind::Metric && asked.split_once('.').is_some_and(|(head, _)| head == self.id);
        self.id.eq_ignore_ascii_case(asked) || said(asked) || both() || of_metric()
    }

    /// Whether this is a knob that goes by this name elsewhere: in scenarios and papers, in one word.
    fn is_called(&self, asked: &str) -> bool {
        let alike = || self.id.replace('-', "").eq_ignore_ascii_case(&asked.replace(['-', '_'], ""));
        self.kind == Kind::Knob && (alike() || knobs::group(asked).contains(&self.id.as_str()))
    }

    /// Whether this is a code that begins so, that of the resource manager without its letters.
    fn begins(&self, digits: &str) -> bool {
        self.kind == Kind::Code && self.id.strip_prefix("IH").unwrap_or(&self.id).starts_with(digits)
    }
}

fn diagnostic(code: Code) -> Entry {
    Entry {
        causes: vec![code.cause().to_owned()],
        repair: code.fix().to_owned(),
        source: split(code.source()),
        facts: vec![fact("severity", format!("{} unless a case says otherwise", code.severity()))],
        ..Entry::new(Kind::Diagnostic, code.as_str(), code.meaning())
    }
}

fn defect(defect: Defect) -> Entry {
    let expected = match defect.expected() {
        Expected::Accept => "let in all the same".to_owned(),
        Expected::Disabled => "told that it is disabled".to_owned(),
        Expected::Refused(verdict) => format!("refused: {verdict}"),
        Expected::Proven if defect.proof().is_some_and(ProofKind::is_upload) => {
            "the upload is taken".to_owned()
        }
        Expected::NotProven if defect.proof().is_some_and(ProofKind::is_upload) => {
            "the upload is refused".to_owned()
        }
        Expected::Proven => "the proof is taken".to_owned(),
        Expected::NotProven => "the proof is refused".to_owned(),
    };
    let ours = if defect.is_known() { "" } else { "; what the service does is not known" };
    let mut facts = vec![fact("expected", format!("{expected}{ours}"))];
    facts.extend(defect.diagnostic().map(|code| fact("diagnostic", code)));
    let others = defect.others();
    let said =
        [("openssl", others.openssl), ("openssl level 2", others.openssl_level_2), ("webpki", others.webpki)];
    let word = |accepts| if accepts { "accepts" } else { "refuses" };
    let told: Vec<String> =
        said.iter().filter_map(|(who, accepts)| accepts.map(|a| format!("{who} {}", word(a)))).collect();
    if !told.is_empty() {
        facts.push(fact("others", told.join(", ")));
    }
    let of = |text: fn(Code) -> &'static str| defect.diagnostic().and_then(Code::named).map(text);
    Entry {
        causes: of(Code::cause).map(str::to_owned).into_iter().collect(),
        repair: defect.repair().to_owned(),
        source: of(Code::source).map(split).unwrap_or_default(),
        facts,
        ..Entry::new(Kind::Defect, defect.id(), sentence(defect.explanation()))
    }
}

/// A phrase as a sentence.
fn sentence(phrase: &str) -> String {
    let mut letters = phrase.chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}

fn split(sources: &str) -> Vec<String> {
    sources.split("; ").map(str::to_owned).collect()
}

/// What was asked for.
enum Asked {
    /// Everything of one kind, or of all.
    List(Vec<Entry>),
    /// These, in full.
    Found(Vec<Entry>),
    /// Nothing; the nearest ids.
    Unknown(Vec<String>),
}

fn ask(words: &[String]) -> Asked {
    let everything = || Kind::ALL.into_iter().flat_map(Kind::entries);
    // Words in quotes are words.
    let words: Vec<&str> = words.iter().flat_map(|word| word.split_whitespace()).collect();
    let (kind, rest) = match &words[..] {
        [] => return Asked::List(everything().collect()),
        [first, rest @ ..] => match Kind::named(first) {
            Some(kind) if rest.is_empty() => return Asked::List(kind.entries()),
            Some(kind) => (Some(kind), rest),
            None => (None, &words[..]),
        },
    };
    let asked = rest.join(" ");
    let known: Vec<Entry> = everything().filter(|entry| kind.is_none_or(|kind| entry.kind == kind)).collect();
    let exact: Vec<Entry> = known.iter().filter(|entry| entry.is(&asked)).cloned().collect();
    if !exact.is_empty() {
        return Asked::Found(exact);
    }
    let called: Vec<Entry> = known.iter().filter(|entry| entry.is_called(&asked)).cloned().collect();
    if !called.is_empty() {
        return Asked::Found(called);
    }
    let beginning = asked.trim_end_matches(['…', '*', '.']);
    let digits = beginning.len() >= 3 && beginning.bytes().all(|b| b.is_ascii_digit());
    let begun: Vec<Entry> = known.iter().filter(|e| digits && e.begins(beginning)).cloned().collect();
    if begun.is_empty() { Asked::Unknown(nearest(&asked, &known)) } else { Asked::Found(begun) }
}

/// The three ids that need the fewest keystrokes to get to from `asked`.
fn nearest(asked: &str, known: &[Entry]) -> Vec<String> {
    let asked = asked.to_lowercase();
    let mut ids: Vec<&str> = known.iter().map(|entry| entry.id.as_str()).collect();
    ids.sort_by_key(|id| (strsim::damerau_levenshtein(&asked, &id.to_lowercase()), *id));
    ids.dedup();
    ids.into_iter().take(3).map(str::to_owned).collect()
}

/// `rollcall.explain/1`.
#[derive(Serialize)]
struct Document<'a> {
    /// `rollcall.explain/1`.
    schema: &'static str,
    /// What was asked for, or everything that can be.
    entries: &'a [Entry],
}

/// Explains, or lists what can be explained.
pub fn run(args: &ExplainArgs, output: Output) -> Result<Exit, Failure> {
    let output = Output { json: output.json || args.json, ..output };
    let paint = Paint::for_stdout();
    let entries = match ask(&args.id) {
        Asked::List(entries) => {
            list(&entries, paint, output);
            entries
        }
        Asked::Found(entries) => {
            let texts: Vec<String> = entries.iter().map(|entry| told(entry, paint)).collect();
            output.line(texts.join("\n\n"));
            entries
        }
        Asked::Unknown(near) => {
            let asked = args.id.join(" ");
            return Err(Failure::usage(format!("cannot explain `{asked}`: there is no such id")).advise(
                format!(
                    "Nearest are {}; `rollcall explain` lists all.",
                    near.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ")
                ),
            ));
        }
    };
    output.json(&Document { schema: "rollcall.explain/1", entries: &entries });
    Ok(Exit::Good)
}

fn list(entries: &[Entry], paint: Paint, output: Output) {
    let several = entries.windows(2).any(|pair| pair[0].kind != pair[1].kind);
    let wide = entries.iter().map(|entry| entry.id.chars().count()).max().unwrap_or_default();
    let mut before = None;
    for entry in entries {
        if several && before.replace(entry.kind) != Some(entry.kind) {
            output.line(paint.say(Tone::Strong, format_args!("{}s:", entry.kind)));
        }
        output.line(wrapped(&format!("  {:<wide$}  ", entry.id), &entry.meaning));
    }
}

fn told(entry: &Entry, paint: Paint) -> String {
    let Entry { kind, id, meaning, causes, repair, source, variants, facts } = entry;
    let mut lines = vec![format!("{} ({kind})", paint.say(Tone::Strong, id)), wrapped("  ", meaning)];
    let mut labelled = |label: &str, text: &str| {
        if !text.is_empty() {
            lines.push(wrapped(&format!("  {:<13}", format!("{label}:")), text));
        }
    };
    for Fact { label, text } in facts {
        labelled(label, text);
    }
    for cause in causes {
        labelled("cause", cause);
    }
    labelled("repair", repair);
    labelled("source", &source.join("; "));
    for Variant { message, cause, repair, source } in variants {
        lines.push(format!("  \"{}\"", paint.say(Tone::Strong, message)));
        for (label, text) in [("cause", *cause), ("repair", *repair), ("source", &source.join("; "))] {
            lines.push(wrapped(&format!("    {:<11}", format!("{label}:")), text));
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(words: &[&str]) -> Vec<(Kind, String)> {
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        match ask(&words) {
            Asked::Found(entries) => entries.into_iter().map(|entry| (entry.kind, entry.id)).collect(),
            Asked::List(_) | Asked::Unknown(_) => Vec::new(),
        }
    }

    #[test]
    fn an_id_is_found_whatever_its_kind_and_case_and_one_of_several_kinds_in_each() {
        for (words, kinds) in [
            (&["401002"][..], &[Kind::Code][..]),
            (&["ih400053"], &[Kind::Code]),
            (&["CA certificate not found"], &[Kind::Code]),
            (&["CA", "certificate", "not", "found."], &[Kind::Code]),
            (&["no-verified-ca"], &[Kind::Diagnostic, Kind::Verdict]),
            (&["verdict", "no-verified-ca"], &[Kind::Verdict]),
            (&["cn-mismatch"], &[Kind::Diagnostic, Kind::Defect, Kind::Verdict]),
            (&["leaf-ca"], &[Kind::Knob]),
            (&["code-lifetime"], &[Kind::Knob]),
            (&["half-open"], &[Kind::Fault]),
            (&["shed"], &[Kind::Outcome]),
            (&["timed_out"], &[Kind::Outcome]),
            (&["interrupted"], &[Kind::Outcome, Kind::Judgement]),
            (&["generator-limited"], &[Kind::Judgement]),
            (&["response_time.p99"], &[Kind::Metric]),
            (&["outcome", "assigned"], &[Kind::Outcome]),
            (&["3"], &[Kind::Exit]),
            (&["exit", "3"], &[Kind::Exit]),
            (&["exit 3"], &[Kind::Exit]),
            (&["401002 CA certificate not found."], &[Kind::Code]),
            (&["401002 \"CA certificate not found.\""], &[Kind::Code]),
            (&["reject"], &[Kind::Verdict]),
            (&["accept"], &[Kind::Verdict]),
            (&["leafV1"], &[Kind::Knob]),
            (&["anchorChecks"], &[Kind::Knob]),
            (&["verifiedCaMustBePresented"], &[Kind::Knob]),
            (&["individualChain"], &[Kind::Knob]),
            (&["individualFallThrough"], &[Kind::Knob]),
            (&["codeLifetime"], &[Kind::Knob]),
            (&["cnRules"], &[Kind::Knob, Kind::Knob]),
            (&["algorithms"], &[Kind::Knob; 4]),
            (&["limits"], &[Kind::Knob, Kind::Knob]),
        ] {
            let kinds_found: Vec<Kind> = found(words).into_iter().map(|(kind, _)| kind).collect();
            assert_eq!(kinds_found, kinds, "{words:?}");
        }
    }

    #[test]
    fn a_status_stands_for_its_codes() {
        let ids: Vec<String> = found(&["401"]).into_iter().map(|(_, id)| id).collect();
        assert_eq!(ids, ["401000", "401001", "401002", "401003", "IH401001"]);
        let ids: Vec<String> = found(&["412…"]).into_iter().map(|(_, id)| id).collect();
        assert_eq!(ids, ["412001", "IH412001"]);
    }

    #[test]
    fn every_kind_has_its_list() {
        for kind in Kind::ALL {
            let plural = [format!("{kind}s")];
            let Asked::List(entries) = ask(&plural) else { panic!("{kind}") };
            assert!(entries.iter().all(|entry| entry.kind == kind) && !entries.is_empty());
        }
    }

    #[test]
    fn a_typo_gets_the_nearest_ids() {
        for (typo, meant) in
            [("chain-incomplet", "chain-incomplete"), ("401022", "401002"), ("leaf-cx", "leaf-ca")]
        {
            let Asked::Unknown(near) = ask(&[typo.to_owned()]) else { panic!("{typo}") };
            assert!(near.len() == 3 && near.iter().any(|id| id == meant), "{typo}: {near:?}");
        }
    }

    #[test]
    fn everything_says_what_it_means_and_where_that_stands() {
        for entry in Kind::ALL.into_iter().flat_map(Kind::entries) {
            assert!(entry.meaning.ends_with('.'), "{entry:?}");
            let needs_source = entry.kind != Kind::Defect;
            assert!(!needs_source || entry.source.iter().all(|s| !s.is_empty()) && !entry.source.is_empty());
        }
    }
}
