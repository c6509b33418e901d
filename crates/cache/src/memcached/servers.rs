//! Which memcached servers there are: SRV records of a host and a service, or a list of addresses of which some are
//! looked up, in the notation of dskit and Thanos.
//!
//! What must stay true: a name that cannot be looked up takes nothing away that was known before.

use std::collections::HashMap;

use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::RData;

/// Servers that are kept of what names resolve to.
const SERVERS_MAX: usize = 1024;
/// The port of an address that has none.
const PORT_DEFAULT: u16 = 11211;

/// A name that stands for servers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// `host:port`, or the path of a socket; used as it stands.
    Fixed(String),
    /// `dns+host:port`: each address of the host.
    Dns(String, u16),
    /// `dnssrv+name`: each address of each host that the SRV record names; the flag leaves the hosts as they are
    /// (`dnssrvnoa+name`).
    Srv(String, bool),
}

/// What the settings name.
pub(super) fn sources(host: &str, service: &str, addresses: &str) -> Result<Vec<Source>, String> {
    let listed = addresses.split(',').map(str::trim).filter(|address| !address.is_empty());
    let listed: Vec<Source> = listed.map(source).collect::<Result<_, _>>()?;
    match (listed.is_empty(), host) {
        (false, _) => Ok(listed),
        (true, "") => Err("names no server; set host and service, or addresses".to_owned()),
        (true, host) => {
            let service = if service.is_empty() { "memcached" } else { service };
            Ok(vec![Source::Srv(format!("_{service}._tcp.{host}"), true)])
        }
    }
}

fn source(address: &str) -> Result<Source, String> {
    let not_known =
        || format!("has \"{address}\"; use host:port, dns+host:port, dnssrv+name or dnssrvnoa+name");
    match address.split_once('+') {
        Some(("dnssrv", name)) if !name.is_empty() => Ok(Source::Srv(name.to_owned(), false)),
        Some(("dnssrvnoa", name)) if !name.is_empty() => Ok(Source::Srv(name.to_owned(), true)),
        Some(("dns", name)) => {
            let (host, port) = name.rsplit_once(':').ok_or_else(not_known)?;
            Ok(Source::Dns(host.to_owned(), port.parse().map_err(|_| not_known())?))
        }
        Some(_) => Err(not_known()),
        None if address.contains('/') || address.contains(':') => Ok(Source::Fixed(address.to_owned())),
        None => Ok(Source::Fixed(format!("{address}:{PORT_DEFAULT}"))),
    }
}

/// Looks names up.
#[derive(Debug)]
pub(super) struct Discovery {
    sources: Vec<Source>,
    resolver: Option<TokioResolver>,
    known: HashMap<Source, Vec<String>>,
}

impl Discovery {
    /// Looks `sources` up with `resolver`, or with the system's settings.
    pub(super) fn new(sources: Vec<Source>, resolver: Option<TokioResolver>) -> Self {
        Self { sources, resolver, known: HashMap::new() }
    }

    /// The servers that are known now, and what went wrong.
    pub(super) async fn look(&mut self) -> (Vec<String>, Vec<String>) {
        let mut problems = Vec::new();
        for source in self.sources.clone() {
            let found = match &source {
                Source::Fixed(address) => Ok(vec![address.clone()]),
                Source::Dns(host, port) => addresses(host, *port).await,
                Source::Srv(name, bare) => self.srv(name, *bare).await,
            };
            match found {
                Ok(servers) if servers.is_empty() => problems.push(format!("{source:?} has no servers")),
                Ok(servers) => {
                    self.known.insert(source, servers);
                }
                Err(problem) => problems.push(problem),
            }
        }
        let known = self.sources.iter().filter_map(|source| self.known.get(source));
        let mut servers: Vec<String> = known.flatten().take(SERVERS_MAX).cloned().collect();
        servers.sort_unstable();
        servers.dedup();
        (servers, problems)
    }

    async fn srv(&mut self, name: &str, bare: bool) -> Result<Vec<String>, String> {
        if self.resolver.is_none() {
            let built = TokioResolver::builder_tokio().and_then(|builder| builder.build());
            self.resolver = Some(built.map_err(|error| format!("the resolver's settings: {error}"))?);
        }
        let Some(resolver) = &self.resolver else { return Ok(Vec::new()) };
        let found = resolver.srv_lookup(name).await.map_err(|error| format!("SRV of {name}: {error}"))?;
        let mut servers = Vec::new();
        for record in found.answers() {
            let RData::SRV(srv) = &record.data else { continue };
            if bare {
                // With the dot at the end, as in Tempo: the order of servers decides where keys lie.
                servers.push(format!("{}:{}", srv.target, srv.port));
            } else {
                let host = srv.target.to_string();
                servers.extend(addresses(host.trim_end_matches('.'), srv.port).await?);
            }
        }
        Ok(servers)
    }
}

