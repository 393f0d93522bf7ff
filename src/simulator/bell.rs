//! The bell: callbacks, sealed as WeCom seals them, sent, and sent again while nobody answers.
//!
//! Sources: <https://developer.work.weixin.qq.com/document/path/90930> (time-out and repeats),
//! <https://developer.work.weixin.qq.com/document/path/94670> (`kf_msg_or_event`),
//! <https://developer.work.weixin.qq.com/document/path/97712> (`kf_account_auth_change`).

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::seq::IteratorRandom;
use rand::{Rng, RngExt};
use reqwest::{StatusCode, Url};
use tokio::time::{Instant, sleep, timeout};

use super::fault::Fault;
use super::settings::{Account, BellRules, CallbackTarget};
use super::wecom::Wecom;
use super::world::World;
use crate::callback::{Sealed, seal};
use crate::clock::UnixMillis;
use crate::id::OpenKfid;

/// How many callbacks are remembered for [`Fault::CallbackReplayed`].
const PAST_BELLS: usize = 64;

/// Longest echo that is read, in bytes.
const MAX_ECHO: usize = 1024;

/// A callback, ready to be sent, and sent again.
#[derive(Debug)]
pub(super) struct Bell {
    url: Url,
    body: String,
}

/// When a callback is sent.
#[derive(Clone, Copy, Debug)]
enum When {
    Now,
    After(Duration),
    /// After another callback has been answered, or this long.
    AfterAnother(Duration),
}

