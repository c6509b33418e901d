//! A consumer against krafka's broker in this process: what cannot be kept holds nobody up, and where a group begins is
//! known before it has read anything. What needs a real broker and whole servers is in `trackway/tests/kafka.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use krafka::Record;
use krafka::testing::FakeBroker;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use trackway_common::{ErrorKind, MemoryPool, SystemClock};
use trackway_distributor::{Push, PushError, PushRequest, PushResponse};
use trackway_kafka::{
    Backoff, Fetching, KafkaConfig, KafkaMetrics, RecordEncoding, Sharing, TenantOf, serve_kafka,
};

const TOPIC: &str = "spans";
/// Of this, a quarter is for requests.
const MEMORY: usize = 8 << 20;
const TOO_MUCH: usize = MEMORY / 4 + 1;

/// Does what the bodies say.
#[derive(Default)]
struct Obedient {
    kept: Mutex<Vec<String>>,
}

impl Obedient {
    fn kept(&self) -> Vec<String> {
        let mut kept = self.kept.lock().unwrap().clone();
        kept.sort_unstable();
        kept
    }
}

impl Push for Obedient {
    fn push(
        &self,
        request: PushRequest,
    ) -> Pin<Box<dyn Future<Output = Result<PushResponse, PushError>> + Send + '_>> {
        Box::pin(async move {
            let body = String::from_utf8_lossy(&request.body).into_owned();
            match body.as_str() {
                "panic" => panic!("as it was told"),
                "never" => Err(PushError {
                    never: true,
                    ..PushError::new(ErrorKind::Exhausted, "RATE_LIMITED: batch size")
                }),
                "later" => Err(PushError::new(ErrorKind::Exhausted, "RATE_LIMITED: now")),
                _ => {
                    self.kept.lock().unwrap().push(body);
                    Ok(PushResponse { accepted: 1, refused: Vec::new() })
                }
            }
        })
    }
}

/// A consumer that runs.
struct Running {
    metrics: Arc<KafkaMetrics>,
    stop: CancellationToken,
    task: JoinHandle<std::io::Result<()>>,
}

impl Running {
    fn start(broker: &FakeBroker, push: Arc<dyn Push>, from_beginning: bool) -> Self {
        let (metrics, stop) = (Arc::<KafkaMetrics>::default(), CancellationToken::new());
        let config = KafkaConfig {
            setting: "distributor.receivers.kafka",
            brokers: vec![broker.bootstrap_servers()],
            topics: vec![TOPIC.to_owned()],
            encoding: RecordEncoding::OtlpProto,
            tenant: TenantOf::Header,
            multitenancy: false,
            group_id: "group".to_owned(),
            group_instance_id: String::new(),
            client_id: "test".to_owned(),
            rack_id: String::new(),
            from_beginning,
            session_timeout: Duration::from_secs(6),
            heartbeat_interval: Duration::from_millis(500),
            sharing: Sharing::Any,
            fetching: Fetching {
                min_bytes: 1,
                max_wait: Duration::from_millis(20),
                max_bytes: 16 << 20,
                max_partition_bytes: 16 << 20,
            },
            commit_interval: Duration::from_millis(20),
            connect_timeout: Duration::from_secs(5),
            metadata_interval: Duration::from_mins(5),
            backoff: Backoff { initial: Duration::from_millis(5), ..Backoff::default() },
            headers: Vec::new(),
            sasl: None,
            tls: None,
            memory: MemoryPool::new(MEMORY),
            clock: Arc::new(SystemClock::default()),
            counts: Arc::default(),
            metrics: Arc::clone(&metrics),
        };
        let task = tokio::spawn(serve_kafka(config, push, stop.clone()));
        Self { metrics, stop, task }
    }

