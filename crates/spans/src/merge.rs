//! Joins the fragments of traces that lie in several batches into one batch, so that what looks at a whole trace
//! (structure, root, duration, counts) does not depend on how the data is cut.

use std::collections::HashMap;

use trackway_common::TraceId;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::batch::{Level, SpanBatch, or_zero};
use crate::builder::{BatchBuilder, SpanFields};
use crate::encode;
use crate::strings::StrId;

/// A span: place of its trace, start, id, batch, row in the batch.
type Row = (u32, u64, u64, u32, u32);

/// Gathers all spans of the wanted traces from all batches into one batch whose spans are grouped by trace, in the order
/// of `wanted`, and within a trace by start and id. Stored trace-level columns are left out: they were about fragments.
///
/// All batches must hold all columns of spans, resources, scopes and whatever tables the reader wants to see joined.
pub fn merge_traces(batches: &[&SpanBatch], wanted: &[TraceId]) -> SpanBatch {
    merge_places(&[batches], wanted)
}

/// Like [`merge_traces`], over batches of several places that may hold copies of each other's spans: a replicated block,
/// or what a sender sent again after the first was written. A copy counts once. What one place holds several times was
/// sent several times.
pub fn merge_places(places: &[&[&SpanBatch]], wanted: &[TraceId]) -> SpanBatch {
    let Placed { batches, place_of } = Placed::new(places);
    let rows = rows_of(&batches, wanted);
    let rows = without_copies(rows, &batches, &place_of);
    let mut sources: Vec<Source<'_>> = batches.iter().map(|batch| Source::new(batch)).collect();
    let mut builder = BatchBuilder::new();
    for (at, _, _, from, row) in rows {
        sources[from as usize].copy_span(&mut builder, wanted[at as usize], row);
    }
    builder.finish()
}

/// The spans of a batch for which `keep` says true, in their order, with whatever tables it has. Stored trace-level columns
/// are left out: they were about all of the spans.
pub fn keep_spans(batch: &SpanBatch, keep: &[bool]) -> SpanBatch {
    let ids: Vec<TraceId> = batch.traces.ids().collect();
    let mut source = Source::new(batch);
    let mut builder = BatchBuilder::new();
    for (row, (trace, keep)) in (0..).zip(batch.spans.trace.iter().zip(keep)) {
        if *keep {
            source.copy_span(&mut builder, ids[*trace as usize], row);
        }
    }
    builder.finish()
}

/// What a copy of a span has in common with it, as [`merge_places`] compares them, in 64 bits.
pub fn fingerprints(batch: &SpanBatch) -> Vec<u64> {
    let spans = &batch.spans;
    let of = |row: usize| {
        let number = |column: &crate::Column<u64>| column.get(row).copied().unwrap_or(0).to_le_bytes();
        let name = spans.name.get(row).map_or(&[][..], |name| batch.strings.get(*name));
        let kind = [spans.kind.get(row).copied().unwrap_or(0)];
        let numbers =
            [number(&spans.id), number(&spans.start), number(&spans.duration), number(&spans.parent)]
                .concat();
        xxh3_64(&[&numbers, &kind[..], name].concat())
    };
    (0..batch.len()).map(of).collect()
}

/// Those of the wanted traces that have copies of a span in several places, whose batches need only hold names, kinds,
/// ids, parents and times. In the order of `wanted`.
pub fn copied_among(places: &[&[&SpanBatch]], wanted: &[TraceId]) -> Vec<TraceId> {
    let Placed { batches, place_of } = Placed::new(places);
    let count = |rows: &[Row]| {
        let mut counts = vec![0_usize; wanted.len()];
        rows.iter().for_each(|row| counts[row.0 as usize] += 1);
        counts
    };
    let rows = rows_of(&batches, wanted);
    let all = count(&rows);
    let once = count(&without_copies(rows, &batches, &place_of));
    let pairs = wanted.iter().zip(all.iter().zip(&once));
    pairs.filter(|(_, (all, once))| all != once).map(|(id, _)| *id).collect()
}

/// The batches of all places, one place behind the other, and the place of each.
struct Placed<'a> {
    batches: Vec<&'a SpanBatch>,
    place_of: Vec<usize>,
}

