//! Finds and joins the spans of given traces, wherever they lie.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use futures::{StreamExt, stream};
use trackway_common::{TenantId, TraceId};
use trackway_engine::complete_traces;
use trackway_ingester::{Chunk, View};
use trackway_spans::{Needs, Prune, SpanBatch, merge_places, trace_ids_of};
use trackway_storage::ids::Answered;
use trackway_storage::{BlockReader, PIECES_AT_ONCE, Piece, Scanned, StoreError};
use trackway_vparquet::meta::BlockMeta;

use crate::live::{Live, loaded};
use crate::tally::Tally;

/// Parts of blocks that are read at once.
pub(crate) const READS_AT_ONCE: usize = 8;

/// Entries of columns of a row group that are decoded at once, at some ten bytes each.
const PIECE_ENTRIES: u64 = 5 << 20;

/// Traces at the most for which indexes of trace ids are asked. Whoever looks for many finds some of them in most blocks,
/// whose trace ids are known by then.
const INDEXED_IDS_MAX: usize = 16;

const SECOND: u64 = 1_000_000_000;

/// A time of a `meta.json` as Unix nanoseconds.
pub(crate) fn nanos(time: jiff::Timestamp) -> u64 {
    u64::try_from(time.as_nanosecond()).unwrap_or(0)
}

/// A tenant's data, as one question sees it.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) tenant: TenantId,
    pub(crate) view: View,
    pub(crate) reader: BlockReader,
}

/// Rows of a row group of a block.
#[derive(Clone, Debug)]
pub(crate) struct Rows {
    pub(crate) block: usize,
    pub(crate) row_group: usize,
    pub(crate) rows: Vec<u32>,
}

/// The rows of a row group that a batch has.
#[derive(Clone, Debug)]
pub(crate) enum PieceRows {
    Range(Range<usize>),
    /// Ascending.
    Picked(Vec<u32>),
}

impl PieceRows {
    /// The row of the row group that is this one of the batch.
    pub(crate) fn row(&self, at: u32) -> Option<u32> {
        match self {
            Self::Range(rows) => u32::try_from(rows.start).ok()?.checked_add(at),
            Self::Picked(rows) => rows.get(at as usize).copied(),
        }
    }

    /// What a list for the whole row group says about the rows of the batch.
    pub(crate) fn of<'l>(&self, all: &'l [bool]) -> Option<std::borrow::Cow<'l, [bool]>> {
        match self {
            Self::Range(rows) => all.get(rows.clone()).map(Into::into),
            Self::Picked(rows) => {
                let picked = rows.iter().map(|row| all.get(*row as usize).copied().unwrap_or(false));
                Some(picked.collect::<Vec<_>>().into())
            }
        }
    }
}

/// Where traces lie.
#[derive(Debug, Default)]
pub(crate) struct Places {
    pub(crate) chunks: Vec<Arc<Chunk>>,
    pub(crate) rows: Vec<Rows>,
}

impl Places {
    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty() && self.rows.is_empty()
    }
}

/// Calls `each` with live data as one place, where spans are as often as they were sent, and each part of a block as
/// another, where copies may lie.
pub(crate) fn with_places<T>(
    live: &[Live],
    stored: &[Scanned],
    each: impl FnOnce(&[&[&SpanBatch]]) -> T,
) -> T {
    let live: Vec<&SpanBatch> = live.iter().map(|live| &**live).collect();
    let stored: Vec<[&SpanBatch; 1]> = stored.iter().map(|loaded| [&loaded.batch]).collect();
    let places: Vec<&[&SpanBatch]> =
        std::iter::once(&live[..]).chain(stored.iter().map(|place| &place[..])).collect();
    each(&places)
}

impl Source {
    pub(crate) fn meta(&self, block: usize) -> &Arc<BlockMeta> {
        &self.view.blocks[block].meta
    }

    /// Blocks that may have spans between two times, Unix nanoseconds, told to the tally as what is to be looked through,
    /// along with live data.
    pub(crate) fn blocks_in(&self, range: Option<(u64, u64)>, tally: &Tally) -> Vec<usize> {
        let overlaps = |block: &usize| {
            let meta = self.meta(*block);
            // Times in `meta.json` may be cut to whole seconds.
            range.is_none_or(|(start, end)| {
                nanos(meta.start_time) <= end && nanos(meta.end_time).saturating_add(SECOND) >= start
            })
        };
        let blocks: Vec<usize> = (0..self.view.blocks.len()).filter(overlaps).collect();
        tally.count(|metrics| {
            metrics.total_blocks += blocks.len() as u32;
            metrics.total_block_bytes += blocks.iter().map(|block| self.meta(*block).size).sum::<u64>();
            metrics.total_jobs += blocks.len() as u32 + u32::from(!self.view.chunks.is_empty());
        });
        blocks
    }

