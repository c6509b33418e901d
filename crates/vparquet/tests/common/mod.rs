//! What the tests of the block writer share: input, reading back, and a form in which spans can be compared.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::Arc;

use trackway_common::TraceId;
use trackway_spans::anyvalue::{self, AnyValue};
use trackway_spans::{
    BatchBuilder, Columns, Level, Limits, Needs, SpanBatch, Value, append_request, merge_traces,
};
use trackway_vparquet::meta::{BlockMeta, DedicatedColumn, Format, default_dedicated_columns};
use trackway_vparquet::{BlockFile, BlockWriter, Bytes, Read, RowGroup, WriteOptions, Written};

pub(crate) mod random;

/// A recorded block of Tempo's.
pub(crate) const GOLDEN: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/golden/v4/single-tenant/728a1849-365c-4c4b-beef-cd37283c2b4d/data.parquet"
);

/// The recorded block of a format: its data and what `meta.json` says of it.
pub(crate) fn golden(format: &str) -> (Bytes, BlockMeta) {
    let folder = format!("{}/../../tests/golden/{format}/single-tenant", env!("CARGO_MANIFEST_DIR"));
    let block = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let block = block.into_iter().find(|path| path.join("meta.json").exists()).unwrap();
    let meta = serde_json::from_slice(&std::fs::read(block.join("meta.json")).unwrap()).unwrap();
    (std::fs::read(block.join("data.parquet")).unwrap().into(), meta)
}

/// The options that write a block in a format with Tempo's default columns.
pub(crate) fn options(format: Format) -> WriteOptions {
    let dedicated = default_dedicated_columns(format);
    WriteOptions { format, dedicated, ..WriteOptions::default() }
}

/// The recorded OTLP messages.
pub(crate) fn shop_frames() -> Vec<Vec<u8>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/v4/shop.frames.gz");
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
    let mut frames = Vec::new();
    let mut rest = &bytes[..];
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let (frame, after) = after.split_at(u32::from_le_bytes(*length) as usize);
        frames.push(frame.to_vec());
        rest = after;
    }
    frames
}

/// The messages in several batches, dealt out one by one, so that traces are spread over them.
pub(crate) fn batches(frames: &[Vec<u8>], count: usize) -> Vec<Arc<SpanBatch>> {
    let mut builders = vec![BatchBuilder::new(); count];
    for (at, frame) in frames.iter().enumerate() {
        let appended = append_request(&mut builders[at % count], frame, Limits::default(), &[]).unwrap();
        assert_eq!(appended.refused, []);
    }
    builders.into_iter().map(|builder| Arc::new(builder.finish())).collect()
}

pub(crate) fn write(batches: &[Arc<SpanBatch>], options: &WriteOptions) -> (Written, Bytes) {
    let mut file = Vec::new();
    let written = BlockWriter::write(batches, options, &mut file).unwrap();
    assert_eq!(written.size, file.len() as u64);
    (written, file.into())
}

pub(crate) fn open(bytes: &Bytes, dedicated: &[DedicatedColumn]) -> Arc<BlockFile> {
    match BlockFile::open(bytes, bytes.len() as u64, dedicated).unwrap() {
        Read::Ready(file) => file,
        Read::NeedsRanges(_) => panic!("the whole file was given"),
    }
}

pub(crate) fn load(group: &mut RowGroup, bytes: &Bytes, needs: &Needs) -> SpanBatch {
    loop {
        match group.load(needs).unwrap() {
            Read::Ready(batch) => return batch,
            Read::NeedsRanges(ranges) => {
                for range in ranges {
                    group.fetched().add(range.start, bytes.slice(range.start as usize..range.end as usize));
                }
            }
        }
    }
}

/// All columns, those about traces and trees included.
pub(crate) fn all_needs() -> Needs {
    let mut needs = Needs::everything();
    for columns in [Columns::TRACE_TIMES, Columns::TRACE_ROOT, Columns::TRACE_STATS, Columns::NESTED_SET] {
        needs.add(columns);
    }
    needs
}

/// The row groups of a file.
pub(crate) fn read(bytes: &Bytes, dedicated: &[DedicatedColumn]) -> Vec<SpanBatch> {
    let file = open(bytes, dedicated);
    (0..file.row_groups()).map(|at| load(&mut RowGroup::new(&file, at), bytes, &all_needs())).collect()
}

