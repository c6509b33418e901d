//! Indexes of trace ids: `<tenant>/trackway/ids/<uuid>`, each over many blocks, so that a trace is found by one read and not
//! by a bloom filter of each block.
//!
//! What must stay true:
//! - An index has all traces of a block that it covers, and blocks never change. So what it says of a block is right however
//!   old it is; what it says of blocks that are gone is ignored, and blocks that none covers are asked themselves.
//! - It may name a row that another trace with the same fingerprint is in: whoever loads the row looks at its id.
//! - Whatever is wrong with an index costs time, never an answer.
//! - A new one is written before those are deleted whose place it takes.

mod format;
mod plan;
mod read;
mod write;

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::TryStreamExt;
use jiff::Timestamp;
use moka::sync::Cache;
use object_store::path::Path;
use parking_lot::Mutex;
use trackway_common::TenantId;
use uuid::Uuid;

use crate::blocks::{BlockStore, StoreError};
use format::Head;
pub use format::{ENTRIES_MAX, Entry, Fingerprint, FormatError, encode};
pub use read::Answered;
pub use write::Indexed;

/// The folder of indexes in the folder of what Tempo does not know.
pub(crate) const FOLDER: &str = "ids";
/// Bytes of heads that are kept: an index of two million traces has some 70 KB.
const HEAD_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Bytes of filters that are kept: an index of two million traces has 2.6 MB. Without one, its index is read for every
/// trace that is asked for.
const FILTER_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bytes of entries that are kept.
const BUCKET_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// What is read of an index at first: with less than two million traces, its head and more.
const FIRST_READ: u64 = 64 * 1024;

/// An index, by a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdIndex {
    /// Its name.
    pub id: Uuid,
    /// Its bytes.
    pub size: u64,
    /// When it was written.
    pub written: Timestamp,
}

/// What is known of a tenant's indexes.
#[derive(Debug, Default)]
struct Known {
    /// Counts what was changed here and not by a listing.
    changes: u64,
    indexes: Arc<Vec<IdIndex>>,
    /// Those that are not to be asked again.
    damaged: HashSet<Uuid>,
    /// Those among them that another version wrote, which are left alone.
    foreign: HashSet<Uuid>,
    /// Blocks whose traces cannot be read: no index covers them.
    unreadable: HashSet<Uuid>,
}

/// The indexes of all tenants, as this process knows them, and what it keeps of them.
#[derive(Debug)]
pub(crate) struct IdIndexes {
    tenants: Mutex<HashMap<TenantId, Known>>,
    heads: Cache<Uuid, Arc<Head>>,
    filters: Mutex<HashMap<Uuid, Bytes>>,
    filter_bytes_max: AtomicUsize,
    buckets: Cache<(Uuid, usize), Bytes>,
}

impl Default for IdIndexes {
    fn default() -> Self {
        let head = |_: &Uuid, head: &Arc<Head>| u32::try_from(head.weight()).unwrap_or(u32::MAX);
        let bucket = |_: &(Uuid, usize), bytes: &Bytes| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        Self {
            tenants: Mutex::default(),
            heads: Cache::builder().max_capacity(HEAD_BYTES_MAX).weigher(head).build(),
            filters: Mutex::default(),
            filter_bytes_max: AtomicUsize::new(FILTER_BYTES_MAX),
            buckets: Cache::builder().max_capacity(BUCKET_BYTES_MAX).weigher(bucket).build(),
        }
    }
}

impl IdIndexes {
    /// Keeps filters of so many bytes at the most, if that is less than there is room for anyway.
    pub(crate) fn keep_filters_within(&self, bytes: usize) {
        self.filter_bytes_max.store(bytes.min(FILTER_BYTES_MAX), Ordering::Relaxed);
    }

    /// Bytes that are kept.
    pub(crate) fn bytes(&self) -> usize {
        let filters: usize = self.filters.lock().values().map(Bytes::len).sum();
        let caches = self.heads.weighted_size() + self.buckets.weighted_size();
        filters.saturating_add(usize::try_from(caches).unwrap_or(usize::MAX))
    }

