//! The process as an operator meets it: how it refuses to start, how it stops, and that a reader writes nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs;
use std::path::Path;

use support::requests::{own_spans, own_trace, request};
use support::{Ports, Server, config, run};

fn push(server: &Server, numbers: std::ops::Range<u64>) {
    for number in numbers {
        assert_eq!(server.push("application/x-protobuf", &request(number)).status, 200);
    }
}

fn has(server: &Server, numbers: std::ops::Range<u64>) {
    for number in numbers {
        assert_eq!(server.trace(own_trace(number)), Some(own_spans(number)), "request {number}");
    }
}

/// Runs a server on a configuration that it does not start with; what it said.
fn refused(text: &str, flags: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tempo.yaml");
    fs::write(&file, text).unwrap();
    let file = format!("-config.file={}", file.display());
    let (code, said) = run(&[&[file.as_str()], flags].concat());
    assert_eq!(code, Some(1), "{said}");
    said
}

#[test]
fn the_second_server_on_a_folder_is_told_who_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), "");
    let said = refused(&config(folder.path(), Ports::free(), ""), &[]);
    assert!(said.contains(&format!("in use by pid {}", server.pid())), "{said}");
    assert!(said.contains("--data"), "{said}");
    assert_eq!(said.trim().lines().count(), 1, "{said}");
    push(&server, 0..3);
    has(&server, 0..3); // the first one is not harmed
    server.stop();
}

#[test]
fn a_taken_port_is_named_with_who_has_it_and_the_setting() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let ports = Ports::free();
    let server = Server::start_on(folder.path(), ports, "");
    let free = Ports::free();
    for (taken, port, setting) in [
        (Ports { http: ports.http, ..free }, ports.http, "server.http_listen_port"),
        (Ports { grpc: ports.grpc, ..free }, ports.grpc, "server.grpc_listen_port"),
        (
            Ports { otlp_grpc: ports.otlp_grpc, ..free },
            ports.otlp_grpc,
            "distributor.receivers.otlp.protocols.grpc",
        ),
        (
            Ports { otlp_http: ports.otlp_http, ..free },
            ports.otlp_http,
            "distributor.receivers.otlp.protocols.http",
        ),
    ] {
        let said = refused(&config(other.path(), taken, ""), &[]);
        let who = format!("{port} is taken by pid {} (trackway)", server.pid());
        assert!(said.contains(&who) && said.contains(setting), "{said}");
    }
    assert!(!other.path().join("wal").exists(), "it wrote before it had its ports");
    server.stop();
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_what_was_meant() {
    for flags in [&[][..], &["-config.verify"]] {
        let said = refused("server:\n  http_lisen_port: 1\n", flags);
        assert!(said.contains("tempo.yaml:2: unknown key \"http_lisen_port\" in server"), "{said}");
        assert!(said.contains("did you mean http_listen_port?"), "{said}");
        assert_eq!(said.trim().lines().count(), 1, "{said}");
    }
    let (code, said) = run(&["-server.http-lisen-port=1"]);
    assert_eq!(code, Some(1));
    assert!(
        said.contains("unknown flag -server.http-lisen-port; did you mean -server.http-listen-port?"),
        "{said}"
    );
}

#[test]
fn verify_says_whether_the_configuration_is_fine_and_starts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tempo.yaml");
    fs::write(&file, config(folder.path(), Ports::free(), "")).unwrap();
    let (code, said) = run(&[&format!("-config.file={}", file.display()), "-config.verify"]);
    assert_eq!((code, said.trim()), (Some(0), "the configuration is fine"));
    assert_eq!(listing(folder.path()).len(), 1);
    let said = refused("server: {http_listen_port: 3200, grpc_listen_port: 3200}\n", &["-config.verify"]);
    assert!(said.contains("3200"), "{said}");
}

