//! One budget for everything resident. Whoever holds bytes for longer than a moment reserves them first, and is told
//! no before the process is in danger, not after.
//!
//! What must stay true: over budget, caches shrink first; then questions wait, and fail; senders are refused last. The
//! ceilings of [`MemoryUser`] see to that: whoever has to give way first stops before the budget is used up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use tokio::sync::Notify;

/// How long those who write wait before questions have to give way.
const PATIENCE: Duration = Duration::from_secs(1);

/// Who holds bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MemoryUser {
    /// Requests of senders, until their spans stand in the head.
    Requests,
    /// Spans in memory.
    Head,
    /// Blocks and segments that are being written.
    Blocks,
    /// Blocks that are being merged.
    Compaction,
    /// What is kept because it may be asked for again.
    Caches,
    /// What questions are at work on.
    Queries,
    /// Requests that wait to be forwarded.
    Forwarders,
    /// Series and open edges of the metrics-generator.
    Metrics,
    /// What the process has in memory that nobody reserved, as far as it is more than it always has.
    Uncounted,
}

impl MemoryUser {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 9] = [
        Self::Requests,
        Self::Head,
        Self::Blocks,
        Self::Compaction,
        Self::Caches,
        Self::Queries,
        Self::Forwarders,
        Self::Metrics,
        Self::Uncounted,
    ];

    /// As metrics and pages name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Head => "head",
            Self::Blocks => "blocks",
            Self::Compaction => "compaction",
            Self::Caches => "caches",
            Self::Queries => "queries",
            Self::Forwarders => "forwarders",
            Self::Metrics => "metrics",
            Self::Uncounted => "uncounted",
        }
    }

    /// Eighths of the budget that may be in use, all users together, when this one takes some: what is kept free for those
    /// who have to give way after it.
    fn ceiling_eighths(self) -> usize {
        match self {
            Self::Requests | Self::Head | Self::Blocks | Self::Metrics | Self::Uncounted => 8,
            Self::Compaction | Self::Forwarders => 7,
            Self::Queries => 6,
            Self::Caches => 4,
        }
    }

    /// Whether it is about taking spans in, which goes before everything else.
    fn writes(self) -> bool {
        matches!(self, Self::Requests | Self::Head | Self::Blocks)
    }

    /// Eighths of the budget that this user alone may have.
    fn share_eighths(self) -> usize {
        match self {
            Self::Requests => 2,
            Self::Forwarders => 1,
            Self::Head
            | Self::Blocks
            | Self::Compaction
            | Self::Caches
            | Self::Queries
            | Self::Metrics
            | Self::Uncounted => 8,
        }
    }
}

/// A shared budget of bytes. Cheap to clone.
#[derive(Clone)]
pub struct MemoryPool {
    inner: Arc<Inner>,
}

/// Frees about so many bytes of a cache, if it has them, and tells the pool.
pub type Shrink = Box<dyn Fn(&MemoryPool, usize) + Send + Sync>;

struct Inner {
    limit: usize,
    used: AtomicUsize,
    users: [User; MemoryUser::ALL.len()],
    /// What those who write are waiting for; nobody else gets it before them.
    claimed: AtomicUsize,
    /// How many who write have been waiting for too long.
    pressing: AtomicUsize,
    freed: Notify,
    caches: RwLock<Vec<Shrink>>,
}

#[derive(Default)]
struct User {
    used: AtomicUsize,
    peak: AtomicUsize,
    waits: AtomicU64,
    refusals: AtomicU64,
}

/// What one user holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryUse {
    /// Who.
    pub user: MemoryUser,
    /// Bytes now.
    pub used: usize,
    /// Most bytes at any time.
    pub peak: usize,
    /// How often it had to wait.
    pub waits: u64,
    /// How often there was nothing for it.
    pub refusals: u64,
}

/// The budget is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the memory budget of {limit} bytes (trackway.memory.limit) is used up: {used} bytes are in use, and {wanted} more \
     were wanted for {}; /status/memory shows who has them",
    user.name()
)]
pub struct OverBudget {
    /// The whole budget.
    pub limit: usize,
    /// What is reserved.
    pub used: usize,
    /// What was asked for.
    pub wanted: usize,
    /// For whom.
    pub user: MemoryUser,
}

impl OverBudget {
    /// Whether so much does not fit when nobody else has anything either.
    pub fn is_final(&self) -> bool {
        self.wanted > self.limit / 8 * self.user.ceiling_eighths().min(self.user.share_eighths())
    }
}

