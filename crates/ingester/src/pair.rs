//! Two blocks of the same log records, of which both count or none.
//!
//! Each of the two names all records that they were made of together. If a process died with one of them written, the
//! next would skip the records, and the spans of the other block would be lost; or it would replay them, and those of the
//! written one would be there twice. So a small file says which two blocks are under way. It is there before the first
//! of them is written, and goes when both are whole, before anything that they replace is let go. While it is there, the
//! log and the segments still have all spans: a block that is alone can be thrown away.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use trackway_common::TenantId;
use uuid::Uuid;

/// Two blocks under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) tenant: TenantId,
    pub(crate) blocks: [Uuid; 2],
}

fn path(folder: &Path) -> PathBuf {
    folder.join("pair")
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

impl Pair {
    /// Says durably that these two are under way. There is one pair at a time.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        let temporary = folder.join("pair.tmp");
        let mut file = File::create(&temporary)?;
        let [first, second] = self.blocks;
        write!(file, "{}\n{first}\n{second}\n", self.tenant)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path(folder))?;
        sync(folder)
    }

    /// The pair that is under way, if any.
    pub(crate) fn read(folder: &Path) -> io::Result<Option<Self>> {
        let text = match std::fs::read_to_string(path(folder)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        let mut lines = text.lines();
        let tenant = lines.next().and_then(|name| TenantId::new(name).ok());
        let mut block = || lines.next().and_then(|line| line.parse().ok());
        match (tenant, block(), block()) {
            (Some(tenant), Some(first), Some(second)) => Ok(Some(Self { tenant, blocks: [first, second] })),
            _ => Err(io::Error::other(
                "damaged: it names a tenant and two blocks, of which both count or none",
            )),
        }
    }

    /// Says durably that no pair is under way.
    pub(crate) fn clear(folder: &Path) -> io::Result<()> {
        match std::fs::remove_file(path(folder)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => sync(folder),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_back_until_it_is_cleared() {
        let folder = tempfile::tempdir().unwrap();
        let pair = Pair { tenant: TenantId::single(), blocks: [Uuid::from_u128(1), Uuid::from_u128(2)] };
        assert_eq!(Pair::read(folder.path()).unwrap(), None);
        pair.write(folder.path()).unwrap();
        assert_eq!(Pair::read(folder.path()).unwrap(), Some(pair));
        Pair::clear(folder.path()).unwrap();
        Pair::clear(folder.path()).unwrap();
        assert_eq!(Pair::read(folder.path()).unwrap(), None);
        std::fs::write(path(folder.path()), "single-tenant\nnobody\n").unwrap();
        assert!(Pair::read(folder.path()).is_err());
    }
}
