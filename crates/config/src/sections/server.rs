//! `server:`, the HTTP and gRPC servers that questions and the other processes use.

use trackway_common::Secret;

use crate::bytesize::ByteSize;
use crate::duration::GoDuration;
use crate::ignored;
use crate::sections::{mins, secs};

section! {
    /// `server:`.
    Server {
        http_listen_address: String = String::new(), "Address of the HTTP API; empty is every interface, or only this machine without a configuration file.";
        http_listen_port: u16 = 3200, "Port of the HTTP API.";
        grpc_listen_address: String = String::new(), "Address of the gRPC API; empty as above.";
        grpc_listen_port: u16 = 9095, "Port of the gRPC API.";
        graceful_shutdown_timeout: GoDuration = secs(30), "How long requests in flight may take to finish at shutdown.";
        http_server_read_timeout: GoDuration = secs(30), "How long reading an HTTP request may take.";
        http_server_write_timeout: GoDuration = secs(30), "How long answering an HTTP request may take.";
        http_server_idle_timeout: GoDuration = mins(2), "How long an idle HTTP connection is kept.";
        http_path_prefix: String = String::new(), "Path put before every path of the HTTP server.";
        grpc_server_max_recv_msg_size: ByteSize = ByteSize::new(16_777_216), "Largest gRPC message taken in.";
        grpc_server_max_send_msg_size: ByteSize = ByteSize::new(16_777_216), "Largest gRPC message sent.";
        grpc_server_max_concurrent_streams: u32 = 100, "Most concurrent calls on one gRPC connection; 0 is no limit.";
        log_level: String = "info".to_owned(), "Least important log lines shown: `debug`, `info`, `warn` or `error`.";
        log_format: String = "logfmt".to_owned(), "Log lines as `logfmt` or `json`.";
        http_tls_config: Option<ServerTls> = None, "TLS of the HTTP server.";
        grpc_tls_config: Option<ServerTls> = None, "TLS of the gRPC server.";
        tls_cipher_suites: String = String::new(), "Cipher suites of TLS 1.2 in Go's names, with commas between them; empty is all that are safe.";
        tls_min_version: String = String::new(), "Oldest TLS version: `VersionTLS12` or `VersionTLS13`; older ones are never spoken.";
    }
    ignored ignored::SERVER
}

section! {
    /// TLS of a server.
    ServerTls {
        cert_file: String = String::new(), "Certificate, PEM.";
        key_file: String = String::new(), "Private key, PEM.";
        client_auth_type: String = String::new(), "Whether clients must show a certificate: `NoClientCert`, `RequestClientCert`, `RequireAnyClientCert`, `VerifyClientCertIfGiven` or `RequireAndVerifyClientCert`.";
        client_ca_file: String = String::new(), "Authorities of client certificates, PEM.";
        cert: String = String::new(), "The certificate itself.";
        key: Secret = Secret::default(), "The private key itself.";
        client_ca: String = String::new(), "The authorities themselves.";
    }
    ignored &[]
}

impl ServerTls {
    /// Whether any of it is set; Tempo's own printed configuration has the block with nothing in it.
    pub fn is_enabled(&self) -> bool {
        *self != Self::default()
    }
}
