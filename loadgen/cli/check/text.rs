//! One chain for people to read: what the verdict means, the way up as a tree, dead ends, findings, what changes when.

use super::live::Canary;
use super::view::{Element, Ending, State, View, date, shown, word};
use crate::cli::prose::{Paint, Tone, hanging, wrapped};
use crate::exit::Exit;
use sim_identity::preflight::{Alternative, CaState, Change, Finding, Role, Severity};
use sim_identity::verdict::{DeadEnd, Verdict};

/// Dead ends that are told; a hostile chain has hundreds.
const MOST_DEAD_ENDS: usize = 8;

/// What there is to tell beside the examination itself.
pub(super) struct Beside<'a> {
    /// Findings about the instance, whatever the chain.
    pub(super) instance: &'a [Finding],
    /// The equivalent command of OpenSSL, or why there is none.
    pub(super) openssl: Result<String, String>,
    /// Whether the verified CAs of that command have to be put into a file first.
    pub(super) openssl_needs_file: bool,
    /// What became of --fix-to.
    pub(super) fixed: Option<String>,
    /// What one real registration came to.
    pub(super) canary: Option<&'a Canary>,
    /// How the check ends.
    pub(super) ending: &'a Ending,
}

/// The whole text; its first line is the verdict.
pub(super) fn one(view: View<'_>, beside: &Beside<'_>, paint: Paint) -> String {
    let examination = &view.examined.examination;
    let accepted = examination.is_accepted();
    let path = view.path();
    let mut parts = vec![first_line(beside.ending, paint)];
    parts.extend(beside.ending.overruled.as_ref().map(|(_, because)| wrapped("", &shown(because))));
    parts.push(wrapped("", &shown(&view.sentence(&path))));
    let mut parts = vec![parts.join("\n")];
    let heading =
        if view.path_is_judged() { "path, root on top" } else { "as far as signatures lead, root on top" };
    parts.push(section(heading, &tree(view, &path, paint), paint));
    parts.push(section("dead ends", &dead_ends(&examination.judgement.trail), paint));
    parts.push(findings(&examination.findings, paint));
    parts.push(section("about the instance", &[findings(beside.instance, paint)], paint));
    parts.push(section(
        "next change",
        &examination.next_change.iter().map(change).collect::<Vec<_>>(),
        paint,
    ));
    let unknown: Vec<String> = examination.alternatives.iter().map(|a| alternative(a, accepted)).collect();
    parts.push(section("not known of the service", &unknown, paint));
    parts.push(section("one real registration", &beside.canary.map(told).unwrap_or_default(), paint));
    parts.push(section("corrected chain", &corrected(view, beside), paint));
    let mut openssl = match &beside.openssl {
        Ok(command) => vec![format!("  {}", shown(command))],
        Err(reason) => vec![wrapped("  cannot be asked: ", &shown(reason))],
    };
    if beside.openssl_needs_file && beside.openssl.is_ok() {
        openssl.push("  (VERIFIED.pem stands for a file with the verified CAs of the instance)".to_owned());
    }
    parts.push(section("the same question to OpenSSL", &openssl, paint));
    parts.retain(|part| !part.is_empty());
    parts.join("\n\n")
}

/// The word, alone.
pub(super) fn first_line(ending: &Ending, paint: Paint) -> String {
    let word = ending.word();
    paint.say(if ending.exit == Exit::Good { Tone::Good } else { Tone::Bad }, word)
}

fn section(heading: &str, lines: &[String], paint: Paint) -> String {
    if lines.iter().all(String::is_empty) {
        return String::new();
    }
    format!("{}\n{}", paint.say(Tone::Strong, format_args!("{heading}:")), lines.join("\n"))
}

/// The way up as a tree, the top first.
fn tree(view: View<'_>, path: &[Element], paint: Paint) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(issuer) = view.missing_issuer(path) {
        lines.push(format!("  {} {}", paint.say(Tone::Bad, "(missing)"), shown(&issuer)));
    }
    for element in path.iter().rev() {
        let depth = lines.len();
        let branch =
            if depth == 0 { "  ".to_owned() } else { format!("  {}└─ ", "   ".repeat(depth - 1)) };
        let marks: Vec<String> = marks(element, paint);
        lines.push(format!("{branch}{} {}", shown(&element.certificate.subject()), marks.join(" ")));
    }
    lines
}

