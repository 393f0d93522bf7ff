//! `kf/sync_msg`: reads an account's messages, page by page.
//!
//! Source: <https://developer.work.weixin.qq.com/document/path/94670>

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::answer::{Answer, LooseInt};
use super::governor::Limit;
use super::wire::understand;
use super::{ApiError, Ask, Call, Client, ErrCode, Problem};
use crate::id::{CallbackToken, OpenKfid};

/// Which page to read.
#[derive(Clone, Copy, Debug)]
pub struct SyncMsg<'a> {
    /// Account to read. Always sent: WeCom refuses a call without it.
    pub open_kfid: &'a OpenKfid,
    /// `next_cursor` of the page before; without it reading begins three days back.
    pub cursor: Option<&'a str>,
    /// Token of the callback that told of news, if it is less than ten minutes old. Without one the call waits for its
    /// turn under the strict limit.
    pub token: Option<&'a CallbackToken>,
    /// Most messages to return, 1–1000; a number outside is moved to the nearer end.
    pub limit: u32,
}

/// The right to read one page without a callback token, won by waiting in line.
#[derive(Debug)]
#[must_use]
pub struct TokenlessTurn(());

impl TokenlessTurn {
    /// A turn, for whoever keeps the line: [`Client::tokenless_turn`], or what stands in for WeCom.
    pub fn won() -> Self {
        Self(())
    }
}

/// One page of messages.
#[derive(Clone)]
#[non_exhaustive]
pub struct SyncPage {
    /// Where the next page begins; `None` if WeCom did not say. At most 64 bytes.
    pub next_cursor: Option<Box<str>>,
    /// Whether there is a next page already. A page may be empty and this be true.
    pub has_more: bool,
    /// Messages and events in WeCom's order, as they came, whatever kind of JSON each may be.
    pub items: Vec<Arc<RawValue>>,
}

impl SyncPage {
    /// Reads the body of an answer to `sync_msg`.
    ///
    /// # Errors
    ///
    /// [`ApiError::Rejected`] if it is WeCom's no, [`ApiError::Unreadable`] if it is no page.
    pub fn parse(body: Vec<u8>) -> Result<Self, ApiError> {
        understand(Call::SyncMsg, body, &[], read_page)
    }
}

impl fmt::Debug for SyncPage {
    /// Leaves the messages out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncPage")
            .field("next_cursor", &self.next_cursor)
            .field("has_more", &self.has_more)
            .field("items", &self.items.len())
            .finish()
    }
}

impl Client {
    /// Reads one page of an account's messages.
    ///
    /// Waits for its turn first: the more calls there are, the longer, and without a callback token up to minutes.
    ///
    /// # Errors
    ///
    /// [`ApiError::Rejected`] when WeCom says no; 95007 means that the callback token is no longer good and the page is
    /// to be read without one. See [`ApiError`] for the rest, and [`ApiError::class`] for what to do.
    ///
    /// Source: <https://developer.work.weixin.qq.com/document/path/94670>
    pub async fn sync_msg(&self, request: &SyncMsg<'_>) -> Result<SyncPage, ApiError> {
        let limit = match request.token() {
            Some(_) => Limit::Ordinary,
            None => Limit::Tokenless,
        };
        self.read_page(request, limit).await
    }

    /// Waits until a page may be read without a callback token. Dropping the future gives the place in line up, so a
    /// caller can go on listening for a token meanwhile.
    pub async fn tokenless_turn(&self) -> TokenlessTurn {
        self.0.governor.tokenless_turn().await;
        TokenlessTurn::won()
    }

    /// Reads one page, without a callback token if the request has none: the wait for that is over already.
    ///
    /// # Errors
    ///
    /// As [`sync_msg`](Self::sync_msg).
    pub async fn sync_msg_in_turn(&self, request: &SyncMsg<'_>, turn: TokenlessTurn) -> Result<SyncPage, ApiError> {
        let TokenlessTurn(()) = turn;
        self.read_page(request, Limit::Ordinary).await
    }

    async fn read_page(&self, request: &SyncMsg<'_>, limit: Limit) -> Result<SyncPage, ApiError> {
        let token = request.token();
        let body = body(request, token);
        let ask = Ask {
            limit,
            private: &[token.unwrap_or_default()],
            ..Ask::post(Call::SyncMsg, &body)
        };
        let result = self.call(&ask, read_page).await;
        if let Err(ApiError::Rejected { code, .. }) = &result
            && *code == ErrCode::INVALID_CALLBACK_TOKEN
        {
            self.0.governor.note_tokenless();
        }
        result
    }
}

impl SyncMsg<'_> {
    /// The token, if there is one to send.
    fn token(&self) -> Option<&str> {
        self.token.map(CallbackToken::expose).filter(|token| !token.is_empty())
    }
}

fn body(request: &SyncMsg<'_>, token: Option<&str>) -> String {
    let mut body = json!({
        "open_kfid": request.open_kfid.as_str(),
        "limit": request.limit.clamp(1, 1000),
    });
    // WeCom refuses an empty string where it accepts an absent key.
    if let Some(cursor) = request.cursor.filter(|cursor| !cursor.is_empty()) {
        body["cursor"] = cursor.into();
    }
    if let Some(token) = token {
        body["token"] = token.into();
    }
    body.to_string()
}

