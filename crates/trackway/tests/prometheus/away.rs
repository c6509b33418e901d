//! A receiver that refuses, is deaf or away: order is kept, what is given up is counted, and a stop sends what there is.

use std::time::Duration;

use trackway_peers::Labels;

use super::gate::{Gate, Way};
use super::killed::{collections, right, until_collected};
use super::prometheus;
use super::stage::{RANGE, Settings, by, own_metric, push_all, same, seconds, until_counted, workload};
use super::support::{Ports, Server};
use super::truth::{CALL, EDGE, Truth, sums};

const AWAY: &str = "receiver does not take samples; they wait in the log";
const SENT: &str = "prometheus_remote_storage_samples_total";
const RETRIED: &str = "prometheus_remote_storage_samples_retried_total";
const FAILED: &str = "prometheus_remote_storage_samples_failed_total";
const DROPPED: &str = "prometheus_remote_storage_samples_dropped_total";

/// Changes the gate's way, and waits until so many requests took it.
fn until_taken(server: &mut Server, gate: &Gate, way: Way, requests: usize) {
    gate.set(way);
    server.wait("requests at the gate", |_| gate.taken(way) >= requests);
}

#[test]
fn a_receiver_that_refuses_or_is_not_heard_gets_everything_in_order() {
    let Some(prometheus) = prometheus("a_receiver_that_refuses_or_is_not_heard_gets_everything_in_order")
    else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let gate = Gate::before(&prometheus.address, Way::Open);
    // The halves of an edge come in different parts.
    let settings = Settings { wait: "10s", ..Settings::to(gate.write_url()) };
    let mut server = settings.start(folder.path(), Ports::free());
    server.expect_warning(AWAY);
    let (requests, truth) = workload(5, 400);
    // Few services at first, so that there are series that begin while nobody answers.
    let (first, rest) = requests.split_at(1);
    push_all(&server, first);
    server.wait("its first samples", |_| gate.taken(Way::Open) > 1);
    for (way, part) in
        [Way::Refuse(429), Way::Refuse(500), Way::Mute].into_iter().zip(rest.chunks(rest.len().div_ceil(3)))
    {
        gate.set(way);
        push_all(&server, part);
        until_collected(&mut server, 1.0);
        until_taken(&mut server, &gate, way, 3);
    }
    gate.set(Way::Open);
    let time = until_counted(&mut server, &prometheus, &truth);
    right(&prometheus, time, &truth);
    // One that comes out of order would be refused for good.
    assert_eq!(own_metric(&server, FAILED), 0.0);
    assert_eq!(own_metric(&server, DROPPED), 0.0);
    assert!(own_metric(&server, RETRIED) > 0.0);
    // What was taken without an answer counts as sent, once.
    server.wait("as many samples as were sent", |server| {
        std::thread::park_timeout(Duration::from_millis(20));
        let all = prometheus.samples(&format!("{{__name__=~\"traces_.+\"}}[{RANGE}]"), seconds());
        own_metric(server, SENT) == all.iter().map(|(_, samples)| samples.len() as f64).sum::<f64>()
    });
    server.stop();
}

#[test]
fn what_is_too_old_is_given_up_and_counted() {
    let Some(prometheus) = prometheus("what_is_too_old_is_given_up_and_counted") else { return };
    let folder = tempfile::tempdir().unwrap();
    let gate = Gate::before(&prometheus.address, Way::Open);
    // A file for each collection.
    let settings =
        Settings { wal: "max_wal_time: 3000, wal_segment_size: 1KiB", ..Settings::to(gate.write_url()) };
    let mut server = settings.start(folder.path(), Ports::free());
    server.expect_warning(AWAY);
    let (requests, truth) = workload(6, 50);
    push_all(&server, &requests);
    until_counted(&mut server, &prometheus, &truth);
    // From now on every collection has as many samples.
    let series = prometheus.total("count({__name__=~\"traces_.+\"})", seconds());
    gate.set(Way::Refuse(503));
    let mut dropped = 0.0;
    for _ in 0..2 {
        server.wait("samples that are too old", |server| own_metric(server, DROPPED) > dropped);
        dropped = own_metric(&server, DROPPED);
    }
    assert_eq!(dropped % series, 0.0, "{dropped} of {series} series");
    gate.set(Way::Open);
    let (collected, newest) = collections(&mut server);
    let calls = "traces_spanmetrics_calls_total";
    server.wait("that collection", |_| {
        prometheus.total(&format!("max(timestamp({calls}))"), seconds()) >= newest
    });
    assert_eq!(own_metric(&server, DROPPED), dropped);
    // Of a series of the first request there are all other collections, and the zero before.
    let labels = &Truth::of([requests[0].as_slice()]).spans[0].labels();
    let samples = prometheus.samples(&format!("{calls}[{RANGE}]"), newest);
    let of = samples.iter().find(|(of, _)| CALL.iter().zip(labels).all(|(name, value)| of[*name] == *value));
    let there = of.unwrap().1.len() as f64 - 1.0;
    assert_eq!(there + dropped / series, collected, "{there} there, {dropped} of {series} series dropped");
    right(&prometheus, newest, &truth);
    server.stop();
}

