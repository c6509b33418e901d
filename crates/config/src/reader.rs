//! Walks the tree along the tables and collects everything that is wrong, unknown or ignored.
//!
//! Never stops at the first problem; a setting that cannot be read keeps its default.

use std::collections::BTreeMap;

use crate::duration::GoDuration;
use crate::node::{Entry, Node, NodeValue};
use crate::problem::{Origin, Problem, nearest};
use crate::table::{Ignored, Kind, Section, Shape, find_ignored, ignored_names};
use crate::values::{parse_bool, parse_int};

/// What a reading leaves behind besides the settings.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    /// What is wrong.
    pub(crate) problems: Vec<Problem>,
    /// Full keys that are accepted and mean nothing here.
    pub(crate) ignored: Vec<String>,
    /// Named collector components such as `otlp/2`, which are known but not supported.
    pub(crate) instances: Vec<String>,
    /// Where each used key was set.
    pub(crate) origins: BTreeMap<String, Origin>,
    /// Whether keys that are not known are passed over.
    pub(crate) takes_unknown: bool,
    /// The whole table, to say where a misplaced key belongs.
    root: Option<Kind>,
    path: Vec<(String, Option<String>)>,
}

impl Reader {
    /// A reader that knows the whole table.
    pub(crate) fn of(root: Kind) -> Self {
        Self { root: Some(root), ..Self::default() }
    }

    /// The full key as the user wrote it.
    pub(crate) fn written_path(&self) -> String {
        let from = self.path.iter().rposition(|(_, written)| written.is_some());
        let parts: Vec<&str> = match from {
            Some(index) => {
                self.path[index..].iter().map(|(key, written)| written.as_deref().unwrap_or(key)).collect()
            }
            None => self.path.iter().map(|(key, _)| key.as_str()).collect(),
        };
        parts.join(".").replace(".[", "[")
    }

    fn canonical_path(&self) -> String {
        let parts: Vec<&str> = self.path.iter().map(|(key, _)| key.as_str()).collect();
        parts.join(".").replace(".[", "[")
    }

    /// Records that the present key's value is not what it should be.
    pub(crate) fn expected(&mut self, node: &Node, expected: &str) {
        let key = self.written_path();
        let shown = match &node.value {
            NodeValue::Null => "empty".to_owned(),
            NodeValue::Scalar { text, .. } => format!("\"{text}\""),
            NodeValue::List(_) => "a list".to_owned(),
            NodeValue::Map(_) => "a block of settings".to_owned(),
        };
        let subject = if key.is_empty() { "the file" } else { &key };
        self.problems.push(Problem {
            origin: node.origin.clone(),
            message: format!("{subject} is {shown}; expected {expected}"),
            key,
        });
    }

    /// Reads one value; a null keeps the default and is no problem.
    pub(crate) fn scalar<T>(
        &mut self,
        node: &Node,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        match &node.value {
            NodeValue::Null => None,
            NodeValue::Scalar { text, .. } => {
                let value = parse(text);
                if value.is_none() {
                    self.expected(node, expected);
                }
                value
            }
            _ => {
                self.expected(node, expected);
                None
            }
        }
    }

    /// Runs `read` one level down.
    pub(crate) fn within(&mut self, key: &str, read: impl FnOnce(&mut Self)) {
        self.path.push((key.to_owned(), None));
        read(self);
        self.path.pop();
    }

    /// Hands each used key of a block to `read`, checks the ignored ones and reports the rest.
    pub(crate) fn section(&mut self, node: &Node, kind: &Kind, read: &mut dyn FnMut(&str, &Node, &mut Self)) {
        let Kind::Section(section) = kind else { return };
        let entries = match &node.value {
            NodeValue::Null => return,
            NodeValue::Map(entries) => entries,
            _ => return self.expected(node, "a block of settings"),
        };
        for entry in entries {
            self.path.push((entry.key.clone(), entry.written.clone()));
            if section.used.iter().any(|key| key.name == entry.key) {
                self.origins.insert(self.canonical_path(), entry.origin.clone());
                read(&entry.key, &entry.node, self);
            } else if let Some(shape) = find_ignored(section.ignored, &entry.key) {
                if matches!(entry.origin, Origin::File { .. }) {
                    self.ignored.push(self.written_path());
                }
                self.shape(&entry.node, shape);
            } else if self.in_receivers() && is_instance(section, &entry.key) {
                self.instances.push(entry.key.clone());
            } else {
                self.path.pop();
                self.unknown(entry, &section_names(section));
                continue;
            }
            self.path.pop();
        }
    }

    fn in_receivers(&self) -> bool {
        self.parent() == Some("receivers")
    }

    /// Whether an empty value is a component with its defaults, as in a collector's configuration.
    pub(crate) fn naming_is_enough(&self) -> bool {
        matches!(self.parent(), Some("receivers" | "protocols"))
    }

