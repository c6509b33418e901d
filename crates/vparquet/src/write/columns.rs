//! Gathers the columns of one row group and hands them to [`Leaves`], in the order of the schema.
//!
//! vParquet5 has some leaves that vParquet4 does not have, and one in another place: those stand behind a question for
//! the format. Everything else is the same, but for the names that the schema has.

use trackway_spans::{Column, Level, SpanBatch, StrId};

use super::WriteError;
use super::attributes::AttrRows;
use super::chunks::{Chunk, or_zero};
use super::leaves::Leaves;
use super::order::SpanRef;
use super::own::{Own, OwnColumns};
use super::owners::Owners;
use super::shape::{Entries, Shape};
use super::texts::{TextId, Texts};
use super::values::{RawBytes, Values};
use crate::inline::JsonKeys;
use crate::pages::Levels;
use crate::schema::ROUNDED_SECONDS;

/// What the columns of all row groups are gathered from.
pub(crate) struct Source<'a, 't> {
    pub(crate) chunks: &'a [Chunk<'a>],
    pub(crate) owners: &'a Owners,
    pub(crate) own: &'a OwnColumns,
    pub(crate) texts: &'a mut Texts<'t>,
}

/// Events or links, or spans without any.
struct Under {
    entries: Entries<Option<SpanRef>>,
    def: Vec<u8>,
}

impl Under {
    fn levels(&self) -> Levels<'_> {
        Levels { rep: &self.entries.rep, def: &self.def, rows: &self.entries.rows }
    }

    fn present(&self) -> impl Iterator<Item = SpanRef> {
        self.entries.of.iter().flatten().copied()
    }
}

/// Writes all leaves of a row group, and returns what [`Leaves::finish`] does.
pub(crate) fn write(
    source: &mut Source<'_, '_>,
    shape: &Shape,
    mut leaves: Leaves<'_>,
) -> Result<(u64, JsonKeys), WriteError> {
    traces(source, shape, &mut leaves)?;
    resources(source, shape, &mut leaves)?;
    scopes(source, shape, &mut leaves)?;
    spans(source, shape, &mut leaves)?;
    if leaves.is_v5() {
        span_counts(shape, &mut leaves)?;
    }
    leaves.finish()
}

fn traces(source: &Source<'_, '_>, shape: &Shape, leaves: &mut Leaves<'_>) -> Result<(), WriteError> {
    let traces = &shape.traces;
    let count = traces.ids.len();
    let rows: Vec<u32> = (0..=count as u32).collect();
    let levels = Levels { rep: &[], def: &[], rows: &rows };
    let mut ids = RawBytes::new(count, 16);
    let mut hex = RawBytes::new(count, 32);
    for id in &traces.ids {
        ids.push(&id.to_be_bytes());
        hex.push(format!("{id:x}").as_bytes());
    }
    ids.ascending = true;
    leaves.raw(levels, &ids)?;
    leaves.raw(levels, &hex)?;
    leaves.values(levels, &Values::U64(&traces.start))?;
    leaves.values(levels, &Values::U64(&traces.end))?;
    leaves.values(levels, &Values::U64(&traces.duration))?;
    leaves.texts(levels, &traces.root_service, source.texts)?;
    leaves.texts(levels, &traces.root_name, source.texts)?;
    let def = vec![1; traces.services.rep.len()];
    let levels = Levels { rep: &traces.services.rep, def: &def, rows: &traces.services.rows };
    leaves.texts(levels, &traces.services.of, source.texts)?;
    leaves.values(levels, &Values::U32(&traces.service_spans))?;
    leaves.values(levels, &Values::U32(&traces.service_errors))
}

