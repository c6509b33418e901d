//! Values while a query is judged, and the rules by which they compare and compute.
//!
//! - A comparison with nil, or between different types, is false; it is never an error.
//! - Whole numbers, floating-point numbers and durations are all numbers. Two that are whole compare exactly.
//! - Where one side is an array, one element that compares is enough, for `!=` and `!~` too.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::HashMap;

use regex::Regex;
use trackway_traceql::ast::{BinaryOp, Static};

use crate::error::EvalError;
use crate::model::Value;

/// A value that a query works with.
#[derive(Clone, Debug, PartialEq)]
pub enum Val {
    /// No value.
    Nil,
    /// A whole number.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// Nanoseconds.
    Duration(i64),
    /// True or false.
    Bool(bool),
    /// A text.
    Text(String),
    /// A span status, by OTLP's number.
    Status(u8),
    /// A span kind, by OTLP's number.
    Kind(u8),
    /// Scalars; never empty.
    Array(Vec<Self>),
}

impl Val {
    /// A literal's value.
    pub(crate) fn of_static(literal: &Static) -> Self {
        match literal {
            Static::Nil => Self::Nil,
            Static::Int(value) => Self::Int(*value),
            Static::Float(value) => Self::Float(*value),
            Static::String(value) => Self::Text(value.clone()),
            Static::Bool(value) => Self::Bool(*value),
            Static::Duration(value) => Self::Duration(*value),
            Static::Status(value) => Self::Status(*value as u8),
            Static::Kind(value) => Self::Kind(*value as u8),
        }
    }

    /// An attribute's value. Maps, bytes and arrays without a scalar in them are nil: nothing can be asked of them.
    pub(crate) fn of_attribute(value: &Value) -> Self {
        match value {
            Value::Empty | Value::Map(_) | Value::Bytes(_) => Self::Nil,
            Value::Text(text) => Self::Text(text.clone()),
            Value::Int(value) => Self::Int(*value),
            Value::Float(value) => Self::Float(*value),
            Value::Bool(value) => Self::Bool(*value),
            Value::Array(elements) => {
                let is_scalar = |value: &Self| !matches!(value, Self::Nil | Self::Array(_));
                let scalars: Vec<Self> = elements.iter().map(Self::of_attribute).filter(is_scalar).collect();
                if scalars.is_empty() { Self::Nil } else { Self::Array(scalars) }
            }
        }
    }

    /// The number, of what is one.
    pub(crate) fn number(&self) -> Option<f64> {
        match self {
            Self::Int(value) | Self::Duration(value) => Some(*value as f64),
            Self::Float(value) => Some(*value),
            _ => None,
        }
    }

    /// The whole number, of what is one.
    fn whole(&self) -> Option<i64> {
        match self {
            Self::Int(value) | Self::Duration(value) => Some(*value),
            _ => None,
        }
    }
}

/// Whether `left OP right` holds, for the comparisons and the regular expressions.
pub(crate) fn compares(op: BinaryOp, left: &Val, right: &Val) -> Result<bool, EvalError> {
    if let Val::Array(elements) = left {
        return any(elements, |element| compares(op, element, right));
    }
    if let Val::Array(elements) = right {
        return any(elements, |element| compares(op, left, element));
    }
    match (op, left, right) {
        (BinaryOp::Regex, Val::Text(text), Val::Text(pattern)) => matches(text, pattern),
        (BinaryOp::NotRegex, Val::Text(text), Val::Text(pattern)) => Ok(!matches(text, pattern)?),
        (BinaryOp::Regex | BinaryOp::NotRegex, ..) => Ok(false),
        _ => Ok(compares_in_order(op, left, right)),
    }
}

