//! One budget for everything resident. Whoever holds bytes for longer than a moment reserves them first, and is told
//! no before the process is in danger, not after.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A shared budget of bytes.
#[derive(Clone, Debug)]
pub struct MemoryPool {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    limit: usize,
    used: AtomicUsize,
}

/// The budget is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the memory budget of {limit} bytes (trackway.memory.limit) is used up: {used} in use, {wanted} more wanted"
)]
pub struct OverBudget {
    /// The whole budget.
    pub limit: usize,
    /// What is reserved.
    pub used: usize,
    /// What was asked for.
    pub wanted: usize,
}

/// Reserved bytes, given back when dropped.
#[derive(Debug)]
pub struct Reservation {
    pool: MemoryPool,
    bytes: usize,
}

impl MemoryPool {
    /// A budget of `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { inner: Arc::new(Inner { limit, used: AtomicUsize::new(0) }) }
    }

    /// Reserves `bytes`.
    ///
    /// # Errors
    /// [`OverBudget`] when they do not fit; nothing is reserved then.
    pub fn reserve(&self, bytes: usize) -> Result<Reservation, OverBudget> {
        let mut used = self.inner.used.load(Ordering::Relaxed);
        loop {
            let wanted = used.saturating_add(bytes);
            if wanted > self.inner.limit {
                return Err(OverBudget { limit: self.inner.limit, used, wanted: bytes });
            }
            match self.inner.used.compare_exchange_weak(used, wanted, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Ok(Reservation { pool: self.clone(), bytes }),
                Err(now) => used = now,
            }
        }
    }

    /// Bytes reserved now.
    pub fn used(&self) -> usize {
        self.inner.used.load(Ordering::Relaxed)
    }

    /// The whole budget.
    pub fn limit(&self) -> usize {
        self.inner.limit
    }
}

impl Reservation {
    /// How much is reserved.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds another reservation to this one.
    pub fn merge(&mut self, mut other: Self) {
        self.bytes += std::mem::take(&mut other.bytes);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.pool.inner.used.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_and_what_is_dropped_comes_back() {
        let pool = MemoryPool::new(100);
        let mut first = pool.reserve(60).unwrap();
        assert_eq!(pool.reserve(50).unwrap_err(), OverBudget { limit: 100, used: 60, wanted: 50 });
        first.merge(pool.reserve(40).unwrap());
        assert_eq!((pool.used(), first.bytes()), (100, 100));
        drop(first);
        assert_eq!(pool.used(), 0);
    }
}
