//! The client against a receiver on a loopback port that answers as it is told, and keeps what it got.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod receiver;

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use receiver::{Receiver, Reply};
use trackway_common::{Secret, SystemRandom};
use trackway_peers::Authority;
use trackway_remote_write::{
    Authorization, BasicAuth, Client, Encoder, Endpoint, MAX_ANSWER, MAX_REDIRECTS, MAX_RETRY_AFTER,
    MetricKind, Protocol, Request, Sample, SendError, Sent, Series, SigV4,
};
use trackway_tls::TlsConfig;

const VERSION: &str = "x-prometheus-remote-write-version";
const WRITTEN: &str = "x-prometheus-remote-write-samples-written";

fn open(endpoint: &Endpoint) -> Client {
    Client::open(endpoint, Arc::new(SystemRandom)).unwrap()
}

fn request(protocol: Protocol) -> Request {
    let samples = [Sample { timestamp_ms: 1, value: 2.0 }];
    let labels = [("__name__", "m")];
    let mut encoder = Encoder::new(protocol);
    let kind = MetricKind::Counter;
    encoder
        .add(&Series { labels: &labels, kind, samples: &samples, exemplars: &[], histograms: &[] })
        .unwrap();
    encoder.finish()
}

fn header(name: &'static str, value: &'static str) -> (HeaderName, HeaderValue) {
    (HeaderName::from_static(name), HeaderValue::from_static(value))
}

/// The `Authorization` that one request has.
async fn authorization(receiver: &Receiver, client: &Client) -> Option<String> {
    client.send(&request(Protocol::V1), &[]).await.unwrap();
    receiver.take().pop().unwrap().header("authorization")
}

#[tokio::test]
async fn a_request_is_as_its_protocol_wants_it() {
    let receiver = Receiver::start().await;
    let client = open(&receiver.endpoint());
    let sorts = [
        (Protocol::V1, "application/x-protobuf", "0.1.0"),
        (Protocol::V2, "application/x-protobuf;proto=io.prometheus.write.v2.Request", "2.0.0"),
    ];
    for (protocol, kind, version) in sorts {
        let request = request(protocol);
        receiver.answer(Reply::new(204).with(WRITTEN, "1"));
        let sent = client.send(&request, &[]).await.unwrap();
        assert_eq!(sent, Sent { samples: Some(1), ..Sent::default() });
        let got = receiver.take().pop().unwrap();
        assert_eq!((got.method.as_str(), got.path.as_str()), ("POST", "/api/v1/push"));
        assert_eq!(got.body, request.body);
        let agent = concat!("trackway/", env!("CARGO_PKG_VERSION"));
        for (name, want) in [
            ("content-type", kind),
            ("content-encoding", "snappy"),
            (VERSION, version),
            ("user-agent", agent),
        ] {
            assert_eq!(got.header(name).as_deref(), Some(want), "{name}");
        }
        assert_eq!(got.header("authorization"), None);
    }
    assert_eq!(receiver.connections(), 1, "the connection is kept");
}

#[tokio::test]
async fn numbers_of_what_was_written() {
    let receiver = Receiver::start().await;
    let client = open(&receiver.endpoint());
    let reply = Reply::new(200)
        .with(WRITTEN, "1")
        .with("x-prometheus-remote-write-histograms-written", "2")
        .with("x-prometheus-remote-write-exemplars-written", "x");
    receiver.answer(reply);
    let sent = client.send(&request(Protocol::V2), &[]).await;
    assert_eq!(sent, Ok(Sent { samples: Some(1), histograms: Some(2), exemplars: None }));
    receiver.answer(Reply::new(200));
    assert_eq!(client.send(&request(Protocol::V1), &[]).await, Ok(Sent::default()));
}

