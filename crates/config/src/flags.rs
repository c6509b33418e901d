//! Tempo's command-line flags, in Go's style: one dash or two, `-flag=value` or `-flag value`, booleans without value.
//!
//! Besides Tempo's own flags, every setting of the file is a flag (`-ingester.trace-idle-period=2s`). A flag is turned
//! into a key of the file and read with it, so that its value is checked in the same place.

use crate::problem::nearest;
use crate::sections::Settings;
use crate::table::{Kind, Section, Setting, Shape, find_ignored, ignored_names};
use crate::values::parse_bool;

/// What the command line says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Flags {
    /// `-config.file`.
    pub config_file: Option<String>,
    /// `-config.expand-env`.
    pub expand_env: bool,
    /// `-config.verify`: check the configuration and exit.
    pub verify: bool,
    /// `-version`: print the version and exit.
    pub version: bool,
    /// `-health`: ask a running process whether it is ready, and exit.
    pub health: bool,
    /// `-health.url`.
    pub health_url: Option<String>,
    /// `-health.ca-file`, `-health.cert-file` and `-health.key-file`; empty for none.
    pub health_files: [String; 3],
    /// `-health.insecure-skip-verify`.
    pub health_insecure_skip_verify: bool,
    /// `-h`, `-help`: print the help and exit.
    pub help: bool,
    /// Settings of the file that flags override.
    pub(crate) settings: Vec<FlagSetting>,
}

/// One setting given by a flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FlagSetting {
    pub(crate) flag: String,
    pub(crate) path: String,
    pub(crate) value: String,
}

/// Why a command line is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlagError {
    /// No such flag.
    #[error("unknown flag -{flag}{hint}")]
    Unknown {
        /// The flag.
        flag: String,
        /// `; did you mean -x?`, or nothing.
        hint: String,
    },
    /// The flag wants a value and none follows.
    #[error("flag -{0} needs a value: -{0}=VALUE")]
    MissingValue(String),
    /// A boolean's value is neither true nor false.
    #[error("flag -{flag}={value}: expected true or false")]
    NotBoolean {
        /// The flag.
        flag: String,
        /// Its value.
        value: String,
    },
    /// Something that is no flag.
    #[error("unexpected argument \"{0}\"")]
    Unexpected(String),
}

/// Flags about the process itself; the second says whether it is a boolean.
const PROCESS: &[(&str, bool, &str)] = &[
    ("config.file", false, "The configuration file."),
    ("config.expand-env", true, "Replace `${VAR}` in the file by environment variables."),
    ("config.verify", true, "Check the configuration, print warnings and exit; 1 if there are any."),
    ("version", true, "Print the version and exit."),
    ("health", true, "Ask a running process whether it is ready, and exit."),
    ("health.url", false, "Where to ask; `http://localhost:3200/ready` by default."),
    (
        "health.ca-file",
        false,
        "Authorities of the server that is asked over https, PEM, instead of the system's.",
    ),
    ("health.cert-file", false, "Certificate to show to it, PEM."),
    ("health.key-file", false, "Its private key, PEM."),
    ("health.insecure-skip-verify", true, "Take any certificate of it."),
    ("help", true, "Print the help and exit."),
    ("h", true, "Print the help and exit."),
];

