//! Links by which customers find an account.
//!
//! Source: <https://developer.work.weixin.qq.com/document/path/94665>

use std::collections::HashMap;

use percent_encoding::percent_decode_str;
use serde_json::json;

use super::Answer;
use super::fields::{Fields, optional, text};
use crate::id::OpenKfid;
use crate::simulator::refusal::Refusal;
use crate::simulator::samples::alphanumeric;
use crate::simulator::wecom::Wecom;

/// Longest scene, and longest parameter that may be added to it, in bytes.
const MAX_SCENE: usize = 32;
const MAX_SCENE_PARAM: usize = 128;

/// Every link that was ever made.
#[derive(Debug, Default)]
pub(in crate::simulator) struct Links(HashMap<String, Target>);

/// Where a link leads.
#[derive(Debug)]
struct Target {
    open_kfid: OpenKfid,
    scene: String,
}

/// How somebody who follows a link arrives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::simulator) struct Arrival {
    pub(in crate::simulator) open_kfid: OpenKfid,
    pub(in crate::simulator) scene: String,
    pub(in crate::simulator) scene_param: String,
}

impl Links {
    /// Where `link` leads; nowhere if anything in it was changed. Whoever made it with a scene may add a `scene_param`.
    pub(in crate::simulator) fn follow(&self, link: &str) -> Option<Arrival> {
        let (base, encoded) = link.split_once("&scene_param=").unwrap_or((link, ""));
        let target = self.0.get(base)?;
        let scene_param = percent_decode_str(encoded).decode_utf8().ok()?.into_owned();
        let is_unasked = target.scene.is_empty() && base.len() < link.len();
        if is_unasked || encoded.contains('&') || scene_param.len() > MAX_SCENE_PARAM {
            return None;
        }
        Some(Arrival {
            open_kfid: target.open_kfid.clone(),
            scene: target.scene.clone(),
            scene_param,
        })
    }
}

impl Wecom {
    /// `POST /cgi-bin/kf/add_contact_way`.
    pub(super) fn add_contact_way(&mut self, request: &Fields) -> Answer {
        let open_kfid = self.granted_account(text(request, "open_kfid")?)?;
        let scene = optional(request, "scene", MAX_SCENE)?.unwrap_or_default();
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if !scene.bytes().all(is_allowed) {
            return Err(Refusal::parameter("invalid scene"));
        }
        let [page, seal] = [15, 24].map(|length| alphanumeric(length, &mut self.rng));
        let url = format!("https://work.weixin.qq.com/kfid/kfc{page}?enc_scene=ENC{seal}");
        let target = Target {
            open_kfid,
            scene: scene.to_owned(),
        };
        self.links.0.insert(url.clone(), target);
        Ok(json!({ "url": url }))
    }
}
