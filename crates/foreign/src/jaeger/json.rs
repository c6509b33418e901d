//! One span of Jaeger's `api_v2` in the JSON form of protobuf, as Jaeger writes it to Kafka: ids and bytes in base64, times
//! and durations as text, both spellings of keys (`traceId`, `trace_id`).

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use trackway_otlpjson::Fail;
use trackway_otlpjson::scan::Reader;

use crate::attributes::{Attributes, Value};
use crate::otlp::{Event, Request, Span};
use crate::room::{ATTRIBUTE, EVENT, LINK, Room};
use crate::{Error, MAX_JSON_DEPTH, Options, Translated};

use super::{RefType, Reference, add, resource};

/// A span.
///
/// # Errors
/// When the text is no such span.
pub fn span_json(body: &[u8], options: &Options) -> Result<Translated, Error> {
    let text = str::from_utf8(body).map_or_else(|_| String::from_utf8_lossy(body), Cow::Borrowed);
    let mut reader = Reader::new(&text, MAX_JSON_DEPTH);
    let (mut span, mut references) = (Span::default(), Vec::new());
    let mut request = Request::new(options);
    let read = read_span(&mut reader, &mut span, &mut references, request.room());
    let process = read.and_then(|process| reader.finish().map(|()| process));
    let process = process.map_err(|fail| Error::Json(fail.into_error(&text).to_string()));
    let process = request.checked(process)?;
    add(&mut span, &references, &process, &mut request)?;
    request.finish()
}

/// Keys in the order of the message's fields.
fn names(key: &[u8]) -> u32 {
    match key {
        b"traceId" | b"trace_id" => 1,
        b"spanId" | b"span_id" => 2,
        b"operationName" | b"operation_name" => 3,
        b"references" => 4,
        b"startTime" | b"start_time" => 6,
        b"duration" => 7,
        b"tags" => 8,
        b"logs" => 9,
        b"process" => 10,
        _ => 0, // flags, process ids and warnings have no place in OTLP
    }
}

/// Reads a span; the body of the resource of its process.
fn read_span<'a>(
    reader: &mut Reader<'a>,
    span: &mut Span<'a>,
    references: &mut Vec<Reference>,
    room: &Room,
) -> Result<Vec<u8>, Fail> {
    let (mut start, mut duration, mut process) = (0_i64, 0_i64, Vec::new());
    reader.object(names, |reader, field| {
        match field {
            1 => span.trace_id = id(reader)?,
            2 => span.span_id = span_id(reader)?,
            3 => span.name = reader.text("a name")?,
            4 => reader.array(|reader, _| {
                room.take(LINK)?;
                references.push(reference(reader)?);
                Ok(())
            })?,
            6 => start = time(reader)?,
            7 => duration = length(reader)?,
            8 => tags(reader, &mut span.attributes, room)?,
            9 => reader.array(|reader, _| {
                room.take(EVENT)?;
                span.events.push(log(reader, room)?);
                Ok(())
            })?,
            _ => process = read_process(reader, room)?,
        }
        Ok(())
    })?;
    span.start = u64::try_from(start).unwrap_or(0);
    span.end = u64::try_from(start.saturating_add(duration)).unwrap_or(0);
    Ok(process)
}

/// An id: up to 16 bytes in base64.
fn id(reader: &mut Reader<'_>) -> Result<u128, Fail> {
    let at = reader.at();
    let bytes = bytes(reader)?;
    if bytes.len() > 16 {
        return Err(Fail::value(at, format!("an id of {} bytes; at most 16 are one", bytes.len())));
    }
    Ok(bytes.iter().fold(0, |id, byte| id << 8 | u128::from(*byte)))
}

fn span_id(reader: &mut Reader<'_>) -> Result<u64, Fail> {
    let at = reader.at();
    u64::try_from(id(reader)?).map_err(|_| Fail::value(at, "a span id has 8 bytes"))
}

fn bytes(reader: &mut Reader<'_>) -> Result<Vec<u8>, Fail> {
    let at = reader.at();
    let text = reader.text("base64")?;
    STANDARD.decode(text.as_bytes()).map_err(|error| Fail::value(at, format!("no base64: {error}")))
}

fn reference(reader: &mut Reader<'_>) -> Result<Reference, Fail> {
    let mut reference = Reference { trace_id: 0, span_id: 0, kind: RefType::ChildOf };
    let names = |key: &[u8]| match key {
        b"traceId" | b"trace_id" => 1,
        b"spanId" | b"span_id" => 2,
        b"refType" | b"ref_type" => 3,
        _ => 0,
    };
    reader.object(names, |reader, field| {
        match field {
            1 => reference.trace_id = id(reader)?,
            2 => reference.span_id = span_id(reader)?,
            _ => {
                let at = reader.at();
                reference.kind = match reader.number_text("a kind")?.as_ref() {
                    "CHILD_OF" | "0" => RefType::ChildOf,
                    "FOLLOWS_FROM" | "1" => RefType::FollowsFrom,
                    other => return Err(Fail::value(at, format!("{other:?} is no kind of reference"))),
                };
            }
        }
        Ok(())
    })?;
    Ok(reference)
}

