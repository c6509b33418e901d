//! The vParquet4 schema: the tree, and where each leaf stands in it.
//!
//! The tree is written down once, as Parquet's own schema language; column order, repetition, types and logical types
//! equal those of the blocks that Tempo writes, or Tempo would read our columns under other names.

use std::sync::{Arc, LazyLock};

use parquet::schema::parser::parse_message_type;
use parquet::schema::types::{SchemaDescPtr, SchemaDescriptor};

/// How many string columns a scope has for dedicated attributes.
pub const DEDICATED_PER_SCOPE: usize = 10;

fn attributes(name: &str) -> String {
    let list = |name: &str, element: &str| {
        format!(
            "required group {name} (LIST) {{ repeated group list {{ required {element} element{logical}; }} }}",
            logical = match element {
                "binary" => " (STRING)",
                "int64" => " (INTEGER(64,true))",
                _ => "",
            }
        )
    };
    format!(
        "required group {name} (LIST) {{ repeated group list {{ required group element {{
            required binary Key (STRING); required boolean IsArray; {} {} {} {}
            optional binary ValueUnsupported (STRING); }} }} }}",
        list("Value", "binary"),
        list("ValueInt", "int64"),
        list("ValueDouble", "double"),
        list("ValueBool", "boolean"),
    )
}

fn dedicated() -> String {
    let columns: String =
        (1..=DEDICATED_PER_SCOPE).map(|n| format!("optional binary String{n:02} (STRING);")).collect();
    format!("required group DedicatedAttributes {{ {columns} }}")
}

fn tree() -> String {
    let attrs = attributes("Attrs");
    let dedicated = dedicated();
    let dropped = |name: &str| format!("required int32 Dropped{name}Count (INTEGER(32,true));");
    let (dropped_attributes, dropped_events, dropped_links) =
        (dropped("Attributes"), dropped("Events"), dropped("Links"));
    let strings = |names: &[&str]| -> String {
        names.iter().map(|name| format!("optional binary {name} (STRING);")).collect()
    };
    let resource_strings = strings(&RESOURCE_COLUMNS.map(|(_, column)| column));
    format!(
        "message Trace {{
          required binary TraceID; required binary TraceIDText (STRING);
          required int64 StartTimeUnixNano (INTEGER(64,false)); required int64 EndTimeUnixNano (INTEGER(64,false));
          required int64 DurationNano (INTEGER(64,false));
          required binary RootServiceName (STRING); required binary RootSpanName (STRING);
          required group ServiceStats (MAP) {{ repeated group key_value {{ required binary key (STRING);
            required group value {{ required int32 SpanCount (INTEGER(32,false));
              required int32 ErrorCount (INTEGER(32,false)); }} }} }}
          required group rs (LIST) {{ repeated group list {{ required group element {{
            required group Resource {{ {attrs} {dropped_attributes} required binary ServiceName (STRING);
              {resource_strings} {dedicated} }}
            required group ss (LIST) {{ repeated group list {{ required group element {{
              required group Scope {{ required binary Name (STRING); required binary Version (STRING);
                {attrs} {dropped_attributes} }}
              required group Spans (LIST) {{ repeated group list {{ required group element {{
                required binary SpanID; required binary ParentSpanID;
                required int32 ParentID (INTEGER(32,true)); required int32 NestedSetLeft (INTEGER(32,true));
                required int32 NestedSetRight (INTEGER(32,true)); required binary Name (STRING);
                required int64 Kind (INTEGER(64,true)); required binary TraceState (STRING);
                required int64 StartTimeUnixNano (INTEGER(64,false)); required int64 DurationNano (INTEGER(64,false));
                required int64 StatusCode (INTEGER(64,true)); required binary StatusMessage (STRING);
                {attrs} {dropped_attributes}
                required group Events (LIST) {{ repeated group list {{ required group element {{
                  required int64 TimeSinceStartNano (INTEGER(64,false)); required binary Name (STRING);
                  {attrs} {dropped_attributes} }} }} }}
                {dropped_events}
                required group Links (LIST) {{ repeated group list {{ required group element {{
                  required binary TraceID; required binary SpanID; required binary TraceState (STRING);
                  {attrs} {dropped_attributes} }} }} }}
                {dropped_links}
                optional binary HttpMethod (STRING); optional binary HttpUrl (STRING);
                optional int64 HttpStatusCode (INTEGER(64,true));
                {dedicated} }} }} }} }} }} }} }} }} }} }}"
    )
}

/// Resource attributes that have a column of their own in every vParquet4 block, when they are texts. `service.name`
/// has one too, which is required.
pub const RESOURCE_COLUMNS: [(&str, &str); 8] = [
    ("cluster", "Cluster"),
    ("namespace", "Namespace"),
    ("pod", "Pod"),
    ("container", "Container"),
    ("k8s.cluster.name", "K8sClusterName"),
    ("k8s.namespace.name", "K8sNamespaceName"),
    ("k8s.pod.name", "K8sPodName"),
    ("k8s.container.name", "K8sContainerName"),
];

/// Span attributes that have a column of their own in every vParquet4 block, when they are texts.
pub const SPAN_COLUMNS: [(&str, &str); 2] = [("http.method", "HttpMethod"), ("http.url", "HttpUrl")];

/// The span attribute that has an integer column of its own.
pub const SPAN_INT_COLUMN: (&str, &str) = ("http.status_code", "HttpStatusCode");

/// The schema of every vParquet4 block.
pub static VPARQUET4: LazyLock<SchemaDescPtr> = LazyLock::new(|| {
    let tree = parse_message_type(&tree());
    #[allow(clippy::expect_used)] // a constant of this file; every test that touches a block would fail
    Arc::new(SchemaDescriptor::new(Arc::new(tree.expect("the schema is well-formed"))))
});

/// Paths of the leaves.
pub mod path {
    /// Prefix of everything below a resource.
    pub const RESOURCE: &str = "rs.list.element.Resource";
    /// Prefix of everything below a scope.
    pub const SCOPE: &str = "rs.list.element.ss.list.element.Scope";
    /// Prefix of everything below a span.
    pub const SPAN: &str = "rs.list.element.ss.list.element.Spans.list.element";
    /// Prefix of everything below an event.
    pub const EVENT: &str = "rs.list.element.ss.list.element.Spans.list.element.Events.list.element";
    /// Prefix of everything below a link.
    pub const LINK: &str = "rs.list.element.ss.list.element.Spans.list.element.Links.list.element";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_has_tempos_columns_and_levels() {
        let leaf =
            |path: &str| VPARQUET4.columns().iter().find(|c| c.path().string() == path).unwrap().clone();
        assert_eq!(VPARQUET4.num_columns(), 103);
        let value = leaf(&format!("{}.Attrs.list.element.Value.list.element", path::EVENT));
        assert_eq!((value.max_rep_level(), value.max_def_level()), (6, 6));
        let method = leaf(&format!("{}.HttpMethod", path::SPAN));
        assert_eq!((method.max_rep_level(), method.max_def_level()), (3, 4));
    }
}
