//! Column chunks: levels and values of a leaf cut into pages, compressed, with the indices that say what is where.
//!
//! What must stay true, because Tempo's reader or ours relies on it: data pages of version 1, cut only between rows, of
//! at most [`PAGE_BYTES_MAX`] before compression unless a single row has more; one codec for all pages of a column; a
//! chunk that has a dictionary uses it in all of its pages; an offset index for every chunk.

use std::ops::Range;

use bytes::Bytes;
use parquet::basic::{BoundaryOrder, Compression, Encoding, PageType, ZstdLevel};
use parquet::column::writer::ColumnCloseResult;
use parquet::file::metadata::{
    ColumnChunkMetaData, ColumnIndexBuilder, OffsetIndexBuilder, PageEncodingStats,
};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::statistics::Statistics;
use parquet::schema::types::ColumnDescPtr;
use trackway_spans::wire::put_varint;

use crate::write::WriteError;
use crate::write::bounds::Bounds;
use crate::write::hybrid;
use crate::write::values::{Dictionary, Values};

/// Most bytes of levels and values in a page, before compression.
pub(crate) const PAGE_BYTES_MAX: usize = 64 * 1024;

/// What an estimate aims at: pages that turn out too large are encoded again.
const PAGE_BYTES_AIM: usize = PAGE_BYTES_MAX * 15 / 16;
/// Most entries of a page: levels pack so well that 64 KB of a sparse column may be all of it, and whoever wants one trace
/// decodes a whole page.
const PAGE_ENTRIES_MAX: usize = 8 * 1024;

/// The levels of a leaf.
#[derive(Clone, Copy)]
pub(crate) struct Levels<'a> {
    /// Empty where the leaf is not repeated: each row is one entry then.
    pub(crate) rep: &'a [u8],
    /// Empty where the leaf is always there.
    pub(crate) def: &'a [u8],
    /// The entry where each row begins, and one more.
    pub(crate) rows: &'a [u32],
}

impl Levels<'_> {
    fn rows(&self) -> usize {
        self.rows.len() - 1
    }

    fn entries(&self) -> usize {
        self.rows.last().map_or(0, |end| *end as usize)
    }
}

/// Encodes column chunks, one after the other.
pub(crate) struct ChunkEncoder {
    compressor: zstd::bulk::Compressor<'static>,
    page: Vec<u8>,
    compressed: Vec<u8>,
    chunk: Vec<u8>,
}

/// One page of levels and values, encoded.
struct Page {
    entries: Range<usize>,
    values: usize,
    rows: usize,
}

impl ChunkEncoder {
    pub(crate) fn new(zstd_level: i32) -> Result<Self, WriteError> {
        let compressor = zstd::bulk::Compressor::new(zstd_level).map_err(WriteError::Compress)?;
        Ok(Self { compressor, page: Vec::new(), compressed: Vec::new(), chunk: Vec::new() })
    }

    /// Encodes a leaf of a row group. The offsets in what is returned count from the beginning of the bytes.
    pub(crate) fn encode(
        &mut self,
        leaf: &ColumnDescPtr,
        levels: Levels<'_>,
        values: &Values<'_>,
        dictionary: Option<&Dictionary<'_>>,
        compress: bool,
    ) -> Result<(Bytes, ColumnCloseResult), WriteError> {
        self.chunk.clear();
        let mut totals = Totals::default();
        if let Some(dictionary) = dictionary {
            self.page.clear();
            dictionary.put(&mut self.page);
            self.finish_page(PageKind::Dictionary(dictionary.len()), compress, &mut totals)?;
        }
        let data_offset = self.chunk.len();
        let encoding = values.encoding();
        let mut offsets = OffsetIndexBuilder::new();
        let mut index = Index::new(leaf, values);
        let (mut row, mut value) = (0, 0);
        let mut per_entry = values.guess(levels.entries()) + 0.5;
        while row < levels.rows() {
            let page = self.fill_page(leaf, levels, values, (row, value), &mut per_entry);
            let at = self.chunk.len();
            let kind = PageKind::Data { entries: page.entries.len(), encoding };
            let length = self.finish_page(kind, compress, &mut totals)?;
            offsets.append_offset_and_size(at as i64, length);
            offsets.append_row_count(page.rows as i64);
            index.page(values, value..value + page.values, page.entries.len() - page.values);
            totals.pages += 1;
            row += page.rows;
            value += page.values;
        }
        let metadata = ColumnChunkMetaData::builder(leaf.clone())
            .set_compression(codec(compress))
            .set_encodings(encodings(leaf, encoding))
            .set_total_compressed_size(self.chunk.len() as i64)
            .set_total_uncompressed_size(totals.uncompressed as i64)
            .set_num_values(levels.entries() as i64)
            .set_data_page_offset(data_offset as i64)
            .set_dictionary_page_offset(dictionary.map(|_| 0))
            .set_page_encoding_stats(page_encodings(dictionary.is_some(), encoding, totals.pages));
        let nulls = (levels.entries() - value) as u64;
        let metadata = match index.statistics().or_else(|| nothing_in(values, nulls)) {
            Some(statistics) => metadata.set_statistics(statistics),
            None => metadata,
        };
        let close = ColumnCloseResult {
            bytes_written: self.chunk.len() as u64,
            rows_written: levels.rows() as u64,
            metadata: metadata.build()?,
            bloom_filter: None,
            column_index: index.finish()?,
            offset_index: Some(offsets.build()),
        };
        Ok((Bytes::copy_from_slice(&self.chunk), close))
    }

