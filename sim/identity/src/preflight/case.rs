//! One chain and one question, with what several kinds of findings need to know of them.

use super::words::{Names, quoted};
use super::{About, Instance, Presented, Purpose, Question, Role, words};
use crate::certificate::{Certificate, CommonName, NameMatch};
use crate::shown::hex;
use crate::signature::{Algorithms, SignatureFault};
use crate::verdict::{
    self, Asked, CnRule, Goal, Judgement, MAX_PRESENTED, Rules, SignatureMemo, Trust, Verdict,
};
use sim_protocol::RegistrationId;
use std::collections::HashMap;
use std::sync::Arc;

/// CAs that a line is followed up to where the judge found no path.
const LONGEST_LINE: usize = 16;
/// Candidates of one name that are tried while a line is followed.
const TRIED: usize = 4;

/// What is examined.
pub(super) struct Case<'a> {
    pub(super) question: &'a Question,
    pub(super) instance: &'a Instance,
    pub(super) trust: &'a Trust,
    memo: &'a SignatureMemo<'a>,
    /// The question's rules; extended key usage is left aside where its purpose says so.
    pub(super) rules: Rules,
    pub(super) goal: Goal,
    /// As many as are looked at.
    pub(super) presented: &'a [Arc<Certificate>],
    /// How many were presented beyond that.
    pub(super) ignored: usize,
    pub(super) key_matches: Option<bool>,
    /// The device's certificate, and its place among those presented: 0 as it should be.
    pub(super) leaf: &'a Arc<Certificate>,
    pub(super) leaf_index: usize,
    /// The verdict on what is presented.
    pub(super) judgement: Judgement,
    /// What is judged of the chain when the leaf stands first and its name is as it should be.
    pub(super) chain: Judgement,
    /// The path that decided; where there is none, the issuers that signed, one above the other.
    pub(super) line: Vec<Arc<Certificate>>,
    /// The place on the line of the CA up to which it is needed: the nearest verified one at or above the one whose
    /// enrollment decides. None where there is no such.
    pub(super) needed: Option<usize>,
    /// What a path from the leaf could use, going by names: presented or verified, the leaf first.
    pub(super) related: Vec<Arc<Certificate>>,
    pub(super) names: Names,
}

impl<'a> Case<'a> {
    /// None where nothing is presented.
    pub(super) fn new(
        presented: &'a Presented,
        question: &'a Question,
        instance: &'a Instance,
        trust: &'a Trust,
        memo: &'a SignatureMemo<'a>,
    ) -> Option<Self> {
        let goal = if instance.has_enrollments() { Goal::Entry } else { Goal::RollUp };
        let mut rules = question.rules;
        rules.extended_key_usage &= goal == Goal::Entry || question.purpose == Purpose::Client;
        let all = &presented.certificates;
        let looked_at = &all[..all.len().min(MAX_PRESENTED + 1)];
        let leaf_index = leaf_index(looked_at);
        let leaf = looked_at.get(leaf_index)?;
        let mut case = Case {
            question,
            instance,
            trust,
            memo,
            rules,
            goal,
            presented: looked_at,
            ignored: all.len() - looked_at.len(),
            key_matches: presented.key_matches,
            leaf,
            leaf_index,
            judgement: Judgement::plain(Verdict::InvalidCertificate),
            chain: Judgement::plain(Verdict::InvalidCertificate),
            line: Vec::new(),
            needed: None,
            related: Vec::new(),
            names: Names::default(),
        };
        case.judgement = case.judge(looked_at, question.at, &rules);
        case.chain = case.judge_chain();
        case.related = related(leaf, looked_at, &trust.verified);
        case.line = case.follow();
        case.needed = case.needed_of(&case.line);
        Some(case)
    }

