//! Copies of what tenants send, for other servers: `distributor.forwarders`.
//!
//! What must stay true: a sender never waits for a forwarder, and never fails because of one; what is forwarded was
//! accepted first; every queue has a limit in requests and in bytes. Without forwarders nothing of this runs.

mod filter;
mod numbers;
pub mod ottl;
mod queue;
mod send;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use trackway_common::{MemoryPool, Random, Seldom, TenantId};
use trackway_overrides::{Limits, Overrides};

pub use filter::{Filter, FilterError, reduce};
pub use numbers::MAX_SERIES;
pub use queue::MAX_QUEUE_BYTES;
pub use send::{ATTEMPT, GIVE_UP};

use numbers::{AllNumbers, Numbers, add};
use queue::{Forwarder, Queue};

/// Requests that wait in one queue, unless the tenant's limits say otherwise.
pub const QUEUE_SIZE: usize = 100;
/// Requests of one queue that are sent at a time, unless the tenant's limits say otherwise.
pub const WORKERS: usize = 2;
/// Most workers of a queue, whatever the tenant's limits say.
pub const MAX_WORKERS: usize = 256;
/// Most queues; tenants beyond are not forwarded, and that is counted.
pub const MAX_QUEUES: usize = 10_000;
/// How long what waits may take at the shutdown.
pub const DRAIN: Duration = Duration::from_secs(10);
/// How often queues are looked at that are not wanted any more.
const TIDY: Duration = Duration::from_secs(10);
/// After so many looks without a request a queue is closed: ten minutes.
const IDLE_LOOKS: u32 = 60;
/// Most names of forwarders that are unknown and were warned of.
const MAX_WARNED: usize = 1000;

/// A forwarder as it is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwarderConfig {
    /// What tenants name it by.
    pub name: String,
    /// Where it sends to.
    pub otlpgrpc: OtlpGrpc,
    /// Conditions for spans that it drops (`filter.traces.span`).
    pub span: Vec<String>,
    /// Conditions for events that it drops (`filter.traces.spanevent`).
    pub spanevent: Vec<String>,
}

/// Endpoints by OTLP over gRPC.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OtlpGrpc {
    /// `host:port`; each of them gets everything.
    pub endpoints: Vec<String>,
    /// Whether there is no TLS.
    pub insecure: bool,
    /// Authorities of the endpoints, a PEM file.
    pub cert_file: String,
}

/// A forwarder that cannot be used as it is set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("forwarder {name}: {problem}")]
pub struct ForwardError {
    name: String,
    problem: String,
}

impl ForwardError {
    pub(crate) fn new(name: &str, problem: impl Into<String>) -> Self {
        Self { name: name.to_owned(), problem: problem.into() }
    }
}

/// The queues of a tenant, and for which limits they were opened.
#[derive(Debug)]
struct OfTenant {
    limits: Arc<Limits>,
    queues: Vec<Arc<Queue>>,
    /// Counts of forwarders that have no queue: unknown ones, and those beyond [`MAX_QUEUES`].
    lost: Vec<Arc<Numbers>>,
    /// Whether there was no room for any queue.
    is_crowded: bool,
    /// Looks since the last request.
    idle: AtomicU32,
}

impl OfTenant {
    fn push(&self, body: &Bytes, refused: &Arc<[u32]>) {
        self.idle.store(0, Ordering::Relaxed);
        self.queues.iter().for_each(|queue| queue.push(body, refused));
        for numbers in &self.lost {
            add(&numbers.pushes, 1);
            add(&numbers.failures, 1);
        }
    }

    fn fits(&self, limits: &Arc<Limits>) -> bool {
        let wanted = |limits: &Limits| (limits.forwarder_queue_size, limits.forwarder_workers);
        Arc::ptr_eq(&self.limits, limits)
            || (self.limits.forwarders == limits.forwarders && wanted(&self.limits) == wanted(limits))
    }
}

/// All forwarders of a process.
#[derive(Debug)]
pub struct Forwarders {
    forwarders: HashMap<String, Arc<Forwarder>>,
    overrides: Arc<Overrides>,
    memory: MemoryPool,
    random: Arc<dyn Random>,
    tenants: RwLock<HashMap<TenantId, OfTenant>>,
    /// What was replaced, while it sends what it has.
    closing: Mutex<Vec<Arc<Queue>>>,
    warned: Mutex<Vec<(TenantId, String)>>,
    /// When it was last said that there are too many queues.
    too_many: Seldom,
    numbers: AllNumbers,
    none: Arc<[u32]>,
}

impl Forwarders {
    /// Reads filters and certificates; nothing is connected yet. `None` when there are no forwarders.
    ///
    /// # Errors
    /// [`ForwardError`] when one cannot be used.
    pub fn open(
        configs: &[ForwarderConfig],
        overrides: Arc<Overrides>,
        memory: MemoryPool,
        random: Arc<dyn Random>,
    ) -> Result<Option<Arc<Self>>, ForwardError> {
        let mut forwarders = HashMap::new();
        for config in configs {
            let name = &config.name;
            let filter = Filter::parse(&config.span, &config.spanevent)
                .map_err(|error| ForwardError::new(name, format!("filter.traces.{error}")))?;
            let clients = send::clients(name, &config.otlpgrpc)?;
            let forwarder = Forwarder { name: Arc::from(name.as_str()), filter, clients };
            forwarders.insert(name.clone(), Arc::new(forwarder));
        }
        if forwarders.is_empty() {
            return Ok(None);
        }
        Ok(Some(Arc::new(Self {
            forwarders,
            overrides,
            memory,
            random,
            tenants: RwLock::default(),
            closing: Mutex::default(),
            warned: Mutex::default(),
            too_many: Seldom::default(),
            numbers: AllNumbers::default(),
            none: Arc::from([]),
        })))
    }

