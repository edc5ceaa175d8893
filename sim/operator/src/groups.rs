//! Enrollment groups and registrations at the service API.

use crate::address;
use crate::error::OperatorError;
use crate::exchange::{Answer, Call, Operator};
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sim_protocol::attestation::{EnrollmentGroup, ProvisioningStatus, Query};
use sim_protocol::registration::RegistrationState;
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

impl Operator {
    fn group_call<'a>(&self, method: Method, name: &EnrollmentGroupId, verb: &str) -> Call<'a> {
        let url = address::service(&self.service, &["enrollmentGroups", name.as_str()]);
        Call::new(method, url, format!("{verb} enrollment group `{name}`"))
    }

    fn registration_call<'a>(&self, method: Method, id: &RegistrationId, verb: &str) -> Call<'a> {
        let url = address::service(&self.service, &["registrations", id.as_str()]);
        Call::new(method, url, format!("{verb} registration `{id}`"))
    }

    /// Creates an enrollment group; one that is there under this name is a conflict.
    pub async fn create_group(
        &self,
        group: &EnrollmentGroup,
        now: OffsetDateTime,
    ) -> Result<EnrollmentGroup, OperatorError> {
        let name = EnrollmentGroupId::new(group.enrollment_group_id.as_str())?;
        let call = self.group_call(Method::PUT, &name, "create").json(group)?;
        self.serve(call, now).await?.read()
    }

    /// One enrollment group.
    pub async fn group(
        &self,
        name: &EnrollmentGroupId,
        now: OffsetDateTime,
    ) -> Result<EnrollmentGroup, OperatorError> {
        self.serve(self.group_call(Method::GET, name, "show"), now).await?.read()
    }

    /// One enrollment group as the service wrote it, with fields this tool has no word for.
    pub async fn group_document(
        &self,
        name: &EnrollmentGroupId,
        now: OffsetDateTime,
    ) -> Result<Value, OperatorError> {
        self.serve(self.group_call(Method::GET, name, "show"), now).await?.read()
    }

    /// All enrollment groups.
    pub async fn groups(&self, now: OffsetDateTime) -> Result<Vec<EnrollmentGroup>, OperatorError> {
        let url = address::service(&self.service, &["enrollmentGroups", "query"]);
        let query = Query { query: "SELECT * FROM enrollmentGroups".into() };
        let mut all = Vec::new();
        let mut place: Option<String> = None;
        loop {
            let mut call = Call::new(Method::POST, url.clone(), "list enrollment groups").json(&query)?;
            call.continuation = place.as_deref();
            let answer = self.serve(call, now).await?;
            let Page { mut items, continuation } = page(answer, place.as_deref())?;
            all.append(&mut items);
            match continuation {
                Some(next) => place = Some(next),
                None => return Ok(all),
            }
        }
    }

    /// Replaces an enrollment group, if it still has the etag the object holds. An object without an etag
    /// replaces whatever is there; fields this tool has no word for fall back to their defaults.
    pub async fn update_group(
        &self,
        group: &EnrollmentGroup,
        now: OffsetDateTime,
    ) -> Result<EnrollmentGroup, OperatorError> {
        let name = EnrollmentGroupId::new(group.enrollment_group_id.as_str())?;
        let etag = group.etag.as_deref().unwrap_or("*");
        let call = self.group_call(Method::PUT, &name, "update").if_match(Some(etag)).json(group)?;
        self.serve(call, now).await?.read()
    }

    /// Enables or disables an enrollment group and leaves everything else of it as it is.
    pub async fn set_group_status(
        &self,
        name: &EnrollmentGroupId,
        status: ProvisioningStatus,
        now: OffsetDateTime,
    ) -> Result<EnrollmentGroup, OperatorError> {
        let verb = "update";
        let present = self.serve(self.group_call(Method::GET, name, verb), now).await?;
        let mut document: serde_json::Map<String, Value> = present.read()?;
        let status = serde_json::to_value(status).map_err(|error| present.nonsense(error))?;
        document.insert("provisioningStatus".into(), status);
        let etag = document.get("etag").and_then(Value::as_str).unwrap_or("*").to_owned();
        let call = self.group_call(Method::PUT, name, verb).if_match(Some(&etag)).json(&document)?;
        self.serve(call, now).await?.read()
    }

    /// Deletes an enrollment group; its devices then enter through a group above it, if there is one.
    pub async fn delete_group(
        &self,
        name: &EnrollmentGroupId,
        now: OffsetDateTime,
    ) -> Result<(), OperatorError> {
        self.serve(self.group_call(Method::DELETE, name, "delete"), now).await.map(drop)
    }

    /// One page of the registrations of a group, from the beginning or from where a page before it ended.
    pub async fn registrations_page(
        &self,
        group: &EnrollmentGroupId,
        continuation: Option<&str>,
        now: OffsetDateTime,
    ) -> Result<Page<RegistrationState>, OperatorError> {
        let url = address::service(&self.service, &["registrations", group.as_str(), "query"]);
        let mut call = Call::new(Method::POST, url, format!("list the registrations of group `{group}`"));
        call.continuation = continuation;
        let answer = self.serve(call, now).await?;
        page(answer, continuation)
    }

    /// All registrations of a group. A large group fits better through [`Operator::registrations_page`].
    pub async fn registrations(
        &self,
        group: &EnrollmentGroupId,
        now: OffsetDateTime,
    ) -> Result<Vec<RegistrationState>, OperatorError> {
        let mut all = Vec::new();
        let mut place: Option<String> = None;
        loop {
            let Page { mut items, continuation } =
                self.registrations_page(group, place.as_deref(), now).await?;
            all.append(&mut items);
            match continuation {
                Some(next) => place = Some(next),
                None => return Ok(all),
            }
        }
    }

    /// One registration.
    pub async fn registration(
        &self,
        id: &RegistrationId,
        now: OffsetDateTime,
    ) -> Result<RegistrationState, OperatorError> {
        self.serve(self.registration_call(Method::GET, id, "show"), now).await?.read()
    }

    /// Deletes a registration; the device's next one starts afresh.
    pub async fn delete_registration(
        &self,
        id: &RegistrationId,
        now: OffsetDateTime,
    ) -> Result<(), OperatorError> {
        self.serve(self.registration_call(Method::DELETE, id, "delete"), now).await.map(drop)
    }
}

/// Reads a page; one that goes on from where it began would never end.
fn page<T: DeserializeOwned>(answer: Answer, asked: Option<&str>) -> Result<Page<T>, OperatorError> {
    if asked.is_some() && answer.continuation.as_deref() == asked {
        return Err(answer.nonsense("the list goes round in circles: a page continues at its own beginning"));
    }
    Ok(Page { items: answer.read()?, continuation: answer.continuation })
}
