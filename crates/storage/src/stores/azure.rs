//! Azure Blob Storage, and emulators of it.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};

use super::dress::{Dress, Dressed};
use super::{
    AzureConfig, AzureLogin, Environment, OpenError, Retry, client_options, innermost, retry_config,
};

/// Opens the store.
pub(super) fn open(
    config: &AzureConfig,
    environment: Environment<'_>,
) -> Result<Arc<dyn ObjectStore>, OpenError> {
    let failed = |key: &str, problem: String| OpenError::new(&config.section, key, problem);
    let builder = MicrosoftAzureBuilder::new()
        .with_account(&config.account)
        .with_container_name(&config.container)
        .with_endpoint(config.url())
        .with_allow_http(config.is_emulator())
        .with_client_options(client_options().with_allow_http(config.is_emulator()))
        .with_retry(retry_config(&Retry::default()));
    let store = log_in(builder, config, environment)?.build();
    let store = store.map_err(|error| failed("storage_account_key", innermost(&error)))?;
    // Azurite ignores `startFrom`.
    let dress = Dress { lists_from_the_start: config.is_emulator(), ..Dress::default() };
    Ok(Dressed::around(Arc::new(store), dress))
}

fn log_in(
    builder: MicrosoftAzureBuilder,
    config: &AzureConfig,
    environment: Environment<'_>,
) -> Result<MicrosoftAzureBuilder, OpenError> {
    let set = |name: &str| environment(name).filter(|value| !value.is_empty());
    let variables = |builder: MicrosoftAzureBuilder, keys: &[(&str, AzureConfigKey)]| {
        keys.iter().fold(builder, |builder, (name, key)| match set(name) {
            Some(value) => builder.with_config(*key, value),
            None => builder,
        })
    };
    let workload = [
        ("AZURE_CLIENT_ID", AzureConfigKey::ClientId),
        ("AZURE_TENANT_ID", AzureConfigKey::AuthorityId),
        ("AZURE_AUTHORITY_HOST", AzureConfigKey::AuthorityHost),
    ];
    match &config.login {
        AzureLogin::Key(key) => Ok(builder.with_access_key(key.expose())),
        AzureLogin::ManagedIdentity(id) => {
            let builder = builder.with_credential_type("managed_identity");
            Ok(if id.is_empty() { builder } else { builder.with_client_id(id) })
        }
        AzureLogin::FederatedToken => {
            for name in ["AZURE_FEDERATED_TOKEN_FILE", "AZURE_CLIENT_ID", "AZURE_TENANT_ID"] {
                if set(name).is_none() {
                    let problem = format!(
                        "is true, and the environment has no {name}; the workload identity webhook of the \
                         cluster sets it"
                    );
                    return Err(OpenError::new(&config.section, "use_federated_token", problem));
                }
            }
            let token = [("AZURE_FEDERATED_TOKEN_FILE", AzureConfigKey::FederatedTokenFile)];
            Ok(variables(variables(builder, &workload), &token).with_credential_type("workload_identity"))
        }
        AzureLogin::Environment => {
            let rest = [
                ("AZURE_STORAGE_KEY", AzureConfigKey::AccessKey),
                ("AZURE_CLIENT_SECRET", AzureConfigKey::ClientSecret),
                ("AZURE_FEDERATED_TOKEN_FILE", AzureConfigKey::FederatedTokenFile),
            ];
            Ok(variables(variables(builder, &workload), &rest))
        }
    }
}
