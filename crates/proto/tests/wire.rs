//! The generated messages agree with bytes that a real Tempo and OTLP senders write.

use bytes::Bytes;
use prost::Message;
use trackway_proto::{collector, common, rpc, tempopb};

#[test]
fn an_empty_trace_is_written_all_the_same() {
    let answer = tempopb::TraceByIdResponse {
        trace: Some(Bytes::new()),
        metrics: Some(tempopb::TraceByIdMetrics::default()),
        ..Default::default()
    };
    assert_eq!(answer.encode_to_vec(), [0x0a, 0, 0x12, 0]);
}

#[test]
fn success_is_what_a_collector_answers() {
    let response = collector::ExportTraceServiceResponse { partial_success: Some(Default::default()) };
    assert_eq!(response.encode_to_vec(), [0x0a, 0]);
}

#[test]
fn an_error_is_what_tempo_answers() {
    let status = rpc::Status { code: 3, message: "unexpected EOF".into(), details: vec![] };
    assert_eq!(status.encode_to_vec(), b"\x08\x03\x12\x0eunexpected EOF");
}

#[test]
fn numbers_are_tempos() {
    let trace = tempopb::TraceSearchMetadata {
        trace_id: "1".into(),
        service_stats: [("a".to_owned(), tempopb::ServiceStats { span_count: 1, error_count: 2 })].into(),
        span_sets: vec![tempopb::SpanSet {
            matched: 3,
            attributes: vec![common::KeyValue { key: "k".into(), value: None }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let bytes = b"\x0a\x011\x3a\x07\x10\x03\x1a\x03\x0a\x01k\x42\x09\x0a\x01a\x12\x04\x08\x01\x10\x02";
    assert_eq!(trace.encode_to_vec(), bytes);
    let request = tempopb::SearchRequest { query: "q".into(), spans_per_span_set: 3, ..Default::default() };
    assert_eq!(request.encode_to_vec(), b"\x42\x01q\x48\x03");
    let metrics = tempopb::SearchMetrics { inspected_spans: 5, ..Default::default() };
    assert_eq!(metrics.encode_to_vec(), b"\x38\x05");
}
