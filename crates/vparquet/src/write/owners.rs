//! Resources and scopes across all chunks: those with equal contents are one.
//!
//! They are numbered by their contents (service, then the rest), so that the order in a trace depends neither on how the
//! data was cut into chunks nor on when it came, and equal neighbourhoods of traces come out as equal bytes.

use std::collections::BTreeMap;

use trackway_spans::{AttrTable, Level, SpanBatch, put_resource, put_scope};

use super::WriteError;
use super::attributes::{Attr, Other};
use super::chunks::or_zero;
use super::own::OwnColumns;
use super::texts::{TextId, Texts};

/// A resource, ready to be written as often as it takes.
pub(crate) struct Resource {
    pub(crate) service: TextId,
    pub(crate) dropped: i32,
    /// Attributes that go to a column of their own, with its number.
    pub(crate) own: Vec<(usize, Attr)>,
    pub(crate) attrs: Vec<(TextId, Attr)>,
}

/// A scope of a resource.
pub(crate) struct Scope {
    pub(crate) resource: u32,
    pub(crate) name: TextId,
    pub(crate) version: TextId,
    pub(crate) dropped: i32,
    pub(crate) attrs: Vec<(TextId, Attr)>,
}

/// All of them.
#[derive(Default)]
pub(crate) struct Owners {
    pub(crate) resources: Vec<Resource>,
    /// Ordered by resource.
    pub(crate) scopes: Vec<Scope>,
    /// By chunk and row there, the number of each scope.
    scope_of: Vec<Vec<u32>>,
}

/// Contents of owners with the places where they were seen, ordered by contents.
type Seen = BTreeMap<Vec<u8>, Vec<(u32, u32)>>;

impl Owners {
    pub(crate) fn new(
        chunks: &[&SpanBatch],
        own: &OwnColumns,
        texts: &mut Texts<'_>,
    ) -> Result<Self, WriteError> {
        let mut owners = Self::default();
        let resource_of = owners.resources(chunks, own, texts);
        owners.scopes(chunks, &resource_of, texts)?;
        Ok(owners)
    }

    /// Numbers the resources; returns their numbers by chunk and row.
    fn resources(&mut self, chunks: &[&SpanBatch], own: &OwnColumns, texts: &mut Texts<'_>) -> Vec<Vec<u32>> {
        let mut seen = Seen::new();
        for (number, chunk) in chunks.iter().enumerate() {
            for (row, service) in chunk.resources.service.iter().enumerate() {
                let mut contents = chunk.strings.get(*service).to_vec();
                contents.push(0);
                put_resource(&mut contents, chunk, row as u32);
                seen.entry(contents).or_default().push((number as u32, row as u32));
            }
        }
        let mut numbers: Vec<Vec<u32>> =
            chunks.iter().map(|chunk| vec![0; chunk.resources.service.len()]).collect();
        for (_, places) in seen {
            let number = self.resources.len() as u32;
            places.iter().for_each(|(chunk, row)| numbers[*chunk as usize][*row as usize] = number);
            if let Some((chunk, row)) = places.first() {
                self.resources.push(resource(chunks[*chunk as usize], *chunk as usize, *row, own, texts));
            }
        }
        numbers
    }

    fn scopes(
        &mut self,
        chunks: &[&SpanBatch],
        resource_of: &[Vec<u32>],
        texts: &mut Texts<'_>,
    ) -> Result<(), WriteError> {
        let mut seen = Seen::new();
        for (number, chunk) in chunks.iter().enumerate() {
            for (row, resource) in chunk.scopes.resource.iter().enumerate() {
                let resource = resource_of[number].get(*resource as usize);
                let resource =
                    resource.ok_or(WriteError::Batch("a scope of a resource that is not there"))?;
                let mut contents = resource.to_be_bytes().to_vec();
                contents.extend_from_slice(chunk.strings.get(chunk.scopes.name[row]));
                contents.push(0);
                put_scope(&mut contents, chunk, row as u32);
                seen.entry(contents).or_default().push((number as u32, row as u32));
            }
        }
        self.scope_of = chunks.iter().map(|chunk| vec![0; chunk.scopes.resource.len()]).collect();
        for (_, places) in seen {
            let number = self.scopes.len() as u32;
            places.iter().for_each(|(chunk, row)| self.scope_of[*chunk as usize][*row as usize] = number);
            if let Some((chunk, row)) = places.first() {
                let (chunk, row) = (*chunk as usize, *row as usize);
                let resource = resource_of[chunk][chunks[chunk].scopes.resource[row] as usize];
                self.scopes.push(scope(chunks[chunk], chunk, row, resource, texts));
            }
        }
        Ok(())
    }

