//! The engine's metrics against the oracle's: random queries over random traces, the spans cut into batches and the
//! batches into partials that are merged in any order.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of a test may stop it, and may say what they found"
)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use prost::Message;
use trackway_engine::metrics::{Intervals, MetricsPlan, Partial, Series};
use trackway_engine::{AttributeValue, Filter, complete_traces};
use trackway_oracle::model::Trace;
use trackway_oracle::random::{config, instant, metrics_query, range, traces};
use trackway_oracle::{Time, Val, json, metrics, otlp, search};
use trackway_spans::{BatchBuilder, Limits, SpanBatch, append_request, merge_traces};
use trackway_traceql::ast::{FieldExpr, MetricsAggregate, Query, Root, SpansetExpr, Stage};

const CASES: u32 = 3_000;

/// Labels as text, and the samples.
type Answer = BTreeMap<String, Vec<(u64, f64)>>;

/// The filter of a query that has only one; whether it has more is not what is tested here.
fn filter_of(query: &Query) -> Option<Option<&FieldExpr>> {
    let Root::Pipeline(pipeline) = &query.root else { return None };
    match pipeline.stages.as_slice() {
        [Stage::Spanset(SpansetExpr::Filter(filter))] => Some(filter.as_ref()),
        _ => None,
    }
}

/// A batch of whole traces, with what is about whole traces.
fn batch(traces: &[Trace]) -> SpanBatch {
    let mut builder = BatchBuilder::new();
    for request in otlp::to_requests(traces) {
        append_request(&mut builder, &request.encode_to_vec(), Limits::default(), &[]).unwrap();
    }
    let batch = builder.finish();
    let ids: Vec<_> = batch.traces.ids().collect();
    let mut batch = merge_traces(&[&batch], &ids);
    complete_traces(&mut batch);
    batch
}

/// Whether the engine's filter selects the spans that the oracle's does: what it selects is not what is tested here.
fn selects_the_same(query: &Query, traces: &[Trace]) -> bool {
    let filter = Filter::compile(filter_of(query).unwrap()).unwrap();
    traces.iter().all(|trace| {
        let answer = search(query, trace).unwrap();
        let mut expected: Vec<u64> = answer
            .iter()
            .flat_map(|answer| &answer.spansets)
            .flat_map(|set| &set.spans)
            .map(|span| span.id)
            .collect();
        let batch = batch(std::slice::from_ref(trace));
        let ids = batch.spans.id.iter().zip(filter.mask(&batch).unwrap());
        let mut found: Vec<u64> = ids.filter(|(_, selected)| *selected).map(|(id, _)| *id).collect();
        expected.sort_unstable();
        found.sort_unstable();
        expected == found
    })
}

fn intervals(time: Time) -> Intervals {
    match time {
        Time::Range { start, end, step } => Intervals::range(start, end, step),
        Time::Instant { start, end } => Intervals::instant(start, end),
    }
}

fn of_oracle(series: Vec<trackway_oracle::Series>) -> Answer {
    let text = |series: &trackway_oracle::Series| {
        let one = trackway_oracle::Series { labels: series.labels.clone(), samples: Vec::new() };
        json::range(&[one])["series"][0]["labels"].to_string()
    };
    series.into_iter().map(|series| (text(&series), series.samples)).collect()
}

fn of_engine(series: Vec<Series>) -> Answer {
    let value = |value: AttributeValue| match value {
        AttributeValue::String(text) => Val::Text(text),
        AttributeValue::Int(value) => Val::Int(value),
        AttributeValue::Float(value) => Val::Float(value),
        AttributeValue::Bool(value) => Val::Bool(value),
        AttributeValue::Array(_) => unreachable!("arrays are no labels"),
    };
    let series = series.into_iter().map(|series| trackway_oracle::Series {
        labels: series.labels.into_iter().map(|(name, of)| (name, value(of))).collect(),
        samples: series.samples,
    });
    of_oracle(series.collect())
}

fn is_equal(a: &Answer, b: &Answer) -> bool {
    let close = |a: f64, b: f64| {
        a == b || (a - b).abs() <= 1e-12 * a.abs().max(b.abs()) || (a.is_nan() && b.is_nan())
    };
    a.len() == b.len()
        && a.iter().zip(b).all(|((labels, samples), (others, other_samples))| {
            labels == others
                && samples.len() == other_samples.len()
                && samples.iter().zip(other_samples).all(|(x, y)| x.0 == y.0 && close(x.1, y.1))
        })
}

/// Which partial each batch goes to and in which order partials are merged.
type Order = (Vec<u8>, Vec<u8>);

/// The engine's series, and the partial that they are made of.
fn answer(query: &Query, traces: &[Trace], time: Time, (into, order): &Order) -> (Vec<Series>, Partial) {
    let plan = MetricsPlan::new(query.metrics.as_ref().unwrap(), intervals(time), 5).unwrap();
    let filter = Filter::compile(filter_of(query).unwrap()).unwrap();
    let mut partials = vec![Partial::default(); 3];
    for (at, chunk) in traces.chunks(2).enumerate() {
        let batch = batch(chunk);
        let partial = &mut partials[usize::from(into[at % into.len()]) % 3];
        plan.observe(&batch, &filter.mask(&batch).unwrap(), partial).unwrap();
    }
    let mut all = Partial::default();
    for pick in order.iter().chain(&[0, 0, 0]) {
        if !partials.is_empty() {
            let next = partials.remove(usize::from(*pick) % partials.len());
            let sent = serde_json::to_string(&next).unwrap();
            plan.merge(&mut all, serde_json::from_str(&sent).unwrap());
        }
    }
    (plan.finish(all.clone(), 0).series, all)
}

