//! Load generator with verification, drills and benchmarks, on public APIs only.
