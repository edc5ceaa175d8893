//! Asks before something is deleted.

use super::session::Session;
use crate::exit::{Exit, Failure};
use clap::Args;
use std::io::{self, IsTerminal as _};

/// Whether the user has already said yes.
#[derive(Args, Clone, Copy, Debug)]
pub struct Consent {
    /// Delete without asking. A terminal is asked y/N; without one, a service that is not on this machine is left
    /// alone, and one that is, such as the mock, is not asked about
    #[arg(long)]
    pub yes: bool,
}

/// What is to be done about a deletion.
#[derive(Debug, PartialEq, Eq)]
enum Ruling {
    Go,
    Ask,
    Refuse,
}

impl Consent {
    fn ruling(self, rehearsal: bool, terminal: bool, local: bool) -> Ruling {
        match (self.yes || rehearsal, terminal, local) {
            (true, _, _) | (_, false, true) => Ruling::Go,
            (_, true, _) => Ruling::Ask,
            (_, false, false) => Ruling::Refuse,
        }
    }

    /// Goes on if `what` may be deleted: the user says so, or nobody needs to be asked.
    pub(super) async fn obtain(self, what: &str, session: &Session) -> Result<(), Failure> {
        let terminal = io::stdin().is_terminal();
        match self.ruling(session.is_rehearsal(), terminal, session.local) {
            Ruling::Go => Ok(()),
            Ruling::Refuse => {
                Err(Failure::usage(format!("will not delete {what}: nobody can be asked whether to"))
                    .advise("Add --yes if you mean it."))
            }
            Ruling::Ask => {
                session.ask(format!("delete {what} at {}? [y/N]", session.place));
                match answer().await?.trim() {
                    "y" | "Y" | "yes" => Ok(()),
                    _ => Err(Failure::new(
                        Exit::Interrupted,
                        format!("did not delete {what}: you did not say y"),
                    )),
                }
            }
        }
    }
}

async fn answer() -> Result<String, Failure> {
    let fault =
        |error: &dyn std::fmt::Display| Failure::unexpected(format!("cannot read the answer: {error}"));
    let read = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        io::stdin().read_line(&mut line).map(|_| line)
    });
    read.await.map_err(|error| fault(&error))?.map_err(|error| fault(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deleting_asks_unless_a_script_works_on_this_machine() {
        let (unsaid, yes) = (Consent { yes: false }, Consent { yes: true });
        for (consent, rehearsal, terminal, local, ruling) in [
            (unsaid, false, false, true, Ruling::Go),
            (unsaid, false, true, true, Ruling::Ask),
            (unsaid, false, true, false, Ruling::Ask),
            (unsaid, false, false, false, Ruling::Refuse),
            (unsaid, true, false, false, Ruling::Go),
            (yes, false, false, false, Ruling::Go),
            (yes, false, true, false, Ruling::Go),
        ] {
            assert_eq!(consent.ruling(rehearsal, terminal, local), ruling, "{consent:?} {terminal} {local}");
        }
    }
}
