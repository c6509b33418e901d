//! DELTA_BINARY_PACKED: differences of successive numbers, in blocks of 128, packed to the width of the widest of 32.

use trackway_spans::wire::put_varint;

const BLOCK: usize = 128;
const MINI_BLOCKS: usize = 4;
const MINI_BLOCK: usize = BLOCK / MINI_BLOCKS;

/// A number that a column can hold: what matters is how its differences wrap around.
pub(crate) trait Number: Copy {
    /// The number itself.
    fn wide(self) -> i64;
    /// `self - other`, wrapped around in the column's own width, so that no difference is wider than the column.
    fn minus(self, other: Self) -> i64;
}

impl Number for i64 {
    fn wide(self) -> i64 {
        self
    }
    fn minus(self, other: Self) -> i64 {
        self.wrapping_sub(other)
    }
}

impl Number for u64 {
    fn wide(self) -> i64 {
        self.cast_signed()
    }
    fn minus(self, other: Self) -> i64 {
        self.wrapping_sub(other).cast_signed()
    }
}

impl Number for i32 {
    fn wide(self) -> i64 {
        i64::from(self)
    }
    fn minus(self, other: Self) -> i64 {
        i64::from(self.wrapping_sub(other))
    }
}

impl Number for u32 {
    fn wide(self) -> i64 {
        i64::from(self.cast_signed())
    }
    fn minus(self, other: Self) -> i64 {
        i64::from(self.wrapping_sub(other).cast_signed())
    }
}

fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}

/// Appends numbers.
pub(crate) fn put_delta<T: Number>(out: &mut Vec<u8>, values: &[T]) {
    put_varint(out, BLOCK as u64);
    put_varint(out, MINI_BLOCKS as u64);
    put_varint(out, values.len() as u64);
    put_varint(out, zigzag(values.first().map_or(0, |first| first.wide())));
    let mut deltas = [0_i64; BLOCK];
    let mut done = 1;
    while done < values.len() {
        let count = BLOCK.min(values.len() - done);
        for (delta, pair) in deltas.iter_mut().zip(values[done - 1..done + count].windows(2)) {
            *delta = pair[1].minus(pair[0]);
        }
        put_block(out, &mut deltas, count);
        done += count;
    }
}

fn put_block(out: &mut Vec<u8>, deltas: &mut [i64; BLOCK], count: usize) {
    let least = deltas[..count].iter().copied().min().unwrap_or(0);
    put_varint(out, zigzag(least));
    // What stands behind the last value must be there, but may be anything.
    deltas[count..].fill(least);
    let mut widths = [0_u8; MINI_BLOCKS];
    let mut packed = [[0_u64; MINI_BLOCK]; MINI_BLOCKS];
    for ((mini, from), width) in packed.iter_mut().zip(deltas.as_chunks::<MINI_BLOCK>().0).zip(&mut widths) {
        let mut all = 0;
        for (to, delta) in mini.iter_mut().zip(from) {
            *to = delta.wrapping_sub(least).cast_unsigned();
            all |= *to;
        }
        *width = (64 - all.leading_zeros()) as u8;
    }
    out.extend_from_slice(&widths);
    for (mini, width) in packed.iter().zip(widths).take(count.div_ceil(MINI_BLOCK)) {
        put_packed(out, mini, u32::from(width));
    }
}

/// Appends 32 numbers of `width` bits, lowest bits first.
fn put_packed(out: &mut Vec<u8>, values: &[u64; MINI_BLOCK], width: u32) {
    let start = out.len();
    // 32 numbers of w bits are 4w bytes; the last word may be half of one.
    out.reserve(MINI_BLOCK * 8);
    let (mut word, mut used) = (0_u64, 0);
    for value in values {
        word |= value << used;
        used += width;
        if used >= 64 {
            out.extend_from_slice(&word.to_le_bytes());
            used -= 64;
            // The bits of this value that did not fit; a shift by all of its bits is not defined, and leaves none.
            word = if used == 0 { 0 } else { value >> (width - used) };
        }
    }
    out.extend_from_slice(&word.to_le_bytes());
    out.truncate(start + MINI_BLOCK / 8 * width as usize);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode;

    fn check<T: Number>(values: &[T]) {
        let mut out = Vec::new();
        put_delta(&mut out, values);
        out.push(0x5a);
        let mut back = Vec::new();
        let (count, rest) = decode::delta(&out, values.len(), &mut back).unwrap();
        let wide: Vec<i64> = values.iter().map(|value| value.wide()).collect();
        let narrow = size_of::<T>() == 4;
        let back: Vec<i64> =
            back.iter().map(|value| if narrow { i64::from(*value as i32) } else { *value }).collect();
        assert_eq!((count, back, rest), (values.len(), wide, &[0x5a_u8][..]));
    }

    #[test]
    fn numbers_come_back() {
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 1 ^ state << 63
        };
        for count in [0, 1, 2, 32, 33, 34, 128, 129, 130, 1000] {
            for bits in [0, 1, 7, 31, 32, 33, 63, 64] {
                let mask = if bits == 64 { u64::MAX } else { (1 << bits) - 1 };
                let values: Vec<u64> = (0..count).map(|_| next() & mask).collect();
                check(&values);
                check(&values.iter().map(|value| value.cast_signed()).collect::<Vec<_>>());
                check(&values.iter().map(|value| *value as i32).collect::<Vec<_>>());
            }
        }
        check(&[i32::MIN, i32::MAX, i32::MIN, 0]);
        check(&[0, u64::MAX, 1 << 63]);
        check(&[i64::MIN, i64::MAX, -1]);
    }
}
