//! What is bounded stays bounded, and a bound that is reached does not stop what could go on.

mod support;

use std::io;

use support::Server;
use trackway_golden::http;
use trackway_loadgen::Workload;

fn push_as(server: &Server, tenant: &str, body: &[u8]) -> io::Result<u16> {
    let headers = [
        ("content-type".to_owned(), "application/x-protobuf".to_owned()),
        ("x-scope-orgid".to_owned(), tenant.to_owned()),
    ];
    Ok(http::request(&server.otlp_http, "POST", "/v1/traces", &headers, Some(body))?.status)
}

/// A tenant that sends once and falls silent keeps its record in the log until its block is due. Others, who fill the log
/// many times over meanwhile, must not be told to come back.
#[test]
fn a_quiet_tenant_does_not_fill_the_log_for_the_others() -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    let more = "multitenancy_enabled: true\ntrackway: {wal: {max_bytes: 16MiB}, block: {max_spans: 3000}}";
    let server = Server::start(folder.path(), more);
    let workload = |seed, traces| Workload {
        seed,
        traces,
        start_ns: 1_700_000_000_000_000_000,
        span_of_time_ns: 60_000_000_000,
    };
    for request in workload(1, 5).requests() {
        assert_eq!(push_as(&server, "quiet", &request.bytes)?, 200);
    }
    let mut bytes = 0;
    for request in workload(2, 4_000).requests() {
        assert_eq!(push_as(&server, "busy", &request.bytes)?, 200, "after {bytes} bytes");
        bytes += request.bytes.len();
    }
    assert!(bytes > 24 << 20, "only {bytes} bytes were sent");
    server.stop();
    Ok(())
}
