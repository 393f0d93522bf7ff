//! Three replicas of the real binary on one PostgreSQL, a simulated WeCom, and a receiver: whatever is done to them,
//! nothing is lost, stored twice, disordered, or done by somebody who no longer has the right to it.
//!
//! Each series of `rounds` prints one line,
//! `lost=0 double_rows=0 order_violations=0 stale_commits=0 overlap=0 dup_deliveries=D bound=B takeover_p99=…s gettoken=N`;
//! run with `--nocapture` to see it.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]
mod balancer;
mod blow;
mod book;
#[expect(dead_code, reason = "of Debian's packages only a library is needed here")]
#[path = "../end_to_end/debian.rs"]
mod debian;
#[path = "../end_to_end/dice.rs"]
mod dice;
mod faketime;
mod life;
mod moment;
mod overlap;
mod ownership;
#[path = "../end_to_end/post.rs"]
mod post;
#[path = "../postgres/mod.rs"]
mod postgres;
#[path = "../proxy/mod.rs"]
mod proxy;
mod receiver;
mod replica;
mod rounds;
#[expect(dead_code, reason = "the tests of one server ask more of it")]
#[path = "../end_to_end/server.rs"]
mod server;
mod stage;
mod talk;
mod tenure;
mod trouble;
mod verdict;
mod wire;
mod witness;
