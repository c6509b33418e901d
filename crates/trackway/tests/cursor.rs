//! The cursor equals prost: random messages go through the cursor into columns and back to OTLP, and are then what prost
//! says that they are, but for what vParquet4 cannot hold (flags, schema URLs, an empty service name).
//!
//! `TRACKWAY_CURSOR_SEED` repeats a run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use prost::Message;
use support::dice::Dice;
use trackway_proto::collector::ExportTraceServiceRequest;
use trackway_proto::common::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList, any_value::Value,
};
use trackway_proto::resource::Resource;
use trackway_proto::trace::span::{Event, Link};
use trackway_proto::trace::{ResourceSpans, ScopeSpans, Span, Status};
use trackway_spans::{
    BatchBuilder, Limits, SpanBatch, append_request, encode_trace, encode_traces_by_id, peek_request,
    read_ipc, write_ipc,
};

const CASES: u64 = 3000;

// ---- random messages

fn some<T>(dice: &mut Dice, most: u64, mut one: impl FnMut(&mut Dice) -> T) -> Vec<T> {
    (0..dice.below(most + 1)).map(|_| one(dice)).collect()
}

fn text(dice: &mut Dice) -> String {
    match dice.below(8) {
        0 => String::new(),
        1 => "ü\u{0}\u{10ffff}".repeat(dice.below(4) as usize),
        2 => "long ".repeat(dice.below(300) as usize),
        3 => format!("{}", dice.next()),
        _ => (*dice.pick(&["a", "b", "http.method", "GET", "name", "service.name"])).to_owned(),
    }
}

fn number(dice: &mut Dice) -> u64 {
    *dice.pick(&[
        0,
        1,
        127,
        128,
        1 << 31,
        u64::from(u32::MAX),
        1 << 53,
        1 << 63,
        u64::MAX,
        1_700_000_000 << 30,
    ])
}

fn count(dice: &mut Dice) -> u32 {
    if dice.once_in(4) { number(dice) as u32 } else { 0 }
}

fn value(dice: &mut Dice, depth: u64) -> AnyValue {
    let value = match dice.below(10 - depth.min(2)) {
        0 => None,
        1 => Some(Value::BoolValue(dice.once_in(2))),
        2 => Some(Value::IntValue(number(dice).cast_signed())),
        3 => Some(Value::DoubleValue(f64::from_bits(number(dice)))),
        4 => Some(Value::BytesValue({
            let length = dice.below(5) as usize;
            dice.bytes(length).into()
        })),
        5 | 6 => Some(Value::StringValue(text(dice))),
        7 => Some(Value::ArrayValue(ArrayValue { values: some(dice, 3, |dice| value(dice, depth + 1)) })),
        8 if depth < 2 => Some(Value::KvlistValue(KeyValueList { values: attributes(dice, 3, depth + 1) })),
        _ => Some(Value::DoubleValue(0.5)),
    };
    AnyValue { value }
}

fn attributes(dice: &mut Dice, most: u64, depth: u64) -> Vec<KeyValue> {
    some(dice, most, |dice| KeyValue {
        key: text(dice),
        value: if dice.once_in(12) { None } else { Some(value(dice, depth)) },
    })
}

/// As attributes, but with one service name at the most: of two, a column can hold one.
fn resource(dice: &mut Dice) -> Resource {
    let mut attributes = attributes(dice, 4, 0);
    let mut seen = false;
    attributes.retain(|attribute| {
        let again = attribute.key == "service.name" && seen;
        seen |= attribute.key == "service.name";
        !again
    });
    Resource { attributes, dropped_attributes_count: count(dice) }
}

/// Mostly good ids of the wanted length, from a small set.
fn id(dice: &mut Dice, length: usize) -> Vec<u8> {
    match dice.below(20) {
        0 => vec![0; length],
        1 => {
            let odd = dice.below(20) as usize;
            dice.bytes(odd)
        }
        2 => dice.bytes(length),
        _ => {
            let mut id = vec![0; length];
            id[length - 1] = 1 + dice.below(4) as u8;
            id
        }
    }
}