#[derive(Deserialize)]
struct Body {
    next_cursor: Option<Box<str>>,
    has_more: Option<LooseInt>,
    msg_list: Option<Vec<Box<RawValue>>>,
}

fn read_page(answer: &Answer) -> Result<SyncPage, Problem> {
    let body: Body = answer.read()?;
    // Some other JSON that happens to hold no error must not pass for "no news".
    if answer.errcode.is_none() && body.next_cursor.is_none() && body.has_more.is_none() && body.msg_list.is_none() {
        return Err(Problem::Shape { line: 1, column: 1 });
    }
    Ok(SyncPage {
        next_cursor: body.next_cursor.filter(|cursor| !cursor.is_empty()),
        has_more: body.has_more.is_some_and(|more| more.0 != 0),
        items: body.msg_list.unwrap_or_default().into_iter().map(Arc::from).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(body: &str) -> Result<SyncPage, Problem> {
        read_page(&Answer::parse(body.as_bytes().to_vec()).unwrap())
    }

    #[test]
    fn the_sample_pages_are_read() {
        let sample = include_str!("../../tests/fixtures/messages/sync_page.json");
        let full = page(sample).unwrap();
        assert_eq!(full.next_cursor.as_deref(), Some("4gw7MepFLfgF2VC5nqRb8TtXkW3cJ9d"));
        assert!(full.has_more);
        let all: serde_json::Value = serde_json::from_str(sample).unwrap();
        assert_eq!(full.items.len(), all["msg_list"].as_array().unwrap().len());
        for item in &full.items {
            assert!(sample.contains(item.get()), "every byte is kept, spaces and all");
        }

        let last = page(include_str!("../../tests/fixtures/messages/sync_page_last.json")).unwrap();
        assert_eq!((last.items.len(), last.has_more), (1, false));

        let empty = page(include_str!(
            "../../tests/fixtures/messages/sync_page_empty_has_more.json"
        ))
        .unwrap();
        assert_eq!((empty.items.len(), empty.has_more), (0, true));
    }

    #[test]
    fn odd_items_stay_in_the_page_as_they_came() {
        let page = page(r#"{"errcode":0,"has_more":0,"msg_list":[1, null, "x", [ 2 ], {"msgid":1e400}]}"#).unwrap();
        let items: Vec<_> = page.items.iter().map(|item| item.get()).collect();
        assert_eq!(items, ["1", "null", "\"x\"", "[ 2 ]", r#"{"msgid":1e400}"#]);
    }

    #[test]
    fn a_list_may_be_absent_and_a_flag_a_number_a_boolean_or_a_string() {
        for (fields, has_more) in [
            ("", false),
            (r#","has_more":null,"msg_list":null,"next_cursor":null"#, false),
            (r#","has_more":1"#, true),
            (r#","has_more":true"#, true),
            (r#","has_more":"1""#, true),
            (r#","has_more":"0","next_cursor":"""#, false),
        ] {
            let page = page(&format!(r#"{{"errcode":0{fields}}}"#)).unwrap();
            assert_eq!(page.has_more, has_more, "{fields}");
            assert!(page.items.is_empty() && page.next_cursor.is_none());
        }
    }

    #[test]
    fn some_other_json_does_not_pass_for_an_empty_page() {
        assert!(page(r#"{"status":"ok"}"#).is_err());
        assert!(page(r#"{"errcode":0,"msg_list":{}}"#).is_err());
        assert!(page(r#"{"has_more":0}"#).is_ok());
    }

    #[test]
    fn empty_strings_are_not_sent_and_the_limit_keeps_its_bounds() {
        let account = OpenKfid::from("wk1");
        let request = |cursor, limit| SyncMsg {
            open_kfid: &account,
            cursor,
            token: None,
            limit,
        };
        let json = |request: SyncMsg<'_>, token| -> serde_json::Value {
            serde_json::from_str(&body(&request, token)).unwrap()
        };
        assert_eq!(
            json(request(Some(""), 0), None),
            json!({ "open_kfid": "wk1", "limit": 1 })
        );
        assert_eq!(
            json(request(Some("c"), 5000), Some("ENC")),
            json!({ "open_kfid": "wk1", "limit": 1000, "cursor": "c", "token": "ENC" })
        );
    }

    #[test]
    fn debug_output_shows_neither_messages_nor_tokens() {
        let page = page(include_str!("../../tests/fixtures/messages/sync_page_last.json")).unwrap();
        assert!(!format!("{page:?}").contains("谢谢"));
        let token = CallbackToken::new("ENCcanary");
        let account = OpenKfid::from("wk1");
        let request = SyncMsg {
            open_kfid: &account,
            cursor: None,
            token: Some(&token),
            limit: 1,
        };
        assert!(!format!("{request:?}").contains("canary"));
    }
}
