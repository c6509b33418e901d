//! Names of spans to patterns: `GET /users/123/orders` and `GET /users/456/orders` become `GET /users/<_>/orders`.
//!
//! What must stay true: a pattern, its `<_>` replaced, gives back every name that it stands for; it keeps the first token
//! and at least half of all; and the same names in the same order give the same patterns.
//!
//! This is Drain (He, Zhu, Zheng and Lyu, "Drain: An Online Log Parsing Approach with Fixed Depth Tree", 2017), for names
//! instead of log lines. Where the paper's tree begins with the number of tokens, this one begins with all that is
//! between them, so that only names of the same build can meet. Under that, every token chooses a branch: a word its own,
//! and what looks like an id the one of the placeholder, where similar names become one cluster. Two words that differ
//! are no reason for a placeholder, as `GET /api/users` is not `GET /api/orders`; but when more than [`MOST_WORDS`]
//! different ones came in one place, they are taken for ids as well, and the node is folded: all its words share the
//! placeholder's branch.

use std::collections::{HashMap, VecDeque};
use std::mem::size_of;

/// Stands for the tokens that differ, as in Tempo and Loki.
const PLACEHOLDER: &str = "<_>";

/// Most bytes of a name that is learned.
const MOST_BYTES: usize = 1024;

/// Most patterns.
const MOST_CLUSTERS: usize = 1000;

/// Most words that are told apart in one place (the paper's `maxChild`).
const MOST_WORDS: usize = 100;

/// The same, when there is no room for another pattern.
const MOST_WORDS_WHEN_FULL: usize = 32;

/// Most patterns that the tree does not tell apart.
const MOST_IN_LEAF: usize = 16;

/// Tokens that choose a branch (the paper's `depth`); those after them are only compared.
const DEPTH: usize = 16;

/// Share of the words that have to agree, if not all do; it is more than a half, so that one of two is not enough.
const SIMILARITY: f64 = 0.6;

/// Most names whose cluster is remembered, in each of two generations.
const SEEN_NAMES: usize = 4096;

/// Most bytes that these names have, in each of two generations.
const SEEN_BYTES: usize = 512 << 10;

/// The patterns of a tenant's names.
#[derive(Debug, Default)]
pub(crate) struct Patterns {
    /// The trees, by what is between the tokens of their names.
    trees: HashMap<Box<str>, Node>,
    clusters: HashMap<u64, Cluster>,
    /// The id of the next cluster: an id is used once, so that what remembers one of a cluster that is gone finds nothing.
    next: u64,
    /// Calls of [`Self::prune`].
    round: u64,
    seen: Seen,
    /// A name that needs no cluster, while it is lent to the caller.
    alone: String,
}

