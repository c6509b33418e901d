//! The settings in effect, as `/status/config` shows them: secrets masked, the same keys as in the file.

use std::collections::BTreeMap;

use crate::config::Config;
use crate::sections::{Limits, Settings};
use crate::table::{Item, Setting};
use crate::yaml;

/// What [`Config::to_yaml`] prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum YamlMode {
    /// Every setting in effect.
    Full,
    /// Only what differs from the defaults.
    Diff,
    /// The defaults.
    Defaults,
}

impl Config {
    /// The settings as YAML. Keys that Trackway ignores are not among them.
    pub fn to_yaml(&self, mode: YamlMode) -> String {
        let defaults = || Settings::default().show();
        let item = match mode {
            YamlMode::Full => self.settings.show(),
            YamlMode::Defaults => defaults(),
            YamlMode::Diff => diff(&self.settings.show(), &defaults()).unwrap_or(Item::Map(Vec::new())),
        };
        yaml::print(&item)
    }
}

/// What can change while a process runs, as `/status/runtime_config` shows it: the limits of tenants without their own, and
/// those of the others. With `diff` only what differs from Tempo's defaults, or from the zero that an entry starts from.
pub fn runtime_yaml(defaults: &Limits, tenants: &BTreeMap<String, Limits>, diff: bool) -> String {
    let shown = |limits: &Limits, from: &Limits| match diff {
        false => limits.show(),
        true => self::diff(&limits.show(), &from.show()).unwrap_or(Item::Map(Vec::new())),
    };
    let of_tenants: Vec<(String, Item)> =
        tenants.iter().map(|(tenant, limits)| (tenant.clone(), shown(limits, &Limits::zero()))).collect();
    yaml::print(&Item::Map(vec![
        ("defaults".to_owned(), shown(defaults, &Limits::default())),
        ("overrides".to_owned(), Item::Map(of_tenants)),
    ]))
}

/// A tenant's limits as YAML.
pub fn limits_yaml(limits: &Limits) -> String {
    yaml::print(&limits.show())
}

/// What of `item` differs from `default`.
fn diff(item: &Item, default: &Item) -> Option<Item> {
    if item == default {
        return None;
    }
    let (Item::Map(entries), Item::Map(defaults)) = (item, default) else {
        return Some(item.clone());
    };
    let changed = entries
        .iter()
        .filter_map(|(key, item)| {
            match defaults.iter().find(|(name, _)| name == key) {
                Some((_, default)) => diff(item, default),
                None => Some(item.clone()),
            }
            .map(|item| (key.clone(), item))
        })
        .collect();
    Some(Item::Map(changed))
}
