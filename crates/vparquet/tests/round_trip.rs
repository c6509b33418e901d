//! What goes into a block comes out of it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::{
    all_needs, attributes, batches, canonical, golden, load, merged, open, random, read, shop_frames, write,
};
use trackway_common::TraceId;
use trackway_spans::{Columns, Level, Needs, SpanBatch, encode_traces_by_id};
use trackway_vparquet::meta::{DedicatedColumn, Format, default_dedicated_columns, usable};
use trackway_vparquet::{
    BlockWriter, Bytes, ColumnType, ROW_SPANS_MAX, RowGroup, WriteError, WriteOptions, bloom,
};

fn assert_same(before: &[Arc<SpanBatch>], after: &[SpanBatch], what: &str) {
    let (before, after) = (canonical(&[merged(before)]), canonical(after));
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>(), "{what}");
    for (id, spans) in &before {
        assert_eq!(&after[id], spans, "{what}: trace {id}");
    }
}

#[test]
fn the_recorded_shop_comes_back() {
    let options = WriteOptions { row_group_spans_max: 1500, ..WriteOptions::default() };
    let input = batches(&shop_frames(), 7);
    let (written, bytes) = write(&input, &options);
    let groups = read(&bytes, &options.dedicated);
    assert!(groups.len() > 2);
    assert_eq!(written.row_groups as usize, groups.len());
    assert_eq!(written.spans, groups.iter().map(|group| group.len() as u64).sum::<u64>());
    assert_same(&input, &groups, "shop");
    let ids: Vec<TraceId> = groups.iter().flat_map(|group| group.traces.ids().collect::<Vec<_>>()).collect();
    assert!(ids.is_sorted());
    assert_eq!(written.traces, ids.len() as u64);
    for id in ids {
        let shard = bloom::shard_of_trace(id, written.bloom.len() as u32);
        assert_eq!(bloom::may_contain(&written.bloom[shard as usize], id), Some(true));
    }
}

/// Dedicated columns of both levels, among them keys that both have.
fn dedicated() -> Vec<DedicatedColumn> {
    let names = [
        (Level::Resource, "region"),
        (Level::Resource, "url.path"),
        (Level::Span, "pod"),
        (Level::Span, "url.path"),
        (Level::Span, "ip"),
    ];
    usable(&names.map(|(level, name)| DedicatedColumn::text(level, name)), Format::VParquet4)
}

#[test]
fn random_spans_come_back() {
    for seed in 0..15 {
        let options = WriteOptions {
            dedicated: if seed % 2 == 0 { dedicated() } else { Vec::new() },
            row_group_spans_max: [20, 300, 1_000_000][seed as usize % 3],
            ..WriteOptions::default()
        };
        let input = batches(&random::requests(seed, 12, 30, 9), 1 + seed as usize % 5);
        let (_, bytes) = write(&input, &options);
        assert_same(&input, &read(&bytes, &options.dedicated), &format!("seed {seed}"));
    }
}

/// Columns for texts and integers of all three levels, among them keys that several have and that are of other types.
fn dedicated_v5() -> Vec<DedicatedColumn> {
    let columns = [
        (Level::Resource, ColumnType::Text, "region"),
        (Level::Resource, ColumnType::Int, "url.path"),
        (Level::Resource, ColumnType::Text, "cluster"),
        (Level::Span, ColumnType::Text, "pod"),
        (Level::Span, ColumnType::Int, "http.status_code"),
        (Level::Span, ColumnType::Text, "url.path"),
        (Level::Span, ColumnType::Text, "http.method"),
        (Level::Span, ColumnType::Int, "cluster"),
        (Level::Event, ColumnType::Text, "url.path"),
        (Level::Event, ColumnType::Int, "pod"),
        (Level::Event, ColumnType::Text, "cluster"),
    ];
    let mut columns = columns.map(|(level, kind, name)| DedicatedColumn::new(level, kind, name)).to_vec();
    columns[5].options = vec!["blob".to_owned()];
    usable(&columns, Format::VParquet5)
}

