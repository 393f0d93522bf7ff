//! What `[[handlers]]` of kind "nats" says beyond what every handler does.

use super::raw;
use super::section::Section;

#[cfg(feature = "nats")]
mod settings;

#[cfg(feature = "nats")]
pub use settings::Nats;
#[cfg(feature = "nats")]
pub(super) use settings::nats;

/// The keys of a publisher to NATS.
#[derive(Debug)]
pub(super) struct Raw {
    pub(super) servers: Option<Vec<String>>,
    pub(super) stream: Option<String>,
    pub(super) subject: Option<String>,
    pub(super) user: Option<String>,
    pub(super) password: Option<raw::Secret>,
    pub(super) token: Option<raw::Secret>,
    pub(super) credentials: Option<raw::Secret>,
}

impl Raw {
    /// Tells of every key that is set although the handler is of another `kind`.
    pub(super) fn refuse(&self, kind: &str, section: &mut Section<'_>) {
        let keys = [
            ("servers", self.servers.is_some()),
            ("stream", self.stream.is_some()),
            ("subject", self.subject.is_some()),
            ("user", self.user.is_some()),
            ("password", self.password.is_some()),
            ("token", self.token.is_some()),
            ("credentials", self.credentials.is_some()),
        ];
        section.refuse_keys_of("nats", kind, &keys);
    }
}

/// Refuses what this build cannot do.
#[cfg(not(feature = "nats"))]
pub(super) fn refuse_kind(section: &mut Section<'_>) {
    section.wrong(
        "kind",
        "this build cannot publish to NATS: build it with `--features nats`, or make it another kind",
    );
}
