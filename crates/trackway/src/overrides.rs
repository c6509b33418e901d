//! Tenants' limits from the configuration and from the file of tenants (`overrides.per_tenant_override_config`), which is
//! read again as long as the process runs.
//!
//! What must stay true: a file that cannot be read or understood changes nothing. At the start that is an error; later the
//! last good one stays, the log says so once for each thing that is wrong, and a metric until it is mended.

mod generator;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use trackway_api::{TenantLimits, TenantOverrides};
use trackway_common::TenantId;
use trackway_config::sections::{Limits as Configured, MetricsGenerator, RateStrategy};
use trackway_config::{
    Config, TenantFile, expand_env, limits_yaml, own_generator, runtime_yaml, tenant_limits, unset_limits,
};
use trackway_overrides::{Generator, GeneratorChange, Limits, Overrides};

use crate::settings;

/// Largest file of tenants.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Least time between two looks at it.
const PERIOD_MIN: Duration = Duration::from_millis(100);
/// Different settings of the metrics-generator that tenants share, if theirs are equal.
const SHARED_MAX: usize = 16;
/// The entry for all tenants that have none.
const WILDCARD: &str = "*";

/// The limits of tenants, and where they come from.
#[derive(Debug)]
pub(crate) struct TenantSettings {
    /// What the parts ask.
    pub(crate) overrides: Arc<Overrides>,
    config: Config,
    file: Option<PathBuf>,
    period: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What the file said when it was last good.
    text: String,
    tenants: BTreeMap<String, Configured>,
    /// What is wrong with it now.
    problem: Option<String>,
}

impl TenantSettings {
    /// Reads what there is. Blocks on I/O.
    ///
    /// # Errors
    /// If there is to be a file of tenants and it cannot be read or understood.
    pub(crate) fn open(config: &Config) -> anyhow::Result<Self> {
        let settings = Self {
            overrides: Arc::new(Overrides::new(limits(config, &config.overrides.defaults))),
            config: config.clone(),
            file: Some(&config.overrides.per_tenant_override_config)
                .filter(|path| !path.is_empty())
                .map(PathBuf::from),
            period: config.overrides.per_tenant_override_period.as_std().max(PERIOD_MIN),
            state: Mutex::default(),
        };
        if settings.file.is_some() {
            let (text, file) = settings.read().map_err(|problem| {
                anyhow::anyhow!("overrides.per_tenant_override_config cannot be used: {problem}")
            })?;
            settings.take_over(text, file);
        }
        Ok(settings)
    }

