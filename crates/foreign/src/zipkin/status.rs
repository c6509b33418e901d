//! What the tags of a v1 span say of its status, from the most to the least reliable: `census.status_code`,
//! `otel.status_code`, `error`, and `http.status_code`.

use crate::attributes::Value;
use crate::otlp::status::{ERROR, OK, UNSET};

/// Collects what is said.
#[derive(Debug, Default)]
pub(super) struct Status {
    census: Option<u8>,
    census_message: String,
    otel: Option<u8>,
    otel_message: String,
    error: bool,
    http: Option<u8>,
    http_message: String,
}

impl Status {
    /// Looks at a tag; whether it was about the status alone and is none of the span's attributes.
    pub(super) fn take(&mut self, key: &str, value: &Value<'_>) -> bool {
        match key {
            "census.status_code" => {
                // In OpenCensus 0 is good.
                let code = value.as_integer().and_then(|code| i32::try_from(code).ok());
                self.census = code.map(|code| if code == 0 { OK } else { ERROR }).or(self.census);
                true
            }
            "census.status_description" | "opencensus.status_description" => {
                value.as_text().clone_into(&mut self.census_message);
                true
            }
            "otel.status_code" => {
                self.otel = otel_code(value).or(self.otel);
                true
            }
            "otel.status_description" => {
                value.as_text().clone_into(&mut self.otel_message);
                true
            }
            "error" => {
                self.error = true;
                true
            }
            "http.status_code" => {
                let code = value.as_integer();
                self.http =
                    code.map(|code| if (100..400).contains(&code) { UNSET } else { ERROR }).or(self.http);
                false
            }
            "http.status_message" => {
                value.as_text().clone_into(&mut self.http_message);
                false
            }
            _ => false,
        }
    }

    /// The status with its message.
    pub(super) fn get(self) -> (u8, String) {
        if let Some(code) = self.census {
            (code, self.census_message)
        } else if let Some(code) = self.otel {
            (code, self.otel_message)
        } else if self.error {
            let census = Some(self.census_message).filter(|message| !message.is_empty());
            (ERROR, census.unwrap_or(self.otel_message))
        } else {
            self.http.map_or((UNSET, String::new()), |code| (code, self.http_message))
        }
    }
}

/// The number of a status, which newer senders write as its name.
fn otel_code(value: &Value<'_>) -> Option<u8> {
    match value.as_text() {
        "OK" | "STATUS_CODE_OK" => Some(OK),
        "ERROR" | "STATUS_CODE_ERROR" => Some(ERROR),
        "UNSET" | "STATUS_CODE_UNSET" => Some(UNSET),
        _ => value.as_integer().and_then(|code| u8::try_from(code).ok()).filter(|code| *code <= ERROR),
    }
}
