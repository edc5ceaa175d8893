//! The service's error codes. One code has several messages, and the message tells the cause.

use super::{Entry, Kind, Variant, fact};

/// A code of the device API, the service API or the resource manager.
struct ServiceCode {
    id: &'static str,
    meaning: &'static str,
    causes: &'static [&'static str],
    repair: &'static str,
    source: &'static [&'static str],
    messages: &'static [Message],
    /// Whether anybody saw the service itself use it; else it is the mock's, in the style of the others.
    seen: bool,
}

/// A text that a code comes with.
struct Message {
    text: &'static str,
    cause: &'static str,
    repair: &'static str,
    source: &'static [&'static str],
}

impl ServiceCode {
    const fn seen(id: &'static str, meaning: &'static str, source: &'static [&'static str]) -> Self {
        ServiceCode { id, meaning, causes: &[], repair: "", source, messages: &[], seen: true }
    }

    /// `ours:` a code that is not known of the service.
    const fn ours(id: &'static str, meaning: &'static str) -> Self {
        ServiceCode { seen: false, ..Self::seen(id, meaning, &["the mock; not seen at the service"]) }
    }

    const fn causes(self, causes: &'static [&'static str]) -> Self {
        ServiceCode { causes, ..self }
    }

    const fn repair(self, repair: &'static str) -> Self {
        ServiceCode { repair, ..self }
    }

    const fn messages(self, messages: &'static [Message]) -> Self {
        ServiceCode { messages, ..self }
    }

    fn entry(&self) -> Entry {
        let variant = |message: &Message| Variant {
            message: message.text,
            cause: message.cause,
            repair: message.repair,
            source: message.source.to_vec(),
        };
        Entry {
            causes: self.causes.iter().map(ToString::to_string).collect(),
            repair: self.repair.to_owned(),
            source: self.source.iter().map(ToString::to_string).collect(),
            variants: self.messages.iter().map(variant).collect(),
            facts: if self.seen { Vec::new() } else { vec![fact("known", "of the mock alone")] },
            ..Entry::new(Kind::Code, self.id, self.meaning)
        }
    }
}

/// Every code.
pub(super) fn entries() -> Vec<Entry> {
    CODES.iter().map(ServiceCode::entry).collect()
}

