//! Zipkin v1 in JSON: `POST /api/v1/spans`.

use trackway_otlpjson::Fail;
use trackway_otlpjson::scan::Reader;

use crate::attributes::Value;
use crate::otlp::Request;
use crate::room::Room;
use crate::{Error, Options, Translated};

use super::v1::{ANNOTATION, Annotation, TAG, Tag, V1Span, add};
use super::{OneSpan, json_endpoint, json_integer, json_spans, span_id, trace_id, value};

/// A list of spans.
///
/// # Errors
/// When the body is no list in JSON, or none of its spans can be used.
pub fn v1_json(body: &[u8], options: &Options) -> Result<Translated, Error> {
    json_spans(body, options, |reader, request| span(reader, request, options))
}

fn names(key: &[u8]) -> u32 {
    match key {
        b"traceId" => 1,
        b"id" => 2,
        b"parentId" => 3,
        b"name" => 4,
        b"timestamp" => 5,
        b"duration" => 6,
        b"annotations" => 7,
        b"binaryAnnotations" => 8,
        _ => 0,
    }
}

fn span(reader: &mut Reader<'_>, request: &mut Request, options: &Options) -> Result<(), OneSpan> {
    let (mut span, room) = (V1Span::default(), request.room());
    let (mut trace, mut id, mut parent) = ("".into(), "".into(), "".into());
    reader.object(names, |reader, field| {
        match field {
            1 => trace = reader.text("an id")?,
            2 => id = reader.text("an id")?,
            3 => parent = reader.text("an id")?,
            4 => span.name = reader.text("a name")?,
            5 => span.timestamp = json_integer(reader)?,
            6 => span.duration = json_integer(reader)?,
            7 => reader.array(|reader, _| annotation(reader, &mut span, room))?,
            _ => reader.array(|reader, _| tag(reader, &mut span, (room, options.parse_string_tags)))?,
        }
        Ok(())
    })?;
    let wrong = |field: &'static str| move |why: String| format!("zipkinV1 span {field}: {why}");
    span.trace_id = trace_id(&trace).map_err(wrong("traceId"))?;
    if span.trace_id == 0 {
        return Err(OneSpan::Refused("zipkinV1 span traceId: traceId is zero".to_owned()));
    }
    span.span_id = span_id(&id).map_err(wrong("id"))?;
    if span.span_id == 0 {
        return Err(OneSpan::Refused("zipkinV1 span id: ID is zero".to_owned()));
    }
    if !parent.is_empty() {
        span.parent_id = span_id(&parent).map_err(wrong("parentId"))?;
    }
    Ok(add(span, request, options)?)
}

fn annotation<'a>(reader: &mut Reader<'a>, span: &mut V1Span<'a>, room: &Room) -> Result<(), Fail> {
    if reader.null()? {
        return Ok(());
    }
    room.take(ANNOTATION)?;
    let mut annotation = Annotation::default();
    let names = |key: &[u8]| match key {
        b"timestamp" => 1,
        b"value" => 2,
        b"endpoint" => 3,
        _ => 0,
    };
    reader.object(names, |reader, field| {
        match field {
            1 => annotation.timestamp = json_integer(reader)?,
            2 => annotation.value = reader.text("a text")?,
            _ => annotation.host = Some(json_endpoint(reader)?),
        }
        Ok(())
    })?;
    span.annotations.push(annotation);
    Ok(())
}

fn tag<'a>(reader: &mut Reader<'a>, span: &mut V1Span<'a>, (room, parse): (&Room, bool)) -> Result<(), Fail> {
    if reader.null()? {
        return Ok(());
    }
    room.take(TAG)?;
    let mut tag = Tag { key: "".into(), value: Value::Text("".into()), host: None };
    let names = |key: &[u8]| match key {
        b"key" => 1,
        b"value" => 2,
        b"endpoint" => 3,
        _ => 0, // `type` tells nothing that the value does not
    };
    reader.object(names, |reader, field| {
        match field {
            1 => tag.key = reader.text("a key")?,
            2 if matches!(reader.peek()?, b't' | b'f') => tag.value = Value::Bool(reader.boolean()?),
            2 => tag.value = value(reader.number_text("a text")?, parse),
            _ => tag.host = Some(json_endpoint(reader)?),
        }
        Ok(())
    })?;
    span.tags.push(tag);
    Ok(())
}
