//! What a property test of compaction needs: a store that fails, processes that share it, and the spans that must be there.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

pub(crate) mod faulty;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use trackway_common::{Clock, MemoryPool, Random, TenantId};
use trackway_compactor::{Compactor, Config};
use trackway_spans::wire::{put_bytes, put_fixed64, put_message, put_number};
use trackway_spans::{BatchBuilder, Limits, Needs, append_request};
use trackway_storage::stores::BucketFacts;
use trackway_storage::{
    BlockCatalog, BlockEntry, BlockReader, BlockStore, Catalog, CpuPool, LogRanges, PollOptions, Upload,
};
use trackway_vparquet::meta::{BlockMeta, Format};
use trackway_vparquet::{BlockFile, BlockWriter, Read, RowGroup, WriteOptions};
use uuid::Uuid;

use faulty::{CALM, FaultyWorld, Gated};

pub(crate) const SECOND: u64 = 1_000_000_000;
pub(crate) const HOUR: u64 = 3600 * SECOND;
/// When it begins: at the end of a window, so that windows come to an end.
pub(crate) const BEGIN: u64 = 500_000 * HOUR - 60 * SECOND;

/// Random numbers that a seed repeats (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

pub(crate) fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0) % end
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

/// A clock that the test moves.
#[derive(Clone, Debug)]
pub(crate) struct TestClock(pub(crate) Arc<AtomicU64>);

impl Clock for TestClock {
    fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_nanos(self.now())
    }
}

/// Identifiers by seed.
#[derive(Debug)]
struct Ids(AtomicU64);

impl Random for Ids {
    fn uuid(&self) -> Uuid {
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        Uuid::from_u64_pair(mix(number), mix(!number))
    }
}

/// A span that somebody sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    tenant: usize,
    trace: u128,
    at: u64,
    /// It was said to be kept.
    pub(crate) is_kept: bool,
    /// It was written to a block of which nobody knew whether it was one, which may have been merged before it was deleted.
    may_repeat: bool,
}

/// Everything that was sent, by the id of the span.
pub(crate) type Spans = Rc<RefCell<BTreeMap<u64, Sent>>>;

/// Processes on a store.
pub(crate) struct Scene {
    pub(crate) store: Arc<FaultyWorld>,
    pub(crate) now: Arc<AtomicU64>,
    pub(crate) tenants: Vec<TenantId>,
    pub(crate) spans: Spans,
    pub(crate) config: Config,
    pub(crate) processes: Vec<Process>,
    cpu: CpuPool,
    folder: tempfile::TempDir,
    blocks: RefCell<HashMap<Uuid, Rc<Vec<u64>>>>,
    born: u64,
    next_span: u64,
}

/// A process.
pub(crate) struct Process {
    pub(crate) number: u64,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) compactor: Arc<Compactor>,
    store: BlockStore,
    random: Arc<Ids>,
    folder: PathBuf,
    /// What it is at, at most one of each kind.
    pub(crate) work: Vec<(&'static str, Gated<()>)>,
    /// Spans that it has shown.
    seen: BTreeSet<u64>,
}

pub(crate) const ONE_BY_ONE: PollOptions = PollOptions { blocks_at_once: 1, tenants_at_once: 1 };

impl Scene {
    pub(crate) fn new(seed: u64, cpu: CpuPool, change: impl FnOnce(&mut Config)) -> Self {
        let now = Arc::new(AtomicU64::new(BEGIN));
        let mut config = Config {
            merges: true,
            format: Format::VParquet4,
            folder: PathBuf::new(),
            window: Duration::from_secs(3600),
            max_objects: 1000,
            max_bytes: 1 << 30,
            min_inputs: 2,
            max_inputs: 4,
            max_level: 0,
            retention: Duration::ZERO,
            compacted_retention: Duration::ZERO,
            cycle: Duration::ZERO,
            max_time_per_tenant: Duration::from_secs(3600),
            deletes_empty_tenants: false,
            empty_tenant_age: Duration::from_secs(12 * 3600),
            start_after: Duration::ZERO,
        };
        change(&mut config);
        Self {
            store: FaultyWorld::new(seed, Arc::clone(&now)),
            now,
            tenants: ["one", "two"].map(|name| TenantId::new(name).unwrap()).into(),
            spans: Spans::default(),
            config,
            processes: Vec::new(),
            cpu,
            folder: tempfile::tempdir().unwrap(),
            blocks: RefCell::default(),
            born: mix(seed),
            next_span: 1,
        }
    }

