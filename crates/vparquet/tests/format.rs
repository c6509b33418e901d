//! The rules that a block must keep so that Tempo reads it, and reads it fast.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use common::{batches, random, shop_frames, write};
use parquet::basic::{Compression, Encoding, Type};
use parquet::column::page::{Page, PageReader};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::{SerializedFileReader, SerializedPageReader};
use parquet::file::statistics::Statistics;
use parquet::schema::printer::print_schema;
use parquet::schema::types::SchemaDescriptor;
use trackway_spans::wire::{put_bytes, put_message, put_number};
use trackway_vparquet::{Bytes, WriteOptions};

fn metadata(bytes: &Bytes) -> ParquetMetaData {
    ParquetMetaDataReader::new()
        .with_page_index_policy(PageIndexPolicy::Required)
        .parse_and_finish(bytes)
        .unwrap()
}

/// The recorded shop, and everything that a block can hold.
static BLOCKS: LazyLock<[Bytes; 2]> = LazyLock::new(|| {
    let random = batches(&random::requests(11, 50, 150, 100), 3);
    let shop = batches(&shop_frames(), 5);
    let options = WriteOptions { row_group_spans_max: 9000, ..WriteOptions::default() };
    [write(&shop, &options).1, write(&random, &options).1]
});

#[test]
fn the_schema_is_that_of_tempos_block() {
    let golden = metadata(&Bytes::from(std::fs::read(common::GOLDEN).unwrap()));
    for block in BLOCKS.iter() {
        let ours = metadata(block);
        let (ours, theirs) = (ours.file_metadata().schema_descr(), golden.file_metadata().schema_descr());
        // In Parquet's language: parquet-go also notes the bits of integers as a length, which means nothing there.
        let text = |schema: &SchemaDescriptor| {
            let mut text = Vec::new();
            print_schema(&mut text, schema.root_schema());
            String::from_utf8(text).unwrap()
        };
        assert_eq!(text(ours), text(theirs));
        assert_eq!(ours.num_columns(), theirs.num_columns());
    }
}

#[test]
fn pages_are_small_whole_and_of_version_1() {
    for block in BLOCKS.iter() {
        let metadata = metadata(block);
        let chunks = Arc::new(block.clone());
        let index = metadata.page_index().unwrap();
        let mut most = 0;
        for (at, group) in metadata.row_groups().iter().enumerate() {
            for (leaf, column) in group.columns().iter().enumerate() {
                let path = column.column_path().string();
                let locations = index.offset_index(at, leaf).unwrap().page_locations().clone();
                most = most.max(locations.len());
                let ends: Vec<i64> = locations
                    .iter()
                    .skip(1)
                    .map(|next| next.first_row_index)
                    .chain([group.num_rows()])
                    .collect();
                let mut pages =
                    SerializedPageReader::new(Arc::clone(&chunks), column, group.num_rows() as usize, None)
                        .unwrap();
                let (mut dictionary, mut data, mut entries) = (false, Vec::new(), 0);
                while let Some(page) = pages.get_next_page().unwrap() {
                    match page {
                        Page::DictionaryPage { .. } => dictionary = true,
                        Page::DataPage { ref buf, encoding, num_values, .. } => {
                            let rows = ends[data.len()] - locations[data.len()].first_row_index;
                            assert!(rows > 0, "{path}");
                            assert!(buf.len() <= 64 * 1024 || rows == 1, "{path}: {} bytes", buf.len());
                            entries += i64::from(num_values);
                            data.push(encoding);
                        }
                        Page::DataPageV2 { .. } => panic!("{path} has a page of version 2"),
                    }
                }
                assert_eq!(data.len(), locations.len(), "{path}");
                assert_eq!(entries, column.num_values(), "{path}");
                let by_dictionary =
                    data.iter().filter(|encoding| **encoding == Encoding::RLE_DICTIONARY).count();
                assert_eq!(by_dictionary, if dictionary { data.len() } else { 0 }, "{path}");
                let stated: HashSet<Encoding> = column.encodings().collect();
                assert!(data.iter().all(|encoding| stated.contains(encoding)), "{path}");
            }
        }
        assert!(most > 3 || metadata.row_groups()[0].num_rows() < 300, "the data must take several pages");
    }
}