impl<'a> Placed<'a> {
    fn new(places: &[&[&'a SpanBatch]]) -> Self {
        let of = places.iter().enumerate();
        let place_of = of.flat_map(|(place, batches)| std::iter::repeat_n(place, batches.len())).collect();
        Self { batches: places.concat(), place_of }
    }
}

/// The spans of the wanted traces, by trace, start and id.
fn rows_of(batches: &[&SpanBatch], wanted: &[TraceId]) -> Vec<Row> {
    let position: HashMap<TraceId, u32> = wanted.iter().zip(0..).map(|(id, at)| (*id, at)).collect();
    let mut rows: Vec<Row> = Vec::new();
    for (from, batch) in batches.iter().enumerate() {
        let of_trace: Vec<Option<u32>> = batch.traces.ids().map(|id| position.get(&id).copied()).collect();
        for (row, trace) in batch.spans.trace.iter().enumerate() {
            if let Some(at) = of_trace[*trace as usize] {
                rows.push((at, batch.spans.start[row], batch.spans.id[row], from as u32, row as u32));
            }
        }
    }
    rows.sort_unstable();
    rows
}

/// Leaves out spans that a place before holds too. The rows are in the order of [`rows_of`], and the batches in that of
/// their places.
fn without_copies(rows: Vec<Row>, batches: &[&SpanBatch], place_of: &[usize]) -> Vec<Row> {
    let place = |row: &Row| place_of[row.3 as usize];
    let same_key = |a: &Row, b: &Row| (a.0, a.1, a.2) == (b.0, b.1, b.2);
    if !rows.windows(2).any(|pair| same_key(&pair[0], &pair[1]) && place(&pair[0]) != place(&pair[1])) {
        return rows;
    }
    let mut kept = Vec::with_capacity(rows.len());
    for group in rows.chunk_by(same_key) {
        // For each span: what tells it from others with its id, the place that is being looked at, how often that one has
        // it, and how often it was kept.
        let mut known: Vec<(_, usize, usize, usize)> = Vec::new();
        for row in group {
            let batch = batches[row.3 as usize];
            let (spans, at) = (&batch.spans, row.4 as usize);
            let of = |column: &crate::Column<u64>| column.get(at).copied();
            let name = spans.name.get(at).map(|name| batch.strings.get(*name));
            let span = (spans.kind.get(at).copied(), of(&spans.duration), of(&spans.parent), name);
            let index = known.iter().position(|(other, ..)| *other == span).unwrap_or_else(|| {
                known.push((span, place(row), 0, 0));
                known.len() - 1
            });
            let (_, from, here, total) = &mut known[index];
            if *from != place(row) {
                (*from, *here) = (place(row), 0);
            }
            *here += 1;
            if *here > *total {
                *total += 1;
                kept.push(*row);
            }
        }
    }
    kept
}

/// A batch that is copied from, with what has been copied already.
struct Source<'a> {
    batch: &'a SpanBatch,
    strings: Vec<Option<StrId>>,
    scopes: Vec<Option<u32>>,
}

impl<'a> Source<'a> {
    fn new(batch: &'a SpanBatch) -> Self {
        Self {
            batch,
            strings: vec![None; batch.strings.len()],
            scopes: vec![None; batch.scopes.resource.len()],
        }
    }

    fn string(&mut self, builder: &mut BatchBuilder, id: StrId) -> StrId {
        *self.strings[id as usize].get_or_insert_with(|| builder.strings.intern(self.batch.strings.get(id)))
    }

