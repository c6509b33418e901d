//! Caches outside the process: killed, hung, started again and filled with nonsense while questions are asked, the answers
//! stay what they are without caches.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::path::Path;
use std::sync::OnceLock;

use serde_json::Value;
use support::requests::{day, own_trace, request, shared_trace};
use support::{Ports, Server, config};
use trackway_golden::http;
use trackway_peers::{ACCESS_KEY, CacheServer, RedisCluster, S3Server, SECRET_KEY, skipped};

const ROUNDS: [Range<u64>; 3] = [0..12, 12..24, 24..36];
const ROLES: &str =
    "[bloom, trace-id-index, parquet-footer, parquet-column-idx, parquet-offset-idx, parquet-page]";

/// A server on the bucket that only answers.
fn reader(folder: &Path, s3: &S3Server, more: &str) -> Server {
    let mut server = spawn(folder, s3, &format!("trackway: {{read_only: true, {OFF}}}\n{more}"));
    server.until_ready();
    server
}

/// Nothing is kept in the process, so that every question goes to the cache that is tried.
const OFF: &str = "cache: {enabled: false}";

fn spawn(folder: &Path, s3: &S3Server, more: &str) -> Server {
    let ports = Ports::free();
    let base = config(folder, ports, more);
    let base: Vec<&str> = base.lines().filter(|line| !line.starts_with("storage:")).collect();
    let storage = format!(
        "storage: {{trace: {{backend: s3, wal: {{path: {}/wal}}, s3: {{bucket: tempo-traces, endpoint: '{}', access_key: \
         {ACCESS_KEY}, secret_key: {SECRET_KEY}, insecure: true}}}}}}",
        folder.display(),
        s3.endpoint
    );
    let file = folder.join("tempo.yaml");
    fs::write(&file, format!("{}\n{storage}\n", base.join("\n"))).unwrap();
    Server::spawn_file(folder, &file, ports)
}

/// A bucket with three blocks or more.
fn filled() -> S3Server {
    let s3 = S3Server::start(&["tempo-traces"]);
    let folder = tempfile::tempdir().unwrap();
    let mut server = spawn(folder.path(), &s3, "compactor: {disabled: true}");
    server.until_ready();
    for round in ROUNDS {
        for number in round {
            assert_eq!(server.push("application/x-protobuf", &request(number)).status, 200);
        }
        server.flush();
    }
    server.stop();
    s3
}

/// The answers to a mix of questions, without what they cost.
fn answers(server: &Server) -> Vec<(String, Value)> {
    // Midnight may pass meanwhile.
    static DAY: OnceLock<(u64, u64)> = OnceLock::new();
    let (start, end) = *DAY.get_or_init(day);
    // Whole hours, so that all ask for the same.
    let (start, end) = (start / 3600 * 3600, end / 3600 * 3600);
    let mut paths = Vec::new();
    for number in ROUNDS.into_iter().flatten().step_by(4) {
        paths.push(format!("/api/v2/traces/{:032x}", own_trace(number)));
        paths.push(format!("/api/v2/traces/{:032x}", shared_trace(number)));
    }
    paths.push(format!("/api/v2/traces/{:032x}?absent", 7));
    for query in [
        "{}",
        "{ name = \"own-3\" }",
        "{ span.request = \"5\" }",
        "{ resource.service.name = \"service-1\" } | count() > 1",
        "{ name =~ \"own-.*\" } >> { name = \"own-2\" }",
        "{ span.filler != \"\" } | select(span.filler)",
    ] {
        let query = trackway_loadgen::percent_encode(query);
        paths.push(format!("/api/search?q={query}&limit=500&spss=20&start={start}&end={end}"));
    }
    let rate = trackway_loadgen::percent_encode("{} | rate() by (resource.service.name)");
    paths.push(format!("/api/metrics/query_range?q={rate}&start={start}&end={end}&step=1h"));
    paths.push(format!("/api/v2/search/tags?start={start}&end={end}"));
    paths.push(format!("/api/v2/search/tag/span.request/values?start={start}&end={end}"));
    paths.into_iter().map(|path| answer(server, path)).collect()
}

fn answer(server: &Server, path: String) -> (String, Value) {
    let answer = server.get(&path);
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(matches!(answer.status, 200 | 404), "{path}: {body}");
    let mut value: Value = serde_json::from_str(&body).unwrap_or(Value::Null);
    if let Some(fields) = value.as_object_mut() {
        fields.remove("metrics");
    }
    (path, value)
}

