//! Finds and joins the spans of given traces, wherever they lie.

use std::sync::Arc;

use futures::{StreamExt, stream};
use trackway_common::{TenantId, TraceId};
use trackway_engine::complete_traces;
use trackway_ingester::{Chunk, View};
use trackway_spans::{Needs, Prune, SpanBatch, merge_places, trace_ids_of};
use trackway_storage::{BlockReader, Piece, StoreError};
use trackway_vparquet::meta::BlockMeta;

use crate::tally::{Looked, Tally};

/// Parts of blocks that are read at once.
pub(crate) const READS_AT_ONCE: usize = 8;

/// Entries of columns of a row group that are decoded at once, at some ten bytes each.
const PIECE_ENTRIES: u64 = 5 << 20;

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

/// Where traces lie.
#[derive(Debug, Default)]
pub(crate) struct Places {
    pub(crate) chunks: Vec<Arc<Chunk>>,
    pub(crate) rows: Vec<Rows>,
}

/// Calls `each` with live data as one place, where spans are as often as they were sent, and each part of a block as
/// another, where copies may lie.
pub(crate) fn with_places<T>(
    live: &[Arc<SpanBatch>],
    stored: &[SpanBatch],
    each: impl FnOnce(&[&[&SpanBatch]]) -> T,
) -> T {
    let live: Vec<&SpanBatch> = live.iter().map(AsRef::as_ref).collect();
    let stored: Vec<[&SpanBatch; 1]> = stored.iter().map(|batch| [batch]).collect();
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

    /// The traces of a row group, or those of `rows`, unless none can be what is looked for. With them come their rows,
    /// if they are not all. What was read is told to the tally.
    pub(crate) async fn load_row_group(
        &self,
        (block, row_group): (usize, usize),
        rows: Option<Vec<u32>>,
        prunes: &[Vec<Prune>],
        needs: &Needs,
        tally: &Tally,
    ) -> Result<Option<(SpanBatch, Option<Vec<u32>>)>, StoreError> {
        if !self.may_match((block, row_group), prunes, tally).await? {
            return Ok(None);
        }
        let (tenant, meta) = (&self.tenant, self.meta(block));
        let rows = match (rows, trace_ids_of(prunes)) {
            (None, Some(ids)) => {
                let (rows, bytes) = self.reader.rows_of(tenant, meta, row_group, ids).await?;
                tally.count(|metrics| metrics.inspected_bytes += bytes);
                Some(rows)
            }
            (rows, _) => rows,
        };
        if rows.as_ref().is_some_and(Vec::is_empty) {
            return Ok(None);
        }
        let loaded = self.reader.load(tenant, meta, row_group, rows.clone(), needs).await?;
        tally.count(|metrics| metrics.inspected_bytes += loaded.bytes);
        tally.inspected(Looked::at(&loaded.batch));
        Ok(Some((loaded.batch, rows)))
    }

    /// The same, to be loaded piece by piece; nothing when none can be what is looked for.
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

    /// Where any of `ids` (ascending) lie. Blocks for which `skip` says true are not looked into.
    pub(crate) async fn locate(
        &self,
        ids: &[TraceId],
        skip: impl Fn(&BlockMeta) -> bool,
        tally: &Tally,
    ) -> Places {
        let chunks = self.view.chunks.iter().filter(|chunk| ids.iter().any(|id| chunk.has(*id)));
        let chunks: Vec<Arc<Chunk>> = chunks.cloned().collect();
        let looked_into = (0..self.view.blocks.len()).filter(|block| !skip(self.meta(*block)));
        let found = stream::iter(looked_into).map(|block| async move {
            (block, self.reader.locate(&self.tenant, self.meta(block), ids).await)
        });
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

    /// Loads rows of blocks.
    pub(crate) async fn load_rows(&self, rows: Vec<Rows>, needs: &Needs, tally: &Tally) -> Vec<SpanBatch> {
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
                    batches.push(loaded.batch);
                }
                Err(error) => tally.skip(&error),
            }
        }
        batches
    }

    /// Loads live chunks.
    pub(crate) async fn load_chunks(&self, chunks: Vec<Arc<Chunk>>, tally: &Tally) -> Vec<Arc<SpanBatch>> {
        let loads = stream::iter(chunks).map(|chunk| self.load_chunk(chunk));
        let loaded: Vec<_> = loads.buffered(READS_AT_ONCE).collect().await;
        let mut batches = Vec::new();
        for result in loaded {
            match result {
                Ok(batch) => batches.push(batch),
                Err(error) => tally.skip(&error),
            }
        }
        batches
    }

    /// Loads one live chunk, on a thread that may wait for the disk.
    pub(crate) async fn load_chunk(&self, chunk: Arc<Chunk>) -> Result<Arc<SpanBatch>, StoreError> {
        let damaged = |problem: String| StoreError::Damaged { path: "segment".to_owned(), problem };
        let loaded = tokio::task::spawn_blocking(move || chunk.load()).await;
        loaded.map_err(|error| damaged(error.to_string()))?.map_err(|error| damaged(error.to_string()))
    }

    /// All spans of some traces in one batch, grouped by trace in the order of `ids`, with what is about whole traces.
    pub(crate) async fn join(
        &self,
        ids: Vec<TraceId>,
        places: Places,
        needs: &Needs,
        tally: &Tally,
    ) -> Result<SpanBatch, StoreError> {
        let live = self.load_chunks(places.chunks, tally).await;
        let stored = self.load_rows(places.rows, needs, tally).await;
        let join = move || {
            let mut joined = with_places(&live, &stored, |places| merge_places(places, &ids));
            complete_traces(&mut joined);
            joined
        };
        self.on_cpu(join).await
    }
}