fn resources(source: &mut Source<'_, '_>, shape: &Shape, leaves: &mut Leaves<'_>) -> Result<(), WriteError> {
    let resources = &shape.resources;
    let of = |number: u32| &source.owners.resources[number as usize];
    let def = vec![1; resources.rep.len()];
    let levels = Levels { rep: &resources.rep, def: &def, rows: &resources.rows };
    let services: Vec<TextId> = resources.of.iter().map(|number| of(*number).service).collect();
    if leaves.is_v5() {
        leaves.texts(levels, &services, source.texts)?;
    }
    let mut attrs = AttrRows::new(1);
    each_row(resources, &mut attrs, |attrs, number| {
        of(number).attrs.iter().for_each(|(key, value)| attrs.attr(*key, value));
    });
    leaves.attributes(Level::Resource, &attrs, source.texts)?;
    let dropped: Vec<i32> = resources.of.iter().map(|number| of(*number).dropped).collect();
    leaves.values(levels, &Values::I32(&dropped))?;
    if !leaves.is_v5() {
        leaves.texts(levels, &services, source.texts)?;
    }
    let mut own = Own::new(source.own.of(Level::Resource));
    for (at, number) in (0..).zip(&resources.of) {
        of(*number).own.iter().for_each(|(column, value)| own.put(*column, at, value));
    }
    leaves.own(levels, &own, source.texts)
}

fn scopes(source: &mut Source<'_, '_>, shape: &Shape, leaves: &mut Leaves<'_>) -> Result<(), WriteError> {
    let scopes = &shape.scopes;
    let of = |number: u32| &source.owners.scopes[number as usize];
    let def = vec![2; scopes.rep.len()];
    let levels = Levels { rep: &scopes.rep, def: &def, rows: &scopes.rows };
    let names: Vec<TextId> = scopes.of.iter().map(|number| of(*number).name).collect();
    leaves.texts(levels, &names, source.texts)?;
    let versions: Vec<TextId> = scopes.of.iter().map(|number| of(*number).version).collect();
    leaves.texts(levels, &versions, source.texts)?;
    let mut attrs = AttrRows::new(2);
    each_row(scopes, &mut attrs, |attrs, number| {
        of(number).attrs.iter().for_each(|(key, value)| attrs.attr(*key, value));
    });
    leaves.attributes(Level::Scope, &attrs, source.texts)?;
    let dropped: Vec<i32> = scopes.of.iter().map(|number| of(*number).dropped).collect();
    leaves.values(levels, &Values::I32(&dropped))
}

/// Calls `each` for every owner, between the marks of its beginning and its end, and those of the rows.
fn each_row<T: Copy>(owners: &Entries<T>, attrs: &mut AttrRows, mut each: impl FnMut(&mut AttrRows, T)) {
    let mut starts = owners.rows.iter().peekable();
    for (at, (owner, rep)) in owners.of.iter().zip(&owners.rep).enumerate() {
        if starts.next_if(|start| **start == at as u32).is_some() {
            attrs.row();
        }
        attrs.owner(*rep);
        each(attrs, *owner);
        attrs.end_owner();
    }
    attrs.row();
}

fn spans(source: &mut Source<'_, '_>, shape: &Shape, leaves: &mut Leaves<'_>) -> Result<(), WriteError> {
    let columns = &shape.columns;
    let def = vec![3; shape.spans.rep.len()];
    let levels = Levels { rep: &shape.spans.rep, def: &def, rows: &shape.spans.rows };
    let (mut ids, mut parents) = (RawBytes::new(columns.id.len(), 8), RawBytes::new(columns.id.len(), 8));
    for (id, parent) in columns.id.iter().zip(&columns.parent) {
        ids.push(&id.to_be_bytes());
        let parent = if *parent == 0 { &[][..] } else { &parent.to_be_bytes() };
        parents.push(parent);
    }
    leaves.raw(levels, &ids)?;
    leaves.raw(levels, &parents)?;
    drop((ids, parents));
    leaves.values(levels, &Values::I32(&columns.nested_parent))?;
    leaves.values(levels, &Values::I32(&columns.left))?;
    leaves.values(levels, &Values::I32(&columns.right))?;
    if leaves.is_v5() {
        leaves.values(levels, &Values::I32(&columns.children))?;
    }
    text_of_spans(source, shape, levels, leaves, |batch| &batch.spans.name)?;
    let wide = |narrow: &[u8]| narrow.iter().map(|value| i64::from(*value)).collect::<Vec<_>>();
    leaves.values(levels, &Values::I64(&wide(&columns.kind)))?;
    text_of_spans(source, shape, levels, leaves, |batch| &batch.spans.trace_state)?;
    leaves.values(levels, &Values::U64(&columns.start))?;
    leaves.values(levels, &Values::U64(&columns.duration))?;
    leaves.values(levels, &Values::I64(&wide(&columns.status)))?;
    text_of_spans(source, shape, levels, leaves, |batch| &batch.spans.status_message)?;
    let own = span_attributes(source, shape, leaves)?;
    let dropped = |column: fn(&SpanBatch) -> &Column<u32>| {
        counts(source.chunks, shape.spans.of.iter().copied(), column)
    };
    let (attributes, events, links) = (
        dropped(|batch| &batch.spans.dropped_attributes),
        dropped(|batch| &batch.spans.dropped_events),
        dropped(|batch| &batch.spans.dropped_links),
    );
    leaves.values(levels, &Values::I32(&attributes))?;
    write_events(source, shape, leaves)?;
    leaves.values(levels, &Values::I32(&events))?;
    write_links(source, shape, leaves)?;
    leaves.values(levels, &Values::I32(&links))?;
    leaves.own(levels, &own, source.texts)?;
    if leaves.is_v5() {
        for seconds in ROUNDED_SECONDS {
            let starts: Vec<u32> = columns.start.iter().map(|start| rounded(*start, seconds)).collect();
            leaves.values(levels, &Values::U32(&starts))?;
        }
    }
    Ok(())
}

