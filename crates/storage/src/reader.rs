//! Reads blocks of a store: opened footers, bloom filters and trace ids are kept in bounded caches, bytes are fetched on
//! the async side, and decoding runs on the CPU pool.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::path::Path;
use trackway_cache::{Caches, Role};
use trackway_common::{MemoryPool, MemoryUser, Reservation, TenantId, TraceId};
use trackway_spans::{Needs, Prune, SpanBatch};
use trackway_vparquet::meta::BlockMeta;
use trackway_vparquet::{BlockFile, Outline, Outlined, Read, ReadError, RowGroup, bloom};
use uuid::Uuid;

use crate::blocks::{BlockStore, StoreError};
use crate::cached::BlockCache;
use crate::cpu::CpuPool;
use crate::kept::Kept;
use crate::redact::{Hidden, with_whole_traces};

/// Bytes between two parts of a row group that are fetched along with them.
const GAP: u64 = 16 * 1024;
/// The same for single traces in a bucket: a request costs about as much as the transfer of so many bytes.
const REMOTE_GAP: u64 = 2 * 1024 * 1024;

/// Reads blocks. Cheap to clone.
#[derive(Clone, Debug)]
pub struct BlockReader {
    store: BlockStore,
    cpu: CpuPool,
    memory: MemoryPool,
    kept: Kept,
    pub(crate) cache: BlockCache,
    /// The caches that hear of blocks that are gone, also where this reads past them.
    pub(crate) forgets: Caches,
}

/// How long a question waits for memory before it fails.
const MEMORY_WAIT: Duration = Duration::from_secs(10);
/// Entries of columns that are decoded at once take so many of the budget's parts at the most.
const PIECE_SHARE: usize = 16;
/// Bytes that such an entry takes.
const ENTRY_BYTES: usize = 16;
/// Pieces of a row group that are at work at once, as far as memory is reserved for them.
pub const PIECES_AT_ONCE: usize = 2;

/// Part of a block, loaded.
#[derive(Debug)]
pub struct Scanned {
    /// The spans.
    pub batch: SpanBatch,
    /// Bytes that were fetched for it.
    pub bytes: u64,
    /// What it takes; to be kept as long as the spans are.
    pub memory: Reservation,
}

impl AsRef<SpanBatch> for Scanned {
    fn as_ref(&self) -> &SpanBatch {
        &self.batch
    }
}

/// A part of a row group that is to be loaded.
#[derive(Debug)]
pub struct Piece {
    reader: BlockReader,
    tenant: TenantId,
    meta: Arc<BlockMeta>,
    group: RowGroup,
    needs: Needs,
    hidden: Option<Arc<Hidden>>,
    /// Of all pieces of the row group together.
    _memory: Arc<Reservation>,
}

impl Piece {
    /// The rows of the row group that it has.
    pub fn rows(&self) -> Range<usize> {
        let first = self.group.first_row() as usize;
        first..first + self.group.rows()
    }

