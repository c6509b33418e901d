//! Names of all kinds, and what becomes of them.

use std::collections::{BTreeSet, HashSet};

use super::seen::{SEEN_BYTES, SEEN_NAMES};
use super::*;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % limit
    }

    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }

    /// A word of letters that no other number has; no hexadecimal number.
    fn word(&mut self) -> String {
        let letter = |number: u64| char::from(b'g' + u8::try_from(number % 20).unwrap());
        let number = self.next();
        (0..8).map(|at| letter(number >> (8 * at))).collect()
    }
}

/// The last pattern of each name after all were learned.
fn learned(names: &[&str]) -> Vec<String> {
    let mut patterns = Patterns::new();
    names.iter().for_each(|name| {
        patterns.learn(name).unwrap();
    });
    names.iter().map(|name| patterns.learn(name).unwrap().to_owned()).collect()
}

/// Whether the pattern gives the name back when its placeholders are replaced; neither has `<_>` by itself.
fn stands_for(pattern: &str, name: &str) -> bool {
    fn rest(pattern: &str, name: &str) -> bool {
        match pattern.split_once(PLACEHOLDER) {
            None => pattern == name,
            Some((constant, after)) => name.strip_prefix(constant).is_some_and(|name| {
                (1..=name.len()).any(|end| name.get(end..).is_some_and(|name| rest(after, name)))
            }),
        }
    }
    rest(pattern, name)
}

#[test]
fn names_that_differ_in_ids_become_one() {
    for (names, pattern) in [
        (&["GET /users/123/orders", "GET /users/456/orders"][..], "GET /users/<_>/orders"),
        (&["GET /users/123", "GET /users/456"], "GET /users/<_>"),
        (&["/users/123", "/users/456"], "/users/<_>"),
        (&["GET /123", "GET /456"], "GET /<_>"),
        (&["job-1234", "job-99"], "job-<_>"),
        (&["job_deadbeef", "job_cafebabe", "job_00ff"], "job_<_>"),
        (&["job-1-2", "job-3-4"], "job-<_>"),
        (
            &[
                "GET /users/0191e2a4-7b1c-7abc-8def-0123456789ab/cart",
                "GET /users/deadbeef-dead-beef-dead-beefdeadbeef/cart",
            ],
            "GET /users/<_>/cart",
        ),
        (&["report 2024-01-02T10:00:00Z", "report 2025-11-22T00:59:01.5Z"], "report <_>"),
        (&["connect 10.0.0.1:8080", "connect 10.12.0.3:443"], "connect <_>"),
        (&["fetch order-17/item-4 now", "fetch order-18/item-5 now"], "fetch order-<_>/item-<_> now"),
        (&["GET /a/b/1/c/2", "GET /a/b/1/c/3", "GET /a/b/4/c/2"], "GET /a/b/<_>/c/<_>"),
        (&["GET /a?id=1&x=y", "GET /a?id=2&x=y"], "GET /a?id=<_>&x=y"),
        (&["GET /f/caf%C3%A9", "GET /f/th%C3%A9"], "GET /f/<_>"),
        (&["prüfe größe-12 jetzt", "prüfe größe-77 jetzt"], "prüfe größe-<_> jetzt"),
        (&["获取 用户/12", "获取 用户/13"], "获取 用户/<_>"),
        (&["  GET  /u/1/ ", "  GET  /u/2/ "], "  GET  /u/<_>/ "),
        (&["GET /v1/users/u1", "GET /v1/users/u2"], "GET /v1/users/<_>"),
        (&["GET /<_>/12/x", "GET /<_>/13/x"], "GET /<_>/<_>/x"),
    ] {
        assert_eq!(learned(names), vec![pattern; names.len()], "{names:?}");
    }
}

#[test]
fn names_that_say_different_things_stay() {
    for names in [
        &["GET /users", "POST /users"][..],
        &["checkout", "payment"],
        &["worker12", "worker13"], // nothing would be left
        &["12", "13"],
        &["GET /users/1", "POST /users/1"],
        &["GET /users/1", "GET /orders/1"],
        &["GET /users", "GET /orders"],
        &["GET /api/users", "GET /api/orders", "GET /api/users/1", "GET /api/users/1/"],
        &["GET /api/v1/users", "GET /api/v2/users"],
        &["GET /api/v1/users", "GET /api/v1/orders"],
        &["job-1234", "job.1234", "job 1234", "task-1234", "job-1234-"],
        &["job-alpha", "job-beta", "job-1"],
        &["shop.Cart/GetItem", "shop.Cart/GetItemV2", "shop.Cart/GetItemV3"],
        &["a 1 2", "a 3 4"], // more than half would be gone
        &["a 1 2 b 3", "a 4 5 b 6"],
        &["a 1 2", "a 1 3"], // the same, though one id agrees: it is no word
        &["", "/", "//", " ", "<_>", "GET", "get"],
        &["SELECT shop.users", "SELECT shop.orders", "INSERT shop.users"],
    ] {
        assert_eq!(learned(names), names, "{names:?}");
    }
}

