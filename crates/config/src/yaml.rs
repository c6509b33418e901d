//! Prints a tree of values as YAML that both Trackway and Tempo read back.

use crate::table::Item;

/// The text of a value at the top level.
pub(crate) fn print(item: &Item) -> String {
    let mut out = String::new();
    match item {
        Item::Map(entries) if !entries.is_empty() => map(entries, 0, &mut out),
        _ => out.push_str("{}\n"),
    }
    out
}

fn map(entries: &[(String, Item)], indent: usize, out: &mut String) {
    for (key, item) in entries {
        if *item == Item::Absent {
            continue;
        }
        pad(indent, out);
        out.push_str(&text(key));
        out.push(':');
        value(item, indent, out);
    }
}

/// What follows a key's colon, with the line break.
fn value(item: &Item, indent: usize, out: &mut String) {
    match item {
        Item::Map(entries) if entries.iter().any(|(_, item)| *item != Item::Absent) => {
            out.push('\n');
            map(entries, indent + 1, out);
        }
        Item::List(items) if !items.is_empty() => {
            out.push('\n');
            for item in items {
                pad(indent + 1, out);
                out.push('-');
                list_item(item, indent + 1, out);
            }
        }
        item => {
            out.push(' ');
            out.push_str(&inline(item));
            out.push('\n');
        }
    }
}

fn list_item(item: &Item, indent: usize, out: &mut String) {
    let Item::Map(entries) = item else {
        return value(item, indent, out);
    };
    let mut block = String::new();
    map(entries, indent + 1, &mut block);
    // The first key stands behind the dash instead of its own indentation.
    let first = block.trim_start();
    if first.is_empty() {
        out.push_str(" {}\n");
    } else {
        out.push(' ');
        out.push_str(first);
    }
}

fn inline(item: &Item) -> String {
    match item {
        Item::Absent | Item::Null => "null".to_owned(),
        Item::Plain(plain) => plain.clone(),
        Item::Text(plain) => text(plain),
        Item::List(_) => "[]".to_owned(),
        Item::Map(_) => "{}".to_owned(),
    }
}

/// A value as it is shown in a table: one line.
pub(crate) fn short(item: &Item) -> String {
    match item {
        Item::Absent | Item::Null => String::new(),
        Item::Text(plain) if plain.is_empty() => "empty".to_owned(),
        Item::List(items) if !items.is_empty() => {
            let items: Vec<String> = items.iter().map(short).collect();
            format!("`[{}]`", items.join(", ").replace('`', ""))
        }
        Item::Text(plain) | Item::Plain(plain) => format!("`{plain}`"),
        other => format!("`{}`", inline(other)),
    }
}

fn pad(indent: usize, out: &mut String) {
    for _ in 0..indent {
        out.push_str("  ");
    }
}

/// Text, quoted unless it reads back as the same text in YAML 1.1 and 1.2.
fn text(plain: &str) -> String {
    let safe = !plain.is_empty()
        && plain.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '+'))
        && !plain.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '.' | '+'))
        && crate::values::parse_bool(plain).is_none()
        && !matches!(plain, "null" | "Null" | "NULL");
    if safe {
        return plain.to_owned();
    }
    let mut out = String::from("\"");
    for c in plain.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
