//! Codecs from remote write and OTLP to the data model; pure, bounded, fuzzed.
