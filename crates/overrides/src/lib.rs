//! What each tenant may do: the one place that the parts ask, once a request.
//!
//! What must stay true: a tenant's own entry replaces the defaults as a whole, `*` stands in for tenants without an entry,
//! and the defaults for those that neither names; what a tenant set for itself goes over all of them, setting by setting.
//! Whoever asks holds one set of limits that does not change under it; the
//! next one who asks has the newest. Nothing here reads a file: [`Overrides::replace`] is told what a file says.

mod change;
mod generator;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use trackway_common::TenantId;
use trackway_vparquet::meta::DedicatedColumn;

pub use change::{GeneratorChange, HostInfoChange, IntrinsicChange, ServiceGraphsChange, SpanMetricsChange};
pub use generator::{
    FilterPolicy, Generator, HistogramMode, HostInfo, Intrinsic, Mapping, PolicyAttribute, PolicyMatch,
    PolicyValue, Processors, ServiceGraphs, SpanMetrics, SpanNames,
};

/// The limits of a tenant, as far as a part of this process asks for them. Named as in Tempo's `overrides`; where 0 there
/// means the setting of the process, that stands here already, if not said otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Whether the rate is for all distributors together (`ingestion.rate_strategy`).
    pub rate_is_global: bool,
    /// Bytes a second (`ingestion.rate_limit_bytes`).
    pub rate_limit_bytes: u64,
    /// Bytes in one burst, and of the largest request (`ingestion.burst_size_bytes`).
    pub burst_size_bytes: u64,
    /// Most live traces of one ingester (`ingestion.max_traces_per_user`); 0 is no limit.
    pub max_traces_per_user: u64,
    /// Most live traces of all ingesters (`ingestion.max_global_traces_per_user`); 0 is no limit.
    pub max_global_traces_per_user: u64,
    /// Longest key or value of an attribute (`ingestion.max_attribute_bytes`, else `distributor.max_attribute_bytes`); 0 is
    /// no limit.
    pub max_attribute_bytes: usize,
    /// Whether a sender is told when to come back (`ingestion.retry_info_enabled`).
    pub retry_info_enabled: bool,
    /// Largest trace (`global.max_bytes_per_trace`); 0 is no limit.
    pub max_bytes_per_trace: usize,
    /// Longest time range of a search (`read.max_search_duration`); zero is the process' setting.
    pub max_search_duration: Duration,
    /// Longest time range of a metrics query (`read.max_metrics_duration`); zero is the process' setting.
    pub max_metrics_duration: Duration,
    /// How long data is kept (`compaction.block_retention`); zero is the process' setting.
    pub block_retention: Duration,
    /// Blocks that end in the same window are merged (`compaction.compaction_window`); zero is the process' setting.
    pub compaction_window: Duration,
    /// Whether blocks are left as they are (`compaction.compaction_disabled`).
    pub compaction_disabled: bool,
    /// Forwarders that get a copy of its spans (`forwarders`).
    pub forwarders: Vec<String>,
    /// Requests that wait in the queue of each (`metrics_generator.forwarder.queue_size`); 0 is the default.
    pub forwarder_queue_size: usize,
    /// Requests that are sent at a time from each (`metrics_generator.forwarder.workers`); 0 is the default.
    pub forwarder_workers: usize,
    /// Attributes with columns of their own (`storage.parquet_dedicated_columns`, else `storage.trace.block`'s); `None`
    /// lets them choose themselves.
    pub dedicated: Option<Vec<DedicatedColumn>>,
    /// Attributes by whose values bytes are counted, and the labels they become (`cost_attribution.dimensions`).
    pub cost_dimensions: Arc<BTreeMap<String, String>>,
    /// Most series of those counts (`cost_attribution.max_cardinality`); 0 is the process' setting.
    pub cost_max_cardinality: u64,
    /// What the metrics-generator does for it (`metrics_generator`).
    pub generator: Arc<Generator>,
}

/// What a tenant set for itself, as far as a part of this process asks for it; `None` where it set nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OwnLimits {
    /// `cost_attribution.dimensions`.
    pub cost_dimensions: Option<Arc<BTreeMap<String, String>>>,
    /// `forwarders`.
    pub forwarders: Option<Vec<String>>,
    /// `metrics_generator`.
    pub generator: Arc<GeneratorChange>,
}

