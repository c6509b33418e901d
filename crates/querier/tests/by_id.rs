//! A trace by its id, from a bucket: how many requests it takes with indexes of trace ids, and that whatever happens to them
//! changes no answer.
//!
//! `TRACKWAY_BY_ID_BLOCKS`, `TRACKWAY_BY_ID_TRACES` and `TRACKWAY_BY_ID_LOOKUPS` make it as large as one likes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::disallowed_methods, reason = "this measures real time, and sizes come from the environment")]

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;
use trackway_common::{MemoryPool, RequestCtx, Secret, SystemClock, SystemRandom, TenantId, TraceId};
use trackway_ingester::{Config, Ingester};
use trackway_loadgen::Workload;
use trackway_overrides::Overrides;
use trackway_peers::{ACCESS_KEY, S3Server, SECRET_KEY};
use trackway_querier::service::{Completeness, QueryService, TraceRequest};
use trackway_querier::{Querier, QuerierConfig};
use trackway_spans::{BatchBuilder, Limits, append_request};
use trackway_storage::cache::{Caches, CachesConfig, LocalConfig};
use trackway_storage::ids::{Entry, Fingerprint, encode};
use trackway_storage::stores::{BucketFacts, S3Config, StoreConfig, open};
use trackway_storage::{BlockCatalog, BlockEntry, BlockReader, BlockStore, Catalog, CpuPool, PollOptions};
use trackway_vparquet::meta::Format;
use trackway_vparquet::{BlockWriter, WriteOptions};
use uuid::Uuid;

/// What issue 5 allows.
const GETS_MAX: f64 = 3.0;
const UNKNOWN: usize = 50;
const START: u64 = 1_700_000_000_000_000_000;

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |value| value.parse().unwrap())
}

/// A bucket with blocks.
struct Bucket {
    server: S3Server,
    folder: PathBuf,
    ids: Vec<Vec<TraceId>>,
}

/// A process that has looked at the bucket once, and has nothing of it in memory but which blocks there are.
struct Process {
    reader: BlockReader,
    catalog: Arc<Catalog>,
    querier: Querier,
    /// Bytes of data files that were read for answers.
    bytes: AtomicU64,
    _folder: tempfile::TempDir,
}

fn block_id(number: u64) -> Uuid {
    Uuid::from_u128(u128::from(number) + 1)
}

/// Writes a block with traces of its own.
fn write_block(folder: &Path, number: u64, traces: u64) -> Vec<TraceId> {
    let workload = Workload {
        seed: number,
        traces,
        start_ns: START + number * 1_000_000_000,
        span_of_time_ns: 1_000_000_000,
    };
    let mut builder = BatchBuilder::new();
    for request in workload.requests() {
        append_request(&mut builder, &request.bytes, Limits::default(), &[]).unwrap();
    }
    let batch = Arc::new(builder.finish());
    let (id, tenant) = (block_id(number), TenantId::single());
    let folder = folder.join(id.to_string());
    std::fs::create_dir_all(&folder).unwrap();
    let file = std::fs::File::create(folder.join("data.parquet")).unwrap();
    let options = WriteOptions { format: Format::VParquet4, ..WriteOptions::default() };
    let written = BlockWriter::write(&[batch], &options, file).unwrap();
    for (shard, bloom) in written.bloom.iter().enumerate() {
        std::fs::write(folder.join(format!("bloom-{shard}")), bloom).unwrap();
    }
    std::fs::write(folder.join("index"), &written.index).unwrap();
    let meta = Arc::new(written.meta(id, tenant.as_str(), options.dedicated, 1));
    let json = BlockEntry { meta, log: Vec::new() }.meta_json();
    std::fs::write(folder.join("meta.json"), json).unwrap();
    (0..traces).map(|trace| TraceId(u128::from_be_bytes(workload.facts(trace).trace_id))).collect()
}

impl Bucket {
    fn new(blocks: u64, traces: u64) -> Self {
        let server = S3Server::start(&["tempo-traces"]);
        let folder = server.bucket("tempo-traces").join("single-tenant");
        let ids = (0..blocks).map(|number| write_block(&folder, number, traces)).collect();
        Self { server, folder, ids }
    }

    async fn process(&self) -> Process {
        Process::new(self.store().await, Caches::none()).await
    }

