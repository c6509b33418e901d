//! OTLP over gRPC: one method, whose message is handed on as the bytes it came in.
//!
//! What must stay true: no message larger than the limit is held, compressed or not; OK is said after the push.

use std::sync::Arc;

use ::http::{HeaderValue, Request, Response};
use axum::body::Body;
use bytes::Bytes;
use hyper::body::Incoming;
use tonic::codec::CompressionEncoding;
use tonic::codegen::BoxFuture;
use tonic::server::{Grpc, UnaryService};
use tonic::{Code, Status};
use trackway_common::MemoryPool;
use trackway_proto::RawCodec;
use trackway_proto::collector::ExportTraceServiceResponse;

use crate::answer::grpc_status;
use crate::export::{Batch, Transport, push};
use crate::meter::Meter;
use crate::route::Door;

/// The one method.
const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Answers any gRPC request.
pub(crate) async fn answer(door: Arc<Door>, request: Request<Incoming>) -> Response<Body> {
    if request.uri().path() != EXPORT {
        let text = format!("{} is not served here; traces go to {EXPORT}", request.uri().path());
        return Status::unimplemented(text).into_http();
    }
    let (memory, limit) = (door.config.memory.clone(), door.config.max_recv_bytes);
    unary(|meter| Export(door, meter), request, &memory, limit, false).await
}

/// Answers one call whose message is at most `limit` bytes, within the memory budget; `grows` says that the message
/// becomes something else.
pub(crate) async fn unary<S>(
    service: impl FnOnce(Meter) -> S,
    request: Request<Incoming>,
    memory: &MemoryPool,
    limit: usize,
    grows: bool,
) -> Response<Body>
where
    S: UnaryService<Bytes>,
    S::Response: prost::Message + 'static,
{
    let mut grpc = Grpc::new(RawCodec::<S::Response>::default())
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Zstd)
        .max_decoding_message_size(limit);
    // Held until the push is done.
    let meter = match Meter::new(memory, request.headers(), grows, limit).await {
        Ok(meter) => meter,
        Err(error) => return grpc_status(&error).into_http(),
    };
    let service = service(meter.clone());
    let request = request.map(|body| meter.body(body, |broken| grpc_status(&broken.into())));
    let mut response = grpc.unary(service, request).await.map(Body::new);
    // Senders retry OUT_OF_RANGE, which tonic says of a message that is too large; it would come again and again.
    let status = response.headers_mut().get_mut("grpc-status");
    if let Some(status) = status.filter(|status| status.as_bytes() == b"11") {
        *status = HeaderValue::from(Code::ResourceExhausted as i32);
    }
    response
}

struct Export(Arc<Door>, Meter);

impl UnaryService<Bytes> for Export {
    type Response = ExportTraceServiceResponse;
    type Future = BoxFuture<tonic::Response<ExportTraceServiceResponse>, Status>;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let (door, meter) = (Arc::clone(&self.0), self.1.clone());
        Box::pin(async move {
            let (metadata, _, body) = request.into_parts();
            let headers = metadata.into_headers();
            // It may have come out of a decompression.
            meter.cover(body.len()).map_err(|error| grpc_status(&error))?;
            let batch = Batch::protobuf(body);
            push(&door, &headers, Transport::Grpc, batch)
                .await
                .map(tonic::Response::new)
                .map_err(|error| grpc_status(&error))
        })
    }
}
