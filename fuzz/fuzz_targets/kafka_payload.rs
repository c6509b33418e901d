//! Arbitrary bytes as the payload of a record, in the encoding that the first byte chooses: what is taken is OTLP that can be
//! walked, with as many spans as were promised, and still is with headers among its attributes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trackway_foreign::{Options, RecordEncoding, with_headers};
use trackway_spans::peek_request;

fuzz_target!(|bytes: &[u8]| {
    let Some((first, payload)) = bytes.split_first() else { return };
    let all = RecordEncoding::NAMED;
    let encoding = all.get(*first as usize % (all.len() + 1)).copied();
    let encoding = encoding.unwrap_or(RecordEncoding::TempoPushBytes);
    let options = Options { max_output: 1 << 20, parse_string_tags: false, now: 1 };
    let Ok(translated) = encoding.translate(payload, &options) else { return };
    let spans = peek_request(&translated.protobuf).expect("the protobuf can be walked");
    assert_eq!(spans as usize, translated.spans);
    let headers = [("team".to_owned(), "blue".to_owned())];
    // A resource that is damaged inside is found out only when it is changed.
    let Ok(with) = with_headers(&translated.protobuf, &headers) else { return };
    assert_eq!(peek_request(&with), Ok(spans));
});
