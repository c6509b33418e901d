//! Moves spans on: from the head to segments when memory runs short, from there to blocks when it is time.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use trackway_common::{MemoryUser, OverBudget, Reservation, TenantId};
use trackway_storage::StoreError;
use trackway_vparquet::WriteError;
use trackway_wal::{Log, LogError};

use crate::chunk::Chunk;
use crate::head::Head;
use crate::segment::{self, SegmentError};
use crate::service::Ingester;

/// How long it is waited for memory to write a block in, before it is tried again.
const MEMORY_WAIT: Duration = Duration::from_secs(30);
/// What putting the columns of a block together takes, in tenths of what its spans do.
const ENCODING_TENTHS: usize = 20;
/// The spans of a block take so many of the budget's parts at the most.
const BLOCK_SHARE: usize = 4;

/// Spans that could not be moved on. They stay where they are, and it is tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FlushError {
    #[error("{0}")]
    Segment(#[from] SegmentError),
    #[error("building a block: {0}")]
    Write(#[from] WriteError),
    #[error("{path}: {source}")]
    Io { path: String, source: std::io::Error },
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("{0}")]
    Log(#[from] LogError),
    #[error("{0}")]
    Memory(#[from] OverBudget),
    #[error("building a block stopped in the middle")]
    Interrupted,
}

impl FlushError {
    /// Whether a segment found no room on the disk.
    pub(crate) fn is_full(&self) -> bool {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(self, Self::Segment(SegmentError::Io { source, .. })
            if matches!(source.kind(), StorageFull | QuotaExceeded))
    }
}

impl Ingester {
    /// Moves spans on until told to stop; then once more, if the configuration says so.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let wait_for_wake = match self.move_on().await {
                Ok(true) => continue, // there may be more
                Ok(false) => true,
                Err(error) => {
                    self.warn(&error);
                    // Do not spin on a store that is down: the next look is due after a period, whatever is pushed meanwhile.
                    false
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.wake.notified(), if wait_for_wake => {}
                () = tokio::time::sleep(self.config.check_period) => {}
            }
        }
    }

    fn warn(&self, error: &FlushError) {
        let text = error.to_string();
        let mut last = self.last_warning.lock();
        if last.as_ref() != Some(&text) {
            tracing::warn!(
                error = text,
                "spans cannot be moved on to blocks; they are kept, and it is tried again"
            );
            *last = Some(text);
        }
    }

    /// Moves on what is due, a block a tenant; returns whether anything was.
    async fn move_on(self: &Arc<Self>) -> Result<bool, FlushError> {
        let now = self.clock.now();
        let age_max = u64::try_from(self.config.block_age_max.as_nanos()).unwrap_or(u64::MAX);
        let mut moved = false;
        for (tenant, head) in self.heads() {
            let size = head.size();
            let old = now.saturating_sub(size.oldest) >= age_max && size.spans > 0;
            if old || self.is_due(&size) {
                self.flush_one(&tenant, &head).await?;
                moved = true;
            }
        }
        if self.memory() > self.config.head_bytes_max || self.log_is_filling() {
            self.relieve().await?;
            moved = true;
        }
        if moved {
            self.release().await?;
            self.freed.notify_waiters();
            *self.last_warning.lock() = None;
        }
        Ok(moved)
    }

    /// Whether the log holds so much that something old must be keeping it: it lets go only of what no head needs, and one
    /// quiet tenant's span would keep everything behind it until its block is due.
    pub(crate) fn log_is_filling(&self) -> bool {
        self.log.as_ref().is_some_and(|log| log.bytes() > self.config.wal_bytes_max / 2)
            && self.heads().iter().any(|(_, head)| head.low_water().is_some())
    }

    /// Whether senders must wait until the log has let go of something.
    pub(crate) fn log_is_nearly_full(&self) -> bool {
        self.log.as_ref().is_some_and(|log| log.bytes() > self.config.wal_bytes_max / 10 * 9)
    }

    /// Gets spans out of memory: all of them to a segment, or, when there is no room for another, those of the largest
    /// head to a block before it is due.
    async fn relieve(self: &Arc<Self>) -> Result<(), FlushError> {
        if self.segments_have_room() {
            let ingester = Arc::clone(self);
            let written = tokio::task::spawn_blocking(move || ingester.write_segment()).await;
            return written.map_err(|_| FlushError::Interrupted)?;
        }
        let largest = self.heads().into_iter().max_by_key(|(_, head)| head.size().bytes);
        match largest {
            Some((tenant, head)) => self.flush_one(&tenant, &head).await.map(|_| ()),
            None => Ok(()),
        }
    }

    /// Writes everything of a tenant, or of all, to blocks. Returns how many blocks were written.
    ///
    /// # Errors
    /// A text that says what went wrong; what was not written stays where it is.
    pub async fn flush(self: &Arc<Self>, tenant: Option<&TenantId>) -> Result<usize, String> {
        // In a task of its own: an asker who goes away must not leave a block that is written and that nobody knows of.
        let (ingester, tenant) = (Arc::clone(self), tenant.cloned());
        let flushed = tokio::spawn(async move { ingester.flush_all(tenant.as_ref()).await }).await;
        flushed.unwrap_or_else(|_| Err(FlushError::Interrupted.to_string()))
    }

    async fn flush_all(self: &Arc<Self>, tenant: Option<&TenantId>) -> Result<usize, String> {
        let mut blocks = 0;
        for (name, head) in self.heads() {
            if tenant.is_some_and(|tenant| *tenant != name) {
                continue;
            }
            while head.size().spans > 0 {
                blocks += self.flush_one(&name, &head).await.map_err(|error| error.to_string())?;
            }
        }
        self.release().await.map_err(|error| error.to_string())?;
        Ok(blocks)
    }

    /// Whether everything goes to blocks when the process stops.
    pub fn flushes_on_shutdown(&self) -> bool {
        self.config.flush_on_shutdown
    }

    fn segments_have_room(&self) -> bool {
        let mut files = HashSet::new();
        let mut bytes = 0;
        for (_, head) in self.heads() {
            for stored in head.view().iter().filter_map(|chunk| chunk.segment()) {
                if files.insert(stored.file.path.clone()) {
                    bytes += stored.file.bytes;
                }
            }
        }
        files.len() < self.config.segments_max && bytes < self.config.segment_bytes_max
    }

    /// Writes all chunks that are in memory to one segment. Blocks on I/O.
    pub(crate) fn write_segment(&self) -> Result<(), FlushError> {
        let mut chunks: Vec<(TenantId, Arc<Chunk>)> = Vec::new();
        for (tenant, head) in self.heads() {
            let frozen = head.frozen().into_iter().filter(|chunk| chunk.is_in_memory());
            chunks.extend(frozen.map(|chunk| (tenant.clone(), chunk)));
        }
        if chunks.is_empty() {
            return Ok(());
        }
        let number = self.next_segment.fetch_add(1, Ordering::Relaxed);
        let path = self.config.folder.join("segments").join(format!("{number:010}.segment"));
        let places = segment::write(&path, self.log_id, &chunks)?;
        for ((_, chunk), stored) in chunks.iter().zip(places) {
            chunk.moved_to(stored);
        }
        for (_, head) in self.heads() {
            head.moved();
        }
        self.metrics.segments_written.fetch_add(1, Ordering::Relaxed);
        self.freed.notify_waiters();
        Ok(())
    }

    /// Writes the oldest spans of a tenant, as many as fit into one block, and says how many blocks they became.
    async fn flush_one(self: &Arc<Self>, tenant: &TenantId, head: &Arc<Head>) -> Result<usize, FlushError> {
        let _one_at_a_time = self.flushing.lock().await;
        self.drop_half().await?;
        let chunks = self.chosen(head);
        if chunks.is_empty() {
            return Ok(0);
        }
        let _memory = self.memory_for(&chunks).await?;
        let ids = [self.random.uuid(), self.random.uuid()];
        let began = tokio::time::Instant::now();
        let written = self.write_blocks(tenant, ids, &chunks).await;
        self.metrics.flushes.record(began.elapsed());
        for id in ids {
            // Of no use any more, or never there; a left-over is removed at the next start.
            let _ = std::fs::remove_file(self.building(id));
        }
        let entries = match written {
            Ok(entries) => entries,
            Err(error) => {
                self.metrics.failed_flushes.fetch_add(1, Ordering::Relaxed);
                // What is there of them would take more of a disk that may be full with every try.
                for id in ids {
                    let _ = self.reader.store().delete_block(tenant, id).await;
                }
                return Err(error);
            }
        };
        let traces = entries.iter().map(|entry| entry.meta.total_objects).sum();
        self.metrics.traces_written.fetch_add(traces, Ordering::Relaxed);
        let (blocks, gone) = (entries.len(), chunks.iter().map(|chunk| chunk.id).collect::<Vec<u64>>());
        {
            let _publication = self.publication.write();
            // The only refusal is about removed inputs, of which there are none.
            let _ = self.catalog.commit(tenant, entries, &[]);
            head.remove(&gone);
        }
        self.metrics.blocks_flushed.fetch_add(blocks as u64, Ordering::Relaxed);
        self.freed.notify_waiters();
        self.remove_segments(&chunks);
        self.write_index(tenant).await;
        Ok(blocks)
    }

    /// Reserves what it takes to make a block of these: what lies in segments is loaded, and the columns are put together.
    async fn memory_for(&self, chunks: &[Arc<Chunk>]) -> Result<Reservation, FlushError> {
        let of = |chunk: &Arc<Chunk>| {
            let loaded = if chunk.is_in_memory() { 0 } else { chunk.bytes };
            loaded + chunk.bytes / 10 * ENCODING_TENTHS
        };
        let pool = &self.config.memory;
        // One chunk alone is written whatever it takes: nothing else would ever let go of it.
        let bytes = chunks.iter().map(of).sum::<usize>().min(pool.limit() / 2);
        Ok(pool.wait(MemoryUser::Blocks, bytes, MEMORY_WAIT).await?)
    }

    /// The oldest chunks, as many as fit into one block, and into memory while it is written.
    fn chosen(&self, head: &Head) -> Vec<Arc<Chunk>> {
        let bytes_max = self.config.block_bytes_max.min(self.config.memory.limit() / BLOCK_SHARE);
        let (mut spans, mut bytes) = (0, 0);
        let mut chunks = head.frozen();
        chunks.sort_by_key(|chunk| chunk.id);
        let fits = |chunk: &Arc<Chunk>| {
            let first = spans == 0;
            spans += chunk.spans;
            bytes += chunk.bytes;
            first || (spans <= self.config.block_spans_max && bytes <= bytes_max)
        };
        chunks.into_iter().take_while(fits).collect()
    }

    /// Deletes segments in which nobody has chunks any more.
    fn remove_segments(&self, gone: &[Arc<Chunk>]) {
        let candidates: HashSet<PathBuf> =
            gone.iter().filter_map(|chunk| chunk.segment()).map(|stored| stored.file.path.clone()).collect();
        if candidates.is_empty() {
            return;
        }
        let mut used = HashSet::new();
        for (_, head) in self.heads() {
            used.extend(head.view().iter().filter_map(|c| c.segment()).map(|s| s.file.path.clone()));
        }
        for path in candidates.difference(&used) {
            if let Err(error) = std::fs::remove_file(path) {
                tracing::warn!(path = %path.display(), %error, "segment cannot be removed");
            }
        }
    }

    /// Writes the index of a tenant for Tempo's readers. That it fails is no harm: they fall back to listing.
    async fn write_index(&self, tenant: &TenantId) {
        let metas: Vec<_> = self.catalog.blocks(tenant).iter().map(|entry| Arc::clone(&entry.meta)).collect();
        let now = jiff::Timestamp::from_nanosecond(i128::from(self.clock.now())).unwrap_or_default();
        if let Err(error) = self.reader.store().put_tenant_index(tenant, now, &metas).await {
            tracing::warn!(%tenant, %error, "tenant index cannot be written");
        }
    }
}
