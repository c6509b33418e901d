//! Jaeger's protobuf: `api_v2.PostSpansRequest`, read field by field.
//!
//! A span may carry a process of its own, which counts more than that of the batch.

use std::borrow::Cow;

use trackway_spans::wire::{Field, Reader, WireError};

use crate::attributes::{Attributes, Value};
use crate::otlp::{Event, Request, Span};
use crate::room::{ATTRIBUTE, EVENT, LINK, Room};
use crate::{Error, Options, Translated};

use super::{RefType, Reference, add, resource};

type Result<T> = std::result::Result<T, WireError>;

/// Nanoseconds of a second.
const SECOND: i64 = 1_000_000_000;

/// The message of `CollectorService/PostSpans`.
///
/// # Errors
/// When the bytes are no such message, or none of its spans can be used.
pub fn post_spans(message: &[u8], options: &Options) -> std::result::Result<Translated, Error> {
    let mut request = Request::new(options);
    let mut reader = Reader::new(message);
    while let Some((number, field)) = reader.next_field()? {
        if number == 1 {
            batch(field.bytes(1)?, &mut request)?;
        }
    }
    request.finish()
}

fn batch(message: &[u8], request: &mut Request) -> std::result::Result<(), Error> {
    // The process is written after the spans.
    let (mut reader, mut process) = (Reader::new(message), Vec::new());
    while let Some((number, field)) = reader.next_field()? {
        if number == 2 {
            process = request.checked(read_process(field.bytes(2)?, request.room()))?;
        }
    }
    let (mut span, mut references) = (Span::default(), Vec::new());
    let mut reader = Reader::new(message);
    while let Some((number, field)) = reader.next_field()? {
        if number != 1 {
            continue;
        }
        span.clear();
        references.clear();
        let own = match read_span(field.bytes(1)?, &mut span, &mut references, request.room()) {
            Ok(own) => own,
            Err(why) => {
                request.refuse(why)?;
                continue;
            }
        };
        add(&mut span, &references, own.as_ref().unwrap_or(&process), request)?;
    }
    Ok(())
}

/// One `api_v2.Span`, as Jaeger's collector writes it to Kafka.
///
/// # Errors
/// When the bytes are no such message.
pub fn span(message: &[u8], options: &Options) -> std::result::Result<Translated, Error> {
    let (mut span, mut references) = (Span::default(), Vec::new());
    let mut request = Request::new(options);
    let process = read_span(message, &mut span, &mut references, request.room());
    let process = request.checked(process.map_err(Error::NoUsableSpan))?;
    add(&mut span, &references, &process.unwrap_or_default(), &mut request)?;
    request.finish()
}

fn read_process(message: &[u8], room: &Room) -> Result<Vec<u8>> {
    let (mut service, mut tags) = (Cow::Borrowed(""), Attributes::default());
    let mut reader = Reader::new(message);
    while let Some((number, field)) = reader.next_field()? {
        match number {
            1 => service = text(field, 1)?,
            2 => tag(field.bytes(2)?, &mut tags, room)?,
            _ => {}
        }
    }
    Ok(resource(&service, tags))
}

/// Reads a span; the body of the resource of its own process, if it has one.
fn read_span<'a>(
    message: &'a [u8],
    span: &mut Span<'a>,
    references: &mut Vec<Reference>,
    room: &Room,
) -> std::result::Result<Option<Vec<u8>>, String> {
    let broken = |error: WireError| format!("the span is not the expected protobuf: {error}");
    let (mut start, mut duration, mut process) = (0_i64, 0_i64, None);
    let mut reader = Reader::new(message);
    while let Some((number, field)) = reader.next_field().map_err(broken)? {
        let bytes = || field.bytes(number).map_err(broken);
        match number {
            1 => span.trace_id = trace_id(bytes()?)?,
            2 => span.span_id = span_id(bytes()?)?,
            3 => span.name = text(field, 3).map_err(broken)?,
            4 => {
                room.take(LINK)?;
                references.push(read_reference(bytes()?)?);
            }
            6 => start = time(bytes()?).map_err(broken)?,
            7 => duration = time(bytes()?).map_err(broken)?,
            8 => tag(bytes()?, &mut span.attributes, room).map_err(broken)?,
            9 => {
                room.take(EVENT)?;
                span.events.push(read_log(bytes()?, room).map_err(broken)?);
            }
            10 => process = Some(read_process(bytes()?, room).map_err(broken)?),
            _ => {}
        }
    }
    span.start = u64::try_from(start).unwrap_or(0);
    span.end = u64::try_from(start.saturating_add(duration)).unwrap_or(0);
    Ok(process)
}

