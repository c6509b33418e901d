//! Blocks that are damaged in every way lie beside good ones: each is named once, none keeps the others from being merged
//! and searched, and answers say that something may be missing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use support::requests::{day, own_spans, own_trace, request};
use support::{Ports, Server};

/// Blocks that are not damaged, at first.
const GOOD: u64 = 3;

fn start(folder: &Path, merges: bool) -> Server {
    let ports = Ports::free();
    let more = format!(
        "query_frontend: {{query_end_cutoff: 0s, search: {{query_backend_after: 0s}}}}\n\
         compactor: {{disabled: {}, compaction: {{block_retention: 0s, compacted_block_retention: 0s, \
         compaction_cycle: 100ms, compaction_window: 876000h}}}}\n\
         backend_scheduler: {{provider: {{compaction: {{max_input_blocks: 2}}}}}}\n\
         trackway: {{compaction: {{start_after: 0s}}}}",
        !merges
    );
    let text = support::config(folder, ports, &more)
        .replace("backend: local,", "backend: local, blocklist_poll: 1s,");
    let file = folder.join("tempo.yaml");
    fs::write(&file, text).unwrap();
    let mut server = Server::spawn_file(folder, &file, ports);
    server.expect_warning("block cannot be read and is left out");
    server.expect_warning("blocks of this format are not read");
    server.expect_warning("this block is left out of merges from now on");
    server.expect_warning("part of the data cannot be read; the answer is partial");
    server.expect_warning("bloom filter cannot be read");
    server.until_ready();
    server
}

/// The folders of blocks.
fn blocks(folder: &Path) -> BTreeSet<PathBuf> {
    let tenant = folder.join("blocks/single-tenant");
    let found = fs::read_dir(tenant).into_iter().flatten().map(|entry| entry.unwrap().path());
    found.filter(|path| path.is_dir() && !path.ends_with("trackway")).collect()
}

fn name(block: &Path) -> String {
    block.file_name().unwrap().to_str().unwrap().to_owned()
}

fn change(block: &Path, by: impl FnOnce(&mut Vec<u8>)) {
    let file = block.join("data.parquet");
    let mut data = fs::read(&file).unwrap();
    by(&mut data);
    fs::write(file, data).unwrap();
}

fn says_format(block: &Path, format: &str) {
    let meta = block.join("meta.json");
    let text = fs::read_to_string(&meta).unwrap();
    fs::write(meta, text.replace("vParquet4", format)).unwrap();
}

fn only(block: &Path, kept: &str) {
    for file in fs::read_dir(block).unwrap().map(|entry| entry.unwrap().path()) {
        if !file.ends_with(kept) {
            fs::remove_file(file).unwrap();
        }
    }
}

/// What is known of a damaged block beforehand.
#[derive(Clone, Copy, PartialEq)]
enum Expect {
    /// It is found when it is to be merged: it is named and marked.
    SetAside,
    /// It is found when the store is looked at: it is named.
    Unreadable,
    /// Formats are counted, not named.
    Format,
    /// Nothing: it is merged all the same.
    Merged,
    /// Nothing: it is no block.
    Nothing,
}

