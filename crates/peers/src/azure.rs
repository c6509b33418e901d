//! The one request to Azurite that the store under test does not make: a new container, signed with the account's key.

use std::io::{Read, Write};
use std::net::TcpStream;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

const VERSION: &str = "2021-12-02";

pub(crate) fn create_container(endpoint: &str, account: &str, key: &str, name: &str) {
    let date = jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let headers = format!("x-ms-date:{date}\nx-ms-version:{VERSION}");
    let resource = format!("/{account}/{account}/{name}\nrestype:container");
    // Eleven headers that are not sent.
    let signed = format!("PUT{}{headers}\n{resource}", "\n".repeat(12));
    let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(key).expect("base64"));
    let signature = STANDARD.encode(hmac::sign(&key, signed.as_bytes()));
    let request = format!(
        "PUT /{account}/{name}?restype=container HTTP/1.1\r\nhost: {endpoint}\r\ncontent-length: 0\r\n\
         connection: close\r\nx-ms-date: {date}\r\nx-ms-version: {VERSION}\r\n\
         authorization: SharedKey {account}:{signature}\r\n\r\n"
    );
    let mut socket = TcpStream::connect(endpoint).expect("Azurite listens");
    socket.write_all(request.as_bytes()).expect("a request");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
}