    /// The number of a chunk's scope.
    #[inline]
    pub(crate) fn scope_of(&self, chunk: usize, row: u32) -> u32 {
        self.scope_of[chunk][row as usize]
    }

    /// The service of a scope's spans.
    pub(crate) fn service_of(&self, scope: u32) -> TextId {
        self.resources[self.scopes[scope as usize].resource as usize].service
    }
}

fn resource(batch: &SpanBatch, chunk: usize, row: u32, own: &OwnColumns, texts: &mut Texts<'_>) -> Resource {
    let table = &batch.attrs[Level::Resource as usize];
    let mut columns: Vec<(usize, Attr)> = Vec::new();
    let mut attrs = attributes(table, chunk, row, texts);
    attrs.retain_mut(|(key, value)| match own.of(Level::Resource).column(*key, value) {
        Some(column) if columns.iter().all(|(other, _)| *other != column) => {
            columns.push((column, value.clone()));
            false
        }
        _ => true,
    });
    set_long_apart(&mut attrs, texts);
    Resource {
        service: texts.number_of(chunk, batch.resources.service[row as usize]),
        dropped: or_zero(&batch.resources.dropped_attributes, row as usize).cast_signed(),
        own: columns,
        attrs,
    }
}

fn scope(batch: &SpanBatch, chunk: usize, row: usize, resource: u32, texts: &mut Texts<'_>) -> Scope {
    let table = &batch.attrs[Level::Scope as usize];
    let mut attrs = attributes(table, chunk, row as u32, texts);
    set_long_apart(&mut attrs, texts);
    Scope {
        resource,
        name: texts.number_of(chunk, batch.scopes.name[row]),
        version: texts.number_of(chunk, batch.scopes.version[row]),
        dropped: or_zero(&batch.scopes.dropped_attributes, row).cast_signed(),
        attrs,
    }
}

/// Long texts go where they are in nobody's way.
fn set_long_apart(attrs: &mut [(TextId, Attr)], texts: &mut Texts<'_>) {
    for (_, value) in attrs {
        if let Attr::Text(text) = value
            && let Some(json) = texts.long(*text)
        {
            *value = Attr::Other(Other::Unsupported(json));
        }
    }
}

/// The attributes of a resource or scope.
fn attributes(table: &AttrTable, chunk: usize, row: u32, texts: &mut Texts<'_>) -> Vec<(TextId, Attr)> {
    let mut attrs = Vec::new();
    for at in table.strings.of(row) {
        let value = texts.number_of(chunk, table.strings.value[at]);
        attrs.push((texts.number_of(chunk, table.strings.key[at]), Attr::Text(value)));
    }
    for at in table.ints.of(row) {
        attrs.push((texts.number_of(chunk, table.ints.key[at]), Attr::Int(table.ints.value[at])));
    }
    for at in table.floats.of(row) {
        attrs.push((texts.number_of(chunk, table.floats.key[at]), Attr::Float(table.floats.value[at])));
    }
    for at in table.bools.of(row) {
        attrs.push((texts.number_of(chunk, table.bools.key[at]), Attr::Bool(table.bools.value[at])));
    }
    for at in table.others.of(row) {
        let message = texts.message(chunk, table.others.value[at]);
        let other = Other::new(message, texts);
        attrs.push((texts.number_of(chunk, table.others.key[at]), Attr::Other(other)));
    }
    attrs
}
