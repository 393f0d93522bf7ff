//! What it takes to enter a database that is named on the command line, where no secret may stand.

use std::path::Path;

use secrecy::SecretString;

use super::Environment;
use super::ca::Ca;
use super::findings::{ConfigError, Problem};
use super::raw::Secret;
use super::secret::{self, Form};
use crate::store::Authorities;

/// The variable that sets `store.password` for a server.
const PASSWORD: &str = "WECOM_KF_STORE_PASSWORD";

/// What it takes to enter a database.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct StoreCredentials {
    /// Password of its user, unless it is in the address.
    pub password: Option<SecretString>,
    /// Who alone is believed to vouch for the server.
    pub authorities: Option<Authorities>,
}

impl StoreCredentials {
    /// Reads the password from a file, or else from the environment as a server would, and certificates from another.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Wrong`] names the file that cannot be read or has something else in it.
    pub fn read(
        password_file: Option<&Path>,
        ca_file: Option<&Path>,
        environment: &Environment,
    ) -> Result<Self, ConfigError> {
        let set = environment.get(PASSWORD).is_some_and(|password| !password.is_empty());
        let (key, place) = match password_file {
            Some(path) => ("--password-file", Some(Secret::File(path.display().to_string()))),
            None => (PASSWORD, set.then(|| Secret::Env(PASSWORD.to_owned()))),
        };
        let password = place
            .map(|place| secret::fetch(&place, Form::Word, environment))
            .transpose();
        let ca = ca_file.map(|path| Ca::read(path.display().to_string())).transpose();
        let ca = ca.map_err(|error| wrong("--ca-file", error.to_string()));
        Ok(Self {
            password: password.map_err(|error| wrong(key, error.to_string()))?,
            authorities: ca?.map(|ca| ca.authorities),
        })
    }
}

fn wrong(key: &str, what: String) -> ConfigError {
    let key = key.to_owned();
    ConfigError::Wrong(vec![Problem { key, what }])
}
