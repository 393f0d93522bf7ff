//! Which addresses are everybody's: where an endpoint may be whose URL somebody else than the operator chose.
//!
//! A server that posts wherever a tenant tells it to can be made to reach into its own network: to the metadata service
//! of its cloud, to a database on the same machine, to a router. What is refused here is every address that is not
//! plainly public, in whatever spelling: [`Url`] reads `2130706433`, `0x7f.1` and `127。0。0。1` as the address they are.
//!
//! IPv4 is public but for the blocks listed. Of IPv6 only 2000::/3 has ever been given out, so that everything outside
//! needs no list: loopback, unique local, link-local and multicast addresses, and those that carry an IPv4 address inside
//! (mapped, compatible, NAT64).
//!
//! Sources: <https://www.iana.org/assignments/iana-ipv4-special-registry>,
//! <https://www.iana.org/assignments/iana-ipv6-special-registry> (read 2026-11-22)

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use url::{Host, Url};

/// IPv4 that is nobody's, somebody's own, or a crowd's.
const NOT_PUBLIC_V4: [(Ipv4Net, &str); 17] = [
    (v4([0, 0, 0, 0], 8), "of this network"),
    (v4([10, 0, 0, 0], 8), "private"),
    (v4([100, 64, 0, 0], 10), "shared behind a carrier's NAT"),
    (v4([127, 0, 0, 0], 8), "loopback"),
    // The host of an Azure machine, which hands out its certificates, stands in a block that is public otherwise.
    (v4([168, 63, 129, 16], 32), "a cloud's own host"),
    (v4([169, 254, 0, 0], 16), "link-local"),
    (v4([172, 16, 0, 0], 12), "private"),
    (v4([192, 0, 0, 0], 24), "set aside for protocols"),
    (v4([192, 0, 2, 0], 24), "for documentation"),
    (v4([192, 88, 99, 0], 24), "a 6to4 relay"),
    (v4([192, 168, 0, 0], 16), "private"),
    (v4([198, 18, 0, 0], 15), "for benchmarks"),
    (v4([198, 51, 100, 0], 24), "for documentation"),
    (v4([203, 0, 113, 0], 24), "for documentation"),
    (v4([224, 0, 0, 0], 4), "multicast"),
    (v4([255, 255, 255, 255], 32), "broadcast"),
    (v4([240, 0, 0, 0], 4), "reserved"),
];

/// All that is given out of IPv6.
const GIVEN_OUT_V6: Ipv6Net = v6([0x2000, 0, 0], 3);

/// What of it is no single host's on the internet.
const NOT_PUBLIC_V6: [(Ipv6Net, &str); 4] = [
    // Teredo, ORCHID and benchmarks among them.
    (v6([0x2001, 0, 0], 23), "set aside for protocols"),
    (v6([0x2001, 0xdb8, 0], 32), "for documentation"),
    (v6([0x2002, 0, 0], 16), "6to4, which leads to an IPv4 address"),
    (v6([0x3fff, 0, 0], 20), "for documentation"),
];

const fn v4([a, b, c, d]: [u8; 4], prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6([a, b, c]: [u16; 3], prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), prefix)
}

/// Where an endpoint may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Reach {
    /// Wherever its URL says, which is the operator's own word.
    #[default]
    Anywhere,
    /// At public addresses, by https: for a URL that somebody else chose.
    PublicOnly,
}

impl Reach {
    /// Refuses `url` if it shows that the endpoint is out of reach. Where a name leads is only known when it is resolved.
    ///
    /// # Errors
    ///
    /// [`NotPublic`] tells what it shows.
    pub fn check(self, url: &Url) -> Result<(), NotPublic> {
        match self {
            Self::Anywhere => Ok(()),
            Self::PublicOnly => check(url),
        }
    }
}

