//! Pipelines: stages that take the spansets of a trace and give others.

use trackway_traceql::ast::{FieldExpr, Pipeline, PipelineExpr, Root, SpansetExpr, Stage};

use crate::aggregate::scalar_filter;
use crate::error::EvalError;
use crate::expr::{eval, passes};
use crate::structure::combine;
use crate::value::Val;
use crate::view::View;

/// Spans of one trace that a query keeps together. Never empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Spanset {
    /// Places of the spans, ascending.
    pub(crate) spans: Vec<usize>,
    /// What groupings and aggregates say of it, by the text of the stage.
    pub(crate) attributes: Vec<(String, Val)>,
}

/// The spansets that a query finds in a trace.
pub(crate) fn run(root: &Root, view: &View<'_>) -> Result<Vec<Spanset>, EvalError> {
    match root {
        Root::Pipeline(pipeline) => run_pipeline(pipeline, view),
        Root::PipelineExpr(expr) => run_expr(expr, view),
        Root::ScalarPipelineFilter(_) => Err(EvalError::Unsupported("filter on whole pipelines")),
    }
}

fn run_expr(expr: &PipelineExpr, view: &View<'_>) -> Result<Vec<Spanset>, EvalError> {
    match expr {
        PipelineExpr::Pipeline(pipeline) => run_pipeline(pipeline, view),
        PipelineExpr::Operation { op, lhs, rhs } => {
            let (lhs, rhs) = (only_spanset(lhs, view)?, only_spanset(rhs, view)?);
            let spans = combine(*op, &lhs, &rhs, view);
            Ok(spanset(spans, Vec::new()).into_iter().collect())
        }
    }
}

/// The spans of the one spanset that a side of an operation may give.
fn only_spanset(expr: &PipelineExpr, view: &View<'_>) -> Result<Vec<usize>, EvalError> {
    let mut found = run_expr(expr, view)?;
    match found.len() {
        0 | 1 => Ok(found.pop().unwrap_or_default().spans),
        _ => Err(EvalError::MultipleSpansets),
    }
}

fn run_pipeline(pipeline: &Pipeline, view: &View<'_>) -> Result<Vec<Spanset>, EvalError> {
    let mut sets = vec![Spanset { spans: view.all(), attributes: Vec::new() }];
    for stage in &pipeline.stages {
        sets = run_stage(stage, sets, view)?;
    }
    Ok(sets)
}

fn run_stage(stage: &Stage, sets: Vec<Spanset>, view: &View<'_>) -> Result<Vec<Spanset>, EvalError> {
    let mut out = Vec::new();
    match stage {
        Stage::Select(_) => out = sets, // only about what is shown
        Stage::Coalesce => {
            let mut spans: Vec<usize> = sets.into_iter().flat_map(|set| set.spans).collect();
            spans.sort_unstable();
            // CHOICE: what was said of the sets cannot be said of their union.
            out.extend(spanset(spans, Vec::new()));
        }
        Stage::Spanset(expr) => {
            for set in sets {
                out.extend(spanset(filter(expr, &set.spans, view)?, set.attributes));
            }
        }
        Stage::By(expr) => {
            for set in sets {
                out.extend(group(expr, &set, view)?);
            }
        }
        Stage::ScalarFilter(filter) => {
            for mut set in sets {
                let (stays, attribute) = scalar_filter(filter, &set.spans, view)?;
                // CHOICE: the same aggregate asked twice is shown once, as it was last.
                set.attributes.retain(|(key, _)| *key != attribute.0);
                set.attributes.push(attribute);
                out.extend(stays.then_some(set));
            }
        }
    }
    Ok(out)
}

/// A spanset, unless it would be empty.
fn spanset(spans: Vec<usize>, attributes: Vec<(String, Val)>) -> Option<Spanset> {
    (!spans.is_empty()).then_some(Spanset { spans, attributes })
}

/// Of these spans those that an expression over spansets selects.
fn filter(expr: &SpansetExpr, spans: &[usize], view: &View<'_>) -> Result<Vec<usize>, EvalError> {
    match expr {
        SpansetExpr::Filter(expr) => {
            let mut kept = Vec::new();
            for at in spans {
                if passes(expr.as_ref(), view, *at)? {
                    kept.push(*at);
                }
            }
            Ok(kept)
        }
        SpansetExpr::Operation { op, lhs, rhs } => {
            let (lhs, rhs) = (filter(lhs, spans, view)?, filter(rhs, spans, view)?);
            Ok(combine(*op, &lhs, &rhs, view))
        }
    }
}

/// A spanset for each value of an expression, in the order of their first spans. Spans without one are a group too.
fn group(expr: &FieldExpr, set: &Spanset, view: &View<'_>) -> Result<Vec<Spanset>, EvalError> {
    let mut groups: Vec<(Val, Vec<usize>)> = Vec::new();
    for at in &set.spans {
        let value = eval(expr, view, *at)?;
        match groups.iter_mut().find(|(known, _)| *known == value) {
            Some((_, spans)) => spans.push(*at),
            None => groups.push((value, vec![*at])),
        }
    }
    let key = format!("by({expr})");
    let to_set = |(value, spans)| {
        let mut attributes = set.attributes.clone();
        attributes.push((key.clone(), value));
        Spanset { spans, attributes }
    };
    Ok(groups.into_iter().map(to_set).collect())
}
