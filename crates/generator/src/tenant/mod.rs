//! One tenant's metrics: its processors, its series, and what a collection does.
//!
//! What must stay true: what is counted, and up to which record of the ingester's log, is written in one piece
//! (`record.rs`); so a restart goes on where the last collection stood, counts what came behind it from the log, and
//! counts nothing twice. A change of settings keeps every series whose labels and buckets stay the same.

mod count;
mod restore;

use std::io;
use std::sync::Arc;

use trackway_common::{TenantId, UnixNanos};
use trackway_overrides::{Generator, Limits as TenantLimits, SpanNames};
use trackway_spans::{Limits, visit_spans};

use crate::budget::Budget;
use crate::config::Config;
use crate::facts::ResourceFacts;
use crate::host_info::HostInfoProcessor;
use crate::patterns::Patterns;
use crate::record::{self, Moment};
use crate::registry::{Bounds, Registry, TableId};
use crate::samples::{Position, SampleLog};
use crate::service::is_due;
use crate::service_graphs::{EdgeTally, ServiceGraphsProcessor};
use crate::span_metrics::SpanMetricsProcessor;
use crate::wanted::Wanted;

use self::count::Counting;
use self::restore::State;

/// How often what is not asked for any more is forgotten, milliseconds.
const FORGET_EVERY_MS: i64 = 5 * 60 * 1000;
/// How far ahead of the clock samples may be, milliseconds; a smaller step back of the clock is waited out.
const AHEAD_MS: i64 = 60_000;
/// How long what was collected may be lost in a power failure, milliseconds: the ingester's log keeps as much.
const SYNC_EVERY_MS: i64 = 30_000;

/// Counts since the start, by the names of Tempo's metrics.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Numbers {
    pub(crate) spans_received: u64,
    pub(crate) bytes_received: u64,
    pub(crate) outside_slack: u64,
    pub(crate) span_metrics_filtered: u64,
    pub(crate) service_graphs_filtered: u64,
    pub(crate) invalid_utf8: u64,
    pub(crate) spans_sanitized: u64,
    pub(crate) collections: u64,
    pub(crate) collections_failed: u64,
    pub(crate) update_failed: u64,
}

/// Where a tenant stands in the ingester's log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// The log's identity.
    pub(crate) log: u128,
    /// Up to where it does not count any more.
    pub(crate) counted: u64,
    /// Up to where it has let go of what it had.
    pub(crate) low_water: u64,
    /// Its end.
    pub(crate) end: u64,
}

/// What there is of a tenant's metrics.
#[derive(Debug)]
pub(crate) struct Tenant {
    pub(crate) id: TenantId,
    /// For which settings the processors were made.
    pub(crate) limits: Arc<TenantLimits>,
    wanted: Wanted,
    pub(crate) registry: Registry,
    pub(crate) span_metrics: Option<SpanMetricsProcessor>,
    pub(crate) service_graphs: Option<ServiceGraphsProcessor>,
    pub(crate) host_info: Option<HostInfoProcessor>,
    patterns: Patterns,
    pub(crate) log: Arc<SampleLog>,
    /// Identity of the ingester's log.
    source: u128,
    /// Its last record that is counted.
    counted: u64,
    /// Its last record that was this tenant's.
    last_record: u64,
    /// Its last record that is counted in what a power failure leaves.
    safe: u64,
    last_sync_ms: i64,
    /// What was collected but is not synced.
    unsynced: u64,
    /// When series were last collected, or the tenant's metrics began.
    before_ms: i64,
    next_collection_ms: i64,
    next_forget_ms: i64,
    /// When a span last came, Unix milliseconds.
    last_span_ms: i64,
    pub(crate) numbers: Numbers,
    edge_tally: EdgeTally,
}

