//! PromQL: parsing and streaming evaluation over a SeriesSource; no I/O.
