//! Whether a record adds up: a run whose sums do not is worth nothing, whatever its latencies.
//!
//! Nothing stored is taken on trust; every sum is made anew from the parts.

use crate::record::{Ledger, OutcomeKind, Outcomes, Record};
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
        let expected = self.expectations.assigned + self.expectations.refused;
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
        sums.extend(self.series_sums());
        sums.extend(self.ledger.iter().flat_map(|ledger| self.ledger_sums(ledger)));
        let named = |name: &str| format!("client and service agree on {name}");
        sums.extend(self.reconciliation.iter().map(|c| Sum::new(named(&c.name), c.client, c.service)));
        sums
    }

    /// Whether a count of the service's fits one of ours. The service may have answered devices that gave up before
    /// they heard it; so many more it may have counted.
    fn heard(&self, ours: u64, theirs: u64) -> bool {
        let Outcomes { timed_out, interrupted, unreachable, protocol_error, .. } = self.outcomes;
        let unheard = timed_out + interrupted + unreachable + protocol_error;
        (ours..=ours.saturating_add(unheard)).contains(&theirs)
    }

    /// The ledger beside the outcomes. Throttled requests are not devices and are left out.
    fn ledger_sums(&self, ledger: &Ledger) -> Vec<Sum> {
        let pairs = [
            ("assigned", self.outcomes.assigned, ledger.assigned),
            ("refused", self.outcomes.refused, ledger.refused),
            ("disabled", self.outcomes.disabled, ledger.disabled),
        ];
        let sum = |(name, client, service): (&str, u64, u64)| Sum {
            name: format!("the service's ledger agrees on {name} devices"),
            expected: client,
            actual: service,
            agrees: self.heard(client, service),
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
        let (started, assigned) = self
            .per_second
            .iter()
            .fold((0, 0), |sum, second| (sum.0 + second.started, sum.1 + second.assigned));
        vec![
            Sum::new("seconds add up to the started devices", self.started, started),
            Sum::new("seconds add up to the assigned devices", self.outcomes.assigned, assigned),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Check;
    use crate::view::tests::demo;

    #[test]
    fn a_good_record_adds_up() {
        assert_eq!(demo().check(), []);
    }

    /// A sum, and a way to break it alone.
    type Break = (&'static str, fn(&mut Record));

    #[test]
    fn each_broken_sum_is_told_by_its_name() {
        let table: [Break; 11] = [
            ("outcomes add up to the plan", |r| r.outcomes.shed += 1),
            ("expectations add up to the plan", |r| r.expectations.refused += 1),
            ("the roll-up adds up to the assigned devices", |r| r.roll_up[0].actual -= 1),
            ("reasons add up to the refused devices", |r| r.reasons[0].count += 1),
            ("seconds add up to the started devices", |r| r.per_second[0].started += 1),
            ("seconds add up to the assigned devices", |r| r.per_second[1].assigned -= 1),
            ("the service's ledger agrees on assigned devices", |r| ledger(r).assigned += 1),
            ("the service's ledger agrees on refused devices", |r| ledger(r).refused -= 1),
            ("the service's ledger agrees on disabled devices", |r| ledger(r).disabled += 1),
            ("client and service agree on assigned", |r| r.reconciliation[0].service += 1),
            ("client and service agree on polls", |r| {
                r.reconciliation.push(Check { name: "polls".into(), client: 1, service: 2, agrees: true });
            }),
        ];
        for (name, broken) in table {
            let mut record = demo();
            broken(&mut record);
            let told: Vec<_> = record.check().into_iter().map(|sum| sum.name).collect();
            assert_eq!(told, [name]);
        }
    }

    fn ledger(record: &mut Record) -> &mut Ledger {
        record.ledger.as_mut().expect("a mock run")
    }

    #[test]
    fn the_service_may_have_answered_a_device_that_gave_up_and_no_more() {
        let mut record = demo();
        record.planned += 1;
        record.expectations.assigned += 1;
        record.outcomes.timed_out += 1;
        ledger(&mut record).assigned += 1;
        assert_eq!(record.check(), []);
        ledger(&mut record).assigned += 1;
        assert_eq!(record.check().len(), 1);
    }
}
