//! The tables of all settings, block by block as in the file.
//!
//! Defaults are Tempo 3.0's unless Trackway has a better one, in which case the meaning says so.

mod caches;
mod compaction;
mod distributor;
mod foreign;
mod generator;
mod generator_limits;
mod ingester;
mod kafka;
mod overrides;
mod query;
mod receivers;
mod remote_write;
mod server;
mod storage;
mod trackway;

pub use caches::*;
pub use compaction::*;
pub use distributor::*;
pub use foreign::*;
pub use generator::*;
pub use generator_limits::*;
pub use ingester::*;
pub use kafka::*;
pub use overrides::*;
pub use query::*;
pub use receivers::*;
pub use remote_write::*;
pub use server::*;
pub use storage::*;
pub use trackway::*;

use crate::duration::GoDuration;
use crate::ignored;

/// Whole seconds.
pub(crate) const fn secs(count: i64) -> GoDuration {
    GoDuration::from_secs(count)
}

/// Whole minutes.
pub(crate) const fn mins(count: i64) -> GoDuration {
    GoDuration::from_secs(count * 60)
}

/// Whole hours.
pub(crate) const fn hours(count: i64) -> GoDuration {
    GoDuration::from_secs(count * 3600)
}

section! {
    /// Everything that a configuration file may say and Trackway uses.
    Settings {
        target: String = "all".to_owned(), "Which parts this process runs.";
        multitenancy_enabled: bool = false, "Demand a tenant (`X-Scope-OrgID`) with every request and keep tenants apart.";
        auth_enabled: Option<bool> = None, "Old name of `multitenancy_enabled`.";
        shutdown_delay: GoDuration = GoDuration::ZERO, "Time between the signal to stop and the start of the shutdown, not ready meanwhile.";
        stream_over_http_enabled: bool = false, "Serve the streaming gRPC API on the HTTP port too.";
        http_api_prefix: String = String::new(), "Path put before every API path, such as `/tempo`.";
        server: Server = Server::default(), "The HTTP and gRPC servers.";
        distributor: Distributor = Distributor::default(), "Where spans come in.";
        ingest: Ingest = Ingest::default(), "What Tempo 3's distributors left in Kafka.";
        ingester: Ingester = Ingester::default(), "How blocks are cut (Tempo 2.x). Having this block makes the configuration a 2.x one.";
        live_store: LiveStore = LiveStore::default(), "How blocks are cut (Tempo 3.x).";
        storage: Storage = Storage::default(), "Where blocks lie.";
        compactor: Compactor = Compactor::default(), "Merging and expiry of blocks (Tempo 2.x).";
        backend_scheduler: BackendScheduler = BackendScheduler::default(), "Merging and expiry of blocks (Tempo 3.x), planning.";
        backend_worker: BackendWorker = BackendWorker::default(), "Merging and expiry of blocks (Tempo 3.x), working.";
        query_frontend: QueryFrontend = QueryFrontend::default(), "Limits of questions.";
        querier: Querier = Querier::default(), "How questions are worked on.";
        metrics_generator: MetricsGenerator = MetricsGenerator::default(), "Metrics from spans.";
        overrides: Overrides = Overrides::default(), "Limits of tenants.";
        usage_report: UsageReport = UsageReport::default(), "Reporting of usage; Trackway never reports anything.";
        cache: Cache = Cache::default(), "Caches outside the process.";
        trackway: Trackway = Trackway::default(), "What only Trackway has.";
    }
    ignored ignored::ROOT
}

section! {
    /// `usage_report:`.
    UsageReport {
        reporting_enabled: bool = true, "Accepted; Trackway never sends anything home.";
    }
    ignored &[("backoff", crate::table::Shape::Block(ignored::BACKOFF))]
}