    /// Judges a chain as the question asks, at a moment and by rules of its own.
    pub(super) fn judge(&self, chain: &[Arc<Certificate>], now: i64, rules: &Rules) -> Judgement {
        let Some(leaf) = chain.first() else { return Judgement::plain(Verdict::InvalidCertificate) };
        let asked = Asked { registration_id: None, now, rules, goal: self.goal };
        if self.goal == Goal::RollUp {
            return verdict::judge(chain, &asked, self.trust, self.memo);
        }
        match self.registration_id(leaf, rules) {
            Ok(id) => {
                let asked = Asked { registration_id: Some(&id), ..asked };
                let individual = self.instance.individual(&id);
                verdict::admit(chain, &asked, individual.as_ref(), self.trust, self.memo)
            }
            Err(verdict) => Judgement::plain(verdict),
        }
    }

    /// The verdict on the chain alone, its name and the place of its leaf aside.
    fn judge_chain(&self) -> Judgement {
        let first = if self.leaf_index == 0 {
            self.judgement.clone()
        } else {
            self.judge(&self.leaf_first(), self.question.at, &self.rules)
        };
        if !matches!(first.verdict, Verdict::CnMismatch | Verdict::CnMissing) {
            return first;
        }
        let now = self.question.at;
        let asked = Asked { registration_id: None, now, rules: &self.rules, goal: self.goal };
        verdict::judge(&self.leaf_first(), &asked, self.trust, self.memo)
    }

    /// What is presented with the leaf in the first place.
    fn leaf_first(&self) -> Vec<Arc<Certificate>> {
        let others = self.presented.iter().enumerate().filter(|(i, _)| *i != self.leaf_index);
        std::iter::once(self.leaf).chain(others.map(|(_, c)| c)).cloned().collect()
    }

    /// Under which id a device with this leaf registers, or how it is refused for having none.
    pub(super) fn registration_id(
        &self,
        leaf: &Certificate,
        rules: &Rules,
    ) -> Result<RegistrationId, Verdict> {
        if let Some(id) = &self.question.registration_id {
            return Ok(id.clone());
        }
        let name = match (leaf.common_name(), rules.several_cns) {
            (CommonName::One(name), _) => Some(name),
            (CommonName::Several(names), CnRule::First) => names.first(),
            (CommonName::Several(names), CnRule::Last) => names.last(),
            (CommonName::Several(_), CnRule::Refuse) => return Err(Verdict::CnMismatch),
            (CommonName::Missing | CommonName::Undecodable, _) => None,
        };
        let name = name.ok_or(Verdict::CnMissing)?;
        RegistrationId::new(name.as_str()).map_err(|_| Verdict::CnMismatch)
    }

    /// Whether the chain is refused for what is on its paths, rather than for an enrollment.
    pub(super) fn chain_is_refused(&self) -> bool {
        matches!(self.chain.verdict, Verdict::InvalidCertificate | Verdict::NoVerifiedCa)
    }

    /// Whether an individual enrollment decides, so that no CA does.
    pub(super) fn is_individual(&self) -> bool {
        use Verdict::{AcceptIndividual, DisabledIndividual, IndividualByKey, IndividualStale};
        matches!(
            self.chain.verdict,
            AcceptIndividual | DisabledIndividual | IndividualByKey | IndividualStale
        )
    }

    pub(super) fn is_verified(&self, certificate: &Certificate) -> bool {
        self.trust.verified.iter().any(|v| v.sha256() == certificate.sha256())
    }

    pub(super) fn is_presented(&self, certificate: &Certificate) -> bool {
        self.presented.iter().any(|c| c.sha256() == certificate.sha256())
    }

    pub(super) fn is_related(&self, certificate: &Certificate) -> bool {
        self.related.iter().any(|c| c.sha256() == certificate.sha256())
    }

    /// The part of the line that counts: up to the CA up to which it is needed.
    pub(super) fn used(&self) -> &[Arc<Certificate>] {
        match self.needed {
            Some(needed) => &self.line[..=needed],
            None => &self.line,
        }
    }

    /// Up to where a path is needed.
    pub(super) fn needed_of(&self, path: &[Arc<Certificate>]) -> Option<usize> {
        let entry = (1..path.len()).find(|&i| self.is_entry(&path[i])).unwrap_or(1);
        (entry..path.len()).find(|&i| self.is_verified(&path[i]))
    }

