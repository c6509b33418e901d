//! OTLP/JSON in, OTLP protobuf out: one walk over the text that writes fields as it meets them.
//!
//! Must stay true: a wrong value inside a span refuses that span and nothing else; above the spans it refuses the
//! request. A field that stands twice counts as its last value, also when that is zero. Names are those of
//! [`crate::schema`], in either spelling, and what it does not name is skipped.

use std::borrow::Cow;

use crate::error::{Error, Fail};
use crate::scalar::{Done, bytes, double, enumeration, fixed32, fixed64, id, integer, string, uint32};
use crate::scan::Reader;
use crate::schema::{self, SPAN_ID_BYTES, SPAN_KINDS, STATUS_CODES, TRACE_ID_BYTES};
use crate::wire::{close, open, put_bytes_field, put_varint_field};
use crate::{MAX_JSON_BYTES, MAX_JSON_DEPTH, MAX_REASONS, MAX_VALUE_DEPTH};

/// What a body may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Largest body, see [`MAX_JSON_BYTES`].
    pub max_bytes: usize,
    /// Deepest nesting of objects and arrays, see [`MAX_JSON_DEPTH`].
    pub max_depth: usize,
    /// Deepest nesting of attribute values, see [`MAX_VALUE_DEPTH`].
    pub max_value_depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_bytes: MAX_JSON_BYTES, max_depth: MAX_JSON_DEPTH, max_value_depth: MAX_VALUE_DEPTH }
    }
}

/// A request as protobuf, and what had to be left out of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Converted {
    /// The bytes of an `ExportTraceServiceRequest`.
    pub protobuf: Vec<u8>,
    /// How many spans the body holds, those refused included.
    pub spans: usize,
    /// How many of them are not in `protobuf`.
    pub refused_spans: usize,
    /// Which those are and why: the first [`MAX_REASONS`] of them.
    pub refused: Vec<Refused>,
}

/// A span that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Its place among all spans of the body, counted from 0.
    pub span: usize,
    /// Why, with the path and the byte where it shows.
    pub reason: String,
}

/// Converts an OTLP/JSON `ExportTraceServiceRequest` to protobuf.
///
/// Bytes that are not UTF-8 are read as U+FFFD. An empty id is passed on as empty; whether a trace can live with it
/// is for the next layer to say.
///
/// # Errors
/// If the body is too large, is not JSON, or has a wrong value above its spans.
pub fn to_protobuf(json: &[u8], limits: &Limits) -> Result<Converted, Error> {
    if json.len() > limits.max_bytes {
        return Err(Error::TooLarge { bytes: json.len(), limit: limits.max_bytes });
    }
    // The lossy reading goes byte by byte, so it is kept for those who need it.
    let text = str::from_utf8(json).map_or_else(|_| String::from_utf8_lossy(json), Cow::Borrowed);
    let mut reader = Reader::new(&text, limits.max_depth);
    let mut sink = Sink {
        // Compact JSON is about twice as large as the protobuf it stands for.
        out: Vec::with_capacity(json.len() / 2 + 16),
        spans: 0,
        refused_spans: 0,
        refused: Vec::new(),
        place: [0; 3],
        max_value_depth: limits.max_value_depth,
    };
    request(&mut reader, &mut sink).map_err(|fail| fail.into_error(&text))?;
    let Sink { out, spans, refused_spans, refused, .. } = sink;
    Ok(Converted { protobuf: out, spans, refused_spans, refused })
}

/// Where the protobuf goes.
struct Sink {
    out: Vec<u8>,
    spans: usize,
    refused_spans: usize,
    refused: Vec<Refused>,
    /// Indexes of the resource, scope and span that are being read, for the reasons of refused spans.
    place: [usize; 3],
    max_value_depth: usize,
}

impl Sink {
    #[cold]
    fn refuse(&mut self, span: usize, fail: &Fail) {
        self.refused_spans += 1;
        if self.refused.len() < MAX_REASONS {
            let [resource, scope, index] = self.place;
            let path = format!("resourceSpans[{resource}].scopeSpans[{scope}].spans[{index}]");
            self.refused.push(Refused { span, reason: fail.reason(&path) });
        }
    }
}

/// Which fields of a message have been met. A zero is left out of proto3 unless it has to overrule an earlier value:
/// of the same message, or (`again`) of an earlier one under the same key, which decoders merge with this one.
#[derive(Default)]
struct Seen(u32);

impl Seen {
    #[inline]
    fn again(&mut self, field: u32) -> bool {
        let bit = 1 << field;
        let again = self.0 & bit != 0;
        self.0 |= bit;
        again
    }
}

fn request(r: &mut Reader<'_>, s: &mut Sink) -> Done {
    if !r.null()? {
        r.object(schema::request, |r, _| {
            r.array(|r, index| {
                s.place[0] = index;
                resource_spans(r, s)
            })
        })?;
    }
    r.finish()
}

