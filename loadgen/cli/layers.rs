//! Where the values of a scenario come from besides its own file.
//!
//! Lowest first: the scenario file, the user's file, the project's file in the current directory, variables of the
//! environment, `--set`. Each layer replaces or adds single values. None of them changes which variant a scenario has:
//! a value for `target.service` is left out, and told, where the scenario has `target.mock`; only `--set`, which is
//! meant for this one scenario, is refused then. Every other key that a scenario cannot take is a mistake at its line.

use super::output::Output;
use super::read_file;
use crate::exit::Failure;
use clap::Args;
use scenarios::{ENVIRONMENT, Given, Override, settings_file};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The project's file, in the current directory.
pub(crate) const PROJECT: &str = "rollcall.toml";
/// The user's file, below the directory for configuration.
const USER: &str = "rollcall/config.toml";
/// What a value on the command line is from.
pub(crate) const SET: &str = "--set";

/// The flags that say which values a scenario gets.
#[derive(Args, Clone, Debug, Default)]
pub struct ValueArgs {
    /// Replace a value of the scenario, for instance fleet.devices=500; repeatable
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<Override>,
    /// Ignore rollcall.toml, the user's config.toml and ROLLCALL_SET__ variables
    #[arg(long)]
    pub no_config: bool,
}

/// One place that values come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layer {
    /// `user`, `project`, `environment` or `set`.
    pub(crate) name: &'static str,
    /// The file, the beginning of the variables' names, or the flag.
    pub(crate) source: String,
    /// Whether there is such a file, variable or flag.
    pub(crate) found: bool,
    /// What it gives.
    pub(crate) values: Vec<Given>,
}

/// What the layers come to for one scenario.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    /// In the order in which they apply.
    pub(crate) overrides: Vec<Override>,
    /// What is from elsewhere than the command line.
    pub(crate) taken: Vec<Given>,
    /// Values of variants that the scenario does not have.
    pub(crate) left_out: Vec<LeftOut>,
}

/// A value that a scenario has no place for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LeftOut {
    /// The value.
    pub(crate) given: Given,
    /// What the scenario has instead.
    pub(crate) chosen: String,
}

/// Every layer, lowest first, whether or not there is anything in it.
///
/// # Errors
/// Usage, when a file cannot be read or has something else in it than settings, or a variable names no key.
pub(crate) fn layers(values: &ValueArgs) -> Result<Vec<Layer>, Failure> {
    let mut layers = Vec::new();
    if !values.no_config {
        layers.extend(user_file().map(|(path, shown)| file("user", &path, shown)).transpose()?);
        layers.push(file("project", Path::new(PROJECT), PROJECT.to_owned())?);
        layers.push(environment(std::env::vars_os())?);
    }
    layers.push(command_line(&values.set));
    Ok(layers)
}

/// The user's file, and how it is shown: a record tells nobody's home directory.
#[expect(clippy::disallowed_methods, reason = "the edge of the shell: where the user's configuration is")]
fn user_file() -> Option<(PathBuf, String)> {
    user_file_in(std::env::var_os("XDG_CONFIG_HOME"), std::env::var_os("HOME"))
}

/// As the XDG Base Directory Specification has it: a relative path counts as none.
fn user_file_in(config_home: Option<OsString>, home: Option<OsString>) -> Option<(PathBuf, String)> {
    let absolute = |path: OsString| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
    let home = home.and_then(absolute);
    let below_home = || home.as_ref().map(|home| home.join(".config"));
    let path = config_home.and_then(absolute).or_else(below_home)?.join(USER);
    let in_home = home.as_ref().and_then(|home| path.strip_prefix(home).ok());
    let shown = match in_home {
        Some(rest) => format!("~/{}", rest.display()),
        None => path.display().to_string(),
    };
    Some((path, shown))
}

fn file(name: &'static str, path: &Path, shown: String) -> Result<Layer, Failure> {
    if !path.exists() {
        return Ok(Layer { name, source: shown, found: false, values: Vec::new() });
    }
    let bytes = read_file(path, "settings")?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Failure::usage(format!("cannot read settings {shown}: they are not UTF-8 text")))?;
    let values = settings_file(&shown, &text).map_err(|told| unusable(&shown, &told))?;
    Ok(Layer { name, source: shown, found: true, values })
}

fn unusable(shown: &str, told: &scenarios::Diagnostics) -> Failure {
    Failure::usage(format!("settings {shown} cannot be used\n{told}")).advise(
        "Settings are a table `[set]` with keys of a scenario; a scenario itself goes by another file name.",
    )
}

/// The variables that set a value, by name: the order of an environment means nothing.
fn environment(variables: impl Iterator<Item = (OsString, OsString)>) -> Result<Layer, Failure> {
    let mut values = Vec::new();
    for (name, value) in variables {
        let Some(name) = name.to_str().filter(|name| name.starts_with(ENVIRONMENT.trim_end_matches('_')))
        else {
            continue;
        };
        values.push(variable(name, value)?);
    }
    values.sort_by(|a, b| a.source.cmp(&b.source));
    Ok(Layer { name: "environment", source: format!("{ENVIRONMENT}*"), found: !values.is_empty(), values })
}

fn variable(name: &str, value: OsString) -> Result<Given, Failure> {
    let wrong = |why: &dyn std::fmt::Display| {
        Failure::usage(format!("cannot take the variable {name}: {why}")).advise(format!(
            "Write {ENVIRONMENT}FLEET__DEVICES=500 for fleet.devices=500, or unset the variable."
        ))
    };
    let value = value.into_string().map_err(|_| wrong(&"its value is not UTF-8 text"))?;
    if !name.starts_with(ENVIRONMENT) {
        return Err(wrong(&format!("names of such variables begin with {ENVIRONMENT}")));
    }
    let given = Given::of_variable(name, &value);
    given.as_override().map_err(|fault| wrong(&fault))?;
    Ok(given)
}

