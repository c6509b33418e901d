//! Reading of what this crate wrote: numbers and texts one after another.

use trackway_spans::wire::put_varint;

/// What is left to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bytes<'a> {
    rest: &'a [u8],
}

impl<'a> Bytes<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*taken)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// A length that something in memory may have.
    pub(crate) fn length(&mut self) -> Option<usize> {
        // Every element takes a byte at the least, so that a wrong length cannot ask for memory that is not there.
        usize::try_from(self.varint()?).ok().filter(|length| *length <= self.rest.len())
    }

    /// A text behind its length.
    pub(crate) fn text(&mut self) -> Option<&'a [u8]> {
        let length = self.length()?;
        self.take(length)
    }

    /// What [`put_number`] wrote.
    pub(crate) fn number(&mut self) -> Option<f64> {
        match self.varint()? {
            // Only whole numbers below 2^53 were written so.
            whole if whole % 2 == 0 => Some((whole / 2) as f64),
            _ => self.array().map(f64::from_le_bytes),
        }
    }
}

/// Appends a text behind its length.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text);
}

/// Appends a number, few bytes for a small whole one, exactly for all.
pub(crate) fn put_number(out: &mut Vec<u8>, number: f64) {
    const WHOLE_MAX: f64 = (1_u64 << 53) as f64;
    if (0.0..WHOLE_MAX).contains(&number) && number.fract() == 0.0 && number.is_sign_positive() {
        // Whole and below 2^53: nothing is lost.
        put_varint(out, (number as u64) * 2);
    } else {
        out.push(1);
        out.extend_from_slice(&number.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let numbers = [0.0, 1.0, 127.0, 1e15, 0.5, -1.0, -0.0, f64::INFINITY, 9_007_199_254_740_993.0];
        let mut out = Vec::new();
        numbers.iter().for_each(|number| put_number(&mut out, *number));
        put_text(&mut out, b"text");
        let mut bytes = Bytes::new(&out);
        for number in numbers {
            assert_eq!(bytes.number().map(f64::to_bits), Some(number.to_bits()));
        }
        assert_eq!(bytes.text(), Some(&b"text"[..]));
        assert!(bytes.varint().is_none());
        assert_eq!(Bytes::new(&[200, 1, 1]).text(), None);
    }
}
