//! Finds the traces of a row group whose identifiers lie in given ranges, by reading as few of them as can be.

use std::ops::Range;

use parquet::file::page_index::column_index::ColumnIndexMetaData;
use trackway_common::TraceId;

use super::{Read, ReadError, RowGroup};
use crate::leaf;

/// Ranges of identifiers, both ends included.
pub(super) type Ids<'a> = &'a [(TraceId, TraceId)];

fn overlaps(ids: Ids<'_>, least: TraceId, greatest: TraceId) -> bool {
    ids.iter().any(|(from, to)| *from <= greatest && *to >= least)
}

/// Whether the row group may hold such a trace, as far as the footer says.
pub(super) fn may_hold(group: &RowGroup, ids: Ids<'_>) -> bool {
    if let Some(known) = &group.ids {
        return known.iter().any(|id| overlaps(ids, *id, *id));
    }
    pages(group, ids).is_none_or(|pages| pages.contains(&true))
}

/// For each page of trace ids whether it may hold one of these; `None` when the footer does not say.
fn pages(group: &RowGroup, ids: Ids<'_>) -> Option<Vec<bool>> {
    let leaf = group.file.leaf("TraceID")?;
    let index = group.file.metadata.page_index()?.column_index(group.index, leaf)?;
    let bounds = match index {
        ColumnIndexMetaData::BYTE_ARRAY(bounds) => bounds,
        _ => return None,
    };
    let locations = group.file.pages(group.index, leaf)?;
    let page = |page: usize| {
        let id = |bytes: Option<&[u8]>| bytes.and_then(TraceId::from_bytes);
        let (least, greatest) = (id(bounds.min_value(page)), id(bounds.max_value(page)));
        // Bounds that were cut short, or are not there, say nothing.
        let cut = |bytes: Option<&[u8]>| bytes.is_none_or(|bytes| bytes.len() != 16);
        let unknown = cut(bounds.min_value(page)) || cut(bounds.max_value(page));
        unknown || least.zip(greatest).is_none_or(|(least, greatest)| overlaps(ids, least, greatest))
    };
    (bounds.num_pages() as usize == locations.len()).then(|| (0..locations.len()).map(page).collect())
}

/// The rows of such traces, ascending.
pub(super) fn rows(group: &mut RowGroup, ids: Ids<'_>) -> Result<Read<Vec<u32>>, ReadError> {
    let wanted = |all: &[TraceId], first: u32| -> Vec<u32> {
        let rows = all.iter().zip(first..).filter(|(id, _)| overlaps(ids, **id, **id));
        rows.map(|(_, row)| row).collect()
    };
    if let Some(known) = &group.ids {
        return Ok(Read::Ready(wanted(known, 0)));
    }
    let Some(leaf) = group.file.leaf("TraceID") else {
        return Err(group.structure("no column of trace ids"));
    };
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for rows in candidates(group, leaf, ids) {
        let numbers: Vec<u32> = rows.clone().collect();
        let ranges = group.file.ranges(group.index, leaf, Some(&numbers));
        let new: Vec<Range<u64>> = ranges.into_iter().filter(|range| !group.fetched.has(range)).collect();
        if !new.is_empty() || !missing.is_empty() {
            missing.extend(new);
            continue;
        }
        let wanted_rows = leaf::Wanted {
            chunk: group.file.metadata.row_group(group.index).column(leaf),
            pages: group.file.pages(group.index, leaf),
            total_rows: group.file.rows(group.index),
            rows: Some(&numbers),
            rep: false,
            def: false,
        };
        let decoded = leaf::decode(&wanted_rows, &group.fetched, None);
        let decoded = decoded.map_err(|error| group.failed(leaf, error))?;
        let Some((places, dictionary)) = decoded.bytes() else {
            return Err(group.structure("trace ids that are no byte strings"));
        };
        let id = |place: &u32| TraceId::from_bytes(dictionary.get(*place as usize)).unwrap_or_default();
        found.extend(wanted(&places.iter().map(id).collect::<Vec<_>>(), rows.start));
    }
    Ok(if missing.is_empty() { Read::Ready(found) } else { Read::NeedsRanges(missing) })
}

/// Runs of rows in pages that may hold such a trace; all rows when the footer does not say.
fn candidates(group: &RowGroup, leaf: usize, ids: Ids<'_>) -> Vec<Range<u32>> {
    let all = u32::try_from(group.file.rows(group.index)).unwrap_or(u32::MAX);
    let (Some(keep), Some(locations)) = (pages(group, ids), group.file.pages(group.index, leaf)) else {
        return std::iter::once(0..all).collect();
    };
    let first = |page: usize| {
        let row = locations.get(page).map(|location| location.first_row_index);
        row.and_then(|row| u32::try_from(row).ok()).unwrap_or(all)
    };
    let kept = keep.iter().enumerate().filter(|(_, keep)| **keep);
    kept.map(|(page, _)| first(page)..first(page + 1)).filter(|rows| !rows.is_empty()).collect()
}
