//! Rules of relabelling, as Prometheus' documentation describes them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::borrow::Cow;

use trackway_remote_write::{Relabel, RelabelConfig};

/// A rule by its keys, as one would write it.
fn rule(keys: &[(&str, &str)]) -> RelabelConfig {
    let mut config = RelabelConfig::default();
    for (key, value) in keys {
        let value = (*value).to_owned();
        match *key {
            "source_labels" => config.source_labels = value.split(',').map(str::to_owned).collect(),
            "separator" => config.separator = value,
            "target_label" => config.target_label = value,
            "regex" => config.regex = value,
            "modulus" => config.modulus = value.parse().unwrap(),
            "replacement" => config.replacement = value,
            "action" => config.action = value,
            other => panic!("{other}"),
        }
    }
    config
}

/// `a=1 b=2`; values have no blanks.
fn apply(rules: &[&[(&str, &str)]], labels: &str) -> Option<String> {
    let configs: Vec<RelabelConfig> = rules.iter().map(|keys| rule(keys)).collect();
    let relabel = Relabel::open(&configs).unwrap();
    let mut labels: Vec<(Cow<'_, str>, Cow<'_, str>)> = labels
        .split(' ')
        .map(|pair| pair.split_once('=').unwrap())
        .map(|(name, value)| (Cow::Borrowed(name), Cow::Borrowed(value)))
        .collect();
    let stays = relabel.apply(&mut labels);
    let shown: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    stays.then(|| shown.join(" "))
}

#[test]
#[allow(clippy::too_many_lines)] // a table
fn each_action_does_what_it_says() {
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a str, Option<&'a str>);
    let cases: &[Case<'_>] = &[
        // replace
        (&[("source_labels", "a"), ("target_label", "b")], "a=x", Some("a=x b=x")),
        (&[("source_labels", "a,b"), ("target_label", "c")], "a=x b=y", Some("a=x b=y c=x;y")),
        (
            &[("source_labels", "a,b"), ("separator", "-"), ("target_label", "c")],
            "a=x b=y",
            Some("a=x b=y c=x-y"),
        ),
        (&[("source_labels", "a,none,b"), ("target_label", "c")], "a=x b=y", Some("a=x b=y c=x;;y")),
        (&[("target_label", "c"), ("replacement", "fixed")], "a=x", Some("a=x c=fixed")),
        (&[("target_label", "a"), ("replacement", "")], "a=x b=y", Some("b=y")),
        // No match changes nothing; a match of a part is none.
        (
            &[("source_labels", "a"), ("regex", "f"), ("target_label", "a"), ("replacement", "y")],
            "a=foo",
            Some("a=foo"),
        ),
        (
            &[("source_labels", "a"), ("regex", "f|foo"), ("target_label", "a"), ("replacement", "y")],
            "a=foo",
            Some("a=y"),
        ),
        (
            &[("source_labels", "a"), ("regex", "(.)(.+)"), ("target_label", "c"), ("replacement", "${2}$1")],
            "a=foo",
            Some("a=foo c=oof"),
        ),
        (
            &[
                ("source_labels", "a"),
                ("regex", "(?P<first>.)(?P<rest>.+)"),
                ("target_label", "c"),
                ("replacement", "$rest-${first}"),
            ],
            "a=foo",
            Some("a=foo c=oo-f"),
        ),
        // The longest name counts: there is no group `1x`.
        (
            &[("source_labels", "a"), ("target_label", "c"), ("replacement", "$1x")],
            "a=foo c=old",
            Some("a=foo"),
        ),
        (
            &[("source_labels", "a"), ("target_label", "c"), ("replacement", "$$1")],
            "a=foo",
            Some("a=foo c=$1"),
        ),
        (
            &[
                ("source_labels", "a"),
                ("regex", "(.+)-(.+)"),
                ("target_label", "x_$1"),
                ("replacement", "$2"),
            ],
            "a=foo-bar",
            Some("a=foo-bar x_foo=bar"),
        ),
        // A target that comes out empty is none.
        (
            &[("source_labels", "a"), ("regex", "(x?).*"), ("target_label", "${1}"), ("replacement", "y")],
            "a=foo",
            Some("a=foo"),
        ),
        // An empty value takes the label away.
        (
            &[("source_labels", "a"), ("regex", "f(x?)oo"), ("target_label", "b"), ("replacement", "$1")],
            "a=foo b=y",
            Some("a=foo"),
        ),
        // As in Go, `\d` are ten digits.
        (
            &[("source_labels", "a"), ("regex", "\\d"), ("target_label", "a"), ("replacement", "y")],
            "a=\u{663}",
            Some("a=\u{663}"),
        ),
        // keep and drop
        (&[("source_labels", "a"), ("regex", "fo+"), ("action", "keep")], "a=foo", Some("a=foo")),
        (&[("source_labels", "a"), ("regex", "fo"), ("action", "keep")], "a=foo", None),
        (&[("source_labels", "none"), ("regex", ".+"), ("action", "keep")], "a=foo", None),
        (&[("source_labels", "a"), ("regex", "fo+"), ("action", "drop")], "a=foo", None),
        (&[("source_labels", "a"), ("regex", "fo"), ("action", "Drop")], "a=foo", Some("a=foo")),
        (&[("source_labels", "none"), ("regex", ""), ("action", "drop")], "a=foo", None),
        (&[("source_labels", "a,b"), ("regex", "x;y"), ("action", "drop")], "a=x b=y", None),
        // keepequal and dropequal
        (
            &[("source_labels", "a"), ("target_label", "b"), ("action", "keepequal")],
            "a=x b=x",
            Some("a=x b=x"),
        ),
        (&[("source_labels", "a"), ("target_label", "b"), ("action", "keepequal")], "a=x b=y", None),
        (&[("source_labels", "a"), ("target_label", "b"), ("action", "dropequal")], "a=x b=x", None),
        (
            &[("source_labels", "a"), ("target_label", "b"), ("action", "dropequal")],
            "a=x b=y",
            Some("a=x b=y"),
        ),
        (&[("source_labels", "n"), ("target_label", "m"), ("action", "dropequal")], "a=x", None),
        // labelmap: from what was there before it, and over what is there.
        (
            &[("regex", "meta_(.+)"), ("action", "labelmap")],
            "meta_a=x meta_meta_b=y",
            Some("a=x meta_a=x meta_b=y meta_meta_b=y"),
        ),
        (&[("regex", "a(.*)"), ("replacement", "b$1"), ("action", "labelmap")], "a=x b=y", Some("a=x b=x")),
        (&[("regex", "meta_(.*)"), ("action", "labelmap")], "meta_=x", Some("meta_=x")),
        // labeldrop and labelkeep
        (&[("regex", "b.*"), ("action", "labeldrop")], "a=x b=y bc=z cb=w", Some("a=x cb=w")),
        (&[("regex", "b.*"), ("action", "labelkeep")], "a=x b=y bc=z", Some("b=y bc=z")),
        (&[("regex", ".*"), ("action", "labeldrop")], "a=x", None),
        // lowercase and uppercase
        (
            &[("source_labels", "a"), ("target_label", "b"), ("action", "lowercase")],
            "a=FoO\u{c4}",
            Some("a=FoO\u{c4} b=foo\u{e4}"),
        ),
        (
            &[("source_labels", "a"), ("target_label", "a"), ("action", "uppercase")],
            "a=stra\u{df}e",
            Some("a=STRA\u{df}E"),
        ),
        (
            &[("source_labels", "none"), ("target_label", "a"), ("action", "uppercase")],
            "a=x b=y",
            Some("b=y"),
        ),
        // hashmod: numbers of Python's hashlib.
        (
            &[("source_labels", "a"), ("target_label", "h"), ("modulus", "1000"), ("action", "hashmod")],
            "a=foo",
            Some("a=foo h=696"),
        ),
        (
            &[
                ("source_labels", "a,b"),
                ("target_label", "h"),
                ("modulus", "18446744073709551615"),
                ("action", "hashmod"),
            ],
            "a=foo b=bar",
            Some("a=foo b=bar h=15973639978189266750"),
        ),
    ];
    for (rule, labels, want) in cases {
        assert_eq!(apply(&[rule], labels).as_deref(), *want, "{rule:?} of {labels}");
    }
}

