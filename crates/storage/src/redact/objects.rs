//! Redactions as objects.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use object_store::path::Path;
use serde::{Deserialize, Serialize};
use trackway_common::{TenantId, TraceId};
use uuid::Uuid;

use super::{REPORTS_MAX, Redaction, Removal, Which};
use crate::blocks::{BlockStore, StoreError};
use crate::entry::LogRanges;

/// The folder of redactions in the folder of what Tempo does not know.
pub(crate) const FOLDER: &str = "redactions";
const PENDING: &str = ".json";
const DONE: &str = ".done.json";
/// The format of the objects.
const VERSION: u32 = 1;

/// A redaction, by the name of its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    pub(crate) id: Uuid,
    pub(crate) done: bool,
}

impl Named {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (id, done) = match name.strip_suffix(DONE) {
            Some(id) => (id, true),
            None => (name.strip_suffix(PENDING)?, false),
        };
        Some(Self { id: id.parse().ok()?, done })
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    version: u32,
    id: Uuid,
    created: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    done: Option<Timestamp>,
    found_traces: u64,
    found_spans: u64,
    /// Traces all of whose spans are hidden.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    traces: Vec<String>,
    /// Spans that are hidden, by trace.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    spans: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    removed: Vec<StoredRemoval>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    unread: Vec<Uuid>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    log: Vec<LogRanges>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredRemoval {
    block: Uuid,
    traces: u64,
    spans: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    into: Option<Uuid>,
}

impl Stored {
    fn of(redaction: &Redaction) -> Self {
        let (mut traces, mut spans) = (Vec::new(), BTreeMap::new());
        for (id, which) in &redaction.targets {
            match which {
                Which::All => traces.push(id.hex()),
                Which::Spans(ids) => {
                    spans.insert(id.hex(), ids.iter().map(|id| format!("{id:016x}")).collect());
                }
            }
        }
        let removal = |(block, removal): (&Uuid, &Removal)| {
            let Removal { traces, spans, into } = removal.clone();
            StoredRemoval { block: *block, traces, spans, into }
        };
        Self {
            version: VERSION,
            id: redaction.id,
            created: redaction.created,
            done: redaction.done,
            found_traces: redaction.traces,
            found_spans: redaction.spans,
            traces,
            spans,
            removed: redaction.removed.iter().map(removal).collect(),
            unread: redaction.unread.clone(),
            log: redaction.log.clone(),
        }
    }

    fn into_redaction(self) -> Result<Redaction, String> {
        if self.version != VERSION {
            return Err(format!("a redaction of version {}, which is not known here", self.version));
        }
        let trace = |id: &str| id.parse::<TraceId>().map_err(|error| format!("trace id {id:?}: {error}"));
        let mut targets = BTreeMap::new();
        for id in &self.traces {
            targets.insert(trace(id)?, Which::All);
        }
        for (id, spans) in &self.spans {
            let span =
                |id: &String| u64::from_str_radix(id, 16).map_err(|error| format!("span id {id:?}: {error}"));
            let spans: BTreeSet<u64> = spans.iter().map(span).collect::<Result<_, _>>()?;
            targets.insert(trace(id)?, Which::Spans(spans));
        }
        let removal = |StoredRemoval { block, traces, spans, into }| (block, Removal { traces, spans, into });
        Ok(Redaction {
            id: self.id,
            created: self.created,
            traces: self.found_traces,
            spans: self.found_spans,
            targets,
            removed: self.removed.into_iter().map(removal).collect(),
            unread: self.unread,
            log: self.log,
            done: self.done,
        })
    }
}

impl BlockStore {
    fn redaction_path(&self, tenant: &TenantId, named: Named) -> Path {
        let suffix = if named.done { DONE } else { PENDING };
        self.own_folder(tenant).join(FOLDER).join(format!("{}{suffix}", named.id))
    }

    /// Writes a redaction as it is now. What it hides is hidden when this returns, here at once and elsewhere after the next
    /// look at the store.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is hidden then, unless the store did it all the same: the next look at it tells.
    pub async fn put_redaction(&self, tenant: &TenantId, redaction: Redaction) -> Result<(), StoreError> {
        let named = Named { id: redaction.id, done: redaction.done.is_some() };
        let path = self.redaction_path(tenant, named);
        let json = serde_json::to_vec(&Stored::of(&redaction))
            .map_err(|error| StoreError::Damaged { path: path.to_string(), problem: error.to_string() })?;
        self.put(&path, json.into()).await?;
        if named.done {
            // As long as it is there, it is pending for whoever reads it.
            self.delete(&self.redaction_path(tenant, Named { done: false, ..named })).await?;
        }
        self.redactions().put(tenant, redaction);
        Ok(())
    }

