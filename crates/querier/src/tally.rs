//! What a question has read so far, and what it had to leave out.

use std::sync::Arc;

use parking_lot::Mutex;
use trackway_ingester::Chunk;
use trackway_spans::SpanBatch;
use trackway_storage::StoreError;

use trackway_common::{ErrorKind, MemoryPool, MemoryUser, OverBudget, RequestCtx};

use crate::service::{Completeness, Metrics, QueryError};

/// Reasons that are told in an answer; the log has all of them.
const REASONS_MAX: usize = 5;

/// Counts of one question, shared by its parts.
#[derive(Debug)]
pub(crate) struct Tally {
    state: Mutex<State>,
    /// Bytes that may be read; 0 for no limit.
    bytes_max: u64,
    memory: MemoryPool,
    /// Live data that stays in memory for as long as the question runs.
    holds: Mutex<Vec<Arc<Chunk>>>,
}

#[derive(Debug, Default)]
struct State {
    metrics: Metrics,
    skipped: usize,
    reasons: Vec<String>,
    cut: Option<String>,
    /// Why there can be no answer.
    failed: Option<QueryError>,
}

impl State {
    fn skipped(&mut self, reason: &str) {
        self.skipped += 1;
        if self.reasons.len() < REASONS_MAX {
            self.reasons.push(reason.to_owned());
        }
    }
}

/// How much was looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Looked {
    spans: u64,
    traces: u64,
}

impl Looked {
    /// All of a batch.
    pub(crate) fn at(batch: &SpanBatch) -> Self {
        Self { spans: batch.len() as u64, traces: batch.traces.len() as u64 }
    }
}

/// The error for a question that finds no memory.
pub(crate) fn over_budget(over: &OverBudget) -> QueryError {
    let message = format!("{over}; ask for less time or for fewer attributes, or ask again later");
    QueryError::new(ErrorKind::Exhausted, message)
}

impl Tally {
    /// Of a question that may read so many bytes of blocks; 0 for no limit.
    pub(crate) fn new(bytes_max: u64, memory: MemoryPool) -> Self {
        Self { state: Mutex::default(), bytes_max, memory, holds: Mutex::default() }
    }

    /// The question looks at this live data.
    pub(crate) fn holds(&self, chunks: &[Arc<Chunk>]) {
        self.holds.lock().extend_from_slice(chunks);
    }

    /// What the head has let go of and this question has not, where somebody who takes spans in is waiting for memory.
    fn holds_up(&self) -> Option<OverBudget> {
        if !self.memory.is_pressed() {
            return None;
        }
        let holds = self.holds.lock();
        let held: usize = holds.iter().filter(|chunk| chunk.is_only_held()).map(|chunk| chunk.bytes).sum();
        let (limit, used) = (self.memory.limit(), self.memory.used());
        (held > 0).then_some(OverBudget { limit, used, wanted: held, user: MemoryUser::Queries })
    }

    /// Whether the question may go on: its asker still listens, and it has not read too much.
    pub(crate) fn check(&self, ctx: &RequestCtx) -> Result<(), QueryError> {
        ctx.check().map_err(|error| QueryError::new(ErrorKind::Cancelled, error.to_string()))?;
        let (failed, read) = {
            let state = self.state.lock();
            (state.failed.clone(), state.metrics.inspected_bytes)
        };
        if let Some(failed) = failed {
            return Err(failed);
        }
        if let Some(over) = self.holds_up() {
            return Err(over_budget(&over));
        }
        let most = self.bytes_max;
        if most > 0 && read > most {
            let message = format!(
                "the query read more than {most} bytes; ask for less time or for fewer attributes, or raise \
                 trackway.query.max_bytes"
            );
            return Err(QueryError::new(ErrorKind::TooLarge, message));
        }
        Ok(())
    }

    /// Changes the counts.
    pub(crate) fn count(&self, change: impl FnOnce(&mut Metrics)) {
        change(&mut self.state.lock().metrics);
    }

    /// These spans were looked at.
    pub(crate) fn inspected(&self, looked: Looked) {
        self.count(|metrics| {
            metrics.inspected_spans += looked.spans;
            metrics.inspected_traces += looked.traces;
        });
    }

    /// Something could not be read. Where there is no memory for it now, but may be the next time, there is no answer.
    pub(crate) fn skip(&self, error: &StoreError) {
        if let StoreError::Memory(over) = error
            && !over.is_final()
        {
            self.state.lock().failed.get_or_insert_with(|| over_budget(over));
            return;
        }
        tracing::warn!(%error, "part of the data cannot be read; the answer is partial");
        self.state.lock().skipped(&error.to_string());
    }

    /// How many parts could not be read so far.
    pub(crate) fn skipped(&self) -> usize {
        self.state.lock().skipped
    }

    /// A limit cut the answer short.
    pub(crate) fn cut(&self, reason: &str) {
        self.state.lock().cut = Some(reason.to_owned());
    }

    /// A block could not be read when the store was looked through, and the log says so since then.
    pub(crate) fn miss(&self, problem: &str) {
        let mut state = self.state.lock();
        state.metrics.total_blocks += 1;
        state.metrics.total_jobs += 1;
        state.skipped(problem);
    }

    pub(crate) fn metrics(&self) -> Metrics {
        self.state.lock().metrics
    }

    pub(crate) fn completeness(&self) -> Completeness {
        let state = self.state.lock();
        let unread = (state.skipped > 0)
            .then(|| format!("{} parts could not be read: {}", state.skipped, state.reasons.join("; ")));
        match (unread, state.cut.clone()) {
            (None, None) => Completeness::Complete,
            (Some(one), None) | (None, Some(one)) => Completeness::Partial(one),
            (Some(unread), Some(cut)) => Completeness::Partial(format!("{cut} {unread}")),
        }
    }
}