const CODES: &[ServiceCode] = &[
    ServiceCode::seen(
        "400004",
        "The service refuses an argument of the request.",
        &["Azure/azure-iot-sdk-c#405", "Azure/azure-iot-sdk-csharp#547"],
    )
    .repair("Compare the registration id with the rules for ids, and register under the CN.")
    .messages(&[
        Message {
            text: "Invalid RegistrationId",
            cause: "The registration id has characters that the service does not take, or ends in one it may not \
                    end in.",
            repair: "Use letters, digits and `-` `.` `_` `:`, ending in a letter, digit or dash, at most 128 of them.",
            source: &["Azure/azure-iot-sdk-c#405", "DPS documentation, Terminology (registration ID)"],
        },
        Message {
            text: "BadRequest",
            cause: "A part of the request is missing or of another form.",
            repair: "Send what the API documents, no more and no less.",
            source: &["Azure/azure-iot-sdk-csharp#547"],
        },
        Message {
            text: "Unknown api version.",
            cause: "The api-version is missing or nobody knows it.",
            repair: "Give the api-version of the SDK or of the documentation.",
            source: &["the mock; not seen at the service"],
        },
    ]),
    ServiceCode::seen(
        "400012",
        "The body is not the JSON that was asked for.",
        &["tests of the official SDKs (certificate signing requests)"],
    )
    .causes(&["Broken JSON, or a field that the api-version does not have."])
    .repair("Send the body that the api-version documents."),
    ServiceCode::seen(
        "400207",
        "The custom allocation webhook gave no hub; the registration ends as `failed`.",
        &["Azure/iotedge#3233", "MicrosoftDocs/azure-docs#71563"],
    )
    .causes(&["The webhook answered with an error, not at all, or with a hub that was not offered."])
    .repair("Look at the webhook's own log; the device was let in, so its certificates are good."),
    ServiceCode::seen(
        "400208",
        "There is no hub to assign; the registration ends as `failed`.",
        &["Azure/azure-iot-sdk-c, provisioning client"],
    )
    .causes(&["No hub is linked to the instance, or none of the enrollment's."])
    .repair("Link a hub, or list a linked one in the enrollment; the device's certificates are good."),
    ServiceCode::seen(
        "400209",
        "The service may not write to the hub; the registration ends as `failed`.",
        &["Azure/azure-iot-sdk-c, provisioning client"],
    )
    .causes(&["The policy of the linked hub was changed or its key was renewed."])
    .repair("Link the hub again with a policy that may write devices."),
    ServiceCode::seen(
        "401000",
        "Neither a client certificate nor a token that is accepted.",
        &["MicrosoftDocs/azure-docs#43157", "Azure/azure-iot-sdk-node#869", "Azure/dps-keygen#7"],
    )
    .causes(&[
        "The TLS handshake brought no client certificate: no key for it, or a stack that sends none.",
        "A symmetric key whose token does not verify: another key, another id, a clock that is off.",
    ])
    .repair("See that the device loads certificate and key; for symmetric keys compare key, id scope and clock."),
    ServiceCode::seen(
        "401001",
        "The linked hub was not found; the registration ends as `failed`.",
        &["hashicorp/terraform-provider-azurerm#10224"],
    )
    .causes(&["The hub was deleted, or linked under a wrong name."])
    .repair("Link the hub again; the device's certificates are good."),
    ServiceCode::seen(
        "401002",
        "The service refuses the device's identity. The message says on which ground.",
        &["DPS documentation, X.509 certificate attestation"],
    )
    .causes(&["Chain, verified CA, enrollment and CN have to agree; one of them does not."])
    .repair("Run `rollcall check` on the device's chain file with the instance's state: it names the link.")
    .messages(&[
        Message {
            text: "CA certificate not found.",
            cause: "No verified CA on any path from the leaf: an intermediate was not sent, the CA is uploaded and \
                    not verified, or the id scope is another instance's.",
            repair: "Send the chain up to the verified CA, and prove possession of that CA's key.",
            source: &[
                "Azure/azure-iot-sdk-csharp#1040",
                "Azure/azure-iot-sdk-c#1900",
                "Azure/azure-iot-sdk-java#203",
                "rwatjen/AzureIoTDPSCertificates#3",
            ],
        },
        Message {
            text: "Invalid certificate.",
            cause: "The leaf cannot be used (expired, CA:TRUE, no clientAuth), a CA on the path may not stand there, \
                    or the device's individual enrollment holds another certificate.",
            repair: "Renew or reissue what `rollcall check` names; put a renewed leaf into the individual enrollment.",
            source: &[
                "Azure/azure-iot-sdk-node#547",
                "Azure/azure-iot-sdk-python#189",
                "Azure/azure-iot-sdk-c#437",
                "Azure/iotedge#1671",
            ],
        },
        Message {
            text: "Signing certificate info did not match chain elements.",
            cause: "The device presents the group's own certificate as its leaf, or a chain that the group's \
                    certificate is not in.",
            repair: "Present the device's certificate first, and send the group's certificate after it.",
            source: &["Azure/iotedge#2739", "Azure/azure-iot-sdk-node#532"],
        },
        Message {
            text: "Unauthorized",
            cause: "The chain is trusted and no enrollment wants it: the group is missing, deleted or above the \
                    verified CA; or the CN is not the registration id; or a key was shown where a certificate is \
                    asked for, or the reverse.",
            repair: "Create the group on a CA of this chain, and register under the CN.",
            source: &["training labs of the vendor, after deleting the group", "Azure/azure-iot-sdk-node#721"],
        },
        Message {
            text: "IotHubUnauthorizedAccess",
            cause: "The same over AMQP, where the link is refused as it is opened.",
            repair: "As for the other messages; try MQTT to see which it is.",
            source: &["Azure/azure-iot-sdk-csharp#347", "Azure/azure-iot-sdk-csharp#907"],
        },
        Message {
            text: "Unauthorized access",
            cause: "The hub refused, not the provisioning service; the registration ends as `failed`.",
            repair: "Look at the hub: its policy, its network rules, the link to it.",
            source: &["Azure/azure-iot-sdk-c#2362"],
        },
    ]),
    ServiceCode::ours("401003", "The policy has no right to this call.")
        .causes(&["A key for reading is used to write, or one for enrollments to read registrations."])
        .repair("Use the key of a policy with the right, for instance provisioningserviceowner."),
    ServiceCode::ours("403002", "The instance keeps no more registrations.")
        .causes(&["Registrations of scrapped devices are kept."])
        .repair("Delete old ones; the documented limit is 1,000,000."),
    ServiceCode::seen(
        "404201",
        "There is no such enrollment, CA or registration.",
        &["MicrosoftDocs/azure-docs#57082", "tests of the official SDKs"],
    )
    .causes(&["It was deleted, is spelled otherwise, or is in another instance."])
    .repair("List what there is: `rollcall group list`, `rollcall enrollment list`."),
    ServiceCode::seen(
        "404202",
        "There is no such thing; of which kind is not known.",
        &["MicrosoftDocs/azure-docs#57082"],
    )
    .repair("List what there is: `rollcall group list`, `rollcall enrollment list`."),
    ServiceCode::ours("405001", "The path does not have this method.")
        .repair("Compare method and path with the documentation of the API."),
    ServiceCode::seen(
        "409203",
        "The same registration id is being registered at the same time.",
        &["Azure/azure-iot-sdk-c, tests of the provisioning client"],
    )
    .causes(&["A device started again before its first attempt was done, or two devices share an id."])
    .repair("Let one attempt end before the next; `rollcall check` on the fleet finds ids that collide."),
    ServiceCode::ours("412001", "The enrollment was changed since it was read: its etag is another.")
        .repair("Fetch it again and repeat the change."),
    ServiceCode::ours("413001", "The message is larger than the service takes.")
        .repair("Send a smaller payload or initial twin."),
    ServiceCode::ours("415001", "The body is of another type than JSON.")
        .repair("Send `Content-Type: application/json`."),
    ServiceCode::seen(
        "429001",
        "More was asked than the quota allows.",
        &["DPS documentation, Quotas and limits", "tests of the embedded SDKs"],
    )
    .causes(&["Devices start all at once, or poll more often than they are told to."])
    .repair("Wait as long as Retry-After or `retry-after` says, then with jitter; spread the roll-out over time."),
    ServiceCode::ours("500001", "The service failed.")
        .repair("Try again with growing waits; it says nothing about the device."),
    ServiceCode::ours("IH400050", "The uploaded body holds no certificate that can be read.")
        .causes(&["A request, a key, a PKCS#12 file or a damaged one was uploaded."])
        .repair("Upload one certificate as PEM or DER."),
    ServiceCode::seen(
        "IH400053",
        "Proof of possession failed: the verification certificate is not signed by the uploaded CA.",
        &["Azure/azure-cli#5376", "Azure/azure-iot-sdk-c#1347", "Azure/azure-iot-sdk-csharp#1010"],
    )
    .causes(&[
        "It was signed with another CA's key; sample scripts always sign with the root's.",
        "It was made with `openssl req -x509`, which makes the code the issuer too.",
        "The CA got a new key under its old name, and the other generation is uploaded.",
    ])
    .repair("Make a request with CN = code and sign it with the key of this very CA: `rollcall ca prove`."),
    ServiceCode::ours("IH400054", "The CN of the verification certificate is not the code.")
        .causes(&["An older code, another letter case, a blank copied along."])
        .repair("Use the code of the latest `rollcall ca code`, exactly as it is."),
    ServiceCode::ours("IH400055", "The verification certificate is outside its validity.")
        .repair("Make a new one; check the clock of the machine that signs."),
    ServiceCode::ours("IH400056", "No verification code was generated, or it was used already.")
        .repair("Generate one with `rollcall ca code` and sign that."),
    ServiceCode::ours("IH400060", "A write came without If-Match.")
        .repair("Send the etag of the record as it was read last."),
    ServiceCode::ours("IH400061", "The name has characters that the service does not take.")
        .repair("Use letters, digits and `-` `.` `_`."),
    ServiceCode::seen("IH400303", "A linked hub is listed twice.", &["Azure/azure-cli#10628"])
        .repair("List each hub once."),
    ServiceCode::seen(
        "IH400307",
        "The name of the provisioning service is taken or not allowed.",
        &["scripts of users; not documented"],
    )
    .repair("Choose another name."),
    ServiceCode::ours("IH401001", "There is no bearer token, or it is not accepted.")
        .repair("Give one with --token-file or --credential."),
    ServiceCode::ours("IH404001", "There is no CA certificate of that name.")
        .repair("List what there is: `rollcall ca list`."),
    ServiceCode::ours("IH405001", "The path does not have this method.")
        .repair("Compare method and path with the documentation of the API."),
    ServiceCode::ours("IH409001", "The instance holds as many CA certificates as it may.")
        .repair("Delete what is not used; the documented limit is 25."),
    ServiceCode::seen(
        "IH412001",
        "The record was changed since it was read: its etag is another.",
        &["Azure/azure-cli#13098"],
    )
    .repair("Take the etag from the latest answer and repeat the call.")
    .messages(&[Message {
        text: "Invalid ETag supplied.",
        cause: "Generating a code changes the etag, so the one from before is stale; or somebody else wrote meanwhile.",
        repair: "Read the etag from the answer to generating the code.",
        source: &["Azure/azure-cli#13098"],
    }]),
    ServiceCode::ours("IH413001", "The body is longer than the service takes.")
        .repair("Upload one certificate and nothing besides."),
    ServiceCode::ours("IH415001", "The body is of another type than JSON.")
        .repair("Send `Content-Type: application/json`."),
    ServiceCode::ours("IH429001", "Too many calls of the resource manager.")
        .repair("Wait as long as Retry-After says."),
    ServiceCode::ours("IH500001", "The resource manager failed.")
        .repair("Try again with growing waits."),
    ServiceCode::seen(
        "InvalidApiVersionParameter",
        "The api-version is missing or not one of the resource manager's.",
        &["Azure Resource Manager documentation, common errors"],
    )
    .repair("Give the api-version of the documentation."),
];

