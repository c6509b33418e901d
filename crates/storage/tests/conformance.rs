//! One suite for every object store: what Trackway relies on, asked of each through the settings that a user writes.
//!
//! The local folder, memory and the S3 of this process are always there. Real servers are started where they are
//! installed, and named as skipped where they are not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use http::Method;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload,
};
use trackway_common::Secret;
use trackway_peers::{ACCESS_KEY, Azurite, Fault, Hdfs, Minio, S3Server, SECRET_KEY, skipped};
use trackway_storage::stores::{
    AzureConfig, AzureLogin, BucketFacts, GcsConfig, HdfsConfig, Hedge, OpenStore, Retry, S3Config, Sse,
    StoreConfig, check, open,
};
use uuid::Uuid;

/// S3's smallest part.
const PART: usize = 5 * 1024 * 1024;

fn path(text: &str) -> Path {
    Path::from(text)
}

/// How a store differs.
#[derive(Clone, Copy)]
struct Manner {
    /// Objects to list.
    many: usize,
    /// Whether keys may have characters that folders do not like.
    odd_keys: bool,
}

impl Default for Manner {
    fn default() -> Self {
        Self { many: 1100, odd_keys: true }
    }
}

async fn suite(store: &Arc<dyn ObjectStore>, manner: Manner) {
    objects(store).await;
    creation(store).await;
    reading(store).await;
    missing(store).await;
    parts(store).await;
    prefixes(store).await;
    if manner.odd_keys {
        odd_keys(store).await;
    }
    listing(store, manner.many).await;
}

async fn body(store: &Arc<dyn ObjectStore>, at: &Path) -> Bytes {
    store.get(at).await.unwrap().bytes().await.unwrap()
}

async fn objects(store: &Arc<dyn ObjectStore>) {
    let at = path("c/objects/one");
    store.put(&at, PutPayload::from_static(b"first")).await.unwrap();
    assert_eq!(body(store, &at).await, "first");
    store.put(&at, PutPayload::from_static(b"second, longer")).await.unwrap();
    assert_eq!(body(store, &at).await, "second, longer");
    let head = store.head(&at).await.unwrap();
    assert_eq!((head.size, head.location), (14, at.clone()));
    let empty = path("c/objects/empty");
    store.put(&empty, PutPayload::new()).await.unwrap();
    assert_eq!(body(store, &empty).await, "");
    store.delete(&at).await.unwrap();
    assert!(matches!(store.head(&at).await, Err(Error::NotFound { .. })));
}

async fn creation(store: &Arc<dyn ObjectStore>) {
    let at = path("c/creation");
    let create = |body: &'static [u8]| {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        store.put_opts(&at, PutPayload::from_static(body), options)
    };
    create(b"mine").await.unwrap();
    let second = create(b"not mine").await;
    let refused = matches!(second, Err(Error::AlreadyExists { .. } | Error::Precondition { .. }));
    assert!(refused, "{second:?}");
    assert_eq!(body(store, &at).await, "mine");
    store.delete(&at).await.unwrap();
    create(b"mine again").await.unwrap();
    assert_eq!(body(store, &at).await, "mine again");
    // Of several at once, one wins.
    let at = path("c/race");
    let race = (0..4_u8).map(|number| {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        store.put_opts(&at, PutPayload::from(vec![number; 64]), options)
    });
    let results = futures::future::join_all(race).await;
    let winners: Vec<usize> = (0..4).filter(|number| results[*number].is_ok()).collect();
    assert_eq!(winners.len(), 1, "{results:?}");
    assert_eq!(body(store, &at).await[0] as usize, winners[0]);
}

