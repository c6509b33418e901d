//! From chunks to blocks in the store: one, or two when some traces have times far off the present.

use std::borrow::Cow;
use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;
use std::sync::Arc;

use trackway_common::TenantId;
use trackway_spans::SpanBatch;
use trackway_storage::{BlockEntry, LogRanges, Upload};
use trackway_vparquet::{BlockWriter, WriteOptions, Written};
use uuid::Uuid;

use crate::chunk::{Chunk, ChunkSpans};
use crate::flush::FlushError;
use crate::pair::Pair;
use crate::segment::SegmentError;
use crate::service::{Ingester, OpenError};
use crate::wild;

/// Spans in one row group.
const ROW_GROUP_SPANS: usize = 200_000;
const ZSTD_LEVEL: i32 = 1;

impl Ingester {
    /// Where a block is put together.
    pub(crate) fn building(&self, id: Uuid) -> PathBuf {
        self.config.folder.join("building").join(format!("{id}.parquet"))
    }

    /// Writes chunks to one block or two, durably. Nobody sees them yet.
    pub(crate) async fn write_blocks(
        &self,
        tenant: &TenantId,
        ids: [Uuid; 2],
        chunks: &[Arc<Chunk>],
    ) -> Result<Vec<BlockEntry>, FlushError> {
        let options = WriteOptions {
            format: self.config.format,
            dedicated: Vec::new(), // by the spans
            row_group_spans_max: ROW_GROUP_SPANS,
            zstd_level: ZSTD_LEVEL,
            created_by: format!("trackway {}", env!("CARGO_PKG_VERSION")),
        };
        let (paths, inputs, window) = (ids.map(|id| self.building(id)), chunks.to_vec(), self.window(chunks));
        let (columns, of, now) = (Arc::clone(&self.columns), tenant.clone(), self.clock.now());
        let build = move || {
            let loaded: Vec<Arc<ChunkSpans>> =
                inputs.iter().map(|chunk| chunk.load()).collect::<Result<_, SegmentError>>()?;
            let batches: Vec<Cow<'_, SpanBatch>> =
                loaded.iter().map(|spans| Cow::Borrowed(&***spans)).collect();
            let options = WriteOptions { dedicated: columns.of_block(&of, &batches, now), ..options };
            Ok::<_, FlushError>((build(&paths, batches, window, &options)?, options.dedicated))
        };
        let (built, dedicated) =
            tokio::task::spawn_blocking(build).await.map_err(|_| FlushError::Interrupted)??;
        let pair = (built.len() > 1).then(|| Pair { tenant: tenant.clone(), blocks: ids });
        if let Some(pair) = &pair {
            *self.half.lock() = Some(pair.clone());
            let (pair, folder) = (pair.clone(), self.config.folder.clone());
            self.on_disk(move || pair.write(&folder)).await?;
        }
        let sequences = chunks.iter().flat_map(|chunk| chunk.sequences.iter().copied()).collect();
        let log = LogRanges::new(self.log_id, sequences);
        let mut entries = Vec::new();
        for (id, written) in ids.into_iter().zip(built) {
            let meta = written.meta(id, tenant.as_str(), dedicated.clone(), self.config.replication_factor);
            let entry = BlockEntry { meta: Arc::new(meta), log: vec![log.clone()] };
            entries.push(self.put_block(tenant, entry, written).await?);
        }
        if pair.is_some() {
            let folder = self.config.folder.clone();
            self.on_disk(move || Pair::clear(&folder)).await?;
            *self.half.lock() = None;
        }
        Ok(entries)
    }

    /// The times between which spans do not stretch their block.
    fn window(&self, chunks: &[Arc<Chunk>]) -> (u64, u64) {
        let slack = u64::try_from(self.config.time_slack.as_nanos()).unwrap_or(u64::MAX);
        if slack == 0 {
            return (0, u64::MAX);
        }
        let received = chunks.iter().map(|chunk| chunk.received).min().unwrap_or(0);
        (received.saturating_sub(slack), self.clock.now().saturating_add(slack))
    }

