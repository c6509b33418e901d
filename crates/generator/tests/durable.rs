//! What a restart takes up: all that was counted, nothing twice; and settings that change while it runs or is away.

#![allow(clippy::unwrap_used, reason = "helpers of a test may stop it")]

#[allow(unreachable_pub)]
mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use support::otlp::{CLIENT, SERVER, Span, service, span};
use support::{FakeLog, START, TENANT, World, limits, map, service_graphs, settings, span_metrics, sum};
use trackway_common::TenantId;
use trackway_generator::Codec;
use trackway_overrides::{Generator, HistogramMode, Processors};
use trackway_remote_write::Endpoint;

const CALLS: &str = "traces_spanmetrics_calls_total";

fn both() -> Processors {
    Processors { service_graphs: true, ..span_metrics() }
}

/// A span of a number, which no other is; of ten names, and all durations.
fn numbered(number: u64) -> Span {
    let millis = i64::try_from(number % 50).unwrap() * 100;
    span(&format!("name {}", number % 10), SERVER, number + 1, 0).trace(u128::from(number) + 1).at(-millis, 0)
}

fn request(numbers: std::ops::Range<u64>) -> Vec<u8> {
    service("web").sends(&numbers.map(numbered).collect::<Vec<_>>())
}

/// Segments of the tenant's log of samples, the oldest first.
fn segments(path: &Path) -> Vec<PathBuf> {
    let folder = path.join(TENANT).join("wal");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.file_name().unwrap().to_str().unwrap().parse::<u64>().is_ok());
    files.sort();
    files
}

#[test]
fn a_restart_counts_on_exactly_whenever_it_comes() {
    for mode in [HistogramMode::Classic, HistogramMode::Native, HistogramMode::Both] {
        let with_mode = || Generator { histograms: mode, ..settings(both()) };
        // What is never restarted.
        let steady = World::new(with_mode());
        let mut world = World::new(with_mode());
        let mut number = 0;
        for step in 0..60_u64 {
            let body = request(number..number + 37);
            number += 37;
            for world in [&steady, &world] {
                world.arrives(&body);
            }
            // Seven seconds at a time: some restarts come behind a collection, and most do not.
            for world in [&steady, &world] {
                world.clock.advance(Duration::from_millis(700));
                if step % 3 != 0 {
                    world.work();
                }
            }
            match step % 8 {
                1 | 4 => world.restart(),
                6 => world.restart_in_order(),
                _ => {}
            }
        }
        // Half edges wait anew after a restart.
        for world in [&steady, &world] {
            world.work();
            world.passes(Duration::from_secs(11));
        }
        let expected = steady.series();
        assert!(expected.len() > 10);
        for (key, value) in world.series() {
            let difference = (expected[&key] - value).abs();
            // Sums are added in another order.
            assert!(difference <= if key.contains("_sum") { 1e-6 } else { 0.0 }, "{mode:?} {key} {value}");
        }
        assert_eq!(world.series().len(), expected.len());
    }
}

#[test]
fn the_ingesters_log_is_kept_until_what_is_in_it_is_safe() {
    let world = World::new(settings(span_metrics()));
    world.takes(&request(0..1));
    world.takes(&request(1..2));
    assert_eq!(world.log.kept_behind(), 0, "nothing is collected");
    world.passes(Duration::from_secs(15));
    assert_eq!(world.log.kept_behind(), 2);
    world.takes(&request(2..3));
    world.passes(Duration::from_secs(15));
    world.passes(Duration::from_secs(1));
    assert_eq!(world.log.kept_behind(), 3);
    // A tenant that nothing comes from holds nothing back.
    for _ in 0..10 {
        world.log.append("other", world.now(), &[], &request(0..1));
        world.passes(Duration::from_secs(15));
    }
    assert!(world.log.kept_behind() >= 10);
}

