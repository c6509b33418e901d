//! What the grammar allows but no query may say: types that do not fit, limits, and what is not supported.
//!
//! Inner parts are judged before outer ones and left ones before right ones, and the first complaint is the answer;
//! the texts are Tempo's.

use crate::Error;
use crate::ast::{
    Aggregate, BinaryOp, Field, FieldExpr, Intrinsic, MetricsAggregate, MetricsExpr, MetricsPipeline,
    Pipeline, PipelineExpr, Query, Root, ScalarExpr, ScalarFilter, ScalarPipelineFilter, SecondStage,
    SeriesQuery, SpansetExpr, Stage, Static, UnaryOp,
};
use crate::fields::ValueType;
use crate::pattern::compile_regex;

type Result = std::result::Result<(), Error>;

/// How many metrics queries may stand in one expression: each is run by itself.
pub const MAX_ARITHMETIC_QUERIES: usize = 16;

/// How many attributes metrics may be grouped by.
const MAX_GROUP_BY: usize = 5;
/// The same where the aggregate needs a label for itself.
const MAX_GROUP_BY_WITH_OWN_LABEL: usize = 4;

fn invalid(text: impl Into<String>) -> Result {
    Err(Error::Invalid(text.into()))
}

fn unsupported(feature: impl Into<String>) -> Result {
    Err(Error::Unsupported(feature.into()))
}

/// Checks that a query can be run.
///
/// # Errors
/// The first thing that keeps it from running.
pub fn check(query: &Query) -> Result {
    match &query.root {
        Root::Pipeline(stages) => pipeline(stages)?,
        Root::PipelineExpr(expr) => pipeline_expr(expr)?,
        Root::ScalarPipelineFilter(filter) => scalar_pipeline_filter(filter)?,
    }
    query.metrics.as_ref().map_or(Ok(()), metrics)
}

/// Checks that a question for series can be run.
///
/// # Errors
/// The first thing that keeps it from running.
pub fn check_metrics(query: &SeriesQuery) -> Result {
    if let MetricsExpr::Query(query) = &query.expr {
        return check(query);
    }
    let queries = query.expr.queries();
    for query in &queries {
        check(query)?;
        let aggregate = query.metrics.as_ref().map(|metrics| &metrics.aggregate);
        if matches!(aggregate, Some(MetricsAggregate::Compare { .. })) {
            return invalid("`compare()` cannot be used in arithmetic");
        }
    }
    if queries.len() > MAX_ARITHMETIC_QUERIES {
        return invalid(format!("arithmetic with more than {MAX_ARITHMETIC_QUERIES} metrics queries"));
    }
    second_stages(&query.second_stages)
}

fn pipeline_expr(expr: &PipelineExpr) -> Result {
    match expr {
        PipelineExpr::Pipeline(stages) => pipeline(stages),
        PipelineExpr::Operation { lhs, rhs, .. } => {
            pipeline_expr(lhs)?;
            pipeline_expr(rhs)
        }
    }
}

fn pipeline(pipeline: &Pipeline) -> Result {
    pipeline.stages.iter().try_for_each(stage)
}

fn stage(stage: &Stage) -> Result {
    match stage {
        Stage::Spanset(expr) => spanset(expr),
        Stage::ScalarFilter(filter) => scalar_filter(filter),
        Stage::By(expr) => {
            field_expr(expr)?;
            if expr.references_span() {
                return Ok(());
            }
            invalid(format!("grouping field expressions must reference the span: {stage}"))
        }
        Stage::Coalesce => Ok(()),
        Stage::Select(fields) => fields.iter().try_for_each(field),
    }
}

fn spanset(expr: &SpansetExpr) -> Result {
    match expr {
        SpansetExpr::Filter(None) => Ok(()),
        SpansetExpr::Filter(Some(inner)) => filter(inner),
        SpansetExpr::Operation { lhs, rhs, .. } => {
            spanset(lhs)?;
            spanset(rhs)
        }
    }
}

