//! What metrics queries counted in blocks, kept by block: a dashboard that asks again, of a range that has moved on, has only
//! what is new counted.
//!
//! What must stay true: an answer is used only where counting again would give the same. A block does not change; what else
//! goes into its count is part of the name of the answer (the query, its steps, which of the block's traces are counted
//! elsewhere, what is known of them), and spans outside of the range that was asked about were not left out of it.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use moka::sync::Cache;
use serde::{Deserialize, Serialize};
use trackway_common::{MemoryPool, MemoryUser, TenantId, TraceId};
use trackway_engine::Reach;
use trackway_engine::metrics::{Intervals, Partial};
use trackway_spans::TraceFacts;
use trackway_storage::BlockReader;
use trackway_storage::cache::{Role, keys};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_128;

use crate::metrics::Job;
use crate::overlap::Overlap;

/// Answers take so many of the budget's parts at the most, and not more than this.
const SHARE: usize = 16;
const BYTES_MAX: usize = 64 << 20;
/// A larger answer is not kept.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Traces that are counted elsewhere: with more of them looking for those of a block takes longer than is won.
const ELSEWHERE_MAX: usize = 20_000;
/// A new form of answers gets a new number.
const FORM: u32 = 1;

/// What was counted in a block.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    partial: Partial,
    /// The time that was asked about.
    start: u64,
    end: u64,
    step: Option<u64>,
    /// Between which times the spans of the block start: after the first and not after the last.
    pub(crate) extent: (u64, u64),
}

impl Answer {
    /// What was counted with nothing left out; `None` when spans lay outside of the time that was asked about.
    pub(crate) fn new(partial: Partial, time: &Intervals, (first, last): (u64, u64)) -> Option<Self> {
        let is_whole = first > last || (first > time.start && last <= time.end);
        let extent = if first > last { (u64::MAX, 0) } else { (first, last) };
        is_whole.then_some(Self { partial, start: time.start, end: time.end, step: time.step, extent })
    }

    fn memory(&self) -> usize {
        self.partial.memory() + size_of::<Self>()
    }

    /// The same for another time, if all of it lies within.
    fn moved(&self, job: &Job) -> Option<Partial> {
        let from = Intervals { start: self.start, end: self.end, step: self.step };
        let (first, last) = self.extent;
        if first > last {
            return Some(Partial::default()); // nothing was there to be counted
        }
        job.plan.moved(self.partial.clone(), &from, (first, last))
    }
}

/// Answers by their names. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Answers {
    kept: Cache<u128, Arc<Answer>>,
    memory: MemoryPool,
    /// The redactions of all tenants that were known when it was last looked at.
    redactions: Arc<AtomicU64>,
    /// What the pool was told last.
    told: Arc<AtomicUsize>,
}

/// The name of an answer.
#[derive(Clone, Debug)]
pub(crate) struct Name {
    hash: u128,
    /// In a cache outside.
    key: String,
}

impl Answers {
    /// None yet. They are given up when others need the memory.
    pub(crate) fn new(memory: MemoryPool) -> Self {
        let most = (memory.limit() / SHARE).min(BYTES_MAX) as u64;
        let weight = |_: &u128, answer: &Arc<Answer>| u32::try_from(answer.memory()).unwrap_or(u32::MAX);
        let kept: Cache<u128, Arc<Answer>> = Cache::builder().max_capacity(most).weigher(weight).build();
        let told: Arc<AtomicUsize> = Arc::default();
        let (cache, of_cache) = (kept.clone(), Arc::clone(&told));
        memory.add_cache(Box::new(move |pool, _| forget(&cache, &of_cache, pool)));
        Self { kept, memory, redactions: Arc::default(), told }
    }

    /// Lets go of everything when something was redacted since, whosever it was: it may name what is to be forgotten.
    pub(crate) fn forget_redacted(&self, reader: &BlockReader) {
        let changes = reader.redactions_changes();
        if self.redactions.swap(changes, Ordering::AcqRel) != changes {
            forget(&self.kept, &self.told, &self.memory);
        }
    }

