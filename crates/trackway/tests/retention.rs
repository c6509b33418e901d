//! Blocks expire, are left alone for a while in a bucket that somebody else filled, and tenants without blocks vanish.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use support::requests::{of_service, own_trace, request, span_at};
use support::{Ports, Server, golden};

const HOUR: u64 = 3_600_000_000_000;
const FOREIGN: &str = "Trackway has not written to this bucket before";

/// Starts a server; `compactor`, `compaction` and `trace` are added to what it is told.
fn start(folder: &Path, compactor: &str, compaction: &str, trace: &str, start_after: &str) -> Server {
    let ports = Ports::free();
    let more = format!(
        "query_frontend: {{query_end_cutoff: 0s, search: {{query_backend_after: 0s}}}}\n\
         compactor: {{{compactor} compaction: {{compacted_block_retention: 0s, compaction_cycle: 100ms, \
         compaction_window: 876000h, {compaction}}}}}\n\
         backend_scheduler: {{provider: {{compaction: {{max_input_blocks: 2}}}}}}\n\
         trackway: {{compaction: {{start_after: {start_after}}}}}"
    );
    let trace = format!("backend: local, blocklist_poll: 1s, {trace}");
    let text = support::config(folder, ports, &more).replace("backend: local,", &trace);
    let file = folder.join("tempo.yaml");
    fs::write(&file, text).unwrap();
    let mut server = Server::spawn_file(folder, &file, ports);
    server.until_ready();
    server
}

fn tenant(folder: &Path) -> PathBuf {
    folder.join("blocks/single-tenant")
}

/// The folders of blocks.
fn blocks(folder: &Path) -> BTreeSet<PathBuf> {
    let found = fs::read_dir(tenant(folder)).into_iter().flatten().map(|entry| entry.unwrap().path());
    found.filter(|path| path.is_dir() && !path.ends_with("trackway")).collect()
}

/// All files below the tenants, with their times.
fn files(folder: &Path) -> BTreeSet<(PathBuf, SystemTime)> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.join("blocks")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else {
                found.insert((entry.path(), entry.metadata().unwrap().modified().unwrap()));
            }
        }
    }
    found
}

/// Waits until the server has looked at the store twice more: a meta that cannot be read is named by the first look, and
/// what a look leads to is done before the next one.
fn until_looked(server: &mut Server, folder: &Path) {
    server.expect_warning("block cannot be read and is left out");
    for number in 0..2 {
        let id = format!("99999999-0000-4000-8000-{:06}{number:06}", server.lines().len());
        let block = folder.join("blocks/looked-at").join(&id);
        fs::create_dir_all(&block).unwrap();
        fs::write(block.join("meta.json"), "no").unwrap();
        server.wait("a look at the store", |server| server.lines().iter().any(|line| line.contains(&id)));
    }
    fs::remove_dir_all(folder.join("blocks/looked-at")).unwrap();
}

/// A request with a span that ended so many hours ago.
fn of_hours_ago(number: u64, hours: u64) -> Vec<u8> {
    let start = support::requests::now() - hours * HOUR;
    of_service("old", &[span_at(start, own_trace(number), &number.to_be_bytes(), b"", "old", &[])])
}

#[test]
fn old_blocks_disappear_from_search_and_then_from_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "disabled: true,", "block_retention: 1h", "", "0s");
    for (number, hours) in [(1, 5), (2, 0)] {
        assert_eq!(server.push("application/x-protobuf", &of_hours_ago(number, hours)).status, 200);
        server.flush();
    }
    assert_eq!(blocks(folder.path()).len(), 2);
    server.stop();
    // Whoever is not to do it does nothing of it.
    let before = files(folder.path());
    let mut server = start(folder.path(), "disabled: true,", "block_retention: 1h", "", "0s");
    until_looked(&mut server, folder.path());
    assert_eq!(files(folder.path()), before);
    assert_eq!(server.trace(own_trace(1)), Some(vec![1]));
    server.stop();

    let mut server = start(folder.path(), "", "block_retention: 1h", "", "0s");
    server.wait("it is not found any more", |server| server.trace(own_trace(1)).is_none());
    server.wait("it is deleted", |_| blocks(folder.path()).len() == 1);
    assert_eq!(server.trace(own_trace(2)), Some(vec![2]));
    let says =
        |server: &Server| server.lines().iter().filter(|line| line.contains("block_retention")).count();
    assert_eq!(says(&server), 1, "{:?}", server.lines());
    server.stop();
}

