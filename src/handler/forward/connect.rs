//! The way to an endpoint: its name becomes addresses, one of these a connection, and that a secure one.
//!
//! Every connection goes this way, and nothing else makes any: no proxy of the environment is asked, and no answer of an
//! endpoint is followed. A name is resolved anew for each connection, and only the addresses that passed are tried, so
//! that a name which leads elsewhere after it was looked at gains nothing.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::Duration;
use std::vec;

use hyper::Uri;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tower::Service;

use super::public::{self, Reach};
use crate::handler::BoxError;

/// Something under way.
type Boxed<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

/// Asks for the addresses of a name.
pub(super) type Lookup = Arc<dyn Fn(Name) -> Boxed<Vec<SocketAddr>, io::Error> + Send + Sync>;

/// Asks the system.
pub(super) fn system() -> Lookup {
    Arc::new(|name| Box::pin(async move { Ok(lookup_host((name.as_str(), 0)).await?.collect()) }))
}

/// Why no connection could be made, beyond what the network and TLS say themselves.
#[derive(Debug, thiserror::Error)]
enum ConnectError {
    #[error("the endpoint's name leads to no public address")]
    NotPublic,
    #[error("no connection within {0:?}")]
    Slow(Duration),
}

/// Finds the addresses of a name that are within reach.
#[derive(Clone)]
pub(super) struct Resolver {
    lookup: Lookup,
    reach: Reach,
}

impl Resolver {
    pub(super) fn new(lookup: Lookup, reach: Reach) -> Self {
        Self { lookup, reach }
    }
}

impl Service<Name> for Resolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = Boxed<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let (found, reach) = ((self.lookup)(name), self.reach);
        Box::pin(async move {
            let mut addresses = found.await?;
            if reach == Reach::PublicOnly {
                addresses.retain(|address| public::is_public(address.ip()));
                if addresses.is_empty() {
                    return Err(ConnectError::NotPublic.into());
                }
            }
            Ok(addresses.into_iter())
        })
    }
}

/// Connects over TCP, to whichever address of the name answers first, within `patience`.
pub(super) fn tcp(resolver: Resolver, patience: Duration) -> HttpConnector<Resolver> {
    let mut tcp = HttpConnector::new_with_resolver(resolver);
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    // Shared among the addresses, so that one that is dead does not use it up.
    tcp.set_connect_timeout(Some(patience));
    tcp
}

/// Makes connections to an endpoint. Cheap to clone: the client does so for every request.
#[derive(Clone)]
pub(super) struct Connector {
    tls: Arc<HttpsConnector<HttpConnector<Resolver>>>,
    patience: Duration,
}

impl Connector {
    /// Speaks TLS by `config`, where the endpoint does, and is ready to send within `patience`, name and TLS included.
    pub(super) fn new(tcp: HttpConnector<Resolver>, config: ClientConfig, patience: Duration) -> Self {
        let tls = Arc::new(HttpsConnector::from((tcp, config)));
        Self { tls, patience }
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = Boxed<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, endpoint: Uri) -> Self::Future {
        let mut tls = HttpsConnector::clone(&self.tls);
        let (connecting, patience) = (tls.call(endpoint), self.patience);
        Box::pin(async move {
            let connected = timeout(patience, connecting).await;
            connected.unwrap_or_else(|_| Err(ConnectError::Slow(patience).into()))
        })
    }
}
