//! What waits for one forwarder, of one tenant.
//!
//! What must stay true: nobody waits to put something in; what waits is bounded in number and in bytes, and is counted
//! in the memory budget; what is dropped is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex as SyncMutex;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;
use trackway_common::{MemoryPool, MemoryUser, Random, Reservation, Seldom, TenantId};

use crate::filter::{Filter, reduce};
use crate::numbers::{Numbers, add};
use crate::send::Client;

/// Most bytes that wait in one queue, or are being sent from it.
pub const MAX_QUEUE_BYTES: usize = 64 << 20;
/// Larger requests are filtered on threads that may be busy for a while.
const FILTER_HERE: usize = 64 << 10;
/// How often a request is there while it is filtered: whole, by resource and by scope.
const COPIES: usize = 3;

/// What a forwarder does with what it gets.
#[derive(Debug)]
pub(crate) struct Forwarder {
    pub(crate) name: Arc<str>,
    pub(crate) filter: Filter,
    pub(crate) clients: Vec<Client>,
}

/// A request that waits.
struct Waiting {
    body: Bytes,
    refused: Arc<[u32]>,
    _room: Room,
}

/// Its place, given back when it is dropped.
struct Room {
    bytes: Arc<AtomicUsize>,
    length: usize,
    numbers: Arc<Numbers>,
    _memory: Reservation,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.bytes.fetch_sub(self.length, Ordering::AcqRel);
        self.numbers.length.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A queue and those who work on it.
#[derive(Debug)]
pub(crate) struct Queue {
    forwarder: Arc<Forwarder>,
    tenant: TenantId,
    numbers: Arc<Numbers>,
    bytes: Arc<AtomicUsize>,
    memory: MemoryPool,
    entrance: mpsc::Sender<Waiting>,
    workers: SyncMutex<JoinSet<()>>,
    warned: Arc<Seldom>,
}

impl Queue {
    /// Opens a queue for so many requests, with so many workers. Must be called on the runtime.
    pub(crate) fn open(
        forwarder: &Arc<Forwarder>,
        tenant: &TenantId,
        (size, workers): (usize, usize),
        numbers: Arc<Numbers>,
        memory: MemoryPool,
        random: &Arc<dyn Random>,
    ) -> Self {
        let (entrance, exit) = mpsc::channel(size.max(1));
        let exit = Arc::new(Mutex::new(exit));
        let warned = Arc::new(Seldom::default());
        let mut tasks = JoinSet::new();
        for _ in 0..workers.max(1) {
            let worker = Worker {
                forwarder: Arc::clone(forwarder),
                tenant: tenant.clone(),
                numbers: Arc::clone(&numbers),
                random: Arc::clone(random),
                memory: memory.clone(),
                warned: Arc::clone(&warned),
            };
            tasks.spawn(worker.run(Arc::clone(&exit)));
        }
        Self {
            forwarder: Arc::clone(forwarder),
            tenant: tenant.clone(),
            numbers,
            bytes: Arc::default(),
            memory,
            entrance,
            workers: SyncMutex::new(tasks),
            warned,
        }
    }

    /// Puts a request in, or drops it.
    pub(crate) fn push(&self, body: &Bytes, refused: &Arc<[u32]>) {
        add(&self.numbers.pushes, 1);
        if let Err(why) = self.try_push(body, refused) {
            add(&self.numbers.failures, 1);
            if self.warned.due() {
                let (name, tenant) = (&self.forwarder.name, &self.tenant);
                tracing::warn!(
                    %tenant,
                    "forwarder {name}: {why}; requests are not forwarded (tempo_distributor_queue_pushes_failures_total)"
                );
            }
        }
    }

    fn try_push(&self, body: &Bytes, refused: &Arc<[u32]>) -> Result<(), String> {
        let length = body.len();
        let before = self.bytes.fetch_add(length, Ordering::AcqRel);
        if before + length > MAX_QUEUE_BYTES {
            self.bytes.fetch_sub(length, Ordering::AcqRel);
            return Err(format!("more than {MAX_QUEUE_BYTES} bytes are queued"));
        }
        let memory = self.memory.reserve(MemoryUser::Forwarders, length).map_err(|over| {
            self.bytes.fetch_sub(length, Ordering::AcqRel);
            over.to_string()
        })?;
        self.numbers.length.fetch_add(1, Ordering::Relaxed);
        let room = Room {
            bytes: Arc::clone(&self.bytes),
            length,
            numbers: Arc::clone(&self.numbers),
            _memory: memory,
        };
        let waiting = Waiting { body: body.clone(), refused: Arc::clone(refused), _room: room };
        let full = || "the queue is full".to_owned();
        self.entrance.try_send(waiting).map_err(|_| full())
    }

