//! Compiles the messages. protox is a compiler for .proto files in Rust, so that no protoc is needed.

#![allow(clippy::print_stdout)] // how a build script talks to cargo

use std::error::Error;

const FILES: [&str; 7] = [
    "opentelemetry/proto/common/v1/common.proto",
    "opentelemetry/proto/resource/v1/resource.proto",
    "opentelemetry/proto/trace/v1/trace.proto",
    "opentelemetry/proto/collector/trace/v1/trace_service.proto",
    "tempopb/tempo.proto",
    "grpc/health/v1/health.proto",
    "google/rpc/status.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    // `bytes::Bytes` shares the buffer a message came in; maps in order keep answers the same from run to run.
    tonic_prost_build::configure().bytes(".").btree_map(".").compile_fds(descriptors)?;
    Ok(())
}
