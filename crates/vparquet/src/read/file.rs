//! The opened data file of a block: its footer, and where everything in it lies.
//!
//! What must stay true: whatever a footer says about places is checked before anybody relies on it.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};
use parquet::file::page_index::offset_index::PageLocation;
use trackway_common::Reservation;
use trackway_spans::Level;

use super::{Read, ReadError};
use crate::inline::Told;
use crate::layout::Layout;
use crate::leaf;
use crate::meta::{DedicatedColumn, Format};

/// The opened data file of a block: its footer, and where its columns are.
#[derive(Debug)]
pub struct BlockFile {
    pub(super) metadata: ParquetMetaData,
    leaves: HashMap<String, usize>,
    pub(super) layout: &'static Layout,
    pub(super) dedicated: Vec<(Level, Vec<u8>, String)>,
    pub(super) size: u64,
    /// Whether it was written here: what bloom filters look like need not be read then.
    pub(super) is_ours: bool,
    pub(super) told: Told,
    /// What it takes in memory, where that counts.
    memory: OnceLock<Reservation>,
}

/// Where the indexes of a file lie, from the first column's to the end of the last one's; empty when there are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sections {
    /// Smallest and largest values of pages.
    pub column_index: Range<u64>,
    /// Where pages are.
    pub offset_index: Range<u64>,
}

impl Sections {
    fn of(metadata: &ParquetMetaData, size: u64) -> Option<Self> {
        let chunks = || metadata.row_groups().iter().flat_map(RowGroupMetaData::columns);
        let column =
            chunks().filter_map(|chunk| Some((chunk.column_index_offset()?, chunk.column_index_length()?)));
        let offset =
            chunks().filter_map(|chunk| Some((chunk.offset_index_offset()?, chunk.offset_index_length()?)));
        let section = |parts: &mut dyn Iterator<Item = (i64, i32)>| {
            let ranges: Option<Vec<Range<u64>>> = parts
                .map(|(start, length)| {
                    let (start, length) = (u64::try_from(start).ok()?, u64::try_from(length).ok()?);
                    start.checked_add(length).filter(|end| *end <= size).map(|end| start..end)
                })
                .collect();
            let ranges = ranges?;
            let start = ranges.iter().map(|range| range.start).min().unwrap_or(0);
            let end = ranges.iter().map(|range| range.end).max().unwrap_or(0);
            Some(start..end)
        };
        Some(Self { column_index: section(&mut { column })?, offset_index: section(&mut { offset })? })
    }
}

impl BlockFile {
    /// How many bytes from the end to fetch first: the footer, as long as `meta.json` says, and the indexes of pages
    /// before it, which take about twice as much.
    pub fn tail(footer_size: u32) -> u64 {
        const UNKNOWN: u64 = 256 * 1024;
        const INDEXES: u64 = 4;
        if footer_size == 0 { UNKNOWN } else { (u64::from(footer_size) + 8) * INDEXES }
    }

