//! Metrics queries: series of numbers over time, made of the spans that a query selects.
//!
//! A [`MetricsPlan`] takes batches with masks of selected spans and adds them to a [`Partial`]; partials from anywhere are
//! merged; [`MetricsPlan::finish`] makes series of what is known in the end, and [`combine`] computes with series.
//!
//! Spans are not looked at one by one. Of a batch there are the rows that count with their intervals ([`rows`]), a small
//! number for the value that each has of a field ([`codes`]), a number for the group ([`groups`]), and a table of group by
//! interval ([`cells`]). Only what is in that table is turned into owned values, once a group and batch.

mod arithmetic;
mod attribute;
mod cells;
mod codes;
mod compare;
mod comparison;
mod exemplar;
mod finish;
mod groups;
mod key;
mod lanes;
mod number;
mod partial;
mod plan;
mod quantile;
mod rows;
mod second;
mod series;

pub use arithmetic::combine;
pub use comparison::{ATTRIBUTES_MAX, VALUES_MAX};
pub use finish::Finished;
pub use partial::{GROUPS_MAX, NUMBERS_MAX, Partial};
pub use plan::{EXEMPLARS_MAX, Grid, INTERVALS_MAX, MetricsPlan};
pub use series::{Exemplar, Intervals, Series};
