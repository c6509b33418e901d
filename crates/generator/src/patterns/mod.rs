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

mod node;
mod seen;
mod tokens;

use std::collections::{HashMap, VecDeque};
use std::mem::size_of;

use node::Node;
use seen::Seen;
use tokens::{Piece, Pieces, is_id, may_vary, skeleton, tokens};

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

/// Share of the words that have to agree, if not all do; it is more than a half, so that one of two is not enough.
const SIMILARITY: f64 = 0.6;

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

#[cfg(test)]
mod tests;
