//! What writing a block costs: CPU time and bytes of a span, and the columns that take the most.
//!
//! `cargo run --release -p trackway-vparquet --example write_speed -- [traces] [format] [columns] [file]`; the format is
//! `vParquet4` unless another is named. The dedicated columns are those that choose themselves (`chosen`), or Tempo's
//! default list (`default`), or `none`. With a file the block is left there for other readers to look at.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::time::Instant;

use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use trackway_loadgen::Workload;
use trackway_spans::{BatchBuilder, Limits, SpanBatch, append_request};
use trackway_vparquet::dedicate::{SizeByAttribute, choose};
use trackway_vparquet::meta::{DedicatedColumn, Format, default_dedicated_columns};
use trackway_vparquet::{BlockWriter, Bytes, WriteOptions};

/// About as many as the ingester freezes together.
const CHUNK_SPANS: usize = 8_000;
const ROUNDS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let traces = arguments.next().map_or(Ok(20_000), |text| text.parse())?;
    let format = arguments.next().unwrap_or_else(|| Format::default().name().to_owned());
    let format = Format::writable(&format).ok_or("such blocks are not written")?;
    let own = arguments.next().unwrap_or_else(|| "chosen".to_owned());
    let chunks = chunks(traces)?;
    let dedicated = match own.as_str() {
        "chosen" => chosen(&chunks, format),
        "default" => default_dedicated_columns(format),
        "none" => Vec::new(),
        other => return Err(format!("columns {other:?} are none of chosen, default and none").into()),
    };
    println!("{} dedicated columns", dedicated.len());
    let options = WriteOptions { format, dedicated, ..WriteOptions::default() };
    let spans: usize = chunks.iter().map(SpanBatch::len).sum();
    let input: usize = chunks.iter().map(SpanBatch::size_bytes).sum();
    println!(
        "{spans} spans of {traces} traces in {} chunks, {} bytes a span in memory",
        chunks.len(),
        input / spans
    );
    for _ in 0..ROUNDS {
        let (before, memory) = (cpu_nanoseconds()?, peak_memory()?);
        let written = BlockWriter::write(&chunks, &options, std::io::sink())?;
        let cpu = (cpu_nanoseconds()? - before) as f64 / 1000.0 / spans as f64;
        println!(
            "{cpu:.3} µs and {:.2} bytes a span; {} row groups; {} MB more memory at the peak",
            written.size as f64 / spans as f64,
            written.row_groups,
            (peak_memory()? - memory) / 1024,
        );
    }
    let mut file = Vec::new();
    BlockWriter::write(&chunks, &options, &mut file)?;
    let metadata = ParquetMetaDataReader::new()
        .with_page_index_policy(PageIndexPolicy::Required)
        .parse_and_finish(&Bytes::from(file.clone()))?;
    columns(&metadata, spans);
    if let Some(path) = arguments.next() {
        std::fs::write(path, file)?;
    }
    Ok(())
}

/// The columns that choose themselves, and what that costs.
fn chosen(chunks: &[SpanBatch], format: Format) -> Vec<DedicatedColumn> {
    #[allow(clippy::disallowed_methods, reason = "it measures")]
    let (started, mut sizes) = (Instant::now(), SizeByAttribute::default());
    chunks.iter().for_each(|chunk| sizes.merge(&SizeByAttribute::of(chunk)));
    let chosen = choose(&sizes, &[], format);
    println!("chosen in {} µs", started.elapsed().as_micros());
    chosen
}

fn chunks(traces: u64) -> Result<Vec<SpanBatch>, Box<dyn Error>> {
    let workload =
        Workload { seed: 1, traces, start_ns: 1_795_336_140_000_000_000, span_of_time_ns: 1_800_000_000_000 };
    let (mut chunks, mut builder) = (Vec::new(), BatchBuilder::new());
    for request in workload.requests() {
        append_request(&mut builder, &request.bytes, Limits::default(), &[])?;
        if builder.is_full(CHUNK_SPANS) {
            chunks.push(std::mem::take(&mut builder).finish());
        }
    }
    chunks.push(builder.finish());
    Ok(chunks)
}

fn columns(metadata: &ParquetMetaData, spans: usize) {
    let mut rows: Vec<(f64, f64, String)> = Vec::new();
    for (leaf, column) in metadata.file_metadata().schema_descr().columns().iter().enumerate() {
        let chunks = || metadata.row_groups().iter().map(|group| group.column(leaf));
        let sum = |bytes: i64| bytes as f64 / spans as f64;
        let path = column.path().string().replace(".list.element", "");
        let dictionary: i64 = chunks()
            .filter_map(|chunk| Some(chunk.data_page_offset() - chunk.dictionary_page_offset()?))
            .sum();
        rows.push((
            sum(chunks().map(|chunk| chunk.compressed_size()).sum()),
            sum(chunks().map(|chunk| chunk.uncompressed_size()).sum()),
            format!("{:6.2} of it dictionary  {path}", sum(dictionary)),
        ));
    }
    rows.sort_by(|a, b| b.0.total_cmp(&a.0));
    let total = |at: fn(&(f64, f64, String)) -> f64| rows.iter().map(at).sum::<f64>();
    println!("bytes a span, compressed and not: {:.2} {:.2}", total(|row| row.0), total(|row| row.1));
    for (compressed, uncompressed, text) in rows.iter().take(40) {
        println!("{compressed:7.2} {uncompressed:7.2} {text}");
    }
}

/// CPU time of this thread so far.
fn cpu_nanoseconds() -> Result<u64, Box<dyn Error>> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split(' ').next().unwrap_or_default().parse()?)
}

/// Most resident memory so far, in KiB.
fn peak_memory() -> Result<u64, Box<dyn Error>> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
