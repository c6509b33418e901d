//! The JSON of answers, written key by key. Grafana reads `/api/search` strictly: a key that Tempo does not write is
//! an error there.
//!
//! What must stay true: protobuf's rules for JSON (zero values left out, 64-bit numbers as strings), `traces`,
//! `tagNames`, `tagValues` and `metrics` always there, and exactly Tempo's keys.

use trackway_common::span_id_hex;
use trackway_otlpjson::json::{
    Object, write_bool, write_f64, write_i64_string, write_string, write_u64, write_u64_string,
};
use trackway_querier::service::{AttributeValue, Metrics, SpanResult, SpansetResult, TraceResult};

/// What stands for the service of a root span that was not seen.
pub(crate) const NO_ROOT: &str = "<root span not yet received>";
const NANOS_PER_MS: u64 = 1_000_000;

/// Duration of a trace in milliseconds.
pub(crate) fn millis(nanos: u64) -> u32 {
    u32::try_from(nanos / NANOS_PER_MS).unwrap_or(u32::MAX)
}

/// A search's answer.
pub(crate) fn search(traces: &[TraceResult], metrics: &Metrics) -> Vec<u8> {
    let mut out = Vec::with_capacity(256 + traces.len() * 1024);
    let mut object = Object::begin(&mut out);
    array(object.key("traces"), traces, trace);
    search_metrics(object.key("metrics"), metrics);
    object.end();
    out
}

fn trace(out: &mut Vec<u8>, trace: &TraceResult) {
    let mut object = Object::begin(out);
    write_string(object.key("traceID"), trace.id.short_hex());
    let service = if trace.root_service.is_empty() { NO_ROOT } else { &trace.root_service };
    write_string(object.key("rootServiceName"), service);
    if let Some(name) = trace.root_name.as_deref().filter(|name| !name.is_empty()) {
        write_string(object.key("rootTraceName"), name);
    }
    wide(&mut object, "startTimeUnixNano", trace.start);
    narrow(&mut object, "durationMs", u64::from(millis(trace.duration)));
    if let Some(first) = trace.spansets.first() {
        // The first stands there twice: under the name of old, and in the list. It is written once and copied.
        let out = object.key("spanSet");
        let start = out.len();
        spanset(out, first);
        let end = out.len();
        let out = object.key("spanSets");
        out.push(b'[');
        out.extend_from_within(start..end);
        for other in &trace.spansets[1..] {
            out.push(b',');
            spanset(out, other);
        }
        out.push(b']');
    }
    if !trace.service_stats.is_empty() {
        let mut stats: Vec<_> = trace.service_stats.iter().collect();
        stats.sort();
        let mut services = Object::begin(object.key("serviceStats"));
        for (service, spans, errors) in stats {
            let mut service = Object::begin(services.any_key(service));
            narrow(&mut service, "spanCount", u64::from(*spans));
            narrow(&mut service, "errorCount", u64::from(*errors));
            service.end();
        }
        services.end();
    }
    object.end();
}

fn spanset(out: &mut Vec<u8>, set: &SpansetResult) {
    let mut object = Object::begin(out);
    if !set.spans.is_empty() {
        array(object.key("spans"), &set.spans, span);
    }
    narrow(&mut object, "matched", u64::from(set.matched));
    attributes(&mut object, &set.attributes);
    object.end();
}

fn span(out: &mut Vec<u8>, span: &SpanResult) {
    let mut object = Object::begin(out);
    write_string(object.key("spanID"), span_id_hex(span.id));
    if !span.name.is_empty() {
        write_string(object.key("name"), &span.name);
    }
    wide(&mut object, "startTimeUnixNano", span.start);
    wide(&mut object, "durationNanos", span.duration);
    attributes(&mut object, &span.attributes);
    object.end();
}

fn attributes(object: &mut Object<'_>, attributes: &[(String, AttributeValue)]) {
    if attributes.is_empty() {
        return;
    }
    pairs(object.key("attributes"), attributes);
}

/// A list of keys and values.
pub(crate) fn pairs(out: &mut Vec<u8>, pairs: &[(String, AttributeValue)]) {
    array(out, pairs, |out, (key, any)| {
        let mut pair = Object::begin(out);
        write_string(pair.key("key"), key);
        value(pair.key("value"), any);
        pair.end();
    });
}

