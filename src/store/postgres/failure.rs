//! What PostgreSQL says when it fails, told in the store's terms.
//!
//! A database's own error may quote the row it is about, so nothing of it is kept but its code and its first line, and
//! of an error about a value not even that.

use std::error::Error;
use std::time::Duration;

use tokio_postgres::error::SqlState;

use crate::store::StoreError;

/// Why PostgreSQL did not do as asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The server answered, and said no.
    #[error("postgres refused ({}): {message}", .code.code())]
    Refused {
        /// What kind of refusal.
        code: SqlState,
        /// In its words, without what it is about.
        message: String,
    },
    /// Nobody answered where the server should be, or not as PostgreSQL does.
    #[error("postgres cannot be reached")]
    Unreachable(#[source] tokio_postgres::Error),
    /// The connection broke, or what came over it is not what PostgreSQL says: what was asked may be done or not.
    #[error("the connection to postgres broke")]
    Broken(#[source] tokio_postgres::Error),
    /// No answer came in time: what was asked may be done or not.
    #[error("postgres did not answer within {}", humantime::format_duration(*.0))]
    Late(Duration),
    /// A row says what no row of ours can.
    #[error("postgres holds a row that is not ours")]
    Row(#[source] Box<dyn Error + Send + Sync>),
}

impl Failure {
    /// What went wrong while a connection was made.
    pub(super) fn to_connect(error: tokio_postgres::Error) -> Self {
        Self::refused(&error).unwrap_or(Self::Unreachable(error))
    }

    fn refused(error: &tokio_postgres::Error) -> Option<Self> {
        let said = error.as_db_error()?;
        let code = said.code().clone();
        // Class 22 is about values, and quotes them.
        let message = if code.code().starts_with("22") {
            "a value it cannot take".to_owned()
        } else {
            said.message().to_owned()
        };
        Some(Self::Refused { code, message })
    }

    /// The server's code, if it answered.
    pub(super) fn code(&self) -> Option<&SqlState> {
        match self {
            Self::Refused { code, .. } => Some(code),
            _ => None,
        }
    }

    /// Whether nothing was done, and trying again may well succeed: it lost against others.
    pub(super) fn is_undone(&self) -> bool {
        let undone = [SqlState::T_R_DEADLOCK_DETECTED, SqlState::T_R_SERIALIZATION_FAILURE];
        self.code().is_some_and(|code| undone.contains(code))
    }

    /// Whether the connection is of no more use, so that another may do.
    pub(super) fn is_broken(&self) -> bool {
        match self {
            Self::Broken(_) => true,
            // 57P01 to 57P03: the server is going, or not there yet. Class 08: a broken connection.
            Self::Refused { code, .. } => code.code().starts_with("57P0") || code.code().starts_with("08"),
            _ => false,
        }
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::refused(&error).unwrap_or(Self::Broken(error))
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure.code() {
            Some(code) if *code == SqlState::DISK_FULL => Self::Full(Box::new(failure)),
            Some(code) if *code == SqlState::DATA_CORRUPTED || *code == SqlState::INDEX_CORRUPTED => {
                Self::Damaged(Box::new(failure))
            }
            _ => Self::Backend(Box::new(failure)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::address::Problem;
    use super::*;

    fn refused(code: SqlState) -> Failure {
        let message = "no".to_owned();
        Failure::Refused { code, message }
    }

    #[test]
    fn a_refusal_is_told_in_the_terms_of_the_store() {
        assert!(matches!(refused(SqlState::DISK_FULL).into(), StoreError::Full(_)));
        for code in [SqlState::DATA_CORRUPTED, SqlState::INDEX_CORRUPTED] {
            assert!(matches!(refused(code).into(), StoreError::Damaged(_)));
        }
        assert!(matches!(
            refused(SqlState::UNDEFINED_TABLE).into(),
            StoreError::Backend(_)
        ));
    }

    #[test]
    fn a_refusal_at_the_start_says_what_to_do() {
        for code in [
            SqlState::INVALID_PASSWORD,
            SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
        ] {
            assert!(matches!(refused(code).into(), Problem::Password));
        }
        assert!(matches!(refused(SqlState::DISK_FULL).into(), Problem::Full));
        assert!(matches!(
            refused(SqlState::INSUFFICIENT_PRIVILEGE).into(),
            Problem::Forbidden
        ));
        assert!(matches!(
            refused(SqlState::UNDEFINED_TABLE).into(),
            Problem::Postgres(_)
        ));
    }
}
