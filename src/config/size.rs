//! Sizes as people write them.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// Units, largest first.
const UNITS: [(&str, u64); 5] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

/// A number of bytes with its unit, `"1GiB"`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Size(pub(super) u64);

impl Size {
    fn parse(words: &str) -> Option<Self> {
        // "B" ends the others too, so it is tried last.
        let (number, unit) = UNITS
            .iter()
            .find_map(|(name, unit)| Some((words.strip_suffix(name)?, unit)))?;
        let number: u64 = number.trim_end().parse().ok()?;
        number.checked_mul(*unit).map(Self)
    }
}

/// In the largest unit that it is a whole number of.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |(_, unit): &&(&str, u64)| self.0 > 0 && self.0.is_multiple_of(*unit);
        let (name, unit) = UNITS.iter().find(whole).unwrap_or(&("B", 1));
        write!(f, "{}{name}", self.0 / unit)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;

        impl Visitor<'_> for Words {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size in quotes, such as \"500MiB\" or \"1GiB\"")
            }

            fn visit_str<E: Error>(self, words: &str) -> Result<Size, E> {
                Size::parse(words).ok_or_else(|| {
                    E::custom(format!(
                        "{words:?} is no size: write a whole number and a unit, such as \"500MiB\" or \"1GiB\""
                    ))
                })
            }
        }

        deserializer.deserialize_str(Words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_read_as_it_is_written() {
        for (words, bytes) in [
            ("0B", 0),
            ("1023B", 1023),
            ("1KiB", 1024),
            ("1536MiB", 3 << 29),
            ("2TiB", 2 << 40),
        ] {
            assert_eq!(Size::parse(words), Some(Size(bytes)));
            assert_eq!(Size(bytes).to_string(), words);
        }
        assert_eq!(Size::parse("1 GiB"), Some(Size(1 << 30)));
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for words in ["", "1", "GiB", "1GB", "-1GiB", "1.5GiB", "18446744073709551615KiB"] {
            assert_eq!(Size::parse(words), None, "{words}");
        }
    }
}
