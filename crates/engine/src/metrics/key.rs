//! Values by which spans are grouped, owned and comparable, so that parts of an answer from anywhere can be put together.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::result::AttributeValue;
use crate::value::Val;

/// A value. Texts that are not UTF-8 are the same when they look the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Key {
    /// No value; arrays count as none.
    Nil,
    Bool(bool),
    Int(i64),
    /// The bits of a floating-point number; there is one zero and one NaN.
    Float(u64),
    /// Nanoseconds.
    Duration(i64),
    Status(u8),
    Kind(u8),
    Text(String),
}

impl Key {
    pub(crate) fn text(bytes: &[u8]) -> Self {
        Self::Text(String::from_utf8_lossy(bytes).into_owned())
    }

    pub(crate) fn of(value: &Val<'_>) -> Self {
        match value {
            Val::Nil | Val::Array(_) => Self::Nil,
            Val::Int(value) => Self::Int(*value),
            Val::Float(value) => Self::Float(float_bits(*value)),
            Val::Duration(value) => Self::Duration(*value),
            Val::Bool(value) => Self::Bool(*value),
            Val::Text(text) => Self::text(text),
            Val::Owned(text) => Self::text(text),
            Val::Status(code) => Self::Status(*code),
            Val::Kind(code) => Self::Kind(*code),
        }
    }

    /// The value as a label has it, which is how a search shows it.
    pub(crate) fn label(&self) -> AttributeValue {
        match self {
            Self::Nil => Val::Nil,
            Self::Bool(value) => Val::Bool(*value),
            Self::Int(value) => Val::Int(*value),
            Self::Float(bits) => Val::Float(f64::from_bits(*bits)),
            Self::Duration(value) => Val::Duration(*value),
            Self::Status(code) => Val::Status(*code),
            Self::Kind(code) => Val::Kind(*code),
            Self::Text(text) => Val::Text(text.as_bytes()),
        }
        .shown()
    }
}

/// Bits that are the same for equal numbers, and for all that are none.
pub(crate) fn float_bits(value: f64) -> u64 {
    if value.is_nan() { f64::NAN.to_bits() } else { (value + 0.0).to_bits() }
}

/// Labels as JSON text, to bring series into an order that does not depend on where they come from.
pub(crate) fn labels_text(labels: &[(String, AttributeValue)]) -> String {
    let mut text = String::from("[");
    for (at, (name, value)) in labels.iter().enumerate() {
        text.push_str(if at == 0 { "{\"key\":" } else { ",{\"key\":" });
        put_text(&mut text, name);
        text.push_str(",\"value\":");
        put_value(&mut text, value);
        text.push('}');
    }
    text.push(']');
    text
}

/// A value as JSON text, for the same purpose.
pub(crate) fn value_text(value: &AttributeValue) -> String {
    let mut text = String::new();
    put_value(&mut text, value);
    text
}

fn put_value(text: &mut String, value: &AttributeValue) {
    // Writing to a text does not fail.
    let _ = match value {
        AttributeValue::String(value) => {
            text.push_str("{\"stringValue\":");
            put_text(text, value);
            text.write_str("}")
        }
        AttributeValue::Int(value) => write!(text, "{{\"intValue\":\"{value}\"}}"),
        AttributeValue::Float(value) => write!(text, "{{\"doubleValue\":{value:?}}}"),
        AttributeValue::Bool(value) => write!(text, "{{\"boolValue\":{value}}}"),
        AttributeValue::Array(_) => Ok(()), // never a label
    };
}

fn put_text(text: &mut String, value: &str) {
    text.push('"');
    for char in value.chars() {
        if matches!(char, '"' | '\\') {
            text.push('\\');
        }
        text.push(char);
    }
    text.push('"');
}
