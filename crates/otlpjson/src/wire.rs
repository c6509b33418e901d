//! Protobuf on the wire: reading fields of a message in place, and writing nested messages into one buffer.
//!
//! Must stay true: reading never goes past the message and reports broken bytes instead of guessing; a nested
//! message is written with the shortest length prefix, whatever room was set aside for it.

use crate::error::Error;

const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const BYTES: u8 = 2;
const FIXED32: u8 = 5;

/// One field as it stands on the wire.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

/// The fields of a message, in wire order. Ends after the first error.
#[derive(Debug, Clone)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

/// Walks the fields of a message.
pub(crate) fn fields(message: &[u8]) -> Fields<'_> {
    Fields { rest: message }
}

impl<'a> Fields<'a> {
    #[inline]
    fn varint(&mut self) -> Result<u64, Error> {
        if let Some((&byte, rest)) = self.rest.split_first()
            && byte < 0x80
        {
            self.rest = rest;
            return Ok(byte.into());
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Result<u64, Error> {
        let mut value = 0u64;
        for (index, &byte) in self.rest.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                self.rest = &self.rest[index + 1..];
                return Ok(value);
            }
        }
        Err(Error::Wire("a varint does not end"))
    }

    #[inline]
    fn field(&mut self) -> Result<(u32, Value<'a>), Error> {
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).map_err(|_| Error::Wire("a field number is too large"))?;
        if number == 0 {
            return Err(Error::Wire("a field has number 0"));
        }
        let value = match (tag & 7) as u8 {
            VARINT => Value::Varint(self.varint()?),
            FIXED64 => {
                let (bytes, rest) = self.rest.split_first_chunk().ok_or(Error::Wire("a field is cut off"))?;
                self.rest = rest;
                Value::Fixed64(u64::from_le_bytes(*bytes))
            }
            FIXED32 => {
                let (bytes, rest) = self.rest.split_first_chunk().ok_or(Error::Wire("a field is cut off"))?;
                self.rest = rest;
                Value::Fixed32(u32::from_le_bytes(*bytes))
            }
            BYTES => {
                let length = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
                let (bytes, rest) =
                    self.rest.split_at_checked(length).ok_or(Error::Wire("a field is cut off"))?;
                self.rest = rest;
                Value::Bytes(bytes)
            }
            _ => return Err(Error::Wire("a field has an unknown wire type")),
        };
        Ok((number, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), Error>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

/// Walks the nested messages (or strings) in a repeated field.
#[inline]
pub(crate) fn repeated(message: &[u8], number: u32) -> impl Iterator<Item = Result<&[u8], Error>> {
    fields(message).filter_map(move |field| match field {
        Ok((found, Value::Bytes(bytes))) if found == number => Some(Ok(bytes)),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    })
}

/// Appends a varint.
#[inline]
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[inline]
fn put_tag(out: &mut Vec<u8>, number: u32, wire_type: u8) {
    put_varint(out, u64::from(number << 3) | u64::from(wire_type));
}

/// Appends a varint field.
#[inline]
pub(crate) fn put_varint_field(out: &mut Vec<u8>, number: u32, value: u64) {
    put_tag(out, number, VARINT);
    put_varint(out, value);
}

/// Appends a 64-bit field.
#[inline]
pub(crate) fn put_fixed64_field(out: &mut Vec<u8>, number: u32, value: u64) {
    put_tag(out, number, FIXED64);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends a 32-bit field.
#[inline]
pub(crate) fn put_fixed32_field(out: &mut Vec<u8>, number: u32, value: u32) {
    put_tag(out, number, FIXED32);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends a field of bytes or text.
#[inline]
pub(crate) fn put_bytes_field(out: &mut Vec<u8>, number: u32, value: &[u8]) {
    put_tag(out, number, BYTES);
    put_varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// A nested message that is being written.
#[derive(Debug)]
pub(crate) struct Open {
    /// Where its body starts, after the room for the length.
    body: usize,
    /// Bytes set aside for the length.
    reserved: usize,
}

/// No length takes more bytes.
const MAX_RESERVED: usize = 5;

/// Starts a nested message. `reserved` is how many bytes its length will probably take; a wrong guess costs one
/// move of the body, nothing else.
#[inline]
pub(crate) fn open(out: &mut Vec<u8>, number: u32, reserved: usize) -> Open {
    put_tag(out, number, BYTES);
    out.extend_from_slice(&[0; MAX_RESERVED][..reserved]);
    Open { body: out.len(), reserved }
}

/// Ends a nested message: writes its length, moving the body if the room does not fit.
#[inline]
pub(crate) fn close(out: &mut Vec<u8>, open: &Open) {
    let length = out.len() - open.body;
    // Nearly all: an attribute and its value.
    if open.reserved == 1 && length < 0x80 {
        out[open.body - 1] = length as u8;
    } else {
        close_long(out, open, length);
    }
}

fn close_long(out: &mut Vec<u8>, open: &Open, mut length: usize) {
    let end = out.len();
    let start = open.body - open.reserved;
    let needed = varint_bytes(length);
    if needed > open.reserved {
        out.resize(end + needed - open.reserved, 0);
        out.copy_within(open.body..end, start + needed);
    } else if needed < open.reserved {
        out.copy_within(open.body..end, start + needed);
        out.truncate(end - (open.reserved - needed));
    }
    for slot in &mut out[start..start + needed] {
        *slot = length as u8 | 0x80;
        length >>= 7;
    }
    out[start + needed - 1] &= 0x7f;
}

fn varint_bytes(value: usize) -> usize {
    let bits = (usize::BITS - value.leading_zeros()).max(1);
    bits.div_ceil(7) as usize
}
