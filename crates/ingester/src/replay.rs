//! What happens at a start: the log is opened, and what a process before left in it and in segments is taken up again.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use trackway_common::{Random, TenantId};
use trackway_spans::peek_spans;
use trackway_storage::LogRanges;
use trackway_wal::{Admission, LocalLog, LocalStorage, Log, LogConfig, Sequence, SyncMode};
use uuid::Uuid;

use crate::chunk::Chunk;
use crate::config::Config;
use crate::head::next_chunk_id;
use crate::segment;
use crate::service::{Ingester, OpenError};

/// Files that the log has at least when it is full.
const LOG_FILES: u64 = 16;

impl Ingester {
    /// Blocks that were under construction when a process died are of no use.
    pub(crate) fn clear_building(&self) {
        let folder = self.config.folder.join("building");
        let Ok(entries) = std::fs::read_dir(&folder) else { return };
        for entry in entries.flatten() {
            if let Err(error) = std::fs::remove_file(entry.path()) {
                tracing::warn!(path = %entry.path().display(), %error, "left-over file cannot be removed");
            }
        }
    }

    /// Takes up what the segments and the log have that is in no block.
    pub(crate) fn replay(&self, log: &LocalLog) -> Result<(), OpenError> {
        let in_blocks = self.records_in_blocks();
        let in_block_of = |log: Uuid, tenant: &TenantId, sequence: u64| {
            in_blocks
                .get(tenant)
                .is_some_and(|lists| lists.iter().any(|list| list.log == log && list.contains(sequence)))
        };
        let in_block = |tenant: &TenantId, sequence| in_block_of(self.log_id, tenant, sequence);
        let in_segments = self.adopt_segments(&in_block_of)?;
        if let Err(error) = self.recent.load(&self.recent_file(), Sequence(u64::MAX)) {
            tracing::warn!(path = %self.recent_file().display(), %error, "stored requests are forgotten");
        }
        if let Err(error) = self.cut.load(&self.cut_file()) {
            tracing::warn!(path = %self.cut_file().display(), %error, "traces that limits have cut seem whole");
        }
        let (mut error, mut full) = (None, false);
        let mut cursor = trackway_wal::Cursor::after(log.low_water());
        let replayed = log.read(&mut cursor, &mut |record| {
            let sequence = record.sequence.0;
            let new = self.remember(&record);
            self.mark_cut(&record);
            let known = in_segments.contains(&sequence) || in_block(record.tenant, sequence);
            if new && !known {
                let head = self.head(record.tenant);
                let skip = record.refused;
                let appended =
                    head.append(sequence, record.received, record.body, self.limits(record.tenant), skip);
                if let Err(problem) = appended {
                    tracing::warn!(sequence, %problem, "a record of the log cannot be read and is left out");
                }
                if self.memory() > self.config.head_bytes_max && !full {
                    match self.write_segment() {
                        Ok(()) => {}
                        // They were in memory before the restart too, all that no segment holds.
                        Err(problem) if problem.is_full() => {
                            tracing::warn!(%problem, "replayed spans stay in memory until there is room");
                            full = true;
                        }
                        Err(problem) => {
                            error = Some(problem);
                            return ControlFlow::Break(());
                        }
                    }
                }
            }
            ControlFlow::Continue(())
        })?;
        if let Some(problem) = error {
            let path = self.config.folder.display().to_string();
            return Err(OpenError::Io { path, source: std::io::Error::other(problem) });
        }
        if replayed.records > 0 {
            tracing::info!(records = replayed.records, bytes = replayed.bytes, "replayed the log");
        }
        self.recent.renew(self.clock.now());
        Ok(())
    }

    /// Marks the traces of which limits refused spans in a record.
    fn mark_cut(&self, record: &trackway_wal::RecordRef<'_>) {
        if record.refused.is_empty() {
            return;
        }
        let marked = peek_spans(record.body, |span| {
            if let (true, Some(trace)) =
                (record.refused.binary_search(&span.ordinal).is_ok(), span.trace_id())
            {
                self.cut.mark(record.tenant, trace);
            }
        });
        if let Err(problem) = marked {
            tracing::debug!(sequence = record.sequence.0, %problem, "a record's cut traces cannot be told");
        }
    }

    /// Whether a replayed record is the first of its request. The file of stored requests may know the record itself.
    fn remember(&self, record: &trackway_wal::RecordRef<'_>) -> bool {
        if self.recent.remember(record.hash, record.received, record.sequence) {
            return true;
        }
        matches!(
            self.recent.check_or_insert(record.hash, record.received),
            Admission::Seen(sequence) if sequence == record.sequence
        )
    }

