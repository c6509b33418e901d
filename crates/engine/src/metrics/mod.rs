//! Metrics queries: series of numbers over time, made of the spans that a query selects.

mod series;

pub use series::{Exemplar, Intervals, Series};
