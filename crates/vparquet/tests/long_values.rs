//! Values of megabytes are kept whole, and cost only those who ask for them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::collections::HashSet;
use std::sync::Arc;

use common::random::Dice;
use common::{all_needs, canonical, load, merged, open, options, read, write};
use trackway_spans::wire::{put_bytes, put_fixed64, put_message};
use trackway_spans::{
    BatchBuilder, Level, Limits, Needs, OneOf, Prune, PruneOn, SpanBatch, Value, anyvalue, append_request,
};
use trackway_vparquet::meta::Format;
use trackway_vparquet::{Bytes, Read, RowGroup};

const SPANS: u64 = 1_000;
/// One in so many spans has a long value.
const EACH: u64 = 100;

fn long(number: u64) -> Vec<u8> {
    let mut dice = Dice(number + 1);
    let text: String = (0..1_500).map(|_| format!("{:016x} \"quoted\"\n", dice.next())).collect();
    format!("{text}needle-{number}").into_bytes()
}

fn put_attr(out: &mut Vec<u8>, field: u32, key: &str, value: &[u8]) {
    put_message(out, field, |out| {
        put_bytes(out, 1, key.as_bytes());
        put_message(out, 2, |out| anyvalue::put(out, Value::String(value)));
    });
}

fn put_span(out: &mut Vec<u8>, number: u64, with_long: bool) {
    let mut dice = Dice(number << 8);
    put_message(out, 2, |out| {
        put_bytes(out, 1, &u128::from(dice.next()).to_be_bytes());
        put_bytes(out, 2, &dice.next().to_be_bytes());
        put_bytes(out, 5, b"work");
        put_fixed64(out, 7, 1_795_336_140_000_000_000 + number);
        put_fixed64(out, 8, 1_795_336_140_000_500_000 + number);
        put_attr(out, 9, "before", format!("b{}", dice.below(20)).as_bytes());
        if number.is_multiple_of(EACH) && with_long {
            let value = long(number);
            put_attr(out, 9, "prompt", &value);
            put_attr(out, 9, "prompt", b"the second is short");
            // JSON cannot say this.
            put_attr(out, 9, "raw", &[&value[..], b"\xff\xfe"].concat());
            put_message(out, 11, |out| {
                put_bytes(out, 2, b"exception");
                put_attr(out, 3, "stack", &value);
                put_attr(out, 3, "type", b"Oops");
            });
        } else {
            put_attr(out, 9, "prompt", format!("short {}", dice.below(50)).as_bytes());
        }
        put_attr(out, 9, "order", format!("order-{:016x}{:016x}", dice.next(), dice.next()).as_bytes());
    });
}

fn input(with_long: bool) -> Vec<Arc<SpanBatch>> {
    let mut request = Vec::new();
    put_message(&mut request, 1, |out| {
        put_message(out, 1, |out| {
            put_attr(out, 1, "service.name", b"shop");
            if with_long {
                put_attr(out, 1, "environment", &long(7));
            }
        });
        put_message(out, 2, |out| (0..SPANS).for_each(|number| put_span(out, number, with_long)));
    });
    let mut builder = BatchBuilder::new();
    append_request(&mut builder, &request, Limits { max_attribute_bytes: 0 }, &[]).unwrap();
    vec![Arc::new(builder.finish())]
}

fn block(format: Format, with_long: bool) -> Bytes {
    write(&input(with_long), &options(format)).1
}

/// The batch, and how many bytes were fetched for it.
fn loaded(bytes: &Bytes, rows: Option<Vec<u32>>, needs: &Needs) -> (SpanBatch, u64) {
    let file = open(bytes, &[]);
    let mut group = match rows {
        Some(rows) => RowGroup::with_rows(&file, 0, rows),
        None => RowGroup::new(&file, 0),
    };
    let batch = load(&mut group, bytes, needs);
    let read = group.fetched().bytes();
    (batch, read)
}

fn needs(key: &str) -> Needs {
    let mut needs = Needs::default();
    needs.add_attr(Level::Span, key.as_bytes());
    needs
}

/// Values of an attribute that hold this text.
fn holding(batch: &SpanBatch, text: &str) -> usize {
    let rows = &batch.attrs(Level::Span).strings;
    let holds = |id: &u32| batch.strings.text(*id).contains(text);
    rows.value.iter().filter(|id| holds(id)).count()
}

