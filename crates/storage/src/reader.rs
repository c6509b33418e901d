//! Opens blocks of a store and fetches what decoding them needs: bytes on the async side, decoding on the CPU pool. Opened
//! footers, bloom filters and trace ids are kept in bounded caches. `scan.rs` and `locate.rs` say what for.

use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use trackway_cache::{Caches, Role};
use trackway_common::{MemoryPool, TenantId};
use trackway_vparquet::meta::BlockMeta;
use trackway_vparquet::{BlockFile, Read, ReadError, RowGroup};
use uuid::Uuid;

use crate::blocks::{BlockStore, StoreError};
use crate::cached::BlockCache;
use crate::cpu::CpuPool;
use crate::kept::Kept;

/// Bytes between two parts of a row group that are fetched along with them.
const GAP: u64 = 16 * 1024;
/// The same for single traces in a bucket: a request costs about as much as the transfer of so many bytes.
const REMOTE_GAP: u64 = 2 * 1024 * 1024;

/// Reads blocks. Cheap to clone.
#[derive(Clone, Debug)]
pub struct BlockReader {
    pub(crate) store: BlockStore,
    pub(crate) cpu: CpuPool,
    pub(crate) memory: MemoryPool,
    pub(crate) kept: Kept,
    pub(crate) cache: BlockCache,
    /// The caches that hear of blocks that are gone, also where this reads past them.
    pub(crate) forgets: Caches,
}

impl BlockReader {
    /// Reads blocks of `store`, decoding on `cpu`, in memory of this budget.
    pub fn new(store: BlockStore, cpu: CpuPool, memory: MemoryPool) -> Self {
        let kept = Kept::new(memory.clone(), store.id_indexes_shared());
        Self {
            cache: BlockCache::new(Caches::none(), cpu.clone()),
            forgets: Caches::none(),
            store,
            cpu,
            memory,
            kept,
        }
    }

    /// The same for somebody who has reserved what reading takes.
    #[must_use]
    pub fn reserved_by_caller(&self) -> Self {
        Self { memory: MemoryPool::unlimited(), ..self.clone() }
    }

    /// The same without caches, for what is no block, or not yet: what its `meta.json` will say is not known.
    #[must_use]
    pub fn keeping_nothing(&self) -> Self {
        Self { kept: Kept::nothing(), ..self.clone() }
    }

    /// The same, through caches.
    #[must_use]
    pub fn with_caches(self, caches: Caches) -> Self {
        Self { cache: BlockCache::new(caches.clone(), self.cpu.clone()), forgets: caches, ..self }
    }

    /// The same past the caches, which still hear of blocks that are gone.
    #[must_use]
    pub fn past_caches(&self) -> Self {
        Self { cache: BlockCache::new(Caches::none(), self.cpu.clone()), ..self.clone() }
    }

    /// The store behind it.
    pub fn store(&self) -> &BlockStore {
        &self.store
    }

    /// The caches that it reads through.
    pub fn caches(&self) -> &Caches {
        &self.cache.caches
    }

    /// The budget that it reads in.
    pub fn memory(&self) -> &MemoryPool {
        &self.memory
    }

    /// The pool that it decodes on.
    pub fn cpu(&self) -> &CpuPool {
        &self.cpu
    }

    pub(crate) fn damaged(&self, tenant: &TenantId, block: Uuid, error: &ReadError) -> StoreError {
        let path = self.store.path(tenant, block, "data.parquet").to_string();
        StoreError::Damaged { path, problem: error.to_string() }
    }

    /// Opens the data file of a block.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read or is damaged.
    pub async fn open(&self, tenant: &TenantId, meta: &BlockMeta) -> Result<Arc<BlockFile>, StoreError> {
        let id = meta.block_id;
        if let Some(file) = self.kept.file(id) {
            return Ok(file);
        }
        if let Some(file) = self.cache.open(tenant, meta).await {
            self.kept.keep_file(id, Arc::clone(&file));
            return Ok(file);
        }
        self.open_stored(tenant, meta).await
    }

