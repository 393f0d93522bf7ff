//! A WeCom that answers each pull as a closure says, and remembers what it was asked.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::Uri;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::Instant;

/// One pull.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Asked {
    pub(super) open_kfid: String,
    pub(super) cursor: Option<String>,
    pub(super) token: Option<String>,
    pub(super) limit: u32,
    #[serde(skip, default = "Instant::now")]
    pub(super) at: Instant,
}

/// Answers the pull with this number, counted from 0; `None` is no answer, ever.
type Answer = dyn Fn(usize, &Asked) -> Option<String> + Send + Sync;

pub(super) struct Script {
    book: Arc<Book>,
    pub(super) base_url: String,
}

struct Book {
    /// What `account/list` answers: accounts, or the number of an error.
    accounts: Value,
    listed: AtomicUsize,
    asked: Mutex<Vec<Asked>>,
    answer: Box<Answer>,
}

impl Script {
    pub(super) async fn new(answer: impl Fn(usize, &Asked) -> Option<String> + Send + Sync + 'static) -> Self {
        Self::listing(json!([]), answer).await
    }

    /// One whose `account/list` answers `accounts`, or with an error if that is a number.
    pub(super) async fn listing(
        accounts: Value,
        answer: impl Fn(usize, &Asked) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        let book = Arc::new(Book {
            accounts,
            listed: AtomicUsize::new(0),
            asked: Mutex::default(),
            answer: Box::new(answer),
        });
        let router = Router::new().fallback(serve).with_state(Arc::clone(&book));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { book, base_url }
    }

    /// How often the first page of accounts was asked for.
    pub(super) fn listed(&self) -> usize {
        self.book.listed.load(Ordering::SeqCst)
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.book.asked.lock().unwrap().clone()
    }

    /// The pulls of one account.
    pub(super) fn asked_of(&self, open_kfid: &str) -> Vec<Asked> {
        let mut asked = self.asked();
        asked.retain(|asked| asked.open_kfid == open_kfid);
        asked
    }
}

async fn serve(State(book): State<Arc<Book>>, uri: Uri, body: Bytes) -> String {
    match uri.path() {
        "/cgi-bin/gettoken" => {
            json!({ "errcode": 0, "errmsg": "ok", "access_token": "A", "expires_in": 7200 }).to_string()
        }
        "/cgi-bin/kf/account/list" => {
            let first = serde_json::from_slice::<Value>(&body).unwrap()["offset"] != json!(100);
            book.listed.fetch_add(usize::from(first), Ordering::SeqCst);
            if let Some(errcode) = book.accounts.as_i64() {
                return json!({ "errcode": errcode, "errmsg": "no" }).to_string();
            }
            let accounts = if first { book.accounts.clone() } else { json!([]) };
            json!({ "errcode": 0, "errmsg": "ok", "account_list": accounts }).to_string()
        }
        _ => {
            let asked: Asked = serde_json::from_slice(&body).unwrap();
            let answer = {
                let mut book_of_asked = book.asked.lock().unwrap();
                book_of_asked.push(asked.clone());
                (book.answer)(book_of_asked.len() - 1, &asked)
            };
            match answer {
                Some(answer) => answer,
                None => std::future::pending().await,
            }
        }
    }
}

/// A page that ends at `cursor`.
pub(super) fn page(items: &[Value], cursor: &str, has_more: u8) -> Option<String> {
    let page = json!({ "errcode": 0, "errmsg": "ok", "next_cursor": cursor, "has_more": has_more, "msg_list": items });
    Some(page.to_string())
}

/// The last page, with nothing on it.
pub(super) fn nothing_new(asked: &Asked) -> Option<String> {
    page(&[], asked.cursor.as_deref().unwrap_or("c0"), 0)
}

/// A refusal.
pub(super) fn refused(errcode: i64) -> Option<String> {
    Some(json!({ "errcode": errcode, "errmsg": "no" }).to_string())
}
