//! TLS at every door: receivers and the API, client certificates, certificates that change, and clients that begin wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)] // what is sent now is found now

mod support;
#[path = "../../foreign/tests/common/thrift.rs"]
mod thrift;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use prost::Message;
use support::requests::{own_spans, own_trace, request};
use support::secure::Client;
use support::{Ports, Server, config, python, run, skipped};
use tonic::codegen::http::uri::PathAndQuery;
use trackway_peers::Authority;
use trackway_proto::collector::ExportTraceServiceRequest;
use trackway_proto::collector::trace_service_client::TraceServiceClient;
use trackway_spans::wire::{put_bytes, put_message, put_number};

/// What a failed handshake is warned of with.
const FAILED: &str = "TLS handshake of 127.0.0.1 at";
const HOST: &str = "127.0.0.1";

/// An authority with files of its own.
fn authority(folder: &Path, name: &str) -> Authority {
    let folder = folder.join(name);
    std::fs::create_dir(&folder).unwrap();
    Authority::new(&folder)
}

/// Starts a server whose configuration is changed so; waits until it says that it is ready.
fn start(folder: &Path, change: impl Fn(String) -> String) -> (Server, Ports) {
    let ports = Ports::free();
    let file = folder.join("tempo.yaml");
    std::fs::write(&file, change(config(folder, ports, ""))).unwrap();
    let mut server = Server::spawn_file(folder, &file, ports);
    server.wait("ready", |server| server.lines().iter().any(|line| line.contains("ready in")));
    (server, ports)
}

/// Other receivers beside OTLP, whose ports get this.
fn receivers(text: &str, ports: [u16; 3], more: &str) -> String {
    let [grpc, http, zipkin] = ports;
    let jaeger = format!(
        "receivers: {{jaeger: {{protocols: {{grpc: {{endpoint: '127.0.0.1:{grpc}', {more}}}, \
         thrift_http: {{endpoint: '127.0.0.1:{http}', {more}}}}}}}, \
         zipkin: {{endpoint: '127.0.0.1:{zipkin}', {more}}}, otlp:"
    );
    text.replace("receivers: {otlp:", &jaeger)
}

/// The receivers of OTLP get this.
fn otlp(text: &str, ports: Ports, more: &str) -> String {
    [ports.otlp_grpc, ports.otlp_http].iter().fold(text.to_owned(), |text, port| {
        let endpoint = format!("{{endpoint: '127.0.0.1:{port}'");
        text.replace(&endpoint, &format!("{endpoint}, {more}"))
    })
}

fn at(port: u16) -> String {
    format!("{HOST}:{port}")
}

#[derive(Clone, PartialEq, Message)]
struct PostSpans {
    #[prost(bytes = "vec", tag = "1")]
    batch: Vec<u8>,
}

/// A span by Jaeger's protobuf.
fn jaeger_batch(trace: u128, start: i64) -> PostSpans {
    let mut batch = Vec::new();
    put_message(&mut batch, 1, |span| {
        put_bytes(span, 1, &trace.to_be_bytes());
        put_bytes(span, 2, &1_u64.to_be_bytes());
        put_bytes(span, 3, b"add");
        put_message(span, 6, |time| put_number(time, 1, start.unsigned_abs() / 1_000_000));
    });
    put_message(&mut batch, 2, |process| put_bytes(process, 1, b"cart"));
    PostSpans { batch }
}

/// Now, in microseconds.
fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_micros()).unwrap() - 10_000_000
}

