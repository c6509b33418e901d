//! Thrift's binary and compact protocols, read in place.
//!
//! What must stay true: every element of a list costs at least a byte of input, so that a count alone makes nobody
//! work; nesting is counted against [`MAX_THRIFT_DEPTH`].

use crate::MAX_THRIFT_DEPTH;

/// How Thrift is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// `TBinaryProtocol`.
    Binary,
    /// `TCompactProtocol`.
    Compact,
}

/// Bytes that are not Thrift.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ThriftError {
    /// A length or a number goes beyond the end.
    #[error("unexpected end of message")]
    Truncated,
    /// A variable-length number is too long.
    #[error("a variable-length number is too long")]
    Varint,
    /// A length is negative.
    #[error("a length is negative")]
    NegativeLength,
    /// An unknown type of field.
    #[error("unknown type {0}")]
    Type(u8),
    /// A message with an unknown version.
    #[error("unknown version of the protocol")]
    Version,
    /// A message that is no call.
    #[error("the message is no call")]
    NotACall,
    /// Nested deeper than any sender does on purpose.
    #[error("structs and lists are nested too deeply")]
    TooDeep,
    /// One span takes more memory than it may.
    #[error("a span is too large")]
    TooLarge,
    /// Another type than this field must have.
    #[error("a field has another type than it must have")]
    WrongType,
}

/// The type of a value. A boolean field of the compact protocol has its value in the type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    True,
    False,
    Bool,
    I8,
    I16,
    I32,
    I64,
    Double,
    Binary,
    Struct,
    Map,
    Set,
    List,
    Uuid,
}

type Result<T> = std::result::Result<T, ThriftError>;

