//! The rules that a block must keep so that Tempo reads it, and reads it fast.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, LazyLock};

use common::{batches, random, shop_frames, write};
use parquet::basic::{Compression, Encoding, Type};
use parquet::column::page::{Page, PageReader};
use parquet::column::reader::ColumnReader;
use parquet::file::metadata::{ColumnChunkMetaData, PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::{SerializedFileReader, SerializedPageReader};
use parquet::file::statistics::Statistics;
use parquet::schema::printer::print_schema;
use parquet::schema::types::SchemaDescriptor;
use trackway_spans::Level;
use trackway_spans::wire::{put_bytes, put_message, put_number};
use trackway_vparquet::meta::{DedicatedColumn, Format};
use trackway_vparquet::{Bytes, ColumnType, WriteOptions};

fn metadata(bytes: &Bytes) -> ParquetMetaData {
    ParquetMetaDataReader::new()
        .with_page_index_policy(PageIndexPolicy::Required)
        .parse_and_finish(bytes)
        .unwrap()
}

/// The recorded shop, and everything that a block can hold, in both formats.
static BLOCKS: LazyLock<[Bytes; 4]> = LazyLock::new(|| {
    let random = batches(&random::requests(11, 50, 150, 100), 3);
    let shop = batches(&shop_frames(), 5);
    let [v4, v5] = Format::WRITTEN
        .map(|format| WriteOptions { row_group_spans_max: 9000, ..common::options(format) })
        .map(|options| [&shop, &random].map(|batches| write(batches, &options).1));
    let ([a, b], [c, d]) = (v4, v5);
    [a, b, c, d]
});

/// The path of a leaf as both formats have it.
fn path_of(column: &ColumnChunkMetaData) -> String {
    column.column_path().string().replace(".list.element", "")
}

/// With the dedicated columns of each: vParquet5 has only the columns that a block needs.
#[test]
fn the_schema_is_that_of_tempos_block() {
    let input = batches(&random::requests(2, 3, 9, 9), 1);
    for recording in ["v4", "v4-dedicated", "v5", "v5-dedicated"] {
        let (golden, meta) = common::golden(recording);
        let format = Format::readable(&meta.format).unwrap();
        let options =
            WriteOptions { format, dedicated: meta.dedicated_columns.clone(), ..WriteOptions::default() };
        let (written, bytes) = write(&input, &options);
        assert_eq!(common::open(&bytes, &[]).format(), format);
        assert_eq!(written.meta(meta.block_id, "t", Vec::new(), 1).format, meta.format);
        let (ours, theirs) = (metadata(&bytes), metadata(&golden));
        let (ours, theirs) = (ours.file_metadata().schema_descr(), theirs.file_metadata().schema_descr());
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
                let path = path_of(column);
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
            let path = path_of(column);
            let random = path == "TraceID" || path.ends_with("Spans.SpanID");
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
            let values = column.num_values() > 0 && !path.contains("Attrs.Value") && !path.ends_with("Code");
            assert!(
                !numeric
                    || !values
                    || column.statistics().is_some()
                    || path.contains("Events")
                    || path.contains("Dedicated"),
                "{path}"
            );
        }
    }
}