/// Whether `test` holds for any element.
pub(crate) fn any<T>(
    elements: &[T],
    test: impl Fn(&T) -> Result<bool, EvalError>,
) -> Result<bool, EvalError> {
    for element in elements {
        if test(element)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn compares_in_order(op: BinaryOp, left: &Val, right: &Val) -> bool {
    let (order, only_equality) = match (left, right) {
        (Val::Text(a), Val::Text(b)) => (Some(a.as_bytes().cmp(b.as_bytes())), false),
        (Val::Bool(a), Val::Bool(b)) => (Some(a.cmp(b)), true),
        (Val::Status(a), Val::Status(b)) | (Val::Kind(a), Val::Kind(b)) => (Some(a.cmp(b)), true),
        _ => match (left.whole(), right.whole(), left.number(), right.number()) {
            (Some(a), Some(b), ..) => (Some(a.cmp(&b)), false),
            (_, _, Some(a), Some(b)) => (a.partial_cmp(&b), false), // nothing for NaN
            _ => return false,
        },
    };
    match op {
        BinaryOp::Eq => order == Some(Ordering::Equal),
        BinaryOp::NotEq => order != Some(Ordering::Equal),
        // CHOICE: two attributes that are booleans have no order, as two boolean literals have none.
        _ if only_equality => false,
        BinaryOp::Less => order == Some(Ordering::Less),
        BinaryOp::LessEq => order.is_some_and(Ordering::is_le),
        BinaryOp::Greater => order == Some(Ordering::Greater),
        BinaryOp::GreaterEq => order.is_some_and(Ordering::is_ge),
        _ => false,
    }
}

fn matches(text: &str, pattern: &str) -> Result<bool, EvalError> {
    thread_local! {
        // Compiling takes far longer than matching, and a query asks the same of every span.
        static COMPILED: RefCell<HashMap<String, Regex>> = RefCell::new(HashMap::new());
    }
    COMPILED.with_borrow_mut(|compiled| {
        if let Some(regex) = compiled.get(pattern) {
            return Ok(regex.is_match(text));
        }
        let regex = trackway_traceql::compile_regex(pattern).map_err(EvalError::Regex)?;
        let found = regex.is_match(text);
        compiled.insert(pattern.to_owned(), regex);
        Ok(found)
    })
}

/// `left OP right` for arithmetic. With anything that is no number the result is nil. Whole numbers stay whole, a
/// duration among them makes a duration; a floating-point number makes a floating-point number of all.
pub(crate) fn arithmetic(op: BinaryOp, left: &Val, right: &Val) -> Result<Val, EvalError> {
    if let (Some(a), Some(b)) = (left.whole(), right.whole()) {
        let value = whole_arithmetic(op, a, b)?;
        let ints = matches!((left, right), (Val::Int(_), Val::Int(_)));
        return Ok(if ints { Val::Int(value) } else { Val::Duration(value) });
    }
    let (Some(a), Some(b)) = (left.number(), right.number()) else { return Ok(Val::Nil) };
    Ok(match op {
        BinaryOp::Add => Val::Float(a + b),
        BinaryOp::Sub => Val::Float(a - b),
        BinaryOp::Mul => Val::Float(a * b),
        BinaryOp::Div => Val::Float(a / b),
        BinaryOp::Mod => Val::Float(a % b),
        BinaryOp::Pow => Val::Float(a.powf(b)),
        _ => Val::Nil,
    })
}

fn whole_arithmetic(op: BinaryOp, a: i64, b: i64) -> Result<i64, EvalError> {
    Ok(match op {
        BinaryOp::Add => a.wrapping_add(b),
        BinaryOp::Sub => a.wrapping_sub(b),
        BinaryOp::Mul => a.wrapping_mul(b),
        BinaryOp::Div if b == 0 => return Err(EvalError::DivisionByZero),
        BinaryOp::Mod if b == 0 => return Err(EvalError::ModuloByZero),
        BinaryOp::Div => a.wrapping_div(b),
        BinaryOp::Mod => a.wrapping_rem(b),
        // CHOICE: a whole number to a negative power is 0.
        BinaryOp::Pow => u32::try_from(b).map_or(0, |exponent| a.wrapping_pow(exponent)),
        _ => 0,
    })
}

/// `-value`; nil of what is no number.
pub(crate) fn negated(value: &Val) -> Val {
    match value {
        Val::Int(value) => Val::Int(value.wrapping_neg()),
        Val::Float(value) => Val::Float(-value),
        Val::Duration(value) => Val::Duration(value.wrapping_neg()),
        _ => Val::Nil,
    }
}
