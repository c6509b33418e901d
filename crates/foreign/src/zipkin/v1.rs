//! A span of Zipkin v1, whichever way it was written: what happened stands in annotations (`cs`, `sr` and so on), tags
//! are binary annotations, and each names the host that wrote it.

use std::borrow::Cow;

use crate::attributes::{Attributes, Value};
use crate::otlp::{Event, Request, Span, kind, resource};
use crate::room::{ATTRIBUTE, EVENT};
use crate::{Error, Options};

use super::status::Status;
use super::{Endpoint, NO_TIME, nanos};

/// What a service is called whose annotations do not say it.
const UNKNOWN: &str = "unknown-service";
/// The tag that an in-process span names its part of the program in.
const LOCAL_COMPONENT: &str = "lc";

/// A span as it came.
#[derive(Debug, Default)]
pub(super) struct V1Span<'a> {
    pub(super) trace_id: u128,
    pub(super) span_id: u64,
    pub(super) parent_id: u64,
    pub(super) name: Cow<'a, str>,
    /// Unix time in microseconds; 0 for none.
    pub(super) timestamp: i64,
    /// In microseconds.
    pub(super) duration: i64,
    pub(super) annotations: Vec<Annotation<'a>>,
    pub(super) tags: Vec<Tag<'a>>,
}

/// An annotation: something that happened.
#[derive(Debug, Default)]
pub(super) struct Annotation<'a> {
    pub(super) timestamp: i64,
    pub(super) value: Cow<'a, str>,
    pub(super) host: Option<Endpoint<'a>>,
}

/// A binary annotation: a tag.
#[derive(Debug)]
pub(super) struct Tag<'a> {
    pub(super) key: Cow<'a, str>,
    pub(super) value: Value<'a>,
    pub(super) host: Option<Endpoint<'a>>,
}

/// What an annotation takes, and the event that becomes of it.
pub(super) const ANNOTATION: usize = 2 * size_of::<Annotation<'static>>() + EVENT;
/// What a tag takes, and the attribute that becomes of it.
pub(super) const TAG: usize = 2 * size_of::<Tag<'static>>() + ATTRIBUTE;

/// Adds a span to the request.
pub(super) fn add(from: V1Span<'_>, request: &mut Request, options: &Options) -> Result<(), Error> {
    let mut span = Span {
        trace_id: from.trace_id,
        span_id: from.span_id,
        parent_id: if from.parent_id == from.span_id { 0 } else { from.parent_id },
        name: from.name,
        ..Span::default()
    };
    let host = take_annotations(&mut span, from.annotations);
    let fallback = take_tags(&mut span, from.tags);
    let host = host.unwrap_or_else(|| Endpoint {
        service: fallback.filter(|name| !name.is_empty()).unwrap_or(Cow::Borrowed(UNKNOWN)),
        ..Endpoint::default()
    });
    if from.timestamp != 0 {
        span.start = nanos(from.timestamp);
        span.end = nanos(from.timestamp.saturating_add(from.duration));
    }
    if span.start == 0 {
        (span.start, span.end) = (options.now, options.now);
        span.attributes.put(NO_TIME, Value::Bool(true));
    }
    let at = request.resource(&resource_of(host));
    request.span(at, &[], &span)
}

fn resource_of(host: Endpoint<'_>) -> Vec<u8> {
    let mut attributes = Attributes::default();
    attributes.put_text("service.name", host.service);
    for (key, address) in [("ipv4", host.ipv4), ("ipv6", host.ipv6)] {
        if !address.is_empty() {
            attributes.put_text(key, address);
        }
    }
    if host.port != 0 {
        attributes.put_text("port", host.port.to_string());
    }
    resource(&attributes)
}

/// The kind that an annotation of a call stands for.
fn kind_of(value: &str) -> Option<u8> {
    match value {
        "cs" | "cr" => Some(kind::CLIENT),
        "ss" | "sr" => Some(kind::SERVER),
        "ms" => Some(kind::PRODUCER),
        "mr" => Some(kind::CONSUMER),
        _ => None,
    }
}

/// Makes kind, times and events of annotations; the host of the first that is about a call.
fn take_annotations<'a>(span: &mut Span<'a>, annotations: Vec<Annotation<'a>>) -> Option<Endpoint<'a>> {
    let (mut host, mut kind) = (None, None);
    let (mut first, mut last) = (i64::MAX, i64::MIN);
    for annotation in annotations {
        let Annotation { timestamp, value, host: of } = annotation;
        if value.is_empty() {
            continue;
        }
        (first, last) = (first.min(timestamp), last.max(timestamp));
        if let Some(found) = kind_of(&value) {
            kind = kind.or(Some(found));
            if host.is_none() {
                host = of.filter(|host| !host.service.is_empty());
            }
        } else {
            span.events.push(Event { time: nanos(timestamp), name: value, ..Event::default() });
        }
    }
    if first <= last {
        (span.start, span.end) = (nanos(first), nanos(last));
    }
    span.kind = kind.unwrap_or(kind::UNSPECIFIED);
    host
}

/// Makes attributes and the status of tags; the service that they name.
fn take_tags<'a>(span: &mut Span<'a>, tags: Vec<Tag<'a>>) -> Option<Cow<'a, str>> {
    let (mut service, mut component, mut status) = (None, None, Status::default());
    for Tag { mut key, value, host } in tags {
        service = host.map(|host| host.service).filter(|name| !name.is_empty()).or(service);
        if key == LOCAL_COMPONENT {
            key = Cow::Borrowed("component");
            component = Some(Cow::Owned(value.as_text().to_owned()));
        }
        if !status.take(&key, &value) {
            span.attributes.put(key, value);
        }
    }
    let (code, message) = status.get();
    span.status = code;
    span.status_message = message.into();
    service.or(component)
}
