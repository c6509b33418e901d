//! Arbitrary bytes as a datagram in Thrift's compact protocol: what is taken is OTLP that can be walked, with as many
//! spans as were promised.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trackway_foreign::{Options, Protocol, jaeger};
use trackway_spans::peek_request;

fuzz_target!(|bytes: &[u8]| {
    let options = Options { max_output: 1 << 20, parse_string_tags: false, now: 1 };
    for translated in [jaeger::call(bytes, Protocol::Compact, &options)].into_iter().flatten() {
        let spans = peek_request(&translated.protobuf).expect("the protobuf can be walked");
        assert_eq!(spans as usize, translated.spans);
    }
});
