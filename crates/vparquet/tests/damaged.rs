//! Blocks that are cut off or have flipped bits are refused or read, whatever the format: no panic, no endless reading.
//! `fuzz/fuzz_targets/block_reader.rs` does the same for longer.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::sync::Arc;

use common::{all_needs, batches, golden, random, write};
use trackway_spans::{Level, Prune, PruneOn};
use trackway_vparquet::meta::{DedicatedColumn, Format};
use trackway_vparquet::{BlockFile, Bytes, Fetched, Outline, Read, RowGroup};

/// Fetches what is asked for until there is an answer; `None` for an error, and for bytes that the file does not have.
fn all<T, E>(fetched: &Arc<Fetched>, file: &Bytes, mut ask: impl FnMut() -> Result<Read<T>, E>) -> Option<T> {
    for _ in 0..100 {
        match ask().ok()? {
            Read::Ready(done) => return Some(done),
            Read::NeedsRanges(ranges) => {
                for range in ranges {
                    assert!(range.start <= range.end, "a range backwards: {range:?}");
                    if range.end > file.len() as u64 {
                        return None;
                    }
                    fetched.add(range.start, file.slice(range.start as usize..range.end as usize));
                }
            }
        }
    }
    panic!("asks for ranges again and again");
}

fn prunes() -> Vec<Prune> {
    let levels = Level::ALL.to_vec();
    let attr = |key: &str| PruneOn::Attr { levels: levels.clone(), key: key.into(), value: true };
    let on =
        [attr("url.path"), attr("exception.type"), attr("link.reason"), PruneOn::Name, PruneOn::Status(2)];
    on.into_iter().map(|on| Prune { on, text: Arc::new(|_| true), one_of: None }).collect()
}

/// Reads all that can be read, or some rows of it; returns whether that was all of it.
fn read(file: &Bytes, dedicated: &[DedicatedColumn], rows: Option<Vec<u32>>) -> bool {
    let Ok(Read::Ready(opened)) = BlockFile::open(file, file.len() as u64, dedicated) else { return false };
    let mut whole = true;
    for index in 0..opened.row_groups().min(4) {
        let new = || match &rows {
            Some(rows) => RowGroup::with_rows(&opened, index, rows.clone()),
            None => RowGroup::new(&opened, index),
        };
        let mut group = new();
        let fetched = Arc::clone(group.fetched());
        let batch = all(&fetched, file, || group.load(&all_needs()));
        if let Some(batch) = &batch {
            let _ = trackway_spans::encode_trace(batch);
        }
        whole &= batch.is_some();
        let mut pruned = new();
        let fetched = Arc::clone(pruned.fetched());
        let _ = all(&fetched, file, || pruned.may_match(&prunes()));
        for level in Level::ALL {
            let question = Outline::Texts { level, key: b"url.path".to_vec() };
            let _ = all(&fetched, file, || pruned.outline(&question));
            let question = Outline::Names { level, hidden: Vec::new() };
            let _ = all(&fetched, file, || pruned.outline(&question));
        }
    }
    whole
}

/// A block of Tempo's for each format, and small ones of ours.
fn blocks() -> Vec<(String, Bytes, Vec<DedicatedColumn>)> {
    let mut blocks: Vec<_> = ["v3", "v4", "v5", "v5-dedicated"]
        .map(|recording| {
            let (bytes, meta) = golden(recording);
            (recording.to_owned(), bytes, meta.dedicated_columns)
        })
        .into();
    let input = batches(&random::requests(4, 2, 6, 5), 1);
    for format in Format::WRITTEN {
        let options = common::options(format);
        let (_, bytes) = write(&input, &options);
        blocks.push((format!("ours in {}", format.name()), bytes, options.dedicated));
    }
    blocks
}

#[test]
fn blocks_that_are_cut_off_are_refused() {
    for (name, bytes, dedicated) in blocks() {
        assert!(read(&bytes, &dedicated, None), "{name}");
        let near = (1..bytes.len().min(400)).map(|back| bytes.len() - back);
        let far = (0..bytes.len()).step_by(bytes.len() / 300 + 1);
        for length in near.chain(far) {
            assert!(!read(&bytes.slice(..length), &dedicated, None), "{name} cut at {length}");
        }
    }
}

#[test]
fn flipped_bits_do_not_stop_the_reader() {
    let mut dice = random::Dice(23);
    for (name, bytes, dedicated) in blocks() {
        let is_small = bytes.len() < 100_000;
        let footer = u32::from_le_bytes(bytes[bytes.len() - 8..][..4].try_into().unwrap()) as usize + 8;
        for round in 0..if is_small { 600 } else { 90 } {
            let mut damaged = bytes.to_vec();
            let from = if round % 3 == 0 { bytes.len() - footer } else { 0 };
            for _ in 0..=dice.below(3) {
                let at = from + dice.below((bytes.len() - from) as u64) as usize;
                damaged[at] ^= 1 << dice.below(8);
            }
            // All rows of the large ones take long: a third is read whole.
            let rows = (!is_small && round % 3 != 1).then(|| vec![0, 3, 200]);
            let _ = read(&damaged.into(), &dedicated, rows);
        }
        assert!(read(&bytes, &dedicated, None), "{name}");
    }
}
