//! Parquet's hybrid of runs and bit packing, for levels and for dictionary ids.
//!
//! Levels are a byte each in memory and at most three bits wide in the file; they are looked at and packed eight at a
//! time. What must stay true: a bit-packed stretch that is not the last holds a multiple of eight values.

use trackway_spans::wire::put_varint;

/// Equal values in a row that are worth ending a bit-packed stretch for. (Measured: 16 to 256 make a difference of less
/// than one percent after compression, as it finds runs by itself.)
const RUN_MIN: usize = 16;

/// Bits that a level takes whose greatest is `max`.
pub(crate) fn level_bits(max: i16) -> u32 {
    16 - max.leading_zeros()
}

/// Appends levels as a version 1 page has them: their length in four bytes, then the levels.
pub(crate) fn put_levels(out: &mut Vec<u8>, levels: &[u8], max: i16) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    match level_bits(max) {
        0 | 1 => put_level_runs::<1>(out, levels),
        2 => put_level_runs::<2>(out, levels),
        _ => put_level_runs::<3>(out, levels),
    }
    // A page that comes near 4 GiB is refused when its header is written.
    let length = (out.len() - at - 4) as u32;
    out[at..at + 4].copy_from_slice(&length.to_le_bytes());
}

#[inline]
fn eight(levels: &[u8], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&levels[at..at + 8]);
    u64::from_le_bytes(bytes)
}

fn put_level_runs<const BITS: usize>(out: &mut Vec<u8>, levels: &[u8]) {
    let (mut packed_from, mut at) = (0, 0);
    while at + 8 <= levels.len() {
        let value = levels[at];
        let same = u64::from(value).wrapping_mul(0x0101_0101_0101_0101);
        if eight(levels, at) != same {
            at += 8;
            continue;
        }
        let mut end = at + 8;
        while end + 8 <= levels.len() && eight(levels, end) == same {
            end += 8;
        }
        let tail = levels[end..].iter().take(8).take_while(|level| **level == value).count();
        let everything = at == 0 && end + tail == levels.len();
        if end + tail - at >= RUN_MIN || everything {
            put_level_groups::<BITS>(out, &levels[packed_from..at]);
            put_varint(out, ((end + tail - at) as u64) << 1);
            out.push(value);
            at = end + tail;
            packed_from = at;
        } else {
            at = end;
        }
    }
    put_level_groups::<BITS>(out, &levels[packed_from..]);
}

/// Appends levels bit-packed, in groups of eight; the last group is filled up with zeros.
fn put_level_groups<const BITS: usize>(out: &mut Vec<u8>, levels: &[u8]) {
    if levels.is_empty() {
        return;
    }
    put_varint(out, (levels.len().div_ceil(8) as u64) << 1 | 1);
    let (groups, rest) = levels.as_chunks::<8>();
    out.reserve(groups.len() * BITS + 8);
    let mut put = |group: [u8; 8]| {
        let packed = pack_eight::<BITS>(u64::from_le_bytes(group)).to_le_bytes();
        let mut bytes = [0; BITS];
        bytes.copy_from_slice(&packed[..BITS]);
        out.extend_from_slice(&bytes);
    };
    groups.iter().for_each(|group| put(*group));
    if !rest.is_empty() {
        let mut group = [0; 8];
        group[..rest.len()].copy_from_slice(rest);
        put(group);
    }
}

/// `BITS` bits of each of eight bytes, next to each other.
#[inline]
fn pack_eight<const BITS: usize>(bytes: u64) -> u64 {
    const fn lanes(width: usize, spacing: usize) -> u64 {
        let (mut mask, mut at) = (0, 0);
        while at < 64 {
            mask |= ((1 << width) - 1) << at;
            at += spacing;
        }
        mask
    }
    let pairs = (bytes | bytes >> (8 - BITS)) & const { lanes(2 * BITS, 16) };
    let fours = (pairs | pairs >> (16 - 2 * BITS)) & const { lanes(4 * BITS, 32) };
    fours | fours >> (32 - 4 * BITS)
}

