//! What is wrong with a request, found before it is sent.
//!
//! WeCom answers a bad request with a number that names no field, and cuts some texts without a word. So the documented
//! limits are checked here. Errors name the field and the limit and never quote what a field holds.

use std::fmt;

use super::{ApiError, Call};

/// Why a request was not sent.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FieldError {
    /// A field that must be there is not.
    #[error("{field} is missing")]
    Missing {
        /// Path of the field, such as `msgmenu.list[0].click.content`.
        field: Box<str>,
    },
    /// A field that must hold something is empty.
    #[error("{field} is empty")]
    Empty {
        /// Path of the field.
        field: Box<str>,
    },
    /// A field holds JSON of another type.
    #[error("{field} must be {expected}, not {found}")]
    Type {
        /// Path of the field.
        field: Box<str>,
        /// What it must hold, such as `a string`.
        expected: &'static str,
        /// What it holds, such as `a number`.
        found: &'static str,
    },
    /// A field holds more than WeCom takes.
    #[error("{field} has {actual} {unit}, more than {limit}")]
    TooLarge {
        /// Path of the field.
        field: Box<str>,
        /// Most it may hold.
        limit: u64,
        /// How much it holds.
        actual: u64,
        /// In what both are counted.
        unit: Unit,
    },
    /// A field holds what WeCom does not understand.
    #[error("{field} {problem}")]
    Malformed {
        /// Path of the field.
        field: Box<str>,
        /// What is wrong with it, as the rest of a sentence.
        problem: Box<str>,
    },
}

/// In what a limit is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Unit {
    /// Bytes of UTF-8, or of a file: a Chinese character has three.
    Bytes,
    /// Characters.
    Characters,
    /// Entries of a list.
    Items,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bytes => "bytes",
            Self::Characters => "characters",
            Self::Items => "items",
        })
    }
}

impl FieldError {
    pub(super) fn missing(field: impl Into<Box<str>>) -> Self {
        let field = field.into();
        Self::Missing { field }
    }

    pub(super) fn empty(field: impl Into<Box<str>>) -> Self {
        let field = field.into();
        Self::Empty { field }
    }

    pub(super) fn malformed(field: impl Into<Box<str>>, problem: impl Into<Box<str>>) -> Self {
        let (field, problem) = (field.into(), problem.into());
        Self::Malformed { field, problem }
    }
}

impl Call {
    /// Makes what is wrong with a request the reason why it is not sent.
    pub(super) fn checked<T>(self, checked: Result<T, FieldError>) -> Result<T, ApiError> {
        checked.map_err(|source| ApiError::Invalid { call: self, source })
    }
}

/// Refuses an empty value.
pub(super) fn required(field: &str, value: &str) -> Result<(), FieldError> {
    match value {
        "" => Err(FieldError::empty(field)),
        _ => Ok(()),
    }
}

/// Refuses more than `limit` bytes of UTF-8.
pub(super) fn at_most_bytes(field: &str, value: &str, limit: usize) -> Result<(), FieldError> {
    at_most(field, value.len(), limit, Unit::Bytes)
}

/// Refuses an empty value, and more than `limit` bytes of UTF-8.
pub(super) fn required_bytes(field: &str, value: &str, limit: usize) -> Result<(), FieldError> {
    required(field, value)?;
    at_most_bytes(field, value, limit)
}

/// Refuses an empty value, and more than `limit` characters.
pub(super) fn required_characters(field: &str, value: &str, limit: usize) -> Result<(), FieldError> {
    required(field, value)?;
    at_most(field, value.chars().count(), limit, Unit::Characters)
}

/// Refuses more than `limit` of whatever `unit` counts.
pub(super) fn at_most(field: &str, actual: usize, limit: usize, unit: Unit) -> Result<(), FieldError> {
    if actual <= limit {
        return Ok(());
    }
    let field = field.into();
    let (limit, actual) = (limit as u64, actual as u64);
    Err(FieldError::TooLarge {
        field,
        limit,
        actual,
        unit,
    })
}

/// Refuses what is no address of the web, or has more than 2048 bytes.
pub(super) fn web_address(field: &str, url: &str) -> Result<(), FieldError> {
    required_bytes(field, url, 2048)?;
    let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
    if scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http") {
        return Ok(());
    }
    Err(FieldError::malformed(field, "must begin with https:// or http://"))
}