fn command_line(set: &[Override]) -> Layer {
    let given = |set: &Override| {
        let text = set.to_string();
        let (key, value) = text.split_once('=').unwrap_or((&text, ""));
        Given { key: key.trim().to_owned(), value: value.trim().to_owned(), source: SET.to_owned() }
    };
    Layer {
        name: "set",
        source: SET.to_owned(),
        found: !set.is_empty(),
        values: set.iter().map(given).collect(),
    }
}

/// What the layers come to for the scenario of this text.
///
/// # Errors
/// Usage, when a key in a file is none.
pub(crate) fn applied(layers: &[Layer], set: &[Override], scenario: &str) -> Result<Applied, Failure> {
    let mut applied = Applied::default();
    for given in layers.iter().filter(|layer| layer.name != "set").flat_map(|layer| &layer.values) {
        match given.is_beside(scenario) {
            Some(chosen) => applied.left_out.push(LeftOut { given: given.clone(), chosen }),
            None => {
                let taken = given.as_override();
                applied.overrides.push(
                    taken.map_err(|fault| Failure::usage(format!("cannot use {}: {fault}", given.source)))?,
                );
                applied.taken.push(given.clone());
            }
        }
    }
    applied.overrides.extend_from_slice(set);
    Ok(applied)
}

impl Applied {
    /// What a reader of the scenario file would not expect, a line each.
    pub(crate) fn told(&self) -> Vec<String> {
        let taken: Vec<_> =
            self.taken.iter().map(|given| format!("{} ({})", given.key, given.source)).collect();
        let taken = (!taken.is_empty()).then(|| format!("Set besides the scenario: {}", taken.join(", ")));
        taken.into_iter().chain(self.left_out.iter().map(ToString::to_string)).collect()
    }

    /// Says it.
    pub(crate) fn tell(&self, output: Output) {
        for line in self.told() {
            output.talk(line);
        }
    }
}

impl std::fmt::Display for LeftOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Given { key, source, .. } = &self.given;
        write!(f, "Left out: {key} ({source}), for the scenario has {}", self.chosen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn os(text: &str) -> Option<OsString> {
        Some(text.into())
    }

    #[test]
    fn the_users_file_is_where_the_xdg_specification_says() {
        for (config_home, home, expected) in [
            (None, None, None),
            (
                None,
                os("/home/a"),
                Some(("/home/a/.config/rollcall/config.toml", "~/.config/rollcall/config.toml")),
            ),
            (
                os(""),
                os("/home/a"),
                Some(("/home/a/.config/rollcall/config.toml", "~/.config/rollcall/config.toml")),
            ),
            (
                os("c"),
                os("/home/a"),
                Some(("/home/a/.config/rollcall/config.toml", "~/.config/rollcall/config.toml")),
            ),
            (
                os("/home/a/c"),
                os("/home/a"),
                Some(("/home/a/c/rollcall/config.toml", "~/c/rollcall/config.toml")),
            ),
            (
                os("/etc/c"),
                os("/home/a"),
                Some(("/etc/c/rollcall/config.toml", "/etc/c/rollcall/config.toml")),
            ),
            (os("/etc/c"), None, Some(("/etc/c/rollcall/config.toml", "/etc/c/rollcall/config.toml"))),
        ] {
            let expected = expected.map(|(path, shown)| (PathBuf::from(path), shown.to_owned()));
            assert_eq!(user_file_in(config_home.clone(), home.clone()), expected, "{config_home:?} {home:?}");
        }
    }

    fn variables(pairs: &[(&str, &str)]) -> Result<Vec<String>, Failure> {
        let pairs = pairs.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        environment(pairs).map(|layer| layer.values.iter().map(Given::text).collect())
    }

    #[test]
    fn variables_are_taken_by_name_and_those_that_are_meant_and_none_are_refused() {
        let taken = variables(&[
            ("ROLLCALL_SET__SEED", "7"),
            ("PATH", "/bin"),
            ("ROLLCALL_TOKEN", "t"),
            ("ROLLCALL_SET__FLEET__DEVICES", "5"),
        ]);
        assert_eq!(taken.expect("two settings"), ["fleet.devices=5", "seed=7"]);
        for name in ["ROLLCALL_SET_SEED", "ROLLCALL_SET", "ROLLCALL_SET__", "ROLLCALL_SET__FLEET__"] {
            let failure = variables(&[(name, "7")]).expect_err(name);
            assert!(failure.message.contains(name) && failure.advice.is_some(), "{failure}");
        }
    }

    #[test]
    fn a_higher_layer_comes_later_and_what_is_beside_the_scenario_is_left_out() {
        let given = |key: &str, source: &str| Given {
            key: key.to_owned(),
            value: "5".to_owned(),
            source: source.to_owned(),
        };
        let layer = |name, values| Layer { name, source: String::new(), found: true, values };
        let set: Override = "seed=9".parse().expect("an override");
        let layers = [
            layer(
                "user",
                vec![given("seed", "config.toml:2"), given("target.service.port", "config.toml:3")],
            ),
            layer("project", vec![given("fleet.turns", "rollcall.toml:2")]),
            command_line(std::slice::from_ref(&set)),
        ];
        let applied =
            applied(&layers, std::slice::from_ref(&set), "[target.mock]\n").expect("settings that apply");
        assert_eq!(applied.overrides.len(), 3);
        assert_eq!(applied.overrides.last(), Some(&set));
        let left_out: Vec<_> = applied.left_out.iter().map(|l| (l.given.key.as_str(), &*l.chosen)).collect();
        assert_eq!(left_out, [("target.service.port", "target.mock")]);
    }
}
