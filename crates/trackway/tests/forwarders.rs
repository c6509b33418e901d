//! Copies of spans for other servers: to a second Trackway over TLS, and to a server of our own that can be away, slow or
//! full. Senders never notice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)] // a test measures real time

mod support;

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use support::requests::{own_spans, own_trace, put_text, request, span};
use support::{Ports, Server, config, run};
use tokio::sync::Semaphore;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};
use trackway_golden::http;
use trackway_peers::Authority;
use trackway_proto::collector::trace_service_server::{TraceService, TraceServiceServer};
use trackway_proto::collector::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use trackway_spans::wire::{put_bytes, put_message};

/// Takes what is forwarded, when it may.
#[derive(Clone)]
struct Sink {
    /// Tenant and request.
    got: Arc<Mutex<Vec<(String, ExportTraceServiceRequest)>>>,
    /// Requests that have arrived, answered or not.
    arrived: Arc<Mutex<usize>>,
    /// Requests that may be answered.
    permits: Arc<Semaphore>,
    address: SocketAddr,
}

#[tonic::async_trait]
impl TraceService for Sink {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        *self.arrived.lock().unwrap() += 1;
        self.permits.acquire().await.unwrap().forget();
        let tenant = request.metadata().get("x-scope-orgid").map(|name| name.to_str().unwrap().to_owned());
        self.got.lock().unwrap().push((tenant.unwrap_or_default(), request.into_inner()));
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Sink {
    /// One that answers so many requests; it listens when `serve` is called.
    fn new(permits: usize) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap();
        Self {
            got: Arc::default(),
            arrived: Arc::default(),
            permits: Arc::new(Semaphore::new(permits)),
            address: port.local_addr().unwrap(),
        }
    }

    fn serve(&self) {
        let incoming = TcpIncoming::bind(self.address).unwrap();
        let server = tonic::transport::Server::builder().add_service(TraceServiceServer::new(self.clone()));
        tokio::spawn(server.serve_with_incoming(incoming));
    }

    fn count(&self) -> usize {
        self.got.lock().unwrap().len()
    }

    /// Names of all spans, with those of their events.
    fn names(&self) -> Vec<String> {
        let got = self.got.lock().unwrap();
        let resources = got.iter().flat_map(|(_, request)| &request.resource_spans);
        let spans = resources.flat_map(|resource| &resource.scope_spans).flat_map(|scope| &scope.spans);
        let mut names: Vec<String> = spans
            .map(|span| {
                let events = span.events.iter().map(|event| format!(" {}", event.name));
                format!("{}{}", span.name, events.collect::<String>())
            })
            .collect();
        names.sort();
        names
    }
}

/// Starts a server with these forwarders; `more` is YAML at the top level.
fn start(folder: &Path, forwarders: &str, more: &str) -> Server {
    let ports = Ports::free();
    let text = config(folder, ports, more);
    let text = text.replace("distributor: {", &format!("distributor: {{forwarders: [{forwarders}], "));
    let file = folder.join("tempo.yaml");
    std::fs::write(&file, text).unwrap();
    let mut server = Server::spawn_file(folder, &file, ports);
    server.until_ready();
    server
}

fn forwarder(name: &str, address: impl std::fmt::Display, more: &str) -> String {
    format!(
        "{{name: {name}, backend: otlpgrpc, otlpgrpc: {{endpoints: ['{address}'], tls: {{insecure: true}}}}{more}}}"
    )
}

/// For all tenants.
fn for_all(names: &str, more: &str) -> String {
    format!("overrides: {{defaults: {{forwarders: [{names}]{more}}}}}")
}

/// A counter or gauge, 0 when it is not there.
fn metric(server: &Server, series: &str) -> u64 {
    let text = String::from_utf8(server.get("/metrics").body).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(series));
    line.map_or(0, |value| value.trim().parse().unwrap())
}

fn push(server: &Server, body: &[u8]) {
    let answer = server.push("application/x-protobuf", body);
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
}

