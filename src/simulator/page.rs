//! What `sync_msg` answers: a page of the stream, and everything that can be strange about one.
//!
//! Items that faults make up are appended to the stream like any other, so that a page that is pulled again is the
//! same page again, as it is with WeCom.
//!
//! Source: <https://developer.work.weixin.qq.com/document/path/94670>

use std::sync::Arc;

use rand::RngExt;
use serde_json::json;

use super::calls::Pull;
use super::fault::Fault;
use super::ledger::OddItem;
use super::mint::Purpose;
use super::odd::{ODD_ITEMS, Occasion, make_up, msgid_of, needs_earlier};
use super::refusal::Refusal;
use super::stream::{Making, Stream};
use super::wecom::Wecom;
use crate::clock::UnixMillis;
use crate::id::OpenKfid;

/// How often in a row a pull may be kept from moving on, lest it never end.
const MAX_STANDSTILLS: u32 = 5;

impl Wecom {
    /// Answers a pull whose parameters are in order.
    pub(super) fn page(&mut self, pull: &Pull, now: UnixMillis) -> Result<String, Refusal> {
        let open_kfid = &pull.open_kfid;
        let start = self.start_of(pull, now)?;
        if pull.cursor.is_some() && self.suffers(Fault::CursorRefused) {
            let refusals = [Refusal::BAD_CURSOR, Refusal::BAD_PAGING_CURSOR];
            return Err(refusals[self.rng.random_range(0..2)].clone());
        }
        if self.stands_still(open_kfid, Fault::RepeatedCursor) {
            let cursor = pull.cursor.clone().unwrap_or_else(|| self.cursor(open_kfid, start, 0));
            return Ok(self.empty_page(&cursor));
        }
        if self.stands_still(open_kfid, Fault::EmptyPage) {
            let salt = self.rng.random();
            let cursor = self.cursor(open_kfid, start, salt);
            return Ok(self.empty_page(&cursor));
        }
        let limit = if self.suffers(Fault::ShortPage) {
            self.rng.random_range(1..=pull.limit.div_ceil(2))
        } else {
            pull.limit
        };
        self.add_odd_items(open_kfid, start, limit, now)?;
        if self.stands_still(open_kfid, Fault::EmptyNextCursor) {
            return self.full_page(open_kfid, start, limit, |_, _| String::new());
        }
        self.standstills.remove(open_kfid);
        self.full_page(open_kfid, start, limit, |wecom, end| wecom.cursor(open_kfid, end, 0))
    }

    fn start_of(&mut self, pull: &Pull, now: UnixMillis) -> Result<usize, Refusal> {
        let place = match &pull.cursor {
            None => None,
            Some(cursor) => {
                let place = self.place(&pull.open_kfid, cursor).ok_or(Refusal::BAD_CURSOR)?;
                let acknowledged = self.acknowledged.entry(pull.open_kfid.clone()).or_default();
                *acknowledged = place.max(*acknowledged);
                Some(place)
            }
        };
        let horizon = now.minus(self.settings.history);
        let stream = self.stream(&pull.open_kfid)?;
        stream.resume(place, horizon).map_err(|_| Refusal::BAD_CURSOR)
    }

    /// How many items lie before `cursor`, if it is one of this account's.
    pub(super) fn place(&self, open_kfid: &OpenKfid, cursor: &str) -> Option<u64> {
        self.mint.read(Purpose::Cursor, open_kfid, cursor)
    }

    fn stream(&self, open_kfid: &OpenKfid) -> Result<&Stream, Refusal> {
        self.streams.get(open_kfid).ok_or(Refusal::UNKNOWN_OPEN_KFID)
    }

    fn cursor(&self, open_kfid: &OpenKfid, place: usize, salt: u32) -> String {
        self.mint.make(Purpose::Cursor, open_kfid, place as u64, salt)
    }

    /// Whether `fault` keeps a pull from moving on this time.
    fn stands_still(&mut self, open_kfid: &OpenKfid, fault: Fault) -> bool {
        let so_far = self.standstills.get(open_kfid).copied().unwrap_or(0);
        let again = so_far < MAX_STANDSTILLS && self.suffers(fault);
        if again {
            self.standstills.insert(open_kfid.clone(), so_far + 1);
        }
        again
    }

    /// A page without items that says there is more. WeCom may leave the list out altogether.
    fn empty_page(&mut self, cursor: &str) -> String {
        let mut page = json!({ "errcode": 0, "errmsg": "ok", "next_cursor": cursor, "has_more": 1 });
        if self.rng.random() {
            page["msg_list"] = json!([]);
        }
        page.to_string()
    }

    /// A page of items, and the cursor that `cursor_at` makes for its end.
    fn full_page(
        &mut self,
        open_kfid: &OpenKfid,
        start: usize,
        limit: usize,
        cursor_at: impl FnOnce(&Self, usize) -> String,
    ) -> Result<String, Refusal> {
        let padding = if self.suffers(Fault::HugePage) {
            self.faults.page_bytes
        } else {
            0
        };
        let stream = self.stream(open_kfid)?;
        let items = stream.page(start, limit);
        let end = start + items.len();
        let (cursor, has_more) = (cursor_at(self, end), u8::from(end < stream.len()));
        let mut page =
            format!(r#"{{"errcode":0,"errmsg":"ok","next_cursor":"{cursor}","has_more":{has_more},"msg_list":["#);
        // Put together as text: the items are JSON already, and a page holds a thousand of them.
        page.reserve(items.iter().map(|item| item.raw.len() + 1).sum::<usize>() + padding + 32);
        for (n, item) in items.iter().enumerate() {
            if n > 0 {
                page.push(',');
            }
            page.push_str(&item.raw);
        }
        page.push(']');
        if padding > 0 {
            page.push_str(r#","padding":""#);
            page.extend(std::iter::repeat_n('x', padding));
            page.push('"');
        }
        page.push('}');
        Ok(page)
    }

    /// Appends what faults make up, as far as it fits into the page: a full page stays as it is, or the odd items of
    /// every pull would pile up before a reader of small pages and never let them come to the end.
    fn add_odd_items(
        &mut self,
        open_kfid: &OpenKfid,
        start: usize,
        limit: usize,
        now: UnixMillis,
    ) -> Result<(), Refusal> {
        for fault in ODD_ITEMS {
            let len = self.stream(open_kfid)?.len();
            if len - start >= limit {
                break;
            }
            let any = self.rng.random_range(0..=len);
            let earlier = self.stream(open_kfid)?.genuine_before(any);
            if (needs_earlier(fault) && earlier.is_none()) || !self.suffers(fault) {
                continue;
            }
            let occasion = Occasion {
                open_kfid,
                now,
                new_msgid: self.new_msgid(),
                earlier: earlier.as_deref(),
            };
            if let Some(raw) = make_up(fault, &occasion, &mut self.rng) {
                self.add_odd_item(open_kfid, fault, raw.into(), now);
            }
        }
        Ok(())
    }

    fn add_odd_item(&mut self, open_kfid: &OpenKfid, fault: Fault, raw: Arc<str>, now: UnixMillis) {
        if let Some(stream) = self.streams.get_mut(open_kfid) {
            stream.append(now, raw.clone(), Making::Odd);
        }
        self.counts.odd += 1;
        self.odd.push(Arc::new(OddItem {
            open_kfid: open_kfid.clone(),
            fault,
            msgid: msgid_of(&raw),
            raw,
        }));
    }
}