#[test]
fn a_log_that_is_damaged_costs_what_was_written_last() {
    for codec in [Codec::None, Codec::Snappy, Codec::Zstd] {
        let mut world = World::with(settings(both()), |config| config.wal.codec = codec);
        for number in 0..3 {
            world.takes(&request(number * 100..(number + 1) * 100));
            world.passes(Duration::from_secs(15));
        }
        let before = world.series();
        assert_eq!(sum(&world.of(CALLS)), 300.0);
        // Half of the last record is missing: it is read again from the ingester's log, and counted.
        world.restart_after(|path| {
            let last = segments(path).pop().unwrap();
            let bytes = std::fs::read(&last).unwrap();
            std::fs::write(last, &bytes[..bytes.len() - 10]).unwrap();
        });
        world.work();
        assert_eq!(without_sums(&world.series()), without_sums(&before), "{codec:?}");
        // All of it is missing: what the ingester's log was asked to keep is counted.
        assert_eq!(world.log.kept_behind(), 2);
        world.restart_after(|path| std::fs::remove_dir_all(path.join(TENANT)).unwrap());
        world.work();
        assert_eq!(sum(&world.of(CALLS)), 100.0, "{codec:?}");
    }
}

fn without_sums(series: &BTreeMap<String, f64>) -> BTreeMap<String, f64> {
    series
        .iter()
        .filter(|(key, _)| !key.contains("_sum{"))
        .map(|(key, value)| (key.clone(), *value))
        .collect()
}

#[test]
fn another_log_of_the_ingesters_is_counted_from_its_end_on() {
    let mut world = World::new(settings(span_metrics()));
    world.takes(&request(0..5));
    world.passes(Duration::from_secs(15));
    // It was replaced: its numbers mean other records.
    let other = FakeLog::new(8);
    other.append(TENANT, world.now(), &[], &request(5..6));
    world.restart_on(Arc::clone(&other));
    world.work();
    assert_eq!(sum(&world.of(CALLS)), 5.0, "what was counted stays, what stands there is of somebody else");
    other.append(TENANT, world.now(), &[], &request(6..8));
    world.work();
    assert_eq!(sum(&world.of(CALLS)), 7.0);
    world.restart();
    world.work();
    assert_eq!(sum(&world.of(CALLS)), 7.0);
}

#[test]
fn a_retry_counts_once() {
    let mut world = World::new(settings(both()));
    let body = request(0..10);
    world.takes(&body);
    world.takes(&body);
    assert_eq!(sum(&world.of(CALLS)), 10.0);
    world.restart();
    world.takes(&body);
    assert_eq!(sum(&world.of(CALLS)), 10.0);
    world.restart_in_order();
    world.takes(&body);
    assert_eq!(sum(&world.of(CALLS)), 10.0);
    // The same bytes of another tenant are other spans.
    world.arrives_for("other", &body);
    world.work();
    assert_eq!(sum(&support::named(&world.series_of("other"), CALLS)), 10.0);
    // As long as senders try.
    world.passes(Duration::from_mins(9));
    world.restart();
    world.takes(&body);
    assert_eq!(world.of_tenant("spans_received_total"), 0.0);
}

#[test]
fn a_tenant_may_have_any_name() {
    let mut world = World::new(settings(span_metrics()));
    let names = ["position", "@position".trim_start_matches('@'), "wal", "00000001", "a.tmp", "it's(1)*!"];
    for name in names {
        world.arrives_for(name, &request(0..2));
    }
    for _ in 0..4 {
        world.passes(Duration::from_secs(15));
    }
    world.restart();
    world.work();
    for name in names {
        assert_eq!(sum(&support::named(&world.series_of(name), CALLS)), 2.0, "{name}");
    }
}

#[test]
fn a_new_receiver_begins_with_what_is_collected_next() {
    let mut world = World::new(settings(span_metrics()));
    world.takes(&request(0..5));
    world.passes(Duration::from_secs(15));
    let endpoint = Endpoint {
        name: "new".to_owned(),
        url: "http://127.0.0.1:1/write".to_owned(),
        ..Endpoint::default()
    };
    world.restart_with(vec![endpoint]);
    world.work();
    assert_eq!(sum(&world.of(CALLS)), 5.0);
    assert_eq!(world.generator().lost_samples(), 0);
    // It is away; when its samples are too old they go, and it is said how many. Those from before are none of them.
    let collected = f64::from(u32::try_from(world.series().len()).unwrap());
    world.passes(Duration::from_secs(15));
    world.restart();
    world.takes(&request(5..6));
    for _ in 0..3 {
        world.passes(Duration::from_hours(2));
    }
    let lost = world.generator().lost_samples();
    assert!(lost > 0, "{collected}");
}

