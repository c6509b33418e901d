//! What tenants set for themselves through `/api/overrides` (`overrides.user_configurable_overrides`), kept in an object
//! store as Tempo keeps it: `overrides/<tenant>/overrides.json`.
//!
//! What must stay true: the store decides; what is known here is a copy that is read again every `poll_interval`. An object
//! that cannot be read or understood changes nothing: the last good one stays, and the log says so once. Where only
//! `metrics_generator` cannot be used, the rest counts.

mod document;
mod validate;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use futures::StreamExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use trackway_api::{OwnOverrides, OwnOverridesError, OwnOverridesKind, Stored};
use trackway_common::TenantId;
use trackway_config::Config;
use trackway_overrides::{GeneratorChange, OwnLimits};
use trackway_storage::stores;
use trackway_storage::{VERSION_NEW, Versioned, VersionedError};

use crate::overrides::TenantSettings;
use crate::settings;
use document::UserLimits;

/// The folder that Tempo keeps them in.
const FOLDER: &str = "overrides";
/// What the object of a tenant is called.
const FILE: &str = "overrides.json";
/// Largest object.
const OBJECT_BYTES_MAX: u64 = 1 << 20;
/// Tenants whose objects are read; those of others count for nothing.
const TENANTS_MAX: usize = 100_000;
/// Objects that are read at once.
const READS_AT_ONCE: usize = 10;
/// Least time between two looks at the store.
const PERIOD_MIN: Duration = Duration::from_millis(100);
/// How often a patch is tried while others change the same object.
const PATCH_ATTEMPTS: usize = 3;

/// The settings of all tenants that have set some.
#[derive(Debug)]
pub(crate) struct UserOverrides {
    store: Versioned,
    /// Where they are, for messages.
    place: String,
    tenants: Arc<TenantSettings>,
    period: Duration,
    /// `api.check_for_conflicting_runtime_overrides`
    checks_conflicts: bool,
    /// Whether processors are added to those of the operator, as in Tempo 2.x.
    adds_processors: bool,
    read_only: bool,
    state: Mutex<State>,
    counts: Counts,
}

#[derive(Debug, Default)]
struct State {
    good: BTreeMap<TenantId, Known>,
    /// What is wrong now, by tenant.
    problems: BTreeMap<TenantId, String>,
    /// Changed here since the store was listed last: what was read meanwhile may be older.
    touched: BTreeSet<TenantId>,
    /// Why the store could not be listed.
    unlisted: Option<String>,
}

#[derive(Clone, Debug)]
struct Known {
    version: String,
    limits: Arc<UserLimits>,
    /// What the parts are told of it.
    own: OwnLimits,
    /// Why `metrics_generator` cannot be used; the rest counts all the same.
    flaw: Option<String>,
}

#[derive(Debug, Default)]
struct Counts {
    lists: AtomicU64,
    failed_reloads: AtomicU64,
    /// Reads of a tenant's object, and those that failed.
    fetches: Mutex<BTreeMap<TenantId, (u64, u64)>>,
}

impl UserOverrides {
    /// Opens the store and reads what is there; `None` if tenants may set nothing.
    ///
    /// # Errors
    /// If the store cannot be opened or listed. A tenant's broken object is no error.
    pub(crate) async fn open(
        config: &Config,
        tenants: &Arc<TenantSettings>,
    ) -> anyhow::Result<Option<Arc<Self>>> {
        let own = &config.overrides.user_configurable_overrides;
        if !own.enabled {
            return Ok(None);
        }
        #[allow(clippy::disallowed_methods)] // where the keys of a store come from is configuration
        let environment = |name: &str| std::env::var(name).ok();
        let why = "overrides.user_configurable_overrides.client";
        let opened =
            stores::open(&settings::user_overrides_store(config), &environment).await.context(why)?;
        let overrides = Arc::new(Self {
            store: Versioned::new(&opened, FOLDER, FILE, OBJECT_BYTES_MAX),
            place: opened.name.clone(),
            tenants: Arc::clone(tenants),
            period: own.poll_interval.as_std().max(PERIOD_MIN),
            checks_conflicts: own.api.check_for_conflicting_runtime_overrides,
            adds_processors: config.is_2x(),
            read_only: config.trackway.read_only,
            state: Mutex::default(),
            counts: Counts::default(),
        });
        let read = overrides.reload().await;
        read.map_err(|problem| anyhow::anyhow!("{why}: {}: {problem}", overrides.place))?;
        tracing::info!(
            store = overrides.place,
            tenants = overrides.state.lock().good.len(),
            "tenants' own settings are read"
        );
        Ok(Some(overrides))
    }

