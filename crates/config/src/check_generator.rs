//! What is wrong with the metrics-generator's settings: the process', a tenant's in a file, and a tenant's own.
//!
//! What must stay true: a rule about a key stands here once, whoever sets the key. Where Tempo has the rule for what tenants
//! set themselves, the words are Tempo's.

use std::collections::BTreeMap;

use crate::check::{Findings, PROCESSORS};
use crate::config::Config;
use crate::duration::GoDuration;
use crate::policy_scalar::PolicyScalar;
use crate::sections::{
    DimensionMapping, FilterPolicy, GeneratorLimits, MetricsGenerator, PolicyAttribute, PolicyMatch,
    ProcessorLimits, subprocessor,
};

/// Labels of span metrics that need no attribute; a dimension of that name gets `__` before it.
const INTRINSIC: [&str; 5] = ["service", "span_name", "span_kind", "status_code", "status_message"];
const KINDS: [&str; 6] = [
    "SPAN_KIND_UNSPECIFIED",
    "SPAN_KIND_INTERNAL",
    "SPAN_KIND_SERVER",
    "SPAN_KIND_CLIENT",
    "SPAN_KIND_PRODUCER",
    "SPAN_KIND_CONSUMER",
];
const STATUSES: [&str; 3] = ["STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"];
/// Most buckets of a histogram: each is a series.
const MAX_BUCKETS: usize = 256;
/// Longest interval of collection.
const MAX_INTERVAL: GoDuration = GoDuration::from_secs(3600);
/// Longest that something may be waited for or taken back; what tenants set themselves has narrower limits, as in Tempo.
const MAX_TIME: GoDuration = GoDuration::from_secs(7 * 24 * 3600);

/// Whether Prometheus takes this name for a label.
pub fn is_label_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

impl Config {
    pub(crate) fn check_generator(&self, found: &mut Findings<'_>) {
        let generator = &self.metrics_generator;
        found.generator_processors(generator);
        found.generator_registry(generator);
        let slack = generator.metrics_ingestion_time_range_slack;
        found.duration(
            "metrics_generator.metrics_ingestion_time_range_slack",
            slack,
            GoDuration::ZERO,
            MAX_TIME,
        );
        let deadline = self.remote_write_flush_deadline();
        let key = "metrics_generator.storage.remote_write_flush_deadline";
        found.duration(key, deadline, GoDuration::ZERO, MAX_INTERVAL);
        let compression = &generator.storage.wal.wal_compression;
        let key = "metrics_generator.storage.wal.wal_compression";
        found.one_of(key, compression, &["", "none", "snappy", "zstd"]);
        found.endpoints(&generator.storage.remote_write);
        for (key, value, least) in [
            ("trackway.generator.max_bytes", self.trackway.generator.max_bytes, 1 << 20),
            ("trackway.generator.wal_max_bytes", self.trackway.generator.wal_max_bytes, 16 << 20),
        ] {
            if value.bytes() < least {
                found.add(key, format!("{key} is {value}; use at least {}MiB", least >> 20));
            }
        }
    }
}

