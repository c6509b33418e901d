//! Each protocol with the client library that speaks it in the field: the programs of `tests/js`, `tests/java` and `tests/go`
//! send, and what they sent is asked for by id and found by search, by its tenant alone. What cannot be fetched here is
//! skipped by name. (Python's clients are in `sdk.rs` and `senders.rs`.)
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod browser;
mod go;
mod java;
mod js;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use support::spans::{found, of_trace};
use support::{Server, skipped};

/// Who sends, where there are tenants.
const TENANT: &str = "team-real";
/// Somebody who must see none of it.
const OTHER: &str = "team-other";
const MULTITENANT: &str = "multitenancy_enabled: true";
const NO_DATAGRAMS: &str = "is not served: a datagram cannot name its tenant";
/// How long a program may run, in seconds.
const RUN_SECONDS: &str = "60";

/// The folder with the programs of `tests/<name>`; `None`, and said so, where they cannot be had.
fn programs(test: &str, name: &str) -> Option<PathBuf> {
    let folder = trackway_peers::programs(name, env!("CARGO_TARGET_TMPDIR"));
    folder.map_err(|why| skipped(&format!("real_senders::{test}"), &why)).ok()
}

/// A program to run to its end.
fn program(path: impl AsRef<Path>) -> Command {
    let mut command = Command::new("timeout");
    command.arg(RUN_SECONDS).arg(path.as_ref());
    command
}

/// What a program printed and what it complained of.
fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// Runs a program that must end well; what it printed.
fn run(command: &mut Command) -> String {
    let output = command.output().expect("a program starts");
    let (said, complaint) = texts(&output);
    assert!(output.status.success(), "{command:?}: {}\n{said}\n{complaint}", output.status);
    said
}

/// Every query finds exactly these traces for the tenant, and nothing for another; and nobody else has them by id.
fn assert_found(server: &Server, tenant: Option<&str>, traces: &BTreeSet<String>, queries: &[&str]) {
    let other = tenant.map(|_| OTHER);
    for query in queries {
        assert_eq!(&found(server, tenant, query), traces, "{query}");
        if other.is_some() {
            assert_eq!(found(server, other, query), BTreeSet::new(), "{query}");
        }
    }
    if other.is_some() {
        for trace in traces {
            assert_eq!(of_trace(server, other, trace), [], "{trace}");
        }
    }
}
