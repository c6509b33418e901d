//! The settings in effect, as `/status/config` shows them: secrets masked, the same keys as in the file.

use crate::config::Config;
use crate::sections::Settings;
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
