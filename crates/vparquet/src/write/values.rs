//! The values of a leaf, without the nulls, and how they are encoded.

use std::ops::Range;

use parquet::basic::Encoding;

use super::bounds::{self, Bounds};
use super::delta::put_delta;
use super::hybrid;
use super::texts::{TextId, Texts};

/// Most bytes of strings in a dictionary: a reader of one trace fetches and decodes all of it.
const DICTIONARY_BYTES_MAX: usize = 4 << 20;

/// Values of one leaf of one row group.
#[derive(Clone, Copy)]
pub(crate) enum Values<'a> {
    /// Strings by their places in a dictionary, and the bits an id takes.
    Ids(&'a [u32], u32),
    /// Strings by their numbers, and how many bytes they have together.
    Texts(&'a [TextId], &'a Texts<'a>, usize),
    /// Byte strings that are no texts.
    Raw(&'a RawBytes),
    I64(&'a [i64]),
    U64(&'a [u64]),
    I32(&'a [i32]),
    U32(&'a [u32]),
    /// Numbers that differences would not make smaller.
    Plain(&'a [i64]),
    Floats(&'a [f64]),
    Bools(&'a [u8]),
}

/// Byte strings, one behind the other.
pub(crate) struct RawBytes {
    offsets: Vec<u32>,
    bytes: Vec<u8>,
    /// Whether they ascend, and readers look for them by page.
    pub(crate) ascending: bool,
}

impl RawBytes {
    pub(crate) fn new(count: usize, each: usize) -> Self {
        let mut offsets = Vec::with_capacity(count + 1);
        offsets.push(0);
        Self { offsets, bytes: Vec::with_capacity(count * each), ascending: false }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        // A row group has fewer than 2^28 spans, or its spans alone would not fit into memory.
        self.offsets.push(self.bytes.len() as u32);
    }

    fn get(&self, at: usize) -> &[u8] {
        &self.bytes[self.offsets[at] as usize..self.offsets[at + 1] as usize]
    }
}

impl Values<'_> {
    pub(crate) fn encoding(&self) -> Encoding {
        match self {
            Self::Ids(..) => Encoding::RLE_DICTIONARY,
            Self::Texts(..) | Self::Raw(_) => Encoding::DELTA_LENGTH_BYTE_ARRAY,
            Self::I64(_) | Self::U64(_) | Self::I32(_) | Self::U32(_) => Encoding::DELTA_BINARY_PACKED,
            Self::Plain(_) | Self::Floats(_) | Self::Bools(_) => Encoding::PLAIN,
        }
    }

    /// About how many bytes of values there are for each of so many entries.
    pub(crate) fn guess(&self, entries: usize) -> f64 {
        let bytes = match self {
            Self::Ids(ids, bits) => ids.len() * *bits as usize / 8,
            Self::Texts(numbers, _, bytes) => bytes + numbers.len(),
            Self::Raw(raw) => raw.bytes.len() + raw.offsets.len() / 8,
            Self::I64(values) => values.len(),
            Self::U64(values) => values.len() * 5,
            Self::I32(values) => values.len(),
            Self::U32(values) => values.len(),
            Self::Plain(values) => values.len() * 8,
            Self::Floats(values) => values.len() * 8,
            Self::Bools(values) => values.len() / 8,
        };
        bytes as f64 / entries.max(1) as f64
    }

    /// Appends some of the values.
    pub(crate) fn put(&self, range: Range<usize>, out: &mut Vec<u8>) {
        match self {
            Self::Ids(ids, bits) => hybrid::put_ids(out, &ids[range], *bits),
            Self::Texts(numbers, texts, _) => {
                let strings = numbers[range].iter().map(|number| texts.get(*number));
                put_delta(out, &strings.clone().map(|text| text.len() as i32).collect::<Vec<_>>());
                strings.for_each(|text| out.extend_from_slice(text));
            }
            Self::Raw(raw) => {
                let offsets = &raw.offsets[range.start..range.end + 1];
                put_delta(
                    out,
                    &offsets.windows(2).map(|pair| (pair[1] - pair[0]) as i32).collect::<Vec<_>>(),
                );
                out.extend_from_slice(&raw.bytes[offsets[0] as usize..offsets[range.len()] as usize]);
            }
            Self::I64(values) => put_delta(out, &values[range]),
            Self::U64(values) => put_delta(out, &values[range]),
            Self::I32(values) => put_delta(out, &values[range]),
            Self::U32(values) => put_delta(out, &values[range]),
            Self::Plain(values) => {
                values[range].iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()))
            }
            Self::Floats(values) => {
                values[range].iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()))
            }
            Self::Bools(values) => out.extend(
                values[range]
                    .chunks(8)
                    .map(|bits| bits.iter().rev().fold(0, |byte, bit| byte << 1 | bit & 1)),
            ),
        }
    }

    /// Whether readers are told the bounds of pages: of numbers, and of ids that ascend. Texts have dictionaries.
    pub(crate) fn has_bounds(&self) -> bool {
        match self {
            Self::Ids(..) | Self::Texts(..) | Self::Bools(_) => false,
            Self::Raw(raw) => raw.ascending,
            _ => true,
        }
    }

    /// Whether the values ascend from page to page.
    pub(crate) fn ascending(&self) -> bool {
        matches!(self, Self::Raw(raw) if raw.ascending)
    }

    /// Least and greatest of some of the values; `None` when none of them has an order.
    pub(crate) fn bounds(&self, range: Range<usize>) -> Option<Bounds> {
        match self {
            Self::I64(values) | Self::Plain(values) => {
                bounds::of(&values[range]).map(|(a, b)| Bounds::I64(a, b))
            }
            Self::U64(values) => bounds::of(&values[range]).map(|(a, b)| Bounds::U64(a, b)),
            Self::I32(values) => bounds::of(&values[range]).map(|(a, b)| Bounds::I32(a, b)),
            Self::U32(values) => bounds::of(&values[range]).map(|(a, b)| Bounds::U32(a, b)),
            Self::Floats(values) => bounds::of_floats(&values[range]).map(|(a, b)| Bounds::F64(a, b)),
            Self::Raw(raw) if raw.ascending && !range.is_empty() => {
                Some(Bounds::Bytes(raw.get(range.start).to_vec(), raw.get(range.end - 1).to_vec()))
            }
            _ => None,
        }
    }

    /// How many of the values are floats that are no numbers.
    pub(crate) fn nans(&self, range: Range<usize>) -> usize {
        match self {
            Self::Floats(values) => values[range].iter().filter(|value| value.is_nan()).count(),
            _ => 0,
        }
    }
}

/// Turns the numbers of a leaf's strings into ids of a dictionary of its own, leaf after leaf.
#[derive(Default)]
pub(crate) struct Mapper {
    /// By number: the id plus one, or zero.
    id_of: Vec<u32>,
    entries: Vec<TextId>,
    counts: Vec<u32>,
    ids: Vec<u32>,
}

/// What became of a leaf's strings.
pub(crate) struct Mapped<'a> {
    /// Id of each value.
    pub(crate) ids: &'a [u32],
    /// The different ones.
    pub(crate) distinct: &'a [TextId],
    /// Bytes of all values, and of all entries with their lengths.
    pub(crate) plain_bytes: usize,
    dictionary_bytes: usize,
}

impl Mapper {
    /// Finds the distinct strings.
    pub(crate) fn map<'s>(&'s mut self, numbers: &[TextId], texts: &Texts<'_>) -> Mapped<'s> {
        let Self { id_of, entries, counts, ids } = self;
        entries.drain(..).for_each(|number| id_of[number as usize] = 0);
        id_of.resize(id_of.len().max(texts.len()), 0);
        counts.clear();
        ids.clear();
        ids.reserve(numbers.len());
        for number in numbers {
            let slot = &mut id_of[*number as usize];
            if *slot == 0 {
                entries.push(*number);
                counts.push(0);
                *slot = entries.len() as u32;
            }
            counts[*slot as usize - 1] += 1;
            ids.push(*slot - 1);
        }
        let (mut plain_bytes, mut dictionary_bytes) = (0, 0);
        for (number, count) in entries.iter().zip(counts.iter()) {
            let length = texts.get(*number).len();
            dictionary_bytes += length + 4;
            plain_bytes += length * *count as usize;
        }
        Mapped { ids, distinct: entries, plain_bytes, dictionary_bytes }
    }
}

impl<'a> Mapped<'a> {
    /// The dictionary, when it makes the leaf smaller, or not much larger: a reader looks through it for what it wants
    /// and passes over the row group when it is not there.
    pub(crate) fn dictionary<'t>(&self, texts: &'t Texts<'t>) -> Option<Dictionary<'t>>
    where
        'a: 't,
    {
        let id_bytes = self.ids.len() * hybrid::id_bits(self.distinct.len()) as usize / 8;
        let with = self.dictionary_bytes + id_bytes;
        let fits = self.dictionary_bytes <= DICTIONARY_BYTES_MAX || with * 4 < self.plain_bytes;
        let smaller = with <= self.plain_bytes + self.plain_bytes / 4 + 1024;
        (fits && smaller).then_some(Dictionary { entries: self.distinct, texts })
    }
}

/// The distinct strings of a leaf.
pub(crate) struct Dictionary<'a> {
    entries: &'a [TextId],
    texts: &'a Texts<'a>,
}

impl Dictionary<'_> {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The bits that an id takes.
    pub(crate) fn bits(&self) -> u32 {
        hybrid::id_bits(self.entries.len())
    }

    /// Appends the strings as a dictionary page has them.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        for number in self.entries {
            let text = self.texts.get(*number);
            out.extend_from_slice(&(text.len() as u32).to_le_bytes());
            out.extend_from_slice(text);
        }
    }
}
