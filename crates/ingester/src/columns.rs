//! Which attributes get columns of their own in a tenant's new blocks: those that are configured, or else those that take
//! the most bytes in what the tenant sent.
//!
//! What must stay true: a choice stands for [`CHOICE_STANDS`] at the least, over restarts too, so that blocks have equal
//! columns and can be merged, by Tempo too; and a file that cannot be read or written costs a choice, never a block.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use trackway_common::TenantId;
use trackway_overrides::Overrides;
use trackway_spans::SpanBatch;
use trackway_vparquet::dedicate::{SizeByAttribute, choose};
use trackway_vparquet::meta::{DedicatedColumn, Format};

/// How long a choice stands before there is another.
pub const CHOICE_STANDS: Duration = Duration::from_secs(24 * 60 * 60);

/// A choice that is so old belongs to a tenant that sends nothing any more: its file goes at the next start.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What was chosen for a tenant, when, and what is known for the next choice.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Choice {
    /// For blocks of this format.
    format: String,
    /// Unix nanoseconds.
    chosen: u64,
    columns: Vec<DedicatedColumn>,
    /// What the attributes took, of which each choice before counts half as much as the one after it.
    sizes: SizeByAttribute,
}

/// The columns of all tenants.
#[derive(Debug)]
pub(crate) struct DedicatedColumns {
    overrides: Arc<Overrides>,
    /// Whether columns are chosen for tenants for whom none are configured.
    chooses: bool,
    format: Format,
    folder: PathBuf,
    choices: Mutex<BTreeMap<TenantId, Choice>>,
}

impl DedicatedColumns {
    /// With what was chosen before, which lies in `folder`. `now` is in Unix nanoseconds.
    pub(crate) fn open(overrides: Arc<Overrides>, format: Format, folder: PathBuf, now: u64) -> Self {
        let choices = Mutex::new(read_all(&folder, now));
        Self { overrides, chooses: true, format, folder, choices }
    }

    /// Only the configured ones; nothing is chosen, read or written.
    pub(crate) fn without_choice(overrides: Arc<Overrides>, format: Format, folder: PathBuf) -> Self {
        Self { overrides, chooses: false, format, folder, choices: Mutex::default() }
    }

    fn configured(&self, tenant: &TenantId) -> Option<Vec<DedicatedColumn>> {
        let nothing = || (!self.chooses).then(Vec::new);
        self.overrides.for_tenant(tenant).dedicated.clone().or_else(nothing)
    }

    /// The columns of a tenant's blocks as they are now; `None` when nothing is configured and nothing was chosen yet.
    pub(crate) fn current(&self, tenant: &TenantId) -> Option<Vec<DedicatedColumn>> {
        let configured = self.configured(tenant);
        if configured.is_some() {
            return configured;
        }
        self.choices.lock().get(tenant).map(|choice| choice.columns.clone())
    }

    /// The columns of a block that is about to be written of these spans, which count for later choices. Blocks on I/O.
    pub(crate) fn of_block(
        &self,
        tenant: &TenantId,
        batches: &[Cow<'_, SpanBatch>],
        now: u64,
    ) -> Vec<DedicatedColumn> {
        if let Some(columns) = self.configured(tenant) {
            return columns;
        }
        let mut sizes = SizeByAttribute::default();
        batches.iter().for_each(|batch| sizes.merge(&SizeByAttribute::of(batch)));
        let choice = {
            let mut choices = self.choices.lock();
            let known = choices.get_mut(tenant);
            if let Some(known) = &known {
                sizes.merge(&known.sizes);
            }
            match known {
                Some(known) if known.stands(self.format, now) => {
                    known.sizes = sizes;
                    return known.columns.clone();
                }
                known => {
                    let before = known.map(|known| known.columns.clone()).unwrap_or_default();
                    let columns = choose(&sizes, &before, self.format);
                    sizes.halve();
                    let format = self.format.name().to_owned();
                    let choice = Choice { format, chosen: now, columns, sizes };
                    choices.insert(tenant.clone(), choice.clone());
                    choice
                }
            }
        };
        tracing::debug!(%tenant, columns = choice.columns.len(), "attributes that get columns of their own were chosen");
        if let Err(error) = choice.write(&self.folder, tenant) {
            let path = path(&self.folder, tenant);
            tracing::warn!(
                path = %path.display(), %error,
                "the choice of dedicated columns cannot be kept; after a restart there is another"
            );
        }
        choice.columns
    }
}

impl Choice {
    /// One that was made in a future that is no more does not stand.
    fn stands(&self, format: Format, now: u64) -> bool {
        self.format == format.name() && u128::from(self.chosen.abs_diff(now)) < CHOICE_STANDS.as_nanos()
    }

