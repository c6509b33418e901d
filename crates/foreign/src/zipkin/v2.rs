//! A span of Zipkin v2, whichever way it was written, and what becomes of it.

use std::borrow::Cow;

use trackway_otlpjson::Fail;
use trackway_otlpjson::scan::Reader;

use crate::attributes::{Attributes, Value};
use crate::otlp::{Event, Link, Request, Span, kind, resource, scope, status};
use crate::room::{ATTRIBUTE, Room};
use crate::{Error, MAX_JSON_DEPTH, MAX_LINKS, Options};

use super::names::is_of_resource;
use super::{Endpoint, NO_TIME, nanos, value};

/// The service name that a Collector writes for a resource that has none.
const NO_SERVICE: &str = "OTLPResourceNoServiceName";

/// A span as it came.
#[derive(Debug, Default)]
pub(super) struct V2Span<'a> {
    pub(super) trace_id: u128,
    pub(super) span_id: u64,
    pub(super) parent_id: u64,
    pub(super) name: Cow<'a, str>,
    /// In OTLP's numbers.
    pub(super) kind: u8,
    /// Unix time in microseconds; 0 for none.
    pub(super) timestamp: i64,
    /// In microseconds.
    pub(super) duration: i64,
    pub(super) local: Endpoint<'a>,
    pub(super) remote: Endpoint<'a>,
    pub(super) annotations: Vec<(i64, Cow<'a, str>)>,
    pub(super) tags: Attributes<'a>,
}

/// Adds a span to the request.
pub(super) fn add<'a>(from: V2Span<'a>, request: &mut Request, options: &Options) -> Result<(), Error> {
    let V2Span { mut tags, local, remote, .. } = from;
    let mut span = Span {
        trace_id: from.trace_id,
        span_id: from.span_id,
        // What names itself as its parent is a root.
        parent_id: if from.parent_id == from.span_id { 0 } else { from.parent_id },
        name: from.name,
        ..Span::default()
    };
    let resource = take_resource(&mut tags, &local);
    let scope = take_scope(&mut tags);
    span.trace_state = take_text(&mut tags, "w3c.tracestate").unwrap_or_default();
    span.kind = match from.kind {
        kind::UNSPECIFIED => {
            let internal = take_text(&mut tags, "span.kind").is_some_and(|name| name == "internal");
            if internal { kind::INTERNAL } else { kind::UNSPECIFIED }
        }
        known => known,
    };
    set_status(&mut span, &mut tags);
    let room = request.room();
    span.links = take_links(&mut tags, room);
    let into = &mut span.attributes;
    if options.parse_string_tags {
        tags.take_all(
            |_| true,
            |key, tag| {
                let tag = if let Value::Text(text) = tag { value(text, true) } else { tag };
                into.put(key, tag);
            },
        );
    } else {
        *into = tags;
    }
    add_endpoints(into, local, remote);
    span.start = nanos(from.timestamp);
    span.end = nanos(from.timestamp.saturating_add(from.duration));
    if from.timestamp == 0 {
        into.put(NO_TIME, Value::Bool(true));
    }
    span.events = from.annotations.into_iter().map(|(time, text)| event(time, text, room)).collect();
    let at = request.resource(&resource);
    request.span(at, &scope, &span)
}

fn take_text<'a>(tags: &mut Attributes<'a>, key: &str) -> Option<Cow<'a, str>> {
    match tags.take(key)? {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

/// The body of the resource, with the tags that belong to it.
fn take_resource(tags: &mut Attributes<'_>, local: &Endpoint<'_>) -> Vec<u8> {
    let mut attributes = Attributes::default();
    let source = take_text(tags, "otlp.service.name.source").filter(|source| !source.is_empty());
    if !local.service.is_empty() && local.service != NO_SERVICE {
        let key = source.unwrap_or(Cow::Borrowed("service.name"));
        attributes.put(key, Value::Text(local.service.as_ref().into()));
    }
    tags.take_all(is_of_resource, |key, value| attributes.put(key, value));
    resource(&attributes)
}

/// The body of the scope, which is what tags call a library.
fn take_scope(tags: &mut Attributes<'_>) -> Vec<u8> {
    let mut take = |old: &str, new: &str| {
        let (old, new) = (take_text(tags, old), take_text(tags, new));
        new.or(old).unwrap_or_default()
    };
    let name = take("otel.library.name", "otel.scope.name");
    let version = take("otel.library.version", "otel.scope.version");
    scope(&name, &version)
}

fn set_status<'a>(span: &mut Span<'a>, tags: &mut Attributes<'a>) {
    if let Some(code) = take_text(tags, "otel.status_code") {
        span.status = match code.as_ref() {
            "STATUS_CODE_OK" | "OK" => status::OK,
            "STATUS_CODE_ERROR" | "ERROR" => status::ERROR,
            _ => status::UNSET,
        };
        span.status_message = take_text(tags, "otel.status_description").unwrap_or_default();
    }
    // Any other text says what went wrong, and stays to be read.
    if tags.get("error").is_some_and(|error| error.as_text() == "true") {
        tags.take("error");
        span.status = status::ERROR;
    }
}

