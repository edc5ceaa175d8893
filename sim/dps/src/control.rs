//! What operators write: CAs and groups, and the snapshot of them that registrations are judged by.

use crate::certificates::CaStore;
use crate::enrollments::{Group, GroupStore};
use sim_identity::verdict::Trust;
use sim_protocol::EnrollmentGroupId;
use std::collections::HashMap;
use std::sync::Arc;

/// CAs and groups.
#[derive(Debug, Default)]
pub struct Control {
    /// CA certificates.
    pub authorities: CaStore,
    /// Enrollment groups.
    pub groups: GroupStore,
}

/// One state of CAs and groups, as registrations see it: a judgement sees all of it or none.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) trust: Trust,
    groups: HashMap<EnrollmentGroupId, Arc<Group>>,
    /// Groups with a shared key, by name.
    pub(crate) keyed: Vec<Arc<Group>>,
}

impl Snapshot {
    pub(crate) fn of(control: &Control) -> Self {
        let groups = control.groups.records();
        let keyed = groups.values().filter(|g| g.credential.is_key()).cloned();
        Snapshot {
            trust: control.groups.trust(&control.authorities),
            keyed: keyed.collect(),
            groups: groups.iter().map(|(id, group)| (id.clone(), group.clone())).collect(),
        }
    }

    pub(crate) fn group(&self, id: &EnrollmentGroupId) -> Option<&Arc<Group>> {
        self.groups.get(id)
    }
}
