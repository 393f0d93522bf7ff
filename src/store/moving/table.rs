//! What is moved, table by table, and how it is seen to arrive as it left.

use xxhash_rust::xxh3::xxh3_128;

/// What a column holds, in either store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::store) enum Kind {
    Number,
    /// 0 or 1 where there are no truth values.
    Flag,
    Text,
}

/// A table that both stores have.
#[derive(PartialEq, Eq, Debug)]
pub(in crate::store) struct Table {
    pub(in crate::store) name: &'static str,
    /// Those of its key come first.
    pub(in crate::store) columns: &'static [(&'static str, Kind)],
    /// How many columns are its key.
    pub(in crate::store) key: usize,
}

/// Lists the tables by their columns, with those of the key in front.
macro_rules! tables {
    ($($name:ident: $($key:ident $key_kind:ident),+; $($column:ident $kind:ident),*;)+) => {
        /// Every table whose rows are moved, in an order in which each finds what it refers to.
        pub(in crate::store) const TABLES: &[Table] = &[$(Table {
            name: stringify!($name),
            columns: &[
                $((stringify!($key), Kind::$key_kind),)+
                $((stringify!($column), Kind::$kind),)*
            ],
            key: [$(stringify!($key)),+].len(),
        }),+];
    };
}

tables! {
    handler: handler_id Number; name Text;
    account: account_id Number;
        app Text, open_kfid Text, cursor Text, fence Number, first_pull_ms Number, pulled_ms Number,
        wake_number Number, wake_ms Number, wake_token Text, answered Number;
    message: seq Number;
        account_id Number, send_time Number, msgid Text, lane Number, urgent Flag, kind Text, recv_ms Number, body Text;
    delivery: shard Number, handler_id Number, seq Number;
        lane Number, urgent Flag, attempts Number, due_ms Number;
    dead: handler_id Number, seq Number; attempts Number, died_ms Number, reason Text;
    quarantine: seq Number, body Text; recv_ms Number;
    reply: reply_no Number;
        lane Number, in_reply_to Text, msgid Text, handler_id Number, nth Number, part Number, sent_ms Number;
}

impl Table {
    /// Names of all columns, as `write` puts them.
    pub(in crate::store) fn columns(&self, write: impl Fn(&str, Kind) -> String) -> String {
        let columns = self.columns.iter().map(|(name, kind)| write(name, *kind));
        columns.collect::<Vec<_>>().join(", ")
    }
}

/// What stands in a column of a row.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::store) enum Value {
    Null,
    Number(i64),
    Text(String),
}

impl Value {
    pub(in crate::store) fn number(&self) -> Option<i64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Null | Self::Text(_) => None,
        }
    }

    pub(in crate::store) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Null | Self::Number(_) => None,
        }
    }
}

/// Some rows of a table.
pub(in crate::store) struct Batch {
    pub(in crate::store) table: &'static Table,
    pub(in crate::store) rows: Vec<Vec<Value>>,
}

/// Counters that are no rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::store) struct Counters {
    /// Newest sequence number ever given.
    pub(in crate::store) last_seq: i64,
    /// How often dead letters were replayed.
    pub(in crate::store) replays: i64,
}

/// How many rows there are, and a sum over what stands in them; in which order, does not matter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(in crate::store) struct Tally {
    pub(in crate::store) rows: u64,
    sum: u128,
}

impl Tally {
    pub(in crate::store) fn add(&mut self, row: &[Value]) {
        let mut bytes = Vec::new();
        for value in row {
            match value {
                Value::Null => bytes.push(0),
                Value::Number(number) => {
                    bytes.push(1);
                    bytes.extend(number.to_le_bytes());
                }
                Value::Text(text) => {
                    bytes.push(2);
                    bytes.extend((text.len() as u64).to_le_bytes());
                    bytes.extend(text.as_bytes());
                }
            }
        }
        self.rows += 1;
        self.sum = self.sum.wrapping_add(xxh3_128(&bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(rows: &[&[Value]]) -> Tally {
        let mut tally = Tally::default();
        rows.iter().for_each(|row| tally.add(row));
        tally
    }

    #[test]
    fn a_tally_tells_rows_apart_and_not_their_order() {
        let [a, b] = ["a", "b"].map(|text| Value::Text(text.to_owned()));
        let ab = Value::Text("ab".to_owned());
        let none = Value::Text(String::new());
        let [first, second] = [[a.clone(), b.clone()], [Value::Number(7), Value::Null]];
        assert_eq!(tally(&[&first, &second]), tally(&[&second, &first]));
        for (one, other) in [
            ([a.clone(), b.clone()], [b, a.clone()]),
            ([ab.clone(), none.clone()], [none.clone(), ab]),
            ([none, a.clone()], [Value::Null, a.clone()]),
            ([Value::Number(0), a.clone()], [Value::Number(1), a]),
        ] {
            assert_ne!(tally(&[&one]), tally(&[&other]));
            assert_ne!(tally(&[&one]), tally(&[&one, &one]));
        }
    }
}
