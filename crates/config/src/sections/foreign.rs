//! `distributor.receivers.jaeger:` and `distributor.receivers.zipkin:`, in the words of the OpenTelemetry Collector.

use std::collections::BTreeMap;

use trackway_common::Secret;

use crate::bytesize::ByteSize;
use crate::duration::GoDuration;
use crate::sections::{Connections, Cors, Keepalive, ReceiverTls, Receivers};
use crate::table::Shape::{Any, Dur, Int, List, Str};
use crate::values::Raw;

section! {
    /// `distributor.receivers.jaeger:`.
    Jaeger {
        protocols: JaegerProtocols = JaegerProtocols::default(), "Which of them are served; none named means all.";
    }
    ignored &[("remote_sampling", Any)]
}

section! {
    /// `distributor.receivers.jaeger.protocols:`.
    JaegerProtocols {
        grpc: Option<JaegerGrpc> = None, "`jaeger.api_v2.CollectorService` over gRPC.";
        thrift_http: Option<JaegerThriftHttp> = None, "Thrift over HTTP: `POST /api/traces`.";
        thrift_compact: Option<JaegerThriftCompact> = None, "Thrift in the compact protocol over UDP.";
        thrift_binary: Option<JaegerThriftBinary> = None, "Thrift in the binary protocol over UDP.";
    }
    ignored &[]
}

section! {
    /// `distributor.receivers.jaeger.protocols.grpc:`.
    JaegerGrpc {
        endpoint: String = "localhost:14250".to_owned(), "Address and port.";
        max_recv_msg_size_mib: u64 = 0, "Largest message taken in, in MiB; 0 is 4 MiB as in a collector.";
        max_concurrent_streams: u32 = 0, "Most concurrent calls on one connection; 0 is 256.";
        include_metadata: bool = false, "Accepted; the tenant's header is always read.";
        tls: Option<ReceiverTls> = None, "TLS of the receiver.";
        keepalive: Option<Keepalive> = None, "How long connections are kept, and asked whether they live.";
        auth: Option<Raw> = None, "Refused: a collector's extensions do not exist here.";
        middlewares: Option<Raw> = None, "Refused as `auth` is.";
    }
    ignored &[("transport", Str), ("read_buffer_size", Int), ("write_buffer_size", Int)]
}

section! {
    /// `distributor.receivers.jaeger.protocols.thrift_http:`.
    JaegerThriftHttp {
        endpoint: String = "localhost:14268".to_owned(), "Address and port.";
        max_request_body_size: ByteSize = ByteSize::new(0), "Largest body taken in after decompression; 0 is 20 MiB as in a collector.";
        cors: Option<Cors> = None, "Which web pages may send spans from a browser.";
        include_metadata: bool = false, "Accepted; the tenant's header is always read.";
        response_headers: BTreeMap<String, Secret> = BTreeMap::new(), "Headers added to every answer.";
        tls: Option<ReceiverTls> = None, "TLS of the receiver.";
        read_timeout: GoDuration = GoDuration::ZERO, "How long a body may take to arrive; 0 is a minute, which is the most.";
        read_header_timeout: GoDuration = GoDuration::ZERO, "How long the headers of a request may take over HTTP/1.1; 0 is two minutes.";
        idle_timeout: GoDuration = GoDuration::ZERO, "When a connection without requests is closed; 0 is two minutes over HTTP/1.1, never over HTTP/2.";
        keep_alives_enabled: bool = true, "Whether a connection may have more than one request.";
        auth: Option<Raw> = None, "Refused: a collector's extensions do not exist here.";
        middlewares: Option<Raw> = None, "Refused as `auth` is.";
    }
    ignored &[
        ("transport", Str),
        ("compression_algorithms", List),
        ("write_timeout", Dur),
    ]
}

section! {
    /// `distributor.receivers.jaeger.protocols.thrift_compact:`.
    JaegerThriftCompact {
        endpoint: String = "localhost:6831".to_owned(), "Address and port.";
        queue_size: u32 = 1000, "Datagrams that may wait; more are dropped and counted.";
        max_packet_size: u32 = 65_000, "Largest datagram, in bytes; larger ones are dropped and counted.";
        workers: u32 = 10, "Tasks that take datagrams from the queue.";
        socket_buffer_size: u32 = 0, "Buffer of the socket, in bytes; 0 is the system's default.";
    }
    ignored &[]
}

section! {
    /// `distributor.receivers.jaeger.protocols.thrift_binary:`.
    JaegerThriftBinary {
        endpoint: String = "localhost:6832".to_owned(), "Address and port.";
        queue_size: u32 = 1000, "Datagrams that may wait; more are dropped and counted.";
        max_packet_size: u32 = 65_000, "Largest datagram, in bytes; larger ones are dropped and counted.";
        workers: u32 = 10, "Tasks that take datagrams from the queue.";
        socket_buffer_size: u32 = 0, "Buffer of the socket, in bytes; 0 is the system's default.";
    }
    ignored &[]
}

