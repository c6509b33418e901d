//! Reads blocks: an opened file, its row groups, and the spans in them as [`SpanBatch`]es that hold just the columns
//! that were asked for.
//!
//! The formats differ in where their leaves are, which [`crate::layout`] says, and in few other things, which `read/v3.rs`
//! does.
//!
//! Sans-I/O: [`BlockFile::open`] and [`RowGroup::load`] say which byte ranges they need, the caller fetches them
//! ([`Fetched::add`]) and asks again. What has been decoded is kept between the calls.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

pub use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use parquet::errors::ParquetError;
use rayon::prelude::*;
use trackway_common::TraceId;
use trackway_spans::{Level, Needs, Prune, SpanBatch};

use crate::leaf::{self, Leaf, LeafError, Wanted};

mod assemble;
mod attributes;
mod file;
mod ids;
mod needle;
mod outline;
mod plan;
mod prune;
mod v3;

pub use file::{BlockFile, Sections};
pub use outline::{Outline, Outlined};
use plan::Plan;

/// From so many leaves on they are decoded by all threads of the pool that this one belongs to: one trace is shown whole
/// from some eighty of them.
const LEAVES_WORTH_SHARING: usize = 16;

/// Bytes that an entry of a leaf takes: decoded, in a batch, and while it is judged.
const ENTRY_BYTES: u64 = 16;

/// Dictionaries of the leaves of a row group, decoded once for all its pieces.
#[derive(Debug, Default)]
struct Dictionaries(Mutex<HashMap<usize, Arc<leaf::DictionaryCell>>>);

impl Dictionaries {
    fn of(&self, leaf: usize) -> Arc<leaf::DictionaryCell> {
        Arc::clone(self.0.lock().entry(leaf).or_default())
    }
}

/// Bytes of a file that have been fetched so far.
#[derive(Debug, Default)]
pub struct Fetched {
    parts: RwLock<Vec<(u64, Bytes)>>,
}

impl Fetched {
    /// Nothing yet.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Adds the bytes that start at `offset`.
    pub fn add(&self, offset: u64, bytes: Bytes) {
        let mut parts = self.parts.write();
        let at = parts.partition_point(|(start, _)| *start <= offset);
        parts.insert(at, (offset, bytes));
    }

    fn find(&self, start: u64, length: u64) -> Option<Bytes> {
        let parts = self.parts.read();
        let end = start.checked_add(length)?;
        let at = parts.partition_point(|(offset, _)| *offset <= start);
        parts[..at].iter().rev().find_map(|(offset, bytes)| {
            let fits = end <= offset + bytes.len() as u64;
            fits.then(|| bytes.slice((start - offset) as usize..(end - offset) as usize))
        })
    }

    pub(crate) fn get(&self, start: u64, length: u64) -> Result<Bytes, LeafError> {
        self.find(start, length).ok_or_else(|| LeafError::NotFetched(start, start.saturating_add(length)))
    }

    fn has(&self, range: &Range<u64>) -> bool {
        self.find(range.start, range.end - range.start).is_some()
    }

    /// Bytes fetched.
    pub fn bytes(&self) -> u64 {
        self.parts.read().iter().map(|(_, bytes)| bytes.len() as u64).sum()
    }
}

/// Either what was asked for, or what is needed first.
#[derive(Debug)]
pub enum Read<T> {
    /// Fetch these ranges, [`Fetched::add`] them, and ask again.
    NeedsRanges(Vec<Range<u64>>),
    /// Here it is.
    Ready(T),
}

/// A block that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The footer cannot be read.
    #[error("footer: {0}")]
    Footer(ParquetError),
    /// A column cannot be read.
    #[error("column {path} of row group {row_group}: {source}")]
    Leaf {
        /// Path of the column.
        path: String,
        /// Number of the row group.
        row_group: usize,
        /// What is wrong.
        source: LeafError,
    },
    /// Columns contradict each other, or one is missing that every block has.
    #[error("row group {row_group}: {problem}")]
    Structure {
        /// Number of the row group.
        row_group: usize,
        /// What is wrong.
        problem: &'static str,
    },
}