    /// Gives up what a lookup reads again; not the filters, without which it would read far more.
    pub(crate) fn give_up(&self) {
        self.heads.invalidate_all();
        self.buckets.invalidate_all();
        // They only say so at first.
        self.heads.run_pending_tasks();
        self.buckets.run_pending_tasks();
    }

    /// Those of a tenant that are worth asking.
    fn usable(&self, tenant: &TenantId) -> Vec<IdIndex> {
        let tenants = self.tenants.lock();
        let Some(known) = tenants.get(tenant) else { return Vec::new() };
        known.indexes.iter().filter(|index| !known.damaged.contains(&index.id)).copied().collect()
    }

    fn damaged(&self, tenant: &TenantId) -> Vec<Uuid> {
        let tenants = self.tenants.lock();
        let damaged = |known: &Known| known.damaged.difference(&known.foreign).copied().collect();
        tenants.get(tenant).map(damaged).unwrap_or_default()
    }

    /// The blocks whose traces cannot be read, of those that are there.
    fn unreadable(&self, tenant: &TenantId, is_there: impl Fn(&Uuid) -> bool) -> HashSet<Uuid> {
        let mut tenants = self.tenants.lock();
        let known = tenants.entry(tenant.clone()).or_default();
        known.unreadable.retain(is_there);
        known.unreadable.clone()
    }

    fn cannot_read(&self, tenant: &TenantId, block: Uuid) {
        self.tenants.lock().entry(tenant.clone()).or_default().unreadable.insert(block);
    }

    /// How often it was changed here; to be asked before a listing that is [`Self::listed`] then.
    pub(crate) fn changes(&self, tenant: &TenantId) -> u64 {
        self.tenants.lock().get(tenant).map_or(0, |known| known.changes)
    }

    /// Takes over a listing, unless something was written or deleted here since it began.
    pub(crate) fn listed(&self, tenant: &TenantId, changes: u64, indexes: Vec<IdIndex>) {
        let mut tenants = self.tenants.lock();
        let known = tenants.entry(tenant.clone()).or_default();
        if known.changes != changes {
            return;
        }
        let there: HashSet<Uuid> = indexes.iter().map(|index| index.id).collect();
        let gone: Vec<Uuid> =
            known.indexes.iter().map(|index| index.id).filter(|id| !there.contains(id)).collect();
        known.damaged.retain(|id| there.contains(id));
        known.foreign.retain(|id| there.contains(id));
        known.indexes = Arc::new(indexes);
        drop(tenants);
        self.drop_cached(&gone);
    }

    /// Something is there, and something is not there any more.
    fn change(&self, tenant: &TenantId, add: Option<IdIndex>, remove: &[Uuid]) {
        let mut tenants = self.tenants.lock();
        let known = tenants.entry(tenant.clone()).or_default();
        known.changes += 1;
        let kept = known.indexes.iter().filter(|index| !remove.contains(&index.id)).copied();
        known.indexes = Arc::new(kept.chain(add).collect());
        known.damaged.retain(|id| !remove.contains(id));
        drop(tenants);
        self.drop_cached(remove);
    }

    pub(crate) fn forget(&self, tenant: &TenantId) {
        let known = self.tenants.lock().remove(tenant);
        let ids: Vec<Uuid> =
            known.iter().flat_map(|known| known.indexes.iter().map(|index| index.id)).collect();
        self.drop_cached(&ids);
    }

    fn drop_cached(&self, ids: &[Uuid]) {
        // Buckets make room by themselves.
        ids.iter().for_each(|id| self.heads.invalidate(id));
        let mut filters = self.filters.lock();
        ids.iter().for_each(|id| drop(filters.remove(id)));
    }

    /// Deals with an index that could not be read; says whether it is gone.
    fn failed(&self, tenant: &TenantId, index: Uuid, error: &StoreError) -> bool {
        if error.is_not_found() {
            return true;
        }
        let is_news = !matches!(error, StoreError::Damaged { .. })
            || self.tenants.lock().entry(tenant.clone()).or_default().damaged.insert(index);
        if is_news {
            tracing::warn!(%tenant, %error, "an index of trace ids cannot be used; blocks are asked one by one");
        }
        false
    }
}

