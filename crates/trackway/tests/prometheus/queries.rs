//! Every query of Grafana's service graph view (`clients_and_helm.md` A4), and what the spans say.
//!
//! They are asked at the very time of a collection. There every series has a sample, and every series begins with a zero:
//! `rate` has nothing to extrapolate, and times its range it is the exact number.

use trackway_peers::{Labels, Prometheus};
use trackway_proto::trace::status::StatusCode;

use super::prometheus;
use super::stage::{RANGE, RANGE_SECONDS, Settings, by, own_metric, push_all, same, until_counted, workload};
use super::support::Ports;
use super::truth::{CALL, EDGE, Link, Numbers, Seen, Truth, sums};

/// Sums of numbers with a fraction are added up in another order here.
const ROUNDING: f64 = 1e-9;
/// Upper bounds of the buckets of latencies of spans; and of those between services.
const SPAN_BOUNDS: [f64; 14] =
    [0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192, 16.384];
const FACTOR: f64 = 1.1;
const EDGE_BOUNDS: [f64; 8] = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8];

/// Asks at one time.
struct Asked<'p> {
    prometheus: &'p Prometheus,
    time: f64,
}

impl Asked<'_> {
    /// `promql` with `$__range` in place, as Grafana does it.
    fn query(&self, promql: &str) -> Vec<(Labels, f64)> {
        self.prometheus.query(&promql.replace("$__range", RANGE), self.time)
    }

    /// What was counted, out of a query for a rate.
    fn counted(&self, labels: &[&str], promql: &str) -> Numbers {
        let mut found = by(labels, &self.query(promql));
        found.values_mut().for_each(|value| *value *= RANGE_SECONDS);
        found
    }

    fn same_rate(&self, labels: &[&str], promql: &str, wanted: &Numbers) {
        same(promql, &self.counted(labels, promql), wanted, ROUNDING);
    }
}

fn pair(link: &Link) -> Vec<String> {
    link.labels[..2].to_vec()
}

/// Calls, latencies and sizes by all labels: the last values, and their buckets.
fn every_series_of_spans(asked: &Asked<'_>, truth: &Truth) {
    let all = |what: fn(&Seen) -> f64| truth.calls(|_| true, what);
    for (metric, wanted) in [
        ("traces_spanmetrics_calls_total", all(|_| 1.0)),
        ("traces_spanmetrics_latency_count", all(|_| 1.0)),
        ("traces_spanmetrics_latency_sum", all(|span| span.seconds)),
        ("traces_spanmetrics_size_total", all(Seen::size)),
    ] {
        let by_call = format!("sum by ({}) ({metric})", CALL.join(", "));
        same(metric, &by(&CALL, &asked.query(&by_call)), &wanted, ROUNDING);
        asked.same_rate(&CALL, &format!("sum by ({}) (rate({metric}[$__range]))", CALL.join(", ")), &wanted);
    }
    for bound in SPAN_BOUNDS {
        let wanted = truth.calls(|_| true, |span| f64::from(u8::from(span.seconds <= bound)));
        let bucket = format!("traces_spanmetrics_latency_bucket{{le=\"{bound}\"}}");
        same(&bucket, &by(&CALL, &asked.query(&bucket)), &wanted, 0.0);
    }
}

/// The edges by all labels.
fn every_series_of_edges(asked: &Asked<'_>, links: &[Link]) {
    let all = |what: fn(&Link) -> f64| sums(links, |link| link.labels.to_vec(), what);
    for (metric, wanted) in [
        ("total", all(|_| 1.0)),
        ("server_seconds_count", all(|_| 1.0)),
        ("server_seconds_sum", all(|link| link.server_seconds)),
        ("client_seconds_count", all(|_| 1.0)),
        ("client_seconds_sum", all(|link| link.client_seconds)),
    ] {
        let metric = format!("traces_service_graph_request_{metric}");
        same(&metric, &by(&EDGE, &asked.query(&metric)), &wanted, ROUNDING);
    }
    for bound in EDGE_BOUNDS {
        for (side, seconds) in [
            ("server", (|link| link.server_seconds) as fn(&Link) -> f64),
            ("client", |link| link.client_seconds),
        ] {
            let within = |link: &Link| f64::from(u8::from(seconds(link) <= bound));
            let wanted = sums(links, |link| link.labels.to_vec(), within);
            let bucket = format!("traces_service_graph_request_{side}_seconds_bucket{{le=\"{bound}\"}}");
            same(&bucket, &by(&EDGE, &asked.query(&bucket)), &wanted, 0.0);
        }
    }
}

