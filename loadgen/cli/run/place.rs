//! Whether a run may go where it is to go: the record of another run is not put aside for it.

use super::Script;
use crate::cli::report::read_record;
use crate::exit::Failure;
use crate::plan::ShardOf;
use reports::{Record, Shard};
use std::path::Path;

/// Refuses a place that holds the record of another scenario or shard, or the run to compare with. The same scenario
/// may be run again into its directory.
///
/// # Errors
/// Usage, when it must not be written to.
pub(super) fn refuse_another(
    script: &Script,
    shard: ShardOf,
    baseline: Option<&Path>,
    out: &Path,
) -> Result<(), Failure> {
    if out.exists() && !out.is_dir() {
        return Err(Failure::usage(format!("cannot write into {}: it is a file", out.display()))
            .advise("Name a directory with --out."));
    }
    let wanted = if baseline.is_some_and(|baseline| lies_in(baseline, out)) {
        Some(format!("will not write over the baseline in {}", out.display()))
    } else {
        another(script, shard, out)
            .map(|whose| format!("will not write over the record of {whose} in {}", out.display()))
    };
    match wanted {
        Some(fault) => Err(Failure::usage(fault)
            .advise("Name another directory with --out, or put what is there aside with --force.")),
        None => Ok(()),
    }
}

/// Whose record lies there, if it is another run's. One that cannot be read is nobody's, and kept aside like an own one.
fn another(script: &Script, shard: ShardOf, out: &Path) -> Option<String> {
    let Record { scenario, shard: found, .. } = read_record(out).ok()?;
    let part = |shard: Shard| format!("shard {} of {} of ", shard.index, shard.count);
    let own = (shard.count > 1).then_some(Shard { index: shard.index, count: shard.count });
    let same = scenario.name == script.scenario.name && found.filter(|shard| shard.count > 1) == own;
    (!same).then(|| format!("{}`{}`", found.map(part).unwrap_or_default(), scenario.name))
}

/// Whether a run, by its directory or its record, is the one in that directory, or the one that was put aside there.
fn lies_in(run: &Path, out: &Path) -> bool {
    let Ok(run) = run.canonicalize() else { return false };
    let same = |path: &Path| path.canonicalize().is_ok_and(|path| path == run);
    same(out) || ["run.json", "previous-run.json"].iter().any(|name| same(&out.join(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;
    use reports::SCHEMA;
    use std::fs;

    fn kept(out: &Path, name: &str, shard: Option<Shard>) {
        let scenario = reports::ScenarioText { name: name.to_owned(), ..reports::ScenarioText::default() };
        let record = Record { schema: SCHEMA.to_owned(), scenario, shard, ..Record::default() };
        fs::write(out.join("run.json"), record.to_json().expect("JSON")).expect("written");
    }

    #[test]
    fn only_a_run_of_the_same_scenario_and_shard_may_take_the_place_of_another() {
        let dir = tempfile::tempdir().expect("a directory");
        let script = Script::load("smoke", &[]).expect("a scenario");
        let part = |index| Some(Shard { index, count: 2 });
        let second = ShardOf { index: 2, count: 2 };
        for (name, found, shard, refused) in [
            ("smoke", None, ShardOf::WHOLE, false),
            ("steady", None, ShardOf::WHOLE, true),
            ("smoke", part(1), ShardOf::WHOLE, true),
            ("smoke", part(1), second, true),
            ("smoke", None, second, true),
            ("smoke", part(2), second, false),
        ] {
            kept(dir.path(), name, found);
            let told = refuse_another(&script, shard, None, dir.path());
            let exit = told.as_ref().err().map(|failure| failure.exit);
            assert_eq!(exit, refused.then_some(Exit::Usage), "{name} {found:?} {told:?}");
        }
        assert!(refuse_another(&script, ShardOf::WHOLE, None, &dir.path().join("new")).is_ok());
        let file = dir.path().join("run.json");
        assert!(refuse_another(&script, ShardOf::WHOLE, None, &file).is_err(), "a file");
        fs::write(&file, "{").expect("written");
        assert!(refuse_another(&script, ShardOf::WHOLE, None, dir.path()).is_ok(), "nobody's");
    }

    #[test]
    fn a_baseline_stays_where_it_is() {
        let dir = tempfile::tempdir().expect("a directory");
        let (script, out) = (Script::load("smoke", &[]).expect("a scenario"), dir.path());
        kept(out, "smoke", None);
        fs::write(out.join("previous-run.json"), "{}").expect("written");
        for (baseline, refused) in [
            (out.to_owned(), true),
            (out.join("run.json"), true),
            (out.join("previous-run.json"), true),
            (out.join("elsewhere"), false),
        ] {
            let told = refuse_another(&script, ShardOf::WHOLE, Some(&baseline), out);
            assert_eq!(told.is_err(), refused, "{}", baseline.display());
        }
    }
}
