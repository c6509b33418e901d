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
use parquet::schema::types::{SchemaDescPtr, SchemaDescriptor};
use trackway_common::TraceId;
use trackway_spans::SpanBatch;
use uuid::Uuid;

use crate::bloom::ShardedBloom;
use crate::inline::{self, JsonKeys};
use crate::layout::Layout;
use crate::meta::{BlockMeta, DedicatedColumn, Format};
use crate::pages::ChunkEncoder;

mod attributes;
pub(crate) mod bounds;
mod chunks;
mod columns;
pub(crate) mod delta;
mod filters;
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
pub use order::ROW_SPANS_MAX;
use own::OwnColumns;
use owners::Owners;
use shape::Shape;
use sink::Counted;
use texts::Texts;
use values::Mapper;

/// What [`WriteOptions::created_by`] begins with; a reader knows our own blocks by it.
pub(crate) const CREATED_BY: &str = "trackway";

/// How a block is written.
#[derive(Clone, Debug)]
pub struct WriteOptions {
    /// One of [`Format::WRITTEN`].
    pub format: Format,
    /// Attributes that get a column of their own: what [`crate::meta::usable`] leaves of a list.
    pub dedicated: Vec<DedicatedColumn>,
    /// Most spans of a row group.
    pub row_group_spans_max: usize,
    /// Compression level of zstd.
    pub zstd_level: i32,
    /// What the footer says of who wrote it: `trackway`, or that with a version behind a space.
    pub created_by: String,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self {
            format: Format::default(),
            dedicated: crate::meta::default_dedicated_columns(Format::default()),
            row_group_spans_max: 200_000,
            zstd_level: 1,
            created_by: CREATED_BY.to_owned(),
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
    /// Bytes of the bloom filters over values of attributes, which are part of `data.parquet`.
    pub filter_bytes: u64,
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
        let mut ids: Vec<TraceId> = chunks.iter().flat_map(|chunk| chunk.borrow().traces.ids()).collect();
        ids.sort_unstable();
        ids.dedup();
        let mut stream = BlockStream::new(options, ids.len() as u64, sink)?;
        let chunks: Vec<Part<'_>> = chunks.iter().map(|chunk| Part::whole(chunk.borrow())).collect();
        stream.add(&chunks)?;
        stream.finish()
    }
}

/// A batch, or those of its traces for which `keep` says true.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// The spans, with all columns.
    pub batch: &'a SpanBatch,
    /// One for each trace of the batch; `None` keeps all.
    pub keep: Option<&'a [bool]>,
}

impl<'a> Part<'a> {
    /// All of a batch.
    pub fn whole(batch: &'a SpanBatch) -> Self {
        Self { batch, keep: None }
    }
}

/// Writes a block that is never in memory as a whole.
pub struct BlockStream<'o, W: Write + Send> {
    options: &'o WriteOptions,
    own: OwnColumns,
    schema: SchemaDescPtr,
    file: SerializedFileWriter<Counted<W>>,
    encoder: ChunkEncoder,
    mapper: Mapper,
    written: Written,
    bloom: ShardedBloom,
    /// The last trace of each row group.
    last: Vec<TraceId>,
    /// Of each row group.
    json_keys: Vec<JsonKeys>,
}

impl<'o, W: Write + Send> BlockStream<'o, W> {
    /// Begins `data.parquet`. `traces` is how many there will be at the most, which the bloom filter is made for.
    ///
    /// # Errors
    /// [`WriteError`] when the sink fails.
    pub fn new(options: &'o WriteOptions, traces: u64, sink: W) -> Result<Self, WriteError> {
        if !Format::WRITTEN.contains(&options.format) {
            return Err(WriteError::Format(options.format));
        }
        let dedicated = crate::meta::usable(&options.dedicated, options.format);
        let properties = WriterProperties::builder()
            .set_created_by(options.created_by.clone())
            .set_writer_version(WriterVersion::PARQUET_2_0)
            .build();
        let schema = crate::schema::schema(options.format, &dedicated);
        let root = schema.root_schema_ptr();
        Ok(Self {
            options,
            own: OwnColumns::new(options.format, &dedicated),
            schema,
            file: SerializedFileWriter::new(Counted::new(sink), root, Arc::new(properties))?,
            encoder: ChunkEncoder::new(options.zstd_level)?,
            mapper: Mapper::default(),
            written: Written { format: options.format, start: u64::MAX, ..Written::default() },
            bloom: ShardedBloom::new(traces),
            last: Vec::new(),
            json_keys: Vec::new(),
        })
    }

