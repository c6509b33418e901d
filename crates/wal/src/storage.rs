//! The few things that the log asks of a file system, as a seam: [`LocalStorage`] is the real one,
//! [`crate::SimulatedStorage`] one that fails on demand.
//!
//! What must stay true: nothing here retries, buffers or hides an error; the log decides what a failure means.

use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A file system.
pub trait Storage: Send + Sync + Debug {
    /// Makes a folder and those above it; that it is there already is fine.
    ///
    /// # Errors
    /// What the system says.
    fn create_folder(&self, folder: &Path) -> io::Result<()>;

    /// The names and sizes of the files in a folder, in no order; folders in it are left out.
    ///
    /// # Errors
    /// What the system says.
    fn list(&self, folder: &Path) -> io::Result<Vec<(String, u64)>>;

    /// Creates a file for appending; fails if there is one.
    ///
    /// # Errors
    /// What the system says.
    fn create(&self, path: &Path) -> io::Result<Box<dyn StoredFile>>;

    /// Opens a file for reading.
    ///
    /// # Errors
    /// What the system says.
    fn open(&self, path: &Path) -> io::Result<Box<dyn StoredFile>>;

    /// Renames a file, over another one if there is one.
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Deletes a file.
    ///
    /// # Errors
    /// What the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes creations, renames and removals in a folder survive a power loss.
    ///
    /// # Errors
    /// What the system says.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
}

/// An open file.
pub trait StoredFile: Send + Debug {
    /// Appends as much as one call takes, and says how much.
    ///
    /// # Errors
    /// What the system says.
    fn append(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Makes what was appended survive a power loss.
    ///
    /// # Errors
    /// What the system says. What was appended since the last success is then in an unknown state for ever.
    fn sync(&mut self) -> io::Result<()>;

    /// Cuts the file; later appends go on from there.
    ///
    /// # Errors
    /// What the system says.
    fn truncate(&mut self, length: u64) -> io::Result<()>;

    /// Reads at an offset; fewer bytes than asked for are possible, none means the end.
    ///
    /// # Errors
    /// What the system says.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize>;

    /// The size of the file.
    ///
    /// # Errors
    /// What the system says.
    fn size(&self) -> io::Result<u64>;
}

/// The file system of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalStorage;

impl Storage for LocalStorage {
    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        std::fs::create_dir_all(folder)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<(String, u64)>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let meta = match entry.metadata() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue, // deleted while we listed
                meta => meta?,
            };
            if let (true, Ok(name)) = (meta.is_file(), entry.file_name().into_string()) {
                found.push((name, meta.len()));
            }
        }
        Ok(found)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn StoredFile>> {
        Ok(Box::new(LocalFile(OpenOptions::new().append(true).read(true).create_new(true).open(path)?)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn StoredFile>> {
        Ok(Box::new(LocalFile(File::open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }
}

#[derive(Debug)]
struct LocalFile(File);

impl StoredFile for LocalFile {
    fn append(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.write_vectored(parts)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(into, offset)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

/// Appends all of `parts`.
///
/// # Errors
/// What the system says; some of it may have been written.
pub(crate) fn append_all(file: &mut dyn StoredFile, mut parts: &mut [IoSlice<'_>]) -> io::Result<()> {
    IoSlice::advance_slices(&mut parts, 0); // skips empty ones at the front
    while !parts.is_empty() {
        match file.append(parts) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut parts, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
