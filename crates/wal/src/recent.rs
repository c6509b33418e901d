//! Knows a sender's retry again: the hashes of the requests that came in lately, stored or on their way.
//!
//! What must stay true: a request is answered OK as a duplicate only when its first copy is stored; if the first copy
//! fails, so do those that waited for it, and the next one is new; the set is bounded in number and in time.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use trackway_common::{ErrorKind, Kinded, UnixNanos};

use crate::Sequence;

/// How many stored requests are remembered, unless told otherwise: about 100 bytes each.
pub const DEFAULT_CAPACITY: usize = 1 << 16;
/// How long a stored request is remembered, unless told otherwise: longer than senders keep trying by default
/// (OpenTelemetry's exporters give up after one minute, its collector after five).
pub const DEFAULT_WINDOW: Duration = Duration::from_mins(10);

/// The hashes of recent requests. Cloning it is cheap, and gives the same set.
#[derive(Clone, Debug)]
pub struct RecentHashes {
    known: Arc<Mutex<Known>>,
}

#[derive(Debug)]
struct Known {
    by_hash: HashMap<u128, State>,
    /// The stored ones, oldest first.
    order: VecDeque<(UnixNanos, u128, Sequence)>,
    capacity: usize,
    window: u64,
}

#[derive(Debug)]
enum State {
    InFlight(watch::Receiver<Outcome>),
    Stored(Sequence),
}

/// `None` while it is not decided.
type Outcome = Option<Sequence>;

/// What is to be done with a request.
#[derive(Debug)]
pub enum Admission {
    /// Store it, and say how that went.
    New(Pending),
    /// It is stored already: acknowledge it again.
    Seen(Sequence),
    /// Its first copy is on its way: wait for that.
    InFlight(InFlight),
}

/// The duty to say what became of a request. Dropped, it says that the request failed.
#[derive(Debug)]
#[must_use = "dropping it says that the request failed"]
pub struct Pending {
    known: Arc<Mutex<Known>>,
    hash: u128,
    received: UnixNanos,
    outcome: Option<watch::Sender<Outcome>>,
}

/// A request whose first copy is on its way.
#[derive(Debug)]
pub struct InFlight(watch::Receiver<Outcome>);

/// The first copy of a request could not be stored, so its duplicate is not either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the same request was on its way already, and could not be stored: send it again")]
pub struct FirstFailed;

impl Kinded for FirstFailed {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Unavailable
    }
}

impl Default for RecentHashes {
    fn default() -> Self {
        Self::new(DEFAULT_CAPACITY, DEFAULT_WINDOW)
    }
}

impl RecentHashes {
    /// Remembers so many stored requests, and for so long. Those on their way come on top: they are as many as there
    /// are senders waiting.
    pub fn new(capacity: usize, window: Duration) -> Self {
        let window = u64::try_from(window.as_nanos()).unwrap_or(u64::MAX);
        let known = Known { by_hash: HashMap::new(), order: VecDeque::new(), capacity, window };
        Self { known: Arc::new(Mutex::new(known)) }
    }

    /// Looks a request up, and if it is new, announces it. `received` is the time at which this copy came in.
    pub fn check_or_insert(&self, hash: u128, received: UnixNanos) -> Admission {
        let mut known = self.known.lock();
        known.expire(received);
        match known.by_hash.entry(hash) {
            Entry::Occupied(entry) => match entry.get() {
                State::Stored(sequence) => Admission::Seen(*sequence),
                State::InFlight(outcome) => Admission::InFlight(InFlight(outcome.clone())),
            },
            Entry::Vacant(entry) => {
                let (sender, receiver) = watch::channel(None);
                entry.insert(State::InFlight(receiver));
                let known = Arc::clone(&self.known);
                Admission::New(Pending { known, hash, received, outcome: Some(sender) })
            }
        }
    }

    /// Takes in a record that was replayed. `false`: it is a duplicate, leave it out.
    pub fn remember(&self, hash: u128, received: UnixNanos, sequence: Sequence) -> bool {
        let mut known = self.known.lock();
        known.expire(received);
        let new = !known.by_hash.contains_key(&hash);
        if new {
            known.store(hash, received, sequence);
        }
        new
    }

    /// The stored requests that are still remembered at `now`, oldest first: hash, when it was received, sequence. For
    /// keeping them over a restart, since the log lets go of records long before their senders give up.
    pub fn stored(&self, now: UnixNanos) -> Vec<(u128, UnixNanos, Sequence)> {
        let mut known = self.known.lock();
        known.expire(now);
        known.order.iter().map(|(received, hash, sequence)| (*hash, *received, *sequence)).collect()
    }

    /// Counts the stored requests as received at `now`, after a replay: while nobody was there to acknowledge, whoever
    /// keeps what is not acknowledged (a queue that is read) could not send it again, and does now.
    pub fn renew(&self, now: UnixNanos) {
        for (received, ..) in &mut self.known.lock().order {
            *received = now.max(*received);
        }
    }

    /// How many requests are known.
    pub fn len(&self) -> usize {
        self.known.lock().by_hash.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Known {
    fn store(&mut self, hash: u128, received: UnixNanos, sequence: Sequence) {
        self.by_hash.insert(hash, State::Stored(sequence));
        self.order.push_back((received, hash, sequence));
        while self.order.len() > self.capacity {
            self.forget_oldest();
        }
    }

    fn expire(&mut self, now: UnixNanos) {
        while let Some((received, ..)) = self.order.front()
            && now.saturating_sub(*received) > self.window
        {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        // A stored hash is in the order exactly once: it is not stored again before it is forgotten.
        if let Some((_, hash, _)) = self.order.pop_front() {
            self.by_hash.remove(&hash);
        }
    }
}

impl Pending {
    /// The request is durable and can be found: those who wait are acknowledged, later copies are known.
    pub fn stored(mut self, sequence: Sequence) {
        self.known.lock().store(self.hash, self.received, sequence);
        if let Some(outcome) = self.outcome.take() {
            outcome.send_replace(Some(sequence));
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if self.outcome.is_some() {
            // First forgotten, then told (by the end of the channel): who tries again at once is new.
            self.known.lock().by_hash.remove(&self.hash);
        }
    }
}

impl InFlight {
    /// Waits for the first copy.
    ///
    /// # Errors
    /// [`FirstFailed`]: do not acknowledge this one either.
    pub async fn outcome(mut self) -> Result<Sequence, FirstFailed> {
        self.0.wait_for(Option::is_some).await.ok().and_then(|outcome| *outcome).ok_or(FirstFailed)
    }
}
