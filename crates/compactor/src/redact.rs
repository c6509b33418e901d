//! Takes what redactions hide out of the store: blocks that have it are written anew, and what they were is deleted.
//!
//! What must stay true:
//! - A redaction is done when neither live data, nor a block, nor the files of what was one, nor an index has any of it.
//!   Live data is looked at first: what leaves it later is in a block by then.
//! - This runs where merges do and never beside one, so no merge is under way that began before the redaction.
//! - What no block names any more, since nothing of it was left, the redaction itself names before the block goes.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::SignedDuration;
use trackway_common::TenantId;
use trackway_storage::redact::{Hidden, Redaction, Removal};
use trackway_storage::{BlockCatalog, BlockEntry, Commit, CommitError, Listing, LogRanges, StoreError};
use trackway_vparquet::meta::BlockMeta;
use uuid::Uuid;

use crate::select::Job;
use crate::service::Compactor;

/// How long the files of a block stay when another one has taken its place: for questions under way.
const GRACE: Duration = Duration::from_secs(10);

/// Whether live data of a tenant has any of what is hidden.
pub type LiveData = Arc<dyn Fn(&TenantId, &Hidden) -> bool + Send + Sync>;

/// What one input of a merge loses, by redaction.
type Losses = Vec<(Uuid, BTreeMap<Uuid, Removal>)>;

impl Compactor {
    /// Goes on with all redactions that are not done.
    pub async fn redact(&self) {
        for tenant in self.store().redactions().tenants_pending() {
            if let Err(error) = self.redact_tenant(&tenant).await {
                self.metrics.errors.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(%tenant, %error, "a redaction cannot go on; the next round tries again");
            }
        }
    }

    /// When to look after redactions again, if not before.
    pub fn redacts_in(&self, most: Duration) -> Duration {
        let is_waited_for = !self.store().redactions().tenants_pending().is_empty();
        if is_waited_for { most.min(GRACE) } else { most }
    }

    async fn redact_tenant(&self, tenant: &TenantId) -> Result<(), StoreError> {
        // Before those that are pending: what is found clean is so of these.
        let version = self.reader.redactions_version(tenant);
        let pending = self.store().redactions().pending(tenant);
        let Some(hidden) = self.reader.hidden(tenant) else { return Ok(()) };
        let (live, of) = (Arc::clone(&self.live), tenant.clone());
        // It may wait for the disk. What fails there is looked at again.
        let is_live = tokio::task::spawn_blocking(move || live(&of, &hidden)).await.unwrap_or(true);
        let mut waits = is_live.then(|| "recent spans are not in a block yet".to_owned());
        let mut unread = Vec::new();
        for entry in &*self.catalog.blocks(tenant) {
            match self.reader.redacted_in(tenant, &entry.meta, &pending).await {
                Ok(found) if found.is_empty() => {}
                Ok(_) => {
                    if !self.rewrite(tenant, entry).await {
                        waits = Some(format!("block {} is not written anew yet", entry.meta.block_id));
                    }
                }
                Err(StoreError::Damaged { .. }) => unread.push(entry.meta.block_id),
                Err(error) => return Err(error),
            }
        }
        unread.extend(self.catalog.unreadable(tenant).iter().map(|block| block.id));
        let listing = self.store().list_tenant(tenant).await?;
        waits = self.delete_replaced(tenant, (&pending, version), &listing).await?.or(waits);
        waits = self.reindex(tenant, &listing).await?.or(waits);
        if waits.is_none() {
            for redaction in &pending {
                self.finish_redaction(tenant, redaction, &unread).await?;
            }
        }
        self.store().redactions().wait_for(tenant, waits);
        self.store().tidy_redactions(tenant, &listing.redactions).await
    }

    async fn finish_redaction(
        &self,
        tenant: &TenantId,
        redaction: &Redaction,
        unread: &[Uuid],
    ) -> Result<(), StoreError> {
        // Blocks were noted meanwhile.
        let Some(now) = self.store().redactions().get(tenant, redaction.id) else { return Ok(()) };
        let report = Redaction { unread: unread.to_vec(), ..now.report(self.now()) };
        let spans: u64 = report.removed.values().map(|removal| removal.spans).sum();
        tracing::info!(
            %tenant, redaction = %report.id, blocks = report.removed.len(), spans, unread = report.unread.len(),
            "a redaction is done"
        );
        self.store().put_redaction(tenant, report).await
    }

    /// Writes a block anew without what is hidden.
    async fn rewrite(&self, tenant: &TenantId, entry: &BlockEntry) -> bool {
        let block = entry.meta.block_id;
        // One that cannot be merged is tried once: it may have been marked for another reason.
        if self.set_aside.lock().contains(&block) && !self.rewrite_tried.lock().insert(block) {
            return false;
        }
        self.job(tenant, &Job { inputs: vec![block] }).await;
        let is_there = self.catalog.blocks(tenant).iter().any(|entry| entry.meta.block_id == block);
        if is_there && self.set_aside.lock().contains(&block) {
            tracing::warn!(%tenant, %block, "this block has redacted spans and cannot be written anew; they stay hidden");
        }
        !is_there
    }

    /// What these blocks are about to lose.
    pub(crate) async fn losses(
        &self,
        tenant: &TenantId,
        inputs: &[Arc<BlockMeta>],
    ) -> Result<Losses, StoreError> {
        let pending = self.store().redactions().pending(tenant);
        let mut losses = Vec::new();
        for meta in inputs.iter().filter(|_| !pending.is_empty()) {
            let found = self.reader.redacted_in(tenant, meta, &pending).await?;
            if !found.is_empty() {
                losses.push((meta.block_id, found));
            }
        }
        Ok(losses)
    }

