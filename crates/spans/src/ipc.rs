//! A batch as Arrow IPC: what lies in segments and travels between processes.
//!
//! One record batch of one row; every column of the [`SpanBatch`] is a `LargeList` in that row, so that columns of
//! different lengths share one schema, and a reader gets views of the file's bytes without copying them. The schema
//! carries a version: a reader refuses what it does not know rather than misread it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::types::{
    ArrowPrimitiveType, Float64Type, Int32Type, Int64Type, UInt8Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, LargeListArray, PrimitiveArray, RecordBatch, cast::AsArray};
use arrow_buffer::{OffsetBuffer, ScalarBuffer};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, Field, Schema};

use crate::batch::{AttrTable, Column, Level, SpanBatch, TypedAttrs};
use crate::strings::Strings;

/// Version of the columns below. Raise it when one is added, removed, or changes its meaning.
pub const IPC_VERSION: &str = "1";

const VERSION_KEY: &str = "trackway.span_batch.version";

/// A batch that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum IpcError {
    /// Arrow does not understand the bytes.
    #[error("not an Arrow IPC stream of spans: {0}")]
    Arrow(#[from] ArrowError),
    /// Written by another version of Trackway.
    #[error("span batch version {0:?} is not known (this is version {IPC_VERSION})")]
    Version(Option<String>),
    /// The columns contradict each other.
    #[error("damaged span batch: column {0}")]
    Damaged(&'static str),
}

/// Visits every column of a batch by name, in the order of the file. One list for writing and reading.
trait Visit {
    fn column<T: ArrowPrimitiveType>(
        &mut self,
        name: &'static str,
        column: &mut Column<T::Native>,
    ) -> Result<(), IpcError>;
}

fn visit_attrs<T: ArrowPrimitiveType>(
    visitor: &mut impl Visit,
    names: [&'static str; 3],
    attrs: &mut TypedAttrs<T::Native>,
) -> Result<(), IpcError> {
    visitor.column::<UInt32Type>(names[0], &mut attrs.owner)?;
    visitor.column::<UInt32Type>(names[1], &mut attrs.key)?;
    visitor.column::<T>(names[2], &mut attrs.value)
}

macro_rules! attr_names {
    ($level:literal, $type:literal) => {
        [
            concat!($level, ".", $type, ".owner"),
            concat!($level, ".", $type, ".key"),
            concat!($level, ".", $type, ".value"),
        ]
    };
}

macro_rules! visit_level {
    ($visitor:ident, $level:literal, $table:expr) => {{
        let table: &mut AttrTable = $table;
        visit_attrs::<UInt32Type>($visitor, attr_names!($level, "string"), &mut table.strings)?;
        visit_attrs::<Int64Type>($visitor, attr_names!($level, "int"), &mut table.ints)?;
        visit_attrs::<Float64Type>($visitor, attr_names!($level, "float"), &mut table.floats)?;
        visit_attrs::<UInt8Type>($visitor, attr_names!($level, "bool"), &mut table.bools)?;
        visit_attrs::<UInt32Type>($visitor, attr_names!($level, "other"), &mut table.others)?;
    }};
}

fn visit(batch: &mut SpanBatch, v: &mut impl Visit) -> Result<(), IpcError> {
    v.column::<UInt64Type>("trace.id_high", &mut batch.traces.id_high)?;
    v.column::<UInt64Type>("trace.id_low", &mut batch.traces.id_low)?;
    v.column::<UInt32Type>("resource.service", &mut batch.resources.service)?;
    v.column::<UInt32Type>("resource.dropped_attributes", &mut batch.resources.dropped_attributes)?;
    v.column::<UInt32Type>("scope.resource", &mut batch.scopes.resource)?;
    v.column::<UInt32Type>("scope.name", &mut batch.scopes.name)?;
    v.column::<UInt32Type>("scope.version", &mut batch.scopes.version)?;
    v.column::<UInt32Type>("scope.dropped_attributes", &mut batch.scopes.dropped_attributes)?;
    let spans = &mut batch.spans;
    v.column::<UInt32Type>("span.trace", &mut spans.trace)?;
    v.column::<UInt32Type>("span.scope", &mut spans.scope)?;
    v.column::<UInt64Type>("span.id", &mut spans.id)?;
    v.column::<UInt64Type>("span.parent", &mut spans.parent)?;
    v.column::<UInt32Type>("span.name", &mut spans.name)?;
    v.column::<UInt8Type>("span.kind", &mut spans.kind)?;
    v.column::<UInt8Type>("span.status", &mut spans.status)?;
    v.column::<UInt32Type>("span.status_message", &mut spans.status_message)?;
    v.column::<UInt32Type>("span.trace_state", &mut spans.trace_state)?;
    v.column::<UInt64Type>("span.start", &mut spans.start)?;
    v.column::<UInt64Type>("span.duration", &mut spans.duration)?;
    v.column::<UInt32Type>("span.dropped_attributes", &mut spans.dropped_attributes)?;
    v.column::<UInt32Type>("span.dropped_events", &mut spans.dropped_events)?;
    v.column::<UInt32Type>("span.dropped_links", &mut spans.dropped_links)?;
    v.column::<Int32Type>("span.nested_left", &mut spans.nested_left)?;
    v.column::<Int32Type>("span.nested_right", &mut spans.nested_right)?;
    v.column::<Int32Type>("span.nested_parent", &mut spans.nested_parent)?;
    v.column::<UInt32Type>("event.span", &mut batch.events.span)?;
    v.column::<UInt64Type>("event.since_start", &mut batch.events.since_start)?;
    v.column::<UInt32Type>("event.name", &mut batch.events.name)?;
    v.column::<UInt32Type>("event.dropped_attributes", &mut batch.events.dropped_attributes)?;
    v.column::<UInt32Type>("link.span", &mut batch.links.span)?;
    v.column::<UInt32Type>("link.trace_id", &mut batch.links.trace_id)?;
    v.column::<UInt32Type>("link.span_id", &mut batch.links.span_id)?;
    v.column::<UInt32Type>("link.trace_state", &mut batch.links.trace_state)?;
    v.column::<UInt32Type>("link.dropped_attributes", &mut batch.links.dropped_attributes)?;
    let [resource, scope, span, event, link] = &mut batch.attrs;
    visit_level!(v, "attr.resource", resource);
    visit_level!(v, "attr.scope", scope);
    visit_level!(v, "attr.span", span);
    visit_level!(v, "attr.event", event);
    visit_level!(v, "attr.link", link);
    Ok(())
}

struct Collect(Vec<(&'static str, ArrayRef)>);

impl Collect {
    fn push<T: ArrowPrimitiveType>(&mut self, name: &'static str, values: Column<T::Native>) {
        let length = values.len();
        let values: ArrayRef = Arc::new(PrimitiveArray::<T>::new(values, None));
        let item = Arc::new(Field::new("item", T::DATA_TYPE, false));
        let offsets = OffsetBuffer::from_lengths([length]);
        self.0.push((name, Arc::new(LargeListArray::new(item, offsets, values, None))));
    }
}

impl Visit for Collect {
    fn column<T: ArrowPrimitiveType>(
        &mut self,
        name: &'static str,
        column: &mut Column<T::Native>,
    ) -> Result<(), IpcError> {
        self.push::<T>(name, std::mem::take(column));
        Ok(())
    }
}

/// Appends the batch to `out` as one Arrow IPC stream.
///
/// # Errors
/// [`IpcError::Arrow`] when Arrow refuses, which it has no reason to.
pub fn write_ipc(batch: &SpanBatch, out: &mut Vec<u8>) -> Result<(), IpcError> {
    let mut batch = batch.clone(); // columns are shared, not copied
    let mut columns = Collect(Vec::new());
    let (offsets, bytes) = batch.strings.parts();
    columns.push::<UInt32Type>("strings.offsets", offsets.clone());
    columns.push::<UInt8Type>("strings.bytes", ScalarBuffer::from(bytes.clone()));
    visit(&mut batch, &mut columns)?;
    let fields: Vec<Field> =
        columns.0.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), false)).collect();
    let version = HashMap::from([(VERSION_KEY.to_owned(), IPC_VERSION.to_owned())]);
    let schema = Arc::new(Schema::new_with_metadata(fields, version));
    let rows =
        RecordBatch::try_new(Arc::clone(&schema), columns.0.into_iter().map(|(_, column)| column).collect())?;
    let mut writer = StreamWriter::try_new(out, &schema)?;
    writer.write(&rows)?;
    writer.finish()?;
    Ok(())
}

struct Fill {
    rows: RecordBatch,
}

impl Fill {
    fn take<T: ArrowPrimitiveType>(&self, name: &'static str) -> Result<Column<T::Native>, IpcError> {
        let column = self.rows.column_by_name(name).and_then(|column| column.as_list_opt::<i64>());
        let values = column.filter(|lists| lists.len() == 1).map(|lists| lists.value(0));
        let values = values.as_ref().and_then(|values| values.as_primitive_opt::<T>());
        Ok(values.ok_or(IpcError::Damaged(name))?.values().clone())
    }
}

impl Visit for Fill {
    fn column<T: ArrowPrimitiveType>(
        &mut self,
        name: &'static str,
        column: &mut Column<T::Native>,
    ) -> Result<(), IpcError> {
        *column = self.take::<T>(name)?;
        Ok(())
    }
}

/// Reads a batch that [`write_ipc`] wrote.
///
/// # Errors
/// [`IpcError`] for anything else, damage included: every index of the result is inside the table it points into.
pub fn read_ipc(bytes: &[u8]) -> Result<SpanBatch, IpcError> {
    let mut reader = StreamReader::try_new(bytes, None)?;
    let version = reader.schema().metadata().get(VERSION_KEY).map(ToString::to_string);
    if version.as_deref() != Some(IPC_VERSION) {
        return Err(IpcError::Version(version));
    }
    let rows = reader.next().ok_or(IpcError::Damaged("(all)"))??;
    let mut fill = Fill { rows };
    let bytes = fill.take::<UInt8Type>("strings.bytes")?.into_inner();
    let strings = Strings::from_parts(fill.take::<UInt32Type>("strings.offsets")?, bytes);
    let strings = strings.ok_or(IpcError::Damaged("strings.offsets"))?;
    let mut batch = SpanBatch { strings, ..SpanBatch::default() };
    visit(&mut batch, &mut fill)?;
    check(&batch)?;
    Ok(batch)
}

/// Checks that every index points into its table and that tables are as long as they say.
fn check(batch: &SpanBatch) -> Result<(), IpcError> {
    let below = |column: &Column<u32>, limit: usize, name| {
        let ok = column.iter().all(|index| (*index as usize) < limit);
        if ok { Ok(()) } else { Err(IpcError::Damaged(name)) }
    };
    let long = |length: usize, wanted: usize, name| {
        if length == wanted { Ok(()) } else { Err(IpcError::Damaged(name)) }
    };
    let (strings, spans) = (batch.strings.len(), batch.len());
    long(batch.traces.id_high.len(), batch.traces.len(), "trace.id_high")?;
    below(&batch.spans.trace, batch.traces.len(), "span.trace")?;
    below(&batch.spans.scope, batch.scopes.resource.len(), "span.scope")?;
    below(&batch.scopes.resource, batch.resources.service.len(), "scope.resource")?;
    below(&batch.resources.service, strings, "resource.service")?;
    for (column, name) in [(&batch.scopes.name, "scope.name"), (&batch.scopes.version, "scope.version")] {
        long(column.len(), batch.scopes.resource.len(), name)?;
        below(column, strings, name)?;
    }
    for (column, name) in [
        (&batch.spans.scope, "span.scope"),
        (&batch.spans.name, "span.name"),
        (&batch.spans.status_message, "span.status_message"),
        (&batch.spans.trace_state, "span.trace_state"),
    ] {
        long(column.len(), spans, name)?;
        if name != "span.scope" {
            below(column, strings, name)?;
        }
    }
    for column in [&batch.spans.id, &batch.spans.parent, &batch.spans.start, &batch.spans.duration] {
        long(column.len(), spans, "span.id")?;
    }
    for column in [&batch.spans.kind, &batch.spans.status] {
        long(column.len(), spans, "span.kind")?;
    }
    check_children(batch, &below, &long)
}

fn check_children(
    batch: &SpanBatch,
    below: &impl Fn(&Column<u32>, usize, &'static str) -> Result<(), IpcError>,
    long: &impl Fn(usize, usize, &'static str) -> Result<(), IpcError>,
) -> Result<(), IpcError> {
    let (strings, spans) = (batch.strings.len(), batch.len());
    let (events, links) = (batch.events.span.len(), batch.links.span.len());
    below(&batch.events.span, spans, "event.span")?;
    below(&batch.links.span, spans, "link.span")?;
    long(batch.events.since_start.len(), events, "event.since_start")?;
    long(batch.events.name.len(), events, "event.name")?;
    below(&batch.events.name, strings, "event.name")?;
    for column in [&batch.links.trace_id, &batch.links.span_id, &batch.links.trace_state] {
        long(column.len(), links, "link.trace_id")?;
        below(column, strings, "link.trace_id")?;
    }
    for level in Level::ALL {
        let owners = match level {
            Level::Resource => batch.resources.service.len(),
            Level::Scope => batch.scopes.resource.len(),
            Level::Span => spans,
            Level::Event => events,
            Level::Link => links,
        };
        let table = batch.attrs(level);
        let texts = [&table.strings, &table.others];
        for attrs in texts {
            below(&attrs.value, strings, "attr.value")?;
            long(attrs.value.len(), attrs.owner.len(), "attr.value")?;
        }
        long(table.ints.value.len(), table.ints.len(), "attr.int.value")?;
        long(table.floats.value.len(), table.floats.len(), "attr.float.value")?;
        long(table.bools.value.len(), table.bools.len(), "attr.bool.value")?;
        let keys_owners = [
            (&table.strings.owner, &table.strings.key),
            (&table.ints.owner, &table.ints.key),
            (&table.floats.owner, &table.floats.key),
            (&table.bools.owner, &table.bools.key),
            (&table.others.owner, &table.others.key),
        ];
        for (owner, key) in keys_owners {
            below(owner, owners, "attr.owner")?;
            below(key, strings, "attr.key")?;
            long(key.len(), owner.len(), "attr.key")?;
        }
    }
    Ok(())
}
