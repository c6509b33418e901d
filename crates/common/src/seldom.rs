//! Saying a thing once a minute however often it happens, so that one misled sender cannot fill the log.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long a repeated warning is kept quiet.
const QUIET: Duration = Duration::from_secs(60);

/// Remembers when something was last said.
#[derive(Debug, Default)]
pub struct Seldom {
    last: Mutex<Option<Instant>>,
}

impl Seldom {
    /// Whether it may be said again; if so, it counts as said.
    pub fn due(&self) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let due = last.is_none_or(|then| now.duration_since(then) >= QUIET);
        if due {
            *last = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_is_enough() {
        let seldom = Seldom::default();
        assert!(seldom.due());
        assert!(!seldom.due());
        *seldom.last.lock().unwrap() = Instant::now().checked_sub(QUIET);
        assert!(seldom.due());
    }
}
