//! Passes over row groups that cannot hold what is looked for, by their bloom filters, dictionaries and statistics.

use std::sync::Arc;

use trackway_spans::{Level, Prune, PruneOn};

use super::assemble::ready;
use super::needle::{self, Said};
use super::outline::has_text;
use super::{Read, ReadError, RowGroup, ids};
use crate::layout::Values;
use crate::leaf::Leaf;

pub(super) fn may_match(group: &mut RowGroup, prunes: &[Prune]) -> Result<Read<bool>, ReadError> {
    for prune in prunes {
        if !ready!(one(group, prune)) {
            return Ok(Read::Ready(false));
        }
    }
    Ok(Read::Ready(true))
}

fn one(group: &mut RowGroup, prune: &Prune) -> Result<Read<bool>, ReadError> {
    match &prune.on {
        PruneOn::Name => any_entry(group, &group.file.layout.path(Level::Span, "Name"), prune),
        PruneOn::Status(code) => Ok(Read::Ready(in_range(group, "StatusCode", i64::from(*code)))),
        PruneOn::Kind(code) => Ok(Read::Ready(in_range(group, "Kind", i64::from(*code)))),
        PruneOn::TraceId(ranges) => Ok(Read::Ready(ids::may_hold(group, ranges))),
        PruneOn::Attr { levels, key, value } => {
            // What costs little for all levels first, and at once.
            let mut open = levels.clone();
            if let Some(one_of) = &prune.one_of {
                let mut said = ready!(needle::look(group, levels, key, one_of)).into_iter();
                open.retain(|_| said.next() != Some(Said::No));
            }
            for level in open {
                if ready!(attribute(group, level, key, *value, prune)) {
                    return Ok(Read::Ready(true));
                }
            }
            Ok(Read::Ready(false))
        }
    }
}

/// Whether a number lies between the least and the greatest of a span column.
fn in_range(group: &RowGroup, column: &str, wanted: i64) -> bool {
    use parquet::file::statistics::Statistics;
    let Some(leaf) = group.file.leaf(&group.file.layout.path(Level::Span, column)) else { return true };
    match group.file.metadata.row_group(group.index).column(leaf).statistics() {
        Some(Statistics::Int64(range)) => {
            let (low, high) = (range.min_opt(), range.max_opt());
            low.is_none_or(|low| *low <= wanted) && high.is_none_or(|high| wanted <= *high)
        }
        _ => true,
    }
}

fn attribute(
    group: &mut RowGroup,
    level: Level,
    key: &[u8],
    value: bool,
    prune: &Prune,
) -> Result<Read<bool>, ReadError> {
    let layout = group.file.layout;
    if level == Level::Resource && key == b"service.name" {
        return any_entry(group, &layout.path(level, "ServiceName"), prune);
    }
    for column in own_columns(group, level, key) {
        let holds = if value { any_entry(group, &column, prune)? } else { any_value(group, &column)? };
        match holds {
            Read::Ready(false) => {}
            other => return Ok(other),
        }
    }
    let keys = layout.path(level, layout.attrs.key);
    let Some(dictionary) = ready!(dictionary(group, &keys)) else { return Ok(Read::Ready(true)) };
    let has_key = dictionary.bytes().is_none_or(|(_, entries)| entries.iter().any(|entry| entry == key));
    if !has_key {
        return Ok(Read::Ready(false));
    }
    if !value || layout.values(level) != Values::Typed {
        return Ok(Read::Ready(true));
    }
    if ready!(any_entry(group, &layout.path(level, layout.attrs.text), prune)) {
        return Ok(Read::Ready(true));
    }
    // Arrays of mixed types, and long texts, stand in columns of their own, as JSON.
    if !group.may_be_json(level, key) {
        return Ok(Read::Ready(false));
    }
    for json in layout.attrs.json {
        let path = layout.path(level, json);
        let Some(leaf) = group.file.leaf(&path) else { continue };
        if needle::is_empty(group.file.metadata.row_group(group.index).column(leaf)) {
            continue;
        }
        if group.file.told.is_known(group.index) || ready!(has_text(group, &path)) {
            return Ok(Read::Ready(true));
        }
    }
    Ok(Read::Ready(false))
}

/// Paths of the columns that hold just this attribute.
pub(super) fn own_columns(group: &RowGroup, level: Level, key: &[u8]) -> Vec<String> {
    let layout = group.file.layout;
    let fixed = layout.fixed(level).filter(|(name, _)| name.as_bytes() == key);
    let mut columns: Vec<String> = fixed.map(|(_, column)| layout.path(level, column)).collect();
    let dedicated = group.file.dedicated.iter().filter(|(at, name, _)| *at == level && name == key);
    columns.extend(dedicated.map(|(.., column)| column.clone()));
    columns
}

/// Whether any entry of a column's dictionary passes. Columns without one may hold anything.
fn any_entry(group: &mut RowGroup, path: &str, prune: &Prune) -> Result<Read<bool>, ReadError> {
    if group.file.leaf(path).is_none() {
        return Ok(Read::Ready(false));
    }
    let Some(leaf) = ready!(dictionary(group, path)) else { return Ok(Read::Ready(true)) };
    let found = leaf.bytes().is_none_or(|(_, entries)| entries.iter().any(|entry| (prune.text)(entry)));
    Ok(Read::Ready(found))
}

/// Whether a column has any value at all.
fn any_value(group: &mut RowGroup, path: &str) -> Result<Read<bool>, ReadError> {
    if group.file.leaf(path).is_none() {
        return Ok(Read::Ready(false));
    }
    let Some(leaf) = ready!(dictionary(group, path)) else { return Ok(Read::Ready(true)) };
    Ok(Read::Ready(leaf.bytes().is_none_or(|(_, entries)| entries.len() > 0)))
}

/// The dictionary of a column chunk whose pages all use it; `None` when there is none or the writer does not say.
pub(super) fn dictionary(group: &mut RowGroup, path: &str) -> Result<Read<Option<Arc<Leaf>>>, ReadError> {
    let Some(leaf) = group.file.leaf(path) else { return Ok(Read::Ready(None)) };
    let pages = group.file.pages(group.index, leaf).map(<[_]>::to_vec);
    let chunk = group.file.metadata.row_group(group.index).column(leaf);
    if !crate::leaf::dictionary_only(chunk) {
        return Ok(Read::Ready(None));
    }
    let (Some(pages), Some(start)) = (pages, chunk.dictionary_page_offset()) else {
        return Ok(Read::Ready(None));
    };
    let Some(end) = pages.first().map(|page| page.offset) else { return Ok(Read::Ready(None)) };
    let range = start as u64..end as u64;
    if range.is_empty() {
        return Ok(Read::Ready(None));
    }
    if !group.fetched.has(&range) {
        return Ok(Read::NeedsRanges(vec![range]));
    }
    let decoded = crate::leaf::decode_dictionary(chunk, &range, &group.fetched);
    decoded.map(|leaf| Read::Ready(Some(Arc::new(leaf)))).map_err(|error| group.failed(leaf, error))
}
