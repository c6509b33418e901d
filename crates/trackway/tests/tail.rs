//! Watching spans as they arrive: over HTTP and in a terminal, each tenant its own, and nobody waits for who watches.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use support::requests::{of_service, span};
use support::{PATIENCE, Server, run};
use trackway_golden::http;
use trackway_loadgen::percent_encode;

fn push(server: &Server, tenant: &str, body: &[u8]) -> u16 {
    let headers = [("content-type", "application/x-protobuf"), ("x-scope-orgid", tenant)];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    http::request(&server.otlp_http, "POST", "/v1/traces", &headers, Some(body)).unwrap().status
}

fn spans(service: &str, trace: u128, names: &[&str]) -> Vec<u8> {
    let one = |(place, name): (usize, &&str)| {
        span(trace, &(place as u64 + 1).to_be_bytes(), b"", name, &[("user", "bob".to_owned())])
    };
    of_service(service, &names.iter().enumerate().map(one).collect::<Vec<_>>())
}

/// A tail over HTTP/1.1: what came of it, chunk framing taken away by looking at lines of JSON or of events only.
struct Tail {
    stream: TcpStream,
    lines: Receiver<String>,
}

impl Tail {
    /// Begins to watch; when this returns, the server has begun too.
    fn open(server: &Server, tenant: &str, query: &str, accept: &str) -> Self {
        let mut stream = TcpStream::connect(&server.api).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(
            stream,
            "GET /api/trackway/v1/tail?q={} HTTP/1.1\r\nhost: x\r\naccept: {accept}\r\naccept-encoding: gzip\r\nx-scope-orgid: \
             {tenant}\r\n\r\n",
            percent_encode(query)
        )
        .unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut head).unwrap() > 0, "{head}");
        }
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let kind = if accept.contains("event-stream") { "text/event-stream" } else { "application/x-ndjson" };
        assert!(head.contains(kind) && !head.contains("content-encoding"), "{head}");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in reader.lines().map_while(Result::ok) {
                // What is no size of a chunk.
                let is_data =
                    ["{", "event: ", "data: "].iter().any(|start| line.starts_with(start)) || line == "0";
                if is_data && sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { stream, lines }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a line")
    }

    fn json(&self) -> Value {
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    fn name(&self) -> String {
        self.json()["name"].as_str().unwrap().to_owned()
    }
}

fn tails(server: &Server) -> u64 {
    let text = String::from_utf8(server.get("/metrics").body).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("trackway_tails "));
    line.unwrap().parse().unwrap()
}

