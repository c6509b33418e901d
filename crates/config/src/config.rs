//! From a file and flags to a [`Config`].
//!
//! Flags are put into the file's tree before it is read, so that both go through the same checks and flags win.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;

use crate::bytesize::ByteSize;
use crate::duration::GoDuration;
use crate::env::expand_env;
use crate::flags::Flags;
use crate::legacy;
use crate::node::{self, Node, NodeValue};
use crate::problem::{ConfigError, Origin, Problem};
use crate::reader::Reader;
use crate::sections::{Compaction, Settings};
use crate::table::Setting;

/// The settings of a process, and what reading them found out. The settings themselves are reached directly:
/// `config.server.http_listen_port`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Config {
    /// All settings.
    pub settings: Settings,
    /// The file that was read; `None` if there was none.
    pub file: Option<String>,
    /// Keys of the file that are accepted and mean nothing to Trackway.
    pub ignored: Vec<String>,
    /// Receivers that are configured and that Trackway cannot run yet.
    pub unsupported_receivers: Vec<String>,
    /// Whether `${VAR}` in files is replaced (`-config.expand-env`), in the file of tenants' limits too.
    pub expand_env: bool,
    compaction: Compaction,
    origins: BTreeMap<String, Origin>,
    pub(crate) flat_overrides: Vec<String>,
}

/// When data is cut into blocks, from `ingester:` and `live_store:` together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flushing {
    /// Oldest data that is not yet in a block.
    pub max_block_duration: GoDuration,
    /// Most data that is not yet in a block.
    pub max_block_bytes: ByteSize,
    /// When a trace without new spans counts as complete.
    pub trace_idle_period: GoDuration,
    /// When a trace counts as complete in any case.
    pub trace_live_period: GoDuration,
    /// How often to look for blocks to be cut.
    pub flush_check_period: GoDuration,
    /// How long flushed data stays with the ingester.
    pub complete_block_timeout: GoDuration,
    /// Write blocks of everything at shutdown.
    pub flush_all_on_shutdown: bool,
    /// Write blocks to the object store at all.
    pub flush_object_storage: bool,
}

impl Deref for Config {
    type Target = Settings;

    fn deref(&self) -> &Settings {
        &self.settings
    }
}

impl DerefMut for Config {
    fn deref_mut(&mut self) -> &mut Settings {
        &mut self.settings
    }
}

impl Config {
    /// Reads a file (name and text; `None` for no file) and the flags over it.
    ///
    /// `env` looks environment variables up; it is asked only under `-config.expand-env`.
    pub fn load(
        file: Option<(&str, &str)>,
        flags: &Flags,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let mut root = match file {
            Some((name, text)) if flags.expand_env => node::parse(name, &expand_env(name, text, env)?)?,
            Some((name, text)) => node::parse(name, text)?,
            None => Node::null(Origin::Default),
        };
        let mut reader = Reader::of(Settings::kind());
        let flat_overrides = move_overrides(&mut root, &mut reader.problems);
        for set in &flags.settings {
            let path: Vec<&str> = set.path.split('.').collect();
            let node = Node {
                origin: Origin::Flag(set.flag.clone()),
                value: NodeValue::Scalar { text: set.value.clone(), quoted: true },
            };
            root.insert(&path, node, None);
        }
        let mut settings = Settings::default();
        settings.read(&root, &mut reader);
        if !reader.problems.is_empty() {
            reader.problems.sort_by_key(|problem| match &problem.origin {
                Origin::File { line, .. } => *line,
                _ => usize::MAX,
            });
            return Err(ConfigError { problems: reader.problems });
        }
        if let Some(old) = settings.auth_enabled {
            settings.multitenancy_enabled |= old;
        }
        let mut unsupported: Vec<String> =
            settings.distributor.receivers.unsupported().into_iter().map(str::to_owned).collect();
        unsupported.extend(reader.instances);
        Ok(Self {
            settings,
            file: file.map(|(name, _)| name.to_owned()),
            ignored: reader.ignored,
            unsupported_receivers: unsupported,
            expand_env: flags.expand_env,
            compaction: compaction(&root),
            origins: reader.origins,
            flat_overrides,
        })
    }

    /// Reads a file without flags and environment.
    pub fn from_yaml(name: &str, text: &str) -> Result<Self, ConfigError> {
        Self::load(Some((name, text)), &Flags::default(), &|_| None)
    }

    /// Whether this is a configuration of Tempo 2.x: the file has an `ingester:` block.
    pub fn is_2x(&self) -> bool {
        matches!(self.origins.get("ingester"), Some(Origin::File { .. }))
    }

    /// Whether a key (full path) was set by the file or a flag.
    pub fn is_set(&self, key: &str) -> bool {
        self.origins.contains_key(key)
    }