fn resource_spans(r: &mut Reader<'_>, s: &mut Sink) -> Done {
    if r.null()? {
        return Ok(());
    }
    let message = open(&mut s.out, 1, 3);
    let mut seen = Seen::default();
    r.object(schema::resource_spans, |r, field| match field {
        1 => resource(r, s, seen.again(field)),
        2 => r.array(|r, index| {
            s.place[1] = index;
            scope_spans(r, s)
        }),
        _ => string(r, &mut s.out, field, seen.again(field)),
    })?;
    close(&mut s.out, &message);
    Ok(())
}

fn resource(r: &mut Reader<'_>, s: &mut Sink, again: bool) -> Done {
    let message = open(&mut s.out, 1, 2);
    let mut seen = Seen::default();
    r.object(schema::resource, |r, field| match field {
        1 => attributes(r, s, field),
        _ => uint32(r, &mut s.out, field, seen.again(field) || again),
    })?;
    close(&mut s.out, &message);
    Ok(())
}

fn scope_spans(r: &mut Reader<'_>, s: &mut Sink) -> Done {
    if r.null()? {
        return Ok(());
    }
    let message = open(&mut s.out, 2, 3);
    let mut seen = Seen::default();
    r.object(schema::scope_spans, |r, field| match field {
        1 => scope(r, s, seen.again(field)),
        2 => r.array(|r, index| {
            s.place[2] = index;
            span_or_refuse(r, s)
        }),
        _ => string(r, &mut s.out, field, seen.again(field)),
    })?;
    close(&mut s.out, &message);
    Ok(())
}

fn scope(r: &mut Reader<'_>, s: &mut Sink, again: bool) -> Done {
    let message = open(&mut s.out, 1, 1);
    let mut seen = Seen::default();
    r.object(schema::scope, |r, field| match field {
        1 | 2 => string(r, &mut s.out, field, seen.again(field) || again),
        3 => attributes(r, s, field),
        _ => uint32(r, &mut s.out, field, seen.again(field) || again),
    })?;
    close(&mut s.out, &message);
    Ok(())
}

/// A span; if a value in it is wrong, everything of it is taken back and the text is read over it once more.
fn span_or_refuse(r: &mut Reader<'_>, s: &mut Sink) -> Done {
    if r.null()? {
        return Ok(());
    }
    let ordinal = s.spans;
    s.spans += 1;
    let (mark, length) = (r.mark(), s.out.len());
    match span(r, s) {
        Err(fail) if !fail.is_syntax() => {
            s.out.truncate(length);
            r.rewind(mark);
            r.skip()?;
            s.refuse(ordinal, &fail);
            Ok(())
        }
        done => done,
    }
}

fn span(r: &mut Reader<'_>, s: &mut Sink) -> Done {
    let message = open(&mut s.out, 2, 2);
    let mut seen = Seen::default();
    r.object(schema::span, |r, field| {
        match field {
            9 => return attributes(r, s, field),
            11 => return r.array(|r, _| event(r, s)),
            13 => return r.array(|r, _| link(r, s)),
            15 => return status(r, s, seen.again(field)),
            _ => {}
        }
        let again = seen.again(field);
        match field {
            1 => id::<TRACE_ID_BYTES>(r, &mut s.out, field, again),
            2 | 4 => id::<SPAN_ID_BYTES>(r, &mut s.out, field, again),
            3 | 5 => string(r, &mut s.out, field, again),
            6 => enumeration(r, &mut s.out, field, again, &SPAN_KINDS),
            7 | 8 => fixed64(r, &mut s.out, field, again),
            16 => fixed32(r, &mut s.out, field, again),
            _ => uint32(r, &mut s.out, field, again),
        }
    })?;
    close(&mut s.out, &message);
    Ok(())
}

fn event(r: &mut Reader<'_>, s: &mut Sink) -> Done {
    if r.null()? {
        return Ok(());
    }
    let message = open(&mut s.out, 11, 1);
    let mut seen = Seen::default();
    r.object(schema::event, |r, field| match field {
        1 => fixed64(r, &mut s.out, field, seen.again(field)),
        2 => string(r, &mut s.out, field, seen.again(field)),
        3 => attributes(r, s, field),
        _ => uint32(r, &mut s.out, field, seen.again(field)),
    })?;
    close(&mut s.out, &message);
    Ok(())
}

fn link(r: &mut Reader<'_>, s: &mut Sink) -> Done {
    if r.null()? {
        return Ok(());
    }
    let message = open(&mut s.out, 13, 1);
    let mut seen = Seen::default();
    r.object(schema::link, |r, field| match field {
        1 => id::<TRACE_ID_BYTES>(r, &mut s.out, field, seen.again(field)),
        2 => id::<SPAN_ID_BYTES>(r, &mut s.out, field, seen.again(field)),
        3 => string(r, &mut s.out, field, seen.again(field)),
        4 => attributes(r, s, field),
        5 => uint32(r, &mut s.out, field, seen.again(field)),
        _ => fixed32(r, &mut s.out, field, seen.again(field)),
    })?;
    close(&mut s.out, &message);
    Ok(())
}

