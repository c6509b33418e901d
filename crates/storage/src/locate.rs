//! Where traces are in a block: by its bloom filter and the trace ids of its row groups, or by rows that an index named.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use bytes::Bytes;
use trackway_common::{TenantId, TraceId};
use trackway_vparquet::bloom;
use trackway_vparquet::meta::BlockMeta;

use crate::blocks::StoreError;
use crate::reader::BlockReader;

impl BlockReader {
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