    /// Opens the data file of a block as the store has it, which takes the place of what is cached.
    pub(crate) async fn open_stored(
        &self,
        tenant: &TenantId,
        meta: &BlockMeta,
    ) -> Result<Arc<BlockFile>, StoreError> {
        let id = meta.block_id;
        let path = self.store.path(tenant, id, "data.parquet");
        let mut length = BlockFile::tail(meta.footer_size).min(meta.size);
        loop {
            let range = meta.size - length..meta.size;
            let mut parts = self.fetch(&path, meta, &[range]).await?;
            let tail = parts.pop().unwrap_or_default();
            // On the pool, which survives what a damaged footer may do to the library that parses it.
            let (size, dedicated) = (meta.size, meta.dedicated_columns.clone());
            let opened = tail.clone();
            let open = move || BlockFile::open(&opened, size, &dedicated);
            match self.cpu.run(open).await.ok_or_else(|| self.interrupted(tenant, meta))? {
                Ok(Read::Ready(file)) => {
                    self.cache.keep_tail(tenant, meta, &tail);
                    self.kept.keep_file(id, Arc::clone(&file));
                    return Ok(file);
                }
                Ok(Read::NeedsRanges(ranges)) => {
                    let start = ranges.iter().map(|range| range.start).min().unwrap_or(0);
                    let wanted = (meta.size - start).min(meta.size);
                    if wanted <= length {
                        let problem = "the footer does not fit into the file".to_owned();
                        return Err(StoreError::Damaged { path: path.to_string(), problem });
                    }
                    length = wanted;
                }
                Err(error) => return Err(self.damaged(tenant, id, &error)),
            }
        }
    }

    pub(crate) fn forget_kept(&self, block: Uuid) {
        self.kept.forget(block);
    }

    pub(crate) fn interrupted(&self, tenant: &TenantId, meta: &BlockMeta) -> StoreError {
        let path = self.store.path(tenant, meta.block_id, "data.parquet").to_string();
        StoreError::Damaged { path, problem: "decoding it failed; the log says how".to_owned() }
    }

    /// Fetches ranges of a data file. One that is shorter than its `meta.json` says is damaged, whatever words the store has
    /// for that.
    pub(crate) async fn fetch(
        &self,
        path: &Path,
        meta: &BlockMeta,
        ranges: &[Range<u64>],
    ) -> Result<Vec<Bytes>, StoreError> {
        let error = match self.store.get_ranges(path, ranges).await {
            Ok(parts) => return Ok(parts),
            Err(error) => error,
        };
        match self.store.size(path).await {
            Ok(Some(size)) if size < meta.size => Err(StoreError::Damaged {
                path: path.to_string(),
                problem: format!("it has {size} bytes, and its meta.json says {}", meta.size),
            }),
            _ => Err(error),
        }
    }

    /// Takes steps on the CPU pool and fetches between them what the next one needs, until there is a result. With it come
    /// the bytes that were fetched.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        tenant: &TenantId,
        meta: &BlockMeta,
        mut group: RowGroup,
        mut step: impl FnMut(&mut RowGroup) -> Result<Read<T>, ReadError> + Send + 'static,
    ) -> Result<(T, u64), StoreError> {
        let path = self.store.path(tenant, meta.block_id, "data.parquet");
        let (mut bytes, mut trusting) = (0, self.cache.is_used());
        loop {
            let take = move || {
                // What cached nonsense does to decoding must not cost the question.
                let result = std::panic::catch_unwind(AssertUnwindSafe(|| step(&mut group)));
                (group, step, result)
            };
            let done = self.cpu.run(take).await.ok_or_else(|| self.interrupted(tenant, meta))?;
            let result;
            (group, step, result) = done;
            let problem = match result {
                Ok(Ok(Read::Ready(got))) => return Ok((got, bytes)),
                Ok(Ok(Read::NeedsRanges(ranges))) => {
                    let gap = if group.is_at_once() { REMOTE_GAP } else { GAP };
                    let parts = self.fetch_parts((tenant, meta), &path, (ranges, gap), trusting).await?;
                    for (offset, part) in parts {
                        bytes += part.len() as u64;
                        group.fetched().add(offset, part);
                    }
                    continue;
                }
                Ok(Err(error)) => self.damaged(tenant, meta.block_id, &error),
                Err(_) => self.interrupted(tenant, meta),
            };
            if !std::mem::take(&mut trusting) {
                return Err(problem);
            }
            // The block may be well, and a cache wrong: once more, with what the store has.
            self.cache.caches.count_rejected(Role::ParquetPage);
            group = group.anew(&self.open_stored(tenant, meta).await?);
        }
    }
}

/// Joins ranges that touch or nearly do: one request costs more than the bytes between them.
pub(crate) fn coalesced(mut ranges: Vec<Range<u64>>, gap: u64) -> Vec<Range<u64>> {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end.saturating_add(gap) => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_ranges_are_fetched_as_one() {
        assert_eq!(coalesced(vec![50_000..60_000, 0..10, 5..20, 100..200], GAP), [0..200, 50_000..60_000]);
    }
}
