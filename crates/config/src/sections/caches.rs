//! `cache:`, caches outside the process.

use trackway_common::Secret;

use crate::duration::GoDuration;
use crate::sections::{mins, secs};
use crate::table::Shape::{Bool, Dur, Int};

section! {
    /// `cache:`.
    Cache {
        background: CacheBackground = CacheBackground::default(), "How entries are written.";
        caches: Vec<CacheEntry> = Vec::new(), "One for each set of roles.";
    }
    ignored &[]
}

section! {
    /// `cache.background:`.
    CacheBackground {
        writeback_goroutines: u32 = 10, "Tasks that write to each cache.";
        writeback_buffer: u32 = 10_000, "Most entries that wait to be written to each cache; what comes beyond, or beyond 64 MiB, is not written.";
    }
    ignored &[]
}

section! {
    /// One of `cache.caches`.
    CacheEntry {
        roles: Vec<String> = Vec::new(), "What it holds: `bloom`, `trace-id-index`, `parquet-footer`, `parquet-column-idx`, `parquet-offset-idx`, `parquet-page`, `frontend-search`.";
        memcached: Option<Memcached> = None, "A memcached cluster.";
        redis: Option<Redis> = None, "A Redis server.";
    }
    ignored &[]
}

section! {
    /// `memcached:`.
    Memcached {
        host: String = String::new(), "Name whose SRV record lists the servers.";
        service: String = String::new(), "Service in that record.";
        addresses: String = String::new(), "The servers, comma-separated; `dns+` and `dnssrv+` are looked up.";
        timeout: GoDuration = GoDuration::from_millis(100), "Longest time for an answer.";
        max_idle_conns: u32 = 16, "Idle connections kept for each server.";
        max_item_size: u64 = 0, "Largest item, in bytes; 0 is no limit.";
        update_interval: GoDuration = mins(1), "How often the servers are looked up.";
        consistent_hash: bool = true, "Place keys so that a new server moves few of them.";
        circuit_breaker_consecutive_failures: u32 = 10, "Failures in a row after which a server is left alone; 0 is never.";
        circuit_breaker_timeout: GoDuration = secs(10), "For how long; 0 is a minute.";
        circuit_breaker_interval: GoDuration = secs(10), "Time over which failures count.";
        ttl: GoDuration = GoDuration::ZERO, "How long items live; 0 is for ever.";
        tls_enabled: bool = false, "Use TLS.";
        tls_cert_path: String = String::new(), "Client certificate, PEM.";
        tls_key_path: String = String::new(), "Its private key, PEM.";
        tls_ca_path: String = String::new(), "Authorities, PEM; empty is the system's.";
        tls_server_name: String = String::new(), "Name expected in the server's certificate.";
        tls_insecure_skip_verify: bool = false, "Do not check the server's certificate.";
        tls_cipher_suites: String = String::new(), "Names of cipher suites of TLS 1.2, comma-separated; empty is all that are safe.";
        tls_min_version: String = String::new(), "`VersionTLS12` or `VersionTLS13`.";
    }
    ignored &[
        ("min_idle_conns_headroom_percentage", Int),
        ("dns_ignore_startup_failures", Bool),
        ("connect_timeout", Dur),
        ("batch_size", Int),
        ("parallelism", Int),
    ]
}

section! {
    /// `redis:`.
    Redis {
        endpoint: String = String::new(), "Host and port; several for a cluster or Sentinel, comma-separated.";
        master_name: String = String::new(), "Sentinel's name of the master.";
        timeout: GoDuration = GoDuration::from_millis(500), "Longest time for an answer.";
        expiration: GoDuration = GoDuration::ZERO, "How long items live; 0 is for ever.";
        ttl: GoDuration = GoDuration::ZERO, "Other name of `expiration`.";
        db: u32 = 0, "Number of the database.";
        pool_size: u32 = 0, "Connections, each of which serves many questions; 0 is 2.";
        username: String = String::new(), "User.";
        password: Secret = Secret::default(), "Password.";
        sentinel_username: String = String::new(), "Sentinel's user.";
        sentinel_password: Secret = Secret::default(), "Sentinel's password.";
        tls_enabled: bool = false, "Use TLS.";
        tls_insecure_skip_verify: bool = false, "Do not check the server's certificate.";
        idle_timeout: GoDuration = GoDuration::ZERO, "How long idle connections are kept; 0 is for ever.";
        max_connection_age: GoDuration = GoDuration::ZERO, "Oldest connection; 0 is no limit.";
    }
    ignored &[]
}
