//! Answers as Tempo's HTTP API writes them, as far as they are compared: whatever is zero or empty is left out.

use serde_json::{Map, Value, json};

use crate::metrics::Series;
use crate::search::{SpanAnswer, SpansetAnswer, TraceAnswer};
use crate::value::Val;

const NO_ROOT: &str = "<root span not yet received>";

/// The body of an answer to `/api/search`, showing at most `spans_max` spans of each spanset.
#[must_use]
pub fn search(traces: &[TraceAnswer], spans_max: usize) -> Value {
    let traces: Vec<Value> = traces.iter().map(|trace| trace_json(trace, spans_max)).collect();
    json!({ "traces": traces })
}

fn trace_json(trace: &TraceAnswer, spans_max: usize) -> Value {
    let service = if trace.root_service.is_empty() { NO_ROOT } else { &trace.root_service };
    let mut out = Map::new();
    out.insert("traceID".into(), format!("{:x}", trace.id).into());
    out.insert("rootServiceName".into(), service.into());
    if !trace.root_name.is_empty() {
        out.insert("rootTraceName".into(), trace.root_name.clone().into());
    }
    out.insert("startTimeUnixNano".into(), trace.start.to_string().into());
    let milliseconds = trace.duration / 1_000_000;
    if milliseconds > 0 {
        out.insert("durationMs".into(), milliseconds.into());
    }
    let sets: Vec<Value> = trace.spansets.iter().map(|set| spanset_json(set, spans_max)).collect();
    out.insert("spanSets".into(), sets.into());
    let mut stats = Map::new();
    for (service, spans, errors) in &trace.services {
        let mut counts = Map::new();
        counts.insert("spanCount".into(), (*spans).into());
        if *errors > 0 {
            counts.insert("errorCount".into(), (*errors).into());
        }
        stats.insert(service.clone(), counts.into());
    }
    out.insert("serviceStats".into(), stats.into());
    out.into()
}

fn spanset_json(set: &SpansetAnswer, spans_max: usize) -> Value {
    let spans: Vec<Value> = set.spans.iter().take(spans_max).map(span_json).collect();
    let mut out = Map::new();
    out.insert("spans".into(), spans.into());
    out.insert("matched".into(), set.spans.len().into());
    if !set.attributes.is_empty() {
        out.insert("attributes".into(), attributes_json(&set.attributes));
    }
    out.into()
}

fn span_json(span: &SpanAnswer) -> Value {
    let mut out = Map::new();
    out.insert("spanID".into(), format!("{:016x}", span.id).into());
    if let Some(name) = span.name.as_ref().filter(|name| !name.is_empty()) {
        out.insert("name".into(), name.clone().into());
    }
    out.insert("startTimeUnixNano".into(), span.start.to_string().into());
    if span.duration > 0 {
        out.insert("durationNanos".into(), span.duration.to_string().into());
    }
    if !span.attributes.is_empty() {
        out.insert("attributes".into(), attributes_json(&span.attributes));
    }
    out.into()
}

/// The body of an answer to `/api/metrics/query_range`.
#[must_use]
pub fn range(series: &[Series]) -> Value {
    let sample = |(milliseconds, value): &(u64, f64)| {
        let mut out = Map::new();
        out.insert("timestampMs".into(), milliseconds.to_string().into());
        put_number(&mut out, *value);
        Value::from(out)
    };
    let one = |series: &Series| {
        let samples: Vec<Value> = series.samples.iter().map(sample).collect();
        json!({ "labels": attributes_json(&series.labels), "samples": samples })
    };
    json!({ "series": series.iter().map(one).collect::<Vec<_>>() })
}

/// The body of an answer to `/api/metrics/query`.
#[must_use]
pub fn instant(series: &[Series]) -> Value {
    let one = |series: &Series| {
        let mut out = Map::new();
        out.insert("labels".into(), attributes_json(&series.labels));
        series.samples.iter().for_each(|(_, value)| put_number(&mut out, *value));
        Value::from(out)
    };
    json!({ "series": series.iter().map(one).collect::<Vec<_>>() })
}

fn put_number(out: &mut Map<String, Value>, value: f64) {
    if value != 0.0 {
        out.insert("value".into(), json!(value));
    }
}

fn attributes_json(attributes: &[(String, Val)]) -> Value {
    attributes.iter().map(|(key, value)| json!({ "key": key, "value": any_value(value) })).collect()
}

/// A value as an OTLP `AnyValue`. What OTLP has no type for is a text.
fn any_value(value: &Val) -> Value {
    match value {
        Val::Nil => json!({ "stringValue": "nil" }),
        Val::Int(value) => json!({ "intValue": value.to_string() }),
        Val::Float(value) => json!({ "doubleValue": value }),
        Val::Bool(value) => json!({ "boolValue": value }),
        Val::Text(text) => json!({ "stringValue": text }),
        Val::Duration(nanoseconds) => json!({ "stringValue": duration(*nanoseconds) }),
        Val::Status(code) => json!({ "stringValue": status(*code) }),
        Val::Kind(code) => json!({ "stringValue": kind(*code) }),
        Val::Array(elements) => {
            json!({ "arrayValue": { "values": elements.iter().map(any_value).collect::<Vec<_>>() } })
        }
    }
}

/// A value as text, to bring values into an order.
pub(crate) fn value_text(value: &Val) -> String {
    any_value(value).to_string()
}

/// Labels as text, to bring series into an order.
pub(crate) fn labels_text(labels: &[(String, Val)]) -> String {
    attributes_json(labels).to_string()
}

fn status(code: u8) -> String {
    let known = ["unset", "ok", "error"].get(usize::from(code));
    known.map_or_else(|| format!("status({code})"), |name| (*name).to_owned())
}

fn kind(code: u8) -> String {
    let names = ["unspecified", "internal", "server", "client", "producer", "consumer"];
    let known = names.get(usize::from(code));
    known.map_or_else(|| format!("kind({code})"), |name| (*name).to_owned())
}

/// A duration as Go writes it: `1m30.005s`, `5ms`, `0s`.
#[must_use]
pub fn duration(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let total = nanoseconds.unsigned_abs();
    let text = match total {
        0 => "0s".to_owned(),
        1..1_000 => format!("{total}ns"),
        1_000..1_000_000 => format!("{}µs", decimal(total, 1_000)),
        1_000_000..1_000_000_000 => format!("{}ms", decimal(total, 1_000_000)),
        _ => {
            let seconds = decimal(total % 60_000_000_000, 1_000_000_000);
            match total / 60_000_000_000 {
                0 => format!("{seconds}s"),
                minutes @ 1..60 => format!("{minutes}m{seconds}s"),
                minutes => format!("{}h{}m{seconds}s", minutes / 60, minutes % 60),
            }
        }
    };
    format!("{sign}{text}")
}

/// `value / unit` with the digits behind the point that it needs.
fn decimal(value: u64, unit: u64) -> String {
    let digits = unit.ilog10() as usize;
    let fraction = format!("{:0digits$}", value % unit);
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{}{point}{fraction}", value / unit)
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn durations_as_go_writes_them() {
        let known = [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5µs"),
            (5_000_000, "5ms"),
            (90_005_000_000, "1m30.005s"),
            (3_600_000_000_000, "1h0m0s"),
            (-60_000_000_000, "-1m0s"),
        ];
        for (nanoseconds, text) in known {
            assert_eq!(duration(nanoseconds), text);
        }
    }
}
