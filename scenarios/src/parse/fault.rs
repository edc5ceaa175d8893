//! `[[target.mock.fault]]` as a schema: which fault has which keys, and what those take.
//!
//! Faults are read by `sim-protocol`, which knows their keys; what is needed and what holds by default is asked of
//! it. What a key takes is said here, and tests ask it whether that is so.

use crate::descriptions::description;
use crate::kind::{Kind as _, between, delay, duration, text, whole};
use serde_json::{Map, Value as Json, json};
use sim_protocol::delay::LONGEST;
use sim_protocol::faults::{Fault, FaultPoint, FaultRule, InvalidFault, RATES, RULE_KEYS};
use std::time::Duration;

/// The schema of a rule. The keys of all faults, and for each which of them it has.
pub(super) fn schema() -> Json {
    let own = Fault::ALL_IDS.into_iter().filter_map(Fault::own_keys).flatten();
    let keys = RULE_KEYS.iter().chain(own);
    let properties: Map<_, _> = keys.map(|key| ((*key).to_owned(), described(key))).collect();
    let by_id: Vec<_> = Fault::ALL_IDS.into_iter().filter_map(of_fault).collect();
    json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
        "required": ["id"],
        "allOf": by_id,
    })
}

/// What holds of one fault alone.
fn of_fault(id: &str) -> Option<Json> {
    let (smallest, required) = smallest(id)?;
    let keys: Vec<_> = RULE_KEYS.iter().chain(Fault::own_keys(id)?).collect();
    let points: Vec<_> = smallest.fault.possible_at().iter().map(|point| point.as_str()).collect();
    let is_it = json!({"properties": {"id": {"const": id}}, "required": ["id"]});
    let holds = json!({
        "propertyNames": {"enum": keys},
        "required": required,
        "properties": {"at": one_or_several(&points)},
    });
    Some(json!({"if": is_it, "then": holds}))
}

/// A rule with nothing but what it needs, and the keys that it needs.
fn smallest(id: &str) -> Option<(FaultRule, Vec<&'static str>)> {
    let (mut rule, mut required) = (json!({"id": id}), Vec::new());
    loop {
        match FaultRule::parse(&rule) {
            Ok(smallest) => return Some((smallest, required)),
            Err(InvalidFault::Missing { key }) if !required.contains(&key) => {
                required.push(key);
                rule.as_object_mut()?.insert(key.to_owned(), example(key)?);
            }
            Err(_) => return None,
        }
    }
}

/// A value that a key takes.
fn example(key: &str) -> Option<Json> {
    let takes = takes(key)?;
    let first = takes.get("examples").and_then(|examples| examples.get(0));
    first.or_else(|| takes.get("minimum")).cloned()
}

/// What a key takes, whichever fault has it.
fn takes(key: &str) -> Option<Json> {
    Some(match key {
        "id" => json!({"enum": Fault::ALL_IDS}),
        "at" => one_or_several(&FaultPoint::ALL.map(FaultPoint::as_str)),
        "share" => between(0.0..=1.0).schema(),
        "devices" => json!({"type": "string", "pattern": r"^[A-Za-z0-9._:*-]+$", "examples": ["line-a-*"]}),
        "from" | "until" | "every" | "lasting" | "retry_after" => duration(Duration::ZERO..=LONGEST).schema(),
        "delay" => delay().schema(),
        "rate" => between(RATES).schema(),
        "queue" => whole(0..=u32::MAX.into()).schema(),
        "status" => whole(500..=599).schema(),
        "return_code" => whole(1..=5).schema(),
        "hub" => text().schema(),
        _ => return None,
    })
}

fn one_or_several(points: &[&str]) -> Json {
    json!({"anyOf": [
        {"enum": points},
        {"type": "array", "items": {"enum": points}, "minItems": 1, "uniqueItems": true},
    ]})
}

