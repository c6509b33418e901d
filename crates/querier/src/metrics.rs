//! Metrics: spans are selected and counted where they lie; only traces that lie in several places are joined first, so that
//! each span counts once and what looks at whole traces sees them whole.

use std::sync::Arc;

use futures::{StreamExt, stream};
use trackway_common::{ErrorKind, RequestCtx, TraceId};
use trackway_engine::metrics::{Finished, MetricsPlan, Partial};
use trackway_engine::{EvalError, Reach, Selection};
use trackway_spans::{Columns, Needs, SpanBatch, TraceFacts};
use trackway_storage::StoreError;

use crate::fragments::{READS_AT_ONCE, Source};
use crate::overlap::{Overlap, rows_among};
use crate::search::eval_error;
use crate::service::{Intervals, QueryError};
use crate::tally::Tally;

/// Traces that are joined together.
const JOINED_AT_ONCE: usize = 8 * 1024;

/// A metrics query over one tenant.
pub(crate) struct MetricsQuery<'s> {
    pub(crate) source: &'s Source,
    /// Traces of which parts in several places must be joined: sorted. For a query that does not look at other spans of a
    /// trace only those with copies.
    joined: Arc<Vec<TraceId>>,
    /// Where it looks at roots and extents: those of all traces in several places.
    facts: Arc<Vec<Arc<TraceFacts>>>,
    pub(crate) job: Arc<Job>,
    pub(crate) tally: &'s Tally,
    pub(crate) ctx: &'s RequestCtx,
}

/// What is done with every part of the data.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) selection: Selection,
    pub(crate) plan: MetricsPlan,
    pub(crate) time: Intervals,
}

impl Job {
    fn needs(&self) -> Needs {
        let mut needs = self.selection.needs().clone();
        needs.merge(self.plan.needs());
        needs
    }

    /// What is needed of fragments that are joined.
    fn join_needs(&self) -> Needs {
        let mut needs = self.needs();
        needs.merge(&self.selection.join_needs());
        needs
    }

    fn reach(&self) -> Reach {
        self.selection.reach().max(self.plan.reach())
    }

    /// Counts the spans of a batch, but for those of traces for which `shared` says true.
    fn observe(
        &self,
        batch: &SpanBatch,
        shared: Option<&[bool]>,
        partial: &mut Partial,
    ) -> Result<(), EvalError> {
        let selected = self.selection.mask(batch, shared)?;
        self.plan.observe(batch, &selected, partial)
    }

    pub(crate) fn merge(&self, into: &mut Partial, from: Partial) {
        self.plan.merge(into, from);
    }

    /// The series of what was counted: all of them, since how many there may be is a matter of the whole answer.
    pub(crate) fn finish(&self, partial: Partial) -> Finished {
        self.plan.finish(partial, 0)
    }
}

impl<'s> MetricsQuery<'s> {
    pub(crate) async fn new(
        source: &'s Source,
        overlap: &Overlap,
        job: &Arc<Job>,
        tally: &'s Tally,
        ctx: &'s RequestCtx,
    ) -> Self {
        let reach = job.reach();
        let joined = match reach {
            Reach::Span | Reach::Facts => overlap.copied(source, tally).await,
            Reach::Trace => overlap.ids(),
        };
        let facts = match reach {
            Reach::Facts => overlap.facts(source, tally).await,
            Reach::Span | Reach::Trace => Vec::new(),
        };
        Self { source, joined, facts: Arc::new(facts), job: Arc::clone(job), tally, ctx }
    }

    /// Counts all spans of the tenant.
    pub(crate) async fn run(&self) -> Result<Partial, QueryError> {
        let mut all = Partial::default();
        if !self.job.selection.is_never() {
            let range = Some((self.job.time.start, self.job.time.end));
            let blocks = self.source.blocks_in(range, self.tally);
            let parts = stream::iter(blocks).map(|block| self.block(block));
            let mut parts = parts.buffer_unordered(READS_AT_ONCE);
            while let Some(part) = parts.next().await {
                self.check()?;
                all = self.merged(all, part?).await?;
            }
            drop(parts);
            all = self.merged(all, self.live().await?).await?;
            all = self.merged(all, self.shared().await?).await?;
        }
        Ok(all)
    }

    /// All of these together: work for the pool, since `compare()` merges some megabytes.
    async fn merged(&self, mut all: Partial, parts: Vec<Partial>) -> Result<Partial, QueryError> {
        let job = Arc::clone(&self.job);
        let merge = move || {
            parts.into_iter().for_each(|part| job.merge(&mut all, part));
            all
        };
        // What was counted before is lost with it, so there is no answer left to be partial.
        let lost = |error: StoreError| QueryError::new(ErrorKind::Internal, error.to_string());
        self.source.on_cpu(merge).await.map_err(lost)
    }

    fn check(&self) -> Result<(), QueryError> {
        self.tally.check(self.ctx)
    }

    async fn block(&self, block: usize) -> Result<Vec<Partial>, QueryError> {
        let row_groups = match self.source.reader.open(&self.source.tenant, self.source.meta(block)).await {
            Ok(file) => file.row_groups(),
            Err(error) => {
                self.tally.skip(&error);
                return Ok(Vec::new());
            }
        };
        let parts = stream::iter(0..row_groups).map(|row_group| self.row_group(block, row_group));
        let parts: Vec<_> = parts.buffer_unordered(READS_AT_ONCE).collect().await;
        let (mut partials, mut whole) = (Vec::new(), true);
        for part in parts {
            let (partial, is_whole) = part?;
            partials.extend(partial);
            whole &= is_whole;
        }
        self.tally.count(|metrics| metrics.completed_jobs += u32::from(whole));
        Ok(partials)
    }

