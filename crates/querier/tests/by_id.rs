//! A trace by its id, from a bucket: how many requests it takes with indexes of trace ids, and that whatever happens to them
//! changes no answer.
//!
//! `TRACKWAY_BY_ID_BLOCKS` and `TRACKWAY_BY_ID_TRACES` make it as large as one likes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods, reason = "this measures real time, and sizes come from the environment")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use trackway_common::{RequestCtx, SystemClock, SystemRandom, TenantId, TraceId};
use trackway_ingester::{Config, Ingester};
use trackway_loadgen::Workload;
use trackway_peers::{ACCESS_KEY, S3Server, SECRET_KEY};
use trackway_querier::service::{Completeness, QueryService, TraceRequest};
use trackway_querier::{Querier, QuerierConfig};
use trackway_spans::{BatchBuilder, Limits, append_request};
use trackway_storage::ids::{Entry, Fingerprint, encode};
use trackway_storage::stores::{BucketFacts, Hidden, S3Config, StoreConfig, open};
use trackway_storage::{BlockCatalog, BlockEntry, BlockReader, BlockStore, Catalog, CpuPool, PollOptions};
use trackway_vparquet::meta::Format;
use trackway_vparquet::{BlockWriter, WriteOptions};
use uuid::Uuid;

/// What issue 5 allows.
const GETS_MAX: f64 = 3.0;
const WARM: Duration = Duration::from_millis(3);
const LOOKUPS: usize = 300;
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
        let config = S3Config {
            section: "storage.trace.s3".to_owned(),
            bucket: "tempo-traces".to_owned(),
            endpoint: self.server.endpoint.clone(),
            access_key: ACCESS_KEY.to_owned(),
            secret_key: Hidden::new(SECRET_KEY),
            insecure: true,
            ..S3Config::default()
        };
        let opened = open(&StoreConfig::S3(Box::new(config)), &|_| None).await.unwrap();
        Process::new(BlockStore::opened(&opened, BucketFacts { conditional_put: true })).await
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
    async fn new(store: BlockStore) -> Self {
        let reader = BlockReader::new(store, CpuPool::new(2).unwrap());
        let (catalog, folder) = (Arc::new(Catalog::default()), tempfile::tempdir().unwrap());
        let config = Config {
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
            limits: Limits::default(),
            format: Format::VParquet4,
            dedicated: None,
            replication_factor: 1,
        };
        let clock = Arc::new(SystemClock::default());
        let known = Arc::clone(&catalog) as Arc<dyn BlockCatalog>;
        let ingester =
            Ingester::open(config, reader.clone(), known, clock.clone(), Arc::new(SystemRandom)).unwrap();
        let config = QuerierConfig {
            hidden: Vec::new(),
            max_bytes_per_trace: 0,
            max_bytes: 0,
            concurrent_per_tenant: 0,
            waiting_per_tenant: 0,
            recent: Duration::from_secs(3600),
        };
        let querier = Querier::new(ingester, reader.clone(), clock, config);
        let process = Self { reader, catalog, querier, _folder: folder };
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_takes_few_requests() {
    let blocks = number("TRACKWAY_BY_ID_BLOCKS", 200);
    let bucket = Bucket::new(blocks, number("TRACKWAY_BY_ID_TRACES", 10));
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
    let started = Instant::now();
    bucket.index().await;
    let bytes: u64 = bucket.indexes().iter().map(|path| std::fs::metadata(path).unwrap().len()).sum();
    println!(
        "{} indexes, {bytes} bytes, {:?} and {} GETs",
        bucket.indexes().len(),
        started.elapsed(),
        bucket.gets()
    );

    let process = bucket.process().await;
    bucket.gets();
    let mut times = Vec::new();
    for at in 0..LOOKUPS {
        times.push(timed(&process, bucket.id(at), true).await);
    }
    let (cold, _) = report("known traces, cold", bucket.gets(), &mut times);
    assert!(cold <= GETS_MAX, "{cold}");
    let mut times = Vec::new();
    for at in 0..UNKNOWN {
        times.push(timed(&process, unknown(at), false).await);
    }
    let (cold, _) = report("unknown traces", bucket.gets(), &mut times);
    assert!(cold <= 1.0, "{cold}");
    // Footers and entries are known now.
    let mut times = Vec::new();
    for at in 0..LOOKUPS {
        times.push(timed(&process, bucket.id(at), true).await);
    }
    report("known traces, warm", bucket.gets(), &mut times);
}
