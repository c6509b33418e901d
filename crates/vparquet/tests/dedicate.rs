//! Dedicated columns that were chosen from a batch, and what they change.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use common::{batches, shop_frames, write};
use trackway_spans::Level;
use trackway_vparquet::dedicate::{SizeByAttribute, choose};
use trackway_vparquet::meta::{DedicatedColumn, Format, usable};
use trackway_vparquet::{ColumnType, WriteOptions};

fn sizes(count: usize) -> SizeByAttribute {
    let mut sizes = SizeByAttribute::default();
    batches(&shop_frames(), count).iter().for_each(|batch| sizes.merge(&SizeByAttribute::of(batch)));
    sizes
}

#[test]
fn sizes_do_not_depend_on_how_spans_are_cut() {
    let (one, many) = (sizes(1), sizes(4));
    for (level, kind, key) in [
        (Level::Span, ColumnType::Text, "url.path"),
        (Level::Span, ColumnType::Int, "http.response.status_code"),
        (Level::Event, ColumnType::Text, "exception.message"),
    ] {
        assert!(one.bytes(level, kind, key) > 0, "{key}");
        assert_eq!(one.bytes(level, kind, key), many.bytes(level, kind, key), "{key}");
    }
    // A resource counts once a trace, and a trace may be in several batches.
    let pod = |sizes: &SizeByAttribute| sizes.bytes(Level::Resource, ColumnType::Text, "k8s.pod.name");
    assert!(pod(&one) > 0 && pod(&one) <= pod(&many));
    assert_eq!(one.bytes(Level::Span, ColumnType::Int, "url.path"), 0);
}

/// The columns that are chosen make a block no larger, and move the attributes out of the generic ones.
#[test]
fn chosen_columns_take_what_they_are_chosen_for() {
    let (input, sizes) = (batches(&shop_frames(), 1), sizes(1));
    for format in Format::WRITTEN {
        let chosen = choose(&sizes, &[], format);
        assert!(chosen.len() >= 15, "{}: {chosen:?}", format.name());
        assert_eq!(usable(&chosen, format), chosen);
        assert_eq!(choose(&sizes, &chosen, format), chosen);
        let size = |dedicated: Vec<DedicatedColumn>| {
            write(&input, &WriteOptions { format, dedicated, ..WriteOptions::default() }).0.size
        };
        let (without, with) = (size(Vec::new()), size(chosen));
        println!("{}: {without} bytes without dedicated columns, {with} with", format.name());
        assert!(with < without, "{}: {with} bytes, {without} without", format.name());
    }
}
