//! The client against servers that say exactly what a test wants them to.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use trackway_common::SystemClock;
use trackway_spans::wire::{put_bytes, put_message, put_number};

use super::*;
use crate::workload::Workload;

/// Serves connections one after the other; each answers so many requests as it has answers, then closes.
/// Returns every request's head and body.
async fn serve(connections: Vec<Vec<Vec<u8>>>) -> (String, tokio::task::JoinHandle<Vec<(String, Vec<u8>)>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let task = tokio::spawn(async move {
        let mut seen = Vec::new();
        for answers in connections {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            for answer in answers {
                let mut bytes = Vec::new();
                let end = loop {
                    if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                        break at + 4;
                    }
                    assert!(stream.read_buf(&mut bytes).await.expect("a request") > 0, "no request");
                };
                let head = String::from_utf8(bytes[..end].to_vec()).expect("text");
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("Content-Length: "))
                    .map_or(0, |digits| digits.parse().expect("a number"));
                while bytes.len() < end + length {
                    assert!(stream.read_buf(&mut bytes).await.expect("a body") > 0, "the body is cut off");
                }
                seen.push((head, bytes[end..].to_vec()));
                // In pieces, as networks deliver.
                for piece in answer.chunks(7) {
                    stream.write_all(piece).await.expect("written");
                    stream.flush().await.expect("flushed");
                }
            }
        }
        seen
    });
    (address, task)
}

fn answer(head: &str, body: &[u8]) -> Vec<u8> {
    let mut out = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    out.extend_from_slice(body);
    out
}

fn request() -> Vec<u8> {
    let workload = Workload { seed: 1, traces: 5, start_ns: 1_000_000_000, span_of_time_ns: 1_000 };
    workload.requests().next().expect("one").bytes
}

#[tokio::test]
async fn spans_are_sent_and_counted() {
    let mut partial = Vec::new();
    put_message(&mut partial, 1, |inner| {
        put_number(inner, 1, 3);
        put_bytes(inner, 2, b"too old");
    });
    let all = answer("200 OK\r\nContent-Type: application/x-protobuf", b"");
    let some = answer("200 OK\r\nContent-Type: application/x-protobuf", &partial);
    let continued = [b"HTTP/1.1 100 Continue\r\n\r\n".to_vec(), all.clone()].concat();
    let (address, server) = serve(vec![vec![all, some, continued]]).await;
    let mut client = OtlpHttpClient::connect(&format!("http://{address}/")).await.expect("connected");
    let bytes = request();
    let spans = count_spans(&bytes).expect("well formed");
    assert!(spans > 20);
    let fine = SendOutcome { accepted: spans, rejected: 0, message: String::new() };
    assert_eq!(client.send(&bytes).await.expect("sent"), fine);
    let outcome = client.send(&bytes).await.expect("sent");
    assert_eq!(outcome, SendOutcome { accepted: spans - 3, rejected: 3, message: "too old".into() });
    assert_eq!(client.send(&bytes).await.expect("sent"), fine);
    let seen = server.await.expect("served");
    assert!(seen[0].0.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{}", seen[0].0);
    assert!(seen[0].0.contains("Content-Type: application/x-protobuf\r\n"));
    assert!(seen.iter().all(|(_, body)| *body == bytes));
}

#[tokio::test]
async fn errors_say_what_the_server_said() {
    let mut status = Vec::new();
    put_number(&mut status, 1, 8);
    put_bytes(&mut status, 2, b"RATE_LIMITED");
    let (address, server) = serve(vec![vec![
        answer("429 Too Many Requests\r\nRetry-After: 2\r\nContent-Type: application/x-protobuf", &status),
        answer("400 Bad Request", b"no such thing\n"),
        answer("404 Not Found", b"the path is /v1/traces"),
    ]])
    .await;
    let mut client = OtlpHttpClient::connect(&address).await.expect("connected");
    let busy = client.send(&[]).await.expect_err("busy");
    assert!(busy.is_retryable());
    let SendError::Busy { status: 429, message, retry_after: Some(wait) } = busy else { panic!("{busy:?}") };
    assert_eq!((message.as_str(), wait), ("RATE_LIMITED", Duration::from_secs(2)));
    let refused = client.send(&[]).await.expect_err("refused");
    assert!(!refused.is_retryable());
    assert_eq!(refused.to_string(), "the server refused the spans (400): no such thing");
    let refused = client.send(&[]).await.expect_err("refused");
    assert_eq!(refused.to_string(), "the server refused the spans (404): the path is /v1/traces");
    server.await.expect("served");
    assert!(matches!(client.send(&[9]).await, Err(SendError::NotOtlp(_))));
}

#[tokio::test]
async fn a_refused_connection_says_what_to_do() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    drop(listener);
    let error = OtlpHttpClient::connect(&address).await.expect_err("nobody listens");
    assert_eq!(
        error.to_string(),
        format!("nothing listens on {address}; start trackway first, or give --endpoint")
    );
    let error = SendError::from(HttpError::NobodyThere(
        Endpoint::parse("127.0.0.1", 4318).expect("fine").authority(),
    ));
    assert_eq!(
        error.to_string(),
        "nothing listens on 127.0.0.1:4318; start trackway first, or give --endpoint"
    );
}

