//! The spans of a request, shown one by one: for those who count spans and keep none.
//!
//! What must stay true: exactly those spans are shown that [`crate::append_request`] keeps under the same limits, with the
//! same cuts, so that what is counted is what is found. Nothing is copied, and nothing is built.

use trackway_common::TraceId;

use crate::anyvalue::{self, AnyValue};
use crate::batch::Value;
use crate::cursor::{
    AppendError, Limits, Refusal, check_attributes, parent_span_id, required_span_id, required_trace_id,
    small_enum,
};
use crate::wire::{Field, Reader, WireError};

/// A key with its value.
pub type Attribute<'r> = (&'r [u8], AnyValue<'r>);

/// A span, without its attributes.
#[derive(Clone, Copy, Debug, Default)]
pub struct VisitedSpan<'r> {
    /// Its bytes on the wire.
    pub size: usize,
    /// Its trace.
    pub trace: TraceId,
    /// Its id, big-endian.
    pub id: u64,
    /// Its parent's id, 0 for none.
    pub parent: u64,
    /// W3C trace state.
    pub trace_state: &'r [u8],
    /// Name.
    pub name: &'r [u8],
    /// OTLP's number of the kind.
    pub kind: u8,
    /// OTLP's number of the status.
    pub status: u8,
    /// Status message.
    pub status_message: &'r [u8],
    /// Unix nanoseconds.
    pub start: u64,
    /// Unix nanoseconds.
    pub end: u64,
}

/// Who is shown spans.
pub trait SpanVisitor<'r> {
    /// The resource of the spans that follow, as its message. Spans are passed over if it cannot be read.
    ///
    /// # Errors
    /// [`WireError`] when it cannot be read, see [`attributes`].
    fn resource(&mut self, message: &'r [u8]) -> Result<(), WireError>;

    /// A span and its attributes, in order.
    fn span(&mut self, span: &VisitedSpan<'r>, attributes: &[Attribute<'r>]);
}

/// Shows the spans of a request, except those whose ordinal is in `skip` (ascending) and those that cannot be kept.
///
/// # Errors
/// As [`crate::peek_request`]; spans before the damage were shown.
pub fn visit_spans<'r>(
    request: &'r [u8],
    limits: Limits,
    skip: &[u32],
    visitor: &mut impl SpanVisitor<'r>,
) -> Result<(), AppendError> {
    let mut visit = Visit { visitor, limits, skip, ordinal: 0, attributes: Vec::new() };
    let mut requests = Reader::new(request);
    while let Some((number, field)) = requests.next_field()? {
        if number == 1 {
            visit.resource_spans(field.bytes(1)?)?;
        }
    }
    Ok(())
}

/// Reads the attributes of a resource into `out`, with the cuts of `limits`.
///
/// # Errors
/// [`WireError`] when one cannot be read; none is to be used then.
pub fn attributes<'r>(
    resource: &'r [u8],
    limits: Limits,
    out: &mut Vec<Attribute<'r>>,
) -> Result<(), WireError> {
    out.clear();
    check_attributes(resource, 1)?;
    let mut reader = Reader::new(resource);
    while let Some((number, field)) = reader.next_field()? {
        if number == 1 {
            out.push(attribute(field.bytes(1)?, limits)?);
        }
    }
    Ok(())
}

struct Visit<'r, 'v, V> {
    visitor: &'v mut V,
    limits: Limits,
    skip: &'v [u32],
    ordinal: u32,
    attributes: Vec<Attribute<'r>>,
}

/// The message in a field, which may stand behind what belongs to it; of several the last.
fn message_in(message: &[u8], wanted: u32) -> Result<&[u8], WireError> {
    let mut found: &[u8] = b"";
    let mut reader = Reader::new(message);
    while let Some((number, field)) = reader.next_field()? {
        if let (true, Field::Bytes(bytes)) = (number == wanted, field) {
            found = bytes;
        }
    }
    Ok(found)
}

impl<'r, V: SpanVisitor<'r>> Visit<'r, '_, V> {
    fn resource_spans(&mut self, message: &'r [u8]) -> Result<(), WireError> {
        let is_good = self.visitor.resource(message_in(message, 1)?).is_ok();
        let mut reader = Reader::new(message);
        while let Some((number, field)) = reader.next_field()? {
            if number == 2 {
                self.scope_spans(field.bytes(2)?, is_good)?;
            }
        }
        Ok(())
    }

