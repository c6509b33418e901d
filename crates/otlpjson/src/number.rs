//! Numbers as JSON spells them, read exactly.
//!
//! Must stay true: 64-bit integers never pass through a float (`9007199254740993` stays itself), also when a sender
//! spells them `1.795336140123456789e18` or `5.0`; text that JSON would not take as a number is not one here.

/// The end of the JSON number at the start of `text`, or where it goes wrong.
pub(crate) fn scan(text: &[u8]) -> Result<usize, usize> {
    let digits = |from: usize| from + text[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut at = usize::from(text.first() == Some(&b'-'));
    match text.get(at) {
        Some(b'0') => at += 1,
        Some(b'1'..=b'9') => at = digits(at),
        _ => return Err(at),
    }
    if text.get(at) == Some(&b'.') {
        let end = digits(at + 1);
        if end == at + 1 {
            return Err(end);
        }
        at = end;
    }
    if let Some(b'e' | b'E') = text.get(at) {
        at += 1;
        if let Some(b'+' | b'-') = text.get(at) {
            at += 1;
        }
        let end = digits(at);
        if end == at {
            return Err(end);
        }
        at = end;
    }
    Ok(at)
}

/// The integer that `text` spells, if it is a JSON number with an integral value that fits.
#[inline]
pub(crate) fn integer(text: &str) -> Option<i128> {
    let bytes = text.as_bytes();
    // Nearly all: digits that surely fit. 19 nines are less than 2^64.
    if (1..=19).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_digit) {
        let value = bytes.iter().fold(0u64, |value, byte| value * 10 + u64::from(byte - b'0'));
        return Some(i128::from(value));
    }
    decimal(text)
}

/// An integer with a sign, a fraction of zeros or an exponent. Leading zeros are let pass.
fn decimal(text: &str) -> Option<i128> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent_of(exponent)?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    let mut digits = whole.bytes().chain(fraction.bytes()).skip_while(|&byte| byte == b'0').peekable();
    if digits.peek().is_none() {
        return Some(0);
    }
    let mut value = 0i128;
    for digit in digits {
        value = value.checked_mul(10)?.checked_add(i128::from(digit - b'0'))?;
    }
    let mut shift = exponent.checked_sub(i64::try_from(fraction.len()).ok()?)?;
    while shift > 0 {
        value = value.checked_mul(10)?;
        shift -= 1;
    }
    while shift < 0 {
        if value % 10 != 0 {
            return None;
        }
        value /= 10;
        shift += 1;
    }
    Some(if negative { -value } else { value })
}

fn exponent_of(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// The finite float that `text` spells, if it is a JSON number.
pub(crate) fn float(text: &str) -> Option<f64> {
    if scan(text.as_bytes()) != Ok(text.len()) {
        return None;
    }
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_exact() {
        for (text, value) in [
            ("0", Some(0)),
            ("-0", Some(0)),
            ("007", Some(7)),
            ("9007199254740993", Some(9_007_199_254_740_993)),
            ("18446744073709551615", Some(u64::MAX.into())),
            ("-9223372036854775808", Some(i64::MIN.into())),
            ("5.0", Some(5)),
            ("5.000", Some(5)),
            ("1e3", Some(1000)),
            ("1.5E+1", Some(15)),
            ("1500e-2", Some(15)),
            ("0e99999999", Some(0)),
            ("0.0e-5", Some(0)),
            ("1.795336140123456789e18", Some(1_795_336_140_123_456_789)),
            ("1795336140123456789.0", Some(1_795_336_140_123_456_789)),
            ("1.5", None),
            ("1e-1", None),
            ("1e999999999999", None),
            ("1e9223372036854775807", None),
            ("1e-9223372036854775808", None),
            ("1e99999999999999999999999", None),
            ("", None),
            ("-", None),
            ("+5", None),
            ("--5", None),
            ("5.", None),
            (".5", None),
            ("5e", None),
            ("5e+-1", None),
            ("0x10", None),
            (" 5", None),
            ("five", None),
            ("999999999999999999999999999999999999999999", None),
        ] {
            assert_eq!(integer(text), value, "{text}");
        }
    }

    #[test]
    fn floats_are_json_numbers() {
        assert_eq!(float("-1.5e-3"), Some(-0.0015));
        assert_eq!(float("-0"), Some(-0.0));
        for text in ["inf", "nan", "NaN", "1e999", "", "+1", "1.", "01", " 1", "1 ", "infinity"] {
            assert_eq!(float(text), None, "{text}");
        }
    }
}
