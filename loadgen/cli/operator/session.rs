//! One verb at work: the operator it calls with, and what it says. In a dry run it says which calls it would have
//! made, and nothing else.

use super::connection::{Connection, connect};
use super::table;
use crate::cli::output::Output;
use crate::exit::Failure;
use serde::Serialize;
use sim_operator::{Operator, PlannedCall};

/// One verb at work.
pub(super) struct Session {
    pub(super) operator: Operator,
    /// Whether both planes are on this machine.
    pub(super) local: bool,
    /// Where the service is, for questions.
    pub(super) place: String,
    output: Output,
}

/// A document of the service, or one of ours, under the name of its form.
#[derive(Serialize)]
struct Document<'a, T> {
    schema: &'static str,
    #[serde(flatten)]
    value: &'a T,
}

#[derive(Serialize)]
struct List<'a, T> {
    schema: &'static str,
    value: &'a [T],
}

#[derive(Serialize)]
struct Deleted<'a> {
    kind: &'static str,
    name: &'a str,
}

#[derive(Serialize)]
struct DryRun {
    calls: Vec<PlannedCall>,
}

impl Session {
    /// Prepares calls to the instance that the flags name; nothing is sent yet.
    pub(super) fn open(connection: &Connection, output: Output) -> Result<Self, Failure> {
        let (operator, endpoint) = connect(connection)?;
        let output = connection.output(output);
        Ok(Session { operator, local: endpoint.is_local(), place: endpoint.service, output })
    }

    pub(super) fn is_rehearsal(&self) -> bool {
        self.operator.is_rehearsal()
    }

    /// Where results go; nowhere in a dry run, whose result is its calls.
    pub(super) fn results(&self) -> Option<Output> {
        (!self.is_rehearsal()).then_some(self.output)
    }

    /// The result as one JSON document.
    pub(super) fn document(&self, schema: &'static str, value: &impl Serialize) {
        if let Some(output) = self.results() {
            output.json(&Document { schema, value });
        }
    }

    /// The result as one JSON document with the items of a list.
    pub(super) fn list<T: Serialize>(&self, schema: &'static str, value: &[T]) {
        if let Some(output) = self.results() {
            output.json(&List { schema, value });
        }
    }

    /// The result as rows.
    pub(super) fn rows(&self, rows: &[Vec<String>]) {
        if let Some(output) = self.results() {
            table::lines(rows, output);
        }
    }

    /// The result as one bare line.
    pub(super) fn line(&self, text: &str) {
        if let Some(output) = self.results() {
            output.line(table::shown(text));
        }
    }

    /// Says what was deleted.
    pub(super) fn deleted(&self, kind: &'static str, what: &str, name: &str) {
        self.document("rollcall.deleted/1", &Deleted { kind, name });
        self.talk(format!("deleted {what} `{name}`"));
    }

    /// Explanation of what was done.
    pub(super) fn talk(&self, text: impl std::fmt::Display) {
        if let Some(output) = self.results() {
            output.talk(text);
        }
    }

    /// A warning about what was done.
    pub(super) fn warn(&self, text: impl std::fmt::Display) {
        if let Some(output) = self.results() {
            output.warn(text);
        }
    }

    /// A question, shown even with `--quiet`: without it nobody knows what is waited for.
    pub(super) fn ask(&self, text: impl std::fmt::Display) {
        Output { quiet: false, ..self.output }.talk(text);
    }

    /// Ends the verb: a dry run prints its calls.
    pub(super) fn close(self) {
        if !self.is_rehearsal() {
            return;
        }
        let calls = self.operator.planned();
        for call in &calls {
            self.output.line(text(call));
        }
        let value = DryRun { calls };
        self.output.json(&Document { schema: "rollcall.dry-run/1", value: &value });
        self.output.talk("dry run: nothing was sent");
    }
}

/// A call as it would be sent, and an empty line.
fn text(call: &PlannedCall) -> String {
    let mut text = format!("{} {}\n", call.method, call.url);
    for (name, value) in &call.headers {
        text.push_str(&format!("{name}: {}\n", table::shown(value)));
    }
    if let Some(body) = &call.body {
        // The alternate form is indented, and leaves no control character unescaped.
        text.push_str(&format!("\n{body:#}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_planned_call_reads_like_a_request() {
        let headers = [("if-match".to_owned(), "{etag of \"root\"}".to_owned())].into();
        let call = PlannedCall {
            method: "PUT".into(),
            url: "https://localhost/x".into(),
            headers,
            body: Some(json!({"a": 1})),
        };
        let expected = "PUT https://localhost/x\nif-match: {etag of \"root\"}\n\n{\n  \"a\": 1\n}\n";
        assert_eq!(text(&call), expected);
    }
}
