//! Killed at random moments under load, again and again: nothing that was acknowledged is missing, nothing appears
//! twice, a request is there whole or not at all, and the server starts every time.
//!
//! `TRACKWAY_KILL_SEED` repeats a run, `TRACKWAY_KILL_ROUNDS` makes it longer or shorter.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr
)]

mod support;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use support::dice::Dice;
use support::requests::{
    SERVICES, SHARING, own_spans, own_trace, request, service, shared_span, shared_trace,
};
use support::{Ports, Server};
use trackway_golden::http;

const SENDERS: usize = 3;
/// Requests that one sender sends in a round at the most, so that the checks stay short.
const OF_A_SENDER: u64 = 40;
/// Traces looked up by their ids after each restart, and at the end; a search looks at all of them.
const SAMPLE: usize = 5;
const BY_ID: usize = 200;

/// What is known of the requests that were sent.
#[derive(Default)]
struct Sent {
    next: AtomicU64,
    acknowledged: Mutex<HashSet<u64>>,
    /// Whether what was not answered is sent again, byte for byte, as a sender does.
    again: bool,
    /// Sent, and no answer came.
    open: Mutex<HashMap<u64, Vec<u8>>>,
    failures: Mutex<Vec<String>>,
    round: AtomicU64,
    /// What happened in which round to requests that were not acknowledged at once.
    history: Mutex<HashMap<u64, Vec<String>>>,
}

