//! Attributes of a batch: those that have columns of their own, and the generic ones with a list of values a type. Those
//! that vParquet3 keeps in messages are in `v3.rs`.

use std::sync::Arc;

use arrow_buffer::ArrowNativeType;
use trackway_spans::{AttrTable, Level, Needs, StrId, TypedAttrs, Value, anyvalue};

use super::ReadError;
use super::assemble::{Assembly, Hit, Translate};
use super::plan::depth;
use crate::json;
use crate::layout::Values;
use crate::leaf::Leaf;

impl Assembly<'_> {
    pub(super) fn attributes(
        &mut self,
        level: Level,
        hits: Vec<Hit>,
        needs: &Needs,
    ) -> Result<AttrTable, ReadError> {
        let mut rows = Rows::default();
        let (layout, need) = (self.layout(), &needs.attrs[level as usize]);
        match layout.values(level) {
            Values::Typed if !hits.is_empty() => self.generic(level, &hits, &mut rows)?,
            Values::Messages if !hits.is_empty() => self.messages(level, &hits, &mut rows)?,
            Values::InLinks => self.attributes_of_links(need, &mut rows)?,
            _ => {}
        }
        let dedicated = self.group.file.dedicated.clone();
        let of_level = dedicated.iter().filter(|(of, ..)| *of == level);
        let columns: Vec<(String, Vec<u8>)> = layout
            .fixed(level)
            .map(|(key, column)| (layout.path(level, column), key.as_bytes().to_vec()))
            .chain(of_level.map(|(_, key, column)| (column.clone(), key.clone())))
            .filter(|(_, key)| need.wants(key))
            .collect();
        for (column, key) in columns {
            self.dedicated(level, &column, &key, &mut rows);
        }
        let owners = match level {
            Level::Resource => self.batch.resources.service.len(),
            Level::Scope => self.batch.scopes.resource.len(),
            Level::Span => self.batch.len(),
            Level::Event => self.batch.events.span.len(),
            Level::Link => self.batch.links.span.len(),
        };
        rows.finish(owners).ok_or_else(|| self.group.structure("attributes of more owners than there are"))
    }

    /// A column that holds one attribute: an owner has one value or none, and in vParquet5 perhaps several, an array.
    fn dedicated(&mut self, level: Level, column: &str, key: &[u8], rows: &mut Rows) {
        let Some(leaf) = self.leaf(column) else { return };
        let (info, key) = (depth(level), self.strings.intern(key));
        let (mut owner, mut value) = (u32::MAX, 0);
        let mut translate = Translate::new(&leaf);
        let several = self.layout().is_dynamic();
        let is_array = |at: usize| several && leaf.rep.get(at).is_some_and(|rep| *rep > info.rep);
        let mut array: Option<(u32, std::ops::Range<usize>)> = None;
        for (at, (rep, def)) in leaf.rep.iter().zip(&leaf.def).enumerate() {
            if *rep <= info.rep && *def >= info.def {
                owner = owner.wrapping_add(1);
            }
            if *def <= info.def {
                continue;
            }
            match &mut array {
                Some((_, values)) if is_array(at) => values.end += 1,
                _ if is_array(at + 1) => {
                    self.array(&leaf, key, array.take(), rows);
                    array = Some((owner, value..value + 1));
                }
                _ => match &mut translate {
                    Some(texts) => rows.strings.push((owner, key), texts.get(&mut self.strings, value)),
                    None => rows.ints.push((owner, key), leaf.ints().get(value).copied().unwrap_or(0)),
                },
            }
            value += 1;
        }
        self.array(&leaf, key, array, rows);
    }

    /// An array from a column that holds one attribute: its owner, and which values of the column are its elements.
    fn array(
        &mut self,
        leaf: &Leaf,
        key: StrId,
        array: Option<(u32, std::ops::Range<usize>)>,
        rows: &mut Rows,
    ) {
        let Some((owner, values)) = array else { return };
        let message = match leaf.bytes() {
            Some((ids, dictionary)) => {
                let text = |id: &u32| Value::String(dictionary.get(*id as usize));
                anyvalue::array_message(ids.get(values).unwrap_or_default().iter().map(text))
            }
            None => {
                let ints = leaf.ints().get(values).unwrap_or_default();
                anyvalue::array_message(ints.iter().map(|int| Value::Int(*int)))
            }
        };
        rows.others.push((owner, key), self.strings.intern(&message));
    }

    /// The generic attributes: each has a list of values a type, all but one of them empty.
    fn generic(&mut self, level: Level, hits: &[Hit], rows: &mut Rows) -> Result<(), ReadError> {
        let (layout, leaves) = (self.layout(), &self.layout().attrs);
        let leaf = |name: &str| self.leaf(&layout.path(level, name));
        let is_array = leaf(leaves.is_array);
        let array = |hit: &Hit| {
            is_array.as_ref().is_some_and(|leaf| {
                leaf.bools().get(hit.attribute as usize).is_some_and(|is_array| *is_array != 0)
            })
        };
        let (texts, ints, floats, bools) =
            (leaf(leaves.text), leaf(leaves.int), leaf(leaves.float), leaf(leaves.bool));
        let json: Vec<_> = leaves.json.iter().filter_map(|name| leaf(name)).collect();
        // Arrays are rare: room for their elements is made only where there are any.
        let has_arrays = is_array.as_ref().is_some_and(|leaf| leaf.bools().contains(&1));
        let mut arrays: Vec<Option<Vec<u8>>> =
            if has_arrays { hits.iter().map(|hit| array(hit).then(Vec::new)).collect() } else { Vec::new() };
        let mut element = |hit: usize, value: Value<'_>| match arrays.get_mut(hit) {
            Some(Some(elements)) => {
                trackway_spans::wire::put_message(elements, 1, |out| anyvalue::put(out, value));
                true
            }
            _ => false,
        };
        if let Some(leaf) = texts
            && let Some(mut translate) = Translate::new(&leaf)
        {
            let strings = &mut self.strings;
            rows.strings.fill(translate.ids.len(), |room| {
                values_of(&leaf, level, hits, |at, value| {
                    let text = translate
                        .ids
                        .get(value)
                        .map_or(&b""[..], |id| translate.dictionary.get(*id as usize));
                    if !element(at, Value::String(text)) {
                        room.put(hits[at], translate.get(strings, value));
                    }
                });
            });
        }
        if let Some(leaf) = ints {
            let ints = leaf.ints();
            rows.ints.fill(ints.len(), |room| {
                values_of(&leaf, level, hits, |at, value| {
                    let number = ints.get(value).copied().unwrap_or(0);
                    if !element(at, Value::Int(number)) {
                        room.put(hits[at], number);
                    }
                });
            });
        }
        if let Some(leaf) = floats {
            let floats = leaf.floats();
            rows.floats.fill(floats.len(), |room| {
                values_of(&leaf, level, hits, |at, value| {
                    let number = floats.get(value).copied().unwrap_or(0.0);
                    if !element(at, Value::Float(number)) {
                        room.put(hits[at], number);
                    }
                });
            });
        }
        if let Some(leaf) = bools {
            let bools = leaf.bools();
            rows.bools.fill(bools.len(), |room| {
                values_of(&leaf, level, hits, |at, value| {
                    let truth = bools.get(value).copied().unwrap_or(0);
                    if !element(at, Value::Bool(truth != 0)) {
                        room.put(hits[at], truth);
                    }
                });
            });
        }
        self.others(level, hits, arrays, &json, rows);
        if self.group.file.leaf(&layout.path(level, leaves.is_array)).is_none() {
            self.without_value(level, hits, rows);
        }
        Ok(())
    }

    /// Arrays, and values that the schema has no column for.
    fn others(
        &mut self,
        level: Level,
        hits: &[Hit],
        arrays: Vec<Option<Vec<u8>>>,
        json: &[Arc<Leaf>],
        rows: &mut Rows,
    ) {
        let mut others: Vec<(usize, StrId)> = Vec::new();
        let mut long: Vec<(usize, StrId)> = Vec::new();
        for (at, elements) in arrays.into_iter().enumerate() {
            if let Some(elements) = elements {
                let mut message = Vec::new();
                trackway_spans::wire::put_bytes(&mut message, 5, &elements);
                others.push((at, self.strings.intern(&message)));
            }
        }
        for leaf in json {
            let Some((ids, dictionary)) = leaf.bytes() else { continue };
            let strings = &mut self.strings;
            values_of(leaf, level, hits, |at, value| {
                let text = ids.get(value).map_or(&b""[..], |id| dictionary.get(*id as usize));
                if let Some(text) = json::text_from_json(text) {
                    long.push((at, strings.add(text.as_bytes())));
                } else if !text.is_empty() {
                    let message = json::any_value_from_json(text).unwrap_or_default();
                    others.push((at, strings.intern(&message)));
                }
            });
        }
        // As they were sent: of an attribute that stands several times the first one counts.
        rows.strings.insert(hits, &long);
        others.sort_unstable();
        for (at, id) in others {
            rows.others.push((hits[at].owner, hits[at].key), id);
        }
    }
}

