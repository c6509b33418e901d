//! Names and values of attributes, for pickers and completion.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use trackway_spans::{AttrTable, Column, Columns, Level, Needs, SpanBatch, StrId, TypedAttrs, Value};
use trackway_traceql::ast::{Field, Intrinsic, Scope};

use crate::column::{self, levels_of};
use crate::plan::field_needs;
use crate::value::Val;

/// Scopes that tag questions know, with Tempo's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TagScope {
    /// `resource`
    Resource,
    /// `span`
    Span,
    /// `event`
    Event,
    /// `link`
    Link,
    /// `instrumentation`
    Instrumentation,
    /// `intrinsic`; with `trace` as its other name
    Intrinsic,
}

impl TagScope {
    /// The level whose attributes are in this scope.
    pub fn level(self) -> Option<Level> {
        match self {
            Self::Resource => Some(Level::Resource),
            Self::Span => Some(Level::Span),
            Self::Event => Some(Level::Event),
            Self::Link => Some(Level::Link),
            Self::Instrumentation => Some(Level::Scope),
            Self::Intrinsic => None,
        }
    }

    /// Scopes of attributes.
    pub const OF_ATTRIBUTES: [Self; 5] =
        [Self::Resource, Self::Span, Self::Event, Self::Link, Self::Instrumentation];
}

/// What is needed to list names at these scopes.
pub fn tag_needs(scopes: &[TagScope]) -> Needs {
    let mut needs = Needs::default();
    for level in scopes.iter().filter_map(|scope| scope.level()) {
        needs.add_all_attrs(level);
    }
    needs
}

/// What is needed to list the values of a field.
pub fn value_needs(field: &Field) -> Needs {
    let mut needs = Needs::default();
    field_needs(field, &mut needs);
    if matches!(field, Field::Intrinsic { intrinsic: Intrinsic::SpanId, .. }) {
        needs.add(Columns::ID);
    }
    needs
}

/// Names by scope.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagNames {
    /// Sorted.
    pub names: BTreeMap<TagScope, BTreeSet<String>>,
}

impl TagNames {
    /// Adds the names in a batch: all of them, or only those that have to do with the spans of the mask. Keys for which
    /// `hidden` says true are left out.
    pub fn add(
        &mut self,
        batch: &SpanBatch,
        scopes: &[TagScope],
        mask: Option<&[bool]>,
        hidden: impl Fn(Level, &[u8], ValueKind) -> bool,
    ) {
        for scope in scopes {
            let Some(level) = scope.level() else { continue };
            let owners = mask.map(|mask| owners_of(batch, level, mask));
            let wanted = |owner: u32| owners.as_ref().is_none_or(|owners| owners[owner as usize]);
            let names = self.names.entry(*scope).or_default();
            let mut keys: BTreeSet<(StrId, ValueKind)> = BTreeSet::new();
            let AttrTable { strings, ints, floats, bools, others } = batch.attrs(level);
            collect(strings, &wanted, |key| _ = keys.insert((key, ValueKind::String)));
            collect(ints, &wanted, |key| _ = keys.insert((key, ValueKind::Int)));
            collect(floats, &wanted, |key| _ = keys.insert((key, ValueKind::Float)));
            collect(bools, &wanted, |key| _ = keys.insert((key, ValueKind::Bool)));
            collect(others, &wanted, |key| _ = keys.insert((key, ValueKind::Keyword)));
            for (key, kind) in keys {
                if !hidden(level, batch.strings.get(key), kind) {
                    names.insert(batch.strings.text(key).into_owned());
                }
            }
            // Like Tempo, attributes with columns of their own in every block are listed whatever the filter.
            for column in well_known(level) {
                if !hidden(level, column.as_bytes(), kind_of(column)) && column_exists(batch, level, column) {
                    names.insert((*column).to_owned());
                }
            }
            if level == Level::Resource
                && (0..batch.resources.service.len() as u32)
                    .any(|row| wanted(row) && batch.resources.service[row as usize] != 0)
            {
                names.insert("service.name".to_owned());
            }
        }
    }

    /// Adds names of one scope.
    pub fn add_names(&mut self, scope: TagScope, names: impl Iterator<Item = Vec<u8>>) {
        self.names.entry(scope).or_default().extend(names.map(|name| text_of(&name)));
    }

    /// Adds the names of another.
    pub fn merge(&mut self, other: Self) {
        for (scope, names) in other.names {
            self.names.entry(scope).or_default().extend(names);
        }
    }
}

