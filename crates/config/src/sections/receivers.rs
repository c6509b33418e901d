//! `distributor.receivers:`, in the words of the OpenTelemetry Collector.

use std::collections::BTreeMap;

use trackway_common::Secret;

use crate::bytesize::ByteSize;
use crate::duration::GoDuration;
use crate::sections::{Jaeger, JaegerGrpc, JaegerThriftHttp, Kafka, Zipkin, ZipkinHttp, mins};
use crate::table::Shape::{Any, Dur, Int, List, Str};
use crate::values::Raw;

section! {
    /// `distributor.receivers:`. None at all means OTLP over gRPC and HTTP.
    Receivers {
        otlp: Option<Otlp> = None, "OTLP over gRPC and HTTP.";
        jaeger: Option<Jaeger> = None, "Jaeger over gRPC, HTTP and UDP.";
        zipkin: Option<Zipkin> = None, "Zipkin v1 and v2 over HTTP.";
        kafka: Option<Kafka> = None, "Records of Kafka.";
        opencensus: Option<Raw> = None, "OpenCensus, which Tempo has dropped; kept as written.";
    }
    ignored &[]
}

section! {
    /// `distributor.receivers.otlp:`.
    Otlp {
        protocols: OtlpProtocols = OtlpProtocols::default(), "Which of both are served; none named means both.";
    }
    ignored &[]
}

section! {
    /// `distributor.receivers.otlp.protocols:`.
    OtlpProtocols {
        grpc: Option<OtlpGrpc> = None, "OTLP over gRPC.";
        http: Option<OtlpHttp> = None, "OTLP over HTTP.";
    }
    ignored &[]
}

section! {
    /// `distributor.receivers.otlp.protocols.grpc:`.
    OtlpGrpc {
        endpoint: String = "localhost:4317".to_owned(), "Address and port.";
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
    /// `distributor.receivers.otlp.protocols.http:`.
    OtlpHttp {
        endpoint: String = "localhost:4318".to_owned(), "Address and port.";
        max_request_body_size: ByteSize = ByteSize::new(0), "Largest body taken in after decompression; 0 is 20 MiB as in a collector.";
        cors: Option<Cors> = None, "Which web pages may send spans from a browser.";
        include_metadata: bool = false, "Accepted; the tenant's header is always read.";
        traces_url_path: String = "/v1/traces".to_owned(), "Path that takes spans.";
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
        ("metrics_url_path", Str),
        ("logs_url_path", Str),
        ("profiles_url_path", Str),
        ("write_timeout", Dur),
    ]
}

section! {
    /// `cors:` of a receiver.
    Cors {
        allowed_origins: Vec<String> = Vec::new(), "Origins that may send; `*` stands for any text.";
        allowed_headers: Vec<String> = Vec::new(), "Headers that may be sent besides the simple ones; `*` is all.";
        exposed_headers: Vec<String> = Vec::new(), "Headers of the answer that a page may read.";
        max_age: u64 = 0, "Seconds for which a browser may remember the answer; 0 is the browser's default.";
    }
    ignored &[]
}

section! {
    /// `tls:` of a receiver.
    ReceiverTls {
        cert_file: String = String::new(), "Certificate, PEM.";
        key_file: String = String::new(), "Private key, PEM.";
        cert_pem: Secret = Secret::default(), "The certificate itself.";
        key_pem: Secret = Secret::default(), "The private key itself.";
        client_ca_file: String = String::new(), "Authorities of client certificates, PEM; set means that clients must show one.";
        min_version: String = "1.2".to_owned(), "Oldest TLS version.";
        max_version: String = String::new(), "Newest TLS version.";
        reload_interval: GoDuration = GoDuration::ZERO, "How often the files are looked at again, for certificates that change; 0 is every five seconds.";
        cipher_suites: Vec<String> = Vec::new(), "Cipher suites of TLS 1.2 in Go's names; none is all that are safe.";
        curve_preferences: Vec<String> = Vec::new(), "Groups for the exchange of keys, such as `X25519`; none is all.";
        client_ca_file_reload: bool = false, "Accepted; the file is always looked at again.";
        include_system_ca_certs_pool: bool = false, "With `client_ca_file`: the system's authorities may vouch for clients, too.";
    }
    ignored &[("ca_file", Str), ("ca_pem", Str), ("tpm", Any)]
}

section! {
    /// `keepalive:` of a receiver over gRPC.
    Keepalive {
        server_parameters: KeepaliveServer = KeepaliveServer::default(), "What the server does with its connections.";
        enforcement_policy: KeepaliveEnforcement = KeepaliveEnforcement::default(), "What clients may do.";
    }
    ignored &[]
}

section! {
    /// `keepalive.server_parameters:`.
    KeepaliveServer {
        max_connection_idle: GoDuration = GoDuration::ZERO, "When a connection without calls is closed; 0 is never.";
        max_connection_age: GoDuration = GoDuration::ZERO, "When a connection is closed in any case; 0 is never.";
        max_connection_age_grace: GoDuration = GoDuration::ZERO, "How long calls may take after that; 0 is no limit.";
        time: GoDuration = GoDuration::ZERO, "When a quiet connection is asked whether it lives; 0 is a minute.";
        timeout: GoDuration = GoDuration::ZERO, "How long it may take to answer that; 0 is 20 s.";
    }
    ignored &[]
}

section! {
    /// `keepalive.enforcement_policy:`.
    KeepaliveEnforcement {
        min_time: GoDuration = GoDuration::ZERO, "Least time between two of a client's questions whether we live; who asks more often is cut off. 0 is no limit.";
        permit_without_stream: bool = false, "Whether a client without a call may ask, too; counts with `min_time`.";
    }
    ignored &[]
}

/// What the connections of a receiver may do, whichever it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Connections {
    /// The receiver's settings, in full.
    pub key: &'static str,
    /// TLS.
    pub tls: Option<ReceiverTls>,
    /// Most concurrent calls on one connection; 0 is the default.
    pub max_concurrent_streams: u32,
    /// How long they are kept.
    pub keepalive: Option<Keepalive>,
    /// How long a body may take; 0 is the default.
    pub read_timeout: GoDuration,
    /// How long headers may take; 0 is the default.
    pub read_header_timeout: GoDuration,
    /// When an idle one is closed; 0 is the default.
    pub idle_timeout: GoDuration,
    /// Whether each has one request only.
    pub single_request: bool,
    /// Headers of every answer.
    pub response_headers: BTreeMap<String, Secret>,
    /// What is asked for and does not exist here, by name.
    pub refused: Vec<&'static str>,
}

