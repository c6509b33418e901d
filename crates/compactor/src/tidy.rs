//! What is done after a look at the store: commits are finished, blocks expire, files that nobody needs are deleted. All of
//! it can be interrupted and done again.

use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use trackway_common::TenantId;
use trackway_storage::{BlockCatalog, BlockEntry, BlockFiles, Looked, StoreError};
use uuid::Uuid;

use crate::service::Compactor;

/// Files of a block without `meta.json` are on their way in, or were left by a process that died. After this time they
/// count as left.
const ABANDONED_AFTER: SignedDuration = SignedDuration::from_hours(24);

impl Compactor {
    /// Does what is to be done in a tenant's folder, by a look at it. Errors are counted and logged; the next look tells
    /// what is left.
    pub async fn tidy(&self, tenant: &TenantId, looked: &Looked) {
        let began = tokio::time::Instant::now();
        let steps = [
            ("finish commits", self.finish(tenant, looked).await),
            ("expire blocks", self.expire(tenant).await),
            ("delete blocks", self.delete_old(tenant, looked).await),
            ("forget commits", self.forget(tenant, looked).await),
        ];
        for (step, done) in steps {
            if let Err(error) = done {
                self.metrics.retention_errors.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(%tenant, step, %error, "the store cannot be tidied up; the next round tries again");
            }
        }
        for (block, files) in &looked.listing.blocks {
            if files.no_compact {
                self.set_aside.lock().insert(*block);
            }
        }
        self.metrics.tidied.record(began.elapsed());
        self.measure(tenant);
    }

    async fn finish(&self, tenant: &TenantId, looked: &Looked) -> Result<(), StoreError> {
        for (commit, is_live) in &looked.unfinished {
            self.store().finish_commit(tenant, commit, *is_live, self.now()).await?;
        }
        Ok(())
    }

    /// Blocks whose data is older than it is to be kept.
    pub(crate) fn expired(&self, tenant: &TenantId) -> Vec<BlockEntry> {
        let retention = self.config_of(tenant).retention;
        if retention.is_zero() {
            return Vec::new();
        }
        let oldest = before(self.now(), retention);
        let blocks = self.catalog.blocks(tenant);
        blocks.iter().filter(|entry| entry.meta.end_time < oldest).cloned().collect()
    }

    async fn expire(&self, tenant: &TenantId) -> Result<(), StoreError> {
        let expired = self.expired(tenant);
        if expired.is_empty() {
            return Ok(());
        }
        for entry in &expired {
            let block = entry.meta.block_id;
            self.store().mark_compacted(tenant, block, Some(entry), self.now()).await?;
            self.catalog.remove(tenant, &[block]);
            self.metrics.marked.fetch_add(1, Ordering::Relaxed);
        }
        tracing::info!(
            %tenant, blocks = expired.len(), retention = ?self.config_of(tenant).retention,
            "blocks are older than compactor.compaction.block_retention; they are not searched any more"
        );
        self.write_index(tenant).await;
        Ok(())
    }

    async fn delete_old(&self, tenant: &TenantId, looked: &Looked) -> Result<(), StoreError> {
        let oldest = before(self.now(), self.config.compacted_retention);
        let abandoned = self.now() - ABANDONED_AFTER;
        for (block, files) in &looked.listing.blocks {
            if is_to_be_deleted(files, oldest, abandoned) && !self.is_wanted(tenant, *block, looked) {
                self.store().delete_block(tenant, *block).await?;
                self.metrics.deleted.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(%tenant, %block, "deleted");
            }
        }
        Ok(())
    }

    /// Whether a block is searched, or will be when its commit is finished.
    fn is_wanted(&self, tenant: &TenantId, block: Uuid, looked: &Looked) -> bool {
        let added = looked.unfinished.iter().filter(|(_, is_live)| *is_live);
        self.catalog.blocks(tenant).iter().any(|entry| entry.meta.block_id == block)
            || added.into_iter().any(|(commit, _)| commit.added().meta.block_id == block)
            || self.is_building(block)
    }

    async fn forget(&self, tenant: &TenantId, looked: &Looked) -> Result<(), StoreError> {
        self.catalog.forget_commits(self.store(), tenant, &looked.listing, self.now()).await?;
        let is_empty = looked.listing.blocks.is_empty() && self.catalog.blocks(tenant).is_empty();
        let oldest = before(self.now(), self.config.empty_tenant_age);
        let is_old = looked.listing.index.is_some_and(|written| written < oldest);
        if self.config.deletes_empty_tenants
            && is_empty
            && is_old
            && self.store().delete_tenant(tenant, self.now() - ABANDONED_AFTER).await?
        {
            self.catalog.forget_tenant(tenant);
            self.metrics.forget(tenant);
            tracing::info!(%tenant, "deleted what was left of a tenant without blocks");
        }
        Ok(())
    }
}

/// Whether the files of a block are of no use any more: it was merged or expired long enough ago, or never became one.
fn is_to_be_deleted(files: &BlockFiles, oldest: Timestamp, abandoned: Timestamp) -> bool {
    let Some(newest) = files.newest else { return false };
    !files.meta && if files.compacted { newest <= oldest } else { newest < abandoned }
}

/// So long before a time; the beginning of all times if there is none.
pub(crate) fn before(now: Timestamp, ago: Duration) -> Timestamp {
    SignedDuration::try_from(ago).ok().and_then(|ago| now.checked_sub(ago).ok()).unwrap_or(Timestamp::MIN)
}
