//! From a config to an app.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
#[cfg(feature = "nats")]
use std::time::Duration;

use super::{App, AppError, token_shelf};
use crate::api::{self, Client, TokenShelf};
use crate::backoff::Backoff;
use crate::callback::{Notification, Verifier};
use crate::clock::{Clock, SetClock, SystemClock};
use crate::config::{self, Config, HandlerKind};
use crate::dispatcher::{self, Dispatcher};
#[cfg(feature = "nats")]
use crate::handler::nats::{self, Nats, NatsError};
use crate::handler::{AutoReply, Desk, Forward, LogHandler, Registration, Roster, forward};
use crate::http::{self, CallbackApp, Callbacks, Gateway, GatewaySettings};
use crate::id::AppName;
use crate::lease::{self, Leases};
use crate::store::{self, Store};
use crate::syncer::{self, Syncer, Upstream, WakeUps};
use crate::telemetry::Metrics;

/// Share of the grace that attempts in hand may use; the rest is for the store to write down how they ended.
const GRACE_FOR_ATTEMPTS: f64 = 0.8;

/// Makes an [`App`] of a config, and of handlers written in Rust.
#[derive(Debug)]
#[must_use]
pub struct Builder {
    config: Config,
    handlers: Vec<Registration>,
    clock: Arc<dyn Clock>,
    metrics: Option<Metrics>,
}

impl Builder {
    pub(super) fn new(config: Config) -> Self {
        Self {
            config,
            handlers: Vec::new(),
            clock: Arc::new(SystemClock),
            metrics: None,
        }
    }

    /// Adds a handler to those of the config.
    pub fn handler(mut self, registration: Registration) -> Self {
        self.handlers.push(registration);
        self
    }

    /// Tells the time by `clock` instead of the machine's.
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// Shows `metrics` on the admin side. Without them `/metrics` is empty.
    pub fn metrics(self, metrics: Metrics) -> Self {
        Self {
            metrics: Some(metrics),
            ..self
        }
    }

    /// Opens the store, registers the handlers, starts their threads and makes the clients. Calls nobody and binds no port. Opening the store
    /// blocks the thread while it reads and writes files, for milliseconds as a rule.
    ///
    /// # Errors
    ///
    /// [`AppError`] names the part that cannot be had.
    pub async fn build(self) -> Result<App, AppError> {
        let Self {
            config,
            mut handlers,
            clock,
            metrics,
        } = self;
        let own = SetClock::new(clock);
        let clock: Arc<dyn Clock> = Arc::new(own.clone());
        for handler in config.handlers {
            handlers.push(configured(handler, &clock)?);
        }
        refuse_shared_names(&handlers)?;
        let marks = marks(&config.store, &config.sync);
        let store = store::open(&config.store.settings()).await?;
        if let Some(shared) = store.shared() {
            shared.set_clock(&own).await?;
        }
        let names: Vec<_> = handlers.iter().map(|handler| handler.name().clone()).collect();
        let ids = store.register_handlers(&names).await?;

        let mut clients = Vec::new();
        let mut upstreams = HashMap::new();
        let mut callbacks = Vec::new();
        for app in config.apps {
            let name = app.name.clone();
            let settings = sync_settings(&config.sync, &app);
            callbacks.push(CallbackApp {
                name: name.clone(),
                verifier: verifier(&app)?,
            });
            let client = sharing_client(&config.sync, app, &clock, token_shelf(&store))?;
            clients.push((name.clone(), client.clone()));
            upstreams.insert(name, (Arc::new(client) as Arc<dyn Upstream>, settings));
        }
        let desk = Arc::new(desk(&clients, &store, &clock));
        let handlers = handlers.into_iter().map(|handler| handler.at_desk(Arc::clone(&desk)));
        let roster = Arc::new(Roster::new(ids.into_iter().zip(handlers)));
        let gateway = config.gateway.map(|section| gateway(section, &clients, &clock));
        let term = config.store.lease;
        let (leases, tender) = Leases::of(&store, &clock, lease::Settings { term });
        let syncer = Syncer::new(upstreams, &store, &roster, &leases, &clock, marks);
        let hand_out = dispatcher::Settings {
            grace: config.server.shutdown_grace.mul_f64(GRACE_FOR_ATTEMPTS),
            ..dispatcher::Settings::default()
        };
        let dispatcher = Dispatcher::new(&store, &roster, &leases, &clock, &hand_out)?;
        let notify = notify(&callbacks, &syncer, &clock);
        Ok(App {
            server: config.server,
            retention: config.store.retention,
            body_retention: config.store.body_retention,
            clients,
            gateway,
            callbacks: Callbacks::new(callbacks, Arc::clone(&clock), notify),
            store,
            roster,
            syncer,
            dispatcher,
            tender,
            clock,
            metrics,
        })
    }
}

