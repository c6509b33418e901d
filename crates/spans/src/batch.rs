//! The columns of a batch of spans.
//!
//! ```text
//! strings ◄── every u32 that is called a string
//! traces ◄── spans.trace          resources ◄── scopes.resource
//! scopes ◄── spans.scope          spans ◄── events.span, links.span
//! attrs[level].<type> = rows of (owner, key, value), owners ascending
//! ```
//!
//! What must stay true: all columns of a table have the table's length, or are empty because the plan did not ask for
//! them (or, for the counts of dropped things, because all are zero). Times are as sent: a span's duration and an
//! event's distance from its span are differences modulo 2^64, so `start + duration` is the end that the sender gave,
//! even when it lies before the start; [`effective_duration`] is what queries see.

use arrow_buffer::ScalarBuffer;
use trackway_common::TraceId;

use crate::strings::{StrId, Strings};

/// One column. Cheap to clone; may be a view of a file's bytes.
pub type Column<T> = ScalarBuffer<T>;

/// Which table an attribute belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// Attributes of resources.
    Resource = 0,
    /// Attributes of instrumentation scopes.
    Scope = 1,
    /// Attributes of spans.
    Span = 2,
    /// Attributes of events.
    Event = 3,
    /// Attributes of links.
    Link = 4,
}

impl Level {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Resource, Self::Scope, Self::Span, Self::Event, Self::Link];
}

/// Spans of any number of traces, in columns.
#[derive(Clone, Debug, Default)]
pub struct SpanBatch {
    /// The dictionary.
    pub strings: Strings,
    /// One row a trace that has spans here.
    pub traces: Traces,
    /// One row a resource.
    pub resources: Resources,
    /// One row an instrumentation scope under a resource.
    pub scopes: Scopes,
    /// One row a span.
    pub spans: Spans,
    /// One row an event, ordered by span.
    pub events: Events,
    /// One row a link, ordered by span.
    pub links: Links,
    /// Attributes by [`Level`].
    pub attrs: [AttrTable; 5],
}

/// Traces. Everything but the id is about the spans *here*, as a block stores it; empty in live data.
#[derive(Clone, Debug, Default)]
pub struct Traces {
    /// First eight bytes of the id.
    pub id_high: Column<u64>,
    /// Last eight bytes of the id.
    pub id_low: Column<u64>,
    /// Earliest start, Unix nanoseconds.
    pub start: Column<u64>,
    /// Latest end, Unix nanoseconds.
    pub end: Column<u64>,
    /// Service of the root span; string.
    pub root_service: Column<StrId>,
    /// Name of the root span; string.
    pub root_name: Column<StrId>,
    /// Spans and errors by service.
    pub stats: ServiceStats,
}

/// Rows of (trace, service, counts), ordered by trace.
#[derive(Clone, Debug, Default)]
pub struct ServiceStats {
    /// Row in [`Traces`].
    pub trace: Column<u32>,
    /// Name of the service; string.
    pub service: Column<StrId>,
    /// Its spans.
    pub spans: Column<u32>,
    /// Those with status error.
    pub errors: Column<u32>,
}

/// Resources. `service.name`, when it is a text, stands here and not among the attributes.
#[derive(Clone, Debug, Default)]
pub struct Resources {
    /// `service.name`; string, 0 when missing or empty.
    pub service: Column<StrId>,
    /// What the sender dropped; empty when all zero.
    pub dropped_attributes: Column<u32>,
}

/// Instrumentation scopes.
#[derive(Clone, Debug, Default)]
pub struct Scopes {
    /// Row in [`Resources`].
    pub resource: Column<u32>,
    /// Name; string.
    pub name: Column<StrId>,
    /// Version; string.
    pub version: Column<StrId>,
    /// What the sender dropped; empty when all zero.
    pub dropped_attributes: Column<u32>,
}

