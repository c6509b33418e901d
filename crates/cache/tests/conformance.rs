//! One suite for every cache, and what only some of them do.

mod support;

use std::time::Duration;

use bytes::Bytes;
use support::{conforms, memcached, open, put_until_there, redis, remote, until, until_written};
use trackway_cache::{
    Caches, CachesConfig, DiskConfig, LocalConfig, RemoteConfig, RemoteKind, Role, TlsConfig,
};
use trackway_peers::{Authority, CacheServer, RedisCluster, skipped};

fn local(memory_bytes: usize, folder: Option<&std::path::Path>) -> CachesConfig {
    let disk = folder.map(|folder| DiskConfig { folder: folder.to_owned(), bytes: 128 << 20 });
    CachesConfig { local: Some(LocalConfig { memory_bytes, disk }), ..CachesConfig::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn memory() {
    let caches = open(&local(64 << 20, None)).await;
    conforms(&caches).await;
    assert!(Role::ALL.into_iter().all(|role| caches.is_remembered(role)));
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_and_disk() {
    let folder = tempfile::tempdir().unwrap();
    conforms(&open(&local(64 << 20, Some(folder.path()))).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_memcached() {
    let server = match CacheServer::memcached() {
        Ok(server) => server,
        Err(why) => return skipped("one_memcached", &why),
    };
    conforms(&open(&remote(RemoteKind::Memcached(Box::new(memcached(&server.address))))).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_memcached_of_which_one_dies() {
    let servers: Result<Vec<_>, _> = (0..3).map(|_| CacheServer::memcached()).collect();
    let mut servers = match servers {
        Ok(servers) => servers,
        Err(why) => return skipped("three_memcached_of_which_one_dies", &why),
    };
    let addresses = servers.iter().map(|server| server.address.as_str()).collect::<Vec<_>>().join(",");
    for consistent_hash in [true, false] {
        let config = memcached(&addresses);
        let config = trackway_cache::MemcachedConfig { consistent_hash, ..config };
        conforms(&open(&remote(RemoteKind::Memcached(Box::new(config)))).await).await;
    }
    let caches = open(&remote(RemoteKind::Memcached(Box::new(memcached(&addresses))))).await;
    let keys: Vec<String> = (0..100).map(|number| format!("t:b:{number}")).collect();
    let value = Bytes::from_static(b"value");
    for key in &keys {
        put_until_there(&caches, key, &value).await;
    }
    servers[1].kill();
    let found = caches.get_many(Role::Bloom, &keys).await.into_iter().flatten().count();
    assert!((40..90).contains(&found), "the others still answer: {found}");
    servers[1].restart().unwrap();
    for key in &keys {
        put_until_there(&caches, key, &value).await;
    }
    let mut metrics = String::new();
    caches.write_metrics(&mut metrics);
    assert!(metrics.contains("tempo_memcache_client_servers{name=\"bloom|trace-id-index"), "{metrics}");
    assert!(metrics.contains("status_code=\"500\"") && metrics.contains("status_code=\"200\""), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn memcached_with_tls() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    let (certificate, key) = authority.issue("memcached.example");
    let arguments = ["-Z", "-o", &format!("ssl_chain_cert={certificate},ssl_key={key}")];
    let server = match CacheServer::memcached_with(&arguments) {
        Ok(server) => server,
        Err(why) => {
            return skipped("memcached_with_tls", &format!("{why} (memcached may be built without TLS)"));
        }
    };
    let tls = TlsConfig {
        ca_path: authority.certificate(),
        server_name: "memcached.example".to_owned(),
        ..TlsConfig::default()
    };
    let with = |tls: TlsConfig| {
        let config = trackway_cache::MemcachedConfig { tls: Some(tls), ..memcached(&server.address) };
        remote(RemoteKind::Memcached(Box::new(config)))
    };
    conforms(&open(&with(tls.clone())).await).await;
    // Somebody else's certificate is not taken.
    let other = open(&with(TlsConfig { server_name: "other.example".to_owned(), ..tls })).await;
    assert_eq!(other.get(Role::Bloom, "t:b:3").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_redis() {
    let server = match CacheServer::redis_with(&["--requirepass", "secret"]) {
        Ok(server) => server,
        Err(why) => return skipped("one_redis", &why),
    };
    let mut config = redis(&server.address);
    config.login.password = "secret".to_owned();
    conforms(&open(&remote(RemoteKind::Redis(Box::new(config.clone())))).await).await;
    config.login.password = "wrong".to_owned();
    let locked_out = open(&remote(RemoteKind::Redis(Box::new(config)))).await;
    assert_eq!(locked_out.get(Role::Bloom, "t:b:3").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_by_sentinel() {
    let master = match CacheServer::redis() {
        Ok(server) => server,
        Err(why) => return skipped("redis_by_sentinel", &why),
    };
    let sentinel = CacheServer::sentinel("cache", &master).unwrap();
    let config = trackway_cache::RedisConfig { master_name: "cache".to_owned(), ..redis(&sentinel.address) };
    conforms(&open(&remote(RemoteKind::Redis(Box::new(config)))).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_cluster() {
    let mut cluster = match RedisCluster::start() {
        Ok(cluster) => cluster,
        Err(why) => return skipped("redis_cluster", &why),
    };
    let caches = open(&remote(RemoteKind::Redis(Box::new(redis(&cluster.addresses()))))).await;
    conforms(&caches).await;
    // Without one of three, some keys are not there, and nothing waits longer than the timeout.
    cluster.nodes[2].kill();
    let keys: Vec<String> = (0..50).map(|number| format!("t:b:{number}")).collect();
    tokio::time::timeout(Duration::from_secs(5), caches.get_many(Role::Bloom, &keys)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_on_disk_outlives_the_process_and_damage_is_a_miss() {
    let folder = tempfile::tempdir().unwrap();
    let config = local(2 << 20, Some(folder.path()));
    let value = |number: usize| Bytes::from(vec![u8::try_from(number % 251).unwrap(); 50_000]);
    let key = |number: usize| format!("t:b:data.parquet:{number}:50000");
    let keys: Vec<String> = (0..200).map(key).collect();
    let caches = open(&config).await;
    for number in 0..200 {
        caches.put(Role::ParquetPage, &key(number), value(number));
        // What comes faster than the disk takes it is not kept.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(caches.used_bytes() <= 2 << 20, "{}", caches.used_bytes());
    caches.close().await;
    drop(caches);
    let count = async |caches: &Caches| {
        let mut found = 0;
        for (number, got) in caches.get_many(Role::ParquetPage, &keys).await.into_iter().enumerate() {
            if let Some(got) = got {
                assert_eq!(got, value(number));
                found += 1;
            }
        }
        found
    };
    let caches = open(&config).await;
    let found = count(&caches).await;
    assert!(found > 100, "more than fits into memory came back: {found}");
    // What was removed does not come back with the next start.
    caches.remove(Role::ParquetPage, &[key(7)]).await;
    caches.close().await;
    drop(caches);
    let caches = open(&config).await;
    assert_eq!(caches.get(Role::ParquetPage, &key(7)).await, None);
    caches.close().await;
    drop(caches);

    // Every hundredth byte is wrong.
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let path = file.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.iter_mut().step_by(100).for_each(|byte| *byte ^= 0x5a);
        std::fs::write(&path, bytes).unwrap();
    }
    let caches = open(&config).await;
    assert_eq!(count(&caches).await, 0);
    caches.put(Role::ParquetPage, &key(1), value(1));
    assert_eq!(caches.get(Role::ParquetPage, &key(1)).await, Some(value(1)));
    caches.clear_local().await.unwrap();
    assert_eq!((count(&caches).await, caches.used_bytes()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_used_costs_the_disk_only() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "not a folder").unwrap();
    for folder in [file.as_path(), std::path::Path::new("/proc/trackway")] {
        conforms(&open(&local(64 << 20, Some(folder))).await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_shrinks_and_grows_back() {
    let caches = open(&local(64 << 20, None)).await;
    let fill = || {
        for number in 0..1000 {
            caches.put(Role::ParquetPage, &format!("{number}"), Bytes::from(vec![0; 60_000]));
        }
    };
    fill();
    let full = caches.used_bytes();
    assert!(full > 40 << 20, "{full}");
    caches.shrink_to(8 << 20);
    assert!(caches.used_bytes() <= 8 << 20, "{}", caches.used_bytes());
    fill();
    assert!(caches.used_bytes() <= 8 << 20, "{}", caches.used_bytes());
    caches.grow_back();
    fill();
    assert!(caches.used_bytes() > 40 << 20, "{}", caches.used_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_does_not_throw_out_what_is_asked_often() {
    let caches = open(&local(32 << 20, None)).await;
    let often: Vec<String> = (0..20).map(|number| format!("often {number}")).collect();
    for key in &often {
        caches.put(Role::ParquetFooter, key, Bytes::from(vec![1; 100_000]));
    }
    for _ in 0..3 {
        caches.get_many(Role::ParquetFooter, &often).await;
    }
    for number in 0..2000 {
        caches.put(Role::ParquetPage, &format!("scan {number}"), Bytes::from(vec![2; 100_000]));
    }
    let kept = caches.get_many(Role::ParquetFooter, &often).await.into_iter().flatten().count();
    assert_eq!(kept, often.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hung_memcached_holds_nobody_up_for_long() {
    let server = match CacheServer::memcached() {
        Ok(server) => server,
        Err(why) => return skipped("a_hung_memcached_holds_nobody_up_for_long", &why),
    };
    let caches = open(&remote(RemoteKind::Memcached(Box::new(memcached(&server.address))))).await;
    let value = Bytes::from_static(b"value");
    put_until_there(&caches, "t:b:1", &value).await;
    server.hang();
    let began = tokio::time::Instant::now();
    for _ in 0..100 {
        assert_eq!(caches.get(Role::Bloom, "t:b:1").await, None);
    }
    // Three timeouts, and trials now and then; a hundred timeouts would be half a minute.
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    // Nor is a put held up, however much is put: what does not fit is dropped. Without a breaker, so that much waits.
    let mut patient = memcached(&server.address);
    patient.breaker.failures = 0;
    let patient = open(&remote(RemoteKind::Memcached(Box::new(patient)))).await;
    let began = tokio::time::Instant::now();
    for number in 0..5000 {
        patient.put(Role::Bloom, &format!("t:b:{number}"), Bytes::from(vec![0; 100_000]));
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let mut metrics = String::new();
    patient.write_metrics(&mut metrics);
    let dropped =
        metrics.lines().find(|line| line.starts_with("tempo_cache_dropped_background_writes_total{"));
    let dropped: u64 = dropped.and_then(|line| line.rsplit_once(' ')).unwrap().1.parse().unwrap();
    assert!(dropped > 4000, "{dropped}: at most 64 MiB and what the tasks hold wait");
    drop(patient);
    server.go_on();
    until_written(&caches).await;
    until("it is asked again", async || caches.get(Role::Bloom, "t:b:1").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_not_stored_and_harms_nobody() {
    let server = match CacheServer::memcached() {
        Ok(server) => server,
        Err(why) => return skipped("what_is_too_large_is_not_stored_and_harms_nobody", &why),
    };
    let config = memcached(&server.address);
    let limited = trackway_cache::MemcachedConfig { max_item_size: 1000, ..config.clone() };
    for (config, length) in [(config, 3 << 20), (limited, 1001)] {
        let caches = open(&remote(RemoteKind::Memcached(Box::new(config)))).await;
        put_until_there(&caches, "small", &Bytes::from_static(b"x")).await;
        for _ in 0..10 {
            caches.put(Role::Bloom, "large", Bytes::from(vec![0; length]));
        }
        until_written(&caches).await;
        assert_eq!(caches.get(Role::Bloom, "large").await, None);
        assert_eq!(caches.get(Role::Bloom, "small").await.unwrap(), "x");
        let mut metrics = String::new();
        caches.write_metrics(&mut metrics);
        assert!(
            metrics.contains("tempo_memcache_client_set_skip_total{") && metrics.contains("\"} 10\n"),
            "{metrics}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_live_as_long_as_they_should() {
    let (Ok(of_memcached), Ok(of_redis)) = (CacheServer::memcached(), CacheServer::redis()) else {
        return skipped("entries_live_as_long_as_they_should", "memcached or redis-server is not installed");
    };
    let second = Duration::from_secs(1);
    let kinds = [
        RemoteKind::Memcached(Box::new(trackway_cache::MemcachedConfig {
            ttl: second,
            ..memcached(&of_memcached.address)
        })),
        RemoteKind::Redis(Box::new(trackway_cache::RedisConfig {
            expiration: second,
            ..redis(&of_redis.address)
        })),
    ];
    for kind in kinds {
        let caches = open(&remote(kind)).await;
        put_until_there(&caches, "t:b:1", &Bytes::from_static(b"x")).await;
        until("it expires", async || caches.get(Role::Bloom, "t:b:1").await.is_none().then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_are_not_there_are_no_failed_start() {
    for kind in [
        RemoteKind::Memcached(Box::new(memcached("127.0.0.1:1"))),
        RemoteKind::Memcached(Box::new(memcached("dns+no-such-host.invalid:11211"))),
        RemoteKind::Redis(Box::new(redis("127.0.0.1:1"))),
        RemoteKind::Redis(Box::new(redis("127.0.0.1:1,127.0.0.1:2"))),
    ] {
        let caches = open(&remote(kind)).await;
        caches.put(Role::Bloom, "k", Bytes::from_static(b"x"));
        assert_eq!(caches.get(Role::Bloom, "k").await, None);
    }
}

#[tokio::test]
async fn what_cannot_be_meant_names_its_key() {
    let setting = |number: usize| format!("cache.caches[{number}].roles");
    let entry = |number, roles: &[Role], kind: &RemoteKind| RemoteConfig {
        setting: setting(number),
        roles: roles.to_vec(),
        kind: kind.clone(),
    };
    let here = RemoteKind::Memcached(Box::new(memcached("127.0.0.1:1")));
    let redis = |endpoint: &str| RemoteKind::Redis(Box::new(redis(endpoint)));
    let cases = [
        (
            vec![entry(0, &[Role::Bloom], &here), entry(1, &[Role::Bloom], &here)],
            "cache.caches[1].roles",
            "bloom",
        ),
        (vec![entry(0, &[], &here)], "cache.caches[0].roles", "is empty"),
        (
            vec![entry(0, &[Role::Bloom], &RemoteKind::Memcached(Box::new(memcached(""))))],
            "cache.caches[0].memcached.host",
            "names no server",
        ),
        (vec![entry(0, &[Role::Bloom], &redis(""))], "cache.caches[0].redis.endpoint", "is empty"),
        (vec![entry(0, &[Role::Bloom], &redis("host"))], "cache.caches[0].redis.endpoint", "use host:port"),
    ];
    for (remotes, key, problem) in cases {
        let config = CachesConfig { remotes, writers: 1, writes_waiting: 1, local: None };
        let error = Caches::open(&config, std::sync::Arc::new(trackway_common::SystemClock::default()))
            .await
            .unwrap_err();
        assert_eq!(error.setting, key);
        assert!(error.problem.contains(problem), "{error}");
    }
}
