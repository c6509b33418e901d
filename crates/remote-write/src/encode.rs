//! Series into the body of one request.
//!
//! What must stay true: in the steady state nothing is allocated but the body; a request unpacks to no more than
//! [`MAX_BYTES`]; a series of a request has samples or native histograms, never both, as 2.0 wants it.

use bytes::Bytes;
use prost::encoding::encode_varint;

use crate::series::{Exemplar, Protocol, Series};
use crate::symbols::Symbols;
use crate::wire::{double_field, enum_field, histogram, int64_field, nested, sample, text_field};

/// Most bytes of a request before it is packed; Prometheus takes no more.
pub const MAX_BYTES: usize = 32 * 1024 * 1024;

/// Bytes that a buffer keeps from one request to the next; more is given back.
const KEPT_BYTES: usize = 4 * 1024 * 1024;
/// Bytes that a field's key, a length or a number takes at the most.
const FIELD: usize = 11;

/// A series does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request has no room for the series: send what there is; alone it may have {MAX_BYTES} bytes")]
pub struct Full;

/// An encoded request.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// The message, in snappy's block format.
    pub body: Bytes,
    /// Which message it is.
    pub protocol: Protocol,
    /// How many samples it has.
    pub samples: usize,
    /// How many exemplars.
    pub exemplars: usize,
    /// How many native histograms.
    pub histograms: usize,
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request")
            .field("protocol", &self.protocol)
            .field("bytes", &self.body.len())
            .field("samples", &self.samples)
            .field("exemplars", &self.exemplars)
            .field("histograms", &self.histograms)
            .finish()
    }
}

/// Collects series of one request after the other.
pub struct Encoder {
    protocol: Protocol,
    symbols: Symbols,
    series: Vec<u8>,
    packer: snap::raw::Encoder,
    packed: Vec<u8>,
    samples: usize,
    exemplars: usize,
    histograms: usize,
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder")
            .field("protocol", &self.protocol)
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

impl Encoder {
    /// An empty request of this protocol.
    pub fn new(protocol: Protocol) -> Self {
        let mut encoder = Self {
            protocol,
            symbols: Symbols::default(),
            series: Vec::new(),
            packer: snap::raw::Encoder::new(),
            packed: Vec::new(),
            samples: 0,
            exemplars: 0,
            histograms: 0,
        };
        encoder.clear();
        encoder
    }

    /// What it encodes for.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Forgets what was added; buffers stay, as far as they are not large.
    pub fn clear(&mut self) {
        self.series.clear();
        self.series.shrink_to(KEPT_BYTES);
        self.packed.truncate(KEPT_BYTES);
        self.packed.shrink_to(KEPT_BYTES);
        match self.protocol {
            Protocol::V1 => {}
            Protocol::V2 => self.symbols.clear(KEPT_BYTES),
        }
        (self.samples, self.exemplars, self.histograms) = (0, 0, 0);
    }

    /// Samples so far.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// Exemplars so far.
    pub fn exemplars(&self) -> usize {
        self.exemplars
    }

    /// Native histograms so far.
    pub fn histograms(&self) -> usize {
        self.histograms
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.samples + self.exemplars + self.histograms == 0
    }

    /// Bytes of the request so far, not packed.
    pub fn bytes(&self) -> usize {
        self.symbols.bytes() + self.series.len()
    }

    /// Adds a series; one that has nothing to say is left out.
    ///
    /// # Errors
    /// [`Full`], and the series is not added: it would make the request larger than [`MAX_BYTES`]. One that does not
    /// fit into an empty request never will.
    pub fn add(&mut self, series: &Series<'_>) -> Result<(), Full> {
        if self.bytes().saturating_add(most_bytes(series)) > MAX_BYTES {
            return Err(Full);
        }
        let Series { samples, exemplars, histograms, .. } = *series;
        if !samples.is_empty() || (!exemplars.is_empty() && histograms.is_empty()) {
            self.one(&Series { histograms: &[], ..*series });
        }
        if !histograms.is_empty() {
            let exemplars = if samples.is_empty() { exemplars } else { &[] };
            self.one(&Series { samples: &[], exemplars, ..*series });
        }
        self.samples += samples.len();
        self.exemplars += exemplars.len();
        self.histograms += histograms.len();
        Ok(())
    }

