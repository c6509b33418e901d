//! Metrics queries: series of numbers over time, made of the spans that the query selects.

mod compare;
mod quantile;
mod second;
mod time;

use trackway_traceql::ast::{Field, MetricsAggregate, MetricsPipeline, Query};

use crate::error::EvalError;
use crate::field;
use crate::model::Trace;
use crate::pipeline;
use crate::value::Val;
use crate::view::View;

pub use time::Time;

use quantile::{bucket_of, quantile};

/// One series.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// In the order of the grouping, what the aggregate adds last.
    pub labels: Labels,
    /// Unix milliseconds, ascending, and the value there. An instant query has one sample, at its end.
    pub samples: Vec<(u64, f64)>,
}

/// Names and values.
pub(crate) type Labels = Vec<(String, Val)>;

/// A span that a query selects, in its trace.
struct Selected<'v, 'a> {
    view: &'v View<'a>,
    at: usize,
    /// The interval that it falls into.
    slot: usize,
}

/// The series of a metrics query over some whole traces, in no order.
///
/// # Errors
/// [`EvalError`] when the query is none of metrics, or cannot be computed.
pub fn metrics(query: &Query, traces: &[Trace], time: &Time) -> Result<Vec<Series>, EvalError> {
    let asked = query.metrics.as_ref().ok_or(EvalError::NotMetrics("not a metrics query"))?;
    let time = time.aligned()?;
    let views: Vec<View<'_>> = traces.iter().map(View::new).collect();
    let mut selected = Vec::new();
    for view in &views {
        for set in pipeline::run(&query.root, view)? {
            for at in set.spans {
                if let Some(slot) = time.slot(view.span(at).start) {
                    selected.push(Selected { view, at, slot });
                }
            }
        }
    }
    let mut series = match &asked.aggregate {
        MetricsAggregate::Compare { selection, top_n, range } => {
            compare::series(selection.as_ref(), top_n.unwrap_or(10), *range, &selected, &time)?
        }
        _ => grouped(asked, &selected, &time),
    };
    for stage in &asked.second_stages {
        series = second::apply(stage, series);
    }
    Ok(series)
}

/// The numbers of one group, by interval.
struct Group {
    labels: Labels,
    slots: Vec<Vec<f64>>,
}

/// The series of everything but `compare()`.
fn grouped(asked: &MetricsPipeline, selected: &[Selected<'_, '_>], time: &Time) -> Vec<Series> {
    let mut groups: Vec<(Vec<Val>, Group)> = Vec::new();
    for span in selected {
        let Some(number) = number_of(&asked.aggregate, span) else { continue };
        let key: Vec<Val> = asked.by.iter().map(|field| group_value(field, span)).collect();
        let at = groups.iter().position(|(known, _)| *known == key).unwrap_or_else(|| {
            groups.push((key.clone(), Group { labels: labels(asked, &key), slots: time.slots() }));
            groups.len() - 1
        });
        groups[at].1.slots[span.slot].push(number);
    }
    // Counting nothing gives zeros; of a group, a minimum or the like there is no series without a span.
    let counts = matches!(asked.aggregate, MetricsAggregate::Rate | MetricsAggregate::CountOverTime);
    if groups.is_empty() && asked.by.is_empty() && counts {
        groups.push((Vec::new(), Group { labels: labels(asked, &[]), slots: time.slots() }));
    }
    groups.iter().flat_map(|(_, group)| finish(&asked.aggregate, group, time)).collect()
}

/// The number that a span brings into an aggregate, if it brings any: 1 where spans are counted; durations in
/// nanoseconds.
fn number_of(aggregate: &MetricsAggregate, span: &Selected<'_, '_>) -> Option<f64> {
    let of = match aggregate {
        MetricsAggregate::Rate | MetricsAggregate::CountOverTime | MetricsAggregate::Compare { .. } => {
            return Some(1.0);
        }
        MetricsAggregate::MinOverTime(of)
        | MetricsAggregate::MaxOverTime(of)
        | MetricsAggregate::SumOverTime(of)
        | MetricsAggregate::AvgOverTime(of) => of,
        MetricsAggregate::QuantileOverTime(of, _) | MetricsAggregate::HistogramOverTime(of) => {
            return field::first(of, span.view, span.at).number().and_then(bucket_of);
        }
    };
    field::first(of, span.view, span.at).number()
}

/// What a number is divided by to be shown: durations are shown in seconds.
fn unit(of: &Field) -> f64 {
    let is_duration = of.value_type() == trackway_traceql::ValueType::Duration;
    if is_duration { 1e9 } else { 1.0 }
}