    /// One that keeps pages in memory, as processes do by default where blocks lie in a bucket.
    async fn caching(&self) -> Process {
        let local = LocalConfig { memory_bytes: 64 << 20, disk: None };
        let config = CachesConfig { local: Some(local), ..CachesConfig::default() };
        let caches = Caches::open(&config, Arc::new(SystemClock::default())).await.unwrap();
        Process::new(self.store().await, caches).await
    }

    async fn store(&self) -> BlockStore {
        let config = S3Config {
            section: "storage.trace.s3".to_owned(),
            bucket: "tempo-traces".to_owned(),
            endpoint: self.server.endpoint.clone(),
            access_key: ACCESS_KEY.to_owned(),
            secret_key: Secret::new(SECRET_KEY),
            insecure: true,
            ..S3Config::default()
        };
        let opened = open(&StoreConfig::S3(Box::new(config)), &|_| None).await.unwrap();
        BlockStore::opened(&opened, BucketFacts { conditional_put: true })
    }

    /// Requests since the last call that read something.
    fn gets(&self) -> usize {
        self.server.seen().iter().filter(|(method, ..)| method == http::Method::GET).count()
    }

    fn indexes(&self) -> Vec<PathBuf> {
        let Ok(files) = std::fs::read_dir(self.folder.join("trackway/ids")) else { return Vec::new() };
        files.map(|file| file.unwrap().path()).collect()
    }

    /// Writes all indexes that are due.
    async fn index(&self) {
        let process = self.process().await;
        process.index(Timestamp::now()).await;
    }

    fn id(&self, at: usize) -> TraceId {
        // Not in the order of blocks.
        let block = at * 7919 % self.ids.len();
        self.ids[block][at * 31 % self.ids[block].len()]
    }
}

fn unknown(at: usize) -> TraceId {
    TraceId(0xabc << 100 | at as u128)
}

impl Process {
    async fn new(store: BlockStore, caches: Caches) -> Self {
        let reader = BlockReader::new(store, CpuPool::new(2).unwrap(), MemoryPool::unlimited());
        let reader = reader.with_caches(caches);
        let (catalog, folder) = (Arc::new(Catalog::default()), tempfile::tempdir().unwrap());
        let config = Config {
            memory: MemoryPool::unlimited(),
            folder: folder.path().to_owned(),
            read_only: true,
            sync: false,
            wal_bytes_max: 1 << 20,
            head_bytes_max: 1 << 20,
            segment_bytes_max: 1 << 20,
            segments_max: 1,
            block_spans_max: 1000,
            block_bytes_max: 1 << 20,
            block_age_max: Duration::from_secs(3600),
            check_period: Duration::from_secs(3600),
            time_slack: Duration::ZERO,
            flush_on_shutdown: false,
            trace_idle: Duration::from_secs(5),
            overrides: Arc::new(Overrides::unlimited()),
            format: Format::VParquet4,
            replication_factor: 1,
        };
        let clock = Arc::new(SystemClock::default());
        let known = Arc::clone(&catalog) as Arc<dyn BlockCatalog>;
        let ingester =
            Ingester::open(config, reader.clone(), known, clock.clone(), Arc::new(SystemRandom)).unwrap();
        let config = QuerierConfig {
            max_bytes: 0,
            concurrent_per_tenant: 0,
            waiting_per_tenant: 0,
            recent: Duration::from_secs(3600),
        };
        let querier = Querier::new(ingester, reader.clone(), clock, config);
        let process = Self { reader, catalog, querier, bytes: AtomicU64::new(0), _folder: folder };
        process.look().await;
        process
    }

    async fn look(&self) {
        let options = PollOptions { blocks_at_once: 50, tenants_at_once: 1 };
        let polled = self.catalog.poll(self.reader.store(), options).await.unwrap();
        assert!(polled.failed.is_empty() && polled.unreadable.is_empty(), "{polled:?}");
    }

    async fn index(&self, now: Timestamp) {
        let tenant = TenantId::single();
        for _ in 0..20 {
            let blocks = self.catalog.blocks(&tenant);
            let id = Uuid::new_v4();
            if self.reader.index_traces(&tenant, &blocks, id, now).await.unwrap().is_none() {
                return;
            }
        }
        panic!("it does not come to an end");
    }

    async fn find(&self, id: TraceId) -> Option<Bytes> {
        let ctx = RequestCtx::for_tenant(TenantId::single());
        let answer = self.querier.trace(ctx, TraceRequest { id, range: None }).await.unwrap();
        assert_eq!(answer.completeness, Completeness::Complete);
        self.bytes.fetch_add(answer.metrics.inspected_bytes, Ordering::Relaxed);
        answer.trace
    }
}

