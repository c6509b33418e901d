//! How many different things were asked for lately: an estimate out of their hashes, in two kilobytes whatever the number.
//!
//! What must stay true: a hash that comes again changes nothing, and what was last seen two generations ago is forgotten.
//! HyperLogLog after Flajolet, Fusy, Gandouet and Meunier (2007), with their correction for small numbers by counting the
//! registers that are still empty. The standard error is 1.04 / √1024, which is 3.3 %.

/// Bits of a hash that choose its register.
const INDEX_BITS: u32 = 10;

/// Registers of a generation; each is a byte.
const REGISTERS: usize = 1 << INDEX_BITS;

/// What corrects the harmonic mean of so many registers (the paper's α).
const ALPHA: f64 = 0.7213 / (1.0 + 1.079 / 1024.0);

/// The most leading zeros, and one, that were seen of the hashes of each register.
type Registers = Box<[u8; REGISTERS]>;

/// An estimate of the number of different hashes in this generation and the one before it.
#[derive(Debug)]
pub(crate) struct Demand {
    now: Registers,
    before: Registers,
}

impl Demand {
    /// Nothing was seen.
    pub(crate) fn new() -> Self {
        Self { now: Box::new([0; REGISTERS]), before: Box::new([0; REGISTERS]) }
    }

    /// Counts a hash, which has to be mixed well in all its 64 bits.
    pub(crate) fn insert(&mut self, hash: u64) {
        let index = (hash >> (u64::BITS - INDEX_BITS)) as usize; // 10 bits
        // The bit that is put below the rest bounds the zeros by 54: with one more they fit a byte.
        let rank = ((hash << INDEX_BITS) | (1 << (INDEX_BITS - 1))).leading_zeros() as u8 + 1;
        if let Some(register) = self.now.get_mut(index) {
            *register = rank.max(*register);
        }
    }

    /// Begins a generation: the one before the last is forgotten.
    pub(crate) fn advance(&mut self) {
        std::mem::swap(&mut self.now, &mut self.before);
        self.now.fill(0);
    }

    /// How many different hashes were seen in this generation and the one before it.
    pub(crate) fn estimate(&self) -> u64 {
        let mut sum = 0.0;
        let mut empty = 0_u32;
        for (now, before) in self.now.iter().zip(self.before.iter()) {
            let rank = *now.max(before);
            sum += (-f64::from(rank)).exp2();
            empty += u32::from(rank == 0);
        }
        let registers = REGISTERS as f64; // 1024
        let raw = ALPHA * registers * registers / sum;
        let estimate = if raw <= 2.5 * registers && empty > 0 {
            registers * (registers / f64::from(empty)).ln()
        } else {
            raw
        };
        estimate.round() as u64 // positive, and at most 0.73 · 1024 · 2^55: all registers at their greatest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The `number`-th hash of a series (SplitMix64).
    fn hash(seed: u64, number: u64) -> u64 {
        let mut z = seed.wrapping_add(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn assert_near(estimate: u64, number: u64, most: f64, what: &str) {
        let error = (estimate as f64 - number as f64).abs() / number as f64;
        assert!(error <= most, "{what}: {estimate} for {number}, {:.1} % off", error * 100.0);
    }

    #[test]
    fn estimates_are_near_at_every_size() {
        for seed in [1, 0x5eed, 77_777_777] {
            let mut demand = Demand::new();
            let mut seen = 0;
            for size in
                [10, 100, 500, 1000, 2000, 2500, 3000, 4000, 10_000, 30_000, 100_000, 300_000, 1_000_000]
            {
                (seen..size).for_each(|number| demand.insert(hash(seed, number)));
                seen = size;
                assert_near(demand.estimate(), size, 0.08, &format!("seed {seed}"));
            }
        }
    }

    #[test]
    fn over_many_series_the_error_is_what_the_paper_says_and_leans_to_no_side() {
        for size in [200_u64, 2600, 20_000] {
            let errors: Vec<f64> = (0..200)
                .map(|seed| {
                    let mut demand = Demand::new();
                    (0..size).for_each(|number| demand.insert(hash(seed * 0x1234_5678_9abc, number)));
                    demand.estimate() as f64 / size as f64 - 1.0
                })
                .collect();
            let mean = errors.iter().sum::<f64>() / 200.0;
            let deviation = (errors.iter().map(|error| error * error).sum::<f64>() / 200.0).sqrt();
            assert!(mean.abs() < 0.02, "{size}: mean error {mean}");
            assert!(deviation < 0.045, "{size}: standard error {deviation}");
        }
    }

    #[test]
    fn a_hash_counts_once() {
        let mut demand = Demand::new();
        assert_eq!(demand.estimate(), 0);
        for _ in 0..1000 {
            demand.insert(hash(3, 7));
        }
        assert_eq!(demand.estimate(), 1);
        demand.advance();
        demand.insert(hash(3, 7));
        assert_eq!(demand.estimate(), 1, "in both generations");
    }

    #[test]
    fn advancing_forgets_the_generation_before_the_last() {
        let mut demand = Demand::new();
        (0..5000).for_each(|number| demand.insert(hash(9, number)));
        demand.advance();
        assert_near(demand.estimate(), 5000, 0.08, "after one");
        (5000..10_000).for_each(|number| demand.insert(hash(9, number)));
        assert_near(demand.estimate(), 10_000, 0.08, "both");
        demand.advance();
        assert_near(demand.estimate(), 5000, 0.08, "the second only");
        demand.advance();
        assert_eq!(demand.estimate(), 0);
    }

    #[test]
    fn hashes_at_the_ends_have_their_registers() {
        for (given, index, rank) in [
            (0, 0, 55),
            (1, 0, 54),
            (u64::MAX, 1023, 1),
            (u64::MAX << 54, 1023, 55),
            (1 << 54, 1, 55),
            (1 << 53, 0, 1),
        ] {
            let mut demand = Demand::new();
            demand.insert(given);
            assert_eq!(demand.now[index], rank, "{given:#x}");
            assert_eq!(demand.now.iter().filter(|register| **register > 0).count(), 1, "{given:#x}");
        }
        let mut full = Demand::new();
        (0..1024_u64).for_each(|index| full.insert(index << 54));
        assert!(full.estimate() > 1 << 60);
    }
}