fn assert_equal(got: &[(String, Value)], expected: &[(String, Value)], when: &str) {
    for ((path, got), (_, expected)) in got.iter().zip(expected) {
        assert_eq!(got, expected, "{when}: {path}");
    }
}

/// The sum of a counter over all its labels.
fn counted(server: &Server, name: &str, labels: &str) -> u64 {
    let text = String::from_utf8(server.get("/metrics").body).unwrap();
    let lines = text.lines().filter(|line| line.starts_with(&format!("{name}{{")) && line.contains(labels));
    lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
}

fn rejected(server: &Server, role: &str) -> u64 {
    counted(server, "trackway_cache_rejected_total", &format!("role=\"{role}\""))
}

fn until_written(server: &mut Server) {
    let name = "tempo_cache_background_queue_length";
    server.wait("writes to the cache", |server| counted(server, name, "") == 0);
}

/// Asks all the time while servers of the cache are killed, hung and started again.
fn stays_right(test: &str, s3: &S3Server, more: &str, servers: &mut [CacheServer]) {
    let (plain, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let without = reader(plain.path(), s3, "");
    let expected = answers(&without);
    let found = expected.iter().filter(|(_, value)| !value.is_null()).count();
    assert!(found > 20, "{test}: {found} of {}", expected.len());
    without.stop();

    let mut server = reader(folder.path(), s3, more);
    server.expect_warning("is left alone for a while");
    let same =
        |server: &Server, when: &str| assert_equal(&answers(server), &expected, &format!("{test}, {when}"));
    same(&server, "empty");
    until_written(&mut server);
    let hits = |server: &Server, role: &str| {
        counted(server, "trackway_cache_hits_total", &format!("role=\"{role}\",tier=\"remote\""))
    };
    same(&server, "filled");
    assert!(hits(&server, "parquet-page") > 20, "{test}: pages come from the cache");
    server.stop();

    // Another process finds what this one left.
    let mut server = reader(folder.path(), s3, more);
    server.expect_warning("is left alone for a while");
    same(&server, "of another process");
    for role in ["bloom", "parquet-footer", "parquet-column-idx", "parquet-offset-idx"] {
        assert!(hits(&server, role) > 0, "{test}: {role}");
    }
    for one in servers.iter_mut() {
        one.hang();
        same(&server, "hung");
        one.go_on();
        same(&server, "going on");
        one.kill();
        same(&server, "killed");
        one.restart().unwrap();
        same(&server, "started again");
    }
    server.stop();
}

const FAST: &str = "timeout: 150ms, circuit_breaker_consecutive_failures: 3, circuit_breaker_timeout: 300ms";

fn cache(kind: &str) -> String {
    format!("cache: {{caches: [{{roles: {ROLES}, {kind}}}]}}")
}

#[test]
fn with_memcached_that_comes_and_goes() {
    let servers: Result<Vec<_>, _> = (0..2).map(|_| CacheServer::memcached()).collect();
    let mut servers = match servers {
        Ok(servers) => servers,
        Err(why) => return skipped("with_memcached_that_comes_and_goes", &why),
    };
    let addresses = servers.iter().map(|server| server.address.as_str()).collect::<Vec<_>>().join(",");
    let more = cache(&format!("memcached: {{addresses: '{addresses}', {FAST}}}"));
    stays_right("memcached", &filled(), &more, &mut servers);
}

#[test]
fn with_redis_that_comes_and_goes() {
    let server = match CacheServer::redis() {
        Ok(server) => server,
        Err(why) => return skipped("with_redis_that_comes_and_goes", &why),
    };
    let more = cache(&format!("redis: {{endpoint: '{}', timeout: 150ms}}", server.address));
    stays_right("redis", &filled(), &more, &mut [server]);
}

#[test]
fn with_redis_by_sentinel_that_comes_and_goes() {
    let master = match CacheServer::redis() {
        Ok(server) => server,
        Err(why) => return skipped("with_redis_by_sentinel_that_comes_and_goes", &why),
    };
    let sentinel = CacheServer::sentinel("cache", &master).unwrap();
    let endpoint = sentinel.address.clone();
    let more = cache(&format!("redis: {{endpoint: '{endpoint}', master_name: cache, timeout: 300ms}}"));
    stays_right("sentinel", &filled(), &more, &mut [master, sentinel]);
}

#[test]
fn with_a_redis_cluster_that_comes_and_goes() {
    let mut cluster = match RedisCluster::start() {
        Ok(cluster) => cluster,
        Err(why) => return skipped("with_a_redis_cluster_that_comes_and_goes", &why),
    };
    let more = cache(&format!("redis: {{endpoint: '{}', timeout: 300ms}}", cluster.addresses()));
    stays_right("cluster", &filled(), &more, &mut cluster.nodes[..1]);
}

/// All keys of a memcached with the sizes of their values, about.
fn keys(address: &str) -> Vec<String> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"lru_crawler metadump all\r\n").unwrap();
    let lines = BufReader::new(stream).lines().map(Result::unwrap).take_while(|line| line != "END");
    let key = |line: String| line.strip_prefix("key=")?.split(' ').next().map(|key| key.replace("%3A", ":"));
    lines.filter_map(key).collect()
}

