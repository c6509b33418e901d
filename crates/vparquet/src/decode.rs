//! Parquet's encodings, from bytes to values. Every function checks what it reads: damaged bytes are an error, never a
//! panic and never a read beyond the page.

use crate::hybrid::{hybrid, unpack};
use crate::leaf::LeafError;

/// Byte strings, one after the other.
#[derive(Clone, Debug)]
pub(crate) struct ByteValues {
    /// Where each starts; one more than there are.
    pub(crate) offsets: Vec<u32>,
    pub(crate) bytes: Vec<u8>,
}

impl Default for ByteValues {
    fn default() -> Self {
        Self { offsets: vec![0], bytes: Vec::new() }
    }
}

impl ByteValues {
    #[inline]
    pub(crate) fn get(&self, index: usize) -> &[u8] {
        &self.bytes[self.offsets[index] as usize..self.offsets[index + 1] as usize]
    }

    pub(crate) fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    #[inline]
    pub(crate) fn push(&mut self, value: &[u8]) -> Result<(), LeafError> {
        self.bytes.extend_from_slice(value);
        self.offsets.push(u32::try_from(self.bytes.len()).map_err(|_| LeafError::TooLarge)?);
        Ok(())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.offsets.windows(2).map(|pair| &self.bytes[pair[0] as usize..pair[1] as usize])
    }
}

pub(crate) fn varint(bytes: &mut &[u8]) -> Result<u64, LeafError> {
    let mut value = 0_u64;
    for at in 0..10 {
        let (byte, rest) = bytes.split_first().ok_or(LeafError::Truncated)?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << (7 * at);
        if *byte < 0x80 {
            return Ok(value);
        }
    }
    Err(LeafError::Damaged("a number is too long"))
}

fn zigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

/// Appends `count` levels.
pub(crate) fn levels(bytes: &[u8], max: i16, count: usize, out: &mut Vec<u8>) -> Result<(), LeafError> {
    let width = (16 - max.leading_zeros()) as usize;
    let from = out.len();
    hybrid(bytes, width, count, out)?;
    let over = out[from..].iter().fold(0, |most: u8, level| most.max(*level)) > max as u8;
    if over { Err(LeafError::Damaged("a level over its maximum")) } else { Ok(()) }
}

/// Appends `count` dictionary ids below `dictionary`.
pub(crate) fn dictionary_ids(
    bytes: &[u8],
    count: usize,
    dictionary: usize,
    out: &mut Vec<u32>,
) -> Result<(), LeafError> {
    if count == 0 {
        return Ok(());
    }
    let (width, rest) = bytes.split_first().ok_or(LeafError::Truncated)?;
    let from = out.len();
    hybrid(rest, usize::from(*width), count, out)?;
    let most = out[from..].iter().fold(0, |most: u32, id| most.max(*id));
    if most as usize >= dictionary { Err(LeafError::Damaged("an id beyond the dictionary")) } else { Ok(()) }
}

/// Appends booleans in the RLE encoding of data pages (a length in front).
pub(crate) fn rle_booleans(bytes: &[u8], count: usize, out: &mut Vec<u8>) -> Result<(), LeafError> {
    hybrid(bytes.get(4..).ok_or(LeafError::Truncated)?, 1, count, out)
}

/// Appends bit-packed booleans.
pub(crate) fn plain_booleans(bytes: &[u8], count: usize, out: &mut Vec<u8>) -> Result<(), LeafError> {
    if bytes.len() * 8 < count {
        return Err(LeafError::Truncated);
    }
    unpack(bytes, 1, count, out);
    Ok(())
}

/// Appends fixed-width little-endian numbers.
pub(crate) fn plain<const N: usize, T>(
    bytes: &[u8],
    count: usize,
    out: &mut Vec<T>,
    convert: impl Fn([u8; N]) -> T,
) -> Result<(), LeafError> {
    let wanted = count.checked_mul(N).ok_or(LeafError::Truncated)?;
    let (chunks, _) = bytes.get(..wanted).ok_or(LeafError::Truncated)?.as_chunks::<N>();
    out.extend(chunks.iter().map(|chunk| convert(*chunk)));
    Ok(())
}

