//! The YAML file as a tree in which every key and value knows its line.
//!
//! Anchors, aliases and merge keys (`<<`) are resolved here, under a budget, so that a small file cannot become a
//! large tree. Only the first document counts, as in Tempo.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use granit_parser::{Event, Parser, ScalarStyle, Span};

use crate::problem::{ConfigError, Origin, Problem};

/// The most nodes a file may hold after its aliases are resolved.
const MAX_NODES: usize = 100_000;
/// The deepest nesting; real files have about ten levels.
const MAX_DEPTH: usize = 64;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) origin: Origin,
    pub(crate) value: NodeValue,
}

/// What a value is, before anybody says what it should be.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum NodeValue {
    /// Nothing, `~` or `null`.
    Null,
    /// Text; `quoted` text is never null.
    Scalar { text: String, quoted: bool },
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in file order.
    Map(Vec<Entry>),
}

/// One key of a mapping.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) origin: Origin,
    /// The full key as the user wrote it, where a legacy key was moved to its present place.
    pub(crate) written: Option<String>,
    pub(crate) node: Node,
}

impl Node {
    /// A node that stands nowhere.
    pub(crate) fn null(origin: Origin) -> Self {
        Self { origin, value: NodeValue::Null }
    }

    /// The value under a path of keys.
    pub(crate) fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |node, key| match &node.value {
            NodeValue::Map(entries) => entries.iter().find(|e| e.key == *key).map(|e| &e.node),
            _ => None,
        })
    }

    /// The entries, making a mapping of a null first; `None` if it is something else.
    pub(crate) fn entries_mut(&mut self) -> Option<&mut Vec<Entry>> {
        if self.value == NodeValue::Null {
            self.value = NodeValue::Map(Vec::new());
        }
        match &mut self.value {
            NodeValue::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// Puts a value under a path of keys, over what stands there; `false` if the way is blocked by a non-mapping.
    pub(crate) fn insert(&mut self, path: &[&str], node: Self, written: Option<String>) -> bool {
        let Some((first, rest)) = path.split_first() else {
            *self = node;
            return true;
        };
        let origin = node.origin.clone();
        let Some(entries) = self.entries_mut() else {
            return false;
        };
        let index = entries.iter().position(|e| e.key == *first).unwrap_or_else(|| {
            entries.push(Entry {
                key: (*first).to_owned(),
                origin: origin.clone(),
                written: None,
                node: Self::null(origin.clone()),
            });
            entries.len() - 1
        });
        let entry = &mut entries[index];
        if rest.is_empty() {
            entry.origin = origin;
            entry.written = written;
            entry.node = node;
            return true;
        }
        entry.node.insert(rest, node, written)
    }
}

/// Reads the first document of a file; a file without any is null.
pub(crate) fn parse(name: &str, text: &str) -> Result<Node, ConfigError> {
    let mut builder = Builder {
        events: Parser::new_from_str(text),
        text,
        name: name.into(),
        anchors: HashMap::new(),
        nodes: 0,
        problems: Vec::new(),
    };
    let node = builder.document().map_err(|problem| ConfigError { problems: vec![problem] })?;
    if builder.problems.is_empty() { Ok(node) } else { Err(ConfigError { problems: builder.problems }) }
}

struct Builder<'a> {
    events: Parser<'a, granit_parser::StrInput<'a>>,
    text: &'a str,
    name: Arc<str>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    /// What does not stop the reading: duplicate keys.
    problems: Vec<Problem>,
}

type Step<'a> = (Event<'a>, Span);

impl<'a> Builder<'a> {
    fn problem(&self, line: usize, message: impl Into<String>) -> Problem {
        Problem { origin: self.origin(line), key: String::new(), message: message.into() }
    }

    fn origin(&self, line: usize) -> Origin {
        Origin::File { name: Arc::clone(&self.name), line }
    }