#[test]
fn they_come_back_whole_and_go_into_the_next_block() {
    for format in Format::WRITTEN {
        let input = input(true);
        let first = read(&write(&input, &options(format)).1, &[]);
        let want = canonical(&[merged(&input)]);
        assert!(want == canonical(&first), "{}", format.name());
        let again: Vec<_> = first.into_iter().map(Arc::new).collect();
        assert!(want == canonical(&read(&write(&again, &options(format)).1, &[])), "{}", format.name());
        // Of an attribute that stands several times the first stays the first.
        let rows = &again[0].attrs(Level::Span).strings;
        let mut seen = HashSet::new();
        let firsts = rows.owner.iter().zip(rows.key.iter()).zip(rows.value.iter());
        let firsts = firsts
            .filter(|((owner, key), _)| again[0].strings.get(**key) == b"prompt" && seen.insert(**owner));
        let long = firsts.filter(|(_, value)| again[0].strings.get(**value).len() > 16 * 1024).count();
        assert_eq!(long as u64, SPANS / EACH);
    }
}

#[test]
fn who_asks_for_another_attribute_does_not_read_them() {
    for format in Format::WRITTEN {
        let (with, without) = (block(format, true), block(format, false));
        assert!(with.len() > without.len() + 100_000, "{} {}", with.len(), without.len());
        for key in ["before", "order", "nowhere"] {
            let (_, read) = loaded(&with, None, &needs(key));
            let (_, plain) = loaded(&without, None, &needs(key));
            // What stays among the others is not UTF-8.
            let among_others = if key == "nowhere" { 0 } else { 350_000 };
            assert!(
                read < plain + plain / 10 + among_others,
                "{key} in {}: {read} not {plain}",
                format.name()
            );
        }
        let (batch, read) = loaded(&with, None, &needs("prompt"));
        assert_eq!((holding(&batch, "needle-"), holding(&batch, "needle-300")), (10, 1));
        assert!(read > 100_000, "{read}");
        // One trace reads the pages of its rows.
        let file = open(&with, &[]);
        let (batch, _) = loaded(&with, None, &all_needs());
        let with_long =
            |row: usize| holding(&loaded(&with, Some(vec![row as u32]), &needs("prompt")).0, "needle-") > 0;
        let row = (0..file.rows(0)).find(|row| with_long(*row)).unwrap();
        let (one, read_of_one) = loaded(&with, Some(vec![row as u32]), &all_needs());
        let id = one.traces.id(0);
        assert!(canonical(&[one])[&id] == canonical(&[batch])[&id]);
        assert!(read_of_one < with.len() as u64, "{read_of_one} of {}", with.len());
    }
}

#[test]
fn row_groups_are_passed_over_as_if_they_were_not_there() {
    let bytes = block(Format::VParquet4, true);
    let file = open(&bytes, &[]);
    for (level, key, value, may) in [
        (Level::Span, "before", "nobody has this", false),
        (Level::Span, "order", "order-0", false),
        (Level::Event, "type", "Other", false),
        (Level::Span, "before", "b7", true),
        (Level::Span, "prompt", "may be long", true),
        (Level::Event, "stack", "may be long", true),
        (Level::Event, "type", "Oops", true),
    ] {
        let on = PruneOn::Attr { levels: vec![level], key: key.into(), value: true };
        let text = value.to_owned();
        let test = Arc::new(move |entry: &[u8]| entry == text.as_bytes());
        for one_of in [None, Some(OneOf::Texts(vec![value.into()]))] {
            let prune = Prune { on: on.clone(), text: test.clone(), one_of };
            let mut group = RowGroup::new(&file, 0);
            let answer = loop {
                match group.may_match(std::slice::from_ref(&prune)).unwrap() {
                    Read::Ready(answer) => break answer,
                    Read::NeedsRanges(ranges) => ranges.into_iter().for_each(|range| {
                        let part = bytes.slice(range.start as usize..range.end as usize);
                        group.fetched().add(range.start, part);
                    }),
                }
            };
            assert_eq!(answer, may, "{key} {value}");
        }
    }
}
