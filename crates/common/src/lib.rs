//! What every crate of Trackway shares and nothing more: identifiers, time, randomness, tenants, the context of a
//! request, the memory budget, and the kinds of error.
//!
//! Nothing here does I/O. Time and randomness are values that are handed in, so that a whole system can run on a
//! simulated clock.

mod clock;
mod context;
mod error;
mod histogram;
mod ids;
mod memory;
mod secret;
mod seldom;
mod tenant;

pub use clock::{Clock, ManualClock, SystemClock, UnixNanos};
pub use context::{Cancelled, RequestCtx};
pub use error::{ErrorKind, Kinded};
pub use histogram::Histogram;
pub use ids::{ParseIdError, TraceId, span_id_hex};
pub use memory::{MemoryPool, MemoryUse, MemoryUser, OverBudget, Reservation, Shrink};
pub use secret::Secret;
pub use seldom::Seldom;
pub use tenant::{TenantError, TenantId};

/// A source of new block identifiers.
pub trait Random: Send + Sync + std::fmt::Debug {
    /// Returns a new random (version 4) identifier.
    fn uuid(&self) -> uuid::Uuid;
}

/// The operating system's randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    #[allow(clippy::disallowed_methods)] // the one place that may
    fn uuid(&self) -> uuid::Uuid {
        uuid::Uuid::new_v4()
    }
}