    /// Writes the file of a tenant, durably and in one step.
    fn write(&self, folder: &Path, tenant: &TenantId) -> io::Result<()> {
        std::fs::create_dir_all(folder)?;
        let temporary = folder.join(format!("{tenant}.tmp"));
        let mut file = File::create(&temporary)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path(folder, tenant))?;
        File::open(folder)?.sync_all()
    }
}

fn path(folder: &Path, tenant: &TenantId) -> PathBuf {
    folder.join(format!("{tenant}.json"))
}

/// The choices that lie in a folder. Old ones and what was not written to its end are removed.
fn read_all(folder: &Path, now: u64) -> BTreeMap<TenantId, Choice> {
    let mut choices = BTreeMap::new();
    let files = match std::fs::read_dir(folder) {
        Ok(files) => files,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return choices,
        Err(error) => {
            tracing::warn!(path = %folder.display(), %error, "dedicated columns are chosen anew");
            return choices;
        }
    };
    for file in files.filter_map(Result::ok).map(|file| file.path()) {
        let name = file.file_stem().and_then(|name| name.to_str()).and_then(|name| TenantId::new(name).ok());
        let is_choice = file.extension().is_some_and(|extension| extension == "json");
        let Some(tenant) = name.filter(|_| is_choice) else {
            remove(&file);
            continue;
        };
        let read = std::fs::read(&file).and_then(|json| Ok(serde_json::from_slice::<Choice>(&json)?));
        match read {
            Ok(choice) if u128::from(now.saturating_sub(choice.chosen)) > FORGOTTEN_AFTER.as_nanos() => {
                remove(&file);
            }
            Ok(choice) => {
                choices.insert(tenant, choice);
            }
            Err(error) => tracing::warn!(
                path = %file.display(), %error,
                "this file is left out; the tenant's dedicated columns are chosen anew"
            ),
        }
    }
    choices
}

fn remove(file: &Path) {
    if let Err(error) = std::fs::remove_file(file) {
        tracing::warn!(path = %file.display(), %error, "cannot be removed");
    }
}

#[cfg(test)]
mod tests {
    use trackway_spans::wire::{put_bytes, put_message};
    use trackway_spans::{BatchBuilder, Limits, append_request};

    use super::*;

    const DAY: u64 = 24 * 60 * 60 * 1_000_000_000;
    const START: u64 = 1_795_336_140_000_000_000;

