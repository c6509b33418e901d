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