/// Sends something by each receiver; the traces that must be there, or the names of those that did not take it.
async fn send_by_all(
    client: &Client,
    ports: Ports,
    others: [u16; 3],
    seed: u64,
) -> Vec<Result<u128, String>> {
    let failed = |name: &str, error: &dyn std::fmt::Debug| Err(format!("{name}: {error:?}"));
    let mut all = Vec::new();
    all.push(match client.channel(&at(ports.otlp_grpc)).await {
        Err(error) => failed("otlp.grpc", &error),
        Ok(channel) => {
            let message = ExportTraceServiceRequest::decode(request(seed).as_slice()).unwrap();
            let answer = TraceServiceClient::new(channel).export(message).await;
            answer.map(|_| own_trace(seed)).or_else(|error| failed("otlp.grpc", &error))
        }
    });
    all.push(match client.channel(&at(others[0])).await {
        Err(error) => failed("jaeger.grpc", &error),
        Ok(channel) => {
            let mut grpc = tonic::client::Grpc::new(channel);
            let path = PathAndQuery::from_static("/jaeger.api_v2.CollectorService/PostSpans");
            let codec = tonic_prost::ProstCodec::<PostSpans, ()>::default();
            let trace = u128::from(seed) << 64 | 3;
            let message = tonic::Request::new(jaeger_batch(trace, now()));
            match grpc.ready().await {
                Err(error) => failed("jaeger.grpc", &error),
                Ok(()) => {
                    let answer = grpc.unary(message, path, codec).await;
                    answer.map(|_| trace).or_else(|error| failed("jaeger.grpc", &error))
                }
            }
        }
    });
    let mut thrift = Vec::new();
    let trace = i64::try_from(seed).unwrap();
    thrift::batch(trace, now()).binary(&mut thrift);
    let zipkin_trace = format!("{:032x}", u128::from(seed) << 64 | 7);
    let zipkin = format!("[{{\"traceId\": \"{zipkin_trace}\", \"id\": \"1\", \"timestamp\": {}}}]", now());
    for (port, line, content_type, body, trace) in [
        (
            ports.otlp_http,
            "POST /v1/traces",
            "application/x-protobuf",
            request(seed + 1),
            own_trace(seed + 1),
        ),
        (others[1], "POST /api/traces", "application/x-thrift", thrift, u128::from(seed)),
        (
            others[2],
            "POST /api/v2/spans",
            "application/json",
            zipkin.into_bytes(),
            u128::from(seed) << 64 | 7,
        ),
    ] {
        let (client, line) = (client.clone(), line.to_owned());
        let sent = tokio::task::spawn_blocking(move || client.request(&at(port), &line, content_type, &body));
        all.push(match sent.await.unwrap() {
            Ok((200 | 202, _)) => Ok(trace),
            other => failed(content_type, &other),
        });
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn every_receiver_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let ours = authority(folder.path(), "ours");
    let (cert, key) = ours.issue(HOST);
    let others = Ports::free();
    let others = [others.http, others.grpc, others.otlp_http];
    let tls = format!("tls: {{cert_file: '{cert}', key_file: '{key}', min_version: '1.3'}}");
    let (server, ports) =
        start(folder.path(), |text| receivers(&otlp(&text, ports_of(&text), &tls), others, &tls));
    let sent = send_by_all(&Client::of(&ours.certificate()), ports, others, 100).await;
    for trace in sent {
        let trace = trace.unwrap();
        assert!(server.get(&format!("/api/v2/traces/{trace:032x}")).status == 200, "{trace:032x}");
    }
    let home = server.get("/status/endpoints").body;
    drop(home);
    server.stop();
}

/// The ports in a configuration that was made for them.
fn ports_of(text: &str) -> Ports {
    let after = |what: &str, nth: usize| -> u16 {
        let digits = text.split(what).nth(nth).unwrap().chars().take_while(char::is_ascii_digit);
        digits.collect::<String>().parse().unwrap()
    };
    let endpoint = "endpoint: '127.0.0.1:";
    Ports {
        http: after("http_listen_port: ", 1),
        grpc: after("grpc_listen_port: ", 1),
        otlp_grpc: after(endpoint, 1),
        otlp_http: after(endpoint, 2),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn receivers_that_demand_a_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, foreign) = (authority(folder.path(), "ours"), authority(folder.path(), "foreign"));
    let (cert, key) = ours.issue(HOST);
    let (good, bad) = (ours.issue("sender"), foreign.issue("sender"));
    let others = Ports::free();
    let others = [others.http, others.grpc, others.otlp_http];
    let ca = ours.certificate();
    let tls = format!("tls: {{cert_file: '{cert}', key_file: '{key}', client_ca_file: '{ca}'}}");
    let (mut server, ports) =
        start(folder.path(), |text| receivers(&otlp(&text, ports_of(&text), &tls), others, &tls));
    server.expect_warning(FAILED);
    for (what, client, taken) in [
        ("the right one", Client::showing(&ca, &good), true),
        ("none", Client::of(&ca), false),
        ("another authority's", Client::showing(&ca, &bad), false),
        ("the right one, again", Client::showing(&ca, &good), true),
    ] {
        for sent in send_by_all(&client, ports, others, 300).await {
            assert_eq!(sent.is_ok(), taken, "{what}: {sent:?}");
        }
    }
    let lines = server.lines().join("\n");
    assert!(lines.contains("a certificate of an authority of client_ca_file is demanded"), "{lines}");
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_asks_for_certificates_by_the_five_rules() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, foreign) = (authority(folder.path(), "ours"), authority(folder.path(), "foreign"));
    let (cert, key) = ours.issue(HOST);
    let ca = ours.certificate();
    let clients = [
        Client::of(&ca),
        Client::showing(&ca, &foreign.issue("client")),
        Client::showing(&ca, &ours.issue("client")),
    ];
    // Who is let in: without a certificate, with a foreign one, with one of ours.
    let rules = [
        ("NoClientCert", [true, true, true]),
        ("RequestClientCert", [true, true, true]),
        ("RequireAnyClientCert", [false, true, true]),
        ("VerifyClientCertIfGiven", [true, false, true]),
        ("RequireAndVerifyClientCert", [false, false, true]),
        ("''", [true, true, true]),
    ];
    for (http, grpc) in [(0, 1), (2, 3), (4, 5)] {
        let folder = folder.path().join(rules[http].0);
        std::fs::create_dir(&folder).unwrap();
        let block = |rule: usize| {
            let name = rules[rule].0;
            let verifies = name.contains("Verify");
            let authorities = if verifies { format!(", client_ca_file: '{ca}'") } else { String::new() };
            format!("{{cert_file: '{cert}', key_file: '{key}', client_auth_type: {name}{authorities}}}")
        };
        let (mut server, ports) = start(&folder, |text| {
            let tls =
                format!("server: {{http_tls_config: {}, grpc_tls_config: {}, ", block(http), block(grpc));
            text.replace("server: {", &tls)
        });
        server.expect_warning(FAILED);
        for (rule, port) in [(http, ports.http), (grpc, ports.grpc)] {
            let (name, wanted) = rules[rule];
            for (client, wanted) in clients.iter().zip(wanted) {
                let (asking, place) = (client.clone(), at(port));
                let asked =
                    tokio::task::spawn_blocking(move || asking.request(&place, "GET /ready", "", b""));
                let asked = asked.await.unwrap();
                assert_eq!(
                    asked.as_ref().is_ok_and(|(status, _)| *status == 200),
                    wanted,
                    "{name}: {asked:?}"
                );
                // gRPC too, on either port.
                let called = match client.channel(&at(port)).await {
                    Err(error) => Err(error.to_string()),
                    Ok(channel) => {
                        let mut health = trackway_proto::health::health_client::HealthClient::new(channel);
                        let asked = health.check(trackway_proto::health::HealthCheckRequest::default()).await;
                        asked.map(|_| ()).map_err(|error| error.to_string())
                    }
                };
                assert_eq!(called.is_ok(), wanted, "{name}: {called:?}");
            }
        }
        server.stop();
    }
}

