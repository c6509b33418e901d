//! Random spans in random requests, with retries, kills and pauses: what is counted is what a naive count says, and what
//! TraceQL metrics say of the same spans.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of a test may stop it, and may say the seed"
)]

#[allow(unreachable_pub)]
mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use support::otlp::{Resource, Span, service, span};
use support::{START, World, settings, span_metrics};
use trackway_engine::metrics::{Intervals, MetricsPlan, Partial};
use trackway_engine::{AttributeValue, Filter, complete_traces};
use trackway_overrides::Processors;
use trackway_spans::{BatchBuilder, Limits, append_request, merge_traces};

const CASES: u32 = if cfg!(debug_assertions) { 100 } else { 1000 };
const SECOND: u64 = 1_000_000_000;
const SLACK: u64 = 30 * SECOND;
const SERVICES: [&str; 3] = ["", "web", "größe"];
const NAMES: [&str; 4] = ["", "GET /", "POST \"x\"\n", "a\\b"];
const KINDS: [&str; 6] = ["unspecified", "internal", "server", "client", "producer", "consumer"];
const STATUSES: [&str; 3] = ["unset", "ok", "error"];
const BOUNDS: [f64; 14] =
    [0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192, 16.384];

/// A span before its time and its ids are known.
#[derive(Clone, Debug)]
struct Draft {
    service: usize,
    name: usize,
    kind: u8,
    status: u8,
    nanoseconds: u64,
    /// When it ends, milliseconds from when it comes in.
    ends_ms: i64,
    fault: Fault,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    NoTrace,
    ShortTrace,
    NoId,
    LongId,
    BadParent,
}

#[derive(Clone, Debug)]
enum Step {
    Send(Vec<Draft>),
    /// The same bytes as so many requests ago.
    Again(usize),
    Work,
    Pass(u64),
    Kill,
    Stop,
}

fn draft() -> impl Strategy<Value = Draft> {
    let fault = prop_oneof![
        12 => Just(Fault::None),
        1 => Just(Fault::NoTrace),
        1 => Just(Fault::ShortTrace),
        1 => Just(Fault::NoId),
        1 => Just(Fault::LongId),
        1 => Just(Fault::BadParent),
    ];
    // Durations at, above and between bounds.
    let bound = (0..BOUNDS.len(), 0..3_u64).prop_map(|(power, more)| (2_000_000_u64 << power) + more);
    let duration = prop_oneof![1 => Just(0), 3 => bound, 4 => 1..40 * SECOND, 4 => 1..SECOND / 10];
    let ends_ms = prop_oneof![8 => -20_000..20_000_i64, 1 => -60_000..60_000_i64, 1 => Just(-30_000_i64), 1 => Just(30_000_i64)];
    (0..SERVICES.len(), 0..NAMES.len(), 0..6_u8, 0..3_u8, duration, ends_ms, fault).prop_map(
        |(service, name, kind, status, nanoseconds, ends_ms, fault)| Draft {
            service,
            name,
            kind,
            status,
            nanoseconds,
            ends_ms,
            fault,
        },
    )
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => proptest::collection::vec(draft(), 0..12).prop_map(Step::Send),
        2 => (0..4_usize).prop_map(Step::Again),
        2 => Just(Step::Work),
        3 => (0..9_000_u64).prop_map(Step::Pass),
        2 => prop_oneof![Just(Step::Kill), Just(Step::Kill), Just(Step::Stop)],
    ];
    proptest::collection::vec(step, 1..40)
}

/// Service, name, kind and status, as numbers.
type Key = (usize, usize, u8, u8);

/// What a naive count says.
#[derive(Debug, Default)]
struct Naive {
    durations: BTreeMap<Key, Vec<u64>>,
    received: u64,
    outside: u64,
    /// The requests again, with only the spans that count.
    good: Vec<Vec<u8>>,
}

