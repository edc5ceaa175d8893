//! One examined chain beside the instance that it was examined against: what each certificate on its way up is, and
//! what the verdict means in a sentence.

use super::text::hex;
use crate::check::Examined;
use crate::cli::explain::seen;
use crate::cli::read_file;
use crate::exit::Exit;
use sim_identity::certificate::NameMatch;
use sim_identity::preflight::{CaState, Instance, Question, Role};
use sim_identity::verdict::Verdict;
use sim_identity::{Certificate, pem};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Certificates that are shown above a leaf where the judge found no path. `ours:` as many as its longest.
const LONGEST_WALK: usize = 12;

/// One chain, and all that it was judged by.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) examined: &'a Examined,
    pub(super) instance: &'a Instance,
    pub(super) question: &'a Question,
}

/// How the check ends: the first line, the document and the exit status say the same.
#[derive(Clone, Debug)]
pub(super) struct Ending {
    pub(super) exit: Exit,
    /// Where something else than the verdict refuses: its name, and why.
    pub(super) overruled: Option<(&'static str, String)>,
}

impl Ending {
    /// `accept` or `reject`.
    pub(super) fn word(&self) -> &'static str {
        word(self.exit == Exit::Good)
    }
}

/// A certificate on the way up.
pub(super) struct Element {
    pub(super) certificate: Arc<Certificate>,
    /// Its place among what the device sends; none for one that only the service holds.
    pub(super) sent: Option<usize>,
    pub(super) role: Role,
    pub(super) state: State,
    /// Groups on this very certificate, and whether each is enabled.
    pub(super) groups: Vec<(String, bool)>,
}

/// What the instance knows of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing.
    Unknown,
    /// It is uploaded, under this name where that is known.
    Uploaded(CaState, Option<String>),
    /// Another certificate of its name and key is verified.
    VerifiedAs(Option<String>),
}

impl State {
    pub(super) fn is_verified(&self) -> bool {
        matches!(self, State::Uploaded(CaState::Verified, _) | State::VerifiedAs(_))
    }

    /// A word for documents.
    pub(super) const fn as_str(&self) -> &'static str {
        match self {
            State::Unknown => "unknown",
            State::Uploaded(CaState::Verified, _) => "verified",
            State::Uploaded(CaState::Unverified, _) => "unverified",
            State::Uploaded(CaState::CodePending, _) => "code-pending",
            State::VerifiedAs(_) => "verified-by-name-and-key",
        }
    }
}

