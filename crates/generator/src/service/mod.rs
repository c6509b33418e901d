//! The generator as a whole: follows the ingester's log, asks tenants to collect when it is time, and has their samples
//! sent.
//!
//! What must stay true: whoever takes spans in never waits for it. It says up to where it needs the log, and the log does
//! not have to listen when it is short of room; then a restart counts less, and says so. While no tenant makes metrics,
//! nothing is read.

mod start;
mod tidy;

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use trackway_common::{Clock, Random, Seldom, TenantId};
use trackway_remote_write::{Client, Relabel};
use trackway_wal::{Cursor, LogError, RecentHashes, Replayed, Sequence, Visitor};

use crate::budget::Budget;
use crate::config::Config;
use crate::samples::Follower;
use crate::sender::{REQUESTS_MAX, Receiver, SendNumbers, Sender, Stop};
use crate::tenant::{Tenant, millis};

/// Most tenants with metrics; those beyond are counted, said, and left out.
pub const MAX_TENANTS: usize = 10_000;
/// The file that says up to where the ingester's log counts. No tenant can be called so.
const POSITION: &str = "@position";
/// The file with the requests that were read lately.
const RECENT: &str = "@recent";
/// How often both are written, milliseconds.
const KEEP_EVERY_MS: i64 = 5000;
/// How often it is looked at what is due.
const TICK: Duration = Duration::from_millis(200);
/// Requests come in by the thousands a second; so many are read together.
const PAUSE: Duration = Duration::from_millis(50);
/// So few tenants have each collection synced, so that the ingester's log can let go soon.
const SYNCED_AT_ONCE: usize = 16;
/// How often settings are asked for, and what is not needed is let go, milliseconds.
const TIDY_EVERY_MS: i64 = 1000;
/// Requests that are known again when their sender's retry stands in the log too.
const RECENT_REQUESTS: usize = 1 << 14;
/// How long they are.
const RECENT_TIME: Duration = Duration::from_mins(10);

/// The ingester's log, as far as the generator needs it.
pub trait Source: Send + Sync + std::fmt::Debug {
    /// Its identity, over restarts.
    fn id(&self) -> u128;

    /// The last record that it has let go of.
    fn low_water(&self) -> Sequence;

    /// Its last durable record, and news of it.
    fn durable(&self) -> watch::Receiver<Sequence>;

    /// Reads the durable records behind the cursor, in order. Blocks on I/O.
    ///
    /// # Errors
    /// [`LogError`], as [`trackway_wal::Log::read`].
    fn read(&self, cursor: &mut Cursor, visit: &mut Visitor<'_>) -> Result<Replayed, LogError>;

    /// Asks the log to keep what is behind this record, as long as it has room.
    fn keep_behind(&self, sequence: Sequence);
}

/// A generator that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A receiver.
    #[error("metrics_generator.storage.remote_write[{index}]: {problem}")]
    Receiver {
        /// Which one.
        index: usize,
        /// What is wrong.
        problem: String,
    },
    /// The folder.
    #[error("metrics_generator.storage.path {path}: {source}")]
    Io {
        /// Which one.
        path: String,
        /// What is wrong.
        source: io::Error,
    },
}

/// Whether it is time for what is done so often, milliseconds; also when the clock was set back, and never would come there.
pub(crate) fn is_due(now_ms: i64, next_ms: i64, every_ms: i64) -> bool {
    now_ms >= next_ms || next_ms.saturating_sub(now_ms) > every_ms
}

/// A sender as pages and metrics see it.
#[derive(Clone, Debug)]
pub(crate) struct Sending {
    pub(crate) receiver: Receiver,
    pub(crate) numbers: Arc<SendNumbers>,
    pub(crate) follower: Arc<Follower>,
}

/// A tenant and its senders.
#[derive(Debug)]
pub(crate) struct OfTenant {
    pub(crate) tenant: Mutex<Tenant>,
    pub(crate) sending: Vec<Sending>,
}

/// The metrics-generator. Shared by reference.
#[derive(Debug)]
pub struct Generator {
    pub(crate) config: Config,
    pub(crate) budget: Arc<Budget>,
    pub(crate) tenants: RwLock<BTreeMap<TenantId, Arc<OfTenant>>>,
    receivers: Vec<Receiver>,
    source: Arc<dyn Source>,
    clock: Arc<dyn Clock>,
    reading: Mutex<Reading>,
    too_many: Seldom,
    failing: Seldom,
}