#[test]
fn the_command_line_reaches_a_server_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let ours = authority(folder.path(), "ours");
    let (cert, key) = ours.issue(HOST);
    let (client_cert, client_key) = ours.issue("client");
    let ca = ours.certificate();
    let tls = format!("cert_file: '{cert}', key_file: '{key}', client_ca_file: '{ca}'");
    let (mut server, ports) = start(folder.path(), |text| {
        let text = otlp(&text, ports_of(&text), &format!("tls: {{{tls}}}"));
        let demand = format!("{{{tls}, client_auth_type: RequireAndVerifyClientCert}}");
        text.replace("server: {", &format!("server: {{http_tls_config: {demand}, "))
    });
    server.expect_warning(FAILED);
    let known = ["--ca-file", &ca, "--cert-file", &client_cert, "--key-file", &client_key];
    let blind = ["--insecure-skip-verify", "--cert-file", &client_cert, "--key-file", &client_key];
    let (api, sends) = (format!("https://{}", at(ports.http)), format!("https://{}", at(ports.otlp_http)));
    let with = |args: &[&str], more: &[&str]| run(&[args, more].concat());
    let demo = ["demo", "--once", "--traces", "20", "--seed", "1", "--endpoint", &sends];
    let (code, said) = with(&demo, &known);
    assert!(code == Some(0) && said.contains("20 traces"), "{said}");
    let search = ["search", "{}", "--api", &api];
    for more in [&known[..], &blind] {
        let (code, said) = with(&search, more);
        assert!(code == Some(0) && said.contains("frontend-web"), "{said}");
    }
    for (more, why) in [
        (&[][..], "name the authority of its certificate"),
        (&["--ca-file", "/nowhere"], "--ca-file /nowhere"),
        (&["--ca-file", &ca], "ertificate"),
    ] {
        let (code, said) = with(&search, more);
        assert!(code == Some(1) && said.contains(why), "{more:?}: {said}");
    }
    let url = format!("-health.url={api}/ready");
    let files = [
        format!("-health.ca-file={ca}"),
        format!("-health.cert-file={client_cert}"),
        format!("-health.key-file={client_key}"),
    ];
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    assert_eq!(with(&["-health", &url], &files), (Some(0), String::new()));
    let (code, said) = with(&["-health", &url], &[]);
    assert!(code == Some(1) && said.contains("-health.ca-file"), "{said}");
    server.stop();
}

