//! Builds a [`SpanBatch`] row by row.
//!
//! Resources and scopes that are byte for byte the same stand once, however many requests bring them. A span is either
//! whole or not there: [`BatchBuilder::mark`] before its first row, [`BatchBuilder::rewind`] when it turns out bad.

use arrow_buffer::ArrowNativeType;
use hashbrown::{HashMap, HashTable};
use trackway_common::TraceId;

use crate::batch::{
    AttrTable, Column, Events, Level, Links, Resources, Scopes, SpanBatch, Spans, Traces, TypedAttrs, Value,
};
use crate::strings::{Interner, StrId};

/// Where a batch must be cut at the latest, so that dictionary ids and row numbers stay far from 2^32.
const STRING_BYTES_MAX: usize = 1 << 30;

/// A batch under construction.
#[derive(Clone, Debug, Default)]
pub struct BatchBuilder {
    pub(crate) strings: Interner,
    trace_rows: HashTable<u32>,
    trace_ids: Vec<TraceId>,
    resource_rows: HashMap<u128, u32>,
    scope_rows: HashMap<(u32, u128), u32>,
    pub(crate) resources: ResourceRows,
    pub(crate) scopes: ScopeRows,
    pub(crate) spans: SpanRows,
    pub(crate) events: EventRows,
    pub(crate) links: LinkRows,
    attrs: [AttrRows; 5],
    memo: [Vec<(StrId, StrId)>; 5],
}

