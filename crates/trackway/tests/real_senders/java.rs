//! Spring Boot, traced by OpenTelemetry's Java agent to OTLP, and by Micrometer and Brave to Zipkin.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use trackway_golden::http;
use trackway_peers::Peer;

use super::support::spans::{Span, found, of_trace};
use super::support::{Server, receivers};
use super::{MULTITENANT, NO_DATAGRAMS, TENANT, assert_found, programs};

/// The span that whoever asks the shop says that it is in.
const CALLER: &str = "00f067aa0ba902b7";

/// Starts the shop with the jars of a profile; where it listens.
fn shop(
    folder: &Path,
    profile: &str,
    jvm: &[&str],
    environment: &[(&str, &str)],
    more: &[String],
) -> (Peer, String) {
    let jars = format!("{}:{}/*", folder.join("classes").display(), folder.join(profile).display());
    let mut peer = Peer::start(|_| {
        let mut command = Command::new("java");
        // It is to start fast, not to run fast.
        command
            .args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-Xshare:auto"])
            .args(jvm)
            .args(["-cp", &jars, "Shop"]);
        command
            .args(["--server.port=0", "--server.address=127.0.0.1", "--spring.main.banner-mode=off"])
            .args(more);
        command.envs(environment.iter().copied());
        command
    })
    .unwrap();
    let port = peer.until_line("READY ").unwrap();
    (peer, format!("127.0.0.1:{port}"))
}

/// Asks the shop, which must answer with this status.
fn ask(address: &str, path: &str, headers: &[(&str, &str)], status: u16) {
    let headers: Vec<(String, String)> =
        headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let answer = http::request(address, "GET", path, &headers, None).unwrap();
    assert_eq!(answer.status, status, "{path}: {}", String::from_utf8_lossy(&answer.body));
}

/// Waits for the three spans of an order.
fn order(server: &mut Server, tenant: Option<&str>, trace: &str) -> [Span; 3] {
    server.wait("three spans", |server| of_trace(server, tenant, trace).len() >= 3);
    of_trace(server, tenant, trace).try_into().unwrap()
}

#[test]
fn spring_boot_with_the_opentelemetry_agent() {
    let Some(folder) = programs("java::spring_boot_with_the_opentelemetry_agent", "java") else { return };
    let jar = std::fs::read_dir(folder.join("agent")).unwrap().flatten().map(|entry| entry.path());
    let jar =
        jar.into_iter().find(|path| path.to_string_lossy().contains("opentelemetry-javaagent")).unwrap();
    let agent = format!("-javaagent:{}", jar.display());
    let data = tempfile::tempdir().unwrap();
    let (mut server, _) = receivers::start(data.path(), MULTITENANT);
    server.expect_warning(NO_DATAGRAMS);
    for (protocol, compression, trace) in [
        ("grpc", "gzip", "4bf92f3577b34da6a3ce929d0e0e4736"),
        ("http/protobuf", "none", "5bf92f3577b34da6a3ce929d0e0e4736"),
    ] {
        let endpoint = if protocol == "grpc" { &server.otlp_grpc } else { &server.otlp_http };
        let service = format!("java-{}", &protocol[..4]);
        let (_shop, address) = shop(
            &folder,
            "agent",
            &[&agent],
            &[
                ("OTEL_SERVICE_NAME", &service),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
                ("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{endpoint}")),
                ("OTEL_EXPORTER_OTLP_COMPRESSION", compression),
                ("OTEL_EXPORTER_OTLP_HEADERS", &format!("X-Scope-OrgID={TENANT}")),
                ("OTEL_METRICS_EXPORTER", "none"),
                ("OTEL_LOGS_EXPORTER", "none"),
                ("OTEL_BSP_SCHEDULE_DELAY", "100"),
            ],
            &[],
        );
        let parent = format!("00-{trace}-{CALLER}-01");
        ask(&address, "/orders/7", &[("traceparent", &parent)], 200);
        let [outer, client, inner] = order(&mut server, Some(TENANT), trace);
        for span in [&outer, &client, &inner] {
            assert_eq!(span.service(), service);
            assert_eq!(span.resource["telemetry.sdk.language"], "java");
            assert_eq!(span.attributes["http.response.status_code"], 200, "{span:?}");
        }
        let outline = |span: &Span| (span.name.clone(), span.kind.clone(), span.parent.clone());
        let line =
            |name: &str, kind: &str, parent: &str| (name.to_owned(), kind.to_owned(), parent.to_owned());
        assert_eq!(outline(&outer), line("GET /orders/{order}", "SERVER", CALLER));
        assert_eq!(outline(&client), line("GET", "CLIENT", &outer.id));
        assert_eq!(outline(&inner), line("GET /stock/{order}", "SERVER", &client.id));

        // A trace whose first span is the shop's own: only such a one has a tree to search.
        ask(&address, "/orders/8", &[], 200);
        ask(&address, "/broken", &[], 500);
        let own = format!("resource.service.name = \"{service}\"");
        let calls = format!("{{ {own} && kind = server }} > {{ kind = client }} > {{ kind = server }}");
        let broken = format!("{{ {own} && span.http.route = \"/broken\" && status = error }}");
        server.wait("the calls", |server| found(server, Some(TENANT), &calls).len() == 1);
        server.wait("the error", |server| found(server, Some(TENANT), &broken).len() == 1);
        let mut orders = found(&server, Some(TENANT), &calls);
        orders.insert(trace.to_owned());
        server.flush();
        let all = format!("{{ {own} && span.http.route = \"/orders/{{order}}\" }}");
        assert_found(&server, Some(TENANT), &orders, &[&all]);
        let thrown = "{ event.exception.type = \"java.lang.IllegalStateException\" }";
        assert!(found(&server, Some(TENANT), thrown).is_superset(&found(&server, Some(TENANT), &broken)));
    }
    server.stop();
}

