//! The spans of a request, one by one, as their bytes: for what is looked at only when the configuration asks for it.
//!
//! What must stay true: nothing is copied, and what cannot be read is passed over, since what becomes of a request is
//! decided elsewhere.

use trackway_spans::Value;
use trackway_spans::anyvalue::{self, AnyValue};
use trackway_spans::wire::{Field, Reader};

/// The spans of one resource.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ResourceSpans<'r> {
    message: &'r [u8],
}

/// One span.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Span<'r> {
    message: &'r [u8],
    pub(crate) trace_id: &'r [u8],
    pub(crate) span_id: &'r [u8],
    pub(crate) parent_id: &'r [u8],
    pub(crate) name: &'r [u8],
    pub(crate) kind: u64,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) status: u64,
}

fn fields<'r>(message: &'r [u8]) -> impl Iterator<Item = (u32, Field<'r>)> {
    let mut reader = Reader::new(message);
    std::iter::from_fn(move || reader.next_field().ok().flatten())
}

/// The messages in a field.
fn messages(message: &[u8], number: u32) -> impl Iterator<Item = &[u8]> {
    fields(message)
        .filter(move |(found, _)| *found == number)
        .filter_map(move |(_, field)| field.bytes(number).ok())
}

/// The resources of a request with their spans.
pub(crate) fn resources(request: &[u8]) -> impl Iterator<Item = ResourceSpans<'_>> {
    messages(request, 1).map(|message| ResourceSpans { message })
}

impl<'r> ResourceSpans<'r> {
    /// Bytes of it all.
    pub(crate) fn size(self) -> usize {
        self.message.len()
    }

    /// The resource's attributes: keys and encoded values.
    pub(crate) fn attributes(self) -> impl Iterator<Item = (&'r [u8], &'r [u8])> {
        messages(self.message, 1).flat_map(|resource| attributes(resource, 1))
    }

    /// The spans' bytes, in order.
    pub(crate) fn spans(self) -> impl Iterator<Item = &'r [u8]> {
        messages(self.message, 2).flat_map(|scope| messages(scope, 2))
    }

    /// The value of `service.name`; empty if there is none.
    pub(crate) fn service(self) -> &'r [u8] {
        let service = self.attributes().find(|(key, _)| *key == b"service.name");
        service.and_then(|(_, value)| text(value)).unwrap_or_default()
    }
}

impl<'r> Span<'r> {
    /// Reads what can be read.
    pub(crate) fn read(message: &'r [u8]) -> Self {
        let mut span = Self { message, ..Self::default() };
        for (number, field) in fields(message) {
            match number {
                1 => span.trace_id = field.bytes(1).unwrap_or_default(),
                2 => span.span_id = field.bytes(2).unwrap_or_default(),
                4 => span.parent_id = field.bytes(4).unwrap_or_default(),
                5 => span.name = field.bytes(5).unwrap_or_default(),
                6 => span.kind = field.varint(6).unwrap_or_default(),
                7 => span.start = field.fixed64(7).unwrap_or_default(),
                8 => span.end = field.fixed64(8).unwrap_or_default(),
                15 => {
                    let status =
                        fields(field.bytes(15).unwrap_or_default()).filter(|(number, _)| *number == 3);
                    span.status =
                        status.last().and_then(|(_, field)| field.varint(3).ok()).unwrap_or_default();
                }
                _ => {}
            }
        }
        span
    }

    /// Its attributes.
    pub(crate) fn attributes(self) -> impl Iterator<Item = (&'r [u8], &'r [u8])> {
        attributes(self.message, 9)
    }
}

/// Keys and encoded values in a field of a message.
pub(crate) fn attributes(message: &[u8], number: u32) -> impl Iterator<Item = (&[u8], &[u8])> {
    messages(message, number).filter_map(|pair| anyvalue::parse_key_value(pair).ok())
}

/// The text of a value that is a text.
pub(crate) fn text(value: &[u8]) -> Option<&[u8]> {
    match anyvalue::parse(value) {
        Ok(AnyValue::Scalar(Value::String(text))) => Some(text),
        _ => None,
    }
}