#[tokio::test]
async fn answers_are_told_apart() {
    let receiver = Receiver::start().await;
    let free = open(&receiver.endpoint());
    let pinned = open(&Endpoint { protobuf_message: Some(Protocol::V2), ..receiver.endpoint() });
    let (ok, retry, rejected, unsupported) = ("ok", "retry", "rejected", "unsupported");
    let (v1, v2) = (Protocol::V1, Protocol::V2);
    let cases = [
        (&free, v1, 200, ok),
        (&free, v1, 204, ok),
        (&free, v1, 429, retry),
        (&free, v1, 500, retry),
        (&free, v1, 502, retry),
        (&free, v1, 503, retry),
        (&free, v1, 599, retry),
        (&free, v1, 400, rejected),
        (&free, v1, 401, rejected),
        (&free, v1, 404, rejected),
        (&free, v1, 408, rejected),
        (&free, v1, 413, rejected),
        (&free, v1, 415, rejected),
        (&free, v1, 304, rejected),
        (&free, v2, 415, unsupported),
        // Taken without a word of what was written: by one that read nothing in it.
        (&free, v2, 200, unsupported),
        (&pinned, v2, 415, rejected),
        (&pinned, v2, 200, rejected),
        (&free, v2, 400, rejected),
        (&free, v2, 503, retry),
    ];
    for (client, protocol, status, want) in cases {
        receiver.answer(Reply::new(status).saying("because\n  of\tthis\0"));
        let found = client.send(&request(protocol), &[]).await;
        let told = match &found {
            Ok(_) => ok,
            Err(SendError::Unsupported) => unsupported,
            Err(SendError::Retry { after: None, status: Some(code), .. }) if *code == status => retry,
            Err(SendError::Rejected { status: code, .. }) if *code == status => rejected,
            Err(_) => "something else",
        };
        assert_eq!(told, want, "{protocol} {status}: {found:?}");
        if let Err(error) = found
            && status >= 400
            && told != unsupported
        {
            let message = error.to_string();
            let begins = format!("http://127.0.0.1:{}/api/v1/push answers {status} ", receiver.port());
            assert!(message.starts_with(&begins) && message.contains(": because of this"), "{message}");
            let hints = message.ends_with("; does it take protobuf_message: prometheus.WriteRequest?");
            assert_eq!(hints, status == 415 && protocol == v2, "{message}");
        }
    }
    receiver.answer(Reply::new(200));
    let message = pinned.send(&request(v2), &[]).await.unwrap_err().to_string();
    assert!(message.contains("set protobuf_message: prometheus.WriteRequest"), "{message}");
}

#[tokio::test]
async fn a_receiver_says_how_long_it_wants_to_be_left_alone() {
    let receiver = Receiver::start().await;
    let client = open(&receiver.endpoint());
    let date = ("date", "Wed, 21 Oct 2015 07:28:00 GMT");
    let cases = [
        (Some("7"), date, Some(7)),
        (Some(" 0 "), date, Some(0)),
        (Some("Wed, 21 Oct 2015 07:28:09 GMT"), date, Some(9)),
        // It is over already.
        (Some("Wed, 21 Oct 2015 07:27:00 GMT"), date, Some(0)),
        // No year of waiting.
        (Some("31536000"), date, Some(MAX_RETRY_AFTER.as_secs())),
        (Some("Fri, 21 Oct 2016 07:28:09 GMT"), date, Some(MAX_RETRY_AFTER.as_secs())),
        (Some("soon"), date, None),
        (Some("-5"), date, None),
        (None, date, None),
    ];
    for (after, (name, value), want) in cases {
        for status in [429, 503] {
            let mut reply = Reply::new(status).with(name, value);
            if let Some(after) = after {
                reply = reply.with("retry-after", after);
            }
            receiver.answer(reply);
            let Err(SendError::Retry { after: found, .. }) = client.send(&request(Protocol::V1), &[]).await
            else {
                panic!("{after:?}")
            };
            let want = want.map(Duration::from_secs);
            assert_eq!(found.is_some(), want.is_some(), "{after:?}");
            if let (Some(found), Some(want)) = (found, want) {
                // Up to a quarter more, so that not all come back at once.
                assert!(found >= want && found <= want.mul_f64(1.25), "{after:?}: {found:?}");
            }
        }
    }
}