#[test]
fn each_tenant_sees_its_own_spans_as_they_are_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let more = "multitenancy_enabled: true\n\
                overrides: {defaults: {ingestion: {rate_limit_bytes: 1000000, burst_size_bytes: 1000000}, \
                global: {max_bytes_per_trace: 300}}}";
    let mut server = Server::start(folder.path(), more);
    let everything = Tail::open(&server, "a", "", "*/*");
    let some = Tail::open(&server, "a", "{ resource.service.name = \"shop\" && name =~ \"GET.*\" }", "*/*");
    let other = Tail::open(&server, "b", "{ }", "text/event-stream");
    let both = Tail::open(&server, "a|b", "{ }", "*/*");
    assert_eq!(tails(&server), 4);
    let shop = spans("shop", 1, &["GET /a", "POST /b"]);
    assert_eq!(push(&server, "a", &shop), 200);
    let first = everything.json();
    for (key, want) in [
        ("traceId", "00000000000000000000000000000001"),
        ("spanId", "0000000000000001"),
        ("name", "GET /a"),
        ("service", "shop"),
        ("status", "unset"),
    ] {
        assert_eq!(first[key], want, "{first}");
    }
    assert_eq!((&first["attributes"]["user"], first.get("tenant")), (&"bob".into(), None));
    assert_eq!(first["resource"]["service.name"], "shop");
    assert_eq!((everything.name(), some.name()), ("POST /b".to_owned(), "GET /a".to_owned()));
    assert_eq!((both.json()["tenant"].as_str(), both.name()), (Some("a"), "POST /b".to_owned()));
    // A retry of what was acknowledged is not shown again, and what limits refuse is not shown at all.
    assert_eq!(push(&server, "a", &shop), 200);
    assert_eq!(push(&server, "a", &spans("shop", 2, &["GET 1", "GET 2", "GET 3", "GET 4", "GET 5"])), 200);
    assert_eq!(push(&server, "a", &spans("shop", 3, &["the end"])), 200);
    let mut names = Vec::new();
    while names.last().is_none_or(|name| name != "the end") {
        names.push(everything.name());
    }
    assert!(names.len() > 1 && names.len() < 6 && names[0] == "GET 1", "{names:?}");
    assert_eq!(push(&server, "b", &spans("cart", 4, &["of b"])), 200);
    // The first that the other tenant sees.
    assert_eq!(other.line(), "event: span");
    let event = other.line();
    assert!(event.starts_with("data: {") && event.contains("\"of b\""), "{event}");
    for name in names {
        assert_eq!(both.name(), name);
    }
    assert_eq!(both.json()["tenant"], "b");
    // Who goes away is forgotten.
    let (Tail { stream, lines }, _some) = (everything, some);
    stream.shutdown(std::net::Shutdown::Both).unwrap();
    drop(lines);
    server.wait("that somebody left", |server| {
        assert_eq!(push(server, "a", &spans("shop", 5, &["on"])), 200);
        tails(server) == 3
    });
    // The others are told that the server stops.
    server.signal("-TERM");
    assert_eq!(other.line(), "event: end");
    assert_eq!(other.line(), "data: {\"end\":\"the server stops\"}");
    assert_eq!(other.line(), "0", "the body ends as HTTP has it");
    server.wait("the end", Server::has_ended);
    server.check_log();
}

#[test]
fn what_cannot_be_watched_is_refused_and_tails_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path(), "multitenancy_enabled: true");
    let ask = |server: &Server, tenant: &str, query: &str| {
        let headers = [("x-scope-orgid".to_owned(), tenant.to_owned())];
        let headers = if tenant.is_empty() { &[][..] } else { &headers };
        let path = format!("/api/trackway/v1/tail?q={}", percent_encode(query));
        let answer = http::request(&server.api, "GET", &path, headers, None).unwrap();
        (answer.status, String::from_utf8(answer.body).unwrap())
    };
    for (query, part) in [
        ("{ } >> { status = error }", "operators between { } look at several spans"),
        ("{ trace:duration > 1s }", "trace:duration is known when the whole trace is there"),
        ("{ } | rate()", "a tail takes one filter on spans"),
        ("{ name = }", "parse error"),
    ] {
        let (status, why) = ask(&server, "a", query);
        assert!(status == 400 && why.contains(part), "{query}: {status} {why}");
    }
    assert_eq!(ask(&server, "", "{ }").0, 401);
    assert_eq!(ask(&server, "a/b", "{ }").0, 400);
    let mut all: Vec<Tail> = (0..8).map(|_| Tail::open(&server, "a", "", "*/*")).collect();
    let (status, why) = ask(&server, "a", "");
    assert!(
        status == 429 && why.contains("8 tails are open, as many as there may be of tenant a"),
        "{status} {why}"
    );
    all.push(Tail::open(&server, "b", "", "*/*"));
    drop(all.into_iter().map(|tail| tail.stream.shutdown(std::net::Shutdown::Both)).collect::<Vec<_>>());
    server.wait("that all left", |server| tails(server) == 0);
    server.stop();
}

