//! The bytes of an index of trace ids.
//!
//! ```text
//! header      magic, version, numbers of blocks and entries, bytes of the filter, checksum of the filter,
//!             checksum of header, blocks and directory
//! blocks      the ids of the blocks that it covers, 16 bytes each; an entry names a block by its number here
//! directory   of each bucket of 512 entries its first fingerprint and its checksum, 10 bytes
//! filter      a Bloom filter of the fingerprints
//! entries     fingerprint (6 bytes), number of the block (2), row in the block (4), ascending, big-endian
//! ```
//!
//! What must stay true: nothing is believed without its checksum, and all lengths follow from the header, which fits the
//! object's size or is damaged.

use std::ops::Range;

use trackway_common::TraceId;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

/// Begins every index.
const MAGIC: [u8; 8] = *b"trackids";
/// The format that is written, and the only one that is read.
const VERSION: u32 = 1;
/// Bytes of the header.
const HEADER: usize = 48;
/// Where the header has the checksum of everything before the filter; it counts as zero there.
const HEAD_SUM: Range<usize> = 36..40;
/// Bytes of a bucket in the directory.
const LISTED: usize = 10;
/// Bytes of an entry.
const ENTRY: usize = 12;
/// Entries of a bucket: 6 KiB, which are fetched for one trace.
pub(super) const BUCKET: usize = 512;
/// Entries of an index at the most: 24 MiB, which lie in memory while it is written.
pub const ENTRIES_MAX: usize = 2 << 20;
/// Blocks that an index covers at the most: their numbers have 16 bits.
pub(super) const BLOCKS_MAX: usize = 1 << 16;
/// Bits of the filter an entry, and of them that are set: of unknown traces it says in one of a hundred cases "maybe".
const FILTER_BITS: usize = 10;
const FILTER_PROBES: u64 = 6;

/// 48 bits of a hash of a trace's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// Of a trace.
    pub fn of(trace: TraceId) -> Self {
        Self(xxh3_64(&trace.to_bytes()) >> 16)
    }

    fn bytes(self) -> [u8; 6] {
        let [_, _, bytes @ ..] = self.0.to_be_bytes();
        bytes
    }

    fn read(bytes: &[u8]) -> Self {
        Self(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// The bits of a filter of so many that stand for it.
    fn bits(self, bits: u64) -> impl Iterator<Item = u64> {
        let hash = xxh3_64(&self.0.to_le_bytes());
        let (first, step) = (hash >> 32, hash & 0xffff_ffff | 1);
        (0..FILTER_PROBES).map(move |probe| first.wrapping_add(probe.wrapping_mul(step)) % bits.max(1))
    }
}

/// Where a trace may lie: entries of equal traces are equal, and sort by fingerprint, block and row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry([u8; ENTRY]);

impl Entry {
    /// A trace in a row of the block with this number.
    pub fn new(fingerprint: Fingerprint, block: u16, row: u32) -> Self {
        let mut bytes = [0; ENTRY];
        bytes[..6].copy_from_slice(&fingerprint.bytes());
        bytes[6..8].copy_from_slice(&block.to_be_bytes());
        bytes[8..].copy_from_slice(&row.to_be_bytes());
        Self(bytes)
    }

    pub(super) fn fingerprint(self) -> Fingerprint {
        Fingerprint::read(&self.0[..6])
    }

    pub(super) fn block(self) -> u16 {
        u16::from_be_bytes([self.0[6], self.0[7]])
    }

    /// The row, counted through all row groups of the block.
    pub(super) fn row(self) -> u32 {
        u32::from_be_bytes([self.0[8], self.0[9], self.0[10], self.0[11]])
    }
}

/// The entries in the bytes of buckets.
pub(super) fn entries(bytes: &[u8]) -> impl Iterator<Item = Entry> + '_ {
    bytes.as_chunks::<ENTRY>().0.iter().map(|entry| Entry(*entry))
}

/// An index that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// More of it is needed: so many bytes from its beginning.
    #[error("its first {0} bytes are needed")]
    NeedsMore(u64),
    /// Another version wrote it, which may know what it says.
    #[error("an index of version {0}, which is not known here")]
    Version(u32),
    /// It is damaged.
    #[error("{0}")]
    Damaged(&'static str),
}

/// What stands before the entries, without the filter.
#[derive(Debug)]
pub(super) struct Head {
    /// The blocks that it covers: of each it has all traces.
    pub(super) blocks: Vec<Uuid>,
    /// Of each bucket its first fingerprint and its checksum.
    directory: Vec<(Fingerprint, u32)>,
    entries: usize,
    filter: Range<u64>,
    filter_sum: u32,
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |bytes| bytes.iter().rev().fold(0, |n, byte| n << 8 | u32::from(*byte)))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

