//! Which cluster a name belonged to when it was seen last, so that most names are looked up once and not taken apart.
//!
//! What must stay true: both number and bytes of names are bounded. A cluster that it names may be gone by now.

use std::collections::HashMap;
use std::mem::size_of;

use super::Cluster;

/// Most names whose cluster is remembered, in each of two generations.
pub(super) const SEEN_NAMES: usize = 4096;

/// Most bytes that these names have, in each of two generations.
pub(super) const SEEN_BYTES: usize = 512 << 10;

/// The clusters of names that were seen lately. A generation that is full makes place for the next; a name that is asked
/// for again moves along.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) now: HashMap<Box<str>, u64>,
    pub(super) before: HashMap<Box<str>, u64>,
    /// Bytes of the names in `now`.
    bytes: usize,
    /// Bytes of the names in `before`, or more.
    bytes_before: usize,
}

impl Seen {
    pub(super) fn get(&mut self, name: &str) -> Option<u64> {
        if let Some(id) = self.now.get(name) {
            return Some(*id);
        }
        let (name, id) = self.before.remove_entry(name)?;
        self.put(name, id);
        Some(id)
    }

    pub(super) fn insert(&mut self, name: &str, id: u64) {
        self.put(name.into(), id);
    }

    fn put(&mut self, name: Box<str>, id: u64) {
        if self.now.len() >= SEEN_NAMES || self.bytes + name.len() > SEEN_BYTES {
            std::mem::swap(&mut self.now, &mut self.before);
            self.now.clear();
            self.bytes_before = std::mem::take(&mut self.bytes);
        }
        let length = name.len();
        if self.now.insert(name, id).is_none() {
            self.bytes += length;
        }
    }

    pub(super) fn retain(&mut self, clusters: &HashMap<u64, Cluster>) {
        for (names, bytes) in [(&mut self.now, &mut self.bytes), (&mut self.before, &mut self.bytes_before)] {
            names.retain(|_, id| clusters.contains_key(id));
            *bytes = names.keys().map(|name| name.len()).sum();
            if names.len() < names.capacity() / 4 {
                names.shrink_to_fit();
            }
        }
    }

    pub(super) fn memory(&self) -> usize {
        let slots = self.now.capacity() + self.before.capacity();
        slots * size_of::<(Box<str>, u64, u8)>() + self.bytes + self.bytes_before
    }
}