/// Attributes with columns of their own in every vParquet4 block. In vParquet5 they may have dedicated ones.
fn well_known(level: Level) -> &'static [&'static str] {
    match level {
        Level::Resource => &[
            "cluster",
            "namespace",
            "pod",
            "container",
            "k8s.cluster.name",
            "k8s.namespace.name",
            "k8s.pod.name",
            "k8s.container.name",
        ],
        Level::Span => &["http.method", "http.url", "http.status_code"],
        _ => &[],
    }
}

fn column_exists(batch: &SpanBatch, level: Level, key: &str) -> bool {
    let Some(id) = batch.strings.iter().position(|text| text == key.as_bytes()) else { return false };
    let id = id as StrId;
    let table = batch.attrs(level);
    match kind_of(key) {
        ValueKind::Int => table.ints.key.contains(&id),
        _ => table.strings.key.contains(&id),
    }
}

/// The type of a well-known attribute's column.
fn kind_of(key: &str) -> ValueKind {
    if key == "http.status_code" { ValueKind::Int } else { ValueKind::String }
}

fn collect<T: arrow_buffer::ArrowNativeType>(
    attrs: &TypedAttrs<T>,
    wanted: &impl Fn(u32) -> bool,
    mut each: impl FnMut(StrId),
) {
    let mut last = None;
    for (owner, key) in attrs.owner.iter().zip(attrs.key.iter()) {
        if last != Some(*key) && wanted(*owner) {
            each(*key);
            last = Some(*key);
        }
    }
}

/// Which owners of a level have to do with the spans of the mask.
fn owners_of(batch: &SpanBatch, level: Level, mask: &[bool]) -> Vec<bool> {
    let mut owners = vec![false; column::owners(batch, level)];
    let children = |column: &Column<u32>, owners: &mut Vec<bool>| {
        for (owner, span) in owners.iter_mut().zip(column.iter()) {
            *owner = mask[*span as usize];
        }
    };
    match level {
        Level::Span => owners.copy_from_slice(mask),
        Level::Scope | Level::Resource => {
            for (span, hit) in mask.iter().enumerate() {
                let owner = if level == Level::Scope {
                    batch.spans.scope[span] as usize
                } else {
                    batch.resource_of(span)
                };
                owners[owner] |= hit;
            }
        }
        Level::Event => children(&batch.events.span, &mut owners),
        Level::Link => children(&batch.links.span, &mut owners),
    }
    owners
}

/// The type of a value, with Tempo's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ValueKind {
    /// `string`
    String,
    /// `int`
    Int,
    /// `float`
    Float,
    /// `bool`
    Bool,
    /// `keyword`
    Keyword,
}

impl ValueKind {
    /// The name.
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Int => "int",
            Self::Float => "float",
            Self::Bool => "bool",
            Self::Keyword => "keyword",
        }
    }
}

/// Values with how often they occur.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagValues {
    counts: HashMap<(ValueKind, Vec<u8>), u64>,
}

impl TagValues {
    /// Adds the values of a field in a batch, of all spans or of those of the mask. Texts and integers of attributes for
    /// which `hidden` says true are left out.
    pub fn add(
        &mut self,
        batch: &SpanBatch,
        field: &Field,
        mask: Option<&[bool]>,
        hidden: impl Fn(Level, &[u8], ValueKind) -> bool,
    ) {
        match field {
            Field::Attribute { scope, name } => self.attribute(batch, *scope, name, mask, hidden),
            Field::Intrinsic { intrinsic, .. } => self.intrinsic(batch, *intrinsic, mask),
            Field::Parent { .. } => {}
        }
    }

    fn attribute(
        &mut self,
        batch: &SpanBatch,
        scope: Scope,
        name: &str,
        mask: Option<&[bool]>,
        hidden: impl Fn(Level, &[u8], ValueKind) -> bool,
    ) {
        // Like Tempo, an unscoped name lists what spans and resources have, not events, links and scopes.
        let levels =
            if scope == Scope::None { &[Level::Span, Level::Resource][..] } else { levels_of(scope) };
        for level in levels {
            let owners = mask.map(|mask| owners_of(batch, *level, mask));
            let hide = [ValueKind::String, ValueKind::Int].map(|kind| hidden(*level, name.as_bytes(), kind));
            let mut counts: HashMap<(u8, &[u8], u64), u64> = HashMap::new();
            for (owner, value) in column::attribute(batch, *level, name) {
                if owners.as_ref().is_some_and(|owners| !owners[owner as usize]) {
                    continue;
                }
                let key = match value {
                    Value::String(_) if hide[0] => continue,
                    Value::Int(_) if hide[1] => continue,
                    Value::String(text) => (0, text, 0),
                    Value::Int(value) => (1, &b""[..], value.cast_unsigned()),
                    Value::Float(value) => (2, &b""[..], value.to_bits()),
                    Value::Bool(value) => (3, &b""[..], u64::from(value)),
                    Value::Other(message) => (4, message, 0),
                };
                *counts.entry(key).or_default() += 1;
            }
            for ((kind, text, bits), count) in counts {
                match kind {
                    0 => self.count(Value::String(text), count),
                    1 => self.count(Value::Int(bits.cast_signed()), count),
                    2 => self.count(Value::Float(f64::from_bits(bits)), count),
                    3 => self.count(Value::Bool(bits != 0), count),
                    _ => trackway_spans::anyvalue::for_each_element(text, |value| self.count(value, count)),
                }
            }
        }
    }

