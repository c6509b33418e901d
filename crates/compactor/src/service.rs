//! The compactor at work: rounds over all tenants, and in each the merges that are due.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use trackway_common::{Clock, MemoryUser, OverBudget, Random, Reservation, TenantId};
use trackway_overrides::Overrides;
use trackway_storage::{
    BlockCatalog, BlockEntry, BlockReader, BlockStore, Catalog, Commit, CommitError, LogRanges, StoreError,
    Upload,
};
use trackway_vparquet::WriteOptions;
use trackway_vparquet::meta::{BlockMeta, DedicatedColumn, usable};
use uuid::Uuid;

use crate::config::Config;
use crate::merge::{INPUT_SPANS_MAX, MergeError, Merged, merge};
use crate::metrics::{Metrics, State};
use crate::redact::LiveData;
use crate::select::{Job, debt, jobs};

/// Spans of a row group: few enough that two of them and what is being read stay small.
const ROW_GROUP_SPANS: usize = 64_000;
/// Bytes that a span takes while it is being written.
const SPAN_BYTES: usize = 350;
/// The row group that is being written takes so many of the memory budget's parts at the most.
const ROW_GROUP_SHARE: usize = 8;
/// Bytes that a piece of an input takes.
const PIECE_BYTES: usize = 12 << 20;
/// How long a merge waits for memory.
const MEMORY_WAIT: Duration = Duration::from_secs(60);
/// Data that is merged stays for long: it is worth more work than when it is first written.
const ZSTD_LEVEL: i32 = 6;

/// How long an upload may take: files that nobody needs are deleted after a day ([`crate::tidy`]), and a process that
/// slept that long must not commit what is not there any more.
const UPLOAD_MAX: SignedDuration = SignedDuration::from_hours(12);

/// Says up to which sequence the records of a log are released, so that no replay will read them again; `None` for a log
/// that is not known here.
pub type ReleasedLog = Arc<dyn Fn(Uuid) -> Option<u64> + Send + Sync>;

/// Says which attributes have columns of their own in a tenant's new blocks, as far as it is known.
pub type ColumnsOfTenant = Arc<dyn Fn(&TenantId) -> Option<Vec<DedicatedColumn>> + Send + Sync>;

/// Merges, expires and deletes blocks.
pub struct Compactor {
    pub(crate) config: Config,
    pub(crate) reader: BlockReader,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) released: ReleasedLog,
    columns: ColumnsOfTenant,
    pub(crate) live: LiveData,
    overrides: Arc<Overrides>,
    /// Counts.
    pub metrics: Metrics,
    /// Blocks that cannot be merged.
    pub(crate) set_aside: Mutex<HashSet<Uuid>>,
    /// Those among them that a redaction tried to write anew all the same.
    pub(crate) rewrite_tried: Mutex<HashSet<Uuid>>,
    /// Files that have nothing of what is hidden, at a version.
    pub(crate) clean: Mutex<(u64, HashSet<Uuid>)>,
    /// Blocks that are being written.
    building: Mutex<HashSet<Uuid>>,
}

impl std::fmt::Debug for Compactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compactor").field("config", &self.config).finish_non_exhaustive()
    }
}

