//! Merging blocks changes no answer: of Tempo's own blocks, of pushed spans, and from one format to another.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::Path;

use support::Server;
use support::golden::{
    ask, asks_of_pushed, asks_of_v5, asks_only, columns, copy_a_block, metas, push_recorded, start_with,
};

/// Merges at once whatever can be merged, and deletes what is not needed any more at the next look.
const EAGER: &str = "\
    query_frontend: {query_end_cutoff: 0s, search: {query_backend_after: 0s}, metrics: {query_backend_after: 0s}}\n\
    compactor: {compaction: {block_retention: 0s, compacted_block_retention: 0s, compaction_cycle: 100ms, compaction_window: 876000h}}\n\
    trackway: {compaction: {start_after: 0s}}\n";

fn eager(inputs: usize) -> String {
    format!("{EAGER}backend_scheduler: {{provider: {{compaction: {{max_input_blocks: {inputs}}}}}}}")
}

/// A server that writes vParquet5, if it shall, and looks at its blocks every second.
fn start(folder: &Path, inputs: usize, version: &str) -> Server {
    let recording = if version == "vParquet5" { "v5" } else { "v4" };
    let trace = format!("blocklist_poll: 1s, {}", columns(recording, version));
    start_with(folder, &trace, &eager(inputs))
}

/// Waits until there is one block, and nothing but its files.
fn until_one(server: &mut Server, folder: &Path) -> serde_json::Value {
    let tenant = folder.join("blocks/single-tenant");
    let folders = || {
        let entries = std::fs::read_dir(&tenant).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.is_dir() && !path.ends_with("trackway")).count()
    };
    server.wait("one block", |_| metas(&tenant).len() == 1 && folders() == 1);
    metas(&tenant).remove(0)
}

#[test]
fn copies_of_tempos_blocks_become_one_with_the_same_answers() {
    for (format, asks) in [("v4", asks_only as fn(&trackway_golden::Question) -> bool), ("v5", asks_of_v5)] {
        let folder = tempfile::tempdir().unwrap();
        trackway_golden::copy_blocks(format, &folder.path().join("blocks")).unwrap();
        copy_a_block(folder.path(), 1);
        let blocks = copy_a_block(folder.path(), 1);
        let version = if format == "v4" { "vParquet4" } else { "vParquet5" };
        let mut server = start(folder.path(), blocks, version);
        let meta = until_one(&mut server, folder.path());
        assert_eq!((&meta["format"], &meta["compactionLevel"]), (&version.into(), &1.into()));
        assert_eq!(meta["totalObjects"], 271);
        ask(&server, &format!("{format}, merged"), format, |question| {
            asks(question) && asks_of_pushed(question)
        });
        server.stop();
    }
}

#[test]
fn blocks_change_their_format_when_they_are_merged() {
    let folder = tempfile::tempdir().unwrap();
    trackway_golden::copy_blocks("v4", &folder.path().join("blocks")).unwrap();
    let blocks = copy_a_block(folder.path(), 1);
    let mut server = start(folder.path(), blocks, "vParquet5");
    assert_eq!(until_one(&mut server, folder.path())["format"], "vParquet5");
    ask(&server, "from vParquet4 to vParquet5", "v4", |question| {
        asks_of_v5(question) && asks_of_pushed(question)
    });
    server.stop();
}

#[test]
fn pushed_spans_give_the_same_answers_when_their_blocks_are_merged() {
    const BLOCKS: usize = 5;
    let folder = tempfile::tempdir().unwrap();
    let mut server = start(folder.path(), BLOCKS, "vParquet4");
    let frames = trackway_golden::shop_frames("v4").unwrap();
    let odd = trackway_golden::odd_json("v4").unwrap();
    assert_eq!(server.push("application/json", &odd).status, 200);
    // Every trace is cut where the requests are cut.
    for frames in frames.chunks(frames.len().div_ceil(BLOCKS)) {
        for frame in frames {
            assert_eq!(server.push("application/x-protobuf", frame).status, 200);
        }
        server.flush();
    }
    push_recorded(&server, "v4"); // a sender that repeats itself doubles nothing
    until_one(&mut server, folder.path());
    let right = ask(&server, "merged", "v4", asks_of_pushed);
    server.stop();
    // A restart reads the commits and the log, and must not bring back what was merged.
    let server = start(folder.path(), BLOCKS, "vParquet4");
    assert_eq!(ask(&server, "after a restart", "v4", asks_of_pushed), right);
    server.stop();
}
