//! How a store is configured: plain values, with Tempo's meaning of each.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use trackway_common::Secret;
use trackway_tls::TlsConfig;

/// One of the stores. `section` in each is the full name of its settings' block, for messages.
#[derive(Clone, Debug)]
pub enum StoreConfig {
    /// A folder.
    Local {
        /// Which one.
        folder: PathBuf,
    },
    /// Amazon S3, or what speaks like it.
    S3(Box<S3Config>),
    /// Google Cloud Storage.
    Gcs(GcsConfig),
    /// Azure Blob Storage.
    Azure(AzureConfig),
    /// Hadoop's file system.
    Hdfs(HdfsConfig),
}

impl StoreConfig {
    /// Below which path everything lies; may be empty.
    pub fn prefix(&self) -> &str {
        match self {
            Self::Local { .. } => "",
            Self::S3(s3) => &s3.prefix,
            Self::Gcs(gcs) => &gcs.prefix,
            Self::Azure(azure) => &azure.prefix,
            Self::Hdfs(hdfs) => &hdfs.prefix,
        }
    }

    /// What a person calls it.
    pub fn shown(&self) -> String {
        let below = match self.prefix().trim_matches('/') {
            "" => String::new(),
            prefix => format!("/{prefix}"),
        };
        match self {
            Self::Local { folder } => folder.display().to_string(),
            Self::S3(s3) => format!("s3://{}{below} at {}", s3.bucket, self.endpoint()),
            Self::Gcs(gcs) => format!("gs://{}{below}", gcs.bucket),
            Self::Azure(azure) => format!("azure://{}/{}{below}", azure.account, azure.container),
            Self::Hdfs(hdfs) => format!("{}{below}", hdfs.endpoint.trim_end_matches('/')),
        }
    }

    /// The server, as one would type it.
    pub fn endpoint(&self) -> String {
        match self {
            Self::Local { folder } => folder.display().to_string(),
            Self::S3(s3) => {
                format!("{}://{}", if s3.insecure { "http" } else { "https" }, s3.endpoint)
            }
            Self::Gcs(gcs) if gcs.endpoint.is_empty() => "https://storage.googleapis.com".to_owned(),
            Self::Gcs(gcs) => gcs.endpoint.clone(),
            Self::Azure(azure) => azure.url(),
            Self::Hdfs(hdfs) => hdfs.endpoint.clone(),
        }
    }
}

/// When a slow read is asked again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hedge {
    /// After how long; zero is never.
    pub at: Duration,
    /// Most requests for one answer.
    pub up_to: u32,
}

impl Hedge {
    /// Whether it ever is.
    pub fn is_on(&self) -> bool {
        !self.at.is_zero() && self.up_to > 1
    }
}

/// How often and when a failed request is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Most attempts, the first included.
    pub attempts: u32,
    /// First wait.
    pub backoff_initial: Duration,
    /// Longest wait.
    pub backoff_max: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 10,
            backoff_initial: Duration::from_millis(200),
            backoff_max: Duration::from_secs(1),
        }
    }
}

/// How a bucket is addressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BucketLookup {
    /// In the host name at AWS, in the path elsewhere.
    #[default]
    Auto,
    /// In the host name.
    Dns,
    /// In the path.
    Path,
}

/// How the server encrypts objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Sse {
    /// As the bucket is set up.
    #[default]
    Default,
    /// With the store's own keys.
    S3,
    /// With a key of a key service; empty is the account's default key.
    Kms(String),
    /// With a key of 32 bytes that comes with every request.
    Customer(Secret),
}

