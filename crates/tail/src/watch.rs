//! Who watches, and what waits for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hashbrown::HashMap;
use parking_lot::RwLock;
use tokio::sync::mpsc;
use trackway_common::{Clock, MemoryPool, MemoryUser, Reservation, TenantId};
use trackway_spans::{BatchBuilder, Limits, append_request, peek_request};

use crate::query::{QueryError, SpanQuery};
use crate::show::ShownSpan;

/// Tails of one tenant at a time.
pub const TAILS_PER_TENANT_MAX: usize = 8;
/// Tails of the process at a time.
pub const TAILS_MAX: usize = 64;
/// Requests that may wait for a tail.
pub const WAITING_REQUESTS_MAX: usize = 256;
/// Bytes of requests that may wait for a tail.
pub const WAITING_BYTES_MAX: usize = 8 << 20;
/// Spans that a tail is shown in a second.
pub const SPANS_PER_SECOND_MAX: u64 = 1000;
/// Bytes of requests that are looked through for a tail in a second.
pub const LOOKED_AT_PER_SECOND_MAX: u64 = 32 << 20;
/// From here on, a request is looked through off the threads that serve connections: some milliseconds.
const LARGE: usize = 64 << 10;

/// Spans that were taken in, as they wait for a watcher.
#[derive(Debug)]
pub struct Batch {
    tenant: TenantId,
    request: Bytes,
    /// Spans that were refused by limits, by their place.
    refused: Arc<[u32]>,
    max_attribute_bytes: usize,
    waiting: Arc<AtomicUsize>,
    _memory: Reservation,
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.waiting.fetch_sub(self.request.len(), Ordering::AcqRel);
    }
}

/// Why there is no tail.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TailError {
    /// The query.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// There are as many as there may be.
    #[error("{0} tails are open, as many as there may be{1}; end one")]
    TooMany(usize, String),
    /// The process stops.
    #[error("the server stops")]
    Stopping,
    /// Nothing arrives here.
    #[error(
        "this process only reads (trackway.read_only): no spans arrive here; ask the process that takes them in"
    )]
    ReadOnly,
}

/// Where spans go for one watcher.
#[derive(Debug)]
struct Sink {
    number: u64,
    queue: mpsc::Sender<Batch>,
    /// Bytes that wait.
    waiting: Arc<AtomicUsize>,
    /// Spans that did not fit.
    passed_over: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Open {
    tenants: HashMap<TenantId, Vec<Arc<Sink>>>,
    numbers: u64,
    is_closed: bool,
}

/// All who watch.
#[derive(Debug)]
pub struct Tails {
    /// How many there are; looked at for every request.
    count: AtomicUsize,
    open: RwLock<Open>,
    memory: MemoryPool,
    clock: Arc<dyn Clock>,
}

impl Tails {
    /// Nobody watches yet.
    pub fn new(memory: MemoryPool, clock: Arc<dyn Clock>) -> Self {
        Self { count: AtomicUsize::new(0), open: RwLock::default(), memory, clock }
    }

    /// How many watch.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Shows a request that was acknowledged to whoever watches its tenant. `refused` says which of its spans limits
    /// refused, and is asked only if somebody does.
    pub fn offer(
        &self,
        tenant: &TenantId,
        request: &Bytes,
        max_attribute_bytes: usize,
        refused: impl FnOnce() -> Vec<u32>,
    ) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let sinks = match self.open.read().tenants.get(tenant) {
            Some(sinks) => sinks.clone(),
            None => return,
        };
        let refused: Arc<[u32]> = refused().into();
        let spans = || u64::from(peek_request(request).unwrap_or_default());
        for sink in sinks {
            let fits = sink.waiting.load(Ordering::Acquire) + request.len() <= WAITING_BYTES_MAX;
            let room = || self.memory.try_reserve(MemoryUser::Queries, request.len());
            let (true, Ok(place)) = (fits, sink.queue.try_reserve()) else {
                sink.passed_over.fetch_add(spans(), Ordering::AcqRel);
                continue;
            };
            let Some(memory) = room() else {
                sink.passed_over.fetch_add(spans(), Ordering::AcqRel);
                continue;
            };
            sink.waiting.fetch_add(request.len(), Ordering::AcqRel);
            place.send(Batch {
                tenant: tenant.clone(),
                request: request.clone(),
                refused: Arc::clone(&refused),
                max_attribute_bytes,
                waiting: Arc::clone(&sink.waiting),
                _memory: memory,
            });
        }
    }

