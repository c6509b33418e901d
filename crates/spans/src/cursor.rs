//! The OTLP cursor: walks the protobuf bytes of an `ExportTraceServiceRequest` and appends to the columns of a builder.
//! No object graph, one hash lookup a string at the most.
//!
//! What must stay true: a span that cannot be kept is refused alone, with its ordinal and a reason, and the rest of its
//! request is kept; the same bytes under the same limits always give the same rows, since replay of the log depends on
//! it. What vParquet cannot hold (flags, schema URLs, entity references) is dropped here, so that an answer does not
//! change when a block is written.

use trackway_common::TraceId;
use xxhash_rust::xxh3::xxh3_128;

use crate::anyvalue::{self, AnyValue};
use crate::batch::{Level, Value};
use crate::builder::{BatchBuilder, SpanFields};
use crate::strings::StrId;
use crate::wire::{Field, Reader, WireError};

/// What is cut or refused while reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest key or text value of an attribute, in bytes; longer ones are cut, in the middle of a character if need
    /// be, as Tempo does. 0 means no limit. Setting: `distributor.max_attribute_bytes`.
    pub max_attribute_bytes: usize,
}

impl Limits {
    /// As much of a key or value as may be kept.
    #[inline]
    pub(crate) fn cut(self, text: &[u8]) -> &[u8] {
        match self.max_attribute_bytes {
            0 => text,
            longest => text.get(..longest).unwrap_or(text),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_attribute_bytes: 2048 }
    }
}

/// Why a span was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// A trace id that is not 16 bytes, or all zero.
    #[error("trace ids must be 128 bit, received {0} bits")]
    TraceId(usize),
    /// A span id that is not 8 bytes, or all zero.
    #[error("span ids must be 64 bit and not all zero, received {0} bits")]
    SpanId(usize),
    /// A parent span id that is neither absent nor 8 bytes.
    #[error("parent span ids must be 64 bit, received {0} bits")]
    ParentSpanId(usize),
    /// A kind or status code that no version of OTLP knows.
    #[error("{0} {1} is not known")]
    Enum(&'static str, i32),
    /// Bytes that are no span.
    #[error("malformed span: {0}")]
    Malformed(#[from] WireError),
    /// Its resource or scope cannot be read.
    #[error("malformed resource or scope: {0}")]
    Owner(WireError),
    /// It would make one more live trace than its tenant may have.
    #[error(
        "LIVE_TRACES_EXCEEDED: {limit} traces are being received, as many as there may be (max_traces_per_user {limit}); \
         raise ingestion.max_traces_per_user or ingestion.max_global_traces_per_user"
    )]
    LiveTraces {
        /// How many there may be.
        limit: u64,
    },
    /// It would make its trace larger than its tenant's traces may be.
    #[error(
        "TRACE_TOO_LARGE: trace {trace} would have more than {limit} bytes (max_bytes_per_trace {limit}); raise \
         global.max_bytes_per_trace"
    )]
    TraceTooLarge {
        /// Which trace.
        trace: TraceId,
        /// How many bytes of spans it may have.
        limit: u64,
    },
}

impl Refusal {
    /// The value of the `reason` label of `tempo_discarded_spans_total`.
    pub fn label(self) -> &'static str {
        match self {
            Self::TraceId(_) => "invalid_trace_id",
            Self::SpanId(_) | Self::ParentSpanId(_) => "invalid_span_id",
            Self::LiveTraces { .. } => "live_traces_exceeded",
            Self::TraceTooLarge { .. } => "trace_too_large",
            _ => "malformed",
        }
    }

    /// Whether it was a tenant's limit, and not the span itself.
    pub fn is_limit(self) -> bool {
        matches!(self, Self::LiveTraces { .. } | Self::TraceTooLarge { .. })
    }
}

/// A refused span: its place in the request, counted over all spans from 0, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Place in the request.
    pub ordinal: u32,
    /// Why.
    pub reason: Refusal,
}

/// What became of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// Spans kept.
    pub spans: u32,
    /// Keys and values that were cut.
    pub truncated: u32,
    /// Spans refused, in order.
    pub refused: Vec<Refused>,
    /// Whether it was a copy of a request that is stored already: what is in it was received before.
    pub again: bool,
}

