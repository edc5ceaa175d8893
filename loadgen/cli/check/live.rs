//! The canary: one real registration with the chain, beside what was predicted of it.

use super::args::CheckArgs;
use super::view::View;
use crate::check::Examined;
use crate::cli::explain::seen;
use crate::cli::register::{self, RegisterArgs};
use crate::cli::{file_fault, read_file};
use crate::exit::{Exit, Failure};
use rustls_pki_types::CertificateDer;
use serde_json::Value;
use sim_device::Outcome;
use sim_identity::preflight::{Code, Finding};
use sim_identity::verdict::Verdict;
use sim_identity::{DeviceIdentity, files};
use sim_protocol::errors;
use std::path::Path;
use std::sync::Arc;

/// What one real registration came to.
#[derive(Debug)]
pub(super) struct Canary {
    /// What was predicted, in a phrase.
    pub(super) predicted: String,
    /// What the service said, in a phrase.
    pub(super) said: String,
    /// The outcome, as in `rollcall.register/1`.
    pub(super) outcome: Value,
    /// How the program ends by what the service said.
    pub(super) exit: Exit,
    /// The difference, if there is one.
    pub(super) difference: Option<Finding>,
}

impl Canary {
    /// Whether the service said what was predicted.
    pub(super) fn agrees(&self) -> bool {
        self.difference.is_none()
    }
}

/// Registers once, if the flags ask for it.
pub(super) async fn run(args: &CheckArgs, view: View<'_>) -> Result<Option<Canary>, Failure> {
    let (Some(host), Some(id_scope), Some(key)) = (&args.canary.host, &args.canary.id_scope, &args.key)
    else {
        return Ok(None);
    };
    let asked = RegisterArgs {
        host: host.clone(),
        port: args.canary.port,
        id_scope: id_scope.clone(),
        cert: args.chains.first().cloned().unwrap_or_default(),
        key: key.clone(),
        trust_root: args.connection.trust_root.clone(),
        registration_id: args.registration_id.clone(),
        transport: args.canary.transport,
        tls: args.canary.tls,
        timeout: args.canary.timeout,
        live: args.connection.live,
        json: false,
    };
    let identity = identity(view.examined, key)?;
    let (_, made) = register::attempt_once(&asked, identity).await?;
    let exit = register::conclude(&asked, &made.outcome)?;
    let verdict = view.verdict();
    Ok(Some(Canary {
        predicted: predicted(verdict),
        said: register::sentence(&made.outcome),
        outcome: register::describe(&made.outcome),
        exit,
        difference: difference(verdict, &made.outcome),
    }))
}

/// The device, with the very certificates that were examined.
fn identity(examined: &Examined, key: &Path) -> Result<DeviceIdentity, Failure> {
    let private = files::read_private_key(&key.display().to_string(), &read_file(key, "private key")?);
    let private = private.map_err(file_fault)?;
    if examined.presented.key_matches == Some(false) {
        let fault = format!("cannot register: {} is not the key of the first certificate", key.display());
        return Err(Failure::usage(fault).advise("Give the key that belongs to the device's certificate."));
    }
    let Some(registration_id) = examined.examination.registration_id.clone() else {
        return Err(Failure::usage(
            "cannot register: the device's certificate has no CN that is a registration id",
        )
        .advise("Name the id with --registration-id."));
    };
    let sent = &examined.presented.certificates;
    let chain = sent.iter().map(|c| CertificateDer::from(c.der().to_vec())).collect();
    Ok(DeviceIdentity { registration_id, chain, key: Arc::new(private) })
}

fn predicted(verdict: &Verdict) -> String {
    match verdict {
        Verdict::RollsUp => "a chain that rolls up; which enrollment takes it was not asked".to_owned(),
        other => format!("{}: {}", other.name(), seen(other)),
    }
}

/// What differs, as a finding.
fn difference(verdict: &Verdict, outcome: &Outcome) -> Option<Finding> {
    if agrees(verdict, outcome) {
        return None;
    }
    let finding = Finding::new(
        Code::LiveDifference,
        format!("predicted was {}; the service says: {}", predicted(verdict), register::sentence(outcome)),
        FIX,
    );
    Some(finding)
}

/// What to rule out before a rule of ours is to blame: the service refuses a wrong id scope as it does a chain.
const FIX: &str = "Check the id scope first: a wrong one is refused as an unknown chain is. Then read the instance's state \
                   again, with --from-service or a new export. If the difference stays, report it: a rule of ours is wrong.";

/// Whether an outcome is what the verdict predicts. Codes and texts are compared, not only whether the device is in.
fn agrees(verdict: &Verdict, outcome: &Outcome) -> bool {
    match (verdict, outcome) {
        // Nothing can be told of a service that was not heard, or had no room.
        (_, Outcome::Throttled | Outcome::Unreachable { .. } | Outcome::TimedOut { .. }) => true,
        (_, Outcome::ProtocolError { .. } | Outcome::Shed | Outcome::Interrupted) => true,
        (_, Outcome::Connected) => true,
        // Without enrollments only the roll-up was predicted; after it, every one may be missing.
        (Verdict::RollsUp, Outcome::Refused(r)) => {
            r.code == Some(errors::UNAUTHORIZED.code) && r.message == errors::UNAUTHORIZED.message
        }
        (Verdict::RollsUp, Outcome::Disabled) => true,
        // A hub that cannot be had comes after the identity was accepted.
        (_, Outcome::Assigned(_) | Outcome::Failed { .. }) => verdict.is_admitted(),
        (_, Outcome::Disabled) => verdict.is_disabled(),
        (_, Outcome::Refused(refused)) => verdict
            .refusal()
            .is_some_and(|said| refused.code == Some(said.code) && refused.message == said.message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sim_device::{Assignment, Phase, Refused};

    fn refused(code: u32, message: &str) -> Outcome {
        Outcome::Refused(Refused { phase: Phase::Register, code: Some(code), message: message.to_owned() })
    }

    #[test]
    fn another_code_or_another_text_than_predicted_is_a_difference() {
        let assigned = || Outcome::Assigned(Assignment { hub: "h".into(), device_id: "d".into() });
        let not_found = || refused(401_002, "CA certificate not found.");
        let unauthorized = || refused(401_002, "Unauthorized");
        for (verdict, outcome, differs) in [
            (Verdict::AcceptIndividual, assigned(), false),
            (Verdict::AcceptIndividual, not_found(), true),
            (Verdict::AcceptIndividual, Outcome::Disabled, true),
            (Verdict::NoVerifiedCa, not_found(), false),
            (Verdict::NoVerifiedCa, unauthorized(), true),
            (Verdict::NoVerifiedCa, assigned(), true),
            (Verdict::NoVerifiedCa, Outcome::Throttled, false),
            (Verdict::DisabledIndividual, Outcome::Disabled, false),
            (Verdict::RollsUp, unauthorized(), false),
            (Verdict::RollsUp, not_found(), true),
        ] {
            let found = difference(&verdict, &outcome).map(|finding| finding.code);
            assert_eq!(found, differs.then_some(Code::LiveDifference), "{verdict:?} {outcome:?}");
        }
    }
}