    /// Queues a request that was accepted, but for the spans with these ordinals (ascending). Never waits.
    pub fn forward(&self, tenant: &TenantId, body: &Bytes, refused: impl ExactSizeIterator<Item = u32>) {
        let limits = self.overrides.for_tenant(tenant);
        if limits.forwarders.is_empty() {
            return;
        }
        let refused: Arc<[u32]> = if refused.len() == 0 { Arc::clone(&self.none) } else { refused.collect() };
        if let Some(of) = self.tenants.read().get(tenant).filter(|of| of.fits(&limits)) {
            return of.push(body, &refused);
        }
        let mut tenants = self.tenants.write();
        if !tenants.get(tenant).is_some_and(|of| of.fits(&limits)) {
            let others: usize = tenants.values().map(|of| of.queues.len()).sum();
            let (queues, lost) = self.queues(tenant, &limits, others);
            let is_crowded = others >= MAX_QUEUES;
            let opened = OfTenant { limits, queues, lost, is_crowded, idle: AtomicU32::new(0) };
            if let Some(old) = tenants.insert(tenant.clone(), opened) {
                self.closing.lock().extend(old.queues);
            }
        }
        if let Some(of) = tenants.get(tenant) {
            of.push(body, &refused);
        }
    }

    /// Opens the queues of a tenant; and where is counted what could not get one.
    fn queues(
        &self,
        tenant: &TenantId,
        limits: &Limits,
        others: usize,
    ) -> (Vec<Arc<Queue>>, Vec<Arc<Numbers>>) {
        let or = |number: usize, default: usize| if number == 0 { default } else { number };
        let size = or(limits.forwarder_queue_size, QUEUE_SIZE);
        let workers = or(limits.forwarder_workers, WORKERS).min(MAX_WORKERS);
        let (mut opened, mut lost) = (Vec::new(), Vec::new());
        for name in &limits.forwarders {
            let Some(forwarder) = self.forwarders.get(name) else {
                lost.push(self.unknown(tenant, name));
                continue;
            };
            let numbers = self.numbers.of(&forwarder.name, tenant);
            if others + opened.len() >= MAX_QUEUES {
                if self.too_many.due() {
                    tracing::warn!(
                        %tenant,
                        "forwarder {name}: there are {MAX_QUEUES} queues already; nothing is forwarded, \
                         nor for other tenants without a queue (tempo_distributor_queue_pushes_failures_total)"
                    );
                }
                lost.push(numbers);
                continue;
            }
            let (memory, random) = (self.memory.clone(), &self.random);
            opened.push(Arc::new(Queue::open(forwarder, tenant, (size, workers), numbers, memory, random)));
        }
        (opened, lost)
    }

    /// A tenant names a forwarder that is not there: said once. Where it is counted.
    fn unknown(&self, tenant: &TenantId, name: &str) -> Arc<Numbers> {
        let numbers = self.numbers.of(&Arc::from(name), tenant);
        let mut warned = self.warned.lock();
        let what = (tenant.clone(), name.to_owned());
        if warned.len() < MAX_WARNED && !warned.contains(&what) {
            let mut known: Vec<&str> = self.forwarders.keys().map(String::as_str).collect();
            known.sort_unstable();
            tracing::warn!(
                %tenant,
                "overrides name the forwarder {name}, which distributor.forwarders does not have; it has {}",
                known.join(", ")
            );
            warned.push(what);
        }
        numbers
    }

    /// Closes queues that are not wanted any more, until `stop`; then sends what waits, for [`DRAIN`] at the most.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut turns = tokio::time::interval(TIDY);
        let mut outdated = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = turns.tick() => {}
            }
            for queue in self.outdated() {
                outdated.spawn(queue.close(Instant::now() + GIVE_UP));
            }
            while outdated.try_join_next().is_some() {}
        }
        let until = Instant::now() + DRAIN;
        let tenants = std::mem::take(&mut *self.tenants.write());
        let mut all: Vec<Arc<Queue>> = tenants.into_values().flat_map(|of| of.queues).collect();
        all.append(&mut self.closing.lock());
        let mut closing = JoinSet::new();
        all.into_iter().for_each(|queue| {
            closing.spawn(queue.close(until));
        });
        let mut left = 0;
        while let Some(dropped) = closing.join_next().await {
            left += dropped.unwrap_or(0);
        }
        let _ = tokio::time::timeout_at(until, async { while outdated.join_next().await.is_some() {} }).await;
        if left > 0 {
            tracing::warn!("{left} requests could not be forwarded within {DRAIN:?} and are dropped");
        }
    }

    /// Takes out queues that are not wanted any more: of other limits, or long without a request.
    fn outdated(&self) -> Vec<Arc<Queue>> {
        let mut tenants = self.tenants.write();
        let mut gone = std::mem::take(&mut *self.closing.lock());
        let room = tenants.values().map(|of| of.queues.len()).sum::<usize>() < MAX_QUEUES;
        tenants.retain(|tenant, of| {
            let idle = of.idle.fetch_add(1, Ordering::Relaxed) >= IDLE_LOOKS;
            // Without any queue, and now there may be room for one.
            let retries = room && of.is_crowded && of.queues.is_empty();
            let stays = !idle && !retries && of.fits(&self.overrides.for_tenant(tenant));
            if !stays {
                gone.append(&mut of.queues);
            }
            stays
        });
        gone
    }

    /// Appends metrics in Prometheus's text format.
    pub fn write_metrics(&self, out: &mut String) {
        self.numbers.write(out);
    }
}