#[test]
fn in_the_bucket_of_somebody_else_nothing_is_done_before_its_time() {
    let folder = tempfile::tempdir().unwrap();
    trackway_golden::copy_blocks("v4", &folder.path().join("blocks")).unwrap();
    golden::copy_a_block(folder.path(), 1);
    let foreign = blocks(folder.path());
    let before = files(folder.path());
    let retention = "block_retention: 0s";
    let mut server = start(folder.path(), "", retention, "", "24h");
    server.expect_warning(FOREIGN);
    let line =
        server.lines().into_iter().find(|line| line.contains(FOREIGN)).expect("it says what it will do");
    assert!(line.contains("merged=2") || line.contains("\"merged\":2"), "{line}");
    until_looked(&mut server, folder.path());
    let seed = folder.path().join("blocks/trackway_seed.json");
    assert!(seed.exists());
    let mut now = files(folder.path());
    now.retain(|(path, _)| *path != seed);
    assert_eq!(now, before);
    server.stop();
    // What it saw first it still knows.
    let mut server = start(folder.path(), "", retention, "", "24h");
    server.expect_warning(FOREIGN);
    until_looked(&mut server, folder.path());
    assert_eq!(blocks(folder.path()), foreign);
    server.stop();
    let text = fs::read_to_string(&seed).unwrap();
    let day = text.find("20").map(|at| &text[at..at + 4]).unwrap();
    fs::write(&seed, text.replacen(day, "2001", 1)).unwrap();
    let mut server = start(folder.path(), "", retention, "", "24h");
    server.wait("its time has come", |_| blocks(folder.path()).is_disjoint(&foreign));
    assert!(!server.lines().iter().any(|line| line.contains(FOREIGN)));
    server.stop();
}

#[test]
fn a_block_with_a_mark_is_not_merged() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "disabled: true,", "block_retention: 0s", "", "0s");
    for number in [1, 2, 4] {
        assert_eq!(server.push("application/x-protobuf", &request(number)).status, 200);
        server.flush();
    }
    let marked = blocks(folder.path()).into_iter().next().unwrap();
    fs::write(marked.join("nocompact.flg"), "").unwrap();
    server.stop();
    let mut server = start(folder.path(), "", "block_retention: 0s", "", "0s");
    server.wait("the others are merged", |_| blocks(folder.path()).len() == 2);
    until_looked(&mut server, folder.path());
    assert!(marked.join("meta.json").exists() && blocks(folder.path()).len() == 2);
    server.stop();
}

#[test]
fn a_tenant_without_blocks_vanishes_when_that_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let [old, young] = ["old", "young"].map(|name| folder.path().join("blocks").join(name));
    let index = ["index.json.gz", "index.pb.zst"];
    for (tenant, hours) in [(&old, 20), (&young, 1)] {
        fs::create_dir_all(tenant).unwrap();
        for name in index {
            let file = fs::File::create(tenant.join(name)).unwrap();
            let now = SystemTime::UNIX_EPOCH + Duration::from_nanos(support::requests::now());
            file.set_modified(now - Duration::from_secs(hours * 3600)).unwrap();
        }
    }
    let retention = "block_retention: 0s";
    let enabled = "empty_tenant_deletion_enabled: true,";
    for (compactor, trace) in [("", ""), ("disabled: true,", enabled)] {
        let mut server = start(folder.path(), compactor, retention, trace, "0s");
        until_looked(&mut server, folder.path());
        assert!(index.iter().all(|name| old.join(name).exists()));
        server.stop();
    }
    let mut server = start(folder.path(), "", retention, enabled, "0s");
    server.wait("the old one is deleted", |_| index.iter().all(|name| !old.join(name).exists()));
    until_looked(&mut server, folder.path());
    assert!(index.iter().all(|name| young.join(name).exists()));
    server.stop();
}
