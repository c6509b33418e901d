//! Conditions in the OpenTelemetry Transformation Language, as the Collector's filter processor takes them:
//! `attributes["http.route"] == "/health" and kind == SPAN_KIND_SERVER`.
//!
//! What must stay true: a condition that is taken is judged as the Collector judges it, and what is not known here is
//! refused by name when it is read. A condition that cannot be judged for a span is not met, as with
//! `error_mode: ignore`. Length and depth are bounded.

mod call;
mod eval;
mod lex;
mod parse;
mod path;
mod value;

use trackway_proto::common::InstrumentationScope;
use trackway_proto::resource::Resource;
use trackway_proto::trace::{Span, span::Event};

use parse::Expr;

/// Longest condition, in bytes.
pub const MAX_LENGTH: usize = 16 << 10;
/// Most levels of parentheses, calls and lists within each other.
pub const MAX_DEPTH: usize = 64;

/// A condition that is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} (at byte {at})")]
pub struct OttlError {
    /// Where in the text.
    pub at: usize,
    /// What is wrong, and the way out.
    pub message: String,
}

/// What a condition is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// A span.
    Span,
    /// An event of a span.
    SpanEvent,
}

/// What a condition looks at.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Where it comes from.
    pub resource: &'a Resource,
    /// By which library.
    pub scope: &'a InstrumentationScope,
    /// The span, or the event's.
    pub span: &'a Span,
    /// The event, and its place in the span.
    pub event: Option<(usize, &'a Event)>,
}

/// A condition that was read.
#[derive(Debug)]
pub struct Condition(Expr);

impl Condition {
    /// Reads a condition.
    ///
    /// # Errors
    /// [`OttlError`] when it is none, or asks for what is not here.
    pub fn parse(text: &str, about: About) -> Result<Self, OttlError> {
        parse::parse(text, about).map(Self)
    }

    /// Whether it is met.
    pub fn is_met(&self, subject: &Subject<'_>) -> bool {
        eval::truth(&self.0, subject).unwrap_or(false)
    }
}

#[cfg(test)]
mod tests;
