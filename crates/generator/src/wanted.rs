//! Which attributes are looked at, and what they say.
//!
//! What must stay true: of several attributes with one key the first counts, as in Tempo; an attribute that nobody asks
//! for costs one comparison of a length.

use trackway_spans::anyvalue::{self, AnyValue};
use trackway_spans::{Attribute, Value};

/// Place of a key in [`Wanted`].
pub(crate) type Slot = usize;

/// The keys that are asked for, each once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    keys: Vec<Vec<u8>>,
    /// A bit for each length of a key; the last for all that are longer.
    lengths: u64,
}

fn bit(length: usize) -> u64 {
    1 << length.min(63)
}

impl Wanted {
    /// Asks for a key.
    pub(crate) fn add(&mut self, key: &str) -> Slot {
        if let Some(slot) = self.keys.iter().position(|known| known == key.as_bytes()) {
            return slot;
        }
        self.lengths |= bit(key.len());
        self.keys.push(key.as_bytes().to_vec());
        self.keys.len() - 1
    }

    fn slot(&self, key: &[u8]) -> Option<Slot> {
        if self.lengths & bit(key.len()) == 0 {
            return None;
        }
        self.keys.iter().position(|known| known == key)
    }

    /// Puts the values of these attributes into their slots.
    pub(crate) fn pick<'r>(&self, attributes: &[Attribute<'r>], slots: &mut Vec<Option<AnyValue<'r>>>) {
        slots.clear();
        slots.resize(self.keys.len(), None);
        if self.keys.is_empty() {
            return;
        }
        for (key, value) in attributes {
            if let Some(slot) = self.slot(key).and_then(|slot| slots.get_mut(slot))
                && slot.is_none()
            {
                *slot = Some(*value);
            }
        }
    }
}

/// Appends a value as Tempo writes it into a label: texts as they are, lists as `[a,b]`, maps as `{k:v}`, bytes and
/// nothing as nothing.
pub(crate) fn put_text(out: &mut Vec<u8>, value: AnyValue<'_>) {
    use std::io::Write;
    // Writing to a vector cannot fail.
    let _ = match value {
        AnyValue::Scalar(Value::String(text)) => out.write_all(text),
        AnyValue::Scalar(Value::Int(number)) => write!(out, "{number}"),
        AnyValue::Scalar(Value::Float(number)) => put_float(out, number),
        AnyValue::Scalar(Value::Bool(truth)) => write!(out, "{truth}"),
        AnyValue::Array(list) => {
            put_list(out, list, b'[', b']', put_message);
            Ok(())
        }
        AnyValue::Map(list) => {
            put_list(out, list, b'{', b'}', |out, element| {
                if let Ok((key, value)) = anyvalue::parse_key_value(element) {
                    out.extend_from_slice(key);
                    out.push(b':');
                    put_message(out, value);
                }
            });
            Ok(())
        }
        AnyValue::Scalar(Value::Other(_)) | AnyValue::Bytes(_) | AnyValue::Empty => Ok(()),
    };
}

/// As Go writes floating-point numbers without an exponent.
fn put_float(out: &mut Vec<u8>, number: f64) -> std::io::Result<()> {
    use std::io::Write;
    if number.is_nan() {
        write!(out, "NaN")
    } else if number.is_infinite() {
        write!(out, "{}Inf", if number > 0.0 { '+' } else { '-' })
    } else {
        write!(out, "{number}")
    }
}

fn put_message(out: &mut Vec<u8>, message: &[u8]) {
    if let Ok(value) = anyvalue::parse(message) {
        put_text(out, value);
    }
}

fn put_list(out: &mut Vec<u8>, list: &[u8], open: u8, close: u8, put: impl Fn(&mut Vec<u8>, &[u8])) {
    out.push(open);
    for (index, element) in anyvalue::elements(list).map_while(Result::ok).enumerate() {
        if index > 0 {
            out.push(b',');
        }
        put(out, element);
    }
    out.push(close);
}