#[tokio::test]
async fn each_way_to_say_who_sends() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let receiver = Receiver::start().await;
    let plain = receiver.endpoint();
    let basic = |auth: BasicAuth| Endpoint { basic_auth: Some(auth), ..plain.clone() };
    let other = |auth: Authorization| Endpoint { authorization: Some(auth), ..plain.clone() };
    let with_user =
        |user: &str| Endpoint { url: plain.url.replace("//", &format!("//{user}@")), ..plain.clone() };
    let (user, password) = ("me".to_owned(), Secret::new("pässword"));
    let cases = [
        (plain.clone(), None),
        (
            basic(BasicAuth { username: user.clone(), password: password.clone(), ..BasicAuth::default() }),
            Some("Basic bWU6cMOkc3N3b3Jk"),
        ),
        (
            basic(BasicAuth {
                username_file: file("user", "me\n"),
                password_file: file("password", "pässword\n"),
                ..BasicAuth::default()
            }),
            Some("Basic bWU6cMOkc3N3b3Jk"),
        ),
        (basic(BasicAuth { username: user.clone(), ..BasicAuth::default() }), Some("Basic bWU6")),
        (
            other(Authorization { credentials: Secret::new("t0ken"), ..Authorization::default() }),
            Some("Bearer t0ken"),
        ),
        (
            other(Authorization {
                kind: "Key".to_owned(),
                credentials_file: file("key", " t1ken \n"),
                ..Authorization::default()
            }),
            Some("Key t1ken"),
        ),
        (Endpoint { bearer_token: Secret::new("t2ken"), ..plain.clone() }, Some("Bearer t2ken")),
        (Endpoint { bearer_token_file: file("bearer", "t3ken"), ..plain.clone() }, Some("Bearer t3ken")),
        (with_user("me:p%C3%A4ssword"), Some("Basic bWU6cMOkc3N3b3Jk")),
        // What is set counts more than what is in the address.
        (Endpoint { bearer_token: Secret::new("t2ken"), ..with_user("me:x") }, Some("Bearer t2ken")),
    ];
    for (endpoint, want) in cases {
        let client = open(&endpoint);
        assert_eq!(authorization(&receiver, &client).await.as_deref(), want, "{endpoint:?}");
        for shown in [format!("{client:?}"), format!("{endpoint:?}")] {
            for secret in ["pässword", "t0ken", "t2ken", "cMOkc3N3b3Jk"] {
                assert!(!shown.contains(secret), "{shown}");
            }
        }
    }
    // A tenant's own counts most.
    let client = open(&Endpoint { bearer_token: Secret::new("t2ken"), ..plain });
    client.send(&request(Protocol::V1), &[header("authorization", "Bearer own")]).await.unwrap();
    assert_eq!(receiver.take().pop().unwrap().header("authorization").as_deref(), Some("Bearer own"));
}

#[tokio::test]
async fn files_are_read_for_every_request() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let receiver = Receiver::start().await;
    let shown = path.display().to_string();
    let credentials = Authorization { credentials_file: shown.clone(), ..Authorization::default() };
    let client = open(&Endpoint { authorization: Some(credentials), ..receiver.endpoint() });
    let failed = || async {
        let error = client.send(&request(Protocol::V1), &[]).await.unwrap_err();
        let SendError::Retry { after: None, status: None, message } = error else { panic!("{error:?}") };
        assert!(message.starts_with(&format!("authorization.credentials_file: {shown}")), "{message}");
        message
    };
    assert!(failed().await.contains("No such file"));
    for token in ["one", "two"] {
        std::fs::write(&path, token).unwrap();
        assert_eq!(authorization(&receiver, &client).await, Some(format!("Bearer {token}")));
    }
    std::fs::write(&path, "s3cret\nand more").unwrap();
    let message = failed().await;
    assert!(message.contains("more than one line") && !message.contains("s3cret"), "{message}");
    std::fs::write(&path, "x".repeat(100_000)).unwrap();
    assert!(failed().await.contains("is larger than 65536 bytes"));
    assert!(receiver.take().is_empty(), "nothing goes out without what it needs");
}

