//! Tempo's block formats: schemas, writer, reader, bloom filters and `meta.json`. vParquet3, 4 and 5 are read
//! (`layout.rs` says where each has what), 4 and 5 are written.
//!
//! Reading is sans-I/O: a reader says which byte ranges it needs and is called again when it has them. Nothing here
//! opens a file or a socket.

pub mod bloom;
mod decode;
pub mod dedicate;
mod hybrid;
mod inline;
mod json;
mod layout;
mod leaf;
pub mod meta;
mod pages;
mod read;
mod sbbf;
mod schema;
mod unpage;
mod write;

pub use layout::ColumnType;
pub use leaf::LeafError;
pub use read::{BlockFile, Bytes, Fetched, Outline, Outlined, Read, ReadError, RowGroup, Sections};
pub use write::{BlockStream, BlockWriter, Part, ROW_SPANS_MAX, WriteError, WriteOptions, Written};
