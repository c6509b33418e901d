//! Jaeger's spans become the OTLP that a Collector makes of them, from Thrift in both protocols and from protobuf.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::thrift::{T, batch, binary_call, compact_call, tag};
use common::{options, resources, shorter, spans};
use serde_json::{Value, json};
use trackway_foreign::{Error, Options, Protocol, jaeger};
use trackway_spans::wire::{put_bytes, put_fixed64, put_message, put_number, put_varint};

const START: i64 = 1_700_000_000_000_000;

fn expected() -> Value {
    json!([{
        "resource": {"attributes": {
            "service.name": "shop", "host.name": "h1", "opencensus.exporterversion": "Jaeger-Go-2.30.0",
        }},
        "scopeSpans": [{"spans": [
            {
                "traceId": "AAAAAAAAAAAAAAAAAAAAKg==", "spanId": "AAAAAAAAABE=", "name": "GET /cart",
                "kind": "SPAN_KIND_SERVER",
                "startTimeUnixNano": "1700000000000000000", "endTimeUnixNano": "1700000000005000000",
                "attributes": {"http.status_code": "200", "ratio": 0.5, "cached": true, "raw": "AQI="},
                "events": [{
                    "timeUnixNano": "1700000000000001000", "name": "looked up", "attributes": {"key": "k"},
                }],

            },
            {
                "traceId": "AAAAAAAAAAAAAAAAAAAAKg==", "spanId": "//////////4=",
                "parentSpanId": "AAAAAAAAABE=", "name": "query", "kind": "SPAN_KIND_CLIENT",
                "startTimeUnixNano": "1700000000000010000", "endTimeUnixNano": "1700000000001010000",
                "links": [{
                    "traceId": "AAAAAAAAAAgAAAAAAAAACQ==", "spanId": "AAAAAAAAAAc=",
                    "attributes": {"opentracing.ref_type": "follows_from"},
                }],
                "status": {"code": "STATUS_CODE_ERROR"},
            },
        ]}],
    }])
}

#[test]
fn thrift_over_http_and_in_datagrams() {
    let batch = batch(42, START);
    let (mut binary, mut compact) = (Vec::new(), Vec::new());
    batch.binary(&mut binary);
    batch.compact(&mut compact);
    let expected = expected();
    for (what, translated) in [
        ("binary", jaeger::http_body(&binary, Protocol::Binary, &options())),
        ("compact", jaeger::http_body(&compact, Protocol::Compact, &options())),
        ("binary call", jaeger::call(&binary_call("emitBatch", &batch), Protocol::Binary, &options())),
        ("compact call", jaeger::call(&compact_call("emitBatch", &batch), Protocol::Compact, &options())),
    ] {
        assert_eq!(translated.as_ref().map(|done| (done.spans, done.refused)), Ok((2, 0)), "{what}");
        assert_eq!(shorter(resources(translated)), expected, "{what}");
    }
    // A process that stands after its spans is theirs all the same.
    let T::Struct(mut fields) = batch else { panic!() };
    fields.reverse();
    let mut turned = Vec::new();
    T::Struct(fields).binary(&mut turned);
    assert_eq!(shorter(resources(jaeger::http_body(&turned, Protocol::Binary, &options()))), expected);
}

fn one_span(fields: Vec<(i16, T)>) -> Vec<u8> {
    let mut span = vec![(1, T::I64(1)), (3, T::I64(2)), (8, T::I64(START)), (9, T::I64(5))];
    span.extend(fields);
    span.sort_by_key(|(number, _)| *number);
    let mut out = Vec::new();
    T::Struct(vec![(2, T::List(vec![T::Struct(span)]))]).binary(&mut out);
    out
}