async fn reading(store: &Arc<dyn ObjectStore>) {
    let at = path("c/reading");
    let whole: Vec<u8> = (0..10_000_u32).map(|number| (number % 251) as u8).collect();
    store.put(&at, whole.clone().into()).await.unwrap();
    assert_eq!(store.get_range(&at, 17..4000).await.unwrap(), whole[17..4000]);
    let ranges = [0..1, 5..10, 9_990..10_000, 6..7];
    let read = store.get_ranges(&at, &ranges).await.unwrap();
    for (range, read) in ranges.into_iter().zip(read) {
        assert_eq!(read, whole[range.start as usize..range.end as usize], "{range:?}");
    }
    for (range, want) in [
        (GetRange::Suffix(100), &whole[9_900..]),
        (GetRange::Offset(9_000), &whole[9_000..]),
        // A range that goes over the end has what there is.
        (GetRange::Bounded(9_999..20_000), &whole[9_999..]),
    ] {
        let options = GetOptions { range: Some(range.clone()), ..GetOptions::default() };
        let answer = store.get_opts(&at, options).await;
        // Azure serves no suffix: what needs one asks for the size first.
        if matches!(answer, Err(Error::NotSupported { .. })) {
            assert!(matches!(range, GetRange::Suffix(_)));
            continue;
        }
        assert_eq!(answer.unwrap().bytes().await.unwrap(), want, "{range:?}");
    }
}

async fn missing(store: &Arc<dyn ObjectStore>) {
    let at = path("c/missing/object");
    assert!(matches!(store.get(&at).await, Err(Error::NotFound { .. })));
    assert!(matches!(store.head(&at).await, Err(Error::NotFound { .. })));
    assert!(matches!(store.get_range(&at, 0..1).await, Err(Error::NotFound { .. })));
    // Some know that it was not there and some do not; both are fine.
    let deleted = store.delete(&at).await;
    assert!(matches!(deleted, Ok(()) | Err(Error::NotFound { .. })), "{deleted:?}");
    let below = path("c/missing");
    assert!(store.list(Some(&below)).try_collect::<Vec<_>>().await.unwrap().is_empty());
    let listed = store.list_with_delimiter(Some(&below)).await.unwrap();
    assert!(listed.objects.is_empty() && listed.common_prefixes.is_empty());
}

async fn parts(store: &Arc<dyn ObjectStore>) {
    let at = path("c/parts/whole");
    let part = |number: u8, length: usize| vec![number; length];
    let mut upload = store.put_multipart(&at).await.unwrap();
    // Several at once, the last one short.
    let sent: Vec<_> =
        [(1, PART), (2, PART), (3, 1000)].map(|(n, length)| upload.put_part(part(n, length).into())).into();
    futures::future::try_join_all(sent).await.unwrap();
    assert!(matches!(store.head(&at).await, Err(Error::NotFound { .. })), "seen before it is whole");
    upload.complete().await.unwrap();
    let whole = [part(1, PART), part(2, PART), part(3, 1000)].concat();
    assert!(body(store, &at).await == whole, "the parts are not the whole");
    let across = store.get_range(&at, PART as u64 - 3..PART as u64 + 3).await.unwrap();
    assert_eq!(across, [1, 1, 1, 2, 2, 2_u8].as_slice());

    let at = path("c/parts/aborted");
    let mut upload = store.put_multipart(&at).await.unwrap();
    upload.put_part(part(7, PART).into()).await.unwrap();
    // A part that is on its way when it is given up leaves nothing behind either.
    upload.abort().await.unwrap();
    drop(upload);
    assert!(matches!(store.head(&at).await, Err(Error::NotFound { .. })));
    let below = path("c/parts");
    let listed: Vec<_> = store.list(Some(&below)).try_collect().await.unwrap();
    let listed: Vec<_> = listed.into_iter().map(|object| object.location).collect();
    assert_eq!(listed, [path("c/parts/whole")]);
}