    /// Closes the queue, and sends what waits until then; what waits still is dropped. How many those were.
    pub(crate) async fn close(self: Arc<Self>, until: Instant) -> u64 {
        let mut workers = std::mem::take(&mut *self.workers.lock());
        let numbers = Arc::clone(&self.numbers);
        // Workers end when the last entrance is gone and nothing waits.
        drop(self);
        let ended = async { while workers.join_next().await.is_some() {} };
        if tokio::time::timeout_at(until, ended).await.is_ok() {
            return 0;
        }
        let left = numbers.length.load(Ordering::Relaxed);
        add(&numbers.given_up, left);
        workers.shutdown().await;
        left
    }
}

struct Worker {
    forwarder: Arc<Forwarder>,
    tenant: TenantId,
    numbers: Arc<Numbers>,
    random: Arc<dyn Random>,
    memory: MemoryPool,
    warned: Arc<Seldom>,
}

impl Worker {
    async fn run(self, exit: Arc<Mutex<mpsc::Receiver<Waiting>>>) {
        loop {
            let next = exit.lock().await.recv().await;
            let Some(next) = next else { return };
            self.forward(&next).await;
        }
    }

    async fn forward(&self, waiting: &Waiting) {
        let (body, _memory) = match self.reduced(waiting).await {
            Ok((Some(body), memory)) => (body, memory),
            Ok((None, _)) => return add(&self.numbers.empty, 1),
            Err(why) => return self.give_up(&why),
        };
        let mut sending = JoinSet::new();
        for client in &self.forwarder.clients {
            let (client, tenant, body) = (client.clone(), self.tenant.clone(), body.clone());
            let (numbers, random) = (Arc::clone(&self.numbers), Arc::clone(&self.random));
            sending.spawn(async move { client.send(&tenant, &body, &numbers, &*random).await });
        }
        let mut failed = None;
        while let Some(sent) = sending.join_next().await {
            match sent {
                Ok(Ok(())) => {}
                Ok(Err(error)) => failed = Some(format!("{}: {}", error.place, error.status)),
                Err(error) => failed = Some(error.to_string()),
            }
        }
        let Some(error) = failed else { return add(&self.numbers.sent, 1) };
        self.give_up(&error);
    }

    /// What is to be sent of a request, and the memory of the copy if there is one.
    async fn reduced(&self, waiting: &Waiting) -> Result<(Option<Bytes>, Option<Reservation>), String> {
        let Waiting { body, refused, .. } = waiting;
        if self.forwarder.filter.is_empty() && refused.is_empty() {
            return Ok((Some(body.clone()), None));
        }
        let room = body.len().saturating_mul(COPIES);
        let mut memory =
            self.memory.reserve(MemoryUser::Forwarders, room).map_err(|over| over.to_string())?;
        let left = if body.len() <= FILTER_HERE {
            reduce(body, &self.forwarder.filter, refused)
        } else {
            let (forwarder, body, refused) = (Arc::clone(&self.forwarder), body.clone(), Arc::clone(refused));
            let reducing = move || reduce(&body, &forwarder.filter, &refused);
            tokio::task::spawn_blocking(reducing).await.map_err(|error| error.to_string())?
        };
        // Also the request itself may be handed back, or a copy that was given its full length.
        memory.shrink_to(left.as_ref().map_or(0, |_| body.len()));
        Ok((left, Some(memory)))
    }

    fn give_up(&self, error: &str) {
        add(&self.numbers.given_up, 1);
        if self.warned.due() {
            let (name, tenant) = (&self.forwarder.name, &self.tenant);
            tracing::warn!(%tenant, "forwarder {name}: a request was given up: {error}");
        }
    }
}