impl OwnLimits {
    /// These over others.
    fn over(&self, others: &Limits) -> Limits {
        let mut limits = others.clone();
        if let Some(dimensions) = &self.cost_dimensions {
            limits.cost_dimensions = Arc::clone(dimensions);
        }
        if let Some(forwarders) = &self.forwarders {
            limits.forwarders.clone_from(forwarders);
        }
        limits.generator = self.generator.over(&others.generator);
        limits
    }
}

impl Limits {
    /// Limits that limit nothing.
    pub fn unlimited() -> Self {
        Self {
            rate_is_global: false,
            rate_limit_bytes: u64::MAX,
            burst_size_bytes: u64::MAX,
            max_traces_per_user: 0,
            max_global_traces_per_user: 0,
            max_attribute_bytes: 0,
            retry_info_enabled: true,
            max_bytes_per_trace: 0,
            max_search_duration: Duration::ZERO,
            max_metrics_duration: Duration::ZERO,
            block_retention: Duration::ZERO,
            compaction_window: Duration::ZERO,
            compaction_disabled: false,
            forwarders: Vec::new(),
            forwarder_queue_size: 0,
            forwarder_workers: 0,
            dedicated: None,
            cost_dimensions: Arc::default(),
            cost_max_cardinality: 0,
            generator: Arc::default(),
        }
    }
}

/// The limits of all tenants. Shared by reference.
#[derive(Debug)]
pub struct Overrides {
    current: RwLock<Resolved>,
}

#[derive(Debug)]
struct Resolved {
    defaults: Arc<Limits>,
    others: Option<Arc<Limits>>,
    tenants: HashMap<TenantId, Arc<Limits>>,
    own: HashMap<TenantId, OwnLimits>,
    /// Those of `own` over what counts for them otherwise.
    merged: HashMap<TenantId, Arc<Limits>>,
}

impl Resolved {
    fn configured(&self, tenant: &TenantId) -> &Arc<Limits> {
        let own = self.tenants.get(tenant).or(self.others.as_ref());
        own.unwrap_or(&self.defaults)
    }

    fn merge(&mut self) {
        let merged = self.own.iter().map(|(tenant, own)| {
            let limits = own.over(self.configured(tenant));
            (tenant.clone(), Arc::new(limits))
        });
        self.merged = merged.collect();
    }
}

impl Overrides {
    /// The same limits for every tenant.
    pub fn new(defaults: Limits) -> Self {
        let resolved = Resolved {
            defaults: Arc::new(defaults),
            others: None,
            tenants: HashMap::new(),
            own: HashMap::new(),
            merged: HashMap::new(),
        };
        Self { current: RwLock::new(resolved) }
    }

    /// No limits for anybody.
    pub fn unlimited() -> Self {
        Self::new(Limits::unlimited())
    }

    /// Takes over what the file of tenants says now: entries by name, and that of `*`.
    pub fn replace(&self, tenants: HashMap<TenantId, Limits>, others: Option<Limits>) {
        let tenants = tenants.into_iter().map(|(tenant, limits)| (tenant, Arc::new(limits))).collect();
        let mut current = self.current.write();
        current.tenants = tenants;
        current.others = others.map(Arc::new);
        current.merge();
    }

    /// Takes over what tenants have set for themselves.
    pub fn replace_own(&self, own: HashMap<TenantId, OwnLimits>) {
        let mut current = self.current.write();
        if current.own != own {
            current.own = own;
            current.merge();
        }
    }

    /// Whether metrics are made of anybody's spans.
    pub fn makes_metrics(&self) -> bool {
        let current = self.current.read();
        let all = current.tenants.values().chain(current.merged.values()).chain(&current.others);
        all.chain([&current.defaults]).any(|limits| limits.generator.processors.any())
    }