impl View<'_> {
    pub(super) fn verdict(&self) -> &Verdict {
        &self.examined.examination.judgement.verdict
    }

    /// What to call the device.
    pub(super) fn device(&self) -> String {
        let leaf = self.examined.presented.certificates.first();
        match (&self.examined.examination.registration_id, leaf) {
            (Some(id), _) => id.as_str().to_owned(),
            (None, Some(leaf)) => leaf.display_name(),
            (None, None) => self.examined.label.clone(),
        }
    }

    /// The way up, leaf first: the path that decided, or where there is none, as far as signatures lead.
    pub(super) fn path(&self) -> Vec<Element> {
        let judged = &self.examined.examination.judgement.path;
        let path = if judged.is_empty() { self.walk() } else { judged.clone() };
        path.into_iter().map(|certificate| self.element(certificate)).collect()
    }

    /// Whether the path is the one that decided, rather than as far as signatures lead.
    pub(super) fn path_is_judged(&self) -> bool {
        !self.examined.examination.judgement.path.is_empty()
    }

    fn walk(&self) -> Vec<Arc<Certificate>> {
        let sent = &self.examined.presented.certificates;
        let held = self.instance.cas.iter().map(|ca| &ca.certificate);
        let pool: Vec<&Arc<Certificate>> = sent.iter().skip(1).chain(held).take(200).collect();
        let mut path: Vec<Arc<Certificate>> = sent.first().cloned().into_iter().collect();
        while let Some(last) = path.last().filter(|last| !last.is_self_issued() && path.len() < LONGEST_WALK)
        {
            let issued = |c: &&&Arc<Certificate>| {
                last.names_as_issuer(c) != NameMatch::Different && last.verify_signed_by(c).is_ok()
            };
            let Some(issuer) = pool.iter().find(issued) else { break };
            if path.iter().any(|known| known.sha256() == issuer.sha256()) {
                break;
            }
            path.push(Arc::clone(issuer));
        }
        path
    }

    fn element(&self, certificate: Arc<Certificate>) -> Element {
        let presented = &self.examined.presented.certificates;
        let sent = presented.iter().position(|c| c.sha256() == certificate.sha256());
        let role = match sent {
            Some(0) => Role::Leaf,
            _ if certificate.is_self_issued() => Role::Root,
            _ => Role::Intermediate,
        };
        let groups = self.instance.groups.iter().filter(|group| {
            let slots = [&group.primary, &group.secondary];
            slots.into_iter().flatten().any(|slot| self.instance.held(slot) == Some(*certificate.sha256()))
        });
        let groups = groups.map(|group| (group.id.as_str().to_owned(), group.enabled)).collect();
        Element { sent, role, state: self.state(&certificate), groups, certificate }
    }

    fn state(&self, certificate: &Certificate) -> State {
        let cas = &self.instance.cas;
        let same = |c: &Certificate| c.sha256() == certificate.sha256();
        // One certificate may be uploaded under several names; one of them verified is enough.
        let best = cas.iter().filter(|ca| same(&ca.certificate)).min_by_key(|ca| match ca.state {
            CaState::Verified => 0,
            CaState::CodePending => 1,
            CaState::Unverified => 2,
        });
        if let Some(ca) = best {
            return State::Uploaded(ca.state, ca.name.clone());
        }
        let alike = |c: &Certificate| {
            c.subject_der() == certificate.subject_der() && c.public_key() == certificate.public_key()
        };
        let other = cas.iter().find(|ca| ca.state == CaState::Verified && alike(&ca.certificate));
        other.map_or(State::Unknown, |ca| State::VerifiedAs(ca.name.clone()))
    }

    /// The name and the key id of the certificate that is missing at the top of the path.
    pub(super) fn missing_issuer(&self, path: &[Element]) -> Option<String> {
        let judged = self.path_is_judged();
        let top = &path.last().filter(|top| !judged && !top.certificate.is_self_issued())?.certificate;
        let key = top.authority_key_id().map(|id| format!(", key id {}", hex(id)));
        Some(format!("`{}`{}", top.issuer(), key.unwrap_or_default()))
    }

    /// The certificate whose group or CA decided, on the path.
    pub(super) fn deciding(&self, path: &[Element]) -> Option<String> {
        let group = match self.verdict() {
            Verdict::Accept(group) | Verdict::Disabled(group) => group.as_str(),
            Verdict::RollsUp => {
                return path.iter().skip(1).find(|e| e.state.is_verified()).map(|e| e.certificate.subject());
            }
            _ => return None,
        };
        let holds = |e: &&Element| e.groups.iter().any(|(name, _)| name == group);
        path.iter().skip(1).find(holds).map(|e| e.certificate.subject())
    }

    /// What the verdict means.
    pub(super) fn sentence(&self, path: &[Element]) -> String {
        let device = self.device();
        let deciding = self.deciding(path);
        let nearest = |group: &str| match &deciding {
            Some(subject) => {
                format!("its certificate `{subject}` is the nearest above the leaf that an entry holds")
            }
            None => format!("`{group}` is the nearest entry above the leaf"),
        };
        if self.examined.examination.key_is_wrong() {
            return format!(
                "`{device}` cannot connect: its private key does not belong to its certificate, and the handshake \
                 fails before any chain is judged."
            );
        }
        if let Some(change) =
            self.examined.examination.fails_in_window().filter(|_| self.verdict().is_admitted())
        {
            return format!(
                "`{device}` is let in as of {}, and no longer before the rollout ends: from {} on it is refused ({}), \
                 because {}.",
                date(self.question.at),
                date(change.at),
                change.becomes.name(),
                change.because
            );
        }
        match self.verdict() {
            Verdict::Accept(group) => {
                let above = self.shadowed(path, group.as_str());
                format!("`{device}` is let in by group `{group}`: {}{above}.", nearest(group.as_str()))
            }
            Verdict::AcceptIndividual => format!(
                "`{device}` is let in by its individual enrollment, which counts for more than any group."
            ),
            Verdict::RollsUp => {
                let ca = deciding.unwrap_or_else(|| "a CA".to_owned());
                format!(
                    "The chain of `{device}` rolls up to `{ca}`, which is verified; no group was given, so which \
                     would take it was not asked."
                )
            }
            Verdict::Disabled(group) => format!(
                "`{device}` is kept out by group `{group}`, which is disabled: {}. The device would see {}.",
                nearest(group.as_str()),
                seen(self.verdict())
            ),
            Verdict::DisabledIndividual => format!(
                "`{device}` is kept out by its individual enrollment, which is disabled. The device would see {}.",
                seen(self.verdict())
            ),
            refused => format!(
                "`{device}` is refused: {} ({}). The device would see {}.",
                because(refused),
                refused.name(),
                seen(refused)
            ),
        }
    }

    /// Groups further up, which do not count.
    fn shadowed(&self, path: &[Element], group: &str) -> String {
        let further = path.iter().skip(1).flat_map(|e| &e.groups).filter(|(name, _)| name != group);
        let names: Vec<String> = further.map(|(name, _)| format!("`{name}`")).collect();
        match names.as_slice() {
            [] => String::new(),
            [one] => format!(", so {one} further up does not count"),
            several => format!(", so {} further up do not count", several.join(", ")),
        }
    }
}

