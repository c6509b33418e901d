//! What every request shares, and what each gets: its tenants, its deadline, and a token that fires when it ends.

use std::future::Future;
use std::sync::Arc;

use http::HeaderMap;
use tokio_util::sync::{CancellationToken, DropGuard};
use trackway_common::{Clock, RequestCtx, TenantError, TenantId};
use trackway_querier::service::{QueryError, QueryService};

use crate::error::ApiError;
use crate::metrics::Metrics;
use crate::{Admin, ApiConfig};

/// The header, or over gRPC the metadata, that names the tenants.
const TENANT: &str = "x-scope-orgid";

/// What every request shares. Cheap to clone.
#[derive(Clone)]
pub struct ApiState {
    pub(crate) config: Arc<ApiConfig>,
    pub(crate) query: Arc<dyn QueryService>,
    pub(crate) admin: Arc<dyn Admin>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Arc<Metrics>,
}

impl ApiState {
    /// Puts the parts together.
    pub fn new(
        config: ApiConfig,
        query: Arc<dyn QueryService>,
        admin: Arc<dyn Admin>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { config: Arc::new(config), query, admin, clock, metrics: Arc::new(Metrics::new()) }
    }

    /// The context of a question. The work is cancelled when the guard is dropped, so it must live as long as
    /// anybody waits for the answer.
    pub(crate) fn begin(&self, headers: &HeaderMap) -> Result<(RequestCtx, DropGuard), ApiError> {
        let tenants = tenants(headers, &self.config)?;
        let deadline =
            self.config.query_timeout.map(|timeout| self.clock.monotonic().saturating_add(timeout));
        let cancellation = CancellationToken::new();
        let guard = cancellation.clone().drop_guard();
        Ok((RequestCtx { tenants, deadline, cancellation }, guard))
    }

    /// Waits for an answer, but not too long.
    pub(crate) async fn within<T, E>(&self, answer: impl Future<Output = Result<T, E>>) -> Result<T, ApiError>
    where
        ApiError: From<E>,
    {
        match self.config.query_timeout {
            None => Ok(answer.await?),
            Some(timeout) => match tokio::time::timeout(timeout, answer).await {
                Ok(answer) => Ok(answer?),
                Err(_) => Err(timed_out().into()),
            },
        }
    }
}

/// What an asker is told when the time is up.
pub(crate) fn timed_out() -> QueryError {
    let text = "unable to process request in the configured timeout";
    QueryError::new(trackway_common::ErrorKind::Deadline, text)
}

/// The tenants that are asked about: sorted, each once.
pub(crate) fn tenants(headers: &HeaderMap, config: &ApiConfig) -> Result<Vec<TenantId>, ApiError> {
    if !config.multitenancy {
        return Ok(vec![TenantId::single()]);
    }
    let names =
        headers.get(TENANT).map(|names| String::from_utf8_lossy(names.as_bytes())).unwrap_or_default();
    if names.is_empty() {
        return Err(ApiError::unauthorized(TenantError::Missing.to_string()));
    }
    let mut tenants = names
        .split('|')
        .map(TenantId::new)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| ApiError::bad(error.to_string()))?;
    tenants.sort();
    tenants.dedup();
    if tenants.len() > 1 && !config.multi_tenant_queries_enabled {
        return Err(ApiError::bad("multi-tenant query unsupported"));
    }
    Ok(tenants)
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn asked(name: Option<&'static str>, config: &ApiConfig) -> Result<String, (StatusCode, String)> {
        let mut headers = HeaderMap::new();
        if let Some(name) = name {
            headers.insert(TENANT, http::HeaderValue::from_static(name));
        }
        match tenants(&headers, config) {
            Ok(tenants) => Ok(tenants.iter().map(TenantId::as_str).collect::<Vec<_>>().join(",")),
            Err(error) => Err((error.status, error.text)),
        }
    }

    #[test]
    fn tenants_are_named_checked_and_sorted() {
        let off = ApiConfig::default();
        let on = ApiConfig { multitenancy: true, ..ApiConfig::default() };
        let one = ApiConfig { multi_tenant_queries_enabled: false, ..on.clone() };
        assert_eq!(asked(Some("a/b"), &off).unwrap(), "single-tenant");
        assert_eq!(asked(None, &on), Err((StatusCode::UNAUTHORIZED, "no org id".into())));
        assert_eq!(asked(Some("b|a|b"), &on).unwrap(), "a,b");
        let bad = "tenant ID 'a/b' contains unsupported character '/'".to_owned();
        assert_eq!(asked(Some("a/b"), &on), Err((StatusCode::BAD_REQUEST, bad)));
        let several = "multi-tenant query unsupported".to_owned();
        assert_eq!(asked(Some("a|b"), &one), Err((StatusCode::BAD_REQUEST, several)));
        assert_eq!(asked(Some("a|a"), &one).unwrap(), "a");
    }
}
