//! Name constraints (RFC 5280 section 4.2.1.10): what a CA demands of the names of everything below it.
//!
//! Evaluated for dNSName, rfc822Name, iPAddress and directoryName. A constrained form that cannot be evaluated and
//! occurs below is refused.

use super::trail::Check;
use crate::certificate::{Certificate, NameConstraints, NameForm, Subtree, normalised};

/// Comparisons of a name with a subtree in one judgement.
pub(super) const MAX_COMPARISONS: u32 = 100_000;

/// emailAddress, an attribute that older certificates carry in their subject (PKCS #9).
const EMAIL_ADDRESS: &str = "1.2.840.113549.1.9.1";

/// Normalised RDNs.
type Rdns = Vec<Vec<(String, String)>>;

/// A name below a constraint.
enum Name {
    Dns(String),
    Email(String),
    Ip(Vec<u8>),
    /// None where the name cannot be read: it then lies in no permitted and in every excluded subtree.
    Directory(Option<Rdns>),
    Unread(NameForm),
}

/// What a name is compared with.
enum Base<'a> {
    Dns(&'a str),
    Email(&'a str),
    Ip(&'a [u8], &'a [u8]),
    Directory(Option<Rdns>),
    Unread(NameForm),
}

/// Whether every name of `below` is as `constraints` demand. `budget` counts the comparisons that are left.
pub(super) fn check(
    constraints: &NameConstraints,
    below: &Certificate,
    budget: &mut u32,
) -> Result<(), Check> {
    let permitted: Vec<Base<'_>> = constraints.permitted.iter().map(base).collect();
    let excluded: Vec<Base<'_>> = constraints.excluded.iter().map(base).collect();
    for name in names(below) {
        let work = u32::try_from(permitted.len() + excluded.len()).unwrap_or(u32::MAX);
        *budget = budget.checked_sub(work).ok_or(Check::Budget)?;
        let mut of_form = permitted.iter().filter(|b| same_form(&name, b)).peekable();
        let allowed = of_form.peek().is_none() || of_form.any(|b| lies_in(&name, b, false));
        let barred = excluded.iter().filter(|b| same_form(&name, b)).any(|b| lies_in(&name, b, true));
        if !allowed || barred {
            return Err(Check::NameConstraints);
        }
    }
    Ok(())
}

/// The names of a certificate that constraints can speak of.
fn names(certificate: &Certificate) -> Vec<Name> {
    let alternative = certificate.alternative_names();
    let mut names: Vec<Name> = alternative.dns.iter().cloned().map(Name::Dns).collect();
    names.extend(alternative.email.iter().cloned().map(Name::Email));
    names.extend(alternative.ip.iter().cloned().map(Name::Ip));
    names.extend(alternative.directory.iter().map(|der| Name::Directory(normalised(der))));
    names.extend(alternative.other.iter().copied().map(Name::Unread));
    let attributes = certificate.subject_attributes();
    if alternative.email.is_empty() {
        let mails = attributes.iter().filter(|a| a.oid == EMAIL_ADDRESS);
        names.extend(mails.filter_map(|a| a.text.clone()).map(Name::Email));
    }
    // An empty subject is not constrained.
    if !attributes.is_empty() {
        names.push(Name::Directory(normalised(certificate.subject_der())));
    }
    names
}

fn base(subtree: &Subtree) -> Base<'_> {
    match subtree {
        Subtree::Dns(text) => Base::Dns(text),
        Subtree::Email(text) => Base::Email(text),
        Subtree::Ip(address, mask) => Base::Ip(address, mask),
        Subtree::Directory(der) => Base::Directory(normalised(der)),
        Subtree::Unread(form) => Base::Unread(*form),
    }
}

fn same_form(name: &Name, base: &Base<'_>) -> bool {
    match (name, base) {
        (Name::Dns(_), Base::Dns(_))
        | (Name::Email(_), Base::Email(_))
        | (Name::Ip(_), Base::Ip(..))
        | (Name::Directory(_), Base::Directory(_)) => true,
        (Name::Unread(a), Base::Unread(b)) => a == b,
        _ => false,
    }
}

