//! What caches count. Names are Tempo's where it has them.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use trackway_common::Histogram;

use crate::role::Role;

/// Upper bounds of the buckets of requests, in seconds: Tempo's, from 16 µs to a quarter of a second, and beyond.
static BOUNDS: [f64; 10] =
    [0.000_016, 0.000_064, 0.000_256, 0.001_024, 0.004_096, 0.016_384, 0.065_536, 0.262_144, 1.0, 4.0];

/// What was asked of a cache outside the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Put,
    Delete,
}

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Ok,
    Failed,
    LeftAlone,
}

const METHODS: [(Method, &str); 3] =
    [(Method::Get, "GetMulti"), (Method::Put, "Put"), (Method::Delete, "Delete")];
const OUTCOMES: [(Outcome, &str); 3] =
    [(Outcome::Ok, "200"), (Outcome::Failed, "500"), (Outcome::LeftAlone, "503")];

/// Counts of one cache outside the process.
#[derive(Debug)]
pub(crate) struct RemoteMetrics {
    requests: [[Histogram; 3]; 3],
    too_large: AtomicU64,
    pub(crate) waiting: AtomicU64,
    pub(crate) waiting_bytes: AtomicU64,
    pub(crate) dropped: AtomicU64,
}

impl Default for RemoteMetrics {
    fn default() -> Self {
        let requests = [(); 3].map(|()| [(); 3].map(|()| Histogram::new(&BOUNDS)));
        let (too_large, waiting) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { requests, too_large, waiting, waiting_bytes: AtomicU64::new(0), dropped: AtomicU64::new(0) }
    }
}

impl RemoteMetrics {
    pub(crate) fn record(&self, method: Method, outcome: Outcome, took: Duration) {
        self.requests[method as usize][outcome as usize].record(took);
    }

    pub(crate) fn count_too_large(&self) {
        self.too_large.fetch_add(1, Ordering::Relaxed);
    }
}

/// A place where entries are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tier {
    Local,
    Remote,
}

const TIERS: [(Tier, &str); 2] = [(Tier::Local, "local"), (Tier::Remote, "remote")];

/// Counts by role and tier.
#[derive(Debug, Default)]
pub(crate) struct Lookups {
    counts: [[Counts; TIERS.len()]; Role::ALL.len()],
    /// Entries that were found and turned out to be wrong, by role.
    rejected: [AtomicU64; Role::ALL.len()],
}

#[derive(Debug, Default)]
struct Counts {
    hits: AtomicU64,
    misses: AtomicU64,
    bytes: AtomicU64,
}

