//! What a search finds.

use std::borrow::Cow;

use trackway_common::TraceId;

/// A trace that matched.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TraceResult {
    /// Its id.
    pub id: TraceId,
    /// Service of its root span; empty when there is no root or the root names none.
    pub root_service: String,
    /// Name of its root span; `None` when there is no root.
    pub root_name: Option<String>,
    /// Earliest start, Unix nanoseconds.
    pub start: u64,
    /// Latest end minus earliest start, nanoseconds.
    pub duration: u64,
    /// Spans that matched. Empty for a search by tags.
    pub spansets: Vec<SpansetResult>,
    /// `(service, spans, errors)`. Empty for a search by tags.
    pub service_stats: Vec<(String, u32, u32)>,
}

/// Spans of one trace that matched together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SpansetResult {
    /// The spans shown, at most as many as were asked for.
    pub spans: Vec<SpanResult>,
    /// How many matched.
    pub matched: u32,
    /// Attributes of the spanset: `by(…)`, `count()`.
    pub attributes: Vec<(String, AttributeValue)>,
}

/// A span that matched.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SpanResult {
    /// Its id.
    pub id: u64,
    /// Its name, when the query names it.
    pub name: String,
    /// Unix nanoseconds.
    pub start: u64,
    /// Nanoseconds.
    pub duration: u64,
    /// What the query names, by bare key.
    pub attributes: Vec<(String, AttributeValue)>,
}

/// A value in an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum AttributeValue {
    /// Text; also statuses, kinds and ids.
    String(String),
    /// Integer.
    Int(i64),
    /// Floating-point number.
    Float(f64),
    /// Boolean.
    Bool(bool),
    /// Array of scalars.
    Array(Vec<Self>),
}

/// TraceQL's word for a status.
pub(crate) fn status_name(code: u8) -> Cow<'static, str> {
    named("status", &["unset", "ok", "error"], code)
}

/// TraceQL's word for a kind.
pub(crate) fn kind_name(code: u8) -> Cow<'static, str> {
    named("kind", &["unspecified", "internal", "server", "client", "producer", "consumer"], code)
}

/// Numbers that OTLP does not know are shown as numbers.
fn named(what: &str, names: &[&'static str], code: u8) -> Cow<'static, str> {
    match names.get(usize::from(code)) {
        Some(name) => Cow::Borrowed(name),
        None => Cow::Owned(format!("{what}({code})")),
    }
}