    /// Loads it and hands it to `work` on the same thread at once, so that no more pieces are in memory than there are
    /// threads. With the result come the bytes that were fetched.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read or is damaged.
    pub async fn map<T: Send + 'static>(
        self,
        work: impl FnOnce(SpanBatch) -> T + Send + 'static,
    ) -> Result<(T, u64), StoreError> {
        let Self { reader, tenant, meta, group, needs, hidden, _memory } = self;
        let mut work = Some(work);
        let step = move |group: &mut RowGroup| {
            Ok(match group.load(&needs)? {
                Read::Ready(batch) => {
                    Read::Ready(work.take().map(|work| work(without(hidden.as_deref(), batch))))
                }
                Read::NeedsRanges(ranges) => Read::NeedsRanges(ranges),
            })
        };
        match reader.ask(&tenant, &meta, group, step).await? {
            (Some(result), bytes) => Ok((result, bytes)),
            (None, _) => Err(reader.interrupted(&tenant, &meta)),
        }
    }
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

    /// Reserves bytes for a question, waiting for others to give some back.
    ///
    /// # Errors
    /// [`StoreError::Memory`].
    pub async fn reserve(&self, bytes: u64) -> Result<Reservation, StoreError> {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        Ok(self.memory.wait(MemoryUser::Queries, bytes, MEMORY_WAIT).await?)
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

    fn damaged(&self, tenant: &TenantId, block: Uuid, error: &ReadError) -> StoreError {
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
    async fn open_stored(&self, tenant: &TenantId, meta: &BlockMeta) -> Result<Arc<BlockFile>, StoreError> {
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

    /// Loads the spans of a row group, or of some of its traces, with what is needed of them. What is hidden is not there.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read or is damaged.
    pub async fn load(
        &self,
        tenant: &TenantId,
        meta: &BlockMeta,
        row_group: usize,
        rows: Option<Vec<u32>>,
        needs: &Needs,
    ) -> Result<Scanned, StoreError> {
        let Some(hidden) = self.hides(tenant, meta, row_group).await? else {
            return self.load_all(tenant, meta, row_group, rows, needs).await;
        };
        let loaded = self.load_all(tenant, meta, row_group, rows, &with_whole_traces(needs)).await?;
        let Scanned { batch, bytes, memory } = loaded;
        let batch = self.cpu.run(move || hidden.without(batch)).await;
        let batch = batch.ok_or_else(|| self.interrupted(tenant, meta))?;
        Ok(Scanned { batch, bytes, memory })
    }

    /// The same with what is hidden.
    pub(crate) async fn load_all(
        &self,
        tenant: &TenantId,
        meta: &BlockMeta,
        row_group: usize,
        rows: Option<Vec<u32>>,
        needs: &Needs,
    ) -> Result<Scanned, StoreError> {
        let file = self.open(tenant, meta).await?;
        let group = match rows {
            Some(rows) if self.store.is_remote() => RowGroup::with_rows(&file, row_group, rows).at_once(),
            Some(rows) => RowGroup::with_rows(&file, row_group, rows),
            None => RowGroup::new(&file, row_group),
        };
        let group = group.knowing(self.kept.ids(meta.block_id, row_group));
        let memory = self.memory_for(tenant, meta, &group, needs).await?;
        let needs = needs.clone();
        let (batch, bytes) = self.ask(tenant, meta, group, move |group| group.load(&needs)).await?;
        Ok(Scanned { batch, bytes, memory })
    }

    /// Reserves what loading this takes.
    async fn memory_for(
        &self,
        tenant: &TenantId,
        meta: &BlockMeta,
        group: &RowGroup,
        needs: &Needs,
    ) -> Result<Reservation, StoreError> {
        let sizes = group.memory(needs).map_err(|error| self.damaged(tenant, meta.block_id, &error));
        let (fetched, decoded) = sizes?;
        self.reserve(fetched.min(meta.size).saturating_add(decoded)).await
    }

    /// A row group in pieces, so that however large it is, little of it is decoded at once: about so many entries of
    /// columns, or fewer where there is little memory. The first one fetches most of what all of them need: load it before
    /// the others, and those [`PIECES_AT_ONCE`] at a time.
    ///
    /// # Errors
    /// [`StoreError`] when the footer cannot be read or is damaged.
    pub async fn pieces(
        &self,
        tenant: &TenantId,
        meta: &Arc<BlockMeta>,
        row_group: usize,
        needs: &Needs,
        entries_max: u64,
    ) -> Result<Vec<Piece>, StoreError> {
        let hidden = self.hides(tenant, meta, row_group).await?;
        let whole = hidden.as_ref().map(|_| with_whole_traces(needs));
        let needs = whole.as_ref().unwrap_or(needs);
        let ids = self.kept.ids(meta.block_id, row_group);
        let into_pieces = |file: &_| {
            let group = RowGroup::new(file, row_group).knowing(ids.clone());
            let sizes = group.memory(needs)?;
            let entries_max = entries_max.min((self.memory.limit() / PIECE_SHARE / ENTRY_BYTES) as u64);
            Ok((group.into_pieces(needs, entries_max)?, sizes))
        };
        let mut pieces = into_pieces(&self.open(tenant, meta).await?);
        if pieces.is_err() && self.cache.is_used() {
            pieces = into_pieces(&self.open_stored(tenant, meta).await?);
        }
        let (groups, (fetched, decoded)) =
            pieces.map_err(|error: ReadError| self.damaged(tenant, meta.block_id, &error))?;
        let at_once = PIECES_AT_ONCE.min(groups.len()) as u64;
        let decoded = decoded / (groups.len() as u64).max(1) * at_once;
        let memory = Arc::new(self.reserve(fetched.min(meta.size).saturating_add(decoded)).await?);
        let piece = |group: RowGroup| Piece {
            _memory: Arc::clone(&memory),
            reader: self.clone(),
            tenant: tenant.clone(),
            meta: Arc::clone(meta),
            group,
            needs: needs.clone(),
            hidden: hidden.clone(),
        };
        Ok(groups.into_iter().map(piece).collect())
    }

    /// Whether a row group may hold spans that meet all conditions of any of these lists.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read or is damaged.
    pub async fn may_match(
        &self,
        tenant: &TenantId,
        meta: &BlockMeta,
        row_group: usize,
        prunes: &[Vec<Prune>],
    ) -> Result<(bool, u64), StoreError> {
        // What is stored about a trace is not true of what is left of it.
        if prunes.iter().any(Vec::is_empty) || self.hides(tenant, meta, row_group).await?.is_some() {
            return Ok((true, 0));
        }
        let file = self.open(tenant, meta).await?;
        let group = RowGroup::new(&file, row_group);
        let prunes = prunes.to_vec();
        self.ask(tenant, meta, group, move |group| may_match(group, &prunes)).await
    }

    /// The rows of a row group whose traces have identifiers in any of these ranges, both ends included.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read or is damaged.
    pub async fn rows_of(
        &self,
        tenant: &TenantId,
        meta: &BlockMeta,
        row_group: usize,
        ids: Vec<(TraceId, TraceId)>,
    ) -> Result<(Vec<u32>, u64), StoreError> {
        let file = self.open(tenant, meta).await?;
        let group = RowGroup::new(&file, row_group).knowing(self.kept.ids(meta.block_id, row_group));
        self.ask(tenant, meta, group, move |group| group.rows_of(&ids)).await
    }

    /// What the columns of a row group say without a look at its spans, and the bytes that were fetched for it.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read or is damaged.
    pub async fn outline(
        &self,
        tenant: &TenantId,
        meta: &BlockMeta,
        row_group: usize,
        question: Outline,
    ) -> Result<(Outlined, u64), StoreError> {
        if self.hides(tenant, meta, row_group).await?.is_some() {
            return Ok((Outlined::Unknown, 0));
        }
        let file = self.open(tenant, meta).await?;
        let group = RowGroup::new(&file, row_group);
        self.ask(tenant, meta, group, move |group| group.outline(&question)).await
    }

    pub(crate) fn forget_kept(&self, block: Uuid) {
        self.kept.forget(block);
    }

    fn interrupted(&self, tenant: &TenantId, meta: &BlockMeta) -> StoreError {
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
    async fn ask<T: Send + 'static>(
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

    /// The ids of the traces of a row group, in the order of the rows, with those that are hidden.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read or is damaged.
    pub async fn trace_ids(
        &self,
        tenant: &TenantId,
        meta: &BlockMeta,
        row_group: usize,
    ) -> Result<Arc<Vec<TraceId>>, StoreError> {
        if let Some(ids) = self.kept.ids(meta.block_id, row_group) {
            return Ok(ids);
        }
        let loaded = self.load_all(tenant, meta, row_group, None, &Needs::default()).await?;
        let ids = Arc::new(loaded.batch.traces.ids().collect::<Vec<_>>());
        self.kept.keep_ids(meta.block_id, row_group, Arc::clone(&ids));
        Ok(ids)
    }

    /// All shards of a block's bloom filter. One that cannot be read is empty, and says "maybe".
    pub async fn blooms(&self, tenant: &TenantId, meta: &BlockMeta) -> Vec<Bytes> {
        let shards = if meta.bloom_shards == 0 { 10 } else { meta.bloom_shards };
        let mut filters = Vec::new();
        for shard in 0..shards {
            filters.push(self.bloom(tenant, meta, shard).await.unwrap_or_default());
        }
        filters
    }

    async fn bloom(&self, tenant: &TenantId, meta: &BlockMeta, shard: u32) -> Option<Bytes> {
        if let Some(filter) = self.kept.bloom(meta.block_id, shard) {
            return Some(filter);
        }
        let name = format!("bloom-{shard}");
        if let Some(filter) = self.cache.bloom(tenant, meta, &name).await {
            self.kept.keep_bloom(meta.block_id, shard, filter.clone());
            return Some(filter);
        }
        let path = self.store.path(tenant, meta.block_id, &name);
        match self.store.get(&path).await {
            Ok(filter) => {
                self.cache.keep_bloom(tenant, meta, &name, &filter);
                self.kept.keep_bloom(meta.block_id, shard, filter.clone());
                Some(filter)
            }
            Err(error) => {
                tracing::warn!(%error, "bloom filter cannot be read; the block is searched without it");
                None
            }
        }
    }

    /// Where traces are in a block: row group and rows, for those of `ids` (ascending) that are there.
    ///
    /// # Errors
    /// [`StoreError`] when the block cannot be read or is damaged.
    pub async fn locate(
        &self,
        tenant: &TenantId,
        meta: &BlockMeta,
        ids: &[TraceId],
    ) -> Result<Vec<(usize, Vec<u32>)>, StoreError> {
        let mut filters: HashMap<u32, Option<Bytes>> = HashMap::new();
        let mut maybe = Vec::new();
        for id in ids {
            let shard = bloom::shard_of_trace(*id, meta.bloom_shards);
            let filter = match filters.entry(shard) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => entry.insert(self.bloom(tenant, meta, shard).await),
            };
            // A filter that cannot be read says "maybe".
            if filter.as_ref().is_none_or(|filter| bloom::may_contain(filter, *id).unwrap_or(true)) {
                maybe.push(*id);
            }
        }
        if maybe.is_empty() {
            return Ok(Vec::new());
        }
        let file = self.open(tenant, meta).await?;
        let mut found = Vec::new();
        for row_group in 0..file.row_groups() {
            let stored = self.trace_ids(tenant, meta, row_group).await?;
            let mut rows: Vec<u32> = Vec::new();
            // Looked at once, and only when something is not where it should be.
            let is_sorted = std::cell::LazyCell::new(|| stored.is_sorted());
            for id in &maybe {
                // Tempo sorts rows by id; a row group that is not sorted is looked through.
                match stored.binary_search(id) {
                    Ok(row) => rows.push(row as u32),
                    Err(_) if *is_sorted => {}
                    Err(_) => rows.extend(stored.iter().position(|other| other == id).map(|row| row as u32)),
                }
            }
            rows.sort_unstable();
            if !rows.is_empty() {
                found.push((row_group, rows));
            }
        }
        Ok(found)
    }
}

impl BlockReader {
    /// The row groups of rows that an index of trace ids named: which traces are there shows when they are loaded. `None` when
    /// the block has fewer rows.
    ///
    /// # Errors
    /// [`StoreError`] when the block cannot be read or is damaged.
    pub async fn row_groups_of(
        &self,
        tenant: &TenantId,
        meta: &BlockMeta,
        rows: &[u32],
    ) -> Result<Option<Vec<(usize, Vec<u32>)>>, StoreError> {
        let file = self.open(tenant, meta).await?;
        let (mut found, mut start, mut rest) = (Vec::new(), 0_usize, rows);
        for row_group in 0..file.row_groups() {
            let end = start + file.rows(row_group);
            let (here, behind) = rest.split_at(rest.partition_point(|row| (*row as usize) < end));
            if !here.is_empty() {
                let in_group = here.iter().filter_map(|row| u32::try_from(*row as usize - start).ok());
                found.push((row_group, in_group.collect()));
            }
            (start, rest) = (end, behind);
        }
        Ok(rest.is_empty().then_some(found))
    }
}

fn without(hidden: Option<&Hidden>, batch: SpanBatch) -> SpanBatch {
    match hidden {
        Some(hidden) => hidden.without(batch),
        None => batch,
    }
}

/// Whether a row group may hold spans that meet all conditions of any of these lists.
fn may_match(group: &mut RowGroup, lists: &[Vec<Prune>]) -> Result<Read<bool>, ReadError> {
    for prunes in lists {
        match group.may_match(prunes)? {
            Read::Ready(false) => {}
            other => return Ok(other),
        }
    }
    Ok(Read::Ready(false))
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
