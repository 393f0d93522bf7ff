//! Media: pictures, voice, videos and files, up and down.
//!
//! Sources: <https://developer.work.weixin.qq.com/document/path/90253> (upload) and
//! <https://developer.work.weixin.qq.com/document/path/90254> (download)

mod download;
mod file_name;
mod form;
mod opening;
mod range;
mod upload;

pub use download::{Download, DownloadMedia};
pub use range::ByteRange;
pub use upload::{MediaKind, Upload, Uploaded};

pub(super) use form::Form;
pub(super) use opening::Opening;