    /// Adds traces, whose ids must not be below those that were added before. Where the first one is the last one of before,
    /// the rest of it takes another row.
    ///
    /// # Errors
    /// [`WriteError`] when the sink fails, or a batch lacks columns.
    pub fn add(&mut self, parts: &[Part<'_>]) -> Result<(), WriteError> {
        let batches: Vec<&SpanBatch> = parts.iter().map(|part| part.batch).collect();
        let order = Order::new(parts);
        if order.first().is_some_and(|first| self.last.last().is_some_and(|last| *last > first)) {
            return Err(WriteError::Batch("traces do not come in the order of their ids"));
        }
        let chunks = batches.iter().map(|batch| Chunk::new(batch)).collect::<Result<Vec<_>, _>>()?;
        let known = self.own.keys();
        let mut texts = Texts::new(&batches, &known);
        let owners = Owners::new(&batches, &self.own, &mut texts)?;
        texts.keep();
        let mut source = Source { chunks: &chunks, owners: &owners, own: &self.own, texts: &mut texts };
        for traces in order.row_groups(self.options.row_group_spans_max) {
            let mut row_group = self.file.next_row_group()?;
            let mut job = Job {
                source: &mut source,
                encoder: &mut self.encoder,
                mapper: &mut self.mapper,
                schema: &self.schema,
                layout: Layout::of(self.options.format),
            };
            let keys = job.row_group(&order, traces.clone(), &mut self.written, &mut row_group)?;
            self.json_keys.push(keys);
            row_group.close()?;
            let ids = &order.traces[traces];
            ids.iter().for_each(|id| self.bloom.add(TraceId(*id)));
            self.last.extend(ids.last().map(|id| TraceId(*id)));
        }
        self.written.spans += order.spans() as u64;
        Ok(())
    }

    /// Ends the file.
    ///
    /// # Errors
    /// [`WriteError`] when the sink fails.
    pub fn finish(mut self) -> Result<Written, WriteError> {
        if let Some(entry) = inline::entry(&self.json_keys) {
            self.file.append_key_value_metadata(entry);
        }
        self.file.finish()?;
        let (sink, mut written) = (self.file.inner(), self.written);
        written.size = sink.bytes();
        written.footer_size = sink.footer_size();
        if self.last.is_empty() {
            written.start = 0;
        }
        written.row_groups = self.last.len() as u32; // one has at least a trace, and traces are counted in 32 bits
        written.bloom = self.bloom.files();
        written.index = index::file(self.last.iter().copied());
        Ok(written)
    }
}

/// What a row group is made of and with.
struct Job<'a, 't, 'j> {
    source: &'j mut Source<'a, 't>,
    encoder: &'j mut ChunkEncoder,
    mapper: &'j mut Mapper,
    schema: &'j SchemaDescriptor,
    layout: &'static Layout,
}

impl Job<'_, '_, '_> {
    fn row_group<W: Write + Send>(
        &mut self,
        order: &Order,
        traces: Range<usize>,
        written: &mut Written,
        row_group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> Result<JsonKeys, WriteError> {
        let Self { source, encoder, mapper, schema, layout } = self;
        source.texts.forget();
        let shape = Shape::new(source.chunks, order, traces, source.owners, source.texts);
        written.traces += shape.traces.ids.len() as u64;
        written.start = shape.traces.start.iter().fold(written.start, |least, start| least.min(*start));
        written.end = shape.traces.end.iter().fold(written.end, |greatest, end| greatest.max(*end));
        let mut append = |bytes: Bytes, close: ColumnCloseResult| -> Result<(), WriteError> {
            Ok(row_group.append_column(&bytes, close)?)
        };
        let leaves = Leaves::new(schema, layout, encoder, mapper, &mut append);
        let (filter_bytes, json_keys) = columns::write(source, &shape, leaves)?;
        written.filter_bytes += filter_bytes;
        Ok(json_keys)
    }
}

impl Written {
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
            filter_bytes: self.filter_bytes,
            dedicated_columns: dedicated,
            replication_factor,
            covers: Vec::new(),
            compacted_time: None,
        }
    }
}