impl Findings<'_> {
    fn generator_processors(&mut self, generator: &MetricsGenerator) {
        let key = |name: &str| format!("metrics_generator.processor.{name}");
        let graphs = &generator.processor.service_graphs;
        let wait = graphs.wait;
        self.duration(&key("service_graphs.wait"), wait, GoDuration::from_millis(1), MAX_INTERVAL);
        if graphs.max_items == 0 {
            let key = key("service_graphs.max_items");
            self.add(&key, format!("{key} is 0; no call would be seen, use 10000"));
        }
        self.buckets(&key("service_graphs.histogram_buckets"), &graphs.histogram_buckets);
        self.dimensions(&key("service_graphs"), &graphs.dimensions, &[]);
        self.policies(&key("service_graphs.filter_policies"), &graphs.filter_policies);
        let spans = &generator.processor.span_metrics;
        self.buckets(&key("span_metrics.histogram_buckets"), &spans.histogram_buckets);
        self.mappings(&key("span_metrics.dimension_mappings"), &spans.dimension_mappings);
        self.dimensions(&key("span_metrics"), &spans.dimensions, &spans.dimension_mappings);
        self.policies(&key("span_metrics.filter_policies"), &spans.filter_policies);
        for name in spans.subprocessors.keys().filter(|name| subprocessor(name).is_none()) {
            let key = key("span_metrics.subprocessors");
            self.add(&key, format!("{key} has \"{name}\"; use latency, count or size"));
        }
        let host = &generator.processor.host_info;
        self.host_info(&key("host_info"), Some(&host.host_identifiers), Some(&host.metric_name));
    }

    fn generator_registry(&mut self, generator: &MetricsGenerator) {
        let key = |name: &str| format!("metrics_generator.registry.{name}");
        let registry = &generator.registry;
        let second = GoDuration::from_secs(1);
        self.duration(&key("collection_interval"), registry.collection_interval, second, MAX_INTERVAL);
        self.duration(&key("stale_duration"), registry.stale_duration, second, MAX_TIME);
        if registry.stale_duration < registry.collection_interval {
            let (key, interval) = (key("stale_duration"), key("collection_interval"));
            let message = format!(
                "{key} is {}, shorter than {interval} ({}); series would end before they are sent, raise it",
                registry.stale_duration, registry.collection_interval
            );
            self.add(&key, message);
        }
        for name in registry.external_labels.keys().filter(|name| !is_label_name(name)) {
            let key = key("external_labels");
            self.add(&key, format!("{key} has \"{name}\", which is not a valid Prometheus label name"));
        }
        let tenant = &registry.inject_tenant_id_as;
        if !tenant.is_empty() {
            self.label(&key("inject_tenant_id_as"), tenant);
            if registry.external_labels.contains_key(tenant) {
                let key = key("inject_tenant_id_as");
                let message = format!(
                    "{key} is \"{tenant}\", which metrics_generator.registry.external_labels has too; rename one"
                );
                self.add(&key, message);
            }
        }
        for (name, length) in [
            ("max_label_name_length", registry.max_label_name_length),
            ("max_label_value_length", registry.max_label_value_length),
        ] {
            if length == 0 {
                let key = key(name);
                self.add(&key, format!("{key} is 0; nothing would be left of any label, leave it out"));
            }
        }
    }

    /// What is wrong with a tenant's settings. `process` is what they go over, as far as it is known.
    pub(crate) fn generator_limits(
        &mut self,
        above: &str,
        limits: &GeneratorLimits,
        process: &MetricsGenerator,
    ) {
        let key = |name: &str| format!("{above}.{name}");
        for processor in limits.processors.iter() {
            self.one_of(&key("processors"), processor, PROCESSORS);
        }
        let (interval, slack) = (limits.collection_interval, limits.ingestion_time_range_slack);
        if !interval.is_zero() {
            self.duration(&key("collection_interval"), interval, GoDuration::from_secs(1), MAX_INTERVAL);
        }
        self.duration(&key("ingestion_time_range_slack"), slack, GoDuration::ZERO, MAX_TIME);
        let factor = limits.native_histogram_bucket_factor;
        if factor != 0.0 && factor <= 1.0 {
            let key = key("native_histogram_bucket_factor");
            self.add(&key, format!("{key} is {factor}; it must be greater than 1, such as 1.1"));
        }
        let reset = limits.native_histogram_min_reset_duration;
        let key_reset = key("native_histogram_min_reset_duration");
        self.duration(&key_reset, reset, GoDuration::ZERO, MAX_TIME);
        if !limits.trace_id_label_name.is_empty() {
            self.label(&key("trace_id_label_name"), &limits.trace_id_label_name);
        }
        let names = &limits.span_name_sanitization;
        self.one_of(&key("span_name_sanitization"), names, &["", "dry_run", "enabled"]);
        let key_headers = key("remote_write_headers");
        for name in limits.remote_write_headers.keys() {
            self.header(&key_headers, name);
        }
        self.processor_limits(&key("processor"), &limits.processor, process);
    }

    /// What is wrong with `processor:` of a tenant.
    pub(crate) fn processor_limits(
        &mut self,
        above: &str,
        limits: &ProcessorLimits,
        process: &MetricsGenerator,
    ) {
        let key = |name: &str| format!("{above}.{name}");
        let graphs = &limits.service_graphs;
        if let Some(buckets) = &graphs.histogram_buckets {
            self.buckets(&key("service_graphs.histogram_buckets"), buckets);
        }
        if let Some(dimensions) = &graphs.dimensions {
            self.dimensions(&key("service_graphs"), dimensions, &[]);
        }
        let policies = graphs.filter_policies.as_deref().unwrap_or_default();
        self.policies(&key("service_graphs.filter_policies"), policies);
        let spans = &limits.span_metrics;
        if let Some(buckets) = &spans.histogram_buckets {
            self.buckets(&key("span_metrics.histogram_buckets"), buckets);
        }
        let of_process = &process.processor.span_metrics;
        let mappings = spans.dimension_mappings.as_deref();
        self.mappings(&key("span_metrics.dimension_mappings"), mappings.unwrap_or_default());
        if spans.dimensions.is_some() || mappings.is_some() {
            let dimensions = spans.dimensions.as_deref().unwrap_or(&of_process.dimensions);
            let mappings = mappings.unwrap_or(&of_process.dimension_mappings);
            self.dimensions(&key("span_metrics"), dimensions, mappings);
        }
        let policies = spans.filter_policies.as_deref().unwrap_or_default();
        self.policies(&key("span_metrics.filter_policies"), policies);
        let host = &limits.host_info;
        self.host_info(&key("host_info"), host.host_identifiers.as_deref(), host.metric_name.as_deref());
    }

    fn duration(&mut self, key: &str, value: GoDuration, least: GoDuration, most: GoDuration) {
        if value < least || value > most {
            self.add(key, format!("{key} is {value}; use {least} to {most}"));
        }
    }

    fn label(&mut self, key: &str, name: &str) {
        if !is_label_name(name) {
            self.add(key, format!("{key} \"{name}\" is not a valid Prometheus label name"));
        }
    }

    fn buckets(&mut self, key: &str, buckets: &[f64]) {
        if buckets.is_empty() {
            self.add(key, format!("{key} is empty; name upper bounds in seconds, or leave it out"));
        }
        if buckets.len() > MAX_BUCKETS {
            self.add(key, format!("{key} has {} entries; use {MAX_BUCKETS} at the most", buckets.len()));
        }
        if let Some(bound) = buckets.iter().find(|bound| !bound.is_finite()) {
            self.add(
                key,
                format!("{key} has {bound}; the bucket without bound is there anyway, leave it out"),
            );
        }
        for (place, pair) in buckets.windows(2).enumerate() {
            let &[before, after] = pair else { continue };
            if after <= before {
                let at = place + 1;
                let message = format!(
                    "{key} must be strictly increasing: bucket[{at}]={after} is <= bucket[{place}]={before}"
                );
                return self.add(key, message);
            }
        }
    }

    fn mappings(&mut self, key: &str, mappings: &[DimensionMapping]) {
        for mapping in mappings {
            let name = &mapping.name;
            if name.is_empty() {
                self.add(key, format!("{key}: name cannot be empty"));
            } else if mapping.source_labels.is_empty() {
                let message =
                    format!("{key}: source_labels cannot be empty for mapping with name \"{name}\"");
                self.add(key, message);
            }
        }
    }

    /// Dimensions and mappings become labels, no two the same.
    fn dimensions(&mut self, above: &str, dimensions: &[String], mappings: &[DimensionMapping]) {
        let named = dimensions.iter().map(|name| ("dimensions", name));
        let mapped = mappings.iter().map(|mapping| ("dimension_mappings", &mapping.name));
        let mut seen: BTreeMap<String, (&str, &str)> = BTreeMap::new();
        for (list, name) in named.chain(mapped) {
            let key = format!("{above}.{list}");
            if name.is_empty() && list == "dimensions" {
                self.add(&key, format!("{key} has an empty name; name an attribute, or remove it"));
            }
            if name.is_empty() {
                continue;
            }
            let label = label_of(name);
            if let Some((other_list, other)) = seen.insert(label.clone(), (list, name)) {
                let message = format!(
                    "{key} has \"{name}\" and {above}.{other_list} has \"{other}\", and both would be the label \
                     {label}; keep one"
                );
                self.add(&key, message);
            }
        }
    }

    fn host_info(&mut self, above: &str, identifiers: Option<&[String]>, metric_name: Option<&str>) {
        if identifiers.is_some_and(<[String]>::is_empty) {
            let key = format!("{above}.host_identifiers");
            self.add(
                &key,
                format!("{key} is empty; at least one value must be provided in host_identifiers"),
            );
        }
        let is_name = |name: &str| is_label_name(&name.replace(':', "_"));
        if let Some(name) = metric_name.filter(|name| !is_name(name)) {
            let key = format!("{above}.metric_name");
            self.add(&key, format!("{key} is \"{name}\"; metric_name is invalid, use letters, digits and _"));
        }
    }

    fn policies(&mut self, key: &str, policies: &[FilterPolicy]) {
        for (place, policy) in policies.iter().enumerate() {
            let key = format!("{key}[{place}]");
            let parts = [
                ("include", &policy.include),
                ("include_any", &policy.include_any),
                ("exclude", &policy.exclude),
            ];
            if parts.iter().all(|(_, part)| part.is_none()) {
                let message = format!(
                    "{key}: invalid filter policy; policies must have at least an include, include_any or exclude"
                );
                self.add(&key, message);
            }
            for (name, part) in parts {
                if let Some(part) = part {
                    self.policy_match(&format!("{key}.{name}"), part);
                }
            }
        }
    }

    fn policy_match(&mut self, key: &str, part: &PolicyMatch) {
        let kind = &part.match_type;
        if !["strict", "regex"].contains(&kind.as_str()) {
            return self
                .add(key, format!("{key}: invalid match type \"{kind}\", valid values: strict, regex"));
        }
        if part.attributes.is_empty() {
            self.add(key, format!("{key}.attributes is empty; name an attribute, or remove {key}"));
        }
        for (place, attribute) in part.attributes.iter().enumerate() {
            let key = format!("{key}.attributes[{place}]");
            if let Err(why) = policy_attribute(attribute, kind == "regex") {
                self.add(&key, format!("{key}{why}"));
            }
        }
    }
}

