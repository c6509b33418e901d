//! Metrics out of spans.
