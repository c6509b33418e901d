//! `trackway blocks set-replication-factor`: makes stored blocks visible to another generation of Tempo.
//!
//! What must stay true: a `meta.json` is the old one or the new one at every moment, also after a power loss; blocks of a
//! folder that a Trackway works in are not touched (a block that it has just replaced would come back).

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use trackway_common::TenantId;

use super::meta_edit::set_replication_factor;
use super::term::count;
use super::{HELP, print, say};

const EXAMPLE: &str =
    "Example: trackway blocks set-replication-factor 0 --path trackway-data/blocks --dry-run";

/// Work on stored blocks
#[derive(Debug, Args)]
#[command(help_template = HELP, before_help = EXAMPLE)]
pub(super) struct BlocksArgs {
    #[command(subcommand)]
    command: BlocksCommand,
}

#[derive(Debug, Subcommand)]
enum BlocksCommand {
    SetReplicationFactor(SetArgs),
}

/// Set replicationFactor in the meta.json of all blocks in a local folder
///
/// Tempo 2.x finds only blocks with 0, and TraceQL metrics of Tempo 3.0 only those with 1.
/// Stop the server that works in the folder first; it reads the blocks anew when it starts.
#[derive(Debug, Args)]
#[command(help_template = HELP, before_help = EXAMPLE)]
struct SetArgs {
    /// 0 or 1
    #[arg(value_name = "N", value_parser = clap::value_parser!(u64).range(0..=1))]
    factor: u64,
    /// The folder in which every tenant has a folder of blocks (storage.trace.local.path)
    #[arg(long, value_name = "FOLDER")]
    path: PathBuf,
    /// Only the blocks of this tenant
    #[arg(long, value_name = "TENANT", value_parser = |text: &str| TenantId::new(text))]
    tenant: Option<TenantId>,
    /// Only say what would be changed
    #[arg(long)]
    dry_run: bool,
}

/// Runs it.
pub(super) fn run(args: &BlocksArgs) -> Result<()> {
    match &args.command {
        BlocksCommand::SetReplicationFactor(args) => set(args),
    }
}

fn set(args: &SetArgs) -> Result<()> {
    let metas = find(&args.path, args.tenant.as_ref())?;
    if metas.is_empty() {
        bail!(no_blocks(args));
    }
    let _locks = if args.dry_run { Vec::new() } else { lock(&args.path)? };
    let (mut changed, mut failed) = (0, 0);
    for meta in &metas {
        match set_one(meta, args.factor, args.dry_run) {
            Ok(None) => {}
            Ok(Some(from)) => {
                changed += 1;
                print(&format!("{}  {from} -> {}\n", meta.display(), args.factor))?;
            }
            Err(error) => {
                failed += 1;
                say(&format!("{}: {error:#}", meta.display()));
            }
        }
    }
    let verb = if args.dry_run { "would change" } else { "changed" };
    let same = metas.len() as u64 - changed - failed;
    say(&format!("{} {verb}, {same} had {} already", count(changed, "block", "blocks"), args.factor));
    if failed > 0 {
        bail!("{} could not be changed", count(failed, "block", "blocks"));
    }
    Ok(())
}

/// The `meta.json` of every block, in order.
fn find(path: &Path, tenant: Option<&TenantId>) -> Result<Vec<PathBuf>> {
    let tenants = match tenant {
        Some(tenant) => vec![path.join(tenant.as_str())],
        None => folders(path)?,
    };
    let mut metas = Vec::new();
    for tenant in tenants.iter().filter(|tenant| tenant.is_dir()) {
        metas.extend(
            folders(tenant)?.iter().map(|block| block.join("meta.json")).filter(|meta| meta.is_file()),
        );
    }
    Ok(metas)
}