    /// Writes down what blocks lose, and into which block what is left goes. Where nothing is left, `log` are the records
    /// that no block will name.
    pub(crate) async fn note_losses(
        &self,
        tenant: &TenantId,
        losses: &Losses,
        into: Option<Uuid>,
        log: Vec<LogRanges>,
    ) -> Result<(), StoreError> {
        let store = self.store();
        for redaction in store.redactions().pending(tenant) {
            let of_it = losses.iter().filter_map(|(block, found)| Some((*block, found.get(&redaction.id)?)));
            let of_it: Vec<(Uuid, Removal)> =
                of_it.map(|(block, removal)| (block, Removal { into, ..removal.clone() })).collect();
            if of_it.is_empty() {
                continue;
            }
            let mut changed = Redaction::clone(&redaction);
            changed.removed.extend(of_it);
            if into.is_none() {
                let all = changed.log.iter().chain(&log);
                changed.log = LogRanges::joined(all, |log| (self.released)(log));
            }
            store.put_redaction(tenant, changed).await?;
        }
        Ok(())
    }

    /// Counts what is gone.
    pub(crate) fn count_losses(&self, losses: &Losses) {
        let spans = losses.iter().flat_map(|(_, found)| found.values()).map(|removal| removal.spans).sum();
        self.store().redactions().removed_spans.fetch_add(spans, Ordering::Relaxed);
    }

    /// Takes blocks away of which nothing is left, without another one in their place. Nothing of `empty` was written.
    pub(crate) async fn retire(
        &self,
        tenant: &TenantId,
        empty: &BlockEntry,
        inputs: &[Uuid],
    ) -> Result<(), CommitError> {
        let commit = Commit::removal(self.random.uuid(), self.now(), empty.clone(), inputs.to_vec());
        self.catalog.replace(self.store(), tenant, &commit, inputs).await?;
        if let Err(error) = self.store().finish_commit(tenant, &commit, false, self.now()).await {
            tracing::debug!(%tenant, %error, "left for later");
        }
        self.write_index(tenant).await;
        Ok(())
    }

    /// Deletes the files of what were blocks and have what is hidden, however long such files are kept otherwise. Returns
    /// why some stay, if they do.
    async fn delete_replaced(
        &self,
        tenant: &TenantId,
        (pending, version): (&[Arc<Redaction>], u64),
        listing: &Listing,
    ) -> Result<Option<String>, StoreError> {
        let blocks = self.catalog.blocks(tenant);
        let is_live = |block: &Uuid| blocks.iter().any(|entry| entry.meta.block_id == *block);
        let grace = SignedDuration::try_from(GRACE).unwrap_or_default();
        let mut waits = None;
        for (block, files) in listing.blocks.iter().filter(|(block, _)| !is_live(block)) {
            // Those with only this are unreadable, or about to be known. What this process writes is live data until then.
            if !files.compacted && (files.meta || self.catalog.is_announced(*block)) {
                continue;
            }
            if self.is_clean(*block, version) {
                continue;
            }
            let found = self.found_in_dead(tenant, *block, files.compacted, pending).await;
            match found {
                Ok(None) => {
                    self.clean.lock().1.insert(*block);
                    continue;
                }
                Ok(Some(_)) | Err(StoreError::Damaged { .. }) => {}
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
            let is_old = files.newest.is_none_or(|newest| self.now().duration_since(newest) >= grace);
            if files.compacted && is_old {
                // While it can still be read, since its footer says what caches may have of it.
                let keys = match self.store().replaced_meta(tenant, *block).await? {
                    Some(meta) => self.reader.cache_keys(tenant, &meta).await.unwrap_or_default(),
                    None => Vec::new(),
                };
                self.store().delete_block(tenant, *block).await?;
                self.reader.forget_block(*block, keys).await;
                self.metrics.deleted.fetch_add(1, Ordering::Relaxed);
            } else {
                // One without any mark may be on its way in. If nobody finishes it, it is deleted when it is old.
                let what = if files.compacted { "is about to be deleted" } else { "was never finished" };
                waits = Some(format!("what lies there of block {block} {what}"));
            }
        }
        Ok(waits)
    }

    /// Whether nothing hidden was found in the files of what is no block. They do not change.
    fn is_clean(&self, block: Uuid, version: u64) -> bool {
        let mut clean = self.clean.lock();
        if clean.0 != version {
            *clean = (version, HashSet::new());
        }
        clean.1.contains(&block)
    }

    /// What the files of what is no block have of redactions. `None` when it is nothing.
    async fn found_in_dead(
        &self,
        tenant: &TenantId,
        block: Uuid,
        is_replaced: bool,
        pending: &[Arc<Redaction>],
    ) -> Result<Option<BTreeMap<Uuid, Removal>>, StoreError> {
        let store = self.store();
        let meta = match is_replaced {
            true => store.replaced_meta(tenant, block).await?,
            false => store.unfinished_meta(tenant, block).await?,
        };
        let Some(meta) = meta else { return Ok(None) };
        let found = self.reader.keeping_nothing().redacted_in(tenant, &meta, pending).await?;
        Ok((!found.is_empty()).then_some(found))
    }

    /// Writes indexes of trace ids anew that cover blocks which are gone. Returns why some stay, if they do.
    async fn reindex(&self, tenant: &TenantId, listing: &Listing) -> Result<Option<String>, StoreError> {
        for _ in 0..=listing.ids.len() {
            let blocks = self.catalog.blocks(tenant);
            let step = self.reader.drop_gone_traces(tenant, &blocks, self.random.uuid(), self.now());
            if step.await?.is_none() {
                return Ok(None);
            }
        }
        Ok(Some("indexes of trace ids are not written anew yet".to_owned()))
    }
}
