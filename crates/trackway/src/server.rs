//! The server: binds ports, opens the data, wires the parts together, and stops them in order.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use trackway_api::{Admin, ApiState};
use trackway_common::{Clock, MemoryPool, Random, SystemClock, SystemRandom};
use trackway_compactor::Compactor;
use trackway_config::Config;
use trackway_distributor::{Distributor, Push};
use trackway_forward::Forwarders;
use trackway_ingester::Ingester;
use trackway_overrides::Overrides;
use trackway_querier::Querier;
use trackway_storage::{BlockCatalog, BlockReader, Catalog, CpuPool};
use trackway_tail::Tails;

use crate::admin::Process;
use crate::blocklist::{BlockList, Work};
use crate::foreign::Foreign;
use crate::listen::Port;
use crate::lock::FolderLock;
use crate::overrides::TenantSettings;
use crate::store::Blocks;
use crate::user_overrides::UserOverrides;
use crate::welcome::Welcome;
use crate::{
    address, allocator, caches, generator, kafka, leftovers, listen, logging, memory, settings, store,
};

/// Runs the server until it is told to stop.
pub(crate) fn run(config: Config) -> anyhow::Result<()> {
    logging::start(&config);
    refuse_what_is_not_there(&config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(serve(config));
    // Whatever still waits for a disk or a client has had its time.
    runtime.shutdown_timeout(Duration::from_secs(5));
    result
}

/// What the configuration asks for and this version does not do, said at once rather than found out later.
fn refuse_what_is_not_there(config: &Config) -> anyhow::Result<()> {
    if config.target != "all" && config.target != "scalable-single-binary" {
        anyhow::bail!(
            "target {:?} is not supported yet; this version runs everything in one process: -target=all",
            config.target
        );
    }
    if !config.unsupported_receivers.is_empty() {
        tracing::warn!(
            receivers = config.unsupported_receivers.join(", "),
            "these receivers are not supported yet and are left out; OTLP, Jaeger, Zipkin and Kafka are taken"
        );
    }
    if !config.ignored.is_empty() {
        tracing::warn!(
            keys = config.ignored.join(", "),
            "these settings mean nothing to Trackway and are ignored"
        );
    }
    for warning in config.generator_warnings() {
        tracing::warn!("{warning}");
    }
    let without_effect = config.without_effect();
    if !without_effect.is_empty() {
        tracing::warn!(keys = without_effect.join(", "), "these settings have no effect in this version");
    }
    Ok(())
}

/// The ports, all bound before anything else happens, so that a taken one is known at once.
struct Ports {
    http: Port,
    grpc: Port,
    otlp_grpc: Option<Port>,
    otlp_http: Option<Port>,
    foreign: Foreign,
}

async fn bind(config: &Config) -> anyhow::Result<Ports> {
    let addresses = config.resolve_addresses();
    let [http, grpc] = listen::of_api(config)?;
    // Certificates first, then ports.
    let connections = config.connections();
    let listens: Vec<_> = connections.iter().map(listen::of_receiver).collect::<Result<_, _>>()?;
    let http =
        Port { listener: address::bind(&addresses.http, "server.http_listen_port").await?, listen: http };
    let grpc =
        Port { listener: address::bind(&addresses.grpc, "server.grpc_listen_port").await?, listen: grpc };
    let read_only = config.trackway.read_only;
    let mut otlp = [None, None];
    let endpoints = [(&addresses.otlp_grpc, "grpc"), (&addresses.otlp_http, "http")];
    for (slot, (endpoint, protocol)) in otlp.iter_mut().zip(endpoints) {
        if let Some(endpoint) = endpoint.as_ref().filter(|_| !read_only) {
            let block = format!("distributor.receivers.otlp.protocols.{protocol}");
            let place = connections.iter().position(|of| of.key == block);
            let listen = place.map(|place| listens[place].clone()).unwrap_or_default();
            let listener = address::bind(endpoint, &format!("{block}.endpoint")).await?;
            *slot = Some(Port { listener, listen });
        }
    }
    let [otlp_grpc, otlp_http] = otlp;
    let foreign = if read_only { Foreign::default() } else { Foreign::bind(config).await? };
    Ok(Ports { http, grpc, otlp_grpc, otlp_http, foreign })
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let random: Arc<dyn Random> = Arc::new(SystemRandom);
    let tenants = Arc::new(TenantSettings::open(&config)?);
    let memory = memory::budget(&config);
    let forwarders = settings::forwarders(&config);
    let forwarders =
        Forwarders::open(&forwarders, Arc::clone(&tenants.overrides), memory.clone(), Arc::clone(&random))?;
    let ports = bind(&config).await?;
    let wal = config.wal_path();
    let _lock = if config.trackway.read_only { None } else { Some(FolderLock::take(&wal)?) };
    let cpu = CpuPool::new(config.trackway.query.threads as usize)?;
    let Blocks { store, bucket } = store::open(&config, &*random).await?;
    let own_overrides = UserOverrides::open(&config, &tenants).await?;
    allocator::fit(memory.limit());
    let opened = caches::open(&config, &memory, &clock, bucket.is_some()).await?;
    let reader = BlockReader::new(store.clone(), cpu, memory.clone()).with_caches(opened.caches.clone());
    // What merging reads is read once, and would throw out what is asked often.
    let uncached = reader.past_caches();
    let catalog = Arc::new(Catalog::default());
    let block_list = BlockList::new(&config, &catalog, &store, &clock);
    let polled = block_list.look().await?;
    if !config.trackway.read_only {
        leftovers::delete(&config, &store, &catalog, &polled).await?;
    }
    let ingester =
        open_ingester(&config, wal, reader.clone(), &catalog, (&clock, &random), &tenants.overrides).await?;
    let work = if config.trackway.read_only || config.compactor.disabled {
        None
    } else {
        let compactor = compactor(&config, &uncached, &catalog, (&clock, &random), &ingester);
        Some(Work::new(compactor, Arc::clone(&clock)).await?)
    };

    let generator =
        generator::open(&config, &ingester, &tenants.overrides, &memory, (&clock, &random)).await?;

    let stop = CancellationToken::new();
    let querier = Querier::new(Arc::clone(&ingester), reader, Arc::clone(&clock), settings::querier(&config));
    let (distributor, tails) = distributor(&config, &ingester, forwarders.clone(), (&memory, &clock));
    let process = Arc::new(Process {
        distributor,
        tails,
        tenants: Arc::clone(&tenants),
        own_overrides,
        compactor: work.as_ref().map(Work::compactor),
        querier: querier.clone(),
        ingester: Arc::clone(&ingester),
        ready: AtomicBool::new(false),
        stop: stop.clone(),
        addresses: facts(&config, &ports),
        received: Arc::default(),
        forwarders,
        generator,
        kafka: Arc::default(),
        polls: block_list.metrics(),
        clock: Arc::clone(&clock),
        memory,
        caches: opened.caches.clone(),
        bucket,
        config,
    });
    let admin: Arc<dyn Admin> = Arc::clone(&process) as Arc<dyn Admin>;
    let api = settings::api(&process.config, &process.tenants.overrides);
    let state = ApiState::new(api, Arc::new(querier), admin, Arc::clone(&clock));
    let welcome = welcome(&process, &ports, &*clock);

    let mut parts = Parts::start(&process, ports, state);
    if let Some(work) = &work {
        parts.loops.spawn(work.clone().run(polled, parts.stop_loops.clone()));
    }
    parts.loops.spawn(tenants.run(parts.stop_loops.clone()));
    if let Some(own) = &process.own_overrides {
        parts.loops.spawn(Arc::clone(own).run(parts.stop_loops.clone()));
    }
    parts.loops.spawn(block_list.run(work, parts.stop_loops.clone()));
    // Before anybody is told that it is ready, and may stop it.
    let signals = Signals::listen();
    process.ready.store(true, Ordering::Release);
    welcome.say();
    signals.wait(&stop).await;
    let stopped = parts.stop(&process).await;
    opened.caches.close().await;
    stopped
}

async fn open_ingester(
    config: &Config,
    folder: PathBuf,
    reader: BlockReader,
    catalog: &Arc<Catalog>,
    (clock, random): (&Arc<dyn Clock>, &Arc<dyn Random>),
    overrides: &Arc<Overrides>,
) -> anyhow::Result<Arc<Ingester>> {
    let settings = settings::ingester(config, folder, reader.memory(), overrides);
    let catalog: Arc<dyn BlockCatalog> = Arc::clone(catalog) as Arc<dyn BlockCatalog>;
    let (clock, random) = (Arc::clone(clock), Arc::clone(random));
    let open = move || Ingester::open(settings, reader, catalog, clock, random);
    Ok(tokio::task::spawn_blocking(open).await??)
}

/// What takes spans in, and who watches them.
fn distributor(
    config: &Config,
    ingester: &Arc<Ingester>,
    forwarders: Option<Arc<Forwarders>>,
    (memory, clock): (&MemoryPool, &Arc<dyn Clock>),
) -> (Arc<Distributor>, Arc<Tails>) {
    let tails = Arc::new(Tails::new(memory.clone(), Arc::clone(clock)));
    let (ingester, settings) = (Arc::clone(ingester), settings::distributor(config));
    let distributor = Distributor::new(ingester, settings, Arc::clone(&tails), Arc::clone(clock));
    (Arc::new(distributor.with_forwarders(forwarders)), tails)
}

fn compactor(
    config: &Config,
    reader: &BlockReader,
    catalog: &Arc<Catalog>,
    (clock, random): (&Arc<dyn Clock>, &Arc<dyn Random>),
    ingester: &Arc<Ingester>,
) -> Arc<Compactor> {
    let (of_log, of_columns, of_live) = (Arc::clone(ingester), Arc::clone(ingester), Arc::clone(ingester));
    let compactor = Compactor::new(
        settings::compactor(config),
        reader.clone(),
        Arc::clone(catalog),
        Arc::clone(clock),
        Arc::clone(random),
        Arc::new(move |log| of_log.released_up_to(log)),
        Arc::new(move |tenant| of_columns.dedicated_columns(tenant)),
    );
    let compactor = compactor.with_overrides(Arc::clone(ingester.overrides()));
    Arc::new(compactor.beside(Arc::new(move |tenant, hidden| of_live.has_hidden(tenant, hidden))))
}

/// Where OTLP over HTTP is sent to.
fn otlp_http_url(config: &Config, port: &Port) -> String {
    let http = config.distributor.receivers.otlp_http().unwrap_or_default();
    format!("{}{}", port.url(), http.traces_path())
}

fn facts(config: &Config, ports: &Ports) -> Vec<(String, String)> {
    let mut facts = vec![("ask".to_owned(), ports.http.url()), ("gRPC".to_owned(), ports.grpc.address())];
    facts.extend(ports.otlp_grpc.iter().map(|port| ("send OTLP gRPC".to_owned(), port.address())));
    let of_http = |port: &Port| ("send OTLP HTTP".to_owned(), otlp_http_url(config, port));
    facts.extend(ports.otlp_http.iter().map(of_http));
    facts.extend(ports.foreign.facts());
    facts
}

fn welcome(process: &Process, ports: &Ports, clock: &dyn Clock) -> Welcome {
    let config = &process.config;
    let tenants = process.ingester.tenants();
    let traces = tenants.iter().map(|tenant| {
        let view = process.ingester.view(tenant);
        let stored: u64 = view.blocks.iter().map(|entry| entry.meta.total_objects).sum();
        stored + view.chunks.iter().map(|chunk| chunk.ids.len() as u64).sum::<u64>()
    });
    let folder = config.blocks_path();
    Welcome {
        took_ms: clock.monotonic().as_millis(),
        otlp_grpc: ports.otlp_grpc.as_ref().map(Port::url),
        otlp_http: ports.otlp_http.as_ref().map(|port| otlp_http_url(config, port)),
        api: ports.http.url(),
        traces: traces.sum(),
        retention: match settings::block_retention(config) {
            retention if retention.is_zero() => "kept until deleted".to_owned(),
            retention => format!("kept for {retention}"),
        },
        free: if process.bucket.is_none() { free_bytes(&folder) } else { None },
        data: match &process.bucket {
            Some(bucket) => bucket.name.clone(),
            None => folder.display().to_string(),
        },
        memory: process.memory.limit() as u64,
        loopback: ports.http.listener.local_addr().is_ok_and(|address| address.ip().is_loopback()),
        read_only: config.trackway.read_only,
    }
}

/// Free space where the data is; `None` when the system does not say.
fn free_bytes(folder: &std::path::Path) -> Option<u64> {
    let space = rustix::fs::statvfs(folder).ok()?;
    Some(space.f_bavail.saturating_mul(space.f_frsize))
}

/// The running parts.
struct Parts {
    /// Receivers: stopped first, so that nothing new comes in.
    receivers: JoinSet<std::io::Result<()>>,
    stop_receivers: CancellationToken,
    /// Forwarders and the metrics-generator: stopped when nothing new comes in.
    forwarding: JoinSet<()>,
    stop_forwarding: CancellationToken,
    /// The API: stopped last, so that questions are answered as long as possible.
    api: JoinSet<std::io::Result<()>>,
    stop_api: CancellationToken,
    /// Loops in the background.
    loops: JoinSet<()>,
    stop_loops: CancellationToken,
}

impl Parts {
    fn start(process: &Arc<Process>, ports: Ports, state: ApiState) -> Self {
        let mut parts = Self {
            receivers: JoinSet::new(),
            stop_receivers: CancellationToken::new(),
            forwarding: JoinSet::new(),
            stop_forwarding: CancellationToken::new(),
            api: JoinSet::new(),
            stop_api: CancellationToken::new(),
            loops: JoinSet::new(),
            stop_loops: CancellationToken::new(),
        };
        let config = &process.config;
        let router = trackway_api::router(state);
        for Port { listener, listen } in [ports.http, ports.grpc] {
            let (router, stop) = (router.clone(), parts.stop_api.clone());
            parts.api.spawn(trackway_api::serve(listener, listen, router, stop));
        }
        let push: Arc<dyn Push> = Arc::clone(&process.distributor) as Arc<dyn Push>;
        if let Some(forwarders) = &process.forwarders {
            parts.forwarding.spawn(Arc::clone(forwarders).run(parts.stop_forwarding.clone()));
        }
        if let Some(generator) = &process.generator {
            parts.forwarding.spawn(Arc::clone(generator).run(parts.stop_forwarding.clone()));
        }
        for Port { listener, listen } in ports.otlp_grpc.into_iter().chain(ports.otlp_http) {
            let (otlp, push) =
                (settings::otlp(config, &process.memory, &process.received), Arc::clone(&push));
            let stop = parts.stop_receivers.clone();
            parts.receivers.spawn(trackway_receivers::serve(listener, listen, otlp, push, stop));
        }
        ports.foreign.serve(process, &push, &mut parts.receivers, &parts.stop_receivers);
        if !config.trackway.read_only {
            kafka::serve(process, &push, &mut parts.receivers, &parts.stop_receivers);
        }
        let (memory, stop) = (process.memory.clone(), parts.stop_loops.clone());
        let caches = process.caches.clone();
        parts.loops.spawn(async move {
            tokio::select! {
                () = allocator::keep_within(memory.clone()) => {}
                () = caches::count(caches, memory) => {}
                () = stop.cancelled() => {}
            }
        });
        if !config.trackway.read_only {
            parts.loops.spawn(Arc::clone(&process.ingester).run(parts.stop_loops.clone()));
        }
        parts
    }

    async fn stop(mut self, process: &Process) -> anyhow::Result<()> {
        tracing::info!("stopping");
        tokio::time::sleep(process.config.shutdown_delay.as_std()).await;
        self.stop_receivers.cancel();
        while self.receivers.join_next().await.is_some() {}
        self.stop_forwarding.cancel();
        // What is to be seen has been seen; a listener waits for those who still watch.
        process.tails.close();
        process.ingester.stop_taking();
        self.stop_loops.cancel();
        while self.loops.join_next().await.is_some() {}
        while self.forwarding.join_next().await.is_some() {}
        if process.ingester.flushes_on_shutdown() && !process.config.trackway.read_only {
            match process.ingester.flush(None).await {
                Ok(blocks) => tracing::info!(blocks, "everything is in blocks"),
                Err(error) => {
                    tracing::warn!(error, "not everything is in blocks; the rest is replayed from the log")
                }
            }
        }
        self.stop_api.cancel();
        while self.api.join_next().await.is_some() {}
        let ingester = Arc::clone(&process.ingester);
        tokio::task::spawn_blocking(move || ingester.close()).await?;
        tracing::info!("stopped");
        Ok(())
    }
}

/// SIGTERM and SIGINT; none when they cannot be received.
struct Signals(Option<(Signal, Signal)>);

impl Signals {
    fn listen() -> Self {
        match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
            (Ok(terminate), Ok(interrupt)) => Self(Some((terminate, interrupt))),
            _ => {
                tracing::warn!("signals cannot be received; stop with /shutdown");
                Self(None)
            }
        }
    }

    /// Returns when the process shall stop: by a signal or by `/shutdown`. A second signal ends it at once.
    async fn wait(self, stop: &CancellationToken) {
        let Some((mut terminate, mut interrupt)) = self.0 else { return stop.cancelled().await };
        tokio::select! {
            () = stop.cancelled() => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::warn!(
                "second signal: stopping at once; what is not in blocks is replayed at the next start"
            );
            std::process::exit(1);
        });
    }
}
