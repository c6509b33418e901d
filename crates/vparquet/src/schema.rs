//! The schemas of the formats that are written: the tree, and how many columns it has for dedicated attributes.
//!
//! The tree is written down once, as Parquet's own schema language; column order, repetition, types and logical types
//! equal those of the blocks that Tempo writes, or Tempo would read our columns under other names. vParquet4 has the same
//! columns in every block; vParquet5 leaves out those for dedicated attributes that the block does not have.

use std::sync::{Arc, LazyLock};

use parquet::schema::parser::parse_message_type;
use parquet::schema::types::{SchemaDescPtr, SchemaDescriptor};
use trackway_spans::Level;

use crate::layout::{ColumnType, Fixed, Layout};
use crate::meta::{DedicatedColumn, Format};

const DROPPED_ATTRIBUTES: &str = "required int32 DroppedAttributesCount (INTEGER(32,true));";

/// What the tree of a block is made from.
struct Tree {
    layout: &'static Layout,
    /// Columns for dedicated attributes: by level, texts and integers.
    dedicated: [[usize; 2]; 5],
}

impl Tree {
    fn new(format: Format, columns: &[DedicatedColumn]) -> Self {
        let layout = Layout::of(format);
        let mut dedicated = [[0; 2]; 5];
        if layout.is_dynamic() {
            for column in columns {
                let (Some(level), Some(kind)) = (column.level(), column.column_type()) else { continue };
                dedicated[level as usize][kind as usize] += 1;
            }
        } else {
            dedicated = Level::ALL.map(|level| {
                [ColumnType::Text, ColumnType::Int].map(|kind| layout.dedicated_max(level, kind))
            });
        }
        Self { layout, dedicated }
    }

    fn is_v5(&self) -> bool {
        self.layout.format == Format::VParquet5
    }

    /// A list of groups.
    fn list(&self, name: &str, fields: &str) -> String {
        if self.is_v5() {
            format!("repeated group {name} {{ {fields} }}")
        } else {
            format!(
                "required group {name} (LIST) {{ repeated group list {{ required group element {{ {fields} }} }} }}"
            )
        }
    }

    /// A list of values.
    fn values(&self, name: &str, kind: &str) -> String {
        let logical = match kind {
            "binary" => " (STRING)",
            "int64" => " (INTEGER(64,true))",
            _ => "",
        };
        if self.is_v5() {
            format!("repeated {kind} {name}{logical};")
        } else {
            format!(
                "required group {name} (LIST) {{ repeated group list {{ required {kind} element{logical}; }} }}"
            )
        }
    }

    fn attributes(&self) -> String {
        let lists =
            [("Value", "binary"), ("ValueInt", "int64"), ("ValueDouble", "double"), ("ValueBool", "boolean")];
        let lists = lists.map(|(name, kind)| self.values(name, kind)).concat();
        self.list(
            "Attrs",
            &format!(
                "required binary Key (STRING); required boolean IsArray; {lists}
                 optional binary ValueUnsupported (STRING);"
            ),
        )
    }

    fn dedicated(&self, level: Level) -> String {
        let repetition = if self.is_v5() { "repeated" } else { "optional" };
        let [texts, ints] = self.dedicated[level as usize];
        if texts + ints == 0 {
            return String::new();
        }
        let texts =
            (1..=texts).map(|n| format!("{repetition} binary {} (STRING);", ColumnType::Text.column(n)));
        let ints = (1..=ints)
            .map(|n| format!("{repetition} int64 {} (INTEGER(64,true));", ColumnType::Int.column(n)));
        let columns: String = texts.chain(ints).collect();
        format!("required group DedicatedAttributes {{ {columns} }}")
    }

    fn fixed(&self, level: Level) -> String {
        let texts = self.layout.fixed_texts(level).iter();
        let ints = self.layout.fixed_ints(level).iter();
        let text = |(_, column): &Fixed| format!("optional binary {column} (STRING);");
        let int = |(_, column): &Fixed| format!("optional int64 {column} (INTEGER(64,true));");
        texts.map(text).chain(ints.map(int)).collect()
    }

