//! Random OTLP requests with everything in them that a block can hold, and the shapes that writers get wrong.

use trackway_spans::wire::{put_bytes, put_bytes_unless_empty, put_fixed64, put_message, put_number};

/// Numbers from a seed.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len() as u64) as usize]
    }
}

const KEYS: [&str; 20] = [
    "http.method",
    "http.url",
    "http.status_code",
    "http.request.method",
    "url.path",
    "service.name",
    "pod",
    "k8s.pod.name",
    "cluster",
    "a",
    "b",
    "c",
    "long",
    "tags",
    "nested",
    "ratio",
    "ok",
    "empty",
    "ip",
    "region",
];
const TEXTS: [&str; 8] = ["", "GET", "/cart", "eu-west-1", "한국어", "x", "error: timeout", "0"];

/// Requests with about so many spans each.
pub(crate) fn requests(seed: u64, count: usize, spans: u64, traces: u64) -> Vec<Vec<u8>> {
    let mut dice = Dice(seed);
    (0..count).map(|_| request(&mut dice, spans, traces)).collect()
}

fn request(dice: &mut Dice, spans: u64, traces: u64) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..dice.below(4) + 1 {
        put_message(&mut out, 1, |out| {
            put_message(out, 1, |out| resource(dice, out));
            for _ in 0..dice.below(2) + 1 {
                put_message(out, 2, |out| {
                    put_message(out, 1, |out| scope(dice, out));
                    for _ in 0..dice.below(spans) {
                        put_message(out, 2, |out| span(dice, out, traces));
                    }
                });
            }
        });
    }
    out
}

fn resource(dice: &mut Dice, out: &mut Vec<u8>) {
    // Few different ones, so that the same come from several requests.
    let mut few = Dice(dice.below(5));
    if few.below(4) > 0 {
        put_message(out, 1, |out| {
            put_bytes(out, 1, b"service.name");
            put_message(out, 2, |out| put_bytes(out, 1, few.pick(&["cart", "checkout", "web"]).as_bytes()));
        });
    }
    attributes(&mut few, out, 1, 6);
    if few.one_in(3) {
        put_number(out, 2, few.below(9));
    }
}

fn scope(dice: &mut Dice, out: &mut Vec<u8>) {
    let mut few = Dice(dice.below(4) + 77);
    put_bytes_unless_empty(out, 1, few.pick(&TEXTS).as_bytes());
    put_bytes_unless_empty(out, 2, few.pick(&["", "1.0"]).as_bytes());
    attributes(&mut few, out, 3, 3);
    if few.one_in(3) {
        put_number(out, 4, few.below(9));
    }
}

fn span(dice: &mut Dice, out: &mut Vec<u8>, traces: u64) {
    let trace = Dice(dice.below(traces)).next();
    let mut id = [0; 16];
    if !trace.is_multiple_of(3) {
        id[..8].copy_from_slice(&trace.to_be_bytes());
    }
    id[8..].copy_from_slice(&(trace ^ 0x5555).to_be_bytes());
    put_bytes(out, 1, &id);
    // Ids from a small range: parents that exist, parents that do not, and spans that share an id.
    put_bytes(out, 2, &(dice.below(300) + 1).to_be_bytes());
    put_bytes_unless_empty(out, 3, dice.pick(&["", "", "", "k=v"]).as_bytes());
    if !dice.one_in(5) {
        put_bytes(out, 4, &(dice.below(300) + 1).to_be_bytes());
    }
    put_bytes_unless_empty(out, 5, dice.pick(&["", "GET /", "query", "publish"]).as_bytes());
    put_number(out, 6, dice.below(6));
    let start = if dice.one_in(40) { dice.next() } else { 1_700_000_000_000_000_000 + dice.below(1 << 40) };
    put_fixed64(out, 7, start);
    let end = if dice.one_in(40) { dice.next() } else { start.wrapping_add(dice.below(1 << 30)) };
    put_fixed64(out, 8, end);
    attributes(dice, out, 9, 8);
    for (number, field) in [(10, 9), (12, 2), (14, 2)] {
        if dice.one_in(10) {
            put_number(out, number, dice.below(field));
        }
    }
    for _ in 0..dice.below(8).saturating_sub(5) {
        put_message(out, 11, |out| {
            put_fixed64(out, 1, start.wrapping_add(dice.below(1000)).wrapping_sub(500));
            put_bytes_unless_empty(out, 2, dice.pick(&["", "exception", "retry"]).as_bytes());
            attributes(dice, out, 3, 4);
        });
    }
    for _ in 0..dice.below(8).saturating_sub(6) {
        put_message(out, 13, |out| {
            let length = if dice.one_in(3) { dice.below(20) } else { 16 } as usize;
            let bytes: Vec<u8> = (0..length).map(|_| dice.next() as u8).collect();
            put_bytes_unless_empty(out, 1, &bytes);
            put_bytes(out, 2, &dice.next().to_be_bytes());
            attributes(dice, out, 4, 3);
            put_number(out, 5, dice.below(2));
        });
    }
    put_message(out, 15, |out| {
        put_bytes_unless_empty(out, 2, dice.pick(&["", "", "boom"]).as_bytes());
        put_number(out, 3, dice.below(3));
    });
}

fn attributes(dice: &mut Dice, out: &mut Vec<u8>, number: u32, most: u64) {
    for _ in 0..dice.below(most + 1) {
        put_message(out, number, |out| {
            // `service.name` is a resource's affair, where of two the last counts, as in the batch itself.
            let key = dice.pick(&KEYS);
            put_bytes(out, 1, if key == "service.name" { "service" } else { key }.as_bytes());
            put_message(out, 2, |out| value(dice, out, 0));
        });
    }
}

fn value(dice: &mut Dice, out: &mut Vec<u8>, depth: u32) {
    match dice.below(if depth > 2 { 5 } else { 12 }) {
        0..=2 => {
            let unique = format!("value-{}", dice.below(1000));
            let long = "y".repeat(700);
            let texts = [dice.pick(&TEXTS), &unique, &long];
            put_bytes(out, 1, texts[dice.below(12).min(2).min(dice.below(3)) as usize].as_bytes());
        }
        3 => put_number(out, 2, dice.below(2)),
        4..=6 => {
            let bits = dice.below(64) as u32;
            put_number(out, 3, dice.next() >> bits);
        }
        7 => put_fixed64(
            out,
            4,
            [0.5_f64, -0.0, f64::NAN, f64::INFINITY, 1e300][dice.below(5) as usize].to_bits(),
        ),
        8 => {}
        9 => put_bytes(out, 7, &dice.next().to_le_bytes()[..dice.below(8) as usize]),
        10 => array(dice, out, depth),
        _ => put_message(out, 6, |out| {
            for _ in 0..dice.below(3) {
                put_message(out, 1, |out| {
                    put_bytes(out, 1, dice.pick(&KEYS).as_bytes());
                    put_message(out, 2, |out| value(dice, out, depth + 1));
                });
            }
        }),
    }
}

fn array(dice: &mut Dice, out: &mut Vec<u8>, depth: u32) {
    let kind = dice.below(5);
    put_message(out, 5, |out| {
        for _ in 0..dice.below(4) {
            put_message(out, 1, |out| match kind {
                0 => put_bytes(out, 1, dice.pick(&TEXTS).as_bytes()),
                1 => put_number(out, 3, dice.next()),
                2 => put_fixed64(out, 4, 1.5_f64.to_bits()),
                3 => put_number(out, 2, dice.below(2)),
                _ => value(dice, out, depth + 1),
            });
        }
    });
}
