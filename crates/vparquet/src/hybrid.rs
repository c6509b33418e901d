//! Parquet's bit packing, and the hybrid of runs and bit packing: where a scan of a block spends its time.
//!
//! Numbers are taken eight at a time, which is always a whole number of bytes, and a copy of the loop is compiled for each
//! width, so that shifts and masks are constants.

use crate::decode::varint;
use crate::leaf::LeafError;

/// The widest number that one eight-byte load always holds whole, wherever in a byte it begins.
const ONE_LOAD_BITS: usize = 56;
/// Numbers of a group.
const GROUP: usize = 8;

/// What bits are unpacked into.
pub(crate) trait Unpacked: Copy + Default {
    /// The low bits of a number, which the caller knows to be enough.
    fn from_bits(bits: u64) -> Self;
}

impl Unpacked for u8 {
    #[inline(always)]
    fn from_bits(bits: u64) -> Self {
        bits as Self
    }
}

impl Unpacked for u32 {
    #[inline(always)]
    fn from_bits(bits: u64) -> Self {
        bits as Self
    }
}

impl Unpacked for i64 {
    #[inline(always)]
    fn from_bits(bits: u64) -> Self {
        bits.cast_signed()
    }
}

/// Appends `count` numbers of `width` bits each, lowest bits first. Missing bytes count as zeros.
pub(crate) fn unpack<T: Unpacked>(bytes: &[u8], width: usize, count: usize, out: &mut Vec<T>) {
    macro_rules! by_width {
        ($($width:literal)*) => {
            match width {
                0 => out.resize(out.len() + count, T::default()),
                $($width => unpack_groups::<T, $width>(bytes, count, out),)*
                _ => unpack_wide(bytes, width, count, out),
            }
        };
    }
    by_width!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32
        33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56);
}

fn unpack_groups<T: Unpacked, const WIDTH: usize>(bytes: &[u8], count: usize, out: &mut Vec<T>) {
    let start = out.len();
    out.resize(start + count.next_multiple_of(GROUP), T::default());
    let (groups, _) = out[start..].as_chunks_mut::<GROUP>();
    // The last number of a group is loaded with what stands behind the group.
    let overhang = const { (7 * WIDTH) / 8 + 8 };
    let mut rest = bytes;
    for group in groups {
        if let Some(window) = rest.get(..overhang) {
            unpack_group::<T, WIDTH>(window, group);
        } else {
            let mut window = [0; ONE_LOAD_BITS + 8];
            window[..rest.len()].copy_from_slice(rest);
            unpack_group::<T, WIDTH>(&window, group);
        }
        rest = rest.get(WIDTH..).unwrap_or_default();
    }
    out.truncate(start + count);
}

#[inline(always)]
fn unpack_group<T: Unpacked, const WIDTH: usize>(window: &[u8], group: &mut [T; GROUP]) {
    let load = |at: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&window[at..at + 8]);
        u64::from_le_bytes(word)
    };
    if WIDTH <= 8 {
        // All eight in one word: spread to a byte each, in three steps.
        let bytes = spread::<WIDTH>(load(0)).to_le_bytes();
        for (slot, byte) in group.iter_mut().zip(bytes) {
            *slot = T::from_bits(u64::from(byte));
        }
        return;
    }
    let mask = (1_u64 << WIDTH) - 1;
    for (index, slot) in group.iter_mut().enumerate() {
        let bit = index * WIDTH;
        *slot = T::from_bits(load(bit / 8) >> (bit % 8) & mask);
    }
}

/// Spreads eight numbers of at most eight bits to a byte each.
#[inline(always)]
fn spread<const BITS: usize>(word: u64) -> u64 {
    const fn every(lane: usize, bits: usize) -> u64 {
        let (mut mask, mut at) = (0_u64, 0);
        while at < 64 {
            mask |= ((1 << bits) - 1) << at;
            at += lane;
        }
        mask
    }
    // Never called with more than eight, but compiled for all widths.
    let width = const { if BITS > 8 { 8 } else { BITS } };
    let (fours, twos, ones) = const {
        let width = if BITS > 8 { 8 } else { BITS };
        (every(64, 4 * width), every(32, 2 * width), every(16, width))
    };
    let word = (word & fours) | (word >> (4 * width) & fours) << 32;
    let word = (word & twos) | (word >> (2 * width) & twos) << 16;
    (word & ones) | (word >> width & ones) << 8
}

