//! The ingester as a whole: its parts, taking requests in, views for readers, and letting go of the log.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use trackway_common::{Clock, ErrorKind, Kinded, MemoryUser, Random, TenantId, TraceId};
use trackway_overrides::Overrides;
use trackway_spans::{AppendError, Appended, Limits, Refusal, Refused, peek_request};
use trackway_storage::redact::Hidden;
use trackway_storage::{BlockCatalog, BlockEntry, BlockReader, UnreadableBlock};
use trackway_vparquet::meta::DedicatedColumn;
use trackway_wal::{Admission, LocalLog, Log, LogError, NewRecord, RecentHashes, Sequence, request_hash};
use uuid::Uuid;

use crate::chunk::Chunk;
use crate::columns::DedicatedColumns;
use crate::config::Config;
use crate::cut::CutTraces;
use crate::head::{Head, MemoryCount, Size};
use crate::limits::TraceLimits;
use crate::metrics::Metrics;
use crate::pair::Pair;
use crate::replay::open_log;

/// How long a sender is kept waiting for memory before it is told to come back.
const MEMORY_WAIT: Duration = Duration::from_secs(10);

/// Bytes of the budget that must be free for a request to be taken in: about what the largest one becomes.
const HEAD_ROOM: usize = 8 << 20;

/// The ingester. Shared by reference.
#[derive(Debug)]
pub struct Ingester {
    pub(crate) config: Config,
    /// `None` in a process that only answers questions.
    pub(crate) log: Option<LocalLog>,
    /// Which log this is, over restarts; blocks name it.
    pub(crate) log_id: Uuid,
    pub(crate) reader: BlockReader,
    pub(crate) columns: Arc<DedicatedColumns>,
    pub(crate) catalog: Arc<dyn BlockCatalog>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) heads: RwLock<BTreeMap<TenantId, Arc<Head>>>,
    pub(crate) memory: MemoryCount,
    /// Held for reading while a view is taken, for writing while spans move from chunks to a block.
    pub(crate) publication: RwLock<()>,
    /// Held for reading while a request is between the log and the head, for writing while the log's low-water mark is
    /// computed.
    pub(crate) gate: tokio::sync::RwLock<()>,
    pub(crate) recent: RecentHashes,
    pub(crate) wake: Notify,
    /// Told whenever memory was freed.
    pub(crate) freed: Notify,
    pub(crate) flushing: tokio::sync::Mutex<()>,
    /// Two blocks of which perhaps one is written: to be thrown away before anything else is written.
    pub(crate) half: Mutex<Option<Pair>>,
    /// Two at once would write the same file of stored requests.
    letting_go: Mutex<()>,
    stopping: AtomicBool,
    pub(crate) next_segment: AtomicU64,
    pub(crate) last_warning: Mutex<Option<String>>,
    pub(crate) traces: TraceLimits,
    pub(crate) cut: CutTraces,
    /// Somebody still reads what is behind this record of the log.
    kept_behind: AtomicU64,
    /// Counts.
    pub metrics: Metrics,
}

/// An ingester that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A folder or file.
    #[error("{path}: {source}")]
    Io {
        /// Which one.
        path: String,
        /// What is wrong.
        source: std::io::Error,
    },
}

/// A request that was not taken in; nothing of it was kept.
#[derive(Clone, Debug, thiserror::Error)]
pub enum IngestError {
    /// It is no OTLP.
    #[error("{0}")]
    Malformed(#[from] AppendError),
    /// The log did not take it.
    #[error("{0}")]
    Log(#[from] LogError),
    /// It is a copy of one that failed.
    #[error("{0}")]
    FirstFailed(#[from] trackway_wal::FirstFailed),
    /// There is no memory for it now.
    #[error(
        "{used} bytes of spans wait in memory, more than trackway.head.max_bytes or trackway.memory.limit allow: blocks \
         are written slower than spans arrive; come back later"
    )]
    Memory {
        /// Bytes of spans in memory.
        used: usize,
    },
    /// The process is stopping.
    #[error("the process is stopping")]
    Stopping,
    /// The process only answers questions.
    #[error("this process only answers questions (--read-only)")]
    ReadOnly,
}

impl Kinded for IngestError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Malformed(_) => ErrorKind::Invalid,
            Self::Log(error) => error.kind(),
            Self::FirstFailed(error) => error.kind(),
            Self::Memory { .. } => ErrorKind::Exhausted,
            Self::Stopping | Self::ReadOnly => ErrorKind::Unavailable,
        }
    }
}

