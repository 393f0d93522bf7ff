//! What was done to the replicas and their database, when, and to whom.

use std::sync::Mutex;

use crate::life::Life;
use crate::moment::Moment;

/// One blow.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    pub(crate) kind: Kind,
    /// Who suffered it.
    pub(crate) lives: Vec<Life>,
    pub(crate) began: Moment,
    /// When it was over; the latest moment there is, while it is not.
    pub(crate) ended: Moment,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// `kill -9` of a replica.
    Killed,
    /// `SIGSTOP`, and `SIGCONT` at the end.
    Paused,
    /// The way to the database was cut, or fell silent.
    Unwired,
    /// The database itself ended.
    Unserved,
}

/// Everything that was done, in order.
#[derive(Default)]
pub(crate) struct Troubles(Mutex<Vec<Trouble>>);

impl Troubles {
    /// Something begins at `began`.
    pub(crate) fn begin(&self, kind: Kind, lives: Vec<Life>, began: Moment) -> usize {
        let mut troubles = self.0.lock().unwrap();
        troubles.push(Trouble {
            kind,
            lives,
            began,
            ended: Moment::MAX,
        });
        troubles.len() - 1
    }

    /// The one of that number is over.
    pub(crate) fn end(&self, number: usize, ended: Moment) {
        self.0.lock().unwrap()[number].ended = ended;
    }

    pub(crate) fn all(&self) -> Vec<Trouble> {
        self.0.lock().unwrap().clone()
    }
}
