//! Bytes that no sender wrote: random ones, and good ones that were damaged. Nothing panics, what is taken can be read
//! by whoever reads OTLP, and never becomes larger than it may.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::options;
use common::thrift::{batch, binary_call, compact_call, zipkin_v1};
use proptest::test_runner::{Config, RngSeed, TestRunner};
use proptest::{collection, prelude::any};
use trackway_foreign::{Error, Options, Protocol, Translated, jaeger, zipkin};
use trackway_spans::peek_request;
use trackway_spans::wire::put_bytes;

/// As large as a body may be.
const BODY: usize = 20 << 20;
/// Cases of each kind of damage.
const CASES: u32 = 2000;

type Translate = fn(&[u8], &Options) -> Result<Translated, Error>;

/// Each form with a good request.
fn forms() -> Vec<(&'static str, Translate, Vec<u8>)> {
    let start = 1_700_000_000_000_000;
    let (mut http, mut v1) = (Vec::new(), Vec::new());
    batch(1, start).binary(&mut http);
    zipkin_v1(1, start).binary(&mut v1);
    let json = br#"[{"traceId":"00000000000000010000000000000002","id":"3","parentId":"1","kind":"SERVER","name":"a","timestamp":1700000000000000,"duration":10,"localEndpoint":{"serviceName":"s","ipv4":"1.2.3.4","port":80},"annotations":[{"timestamp":1700000000000001,"value":"e|{\"k\":1}|0"}],"tags":{"error":"true","a\u00e4":"b","otlp.link.0":"1|2||{}|0"}}]"#;
    let v1_json = br#"[{"traceId":"1","id":"3","annotations":[{"timestamp":17,"value":"cs","endpoint":{"serviceName":"s"}}],"binaryAnnotations":[{"key":"error","value":"x"}]}]"#;
    vec![
        (
            "call, binary",
            |b, o| jaeger::call(b, Protocol::Binary, o),
            binary_call("emitBatch", &batch(1, start)),
        ),
        (
            "call, compact",
            |b, o| jaeger::call(b, Protocol::Compact, o),
            compact_call("emitBatch", &batch(1, start)),
        ),
        (
            "Zipkin call, compact",
            |b, o| jaeger::call(b, Protocol::Compact, o),
            compact_call("emitZipkinBatch", &zipkin_v1(1, start)),
        ),
        ("body", |b, o| jaeger::http_body(b, Protocol::Binary, o), http),
        ("PostSpans", jaeger::post_spans, vec![0x0a, 12, 0x0a, 10, 0x0a, 1, 1, 0x12, 1, 2, 0x1a, 2, 65, 65]),
        ("v1 Thrift", zipkin::v1_thrift, v1),
        ("v1 JSON", zipkin::v1_json, v1_json.to_vec()),
        ("v2 JSON", zipkin::v2_json, json.to_vec()),
        ("v2 protobuf", zipkin::v2_proto, vec![0x0a, 14, 0x0a, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0x1a, 2, 1, 2]),
    ]
}

fn check(translate: Translate, bytes: &[u8]) {
    let options = Options { max_output: 1 << 16, ..options() };
    let Ok(translated) = translate(bytes, &options) else { return };
    let spans = peek_request(&translated.protobuf).expect("what is written can be walked");
    assert_eq!(spans as usize, translated.spans);
    assert!(translated.protobuf.len() < 2 << 16);
}

fn runner() -> TestRunner {
    let config =
        Config { cases: CASES, rng_seed: RngSeed::Fixed(7), failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
}

#[test]
fn random_bytes() {
    for (name, translate, _) in forms() {
        let strategy = collection::vec(any::<u8>(), 0..200);
        let run = runner().run(&strategy, |bytes| {
            check(translate, &bytes);
            Ok(())
        });
        assert!(run.is_ok(), "{name}: {run:?}");
    }
}

#[test]
fn damaged_requests() {
    for (name, translate, good) in forms() {
        for end in 0..good.len() {
            check(translate, &good[..end]);
        }
        let changes = collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4);
        let run = runner().run(&changes, |changes| {
            let mut bytes = good.clone();
            for (place, value) in changes {
                let place = place.index(bytes.len());
                bytes[place] = value;
            }
            check(translate, &bytes);
            Ok(())
        });
        assert!(run.is_ok(), "{name}: {run:?}");
    }
}

/// What a receiver of such bodies lets become of them.
fn as_received() -> Options {
    Options { max_output: 2 * BODY + (64 << 10), ..options() }
}

