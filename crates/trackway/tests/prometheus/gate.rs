//! Stands between a sender and Prometheus: lets requests through, refuses them, or keeps the answer back.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use trackway_golden::http;

/// What becomes of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// They go on, and the answer comes back.
    Open,
    /// They are refused with this status.
    Refuse(u16),
    /// They go on, and nobody hears of it: the connection ends.
    Mute,
}

#[derive(Debug)]
struct State {
    way: Way,
    /// Requests by the way they took.
    taken: Vec<Way>,
    target: String,
}

/// The gate.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    pub(crate) address: String,
    state: Arc<Mutex<State>>,
}

impl Gate {
    /// In front of a server by its host and port.
    pub(crate) fn before(target: &str, way: Way) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = State { way, taken: Vec::new(), target: target.to_owned() };
        let gate = Self { address, state: Arc::new(Mutex::new(state)) };
        let own = gate.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let gate = own.clone();
                std::thread::spawn(move || while gate.pass(&stream).is_some() {});
            }
        });
        gate
    }

    /// Where remote write goes.
    pub(crate) fn write_url(&self) -> String {
        format!("http://{}/api/v1/write", self.address)
    }

    /// What becomes of requests from now on.
    pub(crate) fn set(&self, way: Way) {
        self.state.lock().unwrap().way = way;
    }

    /// How many requests went this way.
    pub(crate) fn taken(&self, way: Way) -> usize {
        self.state.lock().unwrap().taken.iter().filter(|taken| **taken == way).count()
    }

    /// Deals with one request; `None` when the connection is over.
    fn pass(&self, stream: &TcpStream) -> Option<()> {
        let (path, headers, body) = request(stream)?;
        // Held until it is answered: when the way changes, nothing is under way by the old one.
        let mut state = self.state.lock().unwrap();
        let way = state.way;
        state.taken.push(way);
        let go_on = || http::request(&state.target, "POST", &path, &headers, Some(&body));
        let (status, text) = match way {
            Way::Refuse(status) => (status, "not now".to_owned()),
            Way::Open | Way::Mute => match go_on() {
                Ok(answer) => (answer.status, String::from_utf8_lossy(&answer.body).into_owned()),
                Err(_) => (502, String::new()),
            },
        };
        if way == Way::Mute {
            return None;
        }
        let mut out = stream;
        let length = text.len();
        write!(out, "HTTP/1.1 {status} -\r\ncontent-length: {length}\r\n\r\n{text}").ok()
    }
}

type Headers = Vec<(String, String)>;

/// Path, headers and body of a request, as clients of HTTP/1.1 write it that know how long it is.
fn request(stream: &TcpStream) -> Option<(String, Headers, Vec<u8>)> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = Vec::new();
    let mut length = 0;
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().ok()?,
            "host" | "connection" => {}
            _ => headers.push((name.to_owned(), value.to_owned())),
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((path, headers, body))
}
