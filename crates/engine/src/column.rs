//! The values of one field for all spans of a batch.

use trackway_spans::{AttrTable, Level, SpanBatch, StrId, Strings, TypedAttrs, Value, effective_duration};
use trackway_traceql::ast::{Field, Intrinsic, Scope};

use crate::value::Val;

/// The levels that an attribute of this scope is looked for in, first match first.
pub(crate) fn levels_of(scope: Scope) -> &'static [Level] {
    match scope {
        Scope::None => &[Level::Span, Level::Resource, Level::Event, Level::Link, Level::Scope],
        Scope::Span => &[Level::Span],
        Scope::Resource => &[Level::Resource],
        Scope::Event => &[Level::Event],
        Scope::Link => &[Level::Link],
        Scope::Instrumentation => &[Level::Scope],
    }
}

/// Ids of a string in a dictionary: one, or several when it is long.
pub(crate) fn ids_of(strings: &Strings, text: &[u8]) -> Vec<StrId> {
    strings.iter().zip(0..).filter(|(entry, _)| *entry == text).map(|(_, id)| id).collect()
}

/// The attribute `key` of one level: for each owner that has it its first value that counts as being there, if any does.
/// Ascending by owner.
pub(crate) fn attribute<'a>(batch: &'a SpanBatch, level: Level, key: &str) -> Vec<(u32, Value<'a>)> {
    let mut found = attribute_rows(batch, level, key);
    if !found.is_sorted_by(|a, b| a.0 < b.0) {
        found.sort_by_key(|(owner, _)| *owner); // stable: texts before the other types
        found.dedup_by(|later, first| {
            let same = later.0 == first.0;
            if same && !exists(first.1) {
                first.1 = later.1;
            }
            same
        });
    }
    found
}

/// Like [`attribute`], but of events and links only the first of a span that has it: where no scope is named, a span has
/// one value.
pub(crate) fn attribute_once<'a>(batch: &'a SpanBatch, level: Level, key: &str) -> Vec<(u32, Value<'a>)> {
    let mut found = attribute(batch, level, key);
    let span_of = match level {
        Level::Event => &batch.events.span,
        Level::Link => &batch.links.span,
        Level::Resource | Level::Scope | Level::Span => return found,
    };
    found.dedup_by_key(|(owner, _)| span_of[*owner as usize]);
    found
}

/// All rows of the attribute `key` of one level, of owners that have it several times too. In no order.
pub(crate) fn attribute_rows<'a>(batch: &'a SpanBatch, level: Level, key: &str) -> Vec<(u32, Value<'a>)> {
    let strings = &batch.strings;
    if level == Level::Resource && key == "service.name" {
        let services = batch.resources.service.iter().zip(0..);
        return services.map(|(service, owner)| (owner, Value::String(strings.get(*service)))).collect();
    }
    let keys = ids_of(strings, key.as_bytes());
    if keys.is_empty() {
        return Vec::new();
    }
    let AttrTable { strings: texts, ints, floats, bools, others } = batch.attrs(level);
    let mut found = Vec::new();
    collect(texts, &keys, &mut found, |id| Value::String(strings.get(id)));
    collect(ints, &keys, &mut found, Value::Int);
    collect(floats, &keys, &mut found, Value::Float);
    collect(bools, &keys, &mut found, |value| Value::Bool(value != 0));
    let first_other = found.len();
    collect(others, &keys, &mut found, |id| Value::Other(strings.get(id)));
    // What no query sees does not hide what stands behind it.
    let mut at = 0;
    found.retain(|(_, value)| {
        at += 1;
        at <= first_other || exists(*value)
    });
    found
}

fn collect<'a, T: arrow_buffer::ArrowNativeType>(
    attrs: &TypedAttrs<T>,
    keys: &[StrId],
    found: &mut Vec<(u32, Value<'a>)>,
    value: impl Fn(T) -> Value<'a>,
) {
    for (row, key) in attrs.key.iter().enumerate() {
        if keys.contains(key) {
            found.push((attrs.owner[row], value(attrs.value[row])));
        }
    }
}

