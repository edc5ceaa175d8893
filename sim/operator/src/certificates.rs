//! CA certificates at the resource manager: upload, verification code, proof of possession, deletion.

use crate::address;
use crate::error::OperatorError;
use crate::exchange::{Call, Operator};
use crate::rehearsal::placeholder;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::Method;
use serde_json::{Value, json};
use sim_identity::{Issuer, Seed};
use sim_protocol::CaName;
use sim_protocol::resource::{
    CertificateBody, CertificateList, CertificateResponse, PutCertificate, VerifyCertificate,
};
use time::OffsetDateTime;

/// What an upload did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement {
    /// What was there under this name, if anything was.
    pub before: Option<CertificateResponse>,
    /// What is there now.
    pub after: CertificateResponse,
}

impl Operator {
    fn certificate_call<'a>(&self, method: Method, name: &CaName, action: &str, verb: &str) -> Call<'a> {
        let url = address::certificate(&self.resource_manager, &self.instance, Some(name), action);
        Call::new(method, url, format!("{verb} CA certificate `{name}`"))
    }

    /// All uploaded CA certificates.
    pub async fn certificates(&self) -> Result<Vec<CertificateResponse>, OperatorError> {
        let url = address::certificate(&self.resource_manager, &self.instance, None, "");
        let answer = self
            .manage(Call::new(Method::GET, url, "list CA certificates").stands_in(json!({"value": []})))
            .await?;
        Ok(answer.read::<CertificateList>()?.value)
    }

    /// One uploaded CA certificate.
    pub async fn certificate(&self, name: &CaName) -> Result<CertificateResponse, OperatorError> {
        self.certificate_for(name, "show").await
    }

    /// One uploaded CA certificate, fetched on the way to something else: errors say that `verb` failed.
    pub async fn certificate_for(
        &self,
        name: &CaName,
        verb: &str,
    ) -> Result<CertificateResponse, OperatorError> {
        let call = self.certificate_call(Method::GET, name, "", verb).stands_in(stand_in(name, None));
        self.manage(call).await?.read()
    }

    /// Uploads the bytes of a certificate file, PEM or DER. One that is there under this name is replaced.
    /// With `verified` the service takes the caller's word instead of asking for proof of possession.
    pub async fn upload(
        &self,
        name: &CaName,
        file: &[u8],
        verified: bool,
    ) -> Result<CertificateResponse, OperatorError> {
        Ok(self.replace(name, file, verified).await?.after)
    }

    /// [`Operator::upload`] that also tells what was there before.
    pub async fn replace(
        &self,
        name: &CaName,
        file: &[u8],
        verified: bool,
    ) -> Result<Replacement, OperatorError> {
        let verb = "upload";
        let before = match self.certificate_for(name, verb).await {
            Ok(present) => Some(present),
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error),
        };
        let body = PutCertificate {
            properties: Some(CertificateBody {
                certificate: Some(STANDARD.encode(file)),
                is_verified: verified.then_some(true),
            }),
            ..PutCertificate::default()
        };
        let etag = before.as_ref().map(|present| present.etag.as_str());
        let call = self.certificate_call(Method::PUT, name, "", verb).stands_in(stand_in(name, None));
        let after = self.manage(call.if_match(etag).json(&body)?).await?.read()?;
        Ok(Replacement { before, after })
    }

    /// Asks for a new verification code; a code from before is dead. The answer holds code, etag and certificate.
    pub async fn generate_code(&self, name: &CaName) -> Result<CertificateResponse, OperatorError> {
        let verb = "generate a verification code for";
        let present = self.certificate_for(name, verb).await?;
        let code = placeholder("verification code", name.as_str());
        let call = self
            .certificate_call(Method::POST, name, "generateVerificationCode", verb)
            .stands_in(stand_in(name, Some(code)));
        self.manage(call.if_match(Some(&present.etag))).await?.read()
    }

    /// Sends the bytes of a verification certificate file, PEM or DER. Without an etag the current one is fetched.
    pub async fn verify(
        &self,
        name: &CaName,
        verification_certificate: &[u8],
        etag: Option<&str>,
    ) -> Result<CertificateResponse, OperatorError> {
        let verb = "verify";
        let etag = match etag {
            Some(etag) => etag.to_owned(),
            None => self.certificate_for(name, verb).await?.etag,
        };
        self.send_proof(name, STANDARD.encode(verification_certificate), &etag).await
    }

    async fn send_proof(
        &self,
        name: &CaName,
        certificate: String,
        etag: &str,
    ) -> Result<CertificateResponse, OperatorError> {
        let call =
            self.certificate_call(Method::POST, name, "verify", "verify").stands_in(stand_in(name, None));
        self.manage(call.if_match(Some(etag)).json(&VerifyCertificate { certificate })?).await?.read()
    }

    /// Where calls are only written down, [`Operator::answer_code`] without the certificate: what would be signed
    /// is a code that nobody gave.
    pub async fn rehearse_answer(
        &self,
        name: &CaName,
        pending: &CertificateResponse,
    ) -> Result<CertificateResponse, OperatorError> {
        let certificate = placeholder("verification certificate for the code", name.as_str());
        self.send_proof(name, certificate, &pending.etag).await
    }

    /// Deletes a CA certificate; groups that roll up to it stop admitting.
    pub async fn delete_certificate(&self, name: &CaName) -> Result<(), OperatorError> {
        let verb = "delete";
        let present = self.certificate_for(name, verb).await?;
        let call = self.certificate_call(Method::DELETE, name, "", verb);
        self.manage(call.if_match(Some(&present.etag))).await.map(drop)
    }

    /// The whole proof of possession: a new code, a verification certificate that `issuer` signs for it, and its
    /// judgement. The key of the verification certificate comes from `seed` and is thrown away.
    pub async fn prove_possession(
        &self,
        name: &CaName,
        issuer: &Issuer,
        seed: &Seed,
        now: OffsetDateTime,
    ) -> Result<CertificateResponse, OperatorError> {
        let pending = self.generate_code(name).await?;
        self.answer_code(name, &pending, issuer, seed, now).await
    }

    /// The second half of a proof of possession: answers the code that is pending in `pending`, as
    /// [`Operator::generate_code`] or [`Operator::certificate`] gave it.
    pub async fn answer_code(
        &self,
        name: &CaName,
        pending: &CertificateResponse,
        issuer: &Issuer,
        seed: &Seed,
        now: OffsetDateTime,
    ) -> Result<CertificateResponse, OperatorError> {
        if self.is_rehearsal() {
            return self.rehearse_answer(name, pending).await;
        }
        let attempted = format!("prove possession of the key of CA certificate `{name}`");
        let Some(code) = pending.properties.verification_code.as_deref() else {
            let url = crate::error::origin(self.resource_manager.as_str());
            return Err(OperatorError::Malformed {
                attempted,
                url,
                reason: "it holds no verification code".into(),
            });
        };
        let der = issuer
            .verification_certificate(code, seed, now)
            .map_err(|fault| OperatorError::Signing { attempted, source: fault.into() })?;
        let pem = sim_identity::pem::encode("CERTIFICATE", &der);
        self.verify(name, pem.as_bytes(), Some(&pending.etag)).await
    }
}

/// What stands for a certificate's record where calls are only written down.
fn stand_in(name: &CaName, code: Option<String>) -> Value {
    let mut properties = json!({
        "subject": "", "expiry": "", "thumbprint": "", "isVerified": false, "created": "", "updated": "",
    });
    if let Some(code) = code {
        properties["verificationCode"] = code.into();
    }
    json!({"properties": properties, "name": name.as_str(), "etag": placeholder("etag", name.as_str())})
}