    /// Where a key (full path) was set; of what is missing inside a list, where the list or the entry was.
    pub fn origin(&self, key: &str) -> Origin {
        let mut key = key;
        loop {
            if let Some(origin) = self.origins.get(key) {
                return origin.clone();
            }
            match key.rfind(['.', '[']) {
                Some(end) if key.contains('[') => key = &key[..end],
                _ => return Origin::Default,
            }
        }
    }

    /// The keys that were set, blocks too.
    pub(crate) fn origins(&self) -> impl Iterator<Item = &str> {
        self.origins.keys().map(String::as_str)
    }

    /// What counts for merging and expiry: `compactor:`, over it `backend_worker:`, over it `backend_scheduler:`.
    pub fn compaction(&self) -> &Compaction {
        &self.compaction
    }

    /// When data is cut into blocks: what `ingester:` sets, else what `live_store:` sets, else Tempo 2.x's defaults.
    pub fn flushing(&self) -> Flushing {
        let (old, new) = (&self.ingester, &self.live_store);
        fn pick<T: Copy>(is_set: bool, old: T, new: Option<T>) -> T {
            if is_set { old } else { new.unwrap_or(old) }
        }
        let set = |key: &str| self.is_set(&format!("ingester.{key}"));
        Flushing {
            max_block_duration: pick(
                set("max_block_duration"),
                old.max_block_duration,
                new.max_block_duration,
            ),
            max_block_bytes: pick(set("max_block_bytes"), old.max_block_bytes, new.max_block_bytes),
            trace_idle_period: pick(set("trace_idle_period"), old.trace_idle_period, new.max_trace_idle),
            trace_live_period: pick(set("trace_live_period"), old.trace_live_period, new.max_trace_live),
            flush_check_period: pick(
                set("flush_check_period"),
                old.flush_check_period,
                new.flush_check_period,
            ),
            complete_block_timeout: pick(
                set("complete_block_timeout"),
                old.complete_block_timeout,
                new.complete_block_timeout,
            ),
            flush_all_on_shutdown: old.flush_all_on_shutdown.unwrap_or(true),
            flush_object_storage: old.flush_object_storage,
        }
    }

    /// The folder of blocks, when the backend is `local`.
    pub fn blocks_path(&self) -> PathBuf {
        self.path_or(&self.storage.trace.local.path, "blocks")
    }

    /// The folder of the log and of segments.
    pub fn wal_path(&self) -> PathBuf {
        self.path_or(&self.storage.trace.wal.path, "wal")
    }

    /// The folder of samples that wait to be sent.
    pub fn generator_wal_path(&self) -> PathBuf {
        match self.metrics_generator.storage.path.as_str() {
            "" => self.wal_path().join("generator"),
            path => PathBuf::from(path),
        }
    }

    /// How long stopping may wait for samples that have not been sent. A value a level too deep, below `wal`, counts
    /// where none stands in the right place.
    pub fn remote_write_flush_deadline(&self) -> GoDuration {
        let storage = &self.metrics_generator.storage;
        match storage.wal.remote_write_flush_deadline {
            Some(misplaced) if !self.is_set("metrics_generator.storage.remote_write_flush_deadline") => {
                misplaced
            }
            _ => storage.remote_write_flush_deadline,
        }
    }

    /// The folder of the cache on disk. Below the log, because that is where an installation of Tempo has a disk.
    pub fn cache_path(&self) -> PathBuf {
        match self.trackway.cache.disk_path.as_str() {
            "" => self.wal_path().join("cache"),
            path => PathBuf::from(path),
        }
    }

    fn path_or(&self, path: &str, name: &str) -> PathBuf {
        if path.is_empty() { PathBuf::from(&self.trackway.data_path).join(name) } else { PathBuf::from(path) }
    }
}

/// Moves flat overrides below `overrides.defaults`; returns those that were found.
fn move_overrides(root: &mut Node, problems: &mut Vec<Problem>) -> Vec<String> {
    let NodeValue::Map(entries) = &mut root.value else {
        return Vec::new();
    };
    match entries.iter_mut().find(|entry| entry.key == "overrides") {
        Some(entry) => legacy::move_flat(&mut entry.node, &["defaults"], "overrides", problems),
        None => Vec::new(),
    }
}

/// Reads the three places over each other; their problems were reported before.
fn compaction(root: &Node) -> Compaction {
    let mut compaction = Compaction::default();
    let places: [&[&str]; 3] = [
        &["compactor", "compaction"],
        &["backend_worker", "compaction"],
        &["backend_scheduler", "provider", "compaction", "compaction"],
    ];
    for place in places {
        if let Some(node) = root.at(place) {
            compaction.read(node, &mut Reader::default());
        }
    }
    compaction
}
