//! Spans by Kafka, from a real broker where Java and Maven are there: every encoding; nothing lost and nothing doubled
//! whoever is killed; bad records among good ones; groups, tenants, logins; and what Tempo 3's distributors left.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::disallowed_methods)] // what is sent now is found now

#[path = "kafka/broker.rs"]
mod broker;
mod support;
#[path = "../../foreign/tests/common/thrift.rs"]
mod thrift;

use std::path::Path;

use broker::{Broker, Written, broker};
use krafka::Compression;
use serde_json::{Value, json};
use support::{Ports, Server, config, cpu, requests};
use trackway_golden::http;
use trackway_loadgen::Workload;
use trackway_peers::Kafka;
use trackway_spans::wire::{put_bytes, put_message, put_number};

/// A server's configuration with these settings of the Kafka receiver, in YAML's short form.
fn configured(folder: &Path, ports: Ports, kafka: &str, more: &str) -> String {
    config(folder, ports, more)
        .replace("receivers: {otlp:", &format!("receivers: {{kafka: {{{kafka}}}, otlp:"))
}

fn spawn(folder: &Path, kafka: &str, more: &str) -> Server {
    let (file, ports) = (folder.join("tempo.yaml"), Ports::free());
    std::fs::write(&file, configured(folder, ports, kafka, more)).unwrap();
    Server::spawn_file(folder, &file, ports)
}

fn start(folder: &Path, kafka: &str, more: &str) -> Server {
    let mut server = spawn(folder, kafka, more);
    server.until_ready();
    server
}

/// The settings that most tests have: one topic from its beginning, by a group of its name.
fn reading(broker: &Broker, topic: &str) -> String {
    format!(
        "brokers: ['{}'], group_id: {topic}, initial_offset: earliest, session_timeout: 6s, heartbeat_interval: 500ms, \
         max_fetch_wait: 50ms, autocommit: {{interval: 100ms}}, traces: {{topics: [{topic}]}}",
        broker.address()
    )
}

fn metric(server: &Server, line: &str) -> Option<u64> {
    let metrics = String::from_utf8(server.get("/metrics").body).unwrap();
    metrics.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' ')?.parse().ok())
}

/// Now, in microseconds.
fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_micros()).unwrap() - 10_000_000
}

/// The trace as `service name kind start duration`, one line a span.
fn spans(server: &Server, trace: u128, tenant: Option<&str>) -> Vec<String> {
    let headers: Vec<(String, String)> =
        tenant.map(|name| ("x-scope-orgid".to_owned(), name.to_owned())).into_iter().collect();
    let path = format!("/api/v2/traces/{trace:032x}");
    let answer = http::request(&server.api, "GET", &path, &headers, None).unwrap();
    if answer.status == 404 {
        return Vec::new();
    }
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut all = Vec::new();
    for resource in list(&answer["trace"]["resourceSpans"]) {
        let attributes = list(&resource["resource"]["attributes"]);
        let mut of: Vec<String> = attributes
            .iter()
            .map(|one| {
                format!("{}={}", one["key"].as_str().unwrap(), one["value"]["stringValue"].as_str().unwrap())
            })
            .filter(|one| one.starts_with("service.name") || one.starts_with("kafka."))
            .collect();
        of.sort_unstable();
        for scope in list(&resource["scopeSpans"]) {
            for span in list(&scope["spans"]) {
                let nanos = |key: &str| span[key].as_str().unwrap().parse::<u64>().unwrap();
                let (start, end) = (nanos("startTimeUnixNano"), nanos("endTimeUnixNano"));
                all.push(format!(
                    "{} {} {} {} {}",
                    of.join(","),
                    span["name"].as_str().unwrap_or("-"),
                    span["kind"].as_str().unwrap_or("-"),
                    start / 1000,
                    (end - start) / 1000,
                ));
            }
        }
    }
    all.sort();
    all
}

