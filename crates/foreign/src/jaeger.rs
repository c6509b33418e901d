//! Jaeger: what its clients and agents send, as Thrift and as protobuf.
//!
//! What must stay true: both forms of one span become the same OTLP, but for what only the Collector's translation of
//! protobuf knows (scopes and trace state in tags).

mod json;
mod proto;
mod thrift;

pub use json::span_json;
pub use proto::{post_spans, span};
pub(crate) use thrift::Stopped;
pub use thrift::{call, http_body};

use crate::Error;
use crate::attributes::{Attributes, Value};
use crate::otlp::{Event, Link, Request, Span, kind, scope, status};

/// The service name that a Collector writes for a resource that has none.
const NO_SERVICE: &str = "OTLPResourceNoServiceName";

/// The kinds of references.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RefType {
    ChildOf,
    FollowsFrom,
}

/// A reference to another span.
#[derive(Clone, Copy, Debug)]
struct Reference {
    trace_id: u128,
    span_id: u64,
    kind: RefType,
}

/// The body of the `Resource` of a process.
fn resource(service: &str, mut tags: Attributes<'_>) -> Vec<u8> {
    if service == NO_SERVICE {
        return Vec::new();
    }
    let mut attributes = Attributes::default();
    if !service.is_empty() {
        attributes.put_text("service.name", service);
    }
    tags.take_all(|_| true, |key, value| attributes.put(key, value));
    if attributes.get("host.name").is_none()
        && let Some(name) = attributes.take("hostname")
    {
        attributes.put("host.name", name);
    }
    if attributes.get("opencensus.exporterversion").is_none()
        && let Some(version) = attributes.take("jaeger.version")
    {
        attributes.put_text("opencensus.exporterversion", format!("Jaeger-{}", version.as_text()));
    }
    crate::otlp::resource(&attributes)
}

/// The parent that references name, when the span names none: the first span of this trace that it is a child of, else
/// the first that it follows from.
fn parent_of(trace_id: u128, references: &[Reference]) -> u64 {
    let mut here = references.iter().filter(|reference| reference.trace_id == trace_id);
    let first = |kind| here.clone().find(|reference| reference.kind == kind);
    let parent = first(RefType::ChildOf).or_else(|| here.find(|other| other.kind == RefType::FollowsFrom));
    parent.map_or(0, |reference| reference.span_id)
}

/// Makes what tags and references say of a span whose other fields are there: parent, links, kind and status.
fn complete(span: &mut Span<'_>, references: &[Reference]) {
    if span.parent_id == 0 {
        span.parent_id = parent_of(span.trace_id, references);
    }
    for reference in references {
        let child_of = reference.kind == RefType::ChildOf;
        if child_of && reference.span_id == span.parent_id {
            continue;
        }
        let mut attributes = Attributes::default();
        attributes.put_text("opentracing.ref_type", if child_of { "child_of" } else { "follows_from" });
        let Reference { trace_id, span_id, .. } = *reference;
        span.links.push(Link { trace_id, span_id, attributes, ..Link::default() });
    }
    if let Some(name) = span.attributes.take("span.kind") {
        span.kind = kind_of(name.as_text());
    }
    set_status(span);
    for event in &mut span.events {
        name_event(event);
    }
}

fn name_event(event: &mut Event<'_>) {
    if matches!(event.attributes.get("event"), Some(Value::Text(_)))
        && let Some(Value::Text(name)) = event.attributes.take("event")
    {
        event.name = name;
    }
}

fn kind_of(name: &str) -> u8 {
    match name {
        "client" => kind::CLIENT,
        "server" => kind::SERVER,
        "producer" => kind::PRODUCER,
        "consumer" => kind::CONSUMER,
        "internal" => kind::INTERNAL,
        _ => kind::UNSPECIFIED,
    }
}

/// The tag `error` counts most, then `otel.status_code`, then the HTTP status.
fn set_status(span: &mut Span<'_>) {
    let tags = &mut span.attributes;
    let text = |value: Value<'_>| value.as_text().to_owned();
    let mut found = None;
    if tags.get("error") == Some(&Value::Bool(true)) {
        tags.take("error");
        let message = match tags.take("otel.status_description") {
            Some(message) => text(message),
            None => tags.get("http.status_message").map_or("", Value::as_text).to_owned(),
        };
        found = Some((status::ERROR, message));
    }
    if let Some(code) = tags.take("otel.status_code") {
        if found.is_none() {
            let code = match code.as_text().to_ascii_uppercase().as_str() {
                "OK" => status::OK,
                "ERROR" => status::ERROR,
                _ => status::UNSET,
            };
            found = Some((code, tags.take("otel.status_description").map(text).unwrap_or_default()));
        }
    } else if found.is_none()
        && let Some(code) = tags.get("http.status_code").and_then(Value::as_integer)
        && is_http_error(code, span.kind)
    {
        let message = tags.get("http.status_message").map_or("", Value::as_text).to_owned();
        found = Some((status::ERROR, message));
    }
    if let Some((code, message)) = found {
        span.status = code;
        span.status_message = message.into();
    }
}

/// What a server answers with 4xx is no error of the server.
fn is_http_error(code: i64, kind: u8) -> bool {
    match code {
        400..500 => kind != kind::SERVER,
        100..400 => false,
        _ => true,
    }
}

/// Adds a span of protobuf, or of its JSON form, below the resource of its process.
fn add(
    span: &mut Span<'_>,
    references: &[Reference],
    process: &[u8],
    request: &mut Request,
) -> Result<(), Error> {
    if is_blank(span, references) {
        return Ok(());
    }
    let scope = take_scope(span);
    complete(span, references);
    if let Some(state) = span.attributes.take("w3c.tracestate") {
        span.trace_state = state.as_text().to_owned().into();
    }
    let at = request.resource(process);
    request.span(at, &scope, span)
}

fn take_scope(span: &mut Span<'_>) -> Vec<u8> {
    let Some(name) = span.attributes.take("otel.scope.name") else { return Vec::new() };
    let version = span.attributes.take("otel.scope.version");
    scope(name.as_text(), version.as_ref().map_or("", Value::as_text))
}

/// Whether a client sent a span that says nothing at all; such are passed over.
fn is_blank(span: &Span<'_>, references: &[Reference]) -> bool {
    references.is_empty() && *span == Span::default()
}
