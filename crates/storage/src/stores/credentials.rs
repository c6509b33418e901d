//! Where the keys of S3 come from: settings, environment, profile file, web identity, container, machine; in this order.
//!
//! What must stay true: a place that is set and cannot be used is an error that names it, not a reason to try the next.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsCredential, AwsCredentialProvider};
use object_store::{CredentialProvider, RetryConfig, StaticCredentialProvider};
use parking_lot::Mutex;

use super::{Environment, OpenError, S3Config, client_options};

/// Largest credentials file that is read.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// The machine's service either answers at once or is not there.
const MACHINE_RETRIES: usize = 2;
const MACHINE_RETRY_TIMEOUT: Duration = Duration::from_secs(10);

/// The keys to sign with.
pub(super) fn provider(
    config: &S3Config,
    region: &str,
    environment: Environment<'_>,
) -> Result<AwsCredentialProvider, OpenError> {
    let fixed = |key_id: String, secret_key: String, token: Option<String>| -> AwsCredentialProvider {
        Arc::new(StaticCredentialProvider::new(AwsCredential { key_id, secret_key, token }))
    };
    match (config.access_key.as_str(), config.secret_key.expose()) {
        ("", "") => {}
        ("", _) => {
            return Err(OpenError::new(
                &config.section,
                "access_key",
                "is empty and secret_key is not; set both or none",
            ));
        }
        (_, "") => {
            return Err(OpenError::new(
                &config.section,
                "secret_key",
                "is empty and access_key is not; set both or none",
            ));
        }
        (access, secret) => {
            let token = Some(config.session_token.expose().to_owned()).filter(|token| !token.is_empty());
            return Ok(fixed(access.to_owned(), secret.to_owned(), token));
        }
    }
    let set = |name: &str| environment(name).filter(|value| !value.is_empty());
    if let (Some(access), Some(secret)) = (set("AWS_ACCESS_KEY_ID"), set("AWS_SECRET_ACCESS_KEY")) {
        return Ok(fixed(access, secret, set("AWS_SESSION_TOKEN")));
    }
    if let Some(profile) = ProfileFile::find(&set, &config.section)? {
        return Ok(Arc::new(profile));
    }
    roles(config, region, &set)
}

/// What AWS gives to workloads and machines.
fn roles(
    config: &S3Config,
    region: &str,
    set: &dyn Fn(&str) -> Option<String>,
) -> Result<AwsCredentialProvider, OpenError> {
    let retry = RetryConfig {
        max_retries: MACHINE_RETRIES,
        retry_timeout: MACHINE_RETRY_TIMEOUT,
        ..RetryConfig::default()
    };
    // Only the credentials of this store are taken; they have TLS settings of their own, the system's.
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&config.bucket)
        .with_region(region)
        .with_retry(retry)
        .with_client_options(client_options());
    for (name, key) in [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", AmazonS3ConfigKey::WebIdentityTokenFile),
        ("AWS_ROLE_ARN", AmazonS3ConfigKey::RoleArn),
        ("AWS_ROLE_SESSION_NAME", AmazonS3ConfigKey::RoleSessionName),
        ("AWS_ENDPOINT_URL_STS", AmazonS3ConfigKey::StsEndpoint),
        ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", AmazonS3ConfigKey::ContainerCredentialsRelativeUri),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", AmazonS3ConfigKey::ContainerCredentialsFullUri),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", AmazonS3ConfigKey::ContainerAuthorizationTokenFile),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", AmazonS3ConfigKey::MetadataEndpoint),
    ] {
        if let Some(value) = set(name) {
            builder = builder.with_config(key, value);
        }
    }
    let store = builder.build().map_err(|error| {
        OpenError::new(&config.section, "access_key", format!("is empty, and {}", super::innermost(&error)))
    })?;
    Ok(Arc::clone(store.credentials()))
}

/// A profile of AWS' credentials file, read again when the file changes.
#[derive(Debug)]
pub(super) struct ProfileFile {
    path: PathBuf,
    profile: String,
    read: Mutex<Option<(SystemTime, Arc<AwsCredential>)>>,
}

impl ProfileFile {
    /// The profile that the environment names or the default one, when there is a file with keys of it.
    fn find(set: &dyn Fn(&str) -> Option<String>, section: &str) -> Result<Option<Self>, OpenError> {
        let named = set("AWS_SHARED_CREDENTIALS_FILE");
        let chosen = set("AWS_PROFILE");
        let home = || set("HOME").map(|home| PathBuf::from(home).join(".aws/credentials"));
        let Some(path) = named.clone().map(PathBuf::from).or_else(home) else { return Ok(None) };
        let profile = chosen.clone().unwrap_or_else(|| "default".to_owned());
        let found = Self { path, profile, read: Mutex::new(None) };
        match found.load() {
            Ok(_) => Ok(Some(found)),
            // Nobody asked for it.
            Err(_) if named.is_none() && chosen.is_none() => Ok(None),
            // A profile may also be one of a role, which the environment describes in other variables.
            Err(_) if named.is_none() && set("AWS_ROLE_ARN").is_some() => Ok(None),
            Err(problem) => {
                let asked = match (named, chosen) {
                    (Some(_), _) => "AWS_SHARED_CREDENTIALS_FILE",
                    _ => "AWS_PROFILE",
                };
                let problem = format!("is empty, and {asked} is set: {problem}");
                Err(OpenError::new(section, "access_key", problem))
            }
        }
    }

