//! A server with every receiver.

use std::net::{TcpListener, UdpSocket};
use std::path::Path;

use super::{Ports, Server, config};

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
    let tcp: Vec<TcpListener> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let udp: Vec<UdpSocket> = (0..2).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    let port = |place: usize| tcp[place].local_addr().unwrap().port();
    let datagram = |place: usize| udp[place].local_addr().unwrap().port();
    let receivers = Receivers {
        jaeger_grpc: port(0),
        jaeger_http: port(1),
        zipkin: port(2),
        compact: datagram(0),
        binary: datagram(1),
    };
    let Receivers { jaeger_grpc, jaeger_http, compact, binary, zipkin } = receivers;
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
    drop((tcp, udp));
    let mut server = Server::spawn_file(folder, &file, ports);
    server.until_ready();
    (server, receivers)
}
