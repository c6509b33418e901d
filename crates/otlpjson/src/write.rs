//! A trace in protobuf bytes, written as the JSON that Tempo answers (gogo `jsonpb`).
//!
//! Must stay true: the bytes are walked in place, in the order in which Tempo names the fields. Zero values are left
//! out; a message that is present is written even if it is empty, and so is every member of a `oneof`. Of a field
//! that stands twice the last one counts.

use crate::MAX_WRITTEN_VALUE_DEPTH;
use crate::error::Error;
use crate::json::{
    Object, write_base64, write_bool, write_f64, write_i64, write_i64_string, write_string, write_u64,
    write_u64_string,
};
use crate::schema::{SPAN_KINDS, STATUS_CODES};
use crate::wire::{Value, fields, repeated};

/// Under which name a trace lists its resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// `{"batches":[...]}`, as `/api/traces` answers.
    V1Batches,
    /// `{"resourceSpans":[...]}`, as `/api/v2/traces` has it under `trace`.
    V2ResourceSpans,
}

/// Writes a trace (`tempopb.Trace`, OTLP `TracesData` or `ExportTraceServiceRequest`: field 1 is the repeated
/// `ResourceSpans`) as one JSON object. A trace without resources is `{}`.
///
/// # Errors
/// If the bytes are not such a message. What has been written to `out` until then stays there.
pub fn write_trace_json(proto: &[u8], style: Style, out: &mut Vec<u8>) -> Result<(), Error> {
    let name = match style {
        Style::V1Batches => "batches",
        Style::V2ResourceSpans => "resourceSpans",
    };
    let mut object = Object::begin(out);
    list(&mut object, name, proto, 1, resource_spans)?;
    object.end();
    Ok(())
}

type Done = Result<(), Error>;

/// Writes a repeated message, if there is one.
fn list(
    object: &mut Object<'_>,
    name: &'static str,
    message: &[u8],
    number: u32,
    mut write: impl FnMut(&[u8], &mut Vec<u8>) -> Done,
) -> Done {
    let mut items = repeated(message, number);
    let Some(first) = items.next() else { return Ok(()) };
    let out = object.key(name);
    out.push(b'[');
    write(first?, out)?;
    for item in items {
        out.push(b',');
        write(item?, out)?;
    }
    out.push(b']');
    Ok(())
}

fn text(object: &mut Object<'_>, name: &'static str, value: &[u8]) {
    if !value.is_empty() {
        write_string(object.key(name), value);
    }
}

fn id(object: &mut Object<'_>, name: &'static str, value: &[u8]) {
    if !value.is_empty() {
        write_base64(object.key(name), value);
    }
}

fn nanos(object: &mut Object<'_>, name: &'static str, value: u64) {
    if value != 0 {
        write_u64_string(object.key(name), value);
    }
}

/// A 32-bit number. Decoders cut longer ones off, so this does too.
fn number(object: &mut Object<'_>, name: &'static str, value: u64) {
    if value as u32 != 0 {
        write_u64(object.key(name), (value as u32).into());
    }
}

fn enumeration(object: &mut Object<'_>, name: &'static str, value: u64, names: &[&str]) {
    let value = value as u32 as i32;
    if value == 0 {
        return;
    }
    let out = object.key(name);
    match usize::try_from(value).ok().and_then(|index| names.get(index)) {
        Some(name) => write_string(out, name),
        None => write_i64(out, value.into()),
    }
}

fn attributes(object: &mut Object<'_>, message: &[u8], number: u32) -> Done {
    list(object, "attributes", message, number, |bytes, out| key_value(bytes, out, 1))
}

fn resource_spans(message: &[u8], out: &mut Vec<u8>) -> Done {
    let (mut resource_bytes, mut schema_url): (_, &[u8]) = (None, &[]);
    for field in fields(message) {
        match field? {
            (1, Value::Bytes(bytes)) => resource_bytes = Some(bytes),
            (3, Value::Bytes(bytes)) => schema_url = bytes,
            _ => {}
        }
    }
    let mut object = Object::begin(out);
    if let Some(bytes) = resource_bytes {
        resource(bytes, object.key("resource"))?;
    }
    list(&mut object, "scopeSpans", message, 2, scope_spans)?;
    text(&mut object, "schemaUrl", schema_url);
    object.end();
    Ok(())
}

fn resource(message: &[u8], out: &mut Vec<u8>) -> Done {
    let mut dropped = 0;
    for field in fields(message) {
        if let (2, Value::Varint(value)) = field? {
            dropped = value;
        }
    }
    let mut object = Object::begin(out);
    attributes(&mut object, message, 1)?;
    number(&mut object, "droppedAttributesCount", dropped);
    object.end();
    Ok(())
}

