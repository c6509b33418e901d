//! Stages over finished series: comparisons, `topk`, `bottomk`.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use trackway_traceql::ast::{BinaryOp, SecondStage, Static};

use super::Series;
use crate::value::{Val, compares};

/// What a stage leaves of some series. One without any sample is gone.
pub(crate) fn apply(stage: &SecondStage, mut series: Vec<Series>) -> Vec<Series> {
    match stage {
        SecondStage::Filter { op, value } => filter(*op, &in_seconds(value), &mut series),
        SecondStage::TopK(limit) => keep_best(*limit, true, &mut series),
        SecondStage::BottomK(limit) => keep_best(*limit, false, &mut series),
    }
    series.retain(|series| !series.samples.is_empty());
    series
}

/// A literal as series have it: durations are seconds there.
fn in_seconds(value: &Static) -> Val {
    match value {
        Static::Duration(nanoseconds) => Val::Float(*nanoseconds as f64 / 1e9),
        other => Val::of_static(other),
    }
}

fn filter(op: BinaryOp, limit: &Val, series: &mut [Series]) {
    for series in series {
        series.samples.retain(|(_, value)| compares(op, &Val::Float(*value), limit).unwrap_or(false));
    }
}

/// At each time by itself, keeps the samples of the series with the greatest or the least values.
fn keep_best(limit: i64, greatest: bool, series: &mut [Series]) {
    let limit = usize::try_from(limit).unwrap_or(0);
    let times: BTreeSet<u64> = series.iter().flat_map(|s| s.samples.iter().map(|(time, _)| *time)).collect();
    for time in times {
        let mut here: Vec<(f64, usize)> = Vec::new();
        for (at, series) in series.iter().enumerate() {
            here.extend(series.samples.iter().filter(|sample| sample.0 == time).map(|sample| (sample.1, at)));
        }
        here.sort_by(|a, b| {
            let by_value = if greatest { b.0.total_cmp(&a.0) } else { a.0.total_cmp(&b.0) };
            by_value.then_with(|| by_labels(&series[a.1], &series[b.1]))
        });
        for (_, at) in here.into_iter().skip(limit) {
            series[at].samples.retain(|sample| sample.0 != time);
        }
    }
}

/// CHOICE: of equal values the series whose labels come first, as text, is kept.
fn by_labels(a: &Series, b: &Series) -> Ordering {
    let text = |series: &Series| crate::json::labels_text(&series.labels);
    text(a).cmp(&text(b))
}