    /// Counts the spans of a row group, piece by piece, and says whether all of it could be read.
    async fn row_group(&self, block: usize, row_group: usize) -> Result<(Option<Partial>, bool), QueryError> {
        let needs = self.job.needs();
        let prunes = self.job.selection.prunes();
        let mut pieces = match self.source.pieces((block, row_group), prunes, &needs, self.tally).await {
            Ok(Some(pieces)) => pieces,
            Ok(None) => return Ok((None, true)),
            Err(error) => {
                self.tally.skip(&error);
                return Ok((None, false));
            }
        };
        let mut counted = Partial::default();
        loop {
            self.check()?;
            let piece = match self.source.next_piece(&mut pieces, self.tally).await {
                Ok(Some(piece)) => piece,
                Ok(None) => return Ok((Some(counted), true)),
                Err(error) => {
                    self.tally.skip(&error);
                    return Ok((Some(counted), false));
                }
            };
            match self.observe(piece, counted).await? {
                Ok(partial) => counted = partial,
                Err(error) => {
                    self.tally.skip(&error);
                    return Ok((None, false));
                }
            }
        }
    }

    /// Counts the spans of a stored batch where they lie, too.
    async fn observe(
        &self,
        mut batch: SpanBatch,
        mut partial: Partial,
    ) -> Result<Result<Partial, StoreError>, QueryError> {
        let (job, joined, facts) = (Arc::clone(&self.job), Arc::clone(&self.joined), Arc::clone(&self.facts));
        let observe = move || {
            facts.iter().for_each(|facts| facts.apply(&mut batch));
            let shared = rows_among(&joined, batch.traces.ids());
            job.observe(&batch, shared.as_deref(), &mut partial)?;
            Ok(partial)
        };
        match self.source.on_cpu(observe).await {
            Ok(partial) => partial.map(Ok).map_err(|error: EvalError| eval_error(&error)),
            Err(error) => Ok(Err(error)),
        }
    }

    /// Live data: piece by piece where that will do, joined where whole traces are looked at.
    async fn live(&self) -> Result<Vec<Partial>, QueryError> {
        if self.source.view.chunks.is_empty() {
            return Ok(Vec::new());
        }
        let mut partials = Vec::new();
        if self.job.reach() == Reach::Span {
            let parts = stream::iter(self.source.view.chunks.clone()).map(|chunk| async move {
                let batch = match self.source.load_chunk(chunk).await {
                    Ok(batch) => batch,
                    Err(error) => return Ok(Err(error)),
                };
                self.tally.inspected(&batch);
                let (job, joined) = (Arc::clone(&self.job), Arc::clone(&self.joined));
                let observe = move || {
                    let shared = rows_among(&joined, batch.traces.ids());
                    let mut partial = Partial::default();
                    job.observe(&batch, shared.as_deref(), &mut partial)?;
                    Ok(partial)
                };
                match self.source.on_cpu(observe).await {
                    Ok(partial) => partial.map(Ok).map_err(|error: EvalError| eval_error(&error)),
                    Err(error) => Ok(Err(error)),
                }
            });
            let mut parts = parts.buffer_unordered(READS_AT_ONCE);
            while let Some(part) = parts.next().await {
                self.check()?;
                match part? {
                    Ok(partial) => partials.push(partial),
                    Err(error) => self.tally.skip(&error),
                }
            }
        } else {
            let chunks = &self.source.view.chunks;
            let mut ids: Vec<TraceId> = chunks.iter().flat_map(|chunk| chunk.ids.iter().copied()).collect();
            ids.sort_unstable();
            ids.dedup();
            ids.retain(|id| self.joined.binary_search(id).is_err());
            // Only of live data: the blocks have nothing of these, or have counted it already.
            partials = self.join(&ids, false).await?;
        }
        self.tally.count(|metrics| metrics.completed_jobs += 1);
        Ok(partials)
    }

    /// Traces of blocks that lie in other places too.
    async fn shared(&self) -> Result<Vec<Partial>, QueryError> {
        self.join(&self.joined, true).await
    }

    async fn join(&self, ids: &[TraceId], with_blocks: bool) -> Result<Vec<Partial>, QueryError> {
        let mut partials = Vec::new();
        let mut needs = self.job.join_needs();
        needs.add(Columns::ID);
        for ids in ids.chunks(JOINED_AT_ONCE) {
            self.check()?;
            let places = self.source.locate(ids, |_| !with_blocks, self.tally).await;
            match self.source.join(ids.to_vec(), places, &needs, self.tally).await {
                Ok(mut batch) => {
                    let (job, facts) = (Arc::clone(&self.job), Arc::clone(&self.facts));
                    let observe = move || {
                        let mut partial = Partial::default();
                        // Of live data alone, parts of these traces may be missing.
                        facts.iter().for_each(|facts| facts.apply(&mut batch));
                        job.observe(&batch, None, &mut partial)?;
                        Ok(partial)
                    };
                    match self.source.on_cpu(observe).await {
                        Ok(partial) => partials.push(partial.map_err(|error: EvalError| eval_error(&error))?),
                        Err(error) => self.tally.skip(&error),
                    }
                }
                Err(error) => self.tally.skip(&error),
            }
        }
        Ok(partials)
    }
}
