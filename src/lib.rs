//! A callback server for WeCom customer service (企业微信 微信客服, "KF"), as a library.
//!
//! WeCom tells a server "account X has news" by an encrypted callback. This crate verifies and decrypts it, pulls the
//! messages behind it, keeps them, and hands each one, typed, to [`handler`]s: at least once, in order per customer.
//!
//! * To run the whole server with handlers of your own, start at [`app`].
//! * To write a handler, see [`handler::Handler`] and [`handler::TypedHandler`]; what it is handed is a
//!   [`message::Message`].
//! * To verify callbacks in a server of your own, [`callback`] is enough: pure functions, bytes in, value or error out.
//! * To develop without a WeCom account, [`simulator`] is a fake one.
//! * To read the code, follow one message through it: [`walkthrough`].

pub mod api;
pub mod app;
mod authority;
pub mod backoff;
pub mod callback;
pub mod clock;
pub mod config;
pub mod dispatcher;
pub mod handler;
pub mod http;
pub mod id;
pub mod lease;
pub mod message;
pub mod metric;
pub mod shutdown;
#[cfg(feature = "simulator")]
pub mod simulator;
pub mod span;
pub mod store;
pub mod syncer;
pub mod telemetry;
#[doc = include_str!("walkthrough.md")]
pub mod walkthrough {}

/// Compiles the Rust of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