fn written(draft: &Draft, number: u64, now: u64) -> Span {
    let mut span = span(NAMES[draft.name], draft.kind, number, 0).status(draft.status);
    span = span.trace(u128::from(number % 50) + 1);
    span.end = now.checked_add_signed(draft.ends_ms * 1_000_000).unwrap();
    span.start = span.end - draft.nanoseconds;
    match draft.fault {
        Fault::None => {}
        Fault::NoTrace => span.trace = vec![0; 16],
        Fault::ShortTrace => span.trace = vec![1; 8],
        Fault::NoId => span.id.clear(),
        Fault::LongId => span.id = vec![1; 9],
        Fault::BadParent => span.parent = vec![1; 3],
    }
    span
}

fn sender(draft: &Draft) -> Resource {
    if draft.service == 0 { Resource::default().with("no", "name") } else { service(SERVICES[draft.service]) }
}

/// Does all of it.
fn run(world: &mut World, steps: &[Step]) -> Naive {
    let mut naive = Naive::default();
    let mut sent: Vec<Vec<u8>> = Vec::new();
    let mut number = 0;
    for step in steps {
        match step {
            Step::Send(drafts) => {
                let (mut body, mut good) = (Vec::new(), Vec::new());
                for draft in drafts {
                    number += 1;
                    let (now, span) = (world.now(), written(draft, number, world.now()));
                    let part = sender(draft).sends(std::slice::from_ref(&span));
                    body.extend_from_slice(&part);
                    if draft.fault != Fault::None {
                        continue;
                    }
                    naive.received += 1;
                    if span.end < now - SLACK || span.end > now + SLACK {
                        naive.outside += 1;
                        continue;
                    }
                    let key = (draft.service, draft.name, draft.kind, draft.status);
                    naive.durations.entry(key).or_default().push(draft.nanoseconds);
                    good.extend_from_slice(&part);
                }
                world.arrives(&body);
                if !body.is_empty() {
                    naive.good.push(good);
                    sent.push(body);
                }
            }
            Step::Again(ago) => {
                if let Some(body) = sent.iter().rev().nth(*ago) {
                    world.arrives(body);
                }
            }
            Step::Work => world.work(),
            Step::Pass(ms) => world.passes(Duration::from_millis(*ms)),
            Step::Kill => world.restart(),
            Step::Stop => world.restart_in_order(),
        }
    }
    world.work();
    naive
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// The labels of a series; `le` comes first of them.
fn labels((service, name, kind, status): Key, le: &str) -> String {
    let kind = KINDS[usize::from(kind)].to_uppercase();
    let status = STATUSES[usize::from(status)].to_uppercase();
    let texts = [
        ("le", le.to_owned()),
        ("service", SERVICES[service].to_owned()),
        ("span_kind", format!("SPAN_KIND_{kind}")),
        ("span_name", escaped(NAMES[name])),
        ("status_code", format!("STATUS_CODE_{status}")),
    ];
    let texts = texts.iter().filter(|(_, text)| !text.is_empty());
    texts.map(|(name, text)| format!("{name}=\"{text}\"")).collect::<Vec<_>>().join(",")
}

fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

/// Calls, buckets and sums are the naive ones.
fn check_naive(world: &World, naive: &Naive) -> Result<(), TestCaseError> {
    let (mut calls, mut buckets) = (BTreeMap::new(), BTreeMap::new());
    for (key, durations) in &naive.durations {
        calls.insert(labels(*key, ""), durations.len() as f64);
        for bound in BOUNDS.iter().chain(&[f64::INFINITY]) {
            let within = durations.iter().filter(|duration| seconds(**duration) <= *bound).count();
            let le = if bound.is_finite() { bound.to_string() } else { "+Inf".to_owned() };
            buckets.insert(labels(*key, &le), within as f64);
        }
        let sum: f64 = durations.iter().copied().map(seconds).sum();
        let found = world.of("traces_spanmetrics_latency_sum")[&labels(*key, "")];
        prop_assert!((found - sum).abs() < 1e-6, "{key:?}: {found} is not {sum}");
    }
    prop_assert_eq!(&world.of("traces_spanmetrics_calls_total"), &calls);
    prop_assert_eq!(world.of("traces_spanmetrics_latency_count"), calls);
    prop_assert_eq!(world.of("traces_spanmetrics_latency_bucket"), buckets);
    Ok(())
}

/// A series of TraceQL metrics: service, name, kind, status and, of quantiles, which.
type Row = (String, String, String, String, String);

/// The samples of a query over all of the requests, as one interval.
fn traceql(text: &str, requests: &[Vec<u8>], range: (u64, u64)) -> BTreeMap<Row, f64> {
    let query = trackway_traceql::parse(text).unwrap();
    let mut builder = BatchBuilder::new();
    for request in requests {
        append_request(&mut builder, request, Limits::default(), &[]).unwrap();
    }
    let batch = builder.finish();
    let ids: Vec<_> = batch.traces.ids().collect();
    let mut batch = merge_traces(&[&batch], &ids);
    complete_traces(&mut batch);
    let plan =
        MetricsPlan::new(query.metrics.as_ref().unwrap(), Intervals::instant(range.0, range.1), 0).unwrap();
    let mut partial = Partial::default();
    plan.observe(&batch, &Filter::compile(None).unwrap().mask(&batch).unwrap(), &mut partial).unwrap();
    let rows = plan.finish(partial, 0).series.into_iter().map(|series| {
        let text = |wanted: &str| {
            let found = series.labels.iter().find(|(name, _)| name == wanted).map(|(_, value)| value);
            match found {
                Some(AttributeValue::String(text)) if text != "nil" => text.clone(),
                Some(AttributeValue::Float(number)) => number.to_string(),
                _ => String::new(),
            }
        };
        let row = (text("resource.service.name"), text("name"), text("kind"), text("status"), text("p"));
        assert_eq!(series.samples.len(), 1, "{:?}", series.samples);
        (row, series.samples[0].1)
    });
    rows.collect()
}

/// PromQL's `histogram_quantile`, from its description.
fn histogram_quantile(quantile: f64, cumulative: &[f64]) -> f64 {
    let rank = quantile * cumulative.last().unwrap();
    let bucket = cumulative.iter().position(|count| *count >= rank).unwrap();
    let Some(upper) = BOUNDS.get(bucket) else { return BOUNDS[BOUNDS.len() - 1] };
    let (lower, before) = if bucket == 0 { (0.0, 0.0) } else { (BOUNDS[bucket - 1], cumulative[bucket - 1]) };
    lower + (upper - lower) * (rank - before) / (cumulative[bucket] - before)
}

fn bucket_of(seconds: f64) -> usize {
    BOUNDS.partition_point(|bound| *bound < seconds)
}

/// Calls are TraceQL's exactly, quantiles within a bucket.
fn check_traceql(world: &World, naive: &Naive) -> Result<(), TestCaseError> {
    if naive.durations.is_empty() {
        return Ok(());
    }
    let by = "by (resource.service.name, name, kind, status)";
    let range = (START - 200 * SECOND, START + 600 * SECOND);
    let row = |(service, name, kind, status): Key, p: &str| -> Row {
        let text = |text: &str| text.to_owned();
        (
            text(SERVICES[service]),
            text(NAMES[name]),
            text(KINDS[usize::from(kind)]),
            text(STATUSES[usize::from(status)]),
            text(p),
        )
    };
    let counted = world.of("traces_spanmetrics_calls_total");
    let calls: BTreeMap<Row, f64> =
        naive.durations.keys().map(|key| (row(*key, ""), counted[&labels(*key, "")])).collect();
    prop_assert_eq!(&traceql(&format!("{{ }} | count_over_time() {by}"), &naive.good, range), &calls);
    let rates = traceql(&format!("{{ }} | rate() {by}"), &naive.good, range);
    prop_assert_eq!(rates.len(), calls.len());
    for (row, rate) in rates {
        prop_assert!((rate * 800.0 - calls[&row]).abs() < 1e-6, "{row:?}");
    }
    let quantiles =
        traceql(&format!("{{ }} | quantile_over_time(duration, .5, .9, .99) {by}"), &naive.good, range);
    // As in Tempo, spans that took less than two nanoseconds are in no quantile.
    let timed: Vec<Key> = naive
        .durations
        .iter()
        .filter(|(_, all)| all.iter().all(|of| *of >= 2))
        .map(|(key, _)| *key)
        .collect();
    prop_assert!(quantiles.len() >= 3 * timed.len());
    let buckets = world.of("traces_spanmetrics_latency_bucket");
    for key in &timed {
        let les = BOUNDS.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        let cumulative: Vec<f64> = les.map(|le| buckets[&labels(*key, &le)]).collect();
        for quantile in [0.5, 0.9, 0.99] {
            let ours = histogram_quantile(quantile, &cumulative);
            let theirs = quantiles[&row(*key, &quantile.to_string())];
            prop_assert!(
                bucket_of(ours).abs_diff(bucket_of(theirs)) <= 1,
                "{key:?} {quantile}: {ours} and {theirs}"
            );
        }
    }
    Ok(())
}

#[test]
fn what_is_counted_is_what_came() {
    let seed = 20_261_123;
    println!("seed {seed}, {CASES} cases");
    let config = Config {
        cases: CASES,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        max_shrink_iters: 500,
        ..Config::default()
    };
    let result = TestRunner::new(config).run(&steps(), |steps| {
        let processors = Processors { service_graphs: true, ..span_metrics() };
        let mut world = World::new(settings(processors));
        let naive = run(&mut world, &steps);
        check_naive(&world, &naive)?;
        check_traceql(&world, &naive)
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

/// Half a request between two of three services: its number, and whether it is the client's.
type Half = (u64, bool);

/// Both halves of so many requests in any order, and what happens before each.
fn halves() -> impl Strategy<Value = (Vec<Half>, Vec<u8>)> {
    (1..40_u64).prop_flat_map(|count| {
        let all: Vec<Half> = (0..count).flat_map(|number| [(number, true), (number, false)]).collect();
        let between = proptest::collection::vec(0..12_u8, all.len());
        (Just(all).prop_shuffle(), between)
    })
}

#[test]
fn all_pairs_are_found_in_whatever_order_and_however_often_it_starts() {
    let config =
        Config { cases: CASES, rng_seed: RngSeed::Fixed(11), failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&halves(), |(halves, between)| {
        let mut all = settings(Processors { service_graphs: true, ..Processors::default() });
        all.service_graphs.wait = Duration::from_mins(10);
        all.slack = Duration::from_mins(10);
        let mut world = World::new(all);
        let names = |number: u64| (format!("a{}", number % 3), format!("b{}", number % 2));
        let mut expected: BTreeMap<String, f64> = BTreeMap::new();
        for ((number, is_client), before) in halves.into_iter().zip(between) {
            match before {
                0 => world.restart(),
                1 => world.restart_in_order(),
                2..5 => world.passes(Duration::from_secs(4)),
                5..8 => world.work(),
                _ => {}
            }
            let (client, server) = names(number);
            if is_client {
                // Many spans have one number, in other traces.
                let call = span("call", 3, number % 4 + 1, 0).trace(u128::from(number / 4) + 1);
                world.arrives(&service(&client).sends(&[call.with("peer.service", "nobody")]));
                *expected.entry(format!(r#"client="{client}",server="{server}""#)).or_default() += 1.0;
            } else {
                let serve = span("serve", 2, number + 100, number % 4 + 1).trace(u128::from(number / 4) + 1);
                world.arrives(&service(&server).sends(&[serve]));
            }
        }
        world.work();
        prop_assert_eq!(world.of("traces_service_graph_request_total"), expected);
        world.passes(Duration::from_mins(11));
        prop_assert_eq!(world.of_tenant("processor_service_graphs_expired_edges"), 0.0);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

/// What is left out is counted by reason. Without restarts: what the generator tells of itself begins anew with each.
#[test]
fn what_is_left_out_is_said() {
    let seed = 7;
    let config = Config {
        cases: CASES / 3,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        ..Config::default()
    };
    let result = TestRunner::new(config).run(&steps(), |mut steps| {
        steps.retain(|step| !matches!(step, Step::Kill | Step::Stop));
        let mut world = World::new(settings(span_metrics()));
        let naive = run(&mut world, &steps);
        check_naive(&world, &naive)?;
        prop_assert_eq!(world.of_tenant("spans_received_total"), naive.received as f64);
        prop_assert_eq!(world.discarded("outside_metrics_ingestion_slack"), naive.outside as f64);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}
