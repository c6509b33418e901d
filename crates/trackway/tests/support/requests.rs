//! Requests whose content follows from their number, so that a test knows what must be found without keeping it.
//!
//! Request `n` carries a trace of its own (`own_trace`, some spans), and one span of a trace that it shares with its
//! neighbours (`shared_trace`): it was taken whole, or not at all.

use trackway_common::{Clock, SystemClock};
use trackway_spans::wire::{Field, Reader, put_bytes, put_fixed64, put_message, put_number};

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

/// The ids of the spans in the request's own trace, ascending.
pub fn own_spans(request: u64) -> Vec<u64> {
    let mut ids: Vec<u64> = (0..1 + mix(request) % 24).map(|span| mix(request << 8 | span) | 1).collect();
    ids.sort_unstable();
    ids
}

/// The id of the request's span in the shared trace.
pub fn shared_span(request: u64) -> u64 {
    mix(request ^ 0xcccc_0000) | 1
}

/// The name of the service of a request's spans.
pub fn service(request: u64) -> String {
    format!("service-{}", request % SERVICES)
}

/// Appends a text attribute.
pub fn put_text(out: &mut Vec<u8>, number: u32, key: &str, value: &str) {
    put_message(out, number, |out| {
        put_bytes(out, 1, key.as_bytes());
        put_message(out, 2, |out| put_bytes(out, 1, value.as_bytes()));
    });
}

/// A span that started a moment ago, without the number and length of its field.
pub fn span(trace: u128, id: &[u8], parent: &[u8], name: &str, attributes: &[(&str, String)]) -> Vec<u8> {
    span_at(now() - 1_000_000_000, trace, id, parent, name, attributes)
}

/// The same at another time.
pub fn span_at(
    start: u64,
    trace: u128,
    id: &[u8],
    parent: &[u8],
    name: &str,
    attributes: &[(&str, String)],
) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, 1, &trace.to_be_bytes());
    put_bytes(&mut out, 2, id);
    put_bytes(&mut out, 4, parent);
    put_bytes(&mut out, 5, name.as_bytes());
    put_number(&mut out, 6, 2);
    put_fixed64(&mut out, 7, start);
    put_fixed64(&mut out, 8, start + 1_000_000);
    for (key, value) in attributes {
        put_text(&mut out, 9, key, value);
    }
    out
}

/// An export request with spans of a service.
pub fn of_service(service: &str, spans: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    put_message(&mut out, 1, |out| {
        put_message(out, 1, |out| put_text(out, 1, "service.name", service));
        put_message(out, 2, |out| spans.iter().for_each(|span| put_bytes(out, 2, span)));
    });
    out
}

/// Whether the spans of a request's own trace are of an hour ago, and go to another block than most.
pub fn has_wild_times(request: u64) -> bool {
    request % 7 == 3
}

/// A request by its number. Its bytes differ from call to call only by the time of its spans.
pub fn request(number: u64) -> Vec<u8> {
    let own = own_trace(number);
    let ids: Vec<[u8; 8]> = own_spans(number).into_iter().map(u64::to_be_bytes).collect();
    let own_span = |(at, id): (usize, &[u8; 8])| {
        let parent: &[u8] = if at > 0 { &ids[0] } else { b"" };
        let attributes = [("request", number.to_string()), ("filler", format!("{number}-").repeat(at * 25))];
        let ago = if has_wild_times(number) { 3_600_000_000_000 } else { 1_000_000_000 };
        span_at(now() - ago, own, id, parent, &format!("own-{}", at % 7), &attributes)
    };
    let mut spans: Vec<Vec<u8>> = ids.iter().enumerate().map(own_span).collect();
    spans.push(span(shared_trace(number), &shared_span(number).to_be_bytes(), b"", "shared", &[]));
    of_service(&service(number), &spans)
}

/// A trace of the spans 1 and 3, and a request that has them, and a span between them without a good id.
pub fn one_bad() -> (u128, Vec<u8>) {
    let trace = own_trace(u64::MAX);
    let ids: [&[u8]; 3] = [&1_u64.to_be_bytes(), &[1, 2, 3], &3_u64.to_be_bytes()];
    (trace, of_service("mixed", &ids.map(|id| span(trace, id, b"", "one of three", &[]))))
}

/// The ids of the spans of `trace` in a `TraceByIDResponse`, ascending; `None` when there are none. Spans of another trace fail.
pub fn spans_of_answer(body: &[u8], trace: u128) -> Option<Vec<u64>> {
    let (mut trace_bytes, mut reader): (&[u8], _) = (b"", Reader::new(body));
    while let Some((number, field)) = reader.next_field().expect("a TraceByIDResponse") {
        match (number, field) {
            (1, Field::Bytes(bytes)) => trace_bytes = bytes,
            (3, _) => assert_eq!(field.varint(3), Ok(0), "the answer for {trace:032x} is incomplete"),
            _ => {}
        }
    }
    let mut found = trackway_loadgen::trace_span_ids(trace_bytes).expect("a Trace");
    let spans = found.remove(&trace.to_be_bytes());
    assert!(found.is_empty(), "spans of other traces in the answer for {trace:032x}: {found:?}");
    spans.map(|mut spans| {
        spans.sort_unstable();
        spans
    })
}