fn check(text: &str, traces: &[Trace], time: Time, order: &Order) -> Result<(), TestCaseError> {
    let query = trackway_traceql::parse(text).unwrap();
    let expected = metrics(&query, traces, &time).map_err(|e| TestCaseError::fail(format!("{text}: {e}")))?;
    let (series, partial) = answer(&query, traces, time, order);
    let (expected, found) = (of_oracle(expected), of_engine(series));
    prop_assert!(is_equal(&expected, &found), "{text}\nexpected {expected:#?}\nfound {found:#?}");
    // The whole of it: partials merged in another order, and one made of other batches, are the same.
    let (_, again) = answer(&query, traces, time, &(vec![2, 0, 1, 1], vec![order.1[0] / 2]));
    prop_assert_eq!(&partial, &again);
    Ok(())
}

#[test]
fn series_are_those_of_the_oracle() {
    let seed = 20_261_122;
    println!("seed {seed}, {CASES} cases");
    let counts: [AtomicUsize; 4] = Default::default();
    let [asked, found, compared, skipped] = &counts;
    let bytes = || proptest::collection::vec(any::<u8>(), 1..4);
    // Most queries have more than one filter: those are asked again with another one.
    let queries = metrics_query()
        .prop_filter("one filter", |text| filter_of(&trackway_traceql::parse(text).unwrap()).is_some());
    let result = TestRunner::new(config(CASES, seed)).run(
        &(queries, traces(6, 8), any::<bool>(), (bytes(), bytes())),
        |(text, traces, is_range, order)| {
            let query = trackway_traceql::parse(&text).unwrap();
            if !selects_the_same(&query, &traces) {
                println!("another selection of spans: {text}");
                skipped.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
            asked.fetch_add(1, Ordering::Relaxed);
            let aggregate = &query.metrics.as_ref().unwrap().aggregate;
            let is_compare = matches!(aggregate, MetricsAggregate::Compare { .. });
            compared.fetch_add(usize::from(is_compare), Ordering::Relaxed);
            let time = if is_range { range() } else { instant() };
            found.fetch_add(
                usize::from(!metrics(&query, &traces, &time).unwrap().is_empty()),
                Ordering::Relaxed,
            );
            check(&text, &traces, time, &order)
        },
    );
    println!(
        "{asked:?} queries, {compared:?} of compare(), {found:?} found something; {skipped:?} were left out"
    );
    assert!(skipped.load(Ordering::Relaxed) * 100 <= asked.load(Ordering::Relaxed));
    if let Err(error) = result {
        panic!("{error}");
    }
}

/// Exemplars are the same ones however spans are cut into parts, spread over the range, no more than wanted, and each
/// says its trace and the labels of its series.
#[test]
fn exemplars_stand_for_their_series() {
    let mut runner = TestRunner::new(config(1, 7));
    let traces = traces(12, 8).new_tree(&mut runner).unwrap().current();
    for text in [
        "{ } | rate() by (name)",
        "{ } | max_over_time(duration) by (name)",
        "{ } | histogram_over_time(duration)",
        "{ } | quantile_over_time(duration, .5, 1)",
    ] {
        let query = trackway_traceql::parse(text).unwrap();
        let (series, _) = answer(&query, &traces, range(), &(vec![0, 1, 2], vec![1]));
        let (again, _) = answer(&query, &traces, range(), &(vec![2, 0], vec![0]));
        assert_eq!(series, again);
        let count: usize = series.iter().map(|series| series.exemplars.len()).sum();
        assert!((1..=5).contains(&count), "{count} exemplars of {text}");
        for of in &series {
            for exemplar in &of.exemplars {
                assert_eq!(exemplar.labels[0].0, "trace:id");
                assert_eq!(exemplar.labels[1..], of.labels);
                let at = of.samples.iter().find(|sample| sample.0 >= exemplar.time_ms).unwrap();
                match text.contains("rate") {
                    true => assert_eq!(exemplar.value, at.1),
                    false if text.contains("max") => assert!(exemplar.value <= at.1),
                    false => assert!(exemplar.value <= 3.0, "seconds"),
                }
            }
        }
        let (instant, _) = answer(&query, &traces, instant(), &(vec![0], vec![0]));
        assert!(instant.iter().all(|series| series.exemplars.is_empty()));
    }
}

/// More series than wanted are cut, and the answer says so.
#[test]
fn too_many_series_are_cut() {
    let mut runner = TestRunner::new(config(1, 7));
    let traces = traces(12, 8).new_tree(&mut runner).unwrap().current();
    let query = trackway_traceql::parse("{ } | rate() by (trace:id, span:id)").unwrap();
    let (series, partial) = answer(&query, &traces, range(), &(vec![0], vec![0]));
    let plan = MetricsPlan::new(query.metrics.as_ref().unwrap(), intervals(range()), 5).unwrap();
    assert!(series.len() > 2);
    let cut = plan.finish(partial.clone(), 2);
    assert_eq!(cut.series, series[..2]);
    assert!(cut.truncated.unwrap().starts_with("Response exceeds maximum series limit of 2,"));
    assert_eq!(plan.finish(partial, series.len()).truncated, None);
}
