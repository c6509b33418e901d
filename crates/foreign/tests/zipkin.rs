//! Zipkin's spans become the OTLP that a Collector makes of them, in v1 and v2 and each form of them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::thrift::{binary_call, compact_call, zipkin_v1};
use common::{NOW, options, resources, shorter, spans, v2};
use serde_json::{Value, json};
use trackway_foreign::{Error, Options, Protocol, jaeger, zipkin};
use trackway_spans::wire::{put_bytes, put_fixed64, put_message, put_number};

const START: i64 = 1_700_000_000_000_000;

fn v2_of(value: Value) -> Result<trackway_foreign::Translated, Error> {
    zipkin::v2_json(&serde_json::to_vec(&value).unwrap(), &options())
}

fn expected_v2() -> Value {
    json!([{
        "resource": {"attributes": {"service.name": "front", "service.version": "1.2"}},
        "scopeSpans": [{"spans": [{
            "traceId": "AAAAAAAAAAUAAAAAAAAABg==", "spanId": "AAAAAAAAAAI=", "parentSpanId": "AAAAAAAAAAE=",
            "name": "get /", "kind": "SPAN_KIND_CLIENT",
            "startTimeUnixNano": "1700000000000000000", "endTimeUnixNano": "1700000000000005000",
            "attributes": {
                "http.method": "GET", "tries": "2", "peer.service": "back",
                "net.host.ip": "10.0.0.1", "net.host.port": "8080",
                "net.peer.ip": "2001:db8::1", "net.peer.port": "9",
            },
            "events": [{"timeUnixNano": "1700000000000001000", "name": "ws"}],
        }]}],
    }])
}

#[test]
fn v2_in_json() {
    let span = json!({
        "traceId": "00000000000000050000000000000006", "id": "2", "parentId": "0000000000000001",
        "name": "get /", "kind": "CLIENT", "timestamp": START, "duration": 5, "shared": true, "debug": true,
        "localEndpoint": {"serviceName": "front", "ipv4": "10.0.0.1", "port": 8080},
        "remoteEndpoint": {"serviceName": "back", "ipv6": "2001:0DB8::0:1", "port": 9},
        "annotations": [{"timestamp": START + 1, "value": "ws"}],
        "tags": {"http.method": "GET", "service.version": "1.2", "tries": "2"},
        "unknown": [{}],
    });
    assert_eq!(shorter(resources(v2_of(json!([span])))), expected_v2());
    let parsing = Options { parse_string_tags: true, ..options() };
    let body = v2(json!({"tags": {"tries": "2", "rate": "0.5", "ok": "true", "text": "2a"}}));
    let attributes = &spans(zipkin::v2_json(&body, &parsing))[0]["attributes"];
    assert_eq!(*attributes, json!({"tries": "2", "rate": 0.5, "ok": true, "text": "2a"}));
    assert_eq!(spans(zipkin::v2_json(&body, &options()))[0]["attributes"]["ok"], "true");
}

#[test]
fn v2_in_protobuf() {
    let endpoint = |name: &'static str, number: u32, address: &'static [u8], port: u64| {
        move |out: &mut Vec<u8>| {
            put_bytes(out, 1, name.as_bytes());
            put_bytes(out, number, address);
            put_number(out, 4, port);
        }
    };
    let mut body = Vec::new();
    let span = |id: &'static [u8]| {
        move |out: &mut Vec<u8>| {
            put_bytes(out, 1, &(5_u128 << 64 | 6).to_be_bytes());
            put_bytes(out, 2, &1_u64.to_be_bytes());
            put_bytes(out, 3, id);
            put_number(out, 4, 1);
            put_bytes(out, 5, b"get /");
            put_fixed64(out, 6, START.cast_unsigned());
            put_number(out, 7, 5);
            put_message(out, 8, endpoint("front", 2, &[10, 0, 0, 1], 8080));
            let address = b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01";
            put_message(out, 9, endpoint("back", 3, address, 9));
            put_message(out, 10, |out| {
                put_fixed64(out, 1, START.cast_unsigned() + 1);
                put_bytes(out, 2, b"ws");
            });
            for (key, value) in [("http.method", "GET"), ("service.version", "1.2"), ("tries", "2")] {
                put_message(out, 11, |out| {
                    put_bytes(out, 1, key.as_bytes());
                    put_bytes(out, 2, value.as_bytes());
                });
            }
        }
    };
    put_message(&mut body, 1, span(&[0, 0, 0, 0, 0, 0, 0, 2]));
    put_message(&mut body, 1, span(&[1, 2]));
    let translated = zipkin::v2_proto(&body, &options());
    let refused = vec![(1, "invalid SpanID: has length 2 yet wanted length 8".to_owned())];
    assert_eq!(translated.clone().unwrap().reasons, refused);
    assert_eq!(shorter(resources(translated)), expected_v2());
    assert!(matches!(zipkin::v2_proto(&body[..9], &options()), Err(Error::Protobuf(_))));
}

