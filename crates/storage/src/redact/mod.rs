//! Redactions: traces and spans that nobody may see any more, and that are to leave the store.
//!
//! A redaction is one object, `<tenant>/trackway/redactions/<id>.json`, which names what is hidden. It is written before it
//! is acknowledged and read before a look at the store shows the tenant's blocks. When nothing of it is left in the store,
//! `<id>.done.json` takes its place, which names no trace any more.
//!
//! What must stay true:
//! - Spans of blocks enter a question, a merge or an index through [`crate::BlockReader`], and those of live data through
//!   [`Hidden::without`]; nowhere else.
//! - A tenant without redactions pays one look at a counter.
//! - Rows of blocks stay where they are: a hidden trace is a row without spans.

mod hidden;
mod objects;
mod reading;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use jiff::Timestamp;
use moka::sync::Cache;
use parking_lot::RwLock;
use tokio::sync::Notify;
use trackway_common::{TenantId, TraceId};
use uuid::Uuid;

use crate::entry::LogRanges;
pub use hidden::{Hidden, Which};
pub(crate) use objects::FOLDER;
pub use objects::Named;
pub(crate) use reading::with_whole_traces;

/// Traces, and spans, that one redaction may name at the most.
pub const REDACTED_MAX: usize = 100_000;
/// Redactions of a tenant at the most that are not done.
pub const PENDING_MAX: usize = 100;
/// Reports of redactions that are done, of a tenant; older ones are deleted.
pub const REPORTS_MAX: usize = 100;
/// Row groups of which it is remembered whether they hold what is hidden.
const LOOKED_AT_MAX: u64 = 200_000;

/// What a redaction removed from one block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removal {
    /// Traces that lost spans.
    pub traces: u64,
    /// Spans.
    pub spans: u64,
    /// The block that has the rest; `None` when nothing was left.
    pub into: Option<Uuid>,
}

/// A redaction.
#[derive(Clone, Debug)]
pub struct Redaction {
    /// Which one.
    pub id: Uuid,
    /// When it was asked for.
    pub created: Timestamp,
    /// Traces of which it found spans then.
    pub traces: u64,
    /// Spans that it found then.
    pub spans: u64,
    /// What it hides; nothing when it is done.
    pub targets: BTreeMap<TraceId, Which>,
    /// What it removed, by block.
    pub removed: BTreeMap<Uuid, Removal>,
    /// Blocks that cannot be read, so that nobody knows what is in them.
    pub unread: Vec<Uuid>,
    /// Records of logs all of whose spans it removed: no block names them, and no replay may bring them back.
    pub log: Vec<LogRanges>,
    /// When nothing of it was left.
    pub done: Option<Timestamp>,
}

impl Redaction {
    /// A new one.
    pub fn new(
        id: Uuid,
        created: Timestamp,
        targets: BTreeMap<TraceId, Which>,
        (traces, spans): (u64, u64),
    ) -> Self {
        let (removed, unread, log) = Default::default();
        Self { id, created, traces, spans, targets, removed, unread, log, done: None }
    }

    /// The same as a report: without the ids of what it hid.
    #[must_use]
    pub fn report(&self, done: Timestamp) -> Self {
        Self { targets: BTreeMap::new(), done: Some(done), ..self.clone() }
    }
}

#[derive(Debug, Default)]
struct OfTenant {
    all: BTreeMap<Uuid, Arc<Redaction>>,
    /// Nothing when nothing is hidden.
    hidden: Option<Arc<Hidden>>,
    version: u64,
    /// What those that are not done wait for, as far as it is known.
    waits_for: Option<String>,
}

/// The redactions of all tenants, as this process knows them.
#[derive(Debug)]
pub struct Redactions {
    tenants: RwLock<HashMap<TenantId, OfTenant>>,
    /// Tenants of which something is hidden.
    hiding: AtomicUsize,
    versions: AtomicU64,
    /// Whether a row group holds a row of a hidden trace, by block, row group and version.
    looked_at: Cache<(Uuid, usize, u64), bool>,
    /// Told when there is something new to do.
    pub wake: Notify,
    /// Spans that were removed from blocks.
    pub removed_spans: AtomicU64,
}

impl Default for Redactions {
    fn default() -> Self {
        Self {
            tenants: RwLock::default(),
            hiding: AtomicUsize::new(0),
            versions: AtomicU64::new(0),
            looked_at: Cache::new(LOOKED_AT_MAX),
            wake: Notify::new(),
            removed_spans: AtomicU64::new(0),
        }
    }
}

