//! Leaves a server alone that has failed several times in a row, so that a question does not wait for it each time.
//!
//! What must stay true: an open breaker lets exactly one request through when its time is over, and that one decides.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use trackway_common::Clock;

/// How long a server is left alone when the setting says zero, as in Tempo.
const OPEN_DEFAULT: Duration = Duration::from_secs(60);

/// When a server is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerConfig {
    /// Failures in a row after which it is; 0 is never.
    pub failures: u32,
    /// For how long; zero is a minute.
    pub open: Duration,
    /// Failures that are further apart than this do not add up; zero counts them for ever.
    pub interval: Duration,
}

/// The breaker of one server.
#[derive(Debug)]
pub(crate) struct Breaker {
    config: BreakerConfig,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed { failures: u32, since: Duration },
    Open { until: Duration },
    Trying { until: Duration },
}

impl Breaker {
    pub(crate) fn new(config: BreakerConfig, clock: Arc<dyn Clock>) -> Self {
        let since = clock.monotonic();
        Self { config, clock, state: Mutex::new(State::Closed { failures: 0, since }) }
    }

    /// Whether a request may go out. Who is told yes says afterwards how it went.
    pub(crate) fn admits(&self) -> bool {
        let now = self.clock.monotonic();
        let mut state = self.state.lock();
        match *state {
            State::Closed { .. } => true,
            // A trial that nobody reported, because its question was cancelled, must not keep the breaker open.
            State::Open { until } | State::Trying { until } if now >= until => {
                *state = State::Trying { until: now + self.open() };
                true
            }
            State::Open { .. } | State::Trying { .. } => false,
        }
    }

    pub(crate) fn succeeded(&self) {
        *self.state.lock() = State::Closed { failures: 0, since: self.clock.monotonic() };
    }

    /// Counts a failure. Returns whether the server is left alone from now on.
    pub(crate) fn failed(&self) -> bool {
        if self.config.failures == 0 {
            return false;
        }
        let now = self.clock.monotonic();
        let mut state = self.state.lock();
        let opens = match &mut *state {
            State::Closed { failures, since } => {
                let interval = self.config.interval;
                if !interval.is_zero() && now.saturating_sub(*since) > interval {
                    (*failures, *since) = (0, now);
                }
                *failures += 1;
                *failures >= self.config.failures
            }
            State::Trying { .. } => true,
            State::Open { .. } => false,
        };
        if opens {
            *state = State::Open { until: now + self.open() };
        }
        opens
    }

    pub(crate) fn is_open(&self) -> bool {
        !matches!(*self.state.lock(), State::Closed { .. })
    }

    fn open(&self) -> Duration {
        if self.config.open.is_zero() { OPEN_DEFAULT } else { self.config.open }
    }
}

#[cfg(test)]
mod tests {
    use trackway_common::ManualClock;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn breaker(failures: u32) -> (Breaker, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::new(0));
        let config = BreakerConfig { failures, open: 10 * SECOND, interval: 5 * SECOND };
        (Breaker::new(config, Arc::clone(&clock) as Arc<dyn Clock>), clock)
    }

    #[test]
    fn failures_in_a_row_open_it_and_one_trial_decides() {
        let (breaker, clock) = breaker(3);
        assert!(!breaker.failed() && !breaker.failed());
        breaker.succeeded();
        assert!(!breaker.failed() && !breaker.failed() && breaker.admits());
        assert!(breaker.failed() && !breaker.admits() && breaker.is_open());
        clock.advance(9 * SECOND);
        assert!(!breaker.admits());
        clock.advance(SECOND);
        assert!(breaker.admits(), "the trial");
        assert!(!breaker.admits(), "only one");
        assert!(breaker.failed() && !breaker.admits(), "the trial failed");
        clock.advance(10 * SECOND);
        assert!(breaker.admits());
        breaker.succeeded();
        assert!(breaker.admits() && breaker.admits() && !breaker.is_open());
    }

    #[test]
    fn failures_far_apart_do_not_add_up() {
        let (breaker, clock) = breaker(2);
        for _ in 0..5 {
            assert!(!breaker.failed());
            clock.advance(6 * SECOND);
        }
    }

    #[test]
    fn a_trial_that_nobody_reports_does_not_keep_it_open() {
        let (breaker, clock) = breaker(1);
        assert!(breaker.failed());
        clock.advance(10 * SECOND);
        assert!(breaker.admits());
        clock.advance(10 * SECOND);
        assert!(breaker.admits());
    }

    #[test]
    fn zero_failures_is_no_breaker() {
        let (breaker, _) = breaker(0);
        assert!((0..100).all(|_| !breaker.failed() && breaker.admits()));
    }
}
