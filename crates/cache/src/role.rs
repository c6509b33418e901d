//! What is cached: the roles of Tempo's `cache:` block.

use std::fmt;
use std::str::FromStr;

/// What an entry is. Named as in Tempo's `cache.caches[].roles`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Shards of bloom filters.
    Bloom,
    /// Trace id indexes of blocks.
    TraceIdIndex,
    /// Footers of data files.
    ParquetFooter,
    /// Column indexes of data files.
    ParquetColumnIdx,
    /// Offset indexes of data files.
    ParquetOffsetIdx,
    /// Pages of data files.
    ParquetPage,
    /// Partial answers.
    FrontendSearch,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Bloom,
        Self::TraceIdIndex,
        Self::ParquetFooter,
        Self::ParquetColumnIdx,
        Self::ParquetOffsetIdx,
        Self::ParquetPage,
        Self::FrontendSearch,
    ];

    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bloom => "bloom",
            Self::TraceIdIndex => "trace-id-index",
            Self::ParquetFooter => "parquet-footer",
            Self::ParquetColumnIdx => "parquet-column-idx",
            Self::ParquetOffsetIdx => "parquet-offset-idx",
            Self::ParquetPage => "parquet-page",
            Self::FrontendSearch => "frontend-search",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(name: &str) -> Result<Self, UnknownRole> {
        Self::ALL.into_iter().find(|role| role.name() == name).ok_or(UnknownRole)
    }
}

/// There is no such role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "is not a role; use bloom, trace-id-index, parquet-footer, parquet-column-idx, parquet-offset-idx, parquet-page or frontend-search"
)]
pub struct UnknownRole;
