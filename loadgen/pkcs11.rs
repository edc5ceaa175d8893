//! Keys that a PKCS#11 token holds: found by an RFC 7512 URI, used through the token's own module, never exported.
//!
//! The module is loaded at run time, so that nothing is linked and a build without a token loses nothing. A token
//! signs on one session at a time: each thread that signs at once has its own, kept for the next signature. No lock is
//! held while a token works. The PIN is shown nowhere.

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::AuthPin;
use sim_identity::held::HeldKey;
use sim_identity::{Certificate, KeyFault, Signer};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};

/// What a URI of a key begins with (RFC 7512 section 2.3).
pub const SCHEME: &str = "pkcs11:";

/// A key named by a URI.
#[derive(Clone, Default)]
pub struct KeyUri {
    token: Option<String>,
    manufacturer: Option<String>,
    model: Option<String>,
    serial: Option<String>,
    slot: Option<u64>,
    object: Option<String>,
    id: Option<Vec<u8>>,
    /// The shared library of the token.
    pub module: Option<PathBuf>,
    /// Where the PIN is.
    pub pin: Option<PinSource>,
    /// The part that names the key, as given; holds no secret.
    shown: String,
}

/// Where a PIN is.
#[derive(Clone)]
pub enum PinSource {
    /// In a file.
    File(PathBuf),
    /// In the URI itself.
    Value(String),
}

impl fmt::Display for KeyUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for KeyUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyUri({self})")
    }
}

/// Why a URI names no key. Shows no value, which may be a PIN.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UriFault {
    /// It does not begin with the scheme.
    #[error("it does not begin with `{SCHEME}`")]
    Scheme,
    /// A part without `=`.
    #[error("a part of it has no `=`")]
    NoValue,
    /// A percent sign without two hexadecimal digits, or a text that is not UTF-8.
    #[error("the value of `{0}` is not well encoded")]
    Encoding(String),
    /// An attribute twice.
    #[error("it has `{0}` twice")]
    Twice(String),
    /// An attribute that is not known or not supported.
    #[error("`{0}` is not supported")]
    Unsupported(String),
    /// A value that the attribute cannot have.
    #[error("`{0}` cannot have that value")]
    Value(&'static str),
}

impl KeyUri {
    /// Reads a URI.
    ///
    /// # Errors
    /// Where it is none or asks for what is not supported; RFC 7512 section 2.3 wants unknown parts refused.
    pub fn parse(text: &str) -> Result<Self, UriFault> {
        let named = text.strip_prefix(SCHEME).ok_or(UriFault::Scheme)?;
        let (path, query) = named.split_once('?').unwrap_or((named, ""));
        let mut uri = KeyUri { shown: format!("{SCHEME}{path}"), ..KeyUri::default() };
        for (name, value) in parts(path, ';')? {
            uri.path_attribute(&name, value)?;
        }
        for (name, value) in parts(query, '&')? {
            uri.query_attribute(&name, value)?;
        }
        Ok(uri)
    }

    fn path_attribute(&mut self, name: &str, value: Vec<u8>) -> Result<(), UriFault> {
        match name {
            "token" => set(&mut self.token, name, utf8(name, value)?),
            "manufacturer" => set(&mut self.manufacturer, name, utf8(name, value)?),
            "model" => set(&mut self.model, name, utf8(name, value)?),
            "serial" => set(&mut self.serial, name, utf8(name, value)?),
            "object" => set(&mut self.object, name, utf8(name, value)?),
            "id" => set(&mut self.id, name, value),
            "slot-id" => {
                let number = utf8(name, value)?.parse().map_err(|_| UriFault::Value("slot-id"))?;
                set(&mut self.slot, name, number)
            }
            // The private key is what is looked for in any case.
            "type" if value == b"private" => Ok(()),
            "type" => Err(UriFault::Value("type")),
            _ => Err(UriFault::Unsupported(name.to_owned())),
        }
    }

