//! The surface that questions come in by: HTTP as Tempo's clients ask it, gRPC streams as Grafana asks them, and the
//! pages that operators look at. What answers is a [`trackway_querier::service::QueryService`] and an [`Admin`].
//!
//! What must stay true: paths, parameters, statuses, error texts and JSON are Tempo's, because clients match on them;
//! the JSON of answers holds no key that Tempo's does not; an answer that is not complete says so; when the asker
//! goes away, the work is cancelled.

mod admin;
mod answer;
mod config;
mod context;
mod convert;
mod error;
mod go;
mod grpc;
mod health;
mod json;
mod logfmt;
mod metrics;
mod ops;
mod overrides;
mod own_overrides;
mod params;
mod querier_grpc;
mod query_string;
mod redactions;
mod router;
mod search;
mod series_json;
mod series_params;
mod status;
mod tags;
mod tail;
mod trace;
mod ts_metrics;

pub use admin::{Admin, ConfigMode, HomeInfo, StoredBlocks, TenantLimits, TenantOverrides};
pub use config::ApiConfig;
pub use context::ApiState;
pub use own_overrides::{Document, OwnOverrides, OwnOverridesError, OwnOverridesKind, Stored};
pub use router::{router, serve};