/// Spreads flags of the owners of a level over the spans: a span has a flag when any of its owners has.
pub(crate) fn spread(batch: &SpanBatch, level: Level, owners: &[bool]) -> Vec<bool> {
    match level {
        Level::Span => owners.to_vec(),
        Level::Scope => batch.spans.scope.iter().map(|scope| owners[*scope as usize]).collect(),
        Level::Resource => {
            let scopes: Vec<bool> =
                batch.scopes.resource.iter().map(|resource| owners[*resource as usize]).collect();
            batch.spans.scope.iter().map(|scope| scopes[*scope as usize]).collect()
        }
        Level::Event => any_child(batch.len(), &batch.events.span, owners),
        Level::Link => any_child(batch.len(), &batch.links.span, owners),
    }
}

fn any_child(spans: usize, span_of: &[u32], flags: &[bool]) -> Vec<bool> {
    let mut mask = vec![false; spans];
    for (span, flag) in span_of.iter().zip(flags) {
        mask[*span as usize] |= flag;
    }
    mask
}

/// How many owners a level has.
pub(crate) fn owners(batch: &SpanBatch, level: Level) -> usize {
    match level {
        Level::Resource => batch.resources.service.len(),
        Level::Scope => batch.scopes.resource.len(),
        Level::Span => batch.len(),
        Level::Event => batch.events.span.len(),
        Level::Link => batch.links.span.len(),
    }
}

/// Whether a value counts as being there: maps, bytes, empty values and empty arrays do not.
pub(crate) fn exists(value: Value<'_>) -> bool {
    Val::from_attribute(value) != Val::Nil
}

/// A text as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]]).collect()
}

/// The value of an intrinsic that a span has once.
pub(crate) fn intrinsic_of<'a>(batch: &'a SpanBatch, intrinsic: Intrinsic, span: usize) -> Val<'a> {
    let text = |id: StrId| Val::Text(batch.strings.get(id));
    let spans = &batch.spans;
    let trace = spans.trace[span] as usize;
    match intrinsic {
        Intrinsic::Duration => Val::Duration(effective_duration(spans.duration[span]).cast_signed()),
        Intrinsic::Name => text(spans.name[span]),
        Intrinsic::Status => Val::Status(spans.status[span]),
        Intrinsic::StatusMessage => text(spans.status_message[span]),
        Intrinsic::Kind => Val::Kind(spans.kind[span]),
        Intrinsic::SpanId => Val::Owned(hex(&spans.id[span].to_be_bytes())),
        Intrinsic::ParentId if spans.parent[span] == 0 => Val::Text(b""),
        Intrinsic::ParentId => Val::Owned(hex(&spans.parent[span].to_be_bytes())),
        Intrinsic::TraceId => Val::Owned(batch.traces.id(trace).short_hex().into_bytes()),
        Intrinsic::TraceRootName => text(batch.traces.root_name[trace]),
        Intrinsic::TraceRootService => text(batch.traces.root_service[trace]),
        Intrinsic::TraceDuration => {
            let duration = batch.traces.end[trace].saturating_sub(batch.traces.start[trace]);
            Val::Duration(effective_duration(duration).cast_signed())
        }
        Intrinsic::NestedSetLeft => Val::Int(spans.nested_left[span].into()),
        Intrinsic::NestedSetRight => Val::Int(spans.nested_right[span].into()),
        Intrinsic::NestedSetParent => Val::Int(spans.nested_parent[span].into()),
        Intrinsic::InstrumentationName => text(batch.scopes.name[spans.scope[span] as usize]),
        Intrinsic::InstrumentationVersion => text(batch.scopes.version[spans.scope[span] as usize]),
        // Those of events and links are many, child counts come from the tree, `parent` is refused by the parser.
        _ => Val::Nil,
    }
}

