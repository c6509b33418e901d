//! One leaf column of one row group: its pages decoded into levels and values, or only those of chosen rows.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parquet::basic::{Compression, Encoding, Type as Physical};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::page_index::offset_index::PageLocation;

use crate::decode::{self, ByteValues};
use crate::read::Fetched;
use crate::unpage::{Header, Kind};

/// A column that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LeafError {
    /// The bytes end too early.
    #[error("a page ends too early")]
    Truncated,
    /// Over 4 GiB of strings in one column chunk.
    #[error("a column chunk holds more than 4 GiB")]
    TooLarge,
    /// Bytes that contradict each other.
    #[error("damaged page: {0}")]
    Damaged(&'static str),
    /// An encoding that no Tempo writes.
    #[error("encoding {0} of a {1} column is not supported")]
    Encoding(Encoding, Physical),
    /// A codec that no Tempo writes.
    #[error("codec {0} is not supported")]
    Codec(Compression),
    /// Bytes that nobody asked for before they were needed.
    #[error("bytes {0} to {1} of the file were not fetched")]
    NotFetched(u64, u64),
}

/// Decoded values, without the nulls.
#[derive(Debug)]
pub(crate) enum Values {
    /// Byte strings, by id in a dictionary. Columns without one have an entry for each value.
    Bytes { ids: Vec<u32>, dictionary: Arc<ByteValues> },
    /// Integers of either width.
    Ints(Vec<i64>),
    /// Floating-point numbers.
    Floats(Vec<f64>),
    /// Booleans, 0 or 1.
    Bools(Vec<u8>),
}

impl Values {
    /// Whether there are only nulls.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Bytes { ids, .. } => ids.is_empty(),
            Self::Ints(values) => values.is_empty(),
            Self::Floats(values) => values.is_empty(),
            Self::Bools(values) => values.is_empty(),
        }
    }
}

/// A decoded leaf. `rep` and `def` are empty where they were not asked for.
#[derive(Debug)]
pub(crate) struct Leaf {
    pub(crate) rep: Vec<u8>,
    pub(crate) def: Vec<u8>,
    pub(crate) values: Values,
}

impl Leaf {
    pub(crate) fn ints(&self) -> &[i64] {
        if let Values::Ints(values) = &self.values { values } else { &[] }
    }

    pub(crate) fn floats(&self) -> &[f64] {
        if let Values::Floats(values) = &self.values { values } else { &[] }
    }

    pub(crate) fn bools(&self) -> &[u8] {
        if let Values::Bools(values) = &self.values { values } else { &[] }
    }

    /// Ids and dictionary of a column of byte strings.
    pub(crate) fn bytes(&self) -> Option<(&[u32], &ByteValues)> {
        if let Values::Bytes { ids, dictionary } = &self.values { Some((ids, dictionary)) } else { None }
    }
}

/// What is to be decoded.
pub(crate) struct Wanted<'a> {
    pub(crate) chunk: &'a ColumnChunkMetaData,
    pub(crate) pages: Option<&'a [PageLocation]>,
    /// Rows of the row group.
    pub(crate) total_rows: usize,
    /// Only these rows, ascending; `None` for all.
    pub(crate) rows: Option<&'a [u32]>,
    pub(crate) rep: bool,
    pub(crate) def: bool,
}

/// The dictionary of a leaf of byte strings, once it has been decoded.
pub(crate) type DictionaryCell = OnceLock<Arc<ByteValues>>;

/// The pages that hold any of `rows`: one flag a page.
pub(crate) fn pages_of(pages: &[PageLocation], total_rows: usize, rows: &[u32]) -> Vec<bool> {
    (0..pages.len())
        .map(|page| {
            let first = pages[page].first_row_index;
            let end = pages.get(page + 1).map_or(total_rows as i64, |next| next.first_row_index);
            let at = rows.partition_point(|row| i64::from(*row) < first);
            rows.get(at).is_some_and(|row| i64::from(*row) < end)
        })
        .collect()
}