impl Redactions {
    /// What is hidden of a tenant.
    pub fn hidden(&self, tenant: &TenantId) -> Option<Arc<Hidden>> {
        if self.hiding.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.tenants.read().get(tenant)?.hidden.clone()
    }

    /// Changes whenever another set of spans is hidden of a tenant; 0 while that never happened.
    pub fn version(&self, tenant: &TenantId) -> u64 {
        self.tenants.read().get(tenant).map_or(0, |of| of.version)
    }

    /// Changes whenever the version of any tenant does.
    pub fn changes(&self) -> u64 {
        self.versions.load(Ordering::Acquire)
    }

    /// All of a tenant, oldest first.
    pub fn all(&self, tenant: &TenantId) -> Vec<Arc<Redaction>> {
        let tenants = self.tenants.read();
        let mut all: Vec<_> =
            tenants.get(tenant).into_iter().flat_map(|of| of.all.values().cloned()).collect();
        all.sort_by_key(|redaction| (redaction.created, redaction.id));
        all
    }

    /// One of a tenant.
    pub fn get(&self, tenant: &TenantId, id: Uuid) -> Option<Arc<Redaction>> {
        self.tenants.read().get(tenant)?.all.get(&id).cloned()
    }

    /// Those of a tenant that are not done.
    pub fn pending(&self, tenant: &TenantId) -> Vec<Arc<Redaction>> {
        if self.hiding.load(Ordering::Acquire) == 0 {
            return Vec::new();
        }
        self.all(tenant).into_iter().filter(|redaction| redaction.done.is_none()).collect()
    }

    /// The tenants that have redactions which are not done.
    pub fn tenants_pending(&self) -> Vec<TenantId> {
        let tenants = self.tenants.read();
        let pending = tenants.iter().filter(|(_, of)| of.hidden.is_some());
        pending.map(|(tenant, _)| tenant.clone()).collect()
    }

    /// Redactions that are not done.
    pub fn pending_count(&self) -> usize {
        let tenants = self.tenants.read();
        tenants.values().flat_map(|of| of.all.values()).filter(|redaction| redaction.done.is_none()).count()
    }

    /// Records of logs that no replay may bring back.
    pub fn logs(&self, tenant: &TenantId) -> Vec<LogRanges> {
        self.all(tenant).iter().flat_map(|redaction| redaction.log.clone()).collect()
    }

    /// Says what those of a tenant that are not done wait for.
    pub fn wait_for(&self, tenant: &TenantId, what: Option<String>) {
        if let Some(of) = self.tenants.write().get_mut(tenant) {
            of.waits_for = what;
        }
    }

    /// What those of a tenant that are not done wait for, as far as it is known.
    pub fn waits_for(&self, tenant: &TenantId) -> Option<String> {
        self.tenants.read().get(tenant)?.waits_for.clone()
    }

    /// Takes one over as it is now.
    pub(crate) fn put(&self, tenant: &TenantId, redaction: Redaction) {
        let is_new = redaction.done.is_none() && self.get(tenant, redaction.id).is_none();
        self.change(tenant, |all| drop(all.insert(redaction.id, Arc::new(redaction))));
        if is_new {
            self.wake.notify_one();
        }
    }

    pub(crate) fn remove(&self, tenant: &TenantId, ids: &[Uuid]) {
        if !ids.is_empty() {
            self.change(tenant, |all| all.retain(|id, _| !ids.contains(id)));
        }
    }

    pub(crate) fn forget(&self, tenant: &TenantId) {
        self.change(tenant, BTreeMap::clear);
    }

    fn change(&self, tenant: &TenantId, change: impl FnOnce(&mut BTreeMap<Uuid, Arc<Redaction>>)) {
        let mut tenants = self.tenants.write();
        let of = tenants.entry(tenant.clone()).or_default();
        change(&mut of.all);
        let targets = Hidden::targets(of.all.values().map(|redaction| &redaction.targets));
        let same = match &of.hidden {
            Some(hidden) => hidden.is(&targets),
            None => targets.is_empty(),
        };
        if !same {
            of.version = self.versions.fetch_add(1, Ordering::AcqRel) + 1;
            of.hidden = Hidden::new(targets, of.version).map(Arc::new);
        }
        let hiding = tenants.values().filter(|of| of.hidden.is_some()).count();
        self.hiding.store(hiding, Ordering::Release);
    }
}
