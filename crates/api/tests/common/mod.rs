//! The surface on a real port, over a service and a process that say what they are told to.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::{Arc, Mutex};

use futures::future::{BoxFuture, FutureExt};
use futures::stream::{self, BoxStream, StreamExt};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use trackway_api::{Admin, ApiConfig, ApiState, ConfigMode, HomeInfo, router, serve};
use trackway_common::{ErrorKind, ManualClock, RequestCtx, TenantId};
use trackway_querier::service::{
    MetricsAnswer, MetricsRequest, QueryError, QueryService, SearchRequest, SearchUpdate, TagValuesAnswer,
    TagValuesRequest, TagsAnswer, TagsRequest, TraceAnswer, TraceRequest,
};

/// Seconds; when a part of the recordings was made.
pub const NOW: u64 = 1_795_336_238;

/// What the service answers, and what it was asked.
pub struct Fake {
    pub trace: Mutex<Result<TraceAnswer, QueryError>>,
    pub updates: Mutex<Vec<Result<SearchUpdate, QueryError>>>,
    /// Whether a search never ends.
    pub hangs: Mutex<bool>,
    pub series: Mutex<Result<MetricsAnswer, QueryError>>,
    pub tags: Mutex<TagsAnswer>,
    pub values: Mutex<Result<TagValuesAnswer, QueryError>>,
    pub asked: Mutex<Vec<String>>,
    pub asked_series: Mutex<Option<MetricsRequest>>,
    pub contexts: Mutex<Vec<RequestCtx>>,
    pub ready: Mutex<Result<(), String>>,
    pub services: Mutex<Vec<(String, String)>>,
    pub stopped: Mutex<bool>,
}

impl Fake {
    fn note(&self, ctx: RequestCtx, request: &impl std::fmt::Debug) {
        self.contexts.lock().unwrap().push(ctx);
        self.asked.lock().unwrap().push(format!("{request:?}"));
    }

    /// The last question.
    pub fn last(&self) -> String {
        self.asked.lock().unwrap().last().expect("something was asked").clone()
    }

    /// The last question for series.
    pub fn last_series(&self) -> MetricsRequest {
        self.asked_series.lock().unwrap().clone().expect("something was asked")
    }

    /// The context of the last question.
    pub fn context(&self) -> RequestCtx {
        self.contexts.lock().unwrap().last().expect("something was asked").clone()
    }
}

impl QueryService for Fake {
    fn trace(
        &self,
        ctx: RequestCtx,
        request: TraceRequest,
    ) -> BoxFuture<'_, Result<TraceAnswer, QueryError>> {
        self.note(ctx, &request);
        let answer = self.trace.lock().unwrap().clone();
        async move { answer }.boxed()
    }

    fn trace_pieces(
        &self,
        ctx: RequestCtx,
        request: TraceRequest,
    ) -> BoxStream<'static, Result<bytes::Bytes, QueryError>> {
        self.note(ctx, &request);
        let answer = self.trace.lock().unwrap().clone();
        let pieces: Vec<_> = match answer {
            Ok(answer) => answer.trace.into_iter().flat_map(|trace| [Ok(trace.clone()), Ok(trace)]).collect(),
            Err(error) => vec![Err(error)],
        };
        stream::iter(pieces).boxed()
    }

    fn search(
        &self,
        ctx: RequestCtx,
        request: SearchRequest,
    ) -> BoxStream<'static, Result<SearchUpdate, QueryError>> {
        self.note(ctx, &request);
        let updates = stream::iter(self.updates.lock().unwrap().clone());
        if *self.hangs.lock().unwrap() { updates.chain(stream::pending()).boxed() } else { updates.boxed() }
    }

    fn tags(&self, ctx: RequestCtx, request: TagsRequest) -> BoxFuture<'_, Result<TagsAnswer, QueryError>> {
        self.note(ctx, &request);
        let answer = self.tags.lock().unwrap().clone();
        async move { Ok(answer) }.boxed()
    }

    fn tag_values(
        &self,
        ctx: RequestCtx,
        request: TagValuesRequest,
    ) -> BoxFuture<'_, Result<TagValuesAnswer, QueryError>> {
        self.note(ctx, &request);
        let answer = self.values.lock().unwrap().clone();
        async move { answer }.boxed()
    }

    fn metrics(
        &self,
        ctx: RequestCtx,
        request: MetricsRequest,
    ) -> BoxFuture<'_, Result<MetricsAnswer, QueryError>> {
        self.note(ctx, &request);
        *self.asked_series.lock().unwrap() = Some(request);
        let answer = self.series.lock().unwrap().clone();
        async move { answer }.boxed()
    }
}

impl Admin for Fake {
    fn ready(&self) -> Result<(), String> {
        self.ready.lock().unwrap().clone()
    }

    fn services(&self) -> Vec<(String, String)> {
        self.services.lock().unwrap().clone()
    }

    fn config_yaml(&self, mode: ConfigMode) -> String {
        format!("mode: {mode:?}\n")
    }

    fn flush(&self, tenant: Option<TenantId>) -> BoxFuture<'_, Result<(), QueryError>> {
        let known = tenant.is_none_or(|tenant| tenant.as_str() == "known");
        async move { if known { Ok(()) } else { Err(QueryError::new(ErrorKind::NotFound, "unknown tenant")) } }
            .boxed()
    }

    fn shutdown(&self) {
        *self.stopped.lock().unwrap() = true;
    }

    fn metrics_text(&self) -> String {
        "# TYPE a gauge\na 1\n# EOF\n".to_owned()
    }

    fn home(&self) -> HomeInfo {
        HomeInfo {
            title: "trackway <0.1>".into(),
            facts: vec![("ask".into(), "http://127.0.0.1:3200".into())],
            commands: vec![("errors".into(), "trackway search '{ status = error }'".into())],
        }
    }
}

/// A running surface.
pub struct Running {
    pub address: String,
    pub fake: Arc<Fake>,
    pub shutdown: CancellationToken,
    pub task: tokio::task::JoinHandle<std::io::Result<()>>,
}

/// Starts one.
pub async fn start(config: ApiConfig) -> Running {
    let fake = Arc::new(Fake {
        trace: Mutex::new(Ok(TraceAnswer::default())),
        updates: Mutex::default(),
        hangs: Mutex::default(),
        series: Mutex::new(Ok(MetricsAnswer::default())),
        tags: Mutex::default(),
        values: Mutex::new(Ok(TagValuesAnswer::default())),
        asked: Mutex::default(),
        asked_series: Mutex::default(),
        contexts: Mutex::default(),
        ready: Mutex::new(Ok(())),
        services: Mutex::default(),
        stopped: Mutex::default(),
    });
    let clock = Arc::new(ManualClock::new(NOW * 1_000_000_000));
    let router = router(ApiState::new(config, fake.clone(), fake.clone(), clock));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(serve(listener, Default::default(), router, shutdown.clone()));
    Running { address, fake, shutdown, task }
}

impl Running {
    /// One request.
    pub async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let (address, method, path) = (self.address.clone(), method.to_owned(), path.to_owned());
        let headers: Vec<_> = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let answer = tokio::task::spawn_blocking(move || {
            trackway_golden::http::request(&address, &method, &path, &headers, None).unwrap()
        });
        let answer = answer.await.unwrap();
        Answer { status: answer.status, headers: answer.headers, body: answer.body }
    }

    /// One GET.
    pub async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[]).await
    }
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a header, empty for none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map_or("", |(_, v)| v)
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }
}
