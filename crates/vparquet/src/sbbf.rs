//! Parquet's split-block bloom filters, as a reader sees them that fetches one block of a filter and not all of it.
//!
//! A filter is a header and blocks of 32 bytes. The upper half of a value's hash says which block, the lower half which
//! eight bits of it.

use parquet::bloom_filter::Sbbf;

/// Bytes of a block.
pub(crate) const BLOCK_BYTES: u64 = 32;
/// The longest header: see [`header_bytes`].
pub(crate) const HEADER_BYTES_MAX: u64 = 19;
/// Largest filter that is taken seriously: that of the specification.
const FILTER_BYTES_MAX: u64 = 128 << 20;

/// What stands behind the number of bytes in a header, in Thrift's compact protocol: that the filter is made of split
/// blocks, hashed with XXHASH and not compressed. There are no others.
const HEADER_TAIL: [u8; 13] = [0x1c, 0x1c, 0, 0, 0x1c, 0x1c, 0, 0, 0x1c, 0x1c, 0, 0, 0];

/// A value that a filter is asked about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Needle<'a> {
    Text(&'a [u8]),
    Int(i64),
    /// Zero with a sign is another one.
    Float(f64),
}

impl Needle<'_> {
    /// Number of the block that says whether the value is there, in a filter of so many.
    pub(crate) fn block(self, blocks: u64) -> u64 {
        let hash = match self {
            Self::Text(text) => xxhash_rust::xxh64::xxh64(text, 0),
            Self::Int(int) => xxhash_rust::xxh64::xxh64(&int.to_le_bytes(), 0),
            Self::Float(float) => xxhash_rust::xxh64::xxh64(&float.to_le_bytes(), 0),
        };
        // At most 2^22 blocks: see FILTER_BYTES_MAX.
        ((hash >> 32) * blocks) >> 32
    }

    /// Whether the value may be there, by the block that says so.
    pub(crate) fn may_be_in(self, block: &[u8]) -> bool {
        // A filter of one block looks at the lower half of the hash only.
        let filter = Sbbf::new(block);
        match self {
            _ if filter.num_blocks() != 1 => true,
            Self::Text(text) => filter.check(text),
            Self::Int(int) => filter.check(&int),
            Self::Float(float) => filter.check(&float),
        }
    }
}

/// Bytes of the header of a filter with so many bytes of blocks: a field's mark, the number as a zigzag varint, the rest.
fn header_bytes(bytes: u64) -> u64 {
    let bits = u64::from(u64::BITS - (bytes << 1).leading_zeros());
    1 + bits.div_ceil(7) + HEADER_TAIL.len() as u64
}

/// Bytes of the blocks and of the header of a filter that takes this much of a file, when it is a power of two of blocks
/// behind a header as all writers have it.
pub(crate) fn implied(length: u64) -> Option<(u64, u64)> {
    let bytes = 1_u64.checked_shl(length.checked_ilog2()?)?;
    let header = header_bytes(bytes);
    (is_possible(bytes) && header + bytes == length).then_some((header, bytes))
}

/// Bytes of the blocks and of the header, by the header. `None` for what is no header of a filter.
pub(crate) fn read_header(header: &[u8]) -> Option<(u64, u64)> {
    let (first, rest) = header.split_first()?;
    let end = rest.iter().position(|byte| byte & 0x80 == 0).filter(|end| *end < 5)? + 1;
    let (number, rest) = rest.split_at_checked(end)?;
    let number = number.iter().rev().fold(0_u64, |number, byte| number << 7 | u64::from(byte & 0x7f));
    let bytes = number >> 1;
    let is_whole = *first == 0x15 && number & 1 == 0 && rest.starts_with(&HEADER_TAIL);
    (is_whole && is_possible(bytes)).then_some((1 + end as u64 + HEADER_TAIL.len() as u64, bytes))
}

fn is_possible(bytes: u64) -> bool {
    (BLOCK_BYTES..=FILTER_BYTES_MAX).contains(&bytes) && bytes.is_multiple_of(BLOCK_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_of_parquets_own_writer_are_understood() {
        for bytes in [32, 64, 4096, 65_536, 1 << 20] {
            let mut filter = Sbbf::new_with_num_of_bytes(bytes);
            let texts: Vec<String> = (0..bytes / 4).map(|number| format!("order-{number}")).collect();
            texts.iter().for_each(|text| filter.insert(text.as_str()));
            (0..500_i64).for_each(|number| filter.insert(&(number * 7919 - 100_000)));
            (0..500).for_each(|number| filter.insert(&(f64::from(number) / 3.0)));
            let mut written = Vec::new();
            filter.write(&mut written).unwrap();
            let (header, length) = read_header(&written).unwrap();
            assert_eq!(length, bytes as u64);
            assert!(header <= HEADER_BYTES_MAX);
            assert_eq!(implied(written.len() as u64), Some((header, length)));
            let may = |needle: Needle<'_>| {
                let at = (header + needle.block(length / BLOCK_BYTES) * BLOCK_BYTES) as usize;
                needle.may_be_in(&written[at..at + BLOCK_BYTES as usize])
            };
            for text in &texts {
                assert!(may(Needle::Text(text.as_bytes())));
            }
            for number in 0..500 {
                assert!(may(Needle::Int(number * 7919 - 100_000)));
                assert!(may(Needle::Float(number as f64 / 3.0)));
            }
            for number in 0..2000_i64 {
                let text = format!("other-{number}");
                assert_eq!(may(Needle::Text(text.as_bytes())), filter.check(text.as_str()));
                assert_eq!(may(Needle::Int(number << 40)), filter.check(&(number << 40)));
            }
        }
    }

    #[test]
    fn what_is_no_header_is_none() {
        let mut whole = vec![0x15, 0x80, 0x01];
        whole.extend(HEADER_TAIL);
        assert_eq!(read_header(&whole), Some((16, 64)));
        for length in 0..whole.len() {
            assert_eq!(read_header(&whole[..length]), None);
        }
        // Bytes 1 and 2 are the number.
        for at in (0..2).chain(3..whole.len()) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x3;
            assert_eq!(read_header(&damaged), None, "byte {at}");
        }
        assert_eq!(read_header(&[0x15, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), None);
        for length in [0, 1, 31, 32, 46, 48, u64::MAX] {
            assert_eq!(implied(length), None, "{length}");
        }
    }
}
