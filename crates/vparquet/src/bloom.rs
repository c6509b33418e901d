//! Tempo's bloom filter over trace ids, bit for bit: bits-and-blooms/bloom v3 (`reference/tempo.md` §4.3).

use trackway_common::TraceId;

/// Bytes of one shard's bits: Tempo's `bloom_filter_shard_size_bytes`.
const SHARD_BYTES: u64 = 100 * 1024;
const FALSE_POSITIVES: f64 = 0.01;
const SHARDS_MAX: u64 = 1000;
/// Length of a shard's file: m, k, the length of the bit set, and the bits.
const HEADER_BYTES: usize = 24;

/// A sharded bloom filter under construction.
#[derive(Clone, Debug)]
pub struct ShardedBloom {
    k: u64,
    shards: Vec<Vec<u64>>,
}

/// Number of bits and of hashes for so many items, as `EstimateParameters` computes them.
fn estimate(items: u64) -> (u64, u64) {
    let n = items.max(1) as f64;
    let ln2 = std::f64::consts::LN_2;
    let bits = (-n * FALSE_POSITIVES.ln() / ln2.powi(2)).ceil();
    let hashes = (ln2 * bits / n).ceil();
    // Both are small positive numbers: items are at most a few billion.
    (bits as u64, hashes as u64)
}

impl ShardedBloom {
    /// A filter for about so many traces.
    pub fn new(traces: u64) -> Self {
        let (bits, k) = estimate(traces);
        let shards = bits.div_ceil(8).div_ceil(SHARD_BYTES).clamp(1, SHARDS_MAX);
        Self { k, shards: vec![vec![0; (SHARD_BYTES / 8) as usize]; shards as usize] }
    }

    /// Adds a trace.
    pub fn add(&mut self, id: TraceId) {
        let key = id.to_bytes();
        let shards = self.shards.len() as u32;
        let words = &mut self.shards[shard_of(&key, shards) as usize];
        let bits = words.len() as u64 * 64;
        let hashes = base_hashes(&key);
        for index in 0..self.k {
            let bit = location(&hashes, index) % bits;
            words[(bit / 64) as usize] |= 1 << (bit % 64);
        }
    }

    /// The files `bloom-0`, `bloom-1`, …
    pub fn files(&self) -> Vec<Vec<u8>> {
        let file = |words: &Vec<u64>| {
            let bits = words.len() as u64 * 64;
            let numbers = [bits, self.k, bits].into_iter().chain(words.iter().copied());
            numbers.flat_map(u64::to_be_bytes).collect()
        };
        self.shards.iter().map(file).collect()
    }
}

/// The shard that knows about a trace.
pub fn shard_of_trace(id: TraceId, shards: u32) -> u32 {
    shard_of(&id.to_bytes(), if shards == 0 { 10 } else { shards })
}

/// FNV-1, 32 bits (not 1a).
fn shard_of(key: &[u8], shards: u32) -> u32 {
    let hash =
        key.iter().fold(0x811c_9dc5_u32, |hash, byte| hash.wrapping_mul(0x0100_0193) ^ u32::from(*byte));
    hash % shards.max(1)
}

/// Whether a file can be a shard of a filter: its header says what its length is. For one that comes from where others
/// write.
pub fn is_whole(file: &[u8]) -> bool {
    let number = |at: usize| file.get(at..at + 8)?.try_into().ok().map(u64::from_be_bytes);
    let (Some(bits), Some(k), Some(again)) = (number(0), number(8), number(16)) else { return false };
    let words = file.get(HEADER_BYTES..).map_or(0, |words| words.len() as u64);
    bits > 0 && (1..=64).contains(&k) && again == bits && bits.div_ceil(64).checked_mul(8) == Some(words)
}

/// Whether a trace may be in the block whose shard's file this is. `None` when the file is damaged.
pub fn may_contain(file: &[u8], id: TraceId) -> Option<bool> {
    let number = |at: usize| file.get(at..at + 8)?.try_into().ok().map(u64::from_be_bytes);
    let (bits, k) = (number(0)?, number(8)?);
    let words = file.get(HEADER_BYTES..)?;
    if bits == 0 || bits.div_ceil(64).checked_mul(8)? > words.len() as u64 || k > 64 {
        return None;
    }
    let hashes = base_hashes(&id.to_bytes());
    Some((0..k).all(|index| {
        let bit = location(&hashes, index) % bits;
        // Words are big-endian: bit 0 is the lowest of the last byte of the first word.
        let (word, bit) = ((bit / 64) as usize * 8, bit % 64);
        words[word + 7 - (bit / 8) as usize] >> (bit % 8) & 1 == 1
    }))
}

fn location(hashes: &[u64; 4], index: u64) -> u64 {
    let base = hashes[(index % 2) as usize];
    let factor = hashes[(2 + ((index + index % 2) % 4) / 2) as usize];
    base.wrapping_add(index.wrapping_mul(factor))
}

/// The two halves of murmur3-x64-128 of the key, and of the key with a byte 1 behind it.
fn base_hashes(key: &[u8; 16]) -> [u64; 4] {
    let (mut h1, mut h2) = (0_u64, 0_u64);
    let word = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&key[at..at + 8]);
        u64::from_le_bytes(bytes)
    };
    h1 ^= mix1(word(0));
    h1 = h1.rotate_left(27).wrapping_add(h2).wrapping_mul(5).wrapping_add(0x52dc_e729);
    h2 ^= mix2(word(8));
    h2 = h2.rotate_left(31).wrapping_add(h1).wrapping_mul(5).wrapping_add(0x3849_5ab5);
    let (a, b) = finish(h1, h2, 16);
    let (c, d) = finish(h1 ^ mix1(1), h2, 17);
    [a, b, c, d]
}

const C1: u64 = 0x87c3_7b91_1142_53d5;
const C2: u64 = 0x4cf5_ad43_2745_937f;

fn mix1(word: u64) -> u64 {
    word.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2)
}

fn mix2(word: u64) -> u64 {
    word.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1)
}

fn finish(mut h1: u64, mut h2: u64, length: u64) -> (u64, u64) {
    let scramble = |mut word: u64| {
        word ^= word >> 33;
        word = word.wrapping_mul(0xff51_afd7_ed55_8ccd);
        word ^= word >> 33;
        word = word.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        word ^ word >> 33
    };
    h1 ^= length;
    h2 ^= length;
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    h1 = scramble(h1);
    h2 = scramble(h2);
    h1 = h1.wrapping_add(h2);
    (h1, h2.wrapping_add(h1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The filter that a real Tempo wrote, and the traces that it wrote it for.
    #[test]
    fn the_filter_equals_tempos_bit_for_bit() {
        let folder = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/golden/v4/single-tenant/728a1849-365c-4c4b-beef-cd37283c2b4d"
        );
        let recorded = std::fs::read(format!("{folder}/bloom-0")).unwrap();
        let ids = crate::read::tests::trace_ids(&format!("{folder}/data.parquet"));
        let mut ours = ShardedBloom::new(ids.len() as u64);
        for id in &ids {
            ours.add(*id);
            assert_eq!(may_contain(&recorded, *id), Some(true), "{id}");
        }
        assert!(ours.files() == [recorded.clone()]);
        let strangers = (0..1000).filter(|n| may_contain(&recorded, TraceId(*n << 64 | 77)) == Some(true));
        assert!(strangers.count() < 30);
        assert_eq!(may_contain(&recorded[..100], ids[0]), None);
    }
}