#[test]
fn status_and_kind_come_from_tags() {
    let text = |key, value| tag(key, T::Text(value));
    let number = |key, value| tag(key, T::I64(value));
    let error = || tag("error", T::Bool(true));
    for (tags, status) in [
        (vec![], Value::Null),
        (vec![tag("error", T::Bool(false))], Value::Null),
        (vec![text("error", "true")], Value::Null),
        (vec![error()], json!({"code": "STATUS_CODE_ERROR"})),
        (
            vec![error(), text("otel.status_description", "no"), text("otel.status_code", "OK")],
            json!({"code": "STATUS_CODE_ERROR", "message": "no"}),
        ),
        (
            vec![error(), text("http.status_message", "gone")],
            json!({"code": "STATUS_CODE_ERROR", "message": "gone"}),
        ),
        (vec![text("otel.status_code", "ok")], json!({"code": "STATUS_CODE_OK"})),
        (vec![number("http.status_code", 404)], json!({"code": "STATUS_CODE_ERROR"})),
        (vec![number("http.status_code", 404), text("span.kind", "server")], Value::Null),
        (vec![number("http.status_code", 302)], Value::Null),
        (
            vec![text("http.status_code", "503"), text("span.kind", "server")],
            json!({"code": "STATUS_CODE_ERROR"}),
        ),
    ] {
        let shown = format!("{tags:?}");
        let body = one_span(vec![(10, T::List(tags))]);
        let spans = spans(jaeger::http_body(&body, Protocol::Binary, &options()));
        assert_eq!(spans[0]["status"], status, "{shown}");
        assert_eq!(spans[0]["attributes"].get("span.kind"), None);
    }
}

#[test]
fn references_name_parents() {
    let reference = |kind, trace, span| {
        T::Struct(vec![(1, T::I32(kind)), (2, T::I64(trace)), (3, T::I64(0)), (4, T::I64(span))])
    };
    for (references, parent, links) in [
        (vec![reference(0, 1, 5)], Some("AAAAAAAAAAU="), 0),
        (vec![reference(1, 1, 5)], Some("AAAAAAAAAAU="), 1),
        (vec![reference(1, 1, 4), reference(0, 1, 5)], Some("AAAAAAAAAAU="), 1),
        (vec![reference(0, 9, 5)], None, 1),
    ] {
        let shown = format!("{references:?}");
        let body = one_span(vec![(6, T::List(references))]);
        let spans = spans(jaeger::http_body(&body, Protocol::Binary, &options()));
        assert_eq!(spans[0].get("parentSpanId").and_then(Value::as_str), parent, "{shown}");
        assert_eq!(spans[0]["links"].as_array().map_or(0, Vec::len), links, "{shown}");
    }
}

/// Tags of protobuf: key and what follows it.
fn proto_tag(out: &mut Vec<u8>, number: u32, key: &str, value: impl FnOnce(&mut Vec<u8>)) {
    put_message(out, number, |out| {
        put_bytes(out, 1, key.as_bytes());
        value(out);
    });
}

fn proto_time(out: &mut Vec<u8>, number: u32, seconds: u64, nanos: u64) {
    put_message(out, number, |out| {
        put_number(out, 1, seconds);
        put_number(out, 2, nanos);
    });
}

fn proto_span(out: &mut Vec<u8>, trace: &[u8], process: Option<&str>) {
    put_message(out, 1, |out| {
        put_bytes(out, 1, trace);
        put_bytes(out, 2, &[0, 0, 0, 0, 0, 0, 0, 2]);
        put_bytes(out, 3, b"op");
        put_message(out, 4, |out| {
            put_bytes(out, 1, trace);
            put_bytes(out, 2, &[0, 0, 0, 0, 0, 0, 0, 1]);
        });
        proto_time(out, 6, 1_700_000_000, 7);
        proto_time(out, 7, 1, 5);
        proto_tag(out, 8, "text", |out| put_bytes(out, 3, b"t"));
        proto_tag(out, 8, "flag", |out| {
            put_number(out, 2, 1);
            put_number(out, 4, 1);
        });
        proto_tag(out, 8, "number", |out| {
            put_number(out, 2, 2);
            put_number(out, 5, 7);
        });
        proto_tag(out, 8, "float", |out| {
            put_number(out, 2, 3);
            put_varint(out, 6 << 3 | 1);
            out.extend(1.5_f64.to_le_bytes());
        });
        proto_tag(out, 8, "otel.scope.name", |out| put_bytes(out, 3, b"lib"));
        proto_tag(out, 8, "otel.scope.version", |out| put_bytes(out, 3, b"1"));
        proto_tag(out, 8, "w3c.tracestate", |out| put_bytes(out, 3, b"a=b"));
        put_message(out, 9, |out| {
            proto_time(out, 1, 1_700_000_000, 8);
            proto_tag(out, 2, "event", |out| put_bytes(out, 3, b"e"));
        });
        if let Some(name) = process {
            put_message(out, 10, |out| put_bytes(out, 1, name.as_bytes()));
        }
    });
}