fn value(out: &mut Vec<u8>, any: &AttributeValue) {
    let mut object = Object::begin(out);
    match any {
        AttributeValue::String(text) => write_string(object.key("stringValue"), text),
        AttributeValue::Int(number) => write_i64_string(object.key("intValue"), *number),
        AttributeValue::Float(number) => write_f64(object.key("doubleValue"), *number),
        AttributeValue::Bool(is) => write_bool(object.key("boolValue"), *is),
        AttributeValue::Array(values) => {
            let mut list = Object::begin(object.key("arrayValue"));
            if !values.is_empty() {
                array(list.key("values"), values, value);
            }
            list.end();
        }
    }
    object.end();
}

/// Metrics of searches and of questions for series.
pub(crate) fn search_metrics(out: &mut Vec<u8>, metrics: &Metrics) {
    let mut object = Object::begin(out);
    narrow(&mut object, "inspectedTraces", metrics.inspected_traces.min(u64::from(u32::MAX)));
    wide(&mut object, "inspectedBytes", metrics.inspected_bytes);
    narrow(&mut object, "totalBlocks", u64::from(metrics.total_blocks));
    narrow(&mut object, "completedJobs", u64::from(metrics.completed_jobs));
    narrow(&mut object, "totalJobs", u64::from(metrics.total_jobs));
    wide(&mut object, "totalBlockBytes", metrics.total_block_bytes);
    wide(&mut object, "inspectedSpans", metrics.inspected_spans);
    object.end();
}

/// Metrics of questions for names and values.
fn metadata_metrics(out: &mut Vec<u8>, metrics: &Metrics) {
    let mut object = Object::begin(out);
    wide(&mut object, "inspectedBytes", metrics.inspected_bytes);
    narrow(&mut object, "totalJobs", u64::from(metrics.total_jobs));
    narrow(&mut object, "completedJobs", u64::from(metrics.completed_jobs));
    narrow(&mut object, "totalBlocks", u64::from(metrics.total_blocks));
    wide(&mut object, "totalBlockBytes", metrics.total_block_bytes);
    object.end();
}

/// Names of attributes, or values of a tag, in the form of old: `key` is `tagNames` or `tagValues`.
pub(crate) fn names(key: &'static str, names: &[String], metrics: &Metrics) -> Vec<u8> {
    let mut out = Vec::new();
    let mut object = Object::begin(&mut out);
    array(object.key(key), names, |out, name| write_string(out, name));
    metadata_metrics(object.key("metrics"), metrics);
    object.end();
    out
}