#[test]
fn rules_run_one_after_the_other() {
    let rules: &[&[(&str, &str)]] = &[
        &[("source_labels", "a"), ("regex", "(.+)/(.+)"), ("target_label", "b"), ("replacement", "$2")],
        &[("source_labels", "b"), ("regex", "keep.*"), ("action", "keep")],
        &[("regex", "a"), ("action", "labeldrop")],
        &[("source_labels", "b"), ("target_label", "0")],
    ];
    assert_eq!(apply(rules, "z=1 a=x/keepme"), Some("0=keepme b=keepme z=1".to_owned()));
    assert_eq!(apply(rules, "z=1 a=x/me"), None);
    assert_eq!(apply(&[], "b=y c= a=x"), Some("a=x b=y".to_owned()), "sorted, and without the empty one");
}

#[test]
fn what_cannot_be_used_is_named() {
    let cases: &[(&[(&str, &str)], &str)] = &[
        (
            &[("action", "explode")],
            "write_relabel_configs[1].action: is \"explode\"; use one of replace, keep,",
        ),
        (&[("source_labels", "a")], "[1].target_label: is empty; replace needs one"),
        (&[("action", "lowercase")], "[1].target_label: is empty; lowercase needs one"),
        (&[("action", "hashmod"), ("target_label", "a")], "[1].modulus: is 0; hashmod needs one"),
        (&[("action", "keep"), ("regex", "a(b")], "[1].regex: error parsing regexp"),
        (&[("action", "keep"), ("regex", "a)(b")], "[1].regex: error parsing regexp"),
        (&[("action", "labelmap"), ("replacement", "")], "[1].replacement: is empty; labelmap"),
        (
            &[("action", "labeldrop"), ("regex", "a"), ("source_labels", "a")],
            "[1].source_labels: has no meaning for labeldrop",
        ),
        (
            &[("action", "keepequal"), ("target_label", "a"), ("regex", "a")],
            "[1].regex: has no meaning for keepequal",
        ),
    ];
    for (keys, want) in cases {
        let fine = rule(&[("source_labels", "a"), ("target_label", "b")]);
        let error = Relabel::open(&[fine, rule(keys)]).unwrap_err().to_string();
        assert!(error.contains(want), "{keys:?}: {error}");
    }
}
