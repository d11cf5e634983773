//! The one binary: `farwatch serve`, which runs everything in one process, and the command line around it.
//!
//! | module | what |
//! |---|---|
//! | [`cli`] | the command line |
//! | [`config`] | settings, from flags, environment and file |
//! | [`serve`] | the server: puts the services together and runs them |
//! | [`commands`] | everything that does one thing and ends |
//! | [`arenas`] | how much freed memory the allocator keeps |
//! | [`bucket`] | opens the object store that an address names |
//! | [`data_lock`] | who uses a data directory |
//! | `secret_file` | files that only their owner may read |

pub mod arenas;
pub mod bucket;
pub mod cli;
pub mod commands;
pub mod config;
pub mod data_lock;
mod secret_file;
pub mod serve;
