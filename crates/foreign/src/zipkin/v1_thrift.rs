//! Zipkin v1 in Thrift: `zipkincore.thrift`, a list of spans without a message around it.

use std::borrow::Cow;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::attributes::Value;
use crate::jaeger::Stopped;
use crate::otlp::Request;
use crate::room::Room;
use crate::thrift::{Protocol, Reader, ThriftError, Type};
use crate::{Error, Options, Translated};

use super::Endpoint;
use super::v1::{ANNOTATION, Annotation, TAG, Tag, V1Span, add};

type Result<T> = std::result::Result<T, ThriftError>;

/// A list of spans in the binary protocol.
///
/// # Errors
/// When the body is no such list, or none of its spans can be used.
pub fn v1_thrift(body: &[u8], options: &Options) -> std::result::Result<Translated, Error> {
    let mut request = Request::new(options);
    let read = v1_thrift_list(&mut Reader::new(body, Protocol::Binary), &mut request, options);
    request.checked(read)?;
    request.finish()
}

/// Reads a list of spans.
pub(crate) fn v1_thrift_list(
    reader: &mut Reader<'_>,
    request: &mut Request,
    options: &Options,
) -> std::result::Result<(), Stopped> {
    let mut failed = None;
    let read = reader.list(|reader, kind| {
        if kind != Type::Struct {
            return Err(ThriftError::WrongType);
        }
        let span = read_span(reader, request.room())?;
        if span.span_id == 0 || span.trace_id == 0 {
            let refused = request.refuse("a span has no trace id or no id");
            return refused.or_else(|error| Stopped::Other(error).keep(&mut failed));
        }
        add(span, request, options).or_else(|error| Stopped::Other(error).keep(&mut failed))
    });
    read.map_err(|error| failed.map_or(Stopped::Thrift(error), Stopped::Other))
}

fn read_span<'a>(reader: &mut Reader<'a>, room: &Room) -> Result<V1Span<'a>> {
    let mut span = V1Span::default();
    let (mut high, mut low) = (0_u64, 0_u64);
    reader.fields(|reader, number, kind| {
        match (number, kind) {
            (1, Type::I64) => low = reader.integer(kind)?.cast_unsigned(),
            (3, Type::Binary) => span.name = reader.text()?,
            (4, Type::I64) => span.span_id = reader.integer(kind)?.cast_unsigned(),
            (5, Type::I64) => span.parent_id = reader.integer(kind)?.cast_unsigned(),
            (6, Type::List) => reader.list(|reader, _| {
                room.take(ANNOTATION)?;
                span.annotations.push(read_annotation(reader)?);
                Ok(())
            })?,
            (8, Type::List) => reader.list(|reader, _| {
                room.take(TAG)?;
                span.tags.push(read_tag(reader)?);
                Ok(())
            })?,
            (10, Type::I64) => span.timestamp = reader.integer(kind)?,
            (11, Type::I64) => span.duration = reader.integer(kind)?,
            (12, Type::I64) => high = reader.integer(kind)?.cast_unsigned(),
            _ => reader.skip(kind)?,
        }
        Ok(())
    })?;
    span.trace_id = u128::from(high) << 64 | u128::from(low);
    Ok(span)
}

fn read_annotation<'a>(reader: &mut Reader<'a>) -> Result<Annotation<'a>> {
    let mut annotation = Annotation::default();
    reader.fields(|reader, number, kind| {
        match (number, kind) {
            (1, Type::I64) => annotation.timestamp = reader.integer(kind)?,
            (2, Type::Binary) => annotation.value = reader.text()?,
            (3, Type::Struct) => annotation.host = Some(read_endpoint(reader)?),
            _ => reader.skip(kind)?,
        }
        Ok(())
    })?;
    Ok(annotation)
}

fn read_endpoint<'a>(reader: &mut Reader<'a>) -> Result<Endpoint<'a>> {
    let mut endpoint = Endpoint::default();
    reader.fields(|reader, number, kind| {
        match (number, kind) {
            (1, Type::I32) => {
                let [.., a, b, c, d] = reader.integer(kind)?.to_be_bytes();
                if [a, b, c, d] != [0; 4] {
                    endpoint.set_address(&[a, b, c, d]);
                }
            }
            (2, Type::I16) => {
                // Thrift has no unsigned numbers: high ports come as negative ones.
                let [.., high, low] = reader.integer(kind)?.to_be_bytes();
                endpoint.port = u16::from_be_bytes([high, low]);
            }
            (3, Type::Binary) => endpoint.service = reader.text()?,
            (4, Type::Binary) => endpoint.set_address(reader.binary()?),
            _ => reader.skip(kind)?,
        }
        Ok(())
    })?;
    Ok(endpoint)
}

fn read_tag<'a>(reader: &mut Reader<'a>) -> Result<Tag<'a>> {
    let (mut key, mut bytes, mut kind_of_value, mut host) = (Cow::Borrowed(""), &[][..], 0, None);
    reader.fields(|reader, number, kind| {
        match (number, kind) {
            (1, Type::Binary) => key = reader.text()?,
            (2, Type::Binary) => bytes = reader.binary()?,
            (3, Type::I32) => kind_of_value = reader.integer(kind)?,
            (4, Type::Struct) => host = Some(read_endpoint(reader)?),
            _ => reader.skip(kind)?,
        }
        Ok(())
    })?;
    Ok(Tag { key, value: value(kind_of_value, bytes), host })
}

/// A value of one of Zipkin's types. What has fewer bytes than its type says so in a text, as in the Collector.
fn value(kind: i64, bytes: &[u8]) -> Value<'_> {
    const SHORT: Value<'static> = Value::Text(Cow::Borrowed("<not enough bytes representing the number>"));
    match kind {
        0 => Value::Bool(bytes == [1]),
        1 => Value::Text(BASE64_STANDARD.encode(bytes).into()),
        2 => bytes.first_chunk().map_or(SHORT, |bytes| Value::Int(i64::from(i16::from_be_bytes(*bytes)))),
        3 => bytes.first_chunk().map_or(SHORT, |bytes| Value::Int(i64::from(i32::from_be_bytes(*bytes)))),
        4 => bytes.first_chunk().map_or(SHORT, |bytes| Value::Int(i64::from_be_bytes(*bytes))),
        5 => bytes.first_chunk().map_or(SHORT, |bytes| Value::Double(f64::from_be_bytes(*bytes))),
        6 => Value::Text(String::from_utf8_lossy(bytes)),
        other => Value::Text(format!("<unknown zipkin v1 binary annotation type ({other})>").into()),
    }
}
