//! What is written for a trace, against what a real Tempo answered for the same input.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops where it fails")]

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use trackway_otlpjson::{Limits, LlmAnswer, Style, to_protobuf, write_llm_json, write_trace_json};

fn proto(json: &Value) -> Vec<u8> {
    let converted = to_protobuf(json.to_string().as_bytes(), &Limits::default()).unwrap();
    assert_eq!(converted.refused, []);
    converted.protobuf
}

fn written(proto: &[u8], style: Style) -> String {
    let mut out = Vec::new();
    write_trace_json(proto, style, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn llm(json: &Value) -> Value {
    let mut out = Vec::new();
    write_llm_json(&proto(json), LlmAnswer::default(), &mut out).unwrap();
    serde_json::from_slice(&out).unwrap()
}

fn of_span(span: Value) -> Value {
    json!({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]})
}

/// The JSON of one span.
fn span(span: Value) -> String {
    let text = written(&proto(&of_span(span)), Style::V2ResourceSpans);
    let inner = text.strip_prefix(r#"{"resourceSpans":[{"scopeSpans":[{"spans":["#).unwrap();
    inner.strip_suffix("]}]}]}").unwrap().to_owned()
}

fn recordings() -> Vec<Value> {
    include_str!("data/traces.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn recorded_protobuf_becomes_the_recorded_json() {
    let recordings = recordings();
    let find = |path: &str, key: &str| {
        let found = recordings.iter().find(|row| row["path"] == path && row.get(key).is_some());
        found.unwrap()[key].clone()
    };
    let bytes = find("/api/traces/a0000000000000000000000000000075", "protobuf");
    let bytes = base64_plain(bytes.as_str().unwrap());
    let json = find("/api/v2/traces/a0000000000000000000000000000075", "json");
    let ours: Value = serde_json::from_str(&written(&bytes, Style::V2ResourceSpans)).unwrap();
    assert_eq!(ours, json["trace"]);
    let ours: Value = serde_json::from_str(&written(&bytes, Style::V1Batches)).unwrap();
    assert_eq!(ours["batches"], json["trace"]["resourceSpans"]);
}

#[test]
fn the_input_becomes_the_recorded_spans() {
    let bytes = to_protobuf(include_bytes!("data/odd.json"), &Limits::default()).unwrap().protobuf;
    let ours: Value = serde_json::from_str(&written(&bytes, Style::V2ResourceSpans)).unwrap();
    let ours = spans(&ours["resourceSpans"]);
    let mut compared = 0;
    for row in recordings() {
        let resources = match (&row["json"]["batches"], &row["json"]["trace"]["resourceSpans"]) {
            (Value::Null, resources) | (resources, _) => resources,
        };
        for (ids, theirs) in spans(resources) {
            assert_eq!(ours.get(&ids), Some(&theirs), "{}", row["path"]);
            compared += 1;
        }
    }
    assert!(compared > 30, "{compared}");
}

/// Spans by their ids, without what Tempo does not store or fills in.
fn spans(resources: &Value) -> BTreeMap<String, Value> {
    let mut spans = BTreeMap::new();
    for resource in resources.as_array().into_iter().flatten() {
        for scope in resource["scopeSpans"].as_array().unwrap() {
            for span in scope["spans"].as_array().unwrap() {
                let mut span: Map<String, Value> = span.as_object().unwrap().clone();
                span.remove("flags");
                // Tempo keeps some attributes in columns of their own and answers them first.
                if let Some(attributes) = span.get_mut("attributes").and_then(Value::as_array_mut) {
                    attributes.sort_by_key(|attribute| attribute["key"].to_string());
                }
                if span.get("status") == Some(&json!({})) {
                    span.remove("status");
                }
                spans.insert(format!("{}{}", span["traceId"], span["spanId"]), span.into());
            }
        }
    }
    spans
}

fn base64_plain(text: &str) -> Vec<u8> {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = Vec::new();
    let (mut bits, mut count) = (0u32, 0);
    for byte in text.bytes().filter(|&byte| byte != b'=') {
        bits = bits << 6 | digits.iter().position(|&digit| digit == byte).unwrap() as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    out
}

#[test]
fn names_order_and_zeros_of_a_span() {
    assert_eq!(span(json!({"kind": 0, "name": "", "flags": 0, "startTimeUnixNano": "0"})), "{}");
    assert_eq!(
        span(json!({
            "status": {"code": 2, "message": "m"}, "flags": 257, "droppedLinksCount": 3, "droppedEventsCount": 2,
            "droppedAttributesCount": 1, "endTimeUnixNano": "18446744073709551615", "startTimeUnixNano": 1,
            "kind": 5, "name": "<n>", "parentSpanId": "00000000000000ff", "traceState": "a=b",
            "spanId": "0000000000000001", "traceId": "000000000000000000000000000000ff",
            "events": [{"timeUnixNano": 7, "name": "e", "droppedAttributesCount": 9}, {}],
            "links": [{"traceId": "ffffffffffffffffffffffffffffffff", "spanId": "ffffffffffffffff",
                "traceState": "t", "droppedAttributesCount": 1, "flags": 2}],
            "attributes": [{"key": "k", "value": {"intValue": 0}}],
        })),
        concat!(
            r#"{"traceId":"AAAAAAAAAAAAAAAAAAAA/w==","spanId":"AAAAAAAAAAE=","traceState":"a=b","#,
            r#""parentSpanId":"AAAAAAAAAP8=","flags":257,"name":"\u003cn\u003e","kind":"SPAN_KIND_CONSUMER","#,
            r#""startTimeUnixNano":"1","endTimeUnixNano":"18446744073709551615","#,
            r#""attributes":[{"key":"k","value":{"intValue":"0"}}],"droppedAttributesCount":1,"#,
            r#""events":[{"timeUnixNano":"7","name":"e","droppedAttributesCount":9},{}],"droppedEventsCount":2,"#,
            r#""links":[{"traceId":"/////////////////////w==","spanId":"//////////8=","traceState":"t","#,
            r#""droppedAttributesCount":1,"flags":2}],"droppedLinksCount":3,"#,
            r#""status":{"message":"m","code":"STATUS_CODE_ERROR"}}"#,
        )
    );
    assert_eq!(span(json!({"kind": 9, "status": {"code": -1}})), r#"{"kind":9,"status":{"code":-1}}"#);
    assert_eq!(span(json!({"status": {}})), r#"{"status":{}}"#);
}

#[test]
fn values_of_every_type() {
    for (value, expected) in [
        (json!({}), "{}"),
        (json!({"stringValue": ""}), r#"{"stringValue":""}"#),
        (json!({"boolValue": false}), r#"{"boolValue":false}"#),
        (json!({"intValue": "-5"}), r#"{"intValue":"-5"}"#),
        (json!({"doubleValue": 0}), r#"{"doubleValue":0}"#),
        (json!({"doubleValue": 1e21}), r#"{"doubleValue":1e+21}"#),
        (json!({"doubleValue": "NaN"}), r#"{"doubleValue":"NaN"}"#),
        (json!({"doubleValue": "-Infinity"}), r#"{"doubleValue":"-Infinity"}"#),
        (json!({"bytesValue": ""}), r#"{"bytesValue":""}"#),
        (json!({"bytesValue": "__8"}), r#"{"bytesValue":"//8="}"#),
        (json!({"arrayValue": {}}), r#"{"arrayValue":{}}"#),
        (
            json!({"arrayValue": {"values": [{}, {"intValue": 1}]}}),
            r#"{"arrayValue":{"values":[{},{"intValue":"1"}]}}"#,
        ),
        (
            json!({"kvlistValue": {"values": [{"key": "k"}]}}),
            r#"{"kvlistValue":{"values":[{"key":"k","value":{}}]}}"#,
        ),
    ] {
        let text = span(json!({"attributes": [{"key": "k", "value": value}]}));
        assert_eq!(text, format!(r#"{{"attributes":[{{"key":"k","value":{expected}}}]}}"#));
    }
}

#[test]
fn upper_levels_and_empty_messages() {
    let json = json!({"resourceSpans": [
        {"resource": {}, "scopeSpans": [{"scope": {}, "schemaUrl": "s"}, {}], "schemaUrl": "t"},
        {"resource": {"attributes": [{"key": "a", "value": {"boolValue": true}}], "droppedAttributesCount": 1},
            "scopeSpans": [{"scope": {"name": "n", "version": "v", "attributes": [{"key": "b"}],
                "droppedAttributesCount": 2}}]},
        {},
    ]});
    assert_eq!(
        written(&proto(&json), Style::V1Batches),
        concat!(
            r#"{"batches":[{"resource":{},"scopeSpans":[{"scope":{},"schemaUrl":"s"},{}],"schemaUrl":"t"},"#,
            r#"{"resource":{"attributes":[{"key":"a","value":{"boolValue":true}}],"droppedAttributesCount":1},"#,
            r#""scopeSpans":[{"scope":{"name":"n","version":"v","attributes":[{"key":"b","value":{}}],"#,
            r#""droppedAttributesCount":2}}]},{}]}"#,
        )
    );
    assert_eq!(written(b"", Style::V1Batches), "{}");
    assert_eq!(written(b"", Style::V2ResourceSpans), "{}");
    // Empty ids, a name of broken UTF-8, an attribute without a value, unknown fields and wrong wire types.
    let span = b"\x0a\x00\x22\x00\x2a\x02\xff<\x4a\x03\x0a\x01k\x28\x05\xfa\x06\x01x";
    let mut bytes = vec![10, span.len() as u8 + 4, 18, span.len() as u8 + 2, 18, span.len() as u8];
    bytes.extend_from_slice(span);
    assert_eq!(
        written(&bytes, Style::V1Batches),
        r#"{"batches":[{"scopeSpans":[{"spans":[{"name":"\ufffd\u003c","attributes":[{"key":"k"}]}]}]}]}"#
    );
}

#[test]
fn broken_protobuf_is_an_error() {
    let deep = (0..200).fold(Vec::new(), |inner: Vec<u8>, _| {
        let wrap = |number: u8, inner: &[u8]| {
            let mut out = vec![number << 3 | 2];
            let mut length = inner.len();
            while length >= 128 {
                out.push(length as u8 | 128);
                length >>= 7;
            }
            out.push(length as u8);
            out.extend_from_slice(inner);
            out
        };
        wrap(5, &wrap(1, &inner))
    });
    let nested = |mut inner: Vec<u8>, numbers: &[u8]| {
        for number in numbers {
            let mut out = vec![number << 3 | 2, inner.len() as u8 | 128, (inner.len() >> 7) as u8];
            out.append(&mut inner);
            inner = out;
        }
        inner
    };
    for bytes in [
        b"\x0a".to_vec(),
        b"\x0a\x05".to_vec(),
        b"\x0b".to_vec(),
        b"\x00\x01".to_vec(),
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01".to_vec(),
        b"\x0a\x02\x0a\x05".to_vec(),
        b"\x0a\x04\x12\x02\x12\x01".to_vec(),
        nested(deep, &[2, 9, 2, 2, 1]),
    ] {
        let mut out = Vec::new();
        let error = write_trace_json(&bytes, Style::V1Batches, &mut out).unwrap_err();
        assert!(error.to_string().starts_with("broken protobuf: "), "{error}");
        assert_eq!(write_llm_json(&bytes, LlmAnswer::default(), &mut out), Err(error));
    }
}

#[test]
fn the_short_form() {
    let json = json!({"resourceSpans": [{
        "resource": {"attributes": [
            {"key": "service.name", "value": {"stringValue": "shop"}},
            {"key": "host", "value": {"stringValue": "h"}},
        ]},
        "scopeSpans": [{
            "scope": {"name": "n", "version": "1"},
            "spans": [
                {
                    "traceId": "0102030405060708090a0b0c0d0e0f10", "spanId": "1112131415161718",
                    "parentSpanId": "2122232425262728", "name": "op", "kind": 2,
                    "startTimeUnixNano": "1000000000", "endTimeUnixNano": "1000250000",
                    "attributes": [
                        {"key": "z", "value": {"intValue": 200}}, {"key": "a", "value": {"boolValue": false}},
                        {"key": "z", "value": {"stringValue": "last"}}, {"key": "none", "value": {}},
                        {"key": "list", "value": {"arrayValue": {"values": [{"doubleValue": 1.5}, {}]}}},
                        {"key": "map", "value": {"kvlistValue": {"values": [
                            {"key": "b", "value": {"bytesValue": "AP8="}}, {"key": "a", "value": {}}]}}},
                        {"key": "nan", "value": {"doubleValue": "NaN"}},
                    ],
                    "events": [{"name": "e", "timeUnixNano": "5", "attributes": [
                        {"key": "k", "value": {"stringValue": "v"}}]}, {}],
                    "links": [{"traceId": "a1a2a3a4a5a6a7a8a9aaabacadaeafb0", "spanId": "b1b2b3b4b5b6b7b8"}],
                    "status": {"code": 1, "message": "fine"},
                },
                {"name": "bare", "startTimeUnixNano": "5", "endTimeUnixNano": "3", "status": {"message": "lost"}},
                {"kind": 9},
            ],
        }, {}],
    }, {"resource": {"attributes": [{"key": "service.name", "value": {"intValue": 5}}]}}]});
    let mut out = Vec::new();
    let answer = LlmAnswer { inspected_bytes: 12345, status: "PARTIAL", message: "too large" };
    write_llm_json(&proto(&json), answer, &mut out).unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        concat!(
            r#"{"trace":{"traceId":"0102030405060708090a0b0c0d0e0f10","services":[{"serviceName":"shop","#,
            r#""resource":{"host":"h"},"scopes":[{"name":"n","version":"1","spans":["#,
            r#"{"spanId":"1112131415161718","name":"op","parentSpanId":"2122232425262728","#,
            r#""kind":"SPAN_KIND_SERVER","startTimeUnixNano":"1000000000","endTimeUnixNano":"1000250000","#,
            r#""durationMs":0.25,"attributes":{"a":false,"list":[1.5,null],"map":{"a":null,"b":"00ff"},"#,
            r#""nan":"NaN","none":null,"z":"last"},"#,
            r#""events":[{"name":"e","timeUnixNano":"5","attributes":{"k":"v"}},{"name":""}],"#,
            r#""links":[{"traceId":"a1a2a3a4a5a6a7a8a9aaabacadaeafb0","spanId":"b1b2b3b4b5b6b7b8"}],"#,
            r#""status":{"code":"STATUS_CODE_OK","message":"fine"}},"#,
            r#"{"spanId":"","name":"bare","startTimeUnixNano":"5","endTimeUnixNano":"3","#,
            r#""status":{"code":"STATUS_CODE_UNSET","message":""}},"#,
            r#"{"spanId":"","name":"","kind":"9","status":{"code":"STATUS_CODE_UNSET","message":""}}]},{}]},{}]},"#,
            r#""metrics":{"inspectedBytes":12345},"status":"PARTIAL","message":"too large"}"#,
        )
    );
    assert_eq!(llm(&json!({})), json!({}));
    assert_eq!(llm(&json!({"resourceSpans": [{}]})), json!({"trace": {"traceId": "", "services": [{}]}}));
}
