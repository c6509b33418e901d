//! Reads the log back: at start, and behind the writer for those who follow it.
//!
//! What must stay true: records come in the order of their sequences, each at most once; damage is set aside and told,
//! and never keeps the process from starting; a file of a newer version does, because going on would lose it.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use crate::names::{self, FileName};
use crate::quarantine::Damage;
use crate::walk::{Found, Walk};
use crate::{FORMAT_VERSION, LogError, Sequence, Storage, Visitor};

/// How far somebody has read.
#[derive(Clone, Debug, Default)]
pub struct Cursor {
    after: Sequence,
    /// Where in which file to go on; only saves time.
    place: Option<(FileName, u64)>,
}

impl Cursor {
    /// Starts behind a record, 0 for all of them.
    pub fn after(sequence: Sequence) -> Self {
        Self { after: sequence, place: None }
    }

    /// The last record that was read.
    pub fn sequence(&self) -> Sequence {
        self.after
    }
}

/// What was found while reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Records given to the visitor.
    pub records: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// Ranges that could not be read, and were set aside.
    pub damaged: u64,
    /// Bytes in them.
    pub damaged_bytes: u64,
    /// Bytes of records at the end of a file that a crash cut off: never acknowledged.
    pub torn_bytes: u64,
    /// The visitor said stop.
    pub stopped: bool,
}

/// A file to read, as far as the reader may.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Readable {
    pub(crate) name: FileName,
    pub(crate) bytes: u64,
}

/// Reads a log that nobody writes: all records after `after`, in order, one at a time in memory.
///
/// Records may have been refused to their senders, or be there twice, see the crate's text: give every one to
/// [`crate::RecentHashes::remember`]. Damaged ranges are copied to `quarantine/` in the folder, with one WARN line for
/// each damaged file. Blocks on I/O.
///
/// # Errors
/// [`LogError::NewerFormat`], or an I/O error if the folder cannot be listed. Damage is not an error.
pub fn replay(
    storage: &dyn Storage,
    folder: &Path,
    after: Sequence,
    mut visit: impl FnMut(crate::RecordRef<'_>) -> ControlFlow<()>,
) -> Result<Replayed, LogError> {
    let files = names::list(storage, folder)?;
    let files: Vec<_> = files.into_iter().map(|(name, bytes)| Readable { name, bytes }).collect();
    Reader { storage, folder, files: &files, live: None }.read(&mut Cursor::after(after), &mut visit)
}

/// Reads a list of files.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    pub(crate) storage: &'a dyn Storage,
    pub(crate) folder: &'a Path,
    pub(crate) files: &'a [Readable],
    /// The file that is being written: its end is the writer's, not a crash's.
    pub(crate) live: Option<FileName>,
}

impl Reader<'_> {
    pub(crate) fn read(&self, cursor: &mut Cursor, visit: &mut Visitor<'_>) -> Result<Replayed, LogError> {
        let mut seen = Replayed::default();
        for (index, file) in self.files.iter().enumerate() {
            let next = self.files.get(index + 1).map(|next| next.name);
            if next.is_some_and(|next| next.first.0 <= cursor.after.0.saturating_add(1)) {
                continue; // everything in it was read, or is not asked for
            }
            // Only the last file that a process wrote may end in the middle of a record.
            let last = next.is_none_or(|next| next.epoch != file.name.epoch) && self.live != Some(file.name);
            self.file(*file, last, cursor, visit, &mut seen)?;
            if seen.stopped {
                break;
            }
        }
        Ok(seen)
    }

    /// Opens a file, or says why its records are left out.
    fn open(&self, file: Readable, path: &Path, seen: &mut Replayed) -> Option<Walk> {
        match self.storage.open(path) {
            Ok(opened) => Some(Walk::new(opened, file.bytes)),
            // Released while we read the files before it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot open a file of the write-ahead log, \
                    its records are left out: check its owner and the disk");
                seen.damaged += 1;
                seen.damaged_bytes += file.bytes;
                None
            }
        }
    }

    fn file(
        &self,
        file: Readable,
        last: bool,
        cursor: &mut Cursor,
        visit: &mut Visitor<'_>,
        seen: &mut Replayed,
    ) -> Result<(), LogError> {
        let path = file.name.path(self.folder);
        let mut damage = Damage::default();
        let Some(mut walk) = self.open(file, &path, seen) else { return Ok(()) };
        let mut begun = match cursor.place {
            Some((name, at)) if name == file.name => walk.seek(at),
            _ => Ok(()),
        };
        loop {
            let found = std::mem::replace(&mut begun, Ok(())).and_then(|()| walk.next());
            let (range, torn) = match found {
                Ok(Found::Record(record)) => {
                    if record.sequence > cursor.after {
                        cursor.after = record.sequence;
                        seen.records += 1;
                        seen.bytes += record.body.len() as u64;
                        seen.stopped = visit(record).is_break();
                    }
                    cursor.place = Some((file.name, walk.at()));
                    if seen.stopped {
                        break;
                    }
                    continue;
                }
                Ok(Found::End) => break,
                Ok(Found::Newer(found)) => {
                    return Err(LogError::NewerFormat { path, found, known: FORMAT_VERSION });
                }
                Ok(Found::Damaged(range)) => (range, false),
                Ok(Found::Torn(range)) => (range, last),
                Err(error) => {
                    tracing::warn!(path = %path.display(), offset = walk.at(), %error, "cannot read on in a file \
                        of the write-ahead log, the records behind are left out: check the disk");
                    seen.damaged += 1;
                    seen.damaged_bytes += file.bytes.saturating_sub(walk.at());
                    break;
                }
            };
            let bytes = range.end - range.start;
            if torn {
                seen.torn_bytes += bytes;
                tracing::info!(path = %path.display(), offset = range.start, bytes, "the write-ahead log ends \
                    in an unfinished record, as it does after a crash; it was never acknowledged");
            } else {
                seen.damaged += 1;
                seen.damaged_bytes += bytes;
                damage.add(self.storage, self.folder, file.name, walk.file(), range);
            }
            cursor.place = Some((file.name, walk.at()));
        }
        damage.report(&path);
        Ok(())
    }
}

/// The first sequence that a file leaves free, whatever is damaged in it, and whether a newer version wrote it.
pub(crate) fn end_of(storage: &dyn Storage, folder: &Path, file: Readable) -> Result<Sequence, LogError> {
    let path = file.name.path(folder);
    let open = storage.open(&path).map_err(|error| LogError::io("open", &path, error))?;
    let mut walk = Walk::new(open, file.bytes);
    let mut next = file.name.first;
    loop {
        let lost = match walk.next() {
            Ok(Found::Record(record)) => {
                next = next.max(Sequence(record.sequence.0.saturating_add(1)));
                continue;
            }
            Ok(Found::End) => return Ok(next),
            Ok(Found::Newer(found)) => {
                return Err(LogError::NewerFormat { path, found, known: FORMAT_VERSION });
            }
            Ok(Found::Damaged(range) | Found::Torn(range)) => range,
            Err(_) => walk.at()..file.bytes.max(walk.at()),
        };
        // No more records than this can have been where nothing can be read: their sequences are not used again.
        next.0 = next.0.saturating_add((lost.end - lost.start) / crate::format::RECORD_HEADER as u64 + 1);
        if lost.end >= file.bytes {
            return Ok(next);
        }
    }
}
