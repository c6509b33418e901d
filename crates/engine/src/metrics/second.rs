//! Stages over finished series: comparisons, `topk`, `bottomk`.

use trackway_traceql::ast::{BinaryOp, SecondStage, Static};

use super::series::Series;
use crate::value::{Comparison, Val};

/// Leaves of the series, which are in the order of their labels, what the stage keeps. One without any sample is gone.
pub(crate) fn apply(stage: &SecondStage, series: &mut Vec<Series>) {
    match stage {
        SecondStage::Filter { op, value } => filter(*op, value, series),
        SecondStage::TopK(limit) => keep_best(*limit, true, series),
        SecondStage::BottomK(limit) => keep_best(*limit, false, series),
    }
    series.retain(|series| !series.samples.is_empty());
}

fn filter(op: BinaryOp, value: &Static, series: &mut [Series]) {
    let comparison = Comparison { op, regex: None };
    let limit = match value {
        Static::Duration(nanoseconds) => Val::Float(*nanoseconds as f64 / 1e9), // series have seconds
        other => Val::from_static(other),
    };
    for series in series {
        series.samples.retain(|(_, value)| comparison.matches(&Val::Float(*value), &limit));
    }
}

/// At each time by itself, keeps the samples of the series with the greatest or the least values; of equal ones those of
/// the series whose labels come first.
fn keep_best(limit: i64, greatest: bool, series: &mut [Series]) {
    let limit = usize::try_from(limit).unwrap_or(0);
    let mut samples: Vec<(u64, f64, usize)> = Vec::new();
    for (at, series) in series.iter_mut().enumerate() {
        samples.extend(series.samples.drain(..).map(|(time, value)| (time, value, at)));
    }
    samples.sort_unstable_by(|a, b| {
        let by_value = if greatest { b.1.total_cmp(&a.1) } else { a.1.total_cmp(&b.1) };
        a.0.cmp(&b.0).then(by_value).then(a.2.cmp(&b.2))
    });
    for same_time in samples.chunk_by(|a, b| a.0 == b.0) {
        for (time, value, at) in same_time.iter().take(limit) {
            series[*at].samples.push((*time, *value));
        }
    }
}