/// What the one who reads the log knows.
#[derive(Debug)]
struct Reading {
    cursor: Cursor,
    recent: RecentHashes,
    is_wanted: bool,
    next_tidy_ms: i64,
    /// What stands in the file with the position, if this process wrote it.
    written: Option<u64>,
    next_keep_ms: i64,
    /// Senders to be started.
    new: Vec<(Sender, crate::samples::Position)>,
}

impl Generator {
    /// Opens what a process before left. Nothing is read or sent yet. Blocks on I/O.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(
        config: Config,
        source: Arc<dyn Source>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Arc<Self>, OpenError> {
        let receivers = config.remote_write.iter().enumerate().map(|(index, endpoint)| {
            let problem = |problem: String| OpenError::Receiver { index, problem };
            let relabel =
                Relabel::open(&endpoint.write_relabel_configs).map_err(|error| problem(error.to_string()))?;
            let client =
                Client::open(endpoint, Arc::clone(&random)).map_err(|error| problem(error.to_string()))?;
            Ok(Receiver {
                endpoint: Arc::new(endpoint.clone()),
                client,
                relabel: Arc::new(relabel),
                requests: Arc::new(Semaphore::new(REQUESTS_MAX)),
            })
        });
        let receivers = receivers.collect::<Result<Vec<_>, _>>()?;
        let end = *source.durable().borrow();
        let reading = Reading {
            cursor: Cursor::after(end),
            recent: RecentHashes::new(RECENT_REQUESTS, RECENT_TIME),
            is_wanted: false,
            next_tidy_ms: 0,
            written: None,
            next_keep_ms: 0,
            new: Vec::new(),
        };
        let generator = Self {
            budget: Arc::new(Budget::new(config.max_bytes, config.memory.clone())),
            tenants: RwLock::default(),
            receivers,
            source,
            clock,
            reading: Mutex::new(reading),
            too_many: Seldom::default(),
            failing: Seldom::default(),
            config,
        };
        generator.take_up(end)?;
        Ok(Arc::new(generator))
    }