/// Spans.
#[derive(Clone, Debug, Default)]
pub struct Spans {
    /// Row in [`Traces`].
    pub trace: Column<u32>,
    /// Row in [`Scopes`].
    pub scope: Column<u32>,
    /// Span id, big-endian.
    pub id: Column<u64>,
    /// Parent's span id, 0 for none.
    pub parent: Column<u64>,
    /// Name; string.
    pub name: Column<StrId>,
    /// OTLP's number of the kind.
    pub kind: Column<u8>,
    /// OTLP's number of the status.
    pub status: Column<u8>,
    /// Status message; string.
    pub status_message: Column<StrId>,
    /// W3C trace state; string.
    pub trace_state: Column<StrId>,
    /// Unix nanoseconds.
    pub start: Column<u64>,
    /// End minus start, modulo 2^64.
    pub duration: Column<u64>,
    /// What the sender dropped; empty when all zero.
    pub dropped_attributes: Column<u32>,
    /// What the sender dropped; empty when all zero.
    pub dropped_events: Column<u32>,
    /// What the sender dropped; empty when all zero.
    pub dropped_links: Column<u32>,
    /// Nested set numbers as a block stores them; empty in live data.
    pub nested_left: Column<i32>,
    /// See `nested_left`.
    pub nested_right: Column<i32>,
    /// The parent's `nested_left`, -1 for roots, 0 for spans that hang on no root.
    pub nested_parent: Column<i32>,
}

/// Events of spans.
#[derive(Clone, Debug, Default)]
pub struct Events {
    /// Row in [`Spans`].
    pub span: Column<u32>,
    /// Time minus the span's start, modulo 2^64.
    pub since_start: Column<u64>,
    /// Name; string.
    pub name: Column<StrId>,
    /// What the sender dropped; empty when all zero.
    pub dropped_attributes: Column<u32>,
}

/// Links of spans. Ids are strings of bytes, since a link's are of any length.
#[derive(Clone, Debug, Default)]
pub struct Links {
    /// Row in [`Spans`].
    pub span: Column<u32>,
    /// Trace id, raw bytes; string.
    pub trace_id: Column<StrId>,
    /// Span id, raw bytes; string.
    pub span_id: Column<StrId>,
    /// W3C trace state; string.
    pub trace_state: Column<StrId>,
    /// What the sender dropped; empty when all zero.
    pub dropped_attributes: Column<u32>,
}

/// Attributes of one level, a table a type.
#[derive(Clone, Debug, Default)]
pub struct AttrTable {
    /// Texts.
    pub strings: TypedAttrs<StrId>,
    /// Integers.
    pub ints: TypedAttrs<i64>,
    /// Floating-point numbers.
    pub floats: TypedAttrs<f64>,
    /// Booleans, 0 or 1.
    pub bools: TypedAttrs<u8>,
    /// Arrays, maps, bytes and empty values: the protobuf bytes of the `AnyValue`, as a string.
    pub others: TypedAttrs<StrId>,
}

/// Attribute rows of one type.
#[derive(Clone, Debug)]
pub struct TypedAttrs<T: arrow_buffer::ArrowNativeType> {
    /// Row of the owner in the table of the level; ascending.
    pub owner: Column<u32>,
    /// Key; string.
    pub key: Column<StrId>,
    /// Value.
    pub value: Column<T>,
}

impl<T: arrow_buffer::ArrowNativeType> Default for TypedAttrs<T> {
    fn default() -> Self {
        Self { owner: Vec::new().into(), key: Vec::new().into(), value: Vec::new().into() }
    }
}

impl<T: arrow_buffer::ArrowNativeType> TypedAttrs<T> {
    /// Rows.
    pub fn len(&self) -> usize {
        self.owner.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.owner.is_empty()
    }

    /// The rows of one owner.
    pub fn of(&self, owner: u32) -> std::ops::Range<usize> {
        let start = self.owner.partition_point(|row| *row < owner);
        let length = self.owner[start..].partition_point(|row| *row == owner);
        start..start + length
    }

    fn size_bytes(&self) -> usize {
        self.len() * (8 + size_of::<T>())
    }
}

