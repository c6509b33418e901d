//! Payloads of Kafka become OTLP whatever their encoding, and one bad trace or span does not cost its neighbours.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::thrift::zipkin_v1;
use common::{options, resources, shorter, spans, v2};
use serde_json::{Value, json};
use trackway_foreign::{Error, Options, RecordEncoding, Translated, with_headers};
use trackway_spans::wire::{put_bytes, put_fixed64, put_message, put_number};

fn translate(encoding: RecordEncoding, payload: &[u8]) -> Result<Translated, Error> {
    encoding.translate(payload, &options())
}

#[test]
fn one_span_of_jaeger_is_the_same_in_both_forms() {
    let tag = |out: &mut Vec<u8>, key: &str, kind: u64, value: &dyn Fn(&mut Vec<u8>)| {
        put_message(out, 8, |out| {
            put_bytes(out, 1, key.as_bytes());
            put_number(out, 2, kind);
            value(out);
        });
    };
    let mut proto = Vec::new();
    put_bytes(&mut proto, 1, &42_u128.to_be_bytes());
    put_bytes(&mut proto, 2, &2_u64.to_be_bytes());
    put_bytes(&mut proto, 3, b"op");
    for (span, kind) in [(1_u64, 0), (9, 1)] {
        put_message(&mut proto, 4, |out| {
            put_bytes(out, 1, &42_u128.to_be_bytes());
            put_bytes(out, 2, &span.to_be_bytes());
            put_number(out, 3, kind);
        });
    }
    put_message(&mut proto, 6, |out| {
        put_number(out, 1, 1_700_000_000);
        put_number(out, 2, 120_000_000);
    });
    put_message(&mut proto, 7, |out| put_number(out, 2, 1_500_000));
    tag(&mut proto, "text", 0, &|out| put_bytes(out, 3, b"t"));
    tag(&mut proto, "flag", 1, &|out| put_number(out, 4, 1));
    tag(&mut proto, "number", 2, &|out| put_number(out, 5, (-7_i64).cast_unsigned()));
    tag(&mut proto, "float", 3, &|out| {
        out.push(6 << 3 | 1);
        out.extend(1.5_f64.to_le_bytes());
    });
    tag(&mut proto, "bytes", 4, &|out| put_bytes(out, 7, &[1, 2]));
    put_message(&mut proto, 9, |out| {
        put_message(out, 1, |out| put_number(out, 1, 1_700_000_001));
        put_message(out, 2, |out| {
            put_bytes(out, 1, b"event");
            put_bytes(out, 3, b"e");
        });
    });
    put_message(&mut proto, 10, |out| {
        put_bytes(out, 1, b"shop");
        put_message(out, 2, |out| {
            put_bytes(out, 1, b"zone");
            put_bytes(out, 3, b"z");
        });
    });
    let text = json!({
        "traceId": "AAAAAAAAAAAAAAAAAAAAKg==", "span_id": "AAAAAAAAAAI=", "operationName": "op", "unknown": [1],
        "references": [
            {"traceId": "AAAAAAAAAAAAAAAAAAAAKg==", "spanId": "AAAAAAAAAAE=", "refType": "CHILD_OF"},
            {"traceId": "AAAAAAAAAAAAAAAAAAAAKg==", "spanId": "AAAAAAAAAAk=", "refType": 1},
        ],
        "flags": 1, "startTime": "2023-11-14T22:13:20.12Z", "duration": "0.0015s",
        "tags": [
            {"key": "text", "vStr": "t"},
            {"key": "flag", "vType": "BOOL", "vBool": true},
            {"key": "number", "vType": "INT64", "vInt64": "-7"},
            {"key": "float", "vType": 3, "vFloat64": 1.5},
            {"key": "bytes", "vType": "BINARY", "vBinary": "AQI="},
        ],
        "logs": [{"timestamp": "2023-11-14T22:13:21Z", "fields": [{"key": "event", "vStr": "e"}]}],
        "process": {"serviceName": "shop", "tags": [{"key": "zone", "vStr": "z"}]},
    });
    let proto = translate(RecordEncoding::JaegerProto, &proto).unwrap();
    assert_eq!(proto, translate(RecordEncoding::JaegerJson, text.to_string().as_bytes()).unwrap());
    let span = &spans(Ok(proto))[0];
    assert_eq!(span["startTimeUnixNano"], "1700000000120000000");
    assert_eq!(span["endTimeUnixNano"], "1700000000121500000");
    let attributes = json!({"text": "t", "flag": true, "number": "-7", "float": 1.5, "bytes": "AQI="});
    assert_eq!(span["attributes"], attributes);

    for (bad, told) in [
        (json!({"traceId": "%"}), "no base64"),
        (json!({"traceId": "AAAAAAAAAAAAAAAAAAAAAAAA"}), "at most 16"),
        (json!({"startTime": "yesterday"}), "is no time"),
        (json!({"duration": "1m"}), "is no duration"),
        (json!({"tags": [{"key": "k", "vType": "OTHER"}]}), "is no type of a tag"),
        (json!([]), "expected an object"),
    ] {
        let error = translate(RecordEncoding::JaegerJson, bad.to_string().as_bytes()).unwrap_err();
        assert!(error.to_string().contains(told), "{bad}: {error}");
    }
}

