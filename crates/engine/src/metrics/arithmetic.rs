//! Arithmetic over finished series: `({…} | rate()) / ({…} | rate()) * 100`.
//!
//! What must stay true: series meet when their labels are the same, in any order and but for `__name__`, which only says
//! how a number was made; a side that has no labels at all meets every series of the other; what finds no partner, and
//! what is no finite number, is left out. So nothing that is divided by zero gets into an answer.

use std::collections::{BTreeMap, VecDeque};

use trackway_traceql::ast::{BinaryOp, MetricsExpr, SeriesQuery, Static};

use super::finish::{Finished, limit};
use super::key::labels_text;
use super::second;
use super::series::{Exemplar, Intervals, Series};
use crate::result::AttributeValue;

const NAME: &str = "__name__";

/// Makes the answer to a question of what its queries were answered with, in the order in which
/// [`MetricsExpr::queries`] has them. A lone query's answer stays as it is, but for the limit: at most so many series; 0
/// is any number.
pub fn combine(
    query: &SeriesQuery,
    answers: Vec<Vec<Series>>,
    time: &Intervals,
    max_series: usize,
) -> Finished {
    let mut answers = answers.into_iter();
    let series = match &query.expr {
        MetricsExpr::Query(_) => answers.next().unwrap_or_default(),
        expr => {
            let mut series = match side(expr, &mut answers) {
                Side::Series(series) => series,
                Side::Number(_) => Vec::new(), // arithmetic has a query in it
            };
            series.retain(|series| !series.samples.is_empty());
            for series in &mut series {
                if series.labels.is_empty() {
                    series.labels.push((NAME.to_owned(), AttributeValue::String(expr.to_string())));
                }
                move_exemplars(series, time);
            }
            series.sort_by_cached_key(|series| labels_text(&series.labels));
            for stage in &query.second_stages {
                second::apply(stage, &mut series);
            }
            series
        }
    };
    let mut finished = Finished { series, truncated: None };
    limit(&mut finished, max_series);
    finished
}

/// What an operator has on one side.
enum Side {
    /// `None` is what was divided by zero.
    Number(Option<f64>),
    /// Without `__name__`.
    Series(Vec<Series>),
}

fn side(expr: &MetricsExpr, answers: &mut impl Iterator<Item = Vec<Series>>) -> Side {
    match expr {
        MetricsExpr::Query(_) => {
            let mut series = answers.next().unwrap_or_default();
            for series in &mut series {
                series.labels.retain(|(name, _)| name != NAME);
            }
            Side::Series(series)
        }
        MetricsExpr::Number(value) => Side::Number(number(value)),
        MetricsExpr::Negate(inner) => map(side(inner, answers), |value| finite(-value)),
        MetricsExpr::Binary { op, lhs, rhs } => {
            let lhs = side(lhs, answers);
            let rhs = side(rhs, answers);
            binary(*op, lhs, rhs)
        }
    }
}

fn number(value: &Static) -> Option<f64> {
    match value {
        Static::Int(value) => Some(*value as f64),
        Static::Float(value) => Some(*value),
        Static::Duration(nanoseconds) => Some(*nanoseconds as f64 / 1e9), // series have seconds
        _ => None,
    }
}

fn binary(op: BinaryOp, lhs: Side, rhs: Side) -> Side {
    match (lhs, rhs) {
        (Side::Number(left), rhs) => map(rhs, |right| compute(op, left?, right)),
        (lhs, Side::Number(right)) => map(lhs, |left| compute(op, left, right?)),
        (Side::Series(left), Side::Series(right)) => Side::Series(join(op, left, right)),
    }
}

fn compute(op: BinaryOp, left: f64, right: f64) -> Option<f64> {
    finite(match op {
        BinaryOp::Add => left + right,
        BinaryOp::Sub => left - right,
        BinaryOp::Mul => left * right,
        BinaryOp::Div => left / right,
        BinaryOp::Mod => left % right,
        BinaryOp::Pow => left.powf(right),
        _ => f64::NAN, // the parser takes no others
    })
}

/// A number that can be shown, with one zero.
fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value + 0.0)
}

fn map(side: Side, compute: impl Fn(f64) -> Option<f64>) -> Side {
    match side {
        Side::Number(value) => Side::Number(value.and_then(compute)),
        Side::Series(mut series) => {
            for series in &mut series {
                let samples = std::mem::take(&mut series.samples);
                let computed = |(time, value)| Some((time, compute(value)?));
                series.samples = samples.into_iter().filter_map(computed).collect();
            }
            Side::Series(series)
        }
    }
}

/// The one series of a side without labels.
fn alone(side: &[Series]) -> Option<&Series> {
    match side {
        [one] if one.labels.is_empty() => Some(one),
        _ => None,
    }
}

fn join(op: BinaryOp, left: Vec<Series>, right: Vec<Series>) -> Vec<Series> {
    match (alone(&left), alone(&right)) {
        // The left side's exemplars are of all groups, and so of none.
        (Some(one), None) => right
            .into_iter()
            .map(|other| Series {
                samples: zip(op, one, &other),
                labels: other.labels,
                exemplars: Vec::new(),
            })
            .collect(),
        (None, Some(one)) => left.into_iter().map(|other| pair(op, other, one)).collect(),
        _ => {
            // Different values may look the same as labels (nil and the text `nil`): then the first meets the first.
            let mut partners: BTreeMap<String, VecDeque<Series>> = BTreeMap::new();
            for series in right {
                partners.entry(same_labels(&series)).or_default().push_back(series);
            }
            let partnered = |series: Series| {
                let partner = partners.get_mut(&same_labels(&series))?.pop_front()?;
                Some(pair(op, series, &partner))
            };
            left.into_iter().filter_map(partnered).collect()
        }
    }
}

/// The same text for the same labels in any order.
fn same_labels(series: &Series) -> String {
    let mut labels = series.labels.clone();
    labels.sort_by(|a, b| a.0.cmp(&b.0));
    labels_text(&labels)
}

fn pair(op: BinaryOp, left: Series, right: &Series) -> Series {
    Series { samples: zip(op, &left, right), ..left }
}

/// Computes where both have a sample.
fn zip(op: BinaryOp, left: &Series, right: &Series) -> Vec<(u64, f64)> {
    let mut others = right.samples.iter().peekable();
    let mut samples = Vec::new();
    for (time, value) in &left.samples {
        while others.next_if(|(other, _)| other < time).is_some() {}
        if let Some((_, other)) = others.next_if(|(other, _)| other == time)
            && let Some(result) = compute(op, *value, *other)
        {
            samples.push((*time, result));
        }
    }
    samples
}

/// Puts the exemplars, which are those of the left side, to where the result is in their intervals.
fn move_exemplars(series: &mut Series, time: &Intervals) {
    let (labels, samples) = (&series.labels, &series.samples);
    let moved = |exemplar: Exemplar| {
        let start = exemplar.time_ms.saturating_mul(1_000_000);
        let slot = time.slot(start.max(time.start.saturating_add(1)))?;
        let at = samples.binary_search_by_key(&time.time_ms(slot), |sample| sample.0).ok()?;
        let id = exemplar.labels.into_iter().filter(|(name, _)| name == "trace:id");
        Some(Exemplar {
            labels: id.chain(labels.iter().cloned()).collect(),
            value: samples[at].1,
            ..exemplar
        })
    };
    series.exemplars = std::mem::take(&mut series.exemplars).into_iter().filter_map(moved).collect();
}

#[cfg(test)]
mod tests;
