//! A member of a group: joins it, reads, commits what is durable, and begins anew when the brokers were away.
//!
//! What must stay true: the group is told often enough that the member is there, however slowly records are taken; before
//! a partition goes to somebody else, what is durable of it is committed.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use krafka::consumer::{
    AutoOffsetReset, Consumer, ConsumerRebalanceListener, OffsetAndMetadata, PartitionAssignmentStrategy,
    TopicPartition,
};
use krafka::{CloseOptions, Kafka, KrafkaError};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use trackway_distributor::Push;
use trackway_receivers::Seldom;

use crate::config::{KafkaConfig, Sharing, TenantOf};
use crate::progress::{Place, Position, Progress};
use crate::record::{Door, RECORD_BYTES_MAX};

/// How long one look for records waits for them.
const POLL: Duration = Duration::from_millis(250);
/// How long is waited for room before the group is told that the member is there without taking more.
const ROOM: Duration = Duration::from_secs(1);
/// Records that one look takes.
const RECORDS_AT_A_TIME: i32 = 500;
/// What is on its way of a partition that goes to somebody else is waited for so long.
const LET_GO: Duration = Duration::from_secs(10);
/// A commit that takes longer is given up, and tried again with the next.
const COMMIT: Duration = Duration::from_secs(10);
/// A shutdown waits so long for a look that has begun, and then for leaving the group.
const LAST_POLL: Duration = Duration::from_secs(2);
const LEAVE: Duration = Duration::from_secs(20);
/// After so long without a record it is looked whether there are brokers at all: the client waits for them in silence.
const SILENCE: Duration = Duration::from_secs(5);
/// The longest wait before the brokers are tried again.
const AGAIN_MAX: Duration = Duration::from_secs(5);
/// The first.
const AGAIN: Duration = Duration::from_millis(250);
/// A batch of records that becomes larger than this is not taken apart.
const BATCH_BYTES_MAX: usize = 64 << 20;

/// Reads until `shutdown`; then finishes what has begun, commits it and leaves the group.
///
/// # Errors
/// None: what goes wrong is logged and tried again.
pub async fn serve_kafka(
    config: KafkaConfig,
    push: Arc<dyn Push>,
    shutdown: CancellationToken,
) -> io::Result<()> {
    config.metrics.connected(config.setting, false);
    let door = Arc::new(Door::new(config, push));
    let (mut wait, away) = (AGAIN, Seldom::default());
    while !shutdown.is_cancelled() {
        let member = tokio::select! {
            () = shutdown.cancelled() => break,
            member = Member::join(&door) => member,
        };
        let config = &door.config;
        let error = match member {
            Ok(member) => {
                tracing::info!(
                    "{}: reading {} as a member of the group {}",
                    config.setting,
                    config.topics.join(", "),
                    config.group_id
                );
                wait = AGAIN;
                let ended = member.read(&shutdown).await;
                member.leave().await;
                ended
            }
            Err(error) => Err(error),
        };
        config.metrics.connected(config.setting, false);
        if let Err(error) = error {
            if away.due() {
                tracing::warn!(
                    "{}: {} cannot be read from: {error}; it is tried again until it can, and nothing is lost",
                    config.setting,
                    config.brokers.join(", ")
                );
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = sleep(wait) => {}
            }
            wait = (wait * 2).min(AGAIN_MAX);
        }
    }
    Ok(())
}

/// A member of the group, until the brokers throw it out or it leaves.
struct Member {
    door: Arc<Door>,
    consumer: Arc<Consumer>,
    progress: Arc<Progress>,
    /// Warnings about brokers that do not answer.
    away: Seldom,
}

impl Member {
    async fn join(door: &Arc<Door>) -> Result<Self, KrafkaError> {
        let config = &door.config;
        let kafka = Kafka::builder(config.brokers.join(","))
            .client_id(&config.client_id)
            .security(config.security())
            .connect_timeout(config.connect_timeout)
            .metadata_max_age(config.metadata_interval)
            .tls_reload_interval(config.tls.as_ref().map(|tls| tls.reload_interval).filter(|t| !t.is_zero()))
            .connect()
            .await?;
        let progress = Arc::new(Progress::default());
        let listener = Arc::new(Listener {
            door: Arc::clone(door),
            progress: Arc::clone(&progress),
            consumer: OnceLock::new(),
        });
        let consumer = Arc::new(consumer(&kafka, config, Arc::clone(&listener)).build().await?);
        // Set once, here.
        let _ = listener.consumer.set(Arc::downgrade(&consumer));
        consumer.subscribe(&config.topics).await?;
        Ok(Self { door: Arc::clone(door), consumer, progress, away: Seldom::default() })
    }

