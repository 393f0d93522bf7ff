//! A server and its ports.

use std::io;
use std::net::{self, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{App, AppError, descriptors};
use crate::http::{self, Gateway, Limits};

/// Connections served at once on the admin side: scrapers, probes and an operator.
const ADMIN_CONNECTIONS: usize = 256;
/// Connections served at once on the gateway: programs of our own, with a few calls at a time each.
const GATEWAY_CONNECTIONS: usize = 256;
/// Connections that may wait to be accepted, if the system lets them (`net.core.somaxconn`). What comes in a burst beyond
/// them comes again after a second at the earliest.
const BACKLOG: u32 = 4096;

/// A server whose ports are bound.
#[derive(Debug)]
pub struct Bound {
    app: App,
    callbacks: TcpListener,
    admin: TcpListener,
    gateway: Option<TcpListener>,
}

impl App {
    /// Binds the addresses of the config.
    ///
    /// # Errors
    ///
    /// [`AppError::Bind`], naming the config key.
    pub async fn bind(self) -> Result<Bound, AppError> {
        let callbacks = listen("server.listen", self.server.listen)?;
        self.bind_admin(callbacks)
    }

    /// Binds the admin address of the config, and takes callbacks on `callbacks` instead of the address of the config.
    /// Whoever holds that socket open as well, as systemd does, lets callers wait in its queue while the server restarts.
    ///
    /// # Errors
    ///
    /// [`AppError::HandedOver`] and [`AppError::Bind`].
    pub async fn bind_to(self, callbacks: net::TcpListener) -> Result<Bound, AppError> {
        callbacks.set_nonblocking(true).map_err(AppError::HandedOver)?;
        let callbacks = TcpListener::from_std(callbacks).map_err(AppError::HandedOver)?;
        self.bind_admin(callbacks)
    }

    fn bind_admin(self, callbacks: TcpListener) -> Result<Bound, AppError> {
        let admin = listen("server.admin_listen", self.server.admin_listen)?;
        let gateway = self
            .gateway
            .as_ref()
            .map(|(address, _)| listen("gateway.listen", *address));
        Ok(Bound {
            callbacks,
            admin,
            gateway: gateway.transpose()?,
            app: self,
        })
    }
}

impl Bound {
    /// Where callbacks are listened for: the port that was picked, if the config says 0.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn callback_address(&self) -> io::Result<SocketAddr> {
        self.callbacks.local_addr()
    }

    /// Where health and metrics are served.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn admin_address(&self) -> io::Result<SocketAddr> {
        self.admin.local_addr()
    }

    /// Where the gateway is served, if it is.
    #[must_use]
    pub fn gateway_address(&self) -> Option<SocketAddr> {
        self.gateway.as_ref()?.local_addr().ok()
    }

    /// Serves until `stop`; then takes no more callbacks, finishes the pages and attempts in hand, and returns within
    /// the grace period of the config.
    pub async fn run(self, stop: CancellationToken) {
        let Self {
            app,
            callbacks,
            admin,
            gateway,
        } = self;
        if let (Ok(callbacks), Ok(admin)) = (callbacks.local_addr(), admin.local_addr()) {
            let gateway = gateway.as_ref().and_then(|gateway| gateway.local_addr().ok());
            tracing::info!(%callbacks, %admin, gateway = gateway.map(tracing::field::display), "listening");
        }
        let grace = app.server.shutdown_grace;
        let limits = Limits {
            max_connections: descriptors::affordable_connections(app.server.max_connections.into()),
            drain_timeout: grace,
            ..Limits::default()
        };
        let admin_limits = Limits {
            max_connections: ADMIN_CONNECTIONS,
            ..Limits::default()
        };
        // The admin side goes last, when this is dropped: whoever watches a stop sees it to its end.
        let mut admin_side = JoinSet::new();
        let admin_router = http::admin_router(app.ready_check(&stop), app.render_metrics());
        admin_side.spawn(http::serve(admin, admin_router, admin_limits, CancellationToken::new()));
        let answered = CancellationToken::new();
        let callbacks = {
            let (service, stop, answered) = (app.callbacks.service(), stop.clone(), answered.clone());
            async move {
                http::serve(callbacks, service, limits, stop).await;
                answered.cancel();
            }
        };
        let gateway = serve_gateway(
            gateway,
            app.gateway.as_ref().map(|(_, gateway)| gateway.clone()),
            grace,
            stop.clone(),
        );
        tokio::join!(callbacks, gateway, app.work(stop, answered));
        tracing::info!("stopped");
    }
}

/// Serves the gateway, if there is one, until `stop`; then for no longer than `grace`, whatever is being transferred.
async fn serve_gateway(
    listener: Option<TcpListener>,
    gateway: Option<Gateway>,
    grace: Duration,
    stop: CancellationToken,
) {
    let (Some(listener), Some(gateway)) = (listener, gateway) else {
        return;
    };
    let limits = gateway.limits(GATEWAY_CONNECTIONS);
    let overdue = async {
        stop.cancelled().await;
        tokio::time::sleep(grace).await;
    };
    tokio::select! {
        () = http::serve(listener, gateway.service(), limits, stop.clone()) => {}
        () = overdue => tracing::warn!("stopped with calls to the gateway in hand: the grace period is over"),
    }
}

fn listen(key: &'static str, address: SocketAddr) -> Result<TcpListener, AppError> {
    bind(address).map_err(|source| AppError::Bind { key, address, source })
}

/// As tokio's own `bind` does, but with a longer queue.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
