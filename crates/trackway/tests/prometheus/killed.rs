//! Prometheus or the server is killed in the middle: the totals are right afterwards, and no counter ever goes down.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use trackway_peers::Prometheus;

use super::prometheus;
use super::stage::{
    RANGE, Settings, by, own_metric, push_all, push_until_taken, same, seconds, until_counted, workload,
};
use super::support::{Ports, Server};
use super::truth::{CALL, EDGE, Truth, sums};

const COLLECTIONS: &str = "tempo_metrics_generator_registry_collections_total";
const COUNTERS: [&str; 6] = [
    "traces_spanmetrics_calls_total",
    "traces_spanmetrics_size_total",
    "traces_spanmetrics_latency_bucket",
    "traces_service_graph_request_total",
    "traces_service_graph_request_failed_total",
    "traces_service_graph_request_server_seconds_bucket",
];

/// What was counted is the truth, to the last span, and no series ever went down.
pub(crate) fn right(prometheus: &Prometheus, time: f64, truth: &Truth) {
    let query = |promql: &str| prometheus.query(promql, time);
    for promql in [
        "traces_spanmetrics_calls_total".to_owned(),
        format!("increase(traces_spanmetrics_calls_total[{RANGE}])"),
    ] {
        same(&promql, &by(&CALL, &query(&promql)), &truth.calls(|_| true, |_| 1.0), 1e-9);
    }
    let links = truth.links();
    let metric = "traces_service_graph_request_total";
    same(metric, &by(&EDGE, &query(metric)), &sums(&links, |link| link.labels.to_vec(), |_| 1.0), 0.0);
    let failed = links.iter().filter(|link| link.failed);
    let metric = "traces_service_graph_request_failed_total";
    same(metric, &by(&EDGE, &query(metric)), &sums(failed, |link| link.labels.to_vec(), |_| 1.0), 0.0);
    for counter in COUNTERS {
        assert_eq!(
            prometheus.total(&format!("resets({counter}[{RANGE}])"), time),
            0.0,
            "{counter} went down"
        );
    }
}

/// Waits for so many more collections.
pub(crate) fn until_collected(server: &mut Server, more: f64) {
    let before = own_metric(server, COLLECTIONS);
    server.wait("collections", |server| {
        std::thread::park_timeout(Duration::from_millis(20));
        own_metric(server, COLLECTIONS) >= before + more
    });
}

#[test]
fn nothing_is_lost_while_prometheus_is_away() {
    let Some(mut prometheus) = prometheus("nothing_is_lost_while_prometheus_is_away") else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut server = Settings::to(prometheus.write_url()).start(folder.path(), Ports::free());
    server.expect_warning("receiver does not take samples; they wait in the log");
    let (requests, truth) = workload(3, 600);
    let (first, second) = requests.split_at(requests.len() / 2);
    push_all(&server, first);
    until_collected(&mut server, 2.0);
    prometheus.kill();
    let killed = seconds();
    push_all(&server, second);
    until_collected(&mut server, 4.0);
    let back = seconds();
    prometheus.restart().unwrap();
    let time = until_counted(&mut server, &prometheus, &truth);
    right(&prometheus, time, &truth);
    // Of a series of the first request there is a sample of every collection until then, those too that were taken while
    // nobody was there; and the zero before.
    let service = &Truth::of([first[0].as_slice()]).spans[0].labels();
    let [service, name, kind, status] = service;
    let selector = format!(
        "traces_spanmetrics_calls_total{{service=\"{service}\",span_name=\"{name}\",span_kind=\"{kind}\",status_code=\"{status}\"}}[{RANGE}]"
    );
    let (collected, newest) = collections(&mut server);
    server.wait("that collection", |_| {
        prometheus.total("max(timestamp(traces_spanmetrics_calls_total))", seconds()) >= newest
    });
    let found = prometheus.samples(&selector, newest);
    let samples = &found[0].1;
    assert_eq!(found.len(), 1);
    assert_eq!(samples.len() as f64, collected + 1.0, "{samples:?}");
    let away = samples.iter().filter(|(time, _)| (killed..back).contains(time)).count();
    assert!(away >= 3, "{away} samples between {killed} and {back}: {samples:?}");
    assert!(samples.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{samples:?}");
    assert_eq!(own_metric(&server, "prometheus_remote_storage_samples_dropped_total"), 0.0);
    assert_eq!(own_metric(&server, "prometheus_remote_storage_samples_failed_total"), 0.0);
    assert!(own_metric(&server, "prometheus_remote_storage_samples_retried_total") > 0.0);
    server.stop();
}

/// How many collections there were, and when the last one was.
pub(crate) fn collections(server: &mut Server) -> (f64, f64) {
    let mut found = (0.0, 0.0);
    server.wait("two looks without a collection between them", |server| {
        let collected = own_metric(server, COLLECTIONS);
        found = (collected, own_metric(server, "prometheus_remote_storage_highest_timestamp_in_seconds"));
        own_metric(server, COLLECTIONS) == collected
    });
    found
}

#[test]
fn a_server_that_is_killed_again_and_again_counts_every_span_once() {
    const KILLS: usize = 5;
    let Some(prometheus) = prometheus("a_server_that_is_killed_again_and_again_counts_every_span_once")
    else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    // Longer than a kill and a start may take.
    let settings = Settings { wait: "10s", ..Settings::to(prometheus.write_url()) };
    let ports = Ports::free();
    let (requests, truth) = workload(4, 1200);
    let acknowledged = AtomicUsize::new(0);
    let mut server = settings.start(folder.path(), ports);
    let otlp = server.otlp_http.clone();
    let mut server = std::thread::scope(|scope| {
        let sender = scope.spawn(|| push_until_taken(&otlp, &requests, &acknowledged));
        for kill in 1..=KILLS {
            // In the middle of requests; in the middle of collections.
            let enough = requests.len() * kill / (KILLS + 1);
            server.wait("requests", |_| acknowledged.load(Ordering::Relaxed) >= enough);
            if kill % 2 == 0 {
                until_collected(&mut server, 1.0);
            }
            server.expect_warning("damaged records in the write-ahead log");
            server.check_log();
            server.kill();
            server = settings.start(folder.path(), ports);
        }
        sender.join().unwrap();
        server
    });
    let time = until_counted(&mut server, &prometheus, &truth);
    right(&prometheus, time, &truth);
    server.stop();
}

#[test]
fn what_no_collection_had_before_a_kill_is_counted_after_it() {
    let Some(prometheus) = prometheus("what_no_collection_had_before_a_kill_is_counted_after_it") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (ports, settings) = (Ports::free(), Settings::to(prometheus.write_url()));
    let (requests, truth) = workload(8, 100);
    let mut server = Settings { interval: "5m", ..settings.clone() }.start(folder.path(), ports);
    push_all(&server, &requests);
    // Whether the generator has seen it already, or nothing of it.
    let received = "tempo_metrics_generator_spans_received_total";
    server.wait("that it is seen", |server| own_metric(server, received) > 0.0);
    assert_eq!(own_metric(&server, COLLECTIONS), 0.0);
    server.kill();
    let mut server = settings.start(folder.path(), ports);
    let time = until_counted(&mut server, &prometheus, &truth);
    right(&prometheus, time, &truth);
    server.stop();
}