impl Lookups {
    pub(crate) fn count(&self, role: Role, tier: Tier, found: impl Iterator<Item = Option<usize>>) {
        let counts = &self.counts[role as usize][tier as usize];
        for length in found {
            match length {
                Some(length) => {
                    counts.hits.fetch_add(1, Ordering::Relaxed);
                    counts.bytes.fetch_add(length as u64, Ordering::Relaxed);
                }
                None => {
                    counts.misses.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    pub(crate) fn reject(&self, role: Role) {
        self.rejected[role as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Hits of a role in a tier.
    pub(crate) fn hits(&self, role: Role, tier: Tier) -> u64 {
        self.counts[role as usize][tier as usize].hits.load(Ordering::Relaxed)
    }

    pub(crate) fn write(&self, out: &mut String) {
        type Of = fn(&Counts) -> &AtomicU64;
        let counters: [(&str, &str, Of); 3] = [
            ("trackway_cache_hits_total", "Entries that a cache had.", |counts| &counts.hits),
            ("trackway_cache_misses_total", "Entries that a cache did not have.", |counts| &counts.misses),
            ("trackway_cache_read_bytes_total", "Bytes of entries that a cache had.", |counts| &counts.bytes),
        ];
        for (name, help, of) in counters {
            head(out, name, "counter", help);
            for (tier, tier_name) in TIERS {
                for role in Role::ALL {
                    let value = of(&self.counts[role as usize][tier as usize]).load(Ordering::Relaxed);
                    line(out, format_args!("{name}{{role=\"{role}\",tier=\"{tier_name}\"}} {value}"));
                }
            }
        }
        let name = "trackway_cache_rejected_total";
        head(
            out,
            name,
            "counter",
            "Cached entries that turned out to be wrong and were fetched from the store.",
        );
        for role in Role::ALL {
            let value = self.rejected[role as usize].load(Ordering::Relaxed);
            line(out, format_args!("{name}{{role=\"{role}\"}} {value}"));
        }
    }
}

/// A cache outside the process, for its metrics.
pub(crate) struct RemoteView<'a> {
    pub(crate) name: &'a str,
    pub(crate) is_redis: bool,
    pub(crate) metrics: &'a RemoteMetrics,
    /// Servers, and whether each is left alone.
    pub(crate) servers: Vec<(String, bool)>,
}

pub(crate) fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    line(out, format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
}

pub(crate) fn line(out: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{line}");
}

/// Appends what is known of caches outside the process.
pub(crate) fn write_remotes(out: &mut String, remotes: &[RemoteView<'_>]) {
    for (is_redis, name, what) in [
        (false, "tempo_memcache_request_duration_seconds", "memcache"),
        (true, "tempo_rediscache_request_duration_seconds", "redis"),
    ] {
        let remotes: Vec<_> = remotes.iter().filter(|remote| remote.is_redis == is_redis).collect();
        if remotes.is_empty() {
            continue;
        }
        head(out, name, "histogram", &format!("Total time spent in seconds doing {what} requests."));
        let prefix = if is_redis { "RedisCache" } else { "Memcache" };
        for remote in remotes {
            for (method, method_name) in METHODS {
                for (outcome, code) in OUTCOMES {
                    let histogram = &remote.metrics.requests[method as usize][outcome as usize];
                    let labels = format!(
                        "method=\"{prefix}.{method_name}\",name=\"{}\",status_code=\"{code}\"",
                        remote.name
                    );
                    if histogram.count() > 0 {
                        histogram.write(out, name, &labels);
                    }
                }
            }
        }
    }
    type Value = fn(&RemoteView<'_>) -> u64;
    let each: [(&str, &str, &str, Value); 6] = [
        ("tempo_cache_background_queue_length", "gauge", "Entries that wait to be written.", |remote| {
            remote.metrics.waiting.load(Ordering::Relaxed)
        }),
        (
            "trackway_cache_background_queue_bytes",
            "gauge",
            "Bytes of entries that wait to be written.",
            |remote| remote.metrics.waiting_bytes.load(Ordering::Relaxed),
        ),
        (
            "tempo_cache_dropped_background_writes_total",
            "counter",
            "Entries that were not written because too many waited.",
            |remote| remote.metrics.dropped.load(Ordering::Relaxed),
        ),
        ("tempo_memcache_client_servers", "gauge", "The number of memcache servers discovered.", |remote| {
            remote.servers.len() as u64
        }),
        (
            "tempo_memcache_client_set_skip_total",
            "counter",
            "Entries that were not written because they are too large.",
            |remote| remote.metrics.too_large.load(Ordering::Relaxed),
        ),
        (
            "trackway_cache_servers_left_alone",
            "gauge",
            "Servers that failed and are left alone for a while.",
            |remote| remote.servers.iter().filter(|(_, left_alone)| *left_alone).count() as u64,
        ),
    ];
    for (name, kind, help, value) in each {
        let is_memcached = name.starts_with("tempo_memcache");
        let remotes: Vec<_> = remotes.iter().filter(|remote| !(is_memcached && remote.is_redis)).collect();
        if remotes.is_empty() {
            continue;
        }
        head(out, name, kind, help);
        for remote in remotes {
            line(out, format_args!("{name}{{name=\"{}\"}} {}", remote.name, value(remote)));
        }
    }
}
