//! An object store in memory that fails as real ones do, by seed: errors before and after the effect, torn uploads, listings
//! of some calls ago. Its times come from a clock that the test moves.
//!
//! What must stay true: the same seed and the same calls give the same faults. What happens to a call follows from the
//! client, what it asks for, and how often it asked for that before; not from when it asks.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::{Display, Formatter};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

/// A listing shows what was there so many changes ago, at the most.
const STALE_CHANGES_MAX: u64 = 40;
/// And not longer ago than this, in nanoseconds.
const STALE_AGE_MAX: u64 = 6 * 3600 * 1_000_000_000;
/// How long a call takes, at the most, in nanoseconds.
const CALL_MAX: u64 = 50_000_000;

/// Work that does not come to its next call in this time waits for other work.
const STUCK_AFTER: std::time::Duration = std::time::Duration::from_millis(150);
/// The client whose calls do not fail, and take no time.
pub(crate) const CALM: u64 = u64::MAX;

tokio::task_local! {
    static GATE: Arc<Gate>;
}

/// Holds a piece of work up before each call of a store, so that a test decides in which order several go on.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    may_pass: AtomicBool,
    waits: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

/// Work that stops before each call of a store.
pub(crate) struct Gated<T> {
    gate: Arc<Gate>,
    work: Pin<Box<dyn Future<Output = T>>>,
}

impl<T> std::fmt::Debug for Gated<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gated").field("gate", &self.gate).finish_non_exhaustive()
    }
}

impl<T: 'static> Gated<T> {
    /// Nothing is done yet.
    pub(crate) fn new(work: impl Future<Output = T> + 'static) -> Self {
        let gate = Arc::new(Gate::default());
        Self { gate: Arc::clone(&gate), work: Box::pin(GATE.scope(gate, work)) }
    }

    /// Makes one call of the store, and goes on to the next one or to the end. When it waits for other work that is held up
    /// itself, it stays where it is.
    pub(crate) async fn turn(&mut self) -> Option<T> {
        tokio::time::timeout(STUCK_AFTER, self.go_on()).await.unwrap_or_default()
    }

    async fn go_on(&mut self) -> Option<T> {
        self.gate.may_pass.store(true, Ordering::Relaxed);
        self.gate.waits.store(false, Ordering::Relaxed);
        if let Some(waker) = self.gate.waker.lock().unwrap().take() {
            waker.wake();
        }
        poll_fn(|context| match self.work.as_mut().poll(context) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if self.gate.waits.load(Ordering::Relaxed) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await
    }
}

impl Gate {
    async fn pass(&self) {
        poll_fn(|context| {
            if self.may_pass.swap(false, Ordering::Relaxed) {
                return Poll::Ready(());
            }
            *self.waker.lock().unwrap() = Some(context.waker().clone());
            self.waits.store(true, Ordering::Relaxed);
            Poll::Pending
        })
        .await;
    }
}

/// How often things go wrong, in so many of a thousand calls.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    /// Errors without an effect.
    pub(crate) before: u64,
    /// Effects of which the answer is lost.
    pub(crate) after: u64,
    /// Uploads that leave half an object.
    pub(crate) torn: u64,
    /// Listings that are old.
    pub(crate) stale: u64,
}

/// What all clients of a store share.
#[derive(Debug)]
pub(crate) struct FaultyWorld {
    objects: InMemory,
    now: Arc<AtomicU64>,
    seed: u64,
    faults: Mutex<Faults>,
    history: Mutex<History>,
}

#[derive(Debug, Default)]
struct History {
    /// Every object that was ever there, with the first change after which it was, and the first after which it was not.
    objects: Vec<(ObjectMeta, u64, u64)>,
    /// When each change was made.
    changes: Vec<u64>,
    /// Whole uploads of every object, also of those that are gone.
    uploads: HashMap<Path, Bytes>,
}

/// One client of the store.
#[derive(Clone, Debug)]
pub(crate) struct FaultyStore {
    world: Arc<FaultyWorld>,
    client: u64,
    asked: Arc<Mutex<HashMap<(Call, Path), u64>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Call {
    Put,
    Upload,
    Complete,
    Get,
    Delete,
    List,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Good,
    Before,
    After,
    Torn,
    Stale(u64),
}

fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn lost(what: &str) -> object_store::Error {
    object_store::Error::Generic { store: "faulty", source: format!("injected: {what}").into() }
}

impl FaultyWorld {
    /// An empty store; `now` is its clock, in nanoseconds since the Unix epoch.
    pub(crate) fn new(seed: u64, now: Arc<AtomicU64>) -> Arc<Self> {
        let faults = Mutex::default();
        Arc::new(Self { objects: InMemory::new(), now, seed, faults, history: Mutex::default() })
    }