/// The value of an attribute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// A text.
    String(&'a [u8]),
    /// An integer.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// A boolean.
    Bool(bool),
    /// The protobuf bytes of an `AnyValue` that is none of the above.
    Other(&'a [u8]),
}

impl AttrTable {
    /// Rows of all types.
    pub fn len(&self) -> usize {
        self.strings.len() + self.ints.len() + self.floats.len() + self.bools.len() + self.others.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Calls `each` with key and value of every attribute of `owner`: texts first, then the other types.
    pub fn for_each<'a>(&self, strings: &'a Strings, owner: u32, mut each: impl FnMut(StrId, Value<'a>)) {
        for row in self.strings.of(owner) {
            each(self.strings.key[row], Value::String(strings.get(self.strings.value[row])));
        }
        for row in self.ints.of(owner) {
            each(self.ints.key[row], Value::Int(self.ints.value[row]));
        }
        for row in self.floats.of(owner) {
            each(self.floats.key[row], Value::Float(self.floats.value[row]));
        }
        for row in self.bools.of(owner) {
            each(self.bools.key[row], Value::Bool(self.bools.value[row] != 0));
        }
        for row in self.others.of(owner) {
            each(self.others.key[row], Value::Other(strings.get(self.others.value[row])));
        }
    }

    fn size_bytes(&self) -> usize {
        self.strings.size_bytes()
            + self.ints.size_bytes()
            + self.floats.size_bytes()
            + self.bools.size_bytes()
            + self.others.size_bytes()
    }
}

/// A span's duration as queries see it: one that ends before it starts took no time.
#[inline]
pub fn effective_duration(duration: u64) -> u64 {
    if duration > i64::MAX as u64 { 0 } else { duration }
}

/// `column[row]`, or zero where the column was left out because all of it is zero.
#[inline]
pub(crate) fn or_zero(column: &Column<u32>, row: usize) -> u32 {
    column.get(row).copied().unwrap_or(0)
}

impl Traces {
    /// How many traces there are.
    pub fn len(&self) -> usize {
        self.id_low.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.id_low.is_empty()
    }

    /// The id of a trace.
    #[inline]
    pub fn id(&self, row: usize) -> TraceId {
        TraceId(u128::from(self.id_high[row]) << 64 | u128::from(self.id_low[row]))
    }

    /// Their ids.
    pub fn ids(&self) -> impl Iterator<Item = TraceId> {
        (0..self.len()).map(|row| self.id(row))
    }
}

impl SpanBatch {
    /// How many spans there are.
    pub fn len(&self) -> usize {
        self.spans.trace.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The attributes of a level.
    pub fn attrs(&self, level: Level) -> &AttrTable {
        &self.attrs[level as usize]
    }

    /// The resource of a span.
    #[inline]
    pub fn resource_of(&self, span: usize) -> usize {
        self.scopes.resource[self.spans.scope[span] as usize] as usize
    }

    /// Rows of the events of a span.
    pub fn events_of(&self, span: u32) -> std::ops::Range<usize> {
        let start = self.events.span.partition_point(|row| *row < span);
        start..start + self.events.span[start..].partition_point(|row| *row == span)
    }

    /// Rows of the links of a span.
    pub fn links_of(&self, span: u32) -> std::ops::Range<usize> {
        let start = self.links.span.partition_point(|row| *row < span);
        start..start + self.links.span[start..].partition_point(|row| *row == span)
    }

    /// Earliest start and latest end of all spans, Unix nanoseconds; `None` without spans.
    pub fn time_range(&self) -> Option<(u64, u64)> {
        let starts = self.spans.start.iter().zip(self.spans.duration.iter());
        starts
            .map(|(start, duration)| (*start, start.saturating_add(effective_duration(*duration))))
            .reduce(|(low, high), (start, end)| (low.min(start), high.max(end)))
    }

    /// Bytes held, by the columns' own lengths.
    pub fn size_bytes(&self) -> usize {
        let per_span = 4 * 5 + 8 * 4 + 2;
        let nested = self.spans.nested_left.len() * 12;
        self.strings.size_bytes()
            + self.traces.len() * 16
            + self.traces.start.len() * 24
            + self.traces.stats.trace.len() * 16
            + self.resources.service.len() * 4
            + self.scopes.resource.len() * 12
            + self.len() * per_span
            + nested
            + self.events.span.len() * 16
            + self.links.span.len() * 16
            + self.attrs.iter().map(AttrTable::size_bytes).sum::<usize>()
    }
}
