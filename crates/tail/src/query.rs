//! Queries that can be judged on a single span as it arrives.

use trackway_engine::{EvalError, Filter};
use trackway_spans::SpanBatch;
use trackway_traceql::ast::{Root, SpansetExpr, Stage};

/// What can be asked, for messages.
const CAN_ASK: &str =
    "a tail takes one filter on spans, such as { resource.service.name = \"checkout\" && status = error }";

/// A query that cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// It is no TraceQL.
    #[error("{0}")]
    Syntax(String),
    /// It is TraceQL, and about more than one span.
    #[error("{what}; {CAN_ASK}")]
    BeyondSpans {
        /// What of it.
        what: String,
    },
}

/// A filter on spans.
#[derive(Clone, Debug)]
pub struct SpanQuery(Filter);

impl SpanQuery {
    /// Reads a query; an empty one is `{ }`.
    ///
    /// # Errors
    /// [`QueryError`].
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        let text = if text.trim().is_empty() { "{ }" } else { text };
        let query = trackway_traceql::parse(text).map_err(|error| QueryError::Syntax(error.to_string()))?;
        let beyond = |what: &str| QueryError::BeyondSpans { what: what.to_owned() };
        if query.metrics.is_some() {
            return Err(beyond("metrics are computed over time, not shown span by span"));
        }
        let Root::Pipeline(pipeline) = &query.root else {
            return Err(beyond("combined pipelines look at whole traces"));
        };
        let [Stage::Spanset(spanset)] = pipeline.stages.as_slice() else {
            return Err(beyond("what follows | looks at whole traces"));
        };
        let SpansetExpr::Filter(filter) = spanset else {
            return Err(beyond("operators between { } look at several spans of a trace"));
        };
        let filter =
            Filter::compile(filter.as_ref()).map_err(|error| QueryError::Syntax(error.to_string()))?;
        match filter.beyond_spans() {
            Some(field) => Err(beyond(&format!("{field} is known when the whole trace is there"))),
            None => Ok(Self(filter)),
        }
    }

    /// Which spans match.
    ///
    /// # Errors
    /// [`EvalError`] when the expression cannot be computed for some span.
    pub fn matches(&self, batch: &SpanBatch) -> Result<Vec<bool>, EvalError> {
        self.0.mask(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_a_span_is_refused_with_what_can_be_asked() {
        for text in [
            "",
            "{ }",
            "{ status = error && .a > 3 }",
            "{ name =~ \"x.*\" || span:duration > 2ms }",
            "{ !(.a = 1) }",
        ] {
            assert!(SpanQuery::parse(text).is_ok(), "{text}");
        }
        for (text, part) in [
            ("{ } >> { }", "operators between { }"),
            ("{ } && { }", "operators between { }"),
            ("{ } | count() > 2", "what follows |"),
            ("{ } | select(.a)", "what follows |"),
            ("{ } | rate()", "metrics are computed"),
            ("({ } | count() > 1) && ({ } | count() > 1)", "combined pipelines"),
            ("{ trace:duration > 1s }", "trace:duration is known when"),
            ("{ .a = 1 && rootServiceName = \"x\" }", "rootServiceName is known when"),
            ("{ nestedSetParent < 0 }", "nestedSetParent is known when"),
        ] {
            let error = SpanQuery::parse(text).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("a tail takes one filter"), "{text}: {error}");
        }
        assert!(matches!(SpanQuery::parse("{ .a = "), Err(QueryError::Syntax(_))));
    }
}