/// The request as a whole cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed request: {0}")]
pub struct AppendError(#[from] pub WireError);

/// Walks the framing of a request and counts its spans, without looking into them.
///
/// # Errors
/// [`AppendError`] when the lists of resources, scopes or spans cannot be walked to their end. After `Ok`,
/// [`append_request`] on the same bytes cannot fail.
pub fn peek_request(request: &[u8]) -> Result<u32, AppendError> {
    let mut spans = 0_u32;
    let mut requests = Reader::new(request);
    while let Some((number, field)) = requests.next_field()? {
        if number != 1 {
            continue;
        }
        let mut resource_spans = Reader::new(field.bytes(1)?);
        while let Some((number, field)) = resource_spans.next_field()? {
            if number != 2 {
                continue;
            }
            let mut scope_spans = Reader::new(field.bytes(2)?);
            while let Some((number, field)) = scope_spans.next_field()? {
                if number == 2 {
                    field.bytes(2)?;
                    spans = spans.saturating_add(1);
                }
            }
        }
    }
    Ok(spans)
}

/// Appends the spans of a request. Spans whose ordinal is in `skip` (ascending) are passed over silently: replay uses
/// it for spans that were refused by limits that are not in the bytes.
///
/// # Errors
/// As [`peek_request`], which must have been asked first: what stands before the damage is appended all the same.
pub fn append_request(
    builder: &mut BatchBuilder,
    request: &[u8],
    limits: Limits,
    skip: &[u32],
) -> Result<Appended, AppendError> {
    let mut cursor = Cursor { builder, limits, skip, ordinal: 0, done: Appended::default() };
    let mut requests = Reader::new(request);
    while let Some((number, field)) = requests.next_field()? {
        if number == 1 {
            cursor.resource_spans(field.bytes(1)?)?;
        }
    }
    Ok(cursor.done)
}

struct Cursor<'b> {
    builder: &'b mut BatchBuilder,
    limits: Limits,
    skip: &'b [u32],
    ordinal: u32,
    done: Appended,
}

/// A resource or scope that has been seen but not yet needed: it gets its row with its first good span.
#[derive(Clone, Copy)]
struct Owner<'a> {
    message: &'a [u8],
    row: Option<u32>,
}