/// Decodes a leaf from the bytes that were fetched for it. A dictionary of byte strings is taken from `known`, or left
/// there.
pub(crate) fn decode(
    wanted: &Wanted<'_>,
    fetched: &Arc<Fetched>,
    known: Option<&DictionaryCell>,
) -> Result<Leaf, LeafError> {
    let descriptor = wanted.chunk.column_descr();
    let physical = descriptor.physical_type();
    let mut state = Decoding {
        max_rep: descriptor.max_rep_level(),
        max_def: descriptor.max_def_level(),
        physical,
        keep_rep: wanted.rep || wanted.rows.is_some(),
        keep_def: wanted.def || wanted.rows.is_some(),
        leaf: Leaf {
            rep: Vec::new(),
            def: Vec::new(),
            values: match physical {
                Physical::BYTE_ARRAY | Physical::FIXED_LEN_BYTE_ARRAY => {
                    Values::Bytes { ids: Vec::new(), dictionary: Arc::default() }
                }
                Physical::DOUBLE | Physical::FLOAT => Values::Floats(Vec::new()),
                Physical::BOOLEAN => Values::Bools(Vec::new()),
                _ => Values::Ints(Vec::new()),
            },
        },
        dictionary_ints: Vec::new(),
        dictionary_floats: Vec::new(),
        dictionary_bytes: 0,
        known,
    };
    match wanted.rows {
        None => state.reserve(wanted.chunk.num_values()),
        // A piece: its share, and the pages that begin before it and end behind it.
        Some(rows) if are_neighbours(rows) => {
            let share = rows.len() as f64 / wanted.total_rows.max(1) as f64;
            state.reserve((wanted.chunk.num_values() as f64 * share * 1.1) as i64 + 10_000);
        }
        Some(_) => {}
    }
    let mut kept_rows = Vec::new();
    let has_dictionary = state.take_known();
    each_page(wanted, fetched, has_dictionary, |header, body, first_row| {
        if let (true, Some(row)) = (header.kind != Kind::Dictionary, first_row) {
            kept_rows.push((state.leaf.rep.len(), row));
        }
        state.page(header, body)
    })?;
    match wanted.rows {
        Some(rows) => Ok(trim(state, rows, &kept_rows)),
        None => Ok(state.leaf),
    }
}

/// Calls `each` with every page that is wanted, the dictionary first unless it is there already, and the row that it
/// begins with: without an index of pages only that of the first is known.
fn each_page(
    wanted: &Wanted<'_>,
    fetched: &Fetched,
    has_dictionary: bool,
    mut each: impl FnMut(&Header, &[u8], Option<i64>) -> Result<(), LeafError>,
) -> Result<(), LeafError> {
    let codec = wanted.chunk.compression();
    let mut all = |bytes: &Bytes, mut first_row: Option<i64>| {
        let mut rest = &bytes[..];
        let mut left = wanted.chunk.num_values();
        while !rest.is_empty() && left > 0 {
            let Some(header) = Header::read(&mut rest)? else { continue };
            if has_dictionary && header.kind == Kind::Dictionary {
                header.skip(&mut rest)?;
                continue;
            }
            header.body(&mut rest, codec, |body| each(&header, body, first_row))?;
            if header.kind != Kind::Dictionary {
                left -= i64::try_from(header.entries).unwrap_or(i64::MAX);
                first_row = None;
            }
        }
        Ok(())
    };
    let (start, length) = wanted.chunk.byte_range();
    let Some(pages) = wanted.pages.filter(|pages| !pages.is_empty()) else {
        return all(&fetched.get(start, length)?, Some(0));
    };
    let first = pages.first().map_or(start, |page| page.offset as u64);
    if first > start && !has_dictionary {
        all(&fetched.get(start, first - start)?, None)?;
    }
    let keep = wanted.rows.map(|rows| pages_of(pages, wanted.total_rows, rows));
    for (at, page) in pages.iter().enumerate() {
        if keep.as_ref().is_none_or(|keep| keep[at]) {
            let bytes = fetched.get(page.offset as u64, page.compressed_page_size as u64)?;
            all(&bytes, Some(page.first_row_index))?;
        }
    }
    Ok(())
}

