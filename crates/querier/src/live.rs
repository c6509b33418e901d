//! Live spans, loaded: those of chunks in memory as they are, those of segments within the budget.

use std::sync::Arc;

use futures::{StreamExt, stream};
use trackway_common::{Reservation, TraceId};
use trackway_ingester::{Chunk, ChunkSpans, SegmentError};
use trackway_spans::{Needs, SpanBatch, merge_traces, narrowed};
use trackway_storage::StoreError;

use crate::fragments::{READS_AT_ONCE, Source};
use crate::tally::Tally;

/// Live spans, with what is reserved for them where they are not those of the head.
#[derive(Debug)]
pub(crate) struct Live {
    spans: Arc<ChunkSpans>,
    /// The chunk whose memory they share.
    _whole: Option<Arc<ChunkSpans>>,
    memory: Option<Reservation>,
}

impl AsRef<SpanBatch> for Live {
    fn as_ref(&self) -> &SpanBatch {
        &self.spans
    }
}

impl std::ops::Deref for Live {
    type Target = SpanBatch;

    fn deref(&self) -> &SpanBatch {
        &self.spans
    }
}

/// What could be loaded; the tally is told of the rest.
pub(crate) fn loaded(results: Vec<Result<Live, StoreError>>, tally: &Tally) -> Vec<Live> {
    let loaded = results.into_iter().filter_map(|result| result.map_err(|error| tally.skip(&error)).ok());
    loaded.collect()
}

impl Source {
    /// Loads live chunks.
    pub(crate) async fn load_chunks(&self, chunks: Vec<Arc<Chunk>>, tally: &Tally) -> Vec<Live> {
        let loads = stream::iter(chunks).map(|chunk| self.load_chunk(chunk));
        loaded(loads.buffered(READS_AT_ONCE).collect().await, tally)
    }

    /// Loads one live chunk, on a thread that may wait for the disk.
    pub(crate) async fn load_chunk(&self, chunk: Arc<Chunk>) -> Result<Live, StoreError> {
        let damaged = |problem: String| StoreError::Damaged { path: "segment".to_owned(), problem };
        let hidden = self.reader.hidden(&self.tenant);
        let hidden = hidden.filter(|hidden| hidden.ids().any(|id| chunk.has(id)));
        let memory = match chunk.is_in_memory() && hidden.is_none() {
            true => None,
            false => Some(self.reader.reserve(chunk.bytes as u64).await?),
        };
        let load = move || {
            let spans = chunk.load()?;
            Ok::<_, SegmentError>(match hidden {
                Some(hidden) => Arc::new(hidden.without(SpanBatch::clone(&spans)).into()),
                None => spans,
            })
        };
        let loaded = tokio::task::spawn_blocking(load).await;
        let loaded = loaded.map_err(|error| damaged(error.to_string()))?;
        let spans = loaded.map_err(|error| damaged(error.to_string()))?;
        Ok(Live { spans, _whole: None, memory })
    }

    /// Loads what is needed of some traces of a live chunk, ascending. Of one in a segment only that stays in memory.
    pub(crate) async fn load_wanted(
        &self,
        chunk: Arc<Chunk>,
        ids: &Arc<Vec<TraceId>>,
        needs: &Arc<Needs>,
    ) -> Result<Live, StoreError> {
        let Live { spans, memory, .. } = self.load_chunk(chunk).await?;
        let (ids, needs) = (Arc::clone(ids), Arc::clone(needs));
        let take = move || {
            let narrow = narrowed(&spans, &needs);
            let Some(mut memory) = memory else {
                return Live { spans: Arc::new(narrow.into()), _whole: Some(spans), memory };
            };
            let mut here: Vec<TraceId> =
                narrow.traces.ids().filter(|id| ids.binary_search(id).is_ok()).collect();
            here.sort_unstable();
            let taken = merge_traces(&[&narrow], &here);
            drop((narrow, spans));
            memory.shrink_to(taken.size_bytes());
            Live { spans: Arc::new(taken.into()), _whole: None, memory: Some(memory) }
        };
        self.on_cpu(take).await
    }
}
