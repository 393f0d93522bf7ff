//! Access tokens: handed out by `gettoken`, asked for by every other call, and taken back at will.
//!
//! WeCom returns the same token for as long as it is valid, and promises nothing about how long that is.
//!
//! Source: <https://developer.work.weixin.qq.com/document/path/91039>

use std::collections::HashMap;
use std::time::Duration;

use rand::distr::Alphanumeric;
use rand::{Rng, RngExt};

use crate::clock::UnixMillis;

/// Every token that was ever handed out and not revoked, and when it ends.
#[derive(Debug)]
pub(super) struct AccessTokens {
    lifetime: Duration,
    current: Option<String>,
    ends: HashMap<String, UnixMillis>,
}

/// What a token is worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Worth {
    Valid,
    Expired,
    /// Never handed out, or revoked.
    Unknown,
}

impl AccessTokens {
    pub(super) fn new(lifetime: Duration) -> Self {
        Self {
            lifetime,
            current: None,
            ends: HashMap::new(),
        }
    }

    /// The valid token, or a new one if there is none, and how much longer it lives.
    pub(super) fn issue(&mut self, now: UnixMillis, rng: &mut impl Rng) -> (String, Duration) {
        if let Some(token) = &self.current
            && let Some(end) = self.ends.get(token)
            && now < *end
        {
            return (token.clone(), end.since(now));
        }
        let token: String = rng.sample_iter(Alphanumeric).take(172).map(char::from).collect();
        self.ends.insert(token.clone(), now.plus(self.lifetime));
        self.current = Some(token.clone());
        (token, self.lifetime)
    }

    pub(super) fn worth(&self, token: &str, now: UnixMillis) -> Worth {
        match self.ends.get(token) {
            Some(end) if now < *end => Worth::Valid,
            Some(_) => Worth::Expired,
            None => Worth::Unknown,
        }
    }

    /// Ends every token now.
    pub(super) fn expire(&mut self, now: UnixMillis) {
        for end in self.ends.values_mut() {
            *end = (*end).min(now);
        }
    }

    /// Forgets that there ever were tokens.
    pub(super) fn revoke(&mut self) {
        self.ends.clear();
        self.current = None;
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    #[test]
    fn a_token_is_the_same_until_it_ends() {
        let mut rng = SmallRng::seed_from_u64(1);
        let mut tokens = AccessTokens::new(Duration::from_secs(100));
        let (first, _) = tokens.issue(UnixMillis(0), &mut rng);
        let (again, left) = tokens.issue(UnixMillis(40_000), &mut rng);
        assert_eq!((&again, left), (&first, Duration::from_secs(60)));
        assert_eq!(tokens.worth(&first, UnixMillis(99_999)), Worth::Valid);
        assert_eq!(tokens.worth(&first, UnixMillis(100_000)), Worth::Expired);
        let (next, _) = tokens.issue(UnixMillis(100_000), &mut rng);
        assert_ne!(next, first);
    }

    #[test]
    fn tokens_can_be_ended_and_forgotten() {
        let mut rng = SmallRng::seed_from_u64(1);
        let mut tokens = AccessTokens::new(Duration::from_secs(100));
        let (first, _) = tokens.issue(UnixMillis(0), &mut rng);
        tokens.expire(UnixMillis(1));
        assert_eq!(tokens.worth(&first, UnixMillis(1)), Worth::Expired);
        let (second, _) = tokens.issue(UnixMillis(1), &mut rng);
        tokens.revoke();
        assert_eq!(tokens.worth(&second, UnixMillis(1)), Worth::Unknown);
    }
}
