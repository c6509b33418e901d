//! Expressions over one span.

use trackway_traceql::ast::{BinaryOp, Field, FieldExpr, Intrinsic, Static, UnaryOp};

use crate::error::EvalError;
use crate::field;
use crate::value::{Val, any, arithmetic, compares, negated};
use crate::view::View;

/// Whether a span passes `{ filter }`. `{ }` lets all pass.
pub(crate) fn passes(filter: Option<&FieldExpr>, view: &View<'_>, at: usize) -> Result<bool, EvalError> {
    filter.map_or(Ok(true), |expr| is_true(expr, view, at))
}

/// Whether an expression is true. What is no boolean is not.
fn is_true(expr: &FieldExpr, view: &View<'_>, at: usize) -> Result<bool, EvalError> {
    Ok(eval(expr, view, at)? == Val::Bool(true))
}

/// The value of an expression for a span.
pub(crate) fn eval(expr: &FieldExpr, view: &View<'_>, at: usize) -> Result<Val, EvalError> {
    Ok(match expr {
        FieldExpr::Static(literal) => Val::of_static(literal),
        FieldExpr::Field(field) => field::first(field, view, at),
        FieldExpr::Unary { op: UnaryOp::Neg, expr } => negated(&eval(expr, view, at)?),
        FieldExpr::Unary { op: UnaryOp::Not, expr } => Val::Bool(!is_true(expr, view, at)?),
        FieldExpr::Binary { op: BinaryOp::And, lhs, rhs } => {
            Val::Bool(is_true(lhs, view, at)? && is_true(rhs, view, at)?)
        }
        FieldExpr::Binary { op: BinaryOp::Or, lhs, rhs } => {
            Val::Bool(is_true(lhs, view, at)? || is_true(rhs, view, at)?)
        }
        FieldExpr::Binary { op, lhs, rhs } if op.is_boolean() => {
            Val::Bool(comparison(*op, lhs, rhs, view, at)?)
        }
        FieldExpr::Binary { op, lhs, rhs } => arithmetic(*op, &eval(lhs, view, at)?, &eval(rhs, view, at)?)?,
    })
}

fn comparison(
    op: BinaryOp,
    lhs: &FieldExpr,
    rhs: &FieldExpr,
    view: &View<'_>,
    at: usize,
) -> Result<bool, EvalError> {
    match (lhs, rhs) {
        (FieldExpr::Static(Static::Nil), FieldExpr::Static(Static::Nil)) => return Ok(false),
        (FieldExpr::Static(Static::Nil), other) | (other, FieldExpr::Static(Static::Nil)) => {
            return compare_with_nil(op, other, view, at);
        }
        _ => {}
    }
    // All values of a field are asked when the other side is the same for every span; else the first alone.
    let mut left = operand(lhs, is_constant(rhs), view, at)?;
    let mut right = operand(rhs, is_constant(lhs), view, at)?;
    if op.is_comparison() {
        // Trace ids compare without their leading zeros; a pattern stays as it is.
        trim_id(rhs, lhs, &mut left);
        trim_id(lhs, rhs, &mut right);
    }
    any(&left, |left| any(&right, |right| compares(op, left, right)))
}

/// `x = nil` and `x != nil`; no other comparison with nil holds.
fn compare_with_nil(
    op: BinaryOp,
    operand: &FieldExpr,
    view: &View<'_>,
    at: usize,
) -> Result<bool, EvalError> {
    Ok(match (op, operand) {
        (BinaryOp::Eq, FieldExpr::Field(field)) => field::is_nil(field, view, at),
        (BinaryOp::NotEq, FieldExpr::Field(field)) => !field::values(field, view, at).is_empty(),
        (BinaryOp::Eq, expr) => eval(expr, view, at)? == Val::Nil,
        (BinaryOp::NotEq, expr) => eval(expr, view, at)? != Val::Nil,
        _ => false,
    })
}

/// The values that one side brings into a comparison.
fn operand(side: &FieldExpr, all: bool, view: &View<'_>, at: usize) -> Result<Vec<Val>, EvalError> {
    match side {
        FieldExpr::Field(field) if all => Ok(field::values(field, view, at)),
        _ => Ok(vec![eval(side, view, at)?]),
    }
}

/// Takes the leading zeros off a literal that is compared with the trace id.
fn trim_id(field: &FieldExpr, literal: &FieldExpr, values: &mut [Val]) {
    let is_id = matches!(field, FieldExpr::Field(Field::Intrinsic { intrinsic: Intrinsic::TraceId, .. }));
    if let (true, FieldExpr::Static(Static::String(id)), [value]) = (is_id, literal, values) {
        *value = Val::Text(id.trim_start_matches('0').to_owned());
    }
}

/// Whether an expression is the same for every span.
pub(crate) fn is_constant(expr: &FieldExpr) -> bool {
    let mut fields = 0;
    expr.walk_fields(&mut |_| fields += 1);
    fields == 0
}