/// Flags whose name is not their key's.
const NAMED: &[(&str, &str, &str)] = &[
    (
        "listen",
        "trackway.listen",
        "Address that overrides every listen address; opens the process to others.",
    ),
    ("read-only", "trackway.read_only", "Answer questions only."),
    ("data", "trackway.data_path", "Folder for everything that has no path of its own."),
    ("target", "target", "Which parts this process runs."),
    ("multitenancy.enabled", "multitenancy_enabled", "Demand a tenant with every request."),
    ("auth.enabled", "auth_enabled", "Old name of `-multitenancy.enabled`."),
    ("log.level", "server.log_level", "Least important log lines shown."),
    ("log.format", "server.log_format", "Log lines as `logfmt` or `json`."),
    ("reporting.enabled", "usage_report.reporting_enabled", "Accepted; nothing is ever reported."),
    (
        "querier.frontend-address",
        "querier.frontend_worker.frontend_address",
        "Host and port of the query-frontend.",
    ),
    (
        "config.per-user-override-config",
        "overrides.per_tenant_override_config",
        "File with the limits of single tenants.",
    ),
    (
        "config.per-user-override-period",
        "overrides.per_tenant_override_period",
        "How often that file is read again.",
    ),
    (
        "config.enable-legacy-overrides",
        "overrides.enable_legacy_overrides",
        "Accepted; the flat spelling is always understood.",
    ),
    (
        "distributor.log-received-spans.include-attributes",
        "distributor.log_received_spans.include_all_attributes",
        "With all attributes.",
    ),
    (
        "distributor.log-discarded-spans.include-attributes",
        "distributor.log_discarded_spans.include_all_attributes",
        "With all attributes.",
    ),
    ("storage.trace.gcs.bucket", "storage.trace.gcs.bucket_name", "The bucket."),
    ("storage.trace.azure.endpoint", "storage.trace.azure.endpoint_suffix", "Domain of the account."),
    ("memberlist.host-port", "memberlist.join_members", "Accepted and ignored."),
    ("ingester.availability-zone", "ingester.lifecycler.availability_zone", "Accepted and ignored."),
];

/// Flags of Tempo's that have no key; accepted with any value.
const NOTHING: &[&str] = &[
    "mem-ballast-size-mbs",
    "mutex-profile-fraction",
    "block-profile-threshold",
    "use-otel-tracer",
    "search.enabled",
];

/// Flags for the reference page, with their meaning.
pub(crate) fn documented() -> Vec<(&'static str, &'static str)> {
    let process = PROCESS.iter().map(|(flag, _, doc)| (*flag, *doc));
    let named = NAMED.iter().map(|(flag, _, doc)| (*flag, *doc));
    let nothing = NOTHING.iter().map(|flag| (*flag, "Accepted and ignored."));
    process.chain(named).chain(nothing).collect()
}

/// What a flag stands for.
enum Target {
    Process { boolean: bool },
    Key { path: String, boolean: bool },
    Nothing,
}

impl Flags {
    /// Reads a command line without the program's name. `--` ends it.
    pub fn parse(args: &[String]) -> Result<Self, FlagError> {
        let mut flags = Self::default();
        let mut rest = args.iter();
        while let Some(arg) = rest.next() {
            let Some(flag) = arg.strip_prefix('-') else {
                return Err(FlagError::Unexpected(arg.clone()));
            };
            let flag = flag.strip_prefix('-').unwrap_or(flag);
            if flag.is_empty() {
                match rest.next() {
                    Some(arg) => return Err(FlagError::Unexpected(arg.clone())),
                    None if arg == "--" => break,
                    None => return Err(FlagError::Unexpected(arg.clone())),
                }
            }
            let (name, given) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (flag, None),
            };
            let target = find(name).ok_or_else(|| unknown(name))?;
            let boolean = match &target {
                Target::Process { boolean } | Target::Key { boolean, .. } => *boolean,
                Target::Nothing => false,
            };
            let value = match given {
                Some(value) => value,
                None if boolean => "true".to_owned(),
                None => rest.next().cloned().ok_or_else(|| FlagError::MissingValue(name.to_owned()))?,
            };
            flags.set(name, target, value)?;
        }
        Ok(flags)
    }

    fn set(&mut self, name: &str, target: Target, value: String) -> Result<(), FlagError> {
        let boolean =
            |value: String| parse_bool(&value).ok_or(FlagError::NotBoolean { flag: name.to_owned(), value });
        match target {
            Target::Nothing => {}
            Target::Key { path, .. } => {
                self.settings.push(FlagSetting { flag: name.to_owned(), path, value })
            }
            Target::Process { .. } => match name {
                "config.file" => self.config_file = Some(value),
                "config.expand-env" => self.expand_env = boolean(value)?,
                "config.verify" => self.verify = boolean(value)?,
                "version" => self.version = boolean(value)?,
                "health" => self.health = boolean(value)?,
                "health.url" => self.health_url = Some(value),
                "health.ca-file" => self.health_files[0] = value,
                "health.cert-file" => self.health_files[1] = value,
                "health.key-file" => self.health_files[2] = value,
                "health.insecure-skip-verify" => self.health_insecure_skip_verify = boolean(value)?,
                _ => self.help = boolean(value)?,
            },
        }
        Ok(())
    }
}