/// What `read_header_timeout` is where it is not set.
const READ_HEADER_TIMEOUT: GoDuration = mins(2);

impl Connections {
    /// That idle connections of HTTP/1.1 are closed before `idle_timeout`, where that is so: the wait for the next request
    /// is the wait for its headers.
    pub fn cut_idle_timeout(&self) -> Option<String> {
        let (key, idle, headers) = (self.key, self.idle_timeout, self.read_header_timeout);
        let headers = if headers.positive().is_some() { headers } else { READ_HEADER_TIMEOUT };
        (idle > headers && !self.single_request).then(|| {
            format!(
                "{key}.idle_timeout is {idle}, longer than {key}.read_header_timeout ({headers}), after which idle \
                 connections of HTTP/1.1 are closed; raise {key}.read_header_timeout, or lower the other"
            )
        })
    }
}

fn refused(auth: Option<&Raw>, middlewares: Option<&Raw>) -> Vec<&'static str> {
    let asked = [("auth", auth), ("middlewares", middlewares)];
    asked
        .into_iter()
        .filter(|(_, raw)| raw.is_some_and(|raw| !raw.is_empty()))
        .map(|(name, _)| name)
        .collect()
}

macro_rules! grpc_connections {
    ($($name:ident),*) => {$(
        impl $name {
            /// What its connections may do.
            pub fn connections(&self, key: &'static str) -> Connections {
                Connections {
                    key,
                    tls: self.tls.clone(),
                    max_concurrent_streams: self.max_concurrent_streams,
                    keepalive: self.keepalive.clone(),
                    refused: refused(self.auth.as_ref(), self.middlewares.as_ref()),
                    ..Connections::default()
                }
            }
        }
    )*};
}

macro_rules! http_connections {
    ($($name:ident),*) => {$(
        impl $name {
            /// What its connections may do.
            pub fn connections(&self, key: &'static str) -> Connections {
                Connections {
                    key,
                    tls: self.tls.clone(),
                    read_timeout: self.read_timeout,
                    read_header_timeout: self.read_header_timeout,
                    idle_timeout: self.idle_timeout,
                    single_request: !self.keep_alives_enabled,
                    response_headers: self.response_headers.clone(),
                    refused: refused(self.auth.as_ref(), self.middlewares.as_ref()),
                    ..Connections::default()
                }
            }
        }
    )*};
}

grpc_connections!(OtlpGrpc, JaegerGrpc);
http_connections!(OtlpHttp, JaegerThriftHttp, Zipkin, ZipkinHttp);

impl Receivers {
    /// The receivers that are configured and cannot be run, by name.
    pub fn unsupported(&self) -> Vec<&'static str> {
        self.opencensus.iter().map(|_| "opencensus").collect()
    }

    /// Whether anything but OTLP is configured.
    fn has_others(&self) -> bool {
        self.jaeger.is_some()
            || self.zipkin.is_some()
            || self.kafka.is_some()
            || !self.unsupported().is_empty()
    }

    /// OTLP over gRPC as it is to be served, or `None`.
    pub fn otlp_grpc(&self) -> Option<OtlpGrpc> {
        match self.otlp.as_ref().map(|otlp| &otlp.protocols) {
            Some(OtlpProtocols { grpc: Some(grpc), .. }) => Some(grpc.clone()),
            Some(OtlpProtocols { http: Some(_), .. }) => None,
            Some(_) => Some(OtlpGrpc::default()),
            None => (!self.has_others()).then(OtlpGrpc::default),
        }
    }

    /// OTLP over HTTP as it is to be served, or `None`.
    pub fn otlp_http(&self) -> Option<OtlpHttp> {
        match self.otlp.as_ref().map(|otlp| &otlp.protocols) {
            Some(OtlpProtocols { http: Some(http), .. }) => Some(http.clone()),
            Some(OtlpProtocols { grpc: Some(_), .. }) => None,
            Some(_) => Some(OtlpHttp::default()),
            None => (!self.has_others()).then(OtlpHttp::default),
        }
    }
}

impl OtlpGrpc {
    /// Largest message taken in.
    pub fn max_message(&self) -> ByteSize {
        match self.max_recv_msg_size_mib {
            0 => ByteSize::mib(4),
            mib => ByteSize::mib(mib),
        }
    }
}

impl OtlpHttp {
    /// The path that takes spans, with its slash.
    pub fn traces_path(&self) -> String {
        match self.traces_url_path.trim_start_matches('/') {
            "" => "/v1/traces".to_owned(),
            path => format!("/{path}"),
        }
    }

    /// Largest body taken in.
    pub fn max_body(&self) -> ByteSize {
        match self.max_request_body_size.bytes() {
            0 => ByteSize::mib(20),
            bytes => ByteSize::new(bytes),
        }
    }
}