#[tokio::test]
async fn a_tenants_headers_go_over_the_endpoints_and_under_the_protocols() {
    let receiver = Receiver::start().await;
    let headers = [("X-Scope-OrgID", "all"), ("X-One", "1"), ("x-two", "2")];
    let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), Secret::new(value))).collect();
    let client = open(&Endpoint { headers, ..receiver.endpoint() });
    let extra = [
        header("x-scope-orgid", "tenant"),
        header("x-two", "zwei"),
        header("x-three", "3"),
        header("content-type", "text/plain"),
        header(VERSION, "9"),
    ];
    client.send(&request(Protocol::V1), &extra).await.unwrap();
    let got = receiver.take().pop().unwrap();
    for (name, want) in [
        ("x-scope-orgid", "tenant"),
        ("x-one", "1"),
        ("x-two", "zwei"),
        ("x-three", "3"),
        ("content-type", "application/x-protobuf"),
        (VERSION, "0.1.0"),
    ] {
        assert_eq!(got.header(name).as_deref(), Some(want), "{name}");
    }
}

#[tokio::test]
async fn a_receiver_is_asked_what_it_takes() {
    let receiver = Receiver::start().await;
    let client = open(&receiver.endpoint());
    let cases = [
        (Reply::new(204).with(WRITTEN, "0"), Ok(Protocol::V2)),
        (Reply::new(200), Ok(Protocol::V1)),
        (Reply::new(415), Ok(Protocol::V1)),
        (Reply::new(400), Ok(Protocol::V1)),
        (Reply::new(404), Ok(Protocol::V1)),
        (Reply::new(401), Err(401)),
        (Reply::new(403), Err(403)),
        (Reply::new(407), Err(407)),
        (Reply::new(429), Err(429)),
        (Reply::new(302), Err(302)),
        (Reply::new(500), Err(500)),
        (Reply::new(503), Err(503)),
    ];
    for (reply, want) in cases {
        receiver.answer(reply);
        let found = client.negotiate(&[header("x-scope-orgid", "tenant")]).await;
        match (&found, want) {
            (Ok(found), Ok(want)) => assert_eq!(*found, want),
            (Err(SendError::Retry { status, .. }), Err(want)) => assert_eq!(*status, Some(want)),
            (found, want) => panic!("{found:?}, {want:?}"),
        }
        let got = receiver.take().pop().unwrap();
        assert_eq!(got.header(VERSION).as_deref(), Some("2.0.0"));
        assert_eq!(got.header("x-scope-orgid").as_deref(), Some("tenant"));
        assert_eq!(snap::raw::Decoder::new().decompress_vec(&got.body).unwrap(), b"\x22\0");
    }
    for pinned in [Protocol::V1, Protocol::V2] {
        let client = open(&Endpoint { protobuf_message: Some(pinned), ..receiver.endpoint() });
        assert_eq!(client.negotiate(&[]).await, Ok(pinned));
    }
    assert!(receiver.take().is_empty(), "nothing is asked that is set");
}