/// Why an endpoint is not public. Shows no part of its address.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotPublic {
    /// Anybody on the way could read what is posted, and answer in the endpoint's place.
    #[error("must begin with https://")]
    Scheme,
    /// A user or a password before the host, which serve to pass one host off as another.
    #[error("must not carry credentials before the host")]
    Credentials,
    /// The host is an address, and of this kind.
    #[error("must not lead to an address that is {0}")]
    Address(&'static str),
    /// The host is a name of this machine.
    #[error("must not lead to this machine")]
    ThisMachine,
}

fn check(url: &Url) -> Result<(), NotPublic> {
    if url.scheme() != "https" {
        return Err(NotPublic::Scheme);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(NotPublic::Credentials);
    }
    let address = match url.host() {
        Some(Host::Ipv4(address)) => address.into(),
        Some(Host::Ipv6(address)) => address.into(),
        Some(Host::Domain(name)) if is_localhost(name) => return Err(NotPublic::ThisMachine),
        Some(Host::Domain(_)) | None => return Ok(()),
    };
    kind(address).map_or(Ok(()), |kind| Err(NotPublic::Address(kind)))
}

/// Whether `name` is this machine's whatever a resolver says (RFC 6761).
fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name == "localhost" || name.ends_with(".localhost")
}

/// Whether anybody on the internet could reach a host at `address`.
pub(super) fn is_public(address: IpAddr) -> bool {
    kind(address).is_none()
}

/// What an address is that is not public.
fn kind(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => NOT_PUBLIC_V4
            .iter()
            .find_map(|(block, kind)| block.contains(&address).then_some(*kind)),
        IpAddr::V6(address) if !GIVEN_OUT_V6.contains(&address) => Some("not given out to hosts on the internet"),
        IpAddr::V6(address) => NOT_PUBLIC_V6
            .iter()
            .find_map(|(block, kind)| block.contains(&address).then_some(*kind)),
    }
}

#[cfg(test)]
mod tests {
    use ipnet::IpNet;
    use proptest::prelude::*;

    use super::*;

    fn is(address: &str) -> bool {
        is_public(address.parse().unwrap())
    }

    #[test]
    fn every_block_that_is_not_public_is_refused_from_its_first_address_to_its_last() {
        for block in [
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "168.63.129.16/32",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",
            "240.0.0.0/4",
            "255.255.255.255/32",
            "::/128",
            "::1/128",
            "::127.0.0.1/128",
            "::ffff:0:0/96",
            "64:ff9b::/96",
            "64:ff9b:1::/48",
            "100::/64",
            "2001::/32",
            "2001:2::/48",
            "2001:10::/28",
            "2001:20::/28",
            "2001:db8::/32",
            "2002::/16",
            "3fff::/20",
            "4000::/3",
            "5f00::/16",
            "fc00::/7",
            "fe80::/10",
            "fec0::/10",
            "ff00::/8",
        ] {
            let block: IpNet = block.parse().unwrap();
            for address in [block.network(), block.broadcast()] {
                assert!(!is_public(address), "{address} of {block}");
            }
        }
    }

    #[test]
    fn what_lies_beside_those_blocks_is_public() {
        for address in [
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "168.63.129.15",
            "168.63.129.17",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "191.255.255.255",
            "192.0.1.0",
            "192.0.3.0",
            "192.88.98.255",
            "192.88.100.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "198.51.99.255",
            "198.51.101.0",
            "203.0.112.255",
            "203.0.114.0",
            "223.255.255.255",
            "2001:200::",
            "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff",
            "2001:db9::",
            "2003::",
            "2606:4700::1111",
            "3ffe:ffff::",
            "3fff:1000::",
        ] {
            assert!(is(address), "{address}");
        }
    }

    proptest! {
        #[test]
        fn what_the_standard_library_calls_local_is_refused(bits: u32) {
            let address = Ipv4Addr::from(bits);
            let local = address.is_private() || address.is_loopback() || address.is_link_local() || address.is_broadcast()
                || address.is_documentation() || address.is_multicast() || address.is_unspecified();
            prop_assert!(!local || !is_public(address.into()), "{address}");
            // In IPv6 dress it is never public, wherever it leads.
            prop_assert!(!is_public(address.to_ipv6_mapped().into()), "{address}");
        }
    }
}