#[test]
fn certificates_are_renewed_while_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (authority(folder.path(), "old"), authority(folder.path(), "new"));
    let (cert, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
    let install = |(from_cert, from_key): (String, String)| {
        // As cert-manager's volumes do: all at once.
        for (from, to) in [(from_cert, &cert), (from_key, &key)] {
            let next = to.with_extension("next");
            std::fs::copy(from, &next).unwrap();
            std::fs::rename(next, to).unwrap();
        }
    };
    install(old.issue(HOST));
    let tls = format!(
        "tls: {{cert_file: '{}', key_file: '{}', reload_interval: 50ms}}",
        cert.display(),
        key.display()
    );
    let (mut server, ports) = start(folder.path(), |text| otlp(&text, ports_of(&text), &tls));
    server.expect_warning(FAILED);
    server.expect_warning("new certificates cannot be used, the old ones are");
    let place = at(ports.otlp_http);
    let (knows_old, knows_new) = (Client::of(&old.certificate()), Client::of(&new.certificate()));
    let sends = |client: &Client, number: u64| {
        let sent = client.request(&place, "POST /v1/traces", "application/x-protobuf", &request(number));
        sent.is_ok_and(|(status, _)| status == 200)
    };
    assert!(sends(&knows_old, 1) && !sends(&knows_new, 2));
    let mut kept = knows_old.connect(&place).unwrap();
    let get = b"GET /none HTTP/1.1\r\nHost: x\r\n\r\n";
    kept.write_all(get).unwrap();
    let mut answer = [0; 12];
    kept.read_exact(&mut answer).unwrap();

    std::fs::write(&cert, "-----BEGIN CERTIFICATE-----\nbroken").unwrap();
    server.wait("the broken file to be told", |server| {
        let told =
            |line: &String| line.contains("new certificates cannot be used") && line.contains("tls.crt");
        server.lines().iter().filter(|line| told(line)).count() == 2 // for each port
    });
    assert!(sends(&knows_old, 3));
    install(new.issue(HOST));
    server.wait("the new certificate", |_| sends(&knows_new, 4));
    assert!(!sends(&knows_old, 5));
    // A connection that stands goes on.
    kept.write_all(get).unwrap();
    kept.read_exact(&mut answer).unwrap();
    let lines = server.lines();
    let told = lines.iter().filter(|line| line.contains("new certificates cannot be used")).count();
    assert_eq!(told, 2, "once for each port");
    assert_eq!(server.trace(own_trace(4)), Some(own_spans(4)));
    server.stop();
}