    fn query_attribute(&mut self, name: &str, value: Vec<u8>) -> Result<(), UriFault> {
        match name {
            "module-path" => set(&mut self.module, name, utf8(name, value)?.into()),
            "pin-value" => set(&mut self.pin, name, PinSource::Value(utf8(name, value)?)),
            "pin-source" => {
                let text = utf8(name, value)?;
                let path = text.strip_prefix("file:").unwrap_or(&text);
                // `file:/a`, `file:///a` and `file://localhost/a` are one file; `|command` is not run.
                let path = path.strip_prefix("//").map_or(path, |p| p.strip_prefix("localhost").unwrap_or(p));
                if path.is_empty() || path.starts_with('|') {
                    return Err(UriFault::Value("pin-source"));
                }
                set(&mut self.pin, name, PinSource::File(path.into()))
            }
            _ => Err(UriFault::Unsupported(name.to_owned())),
        }
    }

    fn names_token(&self, slot: Slot, info: &TokenInfo) -> bool {
        let fits = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|w| w == found);
        fits(&self.token, info.label())
            && fits(&self.manufacturer, info.manufacturer_id())
            && fits(&self.model, info.model())
            && fits(&self.serial, info.serial_number())
            && self.slot.is_none_or(|id| id == slot.id())
    }

    fn template(&self, class: ObjectClass) -> Vec<Attribute> {
        let mut template = vec![Attribute::Class(class)];
        template.extend(self.object.clone().map(|label| Attribute::Label(label.into_bytes())));
        template.extend(self.id.clone().map(Attribute::Id));
        template
    }
}

/// Names and decoded values of one half of a URI.
fn parts(text: &str, separator: char) -> Result<Vec<(String, Vec<u8>)>, UriFault> {
    text.split(separator)
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (name, value) = part.split_once('=').ok_or(UriFault::NoValue)?;
            let decoded = percent_decoded(value).ok_or_else(|| UriFault::Encoding(name.to_owned()))?;
            Ok((name.to_owned(), decoded))
        })
        .collect()
}

fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        decoded.push(u8::try_from(digit()? * 16 + digit()?).ok()?);
    }
    Some(decoded)
}

fn utf8(name: &str, value: Vec<u8>) -> Result<String, UriFault> {
    String::from_utf8(value).map_err(|_| UriFault::Encoding(name.to_owned()))
}

fn set<T>(place: &mut Option<T>, name: &str, value: T) -> Result<(), UriFault> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(UriFault::Twice(name.to_owned())),
    }
}

/// Why a token's key cannot be used. Shows no PIN.
#[derive(Debug, thiserror::Error)]
pub enum TokenFault {
    /// The shared library cannot be loaded, or is none of this kind.
    #[error("cannot load the PKCS#11 module {}: {cause}", module.display())]
    Module {
        /// The library.
        module: PathBuf,
        /// Why.
        cause: String,
    },
    /// No token answers to the URI.
    #[error("the PKCS#11 module has no such token{}", listed(found))]
    NoToken {
        /// The labels of those there are.
        found: Vec<String>,
    },
    /// More tokens than one answer to the URI.
    #[error("more than one token is meant{}", listed(found))]
    SeveralTokens {
        /// Their labels.
        found: Vec<String>,
    },
    /// The token wants a PIN, and none was given.
    #[error("the token `{token}` needs a PIN")]
    NoPin {
        /// Its label.
        token: String,
    },
    /// The PIN is another.
    #[error("the token `{token}` does not take this PIN{}", if *last_try { "; one try is left" } else { "" })]
    WrongPin {
        /// Its label.
        token: String,
        /// Whether the token says that the next wrong one locks it.
        last_try: bool,
    },
    /// Too many wrong PINs before.
    #[error("the PIN of the token `{token}` is locked")]
    PinLocked {
        /// Its label.
        token: String,
    },
    /// No private key answers to the URI.
    #[error("the token `{token}` has no such private key{}", listed(found))]
    NoKey {
        /// Its label.
        token: String,
        /// The labels of the private keys there are.
        found: Vec<String>,
    },
    /// More private keys than one answer to the URI.
    #[error("the token `{token}` has {count} private keys that may be meant")]
    SeveralKeys {
        /// Its label.
        token: String,
        /// How many.
        count: usize,
    },
    /// CKA_SIGN is false.
    #[error("the key in the token may not sign: its CKA_SIGN is false")]
    MayNotSign,
    /// Neither public key nor certificate beside the private key.
    #[error("the token has the private key without its public half")]
    NoPublicHalf,
    /// What the private key signs, the public key does not verify.
    #[error("the public key in the token is not that of the private key")]
    NotAPair,
    /// A kind of key that cannot sign for an authority.
    #[error(
        "the key in the token cannot be used: ECDSA on P-256, P-384 and P-521 and RSA from 2048 bits are supported"
    )]
    Kind,
    /// Anything else that the token refuses.
    #[error("the token does not work: {0}")]
    Token(String),
}