#[test]
fn a_stop_sends_the_rest_and_a_start_goes_on_where_it_was() {
    let Some(mut prometheus) = prometheus("a_stop_sends_the_rest_and_a_start_goes_on_where_it_was") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let ports = Ports::free();
    // None but the one at the stop.
    let often = Settings { wait: "10s", ..Settings::to(prometheus.write_url()) };
    let seldom = Settings { interval: "5m", ..often.clone() };
    let (requests, truth) = workload(7, 300);
    let parts: Vec<_> = requests.chunks(requests.len().div_ceil(3)).collect();
    let server = seldom.start(folder.path(), ports);
    push_all(&server, parts[0]);
    server.stop();
    let now = seconds();
    let sent = Truth::of(parts[0].iter().map(Vec::as_slice));
    let calls = "traces_spanmetrics_calls_total";
    same(calls, &by(&CALL, &prometheus.query(calls, now)), &sent.calls(|_| true, |_| 1.0), 0.0);
    // Who waits for the other half at the stop goes on waiting.
    let edges = "traces_service_graph_request_total{connection_type!=\"virtual_node\"}";
    let links = sent.links().into_iter().filter(|link| link.labels[2] != "virtual_node");
    let links: Vec<_> = links.collect();
    let wanted = sums(&links, |link| link.labels.to_vec(), |_| 1.0);
    same(edges, &by(&EDGE, &prometheus.query(edges, now)), &wanted, 0.0);

    prometheus.kill();
    let mut server = seldom.start(folder.path(), ports);
    server.expect_warning(AWAY);
    push_all(&server, parts[1]);
    server.stop();

    let mut server = often.start(folder.path(), ports);
    server.expect_warning(AWAY);
    push_all(&server, parts[2]);
    until_collected(&mut server, 2.0);
    prometheus.restart().unwrap();
    let time = until_counted(&mut server, &prometheus, &truth);
    right(&prometheus, time, &truth);
    assert_eq!(own_metric(&server, FAILED), 0.0);
    server.stop();
}

#[test]
fn what_waits_for_a_receiver_that_was_never_there_outlives_a_restart() {
    let Some(mut prometheus) =
        prometheus("what_waits_for_a_receiver_that_was_never_there_outlives_a_restart")
    else {
        return;
    };
    prometheus.kill();
    let folder = tempfile::tempdir().unwrap();
    let (ports, settings) = (Ports::free(), Settings::to(prometheus.write_url()));
    let (requests, truth) = workload(9, 100);
    let mut server = settings.start(folder.path(), ports);
    server.expect_warning(AWAY);
    push_all(&server, &requests);
    until_collected(&mut server, 3.0);
    server.kill();
    let mut server = settings.start(folder.path(), ports);
    let started = seconds();
    server.expect_warning(AWAY);
    prometheus.restart().unwrap();
    let time = until_counted(&mut server, &prometheus, &truth);
    // Not only the last values: series begin with their zero, and have the samples from before the restart.
    right(&prometheus, time, &truth);
    let samples = prometheus.samples(&format!("traces_spanmetrics_calls_total[{RANGE}]"), time);
    let before =
        |(_, samples): &(Labels, Vec<(f64, f64)>)| samples.iter().filter(|(time, _)| *time < started).count();
    assert!(samples.iter().any(|series| before(series) >= 4), "{samples:?}");
    server.stop();
}

#[test]
fn what_was_sent_before_a_kill_without_a_note_of_it_is_no_loss() {
    let Some(prometheus) = prometheus("what_was_sent_before_a_kill_without_a_note_of_it_is_no_loss") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let gate = Gate::before(&prometheus.address, Way::Open);
    let (ports, settings) = (Ports::free(), Settings::to(gate.write_url()));
    let (requests, truth) = workload(10, 100);
    let (first, rest) = requests.split_at(1);
    let mut server = settings.start(folder.path(), ports);
    server.expect_warning(AWAY);
    push_all(&server, first);
    server.wait("its first samples", |_| gate.taken(Way::Open) > 1);
    gate.set(Way::Mute);
    push_all(&server, rest);
    until_collected(&mut server, 1.0);
    until_taken(&mut server, &gate, Way::Mute, 3);
    server.kill();
    gate.set(Way::Open);
    let mut server = settings.start(folder.path(), ports);
    let time = until_counted(&mut server, &prometheus, &truth);
    right(&prometheus, time, &truth);
    assert_eq!(own_metric(&server, FAILED), 0.0);
    server.stop();
}
