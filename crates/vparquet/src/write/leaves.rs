//! Writes the leaves of one row group, strictly in the order of the schema.

use bytes::Bytes;
use parquet::column::writer::ColumnCloseResult;
use parquet::schema::types::{ColumnDescPtr, SchemaDescriptor};
use trackway_spans::Level;

use super::WriteError;
use super::attributes::{AttrRows, Kind};
use super::own::{Own, OwnValues};
use super::texts::{TextId, Texts};
use super::values::{Mapper, RawBytes, Values};
use crate::layout::Layout;
use crate::meta::Format;
use crate::pages::{ChunkEncoder, Levels};

/// Where finished column chunks go.
pub(crate) type Append<'a> = dyn FnMut(Bytes, ColumnCloseResult) -> Result<(), WriteError> + 'a;

/// Writes leaf after leaf of one row group.
pub(crate) struct Leaves<'a> {
    schema: &'a SchemaDescriptor,
    layout: &'static Layout,
    next: usize,
    encoder: &'a mut ChunkEncoder,
    mapper: &'a mut Mapper,
    append: &'a mut Append<'a>,
}

impl<'a> Leaves<'a> {
    pub(crate) fn new(
        schema: &'a SchemaDescriptor,
        layout: &'static Layout,
        encoder: &'a mut ChunkEncoder,
        mapper: &'a mut Mapper,
        append: &'a mut Append<'a>,
    ) -> Self {
        Self { schema, layout, next: 0, encoder, mapper, append }
    }

    /// Whether the format is vParquet5, which has some leaves more, and some in another place.
    pub(crate) fn is_v5(&self) -> bool {
        self.layout.format == Format::VParquet5
    }

    fn descriptor(&mut self) -> Result<(ColumnDescPtr, bool), WriteError> {
        let leaf = self.schema.columns().get(self.next).ok_or(WriteError::Schema)?;
        self.next += 1;
        Ok((leaf.clone(), self.compressed(leaf)))
    }

    /// Whether a leaf is compressed: the same in all blocks, since readers take one codec for a column of a file. Ids are
    /// random by their specification and do not get smaller.
    fn compressed(&self, leaf: &ColumnDescPtr) -> bool {
        let path = leaf.path().string();
        path != "TraceID" && path != self.layout.path(Level::Span, "SpanID")
    }

    /// Writes a leaf whose values are no strings.
    pub(crate) fn values(&mut self, levels: Levels<'_>, values: &Values<'_>) -> Result<(), WriteError> {
        let (leaf, compress) = self.descriptor()?;
        let (bytes, close) = self.encoder.encode(&leaf, levels, values, None, compress)?;
        (self.append)(bytes, close)
    }

    /// Writes a leaf of strings.
    pub(crate) fn texts(
        &mut self,
        levels: Levels<'_>,
        numbers: &[TextId],
        texts: &Texts<'_>,
    ) -> Result<(), WriteError> {
        let (leaf, compress) = self.descriptor()?;
        let mapped = self.mapper.map(numbers, texts);
        let dictionary = mapped.dictionary(texts);
        let values = match &dictionary {
            Some(dictionary) => Values::Ids(mapped.ids, dictionary.bits()),
            None => Values::Texts(numbers, texts, mapped.plain_bytes),
        };
        let (bytes, close) = self.encoder.encode(&leaf, levels, &values, dictionary.as_ref(), compress)?;
        (self.append)(bytes, close)
    }

    /// Writes a leaf of strings without a dictionary.
    fn blobs(&mut self, levels: Levels<'_>, numbers: &[TextId], texts: &Texts<'_>) -> Result<(), WriteError> {
        let bytes = numbers.iter().map(|number| texts.get(*number).len()).sum();
        self.values(levels, &Values::Texts(numbers, texts, bytes))
    }

    /// Writes byte strings of a fixed length.
    pub(crate) fn raw(&mut self, levels: Levels<'_>, raw: &RawBytes) -> Result<(), WriteError> {
        self.values(levels, &Values::Raw(raw))
    }

    /// Writes the columns of the attributes that have one of their own.
    pub(crate) fn own(
        &mut self,
        owners: Levels<'_>,
        own: &Own<'_>,
        texts: &Texts<'_>,
    ) -> Result<(), WriteError> {
        for (column, values) in own.columns() {
            let max_rep = self.schema.columns().get(self.next).map_or(0, |leaf| leaf.max_rep_level());
            match values {
                OwnValues::Texts(values) => {
                    let levels = OwnLevels::new(owners, &values.at, max_rep);
                    let levels = levels.levels(owners);
                    if column.is_blob {
                        self.blobs(levels, &values.values, texts)?;
                    } else {
                        self.texts(levels, &values.values, texts)?;
                    }
                }
                OwnValues::Ints(values) => {
                    let levels = OwnLevels::new(owners, &values.at, max_rep);
                    self.values(levels.levels(owners), &Values::Plain(&values.values))?;
                }
            }
        }
        Ok(())
    }