/// Checks the inside of `{ }`.
pub(crate) fn filter(expr: &FieldExpr) -> Result {
    field_expr(expr)?;
    match expr.result_type() {
        ValueType::Bool | ValueType::Unknown => Ok(()),
        _ => invalid(format!("span filter field expressions must resolve to a boolean: {{ {expr} }}")),
    }
}

fn field_expr(expr: &FieldExpr) -> Result {
    match expr {
        FieldExpr::Static(_) => Ok(()),
        FieldExpr::Field(inner) => field(inner),
        FieldExpr::Unary { op, expr: inner } => {
            field_expr(inner)?;
            let inner = inner.result_type();
            let fits = match op {
                UnaryOp::Neg => inner.is_numeric(),
                UnaryOp::Not => inner == ValueType::Bool,
            };
            if fits || inner == ValueType::Unknown {
                return Ok(());
            }
            invalid(format!("illegal operation for the given type: {expr}"))
        }
        FieldExpr::Binary { op, lhs, rhs } => binary(expr, *op, lhs, rhs),
    }
}

fn field(field: &Field) -> Result {
    match field {
        Field::Parent { .. } | Field::Intrinsic { intrinsic: Intrinsic::Parent, .. } => unsupported("parent"),
        _ => Ok(()),
    }
}

fn binary(expr: &FieldExpr, op: BinaryOp, lhs: &FieldExpr, rhs: &FieldExpr) -> Result {
    field_expr(lhs)?;
    field_expr(rhs)?;
    if op == BinaryOp::Eq {
        for (value, other) in [(lhs, rhs), (rhs, lhs)] {
            if let (FieldExpr::Field(field), FieldExpr::Static(Static::Nil)) = (value, other) {
                can_be_nil(field)?;
            }
        }
    }
    let (left, right) = (lhs.result_type(), rhs.result_type());
    if !comparable(left, right) {
        return invalid(format!("binary operations must operate on the same type: {expr}"));
    }
    if !takes(op, left) || !takes(op, right) {
        return invalid(format!("illegal operation for the given types: {expr}"));
    }
    if matches!(op, BinaryOp::Regex | BinaryOp::NotRegex) {
        let FieldExpr::Static(Static::String(pattern)) = rhs else {
            return invalid(format!("invalid type for =~ or !~: {rhs}"));
        };
        if let Err(error) = compile_regex(pattern) {
            return invalid(format!("invalid regex: {error}"));
        }
    }
    Ok(())
}

/// `field = nil` must be able to hold for some span.
fn can_be_nil(field: &Field) -> Result {
    let why = match field {
        Field::Intrinsic { .. } => "intrinsics",
        Field::Attribute { scope: crate::ast::Scope::Resource, name } if name == "service.name" => {
            "resource.service.name"
        }
        _ => return Ok(()),
    };
    invalid(format!("{field}=nil is not valid because {why} cannot be nil"))
}

/// Whether values of these types can meet in one operation.
fn comparable(left: ValueType, right: ValueType) -> bool {
    let open = |t| matches!(t, ValueType::Unknown | ValueType::Nil);
    open(left) || open(right) || left == right || (left.is_numeric() && right.is_numeric())
}

/// Whether an operator takes operands of this type.
fn takes(op: BinaryOp, operand: ValueType) -> bool {
    use BinaryOp as O;
    match operand {
        ValueType::Unknown => true,
        ValueType::Bool => matches!(op, O::And | O::Or | O::Eq | O::NotEq),
        ValueType::Int | ValueType::Float | ValueType::Duration => op.is_comparison() || !op.is_boolean(),
        ValueType::String => op.is_comparison() || matches!(op, O::Regex | O::NotRegex),
        ValueType::Nil | ValueType::Status | ValueType::Kind => matches!(op, O::Eq | O::NotEq),
    }
}

