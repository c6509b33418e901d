//! Trace and span identifiers: 16 and 8 bytes, written as lower-case hexadecimal.

use std::fmt;
use std::str::FromStr;

/// A trace identifier: 16 bytes, big-endian in the number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct TraceId(pub u128);

impl TraceId {
    /// The 16 bytes as they stand on the wire.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// From the bytes on the wire, which may be shorter than 16 (padded on the left).
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if let Ok(bytes) = <[u8; 16]>::try_from(bytes) {
            return Some(Self(u128::from_be_bytes(bytes)));
        }
        if bytes.len() > 16 {
            return None;
        }
        Some(Self(bytes.iter().fold(0, |id, byte| (id << 8) | u128::from(*byte))))
    }

    /// 32 digits.
    pub fn hex(self) -> String {
        format!("{:032x}", self.0)
    }

    /// Without leading zeros, as Tempo shows it in search results.
    pub fn short_hex(self) -> String {
        format!("{:x}", self.0)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A text that is no trace identifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseIdError {
    /// A character that is not hexadecimal.
    #[error("trace IDs can only contain hex characters: invalid character '{0}' at position {1}")]
    NotHex(char, usize),
    /// More than 32 digits.
    #[error("trace IDs can't be larger than 128 bits")]
    TooLong,
}

impl FromStr for TraceId {
    type Err = ParseIdError;

    /// Any number of digits up to 32, padded on the left.
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        for (at, character) in text.chars().enumerate() {
            if !character.is_ascii_hexdigit() {
                return Err(ParseIdError::NotHex(character, at + 1));
            }
        }
        if text.len() > 32 {
            return Err(ParseIdError::TooLong);
        }
        if text.is_empty() {
            return Ok(Self(0));
        }
        u128::from_str_radix(text, 16).map(Self).map_err(|_| ParseIdError::TooLong)
    }
}

/// 16 digits.
pub fn span_id_hex(id: u64) -> String {
    format!("{id:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trace_ids_are_read_padded_and_shown_both_ways() {
        let id: TraceId = "f000000000000002".parse().unwrap();
        assert_eq!(id.hex(), "0000000000000000f000000000000002");
        assert_eq!(id.short_hex(), "f000000000000002");
        assert_eq!(TraceId::from_bytes(&id.to_bytes()), Some(id));
        assert_eq!("xyz".parse::<TraceId>(), Err(ParseIdError::NotHex('x', 1)));
        assert_eq!("a0 ".parse::<TraceId>(), Err(ParseIdError::NotHex(' ', 3)));
        assert_eq!("1".repeat(33).parse::<TraceId>(), Err(ParseIdError::TooLong));
        assert_eq!("".parse::<TraceId>(), Ok(TraceId(0)));
    }
}