/// The fragments of all traces joined.
pub(crate) fn merged(batches: &[Arc<SpanBatch>]) -> SpanBatch {
    let mut ids: Vec<TraceId> = batches.iter().flat_map(|batch| batch.traces.ids()).collect();
    ids.sort_unstable();
    ids.dedup();
    merge_traces(&batches.iter().map(Arc::as_ref).collect::<Vec<_>>(), &ids)
}

/// Everything about a span, attributes sorted: what must be the same before and after.
pub(crate) fn canonical(batches: &[SpanBatch]) -> BTreeMap<TraceId, Vec<String>> {
    let mut traces: BTreeMap<TraceId, Vec<String>> = BTreeMap::new();
    for batch in batches {
        for row in 0..batch.len() {
            let id = batch.traces.id(batch.spans.trace[row] as usize);
            traces.entry(id).or_default().push(span(batch, row));
        }
    }
    traces.values_mut().for_each(|spans| spans.sort_unstable());
    traces
}

fn span(batch: &SpanBatch, row: usize) -> String {
    let spans = &batch.spans;
    let text = |id: u32| batch.strings.text(id).into_owned();
    let count = |column: &trackway_spans::Column<u32>, row: usize| column.get(row).copied().unwrap_or(0);
    let (resource, scope) = (batch.resource_of(row), spans.scope[row] as usize);
    let events: Vec<String> = batch
        .events_of(row as u32)
        .map(|event| {
            let columns = &batch.events;
            format!(
                "{} {} {} {:?}",
                columns.since_start[event],
                text(columns.name[event]),
                count(&columns.dropped_attributes, event),
                attributes(batch, Level::Event, event)
            )
        })
        .collect();
    let links: Vec<String> = batch
        .links_of(row as u32)
        .map(|link| {
            let columns = &batch.links;
            format!(
                "{:?} {:?} {} {} {:?}",
                batch.strings.get(columns.trace_id[link]),
                batch.strings.get(columns.span_id[link]),
                text(columns.trace_state[link]),
                count(&columns.dropped_attributes, link),
                attributes(batch, Level::Link, link)
            )
        })
        .collect();
    format!(
        "{:016x} {:016x} {} {} {} {} {} {} {} {:?} {} {} {} {events:?} {links:?} scope {} {} {} {:?} resource {} {} {:?}",
        spans.id[row],
        spans.parent[row],
        text(spans.name[row]),
        spans.kind[row],
        spans.status[row],
        text(spans.status_message[row]),
        text(spans.trace_state[row]),
        spans.start[row],
        spans.duration[row],
        attributes(batch, Level::Span, row),
        count(&spans.dropped_attributes, row),
        count(&spans.dropped_events, row),
        count(&spans.dropped_links, row),
        text(batch.scopes.name[scope]),
        text(batch.scopes.version[scope]),
        count(&batch.scopes.dropped_attributes, scope),
        attributes(batch, Level::Scope, scope),
        text(batch.resources.service[resource]),
        count(&batch.resources.dropped_attributes, resource),
        attributes(batch, Level::Resource, resource),
    )
}

pub(crate) fn attributes(batch: &SpanBatch, level: Level, owner: usize) -> Vec<String> {
    let mut all = Vec::new();
    batch.attrs(level).for_each(&batch.strings, owner as u32, |key, value| {
        let value = match value {
            Value::Other(message) => any_value(message),
            Value::Float(number) => format!("float {:x}", number.to_bits()),
            scalar => format!("{scalar:?}"),
        };
        all.push(format!("{}={value}", batch.strings.text(key)));
    });
    all.sort_unstable();
    all
}

/// A value whatever way its bytes were put together.
fn any_value(message: &[u8]) -> String {
    let values =
        |list| anyvalue::elements(list).map(|element| any_value(element.unwrap())).collect::<Vec<_>>();
    match anyvalue::parse(message).unwrap() {
        AnyValue::Array(list) => format!("array {:?}", values(list)),
        AnyValue::Map(list) => {
            let pairs =
                anyvalue::elements(list).map(|pair| anyvalue::parse_key_value(pair.unwrap()).unwrap());
            let pairs: Vec<String> =
                pairs.map(|(key, value)| format!("{}={}", key.escape_ascii(), any_value(value))).collect();
            format!("map {pairs:?}")
        }
        other => format!("{other:?}"),
    }
}
