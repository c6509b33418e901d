//! Where blocks are kept: object stores, the catalogue of blocks, and reading blocks through caches.

mod blocks;
mod catalog;
mod cpu;
mod index;
mod reader;
pub mod stores;

pub use blocks::{BlockStore, StoreError, Upload};
pub use catalog::{BlockCatalog, BlockEntry, Catalog, CatalogError, LogRanges, UnreadableBlock};
pub use cpu::CpuPool;
pub use reader::{BlockReader, Scanned};