impl Cursor<'_> {
    fn resource_spans(&mut self, message: &[u8]) -> Result<(), WireError> {
        let mut resource = Owner { message: b"", row: None };
        // The resource may stand behind its spans on the wire: look for it first.
        let mut reader = Reader::new(message);
        while let Some((number, field)) = reader.next_field()? {
            if let (1, Field::Bytes(bytes)) = (number, field) {
                resource.message = bytes;
            }
        }
        let mut reader = Reader::new(message);
        while let Some((number, field)) = reader.next_field()? {
            if number == 2 {
                self.scope_spans(field.bytes(2)?, &mut resource)?;
            }
        }
        Ok(())
    }

    fn scope_spans(&mut self, message: &[u8], resource: &mut Owner<'_>) -> Result<(), WireError> {
        let mut scope = Owner { message: b"", row: None };
        let mut reader = Reader::new(message);
        while let Some((number, field)) = reader.next_field()? {
            if let (1, Field::Bytes(bytes)) = (number, field) {
                scope.message = bytes;
            }
        }
        let mut reader = Reader::new(message);
        while let Some((number, field)) = reader.next_field()? {
            if number != 2 {
                continue;
            }
            let ordinal = self.ordinal;
            self.ordinal += 1;
            if self.skip.first() == Some(&ordinal) {
                self.skip = &self.skip[1..];
                continue;
            }
            let mark = self.builder.mark();
            let kept = self.span(field.bytes(2)?).and_then(|(trace, span)| {
                let scope = self.scope_row(&mut scope, resource).map_err(Refusal::Owner)?;
                let trace = self.builder.trace_row(trace);
                self.builder.add_span(trace, scope, span);
                Ok(())
            });
            match kept {
                Ok(()) => self.done.spans += 1,
                Err(reason) => {
                    self.builder.rewind(mark);
                    self.done.refused.push(Refused { ordinal, reason });
                }
            }
        }
        Ok(())
    }

    fn scope_row(&mut self, scope: &mut Owner<'_>, resource: &mut Owner<'_>) -> Result<u32, WireError> {
        if let Some(row) = scope.row {
            return Ok(row);
        }
        let resource_row = match resource.row {
            Some(row) => row,
            None => self.resource(resource.message)?,
        };
        resource.row = Some(resource_row);
        let row = self.scope(resource_row, scope.message)?;
        scope.row = Some(row);
        Ok(row)
    }

    fn resource(&mut self, message: &[u8]) -> Result<u32, WireError> {
        let fingerprint = xxh3_128(message);
        if let Some(row) = self.builder.known_resource(fingerprint) {
            return Ok(row);
        }
        check_attributes(message, 1)?;
        let row = self.builder.resources.service.len() as u32;
        let (mut service, mut dropped, mut position) = (0, 0, 0);
        let mut reader = Reader::new(message);
        while let Some((number, field)) = reader.next_field()? {
            match number {
                1 => {
                    let (key, value) = anyvalue::parse_key_value(field.bytes(1)?)?;
                    if key == b"service.name"
                        && let AnyValue::Scalar(Value::String(name)) = anyvalue::parse(value)?
                    {
                        service = self.cut_and_intern(name);
                    } else {
                        self.attribute(Level::Resource, row, position, key, value)?;
                        position += 1;
                    }
                }
                2 => dropped = field.uint32(2)?,
                _ => {}
            }
        }
        Ok(self.builder.add_resource(fingerprint, service, dropped))
    }

    fn scope(&mut self, resource: u32, message: &[u8]) -> Result<u32, WireError> {
        let fingerprint = xxh3_128(message);
        if let Some(row) = self.builder.known_scope(resource, fingerprint) {
            return Ok(row);
        }
        check_attributes(message, 3)?;
        let row = self.builder.scopes.resource.len() as u32;
        let (mut name, mut version, mut dropped, mut position) = (0, 0, 0, 0);
        let mut reader = Reader::new(message);
        while let Some((number, field)) = reader.next_field()? {
            match number {
                1 => name = self.builder.strings.intern(field.bytes(1)?),
                2 => version = self.builder.strings.intern(field.bytes(2)?),
                3 => {
                    let (key, value) = anyvalue::parse_key_value(field.bytes(3)?)?;
                    self.attribute(Level::Scope, row, position, key, value)?;
                    position += 1;
                }
                4 => dropped = field.uint32(4)?,
                _ => {}
            }
        }
        Ok(self.builder.add_scope(resource, fingerprint, (name, version), dropped))
    }

    /// Adds the attributes, events and links of a span, and returns the rest of it.
    fn span(&mut self, message: &[u8]) -> Result<(TraceId, SpanFields), Refusal> {
        let row = self.builder.len() as u32;
        let mut span = SpanFields::default();
        let (mut trace_id, mut span_id, mut parent_id): (&[u8], &[u8], &[u8]) = (b"", b"", b"");
        let (mut end, mut position, mut events) = (0, 0, 0);
        let mut reader = Reader::new(message);
        while let Some((number, field)) = reader.next_field()? {
            match number {
                1 => trace_id = field.bytes(1)?,
                2 => span_id = field.bytes(2)?,
                3 => span.trace_state = self.builder.strings.intern(field.bytes(3)?),
                4 => parent_id = field.bytes(4)?,
                5 => span.name = self.builder.strings.intern(field.bytes(5)?),
                6 => span.kind = small_enum("span kind", field.varint(6)?)?,
                7 => span.start = field.fixed64(7)?,
                8 => end = field.fixed64(8)?,
                9 => {
                    let (key, value) = anyvalue::parse_key_value(field.bytes(9)?)?;
                    self.attribute(Level::Span, row, position, key, value)?;
                    position += 1;
                }
                10 => span.dropped[0] = field.uint32(10)?,
                11 => events += usize::from(field.bytes(11).is_ok()),
                12 => span.dropped[1] = field.uint32(12)?,
                13 => self.link(row, field.bytes(13)?)?,
                14 => span.dropped[2] = field.uint32(14)?,
                15 => (span.status, span.status_message) = self.status(field.bytes(15)?)?,
                _ => {}
            }
        }
        if events > 0 {
            // An event is stored by its distance from the start, which may stand behind it on the wire.
            self.events(row, span.start, message)?;
        }
        span.duration = end.wrapping_sub(span.start);
        span.parent = parent_span_id(parent_id)?;
        span.id = required_span_id(span_id)?;
        Ok((required_trace_id(trace_id)?, span))
    }

    fn status(&mut self, message: &[u8]) -> Result<(u8, StrId), Refusal> {
        let (mut code, mut text) = (0, 0);
        let mut reader = Reader::new(message);
        while let Some((number, field)) = reader.next_field()? {
            match number {
                2 => text = self.builder.strings.intern(field.bytes(2)?),
                3 => code = small_enum("status code", field.varint(3)?)?,
                _ => {}
            }
        }
        Ok((code, text))
    }

    fn events(&mut self, span: u32, start: u64, message: &[u8]) -> Result<(), WireError> {
        let mut reader = Reader::new(message);
        while let Some((number, field)) = reader.next_field()? {
            if number == 11 {
                self.event(span, start, field.bytes(11)?)?;
            }
        }
        Ok(())
    }

    fn event(&mut self, span: u32, start: u64, message: &[u8]) -> Result<(), WireError> {
        let row = self.builder.events.span.len() as u32;
        let (mut time, mut name, mut dropped, mut position) = (0, 0, 0, 0);
        let mut reader = Reader::new(message);
        while let Some((number, field)) = reader.next_field()? {
            match number {
                1 => time = field.fixed64(1)?,
                2 => name = self.builder.strings.intern(field.bytes(2)?),
                3 => {
                    let (key, value) = anyvalue::parse_key_value(field.bytes(3)?)?;
                    self.attribute(Level::Event, row, position, key, value)?;
                    position += 1;
                }
                4 => dropped = field.uint32(4)?,
                _ => {}
            }
        }
        let events = &mut self.builder.events;
        events.span.push(span);
        events.since_start.push(time.wrapping_sub(start));
        events.name.push(name);
        events.dropped.push(dropped);
        Ok(())
    }

    fn link(&mut self, span: u32, message: &[u8]) -> Result<(), WireError> {
        let row = self.builder.links.span.len() as u32;
        let (mut trace_id, mut span_id, mut state, mut dropped, mut position) = (0, 0, 0, 0, 0);
        let mut reader = Reader::new(message);
        while let Some((number, field)) = reader.next_field()? {
            match number {
                1 => trace_id = self.builder.strings.intern(field.bytes(1)?),
                2 => span_id = self.builder.strings.intern(field.bytes(2)?),
                3 => state = self.builder.strings.intern(field.bytes(3)?),
                4 => {
                    let (key, value) = anyvalue::parse_key_value(field.bytes(4)?)?;
                    self.attribute(Level::Link, row, position, key, value)?;
                    position += 1;
                }
                5 => dropped = field.uint32(5)?,
                _ => {}
            }
        }
        let links = &mut self.builder.links;
        links.span.push(span);
        links.trace_id.push(trace_id);
        links.span_id.push(span_id);
        links.trace_state.push(state);
        links.dropped.push(dropped);
        Ok(())
    }

    #[inline]
    fn attribute(
        &mut self,
        level: Level,
        owner: u32,
        position: usize,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), WireError> {
        let key = self.cut(key);
        let key = self.builder.key_at(level, position, key);
        let value = match anyvalue::parse(value)? {
            AnyValue::Scalar(Value::String(text)) => Value::String(self.cut(text)),
            AnyValue::Scalar(scalar) => scalar,
            AnyValue::Empty => Value::Other(b""),
            _ => {
                anyvalue::validate(value, 0)?;
                Value::Other(value)
            }
        };
        self.builder.attribute(level, owner, position, key, value);
        Ok(())
    }

    fn cut<'s>(&mut self, text: &'s [u8]) -> &'s [u8] {
        let cut = self.limits.cut(text);
        self.done.truncated += u32::from(cut.len() < text.len());
        cut
    }

    fn cut_and_intern(&mut self, text: &[u8]) -> StrId {
        let text = self.cut(text);
        self.builder.strings.intern(text)
    }
}