fn unpack_wide<T: Unpacked>(bytes: &[u8], width: usize, count: usize, out: &mut Vec<T>) {
    let mask = if width >= 64 { u64::MAX } else { (1 << width) - 1 };
    out.extend((0..count).map(|index| {
        let bit = index * width;
        let mut window = [0_u8; 16];
        let (start, end) = (bytes.len().min(bit / 8), bytes.len().min(bit / 8 + 9));
        window[..end - start].copy_from_slice(&bytes[start..end]);
        T::from_bits((u128::from_le_bytes(window) >> (bit % 8)) as u64 & mask)
    }));
}

/// Appends `count` values of the hybrid of runs and bit packing. `T` must have `width` bits.
///
/// # Errors
/// [`LeafError`] when the bytes end too early or a run is empty.
pub(crate) fn hybrid<T: Unpacked>(
    mut bytes: &[u8],
    width: usize,
    count: usize,
    out: &mut Vec<T>,
) -> Result<(), LeafError> {
    if width > size_of::<T>() * 8 {
        return Err(LeafError::Damaged("a number is too wide"));
    }
    let mut left = count;
    while left > 0 {
        let header = varint(&mut bytes)?;
        let length = usize::try_from(header >> 1).map_err(|_| LeafError::Truncated)?;
        if header & 1 == 1 {
            let packed = length.checked_mul(width).ok_or(LeafError::Truncated)?.min(bytes.len());
            let (packed, rest) = bytes.split_at(packed);
            let values = left.min(length.saturating_mul(GROUP));
            if values == 0 || packed.len() * 8 < values * width {
                return Err(LeafError::Truncated);
            }
            unpack(packed, width, values, out);
            bytes = rest;
            left -= values;
        } else {
            let values = length.min(left);
            let (value, rest) = bytes.split_at_checked(width.div_ceil(8)).ok_or(LeafError::Truncated)?;
            if values == 0 {
                return Err(LeafError::Damaged("an empty run"));
            }
            let mut window = [0_u8; 8];
            window[..value.len()].copy_from_slice(value);
            out.resize(out.len() + values, T::from_bits(u64::from_le_bytes(window)));
            bytes = rest;
            left -= values;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(numbers: &[u64], width: usize) -> Vec<u8> {
        let mut bytes = vec![0; (numbers.len() * width).div_ceil(8)];
        for (index, number) in numbers.iter().enumerate() {
            for bit in 0..width {
                let at = index * width + bit;
                bytes[at / 8] |= ((number >> bit & 1) as u8) << (at % 8);
            }
        }
        bytes
    }

    #[test]
    fn every_width_and_count_is_unpacked() {
        let noise = |index: u64| index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for width in 0..=64 {
            for count in [0, 1, 7, 8, 9, 31, 64, 100] {
                let mask = if width == 64 { u64::MAX } else { (1 << width) - 1 };
                let numbers: Vec<u64> = (0..count).map(|index| noise(index) & mask).collect();
                let bytes = pack(&numbers, width);
                let mut wide: Vec<i64> = vec![7];
                unpack(&bytes, width, numbers.len(), &mut wide);
                assert!(wide[1..].iter().map(|n| n.cast_unsigned()).eq(numbers.iter().copied()), "{width}");
                if width <= 8 {
                    let mut narrow: Vec<u8> = Vec::new();
                    unpack(&bytes, width, numbers.len(), &mut narrow);
                    assert!(narrow.iter().map(|n| u64::from(*n)).eq(numbers.iter().copied()), "{width}");
                }
            }
        }
    }

    #[test]
    fn runs_and_groups_follow_each_other_and_damage_is_told() {
        let mut bytes = vec![5 << 1, 2]; // five twos
        bytes.push(1 << 1 | 1); // one group
        bytes.extend(pack(&[0, 1, 2, 3, 3, 2, 1, 0], 2));
        let mut levels: Vec<u8> = Vec::new();
        hybrid(&bytes, 2, 11, &mut levels).unwrap();
        assert_eq!(levels, [2, 2, 2, 2, 2, 0, 1, 2, 3, 3, 2]);
        for end in 0..bytes.len() {
            assert!(hybrid::<u8>(&bytes[..end], 2, 13, &mut Vec::new()).is_err(), "{end}");
        }
        assert!(hybrid::<u8>(&[0, 1], 1, 1, &mut Vec::new()).is_err(), "an empty run");
        assert!(hybrid::<u8>(&[2, 1, 1], 9, 1, &mut Vec::new()).is_err(), "too wide");
    }
}
