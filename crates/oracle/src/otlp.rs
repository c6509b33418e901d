//! Between OTLP requests and the model.
//!
//! On the way in everything is dropped that a vParquet4 block does not hold or no query sees: flags, counts of dropped
//! attributes, schema URLs, the trace states of links. Long texts are cut. A span with an impossible id is refused alone.

use std::collections::BTreeMap;

use trackway_proto::collector::ExportTraceServiceRequest;
use trackway_proto::common::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList, any_value};
use trackway_proto::{resource, trace};

use crate::model::{Attributes, Event, Link, Resource, Scope, Span, Trace, Value};

/// The longest key or text of an attribute, in bytes; longer ones are cut, as Tempo and Trackway do unless told otherwise.
pub const ATTRIBUTE_BYTES_MAX: usize = 2048;

/// The traces of some requests, ordered by id. Spans of one trace are gathered from all of them.
#[must_use]
pub fn from_requests(requests: &[ExportTraceServiceRequest]) -> Vec<Trace> {
    let mut traces: BTreeMap<u128, Trace> = BTreeMap::new();
    for of_resource in requests.iter().flat_map(|request| &request.resource_spans) {
        let resource = resource_in(of_resource.resource.as_ref());
        for of_scope in &of_resource.scope_spans {
            let scope = scope_in(of_scope.scope.as_ref());
            for sent in &of_scope.spans {
                if let Some((id, span)) = span_in(sent, &resource, &scope) {
                    traces.entry(id).or_insert(Trace { id, spans: Vec::new() }).spans.push(span);
                }
            }
        }
    }
    let mut traces: Vec<Trace> = traces.into_values().collect();
    traces.iter_mut().for_each(Trace::normalize);
    traces
}

fn resource_in(sent: Option<&resource::Resource>) -> Resource {
    let mut resource = Resource::default();
    for (key, value) in sent.map(|sent| attributes_in(&sent.attributes)).unwrap_or_default() {
        match value {
            Value::Text(name) if key == "service.name" => resource.service = name,
            value => resource.attributes.push((key, value)),
        }
    }
    resource
}

fn scope_in(sent: Option<&InstrumentationScope>) -> Scope {
    sent.map_or_else(Scope::default, |sent| Scope {
        name: sent.name.clone(),
        version: sent.version.clone(),
        attributes: attributes_in(&sent.attributes),
    })
}

/// The trace id and the span; nothing when an id is impossible.
fn span_in(sent: &trace::Span, resource: &Resource, scope: &Scope) -> Option<(u128, Span)> {
    let trace_id = u128::from_be_bytes(sent.trace_id.as_ref().try_into().ok()?);
    let id = span_id(&sent.span_id)?;
    let parent = if sent.parent_span_id.is_empty() { 0 } else { span_id(&sent.parent_span_id)? };
    let status = sent.status.clone().unwrap_or_default();
    if trace_id == 0 || id == 0 {
        return None;
    }
    let span = Span {
        id,
        parent,
        name: sent.name.clone(),
        kind: u8::try_from(sent.kind).ok()?,
        status: u8::try_from(status.code).ok()?,
        status_message: status.message,
        trace_state: sent.trace_state.clone(),
        start: sent.start_time_unix_nano,
        end: sent.end_time_unix_nano,
        attributes: attributes_in(&sent.attributes),
        resource: resource.clone(),
        scope: scope.clone(),
        events: sent.events.iter().map(event_in).collect(),
        links: sent.links.iter().map(link_in).collect(),
    };
    Some((trace_id, span))
}

