//! Tempo's block format, vParquet4: schema, writer, reader, bloom filters and `meta.json`.
//!
//! Reading is sans-I/O: a reader says which byte ranges it needs and is called again when it has them. Nothing here
//! opens a file or a socket.

pub mod bloom;
mod decode;
mod hybrid;
mod json;
mod leaf;
pub mod meta;
mod pages;
mod read;
pub mod schema;
mod unpage;
mod write;

pub use leaf::LeafError;
pub use read::{BlockFile, Bytes, Fetched, Outline, Outlined, Read, ReadError, RowGroup};
pub use write::{BlockStream, BlockWriter, Part, WriteError, WriteOptions, Written};