/// Reserved bytes, given back when dropped.
#[derive(Debug)]
pub struct Reservation {
    pool: MemoryPool,
    user: MemoryUser,
    bytes: usize,
}

impl std::fmt::Debug for MemoryPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryPool").field("limit", &self.limit()).field("used", &self.used()).finish()
    }
}

impl MemoryPool {
    /// A budget of `limit` bytes.
    pub fn new(limit: usize) -> Self {
        let inner = Inner {
            limit,
            used: AtomicUsize::new(0),
            users: Default::default(),
            claimed: AtomicUsize::new(0),
            pressing: AtomicUsize::new(0),
            freed: Notify::new(),
            caches: RwLock::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// One without a limit, for tools and tests.
    pub fn unlimited() -> Self {
        Self::new(usize::MAX / 8)
    }

    /// Registers a cache that gives way to everybody else.
    pub fn add_cache(&self, shrink: Shrink) {
        self.inner.caches.write().push(shrink);
    }

    /// Reserves `bytes`, at the cost of caches if need be.
    ///
    /// # Errors
    /// [`OverBudget`] when they do not fit; nothing is reserved then.
    pub fn reserve(&self, user: MemoryUser, bytes: usize) -> Result<Reservation, OverBudget> {
        self.fit_without_caches(user, bytes).inspect_err(|_| self.refused(user))
    }

    /// The same for what can be done without: caches are left alone, and that there is no room is nobody's refusal.
    pub fn try_reserve(&self, user: MemoryUser, bytes: usize) -> Option<Reservation> {
        self.fit(user, bytes).ok()
    }

    fn refused(&self, user: MemoryUser) {
        self.user(user).refusals.fetch_add(1, Ordering::Relaxed);
    }

    fn fit_without_caches(&self, user: MemoryUser, bytes: usize) -> Result<Reservation, OverBudget> {
        self.fit(user, bytes).or_else(|over| {
            let missing = over.used.saturating_add(bytes).saturating_sub(self.ceiling(user));
            self.inner.caches.read().iter().for_each(|shrink| shrink(self, missing));
            self.fit(user, bytes)
        })
    }

    /// The same, waiting until others have given enough back, for so long at the most.
    ///
    /// # Errors
    /// [`OverBudget`] when they did not, or when so much never fits.
    pub async fn wait(
        &self,
        user: MemoryUser,
        bytes: usize,
        longest: Duration,
    ) -> Result<Reservation, OverBudget> {
        let mut refused = match self.fit_without_caches(user, bytes) {
            Ok(reserved) => return Ok(reserved),
            Err(over) => over,
        };
        if refused.is_final() {
            self.refused(user);
            return Err(refused);
        }
        self.user(user).waits.fetch_add(1, Ordering::Relaxed);
        let _claim = user.writes().then(|| Claim::new(self, bytes));
        let fits = async {
            loop {
                let freed = self.inner.freed.notified();
                tokio::pin!(freed);
                // From here on nothing that is given back goes unnoticed.
                freed.as_mut().enable();
                match self.fit_without_caches(user, bytes) {
                    Ok(reserved) => return reserved,
                    Err(over) => refused = over,
                }
                freed.await;
            }
        };
        let waited = if user.writes() {
            tokio::time::timeout(longest, self.pressing_after(fits)).await.ok()
        } else {
            tokio::select! {
                biased;
                waited = tokio::time::timeout(longest, fits) => waited.ok(),
                () = self.pressed() => None,
            }
        };
        waited.ok_or(refused).inspect_err(|_| self.refused(user))
    }

    /// Waits for what somebody who writes needs; when it takes long, questions that hold memory have to give way
    /// ([`Self::is_pressed`]).
    pub async fn pressing_after<T>(&self, waiting: impl Future<Output = T>) -> T {
        tokio::pin!(waiting);
        match tokio::time::timeout(PATIENCE, &mut waiting).await {
            Ok(done) => done,
            Err(_) => {
                let _pressure = Pressure::new(self);
                waiting.await
            }
        }
    }

    /// Whether somebody who writes has been waiting for memory for more than a second.
    pub fn is_pressed(&self) -> bool {
        self.inner.pressing.load(Ordering::Relaxed) > 0
    }

    /// Completes when somebody who writes waits for too long.
    async fn pressed(&self) {
        loop {
            let freed = self.inner.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if self.is_pressed() {
                return;
            }
            freed.await;
        }
    }

    /// Reserves what is needed in any case, over the budget if it must be.
    pub fn take(&self, user: MemoryUser, bytes: usize) -> Reservation {
        self.change(user, 0, bytes);
        Reservation { pool: self.clone(), user, bytes }
    }

    /// Somebody who counts for itself holds other bytes than before.
    pub fn change(&self, user: MemoryUser, from: usize, to: usize) {
        // Wrapping arithmetic: the differences add up to what is there.
        let by = to.wrapping_sub(from);
        self.inner.used.fetch_add(by, Ordering::AcqRel);
        let of_user = self.user(user);
        let now = of_user.used.fetch_add(by, Ordering::AcqRel).wrapping_add(by);
        if to > from {
            of_user.peak.fetch_max(now, Ordering::Relaxed);
        } else if to < from {
            self.inner.freed.notify_waiters();
        }
    }

    /// Bytes reserved now.
    pub fn used(&self) -> usize {
        self.inner.used.load(Ordering::Relaxed)
    }

    /// The whole budget.
    pub fn limit(&self) -> usize {
        self.inner.limit
    }

    /// Who holds how much.
    pub fn users(&self) -> Vec<MemoryUse> {
        let of = |user: MemoryUser| {
            let state = self.user(user);
            MemoryUse {
                user,
                used: state.used.load(Ordering::Relaxed),
                peak: state.peak.load(Ordering::Relaxed),
                waits: state.waits.load(Ordering::Relaxed),
                refusals: state.refusals.load(Ordering::Relaxed),
            }
        };
        MemoryUser::ALL.into_iter().map(of).collect()
    }

    /// Bytes that all may have in use when this one takes some.
    fn ceiling(&self, user: MemoryUser) -> usize {
        let ceiling = self.inner.limit / 8 * user.ceiling_eighths();
        if user.writes() {
            ceiling
        } else {
            ceiling.saturating_sub(self.inner.claimed.load(Ordering::Relaxed))
        }
    }

    /// Completes when somebody gives something back. It must be made before what it is to notice can happen.
    pub fn freed(&self) -> impl Future<Output = ()> + '_ {
        self.inner.freed.notified()
    }

    fn share(&self, user: MemoryUser) -> usize {
        self.inner.limit / 8 * user.share_eighths()
    }

    fn user(&self, user: MemoryUser) -> &User {
        &self.inner.users[user as usize]
    }

    fn fit(&self, user: MemoryUser, bytes: usize) -> Result<Reservation, OverBudget> {
        let (ceiling, share) = (self.ceiling(user), self.share(user));
        let of_user = self.user(user);
        let own = of_user.used.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |used| {
            used.checked_add(bytes).filter(|wanted| *wanted <= share)
        });
        let refused = |used| Err(OverBudget { limit: self.inner.limit, used, wanted: bytes, user });
        let Ok(own) = own else { return refused(self.used()) };
        let grown = self.inner.used.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |used| {
            used.checked_add(bytes).filter(|wanted| *wanted <= ceiling)
        });
        match grown {
            Ok(_) => {
                of_user.peak.fetch_max(own + bytes, Ordering::Relaxed);
                Ok(Reservation { pool: self.clone(), user, bytes })
            }
            Err(used) => {
                of_user.used.fetch_sub(bytes, Ordering::AcqRel);
                refused(used)
            }
        }
    }
}

