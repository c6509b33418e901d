//! Takes up what a process before left, and tenants as they come.
//!
//! What must stay true: the ingester's log is read from where every tenant's counts begin; what it has let go of before it
//! was counted is said.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use trackway_common::{Seldom, TenantId};
use trackway_wal::{Cursor, Sequence};

use super::{Generator, OfTenant, OpenError, POSITION, RECENT, Reading, Sending};
use crate::expand::external_labels;
use crate::samples::Position;
use crate::sender::{SendNumbers, Sender, where_it_stood};
use crate::tenant::{Place, Tenant, millis};

impl Generator {
    /// Takes up the tenants that have a log of samples.
    pub(super) fn take_up(&self, end: Sequence) -> Result<(), OpenError> {
        let path = &self.config.path;
        let failed = |source| OpenError::Io { path: path.display().to_string(), source };
        let mut reading = self.reading.lock();
        reading.is_wanted = self.config.overrides.makes_metrics();
        if path.exists() {
            self.take_up_tenants(&mut reading, end).map_err(failed)?;
        }
        // What comes from now on counts, also after a crash that is sooner than the first look at it.
        let from = reading.cursor.sequence().0;
        self.keep(&mut reading, from, false);
        Ok(())
    }

    fn take_up_tenants(&self, reading: &mut Reading, end: Sequence) -> io::Result<()> {
        let path = &self.config.path;
        let position = self.position().filter(|position| *position <= end);
        let from_file = position.unwrap_or(end);
        let mut from = from_file;
        for entry in std::fs::read_dir(path)? {
            let name = entry?.file_name();
            let Some(tenant) = name.to_str().and_then(|name| TenantId::new(name).ok()) else { continue };
            if !path.join(tenant.as_str()).join("wal").is_dir() {
                continue;
            }
            // Where nothing was collected yet, what came since is counted now.
            match self.add_tenant(&tenant, from_file, &mut reading.new) {
                Ok(of) => {
                    let counted = of.tenant.lock().counted();
                    // Of another log its numbers mean nothing.
                    from = from.min(Sequence(counted));
                }
                Err(error) => {
                    tracing::error!(tenant = %tenant, %error, "log of samples cannot be opened; its metrics begin anew \
                        when that is mended");
                }
            }
        }
        let gone = self.source.low_water();
        if from < gone {
            tracing::warn!(
                records = gone.0 - from.0,
                "the ingester's log was short of room and has let go of requests that metrics had not counted"
            );
        }
        reading.cursor = Cursor::after(from.max(gone));
        self.source.keep_behind(from.max(gone));
        if position.is_some()
            && let Err(error) = reading.recent.load(&path.join(RECENT), from)
        {
            tracing::warn!(%error, "which requests were counted lately cannot be read");
        }
        Ok(())
    }

    /// Up to where the ingester's log counts, by the file that says so; `None` for another log.
    fn position(&self) -> Option<Sequence> {
        let text = std::fs::read_to_string(self.config.path.join(POSITION)).ok()?;
        let (log, sequence) = text.trim().split_once(' ')?;
        let is_ours = u128::from_str_radix(log, 16).ok()? == self.source.id();
        sequence.parse().ok().filter(|_| is_ours).map(Sequence)
    }

    pub(super) fn add_tenant(
        &self,
        id: &TenantId,
        counted: Sequence,
        new: &mut Vec<(Sender, Position)>,
    ) -> io::Result<Arc<OfTenant>> {
        let limits = self.config.overrides.for_tenant(id);
        let now_ms = millis(self.clock.now());
        let end = *self.source.durable().borrow();
        let source = Place {
            log: self.source.id(),
            counted: counted.0,
            low_water: self.source.low_water().0,
            end: end.0,
        };
        let tenant = Tenant::open(id, &self.config, &self.budget, limits, source, now_ms)?;
        let external = Arc::new(external_labels(&self.config.registry, id));
        let (log, end) = (Arc::clone(&tenant.log), tenant.end());
        let sending = self.receivers.iter().map(|receiver| {
            let from = where_it_stood(&log, &receiver.endpoint, end);
            let follower = log.follow(from);
            let numbers = Arc::new(SendNumbers::default());
            numbers.sent_up_to.store(tenant.before_ms(), Ordering::Relaxed);
            let sender = Sender {
                tenant: id.clone(),
                log: Arc::clone(&log),
                follower: Arc::clone(&follower),
                receiver: receiver.clone(),
                overrides: Arc::clone(&self.config.overrides),
                external: Arc::clone(&external),
                names_tenant: self.config.add_org_id_header && self.config.has_tenants,
                numbers: Arc::clone(&numbers),
                clock: Arc::clone(&self.clock),
                refused: Seldom::default(),
                last_pauses: AtomicU64::new(0),
            };
            new.push((sender, from));
            Sending { receiver: receiver.clone(), numbers, follower }
        });
        let sending = sending.collect();
        let of = Arc::new(OfTenant { tenant: Mutex::new(tenant), sending });
        let mut tenants = self.tenants.write();
        tenants.insert(id.clone(), Arc::clone(&of));
        self.budget.shared_by(tenants.len());
        Ok(of)
    }
}
