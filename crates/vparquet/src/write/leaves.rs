//! Writes the leaves of one row group, strictly in the order of the schema.

use bytes::Bytes;
use parquet::column::writer::ColumnCloseResult;
use parquet::schema::types::ColumnDescPtr;

use super::WriteError;
use super::attributes::{AttrRows, Kind};
use super::own::Sparse;
use super::texts::{TextId, Texts};
use super::values::{Mapper, RawBytes, Values};
use crate::pages::{ChunkEncoder, Levels};
use crate::schema::{VPARQUET4, path};

/// Where finished column chunks go.
pub(crate) type Append<'a> = dyn FnMut(Bytes, ColumnCloseResult) -> Result<(), WriteError> + 'a;

/// Leaves whose values do not get smaller: ids that are random by their specification.
const INCOMPRESSIBLE: [&str; 2] = ["TraceID", "SpanID"];

/// Writes leaf after leaf of one row group.
pub(crate) struct Leaves<'a> {
    next: usize,
    encoder: &'a mut ChunkEncoder,
    mapper: &'a mut Mapper,
    append: &'a mut Append<'a>,
}

impl<'a> Leaves<'a> {
    pub(crate) fn new(
        encoder: &'a mut ChunkEncoder,
        mapper: &'a mut Mapper,
        append: &'a mut Append<'a>,
    ) -> Self {
        Self { next: 0, encoder, mapper, append }
    }

    fn descriptor(&mut self) -> Result<(ColumnDescPtr, bool), WriteError> {
        let leaf = VPARQUET4.columns().get(self.next).ok_or(WriteError::Schema)?;
        self.next += 1;
        Ok((leaf.clone(), compressed(leaf)))
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

    /// Writes byte strings of a fixed length.
    pub(crate) fn raw(&mut self, levels: Levels<'_>, raw: &RawBytes) -> Result<(), WriteError> {
        self.values(levels, &Values::Raw(raw))
    }

    /// Writes a column of texts that few spans have.
    pub(crate) fn sparse_texts(
        &mut self,
        levels: Levels<'_>,
        column: &Sparse<TextId>,
        texts: &Texts<'_>,
    ) -> Result<(), WriteError> {
        let def = optional(levels.def, &column.at);
        self.texts(Levels { def: &def, ..levels }, &column.values, texts)
    }

    /// Writes a column of numbers that few spans have.
    pub(crate) fn sparse_ints(&mut self, levels: Levels<'_>, column: &Sparse<i64>) -> Result<(), WriteError> {
        let def = optional(levels.def, &column.at);
        self.values(Levels { def: &def, ..levels }, &Values::Plain(&column.values))
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
        if self.next == VPARQUET4.num_columns() { Ok(()) } else { Err(WriteError::Schema) }
    }
}

/// Whether a leaf is compressed: the same in all blocks, since readers take one codec for a column of a file.
fn compressed(leaf: &ColumnDescPtr) -> bool {
    let of_trace = leaf.path().string() == INCOMPRESSIBLE[0];
    let of_span = leaf.path().string() == format!("{}.{}", path::SPAN, INCOMPRESSIBLE[1]);
    !of_trace && !of_span
}

/// Definition levels with one more where there is a value.
fn optional(owners: &[u8], present: &[u32]) -> Vec<u8> {
    let mut def = owners.to_vec();
    present.iter().for_each(|at| def[*at as usize] += 1);
    def
}
