//! OTLP over HTTP as Tempo answers it: the recordings, compression, limits, errors, browsers, tenants.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use common::start;
use trackway_common::ErrorKind;
use trackway_distributor::{PushError, PushResponse};
use trackway_receivers::{CorsConfig, OtlpConfig};

const JSON: (&str, &str) = ("content-type", "application/json");
const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");

/// Two spans, with what is to stand for their ids.
fn two_spans(first: &str, second: &str) -> String {
    let span = |id: &str| {
        format!(
            r#"{{"traceId":"{id}","spanId":"1111111111111111","name":"n","startTimeUnixNano":"1","endTimeUnixNano":"2"}}"#
        )
    };
    format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{},{}]}}]}}]}}"#, span(first), span(second))
}

#[tokio::test]
async fn recordings() {
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/v4/answers.jsonl.gz");
    let questions = trackway_golden::load(&recorded).unwrap();
    let running = start(OtlpConfig::default()).await;
    // Ids of zeros are for the distributor to refuse, so this one does.
    running.answers(|request| {
        let zeros = |count: usize| {
            let id = vec![0u8; count];
            let mut field = vec![if count == 16 { 0x0a } else { 0x12 }, count as u8];
            field.extend(id);
            request.body.windows(field.len()).any(|part| part == field)
        };
        match () {
            () if zeros(16) => {
                Err(PushError::new(ErrorKind::Invalid, "trace ids must be 128 bit, received 0 bits"))
            }
            () if zeros(8) => Err(PushError::new(
                ErrorKind::Invalid,
                "span ids must be 64 bit and not all zero, received 0 bits",
            )),
            () => Ok(PushResponse::default()),
        }
    });
    let mut asked = 0;
    for question in questions.iter().filter(|question| question.group == "push") {
        asked += 1;
        let headers: Vec<_> = question.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let body = question.body.as_deref().unwrap_or_default();
        let answer = running.http(&question.method, &question.path, &headers, body).await;
        let label = question.label();
        assert_eq!(answer.status, question.status, "{label}: {answer:?}");
        assert_eq!(answer.header("content-type"), question.content_type, "{label}");
        if let Some(text) = &question.text {
            assert_eq!(answer.text(), text, "{label}");
        }
        if let Some(bytes) = &question.body_out {
            assert_eq!(&answer.body, bytes, "{label}");
        }
        if let Some(json) = &question.json {
            let got: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            // How Go's JSON parser complains is its own; the code and the shape count.
            let parser = json["message"].as_str().is_some_and(|text| text.contains("UnmarshalJSONIter"));
            if parser {
                assert_eq!(got["code"], json["code"], "{label}");
                assert!(!got["message"].as_str().unwrap().is_empty(), "{label}");
            } else {
                assert_eq!(&got, json, "{label}");
            }
        }
    }
    assert_eq!(asked, 14);
}

