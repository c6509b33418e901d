//! What is done when partitions come and go.
//!
//! What must stay true: before a partition goes to somebody else, what is durable of it is committed; one that nobody has
//! committed anything of has a place to go on from before anything is read from its end.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use krafka::KrafkaError;
use krafka::consumer::{Consumer, ConsumerRebalanceListener, TopicPartition};
use tokio::time::{sleep, timeout};

use crate::client::commit;
use crate::progress::{Place, Position, Progress};
use crate::record::Door;

/// What is on its way of a partition that goes to somebody else is waited for so long.
const LET_GO: Duration = Duration::from_secs(10);
/// Finding out where partitions begin may take so long; the group waits for it.
const BEGIN: Duration = Duration::from_secs(10);
/// The wait before that is tried again; and how often it is looked whether all is done.
const AGAIN: Duration = Duration::from_millis(250);

/// Is told which partitions come and go.
pub(crate) struct Listener {
    pub(crate) door: Arc<Door>,
    pub(crate) progress: Arc<Progress>,
    /// Set when there is one: the consumer has the listener, too.
    pub(crate) consumer: OnceLock<Weak<Consumer>>,
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
    fn consumer(&self) -> Option<Arc<Consumer>> {
        self.consumer.get().and_then(Weak::upgrade)
    }

    /// What may be committed of these.
    fn to_commit(&self, places: &[Place]) -> Vec<Position> {
        let wanted: HashSet<&Place> = places.iter().collect();
        let positions = self.progress.to_commit().into_iter();
        positions.filter(|position| wanted.contains(&position.place)).collect()
    }

    /// Commits the end of those partitions of which nothing is committed. Otherwise a restart before the first commit
    /// would begin at the end as it is then, and pass over what was read and not yet kept.
    async fn begin(&self, partitions: &[TopicPartition]) -> Result<(), KrafkaError> {
        let Some(consumer) = self.consumer() else { return Ok(()) };
        let asked: Vec<_> = partitions.iter().map(|place| (place.topic.as_str(), place.partition)).collect();
        let committed = consumer.committed(&asked).await?;
        for (topic, partition) in asked {
            if committed.contains_key(&(topic.to_owned(), partition)) {
                continue;
            }
            let Some(offset) = consumer.position(topic, partition).await else {
                let operation = format!("asking for the end of {topic}/{partition}");
                return Err(KrafkaError::Timeout { operation });
            };
            self.progress.start((topic.into(), partition), offset);
        }
        let positions = self.to_commit(&places(partitions));
        if let Err(error) = commit(&consumer, &self.progress, &positions).await {
            // The next commit covers it.
            let setting = self.door.config.setting;
            tracing::info!("{setting}: where partitions begin cannot be committed now: {error}");
        }
        Ok(())
    }

    /// The same until it is done, for a bounded time.
    async fn begin_told(&self, partitions: &[TopicPartition]) {
        let mut last = None;
        let begun = async {
            while let Err(error) = self.begin(partitions).await {
                last = Some(error);
                sleep(AGAIN).await;
            }
        };
        if timeout(BEGIN, begun).await.is_err() {
            let why = last.map_or_else(|| "no answer in time".to_owned(), |error| error.to_string());
            tracing::warn!(
                "{}: it is not known where {} begin: {why}; a restart before the first commit begins at their end",
                self.door.config.setting,
                named(partitions)
            );
        }
    }

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
        if !self.door.config.from_beginning && !partitions.is_empty() {
            self.begin_told(partitions).await;
        }
    }

    async fn on_partitions_revoked(&self, partitions: &[TopicPartition]) {
        let places = places(partitions);
        tracing::info!("{}: partitions that go: {}", self.door.config.setting, named(partitions));
        self.progress.let_go(&places);
        let idle = async {
            while !self.progress.is_idle(&places) {
                let _ = timeout(AGAIN, self.progress.changed()).await;
            }
        };
        // What is not done by then is read again by whoever has them next.
        let _ = timeout(LET_GO, idle).await;
        let positions = self.to_commit(&places);
        if let Some(consumer) = self.consumer()
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