struct Decoding<'k> {
    max_rep: i16,
    max_def: i16,
    physical: Physical,
    keep_rep: bool,
    keep_def: bool,
    leaf: Leaf,
    dictionary_ints: Vec<i64>,
    dictionary_floats: Vec<f64>,
    /// Entries that came from the dictionary page; those behind came from pages without.
    dictionary_bytes: usize,
    known: Option<&'k DictionaryCell>,
}

/// Entries that are made room for at once: the footer's word is not trusted with more.
const RESERVED_ENTRIES_MAX: usize = 4 << 20;

impl Decoding<'_> {
    /// Makes room for all entries of a chunk, so that growing does not copy them again and again.
    fn reserve(&mut self, entries: i64) {
        let entries = usize::try_from(entries).unwrap_or(0).min(RESERVED_ENTRIES_MAX);
        if self.keep_rep {
            self.leaf.rep.reserve(entries);
        }
        if self.max_def > 0 {
            self.leaf.def.reserve(entries);
        }
        // Of nested leaves most entries may be empty: their values grow as they come.
        if self.max_rep <= 3 {
            match &mut self.leaf.values {
                Values::Bytes { ids, .. } => ids.reserve(entries),
                Values::Ints(values) => values.reserve(entries),
                Values::Floats(values) => values.reserve(entries),
                Values::Bools(values) => values.reserve(entries),
            }
        }
    }

    /// Takes a dictionary that has been decoded already, if there is one.
    fn take_known(&mut self) -> bool {
        let known = self.known.and_then(OnceLock::get);
        if let (Values::Bytes { dictionary, .. }, Some(known)) = (&mut self.leaf.values, known) {
            *dictionary = Arc::clone(known);
            self.dictionary_bytes = known.len();
            return true;
        }
        false
    }

    fn dictionary(&mut self, bytes: &[u8], count: usize) -> Result<(), LeafError> {
        match &mut self.leaf.values {
            Values::Bytes { dictionary, .. } => {
                decode::plain_bytes(bytes, count, Arc::make_mut(dictionary))?;
                self.dictionary_bytes = dictionary.len();
                if let Some(known) = self.known {
                    // Another piece may have been faster, with the same.
                    let _ = known.set(Arc::clone(dictionary));
                }
            }
            Values::Ints(_) => plain_ints(self.physical, bytes, count, &mut self.dictionary_ints)?,
            Values::Floats(_) => {
                decode::plain::<8, _>(bytes, count, &mut self.dictionary_floats, f64::from_le_bytes)?;
            }
            Values::Bools(_) => return Err(LeafError::Encoding(Encoding::RLE_DICTIONARY, self.physical)),
        }
        Ok(())
    }

    fn page(&mut self, header: &Header, body: &[u8]) -> Result<(), LeafError> {
        let count = header.entries;
        let mut rest = body;
        let (rep, def) = match header.kind {
            Kind::Dictionary => return self.dictionary(body, count),
            Kind::Data => (prefixed(&mut rest, self.max_rep)?, prefixed(&mut rest, self.max_def)?),
            Kind::DataV2 { rep, def, .. } => (first(&mut rest, rep)?, first(&mut rest, def)?),
        };
        let mut present = self.levels(rep, def, count)?;
        if let Kind::DataV2 { nulls, .. } = header.kind {
            present = count.saturating_sub(nulls);
        }
        self.values(rest, header.encoding, present)
    }

    /// Keeps the levels that are wanted and returns how many values the page holds.
    fn levels(&mut self, rep: &[u8], def: &[u8], count: usize) -> Result<usize, LeafError> {
        if self.keep_rep {
            if self.max_rep > 0 {
                decode::levels(rep, self.max_rep, count, &mut self.leaf.rep)?;
            } else {
                self.leaf.rep.resize(self.leaf.rep.len() + count, 0);
            }
        }
        if self.max_def == 0 {
            if self.keep_def {
                self.leaf.def.resize(self.leaf.def.len() + count, 0);
            }
            return Ok(count);
        }
        let before = self.leaf.def.len();
        decode::levels(def, self.max_def, count, &mut self.leaf.def)?;
        let max = self.max_def as u8;
        let present = count_of(&self.leaf.def[before..], max);
        if !self.keep_def {
            self.leaf.def.truncate(before);
        }
        Ok(present)
    }

    fn values(&mut self, bytes: &[u8], encoding: Encoding, count: usize) -> Result<(), LeafError> {
        let unsupported = || LeafError::Encoding(encoding, self.physical);
        let from_dictionary = encoding == Encoding::RLE_DICTIONARY;
        match &mut self.leaf.values {
            Values::Bytes { ids, .. } if from_dictionary => {
                decode::dictionary_ids(bytes, count, self.dictionary_bytes, ids)?;
            }
            Values::Bytes { ids, dictionary } => {
                let first = dictionary.len() as u32;
                let dictionary = Arc::make_mut(dictionary);
                match encoding {
                    Encoding::PLAIN => decode::plain_bytes(bytes, count, dictionary)?,
                    Encoding::DELTA_LENGTH_BYTE_ARRAY if count > 0 => {
                        decode::delta_length_bytes(bytes, count, dictionary)?;
                    }
                    Encoding::DELTA_BYTE_ARRAY if count > 0 => decode::delta_bytes(bytes, count, dictionary)?,
                    Encoding::DELTA_LENGTH_BYTE_ARRAY | Encoding::DELTA_BYTE_ARRAY => {}
                    _ => return Err(unsupported()),
                }
                ids.extend(first..dictionary.len() as u32);
            }
            Values::Ints(out) if from_dictionary => {
                let mut ids = Vec::new();
                decode::dictionary_ids(bytes, count, self.dictionary_ints.len(), &mut ids)?;
                out.extend(ids.into_iter().map(|id| self.dictionary_ints[id as usize]));
            }
            Values::Ints(out) => match encoding {
                Encoding::PLAIN => plain_ints(self.physical, bytes, count, out)?,
                Encoding::DELTA_BINARY_PACKED if count > 0 => {
                    out.reserve(count);
                    let (found, _) = decode::delta(bytes, count, out)?;
                    if found != count {
                        return Err(LeafError::Damaged("fewer numbers than values"));
                    }
                }
                Encoding::DELTA_BINARY_PACKED => {}
                _ => return Err(unsupported()),
            },
            Values::Floats(out) if from_dictionary => {
                let mut ids = Vec::new();
                decode::dictionary_ids(bytes, count, self.dictionary_floats.len(), &mut ids)?;
                out.extend(ids.into_iter().map(|id| self.dictionary_floats[id as usize]));
            }
            Values::Floats(out) if encoding == Encoding::PLAIN => {
                decode::plain::<8, _>(bytes, count, out, f64::from_le_bytes)?;
            }
            Values::Bools(out) => match encoding {
                Encoding::PLAIN => decode::plain_booleans(bytes, count, out)?,
                Encoding::RLE => decode::rle_booleans(bytes, count, out)?,
                _ => return Err(unsupported()),
            },
            Values::Floats(_) => return Err(unsupported()),
        }
        Ok(())
    }
}

