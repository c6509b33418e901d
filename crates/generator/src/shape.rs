//! Which form histograms have, from a tenant's settings.

use trackway_overrides::{Generator, HistogramMode};

use crate::registry::{Form, Kind, NativeForm};

/// A histogram in the forms that are asked for.
pub(crate) fn histogram(buckets: &[f64], mode: HistogramMode, settings: &Generator) -> Kind {
    let native = NativeForm {
        factor: settings.native_bucket_factor,
        max_buckets: settings.native_max_buckets,
        min_reset_ms: i64::try_from(settings.native_min_reset.as_millis()).unwrap_or(i64::MAX),
    };
    Kind::Histogram(Form {
        bounds: mode.classic().then(|| buckets.into()),
        native: mode.native().then_some(native),
    })
}
