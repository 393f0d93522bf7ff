//! WeCom as one application sees it: pages by cursor, and what goes wrong with them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep};
use wecom_kf::api::{ApiError, Call, KfAccount, SyncMsg, SyncPage, TokenlessTurn};
use wecom_kf::clock::UnixMillis;
use wecom_kf::id::{AppName, Msgid, OpenKfid};
use wecom_kf::syncer::Upstream;

use crate::chance::{Chance, digest};
use crate::life::Life;
use crate::turns::Turns;
use crate::weather::Weather;

/// What customers wrote, and how it is given out.
pub(crate) struct Wecom {
    pub(crate) app: AppName,
    chance: Chance,
    weather: Arc<Weather>,
    turns: Turns,
    accounts: Mutex<BTreeMap<OpenKfid, Vec<Item>>>,
    /// How often each question was asked.
    asked: Mutex<BTreeMap<u64, u64>>,
}

/// A message or an event.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) msgid: Msgid,
    json: String,
}

impl Wecom {
    pub(crate) fn new(app: AppName, chance: Chance, weather: Arc<Weather>) -> Arc<Self> {
        Arc::new(Self {
            app,
            chance,
            weather,
            turns: Turns::default(),
            accounts: Mutex::default(),
            asked: Mutex::default(),
        })
    }

    /// `customer` writes to `account`, or enters a session with it. Ids begin anew with each account: they are unique
    /// within one, and no further.
    pub(crate) fn arrive(&self, account: &OpenKfid, customer: &str, urgent: bool, now: UnixMillis) -> Msgid {
        let mut accounts = self.accounts.lock().unwrap();
        let items = accounts.entry(account.clone()).or_default();
        let (msgid, seconds) = (format!("m{}", items.len()), now.as_secs());
        let json = if urgent {
            format!(
                r#"{{"msgid":"{msgid}","send_time":{seconds},"origin":4,"msgtype":"event","event":{{"event_type":"enter_session","open_kfid":"{}","external_userid":"{customer}","scene":"1"}}}}"#,
                account.as_str()
            )
        } else {
            format!(
                r#"{{"msgid":"{msgid}","open_kfid":"{}","external_userid":"{customer}","send_time":{seconds},"origin":3,"msgtype":"text","text":{{"content":"hi"}}}}"#,
                account.as_str()
            )
        };
        let msgid = Msgid::new(msgid);
        items.push(Item {
            msgid: msgid.clone(),
            json,
        });
        msgid
    }

    /// Everything that ever came, by account.
    pub(crate) fn everything(&self) -> Vec<(OpenKfid, Vec<Msgid>)> {
        let accounts = self.accounts.lock().unwrap();
        let msgids = |items: &Vec<Item>| items.iter().map(|item| item.msgid.clone()).collect();
        accounts.iter().map(|(id, items)| (id.clone(), msgids(items))).collect()
    }

    fn count(&self, subject: u64) -> u64 {
        let mut asked = self.asked.lock().unwrap();
        let count = asked.entry(subject).or_default();
        *count += 1;
        *count
    }

    async fn page(&self, owner: u64, request: &SyncMsg<'_>) -> Result<SyncPage, ApiError> {
        let subject = digest((owner, request.open_kfid, request.cursor));
        let key = digest((subject, self.count(subject)));
        let slow = self.chance.happens(50, (key, "slow"));
        sleep(self.chance.millis(1..=if slow { 3_000 } else { 60 }, (key, "there"))).await;
        self.turns.of(key).await;
        let weather = self.weather.of_wecom(Instant::now());
        if self.chance.happens(weather.fails, (key, "fails")) {
            return self.failure(key);
        }
        if request.token.is_some() && self.chance.happens(weather.token_refused, (key, "token")) {
            return refused(95007);
        }
        let odd = self.chance.happens(weather.odd_page, (key, "odd"));
        let body = self.body(request, key, odd);
        sleep(self.chance.millis(0..=20, (key, "back"))).await;
        SyncPage::parse(body.into_bytes())
    }

