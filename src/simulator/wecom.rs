//! Everything that the fake WeCom knows, apart from any wire.
//!
//! What it does with it stands in more rooms: `calls` (who may ask what), `page` (what `sync_msg` answers),
//! `conversation` (what may be sent to customers), `media` (files) and `bell` (what is sent to the callback).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::bell::Bell;
use super::calls::{Api, Colleagues, Knowledge, Links, Quotas, Upgrades};
use super::conversation::{Codes, Conversations, Replies};
use super::draft::Draft;
use super::fault::{Fault, Faults};
use super::ledger::{Counts, Ledger, OddItem, Said};
use super::media::Library;
use super::mint::Mint;
use super::samples::alphanumeric;
use super::settings::{Account, Settings};
use super::stream::{Making, Stream};
use super::tokens::AccessTokens;
use crate::clock::UnixMillis;
use crate::id::{Msgid, OpenKfid};

/// How many items back the message that a recall means is looked for.
const RECALL_DEPTH: usize = 1_000;

/// Everything that the fake WeCom knows. Lives behind one lock, so that every call is an instant.
pub(super) struct Wecom {
    /// As given at the start, but for the accounts and the callback's target, which may have changed since.
    pub(super) settings: Settings,
    pub(super) faults: Faults,
    pub(super) rng: SmallRng,
    pub(super) mint: Mint,
    pub(super) access_tokens: AccessTokens,
    pub(super) quotas: Quotas,
    /// What happened, account by account; the same items as in the ledger, and the odd ones.
    pub(super) streams: BTreeMap<OpenKfid, Stream>,
    pub(super) conversations: Conversations,
    pub(super) codes: Codes,
    pub(super) replies: Replies,
    pub(super) colleagues: Colleagues,
    pub(super) links: Links,
    pub(super) upgrades: Upgrades,
    pub(super) knowledge: Knowledge,
    pub(super) media: Library,
    /// Accounts on which a call made something happen; rung for when the call is over.
    pub(super) news: Vec<OpenKfid>,
    /// How many pulls of an account are being answered now.
    pub(super) pulls: HashMap<OpenKfid, u32>,
    /// How often in a row pulls of an account have been kept from moving on.
    pub(super) standstills: HashMap<OpenKfid, u32>,
    /// How many items of an account a client has shown to have, by asking for what follows them.
    pub(super) acknowledged: HashMap<OpenKfid, u64>,
    /// The last callbacks, for [`Fault::CallbackReplayed`].
    pub(super) past_bells: VecDeque<Arc<Bell>>,
    pub(super) said: Vec<Arc<Said>>,
    pub(super) odd: Vec<Arc<OddItem>>,
    pub(super) counts: Counts,
}

/// The account does not exist in this simulator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("account {open_kfid} does not exist")]
pub struct UnknownAccount {
    /// Account that was named.
    pub open_kfid: OpenKfid,
}

impl Wecom {
    pub(super) fn new(settings: Settings) -> Self {
        let mut rng = SmallRng::seed_from_u64(settings.seed);
        let streams = settings
            .accounts
            .iter()
            .map(|account| (account.open_kfid.clone(), Stream::default()));
        Self {
            faults: Faults::default(),
            mint: Mint::new(&mut rng),
            access_tokens: AccessTokens::new(settings.access_token_lifetime),
            quotas: Quotas::new(&settings.limits),
            streams: streams.collect(),
            conversations: Conversations::default(),
            codes: Codes::default(),
            replies: Replies::default(),
            colleagues: Colleagues::default(),
            links: Links::default(),
            upgrades: Upgrades::default(),
            knowledge: Knowledge::default(),
            media: Library::new(settings.media_lifetime),
            news: Vec::new(),
            pulls: HashMap::new(),
            standstills: HashMap::new(),
            acknowledged: HashMap::new(),
            past_bells: VecDeque::new(),
            said: Vec::new(),
            odd: Vec::new(),
            counts: Counts::default(),
            rng,
            settings,
        }
    }

    /// Lets something happen on an account.
    pub(super) fn say(
        &mut self,
        open_kfid: &OpenKfid,
        mut draft: Draft,
        now: UnixMillis,
    ) -> Result<Msgid, UnknownAccount> {
        let msgid = self.new_msgid();
        if let Some(origin) = draft.recalls_last_of() {
            let recalled = self
                .last_said(open_kfid, &draft, origin)
                .unwrap_or_else(|| self.new_msgid());
            draft.recall(&recalled);
        }
        if !self.streams.contains_key(open_kfid) {
            return Err(UnknownAccount {
                open_kfid: open_kfid.clone(),
            });
        }
        self.witness(open_kfid, &draft, now);
        let (external_userid, origin, kind) = (draft.external_userid(), draft.origin(), draft.kind().into());
        let raw: Arc<str> = draft.finish(&msgid, now, open_kfid).into();
        if let Some(stream) = self.streams.get_mut(open_kfid) {
            stream.append(now, raw.clone(), Making::Genuine);
        }
        self.counts.said += 1;
        self.said.push(Arc::new(Said {
            open_kfid: open_kfid.clone(),
            msgid: msgid.clone(),
            external_userid,
            origin,
            kind,
            raw,
        }));
        Ok(msgid)
    }

    /// Hands `account` to the application.
    pub(super) fn grant(&mut self, account: Account) {
        self.streams.entry(account.open_kfid.clone()).or_default();
        self.settings
            .accounts
            .retain(|known| known.open_kfid != account.open_kfid);
        self.settings.accounts.push(account);
    }

    /// Takes an account away from the application. What was said on it stays, for the day it is granted again.
    pub(super) fn withdraw(&mut self, open_kfid: &OpenKfid) {
        self.settings.accounts.retain(|known| known.open_kfid != *open_kfid);
    }

    /// Whether `fault` happens this time; counted if it does.
    pub(super) fn suffers(&mut self, fault: Fault) -> bool {
        let happens = self.faults.happens(fault, &mut self.rng);
        if happens {
            *self.counts.faults.entry(fault).or_default() += 1;
        }
        happens
    }

    /// Whether `fault` happens to a call of `api` this time; counted if it does.
    pub(super) fn suffers_on(&mut self, api: Api, fault: Fault) -> bool {
        self.faults.concern(api) && self.suffers(fault)
    }

    pub(super) fn ledger(&self) -> Ledger {
        Ledger {
            said: self.said.clone(),
            odd: self.odd.clone(),
            seen: self.replies.all().to_vec(),
            counts: self.counts.clone(),
        }
    }

    /// 38 letters and digits: too many to meet twice.
    pub(super) fn new_msgid(&mut self) -> Msgid {
        Msgid::new(alphanumeric(38, &mut self.rng))
    }

    fn last_said(&self, open_kfid: &OpenKfid, recall: &Draft, origin: u64) -> Option<Msgid> {
        let customer = recall.external_userid();
        let recent = self.said.iter().rev().take(RECALL_DEPTH);
        let mut theirs = recent.filter(|said| said.origin == origin && said.external_userid == customer);
        let recalled = theirs.find(|said| said.open_kfid == *open_kfid)?;
        Some(recalled.msgid.clone())
    }
}
