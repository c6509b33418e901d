//! The texts under `/status`, which operators and Kiali read.

use crate::admin::StoredBlocks;

/// A table of two columns and an empty third, as Tempo draws it.
pub(crate) fn services(services: &[(String, String)]) -> String {
    let failed = |state: &str| if state == "Failed" { "failed" } else { "" };
    let rows = services.iter().map(|(name, state)| [name.as_str(), state.as_str(), failed(state)]);
    table(["SERVICE NAME", "STATUS", "FAILURE CASE"], rows.collect())
}

/// What is stored, by tenant, with how much of it are bloom filters over values.
pub(crate) fn blocks(tenants: &[StoredBlocks]) -> String {
    let shown = |stored: &StoredBlocks| {
        [
            stored.tenant.clone(),
            stored.blocks.to_string(),
            stored.bytes.to_string(),
            stored.filter_bytes.to_string(),
        ]
    };
    let rows: Vec<[String; 4]> = tenants.iter().map(shown).collect();
    let rows = rows.iter().map(|row| row.each_ref().map(String::as_str)).collect();
    table(["TENANT", "BLOCKS", "BYTES", "OF THEM FILTERS"], rows)
}

/// The paths that are served.
pub(crate) fn endpoints(paths: &[(String, &'static str)]) -> String {
    table(
        ["API ENDPOINT", "METHODS"],
        paths.iter().map(|(path, methods)| [path.as_str(), *methods]).collect(),
    )
}

/// Names and values, one in a line.
pub(crate) fn version(version: &str, revision: &str) -> String {
    format!(
        "tempo, version {version} (revision: {revision}), answered by trackway {}\n",
        env!("CARGO_PKG_VERSION")
    )
}

fn table<const N: usize>(head: [&str; N], rows: Vec<[&str; N]>) -> String {
    let mut widths = head.map(|cell| cell.chars().count());
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut rule = String::from("+");
    for width in widths {
        rule.push_str(&"-".repeat(width + 2));
        rule.push('+');
    }
    rule.push('\n');
    let line = |cells: [&str; N], centred: bool| {
        let mut line = String::from("|");
        for (cell, width) in cells.into_iter().zip(widths) {
            // Only a title that nearly fills its column is moved, which is how Tempo's tables look.
            let gap = width - cell.chars().count();
            let before = usize::from(centred && gap == 1);
            line.push_str(&format!(" {}{cell}{} |", " ".repeat(before), " ".repeat(gap - before)));
        }
        line + "\n"
    };
    let body: String = rows.into_iter().map(|row| line(row, false)).collect();
    format!("{rule}{}{rule}{body}{rule}", line(head, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_counted_by_tenant() {
        let stored = StoredBlocks { tenant: "shop".to_owned(), blocks: 3, bytes: 1000, filter_bytes: 12 };
        let text = blocks(&[stored]);
        assert!(text.contains("| TENANT | BLOCKS | BYTES | OF THEM FILTERS |"), "{text}");
        assert!(text.contains("| shop   | 3      | 1000  | 12              |"), "{text}");
    }

    #[test]
    fn services_are_drawn_as_tempo_draws_them() {
        let running = |name: &str| (name.to_owned(), "Running".to_owned());
        let want = "\
+-------------------+---------+--------------+
| SERVICE NAME      |  STATUS | FAILURE CASE |
+-------------------+---------+--------------+
| backend-scheduler | Running |              |
| store             | Running |              |
+-------------------+---------+--------------+
";
        assert_eq!(services(&[running("backend-scheduler"), running("store")]), want);
    }
}