    /// Begins to watch spans of these tenants that match.
    ///
    /// # Errors
    /// [`TailError`].
    pub fn open(self: &Arc<Self>, tenants: &[TenantId], query: &str) -> Result<Tail, TailError> {
        let query = SpanQuery::parse(query)?;
        let (queue, batches) = mpsc::channel(WAITING_REQUESTS_MAX);
        let mut open = self.open.write();
        if open.is_closed {
            return Err(TailError::Stopping);
        }
        if self.count() >= TAILS_MAX {
            return Err(TailError::TooMany(TAILS_MAX, String::new()));
        }
        let is_full = |tenant: &&TenantId| {
            open.tenants.get(*tenant).is_some_and(|sinks| sinks.len() >= TAILS_PER_TENANT_MAX)
        };
        if let Some(tenant) = tenants.iter().find(is_full) {
            return Err(TailError::TooMany(TAILS_PER_TENANT_MAX, format!(" of tenant {tenant}")));
        }
        open.numbers += 1;
        let sink = Arc::new(Sink {
            number: open.numbers,
            queue,
            waiting: Arc::default(),
            passed_over: Arc::default(),
        });
        for tenant in tenants {
            open.tenants.entry(tenant.clone()).or_default().push(Arc::clone(&sink));
        }
        self.count.fetch_add(1, Ordering::AcqRel);
        Ok(Tail {
            tails: Arc::clone(self),
            tenants: tenants.to_vec(),
            number: sink.number,
            passed_over: Arc::clone(&sink.passed_over),
            query: Arc::new(query),
            batches,
            budget: Budget::default(),
        })
    }

    /// Ends all tails, and lets nobody begin another.
    pub fn close(&self) {
        let mut open = self.open.write();
        open.is_closed = true;
        // The queues end with their senders.
        open.tenants.clear();
    }

    fn leave(&self, tenants: &[TenantId], number: u64) {
        let mut open = self.open.write();
        for tenant in tenants {
            let is_empty = open.tenants.get_mut(tenant).is_some_and(|sinks| {
                sinks.retain(|sink| sink.number != number);
                sinks.is_empty()
            });
            if is_empty {
                open.tenants.remove(tenant);
            }
        }
        self.count.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What a second has left.
#[derive(Debug, Default)]
struct Budget {
    second: u64,
    spans: u64,
    bytes: u64,
}

impl Budget {
    fn at(&mut self, now: Duration) -> &mut Self {
        if self.second != now.as_secs() {
            *self = Self { second: now.as_secs(), ..Self::default() };
        }
        self
    }
}

/// What a watcher is to be shown next.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// Spans that match.
    pub spans: Vec<ShownSpan>,
    /// Spans since the last time that were not shown: too many, or more than could be looked at.
    pub not_shown: u64,
}

/// A watcher's end of it. Dropping it ends the tail.
#[derive(Debug)]
pub struct Tail {
    tails: Arc<Tails>,
    tenants: Vec<TenantId>,
    number: u64,
    passed_over: Arc<AtomicU64>,
    query: Arc<SpanQuery>,
    batches: mpsc::Receiver<Batch>,
    budget: Budget,
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.tails.leave(&self.tenants, self.number);
    }
}

impl Tail {
    /// Waits for spans to look through; `None` when the server stops. May be dropped while it waits.
    pub async fn arrival(&mut self) -> Option<Batch> {
        self.batches.recv().await
    }

    /// Looks through what has arrived.
    pub async fn look(&mut self, batch: Batch) -> Seen {
        let mut seen = Seen { not_shown: self.take_passed_over(), ..Seen::default() };
        self.look_into(batch, &mut seen).await;
        seen
    }

    /// What was passed over since it was last asked.
    pub fn take_passed_over(&self) -> u64 {
        self.passed_over.swap(0, Ordering::AcqRel)
    }

    async fn look_into(&mut self, batch: Batch, seen: &mut Seen) {
        let budget = self.budget.at(self.tails.clock.monotonic());
        let bytes = batch.request.len() as u64;
        if budget.bytes > 0 && budget.bytes + bytes > LOOKED_AT_PER_SECOND_MAX {
            seen.not_shown += u64::from(peek_request(&batch.request).unwrap_or_default());
            return;
        }
        budget.bytes += bytes;
        let left = SPANS_PER_SECOND_MAX.saturating_sub(budget.spans);
        let (query, named) = (Arc::clone(&self.query), self.tenants.len() > 1);
        let found = if batch.request.len() < LARGE {
            matching(&query, &batch, named, left)
        } else {
            let found = tokio::task::spawn_blocking(move || matching(&query, &batch, named, left)).await;
            found.unwrap_or_default()
        };
        self.budget.spans += found.spans.len() as u64;
        seen.spans = found.spans;
        seen.not_shown += found.not_shown;
    }
}