/// A list of Thrift's binary protocol, of as many empty structs as a body can have.
fn empty_structs(before: &[u8], field: u8) -> Vec<u8> {
    let mut bytes = [before, &[15, 0, field, 12]].concat();
    bytes.extend(i32::try_from(BODY).unwrap().to_be_bytes());
    bytes.resize(bytes.len() + BODY + 3, 0);
    bytes
}

/// The same of protobuf, below fields with these numbers.
fn empty_messages(above: &[u32], field: u8) -> Vec<u8> {
    let mut bytes = [field << 3 | 2, 0].repeat(BODY / 2);
    for number in above {
        let mut outer = Vec::new();
        put_bytes(&mut outer, *number, &bytes);
        bytes = outer;
    }
    bytes
}

fn empty_json(before: &str, element: &str, after: &str) -> Vec<u8> {
    let elements = vec![element; BODY / (element.len() + 1)].join(",");
    format!("{before}{elements}{after}").into_bytes()
}

#[test]
fn what_is_nearly_nothing_on_the_wire_takes_no_memory_without_bound() {
    let jaeger_thrift: Translate = |b, o| jaeger::http_body(b, Protocol::Binary, o);
    let mut cases: Vec<(String, Translate, Vec<u8>)> = Vec::new();
    let span = [12, 0, 1, 0, 15, 0, 2, 12, 0, 0, 0, 1];
    for (what, field) in [("references", 6), ("tags", 10), ("logs", 11)] {
        cases.push((format!("Jaeger Thrift, {what}"), jaeger_thrift, empty_structs(&span, field)));
    }
    cases.push(("Jaeger Thrift, tags of a process".to_owned(), jaeger_thrift, empty_structs(&[12, 0, 1], 2)));
    for (what, field) in [("references", 4), ("tags", 8), ("logs", 9)] {
        cases.push((format!("PostSpans, {what}"), jaeger::post_spans, empty_messages(&[1, 1], field)));
        cases.push((format!("Jaeger protobuf, {what}"), jaeger::span, empty_messages(&[], field)));
        let json = empty_json(&format!("{{\"{what}\":["), "{}", "]}");
        cases.push((format!("Jaeger JSON, {what}"), jaeger::span_json, json));
    }
    let process = empty_messages(&[10, 1, 1], 2);
    cases.push(("PostSpans, tags of a span's process".to_owned(), jaeger::post_spans, process));
    for (what, field) in [("annotations", 6), ("tags", 8)] {
        let thrift = empty_structs(&[12, 0, 0, 0, 1], field);
        cases.push((format!("v1 Thrift, {what}"), zipkin::v1_thrift, thrift));
    }
    for what in ["annotations", "binaryAnnotations"] {
        let json = empty_json(&format!("[{{\"{what}\":["), "{}", "]}]");
        cases.push((format!("v1 JSON, {what}"), zipkin::v1_json, json));
    }
    let annotations = empty_json("[{\"annotations\":[", "{}", "]}]");
    cases.push(("v2 JSON, annotations".to_owned(), zipkin::v2_json, annotations));
    let tags = empty_json("[{\"tags\":{", "\"\":\"\"", "}}]");
    cases.push(("v2 JSON, tags".to_owned(), zipkin::v2_json, tags));
    for (what, field) in [("annotations", 10), ("tags", 11)] {
        cases.push((format!("v2 protobuf, {what}"), zipkin::v2_proto, empty_messages(&[1], field)));
    }
    let mut event = Vec::new();
    put_bytes(&mut event, 2, &empty_json("e|{", "\"\":1", "}|0"));
    let (mut span, mut list) = (vec![0x1a, 8, 0, 0, 0, 0, 0, 0, 0, 1], Vec::new());
    span.extend([0x0a, 8, 0, 0, 0, 0, 0, 0, 0, 1]);
    put_bytes(&mut span, 10, &event);
    put_bytes(&mut list, 1, &span);
    cases.push(("v2 protobuf, attributes of an event".to_owned(), zipkin::v2_proto, list));
    let options = as_received();
    for (name, translate, bytes) in cases {
        let done = translate(&bytes, &options).map(|translated| translated.spans);
        assert_eq!(done, Err(Error::TooLarge(options.max_output)), "{name}");
    }
}

#[test]
fn what_one_span_took_is_there_for_the_next() {
    // Each has a thousand tags; together they are more than one span may have.
    let tags: Vec<String> = (0..1000).map(|tag| format!("\"k{tag}\":\"\"")).collect();
    let span = format!("{{\"traceId\":\"1\",\"id\":\"2\",\"tags\":{{{}}}}}", tags.join(","));
    let body = format!("[{}]", vec![span; 500].join(","));
    let translated = zipkin::v2_json(body.as_bytes(), &as_received());
    assert_eq!(translated.map(|translated| translated.spans), Ok(500));
}
