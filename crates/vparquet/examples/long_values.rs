//! What long values cost those who do not ask for them: a block of 50,000 spans with 100 values of 1 MB each, and the
//! same without.
//!
//! `cargo run --release -p trackway-vparquet --example long_values`
#![allow(clippy::print_stdout)]

use std::error::Error;

use trackway_spans::wire::{put_bytes, put_fixed64, put_message};
use trackway_spans::{
    BatchBuilder, Level, Limits, Needs, SpanBatch, Value, anyvalue, append_request, encode_trace,
};
use trackway_vparquet::{BlockFile, BlockWriter, Bytes, Read, RowGroup, WriteOptions};

const SPANS: u64 = 50_000;
const EACH: u64 = 500;
const LONG_BYTES: usize = 1 << 20;
const ROUNDS: u64 = 20;

fn main() -> Result<(), Box<dyn Error>> {
    let (with, without) = (block(true)?, block(false)?);
    println!("{} bytes with long values, {} without", with.len(), without.len());
    for key in ["route", "order", "prompt"] {
        let mut needs = Needs::default();
        needs.add_attr(Level::Span, key.as_bytes());
        let (plain, long) = (cost(&without, &needs)?, cost(&with, &needs)?);
        println!("{key}: {plain:?} and {long:?} µs and bytes, {:.2} times", long.0 as f64 / plain.0 as f64);
    }
    let file = open(&with)?;
    let batch = load(RowGroup::new(&file, 0), &with, &Needs::everything())?.0;
    let of_keys = |id: &u32| batch.strings.get(*id).len() >= LONG_BYTES;
    let strings = &batch.attrs(Level::Span).strings;
    let found = strings.value.iter().filter(|id| of_keys(id)).count();
    let place = strings.value.iter().position(of_keys).ok_or("no long value")?;
    let row = batch.spans.trace[strings.owner[place] as usize];
    let (one, bytes) = load(RowGroup::with_rows(&file, 0, vec![row]), &with, &Needs::everything())?;
    println!("{found} long values; a trace with one: {} bytes, of {bytes} read", encode_trace(&one).len());
    Ok(())
}

fn put_attr(out: &mut Vec<u8>, key: &str, value: &str) {
    put_message(out, 9, |out| {
        put_bytes(out, 1, key.as_bytes());
        put_message(out, 2, |out| anyvalue::put(out, Value::String(value.as_bytes())));
    });
}

fn block(with_long: bool) -> Result<Bytes, Box<dyn Error>> {
    let mut request = Vec::new();
    put_message(&mut request, 1, |out| {
        put_message(out, 2, |out| {
            for number in 0..SPANS {
                put_message(out, 2, |out| {
                    let id = (number / 20 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                    put_bytes(out, 1, &u128::from(id).to_be_bytes());
                    put_bytes(out, 2, &(number + 1).to_be_bytes());
                    put_fixed64(out, 7, 1_795_336_140_000_000_000 + number * 1000);
                    put_fixed64(out, 8, 1_795_336_140_000_900_000 + number * 1000);
                    put_attr(out, "route", &format!("/v1/{}", id % 40));
                    put_attr(out, "order", &format!("order-{id:016x}"));
                    put_attr(out, "user", &format!("user-{}", id % 3_000));
                    let is_long = with_long && number % EACH == 0;
                    let words = |size: usize| "what was asked and answered ".repeat(size / 28 + 1);
                    put_attr(out, "prompt", &words(if is_long { LONG_BYTES } else { 40 }));
                });
            }
        });
    });
    let mut builder = BatchBuilder::new();
    append_request(&mut builder, &request, Limits { max_attribute_bytes: 0 }, &[])?;
    let mut file = Vec::new();
    BlockWriter::write(&[std::sync::Arc::new(builder.finish())], &WriteOptions::default(), &mut file)?;
    Ok(file.into())
}

fn open(file: &Bytes) -> Result<std::sync::Arc<BlockFile>, Box<dyn Error>> {
    match BlockFile::open(file, file.len() as u64, &[])? {
        Read::Ready(opened) => Ok(opened),
        Read::NeedsRanges(_) => Err("the whole file was given".into()),
    }
}

fn load(mut group: RowGroup, file: &Bytes, needs: &Needs) -> Result<(SpanBatch, u64), Box<dyn Error>> {
    loop {
        match group.load(needs)? {
            Read::Ready(batch) => return Ok((batch, group.fetched().bytes())),
            Read::NeedsRanges(ranges) => ranges.into_iter().for_each(|range| {
                group.fetched().add(range.start, file.slice(range.start as usize..range.end as usize));
            }),
        }
    }
}

/// CPU microseconds and bytes of loading what is needed.
fn cost(file: &Bytes, needs: &Needs) -> Result<(u64, u64), Box<dyn Error>> {
    let opened = open(file)?;
    let (before, mut bytes) = (cpu_nanoseconds()?, 0);
    for _ in 0..ROUNDS {
        bytes = load(RowGroup::new(&opened, 0), file, needs)?.1;
    }
    Ok(((cpu_nanoseconds()? - before) / 1000 / ROUNDS, bytes))
}

/// CPU time of this thread so far.
fn cpu_nanoseconds() -> Result<u64, Box<dyn Error>> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split(' ').next().unwrap_or_default().parse()?)
}
