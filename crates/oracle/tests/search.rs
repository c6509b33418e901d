//! Random queries over random traces: the engine and the oracle must find the same. The engine sees the traces whole, as a
//! stored block gives them back, and in pieces that are scanned one by one and joined.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use prost::Message as _;
use serde_json::{Value, json};
use trackway_common::TraceId;
use trackway_engine::{
    AttributeValue, SearchPlan, SpanResult, SpansetResult, TraceResult, Wholeness, complete_traces,
};
use trackway_oracle::{EvalError, json as oracle_json, model::Trace, otlp, random, search};
use trackway_spans::{BatchBuilder, Limits, SpanBatch, append_request, merge_traces};
use trackway_vparquet::{BlockFile, BlockWriter, Bytes, Read, RowGroup, WriteOptions};

const CASES: u32 = 3_000;
const SPANS_MAX: usize = 1_000;
const NO_ROOT: &str = "<root span not yet received>";

/// The spans of the traces, dealt out over so many batches.
fn pieces(traces: &[Trace], count: usize) -> Vec<Arc<SpanBatch>> {
    let mut builders = vec![BatchBuilder::new(); count];
    let mut next = 0;
    for trace in traces {
        for span in &trace.spans {
            let alone = Trace { id: trace.id, spans: vec![span.clone()] };
            for request in otlp::to_requests(&[alone]) {
                append_request(&mut builders[next % count], &request.encode_to_vec(), Limits::default(), &[])
                    .unwrap();
            }
            next += 1;
        }
    }
    builders.into_iter().map(|builder| Arc::new(builder.finish())).collect()
}

fn joined(batches: &[Arc<SpanBatch>], ids: &[TraceId]) -> SpanBatch {
    let batches: Vec<&SpanBatch> = batches.iter().map(AsRef::as_ref).collect();
    let mut joined = merge_traces(&batches, ids);
    complete_traces(&mut joined);
    joined
}

/// What a block gives back that the spans were written to.
fn stored(batches: &[Arc<SpanBatch>], plan: &SearchPlan) -> SpanBatch {
    let mut file = Vec::new();
    BlockWriter::write(batches, &WriteOptions::default(), &mut file).unwrap();
    let file = Bytes::from(file);
    let Read::Ready(opened) = BlockFile::open(&file, file.len() as u64, &[]).unwrap() else {
        panic!("the whole file was given")
    };
    let mut group = RowGroup::new(&opened, 0);
    group.fetched().add(0, file.clone());
    match group.load(plan.show_needs()).unwrap() {
        Read::Ready(batch) => batch,
        Read::NeedsRanges(ranges) => panic!("{ranges:?}"),
    }
}

/// What a search finds that looks at the pieces one by one and then joins what may be part of the answer.
fn in_pieces(
    plan: &SearchPlan,
    batches: &[Arc<SpanBatch>],
) -> Result<Vec<TraceResult>, trackway_engine::EvalError> {
    let mut found: HashMap<TraceId, u64> = HashMap::new();
    for batch in batches {
        for candidate in plan.scan(batch, Wholeness::Fragments)? {
            *found.entry(candidate.id).or_default() |= candidate.found;
        }
    }
    let mut ids: Vec<TraceId> =
        found.into_iter().filter(|(_, found)| plan.accepts(*found)).map(|(id, _)| id).collect();
    ids.sort_unstable();
    plan.judge(&joined(batches, &ids), None, SPANS_MAX)
}

fn value(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::String(text) => json!({ "stringValue": text }),
        AttributeValue::Int(number) => json!({ "intValue": number.to_string() }),
        AttributeValue::Float(number) => json!({ "doubleValue": number }),
        AttributeValue::Bool(truth) => json!({ "boolValue": truth }),
        AttributeValue::Array(elements) => {
            json!({ "arrayValue": { "values": elements.iter().map(self::value).collect::<Vec<_>>() } })
        }
    }
}

fn attributes(attributes: &[(String, AttributeValue)]) -> Value {
    attributes.iter().map(|(key, of)| json!({ "key": key, "value": value(of) })).collect()
}