    async fn put_block(
        &self,
        tenant: &TenantId,
        entry: BlockEntry,
        written: Written,
    ) -> Result<BlockEntry, FlushError> {
        let id = entry.meta.block_id;
        self.catalog.announce(id);
        let path = self.building(id);
        let upload = Upload {
            meta: &entry.meta,
            meta_json: entry.meta_json(),
            data: &path,
            bloom: written.bloom,
            index: written.index,
        };
        self.reader.store().put_block(tenant, upload).await?;
        tracing::debug!(
            %tenant, block = %id, spans = written.spans, traces = written.traces, bytes = written.size,
            "wrote a block"
        );
        Ok(entry)
    }

    /// Throws away what is there of two blocks that did not both come to be. Must be done before their spans are written
    /// again.
    pub(crate) async fn drop_half(&self) -> Result<(), FlushError> {
        let half = self.half.lock().clone();
        let Some(pair) = half else { return Ok(()) };
        for block in pair.blocks {
            self.reader.store().delete_block(&pair.tenant, block).await?;
        }
        let folder = self.config.folder.clone();
        self.on_disk(move || Pair::clear(&folder)).await?;
        *self.half.lock() = None;
        Ok(())
    }

    /// Looks whether a process before died over two blocks. One of them alone does not count: its spans, and those of the
    /// other, are still where they came from.
    pub(crate) fn settle_pair(&self) -> Result<(), OpenError> {
        let folder = &self.config.folder;
        let failed = |source| OpenError::Io { path: folder.join("pair").display().to_string(), source };
        let pair = match Pair::read(folder) {
            Ok(None) => return Ok(()),
            Ok(Some(pair)) => pair,
            Err(error) => {
                tracing::warn!(path = %folder.join("pair").display(), %error, "this file is left out");
                return Ok(());
            }
        };
        let known = self.catalog.blocks(&pair.tenant);
        let is_there = |id: &Uuid| known.iter().any(|entry| entry.meta.block_id == *id);
        let there: Vec<Uuid> = pair.blocks.into_iter().filter(is_there).collect();
        if there.len() == pair.blocks.len() {
            return Pair::clear(folder).map_err(failed);
        }
        // A look at the store must not bring back what is not deleted yet.
        pair.blocks.iter().for_each(|block| self.catalog.announce(*block));
        // The only refusal is about blocks that are not there.
        let _ = self.catalog.commit(&pair.tenant, Vec::new(), &there);
        tracing::info!(blocks = ?pair.blocks, "these were not both written; their spans are replayed");
        *self.half.lock() = Some(pair);
        Ok(())
    }

    /// Runs what waits for the disk where it may.
    async fn on_disk(
        &self,
        work: impl FnOnce() -> std::io::Result<()> + Send + 'static,
    ) -> Result<(), FlushError> {
        let path = self.config.folder.join("pair").display().to_string();
        let done = tokio::task::spawn_blocking(work).await.map_err(|_| FlushError::Interrupted)?;
        done.map_err(|source| FlushError::Io { path, source })
    }
}

/// Builds the blocks: as many of the paths are written as results come back.
fn build(
    paths: &[PathBuf; 2],
    batches: Vec<Cow<'_, SpanBatch>>,
    window: (u64, u64),
    options: &WriteOptions,
) -> Result<Vec<Written>, FlushError> {
    let (main, apart) = wild::split(batches, window);
    let mut built = Vec::new();
    for (path, batches) in paths.iter().zip([main, apart]) {
        if batches.is_empty() && !built.is_empty() {
            break;
        }
        let failed = |source| FlushError::Io { path: path.display().to_string(), source };
        let file = File::create(path).map_err(failed)?;
        built.push(BlockWriter::write(&batches, options, BufWriter::with_capacity(1 << 20, file))?);
    }
    Ok(built)
}
