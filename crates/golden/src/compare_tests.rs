//! For each comparator an answer that passes although it is written differently, and answers that fail.

use serde_json::{Value, json};

use super::*;

fn asked(path: &str, traceql: &str) -> Question {
    Question { path: path.to_owned(), traceql: Some(traceql.to_owned()), ..Question::default() }
}

fn same(group: &str, want: &Value, got: &Value) -> bool {
    judge(group, want, got, &asked("/api/search?q=x&limit=1000", "{}")).is_ok()
}

fn judge(group: &str, want: &Value, got: &Value, question: &Question) -> Result<(), String> {
    comparator(group).unwrap()(want, got, question)
}

fn span(id: &str, service: &str) -> Value {
    json!({"spanID": id, "name": "n", "startTimeUnixNano": "5", "durationNanos": "7",
        "attributes": [{"key": "service.name", "value": {"stringValue": service}}]})
}

fn found(id: &str, matched: u64, spans: &[Value]) -> Value {
    json!({"traceID": id, "rootServiceName": "s", "rootTraceName": "t", "startTimeUnixNano": "5", "durationMs": 3,
        "spanSets": [{"matched": matched, "spans": spans}]})
}

#[test]
fn search_compares_sets_of_traces_and_spans() {
    let (a, b) = (span("a", "x"), span("b", "y"));
    let want = json!({"traces": [found("1", 2, &[a.clone(), b.clone()]), found("2", 1, std::slice::from_ref(&a))],
        "metrics": {"inspectedBytes": "4"}});
    let turned =
        json!({"traces": [found("2", 1, std::slice::from_ref(&a)), found("1", 2, &[b.clone(), a.clone()])]});
    assert!(same("search", &want, &turned));
    for traces in [
        json!([found("1", 2, &[a.clone(), b.clone()])]),
        json!([found("1", 2, &[a.clone(), b.clone()]), found("3", 1, std::slice::from_ref(&a))]),
        json!([found("1", 2, &[a.clone(), span("b", "z")]), found("2", 1, std::slice::from_ref(&a))]),
        json!([found("1", 3, &[a.clone(), b.clone()]), found("2", 1, std::slice::from_ref(&a))]),
        json!([{"rootServiceName": "no id"}]),
        Value::Null,
    ] {
        assert!(!same("search", &want, &json!({ "traces": traces })), "{traces}");
    }
    assert!(!same("search-params", &want, &json!({})));
    assert!(same("bad-search", &json!({"traces": []}), &json!({})));
}

#[test]
fn search_leaves_open_which_spans_and_traces_are_shown() {
    let want = json!({"traces": [found("1", 9, &[span("a", "x")])]});
    assert!(same("search", &want, &json!({"traces": [found("1", 9, &[span("b", "y")])]})));
    assert!(!same("search", &want, &json!({"traces": [found("1", 8, &[span("b", "y")])]})));
    assert!(!same("search", &want, &json!({"traces": [found("1", 9, &[span("a", "x"), span("b", "y")])]})));

    let limited = asked("/api/search?limit=1", "");
    let (one, other) = (json!({"traces": [found("1", 0, &[])]}), json!({"traces": [found("2", 0, &[])]}));
    assert!(judge("search", &one, &other, &limited).is_ok());
    assert!(judge("search", &one, &json!({"traces": []}), &limited).is_err());
    assert!(judge("search", &one, &other, &asked("/api/search", "")).is_err());
    assert!(judge("search", &one, &one, &asked("/api/search?limit=many", "")).is_err());
}

#[test]
fn metrics_compare_series_and_samples() {
    let series = |label: &str, value: Value, at: &str| {
        json!({"labels": [{"key": "a", "value": {"stringValue": label}}],
            "samples": [{"timestampMs": "1"}, {"timestampMs": at, "value": value}], "exemplars": [1]})
    };
    let want = json!({"series": [series("x", json!(1.0), "2"), series("y", json!(3), "2")]});
    let got = json!({"series": [series("y", json!(3.000_000_1), "2"), series("x", json!(1), "2")]});
    assert!(same("metrics", &want, &got));
    assert!(!same("metrics", &want, &json!({"series": [series("x", json!(1), "2")]})));
    for (label, value, at) in [("x", json!(1.1), "2"), ("x", json!(1), "3"), ("z", json!(1), "2")] {
        let got = json!({"series": [series(label, value, at), series("y", json!(3), "2")]});
        assert!(!same("metrics", &want, &got), "{got}");
    }
    let instant = |value: Value| json!({"series": [{"labels": [], "value": value}]});
    assert!(same("instant", &instant(json!("NaN")), &instant(json!("NaN"))));
    assert!(same("instant", &instant(json!(0)), &json!({"series": [{}]})));
    assert!(same("instant", &instant(json!("2")), &instant(json!(2))));
    assert!(!same("instant", &instant(json!(1)), &json!({"series": [{}]})));
    assert!(!same("instant", &instant(json!("NaN")), &instant(json!(1))));
}

