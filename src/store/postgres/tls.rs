//! Who vouches for a server.
//!
//! Its certificate is always verified, for the name in the address: there is no setting that switches it off. A server
//! that has its certificate from an authority of its own is reached by naming that authority, and then nobody else is
//! believed.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;
use tokio_postgres_rustls::MakeRustlsConnect;

/// Authorities that alone are believed when they vouch for a database server.
#[derive(Clone, PartialEq, Eq)]
pub struct Authorities(Vec<CertificateDer<'static>>);

/// Why authorities could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthoritiesError {
    /// The text is no PEM.
    #[error("is no PEM")]
    Pem(#[source] pem::Error),
    /// It is PEM without a certificate in it.
    #[error("holds no certificate")]
    Empty,
    /// One of the certificates cannot stand for an authority.
    #[error("holds a certificate that cannot be used")]
    Certificate(#[source] rustls::Error),
}

impl Authorities {
    /// Reads certificates from `pem`. What else stands there, keys for example, is passed over.
    ///
    /// # Errors
    ///
    /// See [`AuthoritiesError`].
    pub fn from_pem(pem: &[u8]) -> Result<Self, AuthoritiesError> {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let authorities = Self(certificates.map_err(AuthoritiesError::Pem)?);
        if authorities.0.is_empty() {
            return Err(AuthoritiesError::Empty);
        }
        authorities.roots().map_err(AuthoritiesError::Certificate)?;
        Ok(authorities)
    }

    fn roots(&self) -> Result<RootCertStore, rustls::Error> {
        let mut roots = RootCertStore::empty();
        self.0
            .iter()
            .try_for_each(|certificate| roots.add(certificate.clone()))?;
        Ok(roots)
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authorities({})", self.0.len())
    }
}

/// Verifies servers by `authorities`, or by those that this machine trusts.
pub(super) fn connect(authorities: Option<&Authorities>) -> Result<MakeRustlsConnect, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let config = match authorities {
        Some(authorities) => config.with_root_certificates(authorities.roots()?),
        // As dangerous as the verifier that is named, which is the platform's.
        None => config
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier::new(provider)?)),
    };
    Ok(MakeRustlsConnect::new(config.with_no_client_auth()))
}
