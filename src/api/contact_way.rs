//! `kf/add_contact_way`: a link through which customers come in.
//!
//! Source: <https://developer.work.weixin.qq.com/document/path/94665>

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::json;

use super::answer::Answer;
use super::field::{at_most_bytes, required, required_bytes};
use super::{ApiError, Call, Client, FieldError, Problem};
use crate::id::OpenKfid;

/// What a parameter of a link may hold as it is.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A link to an account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ContactWay {
    url: Box<str>,
    has_scene: bool,
}

impl ContactWay {
    /// The link. Must not be changed: WeCom tells nothing of a customer who comes through a changed one.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The link with a value of your own, 1–128 bytes, which the `enter_session` event brings back as `scene_param`.
    ///
    /// # Errors
    ///
    /// [`FieldError`] when the value is empty or too long, or the link was made without a scene.
    pub fn with_scene_param(&self, value: &str) -> Result<String, FieldError> {
        let field = "scene_param";
        if !self.has_scene {
            return Err(FieldError::malformed(field, "needs a link that was made with a scene"));
        }
        required_bytes(field, value, 128)?;
        let joint = if self.url.contains('?') { '&' } else { '?' };
        Ok(format!(
            "{}{joint}scene_param={}",
            self.url,
            utf8_percent_encode(value, UNRESERVED)
        ))
    }
}

impl Client {
    /// Gets a link to an account. Customers who come through it bring `scene` along, at most 32 bytes of `0-9`, `a-z`,
    /// `A-Z`, `_` and `-`; the same scene gives the same link.
    ///
    /// # Errors
    ///
    /// See [`ApiError`].
    ///
    /// Source: <https://developer.work.weixin.qq.com/document/path/94665>
    pub async fn add_contact_way(&self, open_kfid: &OpenKfid, scene: Option<&str>) -> Result<ContactWay, ApiError> {
        let call = Call::AddContactWay;
        call.checked(required("open_kfid", open_kfid.as_str()))?;
        let mut body = json!({ "open_kfid": open_kfid });
        if let Some(scene) = scene {
            call.checked(check_scene(scene))?;
            body["scene"] = scene.into();
        }
        let url = self.post(call, &body, &[], read_url).await?;
        let has_scene = scene.is_some();
        Ok(ContactWay { url, has_scene })
    }
}

fn check_scene(scene: &str) -> Result<(), FieldError> {
    required("scene", scene)?;
    at_most_bytes("scene", scene, 32)?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if scene.bytes().all(allowed) {
        return Ok(());
    }
    Err(FieldError::malformed(
        "scene",
        "must consist of 0-9, a-z, A-Z, '_' and '-'",
    ))
}

#[derive(Deserialize)]
struct Body {
    url: Box<str>,
}

fn read_url(answer: &Answer) -> Result<Box<str>, Problem> {
    let Body { url } = answer.read()?;
    Ok(url)
}
