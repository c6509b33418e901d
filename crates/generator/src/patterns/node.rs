//! The tree of Drain: every token of a name chooses a branch, and a leaf has the few clusters that a name is held against.
//!
//! What must stay true: no place has more than [`MOST_WORDS`] words, but for the first token's, which the number of clusters
//! bounds; a node is folded only where names that differ in that place can have a pattern.

use std::collections::HashMap;
use std::mem::size_of;

use super::tokens::is_id;
use super::{Cluster, MOST_WORDS, Template, enough};

/// Tokens that choose a branch (the paper's `depth`); those after them are only compared.
const DEPTH: usize = 16;

/// A branch of the tree.
#[derive(Debug, Default)]
pub(super) struct Node {
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
    pub(super) fn leaf(&mut self, template: Template<'_>, create: bool) -> Option<&mut Vec<u64>> {
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
    pub(super) fn fold(&mut self, template: Template<'_>, most: usize) -> Option<Vec<u64>> {
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

    pub(super) fn collect(self, clusters: &mut Vec<u64>) {
        clusters.extend(self.clusters);
        self.words.into_iter().for_each(|(_, node)| node.collect(clusters));
        if let Some(node) = self.placeholder {
            node.collect(clusters);
        }
    }

    /// Leaves out what leads to no cluster that still is, and says whether anything is left.
    pub(super) fn prune(&mut self, clusters: &HashMap<u64, Cluster>) -> bool {
        self.clusters.retain(|id| clusters.contains_key(id));
        self.words.retain_mut(|(_, node)| node.prune(clusters));
        if self.words.len() < self.words.capacity() / 2 {
            self.words.shrink_to_fit();
        }
        self.placeholder.take_if(|node| !node.prune(clusters));
        !(self.clusters.is_empty() && self.words.is_empty() && self.placeholder.is_none())
    }

    pub(super) fn bytes(&self) -> usize {
        let words: usize = self.words.iter().map(|(word, node)| word.len() + node.bytes()).sum();
        size_of::<Self>()
            + size_of::<(Box<str>, Self)>() * (self.words.capacity() - self.words.len())
            + size_of::<Box<str>>() * self.words.len()
            + size_of::<u64>() * self.clusters.capacity()
            + self.placeholder.as_ref().map_or(0, |node| node.bytes())
            + words
    }
}
