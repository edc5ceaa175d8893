//! Keys and tokens: from a file or from the environment, never from the command line, where every process of the
//! machine could read them.

use crate::cli::read_file;
use crate::exit::Failure;
use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

/// Where a secret is. Shows the secret nowhere.
#[derive(Clone)]
pub struct Secret(Place);

#[derive(Clone)]
enum Place {
    /// A flag named the file it is in.
    File(PathBuf),
    /// A variable of the environment holds it.
    Given(String),
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::File(path) => f.debug_tuple("Secret").field(path).finish(),
            Place::Given(_) => f.write_str("Secret(..)"),
        }
    }
}

impl Secret {
    /// Whether a flag named it, which counts for more than the environment.
    pub(crate) fn is_named(&self) -> bool {
        matches!(self.0, Place::File(_))
    }

    /// The secret without white space around it; `what` says what it is to be. Nothing where the environment's
    /// variable is empty, as scripts unset it.
    pub(crate) fn read(&self, what: &str) -> Result<Option<String>, Failure> {
        match &self.0 {
            Place::File(path) => secret_file(path, what).map(Some),
            Place::Given(text) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
        }
    }
}

/// Reads a secret from a file that was named.
pub(crate) fn secret_file(path: &Path, what: &str) -> Result<String, Failure> {
    let text = String::from_utf8(read_file(path, what)?).unwrap_or_default();
    match text.trim() {
        "" => Err(Failure::usage(format!("cannot use {} as {what}: it holds no text", path.display()))
            .advise("Give a file that holds it alone, on one line.")),
        text => Ok(text.to_owned()),
    }
}

/// Takes a flag's value for the name of a file, and a variable's for the secret itself.
#[derive(Clone, Copy)]
pub(crate) struct SecretParser;

impl TypedValueParser for SecretParser {
    type Value = Secret;

    fn parse_ref(
        &self,
        cmd: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<Secret, clap::Error> {
        self.parse_ref_(cmd, arg, value, ValueSource::CommandLine)
    }

    fn parse_ref_(
        &self,
        cmd: &clap::Command,
        _: Option<&clap::Arg>,
        value: &OsStr,
        source: ValueSource,
    ) -> Result<Secret, clap::Error> {
        if source != ValueSource::EnvVariable {
            return Ok(Secret(Place::File(value.into())));
        }
        // The value is a secret: the error must not quote it.
        let text = value.to_str().ok_or_else(|| clap::Error::new(ErrorKind::InvalidUtf8).with_cmd(cmd))?;
        Ok(Secret(Place::Given(text.to_owned())))
    }
}

#[cfg(test)]
impl Secret {
    /// As a variable of the environment gives it.
    pub(crate) fn given(text: &str) -> Self {
        Secret(Place::Given(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(value: &str, source: ValueSource) -> Secret {
        let parsed = SecretParser.parse_ref_(&clap::Command::new("x"), None, value.as_ref(), source);
        parsed.expect("a value")
    }

    #[test]
    fn a_variable_holds_the_secret_and_a_flag_names_its_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("key");
        std::fs::write(&path, " from a file\n").expect("written");
        let named = parsed(path.to_str().expect("text"), ValueSource::CommandLine);
        assert_eq!(named.read("key").expect("read").as_deref(), Some("from a file"));
        let given = parsed(" hush ", ValueSource::EnvVariable);
        assert_eq!(given.read("key").expect("read").as_deref(), Some("hush"));
        assert!(named.is_named() && !given.is_named());
        assert!(!format!("{given:?}").contains("hush"));
    }

    #[test]
    fn an_empty_variable_is_none_and_an_empty_file_a_mistake() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("key");
        std::fs::write(&path, "\n").expect("written");
        assert_eq!(Secret::given(" ").read("key").expect("nothing"), None);
        assert!(parsed(path.to_str().expect("text"), ValueSource::CommandLine).read("key").is_err());
    }
}
