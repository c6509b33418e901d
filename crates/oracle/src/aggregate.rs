//! `count()`, `min(x)`, `max(x)`, `avg(x)`, `sum(x)` over a spanset, and filters on them.

use trackway_traceql::ast::{Aggregate, BinaryOp, FieldExpr, ScalarExpr, ScalarFilter};

use crate::error::EvalError;
use crate::expr::eval;
use crate::value::{Val, arithmetic, compares};
use crate::view::View;

/// What a scalar filter says of a spanset: whether it stays, and the aggregate as the attribute that it is shown as.
pub(crate) fn scalar_filter(
    filter: &ScalarFilter,
    spans: &[usize],
    view: &View<'_>,
) -> Result<(bool, (String, Val)), EvalError> {
    let (ScalarExpr::Aggregate(of), ScalarExpr::Static(literal)) = (&filter.lhs, &filter.rhs) else {
        return Err(EvalError::Unsupported("scalar filter of anything but an aggregate with a literal"));
    };
    let value = aggregate(of, spans, view)?;
    let holds = compares(filter.op, &value, &Val::of_static(literal))?;
    Ok((holds, (of.to_string(), value)))
}

fn aggregate(of: &Aggregate, spans: &[usize], view: &View<'_>) -> Result<Val, EvalError> {
    match of {
        Aggregate::Count => Ok(Val::Int(spans.len() as i64)),
        Aggregate::Min(expr) => extreme(BinaryOp::Less, &numbers(expr, spans, view)?),
        Aggregate::Max(expr) => extreme(BinaryOp::Greater, &numbers(expr, spans, view)?),
        Aggregate::Sum(expr) => sum(&numbers(expr, spans, view)?),
        Aggregate::Avg(expr) => average(&numbers(expr, spans, view)?),
    }
}

/// The values of an expression for some spans; what is no number is passed over.
fn numbers(expr: &FieldExpr, spans: &[usize], view: &View<'_>) -> Result<Vec<Val>, EvalError> {
    let values: Result<Vec<Val>, EvalError> = spans.iter().map(|at| eval(expr, view, *at)).collect();
    Ok(values?.into_iter().filter(|value| value.number().is_some()).collect())
}

/// The value that is `better` than all others, with its type; of equal ones the first. Nil when there is none.
fn extreme(better: BinaryOp, values: &[Val]) -> Result<Val, EvalError> {
    let mut best = Val::Nil;
    for value in values {
        if best == Val::Nil || compares(better, value, &best)? {
            best = value.clone();
        }
    }
    Ok(best)
}

/// Nil when there is no value.
fn sum(values: &[Val]) -> Result<Val, EvalError> {
    let mut sum = Val::Nil;
    for value in values {
        sum = if sum == Val::Nil { value.clone() } else { arithmetic(BinaryOp::Add, &sum, value)? };
    }
    Ok(sum)
}

/// Of durations a duration, of anything else a floating-point number. Nil when there is no value.
fn average(values: &[Val]) -> Result<Val, EvalError> {
    let count = values.len() as f64;
    Ok(match sum(values)? {
        Val::Duration(total) => Val::Duration((total as f64 / count) as i64),
        total => total.number().map_or(Val::Nil, |total| Val::Float(total / count)),
    })
}
