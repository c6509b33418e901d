//! The look at a bucket: what it says about everything that may be wrong with it, one line each.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use http::Method;
use trackway_common::Secret;
use trackway_peers::{ACCESS_KEY, Authority, Fault, S3Server, SECRET_KEY, Tls};
use trackway_storage::stores::{Retry, S3Config, StoreConfig, TlsConfig, check, open};
use uuid::Uuid;

fn config(endpoint: &str) -> S3Config {
    S3Config {
        section: "storage.trace.s3".to_owned(),
        bucket: "tempo-traces".to_owned(),
        prefix: "some/where".to_owned(),
        endpoint: endpoint.to_owned(),
        access_key: ACCESS_KEY.to_owned(),
        secret_key: Secret::new(SECRET_KEY),
        insecure: true,
        retry: Retry {
            attempts: 2,
            backoff_initial: Duration::from_millis(1),
            backoff_max: Duration::from_millis(2),
        },
        ..S3Config::default()
    }
}

async fn look(config: S3Config, read_only: bool) -> Result<bool, String> {
    let opened = open(&StoreConfig::S3(Box::new(config)), &|_| None).await.map_err(|e| e.to_string())?;
    let facts = check(&opened, read_only, Uuid::nil()).await.map_err(|error| error.to_string())?;
    Ok(facts.conditional_put)
}

/// Fails unless the look says one line with these texts.
async fn says(config: S3Config, texts: &[&str]) {
    let said = look(config, false).await.unwrap_err();
    for text in texts {
        assert!(said.contains(text), "{text:?} is not in: {said}");
    }
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(!said.contains(SECRET_KEY), "{said}");
}

#[tokio::test]
async fn wrong_settings_are_named() {
    let server = S3Server::start(&["tempo-traces"]);
    let right = || config(&server.endpoint);
    let shown = format!("s3://tempo-traces/some/where at http://{}", server.endpoint);
    assert_eq!(look(right(), false).await, Ok(true));
    says(
        S3Config { bucket: "other".to_owned(), ..right() },
        &[
            "cannot list s3://other/some/where",
            "no such bucket; create it, or correct storage.trace.s3.bucket",
        ],
    )
    .await;
    says(
        S3Config { access_key: "nobody".to_owned(), ..right() },
        &[&shown, "does not know the access key \"nobody\"; correct storage.trace.s3.access_key"],
    )
    .await;
    says(
        S3Config { secret_key: Secret::new("wrong"), ..right() },
        &[&shown, "the signature is wrong; correct storage.trace.s3.secret_key"],
    )
    .await;
    says(
        S3Config { endpoint: "127.0.0.1:1".to_owned(), ..right() },
        &["nobody listens at http://127.0.0.1:1; start the server, or correct storage.trace.s3.endpoint"],
    )
    .await;
    says(
        S3Config { endpoint: "no-such-host.invalid:9000".to_owned(), ..right() },
        &["no-such-host.invalid:9000 cannot be resolved; correct storage.trace.s3.endpoint"],
    )
    .await;
    says(
        S3Config { insecure: false, ..right() },
        &["speaks plain HTTP and was asked in TLS; set storage.trace.s3.insecure to true"],
    )
    .await;
}

#[tokio::test]
async fn what_the_server_refuses_is_named() {
    let server = S3Server::start(&["tempo-traces"]);
    let probe = "trackway_probe";
    for (fault, texts) in [
        (
            Fault::always(Method::GET, 403, "AccessDenied").at("list-type"),
            ["cannot list", "no permission; grant s3:ListBucket"],
        ),
        (
            Fault::always(Method::PUT, 403, "AccessDenied"),
            ["cannot write to", "no permission; grant s3:PutObject"],
        ),
        (
            Fault::always(Method::GET, 403, "AccessDenied").at(probe),
            ["cannot read from", "no permission; grant s3:GetObject"],
        ),
        (
            Fault::always(Method::POST, 403, "AccessDenied").at("?delete"),
            ["cannot delete from", "no permission; grant s3:DeleteObject"],
        ),
        (
            Fault::always(Method::GET, 403, "RequestTimeTooSkewed"),
            ["cannot list", "clock and the server's are too far apart; set the clocks (NTP)"],
        ),
        (
            Fault::always(Method::GET, 301, "PermanentRedirect"),
            ["another region", "correct storage.trace.s3.region"],
        ),
        (
            Fault::always(Method::GET, 400, "ExpiredToken"),
            ["session token", "storage.trace.s3.session_token"],
        ),
        (Fault::always(Method::GET, 503, "SlowDown"), ["cannot list", "SlowDown: on demand"]),
    ] {
        server.fault(fault);
        says(config(&server.endpoint), &texts).await;
        server.heal();
        assert_eq!(look(config(&server.endpoint), false).await, Ok(true));
    }
}

