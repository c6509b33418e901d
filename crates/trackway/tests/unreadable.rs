//! Blocks that cannot be read are named: in the log once, and in every answer that they may be missing from.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use support::Server;
use support::requests::{day, own_spans, own_trace, request};
use trackway_golden::http::Response;

const TAGS: &str = "/api/v2/search/tags?";

/// Starts a server that looks for blocks every second. The harness writes `storage:` itself.
fn start(folder: &Path) -> Server {
    let ports = support::Ports::free();
    let text = support::config(folder, ports, "");
    let text = text.replace("backend: local", "backend: local, blocklist_poll: 1s");
    assert!(text.contains("blocklist_poll"), "{text}");
    let file = folder.join("tempo.yaml");
    fs::write(&file, text).unwrap();
    let mut server = Server::spawn_file(folder, &file, ports);
    server.until_ready();
    server
}

/// The folders of the blocks, in order.
fn blocks(folder: &Path) -> Vec<PathBuf> {
    let found = fs::read_dir(folder.join("blocks/single-tenant")).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> = found.filter(|path| path.is_dir()).collect();
    found.sort();
    found
}

fn name(block: &Path) -> String {
    block.file_name().unwrap().to_str().unwrap().to_owned()
}

/// Asks for everything between two times.
fn search(server: &Server, (start, end): (u64, u64)) -> Response {
    let answer = server.get(&format!("/api/search?q=%7B%7D&start={start}&end={end}"));
    assert_eq!(answer.status, 200);
    answer
}

/// What an answer says is missing; `None` when it says that it is complete.
fn missing(answer: &Response) -> Option<String> {
    answer.header("x-trackway-completeness").map(ToOwned::to_owned)
}

/// Two blocks, with a request each.
fn two_blocks(folder: &Path) -> (PathBuf, PathBuf) {
    let server = start(folder);
    assert_eq!(server.push("application/x-protobuf", &request(1)).status, 200);
    server.flush();
    let first = blocks(folder).remove(0);
    assert_eq!(server.push("application/x-protobuf", &request(2)).status, 200);
    server.flush();
    let second = blocks(folder).into_iter().find(|block| *block != first).unwrap();
    assert_eq!(missing(&search(&server, day())), None);
    server.stop();
    (first, second)
}

#[test]
fn a_damaged_meta_makes_every_answer_partial_until_it_is_repaired() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = two_blocks(folder.path());
    let meta = first.join("meta.json");
    let good = fs::read(&meta).unwrap();
    fs::write(&meta, "{").unwrap();

    let mut server = start(folder.path());
    server.expect_warning("block cannot be read and is left out");
    let answer = search(&server, day());
    assert!(missing(&answer).is_some_and(|why| why.contains(&name(&first))), "{:?}", missing(&answer));
    let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    let jobs = |key: &str| json["metrics"][key].as_u64().unwrap_or(0);
    assert!(jobs("completedJobs") < jobs("totalJobs"), "{json}");
    // Its time is not known, so it may be missing from any.
    assert!(missing(&search(&server, (1_000, 2_000))).is_some());
    assert!(missing(&server.get(TAGS)).is_some_and(|why| why.contains(&name(&first))));
    assert!(missing(&server.get("/api/v2/search/tag/name/values")).is_some());
    let trace = server.json(&format!("/api/v2/traces/{:032x}", own_trace(2)));
    assert_eq!(trace["status"], "PARTIAL", "{trace}");
    assert!(trace["message"].as_str().is_some_and(|why| why.contains(&name(&first))), "{trace}");
    let unknown = server.get(&format!("/api/traces/{:032x}", own_trace(1)));
    assert_eq!(unknown.status, 404);
    assert!(missing(&unknown).is_some());

    // One that turns up while it runs.
    let third = second.with_file_name("11111111-2222-4333-8444-555555555555");
    fs::create_dir(&third).unwrap();
    fs::write(third.join("meta.json"), "[]").unwrap();
    let says = |server: &Server, block: &Path| {
        missing(&search(server, day())).is_some_and(|why| why.contains(&name(block)))
    };
    server.wait("the new one in an answer", |server| says(server, &third));
    fs::write(&meta, good).unwrap();
    server.wait("the repaired one", |server| !says(server, &first));
    fs::remove_dir_all(&third).unwrap();
    server.wait("a complete answer", |server| missing(&search(server, day())).is_none());
    assert_eq!(server.trace(own_trace(1)), Some(own_spans(1)));
    // There were several looks at the store, and each block was named once.
    for block in [&first, &third] {
        let lines = server.lines();
        let named = lines.iter().filter(|line| line.contains("WARN") && line.contains(&name(block)));
        assert_eq!(named.count(), 1, "{lines:?}");
    }
    server.stop();
}

#[test]
fn a_format_that_is_not_known_makes_answers_about_its_time_partial() {
    let folder = tempfile::tempdir().unwrap();
    let (first, _) = two_blocks(folder.path());
    let meta = first.join("meta.json");
    let text = fs::read_to_string(&meta).unwrap();
    assert!(text.contains("\"vParquet4\""), "{text}");
    fs::write(&meta, text.replace("\"vParquet4\"", "\"vParquet99\"")).unwrap();

    let mut server = start(folder.path());
    server.expect_warning("blocks of this format are not read by this version");
    let why = missing(&search(&server, day())).unwrap_or_default();
    assert!(why.contains("vParquet99") && why.contains(&name(&first)), "{why}");
    let (_, later) = day();
    assert_eq!(missing(&search(&server, (1_000, 2_000))), None);
    assert_eq!(missing(&search(&server, (later - 2_000, later - 1_000))), None);
    assert!(missing(&server.get(TAGS)).is_some());
    assert!(missing(&server.get(&format!("/api/traces/{:032x}", own_trace(2)))).is_some());
    server.stop();
}