fn add_endpoints<'a>(into: &mut Attributes<'a>, local: Endpoint<'a>, remote: Endpoint<'a>) {
    if !remote.service.is_empty() {
        into.put_text("peer.service", remote.service);
    }
    for (ip, port, ipv4, ipv6, number) in [
        ("net.host.ip", "net.host.port", local.ipv4, local.ipv6, local.port),
        ("net.peer.ip", "net.peer.port", remote.ipv4, remote.ipv6, remote.port),
    ] {
        for address in [ipv4, ipv6] {
            if !address.is_empty() {
                into.put_text(ip, address);
            }
        }
        if number > 0 {
            into.put(port, Value::Int(i64::from(number)));
        }
    }
}

/// The links that a Collector wrote as tags: `otlp.link.0` and so on, `trace|span|state|{attributes}|dropped`. What is
/// not written so stays a tag.
fn take_links<'a>(tags: &mut Attributes<'a>, room: &Room) -> Vec<Link<'a>> {
    let mut links = Vec::new();
    for number in 0..MAX_LINKS {
        let key = format!("otlp.link.{number}");
        let Some(Value::Text(text)) = tags.get(&key) else { break };
        let Some(link) = link(text, room) else { continue };
        links.push(link);
        tags.take(&key);
    }
    links
}

fn link(text: &str, room: &Room) -> Option<Link<'static>> {
    let mut parts = text.splitn(4, '|');
    let (trace, span, state) = (parts.next()?, parts.next()?, parts.next()?);
    let (attributes, dropped) = parts.next()?.rsplit_once('|')?;
    Some(Link {
        trace_id: super::trace_id(trace).ok()?,
        span_id: super::span_id(span).ok()?,
        trace_state: Cow::Owned(state.to_owned()),
        attributes: json_attributes(attributes, room)?,
        dropped_attributes: dropped.parse().ok()?,
    })
}

/// An annotation; a Collector writes events as `name|{attributes}|dropped`.
fn event<'a>(micros: i64, text: Cow<'a, str>, room: &Room) -> Event<'a> {
    let time = nanos(micros);
    match parts_of_event(&text, room) {
        Some(event) => Event { time, ..event },
        None => Event { time, name: text, ..Event::default() },
    }
}

fn parts_of_event(text: &str, room: &Room) -> Option<Event<'static>> {
    let (name, rest) = text.split_once('|')?;
    let (attributes, dropped) = rest.rsplit_once('|')?;
    Some(Event {
        name: Cow::Owned(name.to_owned()),
        attributes: json_attributes(attributes, room)?,
        dropped_attributes: dropped.parse().ok()?,
        ..Event::default()
    })
}

/// An object of texts, numbers and booleans; other values are left out, as in the Collector.
fn json_attributes(text: &str, room: &Room) -> Option<Attributes<'static>> {
    let mut attributes = Attributes::default();
    let mut reader = Reader::new(text, MAX_JSON_DEPTH);
    let read = reader.entries(|reader, key| {
        room.take(ATTRIBUTE)?;
        let key = key.into_owned();
        match reader.peek()? {
            b'"' => attributes.put(key, Value::Text(reader.text("a text")?.into_owned().into())),
            b't' | b'f' => attributes.put(key, Value::Bool(reader.boolean()?)),
            b'-' | b'0'..=b'9' => {
                let at = reader.at();
                let text = reader.number_text("a number")?;
                attributes.put(key, number(&text).ok_or_else(|| Fail::value(at, "no number"))?);
            }
            _ => reader.skip()?,
        }
        Ok(())
    });
    read.and_then(|()| reader.finish()).ok().map(|()| attributes)
}

fn number(text: &str) -> Option<Value<'static>> {
    if let Ok(value) = text.parse() {
        return Some(Value::Int(value));
    }
    text.parse().ok().map(Value::Double)
}
