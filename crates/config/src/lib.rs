//! Trackway's configuration: Tempo's YAML file and Tempo's command-line flags, decoded into typed settings.
//!
//! What must stay true:
//! - every key that some Tempo 2.6 to 3.0 accepts is known here, either *used* (a field of a section) or *ignored*
//!   (accepted, type-checked and reported once);
//! - the tables in [`sections`] are the only place where a setting is declared: parsing, defaults, `/status/config`
//!   and the reference page are all derived from them;
//! - an error names file, line, full key, what was found and what is expected, and all errors are reported at once.

#[macro_use]
mod table;

mod addresses;
mod bytesize;
mod check;
mod check_generator;
mod check_kafka;
mod check_remote_write;
mod check_tls;
mod config;
mod duration;
mod effect;
mod env;
mod flags;
mod ignored;
mod legacy;
mod name_set;
mod node;
mod own_generator;
mod policy_scalar;
mod problem;
mod reader;
mod reference;
pub mod sections;
mod show;
mod tenants;
mod values;
mod warnings;
mod yaml;

pub use addresses::{Addresses, dual_stack};
pub use bytesize::ByteSize;
pub use check::processors;
pub use check_generator::is_label_name;
pub use config::{Config, Flushing};
pub use duration::GoDuration;
pub use env::expand_env;
pub use flags::{FlagError, Flags};
pub use name_set::NameSet;
pub use own_generator::{OwnGenerator, own_generator, processor_json};
pub use policy_scalar::PolicyScalar;
pub use problem::{ConfigError, Origin, Problem};
pub use reference::reference_markdown;
pub use show::{YamlMode, limits_yaml, runtime_yaml};
pub use tenants::{TenantFile, tenant_limits, unset_limits};
pub use trackway_common::Secret;
pub use values::Raw;
