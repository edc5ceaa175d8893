//! What happened to one registration lately, told in full: what its requests were answered and why.
//!
//! Bounded: the latest registrations, and of each the latest events.

use crate::ledger::Route;
use serde::Serialize;
use sim_protocol::timestamp;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use time::OffsetDateTime;

/// Events kept of one registration.
const EVENTS: usize = 8;

/// What a device asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Asked {
    /// MQTT CONNECT.
    Connect,
    /// MQTT SUBSCRIBE.
    Subscribe,
    /// Register.
    Register,
    /// Operation status.
    Poll,
}

/// One answer, and how it came about.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) at: OffsetDateTime,
    pub(crate) asked: Asked,
    /// HTTP-like status; 0 where the request was not answered.
    pub(crate) status: u16,
    /// Six-digit code of an error, or 0.
    pub(crate) code: u32,
    pub(crate) verdict: &'static str,
    pub(crate) route: Option<Arc<Route>>,
    pub(crate) trail: Vec<String>,
    pub(crate) faults: Vec<&'static str>,
}

/// An event as management shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TraceEvent {
    /// RFC 3339.
    pub at: String,
    /// What the device asked.
    pub request: Asked,
    /// HTTP-like status; 0 where the request was not answered.
    pub status: u16,
    /// Six-digit code of an error, or 0.
    pub code: u32,
    /// The verdict's stable name.
    pub verdict: &'static str,
    /// Subjects from the top of the path down to the leaf's issuer, where there was one.
    pub path: Vec<String>,
    /// The enrollment that decided, where one did.
    pub entry: Option<String>,
    /// Every dead end, the one that got farthest first, in sentences.
    pub trail: Vec<String>,
    /// Faults that were applied, by id.
    pub faults: Vec<&'static str>,
}

/// What is known of one registration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trace {
    /// Whose events these are, folded.
    pub registration_id: String,
    /// Oldest first.
    pub events: Vec<TraceEvent>,
}

/// The latest traces.
#[derive(Debug)]
pub(crate) struct TraceBook {
    capacity: usize,
    order: VecDeque<String>,
    events: HashMap<String, VecDeque<Event>>,
}

impl TraceBook {
    pub(crate) fn new(capacity: usize) -> Self {
        TraceBook { capacity, order: VecDeque::new(), events: HashMap::new() }
    }

    pub(crate) fn note(&mut self, key: &str, event: Event) {
        if let Some(events) = self.events.get_mut(key) {
            if events.len() >= EVENTS {
                events.pop_front();
            }
            events.push_back(event);
            return;
        }
        if self.order.len() >= self.capacity
            && let Some(oldest) = self.order.pop_front()
        {
            self.events.remove(&oldest);
        }
        self.order.push_back(key.to_owned());
        self.events.insert(key.to_owned(), VecDeque::from([event]));
    }

    pub(crate) fn trace(&self, key: &str) -> Option<Trace> {
        let events = self.events.get(key)?.iter().map(|e| TraceEvent {
            at: timestamp::ticks(e.at),
            request: e.asked,
            status: e.status,
            code: e.code,
            verdict: e.verdict,
            path: e.route.as_ref().map(|r| r.path.clone()).unwrap_or_default(),
            entry: e.route.as_ref().map(|r| r.group.clone()),
            trail: e.trail.clone(),
            faults: e.faults.clone(),
        });
        Some(Trace { registration_id: key.to_owned(), events: events.collect() })
    }

    pub(crate) fn clear(&mut self) {
        self.order.clear();
        self.events.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(status: u16) -> Event {
        Event {
            at: OffsetDateTime::UNIX_EPOCH,
            asked: Asked::Register,
            status,
            code: 0,
            verdict: "accept",
            route: None,
            trail: Vec::new(),
            faults: Vec::new(),
        }
    }

    #[test]
    fn the_latest_registrations_and_of_each_the_latest_events_are_kept() {
        let mut book = TraceBook::new(2);
        for i in 0..EVENTS as u16 + 3 {
            book.note("a", event(i));
        }
        let statuses =
            |book: &TraceBook| book.trace("a").map(|t| t.events.iter().map(|e| e.status).collect::<Vec<_>>());
        assert_eq!(statuses(&book), Some((3..EVENTS as u16 + 3).collect()));
        book.note("b", event(0));
        assert!(statuses(&book).is_some());
        book.note("c", event(0));
        assert!(statuses(&book).is_none() && book.trace("c").is_some(), "the oldest makes room");
    }
}
