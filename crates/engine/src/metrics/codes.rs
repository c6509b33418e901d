//! The values of a field as small numbers, one for each span: what is counted by a field is counted by these, and only a
//! number that some span has is turned into a value.
//!
//! Wherever spans share a value through their scope, resource or trace, the number is found once for each of those.

use std::borrow::Cow;
use std::hash::Hash;

use hashbrown::HashMap;
use trackway_spans::{SpanBatch, StrId, Value, effective_duration};
use trackway_traceql::ast::{Field, Intrinsic};

use super::attribute::{self, Place, Take};
use super::key::{Key, float_bits};
use crate::column::{self, levels_of};
use crate::value::Val;

/// The values of one field.
pub(crate) struct Codes<'a> {
    place: CodePlace<'a>,
    /// All numbers are below this one.
    pub(crate) end: usize,
    values: Values<'a>,
}

/// Where the numbers stand.
enum CodePlace<'a> {
    Wide(Place<'a, u32>),
    /// At the row of the span, as bytes.
    Bytes(&'a [u8]),
}

/// What the numbers stand for.
enum Values<'a> {
    /// Strings of the dictionary.
    Texts,
    Statuses,
    Kinds,
    /// Rows of traces, whose ids are meant.
    TraceIds,
    /// See [`Attribute`].
    Attribute(Vec<Val<'a>>),
    List(Vec<Key>),
}

impl<'a> Codes<'a> {
    pub(crate) fn of(batch: &'a SpanBatch, field: &Field) -> Self {
        match field {
            Field::Attribute { scope, name } => {
                let mut values = Attribute::new(batch);
                let place = attribute::place(batch, levels_of(*scope), name, &mut values);
                values.finish(place)
            }
            Field::Intrinsic { intrinsic, .. } => {
                intrinsic_codes(batch, *intrinsic).unwrap_or_else(|| generic(batch, field))
            }
            Field::Parent { .. } => generic(batch, field),
        }
    }

    /// The numbers of some spans.
    pub(crate) fn of_spans(&self, spans: &[u32]) -> Vec<u32> {
        match &self.place {
            CodePlace::Wide(place) => place.of_spans(spans),
            CodePlace::Bytes(codes) => spans.iter().map(|span| codes[*span as usize].into()).collect(),
        }
    }

    /// What a number stands for.
    pub(crate) fn key(&self, batch: &SpanBatch, code: u32) -> Key {
        let at = code as usize;
        match &self.values {
            Values::Texts => Key::text(batch.strings.get(code)),
            Values::Statuses => Key::Status(code as u8),
            Values::Kinds => Key::Kind(code as u8),
            Values::TraceIds => Key::Text(batch.traces.id(at).short_hex()),
            Values::Attribute(others) => attribute_key(batch, others, at),
            Values::List(keys) => keys.get(at).cloned().unwrap_or(Key::Nil),
        }
    }

    /// Whether a number stands for an array.
    pub(crate) fn is_array(&self, code: u32) -> bool {
        matches!(self.values, Values::Attribute(_)) && code == ARRAY
    }

    fn texts(batch: &SpanBatch, place: Place<'a, u32>) -> Self {
        Self { place: CodePlace::Wide(place), end: batch.strings.len(), values: Values::Texts }
    }
}

fn intrinsic_codes<'a>(batch: &'a SpanBatch, intrinsic: Intrinsic) -> Option<Codes<'a>> {
    let spans = &batch.spans;
    let texts = |place| Some(Codes::texts(batch, place));
    let own = |ids: &'a [u32]| Place::Own(Cow::Borrowed(ids));
    let via = |of_span: &'a [u32], ids: &'a [u32]| Place::Via(of_span, Cow::Borrowed(ids));
    let bytes = |codes: &'a [u8], values| Some(Codes { place: CodePlace::Bytes(codes), end: 256, values });
    match intrinsic {
        Intrinsic::Name => texts(own(&spans.name)),
        Intrinsic::StatusMessage => texts(own(&spans.status_message)),
        Intrinsic::InstrumentationName => texts(via(&spans.scope, &batch.scopes.name)),
        Intrinsic::InstrumentationVersion => texts(via(&spans.scope, &batch.scopes.version)),
        Intrinsic::TraceRootName => texts(via(&spans.trace, &batch.traces.root_name)),
        Intrinsic::TraceRootService => texts(via(&spans.trace, &batch.traces.root_service)),
        Intrinsic::Status => bytes(&spans.status, Values::Statuses),
        Intrinsic::Kind => bytes(&spans.kind, Values::Kinds),
        Intrinsic::TraceId => {
            let place = CodePlace::Wide(own(&spans.trace));
            Some(Codes { place, end: batch.traces.len(), values: Values::TraceIds })
        }
        Intrinsic::Duration => {
            let durations = spans.duration.iter().map(|duration| effective_duration(*duration));
            Some(interned(durations, |duration| Key::Duration(duration.cast_signed())))
        }
        Intrinsic::NestedSetLeft => Some(interned(spans.nested_left.iter().copied(), whole)),
        Intrinsic::NestedSetRight => Some(interned(spans.nested_right.iter().copied(), whole)),
        Intrinsic::NestedSetParent => Some(interned(spans.nested_parent.iter().copied(), whole)),
        _ => None,
    }
}