async fn prefixes(store: &Arc<dyn ObjectStore>) {
    for at in ["c/p/a/1", "c/p/a/b/2", "c/p/a/b/3", "c/p/ab/4", "c/p/5"] {
        store.put(&path(at), PutPayload::from_static(b"x")).await.unwrap();
    }
    let listed = store.list_with_delimiter(Some(&path("c/p"))).await.unwrap();
    let mut folders = listed.common_prefixes;
    folders.sort();
    assert_eq!(folders, [path("c/p/a"), path("c/p/ab")]);
    let objects: Vec<_> = listed.objects.into_iter().map(|object| object.location).collect();
    assert_eq!(objects, [path("c/p/5")]);
    // `a` is not the beginning of `ab`.
    let below: Vec<_> = store.list(Some(&path("c/p/a"))).try_collect().await.unwrap();
    let mut below: Vec<_> = below.into_iter().map(|object| object.location).collect();
    below.sort();
    assert_eq!(below, [path("c/p/a/1"), path("c/p/a/b/2"), path("c/p/a/b/3")]);
    let later: Vec<_> =
        store.list_with_offset(Some(&path("c/p/a")), &path("c/p/a/b/2")).try_collect().await.unwrap();
    let later: Vec<_> = later.into_iter().map(|object| object.location).collect();
    assert_eq!(later, [path("c/p/a/b/3")]);
}

async fn odd_keys(store: &Arc<dyn ObjectStore>) {
    let keys = [
        "c/odd/with space/and+plus",
        "c/odd/percent%25/100%",
        "c/odd/ünïcode/日本",
        "c/odd/quote'and\"&<>",
        "c/odd/equals=and;semi:colon,comma@at$dollar!",
        "c/odd/(brackets)",
    ];
    for key in keys {
        let at = path(key);
        store.put(&at, PutPayload::from(key.to_owned())).await.unwrap();
        assert_eq!(body(store, &at).await, key);
        assert_eq!(store.head(&at).await.unwrap().location, at);
    }
    let listed: Vec<_> = store.list(Some(&path("c/odd"))).try_collect().await.unwrap();
    let mut listed: Vec<_> = listed.into_iter().map(|object| object.location).collect();
    let mut want: Vec<_> = keys.into_iter().map(path).collect();
    listed.sort();
    want.sort();
    assert_eq!(listed, want);
    for at in want {
        store.delete(&at).await.unwrap();
    }
}

/// More than one page.
async fn listing(store: &Arc<dyn ObjectStore>, many: usize) {
    let at = |number: usize| path(&format!("c/many/{number:05}/meta.json"));
    let puts = (0..many).map(|number| {
        let (store, at) = (Arc::clone(store), at(number));
        async move { store.put(&at, PutPayload::from_static(b"{}")).await }
    });
    use futures::StreamExt;
    let done: Vec<_> = futures::stream::iter(puts).buffer_unordered(16).try_collect().await.unwrap();
    assert_eq!(done.len(), many);
    let below = path("c/many");
    let listed: Vec<_> = store.list(Some(&below)).try_collect().await.unwrap();
    let mut listed: Vec<_> = listed.into_iter().map(|object| object.location).collect();
    listed.sort();
    assert_eq!(listed, (0..many).map(at).collect::<Vec<_>>());
    assert_eq!(store.list_with_delimiter(Some(&below)).await.unwrap().common_prefixes.len(), many);
    let rest: Vec<_> = store.list_with_offset(Some(&below), &at(many - 4)).try_collect().await.unwrap();
    assert_eq!(rest.len(), 3);
    // All at once, as S3 can.
    let gone = futures::stream::iter(listed.into_iter().map(Ok)).boxed();
    let gone: Vec<_> = store.delete_stream(gone).try_collect().await.unwrap();
    assert_eq!(gone.len(), many);
    assert!(store.list(Some(&below)).try_collect::<Vec<_>>().await.unwrap().is_empty());
}

fn s3(endpoint: &str) -> S3Config {
    S3Config {
        section: "storage.trace.s3".to_owned(),
        bucket: "tempo-traces".to_owned(),
        endpoint: endpoint.to_owned(),
        access_key: ACCESS_KEY.to_owned(),
        secret_key: Secret::new(SECRET_KEY),
        insecure: true,
        retry: Retry {
            attempts: 4,
            backoff_initial: Duration::from_millis(1),
            backoff_max: Duration::from_millis(5),
        },
        ..S3Config::default()
    }
}

async fn opened(config: StoreConfig) -> OpenStore {
    open(&config, &|_| None).await.unwrap()
}

async fn opened_s3(config: S3Config) -> OpenStore {
    opened(StoreConfig::S3(Box::new(config))).await
}

