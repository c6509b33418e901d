//! Small objects that more than one writer changes: each change names the version that it replaces.
//!
//! What must stay true: a change on an older version than the one that is there is refused. Where the store can compare
//! (S3, Google, Azure), no writer of any process comes between; where it cannot (a local folder, and deleting anywhere), no
//! writer of this process does. Nothing larger than the limit is read into memory.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutResult, UpdateVersion};
use tokio::sync::Mutex;

use crate::stores::OpenStore;

/// The version of an object that is not there yet.
pub const VERSION_NEW: &str = "0";

/// Objects of one name, each in a folder of its own: `<prefix>/<root>/<folder>/<name>`.
#[derive(Debug)]
pub struct Versioned {
    store: Arc<dyn ObjectStore>,
    root: Path,
    name: &'static str,
    bytes_max: u64,
    writing: Mutex<()>,
}

/// An object as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionedObject {
    /// What is in it.
    pub bytes: Bytes,
    /// Which version that is.
    pub version: String,
}

/// Why an object was not read or changed.
#[derive(Debug, thiserror::Error)]
pub enum VersionedError {
    /// There is none.
    #[error("does not exist")]
    Missing,
    /// It is not the one that was to be changed.
    #[error("version does not match")]
    Changed,
    /// It is larger than any may be.
    #[error("{path}: {bytes} bytes are more than {limit}")]
    TooLarge {
        /// Where it is.
        path: String,
        /// Its size.
        bytes: u64,
        /// The largest.
        limit: u64,
    },
    /// The store failed.
    #[error("{action} {path}: {source}")]
    Store {
        /// What was tried.
        action: &'static str,
        /// On which object.
        path: String,
        /// Why not.
        source: Error,
    },
}

/// How a store names what is there: for comparing, and for people.
struct Found {
    update: UpdateVersion,
    shown: String,
}

impl Found {
    fn new(e_tag: Option<String>, version: Option<String>) -> Self {
        // Google's number of a generation is what its own conditions are about; others compare tags.
        let generation = version.clone().filter(|version| version.parse::<u64>().is_ok());
        let shown = generation.or_else(|| e_tag.clone()).or_else(|| version.clone()).unwrap_or_default();
        Self { shown: bare(&shown).to_owned(), update: UpdateVersion { e_tag, version } }
    }
}

/// A version without the quotes that HTTP puts around it.
fn bare(version: &str) -> &str {
    let version = version.trim();
    version.strip_prefix("W/").unwrap_or(version).trim_matches('"')
}

impl Versioned {
    /// The objects `name` in folders below `root`.
    pub fn new(opened: &OpenStore, root: &str, name: &'static str, bytes_max: u64) -> Self {
        let root = Path::from(opened.prefix.as_str()).join(root);
        Self { store: Arc::clone(&opened.store), root, name, bytes_max, writing: Mutex::default() }
    }

    fn path(&self, folder: &str) -> Path {
        self.root.clone().join(folder).join(self.name)
    }

    fn failed(action: &'static str, path: &Path) -> impl FnOnce(Error) -> VersionedError {
        move |source| match source {
            Error::NotFound { .. } => VersionedError::Missing,
            Error::AlreadyExists { .. } | Error::Precondition { .. } => VersionedError::Changed,
            source => VersionedError::Store { action, path: path.to_string(), source },
        }
    }

    /// The folders that have the object, at most so many, each with its version.
    ///
    /// # Errors
    /// [`VersionedError::Store`].
    pub async fn all(&self, most: usize) -> Result<Vec<(String, String)>, VersionedError> {
        let mut listed = self.store.list(Some(&self.root));
        let mut found = Vec::new();
        while let Some(meta) = listed.try_next().await.map_err(Self::failed("list", &self.root))? {
            let Some(parts) = meta.location.prefix_match(&self.root) else { continue };
            let parts: Vec<_> = parts.collect();
            let [folder, name] = parts.as_slice() else { continue };
            if name.as_ref() == self.name && found.len() < most {
                found.push((folder.as_ref().to_owned(), Found::new(meta.e_tag, meta.version).shown));
            }
        }
        Ok(found)
    }

    /// The object in a folder.
    ///
    /// # Errors
    /// [`VersionedError::Missing`], [`VersionedError::TooLarge`], [`VersionedError::Store`].
    pub async fn get(&self, folder: &str) -> Result<VersionedObject, VersionedError> {
        let path = self.path(folder);
        let got = self.store.get(&path).await.map_err(Self::failed("read", &path))?;
        let (bytes, limit) = (got.meta.size, self.bytes_max);
        if bytes > limit {
            return Err(VersionedError::TooLarge { path: path.to_string(), bytes, limit });
        }
        let found = Found::new(got.meta.e_tag.clone(), got.meta.version.clone());
        let bytes = got.bytes().await.map_err(Self::failed("read", &path))?;
        Ok(VersionedObject { bytes, version: found.shown })
    }

    /// What is there now, if it is the version that the writer knows; `None` if it knows of none and there is none.
    async fn expected(&self, path: &Path, version: &str) -> Result<Option<Found>, VersionedError> {
        let found = match self.store.head(path).await {
            Ok(meta) => Some(Found::new(meta.e_tag, meta.version)),
            Err(Error::NotFound { .. }) => None,
            Err(error) => return Err(Self::failed("read", path)(error)),
        };
        match (found, bare(version)) {
            (None, VERSION_NEW) => Ok(None),
            (Some(found), known) if found.shown == known => Ok(Some(found)),
            _ => Err(VersionedError::Changed),
        }
    }

    /// Replaces the object of this version, or makes it if the version is [`VERSION_NEW`]. The new version.
    ///
    /// # Errors
    /// [`VersionedError::Changed`] if another one is there; [`VersionedError::Store`].
    pub async fn put(&self, folder: &str, bytes: Bytes, version: &str) -> Result<String, VersionedError> {
        let path = self.path(folder);
        let _alone = self.writing.lock().await;
        let mode = match self.expected(&path, version).await? {
            Some(found) => PutMode::Update(found.update),
            None => PutMode::Create,
        };
        let put = match self.put_in_mode(&path, bytes.clone(), mode).await {
            // It was compared above, by this process.
            Err(Error::NotImplemented { .. }) => self.put_in_mode(&path, bytes, PutMode::Overwrite).await,
            other => other,
        };
        let PutResult { e_tag, version, .. } = put.map_err(Self::failed("write", &path))?;
        Ok(Found::new(e_tag, version).shown)
    }

    async fn put_in_mode(&self, path: &Path, bytes: Bytes, mode: PutMode) -> Result<PutResult, Error> {
        let options = PutOptions { mode, ..PutOptions::default() };
        self.store.put_opts(path, bytes.into(), options).await
    }

    /// Deletes the object of this version.
    ///
    /// # Errors
    /// [`VersionedError::Missing`], [`VersionedError::Changed`], [`VersionedError::Store`].
    pub async fn delete(&self, folder: &str, version: &str) -> Result<(), VersionedError> {
        let path = self.path(folder);
        let _alone = self.writing.lock().await;
        match self.store.head(&path).await {
            Ok(meta) if Found::new(meta.e_tag.clone(), meta.version.clone()).shown == bare(version) => {}
            Ok(_) => return Err(VersionedError::Changed),
            Err(error) => return Err(Self::failed("read", &path)(error)),
        }
        self.store.delete(&path).await.map_err(Self::failed("delete", &path))
    }
}