fn folders(path: &Path) -> Result<Vec<PathBuf>> {
    let unreadable = || path.display().to_string();
    let mut found = Vec::new();
    for entry in fs::read_dir(path).with_context(unreadable)? {
        let path = entry.with_context(unreadable)?.path();
        if path.is_dir() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn no_blocks(args: &SetArgs) -> String {
    let shown = args.path.display();
    let inner = args.path.join("blocks");
    if inner.is_dir() {
        return format!("no blocks in {shown}; give --path {}", inner.display());
    }
    match &args.tenant {
        Some(tenant) => format!("no blocks of tenant {} in {shown}", tenant.as_str()),
        None => format!("no blocks in {shown}; give the folder that holds the tenants' folders"),
    }
}

/// Keeps Trackway from starting in the folder as long as the locks are held; fails when it runs.
fn lock(path: &Path) -> Result<Vec<File>> {
    let mut held = Vec::new();
    for place in ["lock", "wal/lock", "../wal/lock", "../lock"] {
        let Ok(file) = File::open(path.join(place)) else { continue };
        match file.try_lock() {
            Ok(()) => held.push(file),
            Err(TryLockError::WouldBlock) => {
                let pid = fs::read_to_string(path.join(place)).unwrap_or_default();
                let pid = if pid.trim().is_empty() { "(unknown)" } else { pid.trim() };
                bail!("{} is in use by pid {pid}; stop it first", path.display());
            }
            // A file system without locks cannot say; the help says to stop the server.
            Err(TryLockError::Error(_)) => {}
        }
    }
    Ok(held)
}

/// Changes one; the factor that it had, if that was another.
fn set_one(meta: &Path, factor: u64, dry_run: bool) -> Result<Option<u64>> {
    let text = fs::read_to_string(meta)?;
    let edit = set_replication_factor(&text, factor).map_err(anyhow::Error::msg)?;
    let Some(text) = edit.text else { return Ok(None) };
    if !dry_run {
        replace(meta, &text)?;
    }
    Ok(Some(edit.from))
}

/// Writes a new file beside the old one and puts it in its place, durably.
fn replace(path: &Path, text: &str) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let fresh = folder.join(format!("meta.json.{}.tmp", std::process::id()));
    let written = (|| {
        let mut file = File::create(&fresh)?;
        file.set_permissions(fs::metadata(path)?.permissions())?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, path)?;
        File::open(folder)?.sync_all()
    })();
    if written.is_err() {
        // It is of no use to anybody; that it stays does no harm either.
        let _ = fs::remove_file(&fresh);
    }
    Ok(written?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(path: &Path, factor: u64, dry_run: bool) -> SetArgs {
        SetArgs { factor, path: path.to_owned(), tenant: None, dry_run }
    }

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (block, text) in [
            ("a/1", "{\"blockID\":\"1\",\"replicationFactor\":1}"),
            ("a/2", "{\"blockID\":\"2\"}"),
            ("b/3", "{\"blockID\":\"3\",\"replicationFactor\":1,\"new\":[]}"),
        ] {
            fs::create_dir_all(folder.path().join(block)).unwrap();
            fs::write(folder.path().join(block).join("meta.json"), text).unwrap();
        }
        // No block any more.
        fs::create_dir_all(folder.path().join("a/4")).unwrap();
        fs::write(folder.path().join("a/4/meta.compacted.json"), "{\"replicationFactor\":1}").unwrap();
        folder
    }

    fn text(folder: &Path, block: &str) -> String {
        fs::read_to_string(folder.join(block).join("meta.json")).unwrap()
    }

    #[test]
    fn all_blocks_are_changed_and_nothing_else() {
        let folder = folder();
        let path = folder.path();
        set(&args(path, 0, true)).unwrap();
        assert_eq!(text(path, "a/1"), "{\"blockID\":\"1\",\"replicationFactor\":1}");
        set(&args(path, 0, false)).unwrap();
        assert_eq!(text(path, "a/1"), "{\"blockID\":\"1\",\"replicationFactor\":0}");
        assert_eq!(text(path, "a/2"), "{\"blockID\":\"2\"}");
        assert_eq!(text(path, "b/3"), "{\"blockID\":\"3\",\"replicationFactor\":0,\"new\":[]}");
        assert_eq!(fs::read_dir(path.join("a/1")).unwrap().count(), 1);
        assert!(!path.join("a/4/meta.json").exists());
        let tenant = Some(TenantId::new("b").unwrap());
        set(&SetArgs { tenant, ..args(path, 1, false) }).unwrap();
        assert!(text(path, "b/3").contains("\"replicationFactor\":1"));
        assert!(text(path, "a/1").contains("\"replicationFactor\":0"));
    }

    #[test]
    fn a_block_that_cannot_be_understood_does_not_stop_the_others() {
        let folder = folder();
        fs::write(folder.path().join("a/1/meta.json"), "{").unwrap();
        let error = set(&args(folder.path(), 0, false)).unwrap_err();
        assert_eq!(error.to_string(), "1 block could not be changed");
        assert!(text(folder.path(), "b/3").contains("\"replicationFactor\":0"));
    }

    #[test]
    fn wrong_folders_say_which_is_right() {
        let data = tempfile::tempdir().unwrap();
        fs::create_dir(data.path().join("blocks")).unwrap();
        let error = set(&args(data.path(), 0, false)).unwrap_err().to_string();
        assert!(
            error.ends_with(&format!("; give --path {}", data.path().join("blocks").display())),
            "{error}"
        );
        assert!(set(&args(&data.path().join("gone"), 0, false)).is_err());
    }

    #[test]
    fn a_folder_in_use_is_left_alone() {
        let data = tempfile::tempdir().unwrap();
        fs::create_dir(data.path().join("wal")).unwrap();
        fs::create_dir_all(data.path().join("blocks/a/1")).unwrap();
        fs::write(data.path().join("blocks/a/1/meta.json"), "{\"blockID\":\"1\"}").unwrap();
        let held = File::create(data.path().join("wal/lock")).unwrap();
        held.lock().unwrap();
        let error = set(&args(&data.path().join("blocks"), 1, false)).unwrap_err().to_string();
        assert!(error.ends_with("is in use by pid (unknown); stop it first"), "{error}");
        drop(held);
        set(&args(&data.path().join("blocks"), 1, false)).unwrap();
    }
}
