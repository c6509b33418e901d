//! Bloom filters over values of attributes: a search for what is there is never told no, and one for what is not there
//! reads next to nothing.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::ops::Range;
use std::sync::Arc;

use common::random::Dice;
use common::{batches, open, options, write};
use parquet::bloom_filter::Sbbf;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use trackway_common::TraceId;
use trackway_spans::wire::{put_bytes, put_fixed64, put_message};
use trackway_spans::{Level, Needs, OneOf, Prune, PruneOn, Value, anyvalue};
use trackway_vparquet::meta::{DedicatedColumn, Format};
use trackway_vparquet::{BlockFile, Bytes, Read, RowGroup, WriteOptions};

const SPANS: u64 = 36_000;
const SPANS_OF_TRACE: u64 = 18;

/// What stands in the blocks of these tests, the same in all spans of a trace.
struct Stored {
    order: String,
    user: String,
    number: i64,
    ratio: f64,
}

fn stored(span: u64) -> Stored {
    let span = span / SPANS_OF_TRACE;
    let mut dice = Dice(span + 1);
    let ratio = if span.is_multiple_of(3) { (span * 10) as f64 } else { span as f64 + 0.25 };
    Stored {
        order: format!("order-{:016x}{:016x}", dice.next(), dice.next()),
        user: format!("user-{:016x}{:016x}", dice.next(), dice.next()),
        number: (dice.next() >> 20).cast_signed() - (1 << 42),
        ratio,
    }
}

fn put_attr(out: &mut Vec<u8>, field: u32, key: &str, value: Value<'_>) {
    put_message(out, field, |out| {
        put_bytes(out, 1, key.as_bytes());
        put_message(out, 2, |out| anyvalue::put(out, value));
    });
}

