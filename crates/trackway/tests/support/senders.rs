//! A server with every receiver beside OTLP's.

use std::net::{TcpListener, UdpSocket};
use std::path::Path;

use super::{Ports, Server, config};

/// Where the receivers listen.
pub struct Senders {
    pub jaeger_grpc: u16,
    pub jaeger_http: u16,
    pub compact: u16,
    pub binary: u16,
    pub zipkin: u16,
}

impl Senders {
    /// One call to Jaeger's receiver.
    pub async fn post_spans(
        &self,
        path: &'static str,
        request: tonic::Request<PostSpans>,
    ) -> Result<(), tonic::Status> {
        let address = format!("http://127.0.0.1:{}", self.jaeger_grpc);
        let channel = tonic::transport::Endpoint::from_shared(address).unwrap().connect().await.unwrap();
        let mut client = tonic::client::Grpc::new(channel);
        client.ready().await.unwrap();
        let path = tonic::codegen::http::uri::PathAndQuery::from_static(path);
        let codec = tonic_prost::ProstCodec::<PostSpans, ()>::default();
        client.unary(request, path, codec).await.map(|_| ())
    }
}

/// Starts a server with all of them.
pub fn start(folder: &Path, more: &str) -> (Server, Senders) {
    let tcp: Vec<TcpListener> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let udp: Vec<UdpSocket> = (0..2).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    let port = |place: usize| tcp[place].local_addr().unwrap().port();
    let datagram = |place: usize| udp[place].local_addr().unwrap().port();
    let senders = Senders {
        jaeger_grpc: port(0),
        jaeger_http: port(1),
        zipkin: port(2),
        compact: datagram(0),
        binary: datagram(1),
    };
    let Senders { jaeger_grpc, jaeger_http, compact, binary, zipkin } = senders;
    let ports = Ports::free();
    let receivers = format!(
        "receivers: {{jaeger: {{protocols: {{grpc: {{endpoint: '127.0.0.1:{jaeger_grpc}'}}, \
         thrift_http: {{endpoint: '127.0.0.1:{jaeger_http}'}}, \
         thrift_compact: {{endpoint: '127.0.0.1:{compact}', max_packet_size: 20000}}, \
         thrift_binary: {{endpoint: '127.0.0.1:{binary}'}}}}}}, zipkin: {{endpoint: '127.0.0.1:{zipkin}'}}, otlp:"
    );
    let text = config(folder, ports, more).replace("receivers: {otlp:", &receivers);
    let file = folder.join("tempo.yaml");
    std::fs::write(&file, text).unwrap();
    drop((tcp, udp));
    let mut server = Server::spawn_file(folder, &file, ports);
    server.until_ready();
    (server, senders)
}

/// The one method of Jaeger's receiver.
pub const POST_SPANS: &str = "/jaeger.api_v2.CollectorService/PostSpans";

/// `PostSpansRequest`, as far as it is used here.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PostSpans {
    #[prost(message, optional, tag = "1")]
    pub batch: Option<JaegerBatch>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct JaegerBatch {
    #[prost(message, repeated, tag = "1")]
    pub spans: Vec<JaegerSpan>,
    #[prost(message, optional, tag = "2")]
    pub process: Option<JaegerProcess>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct JaegerProcess {
    #[prost(string, tag = "1")]
    pub service_name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct JaegerSpan {
    #[prost(bytes = "vec", tag = "1")]
    pub trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub span_id: Vec<u8>,
    #[prost(string, tag = "3")]
    pub operation_name: String,
    #[prost(message, repeated, tag = "4")]
    pub references: Vec<JaegerReference>,
    #[prost(message, optional, tag = "6")]
    pub start_time: Option<Seconds>,
    #[prost(message, optional, tag = "7")]
    pub duration: Option<Seconds>,
    #[prost(message, repeated, tag = "8")]
    pub tags: Vec<JaegerTag>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct JaegerReference {
    #[prost(bytes = "vec", tag = "1")]
    pub trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub span_id: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Seconds {
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct JaegerTag {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(int32, tag = "2")]
    pub v_type: i32,
    #[prost(string, tag = "3")]
    pub v_str: String,
    #[prost(int64, tag = "5")]
    pub v_int64: i64,
}
