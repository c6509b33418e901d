//! Expressions that are computed span by span: arithmetic, fields against fields, what is grouped and aggregated.

use trackway_spans::SpanBatch;
use trackway_traceql::ast::{BinaryOp, Field, FieldExpr, Static, UnaryOp};

use crate::column;
use crate::filter::{EvalError, compares, comparison};
use crate::value::{Comparison, Val, arithmetic};

/// An expression that is computed span by span.
#[derive(Clone, Debug)]
pub(crate) enum Computed {
    Literal(Static),
    Field(Field),
    Negate(Box<Self>),
    Not(Box<Self>),
    Arithmetic(BinaryOp, Box<Self>, Box<Self>),
    Compare(Comparison, Box<Self>, Box<Self>),
    Both(Box<Self>, Box<Self>),
    Either(Box<Self>, Box<Self>),
}

impl Computed {
    pub(crate) fn fields<'a>(&'a self, each: &mut impl FnMut(&'a Field)) {
        match self {
            Self::Literal(_) => {}
            Self::Field(field) => each(field),
            Self::Negate(inner) | Self::Not(inner) => inner.fields(each),
            Self::Arithmetic(_, a, b) | Self::Compare(_, a, b) | Self::Both(a, b) | Self::Either(a, b) => {
                a.fields(each);
                b.fields(each);
            }
        }
    }
}

fn boxed(expr: &FieldExpr) -> Result<Box<Computed>, EvalError> {
    computed(expr).map(Box::new)
}

pub(crate) fn computed(expr: &FieldExpr) -> Result<Computed, EvalError> {
    Ok(match expr {
        FieldExpr::Static(value) => Computed::Literal(value.clone()),
        FieldExpr::Field(field) => Computed::Field(field.clone()),
        FieldExpr::Unary { op: UnaryOp::Neg, expr } => Computed::Negate(boxed(expr)?),
        FieldExpr::Unary { op: UnaryOp::Not, expr } => Computed::Not(boxed(expr)?),
        FieldExpr::Binary { op: BinaryOp::And, lhs, rhs } => Computed::Both(boxed(lhs)?, boxed(rhs)?),
        FieldExpr::Binary { op: BinaryOp::Or, lhs, rhs } => Computed::Either(boxed(lhs)?, boxed(rhs)?),
        FieldExpr::Binary { op, lhs, rhs } if compares(*op) => {
            Computed::Compare(comparison(*op, rhs)?, boxed(lhs)?, boxed(rhs)?)
        }
        FieldExpr::Binary { op, lhs, rhs } => Computed::Arithmetic(*op, boxed(lhs)?, boxed(rhs)?),
    })
}

/// The columns of a computed expression.
#[derive(Debug)]
pub(crate) struct Columns<'a>(Vec<(Field, Vec<Val<'a>>)>);

impl<'a> Columns<'a> {
    pub(crate) fn new(computed: &Computed, batch: &'a SpanBatch) -> Self {
        let mut columns: Vec<(Field, Vec<Val<'a>>)> = Vec::new();
        computed.fields(&mut |field| {
            if !columns.iter().any(|(known, _)| known == field) {
                columns.push((field.clone(), column::dense(batch, field)));
            }
        });
        Self(columns)
    }

    fn get(&self, field: &Field, span: usize) -> Val<'a> {
        // Most expressions have one field, and comparing names for every span would cost more than the value.
        let column = match &self.0[..] {
            [only] => Some(only),
            several => several.iter().find(|(known, _)| known == field),
        };
        column.and_then(|(_, values)| values.get(span)).cloned().unwrap_or(Val::Nil)
    }
}

/// The value of an expression for one span.
pub(crate) fn compute<'a>(
    computed: &'a Computed,
    columns: &Columns<'a>,
    span: usize,
) -> Result<Val<'a>, EvalError> {
    let truth = |inner: &'a Computed| Ok(compute(inner, columns, span)? == Val::Bool(true));
    Ok(match computed {
        Computed::Literal(value) => Val::from_static(value),
        Computed::Field(field) => columns.get(field, span),
        Computed::Negate(inner) => match compute(inner, columns, span)? {
            Val::Int(value) => Val::Int(value.wrapping_neg()),
            Val::Float(value) => Val::Float(-value),
            Val::Duration(value) => Val::Duration(value.wrapping_neg()),
            _ => Val::Nil,
        },
        Computed::Not(inner) => Val::Bool(!truth(inner)?),
        Computed::Both(a, b) => Val::Bool(truth(a)? && truth(b)?),
        Computed::Either(a, b) => Val::Bool(truth(a)? || truth(b)?),
        Computed::Arithmetic(op, a, b) => {
            arithmetic(*op, &compute(a, columns, span)?, &compute(b, columns, span)?)?
        }
        Computed::Compare(comparison, a, b) => {
            let (left, right) = (compute(a, columns, span)?, compute(b, columns, span)?);
            Val::Bool(left != Val::Nil && right != Val::Nil && comparison.matches(&left, &right))
        }
    })
}