/// Somebody who writes has been waiting for too long.
struct Pressure<'p> {
    pool: &'p MemoryPool,
}

impl<'p> Pressure<'p> {
    fn new(pool: &'p MemoryPool) -> Self {
        pool.inner.pressing.fetch_add(1, Ordering::Relaxed);
        // Those who wait look at it, too.
        pool.inner.freed.notify_waiters();
        Self { pool }
    }
}

impl Drop for Pressure<'_> {
    fn drop(&mut self) {
        self.pool.inner.pressing.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What somebody who writes is waiting for.
struct Claim<'p> {
    pool: &'p MemoryPool,
    bytes: usize,
}

impl<'p> Claim<'p> {
    fn new(pool: &'p MemoryPool, bytes: usize) -> Self {
        pool.inner.claimed.fetch_add(bytes, Ordering::Relaxed);
        Self { pool, bytes }
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.pool.inner.claimed.fetch_sub(self.bytes, Ordering::Relaxed);
        self.pool.inner.freed.notify_waiters();
    }
}

impl Reservation {
    /// How much is reserved.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Reserves more, as [`MemoryPool::reserve`] does.
    ///
    /// # Errors
    /// [`OverBudget`]; what was reserved before stays.
    pub fn grow_to(&mut self, bytes: usize) -> Result<(), OverBudget> {
        if bytes > self.bytes {
            let mut more = self.pool.reserve(self.user, bytes - self.bytes)?;
            self.bytes += std::mem::take(&mut more.bytes);
        }
        Ok(())
    }

