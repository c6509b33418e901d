//! Lets go of samples and tenants that nobody needs, and says up to where the ingester's log is needed.
//!
//! What must stay true: a tenant goes only when everything of it is sent and the ingester's log is not read again where it
//! was counted; the log is told of a position only after that is written down.

use std::io;
use std::sync::Arc;

use trackway_common::UnixNanos;
use trackway_wal::{RecentHashes, Sequence};

use super::{Generator, KEEP_EVERY_MS, POSITION, RECENT, Reading, is_due};
use crate::samples::replace;
use crate::tenant::millis;

impl Generator {
    /// Lets go of samples that everybody has, or that are too old or too many; and of tenants that are over.
    /// `written` is up to where the ingester's log is not read again.
    pub(super) fn tidy(&self, now_ms: i64, written: u64) {
        let age = i64::try_from(self.config.wal.max_age.as_millis()).unwrap_or(i64::MAX);
        let mut sizes = Vec::new();
        for of in self.all() {
            let log = Arc::clone(&of.tenant.lock().log);
            log.trim(now_ms.saturating_sub(age));
            sizes.push((log.bytes(), log));
        }
        let mut total: u64 = sizes.iter().map(|(bytes, _)| *bytes).sum();
        while total > self.config.wal.max_bytes {
            let largest = (0..sizes.len()).max_by_key(|place| sizes[*place].0);
            let Some((bytes, log)) = largest.and_then(|place| sizes.get_mut(place)) else { break };
            if !log.give_up_oldest() {
                // The newest of each stays.
                total -= *bytes;
                *bytes = 0;
                if sizes.iter().all(|(bytes, _)| *bytes == 0) {
                    break;
                }
                continue;
            }
            total = total - *bytes + log.bytes();
            *bytes = log.bytes();
        }
        self.part(now_ms, written);
    }

    /// Takes leave of tenants that have nothing left.
    fn part(&self, now_ms: i64, written: u64) {
        let stale = i64::try_from(self.config.registry.stale_duration.as_millis()).unwrap_or(i64::MAX);
        for of in self.all() {
            let tenant = of.tenant.lock();
            let end = tenant.end();
            let is_sent = of.sending.iter().all(|sending| sending.follower.is_at(end));
            // What is read again after a crash must not meet a tenant that has forgotten it.
            if !tenant.is_over(now_ms, stale) || !is_sent || tenant.last_record() > written {
                continue;
            }
            let (id, log) = (tenant.id.clone(), Arc::clone(&tenant.log));
            drop(tenant);
            let mut tenants = self.tenants.write();
            tenants.remove(&id);
            self.budget.shared_by(tenants.len());
            drop(tenants);
            log.close();
            if let Err(error) = std::fs::remove_dir_all(self.config.path.join(id.as_str())) {
                tracing::warn!(tenant = %id, %error, "empty log of samples cannot be deleted");
            }
        }
    }

    /// Tells the ingester's log what is needed, and writes that down.
    pub(super) fn keep(&self, reading: &mut Reading, safe: u64, is_last: bool) {
        let now = self.clock.now();
        let is_due = is_last || is_due(millis(now), reading.next_keep_ms, KEEP_EVERY_MS);
        if Some(safe) == reading.written || !is_due {
            return;
        }
        reading.next_keep_ms = millis(now).saturating_add(KEEP_EVERY_MS);
        // The log need not be longer because our disk fails: then a restart counts less.
        self.source.keep_behind(Sequence(safe));
        if !(reading.is_wanted || self.config.path.exists()) {
            return;
        }
        // After a crash records are read that were counted already; tenants know which. Of those before them it is known
        // which requests they were.
        match self.write_down(&reading.recent, safe, now) {
            Ok(()) => reading.written = Some(safe),
            Err(error) if is_last || self.failing.due() => {
                tracing::warn!(%error, "up to where spans are counted cannot be written");
            }
            Err(_) => {}
        }
    }

    fn write_down(&self, recent: &RecentHashes, safe: u64, now: UnixNanos) -> io::Result<()> {
        std::fs::create_dir_all(&self.config.path)?;
        recent.save(&self.config.path.join(RECENT), now)?;
        replace(&self.config.path.join(POSITION), &format!("{:032x} {safe}\n", self.source.id()))
    }
}
