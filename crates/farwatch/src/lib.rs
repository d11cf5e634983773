//! The one binary: farwatch serve and the CLI.
