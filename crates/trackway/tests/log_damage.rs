//! The newest file of the log is damaged between a kill and a restart: the server starts every time, says so in one
//! line at the most, and has every request whose bytes were not hit.
//!
//! `TRACKWAY_DAMAGE_SEED` repeats a run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use support::Server;
use support::dice::Dice;
use support::requests::{own_spans, own_trace, request, shared_trace};

const REQUESTS: u64 = 120;
const TRIES: usize = 20;
/// Nothing leaves the log.
const SETTINGS: &str = "live_store: {max_block_duration: 1h}";

/// A folder with a log that a killed server left, and where in its newest file each request's bytes stand.
struct Left {
    folder: tempfile::TempDir,
    newest: PathBuf,
    bodies: Vec<Range<usize>>,
}

fn left() -> Left {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), SETTINGS);
    let bodies: Vec<Vec<u8>> = (0..REQUESTS).map(request).collect();
    for body in &bodies {
        assert_eq!(server.push("application/x-protobuf", body).status, 200);
    }
    server.kill();
    let newest = newest_log(folder.path());
    let bytes = fs::read(&newest).unwrap();
    let mut from = 0;
    let place = |body: &Vec<u8>| {
        let at = bytes[from..].windows(body.len()).position(|window| window == body).unwrap() + from;
        from = at + body.len();
        at..from
    };
    let bodies = bodies.iter().map(place).collect();
    Left { newest: newest.strip_prefix(folder.path()).unwrap().to_owned(), folder, bodies }
}

fn newest_log(folder: &Path) -> PathBuf {
    let entries = fs::read_dir(folder.join("wal/log")).unwrap().map(|entry| entry.unwrap().path());
    let logs = entries.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
    logs.max().expect("a file of the log")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Starts on a copy of the folder with a damaged log; the requests in `sure` must all be there, and nothing twice.
fn starts_and_has(left: &Left, what: &str, damage: impl FnOnce(&mut Vec<u8>), sure: impl Fn(u64) -> bool) {
    let folder = tempfile::tempdir().unwrap();
    copy(left.folder.path(), folder.path());
    let path = folder.path().join(&left.newest);
    let mut bytes = fs::read(&path).unwrap();
    damage(&mut bytes);
    fs::write(&path, bytes).unwrap();
    let mut server = Server::start(folder.path(), SETTINGS);
    server.expect_warning("damaged records in the write-ahead log");
    server.check_log();
    let warnings = server.lines().iter().filter(|line| line.contains("WARN")).count();
    assert!(warnings <= 1, "{what}: {warnings} warnings");
    for number in 0..REQUESTS {
        match server.trace(own_trace(number)) {
            None => assert!(!sure(number), "{what}: request {number} was not damaged and is missing"),
            Some(spans) => assert_eq!(spans, own_spans(number), "{what}: request {number}"),
        }
    }
    // It goes on taking requests.
    assert_eq!(server.push("application/x-protobuf", &request(REQUESTS)).status, 200);
    assert!(server.trace(own_trace(REQUESTS)).is_some() && server.trace(shared_trace(REQUESTS)).is_some());
    server.kill();
}

#[test]
fn a_log_cut_anywhere_keeps_what_stands_before() {
    let mut dice = Dice::printed("TRACKWAY_DAMAGE_SEED");
    let left = left();
    let length = fs::metadata(left.folder.path().join(&left.newest)).unwrap().len() as usize;
    for _ in 0..TRIES {
        let cut = dice.below(length as u64) as usize;
        let whole = |number: u64| left.bodies[number as usize].end <= cut;
        starts_and_has(&left, &format!("cut at {cut}"), |bytes| bytes.truncate(cut), whole);
    }
}

#[test]
fn a_flipped_bit_costs_one_request_at_the_most() {
    let mut dice = Dice::printed("TRACKWAY_DAMAGE_SEED");
    let left = left();
    let length = fs::metadata(left.folder.path().join(&left.newest)).unwrap().len() as usize;
    for _ in 0..TRIES {
        let (at, bit) = (dice.below(length as u64) as usize, dice.below(8));
        // A record's header stands before its body: the first body that ends behind the place is the one hit.
        let hit = left.bodies.iter().position(|body| at < body.end);
        let sure = |number: u64| hit != Some(number as usize);
        starts_and_has(&left, &format!("bit {bit} of {at} flipped"), |bytes| bytes[at] ^= 1 << bit, sure);
    }
}

/// Damage over damage: the folder that a damaged start left is damaged again.
#[test]
fn many_damages_one_after_the_other_never_keep_it_from_starting() {
    let mut dice = Dice::printed("TRACKWAY_DAMAGE_SEED");
    let folder = tempfile::tempdir().unwrap();
    for round in 0..10 {
        let mut server = Server::start(folder.path(), SETTINGS);
        server.expect_warning("damaged records in the write-ahead log");
        server.check_log();
        for number in round * 10..round * 10 + 10 {
            assert_eq!(server.push("application/x-protobuf", &request(number)).status, 200);
            assert_eq!(server.trace(own_trace(number)), Some(own_spans(number)));
        }
        server.kill();
        let path = newest_log(folder.path());
        let mut bytes = fs::read(&path).unwrap();
        let at = dice.below(bytes.len() as u64) as usize;
        if round % 2 == 0 {
            bytes.truncate(at)
        } else {
            bytes[at] ^= 1 << dice.below(8)
        }
        fs::write(&path, bytes).unwrap();
    }
}
