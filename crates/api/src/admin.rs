//! What the surface needs to know about the process that is not an answer to a question about traces.

use futures::future::BoxFuture;
use serde_json::Value;
use trackway_common::{ErrorKind, RequestCtx, TenantId};
use trackway_querier::RedactionRequest;
use trackway_querier::service::QueryError;
use trackway_tail::{Tail, TailError};

use crate::own_overrides::OwnOverrides;

/// The process behind the surface.
pub trait Admin: Send + Sync + 'static {
    /// Whether questions are answered and spans are taken; if not, why.
    fn ready(&self) -> Result<(), String>;

    /// The parts of the process by name, each with its state: `Running`, `Starting`, `Stopping`, `Failed`.
    fn services(&self) -> Vec<(String, String)>;

    /// What is stored, by tenant.
    fn blocks(&self) -> Vec<StoredBlocks> {
        Vec::new()
    }

    /// The configuration as YAML, without secrets.
    fn config_yaml(&self, mode: ConfigMode) -> String;

    /// What can change while the process runs, as YAML; only what differs from the defaults if `diff`.
    fn runtime_config_yaml(&self, diff: bool) -> String {
        let _ = diff;
        String::new()
    }

    /// The tenants of which the overrides know something.
    fn tenants_with_overrides(&self) -> Vec<TenantOverrides> {
        Vec::new()
    }

    /// What counts for a tenant, by its name.
    fn tenant_overrides(&self, tenant: &str) -> TenantLimits {
        let _ = tenant;
        TenantLimits::default()
    }

    /// Where tenants' own settings are kept; `None` if they may set nothing.
    fn own_overrides(&self) -> Option<&dyn OwnOverrides> {
        None
    }

    /// Writes blocks of everything that is held, or of one tenant's part of it. An unknown tenant is `NotFound`.
    fn flush(&self, tenant: Option<TenantId>) -> BoxFuture<'_, Result<(), QueryError>>;

    /// Hides what is asked for and begins to remove it, or says what that would be. Of the first tenant of the context.
    fn redact(
        &self,
        ctx: RequestCtx,
        asked: RedactionRequest,
        dry_run: bool,
    ) -> BoxFuture<'_, Result<Value, QueryError>> {
        let _ = (ctx, asked, dry_run);
        Box::pin(async { Err(no_redactions()) })
    }

    /// One redaction of a tenant with its report, or all of them. An unknown one is `NotFound`.
    fn redactions(&self, tenant: &TenantId, id: Option<&str>) -> Result<Value, QueryError> {
        let _ = (tenant, id);
        Err(no_redactions())
    }

    /// Watches spans of these tenants as they arrive.
    ///
    /// # Errors
    /// [`TailError`].
    fn tail(&self, tenants: &[TenantId], query: &str) -> Result<Tail, TailError> {
        let _ = (tenants, query);
        Err(TailError::Stopping)
    }

    /// Bytes received by attribute, in Prometheus's text format; `None` if they are not counted.
    fn usage_metrics(&self) -> Option<String> {
        None
    }

    /// The metrics that are made of a tenant's spans, with their content type, in a form that this `Accept` header takes;
    /// `None` when there are none.
    fn generated_metrics(&self, tenant: &TenantId, accept: &str) -> Option<(&'static str, String)> {
        let _ = (tenant, accept);
        None
    }

    /// Begins to stop: refuses what is new, writes blocks, ends the process. Returns at once.
    fn shutdown(&self);

    /// The metrics of everything else, in the OpenMetrics text format; `# EOF` may be there or not.
    fn metrics_text(&self) -> String;

    /// Who holds how much of the memory budget, as a text for people.
    fn memory_page(&self) -> String {
        String::new()
    }

    /// What the first page says.
    fn home(&self) -> HomeInfo;
}

fn no_redactions() -> QueryError {
    QueryError::new(ErrorKind::Unsupported, "nothing can be redacted here")
}

/// The blocks of one tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredBlocks {
    /// Whose they are.
    pub tenant: String,
    /// How many.
    pub blocks: usize,
    /// Bytes of their data files.
    pub bytes: u64,
    /// Bytes among those of bloom filters over values of attributes.
    pub filter_bytes: u64,
}

/// A tenant of which the overrides know something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TenantOverrides {
    /// Its name; `*` stands for all without an entry.
    pub name: String,
    /// Whether the file of tenants has an entry.
    pub runtime: bool,
    /// Whether it set limits itself.
    pub user_configurable: bool,
}

/// What counts for a tenant, as YAML.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TenantLimits {
    /// What the tenant set itself; empty if nothing.
    pub user_configurable: String,
    /// What the file of tenants says for it, or else the defaults.
    pub runtime: String,
    /// Whether those are not its own but the wildcard's or the defaults.
    pub is_general: bool,
}

/// Which form of the configuration is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigMode {
    /// As it is.
    Current,
    /// Only what differs from the defaults.
    Diff,
    /// Only the defaults.
    Defaults,
}

/// The first page.
#[derive(Clone, Debug, Default)]
pub struct HomeInfo {
    /// One line: name, version, what runs.
    pub title: String,
    /// Addresses and other facts: what it is, and the text. A text that begins with `http` and holds no space
    /// becomes a link.
    pub facts: Vec<(String, String)>,
    /// Commands to type next: what for, and the command.
    pub commands: Vec<(String, String)>,
}
