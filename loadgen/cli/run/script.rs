//! A scenario as it is given: a file, or the name of a shipped one, with what is set on the command line.

use crate::cli::read_file;
use crate::exit::Failure;
use reports::ScenarioText;
use scenarios::{Override, SHIPPED, Scenario, Schedule};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A scenario, checked, and where it came from.
#[derive(Debug)]
pub struct Script {
    /// As checked.
    pub scenario: Scenario,
    /// As given.
    pub text: ScenarioText,
    /// What its paths are relative to.
    pub(crate) base: PathBuf,
}

impl Script {
    /// Reads a scenario file, or one of the shipped.
    pub fn load(name: &str, overrides: &[Override]) -> Result<Self, Failure> {
        let path = Path::new(name);
        let shipped =
            SHIPPED.iter().find(|(file, _)| *file == name || file.strip_suffix(".toml") == Some(name));
        let (file, text, base) = match shipped {
            Some((file, text)) if !path.is_file() => ((*file).to_owned(), (*text).to_owned(), PathBuf::new()),
            _ => {
                let known =
                    SHIPPED.iter().map(|(file, _)| file.trim_end_matches(".toml")).collect::<Vec<_>>();
                let bytes = read_file(path, "scenario").map_err(|failure| {
                    failure.advise(format!(
                        "Give the path of a scenario file, or a shipped one: {}.",
                        known.join(", ")
                    ))
                })?;
                let text = String::from_utf8(bytes).map_err(|_| {
                    Failure::usage(format!("cannot read scenario {name}: it is not UTF-8 text"))
                })?;
                (name.to_owned(), text, path.parent().map(Path::to_owned).unwrap_or_default())
            }
        };
        Self::from_text(&file, text, overrides, base)
    }

    /// Reads the text of a scenario, which is called `file`; its paths are relative to `base`.
    ///
    /// # Errors
    /// Usage, when the text is no scenario.
    pub fn from_text(
        file: &str,
        text: String,
        overrides: &[Override],
        base: PathBuf,
    ) -> Result<Self, Failure> {
        let scenario = Scenario::parse(file, &text, overrides).map_err(|d| invalid(file, d))?;
        let text = ScenarioText {
            name: scenario.name.clone(),
            file: file.to_owned(),
            text,
            overrides: overrides.iter().map(ToString::to_string).collect(),
        };
        Ok(Script { scenario, text, base })
    }

    /// The script that a record or a journal was made from.
    ///
    /// # Errors
    /// Usage, when this program does not take it any more.
    pub fn again(given: &ScenarioText, base: PathBuf) -> Result<Self, Failure> {
        let overrides = given.overrides.iter().map(|text| text.parse::<Override>());
        let overrides = overrides.collect::<Result<Vec<_>, _>>().map_err(Failure::usage)?;
        Self::from_text(&given.file, given.text.clone(), &overrides, base)
    }

    /// The recorded arrivals that its load names, read.
    ///
    /// # Errors
    /// Usage, when a file cannot be read or is no recording.
    pub fn replays(&self) -> Result<Vec<Vec<Duration>>, Failure> {
        crate::plan::replays(&self.scenario, &self.base)
    }

    /// Every arrival of the scenario.
    ///
    /// # Errors
    /// Usage, when load and fleet do not fit each other.
    pub fn schedule(&self) -> Result<Schedule, Failure> {
        let most = self.scenario.most_arrivals();
        let made = Schedule::new(&self.scenario.load, most, self.scenario.seed, &self.replays()?);
        made.map_err(|fault| crate::cli::plan::schedule_fault(self, &fault))
    }
}

fn invalid(file: &str, diagnostics: scenarios::Diagnostics) -> Failure {
    Failure::usage(format!("scenario {file} cannot be used\n{diagnostics}"))
}
