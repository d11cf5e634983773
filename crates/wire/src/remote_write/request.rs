//! Reading a request series by series.

use std::collections::HashSet;

use telemetry::{Exemplar, Histogram};

use super::metadata::{self, MetadataReferences};
use super::symbols::{LabelReferences, ResolveError, Symbols};
use super::{Version, exemplar, histogram};
use crate::budget::Budget;
use crate::error::{RequestError, SeriesError, SeriesProblem};
use crate::limits::Limits;
use crate::metadata::MetadataRef;
use crate::protobuf::{Field, ProtobufError, Reader};
use crate::series_key::SeriesKey;

/// A request that is being read. See the [module](super).
#[derive(Debug)]
pub struct Request<'a> {
    version: Version,
    reader: Reader<'a>,
    limits: &'a Limits,
    series: Budget,
    samples: Budget,
    metadata: Budget,
    symbols: Symbols<'a>,
    /// Family and references of the metadata of the last series (2.0): mostly, series of one family follow each other.
    last_metadata: Option<(&'a [u8], MetadataReferences)>,
    /// All that were told, each once.
    told_metadata: HashSet<(&'a [u8], MetadataReferences)>,
    /// Metadata found in the series that is to be told next.
    pending_metadata: Option<MetadataRef<'a>>,
    current: CurrentSeries<'a>,
}

/// The parts of one series, in buffers that serve all series of the request.
#[derive(Debug, Default)]
struct CurrentSeries<'a> {
    /// Where the key is: in the body if its labels follow each other there, else in `scratch`.
    borrowed_key: Option<&'a [u8]>,
    scratch: Vec<u8>,
    samples: Vec<Sample>,
    histograms: Vec<&'a [u8]>,
    exemplars: Vec<&'a [u8]>,
    /// A series that was read, but whose metadata is told first.
    waiting: bool,
}

/// What a request holds.
#[derive(Debug)]
pub enum Item<'r> {
    /// A series with its samples.
    Series(Series<'r>),
    /// A series whose labels could not be resolved, so that nothing of it can be stored.
    Rejected {
        /// What is wrong with it.
        error: SeriesError,
        /// How many samples go with it, float and histogram together.
        samples: usize,
    },
    /// What a metric family says about itself.
    Metadata(MetadataRef<'r>),
}

/// A float sample.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
    /// The value, with its NaN bits.
    pub value: f64,
}

/// One series of a request with what was sent for it.
#[derive(Clone, Copy, Debug)]
pub struct Series<'r> {
    key: SeriesKey<'r>,
    samples: &'r [Sample],
    histograms: &'r [&'r [u8]],
    exemplars: &'r [&'r [u8]],
    symbols: Option<&'r Symbols<'r>>,
    limits: &'r Limits,
}

impl<'r> Series<'r> {
    /// The labels, not decoded yet.
    #[must_use]
    #[inline]
    pub fn key(&self) -> SeriesKey<'r> {
        self.key
    }

    /// The float samples, in the order in which they were sent.
    #[must_use]
    #[inline]
    pub fn samples(&self) -> &'r [Sample] {
        self.samples
    }

    /// How many native-histogram samples there are.
    #[must_use]
    pub fn histogram_count(&self) -> usize {
        self.histograms.len()
    }

    /// How many exemplars there are.
    #[must_use]
    pub fn exemplar_count(&self) -> usize {
        self.exemplars.len()
    }

    /// The native-histogram samples as timestamp (ms) and histogram, each valid or refused by itself.
    pub fn histograms(&self) -> impl Iterator<Item = Result<(i64, Histogram), SeriesError>> + use<'r> {
        let Self { key, limits, .. } = *self;
        self.histograms
            .iter()
            .map(move |message| histogram::read(message, limits).map_err(|problem| key.error(problem)))
    }

    /// The exemplars, each valid or refused by itself.
    pub fn exemplars(&self) -> impl Iterator<Item = Result<Exemplar, SeriesError>> + use<'r> {
        let Self { key, limits, symbols, .. } = *self;
        self.exemplars.iter().map(move |message| {
            exemplar::read(message, symbols, limits).map_err(|problem| key.error(problem))
        })
    }
}

