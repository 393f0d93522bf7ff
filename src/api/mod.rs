//! Talks to WeCom's server API on behalf of one app.
//!
//! Source: <https://developer.work.weixin.qq.com/document/path/90664>

mod errcode;
mod error;
mod remedy;

pub use errcode::{ErrCode, ErrorClass};
pub use error::{ApiError, Call, Problem};
pub use remedy::Remedy;
