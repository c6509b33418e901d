//! Durations as texts: Prometheus' and Go's spelling in, Go's spelling out.
//!
//! Whatever [`format`] writes for a duration that is not negative, [`parse`] reads back to the same nanoseconds.

const SECOND: u128 = 1_000_000_000;
const MINUTE: u128 = 60 * SECOND;
const HOUR: u128 = 60 * MINUTE;
const DAY: u128 = 24 * HOUR;

/// Units of Prometheus' form, in the order they must come in.
const ORDERED_UNITS: [(&str, u128); 7] = [
    ("y", 365 * DAY),
    ("w", 7 * DAY),
    ("d", DAY),
    ("h", HOUR),
    ("m", MINUTE),
    ("s", SECOND),
    ("ms", SECOND / 1000),
];

/// Fraction digits beyond these are below a nanosecond for every unit, and would only overflow.
const MAX_FRACTION_DIGITS: usize = 18;

/// Nanoseconds of `1h30m`, `1y2w`, `1.5s`; `None` when the whole text is not a duration or is out of range.
pub(crate) fn parse(text: &str) -> Option<i64> {
    parse_ordered(text).or_else(|| parse_go(text))
}

/// Takes digits off the front of a text.
fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// Takes a unit off the front of a text.
fn unit(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(text.len()))
}

fn parse_ordered(text: &str) -> Option<i64> {
    let mut rest = text;
    let mut units = ORDERED_UNITS.iter();
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let (number, after) = digits(rest);
        let (name, after) = unit(after);
        let (_, size) = units.find(|(unit, _)| *unit == name)?;
        total = total.checked_add(number.parse::<u64>().ok().map(u128::from)?.checked_mul(*size)?)?;
        rest = after;
    }
    i64::try_from(total).ok()
}

fn parse_go(text: &str) -> Option<i64> {
    let mut rest = text;
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => digits(after),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let (name, after) = unit(after);
        let size = match name {
            "ns" => 1,
            "us" | "µs" => 1000,
            "ms" => SECOND / 1000,
            "s" => SECOND,
            "m" => MINUTE,
            "h" => HOUR,
            _ => return None,
        };
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        total = total.checked_add(u128::from(whole).checked_mul(size)?)?;
        let fraction = &fraction[..fraction.len().min(MAX_FRACTION_DIGITS)];
        if !fraction.is_empty() {
            let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
            total = total.checked_add(fraction.parse::<u128>().ok()? * size / scale)?;
        }
        rest = after;
    }
    i64::try_from(total).ok()
}

/// Go's text of a duration: `1h30m0s`, `1.5s`, `250ms`, `0s`.
pub fn format(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let abs = u128::from(nanos.unsigned_abs());
    let text = match abs {
        0 => "0s".to_owned(),
        1..1_000 => format!("{abs}ns"),
        1_000..1_000_000 => decimal(abs, 1_000) + "µs",
        1_000_000..SECOND => decimal(abs, 1_000_000) + "ms",
        SECOND..MINUTE => decimal(abs, SECOND) + "s",
        MINUTE..HOUR => format!("{}m{}s", abs / MINUTE, decimal(abs % MINUTE, SECOND)),
        _ => format!("{}h{}m{}s", abs / HOUR, abs % HOUR / MINUTE, decimal(abs % MINUTE, SECOND)),
    };
    format!("{sign}{text}")
}

/// `value / unit` with exactly the decimals it has. `unit` is a power of ten.
fn decimal(value: u128, unit: u128) -> String {
    let (whole, rest) = (value / unit, value % unit);
    if rest == 0 {
        return whole.to_string();
    }
    // Adding the unit keeps the leading zeros of the fraction; the digit it adds in front is cut off again.
    let fraction = (unit + rest).to_string();
    format!("{whole}.{}", fraction[1..].trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_forms() {
        for (text, nanos) in [
            ("1ns", 1),
            ("1us", 1_000),
            ("1µs", 1_000),
            ("5ms", 5_000_000),
            ("1m", 60_000_000_000),
            ("1.5m", 90_000_000_000),
            (".5s", 500_000_000),
            ("1d", 86_400_000_000_000),
            ("1y", 31_536_000_000_000_000),
            ("1w2d", 777_600_000_000_000),
            ("30s1h", 3_630_000_000_000),
            ("1h15m30.918273645s", 4_530_918_273_645),
        ] {
            assert_eq!(parse(text), Some(nanos), "{text}");
        }
        for text in ["1", "1t", "1.5d", "s", "1d1y", "1000000y", "1.s.", "..s"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn writes_what_go_writes() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5µs"),
            (2_000_001, "2.000001ms"),
            (1_000_000_000, "1s"),
            (90_000_000_000, "1m30s"),
            (3_600_000_000_000, "1h0m0s"),
            (-1_500_000_000, "-1.5s"),
            (i64::MAX, "2562047h47m16.854775807s"),
        ] {
            assert_eq!(format(nanos), text);
            if nanos >= 0 {
                assert_eq!(parse(text), Some(nanos));
            }
        }
    }
}
