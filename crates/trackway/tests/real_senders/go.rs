//! Programs in Go: `telemetrygen`, the OpenTelemetry Collector, and both clients of Jaeger.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use trackway_peers::{Peer, free_port};

use super::support::spans::{found, of_trace};
use super::support::{Server, receivers};
use super::{MULTITENANT, NO_DATAGRAMS, TENANT, assert_found, program, programs, run};

/// Runs `telemetrygen`: so many traces of three spans each, which have failed.
fn generate(folder: &Path, endpoint: &str, service: &str, traces: usize, more: &[&str]) {
    let mut command = program(folder.join("telemetrygen"));
    command.args(["traces", "--otlp-insecure", "--otlp-endpoint", endpoint, "--service", service]);
    command.args(["--traces", &traces.to_string(), "--child-spans", "2", "--span-links", "1", "--rate", "0"]);
    command.args(["--status-code", "Error", "--telemetry-attributes", "order=7"]).args(more);
    run(&mut command);
}

/// The traces of a service, each of which must be whole.
fn whole(server: &Server, tenant: &str, service: &str) -> BTreeSet<String> {
    let traces = found(server, Some(tenant), &format!("{{ resource.service.name = \"{service}\" }}"));
    for trace in &traces {
        let spans = of_trace(server, Some(tenant), trace);
        let outer = spans.iter().find(|span| span.parent.is_empty()).unwrap_or_else(|| panic!("{spans:?}"));
        assert_eq!((&*outer.name, &*outer.kind, spans.len()), ("lets-go", "CLIENT", 3), "{spans:?}");
        for span in &spans {
            assert_eq!((&*span.status, &span.attributes["order"]), ("ERROR", &7.into()), "{span:?}");
        }
        for (at, inner) in spans.iter().filter(|span| span.id != outer.id).enumerate() {
            assert_eq!((&*inner.name, &*inner.kind), (&*format!("okey-dokey-{at}"), "SERVER"), "{spans:?}");
            assert_eq!((&inner.parent, inner.links.len()), (&outer.id, 1), "{spans:?}");
        }
    }
    traces
}

#[test]
fn telemetrygen() {
    let Some(folder) = programs("go::telemetrygen", "go") else { return };
    let data = tempfile::tempdir().unwrap();
    let (mut server, _) = receivers::start(data.path(), MULTITENANT);
    server.expect_warning(NO_DATAGRAMS);
    let header = format!("X-Scope-OrgID=\"{TENANT}\"");
    let http: &[&str] = &["--otlp-header", &header, "--otlp-http"];
    for (service, endpoint, more) in
        [("gen-grpc", &server.otlp_grpc, &http[..2]), ("gen-http", &server.otlp_http, http)]
    {
        generate(&folder, endpoint, service, 50, more);
        let traces = whole(&server, TENANT, service);
        assert_eq!(traces.len(), 50);
        let query = format!(
            "{{ resource.service.name = \"{service}\" && kind = client }} > {{ kind = server && span.order = 7 }}"
        );
        assert_found(&server, Some(TENANT), &traces, &[&query]);
    }
    server.stop();
}

/// What the collector is told: three ways to the server, each for a tenant of its own, which is tried again until it is taken.
fn collector_config(server: &Server, port: u16) -> String {
    let exporter = |name: &str, endpoint: &str, tenant: &str, more: &str| {
        format!(
            "  {name}:\n    endpoint: {endpoint}\n    tls: {{insecure: true}}\n    headers: {{X-Scope-OrgID: {tenant}}}\n    \
             {more}\n    sending_queue: {{enabled: true, queue_size: 10000}}\n    \
             retry_on_failure: {{enabled: true, initial_interval: 50ms, max_interval: 200ms, max_elapsed_time: 0s}}\n"
        )
    };
    let http = format!("http://{}", server.otlp_http);
    format!(
        "receivers:\n  otlp: {{protocols: {{grpc: {{endpoint: '127.0.0.1:{port}'}}}}}}\nexporters:\n{}{}{}\
         service:\n  telemetry: {{metrics: {{level: none}}}}\n  pipelines:\n    traces: {{receivers: [otlp], exporters: \
         [otlp_grpc, otlp_http/protobuf, otlp_http/json]}}\n",
        exporter("otlp_grpc", &server.otlp_grpc, "by-grpc", "compression: gzip"),
        exporter("otlp_http/protobuf", &http, "by-protobuf", "compression: zstd"),
        exporter("otlp_http/json", &http, "by-json", "encoding: json"),
    )
}