/// Starts beyond 2^63 are greater than those before, not negative.
#[test]
fn bounds_of_unsigned_columns_are_unsigned() {
    for block in [&BLOCKS[1], &BLOCKS[3]] {
        let metadata = metadata(block);
        let file = common::read(block, &[]);
        for (group, spans) in metadata.row_groups().iter().zip(&file) {
            let column = group
                .columns()
                .iter()
                .find(|column| path_of(column).ends_with("Spans.StartTimeUnixNano"))
                .unwrap();
            let Some(Statistics::Int64(bounds)) = column.statistics() else { panic!("no statistics") };
            let found =
                bounds.min_opt().zip(bounds.max_opt()).map(|(a, b)| (a.cast_unsigned(), b.cast_unsigned()));
            let starts = || spans.spans.start.iter().copied();
            assert_eq!(found, starts().min().zip(starts().max()));
            assert!(starts().max() > Some(1 << 63));
        }
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

/// Appends a value.
type Put<'a> = &'a dyn Fn(&mut Vec<u8>);

/// One span with an event: in vParquet5 each of the three levels has columns for texts and integers, which take arrays of
/// two elements and more, too. Blobs have no dictionary.
#[test]
fn vparquet5_has_columns_for_texts_integers_and_arrays_of_events_too() {
    let text = |out: &mut Vec<u8>, text: &str| put_bytes(out, 1, text.as_bytes());
    let int = |out: &mut Vec<u8>, int: u64| put_number(out, 3, int);
    let attribute = |out: &mut Vec<u8>, number: u32, key: &str, value: Put<'_>| {
        put_message(out, number, |out| {
            put_bytes(out, 1, key.as_bytes());
            put_message(out, 2, |out| value(out));
        });
    };
    let array = |out: &mut Vec<u8>, elements: &[Put<'_>]| {
        put_message(out, 5, |out| {
            elements.iter().for_each(|element| put_message(out, 1, |out| element(out)))
        });
    };
    let all = |out: &mut Vec<u8>, number: u32| {
        attribute(out, number, "t", &|out| text(out, "one"));
        attribute(out, number, "t", &|out| text(out, "another"));
        attribute(out, number, "n", &|out| int(out, 7));
        attribute(out, number, "ts", &|out| array(out, &[&|out| text(out, "x"), &|out| text(out, "y")]));
        attribute(out, number, "ns", &|out| array(out, &[&|out| int(out, 1), &|out| int(out, 2)]));
        attribute(out, number, "short", &|out| array(out, &[&|out| text(out, "alone")]));
        attribute(out, number, "mixed", &|out| array(out, &[&|out| text(out, "x"), &|out| int(out, 2)]));
    };
    let mut request = Vec::new();
    put_message(&mut request, 1, |out| {
        put_message(out, 1, |out| all(out, 1));
        put_message(out, 2, |out| {
            put_message(out, 2, |out| {
                put_bytes(out, 1, &[1; 16]);
                put_bytes(out, 2, &[2; 8]);
                all(out, 9);
                put_message(out, 11, |out| all(out, 3));
            });
        });
    });
    let mut dedicated = Vec::new();
    for level in [Level::Resource, Level::Span, Level::Event] {
        for (name, kind) in [
            ("t", ColumnType::Text),
            ("n", ColumnType::Int),
            ("ts", ColumnType::Text),
            ("ns", ColumnType::Int),
            ("short", ColumnType::Text),
            ("mixed", ColumnType::Text),
        ] {
            let options = if name == "t" { vec!["blob".to_owned()] } else { Vec::new() };
            dedicated.push(DedicatedColumn { options, ..DedicatedColumn::new(level, kind, name) });
        }
    }
    let options =
        WriteOptions { format: Format::VParquet5, dedicated: dedicated.clone(), ..WriteOptions::default() };
    let input = batches(&[request], 1);
    let (_, bytes) = write(&input, &options);
    let reader = SerializedFileReader::new(bytes.clone()).unwrap();
    let row = reader.get_row_iter(None).unwrap().next().unwrap().unwrap().to_string();
    let columns = "DedicatedAttributes: {String01: [\"one\"], String02: [\"x\", \"y\"], String03: [], String04: [], \
                   Int01: [7], Int02: [1, 2]}";
    assert_eq!(row.matches(columns).count(), 3, "{row}");
    for generic in ["Key: \"t\", IsArray: false", "Key: \"short\", IsArray: true", "Key: \"mixed\""] {
        assert_eq!(row.matches(generic).count(), 3, "{generic}: {row}");
    }
    for column in metadata(&bytes).row_group(0).columns() {
        let is_blob = path_of(column).ends_with("String01");
        assert!(!is_blob || column.dictionary_page_offset().is_none(), "{}", path_of(column));
    }
    let (before, after) =
        (common::canonical(&[common::merged(&input)]), common::canonical(&common::read(&bytes, &dedicated)));
    assert_eq!(before, after);
}

/// What vParquet5 says of spans and scopes beside what was sent is what Tempo says of them.
#[test]
fn derived_columns_of_vparquet5_are_as_tempos() {
    let (golden, meta) = common::golden("v5");
    let spans: Vec<_> = common::read(&golden, &meta.dedicated_columns).into_iter().map(Arc::new).collect();
    let (_, ours) = write(&spans, &common::options(Format::VParquet5));
    let facts = |bytes: &Bytes| -> BTreeMap<String, Vec<i64>> {
        let reader = SerializedFileReader::new(bytes.clone()).unwrap();
        let group = reader.get_row_group(0).unwrap();
        let column = |name: &str| {
            let columns = group.metadata().columns();
            let at = columns.iter().position(|column| column.column_path().string() == name).unwrap();
            let ColumnReader::Int32ColumnReader(mut reader) = group.get_column_reader(at).unwrap() else {
                panic!("{name}")
            };
            let (mut def, mut rep, mut values) = (Vec::new(), Vec::new(), Vec::new());
            reader.read_records(usize::MAX, Some(&mut def), Some(&mut rep), &mut values).unwrap();
            // Spans of a trace stand in another order: as a set.
            let mut rows: Vec<Vec<i64>> = Vec::new();
            for (rep, value) in rep.iter().zip(&values) {
                if *rep == 0 {
                    rows.push(Vec::new());
                }
                rows.last_mut().unwrap().push(i64::from(*value));
            }
            rows.iter_mut().for_each(|row| row.sort_unstable());
            rows.concat()
        };
        let names =
            ["15", "60", "300", "3600"].map(|seconds| format!("rs.ss.Spans.StartTimeRounded{seconds}"));
        let names = names.into_iter().chain(["rs.ss.Spans.ChildCount".into(), "rs.ss.SpanCount".into()]);
        names.map(|name| (name.clone(), column(&name))).collect()
    };
    let (theirs, ours) = (facts(&golden), facts(&ours));
    for (name, values) in &theirs {
        let other = values.iter().zip(&ours[name]).filter(|(a, b)| a != b).count();
        // Two spans are each other's parents, of which Tempo counts one as a child, and one is its own, which counts there.
        let known = if name.ends_with("ChildCount") { 2 } else { 0 };
        assert!(values.len() == ours[name].len() && other == known, "{name}: {other} of {}", values.len());
    }
}
