//! The metrics-generator and a real Prometheus: what Grafana's service graph and span metrics views ask for is what the
//! spans say, whoever is killed, away or full in the meantime.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)] // a test measures real time

#[path = "prometheus/away.rs"]
mod away;
#[path = "prometheus/gate.rs"]
mod gate;
#[path = "prometheus/killed.rs"]
mod killed;
#[path = "prometheus/queries.rs"]
mod queries;
#[path = "prometheus/stage.rs"]
mod stage;
mod support;
#[path = "prometheus/truth.rs"]
mod truth;

use trackway_peers::Prometheus;

/// Prometheus, or `None` where it is not installed, which is said.
fn prometheus(test: &str) -> Option<Prometheus> {
    Prometheus::start().inspect_err(|why| trackway_peers::skipped(test, why)).ok()
}
