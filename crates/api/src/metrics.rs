//! How long requests take, under Tempo's name, so that its dashboards and rules go on working.

use std::collections::HashSet;

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// The bounds of dskit's servers, in seconds.
const BOUNDS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Labels {
    method: &'static str,
    route: String,
    status_code: String,
    ws: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Query {
    tenant: String,
    op: &'static str,
    result: &'static str,
}

/// Tenants whose questions are counted by name; those of more are not.
const TENANTS_MAX: usize = 10_000;

/// The surface's own metrics.
pub(crate) struct Metrics {
    registry: Registry,
    durations: Family<Labels, Histogram, fn() -> Histogram>,
    queries: Family<Query, Counter>,
    tenants: Mutex<HashSet<String>>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let durations = Family::new_with_constructor((|| Histogram::new(BOUNDS)) as fn() -> Histogram);
        let mut registry = Registry::default();
        registry.register(
            "tempo_request_duration_seconds",
            "Time (in seconds) spent serving HTTP requests",
            durations.clone(),
        );
        let queries = Family::default();
        // The library adds `_total`.
        registry.register(
            "tempo_query_frontend_queries",
            "Total queries received per tenant.",
            queries.clone(),
        );
        Self { registry, durations, queries, tenants: Mutex::default() }
    }

    /// Counts a question of a tenant that was answered, or that nobody waited for, if `route` answers any.
    pub(crate) fn asked(&self, route: &str, tenant: &str, status: &str) {
        let result = match status {
            "200" | "success" => "completed",
            "499" | "cancel" => "canceled",
            _ => return,
        };
        let Some(op) = op_of(route) else { return };
        {
            let mut tenants = self.tenants.lock();
            if !tenants.contains(tenant) {
                if tenants.len() >= TENANTS_MAX {
                    return;
                }
                tenants.insert(tenant.to_owned());
            }
        }
        self.queries.get_or_create(&Query { tenant: tenant.to_owned(), op, result }).inc();
    }

    /// Counts a request. `route` and `status` must come from small sets.
    pub(crate) fn observe(&self, method: &'static str, route: &str, status: &str, seconds: f64) {
        let labels = Labels { method, route: route.to_owned(), status_code: status.to_owned(), ws: "false" };
        self.durations.get_or_create(&labels).observe(seconds);
    }

    /// All of them as text.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        match encode(&mut out, &self.registry) {
            Ok(()) => out,
            Err(_) => String::new(), // writing to a string does not fail
        }
    }
}

/// What Tempo calls the questions of a route.
fn op_of(route: &str) -> Option<&'static str> {
    let name = route.rsplit('/').next().unwrap_or(route);
    Some(match name {
        "api_traces_id" | "api_v2_traces_id" => "traces",
        "api_search" | "Search" => "search",
        "api_metrics_query_range" | "api_metrics_query" | "MetricsQueryRange" | "MetricsQueryInstant" => {
            "metrics"
        }
        _ if name.contains("search_tag") || name.starts_with("SearchTag") => "metadata",
        _ => return None,
    })
}

/// The name of a route as dskit makes it: `/api/v2/traces/{id}` is `api_v2_traces_id`.
pub(crate) fn route_name(path: &str) -> String {
    let words = path.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty());
    let name = words.collect::<Vec<_>>().join("_").to_lowercase();
    if name.is_empty() { "root".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted() {
        let metrics = Metrics::new();
        metrics.observe("GET", &route_name("/api/v2/traces/{id}"), "200", 0.02);
        let text = metrics.text();
        let want = "tempo_request_duration_seconds_count{method=\"GET\",route=\"api_v2_traces_id\",status_code=\"200\",ws=\"false\"} 1";
        assert!(text.contains(want), "{text}");
    }
}