/// The same spans through both formats, read as wholes and by some of their rows.
#[test]
fn random_spans_come_back_from_vparquet5_as_from_vparquet4() {
    let mut dice = random::Dice(17);
    for seed in 0..20 {
        let dedicated = match seed % 3 {
            0 => dedicated_v5(),
            1 => default_dedicated_columns(Format::VParquet5),
            _ => Vec::new(),
        };
        let row_group_spans_max = [20, 300, 1_000_000][seed as usize / 3 % 3];
        let v4 = WriteOptions { row_group_spans_max, ..WriteOptions::default() };
        let v5 = WriteOptions { format: Format::VParquet5, dedicated, ..v4.clone() };
        let input = batches(&random::requests(seed, 12, 30, 9), 1 + seed as usize % 5);
        let (a, old) = write(&input, &v4);
        let (b, new) = write(&input, &v5);
        assert_eq!(
            (a.traces, a.spans, a.start, a.end, a.bloom),
            (b.traces, b.spans, b.start, b.end, b.bloom)
        );
        let (old, groups) = (read(&old, &v4.dedicated), read(&new, &v5.dedicated));
        assert_same(&input, &groups, &format!("seed {seed}"));
        for (old, new) in old.iter().zip(&groups) {
            assert_eq!(traces_of(old), traces_of(new), "seed {seed}");
            let trees = |batch: &SpanBatch| {
                let spans = &batch.spans;
                [&spans.nested_left, &spans.nested_right, &spans.nested_parent].map(|column| column.to_vec())
            };
            assert_eq!(trees(old), trees(new));
        }
        let file = open(&new, &v5.dedicated);
        for (group, whole) in groups.iter().enumerate() {
            let by_id = encode_traces_by_id(whole);
            let row = dice.below(file.rows(group) as u64) as u32;
            let one = load(&mut RowGroup::with_rows(&file, group, vec![row]), &new, &all_needs());
            let id = whole.traces.id(row as usize);
            assert!(encode_traces_by_id(&one) == BTreeMap::from([(id, by_id[&id].clone())]), "seed {seed}");
        }
    }
}

type Services = Vec<(String, u32, u32)>;

/// What is said of each trace.
fn traces_of(batch: &SpanBatch) -> Vec<(TraceId, u64, u64, String, String, Services)> {
    let (traces, text) = (&batch.traces, |id: u32| batch.strings.text(id).into_owned());
    let of = |row: usize| {
        let mut services: Services = (0..traces.stats.trace.len())
            .filter(|at| traces.stats.trace[*at] as usize == row)
            .map(|at| (text(traces.stats.service[at]), traces.stats.spans[at], traces.stats.errors[at]))
            .collect();
        services.sort_unstable();
        let (service, name) = (text(traces.root_service[row]), text(traces.root_name[row]));
        (traces.id(row), traces.start[row], traces.end[row], service, name, services)
    };
    (0..traces.len()).map(of).collect()
}

#[test]
fn pages_of_all_sizes_come_back() {
    let input = batches(&random::requests(1, 50, 150, 100), 3);
    for (format, dedicated) in [(Format::VParquet4, dedicated()), (Format::VParquet5, dedicated_v5())] {
        let options = WriteOptions { format, dedicated, ..WriteOptions::default() };
        let (_, bytes) = write(&input, &options);
        assert_same(&input, &read(&bytes, &options.dedicated), "many pages");
    }
}

