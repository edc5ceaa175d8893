//! Enrollment groups and individual enrollments at the service API. The two differ in their names and in little
//! else: one set of calls serves both.

use crate::address;
use crate::error::OperatorError;
use crate::exchange::{Answer, Call, Operator};
use crate::rehearsal::placeholder;
use reqwest::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use sim_protocol::attestation::{
    AllocationPolicy, AttestationKind, AttestationMechanism, BulkMode, BulkResult, CustomAllocation,
    EnrollmentGroup, IndividualEnrollment, MAX_BULK, ProvisioningStatus, Query, ReprovisionPolicy, Terms,
};
use sim_protocol::{EnrollmentGroupId, RegistrationId};
use time::OffsetDateTime;

/// A part of a longer list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// What is on this page.
    pub items: Vec<T>,
    /// Where the next page begins; absent on the last.
    pub continuation: Option<String>,
}

/// The two kinds of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collection {
    /// Enrollment groups.
    Groups,
    /// Individual enrollments.
    Enrollments,
}

impl Collection {
    /// The first segment of the path, and the key of the items in a bulk call.
    fn segment(self) -> &'static str {
        match self {
            Collection::Groups => "enrollmentGroups",
            Collection::Enrollments => "enrollments",
        }
    }

    /// The field that names an entry.
    pub fn id_field(self) -> &'static str {
        match self {
            Collection::Groups => "enrollmentGroupId",
            Collection::Enrollments => "registrationId",
        }
    }

    /// Every entry, in the words of the query language.
    pub fn all(self) -> String {
        format!("SELECT * FROM {}", self.segment())
    }

    /// What one is called.
    pub fn noun(self) -> &'static str {
        match self {
            Collection::Groups => "enrollment group",
            Collection::Enrollments => "enrollment",
        }
    }
}

/// One entry, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// An enrollment group.
    Group(EnrollmentGroupId),
    /// The individual enrollment of a device.
    Individual(RegistrationId),
}

impl Entry {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Entry::Group(name) => name.as_str(),
            Entry::Individual(id) => id.as_str(),
        }
    }

    /// Its kind.
    pub fn collection(&self) -> Collection {
        match self {
            Entry::Group(_) => Collection::Groups,
            Entry::Individual(_) => Collection::Enrollments,
        }
    }
}

/// What to change of an entry, or to make other than the default of a new one; what is absent stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Changes {
    /// Device id at the hub; for individual enrollments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// Whether it lets devices in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provisioning_status: Option<ProvisioningStatus>,
    /// What happens at a registration after the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reprovision_policy: Option<ReprovisionPolicy>,
    /// How its devices are spread over hubs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocation_policy: Option<AllocationPolicy>,
    /// Candidate hubs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iot_hubs: Option<Vec<String>>,
    /// Who is asked under the policy `custom`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom_allocation_definition: Option<CustomAllocation>,
    /// The twin a device starts from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_twin: Option<Value>,
}

impl Changes {
    /// The terms of a new entry.
    pub fn terms(self, attestation: AttestationMechanism) -> Terms {
        Terms {
            attestation,
            provisioning_status: self.provisioning_status.unwrap_or_default(),
            reprovision_policy: self.reprovision_policy,
            allocation_policy: self.allocation_policy,
            iot_hubs: self.iot_hubs,
            custom_allocation_definition: self.custom_allocation_definition,
            initial_twin: self.initial_twin,
            ..Terms::default()
        }
    }
}

impl Operator {
    fn entry_call<'a>(&self, method: Method, entry: &Entry, verb: &str) -> Call<'a> {
        let (collection, name) = (entry.collection(), entry.name());
        let url = address::service(&self.service, &[collection.segment(), name]);
        let reads = method == Method::GET;
        let call = Call::new(method, url, format!("{verb} {} `{name}`", collection.noun()));
        if reads { call.stands_in(stand_in(entry)) } else { call }
    }

    /// Creates an enrollment group; one that is there under this name is a conflict.
    pub async fn create_group(
        &self,
        group: &EnrollmentGroup,
        now: OffsetDateTime,
    ) -> Result<EnrollmentGroup, OperatorError> {
        let name = EnrollmentGroupId::new(group.enrollment_group_id.as_str())?;
        let call = self.entry_call(Method::PUT, &Entry::Group(name), "create").json(group)?;
        self.serve(call, now).await?.read()
    }

    /// Creates an individual enrollment; one that is there for this device is a conflict.
    pub async fn create_enrollment(
        &self,
        enrollment: &IndividualEnrollment,
        now: OffsetDateTime,
    ) -> Result<IndividualEnrollment, OperatorError> {
        let id = RegistrationId::new(enrollment.registration_id.as_str())?;
        let call = self.entry_call(Method::PUT, &Entry::Individual(id), "create").json(enrollment)?;
        self.serve(call, now).await?.read()
    }

    /// One entry as the service wrote it, with fields this tool has no word for.
    pub async fn entry(&self, entry: &Entry, now: OffsetDateTime) -> Result<Value, OperatorError> {
        self.serve(self.entry_call(Method::GET, entry, "show"), now).await?.read()
    }

    /// One page of the entries that a query selects, from the beginning or from where a page before it ended.
    pub async fn entries_page(
        &self,
        collection: Collection,
        query: &str,
        continuation: Option<&str>,
        now: OffsetDateTime,
    ) -> Result<Page<Value>, OperatorError> {
        let url = address::service(&self.service, &[collection.segment(), "query"]);
        let attempted = format!("list {}s", collection.noun());
        let mut call = Call::new(Method::POST, url, attempted).json(&Query { query: query.to_owned() })?;
        call.continuation = continuation;
        page(self.serve(call.stands_in(json!([])), now).await?, continuation)
    }

