//! One trace: where it lies is found out, and its spans are joined. A trace that is too large to be held is read piece by
//! piece, a row of a block or a live chunk at a time, and given out as it comes.
//!
//! What must stay true: both ways give the same spans, each as often as it was sent; what a limit cuts off is told.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use trackway_common::{ErrorKind, RequestCtx, Reservation, TenantId, TraceId};
use trackway_ingester::Chunk;
use trackway_spans::{Needs, SpanBatch, encode_trace, fingerprints, keep_spans, merge_traces};
use trackway_storage::StoreError;
use trackway_vparquet::ROW_SPANS_MAX;
use trackway_vparquet::meta::BlockMeta;

use crate::fragments::{Places, Rows, Source, nanos};
use crate::querier::{Querier, range_nanos};
use crate::service::{Completeness, QueryError, TraceAnswer, TraceRequest};
use crate::shared_ids::tell_apart;
use crate::tally::{Tally, over_budget};

/// Spans that are joined at the most. A trace that may have more is read in pieces.
const JOINED_MAX: usize = 2 * ROW_SPANS_MAX;

const SECOND: u64 = 1_000_000_000;

impl Querier {
    /// All of a trace, or as much of it as may be in an answer.
    pub(crate) async fn find(
        &self,
        ctx: RequestCtx,
        request: TraceRequest,
    ) -> Result<TraceAnswer, QueryError> {
        let _admitted = self.guards.admit(&ctx).await?;
        let tally = Tally::new(self.config.max_bytes, self.reader.memory().clone());
        // Of several tenants the largest: each of them may have so much of it.
        let limits = ctx.tenants.iter().map(|tenant| match self.limits(tenant).max_bytes_per_trace {
            0 => usize::MAX,
            limit => limit,
        });
        let limit = limits.max().unwrap_or(usize::MAX);
        let mut answer = Answer { trace: Vec::new(), limit, is_cut: false };
        for tenant in &ctx.tenants {
            let source = self.source(tenant, range_nanos(request.range), &tally);
            let (places, spans) = self.places(&source, &request, &tally).await;
            tally.check(&ctx)?;
            if spans <= JOINED_MAX {
                if places.is_empty() {
                    continue;
                }
                match source.join(vec![request.id], places, &Needs::everything(), &tally).await {
                    Ok(mut joined) => {
                        tally.count(|metrics| metrics.inspected_spans += joined.batch.len() as u64);
                        tell_apart(&mut joined.batch);
                        answer.add(&joined.batch);
                    }
                    Err(error) => tally.skip(&error),
                }
            } else {
                let mut pieces = Pieces::new(&source, request.id, places);
                let mut memory = self.reader.reserve(0).await.map_err(no_memory)?;
                while let Some(piece) = pieces.next(&tally).await {
                    tally.check(&ctx)?;
                    answer.add(&piece);
                    memory.grow_to(answer.trace.len()).map_err(|over| over_budget(&over))?;
                    if answer.is_cut {
                        break;
                    }
                }
            }
            tally.check(&ctx)?;
        }
        let Answer { trace, is_cut, .. } = answer;
        if is_cut {
            tally.cut(&format!("Trace exceeds maximum size of {limit} bytes, a partial trace is returned"));
        }
        let cut_on_arrival = |tenant: &&TenantId| self.is_cut(tenant, request.id);
        if let Some(tenant) = ctx.tenants.iter().find(cut_on_arrival).filter(|_| !is_cut && !trace.is_empty())
        {
            tally.cut(&match self.limits(tenant).max_bytes_per_trace {
                0 => {
                    "Trace exceeded its maximum size when it arrived, a partial trace is returned".to_owned()
                }
                limit => format!("Trace exceeds maximum size of {limit} bytes, a partial trace is returned"),
            });
        }
        Ok(TraceAnswer {
            trace: (!trace.is_empty()).then(|| Bytes::from(trace)),
            metrics: tally.metrics(),
            completeness: tally.completeness(),
            too_large: is_cut.then_some(limit),
        })
    }

    /// All of a trace, however large, in pieces that are each a `Trace` message; so are all of them in a row.
    pub(crate) async fn stream(
        &self,
        ctx: RequestCtx,
        request: TraceRequest,
        send: mpsc::Sender<Result<Bytes, QueryError>>,
    ) {
        if let Err(error) = self.stream_into(&ctx, &request, &send).await {
            // Nobody listens any more when the asker went away.
            let _ = send.send(Err(error)).await;
        }
    }

    async fn stream_into(
        &self,
        ctx: &RequestCtx,
        request: &TraceRequest,
        send: &mpsc::Sender<Result<Bytes, QueryError>>,
    ) -> Result<(), QueryError> {
        let _admitted = self.guards.admit(ctx).await?;
        let tally = Tally::new(self.config.max_bytes, self.reader.memory().clone());
        let mut is_there = false;
        for tenant in &ctx.tenants {
            let source = self.source(tenant, range_nanos(request.range), &tally);
            let (places, _) = self.places(&source, request, &tally).await;
            let mut pieces = Pieces::new(&source, request.id, places);
            while let Some(piece) = pieces.next(&tally).await {
                tally.check(ctx)?;
                let encoded = source.on_cpu(move || encode_trace(&piece)).await;
                let encoded = encoded.map_err(no_memory)?;
                is_there = true;
                if send.send(Ok(encoded.into())).await.is_err() {
                    return Ok(());
                }
            }
        }
        tally.check(ctx)?;
        match tally.completeness() {
            Completeness::Partial(why) => Err(QueryError::new(ErrorKind::Internal, why)),
            Completeness::Complete if !is_there => {
                Err(QueryError::new(ErrorKind::NotFound, format!("trace {} is not known", request.id)))
            }
            Completeness::Complete => Ok(()),
        }
    }