    /// Those rows of a row group that may be what is looked for, where trace ids say which these are.
    async fn rows_of(
        &self,
        (block, row_group): (usize, usize),
        prunes: &[Vec<Prune>],
        tally: &Tally,
    ) -> Result<Option<Vec<u32>>, StoreError> {
        let Some(ids) = trace_ids_of(prunes) else { return Ok(None) };
        let (rows, bytes) = self.reader.rows_of(&self.tenant, self.meta(block), row_group, ids).await?;
        tally.count(|metrics| metrics.inspected_bytes += bytes);
        Ok(Some(rows))
    }

    /// Hands some rows of a row group to `work`, unless none can be what is looked for. The bytes that were read are told to
    /// the tally.
    pub(crate) async fn map_rows<T: Send + 'static>(
        &self,
        (block, row_group): (usize, usize),
        rows: Vec<u32>,
        needs: &Needs,
        tally: &Tally,
        work: impl FnOnce(&SpanBatch, PieceRows) -> T + Send + 'static,
    ) -> Result<Vec<T>, StoreError> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let picked = PieceRows::Picked(rows.clone());
        let loaded = self.reader.load(&self.tenant, self.meta(block), row_group, Some(rows), needs).await?;
        tally.count(|metrics| metrics.inspected_bytes += loaded.bytes);
        Ok(vec![self.on_cpu(move || work(&loaded.batch, picked)).await?])
    }

    /// Hands the traces of a row group to `work`, piece by piece with the rows that they are, unless none can be what is looked
    /// for. Gives back what it made of them, in their order. The bytes that were read are told to the tally.
    pub(crate) async fn map_row_group<T: Send + 'static>(
        &self,
        place: (usize, usize),
        prunes: &[Vec<Prune>],
        needs: &Needs,
        tally: &Tally,
        work: impl Fn(&SpanBatch, PieceRows) -> T + Clone + Send + 'static,
    ) -> Result<Vec<T>, StoreError> {
        if !self.may_match(place, prunes, tally).await? {
            return Ok(Vec::new());
        }
        if let Some(rows) = self.rows_of(place, prunes, tally).await? {
            return self.map_rows(place, rows, needs, tally, work).await;
        }
        let (block, row_group) = place;
        let meta = self.meta(block);
        let pieces = self.reader.pieces(&self.tenant, meta, row_group, needs, PIECE_ENTRIES).await?;
        let mut results = Vec::with_capacity(pieces.len());
        let map = |piece: Piece| {
            let (work, rows) = (work.clone(), PieceRows::Range(piece.rows()));
            piece.map(move |batch| work(&batch, rows))
        };
        let mut pieces = pieces.into_iter();
        // The first one fetches for all of them.
        let first = match pieces.next() {
            Some(first) => Some(map(first).await),
            None => None,
        };
        let others = stream::iter(pieces).map(map).buffered(PIECES_AT_ONCE);
        let mut all = stream::iter(first).chain(others);
        while let Some(piece) = all.next().await {
            let (result, bytes) = piece?;
            tally.count(|metrics| metrics.inspected_bytes += bytes);
            results.push(result);
        }
        Ok(results)
    }

    /// A row group, to be loaded piece by piece; nothing when none of its traces can be what is looked for.
    pub(crate) async fn pieces(
        &self,
        (block, row_group): (usize, usize),
        prunes: &[Vec<Prune>],
        needs: &Needs,
        tally: &Tally,
    ) -> Result<Vec<Piece>, StoreError> {
        if !self.may_match((block, row_group), prunes, tally).await? {
            return Ok(Vec::new());
        }
        self.reader.pieces(&self.tenant, self.meta(block), row_group, needs, PIECE_ENTRIES).await
    }

    async fn may_match(
        &self,
        (block, row_group): (usize, usize),
        prunes: &[Vec<Prune>],
        tally: &Tally,
    ) -> Result<bool, StoreError> {
        let (may, bytes) = self.reader.may_match(&self.tenant, self.meta(block), row_group, prunes).await?;
        tally.count(|metrics| metrics.inspected_bytes += bytes);
        Ok(may)
    }

    /// Runs what computes on the CPU pool. A panic there costs this part of the answer only.
    pub(crate) async fn on_cpu<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        self.reader.cpu().run(work).await.ok_or_else(|| {
            let problem = "a part of the query failed; the log says how".to_owned();
            StoreError::Damaged { path: self.tenant.to_string(), problem }
        })
    }

    /// Where any of `ids` (ascending) may lie: in the rows of blocks there may be other traces too. Blocks for which `skip`
    /// says true are not looked into.
    pub(crate) async fn locate(
        &self,
        ids: &[TraceId],
        skip: impl Fn(&BlockMeta) -> bool,
        tally: &Tally,
    ) -> Places {
        let chunks = self.view.chunks.iter().filter(|chunk| ids.iter().any(|id| chunk.has(*id)));
        let chunks: Vec<Arc<Chunk>> = chunks.cloned().collect();
        let looked_into = (0..self.view.blocks.len()).filter(|block| !skip(self.meta(*block)));
        let looked_into: Vec<usize> = looked_into.collect();
        let answered = &self.ask_indexes(&looked_into, ids).await;
        let found = stream::iter(looked_into)
            .map(|block| async move { (block, self.locate_in(self.meta(block), ids, answered).await) });
        let mut rows = Vec::new();
        let mut found = found.buffer_unordered(READS_AT_ONCE);
        while let Some((block, located)) = found.next().await {
            match located {
                Ok(located) => {
                    rows.extend(located.into_iter().map(|(row_group, rows)| Rows { block, row_group, rows }))
                }
                Err(error) => tally.skip(&error),
            }
        }
        rows.sort_by_key(|rows| (rows.block, rows.row_group));
        Places { chunks, rows }
    }

    /// What indexes of trace ids say about blocks.
    async fn ask_indexes(&self, blocks: &[usize], ids: &[TraceId]) -> Answered {
        if ids.len() > INDEXED_IDS_MAX {
            return Answered::default();
        }
        let blocks: HashSet<_> = blocks.iter().map(|block| self.meta(*block).block_id).collect();
        self.reader.store().ask_id_indexes(&self.tenant, &blocks, ids).await
    }

    async fn locate_in(
        &self,
        meta: &BlockMeta,
        ids: &[TraceId],
        answered: &Answered,
    ) -> Result<Vec<(usize, Vec<u32>)>, StoreError> {
        let found = match answered.rows.get(&meta.block_id) {
            Some(rows) => self.reader.row_groups_of(&self.tenant, meta, rows).await?,
            None => answered.blocks.contains(&meta.block_id).then(Vec::new),
        };
        match found {
            Some(found) => Ok(found),
            None => self.reader.locate(&self.tenant, meta, ids).await,
        }
    }

    /// Loads rows of blocks.
    pub(crate) async fn load_rows(&self, rows: Vec<Rows>, needs: &Needs, tally: &Tally) -> Vec<Scanned> {
        let loads = stream::iter(rows).map(|rows| async move {
            let meta = self.meta(rows.block);
            self.reader.load(&self.tenant, meta, rows.row_group, Some(rows.rows), needs).await
        });
        let loaded: Vec<_> = loads.buffered(READS_AT_ONCE).collect().await;
        let mut batches = Vec::new();
        for result in loaded {
            match result {
                Ok(loaded) => {
                    tally.count(|metrics| metrics.inspected_bytes += loaded.bytes);
                    batches.push(loaded);
                }
                Err(error) => tally.skip(&error),
            }
        }
        batches
    }

    /// All spans of some traces (ascending) in one batch, grouped by trace, with what is about whole traces.
    pub(crate) async fn join(
        &self,
        ids: Vec<TraceId>,
        places: Places,
        needs: &Needs,
        tally: &Tally,
    ) -> Result<Scanned, StoreError> {
        let (wanted, of_live) = (Arc::new(ids), Arc::new(needs.clone()));
        let loads = stream::iter(places.chunks).map(|chunk| self.load_wanted(chunk, &wanted, &of_live));
        let live = loaded(loads.buffered(READS_AT_ONCE).collect().await, tally);
        let stored = self.load_rows(places.rows, needs, tally).await;
        let ids = wanted;
        // What has more traces than are wanted is all of a chunk: how large those that are wanted are, nobody knows.
        let part = |live: &SpanBatch| {
            let all = live.traces.len().max(1);
            live.size_bytes() / all * ids.len().min(all)
        };
        let of_live: usize = live.iter().map(|live| part(live)).sum();
        let of_stored: usize = stored.iter().map(|loaded| loaded.batch.size_bytes()).sum();
        let memory = self.reader.reserve((of_live + of_stored) as u64).await?;
        let join = move || {
            let mut joined = with_places(&live, &stored, |places| merge_places(places, &ids));
            complete_traces(&mut joined);
            joined
        };
        Ok(Scanned { batch: self.on_cpu(join).await?, bytes: 0, memory })
    }
}