    pub(super) fn is_entry(&self, certificate: &Certificate) -> bool {
        self.goal == Goal::Entry && self.trust.entries.iter().any(|e| e.sha256 == *certificate.sha256())
    }

    fn follow(&self) -> Vec<Arc<Certificate>> {
        let mut line = self.chain.path.clone();
        // Where the deciding group is above what was trusted, so is the rest of the line.
        if !line.is_empty() && self.chain.verdict != Verdict::GroupAboveVerified {
            return line;
        }
        if line.is_empty() {
            line.push(self.leaf.clone());
        }
        while line.len() < LONGEST_LINE
            && let Some(last) = line.last()
            && let Some(issuer) = self.signer_of(last, &line)
        {
            line.push(issuer);
        }
        line
    }

    /// Who signed a certificate, among those of the right name that are not on the line yet.
    fn signer_of(&self, child: &Certificate, line: &[Arc<Certificate>]) -> Option<Arc<Certificate>> {
        let named = |c: &&Arc<Certificate>| child.names_as_issuer(c) != NameMatch::Different;
        let fresh = |c: &&Arc<Certificate>| !line.iter().any(|l| l.sha256() == c.sha256());
        let mut found: Vec<&Arc<Certificate>> = self.related.iter().filter(fresh).filter(named).collect();
        found.sort_by_key(|c| !same_key_id(child, c));
        found.into_iter().take(TRIED).find(|c| may_have_signed(child, c)).cloned()
    }

    /// What a finding says of the certificate that it is about.
    pub(super) fn about(&self, certificate: &Certificate) -> About {
        About {
            index: self.presented.iter().position(|c| c.sha256() == certificate.sha256()),
            role: self.role(certificate),
            subject: self.names.subject(certificate),
            issuer: self.names.issuer(certificate),
            serial: words::digits(certificate.serial()),
            sha256: hex(certificate.sha256()),
        }
    }

    fn role(&self, certificate: &Certificate) -> Role {
        if certificate.sha256() == self.leaf.sha256() && !self.is_without_device() {
            Role::Leaf
        } else if !certificate.is_ca() && !self.is_related(certificate) {
            Role::Other
        } else if certificate.is_self_issued() {
            Role::Root
        } else {
            Role::Intermediate
        }
    }

    /// Whether no device's certificate was presented: the first is a CA's, and all others are CAs too. A device's
    /// certificate may wrongly say that it is a CA; it is taken for one if the device is asked for by its name, or
    /// if it issued nothing, the instance does not hold it, and it has a device's key or the looks of a device.
    pub(super) fn is_without_device(&self) -> bool {
        let first = self.leaf;
        let refused = !self.judgement.verdict.is_admitted() && !self.rules.leaf_ca;
        if !refused || !first.is_ca() || !self.presented.iter().all(|c| c.is_ca() || c.is_self_issued()) {
            return false;
        }
        let name = match first.common_name() {
            CommonName::One(name) => Some(name),
            CommonName::Missing | CommonName::Several(_) | CommonName::Undecodable => None,
        };
        let asked = self.question.registration_id.as_ref();
        if name.is_some_and(|name| asked.is_some_and(|id| id.matches(name))) {
            return false;
        }
        let held = self.is_entry(first) || self.instance.uploaded(first).is_some();
        let issued = |c: &Arc<Certificate>| {
            c.sha256() != first.sha256() && c.names_as_issuer(first) != NameMatch::Different
        };
        if held || self.presented.iter().any(issued) {
            return true;
        }
        let signs = first.key_usage().is_some_and(|u| u.key_cert_sign);
        let named = name.is_some_and(|name| RegistrationId::new(name.as_str()).is_ok());
        self.key_matches != Some(true) && (signs || !named)
    }

    /// A certificate's subject in a sentence.
    pub(super) fn name(&self, certificate: &Certificate) -> String {
        quoted(&self.names.subject(certificate))
    }