#[test]
fn only_what_changes_begins_anew() {
    let plain = settings(both());
    let world = World::new(plain.clone());
    let one = request(0..10);
    world.takes(&one);
    let calls = world.of(CALLS);
    let latency = world.of("traces_spanmetrics_latency_bucket");
    let graphs = world.of("traces_service_graph_request_total");
    assert_eq!((sum(&calls), graphs.len()), (10.0, 0));
    world.passes(Duration::from_secs(15));
    let graphs = world.of("traces_service_graph_request_total");
    assert_eq!(sum(&graphs), 10.0);

    // Something that makes no difference to series.
    let slack = Generator { slack: Duration::from_secs(300), ..plain.clone() };
    world.set(slack.clone());
    assert_eq!(world.of("traces_spanmetrics_latency_bucket"), latency);
    // Other buckets: calls, sizes and edges stay.
    let mut buckets = slack.clone();
    buckets.span_metrics.buckets = vec![0.5, 1.0];
    world.set(buckets.clone());
    assert_eq!(world.of(CALLS), calls);
    assert_eq!(world.of("traces_service_graph_request_total"), graphs);
    assert_eq!(world.of("traces_spanmetrics_latency_bucket"), map([]));
    world.takes(&request(10..20));
    assert_eq!(sum(&world.of(CALLS)), 20.0);
    assert_eq!(sum(&world.of("traces_spanmetrics_latency_count")), 10.0);
    // Native histograms besides: everything stays.
    let before = world.series();
    let native = Generator { histograms: HistogramMode::Both, ..buckets.clone() };
    world.set(native.clone());
    assert_eq!(world.series(), before);
    world.takes(&request(20..30));
    assert_eq!(sum(&world.of("traces_spanmetrics_latency_count")), 20.0);
    // And when they go again.
    world.set(buckets);
    assert_eq!(sum(&world.of("traces_spanmetrics_latency_count")), 20.0);
    assert_eq!(sum(&world.of(CALLS)), 30.0);
    // Parts of span metrics.
    let part = Processors { calls: true, service_graphs: true, ..Processors::default() };
    world.set(Generator { processors: part, ..slack.clone() });
    assert_eq!(sum(&world.of(CALLS)), 30.0);
    assert_eq!(world.of("traces_spanmetrics_size_total"), map([]));
    // Off: they end; on again: they begin with what comes.
    world.set(Generator { processors: service_graphs(), ..slack.clone() });
    assert_eq!(world.of(CALLS), map([]));
    assert_eq!(sum(&world.of("traces_service_graph_request_total")), 10.0, "others wait");
    world.set(slack);
    world.takes(&request(30..31));
    assert_eq!(sum(&world.of(CALLS)), 1.0);
    // All off.
    world.set(settings(Processors::default()));
    assert!(world.series().is_empty());
    world.takes(&request(40..50));
    assert!(world.series().is_empty());
    world.set(plain);
    world.takes(&request(50..51));
    assert_eq!(
        world.of_tenant("registry_active_series"),
        f64::from(u32::try_from(world.series().len()).unwrap())
    );
}

#[test]
fn what_changed_while_it_was_away_begins_anew_and_nothing_else() {
    let mut world = World::new(settings(both()));
    world.takes(&request(0..10));
    world.passes(Duration::from_secs(15));
    let (calls, graphs) = (world.of(CALLS), world.of("traces_service_graph_request_total"));
    let mut other = settings(both());
    other.span_metrics.buckets = vec![1.0];
    other.histograms = HistogramMode::Both;
    world.overrides.replace(std::collections::HashMap::new(), Some(limits(other)));
    world.restart();
    assert_eq!(world.of(CALLS), calls);
    assert_eq!(world.of("traces_service_graph_request_total"), graphs);
    assert_eq!(world.of("traces_service_graph_request_server_seconds_count").len(), graphs.len());
    assert_eq!(world.of("traces_spanmetrics_latency_count"), map([]));
    world.takes(&request(10..11));
    assert_eq!(sum(&world.of(CALLS)), 11.0);
    let series = f64::from(u32::try_from(world.series().len()).unwrap());
    // A native histogram beside a classic one is a series that the page does not show.
    let natives = world.of("traces_spanmetrics_latency_count").len() + 2 * graphs.len();
    assert_eq!(
        world.of_tenant("registry_active_series"),
        series + f64::from(u32::try_from(natives).unwrap())
    );
}