    /// Where a trace lies, and about how many spans it has.
    async fn places(&self, source: &Source, request: &TraceRequest, tally: &Tally) -> (Places, usize) {
        tally.count(|metrics| metrics.total_blocks += source.view.blocks.len() as u32);
        let range = range_nanos(request.range);
        let outside = |meta: &BlockMeta| {
            range.is_some_and(|(start, end)| {
                nanos(meta.start_time) > end || nanos(meta.end_time).saturating_add(SECOND) < start
            })
        };
        let places = source.locate(&[request.id], outside, tally).await;
        let of_chunk = |chunk: &Arc<Chunk>| chunk.spans / chunk.ids.len().max(1);
        let mut spans: usize = places.chunks.iter().map(of_chunk).sum();
        for rows in &places.rows {
            // What cannot be opened now is told when it is to be loaded.
            if let Ok(file) = source.reader.open(&source.tenant, source.meta(rows.block)).await {
                spans += file.spans(rows.row_group) / file.rows(rows.row_group).max(1) * rows.rows.len();
            }
        }
        (places, spans)
    }
}

fn no_memory(error: StoreError) -> QueryError {
    match error {
        StoreError::Memory(over) => over_budget(&over),
        other => QueryError::new(ErrorKind::Internal, other.to_string()),
    }
}

/// An answer that grows up to a limit.
struct Answer {
    trace: Vec<u8>,
    limit: usize,
    is_cut: bool,
}

impl Answer {
    /// Adds spans, as many as there is room for.
    fn add(&mut self, batch: &SpanBatch) {
        let encoded = encode_trace(batch);
        let room = self.limit.saturating_sub(self.trace.len());
        if encoded.len() <= room {
            self.trace.extend(encoded);
            return;
        }
        self.is_cut = true;
        // The first spans, as many as are likely to fit, and fewer while they do not.
        let mut spans = batch.len() * room / encoded.len();
        while spans > 0 {
            let keep: Vec<bool> = (0..batch.len()).map(|span| span < spans).collect();
            let encoded = encode_trace(&keep_spans(batch, &keep));
            if encoded.len() <= room {
                self.trace.extend(encoded);
                return;
            }
            spans = spans * 3 / 4;
        }
    }
}

/// Reads a trace piece by piece.
struct Pieces<'s> {
    source: &'s Source,
    id: TraceId,
    chunks: std::vec::IntoIter<Arc<Chunk>>,
    rows: std::vec::IntoIter<Rows>,
    /// What copies would have in common with the spans that other places gave out. Live data is one place, each block
    /// another: what one of them holds several times was sent several times.
    given: HashSet<u64>,
    /// The same of this place, and which block it is.
    here: Vec<u64>,
    block: Option<usize>,
    is_only_place: bool,
    /// For the piece that was given out last.
    memory: Option<Reservation>,
}

impl<'s> Pieces<'s> {
    fn new(source: &'s Source, id: TraceId, places: Places) -> Self {
        let mut blocks: Vec<usize> = places.rows.iter().map(|rows| rows.block).collect();
        blocks.dedup();
        let is_only_place = blocks.len() + usize::from(!places.chunks.is_empty()) <= 1;
        let (chunks, rows) = (places.chunks.into_iter(), places.rows.into_iter());
        Self {
            source,
            id,
            chunks,
            rows,
            given: HashSet::new(),
            here: Vec::new(),
            block: None,
            is_only_place,
            memory: None,
        }
    }

    /// The next spans; nothing when there are no more. What cannot be read is told to the tally.
    async fn next(&mut self, tally: &Tally) -> Option<SpanBatch> {
        loop {
            let batch = match self.chunks.next() {
                Some(chunk) => self.live(chunk).await,
                None => {
                    let rows = self.rows.next()?;
                    self.begin(rows.block);
                    self.stored(rows).await
                }
            };
            match batch {
                Ok(batch) => {
                    tally.count(|metrics| metrics.inspected_spans += batch.len() as u64);
                    let batch = if self.is_only_place { batch } else { self.without_copies(batch) };
                    if !batch.is_empty() {
                        return Some(batch);
                    }
                }
                Err(error) => tally.skip(&error),
            }
        }
    }

    /// From here on it is about this block.
    fn begin(&mut self, block: usize) {
        if self.block != Some(block) {
            self.block = Some(block);
            self.given.extend(self.here.drain(..));
        }
    }

    async fn live(&mut self, chunk: Arc<Chunk>) -> Result<SpanBatch, StoreError> {
        self.memory = None;
        let (live, id) = (self.source.load_chunk(chunk).await?, self.id);
        self.source.on_cpu(move || merge_traces(&[&live], &[id])).await
    }

    async fn stored(&mut self, rows: Rows) -> Result<SpanBatch, StoreError> {
        let (tenant, meta) = (&self.source.tenant, self.source.meta(rows.block));
        let needs = Needs::everything();
        self.memory = None;
        let loaded = self.source.reader.load(tenant, meta, rows.row_group, Some(rows.rows), &needs).await?;
        self.memory = Some(loaded.memory);
        Ok(loaded.batch)
    }

    fn without_copies(&mut self, batch: SpanBatch) -> SpanBatch {
        let prints = fingerprints(&batch);
        let keep: Vec<bool> = prints.iter().map(|print| !self.given.contains(print)).collect();
        self.here.extend(prints);
        if keep.contains(&false) { keep_spans(&batch, &keep) } else { batch }
    }
}
