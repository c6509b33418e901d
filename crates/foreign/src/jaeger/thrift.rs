//! Jaeger's Thrift: `jaeger.thrift` in both protocols, and the agent's calls that carry it over UDP.

use crate::attributes::{Attributes, Value};
use crate::otlp::{Event, Request, ResourceAt, Span};
use crate::room::{ATTRIBUTE, EVENT, LINK, Room};
use crate::thrift::{Protocol, Reader, ThriftError, Type};
use crate::{Error, Options, Translated, zipkin};

use super::{RefType, Reference, complete, is_blank, resource};

type Result<T> = std::result::Result<T, ThriftError>;

/// Microseconds in Unix time as nanoseconds.
const MICRO: u64 = 1000;

/// A `Batch` as clients post it to a collector.
///
/// # Errors
/// When the bytes are no batch, or none of its spans can be used.
pub fn http_body(
    body: &[u8],
    protocol: Protocol,
    options: &Options,
) -> std::result::Result<Translated, Error> {
    let mut request = Request::new(options);
    let read = batch(&mut Reader::new(body, protocol), &mut request);
    request.checked(read)?;
    request.finish()
}

/// A call to an agent, as clients send it in one datagram: `emitBatch`, or `emitZipkinBatch` of old ones.
///
/// # Errors
/// When the bytes are no such call, or none of its spans can be used.
pub fn call(packet: &[u8], protocol: Protocol, options: &Options) -> std::result::Result<Translated, Error> {
    let mut reader = Reader::new(packet, protocol);
    let name = reader.call()?;
    let mut request = Request::new(options);
    let mut failed = None;
    let read = match name {
        b"emitBatch" => reader.fields(|reader, number, kind| match (number, kind) {
            (1, Type::Struct) => batch(reader, &mut request).or_else(|stopped| stopped.keep(&mut failed)),
            _ => reader.skip(kind),
        }),
        b"emitZipkinBatch" => reader.fields(|reader, number, kind| match (number, kind) {
            (1, Type::List) => zipkin::v1_thrift_list(reader, &mut request, options)
                .or_else(|stopped| stopped.keep(&mut failed)),
            _ => reader.skip(kind),
        }),
        other => {
            let shown = &other[..other.len().min(64)];
            return Err(Error::UnknownCall(String::from_utf8_lossy(shown).into_owned()));
        }
    };
    request.checked(read.map_err(|error| failed.unwrap_or(Error::Thrift(error))))?;
    request.finish()
}

/// Why a batch was not read to its end: its own bytes, or because it became too large.
#[derive(Debug)]
pub(crate) enum Stopped {
    Thrift(ThriftError),
    Other(Error),
}

impl Stopped {
    /// Passes the error through a reader that knows errors of its own only.
    pub(crate) fn keep(self, failed: &mut Option<Error>) -> Result<()> {
        match self {
            Self::Thrift(error) => Err(error),
            Self::Other(error) => {
                *failed = Some(error);
                Err(ThriftError::WrongType)
            }
        }
    }
}

impl From<ThriftError> for Stopped {
    fn from(error: ThriftError) -> Self {
        Self::Thrift(error)
    }
}

impl From<Stopped> for Error {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Thrift(error) => Self::Thrift(error),
            Stopped::Other(error) => error,
        }
    }
}

/// Reads a `Batch`. The process stands before the spans in what every client writes; where it does not, the spans are
/// read again when it is known.
fn batch<'a>(reader: &mut Reader<'a>, request: &mut Request) -> std::result::Result<(), Stopped> {
    let mut process = None;
    let mut waiting: Option<Reader<'a>> = None;
    let mut failed = None;
    let read = reader.fields(|reader, number, kind| match (number, kind) {
        (1, Type::Struct) => {
            process = Some(read_process(reader, request.room())?);
            Ok(())
        }
        (2, Type::List) => match &process {
            Some(process) => {
                let at = request.resource(process);
                spans(reader, request, at).or_else(|stopped| stopped.keep(&mut failed))
            }
            None => {
                waiting = Some(reader.here());
                reader.skip(kind)
            }
        },
        _ => reader.skip(kind),
    });
    read.map_err(|error| failed.map_or(Stopped::Thrift(error), Stopped::Other))?;
    if let Some(mut reader) = waiting {
        let at = request.resource(&process.unwrap_or_default());
        spans(&mut reader, request, at)?;
    }
    Ok(())
}

/// The body of the resource.
fn read_process(reader: &mut Reader<'_>, room: &Room) -> Result<Vec<u8>> {
    let mut service = std::borrow::Cow::Borrowed("");
    let mut attributes = Attributes::default();
    reader.fields(|reader, number, kind| {
        match (number, kind) {
            (1, Type::Binary) => service = reader.text()?,
            (2, Type::List) => tags(reader, &mut attributes, room)?,
            _ => reader.skip(kind)?,
        }
        Ok(())
    })?;
    Ok(resource(&service, attributes))
}