section! {
    /// `distributor.receivers.zipkin:`.
    Zipkin {
        protocols: ZipkinProtocols = ZipkinProtocols::default(), "The newer place of the settings beside it; what is set there counts.";
        parse_string_tags: bool = false, "Tags that look like numbers, `true` or `false` become such.";
        endpoint: String = "localhost:9411".to_owned(), "Address and port.";
        max_request_body_size: ByteSize = ByteSize::new(0), "Largest body taken in after decompression; 0 is 20 MiB as in a collector.";
        cors: Option<Cors> = None, "Which web pages may send spans from a browser.";
        include_metadata: bool = false, "Accepted; the tenant's header is always read.";
        response_headers: BTreeMap<String, Secret> = BTreeMap::new(), "Headers added to every answer.";
        tls: Option<ReceiverTls> = None, "TLS of the receiver.";
        read_timeout: GoDuration = GoDuration::ZERO, "How long a body may take to arrive; 0 is a minute, which is the most.";
        read_header_timeout: GoDuration = GoDuration::ZERO, "How long the headers of a request may take over HTTP/1.1; 0 is two minutes.";
        idle_timeout: GoDuration = GoDuration::ZERO, "When a connection without requests is closed; 0 is two minutes over HTTP/1.1, never over HTTP/2.";
        keep_alives_enabled: bool = true, "Whether a connection may have more than one request.";
        auth: Option<Raw> = None, "Refused: a collector's extensions do not exist here.";
        middlewares: Option<Raw> = None, "Refused as `auth` is.";
    }
    ignored &[
        ("transport", Str),
        ("compression_algorithms", List),
        ("write_timeout", Dur),
    ]
}

section! {
    /// `distributor.receivers.zipkin.protocols:`.
    ZipkinProtocols {
        http: Option<ZipkinHttp> = None, "Zipkin over HTTP.";
    }
    ignored &[]
}

section! {
    /// `distributor.receivers.zipkin.protocols.http:`.
    ZipkinHttp {
        endpoint: String = "localhost:9411".to_owned(), "Address and port.";
        max_request_body_size: ByteSize = ByteSize::new(0), "Largest body taken in after decompression; 0 is 20 MiB as in a collector.";
        cors: Option<Cors> = None, "Which web pages may send spans from a browser.";
        include_metadata: bool = false, "Accepted; the tenant's header is always read.";
        response_headers: BTreeMap<String, Secret> = BTreeMap::new(), "Headers added to every answer.";
        tls: Option<ReceiverTls> = None, "TLS of the receiver.";
        read_timeout: GoDuration = GoDuration::ZERO, "How long a body may take to arrive; 0 is a minute, which is the most.";
        read_header_timeout: GoDuration = GoDuration::ZERO, "How long the headers of a request may take over HTTP/1.1; 0 is two minutes.";
        idle_timeout: GoDuration = GoDuration::ZERO, "When a connection without requests is closed; 0 is two minutes over HTTP/1.1, never over HTTP/2.";
        keep_alives_enabled: bool = true, "Whether a connection may have more than one request.";
        auth: Option<Raw> = None, "Refused: a collector's extensions do not exist here.";
        middlewares: Option<Raw> = None, "Refused as `auth` is.";
    }
    ignored &[
        ("transport", Str),
        ("compression_algorithms", List),
        ("write_timeout", Dur),
    ]
}

/// What is spoken on a port that does not take OTLP.
#[derive(Debug, Clone, PartialEq)]
pub enum ForeignKind {
    /// Jaeger over gRPC.
    JaegerGrpc,
    /// Jaeger's Thrift over HTTP.
    JaegerThriftHttp,
    /// Jaeger's Thrift over UDP, in the compact protocol.
    JaegerThriftCompact(Datagrams),
    /// The same in the binary protocol.
    JaegerThriftBinary(Datagrams),
    /// Zipkin over HTTP.
    Zipkin {
        /// Tags that look like numbers, `true` or `false` become such.
        parse_string_tags: bool,
    },
}

/// How many datagrams may wait and be worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagrams {
    /// Datagrams that may wait.
    pub queue_size: u32,
    /// Tasks that take them.
    pub workers: u32,
}