/// Calls `each` with (place of the hit, place of the value) for every value of the wanted attributes in a leaf.
#[inline(always)] // a call for each value would cost as much as what is done with it
pub(super) fn values_of(leaf: &Leaf, level: Level, hits: &[Hit], mut each: impl FnMut(usize, usize)) {
    if leaf.values.is_empty() {
        return;
    }
    let info = depth(level);
    let (attribute_rep, attribute_def) = (info.rep + 1, info.def + 1);
    let (mut attribute, mut value, mut at) = (u32::MAX, 0, 0);
    for (rep, def) in leaf.rep.iter().zip(&leaf.def) {
        if *rep <= attribute_rep && *def >= attribute_def {
            attribute = attribute.wrapping_add(1);
        }
        if *def > attribute_def {
            while hits.get(at).is_some_and(|hit| hit.attribute < attribute) {
                at += 1;
            }
            match hits.get(at) {
                Some(hit) if hit.attribute == attribute => each(at, value),
                Some(_) => {}
                None => return,
            }
            value += 1;
        }
    }
}

/// Attribute rows of one type, in the order in which they were found.
pub(super) struct Found<T> {
    owner: Vec<u32>,
    key: Vec<StrId>,
    value: Vec<T>,
}

impl<T> Default for Found<T> {
    fn default() -> Self {
        Self { owner: Vec::new(), key: Vec::new(), value: Vec::new() }
    }
}