    fn stats(&self) -> String {
        let counts =
            "required int32 SpanCount (INTEGER(32,false)); required int32 ErrorCount (INTEGER(32,false));";
        if self.is_v5() {
            self.list("ServiceStats", &format!("required binary ServiceName (STRING); {counts}"))
        } else {
            format!(
                "required group ServiceStats (MAP) {{ repeated group key_value {{ required binary key (STRING);
                 required group value {{ {counts} }} }} }}"
            )
        }
    }

    fn resource(&self) -> String {
        let (attrs, service) = (self.attributes(), "required binary ServiceName (STRING);");
        let own = self.fixed(Level::Resource) + &self.dedicated(Level::Resource);
        if self.is_v5() {
            format!("{service} {attrs} {DROPPED_ATTRIBUTES} {own}")
        } else {
            format!("{attrs} {DROPPED_ATTRIBUTES} {service} {own}")
        }
    }

    fn span(&self) -> String {
        let attrs = self.attributes();
        let child_count = if self.is_v5() { "required int32 ChildCount (INTEGER(32,true));" } else { "" };
        let rounded =
            |seconds: &u64| format!("required int32 StartTimeRounded{seconds} (INTEGER(32,false));");
        let rounded: String =
            if self.is_v5() { ROUNDED_SECONDS.iter().map(rounded).collect() } else { String::new() };
        let events = self.list(
            "Events",
            &format!(
                "required int64 TimeSinceStartNano (INTEGER(64,false)); required binary Name (STRING);
                 {attrs} {DROPPED_ATTRIBUTES} {}",
                self.dedicated(Level::Event)
            ),
        );
        let links = self.list(
            "Links",
            &format!(
                "required binary TraceID; required binary SpanID; required binary TraceState (STRING);
                 {attrs} {DROPPED_ATTRIBUTES}"
            ),
        );
        let own = self.fixed(Level::Span) + &self.dedicated(Level::Span);
        format!(
            "required binary SpanID; required binary ParentSpanID;
             required int32 ParentID (INTEGER(32,true)); required int32 NestedSetLeft (INTEGER(32,true));
             required int32 NestedSetRight (INTEGER(32,true)); {child_count} required binary Name (STRING);
             required int64 Kind (INTEGER(64,true)); required binary TraceState (STRING);
             required int64 StartTimeUnixNano (INTEGER(64,false)); required int64 DurationNano (INTEGER(64,false));
             required int64 StatusCode (INTEGER(64,true)); required binary StatusMessage (STRING);
             {attrs} {DROPPED_ATTRIBUTES}
             {events} required int32 DroppedEventsCount (INTEGER(32,true));
             {links} required int32 DroppedLinksCount (INTEGER(32,true));
             {own} {rounded}"
        )
    }

    fn text(&self) -> String {
        let spans = self.list("Spans", &self.span());
        let span_count = if self.is_v5() { "required int32 SpanCount (INTEGER(32,true));" } else { "" };
        let scopes = self.list(
            "ss",
            &format!(
                "required group Scope {{ required binary Name (STRING); required binary Version (STRING);
                 {} {DROPPED_ATTRIBUTES} }} {spans} {span_count}",
                self.attributes()
            ),
        );
        let resources =
            self.list("rs", &format!("required group Resource {{ {} }} {scopes}", self.resource()));
        format!(
            "message Trace {{
             required binary TraceID; required binary TraceIDText (STRING);
             required int64 StartTimeUnixNano (INTEGER(64,false)); required int64 EndTimeUnixNano (INTEGER(64,false));
             required int64 DurationNano (INTEGER(64,false));
             required binary RootServiceName (STRING); required binary RootSpanName (STRING);
             {} {resources} }}",
            self.stats()
        )
    }

    fn parse(&self) -> SchemaDescPtr {
        let tree = parse_message_type(&self.text());
        #[allow(clippy::expect_used)]
        // made of constants and counts; every test that writes a block would fail
        Arc::new(SchemaDescriptor::new(Arc::new(tree.expect("the schema is well-formed"))))
    }
}

/// The intervals, in seconds, to which vParquet5 notes the starts of spans.
pub(crate) const ROUNDED_SECONDS: [u64; 4] = [15, 60, 300, 3600];

static VPARQUET4: LazyLock<SchemaDescPtr> = LazyLock::new(|| Tree::new(Format::VParquet4, &[]).parse());

/// The schema of a block in `format` with these dedicated columns, of which it must be able to do all.
pub(crate) fn schema(format: Format, dedicated: &[DedicatedColumn]) -> SchemaDescPtr {
    if format == Format::VParquet4 { Arc::clone(&VPARQUET4) } else { Tree::new(format, dedicated).parse() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::default_dedicated_columns;

    #[test]
    fn the_schemas_have_tempos_columns_and_levels() {
        for (format, columns) in [(Format::VParquet4, 103), (Format::VParquet5, 92)] {
            let schema = schema(format, &default_dedicated_columns(format));
            let layout = Layout::of(format);
            let levels = |level: Level, name: &str| {
                let path = layout.path(level, name);
                let leaf = schema.columns().iter().find(|column| column.path().string() == path).unwrap();
                (leaf.max_rep_level(), leaf.max_def_level())
            };
            assert_eq!(schema.num_columns(), columns);
            assert_eq!(levels(Level::Event, layout.attrs.text), (6, 6));
            assert_eq!(levels(Level::Span, "StatusCode"), (3, 3));
            let own = if format == Format::VParquet5 { (4, 4) } else { (3, 4) };
            assert_eq!(levels(Level::Span, "DedicatedAttributes.String01"), own);
        }
    }
}
