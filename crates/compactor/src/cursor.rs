//! One input of a merge: its traces in the order of their ids, a piece of a row group at a time.

use std::collections::VecDeque;
use std::sync::Arc;

use trackway_common::{TenantId, TraceId};
use trackway_spans::{Needs, SpanBatch, keep_spans};
use trackway_storage::redact::Hidden;
use trackway_storage::{BlockReader, Piece, StoreError};
use trackway_vparquet::BlockFile;
use trackway_vparquet::meta::BlockMeta;

use crate::merge::MergeError;

/// Entries of all leaves together that are decoded at once: some thousand spans.
const PIECE_ENTRIES: u64 = 1 << 19;

/// A piece of an input.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) batch: Arc<SpanBatch>,
    /// What of it is written: the traces up to and with this one.
    written: Option<TraceId>,
}

impl Held {
    /// Whether a trace of it is still to be written, now that those up to `bound` are.
    pub(crate) fn is_due(&self, id: TraceId, bound: TraceId) -> bool {
        self.written.is_none_or(|written| written < id) && id <= bound
    }

    /// Whether it has spans of a trace.
    pub(crate) fn has(&self, id: TraceId) -> bool {
        self.batch.traces.ids().any(|other| other == id)
    }

    /// How many spans of it are to be written, now that the traces up to `bound` are.
    fn spans_due(&self, bound: TraceId) -> usize {
        let (batch, rows) = (&self.batch, self.batch.traces.len());
        if rows == 0
            || self.is_due(batch.traces.id(0), bound) && self.is_due(batch.traces.id(rows - 1), bound)
        {
            return batch.len();
        }
        let due: Vec<bool> = batch.traces.ids().map(|id| self.is_due(id, bound)).collect();
        batch.spans.trace.iter().filter(|trace| due[**trace as usize]).count()
    }
}

/// An input, as far as it was read.
#[derive(Debug)]
pub(crate) struct Cursor {
    reader: BlockReader,
    tenant: TenantId,
    meta: Arc<BlockMeta>,
    file: Arc<BlockFile>,
    spans_max: usize,
    next_row_group: usize,
    pieces: VecDeque<Piece>,
    /// What was read and is not written yet.
    pub(crate) held: VecDeque<Held>,
    /// The last trace that was read; there may be more of it.
    pub(crate) last: Option<TraceId>,
}

impl Cursor {
    pub(crate) async fn open(
        reader: &BlockReader,
        tenant: &TenantId,
        meta: &Arc<BlockMeta>,
        spans_max: usize,
    ) -> Result<Self, MergeError> {
        let failed = |source| MergeError::Input { block: meta.block_id, source: Box::new(source) };
        let file = reader.open(tenant, meta).await.map_err(failed)?;
        Ok(Self {
            reader: reader.clone(),
            tenant: tenant.clone(),
            meta: Arc::clone(meta),
            file,
            spans_max,
            next_row_group: 0,
            pieces: VecDeque::new(),
            held: VecDeque::new(),
            last: None,
        })
    }

    /// Whether all of it was read.
    pub(crate) fn is_done(&self) -> bool {
        self.pieces.is_empty() && self.next_row_group >= self.file.row_groups()
    }

    /// Reads the next piece, if there is one.
    pub(crate) async fn advance(&mut self) -> Result<(), MergeError> {
        let block = self.meta.block_id;
        let failed = |source| MergeError::Input { block, source: Box::new(source) };
        let needs = Needs::everything();
        if self.pieces.is_empty() && self.next_row_group < self.file.row_groups() {
            let spans = self.file.spans(self.next_row_group);
            if spans > self.spans_max {
                return Err(MergeError::TooLarge { block, spans });
            }
            let pieces = self
                .reader
                .pieces(&self.tenant, &self.meta, self.next_row_group, &needs, PIECE_ENTRIES)
                .await;
            self.pieces = pieces.map_err(failed)?.into();
            self.next_row_group += 1;
        }
        let Some(piece) = self.pieces.pop_front() else { return Ok(()) };
        let hidden = self.reader.hidden(&self.tenant);
        let (batch, _) = piece.map(move |batch| left(batch, hidden.as_deref())).await.map_err(failed)?;
        let ids: Vec<TraceId> = batch.traces.ids().collect();
        // A trace that takes several rows has them one behind the other, in pieces of their own.
        let ascends =
            ids.is_sorted_by(|a, b| a < b) && ids.first().is_none_or(|first| self.last <= Some(*first));
        if !ascends {
            let problem = "its traces are not in the order of their ids".to_owned();
            return Err(failed(StoreError::Damaged { path: block.to_string(), problem }));
        }
        if let Some(last) = ids.last() {
            self.last = Some(*last);
            self.held.push_back(Held { batch: Arc::new(batch), written: None });
        }
        Ok(())
    }

    /// Remembers that everything up to a trace is written, and lets go of what lies wholly below.
    pub(crate) fn release(&mut self, bound: TraceId) {
        while self.held.front().is_some_and(|held| last_of(&held.batch).is_none_or(|last| last <= bound)) {
            self.held.pop_front();
        }
        self.held.iter_mut().for_each(|held| held.written = held.written.max(Some(bound)));
    }

    /// How many spans are to be written, now that the traces up to `bound` are.
    pub(crate) fn spans_due(&self, bound: TraceId) -> usize {
        self.held.iter().map(|held| held.spans_due(bound)).sum()
    }
}

/// A batch from which hidden spans were taken, as what is left of it: without rows of traces that are gone, and without
/// what was stored about traces that are not whole any more.
fn left(batch: SpanBatch, hidden: Option<&Hidden>) -> SpanBatch {
    match hidden {
        Some(hidden) if hidden.touches(batch.traces.ids()) => keep_spans(&batch, &vec![true; batch.len()]),
        _ => batch,
    }
}

fn last_of(batch: &SpanBatch) -> Option<TraceId> {
    batch.traces.len().checked_sub(1).map(|row| batch.traces.id(row))
}