/// The number of the interval that a time lies in, counted from the epoch. Intervals end with a full one: a time that is
/// a multiple of the interval belongs to the one before it, as Tempo's metrics have it.
fn rounded(time: u64, seconds: u64) -> u32 {
    // The shortest interval has 15 seconds, and 2^64 nanoseconds are fewer than 2^31 of those.
    (time.saturating_sub(1) / (seconds * 1_000_000_000)) as u32
}

/// How many spans each scope has.
fn span_counts(shape: &Shape, leaves: &mut Leaves<'_>) -> Result<(), WriteError> {
    let scopes = &shape.scopes;
    let mut counts: Vec<i32> = Vec::with_capacity(scopes.of.len());
    for rep in &shape.spans.rep {
        match counts.last_mut() {
            Some(count) if *rep > 2 => *count += 1,
            _ => counts.push(1),
        }
    }
    let def = vec![2; scopes.rep.len()];
    let levels = Levels { rep: &scopes.rep, def: &def, rows: &scopes.rows };
    leaves.values(levels, &Values::I32(&counts))
}

fn text_of_spans(
    source: &Source<'_, '_>,
    shape: &Shape,
    levels: Levels<'_>,
    leaves: &mut Leaves<'_>,
    column: fn(&SpanBatch) -> &Column<StrId>,
) -> Result<(), WriteError> {
    let numbers = text_of(source, shape.spans.of.iter().copied(), column);
    leaves.texts(levels, &numbers, source.texts)
}

fn text_of(
    source: &Source<'_, '_>,
    of: impl Iterator<Item = SpanRef>,
    column: fn(&SpanBatch) -> &Column<StrId>,
) -> Vec<TextId> {
    of.map(|at| {
        let chunk = at.chunk as usize;
        source.texts.number_of(chunk, column(source.chunks[chunk].batch)[at.row as usize])
    })
    .collect()
}

fn counts(
    chunks: &[Chunk<'_>],
    of: impl Iterator<Item = SpanRef>,
    column: fn(&SpanBatch) -> &Column<u32>,
) -> Vec<i32> {
    if chunks.iter().all(|chunk| column(chunk.batch).is_empty()) {
        return vec![0; of.count()];
    }
    of.map(|at| or_zero(column(chunks[at.chunk as usize].batch), at.row as usize).cast_signed()).collect()
}

/// Spans of a trace lie all over the chunks: those of so many are fetched from memory before the first is copied.
/// (Measured: 0.1 µs a span.)
const TOUCHED_TOGETHER: u32 = 32;

/// Writes the generic attributes of spans and returns the others.
fn span_attributes<'a>(
    source: &mut Source<'a, '_>,
    shape: &Shape,
    leaves: &mut Leaves<'_>,
) -> Result<Own<'a>, WriteError> {
    let Source { chunks, own: columns, texts, .. } = source;
    let mut own = Own::new(columns.of(Level::Span));
    let mut attrs = AttrRows::new(3);
    let mut place: u32 = 0;
    each_row(&shape.spans, &mut attrs, |attrs, span| {
        if place.is_multiple_of(TOUCHED_TOGETHER) {
            let ahead = shape.spans.of[place as usize..].iter().take(TOUCHED_TOGETHER as usize);
            let touch = |sum: u32, at: &SpanRef| sum ^ chunks[at.chunk as usize].span_attrs.touch(at.row);
            std::hint::black_box(ahead.fold(0, touch));
        }
        let chunk = span.chunk as usize;
        attrs.all(texts, (chunk, &chunks[chunk].span_attrs), span.row, &mut own, place);
        place += 1;
    });
    leaves.attributes(Level::Span, &attrs, texts)?;
    Ok(own)
}