fn event(dice: &mut Dice) -> Event {
    Event {
        time_unix_nano: number(dice),
        name: text(dice),
        attributes: attributes(dice, 2, 0),
        dropped_attributes_count: count(dice),
    }
}

fn link(dice: &mut Dice) -> Link {
    Link {
        trace_id: id(dice, 16).into(),
        span_id: id(dice, 8).into(),
        trace_state: text(dice),
        attributes: attributes(dice, 2, 0),
        dropped_attributes_count: count(dice),
        flags: number(dice) as u32,
    }
}

fn span(dice: &mut Dice) -> Span {
    Span {
        trace_id: id(dice, 16).into(),
        span_id: id(dice, 8).into(),
        trace_state: text(dice),
        parent_span_id: if dice.once_in(2) { Vec::new() } else { id(dice, 8) }.into(),
        name: text(dice),
        kind: *dice.pick(&[0, 1, 2, 3, 4, 5, 5, 6, 255, 256, -1]),
        start_time_unix_nano: number(dice),
        end_time_unix_nano: number(dice),
        attributes: attributes(dice, 5, 0),
        dropped_attributes_count: count(dice),
        events: some(dice, 2, event),
        dropped_events_count: count(dice),
        links: some(dice, 2, link),
        dropped_links_count: count(dice),
        status: dice
            .once_in(2)
            .then(|| Status { message: text(dice), code: *dice.pick(&[0, 1, 2, 2, 7, 300]) }),
        flags: number(dice) as u32,
    }
}

fn scope(dice: &mut Dice) -> InstrumentationScope {
    InstrumentationScope {
        name: text(dice),
        version: text(dice),
        attributes: attributes(dice, 2, 0),
        dropped_attributes_count: count(dice),
    }
}

fn random(dice: &mut Dice, size: u64) -> ExportTraceServiceRequest {
    let scope_spans = |dice: &mut Dice| ScopeSpans {
        scope: (!dice.once_in(4)).then(|| scope(dice)),
        spans: some(dice, size, span),
        schema_url: text(dice),
    };
    let resource_spans = |dice: &mut Dice| ResourceSpans {
        resource: (!dice.once_in(4)).then(|| resource(dice)),
        scope_spans: some(dice, size.min(3), scope_spans),
        schema_url: text(dice),
    };
    ExportTraceServiceRequest { resource_spans: some(dice, size.min(4), resource_spans) }
}

// ---- what must come back

fn normal_attributes(attributes: &mut [KeyValue]) {
    for attribute in attributes.iter_mut() {
        attribute.value.get_or_insert_default();
    }
    attributes.sort_by_key(Message::encode_to_vec);
}

fn is_kept(span: &Span) -> bool {
    let good = |id: &[u8], length| id.len() == length && id.iter().any(|byte| *byte != 0);
    let code = span.status.as_ref().map_or(0, |status| status.code);
    good(&span.trace_id, 16)
        && good(&span.span_id, 8)
        && matches!(span.parent_span_id.len(), 0 | 8)
        && u8::try_from(span.kind).is_ok()
        && u8::try_from(code).is_ok()
}

fn normal_span(span: &mut Span) {
    span.flags = 0;
    span.status.get_or_insert_default();
    if span.parent_span_id.iter().all(|byte| *byte == 0) {
        span.parent_span_id.clear();
    }
    normal_attributes(&mut span.attributes);
    span.events.iter_mut().for_each(|event| normal_attributes(&mut event.attributes));
    for link in &mut span.links {
        link.flags = 0;
        normal_attributes(&mut link.attributes);
    }
}

fn normal_owners(resource: &mut Resource, scope: &mut InstrumentationScope) {
    let empty = Some(Value::StringValue(String::new()));
    resource.attributes.retain(|attribute| {
        attribute.key != "service.name" || attribute.value.as_ref().is_none_or(|value| value.value != empty)
    });
    normal_attributes(&mut resource.attributes);
    normal_attributes(&mut scope.attributes);
}