#[tokio::test]
async fn redirects_keep_the_request_and_no_other_host_gets_a_secret() {
    let receiver = Receiver::start().await;
    let headers = [("x-key", "s3cret"), ("X-Scope-OrgID", "t")];
    let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), Secret::new(value))).collect();
    let endpoint = Endpoint { headers, bearer_token: Secret::new("t0ken"), ..receiver.endpoint() };
    let client = open(&endpoint);
    let sent = request(Protocol::V1);
    let elsewhere = format!("http://localhost:{}/there", receiver.port());
    for (status, place, secret) in [(307, "/there", true), (308, "there", true), (307, &elsewhere, false)] {
        receiver.answer(Reply::new(status).with("location", place));
        client.send(&sent, &[]).await.unwrap();
        let got = receiver.take().pop().unwrap();
        assert_eq!((got.method.as_str(), &got.body), ("POST", &sent.body));
        assert!(got.path.ends_with("/there"), "{}", got.path);
        for (name, want) in [("authorization", "Bearer t0ken"), ("x-key", "s3cret")] {
            assert_eq!(got.header(name).as_deref(), secret.then_some(want), "{place}");
        }
        assert_eq!(got.header("content-encoding").as_deref(), Some("snappy"));
        assert_eq!(got.header("x-scope-orgid").as_deref(), Some("t"));
    }
    // These would turn the request into a question.
    for status in [301, 302, 303] {
        receiver.answer(Reply::new(status).with("location", "https://u:p@b.example/write?token=x"));
        let error = client.send(&sent, &[]).await.unwrap_err();
        assert!(matches!(error, SendError::Rejected { status: code, .. } if code == status), "{error:?}");
        let message = error.to_string();
        assert!(message.ends_with("it is at https://b.example/write: write that into url"), "{message}");
        assert_eq!(receiver.take().len(), 1);
    }
    let stays = open(&Endpoint { follow_redirects: false, ..endpoint });
    receiver.answer(Reply::new(307).with("location", "/there"));
    assert!(matches!(stays.send(&sent, &[]).await, Err(SendError::Rejected { status: 307, .. })));
    receiver.take();
    for _ in 0..=MAX_REDIRECTS {
        receiver.answer(Reply::new(307).with("location", "/api/v1/push"));
    }
    let error = client.send(&sent, &[]).await.unwrap_err();
    assert!(matches!(error, SendError::Retry { status: None, .. }), "{error:?}");
    assert_eq!(receiver.take().len(), MAX_REDIRECTS + 1);
}

#[tokio::test]
async fn messages_are_short_and_show_no_secret() {
    let receiver = Receiver::start().await;
    let url = receiver.endpoint().url.replace("//", "//u:p4ss@") + "?token=t0ken";
    let headers = [("x-key".to_owned(), Secret::new("s3cret"))].into();
    let client = open(&Endpoint { url, headers, ..receiver.endpoint() });
    receiver.answer(Reply::new(400).saying("no s3cret and no dTpwNHNz nor own1 here, tenant"));
    let extra = [header("x-own", "own1"), header("x-scope-orgid", "tenant")];
    let error = client.send(&request(Protocol::V1), &extra).await.unwrap_err().to_string();
    let want = format!(
        "http://127.0.0.1:{}/api/v1/push answers 400 Bad Request: \
         no <secret> and no <secret> nor <secret> here, tenant",
        receiver.port()
    );
    assert_eq!(error, want);
    receiver.answer(Reply::new(500).saying(&"ä".repeat(1_000_000)));
    let error = client.send(&request(Protocol::V1), &[]).await.unwrap_err().to_string();
    assert!(error.len() > MAX_ANSWER && error.len() < MAX_ANSWER + 100, "{}", error.len());
    let got = receiver.take();
    assert!(got.iter().all(|got| got.path == "/api/v1/push?token=t0ken"), "{got:?}");
}

#[tokio::test]
async fn a_receiver_that_is_silent_or_away_may_come_back() {
    let receiver = Receiver::start().await;
    let soon = Duration::from_millis(50);
    let client = open(&Endpoint { remote_timeout: soon, ..receiver.endpoint() });
    receiver.answer(Reply::never());
    let sent = request(Protocol::V1);
    let sent = tokio::time::timeout(50 * soon, client.send(&sent, &[]));
    let error = sent.await.expect("an end in time").unwrap_err();
    let SendError::Retry { after: None, status: None, message } = error else { panic!("{error:?}") };
    assert!(message.ends_with("does not answer within 50ms (remote_timeout)"), "{message}");

    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let client = open(&Endpoint { url: format!("http://u:p4ss@{free}/?t0ken"), ..Endpoint::default() });
    for error in [
        client.send(&request(Protocol::V1), &[]).await.unwrap_err(),
        client.negotiate(&[]).await.unwrap_err(),
    ] {
        let SendError::Retry { after: None, status: None, message } = error else { panic!("{error:?}") };
        let begins = format!("cannot connect to http://{free}/: ");
        assert!(message.starts_with(&begins) && message.contains("refused"), "{message}");
    }
}

