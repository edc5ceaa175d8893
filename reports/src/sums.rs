//! Whether a record adds up: a run whose sums do not is worth nothing, whatever its latencies.
//!
//! Nothing stored is taken on trust; every sum is made anew from the parts.

use crate::record::{Ledger, OutcomeKind, Outcomes, Record, Retries, Second};
use serde::{Deserialize, Serialize};

/// Two numbers that have to be equal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
    /// What they say.
    pub name: String,
    /// What it should be.
    pub expected: u64,
    /// What it is.
    pub actual: u64,
    /// Whether they are equal.
    pub agrees: bool,
}

impl Sum {
    fn new(name: impl Into<String>, expected: u64, actual: u64) -> Self {
        Self { name: name.into(), expected, actual, agrees: expected == actual }
    }
}

impl Record {
    /// Every sum that does not add up; empty for a record that can be relied on.
    pub fn check(&self) -> Vec<Sum> {
        self.sums().into_iter().filter(|sum| !sum.agrees).collect()
    }

    /// Every sum the record can be held to.
    pub fn sums(&self) -> Vec<Sum> {
        let Outcomes { assigned, refused, .. } = self.outcomes;
        let expected = self.expectations.assigned + self.expectations.refused + self.expectations.open;
        let rolled_up = self.roll_up.iter().map(|way| way.actual).sum();
        let roll_up = "the roll-up adds up to the assigned devices";
        let mut sums = vec![
            Sum::new("outcomes add up to the plan", self.planned, self.outcomes.total()),
            Sum::new("expectations add up to the plan", self.planned, expected),
            Sum { agrees: self.heard(assigned, rolled_up), ..Sum::new(roll_up, assigned, rolled_up) },
            Sum::new(
                "reasons add up to the refused devices",
                refused,
                self.reasons_for(OutcomeKind::Refused),
            ),
        ];
        sums.extend(self.held.map(|held| {
            let ended = held.kept + held.dropped + held.released;
            Sum::new("ways to end a hold add up to the held devices", held.devices, ended)
        }));
        sums.extend(self.series_sums());
        sums.extend(self.ledger.iter().flat_map(|ledger| self.ledger_sums(ledger)));
        let named = |name: &str| format!("client and service agree on {name}");
        sums.extend(self.reconciliation.iter().map(|check| Sum {
            agrees: check.counts_agree(),
            ..Sum::new(named(&check.name), check.client, check.service)
        }));
        sums
    }

    /// Whether a count of the service's fits one of ours. The service may have answered devices that gave up before
    /// they heard it, or that asked again because they did not; so many more it may have counted.
    fn heard(&self, ours: u64, theirs: u64) -> bool {
        let Outcomes { timed_out, interrupted, unreachable, protocol_error, .. } = self.outcomes;
        let Retries { connection, timeout, server_error, .. } = self.retries;
        let unheard =
            timed_out + interrupted + unreachable + protocol_error + connection + timeout + server_error;
        (ours..=ours.saturating_add(unheard)).contains(&theirs)
    }

    /// The ledger beside what it was compared with: answers that devices heard, or in records without that their
    /// outcomes. Throttled requests are not devices and are left out.
    fn ledger_sums(&self, ledger: &Ledger) -> Vec<Sum> {
        let pairs = [
            ("assigned", self.outcomes.assigned, ledger.assigned),
            ("refused", self.outcomes.refused, ledger.refused),
            ("disabled", self.outcomes.disabled, ledger.disabled),
        ];
        let sum = |(name, client, service): (&str, u64, u64)| {
            if let Some(check) = self.reconciliation.iter().find(|check| check.name == name) {
                return Sum::new(format!("what was compared is the ledger's {name}"), service, check.service);
            }
            Sum {
                name: format!("the service's ledger agrees on {name} devices"),
                expected: client,
                actual: service,
                agrees: self.heard(client, service),
            }
        };
        pairs.into_iter().map(sum).collect()
    }

    fn reasons_for(&self, kind: OutcomeKind) -> u64 {
        self.reasons.iter().filter(|reason| reason.outcome == kind).map(|reason| reason.count).sum()
    }

