//! Search: scans sources for candidates, newest first, joins what lies in several places, judges, and stops when nothing
//! newer can come.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::{StreamExt, stream};
use trackway_common::{ErrorKind, RequestCtx, TraceId};
use trackway_engine::{Candidate, EvalError, SearchPlan, TraceResult, Wholeness};
use trackway_storage::StoreError;
use trackway_vparquet::meta::BlockMeta;

use crate::fragments::{Places, READS_AT_ONCE, Rows, Source};
use crate::service::QueryError;
use crate::tally::Tally;

/// Blocks that are scanned at once.
const SCANS_AHEAD: usize = 3;
/// Candidates that are judged together at the least.
const JUDGE_AT_ONCE: usize = 20;
/// Candidates that are judged together at the most.
const JUDGE_AT_ONCE_MAX: usize = 32 * 1024;

/// A search over one tenant.
pub(crate) struct Search<'s> {
    pub(crate) source: &'s Source,
    pub(crate) plan: &'s Arc<SearchPlan>,
    pub(crate) limit: usize,
    pub(crate) spans_per_spanset: usize,
    pub(crate) tally: &'s Tally,
    pub(crate) ctx: &'s RequestCtx,
}

/// A trace that may be part of the answer, as far as it is known.
#[derive(Clone, Copy, Debug)]
struct Merged {
    start: u64,
    found: u64,
}

type Candidates = HashMap<TraceId, Merged>;

fn merge(candidates: &mut Candidates, new: Vec<Candidate>) {
    for candidate in new {
        let merged = candidates.entry(candidate.id).or_insert(Merged { start: u64::MAX, found: 0 });
        merged.start = merged.start.min(candidate.start);
        merged.found |= candidate.found;
    }
}

pub(crate) fn eval_error(error: &EvalError) -> QueryError {
    QueryError::new(ErrorKind::Invalid, error.to_string())
}

/// A second of a `meta.json` as nanoseconds.
fn nanos(time: jiff::Timestamp) -> u64 {
    u64::try_from(time.as_nanosecond()).unwrap_or(0)
}