#[test]
fn v2_tags_that_mean_more() {
    let (status, name) = ("status", "name");
    for (more, key, expected) in [
        (json!({"tags": {"error": "true"}}), status, json!({"code": "STATUS_CODE_ERROR"})),
        (json!({"tags": {"error": "boom"}}), "attributes", json!({"error": "boom"})),
        (
            json!({"tags": {"otel.status_code": "STATUS_CODE_OK", "otel.status_description": "fine"}}),
            status,
            json!({"code": "STATUS_CODE_OK", "message": "fine"}),
        ),
        (json!({"tags": {"span.kind": "internal"}}), "kind", json!("SPAN_KIND_INTERNAL")),
        (json!({"kind": "SERVER", "tags": {"span.kind": "x"}}), "kind", json!("SPAN_KIND_SERVER")),
        (json!({"tags": {"w3c.tracestate": "a=b"}}), "traceState", json!("a=b")),
        (json!({"parentId": "2"}), "parentSpanId", Value::Null),
        (json!({"name": "a\n\u{e4}\""}), name, json!("a\n\u{e4}\"")),
        (
            json!({"annotations": [{"timestamp": 1, "value": "e|{\"k\":1,\"t\":\"x|y\",\"f\":0.5}|3"}]}),
            "events",
            json!([{
                "timeUnixNano": "1000", "name": "e", "attributes": {"k": "1", "t": "x|y", "f": 0.5},
                "droppedAttributesCount": 3,
            }]),
        ),
        (
            json!({"annotations": [{"timestamp": 1, "value": "a|b|c"}]}),
            "events",
            json!([{"timeUnixNano": "1000", "name": "a|b|c"}]),
        ),
        (
            json!({"tags": {"otlp.link.0": "00000000000000000000000000000007|0000000000000008|s|{\"a\":true}|0"}}),
            "links",
            json!([{
                "traceId": "AAAAAAAAAAAAAAAAAAAABw==", "spanId": "AAAAAAAAAAg=", "traceState": "s",
                "attributes": {"a": true},
            }]),
        ),
        (json!({"tags": {"otlp.link.0": "x"}}), "attributes", json!({"otlp.link.0": "x"})),
        (json!({"timestamp": 0}), "endTimeUnixNano", json!("5000")),
        (json!({"timestamp": 0}), "attributes", json!({"otel.zipkin.absentField.startTime": true})),
    ] {
        let spans = spans(zipkin::v2_json(&v2(more.clone()), &options()));
        assert_eq!(spans[0][key], expected, "{more}");
    }
}

#[test]
fn each_service_is_a_resource_and_none_loses_what_it_says_of_itself() {
    let span = |service: &str, host: &str| {
        json!({"traceId": "1", "id": "2", "timestamp": 1, "localEndpoint": {"serviceName": service},
            "tags": {"host.name": host, "otel.library.name": "lib"}})
    };
    let body = json!([span("a", "h1"), span("b", "h1"), span("a", "h1"), span("a", "h2")]);
    let resources = shorter(resources(v2_of(body)));
    let shown: Vec<(Value, usize)> = resources
        .as_array()
        .unwrap()
        .iter()
        .map(|resource| {
            let scopes = resource["scopeSpans"].as_array().unwrap();
            assert_eq!((scopes.len(), &scopes[0]["scope"]["name"]), (1, &json!("lib")));
            (resource["resource"]["attributes"].clone(), scopes[0]["spans"].as_array().unwrap().len())
        })
        .collect();
    let of = |service: &str, host: &str| json!({"service.name": service, "host.name": host});
    assert_eq!(shown, [(of("a", "h1"), 2), (of("b", "h1"), 1), (of("a", "h2"), 1)]);
}

#[test]
fn one_bad_span_costs_no_other() {
    let good = json!({"traceId": "1", "id": "2", "timestamp": 1});
    for (bad, reason) in [
        (json!({"traceId": "1", "id": ""}), "valid span id required"),
        (json!({"traceId": "", "id": "1"}), "valid traceId required"),
        (json!({"traceId": "xyz", "id": "1"}), "strconv.ParseUint: parsing \"xyz\": invalid syntax"),
        (json!({"traceId": 7, "id": "1"}), "[1].traceId: expected an id, found a number (byte 52)"),
        (json!(7), "[1]: expected an object, found a number (byte 41)"),
    ] {
        let done = v2_of(json!([good, bad, null, good])).unwrap();
        assert_eq!((done.spans, done.refused), (2, 1), "{bad}");
        assert_eq!(done.reasons[0].0, 1);
        let told = &done.reasons[0].1;
        let text = |reason: &str| reason.split(" (byte").next().unwrap().to_owned();
        assert_eq!(text(told), text(reason));
        assert!(matches!(v2_of(json!([bad])), Err(Error::NoUsableSpan(_))), "{bad}");
    }
}