/// What the tab asks to draw the graph.
fn service_graph(asked: &Asked<'_>, links: &[Link]) {
    let failed: Vec<Link> = links.iter().filter(|link| link.failed).cloned().collect();
    assert!(!failed.is_empty() && failed.len() < links.len());
    let buckets = |link: &Link| {
        let within = EDGE_BOUNDS.iter().filter(|bound| link.server_seconds <= **bound).count();
        // That without a bound is one more.
        (within + 1) as f64
    };
    for (metric, wanted) in [
        ("server_seconds_sum", sums(links, pair, |link| link.server_seconds)),
        ("server_seconds_bucket", sums(links, pair, buckets)),
        ("total", sums(links, pair, |_| 1.0)),
        ("failed_total", sums(&failed, pair, |_| 1.0)),
    ] {
        let metric = format!("traces_service_graph_request_{metric}");
        let rate = format!("sum by (client, server) (rate({metric}[$__range]))");
        asked.same_rate(&EDGE[..2], &rate, &wanted);
        let group = format!("group by (client, connection_type, server) ({metric})");
        let of = if metric.contains("failed") { &failed[..] } else { links };
        let mut wanted = sums(of, |link| link.labels.to_vec(), |_| 1.0);
        wanted.values_mut().for_each(|value| *value = 1.0);
        same(&group, &by(&EDGE, &asked.query(&group)), &wanted, 0.0);
    }
    // A filter for one service, as the tab writes it.
    let service = &links.iter().find(|link| link.labels[2].is_empty()).unwrap().labels[0];
    let metric = "traces_service_graph_request_total";
    let rate = format!(
        "sum by (client, server) (rate({metric}{{client=\"{service}\"}}[$__range]) OR rate({metric}{{server=\"{service}\"}}[$__range]))"
    );
    let of_service = links.iter().filter(|link| link.labels[..2].contains(service));
    asked.same_rate(&EDGE[..2], &rate, &sums(of_service, pair, |_| 1.0));
    let kinds = sums(links, |link| vec![link.labels[2].clone()], |_| 1.0);
    assert_eq!(kinds.len(), 4, "the workload has edges of every kind: {kinds:?}");
}

/// The five largest of a query, each with its true number.
fn topk(asked: &Asked<'_>, promql: &str, wanted: &Numbers) -> Vec<String> {
    let found = asked.counted(&["span_name"], promql);
    let of_names: Numbers = wanted
        .iter()
        .filter(|(key, _)| found.contains_key(*key))
        .map(|(key, value)| (key.clone(), *value))
        .collect();
    same(promql, &found, &of_names, ROUNDING);
    let mut values: Vec<f64> = wanted.values().copied().collect();
    values.sort_by(|a, b| b.total_cmp(a));
    values.truncate(5);
    let mut top: Vec<f64> = of_names.values().copied().collect();
    top.sort_by(|a, b| b.total_cmp(a));
    assert_eq!(top, values, "{promql}");
    found.into_keys().flatten().collect()
}

fn name_of(span: &Seen) -> Vec<String> {
    vec![span.name.clone()]
}

/// What the table beside the graph asks for; the names with most calls.
fn table(asked: &Asked<'_>, truth: &Truth) -> Vec<String> {
    let served = truth.spans.iter().filter(|span| span.is_served());
    let rate = "topk(5, sum(rate(traces_spanmetrics_calls_total{span_kind=\"SPAN_KIND_SERVER\"}[$__range])) by (span_name))";
    let names = topk(asked, rate, &sums(served, name_of, |_| 1.0));
    let matched = names.iter().map(|name| pattern(name)).collect::<Vec<_>>().join("|");
    let is_error = |span: &&Seen| span.status == StatusCode::Error && names.contains(&span.name);
    let errors = format!(
        "topk(5, sum(rate(traces_spanmetrics_calls_total{{status_code=\"STATUS_CODE_ERROR\",\
         span_name=~\"{matched}\"}}[$__range])) by (span_name))"
    );
    topk(asked, &errors, &sums(truth.spans.iter().filter(is_error), name_of, |_| 1.0));
    names
}