impl Search<'_> {
    /// The newest traces that match, newest first.
    pub(crate) async fn run(&self, range: Option<(u64, u64)>) -> Result<Vec<TraceResult>, QueryError> {
        let overlaps = |meta: &BlockMeta| {
            // Times in `meta.json` may be cut to whole seconds.
            range.is_none_or(|(start, end)| {
                nanos(meta.start_time) <= end && nanos(meta.end_time).saturating_add(1_000_000_000) >= start
            })
        };
        let mut blocks: Vec<usize> =
            (0..self.source.view.blocks.len()).filter(|block| overlaps(self.source.meta(*block))).collect();
        blocks.sort_by_key(|block| std::cmp::Reverse(self.source.meta(*block).end_time));
        self.tally.count(|metrics| {
            metrics.total_blocks += blocks.len() as u32;
            metrics.total_block_bytes +=
                blocks.iter().map(|block| self.source.meta(*block).size).sum::<u64>();
            metrics.total_jobs += blocks.len() as u32 + u32::from(!self.source.view.chunks.is_empty());
        });
        let mut candidates = self.scan_live().await?;
        let elsewhere = Elsewhere::load(self.source).await;
        let mut judged = Judged::default();
        // A block or two ahead: it costs little when the search can stop, and keeps all cores busy when it cannot.
        let scans = stream::iter(blocks.clone()).map(|block| self.scan_block(block, &elsewhere));
        let mut scans = scans.buffered(SCANS_AHEAD).zip(stream::iter(1..));
        while let Some((scanned, following)) = scans.next().await {
            self.check()?;
            match scanned? {
                Ok(found) => merge(&mut candidates, found),
                Err(error) => self.tally.skip(&error),
            }
            let Some(next) = blocks.get(following) else { break };
            // No trace of the blocks to come starts later than they end.
            let bound = nanos(self.source.meta(*next).end_time).saturating_add(1_000_000_000);
            let newer = candidates.values().filter(|c| c.start > bound && self.plan.accepts(c.found)).count();
            if newer >= self.limit {
                self.judge_newest(&mut candidates, &mut judged, bound).await?;
                if judged.results.iter().filter(|result| result.start > bound).count() >= self.limit {
                    return Ok(judged.finish(self.limit));
                }
            }
        }
        self.judge_newest(&mut candidates, &mut judged, 0).await?;
        Ok(judged.finish(self.limit))
    }

    fn check(&self) -> Result<(), QueryError> {
        self.ctx.check().map_err(|error| QueryError::new(ErrorKind::Cancelled, error.to_string()))
    }

    async fn scan_live(&self) -> Result<Candidates, QueryError> {
        let mut candidates = Candidates::new();
        let scans = stream::iter(self.source.view.chunks.clone()).map(|chunk| async move {
            let batch = self.source.load_chunk(chunk).await?;
            let plan = Arc::clone(self.plan);
            let scan = move || (plan.scan(&batch, &Wholeness::Fragments), batch.len(), batch.traces.len());
            self.source.reader.cpu().run(scan).await.ok_or_else(interrupted)
        });
        let mut scans = scans.buffer_unordered(READS_AT_ONCE);
        while let Some(scanned) = scans.next().await {
            self.check()?;
            match scanned {
                Ok((found, spans, traces)) => {
                    merge(&mut candidates, found.map_err(|error| eval_error(&error))?);
                    self.tally.count(|metrics| {
                        metrics.inspected_spans += spans as u64;
                        metrics.inspected_traces += traces as u64;
                    });
                }
                Err(error) => self.tally.skip(&error),
            }
        }
        if !self.source.view.chunks.is_empty() {
            self.tally.count(|metrics| metrics.completed_jobs += 1);
        }
        Ok(candidates)
    }

    async fn scan_block(
        &self,
        block: usize,
        elsewhere: &Arc<Elsewhere>,
    ) -> Result<Result<Vec<Candidate>, StoreError>, QueryError> {
        let meta = self.source.meta(block);
        let row_groups = match self.source.reader.open(&self.source.tenant, meta).await {
            Ok(file) => file.row_groups(),
            Err(error) => return Ok(Err(error)),
        };
        let scans = stream::iter(0..row_groups)
            .map(|row_group| self.scan_row_group(block, row_group, Arc::clone(elsewhere)));
        let mut scans = scans.buffer_unordered(READS_AT_ONCE);
        let mut all = Vec::new();
        while let Some(scanned) = scans.next().await {
            match scanned? {
                Ok(found) => all.extend(found),
                Err(error) => return Ok(Err(error)),
            }
        }
        self.tally.count(|metrics| metrics.completed_jobs += 1);
        Ok(Ok(all))
    }

    async fn scan_row_group(
        &self,
        block: usize,
        row_group: usize,
        elsewhere: Arc<Elsewhere>,
    ) -> Result<Result<Vec<Candidate>, StoreError>, QueryError> {
        let (tenant, meta, reader) = (&self.source.tenant, self.source.meta(block), &self.source.reader);
        match reader.may_match(tenant, meta, row_group, self.plan.prunes()).await {
            Ok((may, bytes)) => {
                self.tally.count(|metrics| metrics.inspected_bytes += bytes);
                if !may {
                    return Ok(Ok(Vec::new()));
                }
            }
            Err(error) => return Ok(Err(error)),
        }
        let loaded = match reader.load(tenant, meta, row_group, None, self.plan.scan_needs()).await {
            Ok(loaded) => loaded,
            Err(error) => return Ok(Err(error)),
        };
        self.tally.count(|metrics| {
            metrics.inspected_bytes += loaded.bytes;
            metrics.inspected_spans += loaded.batch.len() as u64;
            metrics.inspected_traces += loaded.batch.traces.len() as u64;
        });
        let plan = Arc::clone(self.plan);
        let scan = move || {
            let is_elsewhere = |id| elsewhere.holds(block, id);
            plan.scan(&loaded.batch, &Wholeness::Some(&is_elsewhere))
        };
        match reader.cpu().run(scan).await {
            Some(found) => found.map(Ok).map_err(|error| eval_error(&error)),
            None => Ok(Err(interrupted())),
        }
    }

    /// Judges candidates that start after `bound`, newest first, until there are enough results.
    async fn judge_newest(
        &self,
        candidates: &mut Candidates,
        judged: &mut Judged,
        bound: u64,
    ) -> Result<(), QueryError> {
        let mut order: Vec<(u64, TraceId)> = candidates
            .iter()
            .filter(|(id, merged)| {
                merged.start > bound && self.plan.accepts(merged.found) && !judged.done.contains(*id)
            })
            .map(|(id, merged)| (merged.start, *id))
            .collect();
        order.sort_unstable_by(|a, b| b.cmp(a));
        let size = self.limit.clamp(JUDGE_AT_ONCE, JUDGE_AT_ONCE_MAX);
        for batch in order.chunks(size) {
            // A trace starts no later than any of its fragments, so what is known to be newer stays newer.
            let newest_to_come = batch[0].0;
            if judged.results.iter().filter(|result| result.start >= newest_to_come).count() >= self.limit {
                return Ok(());
            }
            self.check()?;
            let mut ids: Vec<TraceId> = batch.iter().map(|(_, id)| *id).collect();
            ids.sort_unstable();
            let results = self.judge(&ids).await?;
            judged.results.extend(results);
            judged.done.extend(ids);
        }
        Ok(())
    }

    /// Judges traces by their ids (ascending).
    async fn judge(&self, ids: &[TraceId]) -> Result<Vec<TraceResult>, QueryError> {
        let places = self.source.locate(ids, |_| false, self.tally).await;
        let counts = self.source.count_places(&places, self.tally).await;
        let (mut whole, mut fragments) = (Vec::new(), Vec::new());
        for rows in &places.rows {
            let stored = self
                .source
                .reader
                .trace_ids(&self.source.tenant, self.source.meta(rows.block), rows.row_group)
                .await;
            let Ok(stored) = stored else { continue };
            let alone = |row: &&u32| {
                stored.get(**row as usize).is_some_and(|id| counts.get(id).is_some_and(|count| *count == 1))
            };
            let (mine, shared): (Vec<u32>, Vec<u32>) = rows.rows.iter().partition(alone);
            let part = |rows_of: Vec<u32>| Rows { rows: rows_of, ..rows.clone() };
            if !mine.is_empty() {
                whole.push(part(mine));
            }
            if !shared.is_empty() {
                fragments.push(part(shared));
            }
        }
        let split: Vec<TraceId> =
            ids.iter().copied().filter(|id| counts.get(id).is_some_and(|count| *count > 1)).collect();
        let mut results = self.judge_whole(whole).await?;
        if !split.is_empty() {
            let places = Places { chunks: places.chunks, rows: fragments };
            let joined = self.source.join(split, places, &self.plan.join_needs(), self.tally).await;
            match joined {
                Ok(batch) => results.extend(self.judge_batch(batch).await?),
                Err(error) => self.tally.skip(&error),
            }
        }
        Ok(results)
    }

    async fn judge_whole(&self, rows: Vec<Rows>) -> Result<Vec<TraceResult>, QueryError> {
        let parts = stream::iter(rows).map(|rows| async move {
            let mut results = Vec::new();
            for batch in self.source.load_rows(vec![rows], self.plan.show_needs(), self.tally).await {
                results.extend(self.judge_batch(batch).await?);
            }
            Ok::<_, QueryError>(results)
        });
        let parts: Vec<_> = parts.buffered(READS_AT_ONCE).collect().await;
        let mut results = Vec::new();
        for part in parts {
            results.extend(part?);
        }
        Ok(results)
    }

    async fn judge_batch(&self, batch: trackway_spans::SpanBatch) -> Result<Vec<TraceResult>, QueryError> {
        let (plan, spans) = (Arc::clone(self.plan), self.spans_per_spanset);
        match self.source.reader.cpu().run(move || plan.judge(&batch, spans)).await {
            Some(results) => results.map_err(|error| eval_error(&error)),
            None => {
                self.tally.skip(&interrupted());
                Ok(Vec::new())
            }
        }
    }
}