fn scope_spans(message: &[u8], out: &mut Vec<u8>) -> Done {
    let (mut scope_bytes, mut schema_url): (_, &[u8]) = (None, &[]);
    for field in fields(message) {
        match field? {
            (1, Value::Bytes(bytes)) => scope_bytes = Some(bytes),
            (3, Value::Bytes(bytes)) => schema_url = bytes,
            _ => {}
        }
    }
    let mut object = Object::begin(out);
    if let Some(bytes) = scope_bytes {
        scope(bytes, object.key("scope"))?;
    }
    list(&mut object, "spans", message, 2, span)?;
    text(&mut object, "schemaUrl", schema_url);
    object.end();
    Ok(())
}

fn scope(message: &[u8], out: &mut Vec<u8>) -> Done {
    let (mut name, mut version, mut dropped): (&[u8], &[u8], _) = (&[], &[], 0);
    for field in fields(message) {
        match field? {
            (1, Value::Bytes(bytes)) => name = bytes,
            (2, Value::Bytes(bytes)) => version = bytes,
            (4, Value::Varint(value)) => dropped = value,
            _ => {}
        }
    }
    let mut object = Object::begin(out);
    text(&mut object, "name", name);
    text(&mut object, "version", version);
    attributes(&mut object, message, 3)?;
    number(&mut object, "droppedAttributesCount", dropped);
    object.end();
    Ok(())
}

/// The single fields of a span; its lists stay in the message.
#[derive(Debug, Default)]
pub(crate) struct Span<'a> {
    pub(crate) trace_id: &'a [u8],
    pub(crate) span_id: &'a [u8],
    pub(crate) trace_state: &'a [u8],
    pub(crate) parent_span_id: &'a [u8],
    pub(crate) name: &'a [u8],
    pub(crate) kind: u64,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) dropped_attributes: u64,
    pub(crate) dropped_events: u64,
    pub(crate) dropped_links: u64,
    pub(crate) status: Option<&'a [u8]>,
    pub(crate) flags: u32,
    /// Bit n is set if field n is there: saves the walks for lists that are not.
    lists: u32,
}

impl<'a> Span<'a> {
    pub(crate) fn parse(message: &'a [u8]) -> Result<Self, Error> {
        let mut span = Self::default();
        for field in fields(message) {
            match field? {
                (1, Value::Bytes(bytes)) => span.trace_id = bytes,
                (2, Value::Bytes(bytes)) => span.span_id = bytes,
                (3, Value::Bytes(bytes)) => span.trace_state = bytes,
                (4, Value::Bytes(bytes)) => span.parent_span_id = bytes,
                (5, Value::Bytes(bytes)) => span.name = bytes,
                (6, Value::Varint(value)) => span.kind = value,
                (7, Value::Fixed64(value)) => span.start = value,
                (8, Value::Fixed64(value)) => span.end = value,
                (number @ (9 | 11 | 13), Value::Bytes(_)) => span.lists |= 1 << number,
                (10, Value::Varint(value)) => span.dropped_attributes = value,
                (12, Value::Varint(value)) => span.dropped_events = value,
                (14, Value::Varint(value)) => span.dropped_links = value,
                (15, Value::Bytes(bytes)) => span.status = Some(bytes),
                (16, Value::Fixed32(value)) => span.flags = value,
                _ => {}
            }
        }
        Ok(span)
    }

    /// Whether there is anything in the repeated field.
    pub(crate) fn has(&self, number: u32) -> bool {
        self.lists & (1 << number) != 0
    }
}

fn span(message: &[u8], out: &mut Vec<u8>) -> Done {
    let span = Span::parse(message)?;
    let mut object = Object::begin(out);
    id(&mut object, "traceId", span.trace_id);
    id(&mut object, "spanId", span.span_id);
    text(&mut object, "traceState", span.trace_state);
    id(&mut object, "parentSpanId", span.parent_span_id);
    number(&mut object, "flags", span.flags.into());
    text(&mut object, "name", span.name);
    enumeration(&mut object, "kind", span.kind, &SPAN_KINDS);
    nanos(&mut object, "startTimeUnixNano", span.start);
    nanos(&mut object, "endTimeUnixNano", span.end);
    if span.has(9) {
        attributes(&mut object, message, 9)?;
    }
    number(&mut object, "droppedAttributesCount", span.dropped_attributes);
    if span.has(11) {
        list(&mut object, "events", message, 11, event)?;
    }
    number(&mut object, "droppedEventsCount", span.dropped_events);
    if span.has(13) {
        list(&mut object, "links", message, 13, link)?;
    }
    number(&mut object, "droppedLinksCount", span.dropped_links);
    if let Some(bytes) = span.status {
        let (code, reason) = status_parts(bytes)?;
        let mut status = Object::begin(object.key("status"));
        text(&mut status, "message", reason);
        enumeration(&mut status, "code", code, &STATUS_CODES);
        status.end();
    }
    object.end();
    Ok(())
}

