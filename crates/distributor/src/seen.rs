//! Which services have sent: the first span of each is worth a line in the log.

use std::collections::HashSet;

use parking_lot::Mutex;
use trackway_common::TenantId;
use trackway_spans::Value;
use trackway_spans::anyvalue::{self, AnyValue};
use trackway_spans::wire::{Reader, WireError};

/// Services that are remembered; more than that are not announced.
const SERVICES_MAX: usize = 10_000;

/// What a resource says of who sends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) sdk: String,
}

/// The services that were announced.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    known: Mutex<HashSet<(TenantId, String)>>,
}

impl Seen {
    /// The services of a request that were not seen before.
    pub(crate) fn new_in(&self, tenant: &TenantId, request: &[u8]) -> Vec<Service> {
        let mut new = Vec::new();
        let mut reader = Reader::new(request);
        while let Ok(Some((number, field))) = reader.next_field() {
            let Ok(message) = field.bytes(1) else { continue };
            if number != 1 {
                continue;
            }
            let Ok(service) = service_of(message) else { continue };
            if service.name.is_empty() {
                continue;
            }
            let mut known = self.known.lock();
            let key = (tenant.clone(), service.name.clone());
            if known.len() < SERVICES_MAX && known.insert(key) {
                new.push(service);
            }
        }
        new
    }
}

fn service_of(resource_spans: &[u8]) -> Result<Service, WireError> {
    let mut service = Service::default();
    let (mut language, mut version) = (String::new(), String::new());
    let mut reader = Reader::new(resource_spans);
    while let Some((number, field)) = reader.next_field()? {
        if number != 1 {
            continue;
        }
        let mut resource = Reader::new(field.bytes(1)?);
        while let Some((number, field)) = resource.next_field()? {
            if number != 1 {
                continue;
            }
            let (key, value) = anyvalue::parse_key_value(field.bytes(1)?)?;
            let slot = match key {
                b"service.name" => &mut service.name,
                b"service.namespace" => &mut service.namespace,
                b"telemetry.sdk.language" => &mut language,
                b"telemetry.sdk.version" => &mut version,
                _ => continue,
            };
            if let AnyValue::Scalar(Value::String(text)) = anyvalue::parse(value)? {
                *slot = String::from_utf8_lossy(text).into_owned();
            }
        }
    }
    service.sdk = format!("{language} {version}").trim().to_owned();
    Ok(service)
}