    /// What was counted, if it is known.
    pub(crate) async fn get(&self, reader: &BlockReader, name: &Name, job: &Job) -> Option<Partial> {
        if let Some(answer) = self.kept.get(&name.hash) {
            return answer.moved(job);
        }
        let caches = reader.caches();
        if !caches.is_remembered(Role::FrontendSearch) {
            return None;
        }
        let bytes = caches.get(Role::FrontendSearch, &name.key).await?;
        let read = move || unpack(&bytes);
        let answer = Arc::new(reader.cpu().run(read).await.flatten()?);
        self.keep(name, &answer);
        answer.moved(job)
    }

    /// Keeps what was counted.
    pub(crate) async fn put(&self, reader: &BlockReader, name: &Name, answer: Answer) {
        if answer.memory() > ANSWER_BYTES_MAX {
            return;
        }
        let answer = Arc::new(answer);
        self.keep(name, &answer);
        let caches = reader.caches();
        if caches.is_remembered(Role::FrontendSearch)
            && let Some(Some(bytes)) = reader.cpu().run(move || pack(&answer)).await
        {
            caches.put(Role::FrontendSearch, &name.key, bytes);
        }
    }

    fn keep(&self, name: &Name, answer: &Arc<Answer>) {
        self.kept.insert(name.hash, Arc::clone(answer));
        let bytes = usize::try_from(self.kept.weighted_size()).unwrap_or(usize::MAX);
        self.memory.change(MemoryUser::Caches, self.told.swap(bytes, Ordering::AcqRel), bytes);
    }
}

fn forget(kept: &Cache<u128, Arc<Answer>>, told: &AtomicUsize, memory: &MemoryPool) {
    kept.invalidate_all();
    // It only says so at first.
    kept.run_pending_tasks();
    memory.change(MemoryUser::Caches, told.swap(0, Ordering::AcqRel), 0);
}

/// With a checksum before it: what lies in a cache outside is not trusted.
fn pack(answer: &Answer) -> Option<Bytes> {
    let body = postcard::to_stdvec(answer).ok()?;
    let mut bytes = xxh3_128(&body).to_le_bytes().to_vec();
    bytes.extend(body);
    Some(bytes.into())
}

fn unpack(bytes: &[u8]) -> Option<Answer> {
    let (checksum, body) = bytes.split_first_chunk::<16>()?;
    (xxh3_128(body).to_le_bytes() == *checksum).then(|| postcard::from_bytes(body).ok()).flatten()
}

/// What of other places goes into the count of a block.
pub(crate) struct Elsewhere<'e> {
    pub(crate) overlap: &'e Overlap,
    /// Traces that are counted elsewhere, sorted.
    pub(crate) joined: &'e [TraceId],
    pub(crate) facts: &'e [Arc<TraceFacts>],
}

impl Elsewhere<'_> {
    /// What tells the block's count from one in which other traces were left out, or known better; `None` when it takes too
    /// long to find out.
    fn of_block(&self, block: Uuid, reach: Reach) -> Option<u128> {
        let all = self.overlap.ids();
        let wanted: &[TraceId] = if reach == Reach::Facts { &all } else { self.joined };
        if wanted.len() > ELSEWHERE_MAX {
            return None;
        }
        let mut text = Vec::new();
        for id in self.overlap.among_those_of(block, wanted)? {
            text.extend(id.to_bytes());
            text.push(u8::from(self.joined.binary_search(&id).is_ok()));
            let known = self.facts.iter().filter_map(|facts| facts.fingerprint(id)).next_back();
            text.extend(known.unwrap_or(0).to_le_bytes());
        }
        Some(xxh3_128(&text))
    }

    /// The name of what a query counts in a block; `None` for one that is not kept.
    pub(crate) fn name(&self, tenant: &TenantId, block: Uuid, job: &Job, version: u64) -> Option<Name> {
        let elsewhere = self.of_block(block, job.reach())?;
        let mut text = String::new();
        // Writing to a text does not fail.
        let _ = write!(text, "{FORM}|{:?}|{elsewhere:x}|{version}|{}", job.plan.grid(), job.text);
        let hash = xxh3_128(format!("{tenant}|{block}|{text}").as_bytes());
        let key = keys::answer(format!("qr:{tenant}:{block}:{:x}", xxh3_128(text.as_bytes())));
        Some(Name { hash, key })
    }
}
