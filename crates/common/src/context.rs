//! What travels with every request: who asks, until when, and whether they still want the answer.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::TenantId;

/// The context of one request.
#[derive(Clone, Debug)]
pub struct RequestCtx {
    /// The tenants that are asked about; one for a write. Never empty.
    pub tenants: Vec<TenantId>,
    /// By [`crate::Clock::monotonic`]; after it the answer is of no use.
    pub deadline: Option<Duration>,
    /// Fires when the client goes away or the process stops.
    pub cancellation: CancellationToken,
}

/// The asker went away, or its deadline passed; the work was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request was cancelled")]
pub struct Cancelled;

impl RequestCtx {
    /// A context for one tenant without a deadline.
    pub fn for_tenant(tenant: TenantId) -> Self {
        Self { tenants: vec![tenant], deadline: None, cancellation: CancellationToken::new() }
    }

    /// Returns [`Cancelled`] when the work should be given up. Cheap: call it once per chunk of work.
    pub fn check(&self) -> Result<(), Cancelled> {
        if self.cancellation.is_cancelled() { Err(Cancelled) } else { Ok(()) }
    }
}