fn whole(number: i32) -> Key {
    Key::Int(number.into())
}

/// Numbers for values that spans have themselves.
fn interned<'a, T: Copy + Eq + Hash>(values: impl Iterator<Item = T>, key: impl Fn(T) -> Key) -> Codes<'a> {
    let mut known: HashMap<T, u32> = HashMap::new();
    let mut keys = Vec::new();
    let mut code = |value| {
        *known.entry(value).or_insert_with(|| {
            keys.push(key(value));
            keys.len() as u32 - 1
        })
    };
    let codes: Vec<u32> = values.map(&mut code).collect();
    listed(codes, keys)
}

fn listed<'a>(codes: Vec<u32>, keys: Vec<Key>) -> Codes<'a> {
    let place = CodePlace::Wide(Place::Own(Cow::Owned(codes)));
    Codes { place, end: keys.len(), values: Values::List(keys) }
}

/// Any field, value by value: for what is rarely asked for.
fn generic<'a>(batch: &'a SpanBatch, field: &Field) -> Codes<'a> {
    let mut known: HashMap<Key, u32> = HashMap::new();
    let codes: Vec<u32> = column::dense(batch, field)
        .iter()
        .map(|value| {
            let next = known.len() as u32;
            *known.entry(Key::of(value)).or_insert(next)
        })
        .collect();
    let mut keys = vec![Key::Nil; known.len()];
    for (key, code) in known {
        keys[code as usize] = key;
    }
    listed(codes, keys)
}

/// No value.
const NIL: u32 = 0;
/// An array: counts as no value, and yet it hides the values of other levels.
const ARRAY: u32 = 1;
/// The numbers of texts are their ids in the dictionary plus this; those of other values follow.
const TEXT: u32 = 2;

fn attribute_key(batch: &SpanBatch, others: &[Val<'_>], code: usize) -> Key {
    let Some(text) = code.checked_sub(TEXT as usize) else { return Key::Nil };
    match text.checked_sub(batch.strings.len()) {
        None => Key::text(batch.strings.get(text as StrId)),
        Some(other) => others.get(other).map_or(Key::Nil, Key::of),
    }
}

/// Gives numbers to the values of an attribute, whatever their type.
pub(crate) struct Attribute<'a> {
    batch: &'a SpanBatch,
    /// Values that are no texts.
    others: Vec<Val<'a>>,
    known: HashMap<(u8, u64), u32>,
}

impl<'a> Attribute<'a> {
    pub(crate) fn new(batch: &'a SpanBatch) -> Self {
        Self { batch, others: Vec::new(), known: HashMap::new() }
    }

    fn other(&mut self, key: (u8, u64), value: Val<'a>) -> u32 {
        let first = TEXT + self.batch.strings.len() as u32;
        *self.known.entry(key).or_insert_with(|| {
            self.others.push(value);
            first + self.others.len() as u32 - 1
        })
    }

    /// The values that got numbers, with the places where these stand.
    pub(crate) fn finish(self, place: Place<'a, u32>) -> Codes<'a> {
        let end = TEXT as usize + self.batch.strings.len() + self.others.len();
        Codes { place: CodePlace::Wide(place), end, values: Values::Attribute(self.others) }
    }
}

impl<'a> Attribute<'a> {
    /// The same for numbers that stand somewhere else.
    pub(crate) fn finish_elsewhere(self) -> Codes<'a> {
        self.finish(Place::Own(Cow::Borrowed(&[])))
    }
}

impl Take for Attribute<'_> {
    type Taken = u32;
    const NIL: u32 = NIL;

    fn text(&mut self, id: StrId) -> u32 {
        TEXT + id
    }

    fn int(&mut self, value: i64) -> u32 {
        self.other((0, value.cast_unsigned()), Val::Int(value))
    }

    fn float(&mut self, value: f64) -> u32 {
        self.other((1, float_bits(value)), Val::Float(value))
    }

    fn bool(&mut self, value: bool) -> u32 {
        self.other((2, value.into()), Val::Bool(value))
    }

    fn rest(&mut self, id: StrId) -> u32 {
        let value = Val::from_attribute(Value::Other(self.batch.strings.get(id)));
        if value == Val::Nil { NIL } else { ARRAY }
    }
}
