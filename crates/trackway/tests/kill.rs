//! Killed at random moments under load, again and again: nothing that was acknowledged is missing, nothing appears
//! twice, a request is there whole or not at all, and the server starts every time.
//!
//! `TRACKWAY_KILL_SEED` repeats a run, `TRACKWAY_KILL_ROUNDS` makes it longer or shorter.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, clippy::print_stderr)]

mod support;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::dice::Dice;
use support::requests::{
    SERVICES, SHARING, own_spans, own_trace, request, service, shared_span, shared_trace,
};
use support::{Ports, Server};
use trackway_golden::http;

const SENDERS: usize = 3;
/// Requests that one sender sends in a round at the most, so that the last check stays short.
const OF_A_SENDER: u64 = 25;

/// What is known of the requests that were sent.
#[derive(Default)]
struct Sent {
    next: AtomicU64,
    acknowledged: Mutex<HashSet<u64>>,
    /// Sent, and no answer came: they are sent again, byte for byte, as a sender does.
    open: Mutex<HashMap<u64, Vec<u8>>>,
    /// Sent, and given up without an answer.
    unknown: Mutex<HashSet<u64>>,
    failures: Mutex<Vec<String>>,
}

impl Sent {
    /// A request that waits for its second try, or a new one.
    fn take(&self) -> (u64, Vec<u8>) {
        let mut open = self.open.lock().unwrap();
        if let Some(number) = open.keys().next().copied()
            && let Some(body) = open.remove(&number)
        {
            return (number, body);
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        (number, request(number))
    }

    fn failed(&self, number: u64, body: Vec<u8>) {
        if number % 3 == 0 {
            self.unknown.lock().unwrap().insert(number);
        } else {
            self.open.lock().unwrap().insert(number, body);
        }
    }
}

fn push(otlp: &str, body: &[u8]) -> std::io::Result<u16> {
    let headers = [("content-type".to_owned(), "application/x-protobuf".to_owned())];
    http::request(otlp, "POST", "/v1/traces", &headers, Some(body)).map(|answer| answer.status)
}

fn send(otlp: &str, sent: &Sent, stop: &AtomicBool) {
    for _ in 0..OF_A_SENDER {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let (number, body) = sent.take();
        match push(otlp, &body) {
            Ok(200) => {
                sent.acknowledged.lock().unwrap().insert(number);
            }
            Ok(status) => sent.failures.lock().unwrap().push(format!("request {number}: {status}")),
            Err(_) => sent.failed(number, body),
        }
    }
}

/// Small limits, other ones in each round: segments and blocks are written all the time, or only the log.
fn settings(dice: &mut Dice) -> String {
    let head = dice.pick(&["64KB", "256KB", "2MB"]);
    let spans = dice.pick(&[300, 1000, 5000]);
    let age = dice.pick(&["200ms", "1s", "1h"]);
    format!(
        "trackway: {{head: {{max_bytes: {head}}}, block: {{max_spans: {spans}}}}}\n\
         live_store: {{max_block_duration: {age}, flush_check_period: 100ms}}\n\
         query_frontend: {{search: {{query_backend_after: 0s}}}}"
    )
}

/// Pushes from several senders and kills the server in the middle.
fn round(mut server: Server, sent: &Arc<Sent>, dice: &mut Dice) {
    let stop = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..SENDERS)
        .map(|_| {
            let (otlp, sent, stop) = (server.otlp_http.clone(), Arc::clone(sent), Arc::clone(&stop));
            std::thread::spawn(move || send(&otlp, &sent, &stop))
        })
        .collect();
    let at_work = Duration::from_millis(dice.below(400));
    let flush = dice.once_in(3).then(|| {
        let (api, before) = (server.api.clone(), Duration::from_millis(dice.below(300)));
        std::thread::spawn(move || {
            std::thread::sleep(before);
            // The server is killed while it answers.
            let _ = http::request(&api, "POST", "/flush", &[], None);
        })
    });
    std::thread::sleep(at_work); // the moment of the kill is what is random
    stop.store(true, Ordering::Relaxed);
    no_complaint(&mut server);
    server.kill();
    for thread in senders.into_iter().chain(flush) {
        thread.join().unwrap();
    }
    assert_eq!(*sent.failures.lock().unwrap(), Vec::<String>::new(), "refused");
}

