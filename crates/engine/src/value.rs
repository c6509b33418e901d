//! Values while they are being compared and computed with.
//!
//! The rules are Tempo's (`reference/tempo.md` §3.4, §3.5): a comparison with nil or with another type is false, not an
//! error; integers, floats and durations compare as numbers; of an array any element will do.

use std::cmp::Ordering;

use regex::Regex;
use trackway_spans::anyvalue;
use trackway_traceql::ast::{BinaryOp, Static};

use crate::filter::EvalError;
use crate::result::{AttributeValue, kind_name, status_name};

/// A value of one span.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Val<'a> {
    Nil,
    Int(i64),
    Float(f64),
    /// Nanoseconds.
    Duration(i64),
    Bool(bool),
    Text(&'a [u8]),
    /// Text that is not in the dictionary: ids in hexadecimal.
    Owned(Vec<u8>),
    Status(u8),
    Kind(u8),
    /// The protobuf message of an array.
    Array(&'a [u8]),
}

impl<'a> Val<'a> {
    pub(crate) fn from_static(value: &'a Static) -> Self {
        match value {
            Static::Nil => Self::Nil,
            Static::Int(value) => Self::Int(*value),
            Static::Float(value) => Self::Float(*value),
            Static::String(value) => Self::Text(value.as_bytes()),
            Static::Bool(value) => Self::Bool(*value),
            Static::Duration(value) => Self::Duration(*value),
            Static::Status(value) => Self::Status(*value as u8),
            Static::Kind(value) => Self::Kind(*value as u8),
        }
    }

    /// From an attribute. Maps, bytes, empty values and empty arrays are nil.
    pub(crate) fn from_attribute(value: trackway_spans::Value<'a>) -> Self {
        match value {
            trackway_spans::Value::String(text) => Self::Text(text),
            trackway_spans::Value::Int(value) => Self::Int(value),
            trackway_spans::Value::Float(value) => Self::Float(value),
            trackway_spans::Value::Bool(value) => Self::Bool(value),
            trackway_spans::Value::Other(message) => {
                let mut scalars = 0;
                anyvalue::for_each_element(message, |element| {
                    scalars += usize::from(!matches!(element, trackway_spans::Value::Other(_)));
                });
                if scalars > 0 { Self::Array(message) } else { Self::Nil }
            }
        }
    }

    /// The value as it stands in an answer. Durations are texts there, and so is what is missing.
    pub(crate) fn shown(&self) -> AttributeValue {
        let text = |bytes: &[u8]| AttributeValue::String(String::from_utf8_lossy(bytes).into_owned());
        match self {
            Self::Nil => text(b"nil"),
            Self::Int(value) => AttributeValue::Int(*value),
            Self::Float(value) => AttributeValue::Float(*value),
            Self::Duration(value) => AttributeValue::String(trackway_traceql::format_duration(*value)),
            Self::Bool(value) => AttributeValue::Bool(*value),
            Self::Text(value) => text(value),
            Self::Owned(value) => text(value),
            Self::Status(code) => text(status_name(*code).as_bytes()),
            Self::Kind(code) => text(kind_name(*code).as_bytes()),
            Self::Array(message) => {
                let mut elements = Vec::new();
                anyvalue::for_each_element(message, |element| {
                    elements.push(Self::from_attribute(element).shown());
                });
                AttributeValue::Array(elements)
            }
        }
    }

    /// Bytes that equal values have in common, and others have not.
    pub(crate) fn key(&self) -> Vec<u8> {
        let (kind, bytes): (u8, &[u8]) = match self {
            Self::Nil => (0, b""),
            Self::Int(value) => (1, &value.to_le_bytes()),
            // Both zeros are equal.
            Self::Float(value) => (2, &(value + 0.0).to_le_bytes()),
            Self::Duration(value) => (3, &value.to_le_bytes()),
            Self::Bool(value) => (4, &[u8::from(*value)]),
            Self::Text(text) => (5, text),
            Self::Owned(text) => (6, text),
            Self::Status(code) => (7, &[*code]),
            Self::Kind(code) => (8, &[*code]),
            Self::Array(message) => (9, message),
        };
        [&[kind], bytes].concat()
    }

    fn text(&self) -> Option<&[u8]> {
        match self {
            Self::Text(text) => Some(text),
            Self::Owned(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn number(&self) -> Option<f64> {
        match self {
            Self::Int(value) | Self::Duration(value) => Some(*value as f64),
            Self::Float(value) => Some(*value),
            _ => None,
        }
    }
}

/// A comparison that is ready to run: its operator, and its regular expression compiled.
#[derive(Clone, Debug)]
pub(crate) struct Comparison {
    pub(crate) op: BinaryOp,
    pub(crate) regex: Option<Regex>,
}

impl Comparison {
    pub(crate) fn matches(&self, left: &Val<'_>, right: &Val<'_>) -> bool {
        if let Val::Array(message) = left {
            return self.any_element(message, |element| self.matches(element, right));
        }
        if let Val::Array(message) = right {
            return self.any_element(message, |element| self.matches(left, element));
        }
        if let Some(regex) = &self.regex {
            let found = left.text().map(|text| regex.is_match(&String::from_utf8_lossy(text)));
            return found.is_some_and(|found| found == (self.op == BinaryOp::Regex));
        }
        let Some(order) = compare(left, right) else { return false };
        match self.op {
            BinaryOp::Eq => order == Some(Ordering::Equal),
            BinaryOp::NotEq => order != Some(Ordering::Equal),
            // Truths, statuses and kinds have no order.
            _ if matches!(left, Val::Bool(_) | Val::Status(_) | Val::Kind(_)) => false,
            BinaryOp::Less => order == Some(Ordering::Less),
            BinaryOp::LessEq => matches!(order, Some(Ordering::Less | Ordering::Equal)),
            BinaryOp::Greater => order == Some(Ordering::Greater),
            BinaryOp::GreaterEq => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
            _ => false,
        }
    }

    fn any_element(&self, message: &[u8], matches: impl Fn(&Val<'_>) -> bool) -> bool {
        let mut any = false;
        anyvalue::for_each_element(message, |element| {
            any |=
                !matches!(element, trackway_spans::Value::Other(_)) && matches(&Val::from_attribute(element));
        });
        any
    }
}

/// The order of two values of one type; the outer `None` when they cannot be compared, the inner one for NaN.
fn compare(left: &Val<'_>, right: &Val<'_>) -> Option<Option<Ordering>> {
    match (left, right) {
        (Val::Int(a) | Val::Duration(a), Val::Int(b) | Val::Duration(b)) => Some(Some(a.cmp(b))),
        (Val::Bool(a), Val::Bool(b)) => Some(Some(a.cmp(b))),
        (Val::Status(a), Val::Status(b)) | (Val::Kind(a), Val::Kind(b)) => Some(Some(a.cmp(b))),
        _ => match (left.text(), right.text()) {
            (Some(a), Some(b)) => Some(Some(a.cmp(b))),
            _ => Some(left.number()?.partial_cmp(&right.number()?)),
        },
    }
}

/// `left OP right` for the arithmetic operators. What is not a number gives nil.
pub(crate) fn arithmetic<'a>(op: BinaryOp, left: &Val<'_>, right: &Val<'_>) -> Result<Val<'a>, EvalError> {
    if let (Val::Int(a) | Val::Duration(a), Val::Int(b) | Val::Duration(b)) = (left, right) {
        let both_ints = matches!((left, right), (Val::Int(_), Val::Int(_)));
        let value = integers(op, *a, *b)?;
        return Ok(if both_ints { Val::Int(value) } else { Val::Duration(value) });
    }
    let (Some(a), Some(b)) = (left.number(), right.number()) else { return Ok(Val::Nil) };
    let value = match op {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div => a / b,
        BinaryOp::Mod => a % b,
        BinaryOp::Pow => a.powf(b),
        _ => return Ok(Val::Nil),
    };
    Ok(Val::Float(value))
}

fn integers(op: BinaryOp, a: i64, b: i64) -> Result<i64, EvalError> {
    Ok(match op {
        BinaryOp::Add => a.wrapping_add(b),
        BinaryOp::Sub => a.wrapping_sub(b),
        BinaryOp::Mul => a.wrapping_mul(b),
        BinaryOp::Div if b == 0 => return Err(EvalError::DivisionByZero),
        BinaryOp::Mod if b == 0 => return Err(EvalError::ModuloByZero),
        BinaryOp::Div => a.wrapping_div(b),
        BinaryOp::Mod => a.wrapping_rem(b),
        BinaryOp::Pow => match u32::try_from(b) {
            Ok(exponent) => a.wrapping_pow(exponent),
            Err(_) => 0,
        },
        _ => 0,
    })
}
