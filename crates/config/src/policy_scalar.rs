//! The value of a filter policy, which has no type but the one it is written with: `200` is a number, `"200"` a text.

use crate::node::{Node, NodeValue};
use crate::reader::Reader;
use crate::table::{Item, Kind, Setting};

/// A text, a number or a boolean.
#[derive(Debug, Clone, PartialEq)]
pub enum PolicyScalar {
    /// A text.
    Text(String),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// A boolean.
    Bool(bool),
}

impl PolicyScalar {
    fn plain(text: &str) -> Self {
        let is_number = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'));
        match text {
            "true" | "True" | "TRUE" => Self::Bool(true),
            "false" | "False" | "FALSE" => Self::Bool(false),
            text => match (text.parse(), text.parse::<f64>()) {
                (Ok(whole), _) => Self::Int(whole),
                (_, Ok(number)) if is_number && number.is_finite() => Self::Float(number),
                _ => Self::Text(text.to_owned()),
            },
        }
    }
}

impl Setting for PolicyScalar {
    fn kind() -> Kind {
        Kind::Scalar("text, number or boolean")
    }

    fn read(&mut self, node: &Node, reader: &mut Reader) {
        match &node.value {
            NodeValue::Null => {}
            NodeValue::Scalar { text, quoted: true } => *self = Self::Text(text.clone()),
            NodeValue::Scalar { text, .. } => *self = Self::plain(text),
            _ => reader.expected(node, "a text, a number or a boolean"),
        }
    }

    fn show(&self) -> Item {
        match self {
            Self::Text(text) => Item::Text(text.clone()),
            Self::Int(number) => Item::Plain(number.to_string()),
            // With a point or an exponent, so that it is read back as what it is.
            Self::Float(number) => Item::Plain(format!("{number:?}")),
            Self::Bool(is) => Item::Plain(is.to_string()),
        }
    }

    fn zero() -> Self {
        Self::Text(String::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_decides_the_type() {
        use PolicyScalar::{Bool, Float, Int, Text};
        let text = |text: &str| Text(text.to_owned());
        for (written, want) in [
            ("200", Int(200)),
            ("-3", Int(-3)),
            ("2.5", Float(2.5)),
            ("1e3", Float(1000.0)),
            ("true", Bool(true)),
            ("yes", text("yes")),
            ("inf", text("inf")),
            ("1.2.3", text("1.2.3")),
            ("GET", text("GET")),
        ] {
            assert_eq!(PolicyScalar::plain(written), want, "{written}");
        }
        assert_eq!(Float(1000.0).show(), Item::Plain("1000.0".to_owned()));
    }
}