impl Tenant {
    /// Opens what a process before left. `counted` is up to where the ingester's log counts for nobody new.
    ///
    /// # Errors
    /// When the log of samples cannot be opened.
    pub(crate) fn open(
        id: &TenantId,
        config: &Config,
        budget: &Arc<Budget>,
        limits: Arc<TenantLimits>,
        place: Place,
        now_ms: i64,
    ) -> io::Result<Self> {
        let registry = Registry::new(bounds(config, &limits.generator), Arc::clone(budget));
        let folder = config.path.join(id.as_str()).join("wal");
        let mut state = State::default();
        let log = SampleLog::open(&folder, config.wal.codec, config.wal.segment_bytes, |payload| {
            state.read(payload)
        })?;
        let mut tenant = Self {
            id: id.clone(),
            limits,
            wanted: Wanted::default(),
            registry,
            span_metrics: None,
            service_graphs: None,
            host_info: None,
            patterns: Patterns::new(),
            log,
            source: place.log,
            counted: place.counted,
            safe: place.counted,
            last_sync_ms: now_ms,
            unsynced: place.counted,
            last_record: 0,
            before_ms: now_ms,
            next_collection_ms: 0,
            next_forget_ms: now_ms.saturating_add(FORGET_EVERY_MS),
            last_span_ms: now_ms,
            numbers: Numbers::default(),
            edge_tally: EdgeTally::default(),
        };
        tenant.build(config, budget);
        tenant.take_up(&state, place, now_ms);
        tenant.schedule(now_ms);
        Ok(tenant)
    }

    /// Makes the processors that the settings ask for.
    fn build(&mut self, config: &Config, budget: &Arc<Budget>) {
        let generator = Arc::clone(&self.limits.generator);
        let parts = generator.processors;
        self.wanted = Wanted::default();
        for key in ["service.name", "service.namespace", "service.instance.id"] {
            self.wanted.add(key);
        }
        self.registry.bounds = bounds(config, &generator);
        let is_counted = generator.max_cardinality_per_label > 0;
        if is_counted != self.registry.cardinality.is_counted() {
            self.registry.count_cardinality(is_counted);
        }
        let (registry, wanted) = (&mut self.registry, &mut self.wanted);
        let mut failed = Vec::new();
        self.span_metrics = parts
            .span_metrics()
            .then(|| SpanMetricsProcessor::new(&generator, registry, wanted))
            .and_then(|made| made.map_err(|error| failed.push(("span-metrics", error))).ok());
        let mut old = self.service_graphs.take();
        if let Some(old) = &old {
            self.edge_tally = old.tally;
        }
        let graphs = || ServiceGraphsProcessor::new(&generator, registry, wanted, Arc::clone(budget));
        self.service_graphs = parts
            .service_graphs
            .then(graphs)
            .and_then(|made| made.map_err(|error| failed.push(("service-graphs", error))).ok());
        if let Some(graphs) = &mut self.service_graphs {
            graphs.tally = self.edge_tally;
            if let Some(old) = &mut old {
                graphs.inherit(old);
            }
        }
        self.host_info =
            parts.host_info.then(|| HostInfoProcessor::new(&generator.host_info, registry, wanted));
        for (processor, error) in failed {
            self.numbers.update_failed += 1;
            tracing::error!(tenant = %self.id, processor, %error, "processor cannot be made; its metrics are missing");
        }
    }

    /// Ends series of tables that no processor counts in any more.
    fn end_unused(&mut self) {
        let tables = self.span_metrics.iter().flat_map(SpanMetricsProcessor::tables);
        let tables = tables.chain(self.service_graphs.iter().map(|graphs| graphs.table));
        let tables: Vec<TableId> = tables.chain(self.host_info.iter().map(|hosts| hosts.table)).collect();
        self.registry.end_others(&tables);
    }

    /// Takes over other settings, if they are others.
    pub(crate) fn update(
        &mut self,
        config: &Config,
        budget: &Arc<Budget>,
        limits: Arc<TenantLimits>,
        now_ms: i64,
    ) {
        if Arc::ptr_eq(&self.limits, &limits) {
            return;
        }
        let is_same = *self.limits.generator == *limits.generator;
        let interval = self.limits.generator.collection_interval;
        self.limits = limits;
        if is_same {
            return;
        }
        tracing::info!(tenant = %self.id, "metrics-generator takes over other settings");
        self.build(config, budget);
        self.end_unused();
        if self.limits.generator.collection_interval != interval {
            self.schedule(now_ms);
        }
    }

