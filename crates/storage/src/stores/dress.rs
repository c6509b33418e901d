//! A store whose new objects carry what the configuration says: storage class, tags, metadata, `Cache-Control`; and whose
//! uploads go in one piece where the server knows no parts; and a listing begins where it shall.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutPayloadMut, PutResult,
    RenameOptions, Result, TagSet, UploadPart,
};
use parking_lot::Mutex;

/// Most bytes of an object that is uploaded in one piece: S3's limit.
const MAX_ONE_PIECE_BYTES: usize = 5 * 1024 * 1024 * 1024;

/// What new objects carry.
#[derive(Clone, Debug, Default)]
pub(super) struct Dress {
    /// Attributes.
    pub(super) attributes: Attributes,
    /// Tags.
    pub(super) tags: TagSet,
    /// Whether uploads go in one piece.
    pub(super) one_piece: bool,
    /// Whether the server does not know where a listing shall begin, and says nothing about it.
    pub(super) lists_from_the_start: bool,
}

impl Dress {
    /// Adds an attribute.
    pub(super) fn attribute(&mut self, name: Attribute, value: &str) {
        self.attributes.insert(name, value.to_owned().into());
    }

    fn over(&self, attributes: &mut Attributes, tags: &mut TagSet) {
        for (name, value) in &self.attributes {
            if attributes.get(name).is_none() {
                attributes.insert(name.clone(), value.clone());
            }
        }
        if tags.encoded().is_empty() {
            *tags = self.tags.clone();
        }
    }
}

/// The store.
#[derive(Debug)]
pub(super) struct Dressed {
    inner: Arc<dyn ObjectStore>,
    dress: Dress,
}

impl Dressed {
    /// Around a store, when there is anything to carry.
    pub(super) fn around(inner: Arc<dyn ObjectStore>, dress: Dress) -> Arc<dyn ObjectStore> {
        let nothing = dress.attributes.is_empty() && dress.tags.encoded().is_empty();
        if nothing && !dress.one_piece && !dress.lists_from_the_start {
            inner
        } else {
            Arc::new(Self { inner, dress })
        }
    }
}

impl fmt::Display for Dressed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Dressed {
    async fn put_opts(&self, to: &Path, payload: PutPayload, mut options: PutOptions) -> Result<PutResult> {
        self.dress.over(&mut options.attributes, &mut options.tags);
        self.inner.put_opts(to, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        to: &Path,
        mut options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.dress.over(&mut options.attributes, &mut options.tags);
        if !self.dress.one_piece {
            return self.inner.put_multipart_opts(to, options).await;
        }
        let PutMultipartOptions { tags, attributes, extensions } = options;
        let options = PutOptions { tags, attributes, extensions, ..PutOptions::default() };
        let inner = Arc::clone(&self.inner);
        Ok(Box::new(OnePiece { inner, to: to.clone(), options, parts: Mutex::default() }))
    }

    async fn get_opts(&self, from: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(from, options).await
    }

    async fn get_ranges(&self, from: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(from, ranges).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        if !self.dress.lists_from_the_start {
            return self.inner.list_with_offset(prefix, offset);
        }
        let offset = offset.clone();
        let later = move |object: &ObjectMeta| std::future::ready(object.location > offset);
        self.inner.list(prefix).try_filter(later).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}

/// Keeps the parts of an upload until the last, and sends them as one object.
#[derive(Debug)]
struct OnePiece {
    inner: Arc<dyn ObjectStore>,
    to: Path,
    options: PutOptions,
    parts: Mutex<PutPayloadMut>,
}

#[async_trait]
impl MultipartUpload for OnePiece {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let parts = self.parts.get_mut();
        let length = parts.content_length() + data.content_length();
        let taken = if length > MAX_ONE_PIECE_BYTES {
            let problem =
                format!("{}: more than {MAX_ONE_PIECE_BYTES} bytes cannot be sent in one piece", self.to);
            Err(Error::Generic { store: "S3", source: problem.into() })
        } else {
            data.into_iter().for_each(|bytes| parts.push(bytes));
            Ok(())
        };
        Box::pin(std::future::ready(taken))
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let payload = std::mem::take(self.parts.get_mut()).freeze();
        self.inner.put_opts(&self.to, payload, self.options.clone()).await
    }

    async fn abort(&mut self) -> Result<()> {
        *self.parts.get_mut() = PutPayloadMut::default();
        Ok(())
    }
}
