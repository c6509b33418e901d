//! What a field has for a span: none, one or many values.
//!
//! Many come from a key that stands several times and from several events or links. A comparison with a literal asks
//! all of them; whatever needs one value takes the first.

use trackway_traceql::ast::{Field, Intrinsic, Scope};

use crate::model::{Attributes, Event, Link, Value};
use crate::value::Val;
use crate::view::View;

/// All values of a field, nil not among them.
pub(crate) fn values(field: &Field, view: &View<'_>, at: usize) -> Vec<Val> {
    match field {
        Field::Attribute { scope, name } => attribute(*scope, name, view, at),
        Field::Intrinsic { intrinsic, .. } => intrinsic_values(*intrinsic, view, at),
        Field::Parent { .. } => Vec::new(),
    }
}

/// The first value of a field, or nil.
pub(crate) fn first(field: &Field, view: &View<'_>, at: usize) -> Val {
    values(field, view, at).into_iter().next().unwrap_or(Val::Nil)
}

/// Whether `field = nil` holds. Of events and links one without the attribute is enough, and one there must be;
/// otherwise no value may be there.
pub(crate) fn is_nil(field: &Field, view: &View<'_>, at: usize) -> bool {
    let span = view.span(at);
    match field {
        Field::Attribute { scope: Scope::Event, name } => {
            span.events.iter().any(|event| of(&event.attributes, name).is_empty())
        }
        Field::Attribute { scope: Scope::Link, name } => {
            span.links.iter().any(|link| of(&link.attributes, name).is_empty())
        }
        _ => values(field, view, at).is_empty(),
    }
}

fn attribute(scope: Scope, name: &str, view: &View<'_>, at: usize) -> Vec<Val> {
    let span = view.span(at);
    match scope {
        Scope::Span => of(&span.attributes, name),
        // Stands in its own column, for every resource.
        Scope::Resource if name == "service.name" => vec![Val::Text(span.resource.service.clone())],
        Scope::Resource => of(&span.resource.attributes, name),
        Scope::Event => span.events.iter().flat_map(|event| of(&event.attributes, name)).collect(),
        Scope::Link => span.links.iter().flat_map(|link| of(&link.attributes, name)).collect(),
        Scope::Instrumentation => of(&span.scope.attributes, name),
        // The first scope that has the attribute hides those behind it, and its first value the other ones.
        Scope::None => {
            let in_scope = |scope: &Scope| attribute(*scope, name, view, at).into_iter().next();
            let order = [Scope::Span, Scope::Resource, Scope::Event, Scope::Link, Scope::Instrumentation];
            order.iter().find_map(in_scope).into_iter().collect()
        }
    }
}

/// The values under a key: texts first, then whole numbers, floating-point numbers, booleans and arrays, each type in
/// the order sent.
///
/// CHOICE: it is the order in which columns by type hold them. The recordings only show texts, then a number.
fn of(attributes: &Attributes, name: &str) -> Vec<Val> {
    let under_name = attributes.iter().filter(|(key, _)| key == name);
    let mut values: Vec<(u8, Val)> =
        under_name.map(|(_, value)| (place_of_type(value), Val::of_attribute(value))).collect();
    values.sort_by_key(|(place, _)| *place);
    values.into_iter().map(|(_, value)| value).filter(|value| *value != Val::Nil).collect()
}

fn place_of_type(value: &Value) -> u8 {
    match value {
        Value::Text(_) => 0,
        Value::Int(_) => 1,
        Value::Float(_) => 2,
        Value::Bool(_) => 3,
        _ => 4,
    }
}

fn intrinsic_values(intrinsic: Intrinsic, view: &View<'_>, at: usize) -> Vec<Val> {
    let span = view.span(at);
    let text = |text: &str| Val::Text(text.to_owned());
    let of_root = |text: Option<&String>| Val::Text(text.cloned().unwrap_or_default());
    let one = match intrinsic {
        Intrinsic::Duration => Val::Duration(span.duration().cast_signed()),
        Intrinsic::Name => text(&span.name),
        Intrinsic::Status => Val::Status(span.status),
        Intrinsic::StatusMessage => text(&span.status_message),
        Intrinsic::Kind => Val::Kind(span.kind),
        Intrinsic::SpanId => Val::Text(format!("{:016x}", span.id)),
        Intrinsic::ParentId if span.parent == 0 => text(""),
        Intrinsic::ParentId => Val::Text(format!("{:016x}", span.parent)),
        Intrinsic::ChildCount => Val::Int(view.children[at]),
        Intrinsic::TraceRootName => of_root(view.root.map(|root| &root.name)),
        Intrinsic::TraceRootService => of_root(view.root.map(|root| &root.resource.service)),
        Intrinsic::TraceDuration => Val::Duration(view.duration.cast_signed()),
        Intrinsic::TraceId => Val::Text(format!("{:x}", view.trace.id)),
        Intrinsic::NestedSetLeft => Val::Int(view.sets[at].left),
        Intrinsic::NestedSetRight => Val::Int(view.sets[at].right),
        Intrinsic::NestedSetParent => Val::Int(view.sets[at].parent),
        Intrinsic::InstrumentationName => text(&span.scope.name),
        Intrinsic::InstrumentationVersion => text(&span.scope.version),
        Intrinsic::EventName => return of_events(&span.events, |event| text(&event.name)),
        Intrinsic::EventTimeSinceStart => {
            let since = |event: &Event| Val::Duration(event.time.wrapping_sub(span.start).cast_signed());
            return of_events(&span.events, since);
        }
        Intrinsic::LinkTraceId => return of_links(&span.links, |link| hex(&link.trace_id)),
        Intrinsic::LinkSpanId => return of_links(&span.links, |link| hex(&link.span_id)),
        Intrinsic::Parent => return Vec::new(),
    };
    vec![one]
}

fn of_events(events: &[Event], value: impl Fn(&Event) -> Val) -> Vec<Val> {
    events.iter().map(value).collect()
}

fn of_links(links: &[Link], value: impl Fn(&Link) -> Val) -> Vec<Val> {
    links.iter().map(value).collect()
}

fn hex(bytes: &[u8]) -> Val {
    Val::Text(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
