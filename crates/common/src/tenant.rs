//! Tenants: whose data it is. Names follow dskit's rules, which Tempo uses.

use std::fmt;
use std::sync::Arc;

/// The name of a tenant: 1 to 150 of `0-9a-zA-Z!-_.*'()`, and neither `.` nor `..`. It is a folder name in the store.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantId(Arc<str>);

/// A name that no tenant can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TenantError {
    /// No name at all.
    #[error("no org id")]
    Missing,
    /// Over 150 characters.
    #[error("tenant ID is too long: max 150 characters")]
    TooLong,
    /// A character that is not allowed.
    #[error("tenant ID '{0}' contains unsupported character '{1}'")]
    Character(String, char),
    /// `.` or `..`.
    #[error("tenant ID is '.' or '..'")]
    Dots,
}

impl TenantId {
    /// The longest name.
    pub const MAX_LENGTH: usize = 150;

    /// The tenant of a system without tenants.
    pub fn single() -> Self {
        Self(Arc::from("single-tenant"))
    }

    /// Checks a name.
    ///
    /// # Errors
    /// [`TenantError`] says which rule it breaks.
    pub fn new(name: &str) -> Result<Self, TenantError> {
        if name.is_empty() {
            return Err(TenantError::Missing);
        }
        if name.len() > Self::MAX_LENGTH {
            return Err(TenantError::TooLong);
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || "!-_.*'()".contains(c);
        if let Some(bad) = name.chars().find(|c| !allowed(*c)) {
            return Err(TenantError::Character(name.to_owned(), bad));
        }
        if name == "." || name == ".." {
            return Err(TenantError::Dots);
        }
        Ok(Self(Arc::from(name)))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules() {
        assert_eq!(TenantId::new("team-a.(1)").unwrap().as_str(), "team-a.(1)");
        assert_eq!(TenantId::new(""), Err(TenantError::Missing));
        assert_eq!(TenantId::new(".."), Err(TenantError::Dots));
        assert_eq!(TenantId::new("a/b"), Err(TenantError::Character("a/b".into(), '/')));
        assert_eq!(TenantId::new(&"a".repeat(151)), Err(TenantError::TooLong));
    }
}
