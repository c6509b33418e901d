//! A store that asks again when a read takes long, and takes the first answer: one slow server of many does not decide
//! how long a question takes.
//!
//! What must stay true: only reads are repeated. A failure that says something about the object ends the matter; any
//! other waits for the requests that are still on their way.

use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{BoxStream, FuturesUnordered};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};

use super::{Hedge, StoreMetrics};

/// The store.
#[derive(Debug)]
pub struct Hedged {
    inner: Arc<dyn ObjectStore>,
    hedge: Hedge,
    metrics: Arc<StoreMetrics>,
}

impl Hedged {
    /// Around a store.
    pub fn new(inner: Arc<dyn ObjectStore>, hedge: Hedge, metrics: Arc<StoreMetrics>) -> Self {
        Self { inner, hedge, metrics }
    }

    /// The first answer of up to `up_to` requests, each sent when the one before has taken `at`.
    async fn first<T, F: Future<Output = Result<T>>>(&self, ask: impl Fn() -> F) -> Result<T> {
        let mut running = FuturesUnordered::new();
        running.push(ask());
        let mut sent = 1;
        loop {
            let late = tokio::time::sleep(self.hedge.at);
            tokio::select! {
                biased;
                answer = running.next() => match answer {
                    Some(Err(error)) if !is_final(&error) && !running.is_empty() => {}
                    Some(answer) => return answer,
                    None => return Err(Error::Generic { store: "hedge", source: "nothing was asked".into() }),
                },
                () = late, if sent < self.hedge.up_to => {
                    self.metrics.hedged.fetch_add(1, Ordering::Relaxed);
                    running.push(ask());
                    sent += 1;
                }
            }
        }
    }
}

/// Whether asking again cannot give another answer.
fn is_final(error: &Error) -> bool {
    !matches!(error, Error::Generic { .. } | Error::JoinError { .. })
}

impl fmt::Display for Hedged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Hedged {
    async fn put_opts(&self, to: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(to, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        to: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(to, options).await
    }

    async fn get_opts(&self, from: &Path, options: GetOptions) -> Result<GetResult> {
        self.first(|| self.inner.get_opts(from, options.clone())).await
    }

    async fn get_ranges(&self, from: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.first(|| self.inner.get_ranges(from, ranges)).await
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
        self.inner.list_with_offset(prefix, offset)
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