    /// Reads until the shutdown, or until it makes no sense to go on with these connections.
    async fn read(&self, shutdown: &CancellationToken) -> Result<(), KrafkaError> {
        let (config, mut last_commit) = (&self.door.config, Instant::now());
        let (mut is_away, mut last_sign) = (false, Instant::now());
        config.metrics.connected(config.setting, true);
        while !shutdown.is_cancelled() {
            if !self.progress.has_room() {
                // Long enough to notice; if there is none then, the group is told nevertheless.
                let _ = timeout(ROOM, self.room(shutdown)).await;
            }
            self.pause().await;
            let looked = match self.poll(shutdown).await {
                Ok(records) if records.is_empty() && last_sign.elapsed() >= SILENCE => self.look().await,
                Ok(records) if records.is_empty() => Ok(false),
                Ok(records) => {
                    self.take(records);
                    Ok(true)
                }
                Err(KrafkaError::Wakeup) => Ok(false),
                Err(error) => Err(error),
            };
            match looked {
                Ok(false) => {}
                Ok(true) => {
                    last_sign = Instant::now();
                    if is_away {
                        is_away = false;
                        config.metrics.connected(config.setting, true);
                        tracing::info!("{}: reading again", config.setting);
                    }
                }
                Err(error) if error.is_fatal() => return Err(error),
                Err(error) => {
                    is_away = true;
                    config.metrics.connected(config.setting, false);
                    if self.away.due() {
                        tracing::warn!(
                            "{}: nothing can be read now: {error}; it is tried again until it can, and nothing is lost",
                            config.setting
                        );
                    }
                    tokio::select! {
                        () = shutdown.cancelled() => {}
                        () = sleep(POLL) => {}
                    }
                }
            }
            if last_commit.elapsed() >= config.commit_interval || self.progress.has_much_to_commit() {
                self.commit().await;
                self.show().await;
                last_commit = Instant::now();
            }
        }
        Ok(())
    }

    /// Whether the brokers are there, and have the topics.
    async fn look(&self) -> Result<bool, KrafkaError> {
        let silent = || KrafkaError::Timeout { operation: "asking for the end of a partition".to_owned() };
        // Only this asks for certain: what is known of topics is good for minutes.
        if let Some((topic, partitions)) = self.consumer.assignment().await.into_iter().next()
            && let Some(partition) = partitions.first()
        {
            let asked = timeout(SILENCE, self.consumer.fetch_watermarks(&topic, *partition));
            asked.await.map_err(|_| silent())??;
            return Ok(true);
        }
        for topic in &self.door.config.topics {
            let asked = timeout(SILENCE, self.consumer.fetch_metadata(Some(topic)));
            let found = asked.await.map_err(|_| silent())??;
            if found.topics.is_empty() && self.away.due() {
                let setting = self.door.config.setting;
                tracing::warn!("{setting}: the brokers have no topic {topic}; it is read once they have");
            }
        }
        Ok(true)
    }

    async fn room(&self, shutdown: &CancellationToken) {
        while !self.progress.has_room() && !shutdown.is_cancelled() {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = self.progress.changed() => {}
            }
        }
    }

    /// Reads on from those partitions only whose records are taken.
    async fn pause(&self) {
        let full = !self.progress.has_room();
        let slow = self.progress.pushed_back();
        let paused = self.consumer.paused_partitions().await;
        if !full && slow.is_empty() && paused.is_empty() {
            return;
        }
        for (topic, partitions) in self.consumer.assignment().await {
            let name: Arc<str> = topic.as_str().into();
            let (mut stop, mut go_on) = (Vec::new(), Vec::new());
            for partition in partitions {
                let wanted = full || slow.contains(&(Arc::clone(&name), partition));
                match (wanted, paused.contains(&(topic.clone(), partition))) {
                    (true, false) => stop.push(partition),
                    (false, true) => go_on.push(partition),
                    _ => {}
                }
            }
            if !stop.is_empty() {
                self.consumer.pause(&topic, &stop).await;
            }
            if !go_on.is_empty() {
                self.consumer.resume(&topic, &go_on).await;
            }
        }
    }

    /// One look for records; a shutdown ends it soon.
    async fn poll(
        &self,
        shutdown: &CancellationToken,
    ) -> Result<Vec<krafka::consumer::ConsumerRecord>, KrafkaError> {
        let stopped = async {
            shutdown.cancelled().await;
            self.consumer.wakeup();
            sleep(LAST_POLL).await;
        };
        tokio::select! {
            records = self.consumer.poll(POLL) => records,
            // Nothing is lost by it: what was read and not returned is read again.
            () = stopped => Ok(Vec::new()),
        }
    }

    fn take(&self, records: Vec<krafka::consumer::ConsumerRecord>) {
        for record in records {
            let place = (Arc::clone(&record.topic), record.partition);
            let bytes = record.value.as_ref().map_or(0, |value| value.len());
            let ticket = self.progress.take(place, record.offset, record.leader_epoch, bytes);
            tokio::spawn(Arc::clone(&self.door).take(record, ticket));
        }
    }

    async fn commit(&self) {
        let positions = self.progress.to_commit();
        if let Err(error) = commit(&self.consumer, &self.progress, &positions).await
            && self.away.due()
        {
            // The next commit covers it.
            tracing::warn!("{}: offsets cannot be committed now: {error}", self.door.config.setting);
        }
    }

    /// Shows how far behind it is.
    async fn show(&self) {
        let config = &self.door.config;
        let of_tempo = (config.tenant == TenantOf::Key).then_some(TEMPO_GROUP);
        let done: HashMap<Place, i64> = self.progress.done().into_iter().collect();
        for (place, known) in self.consumer.lag().await {
            let key: Place = (place.topic.as_str().into(), place.partition);
            let Some(offset) = done.get(&key).copied().or(known.position) else { continue };
            let lag = known.high_watermark.map(|end| u64::try_from(end - offset).unwrap_or(0));
            config.metrics.stands(&place.topic, place.partition, offset, lag, of_tempo);
        }
    }

    /// Finishes what has begun, commits it and leaves the group: the listener does that when it is told that the
    /// partitions go.
    async fn leave(&self) {
        let left = self.consumer.close_with(CloseOptions::new().timeout(LEAVE)).await;
        if let Err(error) = left {
            let setting = self.door.config.setting;
            tracing::info!("{setting}: the group was not left properly, and will notice by itself: {error}");
        }
    }
}

