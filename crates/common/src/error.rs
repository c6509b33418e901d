//! The kinds of error. A kind says what the caller must do, and maps to exactly one HTTP and one gRPC status.

/// What the caller of a failed operation must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Ask something else: the question itself is wrong. HTTP 400, gRPC INVALID_ARGUMENT.
    Invalid,
    /// Nothing to be done: it is not there. HTTP 404, gRPC NOT_FOUND.
    NotFound,
    /// Ask for less: the answer or the request is over a limit. HTTP 422, gRPC RESOURCE_EXHAUSTED.
    TooLarge,
    /// Come back later: a rate, a quota or the memory budget is used up. HTTP 429, gRPC RESOURCE_EXHAUSTED.
    Exhausted,
    /// Come back soon: stopping, starting, or the disk is full. HTTP 503, gRPC UNAVAILABLE.
    Unavailable,
    /// Nothing: the caller itself went away. HTTP 499, gRPC CANCELLED.
    Cancelled,
    /// Allow more time. HTTP 504, gRPC DEADLINE_EXCEEDED.
    Deadline,
    /// Ask for something that this version does. HTTP 400, gRPC UNIMPLEMENTED.
    Unsupported,
    /// Report it: a bug, or damaged data. HTTP 500, gRPC INTERNAL.
    Internal,
}

/// An error that knows its kind.
pub trait Kinded: std::error::Error {
    /// What the caller must do.
    fn kind(&self) -> ErrorKind;
}
