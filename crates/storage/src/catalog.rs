//! The catalogue: which blocks exist, as this process sees it.
//!
//! What must stay true: a block that names its inputs replaces them in one step, and a second block over any of the same
//! inputs is refused; so a reader sees the inputs or the output, never both and never neither.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use futures::StreamExt;
use jiff::Timestamp;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Mutex as AsyncMutex;
use trackway_common::TenantId;
use uuid::Uuid;

use crate::blocks::{BlockStore, StoreError};
use crate::commits::{Commit, CommitError, Known};
use crate::entry::{BlockEntry, UnreadableBlock};
use crate::found::{Found, Looked, Polled};
use crate::listing::Listing;

/// A commit that was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    /// A block that is to be replaced is not there: somebody else replaced it.
    #[error("block {0} is not in the catalogue any more")]
    Conflict(Uuid),
}

/// Decides which blocks exist.
pub trait BlockCatalog: Send + Sync + std::fmt::Debug {
    /// Adds blocks and takes others away, in one step.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] when one of `remove` is not there; nothing happens then.
    fn commit(&self, tenant: &TenantId, add: Vec<BlockEntry>, remove: &[Uuid]) -> Result<u64, CatalogError>;

    /// Announces a block that is about to be written: a look at the store does not add it, only its own commit does.
    fn announce(&self, block: Uuid);

    /// The blocks of a tenant now.
    fn blocks(&self, tenant: &TenantId) -> Arc<Vec<BlockEntry>>;

    /// The blocks of a tenant that the last look at the store found and could not read.
    fn unreadable(&self, tenant: &TenantId) -> Arc<Vec<UnreadableBlock>>;

    /// The tenants that have blocks.
    fn tenants(&self) -> Vec<TenantId>;
}

/// A catalogue in memory, filled from what lies in the store. What takes the place of what is decided in the store, by
/// [`crate::commits`].
#[derive(Debug, Default)]
pub struct Catalog {
    tenants: RwLock<BTreeMap<TenantId, TenantBlocks>>,
    announced: RwLock<HashSet<Uuid>>,
    /// Held while commits of a tenant are read or made.
    committing: Mutex<HashMap<TenantId, Arc<AsyncMutex<Known>>>>,
}

#[derive(Debug, Default)]
struct TenantBlocks {
    sequence: u64,
    blocks: Arc<Vec<BlockEntry>>,
    removed: HashSet<Uuid>,
    unreadable: Arc<Vec<UnreadableBlock>>,
}

impl BlockCatalog for Catalog {
    fn commit(&self, tenant: &TenantId, add: Vec<BlockEntry>, remove: &[Uuid]) -> Result<u64, CatalogError> {
        let mut tenants = self.tenants.write();
        let state = tenants.entry(tenant.clone()).or_default();
        let known: HashSet<Uuid> = state.blocks.iter().map(|entry| entry.meta.block_id).collect();
        if let Some(gone) = remove.iter().find(|id| !known.contains(id)) {
            return Err(CatalogError::Conflict(*gone));
        }
        state.change(add, remove);
        Ok(state.sequence)
    }

    fn announce(&self, block: Uuid) {
        self.announced.write().insert(block);
    }

    fn blocks(&self, tenant: &TenantId) -> Arc<Vec<BlockEntry>> {
        self.tenants.read().get(tenant).map(|state| Arc::clone(&state.blocks)).unwrap_or_default()
    }

    fn unreadable(&self, tenant: &TenantId) -> Arc<Vec<UnreadableBlock>> {
        self.tenants.read().get(tenant).map(|state| Arc::clone(&state.unreadable)).unwrap_or_default()
    }

    fn tenants(&self) -> Vec<TenantId> {
        self.tenants.read().keys().cloned().collect()
    }
}

impl TenantBlocks {
    /// In one step: those that are there already are not added again, and those that are gone already need not be removed.
    fn change(&mut self, add: Vec<BlockEntry>, remove: &[Uuid]) {
        let known: HashSet<Uuid> = self.blocks.iter().map(|entry| entry.meta.block_id).collect();
        let kept = self.blocks.iter().filter(|entry| !remove.contains(&entry.meta.block_id)).cloned();
        let is_new = |id: &Uuid| !known.contains(id) && !self.removed.contains(id);
        let new = add.into_iter().filter(|entry| is_new(&entry.meta.block_id));
        self.blocks = Arc::new(kept.chain(new).collect());
        self.removed.extend(remove);
        self.sequence += 1;
    }
}