fn aggregate(aggregate: &Aggregate) -> Result {
    let expr = match aggregate {
        Aggregate::Count => return Ok(()),
        Aggregate::Min(expr) | Aggregate::Max(expr) | Aggregate::Avg(expr) | Aggregate::Sum(expr) => expr,
    };
    field_expr(expr)?;
    let result = expr.result_type();
    if !result.is_numeric() && result != ValueType::Unknown {
        return invalid(format!("aggregate field expressions must resolve to a number type: {aggregate}"));
    }
    if !expr.references_span() {
        return invalid(format!("aggregate field expressions must reference the span: {aggregate}"));
    }
    Ok(())
}

fn scalar(expr: &ScalarExpr) -> Result {
    match expr {
        ScalarExpr::Aggregate(inner) => aggregate(inner),
        ScalarExpr::Static(_) => Ok(()),
        ScalarExpr::Binary { lhs, rhs, .. } => {
            scalar(lhs)?;
            scalar(rhs)
        }
        ScalarExpr::Pipeline { pipeline: stages, aggregate: last } => {
            pipeline(stages)?;
            aggregate(last)
        }
    }
}

fn scalar_filter(filter: &ScalarFilter) -> Result {
    scalar(&filter.lhs)?;
    scalar(&filter.rhs)?;
    match (&filter.lhs, &filter.rhs) {
        (ScalarExpr::Aggregate(_), ScalarExpr::Static(_)) => Ok(()),
        (ScalarExpr::Aggregate(_), rhs) => unsupported(format!("scalar filter rhs of type ({rhs})")),
        (lhs, _) => unsupported(format!("scalar filter lhs of type ({lhs})")),
    }
}

fn scalar_pipeline_filter(filter: &ScalarPipelineFilter) -> Result {
    scalar(&filter.lhs)?;
    scalar(&filter.rhs)?;
    unsupported(format!("scalar filter lhs of type ({})", filter.lhs))
}

fn metrics(metrics: &MetricsPipeline) -> Result {
    use MetricsAggregate as M;
    let mut max_by = MAX_GROUP_BY;
    match &metrics.aggregate {
        M::Rate | M::CountOverTime => {}
        M::MinOverTime(of) | M::MaxOverTime(of) | M::SumOverTime(of) | M::AvgOverTime(of) => field(of)?,
        M::HistogramOverTime(of) => {
            field(of)?;
            max_by = MAX_GROUP_BY_WITH_OWN_LABEL;
        }
        M::QuantileOverTime(of, quantiles) => {
            field(of)?;
            max_by = MAX_GROUP_BY_WITH_OWN_LABEL;
            if let Some(bad) = quantiles.iter().find(|quantile| !(0.0..=1.0).contains(*quantile)) {
                return invalid(format!("quantile must be between 0 and 1: {bad}"));
            }
        }
        M::Compare { selection, top_n, range } => {
            selection.as_ref().map_or(Ok(()), filter)?;
            compare_arguments(*top_n, *range)?;
            if !metrics.second_stages.is_empty() {
                return invalid("`compare()` cannot be used with second stage functions");
            }
        }
    }
    metrics.by.iter().try_for_each(field)?;
    if metrics.by.len() > max_by {
        return unsupported(format!("metrics group by {} values", metrics.by.len()));
    }
    second_stages(&metrics.second_stages)
}

fn second_stages(stages: &[SecondStage]) -> Result {
    stages.iter().try_for_each(|stage| match stage {
        SecondStage::TopK(limit) | SecondStage::BottomK(limit) if *limit <= 0 => {
            invalid("limit must be greater than 0")
        }
        _ => Ok(()),
    })
}

fn compare_arguments(top_n: Option<i64>, range: Option<(i64, i64)>) -> Result {
    if top_n.is_some_and(|n| n <= 0) {
        return invalid("compare() top number of values must be integer greater than 0");
    }
    match range {
        Some((start, end)) if start <= 0 || end <= 0 => {
            invalid("compare() timestamps must be positive integer unix nanoseconds")
        }
        Some((start, end)) if end <= start => {
            invalid("compare() end timestamp must be greater than start timestamp")
        }
        _ => Ok(()),
    }
}
