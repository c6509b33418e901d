//! `distributor.receivers:`, in the words of the OpenTelemetry Collector.

use std::collections::BTreeMap;

use crate::bytesize::ByteSize;
use crate::duration::GoDuration;
use crate::sections::{Jaeger, Kafka, Zipkin};
use crate::table::Shape::{Any, Bool, Dur, Int, List, Str};
use crate::values::{Raw, Secret};

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
        max_concurrent_streams: u32 = 0, "Most concurrent calls on one connection; 0 is no limit.";
        include_metadata: bool = false, "Accepted; the tenant's header is always read.";
        tls: Option<ReceiverTls> = None, "TLS of the receiver.";
    }
    ignored &[
        ("transport", Str),
        ("read_buffer_size", Int),
        ("write_buffer_size", Int),
        ("keepalive", Any),
        ("auth", Any),
        ("middlewares", List),
    ]
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
    }
    ignored &[
        ("transport", Str),
        ("auth", Any),
        ("compression_algorithms", List),
        ("metrics_url_path", Str),
        ("logs_url_path", Str),
        ("profiles_url_path", Str),
        ("read_timeout", Dur),
        ("read_header_timeout", Dur),
        ("write_timeout", Dur),
        ("idle_timeout", Dur),
        ("keep_alives_enabled", Bool),
        ("middlewares", List),
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
        reload_interval: GoDuration = GoDuration::ZERO, "How often certificates are read again; 0 is never.";
    }
    ignored &[
        ("ca_file", Str),
        ("ca_pem", Str),
        ("cipher_suites", List),
        ("curve_preferences", List),
        ("client_ca_file_reload", Bool),
        ("include_system_ca_certs_pool", Bool),
        ("tpm", Any),
    ]
}

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
    /// Largest body taken in.
    pub fn max_body(&self) -> ByteSize {
        match self.max_request_body_size.bytes() {
            0 => ByteSize::mib(20),
            bytes => ByteSize::new(bytes),
        }
    }
}