/// How the store is looked at.
#[derive(Clone, Copy, Debug)]
pub struct PollOptions {
    /// Blocks of a tenant that are looked at at once.
    pub blocks_at_once: usize,
    /// Tenants that are looked at at once.
    pub tenants_at_once: usize,
}

impl Catalog {
    /// Looks into the store for blocks that are not known yet. Blocks that others removed there disappear here. Which indexes
    /// of trace ids there are is told to `store` and those that were cloned with it.
    ///
    /// # Errors
    /// [`StoreError`] when the tenants cannot be listed.
    pub async fn poll(&self, store: &BlockStore, options: PollOptions) -> Result<Polled, StoreError> {
        let mut polled = Polled::default();
        let mut tenants = store.tenants().await?;
        // Also those whose folder is gone.
        tenants.extend(self.tenants());
        tenants.sort();
        tenants.dedup();
        let looks = futures::stream::iter(tenants).map(|tenant| async move {
            let looked = self.poll_tenant(store, &tenant, options.blocks_at_once).await;
            (tenant, looked)
        });
        let mut looks = looks.buffer_unordered(options.tenants_at_once.max(1));
        while let Some((tenant, looked)) = looks.next().await {
            match looked {
                Ok((looked, added, unreadable)) => {
                    polled.added += added;
                    polled.unreadable.extend(unreadable);
                    polled.looked.push((tenant, looked));
                }
                Err(error) => {
                    self.not_seen(&tenant, &error);
                    polled.failed.push((tenant, error.to_string()));
                }
            }
        }
        Ok(polled)
    }

    fn committing(&self, tenant: &TenantId) -> Arc<AsyncMutex<Known>> {
        Arc::clone(self.committing.lock().entry(tenant.clone()).or_default())
    }

    /// Of a tenant whose folder was never listed nobody knows what is missing: every answer says so.
    fn not_seen(&self, tenant: &TenantId, error: &StoreError) {
        let mut tenants = self.tenants.write();
        let state = tenants.entry(tenant.clone()).or_default();
        if state.sequence == 0 {
            let problem = format!("the blocks of {tenant} cannot be listed: {error}");
            let all = UnreadableBlock { id: Uuid::nil(), problem, format: None, range: None };
            state.unreadable = Arc::new(vec![all]);
        }
    }

    /// Looks at one tenant, up to `concurrency` blocks at once. Returns what is to be done there, how many blocks were found,
    /// and those that cannot be read as far as the look before did not find the same.
    ///
    /// # Errors
    /// [`StoreError`] when its folder cannot be listed, or its commits cannot be read; nothing changes then.
    async fn poll_tenant(
        &self,
        store: &BlockStore,
        tenant: &TenantId,
        concurrency: usize,
    ) -> Result<(Looked, usize, Vec<UnreadableBlock>), StoreError> {
        for _ in 0..LOOKS_MAX {
            let before = self.blocks(tenant);
            let id_changes = store.id_indexes().changes(tenant);
            let listing = store.list_tenant(tenant).await?;
            store.id_indexes().listed(tenant, id_changes, listing.ids.clone());
            store.read_redactions(tenant, &listing.redactions).await?;
            let committing = self.committing(tenant);
            let mut known = committing.lock().await;
            store.read_commits(tenant, &mut known, &listing.commits).await?;
            let found = Found::by(store, tenant, &before, (&listing, &known), concurrency).await?;
            if found.missed {
                // Perhaps it was merged after the commits were read: then what took its place is not known yet.
                let next = known.next();
                store.read_commits(tenant, &mut known, &[]).await?;
                if known.next() != next {
                    continue;
                }
            }
            return Ok(self.adopt_all(tenant, found, listing, &known));
        }
        let path = store.tenant_path(tenant).to_string();
        let problem = "its blocks are merged faster than they can be looked at".to_owned();
        Err(StoreError::Damaged { path, problem })
    }

    /// Takes over what a look found, and says what is to be done.
    fn adopt_all(
        &self,
        tenant: &TenantId,
        found: Found,
        listing: Listing,
        known: &Known,
    ) -> (Looked, usize, Vec<UnreadableBlock>) {
        let (added, unreadable) = self.adopt(tenant, found, known);
        let live: HashSet<Uuid> = self.blocks(tenant).iter().map(|entry| entry.meta.block_id).collect();
        let now_live = |commit: Commit| {
            let is_live = live.contains(&commit.added().meta.block_id);
            (commit, is_live)
        };
        let unfinished = known.unfinished(&listing).into_iter().map(now_live).collect();
        (Looked { unfinished, listing }, added, unreadable)
    }

