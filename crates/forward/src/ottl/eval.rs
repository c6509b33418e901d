//! Judges a condition. `None` is an error in the Collector's sense, which means that the condition is not met.

use std::borrow::Cow;

use super::Subject;
use super::call::{Call, Function};
use super::parse::{Comparison, Expr, Operand, Sum};
use super::value::{Value, float};

pub(super) fn truth(expr: &Expr, subject: &Subject<'_>) -> Option<bool> {
    match expr {
        Expr::Const(value) => Some(*value),
        Expr::Or(all) => {
            for one in all {
                if truth(one, subject)? {
                    return Some(true);
                }
            }
            Some(false)
        }
        Expr::And(all) => {
            for one in all {
                if !truth(one, subject)? {
                    return Some(false);
                }
            }
            Some(true)
        }
        Expr::Not(inner) => truth(inner, subject).map(|value| !value),
        Expr::Test(operand) => match value(operand, subject)? {
            Value::Bool(value) => Some(value),
            _ => None,
        },
        Expr::Compare(left, comparison, right) => {
            Some(value(left, subject)?.compare(*comparison, &value(right, subject)?))
        }
    }
}

fn value<'a>(operand: &'a Operand, subject: &Subject<'a>) -> Option<Value<'a>> {
    Some(match operand {
        Operand::Nil => Value::Nil,
        Operand::Bool(value) => Value::Bool(*value),
        Operand::Int(value) => Value::Int(*value),
        Operand::Float(value) => Value::Float(*value),
        Operand::Text(text) => Value::text(text),
        Operand::Bytes(bytes) => Value::bytes(bytes),
        Operand::List(all) => Value::List(all.iter().map(|one| value(one, subject)).collect::<Option<_>>()?),
        Operand::Path(path) => path.value(subject),
        Operand::Call(call) => result(call, subject)?,
        Operand::Sum(left, sum, right) => calculate(&value(left, subject)?, *sum, &value(right, subject)?)?,
    })
}

fn calculate(left: &Value<'_>, sum: Sum, right: &Value<'_>) -> Option<Value<'static>> {
    let floats = |one: f64, other: f64| match sum {
        Sum::Plus => one + other,
        Sum::Minus => one - other,
        Sum::Times => one * other,
        Sum::Divided => one / other,
    };
    Some(match (left, right) {
        (Value::Int(one), Value::Int(other)) => Value::Int(match sum {
            Sum::Plus => one.wrapping_add(*other),
            Sum::Minus => one.wrapping_sub(*other),
            Sum::Times => one.wrapping_mul(*other),
            Sum::Divided => one.checked_div(*other)?,
        }),
        (Value::Float(one), Value::Float(other)) => Value::Float(floats(*one, *other)),
        (Value::Int(one), Value::Float(other)) => Value::Float(floats(float(*one), *other)),
        (Value::Float(one), Value::Int(other)) => Value::Float(floats(*one, float(*other))),
        _ => return None,
    })
}