/// The value that a span is grouped by. CHOICE: an array counts as nil.
fn group_value(field: &Field, span: &Selected<'_, '_>) -> Val {
    match field::first(field, span.view, span.at) {
        Val::Array(_) => Val::Nil,
        value => value,
    }
}

/// The labels of a group: its values that are not nil. If all are, the first stands there as the text `nil`. Without a
/// grouping the aggregate's name is the label.
fn labels(asked: &MetricsPipeline, key: &[Val]) -> Labels {
    let Some(first) = asked.by.first() else {
        return vec![("__name__".to_owned(), Val::Text(name(&asked.aggregate).to_owned()))];
    };
    let named = asked.by.iter().map(ToString::to_string).zip(key.iter().cloned());
    let labels: Labels = named.filter(|(_, value)| *value != Val::Nil).collect();
    if labels.is_empty() {
        return vec![(first.to_string(), Val::Text("nil".to_owned()))];
    }
    labels
}

fn name(aggregate: &MetricsAggregate) -> &'static str {
    match aggregate {
        MetricsAggregate::Rate => "rate",
        MetricsAggregate::CountOverTime => "count_over_time",
        MetricsAggregate::MinOverTime(_) => "min_over_time",
        MetricsAggregate::MaxOverTime(_) => "max_over_time",
        MetricsAggregate::SumOverTime(_) => "sum_over_time",
        MetricsAggregate::AvgOverTime(_) => "avg_over_time",
        // These have a label of their own, which stands alone when there is no grouping.
        MetricsAggregate::QuantileOverTime(..)
        | MetricsAggregate::HistogramOverTime(_)
        | MetricsAggregate::Compare { .. } => "",
    }
}

/// The series of one group.
fn finish(aggregate: &MetricsAggregate, group: &Group, time: &Time) -> Vec<Series> {
    let one = |value: &dyn Fn(&[f64]) -> Option<f64>| {
        let samples = time.samples(group.slots.iter().map(|numbers| value(numbers)));
        vec![Series { labels: group.labels.clone(), samples }]
    };
    let sum = |numbers: &[f64]| numbers.iter().sum::<f64>();
    let some = |numbers: &[f64], value: f64| (!numbers.is_empty()).then_some(value);
    match aggregate {
        MetricsAggregate::Rate => one(&|numbers| Some(numbers.len() as f64 / time.step_seconds())),
        MetricsAggregate::CountOverTime => one(&|numbers| Some(numbers.len() as f64)),
        MetricsAggregate::MinOverTime(of) => {
            one(&|numbers| numbers.iter().copied().reduce(f64::min).map(|value| value / unit(of)))
        }
        MetricsAggregate::MaxOverTime(of) => {
            one(&|numbers| numbers.iter().copied().reduce(f64::max).map(|value| value / unit(of)))
        }
        MetricsAggregate::SumOverTime(of) => one(&|numbers| some(numbers, sum(numbers) / unit(of))),
        MetricsAggregate::AvgOverTime(of) => {
            one(&|numbers| some(numbers, sum(numbers) / numbers.len() as f64 / unit(of)))
        }
        MetricsAggregate::QuantileOverTime(of, quantiles) => {
            let series = |p: &f64| Series {
                labels: with_own_label(&group.labels, "p", *p),
                samples: time
                    .samples(group.slots.iter().map(|buckets| Some(quantile(*p, buckets) / unit(of)))),
            };
            quantiles.iter().map(series).collect()
        }
        MetricsAggregate::HistogramOverTime(of) => {
            let mut buckets = group.slots.concat();
            buckets.sort_by(f64::total_cmp);
            buckets.dedup();
            let count =
                |numbers: &[f64], bucket: f64| numbers.iter().filter(|b| **b == bucket).count() as f64;
            let series = |bucket: &f64| Series {
                labels: with_own_label(&group.labels, "__bucket", bucket / unit(of)),
                samples: time.samples(group.slots.iter().map(|numbers| Some(count(numbers, *bucket)))),
            };
            buckets.iter().map(series).collect()
        }
        MetricsAggregate::Compare { .. } => Vec::new(),
    }
}

/// The labels of a grouping, and the label that the aggregate adds. There is no `__name__` beside it.
fn with_own_label(labels: &[(String, Val)], name: &str, value: f64) -> Labels {
    let mut labels: Labels = labels.iter().filter(|(name, _)| name != "__name__").cloned().collect();
    labels.push((name.to_owned(), Val::Float(value)));
    labels
}
