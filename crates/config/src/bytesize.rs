//! Numbers of bytes, written plainly (`16777216`) or with a unit (`256MB`, `1GiB`).
//!
//! Decimal units are powers of 1000 and binary ones (`KiB`, and Kubernetes' `Ki`) powers of 1024.

use std::fmt;
use std::str::FromStr;

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct ByteSize(u64);

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

impl ByteSize {
    /// So many bytes.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// So many mebibytes.
    pub const fn mib(count: u64) -> Self {
        Self(count.saturating_mul(MIB))
    }

    /// So many gibibytes.
    pub const fn gib(count: u64) -> Self {
        Self(count.saturating_mul(GIB))
    }

    /// The bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// The bytes as a `usize`, cut to what this machine can address.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// Why a text is not a number of bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a number of bytes such as 16777216, 256MB or 1GiB")]
pub struct ByteSizeError;

impl FromStr for ByteSize {
    type Err = ByteSizeError;

    fn from_str(text: &str) -> Result<Self, ByteSizeError> {
        let text = text.trim();
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_').unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let number = number.replace('_', "");
        let scale = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kb" => 1_000,
            "m" | "mb" => 1_000_000,
            "g" | "gb" => 1_000_000_000,
            "t" | "tb" => 1_000_000_000_000,
            "ki" | "kib" => KIB,
            "mi" | "mib" => MIB,
            "gi" | "gib" => GIB,
            "ti" | "tib" => TIB,
            _ => return Err(ByteSizeError),
        };
        if let Ok(whole) = number.parse::<u64>() {
            return whole.checked_mul(scale).map(Self).ok_or(ByteSizeError);
        }
        let value: f64 = number.parse().map_err(|_| ByteSizeError)?;
        let bytes = value * scale as f64;
        if scale == 1 || !bytes.is_finite() || bytes >= u64::MAX as f64 {
            return Err(ByteSizeError);
        }
        Ok(Self(bytes.round() as u64))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, name) in [(TIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")] {
            if self.0 >= unit && self.0.is_multiple_of(unit) {
                return write!(f, "{}{name}", self.0 / unit);
            }
        }
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_units_and_round_trips() {
        for (text, bytes) in [
            ("16777216", 16_777_216),
            ("256MB", 256_000_000),
            ("1GiB", 1 << 30),
            ("1.5 GiB", 3 << 29),
            ("512Mi", 512 << 20),
            ("1_000", 1000),
            ("0", 0),
            ("10b", 10),
        ] {
            let value: ByteSize = text.parse().unwrap();
            assert_eq!(value.bytes(), bytes, "{text}");
            assert_eq!(value.to_string().parse::<ByteSize>().unwrap(), value);
        }
        for text in ["", "MB", "-1", "1.5", "1XB", "99999999999999999999", "1e3"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }
}