fn result<'a>(call: &'a Call, subject: &Subject<'a>) -> Option<Value<'a>> {
    let argument = |place: usize| call.arguments.get(place).and_then(|operand| value(operand, subject));
    let text = |place: usize| match argument(place)? {
        Value::Text(text) => Some(text),
        _ => None,
    };
    let kind = |is: fn(&Value<'_>) -> bool| argument(0).map(|value| Value::Bool(is(&value)));
    Some(match call.function {
        Function::IsMatch => {
            let pattern = call.pattern.as_ref()?;
            // Nil is no text, and matches nothing.
            Value::Bool(argument(0)?.written().is_some_and(|text| pattern.is_match(&text)))
        }
        Function::HasPrefix => Value::Bool(text(0)?.starts_with(&*text(1)?)),
        Function::HasSuffix => Value::Bool(text(0)?.ends_with(&*text(1)?)),
        Function::IsString => kind(|value| matches!(value, Value::Text(_)))?,
        Function::IsBool => kind(|value| matches!(value, Value::Bool(_)))?,
        Function::IsInt => kind(|value| matches!(value, Value::Int(_)))?,
        Function::IsDouble => kind(|value| matches!(value, Value::Float(_)))?,
        Function::IsMap => kind(|value| matches!(value, Value::Map(_)))?,
        Function::IsList => kind(|value| matches!(value, Value::List(_)))?,
        Function::IsRootSpan => Value::Bool(subject.span.parent_span_id.iter().all(|byte| *byte == 0)),
        Function::ContainsValue => match (argument(0)?, argument(1)?) {
            (Value::List(all), wanted) => {
                Value::Bool(all.iter().any(|one| one.compare(Comparison::Equal, &wanted)))
            }
            _ => return None,
        },
        Function::Concat => match (argument(0)?, text(1)?) {
            (Value::List(all), between) => {
                let written: Vec<_> = all.iter().map(|one| one.written().unwrap_or_default()).collect();
                Value::Text(Cow::Owned(written.join(&*between)))
            }
            _ => return None,
        },
        Function::ConvertCase => match &*text(1)? {
            "upper" => Value::Text(Cow::Owned(text(0)?.to_uppercase())),
            _ => Value::Text(Cow::Owned(text(0)?.to_lowercase())),
        },
        Function::ToLowerCase => Value::Text(Cow::Owned(text(0)?.to_lowercase())),
        Function::ToUpperCase => Value::Text(Cow::Owned(text(0)?.to_uppercase())),
        Function::Double => double(&argument(0)?),
        Function::Int => int(&argument(0)?),
        Function::Len => length(&argument(0)?)?,
        Function::String => match argument(0)?.written() {
            Some(written) => Value::Text(Cow::Owned(written.into_owned())),
            None => Value::Nil,
        },
        Function::Substring => substring(&text(0)?, &argument(1)?, &argument(2)?)?,
        Function::TraceId | Function::SpanId => argument(0)?,
        Function::Trim => {
            let what = if call.arguments.len() == 2 { text(1)?.into_owned() } else { " ".to_owned() };
            Value::Text(Cow::Owned(text(0)?.trim_matches(|c: char| what.contains(c)).to_owned()))
        }
    })
}

fn double(of: &Value<'_>) -> Value<'static> {
    match of {
        Value::Float(value) => Value::Float(*value),
        Value::Int(value) => Value::Float(float(*value)),
        Value::Bool(value) => Value::Float(f64::from(u8::from(*value))),
        Value::Text(text) => text.parse().map_or(Value::Nil, Value::Float),
        _ => Value::Nil,
    }
}

/// The part before the point, of numbers that fit.
#[allow(clippy::cast_possible_truncation)]
fn int(of: &Value<'_>) -> Value<'static> {
    match of {
        Value::Int(value) => Value::Int(*value),
        Value::Float(value) => Value::Int(*value as i64),
        Value::Bool(value) => Value::Int(i64::from(*value)),
        Value::Text(text) => text.parse().map_or(Value::Nil, Value::Int),
        _ => Value::Nil,
    }
}

fn length(of: &Value<'_>) -> Option<Value<'static>> {
    let length = match of {
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::List(all) => all.len(),
        Value::Map(all) => all.len(),
        _ => return None,
    };
    i64::try_from(length).ok().map(Value::Int)
}

/// By bytes, as in Go; nothing where that would cut a character.
fn substring(text: &str, start: &Value<'_>, length: &Value<'_>) -> Option<Value<'static>> {
    let (Value::Int(start), Value::Int(length)) = (start, length) else { return None };
    let (start, length) = (usize::try_from(*start).ok()?, usize::try_from(*length).ok()?);
    let part = text.get(start..start.checked_add(length)?)?;
    Some(Value::Text(Cow::Owned(part.to_owned())))
}