/// Reads one message or struct.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    protocol: Protocol,
    depth: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8], protocol: Protocol) -> Self {
        Self { rest: bytes, protocol, depth: 0 }
    }

    /// Another reader of what follows.
    pub(crate) fn here(&self) -> Self {
        Self { rest: self.rest, protocol: self.protocol, depth: self.depth }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(ThriftError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(ThriftError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    #[inline]
    fn byte(&mut self) -> Result<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn varint(&mut self) -> Result<u64> {
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(ThriftError::Varint)
    }

    fn zigzag(&mut self) -> Result<i64> {
        let value = self.varint()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// A whole number of this type.
    pub(crate) fn integer(&mut self, kind: Type) -> Result<i64> {
        match (self.protocol, kind) {
            (_, Type::I8) => Ok(i64::from(i8::from_be_bytes(self.array()?))),
            (Protocol::Compact, Type::I16 | Type::I32 | Type::I64) => self.zigzag(),
            (Protocol::Binary, Type::I16) => Ok(i64::from(i16::from_be_bytes(self.array()?))),
            (Protocol::Binary, Type::I32) => Ok(i64::from(i32::from_be_bytes(self.array()?))),
            (Protocol::Binary, Type::I64) => Ok(i64::from_be_bytes(self.array()?)),
            _ => Err(ThriftError::WrongType),
        }
    }

    /// A number with a fraction.
    pub(crate) fn double(&mut self) -> Result<f64> {
        let bytes = self.array()?;
        Ok(match self.protocol {
            Protocol::Binary => f64::from_be_bytes(bytes),
            Protocol::Compact => f64::from_le_bytes(bytes),
        })
    }

    /// `true` or `false`, of a field or of an element.
    pub(crate) fn boolean(&mut self, kind: Type) -> Result<bool> {
        match kind {
            Type::True => Ok(true),
            Type::False => Ok(false),
            Type::Bool => Ok(self.byte()? == 1),
            _ => Err(ThriftError::WrongType),
        }
    }

    /// Text or bytes.
    pub(crate) fn binary(&mut self) -> Result<&'a [u8]> {
        let length = match self.protocol {
            Protocol::Binary => {
                let length = i32::from_be_bytes(self.array()?);
                usize::try_from(length).map_err(|_| ThriftError::NegativeLength)?
            }
            Protocol::Compact => usize::try_from(self.varint()?).map_err(|_| ThriftError::Truncated)?,
        };
        self.take(length)
    }

    /// Text; what is not UTF-8 in it is replaced.
    pub(crate) fn text(&mut self) -> Result<std::borrow::Cow<'a, str>> {
        self.binary().map(String::from_utf8_lossy)
    }

    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth == MAX_THRIFT_DEPTH {
            return Err(ThriftError::TooDeep);
        }
        self.depth += 1;
        let done = read(self);
        self.depth -= 1;
        done
    }

    /// Reads a struct: `on` gets the number and type of each field and takes its value, or skips it.
    pub(crate) fn fields(&mut self, mut on: impl FnMut(&mut Self, i16, Type) -> Result<()>) -> Result<()> {
        self.deeper(|reader| {
            let mut last = 0;
            while let Some((number, kind)) = reader.field(last)? {
                on(reader, number, kind)?;
                last = number;
            }
            Ok(())
        })
    }

    fn field(&mut self, last: i16) -> Result<Option<(i16, Type)>> {
        let head = self.byte()?;
        if head == 0 {
            return Ok(None);
        }
        match self.protocol {
            Protocol::Binary => {
                let kind = binary_type(head)?;
                Ok(Some((i16::from_be_bytes(self.array()?), kind)))
            }
            Protocol::Compact => {
                let kind = compact_type(head & 0x0f)?;
                let number = match head >> 4 {
                    // Only the low half of what a sender writes can be a field's number.
                    0 => i16::try_from(self.zigzag()?).map_err(|_| ThriftError::Varint)?,
                    step => last.wrapping_add(i16::from(step)),
                };
                Ok(Some((number, kind)))
            }
        }
    }

    /// Reads a list or set: `on` takes each element, whose type it gets.
    pub(crate) fn list(&mut self, mut on: impl FnMut(&mut Self, Type) -> Result<()>) -> Result<()> {
        let (kind, count) = self.list_head()?;
        self.deeper(|reader| {
            for _ in 0..count {
                on(reader, kind)?;
            }
            Ok(())
        })
    }

    fn list_head(&mut self) -> Result<(Type, usize)> {
        let head = self.byte()?;
        let (kind, count) = match self.protocol {
            Protocol::Binary => {
                let count = i32::from_be_bytes(self.array()?);
                let count = usize::try_from(count).map_err(|_| ThriftError::NegativeLength)?;
                // An empty list may name no type.
                if count == 0 {
                    return Ok((Type::Bool, 0));
                }
                (binary_type(head)?, count)
            }
            Protocol::Compact => {
                let count = match head >> 4 {
                    15 => usize::try_from(self.varint()?).map_err(|_| ThriftError::Truncated)?,
                    count => usize::from(count),
                };
                if count == 0 {
                    return Ok((Type::Bool, 0));
                }
                (element_type(head & 0x0f)?, count)
            }
        };
        // Each element has at least one byte.
        if count > self.rest.len() { Err(ThriftError::Truncated) } else { Ok((kind, count)) }
    }

    fn map(&mut self) -> Result<()> {
        let (key, value, count) = match self.protocol {
            Protocol::Binary => {
                let [key, value, count @ ..] = self.array::<6>()?;
                let count = i32::from_be_bytes(count);
                let count = usize::try_from(count).map_err(|_| ThriftError::NegativeLength)?;
                if count == 0 {
                    return Ok(());
                }
                (binary_type(key)?, binary_type(value)?, count)
            }
            Protocol::Compact => {
                let count = usize::try_from(self.varint()?).map_err(|_| ThriftError::Truncated)?;
                if count == 0 {
                    return Ok(());
                }
                let kinds = self.byte()?;
                (element_type(kinds >> 4)?, element_type(kinds & 0x0f)?, count)
            }
        };
        if count > self.rest.len() {
            return Err(ThriftError::Truncated);
        }
        self.deeper(|reader| {
            for _ in 0..count {
                reader.skip(key)?;
                reader.skip(value)?;
            }
            Ok(())
        })
    }

    /// Passes over a value.
    pub(crate) fn skip(&mut self, kind: Type) -> Result<()> {
        match kind {
            Type::True | Type::False => Ok(()),
            Type::Bool => self.byte().map(|_| ()),
            Type::I8 | Type::I16 | Type::I32 | Type::I64 => self.integer(kind).map(|_| ()),
            Type::Double => self.array::<8>().map(|_| ()),
            Type::Uuid => self.array::<16>().map(|_| ()),
            Type::Binary => self.binary().map(|_| ()),
            Type::Struct => self.fields(|reader, _, kind| reader.skip(kind)),
            Type::List | Type::Set => self.list(Self::skip),
            Type::Map => self.map(),
        }
    }

    /// Reads the head of a call: its name. What follows is the struct of its arguments.
    pub(crate) fn call(&mut self) -> Result<&'a [u8]> {
        let (kind, name) = match self.protocol {
            Protocol::Binary => {
                let first = i32::from_be_bytes(self.array()?);
                if let Ok(length) = usize::try_from(first) {
                    // The old form, without a version.
                    let name = self.take(length)?;
                    let kind = self.byte()?;
                    self.array::<4>()?;
                    (kind, name)
                } else {
                    let [high, low, _, kind] = first.to_be_bytes();
                    if (high, low) != (0x80, 0x01) {
                        return Err(ThriftError::Version);
                    }
                    let name = self.binary()?;
                    self.array::<4>()?;
                    (kind, name)
                }
            }
            Protocol::Compact => {
                let [id, version_and_kind] = self.array()?;
                if id != 0x82 || version_and_kind & 0x1f != 1 {
                    return Err(ThriftError::Version);
                }
                self.varint()?;
                (version_and_kind >> 5, self.binary()?)
            }
        };
        // 1 is a call, 4 one that nobody answers.
        if matches!(kind, 1 | 4) { Ok(name) } else { Err(ThriftError::NotACall) }
    }
}

fn binary_type(byte: u8) -> Result<Type> {
    Ok(match byte {
        2 => Type::Bool,
        3 => Type::I8,
        4 => Type::Double,
        6 => Type::I16,
        8 => Type::I32,
        10 => Type::I64,
        11 => Type::Binary,
        12 => Type::Struct,
        13 => Type::Map,
        14 => Type::Set,
        15 => Type::List,
        16 => Type::Uuid,
        other => return Err(ThriftError::Type(other)),
    })
}

fn compact_type(nibble: u8) -> Result<Type> {
    Ok(match nibble {
        1 => Type::True,
        2 => Type::False,
        3 => Type::I8,
        4 => Type::I16,
        5 => Type::I32,
        6 => Type::I64,
        7 => Type::Double,
        8 => Type::Binary,
        9 => Type::List,
        10 => Type::Set,
        11 => Type::Map,
        12 => Type::Struct,
        13 => Type::Uuid,
        other => return Err(ThriftError::Type(other)),
    })
}

/// Booleans in lists and maps have a byte of their own.
fn element_type(nibble: u8) -> Result<Type> {
    match compact_type(nibble)? {
        Type::True | Type::False => Ok(Type::Bool),
        other => Ok(other),
    }
}
