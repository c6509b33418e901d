//! A store whose requests are counted and timed, under Tempo's name and by the methods of HTTP that it would use.
//!
//! Requests are those of the library, which may try each several times; a listing is one, however many pages it has.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};
use parking_lot::Mutex;
use tokio::time::Instant;
use trackway_common::Histogram;

/// How long they took, by method and status.
#[derive(Debug, Default)]
pub(super) struct Requests(Mutex<BTreeMap<(&'static str, u16), Histogram>>);

impl Requests {
    fn record<T>(&self, method: &'static str, began: Instant, result: &Result<T>) {
        let status = match result {
            Ok(_) => 200,
            Err(Error::NotFound { .. }) => 404,
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => 412,
            Err(Error::NotModified { .. }) => 304,
            Err(Error::PermissionDenied { .. }) => 403,
            Err(Error::Unauthenticated { .. }) => 401,
            Err(_) => 500,
        };
        self.took(method, status, began.elapsed());
    }

    fn took(&self, method: &'static str, status: u16, took: Duration) {
        self.0.lock().entry((method, status)).or_default().record(took);
    }

    /// Appends them in Prometheus's text format.
    pub(super) fn write(&self, out: &mut String) {
        let name = "tempodb_backend_request_duration_seconds";
        out.push_str(&format!(
            "# HELP {name} Time spent doing backend storage requests.\n# TYPE {name} histogram\n"
        ));
        for ((method, status), histogram) in &*self.0.lock() {
            histogram.write(out, name, &format!("operation=\"{method}\",status_code=\"{status}\""));
        }
    }
}

/// The store.
#[derive(Debug)]
pub(super) struct Counted {
    inner: Arc<dyn ObjectStore>,
    requests: Arc<Requests>,
}

impl Counted {
    /// Around a store.
    pub(super) fn new(inner: Arc<dyn ObjectStore>, requests: Arc<Requests>) -> Self {
        Self { inner, requests }
    }

    async fn timed<T>(&self, method: &'static str, answer: impl Future<Output = Result<T>>) -> Result<T> {
        let began = Instant::now();
        let answer = answer.await;
        self.requests.record(method, began, &answer);
        answer
    }

    /// Counts a listing when it ends.
    fn listed(
        &self,
        pages: BoxStream<'static, Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let (requests, began) = (Arc::clone(&self.requests), Instant::now());
        let end = futures::stream::once(async move {
            requests.record("GET", began, &Ok(()));
            None
        });
        let failed = Arc::clone(&self.requests);
        let seen = move |object: Result<ObjectMeta>| {
            if object.is_err() {
                failed.record("GET", began, &object);
            }
            Some(object)
        };
        pages.map(seen).chain(end).filter_map(std::future::ready).boxed()
    }
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Counted {
    async fn put_opts(&self, to: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.timed("PUT", self.inner.put_opts(to, payload, options)).await
    }

    async fn put_multipart_opts(
        &self,
        to: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let inner = self.timed("POST", self.inner.put_multipart_opts(to, options)).await?;
        Ok(Box::new(Upload { inner, requests: Arc::clone(&self.requests) }))
    }

    async fn get_opts(&self, from: &Path, options: GetOptions) -> Result<GetResult> {
        let method = if options.head { "HEAD" } else { "GET" };
        self.timed(method, self.inner.get_opts(from, options)).await
    }

    async fn get_ranges(&self, from: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.timed("GET", self.inner.get_ranges(from, ranges)).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (requests, mut began) = (Arc::clone(&self.requests), Instant::now());
        let deleted = move |path: Result<Path>| {
            requests.record("DELETE", began, &path);
            began = Instant::now();
            path
        };
        self.inner.delete_stream(paths).map(deleted).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listed(self.inner.list(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listed(self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.timed("GET", self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.timed("PUT", self.inner.copy_opts(from, to, options)).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.timed("PUT", self.inner.rename_opts(from, to, options)).await
    }
}

/// An upload in parts.
#[derive(Debug)]
struct Upload {
    inner: Box<dyn MultipartUpload>,
    requests: Arc<Requests>,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (part, requests, began) = (self.inner.put_part(data), Arc::clone(&self.requests), Instant::now());
        Box::pin(async move {
            let sent = part.await;
            requests.record("PUT", began, &sent);
            sent
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let began = Instant::now();
        let done = self.inner.complete().await;
        self.requests.record("POST", began, &done);
        done
    }

    async fn abort(&mut self) -> Result<()> {
        let began = Instant::now();
        let done = self.inner.abort().await;
        self.requests.record("DELETE", began, &done);
        done
    }
}