#[cfg(test)]
mod tests {
    use super::*;
    use sim_protocol::errors;
    use sim_protocol::resource::codes;

    /// Refusals whose text is explained by itself; the others have one text a code.
    #[test]
    fn every_refusal_that_the_mock_can_give_is_explained() {
        for refusal in [
            errors::INVALID_REGISTRATION_ID,
            errors::BAD_ARGUMENT,
            errors::DESERIALIZATION,
            errors::CUSTOM_ALLOCATION,
            errors::API_VERSION,
            errors::NO_HUB,
            errors::NO_CREDENTIAL,
            errors::INVALID_CERTIFICATE,
            errors::CA_NOT_FOUND,
            errors::SIGNING_CERTIFICATE_MISMATCH,
            errors::UNAUTHORIZED,
            errors::QUOTA,
            errors::FORBIDDEN,
            errors::METHOD,
            errors::TOO_LARGE,
            errors::MEDIA_TYPE,
            errors::NOT_FOUND,
            errors::CONFLICT,
            errors::ETAG_MISMATCH,
            errors::THROTTLED,
            errors::INTERNAL,
        ] {
            let code = CODES.iter().find(|code| code.id == refusal.code.to_string());
            let code = code.unwrap_or_else(|| panic!("{refusal:?}"));
            let texts: Vec<&str> = code.messages.iter().map(|message| message.text).collect();
            assert!(texts.is_empty() || texts.contains(&refusal.message), "{refusal:?}");
        }
    }

    #[test]
    fn every_code_of_the_resource_manager_is_explained() {
        for code in [
            codes::POP_FAILED,
            codes::POP_CODE_MISMATCH,
            codes::POP_EXPIRED,
            codes::CERTIFICATE_INVALID,
            codes::POP_NO_CODE,
            codes::ETAG_MISSING,
            codes::NAME_INVALID,
            codes::NOT_FOUND,
            codes::LIMIT,
            codes::INTERNAL,
            codes::ETAG_MISMATCH,
            codes::API_VERSION,
            codes::METHOD,
            codes::TOO_LARGE,
            codes::MEDIA_TYPE,
            codes::THROTTLED,
            codes::UNAUTHORIZED,
        ] {
            assert!(CODES.iter().any(|known| known.id == code), "{code}");
        }
    }
}