impl Patterns {
    /// No name is known.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The pattern of the cluster that the name now belongs to; as long as there is none like it, that is the name.
    /// `None`: the name is too long or there is no room, and it should be kept as it is.
    pub(crate) fn learn<'a>(&'a mut self, name: &str) -> Option<&'a str> {
        if name.len() > MOST_BYTES {
            return None;
        }
        let known = self.seen.get(name).filter(|id| self.clusters.contains_key(id));
        let id = match known {
            Some(id) => id,
            None if may_vary(name) => {
                let id = self.place(name)?;
                self.seen.insert(name, id);
                id
            }
            None => {
                self.alone.clear();
                self.alone.push_str(name);
                return Some(&self.alone);
            }
        };
        let cluster = self.clusters.get_mut(&id)?;
        cluster.used = self.round;
        Some(&cluster.pattern)
    }

    /// Forgets the clusters that no name belonged to since the call before this one.
    pub(crate) fn prune(&mut self) {
        let Self { trees, clusters, round, seen, .. } = self;
        clusters.retain(|_, cluster| cluster.used == *round);
        *round += 1;
        trees.retain(|_, tree| tree.prune(clusters));
        seen.retain(clusters);
    }

    /// About how many bytes of memory this takes.
    pub(crate) fn bytes(&self) -> usize {
        let trees = self.trees.iter().map(|(key, tree)| key.len() + size_of::<Box<str>>() + tree.bytes());
        let clusters = self.clusters.values().map(|cluster| size_of::<u64>() + cluster.bytes());
        size_of::<Self>() + trees.sum::<usize>() + clusters.sum::<usize>() + self.seen.memory()
    }

    /// The cluster of a name that was not seen lately: the one that is most like it, or a new one.
    fn place(&mut self, name: &str) -> Option<u64> {
        let key = skeleton(name);
        let open = vec![false; tokens(name).count()];
        let template = Template { text: name, open: &open };
        while let Some(displaced) = self.fold(&key, template) {
            self.settle(&key, displaced);
        }
        let room = self.clusters.len() < MOST_CLUSTERS;
        let tree = match self.trees.get_mut(&*key) {
            Some(tree) => tree,
            None if room => self.trees.entry(key.into_boxed_str()).or_default(),
            None => return None,
        };
        let leaf = tree.leaf(template, room)?;
        if let Some((id, fits)) = most_like(&self.clusters, leaf, template) {
            if !fits {
                self.clusters.get_mut(&id)?.absorb(template);
            }
            return Some(id);
        }
        if !room || leaf.len() >= MOST_IN_LEAF {
            return None;
        }
        let id = self.next;
        self.next += 1;
        leaf.push(id);
        let cluster =
            Cluster { text: name.into(), pattern: name.to_owned(), open: open.into(), used: self.round };
        self.clusters.insert(id, cluster);
        Some(id)
    }

    /// Folds the node, if there is one, that has no place for the template, and gives the clusters that were under it.
    fn fold(&mut self, key: &str, template: Template<'_>) -> Option<Vec<u64>> {
        let full = self.clusters.len() >= MOST_CLUSTERS;
        self.trees.get_mut(key)?.fold(template, if full { MOST_WORDS_WHEN_FULL } else { MOST_WORDS })
    }

    /// Gives clusters their places again after a node that was above them was folded; those that are like another now
    /// become one with it. One for which there is no place is forgotten: its names come again as new ones.
    fn settle(&mut self, key: &str, displaced: Vec<u64>) {
        let mut queue = VecDeque::from(displaced);
        while let Some(id) = queue.pop_front() {
            let (Some(cluster), Some(tree)) = (self.clusters.remove(&id), self.trees.get_mut(key)) else {
                continue;
            };
            while let Some(more) = tree.fold(cluster.template(), MOST_WORDS) {
                queue.extend(more);
            }
            let Some(leaf) = tree.leaf(cluster.template(), true) else { continue };
            let like = most_like(&self.clusters, leaf, cluster.template());
            match like.and_then(|(like, _)| self.clusters.get_mut(&like)) {
                Some(like) => {
                    like.used = like.used.max(cluster.used);
                    like.absorb(cluster.template());
                }
                None if leaf.len() < MOST_IN_LEAF => {
                    leaf.push(id);
                    self.clusters.insert(id, cluster);
                }
                None => {}
            }
        }
    }
}

/// Of the clusters in a leaf the one that the template belongs to: one that need not change rather than another, then the
/// one that shares most tokens, then the first. Gives also whether it need not change.
fn most_like(clusters: &HashMap<u64, Cluster>, leaf: &[u64], template: Template<'_>) -> Option<(u64, bool)> {
    let mut best = None;
    for id in leaf {
        let likeness = clusters.get(id).and_then(|cluster| cluster.template().likeness(template));
        if let Some(likeness) = likeness
            && best.is_none_or(|(_, most)| likeness > most)
        {
            best = Some((*id, likeness));
        }
    }
    best.map(|(id, (fits, _))| (id, fits))
}

