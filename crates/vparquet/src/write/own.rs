//! Which attributes have a column of their own, and what those columns hold.
//!
//! Only the first such attribute of an owner goes there, and only if it is of the column's type; what comes after it
//! stays among the generic ones, so that nothing is lost. In vParquet5 a column also takes arrays of its type, as Tempo's
//! do, but only of two elements and more: one element alone is read as what it is, without its array.

use trackway_spans::Level;

use super::attributes::{Attr, Other};
use super::texts::TextId;
use crate::layout::{ColumnType, Layout};
use crate::meta::{DedicatedColumn, Format};

/// One such column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwnColumn {
    kind: ColumnType,
    /// Its values are stored without a dictionary.
    pub(crate) is_blob: bool,
}

/// The columns of one level, in the order of the leaves: those of every block first, then the dedicated ones.
#[derive(Debug, Default)]
pub(crate) struct LevelColumns {
    columns: Vec<OwnColumn>,
    /// By number of the key: the column for texts, or [`NOT_OWN`].
    texts: Vec<u8>,
    /// By number of the key: the column for integers, or [`NOT_OWN`].
    ints: Vec<u8>,
    /// Whether arrays go there too.
    takes_arrays: bool,
}

const NOT_OWN: u8 = u8::MAX;

/// Attributes with a column of their own, by the numbers of their keys.
pub(crate) struct OwnColumns {
    keys: Vec<Vec<u8>>,
    levels: [LevelColumns; 5],
}

impl OwnColumns {
    /// `dedicated` must be usable in the format.
    pub(crate) fn new(format: Format, dedicated: &[DedicatedColumn]) -> Self {
        let layout = Layout::of(format);
        let mut own = Self { keys: Vec::new(), levels: std::array::from_fn(|_| LevelColumns::default()) };
        for level in Level::ALL {
            own.levels[level as usize].takes_arrays = layout.is_dynamic();
            for (key, _) in layout.fixed_texts(level) {
                own.add(level, ColumnType::Text, Some(key), false);
            }
            for (key, _) in layout.fixed_ints(level) {
                own.add(level, ColumnType::Int, Some(key), false);
            }
            for kind in [ColumnType::Text, ColumnType::Int] {
                let of = |column: &&DedicatedColumn| {
                    column.level() == Some(level) && column.column_type() == Some(kind)
                };
                let columns: Vec<&DedicatedColumn> = dedicated.iter().filter(of).collect();
                columns.iter().for_each(|column| own.add(level, kind, Some(&column.name), column.is_blob()));
                // In a schema that is always the same the rest of the columns is empty.
                let rest = if layout.is_dynamic() { 0 } else { layout.dedicated_max(level, kind) };
                (columns.len()..rest).for_each(|_| own.add(level, kind, None, false));
            }
        }
        own
    }

    fn add(&mut self, level: Level, kind: ColumnType, key: Option<&str>, is_blob: bool) {
        let number = key.map(|key| self.number(key.as_bytes()) as usize);
        let level = &mut self.levels[level as usize];
        let column = level.columns.len() as u8; // at most 25
        level.columns.push(OwnColumn { kind, is_blob: is_blob && kind == ColumnType::Text });
        if let Some(number) = number {
            let table = if kind == ColumnType::Text { &mut level.texts } else { &mut level.ints };
            table.resize(table.len().max(number + 1), NOT_OWN);
            table[number] = column;
        }
    }

    /// The number of a key: 0 is the empty string's, as in [`super::texts::Texts`].
    fn number(&mut self, key: &[u8]) -> TextId {
        let known = self.keys.iter().position(|known| known == key);
        let at = known.unwrap_or_else(|| {
            self.keys.push(key.to_vec());
            self.keys.len() - 1
        });
        at as TextId + 1
    }

    /// The keys, in the order of their numbers, which begin with 1.
    pub(crate) fn keys(&self) -> Vec<&[u8]> {
        self.keys.iter().map(Vec::as_slice).collect()
    }

    /// The columns of a level.
    pub(crate) fn of(&self, level: Level) -> &LevelColumns {
        &self.levels[level as usize]
    }
}

impl LevelColumns {
    /// The column that an attribute of an owner goes to.
    pub(crate) fn column(&self, key: TextId, value: &Attr) -> Option<usize> {
        match value {
            Attr::Text(_) => own(&self.texts, key),
            Attr::Int(_) => own(&self.ints, key),
            Attr::Other(other) => self.column_of_array(key, other),
            Attr::Float(_) | Attr::Bool(_) => None,
        }
    }

