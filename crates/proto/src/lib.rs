//! The messages on the wire, generated from `proto/` by `build.rs`, and a codec for gRPC messages that are not to be
//! decoded.
//!
//! What must stay true: the numbers in `proto/` are those of OTLP and of Tempo's clients, whatever the names; a trace
//! on its way out and a batch of spans on its way in stay bytes.

mod raw;

pub use raw::{RawCodec, RawDecoder, RawEncoder, RawSendCodec};

/// A module of generated code, which follows other rules than ours.
macro_rules! generated {
    ($(#[$doc:meta])* $name:ident, $package:literal) => {
        $(#[$doc])*
        #[allow(
            missing_docs,
            unreachable_pub,
            unused_qualifications,
            rust_2018_idioms,
            clippy::all,
            clippy::correctness,
            clippy::perf,
            clippy::use_self,
            clippy::too_many_lines
        )]
        pub mod $name {
            tonic::include_proto!($package);
        }
    };
}

/// Sending spans by OTLP, and what they are made of.
pub mod opentelemetry {
    /// The part of the name that says nothing.
    pub mod proto {
        /// Services.
        pub mod collector {
            /// For traces.
            pub mod trace {
                generated!(
                    /// Version 1.
                    v1,
                    "opentelemetry.proto.collector.trace.v1"
                );
            }
        }
        /// Values and attributes.
        pub mod common {
            generated!(
                /// Version 1.
                v1,
                "opentelemetry.proto.common.v1"
            );
        }
        /// What spans come from.
        pub mod resource {
            generated!(
                /// Version 1.
                v1,
                "opentelemetry.proto.resource.v1"
            );
        }
        /// Spans.
        pub mod trace {
            generated!(
                /// Version 1.
                v1,
                "opentelemetry.proto.trace.v1"
            );
        }
    }
}

/// Taking spans by OTLP.
pub use opentelemetry::proto::collector::trace::v1 as collector;
/// Values and attributes of OTLP.
pub use opentelemetry::proto::common::v1 as common;
/// What spans come from.
pub use opentelemetry::proto::resource::v1 as resource;
/// Spans of OTLP.
pub use opentelemetry::proto::trace::v1 as trace;

generated!(
    /// What Tempo's clients ask.
    tempopb,
    "tempopb"
);

generated!(
    /// Health checking.
    health,
    "grpc.health.v1"
);

generated!(
    /// Errors with details.
    rpc,
    "google.rpc"
);
