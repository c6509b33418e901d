//! Pages of a column chunk, from the bytes of the file: their headers, and their bodies decompressed.
//!
//! Parquet's own page reader makes a new decompressor for every column chunk and copies the list of pages; a trace that is
//! shown whole reads a page or two of eighty chunks. Headers come from a file that may be damaged: every size in them is
//! checked before room is made for it.

use std::cell::RefCell;

use parquet::basic::{Compression, Encoding};

use crate::decode::varint;
use crate::leaf::LeafError;

/// Most bytes of a page, decompressed. Writers aim at 64 KB to 1 MB; only a single value may be larger.
const PAGE_BYTES_LIMIT: usize = 256 << 20;
/// Most entries of a page.
const PAGE_ENTRIES_LIMIT: usize = 64 << 20;
/// How deep the structures of a header may be nested: statistics within a data page's header are two.
const DEPTH_LIMIT: usize = 8;

/// What a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The values that the ids in the other pages mean.
    Dictionary,
    /// Levels with their lengths in front, and values; compressed together.
    Data,
    /// Levels of these lengths, never compressed, and values.
    DataV2 { rep: usize, def: usize, nulls: usize },
}

/// A page's header.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) entries: usize,
    pub(crate) encoding: Encoding,
    uncompressed: usize,
    compressed: usize,
    /// Whether the values of a page of version 2 are compressed.
    packed: bool,
}

/// The numbers of the fields that matter, by the path to them.
#[derive(Default)]
struct Fields {
    page_type: u64,
    uncompressed: u64,
    compressed: u64,
    entries: u64,
    encoding: u64,
    nulls: u64,
    def: u64,
    rep: u64,
    unpacked: bool,
}

impl Header {
    /// Takes a header off the front of `bytes`. `None` for a page that holds nothing of the column (an index page).
    pub(crate) fn read(bytes: &mut &[u8]) -> Result<Option<Self>, LeafError> {
        let mut fields = Fields::default();
        structure(bytes, &[], &mut fields)?;
        let size = |value: u64, most: usize| {
            usize::try_from(value).ok().filter(|size| *size <= most).ok_or(LeafError::TooLarge)
        };
        let kind = match fields.page_type {
            0 => Kind::Data,
            1 => return skip(bytes, size(fields.compressed, PAGE_BYTES_LIMIT)?),
            2 => Kind::Dictionary,
            3 => Kind::DataV2 {
                rep: size(fields.rep, PAGE_BYTES_LIMIT)?,
                def: size(fields.def, PAGE_BYTES_LIMIT)?,
                nulls: size(fields.nulls, PAGE_ENTRIES_LIMIT)?,
            },
            _ => return Err(LeafError::Damaged("a page of an unknown type")),
        };
        Ok(Some(Self {
            kind,
            entries: size(fields.entries, PAGE_ENTRIES_LIMIT)?,
            encoding: encoding(fields.encoding)?,
            uncompressed: size(fields.uncompressed, PAGE_BYTES_LIMIT)?,
            compressed: size(fields.compressed, PAGE_BYTES_LIMIT)?,
            packed: !fields.unpacked,
        }))
    }

    /// Takes the page's body off the front of `bytes`, unseen.
    pub(crate) fn skip(&self, bytes: &mut &[u8]) -> Result<(), LeafError> {
        *bytes = bytes.get(self.compressed..).ok_or(LeafError::Truncated)?;
        Ok(())
    }

    /// Takes the page's body off the front of `bytes` and gives it, decompressed, to `each`.
    pub(crate) fn body<T>(
        &self,
        bytes: &mut &[u8],
        codec: Compression,
        each: impl FnOnce(&[u8]) -> Result<T, LeafError>,
    ) -> Result<T, LeafError> {
        let (body, rest) = bytes.split_at_checked(self.compressed).ok_or(LeafError::Truncated)?;
        *bytes = rest;
        let levels = match self.kind {
            Kind::DataV2 { rep, def, .. } => rep.checked_add(def).ok_or(LeafError::TooLarge)?,
            Kind::Dictionary | Kind::Data => 0,
        };
        let unpacked = matches!(self.kind, Kind::DataV2 { .. }) && !self.packed;
        if unpacked || codec == Compression::UNCOMPRESSED {
            return each(body);
        }
        let (levels, values) = body.split_at_checked(levels).ok_or(LeafError::Truncated)?;
        UNPACKER.with_borrow_mut(|unpacker| {
            let wanted = self.uncompressed.checked_sub(levels.len()).ok_or(LeafError::Truncated)?;
            each(unpacker.unpack(levels, values, wanted, codec)?)
        })
    }
}

fn skip(bytes: &mut &[u8], length: usize) -> Result<Option<Header>, LeafError> {
    *bytes = bytes.get(length..).ok_or(LeafError::Truncated)?;
    Ok(None)
}

fn encoding(number: u64) -> Result<Encoding, LeafError> {
    Ok(match number {
        0 => Encoding::PLAIN,
        // An old name for the other: both are ids in a dictionary.
        2 | 8 => Encoding::RLE_DICTIONARY,
        3 => Encoding::RLE,
        5 => Encoding::DELTA_BINARY_PACKED,
        6 => Encoding::DELTA_LENGTH_BYTE_ARRAY,
        7 => Encoding::DELTA_BYTE_ARRAY,
        9 => Encoding::BYTE_STREAM_SPLIT,
        _ => return Err(LeafError::Damaged("an unknown encoding")),
    })
}