/// Names of attributes by scope.
pub(crate) fn scopes(scopes: &[(&'static str, Vec<String>)], metrics: &Metrics) -> Vec<u8> {
    let mut out = Vec::new();
    let mut object = Object::begin(&mut out);
    array(object.key("scopes"), scopes, |out, (name, tags)| {
        let mut scope = Object::begin(out);
        write_string(scope.key("name"), name);
        array(scope.key("tags"), tags, |out, tag| write_string(out, tag));
        scope.end();
    });
    metadata_metrics(object.key("metrics"), metrics);
    object.end();
    out
}

/// Values of an attribute with their types.
pub(crate) fn values(values: &[(&'static str, String)], metrics: &Metrics) -> Vec<u8> {
    let mut out = Vec::new();
    let mut object = Object::begin(&mut out);
    array(object.key("tagValues"), values, |out, (kind, text)| {
        let mut value = Object::begin(out);
        write_string(value.key("type"), kind);
        if !text.is_empty() {
            write_string(value.key("value"), text);
        }
        value.end();
    });
    metadata_metrics(object.key("metrics"), metrics);
    object.end();
    out
}

/// A list.
pub(crate) fn array<T>(out: &mut Vec<u8>, items: &[T], mut write: impl FnMut(&mut Vec<u8>, &T)) {
    out.push(b'[');
    for (place, item) in items.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(b']');
}

/// A 64-bit number, unless it is 0.
pub(crate) fn wide(object: &mut Object<'_>, key: &'static str, number: u64) {
    if number != 0 {
        write_u64_string(object.key(key), number);
    }
}

/// A 32-bit number, unless it is 0.
fn narrow(object: &mut Object<'_>, key: &'static str, number: u64) {
    if number != 0 {
        write_u64(object.key(key), number);
    }
}

#[cfg(test)]
mod tests {
    use trackway_common::TraceId;

    use super::*;

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_full_answer_has_tempos_keys_and_no_others() {
        let set = SpansetResult {
            spans: vec![SpanResult {
                id: 0xb1,
                name: "GET".into(),
                start: 1,
                duration: 2,
                attributes: vec![
                    ("s".into(), AttributeValue::String(String::new())),
                    ("i".into(), AttributeValue::Int(-5)),
                    ("f".into(), AttributeValue::Float(1.5)),
                    ("b".into(), AttributeValue::Bool(false)),
                    ("a".into(), AttributeValue::Array(vec![AttributeValue::String("x".into())])),
                    ("e".into(), AttributeValue::Array(vec![])),
                ],
            }],
            matched: 3,
            attributes: vec![("count()".into(), AttributeValue::Int(3))],
        };
        let trace = TraceResult {
            id: TraceId(0xf000_0000_0000_0002),
            root_service: "shop".into(),
            root_name: Some("buy".into()),
            start: 1_684_778_327_699_392_724,
            duration: 557_999_999,
            spansets: vec![set],
            service_stats: vec![("shop".into(), 3, 1), ("db".into(), 1, 0)],
        };
        let metrics = Metrics {
            inspected_traces: 100,
            inspected_bytes: 123_431,
            inspected_spans: 5000,
            total_blocks: 9,
            total_block_bytes: 1022,
            total_jobs: 4,
            completed_jobs: 3,
        };
        let set = concat!(
            r#"{"spans":[{"spanID":"00000000000000b1","name":"GET","startTimeUnixNano":"1","durationNanos":"2","#,
            r#""attributes":[{"key":"s","value":{"stringValue":""}},{"key":"i","value":{"intValue":"-5"}},"#,
            r#"{"key":"f","value":{"doubleValue":1.5}},{"key":"b","value":{"boolValue":false}},"#,
            r#"{"key":"a","value":{"arrayValue":{"values":[{"stringValue":"x"}]}}},"#,
            r#"{"key":"e","value":{"arrayValue":{}}}]}],"matched":3,"#,
            r#""attributes":[{"key":"count()","value":{"intValue":"3"}}]}"#,
        );
        let want = [
            r#"{"traces":[{"traceID":"f000000000000002","rootServiceName":"shop","rootTraceName":"buy","#,
            r#""startTimeUnixNano":"1684778327699392724","durationMs":557,"spanSet":"#,
            set,
            r#","spanSets":["#,
            set,
            r#"],"serviceStats":{"db":{"spanCount":1},"shop":{"spanCount":3,"errorCount":1}}}],"#,
            r#""metrics":{"inspectedTraces":100,"inspectedBytes":"123431","totalBlocks":9,"completedJobs":3,"#,
            r#""totalJobs":4,"totalBlockBytes":"1022","inspectedSpans":"5000"}}"#,
        ];
        assert_eq!(text(search(&[trace], &metrics)), want.concat());
    }

    #[test]
    fn empty_answers() {
        let none = Metrics::default();
        assert_eq!(text(search(&[], &none)), r#"{"traces":[],"metrics":{}}"#);
        let bare = r#"{"traces":[{"traceID":"1","rootServiceName":"\u003croot span not yet received\u003e"}],"metrics":{}}"#;
        assert_eq!(text(search(&[TraceResult { id: TraceId(1), ..Default::default() }], &none)), bare);
        assert_eq!(text(names("tagNames", &[], &none)), r#"{"tagNames":[],"metrics":{}}"#);
        assert_eq!(
            text(scopes(&[("span", vec!["a".into()])], &none)),
            r#"{"scopes":[{"name":"span","tags":["a"]}],"metrics":{}}"#
        );
        assert_eq!(
            text(values(&[("string", String::new())], &none)),
            r#"{"tagValues":[{"type":"string"}],"metrics":{}}"#
        );
    }
}
