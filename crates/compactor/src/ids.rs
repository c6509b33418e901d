//! Keeps the indexes of trace ids of a tenant: nearly all blocks are covered, by few indexes.

use std::sync::atomic::Ordering;

use trackway_common::TenantId;
use trackway_storage::BlockCatalog;

use crate::service::Compactor;

/// Indexes that are written in one round at the most; the next one goes on.
const STEPS_MAX: usize = 64;

impl Compactor {
    /// Writes the indexes that are missing and deletes those that are of no use any more. That it fails is no harm: blocks
    /// that no index covers are asked themselves.
    pub(crate) async fn index_traces(&self, tenant: &TenantId) {
        let end = self.clock.monotonic() + self.config.max_time_per_tenant;
        for _ in 0..STEPS_MAX {
            let blocks = self.catalog.blocks(tenant);
            let step = self.reader.index_traces(tenant, &blocks, self.random.uuid(), self.now());
            match step.await {
                Ok(None) => return,
                Ok(Some(done)) => {
                    self.metrics.index_entries.fetch_add(done.entries as u64, Ordering::Relaxed);
                    tracing::debug!(
                        %tenant, entries = done.entries, blocks = done.blocks, deleted = done.deleted,
                        "indexed trace ids"
                    );
                }
                Err(error) => {
                    self.metrics.index_errors.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(%tenant, %error, "trace ids cannot be indexed; the next round tries again");
                    return;
                }
            }
            if self.clock.monotonic() >= end {
                return;
            }
        }
    }
}