/// Numbers of the fields that have the same meaning but another number in the two versions.
struct Numbers {
    request: &'static str,
    symbols: u32,
    series: u32,
    metadata: u32,
    time_series: &'static str,
    exemplars: u32,
    histograms: u32,
    series_metadata: u32,
}

/// No field has this number.
const NONE: u32 = 0;

const V1: Numbers = Numbers {
    request: "prometheus.WriteRequest",
    symbols: NONE,
    series: 1,
    metadata: 3,
    time_series: "prometheus.TimeSeries",
    exemplars: 3,
    histograms: 4,
    series_metadata: NONE,
};

const V2: Numbers = Numbers {
    request: "io.prometheus.write.v2.Request",
    symbols: 4,
    series: 5,
    metadata: NONE,
    time_series: "io.prometheus.write.v2.TimeSeries",
    exemplars: 4,
    histograms: 3,
    series_metadata: 5,
};

/// Labels (1.0) or references to them (2.0), and samples, have the same number in both.
const LABELS: u32 = 1;
const LABEL_TAG: u8 = 1 << 3 | 2;
const SAMPLES: u32 = 2;

impl Version {
    fn numbers(self) -> &'static Numbers {
        match self {
            Self::V1 => &V1,
            Self::V2 => &V2,
        }
    }
}

impl<'a> Request<'a> {
    /// A request whose decompressed body is `body`.
    ///
    /// # Errors
    /// [`RequestError`]: the symbols table is malformed or too long.
    pub fn new(version: Version, body: &'a [u8], limits: &'a Limits) -> Result<Self, RequestError> {
        let numbers = version.numbers();
        let reader = Reader::new(body, numbers.request);
        let mut symbols = Symbols::new(limits);
        if version == Version::V2 {
            let mut fields = reader;
            while let Some(field) = fields.next_field()? {
                if field.number == numbers.symbols {
                    symbols.push(field.bytes()?, limits)?;
                }
            }
        }
        Ok(Self {
            version,
            reader,
            limits,
            series: Budget::new("series", limits.max_series),
            samples: Budget::new("samples", limits.max_samples),
            metadata: Budget::new("metadata entries", limits.max_metadata),
            symbols,
            last_metadata: None,
            told_metadata: HashSet::new(),
            pending_metadata: None,
            current: CurrentSeries::default(),
        })
    }