#[tokio::test]
async fn bodies_may_be_compressed_but_not_large() {
    let running = start(OtlpConfig { max_body_bytes: 200_000, ..OtlpConfig::default() }).await;
    let body = [vec![0x0a, 0x80, 0x80, 0x06], vec![0; 98_304]].concat();
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    zlib.write_all(&body).unwrap();
    let zlib = zlib.finish().unwrap();
    let zstd = zstd::stream::encode_all(&body[..], 3).unwrap();
    for (name, bytes) in
        [("gzip", gzip(&body)), ("zstd", zstd), ("deflate", zlib), ("identity", body.clone())]
    {
        let headers = [PROTOBUF, ("content-encoding", name), ("user-agent", "OTel-é/1")];
        let answer = running.http("POST", "/v1/traces", &headers, &bytes).await;
        assert_eq!((answer.status, &answer.body[..]), (200, &[0x0a, 0][..]), "{name}");
        let pushed = running.last();
        assert_eq!(pushed.body, body, "{name}");
        assert_eq!((pushed.protocol, pushed.sender.as_deref()), ("OTLP HTTP", Some("OTel-é/1")));
        assert_eq!(pushed.tenant.as_str(), "single-tenant");
    }
    let pushed = running.push.pushed.lock().unwrap().len();
    let bomb = gzip(&vec![0; 50 << 20]);
    for (encoding, bytes) in [("gzip", &bomb), ("identity", &vec![0; 200_001])] {
        let headers = [PROTOBUF, ("content-encoding", encoding)];
        let answer = running.http("POST", "/v1/traces", &headers, bytes).await;
        assert_eq!(answer.status, 413, "{encoding}");
        assert_eq!(answer.header("content-type"), "application/x-protobuf");
        assert!(String::from_utf8_lossy(&answer.body).contains("larger than 200000 bytes"));
    }
    let answer = running.http("POST", "/v1/traces", &[JSON], &vec![b' '; 200_001]).await;
    assert_eq!(answer.status, 413);
    for bad in ["zstd", "deflate", "gzip"] {
        let headers = [JSON, ("content-encoding", bad)];
        let answer = running.http("POST", "/v1/traces", &headers, b"this is no compressed body").await;
        assert_eq!(answer.status, 400, "{bad}");
        assert!(answer.text().starts_with(r#"{"code":3,"message":""#), "{bad}: {answer:?}");
    }
    assert_eq!(running.push.pushed.lock().unwrap().len(), pushed);
}

#[tokio::test]
async fn errors_and_partial_success() {
    let running = start(OtlpConfig::default()).await;
    let good = "cccccccccccccccccccccccccccccccc";
    let post =
        || async { running.http("POST", "/v1/traces", &[JSON], two_spans(good, good).as_bytes()).await };
    for (kind, wait, status, after, code) in [
        (ErrorKind::Invalid, None, 400, "", 3),
        (ErrorKind::TooLarge, None, 413, "", 8),
        (ErrorKind::Exhausted, None, 429, "5", 8),
        (ErrorKind::Exhausted, Some(1500), 429, "2", 8),
        (ErrorKind::Unavailable, None, 503, "", 14),
        (ErrorKind::Unavailable, Some(0), 503, "1", 14),
        (ErrorKind::Deadline, None, 503, "", 4),
        (ErrorKind::Internal, None, 500, "", 13),
    ] {
        running.answers(move |_| {
            Err(PushError {
                retry_after: wait.map(Duration::from_millis),
                ..PushError::new(kind, "a \"why\"")
            })
        });
        let answer = post().await;
        assert_eq!((answer.status, answer.header("retry-after")), (status, after), "{kind:?}");
        assert_eq!(answer.text(), format!(r#"{{"code":{code},"message":"a \"why\""}}"#));
    }
    running.answers(|_| Ok(PushResponse { accepted: 1, refused: vec![(1, "late".into())] }));
    let refused =
        r#"{"partialSuccess":{"rejectedSpans":"1","errorMessage":"1 spans refused: span 1: late"}}"#;
    assert_eq!(post().await.text(), refused);
    // The first span is lost in the conversion, the second is first in the protobuf and refused there.
    running.answers(|_| Ok(PushResponse { accepted: 0, refused: vec![(0, "late".into())] }));
    let answer = running.http("POST", "/v1/traces", &[JSON], two_spans("abc", good).as_bytes()).await;
    assert_eq!(answer.status, 200);
    assert!(
        answer.text().starts_with(
            r#"{"partialSuccess":{"rejectedSpans":"2","errorMessage":"2 spans refused: span 0: "#
        )
    );
    assert!(answer.text().ends_with(r#"; span 1: late"}}"#), "{}", answer.text());
}

#[tokio::test]
async fn wrong_doors_say_where_the_right_one_is() {
    let running = start(OtlpConfig::default()).await;
    let answer = running.http("POST", "/", &[JSON], b"{}").await;
    assert_eq!((answer.status, answer.text()), (404, "404 page not found: the path is /v1/traces\n"));
    assert_eq!(running.http("POST", "/v1/metrics", &[PROTOBUF], b"").await.status, 404);
    let charset = [("content-type", "application/json; charset=utf-8")];
    assert_eq!(running.http("POST", "/v1/traces", &charset, b"{}").await.status, 200);
}

#[tokio::test]
async fn browsers_ask_first() {
    let cors = CorsConfig {
        allowed_origins: vec!["http://localhost:*".into()],
        allowed_headers: vec!["X-Scope-OrgID".into()],
        max_age: Duration::from_secs(60),
    };
    let running = start(OtlpConfig { cors, ..OtlpConfig::default() }).await;
    let ask = |origin| {
        let headers = [("origin", origin), ("access-control-request-method", "POST")];
        let running = &running;
        async move { running.http("OPTIONS", "/v1/traces", &headers, b"").await }
    };
    let yes = ask("http://localhost:5173").await;
    assert_eq!(yes.status, 204);
    assert_eq!(yes.header("access-control-allow-origin"), "http://localhost:5173");
    assert_eq!(yes.header("access-control-allow-methods"), "POST");
    assert!(
        yes.header("access-control-allow-headers").ends_with("Content-Type, X-Requested-With, X-Scope-OrgID")
    );
    assert_eq!((yes.header("access-control-max-age"), yes.header("vary")), ("60", "Origin"));
    assert_eq!(yes.header("access-control-allow-credentials"), "true", "a beacon has them");
    let no = ask("http://evil.example").await;
    assert_eq!((no.status, no.header("access-control-allow-origin")), (403, ""));
    assert_eq!(no.header("access-control-allow-credentials"), "");
    let text = "origin http://evil.example refused; allow it in distributor.receivers.otlp.protocols.http.cors.allowed_origins\n";
    assert_eq!(no.text(), text);
    let headers = [JSON, ("origin", "http://localhost:1")];
    let post = running.http("POST", "/v1/traces", &headers, b"{}").await;
    assert_eq!((post.status, post.header("access-control-allow-origin")), (200, "http://localhost:1"));
}

#[tokio::test]
async fn tenants_are_named() {
    let running = start(OtlpConfig { multitenancy: true, ..OtlpConfig::default() }).await;
    let missing = running.http("POST", "/v1/traces", &[JSON], b"{}").await;
    assert_eq!((missing.status, missing.text()), (503, r#"{"code":14,"message":"no org id"}"#));
    let bad = running.http("POST", "/v1/traces", &[JSON, ("x-scope-orgid", "a/b")], b"{}").await;
    assert_eq!(bad.status, 400);
    let good = running.http("POST", "/v1/traces", &[JSON, ("x-scope-orgid", "team-a")], b"{}").await;
    assert_eq!((good.status, running.last().tenant.as_str()), (200, "team-a"));
}

#[tokio::test]
async fn tls_is_hung_up_on_and_the_end_is_clean() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let running = start(OtlpConfig::default()).await;
    let mut stream = tokio::net::TcpStream::connect(&running.address).await.unwrap();
    stream.write_all(&[0x16]).await.unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await; // a reset is as good as an end
    assert!(rest.is_empty());
    // A connection that has said nothing does not hold up the end.
    let _idle = tokio::net::TcpStream::connect(&running.address).await.unwrap();
    running.shutdown.cancel();
    running.task.await.unwrap().unwrap();
}
