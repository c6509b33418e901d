//! What lies in the folder of the log: the names of its files, and two small files that hold a number each.
//!
//! What must stay true: a number is replaced as a whole or not at all (written beside, synced, renamed, folder
//! synced), and it stands in its file twice, each time with a checksum, so that one flipped bit does not lose it.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use crate::storage::append_all;
use crate::{Epoch, LogError, Sequence, Storage};

/// The number of times that the log was opened.
pub(crate) const EPOCH: &str = "epoch";
/// The last sequence that is not needed any more.
pub(crate) const LOW_WATER: &str = "low-water";

/// Which file of the log; they sort in the order in which they were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FileName {
    pub(crate) epoch: Epoch,
    /// No record in it has a smaller sequence, and none in the files before it a larger or equal one.
    pub(crate) first: Sequence,
}

impl FileName {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (epoch, first) = name.strip_prefix("wal-")?.strip_suffix(".log")?.split_once('-')?;
        let parsed = Self { epoch: Epoch(epoch.parse().ok()?), first: Sequence(first.parse().ok()?) };
        (parsed.text() == name).then_some(parsed)
    }

    pub(crate) fn text(self) -> String {
        format!("wal-{:010}-{:020}.log", self.epoch.0, self.first.0)
    }

    pub(crate) fn path(self, folder: &Path) -> PathBuf {
        folder.join(self.text())
    }
}

/// The files of the log in a folder with their sizes, in order. A folder that is not there has none.
pub(crate) fn list(storage: &dyn Storage, folder: &Path) -> Result<Vec<(FileName, u64)>, LogError> {
    let found = match storage.list(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        found => found.map_err(|error| LogError::io("list", folder, error))?,
    };
    let mut files: Vec<_> =
        found.iter().filter_map(|(name, bytes)| Some((FileName::parse(name)?, *bytes))).collect();
    files.sort_unstable();
    Ok(files)
}

/// Reads a number. `None`: there is no such file, or it is damaged (then a WARN line says what was assumed).
pub(crate) fn read_number(
    storage: &dyn Storage,
    folder: &Path,
    name: &str,
    assumed: &str,
) -> Result<Option<u64>, LogError> {
    let path = folder.join(name);
    let file = match storage.open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(|error| LogError::io("open", &path, error))?,
    };
    let mut bytes = [0; 256];
    let length = file.read_at(&mut bytes, 0).map_err(|error| LogError::io("read", &path, error))?;
    let number = bytes[..length].split(|byte| *byte == b'\n').find_map(parse_line);
    if number.is_none() {
        tracing::warn!(path = %path.display(), "this file of the write-ahead log is damaged: {assumed}");
    }
    Ok(number)
}

/// Replaces a number, durably.
pub(crate) fn write_number(
    storage: &dyn Storage,
    folder: &Path,
    name: &str,
    number: u64,
) -> Result<(), LogError> {
    let path = folder.join(name);
    let beside = folder.join(format!("{name}.new"));
    let replace = || -> io::Result<()> {
        match storage.remove(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = storage.create(&beside)?;
        let line = format_line(number);
        append_all(&mut *file, &mut [IoSlice::new(line.as_bytes()), IoSlice::new(line.as_bytes())])?;
        file.sync()?;
        storage.rename(&beside, &path)?;
        storage.sync_folder(folder)
    };
    replace().map_err(|error| LogError::io("write", &path, error))
}

/// With an empty line behind it: one flipped bit must not join the two copies.
fn format_line(number: u64) -> String {
    format!("{number} {:08x}\n\n", crc32fast::hash(number.to_string().as_bytes()))
}

fn parse_line(line: &[u8]) -> Option<u64> {
    let (number, crc) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    let crc = u32::from_str_radix(crc, 16).ok()?;
    if crc32fast::hash(number.as_bytes()) == crc { number.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_others_are_not() {
        let name = FileName { epoch: Epoch(7), first: Sequence(12) };
        assert_eq!(name.text(), "wal-0000000007-00000000000000000012.log");
        assert_eq!(FileName::parse(&name.text()), Some(name));
        for other in ["wal-7-12.log", "wal-0000000007-00000000000000000012.log.bak", "epoch", "wal--.log"] {
            assert_eq!(FileName::parse(other), None);
        }
    }

    #[test]
    fn a_number_survives_any_flipped_bit() {
        let text = format_line(123_456).repeat(2);
        for at in 0..text.len() * 8 {
            let mut bytes = text.clone().into_bytes();
            bytes[at / 8] ^= 1 << (at % 8);
            assert_eq!(bytes.split(|byte| *byte == b'\n').find_map(parse_line), Some(123_456));
        }
    }
}
