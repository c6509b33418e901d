//! The oracle against what a real Tempo answered: all recorded searches and metrics queries, on the recorded input.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of a test may stop it, and may say what they found"
)]

use std::collections::BTreeMap;

use prost::Message;
use trackway_golden::{Question, judge_answer, parameter};
use trackway_oracle::model::Trace;
use trackway_oracle::{EvalError, Time, json, metrics, otlp, search};
use trackway_proto::collector::ExportTraceServiceRequest;
use trackway_traceql::ast::Query;

/// A question that the oracle answers differently from the recording on purpose. The exceptions of `trackway_golden`
/// (integer and float literals, `^`, `!`, shadowed attributes) are judged there.
struct Deviation {
    group: &'static str,
    query: &'static str,
    /// What the formats end with whose recordings differ.
    formats: &'static str,
    reason: &'static str,
}

const DEVIATIONS: [Deviation; 5] = [
    Deviation {
        group: "search",
        query: "{ .nothing = nil }",
        formats: "",
        reason: "Tempo passes over spans without any attribute",
    },
    Deviation {
        group: "search",
        query: "{ nestedSetRight < 5 }",
        formats: "",
        reason: "Tempo numbers siblings in the order in which they came, which nobody can tell later",
    },
    Deviation {
        group: "search",
        query: "{ resource.service.name = \"scopes\" } | select(resource.dup, span.dup, event.dup, link.dup)",
        formats: "dedicated",
        reason: "a dedicated column for texts shows a number as nil",
    },
    Deviation {
        group: "metrics",
        query: "{ } | rate() with (sample=true)",
        formats: "",
        reason: "sampling is answered exactly",
    },
    Deviation {
        group: "metrics",
        query: "{ } | rate() with (sample=0.5)",
        formats: "",
        reason: "sampling is answered exactly",
    },
];

const GROUPS: [&str; 6] = ["search", "bad-search", "metrics", "metrics-params", "instant", "bad-metrics"];

fn traces(format: &str) -> Vec<Trace> {
    let mut requests: Vec<ExportTraceServiceRequest> = trackway_golden::shop_frames(format)
        .unwrap()
        .iter()
        .map(|frame| ExportTraceServiceRequest::decode(frame.as_slice()).unwrap())
        .collect();
    let odd = trackway_golden::odd_json(format).unwrap();
    let odd = trackway_otlpjson::to_protobuf(&odd, &trackway_otlpjson::Limits::default()).unwrap();
    requests.push(ExportTraceServiceRequest::decode(odd.protobuf.as_slice()).unwrap());
    otlp::from_requests(&requests)
}

fn number(question: &Question, name: &str) -> Option<u64> {
    parameter(&question.path, name)?.parse().ok()
}

fn seconds(step: &str) -> u64 {
    step.strip_suffix('s').or(step.strip_suffix('m')).unwrap().parse::<u64>().unwrap()
        * if step.ends_with('m') { 60 } else { 1 }
}

fn search_body(question: &Question, query: &Query, traces: &[Trace]) -> Result<serde_json::Value, EvalError> {
    let mut found = Vec::new();
    for trace in traces {
        found.extend(search(query, trace)?);
    }
    found.sort_by_key(|trace| std::cmp::Reverse(trace.start));
    found.truncate(number(question, "limit").unwrap_or(20) as usize);
    Ok(json::search(&found, number(question, "spss").unwrap_or(3) as usize))
}

fn metrics_body(
    question: &Question,
    query: &Query,
    traces: &[Trace],
) -> Result<serde_json::Value, EvalError> {
    let nanoseconds = |name: &str| number(question, name).unwrap() * 1_000_000_000;
    let (start, end) = (nanoseconds("start"), nanoseconds("end"));
    if question.path.starts_with("/api/metrics/query_range") {
        let step = seconds(&parameter(&question.path, "step").unwrap()) * 1_000_000_000;
        Ok(json::range(&metrics(query, traces, &Time::Range { start, end, step })?))
    } else {
        Ok(json::instant(&metrics(query, traces, &Time::Instant { start, end })?))
    }
}

/// The status and the body that the oracle answers a question with.
fn answer(question: &Question, text: &str, traces: &[Trace]) -> (u16, String) {
    let Ok(query) = trackway_traceql::parse(text) else { return (400, "it does not parse".to_owned()) };
    let body = if question.path.starts_with("/api/search") {
        search_body(question, &query, traces)
    } else {
        metrics_body(question, &query, traces)
    };
    body.map_or_else(|error| (400, error.to_string()), |body| (200, body.to_string()))
}

