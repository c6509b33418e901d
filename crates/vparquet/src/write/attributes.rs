//! Attributes of one level, in the order of the file: the levels of their seven leaves, and their values by type.
//!
//! An attribute is one entry with a key, and a list of values a type, of which at most one list is not empty. As long as
//! no attribute is an array, all leaves share one array of repetition levels.

use std::collections::BTreeSet;

use trackway_spans::Value;
use trackway_spans::anyvalue::{self, AnyValue, ArrayType};

use super::chunks::Attributes;
use super::own::Own;
use super::texts::{TextId, Texts};
use crate::json;

/// What the value of an entry is. The order of the first four is that of the leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Text,
    Int,
    Float,
    Bool,
    Unsupported,
    /// Arrays, from here on.
    Texts,
    Ints,
    Floats,
    Bools,
    EmptyArray,
    /// No attribute: the entry stands for an owner that has none.
    Nothing,
}

impl Kind {
    pub(crate) fn is_array(self) -> bool {
        (Self::Texts as u8..=Self::EmptyArray as u8).contains(&(self as u8))
    }
}

/// A value that is no scalar.
#[derive(Clone, Debug)]
pub(crate) enum Other {
    Texts(Vec<TextId>),
    Ints(Vec<i64>),
    Floats(Vec<f64>),
    Bools(Vec<u8>),
    EmptyArray,
    /// JSON of the `AnyValue`.
    Unsupported(TextId),
}

impl Other {
    /// From the message of an `AnyValue`.
    pub(crate) fn new(message: &[u8], texts: &mut Texts<'_>) -> Self {
        let mut elements = Vec::new();
        anyvalue::for_each_element(message, |value| elements.push(value));
        match anyvalue::array_type(message) {
            Some(ArrayType::Strings) => {
                let text =
                    |value: &Value<'_>| if let Value::String(text) = value { texts.make(text) } else { 0 };
                Self::Texts(elements.iter().map(text).collect())
            }
            Some(ArrayType::Ints) => {
                let int = |value: &Value<'_>| if let Value::Int(int) = value { *int } else { 0 };
                Self::Ints(elements.iter().map(int).collect())
            }
            Some(ArrayType::Floats) => {
                let float = |value: &Value<'_>| if let Value::Float(float) = value { *float } else { 0.0 };
                Self::Floats(elements.iter().map(float).collect())
            }
            Some(ArrayType::Bools) => {
                let bool = |value: &Value<'_>| u8::from(*value == Value::Bool(true));
                Self::Bools(elements.iter().map(bool).collect())
            }
            None if elements.is_empty() && matches!(anyvalue::parse(message), Ok(AnyValue::Array(_))) => {
                Self::EmptyArray
            }
            None => Self::Unsupported(texts.make(json::any_value_to_json(message).as_bytes())),
        }
    }
}

/// The value of an attribute of a resource or scope.
#[derive(Clone, Debug)]
pub(crate) enum Attr {
    Text(TextId),
    Int(i64),
    Float(f64),
    Bool(u8),
    Other(Other),
}

/// Attributes of one level.
#[derive(Default)]
pub(crate) struct AttrRows {
    /// Definition level of an owner; that of its attributes is one more, that of their values two.
    pub(crate) depth: u8,
    pub(crate) rep: Vec<u8>,
    pub(crate) def: Vec<u8>,
    pub(crate) kinds: Vec<Kind>,
    /// Where each row begins; one more when done.
    pub(crate) rows: Vec<u32>,
    pub(crate) keys: Vec<TextId>,
    pub(crate) texts: Vec<TextId>,
    pub(crate) ints: Vec<i64>,
    pub(crate) floats: Vec<f64>,
    pub(crate) bools: Vec<u8>,
    pub(crate) unsupported: Vec<TextId>,
    /// Keys of those.
    pub(crate) unsupported_keys: BTreeSet<TextId>,
    /// Lengths of the arrays among the texts, ints, floats and bools.
    pub(crate) lengths: [Vec<u32>; 4],
    next_rep: u8,
}

impl AttrRows {
    pub(crate) fn new(depth: u8) -> Self {
        Self { depth, ..Self::default() }
    }

    /// Begins a row, or ends the last one.
    pub(crate) fn row(&mut self) {
        self.rows.push(self.rep.len() as u32);
    }

    /// The attributes that follow are those of an owner with this repetition level.
    #[inline]
    pub(crate) fn owner(&mut self, rep: u8) {
        self.next_rep = rep;
    }

    /// No more attributes of this owner.
    #[inline]
    pub(crate) fn end_owner(&mut self) {
        if self.next_rep <= self.depth {
            self.absent(self.next_rep, self.depth);
        }
    }

    /// There is no owner here, only something that could have had one.
    #[inline]
    pub(crate) fn absent(&mut self, rep: u8, def: u8) {
        self.rep.push(rep);
        self.def.push(def);
        self.kinds.push(Kind::Nothing);
    }

    #[inline]
    fn entry(&mut self, key: TextId, kind: Kind) {
        self.rep.push(self.next_rep);
        self.next_rep = self.depth + 1;
        self.def.push(self.depth + 1);
        self.kinds.push(kind);
        self.keys.push(key);
    }

    #[inline]
    pub(crate) fn text(&mut self, key: TextId, value: TextId) {
        self.entry(key, Kind::Text);
        self.texts.push(value);
    }

