//! What the tests of the generator share: a log in memory, a clock that stands still, and what is counted as a map.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "helpers of tests may stop them, and no test uses all of them"
)]

pub mod otlp;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::sync::watch;
use trackway_common::{Clock, ManualClock, MemoryPool, SystemRandom, TenantId};
use trackway_generator::{Codec, Config, Format, Generator, RegistryConfig, Source, WalConfig};
use trackway_overrides::{Generator as Settings, Limits, Overrides, Processors};
use trackway_remote_write::Endpoint;
use trackway_wal::{Cursor, LogError, RecordRef, Replayed, Sequence, Visitor, request_hash};

/// When all tests begin, Unix nanoseconds: a whole minute.
pub const START: u64 = 1_800_000_000_000_000_000;
/// The tenant of most tests.
pub const TENANT: &str = "shop";

#[derive(Clone, Debug)]
struct Stored {
    tenant: TenantId,
    received: u64,
    hash: u128,
    refused: Vec<u32>,
    body: Vec<u8>,
}

/// The ingester's log, in memory.
#[derive(Debug)]
pub struct FakeLog {
    id: u128,
    records: Mutex<Vec<Stored>>,
    durable: watch::Sender<Sequence>,
    kept_behind: AtomicU64,
}

impl FakeLog {
    pub fn new(id: u128) -> Arc<Self> {
        let (durable, _) = watch::channel(Sequence(0));
        Arc::new(Self { id, records: Mutex::default(), durable, kept_behind: AtomicU64::new(0) })
    }

    pub fn append(&self, tenant: &str, received: u64, refused: &[u32], body: &[u8]) {
        let tenant = TenantId::new(tenant).unwrap();
        let hash = request_hash(&tenant, body);
        let mut records = self.records.lock();
        records.push(Stored { tenant, received, hash, refused: refused.to_vec(), body: body.to_vec() });
        self.durable.send_replace(Sequence(records.len() as u64));
    }

    /// The record behind which the generator needs the log.
    pub fn kept_behind(&self) -> u64 {
        self.kept_behind.load(Ordering::Relaxed)
    }
}

impl Source for FakeLog {
    fn id(&self) -> u128 {
        self.id
    }

    fn low_water(&self) -> Sequence {
        Sequence(0)
    }

    fn durable(&self) -> watch::Receiver<Sequence> {
        self.durable.subscribe()
    }

    fn read(&self, cursor: &mut Cursor, visit: &mut Visitor<'_>) -> Result<Replayed, LogError> {
        let records = self.records.lock();
        let mut replayed = Replayed::default();
        for (record, number) in records.iter().zip(1..).skip(usize::try_from(cursor.sequence().0).unwrap()) {
            let _ = visit(RecordRef {
                sequence: Sequence(number),
                tenant: &record.tenant,
                received: record.received,
                hash: record.hash,
                refused: &record.refused,
                body: &record.body,
            });
            replayed.records += 1;
            *cursor = Cursor::after(Sequence(number));
        }
        Ok(replayed)
    }

    fn keep_behind(&self, sequence: Sequence) {
        self.kept_behind.store(sequence.0, Ordering::Relaxed);
    }
}

/// Settings of a tenant: Tempo's defaults, and these processors.
pub fn settings(processors: Processors) -> Settings {
    Settings {
        processors,
        collection_interval: Duration::from_secs(15),
        native_bucket_factor: 1.1,
        native_max_buckets: 100,
        native_min_reset: Duration::from_mins(15),
        trace_id_label: "traceID".to_owned(),
        slack: Duration::from_secs(30),
        ..Settings::default()
    }
}

/// All of `span-metrics`.
pub fn span_metrics() -> Processors {
    Processors { calls: true, latency: true, size: true, ..Processors::default() }
}

/// `service-graphs`.
pub fn service_graphs() -> Processors {
    Processors { service_graphs: true, ..Processors::default() }
}

pub fn limits(settings: Settings) -> Limits {
    Limits { generator: Arc::new(settings), max_attribute_bytes: 2048, ..Limits::unlimited() }
}

/// A generator with its log, its clock and its folder.
#[derive(Debug)]
pub struct World {
    pub log: Arc<FakeLog>,
    pub clock: Arc<ManualClock>,
    pub overrides: Arc<Overrides>,
    pub config: Config,
    folder: TempDir,
    generator: Option<Arc<Generator>>,
}

impl World {
    /// A generator that has read nothing yet, with these settings for all tenants.
    pub fn new(settings: Settings) -> Self {
        Self::with(settings, |_| {})
    }

    /// The same, at another time.
    pub fn at(now: u64, settings: Settings) -> Self {
        let mut world = Self::new(settings);
        world.clock = Arc::new(ManualClock::new(now));
        world.restart();
        world
    }

