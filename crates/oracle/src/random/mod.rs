//! Random traces and queries over one small vocabulary, so that queries find something and rules meet each other.
//!
//! They are `proptest` strategies: a failure shrinks to a short query and a small trace. The same seed gives the same
//! cases. Queries are texts that parse, pass the check and can be computed for any trace (no division by zero), and that
//! keep away from what the language leaves open: grouping by arrays, arithmetic that overflows.

mod queries;
mod traces;

pub use queries::{filter, metrics_query, search_query};
pub use traces::{START, traces};

use proptest::test_runner::{Config, RngSeed};

use crate::metrics::Time;

/// How to run so many cases, always the same ones for a seed.
#[must_use]
pub fn config(cases: u32, seed: u64) -> Config {
    // Cases can be made again from the seed, so that no file of failed ones is kept.
    Config { cases, rng_seed: RngSeed::Fixed(seed), failure_persistence: None, ..Config::default() }
}

/// A time range, in steps of five seconds, that holds all spans of all random traces.
#[must_use]
pub fn range() -> Time {
    let second = 1_000_000_000;
    Time::Range { start: START - 10 * second, end: START + 40 * second, step: 5 * second }
}

/// The same as one instant.
#[must_use]
pub fn instant() -> Time {
    let second = 1_000_000_000;
    Time::Instant { start: START - 10 * second, end: START + 40 * second }
}

/// The vocabulary that traces and queries share.
mod words {
    /// Keys of attributes whose values are scalars: mostly numbers, mostly texts, mostly booleans.
    pub(super) const KEYS: [&str; 3] = ["n", "t", "odd key"];
    /// A key whose value is an array.
    pub(super) const ARRAY_KEY: &str = "list";
    /// Texts: one that is empty, one that looks like a number, one that is the beginning of another.
    pub(super) const TEXTS: [&str; 5] = ["", "x", "xy", "1", "é"];
    /// Names of spans.
    pub(super) const NAMES: [&str; 4] = ["root", "get", "put", ""];
    /// Names of services, the empty one standing for none.
    pub(super) const SERVICES: [&str; 3] = ["", "shop", "cart"];
    /// Texts of statuses.
    pub(super) const MESSAGES: [&str; 2] = ["", "boom"];
    /// Names of events.
    pub(super) const EVENTS: [&str; 3] = ["exception", "log", ""];
    /// Names and versions of scopes.
    pub(super) const SCOPES: [&str; 3] = ["", "lib", "1.0"];
    /// Durations in nanoseconds: none, one that is in no bucket, powers of two and others.
    pub(super) const DURATIONS: [u64; 7] = [0, 1, 1024, 5_000_000, 67_108_864, 1_000_000_000, 3_000_000_000];
}
