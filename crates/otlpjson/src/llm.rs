//! A trace in protobuf bytes, written as `application/vnd.grafana.llm+json`: the short form for language models.
//!
//! Must stay true: the shape is Tempo's (reference §2.2). Ids are hex, attributes are plain objects sorted by key
//! (of a key that stands twice the last value counts), and `service.name` stands above its resource. Different on
//! purpose: a span that ends before it starts has no duration instead of an enormous one, and floats that JSON
//! cannot say are strings instead of failing the answer.

use crate::error::Error;
use crate::json::{
    Object, write_bool, write_f64, write_hex, write_i64, write_string, write_u64, write_u64_string,
};
use crate::schema::{SPAN_KINDS, STATUS_CODES};
use crate::wire::{Value, fields, repeated};
use crate::write::{Span, check_depth, member, pair, status_parts};

/// What an answer says besides the trace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LlmAnswer<'a> {
    /// Bytes read for the answer; left out if 0.
    pub inspected_bytes: u64,
    /// `PARTIAL` if the trace is not whole; left out if empty.
    pub status: &'a str,
    /// Why it is not whole; left out if empty.
    pub message: &'a str,
}

/// Writes the whole answer for a trace: `{"trace":{...},"metrics":{...}}`, or `{}` if the trace is empty.
///
/// # Errors
/// If the bytes are not a trace. What has been written to `out` until then stays there.
pub fn write_llm_json(proto: &[u8], answer: LlmAnswer<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
    let mut root = Object::begin(out);
    if let Some(first) = repeated(proto, 1).next() {
        let mut trace = Object::begin(root.key("trace"));
        write_hex(trace.key("traceId"), trace_id(first?)?);
        list(trace.key("services"), repeated(proto, 1), service)?;
        trace.end();
        if answer.inspected_bytes > 0 {
            let mut metrics = Object::begin(root.key("metrics"));
            write_u64(metrics.key("inspectedBytes"), answer.inspected_bytes);
            metrics.end();
        }
        for (name, value) in [("status", answer.status), ("message", answer.message)] {
            if !value.is_empty() {
                write_string(root.key(name), value);
            }
        }
    }
    root.end();
    Ok(())
}

type Done = Result<(), Error>;

/// The trace id of the first span of a resource; empty if the first scope has none.
fn trace_id(resource_spans: &[u8]) -> Result<&[u8], Error> {
    let Some(scope_spans) = repeated(resource_spans, 2).next() else { return Ok(&[]) };
    let Some(span) = repeated(scope_spans?, 2).next() else { return Ok(&[]) };
    Ok(Span::parse(span?)?.trace_id)
}

fn list<'a>(
    out: &mut Vec<u8>,
    items: impl Iterator<Item = Result<&'a [u8], Error>>,
    mut write: impl FnMut(&'a [u8], &mut Vec<u8>) -> Done,
) -> Done {
    out.push(b'[');
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(item?, out)?;
    }
    out.push(b']');
    Ok(())
}

fn has(message: &[u8], number: u32) -> bool {
    repeated(message, number).next().is_some()
}

fn service(message: &[u8], out: &mut Vec<u8>) -> Done {
    let mut resource: &[u8] = &[];
    for bytes in repeated(message, 1) {
        resource = bytes?;
    }
    let mut attributes = sorted(resource, 1)?;
    let mut name: &[u8] = &[];
    if let Ok(at) = attributes.binary_search_by_key(&&b"service.name"[..], |(key, _)| key) {
        let (_, value) = attributes.remove(at);
        if let Some((1, Value::Bytes(bytes))) = member(value)? {
            name = bytes;
        }
    }
    let mut object = Object::begin(out);
    if !name.is_empty() {
        write_string(object.key("serviceName"), name);
    }
    if !attributes.is_empty() {
        map(&attributes, object.key("resource"), 1)?;
    }
    if has(message, 2) {
        list(object.key("scopes"), repeated(message, 2), scope)?;
    }
    object.end();
    Ok(())
}

fn scope(message: &[u8], out: &mut Vec<u8>) -> Done {
    let (mut name, mut version): (&[u8], &[u8]) = (&[], &[]);
    for scope in repeated(message, 1) {
        for field in fields(scope?) {
            match field? {
                (1, Value::Bytes(bytes)) => name = bytes,
                (2, Value::Bytes(bytes)) => version = bytes,
                _ => {}
            }
        }
    }
    let mut object = Object::begin(out);
    for (key, value) in [("name", name), ("version", version)] {
        if !value.is_empty() {
            write_string(object.key(key), value);
        }
    }
    if has(message, 2) {
        list(object.key("spans"), repeated(message, 2), span)?;
    }
    object.end();
    Ok(())
}

/// The name of an enum value, or its number as text.
fn write_name(out: &mut Vec<u8>, value: u64, names: &[&str]) {
    let value = value as u32 as i32;
    match usize::try_from(value).ok().and_then(|index| names.get(index)) {
        Some(name) => write_string(out, name),
        None => write_string(out, value.to_string()),
    }
}

