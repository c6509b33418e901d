//! Numbers and durations as Go reads and writes them, with Go's error texts, which Tempo passes on to its clients.

use std::time::Duration;

const SECOND: u64 = 1_000_000_000;

/// `strconv.ParseUint(text, 10, bits)`.
pub(crate) fn parse_uint(text: &str, bits: u32) -> Result<u64, String> {
    let error = |why: &str| Err(format!("strconv.ParseUint: parsing {}: {why}", quote(text)));
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return error("invalid syntax");
    }
    match text.parse::<u64>() {
        Ok(number) if bits >= 64 || number >> bits == 0 => Ok(number),
        _ => error("value out of range"),
    }
}

/// `strconv.ParseInt(text, 10, 64)`.
pub(crate) fn parse_int(text: &str) -> Result<i64, String> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("strconv.ParseInt: parsing {}: invalid syntax", quote(text)));
    }
    text.parse().map_err(|_| format!("strconv.ParseInt: parsing {}: value out of range", quote(text)))
}

/// `time.ParseDuration(text)`, in nanoseconds; below zero counts as zero, which asks for nothing.
pub(crate) fn parse_duration(text: &str) -> Result<u64, String> {
    let invalid = || format!("time: invalid duration {}", quote(text));
    let negative = text.starts_with('-');
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => digits(after),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        let end = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        if unit.is_empty() {
            return Err(format!("time: missing unit in duration {}", quote(text)));
        }
        let scale = unit_of(unit)
            .ok_or_else(|| format!("time: unknown unit {} in duration {}", quote(unit), quote(text)))?;
        let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| invalid())? };
        total = total.saturating_add(whole.saturating_mul(u128::from(scale)));
        let mut place = scale;
        for digit in fraction.bytes() {
            place /= 10;
            total = total.saturating_add(u128::from(digit - b'0') * u128::from(place));
        }
        rest = after;
    }
    let total = i64::try_from(total).map_err(|_| invalid())?;
    Ok(if negative { 0 } else { total.unsigned_abs() })
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

fn unit_of(unit: &str) -> Option<u64> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => SECOND,
        "m" => 60 * SECOND,
        "h" => 3600 * SECOND,
        _ => return None,
    })
}

/// `time.Duration.String()`.
pub(crate) fn show_duration(duration: Duration) -> String {
    trackway_traceql::format_duration(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
}

/// `strconv.Quote(text)`, near enough.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\x{:02x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_go_reads_them() {
        assert_eq!(parse_uint("20", 32), Ok(20));
        assert_eq!(parse_uint("-1", 32).unwrap_err(), "strconv.ParseUint: parsing \"-1\": invalid syntax");
        assert_eq!(parse_uint("x", 32).unwrap_err(), "strconv.ParseUint: parsing \"x\": invalid syntax");
        let large = "strconv.ParseUint: parsing \"4294967296\": value out of range";
        assert_eq!(parse_uint("4294967296", 32).unwrap_err(), large);
        assert_eq!(
            parse_uint("18446744073709551616", 64).unwrap_err().split(": ").last().unwrap(),
            "value out of range"
        );
        assert_eq!(parse_int("-5"), Ok(-5));
        assert_eq!(parse_int("x").unwrap_err(), "strconv.ParseInt: parsing \"x\": invalid syntax");
    }

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, nanos) in [
            ("0", 0),
            ("0s", 0),
            ("50ms", 50_000_000),
            ("1.5s", 1_500_000_000),
            (".5us", 500),
            ("1h2m3s", 3_723_000_000_000),
            ("-5s", 0),
        ] {
            assert_eq!(parse_duration(text), Ok(nanos), "{text}");
        }
        for (text, error) in [
            ("x", "time: invalid duration \"x\""),
            ("", "time: invalid duration \"\""),
            ("5", "time: missing unit in duration \"5\""),
            ("5x", "time: unknown unit \"x\" in duration \"5x\""),
            ("99999999999h", "time: invalid duration \"99999999999h\""),
        ] {
            assert_eq!(parse_duration(text).unwrap_err(), error);
        }
        assert_eq!(show_duration(Duration::from_secs(168 * 3600)), "168h0m0s");
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5µs"),
            (36_000_000, "36ms"),
            (1_005_000_000, "1.005s"),
            (90_000_000_000, "1m30s"),
            (3_600_050_000_000, "1h0m0.05s"),
        ] {
            assert_eq!(show_duration(Duration::from_nanos(nanos)), text);
        }
    }
}
