//! Times and durations as people write and read them. Everything is shown in UTC, as it stands in logs.

use jiff::Timestamp;

const SECOND: u64 = 1_000_000_000;

/// A moment, as RFC 3339 or in seconds since the Unix epoch; in nanoseconds.
pub(super) fn parse_time(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no time; write it as 2026-05-01T14:00:00Z or in seconds since 1970");
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // The API counts seconds in 32 bits: more digits are milliseconds or nanoseconds by mistake.
        let seconds: u32 = text.parse().map_err(|_| wrong())?;
        return Ok(u64::from(seconds) * SECOND);
    }
    let time: Timestamp = text.parse().map_err(|_| wrong())?;
    u64::try_from(time.as_nanosecond()).map_err(|_| wrong())
}

/// A span of time, such as `90s`, `1h30m` or `7d`; in nanoseconds.
pub(super) fn parse_duration(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no duration; write it as 30m, 1h30m or 7d");
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, after) = rest.split_at(digits);
        let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let scale = match unit {
            "ms" => SECOND / 1000,
            "s" => SECOND,
            "m" => 60 * SECOND,
            "h" => 3600 * SECOND,
            "d" => 24 * 3600 * SECOND,
            "w" => 7 * 24 * 3600 * SECOND,
            _ => return Err(wrong()),
        };
        let number: u64 = number.parse().map_err(|_| wrong())?;
        total = number.checked_mul(scale).and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
        rest = after;
    }
    if total == 0 { Err(wrong()) } else { Ok(total) }
}

/// `2026-05-01 14:00:00`, or with milliseconds.
pub(super) fn show_time(nanos: u64, millis: bool) -> String {
    let format = if millis { "%Y-%m-%d %H:%M:%S.%3f" } else { "%Y-%m-%d %H:%M:%S" };
    match Timestamp::from_nanosecond(i128::from(nanos)) {
        Ok(time) => time.strftime(format).to_string(),
        Err(_) => nanos.to_string(),
    }
}

/// A duration in three digits: `850 ns`, `12.3 ms`, `1.23 s`, `2m05s`, `3h20m`.
pub(super) fn show_duration(nanos: u64) -> String {
    let seconds = nanos / SECOND;
    match nanos {
        0..1_000 => format!("{nanos} ns"),
        1_000..1_000_000 => format!("{} µs", three_digits(nanos, 1_000)),
        1_000_000..SECOND => format!("{} ms", three_digits(nanos, 1_000_000)),
        SECOND..60_000_000_000 => format!("{} s", three_digits(nanos, SECOND)),
        _ if seconds < 3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

/// A number in units, cut (not rounded, so that it never reaches the next unit) to three digits.
fn three_digits(nanos: u64, unit: u64) -> String {
    let (whole, rest) = (nanos / unit, nanos % unit);
    match whole {
        0..10 => format!("{whole}.{:02}", rest * 100 / unit),
        10..100 => format!("{whole}.{}", rest * 10 / unit),
        _ => whole.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_shown() {
        let nanos = 1_777_644_000 * SECOND;
        assert_eq!(parse_time("1777644000"), Ok(nanos));
        assert_eq!(parse_time("2026-05-01T14:00:00Z"), Ok(nanos));
        assert_eq!(parse_time("2026-05-01T16:00:00.5+02:00"), Ok(nanos + SECOND / 2));
        for wrong in ["", "yesterday", "1777644000000", "2026-05-01", "-5", "1969-01-01T00:00:00Z"] {
            assert!(parse_time(wrong).is_err(), "{wrong}");
        }
        assert_eq!(show_time(nanos, false), "2026-05-01 14:00:00");
        assert_eq!(show_time(nanos + 123_456_789, true), "2026-05-01 14:00:00.123");
    }

    #[test]
    fn durations_are_read_and_shown() {
        for (text, seconds) in [("90s", 90), ("1h", 3600), ("1h30m", 5400), ("7d", 604_800), ("1w", 604_800)]
        {
            assert_eq!(parse_duration(text), Ok(seconds * SECOND), "{text}");
        }
        for wrong in ["", "1", "h", "1 h", "1y", "-1h", "0s", "99999999999999999999h", "999999999w"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
        for (nanos, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_500, "1.50 µs"),
            (12_345_678, "12.3 ms"),
            (999_999_999, "999 ms"),
            (1_239_000_000, "1.23 s"),
            (59_990_000_000, "59.9 s"),
            (125 * SECOND, "2m05s"),
            (12_000 * SECOND, "3h20m"),
        ] {
            assert_eq!(show_duration(nanos), text);
        }
    }
}