    fn parent(&self) -> Option<&str> {
        let index = self.path.len().checked_sub(2)?;
        self.path.get(index).map(|(key, _)| key.as_str())
    }

    /// Checks the loose type of an ignored key and the keys below it.
    fn shape(&mut self, node: &Node, shape: Shape) {
        let is_int = |text: &str| parse_int(text).is_some();
        match (shape, &node.value) {
            (Shape::Any, _) | (_, NodeValue::Null) => {}
            (Shape::Block(table) | Shape::Inline(table), NodeValue::Map(entries)) => {
                for entry in entries {
                    match find_ignored(table, &entry.key) {
                        Some(shape) => {
                            self.within(&entry.key, |reader| reader.shape(&entry.node, shape));
                        }
                        None => self.unknown(entry, &ignored_names(table)),
                    }
                }
            }
            (Shape::Block(_) | Shape::Inline(_), _) => self.expected(node, "a block of settings"),
            (Shape::Map, NodeValue::Map(_)) | (Shape::List, NodeValue::List(_)) => {}
            // Go's flag types take one text for a list (memberlist.join_members).
            (Shape::List | Shape::Str, NodeValue::Scalar { .. }) => {}
            (Shape::Bool, NodeValue::Scalar { text, .. }) if parse_bool(text).is_some() => {}
            (Shape::Int, NodeValue::Scalar { text, .. }) if is_int(text) => {}
            (Shape::Num, NodeValue::Scalar { text, .. }) if text.parse::<f64>().is_ok() => {}
            (Shape::Dur, NodeValue::Scalar { text, .. })
                if is_int(text) || text.parse::<GoDuration>().is_ok() => {}
            (Shape::Map, _) => self.expected(node, "a mapping"),
            (Shape::List, _) => self.expected(node, "a list"),
            (Shape::Str, _) => self.expected(node, "text"),
            (Shape::Bool, _) => self.expected(node, "true or false"),
            (Shape::Int, _) => self.expected(node, "a whole number"),
            (Shape::Num, _) => self.expected(node, "a number"),
            (Shape::Dur, _) => self.expected(node, "a duration such as 30s or 1h30m"),
        }
    }

    fn unknown(&mut self, entry: &Entry, names: &[&str]) {
        if self.takes_unknown {
            return;
        }
        let parent = self.written_path();
        let place = if parent.is_empty() { "at the top level".to_owned() } else { format!("in {parent}") };
        let hint = match nearest(&entry.key, names.iter().copied()) {
            Some(name) => format!("; did you mean {name}?"),
            None => match self.belongs(&entry.key) {
                Some(path) => format!("; it belongs in {path}"),
                None => String::new(),
            },
        };
        let key = if parent.is_empty() { entry.key.clone() } else { format!("{parent}.{}", entry.key) };
        self.problems.push(Problem {
            origin: entry.origin.clone(),
            message: format!("unknown key \"{}\" {place}{hint}", entry.key),
            key,
        });
    }

    /// The only block that has a key of this name, if there is just one.
    fn belongs(&self, key: &str) -> Option<String> {
        let mut found = Vec::new();
        if let Some(root) = &self.root {
            find_key(root, key, &mut Vec::new(), &mut found);
        }
        match found.as_slice() {
            [only] if !only.is_empty() => Some(only.clone()),
            [only] if only.is_empty() => Some("the top level".to_owned()),
            _ => None,
        }
    }
}

fn section_names(section: &Section) -> Vec<&'static str> {
    let mut names: Vec<&'static str> = section.used.iter().map(|key| key.name).collect();
    names.extend(ignored_names(section.ignored));
    names
}

/// `otlp/second` where `otlp` is a known receiver; a collector lets several of a kind stand side by side.
fn is_instance(section: &Section, key: &str) -> bool {
    key.split_once('/').is_some_and(|(kind, _)| section.used.iter().any(|key| key.name == kind))
}

fn find_key(kind: &Kind, key: &str, path: &mut Vec<&'static str>, found: &mut Vec<String>) {
    let Kind::Section(section) = kind else { return };
    if section.used.iter().any(|used| used.name == key) {
        found.push(path.join("."));
    }
    for used in &section.used {
        path.push(used.name);
        find_key(&(used.kind)(), key, path, found);
        path.pop();
    }
    find_in_ignored(section.ignored, key, path, found);
}

fn find_in_ignored(
    table: &'static [Ignored],
    key: &str,
    path: &mut Vec<&'static str>,
    found: &mut Vec<String>,
) {
    if find_ignored(table, key).is_some() {
        found.push(path.join("."));
    }
    for (name, shape) in table {
        if let Shape::Block(inner) = shape {
            path.push(name);
            find_in_ignored(inner, key, path, found);
            path.pop();
        }
    }
}
