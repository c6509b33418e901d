//! Random traces: small ones, with every shape that senders get wrong.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::words;
use crate::model::{Attributes, Event, Link, Resource, Scope, Span, Trace, Value};

/// About when random spans start, in Unix nanoseconds: from here to thirty seconds later.
pub const START: u64 = 1_700_000_000_000_000_000;

const SECOND: u64 = 1_000_000_000;

/// A span id that others may have too.
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
    let placed = vec((span(), any::<[u8; 3]>()), 1..=spans);
    (upper, resources, scopes, placed).prop_map(|(id, resources, scopes, placed)| {
        let mut trace = Trace { id, spans: Vec::new() };
        for (span, dice) in placed {
            let (id, parent) = place(&span, trace.spans.len() as u64, dice[0], dice[1]);
            let resource = resources[usize::from(dice[2]) % resources.len()].clone();
            let scope = scopes[usize::from(dice[2] / 16) % scopes.len()].clone();
            trace.spans.push(Span { id, parent, resource, scope, ..span });
        }
        trace.normalize();
        trace
    })
}

/// Id and parent of a span that has `before` spans before it: mostly an id of its own and one of those as its parent.
/// Now and then an id that another has, a parent that is missing, that comes later, or that is the span itself.
fn place(span: &Span, before: u64, id: u8, parent: u8) -> (u64, u64) {
    let id = if id < 230 { before + 1 } else { span.id };
    let parent = match parent {
        _ if before == 0 => span.parent,
        0..40 => 0,
        40..200 => u64::from(parent) % before + 1,
        _ => span.parent,
    };
    (id, parent)
}

fn resource() -> impl Strategy<Value = Resource> {
    (select(&words::SERVICES[..]), attributes(1, 4))
        .prop_map(|(service, attributes)| Resource { service: service.to_owned(), attributes })
}

fn scope() -> impl Strategy<Value = Scope> {
    (select(&words::SCOPES[..]), select(&words::SCOPES[..]), attributes(0, 2)).prop_map(
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
    let with = (attributes(2, 6), vec(event(), 0..3), vec(link(), 0..2));
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
    (select(vec![-1_000, 0, 5_000_000]), select(&words::EVENTS[..]), attributes(0, 2))
        .prop_map(|(offset, name, attributes)| (offset, Event { time: 0, name: name.to_owned(), attributes }))
}

fn link() -> impl Strategy<Value = Link> {
    (1_u128..3, span_id(), attributes(0, 2)).prop_map(|(trace_id, span_id, attributes)| Link {
        trace_id: trace_id.to_be_bytes().to_vec(),
        span_id: span_id.to_be_bytes().to_vec(),
        attributes,
    })
}

/// Attributes with keys that may stand several times. A key mostly has values of one type, so that queries find them.
fn attributes(min: usize, max: usize) -> impl Strategy<Value = Attributes> {
    let [numbers, texts, any] = words::KEYS;
    let array = vec(scalar_of_array(), 0..4).prop_map(Value::Array);
    let pair = prop_oneof![
        6 => (Just(numbers), number()).boxed(),
        6 => (Just(texts), text()).boxed(),
        3 => (select(&words::KEYS[..]), scalar()).boxed(),
        3 => (Just(any), any_bool()).boxed(),
        2 => (Just(words::ARRAY_KEY), array).boxed(),
        1 => (select(&words::KEYS[..]), unseen()).boxed(),
    ];
    vec(pair.prop_map(|(key, value)| (key.to_owned(), value)), min..=max)
}

/// Values that are few, so that comparisons hold often enough.
fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![text(), number(), any_bool()]
}

fn text() -> impl Strategy<Value = Value> {
    select(&words::TEXTS[..]).prop_map(|text| Value::Text(text.to_owned()))
}

fn number() -> impl Strategy<Value = Value> {
    prop_oneof![
        2 => (-1_i64..4).prop_map(Value::Int),
        1 => select(vec![-1.0, 0.0, 0.5, 2.0, 3.5]).prop_map(Value::Float),
    ]
}

fn any_bool() -> impl Strategy<Value = Value> {
    any::<bool>().prop_map(Value::Bool)
}

/// Elements of an array: mostly of one type, now and then of several or of none.
fn scalar_of_array() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => text(),
        2 => scalar(),
        1 => Just(Value::Map(vec![("a".to_owned(), Value::Int(1))])),
    ]
}

/// What no query sees, and what does not hide the same key of another scope.
fn unseen() -> impl Strategy<Value = Value> {
    select(vec![Value::Empty, Value::Map(vec![("a".to_owned(), Value::Int(1))]), Value::Bytes(vec![0, 255])])
}