    fn metrics(&self) -> String {
        let mut out = String::new();
        self.metrics.write(&mut out);
        out
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

async fn write(broker: &FakeBroker, records: &[(i32, &[u8])]) {
    let kafka = broker.kafka().connect().await.unwrap();
    let producer = kafka.producer().max_request_size(16 << 20).build().await.unwrap();
    for (partition, value) in records {
        // Waited for, so that each is a batch.
        let sent = producer.enqueue(Record::new(TOPIC, value.to_vec()).partition(*partition)).await.unwrap();
        let _ = sent.await.unwrap();
    }
    producer.close().await.unwrap();
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let holds = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(30), holds).await.is_ok(), "waited in vain for {what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_kept_holds_nobody_up() {
    let broker = FakeBroker::start().await.unwrap();
    broker.create_topic(TOPIC, 2);
    let large = vec![b'x'; TOO_MUCH];
    let records: [(i32, &[u8]); 9] = [
        (0, b"first"),
        (0, b"panic"),
        (0, b"never"),
        (0, &large),
        (0, b"broken"),
        (0, b"broken"),
        (0, b"last"),
        (1, b"other"),
        (1, b"broken"),
    ];
    write(&broker, &records).await;
    broker.with_state(|state| {
        for partition in &mut state.topics.get_mut(TOPIC).unwrap().partitions {
            for batch in &mut partition.log {
                let mut bytes = batch.to_vec();
                if bytes.windows(6).any(|found| found == b"broken") {
                    *bytes.last_mut().unwrap() ^= 1;
                }
                *batch = bytes.into();
            }
        }
    });
    let push = Arc::<Obedient>::default();
    let running = Running::start(&broker, Arc::clone(&push) as Arc<dyn Push>, true);
    let committed = |partition| broker.committed_offset("group", TOPIC, partition);
    until("both ends", || committed(0) == Some(7) && committed(1) == Some(2)).await;
    assert_eq!(push.kept(), ["first", "last", "other"]);
    let metrics = running.metrics();
    for (reason, count) in [("malformed", 3), ("too_large", 1), ("refused", 1), ("internal", 1)] {
        let line = format!(
            "trackway_kafka_discarded_records_total{{topic=\"{TOPIC}\",reason=\"{reason}\"}} {count}"
        );
        assert!(metrics.contains(&line), "{line} is not in {metrics}");
    }
    assert!(
        metrics.contains("trackway_kafka_connected{receiver=\"distributor.receivers.kafka\"} 1"),
        "{metrics}"
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_begins_at_the_end_remembers_where() {
    let broker = FakeBroker::start().await.unwrap();
    broker.create_topic(TOPIC, 1);
    write(&broker, &[(0, b"before"), (0, b"before")]).await;
    let push = Arc::<Obedient>::default();
    let running = Running::start(&broker, Arc::clone(&push) as Arc<dyn Push>, false);
    until("the start", || broker.committed_offset("group", TOPIC, 0) == Some(2)).await;
    write(&broker, &[(0, b"later"), (0, b"after")]).await;
    until("it to be tried", || !running.metrics().contains("trackway_kafka_retries_total 0")).await;
    running.stop().await;
    assert_eq!(broker.committed_offset("group", TOPIC, 0), Some(2));
    // What could not be kept then can be now.
    let accepting = Arc::<Accepting>::default();
    let running = Running::start(&broker, Arc::clone(&accepting) as Arc<dyn Push>, false);
    until("the rest", || broker.committed_offset("group", TOPIC, 0) == Some(4)).await;
    assert_eq!(accepting.0.kept(), ["after", "later"]);
    running.stop().await;
}

/// Takes everything.
#[derive(Default)]
struct Accepting(Obedient);

impl Push for Accepting {
    fn push(
        &self,
        request: PushRequest,
    ) -> Pin<Box<dyn Future<Output = Result<PushResponse, PushError>> + Send + '_>> {
        self.0.kept.lock().unwrap().push(String::from_utf8_lossy(&request.body).into_owned());
        Box::pin(std::future::ready(Ok(PushResponse { accepted: 1, refused: Vec::new() })))
    }
}