fn span_id(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

fn event_in(sent: &trace::span::Event) -> Event {
    let attributes = attributes_in(&sent.attributes);
    Event { time: sent.time_unix_nano, name: sent.name.clone(), attributes }
}

fn link_in(sent: &trace::span::Link) -> Link {
    Link {
        trace_id: sent.trace_id.clone().into(),
        span_id: sent.span_id.clone().into(),
        attributes: attributes_in(&sent.attributes),
    }
}

fn attributes_in(sent: &[KeyValue]) -> Attributes {
    let value = |pair: &KeyValue| match value_in(pair.value.as_ref()) {
        Value::Text(text) => Value::Text(cut(&text)), // texts inside of arrays stay as they are
        value => value,
    };
    sent.iter().map(|pair| (cut(&pair.key), value(pair))).collect()
}

/// The cut may go through a character, of which a replacement character is left.
fn cut(text: &str) -> String {
    text.as_bytes()
        .get(..ATTRIBUTE_BYTES_MAX)
        .map_or_else(|| text.to_owned(), |cut| String::from_utf8_lossy(cut).into_owned())
}

fn value_in(sent: Option<&AnyValue>) -> Value {
    match sent.and_then(|any| any.value.as_ref()) {
        None => Value::Empty,
        Some(any_value::Value::StringValue(text)) => Value::Text(text.clone()),
        Some(any_value::Value::BoolValue(value)) => Value::Bool(*value),
        Some(any_value::Value::IntValue(value)) => Value::Int(*value),
        Some(any_value::Value::DoubleValue(value)) => Value::Float(*value),
        Some(any_value::Value::ArrayValue(list)) => {
            Value::Array(list.values.iter().map(|value| value_in(Some(value))).collect())
        }
        Some(any_value::Value::KvlistValue(list)) => Value::Map(attributes_in(&list.values)),
        Some(any_value::Value::BytesValue(bytes)) => Value::Bytes(bytes.to_vec()),
    }
}

/// A request for each trace. Spans next to each other with the same resource and scope share them.
#[must_use]
pub fn to_requests(traces: &[Trace]) -> Vec<ExportTraceServiceRequest> {
    traces.iter().map(request_out).collect()
}

fn request_out(of: &Trace) -> ExportTraceServiceRequest {
    let together = |a: &Span, b: &Span| a.resource == b.resource && a.scope == b.scope;
    let mut request = ExportTraceServiceRequest::default();
    for spans in of.spans.chunk_by(together) {
        let Some(first) = spans.first() else { continue };
        let scope_spans = trace::ScopeSpans {
            scope: Some(scope_out(&first.scope)),
            spans: spans.iter().map(|span| span_out(of.id, span)).collect(),
            ..Default::default()
        };
        request.resource_spans.push(trace::ResourceSpans {
            resource: Some(resource_out(&first.resource)),
            scope_spans: vec![scope_spans],
            ..Default::default()
        });
    }
    request
}

fn resource_out(of: &Resource) -> resource::Resource {
    let mut attributes = attributes_out(&of.attributes);
    // An empty service name and none are the same to every query; it is left out to have that case too.
    if !of.service.is_empty() {
        attributes.extend(attributes_out(&[("service.name".to_owned(), Value::Text(of.service.clone()))]));
    }
    resource::Resource { attributes, ..Default::default() }
}

fn scope_out(of: &Scope) -> InstrumentationScope {
    InstrumentationScope {
        name: of.name.clone(),
        version: of.version.clone(),
        attributes: attributes_out(&of.attributes),
        ..Default::default()
    }
}

fn span_out(trace_id: u128, of: &Span) -> trace::Span {
    let parent = if of.parent == 0 { Vec::new() } else { of.parent.to_be_bytes().to_vec() };
    trace::Span {
        trace_id: trace_id.to_be_bytes().to_vec().into(),
        span_id: of.id.to_be_bytes().to_vec().into(),
        trace_state: of.trace_state.clone(),
        parent_span_id: parent.into(),
        name: of.name.clone(),
        kind: of.kind.into(),
        start_time_unix_nano: of.start,
        end_time_unix_nano: of.end,
        attributes: attributes_out(&of.attributes),
        events: of.events.iter().map(event_out).collect(),
        links: of.links.iter().map(link_out).collect(),
        status: Some(trace::Status { message: of.status_message.clone(), code: of.status.into() }),
        ..Default::default()
    }
}

fn event_out(of: &Event) -> trace::span::Event {
    let attributes = attributes_out(&of.attributes);
    trace::span::Event { time_unix_nano: of.time, name: of.name.clone(), attributes, ..Default::default() }
}

fn link_out(of: &Link) -> trace::span::Link {
    trace::span::Link {
        trace_id: of.trace_id.clone().into(),
        span_id: of.span_id.clone().into(),
        attributes: attributes_out(&of.attributes),
        ..Default::default()
    }
}

fn attributes_out(of: &[(String, Value)]) -> Vec<KeyValue> {
    of.iter().map(|(key, value)| KeyValue { key: key.clone(), value: Some(value_out(value)) }).collect()
}

fn value_out(of: &Value) -> AnyValue {
    let value = match of {
        Value::Empty => None,
        Value::Text(text) => Some(any_value::Value::StringValue(text.clone())),
        Value::Int(value) => Some(any_value::Value::IntValue(*value)),
        Value::Float(value) => Some(any_value::Value::DoubleValue(*value)),
        Value::Bool(value) => Some(any_value::Value::BoolValue(*value)),
        Value::Array(list) => {
            let values = list.iter().map(value_out).collect();
            Some(any_value::Value::ArrayValue(ArrayValue { values }))
        }
        Value::Map(list) => {
            Some(any_value::Value::KvlistValue(KeyValueList { values: attributes_out(list) }))
        }
        Value::Bytes(bytes) => Some(any_value::Value::BytesValue(bytes.clone().into())),
    };
    AnyValue { value }
}