    /// Runs until `stop`; then counts what came before, collects once more, and has that sent.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut senders = JoinSet::new();
        let halt = Stop { drain: CancellationToken::new(), abandon: CancellationToken::new() };
        let mut durable = self.source.durable();
        loop {
            let is_last = stop.is_cancelled();
            let generator = Arc::clone(&self);
            let stepped = tokio::task::spawn_blocking(move || generator.step(is_last)).await;
            let Ok(new) = stepped else {
                tracing::error!("metrics-generator has ended; metrics stand still until a restart");
                break;
            };
            for (sender, from) in new {
                senders.spawn(sender.run(from, halt.clone()));
            }
            // Those that left with their tenant.
            while let Some(left) = senders.try_join_next() {
                if left.is_err() {
                    tracing::error!("a sender of samples has ended; its samples wait for the next start");
                }
            }
            if is_last {
                break;
            }
            tokio::select! {
                changed = durable.changed() => {
                    if changed.is_ok() {
                        tokio::select! { () = tokio::time::sleep(PAUSE) => {}, () = stop.cancelled() => {} }
                    } else {
                        tokio::time::sleep(TICK).await;
                    }
                }
                () = tokio::time::sleep(TICK) => {}
                () = stop.cancelled() => {}
            }
        }
        halt.drain.cancel();
        let all = async { while senders.join_next().await.is_some() {} };
        if tokio::time::timeout(self.config.flush_deadline, all).await.is_err() {
            tracing::warn!("samples are left over; they are sent after the next start");
            halt.abandon.cancel();
            while senders.join_next().await.is_some() {}
        }
    }

    /// Reads what is new and does what is due, once; nothing is sent. For who drives the time, as tests do. Blocks on I/O.
    pub fn work(&self) {
        let new = self.step(false);
        self.reading.lock().new.extend(new);
    }

    /// Reads what is new, and does what is due; returns senders to be started. Blocks on I/O, and computes.
    fn step(&self, is_last: bool) -> Vec<(Sender, crate::samples::Position)> {
        let mut reading = self.reading.lock();
        let now_ms = millis(self.clock.now());
        if is_due(now_ms, reading.next_tidy_ms, TIDY_EVERY_MS) {
            reading.next_tidy_ms = now_ms.saturating_add(TIDY_EVERY_MS);
            reading.is_wanted = self.config.overrides.makes_metrics();
            self.update_all(now_ms);
            self.tidy(now_ms, reading.written.unwrap_or(0));
        }
        let end = *self.source.durable().borrow();
        let is_caught_up = if reading.is_wanted {
            self.read_log(&mut reading)
        } else {
            reading.cursor = Cursor::after(end);
            true
        };
        // Numbers without a record are behind the last one that was read, too.
        let read_up_to =
            if is_caught_up { reading.cursor.sequence().max(end) } else { reading.cursor.sequence() };
        let mut safe = read_up_to.0;
        let all = self.all();
        let syncs_at_once = all.len() <= SYNCED_AT_ONCE;
        // Reading took time, and a tenant that has just come in is due an interval from when it did.
        let collect_ms = millis(self.clock.now());
        for of in &all {
            let mut tenant = of.tenant.lock();
            tenant.skip_to(read_up_to.0);
            // What lies in the log already came before now: edges may not end before it is read.
            if is_caught_up {
                tenant.expire(now_ms);
            }
            if is_last || tenant.is_due(collect_ms) {
                self.collect(&mut tenant, collect_ms);
            }
            if is_last {
                tenant.sync(now_ms);
            }
            safe = safe.min(tenant.safe(now_ms, syncs_at_once));
        }
        self.keep(&mut reading, safe, is_last);
        std::mem::take(&mut reading.new)
    }

    /// Counts what is new; `false` when that could not be read to its end.
    fn read_log(&self, reading: &mut Reading) -> bool {
        let Reading { cursor, recent, new, .. } = reading;
        let before = cursor.sequence();
        let mut next = before.0 + 1;
        let mut visit = |record: trackway_wal::RecordRef<'_>| {
            let known = self.tenants.read().get(record.tenant).cloned();
            let of = known.or_else(|| self.welcome(record.tenant, next, new));
            next = record.sequence.0 + 1;
            if let Some(of) = of
                && recent.remember(record.hash, record.received, record.sequence)
            {
                let mut tenant = of.tenant.lock();
                let count = || tenant.count(record.sequence.0, record.received, record.refused, record.body);
                // One request that is not counted is better than no metrics any more, also after the next start.
                if std::panic::catch_unwind(std::panic::AssertUnwindSafe(count)).is_err() {
                    tracing::error!(tenant = %record.tenant, sequence = record.sequence.0, "a request could not be counted");
                }
            }
            ControlFlow::Continue(())
        };
        let read = self.source.read(cursor, &mut visit);
        if let Err(error) = &read
            && self.failing.due()
        {
            tracing::error!(%error, "ingester's log cannot be read; metrics stand still");
        }
        // What could not be read may be readable the next time.
        read.is_ok_and(|read| read.damaged == 0)
    }

    /// A tenant that makes metrics and is seen for the first time, with a request that is the `next` of the log.
    fn welcome(
        &self,
        id: &TenantId,
        next: u64,
        new: &mut Vec<(Sender, crate::samples::Position)>,
    ) -> Option<Arc<OfTenant>> {
        if !self.config.overrides.for_tenant(id).generator.processors.any() {
            return None;
        }
        if self.tenants.read().len() >= MAX_TENANTS {
            if self.too_many.due() {
                tracing::warn!(tenant = %id, "more than {MAX_TENANTS} tenants make metrics; this one's are left out");
            }
            return None;
        }
        match self.add_tenant(id, Sequence(next.saturating_sub(1)), new) {
            Ok(of) => Some(of),
            Err(error) => {
                if self.failing.due() {
                    tracing::error!(tenant = %id, %error, "log of samples cannot be opened; no metrics are made of its \
                        spans");
                }
                None
            }
        }
    }

    pub(crate) fn all(&self) -> Vec<Arc<OfTenant>> {
        self.tenants.read().values().cloned().collect()
    }

    fn collect(&self, tenant: &mut Tenant, now_ms: i64) {
        if let Err(error) = tenant.collect(now_ms)
            && self.failing.due()
        {
            tracing::error!(
                tenant = %tenant.id, %error, path = %self.config.path.display(),
                "metrics cannot be written to the log of samples; they are counted on, and written when there is room"
            );
        }
    }

    fn update_all(&self, now_ms: i64) {
        for of in self.all() {
            let mut tenant = of.tenant.lock();
            let limits = self.config.overrides.for_tenant(&tenant.id);
            tenant.update(&self.config, &self.budget, limits, now_ms);
        }
    }

    /// Samples that went before a receiver had them.
    pub fn lost_samples(&self) -> u64 {
        let all = self.all();
        let sending = all.iter().flat_map(|of| &of.sending);
        sending.map(|sending| sending.follower.lost.load(Ordering::Relaxed)).sum()
    }
}
