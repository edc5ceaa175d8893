//! The findings of one examination: one for each code and certificate, the worst first.

use super::{About, Code, Finding, Severity};
use std::cmp::Reverse;

/// What precedes the digest of a certificate of which nothing else is known, in evidence.
pub(super) const SHA256: &str = "SHA-256 ";

/// Collects findings.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    /// Starts with what was found already.
    pub(super) fn starting_with(known: Vec<Finding>) -> Self {
        Findings(known)
    }

    /// Adds one, unless the same is known of the same certificate; the worse of the two stays.
    pub(super) fn add(&mut self, finding: Finding) {
        let sha256 = |about: &Option<About>| about.as_ref().map(|a| a.sha256.clone());
        let mine = sha256(&finding.about);
        match self.0.iter_mut().find(|known| known.code == finding.code && sha256(&known.about) == mine) {
            Some(known) if known.severity < finding.severity => *known = finding,
            Some(_) => {}
            None => self.0.push(finding),
        }
    }

    /// Whether there is a finding of this code, about whatever.
    pub(super) fn holds(&self, code: Code) -> bool {
        self.0.iter().any(|known| known.code == code)
    }

    /// The worst first, then in the order of the certificates; what is about none of those presented comes last.
    pub(super) fn sorted(mut self) -> Vec<Finding> {
        self.0.sort_by_key(|f| {
            let place = f.about.as_ref().map(|a| a.index.unwrap_or(usize::MAX - 1));
            (Reverse(f.severity), place.unwrap_or(usize::MAX), f.code)
        });
        self.0
    }
}

impl Finding {
    /// A finding of the severity that its code has by itself, about no certificate in particular.
    pub fn new(code: Code, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Finding {
            code,
            severity: code.severity(),
            about: None,
            message: message.into(),
            fix: fix.into(),
            evidence: Vec::new(),
        }
    }

    /// Whether another finding is of the same code and about the same certificate, or both about none. How bad they
    /// are and how they put it does not matter.
    pub fn is_same_as(&self, other: &Finding) -> bool {
        self.code == other.code && self.certificate() == other.certificate()
    }

    /// SHA-256 of the certificate that it is about; one that is known by nothing else is named in the evidence.
    fn certificate(&self) -> Option<&str> {
        let named = || self.evidence.iter().find_map(|e| e.strip_prefix(SHA256));
        self.about.as_ref().map(|about| about.sha256.as_str()).or_else(named)
    }

    /// The same with another severity.
    #[must_use]
    pub fn at(self, severity: Severity) -> Self {
        Finding { severity, ..self }
    }

    /// The same about a certificate.
    #[must_use]
    pub fn about(self, about: About) -> Self {
        Finding { about: Some(about), ..self }
    }

    /// The same with what it is seen by.
    #[must_use]
    pub fn seen_by(self, evidence: impl IntoIterator<Item = String>) -> Self {
        Finding { evidence: evidence.into_iter().collect(), ..self }
    }
}
