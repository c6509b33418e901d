//! Where blocks are kept: object stores, the catalogue of blocks, and reading blocks through caches.

mod blocks;
mod cached;
mod catalog;
mod commits;
mod cpu;
mod entry;
mod found;
pub mod ids;
mod index;
mod kept;
mod listing;
mod locate;
mod reader;
pub mod redact;
mod scan;
pub mod stores;
mod versioned;

pub use trackway_cache as cache;

pub use blocks::{BlockStore, StoreError, Upload};
pub use catalog::{BlockCatalog, Catalog, CatalogError, PollOptions};
pub use commits::{Commit, CommitError};
pub use cpu::CpuPool;
pub use entry::{BlockEntry, LogRanges, UnreadableBlock};
pub use found::{Looked, Polled};
pub use index::{IndexWrite, IndexWrites};
pub use listing::{BlockFiles, Listing};
pub use reader::BlockReader;
pub use scan::{PIECES_AT_ONCE, Piece, Scanned};
pub use versioned::{VERSION_NEW, Versioned, VersionedError, VersionedObject};
