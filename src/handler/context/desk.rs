//! What handlers speak through.

use std::collections::HashMap;
use std::sync::Arc;

use crate::api::Client;
use crate::clock::Clock;
use crate::id::AppName;
use crate::store::Store;

/// What handlers speak through: a client for each application, the clock, and the store that remembers what was said.
///
/// The [`app`](crate::app) sets one up for its handlers. Whoever tries a handler without it makes one of their own:
///
/// ```
/// use std::sync::Arc;
///
/// use wecom_kf::api::{Client, Settings};
/// use wecom_kf::clock::SystemClock;
/// use wecom_kf::handler::{Desk, LogHandler, Registration};
/// use wecom_kf::id::{AppName, CorpId, HandlerName};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let clock = Arc::new(SystemClock);
/// let client = Client::new(Settings::new(CorpId::from("ww0123456789abcdef"), "the-secret".into()), clock.clone())?;
/// let desk = Desk::new(clock).with_client(AppName::new("main")?, client);
/// let handler = Registration::new(HandlerName::new("log")?, LogHandler).at_desk(Arc::new(desk));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Desk {
    clients: HashMap<AppName, Client>,
    store: Option<Arc<dyn Store>>,
    clock: Arc<dyn Clock>,
}

impl Desk {
    /// A desk that speaks for no application yet, and tells the time by `clock`.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clients: HashMap::new(),
            store: None,
            clock,
        }
    }

    /// Speaks for `app` through `client`.
    #[must_use]
    pub fn with_client(mut self, app: AppName, client: Client) -> Self {
        self.clients.insert(app, client);
        self
    }

    /// Remembers in `store` what was said. Without one only WeCom remembers: it refuses what it has been sent before, but
    /// no failure finds its way back to a reply, and the budget is not known before the call.
    #[must_use]
    pub fn with_store(self, store: Arc<dyn Store>) -> Self {
        let store = Some(store);
        Self { store, ..self }
    }

    pub(super) fn client(&self, app: &AppName) -> Option<&Client> {
        self.clients.get(app)
    }

    pub(super) fn store(&self) -> Option<&Arc<dyn Store>> {
        self.store.as_ref()
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }
}
