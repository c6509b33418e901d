//! A server with every receiver.

use std::path::Path;

use super::{Ports, Server, config, free_port};

/// Where the receivers listen that are not OTLP's.
#[derive(Clone, Copy, Debug)]
pub struct Receivers {
    pub jaeger_grpc: u16,
    pub jaeger_http: u16,
    pub compact: u16,
    pub binary: u16,
    pub zipkin: u16,
}

/// Starts a server with all of them; `more` is YAML at the top level.
pub fn start(folder: &Path, more: &str) -> (Server, Receivers) {
    start_with(folder, "", more)
}

/// The same with more settings in `distributor:`, as `name: value, `.
pub fn start_with(folder: &Path, distributor: &str, more: &str) -> (Server, Receivers) {
    let [jaeger_grpc, jaeger_http, zipkin, compact, binary] = [(); 5].map(|()| free_port());
    let receivers = Receivers { jaeger_grpc, jaeger_http, compact, binary, zipkin };
    let ports = Ports::free();
    let said = format!(
        "{distributor}receivers: {{jaeger: {{protocols: {{grpc: {{endpoint: '127.0.0.1:{jaeger_grpc}'}}, \
         thrift_http: {{endpoint: '127.0.0.1:{jaeger_http}'}}, \
         thrift_compact: {{endpoint: '127.0.0.1:{compact}', max_packet_size: 20000}}, \
         thrift_binary: {{endpoint: '127.0.0.1:{binary}'}}}}}}, zipkin: {{endpoint: '127.0.0.1:{zipkin}'}}, otlp:"
    );
    let text = config(folder, ports, more).replace("receivers: {otlp:", &said);
    let file = folder.join("tempo.yaml");
    std::fs::write(&file, text).unwrap();
    let mut server = Server::spawn_file(folder, &file, ports);
    server.until_ready();
    (server, receivers)
}