fn configured(handler: config::Handler, clock: &Arc<dyn Clock>) -> Result<Registration, AppError> {
    let config::Handler {
        name,
        kind,
        filter,
        policy,
    } = handler;
    let registration = match kind {
        HandlerKind::Log => Registration::new(name, LogHandler).on_shared_threads(),
        HandlerKind::AutoReply(settings) => Registration::new(name, AutoReply::new(*settings)).on_shared_threads(),
        HandlerKind::Forward(config::Forward {
            url,
            signing_secrets,
            reach,
            ca,
        }) => {
            let settings = forward::Settings {
                url,
                signing_secrets,
                reach,
                authorities: ca.map(|ca| ca.authorities),
                concurrency: policy.concurrency,
                timeout: policy.timeout,
            };
            match Forward::new(settings, Arc::clone(clock)) {
                Ok(forward) => {
                    #[cfg(feature = "otel")]
                    let forward = forward.with_traceparent(crate::telemetry::traceparent);
                    Registration::new(name, forward).on_shared_threads()
                }
                Err(source) => return Err(AppError::Handler { handler: name, source }),
            }
        }
        #[cfg(feature = "nats")]
        HandlerKind::Nats(section) => match nats(*section, policy.timeout, Arc::clone(clock)) {
            Ok(nats) => {
                #[cfg(feature = "otel")]
                let nats = nats.with_traceparent(crate::telemetry::traceparent);
                Registration::new(name, nats).on_shared_threads()
            }
            Err(source) => return Err(AppError::Nats { handler: name, source }),
        },
    };
    Ok(registration.with_filter(filter).with_policy(policy))
}

/// Makes the publisher that `section` describes, for whoever wants to know whether it gets through.
///
/// # Errors
///
/// See [`NatsError`].
#[cfg(feature = "nats")]
pub fn nats(section: config::Nats, timeout: Duration, clock: Arc<dyn Clock>) -> Result<Nats, NatsError> {
    let config::Nats {
        servers,
        stream,
        subject,
        credentials,
        ca,
    } = section;
    let settings = nats::Settings {
        servers,
        stream,
        subject,
        credentials,
        authorities: ca.map(|ca| ca.authorities),
        timeout,
    };
    Nats::new(settings, clock)
}

fn refuse_shared_names(handlers: &[Registration]) -> Result<(), AppError> {
    let mut names = HashSet::new();
    match handlers.iter().find(|handler| !names.insert(handler.name())) {
        None => Ok(()),
        Some(second) => Err(AppError::SharedName(second.name().clone())),
    }
}

fn verifier(app: &config::App) -> Result<Verifier, AppError> {
    let verifier =
        Verifier::new(app.callback_keys.clone(), app.receive_ids.clone()).map_err(|source| AppError::Verifier {
            app: app.name.clone(),
            source,
        })?;
    Ok(match app.max_clock_skew {
        Some(skew) => verifier.with_max_clock_skew(skew),
        None => verifier,
    })
}