#[test]
fn the_collector_delivers_everything_through_a_low_limit() {
    const TRACES: usize = 100;
    const LIMITS: &str = "overrides: {defaults: {ingestion: {rate_limit_bytes: 20000, burst_size_bytes: 12000}}}\n\
                          multitenancy_enabled: true";
    let Some(folder) = programs("go::the_collector_delivers_everything_through_a_low_limit", "go") else {
        return;
    };
    let data = tempfile::tempdir().unwrap();
    let soon = "retry_after_on_resource_exhausted: 200ms, ";
    let (mut server, _) = receivers::start_with(data.path(), soon, LIMITS);
    server.expect_warning(NO_DATAGRAMS);
    let port = free_port();
    let file = data.path().join("collector.yaml");
    fs::write(&file, collector_config(&server, port)).unwrap();
    let mut collector = Peer::start(|_| {
        let mut command = Command::new(folder.join("collector"));
        command.arg(format!("--config=file:{}", file.display()));
        command
    })
    .unwrap();
    let address = format!("127.0.0.1:{port}");
    collector.until_listening(&address).unwrap();
    generate(&folder, &address, "behind", TRACES, &["--batch-size", "10"]);
    for tenant in ["by-grpc", "by-protobuf", "by-json"] {
        let query = "{ name = \"lets-go\" } > { name = \"okey-dokey-0\" }";
        server.wait(tenant, |server| found(server, Some(tenant), query).len() == TRACES);
        server.wait(tenant, |server| {
            found(server, Some(tenant), "{ name = \"okey-dokey-1\" }").len() == TRACES
        });
        assert_eq!(whole(&server, tenant, "behind").len(), TRACES);
        let metrics = String::from_utf8(server.get("/metrics").body).unwrap();
        let refused = format!("tempo_discarded_spans_total{{reason=\"rate_limited\",tenant=\"{tenant}\"}}");
        assert!(metrics.contains(&refused), "nothing of {tenant} was refused:\n{metrics}");
    }
    server.stop();
}

#[test]
fn jaegers_clients() {
    let Some(folder) = programs("go::jaegers_clients", "go") else { return };
    for way in ["udp", "http"] {
        // A datagram cannot name a tenant.
        let tenant = (way == "http").then_some(TENANT);
        let data = tempfile::tempdir().unwrap();
        let (mut server, receivers) = receivers::start(data.path(), tenant.map_or("", |_| MULTITENANT));
        server.expect_warning(NO_DATAGRAMS);
        let endpoint = match way {
            "udp" => format!("127.0.0.1:{}", receivers.compact),
            _ => format!("http://127.0.0.1:{}/api/traces?format=jaeger.thrift", receivers.jaeger_http),
        };
        let mut traces = BTreeSet::new();
        for client in ["client", "exporter"] {
            let mut command = program(folder.join("jaeger"));
            let trace = run(command.args([client, way, &endpoint]).args(tenant));
            server.wait("two spans", |server| of_trace(server, tenant, &trace).len() == 2);
            let spans = of_trace(&server, tenant, &trace);
            let (outer, inner) = (&spans[0], &spans[1]);
            assert_eq!((outer.service(), &*outer.name, &*outer.kind), ("go-shop", "outer", "SERVER"));
            assert_eq!((&outer.attributes["key"], &outer.attributes["count"]), (&"value".into(), &3.into()));
            assert_eq!(
                (&*inner.name, &*inner.kind, &*inner.status),
                ("inner", "CLIENT", "ERROR"),
                "{inner:?}"
            );
            assert_eq!((&*outer.parent, &*outer.status, &inner.parent), ("", "", &outer.id));
            assert_eq!(inner.message, if client == "exporter" { "no stock" } else { "" });
            traces.insert(trace);
        }
        let query =
            "{ resource.service.name = \"go-shop\" && span.count = 3 && kind = server } > { status = error }";
        assert_found(&server, tenant, &traces, &[query]);
        server.stop();
    }
}
