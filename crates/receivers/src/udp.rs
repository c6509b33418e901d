//! Jaeger's clients that send to an agent: one call of Thrift in each datagram. Nobody answers them.
//!
//! What must stay true: what waits is bounded in number and counted in the memory budget; what is dropped is counted;
//! on shutdown what was received is kept.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use trackway_common::{Clock, MemoryPool, MemoryUser, Reservation, Seldom, TenantId};
use trackway_distributor::Push;
use trackway_foreign::{Protocol, Translated, jaeger};

use crate::counts::{Counts, Drop};
use crate::foreign::{Handed, options};

/// Datagrams that are handed over together: each push waits for the disk.
const TOGETHER: usize = 64;
/// From this many bytes of OTLP on, what was gathered is handed over.
const ENOUGH: usize = 1 << 20;
/// What a datagram may take while it is translated, beside its own bytes.
const ROOM: usize = 4;

/// Most tasks of one port, whatever is set.
const MAX_WORKERS: usize = 256;
/// How long after an error of the socket it is left alone, so that a lasting one costs next to nothing.
const PAUSE: Duration = Duration::from_millis(10);

/// How datagrams are received.
#[derive(Clone, Debug)]
pub struct UdpConfig {
    /// How Thrift is written.
    pub protocol: Protocol,
    /// Datagrams that may wait (`queue_size`).
    pub queue_size: usize,
    /// Largest datagram (`max_packet_size`).
    pub max_packet_size: usize,
    /// Tasks that translate and hand over (`workers`), 256 at the most.
    pub workers: usize,
    /// The budget for what is being received.
    pub memory: MemoryPool,
    /// For spans that come without a time.
    pub clock: Arc<dyn Clock>,
    /// Where spans and drops are counted.
    pub counts: Arc<Counts>,
}

/// A datagram that waits.
struct Packet {
    bytes: Vec<u8>,
    _room: Reservation,
}

/// Receives datagrams until `shutdown`; then hands over what waits.
///
/// # Errors
/// If the socket cannot be used at all.
pub async fn serve_udp(
    socket: UdpSocket,
    config: UdpConfig,
    push: Arc<dyn Push>,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let (sender, receiver) = mpsc::channel(config.queue_size.max(1));
    let shared = Arc::new(Shared {
        packets: Mutex::new(receiver),
        transport: match config.protocol {
            Protocol::Binary => "udp_thrift_binary",
            Protocol::Compact => "udp_thrift_compact",
        },
        push,
        malformed: Seldom::default(),
        refused: Seldom::default(),
        config,
    });
    let mut workers = JoinSet::new();
    for _ in 0..shared.config.workers.clamp(1, MAX_WORKERS) {
        workers.spawn(Arc::clone(&shared).work());
    }
    shared.receive(&socket, sender, &shutdown).await;
    drop(socket);
    while workers.join_next().await.is_some() {}
    Ok(())
}

struct Shared {
    config: UdpConfig,
    transport: &'static str,
    packets: Mutex<mpsc::Receiver<Packet>>,
    push: Arc<dyn Push>,
    malformed: Seldom,
    refused: Seldom,
}

impl Shared {
    async fn receive(&self, socket: &UdpSocket, queue: mpsc::Sender<Packet>, shutdown: &CancellationToken) {
        let limit = self.config.max_packet_size;
        // One byte over the limit tells too large from just fitting.
        let mut buffer = vec![0; limit.saturating_add(1)];
        loop {
            let received = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                received = socket.recv_from(&mut buffer) => received,
            };
            match received {
                Ok((length, _)) if length > limit => self.drop(Drop::TooLarge),
                Ok((length, _)) => self.queue(&buffer[..length], &queue),
                // What went wrong with one datagram, such as an answer of ICMP, is not the socket's matter.
                Err(error) => {
                    if self.malformed.due() {
                        tracing::warn!("no datagram can be received: {error}");
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    fn queue(&self, bytes: &[u8], queue: &mpsc::Sender<Packet>) {
        let Ok(place) = queue.try_reserve() else { return self.drop(Drop::QueueFull) };
        let room = bytes.len().saturating_mul(ROOM);
        match self.config.memory.reserve(MemoryUser::Requests, room) {
            Ok(room) => place.send(Packet { bytes: bytes.to_vec(), _room: room }),
            Err(_) => self.drop(Drop::Memory),
        }
    }

    fn drop(&self, why: Drop) {
        self.config.counts.dropped(self.transport, why);
    }

    async fn work(self: Arc<Self>) {
        let mut packets = Vec::new();
        loop {
            packets.clear();
            // Whoever holds the lock waits for all.
            if self.packets.lock().await.recv_many(&mut packets, TOGETHER).await == 0 {
                return;
            }
            // Requests one after the other are one request.
            let (mut gathered, mut of) = (Translated::default(), 0);
            for packet in &packets {
                let Some(translated) = self.translate(&packet.bytes) else { continue };
                of += 1;
                gathered.protobuf.extend_from_slice(&translated.protobuf);
                gathered.spans += translated.spans;
                gathered.refused += translated.refused;
                if gathered.reasons.is_empty() {
                    gathered.reasons = translated.reasons;
                }
                if gathered.protobuf.len() >= ENOUGH {
                    self.hand_over(std::mem::take(&mut gathered), std::mem::take(&mut of)).await;
                }
            }
            self.hand_over(gathered, of).await;
        }
    }

    fn translate(&self, packet: &[u8]) -> Option<Translated> {
        let config = &self.config;
        let options = options(config.max_packet_size, false, &*config.clock);
        match jaeger::call(packet, config.protocol, &options) {
            Ok(translated) => Some(translated),
            Err(error) => {
                self.drop(Drop::Malformed);
                if self.malformed.due() {
                    tracing::warn!("a datagram of {} is dropped: {error}", self.transport);
                }
                None
            }
        }
    }

    async fn hand_over(&self, translated: Translated, packets: u64) {
        let handed = Handed {
            push: &*self.push,
            counts: &self.config.counts,
            refused: &self.refused,
            receiver: "jaeger",
            transport: self.transport,
            protocol: match self.config.protocol {
                Protocol::Binary => "Jaeger Thrift binary over UDP",
                Protocol::Compact => "Jaeger Thrift compact over UDP",
            },
        };
        if let Err(error) = handed.over(translated, TenantId::single(), None).await {
            for _ in 0..packets {
                self.drop(Drop::NotKept);
            }
            if self.refused.due() {
                tracing::warn!("spans of {packets} datagrams could not be kept: {error}");
            }
        }
    }
}
