//! The look at a bucket when the process starts: whether it is there, what we may do in it, and whether it keeps the
//! condition "only if it is not there".
//!
//! What must stay true: the probe is an object directly below the prefix, never a folder (Tempo takes each folder for a
//! tenant), and a reader writes nothing.

use std::time::Duration;

use futures::StreamExt;
use object_store::path::Path;
use object_store::{Error, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use uuid::Uuid;

use super::{Fault, OpenStore, StoreConfig, explain};

/// How long the look may take, repeated attempts included.
const CHECK_TIMEOUT: Duration = Duration::from_secs(60);
/// What the first and the second creation of the probe want to write.
const FIRST: &[u8] = b"written by trackway at its start, to see whether this bucket can be used";
const SECOND: &[u8] = b"written over it: this store ignores the condition";
/// The range of the probe that is read.
const RANGE: std::ops::Range<u64> = 11..19;

/// What is known about a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BucketFacts {
    /// Whether it refuses to create an object that is there. `false` also when that was not tried, in a reader.
    pub conditional_put: bool,
}

/// Why a bucket cannot be used: one line, with the way out and the setting's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct CheckError {
    /// What is wrong.
    pub fault: Fault,
    text: String,
}

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    List,
    Write,
    Read,
    Delete,
}

impl Action {
    fn verb(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Write => "write to",
            Self::Read => "read from",
            Self::Delete => "delete from",
        }
    }

    fn permission(self, config: &StoreConfig) -> &'static str {
        match (config, self) {
            (StoreConfig::S3(_), Self::List) => "s3:ListBucket on the bucket",
            (StoreConfig::S3(_), Self::Write) => "s3:PutObject on the bucket's objects",
            (StoreConfig::S3(_), Self::Read) => "s3:GetObject on the bucket's objects",
            (StoreConfig::S3(_), Self::Delete) => "s3:DeleteObject on the bucket's objects",
            (StoreConfig::Gcs(_), Self::List) => "storage.objects.list",
            (StoreConfig::Gcs(_), Self::Write) => "storage.objects.create",
            (StoreConfig::Gcs(_), Self::Read) => "storage.objects.get",
            (StoreConfig::Gcs(_), Self::Delete) => "storage.objects.delete",
            (StoreConfig::Azure(_), Self::List | Self::Read) => "the role Storage Blob Data Reader",
            (StoreConfig::Azure(_), _) => "the role Storage Blob Data Contributor",
            (StoreConfig::Hdfs(_) | StoreConfig::Local { .. }, _) => {
                "read, write and execute on the folder to our user"
            }
        }
    }
}

/// Looks at a bucket. `probe` names the object that is made and deleted again.
///
/// # Errors
/// [`CheckError`] when it cannot be used.
pub async fn check(opened: &OpenStore, read_only: bool, probe: Uuid) -> Result<BucketFacts, CheckError> {
    let probe = Path::from(opened.prefix.as_str()).join(format!("trackway_probe_{probe}"));
    let looking = look(opened, read_only, &probe);
    match tokio::time::timeout(CHECK_TIMEOUT, looking).await {
        Ok(result) => {
            if result.is_err() && !read_only {
                // It may be there and it may not; the error counts.
                let _ = tokio::time::timeout(CHECK_TIMEOUT, opened.store.delete(&probe)).await;
            }
            result
        }
        Err(_) => Err(failed(opened, Action::List, Fault::Timeout)),
    }
}

async fn look(opened: &OpenStore, read_only: bool, probe: &Path) -> Result<BucketFacts, CheckError> {
    let store = &opened.store;
    let refused = |action: Action| move |error: Error| failed(opened, action, explain(&error));
    let prefix = Path::from(opened.prefix.as_str());
    let below = (!prefix.as_ref().is_empty()).then_some(&prefix);
    let first = store.list(below).next().await.transpose().map_err(refused(Action::List))?;
    if read_only {
        if let Some(object) = first.filter(|object| object.size > 0) {
            match store.get_range(&object.location, 0..1).await {
                // Somebody may have deleted it meanwhile.
                Ok(_) | Err(Error::NotFound { .. }) => {}
                Err(error) => return Err(refused(Action::Read)(error)),
            }
        }
        return Ok(BucketFacts::default());
    }
    let conditional_put = create_twice(opened, probe).await?;
    let want = if conditional_put { FIRST } else { SECOND };
    let wrong = |what: &str| failed(opened, Action::Read, Fault::Other(what.to_owned()));
    let body = async { store.get(probe).await?.bytes().await };
    if body.await.map_err(refused(Action::Read))? != want {
        return Err(wrong("it gives back something else than was written"));
    }
    let (start, end) = (RANGE.start as usize, RANGE.end as usize);
    if store.get_range(probe, RANGE).await.map_err(refused(Action::Read))? != want[start..end] {
        return Err(wrong("it gives back something else than the range that was asked for"));
    }
    store.delete(probe).await.map_err(refused(Action::Delete))?;
    Ok(BucketFacts { conditional_put })
}

/// Creates the probe twice; whether the second time was refused, as it must be.
async fn create_twice(opened: &OpenStore, probe: &Path) -> Result<bool, CheckError> {
    let create = |body: &'static [u8], mode: PutMode| {
        let options = PutOptions { mode, ..PutOptions::default() };
        opened.store.put_opts(probe, PutPayload::from_static(body), options)
    };
    let refused = |error: Error| failed(opened, Action::Write, explain(&error));
    match create(FIRST, PutMode::Create).await {
        Ok(_) => {}
        // A repeated attempt may have met the object of the first.
        Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {}
        Err(error) if explain(&error) == Fault::NotImplemented => {
            create(SECOND, PutMode::Overwrite).await.map_err(refused)?;
            return Ok(false);
        }
        Err(error) => return Err(refused(error)),
    }
    match create(SECOND, PutMode::Create).await {
        Ok(_) => Ok(false),
        Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(true),
        Err(error) => Err(refused(error)),
    }
}

