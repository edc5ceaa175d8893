//! How the program ends.

use super::{Entry, Kind};
use crate::exit::Exit;

/// Every exit status.
pub(super) fn entries() -> Vec<Entry> {
    TEXTS.iter().map(entry).collect()
}

/// An exit status, what it means, what usually causes it, what to do.
type Text = (Exit, &'static str, &'static str, &'static str);

fn entry((exit, meaning, cause, repair): &Text) -> Entry {
    Entry {
        causes: if cause.is_empty() { Vec::new() } else { vec![(*cause).to_owned()] },
        repair: (*repair).to_owned(),
        source: vec!["the contract of this program: `rollcall --help`".to_owned()],
        ..Entry::new(Kind::Exit, (*exit as u8).to_string(), *meaning)
    }
}

const TEXTS: [Text; 9] = [
    (Exit::Good, "Did what was asked; with `check`, every chain is accepted.", "", ""),
    (
        Exit::Unexpected,
        "Something nobody foresaw.",
        "A full disk, a closed standard output, an answer that no service should give.",
        "Read the message; if it points nowhere, report it.",
    ),
    (
        Exit::Usage,
        "A flag, a file or a scenario cannot be used; nothing was done.",
        "A misspelt flag, a file that is not there or holds something else, a private key in place of a certificate.",
        "Follow the help below the message.",
    ),
    (
        Exit::Refused,
        "The service refuses, or `check` says that it would.",
        "A chain that leads nowhere, a disabled enrollment; with `check --strict`, a warning; in a batch, \
         a file that cannot be read.",
        "Run `rollcall check` on the chain: it names the link and what repairs it.",
    ),
    (
        Exit::Unreachable,
        "The target does not answer, or a port cannot be had.",
        "A wrong host, port or trust root; a service that is not running; a port that is taken.",
        "Check host, port and --trust-root.",
    ),
    (
        Exit::Regression,
        "With --fail-on-regression: the run is worse than its baseline by more than runs of the same differ by themselves.",
        "A service, or a setting of it, that has become slower or lets other devices in; a machine that was busier than \
         before.",
        "Look at the metrics that are called worse; run both again and give the runs as repeats, which makes the bands \
         those of this machine.",
    ),
    (
        Exit::Invalid,
        "The result does not stand: sums do not add up, or the generator was the limit and not the service. Of \
         `calibrate`: a known latency was not read back.",
        "Somebody else who used the same service meanwhile; a machine that was too slow or too busy for the load, or had \
         no port or descriptor left.",
        "Do not quote the numbers. Have the service to yourself; follow what the verdict says of the generator.",
    ),
    (
        Exit::GateFailed,
        "A gate was not met: one of the scenario's, or, where it has none on outcomes, that every device fares as the \
         scenario means.",
        "A service that is too slow, or throttles; devices that were to be let in and were refused, or the reverse.",
        "Look at the gates and the reasons in the report.",
    ),
    (
        Exit::Interrupted,
        "Interrupted; what was measured so far is written.",
        "Ctrl-C, or a signal to end.",
        "Start it again.",
    ),
];
