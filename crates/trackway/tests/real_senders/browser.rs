//! A page in a real browser, which asks before it sends.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use trackway_peers::{Peer, chromium};

use super::support::spans::{Span, of_trace};
use super::support::{Ports, Server, config, skipped};
use super::{MULTITENANT, TENANT, assert_found, programs};

/// How long a page may take to say something.
const PATIENCE: Duration = Duration::from_secs(60);
/// Starts without asking anybody on the network for anything.
const QUIET: [&str; 9] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// Serves the pages of a folder; its port, and what the pages said.
fn pages(folder: PathBuf) -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (send, said) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (folder, send) = (folder.clone(), send.clone());
            std::thread::spawn(move || serve(stream, &folder, &send));
        }
    });
    (port, said)
}

/// Answers one request: a page, its script, or what a page has to say.
fn serve(stream: TcpStream, folder: &Path, said: &Sender<String>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first).ok()?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        match line.to_lowercase().trim().split_once(':') {
            Some(("content-length", value)) => length = value.trim().parse().ok()?,
            Some(_) => {}
            None => break,
        }
    }
    let path = first.split([' ', '?']).nth(1)?;
    let (status, kind, body) = match path {
        "/page.html" => ("200 OK", "text/html", std::fs::read(folder.join("page.html")).ok()?),
        "/page.js" => ("200 OK", "text/javascript", std::fs::read(folder.join("page.js")).ok()?),
        "/said" => {
            let mut body = vec![0; length];
            reader.read_exact(&mut body).ok()?;
            said.send(String::from_utf8_lossy(&body).into_owned()).ok()?;
            ("200 OK", "text/plain", Vec::new())
        }
        _ => ("404 Not Found", "text/plain", Vec::new()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let mut stream = stream;
    stream.write_all(&[head.into_bytes(), body].concat()).ok()
}

/// Starts a server that pages from `http://127.0.0.1` may send to.
fn start(folder: &Path, more: &str) -> Server {
    let ports = Ports::free();
    let endpoint = format!("'127.0.0.1:{}'", ports.otlp_http);
    let cors = "cors: {allowed_origins: ['http://127.0.0.1:*'], allowed_headers: [X-Scope-OrgID]}";
    let text = config(folder, ports, more).replace(&endpoint, &format!("{endpoint}, {cors}"));
    let file = folder.join("tempo.yaml");
    std::fs::write(&file, text).unwrap();
    let mut server = Server::spawn_file(folder, &file, ports);
    server.until_ready();
    server
}

/// What a page said, in a browser that still shows it: a beacon goes on its way after the page has said that it sent it.
struct Visit {
    trace: String,
    what: String,
    _browser: Peer,
}

/// Sends a browser to a page, and waits for what that says.
fn visit(browser: &Path, said: &Receiver<String>, url: &str) -> Visit {
    let browser = Peer::start(|folder| {
        let mut command = Command::new(browser);
        command.args(QUIET).arg(format!("--user-data-dir={}", folder.display())).arg(url);
        command
    })
    .unwrap();
    let said = said.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("{url}: {error}"));
    let (trace, what) = said.split_once(' ').unwrap();
    Visit { trace: trace.to_owned(), what: what.to_owned(), _browser: browser }
}

fn assert_clicked(spans: &[Span]) {
    assert_eq!(spans.len(), 1, "{spans:?}");
    let span = &spans[0];
    assert_eq!((span.service(), &*span.name, &*span.kind), ("browser-shop", "click", "CLIENT"));
    assert_eq!(
        (&span.resource["browser.page"], &span.attributes["click.x"]),
        (&"/page.html".into(), &12.into())
    );
}

#[test]
fn a_page_of_another_origin_sends_if_it_may() {
    const TEST: &str = "browser::a_page_of_another_origin_sends_if_it_may";
    let browser = match chromium() {
        Ok(browser) => browser,
        Err(why) => return skipped(&format!("real_senders::{TEST}"), &why),
    };
    let Some(folder) = programs(TEST, "js") else { return };
    let (port, said) = pages(folder);
    for tenant in [None, Some(TENANT)] {
        let data = tempfile::tempdir().unwrap();
        let mut server = start(data.path(), tenant.map_or("", |_| MULTITENANT));
        server.expect_warning("origin http://localhost:");
        let page = |host: &str, with: &str| {
            let tenant = tenant.map(|tenant| format!("&tenant={tenant}")).unwrap_or_default();
            let url = format!("http://{host}:{port}/page.html?to={}&with={with}{tenant}", server.otlp_http);
            visit(&browser, &said, &url)
        };
        let taken = page("127.0.0.1", "fetch");
        assert_eq!(taken.what, "taken");
        assert_clicked(&of_trace(&server, tenant, &taken.trace));
        let query = "{ resource.service.name = \"browser-shop\" && span.click.x = 12 }";
        assert_found(&server, tenant, &BTreeSet::from([taken.trace]), &[query]);

        let refused = page("localhost", "fetch");
        assert!(refused.what.starts_with("refused"), "{}", refused.what);
        assert_eq!(of_trace(&server, tenant, &refused.trace), []);

        // A beacon cannot carry a tenant's header.
        if tenant.is_none() {
            let beacon = page("127.0.0.1", "beacon");
            assert_eq!(beacon.what, "queued");
            server.wait("what the beacon carried", |server| {
                !of_trace(server, tenant, &beacon.trace).is_empty()
            });
            assert_clicked(&of_trace(&server, tenant, &beacon.trace));
        }
        server.stop();
    }
}