fn listed(labels: &[String]) -> String {
    match labels {
        [] => String::new(),
        labels => {
            format!("; there is {}", labels.iter().map(|l| format!("`{l}`")).collect::<Vec<_>>().join(", "))
        }
    }
}

impl TokenFault {
    /// What to do next.
    pub fn advice(&self) -> &'static str {
        match self {
            TokenFault::Module { .. } => {
                "Name the library that came with the token, `?module-path=/usr/lib/softhsm/libsofthsm2.so` for instance, or set ROLLCALL_PKCS11_MODULE."
            }
            TokenFault::NoToken { .. } | TokenFault::SeveralTokens { .. } => {
                "Name one token, `token=LABEL` or `serial=…`; `pkcs11-tool --list-token-slots` shows them."
            }
            TokenFault::NoPin { .. } => {
                "Put the PIN into a file and name it with `pin-source=file:PATH`, or set ROLLCALL_PKCS11_PIN."
            }
            TokenFault::WrongPin { .. } => {
                "Look the PIN up before another try: a token allows few, and is locked after them. It was asked once."
            }
            TokenFault::PinLocked { .. } => "Have the token's security officer set a new PIN.",
            TokenFault::NoKey { .. } | TokenFault::SeveralKeys { .. } => {
                "Name one private key, `object=LABEL` or `id=%01`; `pkcs11-tool --login --list-objects` shows them."
            }
            TokenFault::MayNotSign => {
                "Take a key that was made for signing: `pkcs11-tool --keypairgen --usage-sign`."
            }
            TokenFault::NoPublicHalf => {
                "Put the public key or the CA's certificate into the token, under the id of the private key."
            }
            TokenFault::NotAPair => "Put the private key's own public key beside it, under the same id.",
            TokenFault::Kind => "Take a CA whose key is of one of these kinds.",
            TokenFault::Token(_) => "Look at the token's own log; `pkcs11-tool --test --login` tries it out.",
        }
    }
}

/// What a module said, without the paragraphs that the standard has on it.
fn cause(error: &Error) -> String {
    match error {
        Error::Pkcs11(answer, function) => format!("it answers {answer:?} to C_{function:?}"),
        Error::LibraryLoading(error) => error.to_string(),
        other => other.to_string(),
    }
}

impl From<Error> for TokenFault {
    fn from(error: Error) -> Self {
        match error {
            Error::Pkcs11(RvError::KeyFunctionNotPermitted, _) => TokenFault::MayNotSign,
            error => TokenFault::Token(cause(&error)),
        }
    }
}

/// A session and the key as it knows it.
#[derive(Debug)]
struct Lane {
    session: Session,
    key: ObjectHandle,
}

/// A key in a token, ready to sign. Whoever logged in stays so while this lives.
pub struct TokenKey {
    uri: KeyUri,
    module: Pkcs11,
    slot: Slot,
    held: HeldKey,
    idle: Mutex<Vec<Lane>>,
    returned: Condvar,
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenKey({})", self.uri)
    }
}

