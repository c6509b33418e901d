//! Which traces of a view's blocks have spans in other places too. Only those are joined before they are judged; all
//! others are judged where they lie.

use std::collections::HashMap;
use std::sync::Arc;

use futures::{StreamExt, stream};
use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, OnceCell};
use trackway_common::{MemoryPool, MemoryUser, TenantId, TraceId};
use trackway_engine::whole_trace_needs;
use trackway_ingester::View;
use trackway_spans::{Columns, Needs, TraceFacts, copied_among};
use uuid::Uuid;

use crate::fragments::{READS_AT_ONCE, Source, with_places};
use crate::tally::Tally;

/// Tenants whose overlap is kept.
const TENANTS_MAX: usize = 64;

/// Trace ids that are looked through and kept of a tenant, twice 16 bytes each: by block, so that only new blocks are read,
/// and all together. Of a tenant with more, those of the newest blocks are: fragments of one trace that lie in older ones
/// are judged each for itself.
const IDS_MAX: u64 = 4 << 20;

/// And not more than so many of the budget's parts.
const IDS_SHARE: usize = 8;

/// Traces whose copies are looked for together.
const COMPARED_AT_ONCE: usize = 8 * 1024;

/// Traces that lie in a block and in another place.
#[derive(Debug, Default)]
pub(crate) struct Overlap {
    /// All of them, sorted.
    ids: Arc<Vec<TraceId>>,
    /// Those of which a part lies in live data.
    live: Vec<TraceId>,
    /// Those whose parts lie all in blocks; nothing where this is about blocks alone.
    stored: Option<Arc<Self>>,
    /// The trace ids of the blocks.
    lists: Lists,
    copied: OnceCell<Arc<Vec<TraceId>>>,
    facts: OnceCell<Arc<TraceFacts>>,
}

impl Overlap {
    /// Sorted.
    pub(crate) fn ids(&self) -> Arc<Vec<TraceId>> {
        Arc::clone(&self.ids)
    }

    /// Those of some traces that lie in a block; `None` when it is not known which lie there.
    pub(crate) fn among_those_of(&self, block: Uuid, ids: &[TraceId]) -> Option<Vec<TraceId>> {
        let lists = self.lists.get(&block)?;
        let lies_there = |id: &&TraceId| lists.iter().any(|list| list.binary_search(id).is_ok());
        Some(ids.iter().filter(lies_there).copied().collect())
    }

    pub(crate) fn holds(&self, id: TraceId) -> bool {
        self.ids.binary_search(&id).is_ok()
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

    /// Extents and roots of all of them: in lists, of which a later one has the last word on a trace. Found out when they
    /// are first asked for, and kept if everything could be read.
    pub(crate) async fn facts(&self, source: &Source, tally: &Tally) -> Vec<Arc<TraceFacts>> {
        let (mut all, ids) = match &self.stored {
            None => (Vec::new(), &*self.ids),
            Some(stored) => (Box::pin(stored.facts(source, tally)).await, &self.live),
        };
        if let Some(known) = self.facts.get() {
            all.push(Arc::clone(known));
            return all;
        }
        let before = tally.skipped();
        let facts = Arc::new(facts(source, ids, tally).await);
        if tally.skipped() == before {
            // Somebody else may have been faster, with the same.
            let _ = self.facts.set(Arc::clone(&facts));
        }
        all.push(facts);
        all
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
        let compare = move || with_places(&live, &stored, |places| copied_among(places, &ids));
        match source.on_cpu(compare).await {
            Ok(found) => copied.extend(found),
            Err(error) => tally.skip(&error),
        }
    }
    copied
}

/// Extents and roots of these traces (sorted).
async fn facts(source: &Source, ids: &[TraceId], tally: &Tally) -> TraceFacts {
    let needs = whole_trace_needs();
    let mut facts = TraceFacts::default();
    for ids in ids.chunks(COMPARED_AT_ONCE) {
        let places = source.locate(ids, |_| false, tally).await;
        match source.join(ids.to_vec(), places, &needs, tally).await {
            Ok(joined) => facts.add(&joined.batch),
            Err(error) => tally.skip(&error),
        }
    }
    facts
}

/// What was found out last, by tenant. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct OverlapCache {
    known: Arc<Mutex<AllKnown>>,
    memory: MemoryPool,
    /// Held by the question that reads trace ids; others of the tenant wait for what it finds.
    reading: Arc<Mutex<HashMap<TenantId, Arc<AsyncMutex<()>>>>>,
}

