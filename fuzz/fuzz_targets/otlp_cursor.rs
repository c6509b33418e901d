//! Arbitrary bytes into the OTLP cursor: a request whose framing can be walked is read without a panic, every span of it
//! is kept or refused, and what was kept can be written as OTLP and as Arrow IPC and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trackway_spans::{BatchBuilder, Limits, append_request, encode_trace, peek_request, read_ipc, write_ipc};

fuzz_target!(|request: &[u8]| {
    let Ok(spans) = peek_request(request) else { return };
    let mut builder = BatchBuilder::new();
    let done = append_request(&mut builder, request, Limits::default(), &[]).expect("it was peeked at");
    assert_eq!(done.spans as usize + done.refused.len(), spans as usize);
    let batch = builder.finish();
    assert_eq!(batch.len(), done.spans as usize);

    let trace = encode_trace(&batch);
    assert_eq!(peek_request(&trace).expect("what was written can be read"), done.spans);
    let mut builder = BatchBuilder::new();
    let again = append_request(&mut builder, &trace, Limits::default(), &[]).expect("it was peeked at");
    assert_eq!((again.spans, again.refused.len()), (done.spans, 0), "{:?}", again.refused);

    let mut ipc = Vec::new();
    write_ipc(&batch, &mut ipc).expect("a batch can be written");
    let read = read_ipc(&ipc).expect("what was written can be read");
    assert_eq!(encode_trace(&read), trace);
});
