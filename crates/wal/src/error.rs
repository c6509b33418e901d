//! What can go wrong with the log, said so that an operator knows what to do. One failed group answers many senders,
//! so the error can be cloned.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use trackway_common::{ErrorKind, Kinded};

/// Why a record was not stored, or the log could not be opened or read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LogError {
    /// The log holds as much as it may.
    #[error(
        "the write-ahead log in {} holds {held} of at most {max} bytes (trackway.wal.max_bytes): blocks are \
         written slower than spans arrive; come back later, or raise the setting",
        folder.display()
    )]
    Full {
        /// Where the log is.
        folder: PathBuf,
        /// What it holds, with what is on its way in.
        held: u64,
        /// The setting.
        max: u64,
    },
    /// The disk, or the quota on it, is full.
    #[error("no space left on {}: free some, senders are told to retry", path.display())]
    NoSpace {
        /// The file or folder that could not grow.
        path: PathBuf,
    },
    /// The disk failed.
    #[error("cannot {what} {}: {source}: check the disk, senders are told to retry", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// One request is larger than a record may be.
    #[error(
        "the request takes {bytes} bytes in the write-ahead log, at most {max} are possible: send smaller ones"
    )]
    TooLarge {
        /// The size of its record.
        bytes: u64,
        /// See [`crate::MAX_RECORD_BYTES`].
        max: u64,
    },
    /// The log is shut down.
    #[error("the write-ahead log is closed: the process is stopping")]
    Closed,
    /// A file was written by a newer version. Nothing was changed or deleted.
    #[error(
        "{} has format version {found}, this version of Trackway knows up to {known}: start the newer version \
         again and let it flush, nothing was deleted",
        path.display()
    )]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Its version; a codec that is not known counts as a version.
        found: u16,
        /// The newest known one.
        known: u16,
    },
}

impl LogError {
    /// Sorts what the system said into "full" and "failed".
    pub(crate) fn io(what: &'static str, path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::NoSpace { path: path.to_owned() }
            }
            _ => Self::Io { what, path: path.to_owned(), source: Arc::new(source) },
        }
    }
}

impl Kinded for LogError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Full { .. } => ErrorKind::Exhausted,
            Self::NoSpace { .. } | Self::Io { .. } | Self::Closed => ErrorKind::Unavailable,
            Self::TooLarge { .. } => ErrorKind::TooLarge,
            Self::NewerFormat { .. } => ErrorKind::Unsupported,
        }
    }
}