    fn one(&mut self, series: &Series<'_>) {
        let Self { symbols, series: out, .. } = self;
        match self.protocol {
            Protocol::V1 => nested(out, 1, |out| {
                labels(out, series.labels);
                series.samples.iter().for_each(|one| sample(out, 2, one));
                series.exemplars.iter().for_each(|one| {
                    nested(out, 3, |out| {
                        labels(out, one.labels);
                        of_exemplar(out, one);
                    });
                });
                series.histograms.iter().for_each(|one| histogram(out, 4, one));
            }),
            Protocol::V2 => nested(out, 5, |out| {
                label_refs(out, symbols, series.labels);
                series.samples.iter().for_each(|one| sample(out, 2, one));
                series.histograms.iter().for_each(|one| histogram(out, 3, one));
                series.exemplars.iter().for_each(|one| {
                    nested(out, 4, |out| {
                        label_refs(out, symbols, one.labels);
                        of_exemplar(out, one);
                    });
                });
                nested(out, 5, |out| enum_field(out, 1, series.kind.number()));
            }),
        }
    }

    /// Packs what was added, and begins the next request.
    pub fn finish(&mut self) -> Request {
        let message = match self.protocol {
            Protocol::V1 => &mut self.series,
            Protocol::V2 => {
                let all = self.symbols.wire();
                all.extend_from_slice(&self.series);
                all
            }
        };
        let room = snap::raw::max_compress_len(message.len());
        if self.packed.len() < room {
            self.packed.resize(room, 0);
        }
        // It fails when a message has 4 GiB, but `add` stops at 32 MiB, and when there is no room, which there is.
        #[allow(clippy::expect_used)]
        let length = self.packer.compress(message, &mut self.packed).expect("there is room");
        let request = Request {
            body: Bytes::copy_from_slice(self.packed.get(..length).unwrap_or_default()),
            protocol: self.protocol,
            samples: self.samples,
            exemplars: self.exemplars,
            histograms: self.histograms,
        };
        self.clear();
        request
    }
}

fn labels(out: &mut Vec<u8>, labels: &[(&str, &str)]) {
    for (name, value) in labels {
        nested(out, 1, |out| {
            text_field(out, 1, name);
            text_field(out, 2, value);
        });
    }
}

fn label_refs(out: &mut Vec<u8>, symbols: &mut Symbols, labels: &[(&str, &str)]) {
    if labels.is_empty() {
        return;
    }
    nested(out, 1, |out| {
        for (name, value) in labels {
            encode_varint(u64::from(symbols.number(name)), out);
            encode_varint(u64::from(symbols.number(value)), out);
        }
    });
}

fn of_exemplar(out: &mut Vec<u8>, exemplar: &Exemplar<'_>) {
    double_field(out, 2, exemplar.value);
    int64_field(out, 3, exemplar.timestamp_ms);
}

/// More bytes than a series takes in either protocol.
fn most_bytes(series: &Series<'_>) -> usize {
    const SAMPLE: usize = FIELD * 4;
    let labels = |labels: &[(&str, &str)]| -> usize {
        labels.iter().map(|(name, value)| name.len() + value.len() + 6 * FIELD).sum()
    };
    let exemplars: usize = series.exemplars.iter().map(|one| labels(one.labels) + SAMPLE).sum();
    let histograms: usize = series
        .histograms
        .iter()
        .map(|one| (12 + 3 * one.positive_spans.len() + one.counts.buckets()) * FIELD)
        .sum();
    // Written twice when there are samples and histograms.
    let shared = labels(series.labels) + 4 * FIELD;
    2 * shared + series.samples.len() * SAMPLE + exemplars + histograms
}