/// Makes the client through which `app` is served, for whoever wants to ask WeCom something beside the server.
///
/// # Errors
///
/// [`AppError::Client`].
pub fn client(sync: &config::Sync, app: config::App, clock: &Arc<dyn Clock>) -> Result<Client, AppError> {
    sharing_client(sync, app, clock, None)
}

/// Makes the client through which `app` is served, with the access token that lies on `token_shelf`.
fn sharing_client(
    sync: &config::Sync,
    app: config::App,
    clock: &Arc<dyn Clock>,
    token_shelf: Option<Arc<dyn TokenShelf>>,
) -> Result<Client, AppError> {
    let settings = api::Settings {
        api_base: app.api_base.into(),
        calls_per_second: sync.calls_per_second,
        calls_burst: sync.calls_burst,
        tokenless_per_minute: sync.tokenless_per_minute,
        concurrency: app.api_concurrency,
        rate_limit_pause: sync.rate_limit_pause,
        timeout: app.api_timeout,
        token_shelf,
        ..api::Settings::new(app.corp_id, app.secret)
    };
    Client::new(settings, Arc::clone(clock)).map_err(|source| AppError::Client { app: app.name, source })
}

/// What handlers speak through.
fn desk(clients: &[(AppName, Client)], store: &Arc<dyn Store>, clock: &Arc<dyn Clock>) -> Desk {
    let desk = Desk::new(Arc::clone(clock)).with_store(Arc::clone(store));
    clients.iter().fold(desk, |desk, (app, client)| {
        desk.with_client(app.clone(), client.clone())
    })
}

/// The gateway, and where it is to listen.
fn gateway(section: config::Gateway, clients: &[(AppName, Client)], clock: &Arc<dyn Clock>) -> (SocketAddr, Gateway) {
    let is_led_to = |(app, _): &&(AppName, Client)| section.apps.contains(app);
    let apps = clients.iter().filter(is_led_to).cloned().collect();
    let settings = GatewaySettings {
        keys: section.keys,
        calls: section.calls,
        request_timeout: section.request_timeout,
    };
    (section.listen, Gateway::new(apps, settings, Arc::clone(clock)))
}

fn sync_settings(sync: &config::Sync, app: &config::App) -> syncer::Settings {
    syncer::Settings {
        page_limit: u32::from(sync.page_limit),
        poll_interval: sync.poll_interval,
        first_sync_window: sync.first_sync_window,
        backoff: Backoff::new(sync.backoff_min, sync.backoff_max),
        operator_pause: sync.operator_pause,
        // One that waits for a tokenless turn makes no call.
        pulls_at_once: app.api_concurrency.saturating_add(1),
    }
}

fn marks(store: &config::Store, sync: &config::Sync) -> syncer::Marks {
    syncer::Marks {
        min_free: store.min_free,
        max_backlog: store.max_backlog,
        backoff: Backoff::new(sync.backoff_min, sync.backoff_max),
    }
}

/// What a callback does: it leaves a note for the syncer and is done.
fn notify(apps: &[CallbackApp], syncer: &Syncer, clock: &Arc<dyn Clock>) -> http::Notify {
    let wake_ups: HashMap<AppName, Arc<WakeUps>> = apps
        .iter()
        .filter_map(|app| Some((app.name.clone(), syncer.wake_ups(&app.name)?)))
        .collect();
    let clock = Arc::clone(clock);
    Arc::new(move |app, notification| {
        let Some(wake_ups) = wake_ups.get(app) else { return };
        match notification {
            Notification::Message {
                open_kfid: Some(open_kfid),
                token,
                ..
            } => {
                wake_ups.wake(open_kfid, token, clock.now());
            }
            Notification::Message { open_kfid: None, .. } => wake_ups.wake_all(clock.now()),
            Notification::AccountsChanged { added, removed } => {
                tracing::info!(%app, ?added, ?removed, "WeCom changed which accounts this app may read");
                added
                    .into_iter()
                    .for_each(|open_kfid| wake_ups.granted(open_kfid, clock.now()));
            }
            // The edge has counted and logged it.
            Notification::Other { .. } => {}
        }
    })
}
