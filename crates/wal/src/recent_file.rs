//! Which requests were stored lately, over restarts: a sender whose answer was lost sends again, perhaps to a process that
//! has let go of the log meanwhile.
//!
//! One small file, written whole under another name, synced and renamed. That it is missing or damaged only means that a
//! repeated request is stored, or counted, twice.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use crate::{RecentHashes, Sequence};

const MAGIC: &[u8; 8] = b"TWRECNT1";
/// Hash, time, sequence.
const ENTRY_BYTES: usize = 32;

impl RecentHashes {
    /// Writes what is remembered at `now`, Unix nanoseconds. Blocks on I/O.
    ///
    /// # Errors
    /// When the file cannot be written; the one before is there still.
    pub fn save(&self, path: &Path, now: u64) -> std::io::Result<()> {
        let entries = self.stored(now);
        let mut bytes = Vec::with_capacity(12 + entries.len() * ENTRY_BYTES);
        bytes.extend_from_slice(MAGIC);
        for (hash, received, sequence) in entries {
            bytes.extend_from_slice(&hash.to_le_bytes());
            bytes.extend_from_slice(&received.to_le_bytes());
            bytes.extend_from_slice(&sequence.0.to_le_bytes());
        }
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        let temporary = path.with_extension("tmp");
        let mut file = File::create(&temporary)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    }

    /// Remembers what [`Self::save`] wrote, of the records up to one: who reads a log again from there meets the others.
    /// Returns whether there was anything to read. Blocks on I/O.
    ///
    /// # Errors
    /// When the file cannot be read, or is damaged; nothing of it is remembered then.
    pub fn load(&self, path: &Path, up_to: Sequence) -> std::io::Result<bool> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        let damaged = || std::io::Error::other("damaged; a request that is repeated now may count twice");
        let (body, checksum) = bytes.split_last_chunk::<4>().ok_or_else(damaged)?;
        if crc32fast::hash(body) != u32::from_le_bytes(*checksum) {
            return Err(damaged());
        }
        let entries = body.strip_prefix(MAGIC).ok_or_else(damaged)?;
        for entry in entries.chunks_exact(ENTRY_BYTES) {
            let number = |range: std::ops::Range<usize>| {
                entry[range].iter().rev().fold(0_u128, |number, byte| number << 8 | u128::from(*byte))
            };
            // Both casts are of eight bytes.
            let sequence = Sequence(number(24..32) as u64);
            if sequence <= up_to {
                self.remember(number(0..16), number(16..24) as u64, sequence);
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_comes_back_and_damage_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recent");
        let recent = RecentHashes::default();
        assert!(!recent.load(&path, Sequence(9)).unwrap());
        recent.remember(7 << 100, 1_000, Sequence(3));
        recent.remember(8, 1_500, Sequence(4));
        recent.save(&path, 2_000).unwrap();
        let again = RecentHashes::default();
        assert!(again.load(&path, Sequence(3)).unwrap());
        assert_eq!(again.stored(2_000), [(7 << 100, 1_000, Sequence(3))]);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[20] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(again.load(&path, Sequence(3)).is_err());
    }
}