/// The addresses of a host, by the system's resolver.
async fn addresses(host: &str, port: u16) -> Result<Vec<String>, String> {
    let found = tokio::net::lookup_host((host, port)).await.map_err(|error| format!("{host}: {error}"))?;
    let mut servers: Vec<String> = found.map(|address| address.to_string()).collect();
    servers.sort_unstable();
    servers.dedup();
    Ok(servers)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
    use hickory_resolver::net::runtime::TokioRuntimeProvider;
    use tokio::net::UdpSocket;

    use super::*;

    #[test]
    fn settings_name_servers_as_in_tempo() {
        let fixed = |name: &str| Source::Fixed(name.to_owned());
        let srv = |name: &str, bare| Source::Srv(name.to_owned(), bare);
        for (host, service, addresses, expected) in [
            (
                "tempo-memcached",
                "memcached-client",
                "",
                vec![srv("_memcached-client._tcp.tempo-memcached", true)],
            ),
            ("m", "", "", vec![srv("_memcached._tcp.m", true)]),
            ("m", "s", "a:1, b,/run/m.sock", vec![fixed("a:1"), fixed("b:11211"), fixed("/run/m.sock")]),
            ("", "", "dns+m:11", vec![Source::Dns("m".to_owned(), 11)]),
            ("", "", "dnssrv+_x._tcp.m,dnssrvnoa+y", vec![srv("_x._tcp.m", false), srv("y", true)]),
        ] {
            assert_eq!(sources(host, service, addresses), Ok(expected));
        }
        for (host, addresses) in
            [("", ""), ("", "dns+m"), ("", "dns+m:port"), ("", "mdns+m:1"), ("", "dnssrv+")]
        {
            assert!(sources(host, "", addresses).is_err(), "{host} {addresses}");
        }
    }

    /// A name server that knows two servers for every SRV question, until it is told to know nothing.
    async fn name_server() -> (u16, tokio::sync::watch::Sender<bool>) {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = socket.local_addr().unwrap().port();
        let (sender, knows) = tokio::sync::watch::channel(true);
        tokio::spawn(async move {
            let mut buffer = [0u8; 512];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                let knows = *knows.borrow();
                let name_end = 12 + buffer[12..length].iter().position(|byte| *byte == 0).unwrap() + 1;
                let mut reply = buffer[..2].to_vec();
                let (answers, code) = if knows { (2, 0x80) } else { (0, 0x83) };
                reply.extend_from_slice(&[0x85, code, 0, 1, 0, answers, 0, 0, 0, 0]);
                reply.extend_from_slice(&buffer[12..name_end + 4]);
                for number in 0..answers {
                    reply.extend_from_slice(&[0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 0, 0, 11]);
                    reply.extend_from_slice(&[0, 0, 0, 0, 0x2b, 0xcb, 3, b'm', b'-', b'1' + number, 0]);
                }
                socket.send_to(&reply, from).await.unwrap();
            }
        });
        (port, sender)
    }

    #[tokio::test]
    async fn srv_records_name_servers_and_a_failure_forgets_none() {
        let (port, knows) = name_server().await;
        let mut connection = ConnectionConfig::udp();
        connection.port = port;
        let server = NameServerConfig::new(Ipv4Addr::LOCALHOST.into(), true, vec![connection]);
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        builder.options_mut().cache_size = 0;
        let mut discovery =
            Discovery::new(sources("m.", "memcached-client", "").unwrap(), Some(builder.build().unwrap()));
        let expected = vec!["m-1.:11211".to_owned(), "m-2.:11211".to_owned()];
        assert_eq!(discovery.look().await, (expected.clone(), Vec::new()));
        knows.send(false).unwrap();
        let (servers, problems) = discovery.look().await;
        assert_eq!((servers, problems.len()), (expected, 1), "{problems:?}");
    }

    #[tokio::test]
    async fn a_host_is_looked_up_by_the_system() {
        let mut discovery = Discovery::new(sources("", "", "dns+localhost:1,[::1]:2").unwrap(), None);
        let (servers, problems) = discovery.look().await;
        assert!(servers.contains(&"127.0.0.1:1".to_owned()) && servers.contains(&"[::1]:2".to_owned()));
        assert_eq!(problems, Vec::<String>::new());
    }
}