/// Each kept span as a message of its own, with its resource and scope, in one fixed order.
fn spans_of(request: &ExportTraceServiceRequest) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for resource_spans in &request.resource_spans {
        for scope_spans in &resource_spans.scope_spans {
            let mut resource = resource_spans.resource.clone().unwrap_or_default();
            let mut scope = scope_spans.scope.clone().unwrap_or_default();
            normal_owners(&mut resource, &mut scope);
            for span in scope_spans.spans.iter().filter(|span| is_kept(span)) {
                let mut span = span.clone();
                normal_span(&mut span);
                let scope_spans = vec![ScopeSpans {
                    scope: Some(scope.clone()),
                    spans: vec![span],
                    ..ScopeSpans::default()
                }];
                let resource = Some(resource.clone());
                all.push(ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }.encode_to_vec());
            }
        }
    }
    all.sort();
    all
}

fn batch_of(requests: &[ExportTraceServiceRequest], case: u64) -> SpanBatch {
    let mut builder = BatchBuilder::new();
    for request in requests {
        let bytes = request.encode_to_vec();
        let spans: Vec<&Span> =
            request.resource_spans.iter().flat_map(|r| &r.scope_spans).flat_map(|s| &s.spans).collect();
        assert_eq!(peek_request(&bytes).unwrap() as usize, spans.len(), "case {case}");
        let done = append_request(&mut builder, &bytes, Limits::default(), &[]).unwrap();
        let refused: Vec<u32> = done.refused.iter().map(|refused| refused.ordinal).collect();
        let wanted: Vec<u32> =
            (0..spans.len() as u32).filter(|ordinal| !is_kept(spans[*ordinal as usize])).collect();
        assert_eq!(refused, wanted, "case {case}: {:?}", done.refused);
    }
    builder.finish()
}

#[test]
fn the_cursor_equals_prost_on_random_messages() {
    let mut dice = Dice::printed("TRACKWAY_CURSOR_SEED");
    for case in 0..CASES {
        // Small ones first: the first that fails is easy to look at.
        let size = 1 + case * 8 / CASES;
        let requests: Vec<_> = (0..1 + dice.below(3)).map(|_| random(&mut dice, size)).collect();
        let batch = batch_of(&requests, case);
        let mut wanted: Vec<_> = requests.iter().flat_map(spans_of).collect();
        wanted.sort();
        let mut found = Vec::new();
        for (id, trace) in encode_traces_by_id(&batch) {
            let trace = ExportTraceServiceRequest::decode(trace.as_slice()).unwrap();
            let spans = trace.resource_spans.iter().flat_map(|r| &r.scope_spans).flat_map(|s| &s.spans);
            assert!(spans.into_iter().all(|span| span.trace_id == id.to_bytes().as_slice()), "case {case}");
            found.extend(spans_of(&trace));
        }
        found.sort();
        let show = |spans: &[Vec<u8>]| {
            spans
                .iter()
                .map(|span| format!("{:?}", ResourceSpans::decode(span.as_slice())))
                .collect::<Vec<_>>()
        };
        if found != wanted {
            let (found, wanted) = (show(&found), show(&wanted));
            let more: Vec<_> = found.iter().filter(|span| !wanted.contains(span)).collect();
            let less: Vec<_> = wanted.iter().filter(|span| !found.contains(span)).collect();
            panic!("case {case}: not sent, and found: {more:#?}\nsent, and not found: {less:#?}");
        }
        let mut ipc = Vec::new();
        write_ipc(&batch, &mut ipc).unwrap();
        let again = read_ipc(&ipc).unwrap();
        assert_eq!(encode_trace(&again), encode_trace(&batch), "case {case}: Arrow IPC");
        assert_eq!(encode_traces_by_id(&again), encode_traces_by_id(&batch), "case {case}: Arrow IPC");
    }
}
