//! File descriptors: how many there are, and how many of them connections may take.
//!
//! Most systems start a process with 1,024 of them and let it raise that itself. Clients that say nothing would take
//! them all, and then the store could open no file and no message could be forwarded.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// What the store, the calls to WeCom, the handlers and the admin side may need at once.
const RESERVE: u64 = 1024;

/// How many of `wanted` connections can be served at once. Raises the limit of this process first, as far as that is
/// needed and allowed.
pub(super) fn affordable_connections(wanted: usize) -> usize {
    let (soft, hard) = match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok(limits) => limits,
        Err(error) => {
            tracing::warn!(%error, "cannot tell how many files this process may open");
            return wanted;
        }
    };
    let needed = wanted as u64 + RESERVE;
    let mut limit = soft;
    if soft < needed {
        let raised = needed.min(hard);
        match setrlimit(Resource::RLIMIT_NOFILE, raised, hard) {
            Ok(()) => limit = raised,
            Err(error) => tracing::warn!(%error, soft, needed, "cannot raise the limit of open files"),
        }
    }
    let connections = within(limit, wanted);
    if connections < wanted {
        tracing::warn!(
            connections,
            wanted,
            limit,
            "serving fewer connections than server.max_connections: this process may not open as many files"
        );
    }
    connections
}

/// The connections that `limit` descriptors are enough for: half of them at least.
fn within(limit: u64, wanted: usize) -> usize {
    let affordable = limit - RESERVE.min(limit / 2);
    usize::try_from(affordable).map_or(wanted, |affordable| affordable.min(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_everything_else() {
        for (limit, connections) in [(100, 50), (1024, 512), (4096, 3072), (5120, 4096), (u64::MAX, 4096)] {
            assert_eq!(within(limit, 4096), connections, "{limit}");
        }
    }

    #[test]
    fn the_limit_of_this_process_is_raised_as_far_as_needed() {
        assert_eq!(affordable_connections(16), 16);
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert!(soft >= (16 + RESERVE).min(hard));
    }
}
