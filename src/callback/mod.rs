//! Tells a genuine callback of WeCom from everything else, and says what it announces.
//!
//! Anybody can send us a request. What makes it WeCom's is a signature over a shared token and, inside the
//! ciphertext, the id of the receiver. [`Verifier`] checks both, in an order that gives nothing away: shapes,
//! signature, padding, length, receiver, and only then the XML inside. [`seal()`] is its inverse, for the simulator
//! and for your own tests.
//!
//! Everything here is a pure function of its arguments: no I/O, no clock, no panic on any input.
//!
//! ```
//! use wecom_kf::callback::{KeyPair, Notification, Verifier, seal};
//! use wecom_kf::clock::UnixMillis;
//! use wecom_kf::id::CorpId;
//!
//! let key = "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789AbCdEfG";
//! let pair = KeyPair::new("QDG6eK".into(), key.into())?;
//! let xml = "<xml><Event>kf_msg_or_event</Event><OpenKfId>wkDEMO</OpenKfId></xml>";
//! let sealed = seal(&pair, "ww0123456789abcdef", xml.as_bytes(), 1_760_000_000, "n0nce", [7; 16]);
//!
//! let verifier = Verifier::new(vec![pair], vec![CorpId::from("ww0123456789abcdef")])?;
//! let notification = verifier.open(&sealed.query(), sealed.body().as_bytes(), UnixMillis::from_secs(1_760_000_000))?;
//! assert!(matches!(notification, Notification::Message { open_kfid: Some(id), .. } if id.as_str() == "wkDEMO"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Sources: <https://developer.work.weixin.qq.com/document/path/90930> (what is sent, and how it is answered),
//! <https://developer.work.weixin.qq.com/document/path/90968> (signature and encryption).

mod cipher;
mod key;
mod notification;
mod query;
mod refusal;
mod seal;
mod signature;
#[cfg(test)]
mod tests;
mod verifier;
mod xml;

pub use cipher::FrameError;
pub use key::{GeneratedKeys, KeyError, KeyPair};
pub use notification::Notification;
pub use refusal::{Refusal, ShapeError, VerifyError};
pub use seal::{Sealed, seal};
pub use verifier::{Verifier, VerifierError};
pub use xml::XmlError;

/// Longest body that is looked at, in bytes. WeCom's are well under a tenth of it.
pub const MAX_BODY_BYTES: usize = 64 * 1024;