/// A merge that did not become a block.
#[derive(Debug, thiserror::Error)]
enum JobError {
    #[error(transparent)]
    Merge(#[from] MergeError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error(transparent)]
    Memory(#[from] OverBudget),
    #[error("spans were redacted meanwhile")]
    Redacted,
}

impl Compactor {
    /// A compactor of the blocks of a catalogue.
    pub fn new(
        config: Config,
        reader: BlockReader,
        catalog: Arc<Catalog>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        released: ReleasedLog,
        columns: ColumnsOfTenant,
    ) -> Self {
        Self {
            config,
            reader,
            catalog,
            clock,
            random,
            released,
            columns,
            live: Arc::new(|_, _| false),
            overrides: Arc::new(Overrides::unlimited()),
            metrics: Metrics::default(),
            set_aside: Mutex::default(),
            rewrite_tried: Mutex::default(),
            clean: Mutex::default(),
            building: Mutex::default(),
        }
    }

    /// The same, by what each tenant's limits say of retention and merging.
    #[must_use]
    pub fn with_overrides(self, overrides: Arc<Overrides>) -> Self {
        Self { overrides, ..self }
    }

    /// The settings as they are for a tenant now.
    pub(crate) fn config_of(&self, tenant: &TenantId) -> Config {
        let limits = self.overrides.for_tenant(tenant);
        let or = |own: Duration, all: Duration| if own.is_zero() { all } else { own };
        Config {
            merges: self.config.merges && !limits.compaction_disabled,
            window: or(limits.compaction_window, self.config.window),
            retention: or(limits.block_retention, self.config.retention),
            ..self.config.clone()
        }
    }

    /// The same beside live data, on which redactions wait.
    #[must_use]
    pub fn beside(self, live: LiveData) -> Self {
        Self { live, ..self }
    }

    /// The store of the blocks.
    pub fn store(&self) -> &BlockStore {
        self.reader.store()
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_nanosecond(i128::from(self.clock.now())).unwrap_or_default()
    }

    pub(crate) fn is_building(&self, block: Uuid) -> bool {
        self.building.lock().contains(&block)
    }

    /// Finds out when work may begin: at once on a bucket that had no blocks when it was first seen, or was first seen long
    /// enough ago. Otherwise the log lists at once what is going to be done, and by which settings.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be asked or told.
    pub async fn may_start_at(&self) -> Result<Timestamp, StoreError> {
        let tenants = self.catalog.tenants();
        let is_new = tenants.iter().all(|tenant| self.catalog.blocks(tenant).is_empty());
        let wait = SignedDuration::try_from(self.config.start_after).unwrap_or(SignedDuration::MAX);
        let first = if is_new { Timestamp::UNIX_EPOCH } else { self.now() };
        let seen = self.store().first_seen(first).await?;
        let start = seen.checked_add(wait).unwrap_or(Timestamp::MAX);
        if start > self.now() {
            self.announce(&tenants, start);
        }
        Ok(start)
    }

    fn announce(&self, tenants: &[TenantId], start: Timestamp) {
        for tenant in tenants {
            let blocks = self.catalog.blocks(tenant);
            let (merged, expired) =
                (self.outstanding(&blocks, &self.config_of(tenant)).0, self.expired(tenant).len());
            if expired > 0 {
                tracing::warn!(
                    %tenant, blocks = blocks.len(), expired, merged, starts = %start,
                    "Trackway has not written to this bucket before and waits (trackway.compaction.start_after); then it \
                     deletes the blocks that are older than compactor.compaction.block_retention, and merges others \
                     (compactor.compaction.compaction_window)"
                );
            } else if merged > 0 {
                tracing::info!(
                    %tenant, blocks = blocks.len(), merged, starts = %start,
                    "Trackway has not written to this bucket before and waits (trackway.compaction.start_after); then it \
                     merges blocks (compactor.compaction.compaction_window)"
                );
            }
        }
    }

    /// Merges blocks, again and again, until it is told to stop. A merge that is at work is given up.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        self.clear_folder();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.round() => {}
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(self.pause()) => {}
                () = self.store().redactions().wake.notified() => {}
            }
        }
        // A file of a merge that was given up names what perhaps lies in the store; the next start looks after it.
        if self.building.lock().is_empty() {
            self.clear_folder();
        }
    }

    /// How long to wait for the next round.
    fn pause(&self) -> Duration {
        self.redacts_in(self.config.cycle)
    }

    /// Deletes files that no merge is at work on any more.
    fn clear_folder(&self) {
        match std::fs::remove_dir_all(&self.config.folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(path = %self.config.folder.display(), %error, "cannot be emptied");
            }
            _ => {}
        }
    }

    /// Merges what is due, tenant by tenant, each for a limited time, and indexes trace ids.
    pub async fn round(&self) {
        self.redact().await;
        for tenant in self.catalog.tenants() {
            let end = self.clock.monotonic() + self.config.max_time_per_tenant;
            let config = self.config_of(&tenant);
            // What failed is tried again in the next round, and keeps nothing else from being merged now.
            let mut failed: HashSet<Uuid> = HashSet::new();
            while config.merges && self.clock.monotonic() < end {
                let job = self.due(&tenant, &failed).into_iter().next();
                let Some(job) = job else { break };
                if !self.job(&tenant, &job).await {
                    failed.extend(&job.inputs);
                }
            }
            if config.merges {
                self.index_traces(&tenant).await;
            }
            self.measure(&tenant);
        }
    }

    fn due(&self, tenant: &TenantId, failed: &HashSet<Uuid>) -> Vec<Job> {
        let blocks = self.catalog.blocks(tenant);
        let metas: Vec<&BlockMeta> = blocks.iter().map(|entry| &*entry.meta).collect();
        let left_out = |block| failed.contains(&block) || self.set_aside.lock().contains(&block);
        jobs(&metas, left_out, self.now(), &self.config_of(tenant))
    }

    fn outstanding(&self, blocks: &[BlockEntry], config: &Config) -> (usize, u64) {
        let metas: Vec<&BlockMeta> = blocks.iter().map(|entry| &*entry.meta).collect();
        debt(&metas, |block| self.set_aside.lock().contains(&block), self.now(), config)
    }

    /// Takes stock of a tenant.
    pub(crate) fn measure(&self, tenant: &TenantId) {
        let (blocks, config) = (self.catalog.blocks(tenant), self.config_of(tenant));
        let (outstanding, outstanding_bytes) =
            if config.merges { self.outstanding(&blocks, &config) } else { (0, 0) };
        let set_aside = {
            let set_aside = self.set_aside.lock();
            blocks.iter().filter(|entry| set_aside.contains(&entry.meta.block_id)).count()
        };
        self.metrics.set(tenant, State { blocks: blocks.len(), outstanding, outstanding_bytes, set_aside });
    }

    /// Does one merge, and says whether it is worth trying another one now.
    pub(crate) async fn job(&self, tenant: &TenantId, job: &Job) -> bool {
        let began = self.clock.monotonic();
        let id = self.random.uuid();
        self.building.lock().insert(id);
        let path = self.config.folder.join(format!("{id}.parquet"));
        let done = self.merge_into(tenant, job, id, &path).await;
        // It may never have been made.
        let _ = tokio::fs::remove_file(&path).await;
        self.building.lock().remove(&id);
        let took = self.clock.monotonic().saturating_sub(began);
        match done {
            Ok((entry, merged)) => {
                self.count(&entry, job, &merged, took);
                tracing::info!(
                    %tenant, block = %id, inputs = job.inputs.len(), level = entry.meta.compaction_level,
                    spans = merged.written.spans, traces = merged.written.traces, bytes = merged.written.size,
                    copies = merged.copies, ?took, "merged blocks"
                );
                true
            }
            Err(error) => self.failed(tenant, id, &error).await,
        }
    }

    fn count(&self, entry: &BlockEntry, job: &Job, merged: &Merged, took: Duration) {
        let add = |to: &std::sync::atomic::AtomicU64, count: u64| to.fetch_add(count, Ordering::Relaxed);
        let metrics = &self.metrics;
        metrics.merged(entry.meta.compaction_level, job.inputs.len() as u64);
        add(&metrics.bytes_written, merged.written.size);
        add(&metrics.objects_written, merged.written.traces);
        add(&metrics.objects_combined, merged.combined);
        add(&metrics.spans_deduped, merged.copies);
        add(&metrics.marked, job.inputs.len() as u64);
        add(&metrics.busy_micros, u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        add(&metrics.bytes_merged, merged.written.size);
    }

    /// Deals with a merge that failed.
    async fn failed(&self, tenant: &TenantId, id: Uuid, error: &JobError) -> bool {
        if let JobError::Commit(CommitError::Conflict(_)) = error {
            self.metrics.conflicts.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(%tenant, %error, "somebody else was faster");
            // Nobody knows of these files.
            if let Err(error) = self.store().delete_block(tenant, id).await {
                tracing::debug!(%tenant, block = %id, %error, "left for later");
            }
            return false;
        }
        if let JobError::Memory(over) = error {
            tracing::debug!(%tenant, %over, "blocks are not merged now; the next round tries again");
            return false;
        }
        if let JobError::Redacted = error {
            tracing::debug!(%tenant, %error, "the merge begins anew");
            return true;
        }
        self.metrics.errors.fetch_add(1, Ordering::Relaxed);
        let poison = match error {
            JobError::Merge(error) => error.poison(),
            JobError::Store(_) | JobError::Commit(_) | JobError::Memory(_) | JobError::Redacted => None,
        };
        // Somebody else may have merged it, and deleted it.
        let is_block = |block: Uuid| async move {
            self.store().has(&self.store().path(tenant, block, "meta.json")).await.unwrap_or(false)
        };
        let poison = match poison {
            Some(block) if is_block(block).await => Some(block),
            _ => None,
        };
        let Some(block) = poison else {
            tracing::warn!(%tenant, %error, "blocks cannot be merged; the next round tries again");
            return false;
        };
        self.set_aside.lock().insert(block);
        tracing::warn!(
            %tenant, %block, %error,
            "this block is left out of merges from now on; delete its nocompact.flg and restart to try again"
        );
        if let Err(error) = self.store().mark_no_compact(tenant, block).await {
            tracing::debug!(%tenant, %block, %error, "the mark cannot be written; it is left out until the next start");
        }
        true
    }

    async fn merge_into(
        &self,
        tenant: &TenantId,
        job: &Job,
        id: Uuid,
        path: &PathBuf,
    ) -> Result<(BlockEntry, Merged), JobError> {
        let blocks = self.catalog.blocks(tenant);
        let entry_of = |block: &Uuid| blocks.iter().find(|entry| entry.meta.block_id == *block);
        let inputs: Vec<&BlockEntry> = job.inputs.iter().filter_map(entry_of).collect();
        let Some(first) = inputs.first().filter(|_| inputs.len() == job.inputs.len()) else {
            return Err(CommitError::Conflict(id).into());
        };
        let options = WriteOptions {
            format: self.config.format,
            dedicated: usable(&self.dedicated(tenant, first, &inputs), self.config.format),
            row_group_spans_max: ROW_GROUP_SPANS
                .min(self.reader.memory().limit() / ROW_GROUP_SHARE / SPAN_BYTES),
            zstd_level: ZSTD_LEVEL,
            created_by: format!("trackway {}", env!("CARGO_PKG_VERSION")),
        };
        let _memory = self.memory_for(&inputs, options.row_group_spans_max).await?;
        let metas: Vec<Arc<BlockMeta>> = inputs.iter().map(|entry| Arc::clone(&entry.meta)).collect();
        let reader = self.reader.reserved_by_caller();
        let version = self.reader.redactions_version(tenant);
        let losses = self.losses(tenant, &metas).await?;
        let merged = merge(&reader, tenant, &metas, (&options, INPUT_SPANS_MAX), path).await?;
        if self.reader.redactions_version(tenant) != version {
            // Some of it was read before something was hidden, some after: nobody could say what was removed.
            return Err(JobError::Redacted);
        }
        let entry = self.entry(tenant, id, &inputs, &merged, options.dedicated);
        if !losses.is_empty() {
            let is_empty = merged.written.spans == 0;
            let (into, log) = if is_empty { (None, entry.log.clone()) } else { (Some(id), Vec::new()) };
            self.note_losses(tenant, &losses, into, log).await?;
            if is_empty {
                self.retire(tenant, &entry, &job.inputs).await?;
                self.count_losses(&losses);
                return Ok((entry, merged));
            }
        }
        let upload = Upload {
            meta: &entry.meta,
            meta_json: Vec::new(),
            data: path,
            bloom: merged.written.bloom.clone(),
            index: merged.written.index.clone(),
        };
        let began = self.now();
        self.store().put_data(tenant, &upload).await?;
        if self.now().duration_since(began) > UPLOAD_MAX {
            return Err(MergeError::Interrupted.into());
        }
        let commit = Commit::new(self.random.uuid(), self.now(), entry.clone(), job.inputs.clone());
        self.catalog.replace(self.store(), tenant, &commit, &job.inputs).await?;
        self.count_losses(&losses);
        // From here on the merge stands. What is not finished now is finished after the next look at the store.
        if let Err(error) = self.store().finish_commit(tenant, &commit, true, self.now()).await {
            tracing::debug!(%tenant, block = %id, %error, "left for later");
        }
        self.write_index(tenant).await;
        Ok((entry, merged))
    }

    /// Reserves what a merge takes: of each input what is fetched of a row group and a piece of it, and of the output two row
    /// groups, one of which is only being put together.
    async fn memory_for(&self, inputs: &[&BlockEntry], spans: usize) -> Result<Reservation, OverBudget> {
        let fetched = |entry: &&BlockEntry| entry.meta.size / u64::from(entry.meta.total_records.max(1));
        let fetched = usize::try_from(inputs.iter().map(fetched).sum::<u64>()).unwrap_or(usize::MAX);
        let bytes = fetched.saturating_add(inputs.len() * PIECE_BYTES + spans * SPAN_BYTES * 5 / 4);
        self.reader.memory().wait(MemoryUser::Compaction, bytes, MEMORY_WAIT).await
    }

    /// The dedicated columns of the merged block: those of its inputs where they are the same, else those that the tenant's
    /// new blocks have, or while there is none of these, those of the newest input.
    fn dedicated(
        &self,
        tenant: &TenantId,
        first: &BlockEntry,
        inputs: &[&BlockEntry],
    ) -> Vec<DedicatedColumn> {
        let of_first = &first.meta.dedicated_columns;
        if inputs.iter().all(|entry| entry.meta.dedicated_columns == *of_first) {
            return of_first.clone();
        }
        (self.columns)(tenant).unwrap_or_else(|| {
            let newest = inputs.iter().max_by_key(|entry| (entry.meta.end_time, entry.meta.block_id));
            newest.map_or_else(|| of_first.clone(), |entry| entry.meta.dedicated_columns.clone())
        })
    }

    /// What the merged block says of itself.
    fn entry(
        &self,
        tenant: &TenantId,
        id: Uuid,
        inputs: &[&BlockEntry],
        merged: &Merged,
        dedicated: Vec<DedicatedColumn>,
    ) -> BlockEntry {
        let replication_factor = inputs.first().map_or(1, |entry| entry.meta.replication_factor);
        let meta = merged.written.meta(id, tenant.as_str(), dedicated, replication_factor);
        let level = inputs.iter().map(|entry| entry.meta.compaction_level).max().unwrap_or(0);
        let meta = BlockMeta {
            // One block that is written anew is as far as it was.
            compaction_level: level + u32::from(inputs.len() > 1),
            covers: inputs.iter().map(|entry| entry.meta.block_id).collect(),
            ..meta
        };
        let logs = inputs.iter().flat_map(|entry| &entry.log);
        BlockEntry { meta: Arc::new(meta), log: LogRanges::joined(logs, |log| (self.released)(log)) }
    }

    /// Writes the index of a tenant for Tempo's readers. That it fails is no harm: they fall back to listing.
    pub(crate) async fn write_index(&self, tenant: &TenantId) {
        let metas: Vec<_> = self.catalog.blocks(tenant).iter().map(|entry| Arc::clone(&entry.meta)).collect();
        if let Err(error) = self.store().put_tenant_index(tenant, self.now(), &metas).await {
            tracing::warn!(%tenant, %error, "tenant index cannot be written");
        }
    }
}