    pub(crate) fn clock(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    pub(crate) fn advance(&self, by: u64) {
        self.now.fetch_add(by, Ordering::Relaxed);
    }

    pub(crate) fn block_store(&self, client: u64) -> BlockStore {
        let store = Arc::new(self.store.client(client));
        BlockStore::new(store, "").knowing(BucketFacts { conditional_put: true })
    }

    pub(crate) fn calm(&self) -> BlockStore {
        self.block_store(CALM)
    }

    /// Starts a process, which knows nothing yet.
    pub(crate) fn born(&mut self) -> Process {
        self.born += 1;
        let number = self.born;
        let store = self.block_store(number);
        let folder = self.folder.path().join(number.to_string());
        std::fs::create_dir_all(&folder).unwrap();
        let catalog = Arc::new(Catalog::default());
        let random = Arc::new(Ids(AtomicU64::new(mix(number))));
        let compactor = Arc::new(Compactor::new(
            Config { folder: folder.clone(), ..self.config.clone() },
            BlockReader::new(store.clone(), self.cpu.clone(), MemoryPool::unlimited()),
            Arc::clone(&catalog),
            Arc::new(TestClock(Arc::clone(&self.now))),
            Arc::clone(&random) as Arc<dyn Random>,
            Arc::new(|_| None),
            Arc::new(|_| None),
        ));
        Process { number, catalog, compactor, store, random, folder, work: Vec::new(), seen: BTreeSet::new() }
    }

    /// New spans of a tenant, some of traces that others are of, too.
    pub(crate) fn send(&mut self, dice: &mut Dice) -> (TenantId, Vec<u64>) {
        let tenant = dice.below(self.tenants.len() as u64) as usize;
        // Blocks of some windows, most of them of the last ones.
        let hours = dice.pick(&[0, 0, 0, 1, 1, 3, 26]);
        let mut ids = Vec::new();
        for _ in 0..1 + dice.below(4) {
            let id = self.next_span;
            self.next_span += 1;
            let at = self.clock() - hours * HOUR - dice.below(60) * SECOND;
            let trace = u128::from(mix(dice.below(6)));
            let sent = Sent { tenant, trace, at, is_kept: false, may_repeat: false };
            self.spans.borrow_mut().insert(id, sent);
            ids.push(id);
        }
        (self.tenants[tenant].clone(), ids)
    }

    /// Writes spans to a block, as the ingester does: until it is known that they are there.
    pub(crate) fn publish(&self, process: &Process, tenant: TenantId, ids: Vec<u64>) -> Gated<()> {
        let (store, catalog) = (process.store.clone(), Arc::clone(&process.catalog));
        let (random, spans) = (Arc::clone(&process.random), Rc::clone(&self.spans));
        let path = process.folder.join("block.parquet");
        Gated::new(async move {
            let written = build(&spans, &ids, &path);
            loop {
                let id = random.uuid();
                let meta = written.meta(id, tenant.as_str(), Vec::new(), 1);
                let log = vec![LogRanges::new(Uuid::nil(), ids.clone())];
                let entry = BlockEntry { meta: Arc::new(meta), log };
                catalog.announce(id);
                let (bloom, index) = (written.bloom.clone(), written.index.clone());
                let upload =
                    Upload { meta: &entry.meta, meta_json: entry.meta_json(), data: &path, bloom, index };
                let put = store.put_block(&tenant, upload).await;
                if put.is_ok() {
                    let _ = catalog.commit(&tenant, vec![entry], &[]);
                    ids.iter().for_each(|id| spans.borrow_mut().get_mut(id).unwrap().is_kept = true);
                    return;
                }
                ids.iter().for_each(|id| spans.borrow_mut().get_mut(id).unwrap().may_repeat = true);
                while store.delete_block(&tenant, id).await.is_err() {}
            }
        })
    }

    /// Looks at the store and tidies up.
    pub(crate) fn look(process: &Process) -> Gated<()> {
        let (store, catalog, compactor) =
            (process.store.clone(), Arc::clone(&process.catalog), Arc::clone(&process.compactor));
        Gated::new(async move {
            let Ok(polled) = catalog.poll(&store, ONE_BY_ONE).await else { return };
            for (tenant, looked) in &polled.looked {
                compactor.tidy(tenant, looked).await;
            }
        })
    }

    /// Merges what is due.
    pub(crate) fn round(process: &Process) -> Gated<()> {
        let compactor = Arc::clone(&process.compactor);
        Gated::new(async move { compactor.round().await })
    }

    /// A process dies in the middle of what it is at. What others see of the spans that it was about to keep stays.
    pub(crate) async fn crash(&mut self, at: usize) {
        let newborn = self.born();
        let dead = std::mem::replace(&mut self.processes[at], newborn);
        let was_publishing = dead.work.iter().any(|(kind, _)| *kind == "publish");
        drop(dead);
        if !was_publishing {
            return;
        }
        let visible: BTreeSet<u64> = self.visible().await.into_values().flatten().collect();
        let mut spans = self.spans.borrow_mut();
        let others: bool = self.processes.iter().any(|process| process.is_at("publish"));
        if others {
            return; // whose they are is not known here
        }
        for (id, sent) in spans.iter_mut().filter(|(_, sent)| !sent.is_kept) {
            sent.is_kept = visible.contains(id);
        }
        spans.retain(|_, sent| sent.is_kept);
    }

    fn spans_of(&self, tenant: &TenantId, meta: &BlockMeta) -> Rc<Vec<u64>> {
        let id = meta.block_id;
        if let Some(spans) = self.blocks.borrow().get(&id) {
            return Rc::clone(spans);
        }
        let path = self.calm().path(tenant, id, "data.parquet");
        let bytes = self.store.uploaded(&path).unwrap_or_else(|| panic!("{path} was never whole"));
        let spans = Rc::new(decode(&bytes));
        self.blocks.borrow_mut().insert(id, Rc::clone(&spans));
        spans
    }

    /// What is visible in a catalogue: spans, every one of them as often as it is, by tenant.
    fn shown(&self, catalog: &Catalog) -> BTreeMap<usize, Vec<u64>> {
        let tenants = self.tenants.iter().enumerate();
        tenants
            .map(|(at, tenant)| {
                let blocks = catalog.blocks(tenant);
                let spans = blocks.iter().flat_map(|entry| self.spans_of(tenant, &entry.meta).to_vec());
                (at, spans.collect())
            })
            .collect()
    }

    /// What somebody sees who looks for the first time.
    async fn visible(&self) -> BTreeMap<usize, Vec<u64>> {
        self.shown(&self.reader().await)
    }

    /// The catalogue of somebody who looks for the first time, and whose calls do not fail.
    pub(crate) async fn reader(&self) -> Catalog {
        let catalog = Catalog::default();
        let polled = catalog.poll(&self.calm(), ONE_BY_ONE).await.unwrap();
        assert!(polled.failed.is_empty() && polled.unreadable.is_empty(), "{polled:?}");
        catalog
    }

    fn oldest(&self) -> u64 {
        let retention = u64::try_from(self.config.retention.as_nanos()).unwrap();
        if retention == 0 { 0 } else { self.clock() - retention }
    }

    fn check_shown(&self, who: &str, shown: &BTreeMap<usize, Vec<u64>>) {
        let spans = self.spans.borrow();
        for (tenant, shown) in shown {
            let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
            shown.iter().for_each(|id| *counts.entry(*id).or_default() += 1);
            for (id, count) in counts {
                let Some(sent) = spans.get(&id) else { panic!("{who} sees {id}, which was given up") };
                assert_eq!(sent.tenant, *tenant, "{who} sees {id}");
                assert!(count == 1 || sent.may_repeat, "{who} sees {id} {count} times");
            }
        }
    }

    /// What somebody who looks for the first time sees is what was sent: nothing is lost, and nothing is there twice.
    pub(crate) async fn check_reader(&self) {
        let catalog = self.reader().await;
        let shown = self.shown(&catalog);
        self.check_shown("a reader", &shown);
        let visible: BTreeSet<u64> = shown.into_values().flatten().collect();
        let oldest = self.oldest();
        let spans = self.spans.borrow();
        for (id, _) in spans.iter().filter(|(_, sent)| sent.is_kept && sent.at >= oldest) {
            assert!(visible.contains(id), "{id} is lost");
        }
        let objects = self.store.objects();
        let store = self.calm();
        for tenant in &self.tenants {
            for entry in catalog.blocks(tenant).iter() {
                let path = |file: &str| store.path(tenant, entry.meta.block_id, file);
                let data = path("data.parquet");
                assert_eq!(objects.get(&data), Some(&entry.meta.size), "{data}");
                assert!(objects.contains_key(&path("bloom-0")), "{}", path("bloom-0"));
            }
        }
    }

    /// What a process shows, it shows once, and goes on showing.
    pub(crate) fn check_process(&mut self, at: usize) {
        let process = &self.processes[at];
        let shown = self.shown(&process.catalog);
        let who = format!("process {at}");
        self.check_shown(&who, &shown);
        let visible: BTreeSet<u64> = shown.into_values().flatten().collect();
        let oldest = self.oldest();
        let spans = self.spans.borrow();
        let must = |id: &&u64| {
            spans.get(id).is_some_and(|sent| sent.is_kept && !sent.may_repeat && sent.at >= oldest)
        };
        let gone: Vec<&u64> = process.seen.iter().filter(must).filter(|id| !visible.contains(id)).collect();
        assert!(gone.is_empty(), "{who} does not see {gone:?} any more");
        drop(spans);
        self.processes[at].seen.extend(visible);
    }
}

impl Process {
    pub(crate) fn is_at(&self, kind: &str) -> bool {
        self.work.iter().any(|(at, _)| *at == kind)
    }
}

fn build(spans: &Spans, ids: &[u64], path: &Path) -> trackway_vparquet::Written {
    let mut request = Vec::new();
    put_message(&mut request, 1, |out| {
        put_message(out, 2, |out| {
            for id in ids {
                let sent = spans.borrow()[id];
                put_message(out, 2, |out| {
                    put_bytes(out, 1, &sent.trace.to_be_bytes());
                    put_bytes(out, 2, &id.to_be_bytes());
                    put_bytes(out, 5, b"step");
                    put_number(out, 6, 2);
                    put_fixed64(out, 7, sent.at);
                    put_fixed64(out, 8, sent.at);
                });
            }
        });
    });
    let mut builder = BatchBuilder::new();
    append_request(&mut builder, &request, Limits::default(), &[]).unwrap();
    let file = std::fs::File::create(path).unwrap();
    BlockWriter::write(&[builder.finish()], &WriteOptions::default(), file).unwrap()
}

fn decode(bytes: &Bytes) -> Vec<u64> {
    let Read::Ready(file) = BlockFile::open(bytes, bytes.len() as u64, &[]).unwrap() else {
        panic!("the whole file was given")
    };
    let mut spans = Vec::new();
    for index in 0..file.row_groups() {
        let mut group = RowGroup::new(&file, index);
        let batch = loop {
            match group.load(&Needs::everything()).unwrap() {
                Read::Ready(batch) => break batch,
                Read::NeedsRanges(ranges) => ranges.into_iter().for_each(|range| {
                    group.fetched().add(range.start, bytes.slice(range.start as usize..range.end as usize));
                }),
            }
        };
        spans.extend(batch.spans.id.iter().copied());
    }
    spans
}