/// Amazon S3, or what speaks like it.
#[derive(Clone, Debug, Default)]
pub struct S3Config {
    /// Full name of the settings' block.
    pub section: String,
    /// The bucket.
    pub bucket: String,
    /// Path inside the bucket.
    pub prefix: String,
    /// Host and port.
    pub endpoint: String,
    /// Region; empty is found out.
    pub region: String,
    /// Access key; empty takes AWS' usual sources.
    pub access_key: String,
    /// Secret key.
    pub secret_key: Secret,
    /// Session token.
    pub session_token: Secret,
    /// Plain HTTP.
    pub insecure: bool,
    /// AWS' addresses with IPv6.
    pub dual_stack: bool,
    /// How the bucket is addressed.
    pub lookup: BucketLookup,
    /// Bytes of a part of an upload; 0 chooses.
    pub part_bytes: u64,
    /// Upload in one piece.
    pub one_piece: bool,
    /// Slow reads.
    pub hedge: Hedge,
    /// Failed requests.
    pub retry: Retry,
    /// Tags of new objects.
    pub tags: BTreeMap<String, String>,
    /// Metadata of new objects.
    pub metadata: BTreeMap<String, String>,
    /// Storage class of new objects; empty is the bucket's.
    pub storage_class: String,
    /// Encryption.
    pub sse: Sse,
    /// TLS.
    pub tls: TlsConfig,
}

/// Google Cloud Storage.
#[derive(Clone, Debug, Default)]
pub struct GcsConfig {
    /// Full name of the settings' block.
    pub section: String,
    /// The bucket.
    pub bucket: String,
    /// Path inside the bucket.
    pub prefix: String,
    /// Another address than Google's.
    pub endpoint: String,
    /// No authentication, and TLS unchecked.
    pub insecure: bool,
    /// Bytes of a part of an upload; 0 chooses.
    pub part_bytes: u64,
    /// Slow reads.
    pub hedge: Hedge,
    /// Most repeated attempts.
    pub max_retries: u32,
    /// `Cache-Control` of new objects.
    pub cache_control: String,
    /// Metadata of new objects.
    pub metadata: BTreeMap<String, String>,
}

/// Who Azure takes us for.
#[derive(Clone, Debug, Default)]
pub enum AzureLogin {
    /// The account's key; empty takes what the environment has.
    #[default]
    Environment,
    /// The account's key.
    Key(Secret),
    /// The machine; one of its identities when named.
    ManagedIdentity(String),
    /// The workload, by the environment's token file.
    FederatedToken,
}

/// Azure Blob Storage.
#[derive(Clone, Debug, Default)]
pub struct AzureConfig {
    /// Full name of the settings' block.
    pub section: String,
    /// The storage account.
    pub account: String,
    /// The container.
    pub container: String,
    /// Path inside the container.
    pub prefix: String,
    /// Who we are.
    pub login: AzureLogin,
    /// Domain of the account; what does not begin with `blob.` is host and port of an emulator, asked over plain HTTP.
    pub endpoint_suffix: String,
    /// Bytes of a part of an upload.
    pub part_bytes: usize,
    /// Parts of one upload that are on their way at once.
    pub parts_at_once: usize,
    /// Slow reads.
    pub hedge: Hedge,
}

impl AzureConfig {
    /// Whether the account is part of the path, as emulators have it.
    pub(crate) fn is_emulator(&self) -> bool {
        !self.endpoint_suffix.starts_with("blob.")
    }

    /// Where the account is.
    pub(crate) fn url(&self) -> String {
        let Self { account, endpoint_suffix, .. } = self;
        if self.is_emulator() {
            format!("http://{endpoint_suffix}/{account}")
        } else {
            format!("https://{account}.{endpoint_suffix}")
        }
    }
}

/// Hadoop's file system.
#[derive(Clone, Debug, Default)]
pub struct HdfsConfig {
    /// Full name of the settings' block.
    pub section: String,
    /// `hdfs://host:port` or `hdfs://nameservice`.
    pub endpoint: String,
    /// Folder that everything lies in.
    pub prefix: String,
    /// Name of the user; empty takes the environment's.
    pub user: String,
    /// Kerberos principal.
    pub kerberos_principal: String,
    /// Its keytab, a file.
    pub kerberos_keytab: String,
    /// Hadoop's own client settings, over those of its files.
    pub options: BTreeMap<String, String>,
}
