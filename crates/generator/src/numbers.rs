//! What the generator counts of itself, by Tempo's names (`tempo_metrics_generator_*`), and by Prometheus's for remote
//! write (`prometheus_remote_storage_*`, with the tenant), which Tempo has from Prometheus's code.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use trackway_common::TenantId;

use crate::expand::external_labels;
use crate::expose::{self, Format};
use crate::service::{Generator, OfTenant, Sending};
use crate::tenant::Tenant;

/// Most tenants whose counts are shown, those that come first by name.
const SHOWN_TENANTS_MAX: usize = 2000;

/// The lines of one metric, which stand together.
#[derive(Debug)]
struct Lines {
    kind: &'static str,
    help: &'static str,
    lines: Vec<(String, f64)>,
}

#[derive(Debug, Default)]
struct Page(BTreeMap<&'static str, Lines>);

impl Page {
    fn put(
        &mut self,
        kind: &'static str,
        name: &'static str,
        help: &'static str,
        labels: String,
        value: f64,
    ) {
        self.0
            .entry(name)
            .or_insert_with(|| Lines { kind, help, lines: Vec::new() })
            .lines
            .push((labels, value));
    }

    fn write(&self, out: &mut String) {
        for (name, Lines { kind, help, lines }) in &self.0 {
            // Writing to a string cannot fail.
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (labels, value) in lines {
                let _ = writeln!(out, "{name}{{{labels}}} {value}");
            }
        }
    }
}

impl Generator {
    /// Appends the generator's own metrics in Prometheus's text format.
    pub fn write_metrics(&self, out: &mut String) {
        let mut page = Page::default();
        for of in self.all().iter().take(SHOWN_TENANTS_MAX) {
            let tenant = of.tenant.lock();
            put_tenant(&mut page, &tenant);
            put_registry(&mut page, &tenant);
            drop(tenant);
            put_senders(&mut page, of);
        }
        page.write(out);
        let _ = writeln!(
            out,
            "# HELP trackway_metrics_generator_bytes Bytes of series and open edges.\n\
             # TYPE trackway_metrics_generator_bytes gauge\n\
             trackway_metrics_generator_bytes {}",
            self.budget.used()
        );
    }

    /// The metrics of a tenant's spans, for who scrapes them; `None` for a tenant of which none are made.
    pub fn generated(&self, tenant: &TenantId, format: Format) -> Option<String> {
        let of = self.tenants.read().get(tenant).cloned()?;
        let external = external_labels(&self.config.registry, tenant);
        let mut out = String::new();
        let tenant = of.tenant.lock();
        let label = &tenant.limits.generator.trace_id_label;
        expose::write(&mut out, &tenant.registry, &external, label, format);
        Some(out)
    }
}

fn put_tenant(page: &mut Page, tenant: &Tenant) {
    let label = || format!("tenant=\"{}\"", tenant.id);
    let (numbers, edges) = (tenant.numbers, tenant.edge_tally());
    let counters = [
        (
            "tempo_metrics_generator_spans_received_total",
            "Spans that were looked at.",
            numbers.spans_received,
        ),
        ("tempo_metrics_generator_bytes_received_total", "Bytes of these spans.", numbers.bytes_received),
        (
            "tempo_metrics_generator_active_processors_update_failed_total",
            "Processors that could not be made.",
            numbers.update_failed,
        ),
        (
            "tempo_metrics_generator_registry_collections_total",
            "Collections of series.",
            numbers.collections + numbers.collections_failed,
        ),
        (
            "tempo_metrics_generator_registry_collections_failed_total",
            "Collections of series that failed.",
            numbers.collections_failed,
        ),
        ("tempo_metrics_generator_processor_service_graphs_edges", "Edges.", edges.edges),
        (
            "tempo_metrics_generator_processor_service_graphs_expired_edges",
            "Half edges of which nothing was made.",
            edges.expired,
        ),
        (
            "tempo_metrics_generator_processor_service_graphs_dropped_spans",
            "Half edges for which there was no room.",
            edges.dropped_spans,
        ),
        (
            "tempo_metrics_generator_processor_service_graphs_dropped_edges_total",
            "Edges of which a filter left a half out.",
            edges.dropped_edges,
        ),
        (
            "tempo_metrics_generator_processor_service_graphs_dropped_span_side_cache_overflow_total",
            "Halves that a filter left out and that could not be remembered.",
            edges.side_overflow,
        ),
    ];
    for (name, help, value) in counters {
        page.put("counter", name, help, label(), value as f64);
    }
    put_reasons(page, tenant);
    let processors = [
        ("host-info", tenant.host_info.is_some()),
        ("service-graphs", tenant.service_graphs.is_some()),
        ("span-metrics", tenant.span_metrics.is_some()),
    ];
    for (processor, is_active) in processors {
        let (name, help) = ("tempo_metrics_generator_active_processors", "Whether a processor is at work.");
        let labels = format!("{},processor=\"{processor}\"", label());
        page.put("gauge", name, help, labels, f64::from(u8::from(is_active)));
    }
}

fn put_reasons(page: &mut Page, tenant: &Tenant) {
    let (numbers, edges) = (tenant.numbers, tenant.edge_tally());
    let reasons = [
        ("outside_metrics_ingestion_slack", numbers.outside_slack),
        ("span_metrics_filtered", numbers.span_metrics_filtered),
        ("service_graphs_filtered", numbers.service_graphs_filtered),
        ("invalid_utf8", numbers.invalid_utf8 + edges.invalid),
    ];
    for (reason, value) in reasons {
        let name = "tempo_metrics_generator_spans_discarded_total";
        let labels = format!("tenant=\"{}\",reason=\"{reason}\"", tenant.id);
        page.put("counter", name, "Spans that are not counted.", labels, value as f64);
    }
}

fn put_registry(page: &mut Page, tenant: &Tenant) {
    let label = || format!("tenant=\"{}\"", tenant.id);
    let (registry, tally) = (&tenant.registry, tenant.registry.tally);
    let help = "Series and label sets of the registry.";
    let mut put = |kind, name, value: u64| page.put(kind, name, help, label(), value as f64);
    put("gauge", "tempo_metrics_generator_registry_active_series", registry.series() as u64);
    put("gauge", "tempo_metrics_generator_registry_active_series_demand_estimate", registry.series_demand());
    put("gauge", "tempo_metrics_generator_registry_max_active_series", registry.bounds.max_series as u64);
    put("counter", "tempo_metrics_generator_registry_series_added_total", tally.series_added);
    put("counter", "tempo_metrics_generator_registry_series_removed_total", tally.series_removed);
    put("counter", "tempo_metrics_generator_registry_series_limited_total", tally.series_limited);
    put("gauge", "tempo_metrics_generator_registry_active_entities", registry.entities() as u64);
    put("gauge", "tempo_metrics_generator_registry_entity_demand_estimate", registry.demand.estimate());
    put("gauge", "tempo_metrics_generator_registry_max_active_entities", registry.bounds.max_entities as u64);
    put("counter", "tempo_metrics_generator_registry_entities_added_total", tally.entities_added);
    put("counter", "tempo_metrics_generator_registry_entities_removed_total", tally.entities_removed);
    put("counter", "tempo_metrics_generator_registry_entities_limited_total", tally.entities_limited);
    if tenant.shortens() {
        put(
            "counter",
            "tempo_metrics_generator_registry_spans_sanitized_total",
            tenant.numbers.spans_sanitized,
        );
        put(
            "gauge",
            "tempo_metrics_generator_registry_post_sanitization_demand_estimate",
            tenant.shortened_demand(),
        );
    }
    for (name, limited, demand) in registry.cardinality.numbers() {
        let labels = || format!("{},label_name=\"{name}\"", label());
        let counted = "tempo_metrics_generator_registry_label_values_limited_total";
        page.put("counter", counted, "Values of a label that were replaced.", labels(), limited as f64);
        let wanted = "tempo_metrics_generator_registry_label_cardinality_demand_estimate";
        page.put("gauge", wanted, "Values that a label would have without limits.", labels(), demand as f64);
    }
}

fn put_senders(page: &mut Page, of: &OfTenant) {
    let tenant = of.tenant.lock();
    let (id, newest_ms) = (tenant.id.clone(), tenant.before_ms());
    drop(tenant);
    for Sending { receiver, numbers, follower } in &of.sending {
        let endpoint = &receiver.endpoint;
        let labels =
            || format!("tenant=\"{id}\",remote_name=\"{}\",url=\"{}\"", endpoint.name, shown(&endpoint.url));
        let number = |number: &AtomicU64| number.load(Ordering::Relaxed) as f64;
        let dropped = number(&follower.lost) + number(&numbers.too_old);
        let sent_up_to = numbers.sent_up_to.load(Ordering::Relaxed);
        let (counter, gauge) = ("counter", "gauge");
        let all = [
            (counter, "prometheus_remote_storage_samples_total", "Samples sent.", number(&numbers.samples)),
            (
                counter,
                "prometheus_remote_storage_histograms_total",
                "Native histograms sent.",
                number(&numbers.histograms),
            ),
            (
                counter,
                "prometheus_remote_storage_exemplars_total",
                "Exemplars sent.",
                number(&numbers.exemplars),
            ),
            (
                counter,
                "prometheus_remote_storage_samples_failed_total",
                "Samples refused for good.",
                number(&numbers.failed),
            ),
            (
                counter,
                "prometheus_remote_storage_samples_retried_total",
                "Samples sent again.",
                number(&numbers.retried),
            ),
            (
                counter,
                "prometheus_remote_storage_samples_dropped_total",
                "Samples that went unsent.",
                dropped,
            ),
            (counter, "prometheus_remote_storage_bytes_total", "Bytes sent.", number(&numbers.bytes)),
            (
                gauge,
                "prometheus_remote_storage_samples_pending",
                "Samples under way.",
                number(&numbers.pending),
            ),
            (gauge, "prometheus_remote_storage_shards", "Requests at a time.", number(&numbers.shards)),
            (
                gauge,
                "prometheus_remote_storage_queue_highest_sent_timestamp_seconds",
                "When the newest sample that was sent was taken.",
                sent_up_to as f64 / 1000.0,
            ),
            (
                gauge,
                "prometheus_remote_storage_highest_timestamp_in_seconds",
                "When the newest sample was taken.",
                newest_ms as f64 / 1000.0,
            ),
        ];
        for (kind, name, help, value) in all {
            page.put(kind, name, help, labels(), value);
        }
    }
}

/// An address without what logs people in.
fn shown(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.replace(['"', '\\', '\n'], "_") };
    let host = rest.split(['/', '?']).next().unwrap_or(rest);
    let bare = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let path = rest.get(host.len()..).unwrap_or("").split('?').next().unwrap_or("");
    format!("{scheme}://{bare}{path}").replace(['"', '\\', '\n'], "_")
}