    /// Changes an entry and leaves everything else of it as it is; refused if somebody else changes it meanwhile.
    pub async fn change(
        &self,
        entry: &Entry,
        changes: &Changes,
        now: OffsetDateTime,
    ) -> Result<Value, OperatorError> {
        let verb = "update";
        let present = self.serve(self.entry_call(Method::GET, entry, verb), now).await?;
        let mut document: Map<String, Value> = present.read()?;
        let kind = document.get("attestation").and_then(|attestation| attestation.get("type"));
        if kind.is_some_and(|kind| *kind == json!(AttestationKind::SymmetricKey)) {
            // `ours:` the service hides the keys and may make up new ones where they are left out; what is sent
            // along stays.
            let mechanism = self.mechanism_document(entry, verb, now).await?;
            document.insert("attestation".into(), mechanism);
        }
        let changes = serde_json::to_value(changes).map_err(|error| present.nonsense(error))?;
        if let Value::Object(changes) = changes {
            document.extend(changes);
        }
        let etag = document.get("etag").and_then(Value::as_str).unwrap_or("*").to_owned();
        let call = self.entry_call(Method::PUT, entry, verb).if_match(Some(&etag)).json(&document)?;
        self.serve(call, now).await?.read()
    }

    /// How devices of an entry attest, with its keys.
    pub async fn mechanism(
        &self,
        entry: &Entry,
        now: OffsetDateTime,
    ) -> Result<AttestationMechanism, OperatorError> {
        let verb = "read the keys of";
        let document = self.mechanism_document(entry, verb, now).await?;
        serde_json::from_value(document).map_err(|error| OperatorError::Malformed {
            attempted: format!("{verb} {} `{}`", entry.collection().noun(), entry.name()),
            url: crate::error::origin(self.service.as_str()),
            reason: error.to_string(),
        })
    }

    async fn mechanism_document(
        &self,
        entry: &Entry,
        verb: &str,
        now: OffsetDateTime,
    ) -> Result<Value, OperatorError> {
        let mut call = self.entry_call(Method::POST, entry, verb).stands_in(json!({"type": "none"}));
        let segments = [entry.collection().segment(), entry.name(), "attestationmechanism"];
        call.url = address::service(&self.service, &segments);
        self.serve(call, now).await?.read()
    }

    /// Deletes an entry. Devices of a group then enter through one above it, if there is one; the device of an
    /// individual enrollment through a group.
    pub async fn delete_entry(&self, entry: &Entry, now: OffsetDateTime) -> Result<(), OperatorError> {
        self.serve(self.entry_call(Method::DELETE, entry, "delete"), now).await.map(drop)
    }

    /// One bulk call with one to [`MAX_BULK`] entries, see [`batches`]; some may be done and others not.
    pub async fn bulk(
        &self,
        collection: Collection,
        items: &[Value],
        mode: BulkMode,
        now: OffsetDateTime,
    ) -> Result<BulkResult, OperatorError> {
        let url = address::service(&self.service, &[collection.segment()]);
        let attempted = format!("import {} {}s", items.len(), collection.noun());
        let body = json!({collection.segment(): items, "mode": mode});
        let call = Call::new(Method::POST, url, attempted).json(&body)?;
        let done = json!({"isSuccessful": true, "errors": []});
        self.serve(call.stands_in(done), now).await?.read()
    }
}

/// Items in the portions that bulk calls take.
pub fn batches(items: &[Value]) -> impl ExactSizeIterator<Item = &[Value]> {
    items.chunks(MAX_BULK)
}

/// What stands for an entry where calls are only written down.
fn stand_in(entry: &Entry) -> Value {
    let name = entry.name();
    json!({
        entry.collection().id_field(): name,
        "etag": placeholder("etag", name),
        "…": placeholder("everything else", name),
    })
}

/// Reads a page; one that goes on from where it began would never end.
pub(crate) fn page<T: DeserializeOwned>(
    answer: Answer,
    asked: Option<&str>,
) -> Result<Page<T>, OperatorError> {
    if asked.is_some() && answer.continuation.as_deref() == asked {
        return Err(answer.nonsense("the list goes round in circles: a page continues at its own beginning"));
    }
    Ok(Page { items: answer.read()?, continuation: answer.continuation })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_sent_ten_at_a_time_and_none_twice() {
        for (count, sizes) in [(0, &[][..]), (1, &[1]), (10, &[10]), (11, &[10, 1]), (25, &[10, 10, 5])] {
            let items: Vec<Value> = (0..count).map(Value::from).collect();
            assert_eq!(batches(&items).map(<[Value]>::len).collect::<Vec<_>>(), sizes);
            assert_eq!(batches(&items).flatten().cloned().collect::<Vec<_>>(), items);
        }
    }

    #[test]
    fn only_what_is_to_change_is_in_a_change() {
        let none = serde_json::to_value(Changes::default()).expect("JSON");
        assert_eq!(none, json!({}));
        let some = Changes {
            provisioning_status: Some(ProvisioningStatus::Disabled),
            allocation_policy: Some(AllocationPolicy::GeoLatency),
            iot_hubs: Some(vec!["h".into()]),
            ..Changes::default()
        };
        let expected =
            json!({"provisioningStatus": "disabled", "allocationPolicy": "geoLatency", "iotHubs": ["h"]});
        assert_eq!(serde_json::to_value(some).expect("JSON"), expected);
    }
}
