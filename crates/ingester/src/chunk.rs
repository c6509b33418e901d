//! A frozen piece of a tenant's live data: some thousand spans, in memory or in a segment.

use std::sync::Arc;

use parking_lot::RwLock;
use trackway_common::TraceId;
use trackway_spans::SpanBatch;

use crate::segment::{SegmentError, Stored};

/// Spans that will change no more.
#[derive(Debug)]
pub struct Chunk {
    /// Unique in this process.
    pub id: u64,
    /// How many spans.
    pub spans: usize,
    /// Bytes in memory.
    pub bytes: usize,
    /// Log records whose spans these are, ascending.
    pub sequences: Vec<u64>,
    /// When the oldest of them was received, Unix nanoseconds.
    pub received: u64,
    /// Ids of its traces, sorted.
    pub ids: Vec<TraceId>,
    data: RwLock<Data>,
}

#[derive(Debug)]
enum Data {
    Memory(Arc<SpanBatch>),
    Stored(Stored),
}

impl Chunk {
    /// A chunk in memory.
    pub(crate) fn new(id: u64, batch: Arc<SpanBatch>, mut sequences: Vec<u64>, received: u64) -> Self {
        sequences.sort_unstable();
        let mut ids: Vec<TraceId> = batch.traces.ids().collect();
        ids.sort_unstable();
        Self {
            id,
            spans: batch.len(),
            bytes: batch.size_bytes() + ids.len() * 16,
            sequences,
            received,
            ids,
            data: RwLock::new(Data::Memory(batch)),
        }
    }

    /// A chunk in a segment.
    pub(crate) fn stored(id: u64, parts: ChunkParts, stored: Stored) -> Self {
        let ChunkParts { spans, bytes, sequences, received, ids } = parts;
        Self { id, spans, bytes, sequences, received, ids, data: RwLock::new(Data::Stored(stored)) }
    }

    /// The spans. Blocks on the disk when they lie in a segment.
    ///
    /// # Errors
    /// [`SegmentError`] when the segment cannot be read.
    pub fn load(&self) -> Result<Arc<SpanBatch>, SegmentError> {
        let stored = match &*self.data.read() {
            Data::Memory(batch) => return Ok(Arc::clone(batch)),
            Data::Stored(stored) => stored.clone(),
        };
        stored.read().map(Arc::new)
    }

    /// Whether loading it takes no more memory.
    pub fn is_in_memory(&self) -> bool {
        matches!(&*self.data.read(), Data::Memory(_))
    }

    /// The spans, if they are in memory.
    pub(crate) fn in_memory(&self) -> Option<Arc<SpanBatch>> {
        match &*self.data.read() {
            Data::Memory(batch) => Some(Arc::clone(batch)),
            Data::Stored(_) => None,
        }
    }

    /// Where the spans lie, if in a segment.
    pub(crate) fn segment(&self) -> Option<Stored> {
        match &*self.data.read() {
            Data::Memory(_) => None,
            Data::Stored(stored) => Some(stored.clone()),
        }
    }

    /// Lets go of the memory: the spans are durable in a segment now.
    pub(crate) fn moved_to(&self, stored: Stored) {
        *self.data.write() = Data::Stored(stored);
    }

    /// Whether spans of a trace are here.
    pub fn has(&self, id: TraceId) -> bool {
        self.ids.binary_search(&id).is_ok()
    }
}

/// What a segment says about a chunk.
#[derive(Debug)]
pub(crate) struct ChunkParts {
    pub(crate) spans: usize,
    pub(crate) bytes: usize,
    pub(crate) sequences: Vec<u64>,
    pub(crate) received: u64,
    pub(crate) ids: Vec<TraceId>,
}