    /// One span with text attributes of so many bytes.
    fn batch(attributes: &[(&str, usize)]) -> Vec<Cow<'static, SpanBatch>> {
        let mut request = Vec::new();
        put_message(&mut request, 1, |spans| {
            put_message(spans, 2, |scope| {
                put_message(scope, 2, |span| {
                    put_bytes(span, 1, &[1; 16]);
                    put_bytes(span, 2, &[2; 8]);
                    for (key, bytes) in attributes {
                        put_message(span, 9, |entry| {
                            put_bytes(entry, 1, key.as_bytes());
                            put_message(entry, 2, |value| put_bytes(value, 1, &vec![b'x'; *bytes]));
                        });
                    }
                });
            });
        });
        let mut builder = BatchBuilder::new();
        append_request(&mut builder, &request, Limits::default(), &[]).unwrap();
        vec![Cow::Owned(builder.finish())]
    }

    fn names(columns: Vec<DedicatedColumn>) -> Vec<String> {
        columns.into_iter().map(|column| column.name).collect()
    }

    fn open(folder: &Path, now: u64) -> DedicatedColumns {
        DedicatedColumns::open(
            Arc::new(Overrides::unlimited()),
            Format::VParquet4,
            folder.join("columns"),
            now,
        )
    }

    #[test]
    fn the_first_block_chooses_and_the_choice_stands_for_a_day_over_restarts() {
        let (folder, tenant) = (tempfile::tempdir().unwrap(), TenantId::single());
        let columns = open(folder.path(), START);
        assert_eq!(columns.current(&tenant), None);
        let (first, second) = (batch(&[("b", 100), ("a", 50)]), batch(&[("c", 4_000), ("a", 50)]));
        assert_eq!(names(columns.of_block(&tenant, &first, START)), ["a", "b"]);
        // Another tenant has its own.
        let other = TenantId::new("it's.(another)!").unwrap();
        assert_eq!(names(columns.of_block(&other, &second, START)), ["a", "c"]);
        for now in [START + 1, START + DAY - 1, START - DAY + 1] {
            assert_eq!(names(columns.of_block(&tenant, &second, now)), ["a", "b"]);
        }
        let columns = open(folder.path(), START + DAY - 1);
        assert_eq!(names(columns.current(&other).unwrap()), ["a", "c"]);
        assert_eq!(names(columns.of_block(&tenant, &second, START + DAY - 1)), ["a", "b"]);
        assert_eq!(names(columns.of_block(&tenant, &second, START + DAY)), ["a", "b", "c"]);
        assert_eq!(names(columns.current(&tenant).unwrap()), ["a", "b", "c"]);
        // A clock that went far back does not keep a choice for years, and another format has other columns.
        assert_eq!(columns.choices.lock()[&tenant].chosen, START + DAY);
        columns.of_block(&tenant, &first, START - DAY);
        assert_eq!(columns.choices.lock()[&tenant].chosen, START - DAY);
        let five = DedicatedColumns::open(
            Arc::new(Overrides::unlimited()),
            Format::VParquet5,
            folder.path().join("columns"),
            START,
        );
        five.of_block(&tenant, &batch(&[("http.url", 10_000)]), START - DAY + 1);
        assert!(names(five.current(&tenant).unwrap()).contains(&"http.url".to_owned()));
    }

    #[test]
    fn what_is_configured_is_what_there_is() {
        let (folder, tenant) = (tempfile::tempdir().unwrap(), TenantId::single());
        let list = vec![DedicatedColumn::text(trackway_spans::Level::Span, "z")];
        for configured in [list, Vec::new()] {
            let folder = folder.path().join("columns");
            let limits = trackway_overrides::Limits {
                dedicated: Some(configured.clone()),
                ..trackway_overrides::Limits::unlimited()
            };
            let overrides = Arc::new(Overrides::new(limits));
            let columns = DedicatedColumns::open(overrides, Format::VParquet4, folder, START);
            assert_eq!(columns.current(&tenant), Some(configured.clone()));
            assert_eq!(columns.of_block(&tenant, &batch(&[("a", 50)]), START), configured);
        }
        assert!(!folder.path().join("columns").exists());
    }

    #[test]
    fn damaged_and_old_files_cost_a_choice_and_nothing_else() {
        let (folder, tenant) = (tempfile::tempdir().unwrap(), TenantId::single());
        let files = folder.path().join("columns");
        open(folder.path(), START).of_block(&tenant, &batch(&[("a", 50)]), START);
        let file = path(&files, &tenant);
        let whole = std::fs::read(&file).unwrap();
        for length in [0, 1, whole.len() / 2, whole.len() - 1] {
            std::fs::write(&file, &whole[..length]).unwrap();
            let columns = open(folder.path(), START);
            assert_eq!(columns.current(&tenant), None);
            assert_eq!(names(columns.of_block(&tenant, &batch(&[("b", 50)]), START)), ["b"]);
        }
        std::fs::write(files.join("half.tmp"), "{").unwrap();
        assert!(open(folder.path(), START + 30 * DAY).current(&tenant).is_some());
        assert!(open(folder.path(), START + 30 * DAY + 1).current(&tenant).is_none());
        assert_eq!(std::fs::read_dir(&files).unwrap().count(), 0);
        // A folder that cannot be written is no reason not to write a block.
        std::fs::remove_dir(&files).unwrap();
        std::fs::write(&files, "not a folder").unwrap();
        let columns = open(folder.path(), START);
        assert_eq!(names(columns.of_block(&tenant, &batch(&[("c", 50)]), START)), ["c"]);
    }
}