/// What a callback announces.
#[derive(Debug)]
pub(super) enum News<'a> {
    /// An account has something to pull.
    Messages(&'a OpenKfid),
    /// Other accounts may be managed now.
    Accounts {
        added: &'a [Account],
        removed: &'a [OpenKfid],
    },
    /// Something else that the application's URL is told.
    Other(&'a str),
}

/// Why the callback's URL did not pass WeCom's check.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EchoError {
    /// There is no callback to check.
    #[error("no callback is configured")]
    NoTarget,
    /// Nobody could be reached.
    #[error("callback could not be reached")]
    Unreachable(#[source] reqwest::Error),
    /// The answer took longer than WeCom waits.
    #[error("callback did not answer in time")]
    TooLate,
    /// The answer was not 200.
    #[error("callback answered status {0}")]
    Status(u16),
    /// The answer was not exactly what the request had encrypted.
    #[error("callback answered another text than the decrypted one")]
    WrongEcho,
}

impl Wecom {
    /// Seals the callback for `news` and says when to send it, and how often; nothing if there is nobody to tell, or
    /// faults are against it.
    fn toll(&mut self, news: &News<'_>, now: UnixMillis) -> Vec<(Arc<Bell>, When)> {
        let Some(target) = self.settings.callback.clone() else {
            return Vec::new();
        };
        self.counts.callbacks.rung += 1;
        let message = self.message(news, now);
        if self.suffers(Fault::CallbackDropped) {
            self.counts.callbacks.dropped += 1;
            return Vec::new();
        }
        let slowness = self.faults.slowness;
        let when = if self.suffers(Fault::CallbackDelayed) {
            When::After(slowness.mul_f64(self.rng.random()))
        } else if self.suffers(Fault::CallbackReordered) {
            When::AfterAnother(slowness)
        } else {
            When::Now
        };
        let copies = if self.suffers(Fault::CallbackDuplicated) {
            self.rng.random_range(2..=4)
        } else {
            1
        };
        let bell = Arc::new(Bell::new(&target, &message, now, &mut self.rng));
        let mut peal = vec![(bell.clone(), when); copies];
        if let Some(earlier) = self.past_bells.iter().choose(&mut self.rng).cloned()
            && self.suffers(Fault::CallbackReplayed)
        {
            peal.push((earlier, When::Now));
        }
        if self.past_bells.len() == PAST_BELLS {
            self.past_bells.pop_front();
        }
        self.past_bells.push_back(bell);
        peal
    }

    /// The XML that is encrypted.
    fn message(&mut self, news: &News<'_>, now: UnixMillis) -> String {
        let (event, fields) = match news {
            News::Messages(open_kfid) => {
                let token = self.new_callback_token(open_kfid, now);
                let fields = element("Token", &token) + &element("OpenKfId", open_kfid.as_str());
                ("kf_msg_or_event", fields)
            }
            News::Accounts { added, removed } => {
                let added = added
                    .iter()
                    .map(|account| element("AuthAddOpenKfId", account.open_kfid.as_str()));
                let removed = removed.iter().map(|id| element("AuthDelOpenKfId", id.as_str()));
                let sender = std::iter::once(element("FromUserName", "sys"));
                ("kf_account_auth_change", sender.chain(added).chain(removed).collect())
            }
            News::Other(event) => {
                let fields = element("FromUserName", "LiMing") + &element("AgentID", "1000002");
                (*event, fields)
            }
        };
        format!(
            "<xml>{}<CreateTime>{}</CreateTime>{}{}{fields}</xml>",
            element("ToUserName", self.settings.corp_id.as_str()),
            now.as_secs(),
            element("MsgType", "event"),
            element("Event", event),
        )
    }
}

fn element(name: &str, text: &str) -> String {
    format!("<{name}><![CDATA[{text}]]></{name}>")
}

impl Bell {
    fn new(target: &CallbackTarget, message: &str, now: UnixMillis, rng: &mut SmallRng) -> Self {
        let sealed = target.seal(message, now, rng);
        Self {
            url: target.with_query(&sealed.query()),
            body: sealed.body(),
        }
    }
}

impl CallbackTarget {
    fn seal(&self, message: &str, now: UnixMillis, rng: &mut impl Rng) -> Sealed {
        let nonce = rng.random_range(100_000_000..u32::MAX).to_string();
        seal(
            &self.keys,
            &self.receiveid,
            message.as_bytes(),
            now.as_secs(),
            &nonce,
            rng.random(),
        )
    }

    /// The callback's URL with `query` added to whatever query it has of its own.
    fn with_query(&self, query: &str) -> Url {
        let mut url = self.url.clone();
        let query = match self.url.query() {
            Some(own) => format!("{own}&{query}"),
            None => query.to_owned(),
        };
        url.set_query(Some(&query));
        url
    }
}

impl World {
    /// Sends a callback; does not wait for it.
    pub(super) fn ring(self: &Arc<Self>, news: &News<'_>) {
        let now = self.clock.now();
        let peal = self.wecom().toll(news, now);
        for (bell, when) in peal {
            let world = self.clone();
            let stop = self.stop.clone();
            let send = async move {
                world.wait(when).await;
                world.send(&bell).await;
            };
            self.bells.spawn_on(stop.run_until_cancelled_owned(send), &self.runtime);
        }
    }

    async fn wait(&self, when: When) {
        match when {
            When::Now => {}
            When::After(wait) => sleep(wait).await,
            When::AfterAnother(wait) => {
                // Either is right: that another was answered, or that there was none for so long.
                let _ = timeout(wait, self.answered.notified()).await;
            }
        }
    }

    /// Sends a callback until it is answered 200, with the same bytes each time.
    async fn send(&self, bell: &Bell) {
        let BellRules {
            answer_within,
            retries,
            pause,
            ..
        } = self.bell_rules;
        for attempt in 0..=retries {
            if attempt > 0 {
                sleep(pause).await;
            }
            let Ok(_turn) = self.lines.acquire().await else { return };
            self.wecom().counts.callbacks.sent += 1;
            let request = self.client.post(bell.url.clone()).body(bell.body.clone()).send();
            let status = match timeout(answer_within, request).await {
                Ok(Ok(response)) => Some(response.status()),
                Ok(Err(_)) | Err(_) => None,
            };
            self.book_answer(status);
            if status == Some(StatusCode::OK) {
                return;
            }
        }
        self.wecom().counts.callbacks.given_up += 1;
    }

    fn book_answer(&self, status: Option<StatusCode>) {
        let callbacks = &mut self.wecom().counts.callbacks;
        match status {
            Some(status) => *callbacks.answered.entry(status.as_u16()).or_default() += 1,
            None => callbacks.unanswered += 1,
        }
        self.answered.notify_waiters();
    }

    /// Checks the callback's URL as WeCom does when it is saved in the console. Returns how long the answer took.
    pub(super) async fn verify_url(&self) -> Result<Duration, EchoError> {
        let (url, echo) = {
            let now = self.clock.now();
            let mut wecom = self.wecom();
            let target = wecom.settings.callback.clone().ok_or(EchoError::NoTarget)?;
            let echo = wecom.rng.random_range(10_u64.pow(18)..u64::MAX).to_string();
            let sealed = target.seal(&echo, now, &mut wecom.rng);
            (target.with_query(&sealed.echo_query()), echo)
        };
        let asked = Instant::now();
        let answer = timeout(self.bell_rules.echo_within, self.fetch_echo(url))
            .await
            .map_err(|_| EchoError::TooLate)??;
        if answer == echo.as_bytes() {
            Ok(asked.elapsed())
        } else {
            Err(EchoError::WrongEcho)
        }
    }

    async fn fetch_echo(&self, url: Url) -> Result<Vec<u8>, EchoError> {
        // The URL holds the signature and the ciphertext; an error is shown to people.
        let unreachable = |error: reqwest::Error| EchoError::Unreachable(error.without_url());
        let mut response = self.client.get(url).send().await.map_err(unreachable)?;
        if response.status() != StatusCode::OK {
            return Err(EchoError::Status(response.status().as_u16()));
        }
        let mut echo = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            echo.extend_from_slice(&chunk);
            if echo.len() > MAX_ECHO {
                return Err(EchoError::WrongEcho);
            }
        }
        Ok(echo)
    }
}
