//! One life of one replica: from the start of a process to its end.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

/// A process, told apart from whatever ran in its place before and after.
///
/// Each has a path of the receiver and an address of the loopback to itself, so that the receiver and the database see
/// who is speaking without being told by the server.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) struct Life {
    /// Place among the replicas, from 0.
    pub(crate) replica: u8,
    /// How many there were before in this place.
    pub(crate) number: u16,
}

/// Second byte of the addresses of the first replica.
const FIRST: u8 = 100;
/// Most replicas there are.
const MOST: u8 = 16;

impl Life {
    /// The one that comes after it in the same place.
    pub(crate) fn next(self) -> Self {
        Self {
            number: self.number + 1,
            ..self
        }
    }

    /// Where the database sees it come from.
    pub(crate) fn address(self) -> Ipv4Addr {
        let [high, low] = self.number.to_be_bytes();
        Ipv4Addr::new(127, FIRST + self.replica, high, low)
    }

    /// Who comes from `address`.
    pub(crate) fn at(address: IpAddr) -> Option<Self> {
        match address {
            IpAddr::V4(address) => match address.octets() {
                [127, place, high, low] if (FIRST..FIRST + MOST).contains(&place) => Some(Self {
                    replica: place - FIRST,
                    number: u16::from_be_bytes([high, low]),
                }),
                _ => None,
            },
            IpAddr::V6(_) => None,
        }
    }
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.replica, self.number)
    }
}

/// Text that names no life.
#[derive(Debug)]
pub(crate) struct NoLife;

impl FromStr for Life {
    type Err = NoLife;

    fn from_str(text: &str) -> Result<Self, NoLife> {
        let (replica, number) = text.split_once('.').ok_or(NoLife)?;
        Ok(Self {
            replica: replica.parse().map_err(|_| NoLife)?,
            number: number.parse().map_err(|_| NoLife)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_known_by_its_address_and_by_its_path() {
        let life = Life {
            replica: 2,
            number: 700,
        };
        assert_eq!(Life::at(life.address().into()), Some(life));
        assert_eq!(life.to_string().parse::<Life>().unwrap(), life);
        assert_eq!(Life::at(Ipv4Addr::LOCALHOST.into()), None);
    }
}
