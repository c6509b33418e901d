//! The broker of the tests: a real one where Java and its jars can be had, else krafka's, which is in this process and can
//! less. All tests of the file share it, one after the other.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use krafka::Compression;
use krafka::Record;
use krafka::admin::{AlterConsumerGroupOffsetsOptions, CreateTopicsOptions, NewTopic};
use krafka::consumer::TopicPartition;
use krafka::producer::Producer;
use krafka::testing::FakeBroker;
use tokio::runtime::Runtime;
use trackway_peers::Kafka;

/// A broker.
pub(crate) enum Broker {
    Real(Box<Kafka>),
    Fake(FakeBroker),
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().expect("a runtime"))
}

/// The broker, for one test at a time.
pub(crate) fn broker() -> MutexGuard<'static, Broker> {
    static BROKER: OnceLock<Mutex<Broker>> = OnceLock::new();
    let broker = BROKER.get_or_init(|| {
        Mutex::new(match Kafka::start() {
            Ok(kafka) => Broker::Real(Box::new(kafka)),
            Err(why) => {
                crate::support::skipped("a real broker (an in-process one stands in)", &why);
                Broker::Fake(runtime().block_on(FakeBroker::start()).expect("a port"))
            }
        })
    });
    let mut broker = broker.lock().unwrap_or_else(PoisonError::into_inner);
    // A test that failed may have left it killed.
    if let Broker::Real(kafka) = &mut *broker
        && !kafka.is_running()
    {
        kafka.restart().expect("it starts again");
    }
    broker
}

/// A record to be written.
pub(crate) struct Written {
    pub(crate) partition: i32,
    pub(crate) key: Option<String>,
    pub(crate) headers: Vec<(&'static str, &'static str)>,
    pub(crate) value: Option<Vec<u8>>,
}

impl Written {
    pub(crate) fn new(value: Vec<u8>) -> Self {
        Self { partition: 0, key: None, headers: Vec::new(), value: Some(value) }
    }

    pub(crate) fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(crate) fn key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    pub(crate) fn partition(mut self, partition: u64) -> Self {
        self.partition = i32::try_from(partition).expect("few partitions");
        self
    }
}

impl Broker {
    /// Where anybody may come.
    pub(crate) fn address(&self) -> String {
        match self {
            Self::Real(kafka) => kafka.plain.clone(),
            Self::Fake(fake) => fake.bootstrap_servers(),
        }
    }

    /// The real one; a test that needs it is skipped without.
    pub(crate) fn real(&mut self, test: &str) -> Option<&mut Kafka> {
        match self {
            Self::Real(kafka) => Some(kafka),
            Self::Fake(_) => {
                crate::support::skipped(test, "it needs a real broker");
                None
            }
        }
    }

    async fn client(&self) -> krafka::Kafka {
        krafka::Kafka::builder(self.address()).connect().await.expect("a broker")
    }

    /// Makes a topic.
    pub(crate) fn create(&self, topic: &str, partitions: i32) {
        runtime().block_on(async {
            let admin = self.client().await.admin();
            let topics = [NewTopic::new(topic, partitions, 1).expect("a topic")];
            let made = admin.create_topics(topics, CreateTopicsOptions::default()).await.expect("an answer");
            made.into_values().for_each(|made| assert!(made.is_ok(), "{made:?}"));
        });
    }

    /// Writes records in their order.
    pub(crate) fn write(&self, topic: &str, records: impl IntoIterator<Item = Written>) {
        self.compressed(topic, records, Compression::None);
    }

    /// The same, compressed.
    pub(crate) fn compressed(
        &self,
        topic: &str,
        records: impl IntoIterator<Item = Written>,
        compression: Compression,
    ) {
        runtime().block_on(async {
            let builder = self.client().await.producer().compression(compression);
            let producer: Producer = builder.max_request_size(16 << 20).build().await.expect("a producer");
            let mut sent = Vec::new();
            for written in records {
                let mut record = Record::new(topic, written.value.clone().unwrap_or_default());
                if written.value.is_none() {
                    record = record.without_value();
                }
                if let Some(key) = written.key {
                    record = record.key(key);
                }
                for (name, value) in written.headers {
                    record = record.header(name, value);
                }
                sent.push(producer.enqueue(record.partition(written.partition)).await.expect("room"));
            }
            for acknowledged in sent {
                let _ = acknowledged.await.expect("it is written");
            }
            producer.close().await.expect("it ends");
        });
    }

    /// The offsets that a group has committed.
    pub(crate) fn committed(&self, group: &str, topic: &str, partitions: i32) -> Vec<Option<i64>> {
        runtime().block_on(async {
            let consumer = self.client().await.consumer(group).build().await.expect("a consumer");
            let wanted: Vec<_> = (0..partitions).map(|partition| (topic, partition)).collect();
            // Before anybody has committed anything, there is no coordinator to ask.
            let found = consumer.committed(&wanted).await.unwrap_or_default();
            let of = |partition| found.get(&(topic.to_owned(), partition)).map(|position| position.offset);
            (0..partitions).map(of).collect()
        })
    }

    /// Commits an offset for a group that has no member.
    pub(crate) fn commit(&self, group: &str, topic: &str, partition: i32, offset: i64) {
        runtime().block_on(async {
            let admin = self.client().await.admin();
            let offsets = [(TopicPartition::new(topic, partition), offset)];
            // The first that is asked of a coordinator may find it on its way.
            loop {
                let options = AlterConsumerGroupOffsetsOptions::default();
                let altered = admin.alter_consumer_group_offsets(group, offsets.clone(), options).await;
                if altered.is_ok_and(|each| each.into_values().all(|altered| altered.is_ok())) {
                    return;
                }
            }
        });
    }
}