/// The first value of a field for every span, nil where there is none.
pub(crate) fn dense<'a>(batch: &'a SpanBatch, field: &Field) -> Vec<Val<'a>> {
    match field {
        Field::Attribute { scope, name } => {
            let mut values = vec![Val::Nil; batch.len()];
            for level in levels_of(*scope).iter().rev() {
                let mut of_owner = vec![Val::Nil; owners(batch, *level)];
                for (owner, value) in attribute(batch, *level, name) {
                    of_owner[owner as usize] = Val::from_attribute(value);
                }
                overlay(batch, *level, &of_owner, &mut values);
            }
            values
        }
        Field::Intrinsic { intrinsic: Intrinsic::ChildCount, .. } => {
            child_counts(batch).into_iter().map(Val::Int).collect()
        }
        Field::Intrinsic { intrinsic, .. } => {
            let mut values: Vec<Val<'a>> = match child_level(*intrinsic) {
                Some(_) => vec![Val::Nil; batch.len()],
                None => (0..batch.len()).map(|span| intrinsic_of(batch, *intrinsic, span)).collect(),
            };
            if let Some(level) = child_level(*intrinsic) {
                overlay(batch, level, &child_intrinsic(batch, *intrinsic), &mut values);
            }
            values
        }
        Field::Parent { .. } => vec![Val::Nil; batch.len()],
    }
}

/// Whether a span has an intrinsic once, and [`intrinsic_of`] knows it.
pub(crate) fn is_of_span(intrinsic: Intrinsic) -> bool {
    child_level(intrinsic).is_none() && intrinsic != Intrinsic::ChildCount
}

/// The level of an intrinsic that a span may have many times.
pub(crate) fn child_level(intrinsic: Intrinsic) -> Option<Level> {
    match intrinsic {
        Intrinsic::EventName | Intrinsic::EventTimeSinceStart => Some(Level::Event),
        Intrinsic::LinkTraceId | Intrinsic::LinkSpanId => Some(Level::Link),
        _ => None,
    }
}

/// The value of such an intrinsic for each event or link.
pub(crate) fn child_intrinsic(batch: &SpanBatch, intrinsic: Intrinsic) -> Vec<Val<'_>> {
    let strings = &batch.strings;
    match intrinsic {
        Intrinsic::EventName => batch.events.name.iter().map(|id| Val::Text(strings.get(*id))).collect(),
        Intrinsic::EventTimeSinceStart => {
            batch.events.since_start.iter().map(|time| Val::Duration(time.cast_signed())).collect()
        }
        Intrinsic::LinkTraceId => {
            batch.links.trace_id.iter().map(|id| Val::Owned(hex(strings.get(*id)))).collect()
        }
        Intrinsic::LinkSpanId => {
            batch.links.span_id.iter().map(|id| Val::Owned(hex(strings.get(*id)))).collect()
        }
        _ => Vec::new(),
    }
}

/// Lays the values of a level's owners over those of the spans, where they are not nil; the first child wins.
fn overlay<'a>(batch: &SpanBatch, level: Level, of_owner: &[Val<'a>], values: &mut [Val<'a>]) {
    let mut set = |span: usize, owner: usize| {
        if of_owner[owner] != Val::Nil {
            values[span] = of_owner[owner].clone();
        }
    };
    match level {
        Level::Span => (0..batch.len()).for_each(|span| set(span, span)),
        Level::Scope => (0..batch.len()).for_each(|span| set(span, batch.spans.scope[span] as usize)),
        Level::Resource => (0..batch.len()).for_each(|span| set(span, batch.resource_of(span))),
        Level::Event => {
            (0..batch.events.span.len()).rev().for_each(|e| set(batch.events.span[e] as usize, e))
        }
        Level::Link => (0..batch.links.span.len()).rev().for_each(|l| set(batch.links.span[l] as usize, l)),
    }
}

/// How many other spans of the batch name each span as their parent. All spans of a trace must be there.
fn child_counts(batch: &SpanBatch) -> Vec<i64> {
    let key = |span: usize, id: u64| (batch.spans.trace[span], id);
    let mut parents: Vec<(u32, u64)> =
        (0..batch.len()).map(|span| key(span, batch.spans.parent[span])).collect();
    parents.sort_unstable();
    let count = |key: (u32, u64)| {
        parents.partition_point(|other| *other <= key) - parents.partition_point(|other| *other < key)
    };
    let children = |span: usize| {
        let (id, parent) = (batch.spans.id[span], batch.spans.parent[span]);
        count(key(span, id)) as i64 - i64::from(id == parent)
    };
    (0..batch.len()).map(children).collect()
}