    /// The name of a certificate's issuer in a sentence.
    pub(super) fn issuer_name(&self, certificate: &Certificate) -> String {
        quoted(&self.names.issuer(certificate))
    }

    /// Subjects in a list.
    pub(super) fn list<'c>(&self, certificates: impl IntoIterator<Item = &'c Arc<Certificate>>) -> String {
        words::listed(&certificates.into_iter().map(|c| self.name(c)).collect::<Vec<_>>())
    }
}

/// Whether the key id that `child` gives its issuer is that of `issuer`.
pub(super) fn same_key_id(child: &Certificate, issuer: &Certificate) -> bool {
    matches!((child.authority_key_id(), issuer.subject_key_id()), (Some(a), Some(b)) if a == b)
}

/// Whether both name a key id and those differ.
pub(super) fn other_key_id(child: &Certificate, issuer: &Certificate) -> bool {
    matches!((child.authority_key_id(), issuer.subject_key_id()), (Some(a), Some(b)) if a != b)
}

/// Every algorithm that can be checked here, whether it is accepted or not.
const ANY: Algorithms = Algorithms { sha1: true, rsa1024: true, p521: true, ed25519: true };

/// Whether a signature is that of a key, or is of a kind that cannot be checked here.
pub(super) fn may_have_signed(child: &Certificate, issuer: &Certificate) -> bool {
    child.verify_signed_with(issuer, ANY) != Err(SignatureFault::Wrong)
}

/// Whether a signature was checked and is that of a key.
pub(super) fn has_signed(child: &Certificate, issuer: &Certificate) -> bool {
    child.verify_signed_with(issuer, ANY).is_ok()
}

/// The place of the device's certificate. The first one is taken for it, unless it is a CA from which another one
/// that is presented descends, which is no CA and issued none of the rest.
fn leaf_index(presented: &[Arc<Certificate>]) -> usize {
    if presented.first().is_none_or(|first| !first.is_ca()) {
        return 0;
    }
    let names: Vec<&[u8]> = presented.iter().map(|c| c.issuer_der()).collect();
    let issued_nothing = |c: &Certificate| !names.contains(&c.subject_der());
    let last = presented.iter().enumerate().skip(1).rev();
    let mut leaves = last.filter(|(_, c)| !c.is_ca() && !c.is_self_issued() && issued_nothing(c)).take(TRIED);
    let descends = |leaf: &Arc<Certificate>| {
        related(leaf, presented, &[]).iter().any(|c| c.sha256() == presented[0].sha256())
    };
    leaves.find(|(_, leaf)| descends(leaf)).map_or(0, |(index, _)| index)
}

/// What a path from the leaf could use, going by names alone, each certificate once; the leaf first.
pub(super) fn related(
    leaf: &Arc<Certificate>,
    presented: &[Arc<Certificate>],
    verified: &[Arc<Certificate>],
) -> Vec<Arc<Certificate>> {
    let all: Vec<&Arc<Certificate>> = presented.iter().chain(verified).collect();
    let mut by_subject: HashMap<&[u8], Vec<usize>> = HashMap::new();
    for (i, certificate) in all.iter().enumerate() {
        by_subject.entry(certificate.subject_der()).or_default().push(i);
    }
    let mut known = std::collections::HashSet::from([*leaf.sha256()]);
    let mut names = std::collections::HashSet::new();
    let mut found = vec![leaf.clone()];
    let mut next = 0;
    while let Some(child) = found.get(next).cloned() {
        next += 1;
        if !names.insert(child.issuer_der().to_vec()) {
            continue;
        }
        let exact = by_subject.get(child.issuer_der()).cloned();
        // As the judge does: other spellings count only where no certificate has the very name.
        let issuers = exact.unwrap_or_else(|| {
            let alike = |i: &usize| child.names_as_issuer(all[*i]) == NameMatch::Normalised;
            (0..all.len()).filter(alike).collect()
        });
        for i in issuers {
            if known.insert(*all[i].sha256()) {
                found.push(all[i].clone());
            }
        }
    }
    found
}
