//! Sets aside what could not be read, so that somebody can look at it after the log itself is gone.
//!
//! What must stay true: the folder is bounded, a range is copied once however often it is read, and a failure here
//! never stops a replay.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::names::FileName;
use crate::storage::append_all;
use crate::{Storage, StoredFile};

/// How much may lie in the quarantine folder; what comes on top is only named in the log line.
pub const QUARANTINE_BYTES: u64 = 256 << 20;

const FOLDER: &str = "quarantine";
const COPY: usize = 1 << 20;

/// The damage in one file, gathered for one line.
#[derive(Debug, Default)]
pub(crate) struct Damage {
    ranges: u64,
    bytes: u64,
    first: Option<u64>,
    copied_to: Option<PathBuf>,
    not_copied: Option<String>,
    /// Something was not known from an earlier read.
    new: bool,
}

impl Damage {
    /// Sets a range aside.
    pub(crate) fn add(
        &mut self,
        storage: &dyn Storage,
        folder: &Path,
        name: FileName,
        file: &dyn StoredFile,
        range: Range<u64>,
    ) {
        self.ranges += 1;
        self.bytes += range.end - range.start;
        self.first.get_or_insert(range.start);
        let quarantine = folder.join(FOLDER);
        let to = quarantine.join(format!("{}-{:012}.bin", name.text(), range.start));
        match copy(storage, &quarantine, file, range, &to) {
            Ok(new) => {
                self.new |= new;
                self.copied_to.get_or_insert(to);
            }
            Err(error) => {
                self.new = true;
                self.not_copied.get_or_insert(error.to_string());
            }
        }
    }

    /// Says what was found: one line for the file, as a warning the first time.
    pub(crate) fn report(&self, path: &Path) {
        let Some(offset) = self.first else { return };
        let (ranges, bytes) = (self.ranges, self.bytes);
        let inspect = match (&self.copied_to, &self.not_copied) {
            (Some(to), _) => format!("look at the first with: xxd {}", to.display()),
            (None, Some(error)) => format!("it could not be set aside: {error}"),
            (None, None) => String::new(),
        };
        let path = path.display();
        if self.new {
            tracing::warn!(%path, offset, ranges, bytes, "damaged records in the write-ahead log are left out, \
                all others are used; check the disk; {inspect}");
        } else {
            tracing::info!(%path, offset, ranges, bytes, "damaged records in the write-ahead log, set aside before");
        }
    }
}

/// Copies a range; says whether it was not there yet.
fn copy(
    storage: &dyn Storage,
    quarantine: &Path,
    file: &dyn StoredFile,
    range: Range<u64>,
    to: &Path,
) -> io::Result<bool> {
    storage.create_folder(quarantine)?;
    let held = storage.list(quarantine)?;
    let name = to.file_name().map(|name| name.to_string_lossy());
    if held.iter().any(|(held, bytes)| name.as_deref() == Some(held) && *bytes == range.end - range.start) {
        return Ok(false);
    }
    let sum: u64 = held.iter().map(|(_, bytes)| bytes).sum();
    if sum + (range.end - range.start) > QUARANTINE_BYTES {
        let full = format!("{} holds {sum} bytes already, empty it", quarantine.display());
        return Err(io::Error::new(io::ErrorKind::QuotaExceeded, full));
    }
    match storage.remove(to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut copy = storage.create(to)?;
    let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap_or(COPY).min(COPY)];
    let mut at = range.start;
    while at < range.end {
        let want = usize::try_from(range.end - at).unwrap_or(COPY).min(bytes.len());
        let read = file.read_at(&mut bytes[..want], at)?;
        if read == 0 {
            break;
        }
        append_all(&mut *copy, &mut [IoSlice::new(&bytes[..read])])?;
        at += read as u64;
    }
    copy.sync()?;
    Ok(true)
}