/// What is known of all tenants, and how many bytes of the budget it takes.
#[derive(Debug, Default)]
struct AllKnown {
    of: HashMap<TenantId, Known>,
    bytes: usize,
}

impl AllKnown {
    fn recount(&mut self, memory: &MemoryPool) {
        let bytes = self.of.values().map(Known::bytes).sum();
        memory.change(MemoryUser::Caches, std::mem::replace(&mut self.bytes, bytes), bytes);
    }
}

/// The trace ids of each row group of blocks.
type Lists = Arc<HashMap<Uuid, Vec<Arc<Vec<TraceId>>>>>;

#[derive(Clone, Debug)]
struct Known {
    blocks: Vec<Uuid>,
    chunks: Vec<u64>,
    /// Of what is hidden.
    redactions: u64,
    lists: Lists,
    /// Of all blocks, sorted; those that are in several stand there as often.
    ids: Arc<Vec<TraceId>>,
    stored: Arc<Overlap>,
    overlap: Arc<Overlap>,
}

impl Known {
    fn bytes(&self) -> usize {
        let lists = self.lists.values().flatten().map(|ids| ids.len()).sum::<usize>();
        (lists + self.ids.len() + self.stored.ids.len() + self.overlap.ids.len()) * size_of::<TraceId>()
    }
}

impl OverlapCache {
    /// One that gives way when others need the memory.
    pub(crate) fn new(memory: MemoryPool) -> Self {
        let known: Arc<Mutex<AllKnown>> = Arc::default();
        let cache = Arc::clone(&known);
        memory.add_cache(Box::new(move |pool, _| {
            // Who holds it is about to count anew.
            if let Some(mut all) = cache.try_lock() {
                all.of.clear();
                all.recount(pool);
            }
        }));
        Self { known, memory, reading: Arc::default() }
    }

    /// The overlap of a view. Blocks whose trace ids cannot be read are told to the tally, and taken for apart.
    pub(crate) async fn of(&self, source: &Source, tally: &Tally) -> Arc<Overlap> {
        let blocks: Vec<Uuid> = source.view.blocks.iter().map(|entry| entry.meta.block_id).collect();
        let chunks: Vec<u64> = source.view.chunks.iter().map(|chunk| chunk.id).collect();
        let redactions = source.reader.redactions_version(&source.tenant);
        let same = |known: &Known| known.blocks == blocks && known.redactions == redactions;
        let before = tally.skipped();
        let mut known = self.known.lock().of.get(&source.tenant).cloned();
        let reading = self.reading(&source.tenant);
        let mut turn = None;
        if known.as_ref().is_none_or(|known| !same(known)) {
            turn = Some(reading.lock().await);
            known = self.known.lock().of.get(&source.tenant).cloned();
        }
        if let Some(known) = known.as_ref().filter(|known| same(known) && known.chunks == chunks) {
            return Arc::clone(&known.overlap);
        }
        let (lists, ids, stored) = match known {
            Some(known) if same(&known) => (known.lists, known.ids, known.stored),
            known => {
                let known = known.map(|known| known.lists).unwrap_or_default();
                let ids_max =
                    IDS_MAX.min((self.memory.limit() / IDS_SHARE / (2 * size_of::<TraceId>())) as u64);
                let lists = Arc::new(lists(source, &known, ids_max, tally).await);
                let (ids, stored) = repeated(source, &lists, tally).await;
                (lists, ids, stored)
            }
        };
        let (view, sorted, of_blocks) = (source.view.clone(), Arc::clone(&ids), Arc::clone(&stored));
        let with_live = move || of_view(&view, &sorted, of_blocks);
        let overlap = source.on_cpu(with_live).await.unwrap_or_else(|error| {
            tally.skip(&error);
            Arc::clone(&stored)
        });
        if tally.skipped() > before {
            return overlap; // what could not be read now may be readable the next time
        }
        let mut all = self.known.lock();
        if all.of.len() >= TENANTS_MAX {
            all.of.clear();
        }
        let known = Known { blocks, chunks, redactions, lists, ids, stored, overlap: Arc::clone(&overlap) };
        all.of.insert(source.tenant.clone(), known);
        all.recount(&self.memory);
        drop(turn);
        overlap
    }

