//! What translations are compared as: the JSON of OTLP.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

pub mod thrift;

use serde_json::{Value, json};
use trackway_foreign::{Error, Options, Translated};
use trackway_otlpjson::{Style, write_trace_json};

pub const NOW: u64 = 1_700_000_000_000_000_000;

pub fn options() -> Options {
    Options { max_output: 1 << 20, parse_string_tags: false, now: NOW }
}

/// The resources of a translation, as JSON.
pub fn resources(translated: Result<Translated, Error>) -> Value {
    let mut text = Vec::new();
    write_trace_json(&translated.unwrap().protobuf, Style::V2ResourceSpans, &mut text).unwrap();
    serde_json::from_slice::<Value>(&text).unwrap()["resourceSpans"].take()
}

/// Attributes as an object of their values.
pub fn flat(attributes: &Value) -> Value {
    let all = attributes.as_array().cloned().unwrap_or_default();
    let pair = |attribute: &Value| {
        let value = attribute["value"].as_object().unwrap().values().next().unwrap().clone();
        (attribute["key"].as_str().unwrap().to_owned(), value)
    };
    Value::Object(all.iter().map(pair).collect())
}

/// Attributes written shorter, wherever they stand.
pub fn shorter(mut value: Value) -> Value {
    match &mut value {
        Value::Array(all) => all.iter_mut().for_each(|one| *one = shorter(one.take())),
        Value::Object(all) => {
            for (key, one) in all.iter_mut() {
                *one = if key == "attributes" { flat(one) } else { shorter(one.take()) };
            }
        }
        _ => {}
    }
    value
}

/// The spans of the first scope of the first resource.
pub fn spans(translated: Result<Translated, Error>) -> Vec<Value> {
    let resources = shorter(resources(translated));
    resources[0]["scopeSpans"][0]["spans"].as_array().unwrap().clone()
}

/// One span of Zipkin v2 with more keys.
pub fn v2(more: Value) -> Vec<u8> {
    let mut span = json!({"traceId": "1", "id": "2", "timestamp": 1_000_000, "duration": 5});
    let more = more.as_object().unwrap().clone();
    span.as_object_mut().unwrap().extend(more);
    serde_json::to_vec(&json!([span])).unwrap()
}
