//! `host-info`: one gauge for each host that sends spans.

use trackway_overrides::HostInfo;
use trackway_spans::Value;
use trackway_spans::anyvalue::AnyValue;

use crate::facts::ResourceFacts;
use crate::labels;
use crate::registry::{Kind, Metric, Registry, TableId};
use crate::wanted::{Slot, Wanted};

/// The processor.
#[derive(Debug)]
pub(crate) struct HostInfoProcessor {
    pub(crate) table: TableId,
    /// Keys and where their values are, the best first.
    identifiers: Vec<(String, Slot)>,
}

impl HostInfoProcessor {
    pub(crate) fn new(settings: &HostInfo, registry: &mut Registry, wanted: &mut Wanted) -> Self {
        let shape = vec![Metric { name: settings.metric_name.clone(), kind: Kind::Gauge, is_rare: false }];
        let identifiers = settings.identifiers.iter().map(|key| (key.clone(), wanted.add(key))).collect();
        Self { table: registry.table(shape), identifiers }
    }

    /// Notes the host of a resource. `false`: its name is no UTF-8.
    pub(crate) fn resource(
        &self,
        resource: &ResourceFacts<'_>,
        registry: &mut Registry,
        now_ms: i64,
    ) -> bool {
        let host = self.identifiers.iter().find_map(|(key, slot)| match resource.slots.get(*slot) {
            Some(Some(AnyValue::Scalar(Value::String(host)))) if !host.is_empty() => Some((key, *host)),
            _ => None,
        });
        let Some((key, host)) = host else { return true };
        let mut set = Vec::new();
        labels::put(&mut set, b"grafana_host_id", |out| out.extend_from_slice(host));
        labels::put(&mut set, b"host_source", |out| out.extend_from_slice(key.as_bytes()));
        let Some(place) = registry.entity(self.table, &set, now_ms) else { return false };
        registry.set(self.table, place, 0, 1.0);
        true
    }
}
