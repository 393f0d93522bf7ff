//! What the PostgreSQL store promises beyond the contract.

pub(crate) mod bench;
mod opening;
mod sharing;
mod wire;

#[path = "../../postgres/mod.rs"]
mod cluster;
#[expect(dead_code, reason = "the tests of several replicas do more to the wire")]
#[path = "../../proxy/mod.rs"]
mod proxy;
