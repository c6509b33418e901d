//! What a record of Kafka holds: one payload in the encoding that its topic has.
//!
//! What must stay true: one bad trace of a record that holds several, or one bad span, does not cost its neighbours; what
//! comes out can be walked to its end.

use trackway_otlpjson::{Converted, Limits, MAX_JSON_BYTES, to_protobuf};
use trackway_spans::peek_request;
use trackway_spans::wire::{Field, Reader, WireError, put_bytes, put_message};

use crate::attributes::Attributes;
use crate::{Error, MAX_REASONS, Options, Translated, jaeger, zipkin};

/// What stands before the name of a header that becomes an attribute of the resource.
pub const HEADER_PREFIX: &str = "kafka.header.";

/// How the payload of a record is written (`encoding`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordEncoding {
    /// An `ExportTraceServiceRequest`.
    OtlpProto,
    /// The same in OTLP's JSON.
    OtlpJson,
    /// One span of Jaeger's `api_v2`.
    JaegerProto,
    /// The same in the JSON form of protobuf.
    JaegerJson,
    /// Zipkin's `ListOfSpans`.
    ZipkinProto,
    /// A list of Zipkin v2 spans.
    ZipkinJson,
    /// A list of Zipkin v1 spans in binary Thrift.
    ZipkinThrift,
    /// `tempopb.PushBytesRequest`, which Tempo 3's distributors write. No setting names it.
    TempoPushBytes,
}

impl RecordEncoding {
    /// Those that a setting may name.
    pub const NAMED: [Self; 7] = [
        Self::OtlpProto,
        Self::OtlpJson,
        Self::JaegerProto,
        Self::JaegerJson,
        Self::ZipkinProto,
        Self::ZipkinJson,
        Self::ZipkinThrift,
    ];

    /// As the Collector names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::OtlpProto => "otlp_proto",
            Self::OtlpJson => "otlp_json",
            Self::JaegerProto => "jaeger_proto",
            Self::JaegerJson => "jaeger_json",
            Self::ZipkinProto => "zipkin_proto",
            Self::ZipkinJson => "zipkin_json",
            Self::ZipkinThrift => "zipkin_thrift",
            Self::TempoPushBytes => "push_bytes",
        }
    }

    /// The one of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::NAMED.into_iter().find(|encoding| encoding.name() == name)
    }

    /// A payload as OTLP.
    ///
    /// # Errors
    /// When nothing of it can be used.
    pub fn translate(self, payload: &[u8], options: &Options) -> Result<Translated, Error> {
        match self {
            Self::OtlpProto => otlp(payload, options),
            Self::OtlpJson => otlp_json(payload, options),
            Self::JaegerProto => jaeger::span(payload, options),
            Self::JaegerJson => jaeger::span_json(payload, options),
            Self::ZipkinProto => zipkin::v2_proto(payload, options),
            Self::ZipkinJson => zipkin::v2_json(payload, options),
            Self::ZipkinThrift => zipkin::v1_thrift(payload, options),
            Self::TempoPushBytes => push_bytes(payload, options),
        }
    }
}

/// Fails when a payload with the same number of bytes in OTLP is too large.
fn fits(payload: &[u8], options: &Options) -> Result<(), Error> {
    if payload.len() > options.max_output { Err(Error::TooLarge(options.max_output)) } else { Ok(()) }
}

fn otlp(payload: &[u8], options: &Options) -> Result<Translated, Error> {
    fits(payload, options)?;
    let spans = peek_request(payload).map_err(|error| Error::Protobuf(error.0))?;
    Ok(Translated { protobuf: payload.to_vec(), spans: spans as usize, ..Translated::default() })
}

fn otlp_json(payload: &[u8], options: &Options) -> Result<Translated, Error> {
    let limits = Limits { max_bytes: MAX_JSON_BYTES.min(options.max_output), ..Limits::default() };
    if payload.len() > limits.max_bytes {
        return Err(Error::TooLarge(limits.max_bytes));
    }
    let converted = to_protobuf(payload, &limits).map_err(|error| Error::Json(error.to_string()))?;
    let Converted { protobuf, spans, refused_spans, refused } = converted;
    let reasons: Vec<_> = refused.into_iter().map(|refused| (refused.span, refused.reason)).collect();
    match reasons.first() {
        Some((_, reason)) if refused_spans == spans => Err(Error::NoUsableSpan(reason.clone())),
        _ => Ok(Translated { protobuf, spans: spans - refused_spans, refused: refused_spans, reasons }),
    }
}

/// The traces of a `PushBytesRequest` (field 2), each of which is written as a request is: one after the other they are one.
fn push_bytes(payload: &[u8], options: &Options) -> Result<Translated, Error> {
    fits(payload, options)?;
    let mut done = Translated { protobuf: Vec::with_capacity(payload.len()), ..Translated::default() };
    let mut place = 0;
    let mut reader = Reader::new(payload);
    while let Some((number, field)) = reader.next_field()? {
        if number != 2 {
            continue; // ids, and what was meant for the metrics-generator
        }
        let trace = field.bytes(number)?;
        match peek_request(trace) {
            Ok(spans) => {
                done.protobuf.extend_from_slice(trace);
                done.spans += spans as usize;
            }
            Err(error) => {
                done.refused += 1;
                if done.reasons.len() < MAX_REASONS {
                    done.reasons.push((place, format!("a trace of the record: {error}")));
                }
            }
        }
        place += 1;
    }
    match done.reasons.first() {
        Some((_, reason)) if done.spans == 0 => Err(Error::NoUsableSpan(reason.clone())),
        _ => Ok(done),
    }
}

/// A request with these headers among the attributes of each of its resources (`header_extraction`).
///
/// # Errors
/// When the request cannot be walked.
pub fn with_headers(request: &[u8], headers: &[(String, String)]) -> Result<Vec<u8>, WireError> {
    let mut attributes = Attributes::default();
    for (name, value) in headers {
        attributes.put(format!("{HEADER_PREFIX}{name}"), crate::attributes::Value::Text(value.into()));
    }
    let mut added = Vec::new();
    attributes.write(&mut added, 1);
    let mut out = Vec::with_capacity(request.len() + request.len() / 8 + added.len());
    let mut reader = Reader::new(request);
    while let Some((number, field)) = reader.next_field()? {
        if number == 1 {
            let of_resource = resource_with(field.bytes(number)?, &added)?;
            put_bytes(&mut out, number, &of_resource);
        }
    }
    Ok(out)
}

/// The body of a `ResourceSpans` whose resource has these attributes, too.
fn resource_with(body: &[u8], added: &[u8]) -> Result<Vec<u8>, WireError> {
    let mut resource = Vec::new();
    let mut rest = Vec::with_capacity(body.len());
    let mut reader = Reader::new(body);
    while let Some((number, field)) = reader.next_field()? {
        match (number, field) {
            // Written twice they are one message, as protobuf has it.
            (1, field) => resource.extend_from_slice(field.bytes(number)?),
            (_, Field::Bytes(bytes)) => put_bytes(&mut rest, number, bytes),
            _ => {} // nothing else is known below a resource
        }
    }
    let mut out = Vec::with_capacity(body.len() + added.len() + 8);
    put_message(&mut out, 1, |out| {
        out.extend_from_slice(&resource);
        out.extend_from_slice(added);
    });
    out.extend_from_slice(&rest);
    Ok(out)
}
