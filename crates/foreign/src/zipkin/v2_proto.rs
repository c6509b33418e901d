//! Zipkin v2 in protobuf: `zipkin.proto3.ListOfSpans`.

use trackway_spans::wire::{Reader, WireError};

use crate::attributes::Value;
use crate::otlp::{Request, kind};
use crate::room::{ATTRIBUTE, EVENT, Room};
use crate::{Error, Options, Translated};

use super::Endpoint;
use super::v2::{V2Span, add};

type Result<T> = std::result::Result<T, WireError>;

/// A list of spans.
///
/// # Errors
/// When the body is no such message, or none of its spans can be used.
pub fn v2_proto(body: &[u8], options: &Options) -> std::result::Result<Translated, Error> {
    let mut request = Request::new(options);
    let mut reader = Reader::new(body);
    while let Some((number, field)) = reader.next_field()? {
        if number != 1 {
            continue;
        }
        match span(field.bytes(1)?, request.room()) {
            Ok(span) => add(span, &mut request, options)?,
            Err(why) => request.refuse(why)?,
        }
    }
    request.finish()
}

fn span<'a>(message: &'a [u8], room: &Room) -> std::result::Result<V2Span<'a>, String> {
    let broken = |error: WireError| format!("the span is not the expected protobuf: {error}");
    let mut span = V2Span::default();
    let mut reader = Reader::new(message);
    while let Some((number, field)) = reader.next_field().map_err(broken)? {
        let bytes = || field.bytes(number).map_err(broken);
        let text = || bytes().map(String::from_utf8_lossy);
        match number {
            1 => span.trace_id = trace_id(bytes()?)?,
            2 => span.parent_id = span_id("ParentID", bytes()?)?,
            3 => span.span_id = span_id("SpanID", bytes()?)?,
            4 => span.kind = kind_of(field.varint(4).map_err(broken)?),
            5 => span.name = text()?,
            6 => span.timestamp = micros(field.fixed64(6).map_err(broken)?),
            7 => span.duration = micros(field.varint(7).map_err(broken)?),
            8 => span.local = endpoint(bytes()?).map_err(broken)?,
            9 => span.remote = endpoint(bytes()?).map_err(broken)?,
            10 => {
                room.take(EVENT)?;
                span.annotations.push(annotation(bytes()?).map_err(broken)?);
            }
            11 => {
                room.take(ATTRIBUTE)?;
                tag(bytes()?, &mut span).map_err(broken)?;
            }
            _ => {}
        }
    }
    if span.span_id == 0 {
        return Err("expected a non-nil SpanID".to_owned());
    }
    Ok(span)
}

fn micros(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn trace_id(bytes: &[u8]) -> std::result::Result<u128, String> {
    if let Ok(bytes) = <[u8; 16]>::try_from(bytes) {
        return Ok(u128::from_be_bytes(bytes));
    }
    let short = <[u8; 8]>::try_from(bytes);
    short
        .map(|bytes| u128::from(u64::from_be_bytes(bytes)))
        .map_err(|_| format!("invalid TraceID: has length {} yet wanted length 16", bytes.len()))
}

fn span_id(name: &str, bytes: &[u8]) -> std::result::Result<u64, String> {
    match <[u8; 8]>::try_from(bytes) {
        Ok(bytes) => Ok(u64::from_be_bytes(bytes)),
        Err(_) if bytes.is_empty() => Ok(0),
        Err(_) => Err(format!("invalid {name}: has length {} yet wanted length 8", bytes.len())),
    }
}

fn kind_of(number: u64) -> u8 {
    match number {
        1 => kind::CLIENT,
        2 => kind::SERVER,
        3 => kind::PRODUCER,
        4 => kind::CONSUMER,
        _ => kind::UNSPECIFIED,
    }
}

fn endpoint(message: &[u8]) -> Result<Endpoint<'_>> {
    let mut endpoint = Endpoint::default();
    let mut reader = Reader::new(message);
    while let Some((number, field)) = reader.next_field()? {
        match number {
            1 => endpoint.service = String::from_utf8_lossy(field.bytes(1)?),
            2 | 3 => endpoint.set_address(field.bytes(number)?),
            4 => endpoint.port = u16::try_from(field.varint(4)?).unwrap_or(0),
            _ => {}
        }
    }
    Ok(endpoint)
}

fn annotation(message: &[u8]) -> Result<(i64, std::borrow::Cow<'_, str>)> {
    let mut found = (0, "".into());
    let mut reader = Reader::new(message);
    while let Some((number, field)) = reader.next_field()? {
        match number {
            1 => found.0 = micros(field.fixed64(1)?),
            2 => found.1 = String::from_utf8_lossy(field.bytes(2)?),
            _ => {}
        }
    }
    Ok(found)
}

fn tag<'a>(message: &'a [u8], span: &mut V2Span<'a>) -> Result<()> {
    let (mut key, mut value) = (std::borrow::Cow::Borrowed(""), "".into());
    let mut reader = Reader::new(message);
    while let Some((number, field)) = reader.next_field()? {
        match number {
            1 => key = String::from_utf8_lossy(field.bytes(1)?),
            2 => value = String::from_utf8_lossy(field.bytes(2)?),
            _ => {}
        }
    }
    span.tags.put(key, Value::Text(value));
    Ok(())
}