/// Code and message of a `Status`.
pub(crate) fn status_parts(message: &[u8]) -> Result<(u64, &[u8]), Error> {
    let (mut code, mut reason): (_, &[u8]) = (0, &[]);
    for field in fields(message) {
        match field? {
            (2, Value::Bytes(bytes)) => reason = bytes,
            (3, Value::Varint(value)) => code = value,
            _ => {}
        }
    }
    Ok((code, reason))
}

fn event(message: &[u8], out: &mut Vec<u8>) -> Done {
    let (mut time, mut name, mut dropped): (_, &[u8], _) = (0, &[], 0);
    for field in fields(message) {
        match field? {
            (1, Value::Fixed64(value)) => time = value,
            (2, Value::Bytes(bytes)) => name = bytes,
            (4, Value::Varint(value)) => dropped = value,
            _ => {}
        }
    }
    let mut object = Object::begin(out);
    nanos(&mut object, "timeUnixNano", time);
    text(&mut object, "name", name);
    attributes(&mut object, message, 3)?;
    number(&mut object, "droppedAttributesCount", dropped);
    object.end();
    Ok(())
}

fn link(message: &[u8], out: &mut Vec<u8>) -> Done {
    let (mut trace_id, mut span_id, mut trace_state): (&[u8], &[u8], &[u8]) = (&[], &[], &[]);
    let (mut dropped, mut flags) = (0, 0);
    for field in fields(message) {
        match field? {
            (1, Value::Bytes(bytes)) => trace_id = bytes,
            (2, Value::Bytes(bytes)) => span_id = bytes,
            (3, Value::Bytes(bytes)) => trace_state = bytes,
            (5, Value::Varint(value)) => dropped = value,
            (6, Value::Fixed32(value)) => flags = value,
            _ => {}
        }
    }
    let mut object = Object::begin(out);
    id(&mut object, "traceId", trace_id);
    id(&mut object, "spanId", span_id);
    text(&mut object, "traceState", trace_state);
    attributes(&mut object, message, 4)?;
    number(&mut object, "droppedAttributesCount", dropped);
    number(&mut object, "flags", flags.into());
    object.end();
    Ok(())
}

/// Key and value of a `KeyValue`.
pub(crate) fn pair(message: &[u8]) -> Result<(&[u8], Option<&[u8]>), Error> {
    let (mut key, mut value): (&[u8], _) = (&[], None);
    for field in fields(message) {
        match field? {
            (1, Value::Bytes(bytes)) => key = bytes,
            (2, Value::Bytes(bytes)) => value = Some(bytes),
            _ => {}
        }
    }
    Ok((key, value))
}

fn key_value(message: &[u8], out: &mut Vec<u8>, depth: usize) -> Done {
    let (key, value) = pair(message)?;
    let mut object = Object::begin(out);
    text(&mut object, "key", key);
    if let Some(value) = value {
        any_value(value, object.key("value"), depth)?;
    }
    object.end();
    Ok(())
}

/// The member of an `AnyValue` that counts, with its field number.
pub(crate) fn member(message: &[u8]) -> Result<Option<(u32, Value<'_>)>, Error> {
    let mut last = None;
    for field in fields(message) {
        let field = field?;
        if matches!(
            field,
            (1 | 5 | 6 | 7, Value::Bytes(_)) | (2 | 3, Value::Varint(_)) | (4, Value::Fixed64(_))
        ) {
            last = Some(field);
        }
    }
    Ok(last)
}

/// Fails if attribute values stand too deep in each other to be written.
pub(crate) fn check_depth(depth: usize) -> Done {
    if depth > MAX_WRITTEN_VALUE_DEPTH {
        return Err(Error::Wire("attribute values are nested too deep"));
    }
    Ok(())
}

fn any_value(message: &[u8], out: &mut Vec<u8>, depth: usize) -> Done {
    check_depth(depth)?;
    let mut object = Object::begin(out);
    match member(message)? {
        Some((1, Value::Bytes(bytes))) => write_string(object.key("stringValue"), bytes),
        Some((2, Value::Varint(value))) => write_bool(object.key("boolValue"), value != 0),
        Some((3, Value::Varint(value))) => write_i64_string(object.key("intValue"), value as i64),
        Some((4, Value::Fixed64(bits))) => write_f64(object.key("doubleValue"), f64::from_bits(bits)),
        Some((7, Value::Bytes(bytes))) => write_base64(object.key("bytesValue"), bytes),
        Some((5, Value::Bytes(bytes))) => {
            let mut array = Object::begin(object.key("arrayValue"));
            list(&mut array, "values", bytes, 1, |bytes, out| any_value(bytes, out, depth + 1))?;
            array.end();
        }
        Some((6, Value::Bytes(bytes))) => {
            let mut map = Object::begin(object.key("kvlistValue"));
            list(&mut map, "values", bytes, 1, |bytes, out| key_value(bytes, out, depth + 1))?;
            map.end();
        }
        _ => {}
    }
    object.end();
    Ok(())
}
