//! One numbering of all strings of all chunks, so that everything behind it compares and maps numbers.
//!
//! What must stay true: equal numbers mean equal strings, and equal strings of chunks have equal numbers, whichever
//! chunk they come from. Numbers are dense, in the order of first appearance, so tables over them are plain vectors.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};
use trackway_spans::{Interner, SpanBatch, StrId, Strings};

use crate::inline::LONG_TEXT_BYTES;
use crate::json;

/// Number of a string across all chunks.
pub(crate) type TextId = u32;

/// Chunk number of the strings that are known beforehand.
const KNOWN: u32 = u32::MAX;

/// The strings of all chunks, and those that were made while writing.
pub(crate) struct Texts<'a> {
    chunks: Vec<&'a Strings>,
    known: Vec<&'a [u8]>,
    /// Where the strings of each chunk begin in `numbers`.
    bases: Vec<usize>,
    numbers: Vec<TextId>,
    /// Chunk and id of the first appearance.
    places: Vec<(u32, StrId)>,
    /// Strings that stand in no chunk: elements of arrays, and JSON.
    made: Interner,
    /// `made` as it was when the last row group was done.
    kept: Interner,
    /// Whether any string of a chunk is a long text: see [`crate::inline`].
    has_long: bool,
}

impl<'a> Texts<'a> {
    /// Numbers the strings of the chunks. The empty string gets 0, and those of `known` that are in no other place the
    /// numbers behind it.
    pub(crate) fn new(chunks: &[&'a SpanBatch], known: &[&'a [u8]]) -> Self {
        let chunks: Vec<&Strings> = chunks.iter().map(|chunk| &chunk.strings).collect();
        let total = chunks.iter().map(|strings| strings.len()).sum();
        let mut known_places = vec![&b""[..]];
        known_places.extend(known.iter().copied().filter(|text| !text.is_empty()));
        let mut texts = Self {
            bases: Vec::with_capacity(chunks.len()),
            numbers: Vec::with_capacity(total),
            places: (0..known_places.len() as u32).map(|id| (KNOWN, id)).collect(),
            known: known_places,
            chunks,
            made: Interner::new(),
            kept: Interner::new(),
            has_long: false,
        };
        texts.number();
        texts
    }

    fn number(&mut self) {
        let hasher = DefaultHashBuilder::default();
        let mut table: HashTable<(u32, TextId)> = HashTable::new();
        let half = |text: &[u8]| hasher.hash_one(text);
        // Growing must not hash the strings again; half of the hash is enough to place an entry, and to pass over most
        // of those that only share a bucket.
        let spread = |half: u32| u64::from(half).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for (id, text) in self.known.iter().enumerate() {
            let hash = half(text) as u32;
            table.insert_unique(spread(hash), (hash, id as u32), |(hash, _)| spread(*hash));
        }
        let Self { chunks, known, bases, numbers, places, has_long, .. } = self;
        for (chunk, strings) in chunks.iter().enumerate() {
            bases.push(numbers.len());
            for (id, text) in strings.iter().enumerate() {
                *has_long |= text.len() > LONG_TEXT_BYTES;
                let hash = half(text) as u32;
                let found = table.find(spread(hash), |(other, number)| {
                    *other == hash && place(known, chunks, places[*number as usize]) == text
                });
                let number = match found {
                    Some((_, number)) => *number,
                    None => {
                        let number = places.len() as u32;
                        places.push((chunk as u32, id as u32));
                        table.insert_unique(spread(hash), (hash, number), |(hash, _)| spread(*hash));
                        number
                    }
                };
                numbers.push(number);
            }
        }
    }

    /// The number of a string of a chunk.
    #[inline]
    pub(crate) fn number_of(&self, chunk: usize, id: StrId) -> TextId {
        self.numbers[self.bases[chunk] + id as usize]
    }

    /// A string of a chunk.
    pub(crate) fn message(&self, chunk: usize, id: StrId) -> &'a [u8] {
        self.chunks[chunk].get(id)
    }

    /// The string with this number.
    #[inline]
    pub(crate) fn get(&self, number: TextId) -> &[u8] {
        match self.places.get(number as usize) {
            Some(at) => place(&self.known, &self.chunks, *at),
            None => self.made.get(number - self.places.len() as u32),
        }
    }

    /// The number of a string that stands in no chunk. It may differ from that of an equal one in a chunk.
    pub(crate) fn make(&mut self, text: &[u8]) -> TextId {
        if text.is_empty() { 0 } else { self.places.len() as u32 + self.made.intern(text) }
    }

    /// What a long text is stored as, the JSON of its `AnyValue`; `None` for one that is not long. JSON cannot say what is
    /// not UTF-8.
    #[inline]
    pub(crate) fn long(&mut self, number: TextId) -> Option<TextId> {
        if !self.has_long || self.get(number).len() <= LONG_TEXT_BYTES {
            return None;
        }
        let json = json::text_to_json(self.get(number))?;
        Some(self.make(json.as_bytes()))
    }

    /// Whether there may be long texts.
    pub(crate) fn has_long(&self) -> bool {
        self.has_long
    }

    /// Numbers are below this.
    pub(crate) fn len(&self) -> usize {
        self.places.len() + self.made.len()
    }

    /// Keeps what has been made so far for all row groups.
    pub(crate) fn keep(&mut self) {
        self.kept = self.made.clone();
    }

    /// Forgets what has been made for one row group.
    pub(crate) fn forget(&mut self) {
        self.made = self.kept.clone();
    }
}

fn place<'a>(known: &[&'a [u8]], chunks: &[&'a Strings], (chunk, id): (u32, StrId)) -> &'a [u8] {
    if chunk == KNOWN { known[id as usize] } else { chunks[chunk as usize].get(id) }
}
