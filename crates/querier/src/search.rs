//! Search: scans sources for candidates, newest first, joins what lies in several places, judges, and stops when nothing
//! newer can come.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::{StreamExt, stream};
use trackway_common::{ErrorKind, RequestCtx, TraceId};
use trackway_engine::{Candidate, EvalError, SearchPlan, TraceResult, Wholeness};
use trackway_spans::{SpanBatch, trace_ids_of};
use trackway_storage::{Scanned, StoreError};

use crate::fragments::{PieceRows, READS_AT_ONCE, Rows, Source, nanos};
use crate::overlap::Overlap;
use crate::service::QueryError;
use crate::tally::{Looked, Tally};

/// Blocks that are scanned at once.
const SCANS_AHEAD: usize = 3;
/// Candidates that are judged together at the least.
const JUDGE_AT_ONCE: usize = 20;
/// How many times more candidates the next round judges, when the last one did not find enough.
const JUDGE_GROWTH: usize = 4;
/// When more than one in so many rows of a row group are wanted, all of them are read.
const MANY_ROWS: usize = 12;
/// Candidates that are judged together at the most.
const JUDGE_AT_ONCE_MAX: usize = 32 * 1024;

/// A search over one tenant.
pub(crate) struct Search<'s> {
    pub(crate) source: &'s Source,
    pub(crate) overlap: &'s Arc<Overlap>,
    pub(crate) plan: &'s Arc<SearchPlan>,
    pub(crate) limit: usize,
    pub(crate) spans_per_spanset: usize,
    pub(crate) tally: &'s Tally,
    pub(crate) ctx: &'s RequestCtx,
    /// Whether no block lies outside of the range.
    pub(crate) all_scanned: bool,
}

/// A trace that may be part of the answer, as far as it is known.
#[derive(Clone, Copy, Debug)]
struct Merged {
    start: u64,
    found: u64,
    /// Block, row group and row, if all of it lies there.
    place: Option<(usize, usize, u32)>,
}

type Candidates = HashMap<TraceId, Merged>;

/// Candidates of one source, with where they lie if it is a row group and they lie nowhere else.
type Found = Vec<(Candidate, Option<(usize, usize, u32)>)>;

fn merge(candidates: &mut Candidates, new: Found) {
    for (candidate, place) in new {
        let unknown = Merged { start: u64::MAX, found: 0, place };
        let merged = candidates.entry(candidate.id).or_insert(unknown);
        merged.start = merged.start.min(candidate.start);
        merged.found |= candidate.found;
        merged.place = place;
    }
}

pub(crate) fn eval_error(error: &EvalError) -> QueryError {
    QueryError::new(ErrorKind::Invalid, error.to_string())
}

