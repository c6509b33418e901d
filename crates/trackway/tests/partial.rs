//! One bad span in a batch costs itself only, and the sender is told.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::{Value, json};
use support::Server;
use support::requests::{now, one_bad};
use trackway_spans::wire::Reader;

const TRACE: u128 = 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef;

/// `rejected_spans` and `error_message` of an `ExportTraceServiceResponse`.
fn partial_success(answer: &[u8]) -> (u64, String) {
    let (number, field) = Reader::new(answer).next_field().unwrap().expect("a partial success");
    let mut said = (0, String::new());
    let mut reader = Reader::new(field.bytes(number).unwrap());
    while let Some((number, field)) = reader.next_field().unwrap() {
        match number {
            1 => said.0 = field.varint(1).unwrap(),
            _ => said.1 = String::from_utf8(field.bytes(number).unwrap().to_vec()).unwrap(),
        }
    }
    said
}

#[test]
fn one_bad_span_of_a_batch_in_protobuf_costs_itself_only() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), "");
    let (trace, mixed) = one_bad();
    let answer = server.push("application/x-protobuf", &mixed);
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/x-protobuf")));
    let (rejected, message) = partial_success(&answer.body);
    assert_eq!(rejected, 1, "{message}");
    assert!(message.contains("span id"), "{message}");
    assert_eq!(server.trace(trace), Some(vec![1, 3]));
    server.stop();
}

#[test]
fn one_bad_span_of_a_batch_in_json_costs_itself_only() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), "");
    let start = now().to_string();
    let span = |id: &str| {
        json!({"traceId": format!("{TRACE:032x}"), "spanId": id, "name": "n", "startTimeUnixNano": start,
            "endTimeUnixNano": start})
    };
    let bad = [json!("not even an object"), span("xyz"), span("0102")];
    for (count, bad) in bad.into_iter().enumerate() {
        let spans = [span("0000000000000001"), bad, span("0000000000000003")];
        let mut body = json!({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]});
        body["resourceSpans"][0]["resource"] = json!({"attributes": [{"key": "service.name", "value": {"stringValue": format!("mixed-{count}")}}]});
        // Each with a trace of its own.
        let trace = TRACE + count as u128;
        let body = body.to_string().replace(&format!("{TRACE:032x}"), &format!("{trace:032x}"));
        let answer = server.push("application/json", body.as_bytes());
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status, 200, "{text}");
        let said: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(said["partialSuccess"]["rejectedSpans"], json!("1"), "{text}");
        assert!(said["partialSuccess"]["errorMessage"].as_str().is_some_and(|m| !m.is_empty()), "{text}");
        assert_eq!(server.trace(trace), Some(vec![1, 3]));
    }
    server.stop();
}
