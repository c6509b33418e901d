//! A search, for one whole trace.

use trackway_traceql::ast::Query;

use crate::error::EvalError;
use crate::model::Trace;
use crate::pipeline::{self, Spanset};
use crate::shown::Shown;
use crate::value::Val;
use crate::view::View;

/// What a search says of a trace that it found.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceAnswer {
    /// The trace.
    pub id: u128,
    /// The root span's service; empty without a root.
    pub root_service: String,
    /// The root span's name; empty without a root.
    pub root_name: String,
    /// The earliest start, in Unix nanoseconds.
    pub start: u64,
    /// To the latest end, in nanoseconds.
    pub duration: u64,
    /// `(service, spans, errors)` of all spans of the trace, by service.
    pub services: Vec<(String, u32, u32)>,
    /// Never empty.
    pub spansets: Vec<SpansetAnswer>,
}

/// Spans that a query keeps together.
#[derive(Clone, Debug, PartialEq)]
pub struct SpansetAnswer {
    /// All that matched, by start and id; never empty.
    pub spans: Vec<SpanAnswer>,
    /// What groupings and aggregates say of it, by the text of the stage: `by(name)`, `count()`.
    pub attributes: Vec<(String, Val)>,
}

/// One span.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanAnswer {
    /// The span.
    pub id: u64,
    /// Its name, if the query asks for it.
    pub name: Option<String>,
    /// Unix nanoseconds.
    pub start: u64,
    /// Nanoseconds.
    pub duration: u64,
    /// What the query names, by bare key.
    pub attributes: Vec<(String, Val)>,
}

/// What a query finds in a trace; nothing when it finds nothing. Of a metrics query only what selects the spans is
/// looked at, and no time is: that the trace lies in the range asked for is for the caller to see.
///
/// # Errors
/// [`EvalError`] when the query cannot be computed for this trace.
pub fn search(query: &Query, trace: &Trace) -> Result<Option<TraceAnswer>, EvalError> {
    let view = View::new(trace);
    let found = pipeline::run(&query.root, &view)?;
    if found.is_empty() {
        return Ok(None);
    }
    let shown = Shown::new(&query.root);
    let spansets: Result<_, EvalError> = found.iter().map(|set| spanset(set, &shown, &view)).collect();
    Ok(Some(TraceAnswer {
        id: trace.id,
        root_service: view.root.map(|root| root.resource.service.clone()).unwrap_or_default(),
        root_name: view.root.map(|root| root.name.clone()).unwrap_or_default(),
        start: view.start,
        duration: view.duration,
        services: services(trace),
        spansets: spansets?,
    }))
}

fn spanset(set: &Spanset, shown: &Shown<'_>, view: &View<'_>) -> Result<SpansetAnswer, EvalError> {
    let answer = |at: &usize| {
        let span = view.span(*at);
        Ok(SpanAnswer {
            id: span.id,
            name: shown.name(view, *at)?,
            start: span.start,
            duration: span.duration(),
            attributes: shown.attributes(view, *at)?,
        })
    };
    let spans: Result<_, EvalError> = set.spans.iter().map(answer).collect();
    Ok(SpansetAnswer { spans: spans?, attributes: set.attributes.clone() })
}

fn services(trace: &Trace) -> Vec<(String, u32, u32)> {
    let mut services: Vec<(String, u32, u32)> = Vec::new();
    for span in &trace.spans {
        let service = &span.resource.service;
        let error = u32::from(span.status == 2);
        match services.iter_mut().find(|(name, ..)| name == service) {
            Some((_, spans, errors)) => {
                *spans += 1;
                *errors += error;
            }
            None => services.push((service.clone(), 1, error)),
        }
    }
    services.sort();
    services
}
