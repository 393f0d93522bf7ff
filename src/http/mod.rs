//! The edge: what comes in over HTTP, and what is answered.
//!
//! WeCom waits five seconds for an answer and takes anything but 200 for a failure; strangers send what they like, as
//! slowly as they like. So the callback side answers from memory, and never with a 5xx: verify, hand the
//! [`Notification`](crate::callback::Notification) to a closure, say `success`. It knows nothing of what happens then.
//!
//! [`Callbacks::router`] and [`admin_router`] are plain axum routers, to be mounted in any application. [`serve()`]
//! serves them on a listener with the limits that axum's own server lacks.

mod admin;
mod callback;
mod gateway;
mod guest;
mod serve;
#[cfg(test)]
mod tests;
mod throttle;

pub use admin::{Readiness, ReadyCheck, RenderMetrics, admin_router};
pub use axum::Router;
pub use callback::{CallbackApp, Callbacks, Notify};
pub use gateway::{Gateway, GatewayKey, GatewayKeyError, GatewaySettings};
pub use guest::Arriving;
pub use serve::{Limits, serve};