#[tokio::test]
async fn a_reader_writes_nothing() {
    let server = S3Server::start(&["tempo-traces"]);
    for method in [Method::PUT, Method::POST, Method::DELETE] {
        server.fault(Fault::always(method, 403, "AccessDenied"));
    }
    let reader = || S3Config { prefix: String::new(), ..config(&server.endpoint) };
    look(reader(), true).await.unwrap();
    std::fs::write(server.bucket("tempo-traces").join("object"), "some bytes").unwrap();
    server.seen();
    look(reader(), true).await.unwrap();
    let seen: Vec<String> = server.seen().into_iter().map(|(m, at, _)| format!("{m} {at}")).collect();
    assert!(seen.iter().all(|request| request.starts_with("GET ")), "{seen:?}");
    assert!(seen.iter().any(|request| request.ends_with("/tempo-traces/object")), "{seen:?}");
    server.fault(Fault::always(Method::GET, 403, "AccessDenied").at("/object"));
    let said = look(reader(), true).await.unwrap_err();
    assert!(said.contains("grant s3:GetObject"), "{said}");
}

#[tokio::test]
async fn tls_is_as_configured() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    let own = authority.issue("127.0.0.1");
    let server = S3Server::start_with(&["tempo-traces"], Some(Tls { own: own.clone(), clients: None }));
    let with = |tls: TlsConfig| S3Config { insecure: false, tls, ..config(&server.endpoint) };
    let ca = TlsConfig { ca_path: authority.certificate(), ..TlsConfig::default() };
    assert_eq!(look(with(ca.clone()), false).await, Ok(true));
    let skip = TlsConfig { insecure_skip_verify: true, ..TlsConfig::default() };
    assert_eq!(look(with(skip), false).await, Ok(true));
    let suites = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_AES_128_GCM_SHA256".to_owned();
    let narrow = TlsConfig { cipher_suites: suites, min_version: "VersionTLS13".to_owned(), ..ca.clone() };
    assert_eq!(look(with(narrow), false).await, Ok(true));
    says(
        with(TlsConfig::default()),
        &["of an authority that is not trusted; name the file with its authority in storage.trace.s3.tls_ca_path"],
    )
    .await;
    let other = TlsConfig { server_name: "minio.example".to_owned(), ..ca.clone() };
    says(with(other), &["is of another name", "storage.trace.s3.tls_server_name"]).await;
    says(
        S3Config { insecure: true, ..with(ca.clone()) },
        &["speaks TLS and was asked in plain HTTP; set storage.trace.s3.insecure to false"],
    )
    .await;
    for (tls, text) in [
        (TlsConfig { ca_path: "/nowhere/ca.pem".to_owned(), ..ca.clone() }, "tls_ca_path: /nowhere/ca.pem: "),
        (TlsConfig { ca_path: own.1.clone(), ..ca.clone() }, "there is no certificate in it"),
        (TlsConfig { cert_path: own.0.clone(), ..ca.clone() }, "storage.trace.s3.tls_key_path: is empty"),
        (TlsConfig { min_version: "TLS12".to_owned(), ..ca.clone() }, "tls_min_version: is \"TLS12\""),
        (
            TlsConfig { cipher_suites: "RC4".to_owned(), ..ca.clone() },
            "tls_cipher_suites: RC4 is not supported",
        ),
    ] {
        says(with(tls), &[text]).await;
    }
}

#[tokio::test]
async fn a_certificate_may_have_another_name_and_clients_one_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    let (own, client) = (authority.issue("minio.example"), authority.issue("trackway"));
    let tls = Tls { own, clients: Some(authority.certificate()) };
    let server = S3Server::start_with(&["tempo-traces"], Some(tls));
    let named = TlsConfig {
        ca_path: authority.certificate(),
        server_name: "minio.example".to_owned(),
        ..TlsConfig::default()
    };
    let with = |tls: TlsConfig| S3Config { insecure: false, tls, ..config(&server.endpoint) };
    let known = TlsConfig { cert_path: client.0, key_path: client.1, ..named.clone() };
    assert_eq!(look(with(known), false).await, Ok(true));
    says(with(named), &["wants a certificate of ours; name it in storage.trace.s3.tls_cert_path"]).await;
}
