//! `rollcall config`: which files and variables set values for scenarios, and what a scenario comes to with them.

use super::figures::counted;
use super::layers::{Applied, Layer, LeftOut, ValueArgs, applied, layers};
use super::output::Output;
use super::run::{Script, Written, unusable};
use crate::exit::{Exit, Failure};
use clap::{Args, Subcommand};
use reports::Setting;
use scenarios::Given;
use serde::Serialize;

/// `rollcall config`.
#[derive(Args, Debug)]
#[command(before_long_help = EXAMPLES)]
pub struct ConfigArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: ConfigVerb,
}

/// What to do with the settings.
#[derive(Subcommand, Debug)]
pub enum ConfigVerb {
    /// Show which files and variables are looked at, and every value of a scenario with where it is from
    #[command(before_long_help = EXAMPLES, after_long_help = LAYERS)]
    Show(ShowArgs),
}

const EXAMPLES: &str = "\
Examples:
  rollcall config show
      which files and variables are looked at, and what they set
  rollcall config show smoke --origin
      every value of a scenario, and where it is from
  ROLLCALL_SET__FLEET__DEVICES=500 rollcall config show smoke --origin --set seed=7
  rollcall config show scenario.toml --json | jq '.settings[] | select(.origin != \"default\")'";

const LAYERS: &str = "\
A value comes from the last of these that gives one:
  the scenario file
  the user's file    $XDG_CONFIG_HOME/rollcall/config.toml, or ~/.config/rollcall/config.toml
  the project's file rollcall.toml in the current directory
  the environment    ROLLCALL_SET__FLEET__DEVICES=500 is fleet.devices
  the command line   --set fleet.devices=500
A file has one table, [set], with keys of scenarios:
  [set]
  limits.grace = \"20s\"
  fleet.devices = 500
They apply to run, plan, scenario validate, scenario show --resolved and config show; --no-config does \
without files and variables.

Where a scenario has one of several variants, values for another one are left out, and told: \
target.service.host where the scenario has target.mock. With --set they are refused; so is, from \
anywhere, any other key that a scenario cannot take, with its file and line. Paths are taken from \
the directory of the scenario.";

/// `rollcall config show`.
#[derive(Args, Debug)]
pub struct ShowArgs {
    /// Scenario file, or the name of a shipped scenario: shows all its values
    #[arg(value_name = "SCENARIO")]
    pub scenario: Option<String>,
    /// What is set besides the scenario.
    #[command(flatten)]
    pub values: ValueArgs,
    /// Say beside each value where it is from
    #[arg(long)]
    pub origin: bool,
    /// Print the result as JSON (schema rollcall.config/1)
    #[arg(long)]
    pub json: bool,
}

/// `rollcall.config/1`.
#[derive(Debug, Serialize)]
struct Document {
    /// `rollcall.config/1`.
    schema: &'static str,
    /// Where values come from besides a scenario, lowest first.
    layers: Vec<LayerEntry>,
    /// The scenario, if one was named: its file.
    scenario: Option<String>,
    /// Values that the scenario has no place for.
    left_out: Vec<LeftOutEntry>,
    /// Every value of the scenario; without one, what the layers set.
    settings: Vec<Setting>,
}

/// One layer.
#[derive(Debug, Serialize)]
struct LayerEntry {
    /// `user`, `project`, `environment` or `set`.
    layer: &'static str,
    /// The file, the beginning of the variables' names, or the flag.
    source: String,
    /// Whether there is such a file, variable or flag.
    found: bool,
    /// What it gives.
    values: Vec<Setting>,
}

/// A value that a scenario has no place for.
#[derive(Debug, Serialize)]
struct LeftOutEntry {
    /// Its key.
    key: String,
    /// Where it is from.
    origin: String,
    /// The variant that the scenario has instead.
    chosen: String,
}

/// Runs `rollcall config`.
///
/// # Errors
/// Usage, when a scenario or a file of settings cannot be used.
pub fn run(args: &ConfigArgs, output: Output) -> Result<Exit, Failure> {
    let ConfigVerb::Show(args) = &args.verb;
    let output = Output { json: args.json, ..output };
    let layers = layers(&args.values)?;
    let (script, left_out) = match &args.scenario {
        None => (None, Vec::new()),
        Some(name) => {
            let written = Written::find(name)?;
            let Applied { overrides, left_out, .. } = applied(&layers, &args.values.set, &written.text)?;
            let file = written.file.clone();
            (Some(written.checked(&overrides).map_err(|told| unusable(&file, &told))?), left_out)
        }
    };
    show(&layers, script.as_ref(), &left_out, args.origin, output);
    output.json(&document(&layers, script, left_out));
    Ok(Exit::Good)
}

