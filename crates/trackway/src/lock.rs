//! One process for one data folder: two would destroy each other's log.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::Path;

/// A lock on a folder, held until it is dropped or the process ends.
#[derive(Debug)]
pub(crate) struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Locks a folder, which is made when it is not there.
    pub(crate) fn take(folder: &Path) -> anyhow::Result<Self> {
        let shown = folder.display();
        std::fs::create_dir_all(folder).map_err(|error| match error.kind() {
            std::io::ErrorKind::PermissionDenied => {
                anyhow::anyhow!(
                    "{shown}: no permission; choose another folder with --data, or change its owner"
                )
            }
            _ => anyhow::anyhow!("{shown}: {error}; choose another folder with --data"),
        })?;
        let path = folder.join("lock");
        let mut file =
            File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(
                |error| anyhow::anyhow!("{}: {error}; choose another folder with --data", path.display()),
            )?;
        if file.try_lock().is_err() {
            let mut holder = String::new();
            // Who it is only helps; that it is somebody is certain.
            let _ = file.read_to_string(&mut holder);
            anyhow::bail!(
                "{shown} is in use by pid {}; stop it, or choose another folder with --data",
                if holder.trim().is_empty() { "(unknown)" } else { holder.trim() }
            );
        }
        // Nor is it worth a start that a full disk does not take the number: the lock is held without it.
        let _ = file.set_len(0).and_then(|()| file.rewind());
        let _ = write!(file, "{}", std::process::id());
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let held = FolderLock::take(folder.path()).unwrap();
        let error = FolderLock::take(folder.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("in use by pid {}", std::process::id())), "{error}");
        drop(held);
        FolderLock::take(folder.path()).unwrap();
    }
}
