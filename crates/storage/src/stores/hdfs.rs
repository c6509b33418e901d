//! Hadoop's file system.

use std::sync::Arc;

use hdfs_native_object_store::HdfsObjectStore;
use object_store::ObjectStore;

use super::{HdfsConfig, OpenError};

/// Opens the store. Hadoop's own files are read from `HADOOP_CONF_DIR`; the options go over them.
pub(super) fn open(config: &HdfsConfig) -> Result<Arc<dyn ObjectStore>, OpenError> {
    if !config.endpoint.starts_with("hdfs://") && !config.endpoint.starts_with("viewfs://") {
        let problem = format!("is \"{}\"; write hdfs://host:port or hdfs://nameservice", config.endpoint);
        return Err(OpenError::new(&config.section, "endpoint", problem));
    }
    let options = config.options.iter().map(|(name, value)| (name.clone(), value.clone()));
    let mut builder = hdfs_native::ClientBuilder::new().with_url(&config.endpoint).with_config(options);
    if !config.user.is_empty() {
        builder = builder.with_user(&config.user);
    }
    if !config.kerberos_principal.is_empty() {
        builder = builder.with_kerberos_principal(&config.kerberos_principal);
    }
    if !config.kerberos_keytab.is_empty() {
        builder = builder.with_kerberos_keytab(&config.kerberos_keytab);
    }
    let client = builder.build().map_err(|error| {
        OpenError::new(&config.section, "endpoint", format!("{}: {error}", config.endpoint))
    })?;
    Ok(Arc::new(HdfsObjectStore::new(client)))
}
