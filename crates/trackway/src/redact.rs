//! Redactions of this process: found, written down, flushed out of live data, and shown.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::Timestamp;
use serde_json::{Value, json};
use trackway_common::{ErrorKind, Random, RequestCtx, SystemRandom, TenantId};
use trackway_querier::service::QueryError;
use trackway_querier::{Redactable, RedactionRequest};
use trackway_storage::redact::{PENDING_MAX, Redaction, Redactions, Which};

use crate::admin::Process;

/// Traces that a dry run lists.
const LISTED_MAX: usize = 1000;

fn error(kind: ErrorKind, text: impl Into<String>) -> QueryError {
    QueryError::new(kind, text)
}

impl Process {
    fn redactions(&self) -> &Redactions {
        self.querier.reader().store().redactions()
    }

    /// Finds what is asked for, and hides it from now on unless this is only to see what that would be.
    pub(crate) async fn redact_now(
        &self,
        ctx: RequestCtx,
        asked: RedactionRequest,
        dry_run: bool,
    ) -> Result<Value, QueryError> {
        if self.config.trackway.read_only {
            let text = "this process only answers questions (--read-only); redact where spans are written";
            return Err(error(ErrorKind::Invalid, text));
        }
        let tenant =
            ctx.tenants.first().cloned().ok_or_else(|| error(ErrorKind::Invalid, "no tenant is named"))?;
        let found = self.querier.redactable(&ctx, &asked).await?;
        if found.targets.is_empty() {
            let what = if asked.query.is_some() { "no span matches" } else { "no such trace is stored" };
            return Err(error(ErrorKind::NotFound, format!("there is nothing to redact: {what}")));
        }
        if dry_run {
            return Ok(preview(&found));
        }
        if self.redactions().pending(&tenant).len() >= PENDING_MAX {
            let text =
                format!("{PENDING_MAX} redactions of this tenant are not done yet; wait for some of them");
            return Err(error(ErrorKind::Exhausted, text));
        }
        let id = SystemRandom.uuid();
        let created = Timestamp::from_nanosecond(i128::from(self.clock.now())).unwrap_or_default();
        let Redactable { targets, spans, unknown } = found;
        let counts = (targets.len() as u64, spans);
        let redaction = Redaction::new(id, created, targets, counts);
        let (store, ingester) = (self.querier.reader().store().clone(), Arc::clone(&self.ingester));
        let of = tenant.clone();
        // In a task of its own: an asker who goes away must not leave half of it.
        let put = tokio::spawn(async move {
            store.put_redaction(&of, redaction).await?;
            // What is live goes to a block, from which it is removed; until then it is hidden there.
            Ok::<_, trackway_storage::StoreError>(ingester.flush(Some(&of)).await)
        });
        let put =
            put.await.map_err(|_| error(ErrorKind::Internal, "it was interrupted; the log says how"))?;
        let flushed = put.map_err(|problem| {
            let text = format!("nothing is redacted, since it cannot be written down: {problem}");
            error(ErrorKind::Unavailable, text)
        })?;
        tracing::info!(%tenant, redaction = %id, traces = counts.0, spans = counts.1, "redacted; hidden from now on");
        let mut answer = self.shown(&tenant, Some(&id.to_string()))?;
        if !unknown.is_empty() {
            answer["unknownTraceIds"] = unknown.iter().map(|id| id.hex()).collect();
        }
        if let Err(problem) = flushed {
            answer["waits"] =
                format!("recent spans are hidden and cannot be written to a block: {problem}").into();
        }
        Ok(answer)
    }

    /// One redaction, or all of a tenant.
    pub(crate) fn shown(&self, tenant: &TenantId, id: Option<&str>) -> Result<Value, QueryError> {
        let Some(text) = id else {
            let all: Vec<Value> =
                self.redactions().all(tenant).iter().map(|redaction| self.show(tenant, redaction)).collect();
            return Ok(json!({ "redactions": all }));
        };
        let unknown = || error(ErrorKind::NotFound, format!("redaction {text} is not known"));
        let id = text.parse().map_err(|_| unknown())?;
        self.redactions().get(tenant, id).map(|redaction| self.show(tenant, &redaction)).ok_or_else(unknown)
    }

    fn show(&self, tenant: &TenantId, redaction: &Redaction) -> Value {
        let blocks: Vec<Value> = redaction
            .removed
            .iter()
            .map(|(block, removal)| {
                let mut shown = json!({ "block": block, "traces": removal.traces, "spans": removal.spans });
                if let Some(into) = removal.into {
                    shown["into"] = json!(into);
                }
                shown
            })
            .collect();
        let mut shown = json!({
            "id": redaction.id,
            "state": if redaction.done.is_some() { "done" } else { "pending" },
            "created": redaction.created.to_string(),
            "traces": redaction.traces,
            "spans": redaction.spans,
            "blocks": blocks,
        });
        match redaction.done {
            Some(done) => {
                shown["finished"] = done.to_string().into();
                if !redaction.unread.is_empty() {
                    shown["unreadBlocks"] = json!(redaction.unread);
                }
            }
            None if self.compactor.is_none() => {
                shown["waits"] =
                    "the spans are hidden and stay in the store: this process writes no blocks anew \
                                  (compactor.disabled, --read-only)"
                        .into();
            }
            None => {
                if let Some(what) = self.redactions().waits_for(tenant) {
                    shown["waits"] = what.into();
                }
            }
        }
        shown
    }

    /// Appends the counts in Prometheus's text format.
    pub(crate) fn write_redaction_metrics(&self, out: &mut String) {
        let (pending, removed) =
            (self.redactions().pending_count(), self.redactions().removed_spans.load(Ordering::Relaxed));
        // Writing to a string cannot fail.
        let _ = write!(
            out,
            "# HELP trackway_redactions_pending Redactions that are not done.\n\
             # TYPE trackway_redactions_pending gauge\ntrackway_redactions_pending {pending}\n\
             # HELP trackway_redacted_spans_total Spans that redactions removed from blocks.\n\
             # TYPE trackway_redacted_spans_total counter\ntrackway_redacted_spans_total {removed}\n"
        );
    }
}

/// What would be removed.
fn preview(found: &Redactable) -> Value {
    let target = |(id, which): (&trackway_common::TraceId, &Which)| match which {
        Which::All => json!({ "traceID": id.hex(), "spans": "all" }),
        Which::Spans(spans) => json!({ "traceID": id.hex(), "spans": spans.len() }),
    };
    let mut shown = json!({
        "dryRun": true,
        "traces": found.targets.len(),
        "spans": found.spans,
        "targets": found.targets.iter().take(LISTED_MAX).map(target).collect::<Vec<Value>>(),
    });
    if !found.unknown.is_empty() {
        shown["unknownTraceIds"] = found.unknown.iter().map(|id| id.hex()).collect();
    }
    shown
}
