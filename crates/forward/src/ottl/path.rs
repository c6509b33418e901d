//! Paths of a condition, `attributes["x"]`, `resource.attributes["x"]`, `status.code`: resolved when it is read.

use super::parse::Key;
use super::value::Value;
use super::{About, Subject};

use trackway_proto::common::KeyValue;
use trackway_proto::common::any_value;
use trackway_proto::trace::span::SpanKind;

/// Something of a span and where it comes from.
#[derive(Debug)]
pub(super) struct Path {
    field: Field,
    keys: Vec<Key>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    ResourceAttributes,
    ResourceDropped,
    ScopeName,
    ScopeVersion,
    ScopeAttributes,
    ScopeDropped,
    TraceId,
    TraceIdText,
    SpanId,
    SpanIdText,
    ParentSpanId,
    ParentSpanIdText,
    TraceState,
    SpanName,
    Kind,
    KindText,
    KindName,
    Start,
    End,
    SpanAttributes,
    SpanDroppedAttributes,
    DroppedEvents,
    DroppedLinks,
    Status,
    StatusMessage,
    EventName,
    EventTime,
    EventAttributes,
    EventDropped,
    EventIndex,
}

/// What a span has.
const SPAN: [(&str, Field); 22] = [
    ("trace_id", Field::TraceId),
    ("trace_id.string", Field::TraceIdText),
    ("span_id", Field::SpanId),
    ("span_id.string", Field::SpanIdText),
    ("parent_span_id", Field::ParentSpanId),
    ("parent_span_id.string", Field::ParentSpanIdText),
    ("trace_state", Field::TraceState),
    ("name", Field::SpanName),
    ("kind", Field::Kind),
    ("kind.string", Field::KindText),
    ("kind.deprecated_string", Field::KindName),
    ("start_time_unix_nano", Field::Start),
    ("end_time_unix_nano", Field::End),
    ("attributes", Field::SpanAttributes),
    ("dropped_attributes_count", Field::SpanDroppedAttributes),
    ("dropped_events_count", Field::DroppedEvents),
    ("dropped_links_count", Field::DroppedLinks),
    ("status", Field::Status),
    ("status.code", Field::Status),
    ("status.message", Field::StatusMessage),
    ("parent_span_id.bytes", Field::ParentSpanId),
    ("trace_id.bytes", Field::TraceId),
];

/// What an event has.
const EVENT: [(&str, Field); 5] = [
    ("name", Field::EventName),
    ("time_unix_nano", Field::EventTime),
    ("attributes", Field::EventAttributes),
    ("dropped_attributes_count", Field::EventDropped),
    ("event_index", Field::EventIndex),
];

/// What goes for both.
const AROUND: [(&str, Field); 10] = [
    ("resource.attributes", Field::ResourceAttributes),
    ("resource.dropped_attributes_count", Field::ResourceDropped),
    ("instrumentation_scope.name", Field::ScopeName),
    ("instrumentation_scope.version", Field::ScopeVersion),
    ("instrumentation_scope.attributes", Field::ScopeAttributes),
    ("instrumentation_scope.dropped_attributes_count", Field::ScopeDropped),
    ("scope.name", Field::ScopeName),
    ("scope.version", Field::ScopeVersion),
    ("scope.attributes", Field::ScopeAttributes),
    ("scope.dropped_attributes_count", Field::ScopeDropped),
];

/// Finds out what a path means; `Err` says what there is.
pub(super) fn resolve(steps: &[(String, Vec<Key>)], about: About) -> Result<Path, String> {
    let whole = steps.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(".");
    let (last, before) = steps.split_last().ok_or("a path is missing")?;
    if let Some((name, _)) = before.iter().find(|(_, keys)| !keys.is_empty()) {
        return Err(format!("{whole}: nothing can follow the brackets of {name}"));
    }
    let find = |name: &str, table: &[(&str, Field)]| {
        table.iter().find(|(known, _)| *known == name).map(|(_, field)| *field)
    };
    let around = find(&whole, &AROUND);
    let field = around.or_else(|| match about {
        About::Span => find(whole.strip_prefix("span.").unwrap_or(&whole), &SPAN),
        About::SpanEvent => match whole.strip_prefix("span.") {
            Some(of_span) => find(of_span, &SPAN),
            None => find(whole.strip_prefix("spanevent.").unwrap_or(&whole), &EVENT),
        },
    });
    let Some(field) = field else {
        let own: &[(&str, Field)] = if about == About::Span { &SPAN } else { &EVENT };
        let mut known: Vec<&str> = own.iter().chain(&AROUND).map(|(name, _)| *name).collect();
        if about == About::SpanEvent {
            known.push("span. and what a span has");
        }
        return Err(format!("{whole} is not known; there are {}", known.join(", ")));
    };
    let is_map = matches!(
        field,
        Field::ResourceAttributes | Field::ScopeAttributes | Field::SpanAttributes | Field::EventAttributes
    );
    match last.1.first() {
        Some(Key::Place(_)) => Err(format!("{whole} has names in brackets, such as {whole}[\"name\"]")),
        Some(Key::Name(_)) if !is_map && field != Field::TraceState => {
            Err(format!("{whole} has no parts in brackets"))
        }
        Some(_) if field == Field::TraceState && last.1.len() > 1 => {
            Err(format!("{whole} has one name in brackets"))
        }
        _ => Ok(Path { field, keys: last.1.clone() }),
    }
}