    /// For each tenant the records of logs that are in blocks already.
    fn records_in_blocks(&self) -> HashMap<TenantId, Vec<LogRanges>> {
        let of_tenant = |tenant: TenantId| {
            let blocks = self.catalog.blocks(&tenant);
            let lists = blocks.iter().flat_map(|entry| entry.log.clone());
            // What redactions left nothing of has no block that names it.
            let removed = self.reader.store().redactions().logs(&tenant);
            let lists = lists.chain(removed).collect();
            (tenant, lists)
        };
        self.catalog.tenants().into_iter().map(of_tenant).collect()
    }

    /// Takes up the segments that lie in the folder, and returns the records that are in them.
    fn adopt_segments(
        &self,
        in_block: &impl Fn(Uuid, &TenantId, u64) -> bool,
    ) -> Result<HashSet<u64>, OpenError> {
        let folder = self.config.folder.join("segments");
        let failed = |source| OpenError::Io { path: folder.display().to_string(), source };
        let mut paths: Vec<PathBuf> =
            std::fs::read_dir(&folder).map_err(failed)?.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        let mut sequences = HashSet::new();
        for path in paths {
            if path.extension().is_none_or(|extension| extension != "segment") {
                std::fs::remove_file(&path).map_err(failed)?; // it was never finished
                continue;
            }
            let number = path.file_stem().and_then(|name| name.to_str()?.parse::<u64>().ok()).unwrap_or(0);
            self.next_segment.fetch_max(number + 1, Ordering::Relaxed);
            let (found, problem) = match segment::open(&path) {
                Ok(opened) => opened,
                Err(error) => {
                    self.quarantine(&path, &error.to_string());
                    continue;
                }
            };
            if let Some(problem) = problem {
                tracing::warn!(path = %path.display(), problem, "segment is damaged; the rest of it is kept");
            }
            let mut used = false;
            for (log, tenant, mut parts, stored) in found {
                let done = parts.sequences.first().is_none_or(|sequence| in_block(log, &tenant, *sequence));
                if !done {
                    used = true;
                    if log == self.log_id {
                        sequences.extend(parts.sequences.iter().copied());
                    } else {
                        // Of a log that is gone: kept, but its numbers mean nothing in this one.
                        parts.sequences.clear();
                    }
                    let chunk = Chunk::stored(next_chunk_id(), parts, stored, &self.config.memory);
                    self.head(&tenant).adopt(Arc::new(chunk));
                }
            }
            if !used {
                std::fs::remove_file(&path).map_err(failed)?; // all of it is in blocks
            }
        }
        Ok(sequences)
    }

    fn quarantine(&self, path: &std::path::Path, problem: &str) {
        let folder = self.config.folder.join("quarantine");
        let moved = std::fs::create_dir_all(&folder)
            .and_then(|()| std::fs::rename(path, folder.join(path.file_name().unwrap_or_default())));
        let kept = if moved.is_ok() { folder.display() } else { path.display() };
        tracing::warn!(problem, set_aside_in = %kept, "segment cannot be read and is left out");
    }
}

/// Makes the folders, and opens the log.
pub(crate) fn open_log(config: &Config, random: &dyn Random) -> Result<(Option<LocalLog>, Uuid), OpenError> {
    for folder in ["log", "segments", "building"] {
        let path = config.folder.join(folder);
        std::fs::create_dir_all(&path)
            .map_err(|source| OpenError::Io { path: path.display().to_string(), source })?;
    }
    // In the log's own folder: whoever takes the log away takes its identity too, and its numbers may begin anew.
    let log_id = log_identity(&config.folder.join("log").join("log-id"), random)?;
    let settings = LogConfig {
        // Whole files are let go, so there must be several.
        segment_bytes: (config.wal_bytes_max / LOG_FILES).clamp(1 << 20, 64 << 20),
        max_bytes: config.wal_bytes_max,
        sync: if config.sync { SyncMode::Always } else { SyncMode::Os },
        ..LogConfig::new(config.folder.join("log"))
    };
    Ok((Some(LocalLog::open(settings, Arc::new(LocalStorage), random)?), log_id))
}

/// The identity of the log in a folder, made when it is first opened.
fn log_identity(path: &std::path::Path, random: &dyn Random) -> Result<Uuid, OpenError> {
    let failed = |source| OpenError::Io { path: path.display().to_string(), source };
    match std::fs::read_to_string(path) {
        Ok(text) => text.trim().parse().map_err(|error| failed(std::io::Error::other(error))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let id = random.uuid();
            let temporary = path.with_extension("tmp");
            std::fs::write(&temporary, id.to_string()).map_err(failed)?;
            std::fs::File::open(&temporary).and_then(|file| file.sync_all()).map_err(failed)?;
            std::fs::rename(&temporary, path).map_err(failed)?;
            Ok(id)
        }
        Err(error) => Err(failed(error)),
    }
}
