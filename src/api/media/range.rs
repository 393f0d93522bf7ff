//! A part of a file, as HTTP counts it.

use std::fmt;

use crate::api::FieldError;

/// Bytes that WeCom's encryption hangs together: parts of some files must consist of whole blocks (else 40146).
const BLOCK_BYTES: u64 = 16;

/// Some bytes of a file, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ByteRange {
    first: u64,
    last: u64,
}

impl ByteRange {
    /// Bytes `first` to `last`, both included and counted from 0. May reach past the end of the file.
    ///
    /// # Errors
    ///
    /// [`FieldError`] when it does not consist of whole blocks of 16 bytes.
    pub fn new(first: u64, last: u64) -> Result<Self, FieldError> {
        let whole_blocks = first.is_multiple_of(BLOCK_BYTES) && last % BLOCK_BYTES == BLOCK_BYTES - 1;
        if first < last && whole_blocks {
            return Ok(Self { first, last });
        }
        let problem = "must begin and end with a block of 16 bytes, as 0 to 15 does";
        Err(FieldError::malformed("range", problem))
    }

    /// `blocks` blocks of 16 bytes from `first` on, which begins one.
    pub(super) fn blocks(first: u64, blocks: u64) -> Self {
        let last = first.saturating_add(blocks * BLOCK_BYTES - 1);
        Self { first, last }
    }

    /// Where it begins.
    #[must_use]
    pub fn first(self) -> u64 {
        self.first
    }
}

impl fmt::Display for ByteRange {
    /// As the header `Range` has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bytes={}-{}", self.first, self.last)
    }
}

/// Which part of which whole came back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ContentRange {
    pub(super) first: u64,
    pub(super) last: u64,
    /// Bytes of the whole file.
    pub(super) size: u64,
}

impl ContentRange {
    /// Reads the header `Content-Range`.
    pub(super) fn parse(header: &str) -> Option<Self> {
        let (part, size) = header.trim().strip_prefix("bytes")?.trim_start().split_once('/')?;
        let (first, last) = part.split_once('-')?;
        let number = |digits: &str| digits.trim().parse::<u64>().ok();
        let range = Self {
            first: number(first)?,
            last: number(last)?,
            size: number(size)?,
        };
        (range.first <= range.last && range.last < range.size).then_some(range)
    }

    /// Whether it is what `asked` asks for, as far as the file goes.
    pub(super) fn answers(self, asked: ByteRange) -> bool {
        self.first == asked.first && self.last == asked.last.min(self.size - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_consists_of_whole_blocks() {
        assert_eq!(ByteRange::new(0, 15).unwrap().to_string(), "bytes=0-15");
        assert_eq!(ByteRange::new(32, 63).unwrap(), ByteRange::blocks(32, 2));
        for (first, last) in [(0, 14), (1, 15), (8, 23), (16, 15), (16, 0)] {
            assert_eq!(
                ByteRange::new(first, last).unwrap_err().to_string(),
                "range must begin and end with a block of 16 bytes, as 0 to 15 does",
                "{first}-{last}"
            );
        }
    }

    #[test]
    fn a_part_must_lie_within_its_whole() {
        let part = ContentRange::parse("bytes 16-31/100").unwrap();
        assert_eq!((part.first, part.last, part.size), (16, 31, 100));
        assert!(part.answers(ByteRange::blocks(16, 1)) && !part.answers(ByteRange::blocks(16, 2)));
        let end = ContentRange::parse("bytes 96-99/100").unwrap();
        assert!(end.answers(ByteRange::blocks(96, 1024)) && !end.answers(ByteRange::blocks(80, 1024)));
        for bad in [
            "",
            "bytes",
            "bytes */100",
            "bytes 0-15/*",
            "bytes 16-15/100",
            "bytes 0-100/100",
            "items 0-15/100",
            "bytes 0-x/100",
        ] {
            assert_eq!(ContentRange::parse(bad), None, "{bad}");
        }
    }
}
