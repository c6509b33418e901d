//! How a server is reached over `https`.

use clap::Args;
use trackway_tls::TlsConfig;

/// Where the URL begins with https
#[derive(Clone, Debug, Default, Args)]
pub(super) struct TlsArgs {
    /// Authorities of the server's certificate, a PEM file, instead of the system's
    #[arg(long, value_name = "FILE")]
    ca_file: Option<String>,
    /// Certificate to show to the server, a PEM file
    #[arg(long, value_name = "FILE", requires = "key_file")]
    cert_file: Option<String>,
    /// Its private key, a PEM file
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    key_file: Option<String>,
    /// Take any certificate of the server
    #[arg(long)]
    insecure_skip_verify: bool,
}

impl TlsArgs {
    /// As settings of the client.
    pub(super) fn config(&self) -> TlsConfig {
        TlsConfig {
            ca_path: self.ca_file.clone().unwrap_or_default(),
            cert_path: self.cert_file.clone().unwrap_or_default(),
            key_path: self.key_file.clone().unwrap_or_default(),
            insecure_skip_verify: self.insecure_skip_verify,
            ..TlsConfig::default()
        }
    }
}

/// An error of a connection, in the words of the command line.
pub(super) fn explain(error: trackway_loadgen::HttpError) -> anyhow::Error {
    use trackway_loadgen::HttpError;
    match error {
        HttpError::TlsSetting(error) => {
            let flag = match error.key {
                "tls_ca_path" => "--ca-file",
                "tls_cert_path" => "--cert-file",
                "tls_key_path" => "--key-file",
                other => other,
            };
            anyhow::anyhow!("{flag} {}", error.problem)
        }
        HttpError::Tls(..) => {
            anyhow::anyhow!("{error} (--ca-file, --cert-file and --key-file, --insecure-skip-verify)")
        }
        other => other.into(),
    }
}