#[test]
fn those_who_begin_wrong_harm_nobody() {
    const UNFINISHED: &str = "was not finished within 10s";
    let folder = tempfile::tempdir().unwrap();
    let ours = authority(folder.path(), "ours");
    let (cert, key) = ours.issue(HOST);
    let tls = format!("tls: {{cert_file: '{cert}', key_file: '{key}'}}");
    let (mut server, ports) = start(folder.path(), |text| {
        let endpoint = format!("{{endpoint: '127.0.0.1:{}'", ports_of(&text).otlp_http);
        text.replace(&endpoint, &format!("{endpoint}, {tls}"))
    });
    for line in [UNFINISHED, FAILED, "plaintext on a TLS port from 127.0.0.1", "TLS on a plaintext port from"]
    {
        server.expect_warning(line);
    }
    let place = at(ports.otlp_http);
    let client = Client::of(&ours.certificate());
    let started = Instant::now();
    // Half a ClientHello, and nothing more.
    let mut stuck: Vec<TcpStream> = (0..200)
        .map(|_| {
            let mut stream = TcpStream::connect(&place).unwrap();
            stream.write_all(&[0x16, 3, 1, 2, 0, 1, 0]).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            stream
        })
        .collect();
    // Rubbish that begins as TLS does.
    let mut rubbish = TcpStream::connect(&place).unwrap();
    rubbish.write_all(&[0x16; 500]).unwrap();
    let mut nothing = Vec::new();
    rubbish.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    // An alert, or a reset.
    let _ = rubbish.read_to_end(&mut nothing);
    for number in 0..10 {
        let sent = client.request(&place, "POST /v1/traces", "application/x-protobuf", &request(number));
        assert_eq!(sent.unwrap().0, 200);
    }
    assert!(started.elapsed() < Duration::from_secs(10), "nobody waits for those who are stuck");

    // HTTP/1.1 is told; gRPC, which could not read it, sees the end.
    let plain =
        trackway_golden::http::request(&place, "POST", "/v1/traces", &[], Some(&request(11))).unwrap();
    let text = String::from_utf8_lossy(&plain.body).into_owned();
    assert_eq!((plain.status, text.trim()), (400, "Client sent an HTTP request to an HTTPS server."));
    let mut h2 = TcpStream::connect(&place).unwrap();
    h2.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    h2.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    nothing.clear();
    assert_eq!(h2.read_to_end(&mut nothing).unwrap(), 0);
    // TLS where there is none.
    assert!(client.request(&at(ports.otlp_grpc), "GET /", "", b"").is_err());
    for stream in &mut stuck {
        nothing.clear();
        let _ = stream.read_to_end(&mut nothing); // an alert, or the end
    }
    assert!(started.elapsed() >= Duration::from_secs(9));
    for (what, times) in [(UNFINISHED, 1), ("plaintext on a TLS port", 1), ("TLS on a plaintext port", 1)] {
        server.wait(what, |server| server.lines().iter().filter(|line| line.contains(what)).count() >= times);
        let found = server.lines().iter().filter(|line| line.contains(what)).count();
        assert_eq!(found, times, "{what} is said once");
    }
    server.stop();
}

/// The packages of `sdk.rs`, so that one environment is made.
const PACKAGES: [&str; 6] = [
    "opentelemetry-sdk",
    "opentelemetry-exporter-otlp-proto-grpc",
    "opentelemetry-exporter-otlp-proto-http",
    "opentelemetry-instrumentation-fastapi",
    "fastapi",
    "httpx",
];

#[test]
fn a_real_sdk_with_certificates() {
    let interpreter = match python::with("sdk", &PACKAGES) {
        Ok(interpreter) => interpreter,
        Err(why) => return skipped("tls::a_real_sdk_with_certificates", &why),
    };
    let folder = tempfile::tempdir().unwrap();
    let ours = authority(folder.path(), "ours");
    let ((cert, key), (client_cert, client_key)) = (ours.issue(HOST), ours.issue("client"));
    let ca = ours.certificate();
    let tls = format!("tls: {{cert_file: '{cert}', key_file: '{key}', client_ca_file: '{ca}'}}");
    let (server, ports) = start(folder.path(), |text| otlp(&text, ports_of(&text), &tls));
    let environment = [
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", ca.as_str()),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", client_cert.as_str()),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", client_key.as_str()),
    ];
    let arguments = ["grpc", &at(ports.otlp_grpc), "secure"];
    python::script_in(&interpreter, "fastapi_app.py", &arguments, &environment);
    assert_eq!(server.search("{ resource.service.name = \"secure\" }").len(), 4);
    server.stop();
}

