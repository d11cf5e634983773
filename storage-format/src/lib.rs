//! Segment bytes to columns and back; no I/O, no clock.