fn marks(element: &Element, paint: Paint) -> Vec<String> {
    let mut marks = Vec::new();
    let called =
        |name: &Option<String>| name.as_ref().map(|n| format!(" as {}", shown(n))).unwrap_or_default();
    match &element.state {
        State::Unknown => {}
        State::Uploaded(CaState::Verified, name) => {
            marks.push(paint.say(Tone::Good, format_args!("[verified{}]", called(name))));
        }
        State::Uploaded(CaState::Unverified, name) => {
            marks.push(paint.say(Tone::Bad, format_args!("[uploaded{}, not verified]", called(name))));
        }
        State::Uploaded(CaState::CodePending, name) => {
            marks.push(paint.say(Tone::Bad, format_args!("[uploaded{}, code pending]", called(name))));
        }
        State::VerifiedAs(name) => {
            marks.push(paint.say(Tone::Good, format_args!("[verified{}, another edition]", called(name))));
        }
    }
    for (group, enabled) in &element.groups {
        marks.push(match enabled {
            true => paint.say(Tone::Good, format_args!("[group {group}]")),
            false => paint.say(Tone::Bad, format_args!("[group {group}, disabled]")),
        });
    }
    marks.push(match (element.sent, element.role) {
        (Some(_), Role::Leaf) => paint.say(Tone::Faint, "[device]"),
        (Some(index), _) => paint.say(Tone::Faint, format_args!("[sent as no. {}]", index + 1)),
        (None, _) => paint.say(Tone::Warn, "[held by the service, not sent]"),
    });
    marks
}

fn dead_ends(trail: &[DeadEnd]) -> Vec<String> {
    let mut lines: Vec<String> =
        trail.iter().take(MOST_DEAD_ENDS).map(|end| wrapped("  - ", &shown(&end.to_string()))).collect();
    if trail.len() > MOST_DEAD_ENDS {
        lines.push(format!("  and {} more", trail.len() - MOST_DEAD_ENDS));
    }
    lines
}

/// Findings in the order given, the worst first.
pub(super) fn findings(findings: &[Finding], paint: Paint) -> String {
    findings.iter().map(|f| finding(f, paint)).collect::<Vec<_>>().join("\n")
}

pub(super) const fn tone(severity: Severity) -> Tone {
    match severity {
        Severity::Error => Tone::Bad,
        Severity::Warning => Tone::Warn,
        Severity::Info => Tone::Faint,
    }
}

fn finding(finding: &Finding, paint: Paint) -> String {
    let Finding { code, severity, about, message, fix, evidence } = finding;
    let head = format!("{severity}[{code}]: ");
    // Wrapped as it is read, then painted: colours take no columns.
    let text = hanging(&head, 4, &shown(message));
    let mut lines = vec![text.replacen(&head, &paint.say(tone(*severity), &head), 1)];
    if let Some(about) = about {
        let place = about.index.map_or("held by the service".to_owned(), |i| format!("no. {}", i + 1));
        let text = format!("{} `{}`, {place}, serial {}", about.role, about.subject, about.serial);
        lines.push(wrapped("  at:   ", &shown(&text)));
    }
    if !fix.is_empty() {
        lines.push(wrapped("  fix:  ", &shown(fix)));
    }
    lines.extend(evidence.iter().map(|seen| wrapped("  seen: ", &shown(seen))));
    lines.join("\n")
}

fn change(change: &Change) -> String {
    let Change { at, becomes, because } = change;
    let becomes = decided(becomes);
    wrapped("  ", &shown(&format!("{}: {becomes}, because {because}", date(*at))))
}

