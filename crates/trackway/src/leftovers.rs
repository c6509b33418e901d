//! What a process before had begun to write and did not finish: its local files name the blocks, and what of them lies in
//! the store is of no use. Others' blocks on their way in look the same there, but are not named here.

use std::path::{Path, PathBuf};

use tokio::task::JoinError;
use trackway_config::Config;
use trackway_config::sections::Backend;
use trackway_storage::{BlockCatalog, BlockStore, Catalog, Polled};
use uuid::Uuid;

use crate::settings;

/// Deletes it. That it fails is no harm: it is deleted when it is a day old.
pub(crate) async fn delete(
    config: &Config,
    store: &BlockStore,
    catalog: &Catalog,
    polled: &Polled,
) -> Result<(), JoinError> {
    let folders = [config.wal_path().join("building"), settings::compactor(config).folder];
    delete_named(&folders, store, catalog, polled).await;
    if config.storage.trace.backend == Backend::Local {
        let blocks = config.blocks_path();
        tokio::task::spawn_blocking(move || delete_staged(&blocks)).await?;
    }
    Ok(())
}

/// Deletes what is in the store of blocks that files in these folders name and that never came to be.
async fn delete_named(folders: &[PathBuf], store: &BlockStore, catalog: &Catalog, polled: &Polled) {
    for id in folders.iter().flat_map(|folder| named_in(folder)) {
        for (tenant, looked) in &polled.looked {
            let files = looked.listing.blocks.get(&id);
            let is_live = catalog.blocks(tenant).iter().any(|entry| entry.meta.block_id == id);
            if is_live || files.is_none_or(|files| files.meta || files.compacted) {
                continue;
            }
            match store.delete_block(tenant, id).await {
                Ok(()) => tracing::info!(%tenant, block = %id, "deleted a block that was not finished"),
                Err(error) => {
                    tracing::debug!(%tenant, block = %id, %error, "left for later");
                }
            }
        }
    }
}

/// Deletes files `<name>#<number>` below a folder of blocks, which are what is there of an object until it is whole, with
/// the folders that have nothing else. No listing shows them.
fn delete_staged(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            delete_staged(&path);
        } else if is_staged(&path) {
            match std::fs::remove_file(&path) {
                Ok(()) => tracing::info!(path = %path.display(), "deleted an object that was not finished"),
                Err(error) => tracing::debug!(path = %path.display(), %error, "left where it is"),
            }
            // Only if that was all.
            let _ = std::fs::remove_dir(folder);
        }
    }
}

fn is_staged(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.rsplit_once('#'));
    name.is_some_and(|(_, number)| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The blocks that files `<block>.parquet` are for.
fn named_in(folder: &Path) -> Vec<Uuid> {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter_map(|file| file.path().file_stem()?.to_str()?.parse().ok()).collect()
}