/// Names that have one pattern.
#[derive(Debug)]
struct Cluster {
    /// The first of them.
    text: Box<str>,
    /// Which of its tokens are placeholders.
    open: Box<[bool]>,
    pattern: String,
    /// The round in which a name last belonged to it.
    used: u64,
}

impl Cluster {
    fn template(&self) -> Template<'_> {
        Template { text: &self.text, open: &self.open }
    }

    /// Makes placeholders of the tokens in which the other, of the same skeleton, differs.
    fn absorb(&mut self, other: Template<'_>) {
        let differs: Vec<bool> = self
            .template()
            .tokens()
            .zip(other.tokens())
            .map(|(own, other)| own.is_some() && own != other)
            .collect();
        self.open.iter_mut().zip(differs).for_each(|(open, differs)| *open |= differs);
        self.pattern = self.template().pattern();
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.text.len() + self.open.len() + self.pattern.capacity()
    }
}

/// A name some of whose tokens are placeholders.
#[derive(Debug, Clone, Copy)]
struct Template<'a> {
    text: &'a str,
    /// One for every token.
    open: &'a [bool],
}

impl<'a> Template<'a> {
    /// The tokens; `None` is a placeholder.
    fn tokens(self) -> impl Iterator<Item = Option<&'a str>> {
        tokens(self.text).zip(self.open).map(|(token, open)| (!open).then_some(token))
    }

    fn pattern(self) -> String {
        let mut pattern = String::with_capacity(self.text.len());
        let mut open = self.open.iter();
        for piece in (Pieces { rest: self.text }) {
            match piece {
                Piece::Gap(gap) => pattern.push_str(gap),
                Piece::Token(token) => {
                    pattern.push_str(if open.next() == Some(&true) { PLACEHOLDER } else { token });
                }
            }
        }
        pattern
    }

    /// How much the other, of the same skeleton, is like this: whether it needs no placeholder that this has not, and how
    /// many tokens both have. `None`: they must not be one.
    fn likeness(self, other: Self) -> Option<(bool, usize)> {
        let (mut fits, mut kept, mut words) = (true, 0_usize, 0_usize);
        for pair in self.tokens().zip(other.tokens()) {
            match pair {
                (Some(own), Some(other)) if own == other => kept += 1,
                (None, _) => {}
                (Some(own), other) => {
                    fits = false;
                    words += usize::from(!(is_id(own) && other.is_none_or(is_id)));
                }
            }
        }
        let similar = words == 0 || kept as f64 >= SIMILARITY * (kept + words) as f64; // at most 1024
        (similar && enough(kept, self.open.len())).then_some((fits, kept))
    }
}

/// Whether a pattern that keeps so many tokens still says something.
fn enough(kept: usize, tokens: usize) -> bool {
    2 * kept >= tokens
}

/// A branch of the tree.
#[derive(Debug, Default)]
struct Node {
    /// The branches of words, sorted.
    words: Vec<(Box<str>, Self)>,
    /// The branch of ids and placeholders.
    placeholder: Option<Box<Self>>,
    /// Whether words, too, take the branch of the placeholder.
    folded: bool,
    /// The clusters whose names end here or have chosen often enough, in the order in which they came here.
    clusters: Vec<u64>,
}

