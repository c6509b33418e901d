//! What a receiver hands over and what it gets back, whatever the protocol was.

use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use trackway_common::{ErrorKind, Kinded, TenantId};

/// One batch of spans on its way in.
#[derive(Clone, Debug)]
pub struct PushRequest {
    /// Whose spans they are.
    pub tenant: TenantId,
    /// An OTLP `ExportTraceServiceRequest` in protobuf.
    pub body: Bytes,
    /// How it came, for the log: `OTLP gRPC`, `OTLP HTTP`.
    pub protocol: &'static str,
    /// What the sender calls itself (`user-agent`), if it does.
    pub sender: Option<String>,
}

/// What became of a batch whose good spans are durable now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PushResponse {
    /// Spans kept.
    pub accepted: u32,
    /// Spans refused: place in the request, counted over all spans from 0, and the reason.
    pub refused: Vec<(u32, String)>,
}

/// Nothing of the batch was kept.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct PushError {
    /// What the sender must do.
    pub kind: ErrorKind,
    /// What to tell it.
    pub message: String,
    /// When to come back, where that would help.
    pub retry_after: Option<Duration>,
    /// Whether the same request will be refused at any time, whatever `kind` says for Tempo's sake.
    pub never: bool,
}

impl Kinded for PushError {
    fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl PushError {
    /// An error without a time to come back.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after: None, never: false }
    }
}

/// Where receivers push to.
pub trait Push: Send + Sync + 'static {
    /// Keeps the good spans of a batch. When this returns `Ok`, they are durable and the next query finds them.
    ///
    /// # Errors
    /// [`PushError`] when nothing was kept; `Invalid` when no span of the batch is usable.
    fn push(&self, request: PushRequest) -> BoxFuture<'_, Result<PushResponse, PushError>>;

    /// Counts spans that a receiver refused before there was a batch of them.
    fn discarded(&self, tenant: &TenantId, reason: &'static str, spans: u64) {
        let _ = (tenant, reason, spans);
    }
}
