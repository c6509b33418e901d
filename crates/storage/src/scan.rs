//! What row groups hold, loaded within the budget of memory, without what is hidden.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use trackway_common::{MemoryUser, Reservation, TenantId, TraceId};
use trackway_spans::{Needs, Prune, SpanBatch};
use trackway_vparquet::meta::BlockMeta;
use trackway_vparquet::{Outline, Outlined, Read, ReadError, RowGroup};

use crate::blocks::StoreError;
use crate::reader::BlockReader;
use crate::redact::{Hidden, with_whole_traces};

/// How long a question waits for memory before it fails.
const MEMORY_WAIT: Duration = Duration::from_secs(10);
/// Entries of columns that are decoded at once take so many of the budget's parts at the most.
const PIECE_SHARE: usize = 16;
/// Bytes that such an entry takes.
const ENTRY_BYTES: usize = 16;
/// Pieces of a row group that are at work at once, as far as memory is reserved for them.
pub const PIECES_AT_ONCE: usize = 2;

/// Part of a block, loaded.
#[derive(Debug)]
pub struct Scanned {
    /// The spans.
    pub batch: SpanBatch,
    /// Bytes that were fetched for it.
    pub bytes: u64,
    /// What it takes; to be kept as long as the spans are.
    pub memory: Reservation,
}

impl AsRef<SpanBatch> for Scanned {
    fn as_ref(&self) -> &SpanBatch {
        &self.batch
    }
}

/// A part of a row group that is to be loaded.
#[derive(Debug)]
pub struct Piece {
    reader: BlockReader,
    tenant: TenantId,
    meta: Arc<BlockMeta>,
    group: RowGroup,
    needs: Needs,
    hidden: Option<Arc<Hidden>>,
    /// Of all pieces of the row group together.
    _memory: Arc<Reservation>,
}

impl Piece {
    /// The rows of the row group that it has.
    pub fn rows(&self) -> Range<usize> {
        let first = self.group.first_row() as usize;
        first..first + self.group.rows()
    }

    /// Loads it and hands it to `work` on the same thread at once, so that no more pieces are in memory than there are
    /// threads. With the result come the bytes that were fetched.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read or is damaged.
    pub async fn map<T: Send + 'static>(
        self,
        work: impl FnOnce(SpanBatch) -> T + Send + 'static,
    ) -> Result<(T, u64), StoreError> {
        let Self { reader, tenant, meta, group, needs, hidden, _memory } = self;
        let mut work = Some(work);
        let step = move |group: &mut RowGroup| {
            Ok(match group.load(&needs)? {
                Read::Ready(batch) => {
                    Read::Ready(work.take().map(|work| work(without(hidden.as_deref(), batch))))
                }
                Read::NeedsRanges(ranges) => Read::NeedsRanges(ranges),
            })
        };
        match reader.ask(&tenant, &meta, group, step).await? {
            (Some(result), bytes) => Ok((result, bytes)),
            (None, _) => Err(reader.interrupted(&tenant, &meta)),
        }
    }
}

impl BlockReader {
    /// Reserves bytes for a question, waiting for others to give some back.
    ///
    /// # Errors
    /// [`StoreError::Memory`].
    pub async fn reserve(&self, bytes: u64) -> Result<Reservation, StoreError> {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        Ok(self.memory.wait(MemoryUser::Queries, bytes, MEMORY_WAIT).await?)
    }

    /// Loads the spans of a row group, or of some of its traces, with what is needed of them. What is hidden is not there.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read or is damaged.
    pub async fn load(
        &self,
        tenant: &TenantId,
        meta: &BlockMeta,
        row_group: usize,
        rows: Option<Vec<u32>>,
        needs: &Needs,
    ) -> Result<Scanned, StoreError> {
        let Some(hidden) = self.hides(tenant, meta, row_group).await? else {
            return self.load_all(tenant, meta, row_group, rows, needs).await;
        };
        let loaded = self.load_all(tenant, meta, row_group, rows, &with_whole_traces(needs)).await?;
        let Scanned { batch, bytes, memory } = loaded;
        let batch = self.cpu.run(move || hidden.without(batch)).await;
        let batch = batch.ok_or_else(|| self.interrupted(tenant, meta))?;
        Ok(Scanned { batch, bytes, memory })
    }

    /// The same with what is hidden.
    pub(crate) async fn load_all(
        &self,
        tenant: &TenantId,
        meta: &BlockMeta,
        row_group: usize,
        rows: Option<Vec<u32>>,
        needs: &Needs,
    ) -> Result<Scanned, StoreError> {
        let file = self.open(tenant, meta).await?;
        let group = match rows {
            Some(rows) if self.store.is_remote() => RowGroup::with_rows(&file, row_group, rows).at_once(),
            Some(rows) => RowGroup::with_rows(&file, row_group, rows),
            None => RowGroup::new(&file, row_group),
        };
        let group = group.knowing(self.kept.ids(meta.block_id, row_group));
        let memory = self.memory_for(tenant, meta, &group, needs).await?;
        let needs = needs.clone();
        let (batch, bytes) = self.ask(tenant, meta, group, move |group| group.load(&needs)).await?;
        Ok(Scanned { batch, bytes, memory })
    }

    /// Reserves what loading this takes.
    async fn memory_for(
        &self,
        tenant: &TenantId,
        meta: &BlockMeta,
        group: &RowGroup,
        needs: &Needs,
    ) -> Result<Reservation, StoreError> {
        let sizes = group.memory(needs).map_err(|error| self.damaged(tenant, meta.block_id, &error));
        let (fetched, decoded) = sizes?;
        self.reserve(fetched.min(meta.size).saturating_add(decoded)).await
    }