    /// Encodes as many rows as fit into a page. `from` is the first row, and the first value.
    fn fill_page(
        &mut self,
        leaf: &ColumnDescPtr,
        levels: Levels<'_>,
        values: &Values<'_>,
        from: (usize, usize),
        per_entry: &mut f64,
    ) -> Page {
        let (row, value) = from;
        let first = levels.rows[row] as usize;
        let starts = &levels.rows[row + 1..];
        let mut aim = ((PAGE_BYTES_AIM as f64 / *per_entry) as usize).min(PAGE_ENTRIES_MAX);
        loop {
            let rows = starts.partition_point(|end| *end as usize - first <= aim).max(1);
            let entries = first..starts[rows - 1] as usize;
            let (max_rep, max_def) = (leaf.max_rep_level(), leaf.max_def_level());
            self.page.clear();
            if max_rep > 0 {
                hybrid::put_levels(&mut self.page, &levels.rep[entries.clone()], max_rep);
            }
            let mut count = entries.len();
            if max_def > 0 {
                let def = &levels.def[entries.clone()];
                hybrid::put_levels(&mut self.page, def, max_def);
                count = count_of(def, max_def as u8);
            }
            values.put(value..value + count, &mut self.page);
            let bytes = self.page.len();
            *per_entry = (bytes as f64 / entries.len() as f64).max(1e-3);
            if bytes <= PAGE_BYTES_MAX || rows == 1 {
                return Page { entries, values: count, rows };
            }
            // Fewer than now in any case, so that this ends.
            aim = (PAGE_BYTES_AIM as f64 / *per_entry) as usize;
            aim = aim.min(PAGE_ENTRIES_MAX).min(starts[rows - 2] as usize - first);
        }
    }

    /// Compresses the page and appends it with its header; returns how many bytes that were.
    fn finish_page(
        &mut self,
        kind: PageKind,
        compress: bool,
        totals: &mut Totals,
    ) -> Result<i32, WriteError> {
        let body = if compress {
            self.compressed.clear();
            self.compressed.reserve(zstd::zstd_safe::compress_bound(self.page.len()));
            self.compressor
                .compress_to_buffer(&self.page, &mut self.compressed)
                .map_err(WriteError::Compress)?;
            &self.compressed
        } else {
            &self.page
        };
        let start = self.chunk.len();
        put_header(&mut self.chunk, kind, size(self.page.len())?, size(body.len())?);
        totals.uncompressed += self.chunk.len() - start + self.page.len();
        self.chunk.extend_from_slice(body);
        size(self.chunk.len() - start)
    }
}

#[derive(Default)]
struct Totals {
    uncompressed: usize,
    pages: i32,
}

fn size(bytes: usize) -> Result<i32, WriteError> {
    i32::try_from(bytes).map_err(|_| WriteError::PageTooLarge)
}

fn count_of(levels: &[u8], level: u8) -> usize {
    // In pieces, so that the counters are bytes and many of them are added at once.
    levels
        .chunks(255)
        .map(|piece| usize::from(piece.iter().map(|of| u8::from(*of == level)).sum::<u8>()))
        .sum()
}

fn codec(compress: bool) -> Compression {
    // The level is the writer's affair and not stored.
    if compress { Compression::ZSTD(ZstdLevel::default()) } else { Compression::UNCOMPRESSED }
}

fn encodings(leaf: &ColumnDescPtr, encoding: Encoding) -> Vec<Encoding> {
    let mut encodings = vec![encoding];
    if leaf.max_def_level() > 0 {
        encodings.push(Encoding::RLE);
    }
    if encoding == Encoding::RLE_DICTIONARY {
        encodings.push(Encoding::PLAIN);
    }
    encodings
}