    /// The same, with other settings of the process.
    pub fn with(settings: Settings, change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let overrides = Arc::new(Overrides::new(limits(settings)));
        let mut config = Config {
            path: folder.path().join("generator"),
            wal: WalConfig {
                segment_bytes: 128 << 20,
                codec: Codec::Snappy,
                max_age: Duration::from_hours(4),
                max_bytes: 1 << 30,
            },
            remote_write: Vec::new(),
            add_org_id_header: true,
            has_tenants: true,
            flush_deadline: Duration::from_mins(1),
            registry: RegistryConfig {
                stale_duration: Duration::from_mins(15),
                external_labels: BTreeMap::new(),
                inject_tenant_id_as: String::new(),
                max_label_name_length: 1024,
                max_label_value_length: 2048,
            },
            by_entity: false,
            max_bytes: 256 << 20,
            overrides: Arc::clone(&overrides),
            memory: MemoryPool::unlimited(),
        };
        change(&mut config);
        let clock = Arc::new(ManualClock::new(START));
        let mut world = Self { log: FakeLog::new(7), clock, overrides, config, folder, generator: None };
        world.open();
        world
    }

    fn open(&mut self) {
        let log: Arc<dyn Source> = Arc::clone(&self.log) as _;
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as _;
        self.generator =
            Some(Generator::open(self.config.clone(), log, clock, Arc::new(SystemRandom)).unwrap());
    }

    /// The process is killed, and starts again: what was not written is lost.
    pub fn restart(&mut self) {
        self.generator = None;
        self.open();
    }

    /// The same, and something happens to its files in between.
    pub fn restart_after(&mut self, between: impl FnOnce(&Path)) {
        self.generator = None;
        between(&self.config.path);
        self.open();
    }

    /// The same, with another log of the ingester's.
    pub fn restart_on(&mut self, log: Arc<FakeLog>) {
        self.log = log;
        self.restart();
    }

    /// The process ends as it should, and starts again.
    pub fn restart_in_order(&mut self) {
        let generator = self.generator.take().unwrap();
        let stop = tokio_util::sync::CancellationToken::new();
        stop.cancel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(generator.run(stop));
        self.open();
    }

    /// Starts again with receivers.
    pub fn restart_with(&mut self, remote_write: Vec<Endpoint>) {
        self.config.remote_write = remote_write;
        self.restart();
    }

    pub fn generator(&self) -> &Generator {
        self.generator.as_ref().unwrap()
    }

    pub fn now(&self) -> u64 {
        self.clock.now()
    }

    /// A request comes in; it is not read yet.
    pub fn arrives(&self, body: &[u8]) {
        self.arrives_for(TENANT, body);
    }

    pub fn arrives_for(&self, tenant: &str, body: &[u8]) {
        self.log.append(tenant, self.now(), &[], body);
    }

    pub fn work(&self) {
        self.generator().work();
    }

    /// A request comes in, and is read.
    pub fn takes(&self, body: &[u8]) {
        self.arrives(body);
        self.work();
    }

    /// Time passes, and what is due is done.
    pub fn passes(&self, time: Duration) {
        self.clock.advance(time);
        self.work();
    }

    /// Other settings for all tenants, which are taken over.
    pub fn set(&self, settings: Settings) {
        self.overrides.replace(std::collections::HashMap::new(), Some(limits(settings)));
        self.passes(Duration::from_secs(1));
    }

    /// What is counted: series as Prometheus's text format has them, and their values.
    pub fn series(&self) -> BTreeMap<String, f64> {
        self.series_of(TENANT)
    }

    pub fn series_of(&self, tenant: &str) -> BTreeMap<String, f64> {
        let tenant = TenantId::new(tenant).unwrap();
        self.generator().generated(&tenant, Format::Text).map(|text| parse(&text)).unwrap_or_default()
    }

    /// The series of one name, without the name.
    pub fn of(&self, name: &str) -> BTreeMap<String, f64> {
        named(&self.series(), name)
    }

    /// A number that the generator tells of itself; zero when it does not.
    pub fn own(&self, series: &str) -> f64 {
        let mut text = String::new();
        self.generator().write_metrics(&mut text);
        parse(&text).get(series).copied().unwrap_or(0.0)
    }

    /// Spans that were not counted, for this reason.
    pub fn discarded(&self, reason: &str) -> f64 {
        self.own(&format!(
            "tempo_metrics_generator_spans_discarded_total{{tenant=\"{TENANT}\",reason=\"{reason}\"}}"
        ))
    }

    /// A number that the generator tells of the tenant.
    pub fn of_tenant(&self, name: &str) -> f64 {
        self.own(&format!("tempo_metrics_generator_{name}{{tenant=\"{TENANT}\"}}"))
    }
}

/// The series of one name, without the name.
pub fn named(series: &BTreeMap<String, f64>, name: &str) -> BTreeMap<String, f64> {
    let of = |(key, value): (&String, &f64)| {
        let labels = key.strip_prefix(name)?.strip_prefix('{')?.strip_suffix('}')?;
        Some((labels.to_owned(), *value))
    };
    series.iter().filter_map(of).collect()
}

/// A page in Prometheus's text format. No series stands there twice.
pub fn parse(text: &str) -> BTreeMap<String, f64> {
    let mut series = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (key, value) = line.rsplit_once(' ').unwrap();
        // A number of the process has no labels.
        if !key.contains('{') {
            continue;
        }
        let before = series.insert(key.to_owned(), value.parse().unwrap());
        assert!(before.is_none(), "{key} stands there twice");
    }
    series
}

/// The same as [`World::of`] gives, to compare with.
pub fn map<const N: usize>(entries: [(&str, f64); N]) -> BTreeMap<String, f64> {
    entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// The sum of all series.
pub fn sum(series: &BTreeMap<String, f64>) -> f64 {
    series.values().fold(0.0, |sum, value| sum + value)
}