#[tokio::test]
async fn a_closed_connection_is_opened_again_and_a_broken_answer_is_an_error() {
    let fine = || answer("200 OK", b"");
    let cut = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf".to_vec();
    let (address, server) = serve(vec![vec![fine()], vec![fine(), cut], vec![fine()]]).await;
    let mut client = OtlpHttpClient::connect(&address).await.expect("connected");
    let bytes = request();
    client.send(&bytes).await.expect("the first");
    client.send(&bytes).await.expect("on a new connection");
    let error = client.send(&bytes).await.expect_err("cut off");
    assert!(matches!(&error, SendError::Http(HttpError::Broken(..))), "{error:?}");
    client.send(&bytes).await.expect("on a third");
    assert_eq!(server.await.expect("served").len(), 4);
}

#[tokio::test]
async fn questions_are_asked_and_timed() {
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nX-A: b\r\n\r\n4\r\nabcd\r\n2;x=y\r\nef\r\n0\r\n\r\n";
    let endless = b"HTTP/1.0 200 OK\r\n\r\nuntil the end";
    let (address, server) = serve(vec![
        vec![chunked.to_vec(), b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(), endless.to_vec()],
        vec![b"SSH-2.0-nope\r\n".to_vec()],
    ])
    .await;
    let clock = SystemClock::default();
    let endpoint = Endpoint::parse(&address, 3200).expect("an endpoint");
    let mut client = HttpClient::connect(endpoint).await.expect("connected");
    let target = format!("/api/search?q={}", crate::percent_encode("{ status = error }"));
    let first = client.get(&clock, &target, "application/json").await.expect("answered");
    assert_eq!((first.status, first.text().as_str(), first.header("x-a")), (200, "abcdef", Some("b")));
    assert!(first.took > Duration::ZERO);
    assert_eq!(client.post(&clock, "/flush").await.expect("answered").status, 204);
    let last = client.get(&clock, "/ready", "*/*").await.expect("answered");
    assert_eq!(last.text(), "until the end");
    assert!(client.get(&clock, "/", "*/*").await.is_err());
    let seen = server.await.expect("served");
    assert!(seen[0].0.starts_with("GET /api/search?q=%7B%20status%20%3D%20error%20%7D HTTP/1.1\r\n"));
    assert!(seen[1].0.starts_with("POST /flush") && seen[1].0.contains("Content-Length: 0\r\n"));
}

#[test]
fn endpoints() {
    for (text, shown) in [
        ("127.0.0.1", "http://127.0.0.1:4318"),
        ("localhost:9", "http://localhost:9"),
        ("http://tempo:4318/", "http://tempo:4318"),
        ("HTTP://tempo/otlp/", "http://tempo:4318/otlp"),
        ("http://[::1]:80/a/v1/traces", "http://[::1]:80/a/v1/traces"),
        ("[::1]", "http://[::1]:4318"),
    ] {
        assert_eq!(Endpoint::parse(text, OTLP_HTTP_PORT).expect(text).to_string(), shown);
    }
    let secure = Endpoint::parse("https://a/b", 1).expect("an endpoint");
    assert_eq!((secure.is_https(), &*secure.to_string()), (true, "https://a:1/b"));
    for text in
        ["", "http://", "grpc://a", "a:b", "a:70000", "a b", "[::1", "[::1]x", "u@h", "a?b", "a/?b", "::1"]
    {
        assert!(matches!(Endpoint::parse(text, 1), Err(EndpointError::Malformed(_))), "{text}");
    }
}
