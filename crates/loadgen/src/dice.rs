//! Seeded randomness. The generator is one of rand's portable ones: the same seed gives the same numbers everywhere,
//! and in every version of rand.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

/// A seeded source of choices.
#[derive(Clone, Debug)]
pub(crate) struct Dice(Xoshiro256PlusPlus);

impl Dice {
    /// The `stream`-th independent source of a seed.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        // An odd multiplier keeps streams of neighbouring seeds apart; seed_from_u64 spreads the bits.
        let mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29) ^ stream;
        Self(Xoshiro256PlusPlus::seed_from_u64(mixed))
    }

    /// Any 64 bits.
    pub(crate) fn any(&mut self) -> u64 {
        self.0.random()
    }

    /// A number below `end`; zero if there is none.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.0.random_range(0..end) }
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True in so many of a hundred cases.
    pub(crate) fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    /// One of several. The slice must not be empty.
    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// Sixteen random bytes: a trace id.
    pub(crate) fn trace_id(&mut self) -> [u8; 16] {
        (u128::from(self.any()) << 64 | u128::from(self.any() | 1)).to_be_bytes()
    }

    /// A span id, never zero.
    pub(crate) fn span_id(&mut self) -> u64 {
        self.any().max(1)
    }

    /// A duration around `typical` with a long tail, as services have them: rarely many times as long.
    pub(crate) fn duration(&mut self, typical: u64) -> u64 {
        let part = self.between(300, 1_000);
        let tail = if self.percent(2) { self.between(3, 12) } else { 1 };
        let fine = self.below(1_000);
        typical.saturating_mul(part + self.below(part)).saturating_mul(tail) / 1_000 + fine
    }
}