    /// Reads the file again and again until it is told to stop.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        if self.file.is_none() {
            return;
        }
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(self.period) => {}
            }
            let settings = Arc::clone(&self);
            // A panic there would be said; the next look is a new one.
            let _ = tokio::task::spawn_blocking(move || settings.reload()).await;
        }
    }

    fn reload(&self) {
        match self.read() {
            Ok((text, file)) => {
                let (is_new, was_bad) = {
                    let mut state = self.state.lock();
                    (state.text != text, state.problem.take().is_some())
                };
                if is_new {
                    self.take_over(text, file);
                } else if was_bad {
                    tracing::info!(path = %self.path(), "tenants' limits are as they were before");
                }
            }
            Err(problem) => {
                let is_known = {
                    let mut state = self.state.lock();
                    state.problem.replace(problem.clone()).as_ref() == Some(&problem)
                };
                if !is_known {
                    tracing::warn!(
                        path = %self.path(), problem,
                        "overrides.per_tenant_override_config cannot be used; what it said before goes on to count"
                    );
                }
            }
        }
    }

    fn path(&self) -> String {
        self.file.as_ref().map(|path| path.display().to_string()).unwrap_or_default()
    }

    fn read(&self) -> Result<(String, TenantFile), String> {
        let Some(path) = &self.file else { return Ok(<_>::default()) };
        let name = self.path();
        let size = std::fs::metadata(path).map_err(|error| format!("{name}: {error}"))?.len();
        if size > FILE_BYTES_MAX {
            return Err(format!("{name}: {size} bytes are more than {FILE_BYTES_MAX}"));
        }
        let mut text = std::fs::read_to_string(path).map_err(|error| format!("{name}: {error}"))?;
        if self.config.expand_env {
            text = expand_env(&name, &text, &crate::environment).map_err(|error| error.to_string())?;
        }
        let file = tenant_limits(&name, &text, &self.config);
        let file = file.map_err(|error| error.to_string())?;
        Ok((text, file))
    }

    fn take_over(&self, text: String, file: TenantFile) {
        let TenantFile { tenants, without_effect, send_nothing } = file;
        let (mut own, mut unknown) = (HashMap::new(), Vec::new());
        let mut shared = Shared::default();
        let mut limits = |configured| {
            let mut limits = limits(&self.config, configured);
            limits.generator = shared.one_of(limits.generator);
            limits
        };
        let others = tenants.get(WILDCARD).map(&mut limits);
        for (name, configured) in tenants.iter().filter(|(name, _)| *name != WILDCARD) {
            match TenantId::new(name) {
                Ok(tenant) => drop(own.insert(tenant, limits(configured))),
                Err(error) => unknown.push(format!("{name:?} ({error})")),
            }
        }
        let path = self.path();
        tracing::info!(path, tenants = tenants.len(), "tenants' limits are read");
        if !unknown.is_empty() {
            tracing::warn!(path, names = unknown.join(", "), "no tenant can have these names");
        }
        if !without_effect.is_empty() {
            let keys = without_effect.join(", ");
            tracing::warn!(path, keys, "these settings have no effect in this version");
        }
        if !send_nothing.is_empty() {
            tracing::warn!(
                path,
                tenants = send_nothing.join(", "),
                "these tenants can send nothing: an entry replaces the defaults, and theirs leaves out \
                 ingestion.rate_limit_bytes or ingestion.burst_size_bytes; set both"
            );
        }
        // Where there are forwarders, they say and count which of them are missing.
        let wanted: BTreeSet<&str> =
            tenants.values().flat_map(|configured| &configured.forwarders).map(String::as_str).collect();
        if self.config.distributor.forwarders.is_empty() && !wanted.is_empty() {
            let forwarders = wanted.into_iter().collect::<Vec<_>>().join(", ");
            tracing::warn!(
                path,
                forwarders,
                "tenants have forwarders, and distributor.forwarders has none; nothing is forwarded"
            );
        }
        self.overrides.replace(own, others);
        *self.state.lock() = State { text, tenants, problem: None };
    }

    /// What a tenant might set for itself, as the operator set it.
    pub(crate) fn what_users_may_set(&self, tenant: &TenantId) -> Value {
        self.configured(tenant.as_str(), user_json)
    }

    /// What a tenant's own settings of the metrics-generator (`metrics_generator` of its document) change.
    ///
    /// # Errors
    /// If they cannot be meant, or not over what the operator set.
    pub(crate) fn change_of_generator(
        &self,
        tenant: &TenantId,
        block: &Value,
    ) -> Result<GeneratorChange, String> {
        let own = own_generator(block, &self.below_own(tenant))?;
        Ok(generator::of_own(&self.config, &own, self.config.is_2x()))
    }

    /// The process' settings with those over them that the operator set for the tenant, as far as they decide which labels
    /// there are.
    fn below_own(&self, tenant: &TenantId) -> MetricsGenerator {
        let mut process = self.config.metrics_generator.clone();
        let spans = &mut process.processor.span_metrics;
        self.configured(tenant.as_str(), |configured| {
            let of_tenant = &configured.metrics_generator.processor.span_metrics;
            if let Some(dimensions) = &of_tenant.dimensions {
                spans.dimensions.clone_from(dimensions);
            }
            if let Some(mappings) = &of_tenant.dimension_mappings {
                spans.dimension_mappings.clone_from(mappings);
            }
        });
        process
    }

    /// Names of the forwarders that there are.
    pub(crate) fn forwarders(&self) -> Vec<String> {
        self.config.distributor.forwarders.iter().map(|forwarder| forwarder.name.clone()).collect()
    }

    /// Whether the operator set, for this tenant, something that it might set itself. Processors do not count.
    pub(crate) fn sets_what_users_may(&self, tenant: &TenantId) -> bool {
        let without_processors = |mut shown: Value| {
            shown["metrics_generator"]["processors"] = Value::Null;
            shown
        };
        let set = without_processors(self.what_users_may_set(tenant));
        let as_unset =
            [unset_limits(), Configured::default()].map(|limits| without_processors(user_json(&limits)));
        let differs = |key: &str| as_unset.iter().all(|unset| unset[key] != set[key]);
        ["forwarders", "cost_attribution", "metrics_generator"].into_iter().any(differs)
    }

    /// Asks about what is configured for a tenant.
    fn configured<T>(&self, tenant: &str, ask: impl FnOnce(&Configured) -> T) -> T {
        let state = self.state.lock();
        let own = state.tenants.get(tenant).or_else(|| state.tenants.get(WILDCARD));
        ask(own.unwrap_or(&self.config.overrides.defaults))
    }

    /// For `/status/runtime_config`.
    pub(crate) fn runtime_yaml(&self, diff: bool) -> String {
        runtime_yaml(&self.config.overrides.defaults, &self.state.lock().tenants, diff)
    }

    /// For `/status/overrides`.
    pub(crate) fn tenants(&self) -> Vec<TenantOverrides> {
        let state = self.state.lock();
        let of =
            |name: &String| TenantOverrides { name: name.clone(), runtime: true, user_configurable: false };
        state.tenants.keys().map(of).collect()
    }

    /// For `/status/overrides/{tenant}`.
    pub(crate) fn of_tenant(&self, tenant: &str) -> TenantLimits {
        let runtime = self.configured(tenant, limits_yaml);
        let is_general = !self.state.lock().tenants.contains_key(tenant);
        TenantLimits { user_configurable: String::new(), runtime, is_general }
    }

    /// Appends metrics in Prometheus's text format, by Tempo's names.
    pub(crate) fn write_metrics(&self, out: &mut String) {
        let state = self.state.lock();
        // Writing to a string cannot fail.
        let mut gauge = |name: &str, help: &str| {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge");
        };
        gauge("tempo_limits_defaults", "Limits of tenants without their own.");
        for (name, value) in metric_values(&self.config.overrides.defaults) {
            let _ = writeln!(out, "tempo_limits_defaults{{limit_name=\"{name}\"}} {value}");
        }
        let mut gauge = |name: &str, help: &str| {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge");
        };
        gauge("tempo_limits_overrides", "Limits of single tenants.");
        for (tenant, limits) in &state.tenants {
            // A name that no tenant can have may have any character.
            let tenant = tenant.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            for (name, value) in metric_values(limits) {
                let _ = writeln!(
                    out,
                    "tempo_limits_overrides{{limit_name=\"{name}\",user=\"{tenant}\"}} {value}"
                );
            }
        }
        if self.file.is_some() {
            let name = "tempo_runtime_config_last_reload_successful";
            let good = u8::from(state.problem.is_none());
            let _ = writeln!(
                out,
                "# HELP {name} Whether the file of tenants could be used when it was last read.\n# TYPE {name} gauge\n\
                 {name} {good}"
            );
        }
    }
}