    #[inline]
    pub(crate) fn int(&mut self, key: TextId, value: i64) {
        self.entry(key, Kind::Int);
        self.ints.push(value);
    }

    fn float(&mut self, key: TextId, value: f64) {
        self.entry(key, Kind::Float);
        self.floats.push(value);
    }

    fn bool(&mut self, key: TextId, value: u8) {
        self.entry(key, Kind::Bool);
        self.bools.push(value);
    }

    fn other(&mut self, key: TextId, value: &Other) {
        let (kind, length) = match value {
            Other::Texts(values) => {
                self.texts.extend_from_slice(values);
                (Kind::Texts, values.len())
            }
            Other::Ints(values) => {
                self.ints.extend_from_slice(values);
                (Kind::Ints, values.len())
            }
            Other::Floats(values) => {
                self.floats.extend_from_slice(values);
                (Kind::Floats, values.len())
            }
            Other::Bools(values) => {
                self.bools.extend_from_slice(values);
                (Kind::Bools, values.len())
            }
            Other::EmptyArray => (Kind::EmptyArray, 0),
            Other::Unsupported(json) => {
                self.unsupported.push(*json);
                self.unsupported_keys.insert(key);
                (Kind::Unsupported, 0)
            }
        };
        if length > 0 {
            self.lengths[kind as usize - Kind::Texts as usize].push(length as u32);
        }
        self.entry(key, kind);
    }

    /// An attribute of a resource or scope.
    #[inline]
    pub(crate) fn attr(&mut self, key: TextId, value: &Attr) {
        match value {
            Attr::Text(value) => self.text(key, *value),
            Attr::Int(value) => self.int(key, *value),
            Attr::Float(value) => self.float(key, *value),
            Attr::Bool(value) => self.bool(key, *value),
            Attr::Other(value) => self.other(key, value),
        }
    }

    /// All attributes of the owner at `place`: those that have a column of their own go to `own`.
    #[inline]
    pub(crate) fn all(
        &mut self,
        texts: &mut Texts<'_>,
        (chunk, from): (usize, &Attributes<'_>),
        owner: u32,
        own: &mut Own<'_>,
        place: u32,
    ) {
        let (strings, ints) = (&from.table.strings, &from.table.ints);
        for at in from.strings.of(owner) {
            let key = texts.number_of(chunk, strings.key[at]);
            let value = texts.number_of(chunk, strings.value[at]);
            if own.text(key, place, value) {
                continue;
            }
            match texts.long(value) {
                Some(json) => self.other(key, &Other::Unsupported(json)),
                None => self.text(key, value),
            }
        }
        for at in from.ints.of(owner) {
            let (key, value) = (texts.number_of(chunk, ints.key[at]), ints.value[at]);
            if !own.int(key, place, value) {
                self.int(key, value);
            }
        }
        if !from.only_strings_and_ints() {
            self.rare(texts, (chunk, from), owner, own, place);
        }
    }

    /// Attributes of the types that are rare.
    fn rare(
        &mut self,
        texts: &mut Texts<'_>,
        (chunk, from): (usize, &Attributes<'_>),
        owner: u32,
        own: &mut Own<'_>,
        place: u32,
    ) {
        let table = from.table;
        for at in from.floats.of(owner) {
            self.float(texts.number_of(chunk, table.floats.key[at]), table.floats.value[at]);
        }
        for at in from.bools.of(owner) {
            self.bool(texts.number_of(chunk, table.bools.key[at]), table.bools.value[at]);
        }
        for at in from.others.of(owner) {
            let key = texts.number_of(chunk, table.others.key[at]);
            let message = texts.message(chunk, table.others.value[at]);
            let value = Other::new(message, texts);
            if !own.array(key, place, &value) {
                self.other(key, &value);
            }
        }
    }

    /// Definition levels of the leaf of a type, entry by entry: one more where the entry is of that type.
    pub(crate) fn def_of(&self, kind: Kind) -> Vec<u8> {
        self.def.iter().zip(&self.kinds).map(|(def, of)| def + u8::from(*of == kind)).collect()
    }

    /// Levels and row starts of the leaf with the values of a type, where arrays of it make them differ from those of
    /// the entries.
    pub(crate) fn expanded(&self, kind: Kind) -> Option<(Vec<u8>, Vec<u8>, Vec<u32>)> {
        if self.lengths[kind as usize].is_empty() {
            return None;
        }
        let array = kind as u8 + Kind::Texts as u8;
        let (mut rep, mut def) = (Vec::with_capacity(self.rep.len()), Vec::with_capacity(self.def.len()));
        let mut rows = Vec::with_capacity(self.rows.len());
        let mut lengths = self.lengths[kind as usize].iter();
        for (at, of) in self.kinds.iter().enumerate() {
            while self.rows.get(rows.len()) == Some(&(at as u32)) {
                rows.push(rep.len() as u32);
            }
            rep.push(self.rep[at]);
            if *of as u8 == array {
                let length = lengths.next().map_or(1, |length| *length as usize);
                rep.resize(rep.len() + length - 1, self.depth + 2);
                def.resize(def.len() + length, self.depth + 2);
            } else {
                def.push(self.def[at] + u8::from(*of == kind));
            }
        }
        rows.resize(self.rows.len(), rep.len() as u32);
        Some((rep, def, rows))
    }
}