fn status(r: &mut Reader<'_>, s: &mut Sink, again: bool) -> Done {
    let message = open(&mut s.out, 15, 1);
    let mut seen = Seen::default();
    r.object(schema::status, |r, field| match field {
        2 => string(r, &mut s.out, field, seen.again(field) || again),
        _ => enumeration(r, &mut s.out, field, seen.again(field) || again, &STATUS_CODES),
    })?;
    close(&mut s.out, &message);
    Ok(())
}

fn attributes(r: &mut Reader<'_>, s: &mut Sink, field: u32) -> Done {
    r.array(|r, _| key_value(r, s, field, 1))
}

fn key_value(r: &mut Reader<'_>, s: &mut Sink, number: u32, depth: usize) -> Done {
    r.peek()?;
    if depth <= s.max_value_depth
        && let Some((key, value)) = r.text_attribute()
    {
        let message = open(&mut s.out, number, 1);
        if !key.is_empty() {
            put_bytes_field(&mut s.out, 1, key);
        }
        let inner = open(&mut s.out, 2, 1);
        put_bytes_field(&mut s.out, 1, value);
        close(&mut s.out, &inner);
        close(&mut s.out, &message);
        return Ok(());
    }
    if r.null()? {
        return Ok(());
    }
    let message = open(&mut s.out, number, 1);
    let mut seen = Seen::default();
    let mut value = None;
    r.object(schema::key_value, |r, field| match field {
        1 => string(r, &mut s.out, field, seen.again(field)),
        _ => {
            // A second value replaces the first; left in, a decoder would merge the two.
            if let Some(first) = value.take() {
                s.out.drain(first);
            }
            let start = s.out.len();
            any_value(r, s, field, depth)?;
            value = Some(start..s.out.len());
            Ok(())
        }
    })?;
    if value.is_none() {
        put_bytes_field(&mut s.out, 2, &[]);
    }
    close(&mut s.out, &message);
    Ok(())
}

fn any_value(r: &mut Reader<'_>, s: &mut Sink, number: u32, depth: usize) -> Done {
    if r.peek()? == b'{' && depth > s.max_value_depth {
        let message = format!("attribute values nested deeper than {}", s.max_value_depth);
        return Err(Fail::value(r.at(), message));
    }
    let message = open(&mut s.out, number, 1);
    let start = s.out.len();
    if !r.null()? {
        r.object(schema::any_value, |r, field| {
            // Members of a oneof: the last one counts.
            s.out.truncate(start);
            match field {
                1 => string(r, &mut s.out, field, true),
                2 => {
                    put_varint_field(&mut s.out, field, u64::from(r.boolean()?));
                    Ok(())
                }
                3 => {
                    let value: i64 = integer(r, "a 64-bit integer")?;
                    put_varint_field(&mut s.out, field, value as u64);
                    Ok(())
                }
                4 => double(r, &mut s.out, field),
                7 => bytes(r, &mut s.out, field),
                _ => list(r, s, field, depth + 1),
            }
        })?;
    }
    close(&mut s.out, &message);
    Ok(())
}

/// An `ArrayValue` (5) or a `KeyValueList` (6).
fn list(r: &mut Reader<'_>, s: &mut Sink, number: u32, depth: usize) -> Done {
    let message = open(&mut s.out, number, 1);
    r.object(schema::values, |r, field| {
        r.array(|r, _| match number {
            5 => any_value(r, s, field, depth),
            _ => key_value(r, s, field, depth),
        })
    })?;
    close(&mut s.out, &message);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::put_varint;

    #[test]
    fn a_zero_is_written_only_to_overrule() {
        let body = |span: &str| format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{span}]}}]}}]}}"#);
        let bytes = |span: &str| to_protobuf(body(span).as_bytes(), &Limits::default()).unwrap().protobuf;
        assert_eq!(bytes(r#"{"kind":0,"flags":0,"name":"","traceId":""}"#), [10, 4, 18, 2, 18, 0]);
        assert_eq!(bytes(r#"{"kind":2,"kind":0}"#), [10, 8, 18, 6, 18, 4, 48, 2, 48, 0]);
        assert_eq!(bytes(r#"{"name":"a","name":""}"#), [10, 9, 18, 7, 18, 5, 42, 1, b'a', 42, 0]);
    }

    #[test]
    fn lengths_are_shortest() {
        let mut out = Vec::new();
        for (reserved, length) in
            [(1, 0), (1, 127), (1, 128), (3, 5), (3, 20_000), (2, 20_000), (1, 3_000_000)]
        {
            out.clear();
            let message = open(&mut out, 1, reserved);
            out.resize(out.len() + length, 7);
            close(&mut out, &message);
            let mut expected = vec![10];
            put_varint(&mut expected, length as u64);
            expected.resize(expected.len() + length, 7);
            assert_eq!(out, expected, "{reserved} for {length}");
        }
    }
}