    fn load(&self) -> Result<Arc<AwsCredential>, String> {
        let shown = self.path.display();
        let about = std::fs::metadata(&self.path).map_err(|error| format!("{shown}: {error}"))?;
        let changed = about.modified().map_err(|error| format!("{shown}: {error}"))?;
        let mut read = self.read.lock();
        if let Some((when, credential)) = &*read
            && *when == changed
        {
            return Ok(Arc::clone(credential));
        }
        if about.len() > MAX_FILE_BYTES {
            return Err(format!("{shown}: is larger than {MAX_FILE_BYTES} bytes"));
        }
        let text = std::fs::read_to_string(&self.path).map_err(|error| format!("{shown}: {error}"))?;
        let credential = keys_of(&text, &self.profile).ok_or_else(|| {
            format!(
                "{shown}: profile \"{}\" has no aws_access_key_id and aws_secret_access_key",
                self.profile
            )
        })?;
        let credential = Arc::new(credential);
        *read = Some((changed, Arc::clone(&credential)));
        Ok(credential)
    }

    #[cfg(test)]
    fn at(path: &std::path::Path, profile: &str) -> Self {
        Self { path: path.to_owned(), profile: profile.to_owned(), read: Mutex::new(None) }
    }
}

#[async_trait]
impl CredentialProvider for ProfileFile {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        self.load().map_err(|problem| object_store::Error::Generic { store: "S3", source: problem.into() })
    }
}

/// The keys of a profile in AWS' form of an INI file.
fn keys_of(text: &str, profile: &str) -> Option<AwsCredential> {
    let (mut inside, mut access, mut secret, mut token) = (false, None, None, None);
    for line in text.lines().map(str::trim) {
        if line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.split(']').next()) {
            // The file `config`, which some name here, writes `[profile x]`.
            let name = name.trim();
            inside = name == profile || name.strip_prefix("profile ").map(str::trim) == Some(profile);
        } else if inside && let Some((key, value)) = line.split_once('=') {
            let value = value.trim().to_owned();
            match key.trim().to_ascii_lowercase().as_str() {
                "aws_access_key_id" => access = Some(value),
                "aws_secret_access_key" => secret = Some(value),
                "aws_session_token" => token = Some(value).filter(|token| !token.is_empty()),
                _ => {}
            }
        }
    }
    Some(AwsCredential { key_id: access?, secret_key: secret?, token })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# keys\n[default]\naws_access_key_id = A\naws_secret_access_key=s=/+\n\n[ other ]\n\
                        AWS_ACCESS_KEY_ID=B\naws_secret_access_key = t\naws_session_token = u\n[half]\naws_access_key_id=C\n";

    #[test]
    fn a_profile_has_its_keys() {
        for (profile, want) in [
            ("default", Some(("A", "s=/+", None))),
            ("other", Some(("B", "t", Some("u")))),
            ("half", None),
            ("missing", None),
        ] {
            let found = keys_of(FILE, profile);
            let found = found.as_ref().map(|c| (&*c.key_id, &*c.secret_key, c.token.as_deref()));
            assert_eq!(found, want, "{profile}");
        }
    }

    #[test]
    fn the_first_place_that_is_set_counts() {
        super::super::install_crypto_provider();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("credentials");
        std::fs::write(&file, FILE).unwrap();
        let file = file.display().to_string();
        let plain = S3Config { section: "s3".to_owned(), bucket: "b".to_owned(), ..S3Config::default() };
        let with_keys = S3Config {
            access_key: "K".to_owned(),
            secret_key: trackway_common::Secret::new("L"),
            ..plain.clone()
        };
        let half = S3Config { access_key: "K".to_owned(), ..plain.clone() };
        let keys = [("AWS_ACCESS_KEY_ID", "E"), ("AWS_SECRET_ACCESS_KEY", "F")];
        let from_file = [("AWS_SHARED_CREDENTIALS_FILE", file.as_str())];
        let other = [("AWS_SHARED_CREDENTIALS_FILE", file.as_str()), ("AWS_PROFILE", "other")];
        let missing = [("AWS_SHARED_CREDENTIALS_FILE", file.as_str()), ("AWS_PROFILE", "missing")];
        let nowhere = [("AWS_SHARED_CREDENTIALS_FILE", "/nowhere/credentials")];
        type Variables<'a> = &'a [(&'a str, &'a str)];
        let cases: [(&S3Config, Variables<'_>, Result<&str, &str>); 7] = [
            (&with_keys, &keys, Ok("K")),
            (&plain, &keys, Ok("E")),
            (&plain, &from_file, Ok("A")),
            (&plain, &other, Ok("B")),
            (&plain, &missing, Err("profile \"missing\" has no aws_access_key_id")),
            (&plain, &nowhere, Err("/nowhere/credentials")),
            (&half, &[], Err("s3.secret_key: is empty and access_key is not")),
        ];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for (config, variables, want) in cases {
            let look = |name: &str| {
                variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            };
            let found = provider(config, "us-east-1", &look)
                .map(|provider| runtime.block_on(provider.get_credential()).unwrap().key_id.clone());
            match (found, want) {
                (Ok(found), Ok(want)) => assert_eq!(found, want),
                (Err(error), Err(want)) => assert!(error.to_string().contains(want), "{error}"),
                (found, want) => panic!("{found:?}, {want:?}"),
            }
        }
    }

    #[test]
    fn a_changed_file_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials");
        std::fs::write(&path, FILE).unwrap();
        let profile = ProfileFile::at(&path, "default");
        assert_eq!(profile.load().unwrap().key_id, "A");
        std::fs::write(&path, FILE.replace("= A", "= Z")).unwrap();
        let later = SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
        assert_eq!(profile.load().unwrap().key_id, "Z");
    }
}