/// Room for rows, in part used.
struct Room<'a, T> {
    owner: &'a mut [u32],
    key: &'a mut [StrId],
    value: &'a mut [T],
    used: usize,
}

impl<T> Room<'_, T> {
    #[inline]
    fn put(&mut self, hit: Hit, value: T) {
        let at = self.used;
        // In a damaged file levels may promise more values than there are.
        if at < self.owner.len() {
            self.owner[at] = hit.owner;
            self.key[at] = hit.key;
            self.value[at] = value;
            self.used += 1;
        }
    }
}

impl<T: ArrowNativeType> Found<T> {
    #[inline]
    pub(super) fn push(&mut self, (owner, key): (u32, StrId), value: T) {
        self.owner.push(owner);
        self.key.push(key);
        self.value.push(value);
    }

    /// Adds up to `most` rows: room is made for all of them first, so that putting one in is not growing.
    fn fill(&mut self, most: usize, put: impl FnOnce(&mut Room<'_, T>)) {
        let start = self.owner.len();
        self.owner.resize(start + most, 0);
        self.key.resize(start + most, 0);
        self.value.resize(start + most, T::default());
        let mut room = Room {
            owner: &mut self.owner[start..],
            key: &mut self.key[start..],
            value: &mut self.value[start..],
            used: 0,
        };
        put(&mut room);
        let end = start + room.used;
        self.owner.truncate(end);
        self.key.truncate(end);
        self.value.truncate(end);
    }

    /// Adds rows at the places where they stood. What is there must be what was found for these hits, in their order; an
    /// attribute that was found has one value.
    fn insert(&mut self, hits: &[Hit], rows: &[(usize, T)]) {
        if rows.is_empty() {
            return;
        }
        let old = std::mem::take(self);
        let (mut at, mut rows) = (0, rows.iter().peekable());
        for (hit, of) in hits.iter().enumerate() {
            if let Some((_, value)) = rows.next_if(|(place, _)| *place == hit) {
                self.push((of.owner, of.key), *value);
            } else if old.owner.get(at) == Some(&of.owner) && old.key[at] == of.key {
                self.push((of.owner, of.key), old.value[at]);
                at += 1;
            }
        }
        // In a damaged file there may be more.
        for at in at..old.owner.len() {
            self.push((old.owner[at], old.key[at]), old.value[at]);
        }
        rows.for_each(|(place, value)| self.push((hits[*place].owner, hits[*place].key), *value));
    }

    /// The rows in the order of their owners, of which there are so many; an owner's rows keep their order.
    fn finish(self, owners: usize) -> Option<TypedAttrs<T>> {
        if self.owner.is_sorted() {
            return self.owner.last().is_none_or(|last| (*last as usize) < owners).then(|| TypedAttrs {
                owner: self.owner.into(),
                key: self.key.into(),
                value: self.value.into(),
            });
        }
        // How many rows each owner has; then where the next of them goes.
        let mut places = vec![0_u32; owners];
        for owner in &self.owner {
            *places.get_mut(*owner as usize)? += 1;
        }
        let mut start = 0;
        for place in &mut places {
            start += std::mem::replace(place, start);
        }
        let rows = self.owner.len();
        let (mut owner, mut key, mut value) = (vec![0; rows], vec![0; rows], vec![T::default(); rows]);
        for (row, of) in self.owner.iter().enumerate() {
            let place = &mut places[*of as usize];
            let at = *place as usize;
            (owner[at], key[at], value[at]) = (*of, self.key[row], self.value[row]);
            *place += 1;
        }
        Some(TypedAttrs { owner: owner.into(), key: key.into(), value: value.into() })
    }
}

/// Attribute rows before they are put in the order of their owners.
#[derive(Default)]
pub(super) struct Rows {
    pub(super) strings: Found<StrId>,
    pub(super) ints: Found<i64>,
    pub(super) floats: Found<f64>,
    pub(super) bools: Found<u8>,
    pub(super) others: Found<StrId>,
}

impl Rows {
    fn finish(self, owners: usize) -> Option<AttrTable> {
        Some(AttrTable {
            strings: self.strings.finish(owners)?,
            ints: self.ints.finish(owners)?,
            floats: self.floats.finish(owners)?,
            bools: self.bools.finish(owners)?,
            others: self.others.finish(owners)?,
        })
    }
}
