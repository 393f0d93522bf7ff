//! Fetches secrets from where the config says they are. What is fetched never appears in what is told about it.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use secrecy::{ExposeSecret, SecretString};

use super::Environment;
use super::raw::Secret;

/// No secret of ours is longer; a device file would never end.
const LONGEST_FILE_BYTES: u64 = 64 * 1024;

/// Why there is no secret where the config says. Ends in the report to the operator, mend included.
#[derive(Debug, thiserror::Error)]
pub(super) enum SecretError {
    #[error("must point to one place: {{ env = \"NAME\" }} or {{ file = \"/run/secrets/x\" }}")]
    Place,
    #[error("environment variable {0} is not set: set it, or point to a file with {{ file = \"…\" }}")]
    Unset(String),
    #[error("file {path} cannot be read ({source}): mount it, or mend its permissions")]
    Unreadable { path: String, source: io::Error },
    #[error("is empty: put the secret there")]
    Empty,
    #[error("has a space or a line break in it, but must be one word")]
    Blank,
}

/// What a secret may look like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// One word. A line break at its end is not part of it, since editors and `echo` leave one.
    Word,
    /// Text of several lines.
    #[cfg(feature = "nats")]
    Text,
}

/// Fetches `secret`, which must have this `form`.
pub(super) fn fetch(secret: &Secret, form: Form, environment: &Environment) -> Result<SecretString, SecretError> {
    let of_form = |text: &str| match form {
        Form::Word => one_word(text),
        #[cfg(feature = "nats")]
        Form::Text if text.trim().is_empty() => Err(SecretError::Empty),
        #[cfg(feature = "nats")]
        Form::Text => Ok(text.into()),
    };
    match secret {
        Secret::Inline(secret) => of_form(secret.expose_secret()),
        Secret::Env(name) => match environment.get(name) {
            Some(secret) => of_form(secret),
            None => Err(SecretError::Unset(name.clone())),
        },
        Secret::File(path) => {
            let secret = read(path).map_err(|source| SecretError::Unreadable {
                path: path.clone(),
                source,
            })?;
            of_form(secret.expose_secret())
        }
        Secret::Unclear => Err(SecretError::Place),
    }
}

fn read(path: &str) -> io::Result<SecretString> {
    let mut text = String::new();
    File::open(path)?.take(LONGEST_FILE_BYTES).read_to_string(&mut text)?;
    Ok(text.into())
}

fn one_word(text: &str) -> Result<SecretString, SecretError> {
    let word = text.strip_suffix('\n').unwrap_or(text);
    let word = word.strip_suffix('\r').unwrap_or(word);
    if word.is_empty() {
        Err(SecretError::Empty)
    } else if word.contains(|c: char| c.is_whitespace() || c.is_control()) {
        Err(SecretError::Blank)
    } else {
        Ok(word.into())
    }
}

/// What every user of the machine may do with a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Exposure {
    /// Nothing.
    None,
    /// Read it. Common where the folder is private, as that of a Kubernetes secret is.
    Readable,
    /// Put another in its place.
    Writable,
}

impl Exposure {
    /// That of the file at `path`. One that cannot be asked about is not told of.
    pub(super) fn of(path: impl AsRef<Path>) -> Self {
        match fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode()) {
            mode if mode & 0o002 != 0 => Self::Writable,
            mode if mode & 0o004 != 0 => Self::Readable,
            _ => Self::None,
        }
    }
}