    fn adopt(&self, tenant: &TenantId, mut found: Found, known: &Known) -> (usize, Vec<UnreadableBlock>) {
        let mut tenants = self.tenants.write();
        let state = tenants.entry(tenant.clone()).or_default();
        // One of them may be ours, merged by somebody else before we told ourselves that it is there.
        state.removed.extend(known.covered());
        let announced = self.announced.read();
        let ours = |id: &Uuid| state.removed.contains(id) || announced.contains(id);
        found.blocks.retain(|entry| !ours(&entry.meta.block_id));
        found.unreadable.retain(|block| !ours(&block.id));
        let new = |block: &&UnreadableBlock| !state.unreadable.contains(block);
        let unreadable = found.unreadable.iter().filter(new).cloned().collect();
        state.unreadable = Arc::new(found.unreadable);
        let added = found.blocks.len();
        // A block that was committed while the listing ran is in neither list: `gone` holds only what was known before.
        state.change(found.blocks, &found.gone);
        (added, unreadable)
    }

    /// Puts a block in the place of others, for every process that looks at the store: in one step, and once for each of
    /// them.
    ///
    /// # Errors
    /// [`CommitError`].
    pub async fn replace(
        &self,
        store: &BlockStore,
        tenant: &TenantId,
        commit: &Commit,
        covers: &[Uuid],
    ) -> Result<(), CommitError> {
        let committing = self.committing(tenant);
        let mut known = committing.lock().await;
        {
            let blocks = self.blocks(tenant);
            let is_there = |id: &Uuid| blocks.iter().any(|entry| entry.meta.block_id == *id);
            if let Some(gone) = covers.iter().find(|id| !is_there(id)) {
                return Err(CommitError::Conflict(*gone));
            }
        }
        store.commit(tenant, &mut known, commit).await?;
        let mut tenants = self.tenants.write();
        let state = tenants.entry(tenant.clone()).or_default();
        let added = (!commit.is_removal()).then(|| commit.added().clone());
        state.change(added.into_iter().collect(), covers);
        Ok(())
    }

    /// Whether this process writes a block, or has written it.
    pub fn is_announced(&self, block: Uuid) -> bool {
        self.announced.read().contains(&block)
    }

    /// Takes blocks away that are not to be looked at any more.
    pub fn remove(&self, tenant: &TenantId, blocks: &[Uuid]) {
        self.tenants.write().entry(tenant.clone()).or_default().change(Vec::new(), blocks);
    }

    /// Forgets old commits of which nothing is left, here and in the store.
    ///
    /// # Errors
    /// [`StoreError`]; the rest can be forgotten later.
    pub async fn forget_commits(
        &self,
        store: &BlockStore,
        tenant: &TenantId,
        listing: &Listing,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let committing = self.committing(tenant);
        let mut known = committing.lock().await;
        for sequence in known.forgettable(listing, now) {
            // From the first on, so that there are never gaps.
            store.delete(&store.commit_path(tenant, sequence)).await?;
            known.forget(sequence);
        }
        Ok(())
    }

    /// Forgets a tenant that has nothing any more.
    pub fn forget_tenant(&self, tenant: &TenantId) {
        let mut tenants = self.tenants.write();
        if tenants.get(tenant).is_some_and(|state| state.blocks.is_empty()) {
            tenants.remove(tenant);
            self.committing.lock().remove(tenant);
        }
    }
}

/// Looks at a tenant in a row that others make futile by merging its blocks meanwhile.
const LOOKS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_replaces_its_inputs_once() {
        let catalog = Catalog::default();
        let tenant = TenantId::single();
        let entry = |id: u128| {
            let json = format!(
                r#"{{"format":"vParquet4","blockID":"{}","startTime":"2026-01-01T00:00:00Z","endTime":"2026-01-01T00:00:00Z"}}"#,
                Uuid::from_u128(id)
            );
            BlockEntry { meta: Arc::new(serde_json::from_str(&json).unwrap()), log: Vec::new() }
        };
        catalog.commit(&tenant, vec![entry(1), entry(2)], &[]).unwrap();
        catalog.commit(&tenant, vec![entry(3)], &[Uuid::from_u128(1), Uuid::from_u128(2)]).unwrap();
        let again = catalog.commit(&tenant, vec![entry(4)], &[Uuid::from_u128(2)]);
        assert_eq!(again, Err(CatalogError::Conflict(Uuid::from_u128(2))));
        let ids: Vec<Uuid> = catalog.blocks(&tenant).iter().map(|entry| entry.meta.block_id).collect();
        assert_eq!(ids, [Uuid::from_u128(3)]);
    }
}