#[test]
fn what_is_no_list_is_refused_as_a_whole() {
    let of = |text: &str| zipkin::v2_json(text.as_bytes(), &options());
    for text in ["", "{", "[", "[{\"traceId\":\"1\""] {
        assert_eq!(of(text), Err(Error::Json("unexpected end of JSON input".to_owned())), "{text}");
    }
    for text in ["{}", "7", "[] x", "[{]", "nope", "[{\"traceId\":\"\n\"}]"] {
        assert!(matches!(of(text), Err(Error::Json(_))), "{text}");
    }
    assert!(matches!(of(&"[".repeat(100_000)), Err(Error::Json(_))));
    assert_eq!(of("[]").map(|done| (done.spans, done.protobuf)), Ok((0, vec![])));
    let small = Options { max_output: 10, ..options() };
    assert_eq!(zipkin::v2_json(&v2(json!({})), &small), Err(Error::TooLarge(10)));
}

fn expected_v1() -> Value {
    json!([{
        "resource": {"attributes": {"service.name": "front", "ipv4": "10.0.0.1", "port": "40000"}},
        "scopeSpans": [{"spans": [{
            "traceId": "AAAAAAAAAAUAAAAAAAAAKg==", "spanId": "AAAAAAAAACE=", "parentSpanId": "AAAAAAAAACA=",
            "name": "get", "kind": "SPAN_KIND_CLIENT",
            "startTimeUnixNano": "1700000000000000000", "endTimeUnixNano": "1700000000001500000",
            "attributes": {"http.path": "/a", "tries": "2", "ok": true},
            "events": [{"timeUnixNano": "1700000000000005000", "name": "retry"}],
        }]}],
    }])
}

#[test]
fn v1_in_json_and_thrift() {
    let host = json!({"serviceName": "front", "ipv4": "10.0.0.1", "port": 40_000});
    let json = json!([{
        "traceId": "0000000000000005000000000000002a", "id": "0000000000000021", "parentId": "20",
        "name": "get", "timestamp": START, "duration": 1500,
        "annotations": [
            {"timestamp": START, "value": "cs", "endpoint": host},
            {"timestamp": START + 5, "value": "retry", "endpoint": host},
        ],
        "binaryAnnotations": [
            {"key": "http.path", "value": "/a", "endpoint": host},
            {"key": "tries", "value": "2", "endpoint": host},
            {"key": "ok", "value": true, "endpoint": host},
        ],
    }]);
    let parsing = Options { parse_string_tags: true, ..options() };
    let body = serde_json::to_vec(&json).unwrap();
    assert_eq!(shorter(resources(zipkin::v1_json(&body, &parsing))), expected_v1());
    let list = zipkin_v1(42, START);
    let mut thrift = Vec::new();
    list.binary(&mut thrift);
    assert_eq!(shorter(resources(zipkin::v1_thrift(&thrift, &options()))), expected_v1());
    for (packet, protocol) in [
        (binary_call("emitZipkinBatch", &list), Protocol::Binary),
        (compact_call("emitZipkinBatch", &list), Protocol::Compact),
    ] {
        assert_eq!(shorter(resources(jaeger::call(&packet, protocol, &options()))), expected_v1());
    }
}

#[test]
fn v1_finds_service_status_and_times_where_they_are() {
    let host = |name: &str| json!({"serviceName": name});
    let tag = |key: &str, value: &str| json!([{"key": key, "value": value}]);
    let service = "/resource/attributes/service.name";
    let of_span = |key: &str| format!("/scopeSpans/0/spans/0/{key}");
    for (more, path, expected) in [
        (json!({}), service.to_owned(), json!("unknown-service")),
        (json!({"binaryAnnotations": [{"key": "lc", "value": "job"}]}), service.to_owned(), json!("job")),
        (
            json!({"binaryAnnotations": [{"key": "a", "value": "b", "endpoint": host("tagged")}]}),
            service.to_owned(),
            json!("tagged"),
        ),
        (
            json!({"annotations": [{"timestamp": 5, "value": "sr", "endpoint": host("called")}]}),
            service.to_owned(),
            json!("called"),
        ),
        (json!({"binaryAnnotations": tag("lc", "job")}), of_span("attributes/component"), json!("job")),
        (json!({"binaryAnnotations": tag("error", "")}), of_span("status/code"), json!("STATUS_CODE_ERROR")),
        (
            json!({"binaryAnnotations": tag("http.status_code", "500")}),
            of_span("status/code"),
            json!("STATUS_CODE_ERROR"),
        ),
        (
            json!({"binaryAnnotations": tag("census.status_code", "0")}),
            of_span("status/code"),
            json!("STATUS_CODE_OK"),
        ),
        (json!({}), of_span("startTimeUnixNano"), json!(NOW.to_string())),
        (json!({}), of_span("attributes/otel.zipkin.absentField.startTime"), json!(true)),
        (
            json!({"annotations": [{"timestamp": 9, "value": "ss"}, {"timestamp": 5, "value": "sr"}]}),
            of_span("endTimeUnixNano"),
            json!("9000"),
        ),
        (
            json!({"annotations": [{"timestamp": 9, "value": "mr"}]}),
            of_span("kind"),
            json!("SPAN_KIND_CONSUMER"),
        ),
    ] {
        let mut span = json!({"traceId": "1", "id": "2"});
        span.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let body = serde_json::to_vec(&json!([span])).unwrap();
        let resources = shorter(resources(zipkin::v1_json(&body, &options())));
        assert_eq!(resources[0].pointer(&path), Some(&expected), "{more}");
    }
}