#[test]
fn a_column_has_one_codec_and_its_indices() {
    for block in BLOCKS.iter() {
        let metadata = metadata(block);
        let index = metadata.page_index().unwrap();
        assert!(metadata.num_row_groups() >= 1);
        for leaf in 0..metadata.file_metadata().schema_descr().num_columns() {
            let codecs: HashSet<String> = metadata
                .row_groups()
                .iter()
                .map(|group| format!("{:?}", group.column(leaf).compression()))
                .collect();
            assert_eq!(codecs.len(), 1);
            let column = metadata.row_group(0).column(leaf);
            let path = column.column_path().string();
            let random = path == "TraceID" || path.ends_with("Spans.list.element.SpanID");
            assert_eq!(column.compression() == Compression::UNCOMPRESSED, random, "{path}");
            let numeric = matches!(column.column_type(), Type::INT32 | Type::INT64);
            for group in 0..metadata.num_row_groups() {
                let has_index = index.column_index(group, leaf).is_some();
                match column.column_type() {
                    Type::INT32 | Type::INT64 => assert!(has_index, "{path}"),
                    Type::BYTE_ARRAY => assert_eq!(has_index, path == "TraceID", "{path}"),
                    _ => {}
                }
            }
            let values =
                column.num_values() > 0 && !path.contains("list.element.Value") && !path.ends_with("Code");
            assert!(
                !numeric || !values || column.statistics().is_some() || path.contains("Events"),
                "{path}"
            );
        }
    }
}

/// Starts beyond 2^63 are greater than those before, not negative.
#[test]
fn bounds_of_unsigned_columns_are_unsigned() {
    let block = &BLOCKS[1];
    let metadata = metadata(block);
    let file = common::read(block, &[]);
    for (group, spans) in metadata.row_groups().iter().zip(&file) {
        let column = group
            .columns()
            .iter()
            .find(|column| column.column_path().string().ends_with("Spans.list.element.StartTimeUnixNano"))
            .unwrap();
        let Some(Statistics::Int64(bounds)) = column.statistics() else { panic!("no statistics") };
        let found =
            bounds.min_opt().zip(bounds.max_opt()).map(|(a, b)| (a.cast_unsigned(), b.cast_unsigned()));
        let starts = || spans.spans.start.iter().copied();
        assert_eq!(found, starts().min().zip(starts().max()));
        assert!(starts().max() > Some(1 << 63));
    }
}

/// One span whose resource and itself have attributes that go to columns of their own, and some that look so.
#[test]
fn attributes_go_to_the_first_place_that_is_theirs() {
    let attribute = |out: &mut Vec<u8>, number: u32, key: &str, text: Option<&str>| {
        put_message(out, number, |out| {
            put_bytes(out, 1, key.as_bytes());
            put_message(out, 2, |out| match text {
                Some(text) => put_bytes(out, 1, text.as_bytes()),
                None => put_number(out, 3, 404),
            });
        });
    };
    let mut request = Vec::new();
    put_message(&mut request, 1, |out| {
        put_message(out, 1, |out| {
            attribute(out, 1, "service.name", Some("cart"));
            attribute(out, 1, "cluster", Some("first"));
            attribute(out, 1, "cluster", Some("second"));
            attribute(out, 1, "pod", None);
            attribute(out, 1, "http.method", Some("not a span's"));
        });
        put_message(out, 2, |out| {
            put_message(out, 2, |out| {
                put_bytes(out, 1, &[1; 16]);
                put_bytes(out, 2, &[2; 8]);
                attribute(out, 9, "http.method", Some("GET"));
                attribute(out, 9, "http.method", Some("PUT"));
                attribute(out, 9, "http.url", None);
                attribute(out, 9, "http.status_code", None);
                attribute(out, 9, "http.status_code", Some("404"));
                attribute(out, 9, "url.path", Some("/cart"));
                attribute(out, 9, "cluster", Some("not a resource's"));
            });
        });
    });
    let (_, bytes) = write(&batches(&[request], 1), &WriteOptions::default());
    let reader = SerializedFileReader::new(bytes).unwrap();
    let row = reader.get_row_iter(None).unwrap().next().unwrap().unwrap().to_string();
    let keys: Vec<&str> = row
        .match_indices("{Key: \"")
        .map(|(at, key)| row[at + key.len()..].split('"').next().unwrap())
        .collect();
    // Texts come before numbers.
    let resource = ["cluster", "http.method", "pod"];
    let span = ["http.method", "http.status_code", "cluster", "http.url"];
    assert_eq!(keys, [&resource[..], &span[..]].concat(), "{row}");
    for stored in [
        "ServiceName: \"cart\"",
        "Cluster: \"first\"",
        "Pod: null",
        "HttpMethod: \"GET\"",
        "HttpUrl: null",
        "HttpStatusCode: 404",
        "String02: \"/cart\"",
        "TraceIDText: \"1010101010101010101010101010101\"",
    ] {
        assert!(row.contains(stored), "{stored} is not in {row}");
    }
}
