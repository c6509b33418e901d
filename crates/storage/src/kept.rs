//! What is kept of blocks in memory, taken apart already: footers, bloom filters, trace ids. All of it can be read again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use moka::sync::Cache;
use trackway_common::{MemoryPool, MemoryUser, TraceId};
use trackway_vparquet::BlockFile;
use uuid::Uuid;

use crate::ids::IdIndexes;

/// Footers take so many of the budget's parts at the most, bloom filters and trace ids each a quarter of that.
const FOOTER_SHARE: usize = 16;
/// And not more than this, however large the budget is.
const FOOTER_BYTES_MAX: usize = 128 << 20;

/// What is kept. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    memory: MemoryPool,
    files: Cache<Uuid, Arc<BlockFile>>,
    blooms: Cache<(Uuid, u32), Bytes>,
    ids: Cache<(Uuid, usize), Arc<Vec<TraceId>>>,
    /// Of traces in many blocks.
    indexes: Arc<IdIndexes>,
    /// What the pool was told last.
    told: Arc<AtomicUsize>,
}

fn weight(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

impl Kept {
    /// Nothing yet. What is kept is counted in this budget, and given up when others need it.
    pub(crate) fn new(memory: MemoryPool, indexes: Arc<IdIndexes>) -> Self {
        let most = (memory.limit() / FOOTER_SHARE).min(FOOTER_BYTES_MAX);
        let part = (most / 4) as u64;
        indexes.keep_filters_within(most);
        let file = |_: &Uuid, file: &Arc<BlockFile>| weight(file.memory_size());
        let bloom = |_: &(Uuid, u32), bytes: &Bytes| weight(bytes.len());
        let ids = |_: &(Uuid, usize), ids: &Arc<Vec<TraceId>>| weight(ids.len() * size_of::<TraceId>());
        let kept = Self {
            files: Cache::builder().max_capacity(most as u64).weigher(file).build(),
            blooms: Cache::builder().max_capacity(part).weigher(bloom).build(),
            ids: Cache::builder().max_capacity(part).weigher(ids).build(),
            indexes: Arc::clone(&indexes),
            told: Arc::default(),
            memory: memory.clone(),
        };
        let (files, blooms, ids) = (kept.files.clone(), kept.blooms.clone(), kept.ids.clone());
        let told = Arc::clone(&kept.told);
        memory.add_cache(Box::new(move |pool, _| {
            files.invalidate_all();
            blooms.invalidate_all();
            ids.invalidate_all();
            // They only say so at first.
            files.run_pending_tasks();
            blooms.run_pending_tasks();
            ids.run_pending_tasks();
            indexes.give_up();
            pool.change(MemoryUser::Caches, told.swap(0, Ordering::AcqRel), 0);
        }));
        kept
    }

    /// Keeps nothing.
    pub(crate) fn nothing() -> Self {
        Self {
            memory: MemoryPool::unlimited(),
            files: Cache::new(0),
            blooms: Cache::new(0),
            ids: Cache::new(0),
            indexes: Arc::default(),
            told: Arc::default(),
        }
    }

    pub(crate) fn file(&self, block: Uuid) -> Option<Arc<BlockFile>> {
        self.files.get(&block)
    }

    /// Keeps a footer. It counts for as long as anybody has it, also when it is not kept any more.
    pub(crate) fn keep_file(&self, block: Uuid, file: Arc<BlockFile>) {
        file.counts(self.memory.take(MemoryUser::Caches, file.memory_size()));
        self.files.insert(block, file);
    }

    pub(crate) fn bloom(&self, block: Uuid, shard: u32) -> Option<Bytes> {
        self.blooms.get(&(block, shard))
    }

    pub(crate) fn keep_bloom(&self, block: Uuid, shard: u32, filter: Bytes) {
        self.blooms.insert((block, shard), filter);
        self.tell();
    }

    pub(crate) fn ids(&self, block: Uuid, row_group: usize) -> Option<Arc<Vec<TraceId>>> {
        self.ids.get(&(block, row_group))
    }

    pub(crate) fn keep_ids(&self, block: Uuid, row_group: usize, ids: Arc<Vec<TraceId>>) {
        self.ids.insert((block, row_group), ids);
        self.tell();
    }

    /// Lets go of what is kept of a block.
    pub(crate) fn forget(&self, block: Uuid) {
        self.files.invalidate(&block);
        for key in self.blooms.iter().map(|(key, _)| *key).filter(|key| key.0 == block) {
            self.blooms.invalidate(&key);
        }
        for key in self.ids.iter().map(|(key, _)| *key).filter(|key| key.0 == block) {
            self.ids.invalidate(&key);
        }
        self.tell();
    }

    /// Tells the pool how much there is beside footers. It lags behind a little: the caches count in batches.
    fn tell(&self) {
        let bytes = self.blooms.weighted_size() + self.ids.weighted_size();
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX).saturating_add(self.indexes.bytes());
        self.memory.change(MemoryUser::Caches, self.told.swap(bytes, Ordering::AcqRel), bytes);
    }
}