    /// From now on it fails so often.
    pub(crate) fn set_faults(&self, faults: Faults) {
        *self.faults.lock().unwrap() = faults;
    }

    /// A client; those with the same number have the same fortune.
    pub(crate) fn client(self: &Arc<Self>, client: u64) -> FaultyStore {
        FaultyStore { world: Arc::clone(self), client, asked: Arc::default() }
    }

    /// What was ever uploaded in parts to a path, as a whole.
    pub(crate) fn uploaded(&self, path: &Path) -> Option<Bytes> {
        self.history.lock().unwrap().uploads.get(path).cloned()
    }

    /// Changes that were made.
    pub(crate) fn changes(&self) -> usize {
        self.history.lock().unwrap().changes.len()
    }

    /// What is there, and its length.
    pub(crate) fn objects(&self) -> BTreeMap<Path, u64> {
        let there = self.listed(None, 0);
        there.into_iter().map(|object| (object.location, object.size)).collect()
    }

    fn changed(&self, path: &Path, size: Option<u64>) {
        let now = self.now.fetch_add(1, Ordering::Relaxed);
        let mut history = self.history.lock().unwrap();
        let change = history.changes.len() as u64;
        history.changes.push(now);
        let last = history.objects.iter_mut().rev().find(|(object, ..)| object.location == *path);
        if let Some((.., end)) = last.filter(|(.., end)| *end == u64::MAX) {
            *end = change;
        }
        if let Some(size) = size {
            let time = jiff::Timestamp::from_nanosecond(i128::from(now)).unwrap();
            let last_modified = time.to_string().parse().unwrap();
            let object =
                ObjectMeta { location: path.clone(), last_modified, size, e_tag: None, version: None };
            history.objects.push((object, change, u64::MAX));
        }
    }

    /// What was there some changes ago.
    fn listed(&self, prefix: Option<&Path>, ago: u64) -> Vec<ObjectMeta> {
        let history = self.history.lock().unwrap();
        let now = self.now.load(Ordering::Relaxed);
        let young =
            history.changes.iter().rev().take_while(|time| now - **time < STALE_AGE_MAX).count() as u64;
        let seen = history.changes.len() as u64 - ago.min(young);
        let objects = history.objects.iter().filter(|(_, start, end)| *start < seen && seen <= *end);
        let objects = objects.map(|(object, ..)| object);
        let below = |object: &&ObjectMeta| {
            prefix.is_none_or(|prefix| {
                object.location.prefix_match(prefix).is_some() && object.location != *prefix
            })
        };
        let mut found: Vec<ObjectMeta> = objects.filter(below).cloned().collect();
        found.sort_by(|a, b| a.location.cmp(&b.location));
        found
    }
}

impl FaultyStore {
    async fn fate(&self, call: Call, path: &Path, is_gated: bool) -> Fate {
        if self.client == CALM {
            return Fate::Good;
        }
        if is_gated && let Ok(gate) = GATE.try_with(Arc::clone) {
            gate.pass().await;
        }
        let count = {
            let mut asked = self.asked.lock().unwrap();
            let count = asked.entry((call, path.clone())).or_default();
            *count += 1;
            *count
        };
        let text = path.as_ref().bytes().fold(0_u64, |sum, byte| mix(sum ^ u64::from(byte)));
        let number = mix(self.world.seed ^ mix(self.client ^ mix(text ^ mix(call as u64 ^ mix(count)))));
        if is_gated {
            self.world.now.fetch_add(1 + number % CALL_MAX, Ordering::Relaxed);
        }
        let faults = *self.world.faults.lock().unwrap();
        let is_change = !matches!(call, Call::Get | Call::List);
        let kinds = [
            (faults.before, Fate::Before),
            (if is_change { faults.after } else { 0 }, Fate::After),
            (if call == Call::Complete { faults.torn } else { 0 }, Fate::Torn),
            (
                if call == Call::List { faults.stale } else { 0 },
                Fate::Stale(1 + mix(number) % STALE_CHANGES_MAX),
            ),
        ];
        let mut dice = mix(number) % 1000;
        for (rate, fate) in kinds {
            if dice < rate {
                return fate;
            }
            dice -= rate;
        }
        Fate::Good
    }