/// A request with spans of a service; an id of 15 bytes is a bad one.
fn request(service: &str, spans: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    put_message(&mut out, 1, |out| {
        put_message(out, 1, |out| {
            put_message(out, 1, |out| {
                put_bytes(out, 1, b"service.name");
                put_message(out, 2, |out| put_bytes(out, 1, service.as_bytes()));
            });
        });
        put_message(out, 2, |out| {
            for id in spans {
                put_message(out, 2, |out| {
                    put_bytes(out, 1, id);
                    put_bytes(out, 2, &[2; 8]);
                    put_fixed64(out, 7, 5);
                });
            }
        });
        put_bytes(out, 3, b"https://schema.example");
    });
    out
}

#[test]
fn traces_that_tempo_left_are_one_request() {
    let mut record = Vec::new();
    for trace in [&request("a", &[&[1; 16]])[..], b"nonsense", &request("b", &[&[3; 16], &[3; 16]])] {
        put_bytes(&mut record, 2, trace);
        put_bytes(&mut record, 3, &[9; 16]);
    }
    put_number(&mut record, 5, 1);
    let done = translate(RecordEncoding::TempoPushBytes, &record).unwrap();
    assert_eq!((done.spans, done.refused, done.reasons[0].0), (3, 1, 1));
    let all = shorter(resources(Ok(done)));
    let names: Vec<&Value> =
        all.as_array().unwrap().iter().map(|one| &one["resource"]["attributes"]["service.name"]).collect();
    assert_eq!(names, ["a", "b"]);
    assert!(matches!(
        translate(RecordEncoding::TempoPushBytes, &[0x12, 1, 0xff]),
        Err(Error::NoUsableSpan(_))
    ));
    assert!(matches!(translate(RecordEncoding::TempoPushBytes, &[0x12, 9]), Err(Error::Protobuf(_))));
    assert_eq!(translate(RecordEncoding::TempoPushBytes, &[]).unwrap(), Translated::default());
}

#[test]
fn headers_become_attributes_of_every_resource() {
    let two = [request("a", &[&[1; 16]]), request("b", &[&[2; 16]])].concat();
    let headers = [("team".to_owned(), "blue".to_owned()), ("kind".to_owned(), "x".to_owned())];
    let protobuf = with_headers(&two, &headers).unwrap();
    let all = shorter(resources(Ok(Translated { protobuf, ..Translated::default() })));
    for (place, service) in ["a", "b"].into_iter().enumerate() {
        let want = json!({"service.name": service, "kafka.header.team": "blue", "kafka.header.kind": "x"});
        assert_eq!(all[place]["resource"]["attributes"], want);
        assert_eq!(all[place]["scopeSpans"][0]["spans"].as_array().unwrap().len(), 1);
        assert_eq!(all[place]["schemaUrl"], "https://schema.example");
    }
}

#[test]
fn every_encoding_has_a_name_and_a_limit() {
    let mut v1 = Vec::new();
    zipkin_v1(1, 1_700_000_000_000_000).binary(&mut v1);
    let json = br#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"1"},{"traceId":"00000000000000000000000000000001","spanId":"0000000000000002"}]}]}]}"#;
    for (encoding, payload, refused) in [
        ("otlp_proto", request("a", &[&[1; 16]]), 0),
        ("otlp_json", json.to_vec(), 1),
        ("zipkin_json", v2(json!({})), 0),
        ("zipkin_thrift", v1, 0),
    ] {
        let encoding = RecordEncoding::parse(encoding).unwrap();
        let done = translate(encoding, &payload).unwrap();
        assert_eq!((done.spans, done.refused), (1, refused), "{encoding:?}");
        let small = Options { max_output: 10, ..options() };
        assert_eq!(encoding.translate(&payload, &small), Err(Error::TooLarge(10)), "{encoding:?}");
        assert!(translate(encoding, b"\xff\xff").is_err(), "{encoding:?}");
    }
    assert!(RecordEncoding::NAMED.iter().all(|one| RecordEncoding::parse(one.name()) == Some(*one)));
    assert_eq!(RecordEncoding::parse("push_bytes"), None);
}
