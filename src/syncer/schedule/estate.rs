//! Which accounts of an application are this process's to pull, and under which titles.

use std::collections::BTreeMap;

use tokio::sync::watch;

use crate::id::{AppName, OpenKfid};
use crate::lease::{Holdings, Leases, Title};
use crate::store::Fence;

/// The accounts that are held, as far as the schedule knows.
pub(super) struct Estate {
    app: AppName,
    holdings: watch::Receiver<Holdings>,
    is_shared: bool,
    /// None, if every account is ours.
    titles: BTreeMap<OpenKfid, Title>,
}

/// What changed.
#[derive(Default)]
pub(super) struct Changes {
    /// No longer held, or again after others may have had it.
    pub(super) lost: Vec<OpenKfid>,
    /// Held since.
    pub(super) gained: Vec<OpenKfid>,
}

impl Estate {
    /// Nothing of several replicas', until it is looked at what `leases` hold.
    pub(super) fn of(app: AppName, leases: &Leases) -> Self {
        let holdings = leases.holdings();
        let is_shared = !holdings.borrow().is_everything();
        Self {
            app,
            holdings,
            is_shared,
            titles: BTreeMap::new(),
        }
    }

    /// Whether other processes pull what this one does not.
    pub(super) fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// Waits until something else is held.
    pub(super) async fn changed(&mut self) {
        if self.holdings.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Takes over what is held.
    pub(super) fn look(&mut self) -> Changes {
        let mut changes = Changes::default();
        let holdings = self.holdings.borrow_and_update();
        let Some(accounts) = holdings.accounts() else {
            return changes;
        };
        let ours = accounts.filter(|(account, _)| account.app == self.app);
        let titles: BTreeMap<_, _> = ours
            .map(|(account, title)| (account.open_kfid.clone(), title.clone()))
            .collect();
        let differs = |open_kfid: &OpenKfid, title: &Title, from: &BTreeMap<OpenKfid, Title>| {
            from.get(open_kfid).map(Title::fence) != Some(title.fence())
        };
        for (open_kfid, title) in &self.titles {
            if differs(open_kfid, title, &titles) {
                changes.lost.push(open_kfid.clone());
            }
        }
        for (open_kfid, title) in &titles {
            if differs(open_kfid, title, &self.titles) {
                changes.gained.push(open_kfid.clone());
            }
        }
        self.titles = titles;
        changes
    }

    /// Whether none is ours now.
    pub(super) fn is_empty(&self) -> bool {
        self.is_shared && self.titles.is_empty()
    }

    /// Fence under which `open_kfid` is held.
    pub(super) fn fence(&self, open_kfid: &OpenKfid) -> Option<Fence> {
        if self.is_shared {
            self.titles.get(open_kfid).map(Title::fence)
        } else {
            Some(Fence::FIRST)
        }
    }

    /// Title to begin a pull of `open_kfid` with now. One that has fallen is let go of.
    pub(super) fn title(&mut self, open_kfid: &OpenKfid) -> Option<Title> {
        if !self.is_shared {
            return Some(Title::SOLE);
        }
        let title = self.titles.get(open_kfid)?.clone();
        if !title.stands() {
            self.titles.remove(open_kfid);
            return None;
        }
        Some(title)
    }

    /// Lets go of everything.
    pub(super) fn clear(&mut self) {
        self.titles.clear();
    }
}
