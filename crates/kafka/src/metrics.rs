//! What was read and how far behind it is, by the names of the Collector's receiver, and of Tempo for the topic that Tempo 3
//! leaves behind.

use std::collections::BTreeMap;
use std::fmt::Write;

use parking_lot::Mutex;

/// Partitions that are counted one by one; of others nothing is shown. Topics come from the configuration, so only
/// their partitions could be many.
const PARTITIONS_MAX: usize = 10_000;

/// Why a record was passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Passed {
    /// It names no tenant, or none that can be one.
    Tenant,
    /// It is not written as its topic is.
    Malformed,
    /// It is larger than may be.
    TooLarge,
    /// Its spans were refused for good.
    Refused,
    /// Handling it failed, which is a mistake of ours.
    Internal,
}

impl Passed {
    fn name(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::Refused => "refused",
            Self::Internal => "internal",
        }
    }
}

/// Topic and partition.
type Place = (String, i32);

/// Counts since the process started, and how things stand.
#[derive(Debug, Default)]
pub struct KafkaMetrics {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    records: BTreeMap<Place, Records>,
    passed: BTreeMap<(String, Passed), u64>,
    /// Of partitions that are read: the next offset that is not durable, and records up to the end.
    standing: BTreeMap<Place, Standing>,
    retries: u64,
    connected: BTreeMap<&'static str, bool>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Records {
    good: u64,
    bad: u64,
    bytes: u64,
}

#[derive(Clone, Copy, Debug)]
struct Standing {
    offset: i64,
    lag: Option<u64>,
    /// The group, of the topic that Tempo 3 wrote.
    of_tempo: Option<&'static str>,
}

impl KafkaMetrics {
    pub(crate) fn record(&self, topic: &str, partition: i32, bytes: usize, passed: Option<Passed>) {
        let mut state = self.state.lock();
        let is_new = !state.records.contains_key(&(topic.to_owned(), partition));
        if !is_new || state.records.len() < PARTITIONS_MAX {
            let records = state.records.entry((topic.to_owned(), partition)).or_default();
            records.bytes += bytes as u64;
            if passed.is_some() {
                records.bad += 1;
            } else {
                records.good += 1;
            }
        }
        if let Some(why) = passed {
            *state.passed.entry((topic.to_owned(), why)).or_default() += 1;
        }
    }

    pub(crate) fn retried(&self) {
        self.state.lock().retries += 1;
    }

    pub(crate) fn connected(&self, setting: &'static str, connected: bool) {
        self.state.lock().connected.insert(setting, connected);
    }

    pub(crate) fn stands(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        lag: Option<u64>,
        of_tempo: Option<&'static str>,
    ) {
        let mut state = self.state.lock();
        let place = (topic.to_owned(), partition);
        if state.standing.contains_key(&place) || state.standing.len() < PARTITIONS_MAX {
            state.standing.insert(place, Standing { offset, lag, of_tempo });
        }
    }

    /// Somebody else reads these partitions now.
    pub(crate) fn gone(&self, topic: &str, partition: i32) {
        self.state.lock().standing.remove(&(topic.to_owned(), partition));
    }

    /// Appends them in Prometheus's text format; nothing when Kafka is not read.
    pub fn write(&self, out: &mut String) {
        let state = self.state.lock();
        if state.connected.is_empty() {
            return;
        }
        // Writing to a string cannot fail.
        let head = |out: &mut String, name: &str, kind: &str, help: &str| {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        };
        let name = "otelcol_kafka_receiver_records_total";
        head(out, name, "counter", "Records read from Kafka.");
        for ((topic, partition), records) in &state.records {
            for (outcome, count) in [("success", records.good), ("failure", records.bad)] {
                let labels = format!("topic=\"{topic}\",partition=\"{partition}\",outcome=\"{outcome}\"");
                let _ = writeln!(out, "{name}{{{labels}}} {count}");
            }
        }
        let name = "otelcol_kafka_receiver_bytes_uncompressed_total";
        head(out, name, "counter", "Bytes of those records.");
        for ((topic, partition), records) in &state.records {
            let bytes = records.bytes;
            let _ = writeln!(out, "{name}{{topic=\"{topic}\",partition=\"{partition}\"}} {bytes}");
        }
        let name = "otelcol_kafka_receiver_current_offset";
        head(out, name, "gauge", "The next offset whose spans are not durable.");
        for ((topic, partition), Standing { offset, .. }) in &state.standing {
            let _ = writeln!(out, "{name}{{topic=\"{topic}\",partition=\"{partition}\"}} {offset}");
        }
        let name = "otelcol_kafka_receiver_offset_lag";
        head(out, name, "gauge", "Records from there to the end of the partition.");
        for ((topic, partition), standing) in &state.standing {
            if let Some(lag) = standing.lag {
                let _ = writeln!(out, "{name}{{topic=\"{topic}\",partition=\"{partition}\"}} {lag}");
            }
        }
        let name = "tempo_ingest_group_partition_lag";
        head(out, name, "gauge", "The same of the topic of ingest.kafka.");
        for ((_, partition), standing) in &state.standing {
            if let Standing { lag: Some(lag), of_tempo: Some(group), .. } = standing {
                let _ = writeln!(out, "{name}{{group=\"{group}\",partition=\"{partition}\"}} {lag}");
            }
        }
        let name = "trackway_kafka_discarded_records_total";
        head(out, name, "counter", "Records that were passed over, which the log tells about.");
        for ((topic, why), count) in &state.passed {
            let reason = why.name();
            let _ = writeln!(out, "{name}{{topic=\"{topic}\",reason=\"{reason}\"}} {count}");
        }
        let name = "trackway_kafka_retries_total";
        head(out, name, "counter", "Times a record was told to come back later.");
        let _ = writeln!(out, "{name} {}", state.retries);
        let name = "trackway_kafka_connected";
        head(out, name, "gauge", "Whether the brokers can be read from.");
        for (setting, connected) in &state.connected {
            let _ = writeln!(out, "{name}{{receiver=\"{setting}\"}} {}", u8::from(*connected));
        }
    }
}