    fn failure(&self, key: u64) -> Result<SyncPage, ApiError> {
        let call = Call::SyncMsg;
        match self.chance.millis(0..=4, (key, "failure")).as_millis() {
            0 => refused(-1),
            1 => refused(45009),
            2 => SyncPage::parse(b"<html>".to_vec()),
            3 => Err(ApiError::Status { call, status: 502 }),
            _ => Err(ApiError::Transport {
                call,
                source: Arc::from(Box::<dyn std::error::Error + Send + Sync>::from("reset")),
            }),
        }
    }

    /// A page behind the cursor, which is the number of items before it and, after a point, whatever makes it differ.
    fn body(&self, request: &SyncMsg<'_>, key: u64, odd: bool) -> String {
        let accounts = self.accounts.lock().unwrap();
        let items = accounts.get(request.open_kfid).map_or(&[][..], Vec::as_slice);
        let cursor = request.cursor.unwrap_or("0");
        let after: usize = cursor.split('.').next().and_then(|n| n.parse().ok()).unwrap_or(0);
        let most = self.chance.millis(1..=6, (key, "size")).as_millis() as usize;
        let kind = odd.then(|| self.chance.millis(0..=3, (key, "oddity")).as_millis());
        let (from, to, next) = match kind {
            // Some of them once more.
            Some(0) => {
                let to = items.len().min(after + most);
                (after.saturating_sub(2), to, Some(to.to_string()))
            }
            // Nothing yet, but another cursor.
            Some(1) => (after, after, Some(format!("{after}.{key:x}"))),
            // Nothing, and no other cursor.
            Some(2) => (after, after, Some(cursor.to_owned())),
            // It does not say where to go on.
            Some(_) => (after, items.len().min(after + most), None),
            None => {
                let to = items.len().min(after + most);
                (after, to, Some(to.to_string()))
            }
        };
        let has_more = u8::from(to < items.len() || kind == Some(1));
        let list: Vec<&str> = items[from..to].iter().map(|item| item.json.as_str()).collect();
        let next = next.map_or(String::new(), |next| format!(r#""next_cursor":"{next}","#));
        format!(
            r#"{{"errcode":0,"errmsg":"ok",{next}"has_more":{has_more},"msg_list":[{}]}}"#,
            list.join(",")
        )
    }
}

fn refused(errcode: i64) -> Result<SyncPage, ApiError> {
    SyncPage::parse(format!(r#"{{"errcode":{errcode},"errmsg":"no"}}"#).into_bytes())
}

impl fmt::Debug for Wecom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wecom").field("app", &self.app).finish_non_exhaustive()
    }
}

/// WeCom as one replica reaches it.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) wecom: Arc<Wecom>,
    pub(crate) life: Life,
}

#[async_trait]
impl Upstream for Line {
    async fn sync_msg(&self, request: &SyncMsg<'_>) -> Result<SyncPage, ApiError> {
        self.life.running().await;
        let page = self.wecom.page(self.life.owner(), request).await;
        self.life.running().await;
        page
    }

    async fn tokenless_turn(&self) -> TokenlessTurn {
        let subject = digest((self.life.owner(), "tokenless"));
        let nth = self.wecom.count(subject);
        sleep(self.wecom.chance.millis(0..=3_000, (subject, nth))).await;
        TokenlessTurn::won()
    }

    async fn sync_msg_in_turn(&self, request: &SyncMsg<'_>, _turn: TokenlessTurn) -> Result<SyncPage, ApiError> {
        self.sync_msg(request).await
    }

    /// Names none: every account is known by its first callback.
    async fn account_list(&self) -> Result<Vec<KfAccount>, ApiError> {
        sleep(Duration::from_millis(30)).await;
        self.life.running().await;
        Ok(Vec::new())
    }
}
