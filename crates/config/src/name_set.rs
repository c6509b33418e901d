//! Names without an order, as Tempo has its processors: written as a list, or as a mapping whose keys they are.

use std::ops::Deref;

use crate::node::{Node, NodeValue};
use crate::reader::Reader;
use crate::table::{Item, Kind, Setting};

/// Names, each once, in the order they were written in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NameSet(Vec<String>);

impl Deref for NameSet {
    type Target = [String];

    fn deref(&self) -> &[String] {
        &self.0
    }
}

impl Setting for NameSet {
    fn kind() -> Kind {
        Kind::List(String::kind)
    }

    fn read(&mut self, node: &Node, reader: &mut Reader) {
        let mut names: Vec<String> = Vec::new();
        match &node.value {
            NodeValue::Map(entries) => names.extend(entries.iter().map(|entry| entry.key.clone())),
            _ => names.read(node, reader),
        }
        self.0.clear();
        for name in names {
            if !self.0.contains(&name) {
                self.0.push(name);
            }
        }
    }

    fn show(&self) -> Item {
        self.0.show()
    }

    fn zero() -> Self {
        Self::default()
    }
}