    fn reading(&self, tenant: &TenantId) -> Arc<AsyncMutex<()>> {
        let mut all = self.reading.lock();
        if all.len() >= TENANTS_MAX {
            all.retain(|_, turn| Arc::strong_count(turn) > 1);
        }
        Arc::clone(all.entry(tenant.clone()).or_default())
    }
}

/// The overlap of blocks and live data; that of the blocks alone where no live trace lies in a block. `ids` are those of
/// the blocks, sorted.
fn of_view(view: &View, ids: &[TraceId], stored: Arc<Overlap>) -> Arc<Overlap> {
    if ids.is_empty() {
        return stored;
    }
    let live = view.chunks.iter().flat_map(|chunk| chunk.ids.iter().copied());
    let mut live: Vec<TraceId> = live.filter(|id| ids.binary_search(id).is_ok()).collect();
    if live.is_empty() {
        return stored;
    }
    live.sort_unstable();
    live.dedup();
    let mut all: Vec<TraceId> = stored.ids.iter().chain(&live).copied().collect();
    all.sort_unstable();
    all.dedup();
    let lists = Arc::clone(&stored.lists);
    Arc::new(Overlap { ids: Arc::new(all), live, stored: Some(stored), lists, ..Overlap::default() })
}

/// The trace ids of the blocks of a view, of the newest ones first until there are too many. What is known already is not
/// read again.
async fn lists(
    source: &Source,
    known: &Lists,
    ids_max: u64,
    tally: &Tally,
) -> HashMap<Uuid, Vec<Arc<Vec<TraceId>>>> {
    let mut newest: Vec<usize> = (0..source.view.blocks.len()).collect();
    newest.sort_by_key(|block| std::cmp::Reverse(source.meta(*block).end_time));
    let mut traces = 0;
    newest.retain(|block| {
        traces += source.meta(*block).total_objects;
        traces <= ids_max
    });
    let parts = stream::iter(newest).map(|block| async move {
        let (tenant, meta) = (&source.tenant, source.meta(block));
        if let Some(lists) = known.get(&meta.block_id) {
            return Ok((meta.block_id, lists.clone()));
        }
        let row_groups = source.reader.open(tenant, meta).await?.row_groups();
        let mut ids = Vec::new();
        for row_group in 0..row_groups {
            ids.push(source.reader.trace_ids(tenant, meta, row_group).await?);
        }
        Ok((meta.block_id, ids))
    });
    let mut parts = parts.buffer_unordered(READS_AT_ONCE);
    let mut all = HashMap::new();
    while let Some(part) = parts.next().await {
        match part {
            Ok((block, lists)) => drop(all.insert(block, lists)),
            Err(error) => tally.skip(&error),
        }
    }
    all
}

/// All ids of these lists, sorted, each as often as there are row groups with it. With them the overlap that those make
/// that stand there several times, and those of which some spans are hidden: what is stored about the whole trace is not
/// true of what is left, so they are joined, too.
async fn repeated(source: &Source, lists: &Lists, tally: &Tally) -> (Arc<Vec<TraceId>>, Arc<Overlap>) {
    let (lists, of_overlap) = (Arc::clone(lists), Arc::clone(lists));
    let hidden = source.reader.hidden(&source.tenant);
    let sort = move || {
        let all = lists.values().flatten().flat_map(|list| list.iter().copied());
        let mut ids: Vec<TraceId> = all.collect();
        // Sorted runs, one behind the other: the stable sort merges them.
        ids.sort();
        let pairs = ids.windows(2).filter(|pair| pair[0] == pair[1]);
        let mut repeated: Vec<TraceId> = pairs.map(|pair| pair[0]).collect();
        if let Some(hidden) = hidden {
            repeated.extend(hidden.partial());
            repeated.sort_unstable();
        }
        repeated.dedup();
        let overlap = Overlap { ids: Arc::new(repeated), lists: of_overlap, ..Overlap::default() };
        (Arc::new(ids), Arc::new(overlap))
    };
    source.on_cpu(sort).await.unwrap_or_else(|error| {
        tally.skip(&error);
        <_>::default()
    })
}