impl TokenKey {
    /// Opens the token that the URI names, with its module and PIN, and finds the key.
    ///
    /// # Errors
    /// Wherever that ends; a wrong PIN is tried once.
    pub fn open(uri: KeyUri, module: &Path, pin: Option<String>) -> Result<Self, TokenFault> {
        let library = load(module)?;
        let (slot, token) = find_token(&library, &uri)?;
        let session = library.open_ro_session(slot)?;
        log_in(&library, &session, slot, &token, pin)?;
        let key = find_key(&session, &uri, &token)?;
        let held = public_half(&session, key)?;
        let idle = Mutex::new(vec![Lane { session, key }]);
        let opened = TokenKey { uri, module: library, slot, held, idle, returned: Condvar::new() };
        opened.try_out()?;
        Ok(opened)
    }

    /// Signs once, so that a key that may not, or is not the one beside it, is found out before a fleet is minted.
    fn try_out(&self) -> Result<(), TokenFault> {
        const MESSAGE: &[u8] = b"rollcall tries out a key";
        let raw = self.raw_signature(MESSAGE)?;
        let signature = self.held.signature(&raw).map_err(|fault| TokenFault::Token(fault.to_string()))?;
        if self.held.verifies(MESSAGE, &signature) { Ok(()) } else { Err(TokenFault::NotAPair) }
    }

