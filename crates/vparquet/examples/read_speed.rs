//! What reading a block costs: CPU time of loading what some questions need, on one thread, bytes already fetched.
//!
//! `cargo run --release -p trackway-vparquet --example read_speed -- [traces] [only questions with this in their name]`
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::sync::Arc;

use trackway_loadgen::Workload;
use trackway_spans::{BatchBuilder, Columns, Level, Limits, Needs, SpanBatch, append_request};
use trackway_vparquet::{BlockFile, BlockWriter, Bytes, Read, RowGroup, WriteOptions};

const ENOUGH_NS: u64 = 400_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    let traces = std::env::args().nth(1).map_or(Ok(10_000), |text| text.parse())?;
    let file = block(traces)?;
    let Read::Ready(opened) = BlockFile::open(&file, file.len() as u64, &[])? else {
        return Err("the whole file was given".into());
    };
    println!("{} bytes, {} row groups", file.len(), opened.row_groups());
    let only = std::env::args().nth(2).unwrap_or_default();
    for (name, needs) in questions().into_iter().filter(|(name, _)| name.contains(&only)) {
        measure(name, || {
            let groups = 0..opened.row_groups();
            groups.map(|group| Ok(load(RowGroup::new(&opened, group), &file, &needs)?.len())).sum()
        })?;
    }
    let everything = Needs::everything();
    let row = u32::try_from(opened.rows(0) / 2)?;
    measure("one trace, whole", || {
        Ok(load(RowGroup::with_rows(&opened, 0, vec![row]), &file, &everything)?.len())
    })
}

fn questions() -> Vec<(&'static str, Needs)> {
    let of = |columns: &[Columns]| {
        let mut needs = Needs::default();
        columns.iter().for_each(|columns| needs.add(*columns));
        needs
    };
    let attr = |level, key: &[u8]| {
        let mut needs = Needs::default();
        needs.add_attr(level, key);
        needs
    };
    vec![
        ("structure", of(&[])),
        ("status", of(&[Columns::STATUS])),
        ("name", of(&[Columns::NAME])),
        ("start and duration", of(&[Columns::START, Columns::DURATION])),
        ("ids and parents", of(&[Columns::ID, Columns::PARENT])),
        ("resource.service.name", of(&[Columns::SERVICE])),
        ("span.http.route", attr(Level::Span, b"http.route")),
        ("span.order.id", attr(Level::Span, b"order.id")),
        ("resource.k8s.pod.name", attr(Level::Resource, b"k8s.pod.name")),
        ("all attributes of spans", {
            let mut needs = Needs::default();
            needs.add_all_attrs(Level::Span);
            needs
        }),
        ("everything", Needs::everything()),
    ]
}

fn measure(name: &str, mut run: impl FnMut() -> Result<usize, Box<dyn Error>>) -> Result<(), Box<dyn Error>> {
    let mut spans = run()?;
    let (before, mut rounds) = (cpu_nanoseconds()?, 0_u32);
    // The kernel counts in ticks of some milliseconds: only many rounds together can be measured.
    while cpu_nanoseconds()? - before < ENOUGH_NS {
        spans = run()?;
        rounds += 1;
    }
    let each = (cpu_nanoseconds()? - before) as f64 / f64::from(rounds);
    println!("{:8.3} ms {:7.2} ns a span  {name} ({spans} spans)", each / 1e6, each / spans.max(1) as f64);
    Ok(())
}

fn load(mut group: RowGroup, file: &Bytes, needs: &Needs) -> Result<SpanBatch, Box<dyn Error>> {
    group.fetched().add(0, file.clone());
    match group.load(needs)? {
        Read::Ready(batch) => Ok(batch),
        Read::NeedsRanges(ranges) => Err(format!("{ranges:?} are missing of a whole file").into()),
    }
}

fn block(traces: u64) -> Result<Bytes, Box<dyn Error>> {
    let workload =
        Workload { seed: 1, traces, start_ns: 1_795_336_140_000_000_000, span_of_time_ns: 1_800_000_000_000 };
    let mut builder = BatchBuilder::new();
    for request in workload.requests() {
        append_request(&mut builder, &request.bytes, Limits::default(), &[])?;
    }
    let mut file = Vec::new();
    BlockWriter::write(&[Arc::new(builder.finish())], &WriteOptions::default(), &mut file)?;
    Ok(file.into())
}

/// CPU time of this thread so far.
fn cpu_nanoseconds() -> Result<u64, Box<dyn Error>> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split(' ').next().unwrap_or_default().parse()?)
}
