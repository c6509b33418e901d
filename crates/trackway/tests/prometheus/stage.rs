//! A server with the metrics-generator, a workload, and how to wait for what Prometheus gets to know of it.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use trackway_golden::http;
use trackway_loadgen::Workload;
use trackway_peers::{Labels, Prometheus};

use super::support::requests::now;
use super::support::{PATIENCE, Ports, Server};
use super::truth::{Numbers, Truth};

/// A range that takes in everything, as `$__range`, and its seconds.
pub(crate) const RANGE: &str = "1h";
pub(crate) const RANGE_SECONDS: f64 = 3600.0;

/// How a server makes and sends metrics.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) url: String,
    pub(crate) interval: &'static str,
    /// How long one half of an edge waits for the other.
    pub(crate) wait: &'static str,
    /// YAML within `wal:`.
    pub(crate) wal: &'static str,
    /// YAML within `metrics_generator:` of the overrides.
    pub(crate) tenant: &'static str,
}

impl Settings {
    pub(crate) fn to(url: String) -> Self {
        Self { url, interval: "1s", wait: "5s", wal: "", tenant: "" }
    }

    fn yaml(&self, folder: &Path) -> String {
        let Self { url, interval, wait, wal, tenant } = self;
        let folder = folder.display();
        // What is slow to arrive on a busy machine is within the slack still.
        format!(
            "metrics_generator: {{registry: {{collection_interval: {interval}}}, \
             processor: {{service_graphs: {{wait: {wait}}}}}, \
             storage: {{path: {folder}/generator, wal: {{{wal}}}, remote_write: [{{name: prometheus, url: '{url}', \
             queue_config: {{max_backoff: 200ms}}}}]}}}}\n\
             overrides: {{defaults: {{ingestion: {{rate_limit_bytes: 100000000000, \
             burst_size_bytes: 100000000000, max_traces_per_user: 0}}, global: {{max_bytes_per_trace: 0}}, \
             metrics_generator: {{processors: [service-graphs, span-metrics], {tenant}}}}}}}"
        )
    }

    pub(crate) fn start(&self, folder: &Path, ports: Ports) -> Server {
        Server::start_on(folder, ports, &self.yaml(folder))
    }
}

/// The reference workload, over the last seconds; and what is true of it.
pub(crate) fn workload(seed: u64, traces: u64) -> (Vec<Vec<u8>>, Truth) {
    const SECOND: u64 = 1_000_000_000;
    let workload = Workload { seed, traces, start_ns: now() - 8 * SECOND, span_of_time_ns: 5 * SECOND };
    let requests: Vec<Vec<u8>> = workload.requests().map(|request| request.bytes).collect();
    let truth = Truth::of(requests.iter().map(Vec::as_slice));
    (requests, truth)
}

/// Sends requests; all must be taken at once.
pub(crate) fn push_all(server: &Server, requests: &[Vec<u8>]) {
    for body in requests {
        let answer = server.push("application/x-protobuf", body);
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    }
}

/// Sends requests as senders do: two at a time, again and again until the server says that it has them.
pub(crate) fn push_until_taken(otlp: &str, requests: &[Vec<u8>], acknowledged: &AtomicUsize) {
    let waiting: Mutex<Vec<&Vec<u8>>> = Mutex::new(requests.iter().rev().collect());
    let take = || waiting.lock().unwrap().pop();
    let headers = [("content-type".to_owned(), "application/x-protobuf".to_owned())];
    let send = || {
        while let Some(body) = take() {
            while http::request(otlp, "POST", "/v1/traces", &headers, Some(body))
                .map_or(0, |answer| answer.status)
                != 200
            {
                std::thread::park_timeout(Duration::from_millis(5));
            }
            acknowledged.fetch_add(1, Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(send);
        send();
    });
}

/// Unix seconds.
pub(crate) fn seconds() -> f64 {
    now() as f64 / 1e9
}

/// A counter or gauge of the server, summed over its labels.
pub(crate) fn own_metric(server: &Server, name: &str) -> f64 {
    let text = String::from_utf8(server.get("/metrics").body).unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix(name));
    let values = lines.filter(|rest| rest.starts_with([' ', '{']));
    values.map(|rest| rest.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

/// Waits until Prometheus knows of all spans and edges; the time of a collection that has them, all of whose samples have
/// arrived. More than there are fail at once.
pub(crate) fn until_counted(server: &mut Server, prometheus: &Prometheus, truth: &Truth) -> f64 {
    let wanted = [
        ("sum(traces_spanmetrics_calls_total)", truth.spans.len()),
        ("sum(traces_service_graph_request_total)", truth.links().len()),
    ];
    let started = Instant::now();
    for (query, wanted) in wanted {
        let mut found = 0.0;
        while found < wanted as f64 {
            assert!(started.elapsed() < PATIENCE, "{query}: {found}, but there are {wanted}");
            std::thread::park_timeout(Duration::from_millis(50));
            found = prometheus.total(query, seconds());
        }
        assert_eq!(found, wanted as f64, "{query}");
    }
    let newest = || {
        let found = prometheus.query("max(timestamp(traces_spanmetrics_calls_total))", seconds());
        found[0].1
    };
    let time = newest();
    // Samples go in order of time: with one of a later collection all of this are there.
    server.wait("the next collection", |_| {
        std::thread::park_timeout(Duration::from_millis(50));
        newest() > time
    });
    time
}

/// What a query found, by the values of these labels.
pub(crate) fn by(labels: &[&str], found: &[(Labels, f64)]) -> Numbers {
    let mut numbers = Numbers::new();
    for (of, value) in found {
        let key = labels.iter().map(|label| of.get(*label).cloned().unwrap_or_default()).collect();
        assert_eq!(numbers.insert(key, *value), None, "two of {of:?}");
    }
    numbers
}

/// Holds numbers against what they should be, within a relative `tolerance`.
pub(crate) fn same(what: &str, found: &Numbers, wanted: &Numbers, tolerance: f64) {
    let is_near = |(key, wanted): &(&Vec<String>, &f64)| {
        // What is missing is far from everything.
        let found = found.get(*key).copied().unwrap_or(f64::NAN);
        (found - **wanted).abs() <= tolerance * wanted.abs()
    };
    let wrong = wanted.iter().filter(|one| !is_near(one)).map(|(key, wanted)| (key, found.get(key), wanted));
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "{what}: (labels, found, wanted) {wrong:?}");
    let more: Vec<_> = found.keys().filter(|key| !wanted.contains_key(*key)).collect();
    assert!(more.is_empty(), "{what}: nothing is wanted for {more:?}");
}