#[test]
fn only_tenants_that_ask_for_metrics_have_some() {
    let world = World::new(settings(Processors::default()));
    let on = TenantId::new("on").unwrap();
    world.arrives_for("on", &request(0..1));
    world.work();
    assert!(!world.config.path.exists(), "nothing is written for nobody");
    let replace = |tenants: &[&TenantId]| {
        let of = |tenant: &&TenantId| ((*tenant).clone(), limits(settings(span_metrics())));
        world.overrides.replace(tenants.iter().map(of).collect(), None);
        world.passes(Duration::from_secs(1));
    };
    replace(&[&on]);
    world.arrives_for("on", &request(1..3));
    world.arrives_for("off", &request(0..1));
    world.work();
    assert_eq!(sum(&support::named(&world.series_of("on"), CALLS)), 2.0, "from now on");
    let off = TenantId::new("off").unwrap();
    assert!(world.generator().generated(&off, trackway_generator::Format::Text).is_none());
    // Whoever wants none any more is forgotten, with its files.
    replace(&[&off]);
    world.passes(Duration::from_secs(15));
    world.passes(Duration::from_secs(2));
    assert!(world.generator().generated(&on, trackway_generator::Format::Text).is_none());
    assert!(!world.config.path.join("on").exists());
}

#[test]
fn edges_wait_over_settings_that_change() {
    let world = World::new(settings(both()));
    world.takes(&service("web").sends(&[span("call", CLIENT, 2, 1)]));
    let mut other = settings(both());
    other.service_graphs.virtual_node_label = true;
    world.set(other);
    world.takes(&service("cart").sends(&[span("serve", SERVER, 3, 2)]));
    assert_eq!(sum(&world.of("traces_service_graph_request_total")), 1.0);
    assert_eq!(START % 60_000_000_000, 0);
}

#[test]
fn a_clock_that_is_set_back_stops_nothing() {
    let world = World::new(settings(both()));
    world.takes(&request(0..5));
    world.passes(Duration::from_secs(15));
    let collections = || world.of_tenant("registry_collections_total");
    assert_eq!(collections(), 1.0);
    // An hour back: a clock adds nanoseconds modulo 2^64.
    world.clock.advance(Duration::from_nanos(u64::MAX - 3_600_000_000_000 + 1));
    assert!(world.now() < START);
    world.work();
    let mut now = span("now", SERVER, 100, 0);
    now.end = world.now();
    world.takes(&service("web").sends(&[now]));
    for _ in 0..4 {
        world.passes(Duration::from_secs(15));
    }
    assert_eq!(sum(&world.of(CALLS)), 6.0);
    assert!(collections() >= 4.0, "{}", collections());
    assert_eq!(world.log.kept_behind(), 2);
}

/// As when the disk is full: nothing can be written for a while.
#[test]
fn a_collection_that_fails_loses_nothing() {
    // Every collection begins a file.
    let mut world = World::with(settings(span_metrics()), |config| config.wal.segment_bytes = 1);
    world.takes(&request(0..10));
    world.passes(Duration::from_secs(15));
    let folder = world.config.path.join(TENANT).join("wal");
    let away = world.config.path.join(TENANT).join("away");
    std::fs::rename(&folder, &away).unwrap();
    world.takes(&request(10..20));
    world.passes(Duration::from_secs(15));
    world.takes(&request(20..30));
    world.passes(Duration::from_secs(15));
    assert_eq!(world.of_tenant("registry_collections_failed_total"), 2.0);
    assert_eq!(sum(&world.of(CALLS)), 30.0);
    assert!(world.log.kept_behind() <= 1, "what is not written is read again");
    std::fs::rename(&away, &folder).unwrap();
    world.restart();
    world.work();
    assert_eq!(sum(&world.of(CALLS)), 30.0);
    world.passes(Duration::from_secs(15));
    assert_eq!(world.of_tenant("registry_collections_failed_total"), 0.0);
    world.restart();
    assert_eq!(sum(&world.of(CALLS)), 30.0);
}