fn find(name: &str) -> Option<Target> {
    if let Some((_, boolean, _)) = PROCESS.iter().find(|(flag, ..)| *flag == name) {
        return Some(Target::Process { boolean: *boolean });
    }
    if NOTHING.contains(&name) {
        return Some(Target::Nothing);
    }
    let path = match NAMED.iter().find(|(flag, ..)| *flag == name) {
        Some((_, path, _)) => (*path).to_owned(),
        None => name.replace('-', "_"),
    };
    let Kind::Section(root) = Settings::kind() else {
        return None;
    };
    let parts: Vec<&str> = path.split('.').collect();
    let boolean = leaf(&root, &parts)?;
    Some(Target::Key { path, boolean })
}

/// Whether the value at a path is a boolean; `None` if there is no single value.
fn leaf(section: &Section, path: &[&str]) -> Option<bool> {
    let (first, rest) = path.split_first()?;
    if let Some(key) = section.used.iter().find(|key| key.name == *first) {
        return match (key.kind)() {
            Kind::Section(inner) => leaf(&inner, rest),
            Kind::Scalar(name) if rest.is_empty() => Some(name == "boolean"),
            _ => None,
        };
    }
    let mut shape = find_ignored(section.ignored, first)?;
    for key in rest {
        let Shape::Block(inner) = shape else { return None };
        shape = find_ignored(inner, key)?;
    }
    match shape {
        Shape::Block(_) | Shape::Inline(_) | Shape::Map => None,
        shape => Some(matches!(shape, Shape::Bool)),
    }
}

fn unknown(name: &str) -> FlagError {
    let mut names: Vec<String> = PROCESS.iter().map(|(flag, ..)| (*flag).to_owned()).collect();
    names.extend(NAMED.iter().map(|(flag, ..)| (*flag).to_owned()));
    names.extend(NOTHING.iter().map(|flag| (*flag).to_owned()));
    if let Kind::Section(root) = Settings::kind() {
        all_keys(&root, "", &mut names);
    }
    let hint = match nearest(name, names.iter().map(String::as_str)) {
        Some(flag) => format!("; did you mean -{flag}?"),
        None => String::new(),
    };
    FlagError::Unknown { flag: name.to_owned(), hint }
}