impl BlockStore {
    /// Path of an index of trace ids.
    pub fn id_index_path(&self, tenant: &TenantId, index: Uuid) -> Path {
        self.own_folder(tenant).join(FOLDER).join(index.to_string())
    }

    /// Reads ranges of an index.
    async fn id_index_ranges(
        &self,
        tenant: &TenantId,
        index: Uuid,
        ranges: &[Range<u64>],
    ) -> Result<Vec<Bytes>, StoreError> {
        self.get_ranges(&self.id_index_path(tenant, index), ranges).await
    }

    fn damaged_index(&self, tenant: &TenantId, index: Uuid, problem: impl ToString) -> StoreError {
        let path = self.id_index_path(tenant, index).to_string();
        StoreError::Damaged { path, problem: problem.to_string() }
    }

    /// What stands before the entries of an index, and its filter when there is room for it.
    async fn id_index_head(&self, tenant: &TenantId, index: &IdIndex) -> Result<Arc<Head>, StoreError> {
        let known = self.id_indexes();
        if let Some(head) = known.heads.get(&index.id) {
            return Ok(head);
        }
        let mut length = FIRST_READ.min(index.size);
        loop {
            let first = 0..length;
            let mut parts = self.id_index_ranges(tenant, index.id, &[first]).await?;
            let bytes = parts.pop().unwrap_or_default();
            match Head::read(&bytes, index.size) {
                Ok(head) => {
                    let head = Arc::new(head);
                    self.keep_filter(tenant, index, &head, &bytes).await?;
                    known.heads.insert(index.id, Arc::clone(&head));
                    return Ok(head);
                }
                Err(FormatError::NeedsMore(needed)) if needed > length => length = needed.min(index.size),
                Err(error) => {
                    if matches!(error, FormatError::Version(_)) {
                        known.tenants.lock().entry(tenant.clone()).or_default().foreign.insert(index.id);
                    }
                    return Err(self.damaged_index(tenant, index.id, error));
                }
            }
        }
    }

    /// Keeps the filter of an index if there is room for it: from what is read already, or from the store.
    async fn keep_filter(
        &self,
        tenant: &TenantId,
        index: &IdIndex,
        head: &Head,
        read: &Bytes,
    ) -> Result<(), StoreError> {
        let range = head.filter();
        let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let has_room = || {
            let filters = self.id_indexes().filters.lock();
            let used: usize = filters.values().map(Bytes::len).sum();
            used.saturating_add(length) <= self.id_indexes().filter_bytes_max.load(Ordering::Relaxed)
        };
        if !has_room() {
            return Ok(());
        }
        let filter = if range.end <= read.len() as u64 {
            Bytes::copy_from_slice(&read[range.start as usize..range.end as usize])
        } else {
            let mut parts = self.id_index_ranges(tenant, index.id, &[range]).await?;
            parts.pop().unwrap_or_default()
        };
        if !head.is_filter(&filter) {
            return Err(self.damaged_index(tenant, index.id, "the checksum of its filter is wrong"));
        }
        self.id_indexes().filters.lock().insert(index.id, filter);
        Ok(())
    }

    /// Looks which indexes of a tenant there are.
    async fn list_id_indexes(&self, tenant: &TenantId) -> Result<(), StoreError> {
        let folder = self.own_folder(tenant).join(FOLDER);
        let failed = |source| StoreError::Store { action: "list", path: folder.to_string(), source };
        let changes = self.id_indexes().changes(tenant);
        let objects: Vec<_> = self.object_store().list(Some(&folder)).try_collect().await.map_err(failed)?;
        let indexes = objects.iter().filter_map(|object| {
            let id = object.location.filename()?.parse().ok()?;
            Some(IdIndex::listed(id, object))
        });
        self.id_indexes().listed(tenant, changes, indexes.collect());
        Ok(())
    }
}

impl IdIndex {
    /// From a listing.
    pub(crate) fn listed(id: Uuid, object: &object_store::ObjectMeta) -> Self {
        let written = Timestamp::from_second(object.last_modified.timestamp()).unwrap_or(Timestamp::MIN);
        Self { id, size: object.size, written }
    }
}