/// Tempo's blocks of the same input say the same in all formats, but for what vParquet3 has no place for; and they do so
/// still when they are written again in another format.
#[test]
fn tempos_blocks_say_the_same_in_all_formats() {
    let mut said: Vec<(String, Vec<SpanBatch>)> = Vec::new();
    for recording in ["v3", "v4", "v4-dedicated", "v5", "v5-dedicated"] {
        let (bytes, meta) = golden(recording);
        let before = read(&bytes, &meta.dedicated_columns);
        let input: Vec<Arc<SpanBatch>> = before.iter().cloned().map(Arc::new).collect();
        for format in Format::WRITTEN {
            let options = common::options(format);
            let (_, bytes) = write(&input, &options);
            let after = read(&bytes, &options.dedicated);
            assert_same(&input, &after, &format!("{recording} as {}", format.name()));
            assert_eq!(traces_of(&before[0]), traces_of(&after[0]), "{recording} as {}", format.name());
        }
        said.push((recording.to_owned(), before));
    }
    let (_, v4) = &said[1];
    for (recording, batches) in &said {
        let without_times = |batch: &SpanBatch| {
            let of = |(id, start, end, service, name, services)| (id, end - start, service, name, services);
            traces_of(batch).into_iter().map(of).collect::<Vec<_>>()
        };
        assert_eq!(without_times(&v4[0]), without_times(&batches[0]), "{recording}");
        let shape = |batch: &SpanBatch| {
            let scopes = batch.attrs(Level::Scope);
            let lost =
                (scopes.strings.owner.len() + scopes.ints.owner.len()) * usize::from(recording != "v3");
            // Of resources Tempo stores as many as it happens to.
            let attributes = [Level::Span, Level::Event, Level::Link].map(|level| {
                (0..owners(batch, level)).map(|owner| attributes(batch, level, owner).len()).sum::<usize>()
            });
            let since = batch.events.since_start.iter().fold(0, |sum: u64, since| sum.wrapping_add(*since));
            (batch.len(), since, batch.links.span.len(), lost, attributes)
        };
        assert_eq!(shape(&v4[0]), shape(&batches[0]), "{recording}");
    }
}

/// vParquet3 has the times of events: with and without those of their spans they come to the same distances.
#[test]
fn events_are_as_far_from_their_spans_whatever_else_is_read() {
    let (bytes, meta) = golden("v3");
    let file = open(&bytes, &meta.dedicated_columns);
    let load = |columns: &[Columns]| {
        let mut needs = Needs::default();
        columns.iter().for_each(|column| needs.add(*column));
        load(&mut RowGroup::new(&file, 0), &bytes, &needs).events.since_start.to_vec()
    };
    let alone = load(&[Columns::EVENTS]);
    // One was before its span began.
    let near = |since: &u64| since.cast_signed().unsigned_abs() < 3_600_000_000_000;
    assert!(alone.len() > 20 && alone.iter().all(near), "{alone:?}");
    assert_eq!(load(&[Columns::EVENTS, Columns::START, Columns::DURATION]), alone);
}

fn owners(batch: &SpanBatch, level: Level) -> usize {
    match level {
        Level::Resource => batch.resources.service.len(),
        Level::Scope => batch.scopes.name.len(),
        Level::Span => batch.len(),
        Level::Event => batch.events.span.len(),
        Level::Link => batch.links.span.len(),
    }
}

#[test]
fn the_same_spans_are_the_same_bytes_however_they_are_cut() {
    let frames = shop_frames();
    let options = WriteOptions::default();
    let (whole, bytes) = write(&batches(&frames, 1), &options);
    let reversed: Vec<Vec<u8>> = frames.iter().rev().cloned().collect();
    for cut in [batches(&frames, 5), batches(&reversed, 3)] {
        let (written, other) = write(&cut, &options);
        assert_eq!(written, whole);
        assert!(other == bytes);
    }
}

