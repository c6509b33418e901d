//! Memory that series and open edges of all tenants may take.
//!
//! What must stay true: it is bounded whatever the tenants' own limits are, and a tenant that takes all there is leaves an
//! eighth of it for those that have less than their share, also when it is alone: others may come.

use std::sync::atomic::{AtomicUsize, Ordering};

use trackway_common::{MemoryPool, MemoryUser};

/// Shared by all tenants.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    used: AtomicUsize,
    tenants: AtomicUsize,
    pool: MemoryPool,
}

impl Budget {
    pub(crate) fn new(limit: usize, pool: MemoryPool) -> Self {
        Self { limit, used: AtomicUsize::new(0), tenants: AtomicUsize::new(0), pool }
    }

    /// How many share it.
    pub(crate) fn shared_by(&self, tenants: usize) {
        self.tenants.store(tenants, Ordering::Relaxed);
    }

    /// Whether a tenant that holds `held` may take so many more.
    pub(crate) fn has_room(&self, held: usize, more: usize) -> bool {
        let tenants = self.tenants.load(Ordering::Relaxed).max(2);
        let limit = if held > self.limit / tenants { self.limit / 8 * 7 } else { self.limit };
        self.used.load(Ordering::Relaxed).saturating_add(more) <= limit
    }

    pub(crate) fn take(&self, bytes: usize) {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        self.pool.change(MemoryUser::Metrics, before, before + bytes);
    }

    pub(crate) fn give(&self, bytes: usize) {
        let before = self.used.fetch_sub(bytes, Ordering::Relaxed);
        self.pool.change(MemoryUser::Metrics, before, before.saturating_sub(bytes));
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_more_than_its_share_leaves_an_eighth() {
        let budget = Budget::new(800, MemoryPool::unlimited());
        assert!(budget.has_room(0, 800) && !budget.has_room(0, 801));
        budget.take(600);
        assert!(budget.has_room(600, 100) && !budget.has_room(600, 101), "also when it is alone");
        budget.give(600);
        budget.shared_by(2);
        budget.take(600);
        assert!(budget.has_room(600, 100) && !budget.has_room(600, 101));
        assert!(budget.has_room(0, 200));
        budget.give(600);
        assert_eq!(budget.used(), 0);
    }
}