impl Node {
    /// The word, if there is one, that chooses the branch. The first token is a word whatever it is: it has to agree.
    fn word<'a>(&self, level: usize, token: Option<&'a str>) -> Option<&'a str> {
        token.filter(|token| level == 0 || !(self.folded || is_id(token)))
    }

    fn find(&self, word: &str) -> Result<usize, usize> {
        self.words.binary_search_by(|(other, _)| (**other).cmp(word))
    }

    /// The clusters of the leaf to which the template leads; with `create` a way is made where there is none. `None`: there
    /// is no such leaf.
    fn leaf(&mut self, template: Template<'_>, create: bool) -> Option<&mut Vec<u64>> {
        let mut node = self;
        for (level, token) in template.tokens().take(DEPTH).enumerate() {
            node = match node.word(level, token) {
                None if create => node.placeholder.get_or_insert_default(),
                None => node.placeholder.as_deref_mut()?,
                Some(word) => {
                    let at = match node.find(word) {
                        Ok(at) => at,
                        Err(at) if create && (level == 0 || node.words.len() < MOST_WORDS) => {
                            if node.words.is_empty() {
                                node.words.reserve_exact(1); // most nodes have one
                            }
                            node.words.insert(at, (word.into(), Self::default()));
                            at
                        }
                        Err(_) => return None,
                    };
                    &mut node.words.get_mut(at)?.1
                }
            };
        }
        Some(&mut node.clusters)
    }

    /// Folds the node on the template's way that has `most` words and not the template's, if names that differ in that
    /// place can have a pattern; gives the clusters that were under its words.
    fn fold(&mut self, template: Template<'_>, most: usize) -> Option<Vec<u64>> {
        let mut node = self;
        let mut varying = 0; // placeholders on the way
        for (level, token) in template.tokens().take(DEPTH).enumerate() {
            node = match node.word(level, token) {
                None => {
                    varying += 1;
                    node.placeholder.as_deref_mut()?
                }
                Some(word) => match node.find(word) {
                    Ok(at) => &mut node.words.get_mut(at)?.1,
                    Err(_) if level == 0 || node.words.len() < most => return None,
                    Err(_) => {
                        let after = template.tokens().skip(level + 1);
                        varying += 1 + after.filter(|token| token.is_none_or(is_id)).count();
                        let kept = template.open.len().saturating_sub(varying);
                        return (kept >= 2 && enough(kept, template.open.len())).then(|| node.displace());
                    }
                },
            };
        }
        None
    }

    /// Folds this node.
    fn displace(&mut self) -> Vec<u64> {
        self.folded = true;
        let mut clusters = Vec::new();
        std::mem::take(&mut self.words).into_iter().for_each(|(_, node)| node.collect(&mut clusters));
        clusters
    }

    fn collect(self, clusters: &mut Vec<u64>) {
        clusters.extend(self.clusters);
        self.words.into_iter().for_each(|(_, node)| node.collect(clusters));
        if let Some(node) = self.placeholder {
            node.collect(clusters);
        }
    }

    /// Leaves out what leads to no cluster that still is, and says whether anything is left.
    fn prune(&mut self, clusters: &HashMap<u64, Cluster>) -> bool {
        self.clusters.retain(|id| clusters.contains_key(id));
        self.words.retain_mut(|(_, node)| node.prune(clusters));
        if self.words.len() < self.words.capacity() / 2 {
            self.words.shrink_to_fit();
        }
        self.placeholder.take_if(|node| !node.prune(clusters));
        !(self.clusters.is_empty() && self.words.is_empty() && self.placeholder.is_none())
    }

    fn bytes(&self) -> usize {
        let words: usize = self.words.iter().map(|(word, node)| word.len() + node.bytes()).sum();
        size_of::<Self>()
            + size_of::<(Box<str>, Self)>() * (self.words.capacity() - self.words.len())
            + size_of::<Box<str>>() * self.words.len()
            + size_of::<u64>() * self.clusters.capacity()
            + self.placeholder.as_ref().map_or(0, |node| node.bytes())
            + words
    }
}

/// The clusters of names that were seen lately. A generation that is full makes place for the next; a name that is asked
/// for again moves along.
#[derive(Debug, Default)]
struct Seen {
    now: HashMap<Box<str>, u64>,
    before: HashMap<Box<str>, u64>,
    /// Bytes of the names in `now`.
    bytes: usize,
    /// Bytes of the names in `before`, or more.
    bytes_before: usize,
}