    fn copy_span(&mut self, builder: &mut BatchBuilder, trace: TraceId, row: u32) {
        let (spans, from) = (&self.batch.spans, row as usize);
        let to = builder.len() as u32;
        let scope = self.scope(builder, spans.scope[from]);
        self.attributes(builder, Level::Span, row, to);
        for event in self.batch.events_of(row) {
            self.copy_event(builder, event, to);
        }
        for link in self.batch.links_of(row) {
            self.copy_link(builder, link, to);
        }
        let text = |column: &crate::Column<StrId>| column.get(from).copied().unwrap_or(0);
        let (name, message, state) =
            (text(&spans.name), text(&spans.status_message), text(&spans.trace_state));
        let span = SpanFields {
            id: spans.id[from],
            parent: spans.parent.get(from).copied().unwrap_or(0),
            name: self.string(builder, name),
            kind: spans.kind.get(from).copied().unwrap_or(0),
            status: spans.status.get(from).copied().unwrap_or(0),
            status_message: self.string(builder, message),
            trace_state: self.string(builder, state),
            start: spans.start[from],
            duration: spans.duration.get(from).copied().unwrap_or(0),
            dropped: [&spans.dropped_attributes, &spans.dropped_events, &spans.dropped_links]
                .map(|column| or_zero(column, from)),
        };
        let trace = builder.trace_row(trace);
        builder.add_span(trace, scope, span);
    }

    fn copy_event(&mut self, builder: &mut BatchBuilder, from: usize, span: u32) {
        let events = &self.batch.events;
        let to = builder.events.span.len() as u32;
        self.attributes(builder, Level::Event, from as u32, to);
        let name = self.string(builder, events.name.get(from).copied().unwrap_or(0));
        builder.events.span.push(span);
        builder.events.since_start.push(events.since_start.get(from).copied().unwrap_or(0));
        builder.events.name.push(name);
        builder.events.dropped.push(or_zero(&events.dropped_attributes, from));
    }

    fn copy_link(&mut self, builder: &mut BatchBuilder, from: usize, span: u32) {
        let links = &self.batch.links;
        let to = builder.links.span.len() as u32;
        self.attributes(builder, Level::Link, from as u32, to);
        let [trace_id, span_id, state] = [&links.trace_id, &links.span_id, &links.trace_state]
            .map(|column| self.string(builder, column.get(from).copied().unwrap_or(0)));
        builder.links.span.push(span);
        builder.links.trace_id.push(trace_id);
        builder.links.span_id.push(span_id);
        builder.links.trace_state.push(state);
        builder.links.dropped.push(or_zero(&links.dropped_attributes, from));
    }

    fn attributes(&mut self, builder: &mut BatchBuilder, level: Level, from: u32, to: u32) {
        let batch = self.batch;
        let mut position = 0;
        batch.attrs(level).for_each(&batch.strings, from, |key, value| {
            let key = self.string(builder, key);
            builder.attribute(level, to, position, key, value);
            position += 1;
        });
    }

    fn scope(&mut self, builder: &mut BatchBuilder, row: u32) -> u32 {
        if let Some(scope) = self.scopes[row as usize] {
            return scope;
        }
        let batch = self.batch;
        let resource = self.resource(builder, batch.scopes.resource[row as usize]);
        let mut bytes = Vec::new();
        let named = !batch.scopes.name.is_empty();
        if named {
            encode::put_scope(&mut bytes, batch, row);
        }
        let fingerprint = xxh3_128(&bytes);
        let scope = builder.known_scope(resource, fingerprint).unwrap_or_else(|| {
            let to = builder.scopes.resource.len() as u32;
            self.attributes(builder, Level::Scope, row, to);
            let text = |column: &crate::Column<StrId>| column.get(row as usize).copied().unwrap_or(0);
            let (name, version) = (text(&batch.scopes.name), text(&batch.scopes.version));
            let names = (self.string(builder, name), self.string(builder, version));
            let dropped = or_zero(&batch.scopes.dropped_attributes, row as usize);
            builder.add_scope(resource, fingerprint, names, dropped)
        });
        self.scopes[row as usize] = Some(scope);
        scope
    }

    fn resource(&mut self, builder: &mut BatchBuilder, row: u32) -> u32 {
        let batch = self.batch;
        let mut bytes = Vec::new();
        encode::put_resource(&mut bytes, batch, row);
        let fingerprint = xxh3_128(&bytes);
        builder.known_resource(fingerprint).unwrap_or_else(|| {
            let to = builder.resources.service.len() as u32;
            self.attributes(builder, Level::Resource, row, to);
            let service = self.string(builder, batch.resources.service[row as usize]);
            let dropped = or_zero(&batch.resources.dropped_attributes, row as usize);
            builder.add_resource(fingerprint, service, dropped)
        })
    }
}
