//! Conditions that name what they look for: the values that an attribute must have, and the traces that it can be.
//!
//! What must stay true: whatever matches is among what is named here. When in doubt nothing is.

use trackway_common::TraceId;
use trackway_spans::OneOf;
use trackway_traceql::ast::{BinaryOp, Static};
use trackway_traceql::beginnings;

/// Integers up to this are floats too, and different ones are different floats.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
const ID_DIGITS: usize = 32;

/// The values of which `attribute OP literal` needs one.
pub(crate) fn one_of(op: BinaryOp, literal: &Static) -> Option<OneOf> {
    match (op, literal) {
        (BinaryOp::Eq, Static::String(text)) => Some(OneOf::Texts(vec![text.as_bytes().to_vec()])),
        (BinaryOp::Regex, Static::String(pattern)) => {
            let found = beginnings(pattern)?;
            found.are_whole.then_some(OneOf::Texts(found.texts))
        }
        // An integer is compared with integers as what it is, with floats as a float.
        (BinaryOp::Eq, Static::Int(number) | Static::Duration(number)) => {
            Some(OneOf::Number(Some(*number), *number as f64))
        }
        // Integers are compared with a float as floats: several may be equal to a large one.
        (BinaryOp::Eq, Static::Float(number)) if number.abs() < EXACT_MAX => {
            let is_whole = number.fract() == 0.0;
            Some(OneOf::Number(is_whole.then_some(*number as i64), *number))
        }
        _ => None,
    }
}

/// Ranges, both ends included, in which the identifiers lie that `trace:id OP literal` matches; `None` for all.
pub(crate) fn trace_ids(op: BinaryOp, literal: &str) -> Option<Vec<(TraceId, TraceId)>> {
    match op {
        // Identifiers are compared without their leading zeros.
        BinaryOp::Eq => Some(ranges(literal.trim_start_matches('0').as_bytes(), true)),
        BinaryOp::Regex => {
            let found = beginnings(literal)?;
            if !found.are_whole && found.texts.iter().any(Vec::is_empty) {
                return None;
            }
            Some(found.texts.iter().flat_map(|text| ranges(text, found.are_whole)).collect())
        }
        _ => None,
    }
}

/// The identifiers whose digits, without leading zeros, are these or begin with these.
fn ranges(digits: &[u8], are_whole: bool) -> Vec<(TraceId, TraceId)> {
    let mut value = 0_u128;
    for digit in digits {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return Vec::new(),
        };
        value = value << 4 | u128::from(digit);
    }
    if digits == b"0" {
        return vec![(TraceId(0), TraceId(0))];
    }
    if digits.is_empty() || digits.len() > ID_DIGITS || digits[0] == b'0' {
        return Vec::new();
    }
    let more = if are_whole { 0 } else { ID_DIGITS - digits.len() };
    let with = |more: usize| {
        let low = value << (4 * more);
        (TraceId(low), TraceId(low | ((1_u128 << (4 * more)) - 1)))
    };
    (0..=more).map(with).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_named_as_they_are_compared() {
        let named = |literal: Static| one_of(BinaryOp::Eq, &literal);
        assert_eq!(named(Static::Int(5)), Some(OneOf::Number(Some(5), 5.0)));
        assert_eq!(named(Static::Duration(5)), Some(OneOf::Number(Some(5), 5.0)));
        assert_eq!(named(Static::Float(5.0)), Some(OneOf::Number(Some(5), 5.0)));
        assert_eq!(named(Static::Float(-0.0)), Some(OneOf::Number(Some(0), 0.0)));
        assert_eq!(named(Static::Float(5.5)), Some(OneOf::Number(None, 5.5)));
        for number in [f64::NAN, f64::INFINITY, 1e300, EXACT_MAX] {
            assert_eq!(named(Static::Float(number)), None, "{number}");
        }
        assert_eq!(one_of(BinaryOp::NotEq, &Static::Int(5)), None);
        assert_eq!(one_of(BinaryOp::NotRegex, &Static::String("a".into())), None);
        assert_eq!(named(Static::Nil), None);
    }

    #[test]
    fn ranges_hold_just_the_ids_that_match() {
        let ids: Vec<TraceId> = (0..128)
            .flat_map(|bits| [1_u128 << bits, (1 << bits) - 1, 0xabc_u128 << (bits % 116), 0xabc << bits])
            .map(TraceId)
            .collect();
        for (op, text) in [
            (BinaryOp::Eq, "abc"),
            (BinaryOp::Eq, "00000000000000000000000000000abc"),
            (BinaryOp::Eq, "0"),
            (BinaryOp::Eq, "ABC"),
            (BinaryOp::Eq, "x"),
            (BinaryOp::Eq, "1ffffffffffffffffffffffffffffffffff"),
            (BinaryOp::Regex, "abc.*"),
            (BinaryOp::Regex, "abc"),
            (BinaryOp::Regex, "0"),
            (BinaryOp::Regex, "0abc"),
            (BinaryOp::Regex, "(ab|f)c?.*"),
            (BinaryOp::Regex, "ab|8000.*"),
            (BinaryOp::Regex, "[a-f]0+"),
            (BinaryOp::Regex, "1?"),
        ] {
            let found = trace_ids(op, text).unwrap();
            let pattern = trackway_traceql::compile_regex(text).unwrap();
            for id in &ids {
                let short = id.short_hex();
                let matches = match op {
                    BinaryOp::Eq => short == text.trim_start_matches('0'),
                    _ => pattern.is_match(&short),
                };
                let named = found.iter().any(|(from, to)| from <= id && id <= to);
                assert!(named || !matches, "{op:?} {text} {short}");
                let is_exact = op == BinaryOp::Eq || matches!(text, "abc.*" | "abc" | "0");
                assert!(matches || !named || !is_exact, "{op:?} {text} {short}");
            }
        }
        for text in [".*", ".*abc", "(abc)?.*"] {
            assert_eq!(trace_ids(BinaryOp::Regex, text), None, "{text}");
        }
        assert_eq!(trace_ids(BinaryOp::NotEq, "abc"), None);
    }
}