/// The spans of a request that match: at most `left` of them, and how many more.
fn matching(query: &SpanQuery, batch: &Batch, named: bool, left: u64) -> Seen {
    let mut builder = BatchBuilder::new();
    let limits = Limits { max_attribute_bytes: batch.max_attribute_bytes };
    // What cannot be read was not acknowledged.
    if append_request(&mut builder, &batch.request, limits, &batch.refused).is_err() {
        return Seen::default();
    }
    let spans = builder.finish();
    let mut seen = Seen::default();
    let Ok(mask) = query.matches(&spans) else {
        // What cannot be computed for one of them (a division by zero) is told of all.
        seen.not_shown = spans.len() as u64;
        return seen;
    };
    for (row, _) in mask.iter().enumerate().filter(|(_, matches)| **matches) {
        if (seen.spans.len() as u64) < left {
            seen.spans.push(ShownSpan::new(&spans, row, named.then_some(&batch.tenant)));
        } else {
            seen.not_shown += 1;
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use trackway_common::SystemClock;
    use trackway_spans::wire::{put_bytes, put_fixed64, put_message};

    use super::*;

    fn request(spans: u64, name: &str) -> Bytes {
        let mut out = Vec::new();
        put_message(&mut out, 1, |out| {
            put_message(out, 2, |out| {
                for id in 1..=spans {
                    put_message(out, 2, |out| {
                        put_bytes(out, 1, &7_u128.to_be_bytes());
                        put_bytes(out, 2, &id.to_be_bytes());
                        put_bytes(out, 5, name.as_bytes());
                        put_fixed64(out, 7, 1);
                        put_fixed64(out, 8, 2);
                    });
                }
            });
        });
        out.into()
    }

    fn tails() -> Arc<Tails> {
        Arc::new(Tails::new(MemoryPool::unlimited(), Arc::new(SystemClock::default())))
    }

    fn tenant(name: &str) -> TenantId {
        TenantId::new(name).unwrap()
    }

    async fn next(tail: &mut Tail) -> Option<Seen> {
        loop {
            let batch = tail.arrival().await?;
            let seen = tail.look(batch).await;
            if seen != Seen::default() {
                return Some(seen);
            }
        }
    }

    #[tokio::test]
    async fn a_tail_sees_what_matches_of_its_tenant_and_not_what_was_refused() {
        let tails = tails();
        tails.offer(&tenant("a"), &request(1, "x"), 0, || panic!("nobody watches"));
        let mut tail = tails.open(&[tenant("a")], "{ name = \"x\" }").unwrap();
        tails.offer(&tenant("b"), &request(1, "x"), 0, || panic!("nobody watches"));
        tails.offer(&tenant("a"), &request(3, "y"), 0, Vec::new);
        tails.offer(&tenant("a"), &request(3, "x"), 0, || vec![1]);
        let seen = next(&mut tail).await.unwrap();
        let ids: Vec<bool> =
            seen.spans.iter().map(|span| span.json.contains("\"spanId\":\"0000000000000002\"")).collect();
        assert_eq!((ids, seen.not_shown), (vec![false, false], 0));
        drop(tail);
        assert_eq!((tails.count(), tails.open.read().tenants.len()), (0, 0));
    }

    #[tokio::test]
    async fn what_waits_and_what_is_shown_is_bounded() {
        let tails = tails();
        let mut tail = tails.open(&[tenant("a")], "").unwrap();
        for _ in 0..WAITING_REQUESTS_MAX + 3 {
            tails.offer(&tenant("a"), &request(10, "x"), 0, Vec::new);
        }
        let (mut shown, mut not_shown) = (0, 0);
        while shown + not_shown < (WAITING_REQUESTS_MAX as u64 + 3) * 10 {
            let seen = next(&mut tail).await.unwrap();
            shown += seen.spans.len() as u64;
            not_shown += seen.not_shown;
        }
        // A second may have ended meanwhile.
        assert!(shown >= SPANS_PER_SECOND_MAX && not_shown >= 30, "{shown} {not_shown}");
        let large = request(400_000, "x");
        assert!(large.len() > WAITING_BYTES_MAX);
        tails.offer(&tenant("a"), &large, 0, Vec::new);
        assert_eq!(tail.take_passed_over(), 400_000);
        let others: Vec<Tail> =
            (1..TAILS_PER_TENANT_MAX).map(|_| tails.open(&[tenant("a")], "").unwrap()).collect();
        let refused = tails.open(&[tenant("b"), tenant("a")], "").unwrap_err().to_string();
        assert_eq!(refused, "8 tails are open, as many as there may be of tenant a; end one");
        tails.close();
        assert!(tail.arrival().await.is_none());
        assert_eq!(tails.open(&[tenant("b")], "").unwrap_err(), TailError::Stopping);
        drop((others, tail));
        assert_eq!(tails.count(), 0);
    }
}