/// One row group, being read.
#[derive(Debug)]
pub struct RowGroup {
    file: Arc<BlockFile>,
    index: usize,
    rows: Option<Vec<u32>>,
    fetched: Arc<Fetched>,
    /// Of whole leaves, where the row group is read in pieces; they are fetched whole then, too.
    dictionaries: Option<Arc<Dictionaries>>,
    leaves: HashMap<usize, Arc<Leaf>>,
    /// Ids of all traces of the row group, when the caller has them already.
    ids: Option<Arc<Vec<TraceId>>>,
    /// Whether all that may be needed is asked for with the first.
    at_once: bool,
}

impl RowGroup {
    /// All traces of a row group.
    pub fn new(file: &Arc<BlockFile>, index: usize) -> Self {
        Self {
            file: Arc::clone(file),
            index,
            rows: None,
            fetched: Fetched::new(),
            dictionaries: None,
            leaves: HashMap::new(),
            ids: None,
            at_once: false,
        }
    }

    /// Neighbouring rows of the row group each, in as many pieces as it takes to decode at most about so many entries of
    /// leaves at once, which take some ten bytes each while a piece is put together. What is fetched for one of several
    /// pieces serves all.
    ///
    /// # Errors
    /// [`ReadError`] when a column is missing that every block has.
    pub fn into_pieces(self, needs: &Needs, entries_max: u64) -> Result<Vec<Self>, ReadError> {
        let metadata = self.file.metadata.row_group(self.index);
        let entries = |leaf: usize| u64::try_from(metadata.column(leaf).num_values()).unwrap_or(0);
        let entries: u64 = Plan::new(&self, needs)?.all(&self, needs).map(entries).sum();
        let rows = self.file.rows(self.index) as u64;
        let pieces = entries.div_ceil(entries_max.max(1)).clamp(1, rows.max(1));
        if pieces == 1 {
            return Ok(vec![self]);
        }
        let row = |piece: u64| u32::try_from(piece * rows / pieces).unwrap_or(u32::MAX);
        let dictionaries: Arc<Dictionaries> = Arc::default();
        let piece = |piece: u64| Self {
            rows: Some((row(piece)..row(piece + 1)).collect()),
            fetched: Arc::clone(&self.fetched),
            dictionaries: Some(Arc::clone(&dictionaries)),
            ids: self.ids.clone(),
            ..Self::new(&self.file, self.index)
        };
        Ok((0..pieces).map(piece).collect())
    }

    /// About how many bytes a load takes: those that are fetched, and those that are decoded and put together. The footer's
    /// word is taken for both.
    ///
    /// # Errors
    /// [`ReadError`] when a column is missing that every block has.
    pub fn memory(&self, needs: &Needs) -> Result<(u64, u64), ReadError> {
        let metadata = self.file.metadata.row_group(self.index);
        let (rows, all) = (self.rows() as u64, (self.file.rows(self.index) as u64).max(1));
        let share =
            |of: u64, least: u64| match u64::try_from(u128::from(of) * u128::from(rows) / u128::from(all)) {
                Ok(share) => share.saturating_add(least).min(of),
                Err(_) => of,
            };
        let (mut fetched, mut decoded) = (0_u64, 0_u64);
        for leaf in Plan::new(self, needs)?.all(self, needs) {
            let chunk = metadata.column(leaf);
            let number = |number: i64| u64::try_from(number).unwrap_or(0);
            // Whole pages are fetched, and whole dictionaries.
            let page = crate::pages::PAGE_BYTES_MAX as u64;
            fetched = fetched.saturating_add(share(number(chunk.compressed_size()), page));
            let entries = number(chunk.num_values()).saturating_mul(ENTRY_BYTES);
            let entries = entries.saturating_add(number(chunk.uncompressed_size()));
            decoded = decoded.saturating_add(share(entries, page));
        }
        Ok((fetched, decoded))
    }

