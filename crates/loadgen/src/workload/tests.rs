//! That the workload is what docs/performance.md says it is.

use std::collections::{BTreeMap, HashSet};

use super::*;
use crate::otlp::{count_spans, trace_span_ids};

const WORKLOAD: Workload = Workload {
    seed: 7,
    traces: 3_000,
    start_ns: 1_760_000_000_000_000_000,
    span_of_time_ns: 600_000_000_000,
};

#[test]
fn it_has_the_promised_shape() {
    let requests: Vec<Request> = WORKLOAD.requests().collect();
    let spans: usize = requests.iter().map(|request| request.spans).sum();
    let bytes: usize = requests.iter().map(|request| request.bytes.len()).sum();
    let (per_trace, per_span) = (spans as f64 / WORKLOAD.traces as f64, bytes as f64 / spans as f64);
    println!(
        "{spans} spans, {per_trace:.2} a trace, {per_span:.1} bytes a span, {} requests",
        requests.len()
    );
    assert!((18.0..=20.0).contains(&per_trace), "{per_trace} spans a trace");
    assert!((370.0..=410.0).contains(&per_span), "{per_span} bytes a span");

    let (last, full) = requests.split_last().expect("there are requests");
    assert!(full.iter().all(|request| request.spans == SPANS_PER_REQUEST));
    assert!((1..=SPANS_PER_REQUEST).contains(&last.spans));
    assert!(requests.iter().all(|request| count_spans(&request.bytes) == Ok(request.spans as u64)));
}

#[test]
fn facts_say_what_was_sent() {
    let mut sent: BTreeMap<[u8; 16], Vec<u64>> = BTreeMap::new();
    let mut arrivals: BTreeMap<[u8; 16], usize> = BTreeMap::new();
    for request in WORKLOAD.requests() {
        for (trace, ids) in trace_span_ids(&request.bytes).expect("well formed") {
            sent.entry(trace).or_default().extend(ids);
            *arrivals.entry(trace).or_default() += 1;
        }
    }
    let ids: HashSet<u64> = sent.values().flatten().copied().collect();
    assert_eq!(ids.len(), sent.values().map(Vec::len).sum::<usize>(), "a span id stands twice");
    let several = arrivals.values().filter(|requests| **requests > 1).count();
    assert!(several * 10 > arrivals.len() * 9, "only {several} traces come in several requests");

    let (mut services, mut names, mut orders) = (HashSet::new(), HashSet::new(), HashSet::new());
    let (mut errors, mut spans) = (0, 0);
    for index in 0..WORKLOAD.traces {
        let facts = WORKLOAD.facts(index);
        let mut expected: Vec<u64> = facts.spans.iter().map(|span| span.id).collect();
        let mut found = sent.remove(&facts.trace_id).expect("the trace was sent");
        expected.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, expected);
        services.extend(facts.spans.iter().map(|span| span.service));
        names.extend(facts.spans.iter().map(|span| span.name));
        errors += facts.spans.iter().filter(|span| span.is_error).count();
        spans += facts.spans.len();
        assert!(facts.order_id.is_none_or(|order| orders.insert(order)), "an order stands twice");
    }
    assert!(sent.is_empty());
    assert_eq!(services.len(), 15);
    assert!(names.len() > 50, "{} names", names.len());
    let share = errors as f64 / spans as f64;
    println!("{:.2} % errors, {} names", share * 100.0, names.len());
    assert!((0.015..0.025).contains(&share), "{share} of the spans failed");
    assert!((35..=45).contains(&statements::COUNT));
}

#[test]
fn the_same_seed_makes_the_same_bytes() {
    let small = Workload { traces: 200, ..WORKLOAD };
    let bytes =
        |workload: &Workload| workload.requests().flat_map(|request| request.bytes).collect::<Vec<_>>();
    assert_eq!(bytes(&small), bytes(&small));
    assert_ne!(bytes(&small), bytes(&Workload { seed: 8, ..small }));
    assert_eq!(Workload { traces: 0, ..WORKLOAD }.requests().count(), 0);
}

#[test]
fn children_lie_within_their_parents() {
    for index in 0..300 {
        let plan = WORKLOAD.plan(index);
        for span in &plan.spans {
            assert!(span.start <= span.end);
            let Some(parent) = span.parent.map(|parent| &plan.spans[parent]) else { continue };
            if !matches!(span.detail, plan::Detail::Process(_)) {
                assert!(parent.start <= span.start && span.end <= parent.end, "{span:?} in {parent:?}");
            }
        }
    }
}
