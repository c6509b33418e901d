//! Traces of which limits refused spans: marked, so that whoever reads them is told that they are not whole.
//!
//! The newest are known, over restarts too: in a small file, written whole under another name, synced and renamed, when the
//! log lets go of records; what came in after that is in the log's records. That the file is missing or damaged only means
//! that a trace is given without the mark.

use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use trackway_common::{TenantId, TraceId};

/// Traces that are marked; of more, the newest.
const MARKED_MAX: usize = 50_000;

/// The marked traces.
#[derive(Debug, Default)]
pub(crate) struct CutTraces {
    marked: Mutex<Marked>,
}

#[derive(Debug, Default)]
struct Marked {
    known: HashSet<(TenantId, TraceId)>,
    /// Oldest first.
    order: VecDeque<(TenantId, TraceId)>,
    /// Whether there are some that the file does not have.
    changed: bool,
}

/// As it stands in the file.
#[derive(Serialize, Deserialize)]
struct Entry {
    tenant: String,
    trace: String,
}

impl CutTraces {
    /// Marks a trace.
    pub(crate) fn mark(&self, tenant: &TenantId, trace: TraceId) {
        let mut marked = self.marked.lock();
        let key = (tenant.clone(), trace);
        if !marked.known.insert(key.clone()) {
            return;
        }
        marked.order.push_back(key);
        marked.changed = true;
        if marked.order.len() > MARKED_MAX
            && let Some(oldest) = marked.order.pop_front()
        {
            marked.known.remove(&oldest);
        }
    }

    /// Whether a trace is marked.
    pub(crate) fn has(&self, tenant: &TenantId, trace: TraceId) -> bool {
        let marked = self.marked.lock();
        !marked.known.is_empty() && marked.known.contains(&(tenant.clone(), trace))
    }

    /// Writes the file, if there is anything new. Blocks on I/O.
    pub(crate) fn save(&self, path: &Path) -> io::Result<()> {
        let entries: Vec<Entry> = {
            let mut marked = self.marked.lock();
            if !std::mem::take(&mut marked.changed) {
                return Ok(());
            }
            let entry = |(tenant, trace): &(TenantId, TraceId)| Entry {
                tenant: tenant.to_string(),
                trace: trace.hex(),
            };
            marked.order.iter().map(entry).collect()
        };
        let written = write(path, &entries);
        if written.is_err() {
            self.marked.lock().changed = true;
        }
        written
    }

    /// Reads what [`Self::save`] wrote.
    pub(crate) fn load(&self, path: &Path) -> io::Result<()> {
        let json = match std::fs::read(path) {
            Ok(json) => json,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for Entry { tenant, trace } in serde_json::from_slice::<Vec<Entry>>(&json)? {
            if let (Ok(tenant), Ok(trace)) = (TenantId::new(&tenant), trace.parse()) {
                self.mark(&tenant, trace);
            }
        }
        self.marked.lock().changed = false;
        Ok(())
    }
}

fn write(path: &Path, entries: &[Entry]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(&serde_json::to_vec(entries)?)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_come_back_and_the_oldest_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cut-traces");
        let (a, b) = (TenantId::new("a").unwrap(), TenantId::new("b").unwrap());
        let cut = CutTraces::default();
        cut.load(&path).unwrap();
        cut.save(&path).unwrap();
        assert!(!path.exists());
        cut.mark(&a, TraceId(7));
        cut.save(&path).unwrap();
        let again = CutTraces::default();
        again.load(&path).unwrap();
        assert!(again.has(&a, TraceId(7)) && !again.has(&b, TraceId(7)) && !again.has(&a, TraceId(8)));
        for trace in 100..100 + MARKED_MAX as u128 {
            again.mark(&b, TraceId(trace));
        }
        assert!(!again.has(&a, TraceId(7)) && again.has(&b, TraceId(100)));
        std::fs::write(&path, "[{").unwrap();
        assert!(again.load(&path).is_err());
    }
}
