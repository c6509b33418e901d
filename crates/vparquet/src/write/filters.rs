//! Bloom filters over the values of attributes, so that a search for one of very many passes over a row group without
//! its dictionary.
//!
//! What must stay true: every value of a leaf that has a filter is in it, and all filters together stay within
//! [`ROW_GROUP_SHARE`] of the row group. How much that is shows when the row group is done, so that chunks wait for it
//! until there are [`PENDING_BYTES_MAX`] of them.

use std::cmp::Reverse;

use bytes::Bytes;
use parquet::bloom_filter::Sbbf;
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::AsBytes;
use parquet::file::metadata::ColumnChunkMetaData;

use super::texts::{TextId, Texts};
use crate::sbbf::{BLOCK_BYTES, HEADER_BYTES_MAX};

/// Fewer different values than this have none: a reader looks through them as fast.
const DISTINCT_MIN: usize = 512;
/// A leaf whose values (its dictionary, if it has one) take fewer bytes of the file has none: they are read as fast as a
/// filter is.
const SPARED_BYTES_MIN: u64 = 16 * 1024;
/// Filters take at most one byte for so many of the row group.
const ROW_GROUP_SHARE: u64 = 70;
/// Bytes of chunks that wait.
const PENDING_BYTES_MAX: usize = 16 << 20;
/// The largest filter: more would hardly ever be allowed.
const FILTER_BYTES_MAX: usize = 256 * 1024;
/// A filter is made as small as it can be with at most this share of wrong answers.
const WRONG_AIM: f64 = 0.03;
/// With less room it may be wrong as often as this, and is left out if that is not enough.
const WRONG_MAX: f64 = 0.15;
/// Bytes for each value before it is made smaller.
const VALUE_BYTES: usize = 2;

/// The filter of a leaf of texts, if it is worth having: its chunk, and its different values.
pub(crate) fn of_texts(chunk: &ColumnChunkMetaData, distinct: &[TextId], texts: &Texts<'_>) -> Option<Sbbf> {
    filter(chunk, distinct.len(), |filter| {
        distinct.iter().for_each(|number| filter.insert(texts.get(*number)));
    })
}

/// The filter of a leaf of numbers, if it is worth having.
pub(crate) fn of_numbers<T: AsBytes>(chunk: &ColumnChunkMetaData, values: &[T]) -> Option<Sbbf> {
    filter(chunk, values.len(), |filter| values.iter().for_each(|value| filter.insert(value)))
}

/// `values` is how many values there are at the most.
fn filter(chunk: &ColumnChunkMetaData, values: usize, insert: impl FnOnce(&mut Sbbf)) -> Option<Sbbf> {
    if values < DISTINCT_MIN || spared(chunk) < SPARED_BYTES_MIN {
        return None;
    }
    let bytes = values.saturating_mul(VALUE_BYTES).min(FILTER_BYTES_MAX);
    let mut filter = Sbbf::new_with_num_of_bytes(bytes);
    insert(&mut filter);
    let wrong = filter.estimated_fpp();
    if wrong > WRONG_MAX || distinct(&filter, wrong) < DISTINCT_MIN as f64 {
        return None;
    }
    filter.fold_to_target_fpp(WRONG_AIM);
    Some(filter)
}

/// Bytes of the file that a reader need not fetch when a filter says no.
fn spared(chunk: &ColumnChunkMetaData) -> u64 {
    let dictionary = chunk.dictionary_page_offset().map(|start| chunk.data_page_offset() - start);
    u64::try_from(dictionary.unwrap_or_else(|| chunk.compressed_size())).unwrap_or(0)
}

/// About how many different values are in a filter, by how full it is: each sets one of the 32 bits of each word.
fn distinct(filter: &Sbbf, wrong: f64) -> f64 {
    let full = wrong.powf(1.0 / 8.0);
    let empty_after_one = 1.0 - 1.0 / (filter.num_blocks() as f64 * 32.0);
    (1.0 - full).ln() / empty_after_one.ln()
}

fn size(filter: &Sbbf) -> u64 {
    filter.num_blocks() as u64 * BLOCK_BYTES + HEADER_BYTES_MAX
}

/// Chunks of a row group that wait, each with the filter that it would like to have.
#[derive(Default)]
pub(crate) struct Pending {
    chunks: Vec<(Bytes, ColumnCloseResult)>,
    bytes: usize,
    /// Bytes of all chunks so far, and of the filters that they got.
    written: u64,
    used: u64,
}

impl Pending {
    /// Takes a chunk, and says whether there are enough.
    pub(crate) fn push(&mut self, bytes: Bytes, close: ColumnCloseResult) -> bool {
        self.bytes += bytes.len();
        self.written += bytes.len() as u64;
        self.chunks.push((bytes, close));
        self.bytes >= PENDING_BYTES_MAX
    }

    /// Bytes of all filters so far.
    pub(crate) fn filter_bytes(&self) -> u64 {
        self.used
    }

    /// All chunks that wait. The filters that spare the most come first; those that there is no room for are gone.
    pub(crate) fn take(&mut self) -> Vec<(Bytes, ColumnCloseResult)> {
        self.bytes = 0;
        let mut chunks = std::mem::take(&mut self.chunks);
        let mut by_use: Vec<&mut ColumnCloseResult> = chunks.iter_mut().map(|(_, close)| close).collect();
        by_use.sort_by_key(|close| Reverse(spared(&close.metadata)));
        for close in by_use {
            let left = (self.written / ROW_GROUP_SHARE).saturating_sub(self.used);
            let fits = |filter: &mut Sbbf| {
                if size(filter) > left {
                    filter.fold_to_target_fpp(WRONG_MAX);
                }
                size(filter) <= left
            };
            close.bloom_filter = close.bloom_filter.take().and_then(|mut f| fits(&mut f).then_some(f));
            self.used += close.bloom_filter.as_ref().map_or(0, size);
        }
        chunks
    }
}
