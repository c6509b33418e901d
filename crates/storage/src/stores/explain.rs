//! What is wrong when a store does not do what it is asked: one of a few things that an operator can act on.
//!
//! Stores say it in the code of an XML answer, TLS and sockets in the chain of causes.

use std::error::Error as StdError;
use std::io;

use object_store::Error;
use object_store::client::{HttpError, HttpErrorKind};
use rustls::{CertificateError, InvalidMessage};

/// Longest text of a store that is repeated.
const MAX_TEXT: usize = 400;

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The bucket does not exist.
    NoBucket,
    /// Nobody has this access key.
    UnknownKey,
    /// The secret does not belong to the key.
    WrongSecret,
    /// The session token has run out.
    ExpiredToken,
    /// There are no keys, and nobody who gives us some.
    NoCredentials,
    /// The key is right and may not do this.
    Forbidden,
    /// Our clock and the server's are too far apart.
    ClockSkew,
    /// The bucket lies in another region, which the server may have named.
    WrongRegion(Option<String>),
    /// The certificate is not of an authority that we trust.
    UnknownAuthority,
    /// The certificate is of another name.
    WrongName,
    /// The certificate has run out, or is not valid yet.
    ExpiredCertificate,
    /// The server wants a certificate of ours.
    ClientCertificate,
    /// Another failure of TLS.
    Tls(String),
    /// We spoke plain HTTP and the server speaks TLS.
    ServerWantsTls,
    /// We spoke TLS and the server speaks plain HTTP.
    ServerIsPlain,
    /// The server's name cannot be resolved.
    NoSuchHost,
    /// Nobody listens at the address.
    Refused,
    /// No answer in time.
    Timeout,
    /// The server does not know the operation.
    NotImplemented,
    /// Anything else, in the store's words.
    Other(String),
}

/// Finds out what is wrong.
pub fn explain(error: &Error) -> Fault {
    let first: &(dyn StdError + 'static) = error;
    let chain: Vec<_> = std::iter::successors(Some(first), |cause: &&'_ (dyn StdError + 'static)| {
        let cause: &(dyn StdError + 'static) = *cause;
        cause.source()
    })
    .collect();
    if let Some(fault) = chain.iter().find_map(|cause| of_cause(*cause)) {
        return fault;
    }
    let text = chain.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    if let Some(fault) = tag(&text, "Code").and_then(|code| of_code(code, &text)) {
        return fault;
    }
    if let Some(fault) = of_text(&text) {
        return fault;
    }
    match error {
        Error::NotFound { .. } => Fault::NoBucket,
        Error::PermissionDenied { .. } => Fault::Forbidden,
        Error::Unauthenticated { .. } => Fault::WrongSecret,
        Error::NotImplemented { .. } | Error::NotSupported { .. } => Fault::NotImplemented,
        _ => of_http(&chain).unwrap_or_else(|| Fault::Other(in_short(&chain, &text))),
    }
}

/// Sockets and TLS.
fn of_cause(cause: &(dyn StdError + 'static)) -> Option<Fault> {
    if let Some(error) = cause.downcast_ref::<rustls::Error>() {
        return Some(of_tls(error));
    }
    let error = cause.downcast_ref::<io::Error>()?;
    if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return Some(of_tls(error));
    }
    if let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<io::Error>()) {
        return of_cause(inner);
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Some(Fault::Refused),
        io::ErrorKind::PermissionDenied => Some(Fault::Forbidden),
        io::ErrorKind::TimedOut => Some(Fault::Timeout),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Some(Fault::Refused),
        _ => None,
    }
}

fn of_tls(error: &rustls::Error) -> Fault {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => Fault::UnknownAuthority,
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => Fault::WrongName,
        rustls::Error::InvalidCertificate(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
        ) => Fault::ExpiredCertificate,
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => Fault::ServerIsPlain,
        rustls::Error::AlertReceived(rustls::AlertDescription::CertificateRequired) => {
            Fault::ClientCertificate
        }
        other => Fault::Tls(other.to_string()),
    }
}

/// Codes of S3 and its imitators, of Google's XML and of Azure.
fn of_code(code: &str, text: &str) -> Option<Fault> {
    Some(match code {
        "NoSuchBucket" | "InvalidBucketName" | "ContainerNotFound" | "InvalidResourceName" => Fault::NoBucket,
        "InvalidAccessKeyId" | "NotSignedUp" | "UnauthorizedAccess" => Fault::UnknownKey,
        "SignatureDoesNotMatch"
        | "AuthenticationFailed"
        | "InvalidAuthenticationInfo"
        | "InvalidSecurity" => Fault::WrongSecret,
        "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" => Fault::ExpiredToken,
        // Azurite says so of a wrong key; Azure says so of a network that is closed to us.
        "AuthorizationFailure" if text.contains("failed to authenticate") => Fault::WrongSecret,
        "AccessDenied"
        | "AllAccessDisabled"
        | "AccountProblem"
        | "AuthorizationFailure"
        | "AuthorizationPermissionMismatch"
        | "InsufficientAccountPermissions"
        | "UserProjectAccountProblem" => Fault::Forbidden,
        "RequestTimeTooSkewed" | "RequestExpired" => Fault::ClockSkew,
        "PermanentRedirect"
        | "TemporaryRedirect"
        | "IllegalLocationConstraintException"
        | "AuthorizationHeaderMalformed" => Fault::WrongRegion(tag(text, "Region").map(str::to_owned)),
        "NotImplemented" | "UnsupportedHeader" => Fault::NotImplemented,
        _ => return None,
    })
}