    fn scope_spans(&mut self, message: &'r [u8], resource_is_good: bool) -> Result<(), WireError> {
        let is_good = resource_is_good && check_attributes(message_in(message, 1)?, 3).is_ok();
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
            let bytes = field.bytes(2)?;
            if is_good && let Ok(span) = self.span(bytes) {
                self.visitor.span(&span, &self.attributes);
            }
        }
        Ok(())
    }

    fn span(&mut self, message: &'r [u8]) -> Result<VisitedSpan<'r>, Refusal> {
        self.attributes.clear();
        let mut span = VisitedSpan { size: message.len(), ..VisitedSpan::default() };
        let (mut trace_id, mut span_id, mut parent_id): (&[u8], &[u8], &[u8]) = (b"", b"", b"");
        let mut reader = Reader::new(message);
        while let Some((number, field)) = reader.next_field()? {
            match number {
                1 => trace_id = field.bytes(1)?,
                2 => span_id = field.bytes(2)?,
                3 => span.trace_state = field.bytes(3)?,
                4 => parent_id = field.bytes(4)?,
                5 => span.name = field.bytes(5)?,
                6 => span.kind = small_enum("span kind", field.varint(6)?)?,
                7 => span.start = field.fixed64(7)?,
                8 => span.end = field.fixed64(8)?,
                9 => self.attributes.push(attribute(field.bytes(9)?, self.limits)?),
                10 | 12 | 14 => drop(field.varint(number)?),
                11 => drop(field.bytes(11).map_or(Ok(()), check_event)?),
                13 => check_link(field.bytes(13)?)?,
                15 => (span.status, span.status_message) = status(field.bytes(15)?)?,
                _ => {}
            }
        }
        span.parent = parent_span_id(parent_id)?;
        span.id = required_span_id(span_id)?;
        span.trace = required_trace_id(trace_id)?;
        Ok(span)
    }
}

fn attribute(pair: &[u8], limits: Limits) -> Result<Attribute<'_>, WireError> {
    let (key, message) = anyvalue::parse_key_value(pair)?;
    let value = match anyvalue::parse(message)? {
        AnyValue::Scalar(Value::String(text)) => AnyValue::Scalar(Value::String(limits.cut(text))),
        nested @ (AnyValue::Array(_) | AnyValue::Map(_)) => {
            anyvalue::validate(message, 0)?;
            nested
        }
        other => other,
    };
    Ok((limits.cut(key), value))
}

fn status(message: &[u8]) -> Result<(u8, &[u8]), Refusal> {
    let (mut code, mut text): (u8, &[u8]) = (0, b"");
    let mut reader = Reader::new(message);
    while let Some((number, field)) = reader.next_field()? {
        match number {
            2 => text = field.bytes(2)?,
            3 => code = small_enum("status code", field.varint(3)?)?,
            _ => {}
        }
    }
    Ok((code, text))
}

fn check_attribute(pair: &[u8]) -> Result<(), WireError> {
    let (_, value) = anyvalue::parse_key_value(pair)?;
    anyvalue::validate(value, 0)
}

fn check_event(message: &[u8]) -> Result<(), WireError> {
    let mut reader = Reader::new(message);
    while let Some((number, field)) = reader.next_field()? {
        match number {
            1 => drop(field.fixed64(1)?),
            2 => drop(field.bytes(2)?),
            3 => check_attribute(field.bytes(3)?)?,
            4 => drop(field.varint(4)?),
            _ => {}
        }
    }
    Ok(())
}

