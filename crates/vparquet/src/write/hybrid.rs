//! Parquet's hybrid of runs and bit packing, for levels and for dictionary ids.
//!
//! Levels are a byte each in memory and at most three bits wide in the file; they are looked at and packed eight at a
//! time. What must stay true: a bit-packed stretch that is not the last holds a multiple of eight values.

use trackway_spans::wire::put_varint;

/// Equal values in a row that are worth ending a bit-packed stretch for. Shorter runs are left to the compressor, which
/// finds repetitions of whole patterns only while nothing interrupts them.
const LEVEL_RUN_MIN: usize = 64;
const ID_RUN_MIN: usize = 64;

/// Bits that a level takes whose greatest is `max`.
pub(crate) fn level_bits(max: i16) -> u32 {
    16 - max.leading_zeros()
}

/// Appends levels as a version 1 page has them: their length in four bytes, then the levels.
pub(crate) fn put_levels(out: &mut Vec<u8>, levels: &[u8], max: i16) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    match level_bits(max) {
        0 | 1 => put_packed_levels::<1>(out, levels),
        2 => put_packed_levels::<2>(out, levels),
        _ => put_packed_levels::<3>(out, levels),
    }
    let length = (out.len() - at - 4) as u32; // a page is far smaller than 4 GiB: `pages` checks its size
    out[at..at + 4].copy_from_slice(&length.to_le_bytes());
}

#[inline]
fn eight(levels: &[u8], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&levels[at..at + 8]);
    u64::from_le_bytes(bytes)
}

/// `BITS` of each of eight bytes, next to each other.
#[inline]
fn pack_eight<const BITS: usize>(bytes: u64) -> u64 {
    let lanes = |width: usize, spacing: usize| {
        let one = (1_u64 << width) - 1;
        (0..64 / spacing).fold(0, |mask, lane| mask | one << (lane * spacing))
    };
    let pairs = (bytes | bytes >> (8 - BITS)) & lanes(2 * BITS, 16);
    let fours = (pairs | pairs >> (16 - 2 * BITS)) & lanes(4 * BITS, 32);
    fours | fours >> (32 - 4 * BITS)
}

fn put_packed_levels<const BITS: usize>(out: &mut Vec<u8>, levels: &[u8]) {
    let whole = levels.len() / 8 * 8;
    let (mut packed_from, mut at) = (0, 0);
    while at < whole {
        let group = eight(levels, at);
        let same = (group & 0xff).wrapping_mul(0x0101_0101_0101_0101);
        if group != same {
            at += 8;
            continue;
        }
        let mut end = at + 8;
        while end < whole && eight(levels, end) == same {
            end += 8;
        }
        let value = levels[at];
        let tail = levels[end..].iter().take(8).take_while(|level| **level == value).count();
        if end + tail - at >= LEVEL_RUN_MIN || (at == 0 && end + tail == levels.len()) {
            end += tail;
            put_level_groups::<BITS>(out, &levels[packed_from..at]);
            put_varint(out, ((end - at) as u64) << 1);
            out.push(value);
            packed_from = end;
            // Groups of eight are counted from where packing goes on.
            return put_rest::<BITS>(out, levels, packed_from);
        }
        at = end;
    }
    put_level_groups::<BITS>(out, &levels[packed_from..]);
}
