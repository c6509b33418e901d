//! Protobuf's wire format, read and written by hand: no object graph, no allocation.
//!
//! Reading never panics and never reads beyond what it was given; writing appends to a `Vec`.

/// Bytes that are not what the wire format says they must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum WireError {
    /// A length or a number that goes beyond the end.
    #[error("unexpected end of message")]
    Truncated,
    /// More than ten bytes in a variable-length number.
    #[error("a variable-length number is too long")]
    Varint,
    /// Groups and unknown wire types.
    #[error("wire type {0} is not supported")]
    WireType(u8),
    /// Field number zero.
    #[error("field number 0 is not allowed")]
    FieldZero,
    /// A known field with another wire type than it must have.
    #[error("field {0} has the wrong wire type")]
    WrongType(u32),
    /// Values nested deeper than any sender does on purpose.
    #[error("values are nested too deeply")]
    TooDeep,
}

/// One field as it stands on the wire.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Field<'a> {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 1.
    Fixed64(u64),
    /// Wire type 2.
    Bytes(&'a [u8]),
    /// Wire type 5.
    Fixed32(u32),
}

impl<'a> Field<'a> {
    /// The bytes of a length-delimited field.
    #[inline]
    pub fn bytes(self, number: u32) -> Result<&'a [u8], WireError> {
        if let Self::Bytes(bytes) = self { Ok(bytes) } else { Err(WireError::WrongType(number)) }
    }

    /// A variable-length number.
    #[inline]
    pub fn varint(self, number: u32) -> Result<u64, WireError> {
        if let Self::Varint(value) = self { Ok(value) } else { Err(WireError::WrongType(number)) }
    }

    /// A variable-length number cut to 32 bits, as protobuf readers do.
    #[inline]
    pub fn uint32(self, number: u32) -> Result<u32, WireError> {
        self.varint(number).map(|value| (value & 0xffff_ffff) as u32)
    }

    /// An eight-byte number.
    #[inline]
    pub fn fixed64(self, number: u32) -> Result<u64, WireError> {
        if let Self::Fixed64(value) = self { Ok(value) } else { Err(WireError::WrongType(number)) }
    }
}

/// Walks the fields of one message.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the beginning of a message.
    pub fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// The next field, or `None` at the end.
    #[inline]
    pub fn next_field(&mut self) -> Result<Option<(u32, Field<'a>)>, WireError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).map_err(|_| WireError::FieldZero)?;
        if number == 0 {
            return Err(WireError::FieldZero);
        }
        let field = match key & 7 {
            0 => Field::Varint(self.varint()?),
            1 => Field::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| WireError::Truncated)?;
                let (bytes, rest) = self.rest.split_at_checked(length).ok_or(WireError::Truncated)?;
                self.rest = rest;
                Field::Bytes(bytes)
            }
            5 => Field::Fixed32(u32::from_le_bytes(self.array()?)),
            other => return Err(WireError::WireType(other as u8)),
        };
        Ok(Some((number, field)))
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>().ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(*bytes)
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, WireError> {
        // One byte is the rule: field keys and short lengths.
        if let [first, rest @ ..] = self.rest
            && *first < 0x80
        {
            self.rest = rest;
            return Ok(u64::from(*first));
        }
        let mut value = 0_u64;
        for (at, byte) in self.rest.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * at);
            if *byte < 0x80 {
                self.rest = &self.rest[at + 1..];
                return Ok(value);
            }
        }
        Err(if self.rest.len() < 10 { WireError::Truncated } else { WireError::Varint })
    }
}

/// Appends a variable-length number.
#[inline]
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8 & 0x7f) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// How many bytes [`put_varint`] writes.
pub fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// Appends a length-delimited field.
pub fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_varint(out, u64::from(number) << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends a length-delimited field, unless it is empty.
pub fn put_bytes_unless_empty(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    if !bytes.is_empty() {
        put_bytes(out, number, bytes);
    }
}

/// Appends a number, even when it is zero.
pub fn put_number(out: &mut Vec<u8>, number: u32, value: u64) {
    put_varint(out, u64::from(number) << 3);
    put_varint(out, value);
}

/// Appends a number, unless it is zero.
pub fn put_number_unless_zero(out: &mut Vec<u8>, number: u32, value: u64) {
    if value != 0 {
        put_number(out, number, value);
    }
}

/// Appends an eight-byte number, even when it is zero.
pub fn put_fixed64(out: &mut Vec<u8>, number: u32, value: u64) {
    put_varint(out, u64::from(number) << 3 | 1);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends a message whose length is not known before it is written.
pub fn put_message(out: &mut Vec<u8>, number: u32, write: impl FnOnce(&mut Vec<u8>)) {
    put_varint(out, u64::from(number) << 3 | 2);
    let at = out.len();
    // Most messages are shorter than 128 bytes: leave one byte for the length and make room for more where needed.
    out.push(0);
    write(out);
    let length = out.len() - at - 1;
    if length < 0x80 {
        out[at] = length as u8;
        return;
    }
    let more = varint_len(length as u64) - 1;
    let end = out.len();
    out.resize(end + more, 0);
    out.copy_within(at + 1..end, at + 1 + more);
    let mut rest = length as u64;
    for (index, byte) in out[at..=at + more].iter_mut().enumerate() {
        *byte = (rest as u8 & 0x7f) | if index < more { 0x80 } else { 0 };
        rest >>= 7;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for length in [0, 1, 127, 128, 16_383, 16_384, 70_000] {
            let body = vec![7; length];
            let mut out = Vec::new();
            put_number(&mut out, 3, u64::MAX);
            put_message(&mut out, 1, |out| out.extend_from_slice(&body));
            put_fixed64(&mut out, 2, 9);
            let mut reader = Reader::new(&out);
            assert_eq!(reader.next_field(), Ok(Some((3, Field::Varint(u64::MAX)))));
            assert_eq!(reader.next_field(), Ok(Some((1, Field::Bytes(&body)))));
            assert_eq!(reader.next_field(), Ok(Some((2, Field::Fixed64(9)))));
            assert_eq!(reader.next_field(), Ok(None));
        }
        for (value, length) in [(0, 1), (127, 1), (128, 2), (u64::MAX, 10)] {
            assert_eq!(varint_len(value), length);
        }
    }

    #[test]
    fn damage_is_an_error_and_nothing_worse() {
        for (bytes, error) in [
            (&[0x0a, 5, 1][..], WireError::Truncated),
            (&[0x80], WireError::Truncated),
            (&[0xff; 11], WireError::Varint),
            (&[0x0b], WireError::WireType(3)),
            (&[0x00], WireError::FieldZero),
            (&[0x09, 1, 2], WireError::Truncated),
        ] {
            assert_eq!(Reader::new(bytes).next_field(), Err(error), "{bytes:?}");
        }
    }
}