#[test]
fn spring_boot_with_micrometer_to_zipkin() {
    const TRACE: &str = "463ac35c9f6413ad48485a3953bb6124";
    let Some(folder) = programs("java::spring_boot_with_micrometer_to_zipkin", "java") else { return };
    let data = tempfile::tempdir().unwrap();
    let (mut server, receivers) = receivers::start(data.path(), "");
    let zipkin = format!("http://127.0.0.1:{}/api/v2/spans", receivers.zipkin);
    let more = [
        "--spring.application.name=micrometer-shop".to_owned(),
        "--management.tracing.sampling.probability=1".to_owned(),
        "--management.tracing.propagation.type=b3_multi".to_owned(),
        format!("--management.zipkin.tracing.endpoint={zipkin}"),
    ];
    let (_shop, address) = shop(&folder, "zipkin", &[], &[], &more);
    let caller = [("x-b3-traceid", TRACE), ("x-b3-spanid", CALLER), ("x-b3-sampled", "1")];
    ask(&address, "/orders/7", &caller, 200);
    let [outer, client, inner] = order(&mut server, None, TRACE);
    for span in [&outer, &client, &inner] {
        assert_eq!(span.service(), "micrometer-shop");
        let (method, status) = (&span.attributes["method"], &span.attributes["status"]);
        assert_eq!((method, status), (&"GET".into(), &"200".into()), "{span:?}");
    }
    assert_eq!((&*outer.name, &*outer.kind), ("http get /orders/{order}", "SERVER"));
    assert_eq!((&*inner.name, &*inner.kind), ("http get /stock/{order}", "SERVER"));
    assert_eq!((&*client.name, &*client.kind), ("http get", "CLIENT"));
    assert_eq!((&*outer.parent, &client.parent, &inner.parent), (CALLER, &outer.id, &client.id));

    ask(&address, "/broken", &[], 500);
    let broken =
        "{ resource.service.name = \"micrometer-shop\" && span.exception = \"IllegalStateException\" }";
    server.wait("the error", |server| found(server, None, broken).len() == 1);
    server.flush();
    let order = "{ span.uri = \"/orders/{order}\" && span.http.url = \"/orders/7\" && kind = server }";
    assert_found(&server, None, &BTreeSet::from([TRACE.to_owned()]), &[order]);
    server.stop();
}
