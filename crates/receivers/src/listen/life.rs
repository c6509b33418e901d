//! When a connection has had its time: at the shutdown, when nothing was asked for long, or when it is old.
//!
//! What must stay true: a request that has begun is finished before its connection is closed, unless a grace is set.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Listen;

/// What a connection is doing.
#[derive(Debug)]
pub(super) struct Activity {
    requests: AtomicUsize,
    /// When the last request ended, or the connection began.
    last: Mutex<Instant>,
}

impl Default for Activity {
    fn default() -> Self {
        Self { requests: AtomicUsize::new(0), last: Mutex::new(Instant::now()) }
    }
}

impl Activity {
    /// A request has begun; it ends when the result is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> Busy {
        self.requests.fetch_add(1, Ordering::AcqRel);
        Busy(Arc::clone(self))
    }

    /// Whether a request is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.requests.load(Ordering::Acquire) > 0
    }
}

/// A request under way.
pub(super) struct Busy(Arc<Activity>);

impl Drop for Busy {
    fn drop(&mut self) {
        *self.0.last.lock() = Instant::now();
        self.0.requests.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Returns when a connection shall take no more requests, and how long those that have begun may take; `None` is no limit.
pub(super) async fn end_of_life(
    listen: &Listen,
    activity: &Activity,
    shutdown: &CancellationToken,
) -> Option<Duration> {
    tokio::select! {
        () = shutdown.cancelled() => None,
        () = idle(activity, listen.max_idle) => None,
        () = old(listen.max_age) => listen.max_age_grace,
    }
}

async fn idle(activity: &Activity, max: Option<Duration>) {
    let Some(max) = max else { return std::future::pending().await };
    loop {
        let now = Instant::now();
        let until = if activity.is_busy() { now + max } else { *activity.last.lock() + max };
        if until <= now {
            return;
        }
        tokio::time::sleep_until(until).await;
    }
}

async fn old(max: Option<Duration>) {
    match max {
        Some(max) => tokio::time::sleep(max).await,
        None => std::future::pending().await,
    }
}
