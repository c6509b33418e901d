//! Which traces of a view's blocks have spans in other places too. Only those are joined before they are judged; all
//! others are judged where they lie.

use std::collections::HashMap;
use std::sync::Arc;

use futures::{StreamExt, stream};
use parking_lot::Mutex;
use trackway_common::{TenantId, TraceId};
use uuid::Uuid;

use crate::fragments::{READS_AT_ONCE, Source};
use crate::tally::Tally;

/// Tenants whose overlap is kept.
const TENANTS_MAX: usize = 64;

/// Trace ids that are looked through and kept of a tenant, 16 bytes each. Of a tenant with more, those of the newest
/// blocks are: fragments of one trace that lie in older ones are judged each for itself.
const IDS_MAX: u64 = 4 << 20;

/// Traces that lie in a block and in another place.
#[derive(Debug, Default)]
pub(crate) struct Overlap {
    /// Sorted.
    ids: Vec<TraceId>,
}

impl Overlap {
    /// Sorted.
    pub(crate) fn ids(&self) -> &[TraceId] {
        &self.ids
    }

    pub(crate) fn holds(&self, id: TraceId) -> bool {
        self.ids.binary_search(&id).is_ok()
    }

    /// Which of these lie elsewhere too; `None` when none does.
    pub(crate) fn rows(&self, ids: impl Iterator<Item = TraceId>) -> Option<Vec<bool>> {
        if self.ids.is_empty() {
            return None;
        }
        let rows: Vec<bool> = ids.map(|id| self.holds(id)).collect();
        rows.contains(&true).then_some(rows)
    }
}

/// What was found out last, by tenant. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct OverlapCache(Arc<Mutex<HashMap<TenantId, Known>>>);

#[derive(Clone, Debug)]
struct Known {
    blocks: Vec<Uuid>,
    chunks: Vec<u64>,
    /// Of all blocks, sorted; those that are in several stand there as often.
    stored: Arc<Vec<TraceId>>,
    overlap: Arc<Overlap>,
}

impl OverlapCache {
    /// The overlap of a view. Blocks whose trace ids cannot be read are told to the tally, and taken for apart.
    pub(crate) async fn of(&self, source: &Source, tally: &Tally) -> Arc<Overlap> {
        let blocks: Vec<Uuid> = source.view.blocks.iter().map(|entry| entry.meta.block_id).collect();
        let chunks: Vec<u64> = source.view.chunks.iter().map(|chunk| chunk.id).collect();
        let known = self.0.lock().get(&source.tenant).cloned().filter(|known| known.blocks == blocks);
        if let Some(known) = &known
            && known.chunks == chunks
        {
            return Arc::clone(&known.overlap);
        }
        let stored = match known {
            Some(known) => known.stored,
            None => Arc::new(stored_ids(source, tally).await),
        };
        let (view, sorted) = (source.view.clone(), Arc::clone(&stored));
        let compute = move || {
            let mut ids: Vec<TraceId> =
                sorted.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
            for chunk in &view.chunks {
                let is_stored = |id: &&TraceId| sorted.binary_search(id).is_ok();
                if !sorted.is_empty() {
                    ids.extend(chunk.ids.iter().filter(is_stored));
                }
            }
            ids.sort_unstable();
            ids.dedup();
            ids
        };
        let ids = source.reader.cpu().run(compute).await.unwrap_or_default();
        let overlap = Arc::new(Overlap { ids });
        let mut all = self.0.lock();
        if all.len() >= TENANTS_MAX {
            all.clear();
        }
        all.insert(source.tenant.clone(), Known { blocks, chunks, stored, overlap: Arc::clone(&overlap) });
        overlap
    }
}

/// The ids of all traces of all blocks, sorted, each as often as there are row groups with it.
async fn stored_ids(source: &Source, tally: &Tally) -> Vec<TraceId> {
    let mut newest: Vec<usize> = (0..source.view.blocks.len()).collect();
    newest.sort_by_key(|block| std::cmp::Reverse(source.meta(*block).end_time));
    let mut traces = 0;
    newest.retain(|block| {
        traces += source.meta(*block).total_objects;
        traces <= IDS_MAX
    });
    let parts = stream::iter(newest).map(|block| async move {
        let (tenant, meta) = (&source.tenant, source.meta(block));
        let row_groups = source.reader.open(tenant, meta).await?.row_groups();
        let mut ids = Vec::new();
        for row_group in 0..row_groups {
            ids.push(source.reader.trace_ids(tenant, meta, row_group).await?);
        }
        Ok(ids)
    });
    let mut parts = parts.buffer_unordered(READS_AT_ONCE);
    let mut all = Vec::new();
    while let Some(part) = parts.next().await {
        match part {
            Ok(lists) => all.extend(lists),
            Err(error) => tally.skip(&error),
        }
    }
    let sort = move || {
        let mut ids: Vec<TraceId> = all.iter().flat_map(|list| list.iter().copied()).collect();
        ids.sort_unstable();
        ids
    };
    source.reader.cpu().run(sort).await.unwrap_or_default()
}
