//! A member of a group: joins it, reads, commits what is durable, and begins anew when the brokers were away.
//!
//! What must stay true: the group is told often enough that the member is there, however slowly records are taken; a
//! partition that cannot be read does not keep others from being read.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use krafka::consumer::{Consumer, ConsumerRecord};
use krafka::error::ErrorCode;
use krafka::{CloseOptions, Kafka, KrafkaError};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use trackway_common::Seldom;
use trackway_distributor::Push;

use crate::broken::Broken;
use crate::client::{TEMPO_GROUP, commit, consumer};
use crate::config::{KafkaConfig, TenantOf};
use crate::listener::Listener;
use crate::progress::{Place, Progress};
use crate::record::{Door, alone, size};

/// How long one look for records waits for them.
const POLL: Duration = Duration::from_millis(250);
/// How long is waited for room before the group is told that the member is there without taking more.
const ROOM: Duration = Duration::from_secs(1);
/// A shutdown waits so long for a look that has begun, and then for leaving the group.
const LAST_POLL: Duration = Duration::from_secs(2);
const LEAVE: Duration = Duration::from_secs(20);
/// After so long without a record it is looked whether there are brokers at all: the client waits for them in silence.
const SILENCE: Duration = Duration::from_secs(5);
/// The longest wait before the brokers are tried again.
const AGAIN_MAX: Duration = Duration::from_secs(5);
/// The first.
const AGAIN: Duration = Duration::from_millis(250);

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
        let (mut is_away, mut last_sign, mut broken) = (false, Instant::now(), Broken::default());
        config.metrics.connected(config.setting, true);
        while !shutdown.is_cancelled() {
            if !self.progress.has_room() {
                // Long enough to notice; if there is none then, the group is told nevertheless.
                let _ = timeout(ROOM, self.room(shutdown)).await;
            }
            self.pause().await;
            let is_silent = last_sign.elapsed() >= SILENCE;
            match self.read_once(shutdown, is_silent, &mut broken).await {
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

    /// Takes what is there; whether there was a sign of the brokers.
    async fn read_once(
        &self,
        shutdown: &CancellationToken,
        is_silent: bool,
        broken: &mut Broken,
    ) -> Result<bool, KrafkaError> {
        match self.poll(shutdown).await {
            Ok(records) if records.is_empty() && is_silent => self.look().await,
            Ok(records) if records.is_empty() => Ok(false),
            Ok(records) => {
                self.take(records);
                Ok(true)
            }
            Err(KrafkaError::Wakeup) => Ok(false),
            Err(error) => match broken.pass_over(&error, &self.consumer, &self.progress, &self.door).await {
                true => Ok(true),
                false => Err(error),
            },
        }
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
    async fn poll(&self, shutdown: &CancellationToken) -> Result<Vec<ConsumerRecord>, KrafkaError> {
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

    fn take(&self, records: Vec<ConsumerRecord>) {
        for record in records {
            let place = (Arc::clone(&record.topic), record.partition);
            let ticket = self.progress.take(place, record.offset, record.leader_epoch, size(&record));
            tokio::spawn(Arc::clone(&self.door).take(alone(record), ticket));
        }
    }

    async fn commit(&self) {
        let positions = self.progress.to_commit();
        // The next commit covers it.
        if let Err(error) = commit(&self.consumer, &self.progress, &positions).await {
            let setting = self.door.config.setting;
            if is_rebalancing(&error) {
                tracing::debug!("{setting}: offsets are committed when partitions are shared anew: {error}");
            } else if self.away.due() {
                tracing::warn!("{setting}: offsets cannot be committed now: {error}");
            }
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

/// Whether a broker refused because the members of the group are changing, as they do when one comes or goes.
fn is_rebalancing(error: &KrafkaError) -> bool {
    use ErrorCode::{
        FencedMemberEpoch, IllegalGeneration, RebalanceInProgress, StaleMemberEpoch, UnknownMemberId,
    };
    let KrafkaError::Broker { code, .. } = error else { return false };
    matches!(
        code,
        IllegalGeneration | UnknownMemberId | RebalanceInProgress | FencedMemberEpoch | StaleMemberEpoch
    )
}