fn check_link(message: &[u8]) -> Result<(), WireError> {
    let mut reader = Reader::new(message);
    while let Some((number, field)) = reader.next_field()? {
        match number {
            1..=3 => drop(field.bytes(number)?),
            4 => check_attribute(field.bytes(4)?)?,
            5 => drop(field.varint(5)?),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::BatchBuilder;
    use crate::cursor::append_request;
    use crate::wire::{put_bytes, put_fixed64, put_message, put_number};

    #[derive(Default)]
    struct Names(Vec<String>);

    impl<'r> SpanVisitor<'r> for Names {
        fn resource(&mut self, message: &'r [u8]) -> Result<(), WireError> {
            attributes(message, Limits::default(), &mut Vec::new())
        }

        fn span(&mut self, span: &VisitedSpan<'r>, _attributes: &[Attribute<'r>]) {
            self.0.push(String::from_utf8_lossy(span.name).into_owned());
        }
    }

    fn put_span(out: &mut Vec<u8>, name: &str, more: impl FnOnce(&mut Vec<u8>)) {
        put_message(out, 2, |out| {
            put_bytes(out, 1, &[1; 16]);
            put_bytes(out, 2, &[2; 8]);
            put_bytes(out, 5, name.as_bytes());
            put_fixed64(out, 7, 5);
            more(out);
        });
    }

    fn put_attribute(out: &mut Vec<u8>, number: u32, value: &[u8]) {
        put_message(out, number, |out| {
            put_bytes(out, 1, b"key");
            put_bytes(out, 2, value);
        });
    }

    /// Requests whose spans are wrong in every place that is looked at, and some that are right.
    fn requests() -> Vec<Vec<u8>> {
        let torn: &[u8] = &[0x0a, 9];
        type Put = Box<dyn Fn(&mut Vec<u8>)>;
        let faults: Vec<(&str, Put)> = vec![
            ("good", Box::new(|_| {})),
            ("short trace", Box::new(|out| put_bytes(out, 1, &[1; 8]))),
            ("no trace", Box::new(|out| put_bytes(out, 1, &[0; 16]))),
            ("no id", Box::new(|out| put_bytes(out, 2, &[0; 8]))),
            ("parent", Box::new(|out| put_bytes(out, 4, &[1; 7]))),
            ("kind", Box::new(|out| put_number(out, 6, 256))),
            ("kind 9", Box::new(|out| put_number(out, 6, 9))),
            ("attribute", Box::new(move |out| put_attribute(out, 9, torn))),
            ("dropped", Box::new(|out| put_bytes(out, 10, b"x"))),
            ("event", Box::new(|out| put_message(out, 11, |out| put_bytes(out, 1, b"")))),
            ("event attribute", Box::new(move |out| put_message(out, 11, |out| put_attribute(out, 3, torn)))),
            ("event number", Box::new(|out| put_number(out, 11, 3))),
            ("link", Box::new(|out| put_message(out, 13, |out| put_number(out, 1, 1)))),
            ("link attribute", Box::new(move |out| put_message(out, 13, |out| put_attribute(out, 4, torn)))),
            ("status", Box::new(|out| put_message(out, 15, |out| put_number(out, 3, 300)))),
            ("status 7", Box::new(|out| put_message(out, 15, |out| put_number(out, 3, 7)))),
            ("group", Box::new(|out| out.push(0x0b))),
        ];
        let mut all = Vec::new();
        for (bad_resource, bad_scope) in [(false, false), (true, false), (false, true)] {
            let mut request = Vec::new();
            put_message(&mut request, 1, |out| {
                put_message(out, 2, |out| {
                    for (name, fault) in &faults {
                        put_span(out, name, fault);
                    }
                    if bad_scope {
                        put_message(out, 1, |out| put_attribute(out, 3, torn));
                    }
                });
                if bad_resource {
                    put_message(out, 1, |out| put_attribute(out, 1, torn));
                }
            });
            all.push(request);
        }
        all
    }

    #[test]
    fn those_are_shown_that_are_kept() {
        let mut shown_at_all = 0;
        for (request, skip) in requests().iter().flat_map(|request| [(request, &[][..]), (request, &[0, 6])])
        {
            let mut builder = BatchBuilder::new();
            append_request(&mut builder, request, Limits::default(), skip).unwrap();
            let batch = builder.finish();
            let kept: Vec<String> = batch
                .spans
                .name
                .iter()
                .map(|name| String::from_utf8_lossy(batch.strings.get(*name)).into_owned())
                .collect();
            let mut names = Names::default();
            visit_spans(request, Limits::default(), skip, &mut names).unwrap();
            assert_eq!(names.0, kept);
            shown_at_all += kept.len();
        }
        assert_eq!(shown_at_all, 4 + 2);
    }
}