#[test]
fn another_trackway_gets_what_was_accepted() {
    let (folder, other_folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let authority = Authority::new(folder.path());
    let (cert, key) = authority.issue("127.0.0.1");
    let ports = Ports::free();
    let endpoint = format!("{{endpoint: '127.0.0.1:{}'", ports.otlp_grpc);
    let tls = format!("{endpoint}, tls: {{cert_file: '{cert}', key_file: '{key}'}}");
    let file = other_folder.path().join("tempo.yaml");
    std::fs::write(&file, config(other_folder.path(), ports, "").replace(&endpoint, &tls)).unwrap();
    let mut other = Server::spawn_file(other_folder.path(), &file, ports);
    other.until_ready();
    let there = format!(
        "{{name: other, backend: otlpgrpc, otlpgrpc: {{endpoints: ['{}'], tls: {{cert_file: '{}'}}}}}}",
        other.otlp_grpc,
        authority.certificate()
    );
    let mut server = start(folder.path(), &there, &for_all("other", ""));
    let bodies: Vec<Vec<u8>> = (0..20).map(request).collect();
    bodies.iter().for_each(|body| push(&server, body));
    // One of three spans is refused; it is not forwarded either.
    let (trace, mixed) = support::requests::one_bad();
    push(&server, &mixed);
    for number in 0..20 {
        other.wait("the copy", |other| other.trace(own_trace(number)) == Some(own_spans(number)));
    }
    other.wait("the copy of what was kept", |other| other.trace(trace) == Some(vec![1, 3]));
    let sent = "trackway_forwarder_sent_total{name=\"other\",tenant=\"single-tenant\"}";
    server.wait("all to be counted", |server| metric(server, sent) == 21);
    for (name, value) in [
        ("tempo_distributor_queue_pushes_total{name=\"other\",tenant=\"single-tenant\"}", 21),
        ("tempo_distributor_queue_pushes_failures_total{name=\"other\",tenant=\"single-tenant\"}", 0),
        ("tempo_distributor_queue_length{name=\"other\",tenant=\"single-tenant\"}", 0),
        ("tempo_distributor_forwarder_pushes_total{tenant=\"single-tenant\"}", 21),
        ("tempo_distributor_forwarder_pushes_failures_total{tenant=\"single-tenant\"}", 0),
        ("trackway_forwarder_rejected_spans_total{name=\"other\",tenant=\"single-tenant\"}", 0),
    ] {
        assert_eq!(metric(&server, name), value, "{name}");
    }
    // What is repeated is forwarded once.
    push(&server, &bodies[3]);
    push(&server, &request(99));
    server.wait("the next one", |server| metric(server, sent) == 22);
    server.stop();
    other.stop();
}

/// A request with one span of each name, by one service; each has the events of its name.
fn named(trace: u128, names: &[(&str, &[&str])]) -> Vec<u8> {
    let mut out = Vec::new();
    put_message(&mut out, 1, |resource_spans| {
        put_message(resource_spans, 1, |resource| put_text(resource, 1, "service.name", "shop"));
        put_message(resource_spans, 2, |scope_spans| {
            put_message(scope_spans, 1, |scope| put_bytes(scope, 1, b"lib"));
            for (number, (name, events)) in names.iter().enumerate() {
                let id = (number as u64 + 1).to_be_bytes();
                let mut body = span(trace, &id, &[], name, &[("http.route", format!("/{name}"))]);
                for event in *events {
                    put_message(&mut body, 11, |out| put_bytes(out, 2, event.as_bytes()));
                }
                put_bytes(scope_spans, 2, &body);
            }
        });
    });
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_drops_spans_and_events_for_its_forwarder_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (all, some) = (Sink::new(100), Sink::new(100));
    all.serve();
    some.serve();
    let filter = ", filter: {traces: {span: ['IsMatch(attributes[\"http.route\"], \"^/health\")', \
                  'resource.attributes[\"service.name\"] == \"shop\" and name == \"noise\"'], \
                  spanevent: ['name == \"debug\"']}}";
    let forwarders =
        format!("{}, {}", forwarder("all", all.address, ""), forwarder("some", some.address, filter));
    let mut server = start(folder.path(), &forwarders, &for_all("all, some", ""));
    let first = named(1, &[("health", &[]), ("pay", &["debug", "paid"]), ("noise", &[]), ("ship", &[])]);
    push(&server, &first);
    push(&server, &named(2, &[("health", &[]), ("noise", &[])]));
    let empty = "trackway_forwarder_empty_total{name=\"some\",tenant=\"single-tenant\"}";
    server.wait("both", |server| all.count() == 2 && metric(server, empty) == 1 && some.count() == 1);
    assert_eq!(all.names(), ["health", "health", "noise", "noise", "pay debug paid", "ship"]);
    assert_eq!(some.names(), ["pay paid", "ship"]);
    let got = some.got.lock().unwrap();
    let resource = &got[0].1.resource_spans[0];
    assert_eq!(resource.resource.as_ref().unwrap().attributes[0].key, "service.name");
    assert_eq!(resource.scope_spans[0].scope.as_ref().unwrap().name, "lib");
    drop(got);
    assert_eq!(server.trace(1).unwrap().len(), 4, "all of it is kept here");
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_away_gets_everything_when_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::new(100);
    let mut server = start(folder.path(), &forwarder("away", sink.address, ""), &for_all("away", ""));
    let started = Instant::now();
    for number in 0..10 {
        push(&server, &request(number));
    }
    assert!(started.elapsed() < Duration::from_secs(5), "senders do not wait");
    let failed = "trackway_forwarder_attempts_failed_total{name=\"away\",tenant=\"single-tenant\"}";
    server.wait("some attempts", |server| metric(server, failed) >= 2);
    assert_eq!(sink.count(), 0);
    sink.serve();
    server.wait("all of it", |_| sink.count() == 10);
    let length = "tempo_distributor_queue_length{name=\"away\",tenant=\"single-tenant\"}";
    server.wait("the queue to be empty", |server| metric(server, length) == 0);
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_drops_and_counts_and_the_shutdown_drains() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::new(0);
    sink.serve();
    let limits = for_all("slow", ", metrics_generator: {forwarder: {queue_size: 2, workers: 1}}");
    let mut server = start(folder.path(), &forwarder("slow", sink.address, ""), &limits);
    server.expect_warning("forwarder slow: the queue is full");
    push(&server, &request(0));
    // The one worker has it: the queue is empty again.
    server.wait("the first", |_| *sink.arrived.lock().unwrap() == 1);
    let started = Instant::now();
    for number in 1..10 {
        push(&server, &request(number));
    }
    assert!(started.elapsed() < Duration::from_secs(5), "senders do not wait");
    for (name, value) in [
        ("tempo_distributor_queue_pushes_total{name=\"slow\",tenant=\"single-tenant\"}", 10),
        ("tempo_distributor_queue_pushes_failures_total{name=\"slow\",tenant=\"single-tenant\"}", 7),
        ("tempo_distributor_forwarder_pushes_failures_total{tenant=\"single-tenant\"}", 7),
        ("tempo_distributor_queue_length{name=\"slow\",tenant=\"single-tenant\"}", 3),
    ] {
        assert_eq!(metric(&server, name), value, "{name}");
    }
    let warned = server.lines().iter().filter(|line| line.contains("the queue is full")).count();
    assert_eq!(warned, 1, "said once a minute");
    for number in 0..10 {
        assert_eq!(server.trace(own_trace(number)), Some(own_spans(number)), "all are kept here");
    }
    server.signal("-TERM");
    server.wait("the shutdown", |server| server.lines().iter().any(|line| line.contains("stopping")));
    sink.permits.add_permits(10);
    assert_eq!(server.until_ended(), Some(0));
    assert_eq!(sink.count(), 3);
    server.check_log();
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_have_forwarders_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (Sink::new(100), Sink::new(100));
    one.serve();
    two.serve();
    let file = folder.path().join("tenants.yaml");
    // A tenant's entry replaces the defaults as a whole.
    let entry = |tenant: &str, names: &str| {
        let limits = "ingestion: {rate_limit_bytes: 100000000, burst_size_bytes: 100000000}";
        format!("  {tenant}: {{forwarders: [{names}], {limits}}}\n")
    };
    let say = |entries: &[String]| {
        let next = file.with_extension("next");
        std::fs::write(&next, format!("overrides:\n{}", entries.concat())).unwrap();
        std::fs::rename(next, &file).unwrap();
    };
    say(&[entry("a", "one, two"), entry("b", "two, three")]);
    let overrides = format!(
        "multitenancy_enabled: true\noverrides: {{per_tenant_override_config: '{}', per_tenant_override_period: 100ms}}",
        file.display()
    );
    let forwarders = format!("{}, {}", forwarder("one", one.address, ""), forwarder("two", two.address, ""));
    let mut server = start(folder.path(), &forwarders, &overrides);
    server.expect_warning("overrides name the forwarder three, which distributor.forwarders does not have");
    let otlp = server.otlp_http.clone();
    let send = |tenant: &str, number: u64| {
        let headers = [
            ("content-type".to_owned(), "application/x-protobuf".to_owned()),
            ("x-scope-orgid".to_owned(), tenant.to_owned()),
        ];
        let body = request(number);
        let sent = http::request(&otlp, "POST", "/v1/traces", &headers, Some(&body)).unwrap();
        assert_eq!(sent.status, 200);
    };
    send("a", 1);
    send("b", 2);
    send("c", 3);
    let tenants = |sink: &Sink| {
        let mut names: Vec<String> =
            sink.got.lock().unwrap().iter().map(|(tenant, _)| tenant.clone()).collect();
        names.sort();
        names
    };
    server.wait("the copies", |_| tenants(&two).len() == 2 && !tenants(&one).is_empty());
    assert_eq!((tenants(&one), tenants(&two)), (vec!["a".to_owned()], vec!["a".to_owned(), "b".to_owned()]));
    // The file changes, and with it what is forwarded.
    say(&[entry("c", "one")]);
    let mut number = 10;
    server.wait("the new file to count", |_| {
        send("c", number);
        number += 1;
        tenants(&one).contains(&"c".to_owned())
    });
    send("a", 4);
    send("c", 5);
    let sent = "trackway_forwarder_sent_total{name=\"one\",tenant=\"c\"}";
    let queued = "tempo_distributor_queue_pushes_total{name=\"one\",tenant=\"c\"}";
    server.wait("the last", |server| {
        metric(server, sent) >= 2 && metric(server, sent) == metric(server, queued)
    });
    assert_eq!(tenants(&one).iter().filter(|tenant| *tenant == "a").count(), 1);
    let unknown = "tempo_distributor_queue_pushes_failures_total{name=\"three\",tenant=\"b\"}";
    assert_eq!(metric(&server, unknown), 1);
    server.stop();
}

#[test]
fn forwarders_that_cannot_be_are_said_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let good = forwarder("a", "127.0.0.1:1", "");
    let filtered = |condition: &str| {
        forwarder("a", "127.0.0.1:1", &format!(", filter: {{traces: {{span: ['{condition}']}}}}"))
    };
    for (forwarders, more, want) in [
        ("{backend: otlpgrpc}".to_owned(), "", "distributor.forwarders[0].name is empty"),
        (
            format!("{good}, {good}"),
            "",
            "distributor.forwarders[1].name is \"a\", as distributor.forwarders[0].name is",
        ),
        (
            "{name: a, backend: kafka}".to_owned(),
            "",
            "distributor.forwarders[0].backend is \"kafka\"; use otlpgrpc",
        ),
        (
            "{name: a, backend: otlpgrpc}".to_owned(),
            "",
            "distributor.forwarders[0].otlpgrpc.endpoints is empty",
        ),
        (
            "{name: a, backend: otlpgrpc, otlpgrpc: {endpoints: ['h:1']}}".to_owned(),
            "",
            "distributor.forwarders[0].otlpgrpc.tls.cert_file is empty; name the authority of the endpoints, or set insecure: true",
        ),
        (
            forwarder("a", "http://h:1/x", ""),
            "",
            "forwarder a: otlpgrpc.endpoints has \"http://h:1/x\"; write host:port",
        ),
        (
            filtered("SHA1(name) == \"a\""),
            "",
            "forwarder a: filter.traces.span[0]: the function SHA1 is not here; there are IsMatch",
        ),
        (filtered("nam == \"a\""), "", "filter.traces.span[0]: nam is not known; there are trace_id"),
        (
            good.clone(),
            "overrides: {defaults: {forwarders: [b]}}",
            "overrides.defaults.forwarders has b; distributor.forwarders has a",
        ),
    ] {
        let file = folder.path().join("wrong.yaml");
        let data = folder.path().display();
        let storage = format!(
            "storage: {{trace: {{backend: local, local: {{path: {data}/b}}, wal: {{path: {data}/w}}}}}}"
        );
        std::fs::write(&file, format!("distributor: {{forwarders: [{forwarders}]}}\n{storage}\n{more}\n"))
            .unwrap();
        let (code, said) = run(&[&format!("-config.file={}", file.display())]);
        assert!(code == Some(1) && said.contains(want), "{forwarders}\n{said}\nwant: {want}");
    }
}