    /// The same part of a row group of a file that was opened anew, with nothing fetched.
    #[must_use]
    pub fn anew(&self, file: &Arc<BlockFile>) -> Self {
        Self { rows: self.rows.clone(), ids: self.ids.clone(), ..Self::new(file, self.index) }
    }

    /// Tells the ids of all traces of the row group, which then need not be read.
    #[must_use]
    pub fn knowing(self, ids: Option<Arc<Vec<TraceId>>>) -> Self {
        let ids = ids.filter(|ids| ids.len() == self.file.rows(self.index));
        Self { ids, ..self }
    }

    /// Only some traces of a row group: `rows`, ascending.
    pub fn with_rows(file: &Arc<BlockFile>, index: usize, rows: Vec<u32>) -> Self {
        Self { rows: Some(rows), ..Self::new(file, index) }
    }

    /// Asks at once for all that may be needed, where it otherwise waits for some of it to say what more is: for when asking
    /// twice costs more than reading more.
    #[must_use]
    pub fn at_once(self) -> Self {
        Self { at_once: true, ..self }
    }

    /// Whether it does.
    pub fn is_at_once(&self) -> bool {
        self.at_once
    }

    /// Where fetched ranges go.
    pub fn fetched(&self) -> &Arc<Fetched> {
        &self.fetched
    }

    /// The first row of the row group that it is about.
    pub fn first_row(&self) -> u32 {
        self.rows.as_ref().and_then(|rows| rows.first().copied()).unwrap_or(0)
    }

    /// How many traces it is about.
    pub fn rows(&self) -> usize {
        self.rows.as_ref().map_or_else(|| self.file.rows(self.index), Vec::len)
    }

    /// The spans, with at least the columns that are needed.
    ///
    /// # Errors
    /// [`ReadError`] when the file is damaged.
    pub fn load(&mut self, needs: &Needs) -> Result<Read<SpanBatch>, ReadError> {
        assemble::load(self, needs)
    }

    /// Whether spans that meet all of these may be in the row group.
    ///
    /// # Errors
    /// [`ReadError`] when the file is damaged.
    pub fn may_match(&mut self, prunes: &[Prune]) -> Result<Read<bool>, ReadError> {
        prune::may_match(self, prunes)
    }

    /// The rows of the traces whose identifiers lie in any of these ranges, both ends included.
    ///
    /// # Errors
    /// [`ReadError`] when the file is damaged.
    pub fn rows_of(&mut self, ids: &[(TraceId, TraceId)]) -> Result<Read<Vec<u32>>, ReadError> {
        ids::rows(self, ids)
    }

    /// What the columns say without a look at the spans.
    ///
    /// # Errors
    /// [`ReadError`] when the file is damaged.
    pub fn outline(&mut self, question: &Outline) -> Result<Read<Outlined>, ReadError> {
        outline::outline(self, question)
    }

    /// Whether an attribute may have values in the leaf for what has none of its own.
    fn may_be_json(&self, level: Level, key: &[u8]) -> bool {
        self.file.told.may_hold(self.index, level, key)
    }

    fn structure(&self, problem: &'static str) -> ReadError {
        ReadError::Structure { row_group: self.index, problem }
    }

    fn failed(&self, leaf: usize, source: LeafError) -> ReadError {
        let path = self.file.metadata.row_group(self.index).column(leaf).column_path().string();
        ReadError::Leaf { path, row_group: self.index, source }
    }

    /// The ranges of leaves that are neither decoded nor fetched.
    fn missing(&self, leaves: impl Iterator<Item = usize>) -> Vec<Range<u64>> {
        let rows = self.rows.as_deref().filter(|_| self.dictionaries.is_none());
        let ranges = leaves
            .filter(|leaf| !self.leaves.contains_key(leaf))
            .flat_map(|leaf| self.file.ranges(self.index, leaf, rows));
        ranges.filter(|range| !self.fetched.has(range)).collect()
    }

