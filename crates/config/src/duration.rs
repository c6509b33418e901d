//! Go-style durations: `1h30m`, `300ms`, `1.5s`, and Prometheus' `1d`, `2w`, `1y`.
//!
//! Kept as whole nanoseconds, as Go keeps them, so that every value Tempo prints is read back exactly.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A duration as Go writes it; may be negative, as Go's may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct GoDuration(i64);

const UNITS: &[(&str, i128)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
    ("w", 604_800_000_000_000),
    ("y", 31_536_000_000_000_000),
];

impl GoDuration {
    /// No time at all; for most settings it means "off" or "the default".
    pub const ZERO: Self = Self(0);

    /// A duration of so many nanoseconds.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// A duration of so many milliseconds.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// A duration of so many seconds.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1_000_000_000))
    }

    /// The nanoseconds.
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// As a standard duration; negative ones become zero.
    pub fn as_std(self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0).unwrap_or(0))
    }

    /// As a standard duration, or `None` when it is zero or negative ("off").
    pub fn positive(self) -> Option<Duration> {
        (self.0 > 0).then(|| self.as_std())
    }

    /// Whether it is exactly zero.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a duration such as 30s, 1h30m or 300ms")]
pub struct DurationError;

impl FromStr for GoDuration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let text = text.trim();
        let (negative, mut rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        if rest == "0" {
            return Ok(Self::ZERO);
        }
        if rest.is_empty() {
            return Err(DurationError);
        }
        let mut total: i128 = 0;
        while !rest.is_empty() {
            let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or(DurationError)?;
            let (number, tail) = rest.split_at(number_end);
            let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(unit_end);
            let scale =
                UNITS.iter().find(|(name, _)| *name == unit).map(|(_, scale)| *scale).ok_or(DurationError)?;
            total = total.checked_add(scaled(number, scale)?).ok_or(DurationError)?;
            rest = tail;
        }
        if negative {
            total = -total;
        }
        i64::try_from(total).map(Self).map_err(|_| DurationError)
    }
}

/// `1.5` × scale without floating point, so that i64::MAX nanoseconds survive a round trip.
fn scaled(number: &str, scale: i128) -> Result<i128, DurationError> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return Err(DurationError);
    }
    let whole: i128 = match whole {
        "" => 0,
        digits if digits.len() <= 19 => digits.parse().map_err(|_| DurationError)?,
        _ => return Err(DurationError),
    };
    let mut value = whole.checked_mul(scale).ok_or(DurationError)?;
    let mut unit = scale;
    let mut numerator: i128 = 0;
    let mut denominator: i128 = 1;
    // More than 15 digits cannot matter: the largest unit has fewer nanosecond digits behind the point.
    for digit in fraction.chars().take(15) {
        numerator = numerator * 10 + i128::from(digit.to_digit(10).ok_or(DurationError)?);
        denominator *= 10;
    }
    unit *= numerator;
    value += unit / denominator;
    Ok(value)
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.unsigned_abs();
        if self.0 < 0 {
            f.write_str("-")?;
        }
        if nanos == 0 {
            return f.write_str("0s");
        }
        if nanos < 1_000 {
            return write!(f, "{nanos}ns");
        }
        if nanos < 1_000_000 {
            return write!(f, "{}µs", decimal(nanos, 1_000));
        }
        if nanos < 1_000_000_000 {
            return write!(f, "{}ms", decimal(nanos, 1_000_000));
        }
        let minutes = nanos / 60_000_000_000;
        let seconds = decimal(nanos % 60_000_000_000, 1_000_000_000);
        match (minutes / 60, minutes % 60) {
            (0, 0) => write!(f, "{seconds}s"),
            (0, minutes) => write!(f, "{minutes}m{seconds}s"),
            (hours, minutes) => write!(f, "{hours}h{minutes}m{seconds}s"),
        }
    }
}

fn decimal(value: u64, unit: u64) -> String {
    let whole = value / unit;
    let rest = value % unit;
    if rest == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    let digits = format!("{rest:0width$}");
    format!("{whole}.{}", digits.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints_as_go() {
        for (text, printed) in [
            ("1h30m", "1h30m0s"),
            ("1.5s", "1.5s"),
            ("300ms", "300ms"),
            ("10us", "10µs"),
            ("10µs", "10µs"),
            ("1.5h", "1h30m0s"),
            ("0", "0s"),
            ("0s", "0s"),
            ("1d", "24h0m0s"),
            ("2w", "336h0m0s"),
            ("1d12h", "36h0m0s"),
            ("2m", "2m0s"),
            ("-1s", "-1s"),
            ("1ns", "1ns"),
            (".5s", "500ms"),
            ("2562047h47m16.854775807s", "2562047h47m16.854775807s"),
        ] {
            let value: GoDuration = text.parse().unwrap();
            assert_eq!(value.to_string(), printed, "{text}");
            assert_eq!(printed.parse::<GoDuration>().unwrap(), value);
        }
    }

    #[test]
    fn refuses_what_go_refuses() {
        for text in ["", "5", "s", "1x", "1h-3m", "1.2.3s", ".s", "99999999999h", "1 h"] {
            assert!(text.parse::<GoDuration>().is_err(), "{text}");
        }
    }
}
