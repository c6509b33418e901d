//! The server on a bucket: what was acknowledged is found again by a server that has nothing but the bucket, and a bucket
//! that cannot be used stops the start with one line.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs;
use std::path::Path;

use support::requests::{own_spans, own_trace, request};
use support::{Ports, Server, config};
use trackway_peers::{ACCESS_KEY, Minio, S3Server, SECRET_KEY, skipped};

const REQUESTS: std::ops::Range<u64> = 0..20;

/// The mission's settings of MinIO, with this endpoint; `more` goes into `s3:`.
fn storage(folder: &Path, endpoint: &str, more: &str) -> String {
    format!(
        "storage:\n  trace:\n    backend: s3\n    wal: {{path: {}/wal}}\n    s3:\n      bucket: tempo-traces\n      \
         endpoint: {endpoint}\n      access_key: {ACCESS_KEY}\n      secret_key: {SECRET_KEY}\n      insecure: true\n{more}",
        folder.display()
    )
}

fn spawn(folder: &Path, storage: &str, more: &str) -> Server {
    let ports = Ports::free();
    let base = config(folder, ports, more);
    let base: Vec<&str> = base.lines().filter(|line| !line.starts_with("storage:")).collect();
    let file = folder.join("tempo.yaml");
    fs::write(&file, format!("{}\n{storage}\n", base.join("\n"))).unwrap();
    Server::spawn_file(folder, &file, ports)
}

fn start(folder: &Path, endpoint: &str, more: &str) -> Server {
    let mut server = spawn(folder, &storage(folder, endpoint, ""), more);
    server.until_ready();
    server
}

fn has_all(server: &Server) {
    for number in REQUESTS {
        assert_eq!(server.trace(own_trace(number)), Some(own_spans(number)), "request {number}");
    }
    let all = server.all_traces();
    for number in REQUESTS {
        assert_eq!(all.get(&own_trace(number)), Some(&own_spans(number)), "request {number}");
    }
}

/// Push, flush, search; then another server with an empty folder, and a reader.
fn a_bucket_is_all_that_is_needed(endpoint: &str) {
    let first = tempfile::tempdir().unwrap();
    let server = start(first.path(), endpoint, "");
    for number in REQUESTS {
        assert_eq!(server.push("application/x-protobuf", &request(number)).status, 200);
    }
    has_all(&server);
    server.flush();
    has_all(&server);
    let named = format!("s3://tempo-traces at http://{endpoint}");
    assert!(server.lines().iter().any(|line| line.contains("ready in") && line.contains(&named)));
    assert!(!first.path().join("blocks").exists(), "blocks lie in the folder too");
    let metrics = String::from_utf8(server.get("/metrics").body).unwrap();
    assert!(metrics.contains("\ntempodb_backend_hedged_roundtrips_total 0\n"), "{metrics}");
    server.stop();

    let second = tempfile::tempdir().unwrap();
    let server = start(second.path(), endpoint, "");
    has_all(&server);
    server.stop();

    let third = tempfile::tempdir().unwrap();
    let server = start(third.path(), endpoint, "trackway: {read_only: true}");
    has_all(&server);
    server.stop();
}

#[test]
fn on_s3_in_this_process() {
    let s3 = S3Server::start(&["tempo-traces"]);
    a_bucket_is_all_that_is_needed(&s3.endpoint);
    // Tempo takes each folder at the top for a tenant.
    let top = fs::read_dir(s3.bucket("tempo-traces")).unwrap().map(|entry| entry.unwrap());
    let top: Vec<_> = top.filter(|entry| entry.path().is_dir()).map(|entry| entry.file_name()).collect();
    assert_eq!(top, ["single-tenant"]);
}

#[test]
fn on_minio() {
    match Minio::start(&["tempo-traces"]) {
        Ok(minio) => a_bucket_is_all_that_is_needed(&minio.endpoint),
        Err(why) => skipped("a server on MinIO", &why),
    }
}

#[test]
fn a_bucket_that_cannot_be_used_is_an_error_of_one_line() {
    let s3 = S3Server::start(&["tempo-traces"]);
    let folder = tempfile::tempdir().unwrap();
    let right = storage(folder.path(), &s3.endpoint, "      retry_max_attempts: 1\n");
    for (wrong, text) in [
        (
            right.replace("bucket: tempo-traces", "bucket: tempo-trace"),
            "cannot list s3://tempo-trace at http://",
        ),
        (
            right.replace("bucket: tempo-traces", "bucket: tempo-trace"),
            "there is no such bucket; create it, or correct storage.trace.s3.bucket",
        ),
        (
            right.replace(&format!("secret_key: {SECRET_KEY}"), "secret_key: wrong"),
            "the signature is wrong; correct storage.trace.s3.secret_key",
        ),
        (
            right.replace(&format!("access_key: {ACCESS_KEY}"), "access_key: nobody"),
            "the server does not know the access key \"nobody\"; correct storage.trace.s3.access_key",
        ),
        (
            right.replace(&format!("endpoint: {}", s3.endpoint), "endpoint: http://minio:9000"),
            "storage.trace.s3.endpoint: is \"http://minio:9000\"; write host and port",
        ),
        (
            right.replace("insecure: true", "insecure: true\n      signature_v2: true"),
            "storage.trace.s3.signature_v2 is true; this version signs the new way only",
        ),
    ] {
        let mut server = spawn(folder.path(), &wrong, "");
        assert_eq!(server.until_ended(), Some(1));
        server.wait("what is wrong", |server| server.lines().iter().any(|line| line.contains(text)));
        let said: Vec<String> =
            server.lines().into_iter().filter(|line| line.contains("storage.trace")).collect();
        assert_eq!(said.len(), 1, "{said:?}");
    }
}

#[test]
fn a_store_that_ignores_conditions_is_a_warning() {
    let s3 = S3Server::start(&["tempo-traces"]);
    s3.ignore_conditions();
    let folder = tempfile::tempdir().unwrap();
    let mut server = start(folder.path(), &s3.endpoint, "");
    server.expect_warning("one process can work with it, several cannot");
    assert!(
        server.lines().iter().any(|line| line.contains("WARN") && line.contains("MinIO before May 2024"))
    );
    server.stop();
}
