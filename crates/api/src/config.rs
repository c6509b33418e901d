//! The limits of questions, with Tempo's names and defaults.

use std::sync::Arc;
use std::time::Duration;

use trackway_common::TenantId;
use trackway_overrides::Overrides;

/// How questions are taken.
#[derive(Clone, Debug)]
pub struct ApiConfig {
    /// Traces found when no `limit` is given (`default_result_limit`).
    pub default_result_limit: u32,
    /// Largest `limit` (`max_result_limit`); 0 for no bound.
    pub max_result_limit: u32,
    /// Spans shown of a spanset when no `spss` is given (`default_spans_per_span_set`).
    pub default_spss: u32,
    /// Largest `spss` (`max_spans_per_span_set`); 0 for no bound.
    pub max_spss: u32,
    /// Longest range of a search (`max_duration`); zero for no bound.
    pub max_search_duration: Duration,
    /// Longest range of a question for series (`metrics.max_duration`); zero for no bound.
    pub max_metrics_duration: Duration,
    /// Most intervals of a series (`metrics.max_intervals`); 0 for no bound.
    pub max_intervals: u64,
    /// Exemplars when a question does not say how many, and the most of them (`metrics.max_exemplars`).
    pub max_exemplars: u32,
    /// Most series in an answer (`metrics.max_response_series`); 0 for no bound.
    pub max_response_series: u32,
    /// How far before now the last interval of a series ends (`query_end_cutoff`).
    pub query_end_cutoff: Duration,
    /// Longest TraceQL query (`max_query_expression_size_bytes`).
    pub max_query_bytes: usize,
    /// What stands before `/api` (`http_api_prefix`); empty or `/prefix`.
    pub http_api_prefix: String,
    /// Whether askers must name their tenant (`multitenancy_enabled`).
    pub multitenancy: bool,
    /// Whether they may name several, as `a|b` (`multi_tenant_queries_enabled`).
    pub multi_tenant_queries_enabled: bool,
    /// How long a question may take (`api_timeout`); `None` for no bound.
    pub query_timeout: Option<Duration>,
    /// What each tenant may do.
    pub overrides: Arc<Overrides>,
    /// The version of Tempo whose answers these are; clients switch features on by it.
    pub tempo_version: String,
    /// The commit this was built from, for `/api/status/buildinfo`.
    pub revision: String,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            default_result_limit: 20,
            max_result_limit: 262_144,
            default_spss: 3,
            max_spss: 100,
            max_search_duration: Duration::from_secs(168 * 3600),
            max_metrics_duration: Duration::from_secs(24 * 3600),
            max_intervals: 10_000,
            max_exemplars: 100,
            max_response_series: 0,
            query_end_cutoff: Duration::ZERO,
            max_query_bytes: 131_072,
            http_api_prefix: String::new(),
            multitenancy: false,
            multi_tenant_queries_enabled: true,
            query_timeout: Some(Duration::from_secs(300)),
            overrides: Arc::new(Overrides::unlimited()),
            tempo_version: "3.0.3".to_owned(),
            revision: String::new(),
        }
    }
}

impl ApiConfig {
    /// The settings for a question to these tenants. Of their own limits the smallest count: each of them is asked.
    pub(crate) fn of(&self, tenants: &[TenantId]) -> Self {
        let limits: Vec<_> = tenants.iter().map(|tenant| self.overrides.for_tenant(tenant)).collect();
        let longest = |own: Vec<Duration>, all: Duration| {
            let of_each = own.into_iter().map(|own| if own.is_zero() { all } else { own });
            of_each.filter(|longest| !longest.is_zero()).min().unwrap_or_default()
        };
        let (searches, metrics) =
            limits.iter().map(|limits| (limits.max_search_duration, limits.max_metrics_duration)).unzip();
        Self {
            max_search_duration: longest(searches, self.max_search_duration),
            max_metrics_duration: longest(metrics, self.max_metrics_duration),
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use trackway_overrides::Limits;

    use super::*;

    #[test]
    fn the_smallest_limit_of_those_who_are_asked_counts() {
        let hours = |hours: u64| Duration::from_secs(3600 * hours);
        let [a, b, c] = ["a", "b", "c"].map(|name| TenantId::new(name).unwrap());
        let own = |search, metrics| Limits {
            max_search_duration: hours(search),
            max_metrics_duration: hours(metrics),
            ..Limits::unlimited()
        };
        let config = ApiConfig { max_metrics_duration: Duration::ZERO, ..ApiConfig::default() };
        config.overrides.replace(HashMap::from([(a.clone(), own(1, 2)), (b.clone(), own(200, 1))]), None);
        let of = |tenants: &[&TenantId]| {
            let config = config.of(&tenants.iter().map(|tenant| (*tenant).clone()).collect::<Vec<_>>());
            (config.max_search_duration, config.max_metrics_duration)
        };
        assert_eq!(of(&[&a]), (hours(1), hours(2)));
        assert_eq!(of(&[&b]), (hours(200), hours(1)));
        assert_eq!(of(&[&c]), (hours(168), hours(0)));
        assert_eq!(of(&[&a, &b, &c]), (hours(1), hours(1)));
    }
}