/// What a tenant has, at one moment: every span that was acknowledged before is in exactly one of these.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Live data.
    pub chunks: Vec<Arc<Chunk>>,
    /// Stored data.
    pub blocks: Arc<Vec<BlockEntry>>,
    /// Blocks whose spans are missing from this.
    pub unreadable: Arc<Vec<UnreadableBlock>>,
}

impl Ingester {
    /// Opens the folder, replays what a process before left there, and is ready to take requests. Blocks on I/O; the
    /// catalogue must know the blocks that lie in the store.
    ///
    /// # Errors
    /// [`OpenError`]. Damage of single records is not an error: it is set aside with a warning.
    pub fn open(
        config: Config,
        reader: BlockReader,
        catalog: Arc<dyn BlockCatalog>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Arc<Self>, OpenError> {
        let (log, log_id) = if config.read_only { (None, Uuid::nil()) } else { open_log(&config, &*random)? };
        let folder = config.folder.join("columns");
        // A process that writes no blocks has no choice, and leaves alone what another one chose.
        let columns = if config.read_only {
            DedicatedColumns::without_choice(Arc::clone(&config.overrides), config.format, folder)
        } else {
            DedicatedColumns::open(Arc::clone(&config.overrides), config.format, folder, clock.now())
        };
        let ingester = Self {
            columns: Arc::new(columns),
            log,
            log_id,
            reader,
            catalog,
            clock,
            random,
            heads: RwLock::default(),
            memory: MemoryCount::new(config.memory.clone()),
            publication: RwLock::default(),
            gate: tokio::sync::RwLock::default(),
            recent: RecentHashes::default(),
            wake: Notify::new(),
            freed: Notify::new(),
            flushing: tokio::sync::Mutex::default(),
            half: Mutex::default(),
            letting_go: Mutex::default(),
            stopping: AtomicBool::new(false),
            next_segment: AtomicU64::new(1),
            last_warning: Mutex::default(),
            metrics: Metrics::default(),
            traces: TraceLimits::new(config.trace_idle, config.block_age_max),
            cut: CutTraces::default(),
            kept_behind: AtomicU64::new(u64::MAX),
            config,
        };
        if let Some(log) = &ingester.log {
            ingester.clear_building();
            ingester.settle_pair()?;
            ingester.replay(log)?;
        }
        Ok(Arc::new(ingester))
    }

    /// The attributes that have columns of their own in a tenant's new blocks; `None` when nothing is configured and the
    /// tenant has not sent a block's worth yet.
    pub fn dedicated_columns(&self, tenant: &TenantId) -> Option<Vec<DedicatedColumn>> {
        self.columns.current(tenant)
    }

    /// What each tenant may do.
    pub fn overrides(&self) -> &Arc<Overrides> {
        &self.config.overrides
    }

    /// What is cut while a tenant's requests are read.
    pub(crate) fn limits(&self, tenant: &TenantId) -> Limits {
        Limits { max_attribute_bytes: self.config.overrides.for_tenant(tenant).max_attribute_bytes }
    }

    pub(crate) fn head(&self, tenant: &TenantId) -> Arc<Head> {
        if let Some(head) = self.heads.read().get(tenant) {
            return Arc::clone(head);
        }
        let new = || Arc::new(Head::new(self.memory.clone()));
        Arc::clone(self.heads.write().entry(tenant.clone()).or_insert_with(new))
    }

    pub(crate) fn heads(&self) -> Vec<(TenantId, Arc<Head>)> {
        self.heads.read().iter().map(|(tenant, head)| (tenant.clone(), Arc::clone(head))).collect()
    }

    /// Bytes of spans that are in memory.
    pub fn memory(&self) -> usize {
        self.memory.bytes()
    }

    /// Takes a request in. When this returns `Ok`, its good spans are durable and the next view has them.
    ///
    /// # Errors
    /// The error's kind says what the sender must do; nothing was kept then.
    pub async fn push(self: &Arc<Self>, tenant: TenantId, body: Bytes) -> Result<Appended, IngestError> {
        // In a task of its own: a sender that goes away must not leave a record without its spans in the head.
        let ingester = Arc::clone(self);
        match tokio::spawn(async move { ingester.take_in(tenant, body).await }).await {
            Ok(result) => result,
            Err(_) => Err(IngestError::Stopping),
        }
    }

    async fn take_in(self: Arc<Self>, tenant: TenantId, body: Bytes) -> Result<Appended, IngestError> {
        let Some(log) = &self.log else { return Err(IngestError::ReadOnly) };
        if self.stopping.load(Ordering::Acquire) {
            return Err(IngestError::Stopping);
        }
        let spans = peek_request(&body)?;
        if spans == 0 {
            return Ok(Appended::default());
        }
        self.wait_for_memory().await?;
        let received = self.clock.now();
        let hash = request_hash(&tenant, &body);
        let pending = match self.recent.check_or_insert(hash, received) {
            Admission::New(pending) => pending,
            Admission::Seen(_) => return self.again(&tenant, &body, hash),
            Admission::InFlight(first) => {
                first.outcome().await?;
                return self.again(&tenant, &body, hash);
            }
        };
        let _gate = self.gate.read().await;
        let judged = self.traces.judge(
            &tenant,
            &self.overrides().for_tenant(&tenant),
            &body,
            self.clock.monotonic(),
        )?;
        if judged.refused.len() as u64 == u64::from(spans) {
            // Nothing of it is to be kept. Sent again, it is judged anew: traces may have become idle meanwhile.
            let appended = Appended { refused: judged.keep(), ..Appended::default() };
            self.count_refused(&tenant, &appended);
            return Ok(appended);
        }
        let skip: Vec<u32> = judged.refused.iter().map(|refused| refused.ordinal).collect();
        let record =
            NewRecord { tenant: tenant.clone(), received, hash, refused: skip.clone(), body: body.clone() };
        let sequence = log.append(record).await?;
        let over_limits = judged.keep();
        self.traces.remember(hash, &over_limits);
        let head = self.head(&tenant);
        let (limits, bytes) = (self.limits(&tenant), body.len() as u64);
        let append = move || head.append(sequence.0, received, &body, limits, &skip);
        let mut appended = self.reader.cpu().run(append).await.ok_or(IngestError::Stopping)??;
        add_refused(&mut appended, over_limits);
        pending.stored(sequence);
        self.metrics.received(&tenant, u64::from(appended.spans), bytes, u64::from(appended.truncated));
        self.count_refused(&tenant, &appended);
        self.wake_if_needed(&tenant);
        Ok(appended)
    }

    /// Counts refused spans, and marks the traces that are not whole any more.
    fn count_refused(&self, tenant: &TenantId, appended: &Appended) {
        for run in appended.refused.chunk_by(|one, next| one.reason == next.reason) {
            let reason = run[0].reason;
            self.metrics.discarded(tenant, reason.label(), run.len() as u64);
            if let Refusal::TraceTooLarge { trace, .. } = reason {
                self.cut.mark(tenant, trace);
            }
        }
    }

    /// The answer to a request that was stored before: the same as the first time.
    fn again(&self, tenant: &TenantId, body: &[u8], hash: u128) -> Result<Appended, IngestError> {
        self.metrics.duplicate_requests.fetch_add(1, Ordering::Relaxed);
        let over_limits = self.traces.refused_before(hash);
        let skip: Vec<u32> = over_limits.iter().map(|refused| refused.ordinal).collect();
        let mut scratch = trackway_spans::BatchBuilder::new();
        let mut appended = trackway_spans::append_request(&mut scratch, body, self.limits(tenant), &skip)?;
        add_refused(&mut appended, over_limits);
        appended.again = true;
        Ok(appended)
    }

    async fn wait_for_memory(&self) -> Result<(), IngestError> {
        // Room for what comes in while a block is being written.
        let (limit, pool) = (self.config.head_bytes_max / 2 * 3, &self.config.memory);
        let fits = || pool.reserve(MemoryUser::Head, HEAD_ROOM.min(pool.limit() / 8)).is_ok();
        let has_room = || self.memory() < limit && !self.log_is_nearly_full() && fits();
        if has_room() {
            return Ok(());
        }
        let room = async {
            loop {
                let (freed, others) = (self.freed.notified(), pool.freed());
                if has_room() {
                    return;
                }
                self.wake.notify_one();
                tokio::select! {
                    () = freed => {}
                    () = others => {}
                }
            }
        };
        let waited = tokio::time::timeout(MEMORY_WAIT, pool.pressing_after(room)).await;
        waited.map_err(|_| IngestError::Memory { used: self.memory() })
    }

    fn wake_if_needed(&self, tenant: &TenantId) {
        let size = self.head(tenant).size();
        if self.is_due(&size) || self.memory() > self.config.head_bytes_max || self.log_is_filling() {
            self.wake.notify_one();
        }
    }

    pub(crate) fn is_due(&self, size: &Size) -> bool {
        size.spans >= self.config.block_spans_max || size.bytes >= self.config.block_bytes_max
    }

    /// What a tenant has now.
    pub fn view(&self, tenant: &TenantId) -> View {
        let _publication = self.publication.read();
        let head = self.heads.read().get(tenant).cloned();
        View {
            chunks: head.map(|head| head.view()).unwrap_or_default(),
            blocks: self.catalog.blocks(tenant),
            unreadable: self.catalog.unreadable(tenant),
        }
    }

    /// Whether a limit refused spans of a trace when they came in: what there is of it is not all.
    pub fn is_cut(&self, tenant: &TenantId, trace: TraceId) -> bool {
        self.cut.has(tenant, trace)
    }

    /// Traces that are being received, by tenant.
    pub fn live_traces(&self) -> Vec<(TenantId, u64)> {
        self.traces.live(self.clock.monotonic())
    }

    /// The blocks of a tenant.
    pub fn blocks(&self, tenant: &TenantId) -> Arc<Vec<BlockEntry>> {
        self.catalog.blocks(tenant)
    }

    /// Whether live data of a tenant has any of what is hidden. Blocks on the disk where it lies in segments. What cannot be
    /// read counts as having some.
    pub fn has_hidden(&self, tenant: &TenantId, hidden: &Hidden) -> bool {
        let chunks = self.view(tenant).chunks;
        let mut named = chunks.iter().filter(|chunk| hidden.ids().any(|id| chunk.has(id)));
        named.any(|chunk| chunk.load().map_or(true, |batch| hidden.keep(&batch).is_some()))
    }

    /// The tenants that have anything.
    pub fn tenants(&self) -> Vec<TenantId> {
        let mut tenants: Vec<TenantId> = self.heads.read().keys().cloned().collect();
        tenants.extend(self.catalog.tenants());
        tenants.sort();
        tenants.dedup();
        tenants
    }

    /// Live spans and traces' fragments, for metrics.
    pub fn live(&self) -> (usize, usize) {
        let sizes = self.heads().into_iter().map(|(_, head)| head.size());
        sizes.fold((0, 0), |(spans, bytes), size| (spans + size.spans, bytes + size.memory))
    }

    /// Refuses requests from now on.
    pub fn stop_taking(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Writes what is queued for the log, and waits for that. Blocks on I/O.
    pub fn close(&self) {
        if let Some(log) = &self.log {
            log.close();
        }
    }

    /// Beside the log, since it is about its records.
    pub(crate) fn recent_file(&self) -> PathBuf {
        self.config.folder.join("log").join("recent")
    }

    /// Beside it, so that whoever takes the log away takes both.
    pub(crate) fn cut_file(&self) -> PathBuf {
        self.config.folder.join("log").join("cut-traces")
    }

    /// Up to which record nothing will be read again from the log with this id; `None` for a log of somebody else.
    pub fn released_up_to(&self, log: Uuid) -> Option<u64> {
        let own = self.log.as_ref().filter(|_| log == self.log_id)?;
        Some(own.low_water().0)
    }

    /// The identity of the log.
    pub fn log_id(&self) -> Uuid {
        self.log_id
    }

    /// The last record that the log has let go of.
    pub fn log_low_water(&self) -> Sequence {
        self.log.as_ref().map_or(Sequence(0), Log::low_water)
    }

    /// The last durable record of the log, and news of it.
    pub fn durable(&self) -> tokio::sync::watch::Receiver<Sequence> {
        self.log.as_ref().map_or_else(|| tokio::sync::watch::channel(Sequence(0)).1, Log::durable)
    }

    /// Reads the durable records of the log behind the cursor. Blocks on I/O.
    ///
    /// # Errors
    /// [`LogError`], as [`Log::read`].
    pub fn read_log(
        &self,
        cursor: &mut trackway_wal::Cursor,
        visit: &mut trackway_wal::Visitor<'_>,
    ) -> Result<trackway_wal::Replayed, LogError> {
        self.log.as_ref().map_or_else(|| Ok(trackway_wal::Replayed::default()), |log| log.read(cursor, visit))
    }

    /// Keeps what is behind this record in the log for somebody who reads it, while the log is far from full: neither
    /// senders nor the head's memory are in a hurry for who reads.
    pub fn keep_log_behind(&self, sequence: Sequence) {
        self.kept_behind.store(sequence.0, Ordering::Release);
    }

    fn kept_behind(&self) -> u64 {
        let has_room = self.log.as_ref().is_some_and(|log| log.bytes() <= self.config.wal_bytes_max / 8 * 3);
        if has_room { self.kept_behind.load(Ordering::Acquire) } else { u64::MAX }
    }

    /// Tells the log what nobody needs any more. Waits for requests that are between log and head.
    pub(crate) async fn release(self: &Arc<Self>) -> Result<(), LogError> {
        let Some(log) = &self.log else { return Ok(()) };
        let low = {
            let _gate = self.gate.write().await;
            let durable = log.durable().borrow().0;
            let needed = self.heads().iter().filter_map(|(_, head)| head.low_water()).min();
            needed.map_or(durable, |sequence| sequence.saturating_sub(1))
        };
        let low = low.min(self.kept_behind());
        // Both wait for the disk, which no thread that answers sockets may.
        let ingester = Arc::clone(self);
        let released = tokio::task::spawn_blocking(move || ingester.let_go(Sequence(low))).await;
        released.unwrap_or(Err(LogError::Closed))
    }

    /// Remembers which requests were stored, then lets the log go of their records. Blocks on I/O.
    fn let_go(&self, low: Sequence) -> Result<(), LogError> {
        let _one_at_a_time = self.letting_go.lock();
        if let Err(error) = self.recent.save(&self.recent_file(), self.clock.now()) {
            tracing::warn!(%error, "stored requests cannot be remembered; one repeated after a restart may double");
        }
        if let Err(error) = self.cut.save(&self.cut_file()) {
            tracing::warn!(%error, "which traces limits have cut cannot be remembered; after a restart they seem whole");
        }
        self.log.as_ref().map_or(Ok(()), |log| log.release(low))
    }
}

/// Adds what limits refused to what the reading of a request refused, in order.
fn add_refused(appended: &mut Appended, over_limits: Vec<Refused>) {
    if !over_limits.is_empty() {
        appended.refused.extend(over_limits);
        appended.refused.sort_by_key(|refused| refused.ordinal);
    }
}
