//! The head of a tenant: an open builder, and the chunks that have been frozen and not yet gone to a block.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use trackway_common::{MemoryPool, MemoryUser};
use trackway_spans::{AppendError, Appended, BatchBuilder, Limits, SpanBatch, append_request};

use crate::chunk::{Chunk, ID_BYTES};

/// Spans at which a builder is frozen.
const CHUNK_SPANS: usize = 8192;

/// Bytes of spans in memory, of all tenants together, kept up to date by their heads.
#[derive(Clone, Debug)]
pub(crate) struct MemoryCount {
    bytes: Arc<AtomicUsize>,
    pool: MemoryPool,
}

impl MemoryCount {
    pub(crate) fn new(pool: MemoryPool) -> Self {
        Self { bytes: Arc::default(), pool }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Frozen chunks, which count for themselves in the budget, take other bytes than before.
    fn change(&self, from: usize, to: usize) {
        // Wrapping arithmetic: the differences add up to what is there.
        self.bytes.fetch_add(to.wrapping_sub(from), Ordering::Relaxed);
    }

    /// An open builder takes other bytes than before.
    fn change_open(&self, from: usize, to: usize) {
        self.change(from, to);
        self.pool.change(MemoryUser::Head, from, to);
    }
}

/// The head of one tenant.
#[derive(Debug)]
pub(crate) struct Head {
    state: Mutex<State>,
    memory: MemoryCount,
}

#[derive(Debug, Default)]
struct State {
    builder: BatchBuilder,
    sequences: Vec<u64>,
    received: u64,
    /// What the builder held when somebody last asked.
    snapshot: Option<Arc<Chunk>>,
    chunks: Vec<Arc<Chunk>>,
    /// Of everything here; what it was when it was last counted.
    size: Size,
    /// Bytes of the open builder, when they were last counted.
    open_bytes: usize,
}

impl State {
    fn forget_snapshot(&mut self) {
        if let Some(snapshot) = self.snapshot.take() {
            snapshot.leave();
        }
    }
}

/// Numbers for chunks, unique in the process.
static NEXT_CHUNK: AtomicU64 = AtomicU64::new(1);

/// A number that no other chunk has.
pub(crate) fn next_chunk_id() -> u64 {
    NEXT_CHUNK.fetch_add(1, Ordering::Relaxed)
}

impl Default for Size {
    fn default() -> Self {
        Self { spans: 0, bytes: 0, memory: 0, oldest: u64::MAX }
    }
}

/// How much is in a head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) spans: usize,
    pub(crate) bytes: usize,
    pub(crate) memory: usize,
    /// When the oldest span was received; `u64::MAX` without spans.
    pub(crate) oldest: u64,
}

impl Head {
    /// An empty head that keeps `memory` up to date.
    pub(crate) fn new(memory: MemoryCount) -> Self {
        Self { state: Mutex::default(), memory }
    }

    /// Counts the frozen chunks anew, after some came, went, or moved to a segment.
    fn recount(&self, state: &mut State) {
        let before = state.size.memory;
        let mut size = Size::default();
        for chunk in &state.chunks {
            size.spans += chunk.spans;
            size.bytes += chunk.bytes;
            size.memory += if chunk.is_in_memory() { chunk.bytes } else { chunk.ids.len() * ID_BYTES };
            size.oldest = size.oldest.min(chunk.received);
        }
        state.size = size;
        self.memory.change(before, size.memory);
    }

    /// Counts anew after chunks have moved to a segment.
    pub(crate) fn moved(&self) {
        self.recount(&mut self.state.lock());
    }

    /// Appends a request whose record is durable.
    pub(crate) fn append(
        &self,
        sequence: u64,
        received: u64,
        body: &[u8],
        limits: Limits,
        skip: &[u32],
    ) -> Result<Appended, AppendError> {
        let mut state = self.state.lock();
        let appended = append_request(&mut state.builder, body, limits, skip)?;
        if appended.spans > 0 {
            if state.sequences.is_empty() {
                state.received = received;
            }
            state.received = state.received.min(received);
            state.sequences.push(sequence);
            state.forget_snapshot();
            if state.builder.is_full(CHUNK_SPANS) {
                self.freeze(&mut state);
            } else {
                self.count_open(&mut state);
            }
        }
        Ok(appended)
    }

    /// Adds a chunk that was found at start.
    pub(crate) fn adopt(&self, chunk: Arc<Chunk>) {
        let mut state = self.state.lock();
        state.chunks.push(chunk);
        self.recount(&mut state);
    }

    /// Everything that is here, for reading.
    pub(crate) fn view(&self) -> Vec<Arc<Chunk>> {
        let mut state = self.state.lock();
        let mut chunks = state.chunks.clone();
        if !state.builder.is_empty() {
            let snapshot = match &state.snapshot {
                Some(snapshot) => Arc::clone(snapshot),
                None => {
                    let (batch, sequences) = (state.builder.snapshot(), state.sequences.clone());
                    let chunk = self.chunk(batch, sequences, state.received);
                    state.snapshot = Some(Arc::clone(&chunk));
                    chunk
                }
            };
            chunks.push(snapshot);
        }
        chunks
    }

    /// The chunks, after freezing what is open.
    pub(crate) fn frozen(&self) -> Vec<Arc<Chunk>> {
        let mut state = self.state.lock();
        if !state.builder.is_empty() {
            self.freeze(&mut state);
        }
        state.chunks.clone()
    }

    /// Takes chunks away: they are in a block now.
    pub(crate) fn remove(&self, gone: &[u64]) {
        let mut state = self.state.lock();
        state.chunks.retain(|chunk| {
            let stays = !gone.contains(&chunk.id);
            if !stays {
                chunk.leave();
            }
            stays
        });
        self.recount(&mut state);
    }

    pub(crate) fn size(&self) -> Size {
        let state = self.state.lock();
        let mut size = state.size;
        if !state.builder.is_empty() {
            size.spans += state.builder.len();
            size.bytes += state.open_bytes;
            size.memory += state.open_bytes;
            size.oldest = size.oldest.min(state.received);
        }
        size
    }

    /// The oldest record whose spans are only in memory.
    pub(crate) fn low_water(&self) -> Option<u64> {
        let state = self.state.lock();
        let open = state.sequences.iter().min().copied();
        let frozen = state.chunks.iter().filter(|chunk| chunk.is_in_memory());
        frozen.filter_map(|chunk| chunk.sequences.first().copied()).chain(open).min()
    }
}

impl Head {
    fn chunk(&self, batch: SpanBatch, sequences: Vec<u64>, received: u64) -> Arc<Chunk> {
        Arc::new(Chunk::new(next_chunk_id(), batch, sequences, received, &self.memory.pool))
    }

    fn freeze(&self, state: &mut State) {
        let batch = std::mem::take(&mut state.builder).finish();
        let sequences = std::mem::take(&mut state.sequences);
        let chunk = self.chunk(batch, sequences, state.received);
        let before = state.size.memory;
        state.size.spans += chunk.spans;
        state.size.bytes += chunk.bytes;
        state.size.memory += chunk.bytes;
        state.size.oldest = state.size.oldest.min(chunk.received);
        self.memory.change(before, state.size.memory);
        self.memory.change_open(state.open_bytes, 0);
        state.open_bytes = 0;
        state.chunks.push(chunk);
        state.forget_snapshot();
    }

    fn count_open(&self, state: &mut State) {
        let bytes = state.builder.size_bytes();
        self.memory.change_open(state.open_bytes, bytes);
        state.open_bytes = bytes;
    }
}
