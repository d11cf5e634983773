//! The control plane: accounts, organisations, API keys, quotas, usage, billing and placement.

pub mod billing;
pub mod placement;