/// The names of the settings that may be wrong.
struct Keys {
    bucket: &'static str,
    endpoint: &'static str,
    key: String,
    secret: String,
}

fn keys(config: &StoreConfig) -> (String, Keys) {
    let (section, bucket, endpoint) = match config {
        StoreConfig::Local { .. } => ("storage.trace.local", "path", "path"),
        StoreConfig::S3(s3) => (s3.section.as_str(), "bucket", "endpoint"),
        StoreConfig::Gcs(gcs) => (gcs.section.as_str(), "bucket_name", "endpoint"),
        StoreConfig::Azure(azure) => (azure.section.as_str(), "container_name", "endpoint_suffix"),
        StoreConfig::Hdfs(hdfs) => (hdfs.section.as_str(), "prefix", "endpoint"),
    };
    let (key, secret) = match config {
        StoreConfig::S3(s3) if s3.access_key.is_empty() => {
            let places = "the access key from the environment, the profile file or AWS".to_owned();
            (places.clone(), places)
        }
        StoreConfig::S3(_) => (format!("{section}.access_key"), format!("{section}.secret_key")),
        StoreConfig::Gcs(_) => {
            let file = "the file that GOOGLE_APPLICATION_CREDENTIALS names".to_owned();
            (file.clone(), file)
        }
        StoreConfig::Azure(_) => {
            (format!("{section}.storage_account_name"), format!("{section}.storage_account_key"))
        }
        _ => (format!("{section}.user"), format!("{section}.user")),
    };
    (section.to_owned(), Keys { bucket, endpoint, key, secret })
}

fn failed(opened: &OpenStore, action: Action, fault: Fault) -> CheckError {
    let config = &opened.config;
    let advice = advice(config, action, &fault);
    let verb = action.verb();
    CheckError { text: format!("cannot {verb} {}: {advice}", opened.name), fault }
}

/// What is wrong and the way out.
fn advice(config: &StoreConfig, action: Action, fault: &Fault) -> String {
    let (section, Keys { bucket, endpoint, key, secret }) = keys(config);
    let at = config.endpoint();
    let tls = |advice: &str| match config {
        StoreConfig::S3(_) => advice.replace("$", &section),
        _ => "add the authority to the system's".to_owned(),
    };
    match fault {
        Fault::NoBucket => {
            format!("there is no such bucket; create it, or correct {section}.{bucket}")
        }
        Fault::UnknownKey => match config {
            StoreConfig::S3(s3) if !s3.access_key.is_empty() => {
                format!("the server does not know the access key \"{}\"; correct {key}", s3.access_key)
            }
            _ => format!("the server does not know us; correct {key}"),
        },
        Fault::WrongSecret => format!("the signature is wrong; correct {secret}"),
        Fault::ExpiredToken => format!("the session token has run out; renew {section}.session_token"),
        Fault::NoCredentials => no_credentials(config, &section),
        Fault::Forbidden => format!("no permission; grant {}", action.permission(config)),
        Fault::ClockSkew => {
            "this machine's clock and the server's are too far apart; set the clocks (NTP)".to_owned()
        }
        Fault::WrongRegion(Some(region)) => {
            format!("the bucket lies in {region}; set {section}.region to it")
        }
        Fault::WrongRegion(None) => {
            format!("the bucket lies in another region; correct {section}.region and {section}.{endpoint}")
        }
        Fault::UnknownAuthority => {
            let way = tls("name the file with its authority in $.tls_ca_path");
            format!("the certificate of {at} is of an authority that is not trusted; {way}")
        }
        Fault::WrongName => {
            let way = tls("name the right one in $.tls_server_name, or correct $.endpoint");
            format!("the certificate of {at} is of another name; {way}")
        }
        Fault::ExpiredCertificate => {
            format!("the certificate of {at} is out of date, or this machine's clock is wrong; renew it")
        }
        Fault::ClientCertificate => {
            let way = tls("name it in $.tls_cert_path and $.tls_key_path");
            format!("{at} wants a certificate of ours; {way}")
        }
        Fault::Tls(problem) => format!("TLS with {at}: {problem}"),
        Fault::ServerWantsTls => {
            format!("{at} speaks TLS and was asked in plain HTTP; set {section}.insecure to false")
        }
        Fault::ServerIsPlain => {
            format!("{at} speaks plain HTTP and was asked in TLS; set {section}.insecure to true")
        }
        Fault::NoSuchHost => format!("the name in {at} cannot be resolved; correct {section}.{endpoint}"),
        Fault::Refused => {
            format!("nobody listens at {at}; start the server, or correct {section}.{endpoint}")
        }
        Fault::Timeout => {
            format!("{at} does not answer in time; is it reachable? See {section}.{endpoint}")
        }
        Fault::NotImplemented => format!("{at} does not know this operation; use another store"),
        Fault::Other(problem) => problem.clone(),
    }
}

fn no_credentials(config: &StoreConfig, section: &str) -> String {
    match config {
        StoreConfig::S3(_) => format!(
            "there are no keys; set {section}.access_key and {section}.secret_key, AWS_ACCESS_KEY_ID and \
             AWS_SECRET_ACCESS_KEY, a profile in ~/.aws/credentials, or give the machine or workload a role"
        ),
        StoreConfig::Azure(_) => format!(
            "there is no login; set {section}.storage_account_key, use_federated_token, or give the machine an \
             identity and set use_managed_identity"
        ),
        _ => "there are no keys; name the file of a service account in GOOGLE_APPLICATION_CREDENTIALS, or give \
              the machine or workload one"
            .to_owned(),
    }
}