/// A record that was cut short by the kill may be told of; nothing else.
fn no_complaint(server: &mut Server) {
    server.expect_warning("damaged records in the write-ahead log");
    server.check_log();
}

/// The requests that the server has, by their own traces, which must be whole. Asks several at once.
fn present(server: &Server, numbers: &[u64]) -> HashSet<u64> {
    let found = Mutex::new(HashSet::new());
    std::thread::scope(|scope| {
        for part in numbers.chunks(numbers.len().div_ceil(4).max(1)) {
            let found = &found;
            scope.spawn(move || {
                for number in part {
                    let Some(mut spans) = server.trace(own_trace(*number)) else { continue };
                    let mut wanted = own_spans(*number);
                    spans.sort_unstable();
                    wanted.sort_unstable();
                    assert_eq!(spans, wanted, "request {number}, trace {:032x}", own_trace(*number));
                    found.lock().unwrap().insert(*number);
                }
            });
        }
    });
    found.into_inner().unwrap()
}

fn sample(server: &Server, sent: &Sent, dice: &mut Dice) {
    let all: Vec<u64> = sent.acknowledged.lock().unwrap().iter().copied().collect();
    if all.is_empty() {
        return;
    }
    let mut numbers: Vec<u64> = (0..10).map(|_| *dice.pick(&all)).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let found = present(server, &numbers);
    numbers.retain(|number| !found.contains(number));
    assert!(numbers.is_empty(), "acknowledged, and missing after a restart: {numbers:?}");
}

/// Every trace by its id, and the counts that a search gives.
fn everything(server: &Server, sent: &Sent) {
    let numbers: Vec<u64> = (0..sent.next.load(Ordering::Relaxed)).collect();
    let found = present(server, &numbers);
    let acknowledged = sent.acknowledged.lock().unwrap();
    let mut missing: Vec<_> = acknowledged.difference(&found).collect();
    missing.sort_unstable();
    assert!(missing.is_empty(), "acknowledged, and missing at the end: {missing:?}");
    eprintln!("{} requests sent, {} acknowledged, {} found", numbers.len(), acknowledged.len(), found.len());

    for group in 0..numbers.len() as u64 / SHARING + 1 {
        let members = group * SHARING..(group + 1) * SHARING;
        let mut wanted: Vec<u64> =
            members.filter(|number| found.contains(number)).map(shared_span).collect();
        let mut spans = server.trace(shared_trace(group * SHARING)).unwrap_or_default();
        spans.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(spans, wanted, "the shared trace of group {group}");
    }
    counts(server, &found);
}

fn counts(server: &Server, found: &HashSet<u64>) {
    let mut wanted: BTreeMap<String, usize> = BTreeMap::new();
    for number in found {
        *wanted.entry(service(*number)).or_default() += own_spans(*number).len() + 1;
    }
    for name in (0..SERVICES).map(service) {
        let traces = server.search(&format!("{{ resource.service.name = \"{name}\" }}"));
        let matched = traces.iter().map(|trace| trace["spanSets"][0]["matched"].as_u64().unwrap() as usize);
        assert_eq!(matched.sum::<usize>(), wanted.get(&name).copied().unwrap_or(0), "spans of {name}");
    }
}

fn start(folder: &Path, dice: &mut Dice) -> Server {
    let more = settings(dice);
    // Killed in the middle of its start, once or more often.
    while dice.once_in(5) {
        let server = Server::spawn_on(folder, Ports::free(), &more);
        std::thread::sleep(Duration::from_millis(dice.below(250)));
        server.kill();
    }
    Server::start(folder, &more)
}

#[test]
fn killed_at_random_moments_it_loses_and_doubles_nothing() {
    let mut dice = Dice::printed("TRACKWAY_KILL_SEED");
    let rounds = std::env::var("TRACKWAY_KILL_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(50);
    let folder = tempfile::tempdir().unwrap();
    let sent = Arc::new(Sent::default());
    for _ in 0..rounds {
        let server = start(folder.path(), &mut dice);
        sample(&server, &sent, &mut dice);
        round(server, &sent, &mut dice);
    }
    // What was open is not sent again now: it may be there or not.
    let server = start(folder.path(), &mut dice);
    everything(&server, &sent);
    server.flush();
    everything(&server, &sent);
    let mut server = server;
    no_complaint(&mut server);
    server.stop();
}
