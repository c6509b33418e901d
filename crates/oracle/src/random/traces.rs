//! Random traces: small ones, with every shape that senders get wrong.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::words;
use crate::model::{Attributes, Event, Link, Resource, Scope, Span, Trace, Value};

/// About when random spans start, in Unix nanoseconds: from here to thirty seconds later.
pub const START: u64 = 1_700_000_000_000_000_000;

const SECOND: u64 = 1_000_000_000;

/// A span id that others may have too: the ids of a trace are few, so that spans find their parents, and some are shared.
fn span_id() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 1_u64..9, 1 => Just(0xb000_0000_0000_0001)]
}

/// Up to `count` traces, each with up to `spans` spans. No two have the same id, no span stands twice.
pub fn traces(count: usize, spans: usize) -> impl Strategy<Value = Vec<Trace>> {
    vec(trace(spans), 1..=count).prop_map(|mut traces| {
        for (index, trace) in traces.iter_mut().enumerate() {
            trace.id = trace.id << 64 | (index as u128 + 1);
        }
        traces
    })
}

fn trace(spans: usize) -> impl Strategy<Value = Trace> {
    // The upper half of the id: without it, ids have leading zeros.
    let upper = select(vec![0_u128, 0x0a, 0xf000_0000_0000_0000]);
    let resources = vec(resource(), 1..3);
    let scopes = vec(scope(), 1..3);
    (upper, resources, scopes, vec((span(), any::<u8>()), 1..=spans)).prop_map(
        |(id, resources, scopes, drawn)| {
            let mut spans = Vec::new();
            for (span, pick) in drawn {
                let resource = resources[usize::from(pick) % resources.len()].clone();
                let scope = scopes[usize::from(pick / 16) % scopes.len()].clone();
                spans.push(Span { resource, scope, ..span });
            }
            let mut trace = Trace { id, spans };
            trace.normalize();
            trace
        },
    )
}

fn resource() -> impl Strategy<Value = Resource> {
    (select(&words::SERVICES[..]), attributes(3))
        .prop_map(|(service, attributes)| Resource { service: service.to_owned(), attributes })
}

fn scope() -> impl Strategy<Value = Scope> {
    (select(&words::SCOPES[..]), select(&words::SCOPES[..]), attributes(2)).prop_map(
        |(name, version, attributes)| Scope {
            name: name.to_owned(),
            version: version.to_owned(),
            attributes,
        },
    )
}

fn span() -> impl Strategy<Value = Span> {
    let who = (span_id(), prop_oneof![1 => Just(0), 3 => span_id()]);
    let what = (select(&words::NAMES[..]), 0_u8..6, 0_u8..3, select(&words::MESSAGES[..]));
    // Whole and half seconds, so that starts are equal and fall on the edges of intervals.
    let when = (0_u64..60, select(&words::DURATIONS[..]), prop::bool::weighted(0.05));
    let with = (attributes(4), vec(event(), 0..3), vec(link(), 0..2));
    (who, what, when, with).prop_map(|(who, what, when, with)| {
        let start = START + when.0 * SECOND / 2;
        // Now and then it ends before it starts.
        let end = if when.2 { start - SECOND } else { start + when.1 };
        let event =
            |(offset, event): (i64, Event)| Event { time: start.wrapping_add_signed(offset), ..event };
        Span {
            id: who.0,
            parent: who.1,
            name: what.0.to_owned(),
            kind: what.1,
            status: what.2,
            status_message: what.3.to_owned(),
            start,
            end,
            attributes: with.0,
            events: with.1.into_iter().map(event).collect(),
            links: with.2,
            ..Span::default()
        }
    })
}

/// An event, and its time since the start of its span.
fn event() -> impl Strategy<Value = (i64, Event)> {
    (select(vec![-1_000, 0, 5_000_000]), select(&words::EVENTS[..]), attributes(2))
        .prop_map(|(offset, name, attributes)| (offset, Event { time: 0, name: name.to_owned(), attributes }))
}

fn link() -> impl Strategy<Value = Link> {
    (1_u128..3, span_id(), attributes(2)).prop_map(|(trace_id, span_id, attributes)| Link {
        trace_id: trace_id.to_be_bytes().to_vec(),
        span_id: span_id.to_be_bytes().to_vec(),
        attributes,
    })
}

/// Attributes with keys that may stand several times, with values of different types.
fn attributes(max: usize) -> impl Strategy<Value = Attributes> {
    let scalar = (select(&words::KEYS[..]), prop_oneof![12 => scalar(), 1 => unseen()]);
    let array = (Just(words::ARRAY_KEY), vec(scalar_of_array(), 0..4).prop_map(Value::Array));
    let pair = prop_oneof![4 => scalar.boxed(), 1 => array.boxed()];
    vec(pair.prop_map(|(key, value)| (key.to_owned(), value)), 0..=max)
}

/// Values that are few, so that comparisons hold often enough.
fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => select(&words::TEXTS[..]).prop_map(|text| Value::Text(text.to_owned())),
        4 => (-2_i64..5).prop_map(Value::Int),
        2 => select(vec![-1.0, 0.0, 0.5, 2.0, 3.5]).prop_map(Value::Float),
        2 => any::<bool>().prop_map(Value::Bool),
    ]
}

/// Elements of an array: mostly of one type, now and then of several or of none.
fn scalar_of_array() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => select(&words::TEXTS[..]).prop_map(|text| Value::Text(text.to_owned())),
        1 => scalar(),
        1 => Just(Value::Map(vec![("a".to_owned(), Value::Int(1))])),
    ]
}

/// What no query sees, and what does not hide the same key of another scope.
fn unseen() -> impl Strategy<Value = Value> {
    select(vec![Value::Empty, Value::Map(vec![("a".to_owned(), Value::Int(1))]), Value::Bytes(vec![0, 255])])
}
