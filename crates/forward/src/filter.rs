//! A request without what shall not be forwarded: spans that were not kept, and spans and events that a filter drops.
//!
//! What must stay true: bytes that are not looked at stay as they are; a span that cannot be read is not judged, and is
//! forwarded as it would be without a filter. Scopes and resources of which no span is left go, too.

use bytes::Bytes;
use prost::Message;
use trackway_proto::common::InstrumentationScope;
use trackway_proto::resource::Resource;
use trackway_proto::trace::Span;
use trackway_spans::wire::{Field, Reader, WireError, put_bytes, put_fixed64, put_number};

use crate::ottl::{About, Condition, OttlError, Subject};

/// What a forwarder drops.
#[derive(Debug, Default)]
pub struct Filter {
    span: Vec<Condition>,
    event: Vec<Condition>,
}

/// A condition that is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{list}[{place}]: {error}")]
pub struct FilterError {
    /// `span` or `spanevent`.
    pub list: &'static str,
    /// Its place in the list.
    pub place: usize,
    /// What is wrong.
    pub error: OttlError,
}

impl Filter {
    /// Reads conditions: a span is dropped that meets one of the first, an event that meets one of the second.
    ///
    /// # Errors
    /// [`FilterError`] for the first that is not taken.
    pub fn parse(span: &[String], event: &[String]) -> Result<Self, FilterError> {
        let list = |list: &'static str, texts: &[String], about: About| {
            let read = texts.iter().enumerate().map(|(place, text)| {
                Condition::parse(text, about).map_err(|error| FilterError { list, place, error })
            });
            read.collect::<Result<Vec<_>, _>>()
        };
        Ok(Self {
            span: list("span", span, About::Span)?,
            event: list("spanevent", event, About::SpanEvent)?,
        })
    }

    /// Whether it drops nothing.
    pub fn is_empty(&self) -> bool {
        self.span.is_empty() && self.event.is_empty()
    }
}

/// What is left of a request without the spans whose ordinals are in `refused` (ascending) and without what the filter
/// drops; `None` when no span is left. A request that cannot be walked is left as it is.
pub fn reduce(request: &Bytes, filter: &Filter, refused: &[u32]) -> Option<Bytes> {
    if filter.is_empty() && refused.is_empty() {
        return Some(request.clone());
    }
    let mut walk = Walk { request, filter, refused, ordinal: 0 };
    match walk.request() {
        Ok(left) if left.is_empty() => None,
        Ok(left) => Some(left.into()),
        // It was walked when it was taken in.
        Err(_) => Some(request.clone()),
    }
}

struct Walk<'a> {
    request: &'a Bytes,
    filter: &'a Filter,
    refused: &'a [u32],
    ordinal: u32,
}

/// Writes a field as it was; fields that OTLP does not have may be lost.
fn copy(out: &mut Vec<u8>, number: u32, field: Field<'_>) {
    match field {
        Field::Varint(value) => put_number(out, number, value),
        Field::Fixed64(value) => put_fixed64(out, number, value),
        Field::Bytes(bytes) => put_bytes(out, number, bytes),
        Field::Fixed32(_) => {}
    }
}

impl Walk<'_> {
    fn request(&mut self) -> Result<Vec<u8>, WireError> {
        let mut out = Vec::with_capacity(self.request.len());
        let mut fields = Reader::new(self.request);
        while let Some((number, field)) = fields.next_field()? {
            if number != 1 {
                continue;
            }
            let left = self.resource_spans(field.bytes(1)?)?;
            if !left.is_empty() {
                put_bytes(&mut out, 1, &left);
            }
        }
        Ok(out)
    }

    fn resource_spans(&mut self, bytes: &[u8]) -> Result<Vec<u8>, WireError> {
        let resource = last(bytes, 1)?.and_then(|bytes| Resource::decode(self.slice(bytes)).ok());
        let resource = resource.unwrap_or_default();
        let (mut out, mut any) = (Vec::with_capacity(bytes.len()), false);
        let mut fields = Reader::new(bytes);
        while let Some((number, field)) = fields.next_field()? {
            if number != 2 {
                copy(&mut out, number, field);
                continue;
            }
            let left = self.scope_spans(field.bytes(2)?, &resource)?;
            if !left.is_empty() {
                any = true;
                put_bytes(&mut out, 2, &left);
            }
        }
        Ok(if any { out } else { Vec::new() })
    }

    fn scope_spans(&mut self, bytes: &[u8], resource: &Resource) -> Result<Vec<u8>, WireError> {
        let scope = last(bytes, 1)?.and_then(|bytes| InstrumentationScope::decode(self.slice(bytes)).ok());
        let scope = scope.unwrap_or_default();
        let (mut out, mut any) = (Vec::with_capacity(bytes.len()), false);
        let mut fields = Reader::new(bytes);
        while let Some((number, field)) = fields.next_field()? {
            if number != 2 {
                copy(&mut out, number, field);
                continue;
            }
            let bytes = field.bytes(2)?;
            let ordinal = self.ordinal;
            self.ordinal += 1;
            if self.refused.binary_search(&ordinal).is_err() {
                any |= self.span(bytes, resource, &scope, &mut out);
            }
        }
        Ok(if any { out } else { Vec::new() })
    }

    /// Writes a span unless it is dropped; whether it was written.
    fn span(
        &self,
        bytes: &[u8],
        resource: &Resource,
        scope: &InstrumentationScope,
        out: &mut Vec<u8>,
    ) -> bool {
        let read = if self.filter.is_empty() { None } else { Span::decode(self.slice(bytes)).ok() };
        let Some(mut span) = read else {
            put_bytes(out, 2, bytes);
            return true;
        };
        let subject = Subject { resource, scope, span: &span, event: None };
        if self.filter.span.iter().any(|condition| condition.is_met(&subject)) {
            return false;
        }
        if self.filter.event.is_empty() || span.events.is_empty() {
            put_bytes(out, 2, bytes);
            return true;
        }
        let stays = |(place, event)| {
            let subject = Subject { event: Some((place, event)), ..subject };
            !self.filter.event.iter().any(|condition| condition.is_met(&subject))
        };
        let stays: Vec<bool> = span.events.iter().enumerate().map(stays).collect();
        if stays.contains(&false) {
            let mut stays = stays.into_iter();
            span.events.retain(|_| stays.next().unwrap_or(true));
            put_bytes(out, 2, &span.encode_to_vec());
        } else {
            put_bytes(out, 2, bytes);
        }
        true
    }

    /// The same bytes, shared; they are part of the request.
    fn slice(&self, bytes: &[u8]) -> Bytes {
        self.request.slice_ref(bytes)
    }
}

/// The last message in a field of this number, which is the one that counts.
fn last(message: &[u8], wanted: u32) -> Result<Option<&[u8]>, WireError> {
    let (mut fields, mut found) = (Reader::new(message), None);
    while let Some((number, field)) = fields.next_field()? {
        if number == wanted {
            found = Some(field.bytes(number)?);
        }
    }
    Ok(found)
}
