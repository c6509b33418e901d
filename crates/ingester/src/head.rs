//! The head of a tenant: an open builder, and the chunks that have been frozen and not yet gone to a block.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use trackway_spans::{Appended, AppendError, BatchBuilder, Limits, append_request};

use crate::chunk::Chunk;

/// Spans at which a builder is frozen.
const CHUNK_SPANS: usize = 8192;

/// The head of one tenant.
#[derive(Debug, Default)]
pub(crate) struct Head {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    builder: BatchBuilder,
    sequences: Vec<u64>,
    received: u64,
    /// What the builder held when somebody last asked.
    snapshot: Option<Arc<Chunk>>,
    chunks: Vec<Arc<Chunk>>,
}

/// Numbers for chunks, unique in the process.
static NEXT_CHUNK: AtomicU64 = AtomicU64::new(1);

/// A number that no other chunk has.
pub(crate) fn next_chunk_id() -> u64 {
    NEXT_CHUNK.fetch_add(1, Ordering::Relaxed)
}

/// How much is in a head.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Size {
    pub(crate) spans: usize,
    pub(crate) bytes: usize,
    pub(crate) memory: usize,
    /// When the oldest span was received; `u64::MAX` without spans.
    pub(crate) oldest: u64,
}

impl Head {
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
            state.snapshot = None;
            if state.builder.is_full(CHUNK_SPANS) {
                state.freeze();
            }
        }
        Ok(appended)
    }

    /// Adds a chunk that was found at start.
    pub(crate) fn adopt(&self, chunk: Arc<Chunk>) {
        self.state.lock().chunks.push(chunk);
    }

    /// Everything that is here, for reading.
    pub(crate) fn view(&self) -> Vec<Arc<Chunk>> {
        let mut state = self.state.lock();
        let mut chunks = state.chunks.clone();
        if !state.builder.is_empty() {
            let snapshot = match &state.snapshot {
                Some(snapshot) => Arc::clone(snapshot),
                None => {
                    let batch = Arc::new(state.builder.snapshot());
                    let chunk = Chunk::new(0, batch, state.sequences.clone(), state.received);
                    let chunk = Arc::new(chunk);
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
            state.freeze();
        }
        state.chunks.clone()
    }

    /// Takes chunks away: they are in a block now.
    pub(crate) fn remove(&self, gone: &[u64]) {
        self.state.lock().chunks.retain(|chunk| !gone.contains(&chunk.id));
    }

    pub(crate) fn size(&self) -> Size {
        let state = self.state.lock();
        let open = if state.builder.is_empty() { 0 } else { state.builder.size_bytes() };
        let mut size = Size {
            spans: state.builder.len(),
            bytes: open,
            memory: open,
            oldest: if state.builder.is_empty() { u64::MAX } else { state.received },
        };
        for chunk in &state.chunks {
            size.spans += chunk.spans;
            size.bytes += chunk.bytes;
            size.memory += if chunk.in_memory().is_some() { chunk.bytes } else { chunk.ids.len() * 16 };
            size.oldest = size.oldest.min(chunk.received);
        }
        size
    }

    /// The oldest record whose spans are only in memory.
    pub(crate) fn low_water(&self) -> Option<u64> {
        let state = self.state.lock();
        let open = state.sequences.iter().min().copied();
        let frozen = state.chunks.iter().filter(|chunk| chunk.in_memory().is_some());
        frozen.filter_map(|chunk| chunk.sequences.first().copied()).chain(open).min()
    }
}

impl State {
    fn freeze(&mut self) {
        let batch = Arc::new(std::mem::take(&mut self.builder).finish());
        let sequences = std::mem::take(&mut self.sequences);
        self.chunks.push(Arc::new(Chunk::new(next_chunk_id(), batch, sequences, self.received)));
        self.snapshot = None;
    }
}