impl Search<'_> {
    /// The newest traces that match, newest first.
    pub(crate) async fn run(mut self, range: Option<(u64, u64)>) -> Result<Vec<TraceResult>, QueryError> {
        let mut blocks = self.source.blocks_in(range, self.tally);
        blocks.sort_by_key(|block| std::cmp::Reverse(self.source.meta(*block).end_time));
        self.all_scanned = blocks.len() == self.source.view.blocks.len();
        let mut candidates = self.scan_live().await?;
        let mut judged = Judged::default();
        // A block or two ahead: it costs little when the search can stop, and keeps all cores busy when it cannot.
        let scans = stream::iter(blocks.clone()).map(|block| self.scan_block(block));
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
            let newer =
                |(id, merged): &(&TraceId, &Merged)| merged.start > bound && self.may_be_found(**id, merged);
            let newer = candidates.iter().filter(newer).count();
            if newer >= self.limit {
                self.judge_newest(&mut candidates, &mut judged, Some(bound)).await?;
                if judged.results.iter().filter(|result| result.start > bound).count() >= self.limit {
                    return Ok(judged.finish(self.limit));
                }
            }
        }
        self.judge_newest(&mut candidates, &mut judged, None).await?;
        Ok(judged.finish(self.limit))
    }

    /// Whether a trace may be part of the answer, by what the filters found. Of one with parts in blocks outside of the
    /// range of the search, which are not scanned, only judging it tells.
    fn may_be_found(&self, id: TraceId, merged: &Merged) -> bool {
        self.plan.accepts(merged.found) || (!self.all_scanned && self.overlap.holds(id))
    }

    fn check(&self) -> Result<(), QueryError> {
        self.tally.check(self.ctx)
    }

    async fn scan_live(&self) -> Result<Candidates, QueryError> {
        let mut candidates = Candidates::new();
        let scans = stream::iter(self.source.view.chunks.clone()).map(|chunk| async move {
            let batch = self.source.load_chunk(chunk).await?;
            let plan = Arc::clone(self.plan);
            self.tally.inspected(Looked::at(&batch));
            self.source.on_cpu(move || plan.scan(&batch, Wholeness::Fragments)).await
        });
        let mut scans = scans.buffer_unordered(READS_AT_ONCE);
        while let Some(scanned) = scans.next().await {
            self.check()?;
            match scanned {
                Ok(found) => {
                    let found = found.map_err(|error| eval_error(&error))?;
                    merge(&mut candidates, found.into_iter().map(|found| (found, None)).collect());
                }
                Err(error) => self.tally.skip(&error),
            }
        }
        if !self.source.view.chunks.is_empty() {
            self.tally.count(|metrics| metrics.completed_jobs += 1);
        }
        Ok(candidates)
    }

    async fn scan_block(&self, block: usize) -> Result<Result<Found, StoreError>, QueryError> {
        let meta = self.source.meta(block);
        let row_groups = match self.source.reader.open(&self.source.tenant, meta).await {
            Ok(file) => file.row_groups(),
            Err(error) => return Ok(Err(error)),
        };
        let parts: Vec<(usize, Option<Vec<u32>>)> = match self.named() {
            Some(ids) => match self.source.reader.locate(&self.source.tenant, meta, &ids).await {
                Ok(found) => found.into_iter().map(|(row_group, rows)| (row_group, Some(rows))).collect(),
                Err(error) => return Ok(Err(error)),
            },
            None => (0..row_groups).map(|row_group| (row_group, None)).collect(),
        };
        let scans = stream::iter(parts).map(|(row_group, rows)| self.scan_row_group(block, row_group, rows));
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

    /// The traces of which one must be the answer, ascending, when the query names them all.
    fn named(&self) -> Option<Vec<TraceId>> {
        let ranges = trace_ids_of(self.plan.prunes())?;
        let ids = ranges.into_iter().map(|(from, to)| (from == to).then_some(from));
        let mut ids: Vec<TraceId> = ids.collect::<Option<_>>()?;
        ids.sort_unstable();
        ids.dedup();
        Some(ids)
    }

    async fn scan_row_group(
        &self,
        block: usize,
        row_group: usize,
        rows: Option<Vec<u32>>,
    ) -> Result<Result<Found, StoreError>, QueryError> {
        let (needs, prunes) = (self.plan.scan_needs(), self.plan.prunes());
        let (plan, overlap) = (Arc::clone(self.plan), Arc::clone(self.overlap));
        let scan = move |batch: &SpanBatch, of: PieceRows| {
            let shared = overlap.rows(batch.traces.ids());
            let found = plan.scan(batch, Wholeness::Whole(shared.as_deref()))?;
            let place = |row: u32| {
                let alone = shared.as_ref().is_none_or(|shared| !shared[row as usize]);
                of.row(row).filter(|_| alone).map(|row| (block, row_group, row))
            };
            let found: Found = found.into_iter().map(|found| (found, place(found.row))).collect();
            Ok((found, Looked::at(batch)))
        };
        let place = (block, row_group);
        let pieces = match rows {
            Some(rows) => self.source.map_rows(place, rows, needs, self.tally, scan).await,
            None => self.source.map_row_group(place, prunes, needs, self.tally, scan).await,
        };
        let pieces = match pieces {
            Ok(pieces) => pieces,
            Err(error) => return Ok(Err(error)),
        };
        let mut all = Vec::new();
        for piece in pieces {
            let (found, looked) = piece.map_err(|error: EvalError| eval_error(&error))?;
            self.tally.inspected(looked);
            all.extend(found);
        }
        Ok(Ok(all))
    }

    /// Judges candidates that start after `bound`, newest first, until there are enough results.
    async fn judge_newest(
        &self,
        candidates: &mut Candidates,
        judged: &mut Judged,
        bound: Option<u64>,
    ) -> Result<(), QueryError> {
        let mut order: Vec<(u64, TraceId)> = candidates
            .iter()
            .filter(|(id, merged)| {
                bound.is_none_or(|bound| merged.start > bound)
                    && self.may_be_found(**id, merged)
                    && !judged.done.contains(*id)
            })
            .map(|(id, merged)| (merged.start, *id))
            .collect();
        order.sort_unstable_by(|a, b| b.cmp(a));
        let mut size = self.limit.clamp(JUDGE_AT_ONCE, JUDGE_AT_ONCE_MAX);
        let mut rest = &order[..];
        while !rest.is_empty() {
            let (batch, others) = rest.split_at(size.min(rest.len()));
            rest = others;
            // Candidates that turn out to be none: a few at a time, each column would be read again and again.
            size = (size * JUDGE_GROWTH).min(JUDGE_AT_ONCE_MAX);
            // A trace starts no later than any of its fragments, so what is known to be newer stays newer.
            let newest_to_come = batch[0].0;
            if judged.results.iter().filter(|result| result.start >= newest_to_come).count() >= self.limit {
                return Ok(());
            }
            self.check()?;
            let (mut whole, mut split) = (Vec::new(), Vec::new());
            for (_, id) in batch {
                match candidates.get(id).and_then(|merged| merged.place) {
                    Some(place) => whole.push(place),
                    None => split.push(*id),
                }
            }
            judged.results.extend(self.judge_whole(whole).await?);
            judged.results.extend(self.judge_split(split).await?);
            judged.done.extend(batch.iter().map(|(_, id)| *id));
        }
        Ok(())
    }

    /// Judges traces that lie in several places, or in live data.
    async fn judge_split(&self, mut ids: Vec<TraceId>) -> Result<Vec<TraceResult>, QueryError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        ids.sort_unstable();
        let places = self.source.locate(&ids, |_| false, self.tally).await;
        match self.source.join(ids, places, &self.plan.join_needs(), self.tally).await {
            Ok(joined) => self.judge_batch(joined).await,
            Err(error) => {
                self.tally.skip(&error);
                Ok(Vec::new())
            }
        }
    }

    /// Judges traces where they lie: block, row group and row of each.
    async fn judge_whole(
        &self,
        mut places: Vec<(usize, usize, u32)>,
    ) -> Result<Vec<TraceResult>, QueryError> {
        places.sort_unstable();
        let groups: Vec<Rows> = places
            .chunk_by(|a, b| (a.0, a.1) == (b.0, b.1))
            .filter_map(|group| {
                let (block, row_group, _) = *group.first()?;
                Some(Rows { block, row_group, rows: group.iter().map(|place| place.2).collect() })
            })
            .collect();
        let parts = stream::iter(groups).map(|rows| self.judge_rows(rows));
        let parts: Vec<_> = parts.buffered(READS_AT_ONCE).collect().await;
        let mut results = Vec::new();
        for part in parts {
            results.extend(part?);
        }
        Ok(results)
    }

    async fn judge_rows(&self, rows: Rows) -> Result<Vec<TraceResult>, QueryError> {
        let (tenant, meta, reader) = (&self.source.tenant, self.source.meta(rows.block), &self.source.reader);
        let all = match reader.open(tenant, meta).await {
            Ok(file) => file.rows(rows.row_group),
            Err(error) => {
                self.tally.skip(&error);
                return Ok(Vec::new());
            }
        };
        // Picking rows out of every column costs more than reading some that are not wanted.
        if rows.rows.len() > all / MANY_ROWS {
            return self.judge_among(rows, all).await;
        }
        match reader.load(tenant, meta, rows.row_group, Some(rows.rows), self.plan.show_needs()).await {
            Ok(loaded) => {
                self.tally.count(|metrics| metrics.inspected_bytes += loaded.bytes);
                self.judge_batch(loaded).await
            }
            Err(error) => {
                self.tally.skip(&error);
                Ok(Vec::new())
            }
        }
    }

    /// Judges some rows of a row group, all of which are read.
    async fn judge_among(&self, rows: Rows, all: usize) -> Result<Vec<TraceResult>, QueryError> {
        let mut wanted = vec![false; all];
        rows.rows.iter().for_each(|row| wanted[*row as usize] = true);
        let (plan, spans, wanted) = (Arc::clone(self.plan), self.spans_per_spanset, Arc::new(wanted));
        let judge =
            move |batch: &SpanBatch, rows: PieceRows| plan.judge(batch, rows.of(&wanted).as_deref(), spans);
        let place = (rows.block, rows.row_group);
        // Each of them was found in there.
        let anything = [Vec::new()];
        let pieces =
            self.source.map_row_group(place, &anything, self.plan.show_needs(), self.tally, judge).await;
        match pieces {
            Ok(pieces) => {
                let pieces = pieces.into_iter().collect::<Result<Vec<_>, EvalError>>();
                Ok(pieces.map_err(|error| eval_error(&error))?.into_iter().flatten().collect())
            }
            Err(error) => {
                self.tally.skip(&error);
                Ok(Vec::new())
            }
        }
    }

    async fn judge_batch(&self, loaded: Scanned) -> Result<Vec<TraceResult>, QueryError> {
        let (plan, spans) = (Arc::clone(self.plan), self.spans_per_spanset);
        match self.source.on_cpu(move || plan.judge(&loaded.batch, None, spans)).await {
            Ok(results) => results.map_err(|error| eval_error(&error)),
            Err(error) => {
                self.tally.skip(&error);
                Ok(Vec::new())
            }
        }
    }
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
