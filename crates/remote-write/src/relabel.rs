//! Prometheus' relabelling: what is made of a series' labels before it is sent, and which series are not sent at all.
//!
//! What must stay true: the rules run in their order, each on what the one before left; what is left is sorted and has
//! no label without a value.

use std::borrow::Cow;

use md5::{Digest, Md5};
use regex::Regex;
use trackway_traceql::compile_regex;

/// Prometheus' defaults.
const SEPARATOR: &str = ";";
const REGEX: &str = "(.*)";
const REPLACEMENT: &str = "$1";

/// The labels of a series.
type Labels<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// A rule as it is set: an entry of `write_relabel_configs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelabelConfig {
    /// Labels whose values, joined, are looked at.
    pub source_labels: Vec<String>,
    /// What joins them.
    pub separator: String,
    /// The label that is written or compared.
    pub target_label: String,
    /// What the joined values (or names of labels) have to match as a whole.
    pub regex: String,
    /// Into how many parts `hashmod` divides.
    pub modulus: u64,
    /// What is written; `$1`, `${1}` and `$name` are groups of `regex`.
    pub replacement: String,
    /// What is done, in any case of letters; empty is `replace`.
    pub action: String,
}

impl Default for RelabelConfig {
    fn default() -> Self {
        Self {
            source_labels: Vec::new(),
            separator: SEPARATOR.to_owned(),
            target_label: String::new(),
            regex: REGEX.to_owned(),
            modulus: 0,
            replacement: REPLACEMENT.to_owned(),
            action: String::new(),
        }
    }
}

/// A rule that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write_relabel_configs[{entry}].{key}: {problem}")]
pub struct RelabelError {
    /// Which entry, from 0.
    pub entry: usize,
    /// The setting in it.
    pub key: &'static str,
    /// What is wrong, and the way out.
    pub problem: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Replace,
    Keep,
    Drop,
    KeepEqual,
    DropEqual,
    HashMod,
    LabelMap,
    LabelDrop,
    LabelKeep,
    Lowercase,
    Uppercase,
}

const ACTIONS: [(&str, Action); 11] = [
    ("replace", Action::Replace),
    ("keep", Action::Keep),
    ("drop", Action::Drop),
    ("keepequal", Action::KeepEqual),
    ("dropequal", Action::DropEqual),
    ("hashmod", Action::HashMod),
    ("labelmap", Action::LabelMap),
    ("labeldrop", Action::LabelDrop),
    ("labelkeep", Action::LabelKeep),
    ("lowercase", Action::Lowercase),
    ("uppercase", Action::Uppercase),
];

/// A rule, ready to run.
#[derive(Clone, Debug)]
struct Rule {
    action: Action,
    regex: Regex,
    config: RelabelConfig,
}

/// All rules of an endpoint.
#[derive(Clone, Debug, Default)]
pub struct Relabel {
    rules: Vec<Rule>,
}

impl Relabel {
    /// Checks and compiles rules.
    ///
    /// # Errors
    /// [`RelabelError`], which names the entry and its setting.
    pub fn open(configs: &[RelabelConfig]) -> Result<Self, RelabelError> {
        let opened = configs.iter().enumerate().map(|(entry, config)| {
            Rule::open(config).map_err(|(key, problem)| RelabelError { entry, key, problem })
        });
        Ok(Self { rules: opened.collect::<Result<_, _>>()? })
    }

    /// Whether there is no rule.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Runs the rules. `false` says that the series is dropped, or that no label of it is left; then the labels are
    /// anything.
    pub fn apply(&self, labels: &mut Labels<'_>) -> bool {
        labels.retain(|(_, value)| !value.is_empty());
        if !self.rules.iter().all(|rule| rule.apply(labels)) {
            return false;
        }
        labels.sort_unstable();
        !labels.is_empty()
    }
}

impl Rule {
    fn open(config: &RelabelConfig) -> Result<Self, (&'static str, String)> {
        let name = if config.action.is_empty() { "replace" } else { config.action.as_str() };
        let known = ACTIONS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        let Some((name, action)) = known.copied() else {
            let all: Vec<&str> = ACTIONS.iter().map(|(name, _)| *name).collect();
            return Err(("action", format!("is \"{name}\"; use one of {}", all.join(", "))));
        };
        let needs_target = match action {
            Action::Keep | Action::Drop | Action::LabelMap | Action::LabelDrop | Action::LabelKeep => false,
            Action::Replace | Action::KeepEqual | Action::DropEqual => true,
            Action::HashMod | Action::Lowercase | Action::Uppercase => true,
        };
        if needs_target && config.target_label.is_empty() {
            return Err(("target_label", format!("is empty; {name} needs one")));
        }
        if action == Action::HashMod && config.modulus == 0 {
            return Err(("modulus", "is 0; hashmod needs one".to_owned()));
        }
        if action == Action::LabelMap && config.replacement.is_empty() {
            return Err(("replacement", "is empty; labelmap needs the new name, such as $1".to_owned()));
        }
        if let Some(key) = useless(action, config) {
            return Err((key, format!("has no meaning for {name}; leave it out")));
        }
        let regex = compile_regex(&config.regex).map_err(|problem| ("regex", problem))?;
        Ok(Self { action, regex, config: config.clone() })
    }