fn spans(reader: &mut Reader<'_>, request: &mut Request, at: ResourceAt) -> std::result::Result<(), Stopped> {
    let (mut span, mut references) = (Span::default(), Vec::new());
    let mut failed = None;
    let read = reader.list(|reader, kind| {
        if kind != Type::Struct {
            return Err(ThriftError::WrongType);
        }
        span.clear();
        references.clear();
        read_span(reader, &mut span, &mut references, request.room())?;
        if is_blank(&span, &references) {
            return Ok(());
        }
        complete(&mut span, &references);
        request.span(at, &[], &span).or_else(|error| Stopped::Other(error).keep(&mut failed))
    });
    read.map_err(|error| failed.map_or(Stopped::Thrift(error), Stopped::Other))
}

fn read_span<'a>(
    reader: &mut Reader<'a>,
    span: &mut Span<'a>,
    references: &mut Vec<Reference>,
    room: &Room,
) -> Result<()> {
    let (mut high, mut low, mut start, mut duration) = (0, 0, 0_i64, 0_i64);
    reader.fields(|reader, number, kind| {
        match (number, kind) {
            (1, Type::I64) => low = reader.integer(kind)?,
            (2, Type::I64) => high = reader.integer(kind)?,
            (3, Type::I64) => span.span_id = reader.integer(kind)?.cast_unsigned(),
            (4, Type::I64) => span.parent_id = reader.integer(kind)?.cast_unsigned(),
            (5, Type::Binary) => span.name = reader.text()?,
            (6, Type::List) => reader.list(|reader, _| {
                room.take(LINK)?;
                references.push(read_reference(reader)?);
                Ok(())
            })?,
            (8, Type::I64) => start = reader.integer(kind)?,
            (9, Type::I64) => duration = reader.integer(kind)?,
            (10, Type::List) => tags(reader, &mut span.attributes, room)?,
            (11, Type::List) => reader.list(|reader, _| {
                room.take(EVENT)?;
                span.events.push(read_log(reader, room)?);
                Ok(())
            })?,
            _ => reader.skip(kind)?,
        }
        Ok(())
    })?;
    span.trace_id = trace_id(high, low);
    span.start = nanos(start);
    span.end = nanos(start.saturating_add(duration));
    Ok(())
}

fn trace_id(high: i64, low: i64) -> u128 {
    u128::from(high.cast_unsigned()) << 64 | u128::from(low.cast_unsigned())
}

/// Times before 1970 are none.
fn nanos(micros: i64) -> u64 {
    u64::try_from(micros).unwrap_or(0).saturating_mul(MICRO)
}

fn read_reference(reader: &mut Reader<'_>) -> Result<Reference> {
    let (mut high, mut low, mut span_id, mut kind) = (0, 0, 0, RefType::ChildOf);
    reader.fields(|reader, number, field| {
        match (number, field) {
            (1, Type::I32) if reader.integer(field)? != 0 => kind = RefType::FollowsFrom,
            (1, Type::I32) => {}
            (2, Type::I64) => low = reader.integer(field)?,
            (3, Type::I64) => high = reader.integer(field)?,
            (4, Type::I64) => span_id = reader.integer(field)?.cast_unsigned(),
            _ => reader.skip(field)?,
        }
        Ok(())
    })?;
    Ok(Reference { trace_id: trace_id(high, low), span_id, kind })
}

fn read_log<'a>(reader: &mut Reader<'a>, room: &Room) -> Result<Event<'a>> {
    let mut event = Event::default();
    reader.fields(|reader, number, kind| {
        match (number, kind) {
            (1, Type::I64) => event.time = nanos(reader.integer(kind)?),
            (2, Type::List) => tags(reader, &mut event.attributes, room)?,
            _ => reader.skip(kind)?,
        }
        Ok(())
    })?;
    Ok(event)
}

fn tags<'a>(reader: &mut Reader<'a>, into: &mut Attributes<'a>, room: &Room) -> Result<()> {
    reader.list(|reader, _| {
        room.take(ATTRIBUTE)?;
        let mut key = std::borrow::Cow::Borrowed("");
        let mut kind_of_value = 0;
        let (mut text, mut double, mut boolean, mut long, mut bytes) =
            (std::borrow::Cow::Borrowed(""), 0.0, false, 0, &[][..]);
        reader.fields(|reader, number, kind| {
            match (number, kind) {
                (1, Type::Binary) => key = reader.text()?,
                (2, Type::I32) => kind_of_value = reader.integer(kind)?,
                (3, Type::Binary) => text = reader.text()?,
                (4, Type::Double) => double = reader.double()?,
                (5, Type::Bool | Type::True | Type::False) => boolean = reader.boolean(kind)?,
                (6, Type::I64) => long = reader.integer(kind)?,
                (7, Type::Binary) => bytes = reader.binary()?,
                _ => reader.skip(kind)?,
            }
            Ok(())
        })?;
        let value = match kind_of_value {
            0 => Value::Text(text),
            1 => Value::Double(double),
            2 => Value::Bool(boolean),
            3 => Value::Int(long),
            4 => Value::Bytes(bytes.into()),
            other => Value::Text(format!("<Unknown Jaeger TagType {other}>").into()),
        };
        into.put(key, value);
        Ok(())
    })
}