/// Reads a structure of Thrift's compact protocol. `path` are the numbers of the fields that lead to it.
fn structure(bytes: &mut &[u8], path: &[u64], fields: &mut Fields) -> Result<(), LeafError> {
    let mut number = 0_u64;
    loop {
        let byte = one(bytes)?;
        if byte == 0 {
            return Ok(());
        }
        let (step, of) = (u64::from(byte >> 4), byte & 0x0f);
        let next = if step == 0 { Some(zigzag(varint(bytes)?)) } else { number.checked_add(step) };
        number = next.ok_or(LeafError::Damaged("a field of a page header has no number"))?;
        let mut at = path.to_vec();
        at.push(number);
        value(bytes, of, &at, fields)?;
    }
}

fn value(bytes: &mut &[u8], of: u8, path: &[u64], fields: &mut Fields) -> Result<(), LeafError> {
    if path.len() > DEPTH_LIMIT {
        return Err(LeafError::Damaged("a page header is nested too deep"));
    }
    match of {
        1 | 2 => {
            if path == [8, 7] {
                fields.unpacked = of == 2;
            }
        }
        3 => {
            one(bytes)?;
        }
        4..=6 => {
            let number = zigzag(varint(bytes)?);
            match path {
                [1] => fields.page_type = number,
                [2] => fields.uncompressed = number,
                [3] => fields.compressed = number,
                [5 | 7 | 8, 1] => fields.entries = number,
                [5 | 7, 2] | [8, 4] => fields.encoding = number,
                [8, 2] => fields.nulls = number,
                [8, 5] => fields.def = number,
                [8, 6] => fields.rep = number,
                _ => {}
            }
        }
        7 => *bytes = bytes.get(8..).ok_or(LeafError::Truncated)?,
        8 => {
            let length = usize::try_from(varint(bytes)?).map_err(|_| LeafError::Truncated)?;
            *bytes = bytes.get(length..).ok_or(LeafError::Truncated)?;
        }
        9 | 10 => list(bytes, path, fields)?,
        12 => structure(bytes, path, fields)?,
        _ => return Err(LeafError::Damaged("a field of an unknown type in a page header")),
    }
    Ok(())
}

fn list(bytes: &mut &[u8], path: &[u64], fields: &mut Fields) -> Result<(), LeafError> {
    let byte = one(bytes)?;
    let count = if byte >> 4 == 15 { varint(bytes)? } else { u64::from(byte >> 4) };
    let mut at = path.to_vec();
    at.push(0);
    for _ in 0..count {
        // In a list a truth is a byte, and everything takes at least one: the bytes run out before the count does harm.
        match byte & 0x0f {
            1 | 2 => value(bytes, 3, &at, fields)?,
            of => value(bytes, of, &at, fields)?,
        }
    }
    Ok(())
}

fn one(bytes: &mut &[u8]) -> Result<u8, LeafError> {
    let (byte, rest) = bytes.split_first().ok_or(LeafError::Truncated)?;
    *bytes = rest;
    Ok(*byte)
}

/// Sizes, counts and enumerations are not negative; what is turns into something that is far too large.
fn zigzag(value: u64) -> u64 {
    (value >> 1) ^ (value & 1).wrapping_neg()
}

thread_local! {
    static UNPACKER: RefCell<Unpacker> = RefCell::default();
}

/// A decompressor and room for a page, kept by each thread.
#[derive(Default)]
struct Unpacker {
    zstd: Option<zstd::bulk::Decompressor<'static>>,
    page: Vec<u8>,
}

/// Larger rooms are given back after use.
const KEPT_BYTES_MAX: usize = 4 << 20;

impl Unpacker {
    /// `levels` as they are, and behind them `wanted` bytes decompressed from `values`.
    fn unpack(
        &mut self,
        levels: &[u8],
        values: &[u8],
        wanted: usize,
        codec: Compression,
    ) -> Result<&[u8], LeafError> {
        self.page.clear();
        self.page.shrink_to(KEPT_BYTES_MAX);
        self.page.extend_from_slice(levels);
        self.page.resize(levels.len() + wanted, 0);
        let out = &mut self.page[levels.len()..];
        let unpacked = LeafError::Damaged("a page cannot be decompressed");
        let length = match codec {
            Compression::ZSTD(_) => {
                let zstd = match &mut self.zstd {
                    Some(zstd) => zstd,
                    none => none.insert(zstd::bulk::Decompressor::new().map_err(|_| LeafError::TooLarge)?),
                };
                zstd.decompress_to_buffer(values, out).map_err(|_| unpacked)?
            }
            Compression::SNAPPY => {
                let length = snap::raw::decompress_len(values).map_err(|_| LeafError::Truncated)?;
                let out = out.get_mut(..length).ok_or(LeafError::Truncated)?;
                snap::raw::Decoder::new().decompress(values, out).map_err(|_| unpacked)?
            }
            Compression::LZ4_RAW => lz4_flex::block::decompress_into(values, out).map_err(|_| unpacked)?,
            Compression::GZIP(_) => filled(flate2::read::MultiGzDecoder::new(values), out)?,
            Compression::BROTLI(_) => filled(brotli_decompressor::Decompressor::new(values, 4096), out)?,
            other => return Err(LeafError::Codec(other)),
        };
        if length == wanted { Ok(&self.page) } else { Err(LeafError::Truncated) }
    }
}

fn filled(mut from: impl std::io::Read, out: &mut [u8]) -> Result<usize, LeafError> {
    from.read_exact(out).map_err(|_| LeafError::Damaged("a page cannot be decompressed"))?;
    let more = from.read(&mut [0]).map_err(|_| LeafError::Truncated)?;
    Ok(out.len() + more)
}