    /// Decodes these leaves, or says which ranges are missing for them. With each goes whether its levels are needed.
    fn decode(&mut self, wanted: &[(usize, bool)]) -> Result<Read<()>, ReadError> {
        let missing = self.missing(wanted.iter().map(|(leaf, _)| *leaf));
        if !missing.is_empty() {
            return Ok(Read::NeedsRanges(missing));
        }
        let open: Vec<(usize, bool)> =
            wanted.iter().copied().filter(|(leaf, _)| !self.leaves.contains_key(leaf)).collect();
        let decode = |(leaf, levels): &(usize, bool)| {
            let wanted = Wanted {
                chunk: self.file.metadata.row_group(self.index).column(*leaf),
                pages: self.file.pages(self.index, *leaf),
                total_rows: self.file.rows(self.index),
                rows: self.rows.as_deref(),
                rep: *levels,
                def: *levels,
            };
            let dictionary = self.dictionaries.as_ref().map(|all| all.of(*leaf));
            let decoded = leaf::decode(&wanted, &self.fetched, dictionary.as_deref());
            Ok((*leaf, Arc::new(decoded.map_err(|error| self.failed(*leaf, error))?)))
        };
        let decoded: Vec<(usize, Arc<Leaf>)> = if open.len() >= LEAVES_WORTH_SHARING {
            open.par_iter().map(decode).collect::<Result<_, ReadError>>()?
        } else {
            open.iter().map(decode).collect::<Result<_, ReadError>>()?
        };
        self.leaves.extend(decoded);
        Ok(Read::Ready(()))
    }

    fn decoded(&self, leaf: usize) -> Option<&Arc<Leaf>> {
        self.leaves.get(&leaf)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::meta::{DedicatedColumn, Format};
    use trackway_common::TraceId;

    pub(crate) fn open(path: &str, dedicated: &[DedicatedColumn]) -> (Arc<BlockFile>, Bytes) {
        let bytes = Bytes::from(std::fs::read(path).unwrap());
        match BlockFile::open(&bytes, bytes.len() as u64, dedicated).unwrap() {
            Read::Ready(file) => (file, bytes),
            Read::NeedsRanges(_) => panic!("the whole file was given"),
        }
    }

    pub(crate) fn load(group: &mut RowGroup, bytes: &Bytes, needs: &Needs) -> SpanBatch {
        loop {
            match group.load(needs).unwrap() {
                Read::Ready(batch) => return batch,
                Read::NeedsRanges(ranges) => {
                    for range in ranges {
                        let part = bytes.slice(range.start as usize..range.end as usize);
                        group.fetched().add(range.start, part);
                    }
                }
            }
        }
    }

    pub(crate) fn trace_ids(path: &str) -> Vec<TraceId> {
        let (file, bytes) = open(path, &[]);
        let groups = 0..file.row_groups();
        groups
            .flat_map(|index| {
                let batch = load(&mut RowGroup::new(&file, index), &bytes, &Needs::default());
                batch.traces.ids().collect::<Vec<_>>()
            })
            .collect()
    }

    #[test]
    fn a_block_of_tempos_is_read_whole_and_row_by_row() {
        let folder = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/golden/v4/single-tenant/728a1849-365c-4c4b-beef-cd37283c2b4d"
        );
        let (file, bytes) = open(
            &format!("{folder}/data.parquet"),
            &crate::meta::default_dedicated_columns(Format::VParquet4),
        );
        let whole = load(&mut RowGroup::new(&file, 0), &bytes, &Needs::everything());
        assert_eq!((whole.traces.len(), whole.len()), (271, 5123));
        let by_id = trackway_spans::encode_traces_by_id(&whole);
        for row in [0, 7, 134, 270] {
            let one = load(&mut RowGroup::with_rows(&file, 0, vec![row]), &bytes, &Needs::everything());
            let id = whole.traces.id(row as usize);
            assert_eq!(one.traces.ids().collect::<Vec<_>>(), [id]);
            assert_eq!(trackway_spans::encode_trace(&one), by_id[&id], "row {row}");
        }
    }
}