    fn column_of_array(&self, key: TextId, value: &Other) -> Option<usize> {
        match value {
            Other::Texts(texts) if self.takes_arrays && texts.len() > 1 => own(&self.texts, key),
            Other::Ints(ints) if self.takes_arrays && ints.len() > 1 => own(&self.ints, key),
            _ => None,
        }
    }
}

#[inline]
fn own(table: &[u8], key: TextId) -> Option<usize> {
    table.get(key as usize).filter(|column| **column != NOT_OWN).map(|column| usize::from(*column))
}

/// The values of one such column: few owners have one.
#[derive(Debug, Default)]
pub(crate) struct Sparse<T> {
    /// Places of the owners that have a value, ascending; that of an owner with an array as often as it has elements.
    pub(crate) at: Vec<u32>,
    pub(crate) values: Vec<T>,
}

impl<T: Copy> Sparse<T> {
    /// Takes the value of the owner at `place`, unless it has one already.
    #[inline]
    fn take(&mut self, place: u32, value: T) -> bool {
        let first = self.at.last() != Some(&place);
        if first {
            self.at.push(place);
            self.values.push(value);
        }
        first
    }

    fn take_all(&mut self, place: u32, values: &[T]) -> bool {
        let first = self.at.last() != Some(&place);
        if first {
            self.at.resize(self.at.len() + values.len(), place);
            self.values.extend_from_slice(values);
        }
        first
    }
}

/// The values of one column.
#[derive(Debug)]
pub(crate) enum OwnValues {
    Texts(Sparse<TextId>),
    Ints(Sparse<i64>),
}

/// What the owners of one level have in columns of their own.
pub(crate) struct Own<'a> {
    columns: &'a LevelColumns,
    values: Vec<OwnValues>,
}

impl<'a> Own<'a> {
    /// Nothing yet.
    pub(crate) fn new(columns: &'a LevelColumns) -> Self {
        let values = |column: &OwnColumn| match column.kind {
            ColumnType::Text => OwnValues::Texts(Sparse::default()),
            ColumnType::Int => OwnValues::Ints(Sparse::default()),
        };
        Self { columns, values: columns.columns.iter().map(values).collect() }
    }

    /// Takes a text of the owner at `place`, if it has a column and is the first.
    #[inline]
    pub(crate) fn text(&mut self, key: TextId, place: u32, value: TextId) -> bool {
        match own(&self.columns.texts, key).map(|column| &mut self.values[column]) {
            Some(OwnValues::Texts(values)) => values.take(place, value),
            _ => false,
        }
    }

    /// Takes an integer of the owner at `place`, if it has a column and is the first.
    #[inline]
    pub(crate) fn int(&mut self, key: TextId, place: u32, value: i64) -> bool {
        match own(&self.columns.ints, key).map(|column| &mut self.values[column]) {
            Some(OwnValues::Ints(values)) => values.take(place, value),
            _ => false,
        }
    }

    /// Takes an array of the owner at `place`, if it has a column and is the first.
    pub(crate) fn array(&mut self, key: TextId, place: u32, value: &Other) -> bool {
        self.columns.column_of_array(key, value).is_some_and(|column| self.put_array(column, place, value))
    }

    /// Puts into a column what [`LevelColumns::column`] said goes there.
    pub(crate) fn put(&mut self, column: usize, place: u32, value: &Attr) {
        match (&mut self.values[column], value) {
            (OwnValues::Texts(values), Attr::Text(text)) => _ = values.take(place, *text),
            (OwnValues::Ints(values), Attr::Int(int)) => _ = values.take(place, *int),
            (_, Attr::Other(other)) => _ = self.put_array(column, place, other),
            _ => {}
        }
    }

    fn put_array(&mut self, column: usize, place: u32, value: &Other) -> bool {
        match (&mut self.values[column], value) {
            (OwnValues::Texts(values), Other::Texts(texts)) => values.take_all(place, texts),
            (OwnValues::Ints(values), Other::Ints(ints)) => values.take_all(place, ints),
            _ => false,
        }
    }

    /// All columns with their values, in the order of the leaves.
    pub(crate) fn columns(&self) -> impl Iterator<Item = (OwnColumn, &OwnValues)> {
        self.columns.columns.iter().copied().zip(&self.values)
    }
}
