//! How single values are read and printed, with the leniency of Tempo's YAML library: `yes` is true, `1e6` is a whole
//! number, a number may stand where a text is expected.

use std::collections::BTreeMap;
use trackway_common::Secret;

use crate::bytesize::ByteSize;
use crate::duration::GoDuration;
use crate::node::{Node, NodeValue};
use crate::reader::Reader;
use crate::table::{Item, Kind, Setting};

/// A value that is kept as it was written, for parts that Trackway does not understand yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Raw(pub(crate) Node);

/// Keys whose values are not shown inside [`Raw`] values.
const SECRET_WORDS: &[&str] = &["password", "secret", "token", "credentials", "authorization"];

impl Raw {
    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        match &self.0.value {
            NodeValue::Null => true,
            NodeValue::Scalar { text, .. } => text.is_empty(),
            NodeValue::List(items) => items.is_empty(),
            NodeValue::Map(entries) => entries.is_empty(),
        }
    }

    fn item(node: &Node) -> Item {
        match &node.value {
            NodeValue::Null => Item::Null,
            NodeValue::Scalar { text, quoted: true } => Item::Text(text.clone()),
            NodeValue::Scalar { text, .. } => Item::Plain(text.clone()),
            NodeValue::List(items) => Item::List(items.iter().map(Self::item).collect()),
            NodeValue::Map(entries) => Item::Map(
                entries
                    .iter()
                    .map(|entry| {
                        let key = entry.key.to_ascii_lowercase();
                        let hidden = SECRET_WORDS.iter().any(|word| key.contains(word))
                            && matches!(entry.node.value, NodeValue::Scalar { .. });
                        let item =
                            if hidden { Item::Plain("<secret>".to_owned()) } else { Self::item(&entry.node) };
                        (entry.key.clone(), item)
                    })
                    .collect(),
            ),
        }
    }
}

/// YAML 1.1 booleans, and Go's for flags.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "y" | "Y" | "t" | "T"
        | "1" => Some(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "n" | "N" | "f" | "F"
        | "0" => Some(false),
        _ => None,
    }
}

/// Whole numbers: decimal, `0x`, `0o`, `0b`, `1_000`, and floating-point ones without a fraction (`1e6`).
pub(crate) fn parse_int(text: &str) -> Option<i128> {
    let plain = text.replace('_', "");
    let (negative, digits) = match plain.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, plain.strip_prefix('+').unwrap_or(&plain)),
    };
    let value = match digits.get(..2) {
        Some("0x" | "0X") => i128::from_str_radix(&digits[2..], 16).ok(),
        Some("0o") => i128::from_str_radix(&digits[2..], 8).ok(),
        Some("0b") => i128::from_str_radix(&digits[2..], 2).ok(),
        _ if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok(),
        _ if digits.starts_with(|c: char| c.is_ascii_digit()) => digits
            .parse::<f64>()
            .ok()
            .filter(|value| value.fract() == 0.0 && value.abs() < 9e15)
            .map(|value| value as i128),
        _ => None,
    }?;
    Some(if negative { -value } else { value })
}

macro_rules! whole_number {
    ($($ty:ty, $label:literal, $expected:literal;)*) => {$(
        impl Setting for $ty {
            fn kind() -> Kind {
                Kind::Scalar($label)
            }

            fn read(&mut self, node: &Node, reader: &mut Reader) {
                let parse = |text: &str| parse_int(text).and_then(|value| Self::try_from(value).ok());
                if let Some(value) = reader.scalar(node, $expected, parse) {
                    *self = value;
                }
            }

            fn show(&self) -> Item {
                Item::Plain(self.to_string())
            }

            fn zero() -> Self {
                0
            }
        }
    )*};
}

whole_number! {
    u16, "port", "a port number from 0 to 65535";
    u32, "count", "a whole number that is not negative";
    u64, "number", "a whole number that is not negative";
    i64, "whole number", "a whole number";
}

impl Setting for bool {
    fn kind() -> Kind {
        Kind::Scalar("boolean")
    }

    fn read(&mut self, node: &Node, reader: &mut Reader) {
        if let Some(value) = reader.scalar(node, "true or false", parse_bool) {
            *self = value;
        }
    }

    fn show(&self) -> Item {
        Item::Plain(self.to_string())
    }

    fn zero() -> Self {
        false
    }
}

impl Setting for f64 {
    fn kind() -> Kind {
        Kind::Scalar("number")
    }

    fn read(&mut self, node: &Node, reader: &mut Reader) {
        let parse = |text: &str| text.parse().ok().filter(|value: &Self| value.is_finite());
        if let Some(value) = reader.scalar(node, "a number", parse) {
            *self = value;
        }
    }

    fn show(&self) -> Item {
        Item::Plain(self.to_string())
    }

    fn zero() -> Self {
        0.0
    }
}

impl Setting for String {
    fn kind() -> Kind {
        Kind::Scalar("text")
    }

    fn read(&mut self, node: &Node, reader: &mut Reader) {
        if let Some(value) = reader.scalar(node, "text", |text| Some(text.to_owned())) {
            *self = value;
        }
    }