#[test]
fn single_rows_equal_those_of_the_whole() {
    let input = batches(&random::requests(5, 25, 100, 100), 4);
    let options =
        WriteOptions { dedicated: dedicated(), row_group_spans_max: 3000, ..WriteOptions::default() };
    let (_, bytes) = write(&input, &options);
    let file = open(&bytes, &options.dedicated);
    let mut dice = random::Dice(9);
    for group in 0..file.row_groups() {
        let whole = load(&mut RowGroup::new(&file, group), &bytes, &all_needs());
        let by_id = encode_traces_by_id(&whole);
        let rows = file.rows(group) as u64;
        for _ in 0..6 {
            let mut wanted: Vec<u32> = (0..dice.below(4) + 1).map(|_| dice.below(rows) as u32).collect();
            wanted.sort_unstable();
            wanted.dedup();
            let part = load(&mut RowGroup::with_rows(&file, group, wanted.clone()), &bytes, &all_needs());
            let expected: BTreeMap<TraceId, Vec<u8>> = wanted
                .iter()
                .map(|row| whole.traces.id(*row as usize))
                .map(|id| (id, by_id[&id].clone()))
                .collect();
            assert!(encode_traces_by_id(&part) == expected, "rows {wanted:?} of group {group}");
        }
    }
}

#[test]
fn a_large_trace_is_one_row_and_a_larger_one_is_several() {
    let spans_of = |input: &[_]| input.iter().map(|batch: &Arc<SpanBatch>| batch.len()).sum::<usize>();
    let input = batches(&random::requests(3, 500, 45, 1), 6);
    assert!(spans_of(&input) > ROW_SPANS_MAX);
    let (written, bytes) = write(&input, &WriteOptions::default());
    let rows = spans_of(&input).div_ceil(ROW_SPANS_MAX);
    assert_eq!(
        (written.traces, written.row_groups, written.spans),
        (rows as u64, rows as u32, spans_of(&input) as u64)
    );
    let file = open(&bytes, &[]);
    let spans: Vec<usize> = (0..rows).map(|row_group| file.spans(row_group)).collect();
    assert_eq!((spans[0], spans.iter().sum::<usize>()), (ROW_SPANS_MAX, spans_of(&input)));
    let input = batches(&random::requests(3, 160, 45, 1), 6);
    let spans = spans_of(&input);
    assert!((10_000..ROW_SPANS_MAX).contains(&spans), "{spans}");
    let options = WriteOptions { row_group_spans_max: 1000, ..WriteOptions::default() };
    let (written, bytes) = write(&input, &options);
    assert_eq!((written.traces, written.row_groups, written.spans), (1, 1, spans as u64));
    assert_same(&input, &read(&bytes, &options.dedicated), "a large trace");
}