    /// The limits of a tenant, as they are now. Cheap: ask for each request.
    pub fn for_tenant(&self, tenant: &TenantId) -> Arc<Limits> {
        let current = self.current.read();
        Arc::clone(current.merged.get(tenant).unwrap_or_else(|| current.configured(tenant)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenants_own_entry_goes_before_the_wildcard_and_that_before_the_defaults() {
        let with = |bytes| Limits { rate_limit_bytes: bytes, ..Limits::unlimited() };
        let (a, b) = (TenantId::new("a").unwrap(), TenantId::new("b").unwrap());
        let overrides = Overrides::new(with(1));
        let rates = || [&a, &b].map(|tenant| overrides.for_tenant(tenant).rate_limit_bytes);
        assert_eq!(rates(), [1, 1]);
        overrides.replace(HashMap::from([(a.clone(), with(2))]), None);
        assert_eq!(rates(), [2, 1]);
        let held = overrides.for_tenant(&a);
        overrides.replace(HashMap::from([(a.clone(), with(4))]), Some(with(3)));
        assert_eq!(rates(), [4, 3]);
        assert_eq!(held.rate_limit_bytes, 2);
        overrides.replace(HashMap::new(), None);
        assert_eq!(rates(), [1, 1]);
    }

    #[test]
    fn what_a_tenant_set_itself_goes_over_what_counts_for_it_now() {
        let (a, b) = (TenantId::new("a").unwrap(), TenantId::new("b").unwrap());
        let overrides = Overrides::new(Limits { rate_limit_bytes: 1, ..Limits::unlimited() });
        let dimensions: Arc<BTreeMap<_, _>> = Arc::new(BTreeMap::from([("team".to_owned(), String::new())]));
        let own = OwnLimits { cost_dimensions: Some(Arc::clone(&dimensions)), ..OwnLimits::default() };
        overrides.replace_own(HashMap::from([(a.clone(), own)]));
        let of = |tenant| {
            let limits = overrides.for_tenant(tenant);
            (limits.rate_limit_bytes, limits.cost_dimensions.len())
        };
        assert_eq!((of(&a), of(&b)), ((1, 1), (1, 0)));
        overrides.replace(
            HashMap::from([(a.clone(), Limits { rate_limit_bytes: 2, ..Limits::unlimited() })]),
            None,
        );
        assert_eq!((of(&a), of(&b)), ((2, 1), (1, 0)));
        overrides.replace_own(HashMap::new());
        assert_eq!((of(&a), of(&b)), ((2, 0), (1, 0)));
    }

    #[test]
    fn what_a_tenant_sets_of_the_generator_goes_over_the_operators_key_by_key() {
        let tenant = TenantId::new("a").unwrap();
        let graphs = Processors { service_graphs: true, ..Processors::default() };
        let hosts = Processors { host_info: true, ..Processors::default() };
        let of_operator = Generator { processors: graphs, max_active_series: 7, ..Generator::default() };
        let defaults = Limits { generator: Arc::new(of_operator), ..Limits::unlimited() };
        let overrides = Overrides::new(defaults.clone());
        let own = |generator: GeneratorChange| {
            let own = OwnLimits { generator: Arc::new(generator), ..OwnLimits::default() };
            overrides.replace_own(HashMap::from([(tenant.clone(), own)]));
            Arc::clone(&overrides.for_tenant(&tenant).generator)
        };
        // Nothing set: nothing of its own is kept.
        assert!(Arc::ptr_eq(&own(GeneratorChange::default()), &defaults.generator));
        let change = GeneratorChange {
            processors: Some(hosts),
            span_metrics: SpanMetricsChange {
                intrinsic: IntrinsicChange { span_name: Some(false), ..IntrinsicChange::default() },
                ..SpanMetricsChange::default()
            },
            ..GeneratorChange::default()
        };
        let changed = own(change.clone());
        assert_eq!((changed.processors, changed.max_active_series), (hosts, 7));
        assert!(!changed.span_metrics.intrinsic.span_name && changed.span_metrics.intrinsic.service);
        let added = own(GeneratorChange { adds_processors: true, ..change.clone() });
        assert_eq!(added.processors, graphs.and(hosts));
        // What the operator changes meanwhile counts at once.
        let now = Generator { max_active_series: 8, ..Generator::default() };
        overrides.replace(HashMap::new(), Some(Limits { generator: Arc::new(now), ..Limits::unlimited() }));
        assert_eq!(overrides.for_tenant(&tenant).generator.max_active_series, 8);
        assert_eq!(overrides.for_tenant(&tenant).generator.processors, hosts);
    }
}
