//! What the columns of a row group say without a look at its spans: which attributes there are, and which values one has.
//! Names come from dictionaries; values of a column are counted by their ids in its dictionary.

use trackway_spans::Level;

use super::assemble::ready;
use super::prune::{dictionary, own_columns};
use super::{Read, ReadError, RowGroup};
use crate::layout;
use crate::leaf::Values;

/// A question that columns can answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outline {
    /// The names of a level's attributes.
    Names {
        /// Of this level.
        level: Level,
        /// Keys of attributes that are left out if they have dedicated columns, unless they have values of other types too.
        hidden: Vec<Vec<u8>>,
    },
    /// The texts of an attribute.
    Texts {
        /// Of this level.
        level: Level,
        /// Key.
        key: Vec<u8>,
    },
    /// The names of spans.
    SpanNames,
    /// The status messages of spans.
    StatusMessages,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outlined {
    /// Names, in no order, some perhaps twice.
    Names(Vec<Vec<u8>>),
    /// Values with how often they occur.
    Texts(Vec<(Vec<u8>, u64)>),
    /// Columns alone cannot tell: the attribute stands among others.
    Unknown,
}

pub(super) fn outline(group: &mut RowGroup, question: &Outline) -> Result<Read<Outlined>, ReadError> {
    match question {
        Outline::Names { level, hidden } => names(group, *level, hidden),
        Outline::Texts { level, key } => texts(group, *level, key),
        Outline::SpanNames => counts(group, &[group.file.layout.path(Level::Span, "Name")]),
        Outline::StatusMessages => counts(group, &[group.file.layout.path(Level::Span, "StatusMessage")]),
    }
}

fn names(group: &mut RowGroup, level: Level, hidden: &[Vec<u8>]) -> Result<Read<Outlined>, ReadError> {
    let layout = group.file.layout;
    if layout.values(level) == layout::Values::InLinks {
        return Ok(Read::Ready(Outlined::Unknown));
    }
    let mut names: Vec<Vec<u8>> = ready!(entries(group, &layout.path(level, layout.attrs.key)))
        .into_iter()
        .filter(|key| !key.is_empty())
        .collect();
    let dedicated: Vec<(Vec<u8>, String)> = group
        .file
        .dedicated
        .iter()
        .filter(|(of, key, _)| *of == level && !hidden.contains(key))
        .map(|(_, key, column)| (key.clone(), column.clone()))
        .collect();
    let own = layout.fixed(level).map(|(key, column)| (key.as_bytes().to_vec(), layout.path(level, column)));
    for (key, column) in own.chain(dedicated).collect::<Vec<_>>() {
        if ready!(has_value(group, &column)) {
            names.push(key);
        }
    }
    if level == Level::Resource
        && ready!(entries(group, &layout.path(level, "ServiceName"))).iter().any(|name| !name.is_empty())
    {
        names.push(b"service.name".to_vec());
    }
    Ok(Read::Ready(Outlined::Names(names)))
}

fn texts(group: &mut RowGroup, level: Level, key: &[u8]) -> Result<Read<Outlined>, ReadError> {
    let layout = group.file.layout;
    if layout.values(level) == layout::Values::InLinks {
        return Ok(Read::Ready(Outlined::Unknown));
    }
    let columns = if level == Level::Resource && key == b"service.name" {
        vec![layout.path(level, "ServiceName")]
    } else {
        own_columns(group, level, key)
    };
    let keys = ready!(entries(group, &layout.path(level, layout.attrs.key)));
    let among_others = keys.iter().any(|other| other == key);
    if among_others { Ok(Read::Ready(Outlined::Unknown)) } else { counts(group, &columns) }
}

/// The values of columns with how often each occurs.
fn counts(group: &mut RowGroup, columns: &[String]) -> Result<Read<Outlined>, ReadError> {
    let mut found = Vec::new();
    for column in columns {
        let Some(leaf) = group.file.leaf(column) else { continue };
        ready!(group.decode(&[(leaf, false)]));
        let Some(leaf) = group.decoded(leaf) else { continue };
        let Some((ids, dictionary)) = leaf.bytes() else { return Ok(Read::Ready(Outlined::Unknown)) };
        let mut counts = vec![0_u64; dictionary.len()];
        ids.iter().for_each(|id| counts[*id as usize] += 1);
        let texts = dictionary.iter().zip(counts).filter(|(_, count)| *count > 0);
        found.extend(texts.map(|(text, count)| (text.to_vec(), count)));
    }
    Ok(Read::Ready(Outlined::Texts(found)))
}

/// The distinct values of a column of texts, or all of them where it has no dictionary.
fn entries(group: &mut RowGroup, column: &str) -> Result<Read<Vec<Vec<u8>>>, ReadError> {
    let Some(leaf) = group.file.leaf(column) else { return Ok(Read::Ready(Vec::new())) };
    let found = match ready!(dictionary(group, column)) {
        Some(dictionary) => dictionary,
        None => {
            ready!(group.decode(&[(leaf, false)]));
            let Some(leaf) = group.decoded(leaf) else { return Ok(Read::Ready(Vec::new())) };
            std::sync::Arc::clone(leaf)
        }
    };
    let texts = found.bytes().map(|(_, texts)| texts.iter().map(<[u8]>::to_vec).collect());
    Ok(Read::Ready(texts.unwrap_or_default()))
}

/// Whether a column has any value.
fn has_value(group: &mut RowGroup, column: &str) -> Result<Read<bool>, ReadError> {
    let Some(leaf) = group.file.leaf(column) else { return Ok(Read::Ready(false)) };
    if let Some(dictionary) = ready!(dictionary(group, column)) {
        return Ok(Read::Ready(dictionary.bytes().is_some_and(|(_, texts)| texts.len() > 0)));
    }
    ready!(group.decode(&[(leaf, false)]));
    Ok(Read::Ready(group.decoded(leaf).is_some_and(|leaf| match &leaf.values {
        Values::Bytes { ids, .. } => !ids.is_empty(),
        Values::Ints(values) => !values.is_empty(),
        Values::Floats(values) => !values.is_empty(),
        Values::Bools(values) => !values.is_empty(),
    })))
}

/// Whether a column of texts has any that is not empty.
pub(super) fn has_text(group: &mut RowGroup, column: &str) -> Result<Read<bool>, ReadError> {
    Ok(Read::Ready(ready!(entries(group, column)).iter().any(|text| !text.is_empty())))
}