#[test]
fn what_cannot_be_served_is_said_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let ours = authority(folder.path(), "ours");
    let (cert, key) = ours.issue(HOST);
    let (_, other) = ours.issue("other");
    let ca = ours.certificate();
    let pair = format!("cert_file: '{cert}', key_file: '{key}'");
    let api = |tls: &str| format!("server: {{http_tls_config: {{{tls}}}}}");
    let http =
        |more: &str| format!("distributor: {{receivers: {{otlp: {{protocols: {{http: {{{more}}}}}}}}}}}");
    let grpc =
        |more: &str| format!("distributor: {{receivers: {{jaeger: {{protocols: {{grpc: {{{more}}}}}}}}}}}");
    for (yaml, want) in [
        (
            api(&format!("cert_file: '{cert}'")),
            "server.http_tls_config.key_file is empty; name the private key".to_owned(),
        ),
        (
            api("cert_file: /nowhere, key_file: /none"),
            "server.http_tls_config.cert_file: /nowhere: No such file".to_owned(),
        ),
        (
            api(&format!("{pair}, client_auth_type: Require")),
            "server.http_tls_config.client_auth_type is \"Require\"; use one of NoClientCert, ".to_owned(),
        ),
        (
            api(&format!("{pair}, client_ca_file: '{ca}'")),
            "server.http_tls_config.client_auth_type is \"\" though".to_owned(),
        ),
        (
            api(&format!("{pair}, client_auth_type: RequireAndVerifyClientCert")),
            "server.http_tls_config.client_ca_file is empty".to_owned(),
        ),
        (
            api(&format!("cert_file: '{cert}', key_file: '{other}'")),
            "is not the key of the certificate in cert_file".to_owned(),
        ),
        (api(&format!("cert_file: '{key}', key_file: '{key}'")), "there is no certificate in it".to_owned()),
        (
            format!("server: {{tls_min_version: VersionTLS9, http_tls_config: {{{pair}}}}}"),
            "server.tls_min_version is \"VersionTLS9\"".to_owned(),
        ),
        (
            format!("server: {{tls_cipher_suites: TLS_RSA_WITH_RC4_128_SHA, http_tls_config: {{{pair}}}}}"),
            "server.tls_cipher_suites TLS_RSA_WITH_RC4_128_SHA is not supported; use some of TLS_ECDHE"
                .to_owned(),
        ),
        (
            http("tls: {ca_file: x}"),
            "distributor.receivers.otlp.protocols.http.tls.cert_file is empty; name the certificate"
                .to_owned(),
        ),
        (
            http(&format!("tls: {{{pair}, cert_pem: x}}")),
            "distributor.receivers.otlp.protocols.http.tls.cert_pem and ".to_owned(),
        ),
        (
            http(&format!("tls: {{{pair}, max_version: '1.1'}}")),
            "tls.max_version is 1.1; this version speaks 1.2 and 1.3".to_owned(),
        ),
        (
            grpc(&format!("tls: {{{pair}, min_version: '1.3', max_version: '1.2'}}")),
            "less than distributor.receivers.jaeger.protocols.grpc.tls.min_version".to_owned(),
        ),
        (
            grpc(&format!("tls: {{{pair}, curve_preferences: [P521]}}")),
            "curve_preferences has P521, which is not supported; use some of X25519".to_owned(),
        ),
        (
            grpc("auth: {authenticator: basicauth}"),
            "distributor.receivers.jaeger.protocols.grpc.auth is an extension of a collector".to_owned(),
        ),
        (http("response_headers: {'a b': c}"), "http.response_headers: a b is no header".to_owned()),
    ] {
        let file = folder.path().join("wrong.yaml");
        let data = folder.path().display();
        std::fs::write(&file, format!("{yaml}\nstorage: {{trace: {{backend: local, local: {{path: {data}/b}}, wal: {{path: {data}/w}}}}}}\n")).unwrap();
        let (code, said) = run(&[&format!("-config.file={}", file.display())]);
        assert!(code == Some(1) && said.contains(&want), "{yaml}\n{said}\nwant: {want}");
    }
}
