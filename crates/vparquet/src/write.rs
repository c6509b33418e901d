//! Writes blocks: batches of spans in any order become `data.parquet`, and what goes into the files beside it.
//!
//! Each span is encoded once, straight from the columns of its batch: a table of where every span goes is made first,
//! then leaf after leaf is gathered through it, cut into pages and compressed. No row is ever put together. vParquet4 and
//! vParquet5 are gathered by the same code; `columns.rs` says which leaves only one of them has. What must stay true is
//! what Tempo's reader relies on; [`crate::schema`] and [`crate::pages`] say it.

use std::borrow::Borrow;
use std::io::Write;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::properties::{WriterProperties, WriterVersion};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::SchemaDescriptor;
use trackway_common::TraceId;
use trackway_spans::SpanBatch;
use uuid::Uuid;

use crate::bloom::ShardedBloom;
use crate::layout::Layout;
use crate::meta::{BlockMeta, DedicatedColumn, Format};
use crate::pages::ChunkEncoder;

mod attributes;
pub(crate) mod bounds;
mod chunks;
mod columns;
pub(crate) mod delta;
pub(crate) mod hybrid;
mod index;
mod leaves;
mod order;
mod own;
mod owners;
mod shape;
mod sink;
mod texts;
pub(crate) mod values;

use chunks::Chunk;
use columns::Source;
use leaves::Leaves;
use order::Order;
use own::OwnColumns;
use owners::Owners;
use shape::Shape;
use sink::Counted;
use texts::Texts;
use values::Mapper;

/// How a block is written.
#[derive(Clone, Debug)]
pub struct WriteOptions {
    /// One of [`Format::WRITTEN`].
    pub format: Format,
    /// Attributes that get a column of their own: what [`crate::meta::usable`] leaves of a list.
    pub dedicated: Vec<DedicatedColumn>,
    /// Most spans of a row group. A trace is never cut: one that has more is a row group of its own.
    pub row_group_spans_max: usize,
    /// Compression level of zstd.
    pub zstd_level: i32,
    /// What the footer says of who wrote it.
    pub created_by: String,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self {
            format: Format::default(),
            dedicated: crate::meta::default_dedicated_columns(Format::default()),
            row_group_spans_max: 200_000,
            zstd_level: 1,
            created_by: "trackway".to_owned(),
        }
    }
}

/// A block that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A format that is only read.
    #[error("blocks in {} are not written", .0.name())]
    Format(Format),
    /// A batch that cannot be written.
    #[error("a batch cannot be written: {0}")]
    Batch(&'static str),
    /// The file could not be written.
    #[error("{0}")]
    Parquet(#[from] ParquetError),
    /// zstd refused.
    #[error("compressing a page: {0}")]
    Compress(std::io::Error),
    /// A single trace has 2 GiB in one column.
    #[error("a page of more than 2 GiB")]
    PageTooLarge,
    /// The writer and the schema do not fit together.
    #[error("the leaves that were written are not those of the schema")]
    Schema,
}

/// Writes blocks.
#[derive(Clone, Copy, Debug)]
pub struct BlockWriter;

/// What became of a block, and the contents of the files beside `data.parquet`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// The format.
    pub format: Format,
    /// Traces.
    pub traces: u64,
    /// Spans.
    pub spans: u64,
    /// Bytes of `data.parquet`.
    pub size: u64,
    /// Bytes of its footer.
    pub footer_size: u32,
    /// Row groups.
    pub row_groups: u32,
    /// Earliest start of a span, Unix nanoseconds; 0 without spans.
    pub start: u64,
    /// Latest end of a span, Unix nanoseconds.
    pub end: u64,
    /// Contents of the files `bloom-0`, `bloom-1`, …
    pub bloom: Vec<Vec<u8>>,
    /// Contents of the file `index`.
    pub index: Vec<u8>,
}