    fn interval_ms(&self) -> i64 {
        i64::try_from(self.limits.generator.collection_interval.as_millis()).unwrap_or(i64::MAX).max(1)
    }

    fn schedule(&mut self, now_ms: i64) {
        self.next_collection_ms = now_ms.saturating_add(self.interval_ms());
    }

    /// Whether it is time for a collection.
    pub(crate) fn is_due(&self, now_ms: i64) -> bool {
        is_due(now_ms, self.next_collection_ms, self.interval_ms())
    }

    /// Counts a request.
    pub(crate) fn count(&mut self, sequence: u64, received: UnixNanos, refused: &[u32], body: &[u8]) {
        if sequence <= self.counted {
            return;
        }
        (self.counted, self.last_record) = (sequence, sequence);
        let received_ms = millis(received);
        self.last_span_ms = self.last_span_ms.max(received_ms);
        if let Some(graphs) = &mut self.service_graphs {
            graphs.expire(received_ms, &mut self.registry);
        }
        let slack = u64::try_from(self.limits.generator.slack.as_nanos()).unwrap_or(u64::MAX);
        let limits = Limits { max_attribute_bytes: self.limits.max_attribute_bytes };
        let mut counting = Counting {
            patterns: match self.limits.generator.span_names {
                SpanNames::AsSent => None,
                SpanNames::DryRun => Some((&mut self.patterns, false)),
                SpanNames::Shortened => Some((&mut self.patterns, true)),
            },
            wanted: &self.wanted,
            registry: &mut self.registry,
            span_metrics: self.span_metrics.as_mut(),
            service_graphs: self.service_graphs.as_mut(),
            host_info: self.host_info.as_ref(),
            numbers: &mut self.numbers,
            limits,
            good_ends: received.saturating_sub(slack)..=received.saturating_add(slack),
            received_ms,
            resource: ResourceFacts::default(),
            attributes: Vec::new(),
            slots: Vec::new(),
            is_noted: true,
            is_host_noted: true,
        };
        if let Err(problem) = visit_spans(body, limits, refused, &mut counting) {
            // The ingester has taken it in as far as it could be read, and so have we.
            tracing::debug!(sequence, %problem, "a record of the log cannot be read to its end");
        }
    }

    /// Says that the ingester's log is read up to here, and has nothing more for this tenant.
    pub(crate) fn skip_to(&mut self, sequence: u64) {
        self.counted = self.counted.max(sequence);
    }

    /// Makes what there is of edges that have waited long enough.
    pub(crate) fn expire(&mut self, now_ms: i64) {
        if let Some(graphs) = &mut self.service_graphs {
            graphs.expire(now_ms, &mut self.registry);
        }
    }

    /// Collects: writes every series into the log of samples.
    ///
    /// # Errors
    /// When that cannot be written; everything is counted on, and the next collection has it.
    pub(crate) fn collect(&mut self, now_ms: i64) -> io::Result<()> {
        // Two samples of a series may not have one time. A clock that was wrong is not followed for ever.
        if self.before_ms.saturating_sub(now_ms) > AHEAD_MS {
            tracing::warn!(tenant = %self.id, "the clock was set back; samples have its time from now on");
            self.before_ms = now_ms;
        }
        let time_ms = now_ms.max(self.before_ms.saturating_add(2));
        self.schedule(now_ms);
        self.registry.end_stale(now_ms);
        let moment = Moment {
            time_ms,
            before_ms: self.before_ms,
            log: self.source,
            sequence: self.counted,
            is_sent: !self.limits.generator.disable_collection,
        };
        let written = self.write(moment);
        match written {
            Ok(segment) => {
                self.registry.collected(segment, self.patterns.bytes());
                self.unsynced = self.counted;
                self.before_ms = time_ms;
                self.numbers.collections += 1;
            }
            Err(_) => self.numbers.collections_failed += 1,
        }
        if std::mem::take(&mut self.registry.overflowed) {
            self.say_overflow();
        }
        if is_due(now_ms, self.next_forget_ms, FORGET_EVERY_MS) {
            self.next_forget_ms = now_ms.saturating_add(FORGET_EVERY_MS);
            self.registry.demand.advance();
            self.registry.cardinality.advance();
            self.patterns.prune();
        }
        written.map(drop)
    }