/// The label that a dimension becomes.
fn label_of(name: &str) -> String {
    let label: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if INTRINSIC.contains(&label.as_str()) { format!("__{label}") } else { label }
}

fn policy_attribute(attribute: &PolicyAttribute, is_regex: bool) -> Result<(), String> {
    let key = &attribute.key;
    let scoped = ["resource.", "span."].iter().any(|scope| key.len() > scope.len() && key.starts_with(scope));
    if !scoped && !["kind", "name", "status"].contains(&key.as_str()) {
        return Err(format!(
            ".key: invalid attribute \"{key}\"; use resource.…, span.…, kind, name or status"
        ));
    }
    let text = match &attribute.value {
        PolicyScalar::Text(text) => text,
        other if is_regex || !scoped => {
            let shown = shown(other);
            return Err(format!(".value is {shown}, for {key}; expected a text, in quotes: \"{shown}\""));
        }
        _ => return Ok(()),
    };
    if is_regex {
        return match regex::Regex::new(&format!("^(?:{text})$")) {
            Ok(_) => Ok(()),
            Err(error) => {
                let why = error.to_string();
                let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ");
                Err(format!(".value is \"{text}\", which is no regular expression: {why}"))
            }
        };
    }
    let known: &[&str] = match key.as_str() {
        "kind" => &KINDS,
        "status" => &STATUSES,
        _ => return Ok(()),
    };
    if known.contains(&text.as_str()) {
        return Ok(());
    }
    Err(format!(".value is \"{text}\", which is no {key}; use one of {}", known.join(", ")))
}

fn shown(value: &PolicyScalar) -> String {
    match value {
        PolicyScalar::Text(text) => text.clone(),
        PolicyScalar::Int(number) => number.to_string(),
        PolicyScalar::Float(number) => number.to_string(),
        PolicyScalar::Bool(is) => is.to_string(),
    }
}