/// A tail whose reader does nothing: pushes go on, and what it missed is told when it reads again.
#[test]
fn a_slow_reader_is_told_what_was_passed_over_and_holds_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), "");
    let mut stream = TcpStream::connect(&server.api).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /api/trackway/v1/tail HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut head = [0; 15];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    let long = "n".repeat(3000);
    let mut sent = 0;
    for trace in 0..400 {
        let names: Vec<&str> = (0..20).map(|_| long.as_str()).collect();
        assert_eq!(server.push("application/x-protobuf", &spans("shop", trace + 1, &names)).status, 200);
        sent += 20;
    }
    let (mut shown, mut not_shown) = (0, 0);
    let mut lines = BufReader::new(stream).lines();
    while shown + not_shown < sent {
        let line = lines.next().expect("the stream goes on").unwrap();
        if line.contains("\"spanId\"") {
            shown += 1;
        } else if let Some(rest) = line.strip_prefix("{\"notShown\":") {
            not_shown += rest.trim_end_matches('}').parse::<u64>().unwrap();
        }
    }
    assert_eq!(shown + not_shown, sent);
    assert!(shown > 0 && not_shown > 0, "{shown} {not_shown}");
    server.stop();
}

struct Cli {
    child: Child,
    out: Arc<Mutex<Vec<String>>>,
    said: Arc<Mutex<Vec<String>>>,
}

fn gather(pipe: impl Read + Send + 'static) -> Arc<Mutex<Vec<String>>> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&lines);
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            into.lock().unwrap().push(line);
        }
    });
    lines
}

impl Cli {
    fn start(server: &Server, args: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_trackway"))
            .arg("tail")
            .args(args)
            .args(["--api", &server.api])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (out, said) = (gather(child.stdout.take().unwrap()), gather(child.stderr.take().unwrap()));
        let cli = Self { child, out, said };
        cli.until("that it watches", |cli| cli.has_said("as they arrive at"));
        cli
    }

    fn has_said(&self, part: &str) -> bool {
        self.said.lock().unwrap().iter().any(|line| line.contains(part))
    }

    fn until(&self, what: &str, done: impl Fn(&Self) -> bool) {
        for _ in 0..PATIENCE.as_millis() / 5 {
            if done(self) {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
        panic!("waited too long for {what}: {:?} {:?}", self.out.lock().unwrap(), self.said.lock().unwrap());
    }
}

#[test]
fn a_terminal_shows_spans_as_they_arrive_and_ends_with_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), "multitenancy_enabled: true");
    let mut pretty = Cli::start(&server, &["{ name = \"GET /a\" }", "--tenant", "a"]);
    let mut json = Cli::start(&server, &["--json", "--org-id", "a"]);
    assert_eq!(push(&server, "b", &spans("hidden", 9, &["GET /a"])), 200);
    assert_eq!(push(&server, "a", &spans("shop", 1, &["POST /b", "GET /a"])), 200);
    pretty.until("a span", |cli| !cli.out.lock().unwrap().is_empty());
    json.until("two spans", |cli| cli.out.lock().unwrap().len() == 2);
    let line = pretty.out.lock().unwrap()[0].clone();
    for part in ["  shop ", "  GET /a ", "00000000000000000000000000000001", "user=bob"] {
        assert!(line.contains(part), "{line}");
    }
    let spans: Vec<Value> =
        json.out.lock().unwrap().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&spans[0]["name"], &spans[1]["name"]), (&"POST /b".into(), &"GET /a".into()));
    let api = server.api.clone();
    server.stop();
    for cli in [&mut pretty, &mut json] {
        assert_eq!(cli.child.wait().unwrap().code(), Some(0));
        cli.until("why it ended", |cli| cli.has_said("the tail ends: the server stops"));
    }
    let (code, said) = run(&["tail", "--api", &api]);
    assert!(code == Some(1) && said.contains("nothing listens on"), "{said}");
}

#[test]
fn a_query_that_cannot_be_watched_is_explained_in_the_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), "");
    let (code, said) = run(&["tail", "{ } >> { }", "--api", &server.api]);
    assert!(code == Some(1) && said.contains("a tail takes one filter on spans"), "{said}");
    server.stop();
}
