//! Metrics: spans are selected and counted where they lie; only traces that lie in several places are joined first, so that
//! each span counts once and what looks at whole traces sees them whole.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures::{StreamExt, stream};
use parking_lot::Mutex;
use trackway_common::{ErrorKind, RequestCtx, Reservation, TraceId};
use trackway_engine::metrics::{Finished, MetricsPlan, Partial};
use trackway_engine::{EvalError, Reach, Selection};
use trackway_ingester::Chunk;
use trackway_spans::{Columns, Needs, SpanBatch, TraceFacts};
use trackway_storage::{PIECES_AT_ONCE, Piece, Scanned, StoreError};

use crate::answers::{Answer, Answers, Elsewhere};
use crate::fragments::{READS_AT_ONCE, Source};
use crate::overlap::{Overlap, rows_among};
use crate::search::eval_error;
use crate::service::{Intervals, QueryError};
use crate::tally::{Looked, Tally, over_budget};

/// Traces that are joined together.
const JOINED_AT_ONCE: usize = 8 * 1024;

/// A metrics query over one tenant.
pub(crate) struct MetricsQuery<'s> {
    source: &'s Source,
    overlap: &'s Overlap,
    answers: &'s Answers,
    counter: Arc<Counter>,
    tally: &'s Tally,
    ctx: &'s RequestCtx,
}

/// How the spans of a tenant are counted, whatever they lie in.
#[derive(Debug)]
struct Counter {
    job: Arc<Job>,
    /// Traces of which parts in several places must be joined: sorted. For a query that does not look at other spans of a
    /// trace only those with copies.
    joined: Arc<Vec<TraceId>>,
    /// Where it looks at roots and extents: those of all traces in several places.
    facts: Vec<Arc<TraceFacts>>,
}

impl Counter {
    /// Counts the spans of a stored batch, but for those that are joined.
    fn stored(&self, mut batch: SpanBatch, into: &mut Partial) -> Result<Looked, EvalError> {
        self.facts.iter().for_each(|facts| facts.apply(&mut batch));
        self.apart(&batch, into)
    }

    /// The same for spans that are judged without a look at their traces.
    fn apart(&self, batch: &SpanBatch, into: &mut Partial) -> Result<Looked, EvalError> {
        let shared = rows_among(&self.joined, batch.traces.ids());
        self.job.observe(batch, shared.as_deref(), into)?;
        Ok(Looked::at(batch))
    }

    /// Counts traces that were joined, from all places or from live data alone.
    fn joined(&self, mut batch: SpanBatch) -> Result<Partial, EvalError> {
        self.facts.iter().for_each(|facts| facts.apply(&mut batch));
        let mut counted = Partial::default();
        self.job.observe(&batch, None, &mut counted)?;
        Ok(counted)
    }
}

/// What is done with every part of the data.
#[derive(Debug)]
pub(crate) struct Job {
    /// The query, as it is printed.
    pub(crate) text: String,
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

