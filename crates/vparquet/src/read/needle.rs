//! Looks for single values of an attribute by bloom filters and statistics, before anything else of a row group is read.
//!
//! What must stay true: it says no only if every leaf that can hold the attribute says so. Of a filter just the 32 bytes
//! are fetched that know about the value.

use std::ops::Range;

use parquet::basic::Type as Physical;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::statistics::Statistics;
use trackway_spans::{Level, OneOf};

use super::prune::own_columns;
use super::{Read, ReadError, RowGroup};
use crate::layout::Values;
use crate::sbbf::{self, BLOCK_BYTES, HEADER_BYTES_MAX, Needle};

/// More values than this are not looked for one by one: a dictionary is read in one go.
const NEEDLES_MAX: usize = 64;

/// What is known of a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// None of the values is there.
    No,
    /// One may be there.
    Maybe,
}

/// What is known of a leaf, or what to fetch to know it.
enum Leaf {
    Known(Said),
    Missing(Vec<Range<u64>>),
}

/// For each of the levels whether the attribute may have one of the values there.
pub(super) fn look(
    group: &mut RowGroup,
    levels: &[Level],
    key: &[u8],
    one_of: &OneOf,
) -> Result<Read<Vec<Said>>, ReadError> {
    let (mut said, mut missing) = (Vec::with_capacity(levels.len()), Vec::new());
    for level in levels {
        match at_level(group, *level, key, one_of) {
            Leaf::Known(known) => said.push(known),
            Leaf::Missing(ranges) => missing.extend(ranges),
        }
    }
    Ok(if missing.is_empty() { Read::Ready(said) } else { Read::NeedsRanges(missing) })
}

fn at_level(group: &RowGroup, level: Level, key: &[u8], one_of: &OneOf) -> Leaf {
    let layout = group.file.layout;
    let is_service = level == Level::Resource && key == b"service.name";
    if is_service || layout.values(level) != Values::Typed {
        return Leaf::Known(Said::Maybe);
    }
    let mut missing = Vec::new();
    let attrs = &layout.attrs;
    // JSON holds arrays of mixed types and long texts: what is in them is not known.
    let json = attrs.json.iter().filter_map(|name| group.file.leaf(&layout.path(level, name)));
    for leaf in json {
        if !is_empty(chunk(group, leaf)) && group.may_be_json(level, key) {
            return Leaf::Known(Said::Maybe);
        }
    }
    let generic = [attrs.text, attrs.int, attrs.float].map(|name| layout.path(level, name));
    for path in own_columns(group, level, key).into_iter().chain(generic) {
        let Some(leaf) = group.file.leaf(&path) else { continue };
        match in_leaf(group, leaf, one_of) {
            Leaf::Known(Said::No) => {}
            Leaf::Known(Said::Maybe) => return Leaf::Known(Said::Maybe),
            Leaf::Missing(ranges) => missing.extend(ranges),
        }
    }
    if missing.is_empty() { Leaf::Known(Said::No) } else { Leaf::Missing(missing) }
}

fn chunk(group: &RowGroup, leaf: usize) -> &ColumnChunkMetaData {
    group.file.metadata.row_group(group.index).column(leaf)
}

/// Whether a column has no values, as far as the footer says so.
pub(super) fn is_empty(chunk: &ColumnChunkMetaData) -> bool {
    let nulls = chunk.statistics().and_then(Statistics::null_count_opt);
    nulls.is_some_and(|nulls| i64::try_from(nulls) == Ok(chunk.num_values()))
}

/// Whether a leaf may hold one of the values.
fn in_leaf(group: &RowGroup, leaf: usize, one_of: &OneOf) -> Leaf {
    let chunk = chunk(group, leaf);
    if is_empty(chunk) {
        return Leaf::Known(Said::No);
    }
    match (one_of, chunk.column_type()) {
        (OneOf::Texts(texts), Physical::BYTE_ARRAY) => {
            let needles: Vec<Needle<'_>> = texts.iter().map(|text| Needle::Text(text)).collect();
            in_filter(group, chunk, &needles)
        }
        (OneOf::Number(None, _), Physical::INT64) => Leaf::Known(Said::No),
        (OneOf::Number(Some(number), _), Physical::INT64) => match chunk.statistics() {
            Some(Statistics::Int64(range)) if outside(range.min_opt(), range.max_opt(), number) => {
                Leaf::Known(Said::No)
            }
            _ => in_filter(group, chunk, &[Needle::Int(*number)]),
        },
        (OneOf::Number(_, number), Physical::DOUBLE) => match chunk.statistics() {
            Some(Statistics::Double(range)) if outside(range.min_opt(), range.max_opt(), number) => {
                Leaf::Known(Said::No)
            }
            // Both zeros are equal.
            _ if *number == 0.0 => in_filter(group, chunk, &[Needle::Float(0.0), Needle::Float(-0.0)]),
            _ => in_filter(group, chunk, &[Needle::Float(*number)]),
        },
        // A text is no number, and a number no text.
        (OneOf::Texts(_), Physical::INT64 | Physical::DOUBLE) | (OneOf::Number(..), Physical::BYTE_ARRAY) => {
            Leaf::Known(Said::No)
        }
        _ => Leaf::Known(Said::Maybe),
    }
}

fn outside<T: PartialOrd>(least: Option<&T>, greatest: Option<&T>, value: &T) -> bool {
    least.is_some_and(|least| value < least) || greatest.is_some_and(|greatest| value > greatest)
}

/// Whether a leaf may hold one of the values, by its filter.
fn in_filter(group: &RowGroup, chunk: &ColumnChunkMetaData, needles: &[Needle<'_>]) -> Leaf {
    let maybe = Leaf::Known(Said::Maybe);
    let Some(start) = chunk.bloom_filter_offset().and_then(|start| u64::try_from(start).ok()) else {
        return maybe;
    };
    if needles.len() > NEEDLES_MAX {
        return maybe;
    }
    let end = match chunk.bloom_filter_length().map(u64::try_from) {
        Some(Ok(length)) => start.checked_add(length),
        Some(Err(_)) => None,
        None => Some(group.file.size),
    };
    let Some(end) = end.filter(|end| *end <= group.file.size && *end > start) else { return maybe };
    let implied = chunk.bloom_filter_length().and_then(|_| sbbf::implied(end - start));
    let (header, bytes) = match implied.filter(|_| group.file.is_ours) {
        Some(implied) => implied,
        None => {
            let range = start..end.min(start + HEADER_BYTES_MAX);
            let Some(read) = group.fetched.find(range.start, range.end - range.start) else {
                return Leaf::Missing(std::iter::once(range).collect());
            };
            let Some(read) = sbbf::read_header(&read) else { return maybe };
            read
        }
    };
    if start + header + bytes > end {
        return maybe;
    }
    let mut missing = Vec::new();
    for needle in needles {
        let at = start + header + needle.block(bytes / BLOCK_BYTES) * BLOCK_BYTES;
        match group.fetched.find(at, BLOCK_BYTES) {
            Some(block) if needle.may_be_in(&block) => return maybe,
            Some(_) => {}
            None => missing.push(at..at + BLOCK_BYTES),
        }
    }
    if missing.is_empty() { Leaf::Known(Said::No) } else { Leaf::Missing(missing) }
}
