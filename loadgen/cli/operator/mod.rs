//! The operator's verbs: CA certificates, enrollment groups, individual enrollments and registrations of the mock
//! or of Azure.

mod attest;
mod ca;
mod certificate_file;
mod connection;
mod consent;
mod enrollment;
mod entry;
mod group;
mod import;
mod keys;
mod policy;
mod proof;
mod proof_check;
mod registration;
mod session;
mod table;

pub use ca::{CaArgs, run as ca};
pub use connection::Connection;
pub(crate) use connection::connect;
pub use enrollment::{EnrollmentArgs, run as enrollment};
pub use group::{GroupArgs, run as group};
pub use registration::{RegistrationArgs, run as registration};

use crate::exit::{Exit, Failure};
use sim_operator::OperatorError;
use std::error::Error as _;

impl From<OperatorError> for Failure {
    fn from(error: OperatorError) -> Self {
        let exit = match &error {
            OperatorError::Unreachable { .. } | OperatorError::Untrusted { .. } => Exit::Unreachable,
            OperatorError::Refused { .. } => Exit::Refused,
            OperatorError::Address { .. }
            | OperatorError::TrustRoot { .. }
            | OperatorError::BearerToken
            | OperatorError::NoServiceKey { .. }
            | OperatorError::NoToken { .. }
            | OperatorError::Name(_)
            | OperatorError::Signing { .. } => Exit::Usage,
            OperatorError::Client { .. } | OperatorError::Malformed { .. } => Exit::Unexpected,
        };
        let mut message = error.to_string();
        let mut below = error.source();
        while let Some(cause) = below {
            message.push_str(&format!(": {cause}"));
            below = cause.source();
        }
        Failure::new(exit, message).advise(error.advice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory as _, Parser};

    #[derive(Debug, Parser)]
    enum Program {
        Ca(CaArgs),
        Group(GroupArgs),
        Enrollment(EnrollmentArgs),
        Registration(RegistrationArgs),
    }

    fn parses(line: &str) -> bool {
        Program::try_parse_from(line.split(' ')).is_ok()
    }

    #[test]
    fn the_spellings_of_the_contract_are_taken() {
        Program::command().debug_assert();
        for line in [
            "rollcall ca upload root --cert f --verified --endpoint https://127.0.0.1:1 --trust-root t --json",
            "rollcall ca code root",
            "rollcall ca verify root --key k",
            "rollcall ca verify root --key k --cert c",
            "rollcall ca verify root --verification-cert v",
            "rollcall ca prove --code C --cert c --key k --out o",
            "rollcall ca prove --code C --ca c --key pkcs11:object=k",
            "rollcall ca prove --code C --cert c --check p --json",
            "rollcall ca prove --code C --cert c --check p --at 2026-06-01",
            "rollcall ca prove --code C --cert c --check p --at 2026-06-01T08:00:00+02:00",
            "rollcall ca list --endpoint u --json",
            "rollcall ca --endpoint u show root",
            "rollcall ca delete root --live",
            "rollcall ca delete root --service-key-file k --token-file t --yes --dry-run",
            "rollcall group create g --ca-reference a --secondary-ca-reference b",
            "rollcall group create g --signing-cert a --secondary-signing-cert b",
            "rollcall group create g --symmetric-key",
            "rollcall group create g --symmetric-key --secondary-key-file b --disabled",
            "rollcall group create g --ca-reference a --allocation static --iot-hub h --reprovision never",
            "rollcall group list",
            "rollcall group query q",
            "rollcall group show g",
            "rollcall group update g --disable",
            "rollcall group update g --enable",
            "rollcall group update g --enable --reprovision reset --iot-hub a --iot-hub b",
            "rollcall group update g --webhook u --webhook-api-version v",
            "rollcall group delete g",
            "rollcall group keys g",
            "rollcall group derive-key g --registration-id d --primary-key-file k",
            "rollcall group import f --mode update-if-match-etag",
            "rollcall enrollment create d --client-cert a --secondary-client-cert b --device-id e",
            "rollcall enrollment create d --ca-reference a --secondary-ca-reference b --initial-twin t",
            "rollcall enrollment create d --signing-cert a --secondary-signing-cert b",
            "rollcall enrollment create d --symmetric-key --primary-key-file a --secondary-key-file b",
            "rollcall enrollment list --json",
            "rollcall enrollment query q",
            "rollcall enrollment show d",
            "rollcall enrollment update d --device-id e",
            "rollcall enrollment update d --disable --device-id e",
            "rollcall enrollment delete d --yes",
            "rollcall enrollment keys d --connection-string-file c --policy p",
            "rollcall enrollment import f --mode delete --yes",
            "rollcall registration list --group g",
            "rollcall registration show dev-1",
            "rollcall registration delete dev-1 --json",
        ] {
            assert!(parses(line), "{line}");
        }
    }

    #[test]
    fn combinations_without_meaning_are_refused() {
        for line in [
            "rollcall ca upload root",
            "rollcall ca upload a/b --cert f",
            "rollcall ca verify root",
            "rollcall ca verify root --key k --verification-cert v",
            "rollcall ca verify root --cert c --verification-cert v",
            "rollcall ca prove --code C --cert c",
            "rollcall ca prove --code C --cert c --key k --check p",
            "rollcall ca prove --code C --cert c --check p --out o",
            "rollcall ca prove --code C --cert c --key k --at 2026-06-01",
            "rollcall ca prove --code C --cert c --check p --at yesterday",
            "rollcall ca list --service-key k",
            "rollcall ca list --token t",
            "rollcall group create g",
            "rollcall group create g --ca-reference a --signing-cert b",
            "rollcall group create g --ca-reference a --symmetric-key",
            "rollcall group create g --client-cert a",
            "rollcall group create g --secondary-ca-reference a",
            "rollcall group create g --signing-cert a --secondary-ca-reference b",
            "rollcall group create g --signing-cert a --primary-key-file b",
            "rollcall group create g --symmetric-key --secondary-signing-cert a",
            "rollcall group create g --secondary-signing-cert a",
            "rollcall group create g --symmetric-key --webhook-api-version v",
            "rollcall group create g --symmetric-key --reprovision sometimes",
            "rollcall group update g",
            "rollcall group update g --enable --disable",
            "rollcall group update g --device-id d",
            "rollcall group derive-key g",
            "rollcall group import f",
            "rollcall enrollment create d",
            "rollcall enrollment create d --client-cert a --symmetric-key",
            "rollcall enrollment create d --client-cert a --secondary-ca-reference b",
            "rollcall enrollment create d --client-cert a --primary-key-file b",
            "rollcall enrollment create d --signing-cert a --secondary-client-cert b",
            "rollcall enrollment create d --secondary-client-cert b",
            "rollcall enrollment create a/b --symmetric-key",
            "rollcall enrollment update d",
            "rollcall registration list",
        ] {
            assert!(!parses(line), "{line}");
        }
    }

    #[test]
    fn usage_names_all_of_what_one_is_needed() {
        for (line, all) in [
            ("rollcall group create g", "<--ca-reference <CA>|--signing-cert <FILE>|--symmetric-key>"),
            ("rollcall ca verify root", "<--key <FILE>|--verification-cert <FILE>>"),
        ] {
            let refusal = Program::try_parse_from(line.split(' ')).expect_err(line).to_string();
            assert!(refusal.contains(all), "{refusal}");
        }
    }

    #[test]
    fn flags_of_the_connection_are_taken_before_and_after_the_verb() {
        for line in [
            "rollcall ca --endpoint u --json --dry-run list",
            "rollcall ca list --endpoint u --json --dry-run",
        ] {
            let Ok(Program::Ca(CaArgs { connection, .. })) = Program::try_parse_from(line.split(' ')) else {
                panic!("{line} is not `ca`")
            };
            assert_eq!(connection.endpoint.as_deref(), Some("u"));
            assert!(connection.json && connection.dry_run);
        }
    }

    #[test]
    fn each_kind_of_operator_error_ends_with_its_own_status() {
        let refused = OperatorError::Refused {
            attempted: "x".into(),
            status: 412,
            code: None,
            message: "m".into(),
            retry_after: None,
        };
        let failure = Failure::from(refused);
        assert_eq!(failure.exit, Exit::Refused);
        assert!(failure.advice.is_some_and(|advice| advice.contains("fetch it again")));
        assert_eq!(Failure::from(OperatorError::BearerToken).exit, Exit::Usage);
        let nobody = OperatorError::NoToken { attempted: "x".into(), faults: Vec::new() };
        assert_eq!(Failure::from(nobody).exit, Exit::Usage);
    }
}