fn nanos(object: &mut Object<'_>, name: &'static str, value: u64) {
    if value > 0 {
        write_u64_string(object.key(name), value);
    }
}

fn attributes(object: &mut Object<'_>, message: &[u8], number: u32) -> Done {
    let attributes = sorted(message, number)?;
    if !attributes.is_empty() {
        map(&attributes, object.key("attributes"), 1)?;
    }
    Ok(())
}

fn span(message: &[u8], out: &mut Vec<u8>) -> Done {
    let span = Span::parse(message)?;
    let mut object = Object::begin(out);
    write_hex(object.key("spanId"), span.span_id);
    write_string(object.key("name"), span.name);
    if !span.parent_span_id.is_empty() {
        write_hex(object.key("parentSpanId"), span.parent_span_id);
    }
    if span.kind as u32 != 0 {
        write_name(object.key("kind"), span.kind, &SPAN_KINDS);
    }
    nanos(&mut object, "startTimeUnixNano", span.start);
    nanos(&mut object, "endTimeUnixNano", span.end);
    if span.start > 0 && span.end > span.start {
        write_f64(object.key("durationMs"), (span.end - span.start) as f64 / 1e6);
    }
    if span.has(9) {
        attributes(&mut object, message, 9)?;
    }
    if span.has(11) {
        list(object.key("events"), repeated(message, 11), event)?;
    }
    if span.has(13) {
        list(object.key("links"), repeated(message, 13), link)?;
    }
    let (code, reason) = status_parts(span.status.unwrap_or_default())?;
    let reason = if code as u32 == 0 { &[] } else { reason };
    let mut status = Object::begin(object.key("status"));
    write_name(status.key("code"), code, &STATUS_CODES);
    write_string(status.key("message"), reason);
    status.end();
    object.end();
    Ok(())
}

fn event(message: &[u8], out: &mut Vec<u8>) -> Done {
    let (mut time, mut name): (_, &[u8]) = (0, &[]);
    for field in fields(message) {
        match field? {
            (1, Value::Fixed64(value)) => time = value,
            (2, Value::Bytes(bytes)) => name = bytes,
            _ => {}
        }
    }
    let mut object = Object::begin(out);
    write_string(object.key("name"), name);
    nanos(&mut object, "timeUnixNano", time);
    attributes(&mut object, message, 3)?;
    object.end();
    Ok(())
}

fn link(message: &[u8], out: &mut Vec<u8>) -> Done {
    let (mut trace_id, mut span_id): (&[u8], &[u8]) = (&[], &[]);
    for field in fields(message) {
        match field? {
            (1, Value::Bytes(bytes)) => trace_id = bytes,
            (2, Value::Bytes(bytes)) => span_id = bytes,
            _ => {}
        }
    }
    let mut object = Object::begin(out);
    write_hex(object.key("traceId"), trace_id);
    write_hex(object.key("spanId"), span_id);
    attributes(&mut object, message, 4)?;
    object.end();
    Ok(())
}

/// Keys and the bytes of their `AnyValue`.
type Attributes<'a> = Vec<(&'a [u8], &'a [u8])>;

/// Attributes by key, each key once. Those without a value are left out.
fn sorted(message: &[u8], number: u32) -> Result<Attributes<'_>, Error> {
    let mut attributes = Vec::new();
    for bytes in repeated(message, number) {
        if let (key, Some(value)) = pair(bytes?)? {
            attributes.push((key, value));
        }
    }
    // A stable sort of the reversed list puts the last of equal keys first, where dedup keeps it.
    attributes.reverse();
    attributes.sort_by_key(|&(key, _)| key);
    attributes.dedup_by_key(|&mut (key, _)| key);
    Ok(attributes)
}

fn map(attributes: &[(&[u8], &[u8])], out: &mut Vec<u8>, depth: usize) -> Done {
    let mut object = Object::begin(out);
    for (key, value) in attributes {
        any_value(value, object.any_key(key), depth)?;
    }
    object.end();
    Ok(())
}

fn any_value(message: &[u8], out: &mut Vec<u8>, depth: usize) -> Done {
    check_depth(depth)?;
    match member(message)? {
        Some((1, Value::Bytes(bytes))) => write_string(out, bytes),
        Some((2, Value::Varint(value))) => write_bool(out, value != 0),
        Some((3, Value::Varint(value))) => write_i64(out, value as i64),
        Some((4, Value::Fixed64(bits))) => write_f64(out, f64::from_bits(bits)),
        Some((5, Value::Bytes(bytes))) => {
            list(out, repeated(bytes, 1), |item, out| any_value(item, out, depth + 1))?;
        }
        Some((6, Value::Bytes(bytes))) => map(&sorted(bytes, 1)?, out, depth + 1)?,
        Some((7, Value::Bytes(bytes))) => write_hex(out, bytes),
        _ => out.extend_from_slice(b"null"),
    }
    Ok(())
}