impl Seen {
    fn get(&mut self, name: &str) -> Option<u64> {
        if let Some(id) = self.now.get(name) {
            return Some(*id);
        }
        let (name, id) = self.before.remove_entry(name)?;
        self.put(name, id);
        Some(id)
    }

    fn insert(&mut self, name: &str, id: u64) {
        self.put(name.into(), id);
    }

    fn put(&mut self, name: Box<str>, id: u64) {
        if self.now.len() >= SEEN_NAMES || self.bytes + name.len() > SEEN_BYTES {
            std::mem::swap(&mut self.now, &mut self.before);
            self.now.clear();
            self.bytes_before = std::mem::take(&mut self.bytes);
        }
        let length = name.len();
        if self.now.insert(name, id).is_none() {
            self.bytes += length;
        }
    }

    fn retain(&mut self, clusters: &HashMap<u64, Cluster>) {
        for (names, bytes) in [(&mut self.now, &mut self.bytes), (&mut self.before, &mut self.bytes_before)] {
            names.retain(|_, id| clusters.contains_key(id));
            *bytes = names.keys().map(|name| name.len()).sum();
            if names.len() < names.capacity() / 4 {
                names.shrink_to_fit();
            }
        }
    }

    fn memory(&self) -> usize {
        let slots = self.now.capacity() + self.before.capacity();
        slots * size_of::<(Box<str>, u64, u8)>() + self.bytes + self.bytes_before
    }
}

/// A part of a name.
#[derive(Debug)]
enum Piece<'a> {
    /// What is between tokens.
    Gap(&'a str),
    Token(&'a str),
}

/// The parts of a name. Put together they are the name again.
#[derive(Debug)]
struct Pieces<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        let bytes = self.rest.as_bytes();
        let is_token = is_part(*bytes.first()?);
        let length = if is_token { token_length(bytes) } else { run(bytes, |byte| !is_part(byte)) };
        // Either side of the end is a separator, which is ASCII, or nothing: it is between characters.
        let (piece, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(if is_token { Piece::Token(piece) } else { Piece::Gap(piece) })
    }
}

fn tokens(name: &str) -> impl Iterator<Item = &str> {
    Pieces { rest: name }.filter_map(|piece| match piece {
        Piece::Token(token) => Some(token),
        Piece::Gap(_) => None,
    })
}

/// What is between the tokens; each of them is an `x`, which no separator is.
fn skeleton(name: &str) -> String {
    let mut skeleton = String::with_capacity(name.len());
    for piece in (Pieces { rest: name }) {
        skeleton.push_str(match piece {
            Piece::Gap(gap) => gap,
            Piece::Token(_) => "x",
        });
    }
    skeleton
}

/// Whether a byte is of a token. What is not ASCII is; all other ASCII separates, but for `%`, which begins a byte's code.
fn is_part(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'%' || !byte.is_ascii()
}

fn run(bytes: &[u8], of: impl Fn(u8) -> bool) -> usize {
    bytes.iter().take_while(|byte| of(**byte)).count()
}

/// The length of the token with which the bytes begin. A UUID is one token, and so is what begins with a digit and is
/// joined to the like: a date, a time, an address.
fn token_length(bytes: &[u8]) -> usize {
    let uuid = uuid_length(bytes);
    if uuid > 0 {
        return uuid;
    }
    let mut length = run(bytes, is_part);
    if bytes.first().is_some_and(u8::is_ascii_digit) {
        while let Some([b'.' | b'-' | b':', next @ ..]) = bytes.get(length..)
            && next.first().is_some_and(u8::is_ascii_digit)
        {
            length += 1 + run(next, is_part);
        }
    }
    length
}

/// The length of the UUID with which the bytes begin, 0 without one.
fn uuid_length(bytes: &[u8]) -> usize {
    const GROUPS: [usize; 5] = [8, 4, 4, 4, 12];
    let mut length = 0;
    for (at, group) in GROUPS.into_iter().enumerate() {
        let joined = at == 0 || bytes.get(length) == Some(&b'-');
        length += usize::from(at > 0);
        let digits = bytes.get(length..length + group);
        if !joined || !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
            return 0;
        }
        length += group;
    }
    if bytes.get(length).is_some_and(|byte| is_part(*byte)) { 0 } else { length }
}

