//! The file of tenants' own limits (`overrides.per_tenant_override_config`).
//!
//! A tenant's entry replaces the defaults as a whole: what it does not set is Go's zero, not the default. The rate
//! strategy alone is everyone's.

use std::collections::BTreeMap;

use crate::legacy;
use crate::node::{self, NodeValue};
use crate::problem::{ConfigError, Problem};
use crate::reader::Reader;
use crate::sections::Limits;
use crate::table::{Kind, Section, Setting};

/// Reads the file: limits by tenant, `*` for all that are not named.
///
/// Both spellings are understood. `defaults` gives the rate strategy.
pub fn tenant_limits(
    name: &str,
    text: &str,
    defaults: &Limits,
) -> Result<BTreeMap<String, Limits>, ConfigError> {
    let root = node::parse(name, text)?;
    let mut reader = Reader::default();
    let mut tenants = BTreeMap::new();
    let kind = Kind::Section(Section {
        used: vec![crate::table::Key {
            name: "overrides",
            doc: "",
            kind: Limits::kind,
            default: || crate::table::Item::Null,
        }],
        ignored: &[],
    });
    reader.section(&root, &kind, &mut |_, node, reader| {
        let entries = match &node.value {
            NodeValue::Null => return,
            NodeValue::Map(entries) => entries,
            _ => return reader.expected(node, "a mapping from tenants to their limits"),
        };
        for entry in entries {
            let mut block = entry.node.clone();
            let mut problems: Vec<Problem> = Vec::new();
            let shown = format!("overrides.{}", entry.key);
            legacy::move_flat(&mut block, &[], &shown, &mut problems);
            reader.problems.extend(problems);
            let mut limits = Limits::zero();
            reader.within(&entry.key, |reader| limits.read(&block, reader));
            limits.ingestion.rate_strategy = defaults.ingestion.rate_strategy;
            tenants.insert(entry.key.clone(), limits);
        }
    });
    if reader.problems.is_empty() { Ok(tenants) } else { Err(ConfigError { problems: reader.problems }) }
}
