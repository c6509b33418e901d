//! Which attributes have a column of their own, and what those columns hold.
//!
//! Only the first such attribute of an owner goes there, and only if it is of the column's type; what comes after it
//! stays among the generic ones, so that nothing is lost.

use trackway_spans::Level;

use super::texts::{NONE, TextId};
use crate::meta::DedicatedColumn;
use crate::schema::{DEDICATED_PER_SCOPE, RESOURCE_COLUMNS, SPAN_COLUMNS, SPAN_INT_COLUMN};

/// Attributes with a column of their own, by the numbers of their keys.
///
/// The columns of a level are numbered in the order of the leaves: those of every block first, then the dedicated ones.
pub(crate) struct OwnColumns {
    keys: Vec<Vec<u8>>,
    /// By number of the key: the column, or `NOT_OWN`.
    resource: Vec<u8>,
    span: Vec<u8>,
    /// Number of the key of `HttpStatusCode`.
    pub(crate) span_int: TextId,
}

const NOT_OWN: u8 = u8::MAX;

/// Text columns of a resource, dedicated ones included.
pub(crate) const OF_RESOURCE: usize = RESOURCE_COLUMNS.len() + DEDICATED_PER_SCOPE;
/// Text columns of a span, dedicated ones included.
pub(crate) const OF_SPAN: usize = SPAN_COLUMNS.len() + DEDICATED_PER_SCOPE;

impl OwnColumns {
    pub(crate) fn new(dedicated: &[DedicatedColumn]) -> Self {
        let mut columns = Self { keys: Vec::new(), resource: Vec::new(), span: Vec::new(), span_int: 0 };
        for (column, (key, _)) in RESOURCE_COLUMNS.iter().enumerate() {
            columns.add(Level::Resource, key.as_bytes(), column);
        }
        for (column, (key, _)) in SPAN_COLUMNS.iter().enumerate() {
            columns.add(Level::Span, key.as_bytes(), column);
        }
        columns.span_int = columns.number(SPAN_INT_COLUMN.0.as_bytes());
        let mut taken = [0; 5];
        for column in crate::meta::usable_in_vparquet4(dedicated) {
            let Some(level) = column.level() else { continue };
            let first = if level == Level::Resource { RESOURCE_COLUMNS.len() } else { SPAN_COLUMNS.len() };
            columns.add(level, column.name.as_bytes(), first + taken[level as usize]);
            taken[level as usize] += 1;
        }
        columns
    }

    /// The number of a key: 0 is the empty string's, as in [`super::texts::Texts`].
    fn number(&mut self, key: &[u8]) -> TextId {
        let known = self.keys.iter().position(|known| known == key);
        let at = known.unwrap_or_else(|| {
            self.keys.push(key.to_vec());
            self.keys.len() - 1
        });
        let entries = self.keys.len() + 1;
        self.resource.resize(entries, NOT_OWN);
        self.span.resize(entries, NOT_OWN);
        at as TextId + 1
    }

    fn add(&mut self, level: Level, key: &[u8], column: usize) {
        let number = self.number(key) as usize;
        let table = if level == Level::Resource { &mut self.resource } else { &mut self.span };
        table[number] = column as u8; // at most 18
    }

    /// The keys, in the order of their numbers, which begin with 1.
    pub(crate) fn keys(&self) -> Vec<&[u8]> {
        self.keys.iter().map(Vec::as_slice).collect()
    }

    /// The column of a resource's text attribute.
    #[inline]
    pub(crate) fn of_resource(&self, key: TextId) -> Option<usize> {
        own(&self.resource, key)
    }

    /// The column of a span's text attribute.
    #[inline]
    pub(crate) fn of_span(&self, key: TextId) -> Option<usize> {
        own(&self.span, key)
    }
}

#[inline]
fn own(table: &[u8], key: TextId) -> Option<usize> {
    table.get(key as usize).filter(|column| **column != NOT_OWN).map(|column| usize::from(*column))
}

/// The values of one such column of spans: few spans have one.
#[derive(Default)]
pub(crate) struct Sparse<T> {
    /// Places of the spans that have a value, ascending.
    pub(crate) at: Vec<u32>,
    pub(crate) values: Vec<T>,
}

impl<T> Sparse<T> {
    /// Takes the value of the span at `place`, unless it has one already.
    #[inline]
    pub(crate) fn take(&mut self, place: u32, value: T) -> bool {
        let first = self.at.last() != Some(&place);
        if first {
            self.at.push(place);
            self.values.push(value);
        }
        first
    }
}

/// The values of a resource's columns; [`NONE`] where there is none.
pub(crate) type OfResource = [TextId; OF_RESOURCE];

/// No values.
pub(crate) const NOTHING: OfResource = [NONE; OF_RESOURCE];