#[test]
fn no_spans_are_a_block_without_rows() {
    for input in [batches(&[], 0), batches(&[], 2)] {
        let (written, bytes) = write(&input, &WriteOptions::default());
        assert_eq!((written.traces, written.row_groups, written.start, written.end), (0, 0, 0, 0));
        assert_eq!(written.index, br#"{"rowGroups":[]}"#);
        assert_eq!(open(&bytes, &[]).row_groups(), 0);
    }
}

#[test]
fn a_format_that_is_only_read_is_not_written() {
    let options = WriteOptions { format: Format::VParquet3, ..WriteOptions::default() };
    let refused = BlockWriter::write(&batches(&shop_frames(), 1), &options, Vec::new());
    assert_eq!(refused.unwrap_err().to_string(), "blocks in vParquet3 are not written");
}

/// What Tempo computed of whole traces when it wrote the block is what we compute when we write its spans again.
#[test]
fn roots_extents_services_and_trees_are_as_tempos() {
    let golden = Bytes::from(std::fs::read(common::GOLDEN).unwrap());
    let before = read(&golden, &WriteOptions::default().dedicated);
    let input: Vec<Arc<SpanBatch>> = before.iter().cloned().map(Arc::new).collect();
    let (written, bytes) = write(&input, &WriteOptions::default());
    let after = read(&bytes, &WriteOptions::default().dedicated);
    assert_same(&input, &after, "golden");
    assert_eq!((before.len(), after.len()), (1, 1));
    let (before, after) = (&before[0], &after[0]);
    assert_eq!(before.traces.len(), after.traces.len());
    for row in 0..before.traces.len() {
        let facts = |batch: &SpanBatch| {
            let traces = &batch.traces;
            let text = |id: u32| batch.strings.text(id).into_owned();
            let mut services: Vec<(String, u32, u32)> = (0..traces.stats.trace.len())
                .filter(|at| traces.stats.trace[*at] as usize == row)
                .map(|at| (text(traces.stats.service[at]), traces.stats.spans[at], traces.stats.errors[at]))
                .collect();
            services.sort_unstable();
            let root = (text(traces.root_service[row]), text(traces.root_name[row]));
            (traces.id(row), traces.start[row], traces.end[row], root, services)
        };
        assert_eq!(facts(before), facts(after));
    }
    let trees = |batch: &SpanBatch| {
        let spans = &batch.spans;
        let tree = |row: usize| {
            let set = (spans.nested_left[row], spans.nested_right[row], spans.nested_parent[row]);
            ((batch.traces.id(spans.trace[row] as usize), spans.id[row], spans.kind[row]), set)
        };
        (0..batch.len()).map(tree).collect::<BTreeMap<_, _>>()
    };
    let (theirs, ours) = (trees(before), trees(after));
    let other: Vec<_> = theirs.iter().filter(|(span, set)| ours[span].0 == 0 && set.0 != 0).collect();
    assert!(other.is_empty(), "{other:?}");
    let recorded = std::fs::read(common::GOLDEN.replace("data.parquet", "bloom-0")).unwrap();
    assert!(written.bloom == [recorded]);
    check_trees(&theirs, &ours);
}

type Trees = BTreeMap<(TraceId, u64, u8), (i32, i32, i32)>;

/// Siblings may stand in another order, which changes the numbers but not what they say.
fn check_trees(theirs: &Trees, ours: &Trees) {
    let equal = theirs.iter().filter(|(span, set)| ours[*span] == **set).count();
    for (span, set) in theirs {
        let mine = ours[span];
        assert_eq!(set.1 - set.0, mine.1 - mine.0, "spans below {span:?}");
        assert_eq!(set.2.signum(), mine.2.signum(), "parent of {span:?}");
    }
    assert!(equal * 10 >= theirs.len(), "only {equal} of {} are equal", theirs.len());
}

#[test]
fn meta_says_what_was_written() {
    let input = batches(&shop_frames(), 2);
    let options = WriteOptions::default();
    let (written, bytes) = write(&input, &options);
    let id = uuid::Uuid::from_u128(7);
    let meta = written.meta(id, "shop", options.dedicated.clone(), 1);
    assert_eq!((meta.block_id, meta.tenant_id.as_str(), meta.replication_factor), (id, "shop", 1));
    assert_eq!((meta.total_objects, meta.size, meta.total_records), (written.traces, bytes.len() as u64, 1));
    assert!(meta.start_time.as_nanosecond() <= i128::from(written.start));
    assert!(meta.end_time.as_nanosecond() >= i128::from(written.end));
    let footer = u32::from_le_bytes(bytes[bytes.len() - 8..bytes.len() - 4].try_into().unwrap());
    assert_eq!(meta.footer_size, footer);
}

struct Full(usize);

impl std::io::Write for Full {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(std::io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_sink_that_fails_and_a_batch_that_lacks_columns_are_errors() {
    let mut input = batches(&shop_frames(), 1);
    for room in [0, 4, 10_000, 300_000] {
        assert!(BlockWriter::write(&input, &WriteOptions::default(), Full(room)).is_err());
    }
    Arc::make_mut(&mut input[0]).spans.name = Vec::new().into();
    let error = BlockWriter::write(&input, &WriteOptions::default(), Vec::new());
    assert!(matches!(error, Err(WriteError::Batch(_))));
}
