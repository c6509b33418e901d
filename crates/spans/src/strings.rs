//! The string dictionary of a batch.
//!
//! Every string of a batch (names, keys, values, messages) is a [`StrId`] into one dictionary, so a predicate on a
//! string runs once per entry. Id 0 is always the empty string. Short strings are unique; long ones may repeat, so equal
//! ids mean equal strings but not the other way round. Strings are bytes: what came in is what goes out, UTF-8 or not.

use arrow_buffer::{Buffer, ScalarBuffer};
use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

/// A place in the dictionary of one batch. Means nothing in another.
pub type StrId = u32;

/// Strings longer than this are stored without looking whether they are there already: they rarely are, and hashing
/// them costs more than it saves.
const LONGEST_INTERNED: usize = 512;

/// A finished dictionary.
#[derive(Clone, Debug)]
pub struct Strings {
    /// Where each string starts; one more entry than there are strings.
    offsets: ScalarBuffer<u32>,
    bytes: Buffer,
}

impl Default for Strings {
    fn default() -> Self {
        Interner::new().finish()
    }
}

impl Strings {
    /// From its two buffers, as read from Arrow IPC.
    ///
    /// Returns `None` when they do not fit together: offsets must start at 0, never fall, and end inside `bytes`.
    pub fn from_parts(offsets: ScalarBuffer<u32>, bytes: Buffer) -> Option<Self> {
        let ordered = offsets.windows(2).all(|pair| pair[0] <= pair[1]);
        let ends = offsets.last().is_some_and(|last| *last as usize <= bytes.len());
        (offsets.len() >= 2 && offsets[0] == 0 && offsets[1] == 0 && ordered && ends)
            .then_some(Self { offsets, bytes })
    }

    /// The two buffers.
    pub fn parts(&self) -> (&ScalarBuffer<u32>, &Buffer) {
        (&self.offsets, &self.bytes)
    }

    /// The string with this id.
    #[inline]
    pub fn get(&self, id: StrId) -> &[u8] {
        let id = id as usize;
        &self.bytes[self.offsets[id] as usize..self.offsets[id + 1] as usize]
    }

    /// The string with this id as text; what is not UTF-8 is replaced.
    pub fn text(&self, id: StrId) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(self.get(id))
    }

    /// How many strings there are, the empty one included.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Never: the empty string is always there.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// All strings in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.offsets.windows(2).map(|pair| &self.bytes[pair[0] as usize..pair[1] as usize])
    }

    /// For each string whether `matches` holds: the one pass that a predicate needs.
    pub fn mask(&self, matches: impl FnMut(&[u8]) -> bool) -> Vec<bool> {
        self.iter().map(matches).collect()
    }

    /// Bytes held.
    pub fn size_bytes(&self) -> usize {
        self.offsets.len() * 4 + self.bytes.len()
    }
}

/// A dictionary under construction.
#[derive(Clone, Debug)]
pub struct Interner {
    offsets: Vec<u32>,
    bytes: Vec<u8>,
    /// Ids by hash of their string; the hash is kept so that growing does not hash again.
    table: HashTable<(u64, StrId)>,
}

impl Default for Interner {
    fn default() -> Self {
        Self::new()
    }
}

impl From<&Strings> for Interner {
    /// One that goes on behind these, without knowing them: equal strings get entries of their own.
    fn from(strings: &Strings) -> Self {
        Self { offsets: strings.offsets.to_vec(), bytes: strings.bytes.to_vec(), table: HashTable::new() }
    }
}

impl Interner {
    /// A dictionary that holds only the empty string.
    pub fn new() -> Self {
        Self { offsets: vec![0, 0], bytes: Vec::new(), table: HashTable::new() }
    }

    /// The string with this id.
    #[inline]
    pub fn get(&self, id: StrId) -> &[u8] {
        let id = id as usize;
        &self.bytes[self.offsets[id] as usize..self.offsets[id + 1] as usize]
    }

    /// The id of `string`, which is added when it is new.
    ///
    /// A dictionary holds less than 4 GiB: builders are cut long before ([`crate::BatchBuilder::is_full`]).
    #[inline]
    pub fn intern(&mut self, string: &[u8]) -> StrId {
        if string.is_empty() {
            return 0;
        }
        if string.len() > LONGEST_INTERNED {
            return self.push(string);
        }
        let hash = xxh3_64(string);
        let Self { offsets, bytes, table } = self;
        let found = table.find(hash, |(_, id)| {
            let id = *id as usize;
            &bytes[offsets[id] as usize..offsets[id + 1] as usize] == string
        });
        if let Some((_, id)) = found {
            return *id;
        }
        let id = self.push(string);
        self.table.insert_unique(hash, (hash, id), |(hash, _)| *hash);
        id
    }

    /// The id of a string that is known to come from a dictionary, or to be worth no search for others like it: it gets an
    /// entry of its own, unless it is empty.
    #[inline]
    pub fn add(&mut self, string: &[u8]) -> StrId {
        if string.is_empty() { 0 } else { self.push(string) }
    }

    fn push(&mut self, string: &[u8]) -> StrId {
        let id = self.offsets.len() - 1;
        self.bytes.extend_from_slice(string);
        // Proof that the casts hold: `BatchBuilder::is_full` ends a batch at 1 GiB of strings, and one request is at
        // most 1 GiB, so neither count can reach 2^32.
        self.offsets.push(self.bytes.len() as u32);
        id as StrId
    }

    /// How many strings there are, the empty one included.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Never: the empty string is always there.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Bytes held.
    pub fn size_bytes(&self) -> usize {
        self.bytes.len() + self.offsets.len() * 4 + self.table.capacity() * 16
    }

    /// The finished dictionary.
    pub fn finish(mut self) -> Strings {
        self.offsets.shrink_to_fit();
        self.bytes.shrink_to_fit();
        Strings { offsets: ScalarBuffer::from(self.offsets), bytes: Buffer::from_vec(self.bytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_strings_share_an_id_and_bytes_come_back_as_they_went_in() {
        let mut interner = Interner::new();
        let a = interner.intern(b"checkout");
        let korean = interner.intern(&"한국어".as_bytes()[..4]);
        assert_eq!(interner.intern(b"checkout"), a);
        assert_eq!(interner.intern(b""), 0);
        let long = vec![b'x'; LONGEST_INTERNED + 1];
        let first = interner.intern(&long);
        let second = interner.intern(&long);
        assert_ne!(first, second);
        let strings = interner.finish();
        assert_eq!(strings.get(a), b"checkout");
        assert_eq!(strings.get(korean), &"한국어".as_bytes()[..4]);
        assert_eq!(strings.get(second), &long[..]);
        assert_eq!(strings.get(0), b"");
        assert_eq!(strings.mask(|s| s == b"checkout").iter().filter(|m| **m).count(), 1);
    }

    #[test]
    fn buffers_that_do_not_fit_together_are_refused() {
        let ok = |offsets: &[u32], bytes: &[u8]| {
            Strings::from_parts(ScalarBuffer::from(offsets.to_vec()), Buffer::from_slice_ref(bytes)).is_some()
        };
        assert!(ok(&[0, 0, 2], b"ab"));
        assert!(!ok(&[0, 0, 3], b"ab"));
        assert!(!ok(&[0, 0, 2, 1], b"ab"));
        assert!(!ok(&[0], b""));
    }
}