impl Sent {
    /// A request that waits for its second try, or a new one.
    fn take(&self) -> (u64, Vec<u8>) {
        let mut open = self.open.lock().unwrap();
        if let Some(number) = open.keys().next().copied()
            && let Some(body) = open.remove(&number)
        {
            self.note(number, "sent again");
            return (number, body);
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        (number, request(number))
    }

    fn note(&self, number: u64, what: &str) {
        let round = self.round.load(Ordering::Relaxed);
        self.history.lock().unwrap().entry(number).or_default().push(format!("round {round}: {what}"));
    }

    fn history(&self, number: u64) -> String {
        self.history
            .lock()
            .unwrap()
            .get(&number)
            .map_or("acknowledged at once".to_owned(), |all| all.join(", "))
    }

    fn failed(&self, number: u64, body: Vec<u8>) {
        self.note(number, "no answer");
        if self.again {
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

/// Small limits, other ones in each round: blocks are written all the time, or segments, or only the log.
fn settings(dice: &mut Dice) -> String {
    let head = dice.pick(&["1MiB", "1MiB", "2MiB"]);
    let (spans, age) = dice.pick(&[(300, "200ms"), (1000, "1s"), (100_000, "1h"), (100_000, "1h")]);
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
    let flush = dice.once_in(3).then(|| {
        let (api, before) = (server.api.clone(), Duration::from_millis(dice.below(150)));
        std::thread::spawn(move || {
            std::thread::sleep(before);
            // The server is killed while it answers.
            let _ = http::request(&api, "POST", "/flush", &[], None);
        })
    });
    until_the_moment(sent, dice);
    stop.store(true, Ordering::Relaxed);
    no_complaint(&mut server);
    server.kill();
    for thread in senders.into_iter().chain(flush) {
        thread.join().unwrap();
    }
    assert_eq!(*sent.failures.lock().unwrap(), Vec::<String>::new(), "refused");
}

/// The moment of the kill: after so many answers, or so much time.
fn until_the_moment(sent: &Sent, dice: &mut Dice) {
    let started = Instant::now();
    let before = sent.acknowledged.lock().unwrap().len();
    let answers = dice.below(SENDERS as u64 * OF_A_SENDER) as usize;
    let time = Duration::from_millis(dice.below(400));
    let by_time = dice.once_in(3);
    while started.elapsed() < time {
        let answered = sent.acknowledged.lock().unwrap().len() - before;
        if !by_time && answered >= answers {
            break;
        }
        std::thread::yield_now();
    }
}

/// A record that was cut short by the kill may be told of; nothing else.
fn no_complaint(server: &mut Server) {
    server.expect_warning("damaged records in the write-ahead log");
    server.check_log();
}

/// Some requests by their traces' ids: those that are there, which must be whole.
fn present(server: &Server, numbers: &[u64]) -> HashSet<u64> {
    let whole = |number: &u64| match server.trace(own_trace(*number)) {
        None => false,
        Some(spans) => {
            assert_eq!(spans, own_spans(*number), "request {number}, trace {:032x}", own_trace(*number));
            true
        }
    };
    numbers.iter().copied().filter(whole).collect()
}

fn sample(server: &Server, sent: &Sent, dice: &mut Dice) {
    let all: Vec<u64> = sent.acknowledged.lock().unwrap().iter().copied().collect();
    if all.is_empty() {
        return;
    }
    let mut numbers: Vec<u64> = (0..SAMPLE).map(|_| *dice.pick(&all)).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let found = present(server, &numbers);
    numbers.retain(|number| !found.contains(number));
    assert!(numbers.is_empty(), "acknowledged, and missing after a restart: {numbers:?}");
}

/// Every span that was ever sent: a search for all of them, the counts of others, and some traces by their ids.
fn everything(server: &Server, sent: &Sent, dice: &mut Dice) {
    let numbers: Vec<u64> = (0..sent.next.load(Ordering::Relaxed)).collect();
    let mut all = server.all_traces();
    let mut found = HashSet::new();
    for number in &numbers {
        if let Some(spans) = all.remove(&own_trace(*number)) {
            let what = format!("request {number}, trace {:032x}", own_trace(*number));
            assert_eq!(spans, own_spans(*number), "{what}: {}", sent.history(*number));
            found.insert(*number);
        }
    }
    for group in 0..numbers.len() as u64 / SHARING + 1 {
        let members = group * SHARING..(group + 1) * SHARING;
        let mut wanted: Vec<u64> = members.filter(|number| found.contains(number)).map(shared_span).collect();
        wanted.sort_unstable();
        let trace = shared_trace(group * SHARING);
        assert_eq!(all.remove(&trace).unwrap_or_default(), wanted, "the shared trace of group {group}");
        if dice.once_in(8) {
            assert_eq!(server.trace(trace).unwrap_or_default(), wanted, "group {group} by its id");
        }
    }
    assert!(all.is_empty(), "never sent, and found: {all:?}");
    let acknowledged = sent.acknowledged.lock().unwrap();
    let mut missing: Vec<_> = acknowledged.difference(&found).collect();
    missing.sort_unstable();
    assert!(missing.is_empty(), "acknowledged, and missing at the end: {missing:?}");
    eprintln!("{} requests sent, {} acknowledged, {} found", numbers.len(), acknowledged.len(), found.len());

    let some: Vec<u64> = (0..BY_ID.min(numbers.len())).map(|_| *dice.pick(&numbers)).collect();
    let by_id = present(server, &some);
    assert!(some.iter().all(|number| by_id.contains(number) == found.contains(number)), "by id");
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

/// How many files of the log, segments and blocks there are.
fn left_over(folder: &Path) -> [usize; 3] {
    ["wal/log", "wal/segments", "blocks/single-tenant"].map(|part| {
        std::fs::read_dir(folder.join(part)).map_or(0, |entries| {
            let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
            let of_ours =
                |name: &String| name.starts_with("wal-") || name.ends_with(".segment") || name.len() == 36;
            names.filter(of_ours).count()
        })
    })
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

fn killed(rounds: u64, again: bool) {
    let mut dice = Dice::printed("TRACKWAY_KILL_SEED");
    let rounds =
        std::env::var("TRACKWAY_KILL_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(rounds);
    let folder = tempfile::tempdir().unwrap();
    let sent = Arc::new(Sent { again, ..Sent::default() });
    let mut seen = [0; 3];
    for number in 0..rounds {
        sent.round.store(number, Ordering::Relaxed);
        let server = start(folder.path(), &mut dice);
        sample(&server, &sent, &mut dice);
        round(server, &sent, &mut dice);
        let now = left_over(folder.path());
        seen = std::array::from_fn(|at| seen[at].max(now[at]));
    }
    eprintln!("files seen after a kill, at the most: {seen:?} (log, segments, blocks)");
    assert!(rounds < 50 || seen.iter().all(|count| *count > 0), "the limits are too large: {seen:?}");
    // What is open is not sent again now: it may be there or not.
    let mut server = start(folder.path(), &mut dice);
    everything(&server, &sent, &mut dice);
    server.flush();
    everything(&server, &sent, &mut dice);
    no_complaint(&mut server);
    server.stop();
}

#[test]
fn killed_at_random_moments_it_loses_and_doubles_nothing() {
    killed(50, false);
}

#[test]
fn what_is_sent_again_after_a_kill_is_there_once() {
    killed(25, true);
}

/// The answer was lost with the process, the spans were not: they are in a block, and the log has let them go.
#[test]
fn what_is_sent_again_after_it_went_to_a_block_is_there_once() {
    let folder = tempfile::tempdir().unwrap();
    let body = request(1);
    let server = Server::start(folder.path(), "");
    assert_eq!(push(&server.otlp_http, &body).unwrap(), 200);
    server.flush();
    server.kill();
    let server = Server::start(folder.path(), "");
    assert_eq!(push(&server.otlp_http, &body).unwrap(), 200);
    assert_eq!(server.trace(own_trace(1)), Some(own_spans(1)));
    assert_eq!(server.all_traces().remove(&own_trace(1)), Some(own_spans(1)));
    server.stop();
}
