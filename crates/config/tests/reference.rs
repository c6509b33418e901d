//! The committed page of settings is what the tables say.

#[test]
fn the_reference_page_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    let (page, want) =
        (std::fs::read_to_string(path).unwrap_or_default(), trackway_config::reference_markdown());
    assert!(
        page == want,
        "docs/configuration.md is out of date: write the text of reference_markdown() to it"
    );
}
