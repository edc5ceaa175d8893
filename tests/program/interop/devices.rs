//! The official device SDKs: every transport, every credential, and what a refusal looks like to them.

use super::enrollments::Service;
use super::node::Node;
use super::python::{DEVICE, Python};
use super::{Site, raised, returned, text};
use crate::refusals::minted_under_a_verified_root;
use crate::world::{Finished, World, find};
use serde_json::json;

/// What the first device of the fleet has to show.
const CERTIFICATE: [&str; 4] = ["--cert", "fleet/dev-00000.chain.pem", "--key", "fleet/dev-00000.key.pem"];

/// An official device SDK.
#[derive(Clone, Copy, Debug)]
enum Sdk {
    Python(&'static Python),
    Node(&'static Node),
}

impl Sdk {
    fn transports(self) -> &'static [&'static str] {
        match self {
            Sdk::Python(_) => &["mqtt", "mqtt-ws"],
            Sdk::Node(_) => &["mqtt", "mqtt-ws", "https"],
        }
    }

    /// Provisions the device `id` over `transport`.
    fn provision(self, at: &Site<'_>, transport: &str, id: &str, credentials: &[&str]) -> Finished {
        let Site { world, mock } = at;
        let port = if transport == "mqtt" { mock.mqtts_port() } else { mock.https_port() }.to_string();
        let mut arguments = vec!["--host", "localhost", "--port", &port, "--id-scope", &mock.id_scope];
        arguments.extend(["--registration-id", id, "--transport", transport]);
        arguments.extend(credentials);
        match self {
            Sdk::Python(python) => {
                arguments.extend(["--trust-root", mock.trust_root]);
                python.run(world, "provision.py", &arguments)
            }
            Sdk::Node(node) => node.run(at, "provision.js", &arguments),
        }
    }

    /// Asserts that the SDK hands over an assignment, and that it is the one that the service has recorded.
    #[track_caller]
    fn is_assigned(self, at: &Site<'_>, transport: &str, id: &str, credentials: &[&str]) {
        let result = returned(self.provision(at, transport, id, credentials));
        assert_eq!((text(&result, "/status"), text(&result, "/deviceId")), ("assigned", id), "{result}");
        assert!(!text(&result, "/assignedHub").is_empty(), "{result}");
        let recorded = at.mock.operate(&format!("registration show {id} --json")).exits(0).json();
        let hub = find(&recorded, "assignedHub").or(find(&recorded, "assigned_hub"));
        assert_eq!(hub, result.get("assignedHub"), "{recorded}");
    }

    /// Asserts that the SDK raises what it has for a 401.
    #[track_caller]
    fn is_unauthorized(self, at: &Site<'_>, transport: &str, id: &str, credentials: &[&str]) {
        let error = raised(self.provision(at, transport, id, credentials));
        match self {
            Sdk::Node(_) => assert_eq!(error["type"], "UnauthorizedError", "{error}"),
            Sdk::Python(_) => {
                let types = (text(&error, "/type"), text(&error, "/cause/type"));
                assert_eq!(types, ("ClientError", "ServiceError"), "{error}");
                // The SDK has the status in this text and nowhere else.
                assert!(text(&error, "/cause/text").contains("401"), "{error}");
            }
        }
    }
}

/// The first device of a fleet that the mock admits is provisioned over `transports`.
fn provisions_over(sdk: Sdk, transports: &[&str]) {
    let world = World::new();
    let at = Site::start(&world);
    minted_under_a_verified_root(&world, &at.mock);
    for transport in transports {
        sdk.is_assigned(&at, transport, "dev-00000", &CERTIFICATE);
    }
}

#[test]
fn the_official_python_device_sdk_provisions_against_the_mock() {
    let Some(python) = DEVICE.find("the_official_python_device_sdk_provisions_against_the_mock") else {
        return;
    };
    provisions_over(Sdk::Python(python), &["mqtt"]);
}

#[test]
fn the_official_python_device_sdk_provisions_over_websocket() {
    let Some(python) = DEVICE.find("the_official_python_device_sdk_provisions_over_websocket") else {
        return;
    };
    provisions_over(Sdk::Python(python), &["mqtt-ws"]);
}

#[test]
fn the_official_node_device_sdk_provisions_over_every_transport() {
    let Some(node) = Node::find("the_official_node_device_sdk_provisions_over_every_transport") else {
        return;
    };
    provisions_over(Sdk::Node(node), Sdk::Node(node).transports());
}

/// The service knows the CA of the fleet, but nobody has proved possession of its key.
fn raises_when_the_ca_is_unverified(sdk: Sdk) {
    let world = World::new();
    let at = Site::start(&world);
    minted_under_a_verified_root(&world, &at.mock);
    at.mock.operate("ca delete root").exits(0);
    at.mock.operate("ca upload root --cert ca/root.pem").exits(0);
    for transport in sdk.transports() {
        sdk.is_unauthorized(&at, transport, "dev-00000", &CERTIFICATE);
    }
}

#[test]
fn the_official_python_device_sdk_raises_when_the_ca_is_unverified() {
    let Some(python) = DEVICE.find("the_official_python_device_sdk_raises_when_the_ca_is_unverified") else {
        return;
    };
    raises_when_the_ca_is_unverified(Sdk::Python(python));
}

#[test]
fn the_official_node_device_sdk_raises_when_the_ca_is_unverified() {
    let Some(node) = Node::find("the_official_node_device_sdk_raises_when_the_ca_is_unverified") else {
        return;
    };
    raises_when_the_ca_is_unverified(Sdk::Node(node));
}

/// The two keys that the service made up for the entry `id`, asked for by `method`.
fn keys(service: &Service<'_>, method: &str, id: &str) -> [String; 2] {
    let attestation = service.returns(method, json!([id]));
    ["/symmetricKey/primaryKey", "/symmetricKey/secondaryKey"].map(|key| text(&attestation, key).to_owned())
}

/// One device has an enrollment and keys of its own, the keys of the other are derived from those of a group.
fn provisions_with_a_symmetric_key(sdk: Sdk, node: &'static Node) {
    let world = World::new();
    let at = Site::start(&world);
    let service = Service::of(node, &at);
    let enroll = |method: &str, name: &str, id: &str| {
        service.returns(method, json!([{ name: id, "attestation": { "type": "symmetricKey" } }]));
    };
    enroll("createOrUpdateIndividualEnrollment", "registrationId", "sk-own");
    enroll("createOrUpdateEnrollmentGroup", "enrollmentGroupId", "line-2");
    let own = keys(&service, "getIndividualEnrollmentAttestationMechanism", "sk-own");
    let group = keys(&service, "getEnrollmentGroupAttestationMechanism", "line-2");

    for transport in sdk.transports() {
        sdk.is_assigned(&at, transport, "sk-own", &["--symmetric-key", &own[0]]);
        sdk.is_assigned(&at, transport, "sk-derived", &["--group-key", &group[0]]);
        sdk.is_unauthorized(&at, transport, "sk-derived", &["--symmetric-key", &group[0]]);
    }
    sdk.is_assigned(&at, "mqtt", "sk-own", &["--symmetric-key", &own[1]]);
    sdk.is_assigned(&at, "mqtt", "sk-derived", &["--group-key", &group[1]]);
}

#[test]
fn the_official_python_device_sdk_provisions_with_a_symmetric_key() {
    const TEST: &str = "the_official_python_device_sdk_provisions_with_a_symmetric_key";
    let (Some(python), Some(node)) = (DEVICE.find(TEST), Node::find(TEST)) else { return };
    provisions_with_a_symmetric_key(Sdk::Python(python), node);
}

#[test]
fn the_official_node_device_sdk_provisions_with_a_symmetric_key() {
    let Some(node) = Node::find("the_official_node_device_sdk_provisions_with_a_symmetric_key") else {
        return;
    };
    provisions_with_a_symmetric_key(Sdk::Node(node), node);
}