/// Looks at a bucket, runs the suite, and looks whether the probe is gone.
async fn bucket(opened: &OpenStore, manner: Manner) {
    let facts = check(opened, false, Uuid::from_u128(1)).await.unwrap();
    assert_eq!(facts, BucketFacts { conditional_put: true });
    let left: Vec<_> = opened.store.list(None).try_collect().await.unwrap();
    assert!(left.is_empty(), "the look leaves something: {left:?}");
    suite(&opened.store, manner).await;
    assert_eq!(check(opened, true, Uuid::from_u128(2)).await.unwrap(), BucketFacts::default());
}

#[tokio::test]
async fn local_folder() {
    let folder = tempfile::tempdir().unwrap();
    let opened = opened(StoreConfig::Local { folder: folder.path().join("blocks") }).await;
    bucket(&opened, Manner::default()).await;
}

#[tokio::test]
async fn memory() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    suite(&store, Manner::default()).await;
}

#[tokio::test]
async fn s3_in_this_process() {
    let server = S3Server::start(&["tempo-traces"]);
    // Its folder is its bucket, and it takes a moment for each.
    bucket(&opened_s3(s3(&server.endpoint)).await, Manner { many: 1100, odd_keys: true }).await;
}

/// Google's client, its condition and what its objects carry. Not its keys, which need Google.
#[tokio::test]
async fn gcs_in_this_process() {
    let server = S3Server::start_like_google(&["tempo-traces"]);
    let config = GcsConfig {
        section: "storage.trace.gcs".to_owned(),
        bucket: "tempo-traces".to_owned(),
        endpoint: format!("http://{}/storage/v1/", server.endpoint),
        insecure: true,
        max_retries: 1,
        cache_control: "no-store".to_owned(),
        metadata: BTreeMap::from([("kept-by".to_owned(), "trackway".to_owned())]),
        ..GcsConfig::default()
    };
    let store = opened(StoreConfig::Gcs(config.clone())).await;
    bucket(&store, Manner { many: 1100, odd_keys: true }).await;
    server.seen();
    store.store.put(&path("one"), PutPayload::from_static(b"x")).await.unwrap();
    let (_, _, headers) = server.seen().remove(0);
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    assert_eq!(
        (header("cache-control"), header("x-goog-meta-kept-by")),
        (Some("no-store"), Some("trackway"))
    );
    let other = opened(StoreConfig::Gcs(GcsConfig { bucket: "other".to_owned(), ..config })).await;
    let said = check(&other, false, Uuid::nil()).await.unwrap_err().to_string();
    assert!(said.contains("no such bucket") && said.contains("storage.trace.gcs.bucket_name"), "{said}");
}

#[tokio::test]
async fn minio() {
    match Minio::start(&["tempo-traces"]) {
        Ok(server) => bucket(&opened_s3(s3(&server.endpoint)).await, Manner::default()).await,
        Err(why) => skipped("conformance of MinIO", &why),
    }
}

#[tokio::test]
async fn azurite() {
    let server = match Azurite::start() {
        Ok(server) => server,
        Err(why) => return skipped("conformance of Azurite", &why),
    };
    let config = AzureConfig {
        section: "storage.trace.azure".to_owned(),
        account: Azurite::ACCOUNT.to_owned(),
        container: "traces".to_owned(),
        login: AzureLogin::Key(Secret::new(Azurite::KEY)),
        endpoint_suffix: server.endpoint.clone(),
        part_bytes: 3 * 1024 * 1024,
        parts_at_once: 4,
        ..AzureConfig::default()
    };
    let wrong = Azurite::KEY.replace("Eby8", "Eby9");
    let wrong = AzureConfig { login: AzureLogin::Key(Secret::new(wrong)), ..config.clone() };
    let opened = opened(StoreConfig::Azure(config)).await;
    let said = check(&opened, false, Uuid::nil()).await.unwrap_err().to_string();
    assert!(said.contains("no such bucket") && said.contains("storage.trace.azure.container_name"), "{said}");
    server.create_container("traces");
    bucket(&opened, Manner::default()).await;
    let opened = open(&StoreConfig::Azure(wrong), &|_| None).await.unwrap();
    let said = check(&opened, false, Uuid::nil()).await.unwrap_err().to_string();
    assert!(said.contains("storage.trace.azure.storage_account_key"), "{said}");
}