fn alternative(other: &Alternative, accepted: bool) -> String {
    let Alternative { knob, value, verdict } = other;
    let then = match (accepted, verdict.is_admitted()) {
        (true, false) => format!("refused ({})", verdict.name()),
        (false, true) => "let in".to_owned(),
        _ => decided(verdict),
    };
    wrapped("  ", &format!("{then} with {knob}={value}: it is not known {}", knob.question()))
}

/// The word, and what is behind it.
fn decided(verdict: &Verdict) -> String {
    let behind = match verdict {
        Verdict::Accept(group) => format!("by group `{group}`"),
        Verdict::AcceptIndividual => "by the individual enrollment".to_owned(),
        other => format!("({})", other.name()),
    };
    format!("{} {behind}", word(verdict.is_admitted()))
}

fn told(canary: &Canary) -> Vec<String> {
    let agrees = if canary.agrees() { "as predicted" } else { "not as predicted" };
    vec![
        wrapped("  predicted: ", &canary.predicted),
        wrapped("  service:   ", &shown(&format!("{} ({agrees})", canary.said))),
    ]
}

fn corrected(view: View<'_>, beside: &Beside<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(repair) = &view.examined.examination.repair {
        lines.extend(repair.steps.iter().map(|step| wrapped("  - ", &shown(step))));
        lines.push(format!("  verdict on it: {}", decided(&repair.verdict)));
        if beside.fixed.is_none() {
            lines.push("  --fix-to FILE writes it".to_owned());
        }
    }
    lines.extend(beside.fixed.as_ref().map(|text| wrapped("  ", &shown(text))));
    lines
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Examined;
    use sim_identity::preflight::{
        Code, DEFAULT_MARGIN, Examination, Instance, Presented, Purpose, Question,
    };
    use sim_identity::verdict::{Judgement, Knob, Rules};

    fn told(verdict: Verdict, findings: Vec<Finding>, alternatives: Vec<Alternative>) -> String {
        let examination = Examination {
            judgement: Judgement::plain(verdict),
            registration_id: None,
            findings,
            next_change: None,
            window_ends_badly: None,
            alternatives,
            repair: None,
            missing: None,
        };
        let examined = Examined { label: "dev.pem".into(), presented: Presented::default(), examination };
        let question = Question {
            registration_id: None,
            at: 0,
            window: None,
            margin: DEFAULT_MARGIN,
            purpose: Purpose::Client,
            constrained: false,
            rules: Rules::default(),
        };
        let exit = if examined.examination.is_accepted() { Exit::Good } else { Exit::Refused };
        let beside = Beside {
            instance: &[],
            openssl: Ok("openssl verify".into()),
            openssl_needs_file: false,
            fixed: None,
            canary: None,
            ending: &Ending { exit, overruled: None },
        };
        let view = View { examined: &examined, instance: &Instance::default(), question: &question };
        one(view, &beside, Paint::PLAIN)
    }

    #[test]
    fn the_verdict_stands_alone_on_the_first_line() {
        for (verdict, word) in [(Verdict::AcceptIndividual, "accept"), (Verdict::NoVerifiedCa, "reject")] {
            assert_eq!(told(verdict, Vec::new(), Vec::new()).lines().next(), Some(word));
        }
    }

    #[test]
    fn a_refusal_says_what_the_device_would_see() {
        let text = told(Verdict::NoVerifiedCa, Vec::new(), Vec::new());
        assert!(text.contains("401002 \"CA certificate not found.\""), "{text}");
    }

    #[test]
    fn a_strangers_name_cannot_move_the_cursor() {
        let finding = Finding::new(Code::Expired, "`CN=\u{1b}[2J` has expired", "renew it");
        let text = told(Verdict::InvalidCertificate, vec![finding], Vec::new());
        assert!(text.contains("error[expired]: ") && !text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn what_is_not_known_says_with_which_value_it_would_be_refused() {
        let other =
            Alternative { knob: Knob::LeafV1, value: "refuse".into(), verdict: Verdict::InvalidCertificate };
        let text = told(Verdict::AcceptIndividual, Vec::new(), vec![other]);
        assert!(text.contains("refused (invalid-certificate) with leaf-v1=refuse"), "{text}");
    }
}