    /// Adds another one of the same pool and user.
    pub fn join(&mut self, mut other: Self) {
        debug_assert_eq!(self.user, other.user);
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Gives some back.
    pub fn shrink_to(&mut self, bytes: usize) {
        if bytes < self.bytes {
            self.pool.change(self.user, self.bytes, bytes);
            self.bytes = bytes;
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.pool.change(self.user, self.bytes, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn what_does_not_fit_is_refused_and_what_is_dropped_comes_back() {
        let pool = MemoryPool::new(800);
        let head = pool.take(MemoryUser::Head, 500);
        let refused = pool.reserve(MemoryUser::Queries, 150).unwrap_err();
        let want = OverBudget { limit: 800, used: 500, wanted: 150, user: MemoryUser::Queries };
        assert_eq!(refused, want);
        assert!(refused.to_string().contains("trackway.memory.limit"), "{refused}");
        // Senders are refused last.
        let mut request = pool.reserve(MemoryUser::Requests, 150).unwrap();
        request.grow_to(200).unwrap();
        assert!(request.grow_to(201).is_err(), "requests alone take no more than a quarter");
        assert_eq!((pool.used(), request.bytes()), (700, 200));
        drop((head, request));
        assert_eq!(pool.used(), 0);
        let queries = pool.users().into_iter().find(|of| of.user == MemoryUser::Queries).unwrap();
        assert_eq!((queries.used, queries.peak, queries.refusals), (0, 0, 1));
    }

    #[test]
    fn caches_give_way_first() {
        let pool = MemoryPool::new(800);
        let held = Arc::new(parking_lot::Mutex::new(Some(pool.reserve(MemoryUser::Caches, 400).unwrap())));
        assert!(pool.reserve(MemoryUser::Caches, 1).is_err());
        let cache = Arc::clone(&held);
        pool.add_cache(Box::new(move |_, bytes| {
            assert_eq!(bytes, 100);
            *cache.lock() = None;
        }));
        assert_eq!(pool.reserve(MemoryUser::Queries, 300).unwrap().bytes(), 300);
        assert!(held.lock().is_none());
    }

    #[tokio::test]
    async fn who_waits_gets_what_others_give_back() {
        let pool = MemoryPool::new(800);
        let held = pool.reserve(MemoryUser::Queries, 600).unwrap();
        let waiting = tokio::spawn({
            let pool = pool.clone();
            async move { pool.wait(MemoryUser::Queries, 600, LONG).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(held);
        let reserved = waiting.await.unwrap().unwrap();
        assert_eq!(reserved.bytes(), 600);
        assert!(pool.wait(MemoryUser::Queries, 1, Duration::from_millis(1)).await.is_err());
        assert!(pool.wait(MemoryUser::Queries, 601, LONG).await.is_err(), "so much never fits");
        // What a writer waits for is not given to questions.
        let writer = tokio::spawn({
            let pool = pool.clone();
            async move { pool.wait(MemoryUser::Blocks, 500, LONG).await }
        });
        while pool.reserve(MemoryUser::Compaction, 100).is_ok() {
            tokio::task::yield_now().await;
        }
        drop(reserved);
        assert_eq!(writer.await.unwrap().unwrap().bytes(), 500);
        assert_eq!(pool.reserve(MemoryUser::Queries, 600).unwrap().bytes(), 600);
    }

    #[tokio::test]
    async fn questions_give_way_to_who_writes() {
        let pool = MemoryPool::new(800);
        let held = pool.take(MemoryUser::Head, 700);
        let asking = tokio::spawn({
            let pool = pool.clone();
            async move { pool.wait(MemoryUser::Queries, 100, LONG).await.map_err(|over| over.user) }
        });
        let writing = tokio::spawn({
            let pool = pool.clone();
            async move { pool.wait(MemoryUser::Blocks, 200, LONG).await }
        });
        assert_eq!(asking.await.unwrap().unwrap_err(), MemoryUser::Queries);
        assert!(pool.is_pressed() && !writing.is_finished());
        drop(held);
        assert_eq!(writing.await.unwrap().unwrap().bytes(), 200);
        assert!(!pool.is_pressed());
    }
}
