//! The file of tenants' own limits (`overrides.per_tenant_override_config`).
//!
//! A tenant's entry replaces the defaults as a whole: what it does not set is Go's zero, not the default. The rate
//! strategy alone is everyone's.

use std::collections::BTreeMap;

use crate::check::Findings;
use crate::effect::keys_without_effect;
use crate::legacy;
use crate::node::{self, NodeValue};
use crate::problem::{ConfigError, Origin, Problem};
use crate::reader::Reader;
use crate::sections::{Limits, Settings};
use crate::table::{Kind, Section, Setting};

/// What the file of tenants' limits says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TenantFile {
    /// Limits by tenant; `*` is for all that are not named.
    pub tenants: BTreeMap<String, Limits>,
    /// Keys in it that are known and do nothing in this version, sorted.
    pub without_effect: Vec<String>,
    /// Tenants whose entry does not set `ingestion.rate_limit_bytes` or `ingestion.burst_size_bytes`: nothing can be sent
    /// for them, as in Tempo, since what an entry leaves out is zero.
    pub send_nothing: Vec<String>,
}

/// The limits that an entry starts from: nothing is set.
pub fn unset_limits() -> Limits {
    Limits::zero()
}

/// Reads the file: limits by tenant, `*` for all that are not named.
///
/// Both spellings are understood. `settings` are the process': they give the rate strategy, and what a tenant's settings of
/// the metrics-generator go over.
pub fn tenant_limits(name: &str, text: &str, settings: &Settings) -> Result<TenantFile, ConfigError> {
    let root = node::parse(name, text)?;
    let mut reader = Reader::default();
    let mut tenants = BTreeMap::new();
    let kind = Kind::Section(Section {
        used: vec![crate::table::Key {
            name: "overrides",
            doc: "",
            kind: Limits::kind,
            default: || crate::table::Item::Null,
        }],
        ignored: &[],
    });
    reader.section(&root, &kind, &mut |_, node, reader| {
        let entries = match &node.value {
            NodeValue::Null => return,
            NodeValue::Map(entries) => entries,
            _ => return reader.expected(node, "a mapping from tenants to their limits"),
        };
        for entry in entries {
            let mut block = entry.node.clone();
            let mut problems: Vec<Problem> = Vec::new();
            let shown = format!("overrides.{}", entry.key);
            legacy::move_flat(&mut block, &[], &shown, &mut problems);
            reader.problems.extend(problems);
            let mut limits = Limits::zero();
            reader.within(&entry.key, |reader| limits.read(&block, reader));
            limits.ingestion.rate_strategy = settings.overrides.defaults.ingestion.rate_strategy;
            tenants.insert(entry.key.clone(), limits);
        }
    });
    if !reader.problems.is_empty() {
        return Err(ConfigError { problems: reader.problems });
    }
    let origins = &reader.origins;
    let mut found = Findings::of(|key| nearest_origin(origins, key));
    for (tenant, limits) in &tenants {
        found.limits(&format!("overrides.{tenant}"), limits, &settings.metrics_generator);
    }
    if !found.problems.is_empty() {
        return Err(ConfigError { problems: found.problems });
    }
    let set: Vec<&str> = reader.origins.keys().map(String::as_str).collect();
    let mut without_effect = Vec::new();
    for tenant in tenants.keys() {
        let above = format!("overrides.{tenant}.");
        let own = set.iter().filter_map(|key| key.strip_prefix(above.as_str()));
        let as_default: Vec<String> = own.map(|key| format!("overrides.defaults.{key}")).collect();
        let as_default = as_default.iter().map(String::as_str).collect();
        let found = keys_without_effect(&as_default);
        without_effect.extend(found.iter().map(|key| key.replacen("overrides.defaults.", &above, 1)));
    }
    let is_mute = |limits: &Limits| {
        limits.ingestion.rate_limit_bytes.bytes() == 0 || limits.ingestion.burst_size_bytes.bytes() == 0
    };
    let mute = tenants.iter().filter(|(_, limits)| is_mute(limits));
    let send_nothing = mute.map(|(tenant, _)| tenant.clone()).collect();
    Ok(TenantFile { tenants, without_effect, send_nothing })
}

/// Where a key was set, or the nearest above it.
fn nearest_origin(origins: &BTreeMap<String, Origin>, key: &str) -> Origin {
    let mut key = key;
    loop {
        if let Some(origin) = origins.get(key) {
            return origin.clone();
        }
        match key.rfind(['.', '[']) {
            Some(end) => key = &key[..end],
            None => return Origin::Default,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_of_the_generator_are_read_and_checked() {
        let scoped = "overrides: {a: {metrics_generator: {processors: [span-metrics, span-metrics], processor: \
            {span_metrics: {dimensions: [team], enable_target_info: true, intrinsic_dimensions: {span_name: false}, \
            filter_policies: [{include: {match_type: strict, attributes: [{key: kind, value: SPAN_KIND_SERVER}]}}]}, \
            service_graphs: {peer_attributes: []}, host_info: {metric_name: hosts}}}}}";
        let flat = "overrides: {a: {metrics_generator_processors: {span-metrics: {}}, \
            metrics_generator_processor_span_metrics_dimensions: [team], \
            metrics_generator_processor_span_metrics_enable_target_info: true, \
            metrics_generator_processor_span_metrics_intrinsic_dimensions: {span_name: false}, \
            metrics_generator_processor_span_metrics_filter_policies: [{include: {match_type: strict, attributes: [{key: \
            kind, value: SPAN_KIND_SERVER}]}}], metrics_generator_processor_service_graphs_peer_attributes: [], \
            metrics_generator_processor_host_info_metric_name: hosts}}";
        let [scoped, flat] =
            [scoped, flat].map(|text| tenant_limits("t", text, &Settings::default()).unwrap());
        assert_eq!(scoped, flat);
        assert_eq!(scoped.without_effect, [""; 0]);
        let generator = &scoped.tenants["a"].metrics_generator;
        assert_eq!(*generator.processors, ["span-metrics"]);
        let (graphs, spans) = (&generator.processor.service_graphs, &generator.processor.span_metrics);
        assert_eq!((&graphs.peer_attributes, &graphs.dimensions), (&Some(Vec::new()), &None));
        assert_eq!(
            (spans.intrinsic_dimensions.span_name, spans.intrinsic_dimensions.service),
            (Some(false), None)
        );

        let broken = "overrides:\n  a:\n    metrics_generator:\n      processor:\n        span_metrics:\n          \
            filter_policies:\n            - include: {match_type: x}\n";
        let said = tenant_limits("t", broken, &Settings::default()).unwrap_err().to_string();
        let key = "overrides.a.metrics_generator.processor.span_metrics.filter_policies[0].include";
        assert!(said.starts_with(&format!("t:7: {key}: invalid match type")), "{said}");
    }

    #[test]
    fn workers_have_a_limit() {
        for (workers, refused) in [(0, false), (256, false), (257, true), (100_000_000, true)] {
            let text =
                format!("overrides: {{a: {{metrics_generator: {{forwarder: {{workers: {workers}}}}}}}}}");
            let read = tenant_limits("tenants.yaml", &text, &Settings::default());
            let key = "overrides.a.metrics_generator.forwarder.workers";
            let keys =
                read.err().map(|error| error.problems.into_iter().map(|problem| problem.key).collect());
            assert_eq!(keys, refused.then(|| vec![key.to_owned()]), "{workers}");
        }
    }
}
