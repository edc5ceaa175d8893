//! Registration records at the service API: read and deleted, never written.

use crate::address;
use crate::entries::{Page, page};
use crate::error::OperatorError;
use crate::exchange::{Call, Operator};
use reqwest::Method;
use serde_json::json;
use sim_protocol::registration::RegistrationState;
use sim_protocol::{EnrollmentGroupId, RegistrationId};
use time::OffsetDateTime;

impl Operator {
    fn registration_call<'a>(&self, method: Method, id: &RegistrationId, verb: &str) -> Call<'a> {
        let url = address::service(&self.service, &["registrations", id.as_str()]);
        let call = Call::new(method, url, format!("{verb} registration `{id}`"));
        call.stands_in(json!({"registrationId": id.as_str(), "status": "unassigned"}))
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
        page(self.serve(call.stands_in(json!([])), now).await?, continuation)
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
