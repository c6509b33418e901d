//! `compare()`: see below.

use serde::{Deserialize, Serialize};

/// Counts of values by attribute.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Comparison {}

impl Comparison {
    pub(crate) fn merge(&mut self, _: Self) {}

    pub(crate) fn is_cut(&self) -> bool {
        false
    }
}
