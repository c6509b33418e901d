//! The texts of one request of 2.0, each once, as they go over the wire.

use std::hash::BuildHasher;

use hashbrown::hash_table::{Entry, HashTable};

use crate::wire;

/// `Request.symbols`.
const SYMBOLS: u32 = 4;

/// Where a text lies in what is written, and by which number series name it.
#[derive(Clone, Copy)]
struct Symbol {
    hash: u64,
    start: usize,
    end: usize,
    number: u32,
}

/// Texts and their numbers; the empty text is always the first.
#[derive(Clone, Default)]
pub(crate) struct Symbols {
    wire: Vec<u8>,
    table: HashTable<Symbol>,
    hasher: hashbrown::DefaultHashBuilder,
    next: u32,
}

impl Symbols {
    /// Forgets all of them but for the empty one, and keeps no more than so many bytes for the next.
    pub(crate) fn clear(&mut self, kept_bytes: usize) {
        self.wire.clear();
        self.wire.shrink_to(kept_bytes);
        self.table.clear();
        self.table.shrink_to(kept_bytes / size_of::<Symbol>(), |symbol| symbol.hash);
        self.next = 0;
        self.number("");
    }

    /// The number of a text. There are fewer than 2^32 of them: each takes two bytes of a request at the least.
    pub(crate) fn number(&mut self, text: &str) -> u32 {
        let hash = self.hasher.hash_one(text);
        let Self { wire, table, next, .. } = self;
        let is_same = |symbol: &Symbol| {
            symbol.hash == hash && wire.get(symbol.start..symbol.end) == Some(text.as_bytes())
        };
        match table.entry(hash, is_same, |symbol| symbol.hash) {
            Entry::Occupied(found) => found.get().number,
            Entry::Vacant(place) => {
                wire::text(wire, SYMBOLS, text);
                let (number, end) = (*next, wire.len());
                *next += 1;
                place.insert(Symbol { hash, start: end - text.len(), end, number });
                number
            }
        }
    }

    /// What was written of them.
    pub(crate) fn wire(&mut self) -> &mut Vec<u8> {
        &mut self.wire
    }

    pub(crate) fn bytes(&self) -> usize {
        self.wire.len()
    }
}
