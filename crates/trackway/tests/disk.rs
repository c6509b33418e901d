//! A full disk: senders are told to come back, questions are answered, and it goes on when there is room again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use support::requests::{own_spans, own_trace, request, shared_trace};
use support::{Ports, Server, config, skipped};
use trackway_golden::http::{self, Response};

/// Nothing is written but the log.
const QUIET: &str = "live_store: {max_block_duration: 1h}";

/// A file system of its own in memory, taken away at the end.
struct Small {
    folder: PathBuf,
    _parent: tempfile::TempDir,
}

impl Small {
    fn mount(megabytes: u32) -> Result<Self, String> {
        let parent = tempfile::tempdir().map_err(|error| error.to_string())?;
        let folder = parent.path().join("disk");
        std::fs::create_dir(&folder).map_err(|error| error.to_string())?;
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"])
            .arg(&folder)
            .output()
            .map_err(|error| format!("mount cannot be run: {error}"))?;
        if output.status.success() {
            Ok(Self { folder, _parent: parent })
        } else {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            Err(format!("mount fails: {}", said.lines().next().unwrap_or_default()))
        }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Lazily: a server may still be on its way out.
        let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
    }
}

/// It has these requests and no others, each whole.
fn has(server: &Server, numbers: std::ops::Range<u64>) {
    let mut all = server.all_traces();
    for number in numbers.clone() {
        assert_eq!(all.remove(&own_trace(number)), Some(own_spans(number)), "request {number}");
        all.remove(&shared_trace(number));
    }
    assert!(all.is_empty(), "not one of {numbers:?}: {all:?}");
    // And a few by their ids.
    for number in numbers.step_by(97) {
        assert_eq!(server.trace(own_trace(number)), Some(own_spans(number)), "request {number}");
    }
}

/// Pushes until it is refused; the number of the refused request and the answer.
fn push_until_refused(server: &Server, from: u64) -> (u64, Response) {
    for number in from..from + 200_000 {
        let answer = server.push("application/x-protobuf", &request(number));
        if answer.status != 200 {
            return (number, answer);
        }
    }
    panic!("the disk does not get full");
}

fn fill(folder: &Path, bytes: usize) -> PathBuf {
    let path = folder.join("filler");
    std::fs::write(&path, vec![1; bytes]).unwrap();
    path
}

#[test]
fn a_full_disk_stops_senders_and_nothing_else() {
    let disk = match Small::mount(24) {
        Ok(disk) => disk,
        Err(why) => return skipped("disk::a_full_disk_stops_senders_and_nothing_else", &why),
    };
    let mut server = Server::start(&disk.folder, QUIET);
    server.expect_warning("disk");
    server.expect_warning("space");
    let filler = fill(&disk.folder, 20 << 20);
    let (refused, answer) = push_until_refused(&server, 0);
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert_eq!(answer.status, 503, "{text}");
    assert!(refused > 10, "only {refused} requests fit into 4 MB");
    // Questions go on, over everything that was acknowledged.
    has(&server, 0..refused);
    assert!(!server.search("{ resource.service.name = \"service-1\" }").is_empty());
    assert_eq!(server.get("/ready").status, 200);
    // What was refused is not there.
    assert!(server.trace(own_trace(refused)).is_none(), "refused, and there");

    std::fs::remove_file(filler).unwrap();
    server
        .wait("room again", |server| server.push("application/x-protobuf", &request(refused)).status == 200);
    for number in refused + 1..refused + 50 {
        assert_eq!(server.push("application/x-protobuf", &request(number)).status, 200);
    }
    has(&server, 0..refused + 50);
    server.flush();
    has(&server, 0..refused + 50);
    server.check_log();
    server.kill();
    let server = Server::start(&disk.folder, "");
    has(&server, 0..refused + 50);
    server.kill();
}

/// Writes until not a byte more fits.
fn fill_up(folder: &Path) -> PathBuf {
    let path = folder.join("rest");
    let mut file = std::fs::File::create(&path).unwrap();
    let full = std::io::copy(&mut std::io::repeat(1), &mut file).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    path
}