    fn next(&mut self) -> Result<Option<Step<'a>>, Problem> {
        match self.events.next_event() {
            None => Ok(None),
            Some(Ok(step)) => Ok(Some(step)),
            Some(Err(error)) => Err(self.invalid(error.marker().line(), &error.info())),
        }
    }

    /// The parser blames the line before a tab that is meant as indentation; nobody would find it there.
    fn invalid(&self, line: usize, info: &str) -> Problem {
        let tab = self
            .text
            .lines()
            .enumerate()
            .skip(line.saturating_sub(1))
            .find(|(_, text)| text.trim_start_matches(' ').starts_with('\t'));
        match tab {
            Some((index, _)) if info.contains("tab") => {
                self.problem(index + 1, "not valid YAML: indent with spaces, not tabs")
            }
            _ => self.problem(line, format!("not valid YAML: {info}")),
        }
    }

    fn document(&mut self) -> Result<Node, Problem> {
        while let Some((event, span)) = self.next()? {
            match event {
                Event::StreamStart | Event::DocumentStart(..) => {}
                Event::StreamEnd | Event::DocumentEnd => break,
                event => return self.node(event, span, 0),
            }
        }
        Ok(Node::null(self.origin(1)))
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Problem> {
        let line = span.start.line();
        self.count(1, line)?;
        if depth > MAX_DEPTH {
            return Err(self.problem(line, "nested too deeply"));
        }
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_text = tag.is_some_and(|tag| tag.core_suffix() == Some("str"));
                let quoted = is_text || !matches!(style, ScalarStyle::Plain);
                (scalar(&text, quoted), anchor)
            }
            Event::SequenceStart(_, anchor, _) => (self.list(depth, line)?, anchor),
            Event::MappingStart(_, anchor, _) => (self.map(depth, line)?, anchor),
            Event::Alias(id) => {
                let Some(node) = self.anchors.get(&id).cloned() else {
                    return Err(self.problem(line, "an alias that refers to itself"));
                };
                self.count(size(&node), line)?;
                return Ok(node);
            }
            _ => return Err(self.problem(line, "not valid YAML: a value was expected")),
        };
        let node = Node { origin: self.origin(line), value };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn count(&mut self, nodes: usize, line: usize) -> Result<(), Problem> {
        self.nodes += nodes;
        if self.nodes > MAX_NODES {
            return Err(self.problem(line, "too large: aliases expand to more than 100000 values"));
        }
        Ok(())
    }

    fn child(&mut self, line: usize) -> Result<Step<'a>, Problem> {
        let step = self.next()?;
        step.ok_or_else(|| self.problem(line, "not valid YAML: the file ends too early"))
    }

    fn list(&mut self, depth: usize, line: usize) -> Result<NodeValue, Problem> {
        let mut items = Vec::new();
        loop {
            match self.child(line)? {
                (Event::SequenceEnd, _) => return Ok(NodeValue::List(items)),
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize, line: usize) -> Result<NodeValue, Problem> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut seen: HashMap<String, usize> = HashMap::new();
        let mut merges: Vec<Node> = Vec::new();
        loop {
            let (event, span) = self.child(line)?;
            let key_line = span.start.line();
            let key = match event {
                Event::MappingEnd => break,
                Event::Scalar(text, style, ..) => (text.into_owned(), matches!(style, ScalarStyle::Plain)),
                _ => return Err(self.problem(key_line, "a key must be a plain text")),
            };
            let (event, span) = self.child(key_line)?;
            let node = self.node(event, span, depth + 1)?;
            if key == ("<<".to_owned(), true) {
                merges.push(node);
                continue;
            }
            let key = key.0;
            if let Some(first) = seen.get(&key) {
                let message = format!("duplicate key \"{key}\"; it already stands on line {first}");
                let mut problem = self.problem(key_line, message);
                problem.key = key;
                self.problems.push(problem);
                continue;
            }
            seen.insert(key.clone(), key_line);
            entries.push(Entry { key, origin: self.origin(key_line), written: None, node });
        }
        self.merge(&mut entries, merges)?;
        Ok(NodeValue::Map(entries))
    }

    /// Adds what `<<` brings: keys of the mapping itself win, then earlier merged mappings over later ones.
    fn merge(&self, entries: &mut Vec<Entry>, merges: Vec<Node>) -> Result<(), Problem> {
        let mut seen: HashSet<String> = entries.iter().map(|e| e.key.clone()).collect();
        let mut waiting: Vec<Node> = merges;
        waiting.reverse();
        while let Some(node) = waiting.pop() {
            match node.value {
                NodeValue::Map(merged) => {
                    for entry in merged {
                        if seen.insert(entry.key.clone()) {
                            entries.push(entry);
                        }
                    }
                }
                NodeValue::List(items) => waiting.extend(items.into_iter().rev()),
                NodeValue::Null => {}
                NodeValue::Scalar { .. } => {
                    return Err(Problem {
                        origin: node.origin,
                        key: "<<".to_owned(),
                        message: "\"<<\" must name a block of settings".to_owned(),
                    });
                }
            }
        }
        Ok(())
    }
}