    /// What comes next, or `None` at the end.
    ///
    /// # Errors
    /// [`RequestError`]: refuse the whole request, throw away what was read of it, do not read on.
    #[inline]
    pub fn next_item(&mut self) -> Result<Option<Item<'_>>, RequestError> {
        if self.current.waiting {
            self.current.waiting = false;
            return Ok(Some(Item::Series(self.current_series())));
        }
        let numbers = self.version.numbers();
        while let Some(field) = self.reader.next_field()? {
            if field.number == numbers.series {
                let message = field.message(numbers.time_series)?;
                return self.read_series(message).map(Some);
            }
            if field.number == numbers.metadata {
                self.metadata.spend(1)?;
                if let Some(family) = metadata::read_v1(field.bytes()?, self.limits)? {
                    return Ok(Some(Item::Metadata(family)));
                }
            }
        }
        Ok(None)
    }

    #[inline]
    fn read_series(&mut self, message: Reader<'a>) -> Result<Item<'_>, RequestError> {
        self.series.spend(1)?;
        self.current.clear();
        let problem = match self.version {
            Version::V1 => {
                self.read_parts_v1(message)?;
                None
            }
            Version::V2 => self.read_parts_v2(message)?,
        };
        if let Some(problem) = problem {
            let samples = self.current.samples.len() + self.current.histograms.len();
            return Ok(Item::Rejected { error: self.current.key().error(problem), samples });
        }
        if let Some(family) = self.pending_metadata.take() {
            self.current.waiting = true;
            return Ok(Item::Metadata(family));
        }
        Ok(Item::Series(self.current_series()))
    }

    fn current_series(&self) -> Series<'_> {
        Series {
            key: self.current.key(),
            samples: &self.current.samples,
            histograms: &self.current.histograms,
            exemplars: &self.current.exemplars,
            symbols: match self.version {
                Version::V1 => None,
                Version::V2 => Some(&self.symbols),
            },
            limits: self.limits,
        }
    }

    /// Labels that follow each other, as every known sender has them, are borrowed; others are gathered.
    #[inline]
    fn read_parts_v1(&mut self, mut reader: Reader<'a>) -> Result<(), RequestError> {
        let bytes = reader.rest();
        let (mut start, mut end) = (0, reader.skip_short_run(LABEL_TAG).len());
        let mut gathered = false;
        loop {
            let before = bytes.len() - reader.rest().len();
            let Some(field) = reader.next_field()? else { break };
            if field.number != LABELS {
                self.read_sample_part(&field)?;
                continue;
            }
            field.bytes()?;
            let after = bytes.len() - reader.rest().len();
            if gathered {
                self.current.scratch.extend_from_slice(&bytes[before..after]);
            } else if end == before || end == 0 {
                start = if end == 0 { before } else { start };
                end = after;
            } else {
                gathered = true;
                self.current.scratch.extend_from_slice(&bytes[start..end]);
                self.current.scratch.extend_from_slice(&bytes[before..after]);
            }
        }
        if !gathered {
            self.current.borrowed_key = Some(&bytes[start..end]);
        }
        Ok(())
    }

    /// Returns what makes the series as a whole unusable.
    fn read_parts_v2(&mut self, mut reader: Reader<'a>) -> Result<Option<SeriesProblem>, RequestError> {
        let mut labels = LabelReferences::default();
        let mut resolved = Ok(());
        let mut metadata = None;
        while let Some(field) = reader.next_field()? {
            if field.number == LABELS {
                // After a bad reference the pairs no longer fit; what follows is only checked to be protobuf.
                if resolved.is_ok() {
                    resolved = labels.resolve(&field, &mut self.symbols, &mut self.current.scratch);
                }
            } else if field.number == V2.series_metadata {
                metadata = Some(MetadataReferences::read(&field)?);
            } else {
                self.read_sample_part(&field)?;
            }
        }
        let resolved = resolved.and_then(|()| {
            labels.check()?;
            metadata.map_or(Ok(()), |references| self.resolve_metadata(labels.metric_name(), references))
        });
        match resolved {
            Ok(()) => Ok(None),
            Err(ResolveError::Series(problem)) => Ok(Some(problem)),
            Err(ResolveError::Request(error)) => Err(error),
        }
    }

    fn resolve_metadata(
        &mut self,
        metric_name: &'a [u8],
        references: MetadataReferences,
    ) -> Result<(), ResolveError> {
        let family = metadata::family_of(metric_name, references.metric_type);
        let found = Some((family, references));
        if self.last_metadata != found {
            self.last_metadata = found;
            if !self.told_metadata.contains(&(family, references)) {
                self.metadata.spend(1)?;
                self.pending_metadata = references.resolve(family, &mut self.symbols, self.limits)?;
                self.told_metadata.insert((family, references));
            }
        }
        Ok(())
    }

    #[inline]
    fn read_sample_part(&mut self, field: &Field<'a>) -> Result<(), RequestError> {
        let numbers = self.version.numbers();
        if field.number == SAMPLES {
            self.samples.spend(1)?;
            self.current.samples.push(read_sample(field)?);
        } else if field.number == numbers.histograms {
            self.samples.spend(1)?;
            self.current.histograms.push(field.bytes()?);
        } else if field.number == numbers.exemplars {
            // Exemplars share the bound of samples: nobody sends more of them.
            self.samples.spend(1)?;
            self.current.exemplars.push(field.bytes()?);
        }
        Ok(())
    }
}

impl CurrentSeries<'_> {
    fn clear(&mut self) {
        self.borrowed_key = None;
        self.scratch.clear();
        self.samples.clear();
        self.histograms.clear();
        self.exemplars.clear();
    }

    #[inline]
    fn key(&self) -> SeriesKey<'_> {
        SeriesKey::new(self.borrowed_key.unwrap_or(&self.scratch))
    }
}

/// The message has the same fields in both versions.
#[inline]
fn read_sample(field: &Field<'_>) -> Result<Sample, ProtobufError> {
    let mut reader = field.message("prometheus.Sample")?;
    let mut sample = Sample { timestamp_ms: 0, value: 0.0 };
    while let Some(field) = reader.next_field()? {
        match field.number {
            1 => sample.value = field.double()?,
            2 => sample.timestamp_ms = field.varint()? as i64,
            _ => {}
        }
    }
    Ok(sample)
}