/// Bits that the ids of a dictionary with so many entries are written with. More than four bits become whole bytes: the
/// compressor sees bytes, and finds neither patterns nor frequencies in ids that do not end with one. (Measured: the
/// least number of bits would make a file two percent larger.)
pub(crate) fn id_bits(entries: usize) -> u32 {
    let needed = usize::BITS - entries.saturating_sub(1).leading_zeros();
    match needed {
        0 | 1 => 1,
        2 => 2,
        3 | 4 => 4,
        more => more.next_multiple_of(8),
    }
}

/// Appends the ids of a data page: the number of bits, then the ids. `bits` comes from [`id_bits`].
pub(crate) fn put_ids(out: &mut Vec<u8>, ids: &[u32], bits: u32) {
    out.push(bits as u8); // at most 32
    let (mut packed_from, mut at) = (0, 0);
    while at + 8 <= ids.len() {
        let value = ids[at];
        let length = ids[at..].iter().take_while(|id| **id == value).count();
        if length >= RUN_MIN || length == ids.len() {
            put_id_groups(out, &ids[packed_from..at], bits);
            put_varint(out, (length as u64) << 1);
            out.extend_from_slice(&value.to_le_bytes()[..bits.div_ceil(8) as usize]);
            at += length;
            packed_from = at;
        } else {
            at += (length / 8 * 8).max(8);
        }
    }
    put_id_groups(out, &ids[packed_from..], bits);
}

fn put_id_groups(out: &mut Vec<u8>, ids: &[u32], bits: u32) {
    if ids.is_empty() {
        return;
    }
    let groups = ids.len().div_ceil(8);
    put_varint(out, (groups as u64) << 1 | 1);
    let end = out.len() + groups * bits as usize;
    out.reserve(groups * bits as usize);
    match bits {
        8 => out.extend(ids.iter().map(|id| *id as u8)),
        16 => ids.iter().for_each(|id| out.extend_from_slice(&(*id as u16).to_le_bytes())),
        24 | 32 => ids.iter().for_each(|id| out.extend_from_slice(&id.to_le_bytes()[..bits as usize / 8])),
        _ => {
            let per_byte = 8 / bits as usize;
            for together in ids.chunks(per_byte) {
                let packed = together.iter().rev().fold(0, |byte, id| byte << bits | id);
                out.push(packed as u8);
            }
        }
    }
    out.resize(end, 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode;

    /// Numbers with runs of all lengths, from a small generator.
    fn numbers(count: usize, below: u32, longest: u32) -> Vec<u32> {
        let mut state = 0x9e37_79b9_u32;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state
        };
        let mut out = Vec::new();
        while out.len() < count {
            let (value, times) = (next() % below, next() % longest + 1);
            out.resize(count.min(out.len() + times as usize), value);
        }
        out
    }

    #[test]
    fn levels_come_back() {
        for max in 1..=6_i16 {
            for count in [0, 1, 7, 8, 9, 63, 64, 65, 1000, 4099] {
                for longest in [1, 9, 300] {
                    let levels: Vec<u8> =
                        numbers(count, max as u32 + 1, longest).iter().map(|level| *level as u8).collect();
                    let mut out = Vec::new();
                    put_levels(&mut out, &levels, max);
                    let mut back = Vec::new();
                    decode::levels(&out[4..], max, count, &mut back).unwrap();
                    assert_eq!(back, levels, "max {max}, {count} levels, runs up to {longest}");
                }
            }
        }
    }

    #[test]
    fn ids_come_back() {
        for entries in [1, 2, 3, 5, 17, 200, 257, 70_000, 20_000_000] {
            for count in [0, 1, 8, 9, 64, 1000, 4099] {
                for longest in [1, 9, 300] {
                    let ids = numbers(count, entries, longest);
                    let mut out = Vec::new();
                    put_ids(&mut out, &ids, id_bits(entries as usize));
                    let mut back = Vec::new();
                    decode::dictionary_ids(&out, count, entries as usize, &mut back).unwrap();
                    assert_eq!(back, ids, "{entries} entries, {count} ids, runs up to {longest}");
                }
            }
        }
    }
}