fn trace_id(bytes: &[u8]) -> std::result::Result<u128, String> {
    let length = bytes.len();
    if let Ok(bytes) = <[u8; 16]>::try_from(bytes) {
        return Ok(u128::from_be_bytes(bytes));
    }
    match <[u8; 8]>::try_from(bytes) {
        Ok(bytes) => Ok(u128::from(u64::from_be_bytes(bytes))),
        Err(_) if length == 0 => Ok(0),
        Err(_) => Err(format!("trace ids must be 128 bit, received {} bits", length * 8)),
    }
}

fn span_id(bytes: &[u8]) -> std::result::Result<u64, String> {
    match <[u8; 8]>::try_from(bytes) {
        Ok(bytes) => Ok(u64::from_be_bytes(bytes)),
        Err(_) if bytes.is_empty() => Ok(0),
        Err(_) => Err(format!("span ids must be 64 bit and not all zero, received {} bits", bytes.len() * 8)),
    }
}

fn read_reference(message: &[u8]) -> std::result::Result<Reference, String> {
    let broken = |error: WireError| format!("a reference is not the expected protobuf: {error}");
    let mut reference = Reference { trace_id: 0, span_id: 0, kind: RefType::ChildOf };
    let mut reader = Reader::new(message);
    while let Some((number, field)) = reader.next_field().map_err(broken)? {
        match number {
            1 => reference.trace_id = trace_id(field.bytes(1).map_err(broken)?)?,
            2 => reference.span_id = span_id(field.bytes(2).map_err(broken)?)?,
            3 if field.varint(3).map_err(broken)? != 0 => reference.kind = RefType::FollowsFrom,
            _ => {}
        }
    }
    Ok(reference)
}

fn read_log<'a>(message: &'a [u8], room: &Room) -> Result<Event<'a>> {
    let mut event = Event::default();
    let mut reader = Reader::new(message);
    while let Some((number, field)) = reader.next_field()? {
        match number {
            1 => event.time = u64::try_from(time(field.bytes(1)?)?).unwrap_or(0),
            2 => tag(field.bytes(2)?, &mut event.attributes, room)?,
            _ => {}
        }
    }
    Ok(event)
}

/// A `Timestamp` or `Duration` in nanoseconds.
fn time(message: &[u8]) -> Result<i64> {
    let (mut seconds, mut nanos) = (0, 0);
    let mut reader = Reader::new(message);
    while let Some((number, field)) = reader.next_field()? {
        match number {
            1 => seconds = field.varint(1)?.cast_signed(),
            2 => nanos = field.varint(2)?.cast_signed(),
            _ => {}
        }
    }
    Ok(seconds.saturating_mul(SECOND).saturating_add(nanos))
}

fn text(field: Field<'_>, number: u32) -> Result<Cow<'_, str>> {
    field.bytes(number).map(String::from_utf8_lossy)
}

fn tag<'a>(message: &'a [u8], into: &mut Attributes<'a>, room: &Room) -> Result<()> {
    room.take(ATTRIBUTE)?;
    let (mut key, mut kind) = (Cow::Borrowed(""), 0);
    let (mut string, mut boolean, mut integer, mut double, mut bytes) =
        (Cow::Borrowed(""), false, 0, 0.0, &[][..]);
    let mut reader = Reader::new(message);
    while let Some((number, field)) = reader.next_field()? {
        match number {
            1 => key = text(field, 1)?,
            2 => kind = field.varint(2)?,
            3 => string = text(field, 3)?,
            4 => boolean = field.varint(4)? != 0,
            5 => integer = field.varint(5)?.cast_signed(),
            6 => double = f64::from_bits(field.fixed64(6)?),
            7 => bytes = field.bytes(7)?,
            _ => {}
        }
    }
    let value = match kind {
        0 => Value::Text(string),
        1 => Value::Bool(boolean),
        2 => Value::Int(integer),
        3 => Value::Double(double),
        4 => Value::Bytes(bytes.into()),
        other => Value::Text(format!("<Unknown Jaeger TagType {other}>").into()),
    };
    into.put(key, value);
    Ok(())
}