    fn show(&self) -> Item {
        Item::Text(self.clone())
    }

    fn zero() -> Self {
        Self::new()
    }
}

impl Setting for Secret {
    fn kind() -> Kind {
        Kind::Scalar("secret text")
    }

    fn read(&mut self, node: &Node, reader: &mut Reader) {
        let mut text = self.expose().to_owned();
        text.read(node, reader);
        *self = Self::new(text);
    }

    fn show(&self) -> Item {
        if self.is_empty() { Item::Text(String::new()) } else { Item::Plain("<secret>".to_owned()) }
    }

    fn zero() -> Self {
        Self::default()
    }
}

impl Setting for GoDuration {
    fn kind() -> Kind {
        Kind::Scalar("duration")
    }

    fn read(&mut self, node: &Node, reader: &mut Reader) {
        // Go takes a bare number as nanoseconds. Nobody who writes `30` means that, so small ones are errors.
        let parse = |text: &str| match parse_int(text) {
            Some(nanos) if nanos == 0 || nanos.abs() >= 1_000_000 => {
                i64::try_from(nanos).ok().map(Self::from_nanos)
            }
            Some(_) => None,
            None => text.parse().ok(),
        };
        let expected = "a duration with a unit, such as 300ms, 30s, 1h30m or 14d";
        if let Some(value) = reader.scalar(node, expected, parse) {
            *self = value;
        }
    }

    fn show(&self) -> Item {
        Item::Plain(self.to_string())
    }

    fn zero() -> Self {
        Self::ZERO
    }
}

impl Setting for ByteSize {
    fn kind() -> Kind {
        Kind::Scalar("bytes")
    }

    fn read(&mut self, node: &Node, reader: &mut Reader) {
        let parse = |text: &str| match parse_int(text) {
            Some(bytes) => u64::try_from(bytes).ok().map(Self::new),
            None => text.parse().ok(),
        };
        let expected = "a number of bytes, such as 16777216, 256MB or 1GiB";
        if let Some(value) = reader.scalar(node, expected, parse) {
            *self = value;
        }
    }

    fn show(&self) -> Item {
        // Plain digits: Tempo itself reads nothing else.
        Item::Plain(self.bytes().to_string())
    }

    fn zero() -> Self {
        Self::new(0)
    }
}

impl Setting for Raw {
    fn kind() -> Kind {
        Kind::Any
    }

    fn read(&mut self, node: &Node, _: &mut Reader) {
        self.0 = node.clone();
    }

    fn show(&self) -> Item {
        Self::item(&self.0)
    }

    fn zero() -> Self {
        Self(Node::null(crate::problem::Origin::Default))
    }
}

impl<T: Setting> Setting for Option<T> {
    fn kind() -> Kind {
        T::kind()
    }

    fn read(&mut self, node: &Node, reader: &mut Reader) {
        // A receiver or protocol that is only named is there with its defaults; anything else is not there.
        let is_block = matches!(T::kind(), Kind::Section(_) | Kind::Any);
        if node.value == NodeValue::Null && !reader.naming_is_enough() {
            *self = None;
            return;
        }
        let problems = reader.problems.len();
        let mut value = self.take().unwrap_or_else(T::initial);
        value.read(node, reader);
        if is_block || reader.problems.len() == problems {
            *self = Some(value);
        }
    }

    fn show(&self) -> Item {
        self.as_ref().map_or(Item::Absent, Setting::show)
    }

    fn zero() -> Self {
        None
    }
}

impl<T: Setting> Setting for Vec<T> {
    fn kind() -> Kind {
        Kind::List(T::kind)
    }

    fn read(&mut self, node: &Node, reader: &mut Reader) {
        let items = match &node.value {
            NodeValue::Null => return self.clear(),
            NodeValue::List(items) => items,
            _ => return reader.expected(node, "a list"),
        };
        self.clear();
        for (index, item) in items.iter().enumerate() {
            let mut value = T::initial();
            reader.within(&format!("[{index}]"), |reader| value.read(item, reader));
            self.push(value);
        }
    }

    fn show(&self) -> Item {
        Item::List(self.iter().map(Setting::show).collect())
    }

    fn zero() -> Self {
        Self::new()
    }
}

impl<T: Setting> Setting for BTreeMap<String, T> {
    fn kind() -> Kind {
        Kind::Map(T::kind)
    }

    fn read(&mut self, node: &Node, reader: &mut Reader) {
        let entries = match &node.value {
            NodeValue::Null => return self.clear(),
            NodeValue::Map(entries) => entries,
            _ => return reader.expected(node, "a mapping"),
        };
        self.clear();
        for entry in entries {
            let mut value = T::initial();
            reader.within(&entry.key, |reader| value.read(&entry.node, reader));
            self.insert(entry.key.clone(), value);
        }
    }

    fn show(&self) -> Item {
        Item::Map(self.iter().map(|(key, value)| (key.clone(), value.show())).collect())
    }

    fn zero() -> Self {
        Self::new()
    }
}
