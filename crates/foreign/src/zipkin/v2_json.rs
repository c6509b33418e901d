//! Zipkin v2 in JSON: `POST /api/v2/spans`.

use trackway_otlpjson::Fail;
use trackway_otlpjson::scan::Reader;

use crate::attributes::Value;
use crate::otlp::{Request, kind};
use crate::room::{ATTRIBUTE, EVENT, Room};
use crate::{Error, Options, Translated};

use super::v2::{V2Span, add};
use super::{OneSpan, json_endpoint, json_integer, json_spans, span_id, trace_id};

/// A list of spans.
///
/// # Errors
/// When the body is no list in JSON, or none of its spans can be used.
pub fn v2_json(body: &[u8], options: &Options) -> Result<Translated, Error> {
    json_spans(body, options, |reader, request| span(reader, request, options))
}

fn names(key: &[u8]) -> u32 {
    match key {
        b"traceId" => 1,
        b"id" => 2,
        b"parentId" => 3,
        b"name" => 4,
        b"kind" => 5,
        b"timestamp" => 6,
        b"duration" => 7,
        b"localEndpoint" => 8,
        b"remoteEndpoint" => 9,
        b"annotations" => 10,
        b"tags" => 11,
        _ => 0, // `debug` and `shared` say nothing that OTLP has a place for
    }
}

fn span(reader: &mut Reader<'_>, request: &mut Request, options: &Options) -> Result<(), OneSpan> {
    let (mut span, room) = (V2Span::default(), request.room());
    let mut wrong_id = None;
    reader.object(names, |reader, field| {
        match field {
            1 => keep(trace_id(&reader.text("an id")?), &mut span.trace_id, &mut wrong_id),
            2 => keep(span_id_or_none(&reader.text("an id")?), &mut span.span_id, &mut wrong_id),
            3 => keep(span_id_or_none(&reader.text("an id")?), &mut span.parent_id, &mut wrong_id),
            4 => span.name = reader.text("a name")?,
            5 => span.kind = kind_of(&reader.text("a kind")?),
            6 => span.timestamp = json_integer(reader)?,
            7 => span.duration = json_integer(reader)?,
            8 => span.local = json_endpoint(reader)?,
            9 => span.remote = json_endpoint(reader)?,
            10 => reader.array(|reader, _| annotation(reader, &mut span, room))?,
            _ => tags(reader, &mut span, room)?,
        }
        Ok(())
    })?;
    if let Some(wrong) = wrong_id {
        return Err(OneSpan::Refused(wrong));
    }
    if span.span_id == 0 {
        return Err(OneSpan::Refused("valid span id required".to_owned()));
    }
    Ok(add(span, request, options)?)
}

fn keep<T>(read: Result<T, String>, into: &mut T, wrong: &mut Option<String>) {
    match read {
        Ok(value) => *into = value,
        Err(why) => {
            wrong.get_or_insert(why);
        }
    }
}

/// An empty id is none.
fn span_id_or_none(text: &str) -> Result<u64, String> {
    if text.is_empty() { Ok(0) } else { span_id(text) }
}

fn kind_of(name: &str) -> u8 {
    match name {
        "CLIENT" => kind::CLIENT,
        "SERVER" => kind::SERVER,
        "PRODUCER" => kind::PRODUCER,
        "CONSUMER" => kind::CONSUMER,
        _ => kind::UNSPECIFIED,
    }
}

fn annotation<'a>(reader: &mut Reader<'a>, span: &mut V2Span<'a>, room: &Room) -> Result<(), Fail> {
    if reader.null()? {
        return Ok(());
    }
    room.take(EVENT)?;
    let (mut timestamp, mut value) = (0, "".into());
    let names = |key: &[u8]| match key {
        b"timestamp" => 1,
        b"value" => 2,
        _ => 0,
    };
    reader.object(names, |reader, field| {
        if field == 1 {
            timestamp = json_integer(reader)?;
        } else {
            value = reader.text("a text")?;
        }
        Ok(())
    })?;
    span.annotations.push((timestamp, value));
    Ok(())
}

/// Tags are texts; what is none is kept as the number or boolean that it is.
fn tags<'a>(reader: &mut Reader<'a>, span: &mut V2Span<'a>, room: &Room) -> Result<(), Fail> {
    reader.entries(|reader, key| {
        room.take(ATTRIBUTE)?;
        let value = match reader.peek()? {
            b'"' => Value::Text(reader.text("a text")?),
            b't' | b'f' => Value::Bool(reader.boolean()?),
            b'-' | b'0'..=b'9' => Value::Text(reader.number_text("a text")?),
            b'n' => return reader.null().map(|_| ()),
            _ => return Err(reader.wrong("a text")),
        };
        span.tags.put(key, value);
        Ok(())
    })
}