/// The number that a span stands for by the share of spans that was kept, an attribute; `None` if that says nothing.
pub(crate) fn by_share(value: Option<AnyValue<'_>>) -> Option<f64> {
    match value {
        // A sum never gets rid of what is no finite number.
        Some(AnyValue::Scalar(Value::Float(share))) => {
            Some(1.0 / share).filter(|of| of.is_finite() && *of > 0.0)
        }
        _ => None,
    }
}

/// The number that a span stands for by the sampling threshold in its trace state (`ot=th:…`, OpenTelemetry's
/// consistent probability sampling): up to 14 hexadecimal digits, the share of spans that was *not* kept.
pub(crate) fn by_trace_state(state: &[u8]) -> Option<f64> {
    let state = std::str::from_utf8(state).ok()?;
    let ours = state.split(',').find_map(|member| member.trim().strip_prefix("ot="))?;
    let digits = ours.split(';').find_map(|part| part.strip_prefix("th:"))?;
    if digits.is_empty() || digits.len() > 14 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let threshold = u64::from_str_radix(digits, 16).ok()? << (4 * (14 - digits.len()));
    // Both are below 2^57, and lose nothing that matters in a ratio.
    let (all, kept) = ((1_u64 << 56) as f64, ((1_u64 << 56) - threshold) as f64);
    Some(all / kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: AnyValue<'_>) -> String {
        let mut out = Vec::new();
        put_text(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_become_the_texts_of_tempo() {
        let list =
            anyvalue::array_message([Value::Int(1), Value::String(b"b"), Value::Bool(true)].into_iter());
        let AnyValue::Array(list) = anyvalue::parse(&list).unwrap() else { panic!() };
        for (value, expected) in [
            (AnyValue::Scalar(Value::String(b"a b")), "a b"),
            (AnyValue::Scalar(Value::Int(-7)), "-7"),
            (AnyValue::Scalar(Value::Float(1e21)), "1000000000000000000000"),
            (AnyValue::Scalar(Value::Float(0.25)), "0.25"),
            (AnyValue::Scalar(Value::Float(f64::INFINITY)), "+Inf"),
            (AnyValue::Scalar(Value::Bool(false)), "false"),
            (AnyValue::Array(list), "[1,b,true]"),
            (AnyValue::Bytes(b"x"), ""),
            (AnyValue::Empty, ""),
        ] {
            assert_eq!(text(value), expected);
        }
    }

    #[test]
    fn the_first_of_equal_keys_counts() {
        let mut wanted = Wanted::default();
        let (b, a) = (wanted.add("b"), wanted.add("a"));
        assert_eq!(wanted.add("b"), b);
        let value = |number| AnyValue::Scalar(Value::Int(number));
        let attributes: [Attribute<'_>; 4] =
            [(b"a", value(1)), (b"c", value(2)), (b"a", value(3)), (b"long", value(4))];
        let mut slots = Vec::new();
        wanted.pick(&attributes, &mut slots);
        assert_eq!((slots[a], slots[b]), (Some(value(1)), None));
    }

    #[test]
    fn the_threshold_of_a_trace_state_says_what_a_span_stands_for() {
        for (state, expected) in [
            ("ot=th:8", Some(2.0)),
            ("a=b, ot=rv:1;th:c,x=y", Some(4.0)),
            ("ot=th:0", Some(1.0)),
            ("ot=th:fd70a", Some(99.97)),
            ("my-ot=th:8", None),
            ("ot=th:", None),
            ("ot=th:g", None),
            ("ot=th:123456789012345", None),
            ("", None),
        ] {
            let found = by_trace_state(state.as_bytes());
            assert_eq!(found.is_some(), expected.is_some(), "{state}");
            let (found, expected) = (found.unwrap_or(0.0), expected.unwrap_or(0.0));
            assert!((found - expected).abs() < 0.05, "{state}: {found}");
        }
    }
}