fn plain_ints(physical: Physical, bytes: &[u8], count: usize, out: &mut Vec<i64>) -> Result<(), LeafError> {
    if physical == Physical::INT32 {
        decode::plain::<4, _>(bytes, count, out, |bytes| i64::from(i32::from_le_bytes(bytes)))
    } else {
        decode::plain::<8, _>(bytes, count, out, i64::from_le_bytes)
    }
}

/// Levels of a version 1 page, with their length in front.
fn prefixed<'a>(rest: &mut &'a [u8], max: i16) -> Result<&'a [u8], LeafError> {
    if max == 0 {
        return Ok(b"");
    }
    let (length, after) = rest.split_first_chunk::<4>().ok_or(LeafError::Truncated)?;
    *rest = after;
    first(rest, u32::from_le_bytes(*length) as usize)
}

fn first<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], LeafError> {
    let (levels, after) = rest.split_at_checked(length).ok_or(LeafError::Truncated)?;
    *rest = after;
    Ok(levels)
}

/// Entries and values of wanted rows that stand next to each other.
struct Kept {
    entries: std::ops::Range<usize>,
    values: std::ops::Range<usize>,
}

/// Drops the entries of rows that were not asked for. `starts` says which row begins at which entry, for each page that
/// was read (or once, for a chunk without an offset index).
fn trim(state: Decoding<'_>, rows: &[u32], starts: &[(usize, i64)]) -> Leaf {
    let Decoding { leaf, max_def, .. } = state;
    let Leaf { rep, def, values } = leaf;
    let kept = kept_ranges(&rep, &def, max_def as u8, rows, starts);
    let levels = |levels: Vec<u8>| gather(levels, kept.iter().map(|kept| kept.entries.clone()));
    Leaf { rep: levels(rep), def: levels(def), values: keep(values, &kept) }
}