/// Whether a name lies in a subtree of its form; `unsure` is the answer where that cannot be told.
fn lies_in(name: &Name, base: &Base<'_>, unsure: bool) -> bool {
    match (name, base) {
        (Name::Dns(name), Base::Dns(base)) => is_below_domain(name, base),
        (Name::Email(name), Base::Email(base)) => is_mailbox_of(name, base),
        (Name::Ip(address), Base::Ip(network, mask)) => is_in_network(address, network, mask),
        (Name::Directory(Some(name)), Base::Directory(Some(base))) => name.starts_with(base),
        _ => unsure,
    }
}

/// "Any DNS name that can be constructed by simply adding zero or more labels to the left-hand side".
fn is_below_domain(name: &str, base: &str) -> bool {
    let (name, base) = (name.trim_end_matches('.').to_lowercase(), base.trim_end_matches('.').to_lowercase());
    if base.is_empty() {
        return true;
    }
    match (name.strip_suffix(&base), base.starts_with('.')) {
        // With a leading dot at least one label more, as several libraries write it.
        (Some(labels), true) => !labels.is_empty(),
        (Some(labels), false) => labels.is_empty() || labels.ends_with('.'),
        (None, _) => false,
    }
}

/// A mailbox, a host, or a domain with a leading dot. The local part is compared as it is spelled.
fn is_mailbox_of(name: &str, base: &str) -> bool {
    let Some((local, host)) = name.rsplit_once('@') else { return false };
    match base.rsplit_once('@') {
        Some((wanted, at)) => local == wanted && host.eq_ignore_ascii_case(at),
        None if base.starts_with('.') => is_below_domain(host, base),
        None => host.eq_ignore_ascii_case(base) || base.is_empty(),
    }
}

fn is_in_network(address: &[u8], network: &[u8], mask: &[u8]) -> bool {
    let sizes = [network.len(), mask.len()];
    let octets = address.iter().zip(network).zip(mask);
    sizes == [address.len(); 2] && octets.into_iter().all(|((a, n), m)| a & m == n & m)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_holds_itself_and_what_is_below_it() {
        let rows = [
            ("plant.example", "plant.example", true),
            ("a.plant.example", "plant.example", true),
            ("A.Plant.Example", "plant.EXAMPLE", true),
            ("implant.example", "plant.example", false),
            ("plant.example.evil", "plant.example", false),
            ("plant.example", ".plant.example", false),
            ("a.plant.example", ".plant.example", true),
            ("anything", "", true),
        ];
        for (name, base, expected) in rows {
            assert_eq!(is_below_domain(name, base), expected, "{name} in {base}");
        }
    }

    #[test]
    fn a_mailbox_belongs_to_itself_its_host_or_its_domain() {
        let rows = [
            ("ann@plant.example", "ann@plant.example", true),
            ("Ann@plant.example", "ann@plant.example", false),
            ("ann@plant.example", "plant.example", true),
            ("ann@a.plant.example", "plant.example", false),
            ("ann@a.plant.example", ".plant.example", true),
            ("no mailbox", "plant.example", false),
        ];
        for (name, base, expected) in rows {
            assert_eq!(is_mailbox_of(name, base), expected, "{name} in {base}");
        }
    }

    #[test]
    fn an_address_lies_in_a_network_of_its_own_kind() {
        let eight_bits = [255, 0, 0, 0];
        assert!(is_in_network(&[10, 1, 2, 3], &[10, 0, 0, 0], &eight_bits));
        assert!(!is_in_network(&[11, 1, 2, 3], &[10, 0, 0, 0], &eight_bits));
        assert!(!is_in_network(&[10; 16], &[10, 0, 0, 0], &eight_bits));
        assert!(!is_in_network(&[10, 1, 2, 3], &[10, 0, 0, 0, 0], &eight_bits[..3]));
    }
}
