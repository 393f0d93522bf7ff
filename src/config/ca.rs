//! Authorities that a file names.

use std::fs::File;
use std::io::{self, Read as _};

use super::section::Section;
use crate::authority::{Authorities, AuthoritiesError};

/// No file of certificates is larger: the whole web's are a quarter of this.
const LARGEST_FILE_BYTES: u64 = 1024 * 1024;

/// Authorities from a file.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Ca {
    /// Path of the file.
    pub path: String,
    /// What is in it.
    pub authorities: Authorities,
}

/// Why there are no authorities where the config says. Ends in the report to the operator, mend included.
#[derive(Debug, thiserror::Error)]
pub(super) enum CaError {
    #[error("file {path} cannot be read ({source}): mend its path or its permissions")]
    Unreadable { path: String, source: io::Error },
    #[error("file {path} {source}: put certificates of authorities there, in PEM")]
    Misshapen { path: String, source: AuthoritiesError },
}

impl Ca {
    /// Those in the file at `path`.
    pub(super) fn read(path: String) -> Result<Self, CaError> {
        let pem = match bytes_of(&path) {
            Ok(pem) => pem,
            Err(source) => return Err(CaError::Unreadable { path, source }),
        };
        match Authorities::from_pem(&pem) {
            Ok(authorities) => Ok(Self { path, authorities }),
            Err(source) => Err(CaError::Misshapen { path, source }),
        }
    }
}

/// Those in the file at `path`, which stands under `ca_file` in `section`.
pub(super) fn ca(path: String, section: &mut Section<'_>) -> Option<Ca> {
    let ca = Ca::read(path);
    ca.map_err(|error| section.wrong("ca_file", error.to_string())).ok()
}

fn bytes_of(path: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LARGEST_FILE_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}