fn kept_ranges(rep: &[u8], def: &[u8], max_def: u8, rows: &[u32], starts: &[(usize, i64)]) -> Vec<Kept> {
    if let [first, .., last] = rows
        && are_neighbours(rows)
    {
        return neighbours(rep, def, max_def, (*first, *last), starts);
    }
    let mut kept: Vec<Kept> = Vec::new();
    let (mut next, mut counted, mut value) = (0, 0, 0);
    for (page, (start, first_row)) in starts.iter().enumerate() {
        let end = starts.get(page + 1).map_or(rep.len(), |(start, _)| *start);
        let (mut entry, mut row) = (*start, *first_row);
        while let Some(wanted) = rows.get(next).map(|row| i64::from(*row)) {
            entry = skip_rows(rep, entry, end, wanted - row);
            if entry >= end {
                break; // the next page that was read has it
            }
            let after = skip_rows(rep, entry, end, 1);
            value += count_of(&def[counted..entry], max_def);
            let values = value..value + count_of(&def[entry..after], max_def);
            (counted, value) = (after, values.end);
            match kept.last_mut() {
                Some(last) if last.entries.end == entry => {
                    last.entries.end = after;
                    last.values.end = values.end;
                }
                _ => kept.push(Kept { entries: entry..after, values }),
            }
            (entry, row, next) = (after, wanted + 1, next + 1);
        }
    }
    kept
}

/// Whether rows, which ascend, stand next to each other.
fn are_neighbours(rows: &[u32]) -> bool {
    matches!(rows, [first, .., last] if (last - first) as usize == rows.len() - 1)
}

/// All entries from the first to the last of rows that stand next to each other.
fn neighbours(
    rep: &[u8],
    def: &[u8],
    max_def: u8,
    (first, last): (u32, u32),
    starts: &[(usize, i64)],
) -> Vec<Kept> {
    // The entry at which a row begins: in the last page that begins with it or before.
    let entry = |row: i64| {
        let page = starts.partition_point(|(_, first_row)| *first_row <= row).checked_sub(1)?;
        let (start, first_row) = starts.get(page)?;
        Some(skip_rows(rep, *start, rep.len(), row - first_row))
    };
    let start = entry(i64::from(first)).unwrap_or(0);
    let end = entry(i64::from(last) + 1).unwrap_or(rep.len()).max(start);
    let before = count_of(&def[..start], max_def);
    let values = before..before + count_of(&def[start..end], max_def);
    std::iter::once(Kept { entries: start..end, values }).collect()
}