/// TOML that says in comments what it is made of.
fn show(layers: &[Layer], script: Option<&Script>, left_out: &[LeftOut], origin: bool, output: Output) {
    for layer in layers {
        output.line(format_args!("# {}", described(layer)));
    }
    for left_out in left_out {
        output.line(format_args!("# {left_out}"));
    }
    let set = in_force(layers);
    for line in setting_lines(script.map_or(&set, |script| &script.settings), origin) {
        output.line(line);
    }
}

fn described(layer: &Layer) -> String {
    let Layer { name, source, found, values } = layer;
    let has = match (found, values.len()) {
        (true, count) => counted(count as u64, "value"),
        (false, _) if matches!(*name, "user" | "project") => "not there".to_owned(),
        (false, _) => "none".to_owned(),
    };
    let name = if *name == "set" { "command line" } else { name };
    format!("{name:<12} {source}: {has}")
}

/// What the layers set, each key once: the last one counts.
fn in_force(layers: &[Layer]) -> Vec<Setting> {
    let mut settings: Vec<Setting> = Vec::new();
    for given in layers.iter().flat_map(|layer| &layer.values) {
        settings.retain(|setting| setting.key != given.key);
        settings.push(setting(given));
    }
    settings
}

fn setting(given: &Given) -> Setting {
    Setting { key: given.key.clone(), value: given.toml(), origin: given.source.clone() }
}

/// The widest value that a column of origins makes room for.
const WIDEST: usize = 60;

/// Settings as lines of TOML, with their origins in a column beside them if that is wanted.
pub(crate) fn setting_lines(settings: &[Setting], origin: bool) -> Vec<String> {
    let line = |setting: &Setting| format!("{} = {}", setting.key, setting.value);
    let width = settings.iter().map(|setting| line(setting).chars().count()).filter(|width| *width <= WIDEST);
    let width = width.max().unwrap_or_default();
    let shown = |setting: &Setting| {
        if origin { format!("{:<width$}  # {}", line(setting), setting.origin) } else { line(setting) }
    };
    settings.iter().map(shown).collect()
}

fn document(layers: &[Layer], script: Option<Script>, left_out: Vec<LeftOut>) -> Document {
    let entry = |layer: &Layer| LayerEntry {
        layer: layer.name,
        source: layer.source.clone(),
        found: layer.found,
        values: layer.values.iter().map(setting).collect(),
    };
    let left_out = left_out.into_iter().map(|LeftOut { given, chosen }| LeftOutEntry {
        key: given.key,
        origin: given.source,
        chosen,
    });
    Document {
        schema: "rollcall.config/1",
        layers: layers.iter().map(entry).collect(),
        scenario: script.as_ref().map(|script| script.text.file.clone()),
        left_out: left_out.collect(),
        settings: script.map_or_else(|| in_force(layers), |script| script.settings),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(key: &str, value: &str, origin: &str) -> Setting {
        Setting { key: key.to_owned(), value: value.to_owned(), origin: origin.to_owned() }
    }

    #[test]
    fn origins_stand_in_a_column_beside_what_is_not_too_wide() {
        let long = "x".repeat(70);
        let settings = [
            setting("seed", "7", "--set"),
            setting("fleet.devices", "500", "rollcall.toml:3"),
            setting("name", &format!("\"{long}\""), "x.toml:1"),
        ];
        assert_eq!(
            setting_lines(&settings, true),
            [
                "seed = 7             # --set".to_owned(),
                "fleet.devices = 500  # rollcall.toml:3".to_owned(),
                format!("name = \"{long}\"  # x.toml:1"),
            ]
        );
        assert_eq!(setting_lines(&settings, false)[1], "fleet.devices = 500");
    }

    #[test]
    fn of_several_layers_the_last_one_counts() {
        let layer = |name, source: &str, value: &str| Layer {
            name,
            source: source.to_owned(),
            found: true,
            values: vec![Given {
                key: "seed".to_owned(),
                value: value.to_owned(),
                source: source.to_owned(),
            }],
        };
        let layers = [layer("user", "config.toml:2", "1"), layer("environment", "ROLLCALL_SET__SEED", "2")];
        assert_eq!(in_force(&layers), [setting("seed", "2", "ROLLCALL_SET__SEED")]);
    }
}