impl Head {
    /// Reads it from the first bytes of an object of a size.
    ///
    /// # Errors
    /// [`FormatError`].
    pub(super) fn read(bytes: &[u8], size: u64) -> Result<Self, FormatError> {
        let damaged = FormatError::Damaged;
        if size < HEADER as u64 {
            return Err(damaged("it is shorter than a header"));
        }
        let Some(header) = bytes.get(..HEADER) else { return Err(FormatError::NeedsMore(HEADER as u64)) };
        if header[..8] != MAGIC {
            return Err(damaged("it does not begin as an index does"));
        }
        if u32_at(header, 8) != VERSION {
            return Err(FormatError::Version(u32_at(header, 8)));
        }
        let (blocks, entries) = (u32_at(header, 12) as usize, u64_at(header, 16));
        let filter_bytes = u64_at(header, 24);
        if blocks > BLOCKS_MAX || entries > ENTRIES_MAX as u64 || filter_bytes > size {
            return Err(damaged("its header contradicts itself"));
        }
        let entries = usize::try_from(entries).unwrap_or(usize::MAX);
        let length = HEADER + blocks * 16 + entries.div_ceil(BUCKET) * LISTED;
        let filter = length as u64..length as u64 + filter_bytes;
        if filter.end + (entries * ENTRY) as u64 != size {
            return Err(damaged("its size is not what its header says"));
        }
        let Some(head) = bytes.get(..length) else { return Err(FormatError::NeedsMore(length as u64)) };
        if head_sum(head) != u32_at(head, HEAD_SUM.start) {
            return Err(damaged("the checksum of its head is wrong"));
        }
        let (covered, directory) = head[HEADER..].split_at(blocks * 16);
        let listed = |bucket: &[u8; LISTED]| (Fingerprint::read(&bucket[..6]), u32_at(bucket, 6));
        Ok(Self {
            blocks: covered.as_chunks().0.iter().map(|block| Uuid::from_bytes(*block)).collect(),
            directory: directory.as_chunks().0.iter().map(listed).collect(),
            entries,
            filter,
            filter_sum: u32_at(head, 32),
        })
    }

    /// Bytes that it takes in memory.
    pub(super) fn weight(&self) -> usize {
        self.blocks.len() * 16 + self.directory.len() * size_of::<(Fingerprint, u32)>() + size_of::<Self>()
    }

    pub(super) fn entries(&self) -> usize {
        self.entries
    }

    pub(super) fn buckets(&self) -> usize {
        self.directory.len()
    }

    /// Where the filter stands.
    pub(super) fn filter(&self) -> Range<u64> {
        self.filter.clone()
    }

    /// Whether these are the bytes of the filter.
    pub(super) fn is_filter(&self, bytes: &[u8]) -> bool {
        bytes.len() as u64 == self.filter.end - self.filter.start && crc32fast::hash(bytes) == self.filter_sum
    }

    /// The buckets that may have a fingerprint: one of them, unless it is in many entries.
    pub(super) fn buckets_of(&self, fingerprint: Fingerprint) -> Range<usize> {
        let start = self.directory.partition_point(|(first, _)| *first < fingerprint).saturating_sub(1);
        let end = self.directory.partition_point(|(first, _)| *first <= fingerprint);
        start..end.max(start)
    }

    /// Where a bucket stands.
    pub(super) fn range(&self, bucket: usize) -> Range<u64> {
        let at = |entry: usize| self.filter.end + (entry.min(self.entries) * ENTRY) as u64;
        at(bucket * BUCKET)..at((bucket + 1) * BUCKET)
    }

    /// Whether these are the bytes of a bucket.
    pub(super) fn is_bucket(&self, bucket: usize, bytes: &[u8]) -> bool {
        let range = self.range(bucket);
        bytes.len() as u64 == range.end - range.start
            && self.directory.get(bucket).is_some_and(|(_, sum)| *sum == crc32fast::hash(bytes))
    }
}

/// Whether a filter says that a fingerprint may be there.
pub(super) fn may_contain(filter: &[u8], fingerprint: Fingerprint) -> bool {
    let set = |bit: u64| filter.get((bit / 8) as usize).is_some_and(|byte| byte >> (bit % 8) & 1 == 1);
    fingerprint.bits(filter.len() as u64 * 8).all(set)
}

fn head_sum(head: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&head[..HEAD_SUM.start]);
    sum.update(&[0; 4]);
    sum.update(&head[HEAD_SUM.end..]);
    sum.finalize()
}

