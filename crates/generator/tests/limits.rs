//! Limits hold whatever is sent: what is one too many is counted all the same, and it is said.

#![allow(clippy::unwrap_used, reason = "helpers of a test may stop it")]

#[allow(unreachable_pub)]
mod support;

use std::cell::RefCell;
use std::io::Write;
use std::sync::Once;
use std::time::Duration;

use support::otlp::{CLIENT, SERVER, service, span};
use support::{World, limits, named, service_graphs, settings, span_metrics, sum};
use trackway_common::TenantId;
use trackway_overrides::{Generator, Processors, SpanNames};

const CALLS: &str = "traces_spanmetrics_calls_total";
const OVERFLOW: &str = r#"metric_overflow="true""#;
/// Series of a label set of span metrics: calls, size, 15 buckets, sum and count.
const SERIES: u32 = 19;

fn with(change: impl FnOnce(&mut Generator)) -> Generator {
    let mut all = settings(span_metrics());
    change(&mut all);
    all
}

/// Spans with names from a range.
fn names(range: std::ops::Range<u64>) -> Vec<u8> {
    let spans: Vec<_> =
        range.map(|number| span(&format!("GET /users/{number}"), SERVER, number + 1, 0)).collect();
    service("web").sends(&spans)
}

thread_local! {
    /// What this thread has logged.
    static LINES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What is logged while `run` runs, by this thread.
fn logged(run: impl FnOnce()) -> String {
    struct Lines;
    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            LINES.with_borrow_mut(|lines| lines.extend_from_slice(bytes));
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    // One for all threads: of one for a single thread `tracing` remembers what another thread was not interested in.
    static READY: Once = Once::new();
    READY.call_once(|| tracing_subscriber::fmt().with_ansi(false).with_writer(|| Lines).init());
    LINES.take();
    run();
    String::from_utf8(LINES.take()).unwrap()
}

#[test]
fn what_is_one_series_too_many_is_in_the_series_for_the_rest() {
    for (name, by_entity, settings) in [
        ("series", false, with(|all| all.max_active_series = 10 * SERIES)),
        ("entities", true, with(|all| all.max_active_entities = 10)),
        // Only the one that is in force.
        (
            "only series",
            false,
            with(|all| (all.max_active_series, all.max_active_entities) = (10 * SERIES, 1)),
        ),
    ] {
        let world = World::with(settings, |config| config.by_entity = by_entity);
        let lines = logged(|| {
            for from in 0..5 {
                // Every name twice.
                world.takes(&names(from * 5..from * 5 + 10));
            }
            world.passes(Duration::from_secs(15));
        });
        let calls = world.of(CALLS);
        assert_eq!((calls.len(), sum(&calls)), (11, 50.0), "{name}");
        // Of thirty names ten are told apart: five came once, and five twice.
        assert_eq!(calls[OVERFLOW], 35.0, "{name}");
        assert_eq!(sum(&world.of("traces_spanmetrics_latency_count")), 50.0, "{name}");
        assert_eq!(world.of("traces_spanmetrics_latency_bucket").len(), 15 * 11, "{name}");
        assert!(lines.contains("WARN") && lines.contains("metric_overflow"), "{name}: {lines}");
        assert!(lines.contains("tenant=shop") && lines.contains("max_active_series"), "{name}: {lines}");
        assert_eq!(world.of_tenant("registry_active_entities"), 11.0);
        assert_eq!(world.of_tenant("registry_active_series"), f64::from(11 * SERIES));
        assert!(world.of_tenant("registry_entities_limited_total") >= 20.0);
        // Thirty, and the one for the rest.
        assert_eq!(world.of_tenant("registry_entity_demand_estimate"), 31.0, "{name}");
        assert!(logged(|| world.passes(Duration::from_secs(15))).is_empty(), "nothing was too many since");
    }
}

#[test]
fn the_series_for_the_rest_survives_a_restart_as_one() {
    let mut world = World::new(with(|all| all.max_active_series = 10 * SERIES));
    world.takes(&names(0..30));
    world.passes(Duration::from_secs(15));
    world.restart();
    world.takes(&names(30..40));
    let calls = world.of(CALLS);
    assert_eq!((calls.len(), calls[OVERFLOW]), (11, 30.0));
}

#[test]
fn each_processor_has_its_own_series_for_the_rest() {
    let processors = Processors { service_graphs: true, host_info: true, ..span_metrics() };
    let world = World::new(Generator { max_active_series: 1, ..settings(processors) });
    let ask = |id| span("ask", CLIENT, id, 1).with("db.name", &format!("db-{id}"));
    world.takes(&service("web").with("host.id", "h").sends(&[ask(2), ask(3)]));
    assert_eq!(world.of(CALLS), support::map([(OVERFLOW, 2.0)]));
    assert_eq!(world.of("traces_service_graph_request_total"), support::map([(OVERFLOW, 2.0)]));
    assert_eq!(world.of("traces_host_info"), support::map([(OVERFLOW, 1.0)]));
}

#[test]
fn labels_with_too_many_values_have_one_for_the_rest() {
    let mut world = World::new(with(|all| {
        all.max_cardinality_per_label = 5;
        all.span_metrics.dimensions = vec!["method".to_owned()];
    }));
    let spans: Vec<_> = (0..100_u64)
        .map(|number| {
            let method = if number % 2 == 0 { "GET" } else { "PUT" };
            span(&format!("name {number}"), SERVER, number + 1, 0).with("method", method)
        })
        .collect();
    world.takes(&service("web").sends(&spans));
    let check = |world: &World, sums: f64| {
        let calls = world.of(CALLS);
        // Five names, and the rest by method: what is not too much is told apart still.
        assert_eq!((calls.len(), sum(&calls)), (7, sums), "{calls:?}");
        let rest =
            calls.iter().filter(|(labels, _)| labels.contains(r#"span_name="__cardinality_overflow__""#));
        assert_eq!(rest.map(|(_, count)| count).sum::<f64>(), sums - 5.0 * sums / 100.0);
    };
    check(&world, 100.0);
    let of_label = |world: &World, name: &str, label: &str| {
        world.own(&format!(
            "tempo_metrics_generator_registry_{name}{{tenant=\"shop\",label_name=\"{label}\"}}"
        ))
    };
    assert_eq!(of_label(&world, "label_values_limited_total", "span_name"), 95.0);
    assert_eq!(of_label(&world, "label_values_limited_total", "method"), 0.0);
    let demand = of_label(&world, "label_cardinality_demand_estimate", "span_name");
    assert!((90.0..110.0).contains(&demand), "{demand}");
    // Also after a restart.
    world.passes(Duration::from_secs(15));
    world.restart();
    world.takes(&[service("web").sends(&spans), service("").sends(&[])].concat());
    check(&world, 200.0);
}

/// An attack on cardinality. Debug builds get by with less of it.
#[test]
fn a_million_names_take_no_more_memory_than_there_is() {
    let count: u64 = if cfg!(debug_assertions) { 200_000 } else { 1_000_000 };
    let limit = 1 << 20;
    let world =
        World::with(with(|all| all.processors.service_graphs = true), |config| config.max_bytes = limit);
    let mut most = 0.0_f64;
    let lines = logged(|| {
        for from in (0..count).step_by(2000) {
            let spans: Vec<_> = (from..from + 2000)
                .map(|number| {
                    // Half of them also wait for somebody who never comes.
                    let kind = if number % 2 == 0 { SERVER } else { CLIENT };
                    let mut span = span(&format!("GET /users/{number}"), kind, number + 1, 1);
                    span = span.trace(u128::from(number));
                    span.end = world.now();
                    span
                })
                .collect();
            world.takes(&service("web").sends(&spans));
            world.passes(Duration::from_millis(500));
            most = most.max(plain_bytes(&world));
        }
    });
    // Trace 0 is none.
    let counted = (count - 1) as f64;
    let calls = world.of(CALLS);
    assert_eq!(sum(&calls), counted);
    assert!(calls[OVERFLOW] > counted * 0.9, "{}", calls[OVERFLOW]);
    assert!(calls.len() > 500, "{} are told apart", calls.len());
    assert!(most > limit as f64 * 0.8 && most <= limit as f64 * 1.01, "{most}");
    assert!(lines.contains("metric_overflow") && lines.contains("trackway.generator.max_bytes"), "{lines}");
    let demand = world.of_tenant("registry_entity_demand_estimate");
    assert!((demand / counted - 1.0).abs() < 0.15, "{demand}");
}

/// The generator's memory; its series has no labels.
fn plain_bytes(world: &World) -> f64 {
    let mut text = String::new();
    world.generator().write_metrics(&mut text);
    let line = text.lines().find_map(|line| line.strip_prefix("trackway_metrics_generator_bytes "));
    line.unwrap().parse().unwrap()
}

#[test]
fn series_that_nothing_is_counted_for_end_and_make_room() {
    let world = World::with(with(|all| all.max_active_series = 10 * SERIES), |config| {
        config.registry.stale_duration = Duration::from_secs(60);
    });
    let now = |from: u64| {
        let named = |number: u64| {
            let mut span = span(&format!("name {number}"), SERVER, number + 1, 0);
            span.end = world.now();
            span
        };
        service("web").sends(&(from..from + 10).map(named).collect::<Vec<_>>())
    };
    world.takes(&now(0));
    world.passes(Duration::from_secs(30));
    world.takes(&now(5));
    assert_eq!(world.of(CALLS)[OVERFLOW], 5.0);
    world.passes(Duration::from_secs(40));
    let calls = world.of(CALLS);
    assert_eq!(calls.len(), 6, "five that were seen again, and the rest: {calls:?}");
    world.takes(&now(20));
    let calls = world.of(CALLS);
    // The series for the rest is one of ten now.
    assert_eq!((calls.len(), calls[OVERFLOW]), (10, 11.0), "{calls:?}");
    world.passes(Duration::from_secs(61));
    assert!(world.series().is_empty());
    assert_eq!(world.of_tenant("registry_active_series"), 0.0);
    world.passes(Duration::from_secs(15));
    assert!(plain_bytes(&world) < 2000.0, "{}", plain_bytes(&world));
    let added = world.of_tenant("registry_series_added_total");
    assert_eq!(world.of_tenant("registry_series_removed_total"), added);
    // What comes again begins at nothing.
    world.takes(&now(0));
    assert_eq!(sum(&world.of(CALLS)), 10.0);
}

#[test]
fn who_takes_all_leaves_room_for_others() {
    for other_is_first in [false, true] {
        let world = World::with(with(|_| {}), |config| config.max_bytes = 256 << 10);
        if other_is_first {
            world.arrives_for("small", &names(0..1));
        }
        world.arrives_for("greedy", &names(0..5000));
        world.work();
        world.arrives_for("small", &names(10..30));
        world.work();
        let greedy = named(&world.series_of("greedy"), CALLS);
        let small = named(&world.series_of("small"), CALLS);
        assert_eq!(sum(&greedy), 5000.0);
        assert!(greedy.contains_key(OVERFLOW));
        assert_eq!(small.len(), if other_is_first { 21 } else { 20 });
        assert!(!small.contains_key(OVERFLOW));
    }
}

#[test]
fn half_edges_are_within_the_same_memory() {
    let world = World::with(settings(service_graphs()), |config| config.max_bytes = 256 << 10);
    let long = "x".repeat(500);
    let clients: Vec<_> = (1..5000_u64)
        .map(|id| span("call", CLIENT, id, 0).with("peer.service", &format!("{long}{id}")))
        .collect();
    world.takes(&service("web").sends(&clients));
    let dropped = world.of_tenant("processor_service_graphs_dropped_spans");
    let waiting = world.of_tenant("processor_service_graphs_edges");
    assert_eq!(dropped + waiting, 4999.0);
    assert!(waiting > 100.0 && waiting < 1000.0, "{waiting}");
    assert!(plain_bytes(&world) < f64::from(320 << 10));
    // When they have waited, each names its own peer: most of them do not fit.
    world.passes(Duration::from_secs(10));
    let total = world.of("traces_service_graph_request_total");
    assert_eq!(sum(&total), waiting);
    world.passes(Duration::from_mins(16));
    world.passes(Duration::from_secs(15));
    assert!(plain_bytes(&world) < 2000.0, "{}", plain_bytes(&world));
}

#[test]
fn names_with_ids_are_shortened_or_it_is_said_what_that_would_do() {
    for (mode, series, sanitized) in
        [(SpanNames::AsSent, 500, 0.0), (SpanNames::DryRun, 500, 999.0), (SpanNames::Shortened, 2, 999.0)]
    {
        let world = World::new(with(|all| all.span_names = mode));
        world.takes(&names(0..500));
        // In two parts: the same bytes would be a retry.
        world.takes(&[names(0..200), names(200..500)].concat());
        let calls = world.of(CALLS);
        assert_eq!((calls.len(), sum(&calls)), (series, 1000.0), "{mode:?}");
        if mode == SpanNames::Shortened {
            // The first was alone when it came.
            let short = r#"service="web",span_kind="SPAN_KIND_SERVER",span_name="GET /users/<_>",status_code="STATUS_CODE_UNSET""#;
            assert_eq!(calls[short], 999.0);
        }
        assert_eq!(world.of_tenant("registry_spans_sanitized_total"), sanitized, "{mode:?}");
        let demand = world.of_tenant("registry_post_sanitization_demand_estimate");
        assert_eq!(demand, if mode == SpanNames::AsSent { 0.0 } else { 2.0 }, "{mode:?}");
        let demand = world.of_tenant("registry_entity_demand_estimate");
        assert!((demand / series as f64 - 1.0).abs() < 0.1, "{mode:?} {demand}");
    }
}

#[test]
fn settings_that_come_and_go_leave_nothing_behind() {
    let world = World::new(settings(span_metrics()));
    let tenant = TenantId::new(support::TENANT).unwrap();
    for round in 0..200_u32 {
        let mut next = settings(span_metrics());
        next.span_metrics.buckets = vec![1.0, 2.0 + f64::from(round)];
        world.overrides.replace([(tenant.clone(), limits(next))].into(), None);
        world.passes(Duration::from_secs(1));
        let mut one = span("x", SERVER, u64::from(round) + 1, 0);
        (one.start, one.end) = (world.now(), world.now());
        world.takes(&service("web").sends(&[one]));
    }
    world.passes(Duration::from_secs(15));
    assert_eq!(sum(&world.of(CALLS)), 200.0);
    assert_eq!(world.of_tenant("registry_active_entities"), 1.0);
    assert!(plain_bytes(&world) < 4000.0, "{}", plain_bytes(&world));
}

#[test]
fn patterns_of_names_are_within_their_limits_and_leave_room_for_others() {
    let world =
        World::with(with(|all| all.span_names = SpanNames::Shortened), |config| config.max_bytes = 2 << 20);
    let mut number = 0_u64;
    let mut most = 0.0_f64;
    for _ in 0..40 {
        let spans: Vec<_> = (0..1000)
            .map(|_| {
                number += 1;
                // Words that are no ids: each is a pattern of its own, as long as there may be more.
                let word = |salt: u64| {
                    let mixed = (number * 7 + salt).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                    (0..9).map(|at| char::from(b'g' + ((mixed >> (7 * at)) % 20) as u8)).collect::<String>()
                };
                let mut span = span(&format!("{}/{}/{}", word(1), word(2), word(3)), SERVER, number, 0);
                span.end = world.now();
                span
            })
            .collect();
        world.arrives_for("greedy", &service("web").sends(&spans));
        world.passes(Duration::from_secs(15));
        most = most.max(plain_bytes(&world));
    }
    assert_eq!(sum(&named(&world.series_of("greedy"), CALLS)), 40_000.0);
    assert!(most <= f64::from(2 << 20), "{most}");
    world.arrives_for(
        "small",
        &service("web").sends(&[{
            let mut span = span("x", SERVER, 1, 0);
            span.end = world.now();
            span
        }]),
    );
    world.work();
    assert!(!named(&world.series_of("small"), CALLS).contains_key(OVERFLOW));
}