    async fn read_redaction(&self, tenant: &TenantId, named: Named) -> Result<Option<Redaction>, StoreError> {
        let path = self.redaction_path(tenant, named);
        let json = match self.get(&path).await {
            Ok(json) => json,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        let damaged = |problem: String| StoreError::Damaged { path: path.to_string(), problem };
        let stored: Stored = serde_json::from_slice(&json).map_err(|error| damaged(error.to_string()))?;
        stored.into_redaction().map(Some).map_err(damaged)
    }

    /// Takes over a listing: reads what is not known, and forgets what is gone. One that is pending here and not in the
    /// listing is asked for by its name.
    ///
    /// # Errors
    /// [`StoreError`]; what was known stays hidden.
    pub(crate) async fn read_redactions(
        &self,
        tenant: &TenantId,
        listed: &[Named],
    ) -> Result<(), StoreError> {
        let known = self.redactions().all(tenant);
        let is_known =
            |named: &Named| known.iter().any(|one| one.id == named.id && one.done.is_some() >= named.done);
        // One that is there both ways was not taken away yet, though nothing of it is left.
        let is_done = |id: Uuid| listed.contains(&Named { id, done: true });
        for named in listed.iter().filter(|named| named.done || !is_done(named.id)) {
            if is_known(named) {
                continue;
            }
            match self.read_redaction(tenant, *named).await? {
                Some(redaction) => self.redactions().put(tenant, redaction),
                None if named.done => {}
                None => {
                    let done = Named { done: true, ..*named };
                    if let Some(redaction) = self.read_redaction(tenant, done).await? {
                        self.redactions().put(tenant, redaction);
                    }
                }
            }
        }
        let mut gone = Vec::new();
        for one in known.iter().filter(|one| !listed.iter().any(|named| named.id == one.id)) {
            let named = Named { id: one.id, done: one.done.is_some() };
            if !self.has(&self.redaction_path(tenant, named)).await? {
                match self.read_redaction(tenant, Named { done: true, ..named }).await? {
                    Some(done) => self.redactions().put(tenant, done),
                    None => gone.push(one.id),
                }
            }
        }
        self.redactions().remove(tenant, &gone);
        Ok(())
    }

    /// Deletes the oldest reports, when there are more than [`REPORTS_MAX`], and what an interruption left of redactions that
    /// are done.
    ///
    /// # Errors
    /// [`StoreError`]; the rest can be done later.
    pub async fn tidy_redactions(&self, tenant: &TenantId, listed: &[Named]) -> Result<(), StoreError> {
        for named in listed.iter().filter(|named| !named.done) {
            if listed.contains(&Named { done: true, ..*named }) {
                self.delete(&self.redaction_path(tenant, *named)).await?;
            }
        }
        let done: Vec<_> =
            self.redactions().all(tenant).into_iter().filter(|redaction| redaction.done.is_some()).collect();
        for old in done.iter().take(done.len().saturating_sub(REPORTS_MAX)) {
            self.delete(&self.redaction_path(tenant, Named { id: old.id, done: true })).await?;
            self.redactions().remove(tenant, &[old.id]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn what_is_hidden_is_read_back_and_a_report_names_nothing() {
        let objects = Arc::new(object_store::memory::InMemory::new());
        let (store, other) = (BlockStore::new(objects.clone(), ""), BlockStore::new(objects, ""));
        let (tenant, id) = (TenantId::single(), Uuid::from_u128(7));
        let spans = Which::Spans([3, 4].into());
        let targets = BTreeMap::from([(TraceId(1), Which::All), (TraceId(2), spans.clone())]);
        let mut redaction = Redaction::new(id, Timestamp::UNIX_EPOCH, targets.clone(), (2, 9));
        redaction.removed.insert(id, Removal { traces: 1, spans: 2, into: None });
        store.put_redaction(&tenant, redaction.clone()).await.unwrap();
        let listed = || async { other.list_tenant(&tenant).await.unwrap().redactions };
        assert_eq!(listed().await, [Named { id, done: false }]);
        other.read_redactions(&tenant, &listed().await).await.unwrap();
        for store in [&store, &other] {
            let hidden = store.redactions().hidden(&tenant).unwrap();
            assert!(hidden.is(&targets));
            assert_eq!(hidden.partial(), [TraceId(2)]);
            assert_ne!(store.redactions().version(&tenant), 0);
        }
        assert_eq!(other.redactions().pending(&tenant)[0].removed, redaction.removed);
        // An old listing does not bring it out of hiding.
        other.read_redactions(&tenant, &[]).await.unwrap();
        assert!(other.redactions().hidden(&tenant).is_some());
        store.put_redaction(&tenant, redaction.report(Timestamp::UNIX_EPOCH)).await.unwrap();
        assert!(store.redactions().hidden(&tenant).is_none());
        assert_eq!(listed().await, [Named { id, done: true }]);
        other.read_redactions(&tenant, &[Named { id, done: false }]).await.unwrap();
        other.read_redactions(&tenant, &listed().await).await.unwrap();
        assert!(other.redactions().hidden(&tenant).is_none());
        let report = other.redactions().get(&tenant, id).unwrap();
        assert!(report.targets.is_empty() && report.removed == redaction.removed);
    }
}
