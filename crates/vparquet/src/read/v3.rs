//! What vParquet3 keeps otherwise than its successors: values of events' attributes and whole lists of links as protobuf
//! messages, events at a time instead of a distance from their span's start, and no counts by service.
//!
//! The messages come from a file: what cannot be read in them is an error of the row group.

use std::collections::HashMap;

use trackway_spans::anyvalue::{self, AnyValue};
use trackway_spans::wire::{Reader, WireError};
use trackway_spans::{AttrNeed, Level, StrId, Value};

use super::ReadError;
use super::assemble::{Assembly, Hit};
use super::attributes::{Rows, values_of};
use crate::decode::ByteValues;

const STATUS_ERROR: u8 = 2;

impl Assembly<'_> {
    /// Turns the times of events into distances from the starts of their spans.
    pub(super) fn since_start(&mut self) {
        // The leaf is no longer there when the spans have their starts from it.
        let starts = if self.batch.spans.start.is_empty() {
            let path = self.layout().path(Level::Span, "StartTimeUnixNano");
            self.numbers(&path, self.batch.len(), i64::cast_unsigned)
        } else {
            self.batch.spans.start.clone()
        };
        let events = &mut self.batch.events;
        let since = |(span, time): (&u32, &u64)| {
            time.wrapping_sub(starts.get(*span as usize).copied().unwrap_or_default())
        };
        events.since_start = events.span.iter().zip(events.since_start.iter()).map(since).collect();
    }

    /// Attributes whose values are messages, one for each key.
    pub(super) fn messages(&mut self, level: Level, hits: &[Hit], rows: &mut Rows) -> Result<(), ReadError> {
        let path = self.layout().path(level, self.layout().attrs.text);
        let Some(leaf) = self.leaf(&path) else { return Ok(()) };
        let Some((ids, dictionary)) = leaf.bytes() else { return Ok(()) };
        for hit in hits {
            let message = ids.get(hit.attribute as usize).map_or(&b""[..], |id| dictionary.get(*id as usize));
            self.push(rows, hit.owner, hit.key, message).map_err(|_| self.damaged())?;
        }
        Ok(())
    }

    /// Typed attributes that have a value in none of the leaves: one was empty, or bytes, for which there is no leaf.
    pub(super) fn without_value(&mut self, level: Level, hits: &[Hit], rows: &mut Rows) {
        let attrs = &self.layout().attrs;
        let mut valued = vec![false; hits.len()];
        for name in [attrs.text, attrs.int, attrs.float, attrs.bool].iter().chain(attrs.json) {
            let Some(leaf) = self.leaf(&self.layout().path(level, name)) else { continue };
            let json = leaf.bytes().filter(|_| attrs.json.contains(name));
            values_of(&leaf, level, hits, |at, value| {
                let is_empty = |(ids, dictionary): (&[u32], &ByteValues)| {
                    ids.get(value).is_none_or(|id| dictionary.get(*id as usize).is_empty())
                };
                valued[at] |= !json.is_some_and(is_empty);
            });
        }
        let empty = self.strings.intern(b"");
        let without = hits.iter().zip(valued).filter(|(_, valued)| !valued);
        for (hit, _) in without {
            rows.others.push((hit.owner, hit.key), empty);
        }
    }

    /// The links of all spans, from a leaf with one message a span: field 1, repeated `Span.Link`.
    pub(super) fn links_of_messages(&mut self, path: &str) -> Result<(), ReadError> {
        let (mut spans, mut trace_ids, mut span_ids) = (Vec::new(), Vec::new(), Vec::new());
        let (mut states, mut dropped) = (Vec::new(), Vec::new());
        self.each_link(path, |assembly, span, link| {
            let (mut ids, mut count) = ([0; 3], 0);
            let mut fields = Reader::new(link);
            while let Some((number, field)) = fields.next_field()? {
                match number {
                    1..=3 => ids[number as usize - 1] = assembly.strings.intern(field.bytes(number)?),
                    5 => count = field.uint32(5)?,
                    _ => {}
                }
            }
            spans.push(span);
            trace_ids.push(ids[0]);
            span_ids.push(ids[1]);
            states.push(ids[2]);
            dropped.push(count);
            Ok(())
        })?;
        let links = &mut self.batch.links;
        links.span = spans.into();
        links.trace_id = trace_ids.into();
        links.span_id = span_ids.into();
        links.trace_state = states.into();
        if dropped.iter().any(|count| *count != 0) {
            links.dropped_attributes = dropped.into();
        }
        Ok(())
    }

    /// The attributes of links, from the same messages.
    pub(super) fn attributes_of_links(&mut self, need: &AttrNeed, rows: &mut Rows) -> Result<(), ReadError> {
        let Some(leaf) = self.layout().links_message.filter(|_| *need != AttrNeed::None) else {
            return Ok(());
        };
        let path = self.layout().path(Level::Span, leaf);
        let mut row = 0;
        self.each_link(&path, |assembly, _, link| {
            let mut fields = Reader::new(link);
            while let Some((number, field)) = fields.next_field()? {
                if number == 4 {
                    let (key, value) = anyvalue::parse_key_value(field.bytes(4)?)?;
                    if need.wants(key) {
                        let key = assembly.strings.intern(key);
                        assembly.push(rows, row, key, value)?;
                    }
                }
            }
            row += 1;
            Ok(())
        })
    }

    /// Calls `each` with every link's span and message.
    fn each_link(
        &mut self,
        path: &str,
        mut each: impl FnMut(&mut Self, u32, &[u8]) -> Result<(), WireError>,
    ) -> Result<(), ReadError> {
        let Some(leaf) = self.leaf(path) else { return Ok(()) };
        let Some((ids, dictionary)) = leaf.bytes() else { return Ok(()) };
        for (span, id) in (0..).zip(ids) {
            for link in anyvalue::elements(dictionary.get(*id as usize)) {
                link.and_then(|link| each(self, span, link)).map_err(|_| self.damaged())?;
            }
        }
        Ok(())
    }

    fn damaged(&self) -> ReadError {
        self.group.structure("a message of an event or a link is damaged")
    }

    fn push(&mut self, rows: &mut Rows, owner: u32, key: StrId, message: &[u8]) -> Result<(), WireError> {
        match anyvalue::parse(message)? {
            AnyValue::Scalar(Value::String(text)) => {
                rows.strings.push((owner, key), self.strings.intern(text));
            }
            AnyValue::Scalar(Value::Int(value)) => rows.ints.push((owner, key), value),
            AnyValue::Scalar(Value::Float(value)) => rows.floats.push((owner, key), value),
            AnyValue::Scalar(Value::Bool(value)) => rows.bools.push((owner, key), u8::from(value)),
            _ => {
                anyvalue::validate(message, 0)?;
                rows.others.push((owner, key), self.strings.intern(message));
            }
        }
        Ok(())
    }

    /// Counts spans and errors by trace and service: newer formats say it.
    pub(super) fn count_stats(&mut self) {
        let path = self.layout().path(Level::Resource, "ServiceName");
        let services = self.texts(&path, self.batch.resources.service.len());
        let mut rows: HashMap<(u32, StrId), usize> = HashMap::new();
        let (mut traces, mut names) = (Vec::new(), Vec::new());
        let (mut spans, mut errors) = (Vec::new(), Vec::new());
        for span in 0..self.batch.len() {
            let key = (self.batch.spans.trace[span], services[self.batch.resource_of(span)]);
            let row = *rows.entry(key).or_insert_with(|| {
                traces.push(key.0);
                names.push(key.1);
                spans.push(0_u32);
                errors.push(0_u32);
                traces.len() - 1
            });
            spans[row] += 1;
            errors[row] += u32::from(self.batch.spans.status[span] == STATUS_ERROR);
        }
        let stats = &mut self.batch.traces.stats;
        stats.trace = traces.into();
        stats.service = names.into();
        stats.spans = spans.into();
        stats.errors = errors.into();
    }
}