fn all_keys(section: &Section, prefix: &str, names: &mut Vec<String>) {
    for key in &section.used {
        let flag = format!("{prefix}{}", key.name.replace('_', "-"));
        match (key.kind)() {
            Kind::Section(inner) => all_keys(&inner, &format!("{flag}."), names),
            Kind::Scalar(_) => names.push(flag),
            _ => {}
        }
    }
    for name in ignored_names(section.ignored) {
        names.push(format!("{prefix}{}", name.replace('_', "-")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    fn parse(args: &[&str]) -> Result<Flags, FlagError> {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        Flags::parse(&args)
    }

    #[test]
    fn reads_what_charts_pass() {
        let flags = parse(&[
            "-target=ingester",
            "-config.file=/conf/tempo.yaml",
            "-mem-ballast-size-mbs=1024",
            "-ingester.availability-zone=zone-a",
            "-config.expand-env=true",
            "--log.level",
            "warn",
            "-multitenancy.enabled",
            "-server.http-listen-port=3100",
            "-storage.trace.s3.secret_key=hush",
            "-storage.trace.backend=s3",
            "-storage.trace.block.bloom-filter-false-positive=0.05",
            "-query-frontend.mcp-server.enabled",
            "-memberlist.host-port=a:1",
            "-memberlist.bind-port=7946",
            "-span-profiling=false",
            "-distributor.log-received-spans.enabled",
            "--read-only",
            "--data",
            "/data",
        ])
        .unwrap();
        assert_eq!(flags.config_file.as_deref(), Some("/conf/tempo.yaml"));
        assert!(flags.expand_env);
        let config = Config::load(Some(("f", "server: {http_listen_port: 1}")), &flags, &|_| None).unwrap();
        assert_eq!(config.target, "ingester");
        assert_eq!(config.server.http_listen_port, 3100);
        assert_eq!(config.server.log_level, "warn");
        assert_eq!(config.storage.trace.s3.secret_key.expose(), "hush");
        assert!(config.multitenancy_enabled && config.trackway.read_only);
        assert!(config.query_frontend.mcp_server.enabled);
        assert!(config.distributor.log_received_spans.enabled);
        assert_eq!(config.trackway.data_path, "/data");
        assert!(!config.is_2x());
        assert_eq!(config.ignored, Vec::<String>::new());
    }

    #[test]
    fn stores_have_tempos_flags() {
        let flags = parse(&[
            "-storage.trace.backend=azure",
            "-storage.trace.s3.bucket=tempo-traces",
            "-storage.trace.s3.prefix=p",
            "-storage.trace.s3.endpoint=tempo-minio:9000",
            "-storage.trace.s3.access_key=a",
            "-storage.trace.s3.session_token=t",
            "-storage.trace.s3.insecure",
            "-storage.trace.s3.sse.type=SSE-S3",
            "-storage.trace.s3.tls-server-name=n",
            "-storage.trace.gcs.bucket=g",
            "-storage.trace.azure.storage_account_name=account",
            "-storage.trace.azure.storage_account_key=key",
            "-storage.trace.azure.container_name=traces",
            "-storage.trace.azure.endpoint=blob.core.example",
            "-storage.trace.azure.max_buffers=5",
            "-storage.trace.hdfs.endpoint=hdfs://n:9000",
        ])
        .unwrap();
        let config = Config::load(None, &flags, &|_| None).unwrap();
        let trace = &config.storage.trace;
        assert_eq!(
            (&*trace.s3.bucket, &*trace.s3.prefix, &*trace.s3.endpoint),
            ("tempo-traces", "p", "tempo-minio:9000")
        );
        assert_eq!((&*trace.s3.access_key, trace.s3.session_token.expose()), ("a", "t"));
        assert!(trace.s3.insecure);
        assert_eq!((&*trace.s3.sse.r#type, &*trace.s3.tls_server_name), ("SSE-S3", "n"));
        assert_eq!(trace.gcs.bucket_name, "g");
        let azure = &trace.azure;
        assert_eq!((&*azure.storage_account_name, azure.storage_account_key.expose()), ("account", "key"));
        assert_eq!((&*azure.container_name, &*azure.endpoint_suffix), ("traces", "blob.core.example"));
        assert_eq!((azure.max_buffers, &*trace.hdfs.endpoint), (5, "hdfs://n:9000"));
        assert_eq!(config.validate(), []);
    }

    #[test]
    fn errors_end_the_matter() {
        let message = |args: &[&str]| parse(args).unwrap_err().to_string();
        assert_eq!(
            message(&["-server.http-lisen-port=1"]),
            "unknown flag -server.http-lisen-port; did you mean -server.http-listen-port?"
        );
        assert_eq!(message(&["-xyzzyxyzzy"]), "unknown flag -xyzzyxyzzy");
        assert_eq!(message(&["-config.file"]), "flag -config.file needs a value: -config.file=VALUE");
        assert_eq!(message(&["-version=perhaps"]), "flag -version=perhaps: expected true or false");
        assert_eq!(message(&["demo"]), "unexpected argument \"demo\"");
        assert!(parse(&["--"]).is_ok());
        let flags = parse(&["-server.http-listen-port=http"]).unwrap();
        assert_eq!(
            Config::load(None, &flags, &|_| None).unwrap_err().to_string(),
            "flag -server.http-listen-port: server.http_listen_port is \"http\"; \
             expected a port number from 0 to 65535"
        );
    }
}
