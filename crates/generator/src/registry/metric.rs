//! What a metric is: its name, its kind, and how many series and numbers an entity has of it.

use std::sync::Arc;

/// What a metric is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    /// Only grows.
    Counter,
    /// Is what it was set to.
    Gauge,
    /// Counts by size.
    Histogram(Form),
}

/// Which forms a histogram has.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Form {
    /// Upper bounds of the classic form's buckets, if there is that form.
    pub(crate) bounds: Option<Arc<[f64]>>,
    /// Settings of the native form, if there is that form.
    pub(crate) native: Option<NativeForm>,
}

/// How native histograms grow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct NativeForm {
    pub(crate) factor: f64,
    pub(crate) max_buckets: u32,
    pub(crate) min_reset_ms: i64,
}

/// A metric of a table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Metric {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// Whether most entities lack it: it does not count when room for a new one is looked for.
    pub(crate) is_rare: bool,
}

impl Metric {
    /// How many series an entity has of it.
    pub(crate) fn series(&self) -> usize {
        match &self.kind {
            Kind::Counter | Kind::Gauge => 1,
            // Each bucket, the one without bound, sum and count.
            Kind::Histogram(form) => {
                form.bounds.as_ref().map_or(0, |bounds| bounds.len() + 3) + usize::from(form.native.is_some())
            }
        }
    }

    /// How many numbers an entity has of it: counts of each bucket and behind the last bound, then the sum.
    pub(crate) fn width(&self) -> usize {
        match &self.kind {
            Kind::Counter | Kind::Gauge => 1,
            Kind::Histogram(form) => form.bounds.as_ref().map_or(0, |bounds| bounds.len() + 2),
        }
    }

    pub(crate) fn native(&self) -> Option<NativeForm> {
        match &self.kind {
            Kind::Histogram(form) => form.native,
            _ => None,
        }
    }
}

/// Metrics that share their label sets. At most eight.
pub(crate) type Shape = Vec<Metric>;

/// Series of an entity that has these metrics.
pub(crate) fn series_of(shape: &[Metric], present: u8) -> usize {
    shape
        .iter()
        .enumerate()
        .filter(|(metric, _)| present & 1 << metric != 0)
        .map(|(_, metric)| metric.series())
        .sum()
}