/// The group in which Tempo 3's block builders say how far they are.
pub const TEMPO_GROUP: &str = "block-builder";

fn consumer(
    kafka: &Kafka,
    config: &KafkaConfig,
    listener: Arc<Listener>,
) -> krafka::consumer::ConsumerBuilder {
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
        .max_poll_records(RECORDS_AT_A_TIME)
        // Records of paused partitions must not keep others from being read; each has one fetch at the most.
        .max_buffered_records(0)
        .max_decompressed_size(BATCH_BYTES_MAX.max(RECORD_BYTES_MAX))
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

async fn commit(consumer: &Consumer, progress: &Progress, positions: &[Position]) -> Result<(), KrafkaError> {
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

/// Is told which partitions come and go.
struct Listener {
    door: Arc<Door>,
    progress: Arc<Progress>,
    consumer: OnceLock<Weak<Consumer>>,
}

fn places(partitions: &[TopicPartition]) -> Vec<Place> {
    partitions.iter().map(|place| (place.topic.as_str().into(), place.partition)).collect()
}

fn named(partitions: &[TopicPartition]) -> String {
    let mut names: Vec<_> =
        partitions.iter().map(|place| format!("{}/{}", place.topic, place.partition)).collect();
    names.sort_unstable();
    names.join(" ")
}

impl Listener {
    fn forget(&self, places: &[Place]) {
        self.progress.forget(places);
        for (topic, partition) in places {
            self.door.config.metrics.gone(topic, *partition);
        }
    }
}

impl ConsumerRebalanceListener for Listener {
    async fn on_partitions_assigned(&self, partitions: &[TopicPartition]) {
        if !partitions.is_empty() {
            tracing::info!("{}: partitions that come: {}", self.door.config.setting, named(partitions));
        }
        self.forget(&places(partitions));
    }

    async fn on_partitions_revoked(&self, partitions: &[TopicPartition]) {
        let places = places(partitions);
        tracing::info!("{}: partitions that go: {}", self.door.config.setting, named(partitions));
        self.progress.let_go(&places);
        let idle = async {
            while !self.progress.is_idle(&places) {
                let _ = timeout(POLL, self.progress.changed()).await;
            }
        };
        // What is not done by then is read again by whoever has them next.
        let _ = timeout(LET_GO, idle).await;
        let wanted: HashSet<&Place> = places.iter().collect();
        let positions: Vec<Position> = self
            .progress
            .to_commit()
            .into_iter()
            .filter(|position| wanted.contains(&position.place))
            .collect();
        if let Some(consumer) = self.consumer.get().and_then(Weak::upgrade)
            && let Err(error) = commit(&consumer, &self.progress, &positions).await
        {
            tracing::info!(
                "{}: offsets of partitions that go cannot be committed, their records are read again: {error}",
                self.door.config.setting
            );
        }
        self.forget(&places);
    }

    async fn on_partitions_lost(&self, partitions: &[TopicPartition]) {
        tracing::info!("{}: partitions that were lost: {}", self.door.config.setting, named(partitions));
        self.forget(&places(partitions));
    }
}