#[test]
fn the_pattern_is_that_of_the_moment() {
    let mut patterns = Patterns::new();
    for (name, pattern) in [
        ("GET /users/1/cart/7", "GET /users/1/cart/7"),
        ("GET /users/1/cart/7", "GET /users/1/cart/7"),
        ("GET /users/2/cart/7", "GET /users/<_>/cart/7"),
        ("GET /users/1/cart/7", "GET /users/<_>/cart/7"),
        ("GET /users/3/cart/8", "GET /users/<_>/cart/<_>"),
        ("GET /users/2/cart/7", "GET /users/<_>/cart/<_>"),
        ("GET /users/2/wish/7", "GET /users/2/wish/7"),
    ] {
        assert_eq!(patterns.learn(name), Some(pattern), "{name}");
    }
    assert_eq!(patterns.clusters.len(), 2);
}

#[test]
fn many_words_in_one_place_are_ids() {
    let mut random = Random(11);
    let users: Vec<String> = (0..400).map(|_| random.word()).collect();
    let mut patterns = Patterns::new();
    for user in &users {
        for name in [format!("GET /users/{user}/orders"), format!("GET /users/{user}/cart/{}", user.len())] {
            let pattern = patterns.learn(&name).unwrap();
            assert!(stands_for(pattern, &name), "{pattern} {name}");
        }
    }
    let last: BTreeSet<String> = users
        .iter()
        .flat_map(|user| {
            [format!("GET /users/{user}/orders"), format!("GET /users/{user}/cart/{}", user.len())]
        })
        .map(|name| patterns.learn(&name).unwrap().to_owned())
        .collect();
    let expected = ["GET /users/<_>/cart/8", "GET /users/<_>/orders"];
    assert_eq!(last.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    assert_eq!(patterns.clusters.len(), 2, "those of the words are gone");
    assert_eq!(patterns.learn("GET /users/123/orders"), Some("GET /users/<_>/orders"));
    assert_eq!(patterns.learn("GET /other/abc/orders"), Some("GET /other/abc/orders"));
}

#[test]
fn so_many_routes_are_not_yet_ids() {
    let mut random = Random(12);
    let mut patterns = Patterns::new();
    for _ in 0..MOST_WORDS {
        let name = format!("GET /api/{}", random.word());
        assert_eq!(patterns.learn(&name), Some(&*name));
    }
    assert_eq!(patterns.learn("GET /api/onemore"), Some("GET /api/<_>"));
}

#[test]
fn folding_makes_patterns_of_what_was_already_known() {
    let mut random = Random(21);
    let mut patterns = Patterns::new();
    let users: Vec<String> = (0..=MOST_WORDS).map(|_| random.word()).collect();
    let (last, known) = users.split_last().unwrap();
    known.iter().for_each(|user| {
        patterns.learn(&format!("GET /{user}/users/x")).unwrap();
        patterns.learn(&format!("GET /{user}/users/y")).unwrap();
    });
    assert_eq!(patterns.clusters.len(), 2 * MOST_WORDS);
    assert_eq!(patterns.learn(&format!("GET /{last}/users/x")), Some("GET /<_>/users/x"));
    assert_eq!(patterns.clusters.len(), 2);
    let now: BTreeSet<&str> = patterns.clusters.values().map(|cluster| &*cluster.pattern).collect();
    assert_eq!(now.into_iter().collect::<Vec<_>>(), ["GET /<_>/users/x", "GET /<_>/users/y"]);
}

#[test]
fn one_word_alone_makes_no_pattern_however_many_there_are() {
    let mut random = Random(13);
    let mut patterns = Patterns::new();
    for _ in 0..5000 {
        for name in [format!("GET /{}", random.word()), format!("{} 12", random.word()), random.word()] {
            assert!(patterns.learn(&name).is_none_or(|pattern| pattern == name), "{name}");
        }
        let name = format!("GET /{}/12", random.word()); // `GET` alone would be left of three
        assert!(patterns.learn(&name).is_none_or(|pattern| pattern == name), "{name}");
    }
}

#[test]
fn a_node_is_not_folded_when_too_little_would_be_left() {
    let mut random = Random(22);
    let mut patterns = Patterns::new();
    for number in 0..2 * MOST_WORDS {
        let name = format!("GET /{}/a/{number}/{}/{}", random.word(), number + 1, number + 2);
        assert!(patterns.learn(&name).is_none_or(|pattern| pattern == name));
    }
    assert_eq!(patterns.clusters.len(), MOST_WORDS);
}

#[test]
fn tokens_after_the_trees_depth_are_compared() {
    let long = "a b c d e f g h i j k l m n o p q r";
    let other = "a b c d e f g h i j k l m n o p q s";
    assert_eq!(learned(&[long, other]), vec!["a b c d e f g h i j k l m n o p q <_>"; 2]);
    let far = long.split(' ').collect::<Vec<_>>().join(" x ");
    let different = far.replace("j x k x l x m x n x o x p x q x r", "y k y l y m y n y o y p y q y r y");
    assert_ne!(far, different);
    assert_eq!(learned(&[&far, &different]), [far.clone(), different.clone()]);
}

#[test]
fn limits_keep_names() {
    let mut patterns = Patterns::new();
    let name = |bytes: usize| format!("GET /x/{}", "1".repeat(bytes - 7));
    assert!(patterns.learn(&name(MOST_BYTES)).is_some());
    assert_eq!(patterns.learn(&name(MOST_BYTES + 1)), None);
    assert_eq!(patterns.learn(&"x".repeat(MOST_BYTES + 1)), None);

    let mut random = Random(14);
    for _ in 0..2 * MOST_CLUSTERS {
        let name = format!("{} {} {}", random.word(), random.word(), random.word());
        assert!(patterns.learn(&name).is_none_or(|pattern| pattern == name));
    }
    assert_eq!(patterns.clusters.len(), MOST_CLUSTERS);
    assert_eq!(patterns.learn("another name altogether"), None);
    assert_eq!(patterns.learn("GET /x/2"), Some("GET /x/<_>"), "what has a cluster finds it");
    assert_eq!(patterns.learn("GET /users"), Some("GET /users"), "what needs none needs no room");

    let mut leaf = Patterns::new();
    for number in 0..1000 {
        let tail: String = (0..20).map(|_| format!(" {}", random.word())).collect();
        leaf.learn(&format!("a b c d e f g h i j k l m n o p {number}{tail}"));
    }
    assert_eq!(leaf.clusters.len(), MOST_IN_LEAF);
}

#[test]
fn words_are_folded_earlier_when_there_is_no_room() {
    let mut random = Random(15);
    let mut patterns = Patterns::new();
    for _ in 0..MOST_WORDS - 10 {
        let user = random.word();
        for method in ["GET", "PUT", "POST", "PATCH", "DELETE"] {
            for thing in ["orders", "cart", "wishes", "address", "mail"] {
                assert!(
                    patterns.learn(&format!("{method} /users/{user}/{thing}")).is_some(),
                    "there is room"
                );
            }
        }
    }
    assert_eq!(patterns.learn("GET /users/somebody/cart"), Some("GET /users/<_>/cart"));
}

#[test]
fn pruning_forgets_what_was_not_used_between_two_calls() {
    let mut patterns = Patterns::new();
    for name in ["GET /a/1", "GET /a/2", "GET /b/1", "GET /b/2"] {
        patterns.learn(name);
    }
    patterns.prune();
    assert_eq!(patterns.learn("GET /a/1"), Some("GET /a/<_>"));
    patterns.prune();
    assert_eq!(patterns.learn("GET /a/3"), Some("GET /a/<_>"));
    assert_eq!(patterns.learn("GET /b/1"), Some("GET /b/1"), "as if never seen");
    assert_eq!(patterns.learn("GET /b/3"), Some("GET /b/<_>"));
    patterns.prune();
    patterns.prune();
    assert!(patterns.clusters.is_empty() && patterns.trees.is_empty());
    assert!(patterns.seen.now.is_empty() && patterns.seen.before.is_empty());
    assert_eq!(patterns.learn("GET /a/1"), Some("GET /a/1"));
}

#[test]
fn there_is_room_again_after_pruning() {
    let mut random = Random(16);
    let mut patterns = Patterns::new();
    for _ in 0..2 * MOST_CLUSTERS {
        patterns.learn(&format!("{} {} {}", random.word(), random.word(), random.word()));
    }
    let full = patterns.bytes();
    assert_eq!(patterns.learn("GET /users/1/x"), None);
    patterns.prune();
    patterns.prune();
    assert!(patterns.bytes() < full / 20, "{} of {full}", patterns.bytes());
    assert_eq!(patterns.learn("GET /users/1/x"), Some("GET /users/1/x"));
    assert_eq!(patterns.learn("GET /users/2/x"), Some("GET /users/<_>/x"));
}

/// Names of all kinds, many with ids.
fn any_name(random: &mut Random) -> String {
    let mut name = random.of(&["GET /", "POST /", "", "shop.", "job-", "ü ", "a"]).to_owned();
    for _ in 0..random.below(6) {
        match random.below(6) {
            0 => name.push_str(&random.below(100_000).to_string()),
            1 => name.push_str(&random.word()),
            2 => name.push_str(&format!("{:016x}", random.next())),
            3 => name.push_str(random.of(&["größe", "🦀", "日本", "v1", "GetV2", "%20"])),
            _ => name.push_str(random.of(&["users", "orders", "cart", "api", "x"])),
        }
        name.push_str(random.of(&["/", "/", " ", "-", "_", ".", ":", "::", "", "?", "\u{1}", "\u{a0}"]));
    }
    name
}

#[test]
fn random_names_take_bounded_memory() {
    let mut random = Random(17);
    let mut patterns = Patterns::new();
    let mut most = 0;
    for number in 0..200_000 {
        let name = match number % 4 {
            0 if number % 32 == 0 => any_name(&mut random),
            0 | 1 => format!("{} {}/{}", random.word(), random.word(), random.next()),
            2 => format!("GET /{}/{}/{}", random.word(), random.word(), random.word()),
            _ => format!(
                "GET /{}/{}",
                "long.".repeat(if number % 64 == 3 { random.below(200) } else { random.below(10) }),
                random.word()
            ),
        };
        patterns.learn(&name);
        assert!(patterns.clusters.len() <= MOST_CLUSTERS);
        if number % 50_000 == 0 {
            most = most.max(patterns.bytes());
        }
        if number % 300_000 == 0 {
            patterns.prune();
        }
    }
    assert!(most > 100_000, "{most}: it is an estimate of something");
    assert!(most < 8 << 20, "{most}");
    let SeenSizes { names, bytes } = sizes(&patterns.seen);
    assert!(names <= 2 * SEEN_NAMES && bytes <= 2 * SEEN_BYTES, "{names} {bytes}");
}

struct SeenSizes {
    names: usize,
    bytes: usize,
}

fn sizes(seen: &Seen) -> SeenSizes {
    let names = || seen.now.keys().chain(seen.before.keys());
    SeenSizes { names: names().count(), bytes: names().map(|name| name.len()).sum() }
}

#[test]
fn clusters_and_leaves_agree_and_patterns_stand_for_their_names() {
    let mut random = Random(18);
    let mut patterns = Patterns::new();
    for number in 0..200_000 {
        let name = any_name(&mut random);
        if let Some(pattern) = patterns.learn(&name) {
            assert!(stands_for(pattern, &name), "{pattern:?} for {name:?}");
            let constants = pattern.replace(PLACEHOLDER, "");
            assert!(enough(tokens(&constants).count(), tokens(&name).count()), "{pattern:?} for {name:?}");
            assert!(tokens(&name).next().is_none_or(|first| pattern.trim_start().contains(first)));
        }
        if number % 20_000 == 19_999 {
            let mut ids = Vec::new();
            std::mem::take(&mut patterns.trees).into_values().for_each(|tree| tree.collect(&mut ids));
            let different: HashSet<u64> = ids.iter().copied().collect();
            assert_eq!(ids.len(), different.len(), "a cluster is in one leaf");
            assert_eq!(different, patterns.clusters.keys().copied().collect(), "and every one is");
            patterns = Patterns::new();
        }
    }
}

#[test]
fn the_same_names_give_the_same_patterns() {
    let run = || {
        let mut random = Random(19);
        let mut patterns = Patterns::new();
        (0..50_000)
            .map(|number| {
                if number % 10_000 == 9999 {
                    patterns.prune();
                }
                let name = format!("GET /{}/{}", random.of(&["a", "b"]), any_name(&mut random));
                patterns.learn(&name).map(str::to_owned)
            })
            .collect::<Vec<_>>()
    };
    assert!(run() == run());
}

#[test]
fn pieces_are_the_name_again() {
    let mut random = Random(20);
    let fixed = [
        "",
        "a",
        "/",
        "//a//",
        "é",
        "/é/",
        "🦀🦀",
        "1.",
        "1.-2",
        "1-",
        "-1",
        "2024-01-02",
        "%",
        "a\u{0}b",
        "1.é",
    ];
    let names = fixed.iter().map(|name| (*name).to_owned());
    for name in names.chain((0..20_000).map(|_| any_name(&mut random))) {
        let (mut together, mut was_token) = (String::new(), None);
        for piece in (Pieces { rest: &name }) {
            let (text, is_token) = match piece {
                Piece::Gap(gap) => (gap, false),
                Piece::Token(token) => (token, true),
            };
            assert!(!text.is_empty() && was_token != Some(is_token), "{name:?}");
            was_token = Some(is_token);
            together.push_str(text);
        }
        assert_eq!(together, name);
        let open = vec![false; tokens(&name).count()];
        assert_eq!(Template { text: &name, open: &open }.pattern(), name);
    }
}