#[test]
fn protobuf_knows_scopes_and_processes_of_spans() {
    let trace = 42_u128.to_be_bytes();
    let mut message = Vec::new();
    put_message(&mut message, 1, |out| {
        proto_span(out, &trace, None);
        proto_span(out, &trace[1..], None); // a broken id
        proto_span(out, &trace, Some("other"));
        put_message(out, 2, |out| put_bytes(out, 1, b"shop"));
    });
    let translated = jaeger::post_spans(&message, &options());
    let done = translated.clone().unwrap();
    assert_eq!((done.spans, done.refused), (2, 1));
    assert_eq!(done.reasons, [(1, "trace ids must be 128 bit, received 120 bits".to_owned())]);
    let span = json!({
        "traceId": "AAAAAAAAAAAAAAAAAAAAKg==", "spanId": "AAAAAAAAAAI=", "parentSpanId": "AAAAAAAAAAE=",
        "traceState": "a=b", "name": "op",
        "startTimeUnixNano": "1700000000000000007", "endTimeUnixNano": "1700000001000000012",
        "attributes": {"text": "t", "flag": true, "number": "7", "float": 1.5},
        "events": [{"timeUnixNano": "1700000000000000008", "name": "e"}],

    });
    let of = |name: &str| {
        json!({
            "resource": {"attributes": {"service.name": name}},
            "scopeSpans": [{"scope": {"name": "lib", "version": "1"}, "spans": [span.clone()]}],
        })
    };
    assert_eq!(shorter(resources(translated)), json!([of("shop"), of("other")]));
}

#[test]
fn what_cannot_be_taken_apart_is_an_error_of_the_whole() {
    let packet = binary_call("emitBatch", &batch(1, START));
    let binary = |bytes: &[u8]| jaeger::call(bytes, Protocol::Binary, &options());
    assert!(matches!(binary(&packet[..packet.len() - 5]), Err(Error::Thrift(_))));
    assert!(matches!(binary(b""), Err(Error::Thrift(_))));
    let unknown = binary_call("emitNothing", &batch(1, START));
    assert_eq!(binary(&unknown), Err(Error::UnknownCall("emitNothing".to_owned())));
    let small = Options { max_output: 100, ..options() };
    assert_eq!(jaeger::call(&packet, Protocol::Binary, &small), Err(Error::TooLarge(100)));
    assert!(matches!(jaeger::post_spans(&[0x0a, 5, 1], &options()), Err(Error::Protobuf(_))));
    // A list that promises more than there is costs nothing.
    let mut huge = vec![15, 0, 2, 12];
    huge.extend(i32::MAX.to_be_bytes());
    assert!(matches!(jaeger::http_body(&huge, Protocol::Binary, &options()), Err(Error::Thrift(_))));
    // Structs in structs without an end.
    let deep: Vec<u8> = [12, 0, 9].repeat(100_000);
    assert!(matches!(jaeger::http_body(&deep, Protocol::Binary, &options()), Err(Error::Thrift(_))));
    let mut number = Vec::new();
    put_fixed64(&mut number, 1, 1);
    assert!(matches!(jaeger::post_spans(&number, &options()), Err(Error::Protobuf(_))));
}
