//! Calls to Jaeger's receiver, and its messages as far as they are used here.

use tonic::codegen::http::uri::PathAndQuery;

use super::receivers::Receivers;

/// The one method of Jaeger's receiver.
pub const POST_SPANS: &str = "/jaeger.api_v2.CollectorService/PostSpans";

impl Receivers {
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
        let path = PathAndQuery::from_static(path);
        let codec = tonic_prost::ProstCodec::<PostSpans, ()>::default();
        client.unary(request, path, codec).await.map(|_| ())
    }
}

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