fn interrupted() -> StoreError {
    let problem = "judging spans failed; the log says how".to_owned();
    StoreError::Damaged { path: "query".to_owned(), problem }
}

#[derive(Default)]
struct Judged {
    results: Vec<TraceResult>,
    done: HashSet<TraceId>,
}

impl Judged {
    fn finish(mut self, limit: usize) -> Vec<TraceResult> {
        self.results.sort_unstable_by_key(|trace| std::cmp::Reverse((trace.start, trace.id)));
        self.results.truncate(limit);
        self.results
    }
}

/// Tells which traces of a block have spans in other places.
struct Elsewhere {
    live: HashSet<TraceId>,
    /// Bloom filters of all blocks, by shard.
    blooms: Vec<Vec<bytes::Bytes>>,
}

impl Elsewhere {
    async fn load(source: &Source) -> Arc<Self> {
        let live = source.view.chunks.iter().flat_map(|chunk| chunk.ids.iter().copied()).collect();
        let mut blooms = Vec::new();
        if source.view.blocks.len() > 1 {
            for entry in source.view.blocks.iter() {
                blooms.push(source.reader.blooms(&source.tenant, &entry.meta).await);
            }
        }
        Arc::new(Self { live, blooms })
    }

    fn holds(&self, block: usize, id: TraceId) -> bool {
        self.live.contains(&id)
            || self.blooms.iter().enumerate().any(|(other, shards)| {
                other != block && {
                    let shard = trackway_vparquet::bloom::shard_of_trace(id, shards.len() as u32);
                    let filter = shards.get(shard as usize);
                    filter.is_none_or(|f| trackway_vparquet::bloom::may_contain(f, id).unwrap_or(true))
                }
            })
    }
}