/// The limits that Tempo has metrics of.
fn metric_values(limits: &Configured) -> [(&'static str, u64); 9] {
    let (ingestion, read, compaction) = (&limits.ingestion, &limits.read, &limits.compaction);
    [
        ("max_local_traces_per_user", ingestion.max_traces_per_user),
        ("max_global_traces_per_user", ingestion.max_global_traces_per_user),
        ("ingestion_rate_limit_bytes", ingestion.rate_limit_bytes.bytes()),
        ("ingestion_burst_size_bytes", ingestion.burst_size_bytes.bytes()),
        ("max_bytes_per_trace", limits.global.max_bytes_per_trace.bytes()),
        ("max_bytes_per_tag_values_query", read.max_bytes_per_tag_values_query.bytes()),
        ("max_blocks_per_tag_values_query", u64::from(read.max_blocks_per_tag_values_query)),
        ("block_retention", compaction.block_retention.as_std().as_secs()),
        ("compaction_window", compaction.compaction_window.as_std().as_secs()),
    ]
}

/// From what is configured for a tenant to what the parts ask.
fn limits(config: &Config, configured: &Configured) -> Limits {
    let ingestion = &configured.ingestion;
    let or = |own: u64, all: u64| if own == 0 { all } else { own };
    let attribute = or(ingestion.max_attribute_bytes, config.distributor.max_attribute_bytes);
    Limits {
        rate_is_global: ingestion.rate_strategy == RateStrategy::Global,
        rate_limit_bytes: ingestion.rate_limit_bytes.bytes(),
        burst_size_bytes: ingestion.burst_size_bytes.bytes(),
        max_traces_per_user: ingestion.max_traces_per_user,
        max_global_traces_per_user: ingestion.max_global_traces_per_user,
        max_attribute_bytes: usize::try_from(attribute).unwrap_or(usize::MAX),
        retry_info_enabled: ingestion.retry_info_enabled,
        max_bytes_per_trace: configured.global.max_bytes_per_trace.as_usize(),
        max_search_duration: configured.read.max_search_duration.as_std(),
        max_metrics_duration: configured.read.max_metrics_duration.as_std(),
        block_retention: configured.compaction.block_retention.as_std(),
        compaction_window: configured.compaction.compaction_window.as_std(),
        compaction_disabled: configured.compaction.compaction_disabled,
        forwarders: configured.forwarders.clone(),
        forwarder_queue_size: configured.metrics_generator.forwarder.queue_size as usize,
        forwarder_workers: configured.metrics_generator.forwarder.workers as usize,
        dedicated: settings::dedicated(config, &configured.storage.parquet_dedicated_columns),
        cost_dimensions: Arc::new(configured.cost_attribution.dimensions.clone()),
        cost_max_cardinality: configured.cost_attribution.max_cardinality,
        generator: Arc::new(generator::of_tenant(config, &configured.metrics_generator)),
    }
}

/// Settings of the metrics-generator, each but once: in a file of many tenants most are the same.
#[derive(Debug, Default)]
struct Shared(Vec<Arc<Generator>>);

impl Shared {
    fn one_of(&mut self, generator: Arc<Generator>) -> Arc<Generator> {
        if let Some(known) = self.0.iter().find(|known| **known == generator) {
            return Arc::clone(known);
        }
        if self.0.len() < SHARED_MAX {
            self.0.push(Arc::clone(&generator));
        }
        generator
    }
}

/// What a tenant might set for itself, as the operator set it: the shape is that of `/api/overrides`.
fn user_json(configured: &Configured) -> Value {
    json!({
        "forwarders": configured.forwarders,
        "cost_attribution": {"dimensions": configured.cost_attribution.dimensions},
        "metrics_generator": generator::user_json(&configured.metrics_generator),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(folder: &std::path::Path, defaults: &str) -> anyhow::Result<TenantSettings> {
        let file = folder.join("tenants.yaml");
        let yaml = format!("overrides: {{{defaults}per_tenant_override_config: '{}'}}\n", file.display());
        TenantSettings::open(&Config::from_yaml("tempo.yaml", &yaml)?)
    }

    /// Both spellings of the defaults and of a tenant's entry say the same.
    #[test]
    fn the_scoped_and_the_flat_spelling_mean_the_same() {
        let scoped = [
            "defaults: {ingestion: {rate_limit_bytes: 7, max_traces_per_user: 6, retry_info_enabled: false}, global: \
             {max_bytes_per_trace: 5}, compaction: {block_retention: 4h}}, ",
            "overrides: {a: {ingestion: {rate_strategy: global, rate_limit_bytes: 3, burst_size_bytes: 2, \
             max_attribute_bytes: 9, max_global_traces_per_user: 8, retry_info_enabled: true}, compaction: \
             {block_retention: 1h, compaction_disabled: true, compaction_window: 2h}, storage: \
             {parquet_dedicated_columns: [{scope: span, name: x}]}}}",
        ];
        let flat = [
            "ingestion_rate_limit_bytes: 7, max_traces_per_user: 6, ingestion_retry_info_enabled: false, \
             max_bytes_per_trace: 5, block_retention: 4h, ",
            "overrides: {a: {ingestion_rate_strategy: global, ingestion_rate_limit_bytes: 3, \
             ingestion_burst_size_bytes: 2, ingestion_max_attribute_bytes: 9, max_global_traces_per_user: 8, \
             ingestion_retry_info_enabled: true, block_retention: 1h, compaction_disabled: true, compaction_window: \
             2h, parquet_dedicated_columns: [{scope: span, name: x}]}}",
        ];
        let [scoped, flat] = [scoped, flat].map(|[defaults, tenants]| {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("tenants.yaml"), tenants).unwrap();
            let settings = open(folder.path(), defaults).unwrap();
            let of = |name| settings.overrides.for_tenant(&TenantId::new(name).unwrap());
            (of("a"), of("b"))
        });
        assert_eq!(scoped, flat);
        let (a, b) = scoped;
        let hour = Duration::from_secs(3600);
        assert_eq!((b.rate_limit_bytes, b.burst_size_bytes, b.max_traces_per_user), (7, 30_000_000, 6));
        assert_eq!((b.max_bytes_per_trace, b.block_retention, b.max_attribute_bytes), (5, 4 * hour, 2048));
        assert!(!b.retry_info_enabled && b.dedicated.is_none());
        // The strategy is everyone's; what an entry leaves out is zero.
        assert_eq!((a.rate_is_global, a.rate_limit_bytes, a.burst_size_bytes), (false, 3, 2));
        assert_eq!((a.max_traces_per_user, a.max_global_traces_per_user, a.max_bytes_per_trace), (0, 8, 0));
        assert_eq!((a.block_retention, a.compaction_window, a.max_attribute_bytes), (hour, 2 * hour, 9));
        assert!(a.compaction_disabled && a.retry_info_enabled);
        assert_eq!(a.dedicated.as_ref().unwrap()[0].name, "x");
    }

    #[test]
    fn tenants_with_equal_settings_of_the_generator_share_them() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tenants.yaml");
        let entry =
            "metrics_generator: {processors: [span-metrics], processor: {span_metrics: {dimensions: [x]}}}";
        let text = format!(
            "overrides: {{a: {{{entry}}}, b: {{{entry}, forwarders: []}}, c: {{metrics_generator_processors: [host-info]}}}}"
        );
        std::fs::write(&file, text).unwrap();
        let settings = open(folder.path(), "").unwrap();
        let of = |name| Arc::clone(&settings.overrides.for_tenant(&TenantId::new(name).unwrap()).generator);
        assert!(Arc::ptr_eq(&of("a"), &of("b")) && of("a").processors.span_metrics());
        assert!(of("c").processors.host_info && of("c").span_metrics.dimensions.is_empty());
        assert!(!of("d").processors.any());
        // A change of the file counts without a restart.
        std::fs::write(&file, "overrides: {a: {metrics_generator: {processors: [service-graphs]}}}").unwrap();
        settings.reload();
        assert!(of("a").processors.service_graphs && !of("a").processors.span_metrics());
    }

    #[test]
    fn a_broken_file_keeps_the_last_good_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tenants.yaml");
        let said = open(folder.path(), "").unwrap_err().to_string();
        assert!(said.contains("per_tenant_override_config") && said.contains("tenants.yaml"), "{said}");
        std::fs::write(&file, "overrides: {a: {ingestion: {rate_limit_bytes: 1}}}").unwrap();
        let settings = open(folder.path(), "").unwrap();
        let rate = || settings.overrides.for_tenant(&TenantId::new("a").unwrap()).rate_limit_bytes;
        let metric = |value: u8| {
            let mut out = String::new();
            settings.write_metrics(&mut out);
            out.contains(&format!("\ntempo_runtime_config_last_reload_successful {value}\n"))
        };
        assert!(rate() == 1 && metric(1));
        for broken in ["overrides: {a: {ingestion: {rate_limit: 2}}}", "overrides: [", ""] {
            match broken {
                "" => std::fs::remove_file(&file).unwrap(),
                text => std::fs::write(&file, text).unwrap(),
            }
            settings.reload();
            assert!(rate() == 1 && metric(0), "{broken}");
        }
        std::fs::write(&file, "overrides: {'*': {ingestion: {rate_limit_bytes: 3}}}").unwrap();
        settings.reload();
        assert!(rate() == 3 && metric(1));
        assert!(settings.of_tenant("a").is_general && !settings.of_tenant("*").is_general);
        // The same file again is good again.
        std::fs::write(&file, "overrides: [").unwrap();
        settings.reload();
        assert!(metric(0));
        std::fs::write(&file, "overrides: {'*': {ingestion: {rate_limit_bytes: 3}}}").unwrap();
        settings.reload();
        assert!(rate() == 3 && metric(1));
    }
}