/// One span of a trace, in an encoding; the line that `spans` must show.
fn one_span(encoding: &str, trace: u64, start: i64) -> (Vec<u8>, String) {
    let micros = start.unsigned_abs();
    let id = [&[0; 8][..], &trace.to_be_bytes()].concat();
    let base64 = |bytes: &[u8]| base64(bytes);
    let body = match encoding {
        "otlp_proto" => {
            let span =
                requests::span_at(micros * 1000, trace.into(), &[0, 0, 0, 0, 0, 0, 0, 7], b"", "op", &[]);
            requests::of_service("shop", &[span])
        }
        "otlp_json" => json!({"resourceSpans": [{
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
            "scopeSpans": [{"spans": [{
                "traceId": format!("{trace:032x}"), "spanId": "0000000000000007", "name": "op", "kind": 2,
                "startTimeUnixNano": (micros * 1000).to_string(),
                "endTimeUnixNano": (micros * 1000 + 1_000_000).to_string(),
            }]}],
        }]})
        .to_string()
        .into_bytes(),
        "jaeger_json" => json!({
            "traceId": base64(&id), "spanId": base64(&7_u64.to_be_bytes()), "operationName": "op",
            "references": [], "flags": 1,
            "startTime": jiff::Timestamp::from_microsecond(start).unwrap().to_string(),
            "duration": "0.001s",
            "tags": [{"key": "span.kind", "vType": "STRING", "vStr": "server"}],
            "process": {"serviceName": "shop"},
        })
        .to_string()
        .into_bytes(),
        "jaeger_proto" => {
            let mut out = Vec::new();
            put_bytes(&mut out, 1, &id);
            put_bytes(&mut out, 2, &7_u64.to_be_bytes());
            put_bytes(&mut out, 3, b"op");
            put_message(&mut out, 6, |out| {
                put_number(out, 1, micros / 1_000_000);
                put_number(out, 2, micros % 1_000_000 * 1000);
            });
            put_message(&mut out, 7, |out| put_number(out, 2, 1_000_000));
            put_message(&mut out, 8, |out| {
                put_bytes(out, 1, b"span.kind");
                put_bytes(out, 3, b"server");
            });
            put_message(&mut out, 10, |out| put_bytes(out, 1, b"shop"));
            out
        }
        "zipkin_json" => json!([{
            "traceId": format!("{trace:016x}"), "id": "7", "kind": "SERVER", "name": "op", "timestamp": start,
            "duration": 1000, "localEndpoint": {"serviceName": "shop"},
        }])
        .to_string()
        .into_bytes(),
        "zipkin_proto" => {
            let mut span = Vec::new();
            put_bytes(&mut span, 1, &trace.to_be_bytes());
            put_bytes(&mut span, 3, &7_u64.to_be_bytes());
            put_number(&mut span, 4, 2);
            put_bytes(&mut span, 5, b"op");
            span.push(6 << 3 | 1);
            span.extend(micros.to_le_bytes());
            put_number(&mut span, 7, 1000);
            put_message(&mut span, 8, |out| put_bytes(out, 1, b"shop"));
            let mut list = Vec::new();
            put_bytes(&mut list, 1, &span);
            list
        }
        "zipkin_thrift" => {
            let mut out = Vec::new();
            thrift::zipkin_v1(trace.cast_signed(), start).binary(&mut out);
            return (out, format!("service.name=front get SPAN_KIND_CLIENT {start} 1500"));
        }
        other => panic!("no span in {other}"),
    };
    (body, format!("service.name=shop op SPAN_KIND_SERVER {start} 1000"))
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in bytes.chunks(3) {
        let at = |place: usize| u32::from(three.get(place).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
            out.push(if place <= three.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

#[test]
fn every_encoding() {
    let broker = broker();
    let start_at = now();
    let codecs =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    let encodings = [
        "otlp_proto",
        "otlp_json",
        "jaeger_proto",
        "jaeger_json",
        "zipkin_proto",
        "zipkin_json",
        "zipkin_thrift",
    ];
    let folders: Vec<_> = encodings.iter().map(|_| tempfile::tempdir().unwrap()).collect();
    // Before the servers, so that they have it to read at once.
    for (place, encoding) in encodings.into_iter().enumerate() {
        let topic = format!("spans-{encoding}");
        broker.create(&topic, 1);
        let record = Written::new(one_span(encoding, place as u64 + 1, start_at).0);
        broker.compressed(&topic, [record], codecs[place % codecs.len()]);
    }
    let spawned: Vec<Server> = encodings
        .into_iter()
        .zip(&folders)
        .map(|(encoding, folder)| {
            let topic = format!("spans-{encoding}");
            // Both spellings.
            let kafka = if encoding.starts_with("otlp") {
                let settings = reading(&broker, &topic);
                settings.replace("topics:", &format!("encoding: {encoding}, topics:"))
            } else {
                let settings =
                    reading(&broker, &topic).replace(&format!("traces: {{topics: [{topic}]}}"), "");
                format!("{settings} topic: {topic}, encoding: {encoding}")
            };
            spawn(folder.path(), &kafka, "")
        })
        .collect();
    for (place, (mut server, encoding)) in spawned.into_iter().zip(encodings).enumerate() {
        server.until_ready();
        let (trace, line) = (place as u64 + 1, one_span(encoding, place as u64 + 1, start_at).1);
        let trace = if encoding == "zipkin_thrift" { 5_u128 << 64 | u128::from(trace) } else { trace.into() };
        server.wait(encoding, |server| !spans(server, trace, None).is_empty());
        assert_eq!(spans(&server, trace, None), [line], "{encoding}");
        let counted = "tempo_receiver_accepted_spans{receiver=\"kafka\",transport=\"kafka\"}";
        server.wait("it to be counted", |server| metric(server, counted) == Some(1));
        let topic = format!("spans-{encoding}");
        server.wait("the commit", |_| broker.committed(&topic, &topic, 1) == [Some(1)]);
        let lag = format!("otelcol_kafka_receiver_offset_lag{{topic=\"{topic}\",partition=\"0\"}}");
        server.wait("the lag", |server| metric(server, &lag) == Some(0));
        server.stop();
    }
}

/// Traces of their own, and how many spans each has.
fn write_requests(broker: &Broker, topic: &str, numbers: std::ops::Range<u64>, partitions: u64) {
    let record = |number| Written::new(requests::request(number)).partition(number % partitions);
    broker.write(topic, numbers.map(record));
}

/// Fails unless each of these requests is there, once.
fn assert_once(servers: &[&Server], numbers: std::ops::Range<u64>) {
    let mut found = std::collections::HashMap::new();
    for server in servers {
        for (trace, mut spans) in server.all_traces() {
            found.entry(trace).or_insert_with(Vec::new).append(&mut spans);
        }
    }
    for number in numbers {
        let own = found.get(&requests::own_trace(number));
        assert_eq!(own, Some(&requests::own_spans(number)), "request {number}");
        let shared = found.get(&requests::shared_trace(number)).map_or(&[][..], |spans| spans);
        let copies = shared.iter().filter(|span| **span == requests::shared_span(number)).count();
        assert_eq!(copies, 1, "the shared span of request {number}");
    }
}

fn accepted(server: &Server) -> u64 {
    metric(server, "tempo_receiver_accepted_spans{receiver=\"kafka\",transport=\"kafka\"}").unwrap_or(0)
}

/// The same requests as records and by OTLP over HTTP, and what the process takes for a span. `TRACKWAY_KAFKA_TRACES` says how
/// many traces of some 19 spans.
#[test]
fn a_span_costs_what_it_costs_by_otlp() {
    let traces =
        std::env::var("TRACKWAY_KAFKA_TRACES").ok().and_then(|text| text.parse().ok()).unwrap_or(2000);
    let workload =
        Workload { seed: 1, traces, start_ns: 1_790_000_000_000_000_000, span_of_time_ns: 60_000_000_000 };
    let broker = broker();
    let (topic, partitions) = ("costs", 3);
    broker.create(topic, partitions);
    let requests: Vec<Vec<u8>> = workload.requests().map(|request| request.bytes.to_vec()).collect();
    let record = |(number, bytes): (u64, &Vec<u8>)| Written::new(bytes.clone()).partition(number % 3);
    broker.write(topic, (0..).zip(&requests).map(record));
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());

    let by_otlp = start(folders[0].path(), "brokers: ['127.0.0.1:1']", "");
    let (before, began) = (cpu(&by_otlp), std::time::Instant::now());
    let mut connection = http::Connection::open(&by_otlp.otlp_http).unwrap();
    let headers = [("content-type".to_owned(), "application/x-protobuf".to_owned())];
    for request in &requests {
        assert_eq!(connection.request("POST", "/v1/traces", &headers, Some(request)).unwrap().status, 200);
    }
    let (of_otlp, took_otlp) = (cpu(&by_otlp) - before, began.elapsed());
    let labels = "tempo_distributor_spans_received_total{tenant=\"single-tenant\"}";
    let spans = metric(&by_otlp, labels).unwrap();

    let began = std::time::Instant::now();
    let mut by_kafka = start(folders[1].path(), &reading(&broker, topic), "");
    let before = cpu(&by_kafka);
    by_kafka.wait("all spans", |server| accepted(server) == spans);
    let (of_kafka, took_kafka) = (cpu(&by_kafka) - before, began.elapsed());
    let each = |all: std::time::Duration| all.as_secs_f64() * 1e6 / spans as f64;
    println!(
        "{spans} spans: {:.1} us of CPU each by OTLP in {took_otlp:?}, {:.1} by Kafka in {took_kafka:?}",
        each(of_otlp),
        each(of_kafka),
    );
    assert!(of_kafka < 2 * of_otlp + std::time::Duration::from_secs(1), "{of_kafka:?} against {of_otlp:?}");
    by_kafka.stop();
}

#[test]
fn a_kill_loses_nothing_and_doubles_nothing() {
    const REQUESTS: u64 = 2400;
    let broker = broker();
    let (topic, partitions) = ("killed", 3);
    broker.create(topic, partitions);
    write_requests(&broker, topic, 0..REQUESTS, 3);
    let folder = tempfile::tempdir().unwrap();
    let kafka = reading(&broker, topic);
    for round in 0..3_u64 {
        let mut server = start(folder.path(), &kafka, "");
        server.wait("some spans", |server| accepted(server) > 500 + round * 300);
        server.signal("-KILL");
        server.until_ended();
        let committed: i64 = broker.committed(topic, topic, partitions).into_iter().flatten().sum();
        assert!(committed <= i64::try_from(REQUESTS).unwrap());
    }
    let mut server = start(folder.path(), &kafka, "");
    let all = vec![Some(i64::try_from(REQUESTS / 3).unwrap()); 3];
    server.wait("all to be committed", |_| broker.committed(topic, topic, partitions) == all);
    assert_once(&[&server], 0..REQUESTS);
    server.flush();
    assert_once(&[&server], 0..REQUESTS);
    server.stop();
}

#[test]
fn bad_records_among_good_ones() {
    let broker = broker();
    let topic = "mixed";
    broker.create(topic, 1);
    let (mixed, one_bad) = requests::one_bad();
    let mut deleted = Written::new(Vec::new()).key("k");
    deleted.value = None;
    let records = [
        Written::new(requests::request(1)).header("team", "blue").header("other", "x"),
        Written::new(b"nonsense".to_vec()),
        deleted,
        Written::new(Vec::new()),
        Written::new(one_bad),
        Written::new(vec![0xff; 100_000]),
        Written::new(requests::request(2)),
    ];
    broker.write(topic, records);
    let folder = tempfile::tempdir().unwrap();
    let kafka = reading(&broker, topic);
    let headers = "header_extraction: {extract_headers: true, headers: [Team, absent]}";
    let mut server = start(folder.path(), &format!("{kafka}, {headers}"), "");
    server.expect_warning("a record is passed over, others go on");
    server.expect_warning("1 of 3 spans by Kafka refused");
    server.wait("the end of the topic", |_| broker.committed(topic, topic, 1) == [Some(7)]);
    assert_once(&[&server], 1..3);
    assert_eq!(server.trace(mixed), Some(vec![1, 3]));
    let first = spans(&server, requests::own_trace(1), None).remove(0);
    assert!(first.starts_with("kafka.header.Team=blue,service.name=service-1 own-"), "{first}");
    let bad = "trackway_kafka_discarded_records_total{topic=\"mixed\",reason=\"refused\"}";
    assert_eq!(metric(&server, bad), Some(2));
    let refused = "tempo_receiver_refused_spans{receiver=\"kafka\",transport=\"kafka\"}";
    assert_eq!(metric(&server, refused), Some(3));
    let places = ["topic=mixed partition=0 offset=1", "topic=mixed partition=0 offset=5"];
    let told = server.lines().iter().any(|line| places.iter().any(|place| line.contains(place)));
    assert!(told, "the log names the record");
    server.stop();
}

#[test]
fn brokers_come_and_go() {
    let mut broker = broker();
    let topic = "restarted";
    let Some(kafka) = broker.real("brokers_come_and_go") else { return };
    kafka.kill();
    let folder = tempfile::tempdir().unwrap();
    // It is ready without any.
    let mut server = start(folder.path(), &reading(&broker, topic), "");
    server.expect_warning("cannot be read from");
    server.expect_warning("nothing can be read now");
    server.expect_warning("offsets cannot be committed now");
    server.wait("it to be said", |server| {
        server.lines().iter().any(|line| line.contains("cannot be read from"))
    });
    broker.real("").unwrap().restart().unwrap();
    broker.create(topic, 2);
    write_requests(&broker, topic, 0..50, 2);
    server.wait("what was written", |server| server.trace(requests::own_trace(49)).is_some());
    let kafka = broker.real("").unwrap();
    kafka.kill();
    server.wait("it to be noticed", |server| {
        metric(server, "trackway_kafka_connected{receiver=\"distributor.receivers.kafka\"}") == Some(0)
    });
    assert!(server.is_ready());
    kafka.restart().unwrap();
    write_requests(&broker, topic, 50..100, 2);
    server.wait("all", |_| broker.committed(topic, topic, 2) == [Some(50), Some(50)]);
    assert_once(&[&server], 0..100);
    server.stop();
}

#[test]
fn a_group_shares_its_partitions() {
    let mut broker = broker();
    if broker.real("a_group_shares_its_partitions").is_none() {
        return;
    }
    let (topic, partitions) = ("shared", 4);
    broker.create(topic, partitions);
    write_requests(&broker, topic, 0..400, 4);
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let kafka = reading(&broker, topic);
    let mut first = start(folders[0].path(), &kafka, "");
    first.wait("the first", |server| accepted(server) > 100);
    let mut second = start(folders[1].path(), &kafka, "");
    let comes = |server: &mut Server| server.lines().iter().any(|line| line.contains("partitions that come"));
    second.wait("its share", comes);
    write_requests(&broker, topic, 400..800, 4);
    second.wait("its spans", |server| accepted(server) > 0);
    let lost = first.lines().iter().any(|line| line.contains("partitions that go"));
    assert!(lost, "the first gave some away");
    // It leaves in the middle, and the second goes on with all of them.
    write_requests(&broker, topic, 800..1200, 4);
    let (before, folder) = (accepted(&first), folders[0].path());
    assert!(before > 0);
    first.stop();
    second.wait("all", |_| broker.committed(topic, topic, partitions) == [Some(300); 4]);
    let first = Server::start(folder, "");
    assert_once(&[&first, &second], 0..1200);
    first.stop();
    second.stop();
}

#[test]
fn records_name_their_tenants() {
    let broker = broker();
    let topic = "tenants";
    broker.create(topic, 1);
    let records = [
        Written::new(requests::request(1)).header("X-Scope-OrgID", "one"),
        Written::new(requests::request(2)),
        Written::new(requests::request(3)).header("x-scope-orgid", "two"),
        Written::new(requests::request(4)).header("X-Scope-OrgID", "one|two"),
        Written::new(requests::request(5)).header("X-Scope-OrgID", "one"),
    ];
    broker.write(topic, records);
    let folder = tempfile::tempdir().unwrap();
    let mut server = start(folder.path(), &reading(&broker, topic), "multitenancy_enabled: true");
    server.expect_warning("a record is passed over, others go on");
    server.wait("the end of the topic", |_| broker.committed(topic, topic, 1) == [Some(5)]);
    for (number, tenant) in [(1, Some("one")), (2, None), (3, Some("two")), (4, None), (5, Some("one"))] {
        for asked in ["one", "two"] {
            let found = !spans(&server, requests::own_trace(number), Some(asked)).is_empty();
            assert_eq!(found, tenant == Some(asked), "request {number} for {asked}");
        }
    }
    let bad = "trackway_kafka_discarded_records_total{topic=\"tenants\",reason=\"tenant\"}";
    assert_eq!(metric(&server, bad), Some(2));
    server.stop();
}

#[test]
fn logins_and_certificates() {
    let mut broker = broker();
    let topic = "secret";
    let Some(kafka) = broker.real("logins_and_certificates") else { return };
    let Kafka { sasl, sasl_tls, mutual_tls, ca_file, client: (cert, key), .. } = kafka;
    let (user, password) = (Kafka::USER, Kafka::PASSWORD);
    let login = |mechanism: &str| {
        format!("auth: {{sasl: {{username: {user}, password: {password}, mechanism: {mechanism}}}}}")
    };
    let ways = [
        (sasl.clone(), login("PLAIN")),
        (sasl.clone(), format!("auth: {{plain_text: {{username: {user}, password: {password}}}}}")),
        (sasl.clone(), login("SCRAM-SHA-256")),
        (sasl_tls.clone(), format!("{}, tls: {{ca_file: {ca_file}}}", login("SCRAM-SHA-512"))),
        (mutual_tls.clone(), format!("tls: {{ca_file: {ca_file}, cert_file: {cert}, key_file: {key}}}")),
    ];
    let refused = [
        (sasl.clone(), login("PLAIN").replace(password, "wrong")),
        (mutual_tls.clone(), format!("tls: {{ca_file: {ca_file}}}")),
        (sasl_tls.clone(), format!("{}, tls: {{}}", login("PLAIN"))),
    ];
    broker.create(topic, 1);
    write_requests(&broker, topic, 0..1, 1);
    let mut servers = Vec::new();
    for (place, (address, settings)) in ways.iter().chain(&refused).enumerate() {
        let folder = tempfile::tempdir().unwrap();
        let group = format!("group_id: secret-{place}");
        let kafka = reading(&broker, topic).replace("group_id: secret", &group);
        let kafka = kafka.replace(&broker.address(), address);
        servers.push((spawn(folder.path(), &format!("{kafka}, {settings}"), ""), folder));
    }
    for (place, (mut server, _folder)) in servers.into_iter().enumerate() {
        server.until_ready();
        if place < ways.len() {
            server.wait(&ways[place].1, |server| server.trace(requests::own_trace(0)).is_some());
        } else {
            server.expect_warning("cannot be read from");
            server.wait("it to be said", |server| {
                server.lines().iter().any(|line| line.contains("cannot be read from"))
            });
            assert!(server.is_ready() && server.trace(requests::own_trace(0)).is_none());
        }
        server.stop();
    }
}

#[test]
fn what_tempos_distributors_left() {
    let broker = broker();
    let topic = "tempo-traces";
    broker.create(topic, 2);
    // A trace each, its id, and whether the metrics-generator was to pass it over.
    let push_bytes = |traces: &[Vec<u8>]| {
        let mut out = Vec::new();
        traces.iter().for_each(|trace| put_bytes(&mut out, 2, trace));
        traces.iter().for_each(|_| put_bytes(&mut out, 3, &[7; 16]));
        put_number(&mut out, 5, 1);
        out
    };
    let records = [
        // Of this one, Tempo has made a block.
        Written::new(push_bytes(&[requests::request(1)])).key("one"),
        Written::new(push_bytes(&[requests::request(2), b"nonsense".to_vec(), requests::request(3)]))
            .key("one"),
        Written::new(push_bytes(&[requests::request(4)])).key("two").partition(1),
        Written::new(push_bytes(&[requests::request(5)])).partition(1),
    ];
    broker.write(topic, records);
    broker.commit("block-builder", topic, 0, 1);
    let folder = tempfile::tempdir().unwrap();
    let more = format!(
        "multitenancy_enabled: true\ningest: {{enabled: true, kafka: {{address: '{}', topic: {topic}, \
         consumer_group_offset_commit_interval: 100ms}}}}",
        broker.address()
    );
    let mut server = Server::start(folder.path(), &more);
    server.expect_warning("spans by Kafka refused: a trace of the record");
    server.expect_warning("a record is passed over, others go on: no org id");
    server
        .wait("the end of the topic", |_| broker.committed("block-builder", topic, 2) == [Some(2), Some(2)]);
    for (number, tenant) in [(1, None), (2, Some("one")), (3, Some("one")), (4, Some("two")), (5, None)] {
        for asked in ["one", "two"] {
            let found = !spans(&server, requests::own_trace(number), Some(asked)).is_empty();
            assert_eq!(found, tenant == Some(asked), "request {number} for {asked}");
        }
    }
    let lag = "tempo_ingest_group_partition_lag{group=\"block-builder\",partition=\"1\"}";
    server.wait("the lag", |server| metric(server, lag) == Some(0));
    server.stop();
}

#[test]
fn a_limit_slows_down_and_discards_nothing() {
    const REQUESTS: u64 = 60;
    let broker = broker();
    let topic = "limited";
    broker.create(topic, 2);
    write_requests(&broker, topic, 0..REQUESTS, 2);
    let folder = tempfile::tempdir().unwrap();
    let limits = "overrides: {defaults: {ingestion: {rate_limit_bytes: 300000, burst_size_bytes: 60000, \
                  max_traces_per_user: 0}, global: {max_bytes_per_trace: 0}}}";
    let mut server = start(folder.path(), &reading(&broker, topic), limits);
    server.expect_warning("records wait, none is lost: RATE_LIMITED");
    server.wait("all", |_| broker.committed(topic, topic, 2) == [Some(30), Some(30)]);
    assert_once(&[&server], 0..REQUESTS);
    assert!(metric(&server, "trackway_kafka_retries_total").unwrap() > 0);
    server.stop();
}

#[test]
fn what_cannot_be_honoured_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (kafka, more, told) in [
        ("encoding: avro", "", "distributor.receivers.kafka.encoding is \"avro\""),
        ("traces: {topics: ['^spans.*']}", "", "regular expressions are not supported, name the topics"),
        (
            "auth: {kerberos: {realm: X}}",
            "",
            "distributor.receivers.kafka.auth.kerberos is not supported; use auth.sasl",
        ),
        (
            "auth: {sasl: {mechanism: AWS_MSK_IAM_OAUTHBEARER}}",
            "",
            "which is not supported; use one of PLAIN",
        ),
        (
            "tls: {cert_file: a.pem}",
            "",
            "distributor.receivers.kafka.tls.key_file is empty and cert_file is set",
        ),
        ("heartbeat_interval: 20s", "", "make it shorter than session_timeout (10s)"),
        ("brokers: []", "", "distributor.receivers.kafka.brokers is empty; name a broker"),
        ("", "ingest: {enabled: true}", "ingest.kafka.topic is empty and ingest.enabled is true"),
    ] {
        let file = folder.path().join("tempo.yaml");
        std::fs::write(&file, configured(folder.path(), Ports::free(), kafka, more)).unwrap();
        let (code, said) = support::run(&[&format!("-config.file={}", file.display())]);
        assert!(code.is_some_and(|code| code != 0) && said.contains(told), "{kafka} {more}: {said}");
    }
}
