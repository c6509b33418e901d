//! Spans with times far off the present go to a block of their own, in one step with the block of the others: whenever
//! the process dies, each span is there once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::requests::{has_wild_times, now, of_service, request, span_at};
use support::{Ports, Server};

const HOUR: u64 = 3_600_000_000_000;
const TRACE: u128 = 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef;

/// The folders of the blocks.
fn blocks(folder: &Path) -> Vec<PathBuf> {
    let found = fs::read_dir(folder.join("blocks/single-tenant")).unwrap().map(|entry| entry.unwrap().path());
    found.filter(|path| path.join("meta.json").is_file()).collect()
}

/// Seconds between the first and the last span, and the spans' traces.
fn extent(block: &Path) -> (i64, u64) {
    let meta: serde_json::Value =
        serde_json::from_slice(&fs::read(block.join("meta.json")).unwrap()).unwrap();
    let time = |key: &str| meta[key].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second();
    (time("endTime") - time("startTime"), meta["totalObjects"].as_u64().unwrap())
}

fn push(server: &Server, body: &[u8]) {
    assert_eq!(server.push("application/x-protobuf", body).status, 200);
}

/// Spans of a trace, with their ids and how long ago they began, in nanoseconds.
fn trace_of(trace: u128, spans: &[(u64, i64)]) -> Vec<u8> {
    let span = |(id, ago): &(u64, i64)| {
        let attributes = [("a", format!("of {id}")), ("b", "x".repeat(600))];
        span_at(now().saturating_add_signed(-ago), trace, &id.to_be_bytes(), b"", "wild", &attributes)
    };
    of_service("times", &spans.iter().map(span).collect::<Vec<_>>())
}

#[test]
fn traces_with_wild_times_go_to_a_block_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), "");
    let hour = HOUR.cast_signed();
    push(&server, &trace_of(TRACE, &[(1, 0), (2, 1_000_000)]));
    push(&server, &trace_of(TRACE + 1, &[(3, 5 * hour), (4, 0)]));
    push(&server, &trace_of(TRACE + 2, &[(5, -3 * hour)]));
    push(&server, &trace_of(TRACE + 1, &[(6, 0)]));
    // More than one wild trace in four would be old data that somebody brings in.
    (10..18).for_each(|at| push(&server, &trace_of(TRACE + at, &[(1, 0)])));
    let shown = || -> Vec<serde_json::Value> {
        (0..3)
            .map(|at| server.json(&format!("/api/v2/traces/{:032x}", TRACE + at))["trace"].clone())
            .collect()
    };
    let (before, all) = (shown(), server.all_traces());
    server.flush();
    let mut extents: Vec<(i64, u64)> = blocks(folder.path()).iter().map(|block| extent(block)).collect();
    extents.sort_unstable();
    let [(narrow, one), (wide, two)] = extents[..] else { panic!("not two blocks: {extents:?}") };
    assert!((narrow, wide) < (120, 9 * 3600) && wide > 7 * 3600, "{extents:?}");
    assert_eq!((one, two), (9, 2), "a trace lies in one of them");
    assert_eq!(server.all_traces(), all);
    assert_eq!(shown(), before);
    assert_eq!(server.trace(TRACE + 1), Some(vec![3, 4, 6]));

    // Where many are wild, there is nothing to keep apart.
    for at in 3..8 {
        push(&server, &trace_of(TRACE + at, &[(7, 5 * hour), (8, at as i64 * hour)]));
    }
    server.flush();
    assert_eq!(blocks(folder.path()).len(), 3);
    server.stop();
}

#[test]
fn with_a_slack_of_0_all_go_together() {
    let folder = tempfile::tempdir().unwrap();
    let (ports, file) = (Ports::free(), folder.path().join("tempo.yaml"));
    let text = support::config(folder.path(), ports, "");
    let slack = text.replace("/wal}", "/wal, ingestion_time_range_slack: 0s}");
    assert_ne!(text, slack);
    fs::write(&file, slack).unwrap();
    let mut server = Server::spawn_file(folder.path(), &file, ports);
    server.until_ready();
    push(&server, &trace_of(TRACE, &[(1, 0)]));
    push(&server, &trace_of(TRACE + 1, &[(2, 5 * HOUR.cast_signed())]));
    server.flush();
    assert_eq!(blocks(folder.path()).len(), 1);
    server.stop();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

/// It has these and nothing else, each span once, over a flush and another death.
fn has(folder: &Path, all: &HashMap<u128, Vec<u64>>, what: &str) {
    let server = Server::start(folder, "");
    let check = |server: &Server, when: &str| {
        assert_eq!(server.all_traces(), *all, "{what}, {when}");
        for (trace, spans) in all.iter().take(40) {
            assert_eq!(server.trace(*trace).as_ref(), Some(spans), "{what}, {when}");
        }
    };
    check(&server, "after the start");
    server.flush();
    check(&server, "after a flush");
    server.check_log();
    server.kill();
    assert!(!folder.join("wal/pair").exists(), "{what}");
    let server = Server::start(folder, "");
    check(&server, "after another start");
    server.stop();
}

/// What a death at each moment leaves behind, put together from what was there before and after.
#[test]
fn a_death_between_the_two_blocks_loses_and_doubles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let before = folder.path().join("before");
    let work = folder.path().join("work");
    fs::create_dir(&work).unwrap();
    let server = Server::start(&work, "");
    assert!((0..30).any(has_wild_times) && !(0..30).all(has_wild_times));
    (0..30).for_each(|number| push(&server, &request(number)));
    let all = server.all_traces();
    server.kill();
    copy(&work.join("wal"), &before);
    let server = Server::start(&work, "");
    server.flush();
    server.kill();
    let made = blocks(&work);
    assert_eq!(made.len(), 2);
    let ids = made.iter().map(|block| block.file_name().unwrap().to_str().unwrap());
    let pair = format!("single-tenant\n{}\n", ids.collect::<Vec<_>>().join("\n"));
    for there in [vec![], vec![0], vec![1], vec![0, 1]] {
        let now = folder
            .path()
            .join(format!("with{}", there.iter().map(|at| format!("-{at}")).collect::<String>()));
        copy(&before.join("wal"), &now);
        fs::write(now.join("wal/pair"), &pair).unwrap();
        for block in &there {
            copy(&made[*block], &now.join("blocks/single-tenant"));
        }
        has(&now, &all, &format!("with blocks {there:?}"));
        let kept = made.iter().filter(|block| {
            let name = block.file_name().unwrap();
            now.join("blocks/single-tenant").join(name).join("meta.json").exists()
        });
        assert_eq!(kept.count(), if there.len() == 2 { 2 } else { 0 }, "{there:?}");
    }
}