fn put_array(out: &mut Vec<u8>, field: u32, key: &str, values: &[Value<'_>]) {
    let message = anyvalue::array_message(values.iter().copied());
    put_message(out, field, |out| {
        put_bytes(out, 1, key.as_bytes());
        put_bytes(out, 2, &message);
    });
}

fn put_span(out: &mut Vec<u8>, number: u64, mixed: bool) {
    let Stored { order, user, number: int, ratio } = stored(number);
    put_message(out, 2, |out| {
        let trace = u128::from(Dice(number / SPANS_OF_TRACE).next()) << 64 | 7;
        put_bytes(out, 1, &trace.to_be_bytes());
        let mut dice = Dice(number << 20);
        put_bytes(out, 2, &dice.next().to_be_bytes());
        put_bytes(out, 4, &dice.next().to_be_bytes());
        put_bytes(out, 5, b"work");
        let start = 1_795_336_140_000_000_000 + (dice.next() >> 24);
        put_fixed64(out, 7, start);
        put_fixed64(out, 8, start + (dice.next() >> 40));
        put_attr(out, 9, "order", Value::String(order.as_bytes()));
        put_attr(out, 9, "own", Value::String(user.as_bytes()));
        put_attr(out, 9, "number", Value::Int(int));
        put_attr(out, 9, "own.number", Value::Int(int));
        put_attr(out, 9, "ratio", Value::Float(ratio));
        let texts = [Value::String(b"first"), Value::String(user.as_bytes())];
        put_array(out, 9, "list", &texts);
        put_array(out, 9, "own", &texts);
        put_array(out, 9, "ints", &[Value::Int(1), Value::Int(int / 3)]);
        if mixed && number.is_multiple_of(100) {
            put_array(out, 9, "mixed", &[Value::String(b"only in here"), Value::Int(5)]);
        }
        put_message(out, 11, |out| {
            put_bytes(out, 2, b"event");
            put_attr(out, 3, "event.order", Value::String(format!("{order}/event").as_bytes()));
        });
    });
}

fn block(format: Format, mixed: bool, created_by: &str) -> (Bytes, Vec<DedicatedColumn>, u64) {
    let mut request = Vec::new();
    put_message(&mut request, 1, |out| {
        put_message(out, 1, |out| put_attr(out, 1, "service.name", Value::String(b"shop")));
        put_message(out, 2, |out| (0..SPANS).for_each(|number| put_span(out, number, mixed)));
    });
    let mut dedicated = vec![DedicatedColumn::text(Level::Span, "own")];
    if format == Format::VParquet5 {
        let number = DedicatedColumn::text(Level::Span, "own.number");
        dedicated.push(DedicatedColumn { kind: "int".to_owned(), ..number });
    }
    let options = WriteOptions {
        dedicated: dedicated.clone(),
        row_group_spans_max: 18_000,
        created_by: created_by.to_owned(),
        ..options(format)
    };
    let (written, bytes) = write(&batches(&[request], 1), &options);
    assert!(written.filter_bytes > 0);
    assert!(written.filter_bytes <= written.size / 60, "{} of {}", written.filter_bytes, written.size);
    (bytes, dedicated, written.filter_bytes)
}

fn prune(levels: &[Level], key: &str, one_of: OneOf) -> Prune {
    let texts = match &one_of {
        OneOf::Texts(texts) => texts.clone(),
        OneOf::Number(..) => Vec::new(),
    };
    let on = PruneOn::Attr { levels: levels.to_vec(), key: key.into(), value: !texts.is_empty() };
    Prune { on, text: Arc::new(move |text| texts.iter().any(|one| one == text)), one_of: Some(one_of) }
}

fn text(levels: &[Level], key: &str, value: &str) -> Prune {
    prune(levels, key, OneOf::Texts(vec![b"not there".to_vec(), value.into()]))
}

/// The answer, and how many bytes it took.
fn ask<T>(group: &mut RowGroup, bytes: &Bytes, mut step: impl FnMut(&mut RowGroup) -> Read<T>) -> (T, u64) {
    for _ in 0..10 {
        match step(group) {
            Read::Ready(answer) => return (answer, group.fetched().bytes()),
            Read::NeedsRanges(ranges) => {
                for Range { start, end } in ranges {
                    group.fetched().add(start, bytes.slice(start as usize..end as usize));
                }
            }
        }
    }
    panic!("asks for ranges again and again");
}

/// In how many row groups it may be, and how many bytes it took to tell.
fn may_match(file: &Arc<BlockFile>, bytes: &Bytes, prune: &Prune) -> (usize, u64) {
    let (mut row_groups, mut read) = (0, 0);
    for index in 0..file.row_groups() {
        let prunes = std::slice::from_ref(prune);
        let mut group = RowGroup::new(file, index);
        let (may, bytes) = ask(&mut group, bytes, |group| group.may_match(prunes).unwrap());
        row_groups += usize::from(may);
        read += bytes;
    }
    (row_groups, read)
}

const ANY: [Level; 5] = [Level::Span, Level::Resource, Level::Event, Level::Link, Level::Scope];

#[test]
fn what_is_there_is_found() {
    for format in Format::WRITTEN {
        for (mixed, created_by) in [(false, "trackway 1"), (true, "trackway"), (false, "parquet-go")] {
            let (bytes, dedicated, _) = block(format, mixed, created_by);
            let file = open(&bytes, &dedicated);
            for number in (0..SPANS).step_by(661) {
                let Stored { order, user, number: int, ratio } = stored(number);
                let whole = (ratio.fract() == 0.0).then_some(ratio as i64);
                for prune in [
                    text(&[Level::Span], "order", &order),
                    text(&ANY, "order", &order),
                    text(&[Level::Span], "own", &user),
                    text(&[Level::Span], "list", &user),
                    text(&[Level::Span], "own", "first"),
                    text(&ANY, "event.order", &format!("{order}/event")),
                    prune(&[Level::Span], "number", OneOf::Number(Some(int), int as f64)),
                    prune(&ANY, "own.number", OneOf::Number(Some(int), int as f64)),
                    prune(&[Level::Span], "ints", OneOf::Number(Some(int / 3), (int / 3) as f64)),
                    prune(&[Level::Span], "ratio", OneOf::Number(whole, ratio)),
                ] {
                    let (row_groups, _) = may_match(&file, &bytes, &prune);
                    assert!(row_groups > 0, "{number} {prune:?} {}", format.name());
                }
            }
            if mixed {
                let (row_groups, _) = may_match(&file, &bytes, &text(&ANY, "mixed", "only in here"));
                assert_eq!(row_groups, file.row_groups());
            }
        }
    }
}

#[test]
fn what_is_not_there_costs_a_block_of_a_filter() {
    for format in Format::WRITTEN {
        for created_by in ["trackway 1", "another writer"] {
            let (bytes, dedicated, filters) = block(format, false, created_by);
            let file = open(&bytes, &dedicated);
            let (mut may, mut read, mut asked) = ([0; 3], 0, 0);
            for number in (SPANS..SPANS + 2700).step_by(18) {
                let Stored { order, user, number: int, .. } = stored(number);
                let prunes = [
                    text(&[Level::Span], "order", &order),
                    text(&[Level::Span], "own", &user),
                    prune(&[Level::Span], "number", OneOf::Number(Some(int), int as f64)),
                ];
                asked += file.row_groups();
                for (may, prune) in may.iter_mut().zip(&prunes) {
                    let (row_groups, bytes) = may_match(&file, &bytes, prune);
                    (*may, read) = (*may + row_groups, read + bytes);
                }
            }
            let what = format!("{} by {created_by}: {filters} bytes of filters", format.name());
            assert!(may.iter().all(|may| may * 6 < asked), "{may:?} of {asked} row groups: {what}");
            // Where a filter is wrong, the dictionary is read.
            let each = read / (3 * asked) as u64;
            assert!(each < bytes.len() as u64 / 50, "{each} bytes a row group: {what}");
        }
    }
}

fn footer(bytes: &Bytes) -> ParquetMetaData {
    ParquetMetaDataReader::new().parse_and_finish(bytes).unwrap()
}

#[test]
fn other_readers_find_the_filters_where_the_footer_says() {
    let (bytes, _, filter_bytes) = block(Format::VParquet4, false, "trackway");
    let (mut filters, mut size) = (0, 0);
    for group in footer(&bytes).row_groups() {
        for chunk in group.columns() {
            let Some(filter) = Sbbf::read_from_column_chunk(chunk, &bytes).unwrap() else { continue };
            assert!(filter.num_blocks().is_power_of_two());
            let path = chunk.column_path().string();
            let found = |test: &dyn Fn(&Stored) -> bool| (0..SPANS).filter(|n| test(&stored(*n))).count();
            let count = if path.ends_with("ValueInt.list.element") {
                found(&|stored| filter.check(&stored.number))
            } else if path.ends_with("String01") {
                found(&|stored| filter.check(stored.user.as_str()))
            } else if path.contains("Events") {
                found(&|stored| filter.check(format!("{}/event", stored.order).as_str()))
            } else {
                found(&|stored| filter.check(stored.order.as_str()))
            };
            assert!(count as i64 >= group.num_rows() * SPANS_OF_TRACE.cast_signed(), "{path}");
            filters += 1;
            size += u64::from(chunk.bloom_filter_length().unwrap().unsigned_abs());
        }
    }
    assert!(filters >= 2 * 2, "{filters}");
    assert!(size <= filter_bytes && filter_bytes - size < 10 * filters, "{size} of {filter_bytes}");
}

#[test]
fn filters_that_make_no_sense_are_passed_over() {
    let (bytes, dedicated, _) = block(Format::VParquet4, false, "another writer");
    let starts: Vec<usize> = footer(&bytes)
        .row_groups()
        .iter()
        .flat_map(|group| group.columns())
        .filter_map(|chunk| usize::try_from(chunk.bloom_filter_offset()?).ok())
        .collect();
    let mut dice = Dice(5);
    for _ in 0..30 {
        let mut damaged = bytes.to_vec();
        for start in &starts {
            let header = &mut damaged[*start..*start + 16];
            header.iter_mut().for_each(|byte| *byte = dice.next() as u8);
        }
        let damaged = Bytes::from(damaged);
        let file = open(&damaged, &dedicated);
        let order = stored(dice.below(SPANS)).order;
        let (row_groups, _) = may_match(&file, &damaged, &text(&[Level::Span], "order", &order));
        assert!(row_groups > 0);
    }
}

#[test]
fn small_and_repeated_values_have_no_filters() {
    let frames = common::shop_frames();
    let (written, _) = write(&batches(&frames[..2], 1), &WriteOptions::default());
    assert_eq!(written.filter_bytes, 0);
}

#[test]
fn traces_are_found_by_their_ids() {
    let (bytes, dedicated, _) = block(Format::VParquet4, false, "trackway");
    let file = open(&bytes, &dedicated);
    let all: Vec<(usize, Vec<TraceId>)> = (0..file.row_groups())
        .map(|index| {
            let mut group = RowGroup::new(&file, index);
            let load = |group: &mut RowGroup| group.load(&Needs::default()).unwrap();
            (index, ask(&mut group, &bytes, load).0.traces.ids().collect())
        })
        .collect();
    let ids: Vec<TraceId> = all.iter().flat_map(|(_, ids)| ids.clone()).collect();
    let middle = ids[ids.len() / 2];
    for ranges in [
        vec![(middle, middle)],
        vec![(TraceId(0), TraceId(u128::MAX))],
        vec![(ids[0], ids[3]), (middle, TraceId(middle.0 + (1 << 120)))],
        vec![(TraceId(1), TraceId(2))],
        Vec::new(),
    ] {
        let holds = |id: &TraceId| ranges.iter().any(|(from, to)| from <= id && id <= to);
        for (index, ids) in &all {
            let mut group = RowGroup::new(&file, *index);
            let (rows, read) = ask(&mut group, &bytes, |group| group.rows_of(&ranges).unwrap());
            let want: Vec<u32> = (0..).zip(ids).filter(|(_, id)| holds(id)).map(|(row, _)| row).collect();
            assert_eq!(rows, want);
            assert!(read <= ids.len() as u64 * 20 + 200);
            let on = PruneOn::TraceId(ranges.clone());
            let prune = Prune { on, text: Arc::new(|_| false), one_of: None };
            let (may, read) = ask(&mut RowGroup::new(&file, *index), &bytes, |group| {
                group.may_match(std::slice::from_ref(&prune)).unwrap()
            });
            assert!(may || want.is_empty());
            assert_eq!(read, 0);
        }
    }
}