/// An index of these entries, which are sorted here, in two parts: the second has the entries. There may be
/// [`ENTRIES_MAX`] of them.
pub fn encode(blocks: &[Uuid], mut entries: Vec<Entry>) -> [Vec<u8>; 2] {
    entries.sort_unstable();
    entries.dedup();
    let mut filter = vec![0_u8; (entries.len() * FILTER_BITS).div_ceil(8)];
    for entry in &entries {
        for bit in entry.fingerprint().bits(filter.len() as u64 * 8) {
            filter[(bit / 8) as usize] |= 1 << (bit % 8);
        }
    }
    let mut head = Vec::from(MAGIC);
    head.extend(VERSION.to_le_bytes());
    head.extend((blocks.len() as u32).to_le_bytes());
    head.extend((entries.len() as u64).to_le_bytes());
    head.extend((filter.len() as u64).to_le_bytes());
    head.extend(crc32fast::hash(&filter).to_le_bytes());
    head.resize(HEADER, 0);
    blocks.iter().for_each(|block| head.extend(block.as_bytes()));
    let firsts: Vec<Fingerprint> = entries.iter().step_by(BUCKET).map(|entry| entry.fingerprint()).collect();
    let bytes = entries.into_iter().map(|entry| entry.0).collect::<Vec<_>>().into_flattened();
    for (bucket, first) in bytes.chunks(BUCKET * ENTRY).zip(firsts) {
        head.extend(first.bytes());
        head.extend(crc32fast::hash(bucket).to_le_bytes());
    }
    let sum = head_sum(&head);
    head[HEAD_SUM].copy_from_slice(&sum.to_le_bytes());
    head.extend(filter);
    [head, bytes]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(traces: u128) -> Vec<u8> {
        let blocks: Vec<Uuid> = (0..7).map(Uuid::from_u128).collect();
        let entry =
            |trace: u128| Entry::new(Fingerprint::of(TraceId(trace)), (trace % 7) as u16, (trace / 7) as u32);
        encode(&blocks, (0..traces).map(entry).collect()).concat()
    }

    fn find(index: &[u8], trace: u128) -> Vec<(u16, u32)> {
        let head = Head::read(index, index.len() as u64).unwrap();
        let fingerprint = Fingerprint::of(TraceId(trace));
        let range = |range: Range<u64>| &index[range.start as usize..range.end as usize];
        assert!(head.is_filter(range(head.filter())));
        if !may_contain(range(head.filter()), fingerprint) {
            return Vec::new();
        }
        let mut found = Vec::new();
        for bucket in head.buckets_of(fingerprint) {
            let bytes = range(head.range(bucket));
            assert!(head.is_bucket(bucket, bytes));
            let fits = entries(bytes).filter(|entry| entry.fingerprint() == fingerprint);
            found.extend(fits.map(|entry| (entry.block(), entry.row())));
        }
        found
    }

    #[test]
    fn what_is_written_is_found() {
        for traces in [0, 1, 511, 512, 513, 5_000] {
            let index = sample(traces);
            for trace in 0..traces {
                assert_eq!(find(&index, trace), [((trace % 7) as u16, (trace / 7) as u32)], "{trace}");
            }
            let false_hits =
                (traces..traces + 5_000).filter(|trace| !find(&index, *trace).is_empty()).count();
            assert_eq!(false_hits, 0);
        }
    }

    #[test]
    fn the_filter_says_maybe_of_one_unknown_trace_in_a_hundred() {
        let index = sample(20_000);
        let head = Head::read(&index, index.len() as u64).unwrap();
        let filter = &index[head.filter().start as usize..head.filter().end as usize];
        let maybe = |trace: &u128| may_contain(filter, Fingerprint::of(TraceId(*trace)));
        let count = (1_000_000..1_020_000).filter(maybe).count();
        assert!(count < 20_000 / 50, "{count}");
    }

    #[test]
    fn equal_fingerprints_are_found_over_several_buckets() {
        let fingerprint = Fingerprint::of(TraceId(5));
        let entries = (0..2_000).map(|row| Entry::new(fingerprint, 0, row)).collect();
        let index = encode(&[Uuid::nil()], entries).concat();
        assert_eq!(find(&index, 5).len(), 2_000);
        assert_eq!(find(&index, 6), []);
    }

    #[test]
    fn what_is_cut_off_or_flipped_is_damaged() {
        let index = sample(1_300);
        for length in 0..index.len() {
            let cut = Head::read(&index[..length], length as u64);
            assert!(matches!(cut, Err(FormatError::Damaged(_))), "{length}: {cut:?}");
        }
        let head = Head::read(&index, index.len() as u64).unwrap();
        for at in 0..index.len() {
            let mut flipped = index.clone();
            flipped[at] ^= 1 << (at % 8);
            let read = match Head::read(&flipped, flipped.len() as u64) {
                Err(_) => continue,
                Ok(read) => read,
            };
            let part = |range: Range<u64>| &flipped[range.start as usize..range.end as usize];
            let whole = read.is_filter(part(read.filter()))
                && (0..head.buckets()).all(|bucket| read.is_bucket(bucket, part(read.range(bucket))));
            assert!(!whole, "nobody notices byte {at}");
        }
    }
}