    /// Writes the seven leaves of a level's attributes.
    pub(crate) fn attributes(&mut self, rows: &AttrRows, texts: &Texts<'_>) -> Result<(), WriteError> {
        let entries = Levels { rep: &rows.rep, def: &rows.def, rows: &rows.rows };
        self.texts(entries, &rows.keys, texts)?;
        let kinds = rows.kinds.iter().filter(|kind| **kind != Kind::Nothing);
        let arrays: Vec<u8> = kinds.map(|kind| u8::from(kind.is_array())).collect();
        self.values(entries, &Values::Bools(&arrays))?;
        for kind in [Kind::Text, Kind::Int, Kind::Float, Kind::Bool] {
            let expanded = rows.expanded(kind);
            let def;
            let levels = match &expanded {
                Some((rep, def, rows)) => Levels { rep, def, rows },
                None => {
                    def = rows.def_of(kind);
                    Levels { def: &def, ..entries }
                }
            };
            match kind {
                Kind::Text => self.texts(levels, &rows.texts, texts)?,
                Kind::Int => self.values(levels, &Values::Plain(&rows.ints))?,
                Kind::Float => self.values(levels, &Values::Floats(&rows.floats))?,
                _ => self.values(levels, &Values::Bools(&rows.bools))?,
            }
        }
        let def = rows.def_of(Kind::Unsupported);
        self.texts(Levels { def: &def, ..entries }, &rows.unsupported, texts)
    }

    /// Checks that no leaf was left out.
    pub(crate) fn finish(self) -> Result<(), WriteError> {
        if self.next == self.schema.num_columns() { Ok(()) } else { Err(WriteError::Schema) }
    }
}

/// Levels of a leaf, where they are not those of its owners.
struct OwnLevels {
    /// Repetition levels and row starts, where owners have several values.
    repeated: Option<(Vec<u8>, Vec<u32>)>,
    def: Vec<u8>,
}

impl OwnLevels {
    /// The levels of a column in which the owners at these places have a value, or several.
    fn new(owners: Levels<'_>, at: &[u32], max_rep: i16) -> Self {
        if at.is_sorted_by(|a, b| a < b) {
            let mut def = owners.def.to_vec();
            at.iter().for_each(|at| def[*at as usize] += 1);
            return Self { repeated: None, def };
        }
        let entries = owners.def.len() + at.len();
        let (mut rep, mut def) = (Vec::with_capacity(entries), Vec::with_capacity(entries));
        let mut rows = Vec::with_capacity(owners.rows.len());
        let mut values = at.chunk_by(|a, b| a == b).peekable();
        for (owner, (owner_rep, owner_def)) in (0_u32..).zip(owners.rep.iter().zip(owners.def)) {
            while owners.rows.get(rows.len()) == Some(&owner) {
                rows.push(rep.len() as u32);
            }
            let count = values.next_if(|of| of[0] == owner).map_or(0, <[u32]>::len);
            rep.push(*owner_rep);
            rep.resize(rep.len() + count.max(1) - 1, max_rep as u8);
            def.resize(def.len() + count.max(1), owner_def + u8::from(count > 0));
        }
        rows.resize(owners.rows.len(), rep.len() as u32);
        Self { repeated: Some((rep, rows)), def }
    }

    fn levels<'l>(&'l self, owners: Levels<'l>) -> Levels<'l> {
        match &self.repeated {
            Some((rep, rows)) => Levels { rep, def: &self.def, rows },
            None => Levels { def: &self.def, ..owners },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_with_several_values_take_several_entries() {
        // Two rows: owners 0 and 1, then owner 2.
        let owners = Levels { rep: &[0, 3, 0], def: &[3, 3, 3], rows: &[0, 2, 3] };
        let levels = OwnLevels::new(owners, &[0, 2], 4);
        assert!(levels.repeated.is_none());
        assert_eq!(levels.def, [4, 3, 4]);
        let levels = OwnLevels::new(owners, &[1, 1, 1, 2, 2], 4);
        assert_eq!(levels.def, [3, 4, 4, 4, 4, 4]);
        assert_eq!(levels.repeated, Some((vec![0, 3, 4, 4, 0, 4], vec![0, 4, 6])));
    }
}
