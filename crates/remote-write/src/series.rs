//! What is written: series with their samples, exemplars and native histograms.

use std::fmt;

/// A version of remote write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// `prometheus.WriteRequest`, which every receiver takes.
    V1,
    /// `io.prometheus.write.v2.Request`, with symbols and metadata.
    V2,
}

impl Protocol {
    /// The name of its message, as `protobuf_message` has it.
    pub fn message(self) -> &'static str {
        match self {
            Self::V1 => "prometheus.WriteRequest",
            Self::V2 => "io.prometheus.write.v2.Request",
        }
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            // Without a parameter: receivers of 1.0 alone compare the whole text.
            Self::V1 => "application/x-protobuf",
            Self::V2 => "application/x-protobuf;proto=io.prometheus.write.v2.Request",
        }
    }

    pub(crate) fn version(self) -> &'static str {
        match self {
            Self::V1 => "0.1.0",
            Self::V2 => "2.0.0",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

/// What a metric is; only 2.0 says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MetricKind {
    /// It grows until it is reset.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Series of a classic histogram (`_bucket`, `_count`, `_sum`), and native histograms.
    Histogram,
}

impl MetricKind {
    pub(crate) fn number(self) -> i32 {
        match self {
            Self::Counter => 1,
            Self::Gauge => 2,
            Self::Histogram => 3,
        }
    }
}

/// A value at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
    /// The value; every bit of it is kept, those of NaN too.
    pub value: f64,
}

/// An example of what a sample counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exemplar<'a> {
    /// Names and values, such as `trace_id`, sorted by name.
    pub labels: &'a [(&'a str, &'a str)],
    /// What was observed.
    pub value: f64,
    /// Milliseconds since the Unix epoch; 0 says nothing.
    pub timestamp_ms: i64,
}

/// A native histogram of positive observations.
#[derive(Clone, Debug, PartialEq)]
pub struct NativeHistogram {
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
    /// Sum of the observations.
    pub sum: f64,
    /// Resolution, from -4 to 8: buckets grow by 2^(2^-schema).
    pub schema: i32,
    /// Width of the bucket around zero.
    pub zero_threshold: f64,
    /// The numbers of observations.
    pub counts: Counts,
    /// Runs of buckets: buckets left out since the run before (for the first: its index), and how many there are.
    pub positive_spans: Vec<(i32, u32)>,
    /// What is known of resets.
    pub reset_hint: ResetHint,
}

/// Numbers of observations of a native histogram.
#[derive(Clone, Debug, PartialEq)]
pub enum Counts {
    /// Whole ones.
    Integers {
        /// Of all observations.
        count: u64,
        /// Of those around zero.
        zero: u64,
        /// Of each bucket of the spans, less that of the bucket before.
        deltas: Vec<i64>,
    },
    /// Weighted ones.
    Floats {
        /// Of all observations.
        count: f64,
        /// Of those around zero.
        zero: f64,
        /// Of each bucket of the spans.
        counts: Vec<f64>,
    },
}

impl Counts {
    pub(crate) fn buckets(&self) -> usize {
        match self {
            Self::Integers { deltas, .. } => deltas.len(),
            Self::Floats { counts, .. } => counts.len(),
        }
    }
}

/// What a receiver may assume of a native histogram and the one before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResetHint {
    /// Compare them.
    #[default]
    Unknown,
    /// This is the first after a reset.
    Yes,
    /// There was no reset.
    No,
    /// Resets are not a thing here.
    Gauge,
}

impl ResetHint {
    pub(crate) fn number(self) -> i32 {
        match self {
            Self::Unknown => 0,
            Self::Yes => 1,
            Self::No => 2,
            Self::Gauge => 3,
        }
    }
}

/// A series and what it has to say; times ascend.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Series<'a> {
    /// Names and values, sorted by name, with `__name__`.
    pub labels: &'a [(&'a str, &'a str)],
    /// What the metric is.
    pub kind: MetricKind,
    /// Plain values.
    pub samples: &'a [Sample],
    /// Examples.
    pub exemplars: &'a [Exemplar<'a>],
    /// Native histograms.
    pub histograms: &'a [NativeHistogram],
}
