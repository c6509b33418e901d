//! Senders that are broken or hostile, at every door: bodies that are too large, cut short, compressed wrongly or into next to
//! nothing, nested without end, and such as never come. Each gets an answer, none costs much memory, and whoever is well is
//! served meanwhile.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::disallowed_methods)] // a test measures real time

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use support::receivers::{self, Receivers};
use support::requests::{of_service, own_spans, own_trace, request, span};
use support::{Server, memory};
use trackway_golden::http;

/// Memory that may come and go with all of this, in MiB: the budget of requests and what the process takes besides.
const MEMORY: u64 = 300;
/// Connections that say something and then nothing, at each door.
const SLOW: usize = 200;
/// Within which they get their answer: ten seconds of silence, on a busy machine.
const ANSWERED: Duration = Duration::from_secs(40);
/// Bombs that go off at the same time, at each door.
const BOMBS: usize = 12;

/// A door that speaks HTTP/1.1.
#[derive(Clone, Copy, Debug)]
struct Door {
    port: u16,
    path: &'static str,
    content_type: &'static str,
}

fn doors(server: &Server, senders: &Receivers) -> Vec<Door> {
    let otlp = server.otlp_http.rsplit_once(':').unwrap().1.parse().unwrap();
    let door = |port, path, content_type| Door { port, path, content_type };
    vec![
        door(otlp, "/v1/traces", "application/x-protobuf"),
        door(otlp, "/v1/traces", "application/json"),
        door(senders.jaeger_http, "/api/traces", "application/x-thrift"),
        door(senders.zipkin, "/api/v1/spans", "application/json"),
        door(senders.zipkin, "/api/v1/spans", "application/x-thrift"),
        door(senders.zipkin, "/api/v2/spans", "application/json"),
        door(senders.zipkin, "/api/v2/spans", "application/x-protobuf"),
    ]
}

impl Door {
    fn post(self, encoding: &str, body: &[u8]) -> (u16, String) {
        let headers = [("content-type", self.content_type), ("content-encoding", encoding)];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let address = format!("127.0.0.1:{}", self.port);
        let answer = http::request(&address, "POST", self.path, &headers, Some(body)).unwrap();
        (answer.status, String::from_utf8_lossy(&answer.body).into_owned())
    }

    /// Sends these bytes and nothing more.
    fn begin(self, bytes: &str) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.write_all(bytes.as_bytes()).unwrap();
        stream
    }

    fn head(self, length: u64) -> String {
        let Self { path, content_type, .. } = self;
        format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n"
        )
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A gigabyte of zeros in a megabyte.
fn bomb() -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let zeros = vec![0; 1 << 20];
    (0..1 << 10).for_each(|_| encoder.write_all(&zeros).unwrap());
    encoder.finish().unwrap()
}

/// The status line's number, or 0 when the connection was closed without one.
fn status(mut stream: TcpStream) -> u16 {
    stream.set_read_timeout(Some(ANSWERED)).unwrap();
    let mut head = [0; 12];
    match stream.read_exact(&mut head) {
        Ok(()) => String::from_utf8_lossy(&head[9..12]).parse().unwrap(),
        Err(error) => panic!("no answer: {error}"),
    }
}

/// A request that is well.
fn is_served(server: &Server, number: u64) {
    let began = Instant::now();
    assert_eq!(server.push("application/x-protobuf", &request(number)).status, 200);
    println!("a good request took {:?}", began.elapsed());
    assert_eq!(server.trace(own_trace(number)), Some(own_spans(number)));
}

#[test]
fn bodies_that_are_bad() {
    let folder = tempfile::tempdir().unwrap();
    let (server, senders) = receivers::start(folder.path(), "trackway: {memory: {limit: 256MiB}}");
    let good = of_service("shop", &[span(1, &[1; 8], b"", "x", &[])]);
    let (bomb, half) = (bomb(), gzip(&good.repeat(100)));
    let half = &half[..half.len() / 2];
    let nested = format!("[{}", "[{\"a\":".repeat(200_000));
    for door in doors(&server, &senders) {
        let cases: [(&str, &str, &[u8], &[u16]); 7] = [
            ("cut short", "gzip", half, &[400]),
            ("not compressed", "gzip", b"this is no gzip, and it is long enough", &[400]),
            ("not compressed", "zstd", b"this is no zstd, and it is long enough", &[400]),
            ("an unknown compression", "br", b"xxxxxxxxxxxxxxxx", &[400, 415]),
            ("noise", "identity", &[0xff; 4096], &[400]),
            ("nested", "identity", nested.as_bytes(), &[400]),
            ("a bomb", "gzip", &bomb, &[413, 429]),
        ];
        for (what, encoding, body, wanted) in cases {
            let (status, said) = door.post(encoding, body);
            assert!(wanted.contains(&status), "{door:?}: {what}: {status}: {said}");
            assert!(!said.is_empty(), "{door:?}: {what}: {status}");
        }
        // What is announced as too large is refused before it is sent.
        assert_eq!(status(door.begin(&door.head(1 << 40))), 413, "{door:?}");
        // A sender that goes away in the middle of it.
        drop(door.begin(&(door.head(1000) + "0123")));
    }
    // All of them at a time.
    std::thread::scope(|scope| {
        for door in doors(&server, &senders) {
            let bomb = &bomb;
            for _ in 0..BOMBS {
                scope.spawn(move || assert!(matches!(door.post("gzip", bomb).0, 413 | 429)));
            }
        }
    });
    is_served(&server, 1);
    let peak = memory(&server, "VmHWM");
    println!("{peak} MiB at most");
    assert!(peak <= MEMORY, "{peak} MiB");
    server.stop();
}

/// Begins what it does not end: half a request line, half the headers, a long body of which one byte comes.
#[test]
fn senders_that_are_slow() {
    let folder = tempfile::tempdir().unwrap();
    let (server, senders) = receivers::start(folder.path(), "trackway: {memory: {limit: 256MiB}}");
    let mut silent = Vec::new();
    let mut bodies = Vec::new();
    for door in doors(&server, &senders) {
        for place in 0..SLOW {
            match place % 3 {
                0 => silent.push(door.begin("POST /v1/tra")),
                1 => silent.push(door.begin("POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: appli")),
                _ => bodies.push((door, door.begin(&(door.head(10 << 20) + "{")))),
            }
        }
    }
    let began = Instant::now();
    is_served(&server, 2);
    let mut answered = Vec::new();
    for (door, stream) in bodies {
        let status = status(stream);
        // Too slow, or no memory for so many at a time.
        assert!([408, 429, 503].contains(&status), "{door:?}: {status}");
        answered.push(status);
    }
    println!("{} slow bodies answered within {:?}", answered.len(), began.elapsed());
    assert!(began.elapsed() < ANSWERED);
    is_served(&server, 3);
    // Those who have not said all of their headers are still waited for, and cost little.
    let peak = memory(&server, "VmHWM");
    println!("{peak} MiB at most, with {} connections", silent.len());
    assert!(peak <= MEMORY, "{peak} MiB");
    drop(silent);
    server.stop();
}