impl BlockWriter {
    /// Writes `data.parquet` to `sink`. The batches must hold all columns; the fragments of a trace may lie in any of
    /// them.
    ///
    /// # Errors
    /// [`WriteError`] when the sink fails, or a batch lacks columns.
    pub fn write<B: Borrow<SpanBatch>, W: Write + Send>(
        chunks: &[B],
        options: &WriteOptions,
        sink: W,
    ) -> Result<Written, WriteError> {
        if !Format::WRITTEN.contains(&options.format) {
            return Err(WriteError::Format(options.format));
        }
        let dedicated = crate::meta::usable(&options.dedicated, options.format);
        let batches: Vec<&SpanBatch> = chunks.iter().map(Borrow::borrow).collect();
        let chunks = batches.iter().map(|batch| Chunk::new(batch)).collect::<Result<Vec<_>, _>>()?;
        let own = OwnColumns::new(options.format, &dedicated);
        let known = own.keys();
        let mut texts = Texts::new(&batches, &known);
        let owners = Owners::new(&batches, &own, &mut texts)?;
        texts.keep();
        let order = Order::new(&batches);
        let properties = WriterProperties::builder()
            .set_created_by(options.created_by.clone())
            .set_writer_version(WriterVersion::PARQUET_2_0)
            .build();
        let schema = crate::schema::schema(options.format, &dedicated);
        let root = schema.root_schema_ptr();
        let mut file = SerializedFileWriter::new(Counted::new(sink), root, Arc::new(properties))?;
        let mut job = Job {
            source: Source { chunks: &chunks, owners: &owners, own: &own, texts: &mut texts },
            encoder: ChunkEncoder::new(options.zstd_level)?,
            mapper: Mapper::default(),
            schema: &schema,
            layout: Layout::of(options.format),
            written: Written { format: options.format, start: u64::MAX, ..Written::default() },
        };
        let groups = order.row_groups(options.row_group_spans_max);
        for traces in &groups {
            let mut row_group = file.next_row_group()?;
            job.row_group(&order, traces.clone(), &mut row_group)?;
            row_group.close()?;
        }
        let mut written = job.written;
        file.finish()?;
        let sink = file.inner();
        written.size = sink.bytes();
        written.footer_size = sink.footer_size();
        if groups.is_empty() {
            written.start = 0;
        }
        written.spans = order.spans() as u64;
        written.row_groups = groups.len() as u32; // one has at least a trace, and traces are counted in 32 bits
        written.finish(&order, &groups);
        Ok(written)
    }
}

/// What goes from row group to row group.
struct Job<'a, 't> {
    source: Source<'a, 't>,
    encoder: ChunkEncoder,
    mapper: Mapper,
    schema: &'a SchemaDescriptor,
    layout: &'static Layout,
    written: Written,
}

impl Job<'_, '_> {
    fn row_group<W: Write + Send>(
        &mut self,
        order: &Order,
        traces: Range<usize>,
        row_group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> Result<(), WriteError> {
        let Self { source, encoder, mapper, schema, layout, written } = self;
        source.texts.forget();
        let shape = Shape::new(source.chunks, order, traces, source.owners, source.texts);
        written.traces += shape.traces.ids.len() as u64;
        written.start = shape.traces.start.iter().fold(written.start, |least, start| least.min(*start));
        written.end = shape.traces.end.iter().fold(written.end, |greatest, end| greatest.max(*end));
        let mut append = |bytes: Bytes, close: ColumnCloseResult| -> Result<(), WriteError> {
            Ok(row_group.append_column(&bytes, close)?)
        };
        let leaves = Leaves::new(schema, layout, encoder, mapper, &mut append);
        columns::write(source, &shape, leaves)
    }
}

impl Written {
    fn finish(&mut self, order: &Order, groups: &[Range<usize>]) {
        let mut bloom = ShardedBloom::new(self.traces);
        order.traces.iter().for_each(|id| bloom.add(TraceId(*id)));
        self.bloom = bloom.files();
        self.index = index::file(groups.iter().map(|traces| TraceId(order.traces[traces.end - 1])));
    }

    /// The contents of `meta.json`. Times are in whole seconds, as Tempo compares them, and hold all spans.
    pub fn meta(
        &self,
        block_id: Uuid,
        tenant: &str,
        dedicated: Vec<DedicatedColumn>,
        replication_factor: u32,
    ) -> BlockMeta {
        const SECOND: u64 = 1_000_000_000;
        // 2^64 nanoseconds are some 584 years: always within what a timestamp can say.
        let time = |seconds: u64| Timestamp::from_second(seconds.cast_signed()).unwrap_or(Timestamp::MAX);
        BlockMeta {
            format: self.format.name().to_owned(),
            block_id,
            tenant_id: tenant.to_owned(),
            start_time: time(self.start / SECOND),
            end_time: time(self.end.div_ceil(SECOND)),
            total_objects: self.traces,
            size: self.size,
            compaction_level: 0,
            index_page_size: 0,
            total_records: self.row_groups,
            bloom_shards: self.bloom.len() as u32, // at most 1,000
            footer_size: self.footer_size,
            dedicated_columns: dedicated,
            replication_factor,
            covers: Vec::new(),
            compacted_time: None,
        }
    }
}
