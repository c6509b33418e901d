//! Configurations and waiting, for tests of caches.
#![allow(dead_code, unreachable_pub)] // each test uses its part
#![allow(clippy::disallowed_methods, clippy::unwrap_used)] // a test measures real time

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use trackway_cache::{
    BreakerConfig, Caches, CachesConfig, MemcachedConfig, RedisConfig, RedisLogin, RemoteConfig, RemoteKind,
    Role,
};
use trackway_common::SystemClock;

const PATIENCE: Duration = Duration::from_secs(30);

pub fn memcached(addresses: &str) -> MemcachedConfig {
    MemcachedConfig {
        section: "cache.caches[0].memcached".to_owned(),
        host: String::new(),
        service: String::new(),
        addresses: addresses.to_owned(),
        timeout: Duration::from_millis(300),
        max_idle_conns: 16,
        max_item_size: 0,
        update_interval: Duration::from_secs(60),
        consistent_hash: true,
        breaker: BreakerConfig {
            failures: 3,
            open: Duration::from_millis(200),
            interval: Duration::from_secs(10),
        },
        ttl: Duration::ZERO,
        tls: None,
    }
}

pub fn redis(endpoint: &str) -> RedisConfig {
    RedisConfig {
        section: "cache.caches[0].redis".to_owned(),
        endpoint: endpoint.to_owned(),
        master_name: String::new(),
        timeout: Duration::from_millis(1000),
        expiration: Duration::ZERO,
        db: 0,
        pool_size: 0,
        login: RedisLogin::default(),
        sentinel_login: RedisLogin::default(),
        tls: false,
        tls_insecure_skip_verify: false,
        idle_timeout: Duration::ZERO,
        max_connection_age: Duration::ZERO,
    }
}

/// Caches with one outside the process for every role.
pub fn remote(kind: RemoteKind) -> CachesConfig {
    let setting = "cache.caches[0].roles".to_owned();
    let remotes = vec![RemoteConfig { setting, roles: Role::ALL.to_vec(), kind }];
    CachesConfig { local: None, remotes, writers: 4, writes_waiting: 1000 }
}

pub async fn open(config: &CachesConfig) -> Caches {
    Caches::open(config, Arc::new(SystemClock::default())).await.unwrap()
}

/// Asks until there is an answer.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Puts an entry, and again when it was lost on the way, until it is there.
pub async fn put_until_there(caches: &Caches, key: &str, value: &Bytes) {
    let put = async || {
        if caches.get(Role::Bloom, key).await.as_ref() == Some(value) {
            return Some(());
        }
        caches.put(Role::Bloom, key, value.clone());
        None
    };
    until(&format!("{key} is not there"), put).await;
}

/// Waits until everything that waits was written.
pub async fn until_written(caches: &Caches) {
    until("writes wait", async || (caches.waiting() == 0).then_some(())).await;
}

/// What every cache must do.
pub async fn conforms(caches: &Caches) {
    let value = |number: usize| Bytes::from(format!("value {number} \r\nEND\r\n\0").repeat(number));
    put_until_there(caches, "t:b:first", &value(1)).await;
    assert_eq!(caches.get(Role::Bloom, "t:b:absent").await, None);
    assert_eq!(caches.get_many(Role::Bloom, &[]).await, Vec::<Option<Bytes>>::new());

    // Many at once, some of them not there, one twice, some large, one empty.
    for number in 0..200 {
        caches.put(Role::Bloom, &format!("t:b:{number}"), value(number));
    }
    until_written(caches).await;
    let keys: Vec<String> = (0..400).map(|number| format!("t:b:{}", number % 300)).collect();
    let got = caches.get_many(Role::Bloom, &keys).await;
    for (number, got) in got.iter().enumerate() {
        let number = number % 300;
        let expected = (number < 200).then(|| value(number));
        assert_eq!(got, &expected, "{number}");
    }

    // The last one counts.
    caches.put(Role::Bloom, "t:b:1", Bytes::from_static(b"new"));
    until_written(caches).await;
    assert_eq!(caches.get(Role::Bloom, "t:b:1").await.unwrap(), "new");

    // Forgotten is forgotten, and forgetting what is not there is nothing.
    caches.remove(Role::Bloom, &["t:b:1".to_owned(), "t:b:2".to_owned(), "t:b:999".to_owned()]).await;
    let keys = ["t:b:1", "t:b:2", "t:b:3"].map(str::to_owned);
    assert_eq!(caches.get_many(Role::Bloom, &keys).await, [None, None, Some(value(3))]);

    // A key that a protocol could stumble over.
    for key in ["with space", "line\r\nflush_all\r\n", "", &"k".repeat(1000)] {
        caches.put(Role::Bloom, key, Bytes::from_static(b"x"));
        until_written(caches).await;
        let got = caches.get(Role::Bloom, key).await;
        assert!(got.is_none_or(|got| got == "x"), "{key:?}");
    }
    assert_eq!(caches.get(Role::Bloom, "t:b:3").await, Some(value(3)), "nothing was flushed");

    let mut metrics = String::new();
    caches.write_metrics(&mut metrics);
    assert!(metrics.contains("trackway_cache_hits_total{role=\"bloom\""), "{metrics}");
}