/// Puts nonsense of the right length into the place of every value.
fn fill_with_nonsense(address: &str) -> usize {
    let keys = keys(address);
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    for key in &keys {
        stream.write_all(format!("get {key}\r\n").as_bytes()).unwrap();
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let length: usize = line.trim().rsplit_once(' ').expect("a value").1.parse().unwrap();
        let mut value = vec![0; length + 2 + 5];
        std::io::Read::read_exact(&mut reader, &mut value).unwrap();
        let nonsense: Vec<u8> = (0..length).map(|at| (at.wrapping_mul(31) >> 3 ^ 0xa5) as u8).collect();
        let mut set = format!("set {key} 0 0 {length}\r\n").into_bytes();
        set.extend_from_slice(&nonsense);
        set.extend_from_slice(b"\r\n");
        stream.write_all(&set).unwrap();
        line.clear();
        reader.read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "STORED");
    }
    keys.len()
}

#[test]
fn with_a_memcached_full_of_nonsense() {
    let memcached = match CacheServer::memcached() {
        Ok(server) => server,
        Err(why) => return skipped("with_a_memcached_full_of_nonsense", &why),
    };
    let s3 = filled();
    let folder = tempfile::tempdir().unwrap();
    let more = cache(&format!("memcached: {{addresses: '{}', timeout: 2s}}", memcached.address));
    let mut server = reader(folder.path(), &s3, &more);
    let expected = answers(&server);
    until_written(&mut server);
    let keys = keys(&memcached.address);
    let with = |what: &str| keys.iter().any(|key| key.contains(what));
    assert!(
        with(":bloom-") && with(":data.parquet:") && keys.iter().all(|key| key.starts_with("single-tenant:"))
    );

    // While it is known to the process which files are open, pages are wrong; in a new one, everything is.
    assert!(fill_with_nonsense(&memcached.address) > 20);
    assert_equal(&answers(&server), &expected, "pages are nonsense");
    assert!(rejected(&server, "parquet-page") > 0);
    server.stop();
    assert!(fill_with_nonsense(&memcached.address) > 20);
    let mut server = reader(folder.path(), &s3, &more);
    assert_equal(&answers(&server), &expected, "everything is nonsense");
    for role in ["bloom", "parquet-footer"] {
        assert!(rejected(&server, role) > 0, "{role}");
    }

    // And what was nonsense was put right.
    until_written(&mut server);
    let before = counted(&server, "trackway_cache_rejected_total", "");
    assert_equal(&answers(&server), &expected, "healed");
    assert_eq!(counted(&server, "trackway_cache_rejected_total", ""), before);
    server.stop();
}