/// Killed while the disk is full, it starts, answers, and refuses senders as before; with room again it goes on, without
/// another restart.
#[test]
fn a_restart_on_a_full_disk_loses_nothing() {
    let disk = match Small::mount(24) {
        Ok(disk) => disk,
        Err(why) => return skipped("disk::a_restart_on_a_full_disk_loses_nothing", &why),
    };
    // The configuration lies elsewhere: a test that cannot write it would say nothing about the server.
    let settings = tempfile::tempdir().unwrap();
    let file = settings.path().join("tempo.yaml");
    let server = Server::start(&disk.folder, QUIET);
    let filler = fill(&disk.folder, 20 << 20);
    let (refused, said) = push_until_refused(&server, 0);
    server.kill();
    let rest = fill_up(&disk.folder);

    let ports = Ports::free();
    // What is replayed wants to a segment, for which there is no room.
    let small = format!("{QUIET}\ntrackway: {{head: {{max_bytes: 1MiB}}}}");
    std::fs::write(&file, config(&disk.folder, ports, &small)).unwrap();
    let mut full = Server::spawn_file(&disk.folder, &file, ports);
    full.until_ready();
    has(&full, 0..refused);
    assert!(
        full.lines().iter().any(|line| line.contains("replayed spans stay in memory until there is room"))
    );
    full.kill();

    std::fs::write(&file, config(&disk.folder, ports, QUIET)).unwrap();
    let mut full = Server::spawn_file(&disk.folder, &file, ports);
    full.until_ready();
    full.expect_warning("the write-ahead log refuses requests");
    full.expect_warning("damaged records in the write-ahead log"); // the one that found no room
    has(&full, 0..refused);
    let again = full.push("application/x-protobuf", &request(refused));
    let text = |answer: &Response| String::from_utf8_lossy(&answer.body).into_owned();
    assert_eq!(again.status, said.status, "{}", text(&again));
    for answer in [&said, &again] {
        assert!(text(answer).contains("no space left on"), "{}", text(answer));
        assert!(text(answer).contains("free some, senders are told to retry"), "{}", text(answer));
    }
    assert_eq!(again.header("retry-after"), said.header("retry-after"));
    has(&full, 0..refused);

    std::fs::remove_file(filler).unwrap();
    std::fs::remove_file(rest).unwrap();
    full.wait("room again", |server| server.push("application/x-protobuf", &request(refused)).status == 200);
    has(&full, 0..refused + 1);
    full.check_log();
    full.kill();
    let mut server = Server::start(&disk.folder, QUIET);
    server.expect_warning("damaged records in the write-ahead log");
    has(&server, 0..refused + 1);
    server.flush();
    has(&server, 0..refused + 1);
    server.stop();
}

/// Spans with wild times make a flush write two blocks. There is room for one of them, and the process dies then.
#[test]
fn a_disk_that_fills_between_two_blocks_loses_and_doubles_nothing() {
    let disk = match Small::mount(24) {
        Ok(disk) => disk,
        Err(why) => return skipped("disk::a_disk_that_fills_between_two_blocks", &why),
    };
    let settings = tempfile::tempdir().unwrap();
    let (ports, file) = (Ports::free(), settings.path().join("tempo.yaml"));
    std::fs::write(&file, config(&disk.folder, ports, QUIET)).unwrap();
    let start = || {
        let mut server = Server::spawn_file(&disk.folder, &file, ports);
        server.until_ready();
        server
    };
    let mut server = start();
    for number in 0..40 {
        assert_eq!(server.push("application/x-protobuf", &request(number)).status, 200);
    }
    let filler = std::fs::File::options().write(true).open(fill_up(&disk.folder)).unwrap();
    let flush = |server: &Server| http::request(&server.api, "POST", "/flush", &[], None).unwrap().status;
    let (mut halves, mut tries) = (0, 0);
    while flush(&server) >= 300 {
        tries += 1;
        assert!(tries < 1000, "no flush succeeds");
        if disk.folder.join("wal/pair").exists() {
            halves += 1;
            has(&server, 0..40);
            if halves % 3 == 1 {
                server.kill();
                server = start();
                has(&server, 0..40);
            }
        }
        let left = filler.metadata().unwrap().len();
        filler
            .set_len(left.checked_sub(4096).expect("a flush succeeds before there is nothing left"))
            .unwrap();
    }
    assert!(halves > 1, "no flush failed between its blocks");
    assert!(!disk.folder.join("wal/pair").exists());
    has(&server, 0..40);
    server.kill();
    let server = start();
    has(&server, 0..40);
    server.kill();
}
