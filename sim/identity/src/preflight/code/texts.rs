//! What each diagnostic means, what usually causes it, what repairs it, and where the rule stands.

use super::Code;

/// The texts of one diagnostic, each of them one or more whole sentences; the source is a list.
pub(super) struct Text {
    pub(super) meaning: &'static str,
    pub(super) cause: &'static str,
    pub(super) fix: &'static str,
    pub(super) source: &'static str,
}

/// The texts of `code`.
pub(super) const fn of(code: Code) -> Text {
    match code {
        Code::ChainIncomplete => Text {
            meaning: "The path from the leaf ends at a certificate whose issuer was not sent and is not \
                      among the verified CAs.",
            cause: "The device's file holds the leaf alone or leaves out an intermediate; some TLS stacks \
                    send only what a system store holds.",
            fix: "Append the missing issuer's certificate to the device's chain file, or upload and verify \
                  the last CA that is sent.",
            source: "DPS documentation, X.509 certificate attestation; Azure/azure-iot-sdk-csharp#1040; \
                     Azure/azure-iot-sdk-c#1900",
        },
        Code::NoVerifiedCa => Text {
            meaning: "The path is complete, and none of its CAs is verified in this instance.",
            cause: "The root or intermediate was uploaded elsewhere, never uploaded, or the device uses the \
                    id scope of another instance.",
            fix: "Upload one of the chain's CAs, preferably the one nearest to the leaf that all these \
                  devices share, and prove possession of its key.",
            source: "DPS documentation, How to verify X.509 CA certificates; \
                     MicrosoftDocs/azure-docs#60870; Azure/azure-iot-sdk-c#437",
        },
        Code::VerifiedCaNotSent => Text {
            meaning: "The path works because the instance holds the verified CA; the device does not send \
                      it.",
            cause: "The chain file ends below the CA that is verified, as TLS allows for roots.",
            fix: "Append the verified CA: the documentation asks devices to send the chain up to and \
                  including it.",
            source: "DPS documentation, X.509 certificate attestation; RFC 8446 section 4.4.2",
        },
        Code::ChainOrder => Text {
            meaning: "The certificates after the leaf do not each certify the one before.",
            cause: "Files were concatenated in the order of their names, or from the root downwards.",
            fix: "Write the chain leaf first, then each issuer upwards; --fix-to does.",
            source: "RFC 5246 section 7.4.2; RFC 8446 section 4.4.2",
        },
        Code::ChainDuplicate => Text {
            meaning: "A certificate is sent more than once.",
            cause: "A file that already holds the chain was given as the extra chain too.",
            fix: "Keep each certificate once; --fix-to does.",
            source: "RFC 8446 section 4.4.2",
        },
        Code::RootSent => Text {
            meaning: "A root is sent that the path does not need.",
            cause: "Tutorials concatenate the whole chain, the root included.",
            fix: "Leave out what lies above the verified CA; it costs bytes in every handshake and decides \
                  nothing.",
            source: "RFC 8446 section 4.4.2; DPS documentation, X.509 certificate attestation",
        },
        Code::StaleRootSent => Text {
            meaning: "An older edition of a CA is sent: same name and key as the verified one, another \
                      certificate.",
            cause: "The root was renewed with its key and the devices still carry the old certificate.",
            fix: "Replace it in the chain file, or leave it out; the path holds because name and key are \
                  what count.",
            source: "RFC 5280 section 6.1.1 (d)",
        },
        Code::ChainExtra => Text {
            meaning: "Certificates are sent that no path uses.",
            cause: "Chains of two hierarchies, or of two devices, got into one file.",
            fix: "Remove them; a second device certificate usually means that files were mixed up.",
            source: "RFC 8446 section 4.4.2",
        },
        Code::ChainLoop => Text {
            meaning: "CAs certify each other in a circle, and the circle leads to nothing that is verified.",
            cause: "Two CAs were cross-signed and neither root was sent or uploaded.",
            fix: "Verify one of the CAs, or send the certificate that leads to a verified one.",
            source: "RFC 5280 section 6.1; RFC 4158 section 2.4.2",
        },
        Code::ExpiredBranch => Text {
            meaning: "One of several ways up has expired, and another holds.",
            cause: "A cross-signed CA was renewed under one of its issuers and the old edition is still \
                    sent.",
            fix: "Remove the expired certificate: verifiers that try one way only will fail.",
            source: "RFC 4158 section 2.4",
        },
        Code::AmbiguousIssuer => Text {
            meaning: "Several certificates share the name of an issuer.",
            cause: "A CA got a new key under its old name, or was cross-signed.",
            fix: "Send the one that signed, and give each generation of a CA a subject of its own.",
            source: "RFC 5280 section 4.2.1.1; RFC 4158 section 2.2",
        },
        Code::ChainDepth => Text {
            meaning: "Many CAs stand between the leaf and the verified one.",
            cause: "A CA for every site, line and shift.",
            fix: "Shorten the path or verify a CA nearer to the leaf: some libraries stop at 6 \
                  intermediates, and 10 are accepted here.",
            source: "rustls-webpki, limit on intermediates; the service's own limit is not known",
        },
        Code::ChainSize => Text {
            meaning: "The chain takes many bytes of each handshake.",
            cause: "RSA-4096 certificates, a root that is sent, large extensions.",
            fix: "Use EC keys and leave out what is not needed: small devices often have 4 KB for a chain, \
                  and 64 KiB is the most that TLS libraries take.",
            source: "RFC 8446 section 4.4.2; Azure/azure-iot-sdk-c#2362",
        },
        Code::FlatHierarchy => Text {
            meaning: "The leaf comes straight from the root.",
            cause: "Test set-ups grow into production.",
            fix: "Put an intermediate per factory or line below the root: its group can then be disabled \
                  without touching the others.",
            source: "DPS documentation, X.509 certificate attestation",
        },
        Code::LeafNotFirst => Text {
            meaning: "The first certificate is not the device's.",
            cause: "The chain file was written from the CA downwards, or a CA's file was given in place of \
                    the device's.",
            fix: "Put the device's certificate first; the device holds no key for any other.",
            source: "RFC 8446 section 4.4.2",
        },
        Code::LeafSelfSigned => Text {
            meaning: "The device certificate is self-signed, so no group can match it.",
            cause: "It was made with `openssl req -x509`.",
            fix: "Issue it under the group's CA, or give the device an individual enrollment with this \
                  certificate.",
            source: "DPS documentation, X.509 certificate attestation",
        },
        Code::LeafUploadedAsCa => Text {
            meaning: "A device certificate stands where a CA belongs: among the uploaded CAs, or in a group.",
            cause: "The first certificate of a device's chain file was uploaded.",
            fix: "Remove it and upload the CA that issued it; a leaf never vouches for itself.",
            source: "RFC 5280 section 4.2.1.9; Azure/iotedge#2739",
        },
        Code::LeafIsCa => Text {
            meaning: "The device certificate says CA:TRUE.",
            cause: "An edge device's own CA certificate, or one made with a CA profile, is used as its \
                    identity.",
            fix: "Reissue it with CA:FALSE, digitalSignature and clientAuth.",
            source: "RFC 5280 section 4.2.1.9; Azure/iotedge#1671",
        },
        Code::LeafKu => Text {
            meaning: "The key usage of the device certificate does not allow digital signatures.",
            cause: "A profile for RSA key encipherment was used.",
            fix: "Reissue it with keyUsage digitalSignature: TLS client authentication signs.",
            source: "RFC 8446 section 4.4.2.2; RFC 5280 section 4.2.1.3",
        },
        Code::LeafKuCertsign => Text {
            meaning: "The device certificate claims keyCertSign without being a CA.",
            cause: "A CA profile was edited by hand.",
            fix: "Reissue it with digitalSignature alone; strict verifiers refuse the pair.",
            source: "RFC 5280 sections 4.2.1.3 and 4.2.1.9",
        },
        Code::LeafV1 => Text {
            meaning: "The device certificate is of X.509 version 1 and has no extensions.",
            cause: "`openssl x509 -req` before version 3.2 without -extfile makes such certificates.",
            fix: "Reissue it with an extension file; several TLS libraries refuse version 1.",
            source: "RFC 5280 section 4.1.2.1; openssl x509 manual",
        },
        Code::KeyMismatch => Text {
            meaning: "The private key does not belong to the device certificate.",
            cause: "Files of two devices were mixed up, or the certificate was renewed with a new key.",
            fix: "Pair the right files: the handshake fails before the service judges anything.",
            source: "RFC 8446 section 4.4.3",
        },
        Code::KeyExposed => Text {
            meaning: "A private key stands in a file meant for certificates.",
            cause: "A PEM bundle was made for a server that wants key and chain in one file.",
            fix: "Take the key out; if the file was uploaded or sent to anybody, replace key and \
                  certificate.",
            source: "DPS documentation, Security practices for manufacturers",
        },
        Code::IssuerNotCa => Text {
            meaning: "An issuer on the path is not a CA: basicConstraints is missing or says CA:FALSE.",
            cause: "The CA certificate was made without CA extensions, or a device signed another device's \
                    certificate.",
            fix: "Reissue the CA certificate with basicConstraints CA:TRUE, same key and name: the leaves \
                  stay valid.",
            source: "RFC 5280 section 6.1.4 (k)",
        },
        Code::IssuerV1 => Text {
            meaning: "An issuer on the path is of X.509 version 1, which cannot say that it is a CA.",
            cause: "It was made with `openssl x509 -req` and no extension file.",
            fix: "Reissue the CA certificate as version 3 with basicConstraints CA:TRUE, same key and name: \
                  the leaves stay valid.",
            source: "RFC 5280 section 6.1.4 (k)",
        },
        Code::IssuerNoKeycertsign => Text {
            meaning: "The key usage of an issuer does not allow it to sign certificates.",
            cause: "The CA was made with the key usage of a server or a device.",
            fix: "Reissue the CA certificate with keyCertSign, same key and name: the leaves stay valid.",
            source: "RFC 5280 section 6.1.4 (n)",
        },
        Code::BcNoncritical => Text {
            meaning: "basicConstraints of a CA is not marked critical.",
            cause: "The `critical` was left out of the extension file.",
            fix: "Mark it critical when the CA is renewed; verifiers process it either way, strict ones \
                  refuse.",
            source: "RFC 5280 section 4.2.1.9",
        },
        Code::CaKuAbsent => Text {
            meaning: "A CA has no key usage.",
            cause: "The extension file of the CA leaves it out.",
            fix: "Add keyUsage keyCertSign and cRLSign when the CA is renewed; strict verifiers ask for it.",
            source: "RFC 5280 section 4.2.1.3",
        },
        Code::NoKeyIdentifiers => Text {
            meaning: "A CA or the leaf below it has no key identifier.",
            cause: "The certificates were made without subjectKeyIdentifier and authorityKeyIdentifier.",
            fix: "Add both when reissuing; without them a second CA of the same name is told apart by trial \
                  only.",
            source: "RFC 5280 sections 4.2.1.1 and 4.2.1.2",
        },
        Code::PathlenExceeded => Text {
            meaning: "More CAs stand below a CA than its path length allows.",
            cause: "A CA per line was added later below a factory CA with pathlen:0.",
            fix: "Issue from the CA with the limit directly, or reissue that CA with a larger one.",
            source: "RFC 5280 section 6.1.4 (l), (m)",
        },
        Code::PathlenSelfIssued => Text {
            meaning: "The path length holds only because a self-issued CA is not counted.",
            cause: "A CA got a new key and certified it under its own name.",
            fix: "Reissue the new CA from the one above: several libraries count self-issued CAs and refuse.",
            source: "RFC 5280 section 4.2.1.9",
        },
        Code::EkuNoClientauth => Text {
            meaning: "Extended key usage of the device certificate does not allow client authentication.",
            cause: "A profile for servers or for code signing was used.",
            fix: "Reissue it with clientAuth.",
            source: "RFC 5280 section 4.2.1.12",
        },
        Code::EkuEmpty => Text {
            meaning: "An extended key usage lists nothing.",
            cause: "A tool wrote the extension without any purpose.",
            fix: "Reissue the certificate with clientAuth, or without the extension.",
            source: "RFC 5280 section 4.2.1.12",
        },
        Code::EkuAnyOnly => Text {
            meaning: "Extended key usage allows any purpose and does not name client authentication.",
            cause: "A general profile was used.",
            fix: "Add clientAuth: verifiers may refuse the bare anyExtendedKeyUsage, and some do.",
            source: "RFC 5280 section 4.2.1.12",
        },
        Code::CaEku => Text {
            meaning: "Extended key usage of a CA on the path does not allow client authentication.",
            cause: "An issuing CA for servers was used; public CAs of today are for servers only.",
            fix: "Use an issuing CA without extended key usage, or with clientAuth.",
            source: "RFC 5280 section 4.2.1.12; common verifiers apply it to CAs too",
        },
        Code::Expired => Text {
            meaning: "A certificate on the path is past its last second.",
            cause: "It was not renewed in time, or a short-lived test CA was used.",
            fix: "Renew it. For a CA: verify the new one and add it to the group as secondary before \
                  devices get certificates from it.",
            source: "RFC 5280 sections 4.1.2.5 and 6.1.3 (a)(2); DPS documentation, How to roll X.509 \
                     device certificates",
        },
        Code::NotYetValid => Text {
            meaning: "A certificate on the path is before its first second.",
            cause: "The clock of the machine that issued it is ahead of the service's, which is the one that \
                    counts; or it was made for later.",
            fix: "Check the clock of the machine that issued it, and backdate new certificates by a day.",
            source: "RFC 5280 sections 4.1.2.5 and 6.1.3 (a)(2)",
        },
        Code::ValidityInverted => Text {
            meaning: "A certificate ends before it begins, so it is never valid.",
            cause: "The dates were exchanged when it was made.",
            fix: "Reissue it.",
            source: "RFC 5280 section 4.1.2.5",
        },
        Code::ExpiresInWindow => Text {
            meaning: "A certificate on the path expires during the rollout or within the margin after it.",
            cause: "Certificates were minted long before the devices ship.",
            fix: "Renew it first. For a CA: verify the new one and add it to the group as secondary.",
            source: "DPS documentation, How to roll X.509 device certificates",
        },
        Code::OutlivesIssuer => Text {
            meaning: "A certificate is valid for longer than its issuer, and stops working with it.",
            cause: "The leaf's validity was not cut to its issuer's.",
            fix: "Plan the renewal of the CA before its last day, or issue leaves that end no later.",
            source: "RFC 5280 section 6.1.3 (a)(2)",
        },
        Code::NoExpiry => Text {
            meaning: "The certificate has the date 9999-12-31, which means that it does not expire.",
            cause: "Device identities by IEEE 802.1AR are made so.",
            fix: "Nothing, if it is meant; the CAs above it still expire.",
            source: "RFC 5280 section 4.1.2.5; IEEE 802.1AR",
        },
        Code::TimeEncoding => Text {
            meaning: "A date is not written as DER asks.",
            cause: "The certificate was written by a tool of its own: GeneralizedTime before 2050, \
                    fractions, missing seconds.",
            fix: "Reissue it with a tool that writes UTCTime until 2049, with seconds and a Z.",
            source: "RFC 5280 sections 4.1.2.5.1 and 4.1.2.5.2",
        },
        Code::ClockMargin => Text {
            meaning: "A certificate of the chain begins less than a day before it is to be used.",
            cause: "It is issued on the line, just before the first boot. The service judges by its own clock, \
                    whatever the device's says.",
            fix: "Backdate notBefore by a day: it is then no matter if the clock of the machine that issues is \
                  some minutes ahead of the service's.",
            source: "RFC 5280 section 4.1.2.5",
        },
        Code::WrongIssuerKey => Text {
            meaning: "A CA of the right name was found, and its key did not make the signature.",
            cause: "A CA got a new key under its old name, and the other generation is sent or verified.",
            fix: "Send or verify the generation whose key id is the leaf's authority key id.",
            source: "RFC 5280 sections 4.2.1.1 and 6.1.3 (a)(1)",
        },
        Code::AkiMismatch => Text {
            meaning: "The authority key identifier names another key than the issuer's, and the signature \
                      holds.",
            cause: "The issuer was reissued with another key identifier, or the identifier was copied from \
                    elsewhere.",
            fix: "Reissue with the issuer's identifier: OpenSSL takes it for a filter and refuses.",
            source: "RFC 5280 section 4.2.1.1",
        },
        Code::NameChain => Text {
            meaning: "The key fits, and the issuer name is not the subject of the CA.",
            cause: "A tool wrote the issuer's name anew in place of copying it, with another order or fewer \
                    attributes.",
            fix: "Reissue with the CA's subject, byte for byte.",
            source: "RFC 5280 section 6.1.3 (a)(4)",
        },
        Code::NameCompare => Text {
            meaning: "Issuer name and subject agree only after case, spaces or string types are evened out.",
            cause: "A tool wrote the issuer's name anew, in another string type.",
            fix: "Reissue with the CA's subject, byte for byte: many libraries compare bytes.",
            source: "RFC 5280 section 7.1",
        },
        Code::SigInvalid => Text {
            meaning: "A signature does not verify, although name and key id of the issuer are right.",
            cause: "The certificate was damaged or altered after it was signed.",
            fix: "Get the file again, or reissue the certificate.",
            source: "RFC 5280 section 6.1.3 (a)(1)",
        },
        Code::SigAlgMismatch => Text {
            meaning: "The algorithm named inside the signed part is not the one beside the signature.",
            cause: "The certificate was put together by a tool of its own.",
            fix: "Reissue it.",
            source: "RFC 5280 section 4.1.1.2",
        },
        Code::SigAlgWeak => Text {
            meaning: "A signature uses SHA-1 or MD5.",
            cause: "An old CA, or a default of old tools.",
            fix: "Reissue with SHA-256; the self-signature of a verified root decides nothing.",
            source: "RFC 9155; NIST SP 800-131A",
        },
        Code::KeyWeak => Text {
            meaning: "An RSA key is shorter than 2048 bits.",
            cause: "A profile from before 2014.",
            fix: "Use P-256 or RSA-2048; the TLS handshake refuses shorter keys.",
            source: "NIST SP 800-131A",
        },
        Code::KeyUnsupported => Text {
            meaning: "The kind of key cannot be used in TLS, or is not accepted.",
            cause: "A curve such as P-224 or secp256k1.",
            fix: "Use P-256 or RSA-2048.",
            source: "RFC 8446 section 4.2.3",
        },
        Code::KeyUnusual => Text {
            meaning: "The kind of key or signature is uncommon, and what the service makes of it is not \
                      known.",
            cause: "P-521, Ed25519, RSA-PSS keys or the exponent 3.",
            fix: "Use P-256 or RSA-2048, or try one device first with --live.",
            source: "RFC 8446 section 4.2.3; RFC 8410; RFC 4055",
        },
        Code::ExtCriticalUnknown => Text {
            meaning: "A certificate on the path has a critical extension that nobody here processes.",
            cause: "Extensions of a vendor or of DICE that were marked critical.",
            fix: "Reissue without the critical mark.",
            source: "RFC 5280 section 4.2",
        },
        Code::ExtDuplicate => Text {
            meaning: "An extension occurs twice in one certificate.",
            cause: "A template and a request both brought it.",
            fix: "Reissue with it once.",
            source: "RFC 5280 section 4.2",
        },
        Code::ExtMalformed => Text {
            meaning: "The content of an extension is not what its syntax asks for.",
            cause: "The extension was encoded by hand.",
            fix: "Reissue with the extension written by a certificate tool.",
            source: "RFC 5280 section 4.2.1",
        },
        Code::PolicyCritical => Text {
            meaning: "certificatePolicies is marked critical.",
            cause: "An enterprise profile.",
            fix: "Drop the critical mark when reissuing: some libraries refuse what they do not process.",
            source: "RFC 5280 section 4.2.1.4",
        },
        Code::PolicyConstraints => Text {
            meaning: "A CA constrains policies, which is not processed here and refuses the path.",
            cause: "An enterprise hierarchy with policyConstraints, policyMappings or inhibitAnyPolicy.",
            fix: "Issue devices from a CA without policy constraints.",
            source: "RFC 5280 sections 4.2.1.5, 4.2.1.11 and 4.2.1.14",
        },
        Code::NcViolation => Text {
            meaning: "A name of the device is outside what a CA above it permits.",
            cause: "A CA constrained to an organisation issues leaves whose subject is a CN alone.",
            fix: "Change the subject or the names of the leaf, or the constraint.",
            source: "RFC 5280 sections 4.2.1.10 and 6.1.3 (b), (c)",
        },
        Code::NcDn => Text {
            meaning: "A CA constrains directory names, and the device is inside.",
            cause: "An enterprise hierarchy limited to its organisation.",
            fix: "Nothing, if all verifiers that matter process it: some refuse every constraint on \
                  directory names.",
            source: "RFC 5280 section 4.2.1.10",
        },
        Code::NcCnDns => Text {
            meaning: "A CA constrains DNS names, and the CN looks like one outside of them.",
            cause: "Registration ids with dots, such as `dev1.site.example`.",
            fix: "Use ids without dots, or widen the constraint: OpenSSL holds such a CN against it.",
            source: "RFC 5280 section 4.2.1.10; OpenSSL, X509_verify_cert",
        },
        Code::SerialNonpositive => Text {
            meaning: "The serial number is zero or negative.",
            cause: "Random bytes were written without a leading zero.",
            fix: "Use 16 random bytes with the top bit clear; some libraries cannot read the certificate at \
                  all.",
            source: "RFC 5280 section 4.1.2.2",
        },
        Code::SerialLong => Text {
            meaning: "The serial number is longer than 20 octets.",
            cause: "A hash, or 20 random bytes with the top bit set.",
            fix: "Use 16 random bytes with the top bit clear.",
            source: "RFC 5280 section 4.1.2.2",
        },
        Code::SerialDer => Text {
            meaning: "The serial number is not written as DER asks.",
            cause: "A leading zero octet that is not needed.",
            fix: "Reissue it: common libraries cannot read the certificate.",
            source: "X.690 section 8.3.2; RFC 5280 section 4.1",
        },
        Code::SerialPredictable => Text {
            meaning: "The serial number is small, so that the next one can be guessed.",
            cause: "The CA counts its certificates.",
            fix: "Use random serial numbers, at least 64 bits of them.",
            source: "CA/Browser Forum, Baseline Requirements, section 7.1",
        },
        Code::SerialDuplicate => Text {
            meaning: "Two certificates of one issuer have one serial number.",
            cause: "Devices share a key and the serial is derived from it, or a counter was reset.",
            fix: "Reissue one of them; issuer and serial must name one certificate.",
            source: "RFC 5280 section 4.1.2.2",
        },
        Code::KeyDuplicate => Text {
            meaning: "Two devices have one key.",
            cause: "One key pair is baked into the image of all devices.",
            fix: "Make a key for each device and reissue: whoever opens one of them is all of them.",
            source: "DPS documentation, Security practices for manufacturers",
        },
        Code::CnCollision => Text {
            meaning: "The CNs of two devices are one registration id.",
            cause: "They differ in letter case alone, or not at all.",
            fix: "Give each device a CN of its own and reissue: the later one takes the registration of the \
                  earlier.",
            source: "DPS documentation, Terminology (registration ID)",
        },
        Code::CnMissing => Text {
            meaning: "The device certificate has no CN that can be read.",
            cause: "The name stands in a subject alternative name only.",
            fix: "Reissue with CN = registration id.",
            source: "DPS documentation, Terminology (registration ID)",
        },
        Code::CnMismatch => Text {
            meaning: "The CN is not the registration id.",
            cause: "The certificate of another device, or a serial number where the id belongs.",
            fix: "Register under the CN, or reissue with CN = registration id.",
            source: "DPS documentation, Terminology (registration ID); Azure/iot-identity-service PR 103",
        },
        Code::CnCharset => Text {
            meaning: "The CN has characters that a registration id may not have.",
            cause: "Spaces, slashes or letters with accents; often the certificate of a CA was taken for a \
                    device's.",
            fix: "Reissue with letters, digits and `-` `.` `_` `:`, ending in a letter, digit or dash.",
            source: "DPS documentation, Terminology (registration ID); Azure/azure-iot-sdk-c#405",
        },
        Code::CnLength => Text {
            meaning: "The CN is longer than a certificate or a registration id allows.",
            cause: "An id made of several others.",
            fix: "Keep it within 64 characters: X.520 allows no more in a CN, the service 128 in an id.",
            source: "RFC 5280 appendix A.1 (ub-common-name); DPS documentation, Terminology (registration \
                     ID)",
        },
        Code::CnMultiple => Text {
            meaning: "The subject has more than one CN.",
            cause: "The factory's name and the device's were both written as CN.",
            fix: "Reissue with the registration id as the only CN: which one the service takes is not known.",
            source: "RFC 5280 section 4.1.2.4; DPS documentation, Terminology (registration ID)",
        },
        Code::CnEncoding => Text {
            meaning: "The CN is written in an uncommon string type.",
            cause: "An old tool wrote TeletexString, BMPString, UniversalString or IA5String.",
            fix: "Reissue with UTF8String or PrintableString; many libraries cannot read the others.",
            source: "RFC 5280 section 4.1.2.4",
        },
        Code::CnCase => Text {
            meaning: "CN and registration id differ in letter case.",
            cause: "The id is written in capitals on the label and in small letters in the certificate.",
            fix: "Use one spelling: the service compares without regard to case today, and did not always.",
            source: "DPS documentation, Terminology (registration ID); Azure/azure-iot-sdk-c#405; \
                     Azure/iotedge PR 4575",
        },
        Code::CnMultivalue => Text {
            meaning: "The CN shares its place in the subject with another attribute.",
            cause: "The subject was given as `/CN=x+serialNumber=y`.",
            fix: "Nothing, if all tools of the way read it; some certificate tools do not.",
            source: "RFC 5280 section 4.1.2.4; X.501 section 9.3",
        },
        Code::CaUnverified => Text {
            meaning: "A CA of the chain is uploaded and not verified.",
            cause: "Possession of its key was never proven, or the certificate was replaced, which clears \
                    the mark.",
            fix: "Prove possession of its key: `rollcall ca verify NAME --key FILE`.",
            source: "DPS documentation, How to verify X.509 CA certificates",
        },
        Code::CaCodePending => Text {
            meaning: "A verification code was generated for a CA of the chain, and not answered yet.",
            cause: "The verification certificate was not uploaded, or was refused.",
            fix: "Sign the code and upload the verification certificate: `rollcall ca verify NAME`.",
            source: "DPS documentation, How to verify X.509 CA certificates",
        },
        Code::CaReferenceDangling => Text {
            meaning: "An enrollment names a CA that is not uploaded.",
            cause: "The CA was deleted or renamed.",
            fix: "Upload it under that name again, or point the enrollment to another.",
            source: "MicrosoftDocs/azure-docs#74403",
        },
        Code::GroupMissing => Text {
            meaning: "The chain is trusted, and no enrollment holds a certificate of it.",
            cause: "The group was deleted, was made on another CA, or on an older edition of it.",
            fix: "Create a group on one of the chain's CAs.",
            source: "DPS documentation, X.509 certificate attestation; DPS documentation, How to disenroll \
                     a device",
        },
        Code::GroupDisabled => Text {
            meaning: "The group nearest to the leaf is disabled.",
            cause: "Somebody stopped this factory or line on purpose.",
            fix: "Enable the group if these devices are meant to come in; one further up does not help.",
            source: "DPS documentation, How to disenroll a device",
        },
        Code::GroupShadowed => Text {
            meaning: "Several groups are on the path; the nearest decides and the others do not count.",
            cause: "Groups on the root and on an intermediate.",
            fix: "See that the nearest one has the policy you mean; without it the next one takes these \
                  devices.",
            source: "DPS documentation, X.509 certificate attestation",
        },
        Code::GroupAboveVerified => Text {
            meaning: "The group's certificate lies above the highest verified CA of the chain.",
            cause: "The intermediate is verified, the group is on the root.",
            fix: "Verify the group's certificate or one above it, or make the group on the verified CA.",
            source: "DPS documentation, X.509 certificate attestation",
        },
        Code::IndividualDisabled => Text {
            meaning: "The device's own enrollment is disabled, and counts for more than its group.",
            cause: "The device was kept out on purpose.",
            fix: "Enable or delete the individual enrollment if the device is meant to come in.",
            source: "DPS documentation, How to disenroll a device",
        },
        Code::IndividualStale => Text {
            meaning: "The device's own enrollment holds another certificate than the one presented.",
            cause: "The device got a new certificate and its enrollment was not updated.",
            fix: "Put the new certificate into the enrollment as secondary, or delete the enrollment so \
                  that groups decide.",
            source: "DPS documentation, How to roll X.509 device certificates; \
                     Azure/azure-iot-sdk-node#547; Azure/azure-iot-sdk-python#189",
        },
        Code::IndividualByKey => Text {
            meaning: "The device's own enrollment asks for a key, which no certificate can stand for.",
            cause: "The enrollment was made with symmetric keys or a TPM.",
            fix: "Make it with the device's certificate, or delete it so that groups decide.",
            source: "DPS documentation, Terminology (individual enrollment)",
        },
        Code::EntryDuplicate => Text {
            meaning: "One certificate is in two enrollments.",
            cause: "A group was copied, or made by name and by value.",
            fix: "Keep it in one; while there are two, a disabled one wins.",
            source: "DPS documentation, X.509 certificate attestation",
        },
        Code::LimitCa => Text {
            meaning: "The instance holds nearly as many CA certificates as it may, or more.",
            cause: "A CA for each batch.",
            fix: "Verify a CA further up, and delete what is not used; the limit is 25.",
            source: "DPS documentation, Quotas and limits",
        },
        Code::LimitGroup => Text {
            meaning: "The instance holds nearly as many enrollment groups as it may, or more.",
            cause: "A group for each customer or batch.",
            fix: "Use further instances, or groups on CAs further up; the limit is 100.",
            source: "DPS documentation, Quotas and limits",
        },
        Code::LimitRegistrations => Text {
            meaning: "The instance holds nearly as many registrations as it may, or more.",
            cause: "Registrations of scrapped devices are kept.",
            fix: "Delete old ones, or ask for a larger limit; it is 1,000,000.",
            source: "DPS documentation, Quotas and limits",
        },
        Code::PemBundle => Text {
            meaning: "A file holds several certificates where one is expected; the first counts.",
            cause: "A chain file was given for a single CA.",
            fix: "Give a file with that certificate alone.",
            source: "RFC 7468; Azure/azure-iot-sdk-csharp#1010",
        },
        Code::PemJunk => Text {
            meaning: "A PEM file holds text or blocks that are no certificates.",
            cause: "Output of `openssl x509 -text`, bag attributes, a request.",
            fix: "Keep the certificate blocks alone: small devices often read no more than that.",
            source: "RFC 7468 section 2",
        },
        Code::PemCrlf => Text {
            meaning: "Lines of a PEM file end in different ways, or the file begins with a byte order mark.",
            cause: "It was edited or joined on different systems.",
            fix: "Write it again with one kind of line end and without the mark.",
            source: "RFC 7468 section 2",
        },
        Code::DerAsPem => Text {
            meaning: "A file that calls itself PEM holds DER, or the reverse.",
            cause: "The file was renamed in place of converted.",
            fix: "Convert it with `openssl x509 -inform DER -outform PEM`, or rename it.",
            source: "RFC 7468; X.690",
        },
        Code::FileUnreadable => Text {
            meaning: "A file, or a certificate in it, cannot be read.",
            cause: "It was cut off, encrypted, or is of another form.",
            fix: "Get the file again, whole, as PEM, DER, PKCS#7 or PKCS#12.",
            source: "RFC 5280 section 4.1; RFC 7468",
        },
        Code::BudgetExceeded => Text {
            meaning: "Finding a path took more work than one judgement is allowed.",
            cause: "Many certificates with one name, as no honest chain has.",
            fix: "Remove what is not part of the chain.",
            source: "RFC 4158 section 2.4",
        },
        Code::LiveDifference => Text {
            meaning: "The service said something else than was predicted.",
            cause: "The id scope is that of another instance, the instance has changed since its state was read, or \
                    a rule of ours is wrong.",
            fix: "Check that the id scope is that of this instance, and read its state again; if the difference \
                  stays, it is a finding about our rules: report it.",
            source: "observation with --live",
        },
    }
}