fn span_json(span: &SpanResult) -> Value {
    let mut out =
        json!({ "spanID": format!("{:016x}", span.id), "startTimeUnixNano": span.start.to_string() });
    if !span.name.is_empty() {
        out["name"] = span.name.clone().into();
    }
    if span.duration > 0 {
        out["durationNanos"] = span.duration.to_string().into();
    }
    if !span.attributes.is_empty() {
        out["attributes"] = attributes(&span.attributes);
    }
    out
}

fn spanset_json(set: &SpansetResult) -> Value {
    let spans: Vec<Value> = set.spans.iter().map(span_json).collect();
    let mut out = json!({ "spans": spans, "matched": set.matched });
    if !set.attributes.is_empty() {
        out["attributes"] = attributes(&set.attributes);
    }
    out
}

fn trace_json(trace: &TraceResult) -> Value {
    let service = if trace.root_service.is_empty() { NO_ROOT } else { &trace.root_service };
    let mut out = json!({
        "traceID": format!("{:x}", trace.id.0),
        "rootServiceName": service,
        "startTimeUnixNano": trace.start.to_string(),
        "spanSets": trace.spansets.iter().map(spanset_json).collect::<Vec<_>>(),
    });
    if let Some(name) = trace.root_name.as_ref().filter(|name| !name.is_empty()) {
        out["rootTraceName"] = name.clone().into();
    }
    if trace.duration / 1_000_000 > 0 {
        out["durationMs"] = (trace.duration / 1_000_000).into();
    }
    let mut stats = serde_json::Map::new();
    for (service, spans, errors) in &trace.service_stats {
        let mut counts = json!({ "spanCount": spans });
        if *errors > 0 {
            counts["errorCount"] = (*errors).into();
        }
        stats.insert(service.clone(), counts);
    }
    out["serviceStats"] = stats.into();
    out
}

/// In an order that does not depend on who found it: which attribute or spanset stands first means nothing.
fn sorted(mut answer: Value) -> Value {
    fn sort(value: &mut Value) {
        match value {
            Value::Array(elements) => {
                elements.iter_mut().for_each(sort);
                let unordered = ["key", "traceID", "matched", "spanID"];
                if elements.iter().any(|of| unordered.iter().any(|key| of.get(key).is_some())) {
                    elements.sort_by_key(ToString::to_string);
                }
            }
            Value::Object(fields) => fields.values_mut().for_each(sort),
            _ => {}
        }
    }
    sort(&mut answer);
    answer
}

/// What the engine answers, as the oracle writes it, or that it cannot.
fn shown(found: Result<Vec<TraceResult>, trackway_engine::EvalError>) -> Result<Value, String> {
    let traces = found.map_err(|error| error.to_string())?;
    Ok(sorted(json!({ "traces": traces.iter().map(trace_json).collect::<Vec<_>>() })))
}

fn expected(query: &trackway_traceql::ast::Query, traces: &[Trace]) -> Result<Value, EvalError> {
    let mut found = Vec::new();
    for trace in traces {
        found.extend(search(query, trace)?);
    }
    Ok(sorted(oracle_json::search(&found, SPANS_MAX)))
}

#[test]
fn the_engine_finds_what_the_oracle_finds() {
    let mut runner = TestRunner::new(random::config(CASES, 3));
    let cases = (random::traces(3, 8), random::search_query(), 1..4_usize);
    runner
        .run(&cases, |(traces, text, count)| {
            let query = trackway_traceql::parse(&text).unwrap();
            let plan = SearchPlan::new(&query, None).unwrap();
            let batches = pieces(&traces, count);
            let ids: Vec<TraceId> = traces.iter().map(|trace| TraceId(trace.id)).collect();
            let whole = joined(&batches, &ids);
            let results = [
                ("whole", plan.judge(&whole, None, SPANS_MAX)),
                ("stored", plan.judge(&stored(&batches, &plan), None, SPANS_MAX)),
                ("in pieces", in_pieces(&plan, &batches)),
            ];
            let expected = expected(&query, &traces);
            for (how, found) in results {
                match (&expected, shown(found)) {
                    (Ok(expected), Ok(found)) => {
                        prop_assert!(
                            &found == expected,
                            "{how} {text}\n found    {found}\n expected {expected}"
                        );
                    }
                    // One trace that cannot be computed fails the query; which part is looked at first is open.
                    (Err(_), _) => {}
                    (Ok(_), Err(error)) => prop_assert!(false, "{how} {text}: {error}"),
                }
            }
            Ok(())
        })
        .unwrap();
}