type Poison = (&'static str, Expect, fn(&Path));

const POISONS: [Poison; 10] = [
    ("truncated data", Expect::SetAside, |block| change(block, |data| data.truncate(data.len() / 2))),
    ("a wrong footer", Expect::SetAside, |block| {
        change(block, |data| {
            let end = data.len() - 8;
            data[end - 200..end].fill(0xa5);
        });
    }),
    ("flipped bytes", Expect::SetAside, |block| {
        change(block, |data| {
            let middle = data.len() / 4;
            data[4..middle].iter_mut().for_each(|byte| *byte ^= 0x5a);
        });
    }),
    ("no data", Expect::SetAside, |block| fs::remove_file(block.join("data.parquet")).unwrap()),
    ("only a meta", Expect::SetAside, |block| only(block, "meta.json")),
    ("no bloom", Expect::Merged, |block| fs::remove_file(block.join("bloom-0")).unwrap()),
    ("no meta", Expect::Nothing, |block| fs::remove_file(block.join("meta.json")).unwrap()),
    ("a meta that is no JSON", Expect::Unreadable, |block| {
        fs::write(block.join("meta.json"), "{ no").unwrap()
    }),
    ("v2", Expect::Format, |block| says_format(block, "v2")),
    ("vParquet2", Expect::Format, |block| says_format(block, "vParquet2")),
];

/// Writes a block a request; the last ones are damaged. Returns them with what is to be expected.
fn prepare(folder: &Path) -> Vec<(&'static Poison, PathBuf)> {
    let server = start(folder, false);
    let mut known = BTreeSet::new();
    let mut poisoned = Vec::new();
    for number in 0..GOOD {
        assert_eq!(server.push("application/x-protobuf", &request(1000 + number)).status, 200);
        server.flush();
    }
    known.extend(blocks(folder));
    for poison in &POISONS {
        assert_eq!(server.push("application/x-protobuf", &own_request()).status, 200);
        server.flush();
        let new: Vec<PathBuf> = blocks(folder).difference(&known).cloned().collect();
        let [block] = &new[..] else { panic!("{}: {new:?}", poison.0) };
        known.insert(block.clone());
        poisoned.push((poison, block.clone()));
    }
    server.stop();
    for ((_, _, damage), block) in &poisoned {
        damage(block);
    }
    poisoned
}

/// A request whose spans are all of now, so that they become one block.
fn own_request() -> Vec<u8> {
    let number = (2000..).find(|number| !support::requests::has_wild_times(*number)).unwrap();
    request(number)
}

fn gauge(server: &Server, name: &str) -> Option<f64> {
    let text = String::from_utf8(server.get("/metrics").body).unwrap();
    let line = text.lines().find(|line| line.starts_with(name) && line.contains("single-tenant"))?;
    line.split_whitespace().next_back()?.parse().ok()
}

#[test]
fn damaged_blocks_are_named_and_set_aside_and_the_others_are_merged() {
    let folder = tempfile::tempdir().unwrap();
    let poisoned = prepare(folder.path());
    let of = |expect: Expect| poisoned.iter().filter(move |(poison, _)| poison.1 == expect);
    let mut server = start(folder.path(), true);
    let marked = |block: &Path| block.join("nocompact.flg").exists();
    // Two of one level are merged; a bad one that is left alone is found when the next good one comes.
    for number in 3000..3000 + 2 * POISONS.len() as u64 {
        server.wait("nothing is left to merge", |server| {
            gauge(server, "tempodb_compaction_outstanding_blocks") == Some(0.0)
        });
        if of(Expect::SetAside).all(|(_, block)| marked(block)) {
            break;
        }
        assert_eq!(server.push("application/x-protobuf", &request(number)).status, 200);
        server.flush();
    }
    assert!(of(Expect::SetAside).all(|(_, block)| marked(block)), "not all are set aside");
    let aside = of(Expect::SetAside).count() as f64;
    server.wait("they are counted", |server| {
        gauge(server, "trackway_compaction_set_aside_blocks") == Some(aside)
    });
    check_answers(&server);
    check_named(&server, &poisoned);
    for (poison, block) in &poisoned {
        assert!(block.exists() || poison.1 == Expect::Merged, "{}", poison.0);
        assert_eq!(marked(block), poison.1 == Expect::SetAside, "{}", poison.0);
    }
    server.stop();
    // The marks hold: nobody tries again, and nobody is named again for it.
    let mut server = start(folder.path(), true);
    server.wait("they are counted again", |server| {
        gauge(server, "trackway_compaction_set_aside_blocks") == Some(aside)
    });
    assert!(!server.lines().iter().any(|line| line.contains("left out of merges")), "{:?}", server.lines());
    server.stop();
}

/// What lies in good blocks is found, and answers say that they are not complete.
fn check_answers(server: &Server) {
    for number in 0..GOOD {
        let number = 1000 + number;
        let path = format!("/api/v2/traces/{:032x}", own_trace(number));
        let json = server.json(&path);
        assert_eq!(json["status"], "PARTIAL", "{json}");
        let found = json["trace"].to_string().matches("\"spanId\"").count();
        assert_eq!(found, own_spans(number).len(), "{json}");
    }
    let (start, end) = day();
    let answer = server.get(&format!("/api/search?q=%7B%7D&limit=1000&start={start}&end={end}"));
    assert_eq!(answer.status, 200);
    assert!(answer.header("x-trackway-completeness").is_some(), "it says that it is complete");
    let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    let found = json["traces"].to_string();
    for number in 0..GOOD {
        assert!(found.contains(format!("{:x}", own_trace(1000 + number)).trim_start_matches('0')), "{found}");
    }
}

fn check_named(server: &Server, poisoned: &[(&'static Poison, PathBuf)]) {
    let lines = server.lines();
    for ((what, expect, _), block) in poisoned {
        let warned = |text: &str| {
            let lines = lines.iter().filter(|line| line.contains("WARN") && line.contains(text));
            lines.filter(|line| line.contains(&name(block))).count()
        };
        let (aside, unreadable) = (warned("left out of merges"), warned("cannot be read and is left out"));
        let expected = (usize::from(*expect == Expect::SetAside), usize::from(*expect == Expect::Unreadable));
        assert_eq!((aside, unreadable), expected, "{what}: {lines:#?}");
    }
    for format in ["v2", "vParquet2"] {
        let named = lines
            .iter()
            .filter(|line| line.contains("blocks of this format") && line.contains(&format!("\"{format}\"")));
        assert_eq!(named.count(), 1, "{format}: {lines:#?}");
    }
}