/// What is only found in words.
fn of_text(text: &str) -> Option<Fault> {
    let has = |words: &str| text.contains(words);
    if has("dns error") || has("failed to lookup address") {
        Some(Fault::NoSuchHost)
    } else if has("169.254.169.254") || has("metadata.google.internal") || has("169.254.170.") {
        Some(Fault::NoCredentials)
    } else if has("HTTP request to an HTTPS server") || has("HTTP request was sent to HTTPS port") {
        Some(Fault::ServerWantsTls)
    } else if has("invalid HTTP ") {
        // An alert of TLS, read as an answer.
        Some(Fault::ServerWantsTls)
    } else if has("tls handshake eof") {
        Some(Fault::Tls("the server ends the connection; does it speak TLS?".to_owned()))
    } else if has("redirect without LOCATION") {
        Some(Fault::WrongRegion(None))
    } else if has("AccessControlException") {
        Some(Fault::Forbidden)
    } else if has("501 Not Implemented") {
        Some(Fault::NotImplemented)
    } else {
        None
    }
}

fn of_http(chain: &[&(dyn StdError + 'static)]) -> Option<Fault> {
    let http = chain.iter().find_map(|cause| cause.downcast_ref::<HttpError>())?;
    (http.kind() == HttpErrorKind::Timeout).then_some(Fault::Timeout)
}

/// The text of an XML element.
fn tag<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(inner, _)| inner)
}

/// Code and message where the store gives them, the last cause otherwise.
fn in_short(chain: &[&(dyn StdError + 'static)], text: &str) -> String {
    let said = match (tag(text, "Code"), tag(text, "Message")) {
        (Some(code), Some(message)) if !message.is_empty() => format!("{code}: {message}"),
        (Some(code), _) => code.to_owned(),
        _ => chain.last().map(ToString::to_string).unwrap_or_default(),
    };
    let said = said.replace('\n', " ");
    match said.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => format!("{}…", &said[..end]),
        None => said,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(body: &str) -> Error {
        Error::Generic { store: "S3", source: body.to_owned().into() }
    }

    #[test]
    fn codes_are_understood() {
        let xml = |code: &str| {
            said(&format!("403 Forbidden: <Error><Code>{code}</Code><Region>eu-west-1</Region></Error>"))
        };
        for (code, want) in [
            ("NoSuchBucket", Fault::NoBucket),
            ("ContainerNotFound", Fault::NoBucket),
            ("InvalidAccessKeyId", Fault::UnknownKey),
            ("SignatureDoesNotMatch", Fault::WrongSecret),
            ("AuthenticationFailed", Fault::WrongSecret),
            ("ExpiredToken", Fault::ExpiredToken),
            ("AccessDenied", Fault::Forbidden),
            ("AuthorizationPermissionMismatch", Fault::Forbidden),
            ("RequestTimeTooSkewed", Fault::ClockSkew),
            ("AuthorizationHeaderMalformed", Fault::WrongRegion(Some("eu-west-1".to_owned()))),
            ("NotImplemented", Fault::NotImplemented),
        ] {
            assert_eq!(explain(&xml(code)), want, "{code}");
        }
        let other = said("<Code>SlowDown</Code><Message>Reduce your rate</Message>");
        assert_eq!(explain(&other), Fault::Other("SlowDown: Reduce your rate".to_owned()));
    }

    #[test]
    fn causes_are_understood() {
        let caused = |cause: io::Error| Error::Generic { store: "S3", source: Box::new(cause) };
        let tls = |error: rustls::Error| caused(io::Error::new(io::ErrorKind::InvalidData, error));
        let issuer = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        for (error, want) in [
            (caused(io::ErrorKind::ConnectionRefused.into()), Fault::Refused),
            (tls(issuer), Fault::UnknownAuthority),
            (tls(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)), Fault::ServerIsPlain),
            (said("error trying to connect: dns error: failed"), Fault::NoSuchHost),
            (said("Client sent an HTTP request to an HTTPS server."), Fault::ServerWantsTls),
            (said("GET http://169.254.169.254/latest: timed out"), Fault::NoCredentials),
        ] {
            assert_eq!(explain(&error), want, "{error}");
        }
    }
}
