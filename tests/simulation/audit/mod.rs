//! Watches what the store is asked and what handlers see, and finds what must not be.
//!
//! It stands at the database's end of every wire, so it sees what took effect and in which order, whatever the replicas
//! were told. It keeps books of its own, and believes no answer that they contradict.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard};

use tokio::time::Instant;
use wecom_kf::id::{AccountKey, Msgid};
use wecom_kf::store::{Fence, HandlerId, Lane, Right, Seq};

use crate::chance::digest;

mod attempts;
mod effects;
mod ending;

pub(crate) use attempts::{Attempt, Outcome};
pub(crate) use effects::Auditor;

/// What must not be.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Check {
    /// A message that a handler never acted on, and that is no dead letter.
    Lost,
    /// A message that has two rows.
    DoubleRows,
    /// A message handed out before an earlier one of the same customer was over.
    Order,
    /// A page, a retry or a burial that counted though somebody else had taken the right to it.
    StaleCommits,
    /// Two at work on one customer without the excuse of a crash, or a right that two had at once.
    Overlap,
    /// A message handed out again though the store knew that it was done.
    Repeated,
    /// Deliveries owed that should not be, or not owed that should.
    Owed,
    /// Attempts that were forgotten.
    Attempts,
}

impl Check {
    pub(crate) const ALL: [Self; 8] = [
        Self::Lost,
        Self::DoubleRows,
        Self::Order,
        Self::StaleCommits,
        Self::Overlap,
        Self::Repeated,
        Self::Owed,
        Self::Attempts,
    ];
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lost => "lost",
            Self::DoubleRows => "double_rows",
            Self::Order => "order_violations",
            Self::StaleCommits => "stale_commits",
            Self::Overlap => "overlap",
            Self::Repeated => "repeated",
            Self::Owed => "owed",
            Self::Attempts => "attempts",
        })
    }
}

/// Something that must not be, as it was found.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) check: Check,
    pub(crate) what: String,
}

/// One for a whole run.
#[derive(Debug)]
pub(crate) struct Audit(Mutex<Books>);

/// A message of an account.
type Letter = (AccountKey, Msgid);
/// What one handler is owed.
type Debt = (HandlerId, AccountKey, Msgid);

#[derive(Debug)]
struct Books {
    began: Instant,
    /// Whether what happens is printed.
    loud: bool,
    /// Effects so far: tells what came before what.
    effects: u64,
    /// Equal for two runs in which the same happened in the same order, at the same moments.
    course: u64,
    findings: Vec<Finding>,
    claims: BTreeMap<AccountKey, Granted>,
    tenancies: BTreeMap<Right, Tenancy>,
    /// When each process began, in effects.
    started: BTreeMap<u64, u64>,
    rows: BTreeMap<Letter, Lane>,
    /// What each customer wrote, in the order in which it was stored.
    lanes: BTreeMap<Lane, Vec<Letter>>,
    numbers: BTreeMap<Seq, Letter>,
    /// Attempts used up.
    owed: BTreeMap<Debt, u32>,
    /// By which process, and when, in effects.
    done: BTreeMap<Debt, (u64, u64)>,
    dead: BTreeSet<Debt>,
    /// Newest callback of each account that is in the store.
    recorded: BTreeMap<AccountKey, u64>,
    running: BTreeMap<(HandlerId, Lane), Vec<attempts::Running>>,
    /// What need not be tried again before the next one is.
    over: BTreeSet<Debt>,
    acted: BTreeMap<Debt, u32>,
}

/// What a claim was given for.
#[derive(Clone, Debug)]
struct Granted {
    number: i64,
    under: Fence,
    cursor: Option<Box<str>>,
    /// A page failed: nobody knows where the cursor is.
    unsure: bool,
}

/// Who has a right, or had it last.
#[derive(Clone, Copy, Debug)]
struct Tenancy {
    owner: u64,
    fence: Fence,
    /// `None` once it was given back.
    until: Option<Instant>,
    /// When it began, in effects.
    taken: u64,
}

impl Audit {
    pub(crate) fn new(loud: bool) -> Self {
        Self(Mutex::new(Books {
            began: Instant::now(),
            loud,
            effects: 0,
            course: 0,
            findings: Vec::new(),
            claims: BTreeMap::new(),
            tenancies: BTreeMap::new(),
            started: BTreeMap::new(),
            rows: BTreeMap::new(),
            lanes: BTreeMap::new(),
            numbers: BTreeMap::new(),
            owed: BTreeMap::new(),
            done: BTreeMap::new(),
            dead: BTreeSet::new(),
            recorded: BTreeMap::new(),
            running: BTreeMap::new(),
            over: BTreeSet::new(),
            acted: BTreeMap::new(),
        }))
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap()
    }

    /// Something happened that is part of the course of the run.
    pub(crate) fn note(&self, event: impl Hash + fmt::Debug) {
        self.books().note(event);
    }

    /// The process `owner` begins.
    pub(crate) fn started(&self, owner: u64) {
        let mut books = self.books();
        books.note(("started", owner));
        let effects = books.effects;
        books.started.insert(owner, effects);
    }

    /// Newest callback of `account` that is in the store.
    pub(crate) fn recorded(&self, account: &AccountKey) -> Option<u64> {
        self.books().recorded.get(account).copied()
    }

    pub(crate) fn findings(&self) -> Vec<Finding> {
        self.books().findings.clone()
    }

    /// The course of the run so far, as a number.
    pub(crate) fn course(&self) -> u64 {
        self.books().course
    }
}

impl Books {
    fn note(&mut self, event: impl Hash + fmt::Debug) {
        self.effects += 1;
        let at = self.began.elapsed().as_millis();
        if self.loud {
            println!("{at:>8} ms {event:?}");
        }
        self.course = digest((self.course, at, event));
    }

    fn found(&mut self, check: Check, what: String) {
        if self.loud {
            println!("            FOUND {check}: {what}");
        }
        self.findings.push(Finding { check, what });
    }
}