/// Counts per lookup, and percentiles of times.
fn report(what: &str, gets: usize, times: &mut [Duration]) -> (f64, Duration) {
    times.sort_unstable();
    let (each, median) = (gets as f64 / times.len() as f64, times[times.len() / 2]);
    let worst = times[times.len() * 99 / 100];
    println!("{what}: {each:.2} GETs, p50 {median:?}, p99 {worst:?}");
    (each, median)
}

async fn timed(process: &Process, id: TraceId, is_known: bool) -> Duration {
    let started = Instant::now();
    let found = process.find(id).await;
    assert_eq!(found.is_some(), is_known, "{id}");
    started.elapsed()
}

async fn measure_local(bucket: &Bucket, process: &Process, what: &str) {
    for is_known in [true, false] {
        for round in ["cold", "warm"] {
            let mut times = Vec::new();
            for at in 0..20 {
                let id = if is_known { bucket.id(at) } else { unknown(at) };
                times.push(timed(process, id, is_known).await);
            }
            let known = if is_known { "known" } else { "unknown" };
            report(&format!("{what}, {known}, {round}"), 0, &mut times);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_takes_few_requests() {
    let blocks = number("TRACKWAY_BY_ID_BLOCKS", 200);
    let lookups = number("TRACKWAY_BY_ID_LOOKUPS", 100) as usize;
    let mut bucket = Bucket::new(blocks, number("TRACKWAY_BY_ID_TRACES", 5));
    println!(
        "{} bytes a block",
        std::fs::metadata(bucket.folder.join(block_id(0).to_string()).join("data.parquet")).unwrap().len()
    );
    bucket.gets();
    let without = bucket.process().await;
    bucket.gets();
    let mut times = Vec::new();
    for at in 0..5 {
        times.push(timed(&without, bucket.id(at), true).await);
        times.push(timed(&without, unknown(at), false).await);
    }
    report("without indexes, the first ten", bucket.gets(), &mut times);
    let root = bucket.server.bucket("tempo-traces");
    let local = Process::new(BlockStore::local(&root).unwrap(), Caches::none()).await;
    measure_local(&bucket, &local, "without indexes, in a local folder").await;
    let started = Instant::now();
    bucket.index().await;
    let bytes: u64 = bucket.indexes().iter().map(|path| std::fs::metadata(path).unwrap().len()).sum();
    println!(
        "{} indexes, {bytes} bytes, {:?} and {} GETs",
        bucket.indexes().len(),
        started.elapsed(),
        bucket.gets()
    );

    let local = Process::new(BlockStore::local(&root).unwrap(), Caches::none()).await;
    measure_local(&bucket, &local, "with them, in a local folder").await;
    let process = bucket.process().await;
    bucket.gets();
    let mut times = Vec::new();
    for at in 0..lookups {
        times.push(timed(&process, bucket.id(at), true).await);
    }
    let (cold, _) = report("known traces, cold", bucket.gets(), &mut times);
    assert!(cold <= GETS_MAX, "{cold}");
    println!("{} bytes of data a trace", process.bytes.load(Ordering::Relaxed) / lookups as u64);
    let mut times = Vec::new();
    for at in 0..UNKNOWN {
        times.push(timed(&process, unknown(at), false).await);
    }
    let (cold, _) = report("unknown traces", bucket.gets(), &mut times);
    assert!(cold <= 1.0, "{cold}");
    // Footers and entries are known now.
    let mut times = Vec::new();
    for at in 0..lookups {
        times.push(timed(&process, bucket.id(at), true).await);
    }
    report("known traces, warm", bucket.gets(), &mut times);
    asked_again(&bucket).await;
    later_blocks(&mut bucket, blocks).await;
}

/// What was asked once comes from the cache of pages.
async fn asked_again(bucket: &Bucket) {
    let process = bucket.caching().await;
    bucket.gets();
    for round in ["cold", "warm"] {
        let mut times = Vec::new();
        for at in 0..20 {
            times.push(timed(&process, bucket.id(at), true).await);
        }
        let (gets, _) =
            report(&format!("known traces, with a cache of pages, {round}"), bucket.gets(), &mut times);
        assert!(round == "cold" || gets == 0.0, "{gets}");
    }
}

/// Blocks that no index covers yet are asked themselves, and when they are many, they get an index of their own.
async fn later_blocks(bucket: &mut Bucket, blocks: u64) {
    for (more, indexes) in [(3, 1), (5, 2)] {
        let first = bucket.ids.len() as u64;
        bucket.ids.extend((first..first + more).map(|number| write_block(&bucket.folder, number, 5)));
        bucket.index().await;
        assert_eq!(bucket.indexes().len(), indexes);
        let process = bucket.process().await;
        bucket.gets();
        let mut times = vec![timed(&process, unknown(0), false).await];
        // Heads and filters of the indexes, and the bloom filters.
        let uncovered = if indexes == 1 { more as usize } else { 0 };
        let first_gets = bucket.gets();
        assert!(first_gets <= 3 * indexes + uncovered, "{first_gets}");
        for at in 1..UNKNOWN {
            times.push(timed(&process, unknown(at), false).await);
        }
        let (each, _) = report(&format!("unknown traces, {more} more blocks"), bucket.gets(), &mut times);
        assert!(each <= 1.0, "{each}");
        for block in [0, blocks as usize, bucket.ids.len() - 1] {
            timed(&process, bucket.ids[block][2], true).await;
        }
    }
}

/// The same blocks in a local folder, where looking into them is cheap.
struct Folder {
    root: tempfile::TempDir,
    ids: Vec<Vec<TraceId>>,
}

const BLOCKS: u64 = 6;
const TRACES: u64 = 4;

impl Folder {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let tenant = root.path().join("single-tenant");
        let ids = (0..BLOCKS).map(|number| write_block(&tenant, number, TRACES)).collect();
        Self { root, ids }
    }

    async fn process(&self) -> Process {
        Process::new(BlockStore::local(self.root.path()).unwrap(), Caches::none()).await
    }

    fn index_path(&self, index: Uuid) -> PathBuf {
        self.root.path().join("single-tenant/trackway/ids").join(index.to_string())
    }

    /// Puts an index there, and says which one.
    fn put(&self, bytes: &[u8]) -> PathBuf {
        let path = self.index_path(Uuid::from_u128(77));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn known(&self) -> Vec<TraceId> {
        self.ids.concat()
    }

    /// What is found without indexes: of each trace its spans.
    async fn answers(&self, ids: &[TraceId]) -> Vec<Option<Bytes>> {
        assert!(!self.index_path(Uuid::nil()).parent().unwrap().exists());
        answers(&self.process().await, ids).await
    }

    /// Block and row of each trace, by the bytes of a good index.
    async fn index(&self) -> Vec<u8> {
        let process = self.process().await;
        process.index(Timestamp::now()).await;
        let folder = self.index_path(Uuid::nil()).parent().unwrap().to_owned();
        let indexes: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
        assert_eq!(indexes.len(), 1);
        let bytes = std::fs::read(&indexes[0]).unwrap();
        std::fs::remove_dir_all(folder).unwrap();
        bytes
    }
}

async fn answers(process: &Process, ids: &[TraceId]) -> Vec<Option<Bytes>> {
    let mut answers = Vec::new();
    for id in ids {
        answers.push(process.find(*id).await);
    }
    answers
}

async fn asked(process: &Process, ids: &[TraceId]) -> (usize, Vec<(Uuid, Vec<u32>)>) {
    let blocks: HashSet<Uuid> = (0..BLOCKS).map(block_id).collect();
    let store = process.reader.store();
    let answered = store.ask_id_indexes(&TenantId::single(), &blocks, ids).await;
    let mut rows: Vec<_> = answered.rows.into_iter().collect();
    rows.sort_unstable();
    (answered.blocks.len(), rows)
}

/// A damaged index says nothing, or what it said before.
#[tokio::test]
async fn damage_costs_no_answer() {
    let folder = Folder::new();
    let ids = [folder.ids[0][1], folder.ids[5][2], unknown(0)];
    let want = folder.answers(&ids).await;
    assert!(want[0].is_some() && want[1].is_some() && want[2].is_none());
    let good = folder.index().await;
    folder.put(&good);
    let right = asked(&folder.process().await, &ids).await;
    assert_eq!((right.0, right.1.len()), (BLOCKS as usize, 2));
    let mut damaged: Vec<Vec<u8>> =
        (0..good.len()).step_by(3).map(|length| good[..length].to_vec()).collect();
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 8);
        damaged.push(bytes);
    }
    for (case, bytes) in damaged.iter().enumerate() {
        folder.put(bytes);
        let process = folder.process().await;
        let got = asked(&process, &ids).await;
        assert!(got == right || got == (0, Vec::new()), "case {case}: {got:?}");
        if case % 50 == 0 {
            assert_eq!(answers(&process, &ids).await, want, "case {case}");
        }
    }
    // Whoever writes indexes puts a good one in its place.
    let bad = folder.put(&good[..good.len() - 1]);
    let process = folder.process().await;
    process.index(Timestamp::now()).await;
    assert!(!bad.exists());
    assert_eq!(asked(&process, &ids).await, right);
}

/// An index of a version to come is left alone, and not believed.
#[tokio::test]
async fn another_version_is_left_alone() {
    let folder = Folder::new();
    let ids = [folder.ids[3][0], unknown(0)];
    let want = folder.answers(&ids).await;
    let mut bytes = folder.index().await;
    bytes[8] += 1;
    let path = folder.put(&bytes);
    let process = folder.process().await;
    assert_eq!(asked(&process, &ids).await.0, 0);
    assert_eq!(answers(&process, &ids).await, want);
    process.index(Timestamp::now()).await;
    assert!(path.exists());
    assert_eq!(asked(&process, &ids).await.0, BLOCKS as usize);
    assert_eq!(answers(&process, &ids).await, want);
}

#[tokio::test]
async fn an_index_that_is_replaced_or_deleted_under_a_reader_costs_no_answer() {
    let folder = Folder::new();
    let ids = [folder.ids[0][0], folder.ids[1][1], folder.ids[2][2], unknown(0)];
    let want = folder.answers(&ids).await;
    let good = folder.index().await;
    let first = folder.put(&good);
    let process = folder.process().await;
    assert_eq!(asked(&process, &ids[..1]).await.0, BLOCKS as usize);
    // What it has read of it is of no more use, and the one that took its place is found.
    let second = folder.index_path(Uuid::from_u128(78));
    std::fs::rename(&first, &second).unwrap();
    let fresh = folder.process().await;
    assert_eq!(asked(&fresh, &ids).await, asked(&process, &ids).await);
    std::fs::remove_file(&second).unwrap();
    let process = folder.process().await;
    std::fs::write(&first, &good).unwrap();
    let other = folder.process().await;
    std::fs::remove_file(&first).unwrap();
    for process in [&process, &other] {
        assert_eq!(asked(process, &ids).await, (0, Vec::new()));
        assert_eq!(answers(process, &ids).await, want);
    }
}

/// What an index says of blocks that are gone is ignored, also when their traces were asked for.
#[tokio::test]
async fn blocks_that_are_gone_are_not_looked_for() {
    let folder = Folder::new();
    let known = folder.known();
    let mut want = folder.answers(&known).await;
    let good = folder.index().await;
    folder.put(&good);
    std::fs::remove_dir_all(folder.root.path().join("single-tenant").join(block_id(2).to_string())).unwrap();
    let gone = (2 * TRACES) as usize..(3 * TRACES) as usize;
    want[gone].fill(None);
    assert_eq!(answers(&folder.process().await, &known).await, want);
}

/// Traces that an index takes for one another, and rows that are not there.
#[tokio::test]
async fn wrong_rows_cost_no_answer() {
    let folder = Folder::new();
    let ids = [folder.ids[1][1], folder.ids[4][3], unknown(0)];
    let want = folder.answers(&ids).await;
    let blocks: Vec<Uuid> = (0..BLOCKS).map(block_id).collect();
    let everywhere = |rows: u32| {
        let places = (0..BLOCKS as u16).flat_map(move |block| (0..rows).map(move |row| (block, row)));
        let entries = ids
            .iter()
            .flat_map(|id| places.clone().map(|(block, row)| Entry::new(Fingerprint::of(*id), block, row)));
        entries.collect::<Vec<_>>()
    };
    for rows in [TRACES as u32, TRACES as u32 + 1, 1_000] {
        folder.put(&encode(&blocks, everywhere(rows)).concat());
        let process = folder.process().await;
        assert_eq!(answers(&process, &ids).await, want, "{rows} rows");
    }
    // So many that they are not even read.
    folder.put(&encode(&blocks, everywhere(40_000)).concat());
    let process = folder.process().await;
    assert_eq!(asked(&process, &ids[..1]).await, (0, Vec::new()));
    assert_eq!(answers(&process, &ids).await, want);
}
