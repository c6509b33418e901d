//! Asks indexes where traces lie.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, stream};
use trackway_common::{TenantId, TraceId};
use uuid::Uuid;

use super::IdIndex;
use super::format::{self, Fingerprint, Head};
use crate::blocks::{BlockStore, StoreError};

/// Indexes that are read at once.
const READS_AT_ONCE: usize = 8;
/// Buckets that are read of an index at the most (768 KiB); when a trace may be in more, its blocks are asked.
const BUCKETS_MAX: usize = 128;

/// What indexes say.
#[derive(Debug, Default)]
pub struct Answered {
    /// Blocks that any of the indexes covers: what is not in `rows` has none of the traces.
    pub blocks: HashSet<Uuid>,
    /// Rows that may have one of the traces, ascending, counted through all row groups of the block.
    pub rows: HashMap<Uuid, Vec<u32>>,
}

impl BlockStore {
    /// Asks the indexes that cover any of `blocks` where traces may lie.
    pub async fn ask_id_indexes(
        &self,
        tenant: &TenantId,
        blocks: &HashSet<Uuid>,
        ids: &[TraceId],
    ) -> Answered {
        let (answered, gone) = self.ask_known(tenant, blocks, ids).await;
        if !gone {
            return answered;
        }
        // Another one took its place since the last look at the store.
        match self.list_id_indexes(tenant).await {
            Ok(()) => self.ask_known(tenant, blocks, ids).await.0,
            Err(error) => {
                tracing::warn!(%tenant, %error, "indexes of trace ids cannot be listed; blocks are asked one by one");
                answered
            }
        }
    }

    /// Asks those that are known. Returns with the answer whether any is not there any more.
    async fn ask_known(
        &self,
        tenant: &TenantId,
        blocks: &HashSet<Uuid>,
        ids: &[TraceId],
    ) -> (Answered, bool) {
        let indexes = self.id_indexes().usable(tenant);
        let heads = stream::iter(indexes).map(|index| async move {
            let head = self.id_index_head(tenant, &index).await;
            (index, head)
        });
        let heads: Vec<_> = heads.buffered(READS_AT_ONCE).collect().await;
        let (mut open, mut gone) = (Vec::new(), false);
        for (index, head) in heads {
            match head {
                Ok(head) => open.push((index, head)),
                Err(error) => gone |= self.id_indexes().failed(tenant, index.id, &error),
            }
        }
        let asked = stream::iter(chosen(open, blocks)).map(|(index, head)| async move {
            let rows = self.rows_in(tenant, &index, &head, ids).await;
            (index, head, rows)
        });
        let mut answered = Answered::default();
        let mut asked = asked.buffer_unordered(READS_AT_ONCE);
        while let Some((index, head, rows)) = asked.next().await {
            match rows {
                Ok(Some(rows)) => answered.add(&head, &rows, blocks),
                Ok(None) => {}
                Err(error) => gone |= self.id_indexes().failed(tenant, index.id, &error),
            }
        }
        answered.rows.values_mut().for_each(|rows| {
            rows.sort_unstable();
            rows.dedup();
        });
        (answered, gone)
    }

    /// Numbers of blocks and rows that may have one of the traces; `None` when there are too many to look at.
    async fn rows_in(
        &self,
        tenant: &TenantId,
        index: &IdIndex,
        head: &Head,
        ids: &[TraceId],
    ) -> Result<Option<Vec<(u16, u32)>>, StoreError> {
        let filter = self.id_indexes().filters.lock().get(&index.id).cloned();
        let wanted: Vec<Fingerprint> = ids.iter().map(|id| Fingerprint::of(*id)).collect();
        let may = |fingerprint: &Fingerprint| {
            filter.as_ref().is_none_or(|filter| format::may_contain(filter, *fingerprint))
        };
        let wanted: Vec<Fingerprint> = wanted.into_iter().filter(may).collect();
        let mut buckets: Vec<usize> = wanted
            .iter()
            .flat_map(|fingerprint| head.buckets_of(*fingerprint))
            .take(BUCKETS_MAX + 1)
            .collect();
        if buckets.len() > BUCKETS_MAX {
            return Ok(None);
        }
        buckets.sort_unstable();
        buckets.dedup();
        let mut found = Vec::new();
        for bytes in self.buckets(tenant, index, head, &buckets).await? {
            let fits = format::entries(&bytes).filter(|entry| wanted.contains(&entry.fingerprint()));
            found.extend(fits.map(|entry| (entry.block(), entry.row())));
        }
        Ok(Some(found))
    }

    async fn buckets(
        &self,
        tenant: &TenantId,
        index: &IdIndex,
        head: &Head,
        buckets: &[usize],
    ) -> Result<Vec<Bytes>, StoreError> {
        let cache = &self.id_indexes().buckets;
        let known = buckets.iter().map(|bucket| (*bucket, cache.get(&(index.id, *bucket))));
        let (known, missing): (Vec<_>, Vec<_>) = known.partition(|(_, bytes)| bytes.is_some());
        let mut all: Vec<Bytes> = known.into_iter().filter_map(|(_, bytes)| bytes).collect();
        if missing.is_empty() {
            return Ok(all);
        }
        let ranges: Vec<_> = missing.iter().map(|(bucket, _)| head.range(*bucket)).collect();
        let parts = self.id_index_ranges(tenant, index.id, &ranges).await?;
        for ((bucket, _), bytes) in missing.into_iter().zip(parts) {
            if !head.is_bucket(bucket, &bytes) {
                return Err(self.damaged_index(tenant, index.id, "the checksum of a bucket is wrong"));
            }
            // Several may have come as one.
            let bytes = Bytes::copy_from_slice(&bytes);
            cache.insert((index.id, bucket), bytes.clone());
            all.push(bytes);
        }
        Ok(all)
    }
}

/// The fewest of these that cover what all of them cover, as far as that is easily found.
fn chosen(mut open: Vec<(IdIndex, Arc<Head>)>, blocks: &HashSet<Uuid>) -> Vec<(IdIndex, Arc<Head>)> {
    let live = |head: &Head| head.blocks.iter().filter(|block| blocks.contains(block)).count();
    open.sort_by_cached_key(|(index, head)| (Reverse(live(head)), index.id));
    let mut covered: HashSet<Uuid> = HashSet::new();
    open.retain(|(_, head)| {
        let before = covered.len();
        covered.extend(head.blocks.iter().filter(|block| blocks.contains(block)));
        covered.len() > before
    });
    open
}

impl Answered {
    fn add(&mut self, head: &Head, rows: &[(u16, u32)], blocks: &HashSet<Uuid>) {
        self.blocks.extend(head.blocks.iter().filter(|block| blocks.contains(block)));
        for (number, row) in rows {
            if let Some(block) = head.blocks.get(usize::from(*number)).filter(|block| blocks.contains(block))
            {
                self.rows.entry(*block).or_default().push(*row);
            }
        }
    }
}