    /// Reads the footer from what has been fetched of the end of the file. `dedicated` is the list in the block's
    /// `meta.json`.
    ///
    /// # Errors
    /// [`ReadError::Footer`] when it is not a Parquet file.
    pub fn open(
        tail: &Bytes,
        size: u64,
        dedicated: &[DedicatedColumn],
    ) -> Result<Read<Arc<Self>>, ReadError> {
        let mut reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Optional);
        match reader.try_parse_sized(tail, size) {
            Ok(()) => {}
            Err(ParquetError::NeedMoreData(needed)) if (needed as u64) <= size => {
                let tail = size - needed as u64..size;
                return Ok(Read::NeedsRanges(std::iter::once(tail).collect()));
            }
            Err(error) => return Err(ReadError::Footer(error)),
        }
        let metadata = reader.finish().map_err(ReadError::Footer)?;
        check(&metadata, size)?;
        let columns = metadata.file_metadata().schema_descr().columns();
        let leaves: HashMap<String, usize> =
            columns.iter().enumerate().map(|(at, column)| (column.path().string(), at)).collect();
        let layout = Layout::of_file(|path| leaves.contains_key(path));
        let dedicated = layout.dedicated_paths(dedicated);
        let writer = metadata.file_metadata().created_by().unwrap_or_default();
        let is_ours = writer.split(' ').next() == Some(crate::write::CREATED_BY);
        let told = Told::new(metadata.file_metadata().key_value_metadata(), metadata.num_row_groups());
        Ok(Read::Ready(Arc::new(Self {
            metadata,
            leaves,
            layout,
            dedicated,
            size,
            is_ours,
            told,
            memory: OnceLock::new(),
        })))
    }

    /// Where the indexes lie, by the footer that `tail` ends with.
    ///
    /// # Errors
    /// [`ReadError::Footer`] when there is no footer, or it says what cannot be.
    pub fn sections(tail: &Bytes, size: u64) -> Result<Sections, ReadError> {
        let mut reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Skip);
        reader.try_parse_sized(tail, size).map_err(ReadError::Footer)?;
        let metadata = reader.finish().map_err(ReadError::Footer)?;
        let outside =
            || ReadError::Footer(ParquetError::General("an index lies outside of the file".to_owned()));
        Sections::of(&metadata, size).ok_or_else(outside)
    }

    /// The same of an opened file; `None` when its footer says what cannot be.
    pub fn own_sections(&self) -> Option<Sections> {
        Sections::of(&self.metadata, self.size)
    }

    /// The format that its columns are of.
    pub fn format(&self) -> Format {
        self.layout.format
    }

    /// Number of row groups.
    pub fn row_groups(&self) -> usize {
        self.metadata.num_row_groups()
    }

    /// Traces in a row group.
    pub fn rows(&self, row_group: usize) -> usize {
        usize::try_from(self.metadata.row_group(row_group).num_rows()).unwrap_or(0)
    }

    /// Spans in a row group, by the footer.
    pub fn spans(&self, row_group: usize) -> usize {
        let spine = self.leaf(&self.layout.path(Level::Span, "StatusCode"));
        let spans = spine.map_or(0, |leaf| self.metadata.row_group(row_group).column(leaf).num_values());
        usize::try_from(spans).unwrap_or(0)
    }

    /// Bytes that it takes in memory.
    pub fn memory_size(&self) -> usize {
        self.metadata.memory_size()
    }

    /// Has its memory count until nobody has it any more. What is reserved a second time is given back.
    pub fn counts(&self, memory: Reservation) {
        let _ = self.memory.set(memory);
    }

    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn leaf(&self, path: &str) -> Option<usize> {
        self.leaves.get(path).copied()
    }

    pub(super) fn pages(&self, row_group: usize, leaf: usize) -> Option<&[PageLocation]> {
        let index = self.metadata.page_index()?.offset_index(row_group, leaf)?;
        Some(index.page_locations())
    }

    /// All ranges that a reader may ask for by themselves: column chunks, what stands before their pages, and their pages.
    pub fn all_ranges(&self) -> Vec<Range<u64>> {
        let mut all = Vec::new();
        for (row_group, metadata) in self.metadata.row_groups().iter().enumerate() {
            for (leaf, chunk) in metadata.columns().iter().enumerate() {
                let (start, length) = chunk.byte_range();
                all.push(start..start + length);
                let pages = self.pages(row_group, leaf).unwrap_or_default();
                let page = |page: &PageLocation| {
                    let offset = page.offset as u64;
                    offset..offset + page.compressed_page_size as u64
                };
                all.extend(pages.first().map(|first| start..first.offset as u64));
                all.extend(pages.iter().map(page));
            }
        }
        all
    }

    /// The ranges that hold a leaf, or its pages with these rows.
    pub(super) fn ranges(&self, row_group: usize, leaf: usize, rows: Option<&[u32]>) -> Vec<Range<u64>> {
        let chunk = self.metadata.row_group(row_group).column(leaf);
        let (start, length) = chunk.byte_range();
        let whole = start..start + length;
        let (Some(rows), Some(pages)) = (rows, self.pages(row_group, leaf)) else { return vec![whole] };
        let keep = leaf::pages_of(pages, self.rows(row_group), rows);
        let mut ranges = Vec::new();
        if let Some(first) = pages.first()
            && first.offset as u64 > start
        {
            ranges.push(start..first.offset as u64);
        }
        for (page, keep) in pages.iter().zip(keep) {
            if keep {
                let (offset, length) = (page.offset as u64, page.compressed_page_size as u64);
                ranges.push(offset..offset + length);
            }
        }
        ranges
    }
}

/// Checks that every column chunk and every page lies where it can lie. What reads them later relies on it: Parquet's own
/// reader stops the process for a negative length.
fn check(metadata: &ParquetMetaData, size: u64) -> Result<(), ReadError> {
    for (row_group, group) in metadata.row_groups().iter().enumerate() {
        let damaged = |problem| ReadError::Structure { row_group, problem };
        for (leaf, chunk) in group.columns().iter().enumerate() {
            let first = chunk.dictionary_page_offset().unwrap_or_else(|| chunk.data_page_offset());
            let length = chunk.compressed_size();
            let (Ok(start), Ok(length)) = (u64::try_from(first), u64::try_from(length)) else {
                return Err(damaged("a column begins or ends before the file"));
            };
            let end = start.checked_add(length).filter(|end| *end <= size);
            let end = end.ok_or_else(|| damaged("a column ends behind the file"))?;
            let index = metadata.page_index().and_then(|index| index.offset_index(row_group, leaf));
            let Some(index) = index else { continue };
            let (mut offset, mut row) = (first, -1);
            for page in index.page_locations() {
                let length = i64::from(page.compressed_page_size);
                let stop = page.offset.checked_add(length).and_then(|stop| u64::try_from(stop).ok());
                let inside = length >= 0 && page.offset >= offset && stop.is_some_and(|stop| stop <= end);
                if !inside || page.first_row_index <= row || page.first_row_index > group.num_rows() {
                    return Err(damaged("the index of its pages contradicts itself"));
                }
                (offset, row) = (page.offset + length, page.first_row_index);
            }
        }
    }
    Ok(())
}
