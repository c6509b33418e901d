//! Attributes of a span while it is translated: keys are unique, the last value of a key counts, at its first place.
//!
//! What must stay true: a span with very many attributes costs no more than in proportion to their number.

use std::borrow::Cow;
use std::collections::HashMap;

use trackway_spans::wire::{put_bytes, put_message, put_number, put_varint};

/// Up to so many attributes are looked through one by one.
const FEW: usize = 32;

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Text(Cow<'a, str>),
    Bool(bool),
    Int(i64),
    Double(f64),
    Bytes(Cow<'a, [u8]>),
}

impl Value<'_> {
    /// The text, empty if it is none.
    pub(crate) fn as_text(&self) -> &str {
        if let Self::Text(text) = self { text } else { "" }
    }

    /// A whole number, or a text that is one.
    pub(crate) fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            Self::Text(text) => text.parse().ok(),
            _ => None,
        }
    }
}

/// Attributes in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Attributes<'a> {
    entries: Vec<(Cow<'a, str>, Value<'a>)>,
    places: Option<HashMap<Cow<'a, str>, usize>>,
}

impl<'a> Attributes<'a> {
    /// Sets an attribute.
    pub(crate) fn put(&mut self, key: impl Into<Cow<'a, str>>, value: Value<'a>) {
        let key = key.into();
        if self.entries.len() >= FEW && self.places.is_none() {
            let places = self.entries.iter().enumerate().map(|(place, (key, _))| (key.clone(), place));
            self.places = Some(places.collect());
        }
        match self.place(&key) {
            Some(place) => self.entries[place].1 = value,
            None => {
                if let Some(places) = &mut self.places {
                    places.insert(key.clone(), self.entries.len());
                }
                self.entries.push((key, value));
            }
        }
    }

    /// Sets a text.
    pub(crate) fn put_text(&mut self, key: &'static str, value: impl Into<Cow<'a, str>>) {
        self.put(key, Value::Text(value.into()));
    }

    fn place(&self, key: &str) -> Option<usize> {
        match &self.places {
            Some(places) => places.get(key).copied(),
            None => self.entries.iter().position(|(other, _)| other == key),
        }
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Value<'a>> {
        self.place(key).map(|place| &self.entries[place].1)
    }

    /// Takes an attribute out.
    pub(crate) fn take(&mut self, key: &str) -> Option<Value<'a>> {
        let place = self.place(key)?;
        self.places = None;
        Some(self.entries.remove(place).1)
    }

    /// Takes out those whose key is wanted.
    pub(crate) fn take_all(
        &mut self,
        wanted: impl Fn(&str) -> bool,
        mut to: impl FnMut(Cow<'a, str>, Value<'a>),
    ) {
        if !self.entries.iter().any(|(key, _)| wanted(key)) {
            return;
        }
        self.places = None;
        for (key, value) in std::mem::take(&mut self.entries) {
            if wanted(&key) {
                to(key, value);
            } else {
                self.entries.push((key, value));
            }
        }
    }

    /// Forgets all and keeps the room.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.places = None;
    }

    /// Writes them as the repeated `KeyValue` of this number.
    pub(crate) fn write(&self, out: &mut Vec<u8>, number: u32) {
        for (key, value) in &self.entries {
            put_message(out, number, |out| {
                put_bytes(out, 1, key.as_bytes());
                put_message(out, 2, |out| match value {
                    Value::Text(text) => put_bytes(out, 1, text.as_bytes()),
                    Value::Bool(value) => put_number(out, 2, u64::from(*value)),
                    Value::Int(value) => put_number(out, 3, value.cast_unsigned()),
                    Value::Double(value) => {
                        put_varint(out, 4 << 3 | 1);
                        out.extend_from_slice(&value.to_le_bytes());
                    }
                    Value::Bytes(bytes) => put_bytes(out, 7, bytes),
                });
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_counts_however_many_there_are() {
        for count in [3, FEW, 500] {
            let mut attributes = Attributes::default();
            for round in 0..2 {
                for key in 0..count {
                    attributes.put(format!("k{key}"), Value::Int(i64::from(round) * 1000 + key as i64));
                }
            }
            assert_eq!(attributes.entries.len(), count);
            assert_eq!(attributes.take("k1"), Some(Value::Int(1001)));
            assert_eq!(attributes.get("k1"), None);
            attributes.put("k1", Value::Bool(true));
            assert_eq!(attributes.get("k1"), Some(&Value::Bool(true)));
            assert_eq!(attributes.get("k2"), Some(&Value::Int(1002)));
            assert_eq!(attributes.entries.len(), count);
        }
    }
}