    /// Adds texts with how often each occurs.
    pub fn add_texts(&mut self, texts: impl Iterator<Item = (Vec<u8>, u64)>) {
        for (text, count) in texts {
            *self.counts.entry((ValueKind::String, text)).or_default() += count;
        }
    }

    fn count(&mut self, value: Value<'_>, count: u64) {
        let key = match value {
            Value::String(text) => (ValueKind::String, text.to_vec()),
            Value::Int(value) => (ValueKind::Int, value.to_string().into_bytes()),
            Value::Float(value) => (ValueKind::Float, format!("{value:?}").into_bytes()),
            Value::Bool(value) => (ValueKind::Bool, value.to_string().into_bytes()),
            Value::Other(_) => return,
        };
        *self.counts.entry(key).or_default() += count;
    }

    fn intrinsic(&mut self, batch: &SpanBatch, intrinsic: Intrinsic, mask: Option<&[bool]>) {
        if let Some(level) = column::child_level(intrinsic) {
            let owners = mask.map(|mask| owners_of(batch, level, mask));
            for (owner, value) in column::child_intrinsic(batch, intrinsic).iter().enumerate() {
                if owners.as_ref().is_none_or(|owners| owners[owner]) {
                    self.count_val(value);
                }
            }
            return;
        }
        let column = match intrinsic {
            Intrinsic::Name => Some(&batch.spans.name),
            Intrinsic::StatusMessage => Some(&batch.spans.status_message),
            _ => None,
        };
        if let Some(column) = column {
            let mut counts = vec![0_u64; batch.strings.len()];
            for (span, text) in column.iter().enumerate() {
                counts[*text as usize] += u64::from(mask.is_none_or(|mask| mask[span]));
            }
            let texts = batch.strings.iter().zip(counts).filter(|(_, count)| *count > 0);
            return self.add_texts(texts.map(|(text, count)| (text.to_vec(), count)));
        }
        for span in 0..batch.len() {
            if mask.is_none_or(|mask| mask[span]) {
                // Ids are listed as the bytes they are, like Tempo does; nobody picks one from a list.
                match intrinsic {
                    Intrinsic::TraceId => {
                        let id = batch.traces.id(batch.spans.trace[span] as usize).to_bytes();
                        self.count(Value::String(&id), 1);
                    }
                    Intrinsic::SpanId => self.count(Value::String(&batch.spans.id[span].to_be_bytes()), 1),
                    _ => self.count_val(&column::intrinsic_of(batch, intrinsic, span)),
                }
            }
        }
    }

    fn count_val(&mut self, value: &Val<'_>) {
        match value {
            Val::Text(text) => self.count(Value::String(text), 1),
            Val::Owned(text) => self.count(Value::String(text), 1),
            Val::Int(value) => self.count(Value::Int(*value), 1),
            Val::Kind(code) => self.count(Value::Int(i64::from(*code)), 1),
            Val::Status(code) => {
                let name = crate::result::status_name(*code).as_bytes().to_vec();
                *self.counts.entry((ValueKind::Keyword, name)).or_default() += 1;
            }
            _ => {}
        }
    }

    /// Adds the values of another.
    pub fn merge(&mut self, other: Self) {
        for (key, count) in other.counts {
            *self.counts.entry(key).or_default() += count;
        }
    }

    /// The values, those that occur most first.
    pub fn into_sorted(self) -> Vec<(ValueKind, String)> {
        let mut values: Vec<_> = self.counts.into_iter().collect();
        values.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        values.into_iter().map(|((kind, text), _)| (kind, text_of(&text))).collect()
    }
}

/// Text of bytes; each byte that is not UTF-8 becomes one replacement character, as Go does it.
fn text_of(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    text
}
