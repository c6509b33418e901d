//! What keeps one tenant, or one question, from taking all there is.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use trackway_common::{ErrorKind, RequestCtx, TenantId};

use crate::service::QueryError;

/// Tenants whose questions are counted. Beyond it those without any are forgotten.
const TENANTS_MAX: usize = 4096;

/// Who is asking right now. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Guards {
    concurrent: usize,
    waiting: usize,
    tenants: Arc<Mutex<HashMap<TenantId, Arc<Line>>>>,
}

/// The questions of one tenant.
#[derive(Debug)]
struct Line {
    at_work: Arc<Semaphore>,
    /// Those that wait or are worked on.
    places: Arc<Semaphore>,
}

/// The right to work on a question. Given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Admitted {
    _permits: [OwnedSemaphorePermit; 2],
    /// Keeps the tenant from being forgotten.
    _line: Arc<Line>,
}

impl Guards {
    /// So many questions of a tenant at once, and so many that wait; 0 for either is no limit.
    pub(crate) fn new(concurrent: usize, waiting: usize) -> Self {
        let most = |limit: usize| if limit == 0 { Semaphore::MAX_PERMITS } else { limit };
        let (concurrent, waiting) = (most(concurrent), most(waiting));
        Self { concurrent, waiting, tenants: Arc::default() }
    }

    fn line(&self, tenant: &TenantId) -> Arc<Line> {
        let mut tenants = self.tenants.lock();
        if tenants.len() >= TENANTS_MAX {
            tenants.retain(|_, line| Arc::strong_count(line) > 1);
        }
        let line = tenants.entry(tenant.clone()).or_insert_with(|| {
            let places = self.concurrent.saturating_add(self.waiting).min(Semaphore::MAX_PERMITS);
            Arc::new(Line {
                at_work: Arc::new(Semaphore::new(self.concurrent)),
                places: Arc::new(Semaphore::new(places)),
            })
        });
        Arc::clone(line)
    }

    /// Waits until a question may be worked on. One over several tenants counts for the first of them.
    pub(crate) async fn admit(&self, ctx: &RequestCtx) -> Result<Option<Admitted>, QueryError> {
        let Some(tenant) = ctx.tenants.first() else { return Ok(None) };
        let line = self.line(tenant);
        let full = |_| {
            let message = format!(
                "too many questions of tenant {tenant} are waiting: more than {}; ask again later, or raise \
                 query_frontend.max_outstanding_per_tenant or trackway.query.max_concurrent_per_tenant",
                self.waiting
            );
            QueryError::new(ErrorKind::Exhausted, message)
        };
        let place = Arc::clone(&line.places).try_acquire_owned().map_err(full)?;
        let gone = || QueryError::new(ErrorKind::Cancelled, "the request was cancelled");
        tokio::select! {
            permit = Arc::clone(&line.at_work).acquire_owned() => {
                Ok(Some(Admitted { _permits: [place, permit.map_err(|_| gone())?], _line: Arc::clone(&line) }))
            }
            () = ctx.cancellation.cancelled() => Err(gone()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[tokio::test]
    async fn questions_wait_in_line_and_too_many_are_refused() {
        let guards = Guards::new(1, 1);
        let ctx = |name: &str| RequestCtx::for_tenant(TenantId::new(name).unwrap());
        let (a, b) = (ctx("a"), ctx("b"));
        let first = guards.admit(&a).await.unwrap();
        assert!(guards.admit(&b).await.is_ok(), "another tenant is not kept waiting");
        let second = tokio::spawn({
            let (guards, a) = (guards.clone(), a.clone());
            async move { guards.admit(&a).await.is_ok() }
        });
        // The second one takes the only place to wait; from then on others are sent away.
        tokio::task::yield_now().await;
        let refused = guards.admit(&a).await.unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Exhausted);
        assert!(refused.message.contains("max_outstanding_per_tenant"), "{}", refused.message);
        drop(first);
        assert!(second.await.unwrap());
    }
}
