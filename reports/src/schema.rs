//! The JSON Schemas of what is written for others to read: the record of a run, and a comparison of two.
//!
//! Generated from the types. What is not required may be missing, as it is in records of earlier versions of the program;
//! what is not named may be there, as in those of later ones.

use crate::compare::{COMPARISON_SCHEMA, Comparison};
use crate::record::{Record, SCHEMA};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

/// The JSON Schema (2020-12) of a record.
pub fn record_schema() -> Value {
    schema_of::<Record>(SCHEMA)
}

/// The JSON Schema (2020-12) of a comparison.
pub fn comparison_schema() -> Value {
    schema_of::<Comparison>(COMPARISON_SCHEMA)
}

fn schema_of<T: JsonSchema>(version: &str) -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = Value::from(generator.into_root_schema_for::<T>());
    tidy(&mut schema);
    schema["title"] = json!(version);
    schema["required"] = json!(["schema"]);
    schema["properties"]["schema"]["const"] = json!(version);
    schema
}

/// Descriptions without the marks of the documentation they are from, and no defaults: they are zero or empty.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            members.remove("default");
            if let Some(Value::String(text)) = members.get_mut("description") {
                *text = text.replace("[`", "`").replace("`]", "`").replace('\n', " ");
            }
            members.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::Compared;
    use crate::record::{Held, OutcomeKind, Sample, Second, Setting, Shard};
    use crate::view::tests::{demo, gate};
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::Path;

    const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/schema");

    #[expect(
        clippy::disallowed_methods,
        reason = "whoever runs the tests says here that the files are to be written"
    )]
    fn blessing() -> bool {
        std::env::var_os("ROLLCALL_BLESS").is_some()
    }

    /// The file as shipped; written anew where that is asked for.
    fn shipped(name: &str, generated: &Value) -> Value {
        let path = Path::new(DIR).join(name);
        if blessing() {
            let text = serde_json::to_string_pretty(generated).expect("JSON");
            fs::create_dir_all(DIR).expect("a directory");
            fs::write(&path, format!("{text}\n")).expect("written");
        }
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        serde_json::from_str(&text).expect("JSON")
    }

    #[test]
    fn the_shipped_schemas_are_the_generated_ones() {
        for (name, generated) in
            [("run.schema.json", record_schema()), ("comparison.schema.json", comparison_schema())]
        {
            let same = shipped(name, &generated) == generated;
            assert!(
                same,
                "reports/schema/{name} is out of date: run the tests of `reports` with ROLLCALL_BLESS=1"
            );
        }
    }

    #[track_caller]
    fn faults(schema: &Value, instance: &Value) -> Vec<String> {
        let validator = jsonschema::validator_for(schema).expect("a schema");
        validator.iter_errors(instance).map(|error| format!("{}: {error}", error.instance_path())).collect()
    }

    /// The demo with everything that it does not need.
    fn full() -> Record {
        let busy = Second {
            outcomes: OutcomeKind::ALL.into_iter().map(|kind| (kind, 1)).collect::<BTreeMap<_, _>>(),
            response_buckets: vec![(24, 3)],
            service_us: Some([1, 2, 3, 4]),
            generator_cpu: Some(0.5),
            ..Second::default()
        };
        Record {
            settings: vec![Setting::default()],
            samples: vec![Sample::default()],
            held: Some(Held::default()),
            gates: vec![gate("m", "s", Some(0.5), 1.0)],
            per_second: vec![busy],
            ..demo()
        }
    }

    fn merged() -> Record {
        let shard = |index| Record {
            shard: Some(Shard { index, count: 2 }),
            started_utc: "2026-07-01T10:00:00Z".to_owned(),
            ..full()
        };
        crate::merge(&[shard(1), shard(2)]).expect("one run")
    }

    #[test]
    fn what_the_program_writes_is_valid() {
        for (what, record) in [("demo", demo()), ("full", full()), ("merged", merged())] {
            let value: Value = serde_json::from_str(&record.to_json().expect("JSON")).expect("JSON");
            assert_eq!(faults(&record_schema(), &value), Vec::<String>::new(), "{what}");
        }
        let row = Compared { change: Some(0.5), ..Compared::default() };
        let comparison =
            Comparison { schema: COMPARISON_SCHEMA.to_owned(), rows: vec![row], ..Comparison::default() };
        let value = serde_json::to_value(comparison).expect("JSON");
        assert_eq!(faults(&comparison_schema(), &value), Vec::<String>::new());
    }

    #[test]
    fn what_is_no_record_is_not_valid_and_what_is_not_known_is() {
        let good = serde_json::to_value(full()).expect("JSON");
        let changed = |pointer: &str, value: Value| {
            let mut record = good.clone();
            *record.pointer_mut(pointer).unwrap_or_else(|| panic!("nothing at {pointer}")) = value;
            record
        };
        let table = [
            (changed("/schema", json!("rollcall.run/2")), 1),
            (changed("/planned", json!("many")), 1),
            (changed("/planned", json!(-1)), 1),
            (changed("/verdict/kind", json!("fine")), 1),
            (changed("/per_second/0/service_us", json!([1, 2, 3])), 1),
            (changed("/per_second/0/response_buckets", json!([[1]])), 1),
            (changed("/per_second/0/outcomes", json!({"assigned": "all"})), 1),
            (changed("/clocks/response_time/p99_us", json!(1.5)), 1),
            (json!({"planned": 1}), 1),
            (json!({"schema": SCHEMA, "weather": "fine"}), 0),
        ];
        for (record, count) in table {
            let found = faults(&record_schema(), &record);
            assert_eq!(found.len(), count, "{found:?}");
        }
    }

    #[test]
    fn everything_in_the_schema_is_described() {
        for schema in [record_schema(), comparison_schema()] {
            let types = schema["$defs"].as_object().into_iter().flat_map(|defs| defs.values());
            for of_type in types.chain([&schema]) {
                for (name, property) in of_type["properties"].as_object().into_iter().flatten() {
                    assert!(property["description"].is_string(), "{name}: {property}");
                }
            }
        }
    }
}