fn check_format(format: &str) {
    let traces = traces(format);
    let spans: usize = traces.iter().map(|trace| trace.spans.len()).sum();
    println!("{format}: {} traces, {spans} spans", traces.len());
    let (mut right, mut asked) = (BTreeMap::new(), BTreeMap::new());
    let mut wrong = Vec::new();
    for mut question in trackway_golden::answers(format).unwrap() {
        let group = question.group.clone();
        let text = question.traceql.clone().or_else(|| parameter(&question.path, "q")).unwrap_or_default();
        let (group, text) = (group.as_str(), text.as_str());
        // Of the questions about parameters only those about the step are about what a query means.
        let about_step = group != "metrics-params" || parameter(&question.path, "step").is_some();
        if !GROUPS.contains(&group) || !about_step {
            continue;
        }
        question.group = question.group.replace("-params", ""); // to be compared as others are
        *asked.entry(group.to_owned()).or_insert(0) += 1;
        let (status, body) = answer(&question, text, &traces);
        let judged = judge_answer(&question, status, body.as_bytes());
        let deviation =
            DEVIATIONS.iter().find(|d| d.group == group && d.query == text && format.ends_with(d.formats));
        match (judged, deviation) {
            (Ok(()), None) => *right.entry(group.to_owned()).or_insert(0) += 1,
            (Err(_), Some(known)) => println!("{format} [{group}] {text}: differs: {}", known.reason),
            (Ok(()), Some(_)) => wrong.push(format!("[{group}] {text}\n    does not differ any more")),
            (Err(why), None) => wrong.push(format!("[{group}] {text}\n    {why}")),
        }
    }
    for (group, asked) in &asked {
        println!("{format} {group:13} {:3} of {asked}", right.get(group).unwrap_or(&0));
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn v4() {
    check_format("v4");
}

#[test]
fn v4_dedicated() {
    check_format("v4-dedicated");
}

#[test]
fn v5() {
    check_format("v5");
}

#[test]
fn v5_dedicated() {
    check_format("v5-dedicated");
}

/// What is asked of the round trip: nothing that a query sees gets lost.
#[test]
fn to_otlp_and_back() {
    let traces = traces("v4");
    assert_eq!(otlp::from_requests(&otlp::to_requests(&traces)), traces);
}

/// The recorded counts of `compare()` are compared only roughly above, as ties are broken by chance. The totals have no
/// ties: all of them must be the same, and of the values that both show the counts.
#[test]
fn compare_counts_what_tempo_counts() {
    let traces = traces("v4");
    let asked = |q: &Question| q.group == "instant" && q.label().contains("compare(");
    let question = trackway_golden::answers("v4").unwrap().into_iter().find(asked).unwrap();
    let (_, body) = answer(&question, question.traceql.as_deref().unwrap(), &traces);
    let (want, got) =
        (counts(question.json.as_ref().unwrap()), counts(&serde_json::from_str(&body).unwrap()));
    let totals = |of: &BTreeMap<String, f64>| -> Vec<String> {
        of.keys().filter(|labels| labels.contains("_total")).cloned().collect()
    };
    assert_eq!(totals(&want), totals(&got));
    for (labels, want) in &want {
        // Tempo counts the service twice: as an attribute and as the column that it has.
        let want = if labels.contains("\"resource.service.name\"") { want / 2.0 } else { *want };
        if let Some(got) = got.get(labels) {
            assert!((got - want).abs() < 1e-9, "{labels}: {got} want {want}");
        }
    }
    let shared = want.keys().filter(|labels| got.contains_key(*labels)).count();
    println!("compare: {} series, of which Tempo has {shared} and {} others", got.len(), want.len() - shared);
    assert!(shared > 300);
}

/// The values of series by their labels.
fn counts(answer: &serde_json::Value) -> BTreeMap<String, f64> {
    let series = answer["series"].as_array().unwrap().iter();
    series.map(|s| (s["labels"].to_string(), s["value"].as_f64().unwrap_or(0.0))).collect()
}

/// Answers that are known to be right though no recording has them.
#[test]
fn known_without_a_recording() {
    let traces = traces("v4");
    let found = |text: &str| {
        let query = trackway_traceql::parse(text).unwrap();
        traces.iter().filter(|trace| search(&query, trace).unwrap().is_some()).count()
    };
    assert_eq!(found("{ span:childCount = 0 && resource.service.name = \"trees\" }"), 5);
    assert_eq!(found("{ .dup = \"resource-value\" }"), 0);
    assert_eq!(found("{ .i ^ 2 = 1764 }"), 1);
    assert_eq!(found("{ .nothing = nil }"), traces.len());
}
