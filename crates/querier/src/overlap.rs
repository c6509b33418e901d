//! Which traces of a view's blocks have spans in other places too. Only those are joined before they are judged; all
//! others are judged where they lie.

use std::collections::HashMap;
use std::sync::Arc;

use futures::{StreamExt, stream};
use parking_lot::Mutex;
use tokio::sync::OnceCell;
use trackway_common::{TenantId, TraceId};
use trackway_spans::{Columns, Needs, SpanBatch, copied_among};
use uuid::Uuid;

use crate::fragments::{READS_AT_ONCE, Source};
use crate::tally::Tally;

/// Tenants whose overlap is kept.
const TENANTS_MAX: usize = 64;

/// Trace ids that are looked through and kept of a tenant, 16 bytes each. Of a tenant with more, those of the newest
/// blocks are: fragments of one trace that lie in older ones are judged each for itself.
const IDS_MAX: u64 = 4 << 20;

/// Traces whose copies are looked for together.
const COMPARED_AT_ONCE: usize = 8 * 1024;

/// Traces that lie in a block and in another place.
#[derive(Debug, Default)]
pub(crate) struct Overlap {
    /// All of them, sorted.
    ids: Vec<TraceId>,
    /// Those of which a part lies in live data.
    live: Vec<TraceId>,
    /// Those whose parts lie all in blocks; nothing where this is about blocks alone.
    stored: Option<Arc<Self>>,
    copied: OnceCell<Arc<Vec<TraceId>>>,
}

impl Overlap {
    /// Sorted.
    pub(crate) fn ids(&self) -> &[TraceId] {
        &self.ids
    }

    /// Those that have a span in several places: copies that count once. Sorted. Found out when it is first asked, and
    /// kept if everything could be read.
    pub(crate) async fn copied(&self, source: &Source, tally: &Tally) -> Arc<Vec<TraceId>> {
        if let Some(known) = self.copied.get() {
            return Arc::clone(known);
        }
        let before = tally.skipped();
        let copied = match &self.stored {
            None => copies(source, &self.ids, tally).await,
            Some(stored) => {
                let mut all = copies(source, &self.live, tally).await;
                all.extend_from_slice(&Box::pin(stored.copied(source, tally)).await);
                all.sort_unstable();
                all.dedup();
                all
            }
        };
        let copied = Arc::new(copied);
        if tally.skipped() == before {
            // Somebody else may have been faster, with the same.
            let _ = self.copied.set(Arc::clone(&copied));
        }
        copied
    }

    /// Which of these lie elsewhere too; `None` when none does.
    pub(crate) fn rows(&self, ids: impl Iterator<Item = TraceId>) -> Option<Vec<bool>> {
        rows_among(&self.ids, ids)
    }
}

/// Which of these are among others, which are sorted; `None` when none is.
pub(crate) fn rows_among(sorted: &[TraceId], ids: impl Iterator<Item = TraceId>) -> Option<Vec<bool>> {
    if sorted.is_empty() {
        return None;
    }
    let rows: Vec<bool> = ids.map(|id| sorted.binary_search(&id).is_ok()).collect();
    rows.contains(&true).then_some(rows)
}

/// Of these traces (sorted) those that have a span in several places.
async fn copies(source: &Source, ids: &[TraceId], tally: &Tally) -> Vec<TraceId> {
    let mut needs = Needs::default();
    for columns in
        [Columns::ID, Columns::PARENT, Columns::NAME, Columns::KIND, Columns::START, Columns::DURATION]
    {
        needs.add(columns);
    }
    let mut copied = Vec::new();
    for ids in ids.chunks(COMPARED_AT_ONCE) {
        let places = source.locate(ids, |_| false, tally).await;
        let live = source.load_chunks(places.chunks, tally).await;
        let stored = source.load_rows(places.rows, &needs, tally).await;
        let ids = ids.to_vec();
        let compare = move || {
            let batches: Vec<&SpanBatch> = live.iter().map(AsRef::as_ref).chain(stored.iter()).collect();
            copied_among(&batches, &ids)
        };
        copied.extend(source.reader.cpu().run(compare).await.unwrap_or_default());
    }
    copied
}

/// What was found out last, by tenant. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct OverlapCache(Arc<Mutex<HashMap<TenantId, Known>>>);

#[derive(Clone, Debug)]
struct Known {
    blocks: Vec<Uuid>,
    chunks: Vec<u64>,
    /// Of all blocks, sorted; those that are in several stand there as often.
    ids: Arc<Vec<TraceId>>,
    stored: Arc<Overlap>,
    overlap: Arc<Overlap>,
}

impl OverlapCache {
    /// The overlap of a view. Blocks whose trace ids cannot be read are told to the tally, and taken for apart.
    pub(crate) async fn of(&self, source: &Source, tally: &Tally) -> Arc<Overlap> {
        let blocks: Vec<Uuid> = source.view.blocks.iter().map(|entry| entry.meta.block_id).collect();
        let chunks: Vec<u64> = source.view.chunks.iter().map(|chunk| chunk.id).collect();
        let before = tally.skipped();
        let known = self.0.lock().get(&source.tenant).cloned().filter(|known| known.blocks == blocks);
        if let Some(known) = &known
            && known.chunks == chunks
        {
            return Arc::clone(&known.overlap);
        }
        let (ids, stored) = match known {
            Some(known) => (known.ids, known.stored),
            None => {
                let ids = stored_ids(source, tally).await;
                let repeated = ids.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]);
                let mut repeated: Vec<TraceId> = repeated.collect();
                repeated.dedup();
                (Arc::new(ids), Arc::new(Overlap { ids: repeated, ..Overlap::default() }))
            }
        };
        let (view, sorted) = (source.view.clone(), Arc::clone(&ids));
        let compute = move || {
            let is_stored = |id: &TraceId| sorted.binary_search(id).is_ok();
            let live = view.chunks.iter().flat_map(|chunk| chunk.ids.iter().copied());
            let mut live: Vec<TraceId> =
                if sorted.is_empty() { Vec::new() } else { live.filter(is_stored).collect() };
            live.sort_unstable();
            live.dedup();
            live
        };
        let live = source.reader.cpu().run(compute).await.unwrap_or_default();
        let overlap = if live.is_empty() {
            Arc::clone(&stored)
        } else {
            let mut all: Vec<TraceId> = stored.ids.iter().chain(&live).copied().collect();
            all.sort_unstable();
            all.dedup();
            let (stored, copied) = (Some(Arc::clone(&stored)), OnceCell::new());
            Arc::new(Overlap { ids: all, live, stored, copied })
        };
        if tally.skipped() > before {
            return overlap; // what could not be read now may be readable the next time
        }
        let mut all = self.0.lock();
        if all.len() >= TENANTS_MAX {
            all.clear();
        }
        all.insert(
            source.tenant.clone(),
            Known { blocks, chunks, ids, stored, overlap: Arc::clone(&overlap) },
        );
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
