//! Whose spans they are. The errors are Tempo's: a missing name is answered with Unavailable, because its receivers
//! do not know about tenants, and senders rely on being told to retry.

use ::http::HeaderMap;
use trackway_common::{ErrorKind, TenantError, TenantId};
use trackway_distributor::PushError;

/// The header, or over gRPC the metadata, that names the tenant.
const HEADER: &str = "x-scope-orgid";

/// The tenant that a sender names, or the only one there is.
pub(crate) fn tenant(headers: &HeaderMap, multitenancy: bool) -> Result<TenantId, PushError> {
    if !multitenancy {
        return Ok(TenantId::single());
    }
    let mut names = headers.get_all(HEADER).iter();
    let (Some(name), None) = (names.next(), names.next()) else {
        return Err(PushError::new(ErrorKind::Unavailable, TenantError::Missing.to_string()));
    };
    let name = String::from_utf8_lossy(name.as_bytes());
    TenantId::new(&name).map_err(|error| {
        let kind = if error == TenantError::Missing { ErrorKind::Unavailable } else { ErrorKind::Invalid };
        PushError::new(kind, error.to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(values: &[&'static str]) -> Result<String, (ErrorKind, String)> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(HEADER, ::http::HeaderValue::from_static(value));
        }
        match tenant(&headers, true) {
            Ok(tenant) => Ok(tenant.as_str().to_owned()),
            Err(error) => Err((error.kind, error.message)),
        }
    }

    #[test]
    fn one_good_name_is_needed() {
        let missing = Err((ErrorKind::Unavailable, "no org id".to_owned()));
        assert_eq!(named(&["a"]), Ok("a".to_owned()));
        assert_eq!(named(&[]), missing);
        assert_eq!(named(&[""]), missing);
        assert_eq!(named(&["a", "b"]), missing);
        assert_eq!(
            named(&["a|b"]),
            Err((ErrorKind::Invalid, "tenant ID 'a|b' contains unsupported character '|'".to_owned()))
        );
        assert_eq!(tenant(&HeaderMap::new(), false).unwrap(), TenantId::single());
    }
}