    async fn listing(&self, prefix: Option<Path>) -> Result<(Vec<ObjectMeta>, bool)> {
        let named = prefix.clone().unwrap_or_default();
        Ok(match self.fate(Call::List, &named, true).await {
            Fate::Before => {
                // It may break off in the middle.
                let mut found = self.world.listed(prefix.as_ref(), 0);
                found.truncate(found.len() / 2);
                (found, true)
            }
            Fate::Stale(ago) => (self.world.listed(prefix.as_ref(), ago), false),
            _ => (self.world.listed(prefix.as_ref(), 0), false),
        })
    }

    async fn delete_one(&self, path: Path) -> Result<Path> {
        let fate = self.fate(Call::Delete, &path, true).await;
        if fate == Fate::Before {
            return Err(lost("not deleted"));
        }
        let there = self.world.objects.head(&path).await.is_ok();
        if there {
            self.world.objects.delete(&path).await?;
            self.world.changed(&path, None);
        }
        if fate == Fate::After { Err(lost("deleted")) } else { Ok(path) }
    }
}

impl Display for FaultyStore {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "faulty client {}", self.client)
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let fate = self.fate(Call::Put, path, true).await;
        if fate == Fate::Before {
            return Err(lost("not written"));
        }
        let size = payload.content_length() as u64;
        let done = self.world.objects.put_opts(path, payload, options).await?;
        self.world.changed(path, Some(size));
        if fate == Fate::After { Err(lost("written")) } else { Ok(done) }
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        match self.fate(Call::Upload, path, true).await {
            Fate::Before | Fate::After => Err(lost("no upload")),
            _ => Ok(Box::new(FaultyUpload { store: self.clone(), path: path.clone(), parts: Vec::new() })),
        }
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        // Parts of data are read side by side, in no order that could be told beforehand.
        match self.fate(Call::Get, path, options.range.is_none()).await {
            Fate::Before => Err(lost("not read")),
            _ => self.world.objects.get_opts(path, options).await,
        }
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        paths
            .then(move |path| {
                let store = store.clone();
                async move { store.delete_one(path?).await }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix) = (self.clone(), prefix.cloned());
        stream::once(async move { store.listing(prefix).await })
            .flat_map(|listed| {
                let (found, breaks) = listed.unwrap_or_default();
                let end = breaks.then(|| Err(lost("the listing broke off")));
                stream::iter(found.into_iter().map(Ok).chain(end))
            })
            .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let (found, breaks) = self.listing(prefix.cloned()).await?;
        if breaks {
            return Err(lost("not listed"));
        }
        let root = prefix.cloned().unwrap_or_default();
        let (mut folders, mut objects) = (BTreeSet::new(), Vec::new());
        for object in found {
            let parts: Vec<_> = object.location.prefix_match(&root).into_iter().flatten().collect();
            match &parts[..] {
                [folder, _, ..] => drop(folders.insert(root.clone().join(folder.clone()))),
                _ => objects.push(object),
            }
        }
        Ok(ListResult {
            common_prefixes: folders.into_iter().collect(),
            objects,
            extensions: Default::default(),
        })
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(object_store::Error::NotImplemented { operation: "copy".into(), implementer: self.to_string() })
    }
}

#[derive(Debug)]
struct FaultyUpload {
    store: FaultyStore,
    path: Path,
    parts: Vec<Bytes>,
}

#[async_trait]
impl MultipartUpload for FaultyUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.parts.push(data.into());
        Box::pin(std::future::ready(Ok(())))
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let fate = self.store.fate(Call::Complete, &self.path, true).await;
        let mut whole = self.parts.concat();
        match fate {
            Fate::Before => return Err(lost("not completed")),
            Fate::Torn => whole.truncate(whole.len() / 2),
            _ => drop(
                self.store
                    .world
                    .history
                    .lock()
                    .unwrap()
                    .uploads
                    .insert(self.path.clone(), whole.clone().into()),
            ),
        }
        let size = whole.len() as u64;
        let done = self.store.world.objects.put(&self.path, whole.into()).await?;
        self.store.world.changed(&self.path, Some(size));
        if fate == Fate::Good { Ok(done) } else { Err(lost("perhaps completed")) }
    }

    async fn abort(&mut self) -> Result<()> {
        Ok(())
    }
}