    fn series_sums(&self) -> Vec<Sum> {
        if self.per_second.is_empty() {
            return Vec::new();
        }
        let all = |count: fn(&Second) -> u64| self.per_second.iter().map(count).sum();
        let of = |name: &str, expected, count| {
            Sum::new(format!("seconds add up to the {name}"), expected, all(count))
        };
        let Outcomes { assigned, connected, shed, interrupted, .. } = self.outcomes;
        let mut offered = of("arrivals that came due", self.planned, |second| second.offered);
        // A run that was stopped did not wait for the arrivals it interrupted.
        offered.agrees = (self.planned.saturating_sub(interrupted)..=self.planned).contains(&offered.actual);
        vec![
            offered,
            of("started devices", self.started, |second| second.started),
            of("finished devices", self.finished, |second| second.finished),
            of("devices that got what they wanted", assigned + connected, |second| second.assigned),
            of("shed arrivals", shed, |second| second.shed),
            of("retries", self.retries.total(), |second| second.retries),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Check, Held};
    use crate::view::tests::demo;

    #[test]
    fn a_good_record_adds_up() {
        assert_eq!(demo().check(), []);
    }

    /// A sum, and a way to break it alone.
    type Break = (&'static str, fn(&mut Record));

    #[test]
    fn each_broken_sum_is_told_by_its_name() {
        let table: [Break; 16] = [
            ("outcomes add up to the plan", |r| r.outcomes.throttled += 1),
            ("expectations add up to the plan", |r| r.expectations.refused += 1),
            ("expectations add up to the plan", |r| r.expectations.open += 1),
            ("the roll-up adds up to the assigned devices", |r| r.roll_up[0].actual -= 1),
            ("reasons add up to the refused devices", |r| r.reasons[0].count += 1),
            ("ways to end a hold add up to the held devices", |r| {
                r.held = Some(Held { devices: 3, kept: 1, dropped: 1, ..Held::default() });
            }),
            ("seconds add up to the arrivals that came due", |r| r.per_second[0].offered += 1),
            ("seconds add up to the started devices", |r| r.per_second[0].started += 1),
            ("seconds add up to the finished devices", |r| r.per_second[1].finished -= 1),
            ("seconds add up to the devices that got what they wanted", |r| r.per_second[1].assigned -= 1),
            ("seconds add up to the shed arrivals", |r| r.per_second[0].shed += 1),
            ("seconds add up to the retries", |r| r.retries.throttled += 1),
            ("what was compared is the ledger's assigned", |r| ledger(r).assigned += 1),
            ("the service's ledger agrees on refused devices", |r| ledger(r).refused -= 1),
            ("the service's ledger agrees on disabled devices", |r| ledger(r).disabled += 1),
            ("client and service agree on polls", |r| {
                r.reconciliation.push(Check { agrees: true, ..Check::new("polls", 1, 2, 0) });
            }),
        ];
        for (name, broken) in table {
            let mut record = demo();
            broken(&mut record);
            let told: Vec<_> = record.check().into_iter().map(|sum| sum.name).collect();
            assert_eq!(told, [name]);
        }
    }

    #[test]
    fn arrivals_that_a_stop_came_before_need_not_have_come_due_and_no_others() {
        let mut record = demo();
        record.planned += 2;
        record.expectations.assigned += 2;
        record.outcomes.interrupted += 2;
        assert_eq!(record.check(), []);
        record.per_second[0].offered -= 1;
        let told: Vec<_> = record.check().into_iter().map(|sum| sum.name).collect();
        assert_eq!(told, ["seconds add up to the arrivals that came due"]);
    }

    #[test]
    fn devices_that_connected_got_what_they_wanted() {
        let mut record = demo();
        record.outcomes = Outcomes { connected: 10_000, refused: 6, ..Outcomes::default() };
        (record.roll_up, record.ledger, record.reconciliation) = (Vec::new(), None, Vec::new());
        assert_eq!(record.check(), []);
    }

    #[test]
    fn the_service_may_have_answered_as_often_as_nobody_waited_any_more() {
        for (service, unheard, agrees) in
            [(4, 0, true), (5, 0, false), (5, 1, true), (6, 1, false), (3, 1, false)]
        {
            let check = Check::new("throttled", 4, service, unheard);
            assert_eq!(check.agrees, agrees, "{check:?}");
            let record = Record { reconciliation: vec![check], ..Record::default() };
            let found = record.sums().into_iter().find(|sum| sum.name.ends_with("throttled"));
            assert_eq!(found.map(|sum| sum.agrees), Some(agrees));
        }
    }

    fn ledger(record: &mut Record) -> &mut Ledger {
        record.ledger.as_mut().expect("a mock run")
    }

    #[test]
    fn the_service_may_have_answered_a_device_that_did_not_hear_it_and_no_more() {
        let unheard: [fn(&mut Record); 2] = [
            |r| {
                r.planned += 1;
                r.expectations.assigned += 1;
                r.outcomes.timed_out += 1;
                r.per_second[0].offered += 1;
            },
            |r| {
                r.retries.connection += 1;
                r.per_second[0].retries += 1;
            },
        ];
        for unheard in unheard {
            // As records were before answers were compared.
            let mut record = Record { reconciliation: Vec::new(), ..demo() };
            unheard(&mut record);
            ledger(&mut record).assigned += 1;
            assert_eq!(record.check(), []);
            ledger(&mut record).assigned += 1;
            assert_eq!(record.check().len(), 1);
        }
    }
}