#[derive(Clone, Debug, Default)]
pub(crate) struct ResourceRows {
    pub(crate) service: Vec<StrId>,
    pub(crate) dropped: Vec<u32>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct ScopeRows {
    pub(crate) resource: Vec<u32>,
    pub(crate) name: Vec<StrId>,
    pub(crate) version: Vec<StrId>,
    pub(crate) dropped: Vec<u32>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct SpanRows {
    trace: Vec<u32>,
    scope: Vec<u32>,
    id: Vec<u64>,
    parent: Vec<u64>,
    name: Vec<StrId>,
    kind: Vec<u8>,
    status: Vec<u8>,
    status_message: Vec<StrId>,
    trace_state: Vec<StrId>,
    start: Vec<u64>,
    duration: Vec<u64>,
    dropped_attributes: Vec<u32>,
    dropped_events: Vec<u32>,
    dropped_links: Vec<u32>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct EventRows {
    pub(crate) span: Vec<u32>,
    pub(crate) since_start: Vec<u64>,
    pub(crate) name: Vec<StrId>,
    pub(crate) dropped: Vec<u32>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct LinkRows {
    pub(crate) span: Vec<u32>,
    pub(crate) trace_id: Vec<StrId>,
    pub(crate) span_id: Vec<StrId>,
    pub(crate) trace_state: Vec<StrId>,
    pub(crate) dropped: Vec<u32>,
}

#[derive(Clone, Debug)]
struct TypedRows<T> {
    owner: Vec<u32>,
    key: Vec<StrId>,
    value: Vec<T>,
}

impl<T> Default for TypedRows<T> {
    fn default() -> Self {
        Self { owner: Vec::new(), key: Vec::new(), value: Vec::new() }
    }
}

impl<T: ArrowNativeType> TypedRows<T> {
    #[inline]
    fn push(&mut self, owner: u32, key: StrId, value: T) {
        self.owner.push(owner);
        self.key.push(key);
        self.value.push(value);
    }

    fn truncate(&mut self, rows: usize) {
        self.owner.truncate(rows);
        self.key.truncate(rows);
        self.value.truncate(rows);
    }

    fn finish(self) -> TypedAttrs<T> {
        TypedAttrs { owner: fit(self.owner), key: fit(self.key), value: fit(self.value) }
    }

    fn size_bytes(&self) -> usize {
        self.owner.capacity() * (8 + size_of::<T>())
    }
}

#[derive(Clone, Debug, Default)]
struct AttrRows {
    strings: TypedRows<StrId>,
    ints: TypedRows<i64>,
    floats: TypedRows<f64>,
    bools: TypedRows<u8>,
    others: TypedRows<StrId>,
}

impl AttrRows {
    fn lengths(&self) -> [usize; 5] {
        [
            self.strings.owner.len(),
            self.ints.owner.len(),
            self.floats.owner.len(),
            self.bools.owner.len(),
            self.others.owner.len(),
        ]
    }

    fn truncate(&mut self, to: [usize; 5]) {
        self.strings.truncate(to[0]);
        self.ints.truncate(to[1]);
        self.floats.truncate(to[2]);
        self.bools.truncate(to[3]);
        self.others.truncate(to[4]);
    }

    fn finish(self) -> AttrTable {
        AttrTable {
            strings: self.strings.finish(),
            ints: self.ints.finish(),
            floats: self.floats.finish(),
            bools: self.bools.finish(),
            others: self.others.finish(),
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

/// Everything about a span that is not its trace, scope, attributes, events or links.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SpanFields {
    pub(crate) id: u64,
    pub(crate) parent: u64,
    pub(crate) name: StrId,
    pub(crate) kind: u8,
    pub(crate) status: u8,
    pub(crate) status_message: StrId,
    pub(crate) trace_state: StrId,
    pub(crate) start: u64,
    pub(crate) duration: u64,
    pub(crate) dropped: [u32; 3],
}

/// A point to go back to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    events: usize,
    links: usize,
    attrs: [[usize; 5]; 3],
}

/// A column without spare capacity: batches stay in memory for long, and growing left them up to half empty.
fn fit<T: ArrowNativeType>(mut values: Vec<T>) -> Column<T> {
    values.shrink_to_fit();
    values.into()
}

/// Column of counts, dropped altogether when all of them are zero.
fn sparse(counts: Vec<u32>) -> Column<u32> {
    if counts.iter().all(|count| *count == 0) { Vec::new().into() } else { fit(counts) }
}

impl BatchBuilder {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Spans so far.
    pub fn len(&self) -> usize {
        self.spans.trace.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the batch must be finished before another request is appended.
    pub fn is_full(&self, spans_max: usize) -> bool {
        self.len() >= spans_max || self.strings.size_bytes() >= STRING_BYTES_MAX
    }

    /// Bytes held, spare capacity included.
    pub fn size_bytes(&self) -> usize {
        self.strings.size_bytes()
            + self.trace_ids.capacity() * 24
            + self.spans.trace.capacity() * 66
            + self.events.span.capacity() * 20
            + self.links.span.capacity() * 20
            + self.attrs.iter().map(AttrRows::size_bytes).sum::<usize>()
    }

    /// The ids of the traces, in the order of their rows.
    pub fn trace_ids(&self) -> &[TraceId] {
        &self.trace_ids
    }

    /// The row of a trace, which is added when it is new.
    pub(crate) fn trace_row(&mut self, id: TraceId) -> u32 {
        let rows = &self.trace_ids;
        if let Some(last) = self.spans.trace.last()
            && rows[*last as usize] == id
        {
            return *last;
        }
        let hash = trace_hash(id);
        if let Some(row) = self.trace_rows.find(hash, |row| rows[*row as usize] == id) {
            return *row;
        }
        let row = rows.len() as u32;
        self.trace_ids.push(id);
        let rows = &self.trace_ids;
        self.trace_rows.insert_unique(hash, row, |row| trace_hash(rows[*row as usize]));
        row
    }

    /// The row of a resource known by this fingerprint.
    pub(crate) fn known_resource(&self, fingerprint: u128) -> Option<u32> {
        self.resource_rows.get(&fingerprint).copied()
    }

    /// The row that a new resource gets; add its attributes, then call this.
    pub(crate) fn add_resource(&mut self, fingerprint: u128, service: StrId, dropped: u32) -> u32 {
        let row = self.resources.service.len() as u32;
        self.resources.service.push(service);
        self.resources.dropped.push(dropped);
        self.resource_rows.insert(fingerprint, row);
        row
    }

    /// The row of a scope known by this fingerprint under this resource.
    pub(crate) fn known_scope(&self, resource: u32, fingerprint: u128) -> Option<u32> {
        self.scope_rows.get(&(resource, fingerprint)).copied()
    }

    /// The row that a new scope gets.
    pub(crate) fn add_scope(
        &mut self,
        resource: u32,
        fingerprint: u128,
        name_version: (StrId, StrId),
        dropped: u32,
    ) -> u32 {
        let row = self.scopes.resource.len() as u32;
        self.scopes.resource.push(resource);
        self.scopes.name.push(name_version.0);
        self.scopes.version.push(name_version.1);
        self.scopes.dropped.push(dropped);
        self.scope_rows.insert((resource, fingerprint), row);
        row
    }

    /// The id of a key that stands at `position` among its owner's attributes: senders repeat themselves, so the last
    /// owner's key at that place is tried first.
    #[inline]
    pub(crate) fn key_at(&mut self, level: Level, position: usize, key: &[u8]) -> StrId {
        let memo = &mut self.memo[level as usize];
        if let Some((last, _)) = memo.get(position)
            && self.strings.get(*last) == key
        {
            return *last;
        }
        let id = self.strings.intern(key);
        if position < memo.len() {
            memo[position].0 = id;
        } else if position == memo.len() && position < 256 {
            memo.push((id, 0));
        }
        id
    }

    /// The id of a text value that stands at `position`; see [`Self::key_at`].
    #[inline]
    fn text_at(&mut self, level: Level, position: usize, text: &[u8]) -> StrId {
        let memo = &mut self.memo[level as usize];
        if let Some((_, last)) = memo.get(position)
            && self.strings.get(*last) == text
        {
            return *last;
        }
        let id = self.strings.intern(text);
        if let Some(entry) = memo.get_mut(position) {
            entry.1 = id;
        }
        id
    }

    /// Adds an attribute. Owners must come in ascending order.
    #[inline]
    pub(crate) fn attribute(
        &mut self,
        level: Level,
        owner: u32,
        position: usize,
        key: StrId,
        value: Value<'_>,
    ) {
        match value {
            Value::String(text) => {
                let id = self.text_at(level, position, text);
                self.attrs[level as usize].strings.push(owner, key, id);
            }
            Value::Int(value) => self.attrs[level as usize].ints.push(owner, key, value),
            Value::Float(value) => self.attrs[level as usize].floats.push(owner, key, value),
            Value::Bool(value) => self.attrs[level as usize].bools.push(owner, key, u8::from(value)),
            Value::Other(bytes) => {
                let id = self.strings.intern(bytes);
                self.attrs[level as usize].others.push(owner, key, id);
            }
        }
    }

    /// Remembers where the rows of the next span begin.
    pub(crate) fn mark(&self) -> Mark {
        Mark {
            events: self.events.span.len(),
            links: self.links.span.len(),
            attrs: [Level::Span, Level::Event, Level::Link].map(|level| self.attrs[level as usize].lengths()),
        }
    }

    /// Takes back the rows since the mark.
    pub(crate) fn rewind(&mut self, mark: Mark) {
        self.events.span.truncate(mark.events);
        self.events.since_start.truncate(mark.events);
        self.events.name.truncate(mark.events);
        self.events.dropped.truncate(mark.events);
        self.links.span.truncate(mark.links);
        self.links.trace_id.truncate(mark.links);
        self.links.span_id.truncate(mark.links);
        self.links.trace_state.truncate(mark.links);
        self.links.dropped.truncate(mark.links);
        for (level, to) in [Level::Span, Level::Event, Level::Link].into_iter().zip(mark.attrs) {
            self.attrs[level as usize].truncate(to);
        }
    }

    /// Adds the span whose attributes, events and links have been added.
    pub(crate) fn add_span(&mut self, trace: u32, scope: u32, span: SpanFields) {
        let rows = &mut self.spans;
        rows.trace.push(trace);
        rows.scope.push(scope);
        rows.id.push(span.id);
        rows.parent.push(span.parent);
        rows.name.push(span.name);
        rows.kind.push(span.kind);
        rows.status.push(span.status);
        rows.status_message.push(span.status_message);
        rows.trace_state.push(span.trace_state);
        rows.start.push(span.start);
        rows.duration.push(span.duration);
        rows.dropped_attributes.push(span.dropped[0]);
        rows.dropped_events.push(span.dropped[1]);
        rows.dropped_links.push(span.dropped[2]);
    }

    /// A copy of what stands here now, finished.
    pub fn snapshot(&self) -> SpanBatch {
        self.clone().finish()
    }

    /// The finished batch, without copying.
    pub fn finish(self) -> SpanBatch {
        let spans = self.spans;
        SpanBatch {
            strings: self.strings.finish(),
            traces: Traces {
                id_high: self.trace_ids.iter().map(|id| (id.0 >> 64) as u64).collect(),
                id_low: self.trace_ids.iter().map(|id| id.0 as u64).collect(),
                ..Traces::default()
            },
            resources: Resources {
                service: fit(self.resources.service),
                dropped_attributes: sparse(self.resources.dropped),
            },
            scopes: Scopes {
                resource: fit(self.scopes.resource),
                name: fit(self.scopes.name),
                version: fit(self.scopes.version),
                dropped_attributes: sparse(self.scopes.dropped),
            },
            spans: Spans {
                trace: fit(spans.trace),
                scope: fit(spans.scope),
                id: fit(spans.id),
                parent: fit(spans.parent),
                name: fit(spans.name),
                kind: fit(spans.kind),
                status: fit(spans.status),
                status_message: fit(spans.status_message),
                trace_state: fit(spans.trace_state),
                start: fit(spans.start),
                duration: fit(spans.duration),
                dropped_attributes: sparse(spans.dropped_attributes),
                dropped_events: sparse(spans.dropped_events),
                dropped_links: sparse(spans.dropped_links),
                ..Spans::default()
            },
            events: Events {
                span: fit(self.events.span),
                since_start: fit(self.events.since_start),
                name: fit(self.events.name),
                dropped_attributes: sparse(self.events.dropped),
            },
            links: Links {
                span: fit(self.links.span),
                trace_id: fit(self.links.trace_id),
                span_id: fit(self.links.span_id),
                trace_state: fit(self.links.trace_state),
                dropped_attributes: sparse(self.links.dropped),
            },
            attrs: self.attrs.map(AttrRows::finish),
        }
    }
}

/// Trace ids are random by their specification, but senders pad 64-bit ones, and nobody checks: mix all bits.
fn trace_hash(id: TraceId) -> u64 {
    let folded = (id.0 >> 64) as u64 ^ (id.0 as u64).rotate_left(32);
    folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ folded >> 29
}