/// The events or links of the spans.
fn under(shape: &Shape, children: impl Fn(SpanRef) -> std::ops::Range<usize>) -> Under {
    let spans = &shape.spans;
    let mut under = Under { entries: Entries::default(), def: Vec::with_capacity(spans.rep.len()) };
    let mut starts = spans.rows.iter().peekable();
    for (at, (span, rep)) in spans.of.iter().zip(&spans.rep).enumerate() {
        if starts.next_if(|start| **start == at as u32).is_some() {
            under.entries.row();
        }
        let rows = children(*span);
        if rows.is_empty() {
            under.entries.push(None, *rep);
            under.def.push(3);
        }
        for (nth, row) in rows.enumerate() {
            let child = SpanRef { chunk: span.chunk, row: row as u32 };
            under.entries.push(Some(child), if nth == 0 { *rep } else { 4 });
            under.def.push(4);
        }
    }
    under.entries.row();
    under
}

fn write_events(
    source: &mut Source<'_, '_>,
    shape: &Shape,
    leaves: &mut Leaves<'_>,
) -> Result<(), WriteError> {
    let chunks = source.chunks;
    let events = under(shape, |span| chunks[span.chunk as usize].events.of(span.row));
    let since = |at: SpanRef| chunks[at.chunk as usize].batch.events.since_start[at.row as usize];
    leaves.values(events.levels(), &Values::U64(&events.present().map(since).collect::<Vec<_>>()))?;
    let names = text_of(source, events.present(), |batch| &batch.events.name);
    leaves.texts(events.levels(), &names, source.texts)?;
    drop(names);
    let own = child_attributes(source, &events, leaves, Level::Event)?;
    let dropped = counts(chunks, events.present(), |batch| &batch.events.dropped_attributes);
    leaves.values(events.levels(), &Values::I32(&dropped))?;
    leaves.own(events.levels(), &own, source.texts)
}

fn write_links(
    source: &mut Source<'_, '_>,
    shape: &Shape,
    leaves: &mut Leaves<'_>,
) -> Result<(), WriteError> {
    let chunks = source.chunks;
    let links = under(shape, |span| chunks[span.chunk as usize].links.of(span.row));
    let columns: [fn(&SpanBatch) -> &Column<StrId>; 3] =
        [|batch| &batch.links.trace_id, |batch| &batch.links.span_id, |batch| &batch.links.trace_state];
    for column in columns {
        let numbers = text_of(source, links.present(), column);
        leaves.texts(links.levels(), &numbers, source.texts)?;
    }
    child_attributes(source, &links, leaves, Level::Link)?;
    let dropped = counts(chunks, links.present(), |batch| &batch.links.dropped_attributes);
    leaves.values(links.levels(), &Values::I32(&dropped))
}

/// Writes the generic attributes of events or links and returns the others.
fn child_attributes<'a>(
    source: &mut Source<'a, '_>,
    children: &Under,
    leaves: &mut Leaves<'_>,
    level: Level,
) -> Result<Own<'a>, WriteError> {
    let mut own = Own::new(source.own.of(level));
    let mut attrs = AttrRows::new(4);
    let mut starts = children.entries.rows.iter().peekable();
    for (at, (child, rep)) in (0_u32..).zip(children.entries.of.iter().zip(&children.entries.rep)) {
        if starts.next_if(|start| **start == at).is_some() {
            attrs.row();
        }
        match child {
            Some(child) => {
                attrs.owner(*rep);
                let chunk = child.chunk as usize;
                let of = &source.chunks[chunk];
                let from = if level == Level::Event { &of.event_attrs } else { &of.link_attrs };
                attrs.all(source.texts, (chunk, from), child.row, &mut own, at);
                attrs.end_owner();
            }
            None => attrs.absent(*rep, 3),
        }
    }
    attrs.row();
    leaves.attributes(level, &attrs, source.texts)?;
    Ok(own)
}