/// The entry at which the row stands that is `rows` rows behind the one at `entry`, or `end`.
fn skip_rows(rep: &[u8], entry: usize, end: usize, rows: i64) -> usize {
    const BLOCK: usize = 256;
    let (mut at, mut left) = (entry, rows);
    // Standing at the start of a row: passing over a row means finding the next zero behind it.
    while left > 0 && at < end {
        let block = &rep[at + 1..end.min(at + 1 + BLOCK)];
        let zeros = block.iter().filter(|level| **level == 0).count() as i64;
        if zeros < left {
            at += block.len();
            left -= zeros;
            if at + 1 >= end {
                return end;
            }
            continue;
        }
        for level in block {
            at += 1;
            left -= i64::from(*level == 0);
            if left == 0 {
                return at;
            }
        }
    }
    at
}

fn count_of(levels: &[u8], wanted: u8) -> usize {
    // In pieces, so that the counters are bytes and many of them are added at once.
    let count = |piece: &[u8]| usize::from(piece.iter().map(|of| u8::from(*of == wanted)).sum::<u8>());
    levels.chunks(255).map(count).sum()
}

fn keep(values: Values, kept: &[Kept]) -> Values {
    let ranges = kept.iter().map(|kept| kept.values.clone());
    match values {
        Values::Bytes { ids, dictionary } => Values::Bytes { ids: gather(ids, ranges), dictionary },
        Values::Ints(values) => Values::Ints(gather(values, ranges)),
        Values::Floats(values) => Values::Floats(gather(values, ranges)),
        Values::Bools(values) => Values::Bools(gather(values, ranges)),
    }
}

/// What stands in these ranges, one behind the other.
fn gather<T: Copy>(
    mut values: Vec<T>,
    mut ranges: impl ExactSizeIterator<Item = std::ops::Range<usize>>,
) -> Vec<T> {
    if ranges.len() == 1
        && let Some(range) = ranges.next()
    {
        values.truncate(range.end);
        values.drain(..range.start.min(values.len()));
        return values;
    }
    ranges.filter_map(|range| values.get(range)).flatten().copied().collect()
}

/// Whether all pages of a chunk of byte strings use its dictionary, by what the footer says of its encodings.
pub(crate) fn dictionary_only(chunk: &ColumnChunkMetaData) -> bool {
    // Without a plain fallback the only encodings are the dictionary's and those of levels and of the dictionary page.
    // PLAIN stands for the dictionary page itself, so the tell-tale is a chunk-wide statement of the pages.
    if chunk.dictionary_page_offset().is_none() {
        return false;
    }
    #[allow(deprecated)] // other writers still use it
    let dictionary =
        |encoding: &Encoding| matches!(encoding, Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY);
    let encodings: Vec<Encoding> = chunk.encodings().collect();
    let fallback = |encoding: &Encoding| {
        matches!(encoding, Encoding::DELTA_LENGTH_BYTE_ARRAY | Encoding::DELTA_BYTE_ARRAY)
    };
    match chunk.page_encoding_stats_mask() {
        Some(mask) => mask.encodings().all(|encoding| dictionary(&encoding)),
        None => encodings.iter().any(dictionary) && !encodings.iter().any(fallback),
    }
}

/// Decodes only the dictionary of a column chunk, which stands in these bytes of the file.
pub(crate) fn decode_dictionary(
    chunk: &ColumnChunkMetaData,
    range: &std::ops::Range<u64>,
    fetched: &Fetched,
) -> Result<Leaf, LeafError> {
    let mut dictionary = ByteValues::default();
    let bytes = fetched.get(range.start, range.end - range.start)?;
    let mut rest = &bytes[..];
    if let Some(header) = Header::read(&mut rest)?
        && header.kind == Kind::Dictionary
    {
        header.body(&mut rest, chunk.compression(), |body| {
            decode::plain_bytes(body, header.entries, &mut dictionary)
        })?;
    }
    let values = Values::Bytes { ids: Vec::new(), dictionary: Arc::new(dictionary) };
    Ok(Leaf { rep: Vec::new(), def: Vec::new(), values })
}