#[test]
fn on_disk_by_default_where_blocks_are_in_a_bucket() {
    let s3 = filled();
    let folder = tempfile::tempdir().unwrap();
    let more =
        "trackway: {read_only: true, cache: {memory_bytes: 8MiB, disk_bytes: 128MiB, disk_path: DISK}}";
    let more = more.replace("DISK", &folder.path().join("kept").display().to_string());
    let started = |folder: &Path| {
        let mut server = spawn(folder, &s3, &more);
        server.until_ready();
        server
    };
    let server = started(folder.path());
    let expected = answers(&server);
    // A second process finds the folder taken, and works without.
    let other = tempfile::tempdir().unwrap();
    let mut second = started(other.path());
    second.expect_warning("there is no cache on disk");
    assert_equal(&answers(&second), &expected, "without a folder");
    assert_eq!(second.lines().iter().filter(|line| line.contains("there is no cache on disk")).count(), 1);
    second.stop();
    assert!(counted(&server, "trackway_cache_hits_total", "role=\"parquet-page\",tier=\"local\"") > 0);
    server.stop();

    // The next one begins with what the first one had.
    let server = started(folder.path());
    s3.seen(); // and forget
    assert_equal(&answers(&server), &expected, "after a start");
    let from_disk = counted(&server, "trackway_cache_hits_total", "role=\"parquet-footer\",tier=\"local\"");
    assert!(from_disk > 0, "footers come from disk");
    let asked: Vec<String> = s3.seen().into_iter().map(|(_, path, _)| path).collect();
    let data = asked.iter().filter(|path| path.contains("data.parquet")).count();
    assert_eq!(data, 0, "nothing of a data file is fetched again: {asked:?}");
    server.stop();
}

/// Files below a folder in which this stands.
fn with_text(folder: &Path, text: &str) -> usize {
    let mut found = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found += with_text(&path, text);
        } else {
            let bytes = fs::read(&path).unwrap();
            found += usize::from(bytes.windows(text.len()).any(|part| part == text.as_bytes()));
        }
    }
    found
}

#[test]
fn what_is_redacted_leaves_memcached_and_the_disk() {
    let memcached = match CacheServer::memcached() {
        Ok(server) => server,
        Err(why) => return skipped("what_is_redacted_leaves_memcached_and_the_disk", &why),
    };
    let (s3, folder) = (filled(), tempfile::tempdir().unwrap());
    let disk = folder.path().join("kept");
    let more = |rest: &str| {
        format!(
            "{}\ncompactor: {{compaction: {{compacted_block_retention: 10h, compaction_cycle: 300ms}}}}\ntrackway: \
             {{compaction: {{start_after: 0s}}, cache: {{memory_bytes: 4MiB, disk_bytes: 128MiB, disk_path: {}}}{rest}}}",
            cache(&format!("memcached: {{addresses: '{}', timeout: 2s}}", memcached.address)),
            disk.display()
        )
    };
    // What a process had in memory is on the disk when it has ended.
    let mut server = spawn(folder.path(), &s3, &more(", read_only: true"));
    server.until_ready();
    answers(&server);
    until_written(&mut server);
    server.stop();
    let blocks: BTreeSet<String> =
        keys(&memcached.address).iter().filter_map(|key| key.split(':').nth(1).map(str::to_owned)).collect();
    assert!(blocks.len() >= 3 && blocks.iter().any(|block| with_text(&disk, block) > 0));

    let mut server = spawn(folder.path(), &s3, &more(""));
    server.until_ready();
    answers(&server);
    until_written(&mut server);
    let body = serde_json::json!({ "traceIds": [format!("{:032x}", own_trace(4))] }).to_string();
    let headers = [("content-type".to_owned(), "application/json".to_owned())];
    let path = "/api/trackway/v1/redactions";
    let answer = http::request(&server.api, "POST", path, &headers, Some(body.as_bytes())).unwrap();
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let redaction: Value =
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{}: {text}", answer.status));
    let path = format!("{path}/{}", redaction["id"].as_str().unwrap_or_else(|| panic!("{text}")));
    server.wait("the redaction", |server| server.json(&path)["state"] == "done");
    let report = server.json(&path);
    let gone = report["blocks"][0]["block"].as_str().unwrap_or_else(|| panic!("{report}"));
    assert!(blocks.contains(gone), "{report}");
    // From filters 32 bytes each are kept, and what they begin with: nobody can read a value in them.
    let left: Vec<String> = keys(&memcached.address)
        .into_iter()
        .filter(|key| key.contains(gone) && key.rsplit(':').next().is_none_or(|bytes| bytes != "32"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(with_text(&disk, gone), 0, "on disk");
    let (_, found) = answer_of(&server, own_trace(4));
    assert_eq!(found, serde_json::json!({ "trace": {} }));
    server.stop();
    assert_eq!(with_text(&disk, gone), 0, "on disk, after the end");
}

fn answer_of(server: &Server, trace: u128) -> (String, Value) {
    answer(server, format!("/api/v2/traces/{trace:032x}"))
}
