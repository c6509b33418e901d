//! Spans back to OTLP protobuf bytes: the `Trace` message (`repeated ResourceSpans = 1`) of a trace-by-id answer.
//!
//! What must stay true: `resource`, `scope` and `status` are on the wire even when they are empty. Grafana's plugin
//! follows these pointers without looking and crashes where one is missing.

use std::collections::BTreeMap;

use trackway_common::TraceId;

use crate::anyvalue;
use crate::batch::{Level, SpanBatch, or_zero};
use crate::wire::{
    put_bytes, put_bytes_unless_empty, put_fixed64, put_message, put_number_unless_zero, put_varint,
};

/// Encodes all spans of a batch as one `Trace` message.
pub fn encode_trace(batch: &SpanBatch) -> Vec<u8> {
    let rows: Vec<u32> = (0..batch.len() as u32).collect();
    encode_rows(batch, &rows)
}

/// Encodes each trace of a batch as a `Trace` message of its own, by its id.
pub fn encode_traces_by_id(batch: &SpanBatch) -> BTreeMap<TraceId, Vec<u8>> {
    let mut rows: BTreeMap<TraceId, Vec<u32>> = BTreeMap::new();
    for (row, trace) in batch.spans.trace.iter().enumerate() {
        rows.entry(batch.traces.id(*trace as usize)).or_default().push(row as u32);
    }
    rows.into_iter().map(|(id, rows)| (id, encode_rows(batch, &rows))).collect()
}

fn encode_rows(batch: &SpanBatch, rows: &[u32]) -> Vec<u8> {
    let mut ordered: Vec<(u32, u32, u64, u32)> = rows
        .iter()
        .map(|row| {
            let span = *row as usize;
            (batch.resource_of(span) as u32, batch.spans.scope[span], batch.spans.start[span], *row)
        })
        .collect();
    ordered.sort_unstable();
    let mut out = Vec::new();
    for of_resource in ordered.chunk_by(|a, b| a.0 == b.0) {
        put_message(&mut out, 1, |out| {
            put_message(out, 1, |out| put_resource(out, batch, of_resource[0].0));
            for of_scope in of_resource.chunk_by(|a, b| a.1 == b.1) {
                put_message(out, 2, |out| {
                    put_message(out, 1, |out| put_scope(out, batch, of_scope[0].1));
                    for (.., row) in of_scope {
                        put_message(out, 2, |out| put_span(out, batch, *row));
                    }
                });
            }
        });
    }
    out
}

/// Appends the fields of a `Resource`.
pub fn put_resource(out: &mut Vec<u8>, batch: &SpanBatch, row: u32) {
    let service = batch.resources.service[row as usize];
    if service != 0 {
        put_message(out, 1, |out| {
            put_bytes(out, 1, b"service.name");
            put_message(out, 2, |out| put_bytes(out, 1, batch.strings.get(service)));
        });
    }
    put_attributes(out, 1, batch, Level::Resource, row);
    let dropped = or_zero(&batch.resources.dropped_attributes, row as usize);
    put_number_unless_zero(out, 2, u64::from(dropped));
}

/// Appends the fields of an `InstrumentationScope`.
pub fn put_scope(out: &mut Vec<u8>, batch: &SpanBatch, row: u32) {
    put_bytes_unless_empty(out, 1, batch.strings.get(batch.scopes.name[row as usize]));
    put_bytes_unless_empty(out, 2, batch.strings.get(batch.scopes.version[row as usize]));
    put_attributes(out, 3, batch, Level::Scope, row);
    let dropped = or_zero(&batch.scopes.dropped_attributes, row as usize);
    put_number_unless_zero(out, 4, u64::from(dropped));
}

fn put_attributes(out: &mut Vec<u8>, number: u32, batch: &SpanBatch, level: Level, owner: u32) {
    batch.attrs(level).for_each(&batch.strings, owner, |key, value| {
        put_message(out, number, |out| {
            put_bytes(out, 1, batch.strings.get(key));
            put_message(out, 2, |out| anyvalue::put(out, value));
        });
    });
}

fn put_span(out: &mut Vec<u8>, batch: &SpanBatch, row: u32) {
    let span = row as usize;
    let spans = &batch.spans;
    put_bytes(out, 1, &batch.traces.id(spans.trace[span] as usize).to_bytes());
    put_bytes(out, 2, &spans.id[span].to_be_bytes());
    put_bytes_unless_empty(out, 3, batch.strings.get(spans.trace_state[span]));
    if spans.parent[span] != 0 {
        put_bytes(out, 4, &spans.parent[span].to_be_bytes());
    }
    put_bytes_unless_empty(out, 5, batch.strings.get(spans.name[span]));
    put_number_unless_zero(out, 6, u64::from(spans.kind[span]));
    let start = spans.start[span];
    put_fixed64(out, 7, start);
    put_fixed64(out, 8, start.wrapping_add(spans.duration[span]));
    put_attributes(out, 9, batch, Level::Span, row);
    put_number_unless_zero(out, 10, u64::from(or_zero(&spans.dropped_attributes, span)));
    for event in batch.events_of(row) {
        put_message(out, 11, |out| put_event(out, batch, event, start));
    }
    put_number_unless_zero(out, 12, u64::from(or_zero(&spans.dropped_events, span)));
    for link in batch.links_of(row) {
        put_message(out, 13, |out| put_link(out, batch, link));
    }
    put_number_unless_zero(out, 14, u64::from(or_zero(&spans.dropped_links, span)));
    put_message(out, 15, |out| {
        put_bytes_unless_empty(out, 2, batch.strings.get(spans.status_message[span]));
        put_number_unless_zero(out, 3, u64::from(spans.status[span]));
    });
}

fn put_event(out: &mut Vec<u8>, batch: &SpanBatch, row: usize, start: u64) {
    let events = &batch.events;
    put_varint(out, 1 << 3 | 1);
    out.extend_from_slice(&start.wrapping_add(events.since_start[row]).to_le_bytes());
    put_bytes_unless_empty(out, 2, batch.strings.get(events.name[row]));
    put_attributes(out, 3, batch, Level::Event, row as u32);
    put_number_unless_zero(out, 4, u64::from(or_zero(&events.dropped_attributes, row)));
}

fn put_link(out: &mut Vec<u8>, batch: &SpanBatch, row: usize) {
    let links = &batch.links;
    put_bytes_unless_empty(out, 1, batch.strings.get(links.trace_id[row]));
    put_bytes_unless_empty(out, 2, batch.strings.get(links.span_id[row]));
    put_bytes_unless_empty(out, 3, batch.strings.get(links.trace_state[row]));
    put_attributes(out, 4, batch, Level::Link, row as u32);
    put_number_unless_zero(out, 5, u64::from(or_zero(&links.dropped_attributes, row)));
}