#[test]
fn settings_without_effect_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let more = "overrides: {unsafe_query_hints: true}\ncompactor: {compaction: {retention_concurrency: 5}}";
    let mut server = Server::start(folder.path(), more);
    server.expect_warning("these settings have no effect in this version");
    let named = ["overrides.defaults.read.unsafe_query_hints", "compactor.compaction.retention_concurrency"];
    let lines = server.lines();
    let line = lines.iter().find(|line| line.contains("no effect in this version")).unwrap();
    assert!(named.iter().all(|key| line.contains(key)), "{line}");
    let file = folder.path().join("tempo.yaml");
    let (code, said) = run(&[&format!("-config.file={}", file.display()), "-config.verify"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(named.iter().all(|key| said.contains(key)), "{said}");
    server.stop();
}

#[test]
fn a_signal_to_stop_writes_everything_to_blocks() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), "");
    push(&server, 0..30);
    server.stop();
    let files = listing(folder.path());
    let count = |end: &str| files.iter().filter(|(path, ..)| path.ends_with(end)).count();
    // Some of the requests have times that go to a block of their own.
    assert_eq!(count("data.parquet"), 2, "{files:?}");
    assert_eq!((count(".segment"), count(".tmp")), (0, 0), "{files:?}");
    let server = Server::start(folder.path(), "");
    assert!(!server.lines().iter().any(|line| line.contains("replayed the log")), "{:?}", server.lines());
    has(&server, 0..30);
    server.stop();
}

#[test]
fn an_interrupt_and_a_request_stop_it_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path(), "");
    push(&server, 0..3);
    server.signal("-INT");
    assert_eq!(server.until_ended(), Some(0));
    let mut server = Server::start(folder.path(), "");
    has(&server, 0..3);
    let answer = trackway_golden::http::request(&server.api, "POST", "/shutdown", &[], None).unwrap();
    assert!(answer.status < 300, "{}", answer.status);
    assert_eq!(server.until_ended(), Some(0));
    server.check_log();
}

#[test]
fn a_second_signal_ends_it_at_once_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path(), "shutdown_delay: 10m");
    push(&server, 0..10);
    server.signal("-TERM");
    server
        .wait("the line that it stops", |server| server.lines().iter().any(|line| line.contains("stopping")));
    assert_ne!(server.get("/ready").status, 200); // it says so as long as it waits
    server.signal("-TERM");
    assert_eq!(server.until_ended(), Some(1));
    let server = Server::start(folder.path(), "");
    has(&server, 0..10);
    server.stop();
}

/// Every file and folder below a folder, with size, time of the last change and content.
fn listing(folder: &Path) -> Vec<(String, std::time::SystemTime, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        let changed = entry.metadata().unwrap().modified().unwrap();
        if path.is_dir() {
            all.push((path.display().to_string(), changed, Vec::new()));
            all.extend(listing(&path));
        } else {
            all.push((path.display().to_string(), changed, fs::read(&path).unwrap()));
        }
    }
    all.sort();
    all
}

#[test]
fn a_reader_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), "");
    push(&server, 0..10);
    server.flush();
    push(&server, 10..20); // these are in the log only: a reader does not see them
    server.kill();
    let more = "trackway: {read_only: true}";
    fs::remove_file(folder.path().join("tempo.yaml")).unwrap();
    let before = listing(folder.path());
    let mut server = Server::start(folder.path(), more);
    has(&server, 0..10);
    assert!(server.trace(own_trace(10)).is_none());
    assert!(!server.search("{}").is_empty());
    let refused = trackway_golden::http::request(&server.api, "POST", "/flush", &[], None).unwrap();
    server.signal("-TERM");
    assert_eq!(server.until_ended(), Some(0));
    fs::remove_file(folder.path().join("tempo.yaml")).unwrap(); // the harness put it there
    assert_eq!(listing(folder.path()), before, "a reader wrote (/flush answered {})", refused.status);
    server.check_log();
    // And it starts beside a writer.
    let writer = Server::start(folder.path(), "");
    let beside = Server::start(folder.path(), more);
    has(&beside, 0..10);
    has(&writer, 0..20);
    beside.stop();
    writer.stop();
}

#[test]
fn a_reader_makes_no_file_in_a_folder_of_blocks() {
    let folder = tempfile::tempdir().unwrap();
    trackway_golden::copy_blocks("v4", &folder.path().join("blocks")).unwrap();
    let before = listing(&folder.path().join("blocks"));
    let server = Server::start(folder.path(), "trackway: {read_only: true}");
    assert_eq!(server.json("/api/v2/search/tags")["scopes"].as_array().map(Vec::is_empty), Some(false));
    let names = |folder: &Path| listing(folder).into_iter().map(|(name, ..)| name).collect::<Vec<_>>();
    server.stop();
    assert_eq!(listing(&folder.path().join("blocks")), before);
    let others: Vec<_> = names(folder.path()).into_iter().filter(|name| !name.contains("/blocks")).collect();
    assert_eq!(others, [folder.path().join("tempo.yaml").display().to_string()]);
}
