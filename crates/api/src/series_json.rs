//! The JSON of series. Grafana reads the answer to an instant query strictly: a key that Tempo does not write is an
//! error there.
//!
//! What must stay true: as for the other answers, protobuf's rules for JSON (a value of 0 is left out, times are
//! strings, what is no number is `"NaN"`, `"Infinity"` or `"-Infinity"`); `series`, `labels`, `samples` and `metrics`
//! always there.

use trackway_otlpjson::json::{Object, write_f64, write_string};
use trackway_querier::service::{Completeness, Exemplar, MetricsAnswer, Series};

use crate::json::{array, pairs, search_metrics, wide};

/// The answer to a range query.
pub(crate) fn range(answer: &MetricsAnswer) -> Vec<u8> {
    let samples: usize = answer.series.iter().map(|series| series.samples.len()).sum();
    let mut out = Vec::with_capacity(256 + samples * 64);
    let mut object = Object::begin(&mut out);
    array(object.key("series"), &answer.series, |out, series| {
        let mut object = Object::begin(out);
        pairs(object.key("labels"), &series.labels);
        array(object.key("samples"), &series.samples, |out, (time, value)| {
            let mut sample = Object::begin(out);
            wide(&mut sample, "timestampMs", *time);
            number(&mut sample, *value);
            sample.end();
        });
        if !series.exemplars.is_empty() {
            array(object.key("exemplars"), &series.exemplars, exemplar);
        }
        object.end();
    });
    end(object, answer);
    out
}

/// The answer to an instant query.
pub(crate) fn instant(answer: &MetricsAnswer) -> Vec<u8> {
    let mut out = Vec::with_capacity(256 + answer.series.len() * 128);
    let mut object = Object::begin(&mut out);
    // A series without a sample has no value, which is something else than 0.
    let series: Vec<(&Series, f64)> =
        answer.series.iter().filter_map(|one| Some((one, last(one)?))).collect();
    array(object.key("series"), &series, |out, (series, value)| {
        let mut object = Object::begin(out);
        pairs(object.key("labels"), &series.labels);
        number(&mut object, *value);
        object.end();
    });
    end(object, answer);
    out
}

/// The one value of a series of an instant query, if it has one.
pub(crate) fn last(series: &Series) -> Option<f64> {
    series.samples.last().map(|(_, value)| *value)
}

fn exemplar(out: &mut Vec<u8>, exemplar: &Exemplar) {
    let mut object = Object::begin(out);
    pairs(object.key("labels"), &exemplar.labels);
    number(&mut object, exemplar.value);
    wide(&mut object, "timestampMs", exemplar.time_ms);
    object.end();
}

/// A value, unless it is 0.
fn number(object: &mut Object<'_>, value: f64) {
    if value != 0.0 {
        write_f64(object.key("value"), value);
    }
}

/// What comes after the series.
fn end(mut object: Object<'_>, answer: &MetricsAnswer) {
    search_metrics(object.key("metrics"), &answer.metrics);
    if let Completeness::Partial(why) = &answer.completeness {
        write_string(object.key("status"), "PARTIAL");
        write_string(object.key("message"), why);
    }
    object.end();
}
