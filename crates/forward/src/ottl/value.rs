//! Values of a condition while it is judged, and how they compare: as in the Collector, by the numbers for numbers, and
//! never equal when they are of different kinds.

use std::borrow::Cow;
use std::cmp::Ordering;

use trackway_proto::common::{AnyValue, KeyValue, any_value};

use super::parse::Comparison;

/// A value.
#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
    List(Vec<Self>),
    Map(&'a [KeyValue]),
}

impl<'a> Value<'a> {
    pub(super) fn of(value: Option<&'a AnyValue>) -> Self {
        match value.and_then(|value| value.value.as_ref()) {
            None => Self::Nil,
            Some(any_value::Value::StringValue(text)) => Self::Text(Cow::Borrowed(text)),
            Some(any_value::Value::BoolValue(value)) => Self::Bool(*value),
            Some(any_value::Value::IntValue(value)) => Self::Int(*value),
            Some(any_value::Value::DoubleValue(value)) => Self::Float(*value),
            Some(any_value::Value::BytesValue(bytes)) => Self::Bytes(Cow::Borrowed(bytes)),
            Some(any_value::Value::ArrayValue(list)) => {
                Self::List(list.values.iter().map(|value| Self::of(Some(value))).collect())
            }
            Some(any_value::Value::KvlistValue(map)) => Self::Map(&map.values),
        }
    }

    pub(super) fn text(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }

    pub(super) fn bytes(bytes: &'a [u8]) -> Self {
        Self::Bytes(Cow::Borrowed(bytes))
    }

    /// As functions on texts take it: numbers and the like are written out. `None` for nil, lists and maps, which have no
    /// short form.
    pub(super) fn written(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Text(text) => Some(Cow::Borrowed(text)),
            Self::Bool(value) => Some(Cow::Owned(value.to_string())),
            Self::Int(value) => Some(Cow::Owned(value.to_string())),
            Self::Float(value) => Some(Cow::Owned(value.to_string())),
            Self::Bytes(bytes) => Some(Cow::Owned(bytes.iter().map(|byte| format!("{byte:02x}")).collect())),
            Self::Nil | Self::List(_) | Self::Map(_) => None,
        }
    }

    fn same(&self, other: &Value<'_>) -> bool {
        match (self, other) {
            (Self::List(one), Value::List(other)) => {
                one.len() == other.len() && one.iter().zip(other).all(|(one, other)| one.same(other))
            }
            (Self::Map(one), Value::Map(other)) => {
                let in_other = |pair: &KeyValue| {
                    let found = other.iter().find(|other| other.key == pair.key);
                    found.is_some_and(|found| {
                        Value::of(pair.value.as_ref()).same(&Value::of(found.value.as_ref()))
                    })
                };
                one.len() == other.len() && one.iter().all(in_other)
            }
            _ => self.order(other) == Some(Ordering::Equal),
        }
    }

    /// `None` for what has no order: values of different kinds, lists, and what is no number.
    fn order(&self, other: &Value<'_>) -> Option<Ordering> {
        match (self, other) {
            (Self::Nil, Value::Nil) => Some(Ordering::Equal),
            (Self::Bool(one), Value::Bool(other)) => Some(one.cmp(other)),
            (Self::Int(one), Value::Int(other)) => Some(one.cmp(other)),
            (Self::Float(one), Value::Float(other)) => one.partial_cmp(other),
            (Self::Int(one), Value::Float(other)) => float(*one).partial_cmp(other),
            (Self::Float(one), Value::Int(other)) => one.partial_cmp(&float(*other)),
            (Self::Text(one), Value::Text(other)) => Some(one.cmp(other)),
            (Self::Bytes(one), Value::Bytes(other)) => Some(one.cmp(other)),
            _ => None,
        }
    }

    pub(super) fn compare(&self, comparison: Comparison, other: &Value<'_>) -> bool {
        let order = self.order(other);
        match comparison {
            Comparison::Equal => self.same(other),
            Comparison::NotEqual => !self.same(other),
            Comparison::Less => order == Some(Ordering::Less),
            Comparison::LessOrEqual => order.is_some_and(Ordering::is_le),
            Comparison::Greater => order == Some(Ordering::Greater),
            Comparison::GreaterOrEqual => order.is_some_and(Ordering::is_ge),
        }
    }
}

/// The nearest number; digits beyond the 53rd bit are lost, as in Go.
#[allow(clippy::cast_precision_loss)]
pub(super) fn float(number: i64) -> f64 {
    number as f64
}