    /// Looks at the store again and again.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(self.period) => {}
            }
            let looked = tokio::select! {
                () = stop.cancelled() => return,
                looked = self.reload() => looked,
            };
            let problem = looked.err();
            let before = std::mem::replace(&mut self.state.lock().unlisted, problem.clone());
            match (problem, before) {
                (Some(problem), before) if before.as_ref() != Some(&problem) => tracing::warn!(
                    store = self.place,
                    problem,
                    "tenants' own settings cannot be listed; what is known goes on to count"
                ),
                (None, Some(_)) => tracing::info!(store = self.place, "tenants' own settings are read again"),
                _ => {}
            }
        }
    }

    /// Reads what has changed.
    async fn reload(&self) -> Result<(), String> {
        self.counts.lists.fetch_add(1, Ordering::Relaxed);
        self.state.lock().touched.clear();
        let listed = self.store.all(TENANTS_MAX).await.map_err(|error| {
            self.counts.failed_reloads.fetch_add(1, Ordering::Relaxed);
            error.to_string()
        })?;
        let named =
            listed.into_iter().filter_map(|(name, version)| Some((TenantId::new(&name).ok()?, version)));
        let named: BTreeMap<TenantId, String> = named.collect();
        let (changed, gone): (Vec<TenantId>, Vec<TenantId>) = {
            let state = self.state.lock();
            let is_known = |tenant: &TenantId, version: &String| {
                state.good.get(tenant).is_some_and(|known| known.version == *version)
                    && !state.problems.contains_key(tenant)
            };
            let changed = named.iter().filter(|(tenant, version)| !is_known(tenant, version));
            let known = state.good.keys().chain(state.problems.keys());
            let gone = known.filter(|tenant| !named.contains_key(*tenant));
            (changed.map(|(tenant, _)| tenant.clone()).collect(), gone.cloned().collect())
        };
        let reads = futures::stream::iter(changed).map(|tenant| self.look_at(tenant));
        reads.buffer_unordered(READS_AT_ONCE).collect::<Vec<()>>().await;
        // A listing may be older than what was written since.
        futures::stream::iter(gone).for_each_concurrent(READS_AT_ONCE, |tenant| self.look_at(tenant)).await;
        self.publish();
        Ok(())
    }

    /// Reads one tenant's object and remembers what it says.
    async fn look_at(&self, tenant: TenantId) {
        let read = self.read(&tenant).await;
        let mut state = self.state.lock();
        if state.touched.contains(&tenant) {
            return;
        }
        let problem = match read {
            Ok(Some(mut known)) => {
                let before = state.good.get(&tenant).filter(|_| known.flaw.is_some());
                if let Some(before) = before {
                    known.own.generator = Arc::clone(&before.own.generator);
                }
                let flaw = known.flaw.clone();
                state.good.insert(tenant.clone(), known);
                flaw
            }
            Ok(None) => {
                state.good.remove(&tenant);
                None
            }
            Err(problem) => Some(problem),
        };
        match problem {
            None => {
                if state.problems.remove(&tenant).is_some() {
                    tracing::info!(%tenant, "the tenant's own settings can be used again");
                }
            }
            Some(problem) => {
                self.counts.failed_reloads.fetch_add(1, Ordering::Relaxed);
                if state.problems.insert(tenant.clone(), problem.clone()).as_ref() != Some(&problem) {
                    tracing::warn!(
                        %tenant, problem, object = format!("{FOLDER}/{tenant}/{FILE}"),
                        "the tenant's own settings cannot be used; what it set before goes on to count"
                    );
                }
            }
        }
    }

    /// A tenant's object; `None` if there is none.
    async fn read(&self, tenant: &TenantId) -> Result<Option<Known>, String> {
        let got = self.store.get(tenant.as_str()).await;
        let read = match got {
            Ok(object) => UserLimits::stored(&object.bytes)
                .map(|limits| Some(self.known(tenant, limits, object.version))),
            Err(VersionedError::Missing) => Ok(None),
            Err(error) => Err(error.to_string()),
        };
        let mut fetches = self.counts.fetches.lock();
        if fetches.len() < TENANTS_MAX || fetches.contains_key(tenant) {
            let counts = fetches.entry(tenant.clone()).or_default();
            counts.0 += 1;
            counts.1 += u64::from(!matches!(read, Ok(Some(_))));
        }
        read
    }

    /// A document, with what the parts are told of it.
    fn known(&self, tenant: &TenantId, limits: UserLimits, version: String) -> Known {
        let (generator, flaw) = match self.tenants.change_of_generator(tenant, limits.generator()) {
            Ok(generator) => (generator, None),
            Err(why) => (GeneratorChange::default(), Some(why)),
        };
        let own = OwnLimits {
            cost_dimensions: limits.cost_dimensions().map(Arc::new),
            forwarders: limits.forwarders(),
            generator: Arc::new(generator),
        };
        Known { version, limits: Arc::new(limits), own, flaw }
    }

    /// Tells the parts.
    fn publish(&self) {
        let state = self.state.lock();
        let all: HashMap<TenantId, OwnLimits> =
            state.good.iter().map(|(tenant, known)| (tenant.clone(), known.own.clone())).collect();
        self.tenants.overrides.replace_own(all);
    }

    fn remember(&self, tenant: &TenantId, known: Option<Known>) {
        {
            let mut state = self.state.lock();
            state.problems.remove(tenant);
            state.touched.insert(tenant.clone());
            match known {
                Some(known) => drop(state.good.insert(tenant.clone(), known)),
                None => drop(state.good.remove(tenant)),
            }
        }
        self.publish();
    }

    /// Those that have set something.
    pub(crate) fn names(&self) -> Vec<TenantId> {
        self.state.lock().good.keys().cloned().collect()
    }

    /// What a tenant has set, as YAML; empty for nothing.
    pub(crate) fn yaml(&self, tenant: &TenantId) -> String {
        self.state.lock().good.get(tenant).map(|known| known.limits.to_yaml()).unwrap_or_default()
    }

    /// All of it, for `/status/runtime_config`.
    pub(crate) fn all_yaml(&self) -> String {
        let state = self.state.lock();
        if state.good.is_empty() {
            return "user_configurable_overrides: {}\n".to_owned();
        }
        let mut out = "user_configurable_overrides:\n".to_owned();
        for (tenant, known) in &state.good {
            let _ = writeln!(out, "  \"{tenant}\":");
            for line in known.limits.to_yaml().lines() {
                let _ = writeln!(out, "    {line}");
            }
        }
        out
    }

    /// Appends metrics in Prometheus's text format, by Tempo's names.
    pub(crate) fn write_metrics(&self, out: &mut String) {
        let name = |what: &str| format!("tempo_overrides_user_configurable_overrides_{what}_total");
        for (what, help, count) in [
            ("list", "Looks for tenants that have set something themselves.", &self.counts.lists),
            (
                "reload_failed",
                "Looks at tenants' own settings that found them unusable.",
                &self.counts.failed_reloads,
            ),
        ] {
            let (name, count) = (name(what), count.load(Ordering::Relaxed));
            // Writing to a string cannot fail.
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {count}");
        }
        let fetches = self.counts.fetches.lock();
        type Pick = fn(&(u64, u64)) -> u64;
        let (all, failed): (Pick, Pick) = (|counts| counts.0, |counts| counts.1);
        for (what, help, pick) in [
            ("fetch", "Reads of a tenant's own settings.", all),
            ("fetch_failed", "Reads of a tenant's own settings that found none that can be used.", failed),
        ] {
            let name = name(what);
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter");
            for (tenant, counts) in &*fetches {
                let _ = writeln!(out, "{name}{{tenant=\"{tenant}\"}} {}", pick(counts));
            }
        }
    }

    async fn current(&self, tenant: &TenantId) -> Result<Option<Known>, OwnOverridesError> {
        self.read(tenant).await.map_err(|problem| {
            OwnOverridesError::new(OwnOverridesKind::Store, format!("{}: {problem}", self.place))
        })
    }

    async fn write(
        &self,
        tenant: &TenantId,
        limits: UserLimits,
        version: &str,
        (current, skip_check): (Option<&Known>, bool),
    ) -> Result<Stored, OwnOverridesError> {
        if self.read_only {
            let text = "this process only reads: trackway.read_only is true";
            return Err(OwnOverridesError::new(OwnOverridesKind::Invalid, text));
        }
        limits
            .validate(&self.tenants.forwarders())
            .map_err(|why| OwnOverridesError::new(OwnOverridesKind::Invalid, why))?;
        if self.checks_conflicts
            && !skip_check
            && current.is_none()
            && self.tenants.sets_what_users_may(tenant)
        {
            let text = "tenant has conflicting overrides set in runtime config, contact your system administrator to \
                        perform changes through the API";
            return Err(OwnOverridesError::new(OwnOverridesKind::Invalid, text));
        }
        let mut known = self.known(tenant, limits, String::new());
        if let Some(why) = known.flaw {
            return Err(invalid(why));
        }
        let bytes = known.limits.to_json();
        if bytes.len() as u64 > OBJECT_BYTES_MAX {
            let text = format!("{} bytes are more than {OBJECT_BYTES_MAX}", bytes.len());
            return Err(OwnOverridesError::new(OwnOverridesKind::Invalid, text));
        }
        let put = self.store.put(tenant.as_str(), bytes.clone().into(), version).await;
        let version = put.map_err(|error| self.failed(&error))?;
        tracing::info!(%tenant, version, "the tenant's own settings are stored");
        known.version.clone_from(&version);
        self.remember(tenant, Some(known));
        Ok(Stored { json: bytes, version })
    }

    fn failed(&self, error: &VersionedError) -> OwnOverridesError {
        match error {
            VersionedError::Missing => OwnOverridesError::new(OwnOverridesKind::NotFound, ""),
            VersionedError::Changed => OwnOverridesError::new(OwnOverridesKind::Changed, error.to_string()),
            other => OwnOverridesError::new(OwnOverridesKind::Store, format!("{}: {other}", self.place)),
        }
    }
}