/// Checks all attributes of a resource or scope before its first row is written, so that nothing has to be taken back.
pub(crate) fn check_attributes(message: &[u8], attributes: u32) -> Result<(), WireError> {
    let mut reader = Reader::new(message);
    while let Some((number, field)) = reader.next_field()? {
        if number == attributes {
            let (_, value) = anyvalue::parse_key_value(field.bytes(number)?)?;
            anyvalue::validate(value, 0)?;
        } else if number < attributes {
            field.bytes(number)?;
        } else if number == attributes + 1 {
            field.varint(number)?;
        }
    }
    Ok(())
}

pub(crate) fn small_enum(what: &'static str, value: u64) -> Result<u8, Refusal> {
    u8::try_from(value).map_err(|_| Refusal::Enum(what, value as i32))
}

pub(crate) fn required_trace_id(bytes: &[u8]) -> Result<TraceId, Refusal> {
    match TraceId::from_bytes(bytes) {
        Some(TraceId(0)) => Err(Refusal::TraceId(0)),
        Some(id) if bytes.len() == 16 => Ok(id),
        _ => Err(Refusal::TraceId(bytes.len() * 8)),
    }
}

pub(crate) fn required_span_id(bytes: &[u8]) -> Result<u64, Refusal> {
    match <[u8; 8]>::try_from(bytes).map(u64::from_be_bytes) {
        Ok(0) => Err(Refusal::SpanId(0)),
        Ok(id) => Ok(id),
        Err(_) => Err(Refusal::SpanId(bytes.len() * 8)),
    }
}

pub(crate) fn parent_span_id(bytes: &[u8]) -> Result<u64, Refusal> {
    if bytes.is_empty() {
        return Ok(0);
    }
    <[u8; 8]>::try_from(bytes).map(u64::from_be_bytes).map_err(|_| Refusal::ParentSpanId(bytes.len() * 8))
}