fn described(key: &str) -> Json {
    let mut schema = takes(key).unwrap_or_else(|| json!({}));
    if let Some(schema) = schema.as_object_mut() {
        if let Some(default) = default(key) {
            schema.insert("default".into(), default);
        }
        if let Some(description) = description(&format!("target.mock.fault.{key}")) {
            schema.insert("description".into(), json!(description));
        }
    }
    schema
}

/// What a key comes to where it is left out; none where that differs from fault to fault.
fn default(key: &str) -> Option<Json> {
    let id = Fault::ALL_IDS.into_iter().find(|id| RULE_KEYS.contains(&key) || has(id, key))?;
    let (smallest, required) = smallest(id)?;
    let settled = !required.contains(&key) && !["id", "at"].contains(&key);
    settled.then(|| serde_json::to_value(&smallest).ok()?.get(key).cloned()).flatten()
}

fn has(id: &str, key: &str) -> bool {
    Fault::own_keys(id).is_some_and(|own| own.contains(&key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_takes_what_the_reader_of_faults_takes() {
        let schema = jsonschema::validator_for(&schema()).expect("a schema");
        let values = [
            json!(true),
            json!(""),
            json!("x"),
            json!("20s"),
            json!("0s"),
            json!("2d"),
            json!("1500ms"),
            json!("20"),
            json!("uniform 1s..2s"),
            json!("uniform 1s"),
            json!(["poll"]),
            json!([]),
            json!("tcp"),
            json!(["tls", "tls"]),
            json!("a/b"),
            json!("a*"),
            json!(-1),
            json!(0),
            json!(0.5),
            json!(1),
            json!(1.5),
            json!(5),
            json!(6),
            json!(500),
            json!(599),
            json!(600),
            json!(1_000_001),
            json!(4_294_967_296_u64),
        ];
        // What is right or wrong beyond its form: the order of times, whole seconds, the longest wait.
        let beyond = |cause: &InvalidFault| {
            matches!(
                cause,
                InvalidFault::Order
                    | InvalidFault::Overlap
                    | InvalidFault::EmptyWindow
                    | InvalidFault::TooLong { .. }
                    | InvalidFault::PartOfSecond { .. }
                    | InvalidFault::NoDeviceYet { .. }
                    | InvalidFault::Delay { .. }
                    | InvalidFault::Impossible { .. }
            )
        };
        for id in Fault::ALL_IDS {
            let (rule, _) = smallest(id).expect(id);
            let rule = serde_json::to_value(rule).expect("JSON");
            for key in RULE_KEYS.iter().chain(Fault::own_keys(id).expect(id)).filter(|key| **key != "id") {
                for value in &values {
                    let mut rule = rule.clone();
                    rule[*key] = value.clone();
                    let (good, read) = (schema.is_valid(&rule), FaultRule::parse(&rule));
                    match read {
                        Ok(_) => assert!(good, "{rule}"),
                        Err(cause) if beyond(&cause) => {}
                        Err(cause) => assert!(!good, "{rule}: {cause}"),
                    }
                }
            }
        }
    }

    #[test]
    fn every_fault_has_its_keys_and_no_others() {
        let schema = jsonschema::validator_for(&schema()).expect("a schema");
        let own = Fault::ALL_IDS.into_iter().filter_map(Fault::own_keys).flatten();
        let keys: Vec<_> = RULE_KEYS.iter().chain(own).collect();
        for id in Fault::ALL_IDS {
            let (rule, required) = smallest(id).expect(id);
            assert!(schema.is_valid(&serde_json::to_value(rule).expect("JSON")), "{id}");
            assert_eq!(schema.is_valid(&json!({"id": id})), required.is_empty(), "{id}");
            for key in keys.iter().filter(|key| !RULE_KEYS.contains(key) && !has(id, key)) {
                let mut rule = json!({"id": id});
                rule[**key] = example(key).unwrap_or_else(|| json!("x"));
                assert!(!schema.is_valid(&rule), "{rule}");
            }
        }
    }
}