/// A name within a regular expression within a text of PromQL.
fn pattern(name: &str) -> String {
    name.replace('{', "\\\\{").replace('}', "\\\\}")
}

/// The value that this part of all are not above.
fn quantile(sorted: &[f64], part: f64) -> f64 {
    let rank = (part * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

/// Asks for the latency that a tenth of a name's spans are above. `promql` has `NAME` for it; `is_near` holds what is found
/// against all latencies.
fn quantiles(
    asked: &Asked<'_>,
    truth: &Truth,
    names: &[String],
    promql: &str,
    is_near: impl Fn(f64, &[f64]) -> bool,
) {
    for name in names {
        let promql = promql.replace("NAME", &pattern(name));
        let found = asked.query(&promql);
        assert_eq!(found.len(), 1, "{promql}");
        let all = truth.latencies(|span| span.name == *name);
        let (found, wanted) = (found[0].1, quantile(&all, 0.9));
        assert!(is_near(found, &all), "{promql}: {found} where {wanted} is true");
    }
}

const CLASSIC_QUANTILE: &str = "histogram_quantile(.9, sum(rate(traces_spanmetrics_latency_bucket{span_name=~\"NAME\"}[$__range])) by (le))";

/// Whether this and the true value are in one bucket.
fn in_one_bucket(found: f64, all: &[f64]) -> bool {
    let wanted = quantile(all, 0.9);
    let upper = SPAN_BOUNDS.partition_point(|bound| *bound < wanted);
    let lower = if upper == 0 { 0.0 } else { SPAN_BOUNDS[upper - 1] };
    (lower..=SPAN_BOUNDS[upper] * (1.0 + ROUNDING)).contains(&found)
}

/// At any other time `rate` takes it that a series goes on counting after its last sample as it did between its samples:
/// here for up to half a second, of the time that it has samples of.
fn between_collections(prometheus: &Prometheus, time: f64, truth: &Truth) {
    let later = 0.5;
    let metric = "traces_spanmetrics_calls_total";
    let wanted = truth.calls(|_| true, |_| 1.0);
    let asked = Asked { prometheus, time: time + later };
    let found = asked.counted(&CALL, &format!("rate({metric}[$__range])"));
    for (labels, samples) in prometheus.samples(&format!("{metric}[{RANGE}]"), time) {
        let key: Vec<String> = CALL.iter().map(|label| labels[*label].clone()).collect();
        let (first, last) = (samples[0], samples[samples.len() - 1]);
        assert!(first.1 == 0.0 && last.0 == time, "{labels:?} begins with {first:?} and ends with {last:?}");
        let (found, wanted) = (found[&key], wanted[&key]);
        // Seconds since 1970 are exact to less than a microsecond only.
        let most = wanted * (1.0 + (later + 1e-6) / (last.0 - first.0 - 1e-6));
        assert!(
            found >= wanted * (1.0 - ROUNDING) && found <= most * (1.0 + ROUNDING),
            "{labels:?}: {found} for {wanted}"
        );
    }
}

#[test]
fn every_query_of_grafana_gets_the_numbers_that_the_spans_say() {
    let Some(prometheus) = prometheus("every_query_of_grafana_gets_the_numbers_that_the_spans_say") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings::to(prometheus.write_url());
    let mut server = settings.start(folder.path(), Ports::free());
    let (requests, truth) = workload(1, 1500);
    push_all(&server, &requests);
    let time = until_counted(&mut server, &prometheus, &truth);
    let asked = Asked { prometheus: &prometheus, time };
    let links = truth.links();
    every_series_of_spans(&asked, &truth);
    every_series_of_edges(&asked, &links);
    service_graph(&asked, &links);
    let names = table(&asked, &truth);
    quantiles(&asked, &truth, &names, CLASSIC_QUANTILE, in_one_bucket);
    between_collections(&prometheus, time, &truth);
    // Grafana asks whether there are native histograms.
    assert!(prometheus.series("traces_service_graph_request_server_seconds").is_empty());
    for refused in [
        "prometheus_remote_storage_samples_failed_total",
        "prometheus_remote_storage_samples_dropped_total",
        "tempo_metrics_generator_spans_discarded_total",
    ] {
        assert_eq!(own_metric(&server, refused), 0.0, "{refused}");
    }
    server.stop();
}

#[test]
fn native_histograms_and_exemplars_lead_to_the_truth() {
    let Some(prometheus) = prometheus("native_histograms_and_exemplars_lead_to_the_truth") else { return };
    let folder = tempfile::tempdir().unwrap();
    let settings =
        Settings { tenant: "generate_native_histograms: both", ..Settings::to(prometheus.write_url()) };
    let mut server = settings.start(folder.path(), Ports::free());
    let (requests, truth) = workload(2, 300);
    push_all(&server, &requests);
    let time = until_counted(&mut server, &prometheus, &truth);
    let asked = Asked { prometheus: &prometheus, time };
    let links = truth.links();
    assert!(!prometheus.series("traces_service_graph_request_server_seconds").is_empty());
    let counts = "histogram_count(traces_service_graph_request_server_seconds)";
    same(counts, &by(&EDGE, &asked.query(counts)), &sums(&links, |link| link.labels.to_vec(), |_| 1.0), 0.0);
    let total = "histogram_sum(traces_spanmetrics_latency)";
    same(total, &by(&CALL, &asked.query(total)), &truth.calls(|_| true, |span| span.seconds), ROUNDING);
    // Of native histograms `rate` does not see that they begin with a zero, and takes it that they began half an interval
    // before: of a series of five samples that is an eighth.
    let pairs = "histogram_count(sum by (client, server) (rate(traces_service_graph_request_server_seconds[$__range])))";
    same(pairs, &asked.counted(&EDGE[..2], pairs), &sums(&links, pair, |_| 1.0), 0.5);
    // Buckets grow by 1.1 at the most: the true value and what stands for it are in one.
    let names = table(&asked, &truth);
    let last = "histogram_quantile(.9, sum(traces_spanmetrics_latency{span_name=~\"NAME\"}))";
    quantiles(&asked, &truth, &names, last, |found, all| {
        (found / quantile(all, 0.9)).ln().abs() <= FACTOR.ln()
    });
    // As Grafana asks, with a little more of those series that began later.
    let rate = "histogram_quantile(.9, sum(rate(traces_spanmetrics_latency{span_name=~\"NAME\"}[$__range])))";
    quantiles(&asked, &truth, &names, rate, |found, all| {
        (quantile(all, 0.88) / FACTOR..=quantile(all, 0.92) * FACTOR).contains(&found)
    });
    // The classic ones are there besides.
    quantiles(&asked, &truth, &names, CLASSIC_QUANTILE, in_one_bucket);
    exemplars(&prometheus, &server, &truth, time);
    server.stop();
}

fn exemplars(prometheus: &Prometheus, server: &super::support::Server, truth: &Truth, time: f64) {
    let traces = truth.traces();
    for metric in ["traces_spanmetrics_latency_bucket", "traces_service_graph_request_server_seconds_bucket"]
    {
        let found = prometheus.exemplars(metric, time - 600.0, time + 600.0);
        assert!(found.len() > 20, "{metric}: {} exemplars", found.len());
        for (place, exemplar) in found.iter().enumerate() {
            let names: Vec<&String> = exemplar.labels.keys().collect();
            assert_eq!(names, ["traceID"], "{exemplar:?}");
            let trace = u128::from_str_radix(&exemplar.labels["traceID"], 16).unwrap();
            assert!(traces.contains(&trace.to_be_bytes()[..]), "{exemplar:?}");
            let upper = exemplar.series["le"].replace("+Inf", "inf");
            assert!(exemplar.value <= upper.parse::<f64>().unwrap(), "{exemplar:?}");
            let is_of_span = |span: &Seen| {
                span.trace == trace.to_be_bytes()
                    && span.seconds == exemplar.value
                    && span.name == exemplar.series["span_name"]
            };
            assert!(metric.contains("graph") || truth.spans.iter().any(is_of_span), "{exemplar:?}");
            // Looked up from the exemplar, as somebody does who clicks on it.
            assert!(place % 16 > 0 || server.trace(trace).is_some(), "{exemplar:?}");
        }
    }
}