/// Appends byte strings with their lengths in front.
pub(crate) fn plain_bytes(mut bytes: &[u8], count: usize, out: &mut ByteValues) -> Result<(), LeafError> {
    out.offsets.reserve(count.min(bytes.len() / 4));
    out.bytes.reserve(bytes.len().saturating_sub(4 * count));
    for _ in 0..count {
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or(LeafError::Truncated)?;
        let length = u32::from_le_bytes(*length) as usize;
        let (value, rest) = rest.split_at_checked(length).ok_or(LeafError::Truncated)?;
        out.push(value)?;
        bytes = rest;
    }
    Ok(())
}

/// Appends DELTA_BINARY_PACKED numbers, at most `limit`, and returns how many there were and what stands behind them.
pub(crate) fn delta<'a>(
    mut bytes: &'a [u8],
    limit: usize,
    out: &mut Vec<i64>,
) -> Result<(usize, &'a [u8]), LeafError> {
    let block = varint(&mut bytes)? as usize;
    let per_block = varint(&mut bytes)? as usize;
    let total = usize::try_from(varint(&mut bytes)?).map_err(|_| LeafError::Truncated)?;
    let mut value = zigzag(varint(&mut bytes)?);
    if per_block == 0 || block == 0 || !block.is_multiple_of(per_block) || block > 1 << 20 || total > limit {
        return Err(LeafError::Damaged("a delta header"));
    }
    let per_mini = block / per_block;
    if total == 0 {
        return Ok((0, bytes));
    }
    out.push(value);
    let mut left = total - 1;
    while left > 0 {
        let least = zigzag(varint(&mut bytes)?);
        let (widths, rest) = bytes.split_at_checked(per_block).ok_or(LeafError::Truncated)?;
        bytes = rest;
        for width in widths {
            if left == 0 {
                break;
            }
            let width = usize::from(*width);
            if width > 64 {
                return Err(LeafError::Damaged("more than 64 bits a delta"));
            }
            let length = (per_mini * width).div_ceil(8);
            let (packed, rest) = bytes.split_at_checked(length).ok_or(LeafError::Truncated)?;
            bytes = rest;
            let values = left.min(per_mini);
            // What is unpacked are differences, which are then added up in place: two tight loops instead of one tangled.
            let from = out.len();
            unpack(packed, width, values, out);
            for slot in &mut out[from..] {
                value = value.wrapping_add(least).wrapping_add(*slot);
                *slot = value;
            }
            left -= values;
        }
    }
    Ok((total, bytes))
}

/// Appends DELTA_LENGTH_BYTE_ARRAY strings.
pub(crate) fn delta_length_bytes(bytes: &[u8], count: usize, out: &mut ByteValues) -> Result<(), LeafError> {
    let mut lengths = Vec::with_capacity(count);
    let (total, rest) = delta(bytes, count, &mut lengths)?;
    if total != count {
        return Err(LeafError::Damaged("fewer lengths than values"));
    }
    // The strings stand one behind the other: they are checked together and copied at once.
    let mut end = out.bytes.len() as u64;
    out.offsets.reserve(count);
    for length in lengths {
        let length = u32::try_from(length).map_err(|_| LeafError::Damaged("a length"))?;
        end += u64::from(length);
        out.offsets.push(u32::try_from(end).map_err(|_| LeafError::TooLarge)?);
    }
    let all = rest.get(..end as usize - out.bytes.len()).ok_or(LeafError::Truncated)?;
    out.bytes.extend_from_slice(all);
    Ok(())
}

/// Appends DELTA_BYTE_ARRAY strings.
pub(crate) fn delta_bytes(bytes: &[u8], count: usize, out: &mut ByteValues) -> Result<(), LeafError> {
    let mut prefixes = Vec::with_capacity(count);
    let (total, rest) = delta(bytes, count, &mut prefixes)?;
    let mut suffixes = ByteValues::default();
    delta_length_bytes(rest, count, &mut suffixes)?;
    if total != count {
        return Err(LeafError::Damaged("fewer prefixes than values"));
    }
    let mut last = Vec::new();
    for (prefix, suffix) in prefixes.into_iter().zip(suffixes.iter()) {
        let prefix = usize::try_from(prefix).map_err(|_| LeafError::Damaged("a negative length"))?;
        if prefix > last.len() {
            return Err(LeafError::Damaged("a prefix longer than the value before"));
        }
        last.truncate(prefix);
        last.extend_from_slice(suffix);
        out.push(&last)?;
    }
    Ok(())
}
