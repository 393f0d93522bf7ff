//! A callback server for WeCom customer service (企业微信 微信客服, "KF").
pub mod api;
pub mod backoff;
pub mod callback;
pub mod clock;
pub mod config;
pub mod handler;
pub mod http;
pub mod id;
pub mod message;
pub mod metric;
pub mod shutdown;
#[cfg(feature = "simulator")]
pub mod simulator;
pub mod store;
pub mod telemetry;
