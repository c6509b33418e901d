//! A frozen piece of a tenant's live data: some thousand spans, in memory or in a segment.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;
use trackway_common::{MemoryPool, MemoryUser, Reservation, TraceId};
use trackway_spans::SpanBatch;

use crate::segment::{SegmentError, Stored};

/// What the id of a trace takes.
pub(crate) const ID_BYTES: usize = size_of::<TraceId>();

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
    /// For the ids.
    _memory: Reservation,
    /// Whether the head has let go of it.
    gone: AtomicBool,
}

/// Spans of a chunk. What they take in memory counts for as long as anybody has them, also when the head has let go of them.
#[derive(Debug)]
pub struct ChunkSpans {
    batch: SpanBatch,
    /// None when whoever has them reserved for them.
    _memory: Option<Reservation>,
}

impl From<SpanBatch> for ChunkSpans {
    fn from(batch: SpanBatch) -> Self {
        Self { batch, _memory: None }
    }
}

impl Deref for ChunkSpans {
    type Target = SpanBatch;

    fn deref(&self) -> &SpanBatch {
        &self.batch
    }
}

#[derive(Debug)]
enum Data {
    Memory(Arc<ChunkSpans>),
    Stored(Stored),
}

impl Chunk {
    /// A chunk in memory.
    pub(crate) fn new(
        id: u64,
        batch: SpanBatch,
        mut sequences: Vec<u64>,
        received: u64,
        memory: &MemoryPool,
    ) -> Self {
        sequences.sort_unstable();
        let mut ids: Vec<TraceId> = batch.traces.ids().collect();
        ids.sort_unstable();
        let bytes = batch.size_bytes();
        Self {
            id,
            spans: batch.len(),
            bytes: bytes + ids.len() * ID_BYTES,
            sequences,
            received,
            _memory: memory.take(MemoryUser::Head, ids.len() * ID_BYTES),
            ids,
            gone: AtomicBool::new(false),
            data: RwLock::new(Data::Memory(Arc::new(ChunkSpans {
                batch,
                _memory: Some(memory.take(MemoryUser::Head, bytes)),
            }))),
        }
    }

    /// A chunk in a segment.
    pub(crate) fn stored(id: u64, parts: ChunkParts, stored: Stored, memory: &MemoryPool) -> Self {
        let ChunkParts { spans, bytes, sequences, received, ids } = parts;
        let memory = memory.take(MemoryUser::Head, ids.len() * ID_BYTES);
        let data = RwLock::new(Data::Stored(stored));
        let gone = AtomicBool::new(false);
        Self { id, spans, bytes, sequences, received, ids, data, _memory: memory, gone }
    }

    /// The spans. Blocks on the disk when they lie in a segment.
    ///
    /// # Errors
    /// [`SegmentError`] when the segment cannot be read.
    pub fn load(&self) -> Result<Arc<ChunkSpans>, SegmentError> {
        let stored = match &*self.data.read() {
            Data::Memory(batch) => return Ok(Arc::clone(batch)),
            Data::Stored(stored) => stored.clone(),
        };
        stored.read().map(|batch| Arc::new(batch.into()))
    }

    /// Whether loading it takes no more memory.
    pub fn is_in_memory(&self) -> bool {
        matches!(&*self.data.read(), Data::Memory(_))
    }

    /// Where the spans lie, if in a segment.
    pub(crate) fn segment(&self) -> Option<Stored> {
        match &*self.data.read() {
            Data::Memory(_) => None,
            Data::Stored(stored) => Some(stored.clone()),
        }
    }

    /// Whether it is in memory only because somebody still looks at it.
    pub fn is_only_held(&self) -> bool {
        self.gone.load(Ordering::Relaxed) && self.is_in_memory()
    }

    /// The head has let go of it.
    pub(crate) fn leave(&self) {
        self.gone.store(true, Ordering::Relaxed);
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