/// Why a device is refused, after "because".
fn because(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::InvalidCertificate => {
            "its leaf cannot be used, or each path breaks at a certificate that may not stand there"
        }
        Verdict::IndividualStale => "its individual enrollment holds another certificate",
        Verdict::IndividualByKey => "its individual enrollment asks for a key",
        Verdict::NoVerifiedCa => "no path from its leaf leads to a verified CA",
        Verdict::NoEntry => "its chain is trusted, and no enrollment holds a certificate of it",
        Verdict::LeafIsEntryCertificate => "it presents the certificate of a group as its own",
        Verdict::GroupAboveVerified => "the only group on its path is above the highest verified CA",
        Verdict::CnMismatch => "the CN of its leaf is not the registration id",
        Verdict::CnMissing => "its leaf has no CN that can be read",
        Verdict::Accept(_)
        | Verdict::AcceptIndividual
        | Verdict::RollsUp
        | Verdict::Disabled(_)
        | Verdict::DisabledIndividual => "",
    }
}

/// `accept` or `reject`.
pub(super) const fn word(accepted: bool) -> &'static str {
    if accepted { "accept" } else { "reject" }
}

/// A moment in RFC 3339 form.
pub(super) fn date(moment: i64) -> String {
    let known = time::OffsetDateTime::from_unix_timestamp(moment).ok();
    let form = &time::format_description::well_known::Rfc3339;
    known.and_then(|m| m.format(form).ok()).unwrap_or_else(|| format!("{moment} s after 1970"))
}

/// The command that asks OpenSSL the same, as far as it can be asked, or why it cannot; `verified` and `chains` are the
/// files given. Without -partial_chain it refuses every chain whose verified CA is not self-signed.
pub(super) fn openssl(view: View<'_>, verified: &[PathBuf], chains: &[PathBuf]) -> Result<String, String> {
    let purpose = match view.question.purpose {
        sim_identity::preflight::Purpose::Client => "sslclient",
        sim_identity::preflight::Purpose::Any => "any",
    };
    let trusted: Vec<String> = match verified {
        [] => vec!["VERIFIED.pem".to_owned()],
        files => files.iter().map(|path| openssl_file(path)).collect::<Result<_, _>>()?,
    };
    let sent = chains.iter().map(|path| openssl_file(path)).collect::<Result<Vec<_>, _>>()?;
    let mut words =
        vec![format!("openssl verify -partial_chain -purpose {purpose} -attime {}", view.question.at)];
    words.extend(trusted.iter().map(|file| format!("-trusted {file}")));
    words.extend(sent.iter().map(|file| format!("-untrusted {file}")));
    words.extend(sent.first().cloned());
    Ok(words.join(" "))
}

/// A file that `openssl verify` reads by itself, as a word of the shell, or why it does not.
fn openssl_file(path: &Path) -> Result<String, String> {
    if path.as_os_str() == "-" {
        return Err("the chain came by standard input, which cannot be read twice".to_owned());
    }
    let file = path.display().to_string();
    let bytes = read_file(path, "file").map_err(|failure| failure.message)?;
    let is_pem = pem::is_pem(&bytes);
    let plain = match is_pem {
        true => pem::scan(&String::from_utf8_lossy(&bytes)).blocks.iter().flatten().any(|block| {
            // Those of PKCS#7 are passed over by it.
            block.label.ends_with("CERTIFICATE")
        }),
        false => Certificate::from_der(bytes.as_slice()).is_ok(),
    };
    if !plain {
        return Err(format!(
            "{file} is neither plain PEM nor one certificate in DER; --fix-to, or `openssl pkcs7 -print_certs` and \
             `openssl pkcs12 -nokeys`, make PEM of it"
        ));
    }
    // What begins with a dash would be taken for a flag.
    let file = if file.starts_with('-') { format!("./{file}") } else { file };
    Ok(shell_word(&file))
}

/// A word as a shell takes it for one.
fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Text of a stranger's as a terminal may see it: no control characters, and none that turn the writing direction.
pub(super) fn shown(text: &str) -> String {
    let turns =
        |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if c.is_control() || turns(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_a_blank_or_a_quote_is_one_word_of_the_shell() {
        for (path, word) in [("a/b.pem", "a/b.pem"), ("a b", "'a b'"), ("it's", r"'it'\''s'"), ("", "''")] {
            assert_eq!(shell_word(path), word);
        }
    }

    #[test]
    fn what_could_move_the_cursor_is_not_shown() {
        assert_eq!(shown("a\u{1b}[2Jb\u{202e}c"), "a\u{fffd}[2Jb\u{fffd}c");
    }
}
