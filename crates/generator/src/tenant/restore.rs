//! Takes up what a tenant's log of samples says of the last collection before a restart.
//!
//! What must stay true: what is counted afterwards is what that collection had, and everything behind it in the ingester's
//! log; where the two do not meet, counters begin at zero rather than with what receivers have seen exceeded.

use std::collections::HashMap;

use super::{Place, Tenant};
use crate::record::{self, Record};
use crate::registry::{Metric, Restored};

/// What is read of a log of samples at a start.
#[derive(Debug, Default)]
pub(super) struct State {
    labels: HashMap<u32, Box<[u8]>>,
    last: Option<Vec<u8>>,
}

impl State {
    pub(super) fn read(&mut self, payload: &[u8]) {
        let Some(Record { tables, .. }) = record::decode(payload) else { return };
        for entity in tables.iter().flat_map(|table| &table.entities) {
            if let Some(labels) = entity.labels {
                self.labels.insert(entity.id, labels.into());
            }
        }
        self.last = Some(payload.to_vec());
    }
}

impl Tenant {
    /// Takes up what the last collection before a restart had.
    pub(super) fn take_up(&mut self, state: &State, place: Place, now_ms: i64) {
        let Some(record) = state.last.as_deref().and_then(record::decode) else { return };
        if record.moment.log == self.source && record.moment.sequence > place.end {
            tracing::warn!(
                tenant = %self.id,
                "the ingester's log has lost requests that metrics have counted; what it has from now on is counted"
            );
        } else if record.moment.log == self.source && record.moment.sequence < place.low_water {
            // Something newer was there: the ingester's log has let go of what led to it.
            tracing::warn!(
                tenant = %self.id,
                "the log of samples is damaged; counters begin at zero, rather than with what they were before"
            );
            self.before_ms = self.before_ms.max(record.moment.time_ms);
            return;
        } else if record.moment.log == self.source {
            // What came behind it is read from the ingester's log and counted now.
            (self.counted, self.safe, self.unsynced) =
                (record.moment.sequence, record.moment.sequence, record.moment.sequence);
        }
        self.before_ms = self.before_ms.max(record.moment.time_ms);
        for table in &record.tables {
            let id = self.registry.table(table.shape.clone());
            let width = table.shape.iter().map(Metric::width).sum::<usize>();
            let forms: Vec<_> = table.shape.iter().filter_map(Metric::native).collect();
            for (place, entity) in table.entities.iter().enumerate() {
                let Some(labels) =
                    entity.labels.or_else(|| state.labels.get(&entity.id).map(|labels| &**labels))
                else {
                    continue;
                };
                let values =
                    table.values.get(place * width..(place + 1) * width).unwrap_or_default().to_vec();
                let of =
                    table.natives.get(place * forms.len()..(place + 1) * forms.len()).unwrap_or_default();
                let natives = of.iter().zip(&forms).map(|(native, form)| native.restore(*form)).collect();
                let found = Restored { present: entity.present, updated_ms: now_ms, values, natives };
                self.registry.restore(id, entity.id, labels, found);
            }
        }
        if let Some(graphs) = &mut self.service_graphs {
            graphs.restore(&mut record.edges.clone(), now_ms);
        }
        self.end_unused();
    }
}
