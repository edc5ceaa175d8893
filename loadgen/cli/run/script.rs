//! A scenario as it is given: a file, or the name of a shipped one, with what is set besides.

use crate::cli::layers::{self, ValueArgs};
use crate::cli::output::Output;
use crate::cli::read_file;
use crate::exit::Failure;
use reports::{ScenarioText, Setting};
use scenarios::{Diagnostics, Origin, Override, SHIPPED, Scenario, Schedule};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A scenario, checked, and where it came from.
#[derive(Debug)]
pub struct Script {
    /// As checked.
    pub scenario: Scenario,
    /// As given.
    pub text: ScenarioText,
    /// Every value it came to, and where that is from.
    pub settings: Vec<Setting>,
    /// What its paths are relative to.
    pub(crate) base: PathBuf,
}

/// The text of a scenario that nobody has read yet.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    /// As diagnostics call it.
    pub(crate) file: String,
    /// As it stands there.
    pub(crate) text: String,
    /// What its paths are relative to.
    base: PathBuf,
}

impl Written {
    /// A scenario file, or one of the shipped.
    ///
    /// # Errors
    /// Usage, when there is neither.
    pub(crate) fn find(name: &str) -> Result<Self, Failure> {
        let path = Path::new(name);
        if let Some((file, text)) = shipped(name).filter(|_| !path.is_file()) {
            return Ok(Written { file: file.to_owned(), text: text.to_owned(), base: PathBuf::new() });
        }
        let bytes = read_file(path, "scenario").map_err(|failure| {
            let meant = meant(name).map(|meant| format!("Did you mean `{meant}`? ")).unwrap_or_default();
            failure.advise(format!(
                "{meant}Give the path of a scenario file, or the name of a shipped one: `rollcall scenario list` shows \
                 them."
            ))
        })?;
        let text = String::from_utf8(bytes)
            .map_err(|_| Failure::usage(format!("cannot read scenario {name}: it is not UTF-8 text")))?;
        let base = path.parent().map(Path::to_owned).unwrap_or_default();
        Ok(Written { file: name.to_owned(), text, base })
    }

    /// The script that it is, with these values in place of its own.
    ///
    /// # Errors
    /// When the text is no scenario.
    pub(crate) fn checked(self, overrides: &[Override]) -> Result<Script, Diagnostics> {
        let Written { file, text, base } = self;
        let (scenario, settings) = Scenario::resolve(&file, &text, overrides)?;
        let settings = settings.into_iter().map(|setting| Setting {
            key: setting.key,
            value: setting.value,
            origin: origin(&file, setting.origin),
        });
        let settings = settings.collect();
        let text = ScenarioText {
            name: scenario.name.clone(),
            file,
            text,
            overrides: overrides.iter().map(ToString::to_string).collect(),
        };
        Ok(Script { scenario, text, settings, base })
    }
}

/// The shipped scenario of this name, with or without its ending: file and text.
pub(crate) fn shipped(name: &str) -> Option<(&'static str, &'static str)> {
    SHIPPED.iter().copied().find(|(file, _)| *file == name || file.strip_suffix(".toml") == Some(name))
}

/// The shipped scenario whose name begins like this one, or is a few keystrokes away from it.
fn meant(name: &str) -> Option<&'static str> {
    let asked = name.trim_end_matches(".toml").to_lowercase();
    let known = || SHIPPED.iter().map(|(file, _)| file.trim_end_matches(".toml"));
    let begun =
        known().filter(|known| asked.len() > 2 && known.starts_with(&asked)).min_by_key(|known| known.len());
    let keystrokes = |known: &&str| strsim::damerau_levenshtein(&asked, known);
    let near = known().min_by_key(keystrokes).filter(|known| keystrokes(known) <= 1 + known.len() / 5);
    begun.or(near)
}

/// Where a value is from, in words.
fn origin(file: &str, origin: Origin) -> String {
    match origin {
        Origin::Default => "default".to_owned(),
        Origin::File { line } => format!("{file}:{line}"),
        Origin::Override { given } => given,
    }
}

impl Script {
    /// Reads a scenario file, or one of the shipped, with nothing set besides but this.
    ///
    /// # Errors
    /// Usage, when there is none, or its text is no scenario.
    pub fn load(name: &str, overrides: &[Override]) -> Result<Self, Failure> {
        Self::checked(Written::find(name)?, overrides)
    }

    /// Reads a scenario file, or one of the shipped, with what its user and its project set, and says so.
    ///
    /// # Errors
    /// Usage, when there is none, its text is no scenario, or what is set does not fit it.
    pub fn with_settings(name: &str, values: &ValueArgs, output: Output) -> Result<Self, Failure> {
        let written = Written::find(name)?;
        let applied = layers::applied(&layers::layers(values)?, &values.set, &written.text)?;
        applied.tell(output);
        Self::checked(written, &applied.overrides)
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
        Self::checked(Written { file: file.to_owned(), text, base }, overrides)
    }

    fn checked(written: Written, overrides: &[Override]) -> Result<Self, Failure> {
        let file = written.file.clone();
        written.checked(overrides).map_err(|told| unusable(&file, &told))
    }

    /// The script that a record or a journal was made from.
    ///
    /// # Errors
    /// Usage, when this program does not take it any more.
    pub fn again(given: &ScenarioText, base: PathBuf) -> Result<Self, Failure> {
        let overrides = given.overrides.iter().map(|text| Override::from_source("as recorded", text));
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
        made.map_err(|fault| {
            unusable(&self.text.file, &Diagnostics(vec![crate::cli::plan::misfit(self, &fault)]))
        })
    }
}

/// A scenario with mistakes.
pub(crate) fn unusable(file: &str, told: &Diagnostics) -> Failure {
    Failure::usage(format!("scenario {file} cannot be used\n{told}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_has_a_neighbour_and_a_path_has_none() {
        for (asked, wanted) in [
            ("smokee", Some("smoke")),
            ("hijack", Some("hijack-attempt")),
            ("Steady.toml", Some("steady")),
            ("retry-storm-jiter", Some("retry-storm-jitter")),
            ("nothing-like-it", None),
            ("/tmp/scenarios/mine.toml", None),
            ("s", None),
        ] {
            assert_eq!(meant(asked), wanted, "{asked}");
        }
    }
}