#[tokio::test]
async fn tls_with_an_authority_and_a_certificate_of_ones_own() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    let (cert_path, key_path) = authority.issue("sender");
    for demands in [false, true] {
        let receiver = Receiver::with_tls(&authority, demands).await;
        let ca = TlsConfig { ca_path: authority.certificate(), ..TlsConfig::default() };
        let known = TlsConfig { cert_path: cert_path.clone(), key_path: key_path.clone(), ..ca.clone() };
        let renamed = TlsConfig { server_name: "elsewhere".to_owned(), ..known.clone() };
        let any = TlsConfig { insecure_skip_verify: true, ca_path: String::new(), ..known.clone() };
        let unknown = TlsConfig::default();
        for (tls, works) in [(ca, !demands), (known, true), (renamed, false), (any, true), (unknown, false)] {
            let client = open(&Endpoint { tls, ..receiver.endpoint() });
            let sent = client.send(&request(Protocol::V1), &[]).await;
            match (&sent, works) {
                (Ok(_), true) | (Err(SendError::Retry { status: None, .. }), false) => {}
                _ => panic!("{demands}: {sent:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_signature_of_aws() {
    let receiver = Receiver::start().await;
    let sigv4 = SigV4 {
        region: "eu-central-1".to_owned(),
        access_key: "AKID".to_owned(),
        secret_key: Secret::new("k3y"),
        ..SigV4::default()
    };
    let url = receiver.endpoint().url + "/a%20b?x=1&a=2";
    let client = open(&Endpoint { url, sigv4: Some(sigv4), ..receiver.endpoint() });
    let sent = request(Protocol::V2);
    receiver.answer(Reply::new(204).with(WRITTEN, "1"));
    client.send(&sent, &[header("x-scope-orgid", "t")]).await.unwrap();
    let got = receiver.take().pop().unwrap();
    let authorization = got.header("authorization").unwrap();
    let date = got.header("x-amz-date").unwrap();
    // By the book: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let sha = |bytes: &[u8]| hex(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref());
    let mac = |key: &[u8], text: &str| {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key);
        ring::hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
    };
    let names = "content-type;host;x-amz-content-sha256;x-amz-date";
    let canonical = format!(
        "POST\n/api/v1/push/a%2520b\na=2&x=1\n\
         content-type:application/x-protobuf;proto=io.prometheus.write.v2.Request\n\
         host:127.0.0.1:{}\nx-amz-content-sha256:{body}\nx-amz-date:{date}\n\n{names}\n{body}",
        receiver.port(),
        body = sha(&sent.body)
    );
    let scope = format!("{}/eu-central-1/aps/aws4_request", &date[..8]);
    let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", sha(canonical.as_bytes()));
    let key = [&date[..8], "eu-central-1", "aps", "aws4_request"]
        .into_iter()
        .fold(b"AWS4k3y".to_vec(), |key, part| mac(&key, part));
    let want = format!(
        "AWS4-HMAC-SHA256 Credential=AKID/{scope}, SignedHeaders={names}, Signature={}",
        hex(&mac(&key, &to_sign))
    );
    assert_eq!(authorization, want);
}

#[test]
#[allow(clippy::too_many_lines)] // a table
fn what_cannot_be_used_is_named() {
    let plain = Endpoint { url: "http://a.example/write".to_owned(), ..Endpoint::default() };
    let url = |url: &str| Endpoint { url: url.to_owned(), ..plain.clone() };
    let head = |name: &str, value: &str| Endpoint {
        headers: [(name.to_owned(), Secret::new(value))].into(),
        ..plain.clone()
    };
    let tls = |tls: TlsConfig| Endpoint { tls, ..plain.clone() };
    let aws = |region: &str, access: &str, secret: &str| SigV4 {
        region: region.to_owned(),
        access_key: access.to_owned(),
        secret_key: Secret::new(secret),
        ..SigV4::default()
    };
    let signed = |sigv4: SigV4| Endpoint { sigv4: Some(sigv4), ..plain.clone() };
    let text = str::to_owned;
    let basic = BasicAuth { username: text("u"), password: Secret::new("p4ss"), ..BasicAuth::default() };
    let token = |kind: &str, credentials: &str| Endpoint {
        authorization: Some(Authorization {
            kind: text(kind),
            credentials: Secret::new(credentials),
            ..Authorization::default()
        }),
        ..plain.clone()
    };
    let cases = [
        (url(""), "url: is empty; write an address"),
        (url("a.example/s3cret"), "url: is no address"),
        (url("ftp://a.example/"), "url: is neither http nor https"),
        (Endpoint { remote_timeout: Duration::ZERO, ..plain.clone() }, "remote_timeout: is 0"),
        (head("Content-Type", "s3cret"), "headers.Content-Type: is the protocol's own header"),
        (head("Authorization", "s3cret"), "headers.Authorization: is not set this way; use authorization"),
        (head("a b", "s3cret"), "headers.a b: is no name"),
        (head("x-a", "s3cret\n"), "headers.x-a: cannot stand in a header"),
        (
            Endpoint {
                basic_auth: Some(basic.clone()),
                bearer_token: Secret::new("s3cret"),
                ..plain.clone()
            },
            "bearer_token: stands beside basic_auth; keep one",
        ),
        (
            Endpoint { basic_auth: Some(BasicAuth { password_file: text("f"), ..basic }), ..plain.clone() },
            "basic_auth.password_file: stands beside basic_auth.password",
        ),
        (token("basic", "s3cret"), "authorization.type: is Basic; write basic_auth"),
        (token("a\nb", "s3cret"), "authorization.type: cannot stand in a header"),
        (token("", "s3cret\n2"), "authorization.credentials: cannot stand in a header"),
        (token("", ""), "authorization: has neither credentials nor credentials_file"),
        (
            Endpoint { bearer_token: Secret::new("s3cret"), bearer_token_file: text("f"), ..plain.clone() },
            "bearer_token_file: stands beside bearer_token",
        ),
        (tls(TlsConfig { ca_path: text("/none"), ..TlsConfig::default() }), "tls_config.ca_file: /none"),
        (
            tls(TlsConfig { cert_path: text("/none"), ..TlsConfig::default() }),
            "tls_config.key_file: is empty",
        ),
        (
            tls(TlsConfig { min_version: text("x"), ..TlsConfig::default() }),
            "tls_config.min_version: is \"x\"",
        ),
        (signed(aws("", "a", "s3cret")), "sigv4.region: is empty"),
        (signed(aws("r", "", "s3cret")), "sigv4.access_key: is empty"),
        (
            signed(aws("r", "a", "")),
            "sigv4.secret_key: is empty, and no other place is asked for keys; write",
        ),
        (signed(aws("r", "a\n", "s3cret")), "sigv4.access_key: cannot stand in a header"),
        (
            signed(SigV4 { role_arn: text("arn"), ..aws("r", "a", "s3cret") }),
            "sigv4.role_arn: roles are not assumed here; write access_key and secret_key, or",
        ),
        (signed(SigV4 { profile: text("p"), ..aws("r", "", "") }), "sigv4.profile: AWS' files are not read"),
    ];
    for (endpoint, want) in cases {
        let error = Client::open(&endpoint, Arc::new(SystemRandom)).unwrap_err().to_string();
        assert!(error.starts_with(want), "{want}: {error}");
        assert!(!error.contains("s3cret") && !error.contains("p4ss"), "{error}");
    }
    open(&plain);
}