fn scalar(text: &str, quoted: bool) -> NodeValue {
    if !quoted && matches!(text, "" | "~" | "null" | "Null" | "NULL") {
        return NodeValue::Null;
    }
    NodeValue::Scalar { text: text.to_owned(), quoted }
}

fn size(node: &Node) -> usize {
    match &node.value {
        NodeValue::List(items) => 1 + items.iter().map(size).sum::<usize>(),
        NodeValue::Map(entries) => 1 + entries.iter().map(|e| size(&e.node)).sum::<usize>(),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_at(node: &Node, path: &[&str]) -> String {
        match &node.at(path).unwrap().value {
            NodeValue::Scalar { text, .. } => text.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn keys_know_their_lines_and_merges_are_resolved() {
        let text = "a: &x\n  p: 1\n  q: 2\nb:\n  <<: *x\n  q: 3\nc: [*x, ~]\nd:\n";
        let node = parse("f", text).unwrap();
        assert_eq!(text_at(&node, &["b", "p"]), "1");
        assert_eq!(text_at(&node, &["b", "q"]), "3");
        assert_eq!(node.at(&["d"]).unwrap().value, NodeValue::Null);
        let NodeValue::Map(entries) = &node.value else { panic!() };
        assert_eq!(entries[2].origin.to_string(), "f:7");
    }

    #[test]
    fn errors_name_the_line() {
        assert_eq!(
            parse("f", "a: 1\nb:\n  c: 1\n  c: 2\na: 3\n").unwrap_err().to_string(),
            "f:4: duplicate key \"c\"; it already stands on line 3\n\
             f:5: duplicate key \"a\"; it already stands on line 1"
        );
        assert_eq!(
            parse("f", "a: 1\n\tb: 2").unwrap_err().to_string(),
            "f:2: not valid YAML: indent with spaces, not tabs"
        );
        let error = parse("f", "a: 1\nb: }\n").unwrap_err().to_string();
        assert!(error.starts_with("f:2: not valid YAML: "), "{error}");
        assert!(parse("f", "a: *nope").is_err());
        assert!(parse("f", "a: &a [*a]").is_err());
    }

    #[test]
    fn bombs_are_refused() {
        let mut text = "a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n".to_owned();
        for i in 1..10 {
            let list = vec![format!("*a{}", i - 1); 10].join(",");
            text += &format!("a{i}: &a{i} [{list}]\n");
        }
        let error = parse("f", &text).unwrap_err().to_string();
        assert!(error.contains("too large"), "{error}");
        assert!(parse("f", &"[".repeat(10_000)).is_err());
        assert!(parse("f", "").unwrap().value == NodeValue::Null);
    }
}
