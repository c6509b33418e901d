//! Parquet's encodings, from bytes to values. Every function checks what it reads: damaged bytes are an error, never a
//! panic and never a read beyond the page.

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

fn varint(bytes: &mut &[u8]) -> Result<u64, LeafError> {
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

/// The widest number that one eight-byte load always holds whole, wherever in a byte it begins.
const ONE_LOAD_BITS: usize = 56;

/// Takes `count` numbers of `width` bits each, lowest bits first. Missing bytes count as zeros.
#[inline]
fn unpack(bytes: &[u8], width: usize, count: usize, mut each: impl FnMut(u64)) {
    if width == 0 {
        (0..count).for_each(|_| each(0));
        return;
    }
    if width > ONE_LOAD_BITS {
        return unpack_wide(bytes, width, count, each);
    }
    let mask = (1_u64 << width) - 1;
    let whole = if bytes.len() >= 8 { ((bytes.len() - 8) * 8 / width + 1).min(count) } else { 0 };
    let mut bit = 0;
    for _ in 0..whole {
        let mut window = [0_u8; 8];
        window.copy_from_slice(&bytes[bit / 8..bit / 8 + 8]);
        each(u64::from_le_bytes(window) >> (bit % 8) & mask);
        bit += width;
    }
    for _ in whole..count {
        let mut window = [0_u8; 8];
        let start = bytes.len().min(bit / 8);
        let end = bytes.len().min(bit / 8 + 8);
        window[..end - start].copy_from_slice(&bytes[start..end]);
        each(u64::from_le_bytes(window) >> (bit % 8) & mask);
        bit += width;
    }
}

fn unpack_wide(bytes: &[u8], width: usize, count: usize, mut each: impl FnMut(u64)) {
    let mask = if width >= 64 { u64::MAX } else { (1 << width) - 1 };
    for index in 0..count {
        let bit = index * width;
        let mut window = [0_u8; 16];
        let (start, end) = (bytes.len().min(bit / 8), bytes.len().min(bit / 8 + 9));
        window[..end - start].copy_from_slice(&bytes[start..end]);
        each((u128::from_le_bytes(window) >> (bit % 8)) as u64 & mask);
    }
}

/// Reads `count` values of the hybrid of runs and bit packing.
fn hybrid(
    mut bytes: &[u8],
    width: usize,
    count: usize,
    mut run: impl FnMut(u32, usize),
) -> Result<(), LeafError> {
    if width > 32 {
        return Err(LeafError::Damaged("more than 32 bits a value"));
    }
    let mut left = count;
    while left > 0 {
        let header = varint(&mut bytes)?;
        if header & 1 == 1 {
            let groups = usize::try_from(header >> 1).map_err(|_| LeafError::Truncated)?;
            let length = groups.checked_mul(width).ok_or(LeafError::Truncated)?;
            let (packed, rest) =
                bytes.split_at_checked(length.min(bytes.len())).ok_or(LeafError::Truncated)?;
            let values = left.min(groups.saturating_mul(8));
            if values == 0 || packed.len() * 8 < values * width {
                return Err(LeafError::Truncated);
            }
            unpack(packed, width, values, |value| run(value as u32, 1));
            bytes = rest;
            left -= values;
        } else {
            let length = usize::try_from(header >> 1).map_err(|_| LeafError::Truncated)?.min(left);
            let (value, rest) = bytes.split_at_checked(width.div_ceil(8)).ok_or(LeafError::Truncated)?;
            if length == 0 {
                return Err(LeafError::Damaged("an empty run"));
            }
            let mut window = [0_u8; 4];
            window[..value.len()].copy_from_slice(value);
            run(u32::from_le_bytes(window), length);
            bytes = rest;
            left -= length;
        }
    }
    Ok(())
}

/// Appends `count` levels.
pub(crate) fn levels(bytes: &[u8], max: i16, count: usize, out: &mut Vec<u8>) -> Result<(), LeafError> {
    let width = (16 - max.leading_zeros()) as usize;
    let mut over = false;
    hybrid(bytes, width, count, |value, times| {
        over |= value > max.unsigned_abs().into();
        if times == 1 { out.push(value as u8) } else { out.resize(out.len() + times, value as u8) }
    })?;
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
    let mut highest = 0;
    hybrid(rest, usize::from(*width), count, |id, times| {
        highest = highest.max(id);
        if times == 1 { out.push(id) } else { out.resize(out.len() + times, id) }
    })?;
    if highest as usize >= dictionary {
        Err(LeafError::Damaged("an id beyond the dictionary"))
    } else {
        Ok(())
    }
}

/// Appends booleans in the RLE encoding of data pages (a length in front).
pub(crate) fn rle_booleans(bytes: &[u8], count: usize, out: &mut Vec<u8>) -> Result<(), LeafError> {
    let rest = bytes.get(4..).ok_or(LeafError::Truncated)?;
    hybrid(rest, 1, count, |value, times| out.resize(out.len() + times, value as u8))
}

/// Appends bit-packed booleans.
pub(crate) fn plain_booleans(bytes: &[u8], count: usize, out: &mut Vec<u8>) -> Result<(), LeafError> {
    if bytes.len() * 8 < count {
        return Err(LeafError::Truncated);
    }
    out.extend((0..count).map(|index| bytes[index / 8] >> (index % 8) & 1));
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
            out.reserve(values);
            unpack(packed, width, values, |delta| out.push(delta.cast_signed()));
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
    let (total, mut rest) = delta(bytes, count, &mut lengths)?;
    if total != count {
        return Err(LeafError::Damaged("fewer lengths than values"));
    }
    for length in lengths {
        let length = usize::try_from(length).map_err(|_| LeafError::Damaged("a negative length"))?;
        let (value, after) = rest.split_at_checked(length).ok_or(LeafError::Truncated)?;
        out.push(value)?;
        rest = after;
    }
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