    /// A session of one's own: one that is idle, a new one, or, where the token has no more, the next that is free.
    fn lane(&self) -> Result<Lane, TokenFault> {
        loop {
            if let Some(lane) = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop() {
                return Ok(lane);
            }
            match self.module.open_ro_session(self.slot) {
                Ok(session) => {
                    let key = find_key(&session, &self.uri, "")?;
                    return Ok(Lane { session, key });
                }
                // At least one is this key's own: it is returned.
                Err(Error::Pkcs11(RvError::SessionCount, _)) => {
                    let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
                    let waited = self.returned.wait_while(idle, |idle| idle.is_empty());
                    drop(waited.unwrap_or_else(PoisonError::into_inner));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn give_back(&self, lane: Lane) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(lane);
        self.returned.notify_one();
    }

    fn raw_signature(&self, message: &[u8]) -> Result<Vec<u8>, TokenFault> {
        let digest = self.held.digest(message);
        let lane = self.lane()?;
        let made = match &digest {
            Some(digest) => lane.session.sign(&Mechanism::Ecdsa, lane.key, digest),
            None => lane.session.sign(&Mechanism::Sha256RsaPkcs, lane.key, message),
        };
        self.give_back(lane);
        Ok(made?)
    }
}

impl Signer for TokenKey {
    fn public_key(&self) -> Vec<u8> {
        self.held.public_key().to_vec()
    }

    fn public_key_info(&self) -> Vec<u8> {
        self.held.public_key_info()
    }

    fn signature_algorithm(&self) -> Vec<u8> {
        self.held.signature_algorithm()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyFault> {
        let raw = self.raw_signature(message).map_err(|fault| KeyFault::Token(fault.to_string()))?;
        self.held.signature(&raw)
    }
}

fn load(module: &Path) -> Result<Pkcs11, TokenFault> {
    let fault = |error: Error| TokenFault::Module { module: module.to_owned(), cause: cause(&error) };
    let library = Pkcs11::new(module).map_err(fault)?;
    match library.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        // Another key of this process uses the same module.
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(library),
        Err(error) => Err(fault(error)),
    }
}

/// The one token that is meant, with its label.
fn find_token(library: &Pkcs11, uri: &KeyUri) -> Result<(Slot, String), TokenFault> {
    let mut found = Vec::new();
    let mut meant = Vec::new();
    for slot in library.get_slots_with_initialized_token()? {
        let info = library.get_token_info(slot)?;
        found.push(info.label().to_owned());
        if uri.names_token(slot, &info) {
            meant.push((slot, info.label().to_owned()));
        }
    }
    match meant.len() {
        0 => Err(TokenFault::NoToken { found }),
        1 => Ok(meant.remove(0)),
        _ => Err(TokenFault::SeveralTokens { found: meant.into_iter().map(|(_, label)| label).collect() }),
    }
}

fn log_in(
    library: &Pkcs11,
    session: &Session,
    slot: Slot,
    token: &str,
    pin: Option<String>,
) -> Result<(), TokenFault> {
    let info = library.get_token_info(slot)?;
    if !info.login_required() {
        return Ok(());
    }
    // With a keypad or a reader of its own, the token asks for the PIN itself.
    if pin.is_none() && !info.protected_authentication_path() {
        return Err(TokenFault::NoPin { token: token.to_owned() });
    }
    let pin = pin.map(|text| AuthPin::new(text.into_boxed_str()));
    match session.login(UserType::User, pin.as_ref()) {
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
        Err(Error::Pkcs11(RvError::PinLocked, _)) => Err(TokenFault::PinLocked { token: token.to_owned() }),
        Err(Error::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _)) => {
            let last_try = library.get_token_info(slot).is_ok_and(|info| info.user_pin_final_try());
            Err(TokenFault::WrongPin { token: token.to_owned(), last_try })
        }
        Err(error) => Err(error.into()),
    }
}

/// The one private key that is meant.
fn find_key(session: &Session, uri: &KeyUri, token: &str) -> Result<ObjectHandle, TokenFault> {
    let meant = session.find_objects(&uri.template(ObjectClass::PRIVATE_KEY))?;
    match meant.as_slice() {
        [key] => Ok(*key),
        [] => Err(TokenFault::NoKey { token: token.to_owned(), found: labels(session)? }),
        several => Err(TokenFault::SeveralKeys { token: token.to_owned(), count: several.len() }),
    }
}

fn labels(session: &Session) -> Result<Vec<String>, TokenFault> {
    let keys = session.find_objects(&[Attribute::Class(ObjectClass::PRIVATE_KEY)])?;
    let label = |key| {
        let read = session.get_attributes(key, &[AttributeType::Label])?;
        Ok(match read.into_iter().next() {
            Some(Attribute::Label(text)) => String::from_utf8_lossy(&text).into_owned(),
            _ => String::new(),
        })
    };
    keys.into_iter().map(label).collect()
}

/// What a private key is and whether it may sign, and the public half: from the public key beside it, the certificate
/// beside it, or the private key itself, as far as tokens keep it there.
fn public_half(session: &Session, key: ObjectHandle) -> Result<HeldKey, TokenFault> {
    let mut id = None;
    let mut kind = None;
    let wanted = [AttributeType::Id, AttributeType::KeyType, AttributeType::Sign];
    for attribute in session.get_attributes(key, &wanted)? {
        match attribute {
            Attribute::Id(bytes) => id = Some(bytes),
            Attribute::KeyType(found) => kind = Some(found),
            Attribute::Sign(false) => return Err(TokenFault::MayNotSign),
            _ => {}
        }
    }
    let kind = kind.filter(|kind| [KeyType::EC, KeyType::RSA].contains(kind)).ok_or(TokenFault::Kind)?;
    let beside = |class| match &id {
        Some(id) if !id.is_empty() => {
            session.find_objects(&[Attribute::Class(class), Attribute::Id(id.clone())])
        }
        _ => Ok(Vec::new()),
    };
    for object in beside(ObjectClass::PUBLIC_KEY)?.into_iter().chain([key]) {
        if let Some(held) = held_key(session, object, kind)? {
            return Ok(held);
        }
    }
    for object in beside(ObjectClass::CERTIFICATE)? {
        let der = session.get_attributes(object, &[AttributeType::Value])?;
        let certificate = der.into_iter().find_map(|attribute| match attribute {
            Attribute::Value(der) => Certificate::from_der(der).ok(),
            _ => None,
        });
        if let Some(certificate) = certificate {
            return HeldKey::certified(&certificate).map_err(|_| TokenFault::Kind);
        }
    }
    Err(TokenFault::NoPublicHalf)
}

/// The public half as an object states it; none where it does not.
fn held_key(session: &Session, object: ObjectHandle, kind: KeyType) -> Result<Option<HeldKey>, TokenFault> {
    let wanted: &[AttributeType] = if kind == KeyType::EC {
        &[AttributeType::EcParams, AttributeType::EcPoint]
    } else {
        &[AttributeType::Modulus, AttributeType::PublicExponent]
    };
    let read = session.get_attributes(object, wanted)?;
    let held = match read.as_slice() {
        [Attribute::EcParams(parameters), Attribute::EcPoint(point)] => HeldKey::ecdsa(parameters, point),
        [Attribute::Modulus(modulus), Attribute::PublicExponent(exponent)] => HeldKey::rsa(modulus, exponent),
        _ => return Ok(None),
    };
    held.map(Some).map_err(|_| TokenFault::Kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> UriFault {
        KeyUri::parse(text).expect_err(text)
    }

    #[test]
    fn a_uri_is_read_in_both_its_halves_and_shows_only_the_first() {
        let text = "pkcs11:token=Line%20A;object=ca;id=%01%AB;type=private;slot-id=7\
                    ?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-value=12%3B34";
        let uri = KeyUri::parse(text).expect("a URI");
        assert_eq!(uri.token.as_deref(), Some("Line A"));
        assert_eq!(uri.object.as_deref(), Some("ca"));
        assert_eq!((uri.id.as_deref(), uri.slot), (Some(&[1, 0xab][..]), Some(7)));
        assert_eq!(uri.module.as_deref(), Some(Path::new("/usr/lib/softhsm/libsofthsm2.so")));
        assert!(matches!(&uri.pin, Some(PinSource::Value(pin)) if pin == "12;34"));
        for shown in [uri.to_string(), format!("{uri:?}")] {
            assert!(shown.contains("object=ca") && !shown.contains("12"), "{shown}");
        }
    }

    #[test]
    fn the_spellings_of_a_pin_file_are_one_file() {
        for source in
            ["file:/etc/pin", "file:///etc/pin", "file://localhost/etc/pin", "/etc/pin", "file:%2Fetc/pin"]
        {
            let uri = KeyUri::parse(&format!("pkcs11:object=a?pin-source={source}")).expect(source);
            assert!(
                matches!(&uri.pin, Some(PinSource::File(path)) if path == Path::new("/etc/pin")),
                "{source}"
            );
        }
    }

    #[test]
    fn what_a_uri_may_not_have_is_refused() {
        for (text, expected) in [
            ("file:key.pem", UriFault::Scheme),
            ("pkcs11:token", UriFault::NoValue),
            ("pkcs11:id=%0", UriFault::Encoding("id".into())),
            ("pkcs11:object=%FF", UriFault::Encoding("object".into())),
            ("pkcs11:object=a;object=b", UriFault::Twice("object".into())),
            ("pkcs11:object=a?pin-value=1&pin-source=/p", UriFault::Twice("pin-source".into())),
            ("pkcs11:type=public", UriFault::Value("type")),
            ("pkcs11:slot-id=a", UriFault::Value("slot-id")),
            ("pkcs11:colour=red", UriFault::Unsupported("colour".into())),
            ("pkcs11:object=a?module-name=x", UriFault::Unsupported("module-name".into())),
            ("pkcs11:object=a?pin-source=%7Ccat%20pin", UriFault::Value("pin-source")),
        ] {
            assert_eq!(fault(text), expected, "{text}");
        }
    }

    #[test]
    fn a_library_that_is_not_there_or_no_module_is_named() {
        let uri = KeyUri::parse("pkcs11:object=a").expect("a URI");
        let fault = TokenKey::open(uri, Path::new("/nonexistent/module.so"), None).expect_err("no module");
        assert!(matches!(fault, TokenFault::Module { .. }), "{fault}");
    }
}
