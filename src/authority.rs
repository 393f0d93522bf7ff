//! Who vouches for a server that this process speaks to.
//!
//! Its certificate is always verified, for the name in the address: there is no setting that switches it off. A server
//! inside a private network is given its certificate by an authority of its own; naming that authority is the way to
//! reach it, and then nobody else is believed.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;

/// Authorities that alone are believed when they vouch for a server.
#[derive(Clone)]
pub struct Authorities(Arc<RootCertStore>);

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
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(AuthoritiesError::Pem)?;
            roots.add(certificate).map_err(AuthoritiesError::Certificate)?;
        }
        if roots.is_empty() {
            return Err(AuthoritiesError::Empty);
        }
        Ok(Self(Arc::new(roots)))
    }

    /// None: nobody is believed.
    pub(crate) fn none() -> Self {
        Self(Arc::new(RootCertStore::empty()))
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authorities({})", self.0.len())
    }
}

/// What a client verifies servers by: `authorities`, or those that this machine trusts.
pub(crate) fn client_config(authorities: Option<&Authorities>) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let config = match authorities {
        Some(Authorities(roots)) => config.with_root_certificates(Arc::clone(roots)),
        // As dangerous as the verifier that is named, which is the platform's.
        None => config
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier::new(provider)?)),
    };
    Ok(config.with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CA: &str = include_str!("../tests/fixtures/ca.pem");

    #[test]
    fn authorities_are_read_from_pem_and_what_holds_none_is_refused() {
        assert_eq!(
            format!("{:?}", Authorities::from_pem(CA.as_bytes()).unwrap()),
            "Authorities(1)"
        );
        let both = format!("as printed by some tool:\n{CA}\n\n{CA}");
        assert_eq!(
            format!("{:?}", Authorities::from_pem(both.as_bytes()).unwrap()),
            "Authorities(2)"
        );

        let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        for nothing in ["", "no PEM at all", key] {
            let refused = Authorities::from_pem(nothing.as_bytes()).unwrap_err();
            assert!(matches!(refused, AuthoritiesError::Empty), "{nothing}: {refused:?}");
        }
        let cut_off = &CA[..CA.len() / 2];
        let refused = Authorities::from_pem(cut_off.as_bytes()).unwrap_err();
        assert!(matches!(refused, AuthoritiesError::Pem(_)), "{refused:?}");
        let another_thing = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let refused = Authorities::from_pem(another_thing.as_bytes()).unwrap_err();
        assert!(matches!(refused, AuthoritiesError::Certificate(_)), "{refused:?}");
    }
}
