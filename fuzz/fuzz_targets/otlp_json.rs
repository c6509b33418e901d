//! Arbitrary bytes as OTLP/JSON: what is taken is protobuf that the cursor reads, with as many spans as were promised.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trackway_otlpjson::{Limits, Style, to_protobuf, write_trace_json};
use trackway_spans::{BatchBuilder, append_request, encode_trace, peek_request};

fuzz_target!(|json: &[u8]| {
    let Ok(converted) = to_protobuf(json, &Limits::default()) else { return };
    let spans = peek_request(&converted.protobuf).expect("the protobuf can be walked");
    assert_eq!(spans as usize, converted.spans - converted.refused_spans);
    let mut builder = BatchBuilder::new();
    let limits = trackway_spans::Limits::default();
    append_request(&mut builder, &converted.protobuf, limits, &[]).expect("it was peeked at");

    // What is kept can be shown.
    let mut text = Vec::new();
    write_trace_json(&encode_trace(&builder.finish()), Style::V2ResourceSpans, &mut text).expect("JSON");
});
