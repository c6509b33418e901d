//! Opens the store of blocks and looks at it, before anything is taken in.

use anyhow::Context;
use trackway_common::Random;
use trackway_config::Config;
use trackway_config::sections::Backend;
use trackway_storage::BlockStore;
use trackway_storage::stores::{self, OpenStore};

use crate::settings;

/// Where blocks lie.
#[derive(Debug)]
pub(crate) struct Blocks {
    /// The blocks.
    pub(crate) store: BlockStore,
    /// The bucket that they lie in; `None` for a local folder.
    pub(crate) bucket: Option<OpenStore>,
}

/// Opens what the configuration names. A bucket that cannot be used is an error that says why.
pub(crate) async fn open(config: &Config, random: &dyn Random) -> anyhow::Result<Blocks> {
    let read_only = config.trackway.read_only;
    if config.storage.trace.backend == Backend::Local {
        let folder = config.blocks_path();
        if read_only && !folder.is_dir() {
            anyhow::bail!(
                "{}: there is no such folder to read; name it with storage.trace.local.path or --data",
                folder.display()
            );
        }
        let store = BlockStore::local(&folder)
            .with_context(|| format!("{}: choose another folder with --data", folder.display()))?;
        return Ok(Blocks { store, bucket: None });
    }
    #[allow(clippy::disallowed_methods)] // where the keys of a store come from is configuration
    let environment = |name: &str| std::env::var(name).ok();
    let bucket = stores::open(&settings::store(config), &environment).await?;
    tracing::info!(bucket = bucket.name, "looking at the bucket");
    let facts = stores::check(&bucket, read_only, random.uuid()).await?;
    if !facts.conditional_put && !read_only {
        tracing::warn!(
            bucket = bucket.name,
            "this store creates an object that is there already a second time (MinIO before May 2024 does); one \
             process can work with it, several cannot: use a newer one"
        );
    }
    Ok(Blocks { store: BlockStore::opened(&bucket, facts), bucket: Some(bucket) })
}