/// A receiver of Jaeger or Zipkin as it is to be served.
#[derive(Debug, Clone, PartialEq)]
pub struct ForeignReceiver {
    /// What is spoken.
    pub kind: ForeignKind,
    /// The block of its settings, in full.
    pub key: &'static str,
    /// Address and port as written.
    pub endpoint: String,
    /// The port where the endpoint names none.
    pub default_port: u16,
    /// Largest message, body or datagram.
    pub max_bytes: ByteSize,
    /// Which web pages may send.
    pub cors: Option<Cors>,
    /// What its connections may do.
    pub connections: Connections,
}

impl ForeignReceiver {
    /// Whether it takes datagrams.
    pub fn is_udp(&self) -> bool {
        matches!(self.kind, ForeignKind::JaegerThriftCompact(_) | ForeignKind::JaegerThriftBinary(_))
    }

    fn new(kind: ForeignKind, key: &'static str, endpoint: &str, default_port: u16, max: ByteSize) -> Self {
        Self {
            kind,
            key,
            endpoint: endpoint.to_owned(),
            default_port,
            max_bytes: max,
            cors: None,
            connections: Connections::default(),
        }
    }
}

/// A size that may be left open.
fn or_mib(size: u64, mib: u64) -> ByteSize {
    if size == 0 { ByteSize::mib(mib) } else { ByteSize::new(size) }
}

impl Receivers {
    /// The receivers of Jaeger and Zipkin that are to be served.
    pub fn foreign(&self) -> Vec<ForeignReceiver> {
        let jaeger = self.jaeger.as_ref().map(|jaeger| jaeger.protocols.receivers());
        let zipkin = self.zipkin.as_ref().map(Zipkin::receiver);
        jaeger.unwrap_or_default().into_iter().chain(zipkin).collect()
    }
}

impl JaegerProtocols {
    fn receivers(&self) -> Vec<ForeignReceiver> {
        let mut all = self.clone();
        if *self == Self::default() {
            all = Self {
                grpc: Some(JaegerGrpc::default()),
                thrift_http: Some(JaegerThriftHttp::default()),
                thrift_compact: Some(JaegerThriftCompact::default()),
                thrift_binary: Some(JaegerThriftBinary::default()),
            };
        }
        let grpc = all.grpc.map(|grpc| {
            let max = or_mib(grpc.max_recv_msg_size_mib.saturating_mul(1 << 20), 4);
            let key = "distributor.receivers.jaeger.protocols.grpc";
            ForeignReceiver {
                connections: grpc.connections(key),
                ..ForeignReceiver::new(ForeignKind::JaegerGrpc, key, &grpc.endpoint, 14250, max)
            }
        });
        let http = all.thrift_http.map(|http| {
            let (kind, max) = (ForeignKind::JaegerThriftHttp, or_mib(http.max_request_body_size.bytes(), 20));
            let key = "distributor.receivers.jaeger.protocols.thrift_http";
            let (connections, cors) = (http.connections(key), http.cors);
            ForeignReceiver {
                connections,
                cors,
                ..ForeignReceiver::new(kind, key, &http.endpoint, 14268, max)
            }
        });
        let compact = all.thrift_compact.map(|udp| {
            let datagrams = Datagrams { queue_size: udp.queue_size, workers: udp.workers };
            let (kind, max) =
                (ForeignKind::JaegerThriftCompact(datagrams), ByteSize::new(udp.max_packet_size.into()));
            let key = "distributor.receivers.jaeger.protocols.thrift_compact";
            ForeignReceiver::new(kind, key, &udp.endpoint, 6831, max)
        });
        let binary = all.thrift_binary.map(|udp| {
            let datagrams = Datagrams { queue_size: udp.queue_size, workers: udp.workers };
            let (kind, max) =
                (ForeignKind::JaegerThriftBinary(datagrams), ByteSize::new(udp.max_packet_size.into()));
            let key = "distributor.receivers.jaeger.protocols.thrift_binary";
            ForeignReceiver::new(kind, key, &udp.endpoint, 6832, max)
        });
        [grpc, http, compact, binary].into_iter().flatten().collect()
    }
}

impl Zipkin {
    fn receiver(&self) -> ForeignReceiver {
        let kind = ForeignKind::Zipkin { parse_string_tags: self.parse_string_tags };
        let (key, endpoint, size, cors) = match &self.protocols.http {
            Some(http) => (
                "distributor.receivers.zipkin.protocols.http",
                &http.endpoint,
                http.max_request_body_size,
                &http.cors,
            ),
            None => ("distributor.receivers.zipkin", &self.endpoint, self.max_request_body_size, &self.cors),
        };
        let connections = match &self.protocols.http {
            Some(http) => http.connections(key),
            None => self.connections(key),
        };
        ForeignReceiver {
            connections,
            cors: cors.clone(),
            ..ForeignReceiver::new(kind, key, endpoint, 9411, or_mib(size.bytes(), 20))
        }
    }
}
