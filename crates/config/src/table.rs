//! The one way to declare settings.
//!
//! `section!` turns a table (name, type, default, meaning) into a typed struct, its defaults, its reader, its printer
//! and its documentation, so that none of them can differ. `choice!` does the same for a setting with named values.

use crate::node::Node;
use crate::reader::Reader;

/// A setting's value, printed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Item {
    /// Not set: not printed, since an empty key may mean something else.
    Absent,
    /// An empty value.
    Null,
    /// A number, a boolean or a duration: printed as it is.
    Plain(String),
    /// Text: quoted where YAML needs it.
    Text(String),
    /// A sequence.
    List(Vec<Self>),
    /// A mapping.
    Map(Vec<(String, Self)>),
}

/// What a setting takes, for errors and the reference page.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// One value; the name of its type, as in "duration".
    Scalar(&'static str),
    /// A list of such values.
    List(fn() -> Self),
    /// Free keys with such values.
    Map(fn() -> Self),
    /// Anything.
    Any,
    /// A block with known keys.
    Section(Section),
}

/// A block's known keys.
#[derive(Debug, Clone)]
pub(crate) struct Section {
    /// Keys that Trackway uses.
    pub(crate) used: Vec<Key>,
    /// Keys that Tempo has and Trackway ignores.
    pub(crate) ignored: &'static [Ignored],
}

/// One used key.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) kind: fn() -> Kind,
    pub(crate) default: fn() -> Item,
}

/// An ignored key; the name "" adds the keys of a [`Shape::Inline`].
pub(crate) type Ignored = (&'static str, Shape);

/// The loose type of an ignored key.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    Bool,
    Int,
    Num,
    Str,
    Dur,
    List,
    Map,
    Any,
    Block(&'static [Ignored]),
    Inline(&'static [Ignored]),
}

/// A type that a setting may have.
pub(crate) trait Setting: Sized {
    /// What it takes.
    fn kind() -> Kind;
    /// Takes the value over from the file; on a problem, reports it and keeps the old value.
    fn read(&mut self, node: &Node, reader: &mut Reader);
    /// Prints it.
    fn show(&self) -> Item;
    /// Go's zero value, which a tenant's overrides start from.
    fn zero() -> Self;
    /// What an element of a list, or a block that is only sometimes there, starts from.
    fn initial() -> Self {
        Self::zero()
    }
}

/// The shape of an ignored key, looked up through inlined tables.
pub(crate) fn find_ignored(table: &'static [Ignored], key: &str) -> Option<Shape> {
    table.iter().find_map(|(name, shape)| match shape {
        Shape::Inline(inner) => find_ignored(inner, key),
        shape => (*name == key).then_some(*shape),
    })
}

/// The names in a table of ignored keys, inlined ones too.
pub(crate) fn ignored_names(table: &'static [Ignored]) -> Vec<&'static str> {
    table
        .iter()
        .flat_map(|(name, shape)| match shape {
            Shape::Inline(inner) => ignored_names(inner),
            _ => vec![*name],
        })
        .collect()
}

/// Declares a block of settings; see the module.
macro_rules! section {
    (
        $(#[$meta:meta])*
        $name:ident {
            $( $field:ident : $ty:ty = $default:expr , $doc:literal ; )*
        }
        ignored $ignored:expr
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $( #[doc = $doc] pub $field: $ty, )*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $default, )* }
            }
        }

        impl $crate::table::Setting for $name {
            fn kind() -> $crate::table::Kind {
                $crate::table::Kind::Section($crate::table::Section {
                    used: vec![$(
                        $crate::table::Key {
                            name: stringify!($field).trim_start_matches("r#"),
                            doc: $doc,
                            kind: <$ty as $crate::table::Setting>::kind,
                            default: || {
                                let default: $ty = $default;
                                $crate::table::Setting::show(&default)
                            },
                        },
                    )*],
                    ignored: $ignored,
                })
            }

            fn read(&mut self, node: &$crate::node::Node, reader: &mut $crate::reader::Reader) {
                let kind = <Self as $crate::table::Setting>::kind();
                reader.section(node, &kind, &mut |_key, _node, _reader| {
                    $(
                        if _key == stringify!($field).trim_start_matches("r#") {
                            return $crate::table::Setting::read(&mut self.$field, _node, _reader);
                        }
                    )*
                });
            }

            fn show(&self) -> $crate::table::Item {
                $crate::table::Item::Map(vec![$(
                    (
                        stringify!($field).trim_start_matches("r#").to_owned(),
                        $crate::table::Setting::show(&self.$field),
                    ),
                )*])
            }

            fn zero() -> Self {
                Self { $( $field: <$ty as $crate::table::Setting>::zero(), )* }
            }

            fn initial() -> Self {
                Self::default()
            }
        }
    };
}

/// Declares a setting with named values; the first is the default, and the empty text means it too.
macro_rules! choice {
    (
        $(#[$meta:meta])*
        $name:ident { $first:ident = $first_text:literal, $first_doc:literal; $( $variant:ident = $text:literal, $doc:literal; )* }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub enum $name {
            #[doc = $first_doc]
            #[default]
            $first,
            $( #[doc = $doc] $variant, )*
        }

        impl $name {
            /// As it is written in the file.
            pub fn as_str(self) -> &'static str {
                match self {
                    Self::$first => $first_text,
                    $( Self::$variant => $text, )*
                }
            }
        }

        impl $crate::table::Setting for $name {
            fn kind() -> $crate::table::Kind {
                $crate::table::Kind::Scalar(concat!("`", $first_text, "`", $( ", `", $text, "`", )*))
            }

            fn read(&mut self, node: &$crate::node::Node, reader: &mut $crate::reader::Reader) {
                let expected = concat!("one of ", $first_text, $( ", ", $text, )*);
                let value = reader.scalar(node, expected, |text| match text {
                    "" | $first_text => Some(Self::$first),
                    $( $text => Some(Self::$variant), )*
                    _ => None,
                });
                if let Some(value) = value {
                    *self = value;
                }
            }

            fn show(&self) -> $crate::table::Item {
                $crate::table::Item::Text(self.as_str().to_owned())
            }

            fn zero() -> Self {
                Self::$first
            }
        }
    };
}