#[tokio::test]
async fn hdfs() {
    if cfg!(not(feature = "hdfs")) {
        let config = StoreConfig::Hdfs(HdfsConfig::default());
        let said = open(&config, &|_| None).await.unwrap_err().to_string();
        assert!(said.contains("this build has no HDFS; build with `--features hdfs`"), "{said}");
        return skipped("conformance of HDFS", "this build is without the feature hdfs");
    }
    let server = match Hdfs::start() {
        Ok(server) => server,
        Err(why) => return skipped("conformance of HDFS", &why),
    };
    let config = HdfsConfig {
        section: "storage.trace.hdfs".to_owned(),
        endpoint: server.endpoint.clone(),
        user: "trackway".to_owned(),
        ..HdfsConfig::default()
    };
    bucket(&opened(StoreConfig::Hdfs(config)).await, Manner { many: 120, odd_keys: false }).await;
}

/// A slow answer is asked for again, and the second one counts.
#[tokio::test]
async fn a_slow_server_is_asked_twice() {
    let server = S3Server::start(&["tempo-traces"]);
    let hedge = Hedge { at: Duration::from_millis(20), up_to: 2 };
    let opened = opened_s3(S3Config { hedge, ..s3(&server.endpoint) }).await;
    let at = path("slow");
    opened.store.put(&at, PutPayload::from_static(b"0123456789")).await.unwrap();
    // Longer than a test may take: only the second request can answer.
    server.fault(Fault::late(Method::GET, Duration::from_secs(600)));
    assert_eq!(opened.store.get_range(&at, 2..5).await.unwrap(), "234");
    assert_eq!(opened.metrics.hedged.load(Ordering::Relaxed), 1);
    server.fault(Fault::late(Method::GET, Duration::from_secs(600)));
    assert_eq!(opened.store.get_ranges(&at, &[0..1, 9..10]).await.unwrap(), ["0", "9"]);
    assert_eq!(opened.metrics.hedged.load(Ordering::Relaxed), 2);
    let mut text = String::new();
    opened.metrics.write(&mut text);
    assert!(text.contains("\ntempodb_backend_hedged_roundtrips_total 2\n"), "{text}");
    // What is not there is not there at once.
    assert!(matches!(opened.store.get(&path("no")).await, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn a_failing_server_is_asked_again_and_one_that_refuses_is_not() {
    let server = S3Server::start(&["tempo-traces"]);
    let store = opened_s3(s3(&server.endpoint)).await.store;
    let at = path("object");
    for method in [Method::PUT, Method::GET] {
        for (status, code, failures, works, requests) in [
            (503, "SlowDown", 3, true, 4),
            (500, "InternalError", 3, true, 4),
            (503, "SlowDown", 4, false, 4),
            (403, "AccessDenied", 1, false, 1),
            (400, "BadDigest", 1, false, 1),
        ] {
            server.seen();
            server.fault(Fault::always(method.clone(), status, code).times(failures));
            let done = match method {
                Method::PUT => store.put(&at, PutPayload::from_static(b"x")).await.map(|_| ()),
                _ => store.get(&at).await.map(|_| ()),
            };
            assert_eq!(done.is_ok(), works, "{method} {status}: {done:?}");
            assert_eq!(server.seen().len(), requests, "{method} {status}");
            server.heal();
        }
    }
    // A creation whose answer is lost is repeated and meets its own object: whoever creates must look whose it is.
    let create = |at: &'static str| {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let store = Arc::clone(&store);
        async move { store.put_opts(&path(at), PutPayload::from_static(b"once"), options).await }
    };
    server.fault(Fault::always(Method::PUT, 503, "SlowDown").times(2));
    create("created").await.unwrap();
    server.fault(Fault::lost(Method::PUT));
    let met = create("met").await;
    assert!(matches!(met, Err(Error::AlreadyExists { .. })), "{met:?}");
    assert_eq!(body(&store, &path("met")).await, "once");
    // The look at the bucket is not deceived by it.
    server.fault(Fault::lost(Method::PUT));
    let opened = opened_s3(s3(&server.endpoint)).await;
    let facts = check(&opened, false, Uuid::nil()).await.unwrap();
    assert_eq!(facts, BucketFacts { conditional_put: true });
}

#[tokio::test]
async fn a_store_that_ignores_conditions_is_found_out() {
    let server = S3Server::start(&["tempo-traces"]);
    server.ignore_conditions();
    let opened = opened_s3(s3(&server.endpoint)).await;
    let facts = check(&opened, false, Uuid::nil()).await.unwrap();
    assert_eq!(facts, BucketFacts { conditional_put: false });
    // One that does not know the header at all.
    server.fault(Fault::always(Method::PUT, 501, "NotImplemented").times(4));
    let facts = check(&opened, false, Uuid::nil()).await.unwrap();
    assert_eq!(facts, BucketFacts { conditional_put: false });
    assert_eq!(std::fs::read_dir(server.bucket("tempo-traces")).unwrap().count(), 0);
}

/// Storage class, tags, metadata, encryption: on objects in one piece and on those in parts.
#[tokio::test]
async fn new_objects_carry_what_is_configured() {
    let server = S3Server::start(&["tempo-traces"]);
    let map = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
    let config = S3Config {
        storage_class: "STANDARD".to_owned(),
        tags: map("team", "obs"),
        metadata: map("kept-by", "trackway"),
        sse: Sse::Kms("key-1".to_owned()),
        ..s3(&server.endpoint)
    };
    let store = opened_s3(config.clone()).await.store;
    store.put(&path("one"), PutPayload::from_static(b"x")).await.unwrap();
    let mut upload = store.put_multipart(&path("parts")).await.unwrap();
    upload.put_part(PutPayload::from_static(b"y")).await.unwrap();
    upload.complete().await.unwrap();
    let seen = server.seen();
    for (method, at) in [(Method::PUT, "/one"), (Method::POST, "/parts?uploads")] {
        let found = seen.iter().find(|(m, target, _)| *m == method && target.contains(at));
        let (_, _, headers) = found.unwrap_or_else(|| panic!("{method} {at}: {seen:?}"));
        for (name, value) in [
            ("x-amz-storage-class", "STANDARD"),
            ("x-amz-tagging", "team=obs"),
            ("x-amz-meta-kept-by", "trackway"),
            ("x-amz-server-side-encryption", "aws:kms"),
            ("x-amz-server-side-encryption-aws-kms-key-id", "key-1"),
        ] {
            assert_eq!(headers.get(name).and_then(|v| v.to_str().ok()), Some(value), "{at}: {name}");
        }
    }
    // A key of ours comes with every request for the object, in reading too.
    let sse = Sse::Customer(Secret::new("0123456789abcdef0123456789abcdef"));
    let store = opened_s3(S3Config { sse, ..s3(&server.endpoint) }).await.store;
    server.seen();
    store.put(&path("secret"), PutPayload::from_static(b"x")).await.unwrap();
    assert_eq!(body(&store, &path("secret")).await, "x");
    for (method, _, headers) in server.seen() {
        let key = headers.get("x-amz-server-side-encryption-customer-key").and_then(|v| v.to_str().ok());
        assert_eq!(key, Some("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="), "{method}");
    }
    // Without parts, an upload is one request.
    let store = opened_s3(S3Config { one_piece: true, ..config }).await.store;
    let mut upload = store.put_multipart(&path("piece")).await.unwrap();
    upload.put_part(PutPayload::from_static(b"in one ")).await.unwrap();
    upload.put_part(PutPayload::from_static(b"piece")).await.unwrap();
    upload.complete().await.unwrap();
    assert_eq!(server.seen().len(), 1);
    assert_eq!(body(&store, &path("piece")).await, "in one piece");
}
