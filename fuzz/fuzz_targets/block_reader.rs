//! Damaged blocks: a block of Tempo's or one of ours with some bytes changed, or bytes that are no block at all, is
//! refused with an error or read, never with a panic or without end.
//!
//! The input: one byte says which file, then come changes of eight bytes each: where (four bytes; from the end of the file
//! when the fifth is odd), the new value, and over how many bytes.
#![no_main]

use std::sync::{Arc, OnceLock};

use libfuzzer_sys::fuzz_target;
use trackway_spans::{BatchBuilder, Level, Limits, Needs, Prune, PruneOn, append_request};
use trackway_vparquet::meta::{Format, default_dedicated_columns};
use trackway_vparquet::{BlockFile, BlockWriter, Bytes, Fetched, Read, RowGroup, WriteOptions};

/// A block of each format that is read.
static TEMPOS: [&[u8]; 3] = [
    include_bytes!("../../tests/golden/v3/single-tenant/33d01134-b273-4827-9c29-bf9aff39f5b8/data.parquet"),
    include_bytes!("../../tests/golden/v4/single-tenant/728a1849-365c-4c4b-beef-cd37283c2b4d/data.parquet"),
    include_bytes!("../../tests/golden/v5/single-tenant/db944627-7979-4599-937b-8f4d9e7bdd30/data.parquet"),
];

/// A small block of each format that is written, so that many changes are tried a second.
fn ours() -> &'static [Vec<u8>; 2] {
    static BLOCKS: OnceLock<[Vec<u8>; 2]> = OnceLock::new();
    BLOCKS.get_or_init(|| {
        Format::WRITTEN.map(|format| {
            let mut builder = BatchBuilder::new();
            append_request(&mut builder, &request(), Limits::default(), &[]).expect("a request");
            let dedicated = default_dedicated_columns(format);
            let options = WriteOptions { format, dedicated, ..WriteOptions::default() };
            let mut file = Vec::new();
            BlockWriter::write(&[builder.finish()], &options, &mut file).expect("a block");
            file
        })
    })
}

/// Three traces with attributes of every kind, an event and a link, as OTLP/JSON.
fn request() -> Vec<u8> {
    let mut spans = Vec::new();
    for trace in 1..=3 {
        for span in 1..=4 {
            spans.push(format!(
                r#"{{"traceId":"{trace:032x}","spanId":"{span:016x}","parentSpanId":"{}","name":"n{span}","kind":2,
                "startTimeUnixNano":"1700000000000000000","endTimeUnixNano":"1700000001000000000",
                "status":{{"code":2,"message":"m"}},
                "attributes":[{{"key":"http.method","value":{{"stringValue":"GET"}}}},{{"key":"i","value":{{"intValue":"7"}}}},
                {{"key":"d","value":{{"doubleValue":1.5}}}},{{"key":"b","value":{{"boolValue":true}}}},
                {{"key":"a","value":{{"arrayValue":{{"values":[{{"stringValue":"x"}}]}}}}}}],
                "events":[{{"timeUnixNano":"1700000000500000000","name":"e","attributes":[{{"key":"k","value":{{"stringValue":"v"}}}}]}}],
                "links":[{{"traceId":"{trace:032x}","spanId":"{span:016x}","attributes":[{{"key":"l","value":{{"stringValue":"v"}}}}]}}]}}"#,
                if span == 1 { String::new() } else { format!("{:016x}", span - 1) }
            ));
        }
    }
    let json = format!(
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"s"}}}},
        {{"key":"k8s.pod.name","value":{{"stringValue":"p"}}}},{{"key":"r","value":{{"stringValue":"v"}}}}]}},
        "scopeSpans":[{{"scope":{{"name":"lib","version":"1"}},"spans":[{}]}}]}}]}}"#,
        spans.join(",")
    );
    trackway_otlpjson::to_protobuf(json.as_bytes(), &trackway_otlpjson::Limits::default())
        .expect("JSON")
        .protobuf
}

fn changed(input: &[u8]) -> Option<Vec<u8>> {
    let (which, changes) = input.split_first()?;
    let mut file = match which % 8 {
        0 => return Some(changes.to_vec()),
        of @ 1..=3 => TEMPOS[usize::from(of) - 1].to_vec(),
        of => ours()[usize::from(of) % 2].clone(),
    };
    for change in changes.chunks_exact(8) {
        let place = u32::from_le_bytes([change[0], change[1], change[2], change[3]]) as usize % file.len();
        let at = if change[4] % 2 == 1 { file.len() - 1 - place % file.len().min(16 << 10) } else { place };
        let end = (at + 1 + usize::from(change[6] % 4)).min(file.len());
        file[at..end].fill(change[5]);
        if change[7] == 255 {
            file.truncate(at);
        }
        if file.is_empty() {
            break;
        }
    }
    Some(file)
}

/// Fetches what is asked for, as long as the file has it; what it does not have ends the reading.
fn all<T, E>(fetched: &Arc<Fetched>, file: &Bytes, mut ask: impl FnMut() -> Result<Read<T>, E>) -> Option<T> {
    for _ in 0..100 {
        match ask().ok()? {
            Read::Ready(done) => return Some(done),
            Read::NeedsRanges(ranges) => {
                for range in ranges {
                    assert!(range.start <= range.end, "a range backwards: {range:?}");
                    if range.end > file.len() as u64 {
                        return None; // the store says so
                    }
                    fetched.add(range.start, file.slice(range.start as usize..range.end as usize));
                }
            }
        }
    }
    panic!("asks for ranges again and again");
}

/// A condition of every kind that row groups are passed over by.
fn prunes() -> Vec<Prune> {
    let levels = vec![Level::Span, Level::Resource];
    let attr = |key: &str| PruneOn::Attr { levels: levels.clone(), key: key.into(), value: true };
    let on = [
        attr("i"),
        attr("http.method"),
        attr("service.name"),
        PruneOn::Name,
        PruneOn::Status(2),
        PruneOn::Kind(2),
    ];
    on.into_iter().map(|on| Prune { on, text: Arc::new(|_| true), one_of: None }).collect()
}

fuzz_target!(|input: &[u8]| {
    let Some(file) = changed(input) else { return };
    let file = Bytes::from(file);
    let opened = BlockFile::open(&file, file.len() as u64, &default_dedicated_columns(Format::VParquet5));
    let Ok(Read::Ready(opened)) = opened else { return };
    for index in 0..opened.row_groups().min(4) {
        let mut group = RowGroup::new(&opened, index);
        let fetched = Arc::clone(group.fetched());
        if let Some(batch) = all(&fetched, &file, || group.load(&Needs::everything())) {
            // Whatever was read is a batch like any other.
            let _ = trackway_spans::encode_trace(&batch);
        }
        let mut some = RowGroup::with_rows(&opened, index, vec![0, 2]);
        let fetched = Arc::clone(some.fetched());
        let _ = all(&fetched, &file, || some.load(&Needs::everything()));
        let mut pruned = RowGroup::new(&opened, index);
        let fetched = Arc::clone(pruned.fetched());
        let _ = all(&fetched, &file, || pruned.may_match(&prunes()));
    }
});
