//! Writes the leaves of one row group, strictly in the order of the schema.

use bytes::Bytes;
use parquet::column::writer::ColumnCloseResult;
use parquet::schema::types::{ColumnDescPtr, SchemaDescriptor};
use trackway_spans::Level;

use super::WriteError;
use super::attributes::{AttrRows, Kind};
use super::filters::{self, Pending};
use super::own::{Own, OwnValues};
use super::texts::{TextId, Texts};
use super::values::{Mapper, RawBytes, Values};
use crate::inline::JsonKeys;
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
    pending: Pending,
    json_keys: JsonKeys,
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
        Self {
            schema,
            layout,
            next: 0,
            encoder,
            mapper,
            pending: Pending::default(),
            json_keys: JsonKeys::default(),
            append,
        }
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
        self.append(bytes, close)
    }

    fn append(&mut self, bytes: Bytes, close: ColumnCloseResult) -> Result<(), WriteError> {
        if self.pending.push(bytes, close) { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), WriteError> {
        let Self { pending, append, .. } = self;
        pending.take().into_iter().try_for_each(|(bytes, close)| append(bytes, close))
    }

    /// Writes a leaf of the integers that attributes have.
    fn ints(&mut self, levels: Levels<'_>, values: &[i64]) -> Result<(), WriteError> {
        let (leaf, compress) = self.descriptor()?;
        let (bytes, mut close) =
            self.encoder.encode(&leaf, levels, &Values::Plain(values), None, compress)?;
        close.bloom_filter = filters::of_numbers(&close.metadata, values);
        self.append(bytes, close)
    }

    /// Writes a leaf of the floats that attributes have.
    fn floats(&mut self, levels: Levels<'_>, values: &[f64]) -> Result<(), WriteError> {
        let (leaf, compress) = self.descriptor()?;
        let (bytes, mut close) =
            self.encoder.encode(&leaf, levels, &Values::Floats(values), None, compress)?;
        close.bloom_filter = filters::of_numbers(&close.metadata, values);
        self.append(bytes, close)
    }

    /// Writes a leaf of strings.
    pub(crate) fn texts(
        &mut self,
        levels: Levels<'_>,
        numbers: &[TextId],
        texts: &Texts<'_>,
    ) -> Result<(), WriteError> {
        self.strings(levels, numbers, texts, Strings::default())
    }

    /// Writes a leaf of the texts that attributes have.
    fn attribute_texts(
        &mut self,
        levels: Levels<'_>,
        numbers: &[TextId],
        texts: &Texts<'_>,
        is_blob: bool,
    ) -> Result<(), WriteError> {
        self.strings(levels, numbers, texts, Strings { is_blob, filtered: true })
    }

    fn strings(
        &mut self,
        levels: Levels<'_>,
        numbers: &[TextId],
        texts: &Texts<'_>,
        how: Strings,
    ) -> Result<(), WriteError> {
        let (leaf, compress) = self.descriptor()?;
        let mapped = self.mapper.map(numbers, texts);
        let dictionary = if how.is_blob { None } else { mapped.dictionary(texts) };
        let values = match &dictionary {
            Some(dictionary) => Values::Ids(mapped.ids, dictionary.bits()),
            None => Values::Texts(numbers, texts, mapped.plain_bytes),
        };
        let (bytes, mut close) =
            self.encoder.encode(&leaf, levels, &values, dictionary.as_ref(), compress)?;
        if how.filtered {
            close.bloom_filter = filters::of_texts(&close.metadata, mapped.distinct, texts);
        }
        self.append(bytes, close)
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
                    self.attribute_texts(levels, &values.values, texts, column.is_blob)?;
                }
                OwnValues::Ints(values) => {
                    let levels = OwnLevels::new(owners, &values.at, max_rep);
                    self.ints(levels.levels(owners), &values.values)?;
                }
            }
        }
        Ok(())
    }

    /// Writes the seven leaves of a level's attributes.
    pub(crate) fn attributes(
        &mut self,
        level: Level,
        rows: &AttrRows,
        texts: &Texts<'_>,
    ) -> Result<(), WriteError> {
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
                Kind::Text => self.attribute_texts(levels, &rows.texts, texts, false)?,
                Kind::Int => self.ints(levels, &rows.ints)?,
                Kind::Float => self.floats(levels, &rows.floats)?,
                _ => self.values(levels, &Values::Bools(&rows.bools))?,
            }
        }
        self.json_keys.add(level, rows.unsupported_keys.iter().map(|key| texts.get(*key)));
        let def = rows.def_of(Kind::Unsupported);
        // Long texts in a dictionary would all be read for one of them.
        let how = Strings { is_blob: texts.has_long(), filtered: false };
        self.strings(Levels { def: &def, ..entries }, &rows.unsupported, texts, how)
    }

    /// Checks that no leaf was left out, and returns how many bytes of filters there are, and which attributes have
    /// values of no type.
    pub(crate) fn finish(mut self) -> Result<(u64, JsonKeys), WriteError> {
        self.flush()?;
        if self.next == self.schema.num_columns() {
            Ok((self.pending.filter_bytes(), self.json_keys))
        } else {
            Err(WriteError::Schema)
        }
    }
}

/// How a leaf of strings is written.
#[derive(Clone, Copy, Default)]
struct Strings {
    /// Without a dictionary.
    is_blob: bool,
    /// With a bloom filter, where it helps.
    filtered: bool,
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
