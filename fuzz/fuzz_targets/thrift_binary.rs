//! Arbitrary bytes in Thrift's binary protocol, as a datagram, a body and a list of Zipkin: what is taken is OTLP that
//! can be walked, with as many spans as were promised.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trackway_foreign::{Options, Protocol, jaeger, zipkin};
use trackway_spans::peek_request;

fuzz_target!(|bytes: &[u8]| {
    let options = Options { max_output: 1 << 20, parse_string_tags: false, now: 1 };
    for translated in [
        jaeger::call(bytes, Protocol::Binary, &options),
        jaeger::http_body(bytes, Protocol::Binary, &options),
        zipkin::v1_thrift(bytes, &options),
    ]
    .into_iter()
    .flatten()
    {
        let spans = peek_request(&translated.protobuf).expect("the protobuf can be walked");
        assert_eq!(spans as usize, translated.spans);
    }
});