/// Whether a token looks like an id: it has digits, or is a UUID or a hexadecimal number of eight digits or more
/// without one. A version (`v1`) does not, nor does a name in camel case with a number in it (`GetUserV2`).
fn is_id(token: &str) -> bool {
    let digits = token.bytes().filter(u8::is_ascii_digit).count();
    if digits == 0 {
        return token.len() >= 8 && token.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    }
    let version = token.strip_prefix(['v', 'V']).is_some_and(|number| number.len() == digits && digits <= 2);
    let numbers =
        token.split(|character: char| !character.is_ascii_digit()).filter(|number| !number.is_empty());
    let camel = token.len() >= 6
        && digits <= 2
        && numbers.count() == 1
        && token.bytes().any(|byte| byte.is_ascii_uppercase())
        && token.bytes().any(|byte| byte.is_ascii_lowercase());
    !(version || camel)
}

/// Whether the name's pattern can ever be another than the name: whether enough of it is left if all that looks like an id
/// but the first token becomes a placeholder. Without an id, one word may only differ beside two that agree.
fn may_vary(name: &str) -> bool {
    let (mut count, mut ids) = (0_usize, 0_usize);
    for token in tokens(name) {
        ids += usize::from(count > 0 && is_id(token));
        count += 1;
    }
    enough(count - ids, count) && (ids > 0 || count >= 3)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};

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
            for name in
                [format!("GET /users/{user}/orders"), format!("GET /users/{user}/cart/{}", user.len())]
            {
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
                assert!(
                    enough(tokens(&constants).count(), tokens(&name).count()),
                    "{pattern:?} for {name:?}"
                );
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

    #[test]
    fn tokens_end_where_they_should() {
        for (name, expected) in [
            ("GET /users/{id}", &["GET", "users", "id"][..]),
            ("a.b-c_d:e,f|g", &["a", "b", "c", "d", "e", "f", "g"]),
            ("x 1.2.3-4:5 y", &["x", "1.2.3-4:5", "y"]),
            ("x1.2 1.x 1..2 1-", &["x1", "2", "1", "x", "1", "2", "1"]),
            ("0191e2a4-7b1c-7abc-8def-0123456789ab!", &["0191e2a4-7b1c-7abc-8def-0123456789ab"]),
            ("abcdefab-abcd-abcd-abcd-abcdefabcdef", &["abcdefab-abcd-abcd-abcd-abcdefabcdef"]),
            ("abcdefab-abcd-abcd-abcd-abcdefabcdefa", &["abcdefab", "abcd", "abcd", "abcd", "abcdefabcdefa"]),
            ("abcdefab-abcd-abcd-abcd", &["abcdefab", "abcd", "abcd", "abcd"]),
            ("größe/日本 🦀", &["größe", "日本", "🦀"]),
            ("%20a/b", &["%20a", "b"]),
        ] {
            assert_eq!(tokens(name).collect::<Vec<_>>(), expected, "{name}");
        }
    }

    #[test]
    fn ids_are_told_from_words() {
        for id in [
            "1",
            "123",
            "a1",
            "u42",
            "1st",
            "deadbeef",
            "DEADBEEF",
            "0x1f",
            "abc123def",
            "v123",
            "x7k2p",
            "V1StGXR8",
        ] {
            assert!(is_id(id), "{id}");
        }
        for word in [
            "",
            "users",
            "facade",
            "v1",
            "V2",
            "v10",
            "GetUserV2",
            "OAuth2",
            "Base64Encode",
            "größe",
            "defaced",
        ] {
            assert!(!is_id(word), "{word}");
        }
    }
}