fn page_encodings(dictionary: bool, encoding: Encoding, pages: i32) -> Vec<PageEncodingStats> {
    let mut stats = Vec::new();
    if dictionary {
        stats.push(PageEncodingStats {
            page_type: PageType::DICTIONARY_PAGE,
            encoding: Encoding::PLAIN,
            count: 1,
        });
    }
    stats.push(PageEncodingStats { page_type: PageType::DATA_PAGE, encoding, count: pages });
    stats
}

#[derive(Clone, Copy)]
enum PageKind {
    Dictionary(usize),
    Data { entries: usize, encoding: Encoding },
}

/// Appends a page's header in Thrift's compact protocol: fields are a step from the last number and a type, numbers are
/// zigzag varints, a struct ends with a zero.
fn put_header(out: &mut Vec<u8>, kind: PageKind, uncompressed: i32, compressed: i32) {
    const I32: u8 = 5;
    const STRUCT: u8 = 12;
    let number = |out: &mut Vec<u8>, step: u8, value: u64| {
        out.push(step << 4 | I32);
        put_varint(out, value << 1);
    };
    let page_type = match kind {
        PageKind::Data { .. } => PageType::DATA_PAGE,
        PageKind::Dictionary(_) => PageType::DICTIONARY_PAGE,
    };
    number(out, 1, page_type as u64);
    number(out, 1, u64::from(uncompressed.unsigned_abs()));
    number(out, 1, u64::from(compressed.unsigned_abs()));
    match kind {
        PageKind::Data { entries, encoding } => {
            out.push(2 << 4 | STRUCT); // field 5
            number(out, 1, entries as u64);
            for encoding in [encoding, Encoding::RLE, Encoding::RLE] {
                number(out, 1, encoding as u64);
            }
        }
        PageKind::Dictionary(entries) => {
            out.push(4 << 4 | STRUCT); // field 7
            number(out, 1, entries as u64);
            number(out, 1, Encoding::PLAIN as u64);
        }
    }
    out.extend_from_slice(&[0, 0]);
}

/// Statistics of a chunk that holds nothing worth reading: no values, or nothing but `false`. A reader passes over it.
fn nothing_in(values: &Values<'_>, nulls: u64) -> Option<Statistics> {
    let nulls = Some(nulls);
    match values {
        Values::Bools(bools) if bools.iter().all(|truth| *truth == 0) => {
            let known = (!bools.is_empty()).then_some(false);
            Some(Statistics::boolean(known, known, None, nulls, false))
        }
        Values::Ids([], _) | Values::Texts([], ..) => {
            Some(Statistics::byte_array(None, None, None, nulls, false))
        }
        Values::I64([]) | Values::U64([]) | Values::Plain([]) => {
            Some(Statistics::int64(None, None, None, nulls, false))
        }
        Values::Floats([]) => Some(Statistics::double(None, None, None, nulls, false)),
        _ => None,
    }
}

/// The column index of a chunk, and its statistics, under construction.
struct Index {
    builder: Option<ColumnIndexBuilder>,
    least: Option<Bounds>,
    nulls: u64,
    floats: bool,
    pages: usize,
}

impl Index {
    fn new(leaf: &ColumnDescPtr, values: &Values<'_>) -> Self {
        let mut builder = values.has_bounds().then(|| ColumnIndexBuilder::new(leaf.physical_type()));
        if let (Some(builder), true) = (&mut builder, values.ascending()) {
            builder.set_boundary_order(BoundaryOrder::ASCENDING);
        }
        Self { builder, least: None, nulls: 0, floats: matches!(values, Values::Floats(_)), pages: 0 }
    }

    fn page(&mut self, values: &Values<'_>, range: Range<usize>, nulls: usize) {
        let Some(builder) = &mut self.builder else { return };
        self.pages += 1;
        self.nulls += nulls as u64;
        let nans = values.nans(range.clone());
        let nan_count = self.floats.then_some(nans as i64);
        let bounds = values.bounds(range.clone());
        match &bounds {
            Some(bounds) => {
                let (min, max) = bounds.bytes();
                builder.append(false, min, max, nulls as i64, nan_count);
            }
            None if range.is_empty() => builder.append(true, Vec::new(), Vec::new(), nulls as i64, nan_count),
            // Values that have no order: nothing can be said of the page, and so nothing of any.
            None => self.builder = None,
        }
        self.least = match (self.least.take(), bounds) {
            (Some(all), Some(page)) => Some(all.with(&page)),
            (all, page) => all.or(page),
        };
    }

    fn statistics(&self) -> Option<Statistics> {
        self.builder.as_ref()?;
        self.least.as_ref().map(|bounds| bounds.statistics(self.nulls))
    }

    fn finish(self) -> Result<Option<ColumnIndexMetaData>, WriteError> {
        let builder = self.builder.filter(|_| self.pages > 0);
        Ok(builder.map(ColumnIndexBuilder::build).transpose()?)
    }
}
