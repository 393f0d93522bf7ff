//! What happened on one account, in order: appended to, read in pages, forgotten after three days.
//!
//! Pure: it knows neither clock nor network. Items are kept as the JSON they will be served as, so that a page of a
//! thousand is a thousand copies of bytes.

use std::sync::Arc;

use crate::clock::UnixMillis;

/// One account's items, oldest first.
#[derive(Debug, Default)]
pub(super) struct Stream {
    entries: Vec<Entry>,
}

/// One item, as it is served.
#[derive(Debug)]
pub(super) struct Entry {
    at: UnixMillis,
    pub(super) raw: Arc<str>,
    making: Making,
}

/// Where an item comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Making {
    /// Somebody said it.
    Genuine,
    /// A fault made it up.
    Odd,
}

/// A cursor's place is beyond the end: it is from another life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct BeyondTheEnd;

impl Stream {
    /// Adds an item at the end. Time within a stream never runs back, whatever the clock does.
    pub(super) fn append(&mut self, at: UnixMillis, raw: Arc<str>, making: Making) {
        let at = self.entries.last().map_or(at, |last| last.at.max(at));
        self.entries.push(Entry { at, raw, making });
    }

    /// Where a reader who stood at `place` goes on, when everything before `horizon` is forgotten. Without a place:
    /// at the oldest item there is.
    pub(super) fn resume(&self, place: Option<u64>, horizon: UnixMillis) -> Result<usize, BeyondTheEnd> {
        let oldest = self.entries.partition_point(|entry| entry.at < horizon);
        let Some(place) = place else { return Ok(oldest) };
        match usize::try_from(place) {
            Ok(place) if place <= self.entries.len() => Ok(place.max(oldest)),
            _ => Err(BeyondTheEnd),
        }
    }

    /// At most `limit` items from `start` on.
    pub(super) fn page(&self, start: usize, limit: usize) -> &[Entry] {
        let rest = self.entries.get(start..).unwrap_or_default();
        &rest[..limit.min(rest.len())]
    }

    /// How many items there ever were.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The last thing that somebody said among the first `count` items.
    pub(super) fn genuine_before(&self, count: usize) -> Option<Arc<str>> {
        let first = &self.entries[..count.min(self.len())];
        let genuine = first.iter().rev().find(|entry| entry.making == Making::Genuine)?;
        Some(genuine.raw.clone())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stream(times: &[i64]) -> Stream {
        let mut stream = Stream::default();
        for (n, at) in times.iter().enumerate() {
            stream.append(UnixMillis(*at), n.to_string().into(), Making::Genuine);
        }
        stream
    }

    proptest! {
        #[test]
        fn pages_of_any_size_cover_every_item_once(
            count in 0usize..200,
            limits in prop::collection::vec(1usize..50, 1..20),
        ) {
            let stream = stream(&vec![0; count]);
            let mut place = stream.resume(None, UnixMillis(0)).unwrap();
            let mut seen = Vec::new();
            for limit in limits.into_iter().cycle() {
                let page = stream.page(place, limit);
                if page.is_empty() {
                    break;
                }
                place += page.len();
                seen.extend(page.iter().map(|entry| entry.raw.parse::<usize>().unwrap()));
            }
            prop_assert_eq!(seen, (0..count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_lies_before_the_horizon_is_forgotten() {
        let stream = stream(&[10, 20, 30]);
        assert_eq!(stream.resume(None, UnixMillis(20)), Ok(1));
        assert_eq!(
            stream.resume(Some(0), UnixMillis(20)),
            Ok(1),
            "too old a place goes on at the oldest"
        );
        assert_eq!(stream.resume(Some(2), UnixMillis(20)), Ok(2));
        assert_eq!(stream.resume(Some(3), UnixMillis(99)), Ok(3));
        assert_eq!(stream.resume(Some(4), UnixMillis(0)), Err(BeyondTheEnd));
    }

    #[test]
    fn a_clock_that_runs_back_does_not_disorder_the_stream() {
        let stream = stream(&[30, 10]);
        assert_eq!(stream.resume(None, UnixMillis(20)), Ok(0));
    }
}