    pub(crate) fn reach(&self) -> Reach {
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

/// What is known of a block while its spans are counted.
#[derive(Debug)]
struct Progress {
    skipped: AtomicBool,
    first: AtomicU64,
    last: AtomicU64,
}

impl Default for Progress {
    fn default() -> Self {
        Self { skipped: AtomicBool::new(false), first: AtomicU64::new(u64::MAX), last: AtomicU64::new(0) }
    }
}

impl Progress {
    /// Whether everything could be read.
    fn is_whole(&self) -> bool {
        !self.skipped.load(Ordering::Relaxed)
    }

    fn seen(&self, (first, last): (u64, u64)) {
        self.first.fetch_min(first, Ordering::Relaxed);
        self.last.fetch_max(last, Ordering::Relaxed);
    }

    /// Between which times the spans start.
    fn extent(&self) -> (u64, u64) {
        (self.first.load(Ordering::Relaxed), self.last.load(Ordering::Relaxed))
    }
}

/// The least and the greatest of these; the wrong way round when there are none.
fn extent(starts: &[u64]) -> (u64, u64) {
    starts.iter().fold((u64::MAX, 0), |(first, last), start| (first.min(*start), last.max(*start)))
}

/// Reserves what a count has grown to.
fn hold(memory: &mut Reservation, counted: &Partial) -> Result<(), QueryError> {
    memory.grow_to(counted.memory()).map_err(|over| over_budget(&over))
}

impl<'s> MetricsQuery<'s> {
    pub(crate) async fn new(
        (source, overlap): (&'s Source, &'s Overlap),
        answers: &'s Answers,
        job: &Arc<Job>,
        tally: &'s Tally,
        ctx: &'s RequestCtx,
    ) -> Self {
        answers.forget_redacted(&source.reader);
        let reach = job.reach();
        let joined = match reach {
            Reach::Span | Reach::Facts => overlap.copied(source, tally).await,
            Reach::Trace => overlap.ids(),
        };
        let facts = match reach {
            Reach::Facts => overlap.facts(source, tally).await,
            Reach::Span | Reach::Trace => Vec::new(),
        };
        let counter = Counter { job: Arc::clone(job), joined, facts };
        Self { source, overlap, answers, counter: Arc::new(counter), tally, ctx }
    }

    /// Counts all spans of the tenant.
    pub(crate) async fn run(&self) -> Result<Partial, QueryError> {
        let mut all = Partial::default();
        let job = &self.counter.job;
        let mut memory = self.reserve(0).await?;
        if !job.selection.is_never() {
            let blocks = self.source.blocks_in(Some((job.time.start, job.time.end)), self.tally);
            let parts = stream::iter(blocks).map(|block| self.block(block));
            let mut parts = parts.buffer_unordered(READS_AT_ONCE);
            while let Some(part) = parts.next().await {
                self.check()?;
                all = self.merged(all, part?).await?;
                hold(&mut memory, &all)?;
            }
            drop(parts);
            all = self.merged(all, self.live().await?).await?;
            // Traces of blocks that lie in other places too.
            all = self.merged(all, self.join(&self.counter.joined, true).await?).await?;
        }
        Ok(all)
    }

    /// All of these together: work for the pool, since `compare()` merges some megabytes.
    async fn merged(&self, mut all: Partial, parts: Vec<Partial>) -> Result<Partial, QueryError> {
        let job = Arc::clone(&self.counter.job);
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

    async fn reserve(&self, bytes: u64) -> Result<Reservation, QueryError> {
        let failed = |error| match error {
            StoreError::Memory(over) => over_budget(&over),
            other => QueryError::new(ErrorKind::Internal, other.to_string()),
        };
        self.source.reader.reserve(bytes).await.map_err(failed)
    }

    /// Counts the spans of a block, or takes what was counted before.
    async fn block(&self, block: usize) -> Result<Vec<Partial>, QueryError> {
        let (job, reader) = (&self.counter.job, &self.source.reader);
        let Counter { joined, facts, .. } = &*self.counter;
        let elsewhere = Elsewhere { overlap: self.overlap, joined, facts };
        let (tenant, meta) = (&self.source.tenant, self.source.meta(block));
        let version = reader.redactions_version(tenant);
        let name = elsewhere.name(tenant, meta.block_id, job, version);
        if let Some(name) = &name
            && let Some(known) = self.answers.get(reader, name, job).await
        {
            self.tally.count(|metrics| metrics.completed_jobs += 1);
            return Ok(vec![known]);
        }
        let progress = Progress::default();
        let parts = self.count_block(block, &progress).await?;
        if !progress.is_whole() {
            return Ok(parts);
        }
        self.tally.count(|metrics| metrics.completed_jobs += 1);
        let Some(name) = name else { return Ok(parts) };
        let all = self.merged(Partial::default(), parts).await?;
        // What was hidden meanwhile may be named in it.
        if reader.redactions_version(tenant) == version
            && let Some(answer) = Answer::new(all.clone(), &job.time, progress.extent())
        {
            self.answers.put(reader, &name, answer).await;
        }
        Ok(vec![all])
    }

    async fn count_block(&self, block: usize, progress: &Progress) -> Result<Vec<Partial>, QueryError> {
        let row_groups = match self.source.reader.open(&self.source.tenant, self.source.meta(block)).await {
            Ok(file) => file.row_groups(),
            Err(error) => {
                self.skip(&error, progress);
                return Ok(Vec::new());
            }
        };
        let parts = stream::iter(0..row_groups).map(|row_group| self.row_group(block, row_group, progress));
        let parts: Vec<_> = parts.buffer_unordered(READS_AT_ONCE).collect().await;
        let parts: Vec<Vec<Partial>> = parts.into_iter().collect::<Result<_, _>>()?;
        Ok(parts.into_iter().flatten().collect())
    }

    /// Counts the spans of a row group, piece by piece.
    async fn row_group(
        &self,
        block: usize,
        row_group: usize,
        progress: &Progress,
    ) -> Result<Vec<Partial>, QueryError> {
        let needs = self.counter.job.needs();
        let prunes = self.counter.job.selection.prunes();
        let pieces = match self.source.pieces((block, row_group), prunes, &needs, self.tally).await {
            Ok(pieces) => Mutex::new(VecDeque::from(pieces)),
            Err(error) => {
                self.skip(&error, progress);
                return Ok(Vec::new());
            }
        };
        let first = pieces.lock().pop_front();
        let Some(first) = first else { return Ok(Vec::new()) };
        // It fetches for all of them.
        let counted = self.piece(first, Partial::default(), progress).await?;
        let lanes = std::iter::once(counted).chain(std::iter::repeat_with(Partial::default));
        let lanes = lanes.take(PIECES_AT_ONCE).map(|mut counted| async {
            let mut memory = self.reserve(0).await?;
            loop {
                hold(&mut memory, &counted)?;
                self.check()?;
                let next = pieces.lock().pop_front();
                let Some(piece) = next else { return Ok(counted) };
                counted = self.piece(piece, counted, progress).await?;
            }
        });
        futures::future::try_join_all(lanes).await
    }

    /// Adds the spans of a piece to what was counted. A piece that cannot be read is told to the tally.
    async fn piece(
        &self,
        piece: Piece,
        counted: Partial,
        progress: &Progress,
    ) -> Result<Partial, QueryError> {
        let counter = Arc::clone(&self.counter);
        // Kept where it is if the piece cannot be read.
        let counted = Arc::new(Mutex::new(counted));
        let into = Arc::clone(&counted);
        let work = move |batch: SpanBatch| {
            let extent = extent(&batch.spans.start);
            counter.stored(batch, &mut into.lock()).map(|looked| (looked, extent))
        };
        match piece.map(work).await {
            Ok((looked, bytes)) => {
                self.tally.count(|metrics| metrics.inspected_bytes += bytes);
                let (looked, extent) = looked.map_err(|error| eval_error(&error))?;
                self.tally.inspected(looked);
                progress.seen(extent);
            }
            Err(error) => self.skip(&error, progress),
        }
        let counted = std::mem::take(&mut *counted.lock());
        Ok(counted)
    }

    fn skip(&self, error: &StoreError, progress: &Progress) {
        progress.skipped.store(true, Ordering::Relaxed);
        self.tally.skip(error);
    }

    /// Live data: piece by piece where that will do, joined where whole traces are looked at.
    async fn live(&self) -> Result<Vec<Partial>, QueryError> {
        if self.source.view.chunks.is_empty() {
            return Ok(Vec::new());
        }
        let mut partials = Vec::new();
        if self.counter.job.reach() == Reach::Span {
            let parts = stream::iter(self.source.view.chunks.clone()).map(|chunk| self.chunk(chunk));
            let mut parts = parts.buffer_unordered(READS_AT_ONCE);
            while let Some(part) = parts.next().await {
                self.check()?;
                partials.extend(part?);
            }
        } else {
            let chunks = &self.source.view.chunks;
            let mut ids: Vec<TraceId> = chunks.iter().flat_map(|chunk| chunk.ids.iter().copied()).collect();
            ids.sort_unstable();
            ids.dedup();
            ids.retain(|id| self.counter.joined.binary_search(id).is_err());
            // Only of live data: the blocks have nothing of these, or have counted it already.
            partials = self.join(&ids, false).await?;
        }
        self.tally.count(|metrics| metrics.completed_jobs += 1);
        Ok(partials)
    }

    async fn chunk(&self, chunk: Arc<Chunk>) -> Result<Option<Partial>, QueryError> {
        let batch = match self.source.load_chunk(chunk).await {
            Ok(batch) => batch,
            Err(error) => {
                self.tally.skip(&error);
                return Ok(None);
            }
        };
        let counter = Arc::clone(&self.counter);
        let count = move || {
            let mut counted = Partial::default();
            counter.apart(&batch, &mut counted).map(|looked| (counted, looked))
        };
        Ok(self.counted(count).await?.map(|(counted, looked)| {
            self.tally.inspected(looked);
            counted
        }))
    }

    /// Runs what counts on the CPU pool. What fails there is told to the tally.
    async fn counted<T: Send + 'static>(
        &self,
        count: impl FnOnce() -> Result<T, EvalError> + Send + 'static,
    ) -> Result<Option<T>, QueryError> {
        match self.source.on_cpu(count).await {
            Ok(counted) => counted.map(Some).map_err(|error| eval_error(&error)),
            Err(error) => {
                self.tally.skip(&error);
                Ok(None)
            }
        }
    }

    async fn join(&self, ids: &[TraceId], with_blocks: bool) -> Result<Vec<Partial>, QueryError> {
        let mut partials = Vec::new();
        let mut needs = self.counter.job.join_needs();
        needs.add(Columns::ID);
        for ids in ids.chunks(JOINED_AT_ONCE) {
            self.check()?;
            let places = self.source.locate(ids, |_| !with_blocks, self.tally).await;
            match self.source.join(ids.to_vec(), places, &needs, self.tally).await {
                Ok(Scanned { batch, memory, .. }) => {
                    let counter = Arc::clone(&self.counter);
                    let counted = self.counted(move || counter.joined(batch)).await?;
                    drop(memory);
                    partials.extend(counted);
                }
                Err(error) => self.tally.skip(&error),
            }
        }
        Ok(partials)
    }
}