fn read_process(reader: &mut Reader<'_>, room: &Room) -> Result<Vec<u8>, Fail> {
    let (mut service, mut attributes) = (Cow::Borrowed(""), Attributes::default());
    let names = |key: &[u8]| match key {
        b"serviceName" | b"service_name" => 1,
        b"tags" => 2,
        _ => 0,
    };
    reader.object(names, |reader, field| {
        match field {
            1 => service = reader.text("a name")?,
            _ => tags(reader, &mut attributes, room)?,
        }
        Ok(())
    })?;
    Ok(resource(&service, attributes))
}

fn log<'a>(reader: &mut Reader<'a>, room: &Room) -> Result<Event<'a>, Fail> {
    let mut event = Event::default();
    let names = |key: &[u8]| match key {
        b"timestamp" => 1,
        b"fields" => 2,
        _ => 0,
    };
    reader.object(names, |reader, field| {
        match field {
            1 => event.time = u64::try_from(time(reader)?).unwrap_or(0),
            _ => tags(reader, &mut event.attributes, room)?,
        }
        Ok(())
    })?;
    Ok(event)
}

fn tags<'a>(reader: &mut Reader<'a>, into: &mut Attributes<'a>, room: &Room) -> Result<(), Fail> {
    reader.array(|reader, _| {
        room.take(ATTRIBUTE)?;
        tag(reader, into)
    })
}

fn tag<'a>(reader: &mut Reader<'a>, into: &mut Attributes<'a>) -> Result<(), Fail> {
    let (mut key, mut kind, at) = (Cow::Borrowed(""), Cow::Borrowed("STRING"), reader.at());
    let (mut string, mut boolean, mut integer, mut double, mut binary) =
        (Cow::Borrowed(""), false, 0, 0.0, Vec::new());
    let names = |key: &[u8]| match key {
        b"key" => 1,
        b"vType" | b"v_type" => 2,
        b"vStr" | b"v_str" => 3,
        b"vBool" | b"v_bool" => 4,
        b"vInt64" | b"v_int64" => 5,
        b"vFloat64" | b"v_float64" => 6,
        b"vBinary" | b"v_binary" => 7,
        _ => 0,
    };
    reader.object(names, |reader, field| {
        match field {
            1 => key = reader.text("a key")?,
            2 => kind = reader.number_text("a type")?,
            3 => string = reader.text("a text")?,
            4 => boolean = reader.boolean()?,
            5 => integer = number(reader, "a whole number")?,
            6 => double = number(reader, "a number")?,
            _ => binary = bytes(reader)?,
        }
        Ok(())
    })?;
    let value = match kind.as_ref() {
        "STRING" | "0" => Value::Text(string),
        "BOOL" | "1" => Value::Bool(boolean),
        "INT64" | "2" => Value::Int(integer),
        "FLOAT64" | "3" => Value::Double(double),
        "BINARY" | "4" => Value::Bytes(binary.into()),
        other => return Err(Fail::value(at, format!("{other:?} is no type of a tag"))),
    };
    into.put(key, value);
    Ok(())
}

fn number<T: std::str::FromStr>(reader: &mut Reader<'_>, what: &str) -> Result<T, Fail> {
    let at = reader.at();
    let text = reader.number_text(what)?;
    text.parse().map_err(|_| Fail::value(at, format!("{text:?} is not {what}")))
}

/// A time in RFC 3339, in nanoseconds of Unix time.
fn time(reader: &mut Reader<'_>) -> Result<i64, Fail> {
    let at = reader.at();
    let text = reader.text("a time")?;
    let time: Timestamp =
        text.parse().map_err(|error| Fail::value(at, format!("{text:?} is no time: {error}")))?;
    Ok(i64::try_from(time.as_nanosecond()).unwrap_or(0))
}

/// A number of seconds with an `s` behind, in nanoseconds.
fn length(reader: &mut Reader<'_>) -> Result<i64, Fail> {
    let at = reader.at();
    let text = reader.text("a duration")?;
    let parsed = text.strip_suffix('s').and_then(|seconds| {
        let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let nanos: i64 = match fraction {
            "" => 0,
            fraction if fraction.len() <= 9 && digits(fraction) => format!("{fraction:0<9}").parse().ok()?,
            _ => return None,
        };
        let nanos = if whole.starts_with('-') { -nanos } else { nanos };
        whole.parse::<i64>().ok()?.checked_mul(1_000_000_000)?.checked_add(nanos)
    });
    parsed.ok_or_else(|| Fail::value(at, format!("{text:?} is no duration, such as \"0.25s\"")))
}
