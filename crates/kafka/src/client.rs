//! How the client library is set up, what one look for records may cost, and committing.
//!
//! What must stay true: a batch becomes no larger than [`BATCH_BYTES_MAX`], however well it was compressed, and a look
//! takes no more of them than the memory budget has room for, or [`RECORDS_MIN`].

use std::sync::Arc;
use std::time::Duration;

use krafka::consumer::{
    AutoOffsetReset, Consumer, ConsumerBuilder, OffsetAndMetadata, PartitionAssignmentStrategy,
    TopicPartition,
};
use krafka::{Kafka, KrafkaError};
use tokio::time::timeout;

use crate::config::{KafkaConfig, Sharing};
use crate::listener::Listener;
use crate::progress::{Position, Progress};
use crate::record::RECORD_BYTES_MAX;

/// A batch of records that becomes larger than this is not taken apart.
const BATCH_BYTES_MAX: usize = RECORD_BYTES_MAX;
/// Records that one look takes, however much memory there is,
const RECORDS_MAX: usize = 500;
/// and however little: with fewer, batches of many small records would be fetched again and again.
const RECORDS_MIN: usize = 100;
/// A commit that takes longer is given up, and tried again with the next.
const COMMIT: Duration = Duration::from_secs(10);

/// Records that one look takes. The client takes up to twice as many out of their batches, and each may be alone in a batch
/// that is small on the wire and as large as may be afterwards; a quarter of the budget is what requests may have. With
/// less than 25 GiB the least is what counts: against a producer that packs batches to hurt there is no protection then.
fn records_at_a_time(memory: usize) -> i32 {
    let records = (memory / 4 / BATCH_BYTES_MAX / 2).clamp(RECORDS_MIN, RECORDS_MAX);
    i32::try_from(records).unwrap_or(i32::MAX)
}

/// The group in which Tempo 3's block builders say how far they are.
pub const TEMPO_GROUP: &str = "block-builder";

pub(crate) fn consumer(kafka: &Kafka, config: &KafkaConfig, listener: Arc<Listener>) -> ConsumerBuilder {
    let fetching = config.fetching;
    let strategies = match config.sharing {
        Sharing::Any => {
            vec![PartitionAssignmentStrategy::CooperativeSticky, PartitionAssignmentStrategy::Range]
        }
        Sharing::Range => vec![PartitionAssignmentStrategy::Range],
        Sharing::RoundRobin => vec![PartitionAssignmentStrategy::RoundRobin],
        Sharing::CooperativeSticky => vec![PartitionAssignmentStrategy::CooperativeSticky],
    };
    let reset = if config.from_beginning { AutoOffsetReset::Earliest } else { AutoOffsetReset::Latest };
    let mut builder = kafka
        .consumer(&config.group_id)
        .enable_auto_commit(false)
        .auto_offset_reset(reset)
        .partition_assignment_strategies(strategies)
        .session_timeout(config.session_timeout)
        .heartbeat_interval(config.heartbeat_interval)
        .fetch_min_bytes(fetching.min_bytes)
        .fetch_max_bytes(fetching.max_bytes)
        .max_partition_fetch_bytes(fetching.max_partition_bytes)
        .fetch_max_wait(fetching.max_wait)
        .max_poll_records(records_at_a_time(config.memory.limit()))
        // Records of paused partitions must not keep others from being read; each has one fetch at the most.
        .max_buffered_records(0)
        .max_decompressed_size(BATCH_BYTES_MAX)
        .metrics_push(false)
        .rebalance_listener(listener);
    if !config.group_instance_id.is_empty() {
        builder = builder.group_instance_id(&config.group_instance_id);
    }
    if !config.rack_id.is_empty() {
        builder = builder.client_rack(&config.rack_id);
    }
    builder
}

/// Commits these positions, and notes that it did.
pub(crate) async fn commit(
    consumer: &Consumer,
    progress: &Progress,
    positions: &[Position],
) -> Result<(), KrafkaError> {
    if positions.is_empty() {
        return Ok(());
    }
    let offsets = positions.iter().map(|Position { place: (topic, partition), offset, leader_epoch }| {
        let offset = match leader_epoch {
            Some(epoch) => OffsetAndMetadata::with_epoch(*offset, *epoch),
            None => OffsetAndMetadata::new(*offset),
        };
        (TopicPartition::new(&**topic, *partition), offset)
    });
    let offsets: Vec<_> = offsets.collect();
    match timeout(COMMIT, consumer.commit_offsets(offsets)).await {
        Ok(Ok(())) => {
            progress.committed(positions);
            Ok(())
        }
        Ok(Err(error)) => Err(error),
        Err(_) => Err(KrafkaError::Timeout { operation: "committing offsets".to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_fits_into_memory() {
        for (memory, records) in
            [(0, 100), (4 << 30, 100), (64 << 30, 256), (1 << 40, 500), (usize::MAX / 8, 500)]
        {
            assert_eq!(records_at_a_time(memory), records, "{memory}");
        }
    }
}