    /// Whether the series stays.
    fn apply(&self, labels: &mut Labels<'_>) -> bool {
        let config = &self.config;
        let target = config.target_label.as_str();
        match self.action {
            Action::LabelMap => self.map(labels),
            Action::LabelDrop => labels.retain(|(name, _)| !self.regex.is_match(name)),
            Action::LabelKeep => labels.retain(|(name, _)| self.regex.is_match(name)),
            Action::Keep => return self.regex.is_match(&self.joined(labels)),
            Action::Drop => return !self.regex.is_match(&self.joined(labels)),
            Action::KeepEqual => return get(labels, target) == self.joined(labels),
            Action::DropEqual => return get(labels, target) != self.joined(labels),
            Action::Replace => self.replace(labels),
            Action::Lowercase => {
                let lower = by_letter(&self.joined(labels), char::to_lowercase);
                set(labels, target, lower);
            }
            Action::Uppercase => {
                let upper = by_letter(&self.joined(labels), char::to_uppercase);
                set(labels, target, upper);
            }
            Action::HashMod => {
                let part = tail_of_md5(&self.joined(labels)) % config.modulus;
                set(labels, target, part.to_string());
            }
        }
        true
    }

    fn replace(&self, labels: &mut Labels<'_>) {
        let joined = self.joined(labels);
        let Some(found) = self.regex.captures(&joined) else { return };
        let (mut name, mut value) = (String::new(), String::new());
        found.expand(&self.config.target_label, &mut name);
        found.expand(&self.config.replacement, &mut value);
        if !name.is_empty() {
            set(labels, &name, value);
        }
    }

    /// Copies labels to other names; what is copied is not looked at again.
    fn map(&self, labels: &mut Labels<'_>) {
        let mut copies = Vec::new();
        for (name, value) in labels.iter() {
            if let Some(found) = self.regex.captures(name) {
                let mut to = String::new();
                found.expand(&self.config.replacement, &mut to);
                copies.push((to, value.clone()));
            }
        }
        for (to, value) in copies {
            if !to.is_empty() {
                set(labels, &to, value);
            }
        }
    }

    /// The values of the source labels; that of one alone is not copied.
    fn joined<'l>(&self, labels: &'l Labels<'_>) -> Cow<'l, str> {
        if let [name] = self.config.source_labels.as_slice() {
            return Cow::Borrowed(get(labels, name));
        }
        let values: Vec<&str> = self.config.source_labels.iter().map(|name| get(labels, name)).collect();
        Cow::Owned(values.join(&self.config.separator))
    }
}

/// A setting that an action does not look at, and Prometheus refuses beside it.
fn useless(action: Action, config: &RelabelConfig) -> Option<&'static str> {
    let set = [
        ("source_labels", !config.source_labels.is_empty()),
        ("target_label", !config.target_label.is_empty()),
        ("regex", config.regex != REGEX),
        ("modulus", config.modulus != 0),
        ("separator", config.separator != SEPARATOR),
        ("replacement", config.replacement != REPLACEMENT),
    ];
    let refused: &[&str] = match action {
        Action::KeepEqual | Action::DropEqual => &["regex", "modulus", "separator", "replacement"],
        Action::LabelDrop | Action::LabelKeep => {
            &["source_labels", "target_label", "modulus", "separator", "replacement"]
        }
        _ => &[],
    };
    set.into_iter().find(|(key, is_set)| *is_set && refused.contains(key)).map(|(key, _)| key)
}

fn get<'l>(labels: &'l Labels<'_>, name: &str) -> &'l str {
    labels.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
}

/// Writes a label; an empty value takes it away.
fn set<'a>(labels: &mut Labels<'a>, name: &str, value: impl Into<Cow<'a, str>>) {
    let value = value.into();
    if value.is_empty() {
        return labels.retain(|(known, _)| known != name);
    }
    match labels.iter_mut().find(|(known, _)| known == name) {
        Some((_, old)) => *old = value,
        None => labels.push((Cow::Owned(name.to_owned()), value)),
    }
}

/// Another case, a letter for a letter, as Go has it: `ß` stays.
fn by_letter<I: ExactSizeIterator<Item = char>>(text: &str, change: impl Fn(char) -> I) -> String {
    let one = |letter: char| {
        let mut changed = change(letter);
        changed.next().filter(|_| changed.len() == 0).unwrap_or(letter)
    };
    text.chars().map(one).collect()
}

/// The last eight bytes of MD5, which decides which part a value belongs to, in every Prometheus the same.
fn tail_of_md5(text: &str) -> u64 {
    let digest: [u8; 16] = Md5::digest(text.as_bytes()).into();
    digest.iter().skip(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}
