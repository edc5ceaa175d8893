//! The official Node.js service SDK: groups, individual enrollments and registrations by a connection string.

use super::node::Node;
use super::{Site, raised, returned, text};
use crate::refusals::{leaf_of, minted_under_a_verified_root};
use crate::world::{Finished, World, find};
use serde_json::{Value, json};

const CHAIN: &str = "fleet/dev-00000.chain.pem";
const KEY: &str = "fleet/dev-00000.key.pem";

/// The service as its SDK knows it.
pub(super) struct Service<'s> {
    node: &'static Node,
    at: &'s Site<'s>,
    key: &'s str,
}

impl<'s> Service<'s> {
    /// The mock, by the policy and key that it says are its own.
    pub(super) fn of(node: &'static Node, at: &'s Site<'s>) -> Self {
        Service { node, at, key: &at.mock.service_key }
    }

    fn call(&self, method: &str, arguments: &Value) -> Finished {
        let account = format!(
            "HostName=localhost;SharedAccessKeyName=provisioningserviceowner;SharedAccessKey={}",
            self.key
        );
        let port = self.at.mock.https_port().to_string();
        self.node.run(self.at, "service.js", &[&port, &account, method, &arguments.to_string()])
    }

    /// What the SDK's `method` returns for these arguments, an array.
    #[track_caller]
    pub(super) fn returns(&self, method: &str, arguments: Value) -> Value {
        returned(self.call(method, &arguments))
    }

    /// Asserts that the SDK's `method` raises an error of this class, for an answer with this status.
    #[track_caller]
    fn raises(&self, method: &str, arguments: Value, class: &str, status: u16) {
        let error = raised(self.call(method, &arguments));
        assert_eq!((text(&error, "/type"), &error["status"]), (class, &json!(status)), "{error}");
    }
}

/// The entries of a query, page by page, by the member that names them.
fn names(pages: &Value, name: &str) -> Vec<Vec<String>> {
    let pages = pages.as_array().expect("pages").iter();
    let page =
        |page: &Value| page.as_array().expect("a page").iter().map(|entry| entry_name(entry, name)).collect();
    pages.map(page).collect()
}

fn entry_name(entry: &Value, name: &str) -> String {
    entry[name].as_str().unwrap_or_else(|| panic!("no `{name}`: {entry}")).to_owned()
}

/// The same entry, enabled or disabled.
fn with_status(entry: &Value, status: &str) -> Value {
    let mut entry = entry.clone();
    entry["provisioningStatus"] = status.into();
    entry
}

/// The group `line-2`, of all devices below the CA `root`.
fn group() -> Value {
    json!({
        "enrollmentGroupId": "line-2",
        "attestation": { "type": "x509", "x509": { "caReferences": { "primary": "root" } } },
        "provisioningStatus": "enabled",
    })
}

#[test]
fn the_official_node_service_sdk_manages_enrollment_groups() {
    let Some(node) = Node::find("the_official_node_service_sdk_manages_enrollment_groups") else { return };
    let world = World::new();
    let at = Site::start(&world);
    minted_under_a_verified_root(&world, &at.mock);
    let service = Service::of(node, &at);

    let created = service.returns("createOrUpdateEnrollmentGroup", json!([group()]));
    assert_eq!(text(&created, "/provisioningStatus"), "enabled");
    assert_eq!(text(&created, "/attestation/x509/caReferences/primary"), "root");
    let again = json!([group()]);
    service.raises("createOrUpdateEnrollmentGroup", again, "DeviceAlreadyExistsError", 409);
    assert_eq!(service.returns("getEnrollmentGroup", json!(["line-2"])), created);

    let change = json!([with_status(&created, "disabled")]);
    let changed = service.returns("createOrUpdateEnrollmentGroup", change.clone());
    assert_eq!(text(&changed, "/provisioningStatus"), "disabled");
    assert_ne!(text(&changed, "/etag"), text(&created, "/etag"));
    service.raises("createOrUpdateEnrollmentGroup", change, "InvalidEtagError", 412);
    assert_eq!(service.returns("getEnrollmentGroup", json!(["line-2"])), changed);

    let mechanism = service.returns("getEnrollmentGroupAttestationMechanism", json!(["line-2"]));
    assert_eq!(text(&mechanism, "/x509/caReferences/primary"), "root");

    service.raises("deleteEnrollmentGroup", json!([created]), "InvalidEtagError", 412);
    service.returns("deleteEnrollmentGroup", json!([changed]));
    service.raises("getEnrollmentGroup", json!(["line-2"]), "Error", 404);
}

