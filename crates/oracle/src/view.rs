//! A trace together with what is computed from all of its spans.

use crate::model::{Span, Trace};
use crate::tree::{self, NestedSet};

/// A whole trace, ready to be asked.
pub(crate) struct View<'a> {
    pub(crate) trace: &'a Trace,
    pub(crate) root: Option<&'a Span>,
    /// In the order of the spans.
    pub(crate) sets: Vec<NestedSet>,
    /// In the order of the spans.
    pub(crate) children: Vec<i64>,
    /// The earliest start of a span.
    pub(crate) start: u64,
    /// From the earliest start to the latest end, in nanoseconds.
    pub(crate) duration: u64,
}

impl<'a> View<'a> {
    pub(crate) fn new(trace: &'a Trace) -> Self {
        let start = trace.spans.iter().map(|span| span.start).min().unwrap_or(0);
        let end = trace.spans.iter().map(|span| span.start.saturating_add(span.duration())).max();
        Self {
            trace,
            root: tree::root(trace),
            sets: tree::nested_sets(trace),
            children: tree::child_counts(trace),
            start,
            duration: end.unwrap_or(0).saturating_sub(start),
        }
    }

    /// Places of all spans.
    pub(crate) fn all(&self) -> Vec<usize> {
        (0..self.trace.spans.len()).collect()
    }

    pub(crate) fn span(&self, at: usize) -> &'a Span {
        &self.trace.spans[at]
    }
}
