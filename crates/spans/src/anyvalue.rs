//! `AnyValue`s that are neither text, integer, number nor boolean: arrays, maps, bytes and nothing. A batch keeps their
//! protobuf bytes; here they are checked, taken apart and put together.

use crate::batch::Value;
use crate::wire::{self, Field, Reader, WireError};

/// How deep values may be nested. Deeper ones come from bugs or attacks.
pub const DEPTH_MAX: usize = 32;

/// An `AnyValue`, one level deep.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AnyValue<'a> {
    /// Text, integer, number or boolean.
    Scalar(Value<'a>),
    /// The `ArrayValue` message: field 1, repeated `AnyValue`.
    Array(&'a [u8]),
    /// The `KeyValueList` message: field 1, repeated `KeyValue`.
    Map(&'a [u8]),
    /// Raw bytes.
    Bytes(&'a [u8]),
    /// No value at all.
    Empty,
}

/// Reads one `AnyValue` message. Of several values the last counts, as protobuf's rules say.
#[inline]
pub fn parse(message: &[u8]) -> Result<AnyValue<'_>, WireError> {
    // A short text, a boolean or a small number, as nearly all are: nothing is behind it.
    match message {
        [0x0a, length @ ..0x80, text @ ..] if usize::from(*length) == text.len() => {
            Ok(AnyValue::Scalar(Value::String(text)))
        }
        [0x10, truth @ ..0x80] => Ok(AnyValue::Scalar(Value::Bool(*truth != 0))),
        [0x18, number @ ..0x80] => Ok(AnyValue::Scalar(Value::Int(i64::from(*number)))),
        _ => parse_any(message),
    }
}

fn parse_any(message: &[u8]) -> Result<AnyValue<'_>, WireError> {
    let mut value = AnyValue::Empty;
    let mut reader = Reader::new(message);
    while let Some((number, field)) = reader.next_field()? {
        value = match number {
            1 => AnyValue::Scalar(Value::String(field.bytes(1)?)),
            2 => AnyValue::Scalar(Value::Bool(field.varint(2)? != 0)),
            3 => AnyValue::Scalar(Value::Int(field.varint(3)?.cast_signed())),
            4 => AnyValue::Scalar(Value::Float(f64::from_bits(field.fixed64(4)?))),
            5 => AnyValue::Array(field.bytes(5)?),
            6 => AnyValue::Map(field.bytes(6)?),
            7 => AnyValue::Bytes(field.bytes(7)?),
            _ => value,
        };
    }
    Ok(value)
}

/// Reads one `KeyValue` message into its key and the message of its value.
#[inline]
pub fn parse_key_value(message: &[u8]) -> Result<(&[u8], &[u8]), WireError> {
    // Key, then value, both short, nothing behind: how nearly all are written.
    if let [0x0a, length @ ..0x80, rest @ ..] = message
        && let Some((key, [0x12, length @ ..0x80, value @ ..])) = rest.split_at_checked(usize::from(*length))
        && usize::from(*length) == value.len()
    {
        return Ok((key, value));
    }
    parse_any_key_value(message)
}

fn parse_any_key_value(message: &[u8]) -> Result<(&[u8], &[u8]), WireError> {
    let (mut key, mut value): (&[u8], &[u8]) = (b"", b"");
    let mut reader = Reader::new(message);
    while let Some((number, field)) = reader.next_field()? {
        match number {
            1 => key = field.bytes(1)?,
            2 => value = field.bytes(2)?,
            _ => {}
        }
    }
    Ok((key, value))
}

/// The elements of an `ArrayValue` or a `KeyValueList`, each as its message.
pub fn elements(list: &[u8]) -> impl Iterator<Item = Result<&[u8], WireError>> {
    let mut reader = Reader::new(list);
    std::iter::from_fn(move || {
        loop {
            match reader.next_field() {
                Ok(Some((1, Field::Bytes(element)))) => return Some(Ok(element)),
                Ok(Some((1, _))) => return Some(Err(WireError::WrongType(1))),
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    })
}

/// Checks that a message and all that it holds can be read.
pub fn validate(message: &[u8], depth: usize) -> Result<(), WireError> {
    if depth > DEPTH_MAX {
        return Err(WireError::TooDeep);
    }
    match parse(message)? {
        AnyValue::Array(list) => elements(list).try_for_each(|element| validate(element?, depth + 1)),
        AnyValue::Map(list) => elements(list).try_for_each(|element| {
            let (_, value) = parse_key_value(element?)?;
            validate(value, depth + 1)
        }),
        _ => Ok(()),
    }
}

/// Appends the fields of an `AnyValue` message.
pub fn put(out: &mut Vec<u8>, value: Value<'_>) {
    match value {
        Value::String(text) => wire::put_bytes(out, 1, text),
        Value::Bool(value) => wire::put_number(out, 2, u64::from(value)),
        Value::Int(value) => wire::put_number(out, 3, value.cast_unsigned()),
        Value::Float(value) => wire::put_fixed64(out, 4, value.to_bits()),
        Value::Other(message) => out.extend_from_slice(message),
    }
}

/// The fields of an `AnyValue` message that is an array of these scalars.
pub fn array_message<'a>(values: impl Iterator<Item = Value<'a>>) -> Vec<u8> {
    let mut out = Vec::new();
    wire::put_message(&mut out, 5, |out| {
        for value in values {
            wire::put_message(out, 1, |out| put(out, value));
        }
    });
    out
}

/// Calls `each` with every scalar of an array; nested values are passed as [`Value::Other`]. Does nothing for a
/// message that is no array.
pub fn for_each_element<'a>(message: &'a [u8], mut each: impl FnMut(Value<'a>)) {
    let Ok(AnyValue::Array(list)) = parse(message) else { return };
    for element in elements(list) {
        let Ok(element) = element else { return };
        match parse(element) {
            Ok(AnyValue::Scalar(value)) => each(value),
            Ok(_) => each(Value::Other(element)),
            Err(_) => return,
        }
    }
}

/// The type that all elements of an array share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArrayType {
    /// Only texts.
    Strings,
    /// Only integers.
    Ints,
    /// Only floating-point numbers.
    Floats,
    /// Only booleans.
    Bools,
}

/// The type that all elements of an array share; `None` for mixed or nested ones, empty ones, and what is no array.
pub fn array_type(message: &[u8]) -> Option<ArrayType> {
    let mut types = Vec::new();
    for_each_element(message, |value| {
        types.push(match value {
            Value::String(_) => Some(ArrayType::Strings),
            Value::Int(_) => Some(ArrayType::Ints),
            Value::Float(_) => Some(ArrayType::Floats),
            Value::Bool(_) => Some(ArrayType::Bools),
            Value::Other(_) => None,
        });
    });
    let first = types.first().copied().flatten()?;
    types.iter().all(|each| *each == Some(first)).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_are_put_together_and_taken_apart() {
        let message = array_message([Value::Int(-1), Value::Int(7)].into_iter());
        assert_eq!(array_type(&message), Some(ArrayType::Ints));
        let mut seen = Vec::new();
        for_each_element(&message, |value| seen.push(value));
        assert_eq!(seen, [Value::Int(-1), Value::Int(7)]);
        let mixed = array_message([Value::Int(1), Value::Bool(true)].into_iter());
        assert_eq!(array_type(&mixed), None);
        assert_eq!(array_type(b""), None);
    }

    #[test]
    fn nesting_has_an_end() {
        let mut message = Vec::new();
        for _ in 0..=DEPTH_MAX + 1 {
            let inner = message;
            message = array_message([Value::Other(&inner)].into_iter());
        }
        assert_eq!(validate(&message, 0), Err(WireError::TooDeep));
        assert_eq!(validate(&array_message([Value::Bool(true)].into_iter()), 0), Ok(()));
    }
}
