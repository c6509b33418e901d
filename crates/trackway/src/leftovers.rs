//! What a process before had begun to write and did not finish: its local files name the blocks, and what of them lies in
//! the store is of no use. Others' blocks on their way in look the same there, but are not named here.

use std::path::Path;

use trackway_storage::{BlockCatalog, BlockStore, Catalog, Polled};
use uuid::Uuid;

/// Deletes what is in the store of blocks that files in these folders name and that never came to be. That it fails is no
/// harm: it is deleted when it is a day old.
pub(crate) async fn delete(folders: &[&Path], store: &BlockStore, catalog: &Catalog, polled: &Polled) {
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

/// The blocks that files `<block>.parquet` are for.
fn named_in(folder: &Path) -> Vec<Uuid> {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter_map(|file| file.path().file_stem()?.to_str()?.parse().ok()).collect()
}
