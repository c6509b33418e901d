//! A blocking HTTP/1.1 client, just large enough to ask one question over one connection, or one after the other.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

const CONNECT: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(60);
/// The largest body that is believed, so that a wrong length cannot take all memory.
const LARGEST: u64 = 1 << 30;

/// What the server said.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The headers in the order they came, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, with any chunking taken away (a content encoding stays).
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }
}

/// Sends one request to `addr` (`host:port`, with or without `http://`) and reads the whole answer; redirects are
/// not followed.
pub fn request(
    addr: &str,
    method: &str,
    path: &str,
    headers: &[(String, String)],
    body: Option<&[u8]>,
) -> io::Result<Response> {
    let host = host_of(addr);
    let mut stream = connect(host)?;
    let message = message(host, "close", (method, path), headers, body);
    // A server may answer and close before it has read everything: the answer counts, not the failed write.
    let sent = stream.write_all(&message).and_then(|()| stream.flush());
    match (read_response(&mut BufReader::new(stream), method), sent) {
        (Ok(response), _) => Ok(response),
        (Err(_), Err(sending)) => Err(sending),
        (Err(reading), Ok(())) => Err(reading),
    }
}

/// A connection for one request after the other.
#[derive(Debug)]
pub struct Connection {
    host: String,
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// To `addr` (`host:port`, with or without `http://`).
    pub fn open(addr: &str) -> io::Result<Self> {
        let host = host_of(addr).to_owned();
        Ok(Self { stream: BufReader::new(connect(&host)?), host })
    }

    /// As [`request`], and the connection stays for the next one.
    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(String, String)],
        body: Option<&[u8]>,
    ) -> io::Result<Response> {
        let message = message(&self.host, "keep-alive", (method, path), headers, body);
        self.stream.get_mut().write_all(&message)?;
        read_response(&mut self.stream, method)
    }
}

fn host_of(addr: &str) -> &str {
    addr.strip_prefix("http://").unwrap_or(addr).trim_end_matches('/')
}

fn message(
    host: &str,
    connection: &str,
    (method, path): (&str, &str),
    headers: &[(String, String)],
    body: Option<&[u8]>,
) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: {connection}\r\n");
    let given = |name: &str| headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
    if !given("accept-encoding") {
        head.push_str("Accept-Encoding: identity\r\n");
    }
    if (body.is_some() || matches!(method, "POST" | "PUT" | "PATCH")) && !given("content-length") {
        head.push_str(&format!("Content-Length: {}\r\n", body.map_or(0, <[u8]>::len)));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let mut message = head.into_bytes();
    message.extend_from_slice(body.unwrap_or_default());
    message
}

fn connect(host: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, format!("no address for {host}"));
    for address in host.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(stream) => {
                stream.set_read_timeout(Some(ANSWER))?;
                stream.set_write_timeout(Some(ANSWER))?;
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn read_response(from: &mut impl BufRead, method: &str) -> io::Result<Response> {
    loop {
        let status_line = line(from)?;
        let status = status_line
            .strip_prefix("HTTP/1.")
            .and_then(|rest| rest.split_whitespace().nth(1))
            .and_then(|code| code.parse::<u16>().ok())
            .ok_or_else(|| bad(&format!("not a status line: {status_line:?}")))?;
        let mut response = Response { status, headers: read_headers(from)?, body: Vec::new() };
        if (100..200).contains(&status) && status != 101 {
            continue; // an interim answer; the real one follows
        }
        if method != "HEAD" && status != 101 && status != 204 && status != 304 {
            response.body = read_body(from, &response)?;
        }
        return Ok(response);
    }
}

fn read_headers(from: &mut impl BufRead) -> io::Result<Vec<(String, String)>> {
    let mut headers = Vec::new();
    loop {
        let text = line(from)?;
        if text.is_empty() {
            return Ok(headers);
        }
        let (name, value) = text.split_once(':').ok_or_else(|| bad(&format!("not a header: {text:?}")))?;
        headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
    }
}

fn read_body(from: &mut impl BufRead, response: &Response) -> io::Result<Vec<u8>> {
    if response.header("transfer-encoding").is_some_and(|t| t.to_ascii_lowercase().contains("chunked")) {
        return read_chunks(from);
    }
    let mut body = Vec::new();
    match response.header("content-length") {
        Some(text) => {
            let length: u64 = text.parse().map_err(|_| bad(&format!("not a content-length: {text:?}")))?;
            take(from, length, &mut body)?;
        }
        None => {
            from.take(LARGEST).read_to_end(&mut body)?;
        }
    }
    Ok(body)
}

fn read_chunks(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let text = line(from)?;
        let size = text.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16).map_err(|_| bad(&format!("not a chunk size: {text:?}")))?;
        if size == 0 {
            read_headers(from)?; // the trailers
            return Ok(body);
        }
        take(from, size, &mut body)?;
        if !line(from)?.is_empty() {
            return Err(bad("a chunk is longer than its size"));
        }
    }
}

fn take(from: &mut impl BufRead, length: u64, into: &mut Vec<u8>) -> io::Result<()> {
    if length > LARGEST {
        return Err(bad(&format!("a body part of {length} bytes")));
    }
    let got = from.take(length).read_to_end(into)?;
    if got as u64 == length {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("{got} bytes of {length}")))
    }
}

/// One line without its end; an error when the connection ends before it does.
fn line(from: &mut impl BufRead) -> io::Result<String> {
    let mut text = String::new();
    from.take(64 << 10).read_line(&mut text)?;
    match text.strip_suffix('\n') {
        Some(whole) => Ok(whole.strip_suffix('\r').unwrap_or(whole).to_owned()),
        None => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the answer ends inside its head")),
    }
}

fn bad(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> io::Result<Response> {
        read_response(&mut text.as_bytes(), "GET")
    }

    #[test]
    fn body_by_length_chunks_or_end_of_connection() {
        let sized = read("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef").unwrap();
        assert_eq!((sized.status, sized.body.as_slice()), (200, b"abc".as_slice()));
        let chunked = "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\nX-A:  b\r\n\r\n\
                       3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\nTrailer: t\r\n\r\n";
        let chunked = read(chunked).unwrap();
        assert_eq!((chunked.status, chunked.body.as_slice()), (404, b"abcde".as_slice()));
        assert_eq!(chunked.header("x-a"), Some("b"));
        assert_eq!(read("HTTP/1.0 202 Accepted\n\nrest").unwrap().body, b"rest");
    }

    #[test]
    fn interim_and_empty_answers() {
        let after = read("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n").unwrap();
        assert_eq!((after.status, after.body.len()), (204, 0));
    }

    #[test]
    fn broken_answers_are_errors() {
        for text in [
            "",
            "hello\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        ] {
            assert!(read(text).is_err(), "{text:?}");
        }
    }
}
