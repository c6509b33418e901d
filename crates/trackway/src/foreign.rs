//! The ports of Jaeger and Zipkin: bound with the others before anything happens, served beside OTLP.

use std::sync::Arc;

use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use trackway_config::Config;
use trackway_config::sections::{ForeignKind, ForeignReceiver};
use trackway_distributor::Push;
use trackway_receivers::{
    ForeignConfig, ForeignProtocol, ThriftProtocol, UdpConfig, serve_foreign, serve_udp,
};

use crate::admin::Process;
use crate::listen::Port;
use crate::{address, listen, settings};

/// A port that is bound.
enum Bound {
    Tcp(Box<Port>),
    Udp(UdpSocket),
}

/// All of them.
#[derive(Default)]
pub(crate) struct Foreign(Vec<(ForeignReceiver, Bound)>);

impl Foreign {
    /// Binds what the configuration names.
    pub(crate) async fn bind(config: &Config) -> anyhow::Result<Self> {
        let mut bound = Vec::new();
        for (receiver, address) in config.resolve_addresses().foreign {
            let setting = format!("{}.endpoint", receiver.key);
            if !receiver.is_udp() {
                let listen = listen::of_receiver(&receiver.connections)?;
                let listener = address::bind(&address, &setting).await?;
                bound.push((receiver, Bound::Tcp(Box::new(Port { listener, listen }))));
            } else if config.multitenancy_enabled {
                // Tempo refuses every span of it, too.
                tracing::warn!(
                    "{} is not served: a datagram cannot name its tenant, and multitenancy_enabled is set",
                    receiver.key
                );
            } else {
                let socket = UdpSocket::bind(&address).await;
                let socket = socket.map_err(|error| anyhow::anyhow!("{address}: {error}; see {setting}"))?;
                bound.push((receiver, Bound::Udp(socket)));
            }
        }
        Ok(Self(bound))
    }

    /// Where to send to, for the first page.
    pub(crate) fn facts(&self) -> Vec<(String, String)> {
        let fact = |(receiver, bound): &(ForeignReceiver, Bound)| {
            let (address, scheme) = match bound {
                Bound::Tcp(port) => (port.listener.local_addr(), listen::scheme(&port.listen)),
                Bound::Udp(socket) => (socket.local_addr(), "udp"),
            };
            let address = address.map(|address| address.to_string()).unwrap_or_default();
            let url = format!("{scheme}://{address}");
            let (what, shown) = match receiver.kind {
                ForeignKind::JaegerGrpc => ("Jaeger gRPC", address),
                ForeignKind::JaegerThriftHttp => ("Jaeger Thrift", format!("{url}/api/traces")),
                ForeignKind::JaegerThriftCompact(_) => ("Jaeger compact", url),
                ForeignKind::JaegerThriftBinary(_) => ("Jaeger binary", url),
                ForeignKind::Zipkin { .. } => ("Zipkin", format!("{url}/api/v2/spans")),
            };
            (format!("send {what}"), shown)
        };
        self.0.iter().map(fact).collect()
    }

    /// Starts receiving.
    pub(crate) fn serve(
        self,
        process: &Process,
        push: &Arc<dyn Push>,
        tasks: &mut JoinSet<std::io::Result<()>>,
        stop: &CancellationToken,
    ) {
        for (receiver, bound) in self.0 {
            let (push, stop) = (Arc::clone(push), stop.clone());
            let (protocol, datagrams) = match receiver.kind {
                ForeignKind::JaegerThriftCompact(datagrams) => (ThriftProtocol::Compact, Some(datagrams)),
                ForeignKind::JaegerThriftBinary(datagrams) => (ThriftProtocol::Binary, Some(datagrams)),
                _ => (ThriftProtocol::Binary, None),
            };
            match (bound, datagrams) {
                (Bound::Udp(socket), Some(datagrams)) => {
                    let config = UdpConfig {
                        protocol,
                        queue_size: datagrams.queue_size as usize,
                        max_packet_size: receiver.max_bytes.as_usize(),
                        workers: datagrams.workers as usize,
                        memory: process.memory.clone(),
                        clock: Arc::clone(&process.clock),
                        counts: Arc::clone(&process.received),
                    };
                    tasks.spawn(serve_udp(socket, config, push, stop));
                }
                (Bound::Tcp(port), None) => {
                    let Port { listener, listen } = *port;
                    tasks.spawn(serve_foreign(listener, listen, tcp(receiver, process), push, stop));
                }
                _ => {} // `bind` made the one fit the other
            }
        }
    }
}

fn tcp(receiver: ForeignReceiver, process: &Process) -> ForeignConfig {
    let (protocol, parse_string_tags) = match receiver.kind {
        ForeignKind::JaegerGrpc => (ForeignProtocol::JaegerGrpc, false),
        ForeignKind::Zipkin { parse_string_tags } => (ForeignProtocol::Zipkin, parse_string_tags),
        _ => (ForeignProtocol::JaegerThriftHttp, false),
    };
    ForeignConfig {
        protocol,
        max_bytes: receiver.max_bytes.as_usize(),
        body_time: listen::body_time(receiver.connections.read_timeout),
        cors: receiver.cors.map(settings::cors).unwrap_or_default(),
        parse_string_tags,
        multitenancy: process.config.multitenancy_enabled,
        memory: process.memory.clone(),
        clock: Arc::clone(&process.clock),
        counts: Arc::clone(&process.received),
    }
}