#[test]
fn the_official_node_service_sdk_writes_back_what_it_read_of_a_signing_certificate() {
    let Some(node) =
        Node::find("the_official_node_service_sdk_writes_back_what_it_read_of_a_signing_certificate")
    else {
        return;
    };
    let world = World::new();
    let at = Site::start(&world);
    minted_under_a_verified_root(&world, &at.mock);
    let service = Service::of(node, &at);

    for (status, code) in [("disabled", 3), ("enabled", 0)] {
        let read = service.returns("getEnrollmentGroup", json!(["line-1"]));
        assert!(
            !read.to_string().contains("BEGIN CERTIFICATE"),
            "answers tell about the certificate: {read}"
        );
        service.returns("createOrUpdateEnrollmentGroup", json!([with_status(&read, status)]));
        at.mock.register(CHAIN, KEY, "").exits(code);
    }
}

#[test]
fn the_official_node_service_sdk_reads_groups_and_registrations_page_by_page() {
    let Some(node) = Node::find("the_official_node_service_sdk_reads_groups_and_registrations_page_by_page")
    else {
        return;
    };
    let world = World::new();
    let at = Site::start(&world);
    minted_under_a_verified_root(&world, &at.mock);
    let service = Service::of(node, &at);
    for id in ["line-2", "line-3", "line-4", "line-5"] {
        let group = json!({ "enrollmentGroupId": id, "attestation": { "type": "symmetricKey" } });
        service.returns("createOrUpdateEnrollmentGroup", json!([group]));
    }
    for device in ["dev-00000", "dev-00001"] {
        let (chain, key) = (format!("fleet/{device}.chain.pem"), format!("fleet/{device}.key.pem"));
        at.mock.register(&chain, &key, "").exits(0);
    }

    let all = json!({ "query": "SELECT * FROM enrollmentGroups" });
    let groups = names(&service.returns("createEnrollmentGroupQuery", json!([all, 2])), "enrollmentGroupId");
    assert_eq!(groups.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
    let mut groups = groups.concat();
    groups.sort();
    assert_eq!(groups, ["line-1", "line-2", "line-3", "line-4", "line-5"]);

    let of_group = json!([{ "query": "SELECT *" }, "line-1", 1]);
    let pages = service.returns("createEnrollmentGroupDeviceRegistrationStateQuery", of_group);
    let mut devices = names(&pages, "registrationId");
    devices.sort();
    assert_eq!(devices, [["dev-00000"], ["dev-00001"]]);
}

#[test]
fn the_official_node_service_sdk_manages_individual_enrollments() {
    let Some(node) = Node::find("the_official_node_service_sdk_manages_individual_enrollments") else {
        return;
    };
    let world = World::new();
    let at = Site::start(&world);
    minted_under_a_verified_root(&world, &at.mock);
    let service = Service::of(node, &at);
    let slots = json!({ "primary": { "certificate": leaf_of(&world.read(CHAIN)) } });
    let enrollment = json!({
        "registrationId": "dev-00000",
        "deviceId": "pump-1",
        "attestation": { "type": "x509", "x509": { "clientCertificates": slots } },
    });

    let created = service.returns("createOrUpdateIndividualEnrollment", json!([enrollment]));
    assert_eq!(text(&created, "/provisioningStatus"), "enabled");
    assert!(created.pointer("/attestation/x509/clientCertificates/primary/info").is_some(), "{created}");
    let again = json!([enrollment]);
    service.raises("createOrUpdateIndividualEnrollment", again, "DeviceAlreadyExistsError", 409);
    assert_eq!(service.returns("getIndividualEnrollment", json!(["dev-00000"])), created);
    let registered = at.mock.register(CHAIN, KEY, "").exits(0).json();
    assert_eq!(find(&registered, "device_id"), Some(&json!("pump-1")), "{registered}");

    let read = service.returns("getIndividualEnrollment", json!(["dev-00000"]));
    let disabled = json!([with_status(&read, "disabled")]);
    let changed = service.returns("createOrUpdateIndividualEnrollment", disabled.clone());
    service.raises("createOrUpdateIndividualEnrollment", disabled, "InvalidEtagError", 412);
    // The group would still let the device in.
    at.mock.register(CHAIN, KEY, "").exits(3);

    let all = json!([{ "query": "SELECT * FROM enrollments" }, null]);
    let pages = service.returns("createIndividualEnrollmentQuery", all);
    assert_eq!(names(&pages, "registrationId"), [["dev-00000"]]);

    service.returns("deleteIndividualEnrollment", json!([changed]));
    service.raises("getIndividualEnrollment", json!(["dev-00000"]), "Error", 404);
    at.mock.register(CHAIN, KEY, "").exits(0);
}

#[test]
fn the_official_node_service_sdk_learns_which_part_of_a_bulk_operation_failed() {
    let Some(node) = Node::find("the_official_node_service_sdk_learns_which_part_of_a_bulk_operation_failed")
    else {
        return;
    };
    let world = World::new();
    let at = Site::start(&world);
    let service = Service::of(node, &at);
    let run = |mode: &str, ids: [&str; 2]| {
        let entry = |id| json!({ "registrationId": id, "attestation": { "type": "symmetricKey" } });
        let operation = json!([{ "mode": mode, "enrollments": ids.map(entry) }]);
        service.returns("runBulkEnrollmentOperation", operation)
    };

    assert_eq!(run("create", ["sk-1", "sk-2"])["isSuccessful"], true);
    let half = run("create", ["sk-2", "sk-3"]);
    assert_eq!(half["isSuccessful"], false, "{half}");
    assert_eq!(names(&json!([half["errors"]]), "registrationId"), [["sk-2"]]);
    service.returns("getIndividualEnrollment", json!(["sk-3"]));
    assert_eq!(run("delete", ["sk-1", "sk-3"])["isSuccessful"], true);
    service.raises("getIndividualEnrollment", json!(["sk-1"]), "Error", 404);
}

#[test]
fn the_official_node_service_sdk_reads_and_deletes_registrations() {
    let Some(node) = Node::find("the_official_node_service_sdk_reads_and_deletes_registrations") else {
        return;
    };
    let world = World::new();
    let at = Site::start(&world);
    minted_under_a_verified_root(&world, &at.mock);
    at.mock.register(CHAIN, KEY, "").exits(0);
    let service = Service::of(node, &at);

    let state = service.returns("getDeviceRegistrationState", json!(["dev-00000"]));
    assert_eq!((text(&state, "/status"), text(&state, "/deviceId")), ("assigned", "dev-00000"), "{state}");
    service.returns("deleteDeviceRegistrationState", json!([state]));
    service.raises("getDeviceRegistrationState", json!(["dev-00000"]), "Error", 404);
}

#[test]
fn the_official_node_service_sdk_is_refused_with_another_key() {
    let Some(node) = Node::find("the_official_node_service_sdk_is_refused_with_another_key") else { return };
    let world = World::new();
    let at = Site::start(&world);
    let stranger = Service { key: "YW5vdGhlciBrZXksIG5vdCB0aGF0IG9mIHRoZSBtb2Nr", ..Service::of(node, &at) };
    let all = json!([{ "query": "SELECT *" }, null]);
    stranger.raises("createEnrollmentGroupQuery", all, "UnauthorizedError", 401);
    stranger.raises("createOrUpdateEnrollmentGroup", json!([group()]), "UnauthorizedError", 401);
}