#[test]
fn metrics_leave_open_what_chance_decides() {
    let many = |count: usize| -> Value {
        json!({"series": (0..count).map(|i| json!({"labels": [{"key": i.to_string()}]})).collect::<Vec<_>>()})
    };
    let judged =
        |query: &str, got: usize| judge("metrics", &many(20), &many(got), &asked("/", query)).is_ok();
    assert!(judged("{} | compare({})", 22));
    assert!(!judged("{} | rate() | topk(5)", 23));
    assert!(judged("{} | rate() by (span.as)", 1));
    assert!(!judged("{} | rate() by (span.other)", 1));
}

fn whole(span: &Value, service: &str) -> Value {
    json!({"trace": {"resourceSpans": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]},
        "scopeSpans": [{"scope": {"name": "lib"}, "spans": [span]}]}]}})
}

#[test]
fn traces_compare_spans_with_all_they_have() {
    let want = json!({"spanId": "AA==", "status": {}, "flags": 1, "attributes": [{"key": "i", "value": {"intValue": "4"}},
        {"key": "j"}], "events": [{"name": "e", "attributes": [{"key": "k"}]}], "links": [{"spanId": "BB=="}]});
    let got = json!({"spanId": "AA==", "attributes": [{"key": "j"}, {"key": "i", "value": {"intValue": "4"}}],
        "events": [{"attributes": [{"key": "k"}], "name": "e"}], "links": [{"spanId": "BB==", "attributes": []}]});
    assert!(same("trace", &whole(&want, "s"), &whole(&got, "s")));
    let mut old = whole(&got, "s")["trace"].clone();
    old["batches"] = old["resourceSpans"].take();
    old.as_object_mut().unwrap().remove("resourceSpans");
    assert!(same("trace", &whole(&want, "s"), &old));

    assert!(!same("trace", &whole(&want, "s"), &whole(&got, "other")));
    for (name, value) in [
        ("spanId", json!("AB==")),
        ("status", json!({"code": "STATUS_CODE_ERROR"})),
        ("attributes", json!([{"key": "i", "value": {"intValue": 4}}, {"key": "j"}])),
        ("events", json!([])),
        ("links", json!([{"spanId": "BB==", "attributes": [{"key": "x"}]}])),
        ("links", Value::Null),
    ] {
        let mut other = got.clone();
        other[name] = value;
        assert!(!same("trace", &whole(&want, "s"), &whole(&other, "s")), "{other}");
    }
    let mut twice = whole(&got, "s");
    let spans = &mut twice["trace"]["resourceSpans"][0]["scopeSpans"][0]["spans"];
    *spans = json!([got, got]);
    assert!(!same("trace", &whole(&want, "s"), &twice));
}

#[test]
fn tags_compare_names_as_sets_and_values_as_often() {
    let scopes = json!({"scopes": [{"name": "span", "tags": ["a", "b"]}, {"name": "event", "tags": []}]});
    assert!(same("tags", &scopes, &json!({"scopes": [{"name": "span", "tags": ["b", "a"]}]})));
    assert!(!same("tags", &scopes, &json!({"scopes": [{"name": "resource", "tags": ["b", "a"]}]})));
    assert!(!same("tags", &scopes, &json!({"scopes": [{"name": "span", "tags": ["b"]}]})));
    let names = json!({"tagNames": ["a", "b"]});
    assert!(same("tags", &names, &json!({"tagNames": ["b", "a", "a"]})));
    assert!(!same("tags", &names, &json!({"tagNames": ["b"]})));
    assert!(!same("tags", &json!({"tagNames": []}), &json!({})));
    let values = json!({"tagValues": [{"type": "int", "value": "1"}, {"type": "string", "value": "1"}]});
    let turned = json!({"tagValues": [{"value": "1", "type": "string"}, {"type": "int", "value": "1"}]});
    for group in ["values", "values-v1", "values-q"] {
        assert!(same(group, &values, &turned));
        assert!(!same(group, &values, &json!({"tagValues": [{"type": "int", "value": "1"}]})));
    }
    assert!(same("values-v1", &json!({"tagValues": []}), &json!({})));
}

#[test]
fn limited_tags_are_only_counted() {
    let names = |count: usize| json!({"tagNames": vec!["x"; count]});
    assert!(same("tags-limit", &names(10), &names(13)));
    assert!(!same("tags-limit", &names(10), &names(14)));
    let scopes =
        json!({"scopes": [{"name": "a", "tags": ["1", "2"]}, {"name": "b", "tags": ["1"]}, {"name": "c"}]});
    assert!(same("tags-limit", &scopes, &names(6)));
    assert!(!same("tags-limit", &scopes, &names(7)));
}

#[test]
fn other_groups_have_no_comparator() {
    for group in ["push", "zipkin", "plumbing", "trace-pb", "trace-bad", "bad-something"] {
        assert!(comparator(group).is_none(), "{group}");
    }
}