    fn write(&self, moment: Moment) -> io::Result<u64> {
        let segment = self.log.prepare()?;
        let mut payload = Vec::new();
        record::encode(&mut payload, moment, &self.registry, self.service_graphs.as_ref(), segment);
        self.log.append(&payload, self.registry.series(), moment.time_ms)?;
        Ok(segment)
    }

    fn say_overflow(&self) {
        tracing::warn!(
            tenant = %self.id,
            series = self.registry.series(),
            wanted = self.registry.series_demand(),
            "more series than may be: what is new is counted in the series with metric_overflow=\"true\"; raise \
             max_active_series (metrics_generator of overrides) or trackway.generator.max_bytes, or leave out what \
             makes so many: span names with ids in them (span_name_sanitization), dimensions"
        );
    }

    /// The last record of the ingester's log that is not needed any more. What was collected is synced now and then, or
    /// `at_once`.
    pub(crate) fn safe(&mut self, now_ms: i64, at_once: bool) -> u64 {
        let is_time = is_due(now_ms, self.last_sync_ms.saturating_add(SYNC_EVERY_MS), SYNC_EVERY_MS);
        if self.unsynced > self.safe && (at_once || is_time) {
            self.sync(now_ms);
        }
        self.safe
    }

    /// Makes what was collected survive a power failure.
    pub(crate) fn sync(&mut self, now_ms: i64) {
        match self.log.sync() {
            Ok(()) => self.safe = self.unsynced,
            Err(error) => {
                tracing::warn!(tenant = %self.id, %error, "log of samples cannot be synced; tried again later");
            }
        }
        self.last_sync_ms = now_ms;
    }

    /// The last record of the ingester's log that was this tenant's, since the start.
    pub(crate) fn last_record(&self) -> u64 {
        self.last_record
    }

    /// The last record of the ingester's log that is counted.
    pub(crate) fn counted(&self) -> u64 {
        self.counted
    }

    /// Whether nothing is left to be done for it: no processor or no span for long, no series, and all samples sent.
    pub(crate) fn is_over(&self, now_ms: i64, stale_ms: i64) -> bool {
        let is_quiet = now_ms.saturating_sub(self.last_span_ms) > stale_ms;
        let no_edges = self.service_graphs.as_ref().is_none_or(|graphs| graphs.edges.len() == 0);
        (is_quiet || !self.limits.generator.processors.any()) && self.registry.entities() == 0 && no_edges
    }

    /// Counts of service graphs.
    pub(crate) fn edge_tally(&self) -> EdgeTally {
        self.service_graphs.as_ref().map_or(self.edge_tally, |graphs| graphs.tally)
    }

    /// When series were last collected, Unix milliseconds.
    pub(crate) fn before_ms(&self) -> i64 {
        self.before_ms
    }

    /// Label sets that there would be with shortened names, about.
    pub(crate) fn shortened_demand(&self) -> u64 {
        self.span_metrics.as_ref().map_or(0, |metrics| metrics.shortened.estimate())
    }

    /// Whether names of spans are shortened, or would be.
    pub(crate) fn shortens(&self) -> bool {
        self.limits.generator.span_names != SpanNames::AsSent
    }

    /// Where the log of samples ends.
    pub(crate) fn end(&self) -> Position {
        *self.log.end().borrow()
    }
}

fn bounds(config: &Config, generator: &Generator) -> Bounds {
    let registry = &config.registry;
    Bounds {
        max_series: generator.max_active_series as usize,
        max_entities: generator.max_active_entities as usize,
        by_entity: config.by_entity,
        max_cardinality: generator.max_cardinality_per_label as usize,
        max_name: registry.max_label_name_length,
        max_value: registry.max_label_value_length,
        stale_ms: i64::try_from(registry.stale_duration.as_millis()).unwrap_or(i64::MAX),
    }
}

pub(crate) fn millis(nanos: UnixNanos) -> i64 {
    i64::try_from(nanos / 1_000_000).unwrap_or(i64::MAX)
}