fn invalid(why: String) -> OwnOverridesError {
    OwnOverridesError::new(OwnOverridesKind::Invalid, why)
}

impl OwnOverrides for UserOverrides {
    fn get<'a>(
        &'a self,
        tenant: &'a TenantId,
        merged: bool,
    ) -> BoxFuture<'a, Result<Stored, OwnOverridesError>> {
        Box::pin(async move {
            let known = self.current(tenant).await?;
            let known = known.ok_or_else(|| OwnOverridesError::new(OwnOverridesKind::NotFound, ""))?;
            let json = if merged {
                let runtime = self.tenants.what_users_may_set(tenant);
                known.limits.over(runtime, self.adds_processors).to_string().into_bytes()
            } else {
                known.limits.to_json()
            };
            Ok(Stored { json, version: known.version })
        })
    }

    fn set<'a>(
        &'a self,
        tenant: &'a TenantId,
        body: &'a [u8],
        version: &'a str,
        skip_check: bool,
    ) -> BoxFuture<'a, Result<Stored, OwnOverridesError>> {
        Box::pin(async move {
            let limits = UserLimits::sent(body).map_err(invalid)?;
            let current = if self.checks_conflicts { self.current(tenant).await? } else { None };
            self.write(tenant, limits, version, (current.as_ref(), skip_check)).await
        })
    }

    fn patch<'a>(
        &'a self,
        tenant: &'a TenantId,
        patch: &'a [u8],
        version: Option<&'a str>,
        skip_check: bool,
    ) -> BoxFuture<'a, Result<Stored, OwnOverridesError>> {
        Box::pin(async move {
            let mut attempts = PATCH_ATTEMPTS;
            loop {
                let current = self.current(tenant).await?;
                let limits = UserLimits::patched(current.as_ref().map(|known| &*known.limits), patch);
                let limits = limits.map_err(invalid)?;
                let of =
                    version.or(current.as_ref().map(|known| known.version.as_str())).unwrap_or(VERSION_NEW);
                attempts -= 1;
                match self.write(tenant, limits, of, (current.as_ref(), skip_check)).await {
                    Err(error) if error.kind == OwnOverridesKind::Changed && version.is_none() => {
                        if attempts == 0 {
                            let text = "overrides have been modified during request processing, try again";
                            return Err(OwnOverridesError::new(OwnOverridesKind::Changed, text));
                        }
                    }
                    done => return done,
                }
            }
        })
    }

    fn delete<'a>(
        &'a self,
        tenant: &'a TenantId,
        version: &'a str,
    ) -> BoxFuture<'a, Result<(), OwnOverridesError>> {
        Box::pin(async move {
            if self.read_only {
                return Err(invalid("this process only reads: trackway.read_only is true".to_owned()));
            }
            self.store.delete(tenant.as_str(), version).await.map_err(|error| self.failed(&error))?;
            tracing::info!(%tenant, "the tenant's own settings are deleted");
            self.remember(tenant, None);
            Ok(())
        })
    }
}