    /// A row group in pieces, so that however large it is, little of it is decoded at once: about so many entries of
    /// columns, or fewer where there is little memory. The first one fetches most of what all of them need: load it before
    /// the others, and those [`PIECES_AT_ONCE`] at a time.
    ///
    /// # Errors
    /// [`StoreError`] when the footer cannot be read or is damaged.
    pub async fn pieces(
        &self,
        tenant: &TenantId,
        meta: &Arc<BlockMeta>,
        row_group: usize,
        needs: &Needs,
        entries_max: u64,
    ) -> Result<Vec<Piece>, StoreError> {
        let hidden = self.hides(tenant, meta, row_group).await?;
        let whole = hidden.as_ref().map(|_| with_whole_traces(needs));
        let needs = whole.as_ref().unwrap_or(needs);
        let ids = self.kept.ids(meta.block_id, row_group);
        let into_pieces = |file: &_| {
            let group = RowGroup::new(file, row_group).knowing(ids.clone());
            let sizes = group.memory(needs)?;
            let entries_max = entries_max.min((self.memory.limit() / PIECE_SHARE / ENTRY_BYTES) as u64);
            Ok((group.into_pieces(needs, entries_max)?, sizes))
        };
        let mut pieces = into_pieces(&self.open(tenant, meta).await?);
        if pieces.is_err() && self.cache.is_used() {
            pieces = into_pieces(&self.open_stored(tenant, meta).await?);
        }
        let (groups, (fetched, decoded)) =
            pieces.map_err(|error: ReadError| self.damaged(tenant, meta.block_id, &error))?;
        let at_once = PIECES_AT_ONCE.min(groups.len()) as u64;
        let decoded = decoded / (groups.len() as u64).max(1) * at_once;
        let memory = Arc::new(self.reserve(fetched.min(meta.size).saturating_add(decoded)).await?);
        let piece = |group: RowGroup| Piece {
            _memory: Arc::clone(&memory),
            reader: self.clone(),
            tenant: tenant.clone(),
            meta: Arc::clone(meta),
            group,
            needs: needs.clone(),
            hidden: hidden.clone(),
        };
        Ok(groups.into_iter().map(piece).collect())
    }

    /// Whether a row group may hold spans that meet all conditions of any of these lists.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read or is damaged.
    pub async fn may_match(
        &self,
        tenant: &TenantId,
        meta: &BlockMeta,
        row_group: usize,
        prunes: &[Vec<Prune>],
    ) -> Result<(bool, u64), StoreError> {
        // What is stored about a trace is not true of what is left of it.
        if prunes.iter().any(Vec::is_empty) || self.hides(tenant, meta, row_group).await?.is_some() {
            return Ok((true, 0));
        }
        let file = self.open(tenant, meta).await?;
        let group = RowGroup::new(&file, row_group);
        let prunes = prunes.to_vec();
        self.ask(tenant, meta, group, move |group| may_match(group, &prunes)).await
    }

    /// The rows of a row group whose traces have identifiers in any of these ranges, both ends included.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read or is damaged.
    pub async fn rows_of(
        &self,
        tenant: &TenantId,
        meta: &BlockMeta,
        row_group: usize,
        ids: Vec<(TraceId, TraceId)>,
    ) -> Result<(Vec<u32>, u64), StoreError> {
        let file = self.open(tenant, meta).await?;
        let group = RowGroup::new(&file, row_group).knowing(self.kept.ids(meta.block_id, row_group));
        self.ask(tenant, meta, group, move |group| group.rows_of(&ids)).await
    }

    /// What the columns of a row group say without a look at its spans, and the bytes that were fetched for it.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read or is damaged.
    pub async fn outline(
        &self,
        tenant: &TenantId,
        meta: &BlockMeta,
        row_group: usize,
        question: Outline,
    ) -> Result<(Outlined, u64), StoreError> {
        if self.hides(tenant, meta, row_group).await?.is_some() {
            return Ok((Outlined::Unknown, 0));
        }
        let file = self.open(tenant, meta).await?;
        let group = RowGroup::new(&file, row_group);
        self.ask(tenant, meta, group, move |group| group.outline(&question)).await
    }

    /// The ids of the traces of a row group, in the order of the rows, with those that are hidden.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read or is damaged.
    pub async fn trace_ids(
        &self,
        tenant: &TenantId,
        meta: &BlockMeta,
        row_group: usize,
    ) -> Result<Arc<Vec<TraceId>>, StoreError> {
        if let Some(ids) = self.kept.ids(meta.block_id, row_group) {
            return Ok(ids);
        }
        let loaded = self.load_all(tenant, meta, row_group, None, &Needs::default()).await?;
        let ids = Arc::new(loaded.batch.traces.ids().collect::<Vec<_>>());
        self.kept.keep_ids(meta.block_id, row_group, Arc::clone(&ids));
        Ok(ids)
    }
}

fn without(hidden: Option<&Hidden>, batch: SpanBatch) -> SpanBatch {
    match hidden {
        Some(hidden) => hidden.without(batch),
        None => batch,
    }
}

/// Whether a row group may hold spans that meet all conditions of any of these lists.
fn may_match(group: &mut RowGroup, lists: &[Vec<Prune>]) -> Result<Read<bool>, ReadError> {
    for prunes in lists {
        match group.may_match(prunes)? {
            Read::Ready(false) => {}
            other => return Ok(other),
        }
    }
    Ok(Read::Ready(false))
}
