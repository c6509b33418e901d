//! Where the process listens.
//!
//! Without a configuration file only this machine can connect. With one, an empty address is every interface, as in
//! Tempo, and a receiver without an endpoint is local, as in a collector. `--listen` opens everything.

use std::net::IpAddr;

use crate::config::Config;
use crate::sections::ForeignReceiver;

/// Addresses to bind, `host:port`.
#[derive(Debug, Clone, PartialEq)]
pub struct Addresses {
    /// The HTTP API.
    pub http: String,
    /// The gRPC API.
    pub grpc: String,
    /// OTLP over gRPC, if it is to be served.
    pub otlp_grpc: Option<String>,
    /// OTLP over HTTP, if it is to be served.
    pub otlp_http: Option<String>,
    /// Jaeger and Zipkin, as far as they are to be served.
    pub foreign: Vec<(ForeignReceiver, String)>,
}

/// The IPv6 form of an address on every interface, which takes IPv4 too where the system allows: to be tried first.
pub fn dual_stack(address: &str) -> Option<String> {
    address.strip_prefix("0.0.0.0:").map(|port| format!("[::]:{port}"))
}

impl Config {
    /// The concrete addresses; a port that cannot be read is an error of [`Config::validate`] and becomes the default.
    pub fn resolve_addresses(&self) -> Addresses {
        let receivers = &self.distributor.receivers;
        Addresses {
            http: self.server_address(&self.server.http_listen_address, self.server.http_listen_port),
            grpc: self.server_address(&self.server.grpc_listen_address, self.server.grpc_listen_port),
            otlp_grpc: receivers.otlp_grpc().map(|grpc| self.endpoint(&grpc.endpoint, 4317)),
            otlp_http: receivers.otlp_http().map(|http| self.endpoint(&http.endpoint, 4318)),
            foreign: receivers
                .foreign()
                .into_iter()
                .map(|receiver| {
                    let address = self.endpoint(&receiver.endpoint, receiver.default_port);
                    (receiver, address)
                })
                .collect(),
        }
    }

    fn server_address(&self, host: &str, port: u16) -> String {
        let host = match (&self.trackway.listen, host, &self.file) {
            (Some(listen), ..) => listen,
            (None, "", None) => "127.0.0.1",
            (None, host, _) => host,
        };
        join(host, port)
    }

    fn endpoint(&self, endpoint: &str, default_port: u16) -> String {
        let (host, port) = split(endpoint, default_port).unwrap_or(("localhost", default_port));
        join(self.trackway.listen.as_deref().unwrap_or(host), port)
    }
}

/// Host and port of an endpoint; `None` if the port is none.
pub(crate) fn split(endpoint: &str, default_port: u16) -> Option<(&str, u16)> {
    if endpoint.is_empty() {
        return Some(("localhost", default_port));
    }
    match endpoint.rsplit_once(':') {
        // A bare IPv6 address has colons but no port.
        Some((host, _)) if host.contains(':') && !host.ends_with(']') => {
            endpoint.parse::<IpAddr>().ok()?;
            Some((endpoint, default_port))
        }
        Some((host, port)) => Some((host, port.parse().ok()?)),
        None => Some((endpoint, default_port)),
    }
}

fn join(host: &str, port: u16) -> String {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match host {
        "" => format!("0.0.0.0:{port}"),
        "localhost" => format!("127.0.0.1:{port}"),
        host if host.contains(':') => format!("[{host}]:{port}"),
        host => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Flags;

    fn addresses(text: Option<&str>, flags: &[&str]) -> [Option<String>; 4] {
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let file = text.map(|text| ("tempo.yaml", text));
        let config = Config::load(file, &Flags::parse(&flags).unwrap(), &|_| None).unwrap();
        let a = config.resolve_addresses();
        [Some(a.http), Some(a.grpc), a.otlp_grpc, a.otlp_http]
    }

    fn want(list: [&str; 4]) -> [Option<String>; 4] {
        list.map(|text| (!text.is_empty()).then(|| text.to_owned()))
    }

    #[test]
    fn who_can_connect() {
        assert_eq!(
            addresses(None, &[]),
            want(["127.0.0.1:3200", "127.0.0.1:9095", "127.0.0.1:4317", "127.0.0.1:4318"])
        );
        assert_eq!(
            addresses(None, &["--listen", "0.0.0.0", "-server.http-listen-port=80"]),
            want(["0.0.0.0:80", "0.0.0.0:9095", "0.0.0.0:4317", "0.0.0.0:4318"])
        );
        assert_eq!(
            addresses(Some(""), &[]),
            want(["0.0.0.0:3200", "0.0.0.0:9095", "127.0.0.1:4317", "127.0.0.1:4318"])
        );
        let grpc = "distributor: {receivers: {otlp: {protocols: {grpc: }}}}";
        assert_eq!(addresses(Some(grpc), &[]), want(["0.0.0.0:3200", "0.0.0.0:9095", "127.0.0.1:4317", ""]));
        let http = "distributor: {receivers: {otlp: {protocols: {http: {endpoint: ':1'}}}}}";
        assert_eq!(
            addresses(Some(http), &["--listen=::1"]),
            want(["[::1]:3200", "[::1]:9095", "", "[::1]:1"])
        );
        let jaeger = "distributor: {receivers: {jaeger: }}\nserver: {http_listen_address: 10.0.0.1}";
        assert_eq!(addresses(Some(jaeger), &[]), want(["10.0.0.1:3200", "0.0.0.0:9095", "", ""]));
        let both = "distributor: {receivers: {jaeger: {protocols: {thrift_compact: , grpc: {endpoint: ':7'}}}, zipkin: }}";
        let all = "distributor: {receivers: {jaeger: , zipkin: {protocols: {http: {endpoint: '10.0.0.1'}}}}}";
        for (text, expected) in [
            (both, &["grpc 0.0.0.0:7", "thrift_compact 127.0.0.1:6831", "zipkin 127.0.0.1:9411"][..]),
            (
                all,
                &[
                    "grpc 127.0.0.1:14250",
                    "thrift_http 127.0.0.1:14268",
                    "thrift_compact 127.0.0.1:6831",
                    "thrift_binary 127.0.0.1:6832",
                    "http 10.0.0.1:9411",
                ],
            ),
        ] {
            let config = Config::from_yaml("f", text).unwrap();
            let foreign = config.resolve_addresses().foreign;
            let shown = |(receiver, address): &(ForeignReceiver, String)| {
                format!("{} {address}", receiver.key.rsplit('.').next().unwrap())
            };
            assert_eq!(foreign.iter().map(shown).collect::<Vec<_>>(), expected);
        }
        assert_eq!(dual_stack("0.0.0.0:80").as_deref(), Some("[::]:80"));
    }
}
