//! Requests whose content follows from their number, so that a test knows what must be found without keeping it.
//!
//! Request `n` carries a trace of its own (`own_trace`, some spans), and one span of a trace that it shares with its
//! neighbours (`shared_trace`): it was taken whole, or not at all.

use prost::Message;
use trackway_common::{Clock, SystemClock};
use trackway_proto::collector::ExportTraceServiceRequest;
use trackway_proto::common::{AnyValue, KeyValue, any_value::Value};
use trackway_proto::resource::Resource;
use trackway_proto::tempopb::TraceByIdResponse;
use trackway_proto::trace::{ResourceSpans, ScopeSpans, Span};

use super::dice::mix;

/// Requests that share a trace.
pub const SHARING: u64 = 8;
/// Services that the spans are of.
pub const SERVICES: u64 = 5;

/// Nanoseconds since the Unix epoch.
pub fn now() -> u64 {
    SystemClock::default().now()
}

/// Seconds: from twelve hours ago to twelve hours from now.
pub fn day() -> (u64, u64) {
    let now = SystemClock::default().now_seconds();
    (now - 12 * 3600, now + 12 * 3600)
}

/// The id of the trace that is this request's alone.
pub fn own_trace(request: u64) -> u128 {
    u128::from(mix(request)) << 64 | u128::from(mix(request ^ 0x0077))
}

/// The id of the trace that this request has one span of.
pub fn shared_trace(request: u64) -> u128 {
    let group = request / SHARING;
    u128::from(mix(group ^ 0xaaaa_0000)) << 64 | u128::from(mix(group ^ 0xbbbb_0000))
}

/// The ids of the spans in the request's own trace.
pub fn own_spans(request: u64) -> Vec<u64> {
    (0..1 + mix(request) % 24).map(|span| mix(request << 8 | span) | 1).collect()
}

/// The id of the request's span in the shared trace.
pub fn shared_span(request: u64) -> u64 {
    mix(request ^ 0xcccc_0000) | 1
}

/// The name of the service of a request's spans.
pub fn service(request: u64) -> String {
    format!("service-{}", request % SERVICES)
}

/// A text attribute or one of a resource.
pub fn text(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(Value::StringValue(value.into())) };
    KeyValue { key: key.into(), value: Some(value) }
}

/// A span that started a moment ago.
pub fn span(trace: u128, id: u64, name: &str) -> Span {
    let start = now() - 1_000_000_000;
    Span {
        trace_id: trace.to_be_bytes().to_vec().into(),
        span_id: id.to_be_bytes().to_vec().into(),
        name: name.into(),
        kind: 2,
        start_time_unix_nano: start,
        end_time_unix_nano: start + 1_000_000,
        ..Span::default()
    }
}

/// Spans of a service.
pub fn of_service(service: &str, spans: Vec<Span>) -> ExportTraceServiceRequest {
    let resource = Resource { attributes: vec![text("service.name", service)], ..Resource::default() };
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = ResourceSpans { resource: Some(resource), scope_spans, ..ResourceSpans::default() };
    ExportTraceServiceRequest { resource_spans: vec![resource_spans] }
}

/// A request by its number. Its bytes differ from call to call only by the time of its spans.
pub fn request(number: u64) -> Vec<u8> {
    let own = own_trace(number);
    let ids = own_spans(number);
    let mut spans: Vec<Span> = ids
        .iter()
        .enumerate()
        .map(|(at, id)| {
            let mut span = span(own, *id, &format!("own-{}", at % 7));
            if at > 0 {
                span.parent_span_id = ids[0].to_be_bytes().to_vec().into();
            }
            span.attributes = vec![text("request", &number.to_string()), text("filler", &"x".repeat(at * 9))];
            span
        })
        .collect();
    spans.push(span(shared_trace(number), shared_span(number), "shared"));
    of_service(&service(number), spans).encode_to_vec()
}

/// The ids of the spans of `trace` in a `TraceByIDResponse`; `None` when there are none. Spans of another trace fail.
pub fn spans_of_answer(body: &[u8], trace: u128) -> Option<Vec<u64>> {
    let answer = TraceByIdResponse::decode(body).expect("a TraceByIDResponse");
    assert_eq!(answer.status, 0, "the answer for {trace:032x} is incomplete: {}", answer.message);
    let found = answer.trace.unwrap_or_default();
    let mut found = trackway_loadgen::trace_span_ids(&found).expect("a Trace");
    let spans = found.remove(&trace.to_be_bytes());
    assert!(found.is_empty(), "spans of other traces in the answer for {trace:032x}: {found:?}");
    spans
}
