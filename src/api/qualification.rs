//! `kf/get_corp_qualification`: what the corporation has been granted.
//!
//! Source: <https://developer.work.weixin.qq.com/document/path/95153>

use serde::Deserialize;

use super::answer::{Answer, LooseInt, done};
use super::{ApiError, Ask, Call, Client, Problem};

/// What the corporation has been granted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct CorpQualification {
    /// Whether its accounts may stand in WeChat Channels; `None` if WeCom did not say.
    pub wechat_channels_binding: Option<bool>,
}

#[derive(Deserialize)]
struct Body {
    wechat_channels_binding: Option<LooseInt>,
}

impl Client {
    /// Asks what the corporation has been granted.
    ///
    /// # Errors
    ///
    /// See [`ApiError`].
    ///
    /// Source: <https://developer.work.weixin.qq.com/document/path/95153>
    pub async fn corp_qualification(&self) -> Result<CorpQualification, ApiError> {
        self.call(&Ask::get(Call::GetCorpQualification, &[]), read).await
    }
}

fn read(answer: &Answer) -> Result<CorpQualification, Problem> {
    done(answer)?;
    let body: Body = answer.read()?;
    Ok(CorpQualification {
        wechat_channels_binding: body.wechat_channels_binding.map(|binding| binding.0 != 0),
    })
}