impl Path {
    /// Its value; nil for what is not there.
    pub(super) fn value<'a>(&'a self, subject: &Subject<'a>) -> Value<'a> {
        let (span, event) = (subject.span, subject.event);
        let status = span.status.as_ref();
        match self.field {
            Field::ResourceAttributes => self.attribute(&subject.resource.attributes),
            Field::ResourceDropped => Value::Int(subject.resource.dropped_attributes_count.into()),
            Field::ScopeName => Value::text(&subject.scope.name),
            Field::ScopeVersion => Value::text(&subject.scope.version),
            Field::ScopeAttributes => self.attribute(&subject.scope.attributes),
            Field::ScopeDropped => Value::Int(subject.scope.dropped_attributes_count.into()),
            Field::TraceId => Value::bytes(&span.trace_id),
            Field::TraceIdText => hex(&span.trace_id),
            Field::SpanId => Value::bytes(&span.span_id),
            Field::SpanIdText => hex(&span.span_id),
            // A root's parent is all zeroes in the Collector.
            Field::ParentSpanId if span.parent_span_id.is_empty() => Value::bytes(&[0; 8]),
            Field::ParentSpanId => Value::bytes(&span.parent_span_id),
            Field::ParentSpanIdText if span.parent_span_id.iter().all(|byte| *byte == 0) => Value::text(""),
            Field::ParentSpanIdText => hex(&span.parent_span_id),
            Field::TraceState => self.trace_state(&span.trace_state),
            Field::SpanName => Value::text(&span.name),
            Field::Kind => Value::Int(span.kind.into()),
            Field::KindText => Value::text(kind(span.kind)),
            Field::KindName => Value::text(SpanKind::try_from(span.kind).unwrap_or_default().as_str_name()),
            Field::Start => time(span.start_time_unix_nano),
            Field::End => time(span.end_time_unix_nano),
            Field::SpanAttributes => self.attribute(&span.attributes),
            Field::SpanDroppedAttributes => Value::Int(span.dropped_attributes_count.into()),
            Field::DroppedEvents => Value::Int(span.dropped_events_count.into()),
            Field::DroppedLinks => Value::Int(span.dropped_links_count.into()),
            Field::Status => Value::Int(status.map_or(0, |status| status.code.into())),
            Field::StatusMessage => Value::text(status.map_or("", |status| &status.message)),
            Field::EventName => event.map_or(Value::Nil, |(_, event)| Value::text(&event.name)),
            Field::EventTime => event.map_or(Value::Nil, |(_, event)| time(event.time_unix_nano)),
            Field::EventAttributes => {
                event.map_or(Value::Nil, |(_, event)| self.attribute(&event.attributes))
            }
            Field::EventDropped => {
                event.map_or(Value::Nil, |(_, event)| Value::Int(event.dropped_attributes_count.into()))
            }
            Field::EventIndex => {
                event.map_or(Value::Nil, |(place, _)| i64::try_from(place).map_or(Value::Nil, Value::Int))
            }
        }
    }

    /// What the keys lead to in a map.
    fn attribute<'a>(&self, attributes: &'a [KeyValue]) -> Value<'a> {
        let named = |map: &'a [KeyValue], name: &str| map.iter().find(|pair| pair.key == *name);
        let Some((first, rest)) = self.keys.split_first() else { return Value::Map(attributes) };
        let Key::Name(first) = first else { return Value::Nil };
        let mut found = named(attributes, first).and_then(|pair| pair.value.as_ref());
        for key in rest {
            let inner = found.and_then(|value| value.value.as_ref());
            found = match (inner, key) {
                (Some(any_value::Value::KvlistValue(map)), Key::Name(name)) => {
                    named(&map.values, name).and_then(|pair| pair.value.as_ref())
                }
                (Some(any_value::Value::ArrayValue(list)), Key::Place(place)) => list.values.get(*place),
                _ => return Value::Nil,
            };
        }
        Value::of(found)
    }

    /// A member of `a=1,b=2`, or all of it.
    fn trace_state<'a>(&self, state: &'a str) -> Value<'a> {
        let Some(Key::Name(wanted)) = self.keys.first() else { return Value::text(state) };
        let pairs = state.split(',').filter_map(|pair| pair.split_once('='));
        let mut found = pairs.filter(|(name, _)| name.trim() == wanted).map(|(_, value)| value.trim());
        found.next().map_or(Value::Nil, Value::text)
    }
}

/// As the Collector writes kinds.
fn kind(kind: i32) -> &'static str {
    match kind {
        0 => "Unspecified",
        1 => "Internal",
        2 => "Server",
        3 => "Client",
        4 => "Producer",
        5 => "Consumer",
        _ => "",
    }
}

fn time(nanos: u64) -> Value<'static> {
    Value::Int(i64::try_from(nanos).unwrap_or(i64::MAX))
}

fn hex(bytes: &[u8]) -> Value<'static> {
    Value::Text(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into())
}
