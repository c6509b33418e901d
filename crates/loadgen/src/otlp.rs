//! OTLP messages written by hand, straight into the bytes of a request, and the little that is read back of them.
//!
//! Field numbers are those of opentelemetry/proto/trace/v1; only what the generators use stands here.

use std::collections::HashMap;

use trackway_spans::wire::{Field, Reader, WireError, put_bytes, put_fixed64, put_message, put_number};

/// `ResourceSpans` in an export request (and in a trace that a query answers).
pub(crate) const RESOURCE_SPANS: u32 = 1;
/// `Resource` in `ResourceSpans`.
const RESOURCE: u32 = 1;
/// `ScopeSpans` in `ResourceSpans`.
const SCOPE_SPANS: u32 = 2;
/// `Span` in `ScopeSpans`.
pub(crate) const SPAN: u32 = 2;
const SPAN_ATTRIBUTE: u32 = 9;
const EVENT_ATTRIBUTE: u32 = 3;
const RESOURCE_ATTRIBUTE: u32 = 1;

/// What a span did, with OTLP's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Internal = 1,
    Server = 2,
    Client = 3,
    Producer = 4,
    Consumer = 5,
}

/// Writes attributes into an open message.
pub(crate) struct Attrs<'a> {
    out: &'a mut Vec<u8>,
    field: u32,
}

impl<'a> Attrs<'a> {
    /// Attributes of a span.
    pub(crate) fn of_span(out: &'a mut Vec<u8>) -> Self {
        Self { out, field: SPAN_ATTRIBUTE }
    }

    /// Attributes of a resource.
    pub(crate) fn of_resource(out: &'a mut Vec<u8>) -> Self {
        Self { out, field: RESOURCE_ATTRIBUTE }
    }

    fn put(&mut self, key: &str, value: impl FnOnce(&mut Vec<u8>)) {
        put_message(self.out, self.field, |pair| {
            put_bytes(pair, 1, key.as_bytes());
            put_message(pair, 2, value);
        });
    }

    /// A string.
    pub(crate) fn text(&mut self, key: &str, value: &str) -> &mut Self {
        self.put(key, |any| put_bytes(any, 1, value.as_bytes()));
        self
    }

    /// A boolean.
    pub(crate) fn flag(&mut self, key: &str, value: bool) -> &mut Self {
        self.put(key, |any| put_number(any, 2, u64::from(value)));
        self
    }

    /// An integer.
    pub(crate) fn int(&mut self, key: &str, value: u64) -> &mut Self {
        self.put(key, |any| put_number(any, 3, value));
        self
    }

    /// A floating point number.
    pub(crate) fn double(&mut self, key: &str, value: f64) -> &mut Self {
        self.put(key, |any| put_fixed64(any, 4, value.to_bits()));
        self
    }
}

/// What every span has.
pub(crate) struct Head<'a> {
    pub(crate) trace_id: &'a [u8; 16],
    pub(crate) id: u64,
    pub(crate) parent: Option<u64>,
    pub(crate) name: &'a str,
    pub(crate) kind: Kind,
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// Writes the fields that come before a span's attributes.
pub(crate) fn put_head(span: &mut Vec<u8>, head: &Head<'_>) {
    put_bytes(span, 1, head.trace_id);
    put_bytes(span, 2, &head.id.to_be_bytes());
    if let Some(parent) = head.parent {
        put_bytes(span, 4, &parent.to_be_bytes());
    }
    put_bytes(span, 5, head.name.as_bytes());
    put_number(span, 6, head.kind as u64);
    put_fixed64(span, 7, head.start);
    put_fixed64(span, 8, head.end);
}

/// Writes the event by which OpenTelemetry records an exception.
pub(crate) fn put_exception(span: &mut Vec<u8>, at: u64, kind: &str, message: &str, stack: &str) {
    put_message(span, 11, |event| {
        put_fixed64(event, 1, at);
        put_bytes(event, 2, b"exception");
        let mut attrs = Attrs { out: event, field: EVENT_ATTRIBUTE };
        attrs.text("exception.type", kind).text("exception.message", message);
        if !stack.is_empty() {
            attrs.text("exception.stacktrace", stack);
        }
    });
}

/// Writes a link to another span.
pub(crate) fn put_link(span: &mut Vec<u8>, trace_id: &[u8; 16], id: u64) {
    put_message(span, 13, |link| {
        put_bytes(link, 1, trace_id);
        put_bytes(link, 2, &id.to_be_bytes());
    });
}

/// Writes the status of a span that failed.
pub(crate) fn put_error(span: &mut Vec<u8>, message: &str) {
    put_message(span, 15, |status| {
        put_bytes(status, 2, message.as_bytes());
        put_number(status, 3, 2);
    });
}

/// Writes one `ResourceSpans`: the resource's encoded attributes, one scope, and encoded spans (field tags included).
pub(crate) fn put_resource_spans(out: &mut Vec<u8>, resource: &[u8], scope: (&str, &str), spans: &[u8]) {
    put_message(out, RESOURCE_SPANS, |rs| {
        put_bytes(rs, RESOURCE, resource);
        put_message(rs, SCOPE_SPANS, |ss| {
            put_message(ss, 1, |s| {
                put_bytes(s, 1, scope.0.as_bytes());
                put_bytes(s, 2, scope.1.as_bytes());
            });
            ss.extend_from_slice(spans);
        });
    });
}

/// Calls `each` with the bytes of every span of an export request.
fn each_span<'a>(
    request: &'a [u8],
    mut each: impl FnMut(&'a [u8]) -> Result<(), WireError>,
) -> Result<(), WireError> {
    let mut outer = Reader::new(request);
    while let Some((number, field)) = outer.next_field()? {
        let (RESOURCE_SPANS, Field::Bytes(bytes)) = (number, field) else { continue };
        let mut resource = Reader::new(bytes);
        while let Some((number, field)) = resource.next_field()? {
            let (SCOPE_SPANS, Field::Bytes(bytes)) = (number, field) else { continue };
            let mut scope = Reader::new(bytes);
            while let Some((number, field)) = scope.next_field()? {
                if let (SPAN, Field::Bytes(span)) = (number, field) {
                    each(span)?;
                }
            }
        }
    }
    Ok(())
}

/// How many spans an export request carries.
pub fn count_spans(request: &[u8]) -> Result<u64, WireError> {
    let mut spans = 0;
    each_span(request, |_| {
        spans += 1;
        Ok(())
    })?;
    Ok(spans)
}

/// The span ids in an export request or a `tempopb.Trace` (the two look the same), by trace id.
pub fn trace_span_ids(request: &[u8]) -> Result<HashMap<[u8; 16], Vec<u64>>, WireError> {
    let mut found: HashMap<[u8; 16], Vec<u64>> = HashMap::new();
    each_span(request, |span| {
        let (mut trace, mut id) = ([0; 16], 0);
        let mut fields = Reader::new(span);
        while let Some((number, field)) = fields.next_field()? {
            match (number, field) {
                (1, Field::Bytes(bytes)) => trace = bytes.try_into().map_err(|_| WireError::WrongType(1))?,
                (2, Field::Bytes(bytes)) => {
                    id = u64::from_be_bytes(bytes.try_into().map_err(|_| WireError::WrongType(2))?);
                    // The ids stand first in what every sender writes: the rest need not be walked.
                    break;
                }
                _ => {}
            }
        }
        found.entry(trace).or_default().push(id);
        Ok(())
    })?;
    Ok(found)
}

/// An id as people and URLs write it.
pub fn hex_id(id: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    id.iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}
